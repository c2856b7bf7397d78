"""Section: what one waits for before anything is simulated. Each figure comes from fresh processes."""

from __future__ import annotations

import statistics
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from places import HERE
from rich.table import Table
from work import WARM_UP_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench import Bench
    from processes import Answer
    from rich.console import Console

REPEATS = 5
MODELS = ("symmetric", "avellaneda_stoikov")


def measure(bench: Bench) -> list[dict[str, Any]]:
    """Return rows of what, seconds of each process, and the goal where there is one."""
    return [*_opening(bench), *_conversion(bench), *_first_result(bench)]


def _script(bench: Bench, label: str, *arguments: Any, **env: str) -> Answer | None:
    return bench.processes.attempt(label, [sys.executable, HERE / "startup.py", *arguments], **env)


def _repeated(run: Callable[[], Answer | None]) -> list[Answer]:
    """Run up to `REPEATS` times; stop at the first failure, which would only repeat itself."""
    answers: list[Answer] = []
    while len(answers) < REPEATS and (answer := run()) is not None:
        answers.append(answer)
    return answers


def _row(what: str, seconds: list[float], goal_s: float | None = None, **more: Any) -> list[dict[str, Any]]:
    if not seconds:
        return []
    return [{"what": what, "seconds": seconds, "median_s": statistics.median(seconds), "goal_s": goal_s, **more}]


def _opening(bench: Bench) -> list[dict[str, Any]]:
    tape = bench.tape(bench.rows)
    answers = _repeated(lambda: _script(bench, "open a tape", "open", tape))
    return _row(f"EventTape.load, {bench.rows:,} rows", [answer.data["sec"] for answer in answers], 0.05)


def _conversion(bench: Bench) -> list[dict[str, Any]]:
    if bench.peer is None:
        return []
    feed = bench.feed(bench.rows)
    npz = feed.with_suffix(".npz")
    if not npz.exists() and bench.our_peer("npz of the feed,", "pack", "--feed", feed, "--npz", npz) is None:
        return []
    peers = _repeated(lambda: bench.our_peer("load npz,", "load", "--npz", npz))
    if _script(bench, "convert npz (first time: compiles)", "convert", npz) is None:
        return []
    ours = _repeated(lambda: _script(bench, "convert npz", "convert", npz))
    events = _repeated(lambda: _script(bench, "convert events", "convert", feed.with_suffix(".hft.npy")))
    rows, goal_s = bench.rows, bench.rows / 5e6
    what = "EventTape.from_hftbacktest"
    return [
        *_row(f"{what}, compressed npz", [one.data["sec"][0] for one in ours], goal_s, rows=rows),
        *_row("loading its code, once a process", [one.data["imports_s"] for one in ours]),
        *_row(f"{what}, events in memory", [one.data["sec"][0] for one in events], goal_s, rows=rows),
        *_row("peer: np.load of the npz alone", [one.data["sec"] for one in peers], rows=rows),
    ]


def _first_result(bench: Bench) -> list[dict[str, Any]]:
    tape = bench.tape(WARM_UP_ROWS)
    results = []
    for model in MODELS:

        def run(label: str, model: str = model, **env: str) -> Answer | None:
            return _script(bench, f"first result, {model}, {label}", "first", model, tape, **env)

        with tempfile.TemporaryDirectory(prefix="mml-bench-") as empty:
            cold = run("empty numba cache", NUMBA_CACHE_DIR=empty)
        if cold is None or run("filling the cache") is None:
            continue
        warm = _repeated(lambda run=run: run("warm numba cache"))  # type: ignore[misc]
        results += _row(f"first result, {model}, warm cache", [one.wall_s for one in warm], 1.5)
        results += _row(f"first result, {model}, cold", [cold.wall_s])
    return results + _peers_first_result(bench)


def _peers_first_result(bench: Bench) -> list[dict[str, Any]]:
    if bench.peer is None:
        return []
    arguments = ("run", "as", "--repeat", 1, "--feed", bench.feed(WARM_UP_ROWS))
    bench.our_peer("first result, converting the feed,", *arguments)
    answers = _repeated(lambda: bench.our_peer("first result,", *arguments))
    return _row("peer: first result", [answer.wall_s for answer in answers])


def show(results: list[dict[str, Any]], screen: Console) -> None:
    """Print one line a wait."""
    table = Table(
        title="Waiting: median of fresh processes",
        caption="first result: import and 2,000 rows, from the interpreter's start to its end; the peer caches nothing",
    )
    for heading in ("what", "s", "M rows/s", "goal"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for result in results:
        median, goal = result["median_s"], result["goal_s"]
        verdict = "" if goal is None else "[green]met[/green]" if median <= goal else "[red]missed[/red]"
        table.add_row(
            result["what"],
            f"{median:.4f}" if median < 0.1 else f"{median:.2f}",
            f"{result['rows'] / median / 1e6:.1f}" if "rows" in result else "",
            f"{goal:.2f} s {verdict}" if goal else "",
        )
    screen.print(table)
