"""The gate that every order of ours passes: what the checks leave of it, or why it is not sent."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from marketmakerl.backtesting.layout import Local, OrderType, at_int, at_own
from marketmakerl.backtesting.maker.orders import submit
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import unit_value
from marketmakerl.risk.order_checks import lots_within_limit, why_not_sent
from marketmakerl.risk.reasons import Reason

_FREE, _CLOSED, _CANCELLING = int(Local.FREE), int(Local.CLOSED), int(Local.CANCELLING)
_IOC, _MARKET = int(OrderType.IOC), int(OrderType.MARKET)
_NONE, _STP, _DUPLICATE = int(Reason.NONE), int(Reason.STP), int(Reason.DUPLICATE)
_INVENTORY_LIMIT = int(Reason.INVENTORY_LIMIT)
_KEPT_OFF: Final = 0.1  # of the venue's price band: the mid moves while an order is on its way
_EPS = 1e-6  # of a tick or a lot: float noise


@njit()
def account_budget(state: Any) -> float:
    """Return the opening equity of the account."""
    return float(state.ledger.start_equity + state.local.other_budget)


@njit()
def open_lots(state: Any, memory: Any, sign: int) -> int:
    """Return how many lots the own orders of a side may still be filled for, whether they rest or take.

    An order that is being cut counts in full until the exchange has confirmed the cut.
    """
    own, work = at_own(memory.own), at_int(memory.work)
    side, lots = 0 if sign > 0 else 1, 0
    base = side * state.own.cap
    for i in range(base, base + state.own.n_work[side]):
        order = own[np.uint64(work[i])]
        if state.one_price != 0 and order.local == _CANCELLING:
            continue  # bars: nothing trades before its cancel arrives
        lots += order.most_lots - order.local_filled_lots
    if state.own.takers != 0:
        for slot in range(state.own.cap):
            order = own[np.uint64(slot)]
            if order.taker != 0 and order.side == sign and order.local not in (_FREE, _CLOSED):
                lots += order.most_lots - order.local_filled_lots
    return lots


@njit()
def taker_limit(params: Any, risk: Any, mid: float, best_bid: float, best_ask: float, sign: int) -> tuple[int, int]:
    """Return type and limit of an order that is to take, but not at any price: IOC at the collar; no collar: market.

    A limit that the venue finds too far from the mid would be rejected, and again whenever it is sent anew: so it is
    drawn into the venue's price band, by the mid we see, and a little further.
    """
    if not risk.price_collar_pct > 0.0:
        return _MARKET, 0
    price = mid * (1.0 + sign * risk.price_collar_pct)
    if sign > 0:
        if params.band_up < np.inf:
            inner = mid * (1.0 + (1.0 - _KEPT_OFF) * (params.band_up - 1.0))
            price = min(price, min(mid * params.band_up, max(inner, best_ask)))
        return _IOC, max(1, int(np.floor(price * params.ticks_per_price + _EPS)))
    if params.band_down > 0.0:
        inner = mid * (1.0 - (1.0 - _KEPT_OFF) * (1.0 - params.band_down))
        price = max(price, max(mid * params.band_down, min(inner, best_bid)))
    return _IOC, max(1, int(np.ceil(price * params.ticks_per_price - _EPS)))


@njit()
def order_worth(params: Any, lots: int, price: float) -> float:
    """Return what a venue's minimum is compared with: quote currency; an inverse contract is worth so much of it."""
    return float(lots * params.lot_size * params.contract_size * (1.0 if params.inverse else price))


@njit()
def _is_open(state: Any, memory: Any, side: int, tick: int, lots: int) -> bool:
    """Return whether an order like this one is out there, and no cancel of it under way."""
    own, work = at_own(memory.own), at_int(memory.work)
    base = side * state.own.cap
    for i in range(base, base + state.own.n_work[side]):
        order = own[np.uint64(work[i])]
        if order.local_price_ticks == tick and order.local_qty_lots == lots and order.local != _CANCELLING:
            return True
    return False


@njit()
def _why_it_clashes(state: Any, memory: Any, risk: Any, sign: int, tick: int, lots: int, kind: int) -> int:
    """Return why an order does not go with the own orders out there, or 0."""
    own, work = at_own(memory.own), at_int(memory.work)
    side = 0 if sign > 0 else 1
    if risk.check_duplicates != 0 and _is_open(state, memory, side, tick, lots):
        return _DUPLICATE
    at = (1 - side) * state.own.cap
    end = at + state.own.n_work[1 - side]
    if state.one_price != 0:  # bars: a cancel sent before is there before
        while at < end and own[np.uint64(work[at])].local == _CANCELLING:
            at += 1
    if risk.check_self_match != 0 and at < end:
        # What takes goes as far as the touch, and beyond it if it is larger than what is shown there.
        best, limit = own[np.uint64(work[at])].local_price_ticks, tick
        if kind == _MARKET or kind == _IOC:
            touch, shown = (-state.seen.ask, state.seen.ask_lots) if sign > 0 else (state.seen.bid, state.seen.bid_lots)
            if lots <= shown:
                limit = touch
            elif kind == _MARKET:
                limit = best
        if sign * (limit - best) >= 0:
            return _STP
    return _NONE


@njit()
def send_new(
    state: Any, memory: Any, params: Any, risk: Any, context: Any, sign: int, tick: int, lots: int, kind: int
) -> int:
    """Send a quote, or an order of the model that takes, if the checks let it pass; return why not, or 0."""
    takes = kind == _MARKET or kind == _IOC
    if params.risk_on == 0:
        submit(state, memory, params, sign, tick, lots, kind)
        return _NONE
    why = _why_it_clashes(state, memory, risk, sign, tick, lots, kind)
    if why != _NONE:
        return why
    lot_value = params.lot_size * abs(unit_value(state.ledger, context.mid))
    budget = account_budget(state)
    outstanding = open_lots(state, memory, sign)
    room = lots_within_limit(state.risk, risk, sign, state.risk.held_lots, outstanding, lot_value, budget)
    if lots > room:
        lots = room
        # An inverse contract is worth so much in quote currency, and that is what venues look at.
        least = params.lot_size * params.contract_size if params.inverse else lot_value
        if lots < 1 or (params.min_notional > 0.0 and lots * least < params.min_notional):
            return _INVENTORY_LIMIT
    price = tick * params.tick_size if tick > 0 else context.mid
    why = why_not_sent(
        state.risk, risk, state.now_ns, sign, price, lots, context.mid, lot_value, budget, params.order_lots,
        state.risk.held_lots, state.own.n_work[0] + state.own.n_work[1], 0 if takes else 1,
    )  # fmt: skip
    if why == _NONE:
        reduces = 0
        if takes and params.check_notional != 0 and params.spot == 0 and lots <= -sign * state.local.lots:
            # Too small for the venue, unless it says that it only takes off.
            reduces = int(order_worth(params, lots, price) < params.min_notional)
        submit(state, memory, params, sign, tick, lots, kind, 0, reduces)
    return why
