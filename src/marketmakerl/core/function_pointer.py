"""A compiled function as an argument of compiled code, of one type whichever function it is.

A kernel that is compiled when it is first called would be compiled anew for every function it is given. With a pointer
it is compiled once for all functions of a signature. numba has a wrapper for that too (`CompileResultWAP`), but that
one points at the function's C entry, which prints an exception and returns anything. This points at the function
itself as well (numba's `jit_addr`), so that an exception ends the kernel and reaches its caller.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.experimental.function_type import FunctionModel, unbox_function_type
from numba.extending import register_model, unbox

_register: Any = register_model
_unbox: Any = unbox
_unbox_function: Any = unbox_function_type


class PointerType(types.FunctionType):
    """The type of all `FunctionPointer` of one signature."""


_register(PointerType)(FunctionModel)


class FunctionPointer:
    """A function that numba compiled for a signature, as compiled code takes it; under NUMBA_DISABLE_JIT not needed.

    Args:
        function: what `njit` made.
        signature: which of its compiled forms; it is compiled if there is none yet.
    """

    def __init__(self, function: Any, signature: Any) -> None:
        function.get_compile_result(signature)
        self.function = function
        self._numba_type_ = PointerType(signature)


@_unbox(PointerType)  # type: ignore[untyped-decorator]
def _unbox_pointer(kind: Any, pointer: Any, context: Any) -> Any:
    """Generate what turns a `FunctionPointer` into the addresses of its function; the pointer keeps them valid."""
    function = context.pyapi.object_getattr_string(pointer, "function")
    native = _unbox_function(kind, function, context)
    context.pyapi.decref(function)
    return native
