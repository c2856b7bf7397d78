"""What an inventory is worth over time: the linear equations behind the optimal quotes of GLFT and Cartea-Jaimungal.

Both turn the maker's problem into v'(tau) = -M v over the inventories -Q..Q, tau the time left, with M tridiagonal:
a diagonal d_q and -eta beside it. Quotes need the logarithm of v_q / v_{q+1} only, and that over tens of decades, so
nothing here subtracts: values are kept as logarithms, and what carries them over a time step is a matrix without a
negative entry, in units of the values themselves. Every ratio keeps its relative accuracy, however rare its inventory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

# Time is cut into blocks of so many steps; a block's steps are twice those of the one before. Hermite interpolation
# between them is then good to 1e-9 of 1/k at any time left.
STEPS: Final = 64
Q_MAX: Final = 250  # a matrix of 2 * 250 + 1 inventories squares in a fraction of a second
_FIRST_STEP: Final = 0.02  # of the fastest time scale there is
_MOST_STIFF: Final = 1e10  # horizon over the fastest time scale: rounding errors grow with it
# A terminal slope of more is forgotten within e^-46 of the time between two fills.
_STEEPEST: Final = 46.0


@dataclass(frozen=True)
class TimeTable:
    """Logarithms of neighbouring values over time.

    Attributes:
        first_step_s: seconds of a step in the first block (and the second); 64 steps a block, doubling from there on.
        lean: float64[steps + 1, 2Q, 2]: ln(v_q / v_{q+1}) for q = -Q..Q-1, and its derivative per second of time left.
        log_values: float64[2Q + 1], ln v_q with the whole horizon left.
    """

    first_step_s: float
    lean: Floats
    log_values: Floats


@njit()
def _ratios(diagonal: Any, peak: Any, shift: Any, out: Any) -> Any:
    """Write the ratio of each value to its neighbour towards the peak; return whether `shift` is above the root."""
    ratio = 0.0
    for i in range(peak):
        room = diagonal[i] + shift - ratio
        if not room > 0.0:
            return False
        ratio = 1.0 / room
        out[i] = ratio
    room = diagonal[peak] + shift - ratio
    ratio = 0.0
    for i in range(len(diagonal) - 1, peak, -1):
        here = diagonal[i] + shift - ratio
        if not here > 0.0:
            return False
        ratio = 1.0 / here
        out[i] = ratio
    return room - ratio > 0.0


@njit()
def _ground_state(diagonal: Any, peak: Any) -> Any:
    """Return the smallest shift s with diag(diagonal) + s - offdiag(1) >= 0, and the ratios towards the peak."""
    low, high = 0.0, 2.0
    out = np.ones(len(diagonal))
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if _ratios(diagonal, peak, middle, out):
            high = middle
        else:
            low = middle
    _ratios(diagonal, peak, high, out)
    return high, out


def ground_state(diagonal: Floats, coupling: float) -> tuple[float, Floats]:
    """Return the smallest eigenvalue of diag(diagonal) - coupling * offdiag(1), and its eigenvector's log ratios.

    Found by bisection on a continued fraction from both edges to the peak, which holds for entries of any smallness.

    Args:
        diagonal: float64[n].
        coupling: > 0.

    Returns:
        The eigenvalue, and float64[n - 1]: ln(v_i / v_{i+1}).
    """
    lowest = float(np.min(diagonal))
    at_lowest = np.flatnonzero(diagonal == lowest)
    peak = int(at_lowest[len(at_lowest) // 2])
    shift, towards = _ground_state((diagonal - lowest) / coupling, peak)
    logs = np.log(towards)
    return lowest - float(shift) * coupling, np.concatenate([logs[:peak], -logs[peak + 1 :]])


@njit()
def _short_step(diagonal: Any, up: Any, down: Any, step: Any) -> Any:
    """Return exp(step * (-diag + up + down)) by its series around the largest diagonal: nothing is subtracted."""
    n = len(diagonal)
    largest = diagonal.max()
    total = np.eye(n)
    term = np.eye(n)
    following = np.empty((n, n))
    order = 0.0
    while term.max() > 1e-20:  # of the values, which are 1 in their own units
        order += 1.0
        scale = step / order
        for i in range(n):
            for j in range(n):
                value = (largest - diagonal[i]) * term[i, j]
                if i + 1 < n:
                    value += up[i] * term[i + 1, j]
                if i > 0:
                    value += down[i] * term[i - 1, j]
                following[i, j] = value * scale
        term, following = following, term
        total += term
    return total * np.exp(-step * largest)


@njit()
def _square(matrix: Any) -> Any:
    n = len(matrix)
    out = np.zeros((n, n))
    for i in range(n):
        for k in range(n):
            factor = matrix[i, k]
            if factor != 0.0:
                for j in range(n):
                    out[i, j] += factor * matrix[k, j]
    return out


@njit()
def _advance(step_matrix: Any, now: Any) -> Any:
    """Take one step: raise `now`, the logs of the values, and bring the matrix into the new values' units."""
    n = len(now)
    sums = np.zeros(n)
    for i in range(n):
        for j in range(n):
            sums[i] += step_matrix[i, j]
    for i in range(n):
        for j in range(n):
            step_matrix[i, j] *= sums[j] / sums[i]
        now[i] += np.log(sums[i])


