"""Windows of the week in the time of a place, against the standard library's own idea of it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketmakerl import RiskLimits
from marketmakerl.core.errors import ConfigError
from marketmakerl.risk.schedule_kernel import in_flat_window
from risky_markets import examples

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/London", "Asia/Tokyo")
NEW_YORK = ZoneInfo("America/New_York")
S = 10**9


def record_of(windows, zone="UTC"):
    return RiskLimits(flat_windows=tuple(windows), flat_timezone=zone).record()


def is_in(window: tuple[int, int], at: datetime) -> bool:
    """Whether a local time lies in a window of seconds since Monday that may run over the end of the week."""
    second = at.weekday() * 86_400 + at.hour * 3600 + at.minute * 60 + at.second
    start, end = window
    return start <= second < end if start < end else second >= start or second < end


def text_of(window: tuple[int, int]) -> str:
    def moment(second: int) -> str:
        return f"{DAYS[second // 86_400]} {second % 86_400 // 3600:02d}:{second % 3600 // 60:02d}:{second % 60:02d}"

    return f"{moment(window[0])}-{moment(window[1])}"


seconds = st.integers(0, 7 * 86_400 - 1)


@examples(400)
@given(
    windows=st.lists(st.tuples(seconds, seconds).filter(lambda w: w[0] != w[1]), min_size=1, max_size=5),
    zone=st.sampled_from(ZONES), at=st.integers(1_262_304_000, 1_893_456_000), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_a_moment_lies_in_a_window_if_the_clock_on_the_wall_says_so(windows, zone, at, seed):
    record = record_of([text_of(window) for window in windows], zone)
    # Also just around the windows' own ends.
    rng = random.Random(seed)
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    monday = local.replace(hour=0, minute=0, second=0) - timedelta(days=local.weekday())
    near = [monday + timedelta(seconds=edge + shift) for window in windows for edge in window for shift in (-1, 0, 1)]
    for moment in [local, *near]:
        real = moment.astimezone(UTC)
        wall = real.astimezone(ZoneInfo(zone))
        ts_ns = round(real.timestamp()) * S + rng.choice((0, 1, S - 1))
        assert bool(in_flat_window(record, ts_ns)) == any(is_in(window, wall) for window in windows)


def ns(*at: int, tz=UTC) -> int:
    return round(datetime(*at, tzinfo=tz).timestamp()) * S


@pytest.mark.parametrize(
    ("day", "before", "after"),
    [((2024, 3, 8), 20, 19), ((2024, 11, 1), 19, 20)],  # the weekends on which New York's clocks change
)
def test_a_weekend_ends_at_its_own_hour_whatever_the_clocks_do(day, before, after):
    record = record_of(["Fri 15:55-Sun 18:00"], "America/New_York")
    year, month, friday = day
    start = ns(year, month, friday, before, 55)
    sunday = datetime(year, month, friday, tzinfo=NEW_YORK) + timedelta(days=2)
    end = round(sunday.replace(hour=18).astimezone(UTC).timestamp()) * S
    assert end == round(datetime(year, month, sunday.day, after + 3, tzinfo=UTC).timestamp()) * S
    assert not in_flat_window(record, start - 1)
    assert in_flat_window(record, start)
    assert in_flat_window(record, end - 1)
    assert not in_flat_window(record, end)


def test_a_window_over_the_end_of_the_week():
    record = record_of(["Sun 23:00-Mon 01:00"])
    monday = ns(2024, 5, 6)
    assert [bool(in_flat_window(record, monday + hour * 3600 * S)) for hour in (-2, -1, 0, 1)] == [
        False,
        True,
        True,
        False,
    ]


def test_the_hour_that_comes_twice_and_the_one_that_does_not():
    record = record_of(["Sun 01:30-Sun 02:30"], "America/New_York")
    twice = ns(2024, 11, 3, 5, 0)  # 01:00 the first time
    inside = [bool(in_flat_window(record, twice + m * 60 * S)) for m in (0, 30, 59, 60, 89, 90, 119, 120, 149, 150)]
    assert inside == [False, True, True, False, False, True, True, True, True, False]
    never = ns(2024, 3, 10, 6, 0)  # 01:00; at 02:00 it becomes 03:00
    inside = [bool(in_flat_window(record, never + m * 60 * S)) for m in (0, 29, 30, 59, 60, 90)]
    assert inside == [False, False, True, True, False, False]


@example(("Fri 15:55",))
@example(("Fri 15:55-Fri 15:55",))
@example(("Fri 24:01-Sat 00:00",))
@example(("Fri 12:60-Sat 00:00",))
@given(st.lists(st.text(max_size=20), min_size=1, max_size=3).map(tuple))
def test_a_window_that_is_none_is_refused_in_one_line(windows):
    with pytest.raises(ConfigError) as caught:
        RiskLimits(flat_windows=windows)
    assert "flat_windows" in str(caught.value)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", None, 3, "../etc/passwd"])
def test_a_zone_that_nobody_knows(zone):
    with pytest.raises(ConfigError, match="flat_timezone"):
        RiskLimits(flat_windows=("Mon 00:00-Mon 01:00",), flat_timezone=zone)
