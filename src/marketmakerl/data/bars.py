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
from marketmakerl.data.tape import EventTape, Kind
from marketmakerl.data.tiers import TIER_ATTR

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import pandas as pd

    from marketmakerl.core.instrument import Instrument

COLUMNS = ("ts_ms", "open", "high", "low", "close", "volume")  # of a bar, as far as a tape is made of it
# Beyond this a float64 no longer holds every integer, and a lot count would be rounded in silence.
_MAX_EXACT = 2**53
# A price this close to a tick is on it (float noise); anything further off is rounded against the maker.
_TICK_EPS = 1e-6


def compile_bars(
    df: pd.DataFrame,
    instrument: Instrument,
    *,
    interval_ms: int | None = None,
    tier: str | None = None,
    source: str = "klines",
) -> EventTape:
    """Compile klines to an event tape.

    Args:
        df: columns ts_ms (int64 UTC opening time, increasing), open, high, low, close, volume (base units).
        instrument: tick and lot. Prices off the tick are rounded so that fewer orders fill: the low up, the high down.
        interval_ms: bar length; None takes the commonest step between bars.
        tier: None takes what the frame says of itself (`df.attrs["mml.tier"]`; synthetic bars say T2), else T1.
        source: named in errors and in the tape's meta.

    Raises:
        DataFormatError: a column is missing, of the wrong type, or there are no rows.
        DataQualityError: NaN, zero price, negative volume, time not increasing, a low above a high: each with row and
            time. Exact duplicates are refused here too: merge first (`marketmakerl.data.klines`).
    """
    from marketmakerl.data.quality import check_klines  # noqa: PLC0415  (pandas: half a second that only frames need)

    report = check_klines(df, interval_ms, instrument)
    report.raise_on_error(source)
    interval_ms = interval_ms or report.interval_ms
    if interval_ms is None:
        raise DataFormatError(f"{source}: one bar does not say its length; give interval_ms")
    columns = {name: df[name].to_numpy(np.int64 if name == "ts_ms" else np.float64) for name in COLUMNS}
    tier = tier or str(df.attrs.get(TIER_ATTR, "T1"))
    return tape_of_bars(
        columns, instrument, interval_ms=interval_ms, tier=tier, source=source, warnings=len(report.warnings)
    )


def tape_of_bars(
    columns: Mapping[str, Any],
    instrument: Instrument,
    *,
    interval_ms: int,
    tier: str,
    source: str = "klines",
    warnings: int = 0,
) -> EventTape:
    """Compile bars that have been checked, or come from a generator of ours: arrays by the names of `compile_bars`.

    Raises:
        DataFormatError: prices or volumes that make no whole ticks and lots, or bars that overlap.
    """
    ts_ms = columns["ts_ms"]
    if len(ts_ms) > 1 and np.diff(ts_ms).min() < interval_ms:
        row = int(np.argmax(np.diff(ts_ms) < interval_ms)) + 1
        raise DataFormatError(
            f"{source}: row {row} opens before the bar ahead of it has closed ({interval_ms} ms bars)"
        )

    ticks = {name: columns[name] / instrument.tick_size for name in ("open", "high", "low", "close")}
    lots = np.floor(_quantity(columns, instrument) / instrument.lot_size + _TICK_EPS)
    if lots.max() > _MAX_EXACT or max(t.max() for t in ticks.values()) > _MAX_EXACT:
        raise DataFormatError(f"{source}: prices or volumes too large for tick {instrument.tick_size:g} and lot "
                              f"{instrument.lot_size:g}; check the instrument")  # fmt: skip
    volume = lots.astype(np.int64)
    # On a bar narrower than a tick the low may end above the high: it traded through nothing, and fills nothing.
    low, high = np.ceil(ticks["low"] - _TICK_EPS), np.floor(ticks["high"] + _TICK_EPS)
    near = np.rint(ticks["close"])
    if min(near.min(), high.min()) < 1:
        row = int(np.argmin(np.minimum(near, high)))
        raise DataFormatError(f"{source}: row {row} is below one tick ({instrument.tick_size:g}); check the instrument")

    interval_ns = interval_ms * NS_PER_MS
    open_ns = ts_ms * NS_PER_MS
    rows = [
        (Kind.BAR_OPEN, open_ns, np.rint(ticks["open"]), np.zeros_like(volume)),
        (Kind.BAR_LOW, open_ns + interval_ns, low, volume // 2),
        (Kind.BAR_HIGH, open_ns + interval_ns, high, volume // 2),
        (Kind.BAR_CLOSE, open_ns + interval_ns, near, volume),
    ]
    kind = np.tile(np.array([row[0] for row in rows], np.int8), len(ts_ms))
    ts, price, qty = (np.stack([row[i] for row in rows], axis=1).astype(np.int64).ravel() for i in (1, 2, 3))
    holes = np.flatnonzero(np.diff(open_ns) > interval_ns) + 1
    at = holes * len(rows)
    ts = np.insert(ts, at, open_ns[holes - 1] + interval_ns)
    meta: dict[str, Any] = {
        "clock": "bars",
        "interval_ns": interval_ns,
        "tier": tier,
        "source": source,
        "bars": len(ts_ms),
        "gaps": len(holes),
        "warnings": warnings,
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


def _quantity(columns: Mapping[str, Any], instrument: Instrument) -> npt.NDArray[np.float64]:
    """Return the bars' volume, which klines state in base units, in units of quantity: base units or contracts."""
    base = columns["volume"]
    if instrument.kind == "inverse":
        return np.asarray(base * columns["close"] / instrument.contract_size)
    return np.asarray(base / instrument.contract_size)
