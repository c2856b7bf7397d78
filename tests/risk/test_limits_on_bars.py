"""What bars do otherwise than ticks: days that end at a close, spot below its target, rates, and resets."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from marketmakerl import EventTape, Fees, Instrument, RiskLimits, Symmetric
from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.results.metrics import compute_metrics
from marketmakerl.risk.reasons import Control

LINEAR = Instrument("X/USDT:USDT", 0.01, 0.01, "linear")
SPOT = Instrument("X/USDT", 0.01, 0.01, "spot")
OFF = RiskLimits.off()
MIDNIGHT_MS = 1_700_006_400_000  # 2023-11-15 00:00 UTC
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def bars(closes, *, instrument=LINEAR, start_ms=MIDNIGHT_MS, every_ms=60_000, up=0.6, down=0.6):
    closes = np.asarray(closes, float)
    opens = np.concatenate([[closes[0]], closes[:-1]])
    frame = pd.DataFrame({
        "ts_ms": start_ms + every_ms * np.arange(len(closes)), "open": opens, "high": np.maximum(opens, closes) + up,
        "low": np.minimum(opens, closes) - down, "close": closes, "volume": 1e6,
    })  # fmt: skip
    return EventTape.from_klines(frame, instrument, interval_ms=every_ms)


def opened(tape, limits, half_spread=0.5, **options):
    given = {"fees": Fees(0, 5), "order_qty": 5.0, "cash": 10_000.0, "first_price": 100.0, "risk": limits}
    return Engine(tape.instrument, Symmetric(half_spread), bars=True, **given | options)


def events(engine):
    return [(event["event"], event["after"]) for event in engine.risk_events()]


@pytest.mark.parametrize("every_ms", [HOUR_MS, DAY_MS])
def test_the_loss_of_the_last_bar_of_a_day_is_a_loss_of_that_day(every_ms):
    # Long 20 from the start; the bar that ends at midnight falls by 30: 6 % of the budget.
    start_ms = MIDNIGHT_MS + DAY_MS - every_ms
    tape = bars([70.0], start_ms=start_ms, every_ms=every_ms)
    tape = replace(tape, price_ticks=np.array([10_000, 7_000, 10_000, 7_000]))
    engine = opened(tape, replace(OFF, daily_loss_pct=0.05), initial_inventory=20.0)
    engine.feed(tape)
    assert events(engine) == [("daily_loss", "halted")]


def test_a_loss_of_yesterday_is_none_of_today():
    tape = bars([98.0, 97.0, 96.0, 95.0], start_ms=MIDNIGHT_MS + DAY_MS - 2 * HOUR_MS, every_ms=HOUR_MS)
    engine = opened(tape, replace(OFF, daily_loss_pct=0.05), initial_inventory=150.0, cash=10_000.0)
    engine.feed(tape)
    # 150 x 3 since the first close is 4.5 % over both days, 1.5 % of which on the first.
    assert events(engine) == []


def test_an_exit_does_not_buy_spot_on_credit():
    # 50 below the target, and the price has gone up threefold: the cash buys 33 of them.
    tape = bars([300.0, 300.0], instrument=SPOT)
    engine = opened(tape, replace(OFF, max_holding_s=1.0), initial_inventory=0.0, target_inventory=50.0)
    engine.feed(tape)
    fill = engine.fills()[0]
    assert (fill["side"], fill["qty_lots"]) == (1, 3330)  # 10,000 / (300.15 x 1.0005), in hundredths
    assert 0 <= engine.state.ledger.cash < 0.01 * 300.5


def test_a_reset_does_not_take_up_an_exit_that_the_halt_overtook():
    tape = bars([100.0] * 6, instrument=SPOT)
    # The venue is down while the window to be flat begins, and until after the halt.
    engine = opened(tape, OFF, initial_inventory=60.0, target_inventory=50.0)
    engine.feed(tape.slice_rows(0, 4))
    engine.state.risk.exiting = int(Control.STOP_LOSS)
    engine.halt("A", "b")
    assert engine.state.ledger.position_lots == 0
    engine.reset("A", "c")
    engine.feed(tape.slice_rows(4, 8))
    assert engine.state.ledger.position_lots == 0  # not 50 bought at market


def test_messages_within_their_window_are_no_more_than_allowed_when_quotes_move():
    closes = 100 + 0.05 * np.arange(40)  # every close moves both quotes
    tape = bars(closes, every_ms=1000, up=0.0, down=0.0)
    for most in range(4, 12):
        engine = opened(tape, replace(OFF, max_messages=most, rate_window_s=10.0))
        engine.feed(tape)
        engine.finish()
        orders = engine.orders()
        sent = list(orders["submitted_ns"]) + list(orders["closed_ns"][orders["status"] == 4])
        times = np.sort(np.array(sent)) // 1_000_000_000
        assert len(times) > 4
        worst = max(int(((times > at - 10) & (times <= at)).sum()) for at in times)
        assert worst <= most


def test_an_order_that_stays_is_not_cancelled_for_want_of_messages():
    tape = bars([100.0] * 5, up=0.0, down=0.0, every_ms=1000)
    engine = opened(tape, replace(OFF, max_orders=2, rate_window_s=60.0))
    engine.feed(tape)
    assert [order.order_id for side in range(2) for order in engine.working(side)] == [1, 2]
    assert engine.state.counts.orders == 2


def test_a_note_is_not_read_into_what_happens_after_a_restore():
    tape = bars([100.0, 100.0, 40.0, 40.0], up=0.0, down=0.0)
    engine = opened(tape, replace(OFF, hard_drawdown_pct=0.1), initial_inventory=30.0)
    engine.feed(tape.slice_rows(0, 4))
    kept = engine.snapshot()
    engine.halt("A", "an error")
    assert engine.risk_events()[0]["note"] == "A: an error"
    engine.restore(kept)
    engine.feed(tape.slice_rows(4, 16))
    assert events(engine) == [("hard_drawdown", "halted")]
    assert engine.risk_events()[0]["note"] == ""


def test_halted_before_the_first_bar_it_never_quotes_and_quotes_again_after_a_reset():
    tape = bars([100.0] * 6, up=0.0, down=0.0)
    engine = opened(tape, OFF, initial_inventory=10.0)
    engine.halt("A", "b")
    engine.feed(tape.slice_rows(0, 8))
    assert engine.state.ledger.position_lots == 0
    assert list(engine.fills()["purpose"]) == [2]
    engine.reset("A", "c")
    engine.feed(tape.slice_rows(8, 12))
    assert [len(engine.working(side)) for side in range(2)] == [1, 1]


def test_however_many_exits_there_were_the_log_says_what_the_breakers_did():
    tape = bars([100.0] * 200, up=0.0)  # whatever is bought is taken off at the next close
    engine = opened(tape, replace(OFF, max_holding_s=0.0, cooldown_s=1.0))
    engine.feed(tape)
    assert engine.state.risk.exits > 80
    engine.halt("A", "enough")
    engine.reset("B", "again")
    log = engine.risk_events()
    assert [(event["event"], event["note"]) for event in log[-2:]] == [("kill", "A: enough"), ("reset", "B: again")]
    assert {event["event"] for event in log[:-2]} == {"time_exit"}
    assert len(log) < 64
    assert engine.state.risk.n_events == engine.state.risk.exits + 2


def test_what_a_halt_by_hand_costs_is_in_the_profit_though_no_bar_follows():
    tape = bars([100.0] * 5, up=0.0, down=0.0)
    engine = opened(tape, OFF, initial_inventory=10.0)
    engine.feed(tape)
    engine.halt("A", "b")
    engine.finish()
    metrics = compute_metrics(
        engine.state, tape.instrument, engine.fills(), engine.samples(), 60 * 10**9, uptime_pct=1.0
    )
    assert metrics.liquidation_cost == pytest.approx(0.5 + 0.49975)  # 5 bps of slippage, and as much of fees
    assert metrics.pnl == pytest.approx(-metrics.liquidation_cost)
    assert engine.samples()["position_lots"][-1] == 0
