"""`njit` for the whole package: one set of compiler options, one on-disk cache that cannot go stale.

numba keys a cached function on its own source file only, so a helper edited in another file would leave a stale
kernel behind. The cache folder therefore carries a hash of every source file of the rooms that hold compiled code.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

# numba's own annotations know neither its settings nor a signature that may be absent.
_NUMBA: Any = numba
_CONFIG: Any = numba.config
_PACKAGE = Path(__file__).resolve().parent.parent


def _source_hash() -> str:
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    sources = {path: path.read_bytes() for path in sorted(_PACKAGE.rglob("*.py"))}
    # A constant that compiled code froze may stand in any file of its room: the whole room counts.
    rooms = {path.relative_to(_PACKAGE).parts[0] for path, text in sources.items() if b"core.jit import" in text}
    for path, text in sources.items():
        name = path.relative_to(_PACKAGE)
        if name.parts[0] in rooms:
            digest.update(name.as_posix().encode() + b"\0" + text)
    return digest.hexdigest()


def _cache_dir() -> str:
    """Return a writable folder: $NUMBA_CACHE_DIR, else the user's cache, else a private temporary folder."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    wanted = [os.environ.get("NUMBA_CACHE_DIR"), f"{user_cache}/marketmakerl/numba"]
    for base in (Path(item).expanduser() for item in wanted if item):
        folder = base / _source_hash()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    return tempfile.mkdtemp(prefix="mml-numba-")


CACHE_DIR = _cache_dir()


def njit(signature: Any = None, **options: Any) -> Callable[[F], F]:
    """Compile to machine code, cached on disk; with a signature, at import and never again.

    Args:
        signature: a numba signature (eager) or None (compiled at the first call of each type).
        options: passed to `numba.njit`. `fastmath` stays off: results must not depend on how a loop is vectorised.

    With NUMBA_DISABLE_JIT=1 the function is returned unchanged and runs as plain Python.
    """

    def decorate(function: F) -> F:
        # Only our functions live under our folder: a caller's own numba cache stays where the caller put it.
        before = _CONFIG.CACHE_DIR
        _CONFIG.CACHE_DIR = CACHE_DIR
        try:
            args = () if signature is None else (signature,)
            compiled: F = _NUMBA.njit(*args, cache=True, error_model="numpy", **options)(function)
        finally:
            _CONFIG.CACHE_DIR = before
        return compiled

    return decorate


def by_kind(kinds: Mapping[type, Any], kind: Any) -> Any:
    """Return which of `kinds` (a NamedTuple class each) implements an overload for an argument of numba type `kind`."""
    return kinds.get(getattr(kind, "instance_class", type(None)))
