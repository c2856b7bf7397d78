"""What has to be true of any run on ticks, whatever the rules in between: on random markets and on recorded ones.

The first part is the list of traps that other engines have fallen into, one test each.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numba import njit

import marketmakerl as mml
from marketmakerl.backtesting.book.levels import level_lots
from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.exchange.queue import Queue
from marketmakerl.backtesting.layout import HORIZONS_NS, OrderType, Status
from marketmakerl.backtesting.order_script import OrderScript
from marketmakerl.core.instruments import lookup
from marketmakerl.data.book_import import import_book
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.models.custom import CustomModel
from marketmakerl.risk.reasons import Purpose, Reason
from oracles.book import replay_tape

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
T0 = 1_700_000_000_000_000_000
MS, S = 10**6, 10**9
OFF = mml.RiskLimits.off()
# Everything on, but for what would forbid so narrow a quote and what would end the recording with one fill.
RISKY = mml.RiskLimits(min_edge_bps=None, cooldown_s=0.5)
FREE = mml.Fees(0.0, 0.0)
LINEAR = mml.Instrument("X/USDT:USDT", 0.5, 0.25, "linear")
SPOT = mml.Instrument("X/USDT", 0.5, 0.25, "spot")
INVERSE = mml.Instrument("X/USD:X", 0.5, 1.0, "inverse", 10.0)
BID, ASK, SOLD, BOUGHT = Kind.DEPTH_BID, Kind.DEPTH_ASK, Kind.TRADE_SELL, Kind.TRADE_BUY
DELAY = mml.Latency(0, 5 * MS, 3 * MS)
POINT_NS = 50 * MS


def tape_of(messages, instrument=LINEAR, delay=0):
    """Return a tape of messages: (time from the start in ms, (price, lots, kind), ...)."""
    rows = []
    for ms, *levels in messages:
        ts = T0 + int(ms * MS)
        for i, (price, lots, kind) in enumerate(levels):
            rows.append((ts, ts + delay, price, lots, int(kind) | (MORE if i + 1 < len(levels) else 0)))
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    meta = {"clock": "ticks", "tier": "T2", "source": "test"}
    return mml.EventTape(instrument, *columns[:4], columns[4].astype(np.int8), meta=meta)


@njit
def quote_nothing(context, params):
    return np.nan, np.nan


def walk(seed, messages=400, instrument=LINEAR, centre=2000):
    """A market that never crosses: bids up to a centre that wanders, asks above it; every message has its own time."""
    rng = np.random.default_rng(seed)
    book = [(0, (0, 0, Kind.SNAPSHOT))]
    book[0] += tuple((centre - k, int(rng.integers(2, 12)), BID) for k in range(12))
    book[0] += tuple((centre + 1 + k, int(rng.integers(2, 12)), ASK) for k in range(12))
    ms = 0
    for _ in range(messages):
        ms += int(rng.integers(1, 30))
        draw, lots, up = rng.random(), int(rng.integers(1, 12)), rng.random() < 0.5
        if draw < 0.4:  # now and then it sweeps two levels
            through = int(rng.choice([0, 0, 0, 1, 2]))
            book.append((ms, (centre + 1 + through, lots, BOUGHT) if up else (centre - through, lots, SOLD)))
        elif draw < 0.85:
            level = int(rng.integers(0, 8))
            lots = lots * int(rng.random() < 0.85) if level else lots
            book.append((ms, (centre + 1 + level, lots, ASK) if up else (centre - level, lots, BID)))
        elif up:
            centre += 1
            book.append((ms, (centre, 0, ASK), (centre, lots, BID), (centre + 1, lots + 1, ASK)))
        else:
            book.append((ms, (centre, 0, BID), (centre, lots, ASK), (centre - 1, lots + 1, BID)))
            centre -= 1
    return tape_of(book, instrument, delay=2 * MS)


def open_engine(tape, model, **options):
    usual = {"fees": FREE, "order_qty": tape.instrument.lot_size, "cash": 1e9, "first_price": 1000.0, "risk": OFF}
    return Engine(tape.instrument, model, **usual | options)


def run(tape, model, **options):
    engine = open_engine(tape, model, **options)
    engine.feed(tape)
    engine.finish()
    return engine


def script_of(tape, seed, orders=60, depth=6, hold_ms=800, at_once=1):
    """Orders near the market at random times; no two own orders of a side at one price unless `at_once` says so."""
    rng = np.random.default_rng(seed)
    tops = list(replay_tape(tape.price_ticks.tolist(), tape.qty_lots.tolist(), tape.kind.tolist()))
    actions, taken = [], {}
    for number in range(orders):
        row, bid, _, ask, _ = tops[int(len(tops) * number / orders)]
        ts = int(tape.ts_ns[row])
        side = 1 if rng.random() < 0.5 else -1
        price = (bid - int(rng.integers(0, depth))) if side > 0 else (ask + int(rng.integers(0, depth)))
        if at_once == 1 and taken.get((side, price), 0) >= ts:
            continue
        end = ts + int(rng.integers(hold_ms // 4, hold_ms)) * MS
        taken[side, price] = end + 100 * MS
        actions += [(ts, side, price, int(rng.integers(1, 6)), end) for _ in range(at_once)]
    script, ends = OrderScript(), []
    for ts, side, price, lots, end in actions:
        while ends and min(ends)[0] <= ts:
            script.cancel(*ends.pop(ends.index(min(ends))))
        ends.append((end, script.submit(ts, side=side, price_ticks=price, qty_lots=lots)))
    for end in sorted(ends):
        script.cancel(*end)
    return script


def same_runs(one, other):
    for name in ("fills", "orders", "samples"):
        assert getattr(one, name)().tobytes() == getattr(other, name)().tobytes(), name


BOOK = (0, (100, 5, BID), (102, 5, ASK))  # mid 101, everything is known


# --- The traps of other engines --------------------------------------------------------------------------------------


def test_trap_one_trade_of_one_fills_one_of_two_own_orders_of_one():
    script = OrderScript()
    for _ in range(2):
        script.submit(T0 + MS, side=1, price_ticks=100, qty_lots=1)
    for trade in ((5, (100, 1, SOLD)), (5, (99, 1, SOLD))):  # at the price, and through it
        tape = tape_of([BOOK, trade, (9, (100, 5, BID))])
        engine = run(tape, script, queue="front")
        assert [(int(f["order_id"]), int(f["qty_lots"])) for f in engine.fills()] == [(1, 1)]


def test_trap_a_fill_of_exactly_the_rest_leaves_no_zombie_and_the_run_goes_on():
    script = OrderScript()
    script.submit(T0 + MS, side=1, price_ticks=100, qty_lots=5)
    script.submit(T0 + 40 * MS, side=1, price_ticks=100, qty_lots=1)
    trades = [(ms, (100, lots, SOLD)) for ms, lots in ((10, 2), (20, 3), (30, 4), (50, 1), (60, 7))]
    tape = tape_of([BOOK, *trades, (2500, (100, 5, BID))])
    engine = run(tape, script, queue="front", latency=DELAY)
    assert [(int(f["order_id"]), int(f["qty_lots"])) for f in engine.fills()] == [(1, 2), (1, 3), (2, 1)]
    assert [int(o["status"]) for o in engine.orders()] == [Status.FILLED] * 2
    assert engine.run_log()["rows"] == len(tape)
    assert engine.samples()["ts_ns"].tolist() == [T0, T0 + S, T0 + 2 * S, T0 + 2500 * MS]
    # Nothing is left behind: all slots are free again, no list holds anything.
    state = engine.state
    assert (state.own.n_live, state.own.n_free, *state.own.n_work, *state.own.live_side) == (
        0,
        state.own.cap,
        0,
        0,
        0,
        0,
    )


def test_trap_best_bid_qty_is_a_quantity_and_not_a_price():
    seen = []

    def look(context):
        seen.append(tuple(float(context[n]) for n in ("best_bid", "best_bid_qty", "best_ask", "best_ask_qty", "mid")))
        return None, None

    tape = tape_of([BOOK, (10, (100, 7, BID)), (20, (103, 4, ASK), (102, 0, ASK))])
    run(tape, CustomModel(look), quote_on="depth")
    assert seen == [(50.0, 1.25, 51.0, 1.25, 50.5), (50.0, 1.75, 51.0, 1.25, 50.5), (50.0, 1.75, 51.5, 1.0, 50.75)]


def test_trap_no_buffer_is_read_after_its_owner_has_dropped_it():
    tape = walk(3)
    half = len(tape) // 2
    while tape.kind[half - 1] & MORE:
        half += 1
    script = script_of(tape, 4)

    def series():
        entry = np.random.default_rng(1).integers(0, 9 * MS, 40)
        return T0 + POINT_NS * np.arange(40), entry, entry[::-1].copy()

    expected = run(tape, script, latency=mml.Latency.from_series(*series()), queue="log")
    columns = [np.array(c) for c in (tape.ts_ns, tape.local_ts_ns, tape.price_ticks, tape.qty_lots, tape.kind)]
    times = series()
    engine = open_engine(tape, script, latency=mml.Latency.from_series(*times), queue="log")
    script.submit(int(tape.ts_ns[-1]) + S, side=1, price_ticks=1, qty_lots=1)  # after it was handed in
    engine.feed(mml.EventTape(LINEAR, *[c[:half].copy() for c in columns], meta=tape.meta))
    rest = [c[half:].copy() for c in columns]
    for array in (*times, *columns):
        array[:] = -1
    del columns, times
    gc.collect()
    trash = [np.full(1 << n, -1, np.int64) for n in range(4, 16) for _ in range(8)]
    engine.feed(mml.EventTape(LINEAR, *rest, meta=tape.meta))
    for array in rest:
        array[:] = -1
    engine.finish()
    assert len(trash) == 96
    assert len(expected.fills()) > 10
    same_runs(engine, expected)


@pytest.mark.parametrize(("maker", "more"), [(0.0, 2.0), (-1.5, 1.5), (-3.0, 4.0)])
def test_trap_a_fee_changes_nothing_but_the_profit_and_that_exactly(maker, more):
    tape = walk(5, 1500)
    model = mml.Symmetric(0.75)  # knows nothing of fees

    def play(bps):
        return mml.backtest(
            tape, model, fees=mml.Fees(bps, 5.0), order_qty=1.0, cash=1e6, risk=OFF, queue="front", latency=DELAY
        )

    one, other = play(maker), play(maker + more)
    fills = [result.raw_fills for result in (one, other)]
    assert len(fills[0]) > 20
    for name in fills[0].dtype.names:
        assert name == "fee" or (fills[0][name] == fills[1][name]).all(), name
    assert one.raw_orders.tobytes() == other.raw_orders.tobytes()
    notional = float((fills[0]["price_ticks"] * 0.5 * fills[0]["qty_lots"] * 0.25).sum())
    assert one.metrics.pnl - other.metrics.pnl == pytest.approx(more * 1e-4 * notional, rel=1e-9)
    np.testing.assert_allclose(one.metrics.fees_paid, maker * 1e-4 * notional, rtol=1e-9, atol=1e-9)
    if maker < 0:  # a rebate pays
        assert one.metrics.fees_paid < 0
        assert one.metrics.pnl > one.metrics.gross_spread_pnl + one.metrics.inventory_pnl


def test_trap_a_taker_fee_too_is_charged_once_and_with_its_sign():
    tape = walk(6)

    def play(bps):
        script = OrderScript()
        for i in range(8):
            script.submit(T0 + (i + 1) * 300 * MS, side=1 - 2 * (i % 2), price_ticks=1, qty_lots=3, order_type="market")
        return run(tape, script, fees=mml.Fees(-1.0, bps))

    one, other = play(2.0), play(7.0)
    notional = float((one.fills()["price_ticks"] * one.fills()["qty_lots"]).sum()) * 0.125
    assert len(one.fills()) >= 8
    assert one.state.ledger.cash - other.state.ledger.cash == pytest.approx(5e-4 * notional, rel=1e-6)
    assert other.state.ledger.fees_paid - one.state.ledger.fees_paid == pytest.approx(5e-4 * notional, rel=1e-9)


def spike_of(tape):
    """Latencies of 2 ms that go to 400 ms for half a second when the market is half over."""
    ts = int(tape.ts_ns[0]) + POINT_NS * np.arange((int(tape.ts_ns[-1]) - int(tape.ts_ns[0])) // POINT_NS + 1)
    entry = np.full(len(ts), 2 * MS)
    entry[len(ts) // 2 : len(ts) // 2 + 10] = 400 * MS
    return ts, entry


def entry_ns(latency, sent):
    """Return the time to the exchange at each time of sending, worked out in Python integers."""
    ts, entry = (latency.series[name].tolist() for name in ("ts_ns", "entry_ns"))
    result = []
    for t, i in zip(sent.tolist(), np.searchsorted(ts, sent, side="right").tolist(), strict=True):
        if i in {0, len(ts)}:
            result.append(entry[min(i, len(ts) - 1)])
        else:
            result.append(entry[i - 1] + (entry[i] - entry[i - 1]) * (t - ts[i - 1]) // (ts[i] - ts[i - 1]))
    return np.array(result)


def test_trap_a_recorded_latency_is_not_its_mean():
    tape = walk(7, 1500)
    ts, entry = spike_of(tape)
    options = {"quote_on": ("depth", "trade"), "queue": "front", "order_qty": 0.5}
    recorded, mean = (
        run(tape, mml.Symmetric(0.75), latency=latency, **options)
        for latency in (
            mml.Latency.from_series(ts, entry, entry),
            mml.Latency(0, int(entry.mean()), int(entry.mean())),
        )
    )
    way, usual = (
        (o["live_ns"] - o["submitted_ns"])[o["live_ns"] > 0] for o in (engine.orders() for engine in (recorded, mean))
    )
    assert set(usual.tolist()) == {int(entry.mean())}
    assert way.min() == 2 * MS
    assert way.max() > 300 * MS > 10 * entry.mean()
    assert recorded.fills().tobytes() != mean.fills().tobytes()
    # In the spike our cancels come late: what is run over is what stood there too long.
    inside = (recorded.orders()["submitted_ns"] > ts[len(ts) // 2]) & (
        recorded.orders()["submitted_ns"] < ts[len(ts) // 2 + 9]
    )
    assert (recorded.orders()["live_ns"][inside] - recorded.orders()["submitted_ns"][inside]).max() > 300 * MS


def test_trap_a_touch_does_not_fill():
    script = OrderScript()
    script.submit(T0 + MS, side=1, price_ticks=100, qty_lots=2)
    script.submit(T0 + MS, side=-1, price_ticks=102, qty_lots=2)
    touched = [(5, (100, 3, SOLD)), (6, (102, 5, BOUGHT)), (7, (100, 2, SOLD)), (8, (101, 9, Kind.TRADE))]
    assert len(run(tape_of([BOOK, *touched]), script).fills()) == 0
    one_more = [*touched, (9, (100, 1, SOLD)), (10, (103, 2, BOUGHT))]  # past the five in front; through the price
    fills = run(tape_of([BOOK, *one_more]), script).fills()
    assert [(int(f["side"]), int(f["qty_lots"]), int(f["price_ticks"])) for f in fills] == [(1, 1, 100), (-1, 2, 102)]


def test_trap_a_receipt_before_the_sending_is_set_right_and_reported():
    seen = []

    def look(context):
        seen.append((int(context.ts_ns), float(context.best_bid)))
        return None, None

    steps = [(10 * i, (100 - i, 5, BID), (101 - i, 0, BID), (102, 5, ASK)) for i in range(1, 30)]
    tape = tape_of([BOOK, *steps], delay=-1270 * MS)  # a recorder whose clock runs behind
    engine = run(tape, CustomModel(look), quote_on="depth")
    assert engine.run_log()["receipt_clamped"] >= len(steps)
    sent = {50.0 - 0.5 * i: T0 + 10 * i * MS for i in range(30)}
    assert len(seen) >= 29
    assert all(ts >= sent[bid] for ts, bid in seen)  # nothing is seen before it happened
    # Set right by the importer's figure, nothing has to be clamped.
    shifted = run(tape, mml.Symmetric(1.0), latency=mml.Latency(1271 * MS, 0, 0), quote_on="depth")
    assert shifted.run_log()["receipt_clamped"] == 0


# --- What is true of every run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_own_fills_never_exceed_what_a_trade_brought(seed):
    tape = walk(seed, 600)
    script = script_of(tape, seed + 50, orders=150, depth=4, at_once=3)
    trades = {
        int(ts): (int(lots), int(price), 1 if kind == SOLD else -1)
        for ts, lots, price, kind in zip(tape.ts_ns, tape.qty_lots, tape.price_ticks, tape.kind, strict=True)
        if kind in {SOLD, BOUGHT}
    }
    met = 0
    for queue in ("front", "log", "risk_averse"):
        fills = run(tape, script, queue=queue).fills()
        for ts in set(fills["ts_ns"].tolist()) & trades.keys():
            lots, price, side = trades[ts]
            now = fills[fills["ts_ns"] == ts]
            assert (now["side"] == side).all()
            assert int(now["qty_lots"].sum()) <= lots
            assert (side * now["price_ticks"] >= side * price).all()
            met += len(now) > 1
    assert met > 5  # several own orders met one trade, or this says nothing


def test_nobody_gets_a_fill_while_there_is_enough_in_front():
    """Filled by trades at a price, at most: what traded there since, less what stood there when the order came."""
    checked = 0
    for seed in range(8):
        tape = walk(seed, 600)
        engine = run(tape, script_of(tape, seed, orders=120, depth=2), queue="risk_averse")
        traded = np.isin(tape.kind, [SOLD, BOUGHT])
        ts, price, lots, kind = (c[traded] for c in (tape.ts_ns, tape.price_ticks, tape.qty_lots, tape.kind))
        changes = ~traded & ((tape.kind & ~MORE) != Kind.SNAPSHOT)
        for order in engine.orders()[engine.orders()["filled_lots"] > 0]:
            side, at, live, closed = (int(order[n]) for n in ("side", "price_ticks", "live_ns", "closed_ns"))
            there = (ts > live) & (ts <= closed) & (kind == (SOLD if side > 0 else BOUGHT))
            depth = tape.price_ticks[changes & (tape.ts_ns > live) & (tape.ts_ns <= closed)]
            if (side * price[there] < side * at).any() or (depth == at).any():
                continue  # traded through, or the level itself moved: other rules
            checked += 1
            assert order["filled_lots"] <= lots[there & (price == at)].sum() - order["joined_behind_lots"]
    assert checked > 5


def filled_curves(fills):
    """Return {order: (times, lots filled by then)}."""
    curves = {}
    for number in set(fills["order_id"].tolist()):
        own = fills[fills["order_id"] == number]
        curves[number] = own["ts_ns"], np.cumsum(own["qty_lots"])
    return curves


def never_earlier(pessimist, optimist):
    """Assert that at every time each order is filled at least as far in the second run; return how many lots apart."""
    curves = filled_curves(optimist)
    for number, (times, lots) in filled_curves(pessimist).items():
        then, upto = curves[number]
        there = np.r_[0, upto][np.searchsorted(then, times, side="right")]
        assert (there >= lots).all(), number
    return int(optimist["qty_lots"].sum() - pessimist["qty_lots"].sum())


QUEUES = ("log", "log2", "power", "power2", Queue.power(1.0))


def test_a_more_pessimistic_queue_never_fills_earlier():
    apart = [0, 0]
    for seed in range(10):
        tape = walk(seed, 600)
        script = script_of(tape, seed + 20, orders=100)
        front, averse = (run(tape, script, queue=queue).fills() for queue in ("front", "risk_averse"))
        for queue in QUEUES:
            between = run(tape, script, queue=queue).fills()
            apart[0] += never_earlier(between, front)
            apart[1] += never_earlier(averse, between)
    assert min(apart) > 0


@pytest.mark.parametrize("instrument", [LINEAR, SPOT, INVERSE], ids=lambda i: i.kind)
@pytest.mark.parametrize("seed", range(4))
def test_profit_is_the_sum_of_its_parts(instrument, seed):
    tape = walk(seed, 800, instrument)
    qty = {"linear": 1.0, "spot": 1.0, "inverse": 3.0}[instrument.kind]
    lot = instrument.lot_size

    def quote(context):
        context.take_qty = lot * ((int(context.ts_ns) // (100 * MS)) % 7 == 0) * (1 if context.q <= 0 else -2)
        return 0.4, 0.6

    model = CustomModel(quote, levels=2)
    result = mml.backtest(
        tape, model, fees=mml.Fees(-0.5, 4.0), order_qty=qty, cash=20_000.0, risk=None if seed % 2 else OFF,
        queue="log", latency=DELAY, initial_inventory=7 * lot,
    )  # fmt: skip
    m = result.metrics
    assert m.fills > 20
    assert 0 < m.maker_share < 1
    parts = m.gross_spread_pnl + m.inventory_pnl + m.funding_pnl - m.fees_paid
    assert abs(m.pnl - parts) <= 1e-9 * max(1.0, m.turnover)
    raw = result.raw_fills
    signed = raw["side"] * raw["qty_lots"] * lot
    price = raw["price_ticks"] * instrument.tick_size
    value, mark = (-10.0 / x if instrument.kind == "inverse" else x for x in (price, raw["mid"]))
    rate = float(result.raw_samples["mid"][-1]) if instrument.kind == "inverse" else 1.0
    assert m.gross_spread_pnl == pytest.approx(rate * float((signed * (mark - value)).sum()), rel=1e-6, abs=1e-6)
    fee = np.abs(signed * value) * np.where(raw["maker"] == 1, -0.5e-4, 4e-4)
    np.testing.assert_allclose(raw["fee"], fee, rtol=1e-9)
    assert m.final_inventory == pytest.approx(float(signed.sum()) + 7 * lot)


@cache
def mids_of(tape_key, shared=False):
    """Return (times, mids in price units) after every message, by replay with dictionaries."""
    tape = recorded_tape(tape_key) if shared else walk(tape_key, 1500)
    rows = [
        (row, 0.5 * (bid + ask) * tape.instrument.tick_size)
        for row, bid, _, ask, _ in replay_tape(tape.price_ticks.tolist(), tape.qty_lots.tolist(), tape.kind.tolist())
        if bid is not None and ask is not None
    ]
    return tape.ts_ns[[row for row, _ in rows]], np.array([mid for _, mid in rows])


def test_equity_and_markouts_are_those_of_a_replay():
    tape = walk(9, 1500)
    engine = run(
        tape, mml.Symmetric(0.75), fees=mml.Fees(1.0, 5.0), queue="front", latency=DELAY, equity_interval_ns=250 * MS
    )
    times, mids = mids_of(9)

    def mid_at(ts):
        return mids[np.searchsorted(times, ts, side="right") - 1]

    fills, samples = engine.fills(), engine.samples()
    assert len(fills) > 30
    assert (np.diff(samples["ts_ns"])[:-1] == 250 * MS).all()
    assert (samples["ts_ns"][0], samples["ts_ns"][-1]) == (tape.ts_ns[0], tape.ts_ns[-1])
    for sample in samples:
        done = fills[fills["ts_ns"] <= sample["ts_ns"]]
        qty = done["side"] * done["qty_lots"] * 0.25
        mid = mid_at(sample["ts_ns"])
        worth = float((qty * (mid - done["price_ticks"] * 0.5)).sum() - done["fee"].sum())
        assert sample["mid"] == mid
        assert sample["equity"] - 1e9 == pytest.approx(worth, abs=1e-5)
    table = engine.markouts()
    later = fills["ts_ns"][:, None] + np.array(HORIZONS_NS)[None, :]
    np.testing.assert_array_equal(table, np.where(later <= tape.ts_ns[-1], mid_at(later), np.nan))
    assert np.isfinite(table[:, :4]).any()
    result = mml.backtest(tape, mml.Symmetric(0.75), fees=mml.Fees(1.0, 5.0), order_qty=0.25, cash=1e9, risk=OFF,
                          queue="front", latency=DELAY)  # fmt: skip
    known = np.isfinite(table[:, 2])
    gain = (fills["side"] * fills["qty_lots"] * (table[:, 2] - fills["price_ticks"] * 0.5))[known].sum()
    notional = (fills["qty_lots"] * fills["price_ticks"] * 0.5)[known].sum()
    assert result.metrics.markout_bps["1s"] == pytest.approx(1e4 * gain / notional)


def test_uptime_is_the_time_with_both_sides_resting():
    script = OrderScript()
    bid = script.submit(T0 + 100 * MS, side=1, price_ticks=99, qty_lots=1)
    ask = script.submit(T0 + 300 * MS, side=-1, price_ticks=104, qty_lots=1)  # both from 302 ms on
    script.cancel(T0 + 500 * MS, bid)  # until 502 ms
    script.submit(T0 + 600 * MS, side=1, price_ticks=98, qty_lots=1)  # from 602
    script.submit(T0 + 650 * MS, side=1, price_ticks=97, qty_lots=1)  # no more than both
    script.cancel(T0 + 900 * MS, ask)  # until the trade at 800 takes it
    tape = tape_of([BOOK, (800, (105, 3, BOUGHT)), (1000, (100, 4, BID))])
    result = mml.backtest(tape, script, fees=FREE, order_qty=1.0, cash=1e6, latency=mml.Latency(0, 2 * MS, 0), risk=OFF)
    assert result.metrics.quoted_uptime_pct == pytest.approx((200 + 198) / 1000)


def test_however_fast_the_answers_one_time_is_one_decision():
    """A refusal that comes back at once must not have the model send the same again, and again."""
    asked = []

    def stubborn(context):
        asked.append(int(context.ts_ns))
        assert len(asked) < 1_000
        return 0.4, 0.4

    # What we see is late: our bid would take at the exchange, and is refused there and then.
    steps = [(20 * i, (101 - i, 0, BID), (101 - i, 5, ASK), (100 - i, 5, BID)) for i in range(1, 20)]
    tape = tape_of([(0, (100, 5, BID), (101, 5, ASK)), *steps], delay=50 * MS)
    assert run(tape, CustomModel(stubborn), quote_on="all").run_log()["rejected"] > 3
    assert len(asked) > 5
    assert len(set(asked)) == len(asked)


@pytest.mark.timeout(60)
def test_the_window_moves_away_from_more_levels_than_the_store_has_room_for():
    """A wide book's first message: 150 levels lie in the window that is about to move, 900 do not."""
    bids = [(price, 3, BID) for price in (*range(1, 151), *range(4_000, 4_900))]
    tape = tape_of([(0, (0, 0, Kind.SNAPSHOT), *bids, (5_000, 4, ASK)), (1, (4_899, 7, BID))])
    engine = run(tape, OrderScript(), book_window_ticks=512)
    state, memory = engine.state, engine._memory
    assert [level_lots(state.book, memory, 0, price) for price in (1, 150, 151, 4_000, 4_899)] == [3, 3, 0, 3, 7]
    assert kernel_top(engine) == [4_899, 7, 5_000, 4]


