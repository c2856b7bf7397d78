"""Recorded streams of Binance, spot and futures, as a tape.

A capture holds lines `<time of receipt> <message>`: what the exchange sent, combined streams or single ones, and the
answers to requests for a snapshot of the book. Plain text, gzip or zip. One symbol is read; others are counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from marketmakerl.data import binance_stream_kernel as kernel
from marketmakerl.data.binance_payload import Payloads
from marketmakerl.data.capture_file import pieces
from marketmakerl.data.capture_lines import Grid, read_lines
from marketmakerl.data.captured_messages import FIELDS, Messages
from marketmakerl.data.captured_tape import TapeOptions, tape_of
from marketmakerl.data.decimal_steps import POWERS
from marketmakerl.data.import_report import ImportReport

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape

FORMAT: Final = "binance-stream"
_MESSAGES: Final = 1 << 15  # read in one go
_LEVEL_BYTES: Final = 10  # the shortest level: ["1","0"],


def import_binance_stream(
    path: str | Path,
    instrument: Instrument,
    *,
    symbol: str = "",
    clock_offset_ns: Literal["auto"] | int = "auto",
    tie_order: Literal["auto", "trades", "book"] = "auto",
    tier: str = "T1",
    progress: Callable[[int], None] | None = None,
) -> tuple[EventTape, ImportReport]:
    """Compile a capture of Binance streams.

    Args:
        path: the capture: lines of a time of receipt (ms, µs or ns UTC, told apart by their digits), a blank, and a
            message.
        instrument: tick and lot on the day of the capture. Prices and quantities never pass through a float.
        symbol: the exchange's spelling; by default the instrument's base and quote, e.g. "BTCUSDT".
        clock_offset_ns: added to every time of receipt; "auto": what the rows up to it make necessary.
        tie_order: what goes first at one exchange time; "auto" reads it off the ties before it.
        tier: of the data, T0 to T3.
        progress: called with the number of bytes of every piece read.

    Returns:
        The tape, and what was read, ignored, repaired and refused, the last two with their lines. Exchange time is T
        (the change), or E (the sending) where there is none.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: unreadable, or nothing of this instrument in it that makes a market.
        DataQualityError: exchange time runs back by more than 1 s.
        ConfigError: an option that is none.
    """
    report = ImportReport(str(path), FORMAT)
    grid = Grid.of(instrument)
    reader = _Reader(symbol or native(instrument), grid, report)
    for piece in pieces(Path(path), report, progress):
        reader.read(piece)
    options = TapeOptions(clock_offset_ns, tie_order, tier)
    return tape_of(Messages.joined(reader.parts), instrument, report, options), report


def native(instrument: Instrument) -> str:
    """Return how exchanges without a separator spell a symbol: BTCUSDT."""
    return f"{instrument.base}{instrument.quote}".upper()


class _Reader:
    """Reads pieces: what is plain by compiled code, the rest line by line."""

    def __init__(self, symbol: str, grid: Grid, report: ImportReport) -> None:
        self.parts: list[Messages] = []
        self._payloads = Payloads(symbol, grid)
        self._report = report
        self._symbol = np.frombuffer(symbol.encode(), np.uint8)
        steps = (grid.tick, grid.lot)
        self._grid = np.array([number for step in steps for number in (step.numerator, step.digits)], np.int64)
        # Room that every piece uses again: fresh memory costs as much time as reading.
        self._table = np.empty((_MESSAGES, FIELDS), np.int64)
        self._unplain = np.empty((_MESSAGES, 3), np.int64)
        self._levels = _level_room(0)

    def read(self, piece: bytes) -> None:
        """Read whole lines."""
        if len(self._levels[0]) < len(piece) // _LEVEL_BYTES + 2:
            self._levels = _level_room(len(piece))
        text = np.frombuffer(piece, np.uint8)
        at = 0
        while at < len(piece):
            at = self._some(piece, text, at)

    def _some(self, piece: bytes, text: npt.NDArray[np.uint8], at: int) -> int:
        """Read lines until the room for messages is full."""
        table, unplain, levels = self._table, self._unplain, self._levels
        state = np.zeros(kernel.STATE_SIZE, np.int64)
        state[kernel.Slot.LINES] = self._report.lines
        at = kernel.scan(text, at, self._symbol, self._grid, POWERS, table, levels, unplain, state)
        used = slice(int(state[kernel.Slot.LEVELS]))
        bid, price, qty = levels
        messages = table[: state[kernel.Slot.MESSAGES]].copy()
        self.parts.append(Messages(messages, bid[used].copy(), price[used].copy(), qty[used].copy()))
        left_over = unplain[: state[kernel.Slot.UNPLAIN]].tolist()
        if left_over:
            rest = ((line, piece[begin:end]) for line, begin, end in left_over)
            self.parts.append(read_lines(rest, self._payloads.read, self._payloads.grid, self._report).messages())
        self._report.lines = int(state[kernel.Slot.LINES])
        return at


def _level_room(size: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    rows = size // _LEVEL_BYTES + 2
    return np.empty(rows, np.bool_), np.empty(rows, np.int64), np.empty(rows, np.int64)
