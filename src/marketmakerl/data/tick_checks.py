"""What every tape of ticks must be before an engine reads it; checked once a tape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from marketmakerl.core.errors import DataFormatError
from marketmakerl.core.jit import njit
from marketmakerl.data.tape import MORE, Kind

if TYPE_CHECKING:
    from marketmakerl.data.tape import EventTape

MAX_PRICE_TICKS = 1 << 40
MAX_QTY_LOTS = 1 << 46
MAX_HOLE_NS = 31 * 86_400 * 10**9  # longer than any outage: two clocks in one tape, or times that are no nanoseconds
_PRICED = sum(1 << int(kind) for kind in Kind if kind >= Kind.DEPTH_BID)
_KNOWN = _PRICED | 1 << int(Kind.GAP) | 1 << int(Kind.SNAPSHOT)
_MORE = int(MORE)
_WRONG = (
    "",
    "its kind is none of a tick tape (bars and ticks do not mix)",
    "its time goes back",
    "its time of receipt goes back",
    f"its price is not between 1 and {MAX_PRICE_TICKS} ticks",
    f"its quantity is not between 0 and {MAX_QTY_LOTS} lots",
    "the message it belongs to has rows of another time",
    "it lies more than 31 days after the row before: are all times nanoseconds UTC?",
)

_COLUMN = types.Array(types.int64, 1, "C", readonly=True)


_KINDS = types.Array(types.int8, 1, "C", readonly=True)


@njit(types.UniTuple(types.int64, 2)(_COLUMN, _COLUMN, _COLUMN, _COLUMN, _KINDS))
def _first_wrong(ts_ns: Any, local_ts_ns: Any, price_ticks: Any, qty_lots: Any, kind: Any) -> tuple[int, int]:
    """Return (row, what is wrong with it), (-1, 0) if nothing is."""
    for i in range(len(ts_ns)):
        code = np.int64(kind[i])
        k = code & (_MORE - 1)
        if code < 0 or (_KNOWN >> k) & 1 == 0:
            return i, 1
        if i > 0:
            if ts_ns[i] < ts_ns[i - 1]:
                return i, 2
            if local_ts_ns[i] < local_ts_ns[i - 1]:
                return i, 3
            if ts_ns[i] - ts_ns[i - 1] > MAX_HOLE_NS:
                return i, 7
            if kind[i - 1] >= _MORE and ts_ns[i] != ts_ns[i - 1]:
                return i, 6
        if (_PRICED >> k) & 1:
            if price_ticks[i] < 1 or price_ticks[i] >= MAX_PRICE_TICKS:
                return i, 4
            if qty_lots[i] < 0 or qty_lots[i] >= MAX_QTY_LOTS:
                return i, 5
    return -1, 0


def check_ticks(tape: EventTape) -> None:
    """Refuse a tape that the tick engine could not read right.

    Raises:
        DataFormatError: a tape of bars, or the first row that is wrong and what is wrong with it.
    """
    if getattr(tape, "_ticks_are_right", False):
        return
    if tape.is_bars:
        raise DataFormatError("this tape was compiled from bars; the tick engine reads book, quotes and trades")
    columns = (tape.ts_ns, tape.local_ts_ns, tape.price_ticks, tape.qty_lots, tape.kind)
    row, wrong = _first_wrong(*(np.asarray(column) for column in columns))
    if wrong:
        raise DataFormatError(f"row {row} of the tape: {_WRONG[wrong]}")
    if tape.since_ns is not None and (np.asarray(tape.since_ns) > np.asarray(tape.ts_ns)).any():
        row = int(np.argmax(np.asarray(tape.since_ns) > np.asarray(tape.ts_ns)))
        raise DataFormatError(f"row {row} of the tape: the order that left came after it (since_ns)")
    object.__setattr__(tape, "_ticks_are_right", True)  # it is frozen, and the check costs a pass over the rows


_BAR_KINDS = (Kind.BAR_OPEN, Kind.BAR_LOW, Kind.BAR_HIGH, Kind.BAR_CLOSE, Kind.GAP)


def check_bars(tape: EventTape) -> None:
    """Refuse a tape that the engine could not read as bars.

    Raises:
        DataFormatError: a tape of ticks, or the first row that is wrong and what is wrong with it.
    """
    kind, ts_ns = np.asarray(tape.kind), np.asarray(tape.ts_ns)
    if not tape.is_bars:
        raise DataFormatError("this tape holds ticks; it cannot be read as bars")
    wrong = {
        "its kind is none of a tape of bars (bars and ticks do not mix)": ~np.isin(kind, _BAR_KINDS),
        _WRONG[2]: np.diff(ts_ns, prepend=ts_ns[0]) < 0,
        _WRONG[4]: (np.asarray(tape.price_ticks) < 1) | (np.asarray(tape.price_ticks) >= MAX_PRICE_TICKS),
        _WRONG[5]: (np.asarray(tape.qty_lots) < 0) | (np.asarray(tape.qty_lots) >= MAX_QTY_LOTS),
    }
    for what, rows in wrong.items():
        if rows.any():
            raise DataFormatError(f"row {int(np.argmax(rows))} of the tape: {what}")
