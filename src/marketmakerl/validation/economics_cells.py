"""One cell of a study of economics: a run at one fee, queue and latency, what it earned, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.backtesting.backtest_engine import backtest
from marketmakerl.backtesting.results.attribution import attribute
from marketmakerl.backtesting.results.markouts import values
from marketmakerl.backtesting.wire.latency import Latency
from marketmakerl.core.clock import NS_PER_MS, NS_PER_S
from marketmakerl.core.fees import Fees
from marketmakerl.data.tape import EventTape
from marketmakerl.validation.break_even import Outcome, search
from marketmakerl.validation.fidelity_fills import MIN_BLOCKS, RESAMPLES, block_length, block_sums

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.backtesting.results.result import BacktestResult
    from marketmakerl.backtesting.session import Prepared
    from marketmakerl.risk.limits import RiskLimits
    from marketmakerl.validation.fee_levels import FeeLevel

STEPS_S: Final = (60, 30, 10, 5, 1)  # of the changes of equity: the longest that leaves enough of them
MIN_FILLS: Final = 20  # fewer say nothing about how far a profit may be off
SEARCH_STEP_BPS: Final = 0.01
LEVEL: Final = 0.95

EARNS, LOSES, UNCLEAR, IDLE = "earns", "loses", "not distinguishable from zero", "does not trade"


@dataclass(frozen=True)
class Place:
    """What a cell assumes besides its fee.

    Attributes:
        queue, latency_ms: on ticks; None on bars. The latency is that of one way, and there are two.
        bar_volume_share: on bars; None on ticks.
    """

    queue: str | None = None
    latency_ms: float | None = None
    bar_volume_share: float | None = None


@dataclass(frozen=True)
class Cell:
    """One run: the number of its fee level, its place, and whether the edge filter is asked."""

    fee: int
    place: Place
    edge_filter: bool = True


@dataclass(frozen=True)
class FeeSearch:
    """Runs at ever closer maker fees between two, at one taker fee, until the profit crosses zero."""

    place: Place
    low_bps: float
    high_bps: float
    taker_bps: float


@dataclass(frozen=True)
class Work:
    """What all cells share, in a form that can be sent to a worker.

    Attributes:
        tape_path: what is traded.
        setup: model, size of a quote, opening balance.
        levels: fees by number.
        limits: risk limits.
        quote_interval_ns, quote_on: see `backtest`; None on bars.
        seed: of the bootstrap.
    """

    tape_path: str
    setup: Prepared
    levels: tuple[FeeLevel, ...]
    limits: RiskLimits
    quote_interval_ns: int | None = None
    quote_on: tuple[str, ...] | None = None
    seed: int = 0

    def __call__(self, task: Cell | FeeSearch) -> dict[str, Any]:
        """Run a cell, or search a break-even fee; JSON-ready."""
        if isinstance(task, FeeSearch):
            return search(lambda fee_bps: self._at(task, fee_bps), task.low_bps, task.high_bps, SEARCH_STEP_BPS
                          ).as_dict()  # fmt: skip
        limits = self.limits if task.edge_filter else replace(self.limits, min_edge_bps=None)
        return measured(self._run(self.levels[task.fee].fees, task.place, limits), self.seed)

    def _at(self, task: FeeSearch, fee_bps: float) -> Outcome:
        metrics = self._run(Fees(fee_bps, task.taker_bps), task.place, self.limits).metrics
        return Outcome(fee_bps, metrics.excess_pnl, metrics.fills)

    def _run(self, fees: Fees, place: Place, limits: RiskLimits) -> BacktestResult:
        common: dict[str, Any] = {
            "fees": fees, "order_qty": self.setup.order_qty, "cash": self.setup.cash, "risk": limits,
        }  # fmt: skip
        tape = _tape(self.tape_path)
        if place.bar_volume_share is not None:
            return backtest(tape, self.setup.new_model(), bar_volume_share=place.bar_volume_share, **common)
        delay_ns = round((place.latency_ms or 0.0) * NS_PER_MS)
        return backtest(
            tape,
            self.setup.new_model(),
            queue=place.queue,
            latency=Latency(entry_ns=delay_ns, response_ns=delay_ns),
            quote_interval_ns=self.quote_interval_ns,
            quote_on=self.quote_on or None,
            log_orders=False,
            **common,
        )


@lru_cache(maxsize=1)
def _tape(path: str) -> EventTape:
    """Load the tape that all cells of a worker trade."""
    return EventTape.load(path, verify=False)


def measured(result: BacktestResult, seed: int) -> dict[str, Any]:
    """Return what one cell came to, JSON-ready.

    Returns:
        status; tier; first_line; metrics; attribution; and of `earned`, the profit over holding the opening inventory:
        earned_bps (of the turnover), earned_low and earned_high (95 % interval), verdict, no_interval (why there is
        none), interval_s and changes (of the equity, that the interval is made of).
    """
    metrics, found = result.metrics, attribute(result)
    outcome = interval(result, seed)
    return {
        "status": "failed_risk" if metrics.failed else "completed",
        "tier": result.tier,
        "first_line": result.first_line,
        "error": None,
        "metrics": metrics.model_dump(),
        "attribution": found.as_dict(),
        "earned": metrics.excess_pnl,
        "earned_bps": 1e4 * metrics.excess_pnl / metrics.turnover if metrics.turnover > 0 else None,
        "verdict": verdict(metrics.fills, outcome["earned_low"], outcome["earned_high"]),
        **outcome,
    }


def verdict(fills: int, low: float | None, high: float | None) -> str:
    """Return whether a run earned, as far as its interval tells; without fills it did not trade, whatever its zero."""
    if fills == 0:
        return IDLE
    if low is not None and low > 0.0:
        return EARNS
    if high is not None and high < 0.0:
        return LOSES
    return UNCLEAR


def interval(result: BacktestResult, seed: int) -> dict[str, Any]:
    """Return the 95 % interval of what was earned, by the circular block bootstrap over changes of equity."""
    changes, step_s = earned_changes(result)
    length = block_length(len(changes))
    found = {"interval_s": step_s, "changes": len(changes), "earned_low": None, "earned_high": None}
    if result.metrics.fills < MIN_FILLS:
        return found | {"no_interval": f"too few fills: {result.metrics.fills}"}
    if not _has_blocks(len(changes)):
        return found | {"no_interval": f"too short: {len(changes)} changes of {step_s:g} s"}
    # The same blocks for every cell: two cells differ by their runs, not by their draws. Whole blocks are drawn.
    drawn = block_sums(changes[:, None], length, RESAMPLES, seed)[:, 0]
    drawn *= len(changes) / (length * -(-len(changes) // length))
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(drawn, (tail, 100.0 - tail))
    return found | {"earned_low": float(low), "earned_high": float(high), "no_interval": ""}


def _has_blocks(changes: int) -> bool:
    """Return whether so many changes make blocks enough to say how far their sum may be off."""
    return changes // block_length(changes) >= MIN_BLOCKS


def earned_changes(result: BacktestResult) -> tuple[npt.NDArray[np.float64], float]:
    """Return what was earned in each step over holding the opening inventory (quote currency), and the step, seconds.

    The last step may be shorter, so that the changes add up to what the run earned. On bars a step is a bar.
    """
    samples = result.raw_samples
    ts, mids = samples["ts_ns"], samples["mid"]
    held = float(samples["position_lots"][0]) * result.instrument.lot_size
    earned = samples["equity"] - held * values(result.instrument, mids)
    if result.instrument.kind == "inverse":
        earned = earned * float(mids[-1])
    span_ns = int(ts[-1] - ts[0])
    steps_s = STEPS_S if result.raw_markouts is not None else (result.metrics.interval_s,)
    step_s = next((step for step in steps_s if _has_blocks(-(-span_ns // round(step * NS_PER_S)))), steps_s[-1])
    grid = np.append(np.arange(ts[0], ts[-1], round(step_s * NS_PER_S)), ts[-1])
    return np.diff(earned[np.searchsorted(ts, grid, side="right") - 1]), float(step_s)
