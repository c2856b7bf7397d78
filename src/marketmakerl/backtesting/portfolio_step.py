"""Several instruments on one account, in one order of time: which of them goes on, how far, and what it sees of others.

Each instrument has its own state and goes through its own rows with `advance`. They meet only where one reads what
belongs to all, when its model is asked or a request of its needs cash that all share. So at each such time everybody
else is first brought there: rows up to that time, and what is due before it. At equal times the order is that of the
list. What an instrument does between meetings nobody else can notice, so it is done in one go.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from marketmakerl.backtesting.exchange.account import account as account_of
from marketmakerl.backtesting.exchange.account import look_at_margin, unit_cost
from marketmakerl.backtesting.layout import MEMORY, NEVER, PARAMS, STATE, Stop, at_int, at_own, at_tops, record_type
from marketmakerl.backtesting.maker.local_view import local_equity, see_top, seen_mid
from marketmakerl.backtesting.step import advance, next_due
from marketmakerl.core.clock import NS_PER_DAY
from marketmakerl.core.jit import njit
from marketmakerl.models.contract import CONTEXT_TYPE, MAX_INSTRUMENTS, QUOTE_TYPE
from marketmakerl.risk.limits import RISK
from marketmakerl.risk.state import HALTED

_DONE, _ROOM, _ASK = int(Stop.DONE), int(Stop.ROOM), int(Stop.ASK)
_CHOOSE, _BRING, _ACT, _END = range(4)
_DAY_NS = int(NS_PER_DAY)

# One instrument of the account.
MEMBER = np.dtype(
    [
        ("until_ns", "i8"),  # end of its data: nothing later happens to it
        ("decisions_meet", "i8"),  # its decisions read what belongs to all
        ("on_rows", "i8"),  # its model is woken by rows
        ("on_answers", "i8"),  # likewise by answers
        ("limits", "i8"),  # it has limits that are looked at between decisions
        ("requests_meet", "i8"),  # what it sends may need cash or margin that all share
        ("meets_ns", "i8"),  # when it next may read what belongs to all
        ("acts", "i8"),  # it does something at the meeting under way
        ("opening_equity", "f8"),  # until its first two-sided book
        ("params_first", "i8"),  # its model's parameters among those of all
        ("params_end", "i8"),
    ],
    align=True,
)
# Where the account stands. It survives a way out to Python, which enlarges arrays or asks a model.
ACCOUNT = np.dtype(
    [
        ("n", "i8"),
        ("phase", "i8"),
        ("at", "i8"),  # the member under way
        ("begun", "i8"),  # it has been told where it stands
        ("now_ns", "i8"),  # time of the meeting
        ("actors", "i8"),
        ("meetings", "i8"),
        ("peak_equity", "f8"),  # of the account, as far as the breakers know
        ("day", "i8"),  # UTC day since the epoch
        ("day_equity", "f8"),  # of the account at its first moment, likewise; 0: none yet
        ("breaker", "i8"),
        ("mids", "f8", (MAX_INSTRUMENTS,)),  # last local mids; 0: none so far
    ],
    align=True,
)


@njit()
def _next_thing(state: Any, memory: Any, member: Any) -> int:
    """Return when anything happens to an instrument next."""
    when = next_due(state)
    if state.row < memory.rows:
        when = min(when, at_int(memory.ts_ns)[np.uint64(state.row)])
    return int(when) if when <= member.until_ns else NEVER


@njit()
def _next_sight(state: Any, memory: Any) -> int:
    """Return when the next top of an instrument's book reaches us, of those that are on their way."""
    if state.wire.top_seen + 1 >= state.wire.top_end:
        return NEVER
    return int(at_tops(memory.tops)[np.uint64((state.wire.top_seen + 1) & state.wire.top_mask)].local_ns)


@njit()
def _waits_for_an_answer(state: Any) -> bool:
    """Return whether a halt, an exit or a pause goes on with the next answer, whatever that comes of."""
    if state.risk.breaker != HALTED and state.risk.exiting == 0 and state.risk.pause == 0:
        return False
    return bool(state.n_work[0] + state.n_work[1] + state.takers != 0)


