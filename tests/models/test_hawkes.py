"""Hawkes by maximum likelihood, against an independent simulator and a likelihood written out as a double sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_tapes import coverage_band
from marketmakerl.models.estimate import NotIdentifiedError
from marketmakerl.models.hawkes import Events, fit_hawkes
from marketmakerl.models.hawkes_kernel import likelihood_and_gradient, residuals
from searches import many


def clusters(rng, mu, own, cross, beta, seconds, sides):
    """Simulate by branching: immigrants, their children, the children's children (Hawkes & Oakes 1974)."""
    times = [rng.uniform(0, seconds, rng.poisson(mu * seconds)) for _ in range(sides)]
    side = np.repeat(np.arange(sides), [len(part) for part in times])
    times = np.concatenate(times)
    found = []
    while len(times):
        found.append((times, side))
        born = []
        for hop, excitation in ((0, own), (1, cross if sides == 2 else 0.0)):
            children = rng.poisson(excitation / beta, len(times))
            at = np.repeat(times, children) + rng.exponential(1 / beta, children.sum())
            born.append((at, (np.repeat(side, children) + hop) % 2))
        times, side = (np.concatenate(part) for part in zip(*born, strict=True))
        times, side = times[times < seconds], side[times < seconds]
    times, side = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(times)
    return times[order], side[order]


def thinning(rng, mu, own, beta, seconds):
    """Simulate one side by thinning (Ogata 1981)."""
    t, excited, times = 0.0, 0.0, []
    while True:
        bound = mu + excited
        wait = rng.exponential(1 / bound)
        t += wait
        if t >= seconds:
            return np.array(times)
        excited *= np.exp(-beta * wait)
        if rng.uniform() * bound <= mu + excited:
            times.append(t)
            excited += own


def events_of(t, side, seconds, sides, clock_s=1e-9):
    return Events(t, side, np.array([[len(t), seconds]], float), sides, clock_s)


def brute_force(t, side, stretches, sides, mu, own, cross, beta):
    """The log-likelihood as its definition has it, every pair of events looked at; stretches: (t0, length) each."""
    total = 0.0
    for first, last, length in stretches:
        for i in range(first, last):
            rate = mu
            for j in range(first, last):
                if t[j] < t[i]:
                    rate += (own if side[i] == side[j] else cross) * np.exp(-beta * (t[i] - t[j]))
            total += np.log(rate)
            spread = own + (cross if sides == 2 else 0.0)
            total -= spread / beta * (1 - np.exp(-beta * (length - t[i])))
        total -= sides * mu * length
    return total


