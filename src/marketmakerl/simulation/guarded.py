"""Limits in a model world: the compiled controls of a backtest and of paper trading, asked at every step of a path.

A step is a look at the market. An order is one piece here: a size that the controls cut to less than half of it is not
quoted, and the hard inventory limit must have room for all of it. What a control or a breaker takes off leaves at the
mid less the declared slippage and the taker fee. Quotes that change are a cancel and a new order, and are counted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from marketmakerl.core.checks import require_number
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit
from marketmakerl.core.memory import address_of, viewer
from marketmakerl.risk.breakers import check_equity, check_executions
from marketmakerl.risk.exits import end_exit, enter, look_at_exits
from marketmakerl.risk.limits import RISK, RiskLimits
from marketmakerl.risk.market_watch import note_fill, watch
from marketmakerl.risk.order_checks import lots_within_limit, why_not_sent
from marketmakerl.risk.overlays import apply_overlays, earns_its_fee, why_silent
from marketmakerl.risk.rates import count_execution, count_message
from marketmakerl.risk.reasons import Reason
from marketmakerl.risk.state import HALTED, RISK_STATE_FIELDS, open_risk

if TYPE_CHECKING:
    from marketmakerl.models.contract import QuotingModel

LOTS: Final = 1000  # of an order, as the controls count
GUARD_STATE = np.dtype(
    [
        # Before the others: numba takes a record that another only adds to for the same, with a warning.
        ("standing", "f8", (2,)),  # price of the quote that was sent last; NaN: none
        ("worst", "f8"),  # largest drawdown so far, quote currency
        ("forced_cost", "f8"),  # what was paid for taking inventory off
        *RISK_STATE_FIELDS,
    ],
    align=True,
)
_NONE, _WITHDRAWN = int(Reason.NONE), int(Reason.WITHDRAWN)
_at_state = viewer(GUARD_STATE)
_at_risk = viewer(RISK)


class Guard(NamedTuple):
    """The limits as the kernel needs them."""

    states: int  # address of GUARD_STATE [2]: the path's own, the thread's; and what each begins with
    risk: int  # address of a RISK record
    budget: float
    forced: float  # what taking inventory off costs as taker, a share of its worth
    size: float  # units of an order
    fee: float  # per unit, price units
    dt_ns: float
    drawdown: npt.NDArray[np.float64]  # these four by path
    forced_cost: npt.NDArray[np.float64]
    exits: npt.NDArray[np.int64]
    breaker: npt.NDArray[np.int64]


class Limits:
    """Limits on a run of paths: what the kernel needs, and what became of each path.

    Attributes:
        drawdown: float64 [n_paths], the largest seen at a step, a share of the budget.
        forced_cost: float64 [n_paths], paid for taking inventory off, quote currency.
        exits: int64 [n_paths].
        breaker: int64 [n_paths], the state at the end.
    """

    def __init__(
        self, risk: RiskLimits, budget: float, taker_fee_bps: float, size: float, fee: float, dt_s: float, n_paths: int
    ) -> None:
        self._risk = np.zeros(1, RISK)
        self._risk[0] = risk.record()
        self._first = np.zeros(2, GUARD_STATE)
        start: Any = self._first.view(np.recarray)[1]
        open_risk(start, self._risk.view(np.recarray)[0])
        start.peak_equity = start.day_equity = budget
        start.standing[:] = math.nan
        self._guard = Guard(
            states=0,
            risk=address_of(self._risk),
            budget=budget,
            forced=1e-4 * (risk.liquidation_slippage_bps + taker_fee_bps),
            size=size,
            fee=fee,
            dt_ns=dt_s * 1e9,
            drawdown=np.zeros(n_paths),
            forced_cost=np.zeros(n_paths),
            exits=np.zeros(n_paths, np.int64),
            breaker=np.zeros(n_paths, np.int64),
        )
        self.drawdown, self.forced_cost = self._guard.drawdown, self._guard.forced_cost
        self.exits, self.breaker = self._guard.exits, self._guard.breaker

    def new_guard(self) -> tuple[Guard, npt.NDArray[Any]]:
        """Return what the kernel needs, with records of a thread's own, and these: whoever uses them keeps them."""
        states = self._first.copy()
        return self._guard._replace(states=address_of(states)), states

    def share(self, breaker: int) -> float:
        """Return the share of paths whose breaker ended in a state."""
        return float((self.breaker == breaker).mean())


