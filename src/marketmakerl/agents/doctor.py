"""What `mml doctor` looks at. Nothing is changed; a probe file is written and removed."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from marketmakerl.core import kernel_cache
from marketmakerl.core.artifacts import write_atomic
from marketmakerl.core.errors import ArtifactError, MarketMakerLError
from marketmakerl.core.pool import default_processes
from marketmakerl.data.catalog import Catalog

_GIB = 1024**3
_LOW_DISK_GIB = 2.0


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what.
        ok: whether it is as it should be.
        needed: whether anything fails without it.
        found: what is there.
        remedy: what to do if it is not ok.
    """

    name: str
    ok: bool
    needed: bool
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def examine(artifacts: Path, data: Path, paper_only: str) -> list[Check]:
    """Look at everything a user may stumble over."""
    # Inside the image only what the image is for matters: engine, git and browser are the host's affair.
    outside = (
        []
        if Path("/.dockerenv").exists()
        else [
            _docker(),
            _tool("git", "manifests name the commit only where git is: apt-get install git"),
            _tool("chromium", "only the report's browser test uses it: apt-get install chromium"),
        ]
    )
    return [
        Check("python", sys.version_info >= (3, 11), True, platform.python_version(), "install Python 3.11 or newer"),
        Check("processors", True, False, str(default_processes())),
        _packages(),
        _writable("artifacts", artifacts),
        _writable("kernels", kernel_cache.user_folder() or Path("no home folder")),
        _disk(artifacts),
        *outside,
        _catalog(data),
        _extra("rl", "stable_baselines3"),
        Check("safety", True, True, f"PAPER_ONLY={paper_only}; no order gateway exists in this program"),
    ]


def _packages() -> Check:
    missing = []
    try:
        requirements = metadata.requires("marketmakerl") or []
    except metadata.PackageNotFoundError:
        return Check("packages", False, True, "marketmakerl itself is not installed", "make setup")
    for requirement in requirements:
        name = requirement.split(";")[0].split(">")[0].split("=")[0].strip()
        if "extra ==" not in requirement:
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                missing.append(name)
    found = "all present" if not missing else f"missing: {', '.join(missing)}"
    return Check("packages", not missing, True, found, "make setup")


def _writable(name: str, folder: Path) -> Check:
    probe = folder / f".probe-{os.getpid()}"
    try:
        write_atomic(probe, b"")
        probe.unlink()
    except (ArtifactError, OSError) as error:
        return Check(name, False, True, str(error), "make the folder writable or name another")
    return Check(name, True, True, str(folder))


def _disk(folder: Path) -> Check:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free / _GIB
    return Check("disk", free >= _LOW_DISK_GIB, False, f"{free:.1f} GiB free", "free some space for data and results")


def _docker() -> Check:
    remedy = "start Docker, or go on with RUNTIME=local"
    if not shutil.which("docker"):
        return Check("docker", False, False, "no client", remedy)
    try:
        command = ["docker", "info", "--format", "{{.ServerVersion}}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        return Check("docker", False, False, str(error), remedy)
    version = done.stdout.strip()
    return Check("docker", done.returncode == 0, False, f"engine {version}" if version else "no engine answers", remedy)


def _tool(name: str, remedy: str) -> Check:
    path = shutil.which(name)
    return Check(name, path is not None, False, path or "not found", remedy)


def _catalog(data: Path) -> Check:
    remedy = "synthetic data work without; DATA=<folder> points at recorded ones"
    try:
        found = Catalog(data).data_sets
    except MarketMakerLError as error:
        return Check("data", False, False, str(error), remedy)
    return Check("data", bool(found), False, f"{len(found)} data sets under {data}", remedy)


def _extra(name: str, module: str) -> Check:
    present = importlib.util.find_spec(module) is not None
    return Check(f"extra [{name}]", present, False, "present" if present else "absent", f"pip install '.[{name}]'")
