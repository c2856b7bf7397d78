"""Compiled: the likelihood of a Hawkes process with an exponential kernel, its gradient, and its residuals.

Events of two sides in one order by time. The intensity of side s at t is

    lambda_s(t) = mu + sum over earlier events j of (self if j is of side s, else cross) x e^(-beta (t - t_j))

so that one pass suffices (Ozaki 1979): R_s = sum e^(-beta (t - t_j)) over the events of side s decays by a factor
between two events. An event excites what is strictly later: events of one time do not excite each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.core.jit import njit

_NEGLIGIBLE = 45.0  # e^-45 is below what a float64 adds to one

if TYPE_CHECKING:
    import numpy.typing as npt


@njit()
def log_likelihood(
    t: Any, side: Any, ends: Any, sides: int, mu: float, own: float, cross: float, beta: float, gradient: Any
) -> float:
    """Return the log-likelihood, and write its gradient by (mu, own, cross, beta) into `gradient`.

    Args:
        t: float64[n], seconds since the start of each event's stretch; increasing within it.
        side: int64[n], 0 or 1; all 0 with one side.
        ends: float64[m, 2]: for each stretch the number of events before its end, and its length in seconds.
        sides: 1 or 2.
        mu: baseline, 1/s.
        own: excitation by the same side, 1/s.
        cross: by the other side, 1/s.
        beta: decay, 1/s, > 0.
        gradient: out, float64[4].
    """
    gradient[:] = 0.0
    total = 0.0
    decayed, slope = np.zeros(2), np.zeros(2)  # R and -dR/dbeta
    first = 0
    for m in range(len(ends)):
        last, length = int(ends[m, 0]), ends[m, 1]
        decayed[:] = 0.0
        slope[:] = 0.0
        total -= sides * mu * length
        gradient[0] -= sides * length
        before, tied = 0.0, first
        for i in range(first, last):
            gap = t[i] - before
            if gap > 0.0 and i > first:
                for j in range(tied, i):
                    decayed[side[j]] += 1.0
                tied = i
            if gap > 0.0:
                kept = np.exp(-beta * gap)
                for s in range(sides):
                    slope[s] = kept * (slope[s] + gap * decayed[s])
                    decayed[s] *= kept
                before = t[i]
            s = side[i]
            same, other = decayed[s], decayed[1 - s]
            rate = mu + own * same + cross * other
            total += np.log(rate)
            gradient[0] += 1.0 / rate
            gradient[1] += same / rate
            gradient[2] += other / rate
            gradient[3] -= (own * slope[s] + cross * slope[1 - s]) / rate
            # What this event adds to the expected number until the stretch ends.
            left = length - t[i]
            gone = np.exp(-beta * left) if beta * left < _NEGLIGIBLE else 0.0
            part = (1.0 - gone) / beta
            total -= (own + cross) * part
            gradient[1] -= part
            gradient[2] -= part
            gradient[3] -= (own + cross) * (left * gone - part) / beta
        first = last
    if sides == 1:
        gradient[2] = 0.0
    return total


@njit()
def residuals(
    t: Any, side: Any, ends: Any, sides: int, mu: float, own: float, cross: float, beta: float, out: Any
) -> int:
    """Write the expected number of events between neighbours of one side into `out`; return how many.

    They are exponential with mean one where the model is right (time rescaling: Papangelou 1972, Ogata 1988). The time
    before the first event of a stretch and after its last is left out.
    """
    n, first = 0, 0
    decayed, expected = np.zeros(2), np.zeros(2)
    seen = np.zeros(2, np.int64)
    for m in range(len(ends)):
        last = int(ends[m, 0])
        decayed[:] = 0.0
        expected[:] = 0.0
        seen[:] = 0
        before, tied = 0.0, first
        for i in range(first, last):
            gap = t[i] - before
            if gap > 0.0:
                for j in range(tied, i):
                    decayed[side[j]] += 1.0
                tied = i
                kept = np.exp(-beta * gap)
                for s in range(sides):
                    part = own * decayed[s] + (cross * decayed[1 - s] if sides == 2 else 0.0)
                    expected[s] += mu * gap + part * (1.0 - kept) / beta
                for s in range(sides):
                    decayed[s] *= kept
                before = t[i]
            s = side[i]
            if seen[s] > 0:
                out[n] = expected[s]
                n += 1
            seen[s] += 1
            expected[s] = 0.0
        first = last
    return n


def likelihood_and_gradient(
    t: npt.NDArray[np.float64], side: npt.NDArray[np.int64], ends: npt.NDArray[np.float64], sides: int,
    parameters: npt.NDArray[np.float64],
) -> tuple[float, npt.NDArray[np.float64]]:  # fmt: skip
    """Return the log-likelihood and its gradient by (mu, own, cross, beta)."""
    gradient = np.empty(4)
    mu, own, cross, beta = (float(value) for value in parameters)
    return float(log_likelihood(t, side, ends, sides, mu, own, cross, beta, gradient)), gradient
