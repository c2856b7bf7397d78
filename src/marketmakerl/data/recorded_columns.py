"""What was recorded, as plain columns on the grid: what readers hand to `marketmakerl.data.book_import`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

NO_SEQ: Final = -1


@dataclass(frozen=True)
class TradeColumns:
    """Trades, int64[n] each.

    Attributes:
        ts: exchange time, nanoseconds UTC.
        local: time of receipt; None where none was recorded.
        side: 1 the buyer lifted an ask, -1 the seller hit a bid, 0 not known.
        price: ticks, > 0.
        qty: lots, > 0.
    """

    ts: Ints
    local: Ints | None
    side: Ints
    price: Ints
    qty: Ints


@dataclass(frozen=True)
class BboColumns:
    """Best prices.

    Attributes:
        ts: int64[n], exchange time, nanoseconds UTC; -1 where the venue gives none.
        local: int64[n], time of receipt; None where none was recorded.
        seq: int64[n], id of the update.
        price, qty: int64[n, 2], ticks and lots of bid and ask, > 0.
    """

    ts: Ints
    local: Ints | None
    seq: Ints
    price: Ints
    qty: Ints


@dataclass(frozen=True)
class BookColumns:
    """Messages of an order book, and their levels.

    Attributes:
        ts: int64[m], exchange time, nanoseconds UTC; -1 where a snapshot has none.
        local: int64[m], time of receipt; None where none was recorded.
        seq, first_seq, prev_seq: int64[m], ids of the last and the first change in a message, and of the message
            before it; -1 where the venue does not say (`seq` is always known). No two diffs share a `seq`.
        snapshot: bool[m], the message is the whole book.
        start, size: int64[m], which levels are a message's.
        bid, price, qty: bool[k], ticks > 0, lots >= 0 (0: the level is gone).
        off_lot: how many quantities were rounded up to whole lots.
        reordered: how many diffs stood after a later one.
    """

    ts: Ints
    local: Ints | None
    seq: Ints
    first_seq: Ints
    prev_seq: Ints
    snapshot: Mask
    start: Ints
    size: Ints
    bid: Mask
    price: Ints
    qty: Ints
    off_lot: int = 0
    reordered: int = 0
