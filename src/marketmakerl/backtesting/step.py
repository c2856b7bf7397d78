"""The one transition: rows of market data, ticks or bars, and whatever else is due, in order of time.

`advance` drives it from wherever the state stands to the end of the columns it is given: a backtest passes the whole
tape, a live session one row at a time, and both get the same bits. Rows come first at equal times; what follows them in
which order is the table in `due.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from marketmakerl.backtesting.book.levels import find_best, level_lots, off_centre, wanted_low
from marketmakerl.backtesting.book.levels import mark_stale as begin_snapshot
from marketmakerl.backtesting.due import Due, due_at, first_due
from marketmakerl.backtesting.exchange.account import look_at_margin, note_equity
from marketmakerl.backtesting.exchange.bars import bar_row
from marketmakerl.backtesting.exchange.fills import keep_mid, mark, open_session
from marketmakerl.backtesting.exchange.liquidation import funding_is_due, margin_is_due, rows_to_liquidate
from marketmakerl.backtesting.exchange.matching import (
    best_becomes,
    change_level,
    end_snapshot,
    handle_request,
    levels_to_take,
    move_linked,
    move_queue,
    trade,
)
from marketmakerl.backtesting.exchange.order_life import end_order
from marketmakerl.backtesting.exchange.own_levels import recentre
from marketmakerl.backtesting.layout import (
    FILLED,
    HORIZONS_NS,
    MEMORY,
    NAMED,
    NEVER,
    PARAMS,
    SAMPLE,
    SLOT_BITS,
    SLOT_MASK,
    STATE,
    Action,
    Answer,
    Local,
    Mode,
    Status,
    Stop,
    at_answers,
    at_context,
    at_int,
    at_kind,
    at_markouts,
    at_own,
    at_pending,
    at_requests,
    at_script,
    at_tops,
    record_type,
)
from marketmakerl.backtesting.maker.asking import ask, mend, show_feed
from marketmakerl.backtesting.maker.feed import take_rows
from marketmakerl.backtesting.maker.limits import (
    act_now,
    act_on_answer,
    begin_session,
    catch_up,
    look_at_limits,
    watch_bar,
    watch_is_due,
)
from marketmakerl.backtesting.maker.local_view import (
    BID_SIZE,
    LOOK,
    LOST,
    SAME,
    SIZES,
    WAKE,
    is_news,
    look_ahead,
    next_marked,
    pass_by,
    see,
)
from marketmakerl.backtesting.maker.orders import (
    cancel,
    replace,
    slot_by_id,
    submit,
    take_answer,
)
from marketmakerl.backtesting.maker.quoting import look, place, stay, stay_for, unchanged
from marketmakerl.backtesting.maker.unwind import may_ask_model, pull_quotes
from marketmakerl.backtesting.wire.market_data import send_rows
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import equity
from marketmakerl.core.memory import same_but_first, viewer
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.models.contract import CONTEXT_TYPE, QUOTE_TYPE
from marketmakerl.risk.limits import RISK
from marketmakerl.risk.reasons import Reason
from marketmakerl.risk.state import HALTED

at_samples = viewer(SAMPLE)

_VENUE, _REQUEST, _ANSWER, _SCRIPT, _LIMITS, _DECISION, _MARKOUT, _SAMPLE, _PUT_OFF = (int(due) for due in Due)
_BAR_CLOSE = int(Kind.BAR_CLOSE)
_GAP, _SNAPSHOT, _TRADE, _BBO_BID = int(Kind.GAP), int(Kind.SNAPSHOT), int(Kind.TRADE), int(Kind.BBO_BID)
_DEPTH_PAIR, _BBO_PAIR, _TRADE_PAIR = int(Kind.DEPTH_BID) >> 1, int(Kind.BBO_BID) >> 1, int(Kind.TRADE_SELL) >> 1
_MORE = int(MORE)
_NORMAL, _OPENING, _IN_SNAPSHOT, _IN_GAP = (int(mode) for mode in Mode)
_DONE, _ROOM, _ASK, _LIMIT = (int(stop) for stop in Stop)
_SUBMIT, _CANCEL, _REPLACE = (int(action) for action in Action)
_FREE = int(Local.FREE)
_FILL, _LAST_FILL, _ENDED = int(Answer.FILL), int(Answer.LAST_FILL), int(Answer.ENDED)
_NEW, _REJECTED, _EXPIRED = int(Status.NEW), int(Status.REJECTED), int(Status.EXPIRED)
_REQUOTE, _IN_FLIGHT, _END, _LIQUIDATED = (
    int(reason) for reason in (Reason.REQUOTE, Reason.IN_FLIGHT, Reason.END, Reason.LIQUIDATED)
)
# What `dirty` says of the message under way, besides the marks WAKE and LOOK of its entry: that the top has changed,
# and that it could not be sent yet.
_WAKE, _LOOK, _SAME = WAKE, LOOK, SAME
_TOP_CHANGED, _UNSENT = 1, 4
_SIZED = 16  # nothing but the quantity of a best price has, in a message of one row
_FILLED = FILLED  # the highest
_N_HORIZONS = len(HORIZONS_NS)


@njit()
def _has_room(state: Any, memory: Any, rows: int) -> bool:
    """Return whether every array that a fill writes to has room for `rows` more."""
    if (
        state.out.n_fills + rows > memory.fills_cap
        or state.out.n_orders + rows > memory.orders_cap
        or state.wire.answer_end - state.wire.answer_first + rows > state.wire.answer_mask
    ):
        state.out.need = rows
        return False
    oldest = state.pending_first[_N_HORIZONS - 1]
    if state.pending_end - oldest + rows > state.pending_mask:
        state.out.need = rows
        return False
    return True


@njit()
def _push_top(state: Any, memory: Any, params: Any, ts_ns: int, local_ts_ns: int, dirty: int) -> None:
    """Send the top of the book, as it stands after a message that changed it, on its way to us."""
    book, due = state.book, state.due
    local_ns = local_ts_ns + params.feed_offset_ns
    if local_ns < ts_ns:
        local_ns = ts_ns
        state.counts.receipt_clamped += 1
    tops = at_tops(memory.tops)
    bid, ask = book.best[0], book.best[1]
    lost = LOST if book.mode == _IN_GAP else 0
    # With fee tiers whatever makes us look again may show another fee.
    wire = state.wire
    same = bid == wire.sent_bid and ask == wire.sent_ask and lost == wire.sent_lost and params.n_tiers == 0
    state.wire.sent_bid = bid
    state.wire.sent_ask = ask
    state.wire.sent_lost = lost
    flags = (dirty & (_WAKE | _LOOK)) | lost | (SIZES if same else 0)
    if local_ns == state.wire.last_top_ns and state.wire.top_end - 1 > state.wire.top_seen:
        # What we get at one time is one entry: we see its last state, and wake once.
        top = tops[np.uint64((state.wire.top_end - 1) & state.wire.top_mask)]
        flags |= top.marks & (_WAKE | _LOOK)
        if top.marks & (_SAME | SIZES) == 0:
            flags &= ~SIZES
    else:
        top = tops[np.uint64(state.wire.top_end & state.wire.top_mask)]
        state.wire.top_end += 1
        state.wire.last_top_ns = local_ns
        top.local_ns = local_ns
    if is_news(flags, params.ignores_sizes):
        due.quiet = 0
    if flags & _WAKE and local_ns < due.wake_ns and due.quiet == 0:
        due.wake_ns = local_ns
        due.stop_ns = min(due.stop_ns, local_ns)
    if flags & _LOOK and local_ns < due.look_ns:
        due.look_ns = local_ns
        due_at(state, local_ns)
    top.marks = flags
    top.bid_ticks = bid
    top.ask_ticks = ask
    top.bid_lots = 0
    top.ask_lots = 0
    if bid > -NEVER:
        top.bid_lots = level_lots(book, memory, 0, bid)
    if ask > -NEVER:
        top.ask_lots = level_lots(book, memory, 1, -ask)
        if bid > -NEVER:
            # Only here: no fill is measured against a message of which some rows are still to come.
            keep_mid(state, params.tick_size)
            if bid >= -ask and params.bars == 0:
                state.counts.crossed += 1
            if state.begun == 0:
                if state.ledger.start_mark == 0.0:
                    open_session(state, params, state.last_mid, ts_ns)
                begin_session(state, params)
                if params.risk_on != 0:
                    # What the run opens with may be beyond a limit already.
                    top.marks |= _LOOK
                    due.look_ns = min(due.look_ns, local_ns)
                    due_at(state, local_ns)


@njit()
def _is_sent(state: Any) -> bool:
    """Return whether the best prices are what was sent last."""
    best, wire = state.book.best, state.wire
    return bool(best[0] == wire.sent_bid and best[1] == wire.sent_ask and wire.sent_lost == 0)


@njit()
def _push_size(
    state: Any, memory: Any, params: Any, ts_ns: int, local_ts_ns: int, dirty: int, side: int, lots: int
) -> None:
    """Send a best price's new quantity on its way to us; all the rest is as it was sent before."""
    due = state.due
    local_ns = local_ts_ns + params.feed_offset_ns
    if local_ns < ts_ns:
        local_ns = ts_ns
        state.counts.receipt_clamped += 1
    tops = at_tops(memory.tops)
    marks = (BID_SIZE << side) | (dirty & _WAKE)
    if local_ns == state.wire.last_top_ns and state.wire.top_end - 1 > state.wire.top_seen:
        # As in `_push_top`; an entry that holds the prices too goes on holding them.
        top = tops[np.uint64((state.wire.top_end - 1) & state.wire.top_mask)]
        whole = top.marks & (_SAME | SIZES) == 0
        marks = top.marks | (marks & _WAKE) if whole else (top.marks & ~_SAME) | marks
    else:
        top = tops[np.uint64(state.wire.top_end & state.wire.top_mask)]
        state.wire.top_end += 1
        state.wire.last_top_ns = local_ns
        top.local_ns = local_ns
    top.marks = marks
    if side == 0:
        top.bid_lots = lots
    else:
        top.ask_lots = lots
    if is_news(marks, params.ignores_sizes):
        due.quiet = 0
    if marks & _WAKE and local_ns < due.wake_ns and due.quiet == 0:
        due.wake_ns = local_ns
        due.stop_ns = min(due.stop_ns, local_ns)


