"""Recorded frames (book, trades, best prices) as columns on the instrument's grid, or an error that names the row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from marketmakerl.core.errors import DataFormatError, DataQualityError
from marketmakerl.data.frames import read_columns, time_of_receipt, time_sent
from marketmakerl.data.grid import to_lots, to_ticks
from marketmakerl.data.recorded_columns import BboColumns, BookColumns, TradeColumns

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from marketmakerl.core.instrument import Instrument

    Ints = npt.NDArray[np.int64]

_TIMES: Final = {"ts_ns": "int", "ts_local_ns": "int"}
_LEVEL: Final = {"side": "int", "price": "float", "qty": "float"}
BOOK_COLUMNS: Final = _TIMES | _LEVEL | {"is_snapshot": "bool", "first_seq": "int", "seq": "int", "prev_seq": "int"}
TRADE_COLUMNS: Final = _TIMES | _LEVEL
BBO_COLUMNS: Final = _TIMES | dict.fromkeys(("bid_px", "bid_qty", "ask_px", "ask_qty"), "float") | {"seq": "int"}
# So many book levels may hold odd lots, see `to_lots`. Binance spot 2024: 2 in 100,000 rows.
OFF_LOT_SHARE: Final = 1e-3


def trade_columns(frame: pd.DataFrame, instrument: Instrument, what: str) -> TradeColumns:
    """Return recorded trades on the grid; raises what `EventTape.from_book` does."""
    column = read_columns(frame, TRADE_COLUMNS, what)
    ts, local = time_sent(column["ts_ns"], what), time_of_receipt(column["ts_local_ns"], what)
    side = _sides(column["side"], (-1, 0, 1), what)
    price = to_ticks(column["price"], instrument, f"{what}, price")
    qty, _ = to_lots(column["qty"], instrument, f"{what}, qty")
    if not qty.all():
        raise DataQualityError(f"{what}, row {int(np.argmin(qty))}: a trade of nothing")
    return TradeColumns(ts, local, side, price, qty)


def bbo_columns(frame: pd.DataFrame, instrument: Instrument, what: str) -> BboColumns:
    """Return recorded best prices on the grid; raises what `EventTape.from_book` does."""
    column = read_columns(frame, BBO_COLUMNS, what)
    local = time_of_receipt(column["ts_local_ns"], what)
    ts = column["ts_ns"] if (column["ts_ns"] == -1).all() else time_sent(column["ts_ns"], what)
    prices = [to_ticks(column[f"{side}_px"], instrument, f"{what}, {side}_px") for side in ("bid", "ask")]
    qtys = [to_lots(column[f"{side}_qty"], instrument, f"{what}, {side}_qty")[0] for side in ("bid", "ask")]
    for side, qty in zip(("bid", "ask"), qtys, strict=True):
        if not qty.all():
            raise DataQualityError(f"{what}, row {int(np.argmin(qty))}: {side}_qty is zero; a best price holds some")
    return BboColumns(ts, local, column["seq"], np.stack(prices, axis=1), np.stack(qtys, axis=1))


def book_columns(frame: pd.DataFrame, instrument: Instrument, what: str) -> BookColumns:
    """Return a recorded book on the grid, its messages in the order of their ids; raises what `from_book` does."""
    column = read_columns(frame, BOOK_COLUMNS, what)
    snapshot, seq, side = column["is_snapshot"], column["seq"], _sides(column["side"], (-1, 1), what)
    ts = time_sent(column["ts_ns"], what, may_lack=snapshot)
    local = time_of_receipt(column["ts_local_ns"], what)
    price = to_ticks(column["price"], instrument, f"{what}, price")
    qty, odd = to_lots(column["qty"], instrument, f"{what}, qty", off_lot_share=OFF_LOT_SHARE)
    if seq.min() < 0:
        raise DataFormatError(f"{what}, row {int(np.argmin(seq))}: seq {seq.min()}: every update needs its id")
    order = np.lexsort((snapshot, seq))  # a snapshot after the diff of its own id
    by_id, full = seq[order], snapshot[order]
    start = np.flatnonzero(np.r_[True, (np.diff(by_id) != 0) | (np.diff(full))])
    first = order[start]
    return BookColumns(
        ts=ts[first],
        local=None if local is None else np.maximum.reduceat(local[order], start),
        seq=seq[first],
        first_seq=column["first_seq"][first],
        prev_seq=column["prev_seq"][first],
        snapshot=snapshot[first],
        start=start,
        size=np.diff(np.append(start, len(seq))),
        bid=(side > 0)[order],
        price=price[order],
        qty=qty[order],
        off_lot=odd,
        reordered=int((np.diff(seq[~snapshot]) < 0).sum()),
    )


def _sides(side: Ints, allowed: tuple[int, ...], what: str) -> Ints:
    wrong = ~np.isin(side, allowed)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataFormatError(f"{what}, row {row}: side {side[row]}; known: {', '.join(map(str, allowed))}")
    return side
