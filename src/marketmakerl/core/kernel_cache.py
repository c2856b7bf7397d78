"""Where compiled kernels are kept: those that came with the package first, then the user's own.

A kernel is valid for the sources it was made of: its own module and all that this imports of this package, and so on
(`stamp_of`). Anything else may be edited and the kernel stays. The folders are named by module, not by where the
checkout lies, so kernels can travel: from an image layer, a wheel, another checkout.

A cache never breaks a run. A folder that is missing, full, read-only or holds rubbish is as good as none: what is
needed is compiled in memory, and a command says so once, on stderr.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import numba

from marketmakerl.core import compile_less, first_use, kernel_format

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_ROOT: Final = _PACKAGE.parent
SHIPPED: Final = _PACKAGE / "kernels"  # read only, made when an image or a wheel is built
KEPT: Final = 3  # versions of a module's kernels: another checkout, another branch
_IMPORT = re.compile(
    r"^(?:from\s+(marketmakerl[\w.]*)\s+import\s+(\([^)]*\)|[^\n]*)|import\s+(marketmakerl[\w.]*))", re.MULTILINE
)
_ENGINE: Final = "backtesting"  # the room whose kernels take long


def user_folder() -> Path | None:
    """Return where a user's kernels are kept: $NUMBA_CACHE_DIR, else the user's cache; None where there is no home."""
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(named)
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no HOME, and nobody knows this user
        return None
    return base / "marketmakerl" / "numba"


def _file_of(module: str) -> Path | None:
    path = _ROOT.joinpath(*module.split("."))
    for found in (path.with_suffix(".py"), path / "__init__.py"):
        if found.is_file():
            return found
    return None


@functools.cache
def _read(path: Path) -> tuple[bytes, tuple[Path, ...]]:
    """Return a digest of a source file, and the files of the package that it imports when it is imported itself."""
    text = path.read_bytes()
    imports: list[Path] = []
    for source, names, plain in _IMPORT.findall(text.decode("utf-8", "replace")):
        module = source or plain
        parts = [module] + [f"{module}.{name.split(' as ')[0].strip()}" for name in names.strip("()").split(",")]
        imports += [found for part in parts if (found := _file_of(part)) is not None]
    return hashlib.blake2b(text, digest_size=16).digest(), tuple(imports)


@functools.cache
def stamp_of(path: Path) -> str:
    """Return a digest of a source file, of all of this package that it imports, and of numba's version."""
    seen, waiting = {path}, [path]
    while waiting:
        for found in _read(waiting.pop())[1]:
            if found not in seen:
                seen.add(found)
                waiting.append(found)
    digest = hashlib.blake2b(f"{numba.__version__} {compile_less.is_known()}".encode(), digest_size=8)
    for name, content in sorted((_name_of(one), _read(one)[0]) for one in seen):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


def _name_of(path: Path) -> str:
    """Return a name for a source file that does not depend on where the package lies."""
    if path.is_relative_to(_ROOT):
        return path.relative_to(_ROOT).with_suffix("").as_posix()
    return f"elsewhere/{path.stem}-{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"


def keep_in(dispatcher: Any) -> None:
    """Let a dispatcher of numba look for its code in our folders, and keep it there."""
    dispatcher._cache = _Chain(dispatcher.py_func)  # noqa: SLF001


@functools.cache
def _locators() -> tuple[Any, Any]:
    """Return where numba's machinery is to look: imported late, for it imports a lot."""
    from numba.core.caching import _CacheLocator  # noqa: PLC0415

    class Locator(_CacheLocator):
        base: Path = SHIPPED

        def __init__(self, py_func: Any, path: Path) -> None:
            self._path, self._line = path, py_func.__code__.co_firstlineno

        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> Any:
            path = Path(py_file)
            return cls(py_func, path) if path.is_file() else None

        def get_cache_path(self) -> str:
            return str(self.base / _name_of(self._path) / stamp_of(self._path))

        def get_source_stamp(self) -> str:
            return stamp_of(self._path)

        def get_disambiguator(self) -> str:
            return str(self._line)

        def ensure_cache_path(self) -> None:
            folder = Path(self.get_cache_path())
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                _forget_old(folder.parent)

    class UserLocator(Locator):
        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> Any:
            base = user_folder()
            locator = super().from_function(py_func, py_file) if base is not None else None
            if locator is not None:
                locator.base = base
            return locator

    return Locator, UserLocator


