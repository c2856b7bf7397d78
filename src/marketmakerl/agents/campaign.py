"""The campaign runner: N market-making runs in parallel, kept as they finish, resumed where they stopped."""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketmakerl.agents import campaign_run
from marketmakerl.agents.campaign_run import RESULT_FILE, RunSetup, RunTask, as_config, execute
from marketmakerl.backtesting.calibrated import calibration_entry, given_estimate
from marketmakerl.backtesting.session import Session
from marketmakerl.backtesting.tick_session import TickRules
from marketmakerl.core.artifacts import (
    config_hash,
    environment,
    manifest,
    new_run_folder,
    read_json,
    read_jsonl,
    run_folder,
    to_json,
    write_atomic_parts,
    write_json,
)
from marketmakerl.core.clock import Clock, SystemClock
from marketmakerl.core.errors import (
    ArtifactError,
    ConfigError,
    DataFormatError,
    DataNotFoundError,
    MarketMakerLError,
    UnknownNameError,
)
from marketmakerl.core.fees import Fees
from marketmakerl.core.instruments import lookup
from marketmakerl.core.pool import default_processes, run_tasks
from marketmakerl.core.rng import MAX_SEED, check_seed
from marketmakerl.data.bar_windows import window_rows
from marketmakerl.data.catalog import SIMULATED_EXCHANGE, timeframe_ms
from marketmakerl.data.market import SYNTHETIC_SYMBOL, Market, MarketRequest, check_synthetic, load_market
from marketmakerl.data.synthetic import SyntheticMarket
from marketmakerl.data.tick_windows import equal_windows
from marketmakerl.models.own_file import pinned
from marketmakerl.models.registry import DEFAULT_HORIZON_S, DEFAULT_INVENTORY_RANGE
from marketmakerl.reporting.campaign_report import write_report
from marketmakerl.reporting.summary import write_summary_csv
from marketmakerl.risk.limits import limits_of_then

if TYPE_CHECKING:
    from collections.abc import Sequence

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape

KIND = "campaign"
SYNTHETIC_NOTE = (
    "Synthetic data (tier T2): a smoke test, evidence of nothing. For recorded data: "
    "make campaign N=10 EXCHANGE=binanceusdm SYMBOL=BTC/USDT DATA=<folder or klines file>"
)

# Whose tables of equity and fills are kept; a day of bars takes some 70 kB.
TABLES = ("all", "some", "failed", "none")
FIRST_KEPT = 100  # runs whose tables are kept in any case with "some", which is the rule of longer campaigns

Progress = Callable[[int, int, dict[str, Any] | None], None]


