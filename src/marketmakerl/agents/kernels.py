"""Compile what is needed to run anything, once, in as many processes as there are processors.

Importing a module compiles its kernels and keeps them (`core/kernel_cache.py`); whoever comes later only loads them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from marketmakerl.core.errors import ConfigError
from marketmakerl.core.kernel_cache import SHIPPED
from marketmakerl.core.pool import default_processes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SHIPPED", "Job", "compile_all", "jobs"]

PACKAGE: Final = Path(__file__).resolve().parent.parent
_ENGINE, _ACCOUNT = "marketmakerl.backtesting.step", "marketmakerl.backtesting.portfolio_step"


@dataclass(frozen=True)
class Job:
    """Modules that one process imports, after other jobs whose kernels it links to."""

    name: str
    modules: tuple[str, ...]
    after: tuple[str, ...] = ()


def jobs() -> list[Job]:
    """Return everything there is to compile, the longest first."""
    others = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if "import njit" in path.read_text(encoding="utf-8") and not module.startswith("marketmakerl.backtesting"):
            others.append(module)
    return [
        Job("the engine", (_ENGINE, "marketmakerl.backtesting.engine")),
        Job("models, importers, model world", tuple(others)),
        Job("several instruments", (_ACCOUNT,), after=("the engine",)),
    ]


def compile_all(
    *,
    into: Path | None = None,
    processes: int | None = None,
    say: Callable[[str, list[str], float], None] | None = None,
) -> float:
    """Compile everything that is not there yet; return the seconds it took.

    Args:
        into: the folder of kernels to fill; None: the user's.
        processes: how many at once, >= 1; None: one a processor.
        say: called about once a second with what happens ("started", "going on", "done"), the names of the jobs that
            are under way, and the seconds since the start.

    Raises:
        ConfigError: a module that cannot be imported; its last line of stderr is in the message.
    """
    tell = say or (lambda _what, _names, _seconds: None)
    started = time.monotonic()
    most = processes or default_processes()
    waiting, done = jobs(), set[str]()
    running: dict[str, subprocess.Popen[str]] = {}
    environment = os.environ | ({"NUMBA_CACHE_DIR": str(into)} if into is not None else {})
    last = -1.0
    try:
        while waiting or running:
            for job in [one for one in waiting if done.issuperset(one.after)][: most - len(running)]:
                waiting.remove(job)
                code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
                running[job.name] = subprocess.Popen(  # noqa: S603  (this interpreter, and modules of this package)
                    [sys.executable, "-c", code, *job.modules],
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                tell("started", list(running), time.monotonic() - started)
            time.sleep(0.05)
            for name, process in list(running.items()):
                if process.poll() is None:
                    continue
                error = (process.stderr.read() if process.stderr else "").strip().splitlines()
                if process.returncode != 0:
                    raise ConfigError(f"could not compile {name}: {error[-1] if error else process.returncode}")
                done.add(name)
                del running[name]
            seconds = time.monotonic() - started
            if seconds - last >= 1.0:
                last = seconds
                tell("going on", list(running), seconds)
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    took = time.monotonic() - started
    tell("done", [], took)
    return took
