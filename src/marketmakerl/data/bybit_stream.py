"""Recorded streams of Bybit as a tape: order book snapshots and deltas, and public trades.

Reads what Bybit offers for download (`<day>_<symbol>_ob500.data.zip`: messages, one a line, no time of receipt) and
captures of the same streams with a time of receipt before each message.

A book's update id `u` grows by one with each message and begins anew when the service restarts, with a snapshot; the
sequence `seq` goes on through that. Exchange time is cts (the matching engine's), or ts where there is none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from marketmakerl.data.binance_stream import native
from marketmakerl.data.capture_lines import Grid, json_of, numbered_lines, read_lines, split_receipt
from marketmakerl.data.captured_messages import (
    NOT_SAID,
    Field,
    Heard,
    Ints,
    MessageList,
    Messages,
    OtherKindError,
    RefusedError,
    field_of,
    short,
    symbol_hash,
    time_ns,
    whole,
)
from marketmakerl.data.captured_tape import TapeOptions, tape_of
from marketmakerl.data.import_report import ImportReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape

FORMAT: Final = "bybit-stream"
_BOOK: Final = re.compile(r"orderbook\.([0-9]{1,4})\.(.+)")


def import_bybit_stream(
    path: str | Path,
    instrument: Instrument,
    *,
    symbol: str = "",
    clock_offset_ns: Literal["auto"] | int = "auto",
    tie_order: Literal["auto", "trades", "book"] = "auto",
    tier: str = "T1",
    progress: Callable[[int], None] | None = None,
) -> tuple[EventTape, ImportReport]:
    """Compile a capture of Bybit streams. Of several depths of the book, the deepest that has begun is used.

    Args:
        path: the capture, plain, gzip or zip.
        instrument: tick and lot on the day of the capture.
        symbol: the exchange's spelling; by default the instrument's base and quote, e.g. "XRPUSDT".
        clock_offset_ns: added to every time of receipt; "auto": what the rows up to it make necessary.
        tie_order: what goes first at one exchange time; "auto" reads it off the ties before it.
        tier: of the data, T0 to T3.
        progress: called with the number of bytes of every block read.

    Returns:
        The tape, and what was read, ignored, repaired and refused.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: unreadable, or nothing of this instrument in it that makes a market.
        DataQualityError: exchange time runs back by more than 1 s.
        ConfigError: an option that is none.
    """
    report = ImportReport(str(path), FORMAT)
    reader = _Lines(symbol or native(instrument), Grid.of(instrument))
    found = read_lines(numbered_lines(Path(path), report, progress), reader.read, reader.grid, report)
    parts = [found.messages(), *_deepest(reader.books, reader.cross_seq, report)]
    options = TapeOptions(clock_offset_ns, tie_order, tier, ids_ascend=False)
    return tape_of(Messages.joined(parts), instrument, report, options), report


class _Lines:
    """Reads lines of one symbol.

    Attributes:
        books: messages of the book by depth; their ids begin anew at restarts.
        cross_seq: line -> the sequence that does not.
    """

    def __init__(self, symbol: str, grid: Grid) -> None:
        self.symbol = symbol
        self.grid = grid
        self.books: dict[int, MessageList] = defaultdict(MessageList)
        self.cross_seq: dict[int, int] = {}
        self._receipt: bool | None = None

    def read(self, line: int, text: bytes, found: MessageList) -> None:
        bare = text.startswith(b"{")
        number, message = (None, json_of(text)) if bare else split_receipt(text)
        local = NOT_SAID if number is None else time_ns(number, "time of receipt")
        if self._receipt is None:
            self._receipt = not bare
        if self._receipt == bare:
            raise RefusedError("no-time", f"time of receipt {'missing' if bare else 'given'}, unlike in the first line")
        if isinstance(message, dict) and "topic" not in message:
            raise OtherKindError("reply to a request")
        topic = field_of(message, "topic", str)
        book = _BOOK.fullmatch(topic)
        if book:
            if book[2] != self.symbol:
                raise OtherKindError("another symbol")
            self._book(message, line, local, self.books[int(book[1])])
        elif topic == f"publicTrade.{self.symbol}":
            self._trades(message, line, local, found)
        else:
            raise OtherKindError("another symbol" if topic.startswith("publicTrade.") else topic.partition(".")[0][:40])

    def _book(self, message: dict[str, Any], line: int, local: int, book: MessageList) -> None:
        kind = field_of(message, "type", str)
        if kind not in {"snapshot", "delta"}:
            raise RefusedError("bad-shape", f"a book of type {short(kind)}")
        data = field_of(message, "data", dict)
        number, cross = whole(data.get("u"), "u"), whole(data.get("seq"), "seq")
        levels = self.grid.levels(field_of(data, "b", list), bid=True)
        levels += self.grid.levels(field_of(data, "a", list), bid=False)
        stamp = "cts" if message.get("cts") is not None else "ts"
        ts = time_ns(message.get(stamp), stamp)
        heard, first = (Heard.SNAPSHOT, NOT_SAID) if kind == "snapshot" else (Heard.DIFF, number)
        book.add(line, heard, ts=ts, local=local, seq=number, first_seq=first, levels=levels)
        self.cross_seq[line] = cross

    def _trades(self, message: dict[str, Any], line: int, local: int, found: MessageList) -> None:
        read = []  # all of a message or nothing
        for trade in field_of(message, "data", list):
            side = {"Buy": Heard.TRADE_BUY, "Sell": Heard.TRADE_SELL}.get(field_of(trade, "S", str))
            if side is None:
                raise RefusedError("bad-side", f"side {short(trade['S'])} is neither Buy nor Sell")
            price, qty = self.grid.price(trade.get("p")), self.grid.qty(trade.get("v"), zero=False, whole_lots=True)
            number = symbol_hash(field_of(trade, "i", str))  # a UUID, or digits
            read.append((side, time_ns(trade.get("T"), "T"), number, (side == Heard.TRADE_SELL, price, qty)))
        if not read:
            raise OtherKindError("no trades")
        for side, ts, number, level in read:
            found.add(line, side, ts=ts, local=local, seq=number, levels=[level])


def _deepest(books: dict[int, MessageList], cross_seq: dict[int, int], report: ImportReport) -> list[Messages]:
    """Return the messages of the deepest book that has begun, under ids that go on through restarts and changes."""
    parts, until = [], None
    for depth, book in sorted(books.items(), reverse=True):
        messages = book.messages()
        cross = np.array([cross_seq[line] for line in messages[Field.LINE].tolist()], np.int64)
        keep = np.ones(len(cross), np.bool_) if until is None else cross < until
        if not keep.all():
            report.ignored[f"orderbook.{depth}: a deeper book is there"] += int((~keep).sum())
        parts.append((messages.where(keep), cross[keep]))
        until = int(cross.min()) if until is None else min(until, int(cross.min()))
    highest = 0
    for messages, cross in reversed(parts):
        highest = _renumber(messages.table, cross, highest)
    return [messages for messages, _ in parts]


def _renumber(table: Ints, cross: Ints, base: int) -> int:
    """Give a book's messages ids above `base` that go on through restarts; return the highest."""
    highest = base
    for row in np.argsort(cross, kind="stable"):
        if table[row, Field.HEARD] == Heard.SNAPSHOT and table[row, Field.SEQ] + base < highest:
            base = highest
        table[row, Field.SEQ] += base
        if table[row, Field.HEARD] == Heard.DIFF:
            table[row, Field.FIRST_SEQ] += base
        highest = max(highest, int(table[row, Field.SEQ]))
    return highest
