"""Several instruments on one account, in one order of time, with what each knows and sees of others.

Each instrument has its own state and goes through its own rows with `advance`. They meet only where one reads or
changes what belongs to all: it looks at the account's limits, hears of a fill, its model reads the others' prices, or
a request of its needs cash or margin that all share. Each stands before such a thing (`meets_ns`) until everybody else
has been brought there: rows up to that time, and what is due before it. At equal times the order is that of the list.

How far one may go on alone is known in advance (`_may_meet_from`): a row can concern the others when it reaches us at
the earliest, a decision when its orders have been answered. So they take turns of about a latency, not of a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from marketmakerl.backtesting.exchange.account import account as account_of
from marketmakerl.backtesting.exchange.account import look_at_margin, unit_cost
from marketmakerl.backtesting.layout import (
    MEMORY,
    NEVER,
    PARAMS,
    STATE,
    Mode,
    Stop,
    at_int,
    at_kind,
    at_own,
    at_tops,
    record_type,
)
from marketmakerl.backtesting.maker.limits import arm, drawdown_limit
from marketmakerl.backtesting.maker.local_view import local_equity, see_top
from marketmakerl.backtesting.step import advance, next_due, stop_passing
from marketmakerl.core.clock import NS_PER_DAY
from marketmakerl.core.jit import njit
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.models.contract import CONTEXT_TYPE, MAX_INSTRUMENTS, QUOTE_TYPE
from marketmakerl.risk.limits import RISK

_DONE, _ROOM, _ASK = int(Stop.DONE), int(Stop.ROOM), int(Stop.ASK)
_ALONE, _MEET = range(2)
_DEPTH_PAIR, _TRADE_PAIR = int(Kind.DEPTH_BID) >> 1, int(Kind.TRADE_SELL) >> 1
_KINDS = int(MORE) - 1
_NORMAL = int(Mode.NORMAL)
_DAY_NS = int(NS_PER_DAY)

# One instrument of the account.
MEMBER = np.dtype(
    [
        ("until_ns", "i8"),  # end of its data: nothing later happens to it
        ("may_meet_ns", "i8"),  # before that nothing of it concerns the others
        ("quiet_until", "i8"),  # nor do its rows before this one, as long as what follows is as it was
        ("quiet_best", "i8", (2,)),  # signed: the best prices before that row
        ("quiet_requests", "i8"),  # requests that have reached the exchange
        ("quiet_low", "i8"),  # mids in half ticks, as `look_low` and `look_high` of BOUNDS
        ("quiet_high", "i8"),
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
        ("begun", "i8"),  # it has been told how far it may go, and where it stands
        ("now_ns", "i8"),  # time of the meeting
        ("meetings", "i8"),
        ("peak_equity", "f8"),  # of the account, as far as the breakers know
        ("day", "i8"),  # UTC day since the epoch
        ("day_equity", "f8"),  # of the account at its first moment, likewise; 0: none yet
        ("breaker", "i8"),
    ],
    align=True,
)


@njit()
def _next_row_ns(state: Any, memory: Any) -> int:
    """Return the time of an instrument's next row."""
    if state.row >= memory.rows:
        return NEVER
    return int(at_int(memory.ts_ns)[np.uint64(state.row)])


@njit()
def _next_thing(state: Any, memory: Any, member: Any) -> int:
    """Return when anything happens to an instrument next."""
    when = min(next_due(state), _next_row_ns(state, memory))
    return int(when) if when <= member.until_ns else NEVER


@njit()
def _next_sight(state: Any, memory: Any) -> int:
    """Return when the next top of an instrument's book reaches us, of those that are on their way."""
    if state.wire.top_seen + 1 >= state.wire.top_end:
        return NEVER
    return int(at_tops(memory.tops)[np.uint64((state.wire.top_seen + 1) & state.wire.top_mask)].local_ns)


