"""A stretch of a tick tape, led by its book, is the same market as the whole tape from there on."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.backtesting.engine import Engine
from marketmakerl.data.tape import MORE, EventTape, Kind
from marketmakerl.data.tick_windows import cut, equal_windows, opening_rows, row_at
from tick_tapes import INSTRUMENT, make_tape

T0 = 1_700_000_000_000_000_000
SNAPSHOT, GAP = Kind.SNAPSHOT, Kind.GAP
DEPTH, BBO = (Kind.DEPTH_BID, Kind.DEPTH_ASK), (Kind.BBO_BID, Kind.BBO_ASK)


def tape_of(messages: list[list[tuple[int, int, int]]]) -> EventTape:
    """Return a tape with one message every second."""
    rows = [
        (T0 + i * 10**9, kind | (MORE if j + 1 < len(message) else 0), tick, lots)
        for i, message in enumerate(messages)
        for j, (kind, tick, lots) in enumerate(message)
    ]
    ts, kind, tick, lots = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return EventTape(
        INSTRUMENT, ts, ts.copy(), price_ticks=tick, qty_lots=lots, kind=kind.astype(np.int8), meta={"clock": "ticks"}
    )


def random_tape(seed: int, feed: str) -> EventTape:
    rng = random.Random(seed)
    messages: list[list[tuple[int, int, int]]] = []
    for _ in range(80):
        centre = 1000 + rng.randint(-6, 6)
        level = [(DEPTH[s], centre - (1 - 2 * s) * rng.randint(1, 9), rng.randint(0, 4)) for s in (0, 1)]
        best = [(BBO[s], centre - (1 - 2 * s) * rng.randint(1, 3), rng.randint(1, 4)) for s in (0, 1)]
        whole = [(SNAPSHOT, 0, 0), *((DEPTH[s], centre - (1 - 2 * s) * i, i) for s in (0, 1) for i in range(1, 6))]
        choices = {
            "diffs": [level],
            "best": [best, [rng.choice(best)]],
            "both": [level, best],
            "snapshots": [level, level, level, whole],
            "gaps": [level, level, level, whole, best, [(GAP, 0, 0)]],
            "best with gaps": [best, best, best, [(GAP, 0, 0)]],
        }[feed]
        messages.append(rng.choice(choices))
        if rng.random() < 0.5:
            messages.append([(rng.choice((Kind.TRADE_SELL, Kind.TRADE_BUY)), centre + rng.randint(-4, 4), 2)])
    return tape_of(messages)


def played(tape: EventTape, script: mml.OrderScript):
    engine = Engine(
        tape.instrument, script, fees=mml.Fees(1.0, 2.0), order_qty=0.001, cash=1e6, first_price=100.0,
        risk=mml.RiskLimits.off(),
    )  # fmt: skip
    engine.feed(tape)
    engine.finish()
    return engine.fills(), engine.orders()


@pytest.mark.parametrize("feed", ["diffs", "best", "both", "snapshots", "gaps", "best with gaps"])
def test_orders_fare_alike_on_the_whole_tape_and_on_its_end(feed):
    met = 0
    for seed in range(40):
        tape = random_tape(seed, feed)
        rng = random.Random(seed)
        row = row_at(tape, T0 + rng.randint(5, 60) * 10**9)
        script = mml.OrderScript()
        begin_ns = int(tape.ts_ns[row])
        for i in range(30):
            script.submit(
                begin_ns + i * 700_000_000, side=rng.choice((1, -1)), price_ticks=1000 + rng.randint(-9, 9),
                qty_lots=rng.randint(1, 3), order_type=rng.choice(("post_only", "limit", "ioc")),
            )  # fmt: skip
        whole, end = played(tape, script), played(cut(tape, row, len(tape)), script)
        for one, other in zip(whole, end, strict=True):
            assert one.tobytes() == other.tobytes(), (feed, seed)
        met += len(whole[0])
    assert met > 100


def test_a_window_of_a_window_and_the_first():
    tape = make_tape(seconds=20)
    assert cut(tape, 0, 100).kind.base is not None  # the first needs no head and is not copied
    first, second = equal_windows(tape, 3)[1:3]
    window = cut(tape, first, second)
    inner = row_at(window, int(window.ts_ns[0]) + 2 * 10**9)
    twice = opening_rows(window, inner)
    once = opening_rows(tape, row_at(tape, int(window.ts_ns[inner])))
    for name in ("price_ticks", "qty_lots", "kind"):
        assert np.array_equal(getattr(twice, name), getattr(once, name))


def test_windows_part_the_tape_by_time():
    tape = make_tape(seconds=20)
    edges = equal_windows(tape, 4)
    assert edges[0] == 0
    assert edges[-1] == len(tape)
    spans = [tape.ts_ns[b - 1] - tape.ts_ns[a] for a, b in pairwise(edges)]
    assert max(spans) - min(spans) < 200_000_000
    for edge in edges[1:-1]:
        assert tape.kind[edge - 1] & MORE == 0  # no message is cut


def test_an_emptied_book_has_no_levels():
    tape = tape_of([[(DEPTH[0], 100, 5)], [(DEPTH[0], 100, 0)], [(DEPTH[1], 110, 1)]])
    assert len(opening_rows(tape, 2)) == 0
    assert len(cut(replace(tape), 2, 3)) == 1


def test_a_stretch_of_single_orders_keeps_when_they_came():
    whole = make_tape(20)
    whole = replace(whole, since_ns=np.arange(len(whole), dtype=np.int64))
    row = row_at(whole, int(whole.ts_ns[0]) + 10 * 10**9)
    part = cut(whole, row, len(whole))
    head = len(part) - (len(whole) - row)
    assert head > 0
    assert (part.since_ns[:head] == -1).all()  # before the stretch began
    assert (part.since_ns[head:] == whole.since_ns[row:]).all()
