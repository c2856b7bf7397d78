"""Recorded order books, trades and best quotes as one tape (the schemas of docs: book, trades, bbo).

All rows stand in one order, by exchange time; rows of one update are one message. The steps:

1. Updates are ordered by their id, a snapshot after the diffs it already contains: recordings start the diffs, then
   ask for the snapshot. Diffs before the first snapshot are dropped.
2. Every diff must follow the one before (`prev_seq` is its id, else `first_seq` is its id + 1; the first after a
   snapshot may overlap it). Where one does not, a GAP row says so and diffs are dropped until the next snapshot.
3. A snapshot without exchange time (Binance spot) gets the time of the first diff applied to it.
4. Trades are merged in; at one exchange time before or after the book, see `marketmakerl.data.tie_order`.
5. Times of receipt are shifted where they lie before the sending (`marketmakerl.data.clock_offset`) and made
   non-decreasing: a message is not seen before the one ahead of it.
6. Best prices without exchange time (Binance spot) are dated by their receipt less the median delay of the trades
   received up to then; those before the first trade are dropped.

What is estimated for a row is made of what came before it: a recording cut short gives the same rows up to the cut.
One thing is decided by the whole recording: without any snapshot, the diffs alone are the book, which began empty.

Frames come in by `import_book`; readers that have whole ticks and lots already come in by `import_columns`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError
from marketmakerl.core.log import get_logger
from marketmakerl.data.clock_offset import assume, checked_offset, on_exchange_clock
from marketmakerl.data.frame_columns import bbo_columns, book_columns, trade_columns
from marketmakerl.data.recorded_columns import NO_SEQ
from marketmakerl.data.tape import MORE, EventTape, Kind
from marketmakerl.data.tie_order import Levels, Ties, find_ties, trades_go_first

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.recorded_columns import BboColumns, BookColumns, TradeColumns

    Ints = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

log = get_logger(__name__)

# Exchange times may run back a little between updates (several servers stamp them); more is another recording.
MAX_BACKWARDS_NS: Final = NS_PER_S

TieOrder = Literal["auto", "trades", "book"]


class Fate(enum.IntEnum):
    """What became of an update of the book."""

    APPLIED = 0
    EARLY = 1  # before the first snapshot: not needed
    GAP = 2  # does not follow the update before it; a GAP row stands in its place
    LOST = 3  # between a gap and the next snapshot
    UNDATED = 4  # a best price without exchange time, before the first trade: nothing dates it


@dataclass(frozen=True)
class ImportedBook:
    """A tape, and which update each of its rows came from.

    Attributes:
        tape: the events.
        seq: int64[rows], id of the update (`seq` of the book or bbo frame; of a GAP row, the update that revealed the
            gap); -1 for trades.
        fate: int8[updates], a `Fate` for every message of the book columns (without a book, of the best prices), in
            their order.
    """

    tape: EventTape
    seq: Ints
    fate: npt.NDArray[np.int8]


@dataclass(frozen=True)
class _Rows:
    """Rows of one stream in their final form.

    `received` says whether times of receipt were recorded; `timed` marks rows whose two times both were.
    """

    ts: Ints
    local: Ints
    price: Ints
    qty: Ints
    kind: npt.NDArray[np.int8]
    seq: Ints
    timed: Mask
    received: bool


def import_book(
    book_df: pd.DataFrame | None,
    trades_df: pd.DataFrame | None,
    instrument: Instrument,
    *,
    bbo_df: pd.DataFrame | None = None,
    clock_offset_ns: Literal["auto"] | int = "auto",
    tie_order: TieOrder = "auto",
    tier: str = "T1",
    source: str = "",
) -> ImportedBook:
    """Compile recorded frames to a tape; the arguments and errors are those of `EventTape.from_book`."""
    source = source or "recording"
    book = None if book_df is None else book_columns(book_df, instrument, f"{source}: book")
    trades, bbo = None, None
    if trades_df is not None and len(trades_df):
        trades = trade_columns(trades_df, instrument, f"{source}: trades")
    if book_df is None and bbo_df is not None:
        bbo = bbo_columns(bbo_df, instrument, f"{source}: bbo")
    imported = import_columns(
        *(book, trades, instrument),
        bbo=bbo,
        clock_offset_ns=clock_offset_ns,
        tie_order=tie_order,
        tier=tier,
        source=source,
    )
    if book_df is not None and bbo_df is not None:
        imported.tape.meta["bbo"] = "not merged: the book says more"
    return imported


def import_columns(
    book: BookColumns | None,
    trades: TradeColumns | None,
    instrument: Instrument,
    *,
    bbo: BboColumns | None = None,
    clock_offset_ns: Literal["auto"] | int = "auto",
    tie_order: TieOrder = "auto",
    tier: str = "T1",
    source: str = "",
) -> ImportedBook:
    """Compile columns that are on the grid already; the rules are those of `import_book`.

    Args:
        book: messages in any order.
        trades: in the order of the venue.
        instrument: what their ticks and lots mean.
        bbo: used only where there is no book.
        clock_offset_ns: as in `EventTape.from_book`, like the rest.
        tie_order: what goes first at one exchange time.
        tier: of the data.
        source: named in errors.

    Raises:
        DataFormatError: neither book nor bbo, or nothing to date a row by.
        DataQualityError: exchange time runs back by more than 1 s.
        ConfigError: an option that is none.
    """
    offset_ns = checked_offset(clock_offset_ns)
    if tie_order not in {"auto", "trades", "book"}:
        raise ConfigError(f'tie_order must be "auto", "trades" or "book", got {tie_order!r}')
    source = source or "recording"
    meta: dict[str, Any] = {"clock": "ticks", "tier": tier, "source": source}
    streams: dict[str, _Rows] = {}
    became = np.empty(0, np.int8)
    if trades is not None and len(trades.ts):
        streams["trades"] = _trade_rows(trades, meta)
    if book is not None:
        streams["book"], became = _book_rows(book, source, meta)
        meta["bbo"] = "none" if bbo is None else "not merged: the book says more"
    elif bbo is not None:
        streams["bbo"], became = _bbo_rows(bbo, source, meta, streams.get("trades"))
    else:
        raise DataFormatError(f"{source}: trades alone are no market to quote in; give book_df or bbo_df")
    merged = _merge(streams, _trades_first(streams, tie_order, meta), offset_ns, source, meta)
    tape = EventTape(
        instrument, merged.ts, merged.local, price_ticks=merged.price, qty_lots=merged.qty, kind=merged.kind, meta=meta
    )
    return ImportedBook(tape, merged.seq, became)


def _trade_rows(trades: TradeColumns, meta: dict[str, Any]) -> _Rows:
    ts, local = trades.ts, trades.local
    kind = np.choose(trades.side + 1, [Kind.TRADE_SELL, Kind.TRADE, Kind.TRADE_BUY]).astype(np.int8)
    meta["trades"] = len(ts)
    meta["trades_reordered"] = int((np.diff(ts) < 0).sum())
    received = local is not None
    seq = np.full(len(ts), NO_SEQ, np.int64)
    timed = np.full(len(ts), received)
    local = ts if local is None else local
    return _Rows(ts, local, trades.price, trades.qty, kind, seq, timed, received)  # `_merge` puts them in order


def _bbo_rows(
    bbo: BboColumns, source: str, meta: dict[str, Any], trades: _Rows | None
) -> tuple[_Rows, npt.NDArray[np.int8]]:
    what = f"{source}: bbo"
    untimed = bbo.ts < 0
    ts, dated = bbo.ts, np.ones(len(bbo.ts), np.bool_)
    meta["bbo"] = "used"
    meta["bbo_time"] = "recorded"
    if untimed.any():
        delay, known = _running_delay(bbo, trades)
        ts, dated = (
            np.where(untimed & known, (bbo.ts if bbo.local is None else bbo.local) - delay, ts),
            known | ~untimed,
        )
        if not dated.any():
            raise DataFormatError(
                f"{what} has no exchange time (ts_ns is -1), and there are no trades with both times, received before "
                "its end, to estimate it from"
            )
        meta["bbo_time"] = "estimated: receipt less the median delay of the trades received up to then"
        meta["bbo_undated"] = int((~dated).sum())
        assume(meta, f"best prices: exchange time {meta['bbo_time']}; {meta['bbo_undated']} before the first trade "
               "left out")  # fmt: skip
    order = np.argsort(bbo.seq, kind="stable")
    order = order[dated[order]]
    times, clamped = _forward(ts[order], what, any_step=bool(untimed.any()))
    kinds = np.array([Kind.BBO_BID | MORE, Kind.BBO_ASK], np.int8)
    meta["messages"], meta["exchange_time_clamped"] = len(order), clamped
    meta["reordered"] = int((np.diff(bbo.seq) < 0).sum())
    local = None if bbo.local is None else bbo.local[order]
    rows = _Rows(
        np.repeat(times, 2),
        np.repeat(times if local is None else local, 2),
        price=bbo.price[order].ravel(),
        qty=bbo.qty[order].ravel(),
        kind=np.tile(kinds, len(order)),
        seq=np.repeat(bbo.seq[order], 2),
        timed=np.repeat(~untimed[order], 2) & (local is not None),
        received=local is not None,
    )
    return rows, np.where(dated, Fate.APPLIED, Fate.UNDATED).astype(np.int8)


def _running_delay(bbo: BboColumns, trades: _Rows | None) -> tuple[Ints, Mask]:
    """Return the median delay of the trades received up to each best price, and where there was one."""
    if bbo.local is None or trades is None or not trades.received:
        return np.zeros(len(bbo.ts), np.int64), np.zeros(len(bbo.ts), np.bool_)
    order = np.argsort(trades.local, kind="stable")
    seen = trades.local[order]
    median = pd.Series(seen - trades.ts[order]).expanding().median().to_numpy()
    last = np.searchsorted(seen, bbo.local, side="right") - 1
    return np.floor(median[np.maximum(last, 0)]).astype(np.int64), last >= 0


def _book_rows(book: BookColumns, source: str, meta: dict[str, Any]) -> tuple[_Rows, npt.NDArray[np.int8]]:
    what = f"{source}: book"
    order = np.lexsort((book.snapshot, book.seq))  # a snapshot after the diff of its own id
    updates = _Updates(
        book.seq[order],
        book.snapshot[order],
        book.ts[order],
        first_seq=book.first_seq[order],
        prev_seq=book.prev_seq[order],
    )
    fate = _follow(updates, source, meta)
    sent, clamped = _update_times(updates, fate, what)
    level = _levels_of(book.start[order], book.size[order])
    price, qty, bid = book.price[level], book.qty[level], book.bid[level]
    of_level = np.repeat(np.arange(len(order)), book.size[order])
    # A level of a snapshot that holds nothing is not in it, and must not widen what is known.
    keep = fate.applied[of_level] & ~(updates.snapshot[of_level] & (qty == 0))
    received = sent if book.local is None else book.local[order]
    size = np.bincount(of_level[keep], minlength=len(order))
    head = (fate.applied & updates.snapshot) | fate.gap
    meta["messages"] = int((fate.applied | fate.gap).sum())
    meta["reordered"] = book.reordered
    meta["exchange_time_clamped"], meta["off_lot_rounded_up"] = clamped, book.off_lot
    if book.off_lot:
        log.warning("off_lot_levels", source=source, rows=book.off_lot, note="rounded up to whole lots")
    of_update = np.repeat(np.arange(len(order)), size + head)
    at_head = np.zeros(len(of_update), np.bool_)
    begin = np.cumsum(size + head) - (size + head)
    at_head[begin[head]] = True
    out = _Rows(
        sent[of_update],
        received[of_update],
        price=_filled(at_head, price[keep]),
        qty=_filled(at_head, qty[keep]),
        kind=np.zeros(len(of_update), np.int8),
        seq=updates.seq[of_update],
        timed=(~updates.snapshot | (updates.snapshot.all() & (updates.ts > 0)))[of_update] & (book.local is not None),
        received=book.local is not None,
    )
    out.kind[~at_head] = np.where(bid[keep], Kind.DEPTH_BID, Kind.DEPTH_ASK)
    out.kind[at_head] = np.where(fate.gap, Kind.GAP, Kind.SNAPSHOT)[head]
    out.kind[:-1] |= np.where(np.diff(of_update) == 0, MORE, 0).astype(np.int8)
    became = np.empty(len(order), np.int8)
    became[order] = fate.named()
    return out, became


def _levels_of(start: Ints, size: Ints) -> Ints | slice:
    """Return which levels the messages have, one message after the other; a slice where they stand so already."""
    ends = np.cumsum(size)
    begin = ends - size
    if np.array_equal(start, begin):
        return slice(0, int(ends[-1]) if len(ends) else 0)
    return np.repeat(start - begin, size) + np.arange(ends[-1])


@dataclass(frozen=True)
class _Updates:
    """One entry an update, in the order of their ids; a snapshot stands after the diffs it contains."""

    seq: Ints
    snapshot: Mask
    ts: Ints
    first_seq: Ints
    prev_seq: Ints


@dataclass(frozen=True)
class _Fates:
    """What becomes of each update: applied, or the place of a gap, or (neither) dropped."""

    applied: Mask
    gap: Mask
    begun: Mask

    def named(self) -> npt.NDArray[np.int8]:
        """Return the `Fate` of each."""
        dropped = np.where(self.gap, Fate.GAP, np.where(self.begun, Fate.LOST, Fate.EARLY))
        return np.where(self.applied, Fate.APPLIED, dropped).astype(np.int8)


def _follow(updates: _Updates, source: str, meta: dict[str, Any]) -> _Fates:
    """Check that every diff follows the update before it, and drop what cannot be applied."""
    n = len(updates.seq)
    number = np.arange(n)
    begun = np.maximum.accumulate(updates.snapshot) if updates.snapshot.any() else np.ones(n, np.bool_)
    before, diff = updates.seq[:-1], ~updates.snapshot[1:]
    first, prev = updates.first_seq[1:], updates.prev_seq[1:]
    # The first diff after a snapshot may begin inside it; any other continues exactly where the last one ended.
    from_snapshot = updates.snapshot[:-1]
    prev_fits = np.where(from_snapshot, prev <= before, prev == before)
    first_fits = np.where(from_snapshot, first <= before + 1, first == before + 1)
    fits = np.where(prev >= 0, prev_fits, np.where(first >= 0, first_fits, True))
    broken = np.r_[False, diff & ~fits] & begun
    last_break = np.maximum.accumulate(np.where(broken, number, -1))
    last_snapshot = np.maximum.accumulate(np.where(updates.snapshot, number, -1))
    in_gap = last_break > last_snapshot
    gap = in_gap & ~np.r_[False, in_gap[:-1]]
    applied = begun & ~in_gap
    checked = diff & ((prev >= 0) | (first >= 0))
    meta["snapshots"] = int(updates.snapshot.sum())
    meta["gaps"] = int(gap.sum())
    meta["dropped_before_snapshot"] = int((~begun).sum())
    meta["dropped_in_gaps"] = int((in_gap & begun).sum())
    meta["sequence_checked"] = int(checked.sum())
    meta["sequence_unchecked"] = int((diff & ~checked).sum())
    if not updates.snapshot.any():
        assume(meta, "book: no snapshot in the whole recording, so levels that no diff named yet count as empty")
        log.warning("book_without_snapshot", source=source, note="levels that no diff named yet count as empty")
    if gap.any():
        log.warning("book_gaps", source=source, gaps=meta["gaps"], dropped=meta["dropped_in_gaps"])
    return _Fates(applied, gap, begun)


def _update_times(updates: _Updates, fate: _Fates, what: str) -> tuple[Ints, int]:
    """Return exchange times that never decrease over the updates that count, and how many had to be raised."""
    n = len(updates.ts)
    diff_at = np.where(updates.snapshot, n, np.arange(n))
    next_diff = np.minimum.accumulate(diff_at[::-1])[::-1]
    ts = updates.ts.copy()
    led = updates.snapshot & (next_diff < n)  # a snapshot stands before the first diff applied to it
    following = updates.ts[next_diff[led]]
    ts[led] = np.where(ts[led] > 0, np.minimum(ts[led], following), following)
    if (ts <= 0).any():
        last_known = np.maximum.accumulate(ts)
        ts = np.where(ts > 0, ts, last_known)
        if ts.min() <= 0:
            raise DataFormatError(f"{what} has a snapshot without exchange time and no diff to date it by")
    counts = fate.applied | fate.gap
    times, clamped = _forward(ts[counts], what)
    ts[counts] = times
    return ts, clamped


def _forward(ts: Ints, what: str, *, any_step: bool = False) -> tuple[Ints, int]:
    """Return times made non-decreasing in the order of the update ids, and how many were raised.

    `any_step`: they are estimates, so that a long way back does not mean another recording.
    """
    times: Ints = np.maximum.accumulate(ts)
    back = times - ts
    worst = int(np.argmax(back)) if len(back) else 0
    if len(back) and not any_step and back[worst] > MAX_BACKWARDS_NS:
        raise DataQualityError(
            f"{what}: update {worst} in the order of seq is {back[worst] / NS_PER_S:.3f} s before an earlier one; "
            "is this one recording? split it where the venue began to count anew"
        )
    return times, int((back > 0).sum())


def _trades_first(streams: dict[str, _Rows], tie_order: TieOrder, meta: dict[str, Any]) -> Mask:
    """Return which trades go before the book messages of their time."""
    book, trades = streams.get("book"), streams.get("trades")
    n = 0 if trades is None else len(trades.ts)
    if tie_order != "auto" or book is None or trades is None:
        meta["tie_order"] = "book" if tie_order == "book" else "trades"
        return np.full(n, tie_order != "book")
    ties = _ties(book, trades)
    first = ties.trades_first(trades.ts)
    tied, shown = len(ties.ts), int(ties.shown.sum())
    meta["tie_order"], meta["tied_trades"], meta["tied_trades_shown"] = "auto", tied, shown
    meta["tied_trades_first"] = int(ties.trades_first(ties.ts).sum())
    if tied:
        assume(meta, f"ties: of {tied} trades at the time of a book message, {meta['tied_trades_first']} stand before "
               "it and the others behind it, each by what the ties before it showed; at the end "
               f"{'trades' if trades_go_first(shown, tied) else 'book messages'} go first")  # fmt: skip
    return first


def _ties(book: _Rows, trades: _Rows) -> Ties:
    ends = (book.kind & MORE) == 0
    message = np.cumsum(np.r_[0, ends[:-1]])
    kind = book.kind & ~MORE
    depth = (kind == Kind.DEPTH_BID) | (kind == Kind.DEPTH_ASK)
    fresh = np.full(int(message[-1]) + 1, -1, np.int64)
    fresh[message[~depth]] = message[~depth]  # nothing from before a snapshot or a gap counts after it
    level = 2 * book.price + (kind == Kind.DEPTH_ASK)
    sided = trades.kind != Kind.TRADE
    hit = 2 * trades.price + (trades.kind == Kind.TRADE_BUY)
    # To sort all levels would take longer than the rest of the import.
    asked = depth & np.isin(level, hit[sided & np.isin(trades.ts, book.ts[ends])])
    levels = Levels(message[asked], level[asked], book.qty[asked], np.maximum.accumulate(fresh))
    return find_ties(levels, book.ts[ends], trades.ts[sided], hit[sided], trades.qty[sided])


def _merge(
    streams: dict[str, _Rows], trades_first: Mask, offset_ns: int | None, source: str, meta: dict[str, Any]
) -> _Rows:
    """Put the streams into one order, with times of receipt on the exchange's clock, as far as that can be told."""
    received = [name for name, rows in streams.items() if rows.received]
    meta["receipt"] = {len(streams): "recorded", 0: "not recorded"}.get(
        len(received), f"recorded for {received[0]} only" if received else ""
    )
    ranks = [np.where(trades_first, 0, 2) if name == "trades" else np.ones(len(rows.ts), np.int64)
             for name, rows in streams.items()]  # fmt: skip
    parts = list(streams.values())
    ts = np.concatenate([rows.ts for rows in parts])
    order = np.lexsort((np.concatenate(ranks), ts))
    column = {
        name: np.concatenate([getattr(rows, name) for rows in parts])[order]
        for name in ("local", "price", "qty", "kind", "seq", "timed")
    }
    of = np.concatenate([np.full(len(rows.ts), rows.received) for rows in parts])[order]
    meta["rows"] = len(ts)
    column["local"] = on_exchange_clock(
        *(ts[order], column["local"], of, column["timed"]), offset_ns=offset_ns, source=source, meta=meta
    )
    return _Rows(ts=ts[order], received=bool(received), **column)


def _filled(at_head: Mask, values: Ints) -> Ints:
    """Return a column: zero in head rows (they have neither price nor quantity), the values in the others."""
    column = np.zeros(len(at_head), np.int64)
    column[~at_head] = values
    return column