def test_a_snapshot_costs_no_more_than_what_it_names():
    """Once the window has moved, what lies between the book and its edge need not be looked at again and again."""
    levels = [(price, 3, BID) for price in range(300_000, 300_010)] + [(300_020, 4, ASK)]
    tape = tape_of([(ms, (0, 0, Kind.SNAPSHOT), *levels) for ms in range(5)])
    engine = run(tape, OrderScript())
    assert engine.run_log()["recentres"] == 1
    assert engine.state.book.worst.tolist() == [300_000, -300_020]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("interval_s", [0.1, 1, 3_600])
def test_half_of_the_budget_lost_between_two_samples_is_a_failure(interval_s, together):
    """A market that halves for 0.4 s, with one unit held of a budget of its price."""
    book = [(0, (2_000, 5, BID), (2_002, 5, ASK))]
    for ms, old, new in ((30_300, 2_000, 1_000), (30_700, 1_000, 2_000)):
        book.append((ms, (old, 0, BID), (old + 2, 0, ASK), (new, 5, BID), (new + 2, 5, ASK)))
    tape = tape_of([*book, (60_000, (500, 1, BID))])
    result = mml.backtest(
        [tape] if together else tape, CustomModel(quote_nothing), fees=FREE, order_qty=0.25, cash=1_000.0,
        initial_inventory=1.0, risk=OFF, equity_interval_ns=int(interval_s * S),
    )  # fmt: skip
    assert result.metrics.max_drawdown_pct == pytest.approx(0.5)
    assert result.metrics.failed
    assert result.metrics.pnl == 0.0


