"""Orders and messages in every window there is, and the cancels that pass all the same."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import marketmakerl as mml
from marketmakerl.risk.rates import count_message, may_send_change
from risky_markets import (
    CANCEL,
    INSTRUMENTS,
    MIDNIGHT,
    MS,
    OFF,
    REPLACE,
    SUBMIT,
    S,
    examples,
    leaning,
    market,
    open_engine,
    play,
    worst_window,
)

CLOCKS = ({"quote_on": "all"}, {"quote_interval_ns": 10 * MS}, {"quote_on": ("trade", "response")})


@examples(80)
@given(
    seed=st.integers(0, 2**32), orders=st.integers(1, 30), messages=st.integers(2, 50),
    window_s=st.sampled_from([0.3, 1.0, 7.0]), levels=st.sampled_from([1, 2, 5]), exits=st.booleans(),
)  # fmt: skip
def test_no_window_holds_more_than_it_may(seed, orders, messages, window_s, levels, exits):
    rng = random.Random(seed)
    options = dict(rng.choice(CLOCKS))
    options["latency"] = mml.Latency(0, rng.choice((0, 7, 90)) * MS, rng.choice((0, 11, 300)) * MS)
    which = rng.choice(("both", "orders", "messages"))
    limits = replace(
        OFF, max_orders=None if which == "messages" else orders, max_messages=None if which == "orders" else messages,
        rate_window_s=window_s, stop_loss_pct=0.0005 if exits else None, cooldown_s=0.1, hard_inventory_pct=0.2,
        soft_inventory_pct=0.05,
    )  # fmt: skip
    rows = market(seed, messages=60, jump=rng.randint(1, 10), ties=rng.random() < 0.5)
    it = play(rows, leaning(0.6, 0.05, levels=levels), risk=limits, order_qty=0.75, **options)
    window_ns = round(window_s * 1e9)
    sent = [request.ts_ns for request in it.sent if request.action == SUBMIT]
    everything = [request.ts_ns for request in it.sent]
    if limits.max_orders is not None:
        assert worst_window(sent, window_ns) <= orders
    if limits.max_messages is not None:
        assert worst_window(everything, window_ns) <= messages
    event(f"replaces: {any(request.action == REPLACE for request in it.sent)}")
    event(f"orders: {min(len(sent), 60) // 20 * 20}+")


def test_what_may_be_sent_is_sent():
    """Not less than the limit either: a window less a sixteenth."""
    rows = market(2, messages=120, jump=9)
    free = play(rows, leaning(0.6), quote_on="all")
    times = [request.ts_ns for request in free.sent if request.action == SUBMIT]
    assert worst_window(times, 5 * S) > 30
    held = play(rows, leaning(0.6), quote_on="all", risk=replace(OFF, max_orders=20, rate_window_s=5.0))
    times = [request.ts_ns for request in held.sent if request.action == SUBMIT]
    assert worst_window(times, 5 * S) in (19, 20)
    assert len(times) >= 0.7 * 20 * (rows[-1][0] - rows[0][0]) / (5 * S)
    assert held.state.counts.suppressed[28] > 0


@pytest.mark.parametrize("limit", [8, 20])
def test_a_cancel_goes_at_the_decision_that_wants_it(limit):
    """The market runs away at every step: a quote that is not wanted any more is cancelled at once, room or not."""
    rows = market(6, messages=80, jump=9)
    limits = replace(OFF, max_messages=limit, rate_window_s=2.0)
    run = {"quote_interval_ns": 50 * MS, "latency": mml.Latency(0, 5 * MS, 5 * MS)}
    it = play(rows, leaning(0.6, levels=3), risk=limits, **run)
    known = it.known()
    decisions = np.arange(rows[0][0] + 50 * MS, rows[-1][0], 50 * MS).tolist()
    cancelled = {request.order_id: request.ts_ns for request in it.sent if request.action == CANCEL}
    assert len(cancelled) > 3
    assert worst_window([request.ts_ns for request in it.sent], 2 * S) <= limit
    tops = _mids(it)
    for at in decisions:
        bid, ask = next(top for when, top in reversed(tops) if when <= at)
        if bid is None or ask is None:
            continue
        for number, order in it.orders.items():
            accepted = order["live_ns"] + 5 * MS if order["live_ns"] else 1 << 62
            if accepted <= at < known._gone_ns(order) and not _is_wanted(order, bid, ask):
                assert cancelled.get(number, 1 << 62) <= at


def _mids(it):
    from oracles.risk import Case, Referee

    bare = Case(rows=it.rows, fills=[], kind="linear", tick=0.5, lot=1.0, contract=1.0, cash=1.0)
    return [(at, (top.bid, top.ask)) for at, top in sorted(Referee(bare).tops.items())]


def _is_wanted(order, bid, ask) -> bool:
    """Half a spread of 0.6 is 1.2 ticks: three levels from the touch outwards."""
    if order["side"] > 0:
        return bid - 4 <= order["price_ticks"] <= bid
    return ask <= order["price_ticks"] <= ask + 4


def test_the_count_begins_where_the_run_does_and_survives_a_snapshot():
    rows = market(9, messages=60, jump=9)
    limits = replace(OFF, max_orders=7, max_messages=20, rate_window_s=3.0)
    whole = play(rows, leaning(0.6, levels=2), quote_on="all", risk=limits, spied=False)
    engine = whole.engine
    assert engine.state.risk.orders_in_window <= 7
    assert engine.state.risk.messages_in_window == engine.state.risk.message_counts.sum()
    assert INSTRUMENTS["linear"].lot_size
    fresh = open_engine("linear", leaning(0.6, levels=2), quote_on="all", risk=limits)
    fresh.restore(engine.snapshot())
    assert fresh.state.risk.messages_in_window == engine.state.risk.messages_in_window
    assert rows[0][0] == MIDNIGHT - 20 * S


def test_a_change_leaves_room_for_the_cancels():
    risk = replace(OFF, max_messages=10).record()
    state = open_engine("linear", leaning(), risk=replace(OFF, max_messages=10)).state.risk
    for number in range(6):
        assert bool(may_send_change(state, risk, MIDNIGHT, 4)) == (number < 6)
        count_message(state, MIDNIGHT, False)
    assert not may_send_change(state, risk, MIDNIGHT, 4)
    assert may_send_change(state, risk, MIDNIGHT, 3)
    assert not may_send_change(state, risk, MIDNIGHT + 10 * S - 1, 4)
    assert may_send_change(state, risk, MIDNIGHT + 12 * S, 4)
