"""Models of one's own by the place of their code: `path.py:name`, wherever a command takes the id of a model.

What is sent to worker processes and written into manifests is that text with the start of the file's SHA-256 behind
it, `path.py:name@0123456789abcdef`: whoever loads it later finds the same bytes or is refused. The page about models
of one's own is docs/custom-model.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.abc
import importlib.util
import inspect
import re
import sys
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numba
from numba.core.dispatcher import Dispatcher

from marketmakerl.core.checks import shown
from marketmakerl.core.errors import ConfigError, MarketMakerLError, ModelError, UnknownNameError
from marketmakerl.models.bar_calibration import BarEstimate
from marketmakerl.models.contract import QuoteContext, QuotingModel
from marketmakerl.models.custom import CustomModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Param = float | str
_NUMBA: Any = numba
_DISABLED: Final = bool(_NUMBA.config.DISABLE_JIT)

_FORM: Final = re.compile(r"(?P<path>.+\.py):(?P<name>[^\W\d]\w*)(?:@(?P<digest>[0-9a-f]{16}))?")
_DIGEST: Final = 16  # hexadecimal digits of a SHA-256 that name a file's bytes
_NAMES: Final = "DEFAULTS"  # of the file: its functions' parameters by name
_ESTIMATE: Final = "estimate"  # the first parameter of what makes a model
_OPTIONS: Final = ("horizon_s", "levels", "level_step_ticks", "grid_ticks")  # of a CustomModel
_EXECUTED: Final[dict[Path, _File]] = {}  # as they were last
_LOADED: Final[dict[tuple[str, str], _File]] = {}  # by path, as it was typed, and digest


@dataclass(frozen=True, eq=False)
class _File:
    """A file that was run.

    Attributes:
        module: what came of it.
        digest: start of the SHA-256 of its bytes, and of those of the modules beside it that it imports.
        source: its bytes.
        beside: the modules' files, with their bytes.
    """

    module: ModuleType
    digest: str
    source: bytes
    beside: dict[Path, bytes]

    def is_current(self, source: bytes) -> bool:
        """Return whether the file, and those beside it, are what they were."""
        try:
            return self.source == source and all(path.read_bytes() == then for path, then in self.beside.items())
        except OSError:
            return False


@dataclass(frozen=True)
class OwnModel:
    """Where a model's code stands.

    Attributes:
        path: the file, as it was typed.
        name: what in it is the model.
        digest: start of the SHA-256 of the file's bytes; "" where it is not known yet.
    """

    path: str
    name: str
    digest: str = ""

    @classmethod
    def of(cls, model_id: str) -> OwnModel:
        """Return what a text names.

        Raises:
            ConfigError: not of the form path.py:name.
        """
        found = _FORM.fullmatch(model_id.strip())
        if found is None:
            raise ConfigError(f"a model of your own is named path.py:name, e.g. quotes.py:leaning; got {model_id!r}")
        return cls(found["path"], found["name"], found["digest"] or "")

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" + (f"@{self.digest}" if self.digest else "")

    @property
    def label(self) -> str:
        """Return the name of file and model, without folder and digest."""
        return f"{Path(self.path).name}:{self.name}"


def is_own(model_id: str) -> bool:
    """Return whether a text names a model of one's own and no built-in one."""
    return ".py" in model_id


def pinned(model_id: str) -> str:
    """Return a model's id with the digest of its file behind it; a built-in model's as it is.

    Raises:
        ConfigError: no such file, one that cannot be loaded, or no such name in it.
    """
    if not is_own(model_id):
        return model_id
    own = OwnModel.of(model_id)
    if own.digest:
        return str(own)
    file = _load(own)
    _named(own, file)
    return str(replace(own, digest=file.digest))


def label_of(model_id: str) -> str:
    """Return what to call a model in tables: its id, of one's own file and name."""
    return OwnModel.of(model_id).label if is_own(model_id) else model_id


def moved(model_id: str, to: str) -> str:
    """Return a recorded model of one's own as it is named where its file lies now; it must be the same file.

    Raises:
        ConfigError: another model.
    """
    new = OwnModel.of(to)
    if not is_own(model_id) or OwnModel.of(model_id).name != new.name:
        raise ConfigError(f"the run to repeat traded {model_id}, not {to}; leave out --model")
    return str(replace(new, digest=OwnModel.of(model_id).digest))


