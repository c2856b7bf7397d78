"""What the book looks like: the spread over time, sizes by distance from the touch, sizes of market orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.models.estimate import Blocks, Estimate, NotIdentifiedError, ratio_of_sums

if TYPE_CHECKING:
    from marketmakerl.core.instrument import Instrument
    from marketmakerl.models.tick_observations import DepthProfile, Orders, Quotes

MIN_ORDERS: Final = 50
_SHOWN_SPREADS: Final = 20
_KNOWN_SHARE: Final = 0.5  # of the samples in which a distance must have been recorded


def mean_spread(quotes: Quotes, tick_size: float) -> Estimate:
    """Return the time-weighted mean spread, price units.

    Raises:
        NotIdentifiedError: too short a time for a standard error.
    """
    blocks = Blocks.over(quotes.start_ns, quotes.end_ns)
    blocks.check("a standard error that clusters survive")
    price = np.asarray(quotes.spread_ticks * tick_size, np.float64)
    wide, long = (blocks.held(quotes.ts_ns, quotes.until_ns, of) for of in (price, np.ones(len(price))))
    value, error = ratio_of_sums(wide, long)
    method = f"time-weighted; errors by blocks of {blocks.seconds:.3g} s"
    return Estimate(value, error, "price", method, len(quotes.ts_ns))


def spread_shares(quotes: Quotes) -> list[dict[str, float]]:
    """Return the share of time at each spread: ticks, share; the widest 20th and beyond as one line."""
    held = (quotes.until_ns - quotes.ts_ns) / NS_PER_S
    width, of = np.unique(quotes.spread_ticks, return_inverse=True)
    share = np.bincount(of, weights=held) / max(held.sum(), 1e-300)
    lines = [{"ticks": int(w), "share": float(s)} for w, s in zip(width, share, strict=True)]
    if len(lines) > _SHOWN_SPREADS:
        rest = sum(line["share"] for line in lines[_SHOWN_SPREADS - 1 :])
        lines = [*lines[: _SHOWN_SPREADS - 1], {"ticks": lines[_SHOWN_SPREADS - 1]["ticks"], "share": rest}]
    return lines


def depth_lines(depth: DepthProfile | None, instrument: Instrument) -> list[dict[str, float]]:
    """Return the mean sizes by distance from the touch: distance (price, near edge), bid, ask (units of quantity).

    Raises:
        NotIdentifiedError: no book was recorded, or none of it reaches across a bin.
    """
    if depth is None:
        raise NotIdentifiedError("the recording has best quotes and no book")
    known = (depth.samples >= max(1, _KNOWN_SHARE * depth.total_samples)).all(axis=0)
    lines = [
        {
            "distance": i * depth.bin_ticks * instrument.tick_size,
            "bid": float(depth.mean_lots[0, i]) * instrument.lot_size,
            "ask": float(depth.mean_lots[1, i]) * instrument.lot_size,
        }
        for i in np.flatnonzero(known).tolist()
    ]
    if not lines:
        raise NotIdentifiedError(
            f"in {depth.total_samples} samples the book was rarely recorded as far as {depth.bin_ticks} ticks from the "
            "touch"
        )
    return lines


def order_size(orders: Orders, quotes: Quotes, lot_size: float) -> tuple[Estimate, dict[str, Any]]:
    """Return the mean size of a market order in units of quantity, and quantiles.

    Raises:
        NotIdentifiedError: fewer than 50 orders, or too short a time for a standard error.
    """
    if len(orders) < MIN_ORDERS:
        raise NotIdentifiedError(f"{len(orders)} market orders, {MIN_ORDERS} are needed")
    blocks = Blocks.over(quotes.start_ns, quotes.end_ns)
    blocks.check("a standard error that clusters survive")
    size = np.asarray(orders.lots * lot_size, np.float64)
    value, error = ratio_of_sums(blocks.sums(orders.ts_ns, size), blocks.sums(orders.ts_ns, np.ones(len(size))))
    shares = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
    quantiles = {f"{share:g}": float(at) for share, at in zip(shares, np.quantile(size, shares), strict=True)}
    method = f"trades of one time and side together; errors by blocks of {blocks.seconds:.3g} s"
    return Estimate(value, error, "quantity", method, len(size)), quantiles
