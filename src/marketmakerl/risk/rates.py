"""Rates that hold in every window: orders, messages and executions, counted the moment they happen.

A window of W is covered by 17 buckets of W / 16, whenever it begins. What these hold never exceeds a limit, so no
window of W does, at the price of up to a sixteenth of W in which a little less than the limit may be sent.
"""

from __future__ import annotations

from typing import Any

from marketmakerl.core.jit import njit
from marketmakerl.risk.limits import RATE_BUCKETS

_N = RATE_BUCKETS + 1


@njit()
def roll_rates(state: Any, ts_ns: int) -> int:
    """Forget what is behind the window that ends at `ts_ns`, and return the place of the present bucket."""
    if ts_ns < state.rate_until_ns:
        return int(state.rate_place)
    bucket = ts_ns // state.rate_bucket_ns
    at = state.rate_bucket
    if bucket > at:
        if bucket - at >= _N:
            at = bucket - _N
        while at < bucket:
            at += 1
            i = at % _N
            state.messages_in_window -= state.message_counts[i]
            state.orders_in_window -= state.order_counts[i]
            state.executions_in_window -= state.execution_counts[i]
            state.message_counts[i] = 0
            state.order_counts[i] = 0
            state.execution_counts[i] = 0
        state.rate_bucket = bucket
        state.rate_place = bucket % _N
        state.rate_until_ns = (bucket + 1) * state.rate_bucket_ns
    return int(state.rate_place)


@njit()
def count_message(state: Any, ts_ns: int, is_order: bool) -> None:
    """Count a request the moment it is sent."""
    if state.rate_bucket_ns == 0:
        return
    i = roll_rates(state, ts_ns)
    state.message_counts[i] += 1
    state.messages_in_window += 1
    if is_order:
        state.order_counts[i] += 1
        state.orders_in_window += 1


@njit()
def count_execution(state: Any, ts_ns: int) -> None:
    """Count a fill the moment we know of it."""
    if state.rate_bucket_ns == 0:
        return
    i = roll_rates(state, ts_ns)
    state.execution_counts[i] += 1
    state.executions_in_window += 1


@njit()
def may_send_order(state: Any, risk: Any, ts_ns: int, out_there: int, own_cancel: int) -> bool:
    """Return whether an order may be sent now.

    Args:
        state: record with `RISK_STATE_FIELDS`.
        risk: RISK record.
        ts_ns: now.
        out_there: orders that may still have to be cancelled: room for their cancels is kept, so that these always
            pass.
        own_cancel: 1 if the order may rest and have to be cancelled, else 0.
    """
    if state.rate_bucket_ns == 0:
        return True
    roll_rates(state, ts_ns)
    if state.orders_in_window >= risk.max_orders:
        return False
    return bool(state.messages_in_window + 1 + out_there + own_cancel <= risk.max_messages)


@njit()
def may_send_change(state: Any, risk: Any, ts_ns: int, out_there: int) -> bool:
    """Return whether a replace may be sent now; `out_there` as above, the replaced order included."""
    if state.rate_bucket_ns == 0:
        return True
    roll_rates(state, ts_ns)
    return bool(state.messages_in_window + 1 + out_there <= risk.max_messages)
