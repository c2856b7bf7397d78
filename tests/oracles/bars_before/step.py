"""The one transition: `step` takes a market event, matches own orders, books fills, and asks the model for quotes.

`advance` drives it over a tape. Everything here is compiled, allocates nothing, and stops when an output buffer is
full, so that a caller can empty it and go on: the same call serves a backtest of years and one live event.

Kernel and helpers stand in one file on purpose: numba compiles them into one function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from marketmakerl.backtesting.exchange.account import add_volume, allowed_lots, is_rejecting, move_tier, must_liquidate
from marketmakerl.backtesting.exchange.funding import at_funding
from marketmakerl.backtesting.layout import (
    FILL,
    ORDER,
    SAMPLE,
    Status,
    array_type,
    record_type,
)
from marketmakerl.core.clock import NS_PER_DAY
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import book_fill, equity, mark_to, pay_funding, position_qty, start, unit_value
from marketmakerl.data.tape import Kind
from marketmakerl.models.contract import CONTEXT_TYPE, QUOTE_TYPE
from marketmakerl.risk.breakers import check_equity, check_executions, note_answer, trip
from marketmakerl.risk.exits import end_exit, enter, look_at_exits
from marketmakerl.risk.limits import RISK
from marketmakerl.risk.market_watch import note_fill, watch
from marketmakerl.risk.order_checks import lots_within_limit, why_not_sent
from marketmakerl.risk.overlays import apply_overlays, earns_its_fee, why_silent
from marketmakerl.risk.rates import count_execution, count_message
from marketmakerl.risk.reasons import Control, Purpose, Reason
from marketmakerl.risk.state import HALTED
from oracles.bars_before.records import PARAMS, STATE

# Room that one event may need in each buffer.
MAX_ROWS_PER_EVENT = 8

_BAR_OPEN, _BAR_LOW, _BAR_HIGH, _BAR_CLOSE, _GAP = (
    int(kind) for kind in (Kind.BAR_OPEN, Kind.BAR_LOW, Kind.BAR_HIGH, Kind.BAR_CLOSE, Kind.GAP)
)
_LIVE, _PARTIALLY_FILLED, _FILLED = int(Status.LIVE), int(Status.PARTIALLY_FILLED), int(Status.FILLED)
_CANCELLED, _EXPIRED, _REJECTED = int(Status.CANCELLED), int(Status.EXPIRED), int(Status.REJECTED)
_NONE, _REQUOTE, _WITHDRAWN = int(Reason.NONE), int(Reason.REQUOTE), int(Reason.WITHDRAWN)
_NO_CASH, _NO_INVENTORY = int(Reason.NO_CASH), int(Reason.NO_INVENTORY)
_MIN_NOTIONAL, _PRICE = int(Reason.MIN_NOTIONAL), int(Reason.PRICE)
_ON_GAP, _END = int(Reason.GAP), int(Reason.END)
_HALTED, _EDGE, _EXIT = int(Reason.HALTED), int(Reason.EDGE), int(Reason.EXIT)
_INVENTORY_LIMIT, _RATE = int(Reason.INVENTORY_LIMIT), int(Reason.RATE)
_MARGIN, _LIQUIDATED, _VENUE_DOWN = int(Reason.MARGIN), int(Reason.LIQUIDATED), int(Reason.VENUE_DOWN)
_BY_VENUE = int(Control.LIQUIDATED)
_FOR_EXIT, _FOR_BREAKER, _FOR_VENUE = int(Purpose.EXIT), int(Purpose.LIQUIDATION), int(Purpose.VENUE)
_DAY_NS = int(NS_PER_DAY)
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
def _fill(
    state: Any,
    order: Any,
    params: Any,
    risk: Any,
    fills: Any,
    orders: Any,
    ts_ns: int,
    lots: int,
    price_ticks: int,
    maker: bool,
) -> None:
    """Fill `lots` of an order, against the mark that stood before the event."""
    price = price_ticks * params.tick_size
    if params.n_tiers > 0:
        move_tier(state, params, ts_ns)
    rate = state.venue.maker_rate if maker else state.venue.taker_rate
    if state.venue.liquidated != 0:
        rate += params.liquidation_rate
    fee = book_fill(state.ledger, order.side, lots, price, rate, maker)
    if params.n_tiers > 0:
        add_volume(state, params, lots, price)
        move_tier(state, params, ts_ns)
    order.filled_lots += lots
    state.filled_lots += lots
    note_fill(state.risk, risk, ts_ns, order.side, lots, price)
    enter(state.risk, ts_ns, order.side, lots, lots * params.lot_size * unit_value(state.ledger, price))
    count_execution(state.risk, ts_ns)
    check_executions(state.risk, risk, ts_ns)
    row = fills[state.n_fills]
    row.ts_ns = ts_ns
    row.order_id = order.order_id
    row.side = order.side
    row.price_ticks = price_ticks
    row.qty_lots = lots
    row.fee = fee
    row.mid = state.ledger.mark
    row.maker = int(maker)
    row.position_lots = state.ledger.position_lots
    row.rested_ns = ts_ns - order.live_ns
    row.purpose = order.purpose
    state.n_fills += 1
    if order.filled_lots == order.qty_lots:
        _close_order(state, order, orders, ts_ns, _FILLED, order.reason)
    else:
        order.status = _PARTIALLY_FILLED


@njit()
def _submit(state: Any, order: Any, ts_ns: int, side: int, price_ticks: int, lots: int, purpose: int) -> None:
    """Make `order` a new live order."""
    order.order_id = state.next_order_id
    state.next_order_id += 1
    order.side = side
    order.price_ticks = price_ticks
    order.qty_lots = lots
    order.filled_lots = 0
    order.submitted_ns = ts_ns
    order.live_ns = ts_ns
    order.closed_ns = 0
    order.status = _LIVE
    order.reason = _NONE
    order.purpose = purpose
    state.orders += 1
    state.submitted_lots += lots
    count_message(state.risk, ts_ns, True)


@njit()
def _pull(state: Any, own: Any, orders: Any, ts_ns: int, reason: int) -> None:
    """Cancel both quotes."""
    for i in range(2):
        if own[i].order_id != 0:
            _close_order(state, own[i], orders, ts_ns, _CANCELLED, reason)
            count_message(state.risk, ts_ns, False)


@njit()
def _take_off(
    state: Any,
    own: Any,
    params: Any,
    risk: Any,
    fills: Any,
    orders: Any,
    ts_ns: int,
    held: int,
    reason: int,
    purpose: int,
) -> bool:
    """Cancel everything and close `held` lots as taker, at the mark less the declared slippage and the taker fee.

    Bars show no depth to slice it by. Returns whether that went through: a venue that is down takes no order.
    """
    _pull(state, own, orders, ts_ns, reason)
    lots = abs(held)
    side = -1 if held > 0 else 1
    exact = state.ledger.mark * (1.0 + side * risk.liquidation_slippage_bps * 1e-4) / params.tick_size
    price_ticks = int(np.ceil(exact - _EPS)) if side > 0 else max(int(np.floor(exact + _EPS)), 1)
    # Spot that was sold below its target is bought back as far as the cash goes.
    lots = _affordable_lots(state, params, side, price_ticks * params.tick_size, lots, state.venue.taker_rate)
    if lots == 0:
        return True
    if purpose != _FOR_VENUE and is_rejecting(params, ts_ns):
        return False
    _submit(state, own[0], ts_ns, side, price_ticks, lots, purpose)
    if reason == _LIQUIDATED:
        own[0].reason = reason
    _fill(state, own[0], params, risk, fills, orders, ts_ns, lots, price_ticks, False)
    if purpose != _FOR_EXIT:
        state.risk.liquidations += 1
    return True


@njit()
def _look_at_margin(
    state: Any, own: Any, params: Any, risk: Any, fills: Any, orders: Any, ts_ns: int, price: float
) -> None:
    """Let the venue look at the margin at one price of a bar, and liquidate there."""
    if state.ledger.position_lots == 0 or not must_liquidate(state, params, price):
        return
    mark_to(state.ledger, price)
    state.venue.liquidated = 1
    trip(state.risk, ts_ns, _BY_VENUE, HALTED, 0.0, np.nan)
    state.risk.halted = 1
    _take_off(state, own, params, risk, fills, orders, ts_ns, state.ledger.position_lots, _LIQUIDATED, _FOR_VENUE)


@njit()
def _funding_until(state: Any, params: Any, last_ns: int) -> None:
    """Book the funding payments due up to `last_ns`; before the first mark there is nothing to pay on."""
    rows = at_funding(params.funding_at)
    while state.venue.funding_next < params.funding_rows and rows[state.venue.funding_next].ts_ns <= last_ns:
        if state.ledger.start_mark > 0.0:
            pay_funding(state.ledger, rows[state.venue.funding_next].rate)
        state.venue.funding_next += 1


@njit()
def _affordable_lots(state: Any, params: Any, side: int, price: float, lots: int, rate: float) -> int:
    """Return how many of `lots` the balances allow: spot neither sells what it does not hold nor buys on credit."""
    if params.spot == 0:
        return lots
    if side < 0:
        return min(lots, max(state.ledger.position_lots, 0))
    unit_cost = price * params.contract_size * params.lot_size * (1.0 + max(rate, 0.0))
    return min(lots, int(max(np.floor(state.ledger.cash / unit_cost + _EPS), 0.0)))


@njit()
def _price_of(state: Any, params: Any, side: int, offset: float) -> tuple[int, int]:
    """Return the price of a quote in ticks, and why there is none, or 0.

    Bids round down, asks up; a quote through the market is placed one tick short of it, as a passive order.
    """
    exact = (state.ledger.mark - side * offset) / params.tick_size
    touch = np.rint(state.ledger.mark / params.tick_size)
    # A price beyond 2**53 ticks has no whole ticks left to round to.
    if not abs(exact) < 9e15:
        return 0, _PRICE
    tick = min(np.floor(exact + _EPS), touch - 1.0) if side > 0 else max(np.ceil(exact - _EPS), touch + 1.0)
    return int(tick), _NONE if tick >= 1.0 else _PRICE


@njit()
def _why_not_sent(state: Any, own: Any, params: Any, risk: Any, ts_ns: int, index: int, tick: int, lots: int) -> int:
    """Return why a new order may not be sent in the place of what rests on a side, or 0."""
    lot_value = params.lot_size * abs(unit_value(state.ledger, state.ledger.mark))
    # The cancel of the order that it replaces is still to be sent.
    out_there = int(own[0].order_id != 0) + int(own[1].order_id != 0)
    return why_not_sent(
        state.risk, risk, ts_ns, 1 - 2 * index, tick * params.tick_size, lots, state.ledger.mark, lot_value,
        state.ledger.start_equity,
        params.order_lots, state.risk.held_lots, out_there, 1,
    )  # fmt: skip


@njit()
def _quote_side(state: Any, own: Any, params: Any, risk: Any, orders: Any, ts_ns: int, index: int) -> None:
    """Bring one side's resting order in line with what is wanted there."""
    order = own[index]
    side = 1 - 2 * index
    reason = state.risk.want_reason[index]
    price_ticks, lots = 0, 0
    if reason == _NONE:
        price_ticks, reason = _price_of(state, params, side, state.risk.want_offset[index])
    if reason == _NONE and side * state.risk.held_lots >= 0:
        # Where it will stand decides what it can earn, not where the model wished it; getting rid of risk may cost.
        distance = side * (state.ledger.mark - price_ticks * params.tick_size)
        if not earns_its_fee(state.risk, risk, distance, state.venue.maker_rate * state.ledger.mark, state.ledger.mark):
            reason = _EDGE
    if reason == _NONE:
        wanted = state.risk.want_lots[index]
        price = price_ticks * params.tick_size
        lots = _affordable_lots(state, params, side, price, wanted, state.venue.maker_rate)
        if params.leverage > 0.0:
            lots = allowed_lots(state, params, side, price, state.ledger.mark, lots)
        unit = 1.0 if params.inverse else price
        too_small = lots * params.lot_size * params.contract_size * unit < params.min_notional * (1.0 - 1e-9)
        if lots < wanted and (lots < 1 or too_small):
            reason = _NO_CASH if side > 0 else _NO_INVENTORY
            if params.spot == 0:
                reason = _MARGIN
        elif too_small:
            reason = _MIN_NOTIONAL
    if reason == _NONE:
        lot_value = params.lot_size * abs(unit_value(state.ledger, state.ledger.mark))
        held, budget = state.risk.held_lots, state.ledger.start_equity
        lots = min(lots, lots_within_limit(state.risk, risk, side, held, 0, lot_value, budget))
        if lots < 1:
            reason = _INVENTORY_LIMIT
    stays = order.order_id != 0 and order.price_ticks == price_ticks and order.qty_lots >= lots
    if reason == _NONE and not stays:
        reason = _why_not_sent(state, own, params, risk, ts_ns, index, price_ticks, lots)
    state.quote_reason[index] = reason
    if order.order_id != 0:
        if reason == _NONE and stays:
            # Unchanged, or cut in size: it keeps its order and its place. Grown: it does not.
            cut = order.qty_lots - order.filled_lots - lots
            if cut > 0 and not is_rejecting(params, ts_ns):
                order.qty_lots -= cut
                state.submitted_lots -= cut
            return
        _close_order(state, order, orders, ts_ns, _CANCELLED, _REQUOTE if reason == _NONE else reason)
        count_message(state.risk, ts_ns, False)
    if reason != _NONE:
        state.suppressed[reason] += 1
        return
    _submit(state, order, ts_ns, side, price_ticks, lots, 0)
    rejected = is_rejecting(params, ts_ns)
    note_answer(state.risk, risk, ts_ns, rejected)
    if rejected:
        _close_order(state, order, orders, ts_ns, _REJECTED, _VENUE_DOWN)


