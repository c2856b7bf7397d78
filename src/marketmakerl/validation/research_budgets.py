"""Research budgets: every strategy format at every budget on the last days held, and the gate's answer for each."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketmakerl.backtesting.session import split_warm_up
from marketmakerl.core.clock import Clock, SystemClock
from marketmakerl.core.errors import ConfigError, DataQualityError
from marketmakerl.core.pool import default_processes, run_tasks
from marketmakerl.data.tape import EventTape
from marketmakerl.reporting.study_report import write_study_report
from marketmakerl.validation.gates import all_passed, research_checks
from marketmakerl.validation.study import (
    MIN_TRADED_BARS,
    Progress,
    Study,
    describe,
    failure,
    gravest,
    load,
    new_folder,
    run_session,
    study_spec,
    write_study,
)

if TYPE_CHECKING:
    from marketmakerl.core.fees import Fees
    from marketmakerl.validation.strategies import Strategy

KIND = "research-budgets"
BUDGETS = (1_000.0, 10_000.0, 100_000.0, 1_000_000.0)

_CSV_METRICS = (
    "pnl", "excess_pnl", "return_pct", "sharpe", "max_drawdown_pct", "fills", "turnover", "gross_spread_pnl",
    "inventory_pnl", "fees_paid", "quoted_uptime_pct", "max_abs_inventory", "breaker_events", "liquidations",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ResearchBudgetsConfig(Study):
    """What to study.

    Args:
        budgets: opening equities to try, quote currency; each > 0.
    """

    budgets: tuple[float, ...] = BUDGETS

    def check(self) -> None:
        """Raise `ConfigError` for whatever can be refused before work starts."""
        super().check()
        if not self.budgets:
            raise ConfigError("name at least one budget")
        if self.bars_asked is not None:
            self.check_bars(self.bars_asked, f"DAYS={self.market.days:g} of {self.market.timeframe}", ConfigError)

    def check_bars(self, bars: int, what: str, error: type[ConfigError | DataQualityError]) -> None:
        """Raise `error` if `bars` are too few for the warm-up and something to trade."""
        if bars < self.warmup_bars + MIN_TRADED_BARS:
            raise error(
                f"{what} ({bars} bars) is too short: {self.warmup_bars} bars set the parameters and at least "
                f"{MIN_TRADED_BARS} are traded; take more DAYS or a finer TIMEFRAME"
            )

    @property
    def opening_equities(self) -> tuple[float, ...]:
        """Return the budgets."""
        return self.budgets


@dataclass(frozen=True)
class ResearchBudgets:
    """A finished study.

    Attributes:
        folder: where its artifacts lie.
        analysis: what analysis.json holds.
    """

    folder: Path
    analysis: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """0 when every cell completed, whatever its verdict; else the gravest code among the errors."""
        return gravest(self.analysis["cells"])


@dataclass(frozen=True)
class _Cell:
    budget: float
    strategy: Strategy


@dataclass(frozen=True)
class _Work:
    """One cell, in a form that can be sent to a worker."""

    study: Study
    fees: Fees
    tape_path: str

    def __call__(self, cell: _Cell) -> dict[str, Any]:
        warm_up, rest = split_warm_up(EventTape.load(self.tape_path, verify=False), self.study.warmup_bars)
        return run_session(self.study.session(cell.strategy, cell.budget, self.fees), warm_up, rest)


def research_budgets(
    config: ResearchBudgetsConfig,
    artifacts: Path,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> ResearchBudgets:
    """Trade every format at every budget and write the study's artifacts.

    Args:
        config: what to study.
        artifacts: the artifacts folder.
        processes: worker processes; None: one a processor. The results do not depend on it.
        progress: called as (done, total, what was done) after each cell, and once at the start.
        clock: where the run id's time comes from.

    Raises:
        ConfigError, DataError, ArtifactError: there is no study; nothing is left behind.
    """
    config.check()
    if processes is not None and processes < 1:
        raise ConfigError(f"processes must be at least 1, got {processes}")
    clock = clock or SystemClock()
    market = load(config)
    facts = describe(config, market)
    config.check_bars(facts["bars"], f"{market.exchange} {facts['symbol']} from {facts['first']}", DataQualityError)
    fees = config.fees(market.exchange)
    spec = study_spec(config, fees, market)
    cells = [_Cell(budget, strategy) for budget in config.budgets for strategy in config.formats]
    with (
        new_folder(artifacts / KIND, spec, clock) as folder,
        tempfile.TemporaryDirectory(prefix="mml-budgets-") as scratch,
    ):
        tape_path = market.tape.save(Path(scratch) / "market.tape")
        lines = _run_cells(_Work(config, fees, str(tape_path)), cells, processes or default_processes(), progress)
        analysis = {
            "kind": KIND,
            "market": facts,
            "fees": {"maker_bps": fees.maker_bps, "taker_bps": fees.taker_bps},
            "budgets": list(config.budgets),
            "strategies": [strategy.as_dict() for strategy in config.formats],
            "cells": lines,
            "passed": sum(line["passed"] for line in lines),
        }
        write_study(folder, KIND, spec, analysis, [_csv_row(line) for line in lines], clock)
        write_study_report(folder)
    return ResearchBudgets(folder, analysis)


def _run_cells(work: _Work, cells: list[_Cell], processes: int, progress: Progress | None) -> list[dict[str, Any]]:
    """Return one line a cell, in the order of the cells."""
    done: dict[_Cell, dict[str, Any]] = {}
    if progress:
        progress(0, len(cells), "running")
    for cell, outcome in run_tasks(work, cells, processes, preload=[__name__]):
        done[cell] = _judged(cell, failure(outcome) if isinstance(outcome, Exception) else outcome)
        if progress:
            progress(len(done), len(cells), f"{cell.strategy.name} at {cell.budget:,.0f}")
    return [done[cell] for cell in cells]


def _judged(cell: _Cell, result: dict[str, Any]) -> dict[str, Any]:
    checks = research_checks(result["metrics"], result["tier"]) if result["metrics"] else []
    return {
        "budget": cell.budget,
        "strategy": cell.strategy.name,
        "model": cell.strategy.model,
        "passed": all_passed(checks),
        "checks": [check.as_dict() for check in checks],
        **result,
    }


def _csv_row(line: dict[str, Any]) -> dict[str, Any]:
    names = ("budget", "strategy", "model", "status", "passed")
    metrics = line["metrics"] or {}
    failed = " ".join(check["name"] for check in line["checks"] if not check["passed"])
    return (
        {name: line[name] for name in names}
        | {"failed_checks": failed}
        | {name: metrics.get(name) for name in _CSV_METRICS}
        | {"error": line["error"]}
    )
