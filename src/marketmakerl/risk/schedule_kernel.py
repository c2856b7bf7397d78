"""The compiled question whether a moment lies in a window of the schedule; apart from it, limits need no compiler."""

from __future__ import annotations

from typing import Any

from marketmakerl.core.jit import njit
from marketmakerl.risk.schedule import EPOCH_S, NS_PER_S, WEEK_S


@njit()
def in_flat_window(risk: Any, ts_ns: int) -> bool:
    """Return whether a moment lies in a window of the schedule."""
    if risk.n_windows == 0:
        return False
    low, high = 0, risk.n_shifts - 1
    while low < high:
        middle = (low + high + 1) // 2
        if risk.shift_ns[middle] <= ts_ns:
            low = middle
        else:
            high = middle - 1
    seconds = ts_ns // NS_PER_S + risk.shift_s[low] + EPOCH_S
    at = seconds % WEEK_S
    for i in range(risk.n_windows):
        start, end = risk.window_start_s[i], risk.window_end_s[i]
        if start <= at < end or start <= at + WEEK_S < end:
            return True
    return False
