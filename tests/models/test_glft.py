"""GLFT: the printed numbers, the maker's problem solved by brute force, and what must hold for any parameters."""

import math

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from marketmakerl import GLFT
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.models.inventory_values import ground_state
from oracles.inventory_control import CaraMaker
from searches import many

PAPER = {"gamma": 0.01, "k": 0.3, "sigma": 0.3, "arrival_rate": 0.9, "q_max": 30}
TICK = 1e-6  # the digits that are printed
gammas, ks, sigmas, rates = st.floats(0.005, 1.0), st.floats(0.2, 3.0), st.floats(1e-3, 2.0), st.floats(0.2, 5.0)


@pytest.mark.parametrize(
    ("q", "bid", "closed", "ask"),
    [(-5, 2.972522, 2.973586, 3.653479), (0, 3.313045, 3.312915, 3.313045), (5, 3.653479, 3.652244, 2.972522)],
)
def test_the_table_of_reference_quotes(q, bid, closed, ask):
    exact = GLFT(**PAPER, variant="exact", horizon_s=600.0)
    assert exact.offsets(q) == pytest.approx((bid, ask), abs=TICK)
    assert GLFT(**PAPER, variant="closed_form").offsets(q)[0] == pytest.approx(closed, abs=TICK)
    assert GLFT(**PAPER).offsets(q) == pytest.approx((bid, ask), abs=TICK)  # 600 s are nearly forever


def test_the_reference_constants():
    making, skew, *_ = GLFT(**PAPER, variant="closed_form").params()
    assert making == pytest.approx(3.278982, abs=TICK)
    assert skew == pytest.approx(0.067866, abs=TICK)
    alpha, eta = 0.3 * 0.01 * 0.09 / 2, 0.9 * (1 + 0.01 / 0.3) ** -31
    lowest, _ = ground_state(alpha * np.arange(-30, 31.0) ** 2, eta)
    assert lowest == pytest.approx(-0.64473443, abs=1e-8)


def test_the_closed_form_of_2017_for_other_order_sizes():
    # delta = c1 + D sigma c2 / 2 +- q sigma c2, c1 and c2 with xi = gamma, q in units of quantity.
    gamma, k, sigma, rate, size, q = 0.02, 0.4, 0.5, 1.1, 2.5, 3.0
    c1 = math.log(1 + gamma * size / k) / (gamma * size)
    c2 = math.sqrt(gamma / (2 * rate * size * k) * (1 + gamma * size / k) ** (k / (gamma * size) + 1))
    model = GLFT(gamma, k, sigma, rate, variant="closed_form", order_size=size)
    wanted = [c1 + size * sigma * c2 / 2 + sign * q * size * sigma * c2 for sign in (1, -1)]
    assert model.offsets(q) == pytest.approx(wanted, rel=1e-12)


# Six problems drawn at large tell: a formula that leaves out any one thing is wrong in all that have it.
@settings(max_examples=many(6, 12), phases=(Phase.explicit, Phase.generate))  # shrinking would take minutes
@given(
    gamma=gammas, k=ks, sigma=sigmas, rate=rates, q_max=st.integers(1, 5), tau=st.floats(0.1, 8.0),
    drift=st.floats(-0.3, 0.3), xi=st.floats(0.0, 0.5), fee=st.floats(-0.2, 0.5), size=st.floats(0.3, 2.0),
)  # fmt: skip
def test_the_exact_quotes_solve_the_maker_s_problem(gamma, k, sigma, rate, q_max, tau, drift, xi, fee, size):
    theta, bids, asks = CaraMaker(gamma, k, sigma, rate, q_max, drift=drift, xi=xi, fee=fee, size=size).solve(tau)
    model = GLFT(gamma, k, sigma, rate, q_max, fee, "exact", tau, drift, xi, size)
    for q, bid, ask in zip(range(-q_max, q_max + 1), bids, asks, strict=True):
        assert model.offsets(q) == pytest.approx((bid, ask), rel=1e-7, abs=1e-7 / k, nan_ok=True)
    assert model.certainty_equivalent == pytest.approx(theta[q_max], rel=1e-7, abs=1e-8)