@njit()
def _begin_anew(state: Any, member: Any) -> None:
    """Let the search for rows that concern the others begin where an instrument stands."""
    member.quiet_until = state.row
    member.quiet_best[0], member.quiet_best[1] = state.book.best[0], state.book.best[1]
    member.quiet_requests = state.wire.request_first
    member.quiet_low, member.quiet_high = state.bounds.look_low, state.bounds.look_high


@njit()
def _look_for_rows(state: Any, memory: Any, params: Any, member: Any, until_ns: int) -> None:
    """Go on to the first row before `until_ns` that may concern the others: any but the commonest.

    A row is quiet if it fills none of our orders, leaves the mid where no limit can be reached, and shows a model that
    rows wake nothing new. It is looked at once, unless our orders or the limits have changed since.
    """
    moved = member.quiet_requests != state.wire.request_first
    moved = moved or member.quiet_low != state.bounds.look_low or member.quiet_high != state.bounds.look_high
    if moved or member.quiet_until < state.row:
        _begin_anew(state, member)
    if state.book.mode != _NORMAL or state.book.dirty != 0 or state.ledger.start_mark == 0.0:
        member.quiet_until = state.row
        return
    ts_ns, ticks = at_int(memory.ts_ns), at_int(memory.price_ticks)
    lots, kinds = at_int(memory.qty_lots), at_kind(memory.kind)
    bests, low, high = member.quiet_best, member.quiet_low, member.quiet_high
    rows_wake, sizes_wake = params.wake_kinds != 0, params.wake_kinds != 0 and params.ignores_sizes == 0
    i = member.quiet_until
    while i < memory.rows:
        row = np.uint64(i)
        if ts_ns[row] >= until_ns:
            break
        kind = np.int64(kinds[row]) & _KINDS
        side = kind & 1
        signed = (ticks[row] ^ -side) + side  # -tick for an ask
        if kind >> 1 == _DEPTH_PAIR:
            best = bests[side]
            if signed >= best:
                if lots[row] == 0 or (sizes_wake if signed == best else rows_wake):
                    break
                mids = signed - bests[1] if side == 0 else bests[0] - signed
                if signed >= state.own.meets[side] or mids <= low or mids >= high:
                    break
                bests[side] = signed
        elif kind >> 1 != _TRADE_PAIR or state.own.best[side] >= signed:
            break
        i += 1
    member.quiet_until = i


@njit()
def _may_meet_from(state: Any, memory: Any, params: Any, member: Any) -> int:
    """Return a time before which nothing of an instrument can concern the others, whatever comes of what is due."""
    due = state.due
    if due.meets_ns < NEVER:
        return int(due.meets_ns)
    if params.risk_on == 0 and params.decisions_meet == 0 and params.requests_meet == 0:
        return NEVER
    # Recorded latencies may be anything.
    entry_ns = params.entry_ns if params.latencies == 0 else 0
    back_ns = params.response_ns if params.latencies == 0 else 0
    # What is sent may be filled when it arrives; we hear of it later.
    sent = 0 if params.decisions_meet != 0 else entry_ns + (0 if params.requests_meet != 0 else back_ns)
    when = min(due.wake_ns, due.clock_ns, due.script_ns) + sent
    when = min(when, state.wire.next_request_ns + (0 if params.requests_meet != 0 else back_ns))
    when = min(when, state.wire.next_answer_ns, due.watch_ns, due.look_ns, due.retry_ns)
    when = min(when, due.funding_ns, due.margin_ns)
    if state.row < memory.rows:
        ts_ns = at_int(memory.ts_ns)
        if params.wake_kinds != 0 and due.passing == 0:
            when = min(when, ts_ns[np.uint64(state.row)] + sent)
        _look_for_rows(state, memory, params, member, when)
        if member.quiet_until < memory.rows:
            row = np.uint64(member.quiet_until)
            # The venue looks at the margin there and then.
            when = min(when, ts_ns[row] if params.leverage > 0.0 else ts_ns[row] + back_ns)
            when = min(when, max(at_int(memory.local_ts_ns)[row] + params.feed_offset_ns, ts_ns[row]))
    return int(when) if when <= member.until_ns else NEVER


