"""The model world against the bare floor of an Avellaneda-Stoikov Monte Carlo and against mbt_gym, in turn.

    python world.py --rounds 5

The floor is the kernel `k_exp` of ../shared/bench/bench_floor_world.py: quotes, two exponentials and a normal number a
step, and nothing else. It runs in this process, on as many threads as we do.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from places import HERE, SHARED
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench import Bench
    from rich.console import Console

PATHS, STEPS = 200_000, 200
FLOOR_GOAL, PEER_GOAL, MODEL_GOAL_S, EXACT_GOAL_MS = 0.85, 6.0, 1.0, 50.0
PEER_PATHS = (1_000, 10_000, 100_000)


def floor_kernel() -> Callable[[int, int], float] | None:
    """Return (seed, threads) -> seconds of the floor; None where it is not at hand."""
    file = SHARED / "bench_floor_world.py"
    if not file.exists():
        return None
    import numba  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    sys.path.insert(0, str(SHARED))
    module: Any = importlib.import_module("bench_floor_world")
    profit, inventory = np.empty(PATHS), np.empty(PATHS)

    def run(seed: int, threads: int) -> float:
        numba.set_num_threads(threads)
        started = time.perf_counter()
        module.k_exp(PATHS, STEPS, seed, 0.1, 2.0, 1.5, 140.0, 1.0, profit, inventory)
        return time.perf_counter() - started

    return run


def seconds_of(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def models(world: Any) -> dict[str, Any]:
    """Return the built-in models with the paper's parameters."""
    import marketmakerl as mml  # noqa: PLC0415

    return {
        "symmetric": mml.Symmetric.of_avellaneda_stoikov(0.1, 1.5, 2.0, 1.0),
        "avellaneda_stoikov": mml.AvellanedaStoikov(0.1, 1.5, 2.0, 1.0),
        "avellaneda_stoikov, infinite horizon": mml.AvellanedaStoikov(0.1, 1.5, 2.0, None),
        "glft, stationary": mml.GLFT(0.1, 1.5, 2.0, 140.0),
        "glft, exact": mml.GLFT(0.1, 1.5, 2.0, 140.0, variant="exact", horizon_s=1.0),
        "glft, closed form": mml.GLFT(0.1, 1.5, 2.0, 140.0, variant="closed_form"),
        "cartea_jaimungal": mml.CarteaJaimungal(1.5, 140.0, 0.2, 0.001, 1.0, 40),
        "rl_enhanced": mml.RLEnhanced(),
        "glft, microprice": mml.Skewed(mml.GLFT(0.1, 1.5, 2.0, 140.0), "microprice", 1.0),
        "optimal": mml.optimal_policy(world, mml.CARA(0.1)),
    }


def against_floor(world: Any, rounds: int) -> list[dict[str, Any]]:
    """Return path-steps a second of the floor and of ours, in turn, on one thread and on two."""
    import marketmakerl as mml  # noqa: PLC0415
    from marketmakerl.simulation.simulate import cores  # noqa: PLC0415

    model = models(world)["avellaneda_stoikov"]
    floor = floor_kernel()
    rows = []
    for threads in sorted({1, min(2, cores())}):
        mml.simulate(world, model, 1_000, 0, threads=threads)
        if floor:
            floor(0, threads)
        seen = []
        for i in range(rounds):
            bare = floor(10 + i, threads) if floor else None
            seen.append((bare, seconds_of(lambda i=i, n=threads: mml.simulate(world, model, PATHS, i, threads=n))))
        ratios = [bare / ours for bare, ours in seen if bare is not None]
        rows.append({
            "threads": threads,
            "floor": PATHS * STEPS / statistics.median(bare for bare, _ in seen) if floor else None,
            "ours": PATHS * STEPS / statistics.median(ours for _, ours in seen),
            "ratio": statistics.median(ratios) if ratios else None,
            "ratios": ratios,
        })  # fmt: skip
    return rows


