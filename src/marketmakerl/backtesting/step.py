"""The one transition: `step` takes a market event, matches own orders, books fills, and asks the model for quotes.

`advance` drives it over a tape. Everything here is compiled, allocates nothing, and stops when an output buffer is
full, so that a caller can empty it and go on: the same call serves a backtest of years and one live event.

Kernel and helpers stand in one file on purpose: numba compiles them into one function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from marketmakerl.backtesting.records import (
    FILL,
    ORDER,
    PARAMS,
    SAMPLE,
    STATE,
    Reason,
    Status,
    array_type,
    record_type,
)
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import book_fill, equity, mark_to, position_qty, start
from marketmakerl.data.tape import Kind
from marketmakerl.models.contract import CONTEXT_TYPE, QUOTE_TYPE

# Room that one event may need in each buffer.
MAX_ROWS_PER_EVENT = 4

_BAR_OPEN, _BAR_LOW, _BAR_HIGH, _BAR_CLOSE, _GAP = (int(kind) for kind in Kind)
_LIVE, _PARTIALLY_FILLED, _FILLED, _CANCELLED, _EXPIRED = (int(status) for status in Status)
_NONE, _REQUOTE, _WITHDRAWN, _NO_CASH, _NO_INVENTORY, _MIN_NOTIONAL, _PRICE, _ON_GAP, _END = (int(r) for r in Reason)
_NS_PER_S = 1e9
_EPS = 1e-6  # of a tick or a lot: float noise


@njit()
def _close_order(state: Any, order: Any, orders: Any, ts_ns: int, status: int, reason: int) -> None:
    """Move an own order to a terminal state and into the order log."""
    order.closed_ns = ts_ns
    order.status = status
    order.reason = reason
    orders[state.n_orders] = order
    state.n_orders += 1
    order.order_id = 0


@njit()
def _fill(state: Any, order: Any, params: Any, fills: Any, orders: Any, ts_ns: int, lots: int, fee_rate: float) -> None:
    """Fill `lots` of a resting order at its limit, against the mark that stood before the event."""
    price = order.price_ticks * params.tick_size
    fee = book_fill(state, order.side, lots, price, fee_rate, True)
    order.filled_lots += lots
    state.filled_lots += lots
    row = fills[state.n_fills]
    row.ts_ns = ts_ns
    row.order_id = order.order_id
    row.side = order.side
    row.price_ticks = order.price_ticks
    row.qty_lots = lots
    row.fee = fee
    row.mid = state.mark
    row.maker = 1
    row.position_lots = state.position_lots
    state.n_fills += 1
    if order.filled_lots == order.qty_lots:
        _close_order(state, order, orders, ts_ns, _FILLED, _NONE)
    else:
        order.status = _PARTIALLY_FILLED


@njit()
def _affordable_lots(state: Any, params: Any, side: int, price: float) -> int:
    """Return the largest order the balances allow: spot neither sells what it does not hold nor buys on credit."""
    if params.spot == 0:
        return params.order_lots
    if side < 0:
        return min(params.order_lots, max(state.position_lots, 0))
    unit_cost = price * params.contract_size * params.lot_size * (1.0 + max(params.maker_rate, 0.0))
    return min(params.order_lots, int(max(np.floor(state.cash / unit_cost + _EPS), 0.0)))


@njit()
def _quote_side(state: Any, order: Any, params: Any, orders: Any, ts_ns: int, side: int, offset: float) -> None:
    """Bring one side's resting order in line with what the model wants."""
    reason = _NONE
    price_ticks, lots = 0, 0
    if np.isnan(offset):
        reason = _WITHDRAWN
    else:
        # Bids round down, asks up; a quote through the market is placed one tick short of it, as a passive order.
        # A price beyond 2**53 ticks has no whole ticks left to round to.
        exact = (state.mark - side * offset) / params.tick_size
        touch = np.rint(state.mark / params.tick_size)
        if not abs(exact) < 9e15:
            reason = _PRICE
        elif side > 0:
            price_ticks = int(min(np.floor(exact + _EPS), touch - 1.0))
        else:
            price_ticks = int(max(np.ceil(exact - _EPS), touch + 1.0))
        if price_ticks < 1:
            reason = _PRICE
    if reason == _NONE:
        price = price_ticks * params.tick_size
        lots = _affordable_lots(state, params, side, price)
        unit = 1.0 if params.inverse else price
        if lots < 1:
            reason = _NO_CASH if side > 0 else _NO_INVENTORY
        elif lots * params.lot_size * params.contract_size * unit < params.min_notional * (1.0 - 1e-9):
            # A cut order says what cut it; a full one that is too small is the venue's minimum.
            reason = _MIN_NOTIONAL
            if lots < params.order_lots:
                reason = _NO_CASH if side > 0 else _NO_INVENTORY
    if order.order_id != 0:
        remaining = order.qty_lots - order.filled_lots
        if reason == _NONE and order.price_ticks == price_ticks and remaining <= lots:
            return  # unchanged: it keeps its order and its place
        _close_order(state, order, orders, ts_ns, _CANCELLED, _REQUOTE if reason == _NONE else reason)
    if reason != _NONE:
        state.suppressed[reason] += 1
        return
    order.order_id = state.next_order_id
    state.next_order_id += 1
    order.side = side
    order.price_ticks = price_ticks
    order.qty_lots = lots
    order.filled_lots = 0
    order.submitted_ns = ts_ns
    order.closed_ns = 0
    order.status = _LIVE
    order.reason = _NONE
    state.orders += 1
    state.submitted_lots += lots


