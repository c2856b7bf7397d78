"""Watching the market and our own fills: what the overlays need, brought up to date once a second (bars: at closes).

Between two times nothing here changes, so that a decision costs next to nothing. Every function works on any record
that holds `RISK_STATE_FIELDS`. Sides are indexed 0 bid, 1 ask; a comparison with NaN is false, which is how a control
that is off does nothing.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from marketmakerl.core.jit import njit
from marketmakerl.risk.reasons import Reason
from marketmakerl.risk.schedule_kernel import in_flat_window
from marketmakerl.risk.state import REDUCING

WATCH_NS: Final = 1_000_000_000
_STALE, _FLAT_WINDOW = int(Reason.STALE), int(Reason.FLAT_WINDOW)
_NS_PER_S = 1e9
_DOUBT: Final = 10.0  # fills that say "no adverse selection" before the first has been seen


@njit()
def watch(state: Any, risk: Any, ts_ns: int, mid: float, heard_ns: int) -> None:
    """Take note of the market.

    Args:
        state: record with `RISK_STATE_FIELDS`.
        risk: RISK record.
        ts_ns: now.
        mid: the mid we see; 0: none.
        heard_ns: when something of the market last reached us.
    """
    if mid > 0.0:
        if state.risk_mid > 0.0 and ts_ns > state.risk_ns:
            _note_move(state, risk, ts_ns, mid)
        for side in range(2):
            state.older_lots[side] = state.filled_lots_seen[side]
            state.older_from[side] = state.filled_from[side]
            state.older_number[side] = state.filled_number[side]
            state.filled_lots_seen[side] = 0.0
            state.filled_value[side] = 0.0
            state.filled_from[side] = 0.0
            state.filled_number[side] = 0.0
        state.risk_mid = mid
        state.risk_ns = ts_ns
        _set_factors(state, risk, mid)
    state.pause = 0
    if (ts_ns - heard_ns) / _NS_PER_S >= risk.stale_data_s:
        state.pause = _STALE
    if in_flat_window(risk, ts_ns):
        state.pause = _FLAT_WINDOW


@njit()
def _note_move(state: Any, risk: Any, ts_ns: int, mid: float) -> None:
    """Note two volatilities, the recent move, and the fills that it ran over."""
    dt_s = (ts_ns - state.risk_ns) / _NS_PER_S
    change = mid - state.risk_mid
    sigma_before = np.sqrt(fast_variance(state))
    per_second = change * change / dt_s
    keep = 0.5 ** (dt_s / risk.vol_fast_s)
    state.var_fast = keep * state.var_fast + (1.0 - keep) * per_second
    state.var_weight_fast = keep * state.var_weight_fast + (1.0 - keep)
    _learn_adverse_selection(state, risk, mid, keep)
    keep = 0.5 ** (dt_s / risk.vol_slow_s)
    state.var_slow = keep * state.var_slow + (1.0 - keep) * per_second
    state.var_weight_slow = keep * state.var_weight_slow + (1.0 - keep)
    state.move = state.move * np.exp(-dt_s / risk.adverse_move_s) + change
    for side in range(2):
        if state.filled_lots_seen[side] > 0.0 and sigma_before > 0.0:
            sign = 1.0 - 2.0 * side
            loss = sign * (state.filled_value[side] / state.filled_lots_seen[side] - mid)
            if loss > risk.cooldown_sigma * sigma_before * np.sqrt(dt_s):
                stay_out(state, risk, ts_ns, side)


@njit()
def stay_out(state: Any, risk: Any, ts_ns: int, side: int) -> None:
    """Keep a side out for a while."""
    state.cooldown_until_ns[side] = ts_ns + int(risk.cooldown_s * _NS_PER_S)


@njit()
def _learn_adverse_selection(state: Any, risk: Any, mid: float, keep: float) -> None:
    """Average how far the mid has moved against fills, one to two seconds after; older fills count less."""
    if risk.learn_adverse_selection == 0:
        return
    moved, lots, number = 0.0, 0.0, 0.0
    for side in range(2):
        sign = 1.0 - 2.0 * side
        moved += sign * (state.older_from[side] - state.older_lots[side] * mid)
        lots += state.older_lots[side]
        number += state.older_number[side]
    state.adverse_sum *= keep
    state.adverse_fills *= keep
    if lots > 0.0:
        state.adverse_sum += number * moved / lots
        state.adverse_fills += number


@njit()
def _set_factors(state: Any, risk: Any, mid: float) -> None:
    """Work out what decisions until the next time go by."""
    slow = slow_variance(state)
    ratio = np.sqrt(fast_variance(state) / slow) if slow > 0.0 else 1.0
    state.widen = 1.0
    if risk.vol_widen_max > 1.0:
        state.widen = min(max(ratio, 1.0), risk.vol_widen_max)
    state.shrink = risk.risk_off_scale if ratio >= risk.risk_off_vol_ratio else 1.0
    # Standard deviation of the leaky sum of a random walk with the slow volatility, which the move itself hardly lifts.
    state.usual_move = np.sqrt(slow * risk.adverse_move_s / 2.0)
    state.adverse_cost = 0.0
    if risk.adverse_selection_bps >= 0.0:
        state.adverse_cost = risk.adverse_selection_bps * 1e-4 * mid
    elif risk.learn_adverse_selection != 0:
        state.adverse_cost = max(0.0, state.adverse_sum / (state.adverse_fills + _DOUBT))


@njit()
def note_fill(state: Any, risk: Any, ts_ns: int, sign: int, lots: int, price: float) -> None:
    """Take note of an own fill the moment we know of it."""
    side = 0 if sign > 0 else 1
    state.filled_lots_seen[side] += lots
    state.filled_value[side] += lots * price
    state.filled_from[side] += lots * (state.decision_mid if state.decision_mid > 0.0 else price)
    state.filled_number[side] += 1.0
    if state.run_side == sign:
        state.run_fills += 1
    else:
        state.run_side = sign
        state.run_fills = 1
    if state.run_fills >= risk.one_sided_fills:
        stay_out(state, risk, ts_ns, side)
        state.run_fills = 0


@njit()
def fast_variance(state: Any) -> float:
    """Return the fast variance per second, corrected for its short memory at the start; 0 while unknown."""
    if state.var_weight_fast > 0.0:
        return float(state.var_fast / state.var_weight_fast)
    return 0.0


@njit()
def slow_variance(state: Any) -> float:
    """Return the slow variance per second, corrected likewise."""
    if state.var_weight_slow > 0.0:
        return float(state.var_slow / state.var_weight_slow)
    return 0.0


@njit()
def distance_factor(state: Any, risk: Any) -> float:
    """Return the factor on distances: the volatility's, and more while REDUCING."""
    return float(state.widen * risk.risk_off_widen if state.breaker == REDUCING else state.widen)


@njit()
def size_factor(state: Any, risk: Any) -> float:
    """Return the factor on sizes and inventory limits: while REDUCING, or while volatility is far above its usual."""
    return float(risk.risk_off_scale if state.breaker == REDUCING else state.shrink)
