"""Sampled paths: the same bytes however they are run, the books they keep, and the laws they obey."""

import math
import os
import subprocess
import sys

import numba
import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError
from marketmakerl.models.contract import QUOTE_SIGNATURE
from marketmakerl.simulation import simulate as module
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.fill_curves import Empirical, Power
from marketmakerl.simulation.mids import Heston, JumpDiffusion, OrnsteinUhlenbeck, RegimeSwitching
from marketmakerl.simulation.simulate import quantile_of, simulate_paths

PAPER = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5)
INVENTORY = mml.AvellanedaStoikov(0.1, 1.5, 2, 1)
NOBODY = mml.TablePolicy(np.full((1, 3), np.nan), np.full((1, 3), np.nan))


def same(a, b):
    assert np.array_equal(a.profit, b.profit)
    assert np.array_equal(a.inventory, b.inventory)
    assert np.array_equal(a.fills, b.fills)
    assert (a.mean_spread, a.clipped_share) == (b.mean_spread, b.clipped_share)


MODELS = {
    "inventory 0.1": INVENTORY,
    "symmetric 0.1": mml.Symmetric.of_avellaneda_stoikov(0.1, 1.5, 2, 1),
    "inventory 0.01": mml.AvellanedaStoikov(0.01, 1.5, 2, 1),
    "symmetric 0.01": mml.Symmetric.of_avellaneda_stoikov(0.01, 1.5, 2, 1),
    "glft": mml.GLFT(0.1, 1.5, 2, 140),
    "cartea_jaimungal": mml.CarteaJaimungal(1.5, 140, 0.2, 0.01, 1, 40),
    "rl_enhanced": mml.RLEnhanced(),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_hundred_thousand_paths_surround_the_exact_answer(name):
    exact = mml.evaluate_exact(PAPER, MODELS[name])
    found = mml.simulate(PAPER, MODELS[name], 100_000, seed=1)
    low, high = found.mean_interval(0.999)
    assert low <= exact.mean <= high
    assert high - low == pytest.approx(2 * quantile_of(0.999) * exact.std / math.sqrt(100_000), rel=0.02)
    assert found.std == pytest.approx(exact.std, rel=0.015)
    assert found.inventory_std == pytest.approx(exact.inventory_std, rel=0.015)
    assert found.mean_spread == pytest.approx(exact.mean_spread, rel=1e-3)
    assert found.clipped_share == pytest.approx(exact.clipped_share, abs=1e-4)
    assert found.certainty_equivalent(0.01) == pytest.approx(exact.certainty_equivalent(0.01), abs=0.15)


@pytest.mark.parametrize(
    "changes",
    [
        {"mid": "binomial"}, {"fill": "poisson"}, {"mid": JumpDiffusion(4.0, 0.1, 0.5)}, {"fee_per_unit": 0.2},
        {"adverse_move": 0.1, "drift": 0.5}, {"order_size": 2.5}, {"inventory_limit": 2},
        {"curve": Power(0.8, 3.0)}, {"curve": Empirical((0.0, 1.0, 2.0), (1.0, 0.25, 0.05)), "fill": "poisson"},
    ],
    ids=str,
)  # fmt: skip
def test_the_sampler_and_the_evaluator_agree_in_other_worlds(changes):
    world = PAPER.replace(**changes)
    exact = mml.evaluate_exact(world, INVENTORY)
    found = mml.simulate(world, INVENTORY, 40_000, seed=2)
    low, high = found.mean_interval(0.999)
    assert low <= exact.mean <= high
    assert found.std == pytest.approx(exact.std, rel=0.025)
    assert found.inventory_std == pytest.approx(exact.inventory_std, rel=0.025)


def test_quotes_that_fill_for_certain_are_counted():
    model = mml.AvellanedaStoikov(1.0, 1.5, 2, 1)  # so afraid of inventory that it quotes through the mid
    exact = mml.evaluate_exact(PAPER, model)
    assert exact.clipped_share > 0.01
    assert mml.simulate(PAPER, model, 20_000).clipped_share == pytest.approx(exact.clipped_share, rel=0.02)


def test_the_number_of_threads_does_not_matter():
    one = mml.simulate(PAPER, INVENTORY, 20_000, seed=3, threads=1)
    for threads in (2, 3, 8):
        same(one, mml.simulate(PAPER, INVENTORY, 20_000, seed=3, threads=threads))
    assert not np.array_equal(one.profit, mml.simulate(PAPER, INVENTORY, 20_000, seed=4).profit)


def test_more_paths_begin_with_the_same_ones(monkeypatch):
    many = mml.simulate(PAPER, INVENTORY, 9_000, seed=3)
    few = mml.simulate(PAPER, INVENTORY, 500, seed=3)
    assert np.array_equal(many.profit[:500], few.profit)
    monkeypatch.setattr(module, "CHUNKS", (37, 37))
    same(many, mml.simulate(PAPER, INVENTORY, 9_000, seed=3))


def test_looked_up_or_asked_is_the_same(monkeypatch):
    table = mml.simulate(PAPER, INVENTORY, 3_000, seed=5)
    monkeypatch.setattr(module, "_REACH", 1)  # nearly always beyond the table
    same(table, mml.simulate(PAPER, INVENTORY, 3_000, seed=5))
    monkeypatch.setattr(module, "MAX_TABLE_BYTES", 0)
    same(table, mml.simulate(PAPER, INVENTORY, 3_000, seed=5))


def test_progress_counts_every_path():
    seen = []
    mml.simulate(PAPER, INVENTORY, 10_000, seed=0, progress=seen.append)
    assert sum(seen) == 10_000
    assert len(seen) > 1


def test_two_models_with_one_seed_meet_the_same_market():
    a = simulate_paths(PAPER, INVENTORY, 20, seed=7)
    b = simulate_paths(PAPER, mml.Symmetric(0.3), 20, seed=7)
    assert np.array_equal(a.mid, b.mid)


WAYS = {
    "plain": {}, "late": {"latency_steps": 3}, "bursts": {"arrivals": Hawkes(30.0, 60.0, 10.0)},
    "adverse": {"adverse_move": 0.2}, "fees": {"fee_per_unit": 0.1, "order_size": 0.5},
    "bursts, late, adverse, binomial": {
        "arrivals": Hawkes(30.0, 60.0), "latency_steps": 2, "adverse_move": 0.1, "mid": "binomial"
    },
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_path_s_books_balance(way):
    """Profit from nothing but the trace: cash of each fill at its price, fees, and the inventory at the last mid."""
    world = PAPER.replace(arrival_rate=20, **WAYS[way])
    found = simulate_paths(world, INVENTORY, 200, seed=8)
    plain = mml.simulate(world, INVENTORY, 200, seed=8)
    assert np.array_equal(found.profit, plain.profit)
    assert np.array_equal(found.inventory[:, -1], plain.inventory)
    change = np.diff(found.inventory, axis=1) / world.order_size
    both = plain.fills - np.abs(change).sum(axis=1)  # steps in which both sides filled leave no trace in the inventory
    assert (both >= 0).all()
    assert (both % 2 == 0).all()
    alone = both == 0
    assert alone.sum() > 50
    bought, sold = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    cash = sold * np.nan_to_num(found.ask) - bought * np.nan_to_num(found.bid)
    cash = world.order_size * (cash - world.fee_per_unit * (bought + sold)).sum(axis=1)
    worth = cash + found.inventory[:, -1] * found.mid[:, -1]
    assert found.profit[alone] == pytest.approx(worth[alone], abs=1e-9)


def test_a_quote_that_is_late_stands_at_its_old_price():
    world = PAPER.replace(latency_steps=4)
    found = simulate_paths(world, mml.Symmetric(0.5), 50, seed=9)
    assert np.isnan(found.bid[:, :4]).all()
    assert found.bid[:, 4:] == pytest.approx(found.mid[:, :-5] - 0.5, abs=1e-12)
    assert found.ask[:, 4:] == pytest.approx(found.mid[:, :-5] + 0.5, abs=1e-12)


def test_latency_costs():
    profits = [mml.simulate(PAPER.replace(latency_steps=n), INVENTORY, 20_000, seed=10).mean for n in (0, 1, 5, 20)]
    assert profits == sorted(profits, reverse=True)
    assert profits[0] - profits[1] > 1.0


def test_a_move_against_every_fill_is_paid_by_who_was_filled():
    # Symmetric quotes hold no opinion: each fill loses the move once, on the inventory it has just taken.
    still = mml.World(100, 1e-9, 1, 0.005, 10, 1.5)
    lost = mml.evaluate_exact(still, mml.Symmetric(0.5)).mean
    moved = mml.evaluate_exact(still.replace(adverse_move=0.1), mml.Symmetric(0.5))
    p = 10 * math.exp(-0.75) * 0.005
    # A fill of one side moves the mid by 0.1 times the inventory after it: 1 at first, and with what was held before.
    alone = 2 * 200 * p * (1 - p) * 0.1
    assert lost - moved.mean == pytest.approx(alone, rel=1e-6)


def test_nothing_is_quoted_beyond_a_limit():
    for changes in ({"inventory_limit": 2}, {"q_max": 2}, {"inventory_limit": 2, "latency_steps": 3}):
        found = simulate_paths(PAPER.replace(**changes), INVENTORY, 100, seed=11)
        assert np.abs(found.inventory).max() == 2
        assert np.isnan(found.bid[found.inventory[:, :-1] == 2]).all()
        assert np.isnan(found.ask[found.inventory[:, :-1] == -2]).all()
    # Nor was a quote sent while the limit was reached, which arrives when it is not any more.
    left = (found.inventory[:, :-4] == 2) & (found.inventory[:, 3:-1] < 2)
    assert left.sum() > 50
    assert np.isnan(found.bid[:, 3:][left]).all()


def test_a_ladder_fills_from_its_best_level_on():
    world = PAPER.replace(tick_size=0.1)
    base = mml.Symmetric(0.6)
    ladder = mml.Ladder(base, levels=3, level_step_ticks=2)
    exact = mml.evaluate_exact(world, ladder)
    found = mml.simulate(world, ladder, 40_000, seed=12)
    low, high = found.mean_interval(0.999)
    assert low <= exact.mean <= high
    chances = [140 * 0.005 * math.exp(-1.5 * d) for d in (0.6, 0.8, 1.0)]
    assert exact.mean == pytest.approx(2 * 200 * sum(p * d for p, d in zip(chances, (0.6, 0.8, 1.0), strict=True)))
    assert found.fills.mean() == pytest.approx(2 * 200 * sum(chances), rel=0.01)
    same(mml.simulate(world, mml.Ladder(base, levels=1), 2_000, seed=1), mml.simulate(world, base, 2_000, seed=1))
    with pytest.raises(ConfigError, match="needs the world's tick_size"):
        mml.simulate(PAPER, ladder, 10)
    with pytest.raises(ConfigError, match="grid_ticks must be 1"):
        mml.simulate(world, mml.Ladder(base, levels=2, grid_ticks=5), 10)


def mids(world, n=20_000, seed=13):
    return simulate_paths(world, NOBODY, n, seed=seed).mid


def check_moments(sample, mean, variance, width=4.5):
    n = len(sample)
    assert abs(sample.mean() - mean) < width * math.sqrt(variance / n)
    fourth = ((sample - sample.mean()) ** 4).mean()
    assert abs(sample.var() - variance) < width * math.sqrt((fourth - sample.var() ** 2) / n)


SHORT = mml.World(100.0, 2.0, 2.0, 0.05, 10.0, 1.5, drift=0.5)


@pytest.mark.parametrize("mid", ["gaussian", "binomial"])
def test_arithmetic_mids(mid):
    paths = mids(SHORT.replace(mid=mid))
    check_moments(paths[:, -1], 101.0, 8.0)
    steps = np.diff(paths, axis=1) - 0.5 * 0.05
    assert abs(np.corrcoef(steps[:, 0], steps[:, 1])[0, 1]) < 0.03
    assert (mid == "binomial") == (np.abs(np.abs(steps) - 2 * math.sqrt(0.05)).max() < 1e-9)


def test_a_geometric_mid():
    paths = mids(SHORT.replace(mid="geometric", sigma=30.0, drift=10.0))
    mean = 100 * math.exp(0.1 * 2)
    check_moments(paths[:, -1], mean, mean**2 * math.expm1(0.09 * 2))
    assert paths.min() > 0


def test_a_mid_that_reverts():
    paths = mids(SHORT.replace(mid=OrnsteinUhlenbeck(3.0), drift=0.6))
    level, decay = 100 + 0.6 / 3.0, math.exp(-3.0 * 2.0)
    check_moments(paths[:, -1], level + (100 - level) * decay, 4 * (1 - decay**2) / 6)


def test_a_mid_that_jumps():
    paths = mids(SHORT.replace(mid=JumpDiffusion(2.0, jump_mean=0.5, jump_std=1.0), drift=0.0))
    p = 2.0 * 0.05
    check_moments(paths[:, -1] - 100, 40 * p * 0.5, 8.0 + 40 * (p * 1.25 - (p * 0.5) ** 2))


def test_a_mid_of_regimes():
    mid = RegimeSwitching(factors=(0.5, 2.0), leave_per_s=(4.0, 2.0))
    paths = mids(SHORT.replace(mid=mid, drift=0.0))
    share, variance = 0.0, 0.0  # probability of the second regime, step by step
    for _ in range(40):
        variance += ((1 - share) * 0.25 + share * 4.0) * 4 * 0.05
        share = share * (1 - 0.1) + (1 - share) * 0.2
    check_moments(paths[:, -1], 100.0, variance)
    three = RegimeSwitching(factors=(1.0, 0.1, 3.0), leave_per_s=(20.0, 20.0, 20.0))
    last = np.diff(mids(SHORT.replace(mid=three, drift=0.0, sigma=1.0)), axis=1)[:, -1]
    assert last.var() == pytest.approx(0.05 * (1.0 + 0.01 + 9.0) / 3, rel=0.06)  # left at once for either other one


def test_a_variance_that_reverts():
    mid = Heston(speed_per_s=3.0, vol_of_vol=2.0, correlation=-0.7)
    paths = mids(SHORT.replace(mid=mid, drift=0.0))
    steps = np.diff(paths, axis=1)
    assert paths[:, -1].var() == pytest.approx(8.0, rel=0.05)
    # Moves come in clusters, and falls bring volatility.
    assert np.corrcoef(steps[:, 10] ** 2, steps[:, 11] ** 2)[0, 1] > 0.03
    assert np.corrcoef(steps[:, 10], steps[:, 11] ** 2)[0, 1] < -0.05


def test_orders_that_come_in_bursts():
    world = mml.World(100, 1e-3, 20.0, 0.005, 5.0, 1.5, arrivals=Hawkes(8.0, 20.0, 4.0))
    at_mid = mml.Symmetric(1e-9)
    found = mml.simulate(world, at_mid, 3_000, seed=14)
    calm = mml.simulate(world.replace(arrivals=None), at_mid, 3_000, seed=14)
    # The mean rate stays; counts spread (1 - branching ratio)^-2 times as much over a long time.
    assert found.fills.mean() == pytest.approx(200.0, rel=0.015)
    assert calm.fills.var() / calm.fills.mean() == pytest.approx(1.0, abs=0.1)
    assert found.fills.var() / found.fills.mean() == pytest.approx(0.4**-2, rel=0.15)
    far = mml.simulate(world, mml.Symmetric(1.0), 3_000, seed=14)
    assert far.fills.mean() == pytest.approx(200.0 * math.exp(-1.5), rel=0.03)
    # Bursts shorter than a step keep the mean too; as Poisson steps they lose orders that fall into one step.
    coarse = mml.simulate(world.replace(dt_s=0.1), at_mid, 3_000, seed=14)
    assert coarse.fills.mean() == pytest.approx(200.0, rel=0.03)
    assert mml.simulate(world.replace(fill="poisson"), at_mid, 3_000, seed=14).fills.mean() < 195.0


@pytest.mark.parametrize("decay_per_s", [2.0, 20.0, 200.0])
def test_a_run_of_bursts_starts_as_it_goes_on(decay_per_s):
    # Branching ratio 0.8; in every step of 50 ms an order arrives with the mean rate, from the first on.
    world = mml.World(100, 1e-3, 1.0, 0.05, 2.0, 1.5, arrivals=Hawkes(0.8 * decay_per_s, decay_per_s))
    change = np.abs(np.diff(simulate_paths(world, mml.Symmetric(1e-9), 40_000, seed=17).inventory, axis=1))
    p = 2.0 * 0.05
    for step in (0, 1, 10):
        # One side alone fills; that both do is left out, which bursts of one side hardly change.
        assert change[:, step].mean() == pytest.approx(2 * p * (1 - p), rel=0.06)


def test_which_side_an_order_excites():
    world = mml.World(100, 1e-3, 20.0, 0.005, 5.0, 1.5, fill="poisson")
    at_mid = mml.Symmetric(1e-9)
    spread = {}
    for name, bursts in (("own", Hawkes(12.0, 20.0)), ("cross", Hawkes(0.0, 20.0, 12.0))):
        found = mml.simulate(world.replace(arrivals=bursts), at_mid, 3_000, seed=16)
        # Of what both sides got together, against what one got more than the other.
        spread[name] = found.fills.var() / found.inventory.var()
    assert spread["own"] == pytest.approx(1.0, abs=0.15)  # sides that know nothing of each other
    assert spread["cross"] > 5.0


@numba.njit(QUOTE_SIGNATURE)
def leans_with_the_price(context, params):
    return params[0] - 0.1 * (context.mid - 100.0), params[0] + 0.1 * (context.mid - 100.0)


def test_a_model_that_looks_at_the_mid_is_asked_at_every_step():
    model = mml.CustomModel(leans_with_the_price, (0.6,))
    found = simulate_paths(PAPER, model, 20, seed=15)
    assert found.bid == pytest.approx(found.mid[:, :-1] - 0.6 + 0.1 * (found.mid[:, :-1] - 100), abs=1e-12)
    with pytest.raises(ConfigError, match="depend on time and inventory only"):
        mml.evaluate_exact(PAPER, model)


def test_python_functions():
    leans = lambda context: (0.7 + 0.05 * context.q, 0.7 - 0.05 * context.q)  # noqa: E731
    table = mml.CustomModel(leans, reads_market=False)
    assert mml.simulate(PAPER, table, 500, seed=1).mean > 30
    for world, model in (
        (PAPER, mml.CustomModel(lambda context: (context.mid / 200, 0.5))),
        (PAPER, mml.CustomModel(leans)),  # it may read the mid, for all that anybody knows
        (PAPER.replace(latency_steps=1), table),
    ):
        with pytest.raises(ConfigError, match=r"plain Python function.*compile it with numba\.njit"):
            mml.simulate(world, model, 10)


def reads_all_there_is(context):
    seen = context.maker_fee + 0.01 * context.tick_size + 0.1 * context.bid_qty + 0.01 * context.ts_ns / 1e9
    return 0.5 + seen + context.take_qty, 0.5 + seen + 0.1 * context.ask_qty


@numba.njit
def reads_all_there_is_compiled(context, params):
    seen = context.maker_fee + 0.01 * context.tick_size + 0.1 * context.bid_qty + 0.01 * context.ts_ns / 1e9
    return 0.5 + seen + context.take_qty, 0.5 + seen + 0.1 * context.ask_qty


def test_python_functions_see_what_compiled_ones_see():
    world = PAPER.replace(horizon_s=0.2, fee_per_unit=0.2, tick_size=0.5, order_size=2.0)
    python, compiled = (
        mml.CustomModel(function, horizon_s=1.0, reads_market=False)
        for function in (reads_all_there_is, reads_all_there_is_compiled)
    )
    asked = mml.CustomModel(reads_all_there_is_compiled, horizon_s=1.0)
    same(mml.simulate(world, python, 200), mml.simulate(world, compiled, 200))
    same(mml.simulate(world, asked, 200), mml.simulate(world, compiled, 200))
    assert simulate_paths(world, python, 1).bid[0, 0] == pytest.approx(100 - (0.5 + 0.2 + 0.005 + 0.2), abs=1e-12)


@numba.njit
def endless(context, params):
    return params[0] * np.inf, 0.7


@numba.njit
def one_sided(context, params):
    return np.nan, 0.7


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_distance_that_is_not_finite_is_no_quote(sign):
    model, quiet = mml.CustomModel(endless, (sign,)), mml.CustomModel(one_sided)
    for world in (PAPER, PAPER.replace(latency_steps=1)):
        found, expected = (mml.simulate(world, either, 100) for either in (model, quiet))
        assert np.array_equal(found.profit, expected.profit)
        assert np.isfinite(found.profit).all()
        assert math.isnan(found.mean_spread)
    said = [mml.CustomModel(either.function, either.values, reads_market=False) for either in (model, quiet)]
    assert mml.evaluate_exact(PAPER, said[0]).mean == mml.evaluate_exact(PAPER, said[1]).mean


@numba.njit
def closes_at_noon(context, params):
    distance = 0.7 if context.ts_ns < 500_000_000 else np.nan
    return distance, distance


def test_a_model_without_a_session_sees_the_time():
    endless_one, session = mml.CustomModel(closes_at_noon), mml.CustomModel(closes_at_noon, horizon_s=1.0)
    found = mml.simulate(PAPER, endless_one, 100)
    assert found.two_sided_share == pytest.approx(0.5, abs=0.01)
    same(found, mml.simulate(PAPER, session, 100))
    half_day = mml.simulate(PAPER, mml.CustomModel(closes_at_noon, horizon_s=0.5), 100)
    assert half_day.two_sided_share == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ConfigError, match="depend on time and inventory only"):
        mml.evaluate_exact(PAPER, endless_one)


def test_a_session_far_longer_than_the_run():
    long, longer = (mml.AvellanedaStoikov(0.1, 1.5, 1e-20, horizon_s) for horizon_s in (2.0, 1e20))
    same(mml.simulate(PAPER, long, 100), mml.simulate(PAPER, longer, 100))


def test_a_latency_beyond_the_run_costs_no_more_than_the_run(monkeypatch):
    slots = []
    run_paths = module.run_paths

    def watched(*arguments):
        slots.extend(len(part.bid) for part in arguments if isinstance(part, module.Delay))
        run_paths(*arguments)

    monkeypatch.setattr(module, "run_paths", watched)
    assert not mml.simulate(PAPER.replace(latency_steps=1_000_000), INVENTORY, 10).fills.any()
    assert slots == [PAPER.steps]


@numba.njit(QUOTE_SIGNATURE)
def stands_by_the_best_prices(context, params):
    return context.mid - context.bids[0] + params[0], context.asks[0] - context.mid + params[0]


def test_a_model_may_read_the_best_prices_of_its_instrument():
    model = mml.CustomModel(stands_by_the_best_prices, (0.6,))
    assert np.array_equal(mml.simulate(PAPER, model, 200).profit, mml.simulate(PAPER, mml.Symmetric(0.6), 200).profit)


def test_what_nobody_quotes_nobody_earns():
    found = mml.simulate(PAPER, NOBODY, 100)
    assert not found.profit.any()
    assert not found.fills.any()
    assert math.isnan(found.mean_spread)
    assert found.two_sided_share == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_paths": 0}, "n_paths must be a whole number >= 1"), ({"n_paths": 1.5}, "n_paths must be a whole number"),
        ({"n_paths": 10**13}, "n_paths must be a whole number >= 1 and <= 100000000"),
        ({"seed": -1}, "seed must be an integer"), ({"threads": 0}, "threads must be a whole number >= 1"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        mml.simulate(PAPER, INVENTORY, **{"n_paths": 10, **arguments})


def test_a_session_that_is_no_whole_number_of_steps():
    with pytest.raises(ConfigError, match="horizon_s must be a whole number of the world's steps"):
        mml.simulate(PAPER, mml.AvellanedaStoikov(0.1, 1.5, 2, 0.0071), 10)
    found = mml.simulate(PAPER, INVENTORY, 10)
    for call in (lambda: found.mean_interval(1.0), lambda: found.certainty_equivalent(0.0)):
        with pytest.raises(ConfigError, match="must be"):
            call()


def test_without_a_compiler_it_is_the_same_world(capsys):
    code = """
import warnings; warnings.simplefilter("ignore")
import marketmakerl as mml
from marketmakerl.simulation.mids import Heston
world, model = mml.World(100, 2, 1, 0.05, 15, 1.5), mml.AvellanedaStoikov(0.1, 1.5, 2, 1)
for changes in ({}, {"latency_steps": 2}, {"fill": "poisson", "mid": Heston(1.0, 0.5, -0.5)}):
    print(mml.simulate(world.replace(**changes), model, 5, seed=1).profit.tolist())
exact = mml.evaluate_exact(world, model)
print(exact.mean, exact.std, exact.certainty_equivalent(0.1))
print(mml.optimal_policy(world.replace(q_max=4), mml.CARA(0.1)).value)
"""
    exec(code, {})  # the same lines, compiled, in this process
    compiled = capsys.readouterr().out
    plain = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True,
        check=True, timeout=250,
    ).stdout  # fmt: skip
    assert plain == compiled
    assert plain.count("\n") == 5
