"""What happens at the exchange: requests that arrive, trades and quotes that meet own orders, and how they fill."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from marketmakerl.backtesting.book.levels import drop_empty, far_next, is_known, level_lots, write_level
from marketmakerl.backtesting.exchange.account import free_cash, initial_margin, is_rejecting, margin_carries, unit_cost
from marketmakerl.backtesting.exchange.fills import best_own, fill, go_live, leave
from marketmakerl.backtesting.exchange.order_life import end_order, move_to
from marketmakerl.backtesting.exchange.own_levels import link, unlink
from marketmakerl.backtesting.exchange.queue import ahead_after, ahead_after_leaving
from marketmakerl.backtesting.exchange.self_trade import affordable_lots, free_lots, meet_own, meets_own
from marketmakerl.backtesting.layout import (
    LOTS_MASK,
    NAMED,
    NEVER,
    SLOT_BITS,
    SLOT_MASK,
    STALE,
    UNKNOWN_AHEAD,
    Action,
    Answer,
    Mode,
    OrderType,
    Status,
    at_int,
    at_own,
    at_requests,
)
from marketmakerl.backtesting.wire.messages import answer
from marketmakerl.core.jit import njit
from marketmakerl.risk.reasons import Reason

_LIVE, _PARTIAL, _FILLED = int(Status.LIVE), int(Status.PARTIALLY_FILLED), int(Status.FILLED)
_CANCELLED, _REJECTED, _EXPIRED = int(Status.CANCELLED), int(Status.REJECTED), int(Status.EXPIRED)
_LIMIT, _POST_ONLY, _IOC, _MARKET = (int(kind) for kind in OrderType)
_SUBMIT, _CANCEL = int(Action.SUBMIT), int(Action.CANCEL)
_ACCEPTED, _ENDED, _REFUSED = int(Answer.ACCEPTED), int(Answer.ENDED), int(Answer.REFUSED)
_CHANGED = int(Answer.CHANGED)
_GAP_MODE = int(Mode.GAP)
_NONE, _REQUOTE, _GAP, _PRICE = int(Reason.NONE), int(Reason.REQUOTE), int(Reason.GAP), int(Reason.PRICE)
_NO_CASH, _NO_INVENTORY = int(Reason.NO_CASH), int(Reason.NO_INVENTORY)
_WOULD_TAKE, _NO_LIQUIDITY = int(Reason.POST_ONLY), int(Reason.NO_LIQUIDITY)
_MIN_NOTIONAL, _PRICE_BAND = int(Reason.MIN_NOTIONAL), int(Reason.PRICE_BAND)
_MARGIN, _LIQUIDATED = int(Reason.MARGIN), int(Reason.LIQUIDATED)
_VENUE_DOWN, _REDUCE_ONLY = int(Reason.VENUE_DOWN), int(Reason.REDUCE_ONLY)
_EPS = 1e-9
_TICK_EPS = 1e-6  # of a tick: float noise


@njit()
def fill_through(state: Any, memory: Any, params: Any, side: int, limit: int, lots: int, ts_ns: int) -> int:
    """Fill own orders at `limit` (signed) or better at their own prices; return what is left of `lots`."""
    while lots > 0 and state.own.best[side] >= limit:
        slot = best_own(state, memory, side, limit)
        order = at_own(memory.own)[np.uint64(slot)]
        take = min(order.qty_lots - order.filled_lots, lots)
        fill(state, memory, params, slot, ts_ns, take, order.price_ticks, True)
        lots -= take
    return lots


@njit()
def trade(state: Any, memory: Any, params: Any, side: int, tick: int, lots: int, ts_ns: int) -> None:
    """Let a trade that hit `side` meet own orders: those it went through, then those in the queue at its price."""
    signed = tick if side == 0 else -tick
    left = fill_through(state, memory, params, side, signed + 1, lots, ts_ns)
    if left == 0 or state.own.best[side] < signed:
        return
    own, live = at_own(memory.own), at_int(memory.live)
    sign = 1 - 2 * side
    used, after = 0, np.int64(-1)
    while True:
        # The next oldest at this price. A fill moves the list, so it is searched anew: there are few.
        slot, seq = -1, np.int64(NEVER)
        for i in range(state.own.n_live):
            order = own[live[i]]
            if order.side == sign and order.price_ticks == tick and after < order.rest_seq < seq:
                slot, seq = live[i], order.rest_seq
        if slot < 0:
            return
        after = seq
        order = own[slot]
        order.traded_lots += left
        if order.ahead_lots >= UNKNOWN_AHEAD:
            continue
        can = int(math.floor(left - order.ahead_lots - used + _EPS))
        order.ahead_lots = max(0.0, order.ahead_lots - left)
        if can > 0:
            take = min(order.qty_lots - order.filled_lots, can)
            used += take
            fill(state, memory, params, slot, ts_ns, take, tick, True)


@njit()
def move_linked(memory: Any, params: Any, first: int, old: int, new: int) -> None:
    """Move the own orders of one level's list (`first`: slot + 1 of the oldest) after it went from `old` to `new`."""
    own = at_own(memory.own)
    while first > 0:
        order = own[np.uint64(first - 1)]
        order.ahead_lots = ahead_after(params, order.ahead_lots, old, new, order.traded_lots)
        order.traded_lots = 0
        first = order.next


