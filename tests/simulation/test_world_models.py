"""Models by name: they believe in the world's own parameters, in its units."""

import math

import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.simulation.quote_grid import quote_grid
from marketmakerl.simulation.world_models import (
    MODELS_OF_FORMULAS,
    WORLD_MODEL_IDS,
    check_models,
    inventory_reach,
    world_model,
)

PAPER = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5)
RICH = PAPER.replace(fee_per_unit=0.1, drift=0.3, adverse_move=0.2, order_size=2.0)


def test_formulas_get_what_they_have_a_place_for():
    assert world_model("avellaneda_stoikov", PAPER, gamma=0.1) == mml.AvellanedaStoikov(0.1, 1.5, 2.0, 1.0)
    assert world_model("avellaneda_stoikov_infinite", PAPER, gamma=0.1).horizon_s is None
    assert world_model("avellaneda_stoikov_rolling", PAPER, gamma=0.1).rolling
    assert world_model("symmetric", PAPER, gamma=0.1).half_spread == pytest.approx(1.49077 / 2, abs=1e-5)
    assert world_model("risk_neutral", RICH, gamma=0.1).half_spread == pytest.approx(1 / 1.5 + 0.1 + 0.1)
    for name, variant in (("glft", "stationary"), ("glft_exact", "exact"), ("glft_closed_form", "closed_form")):
        made = world_model(name, RICH, gamma=0.1)
        assert made == mml.GLFT(0.1, 1.5, 2.0, 140.0, 82, 0.1, variant, 1.0, 0.3, 0.2, 2.0)


def test_models_of_orders_fear_an_order_of_two_units_twice_as_much():
    big = PAPER.replace(order_size=2.0)
    for name in MODELS_OF_FORMULAS:
        one = world_model(name, PAPER, gamma=0.1, phi=0.2, alpha=0.02)
        two = world_model(name, big, gamma=0.05, phi=0.1, alpha=0.01)
        assert np.array_equal(quote_grid(one, [0.0, 0.5], [-3, 0, 3]), quote_grid(two, [0.0, 0.5], [-3, 0, 3])), name


@pytest.mark.parametrize("change", [{}, {"adverse_move": 0.3}, {"adverse_move": 0.3, "order_size": 3.0}])
def test_cartea_jaimungal_solves_a_world_whose_mid_moves_with_fills(change):
    """What steps are off by is proportional to their length: taken out, its quotes are the optimum's."""
    quotes = []
    for dt_s in (0.001, 0.0005):
        world = PAPER.replace(dt_s=dt_s, q_max=60, **change)
        phi, alpha = 0.3 / world.order_size, 0.05 / world.order_size
        best = mml.optimal_policy(world, mml.RunningPenalty(phi, alpha))
        quotes.append(quote_grid(best, [0.0, 0.9], range(-5, 6)))
    model = world_model("cartea_jaimungal", world, gamma=0.1, phi=phi, alpha=alpha)
    assert quote_grid(model, [0.0, 0.9], range(-5, 6)) == pytest.approx(2 * quotes[1] - quotes[0], abs=0.0005)


def test_phi_is_by_default_what_a_cara_maker_fears():
    assert world_model("cartea_jaimungal", PAPER, gamma=0.1).phi == pytest.approx(0.1 * 4 / 2)


def test_the_optima():
    assert world_model("optimal", PAPER, gamma=0.1).value == pytest.approx(65.248, abs=5e-4)
    penalised = world_model("optimal_penalty", PAPER, gamma=0.1, phi=0.01, alpha=0.001)
    assert penalised.objective == mml.RunningPenalty(0.01, 0.001)
    assert world_model("optimal", PAPER, gamma=0.1, params={"q_max": 12.0}).q_max == 12


def test_parameters_can_be_set_by_name():
    assert world_model("glft", PAPER, gamma=0.1, params={"k": 2.0, "q_max": 10.0}).k == 2.0
    assert world_model("symmetric", PAPER, gamma=0.1, params={"half_spread": 0.4}) == mml.Symmetric(0.4)


def test_the_reach_is_the_world_s_bound_or_far_enough():
    assert inventory_reach(PAPER) == math.ceil(8 * math.sqrt(2 * 140 / math.e))
    assert inventory_reach(PAPER.replace(inventory_limit=4)) == 4
    assert inventory_reach(PAPER.replace(arrival_rate=1.0)) == 30
    assert inventory_reach(PAPER.replace(horizon_s=100.0)) == 250


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("glft_exakt", {}, "unknown model 'glft_exakt'; did you mean glft_exact"),
        ("glft", {"gamma": 0.0}, "gamma must be a finite number > 0, got 0.0"),
        ("glft", {"gamma": math.inf}, "gamma must be a finite number > 0"),
        ("cartea_jaimungal", {"phi": -1.0}, "phi must be a finite number >= 0"),
        ("optimal_penalty", {"alpha": math.nan}, "alpha must be a finite number >= 0"),
        ("glft", {"params": {"kk": 1.0}}, "unknown parameter of glft 'kk'"),
        ("glft", {"params": {"k": -1.0}}, "glft: k must be a finite number > 0"),
        ("optimal", {"params": {"gamma": 1.0}}, "unknown parameter of optimal 'gamma'"),
        ("optimal", {"params": {"q_max": 1.5}}, "q_max must be a whole number >= 1"),
    ],
)
def test_bad_input_is_named(name, given, message):
    with pytest.raises(ConfigError, match=message):
        world_model(name, PAPER, **{"gamma": 0.1, **given})


def test_lists_of_models_are_checked():
    check_models(WORLD_MODEL_IDS)
    with pytest.raises(ConfigError, match="no model named"):
        check_models(())
    with pytest.raises(ConfigError, match="model glft is named twice"):
        check_models(("glft", "symmetric", "glft"))
    with pytest.raises(UnknownNameError):
        check_models(("glft", "nobody"))


def test_the_grid_follows_a_session_that_begins_anew():
    model = mml.AvellanedaStoikov(0.1, 1.5, 2.0, 0.5)
    grid = quote_grid(model, [0.1, 0.6], [2])
    assert grid[0] == pytest.approx(grid[1])
    assert grid[0, 0] == pytest.approx(model.offsets(2, 0.4))
    bound = quote_grid(mml.GLFT(0.1, 1.5, 2, 140, 3), [0.0], [-3, 3])[0]
    assert np.isnan(bound).tolist() == [[False, True], [True, False]]
