"""The exact queue: against places worked out by hand, and against a book of linked lists, event by event."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from l3_logs import INSTRUMENT, STEP_NS, T0, levels_of, orders_frame, trades_frame
from marketmakerl import EventTape, Fees, RiskLimits
from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.exchange.queue import QUEUES, Queue
from marketmakerl.backtesting.order_script import OrderScript
from marketmakerl.core.errors import ConfigError, DataFormatError
from marketmakerl.data.l3_import import import_l3
from oracles.fifo_book import FifoBook, Row, Trade
from searches import many

MODELS = ("front", "fifo", "risk_averse")


def open_engine(script: OrderScript, queue: Queue | str) -> Engine:
    return Engine(
        INSTRUMENT, script, fees=Fees(0, 0), order_qty=0.001, cash=1e9, first_price=50.0, queue=queue,
        risk=RiskLimits.off(), book_window_ticks=64,
    )  # fmt: skip


def fills_of(tape: EventTape, ghost: tuple | None, queue: str) -> list[tuple[int, int]]:
    script = OrderScript()
    if ghost is not None:
        ts, side, price, lots = ghost
        script.submit(ts, side=side, price_ticks=price, qty_lots=lots)
    engine = open_engine(script, queue)
    engine.feed(tape)
    engine.finish()
    fills = engine.fills()
    return list(zip(fills["ts_ns"].tolist(), fills["qty_lots"].tolist(), strict=True))


# Own order of 5 lots at bid 100, sent at the very time of the second row, which goes first; what is in front of it
# after each row, and its fills.
BY_HAND = [
    # row                                      in front    filled
    ((1, 0, 1, 100, 10, None), None, 0),
    ((2, 0, 1, 100, 20, None), None, 0),
    ((3, 0, 1, 100, 30, None), 30, 0),  # behind us
    ((3, 1, 1, 100, 25, 0), 30, 0),  # somebody behind takes back 5
    ((1, 1, 1, 100, 6, 0), 26, 0),  # somebody in front takes back 4
    ((1, 1, 1, 100, 4, 2), 24, 0),  # the first in the queue sells 2
    ((2, 1, 1, 100, 22, 0), 4, 0),  # one in front asks for more: all of it goes to the back
    ((4, 0, 1, 99, 7, None), 4, 0),  # another level
    ((1, 2, 1, 100, 4, 0), 0, 0),  # the only one in front leaves
    ((3, 1, 1, 100, 22, 3), 0, 3),  # 3 sold behind us: they would have been ours
    ((2, 2, 1, 100, 22, 0), 0, 3),  # those behind leave
    ((3, 1, 1, 100, 21, 1), 0, 4),
    ((4, 1, 1, 99, 6, 1), 0, 5),  # a trade through our price
]


def test_places_worked_out_by_hand():
    rows = [(i, T0 + i * STEP_NS, *row) for i, (row, *_) in enumerate(BY_HAND)]
    imported = import_l3(orders_frame(rows), None, INSTRUMENT)
    script = OrderScript()
    script.submit(T0 + STEP_NS, side=1, price_ticks=100, qty_lots=5)
    engine = open_engine(script, "fifo")
    for i, (_, ahead, filled) in enumerate(BY_HAND):
        at = np.flatnonzero(imported.seq == i)
        engine.feed(imported.tape.slice_rows(at[0], at[-1] + 1))
        own = engine._arrays["own"]
        live = own[own["order_id"] == 1]
        if ahead is not None:
            assert live["filled_lots"][0] == filled, i
            assert live["ahead_lots"][0] == ahead or filled == 5, i


@st.composite
def plays(draw):
    """Draw what a market does: limit orders near 100, cancels, changes, and when our order comes."""
    side, price, lots = st.sampled_from([1, -1]), st.integers(96, 104), st.integers(1, 6)
    one = st.one_of(
        st.tuples(st.just("limit"), side, price, lots),
        st.tuples(st.just("limit"), side, price, lots),
        st.tuples(st.just("cancel"), st.integers(0, 30), lots),
        st.tuples(st.just("grow"), st.integers(0, 30), lots),
        st.tuples(st.just("move"), st.integers(0, 30), st.integers(-2, 2)),
    )
    acts = draw(st.lists(one, min_size=4, max_size=40))
    at = draw(st.integers(1, len(acts) - 1))
    return acts, at, draw(side), draw(price), draw(st.integers(1, 4)), draw(st.booleans()), draw(st.booleans())


def act(book: FifoBook, what: str, *rest) -> None:
    if what == "limit":
        book.limit(*rest)
        return
    if not book.nodes:
        return
    node = list(book.nodes.values())[rest[0] % len(book.nodes)]
    if what == "cancel":
        book.cancel(node.order_id, rest[1])
    elif what == "grow":
        book.replace(node.order_id, node.price, node.qty + rest[1])
    else:
        price, other = node.price + rest[1], book.best(-node.side)
        if rest[1] and (other is None or node.side * price < node.side * other):
            book.replace(node.order_id, price, node.qty)


def play(drawn):
    """Play a market in the linked lists; return its log as frames, our order, its fills and the levels at each step."""
    acts, at, side, price, lots, log_takers, takers_first = drawn
    book = FifoBook(log_takers=log_takers, takers_first=takers_first)
    ghost, times, levels, ahead = None, [], [], []
    for step, what in enumerate(acts):
        if step == at and book.log:
            other = book.best(-side)
            if other is None or side * price < side * other:
                book.haunt(side, price, lots)
                ghost = (T0 + (step - 1) * STEP_NS + STEP_NS // 2, side, price, lots)
        act(book, *what)
        times += [T0 + step * STEP_NS] * (len(book.log) - len(times))
        levels.append((len(book.log), book.totals(1), book.totals(-1)))
        ahead.append(book.ahead())
    orders = [(i, ts, *row) for i, (ts, row) in enumerate(zip(times, book.log, strict=True)) if isinstance(row, Row)]
    trades = [(i, ts, *row) for i, (ts, row) in enumerate(zip(times, book.log, strict=True)) if isinstance(row, Trade)]
    return orders, trades, ghost, book.ghost_fills, levels


def tape_of(orders, trades):
    return import_l3(orders_frame(orders), trades_frame(trades) if trades else None, INSTRUMENT)


@settings(max_examples=many(150, 1_000), deadline=None)
@given(plays())
def test_it_fills_at_the_event_at_which_the_linked_lists_do(drawn):
    orders, trades, ghost, wanted, _ = play(drawn)
    if not orders:
        return
    imported = tape_of(orders, trades)
    got = fills_of(imported.tape, ghost, "fifo")
    event(f"fills: {len(wanted)}")
    seq_at = {int(ts): int(seq) for ts, seq in zip(imported.tape.ts_ns, imported.seq, strict=True)}
    assert [(seq_at[ts], lots) for ts, lots in got] == wanted
    if imported.report.counts["repaired", "trade-alone"] or imported.report.refused:
        raise AssertionError(imported.report.as_dict())


@settings(max_examples=many(80, 400), deadline=None)
@given(plays())
def test_front_is_never_later_and_risk_averse_never_sooner(drawn):
    orders, trades, ghost, *_ = play(drawn)
    if not orders or ghost is None:
        return
    tape = tape_of(orders, trades).tape
    filled = []
    for model in MODELS:
        total, out = 0, {}
        for ts, lots in fills_of(tape, ghost, model):
            total += lots
            out[total] = ts
        filled.append(out)
    for sooner, later in pairwise(filled):
        for lots in range(1, ghost[3] + 1):
            times = [min((ts for total, ts in out.items() if total >= lots), default=np.inf) for out in (sooner, later)]
            assert times[0] <= times[1]


@settings(max_examples=many(80, 300), deadline=None)
@given(plays())
def test_levels_are_the_sums_of_the_orders(drawn):
    orders, trades, *_, levels = play(drawn)
    if not orders:
        return
    imported = tape_of(orders, trades)
    for length, bids, asks in levels:
        rows = int(np.searchsorted(imported.seq, length))
        assert levels_of(imported.tape, rows) == {1: bids, -1: asks}


def test_only_a_tape_of_single_orders_will_do():
    engine = open_engine(OrderScript(), "fifo")
    ts = np.array([T0])
    levels = EventTape(INSTRUMENT, ts, ts, ts * 0 + 100, ts * 0 + 5, np.array([8], np.int8), {"clock": "ticks"})
    later = EventTape(**{**vars(levels), "since_ns": ts + 1})
    with pytest.raises(ConfigError, match="single orders"):
        engine.feed(levels)
    with pytest.raises(DataFormatError, match="since_ns"):
        engine.feed(later)
    assert str(Queue.of("fifo")) == "fifo"
    assert str(QUEUES["fifo"]) == "fifo"
