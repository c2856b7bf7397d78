"""What a user waits for before the engine runs: opening a tape, converting the peer's file, the first result.

    python startup.py open feed.tape
    python startup.py convert feed.npz
    python startup.py first avellaneda_stoikov feed.tape

Each is meant for a fresh process; the caller measures the whole process, this script what happens inside it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from memory import memory_mb
from work import LATENCY_NS, LOT_SIZE, MAKER_BPS, TAKER_BPS, TICK_SIZE, WARM_UP_ROWS

_STARTED = time.perf_counter()


def open_tape(options: argparse.Namespace) -> dict[str, Any]:
    """Time `EventTape.load`, the import apart."""
    from marketmakerl.data.tape import EventTape  # noqa: PLC0415

    imported = time.perf_counter()
    tape = EventTape.load(options.path)
    opened = time.perf_counter()
    return {"rows": len(tape), "import_s": round(imported - _STARTED, 4), "sec": round(opened - imported, 5)}


def convert(options: argparse.Namespace) -> dict[str, Any]:
    """Time `EventTape.from_hftbacktest` twice, and apart from it the loading of its code (numba, mostly).

    An .npz is read by it; an .npy is read beforehand, so that the conversion alone is timed.
    """
    import numpy as np  # noqa: PLC0415

    started = time.perf_counter()
    import marketmakerl.data.hftbacktest_import  # noqa: F401, PLC0415
    from marketmakerl.core.instrument import Instrument  # noqa: PLC0415
    from marketmakerl.data.tape import EventTape  # noqa: PLC0415

    imports_s = round(time.perf_counter() - started, 4)
    instrument = Instrument("BTC/USDT:USDT", tick_size=TICK_SIZE, lot_size=LOT_SIZE, kind="linear")
    source = options.path if options.path.suffix == ".npz" else np.load(options.path)
    seconds, rows = [], 0
    for _ in range(2):
        started = time.perf_counter()
        rows = len(EventTape.from_hftbacktest(source, instrument))
        seconds.append(round(time.perf_counter() - started, 4))
    return {"rows": rows, "sec": seconds, "imports_s": imports_s, "mrows_per_s": round(rows / seconds[0] / 1e6, 2)}


def first(options: argparse.Namespace) -> dict[str, Any]:
    """Time import and a backtest of a built-in model on a few rows."""
    import marketmakerl as mml  # noqa: PLC0415

    models = {
        "symmetric": lambda: mml.Symmetric(half_spread=0.5),
        "avellaneda_stoikov": lambda: mml.AvellanedaStoikov(gamma=0.1, k=1.5, sigma=0.5, horizon_s=None),
    }
    tape = mml.EventTape.load(options.path).slice_rows(0, WARM_UP_ROWS)
    result = mml.backtest(
        tape,
        models[options.model](),
        fees=mml.Fees(MAKER_BPS, TAKER_BPS),
        order_qty=LOT_SIZE,
        cash=10_000.0,
        latency=mml.Latency(entry_ns=LATENCY_NS, response_ns=LATENCY_NS),
        queue="log2",
        quote_interval_ns=100_000_000,
        risk=mml.RiskLimits.off(),
    )
    return {
        "model": options.model,
        "rows": len(tape),
        "orders": len(result.raw_orders),
        "sec": round(time.perf_counter() - _STARTED, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function in (("open", open_tape), ("convert", convert), ("first", first)):
        command = commands.add_parser(name)
        command.set_defaults(do=function)
        if name == "first":
            command.add_argument("model", choices=("symmetric", "avellaneda_stoikov"))
        command.add_argument("path", type=Path)
    options = parser.parse_args()
    print(json.dumps({**options.do(options), **memory_mb()}))


if __name__ == "__main__":
    main()
