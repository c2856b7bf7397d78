"""How the mid of a model world moves: one frozen config a process, and the compiled step of each.

In all of them `World.sigma` is the volatility in price units per square root of a second (at s0, where it depends on
the price), so that worlds of different kinds can be compared.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import overload

from marketmakerl.core.checks import require_number, require_numbers
from marketmakerl.core.counter_rng import draw, normal, uint64, unit
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import by_kind

_LN_2: Final = math.log(2.0)


class GaussianStep(NamedTuple):
    """ds = drift + sd z."""

    drift: float
    sd: float


class BinomialStep(NamedTuple):
    """ds = drift +- sd."""

    drift: float
    sd: float


class GeometricStep(NamedTuple):
    """s grows by exp(drift + sd z)."""

    drift: float
    sd: float


class RevertingStep(NamedTuple):
    """s goes to level + (s - level) keep + sd z."""

    level: float
    keep: float
    sd: float


class JumpStep(NamedTuple):
    """ds = drift + sd z, and with the probability a jump of mean + spread z' on top."""

    drift: float
    sd: float
    probability: float
    mean: float
    spread: float


class RegimeStep(NamedTuple):
    """ds = drift + sd[regime] z; the regime is left with leave[regime] for any other one alike."""

    drift: float
    sd: npt.NDArray[np.float64]
    leave: npt.NDArray[np.float64]


class HestonStep(NamedTuple):
    """ds = drift + sqrt(v) z with a variance v that reverts (full truncation Euler)."""

    drift: float
    pull: float
    level: float
    vol_of_vol: float
    correlation: float
    other: float
    dt: float


