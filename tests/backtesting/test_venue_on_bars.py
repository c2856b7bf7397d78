"""What of a venue's rules applies on bars: funding, fee tiers, margin and liquidation; the rest is refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import marketmakerl as mml
from marketmakerl.backtesting.engine import Engine
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.ledger import equity
from marketmakerl.risk.reasons import Reason

MINUTE_MS = 60_000
LINEAR = mml.Instrument("X/USDT:USDT", 1.0, 1.0, "linear")
OFF = mml.RiskLimits.off()
RULES = mml.VenueRules(leverage=10, maintenance_margin_rate=0.05, liquidation_fee_bps=50)
# Bids at 98 fill in the second and the third bar; the third falls to 60.
BARS = [(100, 100, 100, 100), (100, 100, 97, 100), (100, 100, 60, 70), (70, 90, 50, 80)]


def tape_of(bars, instrument=LINEAR, volume=1_000.0):
    open_, high, low, close = zip(*bars, strict=True)
    frame = {"ts_ms": np.arange(len(bars)) * MINUTE_MS, "open": open_, "high": high, "low": low, "close": close}
    return mml.EventTape.from_klines(pd.DataFrame(frame | {"volume": volume}), instrument, tier="T2")


def run(bars, *, fees=None, cash=100.0, order_qty=5.0, instrument=LINEAR, risk=OFF, **options) -> Engine:
    tape = tape_of(bars, instrument)
    engine = Engine(tape.instrument, mml.Symmetric(half_spread=2.0), bars=True, fees=fees or mml.Fees(0, 10),
                    order_qty=order_qty,
                    cash=cash, first_price=100.0, risk=risk, bar_volume_share=1.0, **options)  # fmt: skip
    engine.feed(tape)
    engine.finish()
    state = engine.state
    books = state.ledger
    parts = books.gross_spread_pnl + books.inventory_pnl + books.funding_pnl - books.fees_paid
    assert equity(books) - books.start_equity == pytest.approx(parts, abs=1e-9 * max(1.0, float(books.turnover)))
    return engine


def rows_of(engine):
    names = "side", "price_ticks", "qty_lots", "maker"
    return [tuple(int(fill[name]) for name in names) for fill in engine.fills()]


def test_a_ledger_on_bars_through_funding_and_a_liquidation():
    # 5 bought at 98; at the close of 100 funding of 1 % on 500: 5. Equity 95 + 5 x 2 = 105 carries 1050: 500 held, and
    # 490 more bid. 5 more at 98 on the way down to 60, where 95 - 10 x 38 is far below 5 % of 600: all 10 go at 59
    # (60 less 5 bps, down to the tick). Fee (10 + 50) bps of 590.
    engine = run(BARS, venue=RULES, funding=[(2 * MINUTE_MS, 0.01)])
    assert rows_of(engine) == [(1, 98, 5, 1), (1, 98, 5, 1), (-1, 59, 10, 0)]
    state = engine.state
    assert state.ledger.funding_pnl == pytest.approx(-5.0)
    assert state.ledger.fees_paid == pytest.approx(3.54)
    assert state.ledger.cash == pytest.approx(100 - 5 + 10 * (59 - 98) - 3.54)
    assert (state.risk.liquidations, state.risk.breaker_events, state.ledger.position_lots) == (1, 1, 0)
    orders = engine.orders()
    assert list(orders["reason"][-2:]) == [Reason.LIQUIDATED] * 2  # the ask that rested, and the closing order


def test_without_margin_nobody_is_liquidated():
    engine = run(BARS, funding=[(2 * MINUTE_MS, 0.01)])
    assert engine.state.risk.liquidations == 0
    assert engine.state.ledger.funding_pnl == pytest.approx(-5.0)


@pytest.mark.parametrize(("open_", "price"), [(70, 70), (100, 60)])
def test_a_bar_that_opens_below_is_liquidated_at_its_open(open_, price):
    bars = [*BARS[:2], (open_, 100, 60, 80)]
    engine = run(bars, venue=RULES, cash=60.0)
    assert rows_of(engine)[-1][1] == math.floor(price * 0.9995)


def test_funding_before_the_first_bar_and_after_the_last_is_nobodys():
    engine = run(BARS[:2], funding=[(0, 0.3), (60_001, 0.01), (2 * MINUTE_MS, 0.02), (2 * MINUTE_MS + 1, 0.03)])
    # Flat at the start and at 60.001 s; 5 at 100 at the last close; the last row lies beyond the data.
    assert engine.state.ledger.funding_pnl == pytest.approx(-10.0)
    assert engine.state.venue.funding_next == 3


@pytest.mark.parametrize(("cash", "lots"), [(500.0, 5), (490.0, 5), (480.0, 0)])
def test_what_margin_does_not_carry_the_venue_rejects(cash, lots):
    engine = run(BARS[:2], cash=cash, venue=mml.VenueRules(leverage=1))
    assert sum(row[2] for row in rows_of(engine)) == lots
    if lots == 0:
        assert list(engine.orders()["reason"]) == [Reason.MARGIN] * 4  # either side, at either close


def test_the_side_that_reduces_needs_no_margin():
    # Long 5 at 98 with 500; at 45 that leaves 235, which carries 5 at 45 and not one more; an ask of 5 is fine.
    bars = [*BARS[:2], (100, 100, 99, 99), (45, 45, 45, 45), (44, 60, 44, 45)]
    engine = run(bars, cash=500.0, venue=mml.VenueRules(leverage=1))
    assert (-1, 47, 5, 1) in rows_of(engine)
    assert sum(row[2] for row in rows_of(engine) if row[0] > 0) == 5


def test_who_has_no_margin_left_may_still_reduce():
    tape = tape_of([*BARS[:2], (100, 100, 99, 99), (99, 103, 99, 100)])
    engine = Engine(tape.instrument, mml.Symmetric(half_spread=2.0), bars=True, fees=mml.Fees(0, 0),
                    order_qty=5.0, cash=500.0,
                    first_price=100.0, risk=OFF, bar_volume_share=1.0, venue=mml.VenueRules(leverage=1))  # fmt: skip
    engine.feed(tape.slice_rows(0, 8))
    engine.state.venue.other_margin = 1e6  # the rest of the account takes all there is
    engine.feed(tape.slice_rows(8, len(tape)))
    assert rows_of(engine) == [(1, 98, 5, 1), (-1, 101, 5, 1)]


def test_funding_before_there_is_a_price_is_nothing():
    inverse = mml.Instrument("X/USD:X", 1.0, 1.0, "inverse", 100.0)
    engine = run(BARS[:2], instrument=inverse, initial_inventory=50.0, funding=[(-1, 0.01)], cash=100.0)
    assert engine.state.ledger.funding_pnl == 0.0
    assert np.isfinite(engine.state.ledger.cash)


def test_tiers_move_on_bars():
    tiers = ((1_000.0, 1.0, 4.0),)
    bars = [(100, 100, 100, 100), *[(100, 103, 97, 100)] * 4]
    engine = run(bars, fees=mml.Fees(2, 5), cash=10_000.0, venue=mml.VenueRules(fee_tiers=tiers))
    # Each bar buys 5 at 98 (490) and sells 5 at 102 (510): from the third fill on 1000 have traded.
    rates = [round(fill["fee"] / (fill["price_ticks"] * 5) * 1e4, 9) for fill in engine.fills()]
    assert rates == [2, 2, 1, 1, 1, 1, 1, 1]


def test_neutral_rules_change_nothing_on_bars():
    bars = mml.DataProcessor.simulate_market_data(n_bars=600, seed=8)
    instrument = mml.Instrument("BTC/USDT:USDT", 0.1, 0.001, "linear", 1.0, 5.0)
    tape = mml.EventTape.from_klines(bars, instrument, tier="T2")
    options = {"fees": mml.Fees(2, 5), "order_qty": 0.004, "cash": 10_000.0}
    bare, ruled = (
        mml.backtest(tape, mml.Symmetric(20.0), venue=venue, **options) for venue in (None, mml.VenueRules())
    )
    assert len(bare.fills) > 20
    for name in ("raw_fills", "raw_orders", "raw_samples"):
        assert getattr(bare, name).tobytes() == getattr(ruled, name).tobytes()


@pytest.mark.parametrize("rule", [{"stp": "none"}, {"price_band_up": 1.1}, {"price_band_down": 0.9}])
def test_what_needs_a_book_is_refused(rule):
    with pytest.raises(ConfigError, match=f"venue {next(iter(rule))} needs ticks"):
        mml.backtest(tape_of(BARS), mml.Symmetric(2.0), fees=mml.Fees(0, 0), order_qty=5.0, cash=100.0,
                     venue=mml.VenueRules(**rule))  # fmt: skip


def test_funding_on_spot_is_refused():
    spot = mml.Instrument("X/USDT", 1.0, 1.0)
    with pytest.raises(ConfigError, match="funding is for perpetuals"):
        mml.backtest(tape_of(BARS, spot), mml.Symmetric(2.0), fees=mml.Fees(0, 0), order_qty=1.0, cash=1_000.0,
                     funding=[(0, 0.1)])  # fmt: skip
