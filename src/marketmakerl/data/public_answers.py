"""ccxt's answers as columns. What a venue sent is checked here, once, and nothing doubtful goes further.

Every function raises `DataFormatError` for an answer that is not what it should be; `where` names its origin.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import DataFormatError

KLINE_COLUMNS: Final = ("ts_ms", "open", "high", "low", "close", "volume")
TRADE_COLUMNS: Final = ("ts_ns", "ts_local_ns", "price", "qty", "side", "trade_id")

_SIDES: Final = {"buy": 1, "sell": -1}
_MAX_DIGITS: Final = 18  # of an int64
_MAX_TEXT: Final = 160


class TradeRow(NamedTuple):
    """One trade: time, price, quantity, side of the aggressor (+1, -1, 0 unknown), id (-1: not a number)."""

    ts_ms: int
    price: float
    qty: float
    side: int
    trade_id: int


def bars(answer: Any, where: str) -> npt.NDArray[np.float64]:
    """Return float64[n, 6], columns as `KLINE_COLUMNS`, by time, one row an opening time."""
    width = len(KLINE_COLUMNS)
    try:
        rows = np.array([row[:width] for row in answer], np.float64).reshape(-1, width)
    except (TypeError, ValueError, LookupError) as error:
        raise DataFormatError(f"{where}: bars that are none: {short(error)}") from error
    if not np.isfinite(rows).all() or (rows[:, 0] < 0).any():
        raise DataFormatError(f"{where}: a bar with a number missing; fetch again")
    _, first = np.unique(rows[:, 0], return_index=True)
    return rows[first]


def bars_frame(rows: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Return the rows of `bars` as a frame of klines; ts_ms is int64, the rest float64."""
    frame = pd.DataFrame({name: rows[:, column] for column, name in enumerate(KLINE_COLUMNS)})
    return frame.astype({"ts_ms": np.int64})


def levels(answer: Any, side: str, where: str) -> npt.NDArray[np.float64]:
    """Return one side of a book ("bids" or "asks") as float64[n, 2]: price and quantity, in the venue's order."""
    try:
        found = np.array([level[:2] for level in answer[side]], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, LookupError) as error:
        raise DataFormatError(f"{where}: {side} that are no levels: {short(error)}") from error
    if not np.isfinite(found).all() or (found <= 0).any():
        raise DataFormatError(f"{where}: {side} with a price or quantity that is none; fetch again")
    return found


def whole_or_minus_one(value: Any, where: str) -> int:
    """Return an integer a venue may leave out; -1 where it did."""
    if value is None:
        return -1
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataFormatError(f"{where}: {value!r} is no whole number") from error


def trade_rows(answer: Any, where: str) -> list[TradeRow]:
    """Return the trades of an answer by time and id."""
    try:
        rows = [
            TradeRow(int(t["timestamp"]), float(t["price"]), float(t["amount"]), _SIDES.get(t["side"], 0), _id(t["id"]))
            for t in answer
        ]
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise DataFormatError(f"{where}: a trade that is none: {short(error)}") from error
    if any(not (0 < row.price < math.inf and 0 < row.qty < math.inf) for row in rows):
        raise DataFormatError(f"{where}: a trade with a price or quantity that is none; fetch again")
    return sorted(rows, key=lambda row: (row.ts_ms, row.trade_id))


def trades_frame(rows: list[TradeRow]) -> pd.DataFrame:
    """Return trades as a frame with the columns `TRADE_COLUMNS`; the time of receipt is -1, a fetch is no feed."""
    columns: dict[str, tuple[Any, type]] = {
        "ts_ns": ([row.ts_ms * NS_PER_MS for row in rows], np.int64),
        "ts_local_ns": ([-1] * len(rows), np.int64),
        "price": ([row.price for row in rows], np.float64),
        "qty": ([row.qty for row in rows], np.float64),
        "side": ([row.side for row in rows], np.int8),
        "trade_id": ([row.trade_id for row in rows], np.int64),
    }
    return pd.DataFrame({name: np.array(values, dtype) for name, (values, dtype) in columns.items()})


def short(error: BaseException) -> str:
    """Return an error's text in one line, not longer than a line should be."""
    text = " ".join(str(error).split())
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


def _id(trade_id: Any) -> int:
    text = str(trade_id)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else -1