# --- The breaker -----------------------------------------------------------------------------------------------------


def crash(step_ms=20):
    """Calm, then thirty per cent down in a second, and bids so thin that the position goes in slices."""
    messages = [(0, *[(2000 - k, 40, BID) for k in range(3)], *[(2001 + k, 40, ASK) for k in range(3)])]
    messages += [(100 * i, (2000, 40 + i % 2, BID)) for i in range(1, 50)]
    price, ms = 2000, 5000
    while price > 1400:
        rows = [(price - k, 0, BID) for k in range(3)] + [(price + 1 + k, 0, ASK) for k in range(3)]
        price -= 30
        rows += [(price - k, 4, BID) for k in range(3)] + [(price + 1 + k, 4, ASK) for k in range(3)]
        messages.append((ms, *rows))
        ms += step_ms
    messages += [(ms + 50 * i, (price, 4 + i % 2, BID)) for i in range(100)]
    return tape_of(messages, delay=MS)


@pytest.mark.parametrize("side", [1, -1])
def test_halted_adds_nothing_and_goes_home_in_slices(side):
    tape = crash()
    if side < 0:  # short into a rise: the same, upside down
        turned = {int(BID): int(ASK), int(ASK): int(BID)}
        kind = np.array([turned[int(k) & ~MORE] | (int(k) & MORE) for k in tape.kind], np.int8)
        tape = mml.EventTape(LINEAR, tape.ts_ns, tape.local_ts_ns, 4001 - tape.price_ticks, tape.qty_lots, kind,
                             meta=tape.meta)  # fmt: skip
    lots = 100
    result = mml.backtest(
        tape, mml.Symmetric(1.0), fees=mml.Fees(1.0, 5.0), order_qty=1.0, cash=100_000.0 / 5, latency=DELAY,
        initial_inventory=side * lots * 0.25, target_inventory=0.0, quote_interval_ns=10 * MS,
        risk=mml.RiskLimits(stop_loss_pct=None),
    )  # fmt: skip
    m, orders, fills = result.metrics, result.raw_orders, result.raw_fills
    assert (m.liquidations, m.final_inventory) == (1, 0.0)
    assert m.breaker_events >= 1
    sweeps = orders[orders["purpose"] == Purpose.LIQUIDATION]
    assert len(sweeps) >= 3  # no depth for it at once
    halted = sweeps["submitted_ns"].min()
    later = orders[orders["submitted_ns"] >= halted]
    assert (later["purpose"] == Purpose.LIQUIDATION).all()
    assert (later["order_type"] == OrderType.IOC).all()  # taking, but not at any price
    assert (later["side"] == -side).all()
    # What rested is cancelled at once, and its late fills may add no more than they could before.
    working = orders[(orders["submitted_ns"] < halted) & (orders["closed_ns"] >= halted)]
    assert (working["closed_ns"] <= halted + DELAY.entry_ns + DELAY.response_ns + 20 * MS).all()
    assert set(working["status"].tolist()) <= {Status.CANCELLED, Status.FILLED}
    takers = fills[fills["maker"] == 0]
    assert (takers["side"] == -side).all()
    assert (takers["purpose"] == Purpose.LIQUIDATION).all()
    assert m.liquidation_cost > 0
    assert (np.diff(np.abs(takers["position_lots"])) < 0).all()
    assert m.suppressed_pct["halted"] > 0


