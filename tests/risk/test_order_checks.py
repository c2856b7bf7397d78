"""The last look at an order: what was out there when it was sent is worked out from logs, tape and latencies alone."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import marketmakerl as mml
from marketmakerl.backtesting.layout import OrderType
from marketmakerl.models.custom import CustomModel
from marketmakerl.risk.reasons import Reason
from oracles.risk import Case, Referee
from risky_markets import (
    CENTRE,
    INSTRUMENTS,
    KINDS,
    LOT_WORTH,
    MS,
    OFF,
    SUBMIT,
    Played,
    S,
    examples,
    leaning,
    market,
    play,
    worth_of_lots,
)

CLOCKS = ({"quote_on": "all"}, {"quote_interval_ns": 100 * MS}, {"quote_on": ("trade", "response")})
shapes = st.fixed_dictionaries({
    "messages": st.integers(20, 60), "jump": st.integers(1, 15), "drift": st.sampled_from([-1.0, 0.0, 1.0]),
    "gaps": st.booleans(), "holes": st.booleans(), "ties": st.booleans(),
    "delay": st.sampled_from(["constant", "random", "bursts", "early"]),
})  # fmt: skip


def draw_options(rng: random.Random, kind: str) -> dict:
    options = dict(rng.choice(CLOCKS))
    # No time at all would leave the order of things at one time open.
    options["latency"] = mml.Latency(rng.choice((0, 40)) * MS, rng.choice((1, 7, 250)) * MS + 1,
                                     rng.choice((1, 11, 400)) * MS + 3)  # fmt: skip
    options["cash"] = rng.choice((20, 60)) * LOT_WORTH[kind]
    options["order_qty"] = rng.choice((1, 2, 3)) * INSTRUMENTS[kind].lot_size
    options["post_only"] = rng.random() < 0.6
    return options


class Seen:
    """Tops of the book by their time of receipt."""

    def __init__(self, it: Played, offset: int) -> None:
        bare = Case(rows=it.rows, fills=[], kind="linear", tick=0.5, lot=1.0, contract=1.0, cash=1.0,
                    feed_offset=offset)  # fmt: skip
        self.tops = sorted(Referee(bare).tops.items())

    def at(self, ts_ns: int):
        return [top for at, top in self.tops if at <= ts_ns][-1]


def opening(it: Played) -> tuple[float, int]:
    """Budget, and position less target, before it began."""
    return float(it.state.ledger.start_equity), int(it.state.ledger.start_lots - it.engine._params.target_lots)


def draw_model(rng: random.Random, kind: str):
    lot = INSTRUMENTS[kind].lot_size
    take = lot * rng.choice((0, 0, 2, 5)) if rng.random() < 0.5 else 0.0
    half = rng.choice((-0.9, 0.0, 0.3, 0.6, 3.0))  # negative: a bid above the ask
    model = leaning(half, rng.choice((0.0, 0.05)), take, rng.choice((1.0, 1.0, 4.0)), levels=rng.choice((1, 1, 2, 4)))
    if rng.random() < 0.3:
        object.__setattr__(model, "level_step_ticks", 0)  # every level at one price
    return model


@examples(50)
@given(seed=st.integers(0, 2**32), shape=shapes, kind=st.sampled_from(KINDS))
def test_no_order_goes_out_that_a_check_forbids(seed, shape, kind):
    rng = random.Random(seed)
    options = draw_options(rng, kind)
    chosen = {
        "hard_inventory_pct": rng.choice((0.05, 0.12, 0.3)),
        "price_collar_pct": rng.choice((0.0007, 0.002, 0.1)),
        "max_order_notional_pct": rng.choice((0.03, 0.06, 0.2)),
        "max_order_multiple": rng.choice((1.0, 2.0, 3.5)),
        "check_duplicates": True,
        "check_self_match": True,
    }
    limits = replace(
        OFF, **{name: value for name, value in chosen.items() if rng.random() < 0.6} or {"check_duplicates": True}
    )
    model = draw_model(rng, kind)
    rows = market(seed, **shape)
    it = play(rows, model, kind, risk=limits, **options)
    budget, excess = opening(it)
    known, seen = it.known(), Seen(it, options["latency"].feed_offset_ns)
    event(f"orders: {min(len(it.orders), 100) // 20 * 20}+")
    for sent in it.sent:
        if sent.action == SUBMIT:
            mid = seen.at(sent.ts_ns).mid
            assert mid is not None
            checked(sent, known, mid, seen.at(sent.ts_ns), kind, limits, options, budget, excess)


def checked(sent, known, mid, top, kind, limits, options, budget, excess) -> None:
    side, takes = sent.side, sent.order_type >= OrderType.IOC
    market_order = sent.order_type == OrderType.MARKET
    worth = worth_of_lots(kind, 1, mid * 0.5)
    out = known.out_there(sent.ts_ns, sent.order_id)
    if limits.hard_inventory_pct is not None:
        room = int(limits.hard_inventory_pct * budget / worth + 1e-6)
        held = side * (excess + known.moved(sent.ts_ns))
        waiting = sum(own.open_lots for own in out if own.side == side)
        assert held + waiting + sent.qty_lots <= max(room, 0)
    if limits.price_collar_pct is not None and not market_order:
        assert abs(sent.price_ticks - mid) <= limits.price_collar_pct * mid * (1 + 1e-6)
    if limits.max_order_notional_pct is not None:
        assert sent.qty_lots * worth <= limits.max_order_notional_pct * budget * (1 + 1e-6)
    if limits.max_order_multiple is not None:
        usual = round(options["order_qty"] / INSTRUMENTS[kind].lot_size)
        assert sent.qty_lots <= limits.max_order_multiple * usual
    if limits.check_duplicates and not market_order:
        for own in out:
            assert own.is_leaving or (own.side, own.price_ticks, own.qty_lots) != (
                side,
                sent.price_ticks,
                sent.qty_lots,
            )
    if limits.check_self_match:
        touch = top.ask if side > 0 else top.bid
        reach = touch if takes else sent.price_ticks
        assert not any(own.side == -side and not own.takes and side * (reach - own.price_ticks) >= 0 for own in out)


def sends(model, limits, kind="linear", messages=60, **options):
    it = play(market(4, messages=messages), model, kind, risk=limits, **{"quote_interval_ns": 100 * MS} | options)
    return [sent for sent in it.sent if sent.action == SUBMIT], it


def test_a_duplicate_goes_out_once():
    model = leaning(0.3, levels=3)
    object.__setattr__(model, "level_step_ticks", 0)
    free, _ = sends(model, OFF)
    checked_, it = sends(model, replace(OFF, check_duplicates=True))
    per_time = {}
    for sent in checked_:
        per_time.setdefault((sent.ts_ns, sent.side, sent.price_ticks), []).append(sent.qty_lots)
    assert all(len(set(lots)) == len(lots) for lots in per_time.values())
    assert len({(s.ts_ns, s.side, s.price_ticks) for s in free}) < len(free)
    assert it.state.counts.orders > 20


def test_an_order_that_would_meet_an_own_one_stays_home():
    model = leaning(-2.0)  # bids above the mid, asks below it
    free, _ = sends(model, OFF, post_only=False)
    stays, it = sends(model, replace(OFF, check_self_match=True), post_only=False)
    assert free[0].side == 1
    assert free[1].side == -1
    assert free[0].ts_ns == free[1].ts_ns
    assert not any(a.ts_ns == b.ts_ns and a.side != b.side for a, b in pairwise(stays))
    assert it.state.counts.self_trades == 0


@pytest.mark.parametrize(
    ("limits", "model", "passes"),
    [
        ({"price_collar_pct": 0.01}, leaning(5.0), True),
        ({"price_collar_pct": 0.01}, leaning(15.0), False),
        ({"max_order_multiple": 4.0}, leaning(0.6, 0.0, 0.0, 4.0), True),
        ({"max_order_multiple": 4.0}, leaning(0.6, 0.0, 0.0, 5.0), False),
        ({"max_order_notional_pct": 0.11}, leaning(0.6, 0.0, 0.0, 4.0), True),
        ({"max_order_notional_pct": 0.09}, leaning(0.6, 0.0, 0.0, 4.0), False),
    ],
)
def test_collar_and_sizes(limits, model, passes):
    sent, it = sends(model, replace(OFF, **limits))
    assert bool(sent) == passes
    assert sends(model, OFF)[0]
    assert (int(it.state.counts.suppressed.sum()) == 0) == passes


@pytest.mark.parametrize("kind", KINDS)
def test_an_inventory_never_exceeds_the_hard_limit_by_orders_in_flight(kind):
    """A taker, four levels and slow answers: what is under way counts from the moment it is sent."""
    limits = replace(OFF, hard_inventory_pct=0.2)
    lot = INSTRUMENTS[kind].lot_size
    rows = market(8, messages=150, jump=2)
    options = {"quote_on": "all", "latency": mml.Latency(0, 300 * MS, 900 * MS), "post_only": False}
    model = leaning(0.3, 0.0, 6 * lot, levels=4)
    it = play(rows, model, kind, risk=limits, **options)
    budget, excess = opening(it)
    low = min(row[2] for row in rows if row[2]) * 0.5
    most = 0.2 * budget / min(worth_of_lots(kind, 1, low), worth_of_lots(kind, 1, (2 * CENTRE * 0.5) - low))
    free = play(rows, model, kind, **options)
    assert max(abs(excess + f[6] - it.fills[0][6] + it.fills[0][1] * it.fills[0][3]) for f in it.fills) <= most + 1
    assert len(it.fills) > 5
    assert max(abs(f[6]) for f in free.fills) > max(abs(f[6]) for f in it.fills)


def test_a_taker_under_way_counts_towards_the_limit():
    """Three lots are allowed; two are being bought, and nobody knows yet whether they were."""
    asked = []

    def quote(context):
        asked.append(int(context.ts_ns))
        if len(asked) == 1:
            context.take_qty = 0.5
            return None, None
        return 5.0, None

    it = play(market(4, messages=20, jump=1), CustomModel(quote), risk=replace(OFF, hard_inventory_pct=0.08),
              order_qty=0.75, quote_interval_ns=100 * MS, latency=mml.Latency(0, 400 * MS, 400 * MS))  # fmt: skip
    sent = [s for s in it.sent if s.action == SUBMIT]
    assert [s.qty_lots for s in sent[:2]] == [2, 1]
    assert sent[1].ts_ns < sent[0].ts_ns + 800 * MS


def test_what_rests_is_pulled_when_the_market_carries_the_inventory_to_the_limit():
    """Seven lots held and a bid for an eighth, which the limit allows until the coin is worth more."""
    rows = market(4, messages=0)
    first = rows[0][0]
    higher = [(first + 5 * S, first + 5 * S, row[2] + 40 if row[2] else 0, *row[3:]) for row in rows]
    later = [(first + 9 * S, first + 9 * S, row[2] + 40 if row[2] else 0, *row[3:]) for row in rows]
    bids = CustomModel(lambda _: (5.0, None))
    it = play([*rows, *higher, *later], bids, risk=replace(OFF, hard_inventory_pct=0.201), cash=10_000.0,
              initial_inventory=1.75, target_inventory=0.0, requote_threshold_ticks=100)  # fmt: skip
    bid = next(o for o in it.orders.values() if o["side"] == 1)
    assert bid["live_ns"] < first + S
    assert bid["reason"] == int(Reason.INVENTORY_LIMIT)
    assert first + 5 * S <= bid["closed_ns"] < first + 6 * S