@njit()
def _slow_row(
    state: Any, memory: Any, params: Any, kind: int, more: bool, tick: int, lots: int, ts_ns: int, row: int
) -> bool:
    """Apply a row that the fast path leaves alone; return False, with nothing changed, if an array is too small."""
    book = state.book
    if not _has_room(state, memory, state.own.n_live + 2):
        return False
    if max(book.n_far[0], book.n_far[1]) + 1 >= book.far_cap:
        state.out.need = 1
        return False
    if kind <= _BAR_CLOSE:
        if state.own.n_free < 1:  # for the order of a liquidation
            state.out.need = 1
            return False
        bar_row(state, memory, params, kind, tick, lots, ts_ns)
        if state.begun == 0:
            begin_session(state, params)
        if kind == _BAR_CLOSE:
            book.dirty |= _TOP_CHANGED | (_LOOK if params.risk_on != 0 else 0)
        return True
    side = kind & 1
    signed = tick if side == 0 else -tick
    if kind >> 1 == _DEPTH_PAIR:
        book.depth_seen = 1
        if book.mode == _OPENING:
            book.mode = _NORMAL
            book.known[0] = -NEVER
            book.known[1] = -NEVER
        if book.mode != _IN_GAP:
            if book.mode == _IN_SNAPSHOT and lots > 0:
                book.named_worst[side] = min(book.named_worst[side], signed)
            change_level(state, memory, params, side, tick, lots, ts_ns, row)
    elif kind >> 1 == _BBO_PAIR:
        if book.mode == _IN_GAP and book.depth_seen == 0:
            book.mode = _OPENING
        if book.mode != _IN_GAP:
            if book.depth_seen == 0:
                book.known[side] = signed
            best_becomes(state, memory, params, side, tick, lots, ts_ns)
    elif kind == _SNAPSHOT:
        book.mode = _IN_SNAPSHOT
        book.depth_seen = 1
        book.named_worst[0] = NEVER
        book.named_worst[1] = NEVER
        begin_snapshot(book, memory)
    elif kind == _GAP:
        book.mode = _IN_GAP
        state.counts.gaps += 1
        book.known[0] = NEVER
        book.known[1] = NEVER
        book.dirty |= _TOP_CHANGED | _WAKE
    else:
        state.counts.trades += 1
        if kind == _TRADE:
            side = -1
            if book.best[1] > -NEVER and tick >= -book.best[1]:
                side = 1
            elif book.best[0] > -NEVER and tick <= book.best[0]:
                side = 0
        if side >= 0:
            trade(state, memory, params, side, tick, lots, ts_ns)
    if book.mode == _IN_SNAPSHOT and not more:
        end_snapshot(state, memory, params, ts_ns)
        book.mode = _NORMAL
        book.dirty |= _TOP_CHANGED
    return True


