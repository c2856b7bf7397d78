"""The bytes of a capture, plain, gzip or zip, in pieces that end where a line ends."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any, Final, cast

from isal import isal_zlib

from marketmakerl.core.errors import DataFormatError, DataNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from marketmakerl.data.import_report import ImportReport

MAX_LINE: Final = 1 << 26  # no exchange sends a message of 64 MiB
_BLOCK: Final = 1 << 20
_PACKED_BLOCK: Final = 1 << 16  # deflate makes at most a thousand times as much of it
_GZIP: Final = 31  # zlib's code for a gzip header and trailer
# A damaged or cut archive; zipfile raises the last two for what it cannot unpack.
_DAMAGED: Final[tuple[type[Exception], ...]] = (
    EOFError,
    zlib.error,
    cast("Any", isal_zlib).error,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)
_UNREADABLE: Final[tuple[type[Exception], ...]] = (*_DAMAGED, DataFormatError)


def pieces(path: Path, report: ImportReport, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Yield the bytes of a capture; every piece ends with a line feed (the last one is given it).

    Args:
        path: of the capture; what it is packed in is told by its first bytes.
        report: is told where a damaged file breaks off; what was read until there is still yielded. Its `lines` must
            count those of the pieces so far.
        progress: called with the number of bytes of each block.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: unreadable, a zip that does not hold exactly one file, or a line of more than 64 MiB.
    """
    carried: list[bytes] = []
    size = 0
    with _opened(path) as blocks:
        torn = ""
        while True:
            try:
                block = next(blocks, b"")
            except _DAMAGED as error:
                block, torn = b"", str(error) or type(error).__name__
            if not block:
                break
            if progress:
                progress(len(block))
            end = block.rfind(b"\n") + 1
            if end:
                carried.append(block[:end])
                yield b"".join(carried)
                carried, size = [], 0
            carried.append(block[end:])
            size += len(block) - end
            if size > MAX_LINE:
                raise DataFormatError(f"{path}: a line is longer than {MAX_LINE >> 20} MiB; this is no capture")
        rest = b"".join(carried)
        if rest:
            yield rest + b"\n"
        if torn:
            message = f"the file is damaged or cut short behind this line: {torn}"
            report.add("repaired", "torn-file", report.lines, message)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Iterator[bytes]]:
    with contextlib.ExitStack() as stack:
        try:
            raw = stack.enter_context(path.open("rb"))
            magic = raw.read(4)
            raw.seek(0)
            if magic[:2] == b"\x1f\x8b":
                yield _unzipped(raw)
            elif magic == b"PK\x03\x04":
                archive = stack.enter_context(zipfile.ZipFile(raw))
                names = [info.filename for info in archive.infolist() if not info.is_dir()]
                if len(names) != 1:
                    raise DataFormatError(f"{path} holds {len(names)} files; unpack it and give one of them")
                yield _plain(stack.enter_context(archive.open(names[0])))
            else:
                yield _plain(raw)
        except FileNotFoundError as error:
            raise DataNotFoundError(f"no such file: {path}") from error
        except _DAMAGED as error:
            raise DataFormatError(f"{path} is a damaged zip file: {error}") from error
        except OSError as error:
            raise DataFormatError(f"cannot read {path}: {error.strerror or error}") from error


def _plain(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _unzipped(raw: IO[bytes]) -> Iterator[bytes]:
    """Yield what gzip members hold, all of it up to where a cut file ends (a recorder that was killed leaves one)."""
    member: Any = None
    while packed := raw.read(_PACKED_BLOCK):
        while packed:
            member = member or cast("Any", isal_zlib).decompressobj(wbits=_GZIP)
            block = member.decompress(packed)
            if block:
                yield block
            packed, member = member.unused_data, None if member.eof else member
    if member is not None:
        raise EOFError("the end of the gzip stream is missing")


def first_bytes(path: Path) -> bytes:
    """Return the beginning of a file, unpacked if it is a gzip or a zip with one file in it.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: it cannot be read.
    """
    try:
        with _opened(path) as blocks:
            return next(blocks, b"")
    except _UNREADABLE:
        try:
            with path.open("rb") as file:
                return file.read(_PACKED_BLOCK)
        except OSError as error:
            raise DataFormatError(f"cannot read {path}: {error.strerror or error}") from error