@njit()
def _look_at_limits(
    state: Any, own: Any, params: Any, risk: Any, fills: Any, orders: Any, ts_ns: int, mid: float
) -> int:
    """Watch the market and look at every limit; act on what is due; return why nothing may be quoted, or 0."""
    watch(state.risk, risk, ts_ns, mid, ts_ns)
    worth = abs(state.risk.held_lots) * params.lot_size * abs(unit_value(state.ledger, mid))
    if ts_ns % _DAY_NS == 0:
        # A close at midnight is the last moment of a day before it is the first of the next.
        check_equity(state.risk, risk, ts_ns - 1, equity(state.ledger), state.ledger.start_equity, worth)
    check_equity(state.risk, risk, ts_ns, equity(state.ledger), state.ledger.start_equity, worth)
    if state.risk.breaker == HALTED:
        if state.risk.halted == 0:
            lots = state.ledger.position_lots
            gone = _take_off(state, own, params, risk, fills, orders, ts_ns, lots, _HALTED, _FOR_BREAKER)
            state.risk.halted = int(gone)
    else:
        held_value = state.risk.held_lots * params.lot_size * unit_value(state.ledger, mid)
        look_at_exits(state.risk, risk, ts_ns, held_value, state.ledger.start_equity)
        if state.risk.exiting != 0 and _take_off(
            state, own, params, risk, fills, orders, ts_ns, state.risk.held_lots, _EXIT, _FOR_EXIT
        ):
            end_exit(state.risk, risk, ts_ns)
    return int(why_silent(state.risk, risk, ts_ns, mid, 0.0))


