"""The hard inventory limit while orders are being cut: what the exchange may still fill counts, not what was asked."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from numba import njit

import marketmakerl as mml
from marketmakerl.backtesting.layout import Answer, Local, OrderType, Status
from marketmakerl.backtesting.maker.order_gate import open_lots
from marketmakerl.backtesting.maker.orders import replace as send_replace
from marketmakerl.backtesting.maker.orders import submit, take_answer
from marketmakerl.backtesting.wire.messages import answer
from marketmakerl.models.custom import CustomModel
from risky_markets import (
    ASK,
    BID,
    BOUGHT,
    FREE,
    INSTRUMENTS,
    KINDS,
    LOT_WORTH,
    MIDNIGHT,
    MS,
    OFF,
    SOLD,
    S,
    examples,
    open_engine,
    tape_of,
)

_OPEN = (int(Status.NEW), int(Status.LIVE), int(Status.PARTIALLY_FILLED))


@njit
def cut_and_take(context, params):  # type: ignore[no-untyped-def]
    """A large bid, cut to a single lot after half a second, and at once so much bought at the market."""
    tenth = (context.ts_ns - params[0]) // 100_000_000
    context.bid_qty = params[1] if tenth < 5 else params[2]
    context.take_qty = params[3] if tenth == 6 else 0.0
    return 0.1, np.nan


@pytest.mark.parametrize("entry_ms", [0, 450])
def test_a_cut_counts_once_it_has_arrived(entry_ms):
    """The limit is 100 lots: a bid for 100 is cut to 1 while 90 are bought; 450 ms away it fills before the cut."""
    perpetual = mml.Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.001, kind="linear")
    rows = [(0, BID, 10000, 5000), (0, ASK, 10002, 5000), (870 * MS, SOLD, 9999, 1000)]
    rows += [(k * S, BID, 9000, 10 + k) for k in range(2, 10)]
    columns = np.array([(MIDNIGHT + ts, int(kind), price, lots) for ts, kind, price, lots in rows], np.int64).T
    meta = {"clock": "ticks", "tier": "T2", "source": "test"}
    ts, kinds, prices, quantities = (np.ascontiguousarray(column) for column in columns)
    tape = mml.EventTape(perpetual, ts, ts.copy(), prices, quantities, kinds.astype(np.int8), meta)
    run = mml.backtest(
        tape, CustomModel(cut_and_take, (float(MIDNIGHT), 0.1, 0.001, 0.09)), fees=FREE, order_qty=0.1, cash=1000.1,
        risk=replace(OFF, hard_inventory_pct=0.1), latency=mml.Latency(entry_ns=entry_ms * MS), queue="front",
    )  # fmt: skip
    assert np.abs(run.raw_fills["position_lots"]).max() == (91 if entry_ms == 0 else 100)


@njit
def restless(context, params):  # type: ignore[no-untyped-def]
    """Sizes and distances that change at every decision, and now and then an order that takes."""
    draw = (context.ts_ns // 1_000_000) * 2_654_435_761 % 4_294_967_296
    context.bid_qty *= float(draw % 5)
    context.ask_qty *= float((draw // 7) % 5)
    if params[1] != 0.0 and (draw // 64) % 4 == 0:
        context.take_qty = params[1] * (1.0 if (draw // 1024) % 2 == 0 else -1.0)
    return params[0] + 0.5 * ((draw // 16) % 2), params[0] + 0.5 * ((draw // 32) % 2)


def still_market(rng: random.Random, rows: int) -> list[tuple]:
    """A mid that never moves, so that the limit is so many lots; trades that reach into the quotes on both sides."""
    ts, found = MIDNIGHT + S, []

    def put(price, lots, kind):
        found.append((ts, ts, price, lots, int(kind)))

    put(1999, 50, BID)
    put(2001, 50, ASK)
    lean = 0.5
    for i in range(rows):
        ts += rng.choice((0, rng.randrange(1, 30 * MS), rng.randrange(1, 400 * MS)))
        if i % 40 == 0:
            lean = rng.choice((0.05, 0.5, 0.95))
        if rng.random() < 0.2:
            side = rng.choice((BID, ASK))
            put(1999 if side == BID else 2001, rng.randint(1, 60), side)
        elif rng.random() < lean:
            put(2001 + rng.randint(0, 4), rng.randint(1, 9), BOUGHT)
        else:
            put(1999 - rng.randint(0, 4), rng.randint(1, 9), SOLD)
    return found


def could_become(engine, target: int) -> tuple[int, int]:
    """The most and the least that the exchange could make of the inventory with what it has, or is being sent."""
    held = [int(engine.state.ledger.position_lots) - target] * 2
    for order in engine._arrays["own"]:
        if int(order["local"]) != Local.FREE and int(order["status"]) in _OPEN:
            held[0 if order["side"] > 0 else 1] += int(order["side"] * (order["qty_lots"] - order["filled_lots"]))
    return held[0], held[1]


@examples(120)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_the_limit_holds_whatever_the_exchange_still_fills(seed, kind):
    rng = random.Random(seed)
    lot, rows = INSTRUMENTS[kind].lot_size, still_market(rng, 160)
    limit = rng.choice((3, 8, 15))
    budget = 200 * LOT_WORTH[kind]
    windows = []
    if rng.random() < 0.4:
        cuts = sorted(rng.sample(range(rows[0][0], rows[-1][0] + 10), 4))
        windows = [(cuts[0], cuts[1]), (cuts[2], cuts[3])]
    options = {
        "risk": replace(OFF, hard_inventory_pct=(limit + 0.5) * LOT_WORTH[kind] / budget,
                        soft_inventory_pct=rng.choice((None, 0.2 * limit * LOT_WORTH[kind] / budget)),
                        price_collar_pct=rng.choice((None, 0.1)), check_duplicates=rng.random() < 0.5),
        "venue": mml.VenueRules(stp=rng.choice((None, "none", "decrement", "expire_maker")), reject_windows=windows),
        "latency": mml.Latency(0, rng.choice((0, 1, 40, 270)) * MS, rng.choice((0, 1, 60, 190)) * MS),
        "order_qty": rng.choice((1, 2, 4)) * lot, "cash": budget * (2 if kind == "spot" else 1),
        "post_only": rng.random() < 0.5, "queue": rng.choice(("front", "risk_averse")),
    }  # fmt: skip
    if kind == "spot":
        options |= {"initial_inventory": 100 * lot, "cash": 100 * LOT_WORTH[kind]}
    clock = rng.choice(({"quote_on": "all"}, {"quote_interval_ns": 100 * MS}, {"quote_on": ("trade", "response")}))
    model = CustomModel(restless, (rng.choice((0.5, 1.0)), rng.choice((0.0, 0.0, 3.0)) * lot),
                        levels=rng.choice((1, 2, 4)))  # fmt: skip
    engine = open_engine(kind, model, **options | clock)
    tape, target = tape_of(rows, kind), int(engine._params.target_lots)
    for i in range(len(rows)):
        engine.feed(tape.slice_rows(i, i + 1))
        most, least = could_become(engine, target)
        assert most <= limit
        assert least >= -limit
    engine.finish()
    positions = [int(lots) - target for lots in engine.fills()["position_lots"]]
    assert max(map(abs, positions), default=0) <= limit
    event(f"reached: {10 * max(map(abs, positions), default=0) // limit}0 %")
    event(f"replaces refused: {bool(engine.state.counts.replace_rejected)}")


class Desk:
    """Own orders without a market: requests go out, and answers come in as the exchange would send them."""

    def __init__(self) -> None:
        self.engine = open_engine("linear", mml.OrderScript())
        self.args = self.engine.state, self.engine._memory, self.engine._params
        submit(*self.args, 1, 1990, 100, int(OrderType.LIMIT))
        self.slot = next(i for i, o in enumerate(self.engine._arrays["own"]) if o["local"] != Local.FREE)
        self.hear(Answer.ACCEPTED)

    def ask(self, lots: int, price: int = 1990) -> int:
        send_replace(*self.args, self.slot, price, lots)
        return self.open

    def hear(self, what: Answer, lots: int = 0, price: int = 1990) -> int:
        self.engine._arrays["own"][self.slot]["in_flight"] -= 1  # the request has arrived
        answer(*self.args, self.slot, 0, int(what), lots, price, 0.0)
        take_answer(*self.args, self.engine._risk)
        return self.open

    @property
    def open(self) -> int:
        return int(open_lots(self.engine.state, self.engine._memory, 1))

    @property
    def order(self):
        return self.engine._arrays["own"][self.slot]


def test_the_larger_of_what_is_and_what_is_asked_counts_until_the_answer():
    desk = Desk()
    assert desk.open == 100
    assert desk.ask(30) == 100  # a cut
    assert desk.hear(Answer.CHANGED, 30) == 30
    assert desk.ask(80) == 80  # more of it
    assert desk.hear(Answer.CHANGED, 80) == 80
    assert desk.ask(20) == 80
    assert desk.hear(Answer.REFUSED, 80) == 80  # it stays as it is, and we know it
    assert desk.order["local_qty_lots"] == 80


def test_several_cuts_under_way_end_one_by_one():
    desk = Desk()
    assert [desk.ask(50), desk.ask(70), desk.ask(10)] == [100] * 3
    assert desk.hear(Answer.CHANGED, 50) == 70  # the one for 70 may be there by now
    assert desk.hear(Answer.CHANGED, 70) == 70
    assert desk.hear(Answer.CHANGED, 10) == 10


def test_fills_count_against_the_size_that_is_known():
    desk = Desk()
    desk.ask(30)
    assert desk.hear(Answer.FILL, 20) == 80
    desk.order["in_flight"] += 1  # that answered no request
    assert desk.hear(Answer.CHANGED, 30) == 10


def test_what_a_self_trade_took_off_before_a_replace_is_not_taken_off_it():
    desk = Desk()
    desk.ask(60)
    assert desk.hear(Answer.REDUCED, 10) == 90
    desk.order["in_flight"] += 1
    assert desk.hear(Answer.CHANGED, 60) == 60
    assert desk.hear(Answer.REDUCED, 15) == 45


def test_a_refused_price_is_taken_back():
    desk = Desk()
    desk.ask(100, price=1995)
    assert desk.order["local_price_ticks"] == 1995
    assert desk.hear(Answer.REFUSED, 100, price=1990) == 100
    assert desk.order["local_price_ticks"] == 1990