def measure(bench: Bench, peer: tuple[Any, Any] | None) -> dict[str, Any] | None:
    """Section: ours and the floor in one process; mbt_gym, if there is one, in turn with ours."""
    command = [sys.executable, HERE / "world.py", "--rounds", max(3, bench.rounds)]
    answer = bench.processes.attempt("model world", command)
    if answer is None:
        return None
    result = answer.data
    result["peer"] = []
    if peer is None:
        return result
    python, checkout = peer
    for paths in PEER_PATHS:
        command = [python, HERE / "peer_mbt_gym.py", "--checkout", checkout, "--paths", paths]
        theirs, ours = [], []
        for _ in range(bench.rounds):
            said = bench.processes.attempt(f"mbt_gym, {paths:,} paths", command)
            mine = bench.processes.attempt(
                f"ours, {paths:,} paths", [sys.executable, HERE / "world.py", "--paths", paths]
            )
            if said is not None and mine is not None:
                theirs.append(said.data)
                ours.append(mine.data)
        if theirs:
            ratios = [b["path_steps_per_s"] / a["path_steps_per_s"] for a, b in zip(theirs, ours, strict=True)]
            result["peer"].append({
                "paths": paths,
                "peer": statistics.median(run["path_steps_per_s"] for run in theirs),
                "ours": statistics.median(run["path_steps_per_s"] for run in ours),
                "ratio": statistics.median(ratios),
                "ratios": ratios,
                "mean": [theirs[0]["mean"], ours[0]["mean"]],
            })  # fmt: skip
    return result


def show(result: dict[str, Any] | None, screen: Console) -> None:
    """Print the tables."""
    if result is None:
        return
    table = Table(title=f"A-S Monte Carlo, {PATHS:,} x {STEPS}, M path-steps/s (median of the rounds)")
    for heading in ("against", "theirs", "ours", "ratio", "rounds", "goal"):
        table.add_column(heading, justify="left" if heading == "against" else "right")
    for row in result["floor"]:
        goal = "" if row["ratio"] is None else f"{FLOOR_GOAL} {'met' if row['ratio'] >= FLOOR_GOAL else 'missed'}"
        _speed_row(table, f"bare floor, threads: {row['threads']}", row["floor"], row, goal)
    for row in result["peer"]:
        goal = f"{PEER_GOAL:.0f} {'met' if row['ratio'] >= PEER_GOAL else 'missed'}"
        _speed_row(table, f"mbt_gym, {row['paths']:,} paths", row["peer"], row, goal)
    screen.print(table)
    table = Table(title="100,000 paths x 200 steps, seconds on all cores; goal < 1 s")
    table.add_column("model")
    table.add_column("seconds", justify="right")
    for name, seconds in result["models_s"].items():
        table.add_row(name, f"{seconds:.3f}")
    screen.print(table)
    exact = result["exact_ms"]
    met = "met" if exact["moments"] < EXACT_GOAL_MS else "missed"
    screen.print(
        f"exact evaluator, Q=120, 200 steps: {exact['moments']:.2f} ms (goal < {EXACT_GOAL_MS:.0f}: {met}), certainty "
        f"equivalent {exact['certainty_equivalent']:.2f} ms; optimum {exact['optimum']:.0f} ms"
    )


def _speed_row(table: Table, name: str, theirs: float | None, row: dict[str, Any], goal: str) -> None:
    rounds = f"{min(row['ratios']):.2f}-{max(row['ratios']):.2f}" if row["ratios"] else ""
    table.add_row(
        name, f"{theirs / 1e6:.1f}" if theirs else "-", f"{row['ours'] / 1e6:.1f}",
        f"{row['ratio']:.2f}" if row["ratio"] else "-", rounds, goal,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--paths", type=int, help="only: so many paths on all cores, for the comparison with a peer")
    options = parser.parse_args()
    import marketmakerl as mml  # noqa: PLC0415

    world = mml.World(100, 2, 1, 0.005, 140, 1.5)
    if options.paths:
        model = models(world)["avellaneda_stoikov"]
        mml.simulate(world, model, 1_000)
        seconds = statistics.median(seconds_of(lambda: mml.simulate(world, model, options.paths)) for _ in range(3))
        mean = mml.simulate(world, model, options.paths).mean
        print(json.dumps({"path_steps_per_s": options.paths * STEPS / seconds, "mean": mean}))
        return
    took = {}
    for name, model in models(world).items():
        mml.simulate(world, model, 1_000)
        took[name] = statistics.median(seconds_of(lambda m=model: mml.simulate(world, m, 100_000)) for _ in range(3))
    grid = world.replace(q_max=120)
    model = models(world)["avellaneda_stoikov"]
    exact = mml.evaluate_exact(grid, model)
    exact.certainty_equivalent(0.1)
    timed = {
        "moments": lambda: mml.evaluate_exact(grid, model),
        "certainty_equivalent": lambda: exact.certainty_equivalent(0.1),
        "optimum": lambda: mml.optimal_policy(world, mml.CARA(0.1)),
    }
    figures = {name: 1e3 * statistics.median(seconds_of(call) for _ in range(9)) for name, call in timed.items()}
    print(json.dumps({"floor": against_floor(world, options.rounds), "models_s": took, "exact_ms": figures}))


if __name__ == "__main__":
    main()
