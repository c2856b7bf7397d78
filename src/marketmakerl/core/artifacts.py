"""Artifacts: files that are either whole or absent, and the manifest that says how to make them again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from marketmakerl.core.clock import NS_PER_MS, Clock, iso_utc
from marketmakerl.core.errors import ArtifactError, ConfigError, DataFormatError, DataNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

MANIFEST_SCHEMA = 1
_JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS
_RECORDED_PACKAGES = ("marketmakerl", "numpy", "numba", "llvmlite", "scipy", "pandas", "pyarrow", "ccxt")


def to_json(value: Any, *, indent: bool = False) -> bytes:
    """Return `value` as JSON: sorted keys, NaN and infinity as null, one trailing newline."""
    return orjson.dumps(
        value, option=_JSON_OPTIONS | orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if indent else 0)
    )


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader, or a power cut, sees the old file or the new one and nothing else.

    Raises:
        ArtifactError: the folder cannot be written, or the disk is full. Nothing is left behind.
    """
    write_atomic_parts(path, [content])


def write_atomic_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write the parts one after the other, as `write_atomic` would write them joined.

    Raises:
        ArtifactError: the folder cannot be written, or the disk is full. Nothing is left behind.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        # NamedTemporaryFile makes private files; artifacts are for reading.
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}: {error.strerror or error}; free the space or name another folder (--artifacts)"
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomic(path, to_json(value, indent=True))


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON document a line, atomically."""
    write_atomic(path, b"".join(to_json(row) for row in rows))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataNotFoundError: it is not there.
        DataFormatError: it is not JSON.
    """
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataNotFoundError(f"no such file: {path}") from error
    except (orjson.JSONDecodeError, IsADirectoryError) as error:
        raise DataFormatError(f"{path} is not JSON: {error}") from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON document a line.

    Raises:
        DataNotFoundError: it is not there.
        DataFormatError: a line is not JSON.
    """
    try:
        return [orjson.loads(line) for line in path.read_bytes().splitlines() if line]
    except FileNotFoundError as error:
        raise DataNotFoundError(f"no such file: {path}") from error
    except (orjson.JSONDecodeError, OSError) as error:
        raise DataFormatError(f"{path} is not a table of JSON lines: {error}") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_hash(config: Any) -> str:
    """Return 8 hexadecimal digits that name a configuration: equal configurations, equal names."""
    return hashlib.blake2b(to_json(config), digest_size=4).hexdigest()


def git_commit() -> str:
    """Return the commit this code was built from, "-dirty" appended if it was changed since; "unknown" outside git.

    An image has no repository inside; its build or its start passes MML_GIT_COMMIT.
    """
    if commit := os.environ.get("MML_GIT_COMMIT"):
        return commit
    source = Path(__file__).resolve().parent
    command = ["git", "-C", str(source), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def source_hash() -> str:
    """Return a hash of this package's own source: "dirty" says that it was changed, and this says into what."""
    digest = hashlib.blake2b(digest_size=8)
    package = Path(__file__).resolve().parent.parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def environment() -> dict[str, Any]:
    """Return what a result may depend on besides its inputs: versions, interpreter and CPU model."""
    packages = {}
    for name in _RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    return {
        "git_commit": git_commit(),
        "source": source_hash(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "packages": packages,
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def manifest(
    kind: str,
    run_id: str,
    config: dict[str, Any],
    data: list[dict[str, Any]],
    tier: str,
    clock: Clock,
    made_by: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the manifest of a run: everything needed to make it again.

    Args:
        kind: what was run, e.g. "campaign".
        run_id: the name of its folder.
        config: the full configuration, seeds included.
        data: one entry a data set: exchange, symbol, kind, timeframe, sha256, rows, first, last, tier.
        tier: the lowest tier of the data used (T1, T2, ...).
        clock: where the creation time comes from.
        made_by: what `environment` said, if it has been asked already: it reads every source.
    """
    return {
        "schema": MANIFEST_SCHEMA,
        "kind": kind,
        "run_id": run_id,
        "created_at": iso_utc(clock.now_ns()),
        "tier": tier,
        "config": config,
        "data": data,
        "environment": made_by or environment(),
    }


def new_run_folder(home: Path, name: str, clock: Clock) -> Path:
    """Make and return the folder of a new run, `<UTC time>-<name>`, so that the last name is the latest run.

    Raises:
        ArtifactError: the folder cannot be made.
    """
    now_ns = clock.now_ns()
    while True:
        folder = home / f"{re.sub(r'[-:.]', '', iso_utc(now_ns))}-{name}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():  # a file stands in the way, here or further up
                raise ArtifactError(f"cannot write to the artifacts folder {home}: not a folder") from None
            now_ns += NS_PER_MS  # another run of this name began in the same millisecond
        except OSError as error:
            raise ArtifactError(
                f"cannot write to the artifacts folder {home}: {error.strerror or error}; name another (--artifacts)"
            ) from error
        else:
            return folder


def run_folder(artifacts: Path, kind: str, run: str) -> Path:
    """Resolve RUN (a folder, a run id, or "latest") to the folder of one run of `kind`.

    Raises:
        DataNotFoundError: there is no such run.
        ConfigError: RUN is empty.
    """
    if not run:
        raise ConfigError("name a run: a folder, a run id, or latest")
    if (Path(run) / "manifest.json").is_file():
        return Path(run)
    home = artifacts / kind
    # Run ids begin with their UTC time, so the last name is the latest run.
    runs = sorted(folder.parent for folder in home.glob("*/manifest.json")) if home.is_dir() else []
    for folder in reversed(runs):
        if run in {"latest", folder.name}:
            return folder
    raise DataNotFoundError(f"no {kind} run {run!r} under {home} ({len(runs)} there); start one: mml {kind} -n 10")
