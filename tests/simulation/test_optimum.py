"""The optimum: what it is worth, that its value is what it earns, and that nothing beats it."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.optimize import minimize

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.fill_curves import Empirical, Power
from oracles import world as oracle
from searches import many

PAPER = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5)


def test_the_ceiling_of_the_paper_s_world():
    best = mml.optimal_policy(PAPER, mml.CARA(0.1))
    assert best.value == pytest.approx(65.248, abs=5e-4)
    assert mml.evaluate_exact(PAPER, best).certainty_equivalent(0.1) == pytest.approx(best.value, abs=1e-9)
    glft = mml.evaluate_exact(PAPER, mml.GLFT(0.1, 1.5, 2, 140, variant="exact", horizon_s=1))
    assert glft.certainty_equivalent(0.1) == pytest.approx(65.237, abs=6e-4)


def test_small_steps_tend_to_the_optimum_of_continuous_time():
    # Cartea, Jaimungal & Penalva: h(0, 0) = 68.25583476 and a bid of 0.67213715; the error of a step is of its order.
    values, bids = [], []
    for dt in (0.001, 0.0005):
        best = mml.optimal_policy(PAPER.replace(dt_s=dt, q_max=60), mml.RunningPenalty(0.01, 0.001))
        values.append(best.value)
        bids.append(best.offsets(0)[0])
    assert 2 * values[1] - values[0] == pytest.approx(68.25583476, abs=2e-5)
    assert 2 * bids[1] - bids[0] == pytest.approx(0.67213715, abs=2e-6)


def test_a_constant_spread_leaves_much_where_inventory_is_dear():
    # Rate 10, kappa 1, phi 0.5, two seconds: the constant 1/kappa earns 59 % of the optimum.
    world = mml.World(100, 1e-3, 2.0, 0.0005, 10, 1.0, q_max=30)
    best = mml.optimal_policy(world, mml.RunningPenalty(0.5, 0.0)).value
    q = np.arange(-60, 61.0)
    m = np.diag(-0.5 * q**2) + 10 / math.e * (np.eye(121, k=1) + np.eye(121, k=-1))
    continuous = math.log((expm(2.0 * m) @ np.ones(121))[60])
    constant = 2 * 10 / math.e * 2.0 - 0.5 * 10 / math.e * 2.0**2
    assert best == pytest.approx(continuous, rel=2e-3)
    assert constant / best == pytest.approx(0.592, abs=2e-3)


CURVES = {
    "exponential": ("exponential", lambda d: math.exp(-1.2 * d)),
    "power": (Power(scale=0.5, exponent=2.5), lambda d: (1 + max(d, 0.0) / 0.5) ** -2.5),
    "empirical": (
        Empirical(distance=(0.0, 0.5, 1.0, 3.0), share=(0.95, 0.5, 0.3, 0.02)),
        # Beyond the last point at the slope of the last two.
        lambda d: math.exp(
            np.interp(d, [0, 0.5, 1, 3], np.log([0.95, 0.5, 0.3, 0.02])) + max(d - 3, 0) * math.log(0.02 / 0.3) / 2
        ),
    ),
}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("fill", ["linear", "poisson"])
@pytest.mark.parametrize("objective", [mml.CARA(0.7), mml.RunningPenalty(0.3, 0.2)])
def test_one_step_by_brute_force(curve, fill, objective):
    """One step from each inventory: both distances at once, by a search that knows nothing of our formulas."""
    config, share = CURVES[curve]
    rate_dt, fee, size, adverse, drift, sigma = 0.9, 0.1, 1.5, 0.2, 0.3, 0.8
    world = mml.World(
        100, sigma, 1.0, 1.0, rate_dt, 1.2, fill=fill, curve=config, fee_per_unit=fee, order_size=size,
        adverse_move=adverse, drift=drift, q_max=3,
    )  # fmt: skip
    best = mml.optimal_policy(world, objective)

    def worth(distances, q):
        total = []
        ways = [oracle.level_outcomes([d], rate_dt, share, fill, fee) for d in distances]
        for p_bid, b, bid_edge in ways[0]:
            for p_ask, a, ask_edge in ways[1]:
                held = size * (q + b - a)
                edge = size * (bid_edge + ask_edge) + held * adverse * (a - b)
                total.append((p_bid * p_ask, edge, held))
        if isinstance(objective, mml.CARA):
            g = objective.gamma
            loss = sum(p * math.exp(-g * (e + h * drift) + 0.5 * (g * h * sigma) ** 2) for p, e, h in total)
            return -math.log(loss) / g
        return sum(p * (e + h * drift - (objective.phi + objective.alpha) * h * h) for p, e, h in total)

    for q in range(-2, 3):
        ours = worth(best.offsets(q), q)
        grid = np.linspace(-2.0, 5.0, 36)
        start = max(((worth((b, a), q), b, a) for b in grid for a in grid), key=lambda found: found[0])
        options = {"xatol": 1e-9, "fatol": 1e-14}
        found = minimize(lambda d, q=q: -worth(d, q), start[1:], method="Nelder-Mead", options=options)
        assert ours >= -found.fun - 1e-10
        assert ours == pytest.approx(-found.fun, abs=2e-6)


SPECS = st.fixed_dictionaries(
    {
        "sigma": st.floats(0.2, 3.0), "k": st.floats(0.5, 3.0), "rate": st.floats(5.0, 50.0),
        "fee": st.floats(-0.2, 0.4), "size": st.floats(0.5, 2.0), "adverse": st.floats(0.0, 0.3),
        "drift": st.floats(-2.0, 2.0), "fill": st.sampled_from(["linear", "poisson"]),
        "mid": st.sampled_from(["gaussian", "binomial"]),
    }
)  # fmt: skip


@settings(max_examples=many(12, 25), deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(SPECS, st.floats(0.02, 0.6), st.integers(0, 1000))
def test_no_model_beats_it_in_any_world(spec, gamma, seed):
    world = mml.World(
        100, spec["sigma"], 1.0, 0.02, spec["rate"], spec["k"], fill=spec["fill"], mid=spec["mid"],
        fee_per_unit=spec["fee"], order_size=spec["size"], adverse_move=spec["adverse"], drift=spec["drift"],
    )  # fmt: skip
    best = mml.optimal_policy(world, mml.CARA(gamma))
    own = mml.evaluate_exact(world, best).certainty_equivalent(gamma)
    assert own == pytest.approx(best.value, rel=1e-7, abs=1e-7)
    known = {"drift": spec["drift"], "adverse_move": spec["adverse"], "order_size": spec["size"]}
    fee, k, sigma, rate = spec["fee"], spec["k"], spec["sigma"], spec["rate"]
    rng = np.random.default_rng(seed)
    shaken = mml.TablePolicy(
        best.bid + 0.05 * rng.normal(size=best.bid.shape), best.ask + 0.05 * rng.normal(size=best.ask.shape),
        dt_s=best.dt_s, horizon_s=best.horizon_s,
    )  # fmt: skip
    rivals = [
        mml.Symmetric(0.7), mml.AvellanedaStoikov(gamma, k, sigma, 1.0), mml.AvellanedaStoikov(gamma, k, sigma, None),
        mml.GLFT(gamma, k, sigma, rate, fee_per_unit=fee, **known),
        mml.GLFT(gamma, k, sigma, rate, fee_per_unit=fee, variant="closed_form", **known),
        mml.GLFT(gamma, k, sigma, rate, fee_per_unit=fee, variant="exact", horizon_s=1.0, **known),
        mml.CarteaJaimungal(k, rate, 0.5 * gamma * sigma**2, 0.001, 1.0, 30, fee_per_unit=fee),
        mml.RLEnhanced(gamma=gamma, k=k, sigma=sigma, horizon_s=1.0), shaken,
    ]  # fmt: skip
    for rival in rivals:
        reached = mml.evaluate_exact(world, rival).certainty_equivalent(gamma)
        assert reached <= best.value + 1e-7 * max(1.0, abs(best.value)), rival.id


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(SPECS, st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_the_value_of_a_running_penalty_is_what_it_earns(spec, phi, alpha):
    dt = 0.25
    world = mml.World(
        100, spec["sigma"], 1.0, dt, min(spec["rate"] / 10, 4.0), spec["k"], fill=spec["fill"],
        fee_per_unit=spec["fee"], order_size=spec["size"], adverse_move=spec["adverse"], drift=spec["drift"],
    )  # fmt: skip
    best = mml.optimal_policy(world, mml.RunningPenalty(phi, alpha))

    def quotes(step, q):
        bid, ask = best.offsets(q, 1.0 - dt * step)
        return [[None if math.isnan(distance) else distance] for distance in (bid, ask)]

    found = list(
        oracle.leaves(
            4, quotes, rate_dt=world.arrival_rate * dt, share=lambda d: math.exp(-spec["k"] * d), fill=spec["fill"],
            fee=spec["fee"], size=spec["size"], adverse=spec["adverse"],
        )
    )  # fmt: skip
    value = oracle.penalised(found, phi, alpha, dt, spec["size"], spec["drift"] * dt)
    assert best.value == pytest.approx(value, rel=1e-9, abs=1e-9)
    for rival in (mml.Symmetric(1.0 / spec["k"] + abs(spec["fee"])), mml.AvellanedaStoikov(0.3, spec["k"], 0.5, 1.0)):
        ways = oracle.leaves(
            4, lambda step, q, rival=rival: [[d] for d in rival.offsets(q, 1.0 - dt * step)],
            rate_dt=world.arrival_rate * dt, share=lambda d: math.exp(-spec["k"] * d), fill=spec["fill"],
            fee=spec["fee"], size=spec["size"], adverse=spec["adverse"],
        )  # fmt: skip
        theirs = oracle.penalised(ways, phi, alpha, dt, spec["size"], spec["drift"] * dt)
        assert theirs <= best.value + 1e-9 * max(1.0, abs(best.value))


def test_it_is_symmetric_and_leans_against_the_inventory():
    best = mml.optimal_policy(PAPER, mml.CARA(0.1))
    for time_left_s in (1.0, 0.5, 0.005):
        bids = [best.offsets(q, time_left_s)[0] for q in range(-20, 21)]
        asks = [best.offsets(q, time_left_s)[1] for q in range(-20, 21)]
        assert bids == pytest.approx(asks[::-1], abs=1e-9)
        assert all(np.diff(bids) > 0)


def test_it_knows_the_fee():
    world = PAPER.replace(fee_per_unit=0.2)
    best = mml.optimal_policy(world, mml.CARA(0.1))
    assert best.value >= 47.90
    blind = mml.evaluate_exact(world, mml.optimal_policy(PAPER, mml.CARA(0.1))).certainty_equivalent(0.1)
    assert blind < best.value - 2.0


def test_a_bound_costs_and_is_kept():
    world = PAPER.replace(inventory_limit=3)
    best = mml.optimal_policy(world, mml.CARA(0.1))
    assert best.q_max == 3
    assert math.isnan(best.offsets(3)[0])
    assert math.isnan(best.offsets(-3)[1])
    assert best.value < mml.optimal_policy(PAPER, mml.CARA(0.1)).value
    assert mml.evaluate_exact(world, best).certainty_equivalent(0.1) == pytest.approx(best.value, abs=1e-9)


def test_it_quotes_in_a_backtest_like_any_model():
    best = mml.optimal_policy(PAPER, mml.CARA(0.1))
    quote = best.quote(mml.QuoteContext(mid=100.0, q=2.0, tick_size=0.01))
    bid, ask = best.offsets(2.0)
    assert quote.bid == pytest.approx(math.floor((100 - bid) * 100) / 100)
    assert quote.ask == pytest.approx(math.ceil((100 + ask) * 100) / 100)
    halfway = best.offsets(2.5)[0]
    assert halfway == pytest.approx((best.offsets(2)[0] + best.offsets(3)[0]) / 2)
    assert best.offsets(1000)[1] == best.offsets(best.q_max)[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mml.CARA(0.0), "gamma must be a finite number > 0"),
        (lambda: mml.CARA(math.nan), "gamma must be a finite number > 0"),
        (lambda: mml.RunningPenalty(-1.0, 0.0), "phi must be a finite number >= 0"),
        (lambda: mml.RunningPenalty(0.0, math.inf), "alpha must be a finite number >= 0"),
        (lambda: mml.optimal_policy(PAPER, 0.1), r"objective must be CARA\(gamma\) or RunningPenalty"),
        (lambda: mml.optimal_policy(PAPER, mml.CARA(1), q_max=0), "q_max must be a whole number >= 1"),
        (lambda: mml.optimal_policy(PAPER, mml.CARA(1), q_max=10**6), "q_max must be <= "),
        (
            lambda: mml.optimal_policy(PAPER.replace(arrivals=Hawkes(1.0, 10.0)), mml.CARA(1)),
            "optimal_policy needs independent steps",
        ),
        (lambda: mml.TablePolicy(np.zeros((2, 3)), np.zeros((2, 5))), r"must both be \[rows, 2 q_max \+ 1\]"),
        (lambda: mml.TablePolicy(np.zeros((2, 3)), np.zeros((2, 3))), "2 rows need a horizon_s"),
        (lambda: mml.TablePolicy(np.zeros((1, 3)), np.full((1, 3), np.inf)), "a distance must be finite"),
        (lambda: mml.TablePolicy(np.zeros((2, 3)), np.zeros((2, 3)), horizon_s=3.0), r"must be rows \* dt_s"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("gamma", [1e-8, 1e-12, 1e-18])
def test_a_small_risk_aversion_tends_to_none(gamma):
    neutral = mml.optimal_policy(PAPER, mml.RunningPenalty(0.0, 0.0)).value
    assert mml.optimal_policy(PAPER, mml.CARA(gamma)).value == pytest.approx(neutral, abs=100 * gamma + 1e-10)


AT, REACHED = (0.23, 0.33, 0.38, 2.93, 2.98, 3.59, 8.2), (0.41, 0.28, 0.23, 0.21, 0.19, 0.17, 0.01)
HARD = [  # (rate dt, size, fee, curve and its share, penalty, inventory)
    # Far inside the mid so many orders are expected that the first-order condition is of no earthly size.
    (0.524, 1.0, 0.24, "exponential", lambda d: np.exp(-d), 2.8, 2),
    # Inventory so dear that both sides had better fill at once: a pair that neither side comes to alone.
    (25.0, 3.0, -0.25, Power(1.68, 3.76), lambda d: (1 + np.maximum(d, 0.0) / 1.68) ** -3.76, 2.74, 0),
    # A curve of uneven steps, the best quote at a corner between two that lie far off.
    (
        0.2, 1.0, 0.05, Empirical(AT, REACHED),
        lambda d: np.exp(
            np.interp(d, AT, np.log(REACHED)) + np.maximum(d - 8.2, 0.0) * math.log(0.01 / 0.17) / (8.2 - 3.59)
        ),
        0.037, 2,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rate_dt", "size", "fee", "curve", "share", "penalty", "q"), HARD)
def test_one_hard_step_by_brute_force(rate_dt, size, fee, curve, share, penalty, q):
    fill = "poisson" if not isinstance(curve, Empirical) else "linear"
    world = mml.World(
        100, 0.01, 1.0, 1.0, rate_dt, 1.0, fill=fill, curve=curve, fee_per_unit=fee, order_size=size, q_max=3
    )

    def chance(distance):
        expected = rate_dt * share(np.asarray(distance, np.float64))
        return -np.expm1(-expected) if fill == "poisson" else np.minimum(expected, 1.0)

    def worth(bid, ask):
        p, other = chance(bid), chance(ask)
        held = (1 - p) * (1 - other) * q**2 + p * other * q**2
        held = held + p * (1 - other) * (q + 1) ** 2 + other * (1 - p) * (q - 1) ** 2
        return size * (p * (bid - fee) + other * (ask - fee)) - penalty * size**2 * held

    grid = np.unique(np.concatenate([np.linspace(-4, 14, 901), getattr(curve, "distance", ())]))
    top = worth(grid[:, None], grid[None, :]).max()
    best = mml.optimal_policy(world, mml.RunningPenalty(penalty, 0.0))
    assert worth(*best.offsets(q)) >= top - 1e-12
