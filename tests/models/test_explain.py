"""Why a quote is what it is: for every model the parts add up to the price, and each has its meaning."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl import (
    GLFT,
    AvellanedaStoikov,
    CarteaJaimungal,
    CustomModel,
    Ladder,
    QuoteContext,
    RLEnhanced,
    Skewed,
    Symmetric,
)
from marketmakerl.core.errors import ConfigError

SHARED = {"gamma": 0.05, "k": 0.8, "sigma": 0.4}
COSTLY = {"arrival_rate": 0.7, "fee_per_unit": 0.1, "adverse_move": 0.2, "q_max": 10}
GLFT_EXACT = GLFT(**SHARED, **COSTLY, variant="exact", horizon_s=60.0)
MODELS = [
    Symmetric(1.5),
    AvellanedaStoikov(**SHARED, horizon_s=60.0),
    AvellanedaStoikov(**SHARED, horizon_s=60.0, rolling=True),
    AvellanedaStoikov(**SHARED, horizon_s=None),
    GLFT(**SHARED, **COSTLY),
    GLFT(**SHARED, **COSTLY, variant="closed_form"),
    GLFT_EXACT,
    CarteaJaimungal(0.8, 0.7, 0.01, 0.02, 60.0, 10, 0.2, 0.1),
    RLEnhanced(),
    Skewed(GLFT_EXACT, "imbalance", 0.4),
    Skewed(Symmetric(1.0)),
    Ladder(GLFT_EXACT, 3, 2, 2),
    CustomModel(lambda context: (context.mid / 100 + context.q, None if context.q > 5 else 1.0)),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
@given(q=st.floats(-12, 12), tick=st.sampled_from([0.01, 0.5]), depth=st.floats(0, 10))
def test_the_parts_add_up(model, q, tick, depth):
    context = QuoteContext(
        100.0, q, 20.0, tick, best_bid=99.9, best_ask=100.1, best_bid_qty=depth, best_ask_qty=4.0
    )  # fmt: skip
    parts, quote = model.explain(context), model.quote(context)
    assert (parts["bid"], parts["ask"]) == (quote.bid, quote.ask)
    costs = parts["market_making"] + parts["risk"] + parts["fee"] + parts["adverse_selection"]
    assert parts["skew"] == pytest.approx(parts["inventory_skew"] + parts["book_skew"], abs=1e-12)
    for side, sign in (("bid", 1), ("ask", -1)):
        if parts[side] is None:
            assert parts[f"{side}_offset"] is None
            assert parts[f"{side}_rounding"] is None
            assert parts["half_spread"] is None
            continue
        assert parts[f"{side}_offset"] == pytest.approx(costs + sign * parts["skew"], abs=1e-12)
        rounding = parts[f"{side}_rounding"]
        assert -1e-6 * tick <= rounding < tick * getattr(model, "grid_ticks", 1)
        assert parts[side] == pytest.approx(100.0 - sign * (parts[f"{side}_offset"] + rounding), abs=1e-9)
    if parts["half_spread"] is not None:
        assert parts["reservation_price"] == pytest.approx(100.0 - parts["skew"])
        assert parts["half_spread"] == pytest.approx(costs)


def test_avellaneda_stoikov_by_hand():
    parts = AvellanedaStoikov(0.1, 1.5, 2.0, 1.0).explain(QuoteContext(100.0, q=2.0, time_left_s=0.5))
    assert parts["market_making"] == pytest.approx(10 * math.log(1 + 0.1 / 1.5))
    assert parts["risk"] == pytest.approx(0.1 * 4 * 0.5 / 2)
    assert parts["inventory_skew"] == pytest.approx(2 * 0.1 * 4 * 0.5)
    assert parts["reservation_price"] == pytest.approx(100 - 2 * 0.1 * 4 * 0.5)
    assert parts["bid_rounding"] == parts["ask_rounding"] == 0.0


def test_glft_by_hand():
    parts = GLFT(0.01, 0.3, 0.3, 0.9, 30, 0.05, "closed_form", adverse_move=0.1).explain(QuoteContext(50.0, q=4.0))
    skew = math.sqrt(0.09 * 0.01 / (2 * 0.3 * 0.9) * (1 + 0.01 / 0.3) ** 31 * math.exp(0.3 * (0.05 + 0.05)))
    assert parts["market_making"] == pytest.approx(3.278982, abs=1e-6)
    assert (parts["fee"], parts["adverse_selection"]) == (0.05, 0.05)
    assert parts["risk"] == pytest.approx(skew / 2)
    assert parts["inventory_skew"] == pytest.approx(4 * skew)
    assert parts["book_skew"] == 0.0


def test_the_book_s_part():
    context = QuoteContext(100.0, best_bid=99.0, best_ask=101.0, best_bid_qty=3.0, best_ask_qty=1.0)
    parts = Skewed(Symmetric(1.0), "microprice", 0.5).explain(context)
    assert parts["book_skew"] == parts["skew"] == -0.25  # both quotes stand 0.25 higher
    assert parts["reservation_price"] == 100.25


def test_numbers_of_numpy_are_numbers():
    for q in np.arange(-2, 3):
        assert GLFT_EXACT.quote(QuoteContext(np.float32(100), q)) == GLFT_EXACT.quote(QuoteContext(100.0, float(q)))
    assert GLFT(np.float64(0.1), 1, 2, np.int64(3), np.int64(7)).q_max == 7


def test_a_model_that_quotes_nothing():
    parts = CustomModel(lambda _: (None, None)).explain(QuoteContext(100.0))
    assert {name for name, value in parts.items() if value is not None} == {"mid"}


def test_a_context_reaches_the_model():
    seen = []
    model = CustomModel(lambda context: (seen.append(context.copy()), (1.0, 1.0))[1], horizon_s=60.0)
    model.quote(QuoteContext(100.0, 2.0, None, 0.5, 0.01, 99.0, 101.0, 3.0, 4.0, 0.2))
    model.quote(QuoteContext(100.0, time_left_s=7.0))
    first, second = seen
    assert [first[name] for name in ("mid", "q", "tick_size", "maker_fee", "best_bid", "best_ask")] == [
        100.0, 2.0, 0.5, 0.01, 99.0, 101.0,
    ]  # fmt: skip
    assert [first[name] for name in ("best_bid_qty", "best_ask_qty", "inventory", "bid_qty", "time_left_s")] == [
        3.0, 4.0, 0.4, 0.2, 60.0,
    ]  # fmt: skip
    assert (first["bids"][0], first["asks"][0]) == (99.0, 101.0)
    assert [second[name] for name in ("best_bid", "best_ask", "best_bid_qty", "time_left_s")] == [100, 100, 0, 7]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mid": 0.0}, "context: mid must be a finite number > 0"),
        ({"mid": math.nan}, "mid"),
        ({"q": math.inf}, "context: q must"),
        ({"time_left_s": -1.0}, "time_left_s must be >= 0"),
        ({"time_left_s": math.nan}, "time_left_s"),
        ({"tick_size": 0.0}, "tick_size"),
        ({"best_bid": -1.0}, "best_bid"),
        ({"best_ask_qty": -1.0}, "best_ask_qty must be a finite number >= 0"),
        ({"order_qty": 0.0}, "order_qty"),
        ({"best_bid": 101.0, "best_ask": 100.0}, "best_bid 101.0 must be below best_ask 100.0"),
    ],
)
def test_contexts_that_are_none(changes, text):
    with pytest.raises(ConfigError, match=text):
        QuoteContext(**{"mid": 100.0} | changes)
