"""Compiled: one pass over hftbacktest events that checks every row and writes the columns of a tape."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
from numba import types

from marketmakerl.core.jit import njit
from marketmakerl.data.grid import GRID_EPS, MAX_PRICE_TICKS, MAX_QTY_LOTS, REL_EPS
from marketmakerl.data.tape import MORE, Kind


class Slot(enum.IntEnum):
    """What stands where in the state that goes from chunk to chunk (int64)."""

    ROW = 0  # rows read
    SIZE = 1  # rows written
    MESSAGES = 2
    SNAPSHOTS = 3
    TRADES = 4
    LOCAL_ONLY = 5  # rows for the local side only, left out
    RECEIPT_RAISED = 6  # times of receipt that were before the row ahead
    OFF_LOT_ROUNDED_UP = 7
    ODD_ROW = 8  # the first of them
    OTHER = 9  # rows of another kind
    OTHER_ROW = 10  # the first of them
    OTHER_KIND = 11
    FAULT = 12  # a `Fault`, 0 for none: nothing more is read
    FAULT_ROW = 13
    FAULT_VALUE = 14  # the bits of the float at fault
    RUN = 15  # where the open snapshot began in the output, -1 for none
    CLEARED = 16  # sides that it cleared: 1 bids, 2 asks
    LAST_TS = 17
    LAST_LOCAL = 18


STATE_SIZE = len(Slot)


class Fault(enum.IntEnum):
    """Why a row was refused."""

    PRICE = 1
    OFF_TICK = 2
    LARGE_PRICE = 3
    QTY = 4
    OFF_LOT = 5
    LARGE_QTY = 6
    TIME = 7
    BACKWARDS = 8
    SIDE = 9
    ONE_SIDED = 10


_DEPTH, _TRADE, _CLEAR, _SNAPSHOT, _BBO = 1, 2, 3, 4, 5
_KIND_BITS = 0xFF
_SELL, _BUY, _EXCH = 1 << 28, 1 << 29, 1 << 31
_BID_BIT, _ASK_BIT, _BOTH = 1, 2, 3
_PX, _QTY = 3, 4  # columns of an event

_ROW, _SIZE, _MESSAGES, _SNAPSHOTS, _TRADES, _LOCAL_ONLY, _RAISED, _ODD, _ODD_ROW, _OTHER, _OTHER_ROW, _OTHER_KIND = (
    int(slot) for slot in list(Slot)[:12]
)
_FAULT, _FAULT_ROW, _FAULT_VALUE, _RUN, _CLEARED, _LAST_TS, _LAST_LOCAL = (int(slot) for slot in list(Slot)[12:])
_F_PRICE, _F_OFF_TICK, _F_LARGE_PRICE, _F_QTY, _F_OFF_LOT = (int(fault) for fault in list(Fault)[:5])
_F_LARGE_QTY, _F_TIME, _F_BACKWARDS, _F_SIDE, _F_ONE_SIDED = (int(fault) for fault in list(Fault)[5:])
_K_SNAPSHOT, _K_BID, _K_ASK = int(Kind.SNAPSHOT), int(Kind.DEPTH_BID), int(Kind.DEPTH_ASK)
_K_BBO_BID, _K_BBO_ASK = int(Kind.BBO_BID), int(Kind.BBO_ASK)
_K_SELL, _K_BUY, _K_TRADE = int(Kind.TRADE_SELL), int(Kind.TRADE_BUY), int(Kind.TRADE)

_WORDS = types.Array(types.int64, 2, "C", readonly=True)
_NUMBERS = types.Array(types.float64, 2, "C", readonly=True)
_COLUMN = types.int64[::1]


@njit(types.void(_COLUMN, _COLUMN, _COLUMN))
def end_snapshot(ts: Any, local: Any, state: Any) -> None:
    """End the open snapshot message, if any: its rows share the times of its last one."""
    run = state[_RUN]
    if run < 0:
        return
    if state[_CLEARED] == _BID_BIT or state[_CLEARED] == _ASK_BIT:
        state[_FAULT], state[_FAULT_ROW] = _F_ONE_SIDED, state[_ROW]
    for row in range(run, state[_SIZE]):
        ts[row] = state[_LAST_TS]
        local[row] = state[_LAST_LOCAL]
    state[_RUN] = -1


@njit(types.boolean(types.int64, types.int64, types.int64, _COLUMN))
def _begins_snapshot(what: Any, bits: Any, ts: Any, state: Any) -> Any:
    """Return whether a clear or snapshot row begins a new message."""
    if state[_RUN] < 0:
        return True
    if state[_CLEARED] == 0:
        return what == _CLEAR or ts != state[_LAST_TS]
    return what == _CLEAR and state[_CLEARED] & bits != 0


@njit(types.int64(types.int64, types.boolean, types.boolean))
def _kind_of(what: Any, buy: Any, sell: Any) -> Any:
    """Return the tape's kind of a row, 0 for a side that makes no sense."""
    if what == _TRADE:
        if buy == sell:
            return _K_TRADE
        return _K_BUY if buy else _K_SELL
    if buy == sell:
        return 0
    if what == _BBO:
        return _K_BBO_BID if buy else _K_BBO_ASK
    return _K_BID if buy else _K_ASK