# --- Recorded data ---------------------------------------------------------------------------------------------------

BINANCE = [f"{venue}_{s}_2024-08-08T2354" for venue in ("binance", "binanceusdm") for s in ("BTCUSDT", "ETHUSDT")]
PERP = BINANCE[2]
BOOKS = [
    *BINANCE,
    "bitmex_XBTUSD_2020-03-10T1825",
    "bitstamp_BTCUSD_2015-05-01T0000",
    "coinbase_BTCUSD_2018-04-17T0055",
    "coinbase_BTCUSD_2018-04-24T0352",
    *(f"hyperliquid_{s}_2025-09-04T1946" for s in ("BTC", "ETH", "SOL", "WLFI")),
]
recorded = pytest.mark.skipif(not SHARED.is_dir(), reason=f"recorded data are not here ({SHARED})")


def frame_of(folder, name):
    found = sorted((SHARED / folder).glob(f"{name}_*.parquet"))
    return pd.read_parquet(found[0]) if found else None


@cache
def imported(name):
    exchange, symbol, day = name.split("_")
    instrument = lookup(exchange, symbol, at=day[:10])
    return import_book(frame_of("book", name), frame_of("trades", name), instrument, source=name)


@cache
def recorded_tape(name, first=0, last=None):
    tape = imported(name).tape
    return tape.slice_rows(first, len(tape) if last is None else last)