@njit()
def _decide(
    state: Any, own: Any, params: Any, context: Any, model: Any, model_params: Any, orders: Any, ts_ns: int
) -> None:
    """Ask the model for a quote at the local mid and place it."""
    context.ts_ns = ts_ns
    context.mid = state.mark
    context.best_bid = state.mark
    context.best_ask = state.mark
    context.inventory = position_qty(state)
    context.q = (state.position_lots - params.target_lots) / params.order_lots
    context.tick_size = params.tick_size
    context.maker_fee = params.maker_rate * state.mark
    if np.isfinite(params.session_s):
        elapsed_s = (ts_ns - state.first_ns) / _NS_PER_S
        context.time_left_s = params.session_s - elapsed_s % params.session_s
    else:
        context.time_left_s = np.inf
    bid_offset, ask_offset = model(context, model_params)
    state.decisions += 1
    _quote_side(state, own[0], params, orders, ts_ns, 1, bid_offset)
    _quote_side(state, own[1], params, orders, ts_ns, -1, ask_offset)


@njit()
def _sample(state: Any, samples: Any, ts_ns: int) -> None:
    row = samples[state.n_samples]
    row.ts_ns = ts_ns
    row.equity = equity(state)
    row.cash = state.cash
    row.position_lots = state.position_lots
    row.mid = state.mark
    state.n_samples += 1


@njit()
def step(
    state: Any,
    own: Any,
    params: Any,
    context: Any,
    model: Any,
    model_params: Any,
    fills: Any,
    orders: Any,
    samples: Any,
    ts_ns: int,
    price_ticks: int,
    qty_lots: int,
    kind: int,
) -> None:
    """Take one event. Rule 8: orders placed at a close rest through the next bar and fill where it trades through."""
    if state.start_mark == 0.0:
        state.first_ns = ts_ns
        start(state, price_ticks * params.tick_size)
        _sample(state, samples, ts_ns)
    if kind == _BAR_LOW or kind == _BAR_HIGH:
        order = own[0] if kind == _BAR_LOW else own[1]
        if order.order_id != 0 and order.side * (order.price_ticks - price_ticks) >= 1:
            can_trade = int(np.floor(qty_lots * params.bar_volume_share + _EPS))
            lots = min(order.qty_lots - order.filled_lots, can_trade)
            if lots > 0:
                _fill(state, order, params, fills, orders, ts_ns, lots, params.maker_rate)
    elif kind == _BAR_OPEN:
        state.bars += 1
        if own[0].order_id != 0 and own[1].order_id != 0:
            state.two_sided += 1
    elif kind == _BAR_CLOSE:
        mark_to(state, price_ticks * params.tick_size)
        _decide(state, own, params, context, model, model_params, orders, ts_ns)
        _sample(state, samples, ts_ns)
    elif kind == _GAP:
        state.gaps += 1
        for i in range(2):
            if own[i].order_id != 0:
                _close_order(state, own[i], orders, ts_ns, _CANCELLED, _ON_GAP)


@njit()
def finish(state: Any, own: Any, orders: Any, ts_ns: int) -> None:
    """End the session: whatever still rests expires."""
    for i in range(2):
        if own[i].order_id != 0:
            _close_order(state, own[i], orders, ts_ns, _EXPIRED, _END)


ADVANCE_SIGNATURE = types.boolean(
    record_type(STATE),
    array_type(ORDER),
    record_type(PARAMS),
    CONTEXT_TYPE,
    QUOTE_TYPE,
    types.float64[::1],
    array_type(FILL),
    array_type(ORDER),
    array_type(SAMPLE),
    types.Array(types.int64, 1, "C", readonly=True),
    types.Array(types.int64, 1, "C", readonly=True),
    types.Array(types.int64, 1, "C", readonly=True),
    types.Array(types.int8, 1, "C", readonly=True),
)


@njit(ADVANCE_SIGNATURE)
def advance(
    state: Any,
    own: Any,
    params: Any,
    context: Any,
    model: Any,
    model_params: Any,
    fills: Any,
    orders: Any,
    samples: Any,
    ts_ns: Any,
    price_ticks: Any,
    qty_lots: Any,
    kind: Any,
) -> bool:
    """Step through the tape from `state.row`; return False if a buffer filled up first, True at the end.

    Args:
        state: STATE record, carried from call to call.
        own: ORDER[2], the resting bid and ask.
        params: PARAMS record.
        context: CONTEXT record, scratch.
        model: the model's compiled quote function.
        model_params: float64[n], its parameters.
        fills: FILL[m] output; rows [0, state.n_fills) are used. The caller resets the counter after emptying it.
        orders: ORDER[m] output, likewise.
        samples: SAMPLE[m] output, likewise.
        ts_ns: int64[n] event times.
        price_ticks: int64[n].
        qty_lots: int64[n].
        kind: int8[n].
    """
    room = min(len(fills), len(orders), len(samples)) - MAX_ROWS_PER_EVENT
    for i in range(state.row, len(ts_ns)):
        if max(state.n_fills, state.n_orders, state.n_samples) > room:
            state.row = i
            return False
        step(
            state, own, params, context, model, model_params, fills, orders, samples,
            ts_ns[i], price_ticks[i], qty_lots[i], kind[i],
        )  # fmt: skip
    state.row = len(ts_ns)
    finish(state, own, orders, ts_ns[-1])
    return True
