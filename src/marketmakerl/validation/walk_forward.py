"""Walk-forward: choose a strategy on one window, run it once on the next, and count how often that held.

The span is cut into folds that follow one another; a fold is a train window and the test window right after it. No two
windows overlap, so nothing that a test shows has been seen by its own choice or by one before it. The choice sees the
train window and nothing else; the test is calibrated on the last bars of train.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketmakerl.backtesting.session import last_bars, split_warm_up
from marketmakerl.core.clock import Clock, SystemClock, iso_utc
from marketmakerl.core.errors import ConfigError, DataQualityError
from marketmakerl.core.pool import default_processes, run_tasks
from marketmakerl.data.tape import EventTape, Kind
from marketmakerl.reporting.study_report import write_study_report
from marketmakerl.validation.gates import Check, all_passed, failures, result_checks, walk_forward_checks
from marketmakerl.validation.study import (
    MIN_TRADED_BARS,
    Progress,
    Study,
    describe,
    failure,
    load,
    new_folder,
    run_session,
    study_spec,
    write_study,
)

if TYPE_CHECKING:
    from marketmakerl.core.fees import Fees

KIND = "walk-forward"
DEFAULT_PASS_RATE = 0.60

_SUMMARY = ("pnl", "excess_pnl", "return_pct", "sharpe", "excess_sharpe", "max_drawdown_pct", "fills")


@dataclass(frozen=True)
class Fold:
    """Three bars of the span, counted from 0: train is [train_first, test_first), test [test_first, test_end)."""

    train_first: int
    test_first: int
    test_end: int


def make_folds(n_bars: int, folds: int, train_share: float) -> list[Fold]:
    """Cut a span of bars into folds that follow one another without a gap and without an overlap.

    Args:
        n_bars: bars of the span.
        folds: how many; >= 1. They are equally long, to a bar.
        train_share: how much of each fold is its train window, in (0, 1).

    Raises:
        ConfigError: an argument out of range, or a window would hold no bar.
    """
    _check_cut(folds, train_share)
    if n_bars < 2 * folds:
        raise ConfigError(f"{n_bars} bars cannot be cut into {folds} folds of a train and a test window")
    edges = [n_bars * i // folds for i in range(folds + 1)]
    result = []
    for first, end in pairwise(edges):
        train = min(max(1, round((end - first) * train_share)), end - first - 1)
        result.append(Fold(first, first + train, end))
    return result


def _check_cut(folds: int, train_share: float) -> None:
    if folds < 1:
        raise ConfigError(f"FOLDS must be at least 1, got {folds}")
    if not 0 < train_share < 1:
        raise ConfigError(f"train_share must be above 0 and below 1, got {train_share!r}")


@dataclass(frozen=True, kw_only=True)
class WalkForwardConfig(Study):
    """What to study.

    Args:
        folds: how many times to choose and test; >= 1.
        train_share: how much of each fold is its train window, in (0, 1).
        pass_rate: share of the tests that must pass, in (0, 1].
        budget: opening equity of every run, quote currency; > 0.
    """

    folds: int = 5
    train_share: float = 0.7
    pass_rate: float = DEFAULT_PASS_RATE
    budget: float = 10_000.0

    def check(self) -> None:
        """Raise `ConfigError` for whatever can be refused before work starts."""
        super().check()
        if not 0 < self.pass_rate <= 1:
            raise ConfigError(f"pass_rate must be above 0 and at most 1, got {self.pass_rate!r}")
        _check_cut(self.folds, self.train_share)
        if self.bars_asked is not None:
            self.check_span(self.bars_asked, f"DAYS={self.market.days:g} of {self.market.timeframe}", ConfigError)

    @property
    def opening_equities(self) -> tuple[float, ...]:
        """Return the one budget."""
        return (self.budget,)

    def check_span(self, bars: int, what: str, error: type[ConfigError | DataQualityError]) -> None:
        """Raise `error` if `bars` are too few for every window to hold its warm-up and something to trade."""
        least = self.warmup_bars + MIN_TRADED_BARS
        if bars >= 2 * self.folds:
            shortest = make_folds(bars, self.folds, self.train_share)
            train = min(fold.test_first - fold.train_first for fold in shortest)
            test = min(fold.test_end - fold.test_first for fold in shortest)
            if train >= least and test >= MIN_TRADED_BARS:
                return
        raise error(
            f"{what} ({bars} bars) is too short for {self.folds} folds: a train window needs {least} bars "
            f"(warm-up included), a test window {MIN_TRADED_BARS}; take more DAYS, fewer FOLDS or a finer TIMEFRAME"
        )


@dataclass(frozen=True)
class WalkForward:
    """A finished walk-forward.

    Attributes:
        folder: where its artifacts lie.
        analysis: what analysis.json holds.
        checks: what the gate asked.
    """

    folder: Path
    analysis: dict[str, Any]
    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether the gate said yes."""
        return all_passed(self.checks)

    @property
    def failures(self) -> str:
        """The failed checks in one line."""
        return failures(self.checks)


