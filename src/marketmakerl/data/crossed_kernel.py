"""Compiled: replay a tape's book and find the messages after which it is crossed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from marketmakerl.core.jit import njit
from marketmakerl.data.tape import MORE, Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.data.tape import EventTape

_MORE = int(MORE)
_GAP, _SNAPSHOT = int(Kind.GAP), int(Kind.SNAPSHOT)
_DEPTH_BID, _DEPTH_ASK, _BBO_BID, _BBO_ASK = (
    int(kind) for kind in (Kind.DEPTH_BID, Kind.DEPTH_ASK, Kind.BBO_BID, Kind.BBO_ASK)
)
_RANKS = types.Array(types.int64, 1, "C", readonly=True)
_KINDS = types.Array(types.int8, 1, "C", readonly=True)


@njit(types.void(types.int64, types.int64, types.int64, types.int64, types.int64[:, ::1], types.int64[::1]))
def set_level(kind: Any, rank: Any, qty: Any, clears: Any, stamp: Any, best: Any) -> None:
    """Apply one depth or best-quote row.

    Args:
        kind: `Kind` of the row, without `MORE`.
        rank: of its price among all prices.
        qty: lots.
        clears: how often the book has been cleared so far.
        stamp: int64[2, prices], changed: the number of clears when a level was last set; -1: it is gone.
        best: int64[2], changed: ranks of the best bid (-1: none) and ask (the number of prices: none).
    """
    side = 0 if kind in (_DEPTH_BID, _BBO_BID) else 1
    step = -1 if side == 0 else 1
    levels = stamp.shape[1]
    while kind >= _BBO_BID and (rank - best[side]) * step > 0:  # nothing better than a best price is left
        if 0 <= best[side] < levels:
            stamp[side, best[side]] = -1
        best[side] += step
    stamp[side, rank] = clears if qty > 0 else -1
    if qty > 0 and (rank - best[side]) * step < 0:
        best[side] = rank
    while 0 <= best[side] < levels and stamp[side, best[side]] != clears:
        best[side] += step


@njit(types.int64(_RANKS, _RANKS, _KINDS, types.int64, types.int64[:, ::1]))
def _replay(rank: Any, qty: Any, kind: Any, levels: Any, out: Any) -> Any:
    """Write (row, best bid, best ask) of every crossed message as ranks of prices; return how many.

    A level counts when it was set since the last clear: its stamp is the number of that clear.
    """
    stamp = np.full((2, levels), -1, np.int64)
    best = np.empty(2, np.int64)
    best[0], best[1] = -1, levels
    clears, found = 0, 0
    unknown, touched = False, False
    for i in range(len(kind)):
        k = np.int64(kind[i]) & (_MORE - 1)
        if k in (_GAP, _SNAPSHOT):
            clears += 1
            best[0], best[1] = -1, levels
            unknown = k == _GAP
            touched = touched or not unknown
        elif _DEPTH_BID <= k <= _BBO_ASK and not unknown:
            touched = True
            set_level(k, rank[i], qty[i], clears, stamp, best)
        if kind[i] < _MORE:
            if touched and best[0] >= best[1]:
                out[found, 0], out[found, 1], out[found, 2] = i, best[0], best[1]
                found += 1
            touched = False
    return found


def crossed_rows(tape: EventTape) -> npt.NDArray[np.int64]:
    """Return int64[n, 3]: last row, best bid and best ask (ticks) of every message that leaves the book crossed.

    Args:
        tape: of ticks, as `check_ticks` wants it.
    """
    prices, rank = np.unique(np.asarray(tape.price_ticks), return_inverse=True)
    out = np.empty((len(tape), 3), np.int64)
    kind = np.asarray(tape.kind)
    found = _replay(rank.astype(np.int64), np.asarray(tape.qty_lots), kind, len(prices), out)
    rows = out[:found].copy()
    rows[:, 1:] = prices[rows[:, 1:]]
    return rows
