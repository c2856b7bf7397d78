"""Rows of a text file that cannot be, found by mask and noted with their lines; and what an importer dropped, counted.

`grid.py` refuses a whole frame at its first wrong row. A file of ten million lines may hold a few that are damaged:
they are refused one by one, as long as they are few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import DataFormatError, DataQualityError
from marketmakerl.data.clock_offset import ASSUMED
from marketmakerl.data.frame_columns import OFF_LOT_SHARE
from marketmakerl.data.grid import GRID_EPS, MAX_PRICE_TICKS, MAX_QTY_LOTS, REL_EPS
from marketmakerl.data.import_report import MAX_EXAMPLES, ImportReport
from marketmakerl.data.quality import MAX_TS_MS, MIN_TS_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

# More refused rows than this are no damage: it is another instrument, another day or another format.
MAX_REFUSED_SHARE: Final = 0.01
MAX_REFUSED_ROWS: Final = 10  # of a short file


class RowNotes:
    """The rows of one file: which of them are refused, each noted once, with the first thing that is wrong."""

    def __init__(self, report: ImportReport, line: Ints) -> None:
        """Begin with every row good.

        Args:
            report: takes the notes.
            line: int64[n], 1-based line of each row in the file.
        """
        self.report = report
        self.line = line
        self.bad: Mask = np.zeros(len(line), np.bool_)

    def refuse(self, wrong: Mask, code: str, message: Callable[[int], str]) -> None:
        """Refuse the rows of `wrong` that are still good; `message` is asked for the first few."""
        fresh = np.flatnonzero(wrong & ~self.bad)
        note(self.report, "refused", code, self.line[fresh], lambda i: message(int(fresh[i])))
        self.bad[fresh] = True

    def check_share(self, what: str) -> None:
        """Refuse the file where too many rows were refused.

        Raises:
            DataQualityError: more than 1 % of the rows (and more than ten); names the first.
        """
        count = int(self.bad.sum())
        if count > max(MAX_REFUSED_ROWS, MAX_REFUSED_SHARE * len(self.bad)):
            first = next(e for e in self.report.examples if e.what == "refused")
            raise DataQualityError(
                f"{what}: {count} of {len(self.bad)} rows cannot be used, the first in line {first.line}: "
                f"{first.message}; is this its instrument, and its day?",
                self.report.examples,
            )


def note(report: ImportReport, what: Any, code: str, lines: Ints, message: Callable[[int], str]) -> None:
    """Note rows of one kind: `lines` are their lines, `message` takes the index of one of them."""
    for i, line in enumerate(lines[:MAX_EXAMPLES].tolist()):
        report.add(what, code, line, message(i))
    if len(lines) > MAX_EXAMPLES:
        report.add(what, code, int(lines[MAX_EXAMPLES]), message(MAX_EXAMPLES), count=len(lines) - MAX_EXAMPLES)


def off_grid(values: Floats, step: float) -> Mask:
    """Return where values are no whole numbers of steps, by the rule of `marketmakerl.data.grid`."""
    exact = values / step
    return np.abs(exact - np.rint(exact)) > GRID_EPS + REL_EPS * np.abs(exact)


def is_time(ts_ns: Ints) -> Mask:
    """Return which numbers are nanoseconds UTC between 2009 and 2100."""
    return (ts_ns >= MIN_TS_MS * NS_PER_MS) & (ts_ns <= MAX_TS_MS * NS_PER_MS)


def nanoseconds(values: Ints, unit_ns: int) -> Ints:
    """Return times in a coarser unit as nanoseconds, 0 (no time) where that is too large for 64 bits."""
    fits = np.abs(values) <= np.iinfo(np.int64).max // unit_ns
    return np.where(fits, values, 0) * unit_ns


def refuse_prices(notes: RowNotes, name: str, price: Floats, instrument: Instrument) -> None:
    """Refuse rows whose price is no number, zero or less, off the tick, or 2**40 ticks and more."""
    good = np.isfinite(price) & (price > 0)
    notes.refuse(~good, "bad-price", lambda row: f"{name} {price[row]!s} is no price")
    safe = np.where(good, price, instrument.tick_size)
    tick = f"the tick {instrument.tick_size:.10g} of {instrument.symbol}"
    notes.refuse(
        off_grid(safe, instrument.tick_size), "off-tick", lambda row: f"{name} {price[row]!s} is not on {tick}"
    )
    large = np.rint(safe / instrument.tick_size) >= MAX_PRICE_TICKS
    notes.refuse(large, "bad-price", lambda row: f"{name} {price[row]!s} is 2**40 ticks or more")


def refuse_quantities(
    notes: RowNotes, name: str, qty: Floats, instrument: Instrument, *, zero: bool, off_lot: bool = False
) -> None:
    """Refuse rows whose quantity is no number, negative, off the lot, or 2**46 lots and more.

    Args:
        notes: of the file.
        name: of the column.
        qty: base units or contracts.
        instrument: the lot.
        zero: whether nothing is a quantity (a level that is gone).
        off_lot: odd lots are left to be rounded up (`round_up_lots`).
    """
    good = np.isfinite(qty) & ((qty >= 0) if zero else (qty > 0))
    notes.refuse(~good, "bad-quantity", lambda row: f"{name} {qty[row]!s} is no quantity")
    safe = np.where(good, qty, 0.0)
    if not off_lot:
        lot = f"the lot {instrument.lot_size:.10g} of {instrument.symbol}"
        odd = off_grid(safe, instrument.lot_size)
        notes.refuse(odd, "off-lot", lambda row: f"{name} {qty[row]!s} is not a multiple of {lot}")
    large = np.rint(safe / instrument.lot_size) >= MAX_QTY_LOTS
    notes.refuse(large, "bad-quantity", lambda row: f"{name} {qty[row]!s} is 2**46 lots or more")


def round_up_lots(notes: RowNotes, name: str, qty: Floats, instrument: Instrument, what: str) -> tuple[Floats, int]:
    """Return the quantities of a book in whole lots, odd ones rounded up, and how many were odd.

    A row is never refused for its odd lot: whether it would be could hang on how many odd ones come after it.

    Raises:
        DataFormatError: more odd lots than a book has that was made coarser (`grid.to_lots`).
    """
    odd = off_grid(np.where(notes.bad, 0.0, qty), instrument.lot_size)
    lot = f"the lot {instrument.lot_size:.10g} of {instrument.symbol}"
    if odd.sum() > OFF_LOT_SHARE * (len(qty) - int(notes.bad.sum())) + 1:
        row = int(np.argmax(odd))
        raise DataFormatError(
            f"{what}, line {notes.line[row]}: {name} {qty[row]!s} is not a multiple of {lot} ({int(odd.sum())} such "
            f"rows of {len(qty)}); is this its instrument, and its day?"
        )
    rows = np.flatnonzero(odd)
    note(notes.report, "repaired", "off-lot", notes.line[rows],
         lambda i: f"{name} {qty[rows[i]]!s} rounded up to a multiple of {lot}")  # fmt: skip
    return np.where(odd, np.ceil(qty / instrument.lot_size) * instrument.lot_size, qty), len(rows)


def carry_over(report: ImportReport, tape: EventTape) -> None:
    """Note what the compiler of a tape repaired, which it counts in the tape's meta: rows that are in it, changed."""
    told = {
        "off_lot_rounded_up": ("off-lot", "odd lots rounded up to whole ones"),
        "exchange_time_clamped": ("exchange-time-raised", "updates whose exchange time ran back, raised"),
        "receipt_raised": ("receipt-raised", "rows received before the one ahead of them, raised"),
        "reordered": ("reordered", "updates put into the order of their ids"),
        "trades_reordered": ("trades-reordered", "trades put into the order of their times"),
    }
    for name, (code, text) in told.items():
        if count := int(tape.meta.get(name, 0)):
            report.add("repaired", code, 0, f"{count} {text}", count=count)
    if offset := int(tape.meta.get("clock_offset_ns", 0)):
        first = int(tape.meta.get("clock_offset_first_ns", offset))
        added = f"{offset} ns" if first == offset else f"{first} ns at first and {offset} ns at the end"
        report.add(
            "repaired", "clock-offset", 0, f"{added} added to the times of receipt: see clock_offset_ns", count=0
        )
    report.assumed += tape.meta.get(ASSUMED, [])


def merged(parts: Sequence[ImportReport], format_name: str) -> ImportReport:
    """Return several files' reports as one; the located rows keep the names of their files."""
    whole = ImportReport(", ".join(part.source for part in parts), format_name)
    for part in parts:
        whole.lines += part.lines
        whole.rows += part.rows
        whole.ignored += part.ignored
        whole.counts += part.counts
        whole.examples += part.examples
        whole.assumed += part.assumed
    return whole


def refuse_empty(count: int, what: str, report: ImportReport) -> None:
    """Refuse a file of which nothing is left.

    Raises:
        DataFormatError: `count` is zero; names the first refused row, if any.
    """
    if count:
        return
    first = next((e for e in report.examples if e.what == "refused"), None)
    why = f": line {first.line}: {first.message}" if first else ""
    raise DataFormatError(f"{what} has no rows that can be used{why}")
