"""Worlds from names and numbers, as they come from a command line: the mid, the fill curve and the arrivals."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.fill_curves import Empirical, Exponential, FillCurve, Power
from marketmakerl.simulation.mids import (
    Binomial,
    Gaussian,
    Geometric,
    Heston,
    JumpDiffusion,
    Mid,
    OrnsteinUhlenbeck,
    RegimeSwitching,
    Scripted,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MIDS: Final[dict[str, type[Mid]]] = {
    mid.id: mid
    for mid in (Gaussian, Binomial, Geometric, OrnsteinUhlenbeck, JumpDiffusion, RegimeSwitching, Heston, Scripted)
}  # fmt: skip
_CURVES: Final[dict[str, type[FillCurve]]] = {curve.id: curve for curve in (Exponential, Power, Empirical)}
MID_IDS: Final = tuple(_MIDS)
CURVE_IDS: Final = tuple(_CURVES)

Number = float | tuple[float, ...]
_Part = TypeVar("_Part")


def mid_of(name: str, params: Mapping[str, Number]) -> Mid:
    """Return a process of the mid by its id and parameters.

    Raises:
        UnknownNameError: no such process or parameter. ConfigError: a parameter missing, or one number for several.
    """
    if name not in _MIDS:
        raise UnknownNameError("mid", name, MID_IDS)
    return _make(_MIDS[name], f"mid {name}", "--mid-param", params)


def curve_of(name: str, params: Mapping[str, Number]) -> FillCurve:
    """Return a fill curve by its id and parameters.

    Raises:
        UnknownNameError: no such curve or parameter. ConfigError: a parameter missing, or one number for several.
    """
    if name not in _CURVES:
        raise UnknownNameError("curve", name, CURVE_IDS)
    return _make(_CURVES[name], f"curve {name}", "--curve-param", params)


def hawkes_of(params: Mapping[str, Number]) -> Hawkes:
    """Return arrivals that come in bursts.

    Raises:
        UnknownNameError: no such parameter. ConfigError: a parameter missing, or several numbers for one.
    """
    return _make(Hawkes, "hawkes", "--hawkes", params)


def _make(kind: type[_Part], what: str, option: str, params: Mapping[str, Number]) -> _Part:
    known: Any = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for name, value in params.items():
        if name not in known:
            raise UnknownNameError(f"parameter of {what}", name, known, "" if known else "(it has none)")
        several = "tuple" in str(known[name].type)
        if isinstance(value, tuple) != several and not (several and isinstance(value, float)):
            raise ConfigError(f"{what}: {name} must be one number, got {_listed(value)}")
        given[name] = (value,) if several and isinstance(value, float) else value
    missing = [name for name, item in known.items() if item.default is MISSING and name not in given]
    if missing:
        raise ConfigError(f"{what} needs {', '.join(missing)}: add {option} {missing[0]}=number")
    return kind(**given)


def _listed(value: Any) -> str:
    numbers: Iterable[Any] = value if isinstance(value, tuple) else (value,)
    return ",".join(f"{number:g}" for number in numbers)
