"""Volatility: known markets are recovered within the stated errors; nothing is differenced across a gap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_tapes import coverage_band
from marketmakerl.models.estimate import NotIdentifiedError
from marketmakerl.models.volatility import Path, Realised, bipower, grid_ms, jump_share, realised, signature, two_scales

S = 1_000_000_000


def path_of(price, step_ns, start_ns=0):
    ts = start_ns + step_ns * np.arange(len(price))
    return Path(ts, np.asarray(price, float), np.zeros(len(price), np.int64), ts[:1], ts[-1:])


def walk(rng, n, sigma, step_s):
    return 1000 + np.concatenate([[0.0], np.cumsum(rng.normal(0, sigma * np.sqrt(step_s), n))])


def z_scores(estimates, truth):
    return np.array([(made.value - truth) / made.std_error for made in estimates])


def assert_honest(z, bias_sd=4.0):
    """The 95 % intervals hold the truth about 95 times in 100, and the mean is where it should be."""
    covered = int((np.abs(z) < 1.96).sum())
    assert covered >= coverage_band(len(z))
    assert abs(z.mean()) < bias_sd / np.sqrt(len(z)) + 0.1
    assert 0.8 < z.std() < 1.25


def test_realised_and_bipower_are_as_sure_as_they_say():
    rng = np.random.default_rng(1)
    sums = [Realised.of([walk(rng, 500, 0.7, 2.0)], 2.0) for _ in range(300)]
    assert_honest(z_scores([realised(one) for one in sums], 0.7))
    assert_honest(z_scores([bipower(one) for one in sums], 0.7))
    assert np.mean([realised(one).value for one in sums]) == pytest.approx(0.7, rel=0.005)


def test_a_volatility_that_changes_is_no_reason_to_be_surer():
    rng = np.random.default_rng(2)
    day = np.where(np.arange(600) < 300, 0.3, 1.2)
    truth = np.sqrt(np.mean(day**2))
    paths = [1000 + np.concatenate([[0.0], np.cumsum(rng.normal(0, day))]) for _ in range(300)]
    assert_honest(z_scores([realised(Realised.of([path], 1.0)) for path in paths], truth))


def test_jumps_are_found_and_do_not_touch_bipower():
    rng = np.random.default_rng(3)
    clean, jumped, p_clean, p_jumped, shares = [], [], [], [], []
    for _ in range(200):
        price = walk(rng, 2000, 0.5, 1.0)
        clean.append(bipower(Realised.of([price], 1.0)))
        p_clean.append(jump_share(Realised.of([price], 1.0))[1])
        price[1000:] += 15.0  # 225 of variance, beside 500
        sums = Realised.of([price], 1.0)
        jumped.append(bipower(sums))
        share, p = jump_share(sums)
        p_jumped.append(p)
        shares.append(share.value)
        assert realised(sums).value == pytest.approx(np.sqrt((500 + 225) / 2000), rel=0.2)
    assert np.mean([made.value for made in jumped]) == pytest.approx(0.5, rel=0.02)
    assert max(p_jumped) < 1e-3
    assert np.mean(np.array(p_clean) < 0.05) == pytest.approx(0.05, abs=0.04)
    assert np.mean(shares) == pytest.approx(225 / 725, abs=0.03)


def test_two_scales_see_through_noise_that_fools_the_plain_sum():
    rng = np.random.default_rng(4)
    made, plain, noises = [], [], []
    for _ in range(200):
        n = 5000
        price = walk(rng, n, 0.5, 0.2) + rng.normal(0, 0.4, n + 1)
        path = path_of(price, S // 5)
        estimate, noise = two_scales(path)
        made.append(estimate)
        noises.append(noise)
        plain.append(realised(Realised.of([price], 0.2)).value)
    assert np.mean(plain) > 1.3
    assert_honest(z_scores(made, 0.5))
    assert np.mean(noises) == pytest.approx(0.4, rel=0.03)


def test_two_scales_see_through_ticks():
    """A random walk rounded to ticks, of which only the changes are recorded."""
    rng = np.random.default_rng(5)
    made, plain = [], []
    for _ in range(150):
        n = 60_000
        price = np.rint(walk(rng, n, 0.6, 0.05)) + 0.0  # ticks of 1: sqrt(0.05) * 0.6 = 0.13 of a tick a step
        moved = np.concatenate([[True], np.diff(price) != 0])
        ts = (S // 20) * np.flatnonzero(moved)
        path = Path(ts, price[moved], np.zeros(moved.sum(), np.int64), ts[:1], np.array([S // 20 * n]))
        made.append(two_scales(path)[0])
        plain.append(realised(Realised.of([price[moved]], 3000 / (moved.sum() - 1))).value)
    z = z_scores(made, 0.6)
    assert np.mean(plain) > 1.5 * 0.6
    assert np.mean([one.value for one in made]) == pytest.approx(0.6, rel=0.03)
    assert (np.abs(z) < 1.96).sum() >= coverage_band(150, 0.9)


def test_the_signature_falls_to_the_truth_where_the_price_bounces():
    rng = np.random.default_rng(6)
    price = walk(rng, 60_000, 0.5, 0.1) + rng.choice([-0.25, 0.25], 60_001)
    lines = signature(path_of(price, S // 10))
    sigma = [line["sigma"] for line in lines]
    assert [line["interval_s"] for line in lines][:3] == [0.1, 0.2, 0.5]
    assert sigma[0] > 1.1
    assert sigma[0] > sigma[1] > sigma[2] > sigma[3]
    assert sigma[6] == pytest.approx(0.5, rel=0.1)


def test_nothing_is_differenced_across_a_gap():
    rng = np.random.default_rng(7)
    one, other = walk(rng, 300, 1.0, 1.0), 5000 + walk(rng, 300, 1.0, 1.0)
    ts = np.concatenate([S * np.arange(301), S * (1000 + np.arange(301))])
    path = Path(
        ts, np.concatenate([one, other]), np.repeat([0, 1], 301), np.array([0, 1000 * S]), np.array([300, 1300]) * S
    )
    sums = Realised.of(path.on_grid(S), 1.0)
    assert sums.n == 600
    assert sums.variance == pytest.approx((np.diff(one) ** 2).sum() + (np.diff(other) ** 2).sum())
    moves = np.abs(np.diff(one)), np.abs(np.diff(other))
    products = sum((m[1:] * m[:-1]).sum() for m in moves)
    assert sums.bipower == pytest.approx(np.pi / 2 * products * 600 / 598)
    assert two_scales(path)[0].value == pytest.approx(1.0, rel=0.3)


@given(st.floats(1e-6, 1e6), st.integers(1, 50))
def test_units(scale, slower):
    rng = np.random.default_rng(8)
    price = walk(rng, 1000, 1.0, 1.0) + rng.normal(0, 0.5, 1001)
    plain, scaled = path_of(price, S), path_of(price * scale, S * slower)
    for estimate in (
        lambda path, _s: two_scales(path)[0],
        lambda path, s: realised(Realised.of(path.on_grid(s), s / S)),
    ):
        a, b = estimate(plain, S), estimate(scaled, S * slower)
        assert b.value == pytest.approx(a.value * scale / np.sqrt(slower), rel=1e-9)
        assert b.std_error == pytest.approx(a.std_error * scale / np.sqrt(slower), rel=1e-9)


def test_what_cannot_be_told_is_refused_with_a_reason():
    still, short = np.full(200, 5.0), np.arange(20.0)
    for price, reason in ((still, "did not move"), (short, "30 are needed")):
        with pytest.raises(NotIdentifiedError, match=reason):
            realised(Realised.of([price], 1.0))
    jumpy = np.repeat(np.cumsum(np.random.default_rng(1).choice([-1, 1], 100)), 5).astype(float)
    with pytest.raises(NotIdentifiedError, match="are zero: the tick is too coarse"):
        bipower(Realised.of([jumpy], 1.0))
    with pytest.raises(NotIdentifiedError, match="200 are needed"):
        two_scales(path_of(np.arange(100.0), S))
    with pytest.raises(NotIdentifiedError, match="nothing is left"):
        two_scales(path_of(np.arange(1000) % 2.0, S))


def test_the_grid_suits_the_length_of_the_data():
    assert [grid_ms(s) for s in (60, 119, 240, 600, 1200, 1e6)] == [1000, 1000, 2000, 5000, 10_000, 10_000]
