"""What all risk controls together cost, pairwise: the same work with every one of them on, and with none, in turn.

    python controls.py --tape feed.tape --rounds 9

Fees are a rebate here and the caps on orders and messages are far off, so that the edge filter and the rates look at
every quote and let it pass: quotes that are refused would make the run faster, not slower. A schedule is on too. Each
figure is the median over the rounds of (seconds with / seconds without).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from places import HERE
from rich.table import Table
from tick_engine import CASH
from work import LATENCY_NS, LOT_SIZE, MEANING, ORDER_LOTS, TAKER_BPS, TICK_SIZE, WARM_UP_ROWS, WORKS

if TYPE_CHECKING:
    from bench import Bench
    from rich.console import Console

GOAL: Final = 1.15
REBATE_BPS: Final = -10.0
WORK_NAMES: Final = ("as", "feed", "grid")
SCHEDULE: Final = {"flat_windows": ("Sat 03:00-Sat 03:01",), "flat_timezone": "America/New_York"}


def engine(tape: Any, work_name: str, *, controlled: bool) -> Any:
    """Return a fresh engine, with all controls or none."""
    from peer_quotes import PeerQuotes  # noqa: PLC0415

    from marketmakerl.backtesting.engine import Engine  # noqa: PLC0415
    from marketmakerl.backtesting.wire.latency import Latency  # noqa: PLC0415
    from marketmakerl.core.fees import Fees  # noqa: PLC0415
    from marketmakerl.risk.limits import RiskLimits  # noqa: PLC0415

    work = WORKS[work_name]
    limits = RiskLimits(max_orders=1_000_000, max_messages=4_000_000, **SCHEDULE)
    return Engine(
        tape.instrument,
        PeerQuotes.of(work),
        fees=Fees(REBATE_BPS, TAKER_BPS),
        order_qty=ORDER_LOTS * LOT_SIZE,
        cash=CASH,
        first_price=float(tape.price_ticks[0]) * TICK_SIZE,
        latency=Latency(entry_ns=LATENCY_NS, response_ns=LATENCY_NS),
        queue="log2",
        quote_interval_ns=work.interval_ns,
        quote_on="all" if work.interval_ns is None else None,
        risk=limits if controlled else RiskLimits.off(),
    )


def run(tape: Any, work_name: str, *, controlled: bool) -> tuple[float, int]:
    """Return seconds of one run, and the orders it sent."""
    made = engine(tape, work_name, controlled=controlled)
    started = time.perf_counter()
    made.feed(tape)
    made.finish()
    return time.perf_counter() - started, int(made.state.counts.orders)


def measure(bench: Bench) -> dict[str, Any] | None:
    """Section: both variants of each work in one process of their own."""
    command = [sys.executable, HERE / "controls.py", "--tape", bench.tape(bench.rows)]
    command += ["--rounds", max(3, 2 * bench.rounds + 1)]
    answer = bench.processes.attempt("what the controls cost", command)
    return None if answer is None else answer.data


def show(result: dict[str, Any] | None, screen: Console) -> None:
    """Print the table."""
    table = Table(title="What all risk controls together cost (with / without, pairwise)")
    for heading in ("work", "without, s", "with, s", "ratio", "rounds", "orders without", "with", f"at most {GOAL}"):
        table.add_column(heading, justify="left" if heading == "work" else "right")
    for row in (result or {"works": []})["works"]:
        verdict = "[green]met[/green]" if row["ratio"] <= GOAL else "[red]missed[/red]"
        spread = f"{min(row['ratios']):.2f} to {max(row['ratios']):.2f}"
        table.add_row(
            MEANING[row["work"]], f"{row['off_s']:.4f}", f"{row['on_s']:.4f}", f"{row['ratio']:.3f}", spread,
            f"{row['off_orders']:,}", f"{row['on_orders']:,}", verdict,
        )  # fmt: skip
    screen.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tape", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    from marketmakerl.data.tape import EventTape  # noqa: PLC0415

    tape = EventTape.load(options.tape).slice_rows(0, options.rows or 1 << 62)
    works = []
    for name in WORK_NAMES:
        for controlled in (False, True):
            run(tape.slice_rows(0, WARM_UP_ROWS), name, controlled=controlled)
        off_s, on_s, orders = [], [], [0, 0]
        for _ in range(options.rounds):
            seconds, orders[0] = run(tape, name, controlled=False)
            off_s.append(seconds)
            seconds, orders[1] = run(tape, name, controlled=True)
            on_s.append(seconds)
        ratios = [on / off for on, off in zip(on_s, off_s, strict=True)]
        works.append({"work": name, "off_s": statistics.median(off_s), "on_s": statistics.median(on_s),
                      "ratio": round(statistics.median(ratios), 4), "ratios": [round(one, 3) for one in ratios],
                      "off_orders": orders[0], "on_orders": orders[1]})  # fmt: skip
    print(json.dumps({"events": len(tape), "rounds": options.rounds, "works": works}))


if __name__ == "__main__":
    main()
