"""The last look at an order before it is sent, whoever wants it sent. Cancels are never looked at: they always pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.core.jit import njit
from marketmakerl.risk.market_watch import size_factor
from marketmakerl.risk.rates import may_send_order
from marketmakerl.risk.reasons import Reason
from marketmakerl.risk.state import HALTED

_NONE, _HALTED, _EXIT = int(Reason.NONE), int(Reason.HALTED), int(Reason.EXIT)
_RATE, _COLLAR, _ORDER_SIZE = int(Reason.RATE), int(Reason.COLLAR), int(Reason.ORDER_SIZE)
_INVENTORY_LIMIT = int(Reason.INVENTORY_LIMIT)
_EPS = 1e-9


@njit()
def lots_within_limit(
    state: Any, risk: Any, sign: int, excess_lots: int, outstanding_lots: int, lot_value: float, budget: float
) -> int:
    """Return how many lots may be sent on a side so that the hard inventory limit holds if everything out there fills.

    Args:
        state: record with `RISK_STATE_FIELDS`.
        risk: RISK record.
        sign: +1 to buy, -1 to sell.
        excess_lots: position less target, signed.
        outstanding_lots: open lots of own orders of the side, those included whose cancels are on their way.
        lot_value: worth of one lot at the mid, settlement currency, > 0.
        budget: opening equity, settlement currency.
    """
    hard = risk.hard_inventory_pct * budget * size_factor(state, risk)
    if np.isnan(hard):
        return 1 << 60
    # Down to no inventory at all a side may always go.
    limit = max(int(np.floor(hard / lot_value + _EPS)), 0)
    return max(limit - sign * excess_lots - outstanding_lots, 0)


@njit()
def why_not_sent(
    state: Any,
    risk: Any,
    ts_ns: int,
    sign: int,
    price: float,
    lots: int,
    mid: float,
    lot_value: float,
    budget: float,
    order_lots: int,
    held_lots: int,
    out_there: int,
    rests: int,
) -> int:
    """Return why an order may not be sent, or 0.

    Args:
        state: record with `RISK_STATE_FIELDS`.
        risk: RISK record.
        ts_ns: now.
        sign: +1 to buy, -1 to sell.
        price: its limit.
        lots: its quantity.
        mid: the mid we see, > 0.
        lot_value: worth of one lot at the mid, settlement currency, > 0.
        budget: opening equity, settlement currency.
        order_lots: the run's usual quantity.
        held_lots: signed, what there is to get rid of: the position once halted, else the inventory.
        out_there: orders that may still have to be cancelled.
        rests: 1 if the order may rest, else 0.
    """
    takes_off = state.breaker == HALTED or state.exiting != 0
    if takes_off and not (sign * held_lots < 0 and lots <= abs(held_lots)):
        return _HALTED if state.breaker == HALTED else _EXIT
    if abs(price - mid) > risk.price_collar_pct * mid * (1.0 + _EPS):
        return _COLLAR
    # What takes inventory off is cut to size already (`largest_order`), and a single lot of it may always go.
    if not takes_off and (
        lots > risk.max_order_multiple * order_lots
        or lots * lot_value > risk.max_order_notional_pct * budget * (1.0 + _EPS)
    ):
        return _ORDER_SIZE
    if not may_send_order(state, risk, ts_ns, out_there, rests):
        return _RATE
    return _NONE


@njit()
def largest_order(risk: Any, lot_value: float, budget: float, order_lots: int) -> int:
    """Return the most lots that the size limits let pass, at least one."""
    lots = 1 << 60
    if risk.max_order_multiple * order_lots < lots:
        lots = int(np.floor(risk.max_order_multiple * order_lots))
    if risk.max_order_notional_pct * budget / lot_value < lots:
        lots = int(np.floor(risk.max_order_notional_pct * budget / lot_value + _EPS))
    return max(lots, 1)