@settings(max_examples=25)
@given(gamma=gammas, k=ks, sigma=sigmas, rate=rates, drift=st.floats(-0.1, 0.1), left=st.floats(0.0, 1.0))
def test_quotes_between_the_steps_of_time(gamma, k, sigma, rate, drift, left):
    """The matrix exponential at any time left, not only where the table has a row."""
    q_max, horizon = 8, 20.0
    q = np.arange(-q_max, q_max + 1.0)
    eta = rate * (1 + gamma / k) ** -(1 + k / gamma)
    matrix = np.diag(0.5 * k * gamma * sigma**2 * q**2 - k * drift * q)
    matrix -= eta * (np.eye(2 * q_max + 1, k=1) + np.eye(2 * q_max + 1, k=-1))
    shift = np.linalg.eigvalsh(matrix)[0]
    v = expm(-(matrix - shift * np.eye(len(q))) * left * horizon) @ np.ones(len(q))
    c = math.log1p(gamma / k) / gamma
    model = GLFT(gamma, k, sigma, rate, q_max, variant="exact", horizon_s=horizon, drift=drift)
    for i in range(len(q)):
        bid = c + math.log(v[i] / v[i + 1]) / k if i + 1 < len(q) else math.nan
        ask = c + math.log(v[i] / v[i - 1]) / k if i else math.nan
        # expm keeps absolute digits only: rare inventories have fewer relative ones.
        lost = 1e-14 / k * v.max() / v[max(i - 1, 0) : i + 2].min()
        assert model.offsets(q[i], left * horizon) == pytest.approx((bid, ask), abs=1e-8 / k + lost, nan_ok=True)


@settings(max_examples=25)
@given(gamma=gammas, k=ks, sigma=sigmas, rate=rates, drift=st.floats(-0.1, 0.1), xi=st.floats(0, 0.3))
def test_far_from_the_end_the_exact_quotes_are_the_stationary_ones(gamma, k, sigma, rate, drift, xi):
    shared = {"gamma": gamma, "k": k, "sigma": sigma, "arrival_rate": rate, "q_max": 6, "drift": drift}
    exact = GLFT(**shared, adverse_move=xi, variant="exact", horizon_s=20_000.0)
    stationary = GLFT(**shared, adverse_move=xi)
    for q in range(-6, 7):
        assert exact.offsets(q) == pytest.approx(stationary.offsets(q), rel=1e-8, abs=1e-8 / k, nan_ok=True)


def test_the_stationary_quotes_follow_the_eigenvector():
    shared = {"gamma": 0.1, "k": 0.7, "sigma": 0.5, "arrival_rate": 0.8, "q_max": 6, "drift": 0.05}
    q = np.arange(-6, 7.0)
    eta = 0.8 * (1 + 0.1 / 0.7) ** -8
    matrix = np.diag(0.35 * 0.1 * 0.25 * q**2 - 0.7 * 0.05 * q) - eta * (np.eye(13, k=1) + np.eye(13, k=-1))
    v = np.abs(np.linalg.eigh(matrix)[1][:, 0])
    c = 10 * math.log1p(0.1 / 0.7)
    for i in range(1, 12):
        wanted = [c + math.log(v[i] / v[i + step]) / 0.7 for step in (1, -1)]
        assert GLFT(**shared).offsets(q[i]) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("variant", ["stationary", "exact", "closed_form"])
def test_a_fee_is_a_change_of_variable(variant):
    """GLFT with a fee f: A becomes A e^(-k f), and each side adds f."""
    fee, time = 0.35, {"variant": variant, "horizon_s": 50.0}
    with_fee = GLFT(**PAPER, fee_per_unit=fee, **time)
    changed = GLFT(**{**PAPER, "arrival_rate": 0.9 * math.exp(-0.3 * fee)}, **time)
    for q in (-7, 0, 4):
        assert with_fee.offsets(q) == pytest.approx([fee + x for x in changed.offsets(q)], rel=1e-12)
    assert with_fee.certainty_equivalent == pytest.approx(changed.certainty_equivalent, rel=1e-12)
    spreads = [sum(GLFT(**PAPER, fee_per_unit=f, **time).offsets(0)) for f in (-0.2, 0.0, 0.2, 1.0)]
    assert spreads == sorted(spreads)
    assert len(set(spreads)) == 4


