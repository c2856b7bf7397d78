"""Flattening: what a halt or an exit does with quotes and inventory, and whether the model is asked at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.layout import Local, OrderType, at_int, at_own
from marketmakerl.backtesting.maker.order_gate import account_budget, open_lots, order_worth, taker_limit
from marketmakerl.backtesting.maker.orders import cancel, submit
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import unit_value
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
    state.local.settled = 0
    state.local.served = 0
    own, work = at_own(memory.own), at_int(memory.work)
    for side in range(2):
        state.local.quote_reason[side] = reason
        state.counts.suppressed[reason] += 1
        base = side * state.own.cap
        for i in range(base, base + state.own.n_work[side]):
            if own[work[i]].local == _WORKING:
                cancel(state, memory, params, work[i], reason)


@njit()
def may_ask_model(state: Any, memory: Any, params: Any, risk: Any, context: Any) -> bool:
    """Return whether the model is to be asked; if not, quotes are pulled, and inventory that is due is taken off."""
    reason = why_silent(state.risk, risk, state.now_ns, context.mid, context.best_ask - context.best_bid)
    if reason == _NONE:
        return True
    state.counts.decisions += 1
    pull_quotes(state, memory, params, reason)
    if state.risk.breaker == HALTED:
        if state.risk.halted == 0:
            state.risk.halted = 1
            state.risk.liquidations += int(state.local.lots != 0)
        _flatten(state, memory, params, risk, context, state.local.lots, _LIQUIDATION)
    elif state.risk.exiting != 0:
        if lots_to_go(state, params, risk, context.mid, context.best_bid, context.best_ask, state.risk.held_lots) == 0:
            if state.own.takers == 0 and state.own.n_work[0] + state.own.n_work[1] == 0:
                end_exit(state.risk, risk, state.now_ns)
                if params.bars != 0:  # the bar to come may be quoted
                    reason = why_silent(state.risk, risk, state.now_ns, context.mid, 0.0)
                    return bool(reason == _NONE)
        else:
            _flatten(state, memory, params, risk, context, state.risk.held_lots, _EXIT)
    return False


@njit()
def lots_to_go(state: Any, params: Any, risk: Any, mid: float, best_bid: float, best_ask: float, lots: int) -> int:
    """Return how many of `lots` (signed) the venue lets us take off next: 0 is the end, though some may be left.

    On a perpetual what brings the position nearer to zero may always be sent, as a reduce-only order. Everything else
    must be worth the venue's minimum, and on spot be paid for.
    """
    left, sign = abs(lots), -1 if lots > 0 else 1
    if params.spot == 0 and sign * state.local.lots < 0:
        return int(min(left, abs(state.local.lots)))
    if left == 0 or mid <= 0.0:
        return 0
    if params.spot != 0 and sign > 0:
        unit = best_ask * params.contract_size * params.lot_size * (1.0 + max(state.venue.taker_rate, 0.0))
        left = min(left, max(int(np.floor((state.local.cash + state.local.other_cash) / unit + _EPS)), 0))
    if params.check_notional != 0 and left < _least_lots(params, _judged(params, risk, mid, best_bid, best_ask, sign)):
        return 0
    return int(left)


@njit()
def _judged(params: Any, risk: Any, mid: float, best_bid: float, best_ask: float, sign: int) -> float:
    """Return the best price at which the venue may value an order that takes: its limit, if it has one."""
    if sign < 0:
        return best_bid
    kind, tick = taker_limit(params, risk, mid, best_bid, best_ask, sign)
    return best_ask if kind == _MARKET else float(tick * params.tick_size)


@njit()
def _least_lots(params: Any, price: float) -> int:
    """Return the fewest lots that are worth the venue's minimum at a price."""
    return max(1, int(np.ceil(params.min_notional * (1.0 - 1e-9) / order_worth(params, 1, price))))


@njit()
def _flatten(state: Any, memory: Any, params: Any, risk: Any, context: Any, lots: int, purpose: int) -> None:
    """Send a slice of what is to be taken off, as deep as the book shows; the next one once we know what came of it."""
    if lots == 0 or state.own.takers != 0:
        return
    if state.now_ns < state.risk.rejected_until_ns:
        return  # the venue rejects what is sent: the watch looks again every second
    if params.bars != 0 and state.own.n_work[0] + state.own.n_work[1] > 0:
        return  # their cancels are answered first: nothing happens within a close
    to_go = lots_to_go(state, params, risk, context.mid, context.best_bid, context.best_ask, lots)
    sign = -1 if lots > 0 else 1
    # Own orders of this side whose cancels are on their way may still be filled: no more than the rest is ours to take.
    to_go -= open_lots(state, memory, sign)
    if to_go < 1:
        return
    reduces = int(params.spot == 0 and sign * state.local.lots < 0)
    shown = state.seen.bid_lots if sign < 0 else state.seen.ask_lots
    lot_value = params.lot_size * abs(unit_value(state.ledger, context.mid))
    most = largest_order(risk, lot_value, account_budget(state), params.order_lots)
    if params.bars != 0:
        shown = most = to_go  # no depth to slice it by
    kind, tick = taker_limit(params, risk, context.mid, context.best_bid, context.best_ask, sign)
    piece = max(min(shown, most, to_go), 1)
    if reduces == 0 and params.min_notional > 0.0:
        least = _least_lots(params, _judged(params, risk, context.mid, context.best_bid, context.best_ask, sign))
        if params.check_notional != 0 and to_go < least:
            return  # of what is out there some will come back, or nothing is left to do
        piece = min(max(piece, least), to_go)
        if params.check_notional != 0 and 0 < to_go - piece < least:
            # What is left would be too small to be sent.
            piece = to_go if to_go < 2 * least else to_go - least
        if kind == _IOC and sign < 0 and params.check_notional != 0 and params.inverse == 0:
            # The venue values it at its limit.
            enough = params.min_notional / order_worth(params, piece, params.tick_size)
            tick = max(tick, min(int(np.ceil(enough - _EPS)), state.seen.bid))
    price = tick * params.tick_size if kind == _IOC else context.mid
    out_there = state.own.n_work[0] + state.own.n_work[1]
    if risk.check_self_match != 0 and state.own.n_work[1 if sign > 0 else 0] > 0:
        return  # own quotes of the other side are still out there: their cancels are on their way
    held = state.local.lots if purpose == _LIQUIDATION else state.risk.held_lots
    why = why_not_sent(
        state.risk, risk, state.now_ns, sign, price, piece, context.mid, lot_value, account_budget(state),
        max(params.order_lots, piece), held, out_there, 0,
    )  # fmt: skip
    if why == _NONE:
        submit(state, memory, params, sign, tick, piece, kind, purpose, reduces)
