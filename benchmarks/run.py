"""Our engine and our model world against their peers: the same work, in turn, each measurement in a fresh process.

    make bench                                   all of it, about twenty minutes
    make bench ARGS="--quick"                    a smoke test on 600,000 rows
    make bench ARGS="--only as --only feed --rounds 5 --json speed.json"

Absolute numbers drift from machine to machine and from minute to minute: quote the ratios. The peers' scripts are
those of ../shared/bench; in a checkout without that folder only our own numbers are measured. Peers are installed into
virtual environments under artifacts/bench/. What every process said is kept in artifacts/bench/<time>/.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import capture
import controls
import others
import parity
import rules
import scaling
import speed
import together
import waiting
import world
from bench import Bench
from machine import machine, versions
from peers import HFTBACKTEST, NAUTILUS, python_of
from places import RESULTS, ROOT, SHARED
from processes import BenchError, Processes
from rich.console import Console
from work import WORKS

SECTIONS = (
    *WORKS,
    "risk",
    "controls",
    "rules",
    "together",
    "parity",
    "scaling",
    "waiting",
    "capture",
    "world",
    "floor",
    "nautilus",
)
ROWS, QUICK_ROWS = 6_000_000, 600_000
SIZES, QUICK_SIZES = (1_000_000, 6_000_000, 24_000_000), (200_000, 600_000)
WIDTH = 140  # of the tables in a file or a pipe


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="600,000 rows and one round: does everything still run?")
    parser.add_argument("--only", action="append", choices=SECTIONS, metavar="NAME", help=", ".join(SECTIONS))
    parser.add_argument("--rows", type=int, help=f"length of the feed (default {ROWS:,})")
    parser.add_argument("--rounds", type=int, help="how often peer and ours take turns (default 3)")
    parser.add_argument("--sizes", type=int, nargs="+", help="lengths of the feed for the scaling section")
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has hftbacktest, instead of our own venv")
    parser.add_argument("--nautilus", action="store_true", help="nautilus_trader too (a large install, slow runs)")
    parser.add_argument("--nautilus-python", type=Path, help="an interpreter that has it; implies --nautilus")
    parser.add_argument(
        "--mbt-gym", type=Path, help="a checkout of mbt_gym (it is in no registry), for the model world"
    )
    parser.add_argument("--mbt-python", type=Path, help="world: an interpreter with its gym and torch")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args(arguments)
    options.rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.sizes = tuple(options.sizes or (QUICK_SIZES if options.quick else SIZES))
    wanted = options.only or [name for name in SECTIONS if name != "nautilus"]
    if (options.nautilus or options.nautilus_python) and "nautilus" not in wanted:
        wanted.append("nautilus")
    options.only = wanted
    if min(options.rows, options.rounds, *options.sizes) < 1:
        parser.error("--rows, --rounds and --sizes must be positive")
    return options


def peer_python(options: argparse.Namespace, processes: Processes) -> Path | None:
    """Return the peer's interpreter; None, with the reason on the screen, when there is no peer to run."""
    if not (SHARED / "bench_hftbacktest.py").exists():
        processes.screen.print("no ../shared/bench here: only our own numbers", style="yellow")
        return None
    if set(options.only) <= {"controls", "floor", "nautilus", "world"}:
        return None
    try:
        return python_of(HFTBACKTEST, options.peer_python, RESULTS / "peer-venv", processes)
    except BenchError as error:
        processes.fail(f"{error}: only our own numbers")
        return None


def nautilus_results(options: argparse.Namespace, bench: Bench) -> list[dict[str, Any]]:
    """Return nautilus_trader's figures."""
    if not SHARED.exists():
        return []
    try:
        python = python_of(NAUTILUS, options.nautilus_python, RESULTS / "nautilus-venv", bench.processes)
    except BenchError as error:
        bench.processes.fail(str(error))
        return []
    return others.nautilus(bench, python)


def measure(options: argparse.Namespace, bench: Bench, results: dict[str, Any]) -> None:
    """Run the sections asked for and print each as soon as it is known."""
    screen = Console(width=None if sys.stdout.isatty() else WIDTH)
    modes = [mode for mode in WORKS if mode in options.only]
    risk = "risk" in options.only
    mbt = (options.mbt_python, options.mbt_gym) if options.mbt_python and options.mbt_gym else None
    sections = {
        "speed": (bool(modes) or risk, lambda: speed.measure(bench, modes, risk=risk), speed.show),
        "controls": ("controls" in options.only, lambda: controls.measure(bench), controls.show),
        "rules": ("rules" in options.only, lambda: rules.measure(bench), rules.show),
        "together": ("together" in options.only, lambda: together.measure(bench), together.show),
        "parity": ("parity" in options.only, lambda: parity.measure(bench), parity.show),
        "waiting": ("waiting" in options.only, lambda: waiting.measure(bench), waiting.show),
        "capture": ("capture" in options.only, lambda: capture.measure(bench), capture.show),
        "world": ("world" in options.only, lambda: world.measure(bench, mbt), world.show),
        "scaling": ("scaling" in options.only, lambda: scaling.measure(bench), scaling.show),
        "floor": ("floor" in options.only, lambda: others.floor(bench), others.show),
        "nautilus": ("nautilus" in options.only, lambda: nautilus_results(options, bench), others.show),
    }
    for name, (wanted, run, show) in sections.items():
        if not wanted:
            continue
        try:
            results[name] = run()
        except BenchError as error:  # a feed or a tape could not be made
            bench.processes.fail(f"{name}: {error}")
            continue
        show(results[name], screen)


def main() -> int:
    """Return 0, or 1 when some measurement failed."""
    options = options_of()
    logs = RESULTS / time.strftime("%Y%m%d-%H%M%S")
    logs.mkdir(parents=True)
    processes = Processes(logs, Console(stderr=True))
    results: dict[str, Any] = {
        "machine": machine(ROOT),
        "options": {"rows": options.rows, "rounds": options.rounds, "sizes": options.sizes, "sections": options.only},
    }
    peer = peer_python(options, processes)
    results["machine"]["peer"] = versions(peer) if peer else None
    processes.screen.print(json.dumps(results["machine"], indent=1), highlight=False)
    bench = Bench(processes, RESULTS, options.rows, options.rounds, options.sizes, peer)
    try:
        measure(options, bench, results)
    except KeyboardInterrupt:
        processes.fail("interrupted")
    finally:
        for tape in logs.glob("*.tape"):
            tape.unlink()
        results["failures"] = processes.failures
        text = json.dumps(results, indent=1, default=str)
        for path in filter(None, (logs / "results.json", options.json)):
            path.write_text(text + "\n", encoding="utf-8")
    processes.screen.print(f"raw output: {logs.relative_to(ROOT)}", highlight=False)
    for failure in processes.failures:
        processes.screen.print(f"[red]failed[/red] {failure}", highlight=False)
    return 1 if processes.failures else 0


if __name__ == "__main__":
    sys.exit(main())
