"""Limits on bars, looked at with every close, and on a portfolio of ticks, where one account is one budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import marketmakerl as mml
from marketmakerl import Fees, Instrument, RiskLimits, Symmetric, backtest
from marketmakerl.backtesting.engine import Engine
from marketmakerl.core.errors import ConfigError
from risk.test_controls import crash, tape_of, walk
from risky_markets import INSTRUMENTS, LOT_WORTH, MS, S, examples, leaning, market, worst_window
from risky_markets import tape_of as tick_tape

OFF = RiskLimits.off()
KINDS = {
    "linear": Instrument("X/USDT", 0.01, 0.01, "linear"),
    "spot": Instrument("X/USDT", 0.01, 0.01, "spot"),
    "inverse": Instrument("X/USD", 0.01, 1.0, "inverse", 100.0),
}


def bars(seed: int, kind: str = "linear", n: int = 200, sigma: float = 0.6):
    return replace(tape_of(np.maximum(walk(n, seed, sigma), 20)), instrument=KINDS[kind])


def run(tape, limits, kind="linear", half=0.3, **options):
    usual = {"fees": Fees(0, 5), "order_qty": 5.0, "cash": 10_000.0}
    if kind == "inverse":
        usual |= {"order_qty": 5.0, "cash": 100.0}
    return backtest(tape, Symmetric(half), risk=limits, **usual | options)


def events(result) -> list[tuple]:
    return [(int(e.ts_ns), e.event, e.after) for e in result.risk_log.itertuples()]


@examples(60)
@given(seed=st.integers(0, 2**31), kind=st.sampled_from(sorted(KINDS)), limit=st.floats(0.003, 0.05))
def test_drawdown_and_daily_loss_fire_at_the_first_close(seed, kind, limit):
    tape = bars(seed, kind)
    for name, hit in (("hard_drawdown_pct", "hard_drawdown"), ("daily_loss_pct", "daily_loss")):
        result = run(tape, replace(OFF, **{name: limit}), kind)
        free = run(tape, OFF, kind)
        ts, equity = (free.raw_samples[column] for column in ("ts_ns", "equity"))
        budget = equity[0]
        day = ts // 86_400_000_000_000
        opening = {d: budget if d == day[0] else equity[day == d][0] for d in np.unique(day)}
        loss = np.array([opening[d] for d in day]) - equity
        if hit == "hard_drawdown":
            loss = np.maximum.accumulate(equity) - equity
        found = np.flatnonzero(loss[1:] >= limit * budget) + 1
        if len(found) == 0:
            assert events(result) == []
            continue
        assert events(result)[0] == (int(ts[found[0]]), hit, "halted")
        assert result.metrics.final_inventory == 0
        late = result.orders[result.orders["submitted_ns"] >= ts[found[0]]]
        assert set(result.raw_orders["purpose"][result.raw_orders["submitted_ns"] >= ts[found[0]]]) <= {2}
        assert len(late) <= 1


@examples(40)
@given(seed=st.integers(0, 2**31), kind=st.sampled_from(sorted(KINDS)), limit=st.floats(0.002, 0.02))
def test_stop_and_target_take_the_inventory_off_at_the_close_that_finds_them(seed, kind, limit):
    result = run(bars(seed, kind), replace(OFF, stop_loss_pct=limit, take_profit_pct=limit, cooldown_s=90.0), kind)
    log, raw = result.risk_log, result.raw_fills
    exits = raw[raw["purpose"] == 1]
    assert (log["value"] >= log["limit"]).all()
    assert sorted(set(exits["ts_ns"].tolist())) == log["ts_ns"].tolist()
    assert (exits["maker"] == 0).all()
    target = result.raw_samples["position_lots"][0]
    assert (exits["position_lots"] == target).all()
    for ts in log["ts_ns"]:  # both sides stay out; the close after the end may quote again
        sent = result.raw_orders["submitted_ns"]
        assert not ((sent > ts) & (sent < ts + 90 * S)).any()
    m = result.metrics
    parts = m.gross_spread_pnl + m.inventory_pnl + m.funding_pnl - m.fees_paid
    assert m.pnl == pytest.approx(parts, abs=1e-9 * max(1.0, m.turnover))


@pytest.mark.parametrize("orders", [3, 8])
def test_rates_hold_in_every_window_of_bars(orders):
    tape = bars(3, n=300)
    free = run(tape, OFF)
    held = run(tape, replace(OFF, max_orders=orders, rate_window_s=600.0))
    assert worst_window(sorted(free.raw_orders["submitted_ns"].tolist()), 600 * S) > 8
    assert worst_window(sorted(held.raw_orders["submitted_ns"].tolist()), 600 * S) <= orders


@pytest.mark.parametrize("messages", [6, 7, 8, 9, 13])
def test_messages_hold_too_and_cancels_count(messages):
    for seed in range(5):
        limits = replace(OFF, max_messages=messages, rate_window_s=600.0)
        raw = run(bars(seed, n=300, sigma=0.1), limits, half=1.0 if seed % 2 else 0.7).raw_orders
        cancelled = raw["closed_ns"][raw["status"] == 4]
        times = sorted([*raw["submitted_ns"].tolist(), *cancelled.tolist()])
        assert worst_window(times, 600 * S) <= messages
        assert len(raw) > 10


def test_an_age_a_window_and_too_many_fills():
    tape = tape_of(100 - 0.02 * np.arange(300), up=0.0)  # only bids fill
    aged = run(tape, replace(OFF, max_holding_s=1200.0, cooldown_s=60.0))
    first = int(aged.raw_fills["ts_ns"][0])
    held = events(aged)[0]
    assert held[1] == "time_exit"
    assert 1200 * S <= held[0] - first <= 1260 * S
    # 2023-11-14 22:14 UTC is a Tuesday.
    flat = run(tape, replace(OFF, flat_windows=("Tue 23:00-Tue 23:30",), cooldown_s=1.0))
    assert events(flat)[0][1] == "flat_window"
    start, end = (1_699_999_200_000_000_000 + m * 60 * S for m in (60, 90))
    assert events(flat)[0][0] // (60 * S) == start // (60 * S)
    sent = flat.raw_orders["submitted_ns"][flat.raw_orders["purpose"] == 0]
    assert not ((sent >= start) & (sent < end)).any()
    assert (sent >= end).any()
    many = run(tape, replace(OFF, max_executions=4, rate_window_s=3600.0))
    assert events(many)[0][1] == "repeated_executions"
    assert len(many.raw_fills[many.raw_fills["purpose"] == 0]) == 5


def test_a_large_position_reduces_and_no_more():
    result = run(tape_of(100 - 0.02 * np.arange(300), up=0.0), replace(OFF, concentration_pct=0.2))
    assert events(result)[0][1:] == ("concentration", "reducing")
    sizes = result.orders.loc[result.orders["side"] == 1, "qty"]
    assert set(sizes.round(6)) == {5.0, 2.5}


def test_one_sided_fills_keep_a_side_out_on_bars_too():
    tape = tape_of(100 - 0.02 * np.arange(200), up=0.0)
    free, held = run(tape, OFF), run(tape, replace(OFF, one_sided_fills=3, cooldown_s=1800.0))
    assert held.metrics.fills < 0.5 * free.metrics.fills
    assert held.metrics.suppressed_pct["cooldown"] > 0


@pytest.mark.parametrize(
    ("limits", "half", "passes"),
    [
        ({"price_collar_pct": 0.01}, 0.5, True),
        ({"price_collar_pct": 0.01}, 3.0, False),
        ({"max_order_notional_pct": 0.06}, 0.5, True),
        ({"max_order_notional_pct": 0.04}, 0.5, False),
    ],
)
def test_collar_and_size_on_bars(limits, half, passes):
    result = run(tape_of(100 + np.arange(60) % 2 * 0.1, wiggle=4.0), replace(OFF, **limits), half=half)
    assert (result.metrics.orders > 0) == passes


def test_a_crash_on_bars_and_a_reset_and_a_second_halt():
    tape = crash()
    engine = Engine(tape.instrument, Symmetric(0.5), bars=True, fees=Fees(0, 5), order_qty=5.0, cash=10_000.0,
                    first_price=100.0,
                    risk=replace(OFF, soft_drawdown_pct=0.02, hard_drawdown_pct=0.05))  # fmt: skip
    while engine.state.risk.breaker != 2:
        engine.feed(tape.slice_rows(int(engine.state.counts.bars) * 5, int(engine.state.counts.bars) * 5 + 5))
    assert engine.state.ledger.position_lots == 0
    with pytest.raises(ConfigError):
        engine.reset(" ", "no name")
    engine.reset("a person", "go on")
    done = int(engine.state.counts.bars) * 5
    engine.feed(tape.slice_rows(done, len(tape)))
    assert [event["after"] for event in engine.risk_events()] == ["reducing", "halted", "active", "reducing", "halted"]
    assert engine.state.ledger.position_lots == 0
    assert engine.state.risk.liquidations == 2


# --- A portfolio -----------------------------------------------------------------------------------------------------


def together(limits, seeds=(1, 2), drift=-1.0, **options):
    tapes = [tick_tape(market(seed, messages=120, jump=12, drift=drift)) for seed in seeds]
    tapes[1] = replace(tapes[1], instrument=replace(INSTRUMENTS["linear"], symbol="Y/USDT:USDT"))
    usual = {"fees": Fees(0, 5), "order_qty": [0.75, 0.75], "cash": 60 * LOT_WORTH["linear"],
             "quote_interval_ns": 100 * MS, "queue": "front", "latency": mml.Latency(0, 5 * MS, 3 * MS)}  # fmt: skip
    return backtest(tapes, [leaning(0.6), leaning(0.6)], risk=limits, **usual | options)


def test_a_halt_of_one_halts_all():
    limits = replace(OFF, hard_drawdown_pct=0.02, soft_drawdown_pct=0.01)
    result = together(limits)
    free = together(OFF)
    halted = [
        int(part.raw_orders["submitted_ns"][part.raw_orders["purpose"] == 2].min()) for part in result.parts.values()
    ]
    assert len(halted) == 2
    for part, other in zip(result.parts.values(), free.parts.values(), strict=True):
        first = min(halted)
        late = part.raw_orders[part.raw_orders["submitted_ns"] > first + 200 * MS]
        assert set(late["purpose"].tolist()) <= {2}
        assert part.metrics.final_inventory == 0
        assert (other.raw_orders["submitted_ns"] > first + 200 * MS).sum() > 10
        m = part.metrics
        parts = m.gross_spread_pnl + m.inventory_pnl + m.funding_pnl - m.fees_paid
        assert m.pnl == pytest.approx(parts, abs=1e-9 * max(1.0, m.turnover))
    assert abs(halted[0] - halted[1]) <= 200 * MS


def test_what_one_instrument_finds_alone_halts_the_other():
    """Fills of one, too many of them; the other, which nobody trades with, goes home all the same."""
    limits = replace(OFF, max_executions=3, rate_window_s=60.0)
    model = [leaning(0.6), leaning(60.0)]
    tapes = [tick_tape(market(seed, messages=120, jump=2)) for seed in (1, 2)]
    tapes[1] = replace(tapes[1], instrument=replace(INSTRUMENTS["linear"], symbol="Y/USDT:USDT"))
    result = backtest(tapes, model, fees=Fees(0, 5), order_qty=[0.75, 0.75], cash=60 * LOT_WORTH["linear"],
                      quote_interval_ns=100 * MS, queue="front", risk=limits, initial_inventory=[0.0, 1.0],
                      target_inventory=[0.0, 0.0])  # fmt: skip
    one, other = result.parts.values()
    assert "repeated_executions" in [name for _, name, _ in events(one)]
    assert other.metrics.final_inventory == 0
    assert set(other.raw_fills["purpose"].tolist()) == {2}