@njit()
def _set_rest(state: Any, memory: Any, params: Any) -> None:
    """Work out when the next thing is due that has nothing to do with the feed or with requests under way."""
    due = state.due
    due.script_ns = NEVER
    if state.script_next < params.script_rows:
        due.script_ns = at_script(memory.script)[state.script_next].ts_ns
    ours = min(min(due.script_ns, due.clock_ns), min(due.markout_ns, due.sample_ns))
    ours = min(ours, min(min(due.watch_ns, due.look_ns), due.retry_ns))
    due.rest_ns = min(ours, min(due.funding_ns, due.margin_ns))


@njit()
def _venue_is_due(state: Any, memory: Any, params: Any, risk: Any) -> int:
    """Let the venue act of its own accord: funding first, then a look at the margin."""
    if state.due.funding_ns == state.now_ns:
        watched = params.risk_on != 0 and params.bars == 0  # bars: limits are looked at when a bar has closed
        if watched:
            catch_up(state, memory, params)
        funding_is_due(state, params)
        note_equity(state, params)
        if watched:
            look_at_limits(state, memory, params, risk)
    else:
        if state.ledger.position_lots != 0:
            if not _has_room(state, memory, rows_to_liquidate(state, memory)):
                return _ROOM
            if state.own.n_free < 1:
                state.out.need = 1
                return _ROOM
        margin_is_due(state, memory, params)
        _note_fills(state, params)
    _set_rest(state, memory, params)
    return _DONE


@njit()
def _note_fills(state: Any, params: Any) -> None:
    """Note equity if own orders have filled since it was last noted."""
    if state.book.dirty & _FILLED:
        state.book.dirty &= ~_FILLED
        note_equity(state, params)
        state.bounds.armed = 1


@njit()
def next_due(state: Any) -> int:
    """Return when the next thing is due that is no row."""
    wire, due = state.wire, state.due
    return int(min(min(wire.next_request_ns, wire.next_answer_ns), min(due.rest_ns, due.wake_ns)))


