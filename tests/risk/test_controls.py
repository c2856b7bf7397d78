"""Each control, alone, on bars made so that it must act, against the same run without it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl import EventTape, Fees, Instrument, RiskLimits, Symmetric, backtest

INSTRUMENT = Instrument("X/USDT", 0.01, 0.01, "linear")
OFF = RiskLimits.off()
FREE = Fees(0, 5)


def tape_of(closes, wiggle=0.6, up=None) -> EventTape:
    """Bars that trade `wiggle` below and `up` above their open and close."""
    closes = np.round(np.asarray(closes, float), 2)
    opens = np.concatenate([[closes[0]], closes[:-1]])
    frame = pd.DataFrame({
        "ts_ms": 1_700_000_040_000 + 60_000 * np.arange(len(closes)), "open": opens, "close": closes,
        "high": np.maximum(opens, closes) + (wiggle if up is None else up), "low": np.minimum(opens, closes) - wiggle,
        "volume": 1e6,
    })  # fmt: skip
    return EventTape.from_klines(
        frame[["ts_ms", "open", "high", "low", "close", "volume"]], INSTRUMENT, interval_ms=60_000
    )


def walk(n=600, seed=1, sigma=0.3):
    return 100 + np.cumsum(np.random.default_rng(seed).normal(0, sigma, n))


def run(tape, limits, half_spread=0.5, fees=FREE, cash=10_000.0, qty=5.0):
    return backtest(tape, Symmetric(half_spread), fees=fees, order_qty=qty, cash=cash, risk=limits)


def test_edge_filter_stops_quotes_that_cannot_earn_their_fee():
    tape = tape_of(walk())
    limits = replace(OFF, min_edge_bps=1.0)
    # Half-spread 0.5 at about 100 is 50 bps: with a 48 bps fee it earns 2, with a 70 bps fee nothing.
    assert run(tape, limits, fees=Fees(40, 50)).metrics.fills > 50
    none = run(tape, limits, fees=Fees(70, 80)).metrics
    assert none.fills == 0
    assert none.suppressed_pct["edge"] == 1.0
    assert "edge" in none.no_fills_because
    assert run(tape, OFF, fees=Fees(70, 80)).metrics.fills > 50


def test_hard_inventory_limit_holds_for_every_fill():
    tape = tape_of(100 - 0.02 * np.arange(600), up=0.0)  # a trend that only fills bids
    free, held = run(tape, OFF), run(tape, replace(OFF, hard_inventory_pct=0.2))
    worth = held.fills["inventory"].abs() * held.fills["price"]
    assert worth.max() <= 0.2 * 10_000 * 1.001
    assert free.metrics.max_abs_inventory > 3 * held.metrics.max_abs_inventory
    assert held.metrics.suppressed_pct["inventory_limit"] > 0


@given(st.integers(0, 2**31), st.sampled_from([0.05, 0.1, 0.3]))
def test_the_hard_limit_holds_on_any_walk(seed, hard):
    tape = tape_of(np.maximum(walk(200, seed, 0.5), 20))
    result = run(tape, replace(OFF, soft_inventory_pct=hard / 2, hard_inventory_pct=hard), qty=3.0)
    fills = result.fills
    # Checked at the mid of the decision, which is the mid that stood before the fill.
    worth = fills["inventory"].abs() * fills["mid"]
    added = fills["inventory"] * fills["side"] > 0
    assert (worth[added] <= hard * 10_000 + 1e-6).all()


def test_soft_inventory_limit_cuts_sizes_on_the_way_to_the_hard_one():
    tape = tape_of(100 - 0.02 * np.arange(600), up=0.0)
    result = run(tape, replace(OFF, soft_inventory_pct=0.1, hard_inventory_pct=0.4))
    sizes = result.orders.loc[result.orders["side"] == 1, "qty"]
    assert sizes.iloc[0] == 5.0
    assert 0 < sizes[sizes > 0].min() < 2.5
    assert sizes.is_monotonic_decreasing


def test_volatility_widens_the_quotes_and_only_as_far_as_allowed():
    calm, wild = np.random.default_rng(2).normal(0, 0.05, 400), np.random.default_rng(3).normal(0, 1.0, 100)
    tape = tape_of(200 + np.cumsum(np.concatenate([calm, wild])), wiggle=0.05)
    result = run(tape, replace(OFF, vol_widen_max=2.5))
    orders = result.orders[(result.orders["side"] == 1) & (result.orders["status"] != "expired")]
    mid = dict(zip(result.equity["ts_ns"], result.equity["mid"], strict=True))
    distance = orders["submitted_ns"].map(mid) - orders["price"]
    early, late = distance.iloc[100:350], distance.iloc[-50:]
    assert late.median() > 1.5 * early.median()
    assert distance.max() <= 0.5 * 2.5 + 0.011


def test_a_falling_knife_stops_the_bids_but_not_the_asks():
    closes = np.concatenate([walk(300, sigma=0.05), 100 - 1.5 * np.arange(1, 6), np.full(20, 92.5)])
    tape = tape_of(closes, wiggle=0.2, up=0.0)  # only bids fill: a bid never reduces a short here
    result = run(tape, replace(OFF, adverse_move_sigma=3.0), half_spread=0.1)
    assert result.metrics.suppressed_pct["adverse_move"] > 0
    fall_ns = tape.ts_ns[tape.kind == 4][301]
    stopped = result.orders[
        (result.orders["submitted_ns"] >= fall_ns) & (result.orders["submitted_ns"] < fall_ns + 3e11)
    ]
    assert (stopped["side"] == -1).any()
    assert not (stopped["side"] == 1).any()


def test_a_fill_that_was_run_over_keeps_its_side_out_for_a_while():
    closes = np.concatenate([walk(300, sigma=0.05), [96.0], np.full(30, 96.0)])
    tape = tape_of(closes, wiggle=0.2, up=0.0)  # only bids fill: a bid never reduces a short here
    limits = replace(OFF, cooldown_sigma=3.0, cooldown_s=600.0)
    result = run(tape, limits, half_spread=0.1)
    hit_ns = tape.ts_ns[tape.kind == 4][300]
    bids = result.orders[result.orders["side"] == 1]
    quiet = bids[(bids["submitted_ns"] >= hit_ns) & (bids["submitted_ns"] < hit_ns + 600e9)]
    assert result.metrics.suppressed_pct["cooldown"] > 0
    assert len(quiet) == 0
    assert len(bids[bids["submitted_ns"] >= hit_ns + 600e9]) > 0


def crash():
    return tape_of(np.concatenate([walk(50, sigma=0.05), 100 - 0.5 * np.arange(1, 120), np.full(30, 40.5)]), up=0.0)


def test_the_hard_breaker_cancels_liquidates_and_never_quotes_again():
    limits = replace(OFF, soft_drawdown_pct=0.05, hard_drawdown_pct=0.10)
    result = run(crash(), limits)
    m = result.metrics
    assert m.liquidations == 1
    assert m.breaker_events == 2
    assert m.final_inventory == 0
    taker = result.fills[result.fills["liquidity"] == "taker"]
    assert len(taker) == 1
    assert result.fills.iloc[-1]["liquidity"] == "taker"
    # It pays for its haste: below the mid by the slippage, and the taker fee on top.
    assert taker["price"].iloc[0] <= taker["mid"].iloc[0] * (1 - 4.9e-4)
    assert taker["fee"].iloc[0] == pytest.approx(taker["qty"].iloc[0] * taker["price"].iloc[0] * 5e-4)
    assert (result.orders["submitted_ns"] <= taker["ts_ns"].iloc[0]).all()
    assert m.suppressed_pct["halted"] > 0
    parts = m.gross_spread_pnl + m.inventory_pnl + m.funding_pnl - m.fees_paid
    assert m.pnl == pytest.approx(parts, abs=1e-9 * m.turnover)
    # At the first decision at which the drawdown had reached the limit, and not before.
    equity = result.equity["equity"]
    drawdown = (equity.cummax() - equity) / 10_000
    # (The sample of that decision is taken after the liquidation has paid its price.)
    first = result.equity.loc[drawdown >= 0.10, "ts_ns"].iloc[0]
    assert taker["ts_ns"].iloc[0] == first
    unlimited = run(crash(), OFF).metrics
    assert unlimited.max_drawdown_pct > 2 * m.max_drawdown_pct


def test_the_soft_breaker_reduces_and_widens():
    limits = replace(OFF, soft_drawdown_pct=0.02, risk_off_scale=0.4, risk_off_widen=2.0)
    result = run(crash(), limits)
    assert result.metrics.breaker_events == 1
    assert result.metrics.liquidations == 0
    assert set(result.orders["qty"].round(6)) >= {5.0, 2.0}


def test_a_profit_is_no_drawdown():
    up = run(tape_of(100 + 0.3 * np.sin(np.arange(500))), replace(OFF, soft_drawdown_pct=0.001, hard_drawdown_pct=0.15))
    assert up.metrics.pnl > 0
    assert up.metrics.liquidations == 0


def test_spot_is_liquidated_into_cash():
    spot = Instrument("X/USDT", 0.01, 0.01, "spot")
    tape = replace(crash(), instrument=spot)
    result = run(tape, replace(OFF, soft_drawdown_pct=0.05, hard_drawdown_pct=0.10))
    assert result.metrics.final_inventory == 0
    assert result.metrics.liquidations == 1


def test_the_edge_filter_judges_where_the_quote_will_stand():
    # A coin at 100 with a tick of 1: a wish 0.09 out is placed a whole tick out, 100 bps, and earns a fee of 10.
    coarse = Instrument("X/USDT", 1.0, 0.01, "linear")
    tape = replace(tape_of(np.full(50, 100.0) + np.arange(50) % 2, wiggle=3.0), instrument=coarse)
    tape = replace(tape, price_ticks=np.rint(tape.price_ticks * 0.01).astype(np.int64))
    result = run(tape, replace(OFF, min_edge_bps=1.0), half_spread=0.09, fees=Fees(10, 20))
    assert result.metrics.suppressed_pct["edge"] == 0
    assert result.metrics.fills > 0


def test_widening_lifts_no_quote_over_the_edge_filter():
    # 50 bps out, a fee of 60: not worth it; three times as wide in a storm it is worth no more.
    calm, wild = np.random.default_rng(2).normal(0, 0.05, 400), np.random.default_rng(3).normal(0, 1.0, 200)
    tape = tape_of(100 + np.cumsum(np.concatenate([calm, wild])), wiggle=3.0)
    limits = replace(OFF, min_edge_bps=0.25, vol_widen_max=3.0)
    assert run(tape, limits, fees=Fees(60, 70)).metrics.fills == 0
    assert run(tape, limits, fees=Fees(40, 50)).metrics.fills > 50
    # While the filter is off, the same widening is there.
    assert run(tape, replace(limits, min_edge_bps=None), fees=Fees(60, 70)).metrics.fills > 50
