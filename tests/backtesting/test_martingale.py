"""Bars of a martingale hold no edge for a maker before fees (rule 8). If one shows, the engine is wrong."""

import functools

import numpy as np
import pandas as pd
import pytest

from marketmakerl import AvellanedaStoikov, EventTape, Fees, Instrument, RiskLimits, Symmetric, backtest
from marketmakerl.backtesting.engine import Engine

TICK, START = 0.5, 40_000
N_RUNS, N_BARS, STEPS_PER_BAR = 200, 400, 50
Z_999 = 3.0902  # one-sided 99.9 %


@functools.cache
def martingale_tape(skewed: bool) -> EventTape:
    """Bars of driftless walks on ticks, N_RUNS of them, one after another, that all start at one price.

    Skewed: rare large moves one way, many small ones the other, mean zero.
    """
    size, befores, paths = (N_BARS, STEPS_PER_BAR), [], []
    for seed in range(N_RUNS):
        rng = np.random.default_rng(seed)
        steps = np.where(rng.random(size) < 0.1, -9, 1) if skewed else rng.integers(-2, 3, size)
        paths.append(START + np.cumsum(steps.ravel()).reshape(size))
        befores.append(np.concatenate([[START], paths[-1][:-1, -1]]))
    path, before = np.concatenate(paths), np.concatenate(befores)
    whole = np.column_stack([before, path])
    frame = pd.DataFrame({
        "ts_ms": 1_700_000_040_000 + 60_000 * np.arange(N_RUNS * N_BARS),
        "open": before * TICK,
        "high": whole.max(axis=1) * TICK,
        "low": whole.min(axis=1) * TICK,
        "close": path[:, -1] * TICK,
        # Volume grows with the move, as it does in markets: a cap on fills must not let an edge in by that door.
        "volume": 5.0 + np.ptp(whole, axis=1),
    })  # fmt: skip
    return EventTape.from_klines(frame, Instrument("X/USDT", TICK, 0.01, "linear"), interval_ms=60_000, tier="T2")


def run_of(seed: int, skewed: bool) -> EventTape:
    tape = martingale_tape(skewed)
    rows = len(tape) // N_RUNS
    return tape.slice_rows(seed * rows, (seed + 1) * rows)


MODELS = {
    "symmetric": Symmetric(6.0),
    "at the touch": Symmetric(0.1),
    "avellaneda_stoikov": AvellanedaStoikov(0.002, 0.15, 0.9, 3600.0),
}
ARGUMENTS = {"fees": Fees(0, 0), "order_qty": 1.0, "cash": 1e6, "risk": RiskLimits.off()}


def outcomes(name: str, skewed: bool, share: float) -> tuple[list[float], list[int]]:
    """Return each run's profit and fills: one engine, set back to its beginning each time, which is far cheaper."""
    engine = Engine(martingale_tape(skewed).instrument, MODELS[name], bars=True, first_price=START * TICK,
                    book_window_ticks=64, bar_volume_share=share, **ARGUMENTS)  # fmt: skip
    beginning, fills, ends = engine.snapshot(), [], []
    for seed in range(N_RUNS):
        tape = run_of(seed, skewed)
        engine.restore(beginning)
        engine.feed(tape)
        engine.finish()
        fills.append(int(engine.state.ledger.fills))
        ends.append(tape.ts_ns[-1])
    samples = engine.samples()  # of all runs; each begins when the one before it ends
    last = [*np.flatnonzero(np.diff(samples["ts_ns"]) == 0), len(samples) - 1]
    assert samples["ts_ns"][last].tolist() == ends
    return (samples["equity"][last] - ARGUMENTS["cash"]).tolist(), fills


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("share", [0.02, 1.0])
def test_no_edge_before_fees(name, skewed, share):
    pnl, fills = outcomes(name, skewed, share)
    for seed in (0, 1, N_RUNS - 1):  # that is what a backtest says
        result = backtest(run_of(seed, skewed), MODELS[name], bar_volume_share=share, **ARGUMENTS)
        assert (result.metrics.pnl, result.metrics.fills) == (pnl[seed], fills[seed])
    assert sum(fills) > 50 * N_RUNS  # it did trade
    error = np.std(pnl, ddof=1) / np.sqrt(N_RUNS)
    assert np.mean(pnl) < Z_999 * error, f"mean {np.mean(pnl):.2f} with standard error {error:.2f}"
