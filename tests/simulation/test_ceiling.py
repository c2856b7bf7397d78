"""What models leave on the table, against the published figures and against the sum over all ways a run can go."""

import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.ceiling import ceiling, objective_value
from marketmakerl.simulation.world_models import MODELS_OF_FORMULAS, world_model
from oracles import world as oracle

PAPER = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5)


def standings(world, gamma, objective=None):
    models = {name: world_model(name, world, gamma=gamma) for name in MODELS_OF_FORMULAS}
    found = ceiling(world, models, objective or mml.CARA(gamma))
    return {standing.model: standing for standing in found.standings}


def test_the_published_table():
    found = standings(PAPER, 0.1)
    for name, mean, std, ce in (
        ("avellaneda_stoikov", 64.89, 6.54, 62.79),
        ("glft_exact", 67.83, 7.25, 65.24),
        ("glft_closed_form", 67.73, 7.18, 65.19),
    ):
        assert (round(found[name].mean, 2), round(found[name].std, 2), round(found[name].value, 2)) == (mean, std, ce)
    assert round(found["optimal"].value, 3) == 65.248
    assert round(found["glft_exact"].value, 3) == 65.237
    assert round(found["symmetric"].mean, 4) == 68.2282
    assert round(found["avellaneda_stoikov"].inventory_std, 4) == 2.9268


def test_the_published_figures_with_a_fee():
    found = standings(PAPER.replace(fee_per_unit=0.2), 0.1)
    assert round(found["glft_exact"].value, 2) == 47.90


@pytest.mark.parametrize("objective", [mml.CARA(0.1), mml.RunningPenalty(0.2, 0.01)])
@pytest.mark.parametrize("change", [{}, {"adverse_move": 0.1, "fee_per_unit": 0.05, "order_size": 2.0, "drift": 0.5}])
def test_nobody_is_above_the_ceiling(objective, change):
    found = standings(PAPER.replace(**change), 0.1, objective)
    best = found.pop("optimal")
    assert best.left == 0.0
    for standing in found.values():
        assert standing.left == best.value - standing.value >= 0.0
        assert standing.left_share == pytest.approx(standing.left / best.value)


def test_the_optimum_comes_first_and_the_rest_by_value():
    models = {name: world_model(name, PAPER, gamma=0.1) for name in ("symmetric", "glft")}
    found = ceiling(PAPER, models, mml.CARA(0.1), name="best")
    assert [standing.model for standing in found.standings] == ["best", "glft", "symmetric"]


def test_a_running_penalty_is_what_the_sum_over_all_ways_says():
    world = mml.World(
        s0=50, sigma=1.5, horizon_s=0.4, dt_s=0.1, arrival_rate=6.0, k=1.0, drift=0.7, adverse_move=0.05,
        fee_per_unit=0.02, order_size=2.0,
    )  # fmt: skip
    model = mml.AvellanedaStoikov(0.3, 1.0, 1.5, 0.4)

    def quotes(step, q):
        bid, ask = model.offsets(q, 0.4 - 0.1 * step)
        return [bid], [ask]

    def share(distance):
        return 2.718281828459045 ** (-1.0 * distance)

    found = list(oracle.leaves(4, quotes, rate_dt=0.6, share=share, fee=0.02, size=2.0, adverse=0.05))
    expected = oracle.penalised(found, 0.4, 0.2, 0.1, 2.0, 0.07)
    got = objective_value(mml.evaluate_exact(world, model), mml.RunningPenalty(0.4, 0.2))
    assert got == pytest.approx(expected, abs=1e-10)


def test_the_policy_s_own_value_is_what_it_is_found_to_earn():
    objective = mml.RunningPenalty(0.5, 0.01)
    best = mml.optimal_policy(PAPER, objective)
    assert objective_value(mml.evaluate_exact(PAPER, best), objective) == pytest.approx(best.value, abs=1e-7)


def test_a_world_without_an_optimum_says_so():
    with pytest.raises(ConfigError, match="optimal_policy needs independent steps"):
        ceiling(PAPER.replace(arrivals=Hawkes(10.0, 40.0)), {}, mml.CARA(0.1))
