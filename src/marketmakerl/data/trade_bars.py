"""Bars made of the trades of a tick tape, as a venue makes its klines: what a bar backtest would have been given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.data.tiers import TIER_ATTR

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape

    Ints = npt.NDArray[np.int64]

TRADES: Final = (Kind.TRADE_SELL, Kind.TRADE_BUY, Kind.TRADE)


def trade_rows(tape: EventTape) -> Ints:
    """Return the rows of a tick tape that are trades.

    Raises:
        DataFormatError: the tape is one of bars.
        DataQualityError: it has no trades.
    """
    if tape.is_bars:
        raise DataFormatError(f"{_source(tape)} holds bars; bars are made of trades, so give a book with its trades")
    rows = np.flatnonzero(np.isin(np.asarray(tape.kind) & ~MORE, TRADES))
    if len(rows) == 0:
        raise DataQualityError(f"{_source(tape)} holds no trades, and bars are made of nothing else; record them too")
    return rows


def bars_from_trades(
    tape: EventTape, interval_ms: int, *, start_ns: int | None = None, bars: int | None = None
) -> pd.DataFrame:
    """Return the trades of a tick tape as klines for `EventTape.from_klines`.

    A bar opens at ts_ms and holds the trades of [ts_ms, ts_ms + interval_ms) by exchange time, as venues count them.
    One without trades stands at the last price before it, with no volume.

    Args:
        tape: ticks, with trades.
        interval_ms: bar length, whole milliseconds > 0.
        start_ns: when the first bar opens, whole milliseconds; None: the multiple of the interval (UTC) at or before
            the first trade.
        bars: how many; None: up to the bar of the last trade.

    Returns:
        ts_ms int64; open, high, low, close float64; volume float64 in base units (an inverse contract's at the bar's
        close, where `from_klines` turns it back); n_trades int64. `attrs` carry the tape's tier.

    Raises:
        ConfigError: an argument that is none.
        DataFormatError: the tape is one of bars.
        DataQualityError: no trades, or none at or before the end of the first bar, which then has no price.
    """
    if isinstance(interval_ms, bool) or not isinstance(interval_ms, int) or interval_ms < 1:
        raise ConfigError(f"interval_ms must be a whole number of milliseconds > 0, got {interval_ms!r}")
    if start_ns is not None and start_ns % NS_PER_MS:
        raise ConfigError(f"start_ns must be whole milliseconds, got {start_ns}")
    if bars is not None and bars < 1:
        raise ConfigError(f"bars must be at least 1, got {bars}")
    rows = trade_rows(tape)
    ts_ns, ticks, lots = (np.asarray(column)[rows] for column in (tape.ts_ns, tape.price_ticks, tape.qty_lots))
    interval_ns = interval_ms * NS_PER_MS
    if start_ns is None:
        start_ns = int(ts_ns[0]) // interval_ns * interval_ns
    if bars is None:
        bars = max(1, (int(ts_ns[-1]) - start_ns) // interval_ns + 1)
    first, end = np.searchsorted(ts_ns, [start_ns, start_ns + bars * interval_ns], side="left")
    bar = (ts_ns[first:end] - start_ns) // interval_ns
    traded, begins, counts = np.unique(bar, return_index=True, return_counts=True)
    if first == 0 and (len(traded) == 0 or traded[0] != 0):
        raise DataQualityError(f"{_source(tape)}: no trade in or before the first bar, so it has no price; start later")
    ohlc = _prices(ticks[:end], int(first), traded, begins, counts, bars)
    volume = np.zeros(bars, np.int64)
    n_trades = np.zeros(bars, np.int64)
    if len(traded):
        volume[traded] = np.add.reduceat(lots[first:end], begins)
        n_trades[traded] = counts
    frame = pd.DataFrame({
        "ts_ms": start_ns // NS_PER_MS + interval_ms * np.arange(bars, dtype=np.int64),
        **{name: [tape.instrument.price(int(tick)) for tick in column] for name, column in ohlc.items()},
    })  # fmt: skip
    frame["volume"] = _base_units(tape.instrument, volume, frame["close"].to_numpy(np.float64))
    frame["n_trades"] = n_trades
    frame.attrs[TIER_ATTR] = tape.tier
    return frame


def _prices(ticks: Ints, first: int, traded: Ints, begins: Ints, counts: Ints, bars: int) -> dict[str, Ints]:
    """Return open, high, low and close in ticks; `traded` are the bars with trades, from ticks[first:] on."""
    inside = ticks[first:]
    # Behind each bar stands the last trade so far: of the bar itself, of one before it, or from before the window.
    behind = np.full(bars, ticks[first - 1] if first else inside[0], np.int64)
    if len(traded):
        last = inside[begins + counts - 1]
        latest = np.searchsorted(traded, np.arange(bars), side="right") - 1
        behind[latest >= 0] = last[latest[latest >= 0]]
    ohlc = {name: behind.copy() for name in ("open", "high", "low", "close")}
    if len(traded):
        ohlc["open"][traded] = inside[begins]
        ohlc["high"][traded] = np.maximum.reduceat(inside, begins)
        ohlc["low"][traded] = np.minimum.reduceat(inside, begins)
    return ohlc


def _base_units(instrument: Instrument, lots: Ints, close: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    qty = lots * instrument.lot_size * instrument.contract_size
    return np.asarray(qty / close if instrument.kind == "inverse" else qty)


def _source(tape: EventTape) -> str:
    return str(tape.meta.get("source") or "the tape")
