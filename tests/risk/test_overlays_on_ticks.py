"""Overlays on ticks: junk is never quoted, silence pulls quotes, and everything is the same to the last byte."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import marketmakerl as mml
from marketmakerl.models.custom import CustomModel
from marketmakerl.risk.limits import OFF as SWITCHES
from marketmakerl.risk.reasons import Reason
from risky_markets import (
    ASK,
    BID,
    INSTRUMENTS,
    KINDS,
    LOT_WORTH,
    MIDNIGHT,
    MORE,
    MS,
    OFF,
    SOLD,
    SUBMIT,
    Kind,
    S,
    examples,
    leaning,
    market,
    open_engine,
    play,
    tape_of,
)

JUNK = (math.nan, math.inf, -math.inf, 1e300, -1e300, 1e18, -1e18, 0.0, -0.0, 1e-300, 5e-324, -7.0, 0.6, None)
LATE = mml.Latency(0, 5 * MS + 1, 3 * MS + 1)


def still(messages: int, every: int = 100 * MS, start: int = MIDNIGHT + S, price: int = 2000, lots: int = 4) -> list:
    """A book that is named again and again and does not move."""
    rows = []
    for i in range(messages):
        rows += snapshot(start + i * every, price, lots)
    return rows


def snapshot(ts: int, price: int, lots: int = 4, width: int = 1, late: int = MS, sides: tuple = (BID, ASK)) -> list:
    named = [(0, 0, Kind.SNAPSHOT)]
    if BID in sides:
        named += [(price - k, lots, BID) for k in range(3)]
    if ASK in sides:
        named += [(price + width + k, lots, ASK) for k in range(3)]
    last = len(named) - 1
    return [(ts, ts + late, p, n, int(kind) | (int(MORE) if i < last else 0)) for i, (p, n, kind) in enumerate(named)]


# --- Junk from a model -----------------------------------------------------------------------------------------------


@examples(60)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS), on=st.booleans(), levels=st.sampled_from([1, 2, 3]))
def test_junk_is_never_quoted(seed, kind, on, levels):
    rng = random.Random(seed)
    asked = []

    def quote(context):
        junk = [rng.choice(JUNK) for _ in range(2)]
        for name in ("bid_qty", "ask_qty", "take_qty"):
            if rng.random() < 0.3:
                context[name] = rng.choice([x for x in JUNK if x is not None])
        asked.append((int(context.ts_ns), float(context.mid), *junk))
        return tuple(junk)

    limits = replace(mml.RiskLimits(), min_edge_bps=None, stop_loss_pct=None) if on else OFF
    it = play(market(seed, messages=40), CustomModel(quote, levels=levels), kind, risk=limits, latency=LATE,
              quote_interval_ns=100 * MS)  # fmt: skip
    wishes = {ts: (mid, bid, ask) for ts, mid, bid, ask in asked}
    for sent in it.sent:
        takes = sent.order_type in (2, 3)  # what take_qty asked for, up to the collar or at the market
        if sent.action != SUBMIT or takes or sent.purpose != 0:
            continue
        mid, *wish = wishes[sent.ts_ns]
        distance = wish[0 if sent.side > 0 else 1]
        assert distance is not None
        assert math.isfinite(distance)
        assert 0 < sent.price_ticks < 1 << 53
        assert sent.qty_lots > 0
        if on:
            assert abs(sent.price_ticks * 0.5 - mid) <= 0.1 * mid + 0.5
    assert np.isfinite(float(it.state.ledger.cash))


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e300])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_gone_mad_pulls_its_quotes(junk, kind):
    """Good quotes, then junk: what rested is cancelled at that very decision, and nothing follows it."""
    turn = MIDNIGHT + 4 * S

    def quote(context):
        return (1.0, 1.0) if context.ts_ns < turn else (junk, junk)

    limits = mml.RiskLimits(min_edge_bps=None)
    it = play(still(80), CustomModel(quote), kind, risk=limits, latency=LATE, quote_interval_ns=100 * MS)
    assert any(sent.action == SUBMIT for sent in it.sent)
    assert all(sent.ts_ns < turn for sent in it.sent if sent.action == SUBMIT)
    assert not it.known().out_there(turn + S, 1 << 60)


# --- A market that cannot be trusted ---------------------------------------------------------------------------------


def stands_at_the_exchange(it, ts_ns: int) -> list:
    return [o for o in it.orders.values() if 0 < o["live_ns"] <= ts_ns < o["closed_ns"]]


@pytest.mark.parametrize("clock", [{"quote_on": "all"}, {"quote_interval_ns": 100 * MS}, {"quote_on": "trade"}])
@pytest.mark.parametrize("stale_s", [3.0, 10.0])
def test_no_quote_stands_through_a_silence(clock, stale_s):
    before, after = still(60), still(60, start=MIDNIGHT + 47 * S)
    rows = [*before, (before[-1][0] + MS, before[-1][1] + MS, 1990, 1, int(SOLD)), *after]
    rows.append((rows[-1][0] + MS, rows[-1][1] + MS, 1990, 1, int(SOLD)))
    heard = rows[len(before)][1]
    it = play(rows, leaning(1.2), risk=replace(OFF, stale_data_s=stale_s), latency=LATE, **clock)
    end = heard + round((stale_s + 1.1) * 1e9)
    assert stands_at_the_exchange(it, heard + S)
    assert stands_at_the_exchange(it, heard + round((stale_s - 1.1) * 1e9))
    assert not [o for o in it.orders.values() if o["live_ns"] and o["closed_ns"] > end and o["submitted_ns"] < end]
    assert it.state.counts.suppressed[Reason.STALE] > 0
    returned = [o["submitted_ns"] for o in it.orders.values() if o["submitted_ns"] >= after[0][1]]
    assert returned
    if clock != {"quote_on": "trade"}:
        assert min(returned) <= after[0][1] + 1.1 * S
    free = play(rows, leaning(1.2), latency=LATE, **clock)
    assert stands_at_the_exchange(free, end)


def test_data_that_come_late_are_no_data():
    """The exchange goes on, but what it says takes twelve seconds to reach us for a while."""
    rows = still(60)
    for i in range(100):
        ts = MIDNIGHT + 7 * S + i * 100 * MS
        rows += snapshot(ts, 2000, late=max(MS, MIDNIGHT + 19 * S - ts))
    rows += still(60, start=MIDNIGHT + 20 * S)
    it = play(rows, leaning(1.2), risk=replace(OFF, stale_data_s=4.0), latency=LATE, quote_on="all")
    assert stands_at_the_exchange(it, MIDNIGHT + 8 * S)
    for second in (13, 15, 18):
        assert not stands_at_the_exchange(it, MIDNIGHT + second * S)
    assert stands_at_the_exchange(it, MIDNIGHT + 22 * S)


@pytest.mark.parametrize("lag_s", [0.0, 0.4, 2.0])
def test_a_market_that_is_heard_is_not_stale(lag_s):
    rows = [(ts, ts + round(lag_s * 1e9), *rest) for ts, _, *rest in still(200)]
    it = play(rows, leaning(1.2), risk=replace(OFF, stale_data_s=lag_s + 2.1), latency=LATE, quote_on="all")
    assert it.state.counts.suppressed[Reason.STALE] == 0
    assert len(it.orders) == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda ts: snapshot(ts, 2000, width=60), Reason.WIDE_SPREAD),
        (lambda ts: snapshot(ts, 2000, width=-1), Reason.NO_BOOK),
        (lambda ts: snapshot(ts, 2000, width=0), Reason.NO_BOOK),
        (lambda ts: snapshot(ts, 2000, sides=(ASK,)), Reason.NO_BOOK),
        (lambda ts: snapshot(ts, 2000, sides=(BID,)), Reason.NO_BOOK),
        (lambda ts: [(ts, ts + MS, 0, 0, int(Kind.GAP))], Reason.GAP),
    ],
)
@pytest.mark.parametrize("clock", [{"quote_on": "all"}, {"quote_interval_ns": 100 * MS}])
def test_a_book_that_tells_nothing_pulls_the_quotes(bad, reason, clock):
    turn = MIDNIGHT + 5 * S
    rows = still(30)
    rows += [row for i in range(20) for row in bad(turn + i * 100 * MS)]
    rows += still(30, start=turn + 3 * S)
    it = play(rows, leaning(1.2), risk=replace(OFF, max_spread_bps=100.0), latency=LATE, **clock)
    assert stands_at_the_exchange(it, turn - MS)
    assert not stands_at_the_exchange(it, turn + 150 * MS)
    assert not [s for s in it.sent if s.action == SUBMIT and turn + MS <= s.ts_ns < turn + 3 * S]
    assert it.state.counts.suppressed[reason] > 0
    assert stands_at_the_exchange(it, turn + 4 * S)


# --- Own fills, and a market that moves ------------------------------------------------------------------------------


def sold_into(times: list[float], price: int = 1995) -> list:
    rows = still(200)
    return sorted([*rows, *[(MIDNIGHT + round(t * 1e9) + MS, MIDNIGHT + round(t * 1e9) + 2 * MS, price, 30, int(SOLD))
                            for t in times]], key=lambda row: row[0])  # fmt: skip


def sides_sent(it, first: float, last: float) -> set[int]:
    return {s.side for s in it.sent if s.action == SUBMIT and MIDNIGHT + first * S < s.ts_ns <= MIDNIGHT + last * S}


def test_many_fills_of_one_side_keep_it_out():
    rows = sold_into([3.0, 3.5, 4.0])
    run = {"quote_interval_ns": 100 * MS, "latency": LATE}
    it = play(rows, leaning(0.6), risk=replace(OFF, one_sided_fills=3, cooldown_s=5.0), **run)
    assert len(it.fills) == 3
    third = it.fills[2][0] + 3 * MS + 1
    bids = [s.ts_ns for s in it.sent if s.action == SUBMIT and s.side == 1]
    assert not [ts for ts in bids if third <= ts < third + 5 * S]
    assert [ts for ts in bids if third + 5 * S <= ts <= third + 5.2 * S]
    assert 1 in sides_sent(play(rows, leaning(0.6), risk=replace(OFF, one_sided_fills=4), **run), 4.0, 4.5)


def test_it_learns_what_fills_cost():
    """After every sale into our bid the market falls for good: the edge that is asked for grows."""
    rows, price, ts = [], 2000, MIDNIGHT + S
    for _ in range(60):
        rows += snapshot(ts, price)
        rows.append((ts + 300 * MS, ts + 301 * MS, price - 2, 30, int(SOLD)))
        price -= 3
        rows += snapshot(ts + 500 * MS, price)
        ts += 3 * S
    run = {"quote_interval_ns": 100 * MS, "cash": 1e6}
    learns = play(rows, leaning(0.8), risk=replace(OFF, min_edge_bps=0.1, learn_adverse_selection=True), **run)
    not_ = play(rows, leaning(0.8), risk=replace(OFF, min_edge_bps=0.1), **run)
    fixed = play(rows, leaning(0.8), risk=replace(OFF, min_edge_bps=0.1, adverse_selection_bps=30.0), **run)
    assert 3 < len(learns.fills) < 0.7 * len(not_.fills)
    assert len(fixed.fills) == 0
    assert learns.state.risk.adverse_cost == pytest.approx(1.5, rel=0.5)  # three ticks of 0.5


def wild(calm: int, loud: int, seed: int = 1) -> list:
    rng, rows, price = np.random.default_rng(seed), [], 2000
    for i in range(calm + loud):
        price += int(rng.integers(-1, 2)) if i < calm else int(rng.integers(-20, 21))
        rows += snapshot(MIDNIGHT + S + i * S, price)
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_loud_market_shrinks_sizes_and_limits(kind):
    rows = wild(200, 60)
    limits = replace(OFF, risk_off_vol_ratio=2.0, risk_off_scale=0.5, vol_fast_s=10.0, vol_slow_s=1000.0)
    lot = INSTRUMENTS[kind].lot_size
    run = {"quote_on": "all", "order_qty": 6 * lot, "cash": 1000 * LOT_WORTH[kind]}
    it = play(rows, leaning(5.0), kind, risk=limits, **run)
    early = {s.qty_lots for s in it.sent if s.action == SUBMIT and s.ts_ns < MIDNIGHT + 190 * S}
    late = {s.qty_lots for s in it.sent if s.action == SUBMIT and s.ts_ns > MIDNIGHT + 220 * S}
    assert early == {6}
    assert 3 in late
    free = play(rows, leaning(5.0), kind, risk=limits.without("risk_off_vol_ratio"), **run)
    assert {s.qty_lots for s in free.sent if s.action == SUBMIT} == {6}


def test_a_loud_market_widens_quotes_as_far_as_allowed():
    rows = wild(200, 60)
    limits = replace(OFF, vol_widen_max=2.5, vol_fast_s=10.0, vol_slow_s=1000.0)
    it = play(rows, leaning(8.0), risk=limits, quote_on="all")
    mids = {row[0] + MS: row[2] + 0.5 for row in rows if row[4] & 63 == BID and row[4] & MORE}
    gaps = [(s.ts_ns, mids_at(mids, s.ts_ns) - s.price_ticks) for s in it.sent if s.action == SUBMIT and s.side == 1]
    early = [gap for ts, gap in gaps if ts < MIDNIGHT + 195 * S]
    late = [gap for ts, gap in gaps if ts > MIDNIGHT + 215 * S]
    assert max(early) < 16 * 2.0
    assert max(late) > 16 * 2.3
    assert max(gap for _, gap in gaps) <= 16 * 2.5 + 1.01


def mids_at(mids: dict, ts: int) -> float:
    at = max(when for when in mids if when <= ts)
    return mids[at]


def test_a_soft_limit_leans_and_cuts():
    """On the way from soft to hard the side that adds stands further out and smaller, the other nearer."""
    rows = still(40)
    run = {"initial_inventory": 15.0, "target_inventory": 0.0, "quote_interval_ns": 100 * MS, "order_qty": 2.5,
           "cash": 100_000.0}  # fmt: skip
    limits = replace(OFF, soft_inventory_pct=0.1, hard_inventory_pct=0.2, soft_inventory_skew=0.4)  # held: 0.15
    sent = [s for s in play(rows, leaning(10.0), risk=limits, **run).sent if s.action == SUBMIT]
    bid, ask = (next(s for s in sent if s.side == side) for side in (1, -1))
    assert (bid.qty_lots, ask.qty_lots) == (4, 10)  # half of the way and a little: half the size, a fifth of the skew
    assert 2000.5 - bid.price_ticks == pytest.approx(20 * 1.2, abs=1.0)
    assert ask.price_ticks - 2000.5 == pytest.approx(20 * 0.8, abs=1.0)
    flat = play(rows, leaning(10.0), risk=limits.without("soft_inventory_skew"), **run).sent
    assert {2000.5 - s.price_ticks for s in flat if s.side == 1} == {20.5}


# --- The same to the last byte ---------------------------------------------------------------------------------------

EVERYTHING = mml.RiskLimits(
    min_edge_bps=0.01, cooldown_s=0.5, stop_loss_pct=0.004, take_profit_pct=0.004, max_holding_s=9.0,
    soft_drawdown_pct=0.01, hard_drawdown_pct=0.02, daily_loss_pct=0.03, max_orders=40, max_messages=90,
    rate_window_s=3.0, one_sided_fills=3, stale_data_s=2.0, flat_windows=("Tue 23:59:50-Tue 23:59:53",),
    vol_fast_s=5.0, vol_slow_s=60.0, adverse_move_s=5.0,
)  # fmt: skip


def same_runs(one, other) -> None:
    for name in ("fills", "orders", "samples"):
        assert getattr(one, name)().tobytes() == getattr(other, name)().tobytes(), name
    assert one.risk_events() == other.risk_events()


@examples(40)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS), tight=st.booleans())
def test_pieces_and_snapshots_give_the_bytes_of_the_whole(seed, kind, tight):
    rng = random.Random(seed)
    limits = EVERYTHING if tight else mml.RiskLimits(min_edge_bps=None)
    options = {"latency": mml.Latency(0, rng.choice((0, 7, 250)) * MS, rng.choice((0, 11, 400)) * MS), "risk": limits,
               **rng.choice(({"quote_on": "all"}, {"quote_interval_ns": 100 * MS})),
               "order_qty": 3 * INSTRUMENTS[kind].lot_size}  # fmt: skip
    rows = market(seed, messages=60, jump=rng.randint(1, 20), drift=rng.choice((-1.0, 0.0)), gaps=rng.random() < 0.5,
                  holes=rng.random() < 0.5, delay=rng.choice(("constant", "random", "bursts", "early")))  # fmt: skip
    model, tape = leaning(0.6, levels=rng.choice((1, 2))), tape_of(rows, kind)
    whole, pieces, first, second = (open_engine(kind, model, **options) for _ in range(4))
    whole.feed(tape)
    for i in range(len(rows)):
        pieces.feed(tape.slice_rows(i, i + 1))
    assert pieces.snapshot() == whole.snapshot()
    # Cut where it hurts: just after a halt or an exit has begun, if there was one.
    began = [event["ts_ns"] for event in whole.risk_events()]
    cut = next((i for i, row in enumerate(rows) if began and row[0] > began[-1]), len(rows) // 2) or 1
    first.feed(tape.slice_rows(0, cut))
    second.restore(first.snapshot())
    second.feed(tape.slice_rows(cut, len(rows)))
    assert second.snapshot() == whole.snapshot()
    whole.finish()
    pieces.finish()
    second.finish()
    same_runs(pieces, whole)
    assert first.fills().tobytes() + second.fills().tobytes() == whole.fills().tobytes()
    assert second.risk_events() == whole.risk_events()


SMALL = """
import hashlib, sys
sys.path[:0] = {path!r}
from risk.test_overlays_on_ticks import EVERYTHING
from risky_markets import *
for kind in KINDS:
    rows = market(11, messages=45, jump=15, drift=-1.0, holes=True)
    engine = play(rows, leaning(0.6, levels=2), kind, spied=False, risk=EVERYTHING, quote_on="all",
                  latency=mml.Latency(0, 5 * MS, 3 * MS)).engine
    events = engine.risk_events()
    print(len(events), len(engine.fills()), *(hashlib.sha256(getattr(engine, n)().tobytes()).hexdigest()
          for n in ("fills", "orders")), repr(events))
