"""Funding of perpetuals: the recorded series, checked once, and what a position pays."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import DataFormatError, DataQualityError
from marketmakerl.core.memory import viewer

FUNDING = np.dtype([("ts_ns", "i8"), ("rate", "f8")], align=True)
at_funding = viewer(FUNDING)

_RATES = ("funding_rate", "rate")
# A time below this is in milliseconds: as nanoseconds it would lie in the first days of 1970.
_FIRST_NS = 10**15
# Venues cap a rate at a few percent a period; beyond this it is a percentage or basis points.
_MAX_ABS_RATE = 0.5


def funding_rows(series: Any) -> Any:
    """Return funding times and rates in the form that the engines read.

    Args:
        series: a DataFrame with `ts_ns` or `ts_ms` and `funding_rate` or `rate` (fractions a period), or pairs
            (time, rate), times in nanoseconds or milliseconds UTC; None: none.

    Returns:
        FUNDING[n], times rising.

    Raises:
        DataFormatError: a missing column, or something that is no series of times and rates.
        DataQualityError: a rate that is not finite or beyond ±50 %, or times that do not rise.
    """
    if series is None:
        return np.zeros(0, FUNDING)
    ts, rates, unit_ns = _columns(series)
    try:
        raw = np.asarray(ts)
        rate = np.asarray(rates).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataFormatError(f"funding: times and rates must be numbers ({error})") from None
    fits = raw.ndim == rate.ndim == 1 and len(raw) == len(rate) and (len(raw) == 0 or raw.dtype.kind in "iuf")
    if not fits or (raw.dtype.kind == "f" and not np.all(np.isfinite(raw) & (raw == np.floor(raw)))):
        raise DataFormatError("funding: times must be whole milliseconds or nanoseconds, one rate to each")
    times = raw.astype(np.int64)
    rows = np.zeros(len(times), FUNDING)
    if unit_ns == 0:
        unit_ns = NS_PER_MS if len(times) and bool((np.abs(times) < _FIRST_NS).all()) else 1
    rows["ts_ns"] = times * unit_ns
    rows["rate"] = rate
    bad = ~(np.abs(rate) <= _MAX_ABS_RATE)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataQualityError(
            f"funding: row {row} has rate {rate[row]}; rates are fractions within ±{_MAX_ABS_RATE:g}"
        )
    back = np.diff(rows["ts_ns"]) <= 0
    if back.any():
        raise DataQualityError(f"funding: times must rise from row to row; row {int(np.argmax(back)) + 1} does not")
    return rows


def _columns(series: Any) -> tuple[Any, Any, int]:
    """Return times, rates and the unit of the times in nanoseconds; 0: as large as they are says which."""
    names = getattr(series, "columns", None)
    if names is None and isinstance(series, np.ndarray):
        names = series.dtype.names
    if names is None:
        try:
            pairs = list(series)
            return [pair[0] for pair in pairs], [pair[1] for pair in pairs], 0
        except (TypeError, IndexError, KeyError):
            raise DataFormatError(f"funding must be a DataFrame or pairs (time, rate), got {series!r}") from None
    time = next((name for name in ("ts_ns", "ts_ms") if name in names), None)
    rate = next((name for name in _RATES if name in names), None)
    if time is None or rate is None:
        raise DataFormatError(
            f"funding needs columns ts_ns or ts_ms, and funding_rate or rate; got {', '.join(map(str, names))}"
        )
    return series[time], series[rate], 1 if time == "ts_ns" else NS_PER_MS
