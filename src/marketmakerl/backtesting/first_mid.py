"""What a tape shows before anything is traded on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.order_script import OrderScript
from marketmakerl.core.errors import DataFormatError
from marketmakerl.core.fees import Fees

if TYPE_CHECKING:
    from collections.abc import Iterator

    from marketmakerl.data.tape import EventTape

_ROWS = 4096
NO_BOOK = "the tape never shows a bid and an ask at once: there was nothing to quote against"


def probes(tape: EventTape) -> Iterator[Engine]:
    """Yield an engine that trades nothing after every few thousand rows of the tape."""
    engine = Engine(
        tape.instrument, OrderScript(), fees=Fees(0.0, 0.0), order_qty=tape.instrument.lot_size, cash=1.0,
        first_price=1.0, initial_inventory=0.0,
    )  # fmt: skip
    for row in range(0, len(tape), _ROWS):
        engine.feed(tape.slice_rows(row, min(row + _ROWS, len(tape))))
        yield engine


def first_mid(tape: EventTape) -> float:
    """Return the first mid of a tape (bars: the first price): what a spot budget is split at.

    Raises:
        DataFormatError: the tape never shows a two-sided book.
    """
    if tape.is_bars:
        return float(tape.price_ticks[0]) * tape.instrument.tick_size
    for engine in probes(tape):
        if engine.state.ledger.start_mark > 0.0:
            return float(engine.state.ledger.start_mark)
    raise DataFormatError(NO_BOOK)
