"""Breakers: ACTIVE -> REDUCING -> HALTED, and never back within a session."""

from __future__ import annotations

from typing import Any

from marketmakerl.core.jit import njit
from marketmakerl.risk.overlays import ACTIVE, HALTED, REDUCING


@njit()
def check_breakers(state: Any, risk: Any, equity: float, budget: float) -> bool:
    """Compare the drawdown with its limits; return True once, when the session must be liquidated.

    Args:
        state: record with `RISK_STATE_FIELDS`.
        risk: RISK record; a limit that is NaN never fires.
        equity: equity at the mark, settlement currency.
        budget: opening equity.
    """
    state.peak_equity = max(state.peak_equity, equity)
    drawdown = (state.peak_equity - equity) / budget
    if state.breaker != HALTED and drawdown >= risk.hard_drawdown_pct:
        state.breaker = HALTED
        state.breaker_events += 1
        return True
    if state.breaker == ACTIVE and drawdown >= risk.soft_drawdown_pct:
        state.breaker = REDUCING
        state.breaker_events += 1
    return False