@njit()
def _move_fifo(state: Any, memory: Any, side: int, tick: int, old: int, new: int, row: int) -> None:
    """Move own orders up by who it was that left. Apart, so that it costs the other models one comparison."""
    own, live = at_own(memory.own), at_int(memory.live)
    since_ns: Any = np.int64(-1)
    if memory.since != 0 and row >= 0:
        since_ns = at_int(memory.since)[row]
    for i in range(state.own.n_live):
        order = own[live[i]]
        if order.price_ticks == tick and order.side == 1 - 2 * side:
            order.ahead_lots = ahead_after_leaving(
                order.ahead_lots, old, new, order.traded_lots, since_ns, order.rested_ns
            )
            order.traded_lots = 0


@njit()
def move_queue(state: Any, memory: Any, params: Any, side: int, tick: int, old: int, new: int, row: int) -> None:
    """Move own orders at a level up the queue after row `row` (-1: none) took the level from `old` to `new` lots."""
    if state.own.live_side[side] == 0:
        return
    if params.queue == 3:
        _move_fifo(state, memory, side, tick, old, new, row)
        return
    if 0 <= tick - state.book.low_ticks < (1 << state.book.window_bits):
        size = 1 << state.book.window_bits
        first = at_int(memory.book)[side * size + (tick & (size - 1))] & SLOT_MASK
        move_linked(memory, params, first, old, new)
        return
    own, live = at_own(memory.own), at_int(memory.live)
    for i in range(state.own.n_live):
        order = own[live[i]]
        if order.price_ticks == tick and order.side == 1 - 2 * side:
            order.ahead_lots = ahead_after(params, order.ahead_lots, old, new, order.traded_lots)
            order.traded_lots = 0


@njit()
def change_level(state: Any, memory: Any, params: Any, side: int, tick: int, new: int, ts_ns: int, row: int) -> None:
    """Set a recorded level, with all that follows for own orders on both sides: the slow path."""
    old = level_lots(state.book, memory, side, tick)
    if new > old:
        limit = -tick if side == 0 else tick
        if state.own.best[1 - side] >= limit:
            fill_through(state, memory, params, 1 - side, limit, new - old, ts_ns)
    write_level(state.book, memory, side, tick, new)
    move_queue(state, memory, params, side, tick, old, new, row)


