"""What the studies of this room share: a market, a way to trade a stretch of it, and the files a study leaves."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from marketmakerl.backtesting.session import Session
from marketmakerl.backtesting.trading import trade
from marketmakerl.core.artifacts import config_hash, environment, manifest, new_run_folder, write_atomic, write_json
from marketmakerl.core.clock import NS_PER_DAY, NS_PER_MS, Clock, iso_utc
from marketmakerl.core.errors import (
    ConfigError,
    DataFormatError,
    DataNotFoundError,
    ExchangeUnreachableError,
    MarketMakerLError,
)
from marketmakerl.core.fees import Fees
from marketmakerl.core.instruments import lookup, native_symbol
from marketmakerl.core.rng import check_seed
from marketmakerl.data.catalog import SIMULATED_EXCHANGE, timeframe_ms
from marketmakerl.data.market import Market, MarketRequest, fetch_missing, load_market, synthetic_market
from marketmakerl.data.synthetic import SyntheticMarket
from marketmakerl.data.tape import EventTape, Kind
from marketmakerl.models.own_file import pinned
from marketmakerl.validation.strategies import Strategy, strategy_formats

DEFAULT_DAYS = 30.0
DEFAULT_WARMUP_BARS = 240
MIN_TRADED_BARS = 30  # in a window, besides the warm-up

# What a single run may end in without being the whole study's failure.
RUN_ERRORS = (MarketMakerLError, ArithmeticError, ValueError, LookupError, MemoryError)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What every study asks for. The fields are options of the commands.

    Args:
        market: which market; its `days` are the last so many days held.
        seed: of the synthetic market; on recorded data it only names the study.
        maker_bps, taker_bps: fees; None takes the exchange's table.
        fees_file: overrides of that table.
        warmup_bars: bars that set the parameters and are not traded.
        bar_volume_share: how much of a bar's volume our orders can get.
        models: which strategy formats; none: all (see `strategy_formats`).
        model_params: parameters of those of one's own.
    """

    market: MarketRequest = field(default_factory=lambda: MarketRequest(days=DEFAULT_DAYS))
    seed: int = 0
    maker_bps: float | None = None
    taker_bps: float | None = None
    fees_file: Path | None = None
    warmup_bars: int = DEFAULT_WARMUP_BARS
    bar_volume_share: float = 0.10
    models: tuple[str, ...] = ()
    model_params: dict[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(pinned(name) for name in self.models))

    @property
    def formats(self) -> tuple[Strategy, ...]:
        """Return the strategy formats that are traded, by name."""
        return strategy_formats(self.models, self.model_params)

    def check(self) -> None:
        """Raise `ConfigError` for whatever can be refused before work starts."""
        check_seed(self.seed)
        self.market.check()
        if not self.market.exchange and self.market.data is None:
            raise ConfigError(
                "which market? say EXCHANGE=binance SYMBOL=BTC/USDT; EXCHANGE=sim is the synthetic one, a smoke test"
            )
        fees = Fees(self.maker_bps or 0.0, self.taker_bps or 0.0)
        for strategy in self.formats:
            for budget in self.opening_equities:
                self.session(strategy, budget, fees).check()

    @property
    def opening_equities(self) -> tuple[float, ...]:
        """Return the budgets that are traded, quote currency."""
        return ()

    @property
    def bars_asked(self) -> int | None:
        """Return how many bars the days asked for have; None where only the data can say."""
        request, interval_ms = self.market, timeframe_ms(self.market.timeframe)
        of_series = request.data is None or request.data.is_dir()  # a file may hold other bars than asked for
        if request.days is None or interval_ms is None or not of_series:
            return None
        return int(request.days * NS_PER_DAY / NS_PER_MS / interval_ms)

    def fees(self, exchange: str) -> Fees:
        """Return the fees that the study pays on `exchange`."""
        if self.maker_bps is not None and self.taker_bps is not None:
            return Fees(self.maker_bps, self.taker_bps)
        table = Fees.for_exchange(exchange, overrides=self.fees_file)
        return Fees(
            table.maker_bps if self.maker_bps is None else self.maker_bps,
            table.taker_bps if self.taker_bps is None else self.taker_bps,
        )

    def session(self, strategy: Strategy, budget: float, fees: Fees) -> Session:
        """Return how `strategy` trades with `budget`."""
        return Session(
            model=strategy.model,
            model_params=dict(strategy.params),
            budget=budget,
            order_share=strategy.order_share,
            fees=fees,
            horizon_s=strategy.horizon_s,
            inventory_range=strategy.inventory_range,
            warmup_bars=self.warmup_bars,
            bar_volume_share=self.bar_volume_share,
            spread_scale=strategy.spread_scale,
        )


def load(study: Study) -> Market:
    """Load the last days of the market a study asks for: recorded bars, or with EXCHANGE=sim the synthetic market.

    Raises:
        ConfigError, UnknownNameError: the request makes no sense.
        DataNotFoundError: DATA= was given and does not hold it; the line says how to get it.
        ExchangeUnreachableError: it is not held here, and the exchange that has it cannot be reached.
        DataFormatError: a tape that is not made of bars.
    """
    request = study.market
    if request.is_synthetic:
        market = _synthetic(study)
    else:
        try:
            market = load_market(request)
        except DataNotFoundError as error:
            if request.symbol:
                native_symbol(request.exchange, request.symbol)  # a name nobody knows cannot be fetched either
            if request.data is not None or not request.symbol:
                raise DataNotFoundError(f"{error}; or fetch it: {_fetch_command(request)}") from error
            try:
                market = fetch_missing(request, DEFAULT_DAYS if request.days is None else request.days)
            except ExchangeUnreachableError as unreachable:
                raise ExchangeUnreachableError(f"{error}; and {unreachable}") from unreachable
    tape = market.tape
    if not tape.is_bars or len(tape) == 0:
        raise DataFormatError(f"a study trades bars; {request.data} holds {tape.meta.get('clock')!r} or nothing")
    if request.days is not None:
        end_ns = int(tape.ts_ns[-1])
        tape = tape.window(end_ns - round(request.days * NS_PER_DAY), end_ns)
    return replace(market, tape=tape)


