"""Recorded streams of Hyperliquid as a tape: full books of 20 levels, trades, best prices.

A capture holds lines `<time of receipt> {"channel": ..., "data": ...}`. Every l2Book message is the whole book, so that
none depends on the one before. The first trades of a recording are a backlog from before it began.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from marketmakerl.data.capture_lines import Grid, numbered_lines, read_lines, split_receipt
from marketmakerl.data.captured_messages import (
    Field,
    Heard,
    MessageList,
    Messages,
    OtherKindError,
    RefusedError,
    field_of,
    short,
    time_ns,
    whole,
)
from marketmakerl.data.captured_tape import TapeOptions, tape_of
from marketmakerl.data.import_report import ImportReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape

FORMAT: Final = "hyperliquid-stream"


def import_hyperliquid_stream(
    path: str | Path,
    instrument: Instrument,
    *,
    symbol: str = "",
    clock_offset_ns: Literal["auto"] | int = "auto",
    tie_order: Literal["auto", "trades", "book"] = "auto",
    tier: str = "T1",
    progress: Callable[[int], None] | None = None,
) -> tuple[EventTape, ImportReport]:
    """Compile a capture of Hyperliquid streams.

    Args:
        path: the capture, plain, gzip or zip.
        instrument: tick and lot on the day of the capture.
        symbol: the coin; by default the instrument's base, e.g. "BTC".
        clock_offset_ns: added to every time of receipt; "auto": what the rows up to it make necessary.
        tie_order: what goes first at one exchange time; "auto" reads it off the ties before it.
        tier: of the data, T0 to T3.
        progress: called with the number of bytes of every block read.

    Returns:
        The tape, and what was read, ignored, repaired and refused.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: unreadable, or nothing of this instrument in it that makes a market.
        ConfigError: an option that is none.
    """
    report = ImportReport(str(path), FORMAT)
    reader = _Lines(symbol or instrument.base, Grid.of(instrument))
    lines = numbered_lines(Path(path), report, progress)
    messages = _numbered(read_lines(lines, reader.read, reader.grid, report).messages())
    options = TapeOptions(clock_offset_ns, tie_order, tier, ids_ascend=False)
    return tape_of(messages, instrument, report, options), report


class _Lines:
    """Reads lines of one coin."""

    def __init__(self, coin: str, grid: Grid) -> None:
        self.coin = coin
        self.grid = grid

    def read(self, line: int, text: bytes, found: MessageList) -> None:
        number, message = split_receipt(text)
        where = {"line": line, "local": time_ns(number, "time of receipt")}
        channel = field_of(message, "channel", str)
        if channel == "trades":
            self._trades(field_of(message, "data", list), where, found)
        elif channel in {"l2Book", "bbo"}:
            data = field_of(message, "data", dict)
            if field_of(data, "coin", str) != self.coin:
                found.add(**where, heard=Heard.OTHER, ts=-1, levels=[])
            elif channel == "bbo":
                self._bbo(data, where, found)
            else:
                self._book(data, where, found)
        else:
            raise OtherKindError(channel[:40])

    def _book(self, data: dict[str, Any], where: dict[str, int], found: MessageList) -> None:
        sides = field_of(data, "levels", list)
        if len(sides) != 2 or not all(isinstance(side, list) for side in sides):
            raise RefusedError("bad-shape", "levels are not two lists")
        levels = [self._level(level, bid=bid) for bid, side in ((True, sides[0]), (False, sides[1])) for level in side]
        if not levels:
            raise RefusedError("bad-shape", "an empty book")
        found.add(**where, heard=Heard.SNAPSHOT, ts=time_ns(data.get("time"), "time"), levels=levels)

    def _bbo(self, data: dict[str, Any], where: dict[str, int], found: MessageList) -> None:
        sides = field_of(data, "bbo", list)
        if len(sides) != 2 or None in sides:
            raise OtherKindError("best prices of one side")
        levels = [self._level(side, bid=bid) for bid, side in ((True, sides[0]), (False, sides[1]))]
        found.add(**where, heard=Heard.BBO, ts=time_ns(data.get("time"), "time"), levels=levels)

    def _level(self, level: Any, *, bid: bool) -> tuple[bool, int, int]:
        price, qty = field_of(level, "px", str), field_of(level, "sz", str)
        return bid, self.grid.price(price), self.grid.qty(qty, zero=False)

    def _trades(self, trades: list[Any], where: dict[str, int], found: MessageList) -> None:
        ours = [trade for trade in trades if field_of(trade, "coin", str) == self.coin]
        if not ours:
            raise OtherKindError("another symbol")
        read = []  # all of a message or nothing
        for trade in ours:
            side = {"B": Heard.TRADE_BUY, "A": Heard.TRADE_SELL}.get(field_of(trade, "side", str))
            if side is None:
                raise RefusedError("bad-side", f"side {short(trade['side'])} is neither B nor A")
            price, qty = field_of(trade, "px", str), field_of(trade, "sz", str)
            level = side == Heard.TRADE_SELL, self.grid.price(price), self.grid.qty(qty, zero=False, whole_lots=True)
            read.append((side, time_ns(trade.get("time"), "time"), whole(trade.get("tid"), "tid"), level))
        for side, ts, number, level in read:
            found.add(**where, heard=side, ts=ts, seq=number, levels=[level])


def _numbered(messages: Messages) -> Messages:
    """Return the messages with ids for books and best prices, which have none: their order in time."""
    table = messages.table.copy()
    for heard in (Heard.SNAPSHOT, Heard.BBO):
        rows = np.flatnonzero(table[:, Field.HEARD] == heard)
        order = np.argsort(table[rows, Field.TS], kind="stable")
        table[rows[order], Field.SEQ] = np.arange(len(rows))
    return Messages(table, messages.bid, messages.price, messages.qty)
