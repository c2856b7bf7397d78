"""A decision on ticks: what we see, what the model wants, what the limits leave of it, and the requests that follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.layout import NEVER, Local, OrderType, at_int, at_own
from marketmakerl.backtesting.maker.local_view import is_two_sided
from marketmakerl.backtesting.maker.order_gate import account_budget, send_new, taker_limit
from marketmakerl.backtesting.maker.orders import cancel, replace
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import unit_value
from marketmakerl.risk.overlays import apply_overlays, earns_its_fee
from marketmakerl.risk.rates import may_send_change
from marketmakerl.risk.reasons import Reason

_WORKING, _CANCELLING = int(Local.WORKING), int(Local.CANCELLING)
_LIMIT, _POST_ONLY, _MARKET = int(OrderType.LIMIT), int(OrderType.POST_ONLY), int(OrderType.MARKET)
_NONE, _REQUOTE, _WITHDRAWN = int(Reason.NONE), int(Reason.REQUOTE), int(Reason.WITHDRAWN)
_NO_CASH, _NO_INVENTORY = int(Reason.NO_CASH), int(Reason.NO_INVENTORY)
_MIN_NOTIONAL, _PRICE, _EDGE = int(Reason.MIN_NOTIONAL), int(Reason.PRICE), int(Reason.EDGE)
_RATE = int(Reason.RATE)
_GAP, _NO_BOOK, _COOLDOWN = int(Reason.GAP), int(Reason.NO_BOOK), int(Reason.COOLDOWN)
_NS_PER_S = 1e9
_EPS = 1e-6  # of a tick or a lot: float noise


@njit()
def look(state: Any, params: Any, context: Any) -> int:
    """Write what we see now into the model's context; return 0, or why there is nothing to quote against."""
    context.ts_ns = state.now_ns
    if state.seen.changed != 0 or state.seen.sized != 0:
        if state.seen.changed != 0:
            state.local.settled = 0
        state.seen.changed = 0
        state.seen.sized = 0
        state.seen.reason = _write_view(state, params, context)
    if params.session_s < np.inf:
        context.time_left_s = params.session_s - ((state.now_ns - state.first_ns) / _NS_PER_S) % params.session_s
    context.bid_qty = params.order_qty
    context.ask_qty = params.order_qty
    context.take_qty = 0.0
    return int(state.seen.reason)


@njit()
def _write_view(state: Any, params: Any, context: Any) -> int:
    context.bids[context.instrument] = np.nan
    context.asks[context.instrument] = np.nan
    if state.seen.unknown:
        return _GAP
    if not is_two_sided(state, state.seen.bid, state.seen.ask):
        return _NO_BOOK
    bid, ask = state.seen.bid, -state.seen.ask
    mid = (bid + ask) * 0.5 * params.tick_size
    context.mid = mid
    context.best_bid = bid * params.tick_size
    context.best_ask = ask * params.tick_size
    context.bids[context.instrument] = context.best_bid
    context.asks[context.instrument] = context.best_ask
    context.best_bid_qty = state.seen.bid_lots * params.lot_size
    context.best_ask_qty = state.seen.ask_lots * params.lot_size
    if state.local.fill_reported != 0:
        state.local.fill_reported = 0
        context.inventory = state.local.lots * params.lot_size
        context.q = (state.local.lots - params.target_lots) / params.order_lots
    context.maker_fee = state.venue.maker_rate * mid
    return _NONE


@njit()
def unchanged(state: Any, params: Any, context: Any, bid_offset: float, ask_offset: float) -> bool:
    """Return whether deciding again can change nothing: same view, same wish, same orders, and nothing else to obey."""
    return (
        state.local.settled != 0
        and bid_offset == state.local.quote_offset[0]
        and ask_offset == state.local.quote_offset[1]
        and context.bid_qty == params.order_qty
        and context.ask_qty == params.order_qty
        and context.take_qty == 0.0
    )


@njit()
def stay(state: Any) -> None:
    """Count a decision that left everything as it was."""
    stay_for(state, 1)


@njit()
def stay_for(state: Any, decisions: int) -> None:
    """Count so many of them."""
    state.counts.decisions += decisions
    for side in range(2):
        if state.local.quote_reason[side] != _NONE:
            state.counts.suppressed[state.local.quote_reason[side]] += decisions


