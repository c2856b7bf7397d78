r"""`EventTape`: market events as columns, in memory or memory-mapped from one checksummed file.

One row is one event: when it happened at the exchange, when it reached us, what kind it is, a price in ticks and a
quantity in lots. The engine reads the columns and nothing else.

File layout, version 1 (little-endian):

    0   8 bytes   magic "MMLTAPE\\n"
    8   uint32    version
    12  uint32    length of the header
    16  16 bytes  BLAKE2b-128 of the header
    32  header    JSON: rows, instrument, meta, and per column its name, dtype, offset, BLAKE2b-128
    ... columns   raw arrays, each starting on a 64-byte boundary
"""

from __future__ import annotations

import enum
import hashlib
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import orjson

from marketmakerl.core.artifacts import write_atomic
from marketmakerl.core.errors import DataFormatError, DataNotFoundError
from marketmakerl.core.instrument import Instrument

if TYPE_CHECKING:
    import pandas as pd

MAGIC = b"MMLTAPE\n"
VERSION = 1
_PREFIX = struct.Struct("<8sII16s")
_ALIGN = 64
_MAX_HEADER = 1 << 20

COLUMNS: dict[str, npt.DTypeLike] = {
    "ts_ns": np.int64,  # exchange time
    "local_ts_ns": np.int64,  # time of receipt
    "price_ticks": np.int64,
    "qty_lots": np.int64,
    "kind": np.int8,
}


class Kind(enum.IntEnum):
    """What a row says. Bar rows come in the order open, low, high, close; see `marketmakerl.data.bars`."""

    BAR_OPEN = 1
    BAR_LOW = 2  # qty: the share of the bar's volume that can meet a resting bid
    BAR_HIGH = 3  # qty: the share of the bar's volume that can meet a resting ask
    BAR_CLOSE = 4  # qty: the bar's whole volume
    GAP = 5  # nothing is known from here to the next row: quotes are pulled


