"""Bars compiled to events (DESIGN section 4, rule 8).

A bar becomes four rows: its open at the opening time, then its low, its high and its close at the closing time. Which
of low and high came first is unknown, and nothing depends on it: fills happen at the limit, both are marked against
the last price before the bar, and each side may take a share of half the bar's volume, so the two together never
exceed the stated share of the whole. A hole between bars becomes one GAP row, at which quotes are pulled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import DataFormatError
from marketmakerl.data.quality import check_klines
from marketmakerl.data.tape import EventTape, Kind

if TYPE_CHECKING:
    import pandas as pd

    from marketmakerl.core.instrument import Instrument

# Beyond this a float64 no longer holds every integer, and a lot count would be rounded in silence.
_MAX_EXACT = 2**53
# A price this close to a tick is on it (float noise); anything further off is rounded against the maker.
_TICK_EPS = 1e-6


def compile_bars(
    df: pd.DataFrame,
    instrument: Instrument,
    *,
    interval_ms: int | None = None,
    tier: str = "T1",
    source: str = "klines",
) -> EventTape:
    """Compile klines to an event tape.

    Args:
        df: columns ts_ms (int64 UTC opening time, increasing), open, high, low, close, volume (base units).
        instrument: tick and lot. Prices off the tick are rounded so that fewer orders fill: the low up, the high down.
        interval_ms: bar length; None takes the smallest step between bars.
        tier: T1 for recorded data, T2 for synthetic.
        source: named in errors and in the tape's meta.

    Raises:
        DataFormatError: a column is missing, of the wrong type, or there are no rows.
        DataQualityError: NaN, zero price, negative volume, time not increasing, a low above a high: each with row and
            time. Exact duplicates are refused here too: merge first (`marketmakerl.data.klines`).
    """
    report = check_klines(df, interval_ms, instrument)
    report.raise_on_error(source)
    ts_ms = df["ts_ms"].to_numpy(np.int64)
    if interval_ms is None:
        if len(ts_ms) < 2:
            raise DataFormatError(f"{source}: one bar does not say its length; give interval_ms")
        interval_ms = int(np.diff(ts_ms).min())
    if len(ts_ms) > 1 and np.diff(ts_ms).min() < interval_ms:
        row = int(np.argmax(np.diff(ts_ms) < interval_ms)) + 1
        raise DataFormatError(
            f"{source}: row {row} opens before the bar ahead of it has closed ({interval_ms} ms bars)"
        )

    ticks = {name: df[name].to_numpy(np.float64) / instrument.tick_size for name in ("open", "high", "low", "close")}
    lots = np.floor(df["volume"].to_numpy(np.float64) / instrument.lot_size + _TICK_EPS)
    if lots.max() > _MAX_EXACT or max(t.max() for t in ticks.values()) > _MAX_EXACT:
        raise DataFormatError(f"{source}: prices or volumes too large for tick {instrument.tick_size:g} and lot "
                              f"{instrument.lot_size:g}; check the instrument")  # fmt: skip
    volume = lots.astype(np.int64)
    # A low rounded up and a high rounded down to the tick can cross inside a bar narrower than one tick: then the
    # bar traded through nothing, and the nearest tick stands for both.
    near = np.rint(ticks["close"])
    low = np.minimum(np.ceil(ticks["low"] - _TICK_EPS), near)
    high = np.maximum(np.floor(ticks["high"] + _TICK_EPS), near)

    if low.min() < 1:
        raise DataFormatError(f"{source}: row {int(np.argmin(low))} is below one tick of {instrument.tick_size:g}; "
                              "check the instrument's tick size")  # fmt: skip

    interval_ns = interval_ms * NS_PER_MS
    open_ns = ts_ms * NS_PER_MS
    rows = [
        (Kind.BAR_OPEN, open_ns, np.rint(ticks["open"]), np.zeros_like(volume)),
        (Kind.BAR_LOW, open_ns + interval_ns, low, volume // 2),
        (Kind.BAR_HIGH, open_ns + interval_ns, high, volume // 2),
        (Kind.BAR_CLOSE, open_ns + interval_ns, near, volume),
    ]
    kind = np.tile(np.array([row[0] for row in rows], np.int8), len(df))
    ts, price, qty = (np.stack([row[i] for row in rows], axis=1).astype(np.int64).ravel() for i in (1, 2, 3))
    holes = np.flatnonzero(np.diff(open_ns) > interval_ns) + 1
    at = holes * len(rows)
    ts = np.insert(ts, at, open_ns[holes - 1] + interval_ns)
    meta: dict[str, Any] = {
        "clock": "bars",
        "interval_ns": interval_ns,
        "tier": tier,
        "source": source,
        "bars": len(df),
        "gaps": len(holes),
        "warnings": len(report.warnings),
    }
    # A closing price is known when the bar closes, and no sooner.
    return EventTape(
        instrument,
        ts_ns=ts,
        local_ts_ns=ts,
        price_ticks=np.insert(price, at, price[at - 1]),
        qty_lots=np.insert(qty, at, 0),
        kind=np.insert(kind, at, np.int8(Kind.GAP)),
        meta=meta,
    )
