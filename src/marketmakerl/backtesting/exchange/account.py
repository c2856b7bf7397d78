"""What an account holds and owes: fee tiers, margin, and where the venue would liquidate it. Compiled, both engines.

`state` carries the records `ledger` and `venue`, `params` carries `VENUE_PARAM_FIELDS`.
Where several instruments share one account, whoever drives them writes the sum of the other instruments' `account`
into `state.venue.other_equity`, `other_margin`, `other_maintenance` and `other_reserved`. They enter in `free_cash`,
`available_margin` and `margin_excess` and nowhere else; `find_triggers` must follow (ticks).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.due import due_at
from marketmakerl.backtesting.layout import NEVER, VOLUME_DAYS, at_int, at_own
from marketmakerl.core.clock import NS_PER_DAY
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import equity, equity_at, position_qty, unit_value

_DAY_NS = int(NS_PER_DAY)
_SLOTS = VOLUME_DAYS + 1
_MAX_MIDS = 1 << 53  # half ticks; beyond, prices have no whole ticks
_EPS = 1e-9


# -- what the venue takes at all


@njit()
def is_rejecting(params: Any, ts_ns: int) -> bool:
    """Return whether the venue refuses new orders and replaces at a time."""
    for i in range(params.n_reject_windows):  # noqa: SIM110  (numba knows no any() of a generator)
        if params.reject_from_ns[i] <= ts_ns < params.reject_until_ns[i]:
            return True
    return False


# -- fee tiers


@njit()
def move_tier(state: Any, params: Any, ts_ns: int) -> None:
    """Bring the volumes up to the UTC day of `ts_ns`, and the rates to the tier that they earn."""
    day = ts_ns // _DAY_NS
    if state.venue.fee_day == 0:
        for i in range(1, _SLOTS):
            state.venue.day_volume[(day - i) % _SLOTS] = params.volume_start / VOLUME_DAYS
        state.venue.fee_day = day
    if day > state.venue.fee_day:
        for new in range(max(state.venue.fee_day + 1, day - VOLUME_DAYS), day + 1):
            state.venue.day_volume[new % _SLOTS] = 0.0
        state.venue.fee_day = day
    volume = 0.0
    for i in range(_SLOTS):
        if i != day % _SLOTS or params.tier_by_day == 0:
            volume += state.venue.day_volume[i]
    state.venue.maker_rate = params.base_maker
    state.venue.taker_rate = params.base_taker
    for i in range(params.n_tiers):
        # What is brought along was cut into days: put together again it may miss its own sum by a rounding.
        if volume >= params.tier_volume[i] * (1.0 - 1e-12):
            state.venue.maker_rate = params.tier_maker[i]
            state.venue.taker_rate = params.tier_taker[i]


@njit()
def add_volume(state: Any, params: Any, lots: int, price: float) -> None:
    """Count a fill, in quote currency, towards the tier; `move_tier` has been called for its time."""
    unit = 1.0 if state.ledger.kind == 2 else price
    state.venue.day_volume[state.venue.fee_day % _SLOTS] += lots * params.lot_size * params.contract_size * unit


# -- margin


@njit()
def lot_value(state: Any, price: float) -> float:
    """Return the value of one lot at a price, settlement currency."""
    return state.ledger.lot_size * abs(unit_value(state.ledger, price))


@njit()
def own_equity(state: Any, mid: float) -> float:
    """Return this instrument's equity at a mid; before there is one a perpetual's position has no value yet."""
    if mid > 0.0:
        return equity_at(state.ledger, mid)
    return state.ledger.cash


@njit()
def maintenance_margin(state: Any, params: Any, mid: float) -> float:
    """Return the maintenance margin of the position at a mid, settlement currency."""
    if params.leverage == 0.0 or mid <= 0.0:
        return 0.0
    value = abs(state.ledger.position_lots) * lot_value(state, mid)
    i = 0
    while i < params.n_brackets - 1 and value > params.bracket_cap[i]:
        i += 1
    return max(0.0, value * params.bracket_rate[i] - params.bracket_less[i])


@njit()
def margin_excess(state: Any, params: Any, mid: float) -> float:
    """Return how much of the account's equity at a mid lies above its maintenance margin."""
    equity = own_equity(state, mid) + state.venue.other_equity
    return equity - maintenance_margin(state, params, mid) - state.venue.other_maintenance