@njit()
def _decide(
    state: Any,
    own: Any,
    params: Any,
    risk: Any,
    context: Any,
    model: Any,
    model_params: Any,
    fills: Any,
    orders: Any,
    ts_ns: int,
) -> None:
    """Breakers, then the model's quote at the local mid, then the overlays, then the orders."""
    mid = state.ledger.mark
    state.decisions += 1
    reason = _look_at_limits(state, own, params, risk, fills, orders, ts_ns, mid)
    if reason != _NONE:
        _pull(state, own, orders, ts_ns, reason)
        for i in range(2):
            state.quote_reason[i] = reason
            state.suppressed[reason] += 1
        return
    context.ts_ns = ts_ns
    context.mid = mid
    context.best_bid = mid
    context.best_ask = mid
    context.inventory = position_qty(state.ledger)
    context.q = (state.ledger.position_lots - params.target_lots) / params.order_lots
    context.tick_size = params.tick_size
    context.maker_fee = state.venue.maker_rate * mid
    context.time_left_s = np.inf
    if np.isfinite(params.session_s):
        elapsed_s = (ts_ns - state.first_ns) / _NS_PER_S
        context.time_left_s = params.session_s - elapsed_s % params.session_s
    bid_offset, ask_offset = model(context, model_params)
    state.risk.want_offset[0] = bid_offset
    state.risk.want_offset[1] = ask_offset
    for i in range(2):
        state.risk.want_lots[i] = params.order_lots
        state.risk.want_reason[i] = _WITHDRAWN if np.isnan(state.risk.want_offset[i]) else _NONE
    lot_value = params.lot_size * abs(unit_value(state.ledger, mid))
    apply_overlays(state.risk, risk, ts_ns, mid, state.risk.held_lots, lot_value, state.ledger.start_equity)
    _quote_side(state, own, params, risk, orders, ts_ns, 0)
    _quote_side(state, own, params, risk, orders, ts_ns, 1)


