"""Controls that change a quote before it is placed. One record in, the same record out; no allocation.

What they go by is brought up to date by `market_watch.watch`. Every function works on any record that holds
`RISK_STATE_FIELDS`. Sides are indexed 0 bid, 1 ask; a comparison with NaN is false, which is how a control that is off
does nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.core.jit import njit
from marketmakerl.risk.market_watch import distance_factor, size_factor
from marketmakerl.risk.reasons import Reason
from marketmakerl.risk.state import HALTED

_NONE, _HALTED, _EXIT = int(Reason.NONE), int(Reason.HALTED), int(Reason.EXIT)
_INVENTORY_LIMIT, _WIDE_SPREAD = int(Reason.INVENTORY_LIMIT), int(Reason.WIDE_SPREAD)
_ADVERSE_MOVE, _COOLDOWN, _REJECTS = int(Reason.ADVERSE_MOVE), int(Reason.COOLDOWN), int(Reason.REJECTS)


@njit()
def why_silent(state: Any, risk: Any, ts_ns: int, mid: float, spread: float) -> int:
    """Return why nothing may be quoted now, or 0.

    Args:
        state: record with `RISK_STATE_FIELDS`.
        risk: RISK record.
        ts_ns: now.
        mid: the mid we see, > 0.
        spread: of the market, price units; 0 where there is none to see (bars).
    """
    if state.breaker == HALTED:
        return _HALTED
    if state.exiting != 0:
        return _EXIT
    if state.pause != 0:
        return int(state.pause)
    if spread > risk.max_spread_bps * 1e-4 * mid:
        return _WIDE_SPREAD
    if ts_ns < state.rejected_until_ns:
        return _REJECTS
    return _NONE


@njit()
def earns_its_fee(state: Any, risk: Any, distance: float, maker_fee: float, mid: float) -> bool:
    """Return whether a quote placed `distance` from the mid earns fee, adverse selection and minimum; price units.

    What volatility or REDUCING have widened it by does not count: the market takes that back. (Without this, widening
    lifted quotes over the filter exactly when they lose most: minus 17 bps of the budget a day on BTC/USDT in 2024.)
    """
    need = maker_fee + state.adverse_cost + risk.min_edge_bps * 1e-4 * mid
    if distance > 0.0:
        need *= distance_factor(state, risk)
    return not distance < need - 1e-9 * mid


@njit()
def soft_share(excess_value: float, soft: float, hard: float) -> float:
    """Return how far an inventory is on its way from the soft to the hard limit, 0 to 1; values, all >= 0."""
    if excess_value > soft:
        return min((excess_value - soft) / (hard - soft), 1.0) if hard > soft else 1.0
    return 0.0


@njit()
def apply_overlays(
    state: Any, risk: Any, ts_ns: int, mid: float, excess_lots: int, lot_value: float, budget: float
) -> None:
    """Bring `want_*` within the limits.

    Args:
        state: record with `RISK_STATE_FIELDS`, `want_*` filled in by the model.
        risk: RISK record.
        ts_ns: decision time.
        mid: the mid we see, > 0.
        excess_lots: position less target, signed.
        lot_value: worth of one lot at the mid, settlement currency, > 0.
        budget: opening equity, settlement currency.
    """
    state.decision_mid = mid
    factor, scale = distance_factor(state, risk), size_factor(state, risk)
    excess_value = excess_lots * lot_value
    hard = risk.hard_inventory_pct * budget * scale
    share = soft_share(abs(excess_value), risk.soft_inventory_pct * budget * scale, hard)
    skew = 0.0
    if risk.soft_inventory_skew > 0.0:
        skew = share * risk.soft_inventory_skew
    move = state.move + (mid - state.risk_mid)
    limit = risk.adverse_move_sigma * state.usual_move
    for side in range(2):
        if state.want_reason[side] != _NONE:
            continue
        sign = 1 - 2 * side
        adds = sign * excess_lots > 0
        if state.want_offset[side] > 0.0:
            state.want_offset[side] *= factor * ((1.0 + skew) if adds else (1.0 - skew))
        if scale < 1.0:
            state.want_lots[side] = int(np.ceil(state.want_lots[side] * scale))
        # The side that reduces is cut too: it may not turn the inventory over and past the limit.
        _cut(state, side, share if adds else 0.0, hard, sign * excess_value, lot_value)
        if state.want_reason[side] == _NONE and sign * excess_lots >= 0:
            if ts_ns < state.cooldown_until_ns[side]:
                state.want_reason[side] = _COOLDOWN
            elif limit > 0.0 and -sign * move > limit:
                state.want_reason[side] = _ADVERSE_MOVE


@njit()
def _cut(state: Any, side: int, share: float, hard: float, side_value: float, lot_value: float) -> None:
    """Cut a side's lots to what is left to the hard limit, and on the way from the soft one in proportion."""
    allowed = float(state.want_lots[side])
    if share > 0.0:
        allowed *= 1.0 - share
    if not np.isnan(hard):
        allowed = min(allowed, (hard - side_value) / lot_value)
    if allowed < state.want_lots[side]:
        state.want_lots[side] = max(0, int(np.floor(allowed + 1e-9)))
    if state.want_lots[side] < 1:
        state.want_reason[side] = _INVENTORY_LIMIT
