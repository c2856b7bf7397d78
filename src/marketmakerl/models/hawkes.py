"""Do market orders bring market orders? A Hawkes process by maximum likelihood.

One order raises the intensity by `excitation` at once, and the rise fades at the rate `decay` (both 1/s); so an order
brings `excitation / decay` others on average, the branching ratio, which must be below one, and the long-run intensity
is baseline / (1 - branching). (Hawkes 1971; likelihood: Ogata 1978, Ozaki 1979.) Four fits:

    hawkes_bid, hawkes_ask   the orders that hit bids, and those that lifted asks, each alone
    hawkes                   both sides with the same parameters, neither exciting the other
    hawkes_cross             both sides, with a second excitation between them

Standard errors come from the Hessian at the optimum, central differences of the exact gradient. The fit is judged by
time rescaling: expected numbers of events between neighbours are exponential with mean one if the model is right; the
p-value of the Kolmogorov-Smirnov test is a little too kind, because the parameters come from the same data. Against a
Poisson process (no excitation) stands a likelihood ratio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.stats import chi2, kstest

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.models.estimate import Estimate, NotIdentifiedError
from marketmakerl.models.hawkes_kernel import likelihood_and_gradient, residuals

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.models.tick_observations import Orders, Quotes

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

MIN_EVENTS: Final = 200
MIN_SECONDS: Final = 60.0
MOST_BRANCHING: Final = 0.999
_QQ_POINTS: Final = 60
_minimize: Any = minimize  # its stubs know no options of one method alone
_SIGNIFICANCE: Final = 0.01
_MANY: Final = 20_000  # events; with more, the search for a start takes the first so many
_STARTS: Final = ((0.3, 1.0), (0.3, 10.0), (0.3, 100.0))  # (branching, decay in units of the rate)


class HawkesRates(NamedTuple):
    """Parameters of a self-exciting stream of orders on one side, all 1/s."""

    baseline: float
    excitation: float
    decay: float


@dataclass(frozen=True)
class Events:
    """Times of orders, ready for the likelihood.

    Attributes:
        t: float64[n], seconds since the start of the stretch.
        side: int64[n]: 0 for those that hit bids, 1 for those that lifted asks; all 0 with one side.
        ends: float64[m, 2]: events before the end of each stretch, and its length in seconds.
        sides: 1 or 2.
        clock_s: the step of the clock, seconds.
    """

    t: Floats
    side: Ints
    ends: Floats
    sides: int
    clock_s: float

    @classmethod
    def of(cls, orders: Orders, quotes: Quotes, sides: int, clock_ns: int) -> Events:
        """Return the orders of one side, or of both."""
        stretch = quotes.stretch_of(orders.ts_ns)
        t = (orders.ts_ns - quotes.start_ns[stretch]) / NS_PER_S
        side = (orders.side > 0).astype(np.int64) if sides == 2 else np.zeros(len(orders), np.int64)
        until = np.searchsorted(stretch, np.arange(len(quotes.start_ns)), side="right")
        ends = np.column_stack([until, (quotes.end_ns - quotes.start_ns) / NS_PER_S]).astype(np.float64)
        return cls(t, side, ends, sides, clock_ns / NS_PER_S)

    def first(self, n: int) -> Events:
        """Return the first n events, observed up to the last of them."""
        whole = int(np.searchsorted(self.ends[:, 0], n, side="left"))
        ends = self.ends[: whole + 1].copy()
        ends[-1] = (n, self.t[n - 1])
        return replace(self, t=self.t[:n], side=self.side[:n], ends=ends)

    @property
    def seconds(self) -> float:
        """Return the observed time, seconds."""
        return float(self.ends[:, 1].sum())

    @property
    def rate(self) -> float:
        """Return events per second and side."""
        return len(self.t) / (self.seconds * self.sides)


@dataclass(frozen=True)
class HawkesFit:
    """A fitted process.

    Attributes:
        baseline, excitation, decay: Estimates, 1/s.
        cross_excitation: by the other side; None where it was not fitted.
        branching: of both excitations, with its standard error.
        log_likelihood, poisson_log_likelihood: of this fit, and without excitation.
        p_value_poisson: of the likelihood ratio between them.
        ks, p_value_ks: of the rescaled times against the exponential.
        quantiles: for a QQ plot: expected and measured.
    """

    baseline: Estimate
    excitation: Estimate
    decay: Estimate
    cross_excitation: Estimate | None
    branching: Estimate
    log_likelihood: float
    poisson_log_likelihood: float
    p_value_poisson: float
    ks: float
    p_value_ks: float
    quantiles: list[dict[str, float]]

    def named(self, prefix: str) -> dict[str, Estimate]:
        """Return the estimates under "<prefix>.<name>"."""
        names = ("baseline", "excitation", "decay", "cross_excitation", "branching")
        made = {name: getattr(self, name) for name in names}
        return {f"{prefix}.{name}": value for name, value in made.items() if value is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return how good the fit is, JSON-ready."""
        names = ("log_likelihood", "poisson_log_likelihood", "p_value_poisson", "ks", "p_value_ks", "quantiles")
        return {name: getattr(self, name) for name in names}


