"""The compiled tick engine against a slow one that shares no code with it: everything equal in ticks and lots.

Prices lie within a dozen ticks and quantities within six lots, times come in ties: whatever can meet does.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from backtesting.test_tick_oracle_by_hand import by_engine, by_oracle, open_engine, played, tape_of
from marketmakerl.data.tape import MORE, Kind
from oracles.tick_engine import Params
from oracles.tick_venue import VenueParams
from searches import many

T0 = 1_700_000_000_000_000_000
TICK, LOT = Fraction(1, 2), Fraction(1, 4)
WINDOW = 64  # ticks of book in fast memory: a jump leaves it
QUEUES = ("risk_averse", "log", "log2", "power", "power2", "front", "fifo")
# both: depth and best prices, no snapshots, no gaps; deep: depth that wanders away from its few snapshots.
FEEDS = ("depth", "bbo", "snapshots", "mixed", "both", "deep")
DEPTHS, BESTS = (Kind.DEPTH_BID, Kind.DEPTH_ASK), (Kind.BBO_BID, Kind.BBO_ASK)
TRADES = (Kind.TRADE_SELL, Kind.TRADE_BUY, Kind.TRADE)


@dataclass
class Shape:
    messages: int
    feed: str
    spread: int  # half the width of the prices, in ticks
    pace: int  # how often time moves on, 0..4
    jumps: bool
    gaps: bool
    actions: float  # chance of one, a message
    low: bool = False  # prices reach down to 1 tick


class Market:
    """Draws messages around a centre that wanders and, where it may, jumps."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        self.rng, self.shape, self.centre = rng, shape, 4 if shape.low else 100
        self.least = 2 if shape.low else 30
        self.drift = rng.choice((-1, 0, 1)) if shape.feed == "deep" else 0
        self.shown: dict[int, set[int]] = {0: set(), 1: set()}  # levels of the book, by side
        self.ts = self.local = self.action_ns = T0
        self.rows: list[tuple] = []
        self.script: list[tuple] = []
        self.sent = 0

    def near(self, shift: int = 0) -> int:
        return max(1, self.centre + shift + self.rng.randint(-self.shape.spread, self.shape.spread))

    def tick(self) -> None:
        rng = self.rng
        self.ts += rng.choice((0, 0, 0, 1, 2, 3, 7)[4 - self.shape.pace :])
        self.centre = max(self.least, self.centre + rng.choice((-1, 0, 0, self.drift, 1)))
        if self.shape.jumps and rng.random() < 0.05:
            self.centre = rng.choice((self.least, 100, 100, 90, 131, 170, 400, 3_000, 70_000, self.centre + 33))

    def message(self) -> None:
        rng, feed = self.rng, self.shape.feed
        draw = rng.random()
        if self.shape.gaps and draw < 0.05:
            self.put([(0, 0, Kind.GAP)])
        elif draw < 0.45:
            kind = rng.choice((*TRADES, *TRADES[:2]))
            self.put([(self.near(), rng.randint(1, 6), kind) for _ in range(rng.choice((1, 1, 1, 2, 3)))])
        elif feed == "snapshots" or (feed == "mixed" and draw < 0.6) or (feed == "deep" and draw < 0.48):
            self.snapshot()
        elif feed != "bbo" and draw > 0.93:
            self.move()
        elif feed == "bbo" or (feed in ("mixed", "both", "deep") and draw < (0.52 if feed == "deep" else 0.7)):
            self.put([(self.level(side, BESTS, rng.randint(1, 6))) for side in rng.choice(((0,), (1,), (0, 1)))])
        else:
            levels = [self.level(rng.randint(0, 1), DEPTHS, self.lots()) for _ in range(rng.choice((1, 1, 2, 4)))]
            if rng.random() < 0.1:  # a trade among the rows of one message
                levels.insert(rng.randrange(len(levels) + 1), (self.near(), rng.randint(1, 6), rng.choice(TRADES)))
            self.put(levels)

    def move(self) -> None:
        """One message in which the whole book moves, the rows of either side first, or mixed; a side may stay empty."""
        rng, sides = self.rng, []
        self.centre = max(self.least, self.centre + rng.randint(-2, 2) * self.shape.spread)
        for side in (0, 1):
            gone = [(price, 0, DEPTHS[side]) for price in sorted(self.shown[side]) if rng.random() < 0.9]
            new = [self.level(side, DEPTHS, rng.randint(1, 6)) for _ in range(rng.choice((0, 1, 2, 3)))]
            sides.append(rng.choice((gone + new, new + [row for row in gone if row[0] not in {n[0] for n in new}])))
        rows = rng.choice((sides[0] + sides[1], sides[1] + sides[0]))
        if rng.random() < 0.3:
            rng.shuffle(rows)
        if rows:
            self.put(rows)

    def level(self, side: int, kinds: tuple, lots: int) -> tuple:
        shift = (-1 if side == 0 else 1) * self.rng.choice((0, self.shape.spread, self.shape.spread))
        return self.near(shift), lots, kinds[side]

    def lots(self) -> int:
        return self.rng.choice((0, 0, 1, 2, 3, 4, 5, 6))

    def snapshot(self) -> None:
        rng, levels = self.rng, {}
        for side in (0, 1):
            for _ in range(rng.choice((0, 1, 2, 3, 6))):
                price, lots, kind = self.level(side, DEPTHS, rng.randint(1, 6))
                levels[price, kind] = lots
        rows = [(price, lots, kind) for (price, kind), lots in levels.items()]
        if rng.random() < 0.1:  # says nothing of how deep the snapshot goes
            nothing = self.level(rng.randint(0, 1), DEPTHS, 0)
            rows += [nothing] if (nothing[0], nothing[2]) not in levels else []
        self.shown = {0: set(), 1: set()}
        self.put([(0, 0, Kind.SNAPSHOT), *rows])

    def put(self, rows: list[tuple]) -> None:
        self.local = local = max(self.local, self.ts + self.rng.choice((-2, 0, 1, 4, 9)))  # a tape's never goes back
        for index, (price, lots, kind) in enumerate(rows):
            more = MORE if index + 1 < len(rows) else 0
            self.rows.append((self.ts, local, price, lots, int(kind) | more))
            if kind in DEPTHS:
                (self.shown[int(kind) & 1].add if lots else self.shown[int(kind) & 1].discard)(price)

    def action(self) -> None:
        rng = self.rng
        self.action_ns = max(self.action_ns, self.ts + rng.choice((0, 0, 0, 1, 2, 5)))
        draw = rng.random()
        recent = rng.randint(max(1, self.sent - 5), self.sent) if self.sent else 0
        if recent and draw < 0.2:
            self.script.append(("cancel", self.action_ns, recent))
        elif recent and draw < 0.45:
            self.script.append(("replace", self.action_ns, recent, self.near(), rng.randint(1, 7)))
        else:
            kind = rng.choice(("post_only", "post_only", "limit", "limit", "limit", "ioc", "market"))
            side = rng.choice((1, -1))
            shift = -side * rng.choice((0, self.shape.spread)) if kind != "ioc" else 0
            self.script.append(("submit", self.action_ns, side, self.near(shift), rng.randint(1, 6), kind))
            self.sent += 1

    def draw(self) -> tuple[list[tuple], list[tuple]]:
        if self.rng.random() < 0.5:
            self.snapshot() if self.shape.feed in ("snapshots", "mixed", "deep") else None
        for _ in range(self.shape.messages):
            self.tick()
            if self.shape.gaps and self.shape.feed in ("depth", "mixed", "deep") and self.rng.random() < 0.06:
                self.snapshot()
            else:
                self.message()
            while self.rng.random() < self.shape.actions:
                self.action()
        return self.rows, self.script