def test_the_closed_form_is_near_the_stationary_quotes_around_no_inventory():
    for drift, xi, fee in ((0.0, 0.0, 0.0), (0.0002, 0.0, 0.0), (0.0, 0.2, 0.1)):
        shared = {**PAPER, "q_max": 60, "drift": drift, "adverse_move": xi, "fee_per_unit": fee}
        for q in range(-4, 5):
            stationary = GLFT(**shared).offsets(q)
            assert GLFT(**shared, variant="closed_form").offsets(q) == pytest.approx(stationary, abs=3e-3)


def test_without_risk_aversion_the_distance_is_1_over_k():
    for variant in ("stationary", "exact", "closed_form"):
        shared = {"k": 0.3, "sigma": 0.3, "arrival_rate": 0.9, "q_max": 60, "variant": variant, "horizon_s": 60.0}
        for fee in (0.0, 0.4):
            distances = GLFT(1e-9, fee_per_unit=fee, **shared).offsets(0)
            assert distances == pytest.approx((1 / 0.3 + fee,) * 2, rel=2e-3 if variant == "stationary" else 1e-4)


@given(
    gamma=gammas, k=ks, sigma=st.floats(0.1, 2.0), rate=rates, variant=st.sampled_from(["stationary", "closed_form"])
)
def test_how_quotes_move_with_the_parameters(gamma, k, sigma, rate, variant):
    def of(**changes):
        return GLFT(**{"gamma": gamma, "k": k, "sigma": sigma, "arrival_rate": rate, "variant": variant} | changes)

    def skew(model):
        return np.subtract(*model.offsets(1))

    def spread(model):
        return sum(model.offsets(0))

    assert skew(of()) > 0
    assert skew(of(gamma=1.3 * gamma)) > skew(of()) * (1 + 1e-9)
    assert spread(of(sigma=1.3 * sigma)) > spread(of())
    assert spread(of(fee_per_unit=0.1 / k)) > spread(of())
    assert of(gamma=1.3 * gamma)._making < of()._making  # (1/gamma) ln(1 + gamma/k) falls with gamma
    assert of(adverse_move=0.1 / k).offsets(0)[0] > of().offsets(0)[0]
    up, down = of(drift=0.01 * sigma).offsets(0), of(drift=-0.01 * sigma).offsets(0)
    assert up == pytest.approx(down[::-1], rel=1e-9)
    assert up[0] < down[0]  # a rising mid is bought


@given(gamma=gammas, k=ks, sigma=sigmas, rate=rates, q=st.floats(-35, 35), xi=st.floats(0, 0.5))
def test_symmetry_in_q(gamma, k, sigma, rate, q, xi):
    for variant in ("stationary", "closed_form"):
        model = GLFT(gamma, k, sigma, rate, adverse_move=xi, variant=variant)
        assert model.offsets(q) == pytest.approx(model.offsets(-q)[::-1], rel=1e-9, abs=1e-9 / k, nan_ok=True)


@pytest.mark.parametrize("variant", ["stationary", "exact", "closed_form"])
def test_only_the_reducing_side_at_the_edge_and_beyond(variant):
    model = GLFT(**{**PAPER, "q_max": 5}, variant=variant, horizon_s=60.0)
    edge = model.offsets(5)
    assert math.isnan(edge[0])
    assert model.offsets(7.5) == pytest.approx(edge, nan_ok=True)
    assert math.isnan(model.offsets(-5)[1])
    assert not math.isnan(model.offsets(4.999)[0])


@pytest.mark.parametrize("variant", ["stationary", "exact"])
def test_between_whole_inventories_the_distances_are_interpolated(variant):
    model = GLFT(**{**PAPER, "q_max": 5}, variant=variant, horizon_s=60.0)
    for low in range(-5, 4):
        ends = np.array([model.offsets(low), model.offsets(low + 1)])
        middle = model.offsets(low + 0.25)
        if low > -5:
            assert middle == pytest.approx(0.75 * ends[0] + 0.25 * ends[1], rel=1e-12)
    assert model.offsets(4.5)[0] == model.offsets(4)[0]