@njit()
def _next_meeting(state: Any, memory: Any, params: Any, member: Any) -> int:
    """Return when an instrument next may read what belongs to all."""
    when: Any = np.int64(NEVER)
    if member.decisions_meet != 0:
        when = min(state.clock_ns, state.wake_ns)
        if member.limits != 0 or member.on_answers != 0:
            when = min(when, state.wire.next_answer_ns)
        if member.limits != 0:
            when = min(when, state.watch_ns, state.look_ns)
            if _waits_for_an_answer(state):
                when = min(when, _next_thing(state, memory, member))
        if member.on_rows != 0 and state.row < memory.rows:
            # The row wakes nobody before it is received, and no later row is received before it.
            row = np.uint64(state.row)
            received = at_int(memory.local_ts_ns)[row] + params.feed_offset_ns
            when = min(when, max(received, at_int(memory.ts_ns)[row]))
    if member.requests_meet != 0:
        when = min(when, state.wire.next_request_ns, state.script_ns)
    return int(when) if when <= member.until_ns else NEVER


@njit()
def _local_mid(account: Any, state: Any, params: Any, k: int) -> float:
    mid = seen_mid(state, params)
    if mid > 0.0:
        account.mids[k] = mid
    return float(account.mids[k])


@njit()
def _tell_exchange(account: Any, states: Any, memories: Any, params: Any, k: int) -> None:
    """Write into member `k` what the others of its account hold at the exchange now."""
    total, margin, maintenance, reserved = 0.0, 0.0, 0.0, 0.0
    for j in range(account.n):
        if j != k:
            other = account_of(states[j], memories[j], params[j])
            total += other[0]
            margin += other[1]
            maintenance += other[2]
            reserved += other[3] - states[j].ledger.cash
    state = states[k]
    state.venue.other_equity = total
    state.venue.other_margin = margin
    state.venue.other_maintenance = maintenance
    state.venue.other_reserved = reserved  # what bids hold, less the cash there is: what others leave free counts
    # The venue looks anew: the others' losses are as good as its own.
    if params[k].leverage > 0.0 and state.ledger.position_lots != 0:
        look_at_margin(state, params[k], account.now_ns)


@njit()
def _free_local_cash(state: Any, memory: Any, params: Any) -> float:
    """Return the cash of a member less what its bids hold, as far as we know.

    A perpetual brings its wallet: what its position was entered at was never paid, and what it has gained since, or
    lost, is not cash before it is closed.
    """
    free = state.local_cash
    if params.spot == 0:
        free += state.local_open_value
    else:
        own, work = at_own(memory.own), at_int(memory.work)
        for i in range(state.n_work[0]):
            order = own[np.uint64(work[i])]
            held = (order.most_lots - order.local_filled_lots) * unit_cost(params, order.local_price_ticks)
            free -= held * (1.0 + max(state.venue.maker_rate, 0.0))
    return float(free)


@njit()
def _tell(account: Any, states: Any, memories: Any, params: Any, contexts: Any, members: Any, k: int) -> None:
    """Write into member `k` what it can know of the others now."""
    held, cash, budget = 0.0, 0.0, 0.0
    context = contexts[k]
    for j in range(account.n):
        other = states[j]
        if j == k:
            continue
        see_top(other, memories[j], account.now_ns)
        mid = _local_mid(account, other, params[j], j)
        held += local_equity(other, mid) if mid > 0.0 else members[j].opening_equity
        cash += _free_local_cash(other, memories[j], params[j])
        budget += other.ledger.start_equity if other.ledger.start_mark > 0.0 else members[j].opening_equity
        known = other.seen.unknown == 0
        context.bids[j] = other.seen.bid * params[j].tick_size if known and other.seen.bid > -NEVER else np.nan
        context.asks[j] = -other.seen.ask * params[j].tick_size if known and other.seen.ask > -NEVER else np.nan
    state = states[k]
    state.other_local_equity = held
    state.other_local_cash = cash
    state.other_budget = budget
    own_start = state.ledger.start_equity if state.ledger.start_mark > 0.0 else members[k].opening_equity
    account.peak_equity = max(account.peak_equity, own_start + budget)
    state.risk.peak_equity = account.peak_equity
    if account.day_equity == 0.0:
        account.day = account.now_ns // _DAY_NS
        account.day_equity = own_start + budget
    state.risk.day, state.risk.day_equity = account.day, account.day_equity
    state.risk.breaker = max(state.risk.breaker, account.breaker)
    if members[k].requests_meet != 0:
        _tell_exchange(account, states, memories, params, k)


@njit()
def _hear(account: Any, states: Any, members: Any, k: int) -> None:
    """Take over what an instrument has found out about the account; a breaker is for all of them, at once."""
    state = states[k]
    account.peak_equity = max(account.peak_equity, state.risk.peak_equity)
    account.day, account.day_equity = state.risk.day, state.risk.day_equity
    account.breaker = max(account.breaker, state.risk.breaker)
    for j in range(account.n):
        # Nothing has happened to anybody else since (`_limit_of`): it is the same moment for all.
        if states[j].risk.breaker < account.breaker and members[j].decisions_meet != 0:
            states[j].risk.breaker = account.breaker
            states[j].settled = 0
            states[j].wake_ns = min(states[j].wake_ns, state.now_ns)


