"""Compiled: replay a tick tape and write it anew, its prices, sizes and silences as a list of regimes says.

Within a regime every price of a side is moved by one number of ticks, so a level that came is the level that goes. At
the start of a regime the whole book is written as a snapshot in the new prices, with the same knowledge of it: as far
down as the last snapshot reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit
from marketmakerl.data.crossed_kernel import set_level
from marketmakerl.data.tape import MORE, EventTape, Kind
from marketmakerl.data.tick_checks import MAX_PRICE_TICKS

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

_MORE: Final = int(MORE)
_GAP, _SNAPSHOT = int(Kind.GAP), int(Kind.SNAPSHOT)
_DEPTH_BID, _DEPTH_ASK, _BBO_BID, _BBO_ASK = (
    int(kind) for kind in (Kind.DEPTH_BID, Kind.DEPTH_ASK, Kind.BBO_BID, Kind.BBO_ASK)
)
_TRADE_SELL, _TRADE_BUY, _TRADE = int(Kind.TRADE_SELL), int(Kind.TRADE_BUY), int(Kind.TRADE)
_HIGHEST: Final = int(MAX_PRICE_TICKS) - 1
# Rows of the table of regimes.
_ROW, _TS, _LOCAL, _BID, _ASK, _DIVISOR, _SILENT = range(7)
# Rows of the output.
_OUT_TS, _OUT_LOCAL, _OUT_PRICE, _OUT_QTY, _OUT_KIND, _OUT_SINCE = range(6)


class Book(NamedTuple):
    """The replayed book, by rank of price."""

    prices: Any  # int64[levels], rising
    stamp: Any  # int64[2, levels], see `set_level`
    lots: Any  # int64[2, levels]
    best: Any  # int64[2]
    about: Any  # int64[5]: clears, whether depth and a snapshot were seen, gap or snapshot, whether any price was seen
    worst: Any  # int64[2], rank of the worst level that the last snapshot named; -1: none


_CLEARS, _DEPTH_SEEN, _SNAPSHOT_SEEN, _STATE, _FIRST_SEEN = range(5)
_IN_GAP, _IN_SNAPSHOT = 1, 2


@njit()
def _new_book(prices: Any) -> Any:
    levels = len(prices)
    best = np.empty(2, np.int64)
    best[0], best[1] = -1, levels
    return Book(
        prices,
        np.full((2, levels), -1, np.int64),
        np.zeros((2, levels), np.int64),
        best,
        np.zeros(5, np.int64),
        np.full(2, -1, np.int64),
    )


@njit()
def _apply(book: Any, kind: Any, rank: Any, qty: Any, more: Any) -> None:
    """Let the book follow one row, as the tick engine's does."""
    about = book.about
    if kind in (_GAP, _SNAPSHOT):
        about[_CLEARS] += 1
        book.best[0], book.best[1] = -1, len(book.prices)
        about[_STATE] = _IN_GAP if kind == _GAP else _IN_SNAPSHOT
        if kind == _SNAPSHOT:
            about[_DEPTH_SEEN] = about[_SNAPSHOT_SEEN] = 1
            book.worst[0] = book.worst[1] = -1
    elif _DEPTH_BID <= kind <= _BBO_ASK:
        depth = kind <= _DEPTH_ASK
        if depth:
            about[_DEPTH_SEEN] = 1
        elif about[_STATE] == _IN_GAP and about[_DEPTH_SEEN] == 0:
            about[_STATE] = 0
        if about[_STATE] != _IN_GAP:
            side = 0 if kind in (_DEPTH_BID, _BBO_BID) else 1
            set_level(kind, rank, qty, about[_CLEARS], book.stamp, book.best)
            book.lots[side, rank] = qty
            if about[_STATE] == _IN_SNAPSHOT and depth and qty > 0:
                worst = book.worst[side]
                if worst < 0 or (rank < worst if side == 0 else rank > worst):
                    book.worst[side] = rank
    if more == 0 and about[_STATE] == _IN_SNAPSHOT:
        about[_STATE] = 0


@njit()
def _put(out: Any, n: int, ts_ns: Any, local_ns: Any, price: Any, qty: Any, kind: Any, since: Any) -> int:
    """Write row n, if there is room at all: the first pass only counts."""
    if out.shape[1] > 0:
        out[_OUT_TS, n] = ts_ns
        out[_OUT_LOCAL, n] = local_ns
        out[_OUT_PRICE, n] = price
        out[_OUT_QTY, n] = qty
        out[_OUT_KIND, n] = kind
        out[_OUT_SINCE, n] = since
    return n + 1


@njit()
def _end_message(out: Any, first: int, n: int) -> None:
    """Make row n - 1 the last of the message that begins at `first`."""
    if n > first and out.shape[1] > 0:
        out[_OUT_KIND, n - 1] &= _MORE - 1


