"""What is due, and which of it goes first. This table is the law of the engine; `first_due` is its one reading.

At one time rows of market data come first. Then, one thing after another, each followed by what it makes due at once:

    VENUE     funding is paid, or the venue looks at the margin     (funding_ns, margin_ns)
    REQUEST   a request of ours reaches the exchange                (next_request_ns)
    ANSWER    an answer reaches us                                  (next_answer_ns)
    SCRIPT    a scripted order is sent                              (script_ns)
    LIMITS    we watch the market, or look at our limits            (watch_ns, look_ns, retry_ns)
    DECISION  the model is asked                                    (wake_ns, clock_ns)
    MARKOUT   a mid is noted after a fill                           (markout_ns)
    SAMPLE    equity is sampled                                     (sample_ns)
    PUT_OFF   nothing: what was due is due later by now             (a cooldown, a rate)

So a decision knows every answer of its time, an answer every request, and what is only measured sees the end of all.
On bars the open of the next bar, which has the time of the close, comes after all of it (`closed_ns`).

`state.due` holds `stop_ns`, before which only rows happen, and `rest_ns`, the earliest of what neither the feed nor a
request brings. Whoever makes something due sooner says so with `due_at`.
"""

from __future__ import annotations

import enum
from typing import Any

from marketmakerl.core.jit import njit


class Due(enum.IntEnum):
    """What can be due besides rows, in the order in which it happens at one time."""

    VENUE = 0
    REQUEST = 1
    ANSWER = 2
    SCRIPT = 3
    LIMITS = 4
    DECISION = 5
    MARKOUT = 6
    SAMPLE = 7
    PUT_OFF = 8


_VENUE, _REQUEST, _ANSWER, _SCRIPT, _LIMITS, _DECISION, _MARKOUT, _SAMPLE, _PUT_OFF = (int(due) for due in Due)


@njit()
def first_due(state: Any, now_ns: int) -> int:
    """Return what goes first of all that is due at `now_ns`, a `Due`."""
    due = state.due
    if min(due.funding_ns, due.margin_ns) == now_ns:
        return _VENUE
    if state.wire.next_request_ns == now_ns:
        return _REQUEST
    if state.wire.next_answer_ns == now_ns:
        return _ANSWER
    if due.script_ns == now_ns:
        return _SCRIPT
    if min(min(due.watch_ns, due.look_ns), due.retry_ns) == now_ns:
        return _LIMITS
    if due.wake_ns == now_ns or due.clock_ns == now_ns:
        return _DECISION
    if due.markout_ns == now_ns:
        return _MARKOUT
    if due.sample_ns == now_ns:
        return _SAMPLE
    return _PUT_OFF


@njit()
def due_at(state: Any, ts_ns: int) -> None:
    """Let the engine stop at `ts_ns` at the latest: something that is no row is due then."""
    due = state.due
    due.rest_ns = min(due.rest_ns, ts_ns)
    due.stop_ns = min(due.stop_ns, ts_ns)
