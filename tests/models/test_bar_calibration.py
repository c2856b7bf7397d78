import numpy as np
import pandas as pd
import pytest

from marketmakerl import EventTape, Instrument
from marketmakerl.core.errors import DataQualityError, UnknownNameError
from marketmakerl.models.bar_calibration import estimate_from_bars
from marketmakerl.models.registry import MODEL_IDS, calibrated_model, risk_aversion

INSTRUMENT = Instrument("X/USDT", 0.01, 0.01)


def tape_of(close, excursion, gap_at=None):
    n = len(close)
    opened = np.concatenate([[close[0]], close[:-1]])
    ts = 1_700_000_040_000 + 60_000 * np.arange(n)
    if gap_at:
        ts[gap_at:] += 3_600_000
    frame = pd.DataFrame({
        "ts_ms": ts, "open": opened, "high": np.maximum(opened, close) + 0.0, "low": np.minimum(opened, close),
        "close": close, "volume": 1.0,
    })  # fmt: skip
    frame["high"] = np.maximum(frame["high"], opened + excursion)
    frame["low"] = np.minimum(frame["low"], opened - excursion)
    return EventTape.from_klines(frame, INSTRUMENT, interval_ms=60_000)


def test_sigma_and_k_of_a_known_market():
    rng = np.random.default_rng(5)
    n = 20_000
    close = 10_000 + np.cumsum(rng.normal(0, 0.5 * np.sqrt(60), n))
    excursion = rng.exponential(25.0, n)
    estimate = estimate_from_bars(tape_of(close, excursion))
    assert estimate.sigma == pytest.approx(0.5, rel=0.02)
    # The bar's own move counts where it went further than the draw, so the mean is a little above 25.
    assert estimate.k == pytest.approx(1 / 25, rel=0.03)
    assert estimate.arrival_rate == 1 / 60  # one chance a bar
    assert estimate.bars == n - 1


def test_nothing_is_differenced_across_a_gap():
    rng = np.random.default_rng(6)
    close = 10_000 + np.cumsum(rng.normal(0, 1, 400))
    jumped = close.copy()
    jumped[200:] += 5_000
    with_jump = estimate_from_bars(tape_of(jumped, np.full(400, 1.0), gap_at=200))
    without = estimate_from_bars(tape_of(close, np.full(400, 1.0), gap_at=200))
    assert with_jump.bars == 398
    assert with_jump.sigma == pytest.approx(without.sigma, rel=1e-6)


def test_what_cannot_be_estimated_is_refused():
    with pytest.raises(DataQualityError, match="are needed"):
        estimate_from_bars(tape_of(np.linspace(100, 101, 20), np.ones(20)))
    with pytest.raises(DataQualityError, match="did not move"):
        estimate_from_bars(tape_of(np.full(100, 100.0), np.zeros(100)))


def test_every_model_can_be_made_and_leans_by_one_over_k():
    estimate = estimate_from_bars(tape_of(10_000 + np.cumsum(np.random.default_rng(1).normal(0, 1, 300)), np.ones(300)))
    for model_id in MODEL_IDS:
        model = calibrated_model(model_id, estimate, horizon_s=600, inventory_range=5)
        assert model.id == model_id
        bid, ask = model.offsets(0.0)
        assert bid > 0
        assert ask > 0
    gamma = risk_aversion(estimate, 600, 5)
    assert 5 * gamma * estimate.sigma**2 * 600 == pytest.approx(1 / estimate.k)
    with pytest.raises(UnknownNameError, match="did you mean horizon_s"):
        calibrated_model("avellaneda_stoikov", estimate, fixed={"horizon": 1.0})