@njit()
def _put_levels(book: Any, regime: Any, out: Any, n: int, side: int, beyond: bool) -> int:
    """Write a side's levels, the worst first: those down to the worst that is known, or those beyond it."""
    ts_ns, local_ns = regime[_TS], regime[_LOCAL]
    kind = (_DEPTH_BID if side == 0 else _DEPTH_ASK) | _MORE
    shift = regime[_BID] if side == 0 else regime[_ASK]
    levels, worst = len(book.prices), book.worst[side]
    everything = book.about[_SNAPSHOT_SEEN] == 0
    if not beyond and everything:
        # Nothing ever said where the book ends, so all of it is known: name the ends of the world.
        edge = 1 if side == 0 else _HIGHEST
        n = _put(out, n, ts_ns, local_ns, edge, 1, kind, -1)
        n = _put(out, n, ts_ns, local_ns, edge, 0, kind, -1)
    elif not beyond and worst >= 0 and book.stamp[side, worst] != book.about[_CLEARS]:
        edge = min(max(book.prices[worst] + shift, 1), _HIGHEST)
        n = _put(out, n, ts_ns, local_ns, edge, 1, kind, -1)
        n = _put(out, n, ts_ns, local_ns, edge, 0, kind, -1)
    for i in range(levels):
        rank = i if side == 0 else levels - 1 - i
        if book.stamp[side, rank] != book.about[_CLEARS]:
            continue
        known = everything or (worst >= 0 and (rank >= worst if side == 0 else rank <= worst))
        price = book.prices[rank] + shift
        if known != beyond and 1 <= price <= _HIGHEST:
            lots = max(1, book.lots[side, rank] // regime[_DIVISOR])
            n = _put(out, n, ts_ns, local_ns, price, lots, kind, -1)
    return n


@njit()
def _enter(book: Any, regime: Any, before: Any, out: Any, n: int) -> int:
    """Write what a regime begins with: a gap, or the book in its prices."""
    ts_ns, local_ns = regime[_TS], regime[_LOCAL]
    if regime[_SILENT]:
        return _put(out, n, ts_ns, local_ns, 0, 0, _GAP, -1)
    if book.about[_STATE] == _IN_GAP or book.about[_FIRST_SEEN] == 0:
        return n
    first = n
    if book.about[_DEPTH_SEEN]:
        n = _put(out, n, ts_ns, local_ns, 0, 0, _SNAPSHOT | _MORE, -1)
        n = _put_levels(book, regime, out, n, 0, False)
        n = _put_levels(book, regime, out, n, 1, False)
        _end_message(out, first, n)
        first = n
        n = _put_levels(book, regime, out, n, 0, True)
        n = _put_levels(book, regime, out, n, 1, True)
        _end_message(out, first, n)
        return n
    # Best prices alone: the side that gives way goes first, so that they are never crossed.
    upwards = regime[_ASK] > before[_ASK]
    for i in range(2):
        side = i if not upwards else 1 - i
        rank = book.best[side]
        if 0 <= rank < len(book.prices):
            price = book.prices[rank] + (regime[_BID] if side == 0 else regime[_ASK])
            lots = max(1, book.lots[side, rank] // regime[_DIVISOR])
            n = _put(out, n, ts_ns, local_ns, price, lots, (_BBO_BID if side == 0 else _BBO_ASK) | _MORE, -1)
    _end_message(out, first, n)
    return n


@njit()
def _shift_of(book: Any, regime: Any, kind: Any, price: Any) -> int:
    """Return by how much a row's price is moved: with the side that it is about."""
    if kind in (_DEPTH_BID, _BBO_BID, _TRADE_SELL):
        return int(regime[_BID])
    if kind != _TRADE or regime[_BID] == regime[_ASK]:
        return int(regime[_ASK])
    bid, ask = book.best[0], book.best[1]
    if ask < len(book.prices) and price >= book.prices[ask]:
        return int(regime[_ASK])
    if bid >= 0 and price <= book.prices[bid]:
        return int(regime[_BID])
    return int((regime[_BID] + regime[_ASK]) // 2)


@njit()
def _below_one_tick(book: Any, regime: Any) -> bool:
    bid, ask = book.best[0], book.best[1]
    if bid >= 0 and book.prices[bid] + regime[_BID] < 1:
        return True
    return bool(ask < len(book.prices) and book.prices[ask] + regime[_ASK] < 1)


@njit()
def _rewrite(prices: Any, rank: Any, columns: Any, regimes: Any, out: Any) -> tuple[int, int]:  # noqa: C901  (one pass)
    """Write the tape anew; return (rows written, -1), or the row whose price would be below one tick."""
    ts_ns, local_ns, price, qty, kind, since = columns
    book = _new_book(prices)
    n, k, message = 0, 0, 0
    regime = regimes[0]
    for i in range(len(ts_ns)):
        while k + 1 < len(regimes) and regimes[k + 1, _ROW] <= i:
            before = regime
            k += 1
            regime = regimes[k]
            if not regime[_SILENT] and _below_one_tick(book, regime):
                return n, i
            n = _enter(book, regime, before, out, n)
            message = n
        code = np.int64(kind[i])
        what, more = code & (_MORE - 1), code & _MORE
        moved, lots, told = price[i], qty[i], not regime[_SILENT]
        if what >= _DEPTH_BID:
            moved += _shift_of(book, regime, what, price[i])
            if what >= _TRADE_SELL and told and moved < 1:
                return n, i
            told = told and 1 <= moved <= _HIGHEST
            if what <= _BBO_ASK and lots > 0:
                lots = max(1, lots // regime[_DIVISOR])
            book.about[_FIRST_SEEN] = 1
        _apply(book, what, rank[i], qty[i], more)
        if told:
            n = _put(out, n, ts_ns[i], local_ns[i], moved, lots, code, since[i] if len(since) else -1)
        if more == 0:
            if not told:  # a level that has no price here was the message's last row
                _end_message(out, message, n)
            message = n
            if not regime[_SILENT] and _below_one_tick(book, regime):
                return n, i
    return n, -1


@njit()
def _touch(prices: Any, rank: Any, qty: Any, kind: Any, out: Any) -> None:
    book = _new_book(prices)
    for i in range(len(kind)):
        code = np.int64(kind[i])
        _apply(book, code & (_MORE - 1), rank[i], qty[i], code & _MORE)
        bid, ask = book.best[0], book.best[1]
        out[0, i] = prices[bid] if bid >= 0 else 0
        out[1, i] = prices[ask] if ask < len(prices) else 0


def _ranks(tape: EventTape) -> tuple[Ints, Ints]:
    prices, rank = np.unique(np.asarray(tape.price_ticks), return_inverse=True)
    return prices, np.asarray(rank, np.int64)


def touches(tape: EventTape) -> Ints:
    """Return int64[2, n]: the best bid and the best ask (ticks; 0: none) after every row of a tick tape."""
    out = np.zeros((2, len(tape)), np.int64)
    _touch(*_ranks(tape), np.asarray(tape.qty_lots), np.asarray(tape.kind), out)
    return out


class Regime(NamedTuple):
    """How a stretch of a tape is written, from `ts_ns` to the next regime.

    Attributes:
        ts_ns: when it begins, exchange time.
        bid_ticks, ask_ticks: what the prices of bids (and of trades that hit them) and of asks are moved by.
        divisor: of the quantities of the book, at least one lot each; trades keep theirs.
        silent: its rows are lost: a GAP stands for them.
    """

    ts_ns: int
    bid_ticks: int = 0
    ask_ticks: int = 0
    divisor: int = 1
    silent: bool = False


def rewrite(tape: EventTape, regimes: list[Regime]) -> dict[str, Ints | None]:
    """Return the columns of a tick tape as its regimes have it; before the first it stays as it is.

    Levels that a regime would put below one tick are left out, for there is no such price; a best price or a trade
    there is refused.

    Args:
        tape: of ticks, as `check_ticks` wants it.
        regimes: in order of time; those behind the last row are ignored, and so are those that change nothing.

    Raises:
        ConfigError: a best price or a trade would fall below one tick.
    """
    table, last = [_table_row(tape, 0, Regime(int(tape.ts_ns[0])))], Regime(0)
    for regime in regimes:
        row = int(np.searchsorted(tape.ts_ns, regime.ts_ns, side="left"))
        if row < len(tape) and regime[1:] != last[1:]:
            table.append(_table_row(tape, row, regime))
            last = regime
    columns = (
        *(np.asarray(column) for column in (tape.ts_ns, tape.local_ts_ns, tape.price_ticks, tape.qty_lots, tape.kind)),
        np.zeros(0, np.int64) if tape.since_ns is None else np.asarray(tape.since_ns),
    )
    prices, rank = _ranks(tape)
    limits = np.array(table, np.int64)
    rows, wrong = _rewrite(prices, rank, columns, limits, np.empty((6, 0), np.int64))
    if wrong >= 0:
        raise ConfigError(
            f"the scenario would drive a price below one tick ({tape.instrument.tick_size:g}) at row {wrong} of the "
            "tape; take a smaller move"
        )
    out = np.empty((6, rows), np.int64)
    _rewrite(prices, rank, columns, limits, out)
    return {
        "ts_ns": out[_OUT_TS],
        "local_ts_ns": out[_OUT_LOCAL],
        "price_ticks": out[_OUT_PRICE],
        "qty_lots": out[_OUT_QTY],
        "kind": out[_OUT_KIND].astype(np.int8),
        "since_ns": None if tape.since_ns is None else out[_OUT_SINCE],
    }


def _table_row(tape: EventTape, row: int, regime: Regime) -> tuple[int, ...]:
    """Return a regime as the compiled code reads it; what is written at its start takes as long to us as its kind."""
    local = regime.ts_ns
    if row > 0:
        delay = int(tape.local_ts_ns[row - 1]) - int(tape.ts_ns[row - 1])
        local = min(max(regime.ts_ns + delay, int(tape.local_ts_ns[row - 1])), int(tape.local_ts_ns[row]))
    return (
        row, regime.ts_ns, local, regime.bid_ticks, regime.ask_ticks, regime.divisor, int(regime.silent)
    )  # fmt: skip
