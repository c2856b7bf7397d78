"""Own orders: their states, the way of a request to the exchange, and the way of an answer back."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.layout import (
    NEVER,
    Action,
    Answer,
    Local,
    OrderType,
    Status,
    at_answers,
    at_int,
    at_own,
)
from marketmakerl.backtesting.wire.messages import request
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import unit_value
from marketmakerl.risk.breakers import check_executions, note_answer, trip
from marketmakerl.risk.exits import enter
from marketmakerl.risk.market_watch import note_fill
from marketmakerl.risk.rates import count_execution
from marketmakerl.risk.reasons import Control, Purpose, Reason
from marketmakerl.risk.state import HALTED

_NEW, _LIVE, _PARTIAL, _FILLED, _CANCELLED, _REJECTED, _EXPIRED = (int(status) for status in Status)
_FREE, _SENT, _WORKING, _CANCELLING, _CLOSED = (int(local) for local in Local)
_SUBMIT, _CANCEL, _REPLACE = (int(action) for action in Action)
_ACCEPTED, _FILL, _LAST_FILL, _ENDED, _REFUSED, _REDUCED, _CHANGED = (int(answer) for answer in Answer)
_LIQUIDATED, _BY_VENUE = int(Reason.LIQUIDATED), int(Control.LIQUIDATED)
_IOC, _MARKET = int(OrderType.IOC), int(OrderType.MARKET)
_VENUE = int(Purpose.VENUE)


@njit()
def submit(
    state: Any,
    memory: Any,
    params: Any,
    side: int,
    price_ticks: int,
    qty_lots: int,
    order_type: int,
    purpose: int = 0,
    reduce_only: int = 0,
) -> None:
    """Send a new order. There must be a free slot."""
    state.own.n_free -= 1
    slot = at_int(memory.free)[state.own.n_free]
    order = at_own(memory.own)[np.uint64(slot)]
    order.order_id = state.own.next_order_id
    state.own.next_order_id += 1
    order.side = side
    order.price_ticks = price_ticks
    order.qty_lots = qty_lots
    order.filled_lots = 0
    order.submitted_ns = state.now_ns
    order.live_ns = 0
    order.closed_ns = 0
    order.status = _NEW
    order.reason = 0
    order.order_type = order_type
    order.joined_behind_lots = 0.0
    order.local = _SENT
    order.local_price_ticks = price_ticks
    order.local_qty_lots = qty_lots
    order.local_filled_lots = 0
    order.known_lots = qty_lots
    order.changes = 0
    order.change_lots = 0
    order.most_lots = qty_lots
    order.in_flight = 0
    order.purpose = purpose
    order.reduce_only = reduce_only
    order.taker = int(order_type == _IOC or order_type == _MARKET)
    if order.taker:
        state.own.takers += 1
    else:
        _enter_work(state, memory, slot)
    state.counts.orders += 1
    state.counts.submitted_lots += qty_lots
    request(state, memory, params, slot, _SUBMIT, 0, price_ticks, qty_lots)


@njit()
def cancel(state: Any, memory: Any, params: Any, slot: int, reason: int) -> None:
    """Send a cancel."""
    at_own(memory.own)[np.uint64(slot)].local = _CANCELLING
    state.counts.cancels += 1
    request(state, memory, params, slot, _CANCEL, reason, 0, 0)


@njit()
def replace(state: Any, memory: Any, params: Any, slot: int, price_ticks: int, qty_lots: int) -> None:
    """Send a change of price and total quantity.

    What is wanted of the order counts as changed from now on; what it may be filled for does so once the answer has
    come (`most_lots`): until then the exchange may fill all of it.
    """
    order = at_own(memory.own)[np.uint64(slot)]
    _set_local(state, memory, slot, price_ticks, qty_lots)
    order.change_lots = qty_lots if order.changes == 0 else max(order.change_lots, qty_lots)
    order.changes += 1
    order.most_lots = max(order.known_lots, order.change_lots)
    state.counts.replaces += 1
    request(state, memory, params, slot, _REPLACE, 0, price_ticks, qty_lots)


@njit()
def _set_local(state: Any, memory: Any, slot: int, price_ticks: int, qty_lots: int) -> None:
    """Note an order's price and quantity; a new price moves it in the list of what we have out there."""
    order = at_own(memory.own)[np.uint64(slot)]
    order.local_qty_lots = qty_lots
    if order.local_price_ticks == price_ticks:
        return
    if order.taker == 0:
        _leave_work(state, memory, slot)
    order.local_price_ticks = price_ticks
    if order.taker == 0:
        _enter_work(state, memory, slot)


@njit()
def _take_change(state: Any, memory: Any, slot: int, price_ticks: int, qty_lots: int) -> None:
    """Note what the exchange has made of a replace: what the order is now, whether it was changed or not."""
    order = at_own(memory.own)[np.uint64(slot)]
    order.changes -= 1
    order.known_lots = qty_lots
    if order.changes == 0:
        order.most_lots = qty_lots
        _set_local(state, memory, slot, price_ticks, qty_lots)
    else:
        order.most_lots = max(qty_lots, order.change_lots)


