"""What an import did, as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from marketmakerl.core.clock import NS_PER_MS, NS_PER_S, iso_utc

if TYPE_CHECKING:
    from pathlib import Path

    from marketmakerl.data.import_report import ImportReport
    from marketmakerl.data.tape import EventTape

EXAMPLES = 3  # of each kind of finding


def import_tables(tape: EventTape, report: ImportReport, path: Path) -> list[Table]:
    """Return what the tape holds, and one line for each kind of what was ignored, repaired and refused."""
    meta = tape.meta
    made = Table("tape", str(path), title=f"{report.format}: {tape.instrument.symbol}", title_justify="left")
    made.add_row("lines read", f"{report.lines:,}")
    made.add_row("rows of market data", f"{report.rows:,}")
    if len(tape):
        span_s = int(tape.ts_ns[-1] - tape.ts_ns[0]) / NS_PER_S
        made.add_row("from, for", f"{iso_utc(int(tape.ts_ns[0]))}, {span_s:,.1f} s")
    made.add_row("snapshots, gaps", f"{meta.get('snapshots', 0)}, {meta.get('gaps', 0)}")
    made.add_row("trades", f"{meta.get('trades', 0):,}")
    made.add_row("added to receipt", added_to_receipt(meta))
    for sentence in report.assumed:
        made.add_row("assumed", sentence)
    left_out = Table("what", "why", "count", "first lines")
    for kind, count in report.ignored.most_common():
        left_out.add_row("ignored", kind, f"{count:,}", "")
    for (what, code), count in report.counts.items():
        found = [example for example in report.examples if (example.what, example.code) == (what, code)]
        lines = [f"{example.line}: {example.message}" if example.line else example.message for example in found]
        left_out.add_row(what, code, f"{count:,}", "\n".join(lines[:EXAMPLES]))
    return [made, left_out] if left_out.row_count else [made]


def added_to_receipt(meta: dict[str, Any]) -> str:
    """Return what an importer added to the times of receipt; from what to what, where that grew."""
    last_ns = int(meta.get("clock_offset_ns", 0))
    first_ns = int(meta.get("clock_offset_first_ns", last_ns))
    last = f"{last_ns / NS_PER_MS:,.3f} ms"
    return last if first_ns == last_ns else f"{first_ns / NS_PER_MS:,.3f} ms at first, {last} at the end"
