"""`backtest`: the front door of the engine. One tape, one model, one result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marketmakerl.backtesting.engine import BAR_VOLUME_SHARE, Engine
from marketmakerl.backtesting.metrics import compute_metrics
from marketmakerl.backtesting.result import BacktestResult
from marketmakerl.core.errors import ConfigError, DataFormatError
from marketmakerl.core.rng import check_seed
from marketmakerl.data.tape import EventTape
from marketmakerl.models.contract import QuotingModel

if TYPE_CHECKING:
    from marketmakerl.backtesting.latency import Latency
    from marketmakerl.core.fees import Fees
    from marketmakerl.risk.limits import RiskLimits


def backtest(
    tape: EventTape,
    model: QuotingModel,
    *,
    fees: Fees,
    order_qty: float,
    cash: float,
    latency: Latency | None = None,
    queue: str | None = None,
    quote_interval_ns: int | None = None,
    risk: RiskLimits | None = None,
    initial_inventory: float | None = None,
    target_inventory: float | None = None,
    bar_volume_share: float = BAR_VOLUME_SHARE,
    seed: int = 0,
) -> BacktestResult:
    """Run one quoting model over one tape.

    Args:
        tape: market events (`EventTape.from_klines`, `EventTape.load`).
        model: a quoting model.
        fees: maker and taker rates.
        order_qty: size of each quote, in base units (inverse: contracts); at least one lot.
        cash: opening balance in settlement currency (quote; base for inverse), > 0. On spot with no
            `initial_inventory` it is the whole budget, and half of it is turned into inventory at the first price.
        latency: on bars anything shorter than a bar changes nothing (rule 8), and a longer one is refused.
        queue: no effect on bars, which fill only where the market trades through (rule 8).
        quote_interval_ns: no effect on bars, where one decision is taken a bar.
        risk: limits; None means the defaults, everything on. `RiskLimits.off()` for none.
        initial_inventory: opening position in units of quantity; None: half the budget on spot, else none.
        target_inventory: the inventory a model leans towards; None: the opening one on spot, else 0.
        bar_volume_share: bars only: how much of a bar's volume our orders can get, in (0, 1].
        seed: names the run; nothing random happens on bars.

    Raises:
        ConfigError: an argument out of range, or one that does not fit the instrument.
        DataFormatError: the tape is empty, or of tier T0 (indicative prices are no ground for a backtest).
    """
    check_seed(seed)
    del queue, quote_interval_ns
    if not isinstance(model, QuotingModel):
        raise ConfigError(f"backtest needs a quoting model (see marketmakerl.models.contract), got {model!r}")
    if not isinstance(tape, EventTape):
        raise ConfigError(f"backtest needs an EventTape, got {type(tape).__name__}; see EventTape.from_klines")
    if len(tape) == 0:
        raise DataFormatError("the tape holds no events")
    if tape.tier == "T0":
        raise DataFormatError("the tape is of tier T0: indicative prices choose a universe, they are never backtested")
    if not tape.is_bars:
        raise DataFormatError(f"the engine reads tapes compiled from bars; this one says {tape.meta.get('clock')!r}")
    delay_ns = latency.entry_ns + latency.response_ns if latency else 0
    if delay_ns >= tape.interval_ns:
        raise ConfigError(f"latency {delay_ns} ns is not shorter than a bar")
    engine = Engine(
        tape.instrument,
        model,
        fees=fees,
        order_qty=order_qty,
        cash=cash,
        first_price=float(tape.price_ticks[0]) * tape.instrument.tick_size,
        risk=risk,
        initial_inventory=initial_inventory,
        target_inventory=target_inventory,
        bar_volume_share=bar_volume_share,
    )
    engine.feed(tape)
    engine.finish()
    fills, orders, samples = engine.fills(), engine.orders(), engine.samples()
    return BacktestResult(
        metrics=compute_metrics(engine.state, tape.instrument, fills, samples, tape.interval_ns),
        instrument=tape.instrument,
        tier=tape.tier,
        first_line=f"Bars: one decision a bar; a quote fills only where the next bar trades through it, "
        f"at most {bar_volume_share:.0%} of the bar's volume. The poorest evidence there is.",
        raw_fills=fills,
        raw_orders=orders,
        raw_samples=samples,
    )
