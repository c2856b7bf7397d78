"""Is this file of bars fit to be traded on? Every doubt becomes a `Finding`; nothing is mended or dropped.

An *error* is a bar that cannot be true (a price of zero, a low above its high, time running backwards): the file is
refused. A *warning* is a bar that can be true and must not be misread (a gap, a 60 % move, a repeated bar).

    code                severity  what it says of the row
    not_finite          error     NaN or infinity in a number
    non_positive_price  error     a price of zero or less
    negative_volume     error     a volume, count or depth below zero
    low_above_high      error     low > high
    low_above_body      error     low > min(open, close)
    high_below_body     error     high < max(open, close)
    taker_over_volume   error     takers bought more than was traded
    conflict            error     the time of an earlier row with another bar: two truths
    time_backwards      error     earlier than the row before
    duplicate           warning   the same bar as an earlier row
    gap                 warning   bars are missing just before this one
    off_grid            warning   the time is not a multiple of the interval
    time_range          both      one finding a file: times before 1970 or after 2100 (error), before 2009 (warning)
    off_tick            warning   one finding a file: prices that are not whole ticks
    extreme_move        warning   a price more than 50 % away from the last close
    stale               warning   the first of >= 120 equal bars without volume
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd

from marketmakerl.core.clock import NS_PER_MS, iso_utc
from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

Severity = Literal["error", "warning"]

PRICES: Final = ("open", "high", "low", "close")
REQUIRED: Final = ("ts_ms", *PRICES, "volume")
# Checked where a file has them; other columns are not ours to judge.
OPTIONAL: Final = (
    *("quote_volume", "n_trades", "taker_buy_base", "taker_buy_quote"),
    *("spread", "bid_depth", "ask_depth"),
)
EXTREME_MOVE: Final = 0.5  # as a fraction of the last close
STALE_BARS: Final = 120
MIN_TS_MS: Final = 1_230_768_000_000  # 2009-01-01, before the first Bitcoin block
MAX_TS_MS: Final = 4_102_444_800_000  # 2100-01-01
_DAY_MS: Final = 86_400_000
_TICK_EPS: Final = 1e-6  # in ticks; decimal prices are not exact in binary
_SUM_EPS: Final = 1e-9  # relative; a taker's volume is a sum of the same trades in another order


@dataclass(frozen=True)
class Finding:
    """One doubt about one row.

    Attributes:
        code: what is wrong, from the table at the head of this module.
        severity: "error" (cannot be true) or "warning" (can be true, must not be misread).
        row: position in the frame, from 0, whatever the index says.
        ts_ms: open time of that row, milliseconds UTC.
        message: the numbers, in one line.
    """

    code: str
    severity: Severity
    row: int
    ts_ms: int | None
    message: str


@dataclass(frozen=True)
class QualityReport:
    """All findings of one frame, in row order.

    Attributes:
        findings: errors and warnings, by row.
        rows: number of bars checked.
        interval_ms: bar interval the times were held against; None when there were too few bars to infer one.
    """

    findings: tuple[Finding, ...]
    rows: int
    interval_ms: int | None = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return the findings that make the data unusable."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Return the findings that the data can be used in spite of."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    def summary(self) -> str:
        """Return one line: bars, errors, warnings, and how many of each code."""
        codes = Counter(finding.code for finding in self.findings)
        listed = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
        counts = f"{self.rows} bars: {len(self.errors)} errors, {len(self.warnings)} warnings"
        return f"{counts} ({listed})" if listed else counts

    def to_frame(self) -> pd.DataFrame:
        """Return one line a finding: code, severity, row, ts_ms, time (ISO 8601 UTC), message."""
        columns = ["code", "severity", "row", "ts_ms", "time", "message"]
        lines = [(f.code, f.severity, f.row, f.ts_ms, _time_text(f.ts_ms), f.message) for f in self.findings]
        return pd.DataFrame(lines, columns=columns).astype({"row": "int64", "ts_ms": "Int64"})

    def raise_on_error(self, source: str) -> None:
        """Refuse data with errors in it; warnings pass.

        Args:
            source: where the bars came from (a file, a venue and symbol), for the message.

        Raises:
            DataQualityError: at least one error; `.findings` has every finding, warnings included.
        """
        errors = self.errors
        if not errors:
            return
        first = errors[0]
        noun = "error" if len(errors) == 1 else "errors"
        raise DataQualityError(
            f"{source}: {len(errors)} {noun} in {self.rows} bars; first: row {first.row} ({_time_text(first.ts_ms)}) "
            f"{first.code}: {first.message}; fetch these bars again or remove the "
            "rows that mml data check lists (.findings)",
            self.findings,
        )


def check_klines(
    df: pd.DataFrame, interval_ms: int | None = None, instrument: Instrument | None = None
) -> QualityReport:
    """Check a frame of bars and report every doubt.

    Args:
        df: columns ts_ms (integer, open time, milliseconds UTC), open, high, low, close (quote currency), volume
            (base units); the columns of `OPTIONAL` are checked where present. It is not changed.
        interval_ms: bar interval; None takes the commonest distance between two bars.
        instrument: gives the tick that prices should lie on; None leaves that check out.

    Raises:
        DataFormatError: not a frame of bars: no rows, a missing or repeated column, or a wrong type.
        ConfigError: `interval_ms` is not a positive integer.
    """
    whole = isinstance(interval_ms, (int, np.integer)) and not isinstance(interval_ms, bool)
    if interval_ms is not None and not (whole and 1 <= interval_ms <= MAX_TS_MS):
        raise ConfigError(f"interval_ms must be a positive whole number of milliseconds, got {interval_ms!r}")
    numbers = _numbers(df)
    ts_ms = df["ts_ms"].to_numpy(dtype=np.int64)
    interval = int(interval_ms) if interval_ms is not None else _infer_interval_ms(ts_ms)
    book = _Findings(ts_ms)
    _check_numbers(book, numbers)
    _check_shape(book, numbers)
    _check_order(book, ts_ms, numbers)
    _check_range(book, ts_ms)
    if interval is not None:
        _check_grid(book, ts_ms, interval)
    if instrument is not None:
        _check_tick(book, numbers, instrument.tick_size)
    _check_moves(book, ts_ms, numbers, interval)
    _check_stale(book, numbers)
    return QualityReport(tuple(sorted(book.found, key=lambda finding: finding.row)), len(df), interval)


class _Findings:
    """Collects findings; only rows that are wrong cost Python time."""

    def __init__(self, ts_ms: Ints) -> None:
        self.ts_ms = ts_ms
        self.found: list[Finding] = []

    def add(self, code: str, severity: Severity, bad: Mask | Ints, message: Callable[[int], str]) -> None:
        """Add one finding for each row of `bad`: a mask over all rows, or the row numbers."""
        rows = np.flatnonzero(bad) if bad.dtype == np.bool_ else bad
        for row in rows.tolist():
            self.found.append(Finding(code, severity, row, int(self.ts_ms[row]), message(row)))


def _time_text(ts_ms: int | None) -> str:
    if ts_ms is None:
        return "no time"
    return iso_utc(ts_ms * NS_PER_MS) if MIN_TS_MS <= ts_ms <= MAX_TS_MS else f"{ts_ms} ms"


def _numbers(df: pd.DataFrame) -> dict[str, Floats]:
    """Return the numeric columns as float64, by name, after checking that the frame is one of bars."""
    missing = [name for name in REQUIRED if name not in df.columns]
    if missing:
        raise DataFormatError(
            f"bars lack the columns {', '.join(missing)}; needed: {', '.join(REQUIRED)}; "
            f"there are: {', '.join(map(str, df.columns)) or 'none'}"
        )
    present = [name for name in (*REQUIRED, *OPTIONAL) if name in df.columns]
    repeated = [name for name in present if list(df.columns).count(name) > 1]
    if repeated:
        raise DataFormatError(f"bars have the columns {', '.join(repeated)} more than once; keep one of each")
    if df.empty:
        raise DataFormatError("bars have no rows; fetch a longer period")
    wrong = [f"{name} ({df[name].dtype})" for name in present[1:] if not _is_real_number(df[name])]
    if not pd.api.types.is_integer_dtype(df["ts_ms"]):
        wrong.insert(0, f"ts_ms ({df['ts_ms'].dtype})")
    if wrong:
        raise DataFormatError(
            f"bars have columns of a wrong type: {', '.join(wrong)}; "
            "ts_ms must be int64 milliseconds UTC, the rest float64"
        )
    if df["ts_ms"].isna().any():
        row = int(np.flatnonzero(df["ts_ms"].isna())[0])
        raise DataFormatError(f"bars have no time in ts_ms at row {row}; every bar needs its open time")
    return {name: df[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in present[1:]}


def _is_real_number(column: pd.Series) -> bool:
    types = pd.api.types
    numeric = types.is_float_dtype(column) or types.is_integer_dtype(column)
    return bool(numeric and not types.is_bool_dtype(column))


def _infer_interval_ms(ts_ms: Ints) -> int | None:
    """Return the commonest distance between neighbouring times (the smallest of equally common ones)."""
    times, _ = _distinct(ts_ms)
    if times.size < 2:
        return None
    steps, counts = np.unique(_distance(times), return_counts=True)
    step = int(steps[np.argmax(counts)])
    return step if step <= MAX_TS_MS else None


def _distinct(ts_ms: Ints) -> tuple[Ints, Ints]:
    """Return the distinct times, ascending, and the first row of each."""
    if np.all(ts_ms[1:] > ts_ms[:-1]):
        return ts_ms, np.arange(ts_ms.size)
    times, first = np.unique(ts_ms, return_index=True)
    return times, first


def _distance(times: Ints) -> npt.NDArray[np.uint64]:
    """Return the differences of ascending times; unsigned, so that no two int64 are too far apart."""
    unsigned = times.astype(np.uint64)
    return np.asarray(unsigned[1:] - unsigned[:-1])


def _check_numbers(book: _Findings, numbers: dict[str, Floats]) -> None:
    def report(code: str, bad: dict[str, Mask]) -> None:
        book.add(
            code,
            "error",
            np.any(list(bad.values()), axis=0),
            lambda row: ", ".join(f"{name} {numbers[name][row]:.12g}" for name in bad if bad[name][row]),
        )

    report("not_finite", {name: ~np.isfinite(column) for name, column in numbers.items()})
    report("non_positive_price", {name: numbers[name] <= 0 for name in PRICES})
    report("negative_volume", {name: column < 0 for name, column in numbers.items() if name not in PRICES})
    for part, whole in (("taker_buy_base", "volume"), ("taker_buy_quote", "quote_volume")):
        if part in numbers and whole in numbers:
            limit = numbers[whole] * (1.0 + _SUM_EPS) + _SUM_EPS
            _report_above(book, "taker_over_volume", (part, numbers[part]), (whole, limit))


def _check_shape(book: _Findings, numbers: dict[str, Floats]) -> None:
    """A bar's low and high hold its open and close; comparisons with NaN are false, and reported elsewhere."""
    opened, high, low, close = (numbers[name] for name in PRICES)
    report = partial(_report_above, book)
    report("low_above_high", ("low", low), ("high", high))
    report("low_above_body", ("low", low), ("min(open, close)", np.minimum(opened, close)))
    report("high_below_body", ("max(open, close)", np.maximum(opened, close)), ("high", high))


