"""Metrics against hand computations."""

import math

import numpy as np
import pytest

from marketmakerl import Instrument
from marketmakerl.backtesting.layout import FILL, SAMPLE, STATE, new_record
from marketmakerl.backtesting.results.metrics import compute_metrics, interval_changes, sharpe_ratio

MINUTE_NS = 60_000_000_000
PER_YEAR = 365 * 1440


def made(equity, fills=(), instrument=None, mids=None):
    instrument = instrument or Instrument("X/USDT", 0.5, 0.1, "linear")
    samples = np.zeros(len(equity), SAMPLE)
    samples["ts_ns"] = MINUTE_NS * np.arange(len(equity))
    samples["equity"] = equity
    samples["mid"] = 100.0 if mids is None else mids
    rows = np.zeros(len(fills), FILL)
    for row, (minute, side, ticks, lots) in zip(rows, fills, strict=True):
        row["ts_ns"], row["side"], row["price_ticks"], row["qty_lots"] = minute * MINUTE_NS, side, ticks, lots
    state = new_record(STATE)
    state.ledger.start_equity = equity[0]
    state.ledger.start_mark = samples["mid"][0]
    state.ledger.mark = samples["mid"][-1]
    state.ledger.fills = len(fills)
    return compute_metrics(state, instrument, rows, samples, MINUTE_NS, uptime_pct=1.0)


def test_drawdown_is_from_the_peak_over_the_opening_budget():
    m = made([1000.0, 1200.0, 900.0, 1100.0, 1250.0, 1190.0])
    assert m.max_drawdown_pct == pytest.approx(300 / 1000)
    assert m.return_pct == pytest.approx(0.19)
    assert m.pnl == pytest.approx(190)
    assert m.calmar == pytest.approx(0.19 * 365 * 1440 / 5 / 0.3)


def test_sharpe_and_sortino_by_hand():
    equity = [1000.0, 1010.0, 1005.0, 1020.0]
    changes = [0.010, -0.005, 0.015]
    mean = sum(changes) / 3
    std = math.sqrt(sum((c - mean) ** 2 for c in changes) / 2)
    m = made(equity)
    assert m.sharpe == pytest.approx(mean / std * math.sqrt(PER_YEAR))
    assert m.sortino == pytest.approx(mean / math.sqrt(0.005**2 / 3) * math.sqrt(PER_YEAR))
    assert (m.interval_s, m.intervals) == (60.0, 3)


@pytest.mark.parametrize("equity", [[1000.0], [1000.0, 1001.0], [1000.0, 1000.0, 1000.0]])
def test_undefined_is_none(equity):
    m = made(equity)
    assert m.sharpe is None
    if len(set(equity)) == 1:
        assert m.sortino is None
        assert m.calmar is None


def test_holes_carry_the_last_value():
    ts = MINUTE_NS * np.array([0, 1, 5, 6])
    np.testing.assert_array_equal(
        interval_changes(ts, np.array([1.0, 2.0, 7.0, 8.0]), MINUTE_NS), [1.0, 0.0, 0.0, 0.0, 5.0, 1.0]
    )
    assert sharpe_ratio(np.array([1.0]), MINUTE_NS) is None


def test_the_failure_line_is_forty_percent():
    assert not made([1000.0, 601.0, 1000.0]).failed
    assert made([1000.0, 599.0, 1000.0]).failed
    assert made([1000.0, 1500.0, 1099.0]).failed  # from the peak, though the run made money


def test_markouts_by_hand():
    # Bought 2.0 at 99.5 in minute 1, sold 1.0 at 101 in minute 2; the mid then goes 100, 102, 103 ...
    mids = [100.0, 100.0, 102.0, 103.0, 104.0, 104.0, 104.0, 104.0]
    m = made([1000.0] * 8, fills=[(1, 1, 199, 20), (2, -1, 202, 10)], mids=mids)
    one_minute = 1e4 * (2 * (102 - 99.5) - 1 * (103 - 101)) / (2 * 99.5 + 101)
    assert m.markout_bps["60s"] == pytest.approx(one_minute)
    five_minutes = 1e4 * (2 * (104 - 99.5) - (104 - 101)) / (2 * 99.5 + 101)
    assert m.markout_bps["300s"] == pytest.approx(five_minutes)
    assert m.markout_bps["0.1s"] is None
    assert m.turnover == pytest.approx(2 * 99.5 + 101)


def test_inverse_is_settled_in_coin_and_reported_in_quote():
    inverse = Instrument("BTC/USD:BTC", 0.5, 1.0, "inverse", 100.0)
    m = made([2.0, 2.1], fills=[(1, 1, 100_000, 3)], instrument=inverse, mids=[50_000.0, 60_000.0])
    assert m.settlement_currency == "BTC"
    assert m.pnl_settled == pytest.approx(0.1)
    assert m.pnl == pytest.approx(6_000)
    assert m.initial_budget == pytest.approx(120_000)
    assert m.return_pct == pytest.approx(0.05)
    assert m.turnover == pytest.approx(300)  # 3 contracts of 100 USD, whatever the price


def test_excess_is_over_holding_the_opening_inventory():
    # 20 units held from the start while the mid goes 100, 110, 105: of the equity's way only 3 and -1 are ours.
    spot = Instrument("X/USDT", 0.5, 0.1, "spot")
    samples = np.zeros(3, SAMPLE)
    samples["ts_ns"] = MINUTE_NS * np.arange(3)
    samples["mid"] = [100.0, 110.0, 105.0]
    samples["equity"] = [4000.0, 4000.0 + 200 + 3, 4000.0 + 100 + 2]
    state = new_record(STATE)
    (
        state.ledger.start_equity,
        state.ledger.start_mark,
        state.ledger.mark,
        state.ledger.start_lots,
        state.ledger.fills,
    ) = 4000.0, 100.0, 105.0, 200, 1
    m = compute_metrics(state, spot, np.zeros(0, FILL), samples, MINUTE_NS, uptime_pct=1.0)
    assert m.excess_pnl == pytest.approx(2.0)
    assert m.excess_sharpe == pytest.approx(1.0 / math.sqrt(8) * math.sqrt(PER_YEAR))
    assert m.sharpe == pytest.approx(51.0 / np.std([203, -101], ddof=1) * math.sqrt(PER_YEAR))
