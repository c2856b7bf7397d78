"""Flattening: what a halt or an exit does with quotes and inventory, and whether the model is asked at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.layout import Local, OrderType, at_int, at_own
from marketmakerl.backtesting.maker.local_view import local_equity
from marketmakerl.backtesting.maker.order_gate import account_budget, open_lots
from marketmakerl.backtesting.maker.orders import cancel, submit
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import unit_value
from marketmakerl.risk.breakers import check_equity
from marketmakerl.risk.exits import end_exit
from marketmakerl.risk.order_checks import largest_order, why_not_sent
from marketmakerl.risk.overlays import why_silent
from marketmakerl.risk.reasons import Purpose, Reason
from marketmakerl.risk.state import HALTED

_WORKING = int(Local.WORKING)
_IOC, _MARKET = int(OrderType.IOC), int(OrderType.MARKET)
_NONE = int(Reason.NONE)
_EXIT, _LIQUIDATION = int(Purpose.EXIT), int(Purpose.LIQUIDATION)
_EPS = 1e-6  # of a tick or a lot: float noise


@njit()
def pull_quotes(state: Any, memory: Any, params: Any, reason: int) -> None:
    """Quote nothing: cancel what is out there."""
    state.settled = 0
    own, work = at_own(memory.own), at_int(memory.work)
    for side in range(2):
        state.quote_reason[side] = reason
        state.suppressed[reason] += 1
        base = side * state.own_cap
        for i in range(base, base + state.n_work[side]):
            if own[work[i]].local == _WORKING:
                cancel(state, memory, params, work[i], reason)


@njit()
def may_ask_model(state: Any, memory: Any, params: Any, risk: Any, context: Any) -> bool:
    """Return whether the model is to be asked; if not, quotes are pulled, and inventory that is due is taken off."""
    if params.shared != 0 and params.risk_on != 0:
        mid = context.mid
        worth = abs(state.held_lots) * params.lot_size * abs(unit_value(state, mid))
        equity = local_equity(state, mid) + state.other_local_equity
        check_equity(state, risk, state.now_ns, equity, account_budget(state), worth)
    reason = why_silent(state, risk, state.now_ns, context.mid, context.best_ask - context.best_bid)
    if reason == _NONE:
        return True
    state.decisions += 1
    pull_quotes(state, memory, params, reason)
    if state.breaker == HALTED:
        if state.halted == 0:
            state.halted = 1
            state.liquidations += int(state.local_lots != 0)
        _flatten(state, memory, params, risk, context, state.local_lots, _LIQUIDATION)
    elif state.exiting != 0:
        if state.held_lots == 0 or _is_dust(state, params, context):
            if state.takers == 0 and state.n_work[0] + state.n_work[1] == 0:
                end_exit(state, risk, state.now_ns)
                if params.bars != 0:  # the bar to come may be quoted
                    reason = why_silent(state, risk, state.now_ns, context.mid, 0.0)
                    return bool(reason == _NONE)
        else:
            _flatten(state, memory, params, risk, context, state.held_lots, _EXIT)
    return False


@njit()
def _flatten(state: Any, memory: Any, params: Any, risk: Any, context: Any, lots: int, purpose: int) -> None:
    """Send a slice of what is to be taken off, as deep as the book shows; the next one once we know what came of it."""
    if lots == 0 or state.takers != 0 or _is_dust(state, params, context):
        return
    if state.now_ns < state.rejected_until_ns:
        return  # the venue rejects what is sent: the watch looks again every second
    if params.bars != 0 and state.n_work[0] + state.n_work[1] > 0:
        return  # their cancels are answered first: nothing happens within a close
    sign = -1 if lots > 0 else 1
    shown = state.view_bid_lots if sign < 0 else state.view_ask_lots
    lot_value = params.lot_size * abs(unit_value(state, context.mid))
    most = largest_order(risk, lot_value, account_budget(state), params.order_lots)
    # Own orders of this side whose cancels are on their way may still be filled: no more than the rest is ours to take.
    if params.bars != 0:
        shown = most = abs(lots)  # no depth to slice it by
    piece = min(abs(lots) - open_lots(state, memory, sign), max(min(shown, most), _least_lots(params, context)))
    if piece < 1:
        return
    kind, tick = _MARKET, 0
    price = context.mid
    if risk.price_collar_pct > 0.0:
        # An order to take, but not at any price.
        kind = _IOC
        exact = context.mid * (1.0 + sign * risk.price_collar_pct) * params.ticks_per_price
        tick = max(1, int(np.floor(exact + _EPS) if sign > 0 else np.ceil(exact - _EPS)))
        price = tick * params.tick_size
    out_there = state.n_work[0] + state.n_work[1]
    if risk.check_self_match != 0 and state.n_work[1 if sign > 0 else 0] > 0:
        return  # own quotes of the other side are still out there: their cancels are on their way
    held = state.local_lots if purpose == _LIQUIDATION else state.held_lots
    why = why_not_sent(
        state, risk, state.now_ns, sign, price, piece, context.mid, lot_value, account_budget(state),
        max(params.order_lots, piece), held, out_there, 0,
    )  # fmt: skip
    if why == _NONE:
        submit(state, memory, params, sign, tick, piece, kind, purpose)


@njit()
def _least_lots(params: Any, context: Any) -> int:
    """Return the fewest lots that the venue takes on spot."""
    if params.spot == 0 or params.min_notional == 0.0:
        return 1
    unit = params.lot_size * params.contract_size * context.best_bid
    return max(1, int(np.ceil(params.min_notional / unit - _EPS)))


@njit()
def _is_dust(state: Any, params: Any, context: Any) -> bool:
    """Return whether the venue would refuse to take what is left of a spot position."""
    if params.check_notional == 0 or params.spot == 0:
        return False
    lots = state.local_lots if state.breaker == HALTED else state.held_lots
    value = abs(lots) * params.lot_size * params.contract_size * context.best_bid
    return bool(value < params.min_notional * (1.0 - 1e-9))