@njit()
def best_becomes(state: Any, memory: Any, params: Any, side: int, tick: int, lots: int, ts_ns: int) -> None:
    """Take a quote of the best price: what was better is gone."""
    signed = tick if side == 0 else -tick
    while state.book.best[side] > signed:
        change_level(state, memory, params, side, abs(state.book.best[side]), 0, ts_ns, -1)
    change_level(state, memory, params, side, tick, lots, ts_ns, -1)
    state.book.known[side] = min(state.book.known[side], signed)
    _nobody_else(state, memory, side, signed + 1)


@njit()
def _nobody_else(state: Any, memory: Any, side: int, limit: int) -> None:
    """Let no own order at `limit` (signed) or better wait behind more than is displayed: the book there is known."""
    if state.own.best[side] < limit:
        return
    own, live = at_own(memory.own), at_int(memory.live)
    sign = 1 - 2 * side
    for i in range(state.own.n_live):
        order = own[live[i]]
        if order.side == sign and sign * order.price_ticks >= limit:
            order.ahead_lots = min(order.ahead_lots, float(level_lots(state.book, memory, side, order.price_ticks)))


@njit()
def end_snapshot(state: Any, memory: Any, params: Any, ts_ns: int) -> None:
    """Remove what the snapshot did not name. Beyond its worst level nothing is known: queues there stay as they are."""
    book = state.book
    levels, ticks, quantities = at_int(memory.book), at_int(memory.far_ticks), at_int(memory.far_lots)
    size = 1 << book.window_bits
    mask = size - 1
    for side in range(2):
        named = book.named_worst[side]
        book.known[side] = named if named < NEVER else -NEVER
        begin = side * book.far_cap
        i = begin
        while i < begin + book.n_far[side]:
            if quantities[i] & STALE:
                _remove(state, memory, params, side, ticks[i], quantities[i] & LOTS_MASK)
            else:
                i += 1
        if book.worst[side] == NEVER:
            continue
        top = book.low_ticks + mask if side == 0 else -book.low_ticks
        first, last = max(book.worst[side], top - mask), min(book.best[side], top)
        for signed in range(first, last + 1):
            tick = signed if side == 0 else -signed
            level = levels[side * size + (tick & mask)]
            if level & NAMED == 0 and level >> SLOT_BITS != 0:
                _remove(state, memory, params, side, tick, level >> SLOT_BITS)
        # Nothing is left beyond what was named: the next snapshot need not look there.
        book.worst[side] = max(named, top - mask)
    for side in range(2):
        _forget_beyond(state, memory, side)
        _nobody_else(state, memory, side, book.known[side])
    state.counts.snapshots += 1


@njit()
def _forget_beyond(state: Any, memory: Any, side: int) -> None:
    """Forget what rows have said of levels beyond the snapshot: it no longer holds, and none of them is left."""
    book = state.book
    drop_empty(book, memory, side)
    known = book.known[side]
    if known == -NEVER:
        book.named_low[side] = -NEVER
        return
    levels = at_int(memory.book)
    size = 1 << book.window_bits
    mask = size - 1
    top = book.low_ticks + mask if side == 0 else -book.low_ticks
    for signed in range(max(book.named_low[side], top - mask), min(known - 1, top) + 1):
        place = side * size + ((signed if side == 0 else -signed) & mask)
        if levels[place] >> SLOT_BITS == 0:
            levels[place] &= SLOT_MASK
    book.named_low[side] = known


@njit()
def _remove(state: Any, memory: Any, params: Any, side: int, tick: int, old: int) -> None:
    signed = tick if side == 0 else -tick
    write_level(state.book, memory, side, tick, 0)
    if signed >= state.book.known[side]:
        move_queue(state, memory, params, side, tick, old, 0, -1)


