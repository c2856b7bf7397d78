"""Gates: named checks that a result passes or does not, each with its value, its threshold and a reason in words.

A number that is not there (None) fails its check: a gate asks for evidence, and there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.artifacts import read_json, read_jsonl, run_folder, write_json
from marketmakerl.core.errors import DataFormatError, DataNotFoundError
from marketmakerl.data.catalog import weakest_tier
from marketmakerl.risk.limits import FAILURE_DRAWDOWN_PCT

if TYPE_CHECKING:
    from pathlib import Path

MIN_POSITIVE_SHARE: Final = 0.60
RESEARCH_TIER: Final = "T1"
KINDS: Final = ("campaign", "backtest", "research-budgets", "walk-forward")
GATE_FILE: Final = "gate.json"

# What pnl is exact to, relative to the money that moved.
_PNL_RTOL: Final = 1e-9

_TIER_NAMES: Final = {
    "T0": "indicative prices",
    "T1": "recorded exchange data",
    "T2": "synthetic data",
    "T3": "a live public stream",
}

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """One question asked of a result.

    Attributes:
        name: what was asked.
        value: what was found; None where it is undefined.
        threshold: what it was compared with.
        passed: the answer.
        why: both in words.
    """

    name: str
    value: float | str | None
    threshold: float | str
    passed: bool
    why: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def result_checks(metrics: Metrics) -> list[Check]:
    """Ask of one run's metrics whether it earned, how steadily, at what drawdown, and whether it traded at all.

    What was earned is `excess_pnl`, pnl over holding the opening inventory: on derivatives, which open flat, it is pnl.
    """
    return [
        _positive_pnl([metrics]),
        _positive_sharpe([metrics]),
        _max_drawdown([metrics]),
        _has_fills([metrics]),
    ]


def research_checks(metrics: Metrics, tier: str) -> list[Check]:
    """Ask the research gate of one run: its result, and that it stands on recorded data."""
    return [*result_checks(metrics), data_tier(tier)]


def runs_checks(runs: Sequence[Mapping[str, Any]], expected: int, tier: str) -> list[Check]:
    """Ask the research gate of many runs taken together.

    Args:
        runs: lines with "status", "tier" and "metrics" (None for an error).
        expected: how many runs there should be.
        tier: the tier that the manifest states; a lower one among the runs wins.
    """
    metrics = [run["metrics"] for run in runs if run["metrics"]]
    tiers = [run["tier"] for run in runs if run["metrics"]]
    errors = sum(run["status"] == "error" for run in runs)
    positive = sum(_earned(m) > 0 for m in metrics)
    share = positive / len(metrics) if metrics else None
    return [
        Check(
            "complete", len(runs), expected, len(runs) == expected,
            f"{len(runs)} of {expected} runs are there" + ("" if len(runs) == expected else ": run the command again"),
        ),
        Check("no_errors", errors, 0, errors == 0, f"{errors} of {len(runs)} runs ended in an error"),
        _positive_pnl(metrics),
        _positive_sharpe(metrics),
        Check(
            "positive_share", share, MIN_POSITIVE_SHARE, share is not None and share >= MIN_POSITIVE_SHARE,
            f"{positive} of {len(metrics)} runs earned; at least {MIN_POSITIVE_SHARE:.0%} must",
        ),
        _max_drawdown(metrics),
        _has_fills(metrics),
        data_tier(weakest_tier([tier, *tiers])),
    ]  # fmt: skip


def walk_forward_checks(folds: Sequence[Mapping[str, Any]], pass_rate: float, tier: str) -> list[Check]:
    """Ask the gate of a walk-forward.

    Args:
        folds: with "test": {"status", "metrics", ...}, the one run of the chosen strategy; metrics None for an error.
        pass_rate: share of the folds that must pass `result_checks`.
        tier: of the data.
    """
    metrics = [fold["test"]["metrics"] for fold in folds if fold["test"]["metrics"]]
    errors = len(folds) - len(metrics)
    passed = sum(all_passed(result_checks(m)) for m in metrics)
    rate = passed / len(folds) if folds else None
    halted = sum(_halted(m) for m in metrics)
    return [
        Check("no_errors", errors, 0, errors == 0, f"{errors} of {len(folds)} folds ended in an error"),
        Check(
            "pass_rate", rate, pass_rate, rate is not None and rate >= pass_rate,
            f"{passed} of {len(folds)} tests passed; at least {pass_rate:.0%} must",
        ),
        _max_drawdown(metrics),
        Check(
            "hard_breaker", halted, 0, halted == 0,
            f"{halted} of {len(folds)} tests were ended by the hard drawdown breaker; none may be",
        ),
        data_tier(tier),
    ]  # fmt: skip


def data_tier(tier: str) -> Check:
    """Ask that the data be recorded exchange data: nothing else is evidence."""
    named = f"{tier}, {_TIER_NAMES.get(tier, 'which nobody knows')}"
    return Check(
        "data_tier", tier, RESEARCH_TIER, tier == RESEARCH_TIER, f"{named}; a research gate needs recorded data"
    )


def all_passed(checks: Sequence[Check]) -> bool:
    """Return whether every check passed, and there was one."""
    return bool(checks) and all(check.passed for check in checks)


def failures(checks: Sequence[Check]) -> str:
    """Return the failed checks in one line."""
    return "; ".join(f"{check.name}: {check.why}" for check in checks if not check.passed)


def find_run(artifacts: Path, run: str) -> Path:
    """Resolve RUN (a folder, a run id, or "latest" of any kind) to the folder of a run that can be judged.

    Raises:
        DataNotFoundError: there is no such run.
        ConfigError: RUN is empty.
    """
    found = []
    for kind in KINDS:
        with suppress(DataNotFoundError):
            found.append(run_folder(artifacts, kind, run))
    if not found:
        raise DataNotFoundError(
            f"no run {run!r} under {artifacts} ({', '.join(KINDS)}); name a folder, a run id or latest, "
            "or start one: mml campaign -n 10"
        )
    # Run ids begin with their UTC time.
    return max(found, key=lambda folder: folder.name)


def gate_run(folder: Path) -> list[Check]:
    """Judge a finished run by its own files.

    Args:
        folder: of a campaign, a backtest, research budgets (cells count as runs) or a walk-forward.

    Raises:
        DataNotFoundError, DataFormatError: a file is missing or is not what such a run writes.
    """
    document = read_json(folder / "manifest.json")
    try:
        judge = _JUDGES.get(document["kind"])
        if judge is None:
            raise DataFormatError(f"{folder} is a {document['kind']} run; a gate judges {', '.join(KINDS)}")
        return judge(folder, document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataFormatError(f"{folder} cannot be judged: {type(error).__name__}: {error}") from error


def judge_run(folder: Path) -> dict[str, Any]:
    """Judge a run and write the verdict into its folder as gate.json.

    Returns:
        What was written: run_id, kind, tier, passed, checks.

    Raises:
        DataNotFoundError, DataFormatError: see `gate_run`. ArtifactError: the verdict cannot be written.
    """
    checks = gate_run(folder)
    document = read_json(folder / "manifest.json")
    verdict = {
        "run_id": document.get("run_id", folder.name),
        "kind": document["kind"],
        "tier": next(check.value for check in checks if check.name == "data_tier"),
        "passed": all_passed(checks),
        "checks": [check.as_dict() for check in checks],
    }
    write_json(folder / GATE_FILE, verdict)
    return verdict


def _judge_runs(folder: Path, document: Mapping[str, Any]) -> list[Check]:
    runs = read_jsonl(folder / "runs.jsonl")
    return runs_checks(runs, int(document["config"]["options"]["n"]), document["tier"])


def _judge_budgets(folder: Path, document: Mapping[str, Any]) -> list[Check]:
    analysis = read_json(folder / "analysis.json")
    expected = len(analysis["budgets"]) * len(analysis["strategies"])
    return runs_checks(analysis["cells"], expected, document["tier"])


def _judge_walk_forward(folder: Path, document: Mapping[str, Any]) -> list[Check]:
    analysis = read_json(folder / "analysis.json")
    return walk_forward_checks(analysis["folds"], float(analysis["pass_rate"]), document["tier"])


_JUDGES: Final[dict[str, Callable[[Path, Mapping[str, Any]], list[Check]]]] = {
    "campaign": _judge_runs,
    "backtest": _judge_runs,
    "research-budgets": _judge_budgets,
    "walk-forward": _judge_walk_forward,
}


def _earned(metrics: Metrics) -> float:
    """Return what was earned over holding; 0 for what is only float noise at that budget and turnover."""
    earned = float(metrics["excess_pnl"])
    noise = _PNL_RTOL * max(1.0, float(metrics["initial_budget"]), float(metrics["turnover"]))
    return earned if abs(earned) > noise else 0.0


def _halted(metrics: Metrics) -> bool:
    return bool(metrics["liquidations"] > 0 or metrics["suppressed_pct"].get("halted", 0) > 0)


def _middle(values: Sequence[float]) -> float | None:
    """Return the median, None where it is undefined; -inf stands for a value that is not there."""
    middle = median(values) if values else -math.inf
    return middle if math.isfinite(middle) else None


def _positive_pnl(metrics: Sequence[Metrics]) -> Check:
    value = _middle([_earned(m) for m in metrics])
    several = "median " if len(metrics) > 1 else ""
    held = any(m["excess_pnl"] != m["pnl"] for m in metrics)
    what = f"{several}pnl over holding the opening inventory" if held else f"{several}pnl"
    found = "no run has one" if value is None else f"{value:,.2f}"
    return Check("positive_pnl", value, 0.0, value is not None and value > 0, f"{what}: {found}; must be above 0")


def _positive_sharpe(metrics: Sequence[Metrics]) -> Check:
    value = _middle([-math.inf if m["sharpe"] is None else float(m["sharpe"]) for m in metrics])
    several = "median " if len(metrics) > 1 else ""
    found = "undefined" if value is None else f"{value:.2f}"
    why = f"{several}Sharpe {found}; must be above 0"
    return Check("positive_sharpe", value, 0.0, value is not None and value > 0, why)


def _max_drawdown(metrics: Sequence[Metrics]) -> Check:
    value = max((float(m["max_drawdown_pct"]) for m in metrics), default=None)
    several = "worst drawdown" if len(metrics) > 1 else "drawdown"
    found = "unknown" if value is None else f"{value:.2%} of the budget"
    return Check(
        "max_drawdown_pct", value, FAILURE_DRAWDOWN_PCT, value is not None and value <= FAILURE_DRAWDOWN_PCT,
        f"{several} {found}; at most {FAILURE_DRAWDOWN_PCT:.0%}",
    )  # fmt: skip


def _has_fills(metrics: Sequence[Metrics]) -> Check:
    fills = sum(int(m["fills"]) for m in metrics)
    reasons = sorted({str(m["no_fills_because"]) for m in metrics if m["fills"] == 0})
    why = f"{fills:,} fills" if fills else f"no fills: {', '.join(reasons) or 'no run has any metrics'}"
    return Check("has_fills", fills, 1, fills >= 1, why)