def walk_forward(
    config: WalkForwardConfig,
    artifacts: Path,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> WalkForward:
    """Walk forward through the market and write the study's artifacts.

    Args:
        config: what to study.
        artifacts: the artifacts folder.
        processes: worker processes; None: one a processor. The results do not depend on it.
        progress: called as (done, total, what was done) after each fold, and once at the start.
        clock: where the run id's time comes from.

    Raises:
        ConfigError, DataError, ArtifactError: there is no study; nothing is left behind.
    """
    config.check()
    if processes is not None and processes < 1:
        raise ConfigError(f"processes must be at least 1, got {processes}")
    clock = clock or SystemClock()
    market = load(config)
    fees = config.fees(market.exchange)
    facts = describe(config, market)
    span = _span_bars(market.tape)
    config.check_span(span, f"{market.exchange} {facts['symbol']} from {facts['first']}", DataQualityError)
    spec = study_spec(config, fees, market)
    with (
        new_folder(artifacts / KIND, spec, clock) as folder,
        tempfile.TemporaryDirectory(prefix="mml-walk-") as scratch,
    ):
        tape_path = market.tape.save(Path(scratch) / "market.tape")
        folds = make_folds(span, config.folds, config.train_share)
        lines = _run_folds(_Work(config, fees, str(tape_path)), folds, processes or default_processes(), progress)
        checks = walk_forward_checks(lines, config.pass_rate, market.tape.tier)
        analysis = {
            "kind": KIND,
            "market": facts,
            "fees": {"maker_bps": fees.maker_bps, "taker_bps": fees.taker_bps},
            "budget": config.budget,
            "pass_rate": config.pass_rate,
            "train_share": config.train_share,
            "strategies": [strategy.as_dict() for strategy in config.formats],
            "folds": lines,
            "checks": [check.as_dict() for check in checks],
            "passed": all_passed(checks),
        }
        write_study(folder, KIND, spec, analysis, [_csv_row(line) for line in lines], clock)
        write_study_report(folder)
    return WalkForward(folder, analysis, checks)


def _span_bars(tape: EventTape) -> int:
    """Return how many bars the span has room for, those that are missing included: folds are equal in time."""
    return int((int(tape.ts_ns[-1]) - int(tape.ts_ns[0])) // tape.interval_ns)


@dataclass(frozen=True)
class _Work:
    """One fold, in a form that can be sent to a worker."""

    config: WalkForwardConfig
    fees: Fees
    tape_path: str

    def __call__(self, fold: Fold) -> dict[str, Any]:
        return run_fold(self.config, self.fees, EventTape.load(self.tape_path, verify=False), fold)


def run_fold(config: WalkForwardConfig, fees: Fees, tape: EventTape, fold: Fold) -> dict[str, Any]:
    """Choose on the fold's train window, then run the choice once on its test window.

    Returns:
        train and test, each with its window; in train every candidate's summary, in test the one run's result.
    """
    start_ns, interval_ns = int(tape.ts_ns[0]), tape.interval_ns
    begin, split, end = (start_ns + bar * interval_ns for bar in (fold.train_first, fold.test_first, fold.test_end))
    train, test = tape.window(begin, split), tape.window(split, end)
    candidates = _candidates(config, fees, train)
    chosen = choose(candidates)
    line: dict[str, Any] = {
        "train": _window(train, begin, split) | {"candidates": candidates},
        "chosen": chosen,
        "test": _window(test, split, end) | {"passed": False, "checks": []},
    }
    if chosen is None:
        reasons = sorted({candidate["error"] for candidate in candidates})
        return line | {
            "test": line["test"] | failure(DataQualityError(f"no strategy could be run on train: {reasons[0]}"))
        }
    strategy = next(strategy for strategy in config.formats if strategy.name == chosen)
    if len(test) == 0:
        result = failure(DataQualityError("the test window holds no bar"))
    else:
        result = run_session(config.session(strategy, config.budget, fees), last_bars(train, config.warmup_bars), test)
    checks = result_checks(result["metrics"]) if result["metrics"] else []
    verdict = {"passed": all_passed(checks), "checks": [check.as_dict() for check in checks]}
    return line | {"test": line["test"] | result | verdict}


def _candidates(config: WalkForwardConfig, fees: Fees, train: EventTape) -> list[dict[str, Any]]:
    """Return how every format did on train, by name."""
    lines = []
    for strategy in config.formats:
        try:
            warm_up, rest = split_warm_up(train, config.warmup_bars)
        except DataQualityError as error:
            result = failure(error)
        else:
            result = run_session(config.session(strategy, config.budget, fees), warm_up, rest)
        metrics = result["metrics"] or {}
        summary = {name: metrics.get(name) for name in _SUMMARY}
        lines.append({"strategy": strategy.name, "status": result["status"], "error": result["error"]} | summary)
    return lines


def choose(candidates: list[dict[str, Any]]) -> str | None:
    """Return the best strategy by Sharpe, then pnl, then name; None if none could be run.

    Both are over holding the opening inventory: on spot, what the market did says nothing of a strategy. One that
    never traded comes after all that did.
    """
    runnable = [line for line in candidates if line["status"] != "error"]
    best = min(
        runnable,
        key=lambda line: (
            line["fills"] == 0,
            -(-math.inf if line["excess_sharpe"] is None else line["excess_sharpe"]),
            -line["excess_pnl"],
            line["strategy"],
        ),
        default=None,
    )
    return None if best is None else str(best["strategy"])


def _window(tape: EventTape, begin_ns: int, end_ns: int) -> dict[str, Any]:
    bars = int((tape.kind == Kind.BAR_OPEN).sum())
    return {"first": iso_utc(begin_ns), "end": iso_utc(end_ns), "bars": bars}


def _run_folds(work: _Work, folds: list[Fold], processes: int, progress: Progress | None) -> list[dict[str, Any]]:
    """Return one line a fold, in order."""
    done: dict[Fold, dict[str, Any]] = {}
    if progress:
        progress(0, len(folds), "running")
    for fold, outcome in run_tasks(work, folds, processes, preload=[__name__]):
        if isinstance(outcome, Exception):
            raise outcome
        done[fold] = outcome
        if progress:
            progress(len(done), len(folds), f"fold {folds.index(fold) + 1}: {outcome['chosen']}")
    return [{"fold": number} | done[fold] for number, fold in enumerate(folds, start=1)]


def _csv_row(line: dict[str, Any]) -> dict[str, Any]:
    train, test = line["train"], line["test"]
    chosen: dict[str, Any] = next((c for c in train["candidates"] if c["strategy"] == line["chosen"]), {})
    metrics = test["metrics"] or {}
    return (
        {"fold": line["fold"], "train_first": train["first"], "test_first": test["first"], "test_end": test["end"]}
        | {"chosen": line["chosen"]}
        | {f"train_{name}": chosen.get(name) for name in _SUMMARY}
        | {"status": test["status"], "passed": test["passed"]}
        | {"failed_checks": " ".join(check["name"] for check in test["checks"] if not check["passed"])}
        | {f"test_{name}": metrics.get(name) for name in _SUMMARY}
        | {"error": test["error"]}
    )