def record_of(model_id: str, model: QuotingModel) -> dict[str, Any]:
    """Return a model's parameters for the record, JSON-ready: of one's own model also its file, name and digest."""
    if not is_own(model_id):
        return model.as_dict()
    own = OwnModel.of(model_id)
    return {**model.as_dict(), "file": own.path, "name": own.name, "digest": own.digest}


def own_model(
    model_id: str,
    estimate: BarEstimate | None,
    *,
    fixed: Mapping[str, Param] | None = None,
    session: Mapping[str, float] | None = None,
) -> QuotingModel:
    """Load a model of one's own.

    What the name in the file stands for:

    - a quoting model: it is taken as it is; `fixed` sets its fields.
    - a class, or a Python function whose first parameter is called `estimate`: it is called and makes the model, or
      its quote function. `fixed` are its other arguments, and `session` those of them that it has a place for.
    - any other function, compiled by njit or not, is the quote function. `fixed` sets its `params`: by the names of
      the file's DEFAULTS, or by their numbers.

    Args:
        model_id: path.py:name, with or without a digest.
        estimate: of the market; None: it comes out of `fixed`, for what needs one.
        fixed: parameters by name.
        session: horizon_s and inventory_range.

    Raises:
        ConfigError: no such file or name, one that is no model, or a file that has changed since the digest.
        UnknownNameError: no such parameter.
        ModelError: what makes the model raised an exception.
    """
    own = OwnModel.of(model_id)
    file = _LOADED.get((own.path, own.digest)) or _load(own)
    _check_same(own, file)
    what, given = _named(own, file), dict(fixed or {})
    if isinstance(what, QuotingModel):
        model = _changed(own, file, what, given)
    elif isinstance(what, type) or _makes_a_model(what):
        model = _made(own, file, what, estimate, given, session or {})
    else:
        model = _of_function(own, file, what, given)
    if not getattr(model, "is_python", False) and not isinstance(model.kernel, Dispatcher) and not _DISABLED:
        raise ConfigError(
            f"{own.label}: kernel must be a property that returns what njit made, got {shown(model.kernel)}"
        )
    return model


def check_unchanged(model_id: str) -> None:
    """Refuse a model of one's own whose file is not the one it was.

    That is for before work starts: once loaded, a file may be edited while the work goes on, and the work goes on with
    what was loaded.

    Raises:
        ConfigError: it has changed, or is no more.
    """
    if is_own(model_id):
        own = OwnModel.of(model_id)
        _check_same(own, _load(own))


def _check_same(own: OwnModel, file: _File) -> None:
    if own.digest and own.digest != file.digest:
        raise ConfigError(
            f"{own.path}, or a module beside it, has changed: the SHA-256 begins with {file.digest}, {own.digest} "
            f"was asked for; bring back what it was, or start anew with --model {own.path}:{own.name}"
        )


def _named(own: OwnModel, file: _File) -> Any:
    """Return what the name stands for."""
    public = {name: value for name, value in vars(file.module).items() if not name.startswith("_")}
    if own.name not in vars(file.module):
        here = [name for name, value in public.items() if callable(value) or isinstance(value, QuotingModel)]
        raise UnknownNameError(f"model in {own.path}:", own.name, here)
    what = vars(file.module)[own.name]
    if not isinstance(what, QuotingModel) and not callable(what):
        raise ConfigError(
            f"{own.path}: {own.name} is no model but {type(what).__name__}; name a function (context, params) -> "
            "(bid, ask), a quoting model, or what makes one of an estimate"
        )
    return what


def _makes_a_model(what: Any) -> bool:
    return not hasattr(what, "py_func") and _parameters(what)[:1] == [_ESTIMATE]


def _parameters(what: Any) -> list[str]:
    """Return the names of a callable's parameters."""
    try:
        return list(inspect.signature(what).parameters)
    except (TypeError, ValueError):
        return []


