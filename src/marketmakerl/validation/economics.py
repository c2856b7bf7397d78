"""The economics of a model: fee tier x latency x queue model on one data set, and where it stops earning.

On bars there is neither a queue nor a latency (orders placed at a close rest through the next bar), so the grid is fee
tier x share of a bar's volume.

    artifacts/economics/<run_id>/manifest.json  runs.jsonl  summary.csv  analysis.json  report.html

runs.jsonl and summary.csv hold one line a cell. The same study gives the same bytes, whatever the number of processes.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.backtesting.calibrated import calibration_entry
from marketmakerl.backtesting.exchange.queue import QUEUES, Queue
from marketmakerl.backtesting.session import Prepared, Session
from marketmakerl.backtesting.trading import prepare
from marketmakerl.core.artifacts import environment
from marketmakerl.core.checks import require_number
from marketmakerl.core.clock import Clock, SystemClock
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.fees import Fees
from marketmakerl.core.pool import default_processes, run_tasks
from marketmakerl.core.rng import check_seed
from marketmakerl.data.catalog import SIMULATED_EXCHANGE, timeframe_ms
from marketmakerl.data.market import Market, MarketRequest, check_synthetic, load_market, synthetic_market
from marketmakerl.data.synthetic import SyntheticMarket
from marketmakerl.models.own_file import pinned
from marketmakerl.reporting.economics_report import write_economics_report
from marketmakerl.risk.limits import RiskLimits
from marketmakerl.validation.break_even import BreakEven
from marketmakerl.validation.economics_cells import Cell, FeeSearch, Place, Work
from marketmakerl.validation.economics_files import KIND, analysis_of, settled, write_files
from marketmakerl.validation.fee_levels import FeeLevel, fee_levels
from marketmakerl.validation.study import Progress, failure, gravest, new_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from marketmakerl.backtesting.tick_session import TickRules
    from marketmakerl.data.tape import EventTape

LATENCIES_MS: Final = (0.0, 1.0, 5.0, 20.0, 50.0, 100.0, 250.0)
BAR_VOLUME_SHARES: Final = (0.02, 0.10, 0.30)
BASE_LATENCY_MS: Final = 5.0  # one way; the first at or above it stands for the study
BASE_SHARE: Final = 0.10
SYNTHETIC_BARS: Final = 4320


@dataclass(frozen=True, kw_only=True)
class EconomicsConfig:
    """What to study.

    Args:
        market: which data set.
        model: model id.
        model_params: parameters that are fixed instead of estimated.
        budget: opening equity, quote currency.
        fees: see `fee_levels`; none: the venue's tiers, and two hypothetical levels.
        latencies_ms: ticks: to the exchange, and as much back; None: `LATENCIES_MS`.
        queues: ticks: by name; None: every queue model there is for the data.
        bar_volume_shares: bars: of a bar's volume, what our orders can get; None: `BAR_VOLUME_SHARES`.
        risk: False switches every risk limit off, the edge filter with them.
        limits: arguments of `RiskLimits` that differ from its defaults; none with `risk` off.
        calibration: file that sets the parameters instead of a warm-up; "" for none.
        warmup_bars: bars that set the parameters and are not traded.
        ticks: ticks: quoting clock and warm-up share; queue and latency are those of the cells. None: the defaults.
        seed: of the bootstrap, and of the synthetic market.
    """

    market: MarketRequest = field(default_factory=MarketRequest)
    model: str = "avellaneda_stoikov"
    model_params: dict[str, float | str] = field(default_factory=dict)
    budget: float = 10_000.0
    fees: tuple[str, ...] = ()
    latencies_ms: tuple[float, ...] | None = None
    queues: tuple[str, ...] | None = None
    bar_volume_shares: tuple[float, ...] | None = None
    risk: bool = True
    limits: dict[str, Any] = field(default_factory=dict)
    calibration: str = ""
    warmup_bars: int = 240
    ticks: TickRules | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", pinned(self.model))

    def check(self) -> None:
        """Raise `ConfigError` for whatever can be refused before work starts."""
        check_seed(self.seed)
        self.session.check()
        (check_synthetic if self.market.is_synthetic else MarketRequest.check)(self.market)
        if self.limits and not self.risk:
            raise ConfigError("risk limits are off (--risk off), so none can be set; leave out one of the two")
        if self.calibration and self.market.is_synthetic:
            raise ConfigError("a calibration is for recorded data: what came after its own")
        for name, low, high in (("latencies_ms", 0.0, 60_000.0), ("bar_volume_shares", 0.0, 1.0)):
            for value in _distinct(name, getattr(self, name)):
                require_number(name, value, at_least=low, at_most=high)
        for share in self.bar_volume_shares or ():
            require_number("bar_volume_shares", share, above=0.0)
        for queue in _distinct("queues", self.queues):
            Queue.of(queue)
        if self.ticks is not None:
            self.ticks.check()

    @property
    def session(self) -> Session:
        """Return how the cells trade; their fees are their own."""
        return Session(
            fees=Fees(0.0, 0.0),
            model=self.model,
            model_params=self.model_params,
            budget=self.budget,
            warmup_bars=self.warmup_bars,
            calibration=self.calibration,
            limits=self.limits,
        )

    def risk_limits(self, setup: Prepared) -> RiskLimits:
        """Return the risk limits; adverse selection as a calibration measured it, as every session does."""
        return self.session.risk(setup.parameters.get("calibration")) if self.risk else RiskLimits.off()


@dataclass(frozen=True)
class Economics:
    """A finished study.

    Attributes:
        folder: where its artifacts lie.
        analysis: what analysis.json holds.
        lines: what runs.jsonl holds.
    """

    folder: Path
    analysis: dict[str, Any]
    lines: list[dict[str, Any]]

    @property
    def exit_code(self) -> int:
        """0 when every cell completed, whatever it earned; else the gravest code among the errors."""
        return gravest(self.lines)


def economics(
    config: EconomicsConfig,
    artifacts: Path,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> Economics:
    """Run a model at every fee, queue and latency and write the study's artifacts.

    Args:
        config: what to study.
        artifacts: the artifacts folder.
        processes: worker processes; None: one a processor. The results do not depend on it.
        progress: called as (done, total, what was done) after each task, and once at the start.
        clock: where the run id's time comes from.

    Raises:
        ConfigError, DataError, ArtifactError: there is no study; nothing is left behind.
    """
    config.check()
    if processes is not None and processes < 1:
        raise ConfigError(f"processes must be at least 1, got {processes}")
    clock = clock or SystemClock()
    market = _market(config)
    levels = fee_levels(config.fees, market.exchange, config.market.fees_file)
    places = _places(config, market.tape)
    traded, setup = _prepared(config, market.tape)
    base = {"fee": _base_level(levels), **asdict(_base_place(places))}
    cells = [Cell(fee, place) for place in places for fee in range(len(levels))]
    limits = config.risk_limits(setup)
    if limits.min_edge_bps is not None:
        cells += [Cell(base["fee"], place, edge_filter=False) for place in places]
    searches = _searches(places, levels, base)
    data = [*market.provenance, *([calibration_entry(config.calibration)] if config.calibration else [])]
    spec = {"config": settled(config, levels, setup, market), "data": data, "environment": environment()}
    with (
        new_folder(artifacts / KIND, spec, clock) as folder,
        tempfile.TemporaryDirectory(prefix="mml-economics-") as scratch,
    ):
        work = Work(
            str(traded.save(Path(scratch) / "market.tape")), setup, levels, limits,
            config.ticks.quote_interval_ns if config.ticks else None,
            config.ticks.quote_on if config.ticks else None, config.seed,
        )  # fmt: skip
        outcomes = _run(work, [*cells, *searches], processes or default_processes(), progress)
        lines = [_line(number, config, cell, outcome)
                 for number, (cell, outcome) in enumerate(zip(cells, outcomes, strict=False))]  # fmt: skip
        found = [asdict(task.place) | outcome
                 for task, outcome in zip(searches, outcomes[len(cells) :], strict=True)]  # fmt: skip
        analysis = analysis_of(config, market, traded, levels, places, base, lines, found)
        write_files(folder, spec, analysis, lines, clock)
        write_economics_report(folder)
    return Economics(folder, analysis, lines)


def _market(config: EconomicsConfig) -> Market:
    if not config.market.is_synthetic:
        return load_market(config.market)
    request = config.market
    made = SyntheticMarket(interval_s=(timeframe_ms(request.timeframe) or 60_000) // 1000)
    bars = SYNTHETIC_BARS if request.days is None else math.ceil(request.days * 86_400 / made.interval_s)
    entry = {"exchange": SIMULATED_EXCHANGE, "kind": "klines", "timeframe": request.timeframe, "tier": "T2"}
    provenance = [entry | {"generator": asdict(made), "seed": config.seed}]
    return replace(synthetic_market(bars, config.seed, made), provenance=provenance)


def _places(config: EconomicsConfig, tape: EventTape) -> tuple[Place, ...]:
    """Return what is tried besides the fees, in the order it was asked for.

    Raises:
        ConfigError: an axis that these data do not have.
    """
    if tape.is_bars:
        if config.queues is not None or config.latencies_ms is not None or config.ticks is not None:
            raise ConfigError(
                "these are bars: they have no queue and no latency, only a share of a bar's volume "
                "(--bar-volume-share); for the others give ticks (--clock ticks)"
            )
        shares = config.bar_volume_shares or BAR_VOLUME_SHARES
        return tuple(Place(bar_volume_share=share) for share in sorted(shares))
    if config.bar_volume_shares is not None:
        raise ConfigError("these are ticks: a share of a bar's volume belongs to bars; take it away")
    is_l3 = tape.since_ns is not None
    queues = config.queues or tuple(name for name in QUEUES if name != "fifo" or is_l3)
    if "fifo" in queues and not is_l3:
        raise ConfigError("queue fifo is for tapes of single orders (L3); leave it out of --queue")
    latencies = sorted(LATENCIES_MS if config.latencies_ms is None else config.latencies_ms)
    return tuple(Place(queue, latency_ms) for queue in queues for latency_ms in latencies)


def _base_level(levels: Sequence[FeeLevel]) -> int:
    """Return the dearest published level, which is what everybody pays, or the dearest there is."""
    return next((number for number, level in enumerate(levels) if level.is_published), 0)


def _base_place(places: Sequence[Place]) -> Place:
    """Return the place that stands for the study: the first queue at some latency, or the usual share of a bar."""
    if places[0].queue is None:
        return min(places, key=lambda place: abs((place.bar_volume_share or 0.0) - BASE_SHARE))
    mine = [place for place in places if place.queue == places[0].queue]
    return next((place for place in mine if (place.latency_ms or 0.0) >= BASE_LATENCY_MS), mine[-1])


def _prepared(config: EconomicsConfig, tape: EventTape) -> tuple[EventTape, Prepared]:
    """Return what is traded and what every cell starts with: the parameters are set once, before the first fee."""
    return prepare(config.session, tape, ticks=config.ticks)


def _searches(places: Sequence[Place], levels: Sequence[FeeLevel], base: Mapping[str, Any]) -> list[FeeSearch]:
    """Return where the break-even fee is looked for: at the base latency of every queue, at every share."""
    makers = [level.maker_bps for level in levels]
    taker_bps = levels[base["fee"]].taker_bps
    return [
        FeeSearch(place, min(makers), max(makers), taker_bps)
        for place in places
        if place.latency_ms == base["latency_ms"]
    ]


def _run(
    work: Work, tasks: list[Cell | FeeSearch], processes: int, progress: Progress | None
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one outcome a task, in the order of the tasks."""
    outcomes: dict[Cell | FeeSearch, dict[str, Any]] = {}
    if progress:
        progress(0, len(tasks), "running")
    for task, outcome in run_tasks(work, tasks, processes, preload=[__name__]):
        if isinstance(outcome, Exception):
            # A search that fails does so where a cell beside it fails, and that one says why.
            searched = isinstance(task, FeeSearch)
            outcomes[task] = BreakEven("error").as_dict() if searched else failure(outcome)
        else:
            outcomes[task] = outcome
        if progress:
            progress(len(outcomes), len(tasks), _name(work, task))
    return [outcomes[task] for task in tasks]


def _name(work: Work, task: Cell | FeeSearch) -> str:
    fee = work.levels[task.fee].name if isinstance(task, Cell) else "break-even fee"
    place = task.place
    where = f"{place.queue}, {place.latency_ms:g} ms" if place.queue else f"{place.bar_volume_share:.0%} of a bar"
    return f"{fee}, {where}"


def _line(number: int, config: EconomicsConfig, cell: Cell, outcome: dict[str, Any]) -> dict[str, Any]:
    empty = dict.fromkeys(("attribution", "earned", "earned_bps", "earned_low", "earned_high", "verdict"))
    return {
        "run_id": f"run-{number + 1:03d}",
        "seed": config.seed,
        "model": config.model,
        "fee": cell.fee,
        "edge_filter": cell.edge_filter,
        **asdict(cell.place),
        **empty,
        **outcome,
    }


def _distinct(name: str, values: Sequence[Any] | None) -> Sequence[Any]:
    """Return an axis that was asked for; raise `ConfigError` for one with nothing or with something twice."""
    if values is not None and (not values or len(set(values)) != len(values)):
        raise ConfigError(f"{name} needs at least one entry and none twice, got {values!r}")
    return values or ()
