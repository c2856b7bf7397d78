"""Breakers: ACTIVE -> REDUCING -> HALTED, and never back but by a reset that a person asks for and that is logged.

They are looked at whenever what we know of our equity or of our orders has changed, not only when quotes are made.
REDUCING quotes smaller, wider and within tighter inventory limits; HALTED cancels everything and liquidates.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_DAY
from marketmakerl.core.jit import njit
from marketmakerl.risk.reasons import Control
from marketmakerl.risk.state import ACTIVE, HALTED, REDUCING, log_event

_SOFT, _HARD = int(Control.SOFT_DRAWDOWN), int(Control.HARD_DRAWDOWN)
_DAILY, _CONCENTRATION = int(Control.DAILY_LOSS), int(Control.CONCENTRATION)
_ZOMBIE, _REJECTS = int(Control.ZOMBIE_ORDER), int(Control.REPEATED_REJECTS)
_EXECUTIONS = int(Control.REPEATED_EXECUTIONS)
_RESET = int(Control.RESET)
_DAY_NS: Final = int(NS_PER_DAY)
_NS_PER_S = 1e9


@njit()
def trip(state: Any, ts_ns: int, control: int, to: int, value: float, limit: float) -> bool:
    """Move to a worse state, and write down why; return whether that changed anything."""
    if state.breaker >= to:
        return False
    log_event(state, ts_ns, control, state.breaker, to, value, limit)
    state.breaker = to
    state.breaker_events += 1
    return True


@njit()
def check_equity(state: Any, risk: Any, ts_ns: int, equity: float, budget: float, inventory_value: float) -> bool:
    """Look at what equity and inventory have come to; return whether the state has changed.

    Args:
        state: record with `RISK_STATE_FIELDS`.
        risk: RISK record; a limit that is NaN never fires.
        ts_ns: now.
        equity: at the mid we see, settlement currency.
        budget: opening equity, > 0.
        inventory_value: worth of the inventory beyond the target, settlement currency, >= 0.
    """
    day = ts_ns // _DAY_NS
    if day != state.day:
        state.day = day
        state.day_equity = equity
    state.peak_equity = max(state.peak_equity, equity)
    if state.breaker == HALTED:
        return False
    drawdown = (state.peak_equity - equity) / budget
    loss = (state.day_equity - equity) / budget
    changed = False
    if drawdown >= risk.hard_drawdown_pct:
        changed = trip(state, ts_ns, _HARD, HALTED, drawdown, risk.hard_drawdown_pct)
    elif loss >= risk.daily_loss_pct:
        changed = trip(state, ts_ns, _DAILY, HALTED, loss, risk.daily_loss_pct)
    elif drawdown >= risk.soft_drawdown_pct:
        changed = trip(state, ts_ns, _SOFT, REDUCING, drawdown, risk.soft_drawdown_pct)
    elif inventory_value >= risk.concentration_pct * budget:
        changed = trip(state, ts_ns, _CONCENTRATION, REDUCING, inventory_value / budget, risk.concentration_pct)
    return changed


@njit()
def check_unanswered(state: Any, risk: Any, ts_ns: int, asked_ns: int) -> bool:
    """Look at the oldest request without an answer; return whether the state has changed."""
    waiting_s = (ts_ns - asked_ns) / _NS_PER_S
    if waiting_s >= risk.zombie_order_s:
        return trip(state, ts_ns, _ZOMBIE, HALTED, waiting_s, risk.zombie_order_s)
    return False


@njit()
def check_executions(state: Any, risk: Any, ts_ns: int) -> bool:
    """Look at the fills of the window, after one has been counted; return whether the state has changed."""
    if state.executions_in_window > risk.max_executions:
        return trip(state, ts_ns, _EXECUTIONS, HALTED, float(state.executions_in_window), float(risk.max_executions))
    return False


@njit()
def note_answer(state: Any, risk: Any, ts_ns: int, rejected: bool) -> bool:
    """Take note that an order was accepted or rejected; return whether the state has changed."""
    if not rejected:
        state.rejects_in_row = 0
        return False
    state.rejects_in_row += 1
    if state.rejects_in_row >= risk.reject_pause_after:
        state.rejected_until_ns = ts_ns + risk.reject_pause_ns
    if state.rejects_in_row >= risk.max_rejects:
        return trip(state, ts_ns, _REJECTS, HALTED, float(state.rejects_in_row), float(risk.max_rejects))
    return False


@njit()
def reset(state: Any, ts_ns: int, equity: float) -> None:
    """Go back to ACTIVE, by hand: drawdown and daily loss are counted from here. It is logged."""
    log_event(state, ts_ns, _RESET, state.breaker, ACTIVE, equity, np.nan)
    state.breaker = ACTIVE
    state.halted = 0
    state.exiting = 0  # what a halt has overtaken is not taken up again; a stop that still holds begins anew
    state.peak_equity = equity
    state.day_equity = equity
    state.rejects_in_row = 0
    state.rejected_until_ns = 0
