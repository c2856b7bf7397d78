"""What the venue does of its own accord at a given time: funding, and the liquidation of an account without margin."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.book.levels import level_lots
from marketmakerl.backtesting.exchange.account import find_triggers, look_at_margin, must_liquidate
from marketmakerl.backtesting.exchange.fills import fill, leave, mark
from marketmakerl.backtesting.exchange.funding import at_funding
from marketmakerl.backtesting.exchange.matching import next_level
from marketmakerl.backtesting.exchange.order_life import end_order
from marketmakerl.backtesting.layout import NEVER, Answer, Local, OrderType, Status, at_int, at_own
from marketmakerl.backtesting.wire.messages import answer
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import pay_funding
from marketmakerl.risk.reasons import Purpose, Reason

# The venue's own order in the log: ours are numbered from 1.
LIQUIDATION_ID = -1
_NEW, _CANCELLED, _SENT = int(Status.NEW), int(Status.CANCELLED), int(Local.SENT)
_VENUE = int(Purpose.VENUE)
_EPS = 1e-6  # of a tick: float noise
_MARKET, _ENDED, _LIQUIDATED = int(OrderType.MARKET), int(Answer.ENDED), int(Reason.LIQUIDATED)


@njit()
def funding_is_due(state: Any, params: Any) -> None:
    """Let the position pay, at the mid; we know of it at once. Before the first mid there is nothing to pay on."""
    rows = at_funding(params.funding_at)
    rate = rows[state.venue.funding_next].rate
    state.venue.funding_next += 1
    state.due.funding_ns = NEVER
    if state.venue.funding_next < params.funding_rows:
        state.due.funding_ns = rows[state.venue.funding_next].ts_ns
    mid = state.last_mid
    if state.ledger.position_lots != 0 and state.ledger.start_mark > 0.0 and mid > 0.0:
        mark(state, mid)
        state.local.cash -= pay_funding(state.ledger, rate)
        look_at_margin(state, params, state.now_ns)


@njit()
def rows_to_liquidate(state: Any, memory: Any) -> int:
    """Return how many rows a liquidation may need in the outputs."""
    side = 0 if state.ledger.position_lots > 0 else 1
    lots, n = abs(state.ledger.position_lots), state.own.n_live + 2
    signed = next_level(state, memory, side, state.book.best[side])
    while lots > 0 and signed > -NEVER:
        lots -= level_lots(state.book, memory, side, abs(signed))
        n += 1
        signed = next_level(state, memory, side, signed - 1)
    return n


@njit()
def margin_is_due(state: Any, memory: Any, params: Any) -> None:
    """Look at the margin, now that everything of this time has happened: liquidate, or wait for the next trigger."""
    mid = state.last_mid
    if state.ledger.position_lots != 0 and mid > 0.0 and must_liquidate(state, params, mid):
        liquidate(state, memory, params, state.now_ns)
    state.due.margin_ns = NEVER
    find_triggers(state, params)


@njit()
def liquidate(state: Any, memory: Any, params: Any, ts_ns: int) -> None:
    """Cancel everything and close the position as taker; what the book cannot take goes at the last price reached."""
    _cancel_live(state, memory, params, ts_ns)
    state.venue.liquidated = 1
    state.risk.liquidations += 1
    side = -1 if state.ledger.position_lots > 0 else 1
    other = 0 if side < 0 else 1
    lots = abs(state.ledger.position_lots)
    slot = _venue_order(state, memory, side, lots, ts_ns)
    exact = state.last_mid * (1.0 + side * params.taker_slippage) * params.ticks_per_price
    price_ticks = max(1, int(np.floor(exact + _EPS) if side < 0 else np.ceil(exact - _EPS)))
    signed = next_level(state, memory, other, state.book.best[other])
    while lots > 0 and signed > -NEVER:
        price_ticks = abs(signed)
        taken = min(lots, level_lots(state.book, memory, other, price_ticks))
        fill(state, memory, params, slot, ts_ns, taken, price_ticks, False)
        lots -= taken
        signed = next_level(state, memory, other, signed - 1)
    if lots > 0:
        fill(state, memory, params, slot, ts_ns, lots, price_ticks, False)


@njit()
def _cancel_live(state: Any, memory: Any, params: Any, ts_ns: int) -> None:
    """Cancel what rests, the oldest first."""
    own, live = at_own(memory.own), at_int(memory.live)
    while state.own.n_live > 0:
        slot = live[0]
        for i in range(1, state.own.n_live):
            if own[live[i]].rest_seq < own[slot].rest_seq:
                slot = live[i]
        leave(state, memory, slot, ts_ns)
        end_order(state, memory, params, slot, ts_ns, _CANCELLED, _LIQUIDATED)
        answer(state, memory, params, slot, ts_ns, _ENDED, 0, 0, 0.0)


@njit()
def _venue_order(state: Any, memory: Any, side: int, lots: int, ts_ns: int) -> int:
    """Make the market order that closes the position, as if it had arrived now; return its slot."""
    state.own.n_free -= 1
    slot = at_int(memory.free)[state.own.n_free]
    order = at_own(memory.own)[np.uint64(slot)]
    order.order_id = LIQUIDATION_ID
    order.side = side
    order.price_ticks = 0
    order.qty_lots = lots
    order.filled_lots = 0
    order.submitted_ns = ts_ns
    order.live_ns = 0
    order.closed_ns = 0
    order.status = _NEW
    order.reason = _LIQUIDATED
    order.order_type = _MARKET
    order.joined_behind_lots = 0.0
    order.local = _SENT
    order.local_price_ticks = 0
    order.local_qty_lots = lots
    order.local_filled_lots = 0
    order.known_lots = lots
    order.changes = 0
    order.change_lots = 0
    order.most_lots = lots
    order.in_flight = 0
    order.taker = 1
    order.reduce_only = 0  # nobody checks the venue's own order
    order.purpose = _VENUE
    order.asked_ns = ts_ns
    state.own.takers += 1
    state.counts.orders += 1
    state.counts.submitted_lots += lots
    return slot
