"""Quote functions that look a lean up over inventory (and time), shared by the models that solve for one.

With g_q = (1/k) ln(v_q / v_{q+1}) and `making` all that does not depend on the inventory:

    bid distance = making + g_q,   none at q >= Q;   ask distance = making - g_{q-1},   none at q <= -Q

Between whole inventories the distances are interpolated; outside the range they stay at the edge's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from marketmakerl.core.jit import njit
from marketmakerl.models.contract import QUOTE_SIGNATURE
from marketmakerl.models.inventory_values import STEPS

_STATIONARY_HEAD = 2
_TIMED_HEAD = 4


@njit()
def _place(node: float, last: int) -> tuple[int, float]:
    """Return the cell of a table of `last` + 1 nodes that `node` lies in, and how far inside."""
    if node <= 0.0:
        return 0, 0.0
    if node >= last:
        return last, 0.0
    cell = int(node)
    return cell, node - cell


@njit(QUOTE_SIGNATURE)
def quote_stationary(context: Any, params: Any) -> tuple[float, float]:
    """params: making, q_max, then g_q for q = -q_max..q_max - 1, price units."""
    making, q_max = params[0], params[1]
    last = len(params) - _STATIONARY_HEAD - 1
    bid, ask = np.nan, np.nan
    if context.q < q_max:
        cell, inside = _place(context.q + q_max, last)
        at = _STATIONARY_HEAD + cell
        bid = making + params[at]
        if inside > 0.0:
            bid += inside * (params[at + 1] - params[at])
    if context.q > -q_max:
        cell, inside = _place(context.q - 1.0 + q_max, last)
        at = _STATIONARY_HEAD + cell
        ask = making - params[at]
        if inside > 0.0:
            ask -= inside * (params[at + 1] - params[at])
    return bid, ask


@njit()
def _row(time_left_s: float, first_step_s: float, last: int) -> tuple[int, float, float]:
    """Return the time step that holds `time_left_s`, how far inside, and its length in seconds."""
    steps = time_left_s / first_step_s
    if steps < 2 * STEPS:
        row = int(steps)
        inside, width = steps - row, 1.0
    else:
        # Block b >= 1 holds the steps from STEPS * 2**(b - 1) to STEPS * 2**b, counted in first steps.
        block = math.frexp(steps / STEPS)[1]
        width = math.ldexp(1.0, block - 1)
        within = steps / width - STEPS
        row = min(int(within), STEPS - 1)
        inside = within - row
        row += STEPS * block
    if row > last:
        return last, 1.0, first_step_s * math.ldexp(1.0, max(last // STEPS - 1, 0))
    return row, inside, first_step_s * width


@njit()
def _in_time(params: Any, at: int, cells: int, weights: tuple[float, float, float, float]) -> float:
    """Return a lean between two rows of the table from its values and slopes there (cubic Hermite)."""
    later = at + 2 * cells
    return float(
        weights[0] * params[at]
        + weights[1] * params[at + 1]
        + weights[2] * params[later]
        + weights[3] * params[later + 1]
    )


@njit(QUOTE_SIGNATURE)
def quote_in_time(context: Any, params: Any) -> tuple[float, float]:
    """params: making, q_max, first step in seconds, horizon in seconds, then the table of `lean_params`."""
    making, q_max = params[0], params[1]
    cells = int(2.0 * q_max)
    last = (len(params) - _TIMED_HEAD) // (2 * cells) - 2
    row, inside, step_s = _row(min(context.time_left_s, params[3]), params[2], last)
    outside = 1.0 - inside
    weights = (
        (1.0 + 2.0 * inside) * outside * outside,
        step_s * inside * outside * outside,
        inside * inside * (3.0 - 2.0 * inside),
        -step_s * inside * inside * outside,
    )
    base = _TIMED_HEAD + row * 2 * cells
    bid, ask = np.nan, np.nan
    if context.q < q_max:
        cell, beside = _place(context.q + q_max, cells - 1)
        lean = _in_time(params, base + 2 * cell, cells, weights)
        if beside > 0.0:
            lean += beside * (_in_time(params, base + 2 * cell + 2, cells, weights) - lean)
        bid = making + lean
    if context.q > -q_max:
        cell, beside = _place(context.q - 1.0 + q_max, cells - 1)
        lean = _in_time(params, base + 2 * cell, cells, weights)
        if beside > 0.0:
            lean += beside * (_in_time(params, base + 2 * cell + 2, cells, weights) - lean)
        ask = making - lean
    return bid, ask
