"""What each rule of the engine costs, ns per event: the same work with one rule more, all variants in turn.

    python rules.py --tape feed.tape --rounds 7

Each line is the median over the rounds of (this variant - the one it is compared with), so that what the machine does
meanwhile hits both. Differences below about 0.3 ns are noise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from places import HERE
from rich.table import Table
from tick_engine import CASH, limits
from work import LATENCY_NS, LOT_SIZE, MAKER_BPS, ORDER_LOTS, TAKER_BPS, TICK_SIZE, WARM_UP_ROWS, WORKS

if TYPE_CHECKING:
    from bench import Bench
    from rich.console import Console

# name: (work, what it changes, compared with)
VARIANTS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "book only": ("replay", {"script": True}, None),
    "1 s clock, no orders": ("replay", {}, "book only"),
    "1+1 quotes, front of queue, no latency, no log": (
        "as",
        {"queue": "front", "latency_ns": 0, "log": False},
        "1 s clock, no orders",
    ),
    "+ latency 1 ms each way": (
        "as",
        {"queue": "front", "log": False},
        "1+1 quotes, front of queue, no latency, no log",
    ),
    "+ order log": ("as", {"queue": "front"}, "+ latency 1 ms each way"),
    "+ risk-averse queue": ("as", {"queue": "risk_averse"}, "+ order log"),
    "+ log-probability queue": ("as", {}, "+ risk-averse queue"),
    "+ recorded latency series": ("as", {"series": True}, "+ log-probability queue"),
    "+ default risk without the edge filter": ("as", {"risk": "no-edge"}, "+ log-probability queue"),
    "10+10 quotes": ("grid", {}, "+ log-probability queue"),
    "woken on every event": ("feed", {}, "+ log-probability queue"),
}


def engine(tape: Any, work_name: str, options: dict[str, Any]) -> Any:
    """Return a fresh engine for a variant."""
    from peer_quotes import PeerQuotes  # noqa: PLC0415

    from marketmakerl.backtesting.engine import Engine  # noqa: PLC0415
    from marketmakerl.backtesting.order_script import OrderScript  # noqa: PLC0415
    from marketmakerl.backtesting.wire.latency import Latency  # noqa: PLC0415
    from marketmakerl.core.fees import Fees  # noqa: PLC0415

    work = WORKS[work_name]
    delay = options.get("latency_ns", LATENCY_NS)
    latency = Latency(entry_ns=delay, response_ns=delay)
    if options.get("series"):
        times = np.arange(int(tape.ts_ns[0]), int(tape.ts_ns[-1]), 1_000_000_000)
        latency = Latency.from_series(times, np.full(len(times), delay), np.full(len(times), delay))
    return Engine(
        tape.instrument,
        OrderScript() if options.get("script") else PeerQuotes.of(work),
        fees=Fees(MAKER_BPS, TAKER_BPS),
        order_qty=ORDER_LOTS * LOT_SIZE,
        cash=CASH,
        first_price=float(tape.price_ticks[0]) * TICK_SIZE,
        latency=latency,
        queue=options.get("queue", "log2"),
        quote_interval_ns=work.interval_ns,
        quote_on="all" if work.interval_ns is None else None,
        risk=limits(options.get("risk", "off")),
        log_orders=options.get("log", True),
    )


def nanoseconds(tape: Any, work_name: str, options: dict[str, Any]) -> float:
    """Return ns per event of one run."""
    made = engine(tape, work_name, options)
    started = time.perf_counter()
    made.feed(tape)
    made.finish()
    return (time.perf_counter() - started) / len(tape) * 1e9


def measure(bench: Bench) -> dict[str, Any] | None:
    """Section: run all variants in one process of their own."""
    command = [sys.executable, HERE / "rules.py", "--tape", bench.tape(bench.rows), "--rounds", max(3, bench.rounds)]
    answer = bench.processes.attempt("what each rule costs", command)
    return None if answer is None else answer.data


def show(result: dict[str, Any] | None, screen: Console) -> None:
    """Print the table."""
    table = Table(title="What each rule costs, ns per event")
    for heading in ("rule", "in all", "more", "than"):
        table.add_column(heading, justify="left" if heading in {"rule", "than"} else "right")
    for row in (result or {"rules": []})["rules"]:
        more = "" if row["more_ns"] is None else f"{row['more_ns']:+.2f}"
        table.add_row(row["rule"], f"{row['ns']:.2f}", more, row["than"] or "")
    screen.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tape", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    from marketmakerl.data.tape import EventTape  # noqa: PLC0415

    tape = EventTape.load(options.tape).slice_rows(0, options.rows or 1 << 62)
    for work, change, _ in VARIANTS.values():
        nanoseconds(tape.slice_rows(0, WARM_UP_ROWS), work, change)
    seen: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(options.rounds):
        for name, (work, change, _) in VARIANTS.items():
            seen[name].append(nanoseconds(tape, work, change))
    rows = []
    for name, (_, _, base) in VARIANTS.items():
        more = None
        if base is not None:
            more = statistics.median(mine - other for mine, other in zip(seen[name], seen[base], strict=True))
        rows.append({"rule": name, "ns": round(statistics.median(seen[name]), 2), "min_ns": round(min(seen[name]), 2),
                     "more_ns": None if more is None else round(more, 2), "than": base})  # fmt: skip
    print(json.dumps({"events": len(tape), "rounds": options.rounds, "rules": rows}))


if __name__ == "__main__":
    main()
