"""A breaker fires at the first event at which its condition holds: against a referee who shares no code with it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

import marketmakerl as mml
from marketmakerl.backtesting.layout import Status
from marketmakerl.risk.breakers import note_answer, trip
from marketmakerl.risk.reasons import Control, Reason
from marketmakerl.risk.state import HALTED, REDUCING
from oracles.risk import EXECUTIONS, REJECTS, STOP, TARGET, TIME, ZOMBIE, Case, Referee
from risk.test_overlays_on_ticks import snapshot
from risky_markets import (
    CANCEL,
    INSTRUMENTS,
    KINDS,
    LOT_WORTH,
    MIDNIGHT,
    MS,
    OFF,
    SOLD,
    Played,
    S,
    examples,
    leaning,
    market,
    play,
)

CLOCKS = ({"quote_on": "all"}, {"quote_interval_ns": 100 * MS}, {"quote_on": "trade", "quote_interval_ns": 700 * MS})
MONEY = ("soft_drawdown_pct", "hard_drawdown_pct", "daily_loss_pct", "concentration_pct", "stop_loss_pct",
         "take_profit_pct")  # fmt: skip


def draw_limits(rng: random.Random) -> mml.RiskLimits:
    """Some limits of money, so small that they fire; no round numbers, so that none is met exactly."""
    hard = rng.uniform(0.004, 0.05)
    chosen = {
        "soft_drawdown_pct": hard * rng.uniform(0.2, 0.9),
        "hard_drawdown_pct": hard,
        "daily_loss_pct": rng.uniform(0.003, 0.04),
        "concentration_pct": rng.uniform(0.02, 0.3),
        "stop_loss_pct": rng.uniform(0.002, 0.03),
        "take_profit_pct": rng.uniform(0.002, 0.03),
        "max_holding_s": rng.uniform(1.0, 60.0),
    }
    left = {name: value for name, value in chosen.items() if rng.random() < 0.5}
    return replace(OFF, cooldown_s=rng.choice((0.1, 3.0)), **left)


def draw_options(rng: random.Random, kind: str) -> dict:
    options = dict(rng.choice(CLOCKS))
    options["latency"] = mml.Latency(rng.choice((-5, 0, 0, 40, 900)) * MS, rng.choice((0, 1, 7, 250)) * MS,
                                     rng.choice((0, 1, 11, 400)) * MS)  # fmt: skip
    options["fees"] = mml.Fees(rng.choice((-0.5, 0.0, 2.0)), 5.0)
    options["cash"] = rng.choice((20, 60)) * LOT_WORTH[kind]
    options["order_qty"] = rng.choice((1, 2, 3)) * INSTRUMENTS[kind].lot_size
    if kind != "spot" and rng.random() < 0.4:
        options["initial_inventory"] = rng.choice((-9, 5)) * INSTRUMENTS[kind].lot_size
    return options


def case_of(it: Played, kind: str, limits: mml.RiskLimits, options: dict, cash: float, lots: int, target: int) -> Case:
    instrument, latency = INSTRUMENTS[kind], options.get("latency", mml.Latency())
    sent = {number: order["submitted_ns"] for number, order in it.orders.items()}
    return Case(
        rows=it.rows, fills=[(*fill[:5], sent[fill[5]]) for fill in it.fills], kind=kind, tick=instrument.tick_size,
        lot=instrument.lot_size, contract=instrument.contract_size, cash=cash, lots=lots, target=target,
        feed_offset=latency.feed_offset_ns, response=latency.response_ns, funding=options.get("funding") or [],
        **{ours: value for ours, theirs in (
            ("soft", "soft_drawdown_pct"), ("hard", "hard_drawdown_pct"), ("daily", "daily_loss_pct"),
            ("concentration", "concentration_pct"), ("stop", "stop_loss_pct"), ("target_profit", "take_profit_pct"),
            ("holding_s", "max_holding_s"), ("max_executions", "max_executions"), ("zombie_s", "zombie_order_s"),
            ("max_rejects", "max_rejects"),
        ) if (value := getattr(limits, theirs)) is not None},
        window_s=limits.rate_window_s,
    )  # fmt: skip


def judged(rows, model, kind, limits, options, **told) -> tuple[Played, Referee]:
    it = play(rows, model, kind, spied=False, risk=limits, **options)
    # Before it begins an engine says what it starts from.
    fresh = play(rows[:1], model, kind, spied=False, risk=limits, **options)
    params = fresh.engine._params
    case = case_of(it, kind, limits, options, float(fresh.state.ledger.cash), int(fresh.state.ledger.position_lots),
                   int(params.target_lots))  # fmt: skip
    return it, Referee(replace(case, **told))


def breakers_agree(it: Played, referee: Referee) -> None:
    got = [event for event in it.log if event.after != event.before]
    wanted = referee.breakers
    assert [event[:4] for event in got] == [event[:4] for event in wanted]
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.value == pytest.approx(theirs.value, rel=1e-6, abs=1e-9)


def exits_agree(it: Played, referee: Referee) -> None:
    """The first exit exactly; a holding time at any look from its end on, the next whole second at the latest."""
    got, due = it.named(STOP, TARGET, TIME), referee.due
    assert bool(got) or not due
    if not got:
        return
    held = {(event.ts_ns, event.control): event.value for event in referee.exits}
    for mine in got:  # later ones hold where they were found; the first look of a time that finds one acts
        assert (mine.ts_ns, mine.control) in held
        assert mine.value >= mine.limit
    assert got[0].value == pytest.approx(held[got[0].ts_ns, got[0].control], rel=0.5)
    first = min([event.ts_ns for event in due], default=got[0].ts_ns)
    if got[0].control == TIME:
        assert got[0].ts_ns <= first
    else:
        assert (got[0].ts_ns, got[0].control) == due[0][:2]


shapes = st.fixed_dictionaries({
    "messages": st.integers(20, 120), "jump": st.integers(1, 25), "drift": st.sampled_from([-1.0, -0.5, 0.0, 1.0]),
    "gaps": st.booleans(), "holes": st.booleans(), "ties": st.booleans(),
    "delay": st.sampled_from(["constant", "random", "bursts", "early"]),
})  # fmt: skip


@examples(120)
@given(seed=st.integers(0, 2**32), shape=shapes, kind=st.sampled_from(KINDS))
def test_it_fires_at_the_first_event(seed, shape, kind):
    rng = random.Random(seed)
    limits, options = draw_limits(rng), draw_options(rng, kind)
    model = leaning(rng.choice((0.3, 0.6, 1.2)), rng.choice((0.0, 0.05)), levels=rng.choice((1, 1, 3)))
    rows = market(seed, **shape)
    if kind != "spot" and rng.random() < 0.4:
        times = sorted(rng.sample(range(rows[0][0] - S, rows[-1][0] + S), 3))
        options["funding"] = [(ts, rng.uniform(-0.02, 0.03)) for ts in times]
    it, referee = judged(rows, model, kind, limits, options)
    assume(not referee.unclear or limits.daily_loss_pct is None)
    event(f"breakers: {[e.control for e in referee.breakers]}")
    event(f"exits: {sorted({e.control for e in it.named(STOP, TARGET, TIME)})}")
    breakers_agree(it, referee)
    exits_agree(it, referee)


# --- Counts and waiting ----------------------------------------------------------------------------------------------


def verdicts_of(it: Played) -> list[tuple[int, int, bool, int]]:
    """What the exchange said to each order, if it said anything: accepted where it came to rest, or rejected."""
    told = []
    for number, order in it.orders.items():
        if order["live_ns"] > 0:
            told.append((order["live_ns"], number, True, order["submitted_ns"]))
        elif order["status"] == Status.REJECTED:
            told.append((order["closed_ns"], number, False, order["submitted_ns"]))
    return told


def waits_of(it: Played) -> list[tuple[int, int]]:
    """When each order and each cancel was sent, and when we knew what came of it."""
    response, never = it.engine.latency.response_ns, 1 << 62
    ended = {number: never if o["reason"] in (Reason.END, Reason.IN_FLIGHT) else o["closed_ns"] + response
             for number, o in it.orders.items()}  # fmt: skip
    waits = []
    for number, o in it.orders.items():
        waits.append((o["submitted_ns"], o["live_ns"] + response if o["live_ns"] > 0 else ended[number]))
    return waits + [(sent.ts_ns, ended[sent.order_id]) for sent in it.sent if sent.action == CANCEL]


@examples(50)
@given(seed=st.integers(0, 2**32), shape=shapes, kind=st.sampled_from(KINDS))
def test_executions_rejects_and_zombies_halt_at_once(seed, shape, kind):
    rng = random.Random(seed)
    options = draw_options(rng, kind)
    limits = OFF
    if rng.random() < 0.6:
        limits = replace(limits, max_executions=rng.randint(1, 12), rate_window_s=rng.choice((0.5, 4.0, 30.0)))
    if rng.random() < 0.6:
        limits = replace(limits, max_rejects=rng.randint(1, 5))
        band = rng.choice((1.0, 1.0005, 1.002))
        options["venue"] = mml.VenueRules(price_band_up=band, price_band_down=1 / band)
    if rng.random() < 0.5:
        limits = replace(limits, zombie_order_s=rng.choice((0.4, 1.3, 2.0)))
        options["latency"] = mml.Latency(0, rng.choice((100, 800, 1500)) * MS, rng.choice((100, 700, 60_000)) * MS)
    if limits == OFF:
        limits = replace(OFF, max_executions=1)
    rows = market(seed, **shape)
    model = leaning(rng.choice((0.3, 1.2)), levels=rng.choice((1, 2)))
    it = play(rows, model, kind, risk=limits, **options)
    fresh = play(rows[:1], model, kind, risk=limits, **options)
    case = case_of(it, kind, limits, options, float(fresh.state.ledger.cash), int(fresh.state.ledger.position_lots),
                   int(fresh.engine._params.target_lots))  # fmt: skip
    referee = Referee(replace(case, verdicts=verdicts_of(it), unanswered=waits_of(it)))
    event(f"breakers: {[e.control for e in referee.breakers]}")
    breakers_agree(it, referee)


def test_each_of_them_does_halt():
    rows = market(3, messages=150)
    for limits, control, options in (
        (replace(OFF, max_executions=3), EXECUTIONS, {}),
        (replace(OFF, max_rejects=3), REJECTS, {"venue": mml.VenueRules(price_band_up=1.0, price_band_down=1.0)}),
        (replace(OFF, zombie_order_s=300.0), ZOMBIE, {"latency": mml.Latency(0, 0, 400 * S)}),
    ):
        long = [*rows, *[(rows[-1][0] + i * S, rows[-1][0] + i * S, 5, 1, int(SOLD)) for i in range(1, 320)]]
        it = play(long, leaning(), risk=limits, spied=False, **options)
        assert [event_.control for event_ in it.log] == [control]
        assert it.state.risk.breaker == 2
        assert not play(long, leaning(), risk=replace(OFF, soft_drawdown_pct=0.99), spied=False, **options).log


def test_rejects_in_a_row_are_followed_by_silence():
    rows = market(3, messages=150)
    venue = mml.VenueRules(price_band_up=1.0, price_band_down=1.0)  # takes no price but the mid
    run = {"venue": venue, "latency": mml.Latency(0, 5 * MS, 3 * MS), "quote_interval_ns": 100 * MS}
    limits = replace(OFF, reject_pause_after=4, reject_pause_s=3.0)
    it = play(rows, leaning(), risk=limits, **run)
    told = sorted(order["closed_ns"] + 3 * MS for order in it.rejected)
    assert len(told) >= 8
    sent = [request.ts_ns for request in it.sent]
    for number, at in enumerate(told):
        if number >= 3:
            assert not [ts for ts in sent if at < ts < at + 3 * S]
    assert [ts for ts in sent if ts >= told[3] + 3 * S]
    assert it.state.counts.suppressed[Reason.REJECTS] > 0
    assert len(play(rows, leaning(), **run).rejected) > 3 * len(told)


def test_a_halt_is_final():
    """However the market comes back, or goes on: one way, and never back."""
    for seed in range(8):
        for drift in (-1.0, 1.0):
            rows = market(seed, messages=80, jump=20, drift=drift)
            limits = replace(OFF, soft_drawdown_pct=0.001, hard_drawdown_pct=0.004, daily_loss_pct=0.003,
                             concentration_pct=0.05, price_collar_pct=0.0001)  # fmt: skip
            it = play(rows, leaning(0.3), spied=False, risk=limits, quote_interval_ns=100 * MS)
            states = [event_.after for event_ in it.log]
            assert states == sorted(states)
            assert len(states) == len(set(states))
    state = it.state
    state.risk.breaker = HALTED
    assert not trip(state.risk, 1, int(Control.SOFT_DRAWDOWN), REDUCING, 1.0, 1.0)
    assert not trip(state.risk, 1, int(Control.DAILY_LOSS), HALTED, 1.0, 1.0)
    assert state.risk.breaker == HALTED


def test_an_accepted_order_ends_a_row_of_rejects():
    engine = play(market(3, messages=1), leaning(), risk=replace(OFF, max_rejects=3), spied=False).engine
    risk = replace(OFF, max_rejects=3).record()
    told = [True, True, False, True, True, False, True, True, True]
    halts = [bool(note_answer(engine.state.risk, risk, 1, rejected)) for rejected in told]
    assert halts == [False] * 8 + [True]


def test_reducing_widens_and_shrinks():
    rows = market(3, messages=30, jump=1)
    limits = replace(OFF, concentration_pct=0.05, risk_off_scale=0.5, risk_off_widen=2.0)
    run = {"initial_inventory": 5.0, "target_inventory": 0.0, "order_qty": 1.0}
    it, free = (play(rows, leaning(5.0), risk=r, **run) for r in (limits, OFF))
    bids = [next(s for s in one.sent if s.side == 1) for one in (it, free)]
    assert [s.qty_lots for s in bids] == [2, 4]
    assert 2000.5 - bids[0].price_ticks == pytest.approx(2 * (2000.5 - bids[1].price_ticks), abs=1.0)


def test_what_a_run_opens_with_is_looked_at_when_it_is_first_seen():
    rows = snapshot(MIDNIGHT + S + 7, 2000, late=40 * MS) + snapshot(MIDNIGHT + 4 * S, 2000)
    it = play(rows, leaning(30.0), risk=replace(OFF, concentration_pct=0.1), initial_inventory=5.0)
    assert [event_.ts_ns for event_ in it.log] == [MIDNIGHT + S + 7 + 40 * MS]


def test_a_fall_under_way_when_a_fill_is_reported_is_looked_at_when_it_comes():
    """Nothing was held when the exchange sent it; when it arrives, a lot is."""
    late, start = 900 * MS, MIDNIGHT + S
    trade = [(start + 2 * S, start + 2 * S + late, 1990, 40, int(SOLD))]
    rows = [*snapshot(start, 2000, late=late), *trade, *snapshot(start + 2 * S + MS, 1900, late=late),
            *snapshot(start + 6 * S, 1900, late=late)]  # fmt: skip
    for limits in ({"stop_loss_pct": 0.01}, {"hard_drawdown_pct": 0.01}, {"daily_loss_pct": 0.01}):
        it = play(rows, leaning(1.0), risk=replace(OFF, **limits), order_qty=3.0, latency=mml.Latency(0, MS, 3 * MS))
        assert it.fills[0][0] == start + 2 * S
        assert it.log[0].ts_ns == start + 2 * S + MS + late


def test_a_peak_between_two_looks_counts():
    """A tick up, less than would be looked at, and then down: the fall is measured from there, and found at once."""
    start = MIDNIGHT + S
    steps = ((0, 2000), (300, 2000), (1200, 2001), (1300, 1901), (5000, 1901))
    rows = [row for ms, price in steps for row in snapshot(start + ms * MS, price)]
    # Four units: 2 a tick, of 10,000. The limit is 99.75 ticks below the peak.
    it = play(rows, leaning(60.0), risk=replace(OFF, hard_drawdown_pct=0.01995), initial_inventory=4.0)
    assert [event_.ts_ns for event_ in it.log] == [start + 1301 * MS]
    assert it.log[0].value == pytest.approx(0.02)
