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
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError
from marketmakerl.core.log import get_logger
from marketmakerl.data import clock_offset
from marketmakerl.data.frames import read_columns, time_of_receipt, time_sent
from marketmakerl.data.grid import to_lots, to_ticks
from marketmakerl.data.tape import MORE, EventTape, Kind
from marketmakerl.data.tie_order import Levels, count_shown, trades_go_first

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from marketmakerl.core.instrument import Instrument

    Ints = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

log = get_logger(__name__)

_TIMES: Final = {"ts_ns": "int", "ts_local_ns": "int"}
_LEVEL: Final = {"side": "int", "price": "float", "qty": "float"}
BOOK_COLUMNS: Final = _TIMES | _LEVEL | {"is_snapshot": "bool", "first_seq": "int", "seq": "int", "prev_seq": "int"}
TRADE_COLUMNS: Final = _TIMES | _LEVEL
BBO_COLUMNS: Final = _TIMES | dict.fromkeys(("bid_px", "bid_qty", "ask_px", "ask_qty"), "float") | {"seq": "int"}
# Exchange times may run back a little between updates (several servers stamp them); more is another recording.
MAX_BACKWARDS_NS: Final = NS_PER_S
# So many book levels may hold odd lots, see `to_lots`. Binance spot 2024: 2 in 100,000 rows.
OFF_LOT_SHARE: Final = 1e-3
NO_SEQ: Final = -1

TieOrder = Literal["auto", "trades", "book"]


@dataclass(frozen=True)
class ImportedBook:
    """A tape, and which update each of its rows came from.

    Attributes:
        tape: the events.
        seq: int64[rows], id of the update (`seq` of the book or bbo frame; of a GAP row, the update that revealed the
            gap); -1 for trades.
    """

    tape: EventTape
    seq: Ints


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
    _check_options(clock_offset_ns, tie_order)
    source = source or "recording"
    meta: dict[str, Any] = {"clock": "ticks", "tier": tier, "source": source}
    streams: dict[str, _Rows] = {}
    if trades_df is not None and len(trades_df):
        streams["trades"] = _trade_rows(trades_df, instrument, source, meta)
    if book_df is not None:
        streams["book"] = _book_rows(book_df, instrument, source, meta)
        meta["bbo"] = "none" if bbo_df is None else "not merged: the book says more"
    elif bbo_df is not None:
        streams["bbo"] = _bbo_rows(bbo_df, instrument, source, meta, streams.get("trades"))
    else:
        raise DataFormatError(f"{source}: trades alone are no market to quote in; give book_df or bbo_df")
    trades_first = _trades_first(streams, tie_order, meta)
    rows = _shifted(streams, clock_offset_ns, source, meta)
    ordered = list(rows.values())  # trades first, as they were put in
    merged = _merge(ordered if trades_first else ordered[::-1], meta)
    tape = EventTape(
        instrument, merged.ts, merged.local, price_ticks=merged.price, qty_lots=merged.qty, kind=merged.kind, meta=meta
    )
    return ImportedBook(tape, merged.seq)


def _check_options(clock_offset_ns: object, tie_order: str) -> None:
    whole = isinstance(clock_offset_ns, (int, np.integer)) and not isinstance(clock_offset_ns, bool)
    if clock_offset_ns != "auto" and not whole:
        raise ConfigError(f'clock_offset_ns must be "auto" or whole nanoseconds, got {clock_offset_ns!r}')
    if tie_order not in {"auto", "trades", "book"}:
        raise ConfigError(f'tie_order must be "auto", "trades" or "book", got {tie_order!r}')