@pytest.mark.parametrize("sides", [1, 2])
def test_the_recursion_is_the_double_sum(sides):
    rng = np.random.default_rng(1)
    t1, t2 = (np.sort(np.round(rng.uniform(0, 30, n), 1)) for n in (60, 40))  # with ties, also of both sides
    t1[0] = 0.0
    t = np.concatenate([t1, t2])
    side = rng.integers(0, 2, 100) if sides == 2 else np.zeros(100, np.int64)
    ends = np.array([[60, 30.0], [100, 31.5]])
    stretches = ((0, 60, 30.0), (60, 100, 31.5))
    for mu, own, cross, beta in ((0.7, 0.4, 0.3, 1.5), (2.0, 0.0, 0.9, 0.2), (0.01, 30.0, 0.01, 60.0)):
        crossed = cross if sides == 2 else 0.0
        parameters = np.array([mu, own, crossed, beta])
        value, gradient = likelihood_and_gradient(t, side, ends, sides, parameters)
        assert value == pytest.approx(brute_force(t, side, stretches, sides, mu, own, crossed, beta), rel=1e-12)
        for i in range(4 if sides == 2 else 3):
            at = (0, 1, 2, 3)[i] if sides == 2 else (0, 1, 3)[i]
            step = np.zeros(4)
            step[at] = 1e-6 * max(1.0, parameters[at])
            up, down = (likelihood_and_gradient(t, side, ends, sides, parameters + sign * step)[0] for sign in (1, -1))
            assert gradient[at] == pytest.approx((up - down) / (2 * step[at]), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("cross", [False, True])
def test_known_parameters_are_recovered_within_the_stated_errors(cross):
    mu, own, beta = 0.5, 1.2, 3.0
    crossed = 0.5 if cross else 0.0
    rng = np.random.default_rng(2)
    z = {name: [] for name in ("baseline", "excitation", "decay", "cross_excitation", "branching")}
    truth = dict(zip(z, (mu, own, beta, crossed, (own + crossed) / beta), strict=True))
    passed, trials = 0, 100
    for _ in range(trials):
        t, side = clusters(rng, mu, own, crossed, beta, 1200.0, 2)
        fit = fit_hawkes(events_of(t, side, 1200.0, 2), cross=cross)
        for name, scores in z.items():
            made = getattr(fit, name)
            if made is not None:
                scores.append((made.value - truth[name]) / made.std_error)
        passed += fit.p_value_ks > 0.05
    for name, scores in z.items():
        if scores:
            assert (np.abs(scores) < 1.96).sum() >= coverage_band(trials), name
            assert abs(np.mean(scores)) < 0.45, name
            assert 0.75 < np.std(scores) < 1.3, name
    assert passed >= coverage_band(trials)


def test_one_side_by_another_simulator():
    rng = np.random.default_rng(3)
    scores = []
    for _ in range(40):
        t = thinning(rng, 1.0, 4.0, 8.0, 600.0)
        fit = fit_hawkes(events_of(t, np.zeros(len(t), np.int64), 600.0, 1))
        made = (fit.baseline, fit.excitation, fit.decay)
        scores.append([(m.value - true) / m.std_error for m, true in zip(made, (1.0, 4.0, 8.0), strict=True)])
        assert fit.p_value_poisson < 1e-6
    scores = np.array(scores)
    assert (np.abs(scores) < 1.96).sum() >= coverage_band(120)
    assert (np.abs(scores.mean(axis=0)) < 0.6).all()


def test_the_branching_ratio_is_as_sure_as_it_says():
    """Of excitation and decay, which go together: where memory is long, it is known much better than either."""
    rng = np.random.default_rng(8)
    made = []
    # Errors that leave out how the two go together are several times too large: sixty fits tell, to 9 % of an error.
    for _ in range(many(60, 120)):
        t, side = clusters(rng, 0.5, 0.9, 0.0, 1.0, 1200.0, 2)
        made.append(fit_hawkes(events_of(t, side, 1200.0, 2)).branching)
    value, error = np.mean([one.value for one in made]), np.mean([one.std_error for one in made])
    assert value == pytest.approx(0.9, abs=0.005)
    assert error == pytest.approx(np.std([one.value for one in made]), rel=0.2)


def test_the_residuals_are_the_integral_of_the_intensity():
    rng = np.random.default_rng(4)
    t, side = clusters(rng, 0.5, 0.6, 0.4, 2.0, 60.0, 2)
    out = np.empty(len(t))
    n = residuals(t, side, np.array([[len(t), 60.0]]), 2, 0.5, 0.6, 0.4, 2.0, out)
    expected = []
    last = {}
    for i, (at, s) in enumerate(zip(t, side, strict=True)):
        if s in last:
            begin = last[s]
            total = 0.5 * (at - begin)
            for tj, sj in zip(t[:i], side[:i], strict=True):
                a = 0.6 if sj == s else 0.4
                total += a / 2.0 * (np.exp(-2.0 * (max(begin, tj) - tj)) - np.exp(-2.0 * (at - tj)))
            expected.append(total)
        last[s] = at
    np.testing.assert_allclose(out[:n], expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=20)
@given(st.floats(1.0, 1e4))
def test_time_is_only_a_unit(scale):
    t, side = clusters(np.random.default_rng(5), 0.8, 1.0, 0.0, 2.5, 400.0, 2)
    plain = fit_hawkes(events_of(t, side, 400.0, 2))
    scaled = fit_hawkes(events_of(t * scale, side, 400.0 * scale, 2))
    for name in ("baseline", "excitation", "decay"):
        a, b = getattr(plain, name), getattr(scaled, name)
        assert b.value == pytest.approx(a.value / scale, rel=1e-3)
        assert b.std_error == pytest.approx(a.std_error / scale, rel=1e-2)
    assert scaled.branching.value == pytest.approx(plain.branching.value, rel=1e-3)


def poisson(rng, n, seconds):
    return np.sort(rng.uniform(0, seconds, n))


def test_what_is_no_hawkes_process_is_refused_with_a_reason():
    rng = np.random.default_rng(6)
    none = np.zeros(3000, np.int64)

    def refused(t, seconds, reason, clock_s=1e-9):
        with pytest.raises(NotIdentifiedError, match=reason):
            fit_hawkes(events_of(t, none[: len(t)], seconds, 1, clock_s))

    refused(poisson(rng, 150, 600.0), 600.0, "150 market orders in 600 s; 200")
    refused(poisson(rng, 300, 50.0), 50.0, "in 60 s are needed")
    refused(poisson(rng, 2000, 1000.0), 1000.0, "do not excite each other")
    refused(np.sort(1000 * rng.uniform(0, 1, 3000) ** 0.25), 1000.0, "stationary|changing rate")
    bursts = np.sort((poisson(rng, 300, 1000.0)[:, None] + np.arange(4) * 2e-4).ravel())
    refused(bursts, 1000.5, "less than a step of the exchange's clock", clock_s=1e-3)


def test_many_events_and_few_come_to_the_same_maximum():
    t, side = clusters(np.random.default_rng(7), 8.0, 3.0, 0.0, 6.0, 800.0, 2)
    assert len(t) > 20_000
    whole = events_of(t, side, 800.0, 2)
    part = whole.first(5000)
    assert part.ends.tolist() == [[5000, t[4999]]]
    fit = fit_hawkes(whole)
    for made, true in zip((fit.baseline, fit.excitation, fit.decay), (8.0, 3.0, 6.0), strict=True):
        assert abs(made.value - true) < 4 * made.std_error
        assert made.std_error < 0.1 * true
    best = np.array([fit.baseline.value, fit.excitation.value, 0.0, fit.decay.value])
    _, gradient = likelihood_and_gradient(whole.t, whole.side, whole.ends, 2, best)
    # At a maximum a step of one standard error changes nothing to first order.
    for i, made in ((0, fit.baseline), (1, fit.excitation), (3, fit.decay)):
        assert abs(gradient[i] * made.std_error) < 0.05
