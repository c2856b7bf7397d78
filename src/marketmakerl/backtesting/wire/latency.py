"""How long market data take to us, an order to the exchange, and its answer back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit
from marketmakerl.core.memory import viewer

LATENCY = np.dtype([("ts_ns", "i8"), ("entry_ns", "i8"), ("response_ns", "i8")], align=True)
at_latency = viewer(LATENCY)


@dataclass(frozen=True, slots=True)
class Latency:
    """Constant latencies in nanoseconds; `Latency.from_series` for recorded ones.

    Args:
        feed_offset_ns: added to the recorded time of receipt; may be negative to correct a clock.
        entry_ns: from our decision to the exchange; >= 0.
        response_ns: from the exchange back to us; >= 0.

    On bars a decision is taken at a close and its orders work through the next bar, so any latency shorter than a bar
    changes nothing there; a longer one is refused.

    Attributes:
        series: LATENCY[n], or None where they are constant.

    Raises:
        ConfigError: not an integer, or negative where it may not be.
    """

    feed_offset_ns: int = 0
    entry_ns: int = 0
    response_ns: int = 0
    series: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, low in (("feed_offset_ns", None), ("entry_ns", 0), ("response_ns", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or (low is not None and value < low):
                raise ConfigError(f"latency {name} must be an integer{'' if low is None else ' >= 0'}, got {value!r}")

    @classmethod
    def from_series(
        cls, ts_ns: npt.ArrayLike, entry_ns: npt.ArrayLike, response_ns: npt.ArrayLike, feed_offset_ns: int = 0
    ) -> Latency:
        """Return recorded latencies, interpolated linearly in time and held constant outside their range.

        Constant latency flatters: it spikes when the market does.

        Args:
            ts_ns: int64[n] times of measurement, strictly increasing, n >= 1.
            entry_ns: int64[n] from us to the exchange, for an order sent then; >= 0.
            response_ns: int64[n] from the exchange back to us, for an answer sent then; >= 0.
            feed_offset_ns: as in the constant case.

        Raises:
            ConfigError: the lengths differ or are 0, times do not increase, or a latency is negative or no integer.
        """
        columns = [_whole(name, values) for name, values in
                   (("ts_ns", ts_ns), ("entry_ns", entry_ns), ("response_ns", response_ns))]  # fmt: skip
        if len({len(column) for column in columns}) != 1 or len(columns[0]) == 0:
            raise ConfigError(f"latency series must be of one length > 0, got {[len(column) for column in columns]}")
        if (np.diff(columns[0]) <= 0).any():
            raise ConfigError("latency series: ts_ns must increase from row to row")
        if min(int(columns[1].min()), int(columns[2].min())) < 0:
            raise ConfigError("latency series: entry_ns and response_ns must be >= 0")
        series = np.zeros(len(columns[0]), LATENCY)
        for name, column in zip(LATENCY.names or (), columns, strict=True):
            series[name] = column
        return cls(feed_offset_ns, int(columns[1].max()), int(columns[2].max()), series)


def _whole(name: str, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ConfigError(f"latency series: {name} must be a list of integers (nanoseconds)")
    return array.astype(np.int64)


@njit()
def _between(t0: int, v0: int, t1: int, v1: int, t: int) -> int:
    """Interpolate, rounded down to whole nanoseconds."""
    change, passed, whole = v1 - v0, t - t0, t1 - t0
    if abs(float(change) * float(passed)) < 4e18:
        return v0 + (change * passed) // whole
    return v0 + int(math.floor(change * (passed / whole)))


@njit()
def entry_latency(state: Any, memory: Any, params: Any, ts_ns: int) -> int:
    """Return how long a request sent at `ts_ns` takes. Calls come in order of time: a cursor walks the series."""
    n = params.latencies
    if n == 0:
        return int(params.entry_ns)
    rows = at_latency(memory.latency)
    i = state.wire.entry_cursor
    while i < n and rows[i].ts_ns <= ts_ns:
        i += 1
    state.wire.entry_cursor = i
    if i == 0 or i == n:
        return int(rows[min(i, n - 1)].entry_ns)
    return _between(rows[i - 1].ts_ns, rows[i - 1].entry_ns, rows[i].ts_ns, rows[i].entry_ns, ts_ns)


@njit()
def response_latency(state: Any, memory: Any, params: Any, ts_ns: int) -> int:
    """Return how long an answer sent at `ts_ns` takes, likewise."""
    n = params.latencies
    if n == 0:
        return int(params.response_ns)
    rows = at_latency(memory.latency)
    i = state.wire.response_cursor
    while i < n and rows[i].ts_ns <= ts_ns:
        i += 1
    state.wire.response_cursor = i
    if i == 0 or i == n:
        return int(rows[min(i, n - 1)].response_ns)
    return _between(rows[i - 1].ts_ns, rows[i - 1].response_ns, rows[i].ts_ns, rows[i].response_ns, ts_ns)