@njit(types.int64(types.float64, types.float64, types.float64, types.boolean))
def _fault_of(price: Any, ticks: Any, tick: Any, is_price: Any) -> Any:
    """Return why a price or quantity is refused, 0 if it is on its grid. A price is above zero."""
    if not np.isfinite(price) or price < 0.0 or (is_price and price == 0.0):
        return _F_PRICE if is_price else _F_QTY
    exact = price / tick
    if abs(exact - ticks) > GRID_EPS + REL_EPS * exact:
        return _F_OFF_TICK if is_price else _F_OFF_LOT
    if ticks >= (MAX_PRICE_TICKS if is_price else MAX_QTY_LOTS):
        return _F_LARGE_PRICE if is_price else _F_LARGE_QTY
    return 0


_READ = types.Tuple((types.int64, types.int64, types.int64, types.int64, types.int64))


@njit(_READ(_WORDS, _NUMBERS, types.int64, types.float64, types.float64, _COLUMN))
def _read(words: Any, numbers: Any, i: Any, tick: Any, lot: Any, state: Any) -> Any:
    """Return (fault, bits of the value at fault, ticks, lots, the tape's kind) of a row; a clear states nothing."""
    event, px, size = words[i, 0], numbers[i, _PX], numbers[i, _QTY]
    what = event & _KIND_BITS
    if what == _CLEAR:
        return 0, 0, 0, 0, 0
    kind = _kind_of(what, event & _BUY != 0, event & _SELL != 0)
    ticks, lots = np.rint(px / tick), np.rint(size / lot)
    fault = _fault_of(px, ticks, tick, True)
    if fault != 0:
        return fault, words[i, _PX], 0, 0, 0
    fault = _fault_of(size, lots, lot, False)
    # A level may hold odd lots from before the venue made its lot coarser: never show less than there is.
    if fault == _F_OFF_LOT and what in (_DEPTH, _SNAPSHOT):
        fault, lots = 0, np.ceil(size / lot)
        if state[_ODD] == 0:
            state[_ODD_ROW] = state[_ROW] - 1
        state[_ODD] += 1
    if fault == 0 and lots == 0 and what in (_TRADE, _BBO):
        fault = _F_QTY
    if fault == 0 and kind == 0:
        fault = _F_SIDE
    if fault != 0:
        return fault, words[i, _QTY], 0, 0, 0
    return 0, 0, int(ticks), int(lots), kind


@njit(types.int64(types.int64, types.int64, _COLUMN))
def _fault_of_time(now: Any, seen: Any, state: Any) -> Any:
    if now <= 0 or seen <= 0:
        return _F_TIME
    return _F_BACKWARDS if now < state[_LAST_TS] else 0


