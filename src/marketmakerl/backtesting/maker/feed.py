"""What has reached us of the book beyond its top and of the trades, kept for a model that asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.book.levels import (
    drop_stale,
    find_best,
    has_room_to_move,
    level_lots,
    mark_stale,
    move_window,
    next_level_down,
    off_centre,
    wanted_low,
    write_level,
)
from marketmakerl.backtesting.layout import (
    NEVER,
    SLOT_BITS,
    Mode,
    at_book,
    at_book_memory,
    at_feed,
    at_float,
    at_int,
    at_seen_trades,
)
from marketmakerl.core.jit import njit
from marketmakerl.data.tape import MORE, Kind

_MORE = int(MORE)
_GAP, _SNAPSHOT = int(Kind.GAP), int(Kind.SNAPSHOT)
_FIRST_TRADE, _BUY, _SELL = int(Kind.TRADE_SELL), int(Kind.TRADE_BUY), int(Kind.TRADE_SELL)
_DEPTH_PAIR, _BBO_PAIR = int(Kind.DEPTH_BID) >> 1, int(Kind.BBO_BID) >> 1
_NORMAL, _OPENING, _IN_SNAPSHOT, _IN_GAP = (int(mode) for mode in Mode)


@njit()
def take_rows(state: Any, memory: Any, params: Any, until_ns: int) -> bool:
    """Take in what has reached us by `until_ns`; return False if our book needs more room for what comes next."""
    feed, mask = at_feed(memory.feed), state.wire.feed_mask
    book, places = at_book(memory.seen_book)[np.uint64(0)], at_book_memory(memory.seen_book_at)[np.uint64(0)]
    levels, best, worst = at_int(places.book), book.best, book.worst
    size = 1 << book.window_bits
    first, whole = state.wire.feed_first, state.wire.feed_whole
    keeps_book, keeps_trades = params.depth > 0, params.trades > 0
    low = book.low_ticks if book.mode == _NORMAL else NEVER
    room = True
    while first < whole:
        row = feed[np.uint64(first & mask)]
        if row.local_ns > until_ns:
            break
        if book.dirty != 0 and feed[np.uint64((first - 1) & mask)].kind < _MORE:
            if not _follow(state, book, places):
                room = False
                break
            low = book.low_ticks if book.mode == _NORMAL else NEVER
        code, tick, lots = row.kind, row.price_ticks, row.qty_lots
        k = code & (_MORE - 1)
        side = k & 1
        signed = (tick ^ -side) + side  # -tick for an ask
        if k >= _FIRST_TRADE:
            if keeps_trades:
                trade = at_seen_trades(memory.seen_trades)[np.uint64(state.seen.trades & params.trades_mask)]
                trade.ts_ns = row.ts_ns
                trade.side = int(k == _BUY) - int(k == _SELL)
                trade.price_ticks = tick
                trade.qty_lots = lots
                state.seen.trades += 1
            if code < _MORE and book.mode == _IN_SNAPSHOT:
                _end_snapshot(book, places)
                low = book.low_ticks
        elif not keeps_book:
            pass
        elif k >> 1 == _DEPTH_PAIR and 0 <= tick - low < size:
            at = np.uint64(side * size + (tick & (size - 1)))
            levels[at] = lots << SLOT_BITS
            if signed >= best[side]:
                if lots > 0:
                    book.dirty |= int(signed > best[side])
                    best[side] = signed
                    worst[side] = min(worst[side], signed)
                elif signed == best[side]:
                    book.dirty = 1
                    find_best(book, places, side, signed)
            elif signed < worst[side] and lots > 0:
                worst[side] = signed
        else:
            if max(book.n_far[0], book.n_far[1]) + 1 >= book.far_cap:
                state.out.need = 1
                room = False
                break
            _apply(book, places, k, side, signed, tick, lots)
            if code < _MORE and book.mode == _IN_SNAPSHOT:
                _end_snapshot(book, places)
            low = book.low_ticks if book.mode == _NORMAL else NEVER
        first += 1
    state.wire.feed_first = first
    if room and book.dirty != 0:
        room = _follow(state, book, places)
    return room


@njit()
def _follow(state: Any, book: Any, places: Any) -> bool:
    """Let the window follow the market after a message; return False if its store has no room for what it leaves."""
    if off_centre(book):
        low = wanted_low(book)
        if not has_room_to_move(book, places, low):
            state.out.need = book.need
            return False
        move_window(book, places, low)
    book.dirty = 0
    return True


@njit()
def _apply(book: Any, places: Any, kind: int, side: int, signed: int, tick: int, lots: int) -> None:
    """Apply a row that the fast path leaves alone, by the rules of the exchange's own book."""
    if kind >> 1 == _DEPTH_PAIR:
        book.depth_seen = 1
        if book.mode == _OPENING:
            book.mode = _NORMAL
        if book.mode != _IN_GAP:
            if book.mode == _IN_SNAPSHOT and lots > 0:
                book.named_worst[side] = min(book.named_worst[side], signed)
            write_level(book, places, side, tick, lots)
    elif kind >> 1 == _BBO_PAIR:
        if book.mode == _IN_GAP and book.depth_seen == 0:
            book.mode = _OPENING
        if book.mode != _IN_GAP:
            while book.best[side] > signed:
                write_level(book, places, side, abs(book.best[side]), 0)
            write_level(book, places, side, tick, lots)
    elif kind == _SNAPSHOT:
        book.mode = _IN_SNAPSHOT
        book.depth_seen = 1
        book.named_worst[0] = NEVER
        book.named_worst[1] = NEVER
        mark_stale(book, places)
    elif kind == _GAP:
        book.mode = _IN_GAP


