"""What we see of the book: the top of it, as it has reached us by now."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from marketmakerl.backtesting.layout import NEVER, at_tops
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import unit_value

# Marks of an entry: the feed has lost its place; it wakes the model; the top is that of the entry before; what it shows
# may be beyond one of our limits; its prices are those of the entry before, only the quantity of the bid, of the ask
# (then it holds that one, and nothing else of it may be read) or both are not.
LOST: Final = 1
WAKE: Final = 2
SAME: Final = 4
LOOK: Final = 8
BID_SIZE: Final = 16
ASK_SIZE: Final = 32
SIZES: Final = BID_SIZE | ASK_SIZE


@njit()
def _take_over(state: Any, top: Any) -> None:
    """See an entry that is not the same as the one before."""
    marks = top.marks
    if marks & SIZES == 0:
        state.seen.bid = top.bid_ticks
        state.seen.ask = top.ask_ticks
        state.seen.unknown = marks & LOST
        state.seen.changed = 1
    else:
        state.seen.sized = 1
    if marks & SIZES != ASK_SIZE:
        state.seen.bid_lots = top.bid_lots
    if marks & SIZES != BID_SIZE:
        state.seen.ask_lots = top.ask_lots
    bid, ask = state.seen.bid, state.seen.ask
    if is_two_sided(state, bid, ask) and state.seen.unknown == 0:
        state.seen.mids = bid - ask
        state.seen.low = min(state.seen.low, bid - ask)
        state.seen.high = max(state.seen.high, bid - ask)


@njit()
def see_top(state: Any, memory: Any, now_ns: int) -> None:
    """Bring our view of the book up to `now_ns`."""
    tops = at_tops(memory.tops)
    at, end, mask = state.wire.top_seen + 1, state.wire.top_end, state.wire.top_mask
    while at < end:
        top = tops[np.uint64(at & mask)]
        if top.local_ns > now_ns:
            break
        at += 1
        if top.marks & SAME == 0:
            _take_over(state, top)
    state.wire.top_seen = at - 1


@njit()
def see(state: Any, memory: Any, now_ns: int) -> None:
    """Bring our view of the book up to `now_ns`, and find the next entry that wakes the model."""
    see_top(state, memory, now_ns)
    if state.due.wake_ns <= now_ns:
        state.due.wake_ns = next_marked(state, memory, WAKE)


@njit()
def is_news(marks: int, ignores_sizes: int) -> bool:
    """Return whether an entry shows a model anything that it looks at."""
    return bool(marks & SAME == 0 and (marks & SIZES == 0 or ignores_sizes == 0))


@njit()
def look_ahead(state: Any, memory: Any, ignores_sizes: int) -> tuple[int, int, bool]:
    """Return when the next entry wakes the model, when the next that it has to be asked at, and whether there is news.

    It has to be asked at the first entry that wakes it, and is or comes after one that shows it anything.
    """
    tops = at_tops(memory.tops)
    at, end, mask = state.wire.top_seen + 1, state.wire.top_end, state.wire.top_mask
    first: Any = np.int64(NEVER)
    news = False
    while at < end:
        top = tops[np.uint64(at & mask)]
        news = news or is_news(top.marks, ignores_sizes)
        if top.marks & WAKE:
            if first == NEVER:
                first = top.local_ns
            if news:
                return first, top.local_ns, True
        at += 1
    return first, NEVER, news


@njit()
def pass_by(state: Any, memory: Any, ignores_sizes: int, until_ns: int) -> int:
    """See what reaches us before `until_ns` up to the first news, set the next wake, and return how many woke us."""
    tops = at_tops(memory.tops)
    at, end, mask = state.wire.top_seen + 1, state.wire.top_end, state.wire.top_mask
    woke = 0
    while at < end:
        top = tops[np.uint64(at & mask)]
        if top.local_ns >= until_ns or is_news(top.marks, ignores_sizes):
            break
        if top.marks & SAME == 0:
            _take_over(state, top)
        woke += (top.marks & WAKE) >> 1
        at += 1
    state.wire.top_seen = at - 1
    state.due.wake_ns = next_marked(state, memory, WAKE)
    return woke


@njit()
def next_marked(state: Any, memory: Any, mark: int) -> int:
    """Return when the next entry with a mark reaches us."""
    tops = at_tops(memory.tops)
    at, end, mask = state.wire.top_seen + 1, state.wire.top_end, state.wire.top_mask
    while at < end:
        top = tops[np.uint64(at & mask)]
        if top.marks & mark:
            return int(top.local_ns)
        at += 1
    return NEVER


@njit()
def is_two_sided(state: Any, bid: int, ask: int) -> bool:
    """Return whether signed best prices make a mid: both there, not crossed (a close is both), not at zero."""
    return bool(bid != -NEVER and ask != -NEVER and bid + ask < state.one_price and ask != 0)


@njit()
def seen_mid(state: Any, params: Any) -> float:
    """Return the mid we see; 0 if there is none."""
    if state.seen.unknown == 0 and is_two_sided(state, state.seen.bid, state.seen.ask):
        return float((state.seen.bid - state.seen.ask) * 0.5 * params.tick_size)
    return 0.0


@njit()
def local_equity(state: Any, mid: float) -> float:
    """Return equity as far as we know: fills that have been reported, at the mid we see."""
    return float(state.local.cash + state.local.lots * state.ledger.lot_size * unit_value(state.ledger, mid))
