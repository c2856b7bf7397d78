"""An own order that would trade with another own order: what the venue then does (`VenueRules.stp`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from marketmakerl.backtesting.exchange.account import free_cash, unit_cost
from marketmakerl.backtesting.exchange.fills import best_own, fill, leave
from marketmakerl.backtesting.exchange.order_life import end_order
from marketmakerl.backtesting.exchange.venue import SELF_TRADES
from marketmakerl.backtesting.layout import NEVER, Answer, Status, at_int, at_own
from marketmakerl.backtesting.wire.messages import answer
from marketmakerl.core.jit import njit
from marketmakerl.risk.reasons import Reason

_TRADE, _EXPIRE_TAKER, _EXPIRE_MAKER, _EXPIRE_BOTH, _DECREMENT = range(1, 1 + len(SELF_TRADES))
_EXPIRED, _STP = int(Status.EXPIRED), int(Reason.STP)
_ENDED, _REDUCED = int(Answer.ENDED), int(Answer.REDUCED)
_EPS = 1e-9


@njit()
def meets_own(state: Any, params: Any, side: int, price_ticks: int) -> bool:
    """Return whether a buy (+1) or sell (-1) at this price meets an own order of the other side."""
    best = state.own.best[1 if side > 0 else 0]
    return params.stp != 0 and best > -NEVER and side * price_ticks >= -best


@njit()
def free_lots(state: Any, memory: Any) -> int:
    """Return the lots held that no own live ask offers: spot."""
    own, live = at_own(memory.own), at_int(memory.live)
    free = state.ledger.position_lots
    for i in range(state.own.n_live):
        order = own[live[i]]
        if order.side < 0:
            free -= order.qty_lots - order.filled_lots
    return free


@njit()
def affordable_lots(state: Any, memory: Any, params: Any, side: int, price_ticks: int, wanted: int) -> int:
    """Return how many of `wanted` lots a taker can pay for, or deliver: all of them on perpetuals."""
    if params.spot == 0:
        return wanted
    if side < 0:
        return min(wanted, free_lots(state, memory))
    unit = unit_cost(params, price_ticks) * (1.0 + state.venue.taker_rate)
    return min(wanted, int(math.floor(free_cash(state, memory, params) / unit + _EPS)))


@njit()
def meet_own(state: Any, memory: Any, params: Any, slot: int, other: int, ts_ns: int) -> bool:
    """Let a taker meet the best own order of the `other` side; return whether the taker goes on."""
    own = at_own(memory.own)
    met = best_own(state, memory, other, -NEVER)
    maker, taker = own[np.uint64(met)], own[np.uint64(slot)]
    lots = min(maker.qty_lots - maker.filled_lots, taker.qty_lots - taker.filled_lots)
    if params.stp == _TRADE:
        price_ticks, wanted = maker.price_ticks, lots
        lots = affordable_lots(state, memory, params, taker.side, price_ticks, wanted)
        if lots > 0:
            state.counts.self_trades += 1
            fill(state, memory, params, met, ts_ns, lots, price_ticks, True)
            fill(state, memory, params, slot, ts_ns, lots, price_ticks, False)
        return lots == wanted
    state.counts.prevented += 1
    if params.stp == _DECREMENT:
        _reduce(state, memory, params, met, ts_ns, lots, True)
        return _reduce(state, memory, params, slot, ts_ns, lots, False)
    if params.stp != _EXPIRE_TAKER:
        _expire(state, memory, params, met, ts_ns, True)
    if params.stp == _EXPIRE_MAKER:
        return True
    _expire(state, memory, params, slot, ts_ns, False)
    return False


@njit()
def _expire(state: Any, memory: Any, params: Any, slot: int, ts_ns: int, resting: bool) -> None:
    if resting:
        leave(state, memory, slot, ts_ns)
    end_order(state, memory, params, slot, ts_ns, _EXPIRED, _STP)
    answer(state, memory, params, slot, ts_ns, _ENDED, 0, 0, 0.0)


@njit()
def _reduce(state: Any, memory: Any, params: Any, slot: int, ts_ns: int, lots: int, resting: bool) -> bool:
    """Take `lots` off an order; return whether anything of it is left."""
    order = at_own(memory.own)[np.uint64(slot)]
    if lots == order.qty_lots - order.filled_lots:
        _expire(state, memory, params, slot, ts_ns, resting)
        return False
    order.qty_lots -= lots
    state.counts.submitted_lots -= lots
    answer(state, memory, params, slot, ts_ns, _REDUCED, lots, 0, 0.0)
    return True
