"""The life of an order at the exchange: which steps it may take, and its line in the order log."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.layout import ORDER, Status, at_own
from marketmakerl.core.jit import njit
from marketmakerl.core.memory import viewer

at_orders = viewer(ORDER)


# From a status, to which others an order may go. Everything else is a bug, and stops the run.
_MAY_BECOME = {
    Status.NEW: (Status.LIVE, Status.PARTIALLY_FILLED, Status.FILLED, Status.REJECTED, Status.EXPIRED),
    Status.LIVE: (Status.PARTIALLY_FILLED, Status.FILLED, Status.CANCELLED, Status.EXPIRED),
    Status.PARTIALLY_FILLED: (Status.PARTIALLY_FILLED, Status.FILLED, Status.CANCELLED, Status.EXPIRED),
}


ALLOWED = sum(1 << (int(before) * 8 + int(after)) for before, afters in _MAY_BECOME.items() for after in afters)


@njit()
def move_to(order: Any, status: int) -> None:
    """Move an order to another status.

    Raises:
        AssertionError: the life of an order has no such step (see `ALLOWED`).
    """
    if (ALLOWED >> (order.status * 8 + status)) & 1 == 0:
        raise AssertionError("illegal order transition")
    order.status = status


@njit()
def end_order(state: Any, memory: Any, params: Any, slot: int, ts_ns: int, status: int, reason: int) -> None:
    """Move an order to a terminal status and into the order log."""
    order = at_own(memory.own)[np.uint64(slot)]
    move_to(order, status)
    order.reason = reason
    order.closed_ns = ts_ns
    if params.log_orders == 0:
        return
    row = at_orders(memory.orders)[state.out.n_orders]
    row.order_id = order.order_id
    row.side = order.side
    row.price_ticks = order.price_ticks
    row.qty_lots = order.qty_lots
    row.filled_lots = order.filled_lots
    row.submitted_ns = order.submitted_ns
    row.live_ns = order.live_ns
    row.closed_ns = ts_ns
    row.status = status
    row.reason = reason
    row.order_type = order.order_type
    row.joined_behind_lots = order.joined_behind_lots
    row.purpose = order.purpose
    state.out.n_orders += 1
