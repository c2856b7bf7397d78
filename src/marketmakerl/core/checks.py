"""One way to refuse a number at the edge: its name, what it may be, and what came."""

from __future__ import annotations

import math
from numbers import Integral, Number, Real
from typing import Any

from marketmakerl.core.errors import ConfigError


def require_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    hint: str = "",
) -> float:
    """Return `value` as a float if it is a finite number in the range.

    Raises:
        ConfigError: it is not; the message names the parameter, its legal range and what came.
    """
    number = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    low_ok = number and (above is None or value > above) and (at_least is None or value >= at_least)
    if not low_ok or (at_most is not None and value > at_most):
        bounds = [(">", above), (">=", at_least), ("<=", at_most)]
        legal = " and ".join(f"{sign} {bound:.12g}" for sign, bound in bounds if bound is not None)
        raise ConfigError(f"{name} must be a finite number{' ' if legal else ''}{legal}, got {shown(value)}{hint}")
    return float(value)


def require_numbers(name: str, values: Any) -> tuple[float, ...]:
    """Return `values` as a tuple of floats if they are a sequence of finite numbers.

    Raises:
        ConfigError: they are not.
    """
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise ConfigError(f"{name} must be a sequence of finite numbers, got {shown(values)}")
    return tuple(require_number(name, value) for value in values)


def require_whole(name: str, value: Any, *, at_least: int, at_most: int | None = None) -> int:
    """Return `value` as an int if it is a whole number in the range.

    Raises:
        ConfigError: it is not.
    """
    whole = not isinstance(value, bool) and isinstance(value, Integral)
    if not whole or value < at_least or (at_most is not None and value > at_most):
        upper = "" if at_most is None else f" and <= {at_most}"
        raise ConfigError(f"{name} must be a whole number >= {at_least}{upper}, got {shown(value)}")
    return int(value)


def shown(value: Any) -> str:
    """Return how a message names a value: numbers, texts and what holds them as they are, anything else by its type.

    The repr of an object that nobody foresaw may hold an address in memory, or many lines.
    """
    if value is None or isinstance(value, (str, bytes, Number)):
        return repr(value)
    if type(value) is list:
        return f"[{', '.join(map(shown, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(shown, value))}{',' if len(value) == 1 else ''})"
    if type(value) is dict:
        return f"{{{', '.join(f'{shown(key)}: {shown(item)}' for key, item in value.items())}}}"
    return (
        f"the class {value.__qualname__}"
        if isinstance(value, type)
        else f"an object of type {type(value).__qualname__}"
    )