def model_of(name):
    if name == "symmetric":
        return mml.Symmetric(0.3)
    return mml.AvellanedaStoikov(gamma=0.1, k=5.0, sigma=1.0, horizon_s=None)


@recorded
@pytest.mark.parametrize("name", BOOKS)
def test_no_recorded_book_ever_crosses(name):
    tape = imported(name).tape
    engine = open_engine(tape, OrderScript(), log_orders=False)
    engine.feed(tape)
    engine.finish()
    log = engine.run_log()
    assert (log["crossed_messages"], log["rows"], log["gaps"]) == (0, len(tape), 0)
    kinds = tape.kind & ~MORE
    assert log["trades"] == np.isin(kinds, [Kind.TRADE, SOLD, BOUGHT]).sum()
    assert log["snapshots"] == (kinds == Kind.SNAPSHOT).sum()


def kernel_top(engine):
    """Return best bid, its lots, best ask, its lots of the exchange's book."""
    bid, ask = int(engine.state.book.best[0]), -int(engine.state.book.best[1])
    return [
        bid,
        level_lots(engine.state.book, engine._memory, 0, bid),
        ask,
        level_lots(engine.state.book, engine._memory, 1, ask),
    ]


@recorded
@pytest.mark.parametrize("name", BINANCE)
def test_the_kernels_own_book_has_the_best_prices_of_the_independent_quotes(name):
    quotes, (tape, seq) = frame_of("bbo", name), (imported(name).tape, imported(name).seq)
    units = [tape.instrument.tick_size, tape.instrument.lot_size] * 2
    said = np.column_stack(
        [np.rint(quotes[c] / u) for c, u in zip(("bid_px", "bid_qty", "ask_px", "ask_qty"), units, strict=True)]
    )
    said = dict(zip(quotes["seq"].tolist(), said.astype(np.int64).tolist(), strict=True))
    ends = np.flatnonzero(((tape.kind & MORE) == 0) & np.isin(seq, list(said)))
    assert len(ends) > 500
    # A small window as well: what the ring does not hold the store has to. A level that it loses is lost for long.
    for window, looked_at in ((1 << 17, ends), (64, ends[::4])):
        engine = open_engine(tape, OrderScript(), book_window_ticks=window)
        begin, same = 0, 0
        for end in (looked_at + 1).tolist():
            engine.feed(tape.slice_rows(begin, end))
            same += kernel_top(engine) == said[int(seq[end - 1])]
            begin = end
        assert same / len(looked_at) >= 0.9997
        if window == 64:
            assert engine.run_log()["recentres"] > 1