def _made(
    own: OwnModel, file: _File, make: Any, estimate: BarEstimate | None, given: dict[str, Param],
    session: Mapping[str, float],
) -> QuotingModel:  # fmt: skip
    """Call what makes the model."""
    names = _parameters(make)
    arguments: list[Any] = []
    if names[:1] == [_ESTIMATE]:
        names = names[1:]
        arguments = [estimate or _estimate(own, given, names)]
    open_ended = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in inspect.signature(make).parameters.values())
    for name in given:
        if name not in names and not open_ended:
            raise UnknownNameError(f"parameter of {own.label}", name, names)
    more = {name: value for name, value in session.items() if name in names and name not in given}
    try:
        made = make(*arguments, **more, **given)
    except MarketMakerLError:
        raise
    except Exception as error:
        raise ModelError(f"{own.path}:{own.name} could not make a model: {_told(error, own)}") from error
    if isinstance(made, QuotingModel):
        return made
    if not callable(made):
        raise ConfigError(f"{own.path}:{own.name} must make a quoting model or a quote function, it made {shown(made)}")
    return _of_function(own, file, made, {})


def _estimate(own: OwnModel, given: dict[str, Param], names: list[str]) -> BarEstimate:
    """Take an estimate out of the parameters that were given."""
    numbers = {}
    for name in ("sigma", "k", "arrival_rate"):
        if name not in given:
            raise ConfigError(
                f"{own.label} makes a model of an estimate of the market: add --param sigma=number (price / sqrt(s)), "
                "--param k=number (1 / price) and --param arrival_rate=number (orders a second)"
            )
        value = given[name] if name in names else given.pop(name)
        if isinstance(value, str):
            raise ConfigError(f"{own.label}: {name} must be a number, got {value!r}")
        numbers[name] = value
    return BarEstimate(**numbers, bars=0)


def _of_function(own: OwnModel, file: _File, function: Any, given: dict[str, Param]) -> QuotingModel:
    """Return the model of a quote function, its `params` set by name or number."""
    is_function = hasattr(function, "py_func") or inspect.isfunction(function)  # an object has places of its own
    named = _defaults(own, file) if is_function else {}
    options = {name: given.pop(name) for name in _OPTIONS if name in given and name not in named}
    values = _values(own, named, (), given)
    model = CustomModel(function, values, **options)  # type: ignore[arg-type]
    _check_reads(own, model)
    return model


def _changed(own: OwnModel, file: _File, model: QuotingModel, given: dict[str, Param]) -> QuotingModel:
    """Return a model with some of its parameters set otherwise."""
    if isinstance(model, CustomModel):
        options = {name: given.pop(name) for name in _OPTIONS if name in given}
        defaults = _defaults(own, file) if len(_defaults(own, file)) == len(model.values) else {}
        values = _values(own, dict(zip(defaults, model.values, strict=False)), model.values, given)
        changed = replace(model, values=values, **options)  # type: ignore[arg-type]
        _check_reads(own, changed)
        return changed
    known = [item.name for item in fields(model) if item.init] if is_dataclass(model) else []
    for name in given:
        if name not in known:
            raise UnknownNameError(f"parameter of {own.label}", name, known)
    return replace(model, **given) if given else model