def draw_params(rng: random.Random, kind: str, queue: str, latency: str) -> Params:
    points = {
        "none": [(0, 0, 0)],
        "constant": [(0, rng.choice((0, 1, 3, 8)), rng.choice((0, 2, 5, 40)))],
        # Powers of two apart: no rounding on either side of the comparison.
        "series": [(T0 + 16 * i, rng.randint(0, 12), rng.randint(0, 12)) for i in range(rng.randint(2, 6))],
    }[latency]
    spot = kind == "spot"
    return Params(
        kind=kind,
        tick=TICK,
        lot=LOT,
        maker=Fraction(rng.choice((-1, 0, 2)), 10_000),
        taker=Fraction(rng.choice((0, 5, 10)), 10_000),
        cash=Fraction(rng.choice((25, 100, 200, 1_000)) if spot else 10**7),
        lots=rng.randint(0, 12) if spot else rng.choice((0, 0, 0, -5, 7)),
        queue=queue,
        exponent=float(rng.choice((1, 2, 3))),
        latency=points,
        feed_offset=rng.choice((-3, 0, 0, 6)),
    )


seeds = st.integers(0, 2**32)
shapes = st.builds(
    Shape,
    messages=st.integers(5, 120),
    feed=st.sampled_from(FEEDS),
    spread=st.integers(1, 7),
    pace=st.integers(0, 4),
    jumps=st.booleans(),
    gaps=st.booleans(),
    actions=st.sampled_from([0.2, 0.4, 0.6]),
    low=st.booleans(),
)
kinds = st.sampled_from(["linear", "linear", "spot"])
latencies = st.sampled_from(["none", "constant", "series"])


