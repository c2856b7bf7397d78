"""The stress study: one model under every scenario on a tape, in a model world and in the crises that data hold.

    artifacts/stress/<run_id>/manifest.json  runs.jsonl  summary.csv  analysis.json  report.html

runs.jsonl holds one line a scenario, also those that a market cannot show, and why. The same study gives the same
bytes in runs.jsonl and analysis.json, whatever the number of processes.
"""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.backtesting.session import Session, split_warm_up
from marketmakerl.backtesting.tick_session import TickRules
from marketmakerl.backtesting.trading import trade
from marketmakerl.core.artifacts import environment, manifest, write_atomic, write_json, write_jsonl
from marketmakerl.core.checks import require_whole
from marketmakerl.core.clock import Clock, SystemClock
from marketmakerl.core.errors import (
    ConfigError,
    DataNotFoundError,
    DataQualityError,
    MarketMakerLError,
    UnknownNameError,
)
from marketmakerl.core.fees import Fees
from marketmakerl.core.pool import default_processes, run_tasks
from marketmakerl.core.rng import check_seed
from marketmakerl.data.catalog import SIMULATED_EXCHANGE, weakest_tier
from marketmakerl.data.market import Market, MarketRequest, check_synthetic, load_market, synthetic_market
from marketmakerl.data.tape import EventTape
from marketmakerl.models.own_file import pinned
from marketmakerl.reporting.stress_report import write_stress_report
from marketmakerl.risk.limits import RiskLimits
from marketmakerl.simulation.simulate import simulate, simulate_paths
from marketmakerl.simulation.world_models import check_models, world_model
from marketmakerl.simulation.world_scenarios import NOT_IN_A_WORLD, WORLD_SCENARIOS, stressed_world
from marketmakerl.validation.crises import CRISES, load_crisis
from marketmakerl.validation.stress_measure import (
    curves_of,
    events_of,
    run_checks,
    run_figures,
    world_budget,
    world_checks,
    world_figures,
)
from marketmakerl.validation.stress_scenarios import BASELINE, SCENARIOS, Setting, stressed
from marketmakerl.validation.study import RUN_ERRORS, Progress, failure, gravest, new_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from marketmakerl.backtesting.results.result import BacktestResult
    from marketmakerl.simulation.world import World

