"""Comma-separated files, plain, gzipped or zipped, as typed columns; every line that is none is located.

The fast way reads typed columns with several threads. Where that fails, the slow way reads text, finds the lines that
cannot be and goes on. Both give the same columns for the lines that both accept.
"""

from __future__ import annotations

import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from isal import igzip
from isal.igzip_lib import IsalError

from marketmakerl.core.errors import DataFormatError, DataNotFoundError
from marketmakerl.data.row_checks import RowNotes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from marketmakerl.data.import_report import ImportReport

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZIP_MAGIC: Final = b"PK\x03\x04"
_PIECE: Final = 1 << 25  # bytes of text at a time
_MAX_LINE: Final = 1 << 16  # bytes
_MAX_WRONG: Final = 100_000  # lines of one piece; what has more is another format
# Deflate cannot do better than 1032:1, and prices in decimals never come near 100:1; beyond it lies a bomb.
_MAX_RATIO: Final = 200
_MAX_SMALL: Final = 1 << 26  # bytes that may be inflated whatever the ratio
_TYPES: Final = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
_TRUE: Final = ["true", "True", "TRUE"]
_FALSE: Final = ["false", "False", "FALSE"]
_PATTERNS: Final = {
    "int": r"^ *-?[0-9]{1,18} *$",
    "float": r"^ *-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})? *$",
    "bool": "^(" + "|".join(_TRUE + _FALSE) + ")$",
    "text": r"^[ -~]*$",
}
_WHAT: Final = {"int": "no whole number", "float": "no number", "bool": "neither true nor false", "text": "no text"}
# What stands in a refused line.
_EMPTY: Final[dict[str, Any]] = {"int": 0, "float": np.nan, "bool": False, "text": ""}
_unzipped: Any = partial(igzip.IGzipFile, mode="rb")  # its stub has no types
_READ_ERRORS: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile, cast("type[Exception]", IsalError))


@dataclass(frozen=True)
class Table:
    """Columns of one file.

    Attributes:
        columns: by name: int64, float64, bool or str (object) arrays, one entry a line; whatever in refused rows.
        notes: lines, and which of them are refused.
        unread: bool, which lines have a field that could not be read, or too few or too many.
    """

    columns: dict[str, npt.NDArray[Any]]
    notes: RowNotes
    unread: npt.NDArray[np.bool_]


@contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """Open a plain, gzipped or zipped text file by its first bytes, not by its name.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: cut short, damaged, or an archive of none or several files.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if magic.startswith(_GZIP_MAGIC):
                with _unzipped(fileobj=file) as unzipped:
                    yield unzipped
            elif magic == _ZIP_MAGIC:
                with zipfile.ZipFile(file) as archive, archive.open(_only_member(path, archive)) as member:
                    yield cast("BinaryIO", member)
            else:
                yield file
    except FileNotFoundError as error:
        raise DataNotFoundError(f"no such file: {path}") from error
    except _READ_ERRORS as error:
        raise DataFormatError(f"{path} is damaged or cut short: {error}") from error
    except (RuntimeError, NotImplementedError) as error:  # a password, a method of compression
        raise DataFormatError(f"{path} cannot be unpacked: {error}") from error


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise DataFormatError(f"{path} must hold one file, and holds {len(members)}")
    return members[0]


def first_fields(path: Path) -> list[str]:
    """Return the fields of the first line; bytes that are no UTF-8 become a mark.

    Raises:
        DataNotFoundError, DataFormatError: see `open_text`; an empty file.
    """
    with open_text(path) as stream:
        text = stream.read(_MAX_LINE)
    if not text:
        raise DataFormatError(f"{path} is empty")
    line = text.partition(b"\n")[0].decode("utf-8", "replace")
    return [field.strip() for field in line.strip("\r\ufeff ").split(",")]


def read_table(path: Path, layout: Sequence[str], kinds: Mapping[str, str], report: ImportReport, skip: int) -> Table:
    """Read a file; `report` takes its lines, and those that are refused.

    Args:
        path: plain, gzipped or zipped.
        layout: names of all columns, in their order in the file.
        kinds: name -> "int", "float", "bool" or "text" of the columns wanted.
        report: of this file.
        skip: lines at the beginning that are none of the table (its header).

    Raises:
        DataNotFoundError, DataFormatError: see `open_text`; a line without end, a file that inflates without end.
    """
    parts: list[dict[str, npt.NDArray[Any]]] = []
    wrong: list[_Wrong] = []
    rows, unended = 0, False
    for piece in _pieces(path, skip):
        unended = not piece.endswith(b"\n")
        if piece.count(b"\n") - len(piece) // len(layout) > _MAX_WRONG:  # so many lines are too short for their commas
            raise DataFormatError(f"{path}: more than {_MAX_WRONG} lines are no rows of this format")
        columns = _read_fast(piece, layout, kinds) or _read_slowly(path, piece, layout, kinds, (rows, wrong))
        parts.append(columns)
        rows += len(columns[next(iter(kinds))])
    report.lines += rows + skip
    if skip:
        report.ignored["header"] += skip
    notes = RowNotes(report, np.arange(rows, dtype=np.int64) + skip + 1)
    for found in wrong:
        mask = np.zeros(rows, np.bool_)
        mask[list(found.rows)] = True
        notes.refuse(mask, found.code, found.rows.__getitem__)
    unread = notes.bad.copy()
    if unended:
        last = np.arange(rows) == rows - 1
        notes.refuse(last, "torn", lambda _row: "the last line has no end; the file may be cut short")
    whole = {name: np.concatenate([part[name] for part in parts]) if parts else _nothing(kinds[name]) for name in kinds}
    return Table(whole, notes, unread)


@dataclass(frozen=True)
class _Wrong:
    """Rows of one piece that are refused for one reason, with what is wrong with each."""

    code: str
    rows: dict[int, str]


def _pieces(path: Path, skip: int) -> Iterator[bytes]:
    """Yield the text behind the header in pieces that end with a line, but for the last where it has no end."""
    limit = max(_MAX_SMALL, _MAX_RATIO * path.stat().st_size) if path.is_file() else 0
    count, rest = 0, b""
    with open_text(path) as stream:
        for _ in range(skip):
            stream.readline()
        while piece := stream.read(_PIECE):
            count += len(piece)
            if count > limit:
                raise DataFormatError(f"{path} inflates to more than {limit} bytes: that is no market data")
            end = piece.rfind(b"\n") + 1
            if not end and len(rest) + len(piece) > _MAX_LINE:
                raise DataFormatError(f"{path} has a line of more than {_MAX_LINE} bytes: that is no market data")
            if end:
                yield rest + piece[:end]
                rest = b""
            rest += piece[end:]
    if rest:
        yield rest


def _arrow(piece: bytes, layout: Sequence[str], options: pcsv.ConvertOptions) -> pa.Table:
    # All of the text lies in memory: a thread of Arrow that waits for a Python stream can hang a process that ends.
    return pcsv.read_csv(
        pa.BufferReader(piece),
        pcsv.ReadOptions(column_names=list(layout)),
        pcsv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        options,
    )


def _read_fast(piece: bytes, layout: Sequence[str], kinds: Mapping[str, str]) -> dict[str, npt.NDArray[Any]] | None:
    """Return the columns of a piece; None where a line is not what it should be."""
    options = pcsv.ConvertOptions(
        column_types={name: _TYPES[kind] for name, kind in kinds.items()},
        include_columns=list(kinds),
        true_values=_TRUE,
        false_values=_FALSE,
    )
    try:
        table = _arrow(piece, layout, options)
    except pa.ArrowInvalid:
        return None
    texts = [table[name] for name, kind in kinds.items() if kind == "text"]
    ended = piece.count(b"\n") + (not piece.endswith(b"\n"))  # Arrow ends lines at a bare \r too
    if table.num_rows != ended or any(column.null_count for column in table.columns):
        return None
    if not all(_all_match(text, "text") for text in texts):
        return None
    return {name: table[name].to_numpy() for name in kinds}


def _all_match(column: Any, kind: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, _PATTERNS[kind]), min_count=0).as_py())


def _read_slowly(
    path: Path, piece: bytes, layout: Sequence[str], kinds: Mapping[str, str], so_far: tuple[int, list[_Wrong]]
) -> dict[str, npt.NDArray[Any]]:
    """Read text, and note the lines that have too few or too many fields or a field that is none of its kind."""
    begin, wrong = so_far
    lines = piece.removesuffix(b"\n").split(b"\n")
    is_row = np.array([line.count(b",") == len(layout) - 1 and b"\r" not in line[:-1] for line in lines], np.bool_)
    if len(lines) - is_row.sum() > _MAX_WRONG:
        raise DataFormatError(f"{path}: more than {_MAX_WRONG} lines are no rows of this format")
    odd = {
        begin + at: f"{lines[at].count(b',') + 1} fields instead of {len(layout)}"
        for at in np.flatnonzero(~is_row).tolist()
    }
    wrong.append(_Wrong("torn-line", odd))
    options = pcsv.ConvertOptions(
        column_types={name: pa.binary() for name in kinds}, include_columns=list(kinds), strings_can_be_null=False
    )
    if odd:
        piece = b"\n".join(line for line, good in zip(lines, is_row.tolist(), strict=True) if good)
    try:
        empty = pa.table({name: pa.array([], pa.binary()) for name in kinds})
        table = _arrow(piece, layout, options) if piece else empty
    except pa.ArrowInvalid as error:
        raise DataFormatError(f"{path} is no table of text: {str(error).partition(chr(10))[0]}") from error
    place = np.flatnonzero(is_row)
    return {name: _column(table[name], kind, name, place, len(is_row), so_far) for name, kind in kinds.items()}


def _column(
    raw: pa.ChunkedArray,
    kind: str,
    name: str,
    place: npt.NDArray[np.int64],
    size: int,
    so_far: tuple[int, list[_Wrong]],
) -> npt.NDArray[Any]:
    """Return one column of text converted; lines whose field is none of its kind are noted."""
    begin, wrong = so_far
    good = pc.match_substring_regex(raw, _PATTERNS[kind])
    is_good = good.to_numpy()
    if len(is_good) - is_good.sum() > _MAX_WRONG:
        raise DataFormatError(f"more than {_MAX_WRONG} lines are no rows of this format: {name} is {_WHAT[kind]}")
    bad = zip(place[~is_good].tolist(), raw.filter(pc.invert(good)).to_pylist(), strict=True)
    wrong.append(_Wrong("bad-field", {begin + at: f"{name} {_shown(text)} is {_WHAT[kind]}" for at, text in bad}))
    column = np.full(size, _EMPTY[kind], _dtype(kind))
    plain = pc.utf8_trim_whitespace(raw.filter(good).cast(pa.string()))
    converted = pc.is_in(plain, pa.array(_TRUE)) if kind == "bool" else plain.cast(_TYPES[kind])
    column[place[is_good]] = converted.to_numpy()
    return column


def _dtype(kind: str) -> npt.DTypeLike:
    return object if kind == "text" else _TYPES[kind].to_pandas_dtype()


def _nothing(kind: str) -> npt.NDArray[Any]:
    return np.empty(0, _dtype(kind))


def _shown(field: bytes) -> str:
    """Return a field as it may stand in a message: one line, and not too long."""
    text = field.decode("utf-8", "replace")
    return repr(text if len(text) <= 40 else text[:37] + "...")
