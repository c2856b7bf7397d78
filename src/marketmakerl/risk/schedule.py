"""When to be flat: windows of the week in the time of a place (`schedule_kernel` asks whether a moment lies in one).

A window is "Fri 15:55-Sun 18:00": days Mon to Sun, times of day to the second, the end not included; it may run over
the end of the week. Daylight saving is that of the IANA zone: its changes of offset are written into the record once.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marketmakerl.core.errors import ConfigError

MAX_WINDOWS: Final = 16
_MAX_SHIFTS: Final = 128
_FIRST_YEAR, _LAST_YEAR = 2008, 2045  # before the first coin and after what we simulate

SCHEDULE_FIELDS: list[tuple[str, str] | tuple[str, str, tuple[int, ...]]] = [
    ("n_windows", "i8"),  # 0: no schedule
    ("window_start_s", "i8", (MAX_WINDOWS,)),  # seconds since Monday 00:00 of the place
    ("window_end_s", "i8", (MAX_WINDOWS,)),  # above the start: the week after begins at 604,800
    ("n_shifts", "i8"),
    ("shift_ns", "i8", (_MAX_SHIFTS,)),  # from when on, UTC
    ("shift_s", "i8", (_MAX_SHIFTS,)),  # the place is so far ahead of UTC
]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOMENT = r"(mon|tue|wed|thu|fri|sat|sun)\s+(\d{1,2}):(\d{2})(?::(\d{2}))?"
_WINDOW = re.compile(rf"\s*{_MOMENT}\s*-\s*{_MOMENT}\s*", re.IGNORECASE)
NS_PER_S: Final = 1_000_000_000
_DAY_S: Final = 86_400
WEEK_S: Final = 7 * _DAY_S
# 1970-01-01 was a Thursday.
EPOCH_S: Final = 3 * _DAY_S


def check_windows(windows: Any, timezone: Any) -> tuple[str, ...]:
    """Return the windows as a tuple.

    Raises:
        ConfigError: no window, too many of them, or a zone that nobody knows.
    """
    if isinstance(windows, str) or not isinstance(windows, (tuple, list)):
        raise ConfigError(f'risk limit flat_windows must be a tuple such as ("Fri 15:55-Sun 18:00",), got {windows!r}')
    if len(windows) > MAX_WINDOWS:
        raise ConfigError(f"risk limit flat_windows takes at most {MAX_WINDOWS} windows, got {len(windows)}")
    for window in windows:
        _seconds(window)
    if windows or timezone != "UTC":
        _zone(timezone)
    return tuple(windows)


def write_schedule(record: Any, windows: tuple[str, ...], timezone: str) -> None:
    """Write windows that have been checked into a record with `SCHEDULE_FIELDS`."""
    record.n_windows = len(windows)
    for i, window in enumerate(windows):
        record.window_start_s[i], record.window_end_s[i] = _seconds(window)
    if not windows:
        return
    shifts = _shifts(timezone)
    record.n_shifts = len(shifts)
    for i, (when_ns, ahead_s) in enumerate(shifts):
        record.shift_ns[i], record.shift_s[i] = when_ns, ahead_s


def _seconds(window: Any) -> tuple[int, int]:
    found = _WINDOW.fullmatch(window) if isinstance(window, str) else None
    if found is None:
        raise ConfigError(f'risk limit flat_windows: {window!r} is no window such as "Fri 15:55-Sun 18:00"')
    moments = []
    for day, hour, minute, second in (found.groups()[:4], found.groups()[4:]):
        h, m, s = int(hour), int(minute), int(second or 0)
        if h > 24 or m > 59 or s > 59 or (h == 24 and (m or s)):
            raise ConfigError(f"risk limit flat_windows: {window!r} has no such time of day")
        moments.append(_DAYS.index(day.lower()) * _DAY_S + h * 3600 + m * 60 + s)
    start, end = moments
    if start == end:
        raise ConfigError(f"risk limit flat_windows: {window!r} has no length")
    return start, end if end > start else end + WEEK_S


def _zone(timezone: Any) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ConfigError(
            f"risk limit flat_timezone must be an IANA zone such as America/New_York, got {timezone!r}"
        ) from None


@cache
def _shifts(timezone: str) -> tuple[tuple[int, int], ...]:
    """Return from when on (UTC, ns) a place is how far (s) ahead of UTC."""
    zone = _zone(timezone)

    def ahead_s(seconds: int) -> int:
        offset = datetime.fromtimestamp(seconds, UTC).astimezone(zone).utcoffset() or timedelta()
        return round(offset.total_seconds())

    first = int(datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    last = int(datetime(_LAST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    # Before the first change that is known, the offset of the first year.
    shifts = [(-(1 << 62), ahead_s(first))]
    for day in range(first, last, _DAY_S):
        if ahead_s(day + _DAY_S) == shifts[-1][1]:
            continue
        low, high = day, day + _DAY_S
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if ahead_s(middle) == shifts[-1][1] else (low, middle)
        shifts.append((high * NS_PER_S, ahead_s(high)))
    return tuple(shifts[-_MAX_SHIFTS:])