@dataclass(frozen=True)
class CampaignConfig:
    """What to run. The fields are the options of `mml campaign`.

    Args:
        n: number of runs; >= 1. Recorded data are cut into n equal windows, one a run.
        seed: first seed; run i has seed + i.
        market: which market (see `MarketRequest`).
        model: model id, or a model of one's own, path.py:name (see `models.own_file`).
        model_params: parameters of the model that are fixed instead of calibrated.
        budget: opening equity of each run, quote currency; > 0.
        order_share: size of a quote as a share of the budget, in (0, 1].
        maker_bps, taker_bps: fees; None takes the exchange's table, at `fee_tier`.
        fee_tier: row of the exchange's fee table.
        horizon_s: session length of the model, seconds.
        inventory_range: order sizes at which the model leans by a whole 1/k.
        warmup_bars: bars that set the model's parameters and are not traded.
        bar_volume_share: how much of a bar's volume our orders can get.
        synthetic_bars: length of a synthetic run, unless the market request says how many days.
        calibration: file of a calibration that sets the parameters instead of a warm-up; "" for none. One run only.
        limits: arguments of `RiskLimits` that differ from its defaults.
        ticks: how ticks are traded; None takes the defaults if the market is one of ticks. Refused on bars.
        tables: whose tables of equity and fills are kept: "all", "failed" (runs that failed on risk), "some" (the
            first 100 runs, and those that failed) or "none". "" is "all" for at most 100 runs, else "some". Results
            and metrics are kept of every run.
    """

    n: int = 10
    seed: int = 0
    market: MarketRequest = field(default_factory=MarketRequest)
    model: str = "avellaneda_stoikov"
    model_params: dict[str, float | str] = field(default_factory=dict)
    budget: float = 10_000.0
    order_share: float = 0.02
    maker_bps: float | None = None
    taker_bps: float | None = None
    fee_tier: int = 0
    horizon_s: float = DEFAULT_HORIZON_S
    inventory_range: float = DEFAULT_INVENTORY_RANGE
    warmup_bars: int = 240
    bar_volume_share: float = 0.10
    synthetic_bars: int = 4320
    calibration: str = ""
    limits: dict[str, Any] = field(default_factory=dict)
    ticks: TickRules | None = None
    tables: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", pinned(self.model))

    def check(self) -> None:
        """Raise `ConfigError` for whatever can be refused before work starts."""
        if self.n < 1:
            raise ConfigError(f"N must be at least 1, got {self.n}")
        if check_seed(self.seed) + self.n - 1 > MAX_SEED:
            raise ConfigError(f"seed {self.seed} leaves no room for {self.n} seeds above it")
        if self.tables and self.tables not in TABLES:
            raise UnknownNameError("tables", self.tables, list(TABLES))
        Session(**self.session_fields(Fees(self.maker_bps or 0.0, self.taker_bps or 0.0))).check()
        if self.ticks is not None:
            self.ticks.check()
        if self.calibration and (self.n > 1 or self.market.is_synthetic):
            raise ConfigError("a calibration is for one run on recorded data: what came after its own")
        if self.market.is_synthetic:
            check_synthetic(self.market)
        else:
            self.market.check()

    @property
    def tables_kept(self) -> dict[str, Any]:
        """Return whose tables are kept: the rule, and how many of the first runs it keeps whatever comes out."""
        rule = self.tables or ("all" if self.n <= FIRST_KEPT else "some")
        return {"rule": rule, "first": {"all": self.n, "some": min(self.n, FIRST_KEPT)}.get(rule, 0)}

    @property
    def interval_s(self) -> int:
        """Return the bar length, seconds."""
        return (timeframe_ms(self.market.timeframe) or 60_000) // 1000

    def session_fields(self, fees: Fees) -> dict[str, Any]:
        """Return how each run trades: the arguments of `Session`."""
        names = (
            *("model", "model_params", "budget", "order_share", "horizon_s", "inventory_range"),
            *("warmup_bars", "bar_volume_share", "calibration", "limits"),
        )
        return {"fees": fees, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True)
