"""Tapes back from the files that `marketmakerl.data.tape_export` wrote: the same columns, proved by their checksums."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import orjson
import xxhash

from marketmakerl.core.errors import DataFormatError
from marketmakerl.data.catalog import weakest_tier
from marketmakerl.data.clock_offset import checked_offset
from marketmakerl.data.grid import to_lots, to_ticks
from marketmakerl.data.tape import COLUMNS, MORE, EventTape, Kind

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pyarrow as pa

    from marketmakerl.core.instrument import Instrument

    Ints = npt.NDArray[np.int64]

TAPE_KEY: Final = b"mml.tape"  # in the metadata of a Parquet file
NPZ_KEY: Final = "mml"  # the array beside the events
VERSION: Final = 1
# What zipfile and numpy say of bytes that are no archive, or none that they can read.
UNZIP_ERRORS: Final = (
    *(OSError, EOFError, ValueError, KeyError, IndexError, TypeError, MemoryError, OverflowError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, struct.error),
)
_MAX_ROWS: Final = 1 << 33
_MAX_HEAD: Final = 1 << 20
_KINDS: Final = frozenset(int(kind) for kind in Kind)


def checksums(tape: EventTape) -> dict[str, str]:
    """Return the XXH3-128 of every column."""
    return {
        name: xxhash.xxh3_128_hexdigest(np.ascontiguousarray(getattr(tape, name), dtype).data)
        for name, dtype in COLUMNS.items()
    }


def restore_parquet(
    tables: dict[str, pa.Table],
    instrument: Instrument,
    *,
    clock_offset_ns: Literal["auto"] | int,
    tier: str,
    source: str,
) -> EventTape | None:
    """Return the tape that the files of one export came from; None if some of its files are not given.

    Args:
        tables: kind (book, bbo, trades) -> contents, each with `TAPE_KEY` in its metadata.
        instrument: tick and lot; another one than the tape's must fit all prices and quantities.
        clock_offset_ns: added to every time of receipt; "auto" adds nothing, the tape's clock was set already.
        tier: of the data; the tape's own wins where it is weaker.
        source: named in errors.

    Raises:
        DataFormatError: files of different exports, or changed since.
        DataQualityError: a price or quantity that is none.
    """
    heads = {kind: _head(table.schema.metadata[TAPE_KEY], source) for kind, table in tables.items()}
    head = next(iter(heads.values()))
    if any(other["checksums"] != head["checksums"] for other in heads.values()):
        raise DataFormatError(f"{source}: these files were not exported from one tape")
    if sorted(tables) != head["streams"]:
        return None
    parts: list[dict[str, npt.NDArray[Any]]] = []
    try:
        starts = np.unique(np.concatenate([_numbers(kind, table) for kind, table in tables.items()]))
        ends = dict(zip(starts.tolist(), [*starts[1:].tolist(), head["rows"]], strict=True))
        for kind, table in tables.items():
            parts.append(_PARTS[kind](table, ends, instrument, source))
    except (KeyError, TypeError, ValueError) as error:
        raise _changed(source) from error
    columns = {name: np.concatenate([part[name] for part in parts]) for name in (*COLUMNS, "row")}
    order = np.argsort(columns.pop("row"), kind="stable")
    columns = {name: column[order] for name, column in columns.items()}
    if len(order) != head["rows"]:
        raise _changed(source)
    more = np.ones(len(order), np.bool_)
    inside = starts[starts > 0]
    more[inside - 1] = False
    more[-1] = head["open_end"]
    columns["kind"] = (columns["kind"] | np.where(more, MORE, 0)).astype(np.int8)
    return _proved(columns, head, instrument, clock_offset_ns, tier, source)


def restore_npz(
    path: Path, instrument: Instrument, *, clock_offset_ns: Literal["auto"] | int, tier: str, source: str
) -> EventTape | None:
    """Return the tape that an exported .npz came from; None for a file that was not exported from a tape.

    The arguments and errors are those of `restore_parquet`.
    """
    try:
        if not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            if f"{NPZ_KEY}.npy" not in archive.namelist():
                return None
            if archive.getinfo(f"{NPZ_KEY}.npy").file_size > _MAX_HEAD:
                raise _changed(source)
        with np.load(path, allow_pickle=False) as arrays:
            head = _head(arrays[NPZ_KEY].tobytes(), source)
            events = arrays["data"]
        columns = {
            "ts_ns": events["exch_ts"],
            "local_ts_ns": events["local_ts"],
            "price_ticks": np.zeros(len(events), np.int64),
            "qty_lots": np.zeros(len(events), np.int64),
            "kind": events["ival"].astype(np.int8),
        }
        px, qty, ival = events["px"], events["qty"], events["ival"]
    except UNZIP_ERRORS as error:
        raise DataFormatError(f"{source} is damaged or cut short: {error}") from error
    if len(events) != head["rows"] or not np.isin(ival & ~MORE, list(_KINDS)).all():
        raise _changed(source)
    priced = (ival & ~MORE) >= Kind.DEPTH_BID
    columns["price_ticks"][priced] = to_ticks(px[priced], instrument, f"{source}, px")
    columns["qty_lots"][priced] = to_lots(qty[priced], instrument, f"{source}, qty")[0]
    return _proved(columns, head, instrument, clock_offset_ns, tier, source)


def _head(text: bytes, source: str) -> dict[str, Any]:
    try:
        head: dict[str, Any] = orjson.loads(text)
        known = head["version"] == VERSION and 0 < head["rows"] < _MAX_ROWS
        known = known and {"open_end", "instrument", "meta", "checksums"} <= set(head)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise _changed(source) from error
    if not known:
        raise _changed(source)
    return head


def _changed(source: str) -> DataFormatError:
    return DataFormatError(
        f"{source} was exported from a tape and changed since; export it again, or drop the metadata key "
        f"{TAPE_KEY.decode()} (Parquet) or the array {NPZ_KEY!r} (npz) to have it read as anybody's"
    )


def _proved(
    columns: dict[str, npt.NDArray[Any]],
    head: dict[str, Any],
    instrument: Instrument,
    clock_offset_ns: Literal["auto"] | int,
    tier: str,
    source: str,
) -> EventTape:
    """Return the tape after comparing every column with its checksum."""
    offset = checked_offset(clock_offset_ns)
    meta = dict(head["meta"])
    tape = EventTape(instrument, meta=meta, **{name: np.ascontiguousarray(columns[name]) for name in COLUMNS})
    was = head["instrument"]
    same_grid = (was["tick_size"], was["lot_size"]) == (instrument.tick_size, instrument.lot_size)
    found = checksums(tape)
    # On another, finer grid the numbers differ and the prices do not.
    for name in COLUMNS if same_grid else ("ts_ns", "local_ts_ns", "kind"):
        if found[name] != head["checksums"].get(name):
            raise _changed(source)
    meta["tier"] = weakest_tier([tier, tape.tier])
    if offset:
        meta["clock_offset_ns"] = int(meta.get("clock_offset_ns", 0)) + offset
        return replace(tape, local_ts_ns=tape.local_ts_ns + offset)
    return tape


def _numbers(kind: str, table: pa.Table) -> Ints:
    return np.asarray(table["trade_id" if kind == "trades" else "seq"].to_numpy(), np.int64)


def _times(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    return {"ts_ns": table["ts_ns"].to_numpy(), "local_ts_ns": table["ts_local_ns"].to_numpy()}


def _place(numbers: Ints) -> Ints:
    """Return the place of each row within its message."""
    first = np.r_[True, numbers[1:] != numbers[:-1]]
    at = np.arange(len(numbers))
    return at - np.maximum.accumulate(np.where(first, at, 0))


def _book_part(
    table: pa.Table, ends: dict[int, int], instrument: Instrument, source: str
) -> dict[str, npt.NDArray[Any]]:
    seq = _numbers("book", table)
    snapshot, side = table["is_snapshot"].to_numpy(), table["side"].to_numpy()
    gap = ~snapshot & (table["prev_seq"].to_numpy() == seq)
    size = np.array([ends[number] - number for number in seq.tolist()], np.int64)
    bare = gap | (snapshot & (size == 1))
    ticks = to_ticks(table["price"].to_numpy(), instrument, f"{source}, price")
    lots, _ = to_lots(table["qty"].to_numpy(), instrument, f"{source}, qty")
    kind = np.where(side > 0, Kind.DEPTH_BID, Kind.DEPTH_ASK)
    kind = np.where(gap, Kind.GAP, np.where(bare, Kind.SNAPSHOT, kind))
    row = seq + _place(seq) + (snapshot & ~bare)
    part = _times(table) | {
        "price_ticks": np.where(bare, 0, ticks), "qty_lots": np.where(bare, 0, lots), "kind": kind, "row": row,
    }  # fmt: skip
    heads = np.flatnonzero(snapshot & ~bare & (_place(seq) == 0))
    nothing = np.zeros(len(heads), np.int64)
    added = {name: part[name][heads] for name in ("ts_ns", "local_ts_ns")} | {
        "price_ticks": nothing, "qty_lots": nothing, "kind": nothing + Kind.SNAPSHOT, "row": seq[heads],
    }  # fmt: skip
    return {name: np.concatenate([part[name], added[name]]) for name in part}


def _bbo_part(
    table: pa.Table, ends: dict[int, int], instrument: Instrument, source: str
) -> dict[str, npt.NDArray[Any]]:
    seq, times = _numbers("bbo", table), _times(table)
    parts = []
    for side, kind in (("bid", Kind.BBO_BID), ("ask", Kind.BBO_ASK)):
        price = table[f"{side}_px"].to_numpy()
        named = ~np.isnan(price)
        qty = table[f"{side}_qty"].to_numpy()[named]
        number = seq[named]
        second = [ends[n] - n == 2 and kind == Kind.BBO_ASK for n in number.tolist()]
        parts.append(
            {name: column[named] for name, column in times.items()}
            | {
                "price_ticks": to_ticks(price[named], instrument, f"{source}, {side}_px"),
                "qty_lots": to_lots(qty, instrument, f"{source}, {side}_qty")[0],
                "kind": np.full(len(number), int(kind), np.int64),
                "row": number + np.array(second, np.int64),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _trade_part(
    table: pa.Table, _ends: dict[int, int], instrument: Instrument, source: str
) -> dict[str, npt.NDArray[Any]]:
    numbers, side = _numbers("trades", table), table["side"].to_numpy()
    kind = np.where(side == 0, Kind.TRADE, np.where(side > 0, Kind.TRADE_BUY, Kind.TRADE_SELL))
    return _times(table) | {
        "price_ticks": to_ticks(table["price"].to_numpy(), instrument, f"{source}, price"),
        "qty_lots": to_lots(table["qty"].to_numpy(), instrument, f"{source}, qty")[0],
        "kind": kind,
        "row": numbers + _place(numbers),
    }


_PARTS: Final = {"book": _book_part, "bbo": _bbo_part, "trades": _trade_part}
