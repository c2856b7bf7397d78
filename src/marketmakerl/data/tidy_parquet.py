"""The tidy Parquet files (book, bbo, trades: `marketmakerl.data.book_import`) as tapes, with a report.

Files that `marketmakerl.data.tape_export` wrote give back the tape they came from, row for row.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError
from marketmakerl.data.book_import import Fate, import_book
from marketmakerl.data.catalog import TIER_KEY, TIERS, weakest_tier
from marketmakerl.data.clock_offset import ASSUMED
from marketmakerl.data.import_report import ImportReport
from marketmakerl.data.row_checks import carry_over, note
from marketmakerl.data.tape import MORE, EventTape, Kind
from marketmakerl.data.tape_restore import TAPE_KEY, restore_parquet
from marketmakerl.data.tick_files import kind_of_file
from marketmakerl.data.trade_tape import compile_trades

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.book_import import ImportedBook

    Ints = npt.NDArray[np.int64]

FORMAT: Final = "parquet"
_KINDS: Final = ("book", "bbo", "trades")


def read_tidy(
    paths: str | Path | Sequence[str | Path],
    instrument: Instrument,
    *,
    clock_offset_ns: Literal["auto"] | int = "auto",
    tier: str = "T1",
    tie_order: Literal["auto", "trades", "book"] = "auto",
    source: str = "",
) -> tuple[EventTape, ImportReport]:
    """Compile tidy Parquet files of one recording to a tape.

    Args:
        paths: at most one file each of book, best quotes and trades; their columns say which is which.
        instrument: tick and lot on the day of the recording.
        clock_offset_ns: added to every time of receipt; "auto": what the rows up to it make necessary.
        tier: of the data, T0 to T3; a file that says less of itself wins.
        tie_order: what goes first at one exchange time; "auto" reads it off the ties before it.
        source: named in errors and in the tape's meta; the paths by default.

    Returns:
        The tape, and a report in which rows + refused + ignored = lines, the rows of all files.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError, DataQualityError: as `EventTape.from_book`; two files of one kind; an exported file that was
            changed since.
        ConfigError: an option that is none.
    """
    listed = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    tables = _read(listed)
    name = source or ", ".join(map(str, listed))
    tier = weakest_tier([tier, *(_tier(path, table) for path, table in tables.values())])
    lines = {kind: table.num_rows for kind, (_, table) in tables.items()}
    report = ImportReport(name, FORMAT, lines=sum(lines.values()))
    exported = {kind: table for kind, (_, table) in tables.items() if TAPE_KEY in (table.schema.metadata or {})}
    if exported and len(exported) == len(tables):
        tape = restore_parquet(exported, instrument, clock_offset_ns=clock_offset_ns, tier=tier, source=source or name)
        if tape is not None:
            report.rows = report.lines
            report.assumed += tape.meta.get(ASSUMED, [])
            return tape, report
    frames: dict[str, Any] = {kind: table.to_pandas() for kind, (_, table) in tables.items()}
    options: dict[str, Any] = {"clock_offset_ns": clock_offset_ns, "tier": tier, "source": name}
    if set(frames) == {"trades"}:
        tape = compile_trades(frames["trades"], instrument, **options)
        report.rows = report.lines
    else:
        imported = import_book(
            *(frames.get("book"), frames.get("trades"), instrument),
            bbo_df=frames.get("bbo"),
            tie_order=tie_order,
            **options,
        )
        tape = imported.tape
        _account(imported, frames, report)
    carry_over(report, tape)
    return tape, report


def _read(listed: Sequence[Path]) -> dict[str, tuple[Path, pa.Table]]:
    """Return path and contents by kind."""
    if not listed:
        raise ConfigError("no Parquet file was named")
    tables: dict[str, tuple[Path, pa.Table]] = {}
    for path in listed:
        if not path.is_file():
            raise DataNotFoundError(f"no such file: {path}")
        kind = kind_of_file(path)
        if kind not in _KINDS:
            raise DataFormatError(f"{path} holds {kind or 'none of them'}; give a book, best quotes or trades")
        if kind in tables:
            raise DataFormatError(f"{path} and {tables[kind][0]} both hold {kind}; give one file of each kind")
        try:
            tables[kind] = path, pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            text = str(error).partition("\n")[0]
            raise DataFormatError(f"{path} is not a readable Parquet file: {text}") from error
    return {kind: tables[kind] for kind in _KINDS if kind in tables}


def _tier(path: Path, table: pa.Table) -> str:
    stored = (table.schema.metadata or {}).get(TIER_KEY, b"T1").decode("utf-8", "replace")
    if stored not in TIERS:
        raise DataFormatError(f"{path} claims tier {stored!r}; tiers are {', '.join(TIERS)}")
    return str(stored)


def _account(imported: ImportedBook, frames: dict[str, pd.DataFrame], report: ImportReport) -> None:
    """Count every row of the files as read, ignored or refused."""
    report.rows = len(frames.get("trades", ()))
    if "book" not in frames:
        undated = int(imported.tape.meta.get("bbo_undated", 0))
        report.rows += len(frames["bbo"]) - undated
        _note_lost(report, "undated", np.flatnonzero(imported.fate == Fate.UNDATED), frames["bbo"]["seq"].to_numpy(),
                   "has no exchange time, and no trade was received before it to estimate it by")  # fmt: skip
        return
    if "bbo" in frames:
        report.ignored["bbo beside a book"] += len(frames["bbo"])
    book = frames["book"]
    snapshot, seq = book["is_snapshot"].to_numpy(bool), book["seq"].to_numpy(np.int64)
    kind = imported.tape.kind & ~MORE
    of_book = np.isin(kind, [Kind.DEPTH_BID, Kind.DEPTH_ASK, Kind.SNAPSHOT])
    message = np.cumsum(np.r_[True, (imported.tape.kind[:-1] & MORE) == 0]) - 1
    opens = np.zeros(int(message[-1]) + 1 if len(message) else 0, np.bool_)
    opens[message[kind == Kind.SNAPSHOT]] = True
    read = np.isin(2 * seq + snapshot, np.unique((2 * imported.seq + opens[message])[of_book]))
    empty = read & snapshot & (book["qty"].to_numpy() == 0)
    if empty.any():
        report.ignored["empty level of a snapshot"] += int(empty.sum())
    report.rows += int((read & ~empty).sum())
    first_id = int(seq[read & snapshot].min()) if (read & snapshot).any() else -1
    for code, lost, why in (
        ("before-snapshot", ~read & (seq <= first_id), "is older than the first snapshot"),
        ("in-gap", ~read & (seq > first_id), "stands between a loss and the next snapshot"),
    ):
        _note_lost(report, code, np.flatnonzero(lost), seq, why)


def _note_lost(report: ImportReport, code: str, rows: Ints, seq: Ints, why: str) -> None:
    note(report, "refused", code, rows + 1, lambda i: f"update {seq[rows[i]]} {why}")