@njit()
def _sample(state: Any, samples: Any, ts_ns: int) -> None:
    row = samples[state.n_samples]
    row.ts_ns = ts_ns
    row.equity = equity(state.ledger)
    row.cash = state.ledger.cash
    row.position_lots = state.ledger.position_lots
    row.mid = state.ledger.mark
    state.n_samples += 1


@njit()
def step(
    state: Any,
    own: Any,
    params: Any,
    risk: Any,
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
    state.last_ns = ts_ns
    price = price_ticks * params.tick_size
    if params.funding_rows > 0:
        _funding_until(state, params, ts_ns - 1)
    if state.ledger.start_mark == 0.0:
        state.first_ns = ts_ns
        start(state.ledger, price)
        if params.n_tiers > 0:
            move_tier(state, params, ts_ns)
        state.risk.peak_equity = state.ledger.start_equity
        state.risk.day = ts_ns // _DAY_NS
        state.risk.day_equity = state.ledger.start_equity
        state.risk.held_lots = state.ledger.position_lots - params.target_lots
        state.risk.held_value = state.risk.held_lots * params.lot_size * unit_value(state.ledger, price)
        state.risk.held_since_ns = ts_ns
        _sample(state, samples, ts_ns)
    if kind == _BAR_LOW or kind == _BAR_HIGH:
        order = own[0] if kind == _BAR_LOW else own[1]
        if order.order_id != 0 and order.side * (order.price_ticks - price_ticks) >= 1:
            can_trade = int(np.floor(qty_lots * params.bar_volume_share + _EPS))
            lots = min(order.qty_lots - order.filled_lots, can_trade)
            if lots <= 0:
                state.starved += 1
            else:
                _fill(state, order, params, risk, fills, orders, ts_ns, lots, order.price_ticks, True)
    elif kind == _BAR_OPEN:
        state.bars += 1
        if own[0].order_id != 0 and own[1].order_id != 0:
            state.two_sided += 1
    elif kind == _BAR_CLOSE:
        mark_to(state.ledger, price)
        if params.funding_rows > 0:
            _funding_until(state, params, ts_ns)
        if params.leverage > 0.0:
            _look_at_margin(state, own, params, risk, fills, orders, ts_ns, price)
        _decide(state, own, params, risk, context, model, model_params, fills, orders, ts_ns)
        _sample(state, samples, ts_ns)
    elif kind == _GAP:
        state.gaps += 1
        _pull(state, own, orders, ts_ns, _ON_GAP)
    if params.leverage > 0.0 and (kind == _BAR_OPEN or kind == _BAR_LOW or kind == _BAR_HIGH):
        _look_at_margin(state, own, params, risk, fills, orders, ts_ns, price)


HALT_SIGNATURE = types.void(
    record_type(STATE),
    array_type(ORDER),
    record_type(PARAMS),
    record_type(RISK),
    array_type(FILL),
    array_type(ORDER),
    array_type(SAMPLE),
    types.int64,
)


@njit(HALT_SIGNATURE)
def act_on_halt(
    state: Any, own: Any, params: Any, risk: Any, fills: Any, orders: Any, samples: Any, ts_ns: int
) -> None:
    """Cancel everything and liquidate now, at the last mark, not at the next close; needs `MAX_ROWS_PER_EVENT` rows."""
    if state.risk.breaker == HALTED and state.risk.halted == 0 and state.ledger.start_mark > 0.0:
        lots = state.ledger.position_lots
        gone = _take_off(state, own, params, risk, fills, orders, ts_ns, lots, _HALTED, _FOR_BREAKER)
        state.risk.halted = int(gone)
        _sample(state, samples, ts_ns)  # no close may follow that would say what it cost


FINISH_SIGNATURE = types.void(record_type(STATE), array_type(ORDER), array_type(ORDER), types.int64)


@njit(FINISH_SIGNATURE)
def finish(state: Any, own: Any, orders: Any, ts_ns: int) -> None:
    """End the session: whatever still rests expires."""
    for i in range(2):
        if own[i].order_id != 0:
            _close_order(state, own[i], orders, ts_ns, _EXPIRED, _END)


ADVANCE_SIGNATURE = types.boolean(
    record_type(STATE),
    array_type(ORDER),
    record_type(PARAMS),
    record_type(RISK),
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
    risk: Any,
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
    """Step through the events from `state.row`; return False if a buffer filled up first, True at the end.

    Args:
        state: STATE record, carried from call to call.
        own: ORDER[2], the resting bid and ask.
        params: PARAMS record.
        risk: RISK record.
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
            state, own, params, risk, context, model, model_params, fills, orders, samples,
            ts_ns[i], price_ticks[i], qty_lots[i], kind[i],
        )  # fmt: skip
    state.row = len(ts_ns)
    return True
