"""Messages read from a capture, whatever the venue: one entry a message, its prices and quantities as ticks and lots.

Every reader fills the same table; `marketmakerl.data.captured_tape` makes a tape of it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.data.grid import MAX_PRICE_TICKS, MAX_QTY_LOTS
from marketmakerl.data.quality import MAX_TS_MS, MIN_TS_MS

Ints = npt.NDArray[np.int64]

NOT_SAID: Final = -1
HASH_PRIME: Final = 2**53 - 111  # times 257 it still fits into an int64
MIN_NS, MAX_NS = MIN_TS_MS * NS_PER_MS, MAX_TS_MS * NS_PER_MS


class Heard(enum.IntEnum):
    """What a message is."""

    DIFF = 1
    SNAPSHOT = 2
    TRADE_BUY = 3
    TRADE_SELL = 4
    AGG_BUY = 5  # several trades in one
    AGG_SELL = 6
    BBO = 7
    OTHER_DIFF = 8  # of another symbol; `prev_seq` is a hash of its name
    OTHER = 9  # anything else of another symbol


class Field(enum.IntEnum):
    """The columns of the table."""

    LINE = 0  # 1-based
    HEARD = 1
    TS = 2  # exchange time, nanoseconds; -1 where the message has none
    LOCAL = 3
    SEQ = 4  # id of the update or of the trade
    FIRST_SEQ = 5
    PREV_SEQ = 6
    START = 7  # first of its levels
    SIZE = 8


FIELDS: Final = len(Field)


class RefusedError(Exception):
    """A message that cannot be used; `code` is short and stable, the text says what is wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        """Make it anew of code and text; pickle would give `__init__` the text alone."""
        return type(self), (self.code, str(self)), self.__dict__


class OtherKindError(Exception):
    """A message that is no market data of this instrument; the text names its kind."""


@dataclass(frozen=True)
class Messages:
    """Messages of a capture.

    Attributes:
        table: int64[n, FIELDS], see `Field`.
        bid: bool[k], price, qty: int64[k], the levels: of a trade its price and quantity, of a bbo the bid, the ask.
    """

    table: Ints
    bid: npt.NDArray[np.bool_]
    price: Ints
    qty: Ints

    @classmethod
    def joined(cls, parts: list[Messages]) -> Messages:
        """Return all messages in the order of their lines."""
        before = np.cumsum([0, *(len(part.price) for part in parts)])
        tables = []
        for part, offset in zip(parts, before, strict=False):
            tables.append(part.table.copy())
            tables[-1][:, Field.START] += offset
        table = np.concatenate([np.empty((0, FIELDS), np.int64), *tables])
        order = np.argsort(table[:, Field.LINE], kind="stable")
        return cls(
            table[order],
            np.concatenate([np.empty(0, np.bool_), *(part.bid for part in parts)]),
            np.concatenate([np.empty(0, np.int64), *(part.price for part in parts)]),
            np.concatenate([np.empty(0, np.int64), *(part.qty for part in parts)]),
        )

    def __getitem__(self, field: Field) -> Ints:
        return self.table[:, field]

    def where(self, chosen: npt.NDArray[Any]) -> Messages:
        """Return some of the messages over the same levels."""
        return Messages(self.table[chosen], self.bid, self.price, self.qty)


class MessageList:
    """Messages that come one by one."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, ...]] = []
        self._bid: list[bool] = []
        self._price: list[int] = []
        self._qty: list[int] = []

    def add(
        self,
        line: int,
        heard: Heard,
        *,
        ts: int,
        local: int,
        seq: int = NOT_SAID,
        first_seq: int = NOT_SAID,
        prev_seq: int = NOT_SAID,
        levels: list[tuple[bool, int, int]],
    ) -> None:
        """Add one; levels are (bid, ticks, lots)."""
        self._rows.append((line, int(heard), ts, local, seq, first_seq, prev_seq, len(self._price), len(levels)))
        for bid, price, qty in levels:
            self._bid.append(bid)
            self._price.append(price)
            self._qty.append(qty)

    def messages(self) -> Messages:
        """Return what was added."""
        return Messages(
            np.array(self._rows, np.int64).reshape(-1, FIELDS),
            np.array(self._bid, np.bool_),
            np.array(self._price, np.int64),
            np.array(self._qty, np.int64),
        )


def time_ns(value: object, what: str) -> int:
    """Return a time given in milliseconds, microseconds or nanoseconds UTC, told apart by their number of digits.

    Raises:
        RefusedError: no whole number, or not a time from 2009 to 2100.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        for digits, unit in ((13, 1_000_000), (16, 1_000), (19, 1)):
            if 10 ** (digits - 1) <= value < 10**digits and MIN_NS <= value * unit <= MAX_NS:
                return value * unit
    raise RefusedError("bad-time", f"{what} {short(value)} is no time in ms, µs or ns UTC")


def whole(value: object, what: str) -> int:
    """Return an id.

    Raises:
        RefusedError: not a whole number from 0 to 2**62.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1 << 62:
        return value
    raise RefusedError("bad-id", f"{what} {short(value)} is no id")


def symbol_hash(name: str) -> int:
    """Return a number for a symbol's name."""
    number = 0
    for byte in name.encode():
        number = (number * 257 + byte) % HASH_PRIME
    return number


def field_of(message: Any, name: str, kind: type) -> Any:
    """Return a field of a JSON object.

    Raises:
        RefusedError: absent, or of another type.
    """
    if not isinstance(message, dict):
        raise RefusedError("bad-shape", f"{short(message)} where an object should be")
    if name not in message:
        raise RefusedError("missing-field", f"no field {name!r}")
    value = message[name]
    if not isinstance(value, kind):
        raise RefusedError("bad-shape", f"field {name!r} is {short(value)}, not a {kind.__name__}")
    return value


def in_range(ticks: int, lots: int) -> None:
    """Check that the engine has room for a price and a quantity.

    Raises:
        RefusedError: it has not.
    """
    if not 0 < ticks < MAX_PRICE_TICKS:
        raise RefusedError("bad-price", f"a price of {short(ticks)} ticks")
    if not 0 <= lots < MAX_QTY_LOTS:
        raise RefusedError("bad-quantity", f"a quantity of {short(lots)} lots")


def short(value: object) -> str:
    """Return a value as a few words for an error text, however large or deeply nested it is."""
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
