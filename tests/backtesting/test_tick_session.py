"""Sessions on ticks: what sets the parameters is not traded, and nothing after it is known."""

from dataclasses import replace

import numpy as np
import pytest

from marketmakerl.backtesting import engine as tick_engine
from marketmakerl.backtesting.session import Session
from marketmakerl.backtesting.tick_session import (
    WAKES,
    TickRules,
    estimate_from_ticks,
    needs_estimate,
    tick_summary,
)
from marketmakerl.backtesting.trading import trade
from marketmakerl.core.artifacts import to_json
from marketmakerl.core.errors import ConfigError, DataQualityError
from marketmakerl.core.fees import Fees
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.data.tick_windows import row_at
from marketmakerl.models.registry import BOOK_MODEL_IDS, MODEL_IDS
from tick_tapes import INSTRUMENT, START_NS, make_tape

SESSION = Session(fees=Fees(-1.0, 3.0), budget=100_000.0)
RULES = TickRules(entry_latency_ms=2.0, response_latency_ms=2.0)


@pytest.fixture(scope="module")
def tape():
    return make_tape(seconds=300)


def test_the_names_of_events_are_the_engines():
    assert set(WAKES) == {"all", *tick_engine._WAKES}


def test_the_warm_up_is_not_traded(tape):
    result, parameters = trade(SESSION, tape, ticks=RULES)
    assert parameters["warm_up"]["seconds"] == pytest.approx(60.0, abs=0.1)
    assert parameters["estimate"]["bars"] == 59
    assert result.metrics.fills > 0
    assert result.orders["submitted_ns"].min() >= START_NS + 60 * 10**9
    assert result.equity["ts_ns"].iloc[0] >= START_NS + 59 * 10**9
    json = to_json(tick_summary(result, tape))
    assert b'"late_cancels"' in json
    assert b'"clock_offset_ns":0' in json


def test_what_comes_after_the_warm_up_changes_no_parameter(tape):
    row = row_at(tape, START_NS + 100 * 10**9)
    lots = tape.qty_lots.copy()
    price = tape.price_ticks.copy()
    is_trade = np.isin(tape.kind & ~MORE, (Kind.TRADE_BUY, Kind.TRADE_SELL))
    later = is_trade & (np.arange(len(tape)) >= row)
    price[later] += 500
    _, before = trade(SESSION, tape, ticks=RULES)
    _, after = trade(SESSION, replace(tape, price_ticks=price, qty_lots=lots), ticks=RULES)
    assert before == after


@pytest.mark.parametrize("model", MODEL_IDS)
def test_every_model_trades_by_its_name(tape, model):
    result, parameters = trade(replace(SESSION, model=model), tape, ticks=RULES)
    assert parameters["model"]["id"] == model
    assert result.metrics.fills > 20
    if model in BOOK_MODEL_IDS:  # the book moves it, and nothing else tells it from its base
        plain, _ = trade(replace(SESSION, model="glft"), tape, ticks=RULES)
        assert not plain.orders["price"].equals(result.orders["price"])


def test_the_estimate_is_of_the_mid_and_of_how_far_trades_reach(tape):
    estimate = estimate_from_ticks(tape)
    # Steps of -2..2 ticks (variance 2), twenty a second.
    assert estimate.sigma == pytest.approx(INSTRUMENT.tick_size * np.sqrt(20 * 2), rel=0.15)
    assert 1 / estimate.k == pytest.approx(29 * 0.1, rel=0.35)
    assert estimate.arrival_rate == 1.0  # one chance a second, for k is of the furthest trade of a second


def test_nothing_is_left_to_estimate(tape):
    fixed = replace(SESSION, model="symmetric", model_params={"half_spread": 1.0})
    assert needs_estimate(SESSION)
    assert needs_estimate(replace(SESSION, model_params={"gamma": 1e-4, "k": 0.5}))
    assert not needs_estimate(replace(SESSION, model_params={"gamma": 1e-4, "k": 0.5, "sigma": 1.0}))
    assert not needs_estimate(fixed)
    result, parameters = trade(fixed, tape, ticks=RULES)
    assert parameters["estimate"] is None
    assert parameters["warm_up"] == {"rows": 0, "seconds": 0.0}
    assert result.run_log["rows"] == len(tape)


def test_too_short_a_warm_up_says_what_to_do():
    with pytest.raises(DataQualityError, match=r"30 are needed.*--param"):
        trade(SESSION, make_tape(seconds=40), ticks=RULES)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"entry_latency_ms": -1.0}, "entry_latency_ms"),
        ({"response_latency_ms": float("nan")}, "response_latency_ms"),
        ({"quote_interval_ms": 0.0}, "quote_interval_ms"),
        ({"warmup_share": 1.0}, "warmup_share"),
        ({"queue": "lifo"}, "no queue model"),
        ({"quote_on": ("trades",)}, "quote_on knows"),
    ],
)
def test_rules_that_are_none(changes, text):
    with pytest.raises(ConfigError, match=text):
        replace(RULES, **changes).check()