@njit()
def _exchange_is_due(state: Any, memory: Any, params: Any) -> int:
    """Handle the request that is due at the exchange; return `_ROOM` if an array is too small."""
    row = at_requests(memory.requests)[state.wire.request_first & state.wire.request_mask]
    order = at_own(memory.own)[row.slot]
    price_ticks = order.price_ticks if row.action == _SUBMIT else row.price_ticks
    lots = order.qty_lots if row.action == _SUBMIT else row.qty_lots
    levels = 0 if row.action == _CANCEL else levels_to_take(state, memory, params, row.slot, price_ticks, lots)
    if not _has_room(state, memory, levels + 4):
        return _ROOM
    handle_request(state, memory, params)
    _note_fills(state, params)
    return _DONE


@njit()
def _script_is_due(state: Any, memory: Any, params: Any) -> int:
    if state.own.n_free < 1 or state.wire.request_end - state.wire.request_first + 1 > state.wire.request_mask:
        state.out.need = 1
        return _ROOM
    row = at_script(memory.script)[state.script_next]
    state.script_next += 1
    _set_rest(state, memory, params)
    if row.action == _SUBMIT:
        submit(state, memory, params, row.side, row.price_ticks, row.qty_lots, row.order_type, 0, row.reduce_only)
        return _DONE
    slot = slot_by_id(state, memory, row.order_id)
    if slot < 0:
        state.counts.script_ignored += 1
    elif row.action == _CANCEL:
        cancel(state, memory, params, slot, _REQUOTE)
    else:
        replace(state, memory, params, slot, row.price_ticks, row.qty_lots)
    return _DONE


@njit()
def _markouts_are_due(state: Any, memory: Any, params: Any) -> int:
    """Note the mid at each horizon after a fill, and when the next is due."""
    mid = state.last_mid
    pending, out = at_pending(memory.pending), at_markouts(memory.markouts)
    next_ns = NEVER
    for h in range(_N_HORIZONS):
        while state.pending_first[h] < state.pending_end:
            later = pending[state.pending_first[h] & state.pending_mask]
            when = later.ts_ns + HORIZONS_NS[h]
            if when > state.now_ns:
                next_ns = min(next_ns, when)
                break
            if state.out.n_markouts >= memory.markouts_cap:
                state.out.need = 1
                return _ROOM
            row = out[state.out.n_markouts]
            row.number = later.number
            row.horizon = h
            row.mid = mid
            state.out.n_markouts += 1
            state.pending_first[h] += 1
    state.due.markout_ns = next_ns
    _set_rest(state, memory, params)
    return _DONE


@njit()
def _sample_is_due(state: Any, memory: Any, params: Any) -> int:
    if state.out.n_samples >= memory.samples_cap:
        state.out.need = 1
        return _ROOM
    _write_sample(state, memory, params, state.now_ns)
    state.due.sample_ns = state.due.sample_ns + params.equity_interval_ns if params.equity_interval_ns > 0 else NEVER
    _set_rest(state, memory, params)
    return _DONE


@njit()
def _write_sample(state: Any, memory: Any, params: Any, ts_ns: int) -> None:
    mark(state, state.last_mid)
    note_equity(state, params)
    state.bounds.armed = 1
    row = at_samples(memory.samples)[state.out.n_samples]
    row.ts_ns = ts_ns
    row.equity = equity(state.ledger)
    row.cash = state.ledger.cash
    row.position_lots = state.ledger.position_lots
    row.mid = state.ledger.mark
    state.out.n_samples += 1


@njit()
def _room_to_decide(state: Any, params: Any) -> bool:
    sends = state.own.n_work[0] + state.own.n_work[1] + 2 * params.levels + 2
    wire = state.wire
    if state.own.n_free < 2 * params.levels + 2 or wire.request_end - wire.request_first + sends > wire.request_mask:
        state.out.need = sends
        return False
    return True


@njit()
def _hear(state: Any, memory: Any, params: Any, end_row: int, until_ns: int) -> bool:
    """Let what has happened before `end_row` and reached us by `until_ns` be known to us; False: an array is too small.

    For models that ask for depth or trades; nothing that comes before it in time may be decided any more.
    """
    while True:
        all_sent = send_rows(state, memory, params, end_row)
        before = state.wire.feed_first
        if not take_rows(state, memory, params, until_ns):
            return False
        if all_sent:
            return True
        if state.wire.feed_first == before:
            state.out.need = state.wire.feed_mask + 1
            return False


@njit()
def _before_the_model(state: Any, memory: Any, params: Any, risk: Any, context: Any) -> bool:
    """Write down what we see, and return whether the model is to be asked."""
    reason = look(state, params, context)
    if reason != 0:
        state.counts.decisions += 1
        pull_quotes(state, memory, params, reason)
        return False
    if params.risk_on == 0 and state.risk.breaker != HALTED:
        return True
    return may_ask_model(state, memory, params, risk, context)


@njit()
def _risk_is_due(state: Any, memory: Any, params: Any, risk: Any, newest_local_ns: int) -> None:
    """Watch the market, or look at our limits because of what has reached us."""
    due = state.due
    if due.retry_ns == state.now_ns:
        due.retry_ns = NEVER
        state.local.settled = 0
    elif due.watch_ns == state.now_ns:
        watch_is_due(state, memory, params, risk, newest_local_ns)
    else:
        if params.bars != 0:
            watch_bar(state, memory, params, risk)
        look_at_limits(state, memory, params, risk)
    due.look_ns = next_marked(state, memory, _LOOK)
    _set_rest(state, memory, params)


