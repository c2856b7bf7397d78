"""The engines we measure against, each in a virtual environment of its own, never in the project's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from processes import BenchError, Processes

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """One engine: the module that shows that it is installed, and what pip is asked for."""

    module: str
    requirements: tuple[str, ...]


HFTBACKTEST = Peer("hftbacktest", ("hftbacktest==2.4.4", "numba", "numpy"))
NAUTILUS = Peer("nautilus_trader", ("nautilus_trader==1.221.0", "numpy"))


def python_of(peer: Peer, given: Path | None, venv: Path, processes: Processes) -> Path:
    """Return an interpreter that imports the peer: the given one, or that of `venv`, which is made when needed.

    Raises:
        BenchError: the given one cannot import it, or it could not be installed.
    """
    if given is not None:
        if not _imports(given, peer.module):
            raise BenchError(f"{given} cannot import {peer.module}")
        return given
    python = venv / "bin" / "python"
    if not _imports(python, peer.module):
        processes.screen.print(f"  installing {peer.requirements[0]} into {venv.name} (once)", highlight=False)
        processes.run(f"{peer.module} venv", [sys.executable, "-m", "venv", venv])
        processes.run(f"{peer.module} install", [python, "-m", "pip", "install", "-q", *peer.requirements])
    return python


def _imports(python: Path, module: str) -> bool:
    try:
        done = subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0