@njit()
def place(state: Any, memory: Any, params: Any, risk: Any, context: Any) -> None:
    """Bring the orders out there in line with what the model wants, within the limits."""
    state.counts.decisions += 1
    standard = context.bid_qty == params.order_qty and context.ask_qty == params.order_qty and context.take_qty == 0.0
    # Where nothing but the distances and the limits says what is wanted, to want the same again is soon done.
    simple = standard and params.simple != 0 and (params.risk_on == 0 or params.levels == 1)
    if simple and params.risk_on == 0 and state.local.served != 0 and _is_plain_wish(state, params, context):
        _keep(state, params)
        return
    for side in range(2):
        qty = context.bid_qty if side == 0 else context.ask_qty
        lots = params.order_lots
        if qty != params.order_qty:
            lots = int(np.floor(qty / params.lot_size + _EPS)) if qty < 9e15 * params.lot_size else 0
        state.risk.want_offset[side] = state.local.quote_offset[side]
        state.risk.want_lots[side] = lots * params.levels
        state.risk.want_reason[side] = (
            _NONE if lots > 0 and not np.isnan(state.local.quote_offset[side]) else _WITHDRAWN
        )
    if params.risk_on != 0:
        lot_value = params.lot_size * abs(unit_value(state.ledger, context.mid))
        budget = account_budget(state)
        apply_overlays(state.risk, risk, state.now_ns, context.mid, state.risk.held_lots, lot_value, budget)
        if simple and state.local.served != 0 and _is_wish(state, params, risk, context):
            _keep(state, params)
            _set_retry(state, _NONE)
            return
    sent = state.wire.request_end
    new_bids = _reconcile(state, memory, params, risk, context, 0)
    new_asks = _reconcile(state, memory, params, risk, context, 1)
    refused = _NONE
    if new_bids > 0:
        refused = _send_new(state, memory, params, risk, context, 0, new_bids)
    if new_asks > 0:
        refused = max(refused, _send_new(state, memory, params, risk, context, 1, new_asks))
    if context.take_qty != 0.0 and state.own.takers == 0:
        lots = int(np.floor(abs(context.take_qty) / params.lot_size + _EPS))
        if lots > 0:
            sign = 1 if context.take_qty > 0.0 else -1
            kind, tick = _MARKET, 0
            if params.risk_on != 0:
                kind, tick = taker_limit(params, risk, context.mid, context.best_bid, context.best_ask, sign)
            refused = max(refused, send_new(state, memory, params, risk, context, sign, tick, lots, kind))
    still = standard and state.wire.request_end == sent and refused in (_NONE, _RATE)
    state.local.served = int(simple and refused == _NONE and _is_served(state, memory, params, context))
    state.local.settled = int((still or state.local.served != 0) and (params.plain != 0 or params.decisions_meet == 0))
    if params.risk_on != 0:
        _set_retry(state, refused)


@njit()
def _set_retry(state: Any, refused: int) -> None:
    """Note when time alone changes what may be quoted: a cooldown ends, or there is room for messages again."""
    retry_ns = state.risk.rate_until_ns if refused == _RATE else NEVER
    for side in range(2):
        if state.risk.want_reason[side] == _COOLDOWN:
            retry_ns = min(retry_ns, state.risk.cooldown_until_ns[side])
    if retry_ns != state.due.retry_ns:
        state.due.retry_ns = retry_ns
        state.due.rest_ns = min(state.due.rest_ns, retry_ns)


@njit()
def _send_new(state: Any, memory: Any, params: Any, risk: Any, context: Any, side: int, count: int) -> int:
    """Send the new orders of a side; return 0 if all went, else why one did not."""
    want = at_int(memory.want)
    base = side * 2 * params.levels
    kind = _POST_ONLY if params.post_only else _LIMIT
    refused = _NONE
    for i in range(count):
        why = send_new(
            state, memory, params, risk, context, 1 - 2 * side, want[base + 2 * i], want[base + 2 * i + 1], kind
        )
        if why != _NONE:
            refused = why
    if refused != _NONE and state.own.n_work[side] == 0:
        state.local.quote_reason[side] = refused
        state.counts.suppressed[refused] += 1
    return refused


@njit()
def _keep(state: Any, params: Any) -> None:
    """Leave everything as it is: what is wanted is out there."""
    for side in range(2):
        if state.local.quote_reason[side] != _NONE:
            state.counts.suppressed[state.local.quote_reason[side]] += 1
    state.local.settled = int(params.plain != 0 or params.decisions_meet == 0)


@njit()
def _wish_of(params: Any, context: Any, side: int, offset: float, reason: int) -> int:
    """Return the price of a side's first level, 0 if there is none, or less, for the reason not to quote."""
    return -reason if reason != _NONE else _first_price(params, context, side, offset)


