"""A book of levels: a dense ring around the market, and a sorted store for those far away.

The exchange keeps the recorded book in one, and the maker, where a model asks for depth, what has reached it in
another: `book_state` is a record `layout.BOOK`, `memory` any with the fields of `layout.BOOK_MEMORY`.

A tick inside the window [low, low + size) has the slot `tick mod size` of its side, so moving the window moves no
level: those that fall out go to the store, those that come in return from it. Nothing is lost, nothing is allocated;
when the store is too small the caller is told before anything changes.

A snapshot says how deep it goes: at or better than its worst level everything is known, empty levels included. Beyond
it a level is known once a later row has stated its total, 0 too (NAMED); of the others nothing is known, and none of
them is in the book.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.layout import (
    EMPTY,
    LOTS_MASK,
    NAMED,
    NEVER,
    SLOT_BITS,
    SLOT_MASK,
    STALE,
    at_int,
)
from marketmakerl.core.jit import njit


@njit()
def in_window(book_state: Any, tick: int) -> bool:
    """Return whether the level has a slot in the ring."""
    return 0 <= tick - book_state.low_ticks < (1 << book_state.window_bits)


@njit()
def slot_of(book_state: Any, side: int, tick: int) -> int:
    """Return where a tick of the window lies in the ring."""
    size = 1 << book_state.window_bits
    return side * size + (tick & (size - 1))


@njit()
def _far_place(book_state: Any, memory: Any, side: int, tick: int) -> int:
    """Return the first place of the side's store whose tick is not below `tick`."""
    ticks = at_int(memory.far_ticks)
    low = side * book_state.far_cap
    high = low + book_state.n_far[side]
    while low < high:
        middle = (low + high) >> 1
        if ticks[middle] < tick:
            low = middle + 1
        else:
            high = middle
    return low


@njit()
def _far_get(book_state: Any, memory: Any, side: int, tick: int) -> int:
    place = _far_place(book_state, memory, side, tick)
    if place < side * book_state.far_cap + book_state.n_far[side] and at_int(memory.far_ticks)[place] == tick:
        return at_int(memory.far_lots)[place]
    return 0


@njit()
def _far_set(book_state: Any, memory: Any, side: int, tick: int, lots: int) -> None:
    """Write a level of the store; 0 removes it. The caller has made sure that there is room for one more."""
    ticks, quantities = at_int(memory.far_ticks), at_int(memory.far_lots)
    place = _far_place(book_state, memory, side, tick)
    end = side * book_state.far_cap + book_state.n_far[side]
    held = place < end and ticks[place] == tick
    if lots != 0:
        if not held:
            for i in range(end, place, -1):
                ticks[i] = ticks[i - 1]
                quantities[i] = quantities[i - 1]
            book_state.n_far[side] += 1
        ticks[place] = tick
        quantities[place] = lots
    elif held:
        for i in range(place, end - 1):
            ticks[i] = ticks[i + 1]
            quantities[i] = quantities[i + 1]
        book_state.n_far[side] -= 1


@njit()
def level_lots(book_state: Any, memory: Any, side: int, tick: int) -> int:
    """Return the recorded quantity of a level, in lots."""
    if in_window(book_state, tick):
        return (at_int(memory.book)[slot_of(book_state, side, tick)] >> SLOT_BITS) & LOTS_MASK
    return _far_get(book_state, memory, side, tick) & LOTS_MASK


@njit()
def is_known(book_state: Any, memory: Any, side: int, tick: int) -> bool:
    """Return whether it is known what rests at a level, nothing included."""
    signed = tick if side == 0 else -tick
    if signed >= book_state.known[side]:
        return True
    if book_state.depth_seen == 0 or book_state.known[side] == NEVER:
        return False  # best prices say nothing of what is worse; in a gap nobody says anything
    if in_window(book_state, tick):
        return bool(at_int(memory.book)[slot_of(book_state, side, tick)] & NAMED != 0)
    return bool(_far_get(book_state, memory, side, tick) != 0)


@njit()
def far_next(book_state: Any, memory: Any, side: int, signed: int) -> int:
    """Return the signed price of the store's best level at or below `signed`, -NEVER if there is none."""
    ticks, quantities = at_int(memory.far_ticks), at_int(memory.far_lots)
    begin = side * book_state.far_cap
    end = begin + book_state.n_far[side]
    if side == 0:
        i = _far_place(book_state, memory, side, signed + 1) - 1
        while i >= begin and quantities[i] & LOTS_MASK == 0:
            i -= 1
        return ticks[i] if i >= begin else -NEVER
    i = _far_place(book_state, memory, side, -signed)
    while i < end and quantities[i] & LOTS_MASK == 0:
        i += 1
    return -ticks[i] if i < end else -NEVER