def _fetch_command(request: MarketRequest) -> str:
    days = DEFAULT_DAYS if request.days is None else request.days
    return (
        f"make fetch-data EXCHANGE={request.exchange} SYMBOL={request.symbol} TIMEFRAME={request.timeframe} "
        f"DAYS={days:g}"
    )


def _synthetic(study: Study) -> Market:
    request = study.market
    if request.symbol:
        lookup(SIMULATED_EXCHANGE, request.symbol)
    interval_s = (timeframe_ms(request.timeframe) or 60_000) // 1000
    days = DEFAULT_DAYS if request.days is None else request.days
    config = SyntheticMarket(interval_s=interval_s)
    market = synthetic_market(max(1, math.ceil(days * 86_400 / interval_s)), study.seed, config)
    made = {"exchange": SIMULATED_EXCHANGE, "symbol": market.tape.instrument.symbol, "kind": "klines", "tier": "T2"}
    return replace(
        market, provenance=[made | {"timeframe": request.timeframe, "generator": asdict(config), "seed": study.seed}]
    )


def describe(study: Study, market: Market) -> dict[str, Any]:
    """Return what the market is, JSON-ready: names, span, bars, and how many of the days asked for are there."""
    tape = market.tape
    opens = tape.ts_ns[tape.kind == Kind.BAR_OPEN]
    bars = len(opens)
    source = market.provenance[0] if market.provenance else {}
    return {
        "exchange": market.exchange,
        "symbol": tape.instrument.symbol,
        "instrument_kind": tape.instrument.kind,
        "timeframe": source.get("timeframe") or study.market.timeframe,
        "interval_s": tape.interval_ns / 1e9,
        "tier": tape.tier,
        "bars": bars,
        "gaps": int(np.sum(np.diff(opens) > tape.interval_ns)),
        "first": iso_utc(int(opens[0])),
        "last": iso_utc(int(tape.ts_ns[-1])),
        "days_asked": study.market.days,
        "days_held": bars * tape.interval_ns / NS_PER_DAY,
    }


def run_session(session: Session, warm_up: EventTape, tape: EventTape) -> dict[str, Any]:
    """Trade once and return status, tier, metrics and parameters; an error of this run alone is a result too."""
    try:
        result, parameters = trade(session, tape, warm_up=warm_up)
    except RUN_ERRORS as error:
        return failure(error)
    status = "failed_risk" if result.metrics.failed else "completed"
    metrics = result.metrics.model_dump()
    return {"status": status, "tier": result.tier, "metrics": metrics, "parameters": parameters, "error": None}


def failure(error: Exception) -> dict[str, Any]:
    """Return the result of a run that ended in an error."""
    code = error.exit_code if isinstance(error, MarketMakerLError) else 1
    text = f"{type(error).__name__}: {error}"
    return {"status": "error", "tier": None, "metrics": None, "parameters": None, "error": text, "exit_code": code}


def gravest(results: Sequence[Mapping[str, Any]]) -> int:
    """Return 0 when every run completed, whatever its verdict; else the gravest exit code among the errors."""
    codes = {int(result["exit_code"]) for result in results if result["status"] == "error"}
    return 0 if not codes else (1 if 1 in codes else max(codes))


@contextlib.contextmanager
def new_folder(home: Path, spec: Mapping[str, Any], clock: Clock) -> Iterator[Path]:
    """Make the folder of a study, named by time and configuration; a study that is cut short takes it along.

    Raises:
        ArtifactError: the folder cannot be made.
    """
    folder = new_run_folder(home, config_hash(spec), clock)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def settled(study: Study, fees: Fees) -> dict[str, Any]:
    """Return the configuration as a manifest records it."""
    options = asdict(study)
    options["market"] = {name: _plain(value) for name, value in options["market"].items()}
    options = {name: _plain(value) for name, value in options.items()}
    setup = {"fees": asdict(fees), "warmup_bars": study.warmup_bars, "bar_volume_share": study.bar_volume_share}
    return {"options": options, "setup": setup, "seeds": [study.seed]}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def study_spec(study: Study, fees: Fees, market: Market) -> dict[str, Any]:
    """Return what names a study: configuration, data and code."""
    return {"config": settled(study, fees), "data": market.provenance, "environment": environment()}


def write_study(
    folder: Path,
    kind: str,
    spec: Mapping[str, Any],
    analysis: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    clock: Clock,
) -> None:
    """Write analysis.json, analysis.csv (one of `rows` a line) and, last, manifest.json."""
    write_json(folder / "analysis.json", analysis)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(folder / "analysis.csv", text.getvalue().encode())
    tier = analysis["market"]["tier"]
    write_json(folder / "manifest.json", manifest(kind, folder.name, spec["config"], spec["data"], tier, clock))