KIND: Final = "stress"
TAPE, WORLD, CRISIS = "tape", "world", "crisis"
NOT_APPLICABLE: Final = "not_applicable"
BEFORE: Final = "before"  # the baseline of a crisis: the same market just before
_CSV: Final = (
    *("pnl", "pnl_change", "return_pct", "max_drawdown_pct", "inventory_pct", "breaker_events", "liquidations"),
    *(
        "liquidation_cost",
        "fills",
        "quoted_uptime_pct",
        "peak_orders",
        "worst_loss_pct",
        "loss_99_pct",
        "inventory_99_pct",
    ),
)

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class StressConfig:
    """What is stressed.

    Args:
        market: which market, None for no tape; without data or exchange the synthetic one.
        world: a model world, or None.
        gamma: risk aversion of the models in the world, 1 / quote currency; > 0.
        n_paths: of the world, each scenario.
        crises: folder of recorded data in which to look for them, or None.
        scenarios: ids of scenarios and crises to run; none named: all.
        model, model_params, budget: see `Session`; in the world its own models of that id, or one's own as it is.
        maker_bps, taker_bps: fees; None takes the exchange's table.
        warmup_bars: bars that set the parameters and are not traded.
        ticks: how ticks are traded; None takes the defaults if the market is one of ticks.
        synthetic_bars: length of the synthetic market, unless the market request says how many days.
        seed: of the synthetic market and of the world's paths.

    Tapes are traded under the default limits, and results are held against them.
    """

    market: MarketRequest | None = field(default_factory=MarketRequest)
    world: World | None = None
    gamma: float = 0.1
    n_paths: int = 10_000
    crises: Path | None = None
    scenarios: tuple[str, ...] = ()
    model: str = "avellaneda_stoikov"
    model_params: Mapping[str, float | str] = field(default_factory=dict)
    budget: float = 10_000.0
    maker_bps: float | None = None
    taker_bps: float | None = None
    warmup_bars: int = 240
    ticks: TickRules | None = None
    synthetic_bars: int = 4_320
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", pinned(self.model))

    def check(self) -> None:
        """Raise `ConfigError` or `UnknownNameError` for what can be refused before work starts."""
        check_seed(self.seed)
        for name in self.scenarios:
            if name not in SCENARIOS and name not in CRISES:
                raise UnknownNameError("scenario", name, (*SCENARIOS, *CRISES))
        if self.market is None and self.world is None and self.crises is None:
            raise ConfigError("nothing to stress: name a market, a world, or a folder that holds crises")
        require_whole("paths", self.n_paths, at_least=2)
        require_whole("synthetic_bars", self.synthetic_bars, at_least=self.warmup_bars + 4)
        self.session(Fees(self.maker_bps or 0.0, self.taker_bps or 0.0)).check()
        if self.market is not None:
            if self.market.is_synthetic:
                check_synthetic(self.market)
            else:
                self.market.check()
        if self.ticks is not None:
            self.ticks.check()
        if self.world is not None:
            check_models((self.model,))

    def session(self, fees: Fees) -> Session:
        """Return how tapes are traded."""
        return Session(
            fees=fees,
            model=self.model,
            model_params=dict(self.model_params),
            budget=self.budget,
            warmup_bars=self.warmup_bars,
        )

    def fees(self, exchange: str) -> Fees:
        """Return the fees of an exchange, or those given."""
        overrides = self.market.fees_file if self.market else None
        return Fees.choose(exchange, maker_bps=self.maker_bps, taker_bps=self.taker_bps, overrides=overrides)

    def named(self, known: Sequence[str]) -> list[str]:
        """Return those of `known` that are to run."""
        return [name for name in known if not self.scenarios or name in self.scenarios]


@dataclass(frozen=True)
class Stress:
    """A finished study.

    Attributes:
        folder: where its artifacts lie.
        analysis: what analysis.json holds.
    """

    folder: Path
    analysis: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """0 when every scenario completed, whatever its verdict; else the gravest code among the errors."""
        return gravest(self.analysis["rows"])

    @property
    def breaches(self) -> list[Row]:
        """Return the checks that failed under a scenario (baselines do not count), in the form of a gate's.

        A scenario that was asked for by name and could be run nowhere, and a study that could run none, were not put
        to the test: they are no pass.
        """
        rows = [row for row in self.analysis["rows"] if row["scenario"] not in (BASELINE, BEFORE)]
        ran = {row["scenario"] for row in rows if row["figures"]}
        untested = [
            {"name": name, "why": "it could not be run", "passed": False}
            for name in self.analysis["asked"] or ([] if ran else ["every scenario"])
            if name not in ran
        ]
        return untested + [
            check | {"name": f"{row['run_id']} {check['name']}", "why": f"{check['value']:.4g} > {check['limit']:g}"}
            for row in rows
            for check in row["checks"]
            if not check["passed"]
        ]


@dataclass(frozen=True)
class _Task:
    """One run: on what, and under which scenario; a crisis may be its calm."""

    target: str
    scenario: str
    crisis: str = ""

    @property
    def run_id(self) -> str:
        return "-".join(dict.fromkeys(part for part in (self.target, self.crisis, self.scenario) if part))


