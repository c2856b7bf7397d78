"""How often a quote is reached: lambda(delta) = A e^(-k delta), by maximum likelihood, from market orders and the mid.

A quote at distance delta from the mid is filled by the market orders of the other side that reach at least delta
(Avellaneda & Stoikov 2008, section 2.5). Prices lie on ticks, so an order that reached distance r and not r + h (h the
tick) would have filled any quote up to somewhere in [r, r + h). With N orders that reach at least delta_min, and the
mid at a parity p (on a tick, or between two) for the time T_p, where f_p is the first distance at or beyond delta_min
that is a price:

    log L = N log A - k sum r_i + N log(1 - e^(-k h)) - A sum_p T_p e^(-k f_p)

so A = N / sum_p T_p e^(-k f_p), and k solves h / (e^(k h) - 1) = mean r - mean f, the mean of f weighted as A is. Both
sides are fitted alone and together; "together" is the A per second *and side* and the one k of the models.

An order that stops at the touch fills those who queue there, in their turn, and had it been nearer the order might not
have stopped: up to half the spread the curve is flat by construction. Unless it is given, delta_min is therefore the
first price behind the half-spread that 90 % of the time stays at or below; where fewer than 50 orders went through the
touch, that half-spread itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2

from marketmakerl.models.estimate import Blocks, Estimate, NotIdentifiedError, sandwich

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.models.tick_observations import Orders, Quotes

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

MIN_ORDERS: Final = 50
FLOOR_QUANTILE: Final = 0.9
_MOST_POINTS: Final = 24
_MIN_EXPECTED: Final = 10.0  # orders in a cell of the chi-squared test
_MIN_FOR_R2: Final = 10
_SHOWN_SHARE: Final = 0.99
_LARGEST_EXPONENT: Final = 300.0


@dataclass(frozen=True)
class Exposure:
    """Time for which orders of so many sides were watched, by the parity of the mid, and in blocks.

    Attributes:
        blocks: of the observed time.
        seconds: float64[blocks, 2]: with the mid on a tick, and between two; counted once a side.
    """

    blocks: Blocks
    seconds: Floats

    @classmethod
    def of(cls, quotes: Quotes, sides: int) -> Exposure:
        """Return the time that quotes were known, times the sides watched."""
        blocks = Blocks.over(quotes.start_ns, quotes.end_ns)
        odd = (quotes.mid_half_ticks % 2).astype(np.float64)
        held = [blocks.held(quotes.ts_ns, quotes.until_ns, part) for part in (1.0 - odd, odd)]
        return cls(blocks, sides * np.column_stack(held))


@dataclass(frozen=True)
class CurveFit:
    """A e^(-k delta) fitted to market orders.

    Attributes:
        arrival_rate: A, per second and side.
        k: per price unit.
        covariance: float64[2, 2] of (log A, k), robust to clusters in time.
        overdispersion: how many times larger the variance of log A is than if orders were Poisson.
        n: orders that reached delta_min.
        delta_min: price units.
        log_likelihood, power_log_likelihood: of this curve, and of A delta^(-alpha) on the same orders.
        power_exponent: alpha.
        chi2, dof, p_value: of the distances, beyond delta_min, against the fit; NaN p_value for too few cells.
        ks: largest difference between the shares of orders within a distance, measured and fitted.
        r2: of the logarithm of the measured curve, as far as ten orders and 1 % reached; NaN for fewer than 3 points.
        points: the measured curve: distance, rate, std_error, fitted.
    """

    arrival_rate: float
    k: float
    covariance: Floats
    overdispersion: float
    n: int
    delta_min: float
    log_likelihood: float
    power_log_likelihood: float
    power_exponent: float
    chi2: float
    dof: int
    p_value: float
    ks: float
    r2: float
    points: list[dict[str, float]]

    def estimates(self, what: str, block_s: float) -> tuple[Estimate, Estimate]:
        """Return A and k as estimates; `what` names the orders."""
        method = f"maximum likelihood, {what} reaching {self.delta_min:.6g}; errors by blocks of {block_s:.3g} s"
        rate_error = self.arrival_rate * math.sqrt(self.covariance[0, 0])
        return (
            Estimate(self.arrival_rate, rate_error, "1/s per side", method, self.n),
            Estimate(self.k, math.sqrt(self.covariance[1, 1]), "1/price", method, self.n),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return how good the fit is, JSON-ready."""
        names = ("arrival_rate", "k", "n", "delta_min", "overdispersion", "power_exponent", "chi2", "dof", "p_value")
        made: dict[str, Any] = {name: getattr(self, name) for name in (*names, "ks", "r2", "points")}
        # Both curves have two parameters: the difference of AIC is twice that of the log-likelihoods.
        made["aic_power_less_exponential"] = 2 * (self.log_likelihood - self.power_log_likelihood)
        return made


