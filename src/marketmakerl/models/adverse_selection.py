"""How far the mid moves against a maker after a market order has met him.

For an order of side s (1: it bought, so the maker sold) the move after h seconds is s (mid(t + h) - mid(t-)), with
mid(t-) the mid at the last earlier stamp: positive means that the maker would have been better off without the fill.
Every order counts once, whatever its size. `adverse_move` is its immediate part: up to the next message of the book,
which is what the order itself did to it (a message of a later stamp). (Glosten & Milgrom 1985 name the cause.)

Moves of orders close in time overlap and are no independent observations: standard errors come from blocks of time, no
shorter than twice the horizon. A move that would end behind a gap or behind the data is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.models.estimate import Blocks, Estimate, NotIdentifiedError, ratio_of_sums

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.models.tick_observations import Orders, Quotes

    Floats = npt.NDArray[np.float64]

HORIZONS_S: Final = (0.1, 1.0, 5.0, 10.0, 60.0)
MIN_ORDERS: Final = 50


def immediate_move(orders: Orders, quotes: Quotes, tick_size: float) -> Estimate:
    """Return the mean move of the mid from just before an order to after the next message of the book.

    Raises:
        NotIdentifiedError: fewer than 50 orders, or too short a time for a standard error.
    """
    known = orders.where(orders.mid_after >= 0)
    moves = known.side * (known.mid_after - known.mid_before) * (tick_size / 2)
    blocks = Blocks.over(quotes.start_ns, quotes.end_ns)
    return _mean(known, moves, blocks, "mid before an order to after the next message of the book")


def move_after(orders: Orders, quotes: Quotes, tick_size: float, horizon_s: float) -> Estimate:
    """Return the mean move of the mid from just before an order to `horizon_s` after it.

    Raises:
        NotIdentifiedError: as `immediate_move`, at this horizon.
    """
    later = orders.ts_ns + round(horizon_s * NS_PER_S)
    stretch = quotes.stretch_of(orders.ts_ns)
    inside = quotes.stretch_of(later) == stretch
    known, later = orders.where(inside), later[inside]
    moves = known.side * (quotes.mid_at(later) - known.mid_before) * (tick_size / 2)
    blocks = Blocks.over(quotes.start_ns, quotes.end_ns, least_s=2 * horizon_s)
    return _mean(known, moves, blocks, f"mid before an order to {horizon_s:g} s after it")


def _mean(orders: Orders, moves: Floats, blocks: Blocks, what: str) -> Estimate:
    blocks.check("a standard error that clusters survive")
    if len(orders) < MIN_ORDERS:
        raise NotIdentifiedError(f"{len(orders)} market orders with a mid before and after, {MIN_ORDERS} are needed")
    ones = np.ones(len(moves))
    value, error = ratio_of_sums(blocks.sums(orders.ts_ns, moves), blocks.sums(orders.ts_ns, ones))
    return Estimate(value, error, "price", f"{what}; errors by blocks of {blocks.seconds:.3g} s", len(moves))
