"""The compiled engine against a slow Python one that shares no code with it: fills equal in ticks and lots."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmakerl import AvellanedaStoikov, EventTape, Fees, Instrument, RiskLimits, Symmetric, backtest
from oracles.bar_engine import Bar, run
from searches import many

TICK, LOT, INTERVAL_S = 0.5, 0.25, 60


def random_bars(rng: np.random.Generator, n: int, scale: int, holes: bool) -> list[Bar]:
    bars, open_s, close = [], 1_700_000_040, 2_000
    for _ in range(n):
        if holes and rng.random() < 0.05:
            open_s += INTERVAL_S * int(rng.integers(1, 5))
        opened = max(1, close + int(rng.integers(-1, 2)))
        close = max(1, opened + int(rng.integers(-scale, scale + 1)))
        low = max(1, min(opened, close) - int(rng.integers(0, scale + 1)))
        high = max(opened, close) + int(rng.integers(0, scale + 1))
        bars.append((open_s, opened, high, low, close, int(rng.integers(0, 400))))
        open_s += INTERVAL_S
    return bars


def frame_of(bars) -> pd.DataFrame:
    rows = [(s * 1000, o * TICK, h * TICK, l * TICK, c * TICK, v * LOT) for s, o, h, l, c, v in bars]
    return pd.DataFrame(rows, columns=["ts_ms", "open", "high", "low", "close", "volume"])


def a_s_offsets(gamma: float, k: float, sigma: float):
    """Equations 29 and 30 of Avellaneda & Stoikov, written out anew."""

    def quote(q: float, left_s: float) -> tuple[float, float]:
        spread = gamma * sigma**2 * left_s + 2 / gamma * math.log(1 + gamma / k)
        lean = -q * gamma * sigma**2 * left_s
        return spread / 2 - lean, spread / 2 + lean

    return quote


@settings(max_examples=many(40, 150), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    spot=st.booleans(),
    holes=st.booleans(),
    scale=st.integers(1, 30),
    order_lots=st.integers(1, 60),
    fee_bps=st.sampled_from([-1.0, 0.0, 2.0, 10.0]),
    a_s=st.booleans(),
    share=st.sampled_from([0.05, 0.5, 1.0]),
    min_notional=st.sampled_from([0.0, 2_000.0]),
    cash=st.sampled_from([4_000, 100_000]),
)
def test_fills_and_equity_agree(seed, spot, holes, scale, order_lots, fee_bps, a_s, share, min_notional, cash):
    rng = np.random.default_rng(seed)
    raw = random_bars(rng, 60, scale, holes)
    kind = "spot" if spot else "linear"
    instrument = Instrument("X/USDT", TICK, LOT, kind, 1.0, min_notional)
    horizon_s = 600.0
    gamma, k, sigma = 0.01, float(rng.uniform(0.2, 3)), float(rng.uniform(0, 1))
    if a_s:
        model, quote, session_s = (
            AvellanedaStoikov(gamma, k, sigma, horizon_s),
            a_s_offsets(gamma, k, sigma),
            horizon_s,
        )
    else:
        half = float(rng.uniform(0.1, 10))
        model, quote, session_s = Symmetric(half), lambda _q, _left: (half, half), math.inf
    tape = EventTape.from_klines(frame_of(raw), instrument, interval_ms=INTERVAL_S * 1000)
    result = backtest(
        tape,
        model,
        fees=Fees(fee_bps, 5),
        order_qty=order_lots * LOT,
        cash=cash,
        bar_volume_share=share,
        risk=RiskLimits.off(),
    )
    first = raw[0][1]
    price = Fraction(first) * Fraction(TICK)
    lots = math.floor(Fraction(cash) / 2 / price / Fraction(LOT)) if spot else 0
    wanted = run(
        [Bar(s, l, h, c, v) for s, _o, h, l, c, v in raw], quote, interval_s=INTERVAL_S, tick=TICK, lot=LOT, spot=spot,
        cash=Fraction(cash) - lots * Fraction(LOT) * price, lots=lots, order_lots=order_lots,
        target=lots if spot else 0, maker=Fraction(fee_bps) / 10_000, min_notional=min_notional, share=Fraction(share),
        session_s=session_s,
    )  # fmt: skip
    closes = {(s + INTERVAL_S) * 10**9: i for i, (s, *_rest) in enumerate(raw)}
    got = [
        (closes[f.ts_ns], f.side, round(f.price / TICK), round(f.qty / LOT)) for f in result.fills.itertuples()
    ]  # fmt: skip
    assert got == wanted["fills"]
    equity = result.equity["equity"].to_numpy()[1:]  # the first sample is the opening balance
    np.testing.assert_allclose(equity, [float(e) for e in wanted["equity"]], rtol=1e-9, atol=1e-7)
    assert result.metrics.final_inventory == pytest.approx(wanted["lots"] * LOT)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["spot", "linear", "inverse"]), fee_bps=st.floats(-5, 20))
def test_the_identity_holds_on_random_runs(seed, kind, fee_bps):
    rng = np.random.default_rng(seed)
    instrument = Instrument("X/USD", TICK, LOT, kind, 1.0)
    tape = EventTape.from_klines(frame_of(random_bars(rng, 200, 12, holes=True)), instrument, interval_ms=60_000)
    cash = 10.0 if kind == "inverse" else 50_000.0
    result = backtest(
        tape,
        Symmetric(1.5),
        fees=Fees(fee_bps, 5),
        order_qty=10 * LOT,
        cash=cash,
        bar_volume_share=1.0,
        risk=RiskLimits.off(),
    )
    m = result.metrics
    parts = m.gross_spread_pnl + m.inventory_pnl + m.funding_pnl - m.fees_paid
    assert abs(m.pnl - parts) <= 1e-9 * max(1.0, m.turnover)
    fills = result.fills
    value = (lambda p: -1.0 / p) if kind == "inverse" else (lambda p: p)
    rate = float(result.equity["mid"].iloc[-1]) if kind == "inverse" else 1.0
    spread = (fills["side"] * fills["qty"] * (value(fills["mid"]) - value(fills["price"]))).sum() * rate
    assert m.gross_spread_pnl == pytest.approx(spread, abs=1e-9 * max(1.0, m.turnover))
    assert m.fees_paid == pytest.approx(fills["fee"].sum() * rate, abs=1e-9 * max(1.0, m.turnover))
    assert m.pnl == pytest.approx(
        (result.equity["equity"].iloc[-1] - result.equity["equity"].iloc[0]) * rate, abs=1e-9 * max(1.0, m.turnover)
    )


@pytest.mark.parametrize("fee_bps", [0.0, 3.0, 7.5])
def test_a_fee_moves_money_and_nothing_else(fee_bps):
    bars = frame_of(random_bars(np.random.default_rng(3), 500, 10, holes=False))
    tape = EventTape.from_klines(bars, Instrument("X/USDT", TICK, LOT, "linear"), interval_ms=60_000)
    free, paid = (
        backtest(tape, Symmetric(2.0), fees=Fees(bps, 5), order_qty=5, cash=1e6, risk=RiskLimits.off())
        for bps in (0.0, fee_bps)
    )  # fmt: skip
    assert free.metrics.fills > 50
    pd.testing.assert_frame_equal(free.fills.drop(columns="fee"), paid.fills.drop(columns="fee"))
    assert free.metrics.pnl - paid.metrics.pnl == pytest.approx(fee_bps * 1e-4 * free.metrics.turnover, abs=1e-6)