def _report_above(book: _Findings, code: str, number: tuple[str, Floats], bound: tuple[str, Floats]) -> None:
    """Report as errors the rows where a named number is above its named bound."""
    (name, values), (limit, bounds) = number, bound
    book.add(code, "error", values > bounds, lambda row: f"{name} {values[row]:.12g} > {limit} {bounds[row]:.12g}")


def _check_order(book: _Findings, ts_ms: Ints, numbers: dict[str, Floats]) -> None:
    back = np.flatnonzero(ts_ms[1:] < ts_ms[:-1]) + 1
    book.add(
        "time_backwards",
        "error",
        back,
        lambda row: f"{int(ts_ms[row - 1]) - int(ts_ms[row])} ms before the row above it",
    )
    if np.all(ts_ms[1:] > ts_ms[:-1]):
        return
    _, first, which = np.unique(ts_ms, return_index=True, return_inverse=True)
    original = first[which]
    again = np.flatnonzero(original != np.arange(ts_ms.size))
    bars = np.column_stack([column[again] for column in numbers.values()])
    originals = np.column_stack([column[original[again]] for column in numbers.values()])
    same = np.all((bars == originals) | (np.isnan(bars) & np.isnan(originals)), axis=1)
    book.add("duplicate", "warning", again[same], lambda row: f"the same bar as row {original[row]}")
    book.add("conflict", "error", again[~same], lambda row: f"the time of row {original[row]} with another bar")