@njit()
def _limit_alone(members: Any, n: int, k: int) -> int:
    """Return how far an instrument may go on alone: to where one of the others may want to meet."""
    limit: Any = np.int64(NEVER)
    for j in range(n):
        if j != k:
            limit = min(limit, members[j].may_meet_ns)
    return int(limit)


@njit()
def _has_to_do(state: Any, memory: Any, member: Any, limit_ns: int) -> bool:
    """Return whether an instrument can go on alone: it has rows up to the limit, or something is due before it."""
    if state.due.meets_ns < NEVER:
        return False
    # A bar that opens when the one before it closes waits for what is due at that time (see `advance`).
    rows_wait = next_due(state) <= state.closed_ns
    if state.row < memory.rows and not rows_wait and _next_row_ns(state, memory) <= limit_ns:
        return True
    return bool(next_due(state) < limit_ns and next_due(state) <= member.until_ns)


@njit()
def _local_mid(state: Any, params: Any) -> float:
    """Return the last mid that an instrument has seen; 0 if there was none."""
    return float(state.seen.mids * 0.5 * params.tick_size)


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
    free = state.local.cash
    if params.spot == 0:
        free += state.local.open_value
    else:
        own, work = at_own(memory.own), at_int(memory.work)
        for i in range(state.own.n_work[0]):
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
        mid = _local_mid(other, params[j])
        held += local_equity(other, mid) if mid > 0.0 else members[j].opening_equity
        cash += _free_local_cash(other, memories[j], params[j])
        budget += other.ledger.start_equity if other.ledger.start_mark > 0.0 else members[j].opening_equity
        known = other.seen.unknown == 0
        context.bids[j] = other.seen.bid * params[j].tick_size if known and other.seen.bid > -NEVER else np.nan
        context.asks[j] = -other.seen.ask * params[j].tick_size if known and other.seen.ask > -NEVER else np.nan
    state = states[k]
    state.local.other_equity = held
    state.local.other_cash = cash
    state.local.other_budget = budget
    own_start = state.ledger.start_equity if state.ledger.start_mark > 0.0 else members[k].opening_equity
    account.peak_equity = max(account.peak_equity, own_start + budget)
    state.risk.peak_equity = account.peak_equity
    if account.day_equity == 0.0:
        account.day = account.now_ns // _DAY_NS
        account.day_equity = own_start + budget
    state.risk.day, state.risk.day_equity = account.day, account.day_equity
    state.risk.breaker = max(state.risk.breaker, account.breaker)
    if params[k].requests_meet != 0:
        _tell_exchange(account, states, memories, params, k)


@njit()
def _hear(account: Any, states: Any, params: Any, k: int) -> None:
    """Take over what an instrument has found out about the account; a breaker is for all of them, at once."""
    state = states[k]
    account.peak_equity = max(account.peak_equity, state.risk.peak_equity)
    account.day, account.day_equity = state.risk.day, state.risk.day_equity
    account.breaker = max(account.breaker, state.risk.breaker)
    for j in range(account.n):
        # Nothing has happened to anybody else since (`_limit_of`): it is the same moment for all.
        if states[j].risk.breaker < account.breaker and params[j].risk_on != 0:
            states[j].risk.breaker = account.breaker
            states[j].local.settled = 0
            states[j].due.wake_ns = min(states[j].due.wake_ns, state.now_ns)


@njit()
def _limit_of(account: Any, states: Any, memories: Any, members: Any, k: int) -> int:
    """Return how far the acting member may go on: to just before anything happens to anybody else."""
    limit: Any = np.int64(NEVER)
    for j in range(account.n):
        if j != k:
            limit = min(limit, _next_thing(states[j], memories[j], members[j]), _next_sight(states[j], memories[j]))
    return int(max(limit - 1, account.now_ns))


