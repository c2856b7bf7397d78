"""`njit` for the whole package: one set of compiler options, one cache of kernels that cannot go stale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numba

from marketmakerl.core import compile_less, cpu_level, kernel_cache

F = TypeVar("F", bound=Callable[..., Any])

# numba's own annotations know neither its settings nor a signature that may be absent.
_NUMBA: Any = numba

cpu_level.choose()
compile_less.install()


def njit(signature: Any = None, **options: Any) -> Callable[[F], F]:
    """Compile to machine code, kept on disk; with a signature, at import and never again.

    Args:
        signature: a numba signature (eager) or None (compiled at the first call of each type).
        options: passed to `numba.njit`. `fastmath` stays off: results must not depend on how a loop is vectorised.

    With NUMBA_DISABLE_JIT=1 the function is returned unchanged and runs as plain Python.
    """

    def decorate(function: F) -> F:
        compiled: Any = _NUMBA.njit(error_model="numpy", **options)(function)
        if compiled is function:  # without a compiler
            return function
        kernel_cache.keep_in(compiled)
        if signature is not None:
            from numba.core import typeinfer  # noqa: PLC0415

            # As numba does it with a signature: the function may call itself.
            with typeinfer.register_dispatcher(compiled):
                compiled.compile(signature)
            compiled.disable_compile()
        return compiled  # type: ignore[no-any-return]

    return decorate


def by_kind(kinds: Mapping[type, Any], kind: Any) -> Any:
    """Return which of `kinds` (a NamedTuple class each) implements an overload for an argument of numba type `kind`."""
    return kinds.get(getattr(kind, "instance_class", type(None)))
