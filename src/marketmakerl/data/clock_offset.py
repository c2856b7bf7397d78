"""How far the recorder's clock stood from the exchange's, as far as that could be told at the time.

Nothing arrives before it was sent. Where the times of receipt lie before the exchange's, one of the clocks is wrong,
and the whole latency is hidden in the difference. All that can be done is to shift the times of receipt until the
fastest messages took a small delay that was *chosen*, not measured: how long the fastest message took cannot be known
from a recording on one side of the wire. Differences between latencies are as recorded; their level is a guess.

The shift of a row is made of the messages up to it and of no later one: cutting a recording short changes nothing of
what is left. It is what makes the second-fastest message so far take `FLOOR_NS`, so that no single odd stamp decides;
it only ever grows. A message whose own stamps say that it came before it was sent took at least `FLOOR_NS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.log import get_logger

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

log = get_logger(__name__)

# What the second-fastest message is said to have taken after a shift, nanoseconds.
FLOOR_NS: Final = NS_PER_MS
# The fastest messages of a whole file, for its description: this percentile of local - exchange time.
FASTEST_PERCENTILE: Final = 0.1
ASSUMED: Final = "assumed"  # key of a tape's meta: what an importer took for granted, one sentence each
_UNKNOWN: Final = np.iinfo(np.int64).max


def fastest_ns(delays: Ints) -> int:
    """Return the robust minimum of local - exchange times, nanoseconds; there is at least one.

    It describes a whole file; nothing that a tape says may be made of it.
    """
    return int(np.percentile(delays, FASTEST_PERCENTILE, method="lower"))


def checked_offset(clock_offset_ns: object) -> int | None:
    """Return whole nanoseconds, or None for "auto".

    Raises:
        ConfigError: neither.
    """
    if clock_offset_ns == "auto":
        return None
    if not isinstance(clock_offset_ns, (int, np.integer)) or isinstance(clock_offset_ns, bool):
        raise ConfigError(f'clock_offset_ns must be "auto" or whole nanoseconds, got {clock_offset_ns!r}')
    return int(clock_offset_ns)


def running_offset(ts: Ints, local: Ints, timed: Mask) -> Ints:
    """Return what to add to each time of receipt, nanoseconds: 0 while nothing says that the clocks disagree.

    Args:
        ts: int64[n], exchange time, in the order of the tape.
        local: int64[n], time of receipt by the recorder's clock.
        timed: bool[n], both times of the row were recorded. Rows with the same two times as the row before them are
            taken for one message.
    """
    rows = np.flatnonzero(timed)
    if len(rows) == 0:
        return np.zeros(len(ts), np.int64)
    sent, seen = ts[rows], local[rows]
    begins = np.r_[True, (np.diff(sent) != 0) | (np.diff(seen) != 0)]
    delay = (seen - sent)[begins]
    fastest = np.minimum.accumulate(delay)
    # The second-lowest of the first i: the lowest of what was not, at its time, the lowest so far.
    second = np.r_[_UNKNOWN, np.minimum.accumulate(np.maximum(delay[1:], fastest[:-1]))]
    offset = np.where(second < 0, FLOOR_NS - second, 0)
    message = np.zeros(len(ts), np.int64)
    message[rows[begins]] = 1
    added: Ints = np.r_[0, offset][np.cumsum(message)]
    return added


def on_exchange_clock(
    ts: Ints,
    local: Ints,
    received: Mask,
    timed: Mask,
    *,
    offset_ns: int | None,
    source: str,
    meta: dict[str, Any],
) -> Ints:
    """Return times of receipt by the exchange's clock, none before that of the row ahead.

    Args:
        ts: int64[n], exchange time, in the order of the tape.
        local: int64[n], time of receipt; exchange time where none was recorded.
        received: bool[n], `local` was recorded.
        timed: bool[n], both times were.
        offset_ns: added to every recorded time of receipt, whatever comes of it; None: `running_offset`.
        source: named in the log line, which a shift never goes without.
        meta: of the tape: gets clock_offset_ns (at the end of the tape), clock_offset_first_ns (of the first row that
            was shifted), receipt_raised (rows received before the row ahead of them, or before they can have been),
            and what was assumed.
    """
    if offset_ns is not None:
        given = np.where(received, local + offset_ns, local) if offset_ns else local
        offset_ns = offset_ns if received.any() else 0
        meta["clock_offset_ns"] = meta["clock_offset_first_ns"] = offset_ns
        return _forward(given, given, meta)
    early = received & (local < ts)
    if not early.any():
        meta["clock_offset_ns"] = meta["clock_offset_first_ns"] = 0
        return _forward(local, local, meta)
    added = np.where(received, running_offset(ts, local, timed), 0)
    shifted = local + added
    steps = added[np.flatnonzero(added)]
    first_ns, last_ns = (int(steps[0]), int(steps[-1])) if len(steps) else (0, 0)
    meta["clock_offset_ns"], meta["clock_offset_first_ns"] = last_ns, first_ns
    if last_ns:
        assume(meta, _told(first_ns, last_ns))
        log.warning(
            "clock_offset",
            source=source,
            added_to_receipt_ns=last_ns,
            added_at_first_ns=first_ns,
            note=f"receipt before sending: shifted so that the second-fastest message so far takes {FLOOR_NS} ns, "
            "which is a choice",
        )
    return _forward(np.where(early, np.maximum(shifted, ts + FLOOR_NS), shifted), shifted, meta)


def assume(meta: dict[str, Any], sentence: str) -> None:
    """Say in a tape's meta what an importer took for granted."""
    meta.setdefault(ASSUMED, []).append(sentence)


def _told(first_ns: int, last_ns: int) -> str:
    return (
        "clock: receipts lay before the sending; to each was added what makes the second-fastest message up to it take "
        f"{FLOOR_NS / NS_PER_MS:g} ms (a choice): {first_ns / NS_PER_MS:,.3f} ms at first, {last_ns / NS_PER_MS:,.3f} "
        "ms at the end"
    )


def _forward(local: Ints, as_shifted: Ints, meta: dict[str, Any]) -> Ints:
    """Return times of receipt that never run back; counts in `meta` how many are not `as_shifted`."""
    seen: Ints = np.maximum.accumulate(local)
    meta["receipt_raised"] = int((seen > as_shifted).sum())
    return seen