@njit()
def must_liquidate(state: Any, params: Any, mid: float) -> bool:
    """Return whether equity at a mid is at or below maintenance margin, but for the rounding of the two."""
    rounding = 1e-12 * abs(state.ledger.position_lots) * lot_value(state, mid)
    return margin_excess(state, params, mid) <= rounding


@njit()
def available_margin(state: Any, mid: float) -> float:
    """Return the account's equity that this instrument may use as margin."""
    return own_equity(state, mid) + state.venue.other_equity - state.venue.other_margin


@njit()
def order_value(state: Any, side: int, price: float, mid: float) -> float:
    """Return what one lot of an order counts as: its limit; through the mid, the larger of limit and mid."""
    value = lot_value(state, price) if price > 0.0 else 0.0
    if mid > 0.0 and side * (price - mid) > 0.0:
        return max(value, lot_value(state, mid))
    return value


@njit()
def initial_margin(state: Any, memory: Any, params: Any, mid: float, side: int, price: float, lots: int) -> float:
    """Return the margin of position and live orders on the worse side, with one more order; 0 while margin is off.

    Args:
        state: STATE record.
        memory: MEMORY record.
        params: PARAMS record.
        mid: the exchange's mid; 0: none yet.
        side: +1 or -1, of the order to come.
        price: its price.
        lots: its quantity; 0: no order to come.
    """
    if params.leverage == 0.0:
        return 0.0
    own, live = at_own(memory.own), at_int(memory.live)
    held = state.ledger.position_lots * lot_value(state, mid) if mid > 0.0 else 0.0
    extra = lots * order_value(state, side, price, mid)
    bids = extra if side > 0 else 0.0
    asks = extra if side < 0 else 0.0
    for i in range(state.own.n_live):
        order = own[live[i]]
        value = (order.qty_lots - order.filled_lots) * order_value(
            state, order.side, order.price_ticks * params.tick_size, mid
        )
        if order.side > 0:
            bids += value
        else:
            asks += value
    return max(held + bids, asks - held) / params.leverage


@njit()
def margin_carries(state: Any, memory: Any, params: Any, side: int, price: float, lots: int, before: float) -> bool:
    """Return whether the account carries one more order, given the margin it needed `before`."""
    mid = state.last_mid
    after = initial_margin(state, memory, params, mid, side, price, lots)
    free = available_margin(state, mid)
    return after <= before * (1.0 + _EPS) or after <= free + _EPS * max(1.0, abs(free))


@njit()
def allowed_lots(state: Any, params: Any, side: int, price: float, mid: float, lots: int) -> int:
    """Return how many of `lots` margin allows the one order of a side (bars)."""
    held = side * state.ledger.position_lots * lot_value(state, mid)
    room = max(available_margin(state, mid) * params.leverage, abs(held)) - held
    return min(lots, max(0, int(room / order_value(state, side, price, mid) + 1e-6)))


# -- balances


@njit()
def reserved_cash(state: Any, memory: Any, params: Any) -> float:
    """Return the cash that own live bids on spot hold."""
    own, live = at_own(memory.own), at_int(memory.live)
    total = 0.0
    for i in range(state.own.n_live):
        order = own[live[i]]
        if order.side > 0:
            total += (order.qty_lots - order.filled_lots) * unit_cost(params, order.price_ticks)
    return total * (1.0 + max(state.venue.maker_rate, 0.0))


@njit()
def free_cash(state: Any, memory: Any, params: Any) -> float:
    """Return the cash that nothing holds: spot."""
    return state.ledger.cash - reserved_cash(state, memory, params) - state.venue.other_reserved


@njit()
def unit_cost(params: Any, price_ticks: int) -> float:
    """Return the price of one lot on spot, fees apart."""
    return price_ticks * params.tick_size * params.contract_size * params.lot_size


@njit()
def account(state: Any, memory: Any, params: Any) -> tuple[float, float, float, float]:
    """Return what this instrument brings to its account, at the exchange's mid and in its settlement currency.

    Returns:
        equity, initial margin (position and live orders), maintenance margin, reserved cash (spot bids). Nothing of
        the other instruments is in it.
    """
    mid = state.last_mid
    reserved = reserved_cash(state, memory, params) if params.spot != 0 else 0.0
    return (
        own_equity(state, mid),
        initial_margin(state, memory, params, mid, 1, 0.0, 0),
        maintenance_margin(state, params, mid),
        reserved,
    )


# -- liquidation