@njit()
def _log_values(diagonal: Any, coupling: Any, terminal: Any, first_step: Any, blocks: Any) -> Any:
    """Return float64[64 blocks + 1, n]: ln v at the steps' ends, from v = exp(terminal) on.

    `step_matrix` acts on v in units of its present values, which are therefore all 1: a step multiplies them by the
    sums of its rows, and the units follow.
    """
    n = len(diagonal)
    logs = np.empty((STEPS * blocks + 1, n))
    logs[0] = terminal
    now = terminal.copy()
    step_matrix = np.eye(n)
    up, down = np.zeros(n), np.zeros(n)
    step = first_step
    for block in range(blocks):
        if block > 1:
            step *= 2.0
        up[:-1] = coupling * np.exp(now[1:] - now[:-1])
        down[1:] = coupling * np.exp(now[:-1] - now[1:])
        if step * (diagonal + up + down).max() <= 1.0:
            step_matrix = _short_step(diagonal, up, down, step)
        elif block > 1:
            step_matrix = _square(step_matrix)
        for i in range(STEPS):
            _advance(step_matrix, now)
            logs[STEPS * block + i + 1] = now
    return logs


def _gentle(terminal: Floats) -> Floats:
    """Return `terminal` with slopes of at most `_STEEPEST`, unchanged at its top."""
    steps = np.clip(np.diff(terminal), -_STEEPEST, _STEEPEST)
    gentle = np.concatenate([[0.0], np.cumsum(steps)])
    top = int(np.argmax(terminal))
    return np.asarray(gentle - gentle[top] + terminal[top])


def time_table(diagonal: Floats, coupling: float, terminal: Floats, horizon_s: float) -> TimeTable:
    """Solve v'(tau) = -(diag(diagonal) - coupling * offdiag(1)) v from v = exp(terminal) at tau = 0.

    Args:
        diagonal: float64[n], per second.
        coupling: per second, > 0.
        terminal: float64[n], ln v at the end of the horizon.
        horizon_s: seconds, > 0.

    Raises:
        ConfigError: the horizon is longer than 1e10 of the fastest time scale; rounding errors would show.
    """
    lowest, _ = ground_state(diagonal, coupling)
    above = diagonal - lowest  # the slowest mode neither grows nor decays
    start = _gentle(terminal)
    stiffness = horizon_s * (float(np.max(above)) + 2.0 * coupling)
    if not stiffness <= _MOST_STIFF:
        most = horizon_s * _MOST_STIFF / stiffness
        raise ConfigError(
            f"horizon_s must be at most {most:.3g} s with these parameters, got {horizon_s:.6g}: at q_max the value "
            "changes too fast for a longer one; a smaller q_max or a stationary variant does without"
        )
    rates = above + coupling * _pulls(start)
    fastest = max(float(np.max(rates)), (float(np.max(above)) + 2.0 * coupling))
    blocks = max(1, math.ceil(math.log2(horizon_s * fastest / (STEPS * _FIRST_STEP))) + 1)
    first_step = horizon_s / (STEPS * 2.0 ** (blocks - 1))
    logs = _log_values(above, coupling, start, first_step, blocks)
    rates = -above + coupling * _pulls(logs)
    slopes = rates[:, :-1] - rates[:, 1:]
    log_values = logs[-1] - lowest * horizon_s
    logs[0] = terminal
    lean = logs[:, :-1] - logs[:, 1:]
    return TimeTable(first_step, np.stack([lean, _limited(slopes, lean, first_step)], axis=-1), log_values)


def _pulls(logs: Floats) -> Floats:
    """Return (v_{q-1} + v_{q+1}) / v_q, float64[..., n]."""
    steps = np.diff(logs, axis=-1)
    pulls = np.zeros_like(logs)
    pulls[..., :-1] += np.exp(steps)
    pulls[..., 1:] += np.exp(-steps)
    return pulls


def _limited(slopes: Floats, lean: Floats, first_step: float) -> Floats:
    """Return slopes of at most three times those of the steps beside them, the first one as it is.

    Where time is resolved that changes nothing, at a turning point either. It takes away what rounding leaves of the
    slope of a value that does not change any more.
    """
    widths = first_step * 2.0 ** np.maximum(np.arange(len(lean) - 1) // STEPS - 1, 0)
    steps = np.abs(np.diff(lean, axis=0)) / widths[:, None]
    most = np.concatenate([steps, steps[-1:]])
    most[1:-1] = np.maximum(steps[:-1], steps[1:])
    most[0] = np.inf  # it has one neighbour, and a turning point may lie between the two
    return np.clip(slopes, -3.0 * most, 3.0 * most)
