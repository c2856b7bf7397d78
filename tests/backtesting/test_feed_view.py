"""What a model sees beyond the top of the book, and what it keeps: against a slow view of the feed, and by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numba import njit

import marketmakerl as mml
from backtesting.test_ticks_against_oracle import FEEDS, T0, WINDOW, Market, Shape
from marketmakerl.backtesting.engine import Engine
from marketmakerl.data.tape import MORE, EventTape, Kind
from oracles.feed_view import FeedView
from searches import many

TICK, LOT = 0.5, 0.25
INSTRUMENT = mml.Instrument("BTC/USDT:USDT", tick_size=TICK, lot_size=LOT, kind="linear")
WAKES = (None, "all", "depth", ("trade", "response"))
MEMORY = 8

seeds = st.integers(0, 2**32)
shapes = st.builds(
    Shape,
    messages=st.integers(5, 120),
    feed=st.sampled_from(FEEDS),
    spread=st.integers(1, 7),
    pace=st.integers(0, 4),
    jumps=st.booleans(),
    gaps=st.booleans(),
    actions=st.just(0.0),
)


def tape_of(rows: list[tuple]) -> EventTape:
    ts, local, price, lots, kind = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return EventTape(INSTRUMENT, ts, local, price, lots, kind.astype(np.int8), {"tier": "T2", "clock": "ticks"})


def open_engine(model, wake=None, offset=0, **options) -> Engine:
    return Engine(
        INSTRUMENT, model, fees=mml.Fees(0.0, 0.0), order_qty=LOT, cash=1e9, first_price=50.0,
        latency=mml.Latency(feed_offset_ns=offset, entry_ns=2, response_ns=3), risk=mml.RiskLimits.off(),
        quote_interval_ns=None if wake else 5, quote_on=wake,
        **({"book_window_ticks": WINDOW} | options),
    )  # fmt: skip


def seen_by(rows: list[tuple], *, depth: int, trades: int, wake=None, offset: int = 0, **options) -> list[dict]:
    """Return what a plain Python model saw at each decision."""
    seen = []

    def watching(context):
        names = [name for name in context.dtype.names if name not in ("bids", "asks")]
        seen.append({name: np.array(context[name]).tolist() for name in names})
        return 0.5 * TICK * (1 + len(seen) % 3), 0.5 * TICK * (1 + len(seen) % 4)

    engine = open_engine(mml.CustomModel(watching, depth=depth, trades=trades), wake, offset, **options)
    engine.feed(tape_of(rows))
    engine.finish()
    return seen


def draw(seed: int, shape: Shape) -> tuple[list[tuple], random.Random]:
    rng = random.Random(seed)
    return Market(rng, shape).draw()[0], rng


@settings(max_examples=many(80, 400), deadline=None)
@given(seed=seeds, shape=shapes, depth=st.sampled_from([0, 1, 2, 5, 40]), trades=st.sampled_from([0, 1, 3, 8]))
def test_a_model_sees_what_has_reached_it_and_nothing_else(seed, shape, depth, trades):
    rows, rng = draw(seed, shape)
    offset = rng.choice((-3, 0, 0, 6, 50))
    wanted, told = FeedView(rows, offset), 0
    seen = seen_by(rows, depth=depth, trades=trades, wake=rng.choice(WAKES), offset=offset)
    event(f"decisions: {min(len(seen), 20) // 10 * 10}+")
    for context in seen:
        wanted.until(context["ts_ns"])
        for side in ("bid", "ask") if depth else ():
            levels = wanted.levels(side, depth)
            blank = depth - len(levels)
            event(f"levels missing: {blank > 0}")
            np.testing.assert_equal(context[f"{side}_prices"], [t * TICK for t, _ in levels] + [np.nan] * blank)
            assert context[f"{side}_qtys"] == [lots * LOT for _, lots in levels] + [0.0] * blank
            assert context[f"{side}_prices"][0] == context[f"best_{side}"]
            assert context[f"{side}_qtys"][0] == context[f"best_{side}_qty"]
        if trades:
            newest = wanted.trades[::-1][:trades]
            blank = trades - len(newest)
            new, told = len(wanted.trades) - told, len(wanted.trades)
            assert (context["n_trades"], context["missed_trades"]) == (new, max(0, new - trades))
            assert context["trade_ts_ns"] == [ts for ts, *_ in newest] + [0] * blank
            np.testing.assert_equal(context["trade_prices"], [p * TICK for _, p, *_ in newest] + [np.nan] * blank)
            assert context["trade_qtys"] == [lots * LOT for *_, lots, _ in newest] + [0.0] * blank
            assert context["trade_sides"] == [side for *_, side in newest] + [0] * blank


def _remember(context, params):
    """Fold everything that is seen into the memory, and quote by it."""
    kept = context.memory
    kept[0] += 1.0
    for i in range(len(context.bid_prices)):
        for value in (context.bid_prices[i], context.bid_qtys[i], context.ask_prices[i], context.ask_qtys[i]):
            if value == value:  # noqa: PLR0124  (NaN)
                kept[1 + i % 3] = (kept[1 + i % 3] * 31.0 + value) % 65_521.0
    for i in range(min(context.n_trades, len(context.trade_prices))):
        kept[4] += context.trade_sides[i] * context.trade_qtys[i]
        kept[5] = (kept[5] * 31.0 + context.trade_prices[i] + context.trade_ts_ns[i] % 1009) % 65_521.0
    kept[6] += context.missed_trades
    return params[0] * (1.0 + kept[1] % 3.0), params[0] * (1.0 + kept[5] % 4.0)


remember = njit(_remember)
ROOM = {"values": (0.5 * TICK,), "memory": MEMORY, "depth": 3, "trades": 4}


def ends_alike(one: Engine, other: Engine) -> None:
    for engine in (one, other):
        engine.finish()
    assert one.snapshot() == other.snapshot()
    assert one.fills().tobytes() == other.fills().tobytes()
    assert one.orders().tobytes() == other.orders().tobytes()
    assert one.model_memory.tobytes() == other.model_memory.tobytes()


@settings(max_examples=many(40, 150), deadline=None)
@given(seed=seeds, shape=shapes, by_row=st.booleans(), python=st.booleans())
def test_pieces_of_a_tape_give_the_bytes_of_the_whole(seed, shape, by_row, python):
    rows, rng = draw(seed, shape)
    wake, offset = rng.choice(WAKES), rng.choice((-3, 0, 6, 50))
    model = mml.CustomModel(_remember if python else remember, **ROOM)
    whole, pieces = (open_engine(model, wake, offset) for _ in range(2))
    tape = tape_of(rows)
    whole.feed(tape)
    n = len(rows)
    cuts = list(range(n)) if by_row else sorted({0, *(rng.randrange(n) for _ in range(3))})
    for first, last in zip(cuts, [*cuts[1:], n], strict=True):
        pieces.feed(tape.slice_rows(first, last))
    assert pieces.snapshot() == whole.snapshot()
    ends_alike(pieces, whole)


@settings(max_examples=many(40, 150), deadline=None)
@given(seed=seeds, shape=shapes)
def test_a_restored_engine_remembers_and_goes_on(seed, shape):
    rows, rng = draw(seed, shape)
    wake, offset = rng.choice(WAKES), rng.choice((-3, 0, 6, 50))
    whole, before, after = (open_engine(mml.CustomModel(remember, **ROOM), wake, offset) for _ in range(3))
    tape, cut = tape_of(rows), rng.randint(1, len(rows))
    whole.feed(tape)
    before.feed(tape.slice_rows(0, cut))
    kept = before.snapshot()
    after.restore(kept)
    assert after.snapshot() == kept
    assert after.model_memory.tobytes() == before.model_memory.tobytes()
    after.feed(tape.slice_rows(cut, len(rows)))
    whole.finish()
    after.finish()
    assert after.snapshot() == whole.snapshot()


@settings(max_examples=many(40, 150), deadline=None)
@given(seed=seeds, shape=shapes)
def test_python_and_compiled_remember_the_same(seed, shape):
    rows, rng = draw(seed, shape)
    wake, offset = rng.choice(WAKES), rng.choice((-3, 0, 6, 50))
    one, other = (open_engine(mml.CustomModel(f, **ROOM), wake, offset) for f in (remember, _remember))
    for engine in (one, other):
        engine.feed(tape_of(rows))
    assert one.model_memory.tobytes() == other.model_memory.tobytes()
    ends_alike(one, other)


def _levels(kind: Kind, levels: list[tuple[int, int]]) -> list[tuple]:
    return [(0, 0, tick, lots, int(kind)) for tick, lots in levels]


def _message(ts: int, local: int, rows: list[tuple]) -> list[tuple]:
    return [
        (ts, local, tick, lots, kind | (MORE if i + 1 < len(rows) else 0))
        for i, (_, _, tick, lots, kind) in enumerate(rows)
    ]


def test_by_hand():
    book = _levels(Kind.DEPTH_BID, [(100, 1), (99, 2), (97, 3)]) + _levels(Kind.DEPTH_ASK, [(102, 4), (103, 5)])
    rows = [
        *_message(T0, T0 + 4, [(0, 0, 0, 0, int(Kind.SNAPSHOT)), *book]),
        *_message(T0 + 6, T0 + 10, _levels(Kind.TRADE_BUY, [(102, 2)])),
        *_message(T0 + 6, T0 + 10, _levels(Kind.TRADE_SELL, [(100, 1)])),
        # Known to the exchange at once, to us at 21: the first decision after that is at 25.
        *_message(T0 + 11, T0 + 21, _levels(Kind.DEPTH_BID, [(99, 0)]) + _levels(Kind.DEPTH_ASK, [(102, 1), (104, 6)])),
        *_message(T0 + 30, T0 + 30, _levels(Kind.TRADE, [(101, 7)])),
    ]
    seen = {context["ts_ns"] - T0: context for context in seen_by(rows, depth=3, trades=2)}
    assert list(seen) == [5, 10, 15, 20, 25, 30]
    nan = np.nan
    for at in (5, 10, 15, 20):
        np.testing.assert_equal(seen[at]["bid_prices"], [50.0, 49.5, 48.5])
        np.testing.assert_equal(seen[at]["bid_qtys"], [0.25, 0.5, 0.75])
        np.testing.assert_equal(seen[at]["ask_prices"], [51.0, 51.5, nan])
        np.testing.assert_equal(seen[at]["ask_qtys"], [1.0, 1.25, 0.0])
    for at in (25, 30):
        np.testing.assert_equal(seen[at]["bid_prices"], [50.0, 48.5, nan])
        np.testing.assert_equal(seen[at]["ask_prices"], [51.0, 51.5, 52.0])
        np.testing.assert_equal(seen[at]["ask_qtys"], [0.25, 1.25, 1.5])
    assert [seen[at]["n_trades"] for at in seen] == [0, 2, 0, 0, 0, 1]
    np.testing.assert_equal(seen[5]["trade_prices"], [nan, nan])
    assert seen[10]["trade_sides"] == [-1, 1]
    assert seen[10]["trade_prices"] == [50.0, 51.0]
    assert seen[10]["trade_ts_ns"] == [T0 + 6, T0 + 6]
    assert seen[30]["trade_sides"] == [0, -1]
    assert seen[30]["trade_qtys"] == [1.75, 0.25]


def test_own_orders_do_not_show_and_far_levels_do():
    """Levels thousands of ticks away lie in the store of the book, whose window is 64 ticks; it grows, too."""
    far = [(tick, 1 + tick % 5) for tick in range(1, 4000, 2)]
    rows = [
        *_message(T0, T0, _levels(Kind.DEPTH_BID, [(5000, 3), *far]) + _levels(Kind.DEPTH_ASK, [(5002, 4), (9000, 2)])),
        *_message(T0 + 20, T0 + 20, _levels(Kind.DEPTH_BID, [(5000, 0)]) + _levels(Kind.DEPTH_ASK, [(5002, 0)])),
        *_message(T0 + 40, T0 + 40, _levels(Kind.TRADE_BUY, [(9000, 1)])),
    ]
    seen = seen_by(rows, depth=4, trades=0)
    assert seen[0]["bid_prices"] == [2500.0, 3999 * TICK, 3997 * TICK, 3995 * TICK]
    np.testing.assert_equal(seen[0]["ask_prices"], [2501.0, 4500.0, np.nan, np.nan])
    assert seen[2]["bid_qtys"][0] == 3 * LOT  # ours stands there by now
    assert seen[-1]["bid_prices"] == [3999 * TICK, 3997 * TICK, 3995 * TICK, 3993 * TICK]


def test_more_trades_than_fit_are_counted():
    book = _levels(Kind.DEPTH_BID, [(100, 1)]) + _levels(Kind.DEPTH_ASK, [(102, 4)])
    rows = [*_message(T0, T0, book)]
    for i in range(9_000):  # more than the wire has room for at first
        rows += _message(T0 + 6, T0 + 8, _levels(Kind.TRADE_BUY, [(102, 1 + i)]))
    rows += _message(T0 + 30, T0 + 30, _levels(Kind.TRADE_SELL, [(100, 1)]))
    seen = seen_by(rows, depth=0, trades=3)
    by_time = {context["ts_ns"] - T0: context for context in seen}
    assert (by_time[10]["n_trades"], by_time[10]["missed_trades"]) == (9_000, 8_997)
    assert by_time[10]["trade_qtys"] == [9_000 * LOT, 8_999 * LOT, 8_998 * LOT]
    assert (by_time[30]["n_trades"], by_time[30]["missed_trades"]) == (1, 0)


def test_rows_that_take_long_wait_on_the_wire():
    """A feed that is late by 15,000 rows, thrice what there is room for: none of it known, and none of it lost."""
    rows = [*_message(T0, T0 + 1, _levels(Kind.DEPTH_BID, [(100, 1)]) + _levels(Kind.DEPTH_ASK, [(102, 4)]))]
    rows += [
        row for i in range(14_000) for row in _message(T0 + 2 + i, T0 + 15_000 + i, _levels(Kind.TRADE_BUY, [(102, 1)]))
    ]
    rows += _message(T0 + 19_000, T0 + 40_000, _levels(Kind.DEPTH_BID, [(100, 2)]))
    total = 0
    for context in seen_by(rows, depth=1, trades=1):
        total += context["n_trades"]
        assert total == max(0, min(14_000, context["ts_ns"] - T0 - 15_000 + 1))
    assert total > 3_900


@njit
def counting(context, params):
    context.memory[0] += 1.0
    return params[0] * (1.0 + (context.memory[0] // 7.0) % 2.0), params[0]


@pytest.mark.parametrize("wake", WAKES)
def test_a_model_is_asked_once_a_decision(wake):
    """Even where a model without a memory could be asked again and again."""
    rows = [*_message(T0, T0, _levels(Kind.DEPTH_BID, [(100, 1)]) + _levels(Kind.DEPTH_ASK, [(102, 4)]))]
    for i in range(400):
        rows += _message(T0 + 3 * i, T0 + 3 * i + 1, _levels(Kind.DEPTH_BID, [(95, 1 + i)]))
        rows += _message(T0 + 3 * i, T0 + 3 * i + 1, _levels(Kind.TRADE_BUY, [(102, 1)]))  # ours stands behind
    engine = open_engine(mml.CustomModel(counting, values=(1.0,), memory=1), wake)
    engine.feed(tape_of(rows))
    engine.finish()
    assert engine.model_memory[0] == engine.run_log()["decisions"] > 20