@njit(types.boolean(types.int64, types.int64, _COLUMN))
def _is_skipped(event: Any, row: Any, state: Any) -> Any:
    """Return whether a row is none of the tape's: for the local side only, or of a kind that is counted and refused."""
    if event & _EXCH == 0:
        state[_LOCAL_ONLY] += 1
        return True
    what = event & _KIND_BITS
    if _DEPTH <= what <= _BBO:
        return False
    if state[_OTHER] == 0:
        state[_OTHER_ROW], state[_OTHER_KIND] = row, what
    state[_OTHER] += 1
    return True


@njit(types.boolean(types.int64, types.int64, types.boolean, _COLUMN, _COLUMN, _COLUMN))
def _open_message(event: Any, now: Any, in_snapshot: Any, ts: Any, local: Any, state: Any) -> Any:
    """End the message before this row, unless it is a snapshot that goes on; return whether a snapshot begins."""
    what, buy, sell = event & _KIND_BITS, event & _BUY != 0, event & _SELL != 0
    bits = _BOTH if buy == sell else (_BID_BIT if buy else _ASK_BIT)
    opens = not in_snapshot or _begins_snapshot(what, bits, now, state)
    if opens:
        end_snapshot(ts, local, state)
        state[_MESSAGES] += 1
    if opens and in_snapshot:
        state[_RUN], state[_CLEARED] = state[_SIZE], 0
        state[_SNAPSHOTS] += 1
    if what == _CLEAR:
        state[_CLEARED] |= bits
    return opens and in_snapshot


@njit(
    types.void(
        *(_WORDS, _NUMBERS, types.float64, types.float64, _COLUMN, _COLUMN, _COLUMN, _COLUMN, types.int8[::1], _COLUMN)
    ),
)
def convert(
    words: Any, numbers: Any, tick: Any, lot: Any, ts: Any, local: Any, price: Any, qty: Any, kind: Any, state: Any
) -> None:
    """Convert a chunk of events, going on where `state` stands; stops at a fault.

    `words` and `numbers` are the same events as int64[n, 8] and float64[n, 8]; `tick` and `lot` are the instrument's;
    `ts` to `kind` are columns of the tape with room for two rows an event; `state` is int64[STATE_SIZE], see `Slot`.
    """
    for i in range(len(words)):
        event, now, seen = words[i, 0], words[i, 1], words[i, 2]
        row = state[_ROW]
        state[_ROW] += 1
        if _is_skipped(event, row, state):
            continue
        what = event & _KIND_BITS
        fault, value, ticks, lots, row_kind = _read(words, numbers, i, tick, lot, state)
        if fault == 0:
            fault = _fault_of_time(now, seen, state)
        if fault != 0:
            state[_FAULT], state[_FAULT_ROW], state[_FAULT_VALUE] = fault, row, value
            return
        state[_RAISED] += seen < state[_LAST_LOCAL]
        seen = max(seen, state[_LAST_LOCAL])
        at = state[_SIZE]
        in_snapshot = what in (_CLEAR, _SNAPSHOT)
        if not in_snapshot and state[_RUN] < 0:  # nearly every row
            state[_MESSAGES] += 1
        elif _open_message(event, now, in_snapshot, ts, local, state):
            ts[at], local[at], price[at], qty[at], kind[at] = now, seen, 0, 0, _K_SNAPSHOT
            at += 1
        # A clear names no level, and a level of a snapshot that holds nothing is not in it.
        if not in_snapshot or lots > 0:
            if in_snapshot:
                kind[at - 1] |= MORE
            ts[at], local[at], price[at], qty[at], kind[at] = now, seen, ticks, lots, row_kind
            at += 1
        state[_TRADES] += what == _TRADE
        state[_SIZE], state[_LAST_TS], state[_LAST_LOCAL] = at, now, seen
        if state[_FAULT] != 0:
            return
