"""`backtest`: the front door of the engine. One tape, one model, one result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marketmakerl.backtesting.arguments import BAR_VOLUME_SHARE, Model, as_model, check_tape, check_type
from marketmakerl.backtesting.exchange.venue import VenueRules
from marketmakerl.backtesting.results.of_engine import result_of
from marketmakerl.backtesting.wire.latency import Latency
from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.rng import check_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from marketmakerl.backtesting.exchange.queue import Queue
    from marketmakerl.backtesting.results.result import BacktestResult
    from marketmakerl.core.fees import Fees
    from marketmakerl.data.tape import EventTape
    from marketmakerl.risk.limits import RiskLimits


def backtest(
    tape: EventTape | Sequence[EventTape],
    model: Model | Sequence[Model],
    *,
    fees: Fees | Sequence[Fees],
    order_qty: float | Sequence[float],
    cash: float,
    latency: Latency | Sequence[Latency] | None = None,
    queue: Queue | str | Sequence[Queue | str] | None = None,
    quote_interval_ns: int | None = None,
    quote_on: str | Iterable[str] | None = None,
    risk: RiskLimits | None = None,
    initial_inventory: float | Sequence[float | None] | None = None,
    target_inventory: float | Sequence[float | None] | None = None,
    post_only: bool = True,
    requote_threshold_ticks: int = 0,
    equity_interval_ns: int = NS_PER_S,
    log_orders: bool = True,
    bar_volume_share: float = BAR_VOLUME_SHARE,
    venue: VenueRules | Sequence[VenueRules | None] | None = None,
    funding: Any = None,
    seed: int = 0,
) -> BacktestResult:
    """Run one quoting model over one tape, or over several that share one account.

    Args:
        tape: market events (`EventTape.from_book`, `.from_klines`, `.from_hftbacktest`, `.load`). A list of tapes (all
            of ticks, or all of bars of one length) runs them in one order of time on one account: the cash, the budget
            of the limits and the breakers are common, and a model may read the others' best prices (`context.bids`,
            `.asks`). `model`, `fees`, `order_qty`, `latency`, `queue`, `venue`, `funding` and the inventories may then
            be lists too, one entry a tape. The result is a `PortfolioResult`.
        model: a quoting model, a function that is one (see `CustomModel`), or an `OrderScript`.
        fees: maker and taker rates.
        order_qty: size of each quote, in base units (inverse: contracts); at least one lot.
        cash: opening balance in settlement currency (quote; base for inverse), > 0. On spot with no
            `initial_inventory` it is the whole budget, and half of it is turned into inventory at the first price
            (of several such instruments in equal parts).
        latency: None: none. On bars what fills in a bar is reported `response_ns` after its close, and an order that
            arrives within a bar may fill in it: a latency near the length of a bar flatters.
        queue: ticks: how orders move up the queue, `Queue` or its name; None is the pessimistic "risk_averse".
        quote_interval_ns: ticks: the model is asked every so often, > 0; default 100 ms if `quote_on` says nothing.
        quote_on: ticks: the model is asked on events: "all", or some of "depth", "bbo", "trade", "response" (an answer
            to an order of ours). Whatever happens at one local time is one decision.
        risk: limits; None means the defaults, everything on. `RiskLimits.off()` for none.
        initial_inventory: opening position in units of quantity; None: half the budget on spot, else none.
        target_inventory: the inventory a model leans towards; None: the opening one on spot, else 0.
        post_only: quotes never take; False sends plain limit orders.
        requote_threshold_ticks: an order so near to its wanted price stays where it is, >= 0.
        equity_interval_ns: ticks: spacing of `result.equity`; Sharpe and its kin use 60 s.
        log_orders: False keeps no order log, so that memory does not grow with the number of orders.
        bar_volume_share: bars only: how much of a bar's volume our orders can get, in (0, 1].
        venue: rules of the venue besides matching (order checks, fee tiers, margin; see `VenueRules`); None: none.
            On bars its price bands and self-trade prevention are refused, and margin is looked at at every price of a
            bar: a liquidation happens at that price, less the slippage that `risk` declares. Every other taker on bars
            fills whole at the last close less that slippage, no further than its limit.
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
    check_type("venue", venue, VenueRules)
    check_type("latency", latency, Latency)
    options: dict[str, Any] = {
        "venue": venue,
        "funding": funding,
        "fees": fees,
        "order_qty": order_qty,
        "cash": cash,
        "risk": risk,
        "initial_inventory": initial_inventory,
        "target_inventory": target_inventory,
        "latency": latency,
        "queue": queue,
        "quote_interval_ns": quote_interval_ns,
        "quote_on": quote_on,
        "post_only": post_only,
        "requote_threshold_ticks": requote_threshold_ticks,
        "equity_interval_ns": equity_interval_ns,
        "log_orders": log_orders,
        "bar_volume_share": bar_volume_share,
    }
    if isinstance(tape, (list, tuple)):
        from marketmakerl.backtesting.portfolio import backtest_together  # noqa: PLC0415  (loads the kernel)

        return backtest_together(tape, model, options)
    if isinstance(latency, (list, tuple)):
        raise ConfigError(f"one tape takes one latency, got {len(latency)}")
    one, quoting = check_tape(tape), as_model(model)
    from marketmakerl.backtesting.engine import Engine  # noqa: PLC0415  (its kernel takes time to load)
    from marketmakerl.backtesting.first_mid import first_mid  # noqa: PLC0415

    first_price = 0.0
    if one.instrument.kind == "spot" and initial_inventory is None:
        first_price = first_mid(one)
    engine = Engine(one.instrument, quoting, first_price=first_price, bars=one.is_bars, **options)
    engine.feed(one)
    engine.finish()
    return result_of(engine, one)
