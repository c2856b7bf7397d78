"""What a model keeps, what it asks to see, and what it may not write: in backtests, portfolios, worlds and Python."""

import dataclasses
import math

import numpy as np
import pytest
from numba import njit

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError
from marketmakerl.data.tape import EventTape
from marketmakerl.models.contract import CONTEXT, MAX_MEMORY, context_dtype
from marketmakerl.simulation.simulate import simulate_paths
from tick_tapes import make_tape

TERMS = {
    "fees": mml.Fees(maker_bps=-0.5, taker_bps=3.0),
    "order_qty": 0.01,
    "cash": 10_000.0,
    "risk": mml.RiskLimits.off(),
}
LATE = mml.Latency(feed_offset_ns=30_000_000, entry_ns=2_000_000, response_ns=2_000_000)
WORLD = mml.World(100, 1.0, 1.0, 0.005, 140.0, 1.5)


@pytest.fixture(scope="module")
def tape():
    return make_tape(seconds=60)


@pytest.fixture(scope="module")
def short():
    return make_tape(seconds=20)


# -- what it asks for
@njit
def remembers(context, params):
    context.memory[0] += 1.0
    return params[0] + 0.1 * (context.memory[0] % 3.0), params[0]


@njit
def looks_deep(context, params):
    return context.bid_prices[0], 1.0


@njit
def watches_trades(context, params):
    return 1.0 + context.n_trades, 1.0


@pytest.mark.parametrize(
    ("function", "field", "asks"),
    [(remembers, "memory", "memory"), (looks_deep, "bid_prices", "depth"), (watches_trades, "n_trades", "trades")],
)
def test_what_a_model_does_not_ask_for_it_does_not_have(function, field, asks):
    with pytest.raises(ConfigError, match=rf"the context has {field} only for a model that asks for it.*{asks}=\.\.\."):
        mml.CustomModel(function, values=(1.0,))
    assert mml.CustomModel(function, values=(1.0,), **{asks: 2}).context_dtype != CONTEXT


@pytest.mark.parametrize("value", [-1, 1.5, MAX_MEMORY + 1, math.nan, "many"])
@pytest.mark.parametrize("name", ["memory", "depth", "trades"])
def test_numbers_that_cannot_be(name, value):
    with pytest.raises(ConfigError, match=f"custom: {name} must be a whole number from 0 to"):
        mml.CustomModel(remembers, values=(1.0,), **({"memory": 1} | {name: value}))


def test_a_context_begins_with_what_all_see():
    wide = context_dtype(memory=3, depth=2, trades=4)
    assert wide.names[: len(CONTEXT.names)] == CONTEXT.names
    for name in CONTEXT.names:
        assert wide.fields[name] == CONTEXT.fields[name]
    assert context_dtype() == CONTEXT


@njit
def fills_its_memory(context, params):
    total = 0.0
    for i in range(len(context.memory)):
        total += context.memory[i]
        context.memory[i] = float(i)
    return total, float(len(context.memory))


def test_a_large_memory():
    model = mml.CustomModel(fills_its_memory, memory=MAX_MEMORY)
    assert model.offsets(0.0) == (0.0, MAX_MEMORY)
    assert model.offsets(0.0) == (0.0, MAX_MEMORY)  # a fresh one each time


# -- from Python
@njit
def says_what_it_sees(context, params):
    seen = context.memory[0] + 10.0 * context.memory[1] + 100.0 * context.bid_prices[1] * context.ask_qtys[0]
    flow = context.trade_sides[0] * context.trade_qtys[0] + 1000.0 * context.n_trades + 1e5 * context.missed_trades
    context.memory[0] = 99.0
    return seen, flow + context.trade_prices[0]