def fit_hawkes(events: Events, *, cross: bool = False) -> HawkesFit:
    """Fit the process.

    Args:
        events: of one side or of both.
        cross: whether one side excites the other (two sides only).

    Raises:
        NotIdentifiedError: too few events or too short a time, no excitation, a branching ratio at one, a memory
            shorter than the clock's step or longer than the data.
    """
    n, seconds = len(events.t), events.seconds
    if n < MIN_EVENTS or seconds < MIN_SECONDS:
        raise NotIdentifiedError(
            f"{n} market orders in {seconds:.4g} s; {MIN_EVENTS} in {MIN_SECONDS:.0f} s are needed to fit a Hawkes "
            "process"
        )
    free = [0, 1, 2, 3] if cross else [0, 1, 3]
    best = _maximise(events, cross)
    likelihood = likelihood_and_gradient(events.t, events.side, events.ends, events.sides, best)[0]
    poisson = n * np.log(events.rate) - n
    p_poisson = float(chi2.sf(max(0.0, 2 * (likelihood - poisson)), len(free) - 1))
    _check(events, best, p_poisson)
    covariance = _covariance(events, best, free)
    ks, p_ks, quantiles = _goodness(events, best)
    what = "both sides" if events.sides == 2 else "one side"
    method = f"maximum likelihood, exponential kernel, {what}, clock of {events.clock_s:.3g} s"
    made: list[Estimate | None] = [None] * 4
    for place, which in enumerate(free):
        error = float(np.sqrt(covariance[place, place]))
        made[which] = Estimate(float(best[which]), error, "1/s", method, n)
    baseline, excitation, crossed, decay = made
    assert baseline is not None  # noqa: S101
    assert excitation is not None  # noqa: S101
    assert decay is not None  # noqa: S101
    return HawkesFit(
        baseline=baseline,
        excitation=excitation,
        decay=decay,
        cross_excitation=crossed,
        branching=_branching(best, covariance, free, method, n),
        log_likelihood=likelihood,
        poisson_log_likelihood=float(poisson),
        p_value_poisson=p_poisson,
        ks=ks,
        p_value_ks=p_ks,
        quantiles=quantiles,
    )


def _maximise(events: Events, cross: bool) -> Floats:
    """Return (mu, own, cross, beta) of the highest likelihood from several starts, found on a part of many events."""
    starts = [_start(branching, decay * events.rate, events, cross) for branching, decay in _STARTS]
    if len(events.t) > _MANY:
        part = events.first(_MANY)
        starts = [_climb(part, cross, starts)]
    return _climb(events, cross, starts)


def _start(branching: float, decay: float, events: Events, cross: bool) -> Floats:
    decay = max(decay, 0.2 / events.seconds)
    excitation = branching * decay / (1 + cross)
    return np.array([(1 - branching) * events.rate, excitation, excitation if cross else 0.0, decay])


