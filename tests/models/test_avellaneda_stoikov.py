"""Avellaneda & Stoikov (2008), eq. 29 and 30, from the paper, and what must hold for any parameters."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl import AvellanedaStoikov, QuoteContext, Symmetric
from marketmakerl.core.errors import ConfigError

PAPER = {"k": 1.5, "sigma": 2.0, "horizon_s": 1.0}
positive = st.floats(1e-4, 50)


@pytest.mark.parametrize(("gamma", "spread"), [(0.1, 1.49), (0.01, 1.35)])
def test_the_paper_s_average_spreads(gamma, spread):
    # Section 3.3 prints the time-averaged spread gamma sigma^2 T / 2 + (2/gamma) ln(1 + gamma/k).
    half = Symmetric.of_avellaneda_stoikov(gamma, **PAPER).half_spread
    assert 2 * half == pytest.approx(gamma * 4 / 2 + 2 / gamma * math.log(1 + gamma / 1.5), rel=1e-12)
    assert round(2 * half, 2) == spread


@given(gamma=positive, k=positive, sigma=positive, q=st.floats(-50, 50), left=st.floats(0, 1))
def test_eq_29_and_30(gamma, k, sigma, q, left):
    bid, ask = AvellanedaStoikov(gamma, k, sigma, 1.0).offsets(q, left)
    risk = gamma * sigma**2 * left
    scale = 1e-9 * max(1.0, abs(q) * risk, 1 / k)
    assert bid + ask == pytest.approx(risk + 2 / gamma * math.log(1 + gamma / k), rel=1e-9, abs=scale)
    assert (ask - bid) / 2 == pytest.approx(-q * risk, rel=1e-9, abs=scale)  # the reservation price less the mid


@given(gamma=positive, k=positive, sigma=positive, q=st.integers(-9, 9))
def test_symmetry_in_q(gamma, k, sigma, q):
    model = AvellanedaStoikov(gamma, k, sigma, 1.0)
    assert model.offsets(q) == pytest.approx(model.offsets(-q)[::-1], rel=1e-12)


def test_limits():
    # gamma -> 0: the risk-neutral half-spread 1/k. More risk or risk aversion, more skew. No time left, no skew.
    assert AvellanedaStoikov(1e-9, 1.5, 2.0, 1.0).offsets(3)[0] == pytest.approx(1 / 1.5, rel=1e-6)
    skews = [np.diff(AvellanedaStoikov(g, 1.5, 2.0, 1.0).offsets(3))[0] for g in (0.01, 0.1, 1.0)]
    assert skews == sorted(skews, reverse=True)
    bid, ask = AvellanedaStoikov(0.1, 1.5, 2.0, 1.0).offsets(3, time_left_s=0.0)
    assert bid == ask


def test_infinite_horizon():
    # Section 2.3 with omega = gamma^2 sigma^2 (q_max + 1)^2 / 2, q_max 10: r_a - s = ln(1 + (1-2q)/(121 - q^2))/gamma.
    gamma, k = 0.1, 1.5
    model = AvellanedaStoikov(gamma, k, 2.0, None)
    making = math.log(1 + gamma / k) / gamma
    for q in range(-9, 10):
        room = 121 - q * q
        assert model.offsets(q) == pytest.approx(
            (
                making - math.log(1 + (-1 - 2 * q) / room) / gamma,
                making + math.log(1 + (1 - 2 * q) / room) / gamma,
            ),
            rel=1e-12,
        )
    assert math.isnan(model.offsets(10)[0])  # full: only the ask is quoted
    assert math.isnan(model.offsets(-25)[1])


def test_quotes_are_rounded_away_from_the_mid_and_explained():
    model = AvellanedaStoikov(0.1, 1.5, 2.0, 1.0)
    context = QuoteContext(mid=100.0, q=2.0, tick_size=0.05)
    quote, parts = model.quote(context), model.explain(context)
    bid, ask = model.offsets(2.0)
    assert 100 - bid - 0.05 < quote.bid <= 100 - bid
    assert 100 + ask <= quote.ask < 100 + ask + 0.05
    assert parts["reservation_price"] == pytest.approx(100 - 2 * 0.1 * 4)
    assert parts["bid"] == quote.bid


@pytest.mark.parametrize(
    "bad",
    [
        {"gamma": 0.0},
        {"gamma": -1.0},
        {"k": float("nan")},
        {"sigma": -0.1},
        {"sigma": 0.0},
        {"horizon_s": 0.0},
        {"horizon_s": float("inf")},
        {"gamma": True},
        {"k": "1"},
    ],
)
def test_parameters_out_of_range(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        AvellanedaStoikov(**{"gamma": 0.1, "k": 1.5, "sigma": 2.0, "horizon_s": 1.0} | bad)


def test_offsets_refuse_nonsense():
    for q, left in ((float("nan"), None), (0.0, -1.0), (float("inf"), 1.0)):
        with pytest.raises(ConfigError):
            Symmetric(1.0).offsets(q, left)


@pytest.mark.parametrize(("name", "value"), [("gamma", 5e-324), ("sigma", 1e200), ("horizon_s", 1e300), ("k", 1e-30)])
def test_sizes_that_leave_the_range_of_a_float_are_named(name, value):
    given = {"gamma": 0.1, "k": 1.5, "sigma": 2.0, "horizon_s": 1.0, name: value}
    with pytest.raises(ConfigError, match=f"avellaneda_stoikov: {name} must be"):
        AvellanedaStoikov(**given)
