"""`backtest`: the front door of the engine. One tape, one model, one result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marketmakerl.backtesting.engine import BAR_VOLUME_SHARE, Engine
from marketmakerl.backtesting.latency import Latency
from marketmakerl.backtesting.metrics import compute_metrics
from marketmakerl.backtesting.order_script import OrderScript
from marketmakerl.backtesting.result import BacktestResult
from marketmakerl.backtesting.tick_statistics import markout_bps
from marketmakerl.backtesting.venue import VenueRules
from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import ConfigError, DataFormatError
from marketmakerl.core.rng import check_seed
from marketmakerl.data.tape import EventTape
from marketmakerl.models.contract import QuotingModel
from marketmakerl.models.custom import CustomModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from marketmakerl.backtesting.queue import Queue
    from marketmakerl.core.fees import Fees
    from marketmakerl.risk.limits import RiskLimits

TICK_INTERVAL_NS = 60 * NS_PER_S
_PROBE_ROWS = 4096


def backtest(
    tape: EventTape,
    model: QuotingModel | OrderScript | Callable[..., tuple[float, float]],
    *,
    fees: Fees,
    order_qty: float,
    cash: float,
    latency: Latency | None = None,
    queue: Queue | str | None = None,
    quote_interval_ns: int | None = None,
    quote_on: str | Iterable[str] | None = None,
    risk: RiskLimits | None = None,
    initial_inventory: float | None = None,
    target_inventory: float | None = None,
    post_only: bool = True,
    requote_threshold_ticks: int = 0,
    equity_interval_ns: int = NS_PER_S,
    log_orders: bool = True,
    bar_volume_share: float = BAR_VOLUME_SHARE,
    venue: VenueRules | None = None,
    funding: Any = None,
    seed: int = 0,
) -> BacktestResult:
    """Run one quoting model over one tape.

    Args:
        tape: market events (`EventTape.from_book`, `.from_klines`, `.from_hftbacktest`, `.load`).
        model: a quoting model, a function that is one (see `CustomModel`), or an `OrderScript` (ticks only).
        fees: maker and taker rates.
        order_qty: size of each quote, in base units (inverse: contracts); at least one lot.
        cash: opening balance in settlement currency (quote; base for inverse), > 0. On spot with no
            `initial_inventory` it is the whole budget, and half of it is turned into inventory at the first price.
        latency: None: none. On bars anything shorter than a bar changes nothing (rule 8), a longer one is refused.
        queue: ticks: how orders move up the queue, `Queue` or its name; None is the pessimistic "risk_averse".
        quote_interval_ns: ticks: the model is asked every so often, > 0; default 100 ms if `quote_on` says nothing.
        quote_on: ticks: the model is asked on events: "all", or some of "depth", "bbo", "trade", "response" (an answer
            to an order of ours). Whatever happens at one local time is one decision.
        risk: limits; None means the defaults, everything on. `RiskLimits.off()` for none.
        initial_inventory: opening position in units of quantity; None: half the budget on spot, else none.
        target_inventory: the inventory a model leans towards; None: the opening one on spot, else 0.
        post_only: ticks: quotes never take; False sends plain limit orders.
        requote_threshold_ticks: ticks: an order so near to its wanted price stays where it is, >= 0.
        equity_interval_ns: ticks: spacing of `result.equity`; Sharpe and its kin use 60 s.
        log_orders: ticks: False keeps no order log, so that memory does not grow with the number of orders.
        bar_volume_share: bars only: how much of a bar's volume our orders can get, in (0, 1].
        venue: rules of the venue besides matching (order checks, fee tiers, margin; see `VenueRules`); None: none.
            On bars its price bands and self-trade prevention are refused, and margin is looked at at every price of a
            bar: a liquidation happens at that price, less the slippage that `risk` declares.
        funding: perpetuals: funding times and rates, a DataFrame (`ts_ns` or `ts_ms`, `funding_rate`) or pairs. At each
            time the position pays value x rate at the mid (bars: the last close), and we know of it at once.
        seed: names the run; nothing random happens here.

    Raises:
        ConfigError: an argument out of range, or one that does not fit the instrument.
        DataFormatError: the tape is empty, malformed, never shows a two-sided book, or of tier T0 (indicative prices
            are no ground for a backtest); a funding series that is none.
        DataQualityError: funding rates or times that cannot be.
    """
    check_seed(seed)
    if isinstance(tape, (list, tuple)):
        raise ConfigError("backtest takes one EventTape; several instruments in one run are not there yet")
    if not isinstance(tape, EventTape):
        raise ConfigError(f"backtest needs an EventTape, got {type(tape).__name__}; see EventTape.from_klines")
    if not isinstance(model, (QuotingModel, OrderScript)):
        if not callable(model):
            raise ConfigError(f"backtest needs a quoting model (see marketmakerl.models.contract), got {model!r}")
        model = CustomModel(model)
    if len(tape) == 0:
        raise DataFormatError("the tape holds no events")
    if tape.tier == "T0":
        raise DataFormatError("the tape is of tier T0: indicative prices choose a universe, they are never backtested")
    if venue is not None and not isinstance(venue, VenueRules):
        raise ConfigError(f"venue must be VenueRules(...), got {venue!r}")
    shared: dict[str, Any] = {
        "venue": venue,
        "funding": funding,
        "fees": fees,
        "order_qty": order_qty,
        "cash": cash,
        "risk": risk,
        "initial_inventory": initial_inventory,
        "target_inventory": target_inventory,
    }
    if tape.is_bars:
        return _on_bars(tape, model, latency, bar_volume_share, shared)
    return _on_ticks(
        tape,
        model,
        shared
        | {
            "latency": latency,
            "queue": queue,
            "quote_interval_ns": quote_interval_ns,
            "quote_on": quote_on,
            "post_only": post_only,
            "requote_threshold_ticks": requote_threshold_ticks,
            "equity_interval_ns": equity_interval_ns,
            "log_orders": log_orders,
        },
    )


def _on_bars(
    tape: EventTape,
    model: QuotingModel | OrderScript,
    latency: Latency | None,
    bar_volume_share: float,
    shared: dict[str, Any],
) -> BacktestResult:
    if isinstance(model, OrderScript) or getattr(model, "is_python", False):
        raise ConfigError("bars take a compiled quoting model; order scripts and Python functions are for ticks")
    delay_ns = latency.entry_ns + latency.response_ns if latency else 0
    if delay_ns >= tape.interval_ns:
        raise ConfigError(f"latency {delay_ns} ns is not shorter than a bar")
    engine = Engine(
        tape.instrument,
        model,
        first_price=float(tape.price_ticks[0]) * tape.instrument.tick_size,
        bar_volume_share=bar_volume_share,
        **shared,
    )
    engine.feed(tape)
    engine.finish()
    fills, orders, samples = engine.fills(), engine.orders(), engine.samples()
    return BacktestResult(
        metrics=compute_metrics(engine.state, tape.instrument, fills, samples, tape.interval_ns),
        instrument=tape.instrument,
        tier=tape.tier,
        first_line=f"Bars: one decision a bar; a quote fills only where the next bar trades through it, "
        f"at most {bar_volume_share:.0%} of the bar's volume. The poorest evidence there is."
        f"{_rules_line(shared)}",
        raw_fills=fills,
        raw_orders=orders,
        raw_samples=samples,
    )


def _on_ticks(tape: EventTape, model: QuotingModel | OrderScript, options: dict[str, Any]) -> BacktestResult:
    from marketmakerl.backtesting.tick_engine import TickEngine  # noqa: PLC0415  (its kernel takes time to load)

    first_price = 0.0
    if tape.instrument.kind == "spot" and options["initial_inventory"] is None:
        first_price = _first_mid(tape, options["fees"])
    engine = TickEngine(tape.instrument, model, first_price=first_price, **options)
    engine.feed(tape)
    engine.finish()
    if engine.state.start_mark == 0.0:
        raise DataFormatError("the tape never shows a bid and an ask at once: there was nothing to quote against")
    fills, samples, mids = engine.fills(), engine.samples(), engine.markouts()
    session_ns = max(1, int(engine.state.last_ns - engine.state.first_ns))
    return BacktestResult(
        metrics=compute_metrics(
            engine.state,
            tape.instrument,
            fills,
            samples,
            TICK_INTERVAL_NS,
            uptime_pct=float(engine.state.two_sided_ns) / session_ns,
            markout_bps=markout_bps(tape.instrument, fills, mids),
        ),
        instrument=tape.instrument,
        tier=tape.tier,
        first_line=_first_line(tape, engine.queue, options["latency"] or Latency()) + _rules_line(options),
        raw_fills=fills,
        raw_orders=engine.orders(),
        raw_samples=samples,
        raw_markouts=mids,
        run_log=engine.run_log(),
    )


def _first_line(tape: EventTape, queue: Queue, latency: Latency) -> str:
    way = "recorded" if latency.series is not None else f"{latency.entry_ns / 1e6:g} + {latency.response_ns / 1e6:g} ms"
    return (
        f"Ticks: {len(tape)} rows of tier {tape.tier}; queue {queue} (an assumption: nobody publishes it), "
        f"order latency {way}; own orders move nobody else's."
    )


def _rules_line(options: dict[str, Any]) -> str:
    """Return what of the venue's rules is on, as a sentence; empty if nothing is."""
    on = [options["venue"].describe()] if options["venue"] else []
    on += ["funding"] if options["funding"] is not None else []
    on = [name for name in on if name]
    return f" Venue rules: {', '.join(on)}." if on else ""


def _first_mid(tape: EventTape, fees: Fees) -> float:
    """Return the first mid of a tape: what a spot budget is split at."""
    from marketmakerl.backtesting.tick_engine import TickEngine  # noqa: PLC0415

    # What it would be traded with is of no matter here: nothing is.
    probe = TickEngine(
        tape.instrument, OrderScript(), fees=fees, order_qty=tape.instrument.lot_size, cash=1.0, first_price=1.0,
        initial_inventory=0.0,
    )  # fmt: skip
    for row in range(0, len(tape), _PROBE_ROWS):
        probe.feed(tape.slice_rows(row, min(row + _PROBE_ROWS, len(tape))))
        if probe.state.start_mark > 0.0:
            return float(probe.state.start_mark)
    raise DataFormatError("the tape never shows a bid and an ask at once: there was nothing to quote against")
