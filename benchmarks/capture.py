"""Section: a raw capture becomes events: our reader against the peer's converter, on the same file, in turn.

python capture.py ours capture.gz            # in our environment
python capture.py peer capture.gz            # in the peer's
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory import memory_mb
from places import CAPTURE, HERE
from work import LOT_SIZE, TICK_SIZE

if TYPE_CHECKING:
    from bench import Bench
    from rich.console import Console

REPEATS = 3  # in one process; the first run loads compiled code
PEER_ROWS = 2_000_000  # room that the peer is given; its default is 6 GB
GOAL = 3.0


def ours(path: Path) -> int:
    """Return the rows of market data in the tape of a capture."""
    from marketmakerl.core import log  # noqa: PLC0415  (the peer's environment has none of it)
    from marketmakerl.core.instrument import Instrument  # noqa: PLC0415
    from marketmakerl.data.binance_stream import import_binance_stream  # noqa: PLC0415

    log.configure("error")
    instrument = Instrument("BTC/USDT:USDT", tick_size=TICK_SIZE, lot_size=LOT_SIZE, kind="linear")
    return import_binance_stream(path, instrument)[1].rows


def peer(path: Path) -> int:
    """Return the rows that the peer's converter makes of it."""
    from hftbacktest.data.utils.binancefutures import convert  # noqa: PLC0415

    return len(convert(str(path), buffer_size=PEER_ROWS))


def measure(bench: Bench) -> dict[str, Any]:
    """Return rows and seconds of both, and the ratio of their speeds; nothing without the capture."""
    if not CAPTURE.exists():
        bench.processes.screen.print("no ../shared/data here: no capture to convert", style="yellow")
        return {}
    script = HERE / "capture.py"
    bench.processes.attempt("compiling ours", [sys.executable, script, "ours", CAPTURE, "--repeat", 1])
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
    for _ in range(bench.rounds):
        for who, python in (("peer", bench.peer), ("ours", Path(sys.executable))):
            answer = bench.processes.attempt(f"capture, {who}", [python, script, who, CAPTURE]) if python else None
            if answer is not None:
                runs[who].append(answer.data)
    result: dict[str, Any] = {"file": CAPTURE.name, "runs": runs}
    for who, done in runs.items():
        if done:
            seconds = statistics.median(min(run["sec"]) for run in done)
            result[who] = {"rows": done[0]["rows"], "sec": seconds, "mrows_per_s": done[0]["rows"] / seconds / 1e6}
    if "ours" in result and "peer" in result:
        result["ratio"] = result["ours"]["mrows_per_s"] / result["peer"]["mrows_per_s"]
        result["time_ratio"] = result["peer"]["sec"] / result["ours"]["sec"]
    return result


def show(result: dict[str, Any], screen: Console) -> None:
    """Print one line each, and the ratio."""
    if not result:
        return
    from rich.table import Table  # noqa: PLC0415  (the peer's environment has none)

    table = Table(
        title=f"A raw capture converted: {result['file']}",
        caption="best of three in a process, median of processes; ours also reads and checks the best-price stream, "
        "which the peer skips; the peer lists some rows twice, for either side of the wire",
    )
    for heading in ("who", "rows", "s", "M rows/s"):
        table.add_column(heading, justify="left" if heading == "who" else "right")
    for who in ("peer", "ours"):
        if who in result:
            one = result[who]
            table.add_row(who, f"{one['rows']:,}", f"{one['sec']:.3f}", f"{one['mrows_per_s']:.2f}")
    screen.print(table)
    if "ratio" in result:
        verdict = "[green]met[/green]" if result["ratio"] >= GOAL else "[red]missed[/red]"
        screen.print(f"ratio {result['ratio']:.1f} x by rows/s, {result['time_ratio']:.1f} x by time; "
                     f"goal {GOAL:.0f} x {verdict}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("who", choices=("ours", "peer"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--repeat", type=int, default=REPEATS)
    options = parser.parse_args()
    convert = ours if options.who == "ours" else peer
    seconds, rows = [], 0
    for _ in range(options.repeat):
        started = time.perf_counter()
        rows = convert(options.path)
        seconds.append(round(time.perf_counter() - started, 4))
    print(json.dumps({"rows": rows, "sec": seconds, **memory_mb()}))


if __name__ == "__main__":
    main()
