"""One kind of machine code for all newer x86 processors: kernels can travel, and give the same bytes everywhere.

x86-64-v3 is what every server since 2015 understands (AVX2, BMI2, FMA). Kernels compiled for it are as fast as those
for the very processor (within 2 %, benchmarks of the tick engine), and numba's cache finds them on any such machine.
A processor below that level, or of another kind, compiles for itself.
"""

from __future__ import annotations

import os
from typing import Any, Final

import numba

LEVEL: Final = "x86-64-v3"
# What the level adds to the one below, as LLVM spells it.
_NEEDS: Final = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")


def choose() -> str:
    """Let numba compile for the common level where this processor has it; return what it compiles for ("" is native).

    NUMBA_CPU_NAME, or MML_PLAIN_NUMBA=1, overrides it. Nothing changes where numba has compiled something already.
    """
    config: Any = numba.config
    if config.CPU_NAME or config.DISABLE_JIT or os.environ.get("MML_PLAIN_NUMBA"):
        return str(config.CPU_NAME or "")
    import llvmlite.binding as llvm  # noqa: PLC0415
    from numba.core.registry import cpu_target  # noqa: PLC0415

    # A host program that has compiled code of its own goes on as it began.
    if "_toplevel_target_context" in vars(cpu_target) or "x86_64" not in llvm.get_process_triple():
        return ""
    features = llvm.get_host_cpu_features()
    if not all(features.get(name) for name in _NEEDS):
        return ""
    config.CPU_NAME, config.CPU_FEATURES = LEVEL, ""
    return LEVEL
