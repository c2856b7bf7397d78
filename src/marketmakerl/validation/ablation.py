"""Ablation: what each control of risk costs and brings, on synthetic and recorded markets."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.backtesting.session import Session
from marketmakerl.backtesting.tick_session import TickRules
from marketmakerl.core.artifacts import environment, manifest, write_atomic, write_json, write_jsonl
from marketmakerl.core.clock import Clock, SystemClock
from marketmakerl.core.errors import ConfigError, MarketMakerLError, ModelError, UnknownNameError
from marketmakerl.core.fees import Fees
from marketmakerl.core.pool import default_processes, run_tasks
from marketmakerl.core.rng import check_seed
from marketmakerl.data.catalog import weakest_tier
from marketmakerl.models.own_file import pinned
from marketmakerl.reporting.ablation_report import write_ablation_report
from marketmakerl.risk.limits import OFF, RiskLimits
from marketmakerl.validation.ablation_effects import (
    BOTH,
    EVERYTHING,
    HELPS,
    HURTS,
    LEVEL,
    NEVER,
    NO_FILL,
    RESAMPLES,
    effects,
)
from marketmakerl.validation.ablation_markets import SYNTHETIC, DataCase, recorded_case, synthetic_case
from marketmakerl.validation.ablation_run import ALL_OFF, ALL_ON, WindowWork, variants
from marketmakerl.validation.study import Progress, new_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from marketmakerl.data.market import MarketRequest
    from marketmakerl.validation.ablation_run import Outcome

KIND: Final = "ablate"
REBATE: Final = (-0.5, 3.0)
HELPS_SOMEWHERE, HELPS_NOWHERE, NOTHING_TO_DO = "helps somewhere", "helps nowhere", "had nothing to do"
_FEWEST_CHANGES: Final = 200
_INTERVALS_S: Final = (60, 10, 1)


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """What is tried on what.

    Args:
        markets: recordings, each a request; empty for none.
        synthetic: names of synthetic markets, of `SYNTHETIC`.
        windows: how many each data set is cut into; the differences of drawdown are as sure as these are many.
        fees: (maker_bps, taker_bps), None for the venue's own; each is a setting of its own.
        controls: which; all if empty.
        alone: whether each is also tried with nothing else on.
        limits: what "all on" is.
        seed: of the bootstrap, and of the first synthetic window.
        synthetic_bars, synthetic_events: length of a synthetic window on bars (warm-up included) and on ticks.
        model, model_params, budget, order_share, warmup_bars: see `Session`.
        ticks: how ticks are traded.
        fees_file: overrides of the fee table.
    """

    markets: tuple[MarketRequest, ...] = ()
    synthetic: tuple[str, ...] = SYNTHETIC
    windows: int = 8
    fees: tuple[tuple[float, float] | None, ...] = (None, REBATE)
    controls: tuple[str, ...] = ()
    alone: bool = False
    limits: RiskLimits = field(default_factory=RiskLimits)
    seed: int = 0
    synthetic_bars: int = 4_560
    synthetic_events: int = 40_000
    model: str = "avellaneda_stoikov"
    model_params: dict[str, float | str] = field(default_factory=dict)
    budget: float = 10_000.0
    order_share: float = 0.02
    warmup_bars: int = 240
    ticks: TickRules = field(default_factory=TickRules)
    fees_file: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", pinned(self.model))

    def check(self) -> None:
        """Raise `ConfigError` for what can be refused before any file is opened."""
        check_seed(self.seed + self.windows)
        if self.windows < 1:
            raise ConfigError(f"windows must be at least 1, got {self.windows}")
        for what, names, known in (
            ("risk control", self.controls, OFF),
            ("synthetic market", self.synthetic, SYNTHETIC),
        ):
            for name in names:
                if name not in known:
                    raise UnknownNameError(what, name, known)
        if not self.markets and not self.synthetic:
            raise ConfigError("name a market: recorded (--data, --exchange, --symbol), or synthetic ones")
        if not self.fees:
            raise ConfigError("name the fees to try: venue, or maker:taker in bps")
        if self.synthetic_bars <= self.warmup_bars or self.synthetic_events < 1:
            raise ConfigError(
                f"synthetic_bars must be above warmup_bars ({self.warmup_bars}), synthetic_events above 0"
            )
        for pair in self.fees:
            self.session(Fees(*pair) if pair else Fees(0.0, 0.0)).check()
        for market in self.markets:
            market.check()
        self.ticks.check()

    @property
    def tried(self) -> tuple[str, ...]:
        """Return the names of the controls that are tried, in the order of the text."""
        return tuple(name for name in OFF if not self.controls or name in self.controls)

    def session(self, fees: Fees) -> Session:
        """Return how every window is traded."""
        return Session(
            fees=fees,
            model=self.model,
            model_params=self.model_params,
            budget=self.budget,
            order_share=self.order_share,
            warmup_bars=self.warmup_bars,
        )


@dataclass(frozen=True)
class Ablation:
    """A finished study.

    Attributes:
        folder: where its artifacts lie.
        analysis: what analysis.json holds.
    """

    folder: Path
    analysis: dict[str, Any]


@dataclass(frozen=True)
class _Setting:
    """A data set at a fee."""

    case: DataCase
    fees: Fees
    interval_s: int

    @property
    def name(self) -> str:
        return f"{self.case.name}, fees {self.fees.maker_bps:g}:{self.fees.taker_bps:g}"


@dataclass(frozen=True)
class _Work:
    """All windows of all settings, in a form that can be sent to a worker."""

    config: AblationConfig
    settings: tuple[_Setting, ...]

    def __call__(self, task: tuple[int, int]) -> dict[str, Outcome] | MarketMakerLError:
        setting = self.settings[task[0]]
        config = self.config
        limits = variants(config.limits, config.tried, alone=config.alone)
        work = WindowWork(config.session(setting.fees), config.ticks, limits, setting.interval_s)
        return work(setting.case.windows[task[1]])


def ablate(
    config: AblationConfig,
    artifacts: Path,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> Ablation:
    """Run every window under every set of limits and write the study's artifacts.

    Args:
        config: what is tried on what.
        artifacts: the artifacts folder.
        processes: worker processes; None: one a processor. The results do not depend on it.
        progress: called as (done, total, what was done) after each window, and once at the start.
        clock: where the run id's time comes from.

    Raises:
        ConfigError, DataError, ArtifactError: there is no study, or a data set of which no window can be traded;
            nothing is left behind.
    """
    config.check()
    if processes is not None and processes < 1:
        raise ConfigError(f"processes must be at least 1, got {processes}")
    clock = clock or SystemClock()
    with tempfile.TemporaryDirectory(prefix="mml-ablate-") as scratch:
        settings = _settings(config, Path(scratch))
        outcomes = _run_all(_Work(config, settings), processes or default_processes(), progress)
    cases = {setting.case.name: setting.case for setting in settings}.values()
    spec: dict[str, Any] = {
        "config": _settled(config),
        "data": [entry for case in cases for entry in case.provenance],
        "environment": environment(),
    }
    tier = weakest_tier(case.tier for case in cases)
    lines = [line for i, setting in enumerate(settings) for line in _lines(setting, outcomes[i])]
    entries = [_entry(config, setting, outcomes[i]) for i, setting in enumerate(settings)]
    analysis = {
        "kind": KIND,
        "tier": tier,
        "level": LEVEL,
        "resamples": RESAMPLES,
        "controls": list(config.tried),
        "settings": entries,
        "overall": _overall(config.tried, entries),
    }
    with new_folder(artifacts / KIND, spec, clock) as folder:
        write_jsonl(folder / "runs.jsonl", lines)
        _write_summary(folder / "summary.csv", entries)
        write_json(folder / "analysis.json", analysis)
        write_json(folder / "manifest.json", manifest(KIND, folder.name, spec["config"], spec["data"], tier, clock))
        write_ablation_report(folder)
    return Ablation(folder, analysis)


def _settings(config: AblationConfig, folder: Path) -> tuple[_Setting, ...]:
    cases = [
        synthetic_case(name, config.windows, config.seed, config.synthetic_bars, config.synthetic_events, folder)
        for name in config.synthetic
    ] + [recorded_case(request, config.windows, folder) for request in config.markets]
    return tuple(
        _Setting(
            case,
            Fees(*pair) if pair else Fees.for_exchange(case.exchange, overrides=config.fees_file),
            _interval_s(config, case),
        )
        for case in cases
        for pair in config.fees
    )


def _interval_s(config: AblationConfig, case: DataCase) -> int:
    """Return the spacing of equity changes: a bar, or 60 s where there are enough of them, else less."""
    tapes = [window.load() for window in case.windows]
    if case.on_bars:
        return int(tapes[0].interval_ns // 10**9)
    seconds = sum(float(tape.ts_ns[-1] - tape.ts_ns[0]) * 1e-9 for tape in tapes) * (1.0 - config.ticks.warmup_share)
    return next((s for s in _INTERVALS_S if seconds / s >= _FEWEST_CHANGES), _INTERVALS_S[-1])


def _run_all(work: _Work, processes: int, progress: Progress | None) -> list[list[dict[str, Outcome] | str]]:
    """Return, for each setting, the outcomes of its windows in order; a text where one cannot be traded."""
    tasks = [(i, j) for i, setting in enumerate(work.settings) for j in range(len(setting.case.windows))]
    done: dict[tuple[int, int], dict[str, Outcome] | str] = {}
    refused: dict[int, MarketMakerLError] = {}
    if progress:
        progress(0, len(tasks), "running")
    for task, outcome in run_tasks(work, tasks, processes, preload=[__name__]):
        if isinstance(outcome, ModelError):  # left out, the windows in which a model fails would be nobody's
            raise outcome
        if isinstance(outcome, MarketMakerLError):
            refused[task[0]] = outcome
            done[task] = str(outcome)
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            done[task] = outcome
        if progress:
            progress(len(done), len(tasks), f"{work.settings[task[0]].name}, window {task[1] + 1}")
    found = [[done[i, j] for j in range(len(setting.case.windows))] for i, setting in enumerate(work.settings)]
    for i, windows in enumerate(found):
        if all(isinstance(window, str) for window in windows):
            error = refused[i]
            raise type(error)(f"{work.settings[i].case.name}: no window of {len(windows)} can be traded: {error}")
    return found


def _lines(setting: _Setting, windows: Sequence[dict[str, Outcome] | str]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for number, window in enumerate(windows):
        common = {"setting": setting.name, "window": number}
        if isinstance(window, str):
            lines.append(common | {"limits": None, "status": "error", "error": window, "metrics": None})
            continue
        for name, one in window.items():
            lines.append(
                common
                | {
                    "limits": name,
                    "status": one.status,
                    "error": None,
                    "metrics": one.metrics,
                    "suppressed": one.suppressed,
                    "fills_digest": one.fills,
                }
            )
    return lines


def _entry(config: AblationConfig, setting: _Setting, windows: Sequence[dict[str, Outcome] | str]) -> dict[str, Any]:
    """Return what was found in a setting."""
    traded = [window for window in windows if not isinstance(window, str)]
    found = effects(traded, config.tried, setting.interval_s, config.seed, alone=config.alone)
    return {
        "name": setting.name,
        "data": setting.case.name,
        "fees": asdict(setting.fees),
        "tier": setting.case.tier,
        "on_bars": setting.case.on_bars,
        "interval_s": setting.interval_s,
        "windows": len(traded),
        "changes": sum(len(window[ALL_ON].changes) for window in traded),
        "refused": [window for window in windows if isinstance(window, str)],
        "runs": {name: _totals([window[name] for window in traded]) for name in (ALL_ON, ALL_OFF)},
        "effects": [effect.as_dict() for effect in found],
    }


def _totals(runs: Sequence[Outcome]) -> dict[str, Any]:
    returns = [run.metrics["return_pct"] for run in runs]
    return {
        "pnl": sum(run.metrics["pnl"] for run in runs),
        "fills": sum(run.metrics["fills"] for run in runs),
        "turnover": sum(run.metrics["turnover"] for run in runs),
        "worst_return_pct": min(returns),
        "max_drawdown_pct": max(run.metrics["max_drawdown_pct"] for run in runs),
        "quoted_uptime_pct": sum(run.metrics["quoted_uptime_pct"] for run in runs) / len(runs),
        "failed_risk": sum(run.status == "failed_risk" for run in runs),
    }


def _overall(controls: Sequence[str], entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each control where it helped, where it hurt, and what to say of it over all settings."""
    lines = []
    for control in (EVERYTHING, *controls):
        verdicts = {
            entry["name"]: effect["verdict"]
            for entry in entries
            for effect in entry["effects"]
            if effect["control"] == control and effect["mode"] == "among all"
        }
        acted = [name for name, verdict in verdicts.items() if verdict not in {NEVER, NO_FILL}]
        helps = [name for name in acted if verdicts[name] in {HELPS, BOTH}]
        hurts = [name for name in acted if verdicts[name] in {HURTS, BOTH}]
        say = HELPS_SOMEWHERE if helps else HELPS_NOWHERE if acted else NOTHING_TO_DO
        lines.append({
            "control": control,
            "say": say,
            "acted": acted,
            "helps": helps,
            "hurts": hurts,
            "verdicts": verdicts,
        })  # fmt: skip
    return lines


def _write_summary(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write one line a setting, mode and control; an interval is three columns."""
    rows = []
    for entry in entries:
        for effect in entry["effects"]:
            row: dict[str, Any] = {"setting": entry["name"]}
            for name, value in effect.items():
                if isinstance(value, dict):
                    row |= {name: value["mean"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
                else:
                    row[name] = value
            rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def _settled(config: AblationConfig) -> dict[str, Any]:
    """Return the configuration as a manifest records it."""
    options = asdict(config) | {"limits": config.limits.as_dict()}
    options["markets"] = [
        {name: str(value) if isinstance(value, Path) else value for name, value in asdict(market).items()}
        for market in config.markets
    ]
    options["fees_file"] = str(config.fees_file) if config.fees_file else None
    return {"options": options, "setup": {}, "seeds": [config.seed + i for i in range(config.windows)]}
