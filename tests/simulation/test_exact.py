"""The exact evaluator against published figures, a closed form, and every way that a few steps can go."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError
from marketmakerl.simulation import exact
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.fill_curves import Empirical, Power
from marketmakerl.simulation.mids import Heston, JumpDiffusion
from marketmakerl.simulation.quotes import Asking
from oracles import world as oracle

PAPER = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5)


def inventory(gamma):
    return mml.AvellanedaStoikov(gamma, 1.5, 2, 1)


def symmetric(gamma):
    return mml.Symmetric.of_avellaneda_stoikov(gamma, 1.5, 2, 1)


@pytest.mark.parametrize(
    ("model", "mean", "std", "std_q", "spread"),
    [
        (inventory(0.1), 64.8925, 6.5432, 2.9268, 1.49),
        (symmetric(0.1), 68.2282, 13.4573, 8.4017, 1.49),
        (inventory(0.01), 68.3996, 8.9606, 5.2125, 1.35),
        (symmetric(0.01), 68.6662, 13.6776, 8.7119, 1.35),
    ],
)
def test_avellaneda_and_stoikov_s_table(model, mean, std, std_q, spread):
    for mid in ("gaussian", "binomial"):
        found = mml.evaluate_exact(PAPER.replace(mid=mid), model)
        assert (found.mean, found.std, found.inventory_std) == pytest.approx((mean, std, std_q), abs=1e-4)
        assert found.mean_spread == pytest.approx(spread, abs=0.005)
        assert found.inventory_mean == pytest.approx(0.0, abs=1e-12)
        assert found.lost_mass < 1e-12


@pytest.mark.parametrize(("model", "mean", "std"), [(inventory(0.1), 57.17, 6.36), (symmetric(0.1), 60.98, 12.92)])
def test_fills_of_a_poisson_process(model, mean, std):
    found = mml.evaluate_exact(PAPER.replace(fill="poisson"), model)
    assert (found.mean, found.std) == pytest.approx((mean, std), abs=0.006)


@pytest.mark.parametrize(
    ("model", "mean", "std", "ce"),
    [
        (inventory(0.1), 64.89, 6.54, 62.79),
        (mml.GLFT(0.1, 1.5, 2, 140, variant="exact", horizon_s=1), 67.83, 7.25, 65.24),
        (mml.GLFT(0.1, 1.5, 2, 140, variant="closed_form"), 67.73, 7.18, 65.19),
    ],
)
def test_the_ceiling_s_table(model, mean, std, ce):
    found = mml.evaluate_exact(PAPER, model)
    assert (found.mean, found.std, found.certainty_equivalent(0.1)) == pytest.approx((mean, std, ce), abs=0.0051)


def test_what_a_fee_costs_those_who_know_it_and_those_who_do_not():
    world = PAPER.replace(fee_per_unit=0.2)
    for fee, ce in ((0.0, 45.30), (0.2, 47.90)):
        model = mml.GLFT(0.1, 1.5, 2, 140, fee_per_unit=fee, variant="exact", horizon_s=1)
        assert mml.evaluate_exact(world, model).certainty_equivalent(0.1) == pytest.approx(ce, abs=0.0051)


@pytest.mark.parametrize("half_spread", [0.2, 0.745, 2.0])
def test_symmetric_quotes_have_a_closed_form(half_spread):
    n, dt = 200, 0.005
    p = 140 * math.exp(-1.5 * half_spread) * dt
    found = mml.evaluate_exact(PAPER, mml.Symmetric(half_spread))
    variance = 2 * p * (1 - p) * (n * half_spread**2 + 4 * dt * n * (n + 1) / 2)
    assert found.mean == pytest.approx(2 * n * p * half_spread, rel=1e-12)
    assert found.std == pytest.approx(math.sqrt(variance), rel=1e-10)
    assert found.inventory_std == pytest.approx(math.sqrt(2 * n * p * (1 - p)), rel=1e-10)


def test_a_large_mean_does_not_drown_a_small_variance():
    # Nearly every quote fills, so profit is the rebate of 200 fills and varies by the very few that are missed.
    world = mml.World(100, 1e-9, 1.0, 0.01, 100.0, 1.5, fee_per_unit=-1000.0)
    for missed in (1e-6, 1e-9, 1.5e-12):
        found = mml.evaluate_exact(world, mml.Symmetric(-math.log1p(-missed) / 1.5))
        assert found.mean == pytest.approx(200_000.0)
        assert found.std == pytest.approx(math.sqrt(200 * missed) * 1000.0, rel=1e-3)


NUMBERS = st.floats(0.2, 2.0)
WORLDS = st.fixed_dictionaries(
    {
        "sigma": NUMBERS, "k": NUMBERS, "fee": st.floats(-0.3, 0.3), "size": st.floats(0.5, 2.0),
        "adverse": st.floats(0.0, 0.5), "drift": st.floats(-1.0, 1.0), "rate": st.floats(0.1, 4.0),
        "fill": st.sampled_from(["linear", "poisson"]), "mid": st.sampled_from(["gaussian", "binomial", "jumps"]),
        "levels": st.sampled_from([1, 2]), "limit": st.sampled_from([None, 1, 3]),
    }
)  # fmt: skip


def small_world(spec, seed):
    """A world of four steps and a random policy in it, and what the oracle needs to know of both."""
    steps, dt = 4, 0.25
    rng = np.random.default_rng(seed)
    reach = steps * spec["levels"] + 1
    bid, ask = rng.uniform(-0.5, 2.0, (2, steps, 2 * reach + 1))
    bid[rng.random(bid.shape) < 0.1] = np.nan
    policy = mml.TablePolicy(bid, ask, dt_s=dt, horizon_s=1.0)
    jumps = JumpDiffusion(rate_per_s=1.0, jump_mean=0.2, jump_std=0.3)
    world = mml.World(
        100.0, spec["sigma"], 1.0, dt, spec["rate"], spec["k"], fill=spec["fill"], tick_size=0.5,
        mid=jumps if spec["mid"] == "jumps" else spec["mid"], fee_per_unit=spec["fee"], drift=spec["drift"],
        adverse_move=spec["adverse"], order_size=spec["size"], inventory_limit=spec["limit"],
    )  # fmt: skip
    model = mml.Ladder(policy, levels=2) if spec["levels"] == 2 else policy
    limit = spec["limit"] or 99

    def quotes(step, q):
        sides = []
        for table, sign in ((bid, 1), (ask, -1)):
            base = table[step, q + reach]
            allowed = [sign * q + level < limit and not math.isnan(base) for level in range(spec["levels"])]
            sides.append([base + 0.5 * level if ok else None for level, ok in enumerate(allowed)])
        return sides

    def mgf(theta):
        sd, move = spec["sigma"] * math.sqrt(dt), math.exp(theta * spec["drift"] * dt)
        if spec["mid"] == "binomial":
            return move * math.cosh(theta * sd)
        jump = 1 - dt + dt * math.exp(theta * 0.2 + 0.5 * (0.3 * theta) ** 2) if spec["mid"] == "jumps" else 1.0
        return move * math.exp(0.5 * (theta * sd) ** 2) * jump

    extra = (dt * 0.2, dt * (0.2**2 + 0.3**2) - (dt * 0.2) ** 2) if spec["mid"] == "jumps" else (0.0, 0.0)
    found = list(
        oracle.leaves(
            steps, quotes, rate_dt=spec["rate"] * dt, share=lambda d: math.exp(-spec["k"] * d), fill=spec["fill"],
            fee=spec["fee"], size=spec["size"], adverse=spec["adverse"],
        )
    )  # fmt: skip
    return world, model, found, spec["drift"] * dt + extra[0], spec["sigma"] ** 2 * dt + extra[1], mgf


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(WORLDS, st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_every_way_that_four_steps_can_go(spec, seed, gamma):
    world, model, found, mean, variance, mgf = small_world(spec, seed)
    got = mml.evaluate_exact(world, model)
    assert (got.mean, got.std) == pytest.approx(oracle.moments(found, mean, variance), rel=1e-9, abs=1e-9)
    assert got.certainty_equivalent(gamma) == pytest.approx(
        oracle.certainty_equivalent(found, gamma, mgf), rel=1e-8, abs=1e-9
    )
    ends = {}
    for weight, _, _, q in found:
        ends[q] = ends.get(q, 0.0) + weight
    held = zip(range(-got.q_reach, got.q_reach + 1), got.inventory_probability, strict=True)
    assert {q: p for q, p in held if p} == pytest.approx(ends)


@pytest.mark.parametrize(
    ("curve", "share"),
    [
        (Power(scale=0.5, exponent=2.5), lambda d: (1 + max(d, 0.0) / 0.5) ** -2.5),
        (
            Empirical(distance=(0.0, 1.0, 2.0), share=(0.9, 0.3, 0.2)),
            lambda d: math.exp(
                np.interp(d, [0, 1, 2, 3], np.log([0.9, 0.3, 0.2, 0.2 * 0.2 / 0.3])) if d > 0 else math.log(0.9)
            ),
        ),
    ],
)
def test_other_curves_by_enumeration(curve, share):
    rng = np.random.default_rng(4)
    bid, ask = rng.uniform(-0.5, 2.6, (2, 4, 11))
    world = mml.World(100, 1, 1, 0.25, 3.0, 1.0, curve=curve)
    found = list(
        oracle.leaves(4, lambda i, q: ([bid[i, q + 5]], [ask[i, q + 5]]), rate_dt=0.75, share=share)
    )  # fmt: skip
    got = mml.evaluate_exact(world, mml.TablePolicy(bid, ask, dt_s=0.25, horizon_s=1.0))
    assert (got.mean, got.std) == pytest.approx(oracle.moments(found, 0.0, 0.25), rel=1e-10)


def test_a_model_whose_session_is_shorter_starts_again():
    model = mml.AvellanedaStoikov(0.5, 1.5, 2, 0.5)
    world = mml.World(100, 2, 1.0, 0.25, 3.0, 1.5)

    def quotes(step, q):
        bid, ask = model.offsets(q, 0.5 - 0.25 * (step % 2))
        return [bid], [ask]

    found = list(oracle.leaves(4, quotes, rate_dt=0.75, share=lambda d: math.exp(-1.5 * d)))
    assert mml.evaluate_exact(world, model).mean == pytest.approx(oracle.moments(found, 0.0, 1.0)[0], rel=1e-12)


@pytest.mark.parametrize("horizon_s", [1.0, 0.25, 10.0])
def test_in_blocks_or_at_once(horizon_s, monkeypatch):
    model = mml.AvellanedaStoikov(0.1, 1.5, 2, horizon_s)
    whole = mml.evaluate_exact(PAPER, model)
    whole_ce = whole.certainty_equivalent(0.1)
    monkeypatch.setattr(exact, "_BLOCK_BYTES", 100_000)
    parts = mml.evaluate_exact(PAPER, model)
    assert parts.summary() == whole.summary()
    assert parts.certainty_equivalent(0.1) == whole_ce


def test_a_python_function_is_evaluated_if_it_asks_for_time_and_inventory_only():
    leans = lambda context: (0.7 + 0.1 * context.q, 0.7 - 0.1 * context.q)  # noqa: E731
    plain = mml.CustomModel(leans, reads_market=False)
    table = mml.TablePolicy(
        0.7 + 0.1 * np.arange(-64.0, 65)[None], 0.7 - 0.1 * np.arange(-64.0, 65)[None]
    )  # fmt: skip
    assert mml.evaluate_exact(PAPER, plain).mean == pytest.approx(mml.evaluate_exact(PAPER, table).mean, rel=1e-12)
    with pytest.raises(ConfigError, match="depend on time and inventory only; custom may read more"):
        mml.evaluate_exact(PAPER, mml.CustomModel(leans))  # nobody knows


def test_a_bound_that_holds_back_too_much_is_refused():
    with pytest.raises(ConfigError, match=r"q_max must be >= (\d+) for avellaneda_stoikov") as refused:
        mml.evaluate_exact(PAPER.replace(q_max=10), inventory(0.1))
    least = int(str(refused.value).split(">= ")[1].split()[0])
    enough = mml.evaluate_exact(PAPER.replace(q_max=least), inventory(0.1))
    assert enough.mean == pytest.approx(64.8925, abs=1e-4)
    assert 0.0 < enough.lost_mass <= 1e-9
    with pytest.raises(ConfigError, match=f"q_max must be >= {least}"):
        mml.evaluate_exact(PAPER.replace(q_max=least - 1), inventory(0.1))
    # A limit that is a rule of the world is no loss.
    assert mml.evaluate_exact(PAPER.replace(inventory_limit=5), inventory(0.1)).lost_mass == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"mid": "geometric"}, {"mid": Heston(1.0, 0.5)}, {"latency_steps": 1},
        {"arrivals": Hawkes(excitation=1.0, decay_per_s=10.0)},
    ],
)  # fmt: skip
def test_worlds_without_an_exact_answer_say_so(changes):
    with pytest.raises(ConfigError, match=r"evaluate_exact needs independent steps.*use simulate"):
        mml.evaluate_exact(PAPER.replace(**changes), inventory(0.1))


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan, math.inf, "x"])
def test_a_certainty_equivalent_needs_a_gamma(gamma):
    with pytest.raises(ConfigError, match="gamma must be a finite number > 0"):
        mml.evaluate_exact(PAPER, inventory(0.1)).certainty_equivalent(gamma)


@pytest.mark.parametrize(
    "model",
    [
        mml.GLFT(0.1, 1.5, 2, 140, q_max=5), mml.GLFT(0.1, 1.5, 2, 140, q_max=5, variant="exact", horizon_s=1),
        mml.CarteaJaimungal(1.5, 140, 0.2, 0.01, 1, 5), mml.AvellanedaStoikov(0.1, 1.5, 2, None), mml.RLEnhanced(),
        mml.Skewed(mml.GLFT(0.1, 1.5, 2, 140, q_max=5), "microprice", 1.0),
    ],
    ids=lambda model: model.id,
)  # fmt: skip
def test_a_world_asks_for_what_the_model_answers_beyond_its_range_too(model):
    asked = Asking(PAPER, model).distances(12, 0, 1)[0]
    said = [model.offsets(q, 1.0 if math.isfinite(model.session_s) else None) for q in range(-12, 13)]
    assert np.array_equal(asked, np.array(said), equal_nan=True)


@pytest.mark.parametrize("mid", ["gaussian", "binomial", JumpDiffusion(5.0, 0.3, 0.5)])
@pytest.mark.parametrize("gamma", [1e-6, 1e-9, 1e-12, 1e-18])
def test_a_small_gamma_comes_to_mean_less_half_the_variance(mid, gamma):
    found = mml.evaluate_exact(PAPER.replace(mid=mid), symmetric(0.1))
    expected = found.mean - 0.5 * gamma * found.std**2
    assert found.certainty_equivalent(gamma) == pytest.approx(expected, abs=1e-4 * gamma * found.std**2 + 1e-11)


@pytest.mark.parametrize("mid", ["gaussian", "binomial", JumpDiffusion(200.0, -1e-3, 1e-3)])
def test_both_ways_to_a_moment_generating_function_meet(mid):
    process = PAPER.replace(mid=mid).process
    step = process.step(PAPER, 0.0, 2.0, 0.005)
    at = np.linspace(-2000, 2000, 4001) if not isinstance(mid, str) else np.linspace(-20, 20, 4001)
    values = process.log_mgf(step, at)
    assert np.all(np.isfinite(values))
    assert np.all(np.diff(values, 2) > -1e-12)  # convex, and without a jump where the formula changes


def test_a_gamma_beyond_reason_is_a_loss_beyond_all_numbers():
    assert mml.evaluate_exact(PAPER, symmetric(0.1)).certainty_equivalent(1e200) == -math.inf


def test_the_rarest_inventories_decide_a_certainty_equivalent():
    # A maker who never leans: what long runs of fills can lose, however rare they are, is all that counts.
    world = mml.World(100, 3, 1, 1 / 500, 10, 1.5)
    reached = mml.evaluate_exact(world, mml.Symmetric(0.7)).certainty_equivalent(0.2)
    p, held = 0.02 * math.exp(-1.05), np.arange(1, 501)
    # One way among many, every bid fills and no ask: what it weighs bounds the certainty equivalent from above.
    log_weight = 500 * (math.log(p) + math.log1p(-p)) - 0.2 * 500 * 0.7 + 0.5 * 0.04 * 9 * (held**2).sum() / 500
    assert reached <= -log_weight / 0.2 < -50_000
