"""Feeds in hftbacktest's format (2.x: 64-byte events, .npy or .npz) as tapes.

The rows meant for the exchange side (flag EXCH_EVENT), in their order, are the tape; rows for the local side only are
hftbacktest's way of writing receipts that overtook each other, and the time of receipt stands in the other rows too.
Every row is its own message, except that a run of clears and snapshot rows is one SNAPSHOT message: a new one begins
where a side is cleared again, or, in a run without clears, where the time changes.

A compressed file is inflated piece by piece and converted while the piece is in the cache.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError

from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError, DataQualityError
from marketmakerl.core.log import get_logger
from marketmakerl.data.clock_offset import checked_offset, on_exchange_clock
from marketmakerl.data.hftbacktest_kernel import STATE_SIZE, Fault, Slot, convert, end_snapshot
from marketmakerl.data.import_report import ImportReport
from marketmakerl.data.row_checks import carry_over
from marketmakerl.data.tape import COLUMNS, EventTape
from marketmakerl.data.tape_restore import UNZIP_ERRORS, restore_npz

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument

log = get_logger(__name__)

_NAMES: Final = ("ev", "exch_ts", "local_ts", "px", "qty", "order_id", "ival", "fval")
FIELDS: Final = dict(zip(_NAMES, ("<u8", "<i8", "<i8", "<f8", "<f8", "<u8", "<i8", "<f8"), strict=True))
EVENT_DTYPE: Final = np.dtype(list(FIELDS.items()))
KEY: Final = "data"  # of the array in an .npz file
# So many depth rows may hold odd lots, see `marketmakerl.data.grid.to_lots`.
OFF_LOT_SHARE: Final = 1e-3
FORMAT: Final = "hftbacktest"
_PIECE: Final = 1 << 18  # bytes of compressed input at a time
_RAW_DEFLATE: Final = -15  # zlib's name for: the largest window, no header
_INFLATE_ERROR: Final = cast("type[Exception]", IsalError)  # its stub has an instance
_ROWS: Final = 1 << 16  # rows at a time of what lies uncompressed

_COUNTS: Final = (
    Slot.MESSAGES,
    Slot.SNAPSHOTS,
    Slot.TRADES,
    Slot.LOCAL_ONLY,
    Slot.RECEIPT_RAISED,
    Slot.OFF_LOT_ROUNDED_UP,
)

_WHY: Final = {
    Fault.PRICE: (DataQualityError, "px is no price"),
    Fault.OFF_TICK: (
        DataFormatError,
        "px is not on the tick {tick:.10g} of {symbol}; is this its instrument, and day?",
    ),
    Fault.LARGE_PRICE: (DataFormatError, "px is 2**40 ticks of {symbol} or more"),
    Fault.QTY: (DataQualityError, "qty is no quantity"),
    Fault.OFF_LOT: (
        DataFormatError,
        "qty is not a multiple of the lot {lot:.10g} of {symbol}; is this its instrument?",
    ),
    Fault.LARGE_QTY: (DataFormatError, "qty is 2**46 lots of {symbol} or more"),
    Fault.TIME: (DataFormatError, "exch_ts or local_ts is zero or less"),
    Fault.BACKWARDS: (DataQualityError, "exch_ts is before the row ahead; run hftbacktest's correct_event_order"),
    Fault.SIDE: (DataFormatError, "a depth row must be of one side, BUY_EVENT or SELL_EVENT"),
    Fault.ONE_SIDED: (DataFormatError, "one side only was cleared before it; a tape has snapshots of both sides"),
}


@dataclass(frozen=True)
class _Source:
    """Where the rows come from: how many there are, and chunks of raw bytes, each of whole rows."""

    rows: int
    chunks: Iterator[bytes | memoryview]


def import_hftbacktest(
    data: npt.NDArray[Any] | str | Path,
    instrument: Instrument,
    *,
    clock_offset_ns: Literal["auto"] | int = "auto",
    tier: str = "T1",
    source: str = "",
) -> EventTape:
    """Compile hftbacktest events to a tape; the arguments and errors are those of `EventTape.from_hftbacktest`.

    A file that was exported from a tape (`marketmakerl.data.tape_export`) gives that tape back.
    """
    named = source or (str(data) if isinstance(data, (str, Path)) else "events")
    if isinstance(data, (str, Path)) and Path(data).is_file():
        own = restore_npz(Path(data), instrument, clock_offset_ns=clock_offset_ns, tier=tier, source=named)
        if own is not None:
            return own
    offset_ns = checked_offset(clock_offset_ns)
    opened = _open_path(Path(data)) if isinstance(data, (str, Path)) else _open_array(data, named)
    # A run of snapshot rows gets one row ahead of it, so twice the room is always enough; what is not used costs none.
    try:
        columns = {name: np.empty(2 * opened.rows, dtype) for name, dtype in COLUMNS.items()}
    except (MemoryError, ValueError, OverflowError) as error:
        raise DataFormatError(f"{named} states {opened.rows} rows, for which there is no memory: {error}") from error
    state = np.zeros(STATE_SIZE, np.int64)
    state[Slot.RUN] = -1
    ts, local, price, qty, kind = columns.values()
    for chunk in opened.chunks:
        words = np.frombuffer(chunk, np.int64).reshape(-1, 8)
        if state[Slot.ROW] + len(words) > opened.rows:  # compiled code does not look where it writes
            raise DataFormatError(f"{named} is damaged: more rows than the {opened.rows} that its header states")
        convert(
            words, words.view(np.float64), instrument.tick_size, instrument.lot_size, ts, local, price, qty, kind, state
        )
        _raise_fault(state, instrument, named)
    end_snapshot(ts, local, state)
    _raise_fault(state, instrument, named)
    _check_whole(state, opened.rows, instrument, named)
    columns = {name: column[: state[Slot.SIZE]] for name, column in columns.items()}
    meta: dict[str, Any] = {"clock": "ticks", "tier": tier, "source": named, "rows": int(state[Slot.SIZE])}
    meta |= {slot.name.lower(): int(state[slot]) for slot in _COUNTS}
    meta |= {"gaps": 0, "receipt": "recorded"}
    both = np.ones(int(state[Slot.SIZE]), np.bool_)
    columns["local_ts_ns"] = on_exchange_clock(
        *(columns["ts_ns"], columns["local_ts_ns"], both, both), offset_ns=offset_ns, source=named, meta=meta
    )
    meta["receipt_raised"] += int(state[Slot.RECEIPT_RAISED])  # in the file, before any shift
    if state[Slot.OFF_LOT_ROUNDED_UP]:
        log.warning("off_lot_levels", source=named, rows=meta["off_lot_rounded_up"], lot=instrument.lot_size)
    return EventTape(instrument, meta=meta, **columns)


def read_hftbacktest(
    paths: str | Path | Sequence[str | Path],
    instrument: Instrument,
    *,
    clock_offset_ns: Literal["auto"] | int = "auto",
    tier: str = "T1",
    source: str = "",
) -> tuple[EventTape, ImportReport]:
    """Compile an .npy or .npz file of hftbacktest events, as `EventTape.from_hftbacktest`, with a report.

    Returns:
        The tape, and a report in which rows + ignored = lines, the events of the file; nothing is refused but the
        whole file.

    Raises:
        ConfigError: more than one file, or an option that is none. Else as `EventTape.from_hftbacktest`.
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if len(listed) != 1:
        raise ConfigError(f"hftbacktest's events come in one file; {len(listed)} were named")
    path = Path(listed[0])
    tape = import_hftbacktest(path, instrument, clock_offset_ns=clock_offset_ns, tier=tier, source=source)
    report = ImportReport(str(path), FORMAT, lines=_open_path(path).rows)
    if local_only := int(tape.meta.get("local_only", 0)):
        report.ignored["event of the local side only"] += local_only
    report.rows = report.lines - local_only
    carry_over(report, tape)
    return tape, report