@njit()
def _answer_is_due(state: Any, memory: Any, params: Any, risk: Any) -> None:
    """Take note of an answer, and look at our limits if it changes what we have or may do."""
    if state.begun == 0 and state.ledger.start_mark > 0.0:
        begin_session(state, params)
    if params.risk_on == 0:
        take_answer(state, memory, params, risk)
        if state.risk.breaker == HALTED:  # by hand
            act_on_answer(state, params)
        return
    what = at_answers(memory.answers)[np.uint64(state.wire.answer_first & state.wire.answer_mask)].what
    if params.bars == 0 and (what == _FILL or what == _LAST_FILL):
        catch_up(state, memory, params)
    breaker, lots = state.risk.breaker, state.local.lots
    take_answer(state, memory, params, risk)
    if params.bars != 0:
        if state.risk.breaker != breaker:
            act_now(state, params)
    elif state.local.lots != lots or state.risk.breaker != breaker:
        look_at_limits(state, memory, params, risk)
        if state.risk.breaker != breaker:
            act_now(state, params)
        _set_rest(state, memory, params)
    if state.risk.breaker == HALTED or state.risk.exiting != 0 or state.risk.pause != 0:
        act_on_answer(state, params)


@njit()
def _is_calm(state: Any, params: Any) -> bool:
    """Return whether to decide now could only change anything if the model says something else because of the time."""
    same_view = state.seen.changed == 0 and (state.seen.sized == 0 or params.ignores_sizes != 0)
    return bool(same_view and state.local.settled != 0)


@njit()
def _begin_to_pass(state: Any, memory: Any, params: Any) -> None:
    """Let the next wake be the one at which the model has to be asked, unless somebody else wants a decision."""
    first_ns, news_ns, news = look_ahead(state, memory, params.ignores_sizes)
    if state.due.wake_ns == first_ns:
        state.due.passing = 1
        state.due.quiet = int(not news)
        state.due.wake_ns = news_ns


@njit()
def _pass_until(state: Any, memory: Any, params: Any, ts_ns: int) -> None:
    """Count the decisions before a time that could change nothing; the next wake is the next entry's again."""
    state.due.passing = 0
    state.due.quiet = 0
    passed = pass_by(state, memory, params.ignores_sizes, ts_ns)
    if passed > 0:
        stay_for(state, passed)


@njit()
def stop_passing(state: Any, memory: Any, params: Any, ts_ns: int) -> None:
    """Bring an instrument's view up to `ts_ns`, which is now, so that others can read it."""
    if state.due.passing != 0:
        _pass_until(state, memory, params, ts_ns)


@njit()
def _concerns_all(state: Any, memory: Any, params: Any, what: int) -> bool:
    """Return whether what is due reads or changes what belongs to the whole account."""
    if what == _DECISION:
        return bool(params.decisions_meet != 0)
    if what == _REQUEST:
        return bool(params.requests_meet != 0)
    if what == _LIMITS:
        return True
    if what == _VENUE:
        return bool(params.risk_on != 0 or params.requests_meet != 0)
    if what != _ANSWER or params.risk_on == 0:
        return False
    # A fill moves equity, and a breaker may act on what the venue refuses or liquidates.
    row = at_answers(memory.answers)[np.uint64(state.wire.answer_first & state.wire.answer_mask)]
    by_venue = row.what == _ENDED and (row.status == _REJECTED or row.reason == _LIQUIDATED)
    return bool(row.what == _FILL or row.what == _LAST_FILL or by_venue)


@njit()
def _is_all(state: Any, memory: Any, ts_ns: int) -> bool:
    """Return whether nothing else is due at a time."""
    if next_due(state) <= ts_ns:
        return False
    at = state.wire.top_seen + 1
    return bool(at >= state.wire.top_end or at_tops(memory.tops)[np.uint64(at & state.wire.top_mask)].local_ns > ts_ns)


@njit()
def _still_mids(state: Any) -> tuple[int, int]:
    """Return twice the mids between which the window may stay where it is, account, drawdown and our limits too."""
    book, bounds = state.book, state.bounds
    quarter = 1 << (book.window_bits - 2)
    low, high = 2 * (book.low_ticks + quarter), 2 * (book.low_ticks + 3 * quarter)
    low, high = max(low, bounds.liquidate_low + 1), min(high, bounds.liquidate_high - 1)
    low, high = max(low, bounds.equity_low + 1), min(high, bounds.equity_high - 1)
    return max(low, bounds.look_low + 1), min(high, bounds.look_high - 1)


ADVANCE_SIGNATURE = types.int64(
    record_type(STATE),
    record_type(MEMORY),
    record_type(PARAMS),
    record_type(RISK),
    CONTEXT_TYPE,
    QUOTE_TYPE,
    types.float64[::1],
    types.int64,
)


