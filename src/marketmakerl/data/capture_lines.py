"""Lines of a capture read one by one: what they are, or why they are refused, all of it counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from marketmakerl.data.capture_file import pieces
from marketmakerl.data.captured_messages import MessageList, OtherKindError, RefusedError, in_range, short
from marketmakerl.data.decimal_steps import DecimalStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.import_report import ImportReport


@dataclass
class Grid:
    """The instrument's tick and lot as exact decimals, and how many quantities were no whole lots."""

    tick: DecimalStep
    lot: DecimalStep
    off_lot: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, instrument: Instrument) -> Grid:
        """Return the grid of an instrument."""
        return cls(DecimalStep.of(instrument.tick_size), DecimalStep.of(instrument.lot_size))

    def price(self, text: object) -> int:
        """Return a price in ticks.

        Raises:
            RefusedError: no decimal text, zero, too large, or between two ticks.
        """
        try:
            ticks, exact = self.tick.steps(text)
        except ValueError as error:
            raise RefusedError("bad-price", f"price {error}") from error
        in_range(ticks, 0)
        if not exact:
            step = self.tick.numerator / 10**self.tick.digits
            raise RefusedError("off-tick", f"price {text!r} is not on the tick {step:.10g}; is this its instrument?")
        return ticks

    def qty(self, text: object, *, zero: bool, whole_lots: bool = False) -> int:
        """Return a quantity in lots; rounded up and noted in `off_lot` where it is not a whole number of them.

        Args:
            text: what was sent.
            zero: may be zero.
            whole_lots: refuse instead of rounding. A level of a book may hold odd lots, see `marketmakerl.data.grid`.

        Raises:
            RefusedError: no decimal text, too large, or zero.
        """
        try:
            lots, exact = self.lot.steps(text)
        except ValueError as error:
            raise RefusedError("bad-quantity", f"quantity {error}") from error
        in_range(1, lots)
        if not (lots or zero):
            raise RefusedError("bad-quantity", f"quantity {text!r}")
        if not exact:
            if whole_lots:
                step = self.lot.numerator / 10**self.lot.digits
                raise RefusedError("off-lot", f"quantity {text!r} is not a multiple of the lot {step:.10g}")
            self.off_lot.append(str(text))
        return lots

    def levels(self, pairs: Any, *, bid: bool) -> list[tuple[bool, int, int]]:
        """Return [["price", "quantity"], ...] as (bid, ticks, lots).

        Raises:
            RefusedError: another shape, or what `price` and `qty` raise.
        """
        levels = []
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2:
                raise RefusedError("bad-shape", f"a level is {short(pair)}, not [price, quantity]")
            levels.append((bid, self.price(pair[0]), self.qty(pair[1], zero=True)))
        return levels


def read_lines(
    lines: Iterable[tuple[int, bytes]],
    read: Callable[[int, bytes, MessageList], None],
    grid: Grid,
    report: ImportReport,
) -> MessageList:
    """Read lines one by one.

    Args:
        lines: number and text of each.
        read: adds the messages of one line, or raises `RefusedError` or `OtherKindError`.
        grid: what `read` uses; odd lots are reported.
        report: gets what was refused, repaired and ignored.
    """
    found = MessageList()
    for line, text in lines:
        grid.off_lot.clear()
        if not text.strip():
            report.ignored["blank line"] += 1
            continue
        try:
            read(line, text, found)
        except RefusedError as error:
            report.add("refused", error.code, line, str(error))
        except OtherKindError as error:
            report.ignored[str(error)] += 1
        else:
            for odd in grid.off_lot:
                report.add("repaired", "off-lot", line, f"quantity {odd} rounded up to whole lots")
    return found


def json_of(text: bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        RefusedError: it is none.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RefusedError("bad-json", f"{error} in {text[:60]!r}") from error


def split_receipt(text: bytes) -> tuple[int, Any]:
    """Split `<time of receipt> <JSON>`; return the number and what the JSON says.

    Raises:
        RefusedError: no such line.
    """
    head, _, body = text.partition(b" ")
    # int() would read more than digits, and takes long over thousands of them.
    if not head.isdigit() or len(head) > 19 or not body:
        raise RefusedError("no-time", f"no time of receipt before the message: {text[:60]!r}")
    return int(head), json_of(body)


def numbered_lines(
    path: Path, report: ImportReport, progress: Callable[[int], None] | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a capture with their numbers, and count them in the report; raises what `pieces` raises."""
    for piece in pieces(path, report, progress):
        for text in piece[:-1].split(b"\n"):
            report.lines += 1
            yield report.lines, text
