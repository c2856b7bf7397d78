"""Two instruments on one account against two runs of their own: the same tapes, the same fills, in turn.

    python together.py --tape feed.tape --rounds 7

The second instrument's market is the first's, shifted by 33 microseconds: every event of one lies between two of the
other, which is the worst that an order of time can be.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from places import HERE
from rich.table import Table
from rules import engine
from tick_engine import CASH
from work import WARM_UP_ROWS

if TYPE_CHECKING:
    from bench import Bench
    from rich.console import Console

SHIFT_NS = 33_333
GOAL = 1.30
# name: (work, what it changes)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "1+1 quotes, 100 ms clock": ("as", {}),
    "the same, default risk without the edge filter": ("as", {"risk": "no-edge"}),
    "10+10 quotes, 100 ms clock": ("grid", {}),
    "1+1 quotes, every event": ("feed", {}),
    "1+1 quotes, every event, default risk without the edge filter": ("feed", {"risk": "no-edge"}),
}


def apart(tapes: list[Any], work: str, options: dict[str, Any]) -> tuple[float, list[Any]]:
    """Return seconds, and the engines that have run one after the other."""
    started = time.perf_counter()
    engines = []
    for tape in tapes:
        made = engine(tape, work, options)
        made.feed(tape)
        made.finish()
        engines.append(made)
    return time.perf_counter() - started, engines


def together(tapes: list[Any], work: str, options: dict[str, Any]) -> tuple[float, list[Any]]:
    """Return seconds, and the engines that have run on one account."""
    from marketmakerl.backtesting.portfolio_engine import PortfolioEngine  # noqa: PLC0415

    started = time.perf_counter()
    engines = [engine(tape, work, options) for tape in tapes]
    PortfolioEngine(engines, [CASH] * len(engines)).run(tapes)
    return time.perf_counter() - started, engines


def measure(bench: Bench) -> dict[str, Any] | None:
    """Section: run all variants in one process of their own."""
    command = [sys.executable, HERE / "together.py", "--tape", bench.tape(bench.rows), "--rounds", max(3, bench.rounds)]
    answer = bench.processes.attempt("two instruments on one account", command)
    return None if answer is None else answer.data


def show(result: dict[str, Any] | None, screen: Console) -> None:
    """Print the table."""
    table = Table(title="Two instruments on one account, seconds (median of the rounds)")
    for heading in ("work", "apart", "together", "ratio", "rounds", "goal", "fills"):
        table.add_column(heading, justify="left" if heading == "work" else "right")
    for row in (result or {"rows": []})["rows"]:
        met = "met" if row["ratio"] <= GOAL else "missed"
        table.add_row(
            row["work"], f"{row['apart_s']:.3f}", f"{row['together_s']:.3f}", f"{row['ratio']:.3f}",
            f"{min(row['ratios']):.2f}-{max(row['ratios']):.2f}", f"{GOAL:.2f} {met}",
            "equal" if row["fills_equal"] else "not equal",
        )  # fmt: skip
    screen.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tape", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    from marketmakerl.data.tape import EventTape  # noqa: PLC0415

    tape = EventTape.load(options.tape).slice_rows(0, options.rows or 1 << 62)
    other = replace(
        tape,
        instrument=replace(tape.instrument, symbol="ETH/USDT:USDT"),
        ts_ns=tape.ts_ns + SHIFT_NS,
        local_ts_ns=tape.local_ts_ns + SHIFT_NS,
    )
    rows = []
    for name, (work, change) in VARIANTS.items():
        few = [one.slice_rows(0, WARM_UP_ROWS) for one in (tape, other)]
        apart(few, work, change)
        together(few, work, change)
        seen: list[tuple[float, float]] = []
        for _ in range(options.rounds):
            apart_s, alone = apart([tape, other], work, change)
            together_s, both = together([tape, other], work, change)
            seen.append((apart_s, together_s))
        equal = all((one.fills() == two.fills()).all() for one, two in zip(alone, both, strict=True))
        ratios = [together_s / apart_s for apart_s, together_s in seen]
        rows.append({
            "work": name,
            "apart_s": statistics.median(one for one, _ in seen),
            "together_s": statistics.median(two for _, two in seen),
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            "fills_equal": bool(equal),
        })  # fmt: skip
    print(json.dumps({"events": len(tape), "rounds": options.rounds, "rows": rows}))


if __name__ == "__main__":
    main()
