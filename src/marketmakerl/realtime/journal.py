"""The journal of a paper session: one JSON line an event, each chained to the one before it by a hash.

A line is {"seq", "ts_ns", "type", ..., "prev", "hash"}: `hash` is the BLAKE2b-128 of the line without it, `prev` the
hash of the line before ("" for the first), so nothing can be changed, left out or put in afterwards without its
showing; what was cut off the end shows by the missing line of type "close". Lines are flushed as they are written; a
session that is killed leaves at most its last line unfinished, and `read_journal` says so.
"""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING, Any, Self

import orjson

from marketmakerl.core.artifacts import to_json
from marketmakerl.core.errors import ArtifactError, DataFormatError, DataNotFoundError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class Journal:
    """Writes a journal. Use it as a context manager.

    Args:
        path: the file; it must not exist.

    Raises:
        ArtifactError: it exists, its folder cannot be written, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self._prev = ""
        self._size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise ArtifactError(f"cannot write the journal {path}: {error.strerror or error}") from error

    def write(self, kind: str, ts_ns: int, **fields: Any) -> None:
        """Append one line."""
        content = {"seq": self.lines, "ts_ns": ts_ns, "type": kind, **fields, "prev": self._prev}
        digest = _digest(content)
        line = to_json(content | {"hash": digest})
        try:
            if self._file.write(line) != len(line):  # a disk that is nearly full takes a part and says so only here
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
        except OSError as error:
            self._file.truncate(self._size)  # whole lines only
            raise ArtifactError(f"cannot write the journal {self.path}: {error.strerror or error}") from error
        self._size += len(line)
        self._prev = digest
        self.lines += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read a journal and check its chain.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: a line that is not JSON, out of sequence, or not chained to the one before.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataNotFoundError(f"no such journal: {path}") from error
    except OSError as error:
        raise DataFormatError(f"cannot read the journal {path}: {error.strerror or error}") from error
    lines: list[dict[str, Any]] = []
    prev = ""
    for number, raw in enumerate(content.splitlines(keepends=True)):
        try:
            line = orjson.loads(raw)
            digest = line.pop("hash")
            chained = line["seq"] == number and line["prev"] == prev and digest == _digest(line) and raw[-1:] == b"\n"
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise DataFormatError(
                f"{path}: line {number + 1} is not a journal line; was the session killed?"
            ) from error
        if not chained:
            raise DataFormatError(f"{path}: line {number + 1} is not chained to the line before it")
        lines.append(line)
        prev = digest
    return lines


def _digest(content: dict[str, Any]) -> str:
    return hashlib.blake2b(to_json(content), digest_size=16).hexdigest()
