"""Less to compile: what numba does for every function, left out for those that only our own compiled code calls.

numba makes a new specialisation for each literal integer that an argument is called with, and gives each a wrapper for
Python, a wrapper for C, object code and two cache files. Of our functions some twenty are called from Python; the other
two hundred are inlined or linked into those. Leaving that out makes a first tick backtest cost less than half, and the
machine code that runs is the same.

It leans on numba's insides, so it is done only for the versions that the tests have seen; `MML_PLAIN_NUMBA=1` leaves
numba as it is. Code of others that runs in the same process is compiled as ever: only what is compiled on behalf of a
function of this package is touched.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBA: Any = numba
KNOWN_VERSIONS: Final = ("0.68.",)  # whose insides the tests have seen
_PACKAGE: Final = __name__.split(".", maxsplit=1)[0] + "."


class _Under(threading.local):
    """Where this thread is: compiling for a function of ours, and for a call from one compiled function to another."""

    ours = False
    inner = False


_under = _Under()


def is_known() -> bool:
    """Return whether numba is a version whose insides are known, and nobody asked for plain numba."""
    return str(_NUMBA.__version__).startswith(KNOWN_VERSIONS) and not os.environ.get("MML_PLAIN_NUMBA")


def _is_ours(dispatcher: Any) -> bool:
    return str(getattr(dispatcher.py_func, "__module__", "")).startswith(_PACKAGE)


def install() -> bool:
    """Change numba as the module says; return whether it was done. Calling it again does nothing."""
    if _NUMBA.config.DISABLE_JIT or not is_known():
        return False
    from numba.core.dispatcher import Dispatcher  # noqa: PLC0415

    if not getattr(Dispatcher.get_call_template, "leaves_out", False):
        _change_dispatcher(Dispatcher)
        _change_flags()
        _change_code_generation()
    return True


def _plain(kind: Any) -> Any:
    """Return the type of an argument without its value, where that is a whole number or a truth."""
    from numba.core import types  # noqa: PLC0415

    return types.unliteral(kind) if isinstance(kind, (types.IntegerLiteral, types.BooleanLiteral)) else kind


def _change_dispatcher(dispatcher_class: Any) -> None:
    """Let calls between our functions ask for plain types, and remember what was compiled for such a call only."""
    from numba.core import sigutils  # noqa: PLC0415

    plain_template, plain_compile = dispatcher_class.get_call_template, dispatcher_class.compile
    plain_add, plain_result = dispatcher_class.add_overload, dispatcher_class.get_compile_result
    only_inner: set[tuple[int, Any]] = set()

    def get_call_template(self: Any, args: Any, kws: Any) -> Any:
        if _under.ours and _is_ours(self):
            args, kws = tuple(_plain(arg) for arg in args), {name: _plain(arg) for name, arg in dict(kws).items()}
        before, _under.inner = _under.inner, _under.ours
        try:
            return plain_template(self, args, kws)
        finally:
            _under.inner = before

    def forget(self: Any, args: Any) -> None:
        """Let what Python is to call now be compiled again, with all that this takes."""
        if (id(self), args) in only_inner:
            only_inner.discard((id(self), args))
            self.overloads.pop(args, None)

    def compile_it(self: Any, sig: Any) -> Any:
        if _under.inner:
            return plain_compile(self, sig)
        forget(self, tuple(sigutils.normalize_signature(sig)[0]))
        before, _under.ours = _under.ours, _is_ours(self)
        try:
            return plain_compile(self, sig)
        finally:
            _under.ours = before

    def get_compile_result(self: Any, sig: Any) -> Any:
        before, _under.inner = _under.inner, False
        try:
            forget(self, tuple(sig.args))
            return plain_result(self, sig)
        finally:
            _under.inner = before

    def add_overload(self: Any, result: Any) -> None:
        if not _under.inner:
            plain_add(self, result)
            return
        args = tuple(result.signature.args)
        only_inner.add((id(self), args))
        self.overloads[args] = result

    get_call_template.leaves_out = True  # type: ignore[attr-defined]
    dispatcher_class.get_call_template, dispatcher_class.compile = get_call_template, compile_it
    dispatcher_class.add_overload, dispatcher_class.get_compile_result = add_overload, get_compile_result


def _change_flags() -> None:
    """Make no wrappers for what only compiled code calls."""
    from numba.core import dispatcher  # noqa: PLC0415

    module: Any = dispatcher
    compiler: Any = module._FunctionCompiler  # noqa: SLF001
    plain_flags: Callable[..., Any] = compiler._customize_flags  # noqa: SLF001

    def customize_flags(self: Any, flags: Any) -> Any:
        flags = plain_flags(self, flags)
        if _under.inner:
            flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        return flags

    compiler._customize_flags = customize_flags  # noqa: SLF001


def _change_code_generation() -> None:
    """Keep what only compiled code calls as intermediate code: its caller's object code will hold it."""
    from numba.core import codegen, cpu  # noqa: PLC0415

    dynfunc: Any = cpu._dynfunc  # type: ignore[attr-defined]  # noqa: SLF001

    plain_create: Callable[..., Any] = codegen.Codegen.create_library
    plain_finalize: Callable[..., Any] = codegen.CPUCodeLibrary._finalize_final_module  # noqa: SLF001
    plain_executable: Callable[..., Any] = cpu.CPUContext.get_executable

    def create_library(self: Any, name: str, **options: Any) -> Any:
        library = plain_create(self, name, **options)
        library.is_inner = _under.inner
        return library

    def finalize_final_module(self: Any) -> None:
        if not getattr(self, "is_inner", False):
            plain_finalize(self)
            return
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_executable(self: Any, library: Any, fndesc: Any, env: Any) -> Any:
        if not getattr(library, "is_inner", False):
            return plain_executable(self, library, fndesc, env)
        library._ensure_finalized()  # noqa: SLF001
        name = fndesc.qualname.split(".")[-1]
        return dynfunc.make_function(fndesc.lookup_module(), name, "", 0, env, (library,))

    classes: Any = codegen
    classes.Codegen.create_library = create_library
    classes.CPUCodeLibrary._finalize_final_module = finalize_final_module  # noqa: SLF001
    executables: Any = cpu.CPUContext
    executables.get_executable = get_executable


def is_inner_call() -> bool:
    """Return whether what is compiled now is for a call from another compiled function of ours only."""
    return _under.inner