def _check_range(book: _Findings, ts_ms: Ints) -> None:
    def report(severity: Severity, outside: Mask, when: str) -> None:
        book.add(
            "time_range",
            severity,
            np.flatnonzero(outside)[:1],
            lambda row: f"{outside.sum()} times {when}, first {ts_ms[row]}: ts_ms takes milliseconds since 1970, UTC",
        )

    impossible = (ts_ms < 0) | (ts_ms > MAX_TS_MS)
    report("error", impossible, "before 1970 or after 2100")
    report("warning", (ts_ms < MIN_TS_MS) & ~impossible, "before 2009")


def _check_grid(book: _Findings, ts_ms: Ints, interval_ms: int) -> None:
    times, first = _distinct(ts_ms)
    # A distance of 1.5 intervals hides one bar, as one of 2 does; only what is not there in any order is missing.
    missing = np.concatenate([np.zeros(1, np.uint64), (_distance(times) - np.uint64(1)) // np.uint64(interval_ms)])
    holes = missing > 0
    missing_before = dict(zip(first[holes].tolist(), missing[holes].tolist(), strict=True))
    book.add(
        "gap",
        "warning",
        np.sort(first[holes]),
        lambda row: f"{missing_before[row]} bars are missing before this one: never difference across",
    )
    phase = ts_ms % interval_ms
    # Up to a day bars start on multiples of their interval; longer ones (weeks) start where most of the file's do.
    phases, counts = np.unique(phase, return_counts=True)
    origin = 0 if interval_ms <= _DAY_MS else int(phases[np.argmax(counts)])
    book.add(
        "off_grid",
        "warning",
        phase != origin,
        lambda row: f"{int(phase[row] - origin) % interval_ms} ms after a multiple of {interval_ms} ms",
    )


def _check_tick(book: _Findings, numbers: dict[str, Floats], tick_size: float) -> None:
    prices = np.column_stack([numbers[name] for name in PRICES])
    ticks = np.where(np.isfinite(prices), prices, 0.0) / tick_size
    near = np.maximum(_TICK_EPS, 4.0 * np.finfo(np.float64).eps * np.abs(ticks))
    off = np.abs(ticks - np.rint(ticks)) > near
    rows = np.flatnonzero(off.any(axis=1))
    book.add(
        "off_tick",
        "warning",
        rows[:1],
        lambda row: (
            f"{int(off.sum())} prices in {rows.size} bars are not on the tick {tick_size:g}, "
            f"first {prices[row][off[row]][0]:.12g}"
        ),
    )


def _check_moves(book: _Findings, ts_ms: Ints, numbers: dict[str, Floats], interval_ms: int | None) -> None:
    """Hold high, low and close against the last close, or the bar's own open where no bar stands just before it."""
    prices = np.column_stack([numbers[name] for name in PRICES])
    reference = prices[:, 0].copy()
    last = prices[:-1, 3]
    follows = np.isfinite(last) & (last > 0)
    if interval_ms is not None:
        unsigned = ts_ms.astype(np.uint64)
        follows &= (ts_ms[1:] > ts_ms[:-1]) & (unsigned[1:] - unsigned[:-1] <= interval_ms)
    reference[1:][follows] = last[follows]
    # A price that is no number, or nothing to hold it against, has its own finding.
    usable = np.isfinite(prices) & (np.isfinite(reference) & (reference > 0))[:, np.newaxis]
    with np.errstate(all="ignore"):
        moves = np.where(usable, prices / reference[:, np.newaxis] - 1.0, 0.0)
    worst = moves[np.arange(len(moves)), np.abs(moves).argmax(axis=1)]
    book.add(
        "extreme_move",
        "warning",
        np.abs(worst) > EXTREME_MOVE,
        lambda row: f"{100 * worst[row]:+.1f} % from {reference[row]:.12g} within one bar",
    )


def _check_stale(book: _Findings, numbers: dict[str, Floats]) -> None:
    bars = np.column_stack([numbers[name] for name in (*PRICES, "volume")])
    quiet = bars[:, -1] == 0.0
    repeats = np.concatenate([[False], quiet[1:] & quiet[:-1] & np.all(bars[1:] == bars[:-1], axis=1)])
    # Runs of repeats: +1 where one begins, -1 just behind its end; the bar before the first repeat belongs to it.
    edges = np.diff(np.concatenate([[0], repeats.astype(np.int64), [0]]))
    starts, ends = np.flatnonzero(edges == 1) - 1, np.flatnonzero(edges == -1)
    lengths = dict(zip(starts.tolist(), (ends - starts).tolist(), strict=True))
    long_runs = starts[(ends - starts) >= STALE_BARS]
    book.add("stale", "warning", long_runs, lambda row: f"{lengths[row]} equal bars without volume: halt or dead feed")