@njit()
def drop_empty(book_state: Any, memory: Any, side: int) -> None:
    """Forget the levels of the store of which nothing is left."""
    ticks, quantities = at_int(memory.far_ticks), at_int(memory.far_lots)
    begin = side * book_state.far_cap
    kept = begin
    for i in range(begin, begin + book_state.n_far[side]):
        if quantities[i] & LOTS_MASK != 0:
            ticks[kept] = ticks[i]
            quantities[kept] = quantities[i]
            kept += 1
    book_state.n_far[side] = kept - begin


@njit()
def find_best(book_state: Any, memory: Any, side: int, start: int) -> None:
    """Set the side's best to the best level at or below `start` (signed): the best there was has gone."""
    book = at_int(memory.book)
    size = 1 << book_state.window_bits
    mask, base = size - 1, side * size
    # The best that the window can hold: a signed price above it would name another level's slot.
    limit = book_state.low_ticks + size - 1 if side == 0 else -book_state.low_ticks
    signed = min(start, limit)
    worst = book_state.worst[side]
    if side == 0:
        while signed >= worst and book[base + (signed & mask)] >> SLOT_BITS == 0:
            signed -= 1
    else:
        while signed >= worst and book[base + (-signed & mask)] >> SLOT_BITS == 0:
            signed -= 1
    if signed < worst:
        signed = -NEVER
        book_state.worst[side] = NEVER
        book_state.named_low[side] = -NEVER
    book_state.best[side] = max(signed, far_next(book_state, memory, side, NEVER - 1))


@njit()
def write_level(book_state: Any, memory: Any, side: int, tick: int, lots: int) -> None:
    """Set a level and keep the bests right: the slow path, for any tick. The own orders linked to it stay."""
    signed = tick if side == 0 else -tick
    if in_window(book_state, tick):
        book = at_int(memory.book)
        place = slot_of(book_state, side, tick)
        book[place] = (lots << SLOT_BITS) | NAMED | (book[place] & SLOT_MASK)
        book_state.named_low[side] = min(book_state.named_low[side], signed)
        if lots > 0:
            book_state.worst[side] = min(book_state.worst[side], signed)
    elif lots == 0 and _is_worth_knowing(book_state, side, signed):
        _far_set(book_state, memory, side, tick, EMPTY)
    else:
        _far_set(book_state, memory, side, tick, lots)
    if signed >= book_state.best[side]:
        book_state.dirty |= 1
        if lots > 0:
            book_state.best[side] = signed
        elif signed == book_state.best[side]:
            find_best(book_state, memory, side, signed)


@njit()
def _is_worth_knowing(book_state: Any, side: int, signed: int) -> bool:
    """Return whether it must be remembered of a level that a row has said that nothing is there."""
    return bool(book_state.depth_seen != 0 and signed < book_state.known[side])


