"""What a catalog holds, one entry a file: rows and span, read from the ends of the files and not from all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from marketmakerl.core.artifacts import sha256_of
from marketmakerl.core.clock import NS_PER_MS, iso_utc
from marketmakerl.core.errors import DataFormatError
from marketmakerl.data.catalog import SIMULATED_EXCHANGE, Catalog, DataSet
from marketmakerl.data.row_checks import is_time
from marketmakerl.data.tape import EventTape

if TYPE_CHECKING:
    from pathlib import Path

TAPE = "tape"
_TIME_COLUMNS = {"ts_ns": 1, "order_ts_ns": 1, "ts_local_ns": 1, "ts_ms": NS_PER_MS}


@dataclass(frozen=True)
class Entry:
    """One file of a catalog.

    Attributes:
        exchange, symbol, kind, timeframe, tier: as of a `DataSet`; kind "tape" for tapes, whose symbol is unified.
        path: where it lies.
        rows: of the file.
        first_ns, last_ns: span in nanoseconds UTC, by the exchange's clock where it told one; 0 for no times.
    """

    exchange: str
    symbol: str
    kind: str
    timeframe: str
    tier: str
    path: Path
    rows: int
    first_ns: int
    last_ns: int
    data_set: DataSet | None = None

    @property
    def first(self) -> str:
        """Return the beginning as ISO 8601, "" for none."""
        return iso_utc(self.first_ns) if self.first_ns else ""

    @property
    def last(self) -> str:
        """Return the end as ISO 8601, "" for none."""
        return iso_utc(self.last_ns) if self.last_ns else ""

    @cached_property
    def sha256(self) -> str:
        """Hash of the file; the errors are those of `DataSet.sha256`."""
        return self.data_set.sha256 if self.data_set else sha256_of(self.path)


def entries(root: Path, kind: str = "") -> list[Entry]:
    """Return the files of a catalog: recordings by folder and name, then tapes, wherever they lie below `root`.

    Args:
        root: the catalog's folder.
        kind: only this one: klines, trades, book, bbo, l3, funding or tape; "" for all.

    Raises:
        DataNotFoundError: no such folder.
        DataFormatError: a file that cannot be read.
    """
    found = [_of_data_set(data_set) for data_set in Catalog(root).data_sets if kind in {"", data_set.kind}]
    if kind in {"", TAPE}:
        found += [_of_tape(path) for path in sorted(root.rglob("*.tape"))]
    return found


def _of_data_set(data_set: DataSet) -> Entry:
    try:
        with pq.ParquetFile(data_set.path) as file:
            rows, (first, last) = file.metadata.num_rows, _span(file)
    except (pa.ArrowException, OSError) as error:
        text = str(error).partition("\n")[0]
        raise DataFormatError(f"{data_set.path} is not a readable Parquet file: {text}") from error
    named = (data_set.exchange, data_set.symbol, data_set.kind, data_set.timeframe, data_set.tier, data_set.path)
    return Entry(*named, rows, first, last, data_set)


def _span(file: pq.ParquetFile) -> tuple[int, int]:
    """Return first and last time of the first column of times that has any, (0, 0) for none."""
    for name, unit_ns in _TIME_COLUMNS.items():
        if name not in file.schema_arrow.names:
            continue
        # The file's own statistics would do but for the rows without a time (-1), which stand in many.
        column = file.read([name])[name]
        if not pa.types.is_integer(column.type):
            continue
        ends = pc.min_max(column.filter(pc.greater(column, 0))).as_py()
        if ends["min"] is None:
            continue
        times = np.array([ends["min"] * unit_ns, ends["max"] * unit_ns], object)
        if is_time(times).all():
            return int(times[0]), int(times[1])
    return 0, 0


def _of_tape(path: Path) -> Entry:
    tape = EventTape.load(path, verify=False)
    exchange = str(tape.meta.get("exchange", SIMULATED_EXCHANGE if tape.tier == "T2" else ""))
    first, last = (int(tape.ts_ns[0]), int(tape.ts_ns[-1])) if len(tape) else (0, 0)
    timeframe = f"{tape.interval_ns // NS_PER_MS} ms" if tape.is_bars else ""
    return Entry(exchange, tape.instrument.symbol, TAPE, timeframe, tape.tier, path, len(tape), first, last)
