"""`mml.simulate`: one model, many paths of a world, as many threads as there are cores, the same bytes however many."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, ndtri

from marketmakerl.core.checks import require_number, require_whole
from marketmakerl.core.counter_rng import stream_key
from marketmakerl.core.errors import ConfigError, ModelError
from marketmakerl.core.memory import address_of
from marketmakerl.risk.state import HALTED, REDUCING
from marketmakerl.simulation.guarded import Limits, check_limits
from marketmakerl.simulation.kernel import Delay, Outcome, Trace, run_paths
from marketmakerl.simulation.quotes import (
    CELL,
    COUNT_MASK,
    MAX_TABLE_BYTES,
    Asking,
    Table,
    quotes_are_a_table,
    session_steps,
)  # fmt: skip

if TYPE_CHECKING:
    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.risk.limits import RiskLimits
    from marketmakerl.simulation.world import World

Progress = Callable[[int], None]

# Paths of one piece of work: enough to forget what starting it costs, few enough for all threads and for progress.
CHUNKS: Final = (1024, 4096)
MAX_PATHS: Final = 100_000_000  # some 5 GB of results
_CHUNKS_A_THREAD: Final = 8
_REACH: Final = 60  # inventories that are looked up; beyond them the model is asked
_NOT_RUN: Final = -1  # fills of a path that is not through
_STREAM: Final = ("world", "paths")


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """What came of the paths.

    Attributes:
        world, model, seed: what was run.
        profit: float64 [n_paths], terminal wealth marked at the last mid, less the initial, quote currency.
        inventory: float64 [n_paths], units held at the end.
        fills: int64 [n_paths], orders filled.
        mean_spread: between the best quotes, price units, over the steps that quoted both sides; NaN if none did.
        clipped_share: share of quotes so far inside the mid that their fill probability was cut to 1.
        two_sided_share: share of steps that quoted both sides.
        halted_share, reduced_share: share of paths whose breaker ended so; 0 without limits.
        exits_mean: how often inventory was taken off in a path by a stop, a target or the end of a holding time.
        forced_cost_mean: what taking inventory off cost in a path, breakers included, quote currency.
        max_drawdown: float64 [n_paths], largest drawdown seen at a step, a share of the budget; None without limits.
    """

    world: World
    model: QuotingModel
    seed: int
    profit: npt.NDArray[np.float64] = field(repr=False)
    inventory: npt.NDArray[np.float64] = field(repr=False)
    fills: npt.NDArray[np.int64] = field(repr=False)
    mean_spread: float
    clipped_share: float
    two_sided_share: float
    halted_share: float = 0.0
    reduced_share: float = 0.0
    exits_mean: float = 0.0
    forced_cost_mean: float = 0.0
    max_drawdown: npt.NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def n_paths(self) -> int:
        """Return how many paths were run."""
        return len(self.profit)

    @property
    def mean(self) -> float:
        """Return the mean profit."""
        return float(self.profit.mean())

    @property
    def std(self) -> float:
        """Return the standard deviation of the profit (ddof 1)."""
        return float(self.profit.std(ddof=1)) if self.n_paths > 1 else math.nan

    @property
    def inventory_std(self) -> float:
        """Return the standard deviation of the inventory at the end (ddof 1), units."""
        return float(self.inventory.std(ddof=1)) if self.n_paths > 1 else math.nan

    def mean_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the normal confidence interval of the mean profit.

        Raises:
            ConfigError: level is not between 0 and 1.
        """
        half = self.std / math.sqrt(self.n_paths) * quantile_of(level)
        return self.mean - half, self.mean + half

    def certainty_equivalent(self, gamma: float) -> float:
        """Return -(1/gamma) ln of the sample mean of exp(-gamma profit); gamma in 1 / quote currency, > 0.

        A few worst paths decide it where gamma * std is large: `evaluate_exact` does not suffer from that.
        """
        require_number("gamma", gamma, above=0.0)
        return float(-(logsumexp(-gamma * self.profit) - math.log(self.n_paths)) / gamma)

    def summary(self) -> dict[str, Any]:
        """Return the figures, JSON-ready."""
        low, high = self.mean_interval()
        quantiles = np.quantile(self.profit, [0.01, 0.05, 0.5, 0.95, 0.99])
        return {
            "n_paths": self.n_paths, "seed": self.seed, "mean": self.mean, "mean_low": low, "mean_high": high,
            "std": self.std, "inventory_std": self.inventory_std, "inventory_mean": float(self.inventory.mean()),
            "loss_share": float((self.profit < 0.0).mean()), "fills_mean": float(self.fills.mean()),
            "mean_spread": self.mean_spread, "clipped_share": self.clipped_share,
            "two_sided_share": self.two_sided_share,
            **self._under_limits(),
            **{f"profit_p{p}": float(q) for p, q in zip(("01", "05", "50", "95", "99"), quantiles, strict=True)},
        }  # fmt: skip

    def _under_limits(self) -> dict[str, Any]:
        if self.max_drawdown is None:
            return {}
        return {
            "halted_share": self.halted_share, "reduced_share": self.reduced_share, "exits_mean": self.exits_mean,
            "forced_cost_mean": self.forced_cost_mean, "max_drawdown_mean": float(self.max_drawdown.mean()),
            "max_drawdown_p95": float(np.quantile(self.max_drawdown, 0.95)),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Paths:
    """Single paths, step by step.

    Attributes:
        time_s: float64 [steps + 1].
        mid: float64 [n_paths, steps + 1].
        inventory: float64 [n_paths, steps + 1], units.
        bid, ask: float64 [n_paths, steps], prices that stood; NaN where nothing was quoted.
        bought, sold: float64 [n_paths, steps], units filled.
        profit: float64 [n_paths].
    """

    time_s: npt.NDArray[np.float64]
    mid: npt.NDArray[np.float64]
    inventory: npt.NDArray[np.float64]
    bid: npt.NDArray[np.float64]
    ask: npt.NDArray[np.float64]
    bought: npt.NDArray[np.float64]
    sold: npt.NDArray[np.float64]
    profit: npt.NDArray[np.float64]


def quantile_of(level: float) -> float:
    """Return how many standard errors either side hold a normal estimate with the probability `level`."""
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must be between 0 and 1, got {level!r}")
    return float(ndtri(0.5 + 0.5 * level))


def simulate(
    world: World,
    model: QuotingModel,
    n_paths: int = 100_000,
    seed: int = 0,
    *,
    risk: RiskLimits | None = None,
    budget: float | None = None,
    taker_fee_bps: float = 0.0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> SimulationResult:
    """Run a quoting model through many paths of a world.

    Two models with one seed meet the same moves of the mid and the same draws for their fills: what differs is them.

    Args:
        world: the market.
        model: any quoting model; a plain Python function only if it says that it reads no market.
        n_paths: >= 1.
        seed: 0 <= seed < 2**63; the same gives the same bytes, whatever the number of threads.
        risk: limits, looked at every step by the code that a backtest runs; None: none at all, which is theory. They
            count messages: where a step is short, quotes that follow the mid run into `max_orders` and `max_messages`.
        budget: opening equity that the limits are shares of, quote currency, > 0; with limits only.
        taker_fee_bps: paid, besides the declared slippage, for inventory that the limits take off.
        threads: how many; None for one a core.
        progress: called with the number of paths that a piece of work finished, from this thread.

    Raises:
        ConfigError: an argument out of range, or a model that cannot be run in this world or under limits.
        ModelError: a model of one's own raised an exception; of several paths in which it does the first is named.
    """
    require_whole("n_paths", n_paths, at_least=1, at_most=MAX_PATHS)
    limits = _limits(world, model, n_paths, risk, budget, taker_fee_bps)
    outcome = _run(world, model, n_paths, seed, None, threads, progress, limits)
    two_sided = int((outcome.tally & COUNT_MASK).sum())
    clipped = int(((outcome.tally >> 21) & COUNT_MASK).sum())
    sides = int((outcome.tally >> 42).sum())
    return SimulationResult(
        world=world,
        model=model,
        seed=seed,
        profit=outcome.profit,
        inventory=np.asarray(outcome.inventory * world.order_size, np.float64),
        fills=outcome.fills,
        mean_spread=float(outcome.spread.sum()) / two_sided if two_sided else math.nan,
        clipped_share=clipped / sides if sides else 0.0,
        two_sided_share=two_sided / (n_paths * world.steps),
        **_outcome_of(limits),
    )


def _limits(
    world: World, model: QuotingModel, n_paths: int, risk: RiskLimits | None, budget: float | None, taker_fee_bps: float
) -> Limits | None:
    if risk is None:
        if budget is not None:
            raise ConfigError("budget is what limits are shares of; give risk too, or leave it out")
        return None
    budget = check_limits(risk, budget, taker_fee_bps, model)
    size, fee = float(world.order_size), float(world.fee_per_unit)
    return Limits(risk, budget, float(taker_fee_bps), size, fee, float(world.dt_s), n_paths)


def _outcome_of(limits: Limits | None) -> dict[str, Any]:
    if limits is None:
        return {}
    return {
        "halted_share": limits.share(HALTED),
        "reduced_share": limits.share(REDUCING),
        "exits_mean": float(limits.exits.mean()),
        "forced_cost_mean": float(limits.forced_cost.mean()),
        "max_drawdown": limits.drawdown,
    }


def simulate_paths(
    world: World,
    model: QuotingModel,
    n_paths: int = 10,
    seed: int = 0,
    *,
    risk: RiskLimits | None = None,
    budget: float | None = None,
    taker_fee_bps: float = 0.0,
) -> Paths:
    """Return the first paths of `simulate` with the same seed and limits, step by step.

    Raises:
        ConfigError: as `simulate`.
    """
    require_whole("n_paths", n_paths, at_least=1, at_most=MAX_PATHS)
    steps = world.steps
    trace = Trace(
        mid=np.empty((n_paths, steps + 1)),
        inventory=np.empty((n_paths, steps + 1), np.int64),
        bid=np.empty((n_paths, steps)),
        ask=np.empty((n_paths, steps)),
        bought=np.empty((n_paths, steps), np.int64),
        sold=np.empty((n_paths, steps), np.int64),
    )
    limits = _limits(world, model, n_paths, risk, budget, taker_fee_bps)
    outcome = _run(world, model, n_paths, seed, trace, 1, None, limits)
    return Paths(
        time_s=np.arange(steps + 1, dtype=np.float64) * float(world.dt_s),
        mid=trace.mid,
        inventory=np.asarray(trace.inventory * world.order_size, np.float64),
        bid=trace.mid[:, :-1] - trace.bid,
        ask=trace.mid[:, :-1] + trace.ask,
        bought=np.asarray(trace.bought * world.order_size, np.float64),
        sold=np.asarray(trace.sold * world.order_size, np.float64),
        profit=outcome.profit,
    )


def _quotes(world: World, model: QuotingModel) -> Table | Asking:
    """Return the model's quotes in the form that the kernel runs fastest."""
    if world.latency_steps == 0 and quotes_are_a_table(world, model):
        reach = _REACH if world.bound is None else min(_REACH, world.bound)
        rows = min(session_steps(world, model), world.steps)
        if rows * (2 * reach + 1) * getattr(model, "levels", 1) * CELL.itemsize <= MAX_TABLE_BYTES:
            return Table(world, model, reach)
    if getattr(model, "is_python", False):
        raise ConfigError(
            f"{model.id}: a plain Python function can be simulated only where its quotes are a table of time and "
            "inventory (no latency, no memory, and CustomModel(..., reads_market=False)); compile it with numba.njit"
        )
    return Asking(world, model)


def _run(
    world: World,
    model: QuotingModel,
    n_paths: int,
    seed: int,
    trace: Trace | None,
    threads: int | None,
    progress: Progress | None,
    limits: Limits | None = None,
) -> Outcome:
    key = stream_key(seed, *_STREAM)
    workers = cores() if threads is None else require_whole("threads", threads, at_least=1)
    quotes = _quotes(world, model) if limits is None else Asking(world, model)
    levels = getattr(model, "levels", 1)
    outcome = Outcome(
        np.empty(n_paths), np.empty(n_paths, np.int64), np.empty(n_paths, np.int64),
        np.empty(n_paths), np.empty(n_paths, np.int64),
    )  # fmt: skip
    bursts = None
    if world.arrivals is not None:
        bursts = world.arrivals.step(world.arrival_rate, world.dt_s, linear=world.fill == "linear")
    chunk = min(max(-(-n_paths // (_CHUNKS_A_THREAD * workers)), CHUNKS[0]), CHUNKS[1])
    start = float(world.process.start(world.sigma))
    size, fee = float(world.order_size), float(world.fee_per_unit)

    def piece(first: int) -> int:
        count = min(chunk, n_paths - first)
        delay = None
        if world.latency_steps:
            slots = min(world.latency_steps, world.steps)  # beyond the run nothing arrives
            delay = Delay(np.empty(slots), np.empty(slots))
        scratch, context = np.zeros(levels, CELL), quotes.new_context()
        guard, _states = (None, None) if limits is None else limits.new_guard()
        here = outcome.fills[first : first + count]
        here[:] = _NOT_RUN
        with quotes.asking(context, lambda: first + int(np.argmax(here == _NOT_RUN))):
            run_paths(
                first, count, world.steps, key, float(world.s0), start, size, fee,
                quotes.with_context(address_of(context)), address_of(scratch), world.mid_step(),
                float(world.adverse_move) or None, bursts, delay, levels if levels > 1 else None,
                guard, outcome, trace,
            )  # fmt: skip
        return count

    firsts = range(0, n_paths, chunk)
    if workers == 1 or len(firsts) == 1:
        for first in firsts:
            done = piece(first)
            if progress:
                progress(done)
        return outcome
    _in_threads(piece, firsts, min(workers, len(firsts)), progress)
    return outcome


def _in_threads(piece: Callable[[int], int], firsts: Sequence[int], threads: int, progress: Progress | None) -> None:
    """Do all pieces of the work, each named by its first path."""
    with ThreadPoolExecutor(threads, thread_name_prefix="world") as pool:
        pieces = [pool.submit(piece, first) for first in firsts]
        try:
            for finished in as_completed(pieces):
                done = finished.result()
                if progress:
                    progress(done)
        except ModelError:
            pool.shutdown(wait=True, cancel_futures=True)
            # Pieces begin in order: of several that failed the first is the same, however many threads there are.
            failed = [error for begun in pieces if not begun.cancelled() and (error := begun.exception())]
            raise failed[0] from failed[0].__cause__
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
