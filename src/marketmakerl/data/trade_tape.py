"""Trades alone as a tape: no market to quote in, but one to measure, to check and to join to a book."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from marketmakerl.data.clock_offset import checked_offset, on_exchange_clock
from marketmakerl.data.frames import time_of_receipt, time_sent
from marketmakerl.data.grid import to_lots, to_ticks
from marketmakerl.data.tape import EventTape, Kind

if TYPE_CHECKING:
    import pandas as pd

    from marketmakerl.core.instrument import Instrument

_KIND_OF_SIDE = np.array([Kind.TRADE_SELL, Kind.TRADE, Kind.TRADE_BUY], np.int8)


def compile_trades(
    frame: pd.DataFrame,
    instrument: Instrument,
    *,
    clock_offset_ns: Literal["auto"] | int = "auto",
    tier: str = "T1",
    source: str = "trades",
) -> EventTape:
    """Return a tape of nothing but trades, in the order of their times.

    Args:
        frame: ts_ns, ts_local_ns (-1 in every row: not recorded), price, qty, side (1, -1, 0), at least one row.
        instrument: tick and lot.
        clock_offset_ns: as in `EventTape.from_book`.
        tier: of the data.
        source: named in errors and in the tape's meta.

    Raises:
        DataFormatError: a price off the tick, a quantity off the lot, a time that is none.
        DataQualityError: NaN, a price <= 0, a negative quantity.
        ConfigError: an offset that is none.
    """
    offset = checked_offset(clock_offset_ns)
    ts = time_sent(frame["ts_ns"].to_numpy(np.int64), source)
    receipt = time_of_receipt(frame["ts_local_ns"].to_numpy(np.int64), source)
    order = np.argsort(ts, kind="stable")
    local = ts if receipt is None else receipt
    recorded = np.full(len(ts), receipt is not None)
    meta: dict[str, Any] = {
        "clock": "ticks",
        "tier": tier,
        "source": source,
        "trades": len(ts),
        "quotes": "none: trades alone are no market to quote in",
        "trades_reordered": int((np.diff(ts) < 0).sum()),
        "receipt": "not recorded" if receipt is None else "recorded",
        "rows": len(ts),
        "gaps": 0,
    }
    seen = on_exchange_clock(
        *(ts[order], local[order], recorded, recorded),
        offset_ns=offset,
        source=source,
        meta=meta,
    )
    return EventTape(
        instrument,
        ts_ns=ts[order],
        local_ts_ns=seen,
        price_ticks=to_ticks(frame["price"].to_numpy(np.float64), instrument, f"{source}, price")[order],
        qty_lots=to_lots(frame["qty"].to_numpy(np.float64), instrument, f"{source}, qty")[0][order],
        kind=_KIND_OF_SIDE[frame["side"].to_numpy(np.int64) + 1][order],
        meta=meta,
    )