def test_a_context_from_python():
    context = mml.QuoteContext(
        100.0,
        memory=(1.0, 2.0),
        bid_levels=[(99.0, 1.0), (98.0, 2.0)],
        ask_levels=[(101.0, 3.0)],
        trades=[(5, 99.0, 0.5, -1), (4, 101.0, 1.0, 1), (3, 101.0, 1.0, 1)],
    )
    for function in (says_what_it_sees, says_what_it_sees.py_func):
        model = mml.CustomModel(function, memory=3, depth=2, trades=2)
        for _ in range(2):  # the memory is a copy
            explained = model.explain(context)
            assert explained["bid_offset"] == 21.0 + 100.0 * 98.0 * 3.0
            assert explained["ask_offset"] == -0.5 + 3000.0 + 1e5 + 99.0
        bid, ask = mml.CustomModel(function, memory=2, depth=2, trades=2).offsets(1.0)
        assert math.isnan(bid)
        assert math.isnan(ask)
    with pytest.raises(ConfigError, match="memory has 2 numbers, the model has room for 1"):
        mml.CustomModel(remembers, (1.0,), memory=1).quote(context)
    with pytest.raises(ConfigError, match="memory has 2 numbers, the model has room for 0"):
        mml.Symmetric(1.0).quote(context)
    assert mml.Symmetric(1.0).quote(dataclasses.replace(context, memory=())) == mml.Quote(99.0, 101.0)


# -- where it runs
def test_bars_remember_and_show_no_depth():
    bars = mml.DataProcessor.simulate_market_data(n_bars=200, seed=1)
    instrument = mml.Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.001, kind="linear")
    bar_tape = mml.EventTape.from_klines(bars, instrument, tier="T2")

    @njit
    def counts(context, params):
        context.memory[0] += 1.0
        empty = math.isnan(context.bid_prices[0]) and context.ask_qtys[1] == 0.0 and context.n_trades == 0
        return (20.0 if empty and context.memory[0] % 2.0 == 1.0 else math.nan), 20.0

    every_other = mml.backtest(bar_tape, mml.CustomModel(counts, memory=1, depth=2, trades=2), **TERMS)
    always = mml.backtest(bar_tape, mml.Symmetric(20.0), **TERMS)
    bids = (every_other.fills["side"] == 1).sum()
    assert 0 < bids < (always.fills["side"] == 1).sum()


@njit
def one_each(context, params):
    context.memory[0] += 1.0 + context.instrument
    return params[0] * (1.0 + context.memory[0] % 5.0), params[0] * (1.0 + context.memory[0] % 3.0)


def test_a_portfolio_has_one_memory_an_instrument(tape):
    other = make_tape(seconds=60, seed=5)
    kept: dict[int, float] = {}

    def told_apart(context, params):
        i = int(context.instrument)
        kept[i] = kept.get(i, 0.0) + 1.0 + i
        return params[0] * (1.0 + kept[i] % 5.0), params[0] * (1.0 + kept[i] % 3.0)

    tapes = [
        tape,
        EventTape(**{**vars_of(other), "instrument": dataclasses.replace(other.instrument, symbol="B/USDT:USDT")}),
    ]
    compiled = mml.backtest(tapes, mml.CustomModel(one_each, values=(0.5,), memory=1), **TERMS)
    python = mml.backtest(tapes, mml.CustomModel(told_apart, values=(0.5,)), **TERMS)
    assert compiled.metrics.fills > 50
    for symbol, part in compiled.parts.items():
        assert part.fills.equals(python.parts[symbol].fills)


def vars_of(tape):
    return {field.name: getattr(tape, field.name) for field in dataclasses.fields(tape)}


@njit
def lazy_at_first(context, params):
    """Quote from the third step of a path on."""
    context.memory[0] += 1.0
    return (params[0] if context.memory[0] > 2.5 else math.nan), params[0] + 0.0 * context.memory[1]


def test_a_path_begins_with_nothing_remembered():
    model = mml.CustomModel(lazy_at_first, (0.6,), memory=2)
    paths = simulate_paths(WORLD, model, 5, seed=3)
    assert np.isnan(paths.bid[:, :2]).all()
    assert np.isfinite(paths.bid[:, 2:]).all()
    one, three = (mml.simulate(WORLD, model, 3_000, seed=3, threads=threads) for threads in (1, 3))
    assert np.array_equal(one.profit, three.profit)
    late = mml.simulate(WORLD.replace(latency_steps=1), model, 200, seed=3)
    assert late.two_sided_share == pytest.approx(1.0 - 3 / WORLD.steps)
    with pytest.raises(ConfigError, match="memory"):
        mml.evaluate_exact(WORLD, model)
    with pytest.raises(ConfigError, match="plain Python"):
        mml.simulate(WORLD, mml.CustomModel(lazy_at_first.py_func, (0.6,), memory=2), 10)


