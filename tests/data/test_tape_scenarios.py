"""Scenarios on tapes: the book of the new tape is the old one's, moved, at every moment, and nothing before changes."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import marketmakerl as mml
from market_tapes import quote_rows, tape_of
from marketmakerl.core.errors import ConfigError, DataFormatError, UnknownNameError
from marketmakerl.data.bars import compile_bars
from marketmakerl.data.crossed_kernel import crossed_rows
from marketmakerl.data.market import synthetic_market
from marketmakerl.data.message_flood import peak_messages
from marketmakerl.data.quality import check_klines
from marketmakerl.data.tape import COLUMNS, MORE, EventTape, Kind
from marketmakerl.data.tape_scenarios import (
    NOTE,
    TAPE_SCENARIOS,
    FeedLoss,
    FeedOutage,
    FlashCrash,
    Gap,
    MessageFlood,
    ThinBook,
    Trend,
    median_spread_ticks,
    tape_scenario,
)
from marketmakerl.data.tick_checks import check_ticks
from oracles.tick_engine import Params, run
from tick_tapes import make_tape

S = 10**9
START = 1_700_000_000 * S
SPACING = 100_000_000
DEPTH = {Kind.DEPTH_BID: 1, Kind.DEPTH_ASK: -1}
BBO = {Kind.BBO_BID: 1, Kind.BBO_ASK: -1}
ON_TICKS = tuple(TAPE_SCENARIOS)
ON_BARS = tuple(name for name in TAPE_SCENARIOS if name not in {"feed_outage", "message_flood"})


def drawn_tape(seed: int, messages: int = 120, mid: int = 5_000) -> EventTape:  # noqa: C901  (a chance a message)
    """Return a tape of snapshots, diffs, best quotes and trades whose book is never crossed; now and then a gap."""
    rng = random.Random(seed)
    with_snapshots, with_gaps = rng.random() < 0.7, rng.random() < 0.5
    book: dict[int, dict[int, int]] = {1: {}, -1: {}}
    rows, ts, unknown = [], START, False

    def message(*parts):
        for i, (kind, price, qty) in enumerate(parts):
            rows.append((ts, int(kind) | (MORE if i + 1 < len(parts) else 0), price, qty))

    for i in range(messages):
        ts += rng.randrange(1, 2 * SPACING)
        mid += rng.randrange(-3, 4)
        choice = rng.random()
        if (i == 0 or choice < 0.05 or unknown) and with_snapshots:
            for side in (1, -1):
                ticks = rng.sample(range(1, 30), rng.randrange(1, 8))
                book[side] = {mid - side * away: rng.randrange(1, 99) for away in ticks}
            shown = [(kind, p, q) for kind, side in DEPTH.items() for p, q in book[side].items()]
            message((Kind.SNAPSHOT, 0, 0), *rng.sample(shown, len(shown)))
            unknown = False
        elif choice < 0.1 and with_gaps and with_snapshots:
            message((Kind.GAP, 0, 0))
            unknown = True
        elif choice < 0.3:
            side = rng.choice((1, -1))
            price = mid - side * rng.randrange(0, 5)
            message((rng.choice((Kind.TRADE, Kind.TRADE_SELL if side > 0 else Kind.TRADE_BUY)), price, 7))
        else:
            shown = [(kind, p, 0) for kind, side in DEPTH.items() for p in book[side] if side * (mid - p) < 1]
            for kind, side in DEPTH.items():
                for _ in range(rng.randrange(3)):
                    price = mid - side * rng.randrange(1, 40)
                    shown.append((kind, price, rng.choice((0, 5, 50, 500))))
            shown = list({(kind, p): (kind, p, q) for kind, p, q in shown}.values())
            if shown:
                message(*shown)
            for kind, p, q in shown:
                book[DEPTH[kind]].pop(p, None)
                if q:
                    book[DEPTH[kind]][p] = q
    tape = tape_of(rows)
    return replace(tape, local_ts_ns=tape.ts_ns + 3_000_000)


Book = dict[int, dict[int, int]]


def books(tape: EventTape, at: list[int]) -> list[Book | None]:
    """Return the book after everything of each time, None where nothing is known: one dict a side."""
    depth_seen = bool(np.isin(tape.kind & ~MORE, list(DEPTH)).any())
    columns = (tape.ts_ns, tape.kind & ~MORE, tape.price_ticks, tape.qty_lots)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    shown, row, book = [], 0, {1: {}, -1: {}}
    for due in at:
        while row < len(rows) and rows[row][0] <= due:
            book = follow(book, *rows[row][1:], depth_seen=depth_seen)
            row += 1
        shown.append(None if book is None else {side: dict(levels) for side, levels in book.items()})
    return shown


def follow(book: Book | None, kind: int, price: int, qty: int, *, depth_seen: bool) -> Book | None:
    if kind == Kind.GAP:
        return None
    if kind == Kind.SNAPSHOT or (kind in BBO and book is None and not depth_seen):
        book = {1: {}, -1: {}}
    side = DEPTH.get(kind) or BBO.get(kind)
    if book is None or side is None:
        return book
    if kind in BBO:
        for level in [level for level in book[side] if side * level > side * price]:
            del book[side][level]
    book[side].pop(price, None)
    if qty:
        book[side][price] = qty
    return book


def moments(tape: EventTape, n: int = 60) -> list[int]:
    return np.linspace(int(tape.ts_ns[0]), int(tape.ts_ns[-1]), n).astype(np.int64).tolist()


def moved(book, shifts, divisor=1):
    if book is None:
        return None
    return {
        side: {p + shifts[side]: max(1, q // divisor) for p, q in levels.items() if p + shifts[side] >= 1}
        for side, levels in book.items()
    }


def same_columns(one: EventTape, other: EventTape) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)


def check(tape: EventTape, made: EventTape) -> None:
    check_ticks(made)
    if len(crossed_rows(tape)) == 0:
        assert len(crossed_rows(made)) == 0
    assert made.tier == "T2"
    assert made.kind[-1] & MORE == tape.kind[-1] & MORE


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from((-0.2, -0.05, 0.1, 0.2)))
def test_behind_a_gap_the_book_is_the_same_elsewhere(seed, move):
    tape = drawn_tape(seed)
    scenario = Gap(move=move, at=0.5)
    made = scenario.apply(tape)
    check(tape, made)
    start = scenario.start_ns(tape)
    before = [book for book in books(tape, [start - 1]) if book is not None]
    at = moments(tape)
    shift = None
    for ts, old, new in zip(at, books(tape, at), books(made, at), strict=True):
        if ts < start:
            assert new == old
        elif old is not None:
            if shift is None:
                (shift,) = {min(new[1], default=0) - min(old[1], default=0) or min(new[-1]) - min(old[-1])}
            assert new == moved(old, {1: shift, -1: shift})
        else:
            assert new is None
    if before and before[0][1] and before[0][-1]:
        mid = (max(before[0][1]) + min(before[0][-1])) / 2
        assert shift is None or shift == pytest.approx(move * mid, abs=0.51)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_a_thin_book_is_wider_and_thinner_and_then_as_it_was(seed):
    tape = drawn_tape(seed)
    scenario = ThinBook(at=0.3, until=0.7)
    made = scenario.apply(tape)
    check(tape, made)
    first, last = int(tape.ts_ns[0]), int(tape.ts_ns[-1])
    start, end = (first + round((last - first) * share) for share in (0.3, 0.7))
    wider = round(9 * median_spread_ticks(tape, start, end))
    assert wider > 0
    at = moments(tape)
    for ts, old, new in zip(at, books(tape, at), books(made, at), strict=True):
        if start <= ts < end:
            assert new == moved(old, {1: -(wider // 2), -1: wider - wider // 2}, 10)
        else:
            assert new == old


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from((Trend(move=-0.2, steps=7), Trend(move=0.3), FlashCrash())))
def test_a_path_moves_both_sides_alike_and_keeps_every_level(seed, scenario):
    tape = drawn_tape(seed)
    if isinstance(scenario, FlashCrash):
        scenario = FlashCrash(fall_s=2.0, recover_s=4.0, step_s=0.5, at=0.2)
    made = scenario.apply(tape)
    check(tape, made)
    at = moments(tape)
    shifts = []
    for old, new in zip(books(tape, at), books(made, at), strict=True):
        assert (old is None) == (new is None)
        if old is None or not old[1]:
            continue
        shifts.append(min(new[1]) - min(old[1]))
        assert new == moved(old, {1: shifts[-1], -1: shifts[-1]})
    if isinstance(scenario, FlashCrash):
        assert min(shifts) < -300
        assert shifts[0] == shifts[-1] == 0
    else:
        assert sorted(shifts, reverse=scenario.move < 0) == shifts


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_a_lost_feed_is_a_gap_and_then_the_book_of_the_moment(seed):
    tape = drawn_tape(seed)
    scenario = FeedLoss(outage_s=3.0, at=0.4)
    made = scenario.apply(tape)
    check(tape, made)
    start = scenario.start_ns(tape)
    at = moments(tape)
    for ts, old, new in zip(at, books(tape, at), books(made, at), strict=True):
        assert new == (None if start <= ts < start + 3 * S else old)
    inside = (made.ts_ns >= start) & (made.ts_ns < start + 3 * S)
    assert made.kind[inside].tolist() == [Kind.GAP]


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from((Gap(move=0.1, at=0.5), FeedLoss(outage_s=2.0, at=0.5))))
def test_what_is_known_of_the_book_is_what_was_known(seed, scenario):
    tape = drawn_tape(seed)
    made = scenario.apply(tape)
    old, new = (
        run(list(zip(*(getattr(t, name).tolist() for name in COLUMNS), strict=True)), [], Params())
        for t in (tape, made)
    )
    shift = 0
    for side in (1, -1):
        shift = min(new.book[side], default=shift) - min(old.book[side], default=0) if old.book[side] else shift
    for side in (1, -1):
        if old.known[side] == -math.inf:
            assert new.known[side] in (-math.inf, 1 if side > 0 else 1 - 2**40)
        else:
            assert new.known[side] == old.known[side] + side * shift


def test_a_worst_level_that_has_gone_still_says_how_far_the_book_is_known():
    rows = [
        (START, int(Kind.SNAPSHOT) | MORE, 0, 0),
        *((START, int(Kind.DEPTH_BID) | MORE, price, 5) for price in (90, 100)),
        *((START, int(Kind.DEPTH_ASK) | MORE, price, 5) for price in (112, 102)),
        (START, int(Kind.DEPTH_ASK), 103, 5),
        (START + S, int(Kind.DEPTH_BID) | MORE, 90, 0),
        (START + S, int(Kind.DEPTH_BID) | MORE, 80, 7),  # beyond what is known
        (START + S, int(Kind.DEPTH_ASK), 112, 0),
        (START + 4 * S, int(Kind.TRADE), 100, 1),
    ]
    tape = tape_of(rows)
    made = Gap(move=0.5, at=0.5).apply(tape)
    new = run(list(zip(*(getattr(made, name).tolist() for name in COLUMNS), strict=True)), [], Params())
    shift = round(0.5 * 101)
    assert new.known == {1: 90 + shift, -1: -(112 + shift)}
    assert new.book == {1: {100 + shift: 5, 80 + shift: 7}, -1: {102 + shift: 5, 103 + shift: 5}}


def test_a_late_feed_changes_when_we_hear_and_nothing_else():
    tape = drawn_tape(3, 300)
    scenario = FeedOutage(outage_s=5.0, at=0.4)
    made = scenario.apply(tape)
    check(tape, made)
    start = scenario.start_ns(tape)
    late = (tape.local_ts_ns >= start) & (tape.local_ts_ns < start + 5 * S)
    assert late.sum() > 20
    assert (made.local_ts_ns[late] == start + 5 * S).all()
    assert same_columns(replace(made, local_ts_ns=tape.local_ts_ns), tape)
    assert (made.local_ts_ns[~late] == tape.local_ts_ns[~late]).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_flood_says_nothing_new_at_twice_the_rate_of_the_busiest_second(seed):
    tape = drawn_tape(seed, 600)
    scenario = MessageFlood(stretch_s=10.0, at=0.2)
    made = scenario.apply(tape)
    check(tape, made)
    start = scenario.start_ns(tape)
    ends = made.ts_ns[(made.kind & MORE) == 0]
    for second in range(10):
        inside = (ends >= start + second * S) & (ends < start + (second + 1) * S)
        assert inside.sum() >= 2 * peak_messages(tape), second
    depth = np.isin(tape.kind & ~MORE, list(DEPTH))
    alone = np.isin(made.kind & ~MORE, list(DEPTH)) & (made.price_ticks < tape.price_ticks[depth].min())
    assert same_columns(replace(made, **{name: getattr(made, name)[~alone] for name in COLUMNS}), tape)
    assert len(set(made.price_ticks[alone].tolist())) == 1
    assert made.qty_lots[alone].tolist() == [1, 0] * (alone.sum() // 2)


def test_best_quotes_alone_are_moved_and_flooded_too():
    rng = np.random.default_rng(0)
    ts = START + np.arange(400) * SPACING
    tape = tape_of(quote_rows(ts, 20_001 + 2 * np.cumsum(rng.integers(-2, 3, 400)), 3))
    at = moments(tape)
    for scenario, shifts in ((Gap(move=0.1, at=0.5), {1: 1000, -1: 1000}), (ThinBook(at=0.5, until=1), None)):
        made = scenario.apply(tape)
        check(tape, made)
        assert not np.isin(made.kind & ~MORE, (Kind.SNAPSHOT, *DEPTH)).any()
        switch = made.kind[made.ts_ns == scenario.start_ns(tape)] & ~MORE
        assert switch.tolist() == [Kind.BBO_ASK, Kind.BBO_BID]  # the side that gives way goes first
        for t, old, new in zip(at, books(tape, at), books(made, at), strict=True):
            bid, ask = max(old[1]), min(old[-1])
            if t >= scenario.start_ns(tape) and shifts:
                assert max(new[1]) - bid == min(new[-1]) - ask
                assert max(new[1]) - bid == pytest.approx(1000, rel=0.01)
            elif t >= scenario.start_ns(tape):
                assert min(new[-1]) - max(new[1]) == pytest.approx(10 * (ask - bid), rel=0.35)
                assert new[1][max(new[1])] == 1
            else:
                assert (max(new[1]), min(new[-1])) == (bid, ask)
    made = MessageFlood(stretch_s=5.0, at=0.5).apply(tape)
    check(tape, made)
    start = MessageFlood(at=0.5).start_ns(tape)
    inside = (made.ts_ns >= start) & (made.ts_ns < start + 5 * S) & ((made.kind & MORE) == 0)
    assert inside.sum() >= 5 * 2 * peak_messages(tape)
    for old, new in zip(books(tape, at), books(made, at), strict=True):
        assert (max(new[1]), min(new[-1])) == (max(old[1]), min(old[-1]))


@pytest.mark.parametrize("name", ON_TICKS)
def test_every_scenario_leaves_what_was_before_and_says_what_it_is(name):
    tape = make_tape(40)
    scenario = tape_scenario(name).starting(0.5)
    made = scenario.apply(tape)
    check(tape, made)
    assert made.meta[NOTE]["id"] == name
    assert made.meta["source"] == f"made up, scenario {name}"
    cut = int(np.searchsorted(tape.ts_ns, scenario.start_ns(tape)))
    assert same_columns(made.slice_rows(0, cut - 1), tape.slice_rows(0, cut - 1))
    assert not same_columns(made, tape)


def test_a_scenario_that_moves_nothing_gives_the_same_bytes():
    tape, bars = make_tape(20), synthetic_market(300, 1).tape
    for scenario in (Gap(move=0.0), Trend(move=0.0), FlashCrash(move=0.0), ThinBook(spread_factor=1, depth_divisor=1)):
        assert same_columns(scenario.apply(tape), tape)
        assert same_columns(scenario.apply(bars), bars)


def test_a_result_of_a_scenario_passes_no_gate():
    from marketmakerl.validation.gates import research_checks

    tape = replace(make_tape(30), meta=make_tape(30).meta | {"tier": "T1"})
    made = Gap().apply(tape)
    options = {"fees": mml.Fees(0, 0), "order_qty": 0.01, "cash": 1e5, "quote_interval_ns": S}
    results = [mml.backtest(t, mml.Symmetric(0.5), **options) for t in (tape, made)]
    verdicts = [
        {check.name: check.passed for check in research_checks(result.metrics.model_dump(), result.tier)}
        for result in results
    ]
    assert [verdict["data_tier"] for verdict in verdicts] == [True, False]
    indicative = replace(tape, meta=tape.meta | {"tier": "T0"})
    assert Gap().apply(indicative).tier == "T0"


def test_a_resting_order_in_the_way_of_a_gap_is_filled_at_its_limit():
    tape = make_tape(40)
    script = mml.backtest(
        Gap(move=-0.1, at=0.5).apply(tape), mml.Symmetric(2.0), fees=mml.Fees(0, 0), order_qty=0.01, cash=1e5,
        risk=mml.RiskLimits.off(), quote_interval_ns=S,
    )  # fmt: skip
    fills = script.fills
    jumped = fills[(fills["side"] == 1) & (fills["price"] > fills["mid"].min() * 1.05)]
    last = jumped.iloc[-1]
    assert script.equity["mid"].iloc[-1] < 0.92 * last["price"]  # bought there, and the market is far below


def test_levels_without_a_price_are_left_out_and_a_best_price_without_one_is_refused():
    rows = [
        (START, int(Kind.SNAPSHOT) | MORE, 0, 0),
        (START, int(Kind.DEPTH_BID) | MORE, 2, 5),
        (START, int(Kind.DEPTH_BID) | MORE, 100, 5),
        (START, int(Kind.DEPTH_ASK), 102, 5),
        (START + S, int(Kind.DEPTH_ASK) | MORE, 104, 5),
        (START + S, int(Kind.DEPTH_BID), 3, 9),  # the message's last row has no price after the fall
        (START + 2 * S, int(Kind.DEPTH_BID), 3, 0),
    ]
    tape = tape_of(rows)
    made = Gap(move=-0.5, at=0.25).apply(tape)
    check(tape, made)
    assert books(made, [START + S, START + 2 * S]) == [{1: {50: 5}, -1: {52: 5, 54: 5}}] * 2  # half of 101, to even
    with pytest.raises(ConfigError, match="below one tick"):
        Gap(move=-0.999, at=0.25).apply(tape)
    with pytest.raises(ConfigError, match="below one tick"):
        Gap(move=-0.99999).apply(synthetic_market(50, 1).tape)


# -- bars


def frame_of(tape: EventTape) -> pd.DataFrame:
    kinds = {"open": Kind.BAR_OPEN, "low": Kind.BAR_LOW, "high": Kind.BAR_HIGH, "close": Kind.BAR_CLOSE}
    columns = {name: tape.price_ticks[tape.kind == kind] * tape.instrument.tick_size for name, kind in kinds.items()}
    volume = tape.qty_lots[tape.kind == Kind.BAR_CLOSE] * tape.instrument.lot_size
    return pd.DataFrame({"ts_ms": tape.ts_ns[tape.kind == Kind.BAR_OPEN] // 10**6, **columns, "volume": volume})


@pytest.mark.parametrize("name", ON_BARS)
@pytest.mark.parametrize("at", [0.0, 0.5, 0.99])
def test_bars_of_a_scenario_are_bars(name, at):
    bars = synthetic_market(400, 3).tape
    made = tape_scenario(name).starting(at).apply(bars)
    report = check_klines(frame_of(made), 60_000, bars.instrument)
    report.raise_on_error(name)
    again = compile_bars(frame_of(made), bars.instrument, interval_ms=60_000)
    for column in ("ts_ns", "price_ticks", "kind"):
        assert np.array_equal(getattr(again, column), getattr(made, column)), column
    assert made.tier == "T2"
    assert made.is_bars


def test_the_prices_of_bars_move_as_told():
    bars = synthetic_market(400, 3).tape
    old = frame_of(bars)

    def change(scenario):
        return (frame_of(scenario.apply(bars))["close"] / old["close"] - 1).to_numpy()

    gap = change(Gap(move=0.2, at=0.5))
    assert (gap[:199] == 0).all()
    assert gap[201:] == pytest.approx(0.2, abs=0.01)
    trend = change(Trend(move=-0.2, at=0.5))
    assert trend[-1] == pytest.approx(-0.2, abs=0.01)
    assert trend[300] == pytest.approx(-0.1, abs=0.01)
    made = frame_of(FlashCrash(at=0.5).apply(bars))
    crash = (made["close"] / old["close"] - 1).to_numpy()
    assert int(crash.argmin()) == 200
    assert crash[200] == pytest.approx(-0.1, abs=0.003)
    assert (crash[206:] == 0).all()
    assert made["open"][200] == old["open"][200]  # it opens where it was
    long = frame_of(FlashCrash(at=0.5, fall_s=90.0).apply(bars))  # the trough lies within a bar
    assert long["low"][201] == pytest.approx(0.9 * old["low"][201], rel=0.003)


def test_thin_bars_reach_further_and_trade_less():
    bars = synthetic_market(400, 3).tape
    old, new = frame_of(bars), frame_of(ThinBook(at=0.25, until=0.75, bar_spread_bps=4.0).apply(bars))
    inside = slice(110, 290)
    out = 9 * 4e-4 / 2 * old["close"][99]
    assert (new["high"] - old["high"])[inside].to_numpy() == pytest.approx(out, rel=0.01)
    assert (old["low"] - new["low"])[inside].to_numpy() == pytest.approx(out, rel=0.01)
    assert new["volume"][inside].to_numpy() == pytest.approx(old["volume"][inside] / 10, abs=0.001)
    assert np.abs(new["close"] - old["close"])[inside].to_numpy() == pytest.approx(out, rel=0.01)
    for part in (slice(0, 100), slice(301, 400)):
        assert (new[part] == old[part]).all(axis=None)


def test_lost_bars_leave_a_gap():
    bars = synthetic_market(400, 3).tape
    made = FeedLoss(outage_s=180.0, at=0.5).apply(bars)
    assert len(frame_of(made)) == 397
    assert (made.kind == Kind.GAP).sum() == made.meta["gaps"] == 1
    assert (FeedLoss(outage_s=5.0, at=0.5).apply(bars).kind == Kind.GAP).sum() == 1
    assert (FeedLoss(outage_s=60.0, at=0.2).apply(made).kind == Kind.GAP).sum() == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gap(at=1.0), "at must be"),
        (lambda: Gap(move=-1.0), "move must be"),
        (lambda: Trend(steps=0), "steps must be"),
        (lambda: FlashCrash(step_s=1e-9), "step_s must be"),
        (lambda: FlashCrash(fall_s=float("nan")), "fall_s must be"),
        (lambda: ThinBook(until=0.1), "until must be"),
        (lambda: ThinBook(depth_divisor=0), "depth_divisor must be"),
        (lambda: FeedOutage(outage_s=0), "outage_s must be"),
        (lambda: MessageFlood(factor=0.5), "factor must be"),
        (lambda: FeedOutage().apply(synthetic_market(10, 0).tape), "feed_outage: a bar is known at its close"),
        (lambda: MessageFlood().apply(synthetic_market(10, 0).tape), "message_flood: bars carry no messages"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_what_is_no_tape_for_a_scenario_is_refused():
    tape = make_tape(20)
    with pytest.raises(DataFormatError, match="holds events"):
        Gap().apply(tape.slice_rows(0, 0))
    one_sided = tape_of([(START + i, int(Kind.BBO_BID), 100, 1) for i in range(9)])
    with pytest.raises(DataFormatError, match="never shows a bid and an ask"):
        Gap().apply(one_sided)
    with pytest.raises(DataFormatError, match="no bid and ask at once"):
        ThinBook().apply(one_sided)
    with pytest.raises(UnknownNameError, match="gap_down_10"):
        tape_scenario("gap_down_11")