@functools.cache
def _classes() -> tuple[Any, Any]:
    """Return numba's caches over our folders: those that came with the package, and the user's."""
    from numba.core import runtime  # noqa: PLC0415
    from numba.core.caching import CompileResultCacheImpl, FunctionCache  # noqa: PLC0415

    shipped, user = _locators()
    quick = compile_less.is_known()

    class Packing(CompileResultCacheImpl):
        def reduce(self, cres: Any) -> Any:
            return kernel_format.pack(cres) if quick else super().reduce(cres)  # type: ignore[no-untyped-call]

        def rebuild(self, target_context: Any, payload: Any) -> Any:
            if quick:
                return kernel_format.unpack(target_context, payload)
            return super().rebuild(target_context, payload)  # type: ignore[no-untyped-call]

    class ShippedImpl(Packing):
        _locator_classes = [shipped]  # noqa: RUF012

    class UserImpl(Packing):
        _locator_classes = [user]  # noqa: RUF012

    class Ready(FunctionCache):
        def load_overload(self, sig: Any, target_context: Any) -> Any:
            # numba's own first loads all that compiling needs, a third of a second. What is compiled already needs only
            # the memory manager, and whoever compiles later loads the rest himself.
            if not quick:
                return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
            memory: Any = runtime
            memory.rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]

    class Shipped(Ready):
        _impl_class: Any = ShippedImpl

    class User(Ready):
        _impl_class: Any = UserImpl

    return Shipped, User


def _forget_old(folder: Path) -> None:
    """Keep only the newest versions of a module's kernels."""
    versions = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in versions[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


class _Chain:
    """What numba asks of a cache: the first that has it gives it, the last keeps it.

    Nothing is looked up before it is asked for: most functions are only ever called by other compiled ones.
    """

    def __init__(self, py_func: Any) -> None:
        self._py_func, self._writes = py_func, True

    @functools.cached_property
    def _caches(self) -> list[Any]:
        caches = []
        for kind, there in zip(_classes(), (SHIPPED.is_dir(), user_folder() is not None), strict=True):
            if there:
                try:
                    caches.append(kind(self._py_func))
                except (RuntimeError, OSError):  # a function of no file, such as one typed into a notebook
                    continue
        if user_folder() is None:
            first_use.tell("compiled code cannot be kept: there is no home folder (NUMBA_CACHE_DIR names another)")
            self._writes = False
        self._writes = self._writes and bool(caches)
        return caches

    @property
    def cache_path(self) -> str | None:
        return str(self._caches[-1].cache_path) if self._caches else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if compile_less.is_inner_call():
            return None
        for cache in self._caches:
            try:
                found = cache.load_overload(sig, target_context)
            except Exception:  # noqa: BLE001, S112  (rubbish in a file may raise anything)
                continue
            if found is not None:
                return found
        if Path(self._py_func.__code__.co_filename).is_relative_to(_PACKAGE / _ENGINE):
            first_use.tell("compiling the engine for the first time with these sources, which takes about a minute")
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if compile_less.is_inner_call() or not self._caches or not self._writes:
            return
        try:
            try:
                self._caches[-1].save_overload(sig, data)
            except OSError:
                raise
            except Exception:  # noqa: BLE001  (rubbish in the index: begin it anew)
                self.flush()
                self._caches[-1].save_overload(sig, data)
        except OSError as error:
            self._writes = False
            first_use.tell(
                f"compiled code cannot be kept in {user_folder()}: {error.strerror or error}; this run goes on, and "
                "the next will compile again (NUMBA_CACHE_DIR names another folder)"
            )

    def enable(self) -> None:
        """Do as numba's own."""

    def disable(self) -> None:
        """Do as numba's own."""

    def flush(self) -> None:
        """Forget what this function has kept."""
        if self._caches:
            self._caches[-1].flush()
