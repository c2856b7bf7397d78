"""A model of one's own: a function from what is seen to two distances. One page about it: docs/custom-model.md."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numba
import numpy as np
import numpy.typing as npt

from marketmakerl.core.checks import shown
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.memory import seen_as
from marketmakerl.models.contract import (
    CONTEXT,
    MAX_DEPTH,
    MAX_MEMORY,
    MAX_TRADES,
    QUOTE_SIGNATURE,
    QuotingModel,
    context_dtype,
)
from marketmakerl.models.ladder import MOST_LEVELS, MOST_TICKS
from marketmakerl.models.raised import asking, moment
from marketmakerl.models.symmetric import quote_symmetric

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class CustomModel(QuotingModel):
    """A quoting model made of one function (context, params) -> (bid distance, ask distance).

    Distances are from the local mid in price units, NaN for a side that is not quoted. The function is best one that
    `numba.njit` made: the engine calls it directly and nothing else is compiled again. A plain Python function works
    too, about a hundred times slower; it may take the context alone.

    Args:
        function: the quote function; `context` has the fields of `marketmakerl.models.contract.CONTEXT`.
        values: its `params`, numbers.
        horizon_s: session length in seconds; None for no end.
        levels: quotes a side, >= 1.
        level_step_ticks: distance between them, ticks.
        grid_ticks: prices are whole multiples of so many ticks.
        reads_market: False says that the function reads nothing but `q` and `time_left_s`, so that its quotes are a
            table: the model world evaluates those exactly. It asks at a few mids and times, and refuses a model that
            answers otherwise than it says.
        reads_clock: False promises that the answer depends neither on `ts_ns` nor on how often the function is asked.
            The engine then asks only when there is something new to see, which is faster and otherwise the same.
        reads_sizes: False promises that it depends on no quantity of the book, likewise.
        memory: numbers that `context.memory` keeps from one decision to the next, zeros at the start.
        depth: levels a side that the context shows, as they have reached us.
        trades: how many of the last trades the context shows, likewise.

    Raises:
        ConfigError: not a function, values that are no finite numbers, a number out of range, or an njit function that
            returns anything but two floats, or reads what the model does not ask for.
    """

    function: Callable[..., tuple[float, float]]
    values: Sequence[float] = ()
    horizon_s: float | None = None
    levels: int = 1
    level_step_ticks: int = 1
    grid_ticks: int = 1
    memory: int = 0
    depth: int = 0
    trades: int = 0
    # Nobody knows what a function looks at, but who writes it may say so.
    reads_market: bool = field(default=True, kw_only=True)  # type: ignore[misc]
    reads_clock: bool = field(default=True, kw_only=True)  # type: ignore[misc]
    reads_sizes: bool = field(default=True, kw_only=True)  # type: ignore[misc]
    id: ClassVar[str] = "custom"
    reads_others: ClassVar[bool] = True  # likewise

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ConfigError(
                f"a custom model needs a function (context, params) -> (bid, ask), got {shown(self.function)}"
            )
        try:
            numbers = [float(value) for value in self.values]
        except (TypeError, ValueError):
            raise ConfigError(f"a custom model's values must be numbers, got {shown(self.values)}") from None
        if not all(math.isfinite(number) for number in numbers):
            raise ConfigError(f"a custom model's values must be finite, got {shown(tuple(numbers))}")
        object.__setattr__(self, "values", tuple(numbers))
        if self.horizon_s is not None:
            self._require(positive=("horizon_s",))
        self._require_whole("levels", 1, MOST_LEVELS)
        for name in ("level_step_ticks", "grid_ticks"):
            self._require_whole(name, 1, MOST_TICKS)
        if not isinstance(self.reads_market, bool):
            raise ConfigError(f"a custom model's reads_market must be True or False, got {shown(self.reads_market)}")
        for name, most in (("memory", MAX_MEMORY), ("depth", MAX_DEPTH), ("trades", MAX_TRADES)):
            self._require_whole(name, 0, most)
        if not self.is_python:
            self._compile()

    def _compile(self) -> None:
        dispatcher: Any = self.function
        dtype = self.context_dtype
        args = (numba.from_dtype(dtype), QUOTE_SIGNATURE.args[1])
        try:
            if args not in dispatcher.overloads:  # one that came with this signature is compiled
                dispatcher.compile(args)
        except RuntimeError as error:  # it came with another signature, and numba compiles it for no further one
            raise ConfigError("the model's function was compiled for other arguments than (context, params)") from error
        except KeyError as error:  # what numba raises for a field that a record does not have
            raise ConfigError(_unknown(str(error).strip("'"), dtype)) from error
        except numba.core.errors.NumbaError as error:
            raise ConfigError(f"the model's function does not compile: {_reason(error)}") from error
        made = dispatcher.overloads[args].signature.return_type
        if made != QUOTE_SIGNATURE.return_type:
            raise ConfigError(f"the model's function must return two floats (bid, ask distance), it returns {made}")

    @property
    def context_dtype(self) -> Any:
        """Return the layout of the context: CONTEXT, and what the model asks for besides."""
        return context_dtype(self.memory, self.depth, self.trades)

    @property
    def is_python(self) -> bool:
        """Return whether the function is plain Python."""
        return not hasattr(self.function, "overloads")

    @cached_property
    def kernel(self) -> Any:
        """Return the compiled function; for a Python one a stand-in that is never asked.

        Engines know one type of function, whatever its context shows: one that asks for more gets what lies behind the
        record that it is called with.
        """
        if self.is_python:
            return quote_symmetric
        if self.context_dtype == CONTEXT:
            return self.function
        return _widened(self.function, self.memory, self.depth, self.trades)

    def params(self) -> npt.NDArray[np.float64]:
        """Return the values."""
        return np.array(self.values, dtype=np.float64)

    @cached_property
    def _takes_params(self) -> bool:
        accepted = inspect.signature(self.function).parameters.values()
        positional = [p for p in accepted if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        return len(positional) > 1 or any(p.kind == p.VAR_POSITIONAL for p in accepted)

    def ask(self, context: Any) -> tuple[float, float]:
        """Call the function from Python; None stands for a side that is not quoted.

        Raises:
            ConfigError: it returned anything but two numbers.
            ModelError: it raised an exception.
        """
        with asking(self, lambda: moment(context)):
            answer = self.function(context, self.params()) if self._takes_params else self.function(context)
        try:
            bid, ask = (math.nan if distance is None else float(distance) for distance in answer)
        except (TypeError, ValueError):
            raise ConfigError(
                f"the model must return (bid distance, ask distance), it returned {shown(answer)}"
            ) from None
        return bid, ask

    def distances(self, record: Any) -> tuple[float, float]:
        """Return what the function answers for one record of its context; raises as `ask`."""
        if self.is_python:
            return self.ask(record)
        with asking(self, lambda: moment(record)):
            bid, ask = self.function(record, self._params_once)
            return float(bid), float(ask)

    def as_dict(self) -> dict[str, Any]:
        """Return id and parameters, JSON-ready."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return {
            "id": self.id, "function": name, "values": list(self.values), "horizon_s": self.horizon_s,
            "levels": self.levels, "level_step_ticks": self.level_step_ticks, "grid_ticks": self.grid_ticks,
            "memory": self.memory, "depth": self.depth, "trades": self.trades, "reads_market": self.reads_market,
        }  # fmt: skip


@lru_cache(maxsize=256)  # models of one function share what is compiled
def _widened(function: Callable[..., tuple[float, float]], memory: int, depth: int, trades: int) -> Any:
    """Return a quote function that gives `function` what lies behind the record that it is called with."""
    widen = seen_as(context_dtype(memory, depth, trades))

    def quote(context: Any, params: Any) -> Any:
        return function(widen(context), params)

    return numba.njit(QUOTE_SIGNATURE, error_model="numpy")(quote)


def _reason(error: Exception) -> str:
    """Return the line of numba's many that says what was wrong, and the place if it names one."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Failed in", "During:", "File "))]
    place = next((f" ({line.rstrip(':')})" for line in lines if line.startswith("File ")), "")
    return f"{said[0] if said else type(error).__name__}{place}"


def _unknown(name: str, dtype: Any) -> str:
    """Say that the context has no field of a name, and how to get it where it can be had."""
    for asks in ("memory", "depth", "trades"):
        if name in (context_dtype(**{asks: 1}).names or ())[len(CONTEXT.names or ()) :]:
            return f"the context has {name} only for a model that asks for it: CustomModel(..., {asks}=...)"
    return f"the context has no {name!r}; it has {', '.join(dtype.names)}"