@njit()
def handle_request(state: Any, memory: Any, params: Any) -> None:
    """Let the next request reach the exchange."""
    requests = at_requests(memory.requests)
    row = requests[np.uint64(state.wire.request_first & state.wire.request_mask)]
    state.wire.request_first += 1
    state.wire.next_request_ns = NEVER
    if state.wire.request_first != state.wire.request_end:
        state.wire.next_request_ns = requests[np.uint64(state.wire.request_first & state.wire.request_mask)].arrive_ns
    slot, ts_ns = row.slot, row.arrive_ns
    order = at_own(memory.own)[np.uint64(slot)]
    order.in_flight -= 1
    if row.action == _SUBMIT:
        _arrive(state, memory, params, slot, ts_ns)
        return
    if order.status != _LIVE and order.status != _PARTIAL:
        state.counts.too_late += 1
        answer(state, memory, params, slot, ts_ns, _REFUSED, 0, 0, 0.0)
    elif row.action != _CANCEL and is_rejecting(params, ts_ns):
        _refuse_replace(state, memory, params, slot, ts_ns)
    elif row.action == _CANCEL or row.qty_lots <= order.filled_lots:
        leave(state, memory, slot, ts_ns)
        end_order(state, memory, params, slot, ts_ns, _CANCELLED, row.reason if row.action == _CANCEL else _REQUOTE)
        answer(state, memory, params, slot, ts_ns, _ENDED, 0, 0, 0.0)
    else:
        _change(state, memory, params, slot, ts_ns, row.price_ticks, row.qty_lots)


@njit()
def _crosses(state: Any, side: int, price_ticks: int) -> bool:
    """Return whether a buy (+1) or sell (-1) at this price would meet the other side's recorded best."""
    best = state.book.best[1 if side > 0 else 0]
    return best > -NEVER and side * price_ticks >= -best


@njit()
def _balance_reason(state: Any, memory: Any, params: Any, side: int, price_ticks: int, lots: int) -> int:
    """Return why a spot account cannot carry a resting order, 0 if it can."""
    if params.spot == 0:
        return _NONE
    if side < 0:
        return _NONE if lots <= free_lots(state, memory) else _NO_INVENTORY
    cost = lots * unit_cost(params, price_ticks) * (1.0 + max(state.venue.maker_rate, 0.0))
    free = free_cash(state, memory, params)
    return _NONE if cost <= free + _EPS * max(1.0, state.ledger.cash) else _NO_CASH


@njit()
def _judged_price(state: Any, params: Any, side: int, order_type: int, price_ticks: int) -> float:
    """Return the price the venue's checks take: the limit; for a market order the best it meets, or else the mid."""
    if order_type != _MARKET:
        return float(price_ticks * params.tick_size)
    best = state.book.best[1 if side > 0 else 0]
    return float(abs(best) * params.tick_size if best > -NEVER else state.last_mid)


@njit()
def _below_minimum(
    state: Any, params: Any, side: int, order_type: int, price: float, lots: int, reduce_only: int
) -> bool:
    """Return whether the exchange finds an order too small. What only closes a perpetual position never is."""
    if params.check_notional == 0 or (price <= 0.0 and params.inverse == 0) or reduce_only != 0:
        return False
    if order_type == _MARKET and params.spot == 0 and 0 < lots <= -side * state.ledger.position_lots:
        return False
    unit = 1.0 if params.inverse else price
    return lots * params.lot_size * params.contract_size * unit < params.min_notional * (1.0 - _EPS)


@njit()
def _outside_band(state: Any, params: Any, price: float) -> bool:
    """Return whether a limit price is too far from the last mid; without one, none is."""
    mid = state.last_mid
    return mid > 0.0 and (price > mid * params.band_up * (1.0 + _EPS) or price < mid * params.band_down * (1.0 - _EPS))


