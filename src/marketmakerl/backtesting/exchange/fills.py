"""Own orders at the exchange: one comes to rest, leaves, fills. Every rule of matching ends in these."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.due import due_at
from marketmakerl.backtesting.exchange.account import add_volume, look_at_margin, move_tier
from marketmakerl.backtesting.exchange.order_life import end_order, move_to
from marketmakerl.backtesting.exchange.own_levels import link, unlink
from marketmakerl.backtesting.layout import FILL, FILLED, HORIZONS_NS, NEVER, Answer, Status, at_int, at_own, at_pending
from marketmakerl.backtesting.wire.messages import answer
from marketmakerl.core.clock import NS_PER_DAY
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import book_fill, mark_to, start
from marketmakerl.core.memory import viewer

at_fills = viewer(FILL)

_PARTIAL, _FILLED = int(Status.PARTIALLY_FILLED), int(Status.FILLED)
_FILL, _LAST_FILL = int(Answer.FILL), int(Answer.LAST_FILL)
_DAY_NS = int(NS_PER_DAY)


@njit()
def open_session(state: Any, params: Any, mid: float, ts_ns: int) -> None:
    """Fix where the run starts from, at the first mid; the maker follows with `begin_session`."""
    start(state.ledger, mid)
    state.highest_equity = state.ledger.start_equity
    state.first_ns = ts_ns
    state.due.sample_ns = ts_ns
    due_at(state, ts_ns)
    if params.n_tiers > 0:
        move_tier(state, params, ts_ns)
    look_at_margin(state, params, ts_ns)


@njit()
def keep_mid(state: Any, tick_size: float) -> None:
    """Take note of the mid that a whole message leaves behind, if there is one."""
    best = state.book.best
    if best[0] > -NEVER and best[1] > -NEVER:
        state.last_mid = (best[0] - best[1]) * 0.5 * tick_size


@njit()
def mark(state: Any, mid: float) -> None:
    """Move the ledger's mark to a mid, if there is one and it has moved."""
    if mid > 0.0 and mid != state.ledger.mark:
        mark_to(state.ledger, mid)


@njit()
def _set_own_best(state: Any, side: int, signed: int) -> None:
    state.own.best[side] = signed
    state.own.meets[1 - side] = -signed


@njit()
def go_live(state: Any, memory: Any, slot: int, ts_ns: int) -> None:
    """Enter a resting order into the list of live ones and into its level."""
    order = at_own(memory.own)[np.uint64(slot)]
    side = 0 if order.side > 0 else 1
    order.live_at = state.own.n_live
    at_int(memory.live)[state.own.n_live] = slot
    state.own.n_live += 1
    state.own.live_side[side] += 1
    order.rest_seq = state.own.next_seq
    state.own.next_seq += 1
    link(state, memory, slot)
    _set_own_best(state, side, max(state.own.best[side], order.side * order.price_ticks))
    if state.own.live_side[0] > 0 and state.own.live_side[1] > 0 and state.counts.two_sided_since < 0:
        state.counts.two_sided_since = ts_ns


@njit()
def leave(state: Any, memory: Any, slot: int, ts_ns: int) -> None:
    """Take an order out of the list of live ones and out of its level."""
    own, live = at_own(memory.own), at_int(memory.live)
    order = own[slot]
    side = 0 if order.side > 0 else 1
    unlink(state, memory, slot)
    state.own.n_live -= 1
    last = live[state.own.n_live]
    live[order.live_at] = last
    own[last].live_at = order.live_at
    state.own.live_side[side] -= 1
    if order.side * order.price_ticks == state.own.best[side]:
        best = -NEVER
        for i in range(state.own.n_live):
            other = own[live[i]]
            if other.side == order.side:
                best = max(best, other.side * other.price_ticks)
        _set_own_best(state, side, best)
    if state.counts.two_sided_since >= 0 and (state.own.live_side[0] == 0 or state.own.live_side[1] == 0):
        state.counts.two_sided_ns += ts_ns - state.counts.two_sided_since
        state.counts.two_sided_since = -1


@njit()
def fill(state: Any, memory: Any, params: Any, slot: int, ts_ns: int, lots: int, price_ticks: int, maker: bool) -> None:
    """Fill `lots` of an order, against the mid that stood before the message or request that caused it."""
    order = at_own(memory.own)[np.uint64(slot)]
    price = price_ticks * params.tick_size
    mid = state.last_mid if state.last_mid > 0.0 else price
    state.book.dirty |= FILLED
    if state.ledger.start_mark == 0.0:
        open_session(state, params, mid, ts_ns)
    mark(state, mid)
    if params.n_tiers > 0:
        move_tier(state, params, ts_ns)
    rate = state.venue.maker_rate if maker else state.venue.taker_rate
    if state.venue.liquidated != 0:
        rate += params.liquidation_rate
    fee = book_fill(state.ledger, order.side, lots, price, rate, maker)
    if params.n_tiers > 0:
        add_volume(state, params, lots, price)
        move_tier(state, params, ts_ns)
    look_at_margin(state, params, ts_ns)
    order.filled_lots += lots
    state.counts.filled_lots += lots
    number = state.ledger.fills - 1
    row = at_fills(memory.fills)[state.out.n_fills]
    row.ts_ns = ts_ns
    row.order_id = order.order_id
    row.side = order.side
    row.price_ticks = price_ticks
    row.qty_lots = lots
    row.fee = fee
    row.mid = mid
    row.maker = int(maker)
    row.position_lots = state.ledger.position_lots
    row.rested_ns = ts_ns - order.live_ns if order.live_ns > 0 else 0
    row.joined_behind_lots = order.joined_behind_lots
    row.purpose = order.purpose
    state.out.n_fills += 1
    if params.bars == 0:  # on bars the closes say what the mid was later
        later = at_pending(memory.pending)[state.pending_end & state.pending_mask]
        later.ts_ns = ts_ns
        later.number = number
        state.pending_end += 1
        due_ns = ts_ns + HORIZONS_NS[0]
        if due_ns < state.due.markout_ns:
            state.due.markout_ns = due_ns
            due_at(state, due_ns)
    whole = order.filled_lots == order.qty_lots
    if whole:
        if maker:
            leave(state, memory, slot, ts_ns)
        end_order(state, memory, params, slot, ts_ns, _FILLED, order.reason)
    else:
        move_to(order, _PARTIAL)
    answer(state, memory, params, slot, ts_ns, _LAST_FILL if whole else _FILL, lots, price_ticks, fee)


@njit()
def best_own(state: Any, memory: Any, side: int, limit: int) -> int:
    """Return the slot of the side's own order with the best price at or above `limit` (signed), the oldest of those."""
    own, live = at_own(memory.own), at_int(memory.live)
    found, best, seq = -1, limit, np.int64(NEVER)
    sign = 1 - 2 * side
    for i in range(state.own.n_live):
        order = own[live[i]]
        if order.side == sign:
            signed = sign * order.price_ticks
            if signed > best or (signed == best and order.rest_seq < seq):
                found, best, seq = live[i], signed, order.rest_seq
    return found