@njit()
def _take_reduction(memory: Any, slot: int, lots: int) -> None:
    """Note that an order has lost `lots`; replaces under way that will reach it later say how many it has then."""
    order = at_own(memory.own)[np.uint64(slot)]
    order.known_lots -= lots
    if order.changes == 0:
        order.local_qty_lots = order.known_lots
        order.most_lots = order.known_lots
    else:
        order.most_lots = max(order.known_lots, order.change_lots)


@njit()
def _enter_work(state: Any, memory: Any, slot: int) -> None:
    """Enter an order into its side's list of what we have out there: best price first, then oldest."""
    own, work = at_own(memory.own), at_int(memory.work)
    order = own[slot]
    side = 0 if order.side > 0 else 1
    base = side * state.own.cap
    signed = order.side * order.local_price_ticks
    i = base + state.own.n_work[side]
    while i > base and own[work[i - 1]].side * own[work[i - 1]].local_price_ticks < signed:
        work[i] = work[i - 1]
        i -= 1
    work[i] = slot
    state.own.n_work[side] += 1


@njit()
def _leave_work(state: Any, memory: Any, slot: int) -> None:
    work = at_int(memory.work)
    side = 0 if at_own(memory.own)[np.uint64(slot)].side > 0 else 1
    base = side * state.own.cap
    i = base
    while work[i] != slot:
        i += 1
    state.own.n_work[side] -= 1
    for j in range(i, base + state.own.n_work[side]):
        work[j] = work[j + 1]


@njit()
def take_answer(state: Any, memory: Any, params: Any, risk: Any) -> None:
    """Take note of the next answer, and free the order's slot once nothing of it is under way any more."""
    local = state.local
    answers = at_answers(memory.answers)
    row = answers[np.uint64(state.wire.answer_first & state.wire.answer_mask)]
    state.wire.answer_first += 1
    state.wire.next_answer_ns = NEVER
    if state.wire.answer_first != state.wire.answer_end:
        state.wire.next_answer_ns = answers[np.uint64(state.wire.answer_first & state.wire.answer_mask)].arrive_ns
    slot, what = row.slot, row.what
    order = at_own(memory.own)[np.uint64(slot)]
    order.in_flight -= 1
    # What we count on already changes nothing: that an order is accepted, or that one which we are cancelling is gone.
    expected = what == _ACCEPTED or (what == _ENDED and order.local == _CANCELLING and row.reason != _LIQUIDATED)
    if local.served == 0 or not expected:
        local.settled = 0
        local.served = 0
    if what == _ACCEPTED or what == _CHANGED:
        if what == _CHANGED:
            _take_change(state, memory, slot, row.price_ticks, row.lots)
        elif order.local == _SENT:
            order.local = _WORKING
        if params.risk_on != 0:
            note_answer(state.risk, risk, state.now_ns, False)
    elif what == _FILL or what == _LAST_FILL:
        order.local_filled_lots += row.lots
        price = row.price_ticks * params.tick_size
        state.seen.changed = 1
        local.fill_reported = 1
        if params.shared != 0 and params.spot == 0:
            _move_open_value(state, order.side, row.lots, row.lots * params.lot_size * unit_value(state.ledger, price))
        local.lots += order.side * row.lots
        local.cash -= order.side * row.lots * params.lot_size * unit_value(state.ledger, price) + row.fee
        if params.risk_on != 0:
            note_fill(state.risk, risk, state.now_ns, order.side, row.lots, price)
            value = row.lots * params.lot_size * unit_value(state.ledger, price)
            enter(state.risk, state.now_ns, order.side, row.lots, value)
            count_execution(state.risk, state.now_ns)
            check_executions(state.risk, risk, state.now_ns)
    elif what == _REDUCED:
        _take_reduction(memory, slot, row.lots)
    elif what == _REFUSED and row.lots > 0:
        _take_change(state, memory, slot, row.price_ticks, row.lots)
    if what == _LAST_FILL or what == _ENDED:
        order.local = _CLOSED
        if row.reason == _LIQUIDATED and trip(state.risk, state.now_ns, _BY_VENUE, HALTED, 0.0, np.nan):
            state.risk.halted = 1
            if params.shared != 0:
                state.due.limit_ns = min(state.due.limit_ns, state.now_ns)
        if params.risk_on != 0 and row.status == _REJECTED and order.purpose != _VENUE:
            note_answer(state.risk, risk, state.now_ns, True)
        if order.taker:
            state.own.takers -= 1
        else:
            _leave_work(state, memory, slot)
    if order.local == _CLOSED and order.in_flight == 0:
        order.local = _FREE
        at_int(memory.free)[state.own.n_free] = slot
        state.own.n_free += 1


@njit()
def _move_open_value(state: Any, side: int, lots: int, value: float) -> None:
    """Book a fill we hear of into the value at which the position was entered, at average cost."""
    held = state.local.lots
    if held * side >= 0:
        state.local.open_value += side * value
        return
    closing = min(lots, abs(held))
    state.local.open_value += side * value * ((lots - closing) / lots) - state.local.open_value * (closing / abs(held))


@njit()
def slot_by_id(state: Any, memory: Any, order_id: int) -> int:
    """Return the slot of an order that may still be changed as far as we know, or -1."""
    own = at_own(memory.own)
    for slot in range(state.own.cap):
        if own[slot].order_id == order_id and own[slot].local != _FREE and own[slot].local != _CLOSED:
            return slot
    return -1