@njit()
def _refusal(
    state: Any,
    memory: Any,
    params: Any,
    side: int,
    order_type: int,
    price_ticks: int,
    qty_lots: int,
    lots: int,
    held_margin: float,
    reduce_only: int,
) -> int:
    """Return why the account or the venue does not take an order, 0 if both do.

    Args:
        state: STATE record.
        memory: MEMORY record.
        params: PARAMS record.
        side: +1 or -1.
        order_type: an `OrderType`.
        price_ticks: its limit.
        qty_lots: its whole quantity, which the minimum is about.
        lots: what of it is still to be filled.
        held_margin: the initial margin before it came; a replace has taken the old order out since.
        reduce_only: 1 if it can only make the position smaller: no minimum applies to it, and it needs no margin.
    """
    price = _judged_price(state, params, side, order_type, price_ticks)
    if _below_minimum(state, params, side, order_type, price, qty_lots, reduce_only):
        return _MIN_NOTIONAL
    if order_type != _MARKET and _outside_band(state, params, price):
        return _PRICE_BAND
    if order_type == _LIMIT or order_type == _POST_ONLY:
        reason = _balance_reason(state, memory, params, side, price_ticks, lots)
        if reason != _NONE:
            return reason
    if params.leverage == 0.0 or reduce_only != 0:
        return _NONE
    return _NONE if margin_carries(state, memory, params, side, price, lots, held_margin) else _MARGIN


@njit()
def _cut_to_position(state: Any, order: Any) -> bool:
    """Cut a reduce-only order to what it may take off; return whether there is anything to take off."""
    held = -order.side * state.ledger.position_lots
    if held < 1:
        return False
    if order.qty_lots > held:
        state.counts.submitted_lots -= order.qty_lots - held
        order.qty_lots = held
    return True


@njit()
def _margin_now(state: Any, memory: Any, params: Any) -> float:
    return initial_margin(state, memory, params, state.last_mid, 1, 0.0, 0)


@njit()
def _reject(state: Any, memory: Any, params: Any, slot: int, ts_ns: int, reason: int) -> None:
    state.counts.rejected += 1
    end_order(state, memory, params, slot, ts_ns, _REJECTED, reason)
    answer(state, memory, params, slot, ts_ns, _ENDED, 0, 0, 0.0)


@njit()
def _arrive(state: Any, memory: Any, params: Any, slot: int, ts_ns: int) -> None:
    """Let a new order reach the exchange."""
    order = at_own(memory.own)[np.uint64(slot)]
    kind = order.order_type
    reason = _NONE
    if state.venue.liquidated != 0:
        reason = _LIQUIDATED
    elif is_rejecting(params, ts_ns):
        reason = _VENUE_DOWN
    elif state.book.mode == _GAP_MODE:
        reason = _GAP
    elif order.qty_lots < 1 or (kind != _MARKET and order.price_ticks < 1):
        reason = _PRICE
    elif order.reduce_only != 0 and not _cut_to_position(state, order):
        reason = _REDUCE_ONLY
    else:
        held = _margin_now(state, memory, params)
        lots = order.qty_lots
        reason = _refusal(
            state, memory, params, order.side, kind, order.price_ticks, lots, lots, held, order.reduce_only
        )
    crosses = kind == _MARKET or _crosses(state, order.side, order.price_ticks)
    crosses = crosses or meets_own(state, params, order.side, order.price_ticks)
    if reason == _NONE and crosses and kind == _POST_ONLY:
        reason = _WOULD_TAKE
    if reason != _NONE:
        _reject(state, memory, params, slot, ts_ns, reason)
        return
    if crosses:
        _take_any(state, memory, params, slot, ts_ns)
    if order.status >= _FILLED:
        return
    if kind == _IOC or kind == _MARKET:
        end_order(state, memory, params, slot, ts_ns, _EXPIRED, _NO_LIQUIDITY)
        answer(state, memory, params, slot, ts_ns, _ENDED, 0, 0, 0.0)
        return
    _rest(state, memory, params, slot, ts_ns)
    answer(state, memory, params, slot, ts_ns, _ACCEPTED, 0, 0, 0.0)


