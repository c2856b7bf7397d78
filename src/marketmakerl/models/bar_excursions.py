"""What bars say about volatility and the arrival curve: a declared approximation, for want of trades and a book.

A bar tells how far beyond the last close it traded, once a side. If those excursions are exponential their rate is
k = 1 / mean, as in `estimate_from_bars`; that quotes are hit once a bar at most is the A that goes with it: one chance
a bar. Neither knows of the spread, of how many orders came, or of what happened inside the bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.data.tape import Kind
from marketmakerl.models.bar_calibration import MIN_BARS
from marketmakerl.models.estimate import Blocks, Estimate, NotIdentifiedError, ratio_of_sums
from marketmakerl.models.volatility import Path

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.data.tape import EventTape

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

_POINTS: Final = 24
_MIN_FOR_R2: Final = 10


@dataclass(frozen=True)
class BarObservations:
    """Bars of a tape.

    Attributes:
        closes: the closing prices over time, in stretches of neighbouring bars.
        ts_ns: int64[n], close of every bar that has a neighbour before it.
        up, down: float64[n], how far it traded above and below the close before, price units, >= 0.
        interval_ns: length of a bar.
    """

    closes: Path
    ts_ns: Ints
    up: Floats
    down: Floats
    interval_ns: int


def observe_bars(tape: EventTape) -> BarObservations:
    """Return closes and excursions of the bars of a tape; nothing is differenced across a gap."""
    tick = tape.instrument.tick_size
    at = np.flatnonzero(tape.kind == Kind.BAR_CLOSE)
    close, high, low = (np.asarray(tape.price_ticks)[at - back] for back in (0, 1, 2))
    ts = np.asarray(tape.ts_ns)[at]
    follows = np.append(False, np.diff(ts) == tape.interval_ns)[: len(ts)]
    stretch = np.cumsum(~follows) - 1
    first, last = ~follows, np.append(~follows[1:], True)[: len(ts)]
    here = np.flatnonzero(follows)
    return BarObservations(
        closes=Path(ts, np.asarray(close * tick, np.float64), stretch, ts[first], ts[last]),
        ts_ns=ts[here],
        up=np.maximum(high[here] - close[here - 1], 0) * tick,
        down=np.maximum(close[here - 1] - low[here], 0) * tick,
        interval_ns=tape.interval_ns,
    )


def excursion_decay(bars: BarObservations, sides: tuple[Floats, ...]) -> tuple[Estimate, dict[str, Any]]:
    """Return k from the excursions of one side or both, and how exponential they are.

    Raises:
        NotIdentifiedError: too few bars, or no bar went beyond the close before it.
    """
    n = len(bars.ts_ns)
    if n < MIN_BARS:
        raise NotIdentifiedError(f"{n} neighbouring bars, {MIN_BARS} are needed")
    every = np.concatenate(sides)
    if not every.any():
        raise NotIdentifiedError(f"no bar of {n} traded beyond the close before it")
    blocks = Blocks.over(bars.closes.start_ns, bars.closes.end_ns, least_s=10 * bars.interval_ns / NS_PER_S)
    if blocks.count < 2:
        blocks.check("a standard error that clusters survive")
    ones = np.full(n, float(len(sides)))
    mean, error = ratio_of_sums(blocks.sums(bars.ts_ns, np.sum(sides, axis=0)), blocks.sums(bars.ts_ns, ones))
    method = f"1 / mean excursion beyond the last close (bars: an approximation); blocks of {blocks.seconds:.4g} s"
    k = 1.0 / mean
    return Estimate(k, error * k**2, "1/price", method, len(every)), _goodness(every, k, bars.interval_ns)


def one_chance_a_bar(bars: BarObservations) -> Estimate:
    """Return the A that goes with `excursion_decay`; declared, not estimated, so without a standard error."""
    rate = NS_PER_S / bars.interval_ns
    return Estimate(rate, None, "1/s per side", "one chance a bar: declared, not estimated", len(bars.ts_ns))


def _goodness(excursions: Floats, k: float, interval_ns: int) -> dict[str, Any]:
    """Return the measured curve against e^(-k x): the Kolmogorov-Smirnov distance, R^2 of the logarithm, points."""
    ordered = np.sort(excursions)
    n = len(ordered)
    upper, lower = np.arange(1, n + 1) / n, np.arange(n) / n
    fitted = -np.expm1(-k * ordered)
    ks = float(max(np.abs(upper - fitted).max(), np.abs(lower - fitted).max()))
    deepest = ordered[max(0, n - _MIN_FOR_R2)]
    at = np.linspace(0.0, deepest, _POINTS + 1)[1:]
    share = (n - np.searchsorted(ordered, at, side="left")) / n
    left = np.log(share)
    r2 = float(1 - ((left + k * at) ** 2).sum() / max(((left - left.mean()) ** 2).sum(), 1e-300))
    rate = NS_PER_S / interval_ns
    points = [
        {
            "distance": float(x),
            "rate": rate * float(s),
            "std_error": rate * float(np.sqrt(s * (1 - s) / n)),
            "fitted": rate * float(np.exp(-k * x)),
        }
        for x, s in zip(at, share, strict=True)
    ]
    return {"ks": ks, "r2": r2, "zero_share": float(np.mean(excursions == 0)), "delta_min": 0.0, "points": points}