@njit()
def _is_plain_wish(state: Any, params: Any, context: Any) -> bool:
    """Return whether the model wants what it wanted last, and no limit has a say in it."""
    for side in range(2):
        offset = state.local.quote_offset[side]
        wish = -_WITHDRAWN if np.isnan(offset) else _first_price(params, context, side, offset)
        if wish != state.local.wish[side]:
            return False
    return True


@njit()
def _is_wish(state: Any, params: Any, risk: Any, context: Any) -> bool:
    """Return whether what the limits leave is what was wanted last, and each quote is still worth its risk."""
    for side in range(2):
        wish = _wish_of(params, context, side, state.risk.want_offset[side], state.risk.want_reason[side])
        if wish != state.local.wish[side] or state.risk.want_lots[side] != state.local.wish_lots[side]:
            return False
        if wish >= 1 and not _pays(state, params, risk, context, 1 - 2 * side, wish):
            return False
    return True


@njit()
def _is_served(state: Any, memory: Any, params: Any, context: Any) -> bool:
    """Note what is wanted, and return whether it is what is out there: to want it again would change nothing.

    Orders that we are cancelling do not count, unless one of them stands where another is wanted and holds it up.
    """
    own, work = at_own(memory.own), at_int(memory.work)
    far = (params.levels - 1) * params.level_step_ticks
    for side in range(2):
        reason = state.risk.want_reason[side]
        wish = _wish_of(params, context, side, state.risk.want_offset[side], reason)
        state.local.wish[side] = wish
        state.local.wish_lots[side] = state.risk.want_lots[side]
        if wish >= 1 and state.local.quote_reason[side] != _NONE:
            return False
        sign = 1 - 2 * side
        missing = params.levels if wish >= 1 else 0
        lots = state.risk.want_lots[side] // params.levels
        if side == 0 and wish >= 1 and wish <= far:
            return False
        base = side * state.own.cap
        for i in range(base, base + state.own.n_work[side]):
            order = own[np.uint64(work[i])]
            behind = sign * (wish - order.local_price_ticks)
            within = -params.requote_threshold_ticks <= behind <= far + params.requote_threshold_ticks
            if order.local == _CANCELLING:
                if within and wish >= 1:
                    return False
                continue
            missing -= 1
            if not within or not order.local_qty_lots - order.local_filled_lots <= lots <= order.local_qty_lots:
                return False
        # One too many is not wanted, and will be cancelled as soon as it is accepted.
        if missing != 0:
            return False
    return True


@njit()
def _pays(state: Any, params: Any, risk: Any, context: Any, sign: int, tick: int) -> bool:
    """Return whether a quote is worth its risk. Where it will stand decides that; getting rid of risk may cost."""
    if sign * state.risk.held_lots < 0:
        return True
    return bool(
        earns_its_fee(state.risk, risk, sign * (context.mid - tick * params.tick_size), context.maker_fee, context.mid)
    )