def _trade_rows(frame: pd.DataFrame, instrument: Instrument, source: str, meta: dict[str, Any]) -> _Rows:
    what = f"{source}: trades"
    column = read_columns(frame, TRADE_COLUMNS, what)
    ts, local = time_sent(column["ts_ns"], what), time_of_receipt(column["ts_local_ns"], what)
    side = _sides(column["side"], (-1, 0, 1), what)
    price = to_ticks(column["price"], instrument, f"{what}, price")
    qty, _ = to_lots(column["qty"], instrument, f"{what}, qty")
    if not qty.all():
        raise DataQualityError(f"{what}, row {int(np.argmin(qty))}: a trade of nothing")
    kind = np.choose(side + 1, [Kind.TRADE_SELL, Kind.TRADE, Kind.TRADE_BUY]).astype(np.int8)
    meta["trades"] = len(ts)
    meta["trades_reordered"] = int((np.diff(ts) < 0).sum())
    received = local is not None
    local = ts if local is None else local
    seq = np.full(len(ts), NO_SEQ, np.int64)
    timed = np.full(len(ts), received)
    return _Rows(ts, local, price, qty, kind, seq, timed, received)  # `_merge` puts them in order


def _bbo_rows(
    frame: pd.DataFrame, instrument: Instrument, source: str, meta: dict[str, Any], trades: _Rows | None
) -> _Rows:
    what = f"{source}: bbo"
    column = read_columns(frame, BBO_COLUMNS, what)
    local = time_of_receipt(column["ts_local_ns"], what)
    has_time = not (column["ts_ns"] == -1).all()
    if has_time:
        ts = time_sent(column["ts_ns"], what)
    elif local is None or trades is None or not trades.received:
        raise DataFormatError(
            f"{what} has no exchange time (ts_ns is -1), and there are no trades with both times to estimate it from"
        )
    else:
        ts = local - int(np.median(trades.delays()))
    prices = [to_ticks(column[f"{side}_px"], instrument, f"{what}, {side}_px") for side in ("bid", "ask")]
    qtys = [to_lots(column[f"{side}_qty"], instrument, f"{what}, {side}_qty")[0] for side in ("bid", "ask")]
    for side, qty in zip(("bid", "ask"), qtys, strict=True):
        if not qty.all():
            raise DataQualityError(f"{what}, row {int(np.argmin(qty))}: {side}_qty is zero; a best price holds some")
    order = np.argsort(column["seq"], kind="stable")
    times, clamped = _forward(ts[order], what)
    kinds = np.array([Kind.BBO_BID | MORE, Kind.BBO_ASK], np.int8)
    meta["bbo"] = "used"
    meta["bbo_time"] = "recorded" if has_time else "estimated: receipt less the median delay of the trades"
    meta["messages"], meta["exchange_time_clamped"] = len(ts), clamped
    meta["reordered"] = int((np.diff(column["seq"]) < 0).sum())
    received = local is not None
    return _Rows(
        np.repeat(times, 2),
        np.repeat(times if local is None else local[order], 2),
        price=np.stack(prices, axis=1)[order].ravel(),
        qty=np.stack(qtys, axis=1)[order].ravel(),
        kind=np.tile(kinds, len(ts)),
        seq=np.repeat(column["seq"][order], 2),
        timed=np.full(2 * len(ts), received and has_time),
        received=received,
    )