def load_events(path: Path) -> npt.NDArray[Any]:
    """Return all events of an .npy or .npz file; the errors are those of `EventTape.from_hftbacktest`."""
    chunks = [np.frombuffer(chunk, EVENT_DTYPE) for chunk in _open_path(path).chunks]
    return np.concatenate(chunks) if chunks else np.empty(0, EVENT_DTYPE)


def _raise_fault(state: npt.NDArray[np.int64], instrument: Instrument, source: str) -> None:
    if not state[Slot.FAULT]:
        return
    error, why = _WHY[Fault(state[Slot.FAULT])]
    text = why.format(tick=instrument.tick_size, lot=instrument.lot_size, symbol=instrument.symbol)
    value = float(state[Slot.FAULT_VALUE : Slot.FAULT_VALUE + 1].view(np.float64)[0])
    raise error(f"{source}, row {state[Slot.FAULT_ROW]}: {text} (value {value!r})")


def _check_whole(state: npt.NDArray[np.int64], rows: int, instrument: Instrument, source: str) -> None:
    """Refuse what can only be judged by the whole feed."""
    if state[Slot.ROW] != rows:
        raise DataFormatError(f"{source} is cut short: {state[Slot.ROW]} of {rows} rows")
    if state[Slot.OTHER]:
        raise DataFormatError(
            f"{source}: {state[Slot.OTHER]} rows are of a kind that a tape does not have, the first in row "
            f"{state[Slot.OTHER_ROW]} (kind {state[Slot.OTHER_KIND]}; 10 to 13 are single orders, L3); "
            "give a feed of price levels (L2)"
        )
    if state[Slot.OFF_LOT_ROUNDED_UP] > OFF_LOT_SHARE * rows:
        raise DataFormatError(
            f"{source}, row {state[Slot.ODD_ROW]}: qty is not a multiple of the lot {instrument.lot_size:.10g} of "
            f"{instrument.symbol} ({state[Slot.OFF_LOT_ROUNDED_UP]} such rows of {rows}); is this its instrument?"
        )
    if not state[Slot.SIZE]:
        raise DataFormatError(f"{source} has no rows with the flag EXCH_EVENT")


