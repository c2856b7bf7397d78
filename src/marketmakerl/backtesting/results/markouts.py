"""What a run on ticks says of its fills: markouts by side and horizon, queues and latencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.backtesting.layout import HORIZONS_NS, UNKNOWN_AHEAD

if TYPE_CHECKING:
    import pandas as pd

    from marketmakerl.core.instrument import Instrument

_QUANTILES = (("p50", 50), ("p90", 90), ("p99", 99), ("max", 100))


def known_lots(lots: Any) -> Any:
    """Return quantities with NaN where nothing was known about the queue."""
    return np.where(lots < UNKNOWN_AHEAD, lots, np.nan)


def values(instrument: Instrument, prices: Any) -> Any:
    """Vectorised `Instrument.value`."""
    if instrument.kind == "inverse":
        return -instrument.contract_size / prices
    return instrument.contract_size * prices


def markout_frame(instrument: Instrument, fills: Any, mids: Any) -> pd.DataFrame:
    """Return markouts by side and horizon.

    Args:
        instrument: what was traded.
        fills: FILL[n].
        mids: float64[n, 8], the mid at each horizon, NaN where the data ended before it; None: no ticks, no rows.

    Returns:
        side, horizon_s, fills, markout_bps = 1e4 sum s q (m(t + tau) - p) / sum q p, net_bps (less fees), and
        standard_error_bps over fills.
    """
    import pandas as pd  # noqa: PLC0415

    columns = ["side", "horizon_s", "fills", "markout_bps", "net_bps", "standard_error_bps"]
    rows = []
    if mids is not None:
        price = values(instrument, fills["price_ticks"] * instrument.tick_size)
        qty = fills["qty_lots"] * instrument.lot_size
        for side in (1, -1):
            for horizon, horizon_ns in enumerate(HORIZONS_NS):
                known = (fills["side"] == side) & np.isfinite(mids[:, horizon])
                weight = qty[known] * np.abs(price[known])
                total = float(weight.sum())
                if total == 0.0:
                    rows.append((side, horizon_ns / 1e9, 0, np.nan, np.nan, np.nan))
                    continue
                gain = side * qty[known] * (values(instrument, mids[known, horizon]) - price[known])
                mean = float(gain.sum()) / total
                n = int(known.sum())
                # Of a ratio of sums: the residuals from the ratio, over the total weight.
                error = np.sqrt(np.sum((gain - mean * weight) ** 2) * n / (n - 1)) / total if n > 1 else np.nan
                fee = float(fills["fee"][known].sum()) / total
                rows.append((side, horizon_ns / 1e9, n, 1e4 * mean, 1e4 * (mean - fee), 1e4 * error))
    return pd.DataFrame(rows, columns=columns)


def markout_bps(instrument: Instrument, fills: Any, mids: Any) -> dict[str, float | None]:
    """Return markouts over both sides by horizon, as in the metrics; None where no fill has one."""
    sums = markout_sums(instrument, fills, mids)
    return {horizon: 1e4 * gain / total if total > 0 else None for horizon, (gain, total) in sums.items()}


def markout_sums(instrument: Instrument, fills: Any, mids: Any) -> dict[str, tuple[float, float]]:
    """Return by horizon what the fills have gained by then, and their value, settlement currency."""
    price = values(instrument, fills["price_ticks"] * instrument.tick_size)
    qty = fills["qty_lots"] * instrument.lot_size
    result = {}
    for horizon, horizon_ns in enumerate(HORIZONS_NS):
        known = np.isfinite(mids[:, horizon])
        gain = fills["side"][known] * qty[known] * (values(instrument, mids[known, horizon]) - price[known])
        result[f"{horizon_ns / 1e9:g}s"] = float(gain.sum()), float((qty[known] * np.abs(price[known])).sum())
    return result


def order_statistics(instrument: Instrument, orders: Any, fills: Any) -> dict[str, dict[str, float | None]]:
    """Return quantiles of the quantity joined behind (units), the time to fill and the way there (s)."""
    rested = orders[orders["live_ns"] > 0]
    maker = fills[fills["maker"] == 1]
    ahead = known_lots(rested["joined_behind_lots"])
    return {
        "joined_behind_qty": _quantiles(ahead[np.isfinite(ahead)] * instrument.lot_size),
        "time_to_fill_s": _quantiles(maker["rested_ns"] / 1e9),
        "entry_latency_s": _quantiles((rested["live_ns"] - rested["submitted_ns"]) / 1e9),
    }


def _quantiles(sample: Any) -> dict[str, float | None]:
    result: dict[str, float | None] = {"n": float(len(sample)), "mean": float(sample.mean()) if len(sample) else None}
    for name, percent in _QUANTILES:
        result[name] = float(np.percentile(sample, percent)) if len(sample) else None
    return result
