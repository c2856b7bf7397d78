"""Tardis.dev's CSV files as tapes: incremental_book_L2, trades and quotes, plain or gzipped, one day or many.

A message of the book is a run of rows with the same times. A run of `is_snapshot` rows is a whole book. Tardis keeps
no sequence numbers: that messages were lost shows in a new snapshot only, so one that stands behind other rows of its
file is a reconnect, and gets a GAP row ahead of it. A book row that cannot be read breaks the book in the same way:
the rows of its message and all behind it, up to the next snapshot, are left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError
from marketmakerl.data.book_import import ImportedBook, import_book
from marketmakerl.data.import_report import ImportReport
from marketmakerl.data.row_checks import (
    RowNotes,
    carry_over,
    is_time,
    merged,
    nanoseconds,
    note,
    refuse_empty,
    refuse_prices,
    refuse_quantities,
    round_up_lots,
)
from marketmakerl.data.tape import MORE, EventTape, Kind
from marketmakerl.data.text_table import Table, first_fields, read_table
from marketmakerl.data.trade_tape import compile_trades

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument

    Ints = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

PREFIX: Final = "tardis-"
_NS_PER_US: Final = 1000
_BOTH: Final = {"symbol": "text", "timestamp": "int", "local_timestamp": "int"}
BOOK, TRADES, QUOTES = "incremental_book_L2", "trades", "quotes"
COLUMNS: Final = {
    BOOK: _BOTH | {"is_snapshot": "bool", "side": "text", "price": "float", "amount": "float"},
    TRADES: _BOTH | {"id": "text", "side": "text", "price": "float", "amount": "float"},
    QUOTES: _BOTH | dict.fromkeys(("ask_amount", "ask_price", "bid_price", "bid_amount"), "float"),
}
_NO_SIDE: Final = 9
_BOOK_SIDES: Final = {"bid": 1, "ask": -1}
_TRADE_SIDES: Final = {"buy": 1, "sell": -1, "unknown": 0}


@dataclass
class _File:
    """One file, read: its rows of the instrument, and what was noted of them."""

    kind: str
    report: ImportReport
    columns: dict[str, npt.NDArray[Any]]
    notes: RowNotes
    astray: Mask  # rows that do not say which message they are of
    odd_lots: int  # rows of a book whose quantity was rounded up


def read_tardis(
    paths: str | Path | Sequence[str | Path],
    instrument: Instrument,
    *,
    clock_offset_ns: Literal["auto"] | int = "auto",
    tier: str = "T1",
    symbol: str = "",
    tie_order: Literal["auto", "trades", "book"] = "auto",
    source: str = "",
) -> tuple[EventTape, ImportReport]:
    """Compile Tardis CSV files to one tape.

    Args:
        paths: files of one instrument, in any order: incremental_book_L2 or quotes, and trades. Their headers say
            which is which. Quotes beside a book are not merged: the book says more. Trades alone make a tape that
            nobody can quote on.
        instrument: tick and lot on the day of the recording. Amounts are in its units (contracts of an inverse one).
        clock_offset_ns: added to every time of receipt; "auto": what the rows up to it make necessary.
        tier: of the data, T0 to T3.
        symbol: the venue's spelling; needed where a file holds several. Rows of the others are counted and ignored.
        tie_order: what goes first at one exchange time; "auto" reads it off the ties before it.
        source: named in errors and in the tape's meta; the paths by default.

    Returns:
        The tape, and a report in which rows + refused + ignored = lines.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: none of the three formats, a missing column, damaged or cut short while compressed, or no row
            that can be used.
        DataQualityError: more than 1 % of a file's rows refused, or exchange time that runs back by more than 1 s.
        ConfigError: several symbols and none named, or an option that is none.
    """
    listed = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    if not listed:
        raise ConfigError("no Tardis file was named")
    files = [_read(path, instrument, symbol) for path in listed]
    source = source or ", ".join(str(path) for path in listed)
    kinds = [kind for kind in COLUMNS if any(file.kind == kind for file in files)]
    book = _in_order([file for file in files if file.kind == BOOK])
    trades = _in_order([file for file in files if file.kind == TRADES])
    quotes = _in_order([file for file in files if file.kind == QUOTES])
    trade_frame = _trade_frame(trades)
    options: dict[str, Any] = {"clock_offset_ns": clock_offset_ns, "tier": tier, "source": source}
    if book:
        updates = _Updates(book, source)
        imported = import_book(updates.frame, trade_frame, instrument, tie_order=tie_order, **options)
        tape = imported.tape
        updates.account(imported)
        for file in quotes:
            file.report.ignored["quotes beside a book"] += int((~file.notes.bad).sum())
    elif quotes:
        bbo = _quote_frame(quotes)
        tape = import_book(None, trade_frame, instrument, bbo_df=bbo, tie_order=tie_order, **options).tape
    elif trade_frame is not None:
        tape = compile_trades(trade_frame, instrument, **options)
    report = merged([file.report for file in files], PREFIX + "+".join(kinds))
    carry_over(report, tape)
    if book:
        tape.meta["off_lot_rounded_up"] = sum(file.odd_lots for file in book)
    return tape, report


def _read(path: Path, instrument: Instrument, symbol: str) -> _File:
    fields = first_fields(path)
    kind = next((kind for kind, columns in COLUMNS.items() if set(columns) <= set(fields)), "")
    if not kind or len(set(fields)) != len(fields):
        raise DataFormatError(
            f"{path} is none of Tardis' {', '.join(COLUMNS)}: its header is {','.join(fields)[:120]!r}"
        )
    report = ImportReport(str(path), PREFIX + kind)
    table = _of_symbol(path, read_table(path, fields, COLUMNS[kind], report, 1), report, symbol)
    notes = table.notes
    refuse_empty(len(notes.line), str(path), report)
    columns, astray = table.columns, table.unread.copy()
    for name in ("timestamp", "local_timestamp"):
        given = columns[name]
        columns[name] = nanoseconds(given, _NS_PER_US)
        astray |= ~is_time(columns[name])
        notes.refuse(~is_time(columns[name]), "bad-time", _text(given, name, "is no time in microseconds UTC"))
    _check_numbers(kind, columns, notes, instrument)
    notes.check_share(str(path))
    refuse_empty(int((~notes.bad).sum()), str(path), report)
    odd_lots = 0
    if kind == BOOK:
        columns["amount"], odd_lots = round_up_lots(notes, "amount", columns["amount"], instrument, str(path))
    return _File(kind, report, columns, notes, astray, odd_lots)


def _text(values: npt.NDArray[Any], name: str, why: str) -> Callable[[int], str]:
    return lambda row: f"{name} {values[row]!s:.40} {why}"


def _of_symbol(path: Path, table: Table, report: ImportReport, symbol: str) -> Table:
    """Return the rows of one symbol (and the refused ones, whose symbol is not known)."""
    names = table.columns["symbol"]
    there = sorted(set(names[~table.notes.bad].tolist()))
    if len(there) > 1 and not symbol:
        raise ConfigError(f"{path} holds {len(there)} symbols; name one: {', '.join(there[:20])}")
    if symbol and there and symbol not in there:
        raise ConfigError(f"{path} has no symbol {symbol}; it has {', '.join(there[:20])}")
    other = (names != symbol) & ~table.notes.bad if symbol else np.zeros(len(names), np.bool_)
    if not other.any():
        return table
    for name in there:
        if name != symbol:
            report.ignored[f"symbol {name}"] += int(((names == name) & other).sum())
    notes = RowNotes(report, table.notes.line[~other])
    notes.bad = table.notes.bad[~other]
    return Table({name: column[~other] for name, column in table.columns.items()}, notes, table.unread[~other])


def _check_numbers(kind: str, columns: dict[str, npt.NDArray[Any]], notes: RowNotes, instrument: Instrument) -> None:
    """Refuse rows that cannot be; sides become numbers."""
    if kind == QUOTES:
        for side in ("bid", "ask"):
            refuse_prices(notes, f"{side}_price", columns[f"{side}_price"], instrument)
            refuse_quantities(notes, f"{side}_amount", columns[f"{side}_amount"], instrument, zero=False)
        return
    known = _BOOK_SIDES if kind == BOOK else _TRADE_SIDES
    given = columns["side"]
    numbers, names = pd.factorize(given)
    of_name = np.array([known.get(name, _NO_SIDE) for name in names.tolist()], np.int64)
    columns["side"] = of_name[numbers]
    notes.refuse(columns["side"] == _NO_SIDE, "bad-side", _text(given, "side", f"is none of {', '.join(known)}"))
    refuse_prices(notes, "price", columns["price"], instrument)
    refuse_quantities(notes, "amount", columns["amount"], instrument, zero=kind == BOOK, off_lot=kind == BOOK)


def _in_order(files: list[_File]) -> list[_File]:
    """Return the files by their first time of receipt."""
    return sorted(files, key=lambda file: int(file.columns["local_timestamp"][np.argmin(file.notes.bad)]))


def _trade_frame(files: list[_File]) -> pd.DataFrame | None:
    frames = []
    for file in files:
        columns = file.columns
        frame = pd.DataFrame({
            "ts_ns": columns["timestamp"], "ts_local_ns": columns["local_timestamp"], "price": columns["price"],
            "qty": columns["amount"], "side": columns["side"], "id": columns["id"],
        })  # fmt: skip
        same = frame.drop(columns="ts_local_ns").duplicated().to_numpy() & (frame["id"] != "").to_numpy()
        file.notes.refuse(same, "duplicate", _text(columns["id"], "id", "was there before, with the same trade"))
        frames.append(frame[~file.notes.bad])
        file.report.rows = len(frames[-1])
    return pd.concat(frames, ignore_index=True) if frames else None


def _quote_frame(files: list[_File]) -> pd.DataFrame:
    frames = []
    for file in files:
        columns = {name: column[~file.notes.bad] for name, column in file.columns.items()}
        frames.append(pd.DataFrame({
            "ts_ns": columns["timestamp"], "ts_local_ns": columns["local_timestamp"],
            "bid_px": columns["bid_price"], "bid_qty": columns["bid_amount"],
            "ask_px": columns["ask_price"], "ask_qty": columns["ask_amount"],
        }))  # fmt: skip
        file.report.rows = len(frames[-1])
    whole = pd.concat(frames, ignore_index=True)
    return whole.assign(seq=np.arange(len(whole)))


class _Updates:
    """The rows of book files as numbered updates: messages, and between them the marks of what was lost."""

    def __init__(self, files: list[_File], source: str) -> None:
        self._files = files
        names = ("timestamp", "local_timestamp", "is_snapshot", "side", "price", "amount")
        column = {name: np.concatenate([file.columns[name] for file in files]) for name in names}
        self._bad = np.concatenate([file.notes.bad for file in files])
        which = np.repeat(np.arange(len(files)), [len(file.notes.line) for file in files])
        place = _last_told(np.concatenate([file.astray for file in files]))
        for name in names[:3]:  # a row that cannot be read belongs to the message it stands in
            column[name] = column[name][place]
        snapshot, ts, local = column["is_snapshot"], column["timestamp"], column["local_timestamp"]
        start = _starts(column, which)
        message = np.cumsum(start) - 1
        first = np.flatnonzero(start)
        last = np.r_[first[1:], len(start)] - 1
        is_snapshot, of_file = snapshot[first], which[first]
        broken = np.bincount(message[self._bad], minlength=len(first)) > 0
        same_file = np.r_[False, of_file[1:] == of_file[:-1]]
        lost = broken | (is_snapshot & same_file)
        fits = self._fits(is_snapshot, broken, source)
        # Between messages (even numbers) stand the marks (odd ones): diffs that follow nothing.
        seq = 2 * np.arange(len(first)) + 2
        marks = np.flatnonzero(lost & (np.cumsum(fits) > 0))
        marked = first[marks]
        keep = fits[message] & ~self._bad
        self.seq = np.where(keep, seq[message], -1)
        rows = pd.DataFrame({
            "ts_ns": np.where(snapshot, ts[last[message]], ts), "ts_local_ns": local, "side": column["side"],
            "price": column["price"], "qty": column["amount"], "is_snapshot": snapshot, "first_seq": -1,
            "seq": self.seq, "prev_seq": -1,
        })[keep]  # fmt: skip
        example = int(np.argmax(keep))  # of a row that can be read: a mark says nothing but that there is one
        gaps = pd.DataFrame({
            "ts_ns": ts[np.where(is_snapshot, last, first)[marks]], "ts_local_ns": local[marked], "side": 1,
            "price": column["price"][example], "qty": 0.0, "is_snapshot": False, "first_seq": -1,
            "seq": seq[marks] - 1, "prev_seq": seq[marks] - 1,
        })  # fmt: skip
        self.frame = pd.concat([rows, gaps], ignore_index=True)
        self._marks = len(marks)
        self._empty_levels = snapshot & (column["amount"] == 0)

    def _fits(self, is_snapshot: Mask, broken: Mask, source: str) -> Mask:
        """Return which messages can be applied at all: whole ones, from the first whole snapshot on."""
        fits = ~broken
        if is_snapshot.any():
            whole = is_snapshot & fits
            if not whole.any():
                raise DataQualityError(f"{source}: every snapshot of the book has a row that cannot be read")
            fits &= np.arange(len(fits)) >= np.argmax(whole)
        return fits

    def account(self, imported: ImportedBook) -> None:
        """Count every row of the files as read, ignored or refused."""
        kind = imported.tape.kind & ~MORE
        applied = np.unique(imported.seq[(kind == Kind.DEPTH_BID) | (kind == Kind.DEPTH_ASK) | (kind == Kind.SNAPSHOT)])
        read = np.isin(self.seq, applied)
        opened = np.cumsum(read) > 0
        at = 0
        for file in self._files:
            size = len(file.notes.line)
            here = slice(at, at + size)
            at += size
            empty = read[here] & self._empty_levels[here]
            if empty.any():
                file.report.ignored["empty level of a snapshot"] += int(empty.sum())
            file.report.rows = int((read[here] & ~empty).sum())
            for code, mask, why in (
                ("before-snapshot", ~opened[here], "stands before the first snapshot that can be read"),
                ("in-gap", opened[here], "stands between a loss and the next snapshot"),
            ):
                _note_lost(file, code, mask & ~read[here] & ~file.notes.bad, why)
        meta = imported.tape.meta
        meta["dropped_in_gaps"] -= min(self._marks, meta["dropped_in_gaps"])


def _note_lost(file: _File, code: str, lost: Mask, why: str) -> None:
    note(file.report, "refused", code, file.notes.line[lost], lambda _i: f"the row {why}")


def _last_told(astray: Mask) -> Ints:
    """Return for each row itself, or where it is astray the one before it (at the beginning, the first that is not)."""
    known = np.maximum.accumulate(np.where(astray, -1, np.arange(len(astray))))
    return np.where(known < 0, int(np.argmin(astray)), known)


def _starts(column: dict[str, npt.NDArray[Any]], which: Ints) -> Mask:
    """Return where messages begin: with other times or another file; a run of snapshot rows is one whole book."""
    snapshot, local = column["is_snapshot"], column["local_timestamp"]
    moved = np.r_[True, np.diff(column["timestamp"]) != 0] | np.r_[True, np.diff(local) != 0]
    turned = np.r_[True, (np.diff(snapshot.astype(np.int8)) != 0) | (np.diff(which) != 0)]
    start: Mask = turned | (moved & ~snapshot)
    for begin in np.flatnonzero(turned & snapshot).tolist():
        end = begin + 1
        while end < len(snapshot) and not turned[end]:
            end += 1
        start[begin:end] |= _restarts(column, begin, end)
    return start


def _restarts(column: dict[str, npt.NDArray[Any]], begin: int, end: int) -> Mask:
    """Return where, in a run of snapshot rows, a later message names a level again: there is another snapshot."""
    local = column["local_timestamp"][begin:end]
    start = np.zeros(end - begin, np.bool_)
    if (local == local[0]).all():
        return start
    seen: set[tuple[int, float]] = set()
    cuts = np.r_[0, np.flatnonzero(np.diff(local)) + 1, end - begin].tolist()
    for first, last in pairwise(cuts):
        rows = slice(begin + first, begin + last)
        levels = set(zip(column["side"][rows].tolist(), column["price"][rows].tolist(), strict=True))
        start[first] = not seen.isdisjoint(levels)
        seen = levels if start[first] else seen | levels
    return start