@njit(ADVANCE_SIGNATURE)
def advance(
    state: Any,
    memory: Any,
    params: Any,
    risk: Any,
    context: Any,
    model: Any,
    model_params: Any,
    until_ns: int,
) -> int:
    """Go on from `state.row` to the end of the columns, then through what is due up to `until_ns`.

    Args:
        state: STATE record, carried from call to call. Nothing later than its `limit_ns` happens, and where `may_act`
            is 0 only rows do at that time, and it stands before what concerns a whole account (`meets_ns`).
        memory: MEMORY record, the addresses of the arrays, the columns among them.
        params: PARAMS record.
        risk: RISK record.
        context: CONTEXT record: what we see. The model is called with a copy of it.
        model: the model's compiled quote function.
        model_params: float64[n], its parameters.
        until_ns: the caller promises that no row before or at this time will follow.

    Returns:
        A `Stop`.

    Raises:
        AssertionError: an order took an illegal step, which is a bug.
    """
    n = memory.rows
    ts_ns, local_ts_ns = at_int(memory.ts_ns), at_int(memory.local_ts_ns)
    price_ticks, qty_lots, kind = at_int(memory.price_ticks), at_int(memory.qty_lots), at_kind(memory.kind)
    i, book, wire, due, bounds = state.row, state.book, state.wire, state.due, state.bounds
    due.meets_ns = NEVER
    _set_rest(state, memory, params)
    levels = at_int(memory.book)
    tops = at_tops(memory.tops)
    best, worst, own_best, meets = book.best, book.worst, state.own.best, state.own.meets
    size = 1 << book.window_bits
    mask = size - 1
    wake_kinds = params.wake_kinds
    fifo = params.queue == 3
    may_stay = params.python_model == 0 and params.session_s == np.inf
    # A model that ignores the clock need not be asked while it sees nothing new: its decisions are only counted, later.
    may_stay = may_stay and params.reads_feed == 0 and params.keeps_memory == 0
    may_pass = may_stay and params.ignores_clock != 0 and params.decisions_meet == 0 and params.bars == 0
    # With fee tiers whatever makes us look again may show another fee.
    sized = _SIZED if params.n_tiers == 0 else _TOP_CHANGED
    # What the model is called with (see `maker/asking.py`).
    shown = at_context(memory.shown)[np.uint64(0)]
    if state.local.answered != 0:
        state.local.answered = 0
        place(state, memory, params, risk, context)
    if book.dirty & _UNSENT:
        if not recentre(state, memory, wanted_low(book)):
            return _ROOM
        _push_top(state, memory, params, ts_ns[i - 1], local_ts_ns[i - 1], book.dirty)
        book.dirty = 0
    bounds.armed = 1
    low_mid, high_mid = 0, 0
    while True:
        if bounds.armed != 0:
            bounds.armed = 0
            low_mid, high_mid = _still_mids(state)
        limit_ns = due.limit_ns  # what an account has to know at once draws it in
        others = min(min(min(state.wire.next_request_ns, state.wire.next_answer_ns), due.rest_ns), limit_ns)
        calm = may_stay and _is_calm(state, params)
        if may_pass and calm and due.passing == 0:
            _begin_to_pass(state, memory, params)
        calm = calm and due.passing == 0
        stop = min(others, due.wake_ns)
        due.stop_ns = stop
        # A bar that opens when the one before it closes comes after what is due at that time.
        rows_end = n if next_due(state) > state.closed_ns else i
        # Outside the normal state of affairs no tick is in the window: every row takes the slow path.
        low = book.low_ticks if book.mode == _NORMAL else NEVER
        dirty = book.dirty
        room = True
        while i < rows_end:
            # Unsigned, or every access would be checked for an index counted from the end.
            row = np.uint64(i)
            now = ts_ns[row]
            if now > stop:
                # The commonest by far where every event wakes: nothing new is seen, the model says what it said, and
                # nothing else is due. What follows below would do the same, only slower.
                if not calm or others <= stop:
                    break
                at = state.wire.top_seen + 1
                if at >= state.wire.top_end:
                    break
                top = tops[np.uint64(at & state.wire.top_mask)]
                if top.local_ns != stop or top.marks != _WAKE | _SAME:
                    break
                wake = NEVER
                if at + 1 < state.wire.top_end:
                    top = tops[np.uint64((at + 1) & state.wire.top_mask)]
                    if top.marks & _WAKE == 0:
                        break
                    wake = top.local_ns
                if not same_but_first(shown, context):
                    break
                shown.ts_ns = stop
                bid_offset, ask_offset = model(shown, model_params)
                if not unchanged(state, params, shown, bid_offset, ask_offset):
                    break
                stay(state)
                state.wire.top_seen = at
                due.wake_ns = wake
                stop = min(wake, others)
                due.stop_ns = stop
                continue
            code: Any = np.int64(kind[row])
            k = code & (_MORE - 1)
            tick = price_ticks[row]
            lots = qty_lots[row]
            side = k & 1
            signed = (tick ^ -side) + side  # -tick for an ask
            pair = k >> 1
            if pair == _DEPTH_PAIR and ((tick - low) & ~mask) == 0:
                # The tests are in this order, and nested, so that what is rare comes first: a branch that goes either
                # way at random costs more than all the rest of the row.
                at = np.uint64(side * size + (tick & mask))
                old = levels[at]
                if signed >= meets[side] and lots > (old >> SLOT_BITS):
                    if not _has_room(state, memory, state.own.n_live + 2):
                        room = False
                        break
                    book.dirty = dirty
                    change_level(state, memory, params, side, tick, lots, now, -1)
                    dirty = book.dirty
                    stop = due.stop_ns
                    others = min(min(min(wire.next_request_ns, wire.next_answer_ns), due.rest_ns), limit_ns)
                else:
                    levels[at] = (lots << SLOT_BITS) | NAMED | (old & SLOT_MASK)
                    if signed >= best[side]:
                        if lots > 0:
                            if dirty == 0 and signed == best[side] and signed + best[1 - side] < 0 and code < _MORE:
                                dirty = sized
                            else:
                                best[side] = signed
                                worst[side] = min(worst[side], signed)
                                dirty |= _TOP_CHANGED
                        elif signed == best[side]:
                            find_best(book, memory, side, signed)
                            dirty |= _TOP_CHANGED
                    elif signed < worst[side]:
                        book.named_low[side] = min(book.named_low[side], signed)
                        if lots > 0:
                            worst[side] = signed
                    if old & SLOT_MASK != 0:
                        if fifo:
                            move_queue(state, memory, params, side, tick, old >> SLOT_BITS, lots, i)
                        else:
                            move_linked(memory, params, old & SLOT_MASK, old >> SLOT_BITS, lots)
            elif pair == _TRADE_PAIR and k != _TRADE and own_best[side] < signed:
                state.counts.trades += 1
            else:
                book.dirty = dirty
                if not _slow_row(state, memory, params, k, code >= _MORE, tick, lots, now, i):
                    room = False
                    break
                if k == _BAR_CLOSE:
                    rows_end = i + 1
                dirty = book.dirty
                stop = due.stop_ns
                others = min(min(min(state.wire.next_request_ns, state.wire.next_answer_ns), due.rest_ns), limit_ns)
                low = book.low_ticks if book.mode == _NORMAL else NEVER
            dirty |= ((wake_kinds >> k) & 1) << 1
            i += 1
            if dirty != 0 and code < _MORE:
                if dirty == _WAKE:
                    # The commonest by far where every event wakes: nothing new to see, only that something came.
                    local_ns = local_ts_ns[row] + params.feed_offset_ns
                    if local_ns < now:
                        local_ns = now
                        state.counts.receipt_clamped += 1
                    # Without a branch: whether it comes at the time of the entry before is as good as random.
                    end = state.wire.top_end
                    joins = int((local_ns == state.wire.last_top_ns) & (end - 1 > state.wire.top_seen))
                    top = tops[np.uint64((end - joins) & state.wire.top_mask)]
                    top.marks = (top.marks & -joins) | (_SAME & (joins - 1)) | _WAKE
                    top.local_ns = local_ns
                    state.wire.top_end = end + 1 - joins
                    state.wire.last_top_ns = local_ns
                    if due.quiet == 0:
                        due.wake_ns = min(due.wake_ns, local_ns)
                        stop = min(stop, local_ns)
                        due.stop_ns = stop
                else:
                    if dirty >= _FILLED:
                        dirty &= ~_FILLED
                        keep_mid(state, params.tick_size)
                        note_equity(state, params)
                        low_mid, high_mid = _still_mids(state)
                    mids = best[0] - best[1]
                    if dirty & ~_WAKE == _SIZED and low_mid <= mids <= high_mid and _is_sent(state):
                        _push_size(state, memory, params, now, local_ts_ns[row], dirty, side, lots)
                        stop = due.stop_ns
                    elif dirty != 0:
                        if mids < low_mid or mids > high_mid:
                            if mids <= bounds.liquidate_low or mids >= bounds.liquidate_high:
                                look_at_margin(state, params, now)
                            if mids <= bounds.look_low or mids >= bounds.look_high:
                                dirty |= _LOOK
                            if mids <= bounds.equity_low or mids >= bounds.equity_high:
                                keep_mid(state, params.tick_size)
                                note_equity(state, params)
                                low_mid, high_mid = _still_mids(state)
                            # The window must move before the top is read.
                            if params.bars == 0 and off_centre(book):
                                if not recentre(state, memory, wanted_low(book)):
                                    dirty |= _UNSENT
                                    room = False
                                    break
                                low = book.low_ticks if book.mode == _NORMAL else NEVER
                                low_mid, high_mid = _still_mids(state)
                        _push_top(state, memory, params, now, local_ts_ns[row], dirty)
                        stop = due.stop_ns
                        others = min(others, due.rest_ns)
                dirty = 0
                if state.wire.top_end - state.wire.top_seen >= state.wire.top_mask:
                    if due.passing != 0:
                        _pass_until(state, memory, params, now)
                        stop = min(stop, due.wake_ns)
                        due.stop_ns = stop
                    see(state, memory, now)
                    calm = False
                    if state.wire.top_end - state.wire.top_seen >= state.wire.top_mask >> 1:
                        state.out.need = state.wire.top_mask >> 1
                        room = False
                        break
        book.dirty = dirty
        state.row = i
        if not room:
            if due.passing != 0:
                _pass_until(state, memory, params, 0)
            return _ROOM
        if i == n and stop > until_ns:
            if due.passing != 0:
                _pass_until(state, memory, params, until_ns + 1)
            if n > 0:
                if params.reads_feed != 0 and not _hear(state, memory, params, n, until_ns):
                    return _ROOM
                last = np.uint64(n - 1)
                state.seen.newest_local_ns = max(local_ts_ns[last] + params.feed_offset_ns, ts_ns[last])
            return _DONE
        if stop >= limit_ns and (due.may_act == 0 or next_due(state) > limit_ns):
            return _LIMIT
        alone = params.shared != 0 and due.may_act == 0
        if alone and _concerns_all(state, memory, params, first_due(state, stop)):
            due.meets_ns = stop
            return _LIMIT
        if due.passing != 0:
            _pass_until(state, memory, params, stop)
        state.now_ns = stop
        result = _DONE
        what = first_due(state, stop)
        if what == _VENUE:
            result = _venue_is_due(state, memory, params, risk)
            bounds.armed = 1
        elif what == _REQUEST:
            result = _exchange_is_due(state, memory, params)
        elif what == _ANSWER:
            _answer_is_due(state, memory, params, risk)
            # Once a time is enough: a model that an order of no duration answered at once would never get any further.
            if params.wake_on_answers != 0 and state.local.decided_ns != stop:
                if may_pass and _is_calm(state, params) and _is_all(state, memory, stop):
                    state.local.decided_ns = stop
                    stay(state)
                else:
                    due.wake_ns = stop
        elif what == _SCRIPT:
            result = _script_is_due(state, memory, params)
        elif what == _LIMITS:
            # What has happened by now is what the exchange's rows say; what has reached us, their times of receipt.
            newest = state.seen.newest_local_ns
            if i > 0:
                newest = max(local_ts_ns[np.uint64(i - 1)] + params.feed_offset_ns, ts_ns[np.uint64(i - 1)])
            _risk_is_due(state, memory, params, risk, newest)
        elif what == _DECISION:
            if not _room_to_decide(state, params):
                return _ROOM
            if params.reads_feed != 0 and not _hear(state, memory, params, i, stop):
                return _ROOM
            # However many reasons there are to wake at one time, it is one decision.
            see(state, memory, stop)
            if due.clock_ns == stop:
                due.clock_ns += params.interval_ns
                _set_rest(state, memory, params)
            if params.quoting == 0:
                continue
            state.local.decided_ns = stop
            if params.bars != 0:
                state.local.decided_lots = state.local.lots
                state.local.decided_work = state.own.n_work[0] + state.own.n_work[1]
            if may_pass and _is_calm(state, params):
                stay(state)
                continue
            mend(shown, context)
            if not _before_the_model(state, memory, params, risk, context):
                continue
            if params.reads_feed != 0:
                show_feed(state, memory, params)
            if params.python_model != 0:
                return _ASK
            bid_offset, ask_offset = ask(shown, context, model, model_params)
            if unchanged(state, params, context, bid_offset, ask_offset):
                stay(state)
            else:
                state.local.quote_offset[0] = bid_offset
                state.local.quote_offset[1] = ask_offset
                place(state, memory, params, risk, context)
        elif what == _MARKOUT:
            result = _markouts_are_due(state, memory, params)
        elif what == _SAMPLE:
            result = _sample_is_due(state, memory, params)
        elif what == _PUT_OFF:
            _set_rest(state, memory, params)
        if result != _DONE:
            return _ROOM


