"""How fast a quote is filled at its distance from the mid: lambda(delta) = arrival_rate * f(delta), and f is here."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import overload

from marketmakerl.core.checks import require_number, require_numbers
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import by_kind


class ExponentialShape(NamedTuple):
    """f = exp(-k delta)."""

    k: float


class PowerShape(NamedTuple):
    """f = (1 + delta / scale)^-exponent, and 1 at and inside the mid."""

    scale: float
    exponent: float


class EmpiricalShape(NamedTuple):
    """f between measured points, geometrically; beyond them at the slope of the last two, level inside the first."""

    distance: npt.NDArray[np.float64]
    log_share: npt.NDArray[np.float64]


@dataclass(frozen=True)
class FillCurve(ABC):
    """Base of the curves: f falls with the distance."""

    id: ClassVar[str]

    @abstractmethod
    def shape(self, world: Any) -> Any:
        """Return what the compiled curve needs; `world` gives the k of the exponential one."""

    def check(self) -> None:  # noqa: B027  (a curve without parameters has nothing to check)
        """Raise `ConfigError` unless every parameter is in its range."""

    def as_dict(self) -> dict[str, Any]:
        """Return id and parameters, JSON-ready."""
        return {"id": self.id, **asdict(self)}


@dataclass(frozen=True)
class Exponential(FillCurve):
    """f = exp(-k delta) with the world's k (Avellaneda & Stoikov 2008, section 2.4); above 1 inside the mid."""

    id: ClassVar[str] = "exponential"

    def shape(self, world: Any) -> ExponentialShape:  # noqa: D102
        return ExponentialShape(float(world.k))


@dataclass(frozen=True)
class Power(FillCurve):
    """f = (1 + delta / scale)^-exponent: the heavy tail of large orders (Avellaneda & Stoikov 2008, section 2.4).

    Args:
        scale: price units; > 0.
        exponent: > 1, or no quote would be too far away.
    """

    scale: float
    exponent: float
    id: ClassVar[str] = "power"

    def check(self) -> None:  # noqa: D102
        require_number("curve.scale", self.scale, above=0.0)
        require_number("curve.exponent", self.exponent, above=1.0)

    def shape(self, world: Any) -> PowerShape:  # noqa: D102
        del world
        return PowerShape(float(self.scale), float(self.exponent))


@dataclass(frozen=True)
class Empirical(FillCurve):
    """f as measured.

    Args:
        distance: price units, rising; two or more.
        share: of the arrival rate that reaches so far, in (0, 1] and falling strictly.
    """

    distance: tuple[float, ...]
    share: tuple[float, ...]
    id: ClassVar[str] = "empirical"

    def __post_init__(self) -> None:
        for name in ("distance", "share"):
            object.__setattr__(self, name, require_numbers(f"curve.{name}", getattr(self, name)))

    def check(self) -> None:  # noqa: D102
        if len(self.distance) < 2 or len(self.distance) != len(self.share):
            raise ConfigError(
                "curve.distance and curve.share must hold the same points, two or more, "
                f"got {len(self.distance)} and {len(self.share)}"
            )
        for share in self.share:
            require_number("curve.share", share, above=0.0, at_most=1.0)
        if np.any(np.diff(self.distance) <= 0) or np.any(np.diff(self.share) >= 0):
            raise ConfigError("curve.distance must rise and curve.share fall from point to point")

    def shape(self, world: Any) -> EmpiricalShape:  # noqa: D102
        del world
        return EmpiricalShape(np.asarray(self.distance, np.float64), np.log(np.asarray(self.share, np.float64)))


CURVES: Final[dict[str, FillCurve]] = {"exponential": Exponential()}


def reach(shape: Any, distance: float) -> float:
    """Return f at `distance` (price units). Which curve it is decides when this compiles."""
    return _SHAPES[type(shape)](shape, distance)


def _exponential(shape: Any, distance: float) -> float:
    return math.exp(-shape.k * distance)


def _power(shape: Any, distance: float) -> float:
    return (1.0 + max(distance, 0.0) / shape.scale) ** -shape.exponent


def _empirical(shape: Any, distance: float) -> float:
    x, y = shape.distance, shape.log_share
    if distance <= x[0]:
        return math.exp(y[0])
    i = min(int(np.searchsorted(x, distance, side="right")), len(x) - 1)
    return math.exp(y[i] + (y[i] - y[i - 1]) / (x[i] - x[i - 1]) * (distance - x[i]))


_SHAPES: Final = {ExponentialShape: _exponential, PowerShape: _power, EmpiricalShape: _empirical}


@overload(reach, inline="always")
def _reach(shape: Any, distance: float) -> Any:
    return by_kind(_SHAPES, shape)


def fall(shape: Any, distance: float) -> float:
    """Return -d ln f / d distance (per price unit), beyond any flat part of f; 0 where it has jumps."""
    return _FALLS[type(shape)](shape, distance)


def _exponential_fall(shape: Any, distance: float) -> float:
    return float(shape.k)


def _power_fall(shape: Any, distance: float) -> float:
    return float(shape.exponent / (shape.scale + max(distance, 0.0)))


def _empirical_fall(shape: Any, distance: float) -> float:
    return 0.0


def corner(shape: Any, i: int) -> float:
    """Return the i-th distance where ln f has a corner, NaN beyond the last; between two of them it is smooth."""
    return _CORNERS[type(shape)](shape, i)


def _no_corner(shape: Any, i: int) -> float:
    return math.nan


def _empirical_corner(shape: Any, i: int) -> float:
    return float(shape.distance[i]) if i < len(shape.distance) else math.nan


_CORNERS: Final = {ExponentialShape: _no_corner, PowerShape: _no_corner, EmpiricalShape: _empirical_corner}


@overload(corner, inline="always")
def _corner(shape: Any, i: int) -> Any:
    return by_kind(_CORNERS, shape)


_FALLS: Final = {
    ExponentialShape: _exponential_fall,
    PowerShape: _power_fall,
    EmpiricalShape: _empirical_fall,
}


@overload(fall, inline="always")
def _fall(shape: Any, distance: float) -> Any:
    return by_kind(_FALLS, shape)