@recorded
def test_the_recorders_clock_does_not_let_us_see_the_future():
    tape = imported(PERP).tape
    assert tape.meta["clock_offset_ns"] > 1_270 * MS
    raw = frame_of("book", PERP)
    late = raw["ts_local_ns"] - raw["ts_ns"]
    assert late[raw["ts_ns"] > 0].median() < -1_260 * MS  # as recorded: seen before it was sent
    log = run(recorded_tape(PERP, 0, 60_000), model_of("symmetric"), latency=DELAY).run_log()
    assert log["receipt_clamped"] < 0.01 * 60_000


@recorded
def test_a_more_pessimistic_queue_never_fills_earlier_on_a_recorded_market():
    tape = imported(BINANCE[3]).tape
    script = script_of(tape, 1, orders=600, depth=3, hold_ms=3_000)
    latency = mml.Latency(0, 5 * MS, 5 * MS)
    front, averse = (run(tape, script, queue=queue, latency=latency).fills() for queue in ("front", "risk_averse"))
    assert len(averse) > 30
    apart = []
    for queue in QUEUES:
        between = run(tape, script, queue=queue, latency=latency).fills()
        apart += [never_earlier(between, front), never_earlier(averse, between)]
    assert max(apart) > 0


def arrivals_of(orders, latency):
    """Return when each order can have reached the exchange, by its id."""
    sent = orders["submitted_ns"]
    way = latency.entry_ns if latency.series is None else entry_ns(latency, sent)
    return dict(zip(orders["order_id"].tolist(), (sent + way).tolist(), strict=True))


