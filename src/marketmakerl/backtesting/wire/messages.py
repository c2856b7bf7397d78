"""Requests on their way to the exchange, and answers on their way back. Neither ever overtakes another."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.layout import Action, at_answers, at_own, at_requests
from marketmakerl.backtesting.wire.latency import entry_latency, response_latency
from marketmakerl.core.jit import njit
from marketmakerl.risk.rates import count_message

_SUBMIT = int(Action.SUBMIT)


@njit()
def answer(
    state: Any, memory: Any, params: Any, slot: int, ts_ns: int, what: int, lots: int, price_ticks: int, fee: float
) -> None:
    """Send an answer on its way to us. Answers never overtake one another."""
    arrive_ns = max(state.wire.last_answer_ns, ts_ns + response_latency(state, memory, params, ts_ns))
    state.wire.last_answer_ns = arrive_ns
    order = at_own(memory.own)[np.uint64(slot)]
    row = at_answers(memory.answers)[np.uint64(state.wire.answer_end & state.wire.answer_mask)]
    row.arrive_ns = arrive_ns
    row.slot = slot
    row.what = what
    row.lots = lots
    row.price_ticks = price_ticks
    row.fee = fee
    row.status = order.status
    row.reason = order.reason
    if state.wire.answer_end == state.wire.answer_first:
        state.wire.next_answer_ns = arrive_ns
    state.wire.answer_end += 1
    order.in_flight += 1
    state.due.stop_ns = min(state.due.stop_ns, arrive_ns)


@njit()
def request(
    state: Any, memory: Any, params: Any, slot: int, action: int, reason: int, price_ticks: int, qty_lots: int
) -> None:
    """Send a request on its way to the exchange, now. Requests never overtake one another."""
    arrive_ns = max(state.wire.last_request_ns, state.now_ns + entry_latency(state, memory, params, state.now_ns))
    state.wire.last_request_ns = arrive_ns
    row = at_requests(memory.requests)[np.uint64(state.wire.request_end & state.wire.request_mask)]
    row.arrive_ns = arrive_ns
    row.slot = slot
    row.action = action
    row.reason = reason
    row.price_ticks = price_ticks
    row.qty_lots = qty_lots
    if state.wire.request_end == state.wire.request_first:
        state.wire.next_request_ns = arrive_ns
    state.wire.request_end += 1
    order = at_own(memory.own)[np.uint64(slot)]
    order.in_flight += 1
    order.asked_ns = state.now_ns
    count_message(state.risk, state.now_ns, action == _SUBMIT)
