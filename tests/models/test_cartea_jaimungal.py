"""Cartea-Jaimungal: the printed numbers, the maker's problem solved by brute force, limits and refusals."""

import math

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from marketmakerl import GLFT, CarteaJaimungal
from marketmakerl.core.errors import ConfigError
from oracles.inventory_control import PenaltyMaker
from searches import many

BOOK = {"k": 1.5, "arrival_rate": 140.0, "phi": 0.01, "alpha": 0.001, "horizon_s": 1.0, "q_max": 100}


def test_the_reference_numbers():
    model = CarteaJaimungal(**BOOK)
    assert model.value() == pytest.approx(68.25583476, abs=1e-8)
    bid, ask = model.offsets(0)
    assert bid == pytest.approx(0.67213715, abs=1e-8)
    assert ask == pytest.approx(bid, rel=1e-12)


# Six problems drawn at large tell: a formula that leaves out any one thing is wrong in all that have it.
@settings(max_examples=many(6, 12), phases=(Phase.explicit, Phase.generate))  # shrinking would take minutes
@given(
    k=st.floats(0.3, 3.0), rate=st.floats(0.3, 5.0), phi=st.floats(0.0, 0.5), alpha=st.floats(0.0, 1.0),
    q_max=st.integers(1, 5), tau=st.floats(0.1, 8.0), eps=st.floats(0.0, 0.4), fee=st.floats(-0.2, 0.4),
)  # fmt: skip
def test_the_quotes_solve_the_maker_s_problem(k, rate, phi, alpha, q_max, tau, eps, fee):
    h, bids, asks = PenaltyMaker(k, rate, phi, alpha, q_max, eps=eps, fee=fee).solve(tau)
    model = CarteaJaimungal(k, rate, phi, alpha, tau, q_max, eps, fee)
    for q, value, bid, ask in zip(range(-q_max, q_max + 1), h, bids, asks, strict=True):
        assert model.offsets(q) == pytest.approx((bid, ask), rel=1e-7, abs=1e-7 / k, nan_ok=True)
        assert model.value(q) == pytest.approx(value, rel=1e-7, abs=1e-8)


def test_without_penalties_the_distance_is_1_over_k():
    model = CarteaJaimungal(**BOOK | {"phi": 0.0, "alpha": 0.0})
    assert model.offsets(0) == pytest.approx((1 / 1.5,) * 2, rel=1e-12)
    jumps = CarteaJaimungal(**BOOK | {"phi": 0.0, "alpha": 0.0, "adverse_move": 0.2, "fee_per_unit": 0.1})
    assert jumps.offsets(0) == pytest.approx((1 / 1.5 + 0.3,) * 2, rel=1e-12)


def test_at_the_end_the_terminal_penalty_is_all():
    model = CarteaJaimungal(**BOOK | {"alpha": 0.05, "q_max": 10})
    assert model.offsets(3, 0.0) == pytest.approx((1 / 1.5 + 0.05 * 7, 1 / 1.5 - 0.05 * 5), rel=1e-12)


def test_small_risk_aversion_in_glft_is_a_running_penalty():
    """With phi = gamma sigma^2 / 2 the two problems agree as gamma -> 0."""
    gamma, k, sigma, rate = 1e-7, 1.5, 50.0, 3.0
    other = GLFT(gamma, k, sigma, rate, 20, variant="exact", horizon_s=30.0)
    model = CarteaJaimungal(k, rate, gamma * sigma**2 / 2, 0.0, 30.0, 20)
    for q in (-4, 0, 5):
        assert model.offsets(q, 17.0) == pytest.approx(other.offsets(q, 17.0), rel=1e-6)
    assert model.value() == pytest.approx(other.certainty_equivalent, rel=1e-6)


def test_a_terminal_penalty_without_measure():
    """e^(-alpha k q^2) is no float any more; the quotes are finite, and flat is wanted more the nearer the end."""
    model = CarteaJaimungal(k=20.0, arrival_rate=2.0, phi=0.0, alpha=50.0, horizon_s=100.0, q_max=40)
    leans = []
    for left in (1e-9, 1e-3, 1.0, 100.0):
        bid, ask = model.offsets(20, left)
        assert math.isfinite(bid)
        leans.append((bid - ask) / 2)
    assert leans == sorted(leans, reverse=True)
    assert model.offsets(20, 0.0)[0] == pytest.approx(1 / 20 + 50 * 41, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"k": 0.0}, "k must be a finite number > 0"),
        ({"arrival_rate": math.nan}, "arrival_rate"),
        ({"phi": -0.1}, "phi must be a finite number >= 0"),
        ({"alpha": math.inf}, "alpha"),
        ({"horizon_s": 0.0}, "horizon_s"),
        ({"horizon_s": None}, "horizon_s"),
        ({"alpha": 1e30}, "alpha must be up to"),
        ({"q_max": 0}, "q_max must be a whole number from 1 to 250"),
        ({"adverse_move": -0.1}, "adverse_move"),
        ({"fee_per_unit": 1e9}, r"k \* \(fee_per_unit \+ adverse_move\) must be within"),
    ],
)
def test_parameters_out_of_range(changes, text):
    with pytest.raises(ConfigError, match=text):
        CarteaJaimungal(**BOOK | changes)


@pytest.mark.parametrize("q", [101, -101, 0.5, math.nan])
def test_value_takes_whole_inventories_in_range(q):
    with pytest.raises(ConfigError, match="whole q within"):
        CarteaJaimungal(**BOOK).value(q)
