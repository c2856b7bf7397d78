"""`backtest`: the front door of the engine. One tape, one model, one result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.backtesting.latency import Latency
from marketmakerl.backtesting.metrics import compute_metrics
from marketmakerl.backtesting.records import FILL, ORDER, PARAMS, SAMPLE, STATE, new_record
from marketmakerl.backtesting.result import BacktestResult
from marketmakerl.backtesting.step import advance
from marketmakerl.core.errors import ConfigError, DataFormatError
from marketmakerl.core.fees import Fees
from marketmakerl.core.ledger import open_ledger
from marketmakerl.core.rng import check_seed
from marketmakerl.data.tape import EventTape
from marketmakerl.models.contract import QuotingModel, new_context
from marketmakerl.risk.limits import RiskLimits

if TYPE_CHECKING:
    from marketmakerl.core.instrument import Instrument

BAR_VOLUME_SHARE = 0.10
_BUFFER_ROWS = 65_536


def backtest(
    tape: EventTape,
    model: QuotingModel,
    *,
    fees: Fees,
    order_qty: float,
    cash: float,
    latency: Latency | None = None,
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
    _check(tape, latency or Latency(), fees, cash, bar_volume_share)
    instrument = tape.instrument
    order_lots = instrument.lots(_number("order_qty", order_qty))
    if order_lots < 1:
        raise ConfigError(f"order_qty {order_qty:g} is below one lot of {instrument.symbol} ({instrument.lot_size:g})")
    first_price = float(tape.price_ticks[0]) * instrument.tick_size
    cash, position_lots = _opening(instrument, cash, initial_inventory, first_price)
    if target_inventory is None:
        target_lots = position_lots if instrument.kind == "spot" else 0
    else:
        target_lots = instrument.lots(_number("target_inventory", target_inventory))

    state = new_record(STATE)
    open_ledger(state, instrument, cash, position_lots)
    state.next_order_id = 1
    params = new_record(PARAMS)
    params.tick_size = instrument.tick_size
    params.lot_size = instrument.lot_size
    params.contract_size = instrument.contract_size
    params.inverse = int(instrument.kind == "inverse")
    params.spot = int(instrument.kind == "spot")
    params.min_notional = instrument.min_notional
    params.maker_rate = fees.maker_rate
    params.taker_rate = fees.taker_rate
    params.order_lots = order_lots
    params.target_lots = target_lots
    params.session_s = model.session_s
    params.bar_volume_share = bar_volume_share
    fills, orders, samples = _run(tape, model, state, params, (risk or RiskLimits()).record())
    return BacktestResult(
        metrics=compute_metrics(state, instrument, fills, samples, tape.interval_ns),
        instrument=instrument,
        tier=tape.tier,
        first_line=f"Bars: one decision a bar; a quote fills only where the next bar trades through it, "
        f"at most {bar_volume_share:.0%} of the bar's volume. The poorest evidence there is.",
        raw_fills=fills,
        raw_orders=orders,
        raw_samples=samples,
    )


def _run(tape: EventTape, model: QuotingModel, state: Any, params: Any, risk: Any) -> tuple[Any, Any, Any]:
    """Drive `advance` to the end of the tape, emptying its output buffers whenever one is full."""
    own = np.zeros(2, ORDER).view(np.recarray)
    buffers = [np.zeros(_BUFFER_ROWS, dtype).view(np.recarray) for dtype in (FILL, ORDER, SAMPLE)]
    kept: list[list[Any]] = [[], [], []]
    columns = [np.asarray(column) for column in (tape.ts_ns, tape.price_ticks, tape.qty_lots, tape.kind)]
    context, kernel, model_params = new_context(), model.kernel, model.params()
    done = False
    while not done:
        done = advance(state, own, params, risk, context, kernel, model_params, *buffers, *columns)
        for name, buffer, chunks in zip(("n_fills", "n_orders", "n_samples"), buffers, kept, strict=True):
            chunks.append(np.array(buffer[: getattr(state, name)]))
            setattr(state, name, 0)
    fills, orders, samples = (np.concatenate(chunks) for chunks in kept)
    return fills, orders, samples


def _check(tape: EventTape, latency: Latency, fees: Fees, cash: float, bar_volume_share: float) -> None:
    if not isinstance(tape, EventTape):
        raise ConfigError(f"backtest needs an EventTape, got {type(tape).__name__}; see EventTape.from_klines")
    if not isinstance(fees, Fees):
        raise ConfigError(f"fees must be Fees(maker_bps, taker_bps), got {fees!r}")
    if len(tape) == 0:
        raise DataFormatError("the tape holds no events")
    if tape.tier == "T0":
        raise DataFormatError("the tape is of tier T0: indicative prices choose a universe, they are never backtested")
    if not tape.is_bars:
        raise DataFormatError(f"the engine reads tapes compiled from bars; this one says {tape.meta.get('clock')!r}")
    if latency.entry_ns + latency.response_ns >= tape.interval_ns:
        raise ConfigError(f"latency {latency.entry_ns + latency.response_ns} ns is not shorter than a bar")
    if _number("cash", cash) <= 0:
        raise ConfigError(f"cash must be > 0, got {cash!r}")
    if not 0 < _number("bar_volume_share", bar_volume_share) <= 1:
        raise ConfigError(f"bar_volume_share must be in (0, 1], got {bar_volume_share!r}")


def _number(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def _opening(
    instrument: Instrument, cash: float, initial_inventory: float | None, first_price: float
) -> tuple[float, int]:
    """Return opening cash and position in lots."""
    if initial_inventory is None:
        if instrument.kind != "spot":
            return float(cash), 0
        lots = instrument.lots(cash / 2 / instrument.value(first_price))
        return cash - instrument.qty(lots) * instrument.value(first_price), lots
    lots = instrument.lots(_number("initial_inventory", initial_inventory))
    if lots < 0 and instrument.kind == "spot":
        raise ConfigError(f"spot cannot start short: initial_inventory {initial_inventory:g}")
    return float(cash), lots