@njit()
def wanted_low(book_state: Any) -> int:
    """Return where the window should begin: the market in its middle, in steps of an eighth of its size."""
    bid, ask = book_state.best[0], -book_state.best[1]
    if bid == -NEVER:
        bid = ask
    if ask == NEVER:
        ask = bid
    middle = bid + (ask - bid) // 2
    step = 1 << (book_state.window_bits - 3)
    return ((middle - (1 << (book_state.window_bits - 1))) // step) * step


@njit()
def off_centre(book_state: Any) -> bool:
    """Return whether the market has come so near to the window's edge that it should move."""
    if book_state.best[0] == -NEVER and book_state.best[1] == -NEVER:
        return False
    moved = wanted_low(book_state) - book_state.low_ticks
    return abs(moved) > (1 << (book_state.window_bits - 2))


@njit()
def _spill(book_state: Any, memory: Any, first: int, last: int, count_only: bool) -> int:
    """Move the levels with first <= tick < last from the ring to the store; return how many the fuller side has."""
    book = at_int(memory.book)
    most = 0
    for side in range(2):
        n = 0
        for tick in range(first, last):
            place = slot_of(book_state, side, tick)
            if book[place] != 0:
                lots = book[place] >> SLOT_BITS
                if (
                    lots == 0
                    and book[place] & NAMED
                    and _is_worth_knowing(book_state, side, tick if side == 0 else -tick)
                ):
                    lots = EMPTY
                if lots != 0:
                    n += 1
                    if not count_only:
                        _far_set(book_state, memory, side, tick, lots)
                if not count_only:
                    book[place] = 0
        most = max(most, n)
    return most


@njit()
def has_room_to_move(book_state: Any, memory: Any, new_low: int) -> bool:
    """Return whether the store has room for the levels that leave a window that moves; if not, say what it lacks."""
    first, last = _leaving(book_state, new_low)
    leaving = _spill(book_state, memory, first, last, True)
    if leaving > book_state.far_cap - max(book_state.n_far[0], book_state.n_far[1]) - 1:
        book_state.need = leaving + 1
        return False
    return True


@njit()
def move_window(book_state: Any, memory: Any, new_low: int) -> None:
    """Move the window; `has_room_to_move` has been asked."""
    first, last = _leaving(book_state, new_low)
    _spill(book_state, memory, first, last, False)
    book_state.low_ticks = new_low
    book_state.recentres += 1
    _return_levels(book_state, memory)


@njit()
def _leaving(book_state: Any, new_low: int) -> tuple[int, int]:
    """Return the ticks, first and one beyond the last, that a window leaves when it moves."""
    size = 1 << book_state.window_bits
    low = book_state.low_ticks
    moved = min(abs(new_low - low), size)
    first = low if new_low > low else low + size - moved
    return first, first + moved


@njit()
def _return_levels(book_state: Any, memory: Any) -> None:
    """Bring the levels of the store that the window now covers into the ring."""
    book, ticks, quantities = at_int(memory.book), at_int(memory.far_ticks), at_int(memory.far_lots)
    size = 1 << book_state.window_bits
    for side in range(2):
        begin = side * book_state.far_cap
        end = begin + book_state.n_far[side]
        first = _far_place(book_state, memory, side, book_state.low_ticks)
        last = _far_place(book_state, memory, side, book_state.low_ticks + size)
        for i in range(first, last):
            place = slot_of(book_state, side, ticks[i])
            book[place] = ((quantities[i] & LOTS_MASK) << SLOT_BITS) | NAMED | (book[place] & SLOT_MASK)
        for i in range(last, end):
            ticks[first + i - last] = ticks[i]
            quantities[first + i - last] = quantities[i]
        book_state.n_far[side] -= last - first
        # Nothing outside the window is the ring's, whatever was its worst before.
        book_state.worst[side] = book_state.low_ticks if side == 0 else -(book_state.low_ticks + size - 1)
        book_state.named_low[side] = -NEVER


@njit()
def mark_stale(book_state: Any, memory: Any) -> None:
    """Begin a snapshot: every level there is counts as gone unless the snapshot names it."""
    book, quantities = at_int(memory.book), at_int(memory.far_lots)
    size = 1 << book_state.window_bits
    mask = size - 1
    for side in range(2):
        begin = side * book_state.far_cap
        for i in range(begin, begin + book_state.n_far[side]):
            if quantities[i] & LOTS_MASK != 0:
                quantities[i] |= STALE
        if book_state.worst[side] == NEVER:
            continue
        top = book_state.low_ticks + mask if side == 0 else -book_state.low_ticks
        for signed in range(max(book_state.worst[side], top - mask), min(book_state.best[side], top) + 1):
            book[side * size + ((signed if side == 0 else -signed) & mask)] &= ~NAMED


@njit()
def drop_stale(book_state: Any, memory: Any) -> None:
    """End a snapshot: every level that it has not named goes. `named_worst` is the worst of those named."""
    book, ticks, quantities = at_int(memory.book), at_int(memory.far_ticks), at_int(memory.far_lots)
    size = 1 << book_state.window_bits
    mask = size - 1
    for side in range(2):
        begin = side * book_state.far_cap
        i = begin
        while i < begin + book_state.n_far[side]:
            if quantities[i] & STALE:
                write_level(book_state, memory, side, ticks[i], 0)
            else:
                i += 1
        if book_state.worst[side] == NEVER:
            continue
        top = book_state.low_ticks + mask if side == 0 else -book_state.low_ticks
        for signed in range(max(book_state.worst[side], top - mask), min(book_state.best[side], top) + 1):
            tick = signed if side == 0 else -signed
            level = book[side * size + (tick & mask)]
            if level & NAMED == 0 and level >> SLOT_BITS != 0:
                write_level(book_state, memory, side, tick, 0)
        book_state.worst[side] = max(book_state.named_worst[side], top - mask)


@njit()
def next_level_down(book_state: Any, memory: Any, side: int, signed: int) -> int:
    """Return the signed price of a side's best level at or below `signed`, -NEVER if there is none."""
    size = 1 << book_state.window_bits
    mask, base = size - 1, side * size
    inside: Any = np.int64(min(signed, book_state.low_ticks + mask if side == 0 else -book_state.low_ticks))
    worst = book_state.worst[side]
    if inside >= worst:
        book, start = at_int(memory.book), inside
        if side == 0:
            while inside >= worst and book[np.uint64(base + (inside & mask))] >> SLOT_BITS == 0:
                inside -= 1
        else:
            while inside >= worst and book[np.uint64(base + (-inside & mask))] >> SLOT_BITS == 0:
                inside -= 1
        if inside < worst:
            # There is none: the next search need not look here again.
            book_state.worst[side] = start + 1
            inside = -NEVER
    else:
        inside = -NEVER
    if book_state.n_far[side] == 0:
        return int(inside)
    return int(max(inside, far_next(book_state, memory, side, signed)))