@dataclass(frozen=True)
class _Work:
    """A run, in a form that can be sent to a worker."""

    config: StressConfig
    session: Session
    ticks: TickRules | None
    tape_path: str

    def __call__(self, task: _Task) -> tuple[Row, Row]:
        """Return the run's line and its curves."""
        line: Row = {
            "run_id": task.run_id, "seed": self.config.seed, "model": self.config.model, "target": task.target,
            "scenario": task.scenario, "crisis": task.crisis, "why": None, "figures": None, "checks": [],
            "events": [], "facts": None,
        }  # fmt: skip
        run = {TAPE: self._on_tape, WORLD: self._in_world, CRISIS: self._in_crisis}[task.target]
        try:
            found, curves = run(task)
        except RUN_ERRORS as error:
            return line | failure(error), {}
        return line | found, curves

    def _on_tape(self, task: _Task) -> tuple[Row, Row]:
        tape = EventTape.load(self.tape_path, verify=False)
        setting = Setting(tape, self.session, self.ticks)
        if task.scenario != BASELINE:
            try:
                setting = stressed(setting, task.scenario)
            except ConfigError as error:
                return _not_applicable(str(error)), {}
        if setting.ticks is not None:
            result, parameters = trade(setting.session, setting.tape, ticks=setting.ticks, venue=setting.venue)
        else:
            warm_up, rest = split_warm_up(setting.tape, setting.session.warmup_bars)
            result, parameters = trade(setting.session, rest, warm_up=warm_up, venue=setting.venue)
        return _line_of(result, parameters)

    def _in_world(self, task: _Task) -> tuple[Row, Row]:
        config, world = self.config, self.config.world
        if world is None:
            raise AssertionError("a task of a world without a world")
        if task.scenario == BASELINE:
            other = world
        else:
            try:
                other = stressed_world(world, task.scenario)
            except ConfigError as error:
                return _not_applicable(str(error)), {}
        model = world_model(config.model, world, gamma=config.gamma, params=config.model_params or None)
        # A step of a world is no clock of orders: each would be two messages.
        limits = replace(RiskLimits(), max_orders=None, max_messages=None, max_executions=None)
        budget = world_budget(world)
        done = simulate(other, model, config.n_paths, config.seed, threads=1, risk=limits, budget=budget)
        figures = world_figures(done, budget)
        path = simulate_paths(other, model, 1, config.seed, risk=limits, budget=budget)
        step = max(1, len(path.time_s) // 300)
        x = path.time_s[::step].tolist()
        curves = {
            "price": {"x": x, "y": path.mid[0, ::step].tolist()},
            "inventory": {"x": x, "y": path.inventory[0, ::step].tolist()},
        }
        found = {
            "status": "completed", "tier": "T2", "parameters": {"model": model.as_dict(), "world": other.as_dict()},
            "metrics": done.summary(), "figures": figures, "checks": world_checks(figures, limits), "error": None,
        }  # fmt: skip
        return found, curves

    def _in_crisis(self, task: _Task) -> tuple[Row, Row]:
        crisis, root = CRISES[task.crisis], self.config.crises
        if root is None:
            raise AssertionError("a task of a crisis without data")
        try:
            held = load_crisis(crisis, root, self.config.warmup_bars)
        except (DataNotFoundError, UnknownNameError) as error:
            return _not_applicable(str(error)), {}
        session = replace(self.session, fees=self.config.fees(crisis.exchange))
        if task.scenario == BEFORE:
            if held.calm is None or held.calm_warm_up is None:
                return _not_applicable("the stretch just before is not held"), {}
            return _line_of(*trade(session, held.calm, warm_up=held.calm_warm_up))
        line, curves = _line_of(*trade(session, held.tape, warm_up=held.warm_up, funding=held.funding))
        return line | {"facts": held.facts, "provenance": held.provenance}, curves


def _not_applicable(why: str) -> Row:
    return {
        "status": NOT_APPLICABLE, "tier": None, "parameters": None, "metrics": None, "why": why, "error": None
    }  # fmt: skip


def _line_of(result: BacktestResult, parameters: Row) -> tuple[Row, Row]:
    figures = run_figures(result, RiskLimits())
    line = {
        "status": "failed_risk" if result.metrics.failed else "completed",
        "tier": result.tier,
        "parameters": parameters,
        "metrics": result.metrics.model_dump(),
        "figures": figures,
        "checks": run_checks(figures, RiskLimits()),
        "events": events_of(result),
        "error": None,
    }
    return line, curves_of(result)


def stress(
    config: StressConfig,
    artifacts: Path,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> Stress:
    """Run every scenario and write the study's artifacts.

    Args:
        config: what is stressed.
        artifacts: the artifacts folder.
        processes: worker processes; None: one a processor. The results do not depend on it.
        progress: called as (done, total, what was done) after each scenario, and once at the start.
        clock: where the run id's time comes from.

    Raises:
        ConfigError, DataError, ArtifactError: there is no study, or its market cannot be traded without any scenario;
            nothing is left behind.
    """
    config.check()
    if processes is not None and processes < 1:
        raise ConfigError(f"processes must be at least 1, got {processes}")
    clock = clock or SystemClock()
    market = _market(config)
    fees = config.fees(market.exchange if market else SIMULATED_EXCHANGE)
    on_ticks = market is not None and not market.tape.is_bars
    if config.ticks is not None and market is not None and not on_ticks:
        raise ConfigError("these are bars: latency, queue and quoting clock are options of ticks (--clock ticks)")
    ticks = (config.ticks or TickRules()) if on_ticks else None
    tasks = _tasks(config)
    setup: dict[str, Any] = {
        "config": _settled(config, fees),
        "data": _data(config, market),
        "environment": environment(),
    }
    with (
        new_folder(artifacts / KIND, setup, clock) as folder,
        tempfile.TemporaryDirectory(prefix="mml-stress-") as scratch,
    ):
        tape_path = str(market.tape.save(Path(scratch) / "market.tape")) if market else ""
        rows, curves = _run_all(
            _Work(config, config.session(fees), ticks, tape_path), tasks, processes or default_processes(), progress
        )
        for row in rows:
            if row["scenario"] == BASELINE and row["status"] == "error":
                raise _ended(row)
        analysis = _analysis(config, market, fees, rows, curves)
        setup["data"] += [entry for row in rows for entry in row.pop("provenance", [])]
        write_jsonl(folder / "runs.jsonl", rows)
        write_atomic(folder / "summary.csv", _csv(rows).encode())
        write_json(folder / "analysis.json", analysis)
        tier = analysis["market"]["tier"]
        write_json(
            folder / "manifest.json", manifest(KIND, folder.name, setup["config"], setup["data"], tier, clock)
        )  # fmt: skip
        write_stress_report(folder)
    return Stress(folder, analysis)


def _ended(row: Row) -> MarketMakerLError:
    """Return the error that a baseline ended in: without it there is nothing to compare with."""
    kind = DataQualityError if row["exit_code"] == DataQualityError.exit_code else ConfigError
    return kind(f"without any scenario the {row['target']} ends in an error: {row['error']}")


def _market(config: StressConfig) -> Market | None:
    request = config.market
    if request is None:
        return None
    if not request.is_synthetic:
        return load_market(request)
    bars = config.synthetic_bars if request.days is None else max(1, round(request.days * 1440))
    return synthetic_market(bars, config.seed)


def _data(config: StressConfig, market: Market | None) -> list[Row]:
    data = list(market.provenance) if market else []
    if market is not None and not data:
        data.append({"exchange": market.exchange, "kind": "klines", "tier": "T2", "seed": config.seed})
    return data


def _tasks(config: StressConfig) -> list[_Task]:
    """Return the runs in the order of the report: each target's baseline first."""
    tasks = []
    for target, wanted, known in (
        (TAPE, config.market is not None, SCENARIOS),
        (WORLD, config.world is not None, {**WORLD_SCENARIOS, **NOT_IN_A_WORLD}),
    ):
        names = config.named([name for name in SCENARIOS if name in known])
        if wanted and names:
            tasks += [_Task(target, name) for name in (BASELINE, *names)]
    if config.crises is not None:
        tasks += [_Task(CRISIS, part, name) for name in config.named(tuple(CRISES)) for part in (BEFORE, name)]
    if not tasks:
        raise ConfigError(f"nothing to run: {', '.join(config.scenarios)} needs a market, a world or recorded crises")
    return tasks


def _run_all(
    work: _Work, tasks: list[_Task], processes: int, progress: Progress | None
) -> tuple[list[Row], dict[str, Row]]:
    """Return one line a run, in the order of the tasks, and the curves by run id."""
    done: dict[_Task, tuple[Row, Row]] = {}
    if progress:
        progress(0, len(tasks), "running")
    for task, outcome in run_tasks(work, tasks, processes, preload=[__name__]):
        if isinstance(outcome, Exception):
            raise outcome
        done[task] = outcome
        if progress:
            progress(len(done), len(tasks), task.run_id)
    rows = [done[task][0] for task in tasks]
    base = {(row["target"], row["crisis"]): row for row in rows if row["scenario"] in (BASELINE, BEFORE)}
    for row in rows:
        before = base[row["target"], row["crisis"]]
        both = row["figures"] and before["figures"]
        row["pnl_change"] = row["figures"]["pnl"] - before["figures"]["pnl"] if both else None
    return rows, {task.run_id: done[task][1] for task in tasks if done[task][1]}


def _analysis(
    config: StressConfig, market: Market | None, fees: Fees, rows: list[Row], curves: dict[str, Row]
) -> dict[str, Any]:
    tiers = [row["tier"] for row in rows if row["tier"]]
    tape = market.tape if market else None
    return {
        "kind": KIND,
        "market": {
            "tier": weakest_tier(tiers) if tiers else "T2",
            "exchange": market.exchange if market else None,
            "symbol": tape.instrument.symbol if tape else None,
            "clock": None if tape is None else "bars" if tape.is_bars else "ticks",
            "settlement": _settlement(market),
            "first_ns": int(tape.ts_ns[0]) if tape else None,
            "last_ns": int(tape.ts_ns[-1]) if tape else None,
        },
        "fees": asdict(fees),
        "limits": RiskLimits().as_dict(),
        "world": config.world.as_dict() if config.world else None,
        "gamma": config.gamma if config.world else None,
        "n_paths": config.n_paths if config.world else None,
        "asked": list(config.scenarios),
        "scenarios": SCENARIOS,
        "crises": {name: CRISES[name].as_dict() for name in CRISES},
        "rows": rows,
        "curves": curves,
    }


def _settlement(market: Market | None) -> str | None:
    if market is None:
        return None
    instrument = market.tape.instrument
    return instrument.base if instrument.kind == "inverse" else instrument.quote


def _settled(config: StressConfig, fees: Fees) -> dict[str, Any]:
    """Return the configuration as a manifest records it."""
    options = {
        name: getattr(config, name)
        for name in (
            *("gamma", "n_paths", "scenarios", "model", "budget", "maker_bps", "taker_bps"),
            *("warmup_bars", "synthetic_bars", "seed"),
        )
    }
    options |= {
        "model_params": dict(config.model_params),
        "crises": str(config.crises) if config.crises else None,
        "market": _plain(asdict(config.market)) if config.market else None,
        "world": config.world.as_dict() if config.world else None,
        "ticks": asdict(config.ticks) if config.ticks else None,
    }
    setup = {"fees": asdict(fees), "risk": RiskLimits().as_dict()}
    return {"options": options, "setup": setup, "seeds": [config.seed]}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    names = ["run_id", "target", "scenario", "crisis", "status", "tier", "passed", *_CSV, "failed_checks", "why"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        figures = (row["figures"] or {}) | {"pnl_change": row["pnl_change"]}
        failed = [check["name"] for check in row["checks"] if not check["passed"]]
        writer.writerow(
            {name: row[name] for name in ("run_id", "target", "scenario", "crisis", "status", "tier")}
            | {"passed": not failed if row["figures"] else None, "failed_checks": " ".join(failed)}
            | {name: figures.get(name) for name in _CSV}
            | {"why": row["why"] or row["error"]}
        )
    return text.getvalue()
