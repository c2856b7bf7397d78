"""Which comes first where a trade and a book message carry the same exchange time: read off the ties before it.

Exchanges stamp milliseconds, so ties are everywhere, and venues differ. Where the book message is the trade's own
consequence (BitMEX), it already shows the trade, and the trade goes first: its depth row must not shorten a queue
twice. Where the book comes in batches cut somewhere inside the millisecond (Binance), the batch mostly does not
contain the trade of its own stamp, and goes first.

The sign is the quantity of the level that was hit: did the tied messages lower it by what was traded? The shares on
the recorded data, and how often a tied trade meets the best opposing price under either order:

    recording                       tied trades  shown in the book   trades first   book first
    Binance spot BTC, ETH 2024          125, 82           16 %, 28 %     55 %, 64 %   82 %, 91 %
    Binance USDM BTC, ETH 2024         481, 123           52 %, 52 %     67 %, 73 %   87 %, 88 %
    Hyperliquid BTC ETH SOL WLFI      219 - 583            47 - 63 %      44 - 79 %    68 - 84 %
    Coinbase 2018                            12                  0 %           91 %         91 %
    BitMEX 2020                            2301                 97 %          100 %         94 %

From two thirds on, trades go first: of all recordings, the order that fits the prices (or as well as the other). Each
tie is ordered by those of earlier times, and by nothing later; the first one has the trades first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

SHOWN_SHARE: Final = 2 / 3


class Levels:
    """What every level held after every message, looked up by binary search."""

    def __init__(self, message: Ints, level: Ints, qty: Ints, snapshot_before: Ints) -> None:
        """Index the depth rows of a book.

        Args:
            message: int64[n], message of each row, never decreasing.
            level: int64[n], what tells (side, price) apart.
            qty: int64[n], lots the level holds after the row.
            snapshot_before: int64[messages], the latest snapshot message at or before each message, -1 for none.
        """
        self._names, number = np.unique(level, return_inverse=True)
        self._step = len(snapshot_before)
        key = number * self._step + message
        order = np.argsort(key, kind="stable")
        self._key, self._qty, self._snapshot_before = key[order], qty[order], snapshot_before

    def held(self, level: Ints, message: Ints) -> Ints:
        """Return the lots of levels after messages (both int64[m]); 0 for a level that nobody named."""
        if not len(self._names):
            return np.zeros(len(level), np.int64)
        number = np.searchsorted(self._names, level)
        number[number == len(self._names)] = 0
        known = self._names[number] == level
        row = np.searchsorted(self._key, number * self._step + message, side="right") - 1
        at = self._key[row]
        # A snapshot since the level was last named did not name it: the level is gone.
        known &= (row >= 0) & (at // self._step == number) & (at % self._step >= self._snapshot_before[message])
        return np.where(known, self._qty[row], 0)


@overload
def trades_go_first(shown: int, tied: int) -> bool: ...
@overload
def trades_go_first(shown: Ints, tied: Ints) -> Mask: ...
def trades_go_first(shown: Any, tied: Any) -> Any:
    """Return whether trades stand before the book messages of their time, by so many ties before it."""
    return shown >= SHOWN_SHARE * tied


@dataclass(frozen=True)
class Ties:
    """Trades that carry the time of a book message, those of one time and level taken together.

    Attributes:
        ts: int64[ties], exchange time, never decreasing.
        shown: bool[ties], the book messages of that time lowered the level by what was traded.
    """

    ts: Ints
    shown: Mask

    def trades_first(self, ts: Ints) -> Mask:
        """Return whether trades go first at these times, by the ties of earlier times."""
        before = np.searchsorted(self.ts, ts, side="left")
        return trades_go_first(np.r_[0, np.cumsum(self.shown)][before], before)


def find_ties(levels: Levels, message_ts: Ints, trade_ts: Ints, trade_level: Ints, trade_qty: Ints) -> Ties:
    """Return which trades are tied, and which of them the book messages of their time show.

    Args:
        levels: of the book.
        message_ts: exchange time of every book message, never decreasing.
        trade_ts: exchange time of every trade whose aggressor is known.
        trade_level: the level it hit.
        trade_qty: lots.
    """
    order = np.lexsort((trade_level, trade_ts))
    ts, level, qty = trade_ts[order], trade_level[order], trade_qty[order]
    start = np.flatnonzero(np.r_[True, (np.diff(ts) != 0) | (np.diff(level) != 0)]) if len(ts) else np.empty(0, int)
    if not len(start):
        return Ties(np.empty(0, np.int64), np.empty(0, np.bool_))
    total = np.add.reduceat(qty, start)
    ts, level = ts[start], level[start]
    before = np.searchsorted(message_ts, ts, side="left") - 1
    after = np.searchsorted(message_ts, ts, side="right") - 1
    tied = (after > before) & (before >= 0)
    drop = levels.held(level[tied], before[tied]) - levels.held(level[tied], after[tied])
    return Ties(ts[tied], drop >= total[tied])