@njit()
def _share_out(account: Any, states: Any, memories: Any, params: Any, risks: Any, members: Any) -> None:
    """Look no more before one of those that hold something has used up its share of what all may lose, or gain."""
    total, budget, holders = 0.0, 0.0, 0
    for j in range(account.n):
        state = states[j]
        mid = _local_mid(state, params[j])
        begun = state.ledger.start_mark > 0.0
        total += local_equity(state, mid) if mid > 0.0 else members[j].opening_equity
        budget += state.ledger.start_equity if begun else members[j].opening_equity
        holders += int(state.local.lots != 0)
    for j in range(account.n):
        state, risk = states[j], risks[j]
        state.local.looked = 0
        if params[j].risk_on == 0 or params[j].bars != 0:
            continue
        state.local.equity_above, state.local.equity_below = np.nan, np.nan
        mid = _local_mid(state, params[j])
        if state.local.lots != 0 and mid > 0.0:
            own = local_equity(state, mid)
            limit, floor = drawdown_limit(state, risk), -np.inf
            if not np.isnan(limit):
                state.local.equity_above = own + (account.peak_equity - total) / holders
                floor = account.peak_equity - limit * budget
            if not np.isnan(risk.daily_loss_pct):
                floor = max(floor, account.day_equity - risk.daily_loss_pct * budget)
            if floor > -np.inf:
                state.local.equity_below = own - (total - floor) / holders
        arm(state, memories[j], params[j], risk)


@njit()
def _look_ahead(account: Any, states: Any, memories: Any, params: Any, members: Any) -> None:
    """Work out of each member from when on it may concern the others."""
    for j in range(account.n):
        members[j].may_meet_ns = _may_meet_from(states[j], memories[j], params[j], members[j])


@njit()
def _meet(account: Any, states: Any, memories: Any, params: Any, members: Any) -> None:
    """Let all meet at the first time at which one has to."""
    account.now_ns = _limit_alone(members, account.n, -1)
    account.phase = _MEET
    account.meetings += 1
    for j in range(account.n):
        stop_passing(states[j], memories[j], params[j], account.now_ns)


@njit()
def _part(account: Any, states: Any, memories: Any, params: Any, risks: Any, members: Any) -> None:
    """End a meeting."""
    for j in range(account.n):
        if states[j].local.looked != 0:
            _share_out(account, states, memories, params, risks, members)
            break
    for j in range(account.n):
        states[j].due.meets_ns = NEVER
    _look_ahead(account, states, memories, params, members)
    account.phase = _ALONE


@njit()
def _takes_part(account: Any, states: Any, memories: Any, params: Any, contexts: Any, members: Any, k: int) -> bool:
    """Return whether a member has anything to do, alone or at the meeting, and tell it how far it may go."""
    state, member = states[k], members[k]
    if account.phase == _MEET:
        if member.may_meet_ns != account.now_ns:
            return False
        _tell(account, states, memories, params, contexts, members, k)
        state.due.limit_ns = _limit_of(account, states, memories, members, k)
        state.due.may_act = 1
        return True
    state.due.limit_ns = _limit_alone(members, account.n, k)
    state.due.may_act = 0
    return _has_to_do(state, memories[k], member, state.due.limit_ns)


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
    if account.begun == 0:
        _look_ahead(account, states, memories, params, members)
    while True:
        went_on = False
        while account.at < account.n:
            k = account.at
            state, memory, member = states[k], memories[k], members[k]
            if account.begun == 0 and not _takes_part(account, states, memories, params, contexts, members, k):
                account.at += 1
                continue
            account.begun = 1
            stop = advance(
                state, memory, params[k], risks[k], contexts[k], models[k],
                model_params[member.params_first : member.params_end], member.until_ns,
            )  # fmt: skip
            if stop in (_ROOM, _ASK):
                return stop
            if account.phase == _MEET:
                _hear(account, states, params, k)
            else:
                member.may_meet_ns = _may_meet_from(state, memory, params[k], member)
            went_on = True
            account.begun = 0
            account.at += 1
        account.at = 0
        if account.phase == _MEET:
            _part(account, states, memories, params, risks, members)
        elif not went_on:
            if _limit_alone(members, account.n, -1) == NEVER:
                return _DONE
            _meet(account, states, memories, params, members)
