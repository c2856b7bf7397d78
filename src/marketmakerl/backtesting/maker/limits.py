"""The controls on ticks: when they are looked at, and what happens then.

Equity as we know it changes when a new mid reaches us, when a fill is reported and when funding is paid. Looking at
every mid would cost more than the rest of the run, so each look leaves behind two mids between which nothing can have
happened (`_arm`); the exchange's side compares each top of the book with them when it is sent on its way to us, and one
beyond them is looked at when it arrives. Drawdown is measured from a peak that moves with the mid: the two mids leave
it a little room, and the extremes seen in between (`state.seen.low`, `state.seen.high`) say where exactly it was.

Where several instruments share an account, its equity depends on all of them: what it may lose before a limit is
reached, and gain before there is a new peak, is shared out among those that hold something (`equity_above`,
`equity_below`), so that nothing can have happened before one of them has used up its share. Then all meet, look, and
share out anew (`portfolio_step`). What one of them has found is for all at once.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from marketmakerl.backtesting.due import due_at
from marketmakerl.backtesting.layout import NEVER, Local, OrderType, at_own, at_tops
from marketmakerl.backtesting.maker.local_view import (
    LOOK,
    LOST,
    SAME,
    SIZES,
    is_two_sided,
    local_equity,
    next_marked,
    see_top,
    seen_mid,
)
from marketmakerl.backtesting.maker.order_gate import account_budget
from marketmakerl.backtesting.maker.unwind import lots_to_go
from marketmakerl.core.clock import NS_PER_DAY
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import unit_value
from marketmakerl.risk.breakers import check_equity, check_unanswered
from marketmakerl.risk.exits import look_at_exits
from marketmakerl.risk.market_watch import WATCH_NS, watch
from marketmakerl.risk.reasons import Purpose, Reason
from marketmakerl.risk.state import ACTIVE, HALTED

_FREE, _SENT, _WORKING, _CANCELLING, _CLOSED = (int(local) for local in Local)
_IOC, _MARKET = int(OrderType.IOC), int(OrderType.MARKET)
_NONE, _STP, _DUPLICATE = int(Reason.NONE), int(Reason.STP), int(Reason.DUPLICATE)
_INVENTORY_LIMIT = int(Reason.INVENTORY_LIMIT)
_EXIT, _LIQUIDATION = int(Purpose.EXIT), int(Purpose.LIQUIDATION)
_SLACK: Final = 0.02  # of a drawdown limit: how far the peak may move before we look
_MAX_MIDS: Final = 1 << 53  # half ticks; beyond, prices have no whole ticks
_DAY_NS: Final = int(NS_PER_DAY)
_EPS = 1e-6  # of a tick or a lot: float noise


@njit()
def begin_session(state: Any, params: Any) -> None:
    """Note what the maker starts from: equity, inventory and day as they stood at the first mid."""
    state.begun = 1
    state.risk.peak_equity = state.ledger.start_equity
    # Local equity is local_cash + local position x value at the local mid, whatever the kind of instrument.
    value = state.ledger.start_lots * state.ledger.lot_size * unit_value(state.ledger, state.ledger.start_mark)
    state.local.cash = state.ledger.start_equity - value
    state.local.open_value = value
    if params.risk_on != 0:
        ts_ns = state.first_ns
        state.risk.held_lots = state.ledger.start_lots - params.target_lots
        value = state.ledger.lot_size * unit_value(state.ledger, state.ledger.start_mark)
        state.risk.held_value = state.risk.held_lots * value
        state.risk.held_since_ns = ts_ns
        if params.shared == 0:  # else the day is the account's, which tells it
            state.risk.day = ts_ns // _DAY_NS
            state.risk.day_equity = state.ledger.start_equity
        state.seen.heard_ns = ts_ns
        if params.bars == 0:  # bars are watched when they close (`watch_bar`)
            state.due.watch_ns = (max(ts_ns, state.now_ns) // WATCH_NS + 1) * WATCH_NS
            due_at(state, state.due.watch_ns)


@njit()
def catch_up(state: Any, memory: Any, params: Any) -> None:
    """Note the peak that equity reached with the position as it was, before that changes."""
    see_top(state, memory, state.now_ns)
    if params.shared == 0 and state.ledger.start_mark > 0.0 and state.seen.high >= state.seen.low:
        best = state.seen.high if state.local.lots > 0 else state.seen.low
        equity = local_equity(state, best * 0.5 * params.tick_size)
        state.risk.peak_equity = max(state.risk.peak_equity, equity)
    state.seen.low = NEVER
    state.seen.high = -NEVER


@njit()
def look_at_limits(state: Any, memory: Any, params: Any, risk: Any) -> None:
    """Look at equity and inventory at the mid we see; if that changes anything, it is acted on at once."""
    before, exiting = state.risk.breaker, state.risk.exiting
    catch_up(state, memory, params)
    mid = seen_mid(state, params)
    if mid > 0.0 and state.risk.risk_mid == 0.0:
        # The first mid: what decisions go by, and the schedule, are not to wait for the next whole second.
        watch(state.risk, risk, state.now_ns, mid, state.seen.heard_ns)
    if state.ledger.start_mark > 0.0 and mid > 0.0:
        budget = account_budget(state)
        worth = abs(state.risk.held_lots) * params.lot_size * abs(unit_value(state.ledger, mid))
        equity = local_equity(state, mid) + state.local.other_equity
        if params.bars != 0 and state.now_ns % _DAY_NS == 0:
            # A close at midnight is the last moment of a day before it is the first of the next.
            check_equity(state.risk, risk, state.now_ns - 1, equity, budget, worth)
        check_equity(state.risk, risk, state.now_ns, equity, budget, worth)
        bid, ask = state.seen.bid * params.tick_size, -state.seen.ask * params.tick_size
        if state.risk.breaker != HALTED and lots_to_go(state, params, risk, mid, bid, ask, state.risk.held_lots) > 0:
            held_value = state.risk.held_lots * params.lot_size * unit_value(state.ledger, mid)
            look_at_exits(state.risk, risk, state.now_ns, held_value, budget)
    if params.shared != 0:
        # The others' shares of what is left have changed too: nobody goes on before all are armed anew.
        state.local.looked = 1
        state.due.limit_ns = min(state.due.limit_ns, state.now_ns)
    elif params.bars == 0:
        arm(state, memory, params, risk)
    if state.risk.breaker != before or state.risk.exiting != exiting:
        act_now(state, params)


@njit()
def act_now(state: Any, params: Any) -> None:
    """Decide at once: something has changed that the quotes out there do not know. In an account: as all meet."""
    due = state.due
    state.local.settled = 0
    due.wake_ns = min(due.wake_ns, state.now_ns)
    due.stop_ns = min(due.stop_ns, state.now_ns)
    if params.shared != 0:
        due.limit_ns = min(due.limit_ns, state.now_ns)  # the others are to know before anything else happens


@njit()
def _has_to_go(state: Any) -> bool:
    """Return whether there is inventory to take off, or a quote to cancel, because of a limit."""
    if state.risk.breaker == HALTED:
        return bool(state.local.lots != 0 or state.own.n_work[0] + state.own.n_work[1] != 0)
    return bool(state.risk.exiting != 0)


@njit()
def act_on_answer(state: Any, params: Any) -> None:
    """Decide at once where an answer lets a liquidation, an exit or a pull of quotes go on; once a time is enough."""
    again = state.local.decided_ns != state.now_ns
    if params.bars != 0:
        # At one close the quotes go, then the inventory: each decision waits for the answers to the one before it.
        open_orders = state.own.n_work[0] + state.own.n_work[1]
        again = again or state.local.lots != state.local.decided_lots or open_orders != state.local.decided_work
    if (_has_to_go(state) or state.risk.pause != 0) and again:
        act_now(state, params)


@njit()
def watch_is_due(state: Any, memory: Any, params: Any, risk: Any, newest_local_ns: int) -> None:
    """Watch the market: once a second, on the second.

    Args:
        state: STATE record.
        memory: MEMORY record.
        params: PARAMS record.
        risk: RISK record.
        newest_local_ns: when the last row that has happened reaches us; 0: there was none.
    """
    state.due.watch_ns += WATCH_NS
    if state.seen.unheard_ns <= state.now_ns:
        state.seen.heard_ns = max(state.seen.heard_ns, state.seen.unheard_ns)
        state.seen.unheard_ns = NEVER
    if newest_local_ns <= state.now_ns:
        state.seen.heard_ns = max(state.seen.heard_ns, newest_local_ns)
    elif state.seen.unheard_ns == NEVER:
        state.seen.unheard_ns = newest_local_ns
    see_top(state, memory, state.now_ns)
    pause, before = state.risk.pause, state.risk.breaker
    watch(state.risk, risk, state.now_ns, seen_mid(state, params), state.seen.heard_ns)
    if state.own.n_free < state.own.cap:
        check_unanswered(state.risk, risk, state.now_ns, _oldest_unanswered(state, memory))
    state.local.settled = 0
    look_at_limits(state, memory, params, risk)
    if state.risk.pause != pause or state.risk.breaker != before or _has_to_go(state):
        act_now(state, params)


@njit()
def watch_bar(state: Any, memory: Any, params: Any, risk: Any) -> None:
    """Watch the market: when we hear that a bar has closed."""
    state.local.settled = 0
    state.local.served = 0
    see_top(state, memory, state.now_ns)
    watch(state.risk, risk, state.now_ns, seen_mid(state, params), state.now_ns)
    if state.own.n_free < state.own.cap:
        check_unanswered(state.risk, risk, state.now_ns, _oldest_unanswered(state, memory))


@njit()
def _oldest_unanswered(state: Any, memory: Any) -> int:
    """Return when the oldest request was sent that has no answer; now if all have one."""
    own = at_own(memory.own)
    oldest = state.now_ns
    for slot in range(state.own.cap):
        order = own[np.uint64(slot)]
        if order.local in (_SENT, _CANCELLING):
            oldest = min(oldest, order.asked_ns)
    return int(oldest)


@njit()
def arm(state: Any, memory: Any, params: Any, risk: Any) -> None:
    """Set the mids between which no limit can be reached, and mark what is beyond them among what is on its way."""
    bounds = state.bounds
    low, high = -NEVER, NEVER
    if state.ledger.start_mark > 0.0 and state.risk.breaker != HALTED:
        if state.local.lots != 0:
            low, high = _arm_equity(state, params, risk)
        if state.risk.held_lots != 0:
            low, high = _arm_inventory(state, params, risk, low, high)
    if low != bounds.look_low or high != bounds.look_high:
        bounds.look_low, bounds.look_high = low, high
        bounds.armed = 1
        _mark_under_way(state, memory)
    state.due.look_ns = next_marked(state, memory, LOOK)


@njit()
def drawdown_limit(state: Any, risk: Any) -> float:
    """Return the drawdown at which a breaker acts next, a share of the budget; NaN if none does."""
    limit = risk.hard_drawdown_pct
    if state.risk.breaker == ACTIVE and not risk.soft_drawdown_pct >= limit and not np.isnan(risk.soft_drawdown_pct):
        limit = risk.soft_drawdown_pct
    return float(limit)


@njit()
def _arm_equity(state: Any, params: Any, risk: Any) -> tuple[int, int]:
    """Return the mids between which neither drawdown nor daily loss reaches its limit."""
    local = state.local
    low, high = -NEVER, NEVER
    budget, lots = account_budget(state), local.lots
    if params.shared != 0:
        if not np.isnan(local.equity_above):
            low, high = _beyond(state, params, lots, local.equity_above - local.cash, 1, low, high)
        if not np.isnan(local.equity_below):
            low, high = _beyond(state, params, lots, local.equity_below - local.cash, -1, low, high)
        return low, high
    limit = drawdown_limit(state, risk)
    if not np.isnan(limit):
        peak = state.risk.peak_equity + _SLACK * limit * budget
        low, high = _beyond(state, params, lots, peak - local.cash, 1, low, high)
        low, high = _beyond(state, params, lots, peak - limit * budget - local.cash, -1, low, high)
    if not np.isnan(risk.daily_loss_pct):
        floor = state.risk.day_equity - risk.daily_loss_pct * budget
        low, high = _beyond(state, params, lots, floor - local.cash, -1, low, high)
    return low, high


@njit()
def _arm_inventory(state: Any, params: Any, risk: Any, low: int, high: int) -> tuple[int, int]:
    """Draw the mids in to where the inventory reaches neither stop nor target nor concentration."""
    budget, lots, entered = account_budget(state), state.risk.held_lots, state.risk.held_value
    if state.risk.exiting == 0:
        if not np.isnan(risk.stop_loss_pct):
            low, high = _beyond(state, params, lots, entered - risk.stop_loss_pct * budget, -1, low, high)
        if not np.isnan(risk.take_profit_pct):
            low, high = _beyond(state, params, lots, entered + risk.take_profit_pct * budget, 1, low, high)
    if state.risk.breaker == ACTIVE and not np.isnan(risk.concentration_pct):
        # Worth grows with the mid, but for inverse contracts, whose worth shrinks with it: so value does, signed.
        worth, sign = risk.concentration_pct * budget, -1 if state.ledger.kind == 2 else 1
        low, high = _beyond(state, params, abs(lots), sign * worth, sign, low, high)
    return low, high


@njit()
def _beyond(state: Any, params: Any, lots: int, value: float, direction: int, low: int, high: int) -> tuple[int, int]:
    """Draw in the two mids (half ticks) so that the value of `lots` cannot have passed `value` between them.

    `direction` is +1 for a value that is reached from below, -1 for one from above.
    """
    unit = value / (lots * params.lot_size)
    if state.ledger.kind == 2:
        if unit >= 0.0:
            # An inverse position's value never gets there, or is beyond it at any mid.
            if direction * (-value) >= 0.0:
                return NEVER, -NEVER
            return low, high
        mid = -state.ledger.contract_size / unit
    else:
        mid = unit / state.ledger.contract_size
    mids = mid * 2.0 * params.ticks_per_price
    if not abs(mids) < _MAX_MIDS:
        return low, high
    if direction * lots > 0:
        return low, min(high, int(np.ceil(mids)) - 1)
    return max(low, int(np.floor(mids)) + 1), high


@njit()
def _mark_under_way(state: Any, memory: Any) -> None:
    tops = at_tops(memory.tops)
    bid, ask, lost = state.seen.bid, state.seen.ask, state.seen.unknown
    for at in range(state.wire.top_seen + 1, state.wire.top_end):
        top = tops[np.uint64(at & state.wire.top_mask)]
        if top.marks & (SAME | SIZES) == 0:
            bid, ask, lost = top.bid_ticks, top.ask_ticks, top.marks & LOST
        if top.marks & SAME == 0 and lost == 0 and is_two_sided(state, bid, ask):
            mids = bid - ask
            if mids <= state.bounds.look_low or mids >= state.bounds.look_high:
                top.marks |= LOOK


# -- decisions