@njit()
def _rest(state: Any, memory: Any, params: Any, slot: int, ts_ns: int) -> None:
    """Join the queue at the order's price."""
    order = at_own(memory.own)[np.uint64(slot)]
    side = 0 if order.side > 0 else 1
    order.traded_lots = 0
    order.rested_ns = ts_ns
    order.ahead_lots = 0.0
    if params.queue != 2:
        if is_known(state.book, memory, side, order.price_ticks):
            order.ahead_lots = float(level_lots(state.book, memory, side, order.price_ticks))
        else:
            order.ahead_lots = UNKNOWN_AHEAD
    order.joined_behind_lots = order.ahead_lots
    if order.live_ns == 0:
        order.live_ns = ts_ns
    if order.filled_lots == 0:
        if order.status != _LIVE:
            move_to(order, _LIVE)
    elif order.status != _PARTIAL:
        move_to(order, _PARTIAL)
    go_live(state, memory, slot, ts_ns)


@njit()
def next_level(state: Any, memory: Any, side: int, signed: int) -> int:
    """Return the signed price of a side's best known level at or below `signed`, -NEVER if there is none.

    Where depth is recorded that is the best level of the book: beyond the last snapshot only what a row has stated
    since is in it. A walk passes over levels that nobody has stated: whatever rests there would have filled us at a
    better price, so what is not known makes taking dearer, not cheaper, and never impossible. Where only best prices
    are recorded the book holds what they once were, and nothing beyond the best is known. In a gap nothing is.
    """
    book = state.book
    if book.known[side] == NEVER:
        return -NEVER
    levels = at_int(memory.book)
    size = 1 << book.window_bits
    mask, base = size - 1, side * size
    inside = min(signed, book.low_ticks + mask if side == 0 else -book.low_ticks)
    last = book.worst[side]
    if side == 0:
        last = max(last, 1)  # the window may begin below the lowest price there is
    while inside >= last and (levels[base + (abs(inside) & mask)] >> SLOT_BITS) == 0:
        inside -= 1
    found = inside if inside >= last else -NEVER
    found = max(found, far_next(book, memory, side, signed))
    return found if found >= book.known[side] or book.depth_seen != 0 else -NEVER


@njit()
def levels_to_take(state: Any, memory: Any, params: Any, slot: int, price_ticks: int, lots: int) -> int:
    """Return how many rows an order may need in the outputs: one a level it takes from, two an own order it meets."""
    order = at_own(memory.own)[np.uint64(slot)]
    other = 1 if order.side > 0 else 0
    n = 2 * state.own.n_live if params.stp != 0 else 0
    if order.order_type == _POST_ONLY or not (order.order_type == _MARKET or _crosses(state, order.side, price_ticks)):
        return n
    signed = next_level(state, memory, other, state.book.best[other])
    while lots > 0 and signed > -NEVER and (order.order_type == _MARKET or order.side * price_ticks >= -signed):
        lots -= level_lots(state.book, memory, other, abs(signed))
        n += 1
        signed = next_level(state, memory, other, signed - 1)
    return n


@njit()
def _take(state: Any, memory: Any, params: Any, slot: int, ts_ns: int) -> None:
    """Take displayed liquidity level by level, as far as the limit, the known book and a spot balance reach.

    Where the venue looks out for self-trades, own orders in the way are met too, each after what its level shows.
    """
    order = at_own(memory.own)[np.uint64(slot)]
    other = 1 if order.side > 0 else 0
    signed = next_level(state, memory, other, state.book.best[other])
    while order.filled_lots < order.qty_lots:
        own = state.own.best[other] if params.stp != 0 else -NEVER
        best = max(own, signed)
        if best == -NEVER or (order.order_type != _MARKET and order.side * order.price_ticks < -best):
            return
        if own > signed:
            if not meet_own(state, memory, params, slot, other, ts_ns):
                return
            continue
        price_ticks = abs(signed)
        wanted = min(order.qty_lots - order.filled_lots, level_lots(state.book, memory, other, price_ticks))
        lots = affordable_lots(state, memory, params, order.side, price_ticks, wanted)
        if lots > 0:
            fill(state, memory, params, slot, ts_ns, lots, price_ticks, False)
        if lots < wanted:
            return
        signed = next_level(state, memory, other, signed - 1)


