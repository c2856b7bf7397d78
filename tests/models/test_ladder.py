"""Ladders: the same levels from Python and from the tick engine, and never one level where several were asked for."""

import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl import GLFT, CustomModel, DataProcessor, EventTape, Instrument, Ladder, Quote, QuoteContext, Symmetric
from marketmakerl.core.errors import ConfigError
from tick_tapes import INSTRUMENT, make_tape


def test_levels_from_python():
    ladder = Ladder(Symmetric(0.32), levels=3, level_step_ticks=2)
    context = QuoteContext(100.0, tick_size=0.1)
    assert ladder.quotes(context) == [Quote(99.6, 100.4), Quote(99.4, 100.6), Quote(99.2, 100.8)]
    assert ladder.quote(context) == Quote(99.6, 100.4)
    assert Symmetric(0.32).quotes(context) == [Quote(99.6, 100.4)]
    on_grid = Ladder(Symmetric(0.32), levels=2, level_step_ticks=1, grid_ticks=5)
    assert on_grid.quotes(context) == [Quote(99.5, 100.5), Quote(99.4, 100.6)]
    assert on_grid.explain(context)["bid_rounding"] == pytest.approx(0.18)


def test_what_is_not_quoted_is_none():
    low = Ladder(Symmetric(0.5), levels=3).quotes(QuoteContext(0.7, tick_size=0.1))
    assert [quote.bid for quote in low] == [0.2, 0.1, None]
    full = GLFT(0.01, 0.3, 0.3, 0.9, q_max=3)
    assert [quote.bid for quote in Ladder(full, 2).quotes(QuoteContext(100.0, q=3.0, tick_size=0.1))] == [None, None]
    with pytest.raises(ConfigError, match="give the context a tick_size"):
        Ladder(full, 2).quotes(QuoteContext(100.0))


def test_the_tick_engine_lays_the_same_levels():
    tape = make_tape(seconds=10)
    ladder = Ladder(Symmetric(1.03), levels=3, level_step_ticks=4, grid_ticks=2)
    terms = {"fees": mml.Fees(0, 0), "order_qty": 0.01, "cash": 1e6, "risk": mml.RiskLimits.off()}
    run = mml.backtest(tape, ladder, quote_interval_ns=500_000_000, **terms)
    first = run.orders[run.orders["submitted_ns"] == run.orders["submitted_ns"].min()]
    prices = {side: sorted(first.loc[first["side"] == side, "price"]) for side in (1, -1)}
    assert [len(prices[side]) for side in (1, -1)] == [3, 3]
    mid = 0.5 * (prices[1][-1] + prices[-1][0])
    guesses = [QuoteContext(mid + shift * 0.05, tick_size=INSTRUMENT.tick_size) for shift in range(-4, 5)]
    wanted = [(sorted(q.bid for q in ladder.quotes(c)), sorted(q.ask for q in ladder.quotes(c))) for c in guesses]
    assert (pytest.approx(prices[1]), pytest.approx(prices[-1])) in wanted


@pytest.mark.parametrize("model", [Ladder(Symmetric(20.0), 2), Ladder(Symmetric(20.0), 1, grid_ticks=5)])
def test_bars_quote_ladders_and_grids(model):
    instrument = Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.001, kind="linear")
    tape = EventTape.from_klines(DataProcessor.simulate_market_data(n_bars=50, seed=1), instrument, tier="T2")
    orders = mml.backtest(tape, model, fees=mml.Fees(0, 0), order_qty=0.01, cash=1e6, risk=mml.RiskLimits.off()).orders
    first = orders[orders.submitted_ns == orders.submitted_ns.min()]
    assert len(first) == 2 * model.levels
    assert (np.round(first.price / 0.1) % model.grid_ticks == 0).all()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((Symmetric(1.0), 0), "levels must be a whole number from 1 to 100"),
        ((Symmetric(1.0), 2.5), "levels"),
        ((Symmetric(1.0), 2, 0), "level_step_ticks"),
        ((Symmetric(1.0), 2, 1, 0), "grid_ticks"),
        ((CustomModel(lambda _: (1.0, 1.0)), 2), "no levels of its own"),
        ((Ladder(Symmetric(1.0), 2), 2), "no levels of its own"),
        (("glft", 2), "no levels of its own"),
    ],
)
def test_parameters_out_of_range(args, text):
    with pytest.raises(ConfigError, match=text):
        Ladder(*args)