@dataclass(frozen=True)
class EventTape:
    """Market events of one instrument, ordered by exchange time.

    Attributes:
        instrument: what the ticks and lots mean.
        ts_ns, local_ts_ns: int64[n], nanoseconds UTC, `ts_ns` never decreasing.
        price_ticks, qty_lots: int64[n], > 0 and >= 0 where the kind has one.
        kind: int8[n], a `Kind`.
        meta: "tier" (T0..T3), "clock" ("bars" or "ticks"), "interval_ns" (bars), "source", and what the maker of the
            tape adds. JSON-ready.
    """

    instrument: Instrument
    ts_ns: npt.NDArray[np.int64]
    local_ts_ns: npt.NDArray[np.int64]
    price_ticks: npt.NDArray[np.int64]
    qty_lots: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int8]
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = {name: len(getattr(self, name)) for name in COLUMNS}
        if len(set(rows.values())) != 1:
            raise DataFormatError(f"tape columns differ in length: {rows}")

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def tier(self) -> str:
        """Return the data tier, T0 to T3 (DESIGN: T2 is synthetic and passes no research gate)."""
        return str(self.meta.get("tier", "T2"))  # of unknown origin: good for nothing but a smoke test

    @property
    def is_bars(self) -> bool:
        """Return whether the events were compiled from bars."""
        return self.meta.get("clock") == "bars"

    @property
    def interval_ns(self) -> int:
        """Return the bar interval in nanoseconds (bars only)."""
        return int(self.meta["interval_ns"])

    @classmethod
    def from_klines(cls, df: pd.DataFrame, instrument: Instrument, **options: Any) -> EventTape:
        """Compile klines to events; see `marketmakerl.data.bars.compile_bars` for the options and the errors."""
        from marketmakerl.data.bars import compile_bars  # noqa: PLC0415  (pandas only where a frame comes in)

        return compile_bars(df, instrument, **options)

    def slice_rows(self, first: int, last: int) -> EventTape:
        """Return rows [first, last) as views, without copying."""
        return replace(self, **{name: getattr(self, name)[first:last] for name in COLUMNS})

    def window(self, start_ns: int, end_ns: int) -> EventTape:
        """Return the events with start_ns < ts_ns <= end_ns (a bar belongs to the window that its close lies in)."""
        closes = self.ts_ns
        if self.is_bars:
            # An open row carries the opening time: move it to where its bar ends, so that bars are never cut in two.
            closes = np.where(self.kind == Kind.BAR_OPEN, self.ts_ns + self.interval_ns, self.ts_ns)
        first, last = np.searchsorted(closes, [start_ns, end_ns], side="right")
        return self.slice_rows(int(first), int(last))

    def save(self, path: str | Path) -> Path:
        """Write the tape to one file, atomically.

        Raises:
            ArtifactError: the file cannot be written.
        """
        arrays = {name: np.ascontiguousarray(getattr(self, name), dtype=dtype) for name, dtype in COLUMNS.items()}
        columns: list[dict[str, Any]] = []
        header: dict[str, Any] = {
            "rows": len(self),
            "instrument": self.instrument.as_dict(),
            "meta": self.meta,
            "columns": columns,
        }
        for name, array in arrays.items():
            columns.append({"name": name, "dtype": array.dtype.str, "offset": 0, "checksum": _checksum(array)})
        # Offsets depend on the header's length and the header holds the offsets: pad it to a fixed room.
        room = _aligned(_PREFIX.size + len(orjson.dumps(header)) + 24 * len(columns)) - _PREFIX.size
        offset = _PREFIX.size + room
        for column, array in zip(columns, arrays.values(), strict=True):
            column["offset"] = offset
            offset = _aligned(offset + array.nbytes)
        text = orjson.dumps(header).ljust(room)
        content = bytearray(offset)
        content[: _PREFIX.size] = _PREFIX.pack(MAGIC, VERSION, room, _digest(text).digest())
        content[_PREFIX.size : _PREFIX.size + room] = text
        for column, array in zip(columns, arrays.values(), strict=True):
            content[column["offset"] : column["offset"] + array.nbytes] = array.tobytes()
        write_atomic(Path(path), bytes(content))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path, *, verify: bool = True) -> EventTape:
        """Memory-map a tape read-only.

        Args:
            path: a file that `save` wrote.
            verify: compare every column with its checksum (about 1 s per GB).

        Raises:
            DataNotFoundError: no such file.
            DataFormatError: not a tape, another version, truncated, or a checksum that does not match.
        """
        path = Path(path)
        header = _read_header(path)
        rows, size = int(header["rows"]), path.stat().st_size
        arrays: dict[str, Any] = {}
        for column in header["columns"]:
            name, dtype, offset = column["name"], np.dtype(column["dtype"]), int(column["offset"])
            if offset + rows * dtype.itemsize > size:
                raise DataFormatError(
                    f"{path} is cut short: column {name} should end at byte {offset + rows * dtype.itemsize}"
                )
            empty = np.empty(0, dtype)
            arrays[name] = np.memmap(path, dtype, mode="r", offset=offset, shape=(rows,)) if rows else empty
            if verify and _checksum(arrays[name]) != column["checksum"]:
                raise DataFormatError(f"{path}: column {name} does not match its checksum; the file is damaged")
        if set(arrays) != set(COLUMNS):
            raise DataFormatError(f"{path}: columns {sorted(arrays)} are not those of a tape")
        return cls(Instrument(**header["instrument"]), meta=header["meta"], **arrays)


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            prefix = file.read(_PREFIX.size)
            if len(prefix) < _PREFIX.size or not prefix.startswith(MAGIC):
                raise DataFormatError(f"{path} is not an event tape")
            _, version, length, digest = _PREFIX.unpack(prefix)
            if version != VERSION:
                raise DataFormatError(f"{path} is a tape of version {version}; this program reads version {VERSION}")
            text = file.read(length) if length <= _MAX_HEADER else b""
    except FileNotFoundError as error:
        raise DataNotFoundError(f"no such tape: {path}") from error
    except OSError as error:
        raise DataFormatError(f"cannot read {path}: {error.strerror or error}") from error
    if len(text) != length or _digest(text).digest() != digest:
        raise DataFormatError(f"{path}: the tape's header is damaged or cut short")
    return dict(orjson.loads(text))


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN) * _ALIGN


def _checksum(array: npt.NDArray[Any]) -> str:
    return _digest(np.ascontiguousarray(array).data).hexdigest()


def _digest(data: bytes | memoryview) -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=16)