@njit()
def _take_any(state: Any, memory: Any, params: Any, slot: int, ts_ns: int) -> None:
    if params.bars != 0:
        _take_at_close(state, memory, params, slot, ts_ns)
    else:
        _take(state, memory, params, slot, ts_ns)


@njit()
def _take_at_close(state: Any, memory: Any, params: Any, slot: int, ts_ns: int) -> None:
    """Fill a taker whole at the last close less the declared slippage, no further than its limit and a spot balance."""
    order = at_own(memory.own)[np.uint64(slot)]
    side = order.side
    exact = state.last_mid * (1.0 + side * params.taker_slippage) / params.tick_size
    price_ticks = int(np.ceil(exact - _TICK_EPS)) if side > 0 else max(int(np.floor(exact + _TICK_EPS)), 1)
    if order.order_type != _MARKET:
        price_ticks = min(price_ticks, order.price_ticks) if side > 0 else max(price_ticks, order.price_ticks)
    lots = affordable_lots(state, memory, params, side, price_ticks, order.qty_lots - order.filled_lots)
    if lots > 0:
        fill(state, memory, params, slot, ts_ns, lots, price_ticks, False)


@njit()
def _change(state: Any, memory: Any, params: Any, slot: int, ts_ns: int, price_ticks: int, qty_lots: int) -> None:
    """Change a live order's price and total quantity; only less quantity at the same price keeps its place."""
    order = at_own(memory.own)[np.uint64(slot)]
    side, kind = order.side, order.order_type
    if price_ticks == order.price_ticks and qty_lots <= order.qty_lots:
        if _below_minimum(state, params, side, kind, price_ticks * params.tick_size, qty_lots, 0):
            _refuse_replace(state, memory, params, slot, ts_ns)
            return
        state.counts.submitted_lots -= order.qty_lots - qty_lots
        order.qty_lots = qty_lots
        answer(state, memory, params, slot, ts_ns, _CHANGED, qty_lots, price_ticks, 0.0)
        return
    crosses = _crosses(state, side, price_ticks) or meets_own(state, params, side, price_ticks)
    refused = price_ticks < 1 or state.book.mode == _GAP_MODE or (crosses and kind == _POST_ONLY)
    if not refused:
        held = _margin_now(state, memory, params)
        leave(state, memory, slot, ts_ns)
        lots = qty_lots - order.filled_lots
        refused = _refusal(state, memory, params, side, kind, price_ticks, qty_lots, lots, held, 0) != _NONE
        if refused:
            seq = order.rest_seq
            go_live(state, memory, slot, ts_ns)
            unlink(state, memory, slot)
            order.rest_seq = seq
            link(state, memory, slot)
    if refused:
        _refuse_replace(state, memory, params, slot, ts_ns)
        return
    state.counts.submitted_lots += qty_lots - order.qty_lots
    order.price_ticks = price_ticks
    order.qty_lots = qty_lots
    if crosses:
        _take_any(state, memory, params, slot, ts_ns)
    if order.status < _FILLED:
        _rest(state, memory, params, slot, ts_ns)
        answer(state, memory, params, slot, ts_ns, _CHANGED, order.qty_lots, price_ticks, 0.0)


@njit()
def _refuse_replace(state: Any, memory: Any, params: Any, slot: int, ts_ns: int) -> None:
    """Leave an order as it is, and say so."""
    order = at_own(memory.own)[np.uint64(slot)]
    state.counts.replace_rejected += 1
    answer(state, memory, params, slot, ts_ns, _REFUSED, order.qty_lots, order.price_ticks, 0.0)