# -- what it may not write
READ_ONLY = [name for name in CONTEXT.names if name not in ("bid_qty", "ask_qty", "take_qty")]


@njit
def honest(context, params):
    lean = 0.05 * context.q + 1e-4 * (context.mid - context.best_bid) - 0.01 * context.best_bid_qty
    lean += context.bids[0] - context.best_bid + context.maker_fee + 0.1 * context.tick_size + 0.001 * context.inventory
    return params[0] + lean, params[0] - lean + 1e-3 * context.instrument


@njit
def vandal(context, params):
    answer = honest(context, params)
    context.ts_ns = -5
    context.mid = 0.92 * context.mid
    context.best_bid = context.best_ask = math.nan
    context.q = 1e9
    context.inventory = -1e9
    context.time_left_s = -1.0
    context.tick_size = 0.0
    context.maker_fee = -1e9
    context.best_bid_qty = context.best_ask_qty = -3.0
    context.instrument = 100_000_000
    context.bids[:] = 7.0
    context.asks[:] = 7.0
    return answer


LIMITS = mml.RiskLimits(min_edge_bps=0.01, one_sided_fills=None)


@pytest.mark.parametrize("wake", [None, "all", ("trade", "response")])
@pytest.mark.parametrize("risk", [mml.RiskLimits.off(), LIMITS], ids=["no limits", "limits"])
def test_what_a_model_writes_elsewhere_has_no_effect(short, wake, risk):
    terms = {**TERMS, "risk": risk, "quote_on": wake, "latency": LATE, "quote_interval_ns": 700_000_000}
    wanted = mml.backtest(short, mml.CustomModel(honest, (0.3,)), **terms)
    assert wanted.metrics.fills > 10
    for function in (vandal, vandal.py_func):
        found = mml.backtest(short, mml.CustomModel(function, (0.3,)), **terms)
        assert found.fills.equals(wanted.fills)
        assert found.orders.equals(wanted.orders)
        assert found.metrics == wanted.metrics


def test_nor_in_a_portfolio(short):
    other = make_tape(seconds=20, seed=5)
    second = EventTape(**{**vars_of(other), "instrument": dataclasses.replace(other.instrument, symbol="B/USDT:USDT")})
    terms = {**TERMS, "risk": LIMITS, "quote_on": "all"}
    wanted, *others = (
        mml.backtest([short, second], mml.CustomModel(function, (0.3,)), **terms)
        for function in (honest, vandal, vandal.py_func)
    )
    assert wanted.metrics.fills > 20
    for found in others:
        assert found.metrics == wanted.metrics


def test_nor_in_a_world():
    model, other = (mml.CustomModel(function, (0.6,)) for function in (honest, vandal))
    for world in (WORLD.replace(tick_size=0.5, fee_per_unit=0.01), WORLD.replace(latency_steps=1)):
        wanted, found = (mml.simulate(world, either, 300, seed=2) for either in (model, other))
        assert np.array_equal(found.profit, wanted.profit)
        assert found.fills.sum() > 0
    python = mml.CustomModel(vandal.py_func, (0.6,))
    context = mml.QuoteContext(100.0, 1.0, tick_size=0.5)
    assert python.quote(context) == mml.CustomModel(honest, (0.6,)).quote(context) == mml.Quote(99.0, 100.5)


def test_memory_and_sizes_remain_its_own(tape):
    @njit
    def sizes(context, params):
        context.memory[0] += 1.0
        context.bid_qty = 0.02 if context.memory[0] % 2.0 == 0.0 else 0.01
        if context.memory[0] == 30.0:
            context.take_qty = 0.05
        return params[0], params[0]

    found = mml.backtest(tape, mml.CustomModel(sizes, (0.5,), memory=1), quote_on="all", **TERMS)
    assert {0.01, 0.02} <= set(found.orders["qty"].round(6))
    assert found.orders["type"].value_counts()["market"] == 1
    python = mml.backtest(tape, mml.CustomModel(sizes.py_func, (0.5,), memory=1), quote_on="all", **TERMS)
    assert python.orders.equals(found.orders)
