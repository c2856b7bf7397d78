"""Halting a paper session from outside its process, and resetting its breakers: by a file beside the journal.

`mml halt` writes the file, the session takes it at once (it looks every half second, also while it waits), acts, and
writes who asked and why into the journal. Nothing is said to a session that has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from marketmakerl.core.artifacts import to_json, write_atomic
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

LOOK_S: Final = 0.5
HALT, RESET = "halt", "reset"


@dataclass(frozen=True)
class Override:
    """What a person asks of a session.

    Attributes:
        action: "halt" or "reset".
        who: who asks.
        why: for what reason.
    """

    action: str
    who: str
    why: str


def find_session(artifacts: Path, session: str) -> Path:
    """Resolve SESSION (a journal, its name, or "latest") to a journal that is still being written.

    Raises:
        DataNotFoundError: there is no such journal.
        ConfigError: its session has ended, so there is nothing to halt.
        DataFormatError: it is no journal.
    """
    from pathlib import Path as _Path  # noqa: PLC0415

    home = artifacts / "realtime"
    path = _Path(session)
    if not path.is_file():
        found = sorted(home.glob("*.jsonl")) if home.is_dir() else []
        chosen = [one for one in found if session in ("latest", one.name, one.stem)]
        if not chosen:
            raise DataNotFoundError(f"no paper session {session!r} under {home} ({len(found)} journals there)")
        path = chosen[-1]
    if _last_type(path) == "close":
        raise ConfigError(f"the session of {path} has ended: there is nothing to halt")
    return path


def _last_type(path: Path) -> str:
    """Return the type of a journal's last whole line.

    A halt does not wait for proof: a line that is being written, or a chain that is broken, is no reason to refuse it.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
        whole = lines[: -1 if lines and not lines[-1].endswith(b"\n") else None]
        first, last = (orjson.loads(whole[i]) for i in (0, -1))
        if first["type"] == "open":
            return str(last["type"])
    except OSError as error:
        raise DataFormatError(f"cannot read the journal {path}: {error.strerror or error}") from error
    except (orjson.JSONDecodeError, IndexError, KeyError, TypeError):
        pass
    raise DataFormatError(f"{path} is not the journal of a paper session")


def ask(journal: Path, override: Override) -> Path:
    """Leave an override for a session to take; return the file.

    Raises:
        ConfigError: nobody, or no reason, is named.
        ArtifactError: the file cannot be written.
    """
    if not override.who.strip() or not override.why.strip():
        raise ConfigError("an override names who asks for it (--who) and why (--why)")
    path = _file(journal)
    write_atomic(path, to_json({"action": override.action, "who": override.who, "why": override.why}))
    return path


def take(journal: Path) -> Override | None:
    """Take the override that lies there, if one does.

    Raises:
        DataFormatError: it is none; it is taken away all the same.
    """
    path = _file(journal)
    # Moved away first: one that is asked for while this one is read lies there for the next time.
    taken = path.with_suffix(".taken")
    try:
        path.replace(taken)
        content = taken.read_bytes()
        taken.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataFormatError(f"cannot take {path}: {error.strerror or error}") from error
    try:
        asked = orjson.loads(content)
        override = Override(asked["action"], asked["who"], asked["why"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise DataFormatError(f"{path} is no override; use mml halt") from error
    if override.action not in (HALT, RESET):
        raise DataFormatError(f"{path} asks for {override.action!r}; there are {HALT} and {RESET}")
    if not all(isinstance(text, str) and text.strip() for text in (override.who, override.why)):
        raise DataFormatError(f"{path} does not say who asks and why; use mml halt")
    return override


def _file(journal: Path) -> Path:
    return journal.with_suffix(".override.json")
