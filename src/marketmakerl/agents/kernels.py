"""Compile what is needed to run anything, once, in as many processes as there are processors.

Importing a module compiles most of its kernels and keeps them (`core/kernel_cache.py`); whoever comes later only loads
them. Those that are made for a kind of world or of market are compiled by running the commands that use them, as small
as can be.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from marketmakerl.core.artifacts import source_hash
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.kernel_cache import KEPT, SHIPPED, user_folder
from marketmakerl.core.pool import default_processes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SHIPPED", "Job", "compile_all", "jobs"]

PACKAGE: Final = Path(__file__).resolve().parent.parent
_WORLD: Final = (
    ("simulate", "--paths", "20", "--json"),
    ("compare", "--paths", "20", "--json"),
    ("optimum", "--json"),
)
_MARKET: Final = (("backtest", "--days", "0.2", "--json"),)
_ENGINE, _ACCOUNT = "marketmakerl.backtesting.step", "marketmakerl.backtesting.portfolio_step"


@dataclass(frozen=True)
class Job:
    """Modules that one process imports, or commands that it runs, after other jobs whose kernels it links to."""

    name: str
    modules: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    after: tuple[str, ...] = ()

    def argv(self) -> list[str]:
        """Return the job as arguments of the interpreter."""
        if self.commands:
            code = "import json, sys; from marketmakerl.cli.main import run; "
            code += "sys.exit(max(run(argv) for argv in json.loads(sys.argv[1])))"
            return ["-c", code, json.dumps(self.commands)]
        return ["-c", "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)", *self.modules]


def jobs() -> list[Job]:
    """Return everything there is to compile, the longest first."""
    others = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if "import njit" in path.read_text(encoding="utf-8") and not module.startswith("marketmakerl.backtesting"):
            others.append(module)
    return [
        Job("the engine", (_ENGINE, "marketmakerl.backtesting.engine")),
        Job("models and importers", tuple(others)),
        Job("the model world", commands=_WORLD, after=("models and importers",)),
        Job("the synthetic market", commands=_MARKET, after=("the engine", "models and importers")),
        Job("several instruments", (_ACCOUNT,), after=("the engine",)),
    ]


def _mark(folder: Path) -> Path:
    """Return the file that says that all kernels of these sources, this numba and these settings are in `folder`."""
    names = ("MML_PLAIN_NUMBA", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT")
    settings = [os.environ.get(name, "") for name in names]
    made_of = f"{source_hash()} {sys.version_info[:2]} {metadata.version('numba')} {settings}"
    return folder / f"whole-{hashlib.blake2b(made_of.encode(), digest_size=8).hexdigest()}"


def _folder(into: Path | None) -> Path | None:
    """Return the folder to fill: the one asked for, made if need be, or the user's."""
    if into is None:
        return user_folder()
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot keep kernels in {into}: {error.strerror or error}; name another folder") from error
    return into


def _write_mark(folder: Path) -> None:
    """Mark the folder as whole; of earlier marks only the newest stay, as of the kernels."""
    with contextlib.suppress(OSError):  # a cache that takes no file is none, and compiling has said so
        folder.mkdir(parents=True, exist_ok=True)
        _mark(folder).touch()
        for old in sorted(folder.glob("whole-*"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)


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
        ConfigError: `into` cannot be made; a module that cannot be imported: its last line of stderr is in the message.
    """
    tell = say or (lambda _what, _names, _seconds: None)
    started = time.monotonic()
    folder = _folder(into)
    if folder is not None and _mark(folder).exists():
        tell("done", [], 0.0)
        return 0.0
    most = processes or default_processes()
    waiting, done = jobs(), set[str]()
    running: dict[str, subprocess.Popen[str]] = {}
    environment = os.environ | ({"NUMBA_CACHE_DIR": str(into.resolve())} if into is not None else {})
    last = -1.0
    scratch = tempfile.mkdtemp(prefix="mml-warm-")
    environment["MML_ARTIFACTS_DIR"] = scratch
    try:
        while waiting or running:
            for job in [one for one in waiting if done.issuperset(one.after)][: most - len(running)]:
                waiting.remove(job)
                running[job.name] = subprocess.Popen(  # noqa: S603  (this interpreter, and modules of this package)
                    [sys.executable, "-P", *job.argv()],
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
                del running[name]
                error = process.communicate()[1].strip().splitlines()
                if process.returncode != 0:
                    raise ConfigError(f"could not compile {name}: {error[-1] if error else process.returncode}")
                done.add(name)
            seconds = time.monotonic() - started
            if seconds - last >= 1.0:
                last = seconds
                tell("going on", list(running), seconds)
    finally:
        for process in running.values():
            process.kill()
            process.communicate()
        shutil.rmtree(scratch, ignore_errors=True)
    if folder is not None:
        _write_mark(folder)
    took = time.monotonic() - started
    tell("done", [], took)
    return took