def check_limits(risk: RiskLimits, budget: float | None, taker_fee_bps: float, model: QuotingModel) -> float:
    """Return the budget if limits can be kept in a world.

    Raises:
        ConfigError: no budget, a fee out of range, a schedule of the week (a world has no calendar), or a model that
            is a ladder or plain Python.
    """
    if budget is None:
        raise ConfigError("limits are shares of a budget: give budget (--budget), quote currency")
    require_number("taker_fee_bps", taker_fee_bps, at_least=-1e4, at_most=1e4)
    if risk.flat_windows:
        raise ConfigError("risk limit flat_windows: a model world has no days of the week; leave it empty")
    if getattr(model, "levels", 1) > 1:
        raise ConfigError(f"{model.id}: limits are kept for one quote a side in a model world; leave out the ladder")
    if getattr(model, "is_python", False):
        raise ConfigError(f"{model.id}: under limits a model must be compiled; make it with numba.njit")
    return require_number("budget", budget, above=0.0)


@njit()
def open_path(guard: Any) -> None:
    """Begin a path: nothing has been seen yet."""
    states = _at_state(guard.states)
    states[np.uint64(0)] = states[np.uint64(1)]


@njit()
def look(guard: Any, step: int, profit: float, q: int, s: float) -> tuple[int, float, bool]:
    """Look at the market and at every limit, and take off what is due.

    Args:
        guard: `Guard`.
        step: of the path.
        profit: so far, at the mid.
        q: inventory, order sizes.
        s: the mid.

    Returns:
        The inventory that is left, what taking the rest off has cost, and whether anything may be quoted.
    """
    state, risk = _at_state(guard.states)[np.uint64(0)], _at_risk(guard.risk)[np.uint64(0)]
    ts_ns = int(step * guard.dt_ns)
    watch(state, risk, ts_ns, s, ts_ns)
    worth = abs(q) * guard.size * abs(s)
    check_equity(state, risk, ts_ns, guard.budget + profit, guard.budget, worth)
    state.worst = max(state.worst, state.peak_equity - guard.budget - profit)
    cost = 0.0
    if state.breaker == HALTED:
        state.halted = 1
        if q != 0:
            cost = _take_off(guard, state, ts_ns, worth)
            state.liquidations += 1
            q = 0
    elif look_at_exits(state, risk, ts_ns, q * guard.size * s, guard.budget):
        cost = _take_off(guard, state, ts_ns, worth)
        end_exit(state, risk, ts_ns)
        q = 0
    return q, cost, why_silent(state, risk, ts_ns, s, 0.0) == _NONE


@njit()
def _take_off(guard: Any, state: Any, ts_ns: int, worth: float) -> float:
    held = state.held_lots
    enter(state, ts_ns, -1 if held > 0 else 1, abs(held), worth)
    cost = worth * guard.forced
    state.forced_cost += cost
    return float(cost)


