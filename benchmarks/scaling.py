"""Section: longer feeds. Time must grow in step with the rows, and memory not at all (the tape itself apart)."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from bench import Bench
    from processes import Answer
    from rich.console import Console

MODE = "as"


def measure(bench: Bench) -> list[dict[str, Any]]:
    """Return per length of the feed and engine: seconds, ns per event and memory."""
    results = []
    for rows in bench.sizes:
        label = f"{rows:,} rows,"
        for engine, answer in (
            ("peer", bench.shared_peer(label, MODE, rows)),
            ("ours", bench.ours(label, MODE, rows)),
            ("ours, no order log", bench.ours(f"{label} no order log,", MODE, rows, "--no-order-log")),
        ):
            if answer is not None:
                results.append({"rows": rows, "engine": engine} | _figures(answer))
        bench.drop_tape(rows)
    return results


def _figures(answer: Answer) -> dict[str, Any]:
    seconds = statistics.median(answer.data["sec"])
    memory = {name: answer.data.get(name) for name in ("peak_rss_mb", "rss_anon_mb", "rss_file_mb")}
    return {"sec": seconds, "ns_per_event": seconds / answer.data["events"] * 1e9, **memory}


def show(results: list[dict[str, Any]], screen: Console) -> None:
    """Print one line a length and engine."""
    table = Table(
        title=f"Scaling: {MODE}",
        caption="peak: VmHWM (the peer's: ru_maxrss), with the pages of the memory-mapped tape that were read;\n"
        "own: RssAnon at the end, what the process itself allocated; file: RssFile, mapped files and libraries",
    )
    for heading in ("rows", "engine", "s", "ns/event", "peak MB", "own MB", "file MB"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    last = None
    for result in results:
        if last not in {None, result["rows"]}:
            table.add_section()
        table.add_row(
            f"{result['rows']:,}" if last != result["rows"] else "",
            result["engine"],
            f"{result['sec']:.3f}",
            f"{result['ns_per_event']:.1f}",
            *("" if result[name] is None else f"{result[name]:,.0f}" for name in _MEMORY),
        )
        last = result["rows"]
    screen.print(table)


_MEMORY = ("peak_rss_mb", "rss_anon_mb", "rss_file_mb")