def default_floor(quotes: Quotes, orders: Orders) -> int:
    """Return delta_min in half ticks: one tick behind the half-spread that 90 % of the time stays at or below.

    Where fewer orders reach so far than a fit needs, that half-spread itself.
    """
    width, held = quotes.spread_ticks, quotes.until_ns - quotes.ts_ns
    order = np.argsort(width, kind="stable")
    share = np.cumsum(held[order]) / max(1, int(held.sum()))
    touch = int(width[order][min(int(np.searchsorted(share, FLOOR_QUANTILE)), len(order) - 1)])
    behind = touch + 2
    return behind if int((orders.reach_half_ticks >= behind).sum()) >= MIN_ORDERS else touch


def fit_curve(orders: Orders, exposure: Exposure, floor: int, tick_size: float) -> CurveFit:
    """Fit the curve to orders that reach at least `floor` half ticks.

    Args:
        orders: of the sides that `exposure` counts.
        exposure: how long they were watched.
        floor: delta_min, half ticks, >= 1.
        tick_size: price units.

    Raises:
        NotIdentifiedError: too few orders or blocks, or all of them at one distance.
    """
    exposure.blocks.check("a standard error that clusters survive")
    reached = orders.where(orders.reach_half_ticks >= floor)
    if len(reached) < MIN_ORDERS:
        raise NotIdentifiedError(
            f"{len(reached)} market orders reached {floor * tick_size / 2:.6g} from the mid, {MIN_ORDERS} are needed"
        )
    fit = _Fit(reached, exposure, floor)
    half = tick_size / 2
    k = fit.solve()
    log_likelihood = fit.log_likelihood(k)
    exponent, power = fit.power()
    information, scores = fit.information(k), fit.scores(k)
    # Everything above is per half tick; from here on per price unit.
    units = np.diag([1.0, 1.0 / half])
    covariance = units @ sandwich(information, scores) @ units
    model = float(np.linalg.inv(information)[0, 0])
    statistic, dof, p_value, ks = fit.goodness(k)
    points, r2 = fit.points(k, tick_size)
    return CurveFit(
        arrival_rate=fit.rate(k),
        k=k / half,
        covariance=covariance,
        overdispersion=float(covariance[0, 0] / model),
        n=len(reached),
        delta_min=floor * half,
        log_likelihood=log_likelihood,
        power_log_likelihood=power,
        power_exponent=exponent,
        chi2=statistic,
        dof=dof,
        p_value=p_value,
        ks=ks,
        r2=r2,
        points=points,
    )


def profile(orders: Orders, exposure: Exposure, floor: int, tick_size: float) -> list[dict[str, float]]:
    """Return A and k for several delta_min: where they drift, the curve is not exponential.

    Returns:
        One line a delta_min: delta_min, n, arrival_rate, k, std_error of k, ks.
    """
    reach = orders.reach_half_ticks[orders.reach_half_ticks >= floor]
    further = [int(np.quantile(reach, share)) for share in (0.5, 0.75, 0.9, 0.95, 0.99)] if len(reach) else []
    lines = []
    for at in sorted({floor, *further}):
        try:
            fit = fit_curve(orders, exposure, at, tick_size)
        except NotIdentifiedError:
            continue
        lines.append(
            {
                "delta_min": fit.delta_min,
                "n": fit.n,
                "arrival_rate": fit.arrival_rate,
                "k": fit.k,
                "std_error": math.sqrt(fit.covariance[1, 1]),
                "ks": fit.ks,
            }
        )
    return lines


