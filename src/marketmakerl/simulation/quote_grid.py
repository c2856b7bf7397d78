"""What a model quotes over times and inventories, for tables and pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from marketmakerl.models.contract import QuotingModel


def quote_grid(model: QuotingModel, times_s: Sequence[float], inventories: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the distances from the mid, float64 [times, inventories, 2]: bid and ask in price units, NaN for none.

    Args:
        model: one whose quotes do not depend on the book.
        times_s: seconds since the start of a run, >= 0; a model's session begins anew when it is over.
        inventories: order sizes, signed.
    """
    grid = np.empty((len(times_s), len(inventories), 2))
    for row, time_s in enumerate(times_s):
        left_s = None if math.isinf(model.session_s) else model.session_s - time_s % model.session_s
        for column, q in enumerate(inventories):
            grid[row, column] = model.offsets(q, left_s)
    return grid
