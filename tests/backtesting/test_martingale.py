"""Bars of a martingale hold no edge for a maker before fees (rule 8). If one shows, the engine is wrong."""

import functools

import numpy as np
import pandas as pd
import pytest

from marketmakerl import AvellanedaStoikov, EventTape, Fees, Instrument, RiskLimits, Symmetric, backtest

TICK = 0.5
N_RUNS, N_BARS, STEPS_PER_BAR = 200, 400, 50
Z_999 = 3.0902  # one-sided 99.9 %


@functools.cache
def martingale_tape(seed: int, skewed: bool) -> EventTape:
    """Bars of a driftless walk on ticks; skewed: rare large moves one way, many small ones the other, mean zero."""
    rng = np.random.default_rng(seed)
    size = (N_BARS, STEPS_PER_BAR)
    steps = np.where(rng.random(size) < 0.1, -9, 1) if skewed else rng.integers(-2, 3, size)
    path = 40_000 + np.cumsum(steps.ravel()).reshape(size)
    before = np.concatenate([[40_000], path[:-1, -1]])
    whole = np.column_stack([before, path])
    frame = pd.DataFrame({
        "ts_ms": 1_700_000_040_000 + 60_000 * np.arange(N_BARS),
        "open": before * TICK,
        "high": whole.max(axis=1) * TICK,
        "low": whole.min(axis=1) * TICK,
        "close": path[:, -1] * TICK,
        # Volume grows with the move, as it does in markets: a cap on fills must not let an edge in by that door.
        "volume": 5.0 + np.ptp(whole, axis=1),
    })  # fmt: skip
    return EventTape.from_klines(frame, Instrument("X/USDT", TICK, 0.01, "linear"), interval_ms=60_000, tier="T2")


MODELS = {
    "symmetric": Symmetric(6.0),
    "at the touch": Symmetric(0.1),
    "avellaneda_stoikov": AvellanedaStoikov(0.002, 0.15, 0.9, 3600.0),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("share", [0.02, 1.0])
def test_no_edge_before_fees(name, skewed, share):
    pnl, fills = [], 0
    for seed in range(N_RUNS):
        result = backtest(
            martingale_tape(seed, skewed),
            MODELS[name],
            fees=Fees(0, 0),
            order_qty=1.0,
            cash=1e6,
            bar_volume_share=share,
            risk=RiskLimits.off(),
        )
        pnl.append(result.metrics.pnl)
        fills += result.metrics.fills
    assert fills > 50 * N_RUNS  # it did trade
    error = np.std(pnl, ddof=1) / np.sqrt(N_RUNS)
    assert np.mean(pnl) < Z_999 * error, f"mean {np.mean(pnl):.2f} with standard error {error:.2f}"