"""


def test_without_the_compiler_it_is_the_same(capsys):
    exec(SMALL.format(path=[]), {})
    compiled = capsys.readouterr().out.splitlines()
    assert all(int(line.split()[0]) > 0 for line in compiled)
    path = [str(Path(__file__).resolve().parents[1]), str(Path(mml.__file__).resolve().parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", SMALL.format(path=path)], capture_output=True, text=True, check=False, timeout=200,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == compiled


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_it_off_is_the_engine_without_limits(kind):
    """Limits that are there but far away change nothing that is done, however often they are looked at."""
    far = replace(
        OFF, hard_drawdown_pct=0.39, soft_drawdown_pct=0.38, daily_loss_pct=0.39, concentration_pct=1e6,
        stop_loss_pct=1e6, take_profit_pct=1e6, max_holding_s=1e9, zombie_order_s=1e9, max_rejects=10**9,
        max_executions=10**9, max_orders=10**9, max_messages=10**9, stale_data_s=1e9, max_spread_bps=1e9,
        price_collar_pct=0.99, max_order_notional_pct=1e6, max_order_multiple=1e6, hard_inventory_pct=1e6,
    )  # fmt: skip
    for seed in range(6):
        rows = market(seed, messages=60, jump=4)
        run = {"latency": LATE, "quote_interval_ns": 100 * MS, "cash": 1000 * LOT_WORTH[kind]}
        one, other = (play(rows, leaning(0.6, levels=2), kind, spied=False, risk=r, **run) for r in (OFF, far))
        assert one.engine.fills().tobytes() == other.engine.fills().tobytes()
        assert one.engine.orders().tobytes() == other.engine.orders().tobytes()
        assert len(one.fills) > 3


def test_every_switch_switches_one_control():
    limits = mml.RiskLimits()
    for control, off in SWITCHES.items():
        assert getattr(limits.without(control), control) == off
