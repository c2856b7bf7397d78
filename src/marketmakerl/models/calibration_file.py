"""A calibration as JSON: read, and checked before anything is set by it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.artifacts import read_json
from marketmakerl.core.errors import DataFormatError
from marketmakerl.models.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCHEMA: Final = 1

_TEXTS: Final = ("source", "symbol", "tier", "clock", "data_hash", "approximate")
_TIMES: Final = ("first_ns", "last_ns")
_POSITIVE: Final = ("observed_s", "tick_size", "lot_size", "mid")
# Estimates that make no sense at zero or below; a share, a move or an excitation can.
_MUST_BE_POSITIVE: Final = ("sigma", "k", "arrival_rate", "spread", "order_size")


def read_calibration(path: Path) -> dict[str, Any]:
    """Return the fields of a calibration.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: not a calibration, another version, a field that is missing, of the wrong type or not finite.
    """
    document = read_json(path)
    if not isinstance(document, dict) or "estimates" not in document:
        raise DataFormatError(f"{path} is not a calibration; make one: mml calibrate --data ... --out {path}")
    if document.get("schema") != SCHEMA:
        raise DataFormatError(
            f"{path}: a calibration of version {document.get('schema')!r}, this program reads {SCHEMA}; calibrate again"
        )
    try:
        return _fields(document)
    except _WrongError as wrong:
        raise DataFormatError(f"{path}: {wrong}; calibrate again") from None


class _WrongError(ValueError):
    """What is wrong with a field."""


def _fields(document: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {name: _take(document, name, _is_text, "a text") for name in _TEXTS}
    made |= {name: _take(document, name, _is_count, "a whole number >= 0") for name in _TIMES}
    made |= {name: _take(document, name, _is_positive, "a finite number > 0") for name in _POSITIVE}
    if made["last_ns"] < made["first_ns"]:
        raise _WrongError("last_ns lies before first_ns")
    if made["clock"] not in {"bars", "ticks"}:
        raise _WrongError(f"clock must be bars or ticks, got {made['clock']!r}")
    for name, kind in (("reasons", dict), ("details", dict), ("data", list), ("estimates", dict)):
        made[name] = document.get(name)
        if not isinstance(made[name], kind):
            what = "missing" if name not in document else f"no {kind.__name__}"
            raise _WrongError(f"{name} is {what}")
    if not all(_is_text(reason) for reason in made["reasons"].values()):
        raise _WrongError("reasons must be texts")
    made["estimates"] = {name: _estimate(name, value) for name, value in made["estimates"].items()}
    for name in ("sigma", "k", "arrival_rate"):
        if name not in made["estimates"]:
            raise _WrongError(f"estimates has no {name}, not even a refusal")
    return made


def _estimate(name: str, value: Any) -> Estimate | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _WrongError(f"estimates.{name} must be an estimate or null")
    where = f"estimates.{name}."
    root = name.partition("_")[0] if name.startswith(("sigma", "k_")) else name
    positive = root in _MUST_BE_POSITIVE or name.startswith("arrival_rate")
    test, what = (_is_positive, "a finite number > 0") if positive else (_is_number, "a finite number")
    error = value.get("std_error", math.nan)
    if error is not None and not (_is_number(error) and error >= 0):
        raise _WrongError(f"{where}std_error must be a finite number >= 0 or null, got {error!r}")
    return Estimate(
        value=float(_take(value, "value", test, what, where)),
        std_error=None if error is None else float(error),
        unit=_take(value, "unit", _is_text, "a text", where),
        method=_take(value, "method", _is_text, "a text", where),
        n=_take(value, "n", _is_count, "a whole number >= 0", where),
    )


def _take(document: dict[str, Any], name: str, test: Callable[[Any], bool], what: str, where: str = "") -> Any:
    if name not in document:
        raise _WrongError(f"{where}{name} is missing")
    value = document[name]
    if not test(value):
        raise _WrongError(f"{where}{name} must be {what}, got {value!r}")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