@recorded
@pytest.mark.parametrize("series", [False, True])
@pytest.mark.parametrize("clock", [{"quote_interval_ns": 100 * MS}, {"quote_on": "all"}])
@pytest.mark.parametrize("model", ["symmetric", "avellaneda_stoikov"])
def test_no_fill_before_the_order_could_be_there(model, clock, series):
    tape = recorded_tape(PERP, 0, 150_000)
    latency = mml.Latency(0, 20 * MS, 10 * MS)
    if series:
        ts, entry = spike_of(tape)
        rng = np.random.default_rng(2)
        latency = mml.Latency.from_series(ts, entry + rng.integers(0, 30 * MS, len(ts)), entry)
    engine = run(tape, model_of(model), latency=latency, queue="front", order_qty=0.01, **clock)
    orders, fills = engine.orders(), engine.fills()
    assert len(fills) > 20
    arrives = arrivals_of(orders, latency)
    assert all(
        ts >= arrives[number] for ts, number in zip(fills["ts_ns"].tolist(), fills["order_id"].tolist(), strict=True)
    )
    rested = orders[orders["live_ns"] > 0]
    assert all(o["live_ns"] >= arrives[int(o["order_id"])] for o in rested)
    if not series:
        assert (rested["live_ns"] - rested["submitted_ns"] == 20 * MS).all()
    assert (fills["ts_ns"] <= tape.ts_ns[-1]).all()
    every_order_is_accounted_for(engine)


def every_order_is_accounted_for(engine):
    """Every order sent is in the log once, with a legal end, and its fills add up."""
    orders, fills = engine.orders(), engine.fills()
    assert sorted(orders["order_id"].tolist()) == list(range(1, engine.run_log()["orders"] + 1))
    got = dict.fromkeys(orders["order_id"].tolist(), 0)
    for number, lots in zip(fills["order_id"].tolist(), fills["qty_lots"].tolist(), strict=True):
        got[number] += lots
    assert [got[n] for n in orders["order_id"].tolist()] == orders["filled_lots"].tolist()
    filled = orders["status"] == Status.FILLED
    assert set(orders["status"].tolist()) <= {Status.FILLED, Status.CANCELLED, Status.REJECTED, Status.EXPIRED}
    assert (orders["filled_lots"][filled] == orders["qty_lots"][filled]).all()
    assert (orders["filled_lots"][~filled] < orders["qty_lots"][~filled]).all()
    assert ((orders["reason"] == Reason.NONE) == filled).all()
    refused = orders[orders["status"] == Status.REJECTED]
    assert (refused["filled_lots"] == 0).all()
    assert (refused["live_ns"] == 0).all()
    assert engine.run_log()["rejected"] == len(refused)
    lost = orders[orders["reason"] == Reason.IN_FLIGHT]
    assert ((lost["live_ns"] == 0) & (lost["filled_lots"] == 0)).all()
    assert (orders["closed_ns"] >= orders["submitted_ns"]).all()


