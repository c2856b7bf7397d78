"""Time enters the package here and nowhere else: everything that needs "now" takes a `Clock`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S


class Clock(Protocol):
    """Source of wall-clock time, int64 nanoseconds since the Unix epoch, UTC."""

    def now_ns(self) -> int:
        """Return the current time in nanoseconds UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Return the current time in nanoseconds UTC."""
        return time.time_ns()


class ManualClock:
    """A clock that moves only when told to; for tests and replay."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the time it was last set to."""
        return self._now_ns

    def advance(self, by_ns: int) -> None:
        """Move forward by `by_ns` nanoseconds (>= 0)."""
        if by_ns < 0:
            raise ValueError(f"time does not run backwards: {by_ns} ns")
        self._now_ns += by_ns


def iso_utc(ts_ns: int) -> str:
    """Format nanoseconds UTC as ISO 8601 to the millisecond, e.g. 2024-08-08T23:54:00.123Z."""
    seconds, rest_ns = divmod(ts_ns, NS_PER_S)
    stamp = datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{rest_ns // NS_PER_MS:03d}Z"
