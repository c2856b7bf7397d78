"""Tapes as files of others: tidy Parquet (book, trades, bbo), hftbacktest's .npz, CSV.

Reading a Parquet or npz file back gives the same columns, row for row (`marketmakerl.data.tape_restore`).

Parquet. Update ids (`seq`, and `trade_id` of trades) number the tape's rows: every message carries the number of its
first row, so that the files of one tape can be put together again, whatever stood between whom. What the columns have
no word for is written so that any reader of the schema does the right thing:

    GAP              a diff of nothing whose `prev_seq` is its own id: it follows no update, and breaks the sequence
    empty snapshot   one snapshot row with quantity 0
    half a quote     NaN and 0 for the side that a best-quote message does not name

hftbacktest. Its events have no messages and no gaps: every row is an event of both sides of the wire, a GAP and the
head of a snapshot clear both sides of its book. What it makes of the rest is counted in `Exported.notes`: its
backtests use neither best quotes nor trades of unknown aggressor. `ival` holds the tape's kind and MORE flag.

CSV. ts_ns, local_ts_ns, kind, more (1: the message goes on in the next row), price, qty; bars too.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from marketmakerl.core.artifacts import write_atomic, write_atomic_parts
from marketmakerl.core.errors import DataFormatError, UnknownNameError
from marketmakerl.data.catalog import TIER_KEY
from marketmakerl.data.hftbacktest_import import EVENT_DTYPE, KEY
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.data.tape_restore import NPZ_KEY, TAPE_KEY, VERSION, checksums
from marketmakerl.data.tick_checks import check_ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from marketmakerl.data.tape import EventTape

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

_CHUNK: Final = 1 << 18  # rows of CSV at a time
_EXACT: Final = 2**53
_CLASS_OF_KIND: Final = np.zeros(16, np.int8)
_GAP, _BOOK, _BBO, _TRADES = 1, 2, 3, 4
for _kind, _class in (
    *((kind, _BOOK) for kind in (Kind.SNAPSHOT, Kind.DEPTH_BID, Kind.DEPTH_ASK)),
    *((kind, _BBO) for kind in (Kind.BBO_BID, Kind.BBO_ASK)),
    *((kind, _TRADES) for kind in (Kind.TRADE_SELL, Kind.TRADE_BUY, Kind.TRADE)),
    (Kind.GAP, _GAP),
):
    _CLASS_OF_KIND[_kind] = _class
# hftbacktest 2.x: kinds of events and flags.
_DEPTH_EVENT, _TRADE_EVENT, _CLEAR_EVENT, _SNAPSHOT_EVENT, _BBO_EVENT = 1, 2, 3, 4, 5
_SELL, _BUY, _BOTH_SIDES_OF_THE_WIRE = 1 << 28, 1 << 29, 1 << 30 | 1 << 31


@dataclass
class Exported:
    """What was written.

    Attributes:
        files: the files.
        rows: rows of the tape, all of which are in them.
        notes: what the format's other readers will not make of some rows: text -> rows.
    """

    files: list[Path]
    rows: int
    notes: dict[str, int] = field(default_factory=dict)


def export(tape: EventTape, to: str, out: Path, *, stem: str = "tape") -> Exported:
    """Write a tape in the format `to`: "parquet" (a folder), "npz" or "csv" (a file).

    Raises:
        UnknownNameError: another format. Else what the writers raise.
    """
    if to == "parquet":
        return export_parquet(tape, out, stem)
    if to not in WRITERS:
        raise UnknownNameError("export format", to, {*WRITERS, "parquet"})
    return WRITERS[to](tape, out)


def export_parquet(tape: EventTape, folder: Path, stem: str) -> Exported:
    """Write `<folder>/book/<stem>_l2.parquet`, trades/<stem>_trades.parquet and bbo/<stem>_bbo.parquet, as there are.

    Args:
        tape: of ticks.
        folder: made if need be. With a stem like binance_BTCUSDT_2024-08-08T2354 it is a catalog.
        stem: of the names.

    Raises:
        DataFormatError: a tape of bars, an empty or a wrong one, or a message that the schemas cannot hold (book and
            trades in one, a head with a price).
        ArtifactError: a file cannot be written; no half file is left.
    """
    start = _message_starts(tape)
    numbers = np.flatnonzero(start)[np.cumsum(start) - 1]
    cls = _CLASS_OF_KIND[tape.kind & ~MORE]
    _refuse_mixed(tape, start, numbers, cls)
    tables = {
        "book": _book_table(tape, numbers, (cls == _BOOK) | (cls == _GAP)),
        "bbo": _bbo_table(tape, numbers, cls == _BBO),
        "trades": _trade_table(tape, numbers, cls == _TRADES),
    }
    tables = {kind: table for kind, table in tables.items() if table.num_rows}
    head = _head(tape) | {"streams": sorted(tables)}
    metadata = {TAPE_KEY: orjson.dumps(head), TIER_KEY: tape.tier.encode()}
    contents = {}
    for kind, table in tables.items():
        sink = io.BytesIO()
        pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
        contents[folder / kind / f"{stem}_{'l2' if kind == 'book' else kind}.parquet"] = sink.getvalue()
    for path, content in contents.items():
        write_atomic(path, content)
    halves = 0 if "bbo" not in tables else int(np.isnan(tables["bbo"]["bid_px"]).sum())
    if "bbo" in tables:
        halves += int(np.isnan(tables["bbo"]["ask_px"]).sum())
    return Exported(list(contents), len(tape), {"best quotes of one side, NaN for the other": halves} if halves else {})


def export_hftbacktest(tape: EventTape, path: Path) -> Exported:
    """Write an .npz with the events as "data", in hftbacktest's dtype.

    Raises:
        DataFormatError: a tape of bars, an empty or a wrong one, or a time that is zero or less.
        ArtifactError: the file cannot be written; no half file is left.
    """
    start = _message_starts(tape)
    kind = (tape.kind & ~MORE).astype(np.int64)
    if tape.ts_ns[0] <= 0 or tape.local_ts_ns[0] <= 0:
        raise DataFormatError("row 0 of the tape has a time of zero or less, which hftbacktest has no room for")
    opens = start & (kind == Kind.SNAPSHOT)
    in_snapshot = np.repeat(opens[start], np.diff(np.r_[np.flatnonzero(start), len(tape)]))
    what = np.zeros(16, np.uint64)
    bid, ask = (Kind.DEPTH_BID, Kind.BBO_BID), (Kind.DEPTH_ASK, Kind.BBO_ASK)
    what[[Kind.GAP, Kind.SNAPSHOT]] = _CLEAR_EVENT
    what[[Kind.DEPTH_BID, Kind.DEPTH_ASK]] = _DEPTH_EVENT
    what[[Kind.BBO_BID, Kind.BBO_ASK]] = _BBO_EVENT
    what[[Kind.TRADE_SELL, Kind.TRADE_BUY, Kind.TRADE]] = _TRADE_EVENT
    is_depth = (kind == Kind.DEPTH_BID) | (kind == Kind.DEPTH_ASK)
    side = np.zeros(16, np.uint64)
    side[[*bid, Kind.TRADE_BUY]], side[[*ask, Kind.TRADE_SELL]] = _BUY, _SELL
    events = np.zeros(len(tape), EVENT_DTYPE)
    flags = np.uint64(_BOTH_SIDES_OF_THE_WIRE) | side[kind]
    events["ev"] = np.where(in_snapshot & is_depth, np.uint64(_SNAPSHOT_EVENT), what[kind]) | flags
    events["exch_ts"], events["local_ts"] = tape.ts_ns, tape.local_ts_ns
    events["px"], events["qty"] = prices(tape), quantities(tape)
    events["ival"] = tape.kind
    head = np.frombuffer(orjson.dumps(_head(tape)), np.uint8)
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {KEY: events, NPZ_KEY: head}
    np.savez_compressed(buffer, **arrays)
    write_atomic(path, buffer.getvalue())
    notes = {
        "gaps: hftbacktest's book is empty until the next snapshot": int((kind == Kind.GAP).sum()),
        "best quotes: hftbacktest's backtests do not use them": int(((kind == bid[1]) | (kind == ask[1])).sum()),
        "trades of unknown aggressor: they fill nobody in hftbacktest": int((kind == Kind.TRADE).sum()),
    }
    return Exported([path], len(tape), {text: count for text, count in notes.items() if count})


def export_csv(tape: EventTape, path: Path) -> Exported:
    """Write one row of text a row of the tape; heads of snapshots and gaps have no price and no quantity.

    Raises:
        DataFormatError: an empty tape, or (ticks) a wrong one.
        ArtifactError: the file cannot be written; no half file is left.
    """
    if tape.is_bars and len(tape) == 0:
        raise DataFormatError("the tape holds no events")
    if not tape.is_bars:
        _message_starts(tape)
    write_atomic_parts(path, _csv_parts(tape))
    return Exported([path], len(tape))


def _csv_parts(tape: EventTape) -> Iterator[bytes]:
    names = np.array([Kind(kind).name if kind in set(Kind) else "" for kind in range(16)], object)
    price, qty = prices(tape), quantities(tape)
    for at in range(0, len(tape), _CHUNK):
        rows = slice(at, at + _CHUNK)
        kind = tape.kind[rows] & ~MORE
        bare = (kind == Kind.SNAPSHOT) | ((kind == Kind.GAP) & (not tape.is_bars))
        table = pa.table({
            "ts_ns": tape.ts_ns[rows], "local_ts_ns": tape.local_ts_ns[rows], "kind": names[kind],
            "more": ((tape.kind[rows] & MORE) != 0).astype(np.int8),
            "price": pa.array(price[rows], mask=bare), "qty": pa.array(qty[rows], mask=bare),
        })  # fmt: skip
        sink = io.BytesIO()
        pcsv.write_csv(table, sink, pcsv.WriteOptions(include_header=at == 0, quoting_style="none"))
        yield sink.getvalue()


def prices(tape: EventTape) -> Floats:
    """Return the prices as the nearest floats to their decimals; 0.0 where a row has none."""
    return decimals(tape.price_ticks, tape.instrument.tick_size)


def quantities(tape: EventTape) -> Floats:
    """Return the quantities as the nearest floats to their decimals."""
    return decimals(tape.qty_lots, tape.instrument.lot_size)


def decimals(steps: Ints, step: float) -> Floats:
    """Return whole numbers of steps as decimals: 3 steps of 0.1 are 0.3, not 0.30000000000000004.

    One division of two exact numbers is rounded once, so that the result is the nearest float there is.
    """
    exponent = Decimal(repr(step)).as_tuple()
    digits, power = int("".join(map(str, exponent.digits))), int(exponent.exponent)
    largest = int(steps.max(initial=0))
    if power > 0 or -power > 22 or largest * digits >= _EXACT:
        return np.asarray(steps * step, np.float64)
    return np.asarray((steps * digits) / float(10**-power), np.float64)


def _message_starts(tape: EventTape) -> Mask:
    """Return where messages begin, after checking the tape."""
    check_ticks(tape)
    if len(tape) == 0:
        raise DataFormatError("the tape holds no events")
    start: Mask = np.r_[True, (tape.kind[:-1] & MORE) == 0]
    return start


def _refuse_mixed(tape: EventTape, start: Mask, numbers: Ints, cls: npt.NDArray[np.int8]) -> None:
    """Refuse messages that the schemas have no row for."""
    kind = tape.kind & ~MORE
    head = (kind == Kind.SNAPSHOT) | (kind == Kind.GAP)
    after = np.r_[False, ~start[1:]]
    follows = np.r_[kind[:1], kind[:-1]]
    pair = (cls == _BBO) & after & ~((kind == Kind.BBO_ASK) & (follows == Kind.BBO_BID))
    late = np.r_[False, np.diff(tape.local_ts_ns) != 0] & after
    late &= (cls == _BBO) | np.r_[False, kind[:-1] == Kind.SNAPSHOT]
    for wrong, why in (
        (late, "it was received at another time than the row ahead of it, and they make one"),
        (cls != cls[numbers], "its message holds book, best quotes or trades together"),
        (head & ~start, "a snapshot or a gap begins within a message"),
        ((cls == _GAP) & after, "a gap within a message"),
        (pair, "best quotes of one message must be a bid and then an ask"),
        (head & ((tape.price_ticks != 0) | (tape.qty_lots != 0)), "a snapshot's or gap's head has a price or quantity"),
    ):
        if wrong.any():
            raise DataFormatError(
                f"row {int(np.argmax(wrong))} of the tape has no place in these files: {why}; export it as npz"
            )


def _book_table(tape: EventTape, numbers: Ints, mine: Mask) -> pa.Table:
    kind = tape.kind & ~MORE
    opens = kind == Kind.SNAPSHOT
    size = np.bincount(numbers, minlength=len(kind))
    empty = opens & (size == 1)
    # The head of a snapshot is no row of its own, unless nothing else is there to say it.
    rows = np.flatnonzero(mine & (~opens | empty))
    of = numbers[rows]
    gap, snapshot = kind[rows] == Kind.GAP, opens[of]
    first = np.r_[True, of[1:] != of[:-1]][: len(of)]
    before = np.r_[-1, of[:-1]][: len(of)]
    before = before[np.maximum.accumulate(np.where(first, np.arange(len(of)), 0))] if len(of) else before
    bare = gap | empty[rows]
    some = int(tape.price_ticks[mine].max(initial=1)) or 1  # a price on the grid, for rows that have none
    ticks = np.where(bare, some, tape.price_ticks[rows])
    return pa.table({
        "ts_ns": tape.ts_ns[rows],
        "ts_local_ns": tape.local_ts_ns[rows],
        "side": np.where(bare | (kind[rows] == Kind.DEPTH_BID), 1, -1).astype(np.int8),
        "price": decimals(ticks, tape.instrument.tick_size),
        "qty": decimals(np.where(bare, 0, tape.qty_lots[rows]), tape.instrument.lot_size),
        "is_snapshot": snapshot,
        "first_seq": np.where(snapshot, -1, of),
        "seq": of,
        "prev_seq": np.where(gap, of, np.where(snapshot, -1, before)),
    })  # fmt: skip


def _bbo_table(tape: EventTape, numbers: Ints, mine: Mask) -> pa.Table:
    rows = np.flatnonzero(mine)
    of, place = np.unique(numbers[rows], return_inverse=True)
    columns: dict[str, Any] = {"ts_ns": tape.ts_ns[of], "ts_local_ns": tape.local_ts_ns[of]}
    for side, kind in (("bid", Kind.BBO_BID), ("ask", Kind.BBO_ASK)):
        chosen = (tape.kind[rows] & ~MORE) == kind
        px, qty = np.full(len(of), np.nan), np.zeros(len(of))
        px[place[chosen]] = decimals(tape.price_ticks[rows[chosen]], tape.instrument.tick_size)
        qty[place[chosen]] = decimals(tape.qty_lots[rows[chosen]], tape.instrument.lot_size)
        columns |= {f"{side}_px": px, f"{side}_qty": qty}
    return pa.table(columns | {"seq": of})


def _trade_table(tape: EventTape, numbers: Ints, mine: Mask) -> pa.Table:
    rows = np.flatnonzero(mine)
    kind = tape.kind[rows] & ~MORE
    return pa.table({
        "ts_ns": tape.ts_ns[rows],
        "ts_local_ns": tape.local_ts_ns[rows],
        "price": decimals(tape.price_ticks[rows], tape.instrument.tick_size),
        "qty": decimals(tape.qty_lots[rows], tape.instrument.lot_size),
        "side": np.where(kind == Kind.TRADE, 0, np.where(kind == Kind.TRADE_BUY, 1, -1)).astype(np.int8),
        "trade_id": numbers[rows],
    })  # fmt: skip


def _head(tape: EventTape) -> dict[str, Any]:
    """Return what an exported file says of its tape."""
    return {
        "version": VERSION,
        "rows": len(tape),
        "open_end": bool(tape.kind[-1] & MORE),
        "instrument": tape.instrument.as_dict(),
        "meta": tape.meta,
        "checksums": checksums(tape),
    }


WRITERS: Final[dict[str, Callable[[EventTape, Path], Exported]]] = {"npz": export_hftbacktest, "csv": export_csv}
FORMATS: Final = ("parquet", *WRITERS)