def _open_array(array: object, source: str) -> _Source:
    if not isinstance(array, np.ndarray):
        raise DataFormatError(f"{source} must be a numpy array or the path of one, got {type(array).__name__}")
    _check_dtype(array.dtype, source)
    if array.ndim != 1:
        raise DataFormatError(f"{source} must have one dimension, got {array.ndim}")
    raw = np.ascontiguousarray(array).view(np.uint8)
    size = _ROWS * EVENT_DTYPE.itemsize
    return _Source(len(array), (raw[at : at + size].data for at in range(0, len(raw), size)))


def _check_dtype(dtype: np.dtype[Any], source: str) -> None:
    # Names, types and places: `align` does not matter, all fields are 8 bytes.
    fields = {name: (at, kind.str) for name, (kind, at, *_) in (dtype.fields or {}).items()}
    if fields != {name: (8 * i, kind) for i, (name, kind) in enumerate(FIELDS.items())} or dtype.itemsize != 64:
        raise DataFormatError(f"{source} are not hftbacktest events: dtype {dtype} instead of {EVENT_DTYPE}")


def _open_path(path: Path) -> _Source:
    try:
        if zipfile.is_zipfile(path):
            return _open_npz(path)
        with path.open("rb") as file:
            if file.read(6) != np.lib.format.MAGIC_PREFIX:
                raise DataFormatError(f"{path} is neither .npy nor .npz")
        return _open_array(np.load(path, mmap_mode="r", allow_pickle=False), str(path))
    except FileNotFoundError as error:
        raise DataNotFoundError(f"no such file: {path}") from error
    except UNZIP_ERRORS as error:
        raise DataFormatError(f"{path} is not a readable .npy or .npz file: {error}") from error


def _open_npz(path: Path) -> _Source:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if f"{KEY}.npy" not in names:
            raise DataFormatError(f"{path} has no array {KEY!r}; it has {', '.join(names) or 'none'}")
        member = archive.getinfo(f"{KEY}.npy")
    pieces = _pieces(path, member)
    head = next(pieces, b"")
    text = BytesIO(head)
    version = np.lib.format.read_magic(text)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(text)
    _check_dtype(dtype, str(path))
    if len(shape) != 1 or fortran:
        raise DataFormatError(f"{path} must hold an array of one dimension, got {shape}")
    return _Source(shape[0], _whole_rows(head[text.tell() :], pieces))


def _pieces(path: Path, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the contents of an archive's member piece by piece; its CRC is checked at the end."""
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise DataFormatError(f"{path}: compressed by method {member.compress_type}; write it with numpy")
    inflate = isal_zlib.decompressobj(_RAW_DEFLATE) if member.compress_type == zipfile.ZIP_DEFLATED else None
    crc, left = 0, member.compress_size
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)  # of the local header: the lengths of name and extra field
        name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
        file.seek(name + extra, 1)
        while left > 0 and (piece := file.read(min(_PIECE, left))):
            left -= len(piece)
            try:
                whole = inflate.decompress(piece) if inflate else piece
            except _INFLATE_ERROR as error:
                raise DataFormatError(f"{path} is damaged: {error}") from error
            crc = isal_zlib.crc32(whole, crc)
            yield whole
    if crc != member.CRC:
        raise DataFormatError(f"{path} is damaged: the CRC of {member.filename} does not match")


def _whole_rows(rest: bytes, pieces: Iterator[bytes]) -> Iterator[bytes | memoryview]:
    """Yield the pieces cut at the ends of rows."""
    size = EVENT_DTYPE.itemsize
    yield rest[: len(rest) // size * size]
    rest = rest[len(rest) // size * size :]
    for piece in pieces:
        whole = rest + piece
        end = len(whole) // size * size
        yield memoryview(whole)[:end]
        rest = whole[end:]
