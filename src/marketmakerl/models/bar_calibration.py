"""Volatility, fill decay and arrivals from bars: a declared approximation, for want of trades and a book."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import DataQualityError
from marketmakerl.data.tape import Kind

if TYPE_CHECKING:
    from marketmakerl.data.tape import EventTape

MIN_BARS = 30


@dataclass(frozen=True)
class BarEstimate:
    """What bars say about a market.

    Attributes:
        sigma: volatility of the close, price units per square root of a second.
        k: decay of the fill rate with distance, per price unit: 1 / mean excursion of a bar beyond the last close,
            the maximum-likelihood rate if excursions are exponential.
        arrival_rate: A of the fill rate A e^(-k delta), orders a second and side: one chance an interval, for `k` says
            how often its excursion goes beyond a distance.
        bars: how many bars it rests on.
    """

    sigma: float
    k: float
    arrival_rate: float
    bars: int

    def as_dict(self) -> dict[str, float]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def estimate_from_bars(tape: EventTape) -> BarEstimate:
    """Estimate volatility, fill decay and arrivals from the bars of a tape.

    Nothing is differenced across a gap: bars on its two sides are not neighbours.

    Raises:
        DataQualityError: fewer than 30 neighbouring bars, or a price that never moved.
    """
    tick = tape.instrument.tick_size
    closes_at = np.flatnonzero(tape.kind == Kind.BAR_CLOSE)
    close, high, low = (tape.price_ticks[closes_at - back] * tick for back in (0, 1, 2))
    ts = tape.ts_ns[closes_at]
    neighbours = np.diff(ts) == tape.interval_ns
    count = int(neighbours.sum())
    source = tape.meta.get("source", "tape")
    if count < MIN_BARS:
        raise DataQualityError(f"{source}: {count} neighbouring bars, {MIN_BARS} are needed to estimate volatility")
    changes = np.diff(close)[neighbours]
    sigma = float(np.std(changes, ddof=1)) / np.sqrt(tape.interval_ns / NS_PER_S)
    up = np.maximum(high[1:] - close[:-1], 0.0)[neighbours]
    down = np.maximum(close[:-1] - low[1:], 0.0)[neighbours]
    excursion = float(np.mean(np.concatenate([up, down])))
    if sigma <= 0 or excursion <= 0:
        raise DataQualityError(f"{source}: the price did not move in {count} bars; there is nothing to estimate")
    return BarEstimate(sigma=float(sigma), k=1.0 / excursion, arrival_rate=NS_PER_S / tape.interval_ns, bars=count)