class CampaignResult:
    """A finished campaign.

    Attributes:
        folder: where its artifacts lie.
        manifest: as written.
        resumed: how many runs were there already.
    """

    folder: Path
    manifest: dict[str, Any]
    resumed: int

    @cached_property
    def runs(self) -> list[dict[str, Any]]:
        """The lines of runs.jsonl, read when they are asked for."""
        return read_jsonl(self.folder / "runs.jsonl")

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Runs that did not complete."""
        return [run for run in self.runs if run["status"] == "error"]

    @property
    def exit_code(self) -> int:
        """0 when every run completed, whatever its verdict; else the gravest code among the errors."""
        codes = {int(run.get("exit_code", 1)) for run in self.errors}
        return 0 if not codes else (1 if 1 in codes else max(codes))


def run_campaign(
    config: CampaignConfig,
    artifacts: Path,
    *,
    kind: str = KIND,
    processes: int | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    resume: bool = True,
    repeat_of: dict[str, Any] | None = None,
) -> CampaignResult:
    """Run a campaign, or go on with one of the same configuration, data and code that was cut short.

    Args:
        config: what to run.
        artifacts: the artifacts folder.
        kind: the folder below it that the run goes to.
        processes: worker processes; None: one a processor. The results do not depend on it.
        progress: called as (done, total, run line) after each run, and once at the start.
        clock: where the run id's time comes from.
        resume: False starts afresh.
        repeat_of: manifest of the run that this one repeats: other data or another instrument are then refused.

    Raises:
        ConfigError, DataError, ArtifactError: nothing was run, or the artifacts folder stopped taking files.
        KeyboardInterrupt: passed on; what had finished is kept.
    """
    config.check()
    if processes is not None and processes < 1:
        raise ConfigError(f"processes must be at least 1, got {processes}")
    clock = clock or SystemClock()
    market = None if config.market.is_synthetic else load_market(config.market)
    setup = _setup(config, market)
    data, tier = (market.provenance, market.tape.tier) if market else (_synthetic_provenance(config.interval_s), "T2")
    if config.calibration and market:
        given_estimate(config.calibration, market.tape)  # refuses before anything is written
        data = [*data, calibration_entry(config.calibration)]
    instrument = market.tape.instrument if market else lookup(SIMULATED_EXCHANGE, SYNTHETIC_SYMBOL)
    settled = _manifest_config(config, setup, instrument)
    spec: dict[str, Any] = {"config": settled, "data": data, "environment": environment()}
    name = config_hash(spec)
    if repeat_of is not None:
        _check_same_inputs(repeat_of, data, instrument)
    home = artifacts / kind
    with ExitStack() as stack:
        folder = _unfinished(home, name, config.n) if resume else None
        if folder is None or not _locked(stack, folder):  # another process is at work on it: start one of our own
            folder = new_run_folder(home, name, clock)
            _locked(stack, folder)
        if not (folder / "manifest.json").exists():
            made_by = spec["environment"]
            write_json(folder / "manifest.json", manifest(kind, folder.name, settled, data, tier, clock, made_by))
        if market:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mml-campaign-")))
            setup = replace(setup, tape_path=str(market.tape.save(scratch / "market.tape")))
        tasks = _tasks(config, folder, market.tape if market else None)
        resumed = _run_all(setup, tasks, folder, processes or default_processes(), progress)
        result = CampaignResult(folder, read_json(folder / "manifest.json"), resumed)
        write_summary_csv(folder / "summary.csv", result.runs)
        write_report(folder)
        return result


def _locked(stack: ExitStack, folder: Path) -> bool:
    """Hold `folder` for this process until the stack unwinds; return False if another one holds it."""
    path = folder / ".lock"
    try:
        file = stack.enter_context(path.open("w", encoding="utf-8"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error
    stack.callback(path.unlink, missing_ok=True)
    return True


def _check_same_inputs(recorded: dict[str, Any], data: list[dict[str, Any]], instrument: Instrument) -> None:
    """Refuse to call a run on other data, or another tick, a repetition."""
    then, now = ([entry.get("sha256") for entry in entries] for entries in (recorded["data"], data))
    if then != now:
        files = ", ".join(str(entry.get("file", "synthetic")) for entry in data)
        raise DataFormatError(f"{files}: not the data that {recorded['run_id']} ran on (sha256 differs)")
    if recorded["config"]["instrument"] != instrument.as_dict():
        raise DataFormatError(
            f"{instrument.symbol} has another tick, lot or minimum notional now than {recorded['run_id']} ran with"
        )


def config_from_manifest(run: str, artifacts: Path, kind: str = KIND) -> tuple[CampaignConfig, dict[str, Any]]:
    """Return the configuration that the manifest of a campaign (or backtest: `kind`) records, and the manifest.

    Fees and risk limits are those of then, whatever the defaults have become. Recorded data are looked for where they
    lay then; `replace` the market's `data` if they have moved, and pass the manifest on as `repeat_of`.

    Raises:
        DataNotFoundError, DataFormatError: no such run, or a manifest that is not one.
    """
    document = read_json(run_folder(artifacts, kind, run) / "manifest.json")
    try:
        options = dict(document["config"]["options"])
        market = dict(options.pop("market"))
        for name in ("data", "catalog_dir", "instruments_file", "fees_file"):
            market[name] = Path(market[name]) if market[name] is not None else None
        if options.get("ticks") is not None:
            options["ticks"] = TickRules(**options["ticks"] | {"quote_on": tuple(options["ticks"]["quote_on"])})
        options |= document["config"]["setup"]["fees"]
        options["limits"] = limits_of_then(options.get("limits", {}), document["config"]["risk"])
        return CampaignConfig(market=MarketRequest(**market), **options), document
    except (KeyError, TypeError) as error:
        raise DataFormatError(f"the manifest of {run} does not describe a campaign: {error}") from error


def _setup(config: CampaignConfig, market: Market | None) -> RunSetup:
    fees = Fees.choose(
        market.exchange if market else SIMULATED_EXCHANGE,
        maker_bps=config.maker_bps,
        taker_bps=config.taker_bps,
        tier=config.fee_tier,
        overrides=config.market.fees_file,
    )
    days = config.market.days
    n_bars = config.synthetic_bars if days is None else max(1, round(days * 86_400 / config.interval_s))
    return RunSetup(
        **config.session_fields(fees), n_bars=n_bars, interval_s=config.interval_s, ticks=_tick_rules(config, market)
    )


def _tick_rules(config: CampaignConfig, market: Market | None) -> TickRules | None:
    """Return how ticks are traded, None on bars.

    Raises:
        ConfigError: bars, and options that only ticks have.
    """
    if market is not None and not market.tape.is_bars:
        return config.ticks or TickRules()
    if config.ticks is not None:
        raise ConfigError(
            "these are bars: latency, queue, quoting clock and warm-up share are options of ticks (--clock ticks)"
        )
    return None


def _manifest_config(config: CampaignConfig, setup: RunSetup, instrument: Instrument) -> dict[str, Any]:
    options = asdict(config)
    options["market"] = {
        key: str(value) if isinstance(value, Path) else value for key, value in asdict(config.market).items()
    }
    return {
        "options": options,
        "setup": as_config(setup),
        "seeds": [config.seed + i for i in range(config.n)],
        "instrument": instrument.as_dict(),
        "risk": setup.risk().as_dict(),
        "tables": config.tables_kept,
    }


def _synthetic_provenance(interval_s: int) -> list[dict[str, Any]]:
    return [
        {"exchange": "sim", "kind": "klines", "tier": "T2", "generator": asdict(SyntheticMarket(interval_s=interval_s))}
    ]


def _unfinished(home: Path, name: str, n: int) -> Path | None:
    """Return the latest folder of this very campaign that lacks some of its runs."""
    for folder in sorted(home.glob(f"*-{name}"), reverse=True):
        finished = len(list(folder.glob(f"runs/*/{RESULT_FILE}")))
        if (folder / "manifest.json").exists() and (finished < n or not (folder / "report.html").exists()):
            return folder
    return None


def _tasks(config: CampaignConfig, folder: Path, tape: EventTape | None) -> list[RunTask]:
    """Name the runs; on recorded data run i gets the i-th of n windows of equal length in time."""
    width = max(3, len(str(config.n - 1)))
    ids = [f"run-{i:0{width}d}" for i in range(config.n)]
    kept = config.tables_kept
    others = "none" if kept["rule"] == "none" else "failed"
    tasks = [
        RunTask(run_id, config.seed + i, str(folder / "runs" / run_id), tables="all" if i < kept["first"] else others)
        for i, run_id in enumerate(ids)
    ]
    if tape is None:
        return tasks
    edges = window_rows(tape, config.n) if tape.is_bars else equal_windows(tape, config.n)
    return [
        replace(task, first_row=int(first), last_row=int(last))
        for task, first, last in zip(tasks, edges[:-1], edges[1:], strict=True)
    ]


def _run_all(setup: RunSetup, tasks: Sequence[RunTask], folder: Path, processes: int, progress: Progress | None) -> int:
    """Run what is not there yet; keep runs.jsonl in step, in the order of the runs. Return how many were there.

    Lines are held as they are written, not as objects: ten thousand of them are some 20 MB.
    """
    lines = _finished(tasks)
    resumed = len(lines)
    todo = [task for task in tasks if task.run_id not in lines]
    if progress:
        progress(resumed, len(tasks), None)
    work = _Work(setup)
    try:
        for task, outcome in run_tasks(work, todo, processes, preload=[campaign_run.__name__]):
            if isinstance(outcome, ArtifactError):
                raise outcome
            line = outcome if isinstance(outcome, dict) else _crashed(setup, task, outcome)
            lines[task.run_id] = to_json(line)
            if len(lines) % max(1, len(tasks) // 50) == 0:
                _write_lines(folder, tasks, lines)
            if progress:
                progress(len(lines), len(tasks), line)
    finally:
        # After an interrupt a worker may have finished a run that was never reported here.
        unknown = [task for task in tasks if task.run_id not in lines]
        _write_lines(folder, tasks, lines | _finished(unknown))
    return resumed


def _finished(tasks: Sequence[RunTask]) -> dict[str, bytes]:
    lines = {}
    for task in tasks:
        with contextlib.suppress(DataNotFoundError):
            lines[task.run_id] = to_json(read_json(Path(task.folder) / RESULT_FILE))
    return lines


def _write_lines(folder: Path, tasks: Sequence[RunTask], lines: dict[str, bytes]) -> None:
    write_atomic_parts(folder / "runs.jsonl", (lines[task.run_id] for task in tasks if task.run_id in lines))


@dataclass(frozen=True)
class _Work:
    """`execute` with its setup, in a form that can be sent to a worker."""

    setup: RunSetup

    def __call__(self, task: RunTask) -> dict[str, Any]:
        return execute(self.setup, task)


def _crashed(setup: RunSetup, task: RunTask, error: Exception) -> dict[str, Any]:
    """Return the line of a run that ended in a way nobody foresaw. It is not kept: a rerun tries it again."""
    code = error.exit_code if isinstance(error, MarketMakerLError) else 1
    return {
        "run_id": task.run_id,
        "seed": task.seed,
        "model": setup.model,
        "status": "error",
        "tier": None,
        "metrics": None,
        "error": f"{type(error).__name__}: {error}",
        "exit_code": code,
    }
