"""How a compiled function lies in a file, so that running it takes as little as possible.

numba keeps object code to run and intermediate code to link into other functions, and reads both whenever it loads a
function. Ours are almost never linked into anything in a process that only runs: the intermediate code is read when
somebody asks for it. The names that it defines, which numba needs at once, are kept beside it.
"""

from __future__ import annotations

import functools
from typing import Any


def pack(result: Any) -> Any:
    """Return a compile result of numba as something to pickle."""
    library_data, *rest = result._reduce()  # noqa: SLF001
    return defined_names(result.library._get_module_for_linking()), library_data, rest  # noqa: SLF001


def defined_names(module: Any) -> list[str]:
    """Return the functions and variables that a module of LLVM defines."""
    return [
        one.name for several in (module.functions, module.global_variables) for one in several if not one.is_declaration
    ]


def unpack(target_context: Any, packed: Any) -> Any:
    """Return the compile result again, ready to run."""
    from numba.core import compiler  # noqa: PLC0415

    module: Any = compiler
    names, (name, _kind, (object_code, linkable)), rest = packed
    described, environment, signature, object_mode, lifted, annotation, reload_init, environments = rest
    for function in reload_init:
        function()
    codegen = target_context.codegen()
    library = _library_class()(codegen, name)
    library.linkable = linkable
    library.enable_object_caching()
    library._set_compiled_object(object_code)  # noqa: SLF001
    library._finalize_final_module()  # noqa: SLF001
    codegen._engine._defined_symbols.update(names)  # noqa: SLF001
    result = module.CompileResult(
        target_context=target_context,
        typing_context=target_context.typing_context,
        library=library,
        environment=environment,
        entry_point=target_context.get_executable(library, described, environment),
        fndesc=described,
        type_annotation=annotation,
        signature=signature,
        objectmode=object_mode,
        lifted=lifted,
        typing_error=None,
        call_helper=None,
        metadata=None,
        reload_init=reload_init,
        referenced_envs=environments,
    )
    for one in environments:
        codegen.set_env(one.env_name, one)
    return result


@functools.cache
def _library_class() -> Any:
    from llvmlite import binding  # noqa: PLC0415
    from numba.core.codegen import JITCodeLibrary  # noqa: PLC0415

    class Library(JITCodeLibrary):
        linkable = b""

        def _get_module_for_linking(self) -> Any:
            if self._shared_module is None:
                self._shared_module = binding.parse_bitcode(self.linkable)
            return self._shared_module

    return Library