FINISH_SIGNATURE = types.int64(record_type(STATE), record_type(MEMORY), record_type(PARAMS))


@njit(FINISH_SIGNATURE)
def finish(state: Any, memory: Any, params: Any) -> int:
    """End the session at the last row: what is still on its way never arrived, what rests expires."""
    own, live = at_own(memory.own), at_int(memory.live)
    if not _has_room(state, memory, state.own.cap - state.own.n_free + 1) or state.out.n_samples >= memory.samples_cap:
        return _ROOM
    ts_ns = state.last_ns
    between = params.equity_interval_ns > 0 and state.due.sample_ns - params.equity_interval_ns < ts_ns
    if state.ledger.start_mark > 0.0 and between:
        _write_sample(state, memory, params, ts_ns)
    if state.counts.two_sided_since >= 0:
        state.counts.two_sided_ns += ts_ns - state.counts.two_sided_since
        state.counts.two_sided_since = -1
    for i in range(state.wire.request_first, state.wire.request_end):
        slot = at_requests(memory.requests)[i & state.wire.request_mask].slot
        if own[slot].local != _FREE and own[slot].status == _NEW:
            end_order(state, memory, params, slot, ts_ns, _EXPIRED, _IN_FLIGHT)
    for i in range(state.own.n_live):
        end_order(state, memory, params, live[i], ts_ns, _EXPIRED, _END)
    return _DONE