def draw(seed: int, shape: Shape, kind: str, queue: str, latency: str) -> tuple[list[tuple], list[tuple], Params]:
    rng = random.Random(seed)
    params = draw_params(rng, kind, queue, latency)
    rows, script = Market(rng, shape).draw()
    return with_since(rng, rows), script, params


def with_since(rng: random.Random, rows: list[tuple]) -> list[tuple]:
    """Say of every row when its order took its place: any time up to the row's own, or before the tape began."""
    return [(*row, rng.choice((-1, rng.randint(T0, row[0]), row[0]))) for row in rows]


def same(got, wanted) -> None:
    assert got.fills == wanted.fills
    assert got.orders == wanted.orders
    assert got.counts == wanted.counts
    np.testing.assert_allclose(got.fees, wanted.fees, rtol=1e-9)
    assert got.cash == pytest.approx(wanted.cash, rel=1e-9, abs=1e-9)
    assert got.funding == pytest.approx(wanted.funding, rel=1e-9, abs=1e-9)
    assert got.drawdown == pytest.approx(wanted.drawdown, rel=1e-9, abs=1e-9 + 1e-14 * abs(wanted.cash))


@settings(max_examples=many(300, 2_500), deadline=None)
@given(seed=seeds, shape=shapes, kind=kinds, queue=st.sampled_from(QUEUES), latency=latencies)
def test_they_agree(seed, shape, kind, queue, latency):
    rows, script, params = draw(seed, shape, kind, queue, latency)
    wanted = by_oracle(rows, script, params)
    event(f"fills: {min(len(wanted.fills), 10) // 5 * 5}+")
    same(by_engine(rows, script, params, book_window_ticks=WINDOW), wanted)


def draw_rules(rng: random.Random, params: Params, last_ns: int) -> VenueParams:  # noqa: C901  (a chance a rule)
    """Return the same parameters under a venue's rules, any of them; money so scarce that they matter."""
    perpetual, rules = params.kind != "spot", {}
    if params.kind == "inverse":
        rules["contract"] = Fraction(2_500)  # a lot is worth a dozen coins, as one of the others is of quote
    if rng.random() < 0.3:
        rules["min_notional"] = Fraction(rng.choice((20, 30, 45)))
        if params.kind == "inverse":
            rules["min_notional"] *= 50
    if rng.random() < 0.6:
        rules["stp"] = rng.choice(("none", "expire_taker", "expire_maker", "expire_both", "decrement"))
    if rng.random() < 0.3:
        rules["band"] = Fraction(rng.choice((90, 96, 99)), 100), Fraction(rng.choice((101, 104, 110)), 100)
    if rng.random() < 0.4:
        least = sorted(rng.sample((0, 30, 100, 250, 600), rng.randint(1, 3)))
        rules["tiers"] = [(Fraction(n), Fraction(3 - i, 10**4), Fraction(7 - i, 10**4)) for i, n in enumerate(least)]
        rules["volume_start"] = Fraction(rng.choice((0, 0, 60)))
        rules["by_day"] = rng.random() < 0.2
    if perpetual and rng.random() < 0.5:
        times = sorted(rng.sample(range(T0 - 3, max(last_ns, T0 + 20) + 5), rng.randint(1, 5)))
        rules["funding"] = [(ts, Fraction(rng.randint(-40, 60), 1_000)) for ts in times]
    if perpetual and rng.random() < 0.7:
        leverage, rate = rng.choice(((2, 10), (5, 5), (10, 4), (20, 2)))
        first, second = Fraction(rate, 100), Fraction(2 * rate, 100)
        rules["leverage"], rules["cash"] = Fraction(leverage), Fraction(rng.choice((5, 10, 20, 40, 80)))
        rules["brackets"] = [(None, first, Fraction(0))]
        if rng.random() < 0.4:
            rules["brackets"] = [(Fraction(60), first, Fraction(0)), (None, second, 60 * (second - first))]
        rules["liquidation_fee"] = Fraction(rng.choice((0, 50)), 10**4)
    if rng.random() < 0.3:
        times = sorted(rng.sample(range(T0 - 3, max(last_ns, T0 + 20) + 5), 2 * rng.randint(1, 2)))
        rules["rejects"] = list(zip(times[::2], times[1::2], strict=True))
    return VenueParams(**(vars(params) | rules))