@njit()
def _first_price(params: Any, context: Any, side: int, offset: float) -> int:
    """Return the price of the side's first level in ticks, 0 if there is none. Bids round down, asks up."""
    sign = 1 - 2 * side
    exact = (context.mid - sign * offset) * params.ticks_per_price
    # A price beyond 2**53 ticks has no whole ticks left to round to.
    if not abs(exact) < 9e15:
        return 0
    if side == 0:
        tick = int(np.floor(exact + _EPS))
        if params.post_only:
            # Through the market we see is placed one tick short of it, as a passive order.
            tick = min(tick, int(np.rint(context.best_ask * params.ticks_per_price)) - 1)
        if params.grid_ticks > 1:
            tick = (tick // params.grid_ticks) * params.grid_ticks
    else:
        tick = int(np.ceil(exact - _EPS))
        if params.post_only:
            tick = max(tick, int(np.rint(context.best_bid * params.ticks_per_price)) + 1)
        if params.grid_ticks > 1:
            tick = -((-tick) // params.grid_ticks) * params.grid_ticks
    return max(tick, 0)


@njit()
def _unit_cost(state: Any, params: Any, tick: int) -> float:
    """Return the cash that a spot bid for one lot holds."""
    price = tick * params.tick_size
    return float(price * params.contract_size * params.lot_size * (1.0 + max(state.venue.maker_rate, 0.0)))


@njit()
def _may_quote(
    state: Any, params: Any, risk: Any, context: Any, side: int, tick: int, lots: int, used: float
) -> tuple[int, int]:
    """Return how many lots a level may have, or why none; `used` is what levels before it take of the balance."""
    if tick < 1:
        return 0, _PRICE
    price = tick * params.tick_size
    if params.risk_on != 0 and not _pays(state, params, risk, context, 1 - 2 * side, tick):
        return 0, _EDGE
    wanted = lots
    if params.spot != 0:
        if side == 1:
            lots = min(lots, max(state.local.lots - int(used), 0))
        else:
            free = state.local.cash + state.local.other_cash - used
            lots = min(lots, int(max(np.floor(free / _unit_cost(state, params, tick) + _EPS), 0.0)))
    if params.min_notional > 0.0:
        unit = 1.0 if params.inverse else price
        if lots * params.lot_size * params.contract_size * unit < params.min_notional * (1.0 - 1e-9):
            if lots < wanted:
                return 0, _NO_CASH if side == 0 else _NO_INVENTORY
            return 0, _MIN_NOTIONAL
    if lots < 1:
        return 0, _NO_CASH if side == 0 else _NO_INVENTORY
    return lots, _NONE


@njit()
def _reconcile(state: Any, memory: Any, params: Any, risk: Any, context: Any, side: int) -> int:
    """Walk the wanted levels and the orders out there, both best first; cancel what is not wanted any more.

    Returns how many new orders are to be sent; their prices and sizes are left in `want`.
    """
    own, work, want = at_own(memory.own), at_int(memory.work), at_int(memory.want)
    base = side * state.own.cap
    sign = 1 - 2 * side
    reason = state.risk.want_reason[side]
    tick = 0
    if reason == _NONE:
        tick = _first_price(params, context, side, state.risk.want_offset[side])
        if tick < 1:
            reason = _PRICE
    left = state.risk.want_lots[side]
    levels = params.levels
    n_work = state.own.n_work[side]
    per_level = left if levels == 1 else (left + levels - 1) // levels
    new, i, level, used, quoted = 0, 0, 0, 0.0, 0
    while reason == _NONE and level < levels and left > 0:
        lots, why = min(per_level, left), _NONE if tick >= 1 else _PRICE
        if not params.plain:
            lots, why = _may_quote(state, params, risk, context, side, tick, lots, used)
        if why != _NONE:
            if quoted == 0:
                state.local.quote_reason[side] = why
            if why == _PRICE:
                break
            level += 1
            tick -= sign * params.level_step_ticks
            continue
        quoted += 1
        left -= lots
        if params.spot != 0:
            used += lots * _unit_cost(state, params, tick) if side == 0 else lots
        # Orders out there that are better than this level and near no level are not wanted.
        matched = False
        while i < n_work:
            slot = work[base + i]
            order = own[slot]
            ahead = sign * (order.local_price_ticks - tick)
            if ahead < -params.requote_threshold_ticks:
                break
            i += 1
            if ahead <= params.requote_threshold_ticks and not _outgrown(order, lots):
                _trim(state, memory, params, risk, slot, lots)
                matched = True
                break
            if order.local == _WORKING:
                cancel(state, memory, params, slot, _REQUOTE)
                if ahead == 0 and params.bars == 0:
                    matched = True  # a grown order waits for the old one's end (bars: that comes before it)
                    break
        if not matched:
            want[side * 2 * levels + 2 * new] = tick
            want[side * 2 * levels + 2 * new + 1] = lots
            new += 1
        level += 1
        tick -= sign * params.level_step_ticks
    if reason != _NONE:
        state.local.quote_reason[side] = reason
    elif quoted > 0:
        state.local.quote_reason[side] = _NONE
    why_none = state.local.quote_reason[side]
    if quoted == 0:
        state.counts.suppressed[why_none] += 1
    while i < n_work:
        slot = work[base + i]
        if own[slot].local == _WORKING:
            cancel(state, memory, params, slot, why_none if quoted == 0 else _REQUOTE)
        i += 1
    return new


@njit()
def _outgrown(order: Any, lots: int) -> bool:
    """Return whether an order was sent for fewer lots than are wanted now: growing loses its place, so it goes."""
    return order.local == _WORKING and order.local_qty_lots < lots


@njit()
def _trim(state: Any, memory: Any, params: Any, risk: Any, slot: int, lots: int) -> None:
    """Cut an order to what is wanted; it keeps its place. Where there is no message left for that, it goes."""
    order = at_own(memory.own)[np.uint64(slot)]
    if order.local == _WORKING and order.local_qty_lots - order.local_filled_lots > lots:
        if may_send_change(state.risk, risk, state.now_ns, state.own.n_work[0] + state.own.n_work[1]):
            replace(state, memory, params, slot, order.local_price_ticks, order.local_filled_lots + lots)
        else:
            cancel(state, memory, params, slot, _RATE)
