"""What we see of the book: the top of it, as it has reached us by now."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from marketmakerl.backtesting.layout import NEVER, at_tops
from marketmakerl.core.jit import njit
from marketmakerl.core.ledger import unit_value

# Marks of an entry: the feed has lost its place; it wakes the model; the top is that of the entry before; what it shows
# may be beyond one of our limits.
LOST: Final = 1
WAKE: Final = 2
SAME: Final = 4
LOOK: Final = 8


@njit()
def see_top(state: Any, memory: Any, now_ns: int) -> None:
    """Bring our view of the book up to `now_ns`."""
    tops = at_tops(memory.tops)
    at, end, mask = state.top_seen + 1, state.top_end, state.top_mask
    while at < end:
        top = tops[np.uint64(at & mask)]
        if top.local_ns > now_ns:
            break
        at += 1
        if top.marks & SAME == 0:
            bid, ask = top.bid_ticks, top.ask_ticks
            state.view_bid = bid
            state.view_ask = ask
            state.view_bid_lots = top.bid_lots
            state.view_ask_lots = top.ask_lots
            state.view_unknown = top.marks & LOST
            state.view_changed = 1
            if is_two_sided(state, bid, ask) and top.marks & LOST == 0:
                state.seen_low = min(state.seen_low, bid - ask)
                state.seen_high = max(state.seen_high, bid - ask)
    state.top_seen = at - 1


@njit()
def see(state: Any, memory: Any, now_ns: int) -> None:
    """Bring our view of the book up to `now_ns`, and find the next entry that wakes the model."""
    see_top(state, memory, now_ns)
    if state.wake_ns <= now_ns:
        state.wake_ns = next_marked(state, memory, WAKE)


@njit()
def next_marked(state: Any, memory: Any, mark: int) -> int:
    """Return when the next entry with a mark reaches us."""
    tops = at_tops(memory.tops)
    at, end, mask = state.top_seen + 1, state.top_end, state.top_mask
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
    if state.view_unknown == 0 and is_two_sided(state, state.view_bid, state.view_ask):
        return float((state.view_bid - state.view_ask) * 0.5 * params.tick_size)
    return 0.0


@njit()
def local_equity(state: Any, mid: float) -> float:
    """Return equity as far as we know: fills that have been reported, at the mid we see."""
    return float(state.local_cash + state.local_lots * state.lot_size * unit_value(state, mid))