venue_kinds = st.sampled_from(["linear", "linear", "inverse", "spot"])


def draw_with_rules(seed: int, shape: Shape, kind: str, queue: str, latency: str):
    rows, script, params = draw(seed, shape, kind, queue, latency)
    rng = random.Random(seed + 1)
    params = draw_rules(rng, params, rows[-1][0])
    if kind != "spot":
        takes = ("ioc", "market")
        script = [
            (*it, "reduce_only") if it[0] == "submit" and it[-1] in takes and rng.random() < 0.4 else it
            for it in script
        ]
    return rows, script, params


@settings(max_examples=many(150, 1_200), deadline=None)
@given(seed=seeds, shape=shapes, kind=venue_kinds, queue=st.sampled_from(QUEUES), latency=latencies)
def test_they_agree_under_the_rules_of_a_venue(seed, shape, kind, queue, latency):
    rows, script, params = draw_with_rules(seed, shape, kind, queue, latency)
    wanted = by_oracle(rows, script, params)
    for reason in {order[2] for order in wanted.orders}:
        event(f"ended by {reason}")
    event(f"self-trades: {min(wanted.counts['self_trades'], 1)}")
    same(by_engine(rows, script, params, book_window_ticks=WINDOW), wanted)


# Small cases that shrink to the rule that is broken.
prices, few = st.integers(97, 103), st.integers(1, 6)
steps = st.sampled_from([0, 0, 1, 3])
levels = st.tuples(prices, st.integers(0, 6), st.sampled_from(DEPTHS))
messages = st.one_of(
    st.lists(levels, min_size=1, max_size=3),
    st.tuples(prices, few, st.sampled_from(TRADES)).map(lambda row: [row]),
    st.tuples(prices, few, st.sampled_from(BESTS)).map(lambda row: [row]),
    st.just([(0, 0, Kind.GAP)]),
    st.lists(st.tuples(prices, few, st.sampled_from(DEPTHS)), max_size=4, unique_by=lambda row: (row[0], row[2])).map(
        lambda rows: [(0, 0, Kind.SNAPSHOT), *rows]
    ),
)
submits = st.tuples(
    st.just("submit"), st.sampled_from([1, -1]), prices, few, st.sampled_from(["post_only", "limit", "ioc", "market"])
)
changes = st.one_of(
    st.tuples(st.just("cancel"), st.integers(1, 4)), st.tuples(st.just("replace"), st.integers(1, 4), prices, few)
)


@settings(max_examples=many(120, 800), deadline=None)
@given(
    tape=st.lists(st.tuples(steps, messages), min_size=1, max_size=12),
    acts=st.lists(st.tuples(steps, st.one_of(submits, submits, changes)), max_size=8),
    queue=st.sampled_from(QUEUES),
    kind=kinds,
    entry=st.sampled_from([0, 2]),
    response=st.sampled_from([0, 2]),
)
def test_they_agree_on_little(tape, acts, queue, kind, entry, response):
    rows, ts = [], T0
    for step, message in tape:
        ts += step
        last = len(message) - 1
        rows += [
            (ts, ts, price, lots, int(k) | (MORE if i < last else 0), max(T0, ts - 2))
            for i, (price, lots, k) in enumerate(message)
        ]
    script, ts, sent = [], T0, 0
    for step, (what, *rest) in acts:
        ts += step
        if what == "submit":
            sent += 1
        elif rest[0] > sent:
            continue  # there is no such order yet
        script.append((what, ts, *rest))
    params = Params(
        kind, TICK, LOT, cash=Fraction(100 if kind == "spot" else 10**6), lots=4 if kind == "spot" else 0,
        queue=queue, latency=[(0, entry, response)],
    )  # fmt: skip
    same(by_engine(rows, script, params, book_window_ticks=WINDOW), by_oracle(rows, script, params))