class ScriptedStep(NamedTuple):
    """ds = drift + sd z + move[step]; the hidden state counts the steps."""

    drift: float
    sd: float
    move: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mid(ABC):
    """Base of the processes.

    Attributes:
        id: the name in a world's description.
    """

    id: ClassVar[str]

    @abstractmethod
    def step(self, world: Any, drift: float, sigma: float, dt_s: float) -> Any:
        """Return what the compiled step needs for steps of `dt_s` seconds."""

    def start(self, sigma: float) -> float:
        """Return the first value of the process's hidden state."""
        del sigma
        return 0.0

    def log_mgf(self, step: Any, theta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
        """Return ln E[exp(theta ds)] of one step; None where steps are not independent of each other and the price."""
        del step, theta
        return None

    def moments(self, step: Any) -> tuple[float, float] | None:
        """Return mean and variance of one step; None as in `log_mgf`."""
        del step
        return None

    def check(self, dt_s: float) -> None:  # noqa: B027  (a process without parameters has nothing to check)
        """Raise `ConfigError` unless every parameter is in its range for steps of `dt_s` seconds."""

    def as_dict(self) -> dict[str, Any]:
        """Return id and parameters, JSON-ready."""
        return {"id": self.id, **asdict(self)}


@dataclass(frozen=True)
class Gaussian(Mid):
    """Arithmetic Brownian motion: normal steps."""

    id: ClassVar[str] = "gaussian"

    def step(self, world: Any, drift: float, sigma: float, dt_s: float) -> GaussianStep:  # noqa: D102
        del world
        return GaussianStep(drift * dt_s, sigma * math.sqrt(dt_s))

    def log_mgf(self, step: Any, theta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:  # noqa: D102
        return np.asarray(theta * step.drift + 0.5 * (theta * step.sd) ** 2)

    def moments(self, step: Any) -> tuple[float, float]:  # noqa: D102
        return step.drift, step.sd**2


@dataclass(frozen=True)
class Binomial(Mid):
    """The random walk of Avellaneda & Stoikov (2008): up or down by sigma sqrt(dt)."""

    id: ClassVar[str] = "binomial"

    def step(self, world: Any, drift: float, sigma: float, dt_s: float) -> BinomialStep:  # noqa: D102
        del world
        return BinomialStep(drift * dt_s, sigma * math.sqrt(dt_s))

    def log_mgf(self, step: Any, theta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:  # noqa: D102
        away = np.abs(theta * step.sd)
        # ln cosh: without a difference of logarithms where it is small, without an overflow where it is large.
        small = np.log1p(2.0 * np.sinh(0.5 * np.minimum(away, 1.0)) ** 2)
        return np.asarray(
            theta * step.drift + np.where(away < 1.0, small, away + np.log1p(np.exp(-2.0 * away)) - _LN_2)
        )

    def moments(self, step: Any) -> tuple[float, float]:  # noqa: D102
        return step.drift, step.sd**2


@dataclass(frozen=True)
class Geometric(Mid):
    """Geometric Brownian motion with relative volatility sigma / s0 and relative drift / s0."""

    id: ClassVar[str] = "geometric"

    def step(self, world: Any, drift: float, sigma: float, dt_s: float) -> GeometricStep:  # noqa: D102
        relative = sigma / world.s0
        return GeometricStep((drift / world.s0 - 0.5 * relative**2) * dt_s, relative * math.sqrt(dt_s))


@dataclass(frozen=True)
class OrnsteinUhlenbeck(Mid):
    """Ornstein-Uhlenbeck around s0, in its exact discretisation; a drift moves the level it reverts to.

    Args:
        speed_per_s: rate at which a deviation decays; > 0.
    """

    speed_per_s: float
    id: ClassVar[str] = "ornstein_uhlenbeck"

    def check(self, dt_s: float) -> None:  # noqa: D102
        del dt_s
        require_number("mid.speed_per_s", self.speed_per_s, above=0.0)

    def step(self, world: Any, drift: float, sigma: float, dt_s: float) -> RevertingStep:  # noqa: D102
        keep = math.exp(-self.speed_per_s * dt_s)
        spread = sigma * math.sqrt(-math.expm1(-2.0 * self.speed_per_s * dt_s) / (2.0 * self.speed_per_s))
        return RevertingStep(world.s0 + drift / self.speed_per_s, keep, spread)


@dataclass(frozen=True)
class JumpDiffusion(Mid):
    """Normal steps and, in a share rate_per_s * dt of them, a normal jump on top (Merton 1976, one jump a step).

    Args:
        rate_per_s: jumps a second; >= 0, and rate_per_s * dt <= 1.
        jump_mean: price units.
        jump_std: price units; >= 0.
    """

    rate_per_s: float
    jump_mean: float = 0.0
    jump_std: float = 0.0
    id: ClassVar[str] = "jump_diffusion"

    def check(self, dt_s: float) -> None:  # noqa: D102
        require_number("mid.rate_per_s", self.rate_per_s, at_least=0.0, at_most=1.0 / dt_s)
        require_number("mid.jump_mean", self.jump_mean)
        require_number("mid.jump_std", self.jump_std, at_least=0.0)

    def step(self, world: Any, drift: float, sigma: float, dt_s: float) -> JumpStep:  # noqa: D102
        del world
        chance = self.rate_per_s * dt_s
        return JumpStep(drift * dt_s, sigma * math.sqrt(dt_s), chance, float(self.jump_mean), float(self.jump_std))

    def log_mgf(self, step: Any, theta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:  # noqa: D102
        jump = theta * step.mean + 0.5 * (theta * step.spread) ** 2
        with np.errstate(divide="ignore"):
            large = np.logaddexp(np.log1p(-step.probability), np.log(step.probability) + jump)
            small = np.log1p(step.probability * np.expm1(np.clip(jump, -0.5, 0.5)))
        jumped = np.where(np.abs(jump) < 0.5, small, large)  # no difference of logarithms where it is small
        return np.asarray(theta * step.drift + 0.5 * (theta * step.sd) ** 2 + jumped)

    def moments(self, step: Any) -> tuple[float, float]:  # noqa: D102
        second = step.probability * (step.mean**2 + step.spread**2)
        return step.drift + step.probability * step.mean, step.sd**2 + second - (step.probability * step.mean) ** 2


@dataclass(frozen=True)
class RegimeSwitching(Mid):
    """Volatility that jumps between regimes; the world's sigma times the regime's factor. It starts in the first.

    Args:
        factors: one a regime, > 0; at least two.
        leave_per_s: rate at which each regime is left, for any of the others alike; >= 0, and rate * dt <= 1.
    """

    factors: tuple[float, ...] = (0.5, 2.0)
    leave_per_s: tuple[float, ...] = (1.0, 1.0)
    id: ClassVar[str] = "regime_switching"

    def __post_init__(self) -> None:
        for name in ("factors", "leave_per_s"):
            object.__setattr__(self, name, require_numbers(f"mid.{name}", getattr(self, name)))

    def check(self, dt_s: float) -> None:  # noqa: D102
        if len(self.factors) < 2 or len(self.factors) != len(self.leave_per_s):
            raise ConfigError(
                "mid.factors and mid.leave_per_s must name the same regimes, two or more, "
                f"got {self.factors!r} and {self.leave_per_s!r}"
            )
        for factor, leave in zip(self.factors, self.leave_per_s, strict=True):
            require_number("mid.factors", factor, above=0.0)
            require_number("mid.leave_per_s", leave, at_least=0.0, at_most=1.0 / dt_s)

    def step(self, world: Any, drift: float, sigma: float, dt_s: float) -> RegimeStep:  # noqa: D102
        del world
        factors, leave = np.asarray(self.factors, np.float64), np.asarray(self.leave_per_s, np.float64)
        return RegimeStep(drift * dt_s, factors * sigma * math.sqrt(dt_s), leave * dt_s)


@dataclass(frozen=True)
class Heston(Mid):
    """Variance that reverts to sigma^2: dv = speed (sigma^2 - v) dt + vol_of_vol sqrt(v) dW', corr(dW, dW') given.

    Heston's (1993) variance under arithmetic price steps, by the full-truncation scheme of Lord, Koekkoek & van Dijk
    (2010); it starts at sigma^2.

    Args:
        speed_per_s: > 0, and speed_per_s * dt <= 1.
        vol_of_vol: of the variance, price units per second; >= 0.
        correlation: of price and variance; from -1 to 1.
    """

    speed_per_s: float
    vol_of_vol: float
    correlation: float = 0.0
    id: ClassVar[str] = "heston"

    def check(self, dt_s: float) -> None:  # noqa: D102
        require_number("mid.speed_per_s", self.speed_per_s, above=0.0, at_most=1.0 / dt_s)
        require_number("mid.vol_of_vol", self.vol_of_vol, at_least=0.0)
        require_number("mid.correlation", self.correlation, at_least=-1.0, at_most=1.0)

    def start(self, sigma: float) -> float:  # noqa: D102
        return sigma**2

    def step(self, world: Any, drift: float, sigma: float, dt_s: float) -> HestonStep:  # noqa: D102
        del world
        rho = float(self.correlation)
        return HestonStep(
            drift * dt_s, self.speed_per_s * dt_s, sigma**2, float(self.vol_of_vol), rho,
            math.sqrt(1.0 - rho * rho), dt_s,
        )  # fmt: skip


@dataclass(frozen=True)
class Scripted(Mid):
    """Normal steps on top of a path that is given: the same on every path, and known to nobody who quotes.

    Args:
        time_s: seconds from the start of a run, rising; two or more.
        offset: what the path adds to the mid by then, price units, 0 at first; in between it goes straight, before the
            first time and behind the last it stands still. Two times less than a step apart are a jump.
    """

    time_s: tuple[float, ...]
    offset: tuple[float, ...]
    id: ClassVar[str] = "scripted"

    def __post_init__(self) -> None:
        for name in ("time_s", "offset"):
            object.__setattr__(self, name, require_numbers(f"mid.{name}", getattr(self, name)))

    def check(self, dt_s: float) -> None:  # noqa: D102
        del dt_s
        if len(self.time_s) < 2 or len(self.time_s) != len(self.offset):
            raise ConfigError(
                "mid.time_s and mid.offset must name the same points, two or more, "
                f"got {self.time_s!r} and {self.offset!r}"
            )
        if any(after <= before for before, after in pairwise(self.time_s)) or self.time_s[0] < 0.0:
            raise ConfigError(f"mid.time_s must rise from 0 or later, got {self.time_s!r}")
        if self.offset[0] != 0.0:
            raise ConfigError(f"mid.offset must begin with 0, got {self.offset!r}")

    def step(self, world: Any, drift: float, sigma: float, dt_s: float) -> ScriptedStep:  # noqa: D102
        path = np.interp(np.arange(world.steps + 1) * dt_s, self.time_s, self.offset)
        return ScriptedStep(drift * dt_s, sigma * math.sqrt(dt_s), np.diff(path))


MIDS: Final[dict[str, Mid]] = {"gaussian": Gaussian(), "binomial": Binomial(), "geometric": Geometric()}


def move(step: Any, s: float, hidden: float, key: Any, place: Any) -> tuple[float, float]:
    """Return (change of the mid, hidden state) of one step; draws 1 to 3 of the four at `place` are its own.

    Which step it is decides when this compiles, and the others leave no trace.
    """
    return _STEPS[type(step)](step, s, hidden, key, place)


def _gaussian(step: Any, s: float, hidden: float, key: Any, place: Any) -> tuple[float, float]:
    return step.drift + step.sd * normal(draw(key, place + uint64(1))), hidden


def _binomial(step: Any, s: float, hidden: float, key: Any, place: Any) -> tuple[float, float]:
    up = draw(key, place + uint64(1)) >> uint64(63)
    return step.drift + (step.sd if up else -step.sd), hidden


def _geometric(step: Any, s: float, hidden: float, key: Any, place: Any) -> tuple[float, float]:
    return s * math.expm1(step.drift + step.sd * normal(draw(key, place + uint64(1)))), hidden


def _reverting(step: Any, s: float, hidden: float, key: Any, place: Any) -> tuple[float, float]:
    return (step.keep - 1.0) * (s - step.level) + step.sd * normal(draw(key, place + uint64(1))), hidden


def _jumping(step: Any, s: float, hidden: float, key: Any, place: Any) -> tuple[float, float]:
    ds = step.drift + step.sd * normal(draw(key, place + uint64(1)))
    if unit(draw(key, place + uint64(2))) < step.probability:
        ds += step.mean + step.spread * normal(draw(key, place + uint64(3)))
    return ds, hidden


def _switching(step: Any, s: float, hidden: float, key: Any, place: Any) -> tuple[float, float]:
    regime = int(hidden)
    ds = step.drift + step.sd[regime] * normal(draw(key, place + uint64(1)))
    u = unit(draw(key, place + uint64(2)))
    if u < step.leave[regime]:
        others = len(step.sd) - 1
        regime = (regime + 1 + min(int(u / step.leave[regime] * others), others - 1)) % len(step.sd)
    return ds, float(regime)


def _heston(step: Any, s: float, hidden: float, key: Any, place: Any) -> tuple[float, float]:
    z = normal(draw(key, place + uint64(1)))
    v = max(hidden, 0.0)
    root = math.sqrt(v * step.dt)
    w = step.correlation * z + step.other * normal(draw(key, place + uint64(2)))
    return step.drift + root * z, hidden + step.pull * (step.level - v) + step.vol_of_vol * root * w


def _scripted(step: Any, s: float, hidden: float, key: Any, place: Any) -> tuple[float, float]:
    passed = int(hidden)
    ds = step.drift + step.sd * normal(draw(key, place + uint64(1)))
    return ds + step.move[min(passed, len(step.move) - 1)], hidden + 1.0


_STEPS: Final = {
    GaussianStep: _gaussian,
    BinomialStep: _binomial,
    GeometricStep: _geometric,
    RevertingStep: _reverting,
    JumpStep: _jumping,
    RegimeStep: _switching,
    HestonStep: _heston,
    ScriptedStep: _scripted,
}


@overload(move, inline="always")
def _move(step: Any, s: float, hidden: float, key: Any, place: Any) -> Any:
    return by_kind(_STEPS, step)