@recorded
@pytest.mark.parametrize("risk", [OFF, RISKY], ids=["risk off", "risk on"])
def test_what_happens_at_a_time_changes_nothing_before_it(risk):
    tape = recorded_tape(PERP, 0, 80_000)
    options = {"latency": DELAY, "queue": "log", "order_qty": 0.01, "risk": risk, "quote_interval_ns": 100 * MS,
               "cash": 1e5, "equity_interval_ns": 200 * MS}  # fmt: skip
    model = model_of("symmetric")
    base = run(tape, model, **options)
    assert len(base.fills()) > 5
    rng = np.random.default_rng(8)
    trades = np.flatnonzero(np.isin(tape.kind, [SOLD, BOUGHT]))
    rows = [*rng.integers(8_000, len(tape), 6), *rng.choice(trades[len(trades) // 10 :], 4)]
    changed = 0
    for row in rows:
        price, qty = tape.price_ticks.copy(), tape.qty_lots.copy()
        price[row] = price[trades[max(0, np.searchsorted(trades, row) - 1)]] + int(rng.integers(-20, 21))
        qty[row] = 5 * qty[row] + 1_000
        other = mml.EventTape(tape.instrument, tape.ts_ns, tape.local_ts_ns, price, qty, tape.kind, meta=tape.meta)
        engine = run(other, model, **options)
        then = int(tape.ts_ns[row])
        for name, time in (("fills", "ts_ns"), ("orders", "closed_ns"), ("samples", "ts_ns")):
            one, two = (getattr(it, name)() for it in (base, engine))
            assert one[one[time] < then].tobytes() == two[two[time] < then].tobytes(), (row, name)
        sent = [{tuple(o) for o in it.orders()[["order_id", "side", "price_ticks", "submitted_ns"]].tolist()
                 if o[3] < then} for it in (base, engine)]  # fmt: skip
        assert sent[0] == sent[1]
        changed += base.orders().tobytes() != engine.orders().tobytes()
    assert changed > 0  # or nothing was put to the test


@recorded
@pytest.mark.parametrize("clock", [{"quote_interval_ns": 100 * MS}, {"quote_on": "all"}])
def test_a_run_cut_anywhere_is_the_run(clock):
    tape = recorded_tape(PERP, 0, 60_000)
    ts, entry = spike_of(tape)
    options = {"latency": mml.Latency.from_series(ts, entry, entry), "queue": "power", "order_qty": 0.01, "risk": RISKY,
               "cash": 1e5, **clock}  # fmt: skip
    model = model_of("avellaneda_stoikov")
    whole = run(tape, model, **options)
    assert len(whole.fills()) > 5
    end = whole.snapshot()
    rng = np.random.default_rng(3)
    pieces = open_engine(tape, model, **options)
    cuts = [0, *sorted(rng.integers(1, len(tape), 25).tolist()), len(tape)]
    for first, last in pairwise(cuts):
        pieces.feed(tape.slice_rows(first, last))
    pieces.finish()
    same_runs(pieces, whole)
    assert pieces.markouts().tobytes() == whole.markouts().tobytes()
    assert pieces.run_log() == whole.run_log()
    for cut in rng.integers(1, len(tape), 4).tolist():
        before, after = (open_engine(tape, model, **options) for _ in range(2))
        before.feed(tape.slice_rows(0, cut))
        saved = before.snapshot()
        after.restore(saved)
        before.feed(tape.slice_rows(cut, len(tape)))  # that it went on must not touch what was saved
        after.feed(tape.slice_rows(cut, len(tape)))
        after.finish()
        before.finish()
        assert after.snapshot() == end
        same_runs(before, whole)
        written = open_engine(tape, model, **options)
        written.feed(tape.slice_rows(0, cut))
        for name in ("fills", "orders", "samples", "markouts"):
            first, rest, all_of_it = (engine._rows(name) for engine in (written, after, whole))
            assert first.tobytes() + rest.tobytes() == all_of_it.tobytes(), name


# --- The two ways to be compiled, and none ---------------------------------------------------------------------------

SMALL = """
import hashlib, sys
sys.path[:0] = {path!r}
from backtesting.test_tick_truths import *
tape = walk(2, 70)
for risk, queue, levels in ((OFF, "log", 1), (None, "power2", 2)):
    model = CustomModel(quote_of_two, (0.6, 0.1), levels=levels)
    engine = run(tape, model, fees=mml.Fees(1.0, 5.0), latency=DELAY, queue=queue, order_qty=1.0, risk=risk, cash=1e5,
                 quote_on="all")
    print(len(engine.fills()), *(hashlib.sha256(getattr(engine, n)().tobytes()).hexdigest()
          for n in ("fills", "orders")))
engine = run(tape, script_of(tape, 1), queue="log2", latency=DELAY)
print(len(engine.fills()), hashlib.sha256(engine.orders().tobytes()).hexdigest())
"""


@njit
def quote_of_two(context, params):
    """Half a spread and a lean, sizes by the displayed quantity, and now and then a taker."""
    context.bid_qty = min(1.0, context.best_bid_qty)
    if context.q > 3.0:
        context.take_qty = -0.5
    return params[0] + params[1] * context.q, params[0] - params[1] * context.q


def in_a_fresh_process(code, **environment):
    path = [str(Path(__file__).resolve().parents[1]), str(Path(mml.__file__).resolve().parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", code.format(path=path)],
        capture_output=True, text=True, check=False, env=os.environ | environment, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_without_the_compiler_it_is_the_same_to_the_last_byte(capsys):
    exec(SMALL.format(path=[]), dict(globals()))  # the same lines, compiled, in this process
    compiled = capsys.readouterr().out.splitlines()
    assert all(int(line.split()[0]) > 3 for line in compiled)
    assert in_a_fresh_process(SMALL, NUMBA_DISABLE_JIT="1") == compiled


def test_a_python_function_trades_as_the_compiled_one():
    tape = walk(11, 500)
    options = {"fees": mml.Fees(1.0, 5.0), "latency": DELAY, "queue": "log", "order_qty": 1.0, "cash": 1e5}
    for clock in ({"quote_on": "all"}, {"quote_interval_ns": 30 * MS}, {"quote_on": "trade", "quote_interval_ns": S}):
        for risk in (OFF, None):
            for levels in (1, 3):
                one, other = (
                    run(tape, CustomModel(f, (0.6, 0.1), levels=levels), risk=risk, **options, **clock)
                    for f in (quote_of_two, quote_of_two.py_func)
                )
                same_runs(one, other)
                assert len(one.orders()) > 10


FRESH = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from marketmakerl.core.kernel_cache import user_folder
def kernels():
    return {{str(p) for p in user_folder().rglob("*.nb*") if p.name.startswith(("step.", "matching."))}}
from backtesting.test_tick_truths import *
from marketmakerl.backtesting.step import advance
before = kernels()
engine = run(walk(2, 100), CustomModel(quote_of_two, (0.6, 0.1)), quote_on="all", latency=DELAY)
print(len(engine.orders()) > 3, len(advance.overloads), sum(advance.stats.cache_misses.values()),
      sum(advance.stats.cache_hits.values()), len(kernels() - before), len(before) > 1)
"""


def test_a_model_of_ones_own_does_not_compile_the_engine_again():
    # This process has filled the cache already.
    assert in_a_fresh_process(FRESH) == ["True 1 0 1 0 True"]


# --- The order log ---------------------------------------------------------------------------------------------------


def test_what_the_end_of_the_data_finds_is_accounted_for():
    tape = tape_of([BOOK, (1000, (100, 5, BID))])
    script = OrderScript()
    script.submit(T0 + 100 * MS, side=1, price_ticks=99, qty_lots=2)  # rests: END
    script.submit(T0 + 200 * MS, side=1, price_ticks=103, qty_lots=9, order_type="ioc")  # five are there
    script.submit(T0 + 300 * MS, side=-1, price_ticks=100, qty_lots=1)  # would take: rejected
    script.submit(T0 + 400 * MS, side=1, price_ticks=102, qty_lots=7, order_type="limit")  # five, then rests: END
    script.submit(T0 + 980 * MS, side=1, price_ticks=98, qty_lots=1)  # arrives with the last row
    script.submit(T0 + 990 * MS, side=-1, price_ticks=105, qty_lots=1)  # never arrives
    script.submit(T0 + 1001 * MS, side=-1, price_ticks=106, qty_lots=1)  # never sent
    engine = run(tape, script, latency=mml.Latency(0, 20 * MS, 0))
    ends = {int(o["order_id"]): (Status(int(o["status"])).name, Reason(int(o["reason"])).name, int(o["filled_lots"]))
            for o in engine.orders()}  # fmt: skip
    assert ends == {
        1: ("EXPIRED", "END", 0),
        2: ("EXPIRED", "NO_LIQUIDITY", 5),
        3: ("REJECTED", "POST_ONLY", 0),
        4: ("EXPIRED", "END", 5),
        5: ("EXPIRED", "END", 0),
        6: ("EXPIRED", "IN_FLIGHT", 0),
    }
    assert engine.run_log()["requests_in_flight_at_end"] == 1
    every_order_is_accounted_for(engine)


@pytest.mark.parametrize("seed", range(6))
def test_every_order_is_in_the_log_once(seed):
    tape = walk(seed, 500)
    every_order_is_accounted_for(run(tape, script_of(tape, seed, orders=120, at_once=2), latency=DELAY, queue="log"))
    for options in ({"quote_on": "all"}, {"quote_interval_ns": 20 * MS, "risk": None, "cash": 2e4}):
        model = CustomModel(quote_of_two, (0.6, 0.1), levels=3)
        engine = run(tape, model, order_qty=1.0, latency=DELAY, queue="front", **options)
        assert len(engine.orders()) > 20
        every_order_is_accounted_for(engine)
