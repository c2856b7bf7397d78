"""What a model of one's own raises while it is asked, as an error that names the model and the moment.

Within an engine's kernel an exception in a compiled quote function ends the kernel at once and comes out where Python
called it; the CONTEXT record still shows what the model was asked. Nothing can be resumed behind it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.clock import iso_utc
from marketmakerl.core.errors import MarketMakerLError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from marketmakerl.models.contract import QuotingModel

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_FIRST_DATE: Final = 10**17  # ns: earlier times count from the start of a run of a model world


def plain_function(model: QuotingModel) -> Any:
    """Return the Python form of a model's quote function."""
    function: Any = getattr(model, "function", None) if getattr(model, "is_python", False) else model.kernel
    return getattr(function, "py_func", function)


def is_built_in(model: QuotingModel) -> bool:
    """Return whether a model's quote function is one of this package's."""
    return str(getattr(plain_function(model), "__module__", "")).partition(".")[0] == "marketmakerl"


def name_of(model: QuotingModel) -> str:
    """Return what to call a model in an error: its function and where that stands."""
    function = plain_function(model)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(function, "__code__", None)
    if code is None:  # an object that can be called
        code = getattr(vars(type(function)).get("__call__"), "__code__", None)
    return f"{name} ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code else str(name)


def moment(context: Any) -> str:
    """Return when a model was asked, and about what, from its CONTEXT record."""
    ts_ns = int(context["ts_ns"])
    when = f"{iso_utc(ts_ns)} (ts_ns {ts_ns})" if ts_ns >= _FIRST_DATE else f"{ts_ns / 1e9:g} s"
    return f"at {when}, q {float(context['q']):g}, mid {float(context['mid']):g}"


def raised(model: QuotingModel, error: Exception, where: str) -> ModelError:
    """Return the error that says which model raised what, and where."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ModelError(f"the model {name_of(model)} raised {what} {where}")


@contextlib.contextmanager
def asking(model: QuotingModel, where: Callable[[], str]) -> Iterator[None]:
    """Turn what a model of one's own raises into a `ModelError`; what is not its doing passes as it is.

    Args:
        model: who is asked within; several are told apart by the caller.
        where: says when and about what, once something was raised.
    """
    try:
        yield
    except (MarketMakerLError, MemoryError):
        raise
    except Exception as error:
        if is_built_in(model) or (isinstance(error, AssertionError) and _is_ours(error)):
            raise
        raise raised(model, error, where()) from error


def _is_ours(error: Exception) -> bool:
    """Return whether an assertion failed in this package: numba says where in the innermost frame."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and Path(frame.tb_frame.f_code.co_filename).is_relative_to(_PACKAGE)
