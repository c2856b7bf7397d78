"""What the numbers were measured on: processor, memory, load and versions."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_PACKAGES = ("marketmakerl", "hftbacktest", "nautilus_trader", "numba", "llvmlite", "numpy")
_VERSIONS = f"""
import json, platform
from importlib import metadata
found = {{"python": platform.python_version()}}
for name in {_PACKAGES!r}:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def _field(path: str, name: str) -> str | None:
    """Return the first `name : value` of a file of /proc."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)


def versions(python: Path | str) -> dict[str, str]:
    """Return the versions that one interpreter would import."""
    done = subprocess.run([str(python), "-c", _VERSIONS], capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def commit(root: Path) -> str | None:
    """Return the commit under test, with "-dirty" where the tree differs from it."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def machine(root: Path) -> dict[str, Any]:
    """Return what a reader needs to judge the absolute numbers; the ratios travel better."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "load_at_start": [round(load, 2) for load in os.getloadavg()],
        "commit": commit(root),
        "ours": versions(sys.executable),
    }