@njit()
def _choose(account: Any, states: Any, memories: Any, params: Any, members: Any) -> None:
    """Set the time of the next meeting, and who acts at it."""
    now_ns: Any = np.int64(NEVER)
    for j in range(account.n):
        members[j].meets_ns = _next_meeting(states[j], memories[j], params[j], members[j])
        now_ns = min(now_ns, members[j].meets_ns)
    account.now_ns = now_ns
    account.actors = 0
    for j in range(account.n):
        acts = now_ns < NEVER and members[j].meets_ns == now_ns
        members[j].acts = int(acts)
        account.actors += int(acts)
    account.at = 0
    account.begun = 0
    account.phase = _BRING if now_ns < NEVER else _END
    account.meetings += 1


@njit()
def _ask_for_a_turn(account: Any, state: Any, memory: Any, params: Any, member: Any) -> None:
    """Let a member act at the meeting if it has found something out on the way there."""
    if member.acts == 0 and _next_meeting(state, memory, params, member) <= account.now_ns:
        member.acts = 1
        account.actors += 1


@njit()
def _limit_of(account: Any, states: Any, memories: Any, members: Any, k: int) -> int:
    """Return how far the acting member may go on: to just before anything happens to anybody else."""
    limit: Any = np.int64(NEVER)
    for j in range(account.n):
        if j != k:
            limit = min(limit, _next_thing(states[j], memories[j], members[j]), _next_sight(states[j], memories[j]))
    return int(max(limit - 1, account.now_ns))


@njit()
def _takes_part(account: Any, state: Any, memory: Any, member: Any) -> bool:
    """Return whether a member has anything to do in the phase under way."""
    if account.phase == _ACT:
        return bool(member.acts != 0)
    if account.phase == _END:
        return True
    # Who alone acts needs not be brought: it gets there by itself.
    alone = member.acts != 0 and account.actors == 1
    return not alone and _next_thing(state, memory, member) <= account.now_ns


_RECORDS = [types.Array(record_type(dtype), 1, "C") for dtype in (STATE, MEMORY, PARAMS, RISK)]

ADVANCE_TOGETHER_SIGNATURE = types.int64(
    record_type(ACCOUNT),
    *_RECORDS,
    types.Array(CONTEXT_TYPE, 1, "C"),
    types.Array(record_type(MEMBER), 1, "C"),
    types.UniTuple(QUOTE_TYPE, MAX_INSTRUMENTS),
    types.float64[::1],
)


@njit(ADVANCE_TOGETHER_SIGNATURE)
def advance_together(
    account: Any,
    states: Any,
    memories: Any,
    params: Any,
    risks: Any,
    contexts: Any,
    members: Any,
    models: Any,
    model_params: Any,
) -> int:
    """Go on to the end of everybody's data.

    Args:
        account: ACCOUNT record.
        states: STATE[n]; these and the next four as in `advance`, one record a member.
        memories: MEMORY[n].
        params: PARAMS[n].
        risks: RISK[n].
        contexts: CONTEXT[n].
        members: MEMBER[n].
        models: the quote functions, filled up to `MAX_INSTRUMENTS` with any.
        model_params: float64[m], the parameters of all models one after another.

    Returns:
        A `Stop`; ROOM and ASK concern the member `account.at`.
    """
    while True:
        if account.phase == _CHOOSE:
            _choose(account, states, memories, params, members)
        while account.at < account.n:
            k = account.at
            state, memory, member = states[k], memories[k], members[k]
            if not _takes_part(account, state, memory, member):
                account.at += 1
                continue
            if account.begun == 0:
                account.begun = 1
                state.limit_ns = account.now_ns
                state.meeting_ns = account.now_ns
                state.may_act = 0
                if account.phase == _ACT:
                    _tell(account, states, memories, params, contexts, members, k)
                    state.limit_ns = _limit_of(account, states, memories, members, k)
                    state.may_act = 1
            stop = advance(
                state, memory, params[k], risks[k], contexts[k], models[k],
                model_params[member.params_first : member.params_end], member.until_ns,
            )  # fmt: skip
            if stop in (_ROOM, _ASK):
                return stop
            if account.phase == _ACT:
                _hear(account, states, members, k)
            else:
                _ask_for_a_turn(account, state, memory, params[k], member)
            account.begun = 0
            account.at += 1
        if account.phase == _END:
            return _DONE
        account.at = 0
        account.phase = _ACT if account.phase == _BRING else _CHOOSE
