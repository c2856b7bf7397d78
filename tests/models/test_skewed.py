"""Quotes that lean with the book: how far, for which bases, and what happens without a book."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl import GLFT, AvellanedaStoikov, CarteaJaimungal, CustomModel, Ladder, QuoteContext, Skewed, Symmetric
from marketmakerl.core.errors import ConfigError, UnknownNameError

SHARED = {"gamma": 0.05, "k": 0.8, "sigma": 0.4}
BASES = [
    Symmetric(1.5),
    AvellanedaStoikov(**SHARED, horizon_s=60.0),
    AvellanedaStoikov(**SHARED, horizon_s=60.0, rolling=True),
    AvellanedaStoikov(**SHARED, horizon_s=None),
    GLFT(**SHARED, arrival_rate=0.7),
    GLFT(**SHARED, arrival_rate=0.7, variant="closed_form"),
    GLFT(**SHARED, arrival_rate=0.7, variant="exact", horizon_s=60.0),
    CarteaJaimungal(0.8, 0.7, 0.01, 0.02, 60.0, 20),
]
BOOK = {"best_bid": 99.5, "best_ask": 100.5}


@pytest.mark.parametrize("base", BASES, ids=lambda base: f"{base.id}-{getattr(base, 'variant', '')}")
def test_both_quotes_move_as_the_formula_says(base):
    context = QuoteContext(100.0, q=2.0, time_left_s=20.0, best_bid_qty=3.0, best_ask_qty=1.0, **BOOK)
    plain = base.quote(context)
    # (B a + A b)/(b + a) = (99.5 * 1 + 100.5 * 3)/4 = 100.25; imbalance (3 - 1)/4 = 0.5.
    for signal, weight, shift in (("microprice", 0.6, 0.6 * 0.25), ("imbalance", 0.6, 0.6 * 0.5)):
        moved = Skewed(base, signal, weight).quote(context)
        assert moved.bid == pytest.approx(plain.bid + shift, abs=1e-12)
        assert moved.ask == pytest.approx(plain.ask + shift, abs=1e-12)
    assert Skewed(base).session_s == base.session_s


@given(bid_qty=st.floats(0, 1e6), ask_qty=st.floats(0, 1e6), half=st.floats(0.01, 5))
def test_the_microprice_lies_in_the_spread(bid_qty, ask_qty, half):
    context = QuoteContext(
        100.0, best_bid=100 - half, best_ask=100 + half, best_bid_qty=bid_qty, best_ask_qty=ask_qty
    )  # fmt: skip
    quote = Skewed(Symmetric(1.0)).quote(context)
    middle = (quote.bid + quote.ask) / 2
    assert 100 - half - 1e-9 <= middle <= 100 + half + 1e-9
    assert (middle - 100) * (bid_qty - ask_qty) >= -1e-9 * (bid_qty + ask_qty)
    assert quote.ask - quote.bid == pytest.approx(2.0)


@pytest.mark.parametrize("signal", ["microprice", "imbalance"])
def test_without_depth_nothing_moves(signal):
    base = BASES[4]
    for context in (QuoteContext(100.0, q=1.0), QuoteContext(100.0, q=1.0, **BOOK)):
        assert Skewed(base, signal, 5.0).quote(context) == base.quote(context)
    assert Skewed(base, signal, 5.0).offsets(1.0) == base.offsets(1.0)


def test_it_says_that_it_reads_the_market():
    assert Skewed(BASES[4]).reads_market
    assert not BASES[4].reads_market
    assert Skewed(BASES[4], "imbalance").id == "glft_imbalance"
    assert Skewed(BASES[4]).as_dict()["base"]["id"] == "glft"


@pytest.mark.parametrize(
    "base", [3, CustomModel(lambda _: (1.0, 1.0)), Ladder(Symmetric(1.0), 2), Skewed(Symmetric(1.0))]
)
def test_bases_that_are_none(base):
    with pytest.raises(ConfigError, match="a book skew goes on") as refused:
        Skewed(base)
    assert " at 0x" not in str(refused.value)


def test_parameters_out_of_range():
    with pytest.raises(UnknownNameError, match="did you mean microprice"):
        Skewed(Symmetric(1.0), "micro_price")
    with pytest.raises(ConfigError, match="weight must be a finite number"):
        Skewed(Symmetric(1.0), weight=math.nan)
