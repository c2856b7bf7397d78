"""The arrival curve: simulated orders give back A and k within the stated errors, also when they cluster."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from market_tapes import START_NS, coverage_band, exponential_market, quote_rows, tape_of
from marketmakerl.data.tape import Kind
from marketmakerl.models.arrival_curve import Exposure, default_floor, fit_curve, profile
from marketmakerl.models.estimate import NotIdentifiedError
from marketmakerl.models.tick_observations import observe

TICK = 0.1


def fitted(tape, floor=None, sides=2, tick=TICK):
    seen = observe(tape)
    at = floor if floor is not None else default_floor(seen.quotes, seen.orders)
    return fit_curve(seen.orders, Exposure.of(seen.quotes, sides), at, tick)


def scores(made, rate, k):
    a, b = made.estimates("orders", 1.0)
    return [(a.value - rate) / a.std_error, (b.value - k) / b.std_error]


@pytest.mark.parametrize(("rate", "k"), [(0.8, 3.0), (3.0, 0.4), (2.0, 12.0)])
def test_a_and_k_are_recovered_within_the_stated_errors(rate, k):
    fits = [fitted(exponential_market(seed, seconds=1500, rate=rate, k=k, tick=TICK), floor=2) for seed in range(60)]
    z = np.array([scores(made, rate, k) for made in fits])
    assert (np.abs(z) < 1.96).sum() >= coverage_band(z.size, 0.94)
    assert (np.abs(z.mean(axis=0)) < 0.55).all()
    assert np.mean([made.k for made in fits]) == pytest.approx(k, rel=0.03)
    assert np.mean([made.arrival_rate for made in fits]) == pytest.approx(rate, rel=0.05)
    # Good fits say so: p-values spread evenly, and the power law loses.
    p = np.array([made.p_value for made in fits])
    assert (np.nan_to_num(p, nan=1.0) < 0.05).mean() < 0.17
    assert np.mean([made.log_likelihood > made.power_log_likelihood for made in fits]) > 0.9
    assert np.mean([made.overdispersion for made in fits]) == pytest.approx(1.0, abs=0.15)


def test_orders_in_bursts_make_the_errors_larger_and_still_right():
    tapes = [exponential_market(seed, seconds=1500, rate=2.0, k=3.0, tick=TICK, clustered=True) for seed in range(80)]
    fits = [fitted(tape, floor=2) for tape in tapes]
    z = np.array([scores(made, 2.0, 3.0) for made in fits])
    assert (np.abs(z) < 1.96).sum() >= coverage_band(z.size, 0.93)
    assert np.mean([made.overdispersion for made in fits]) > 5
    as_if_alone = np.abs(z) * np.sqrt([[made.overdispersion] for made in fits])
    assert (as_if_alone < 1.96).mean() < 0.7  # what independent orders would claim is wrong


def test_whatever_delta_min_the_answer_is_the_same_on_an_exponential_market():
    tape = exponential_market(3, seconds=6000, rate=3.0, k=2.0, tick=TICK)
    seen = observe(tape)
    lines = profile(seen.orders, Exposure.of(seen.quotes, 2), 2, TICK)
    assert len(lines) == 6
    assert lines[0]["delta_min"] == pytest.approx(0.1)
    for line in lines:
        assert abs(line["k"] - 2.0) < 3.5 * line["std_error"]


def test_the_formulas_are_the_likelihood():
    """Maximise the likelihood as its definition has it: every order in its cell of distance."""
    seen = observe(exponential_market(5, seconds=900, rate=1.5, k=4.0, tick=TICK))
    quotes, orders = seen.quotes, seen.orders
    floor = 3
    made = fit_curve(orders, Exposure.of(quotes, 2), floor, TICK)
    held = (quotes.until_ns - quotes.ts_ns) / 1e9
    odd = quotes.mid_half_ticks % 2 == 1
    seconds = 2 * np.array([held[~odd].sum(), held[odd].sum()])
    first = np.array([4, 3]) * TICK / 2
    reach = orders.reach_half_ticks[orders.reach_half_ticks >= floor] * TICK / 2

    def loss(x):
        rate, k = np.exp(x)
        cells = rate * (np.exp(-k * reach) - np.exp(-k * (reach + TICK)))
        return -(np.log(cells).sum() - (rate * seconds * np.exp(-k * first)).sum())

    found = minimize(loss, np.log([1.0, 3.0]), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-10})
    rate, k = np.exp(found.x)
    assert made.arrival_rate == pytest.approx(rate, rel=1e-6)
    assert made.k == pytest.approx(k, rel=1e-6)
    assert made.log_likelihood == pytest.approx(-found.fun, rel=1e-9)
    # The covariance without blocks, from a numerical Hessian, is what overdispersion is measured against.
    step = 1e-4
    hessian = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            e, f = np.eye(2)[i] * step, np.eye(2)[j] * step
            x = found.x
            hessian[i, j] = (loss(x + e + f) - loss(x + e - f) - loss(x - e + f) + loss(x - e - f)) / (4 * step**2)
    model = np.linalg.inv(hessian)[0, 0]
    assert made.overdispersion == pytest.approx(made.covariance[0, 0] / model, rel=1e-3)


def test_a_power_law_is_not_taken_for_an_exponential():
    rng = np.random.default_rng(6)
    n, seconds = 4000, 2000
    reach = np.floor(4 * rng.uniform(0, 1, n) ** (-1 / 1.5)).astype(int)
    reach -= 1 - reach % 2
    ts = np.sort(rng.integers(0, seconds * 10**9, n))
    rows = quote_rows([START_NS], [200_001])
    rows += [
        (START_NS + int(t), int(Kind.TRADE_BUY), (200_001 + int(r)) // 2, 1) for t, r in zip(ts, reach, strict=True)
    ]
    made = fitted(tape_of([*rows, (START_NS + seconds * 10**9, int(Kind.BBO_BID), 100_000, 5)]), floor=5, sides=1)
    assert made.power_log_likelihood > made.log_likelihood + 100
    assert made.power_exponent == pytest.approx(1.5, rel=0.1)
    assert made.p_value < 1e-6
    assert made.ks > 0.1
    assert made.as_dict()["aic_power_less_exponential"] < -200


def test_the_measured_curve_lies_on_the_fitted_one():
    made = fitted(exponential_market(7, seconds=4000, rate=2.0, k=3.0, tick=TICK), floor=2)
    assert made.r2 > 0.98
    assert made.ks < 0.02
    off = [(point["rate"] - point["fitted"]) / point["std_error"] for point in made.points]
    assert np.abs(off).max() < 4
    assert made.points[0]["distance"] == pytest.approx(0.1)
    assert all(a["distance"] < b["distance"] for a, b in zip(made.points, made.points[1:], strict=False))


@settings(max_examples=15)
@given(st.sampled_from([1e-6, 0.01, 0.5, 4.0, 1000.0]))
def test_price_units_cancel(scale):
    plain = fitted(exponential_market(8, seconds=600, rate=2.0, k=3.0, tick=TICK), floor=2)
    tape = exponential_market(8, seconds=600, rate=2.0, k=3.0 / scale, tick=TICK * scale)
    scaled = fitted(tape, floor=2, tick=TICK * scale)
    assert scaled.k * scale == pytest.approx(plain.k, rel=1e-9)
    assert scaled.arrival_rate == pytest.approx(plain.arrival_rate, rel=1e-9)
    assert scaled.covariance[0, 0] == pytest.approx(plain.covariance[0, 0], rel=1e-6)
    assert math.sqrt(scaled.covariance[1, 1]) * scale == pytest.approx(math.sqrt(plain.covariance[1, 1]), rel=1e-6)


def market_of_reaches(reaches, seconds=600):
    rows = quote_rows([START_NS], [200_001])
    step = seconds * 10**9 // (len(reaches) + 1)
    rows += [
        (START_NS + (i + 1) * step, int(Kind.TRADE_SELL), (200_001 - int(reach)) // 2, 1)
        for i, reach in enumerate(reaches)
    ]
    return tape_of([*rows, (START_NS + seconds * 10**9, int(Kind.BBO_BID), 100_000, 5)])


@pytest.mark.parametrize(
    ("reaches", "seconds", "reason"),
    [
        ([3] * 30, 600, "30 market orders reached 0.15 from the mid, 50"),
        ([3] * 400, 600, "all 400 market orders stop at one distance"),
        ([3, 5] * 400, 6, "8 blocks of 1 s"),
    ],
)
def test_what_cannot_be_told_is_refused_with_a_reason(reaches, seconds, reason):
    with pytest.raises(NotIdentifiedError, match=reason):
        fitted(market_of_reaches(reaches, seconds), floor=3, sides=1)


def test_delta_min_lies_behind_the_touch_where_enough_orders_do():
    through = observe(market_of_reaches([1, 1, 3, 3, 5] * 100))
    assert default_floor(through.quotes, through.orders) == 3
    touching = observe(market_of_reaches([1] * 400 + [3] * 40))
    assert default_floor(touching.quotes, touching.orders) == 1
