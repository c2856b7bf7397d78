"""Volatility of the mid in price units per square root of a second, three ways, and against the sampling interval.

    realised        sigma^2 T = sum r_i^2 on a grid (Barndorff-Nielsen & Shephard 2002). All that moved, jumps included.
                    Variance of the sum: 2/3 sum r_i^4, right for a volatility that changes over time.
    bipower         sigma^2 T = pi/2 sum |r_i| |r_(i-1)| (Barndorff-Nielsen & Shephard 2004). Jumps drop out. What is
                    left, (realised - bipower) / realised, is the share of jumps, with the test of Huang & Tauchen 2005.
    two scales      sigma^2 T = (RV_K - n_K/n_J RV_J) / (1 - n_K/n_J) over all updates of the mid, RV_K the mean of the
                    realised variances of the K grids of every K-th update (Zhang, Mykland & Ait-Sahalia 2005; with
                    J > 1, Ait-Sahalia, Mykland & Zhang 2011: noise may depend on itself over J updates). The bounce of
                    the mid between ticks, which makes the realised variance of fine grids too large, cancels.

Standard errors are those of the volatility that the sample had, not of the volatility of another day. Nothing is
differenced across a gap: returns come from inside one stretch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.special import gamma as gamma_function
from scipy.stats import norm

from marketmakerl.core.clock import NS_PER_MS, NS_PER_S
from marketmakerl.models.estimate import Estimate, NotIdentifiedError

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.models.tick_observations import Quotes

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

UNIT: Final = "price/sqrt(s)"
MIN_RETURNS: Final = 30
MIN_UPDATES: Final = 200
MOST_ZEROS: Final = 0.2  # of the returns; with more, products of neighbours measure the tick and not the market
SIGNATURE_MS: Final = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000)
_GRID_RETURNS: Final = 120  # the grid is the coarsest of `_GRIDS_MS` that gives so many returns
_GRIDS_MS: Final = (10_000, 5_000, 2_000, 1_000)
_COARSER: Final = (2, 5, 10, 20)
_BIPOWER_THETA: Final = math.pi**2 / 4 + math.pi - 5
_TRIPOWER: Final = (2 ** (2 / 3) * gamma_function(7 / 6) / gamma_function(1 / 2)) ** -3


@dataclass(frozen=True)
class Path:
    """A price over time in stretches.

    Attributes:
        ts_ns: int64[n], when the price became what it is.
        price: float64[n], price units.
        stretch: int64[n], which stretch each row lies in, from 0, never decreasing.
        start_ns, end_ns: int64[m], the stretches.
    """

    ts_ns: Ints
    price: Floats
    stretch: Ints
    start_ns: Ints
    end_ns: Ints

    @classmethod
    def of_mids(cls, quotes: Quotes, tick_size: float) -> Path:
        """Return the mid over time: one row an exchange time at which it changed."""
        last_of_time = np.append(quotes.ts_ns[1:] != quotes.ts_ns[:-1], True)
        stretch = np.searchsorted(quotes.start_ns, quotes.ts_ns, side="right") - 1
        last_of_time |= np.append(stretch[1:] != stretch[:-1], True)
        mid = quotes.mid_half_ticks[last_of_time]
        ts, stretch = quotes.ts_ns[last_of_time], stretch[last_of_time]
        new = np.append(True, (mid[1:] != mid[:-1]) | (stretch[1:] != stretch[:-1])) if len(mid) else last_of_time
        return cls(ts[new], mid[new] * (tick_size / 2), stretch[new], quotes.start_ns, quotes.end_ns)

    def on_grid(self, step_ns: int) -> list[Floats]:
        """Return the prices of each stretch at its start, one step later, and so on: the last price at or before."""
        paths = []
        for start, end in zip(self.start_ns.tolist(), self.end_ns.tolist(), strict=True):
            times = np.arange(start, end + 1, step_ns)
            paths.append(self.price[np.searchsorted(self.ts_ns, times, side="right") - 1])
        return paths


@dataclass(frozen=True)
class Realised:
    """Sums of powers of the returns on one grid, over all stretches.

    Attributes:
        step_s: the grid, seconds.
        n: returns.
        variance: sum of their squares.
        fourth: sum of their fourth powers.
        zeros: share of them that are zero.
        bipower, pairs: pi/2 times the sum of products of neighbours, scaled to n returns; how many products.
        tripower: n/3-scaled integrated quarticity from products of three neighbours; robust to jumps.
    """

    step_s: float
    n: int
    variance: float
    fourth: float
    zeros: float
    bipower: float
    pairs: int
    tripower: float

    @classmethod
    def of(cls, paths: list[Floats], step_s: float) -> Realised:
        """Sum over paths of prices on a grid."""
        returns = [np.diff(path) for path in paths]
        every = np.concatenate([np.zeros(0), *returns])
        size = [np.abs(r) for r in returns]
        pairs = sum(max(0, len(a) - 1) for a in size)
        triples = sum(max(0, len(a) - 2) for a in size)
        two = math.pi / 2 * sum(float(a[1:] @ a[:-1]) for a in size)
        three = sum(float(((a[2:] * a[1:-1] * a[:-2]) ** (4 / 3)).sum()) for a in size)
        n = len(every)
        return cls(
            step_s=step_s,
            n=n,
            variance=float(every @ every),
            fourth=float((every**2) @ (every**2)),
            zeros=float(np.mean(every == 0)) if n else 1.0,
            bipower=two * n / max(1, pairs),
            pairs=pairs,
            tripower=float(n * _TRIPOWER * three * n / max(1, triples)),
        )

    @property
    def seconds(self) -> float:
        """Return the time the returns cover."""
        return self.n * self.step_s

    def sigma(self) -> tuple[float, float]:
        """Return the realised volatility and its standard error, price units per sqrt(s)."""
        return _root(self.variance / self.seconds, math.sqrt(2 / 3 * self.fourth) / self.seconds)


def grid_ms(observed_s: float) -> int:
    """Return the grid on which volatility is measured: the coarsest up to 10 s that gives 120 returns, else 1 s."""
    return next((ms for ms in _GRIDS_MS if observed_s * 1000 / ms >= _GRID_RETURNS), _GRIDS_MS[-1])


def realised(sums: Realised) -> Estimate:
    """Return the realised volatility.

    Raises:
        NotIdentifiedError: fewer than 30 returns, or a price that did not move.
    """
    _check(sums)
    value, error = sums.sigma()
    return Estimate(value, error, UNIT, f"realised variance, grid {sums.step_s:g} s", sums.n)


def bipower(sums: Realised) -> Estimate:
    """Return the volatility without jumps.

    Raises:
        NotIdentifiedError: as `realised`, or too many returns of zero: then ticks, not jumps, decide.
    """
    _check(sums)
    if sums.zeros > MOST_ZEROS:
        raise NotIdentifiedError(
            f"{sums.zeros:.0%} of the returns on the grid of {sums.step_s:g} s are zero: the tick is too coarse to "
            "tell jumps from moves; a coarser grid needs longer data"
        )
    if sums.pairs < MIN_RETURNS or sums.bipower <= 0:
        raise NotIdentifiedError(f"{sums.pairs} pairs of neighbouring returns, {MIN_RETURNS} are needed")
    # Var of the sum: (pi^2/4 + pi - 3) x integrated quarticity x step.
    spread = math.sqrt((_BIPOWER_THETA + 2) * sums.tripower / sums.n)
    value, error = _root(sums.bipower / sums.seconds, spread / sums.seconds)
    return Estimate(value, error, UNIT, f"bipower variation, grid {sums.step_s:g} s", sums.n)


def first_that_moves(path: Path, step_ns: int) -> Realised:
    """Return the sums on the first of the grids 1, 2, 5, 10, 20 times `step_ns` that bipower variation can use.

    The coarsest that holds enough returns where none is: then `bipower` says what is wrong with it.
    """
    sums = Realised.of(path.on_grid(step_ns), step_ns / NS_PER_S)
    for factor in _COARSER:
        if sums.zeros <= MOST_ZEROS:
            break
        further = Realised.of(path.on_grid(factor * step_ns), factor * step_ns / NS_PER_S)
        if further.pairs < 2 * MIN_RETURNS:
            break
        sums = further
    return sums


def jump_share(sums: Realised) -> tuple[Estimate, float]:
    """Return the share of variance that came by jumps, and the p-value of there being none (one-sided).

    Raises:
        NotIdentifiedError: as `bipower`.
    """
    bipower(sums)
    share = (sums.variance - sums.bipower) / sums.variance
    error = math.sqrt(_BIPOWER_THETA / sums.n * max(1.0, sums.tripower / sums.bipower**2))
    p_value = float(norm.sf(share / error))
    text = f"1 - bipower/realised, grid {sums.step_s:g} s"
    return Estimate(share, error, "share of variance", text, sums.n), p_value


def signature(path: Path, steps_ms: tuple[int, ...] = SIGNATURE_MS) -> list[dict[str, Any]]:
    """Return the realised volatility against the sampling interval: interval_s, sigma, std_error, n.

    Where it falls with the interval, the price bounces; where it is flat, it is that of a random walk.
    """
    lines = []
    for step_ms in steps_ms:
        sums = Realised.of(path.on_grid(step_ms * NS_PER_MS), step_ms / 1000)
        if sums.n >= MIN_RETURNS and sums.variance > 0:
            value, error = sums.sigma()
            lines.append({"interval_s": sums.step_s, "sigma": value, "std_error": error, "n": sums.n})
    return lines


def two_scales(path: Path, dependent_updates: int = 5) -> tuple[Estimate, float]:
    """Return the volatility of the price below the noise of its updates, and the noise's standard deviation.

    Args:
        path: every update of the mid.
        dependent_updates: J, over how many updates the noise may depend on itself.

    Raises:
        NotIdentifiedError: fewer than 200 updates, or noise that leaves nothing.
    """
    parts = [path.price[path.stretch == s] for s in range(len(path.start_ns))]
    parts = [part for part in parts if len(part) > 1]
    n = sum(len(part) - 1 for part in parts)
    if n < MIN_UPDATES:
        raise NotIdentifiedError(f"{n} updates of the mid, {MIN_UPDATES} are needed")
    # Time outside the first and last update of a stretch passed without a move; it counts.
    seconds = float((path.end_ns - path.start_ns).sum()) / NS_PER_S
    fast = dependent_updates
    noise = max(0.0, _lagged(parts, 1)[0] - _lagged(parts, 2 * fast)[0]) / (2 * n * (1 - 0.5 / fast))
    slow = _slow_scale(parts, n, fast, noise)
    rv_slow, n_slow, fourth = _lagged(parts, slow)
    rv_fast, n_fast, _ = _lagged(parts, fast)
    ratio = n_slow / n_fast
    # Updates at the ends of a stretch lie in fewer long returns: so much of the variance is left in the difference.
    share = n_slow * (slow - fast) / n
    variance = (rv_slow - ratio * rv_fast) / share
    if variance <= 0:
        raise NotIdentifiedError("the mid bounces so much that nothing is left of its moves at this length of data")
    quarticity = fourth / (3 * slow**2)  # sum over updates of sigma_i^4
    spread = math.sqrt(8 * noise**2 * n / slow**2 + 4 / 3 * (slow - fast) * quarticity) / share
    value, error = _root(variance / seconds, spread / seconds)
    text = f"two scales of {fast} and {slow} updates of the mid"
    return Estimate(value, error, UNIT, text, n), math.sqrt(noise)


def _slow_scale(parts: list[Floats], n: int, fast: int, noise: float) -> int:
    """Return K: the scale at which what noise and what the length of data add to the variance is least."""
    lag = 4 * fast
    quarticity = _lagged(parts, lag)[2] / (3 * lag**2)
    best = (12 * noise**2 * n / max(quarticity, 1e-300)) ** (1 / 3) if quarticity > 0 else lag
    return int(min(max(round(best), lag), max(lag, n // 20)))


def _lagged(parts: list[Floats], lag: int) -> tuple[float, float, float]:
    """Return of all returns over `lag` updates: sum of squares / lag, their number / lag, sum of fourth powers."""
    moves = np.concatenate([part[lag:] - part[:-lag] if len(part) > lag else np.zeros(0) for part in parts])
    squares = moves**2
    return float(squares.sum()) / lag, max(1, len(moves)) / lag, float(squares @ squares)


def _check(sums: Realised) -> None:
    if sums.n < MIN_RETURNS:
        raise NotIdentifiedError(f"{sums.n} returns over {sums.step_s:g} s, {MIN_RETURNS} are needed")
    if sums.variance <= 0:
        raise NotIdentifiedError(f"the price did not move in {sums.seconds:g} s")


def _root(variance: float, error: float) -> tuple[float, float]:
    """Return the square root of an estimate and its standard error (delta method)."""
    value = math.sqrt(variance)
    return value, error / (2 * value)
