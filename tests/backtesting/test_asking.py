"""A model is asked where it may say something new, and everything else is as if it were asked at every wake."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numba import njit

import marketmakerl as mml
from lively_markets import LINEAR, MS, SPOT, lively
from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.exchange.venue import VenueRules
from marketmakerl.models.custom import CustomModel
from searches import many

NEAR = mml.Symmetric(half_spread=0.5)
MODELS = {
    "symmetric": NEAR,
    "avellaneda_stoikov": mml.AvellanedaStoikov(0.05, 1.5, 0.4, None),
    "with a horizon": mml.AvellanedaStoikov(0.05, 1.5, 0.4, 0.7),
    "rolling": mml.AvellanedaStoikov(0.05, 1.5, 0.4, 0.7, rolling=True),
    "glft": mml.GLFT(0.05, 1.5, 0.4, 1.0),
    "closed form": mml.GLFT(0.05, 1.5, 0.4, 1.0, variant="closed_form"),
    "cartea_jaimungal": mml.CarteaJaimungal(1.5, 1.0, 0.01, 0.01, 0.9, 10),
    "rl_enhanced": mml.RLEnhanced("default", 0.05, 1.5, 0.4, 0.9, 10.0),
    "microprice": mml.Skewed(NEAR, "microprice", 1.0),
    "imbalance": mml.Skewed(NEAR, "imbalance", 0.5),
    "ladder": mml.Ladder(NEAR, 3, 1),
    "skewed ladder": mml.Ladder(mml.Skewed(NEAR, "imbalance", 0.5), 2, 2),
}
WHEN: dict[str, dict[str, Any]] = {
    "all": {"quote_on": "all"},
    "depth": {"quote_on": "depth"},
    "trade": {"quote_on": "trade"},
    "response": {"quote_on": "response", "quote_interval_ns": 20 * MS},
    "clock": {"quote_interval_ns": 25 * MS},
    "all and clock": {"quote_on": "all", "quote_interval_ns": 33 * MS},
}
OPEN = mml.RiskLimits(min_edge_bps=None)
LIMITS = (
    mml.RiskLimits.off(),
    OPEN,
    mml.RiskLimits(),
    replace(OPEN, hard_inventory_pct=0.05, soft_inventory_pct=None),
    replace(OPEN, max_orders=5, max_messages=30, rate_window_s=1.0),
    replace(OPEN, stop_loss_pct=0.0005, take_profit_pct=0.001, cooldown_s=0.5, one_sided_fills=2),
    replace(OPEN, soft_drawdown_pct=0.0005, hard_drawdown_pct=0.003, max_spread_bps=30.0),
)
LEVERED = VenueRules(leverage=5.0, maintenance_margin_rate=0.05)
TIERED = VenueRules(fee_tiers=((500.0, 0.5, 3.0),))


def asked_always(model: Any) -> Any:
    """Return a model that says the same, but does not say what it does not look at."""
    slow = copy.copy(model)
    object.__setattr__(slow, "reads_clock", True)
    object.__setattr__(slow, "reads_sizes", True)
    return slow


def options_of(rng: random.Random, when: dict[str, Any]) -> dict[str, Any]:
    latency = mml.Latency(rng.choice((0, 2 * MS, -MS)), rng.choice((0, MS, 7 * MS)), rng.choice((0, MS, 9 * MS)))
    return when | {
        "fees": mml.Fees(rng.choice((-1.0, 0.0, 1.0)), 4.0), "latency": latency, "risk": rng.choice(LIMITS),
        "queue": rng.choice(("risk_averse", "log2", "front")), "requote_threshold_ticks": rng.choice((0, 0, 1, 2)),
        "order_qty": rng.choice((0.25, 0.5)), "cash": rng.choice((400.0, 20_000.0)), "first_price": 500.0,
    }  # fmt: skip


def market_of(rng: random.Random, instrument: mml.Instrument = LINEAR, messages: int = 300, **options: Any) -> Any:
    shape = {"gaps": rng.random() < 0.4, "ties": rng.random() < 0.5, "drift": rng.choice((0, 0, 2, -2))}
    return lively(rng.randrange(1 << 30), messages, instrument=instrument, **shape | options)


def outcome(engine: Engine) -> dict[str, Any]:
    """Return all that a run leaves behind."""
    state = engine.state
    risk = [float(state.risk[name]) for name in ("held_lots", "held_value", "breaker", "exits", "n_events")]
    tables = {name: getattr(engine, name)().tobytes() for name in ("fills", "orders", "samples", "markouts")}
    return tables | {
        "log": engine.run_log(), "suppressed": state.counts.suppressed.tolist(), "events": engine.risk_events(),
        "state": [float(state.ledger.cash), float(state.local.cash), float(state.local.lots), *risk],
    }  # fmt: skip


def run(tape: Any, model: Any, options: dict[str, Any], cuts: tuple[int, ...] = ()) -> Engine:
    engine = Engine(tape.instrument, model, **options)
    for first, last in zip((0, *cuts), (*cuts, len(tape)), strict=True):
        engine.feed(tape.slice_rows(first, last))
    engine.finish()
    return engine


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("name", MODELS)
def test_asking_less_changes_nothing(name, when):
    fills = 0
    # Four markets a pair are 24 a model. One that says wrongly that it looks at no size was caught by 12 of them
    # (microprice), 8 (imbalance) and 4 (skewed ladder).
    for seed in range(12):
        if seed >= many(4, 12) and fills > 5:  # what is compared must have traded
            break
        rng = random.Random(f"{name} {when} {seed}")
        instrument = rng.choice((LINEAR, LINEAR, LINEAR, SPOT))
        options = options_of(rng, WHEN[when])
        if instrument is LINEAR:
            options |= {"venue": rng.choice((None, None, LEVERED, TIERED)), "initial_inventory": rng.choice((0.0, 2.0))}
        tape = market_of(rng, instrument)
        fast, slow = run(tape, MODELS[name], options), run(tape, asked_always(MODELS[name]), options)
        assert outcome(fast) == outcome(slow)
        fills += int(fast.state.ledger.fills)
    assert fills > 5


@pytest.mark.parametrize("when", WHEN)
def test_pieces_are_the_whole(when):
    for seed in range(many(4, 10)):
        rng = random.Random(f"{when} {seed}")
        options, tape, model = options_of(rng, WHEN[when]), market_of(rng), rng.choice(list(MODELS.values()))
        whole = outcome(run(tape, model, options))
        assert outcome(run(tape, model, options, tuple(sorted(rng.sample(range(1, len(tape)), 5))))) == whole
        if seed < 2:
            assert outcome(run(tape, model, options, tuple(range(1, len(tape))))) == whole


@pytest.mark.parametrize("when", WHEN)
def test_a_restored_engine_goes_on(when):
    for seed in range(many(4, 10)):
        rng = random.Random(f"restored {when} {seed}")
        options, tape, model = options_of(rng, WHEN[when]), market_of(rng), rng.choice(list(MODELS.values()))
        cut = rng.randrange(1, len(tape))
        first, second = (Engine(LINEAR, model, **options) for _ in range(2))
        first.feed(tape.slice_rows(0, cut))
        second.restore(first.snapshot())
        for engine in (first, second):
            engine.feed(tape.slice_rows(cut, len(tape)))
            engine.finish()
        assert first.snapshot() == second.snapshot()
        assert first.run_log() == second.run_log()


@njit
def quote_and_count(context, params):
    """The last parameter counts; where asked for, the quotes move with the clock or with what is shown."""
    params[3] += 1.0
    wide = 0.5 if params[1] != 0.0 and (context.ts_ns // 7_000_000) % 3 == 0 else 0.0
    lean = 0.5 if params[2] != 0.0 and context.best_bid_qty > context.best_ask_qty else 0.0
    return params[0] + wide, params[0] + lean


def counted(tape: Any, options: dict[str, Any], **reads: bool) -> tuple[Engine, int]:
    values = [0.5, float(reads.get("reads_clock", True)), float(reads.get("reads_sizes", True)), 0.0]
    engine = Engine(LINEAR, CustomModel(quote_and_count, values, **reads), **options)
    engine.feed(tape)
    engine.finish()
    return engine, int(engine.model_params[3])


PLAIN = {"fees": mml.Fees(1, 4), "order_qty": 0.25, "cash": 20_000.0, "first_price": 500.0, "quote_on": "all"}


@pytest.mark.parametrize("risk", [mml.RiskLimits.off(), OPEN], ids=["off", "on"])
def test_who_reads_the_clock_is_asked_each_time(risk):
    for seed in range(5):
        tape = lively(seed, 400)
        engine, asked = counted(tape, PLAIN | {"risk": risk, "latency": mml.Latency(0, MS, MS)})
        silent = int(engine.state.counts.suppressed.sum()) if risk is OPEN else 0
        decisions = engine.run_log()["decisions"]
        assert decisions - silent <= asked <= 2 * decisions  # asked in the short way, and again in the long one
        assert asked > 300


def test_who_reads_less_is_asked_less():
    tape = lively(3, 2000)
    options = PLAIN | {"risk": mml.RiskLimits.off(), "latency": mml.Latency(0, MS, MS)}
    _, always = counted(tape, options)
    still, at_news = counted(tape, options, reads_clock=False)
    blind, at_prices = counted(tape, options, reads_clock=False, reads_sizes=False)
    assert at_prices < 0.7 * at_news < 0.7 * always
    # The promise is all there is to it: the same function under no promise does the same.
    for engine, sizes in ((still, 1.0), (blind, 0.0)):
        unsworn = Engine(LINEAR, CustomModel(quote_and_count, [0.5, 0.0, sizes, 0.0]), **options)
        unsworn.feed(tape)
        unsworn.finish()
        assert outcome(unsworn) == outcome(engine)


def test_a_halt_by_hand_is_not_passed_by():
    tape = lively(1, 300)
    for cut in range(20, len(tape), 37):
        engine = Engine(LINEAR, NEAR, **PLAIN, risk=OPEN)
        engine.feed(tape.slice_rows(0, cut))
        orders = int(engine.state.counts.orders)
        engine.halt("tester", "to see")
        engine.feed(tape.slice_rows(cut, len(tape)))
        engine.finish()
        sent = engine.orders()
        assert not {int(kind) for kind in sent["order_type"][sent["order_id"] > orders]} & {0, 1}  # nothing that rests


def test_no_sample_where_something_was_put_off():
    """A cooldown or a rate that ends later than it was going to is no reason to sample equity."""
    for seed in range(40):
        rng = random.Random(f"samples {seed}")
        options = options_of(rng, WHEN["all"]) | {"risk": LIMITS[rng.choice((4, 5))]}
        engine = run(market_of(rng), MODELS[rng.choice(("symmetric", "ladder"))], options)
        times = engine.samples()["ts_ns"]
        assert np.all((times[:-1] - times[0]) % 1_000_000_000 == 0)