def _book_rows(frame: pd.DataFrame, instrument: Instrument, source: str, meta: dict[str, Any]) -> _Rows:
    what = f"{source}: book"
    column = read_columns(frame, BOOK_COLUMNS, what)
    snapshot, seq, side = column["is_snapshot"], column["seq"], _sides(column["side"], (-1, 1), what)
    ts = time_sent(column["ts_ns"], what, may_lack=snapshot)
    local = time_of_receipt(column["ts_local_ns"], what)
    price = to_ticks(column["price"], instrument, f"{what}, price")
    qty, odd = to_lots(column["qty"], instrument, f"{what}, qty", off_lot_share=OFF_LOT_SHARE)
    if seq.min() < 0:
        raise DataFormatError(f"{what}, row {int(np.argmin(seq))}: seq {seq.min()}: every update needs its id")
    order = np.lexsort((snapshot, seq))  # a snapshot after the diff of its own id
    seq, snapshot, price, qty = seq[order], snapshot[order], price[order], qty[order]
    start = np.flatnonzero(np.r_[True, (np.diff(seq) != 0) | (np.diff(snapshot))])
    first = order[start]
    updates = _Updates(
        seq[start],
        snapshot[start],
        ts[first],
        first_seq=column["first_seq"][first],
        prev_seq=column["prev_seq"][first],
    )
    fate = _follow(updates, source, meta)
    sent, clamped = _update_times(updates, fate, what)
    # A level of a snapshot that holds nothing is not in it, and must not widen what is known.
    keep = fate.applied[np.cumsum(_marks(start, len(seq))) - 1] & ~(snapshot & (qty == 0))
    received = sent if local is None else np.maximum.reduceat(local[order], start)
    size = np.add.reduceat(keep.astype(np.int64), start)
    head = (fate.applied & updates.snapshot) | fate.gap
    kinds = np.where(side[order] > 0, Kind.DEPTH_BID, Kind.DEPTH_ASK).astype(np.int8)
    meta["messages"] = int((fate.applied | fate.gap).sum())
    meta["reordered"] = int((np.diff(column["seq"][~column["is_snapshot"]]) < 0).sum())
    meta["exchange_time_clamped"], meta["off_lot_rounded_up"] = clamped, odd
    if odd:
        log.warning("off_lot_levels", source=source, rows=odd, lot=instrument.lot_size, note="rounded up to whole lots")
    of_update = np.repeat(np.arange(len(start)), size + head)
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
        timed=(~updates.snapshot | (updates.snapshot.all() & (updates.ts > 0)))[of_update] & (local is not None),
        received=local is not None,
    )
    out.kind[~at_head] = kinds[keep]
    out.kind[at_head] = np.where(fate.gap, Kind.GAP, Kind.SNAPSHOT)[head]
    out.kind[:-1] |= np.where(np.diff(of_update) == 0, MORE, 0).astype(np.int8)
    return out


@dataclass(frozen=True)
class _Updates:
    """One entry an update, in the order of their ids; a snapshot stands after the diffs it contains."""

    seq: Ints
    snapshot: Mask
    ts: Ints
    first_seq: Ints
    prev_seq: Ints


@dataclass(frozen=True)
class _Fate:
    """What becomes of each update: applied, or the place of a gap, or (neither) dropped."""

    applied: Mask
    gap: Mask


def _follow(updates: _Updates, source: str, meta: dict[str, Any]) -> _Fate:
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
    return _Fate(applied, gap)


def _update_times(updates: _Updates, fate: _Fate, what: str) -> tuple[Ints, int]:
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
    levels = Levels(message[depth], level[depth], book.qty[depth], np.maximum.accumulate(fresh))
    sided = trades.kind != Kind.TRADE
    hit = 2 * trades.price + (trades.kind == Kind.TRADE_BUY)
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
    rank = np.repeat(np.arange(len(streams), dtype=np.int8), [len(rows.ts) for rows in streams])
    ts = np.concatenate([rows.ts for rows in streams])
    order = np.lexsort((rank, ts))
    local = np.concatenate([rows.local for rows in streams])[order]
    seen: Ints = np.maximum.accumulate(local)
    meta["receipt_raised"] = int((seen > local).sum())
    meta["rows"] = len(ts)
    rest = {
        name: np.concatenate([getattr(rows, name) for rows in streams])[order]
        for name in ("price", "qty", "kind", "seq", "timed")
    }
    return _Rows(ts=ts[order], local=seen, received=any(rows.received for rows in streams), **rest)


def _sides(side: Ints, allowed: tuple[int, ...], what: str) -> Ints:
    wrong = ~np.isin(side, allowed)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataFormatError(f"{what}, row {row}: side {side[row]}; known: {', '.join(map(str, allowed))}")
    return side


def _marks(start: Ints, n: int) -> Ints:
    marks = np.zeros(n, np.int64)
    marks[start] = 1
    return marks


def _filled(at_head: Mask, values: Ints) -> Ints:
    """Return a column: zero in head rows (they have neither price nor quantity), the values in the others."""
    column = np.zeros(len(at_head), np.int64)
    column[~at_head] = values
    return column