@njit()
def _falls_at(state: Any, params: Any, mids: int) -> bool:
    return must_liquidate(state, params, mids * 0.5 * params.tick_size)


@njit()
def find_triggers(state: Any, params: Any) -> None:
    """Set the mids (half ticks) at which the account is liquidated, so that a row only compares with them.

    To be called when anything but the mid has changed: a fill, a funding payment, the rest of the account (and then
    `look_at_margin`, which does not wait for the mid to move).
    """
    bounds = state.bounds
    bounds.liquidate_low = -NEVER
    bounds.liquidate_high = NEVER
    if params.leverage == 0.0 or state.ledger.position_lots == 0:
        return
    if state.last_mid <= 0.0 or must_liquidate(state, params, state.last_mid):
        bounds.liquidate_low = NEVER  # there has been no mid yet, or it is there already: the next will do
        return
    mids = max(1, int(round(2.0 * state.last_mid * params.ticks_per_price)))
    if state.ledger.position_lots > 0:
        low, high = 0, mids
        while high - low > 1:
            middle = (low + high) >> 1
            if _falls_at(state, params, middle):
                low = middle
            else:
                high = middle
        if low > 0:
            bounds.liquidate_low = low
        return
    low, high = mids, 2 * mids
    while high < _MAX_MIDS and not _falls_at(state, params, high):
        low, high = high, 2 * high
    if high >= _MAX_MIDS:
        return
    while high - low > 1:
        middle = (low + high) >> 1
        if _falls_at(state, params, middle):
            high = middle
        else:
            low = middle
    bounds.liquidate_high = high


@njit()
def look_at_margin(state: Any, params: Any, ts_ns: int) -> None:
    """Let the venue look at the margin once everything of `ts_ns` has happened."""
    if params.leverage > 0.0 and ts_ns < state.due.margin_ns:
        state.due.margin_ns = ts_ns
        due_at(state, ts_ns)


# -- drawdown


@njit()
def note_equity(state: Any, params: Any) -> None:
    """Note equity now that an event is over, at the mid that it leaves behind; and at which mids to look next.

    An event is a whole message, a request, a payment of funding, a liquidation: nobody ever had the equity in the
    middle of one. Between two events only the mid moves, and equity with it, one way: as long as the mid stays between
    two others there is neither a new high nor a deeper drawdown. A row only compares with those, and the drawdown is
    exact nevertheless.
    """
    bounds = state.bounds
    if state.ledger.start_mark == 0.0 or params.bars != 0:  # on bars equity is known at closes, which are sampled
        return
    worth = equity_at(state.ledger, state.last_mid) if state.last_mid > 0.0 else equity(state.ledger)
    state.highest_equity = max(state.highest_equity, worth)
    state.max_drawdown = max(state.max_drawdown, state.highest_equity - worth)
    bounds.equity_low = -NEVER
    bounds.equity_high = NEVER
    if state.ledger.position_lots == 0:
        return
    high, deep = state.highest_equity, state.highest_equity - state.max_drawdown
    if state.ledger.position_lots > 0:
        bounds.equity_high = _first_beyond(state, params, high, 1, 1)
        bounds.equity_low = _first_beyond(state, params, deep, -1, -1)
    else:
        bounds.equity_low = _first_beyond(state, params, high, 1, -1)
        bounds.equity_high = _first_beyond(state, params, deep, -1, 1)


@njit()
def _first_beyond(state: Any, params: Any, worth: float, sign: int, step: int) -> int:
    """Return the first mid (half ticks), going by `step`, at which equity is above (+1) or below (-1) `worth`."""
    never = NEVER * step
    opened = state.ledger.open_value if state.ledger.kind != 0 else 0.0
    unit = (worth - state.ledger.cash + opened) / position_qty(state.ledger)
    if state.ledger.kind == 2:
        if unit >= 0.0:
            return int(NEVER)  # no mid is that high
        mid = -state.ledger.contract_size / unit
    else:
        mid = unit / state.ledger.contract_size
    exact = mid * 2.0 * params.ticks_per_price
    if not abs(exact) < _MAX_MIDS:
        return int(never)
    # The division rounds: the first is found by trying, from one that is not beyond.
    mids = int(np.floor(exact)) - step
    for _ in range(4):
        if mids > 0 and sign * (equity_at(state.ledger, mids * 0.5 * params.tick_size) - worth) > 0.0:
            break
        mids += step
    return int(mids)