def _climb(events: Events, cross: bool, starts: list[Floats]) -> Floats:
    """Return the parameters of the highest likelihood that a search from one of the starts arrives at."""
    n = len(events.t)
    shortest = 0.1 / events.seconds

    def natural(x: Floats) -> Floats:
        """(mu / rate, own / beta, cross / beta, log beta) -> parameters; the search is well scaled there."""
        beta = np.exp(x[3])
        return np.array([x[0] * events.rate, x[1] * beta, x[2] * beta, beta])

    def loss(x: Floats) -> tuple[float, Floats]:
        _, own, crossed, beta = natural(x)
        value, g = likelihood_and_gradient(events.t, events.side, events.ends, events.sides, natural(x))
        by_log_beta = g[3] * beta + g[1] * own + g[2] * crossed
        gradient = np.array([g[0] * events.rate, g[1] * beta, g[2] * beta if cross else 0.0, by_log_beta])
        return -value / n, -gradient / n

    bounds = [(1e-6, 3.0), (0.0, 1.5), (0.0, 1.5 if cross else 0.0), (np.log(shortest), np.log(1e6))]
    # Of scipy's searches with bounds this one asks for the likelihood least often, and starts no threads for 4 numbers.
    options = {"maxiter": 300, "ftol": 1e-13}
    results = []
    for mu, own, crossed, beta in starts:
        x = np.array([mu / events.rate, own / beta, crossed / beta, np.log(beta)])
        results.append(_minimize(loss, x, jac=True, method="SLSQP", bounds=bounds, options=options))
    best = min(results, key=lambda result: float(result.fun)).x
    return natural(np.clip(best, [low for low, _ in bounds], [high for _, high in bounds]))


def _check(events: Events, best: Floats, p_poisson: float) -> None:
    mu, own, cross, beta = (float(value) for value in best)
    if p_poisson > _SIGNIFICANCE:
        raise NotIdentifiedError(
            f"the {len(events.t)} market orders do not excite each other (likelihood ratio against Poisson, p = "
            f"{p_poisson:.2g}); without excitation there is no decay to measure"
        )
    if (own + cross) / beta >= MOST_BRANCHING or mu <= 2e-6 * events.rate:
        raise NotIdentifiedError(
            f"branching ratio {(own + cross) / beta:.4g}: every order would bring another for ever, the data are not "
            "those of a stationary process (a changing rate looks like this; take a shorter stretch)"
        )
    if 1 / beta < events.clock_s:
        raise NotIdentifiedError(
            f"the excitation fades in {1 / beta:.2g} s, less than a step of the exchange's clock ({events.clock_s:g} s)"
        )
    if 1 / beta > events.seconds / 5:
        raise NotIdentifiedError(
            f"the excitation fades in {1 / beta:.3g} s and the data have {events.seconds:.4g} s: that is a changing "
            "rate, not a memory"
        )


def _covariance(events: Events, best: Floats, free: list[int]) -> Floats:
    """Return the inverse of minus the Hessian, by central differences of the gradient."""
    hessian = np.empty((len(free), len(free)))
    for row, which in enumerate(free):
        step = 1e-5 * max(float(best[which]), 1e-3 * float(best[0]))
        ends = []
        for sign in (1.0, -1.0):
            moved = best.copy()
            moved[which] += sign * step
            ends.append(likelihood_and_gradient(events.t, events.side, events.ends, events.sides, moved)[1][free])
        hessian[row] = (ends[0] - ends[1]) / (2 * step)
    covariance = np.asarray(np.linalg.pinv(-(hessian + hessian.T) / 2), np.float64)
    if not (np.diag(covariance) > 0).all():
        raise NotIdentifiedError("the likelihood has no clear maximum: several Hawkes processes fit these orders alike")
    return covariance


def _branching(best: Floats, covariance: Floats, free: list[int], method: str, n: int) -> Estimate:
    _, own, cross, beta = (float(value) for value in best)
    slopes = np.array([0.0, 1 / beta, 1 / beta, -(own + cross) / beta**2])[free]
    error = float(np.sqrt(slopes @ covariance @ slopes))
    return Estimate((own + cross) / beta, error, "orders per order", method, n)


def _goodness(events: Events, best: Floats) -> tuple[float, float, list[dict[str, float]]]:
    out = np.empty(len(events.t))
    mu, own, cross, beta = (float(value) for value in best)
    n = residuals(events.t, events.side, events.ends, events.sides, mu, own, cross, beta, out)
    rescaled = np.sort(out[:n])
    test = kstest(rescaled, "expon", method="asymp")
    shares = (np.arange(_QQ_POINTS) + 0.5) / _QQ_POINTS
    measured = np.quantile(rescaled, shares)
    quantiles = [
        {"expected": float(-np.log1p(-share)), "measured": float(value)}
        for share, value in zip(shares.tolist(), measured.tolist(), strict=True)
    ]
    return float(test.statistic), float(test.pvalue), quantiles