class _Fit:
    """The likelihood of orders that reach the floor; distances in half ticks, a tick is h = 2 of them."""

    def __init__(self, orders: Orders, exposure: Exposure, floor: int) -> None:
        self.reach = orders.reach_half_ticks.astype(np.float64)
        self.n = len(orders)
        self.exposure = exposure
        self.held = exposure.seconds.sum(axis=0)
        # The mid on a tick (parity 0) can be an even number of half ticks away from a price, else an odd one.
        self.first = np.array([floor + floor % 2, floor + 1 - floor % 2], np.float64)
        # Rates are kept at the first distance, not at the mid: e^(-k f) of a far one would vanish.
        self.near = self.first - self.first.min()
        self.block = exposure.blocks.of(orders.ts_ns)

    def _rate_there(self, k: float) -> float:
        """Return A e^(-k f) at the first distance."""
        return float(self.n / (self.held @ np.exp(-k * self.near)))

    def rate(self, k: float) -> float:
        """Return A."""
        far = k * float(self.first.min())
        if far > _LARGEST_EXPONENT:
            raise NotIdentifiedError(
                "delta_min is so far from the mid that the rate at the mid is out of all bounds; take a smaller one"
            )
        return self._rate_there(k) * math.exp(far)

    def solve(self) -> float:
        """Return k, per half tick."""

        def slope(k: float) -> float:
            weights = self.held * np.exp(-k * self.near)
            return 2.0 / math.expm1(2.0 * k) - float(self.reach.mean() - weights @ self.first / weights.sum())

        lowest, highest = 1e-9, 20.0
        if slope(highest) > 0:
            raise NotIdentifiedError(
                f"all {self.n} market orders stop at one distance, the first behind delta_min: nothing says how their "
                "number falls with distance (k)"
            )
        if slope(lowest) < 0:
            raise NotIdentifiedError("the number of market orders does not fall with distance (k)")
        return float(brentq(slope, lowest, highest, xtol=1e-14, rtol=1e-13))

    def log_likelihood(self, k: float) -> float:
        beyond = self.reach.sum() - self.n * self.first.min()
        return float(
            self.n * math.log(self._rate_there(k)) - k * beyond + self.n * math.log(-math.expm1(-2 * k)) - self.n
        )

    def power(self) -> tuple[float, float]:
        """Return alpha and the log-likelihood of A delta^(-alpha)."""
        start = self.first.min()

        def loss(alpha: float) -> float:
            total = float(self.held @ (self.first / start) ** -alpha)
            cells = np.log((self.reach / start) ** -alpha - ((self.reach + 2) / start) ** -alpha)
            return -float(self.n * math.log(self.n / total) + cells.sum() - self.n)

        found = minimize_scalar(loss, bounds=(1e-3, 30.0), method="bounded", options={"xatol": 1e-8})
        return float(found.x), -float(found.fun)

    def information(self, k: float) -> Floats:
        weights = self._rate_there(k) * self.held * np.exp(-k * self.near)
        first, second = float(weights @ self.first), float(weights @ self.first**2)
        tail = self.n / math.sinh(k) ** 2  # n h^2 e^(kh) / (e^(kh) - 1)^2, h = 2
        return np.array([[self.n, -first], [-first, tail + second]])

    def scores(self, k: float) -> Floats:
        blocks = self.exposure.blocks.count
        orders = np.bincount(self.block, minlength=blocks)
        reach = np.bincount(self.block, weights=self.reach, minlength=blocks)
        weights = self._rate_there(k) * self.exposure.seconds * np.exp(-k * self.near)
        of_rate = orders - weights.sum(axis=1)
        of_k = -reach + orders * (2.0 / math.expm1(2.0 * k)) + weights @ self.first
        return np.column_stack([of_rate, of_k])

    def goodness(self, k: float) -> tuple[float, int, float, float]:
        """Return chi2, degrees of freedom, p-value, and the largest difference of the distribution functions."""
        cell = ((self.reach - self.first.min()) // 2).astype(np.int64)
        counted = np.bincount(cell)
        # A cell is two half ticks wide and so holds one price of either parity.
        start = self.first.min() + 2.0 * np.arange(len(counted))
        expected = self.n * -math.expm1(-2 * k) * np.exp(-k * (start - start[0]))
        measured, fitted = np.cumsum(counted) / self.n, np.cumsum(expected) / self.n
        ks = float(np.abs(measured - fitted).max())
        edges = _cells(expected, self.n)
        top = np.diff(np.concatenate([[0.0], np.cumsum(counted)[edges], [float(self.n)]]))
        fit = np.diff(np.concatenate([[0.0], np.cumsum(expected)[edges], [float(self.n)]]))
        statistic, dof = float(((top - fit) ** 2 / fit).sum()), len(top) - 2
        return statistic, max(dof, 0), float(chi2.sf(statistic, dof)) if dof > 0 else math.nan, ks

    def points(self, k: float, tick_size: float) -> tuple[list[dict[str, float]], float]:
        """Return the measured curve at up to 24 distances, as far as ten orders and 1 % reach, and R^2 of its log."""
        half, total = tick_size / 2, float(self.held.sum())
        seconds = self.exposure.seconds.sum(axis=1)
        ordered = np.sort(self.reach)
        deepest = min(ordered[-min(_MIN_FOR_R2, self.n)], np.quantile(ordered, _SHOWN_SHARE))
        start = np.arange(self.first.min(), deepest + 1, 2)
        count = self.n - np.searchsorted(ordered, start, side="left")
        fitted = self.n / total * np.exp(-k * (start - start[0]))
        rate = count / total
        r2 = math.nan
        if len(start) >= 3:
            left, line = np.log(rate), np.log(fitted)
            r2 = float(1 - ((left - line) ** 2).sum() / ((left - left.mean()) ** 2).sum())
        shown = np.unique(np.geomspace(1, len(start), _MOST_POINTS).astype(np.int64)) - 1
        points = []
        for i in shown.tolist():
            inside = np.bincount(self.block[self.reach >= start[i]], minlength=len(seconds))
            rest = inside - rate[i] * seconds
            error = math.sqrt(len(rest) / (len(rest) - 1) * float(rest @ rest)) / total
            points.append(
                {
                    "distance": float(start[i]) * half,
                    "rate": float(rate[i]),
                    "std_error": error,
                    "fitted": float(fitted[i]),
                }
            )
        return points, r2


def _cells(expected: Floats, n: int) -> Ints:
    """Return the last index of each cell but the last, so that all hold at least ten expected orders."""
    edges, held, so_far = [], 0.0, 0.0
    for i, value in enumerate(expected.tolist()):
        held += value
        so_far += value
        if held >= _MIN_EXPECTED and n - so_far >= _MIN_EXPECTED:
            edges.append(i)
            held = 0.0
    return np.array(edges, np.int64)
