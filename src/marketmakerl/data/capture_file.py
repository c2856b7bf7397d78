"""The bytes of a capture, plain, gzip or zip, in pieces that end where a line ends."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from isal import igzip

from marketmakerl.core.errors import DataFormatError, DataNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from marketmakerl.data.import_report import ImportReport

PIECE: Final = 1 << 24
MAX_LINE: Final = 1 << 26  # no exchange sends a message of 64 MiB
_DAMAGED = (EOFError, zlib.error, igzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a capture for reading, whatever it is packed in (told by its first bytes).

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: unreadable, or a zip that does not hold exactly one file.
    """
    with contextlib.ExitStack() as stack:
        try:
            raw = stack.enter_context(path.open("rb"))
            magic = raw.read(4)
            raw.seek(0)
            if magic[:2] == b"\x1f\x8b":
                yield stack.enter_context(cast("Any", igzip).GzipFile(fileobj=raw))
            elif magic == b"PK\x03\x04":
                archive = stack.enter_context(zipfile.ZipFile(raw))
                names = [info.filename for info in archive.infolist() if not info.is_dir()]
                if len(names) != 1:
                    raise DataFormatError(f"{path} holds {len(names)} files; give one capture: unpack it first")
                yield stack.enter_context(archive.open(names[0]))
            else:
                yield raw
        except FileNotFoundError as error:
            raise DataNotFoundError(f"no such file: {path}") from error
        except zipfile.BadZipFile as error:
            raise DataFormatError(f"{path} is a damaged zip file: {error}") from error
        except OSError as error:
            raise DataFormatError(f"cannot read {path}: {error.strerror or error}") from error


def pieces(path: Path, report: ImportReport, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Yield the bytes of a capture; every piece ends with a line feed (the last one is given it).

    Args:
        path: of the capture.
        report: is told where a damaged file breaks off; what was read until there is still yielded.
        progress: called with the number of bytes of each piece.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: unreadable, or a line of more than 64 MiB.
    """
    carried, lines = b"", 0
    with opened(path) as file:
        while True:
            block, torn = _block(file)
            end = block.rfind(b"\n") + 1
            piece, rest = (carried + block[:end], block[end:]) if end else (b"", carried + block)
            if not block or torn:
                piece, rest = piece + rest + (b"\n" if rest else b""), b""
            if len(rest) > MAX_LINE:
                raise DataFormatError(f"{path}: line {lines + 1} is longer than {MAX_LINE >> 20} MiB; not a capture")
            lines += piece.count(b"\n")
            if torn:
                report.add("repaired", "torn-file", max(lines, 1), f"the file is damaged or cut short here: {torn}")
            if progress and block:
                progress(len(block))
            if piece:
                yield piece
            if not block or torn:
                return
            carried = rest


def _block(file: IO[bytes]) -> tuple[bytes, str]:
    """Return the next block, and what is wrong with the file behind it, if anything."""
    parts: list[bytes] = []
    size = 0
    while size < PIECE:
        try:
            part = file.read(1 << 20)
        except _DAMAGED as error:
            return b"".join(parts), str(error) or type(error).__name__
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts), ""