@settings(max_examples=many(60, 250), deadline=None)
@given(seed=seeds, shape=shapes, kind=venue_kinds, latency=latencies, interval_ns=st.integers(1, 40))
def test_drawdown_does_not_depend_on_when_equity_is_sampled(seed, shape, kind, latency, interval_ns):
    rows, script, params = (draw_with_rules if seed % 2 else draw)(seed, shape, kind, "risk_averse", latency)
    often, never = (
        open_engine(script, params, book_window_ticks=WINDOW, equity_interval_ns=interval)
        for interval in (interval_ns, 10**18)
    )
    for engine in (often, never):
        engine.feed(tape_of(rows, params))
        engine.finish()
    deepest = float(often.state.max_drawdown)
    assert deepest == never.state.max_drawdown == pytest.approx(by_oracle(rows, script, params).drawdown, abs=1e-6)
    sampled = often.samples()["equity"]
    if len(sampled):
        assert np.max(np.maximum.accumulate(sampled) - sampled) <= deepest
        event(f"between samples: {np.max(np.maximum.accumulate(sampled) - sampled) < deepest}")


@settings(max_examples=many(60, 250), deadline=None)
@given(seed=seeds, shape=shapes, kind=venue_kinds, queue=st.sampled_from(QUEUES), latency=latencies)
def test_pieces_of_a_tape_give_the_bytes_of_the_whole(seed, shape, kind, queue, latency):
    rows, script, params = (draw_with_rules if seed % 2 else draw)(seed, shape, kind, queue, latency)
    tape = tape_of(rows, params)
    whole, pieces = (open_engine(script, params, book_window_ticks=WINDOW) for _ in range(2))
    whole.feed(tape)
    cuts = cuts_of(seed, len(rows))
    for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        pieces.feed(tape.slice_rows(first, last))
    assert pieces.snapshot() == whole.snapshot()
    alike_at_the_end(pieces, whole)
    assert pieces.fills().tobytes() == whole.fills().tobytes()
    assert pieces.orders().tobytes() == whole.orders().tobytes()


@settings(max_examples=many(60, 250), deadline=None)
@given(seed=seeds, shape=shapes, kind=venue_kinds, queue=st.sampled_from(QUEUES), latency=latencies)
def test_a_restored_engine_goes_on_as_if_nothing_had_happened(seed, shape, kind, queue, latency):
    rows, script, params = (draw_with_rules if seed % 2 else draw)(seed, shape, kind, queue, latency)
    tape = tape_of(rows, params)
    cut = random.Random(seed).randint(1, len(rows))
    whole, before, after = (open_engine(script, params, book_window_ticks=WINDOW) for _ in range(3))
    whole.feed(tape)
    before.feed(tape.slice_rows(0, cut))
    after.restore(before.snapshot())
    assert after.snapshot() == before.snapshot()
    if cut < len(rows):
        after.feed(tape.slice_rows(cut, len(rows)))
    assert after.snapshot() == whole.snapshot()
    alike_at_the_end(after, whole)
    # What was written before the snapshot stays with the engine that wrote it.
    for name in ("fills", "orders"):
        first, rest, all_of_it = (getattr(engine, name)() for engine in (before, after, whole))
        assert first.tobytes() + rest.tobytes() == all_of_it.tobytes()
    fills, orders = (np.concatenate([getattr(before, name)(), getattr(after, name)()]) for name in ("fills", "orders"))
    same(played(after, fills, orders), by_oracle(rows, script, params))


def cuts_of(seed: int, n: int) -> list[int]:
    rng = random.Random(seed)
    return sorted({rng.randint(1, n - 1) for _ in range(rng.randint(0, 9))}) if n > 1 else []


def alike_at_the_end(one, other) -> None:
    one.finish()
    other.finish()
    assert one.snapshot() == other.snapshot()
    assert one.run_log() == other.run_log()