def _defaults(own: OwnModel, file: _File) -> dict[str, float]:
    """Return the parameters that the file gives names to."""
    found = getattr(file.module, _NAMES, {})
    try:
        return {str(name): float(value) for name, value in found.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(
            f'{own.path}: {_NAMES} must be a dict of names and numbers, e.g. {{"half_spread": 2.0}}, got {shown(found)}'
        ) from None


def _values(
    own: OwnModel, named: Mapping[str, float], values: Any, given: Mapping[str, Param]
) -> tuple[float, ...]:  # fmt: skip
    """Return a function's `params`: those named, or numbered, some set otherwise."""
    numbers = dict(enumerate(named.values() if named else values))
    names = list(named)
    for name, value in given.items():
        if isinstance(value, str):
            raise ConfigError(f"{own.label}: parameter {name} must be a number, got {value!r}")
        if name in names:
            numbers[names.index(name)] = value
        elif name.isdecimal() and (not names or int(name) < len(names)):
            numbers[int(name)] = value
        else:
            hint = "" if names else f"(number them, e.g. --param 0=1.5, or name them in {_NAMES}; docs/custom-model.md)"
            raise UnknownNameError(f"parameter of {own.label}", name, [*names, *_OPTIONS], hint)
    if missing := set(range(max(numbers, default=-1) + 1)) - set(numbers):
        raise ConfigError(f"{own.label}: params are numbered from 0 on; add --param {min(missing)}=number")
    return tuple(numbers[i] for i in range(len(numbers)))


def _check_reads(own: OwnModel, model: CustomModel) -> None:
    """Refuse a compiled function that reads more params than there are: compiled code would read what lies behind."""
    if model.is_python:
        return
    context = QuoteContext(100.0, best_bid=99.5, best_ask=100.5, tick_size=0.1).record(model.session_s)
    try:
        model.function.py_func(context, model.params())  # type: ignore[attr-defined]
    except IndexError as error:
        raise ConfigError(
            f"{own.label} reads more params than the {len(model.values)} it is given: set them (--param 0=1.5), or "
            f"name them in the file ({_NAMES} = {{...}})"
        ) from error
    except Exception:  # noqa: BLE001, S110  (what else it raises it may raise while it trades, and then it is told)
        pass


def _load(own: OwnModel) -> _File:
    """Load the file as it is now, or return it from before if it is the same."""
    path = Path(own.path).expanduser()
    try:
        path, source = path.resolve(), path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {own.path}: {error.strerror or error} (--model path.py:name)") from error
    file = _EXECUTED.get(path)
    if file is None or not file.is_current(source):
        file = _EXECUTED[path] = _executed(own, path, source)
    _LOADED[own.path, file.digest] = file
    return file


class _Source(importlib.abc.ExecutionLoader):
    """Loads a module from the bytes of its file that were hashed, whatever the file holds by now."""

    def __init__(self, path: Path, source: bytes) -> None:
        self._path, self._source = path, source

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002  (it loads one module)
        return str(self._path)

    def get_source(self, fullname: str) -> str:  # noqa: ARG002
        return importlib.util.decode_source(self._source)


def _executed(own: OwnModel, path: Path, source: bytes) -> _File:
    """Run the file as a module of its own, with the modules beside it within its reach, and within its alone."""
    digest = hashlib.sha256(source)
    module = ModuleType(f"_own_{path.stem}_{digest.hexdigest()[:_DIGEST]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look for the names of annotations
    beside: dict[str, Path] = {}
    try:
        with _folder_on_path(path.parent, beside), contextlib.redirect_stdout(sys.stderr):
            _Source(path, source).exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise ConfigError(f"{own.path} cannot be loaded: {_told(error, own)}") from error
    files = {path: path.read_bytes() for _, path in sorted(beside.items())}
    if files:
        parts = [digest.hexdigest(), *(hashlib.sha256(file).hexdigest() for file in files.values())]
        digest = hashlib.sha256("\n".join(parts).encode())
    return _File(module, digest.hexdigest()[:_DIGEST], source, files)


@contextlib.contextmanager
def _folder_on_path(folder: Path, beside: dict[str, Path]) -> Iterator[None]:
    """Let imports find modules of a folder, after all others, and forget them again; `beside` gathers which they were.

    Searched last, they stand in nobody's way; forgotten, they stand in for none of the same name elsewhere.
    """
    known, wrote = set(sys.modules), sys.dont_write_bytecode
    there_before = folder in {Path(entry).resolve() for entry in sys.path}
    sys.path.append(str(folder))
    sys.dont_write_bytecode = True  # bytecode is told from its source by the second, and would outlive a quick edit
    importlib.invalidate_caches()
    try:
        yield
    finally:
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(str(folder))]
        sys.dont_write_bytecode = wrote
        for name in set(sys.modules) - known:
            if file := _file_beside(folder, name):
                beside[name] = file
                if not there_before:
                    del sys.modules[name]


def _file_beside(folder: Path, name: str) -> Path | None:
    """Return the file of a module if it is one of those that stand in a folder, or in a package there."""
    top, file = name.partition(".")[0], getattr(sys.modules[name], "__file__", None)
    if top == __name__.partition(".")[0] or not file:
        return None
    path = Path(file).resolve()
    return path if path == folder / f"{top}.py" or path.is_relative_to(folder / top) else None


def _told(error: BaseException, own: OwnModel) -> str:
    """Return what was raised, and in which line of the file, on one line."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    line, frame = 0, error.__traceback__
    while frame is not None:
        if Path(frame.tb_frame.f_code.co_filename).name == Path(own.path).name:
            line = frame.tb_lineno
        frame = frame.tb_next
    return " ".join(text.split()) + (f" (line {line})" if line else "")