@njit()
def within_limits(
    guard: Any, step: int, q: int, s: float, bid: float, ask: float, waiting_bids: int, waiting_asks: int
) -> tuple[float, float]:
    """Return the distances that may be quoted of those that the model wants; NaN for none.

    Args:
        guard: `Guard`.
        step: of the path.
        q: inventory, order sizes.
        s: the mid.
        bid: what the model wants.
        ask: likewise.
        waiting_bids: quotes on their way, which may all fill.
        waiting_asks: likewise.
    """
    state, risk = _at_state(guard.states)[np.uint64(0)], _at_risk(guard.risk)[np.uint64(0)]
    ts_ns = int(step * guard.dt_ns)
    state.want_offset[0] = bid
    state.want_offset[1] = ask
    for side in range(2):
        state.want_lots[side] = LOTS
        state.want_reason[side] = _NONE if np.isfinite(state.want_offset[side]) else _WITHDRAWN
    lot_value = guard.size * abs(s) / LOTS
    apply_overlays(state, risk, ts_ns, s, q * LOTS, lot_value, guard.budget)
    bid = _side(guard, state, risk, ts_ns, 0, q, s, lot_value, waiting_bids)
    ask = _side(guard, state, risk, ts_ns, 1, q, s, lot_value, waiting_asks)
    return bid, ask


@njit()
def silent(guard: Any, step: int) -> None:
    """Cancel what was sent."""
    state = _at_state(guard.states)[np.uint64(0)]
    for side in range(2):
        _stand(state, int(step * guard.dt_ns), side, np.nan)


@njit()
def _side(
    guard: Any, state: Any, risk: Any, ts_ns: int, side: int, q: int, s: float, lot_value: float, waiting: int
) -> float:
    """Return the distance that one side is quoted at, NaN for none, and count what is sent for it."""
    distance = state.want_offset[side]
    if not _may_quote(guard, state, risk, ts_ns, side, q, s, lot_value, waiting):
        distance = np.nan
    _stand(state, ts_ns, side, s - (1 - 2 * side) * distance)
    return float(distance)


@njit()
def _may_quote(
    guard: Any, state: Any, risk: Any, ts_ns: int, side: int, q: int, s: float, lot_value: float, waiting: int
) -> bool:
    if state.want_reason[side] != _NONE or 2 * state.want_lots[side] < LOTS:
        return False
    sign, held, distance = 1 - 2 * side, q * LOTS, state.want_offset[side]
    if lots_within_limit(state, risk, sign, held, waiting * LOTS, lot_value, guard.budget) < LOTS:
        return False
    if sign * held >= 0 and not earns_its_fee(state, risk, distance, guard.fee, s):
        return False
    price = s - sign * distance
    if price == state.standing[side]:
        return True
    # Its own quote that it replaces has to be cancelled too.
    out_there = int(np.isfinite(state.standing[0])) + int(np.isfinite(state.standing[1]))
    return bool(
        why_not_sent(state, risk, ts_ns, sign, price, LOTS, s, lot_value, guard.budget, LOTS, held, out_there, 1)
        == _NONE
    )


@njit()
def _stand(state: Any, ts_ns: int, side: int, price: float) -> None:
    """Bring what stands on a side to a price, NaN for none, and count the messages that it takes."""
    before = state.standing[side]
    if price != before:
        if np.isfinite(before):
            count_message(state, ts_ns, False)
        if np.isfinite(price):
            count_message(state, ts_ns, True)
        state.standing[side] = price


@njit()
def take_note(guard: Any, step: int, sign: int, s: float, distance: float) -> None:
    """Take note of a fill `distance` from the mid; the order is gone."""
    state, risk = _at_state(guard.states)[np.uint64(0)], _at_risk(guard.risk)[np.uint64(0)]
    ts_ns, price = int(step * guard.dt_ns), s - sign * distance
    note_fill(state, risk, ts_ns, sign, LOTS, price)
    enter(state, ts_ns, sign, LOTS, guard.size * price)
    count_execution(state, ts_ns)
    check_executions(state, risk, ts_ns)
    state.standing[0 if sign > 0 else 1] = np.nan


@njit()
def close_path(guard: Any, path: int, profit: float) -> None:
    """Write what became of a path."""
    state = _at_state(guard.states)[np.uint64(0)]
    guard.drawdown[path] = max(state.worst, state.peak_equity - guard.budget - profit) / guard.budget
    guard.forced_cost[path] = state.forced_cost
    guard.exits[path] = state.exits
    guard.breaker[path] = state.breaker
