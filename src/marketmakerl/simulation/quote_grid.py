"""What a model quotes over times and inventories, for tables and pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.models.contract import QuoteContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.simulation.world import World


def quote_grid(
    model: QuotingModel, times_s: Sequence[float], inventories: Sequence[float], world: World | None = None
) -> npt.NDArray[np.float64]:
    """Return the distances from the mid, float64 [times, inventories, 2]: bid and ask in price units, NaN for none.

    Args:
        model: any; without a world one whose quotes depend on time and inventory only.
        times_s: seconds since the start of a run, >= 0; a model's session begins anew when it is over.
        inventories: order sizes, signed.
        world: where it quotes; one that reads the market is shown the world's first mid.
    """
    grid = np.empty((len(times_s), len(inventories), 2))
    for row, time_s in enumerate(times_s):
        left_s = None if math.isinf(model.session_s) else model.session_s - time_s % model.session_s
        for column, q in enumerate(inventories):
            if world is None:
                grid[row, column] = model.offsets(q, left_s)
                continue
            seen = QuoteContext(
                world.s0, q, left_s, world.tick_size, world.fee_per_unit, order_qty=world.order_size
            ).record(model.session_s)
            seen.ts_ns = int(time_s * NS_PER_S)
            grid[row, column] = model.distances(seen)
    return grid
