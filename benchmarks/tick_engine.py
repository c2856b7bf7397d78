"""Our engine on the work of `work.py`: one process, one JSON line, the fields of the peer's script.

    python tick_engine.py as --tape feed.tape
    python tick_engine.py grid --tape feed.tape --queue risk_averse --rows 600000 --fills fills.npy

Timed is the making of the engine, its pass over a tape that is open, and its end; a run on the first rows goes before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory import memory_mb
from work import (
    LATENCY_NS,
    LOT_SIZE,
    MAKER_BPS,
    ORDER_LOTS,
    TAKER_BPS,
    TICK_SIZE,
    WARM_UP_ROWS,
    WORKS,
)

if TYPE_CHECKING:
    from marketmakerl.data.tape import EventTape

CASH = 1_000_000.0
RISKS = {
    "off": "nothing is checked, as in the peer",
    "on": "the default limits; their edge filter refuses quotes that do not earn the fee, which are all of this work",
    "no-edge": "the default limits without the edge filter: the controls run on quotes that are really placed",
}


def limits(name: str) -> Any:
    from marketmakerl.risk.limits import RiskLimits  # noqa: PLC0415  (imports are timed, see `main`)

    return {"off": RiskLimits.off(), "on": RiskLimits(), "no-edge": RiskLimits(min_edge_bps=None)}[name]


def engine_for(tape: EventTape, options: argparse.Namespace) -> Any:
    """Return a fresh engine for the work."""
    from peer_quotes import PeerQuotes  # noqa: PLC0415

    from marketmakerl.backtesting.engine import Engine  # noqa: PLC0415
    from marketmakerl.backtesting.wire.latency import Latency  # noqa: PLC0415
    from marketmakerl.core.fees import Fees  # noqa: PLC0415

    work = WORKS[options.mode]
    return Engine(
        tape.instrument,
        PeerQuotes.of(work),
        fees=Fees(MAKER_BPS, TAKER_BPS),
        order_qty=ORDER_LOTS * LOT_SIZE,
        cash=CASH,
        first_price=float(tape.price_ticks[0]) * TICK_SIZE,
        latency=Latency(entry_ns=LATENCY_NS, response_ns=LATENCY_NS),
        queue=options.queue,
        quote_interval_ns=work.interval_ns,
        quote_on="all" if work.interval_ns is None else None,
        risk=limits(options.risk),
        log_orders=not options.no_order_log,
    )


def once(tape: EventTape, options: argparse.Namespace) -> tuple[float, Any]:
    """Return seconds and the engine that has run."""
    started = time.perf_counter()
    engine = engine_for(tape, options)
    engine.feed(tape)
    engine.finish()
    return time.perf_counter() - started, engine


def happened(engine: Any) -> dict[str, Any]:
    """Return the counts that show that it is the peer's work."""
    fills, log = engine.fills(), engine.run_log()
    return {
        "wakeups": log["decisions"],
        "submits": log["orders"],
        "cancels": log["cancels"],
        "fills": len(fills),
        "position_lots": int(fills["position_lots"][-1]) if len(fills) else 0,
        "fee": round(float(fills["fee"].sum()), 6),
    }


def save_fills(path: Path, fills: Any) -> None:
    import numpy as np  # noqa: PLC0415

    np.save(path, np.stack([fills[name] for name in ("ts_ns", "side", "price_ticks", "qty_lots")], axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=WORKS)
    parser.add_argument("--tape", type=Path, required=True)
    parser.add_argument("--queue", default="log2", help="log2 is the peer's log_prob_queue_model2")
    parser.add_argument("--risk", choices=RISKS, default="off", help="; ".join(f"{k}: {v}" for k, v in RISKS.items()))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-order-log", action="store_true")
    parser.add_argument("--fills", type=Path)
    options = parser.parse_args()

    started = time.perf_counter()
    from marketmakerl.data.tape import EventTape  # noqa: PLC0415

    tape = EventTape.load(options.tape).slice_rows(0, options.rows or 1 << 62)
    loaded = time.perf_counter()
    once(tape.slice_rows(0, WARM_UP_ROWS), options)
    warm = time.perf_counter()
    seconds, results = [], []
    for _ in range(options.repeat):
        sec, engine = once(tape, options)
        seconds.append(sec)
        results.append(happened(engine))
    if any(result != results[0] for result in results):
        raise SystemExit(f"not deterministic: {results}")
    if options.fills:
        save_fills(options.fills, engine.fills())
    print(json.dumps({
        "mode": options.mode,
        "queue": options.queue,
        "risk": options.risk,
        "events": len(tape),
        "sec": [round(sec, 4) for sec in seconds],
        "mev_per_s": round(len(tape) / statistics.median(seconds) / 1e6, 3),
        "load_s": round(loaded - started, 3),
        "warm_up_s": round(warm - loaded, 3),
        **results[0],
        **memory_mb(),
        "run_log": engine.run_log(),
    }, default=float))  # fmt: skip


if __name__ == "__main__":
    main()
