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

Frames come in by `import_book`; readers that have whole ticks and lots already come in by `import_columns`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError
from marketmakerl.core.log import get_logger
from marketmakerl.data import clock_offset
from marketmakerl.data.frame_columns import bbo_columns, book_columns, trade_columns
from marketmakerl.data.recorded_columns import NO_SEQ
from marketmakerl.data.tape import MORE, EventTape, Kind
from marketmakerl.data.tie_order import Levels, count_shown, trades_go_first

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

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


@dataclass(frozen=True)
class ImportedBook:
    """A tape, and which update each of its rows came from.

    Attributes:
        tape: the events.
        seq: int64[rows], id of the update (`seq` of the book or bbo frame; of a GAP row, the update that revealed the
            gap); -1 for trades.
        fate: int8[updates], a `Fate` for every message of the book columns, in their order; empty without a book.
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

    def delays(self) -> Ints:
        return (self.local - self.ts)[self.timed]


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
    _check_options(clock_offset_ns, tie_order)
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
        streams["bbo"] = _bbo_rows(bbo, source, meta, streams.get("trades"))
    else:
        raise DataFormatError(f"{source}: trades alone are no market to quote in; give book_df or bbo_df")
    trades_first = _trades_first(streams, tie_order, meta)
    rows = _shifted(streams, clock_offset_ns, source, meta)
    ordered = list(rows.values())  # trades first, as they were put in
    merged = _merge(ordered if trades_first else ordered[::-1], meta)
    tape = EventTape(
        instrument, merged.ts, merged.local, price_ticks=merged.price, qty_lots=merged.qty, kind=merged.kind, meta=meta
    )
    return ImportedBook(tape, merged.seq, became)


def _check_options(clock_offset_ns: object, tie_order: str) -> None:
    whole = isinstance(clock_offset_ns, (int, np.integer)) and not isinstance(clock_offset_ns, bool)
    if clock_offset_ns != "auto" and not whole:
        raise ConfigError(f'clock_offset_ns must be "auto" or whole nanoseconds, got {clock_offset_ns!r}')
    if tie_order not in {"auto", "trades", "book"}:
        raise ConfigError(f'tie_order must be "auto", "trades" or "book", got {tie_order!r}')


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


def _bbo_rows(bbo: BboColumns, source: str, meta: dict[str, Any], trades: _Rows | None) -> _Rows:
    what = f"{source}: bbo"
    local, ts = bbo.local, bbo.ts
    has_time = ts is not None
    if ts is None:
        if local is None or trades is None or not trades.received:
            raise DataFormatError(
                f"{what} has no exchange time (ts_ns is -1), and there are no trades with both times to estimate it "
                "from"
            )
        ts = local - int(np.median(trades.delays()))
    order = np.argsort(bbo.seq, kind="stable")
    times, clamped = _forward(ts[order], what)
    kinds = np.array([Kind.BBO_BID | MORE, Kind.BBO_ASK], np.int8)
    meta["bbo"] = "used"
    meta["bbo_time"] = "recorded" if has_time else "estimated: receipt less the median delay of the trades"
    meta["messages"], meta["exchange_time_clamped"] = len(ts), clamped
    meta["reordered"] = int((np.diff(bbo.seq) < 0).sum())
    received = local is not None
    return _Rows(
        np.repeat(times, 2),
        np.repeat(times if local is None else local[order], 2),
        price=bbo.price[order].ravel(),
        qty=bbo.qty[order].ravel(),
        kind=np.tile(kinds, len(ts)),
        seq=np.repeat(bbo.seq[order], 2),
        timed=np.full(2 * len(ts), received and has_time),
        received=received,
    )


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


def _forward(ts: Ints, what: str) -> tuple[Ints, int]:
    """Return times made non-decreasing in the order of the update ids, and how many were raised."""
    times: Ints = np.maximum.accumulate(ts)
    back = times - ts
    worst = int(np.argmax(back)) if len(back) else 0
    if len(back) and back[worst] > MAX_BACKWARDS_NS:
        raise DataQualityError(
            f"{what}: update {worst} in the order of seq is {back[worst] / NS_PER_S:.3f} s before an earlier one; "
            "is this one recording? split it where the venue began to count anew"
        )
    return times, int((back > 0).sum())


def _trades_first(streams: dict[str, _Rows], tie_order: TieOrder, meta: dict[str, Any]) -> bool:
    book, trades = streams.get("book"), streams.get("trades")
    if tie_order == "auto" and book is not None and trades is not None:
        shown, tied = _tied(book, trades)
        meta["tied_trades"], meta["tied_trades_shown"] = tied, shown
        first = trades_go_first(shown, tied)
    else:
        first = tie_order != "book"
    meta["tie_order"] = "trades" if first else "book"
    return first


def _tied(book: _Rows, trades: _Rows) -> tuple[int, int]:
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
    return count_shown(levels, book.ts[ends], trades.ts[sided], hit[sided], trades.qty[sided])


def _shifted(
    streams: dict[str, _Rows], clock_offset_ns: Literal["auto"] | int, source: str, meta: dict[str, Any]
) -> dict[str, _Rows]:
    """Return the streams with times of receipt on the exchange's clock, as far as that can be told."""
    if clock_offset_ns == "auto":
        offset = clock_offset.estimate({name: rows.delays() for name, rows in streams.items()}, source)
    else:
        offset = int(clock_offset_ns)
    received = [name for name, rows in streams.items() if rows.received]
    meta["clock_offset_ns"] = offset if received else 0
    meta["receipt"] = {len(streams): "recorded", 0: "not recorded"}.get(
        len(received), f"recorded for {received[0]} only" if received else ""
    )
    return {name: replace(rows, local=rows.local + offset) if rows.received else rows for name, rows in streams.items()}


def _merge(streams: list[_Rows], meta: dict[str, Any]) -> _Rows:
    """Put the streams into one order; at one time, the earlier stream goes first."""
    ts = np.concatenate([rows.ts for rows in streams])
    order = np.argsort(ts, kind="stable")
    local = np.concatenate([rows.local for rows in streams])[order]
    seen: Ints = np.maximum.accumulate(local)
    meta["receipt_raised"] = int((seen > local).sum())
    meta["rows"] = len(ts)
    rest = {
        name: np.concatenate([getattr(rows, name) for rows in streams])[order]
        for name in ("price", "qty", "kind", "seq", "timed")
    }
    return _Rows(ts=ts[order], local=seen, received=any(rows.received for rows in streams), **rest)


def _filled(at_head: Mask, values: Ints) -> Ints:
    """Return a column: zero in head rows (they have neither price nor quantity), the values in the others."""
    column = np.zeros(len(at_head), np.int64)
    column[~at_head] = values
    return column
