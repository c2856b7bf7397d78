"""Getting rid of inventory: a halt and an exit, in slices, never past zero, and what of the profit is whose."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import marketmakerl as mml
from marketmakerl.backtesting.layout import OrderType
from marketmakerl.risk.order_checks import why_not_sent
from marketmakerl.risk.reasons import Control, Reason
from risky_markets import (
    ASK,
    BID,
    BOUGHT,
    CANCEL,
    INSTRUMENTS,
    KINDS,
    LOT_WORTH,
    MIDNIGHT,
    MORE,
    MS,
    OFF,
    REPLACE,
    SUBMIT,
    Kind,
    Played,
    S,
    examples,
    leaning,
    market,
    open_engine,
    play,
    tape_of,
    unit_value,
)

CLOCKS = ({"quote_on": "all"}, {"quote_interval_ns": 100 * MS}, {"quote_on": "trade"})
EXITS = (Control.STOP_LOSS, Control.TAKE_PROFIT, Control.TIME_EXIT, Control.FLAT_WINDOW)
shapes = st.fixed_dictionaries({
    "messages": st.integers(60, 120), "jump": st.integers(3, 25), "drift": st.sampled_from([-1.0, 0.0, 1.0]),
    "gaps": st.booleans(), "holes": st.booleans(), "ties": st.booleans(),
    "delay": st.sampled_from(["constant", "random", "bursts", "early"]),
})  # fmt: skip


def draw_options(rng: random.Random, kind: str) -> dict:
    options = dict(rng.choice(CLOCKS))
    # No time at all would leave the order of things at one time open.
    options["latency"] = mml.Latency(rng.choice((0, 40)) * MS, rng.choice((1, 7, 250)) * MS + 1,
                                     rng.choice((1, 11, 400)) * MS + 3)  # fmt: skip
    options["cash"] = rng.choice((20, 60)) * LOT_WORTH[kind]
    options["order_qty"] = rng.choice((1, 3, 7)) * INSTRUMENTS[kind].lot_size
    options["fees"] = mml.Fees(rng.choice((-0.5, 2.0)), 5.0)
    if kind != "spot" and rng.random() < 0.4:
        options["initial_inventory"] = rng.choice((-15, 15)) * INSTRUMENTS[kind].lot_size
        options["target_inventory"] = 0.0
    return options


def profit_adds_up(it: Played, kind: str) -> None:
    """Also from the raw fills: cash that moved is what they cost."""
    s = it.state.ledger
    now = float(s.cash + s.position_lots * s.lot_size * unit_value(kind, float(s.mark)))
    now -= 0.0 if kind == "spot" else float(s.open_value)
    parts = float(s.gross_spread_pnl + s.inventory_pnl + s.funding_pnl - s.fees_paid)
    assert now - float(s.start_equity) == pytest.approx(parts, abs=1e-9 * max(1.0, float(s.turnover)))
    lot = INSTRUMENTS[kind].lot_size
    paid = sum(side * lots * lot * unit_value(kind, price * 0.5) + fee for _, side, price, lots, fee, *_ in it.fills)
    moved = sum(side * lots for _, side, _, lots, *_ in it.fills)
    held = int(s.start_lots) * lot * (unit_value(kind, float(s.mark)) - unit_value(kind, float(s.start_mark)))
    change = held + moved * lot * unit_value(kind, float(s.mark)) - paid + float(s.funding_pnl)
    assert now - float(s.start_equity) == pytest.approx(change, abs=1e-7 * max(1.0, float(s.turnover)))


@examples(60)
@given(seed=st.integers(0, 2**32), shape=shapes, kind=st.sampled_from(KINDS))
def test_a_halt_cancels_everything_and_only_takes_off(seed, shape, kind):
    rng = random.Random(seed)
    options = draw_options(rng, kind)
    limits = replace(
        OFF, hard_drawdown_pct=rng.uniform(0.001, 0.01), soft_drawdown_pct=0.0005,
        price_collar_pct=rng.choice((None, 0.02)), check_self_match=rng.random() < 0.7,
        max_order_notional_pct=rng.choice((None, 0.02, 0.2)), max_order_multiple=rng.choice((None, 1.0)),
        max_messages=rng.choice((None, 12, 40)), max_orders=rng.choice((None, 6, 20)), rate_window_s=2.0,
    )  # fmt: skip
    model = leaning(rng.choice((0.3, 0.6)), rng.choice((0.0, 0.05)), levels=rng.choice((1, 3)))
    it = play(market(seed, **shape), model, kind, risk=limits, **options)
    halted = it.halted_ns
    event(f"halted: {halted is not None}")
    profit_adds_up(it, kind)
    if halted is None:
        return
    known, start = it.known(), int(it.state.ledger.start_lots)
    everything_is_cancelled(it, known, halted)
    for sent in it.sent:
        if sent.ts_ns < halted:
            continue
        assert sent.action != REPLACE
        if sent.action != SUBMIT:
            continue
        position = start + known.moved(sent.ts_ns)
        rest = abs(position) - sum(
            own.open_lots for own in known.out_there(sent.ts_ns, sent.order_id) if own.side == sent.side
        )
        assert sent.purpose == 2
        assert sent.side * position < 0
        assert sent.qty_lots <= rest
        assert not any(own.takes for own in known.out_there(sent.ts_ns, sent.order_id))
    for ts, side, _, lots, _, _, after, purpose, maker in it.fills:
        if purpose == 2:
            assert ts >= halted
            assert maker == 0
            assert abs(after) == abs(after - side * lots) - lots  # towards zero, never past it
        elif ts >= halted:
            assert purpose == 0
    event(f"flat: {int(it.state.ledger.position_lots) == 0}")


def everything_is_cancelled(it: Played, known, halted: int) -> None:
    """The moment it is halted; an order not yet accepted then, the moment it is."""
    cancelled = {sent.order_id: sent.ts_ns for sent in it.sent if sent.action == CANCEL}
    end = it.rows[-1][0]
    for number, order in it.orders.items():
        if order["order_type"] >= OrderType.IOC or order["submitted_ns"] >= halted or order["live_ns"] == 0:
            continue
        accepted = order["live_ns"] + known.response
        over = order["status"] != 6 and order["closed_ns"] + known.response <= max(accepted, halted)
        if over or max(accepted, halted) > end:
            continue
        assert cancelled[number] <= max(accepted, halted)


@examples(60)
@given(seed=st.integers(0, 2**32), shape=shapes, kind=st.sampled_from(KINDS))
def test_an_exit_takes_the_inventory_off_and_then_waits(seed, shape, kind):
    rng = random.Random(seed)
    options = draw_options(rng, kind)
    limits = replace(
        OFF, stop_loss_pct=rng.uniform(0.0005, 0.01), take_profit_pct=rng.uniform(0.001, 0.01),
        max_holding_s=rng.choice((2.5, 10.0)), cooldown_s=rng.choice((0.7, 5.0)), price_collar_pct=0.02,
        max_order_notional_pct=rng.choice((None, 0.02, 0.2)),
    )  # fmt: skip
    model = leaning(rng.choice((0.3, 0.6)), levels=rng.choice((1, 3)))
    it = play(market(seed, **shape), model, kind, risk=limits, **options)
    begun = it.named(*EXITS)
    event(f"exits: {min(len(begun), 3)}")
    profit_adds_up(it, kind)
    assert it.state.risk.breaker == 0
    if not begun:
        assert not any(purpose for *_, purpose, _ in it.fills)
        return
    known, target = it.known(), int(it.engine._params.target_lots)
    start = int(it.state.ledger.start_lots) - target
    submits = [sent for sent in it.sent if sent.action == SUBMIT]
    for number, first in enumerate(begun):
        until = begun[number + 1].ts_ns if number + 1 < len(begun) else 1 << 62
        mine = [sent for sent in submits if first.ts_ns <= sent.ts_ns < until]
        quotes = [sent for sent in mine if sent.purpose == 0]
        taken = [sent for sent in mine if sent.purpose == 1]
        for sent in taken:
            held = start + known.moved(sent.ts_ns)
            assert sent.side * held < 0
            assert sent.qty_lots <= abs(held)
        if quotes:
            # Nothing was held when it was over, and both sides stayed out from then on.
            assert not any(sent.ts_ns >= quotes[0].ts_ns for sent in taken)
            flat = [at for at, *_ in known.fills if first.ts_ns <= at and start + known.moved(at) == 0]
            assert flat
            last = max([at for at, _, _, _, n in known.fills if n in {sent.order_id for sent in taken}], default=0)
            assert quotes[0].ts_ns >= max(flat[0], last) + limits.cooldown_s * 1e9
    everything_is_cancelled(it, known, begun[0].ts_ns)
    for _, side, _, lots, _, _, after, purpose, maker in it.fills:
        if purpose == 1:
            assert maker == 0
            assert abs(after - target) == abs(after - target - side * lots) - lots


def falling(lots: int = 4, step: int = 30, until: int = 1400, pace: int = S, quiet: int = 100) -> list[tuple]:
    """A book of a few lots a level that stands still, then falls step by step, then stands still again."""
    rows, ts, price = [], MIDNIGHT + S, 2000

    def put(levels: list[tuple[int, int, int]]) -> None:
        rows.extend(
            (ts, ts + MS, tick, n, int(kind) | (int(MORE) if i + 1 < len(levels) else 0))
            for i, (tick, n, kind) in enumerate(levels)
        )

    def book() -> list[tuple[int, int, int]]:
        named = [(0, 0, Kind.SNAPSHOT)]
        return named + [(price - k, lots, BID) for k in range(3)] + [(price + 1 + k, lots, ASK) for k in range(3)]

    for _ in range(20):
        put(book())
        ts += pace // 10
    while price > until:
        price -= step
        put(book())
        ts += pace
    for _ in range(quiet):
        put(book())
        ts += pace // 10
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_home_in_slices_as_deep_as_the_book(kind):
    lot = INSTRUMENTS[kind].lot_size
    extra = {} if kind == "spot" else {"initial_inventory": 30 * lot, "target_inventory": 0.0}
    it = play(falling(), leaning(30.0), kind, risk=replace(OFF, hard_drawdown_pct=0.1, price_collar_pct=0.05),
              latency=mml.Latency(0, 5 * MS + 1, 3 * MS + 1), quote_interval_ns=50 * MS, **extra)  # fmt: skip
    sweeps = [sent for sent in it.sent if sent.action == SUBMIT and sent.purpose == 2]
    assert int(it.state.ledger.position_lots) == 0
    assert len(sweeps) >= 5
    assert max(sent.qty_lots for sent in sweeps) <= 4
    assert all(sent.order_type == OrderType.IOC for sent in sweeps)
    assert int(it.state.risk.liquidations) == 1
    # One after another: the next only when we know what came of the one before.
    answered = [it.orders[sent.order_id]["closed_ns"] + 3 * MS + 1 for sent in sweeps]
    assert all(later.ts_ns >= known for later, known in zip(sweeps[1:], answered, strict=False))


@pytest.mark.parametrize("clock", [{"quote_on": "trade"}, {"quote_on": "bbo"}])
def test_it_goes_home_though_nothing_wakes_the_model(clock):
    """No trade, no best price: a model of events is not asked, and its halt goes on all the same."""
    it = play(falling(), leaning(30.0), risk=replace(OFF, hard_drawdown_pct=0.1), initial_inventory=7.5,
              target_inventory=0.0, latency=mml.Latency(0, 5 * MS, 3 * MS), **clock)  # fmt: skip
    assert it.halted_ns is not None
    assert int(it.state.ledger.position_lots) == 0
    last = max(ts for ts, *_ in it.fills)
    assert last - it.halted_ns < S


def test_a_liquidation_takes_no_price_beyond_the_collar():
    rows = falling(step=30, until=1990, quiet=40)
    gone = [(row[0], row[1], row[2] - 400 if row[4] & 63 == BID else row[2], *row[3:]) for row in rows[-150:]]
    rows = [*rows[:-150], *gone]
    for collar, flat in ((0.02, False), (0.3, True)):
        limits = replace(OFF, hard_drawdown_pct=0.055, soft_drawdown_pct=0.05, price_collar_pct=collar)
        it = play(rows, leaning(30.0), risk=limits, initial_inventory=5.0, target_inventory=0.0)
        assert it.halted_ns is not None
        assert (int(it.state.ledger.position_lots) == 0) == flat
        mids = {sent.ts_ns for sent in it.sent if sent.purpose == 2}
        assert mids


def test_a_lot_that_is_worth_more_than_the_largest_order_can_be_taken_off():
    limits = replace(OFF, hard_drawdown_pct=0.05, soft_drawdown_pct=0.04, max_order_notional_pct=0.1)
    it = play(falling(), leaning(30.0), risk=limits, cash=900.0, initial_inventory=0.25, target_inventory=0.0)
    assert it.halted_ns is not None
    assert int(it.state.ledger.position_lots) == 0


def test_without_the_breaker_it_holds_on():
    free = play(falling(), leaning(30.0), initial_inventory=7.5, target_inventory=0.0)
    assert int(free.state.ledger.position_lots) == 30
    assert not free.log
    assert np.isclose(float(free.state.ledger.fees_paid), 0.0)


@pytest.mark.parametrize("window", ["Wed 00:00:06-Wed 00:00:12", "Tue 23:00-Wed 00:00:12"])
def test_a_flat_window_is_flat(window):
    rows = market(5, messages=150, jump=2, start=MIDNIGHT + S)
    options = {"latency": mml.Latency(0, 5 * MS + 1, 3 * MS + 1), "quote_interval_ns": 100 * MS}
    it = play(rows, leaning(0.3), risk=replace(OFF, flat_windows=(window,), cooldown_s=0.1), **options,
              initial_inventory=2.5, target_inventory=0.0)  # fmt: skip
    start = MIDNIGHT + (6 * S if window.startswith("Wed") else 0)
    end = MIDNIGHT + 12 * S
    inside = [sent for sent in it.sent if start <= sent.ts_ns < end]
    assert not any(sent.action == SUBMIT and sent.purpose == 0 for sent in inside)
    assert any(sent.action == SUBMIT and sent.purpose == 0 for sent in it.sent if sent.ts_ns >= end)
    if window.startswith("Wed"):
        assert it.named(Control.FLAT_WINDOW)[0].ts_ns == start
        assert 10 + it.known().moved(end - 1) == 0
        assert 10 + it.known().moved(start) != 0


@pytest.mark.parametrize("kind", ["linear", "inverse"])
def test_a_reset_is_logged_counts_anew_and_lets_a_second_halt_liquidate(kind):
    """By hand in the middle of a run: quotes come back, and losses count from there."""
    rows = falling(pace=S // 2, quiet=20)
    again = falling(pace=S // 2)
    shift = rows[-1][0] + S - again[0][0]
    rows += [(ts + shift, local + shift, *rest) for ts, local, *rest in again]
    lot = INSTRUMENTS[kind].lot_size
    limits = replace(OFF, hard_drawdown_pct=0.02, soft_drawdown_pct=0.01, price_collar_pct=0.1)
    half = next(i for i, row in enumerate(rows) if row[0] > again[0][0] + shift and row[4] & 63 == Kind.SNAPSHOT)
    whole = play(rows, leaning(30.0), kind, spied=False, risk=limits, initial_inventory=20 * lot,
                 target_inventory=0.0)  # fmt: skip
    assert len([e for e in whole.log if e.after == 2]) == 1
    it = resumed(rows, half, kind, limits, lot)
    assert [e.after for e in it.log] == [1, 2, 0]
    assert it.state.risk.breaker == 0
    assert any(o["submitted_ns"] >= rows[half][0] and o["purpose"] == 0 for o in it.orders.values())
    profit_adds_up(it, kind)


def resumed(rows, half, kind, limits, lot) -> Played:
    engine = open_engine(kind, leaning(30.0), risk=limits, initial_inventory=20 * lot, target_inventory=0.0)
    tape = tape_of(rows, kind)
    engine.feed(tape.slice_rows(0, half))
    assert engine.state.risk.breaker == 2
    assert engine.state.ledger.position_lots == 0
    engine.reset("a person", "the reason is gone")
    engine.feed(tape.slice_rows(half, len(rows)))
    engine.finish()
    return Played(engine, rows, 0)


@pytest.mark.parametrize(("lots", "control"), [(12, Control.STOP_LOSS), (-12, Control.TAKE_PROFIT)])
def test_a_fall_stops_what_is_long_and_pays_what_is_short(lots, control):
    limits = replace(OFF, stop_loss_pct=0.03, take_profit_pct=0.03)
    it = play(falling(), leaning(30.0), risk=limits, initial_inventory=lots * 0.25, target_inventory=0.0,
              quote_interval_ns=50 * MS)  # fmt: skip
    first = it.named(*EXITS)[0]
    assert first.control == control
    # Three units of 15 a step on a budget of 10,000: the seventh step is the first beyond 3 %.
    steps = sorted({row[1] for row in it.rows if row[4] & 63 == Kind.SNAPSHOT})
    assert first.ts_ns == steps[20 + 6]
    assert {purpose for *_, purpose, _ in it.fills} >= {1}


def test_a_slice_leaves_out_what_a_quote_on_its_way_out_may_still_sell():
    """Halted with an ask of all that is held: the market takes it before its cancel arrives."""
    still = falling(step=30, until=1990, quiet=40)[: 20 * 7]
    at = still[-1][0]
    bought = [(at + 100 * MS, at + 101 * MS, 2010, 40, int(BOUGHT))]
    after = [(ts + 2 * S, local + 2 * S, *rest) for ts, local, *rest in still]
    engine = open_engine("linear", leaning(1.0), risk=replace(OFF, hard_drawdown_pct=0.3), initial_inventory=1.0,
                         target_inventory=0.0, order_qty=1.0, latency=mml.Latency(0, 200 * MS, 3 * MS))  # fmt: skip
    engine.feed(tape_of(still))
    engine.halt("a person", "enough")
    engine.feed(tape_of([*bought, *after]))
    engine.finish()
    assert [int(f["position_lots"]) for f in engine.fills()] == [0]
    assert engine.state.ledger.position_lots == 0


def test_nothing_that_adds_is_sent_once_halted():
    state = open_engine("linear", leaning()).state
    risk = replace(OFF, hard_drawdown_pct=0.3).record()
    for breaker, exiting, why in ((2, 0, Reason.HALTED), (0, int(Control.STOP_LOSS), Reason.EXIT), (0, 0, Reason.NONE)):
        state.risk.breaker, state.risk.exiting = breaker, exiting
        for sign, lots, held in ((1, 1, 5), (-1, 6, 5), (1, 1, 0), (-1, 1, 0), (-1, 1, -5), (1, 6, -5)):
            assert why_not_sent(state.risk, risk, 1, sign, 1000.0, lots, 1000.0, 250.0, 1e4, 1, held, 0, 0) == why
        for sign, lots, held in ((-1, 5, 5), (1, 5, -5), (-1, 1, 5)):
            assert why_not_sent(state.risk, risk, 1, sign, 1000.0, lots, 1000.0, 250.0, 1e4, 1, held, 0, 0) == 0
