"""`mml.optimal_policy`: the best that any quotes can do in a world, by dynamic programming on the world as it is run.

From the last step backwards, for each inventory, the two distances that maximise the objective. Both sides may fill in
one step, so the best bid depends on the ask: the two are found in turn until neither moves. For one side alone there is
a closed form with exponential fills in linear mode, and a safeguarded search otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np

from marketmakerl.core.checks import require_number, require_whole
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit
from marketmakerl.models.symmetric import Symmetric
from marketmakerl.models.table_policy import TablePolicy
from marketmakerl.simulation.exact import check_exact
from marketmakerl.simulation.fill_curves import Empirical, Exponential, Power, corner, fall, reach
from marketmakerl.simulation.quotes import POISSON, Asking, chance

if TYPE_CHECKING:
    from marketmakerl.simulation.world import World

_FIRST_REACH: Final = 32
_PRECISION: Final = 1e-9  # of the objective, between one reach and twice that
_MAX_CELLS: Final = 1 << 25  # steps x inventories of a policy
_SWEEPS: Final = 200
_CLOSE: Final = 1e-10  # of the scale of distances: what is left of the objective is its square
_SAME: Final = 1e-5  # both ways to the two quotes are on the way to the same pair
CLOSED, ROOT, SEARCH = 0, 1, 2
_BOTH: Final = 3  # bits of two sides
_TINY, _HUGE = 1e-12, 700.0
_SMALL: Final = 0.5
_GOLDEN: Final = 0.5 * (math.sqrt(5.0) - 1.0)


@dataclass(frozen=True)
class CARA:
    """Maximise E[-exp(-gamma W)] of the profit W: the certainty equivalent -(1/gamma) ln E[exp(-gamma W)].

    Args:
        gamma: risk aversion, 1 / quote currency; > 0.
    """

    gamma: float
    id: ClassVar[str] = "cara"

    def __post_init__(self) -> None:
        require_number("gamma", self.gamma, above=0.0)


@dataclass(frozen=True)
class RunningPenalty:
    """Maximise E[X_T + q_T S_T - alpha q_T^2 - phi integral q^2 dt] (Cartea, Jaimungal & Penalva 2015, chapter 10).

    In a world of steps the integral is the sum of q^2 dt over the inventories carried through each step, after its
    fills, as the mid's variance is.

    Args:
        phi: running penalty, quote currency per unit^2 and second; >= 0.
        alpha: penalty at the end, quote currency per unit^2; >= 0.
    """

    phi: float
    alpha: float
    id: ClassVar[str] = "running_penalty"

    def __post_init__(self) -> None:
        require_number("phi", self.phi, at_least=0.0)
        require_number("alpha", self.alpha, at_least=0.0)


@dataclass(frozen=True, eq=False)
class OptimalPolicy(TablePolicy):
    """The best quotes of a world under an objective, step by step.

    Attributes:
        value: what the objective comes to from no inventory, quote currency: a certainty equivalent for `CARA`.
        objective: what was maximised.
    """

    value: float = math.nan
    objective: CARA | RunningPenalty | None = None
    id: ClassVar[str] = "optimal"

    def as_dict(self) -> dict[str, Any]:
        """Return what the policy is, JSON-ready."""
        return {**super().as_dict(), "value": self.value, "objective": repr(self.objective)}


class _Curve(NamedTuple):
    """How the best distance of a side is found."""

    way: int
    k: float  # closed form
    floor: float  # a fill is as likely there as at any smaller distance
    width: float  # scale of distances
    precision: float  # of a distance


@njit(inline="always")
def _earned(asked: Any, gamma: float, bent: float, distance: float) -> float:
    """Return what a fill at a distance adds, up to a factor: see `_best`."""
    if gamma == 0.0:
        return distance - asked.fee + bent
    return -math.expm1(bent - gamma * (distance - asked.fee))


@njit(inline="always")
def _gain(asked: Any, gamma: float, bent: float, distance: float) -> float:
    """Return what quoting at a distance adds, up to a factor: see `_best`."""
    p = min(chance(asked, distance), 1.0)
    return p * _earned(asked, gamma, bent, distance) if p > 0.0 else 0.0


@njit(nogil=True)
def _golden(asked: Any, gamma: float, bent: float, a: float, b: float, precision: float) -> float:
    """Return the distance from a to b with the highest gain, where that rises and then falls."""
    c, d = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
    at_c, at_d = _gain(asked, gamma, bent, c), _gain(asked, gamma, bent, d)
    while b - a > precision:
        if at_c >= at_d:
            b, d, at_d = d, c, at_c
            c = b - _GOLDEN * (b - a)
            at_c = _gain(asked, gamma, bent, c)
        else:
            a, c, at_c = c, d, at_d
            d = a + _GOLDEN * (b - a)
            at_d = _gain(asked, gamma, bent, d)
    return 0.5 * (a + b)


@njit(nogil=True)
def _search(asked: Any, gamma: float, bent: float, low: float, width: float) -> float:
    """Return the distance >= low with the highest gain, NaN if none gains: a golden section between any two corners.

    There fills fall geometrically, so that the gain rises and then falls.
    """
    best, a, i = low, low, 0
    top = _gain(asked, gamma, bent, low)
    while True:
        b = corner(asked.shape, i)
        i += 1
        if b <= a:
            continue
        beyond = np.isnan(b)
        if beyond:
            step, b = width, a + width
            while _gain(asked, gamma, bent, b) > _gain(asked, gamma, bent, b - step):
                step *= 2.0
                b += step
        else:
            at_b = _gain(asked, gamma, bent, b)
            if at_b > top:
                best, top = b, at_b
        # No more than what b earns with the chance of a.
        if min(chance(asked, a), 1.0) * _earned(asked, gamma, bent, b) > top:
            middle = _golden(asked, gamma, bent, a, b, 1e-9 * (width + abs(a)))
            here = _gain(asked, gamma, bent, middle)
            if here > top:
                best, top = middle, here
        if beyond:
            return best if top > 0.0 else np.nan
        a = b


@njit(inline="always")
def _first_order(asked: Any, gamma: float, indifferent: float, distance: float) -> float:
    """Return the distance less what the first-order condition makes of it; it rises through 0 at the best one.

    With h = -d ln p / d distance the condition is d = indifferent + ln(1 + gamma/h) / gamma, or 1/h without gamma.
    """
    h = fall(asked.shape, distance)
    if asked.rule == POISSON:
        x = asked.rate_dt * reach(asked.shape, distance)
        if x > _TINY:
            h *= x / math.expm1(x) if x < _HUGE else 0.0
    if h <= 0.0:
        return -np.inf
    return distance - indifferent - (math.log1p(gamma / h) / gamma if gamma > 0.0 else 1.0 / h)


@njit(nogil=True)
def _root(asked: Any, gamma: float, indifferent: float, low: float, width: float) -> float:
    """Return the best distance >= low where the first-order condition has one solution.

    Regula falsi (Illinois), and every fourth time a bisection: the condition grows like e^x / x where x orders are
    expected in a step, against which the secant alone gets nowhere.
    """
    at_low = _first_order(asked, gamma, indifferent, low)
    if at_low >= 0.0:
        return low
    high, reached = low + width, 0.0
    while True:
        reached = _first_order(asked, gamma, indifferent, high)
        if not reached < 0.0:
            break
        low, at_low = high, reached
        width *= 2.0
        high += width
    side = 0
    for turn in range(400):
        middle = 0.5 * (low + high)
        if at_low > -np.inf and turn % 4 < 3:
            middle = low + (high - low) * (at_low / (at_low - reached))
        here = _first_order(asked, gamma, indifferent, middle)
        if here < 0.0:
            low, at_low = middle, here
            reached *= 0.5 if side == -1 else 1.0
            side = -1
        else:
            high, reached = middle, here
            at_low *= 0.5 if side == 1 else 1.0
            side = 1
        if abs(here) <= 1e-13 * (1.0 + abs(middle)) or high - low <= 1e-15 * (1.0 + abs(high)):
            return middle
    return 0.5 * (low + high)


@njit(nogil=True)
def _best(asked: Any, gamma: float, curve: Any, bent: float) -> float:
    """Return the best distance of one side for given quotes of the other.

    With gamma > 0 (risk aversion times order size) it maximises p(d) (1 - exp(bent - gamma (d - fee))): `bent` is the
    logarithm of what a fill does to the expected loss before its edge. With gamma = 0, p(d) (d - fee + bent): what it
    does to the value, a unit. Exponential fills in linear mode have

        d = fee + (bent + ln(1 + gamma/k)) / gamma        and        d = fee - bent + 1/k
    """
    indifferent = asked.fee + (bent / gamma if gamma > 0.0 else -bent)
    if curve.way == CLOSED:
        d = indifferent + (math.log1p(gamma / curve.k) / gamma if gamma > 0.0 else 1.0 / curve.k)
        return max(d, curve.floor)
    low = max(indifferent, curve.floor)
    if curve.way == ROOT:
        return _root(asked, gamma, indifferent, low, curve.width)
    return _search(asked, gamma, bent, low, curve.width)


@njit(inline="always")
def _log_mix(p: float, log_filled: float, log_not: float) -> float:
    """Return ln(p exp(log_filled) + (1 - p) exp(log_not))."""
    if p <= 0.0:
        return log_not
    if p >= 1.0:
        return log_filled
    if abs(log_filled - log_not) < _SMALL:  # a small gamma would drown in a difference of logarithms
        return log_not + math.log1p(p * math.expm1(log_filled - log_not))
    filled, kept = math.log(p) + log_filled, math.log1p(-p) + log_not
    top = max(filled, kept)
    return top + math.log(math.exp(filled - top) + math.exp(kept - top))


@njit(inline="always")
def _chance_of(asked: Any, distance: float) -> float:
    return 0.0 if np.isnan(distance) else min(chance(asked, distance), 1.0)


@njit(inline="always")
def _edge_of(asked: Any, distance: float) -> float:
    return 0.0 if np.isnan(distance) else distance - asked.fee


@njit(nogil=True)
def _bent(asked: Any, gamma: float, other: float, filled: float, other_filled: float) -> float:
    """Return `bent` of a side (see `_best`) given the other side's distance.

    The two are values after a fill of this side and of the other, relative to none (and to both, which is the same
    inventory): logarithms of losses with gamma > 0, else values a unit.
    """
    p, edge = _chance_of(asked, other), _edge_of(asked, other)
    if gamma == 0.0:
        return (1.0 - p) * filled + p * -other_filled
    return _log_mix(p, -gamma * edge, filled) - _log_mix(p, other_filled - gamma * edge, 0.0)


@njit(nogil=True)
def _worth(asked: Any, gamma: float, bid: float, ask: float, bid_filled: float, ask_filled: float) -> float:
    """Return what both quotes come to, relative to none: ln of the loss with gamma > 0, else the value a unit."""
    p, edge = _chance_of(asked, bid), _edge_of(asked, bid)
    other, its_edge = _chance_of(asked, ask), _edge_of(asked, ask)
    if gamma == 0.0:
        change = p * (1.0 - other) * bid_filled + other * (1.0 - p) * ask_filled
        return p * edge + other * its_edge + change
    with_bid = _log_mix(other, -gamma * its_edge, bid_filled) - gamma * edge
    without = _log_mix(other, ask_filled - gamma * its_edge, 0.0)
    return _log_mix(p, with_bid, without)


@njit(nogil=True)
def _pair(
    asked: Any, gamma: float, curve: Any, bid_filled: float, ask_filled: float, sides: int, start: int, known: Any
) -> tuple[float, float]:
    """Return both distances, found in turn.

    A bit of `sides` says that a side may be quoted: 1 bid, 2 ask. The search ends early when it comes to the pair that
    is `known` (NaN: none is). `start` says how it begins: 0 with the bid, as if there was no ask; 1 with the ask, as if
    there was no bid; 2 with the bid, as if the ask was sure to fill, which leads to two fills that cancel.
    """
    bid, ask = np.nan, np.nan
    for sweep in range(_SWEEPS):
        old_bid, old_ask = bid, ask
        if sweep == 0 and start == 2:
            bid = _best(asked, gamma, curve, -ask_filled)
        elif sides & 1 and (sweep > 0 or start == 0):
            bid = _best(asked, gamma, curve, _bent(asked, gamma, ask, bid_filled, ask_filled))
        if sides & 2:
            ask = _best(asked, gamma, curve, _bent(asked, gamma, bid, ask_filled, bid_filled))
        same_bid = bid == old_bid or abs(bid - old_bid) <= curve.precision or (np.isnan(bid) and np.isnan(old_bid))
        same_ask = ask == old_ask or abs(ask - old_ask) <= curve.precision or (np.isnan(ask) and np.isnan(old_ask))
        if sweep > 0 and same_bid and same_ask:
            break
        if abs(bid - known[0]) + abs(ask - known[1]) <= _SAME * curve.width:
            return known
    return bid, ask


@njit(nogil=True)
def _backward(
    asked: Any, gamma: float, curve: Any, adverse: float, carried: Any, bound: int, value: Any, offsets: Any
) -> None:  # fmt: skip
    """Fill the distances [step, inventory, side] of the best policy from the last step to the first.

    Args:
        asked: the world's rules.
        gamma: risk aversion times order size; 0 for none.
        curve: `_Curve`.
        adverse: how far the mid moves with a fill.
        carried: float64 [inventory], what a step with that inventory adds to the value, a unit: see `value`.
        bound: largest |inventory|.
        value: float64 [inventory], at the end; ln of the expected loss with gamma > 0, else value a unit of order.
        offsets: to be filled.
    """
    steps, count = offsets.shape[:2]
    centre = (count - 1) // 2
    scale = -gamma if gamma > 0.0 else 1.0
    after, now = value.copy(), np.empty(count)
    for back in range(steps):
        row = steps - 1 - back
        for i in range(count):
            q = i - centre
            none = carried[i] + after[i]
            bid_filled, ask_filled, sides = 0.0, 0.0, 0
            if q < bound and i + 1 < count:
                bid_filled = carried[i + 1] + after[i + 1] - scale * (q + 1) * adverse - none
                sides |= 1
            if q > -bound and i > 0:
                ask_filled = carried[i - 1] + after[i - 1] + scale * (q - 1) * adverse - none
                sides |= 2
            bid, ask = _pair(asked, gamma, curve, bid_filled, ask_filled, sides, 0, (np.nan, np.nan))
            best = _worth(asked, gamma, bid, ask, bid_filled, ask_filled)
            for start in range(1, 3 if sides == _BOTH else 2):
                other_bid, other_ask = _pair(asked, gamma, curve, bid_filled, ask_filled, sides, start, (bid, ask))
                other = _worth(asked, gamma, other_bid, other_ask, bid_filled, ask_filled)
                if (other < best) == (gamma > 0.0) and other != best:
                    bid, ask, best = other_bid, other_ask, other
            offsets[row, i, 0] = bid
            offsets[row, i, 1] = ask
            now[i] = none + best
        after[:] = now
    value[:] = after


def optimal_policy(world: World, objective: CARA | RunningPenalty, *, q_max: int | None = None) -> OptimalPolicy:
    """Return the policy that no other quotes can beat in this world, fees included.

    Args:
        world: with independent steps (gaussian, binomial or jump-diffusion mid, no bursts, no latency).
        objective: `CARA(gamma)` or `RunningPenalty(phi, alpha)`.
        q_max: how far the table goes, order sizes; None for the world's bound, or as far as it makes a difference.

    Returns:
        A quoting model with a `value`; run it, evaluate it or backtest it like any other.

    Raises:
        ConfigError: another kind of world, or a table too large to be computed.
    """
    check_exact(world, "optimal_policy")
    if not isinstance(objective, (CARA, RunningPenalty)):
        raise ConfigError(f"objective must be CARA(gamma) or RunningPenalty(phi, alpha), got {objective!r}")
    fixed = world.bound if q_max is None else min(require_whole("q_max", q_max, at_least=1), world.bound or q_max)
    if fixed is not None:
        return _solve(world, objective, fixed)
    q_max = min(_FIRST_REACH, world.steps)
    policy = _solve(world, objective, q_max)
    while q_max < world.steps:
        q_max = min(2 * q_max, world.steps)
        further = _solve(world, objective, q_max)
        settled = abs(further.value - policy.value) <= _PRECISION * max(1.0, abs(further.value))
        policy = further
        if settled:
            break
    return policy


def _solve(world: World, objective: CARA | RunningPenalty, bound: int) -> OptimalPolicy:
    steps, size = world.steps, float(world.order_size)
    if steps * (2 * bound + 1) > _MAX_CELLS:
        raise ConfigError(
            f"q_max must be <= {(_MAX_CELLS // steps - 1) // 2} for {steps} steps (the table's size), got {bound}; "
            "take a larger dt_s, or set q_max"
        )
    rules = Asking(world.replace(arrivals=None), Symmetric(1.0)).record
    units = size * np.arange(-bound, bound + 1.0)
    mid, step = world.process, world.mid_step()
    mean, _ = mid.moments(step) or (math.nan, math.nan)
    if isinstance(objective, CARA):
        gamma = float(objective.gamma) * size
        carried = mid.log_mgf(step, -objective.gamma * units)
        value = np.zeros(2 * bound + 1)
    else:
        gamma = 0.0
        carried = (units * mean - objective.phi * units**2 * world.dt_s) / size
        value = -objective.alpha * units**2 / size
    offsets = np.empty((steps, 2 * bound + 1, 2))
    _backward(
        rules, gamma, _curve(world), float(world.adverse_move), np.ascontiguousarray(carried), bound, value, offsets
    )
    return OptimalPolicy(
        bid=offsets[:, :, 0],
        ask=offsets[:, :, 1],
        dt_s=world.horizon_s / steps,
        horizon_s=float(world.horizon_s),
        name=f"optimum of {objective!r}",
        value=float(-value[bound] / objective.gamma if isinstance(objective, CARA) else value[bound] * size),
        objective=objective,
    )


def _curve(world: World) -> _Curve:
    curve, linear = world.fill_curve, world.fill == "linear"
    if isinstance(curve, Exponential):
        certain = math.log(world.arrival_rate * world.dt_s) / world.k if linear else -math.inf
        width = 1.0 / world.k
        return _Curve(CLOSED if linear else ROOT, float(world.k), certain, width, _CLOSE * width)
    if isinstance(curve, Power):
        return _Curve(ROOT, 0.0, 0.0, float(curve.scale), _CLOSE * curve.scale)
    if isinstance(curve, Empirical):
        width = float(curve.distance[-1] - curve.distance[0])
        return _Curve(SEARCH, 0.0, float(curve.distance[0]), width, 1e-7 * width)
    raise ConfigError(f"optimal_policy knows no curve {curve.id}")