@njit()
def _end_snapshot(book: Any, places: Any) -> None:
    drop_stale(book, places)
    book.mode = _NORMAL


@njit()
def show_depth(memory: Any, params: Any) -> None:
    """Write the best levels of what has reached us into the model's context, NaN and 0 where there is none.

    A feed of best prices alone tells of one level: what it said of others is past. After a gap none is known.
    """
    book, places = at_book(memory.seen_book)[np.uint64(0)], at_book_memory(memory.seen_book_at)[np.uint64(0)]
    out, n = at_float(memory.shown_depth), params.depth
    most = n if book.depth_seen != 0 else 1
    for side in range(2):
        place, end = 2 * side * n, 2 * side * n + n
        last = place + most
        signed: Any = np.int64(book.best[side] if book.mode != _IN_GAP else -NEVER)
        while place < last and signed > -NEVER:
            tick = abs(signed)
            out[np.uint64(place)] = tick * params.tick_size
            out[np.uint64(place + n)] = level_lots(book, places, side, tick) * params.lot_size
            place += 1
            if place < last:
                signed = next_level_down(book, places, side, signed - 1)
        while place < end:
            out[np.uint64(place)] = np.nan
            out[np.uint64(place + n)] = 0.0
            place += 1


@njit()
def show_trades(state: Any, memory: Any, params: Any) -> None:
    """Write the last trades that have reached us into the model's context, and how many are new to it."""
    counts, out, n = at_int(memory.shown_counts), at_float(memory.shown_trades), params.trades
    rows, seen = at_seen_trades(memory.seen_trades), state.seen.trades
    new = seen - state.seen.trades_shown
    state.seen.trades_shown = seen
    counts[0] = new
    counts[1] = max(0, new - n)
    for i in range(n):
        at = np.uint64(i)
        if i < seen:
            trade = rows[np.uint64((seen - 1 - i) & params.trades_mask)]
            counts[at + np.uint64(2)] = trade.ts_ns
            counts[at + np.uint64(n + 2)] = trade.side
            out[at] = trade.price_ticks * params.tick_size
            out[at + np.uint64(n)] = trade.qty_lots * params.lot_size
        else:
            counts[at + np.uint64(2)] = 0
            counts[at + np.uint64(n + 2)] = 0
            out[at] = np.nan
            out[at + np.uint64(n)] = 0.0
