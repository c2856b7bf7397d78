"""Own orders in the exchange's book: the list of each level, and what becomes of the lists when the window moves."""

from __future__ import annotations

from typing import Any

from marketmakerl.backtesting.book.levels import has_room_to_move, in_window, move_window, slot_of
from marketmakerl.backtesting.layout import SLOT_MASK, at_int, at_own
from marketmakerl.core.jit import njit


@njit()
def link(state: Any, memory: Any, slot: int) -> None:
    """Enter a live own order at its level, behind those that came before it. Levels outside the window have no list."""
    book = state.book
    own = at_own(memory.own)
    order = own[slot]
    order.next = 0
    if not in_window(book, order.price_ticks):
        return
    levels = at_int(memory.book)
    place = slot_of(book, 0 if order.side > 0 else 1, order.price_ticks)
    first = levels[place] & SLOT_MASK
    if first == 0 or own[first - 1].rest_seq > order.rest_seq:
        order.next = first
        levels[place] = (levels[place] & ~SLOT_MASK) | (slot + 1)
        return
    before = own[first - 1]
    while before.next != 0 and own[before.next - 1].rest_seq < order.rest_seq:
        before = own[before.next - 1]
    order.next = before.next
    before.next = slot + 1


@njit()
def unlink(state: Any, memory: Any, slot: int) -> None:
    """Take an own order out of its level's list."""
    book = state.book
    own = at_own(memory.own)
    order = own[slot]
    if not in_window(book, order.price_ticks):
        return
    levels = at_int(memory.book)
    place = slot_of(book, 0 if order.side > 0 else 1, order.price_ticks)
    if levels[place] & SLOT_MASK == slot + 1:
        levels[place] = (levels[place] & ~SLOT_MASK) | order.next
        return
    before = own[(levels[place] & SLOT_MASK) - 1]
    while before.next != slot + 1:
        before = own[before.next - 1]
    before.next = order.next


@njit()
def recentre(state: Any, memory: Any, new_low: int) -> bool:
    """Move the window; return False, with nothing changed, if the store has no room for the levels that leave it."""
    book = state.book
    if not has_room_to_move(book, memory, new_low):
        state.out.need = book.need
        return False
    live, own = at_int(memory.live), at_own(memory.own)
    for i in range(state.own.n_live):
        order = own[live[i]]
        if in_window(book, order.price_ticks):
            place = slot_of(book, 0 if order.side > 0 else 1, order.price_ticks)
            at_int(memory.book)[place] &= ~SLOT_MASK
    move_window(book, memory, new_low)
    for i in range(state.own.n_live):
        link(state, memory, live[i])
    return True
