"""Taking the inventory off: stop-loss, take-profit, the end of a holding time, and windows in which to be flat.

The inventory is what is held beyond the target, as far as we know. An exit cancels the quotes and takes the inventory
off as taker, in slices; both sides then stay out for a while. It is no breaker: quoting goes on after it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.core.jit import njit
from marketmakerl.risk.market_watch import stay_out
from marketmakerl.risk.reasons import Control, Reason
from marketmakerl.risk.state import log_event

_STOP, _TARGET, _TIME = int(Control.STOP_LOSS), int(Control.TAKE_PROFIT), int(Control.TIME_EXIT)
_WINDOW = int(Control.FLAT_WINDOW)
_FLAT_WINDOW = int(Reason.FLAT_WINDOW)
_NS_PER_S = 1e9


@njit()
def enter(state: Any, ts_ns: int, sign: int, lots: int, value: float) -> None:
    """Book a fill into the inventory beyond the target, at average cost.

    Args:
        state: record with `RISK_STATE_FIELDS`.
        ts_ns: now.
        sign: +1 bought, -1 sold.
        lots: quantity, > 0.
        value: what the lots were worth at the price of the fill, settlement currency (inverse: -c/p a unit).
    """
    held = state.held_lots
    if held == 0:
        state.held_since_ns = ts_ns
    if held * sign >= 0:
        state.held_value += sign * value
    else:
        closing = min(lots, abs(held))
        left = sign * value * ((lots - closing) / lots)
        state.held_value += left - state.held_value * (closing / abs(held))
        if lots > closing:
            state.held_since_ns = ts_ns
    state.held_lots = held + sign * lots


@njit()
def look_at_exits(state: Any, risk: Any, ts_ns: int, held_value: float, budget: float) -> bool:
    """Look whether the inventory is to be taken off; return whether that has just begun.

    Args:
        state: record with `RISK_STATE_FIELDS`.
        risk: RISK record.
        ts_ns: now.
        held_value: what the inventory is worth at the mid we see, signed (inverse: -c/mid a unit).
        budget: opening equity, > 0.
    """
    if state.held_lots == 0 or state.exiting != 0:
        return False
    profit = (held_value - state.held_value) / budget
    held_s = (ts_ns - state.held_since_ns) / _NS_PER_S
    if -profit >= risk.stop_loss_pct:
        _begin(state, ts_ns, _STOP, -profit, risk.stop_loss_pct)
    elif profit >= risk.take_profit_pct:
        _begin(state, ts_ns, _TARGET, profit, risk.take_profit_pct)
    elif held_s >= risk.max_holding_s:
        _begin(state, ts_ns, _TIME, held_s, risk.max_holding_s)
    elif state.pause == _FLAT_WINDOW:
        _begin(state, ts_ns, _WINDOW, float(state.held_lots), np.nan)
    return bool(state.exiting != 0)


@njit()
def _begin(state: Any, ts_ns: int, control: int, value: float, limit: float) -> None:
    state.exiting = control
    state.exits += 1
    log_event(state, ts_ns, control, state.breaker, state.breaker, value, limit)


@njit()
def end_exit(state: Any, risk: Any, ts_ns: int) -> None:
    """Note that the inventory is off: both sides stay out for a while."""
    state.exiting = 0
    state.run_fills = 0
    stay_out(state, risk, ts_ns, 0)
    stay_out(state, risk, ts_ns, 1)