def test_time_left_is_within_the_horizon():
    model = GLFT(**PAPER, variant="exact", horizon_s=60.0)
    assert model.offsets(3, 1e9) == model.offsets(3, math.inf) == model.offsets(3, 60.0) == model.offsets(3)
    # At the very end nothing is left but c: no value depends on the inventory.
    assert model.offsets(3, 0.0) == pytest.approx((model._making,) * 2, rel=1e-12)
    assert model.session_s == 60.0
    assert GLFT(**PAPER, horizon_s=60.0).session_s == math.inf


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"gamma": 0.0}, "gamma must be a finite number > 0"),
        ({"gamma": math.inf}, "gamma"),
        ({"k": -1.0}, "k must"),
        ({"k": math.nan}, "k must"),
        ({"arrival_rate": 0.0}, "arrival_rate must be a finite number > 0"),
        ({"sigma": -0.1}, "sigma must be a finite number > 0"),
        ({"sigma": 0.0}, "sigma must be a finite number > 0"),
        ({"sigma": math.nan}, "sigma"),
        ({"q_max": 0}, "q_max must be a whole number from 1 to 250"),
        ({"q_max": 2.5}, "q_max"),
        ({"q_max": 1000}, "q_max"),
        ({"q_max": True}, "q_max"),
        ({"q_max": math.nan}, "q_max"),
        ({"fee_per_unit": math.inf}, "fee_per_unit"),
        ({"fee_per_unit": 1e6}, r"k \* \(fee_per_unit \+ adverse_move / 2\) must be within"),
        ({"gamma": 1e-320}, "gamma must be from 1e-20 up to 1e[+]20 in size"),
        ({"sigma": 1e200}, "sigma must be from 1e-20 up to"),
        ({"drift": -1e21}, "drift must be up to"),
        ({"drift": math.nan}, "drift"),
        ({"adverse_move": -1.0}, "adverse_move must be a finite number >= 0"),
        ({"order_size": 0.0}, "order_size"),
        ({"horizon_s": 0.0}, "horizon_s must be a finite number > 0"),
        ({"variant": "exact"}, "needs a horizon_s > 0"),
        ({"sigma": 1e-21}, "sigma must be from 1e-20"),
    ],
)
def test_parameters_out_of_range(changes, text):
    with pytest.raises(ConfigError, match=text):
        GLFT(**PAPER | changes)


def sizes(low, high):
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


@pytest.mark.parametrize("variant", ["stationary", "exact", "closed_form"])
@settings(max_examples=60)
@given(
    gamma=sizes(-19, 19), k=sizes(-19, 19), sigma=sizes(-19, 19), rate=sizes(-19, 19), q_max=st.integers(1, 40),
    tau=sizes(-19, 19), drift=sizes(-19, 19), xi=sizes(-19, 19), size=sizes(-19, 19), fee=st.floats(-90, 90),
)  # fmt: skip
def test_whatever_is_accepted_gives_numbers(variant, gamma, k, sigma, rate, q_max, tau, drift, xi, size, fee):
    try:
        model = GLFT(gamma, k, sigma, rate, q_max, fee / k, variant, tau, drift, min(xi, 90 / k), size)
        model.params()
    except ConfigError:
        return
    for q in (-q_max - 1.0, -0.5, 0.0, q_max - 1.0):
        bid, ask = model.offsets(q)
        assert math.isfinite(bid)
        assert math.isfinite(ask) == (q > -q_max)


def test_other_refusals():
    with pytest.raises(UnknownNameError, match="did you mean exact"):
        GLFT(**PAPER, variant="exakt")
    with pytest.raises(ConfigError, match="horizon_s must be at most"):
        GLFT(**PAPER, variant="exact", horizon_s=1e13).offsets(0)
    with pytest.raises(ConfigError, match="no value without a horizon_s"):
        GLFT(**PAPER).certainty_equivalent  # noqa: B018
    assert GLFT(**PAPER | {"q_max": 30.0}).q_max == 30
