"""Controls that change a quote before it is placed. One record in, the same record out; no allocation.

Every function works on any record that begins with `RISK_STATE_FIELDS` (the engine's state does). Sides are indexed
0 bid, 1 ask; a comparison with NaN is false, which is how a control that is off does nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.core.jit import njit
from marketmakerl.risk.reasons import Reason

ACTIVE, REDUCING, HALTED = 0, 1, 2

RISK_STATE_FIELDS: list[tuple[str, str] | tuple[str, str, tuple[int, ...]]] = [
    ("want_offset", "f8", (2,)),  # what is to be quoted, price units from the mid
    ("want_lots", "i8", (2,)),
    ("want_reason", "i8", (2,)),  # 0, or why the side is not quoted
    ("breaker", "i8"),  # ACTIVE, REDUCING, HALTED
    ("breaker_events", "i8"),
    ("liquidations", "i8"),
    ("peak_equity", "f8"),
    ("risk_mid", "f8"),  # mid at the last decision; 0 before the first
    ("risk_ns", "i8"),
    ("var_fast", "f8"),  # variance of the mid per second, exponentially weighted
    ("var_slow", "f8"),
    ("var_weight_fast", "f8"),  # weight gathered so far: corrects the start
    ("var_weight_slow", "f8"),
    ("move", "f8"),  # leaky sum of the mid's changes
    ("filled_qty", "f8", (2,)),  # since the last decision, by side
    ("filled_value", "f8", (2,)),
    ("cooldown_until_ns", "i8", (2,)),
]

_INVENTORY_LIMIT = int(Reason.INVENTORY_LIMIT)
_ADVERSE_MOVE, _COOLDOWN, _HALTED = int(Reason.ADVERSE_MOVE), int(Reason.COOLDOWN), int(Reason.HALTED)
_NS_PER_S = 1e9


@njit()
def observe(state: Any, risk: Any, ts_ns: int, mid: float) -> None:
    """Take note of the mid at a decision: two volatilities, the recent move, and fills that were run over."""
    if state.risk_mid > 0.0 and ts_ns > state.risk_ns:
        dt_s = (ts_ns - state.risk_ns) / _NS_PER_S
        change = mid - state.risk_mid
        sigma_before = np.sqrt(fast_variance(state))
        per_second = change * change / dt_s
        keep = 0.5 ** (dt_s / risk.vol_fast_s)
        state.var_fast = keep * state.var_fast + (1.0 - keep) * per_second
        state.var_weight_fast = keep * state.var_weight_fast + (1.0 - keep)
        keep = 0.5 ** (dt_s / risk.vol_slow_s)
        state.var_slow = keep * state.var_slow + (1.0 - keep) * per_second
        state.var_weight_slow = keep * state.var_weight_slow + (1.0 - keep)
        state.move = state.move * np.exp(-dt_s / risk.adverse_move_s) + change
        for side in range(2):
            if state.filled_qty[side] > 0.0 and sigma_before > 0.0:
                sign = 1.0 - 2.0 * side
                loss = sign * (state.filled_value[side] / state.filled_qty[side] - mid)
                if loss > risk.cooldown_sigma * sigma_before * np.sqrt(dt_s):
                    state.cooldown_until_ns[side] = ts_ns + int(risk.cooldown_s * _NS_PER_S)
    for side in range(2):
        state.filled_qty[side] = 0.0
        state.filled_value[side] = 0.0
    state.risk_mid = mid
    state.risk_ns = ts_ns


@njit()
def fast_variance(state: Any) -> float:
    """Return the fast variance per second, corrected for its short memory at the start; 0 while unknown."""
    if state.var_weight_fast > 0.0:
        return state.var_fast / state.var_weight_fast
    return 0.0


@njit()
def slow_variance(state: Any) -> float:
    """Return the slow variance per second, corrected likewise."""
    if state.var_weight_slow > 0.0:
        return state.var_slow / state.var_weight_slow
    return 0.0


@njit()
def widening(state: Any, risk: Any) -> float:
    """Return the factor on distances: fast over slow volatility, between 1 and its cap, and more while REDUCING."""
    factor = 1.0
    slow = slow_variance(state)
    if risk.vol_widen_max > 1.0 and slow > 0.0:
        ratio = np.sqrt(fast_variance(state) / slow)
        factor = min(max(ratio, 1.0), risk.vol_widen_max)
    if state.breaker == REDUCING:
        factor *= risk.risk_off_widen
    return factor


@njit()
def _room_lots(excess_value: float, lot_value: float, lots: int, soft: float, hard: float) -> int:
    """Return how many of `lots` the adding side may quote, given limits in money (NaN: none)."""
    allowed = float(lots)
    if not np.isnan(hard) and excess_value > soft:
        allowed *= max(0.0, (hard - excess_value) / (hard - soft))
    if not np.isnan(hard):
        allowed = min(allowed, (hard - excess_value) / lot_value)
    return max(0, int(np.floor(allowed + 1e-9)))


@njit()
def earns_its_fee(risk: Any, distance: float, maker_fee: float, mid: float) -> bool:
    """Return whether a quote placed `distance` from the mid earns the maker fee and the minimum edge; price units."""
    return not distance < maker_fee + risk.edge_bps * 1e-4 * mid - 1e-9 * mid


@njit()
def apply_overlays(state: Any, risk: Any, ts_ns: int, excess_lots: int, lot_value: float, budget: float) -> None:
    """Bring `want_*` within the limits.

    Args:
        state: record with `RISK_STATE_FIELDS`, `want_*` filled in by the model.
        risk: RISK record.
        ts_ns: decision time.
        excess_lots: position less target, signed.
        lot_value: worth of one lot at the mid, settlement currency, > 0.
        budget: opening equity, settlement currency.
    """
    if state.breaker == HALTED:
        state.want_reason[0] = _HALTED
        state.want_reason[1] = _HALTED
        return
    factor = widening(state, risk)
    scale = risk.risk_off_scale if state.breaker == REDUCING else 1.0
    soft = risk.soft_inventory_pct * budget * scale
    hard = risk.hard_inventory_pct * budget * scale
    # Standard deviation of the leaky sum of a random walk with the slow volatility, which the move itself hardly lifts.
    usual_move = np.sqrt(slow_variance(state) * risk.adverse_move_s / 2.0)
    for side in range(2):
        if state.want_reason[side] != 0:
            continue
        sign = 1 - 2 * side
        excess_value = sign * excess_lots * lot_value  # > 0: this side adds to what is there
        offset = state.want_offset[side]
        if offset > 0.0:
            offset *= factor
        state.want_offset[side] = offset
        lots = int(np.ceil(state.want_lots[side] * scale))
        state.want_lots[side] = _room_lots(excess_value, lot_value, lots, soft, hard)
        if state.want_lots[side] < 1:
            state.want_reason[side] = _INVENTORY_LIMIT
        elif ts_ns < state.cooldown_until_ns[side] and excess_value >= 0.0:
            state.want_reason[side] = _COOLDOWN
        elif usual_move > 0.0 and -sign * state.move > risk.adverse_move_sigma * usual_move and excess_value >= 0.0:
            state.want_reason[side] = _ADVERSE_MOVE
