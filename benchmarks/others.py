"""Section: the bare floor (rows read, books kept, nothing else) and nautilus_trader, by the shared scripts."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from places import SHARED
from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from bench import Bench
    from rich.console import Console

# nautilus builds a Python object a row: it gets a share of the rows, the slowest mode fewer still.
NAUTILUS_SHARE = {"replay": 3, "as": 3, "asfeed": 30, "quotes": 3}
_FLOOR_LINE = re.compile(r"^(\w+) +([\d.]+) M events/s +([\d.]+) ns/event", re.MULTILINE)


def floor(bench: Bench) -> list[dict[str, Any]]:
    """Return M events/s of each of the floor's loops."""
    if not SHARED.exists():
        return []
    command = [sys.executable, SHARED / "bench_floor.py"]
    answer = bench.processes.attempt("bare floor", command, FEED=str(bench.feed(bench.rows)))
    if answer is None:
        return []
    return [
        {"what": f"floor: {name}", "mev_per_s": float(speed), "ns_per_event": float(ns)}
        for name, speed, ns in _FLOOR_LINE.findall(answer.text)
    ]


def nautilus(bench: Bench, python: Path) -> list[dict[str, Any]]:
    """Return M events/s of nautilus_trader."""
    results = []
    for mode, share in NAUTILUS_SHARE.items():
        command = [python, SHARED / "bench_nautilus.py", mode, bench.rows // share]
        answer = bench.processes.attempt(f"nautilus {mode}", command, FEED=str(bench.feed(bench.rows)))
        if answer is not None:
            speed = answer.data["mev_per_s"]
            results.append({"what": f"nautilus: {mode}", "ns_per_event": 1e3 / speed, **answer.data})
    return results


def show(results: list[dict[str, Any]], screen: Console) -> None:
    """Print one line each."""
    if not results:
        return
    table = Table(title="Others, on the same feed")
    for heading in ("what", "M events/s", "ns/event"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for result in results:
        table.add_row(result["what"], f"{result['mev_per_s']:.3g}", f"{result['ns_per_event']:,.1f}")
    screen.print(table)
