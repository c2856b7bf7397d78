"""What `backtest` is given, checked before anything runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any

from marketmakerl.backtesting.order_script import OrderScript
from marketmakerl.core.errors import ConfigError, DataFormatError
from marketmakerl.core.fees import Fees
from marketmakerl.data.tape import EventTape
from marketmakerl.models.contract import QuotingModel
from marketmakerl.models.custom import CustomModel

if TYPE_CHECKING:
    from marketmakerl.core.instrument import Instrument

BAR_VOLUME_SHARE = 0.10

Model = QuotingModel | OrderScript | Callable[..., tuple[float, float]]


def check_type(name: str, value: Any, wanted: type) -> None:
    """Refuse an argument, or an entry of a list of them, that is neither None nor what is wanted."""
    for one in value if isinstance(value, (list, tuple)) else (value,):
        if one is not None and not isinstance(one, wanted):
            raise ConfigError(f"{name} must be {wanted.__name__}(...), got {one!r}")


def check_tape(tape: object) -> EventTape:
    """Return a tape that can be backtested; errors as in `backtest`."""
    if not isinstance(tape, EventTape):
        raise ConfigError(f"backtest needs an EventTape, got {type(tape).__name__}; see EventTape.from_klines")
    if len(tape) == 0:
        raise DataFormatError("the tape holds no events")
    if tape.tier == "T0":
        raise DataFormatError("the tape is of tier T0: indicative prices choose a universe, they are never backtested")
    return tape


def as_model(model: object) -> QuotingModel | OrderScript:
    """Return a model as the engines take it; a function becomes a `CustomModel`."""
    if isinstance(model, (QuotingModel, OrderScript)):
        return model
    if not callable(model):
        raise ConfigError(f"backtest needs a quoting model (see marketmakerl.models.contract), got {model!r}")
    return CustomModel(model)


def finite_number(name: str, value: Any) -> float:
    """Return a number; `ConfigError`, naming it, for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def check_fees(fees: Any) -> None:
    """Raise `ConfigError` for anything that is no `Fees`."""
    if not isinstance(fees, Fees):
        raise ConfigError(f"fees must be Fees(maker_bps, taker_bps), got {fees!r}")


def order_size(instrument: Instrument, order_qty: float) -> int:
    """Return the size of a quote in lots; `ConfigError` below one."""
    lots = instrument.lots(finite_number("order_qty", order_qty))
    if lots < 1:
        raise ConfigError(f"order_qty {order_qty:g} is below one lot of {instrument.symbol} ({instrument.lot_size:g})")
    return lots


def target_lots(instrument: Instrument, target_inventory: float | None, position_lots: int) -> int:
    """Return the inventory a model leans towards: the given one, else the opening one on spot, else none."""
    if target_inventory is not None:
        return instrument.lots(finite_number("target_inventory", target_inventory))
    return position_lots if instrument.kind == "spot" else 0


def opening_balance(
    instrument: Instrument, cash: float, initial_inventory: float | None, first_price: float
) -> tuple[float, int]:
    """Return opening cash and position in lots."""
    if finite_number("cash", cash) <= 0:
        raise ConfigError(f"cash must be > 0, got {cash!r}")
    if initial_inventory is None:
        if instrument.kind != "spot":
            return float(cash), 0
        lots = instrument.lots(cash / 2 / instrument.value(first_price))
        return cash - instrument.qty(lots) * instrument.value(first_price), lots
    lots = instrument.lots(finite_number("initial_inventory", initial_inventory))
    if lots < 0 and instrument.kind == "spot":
        raise ConfigError(f"spot cannot start short: initial_inventory {initial_inventory:g}")
    return float(cash), lots
