"""Mean against standard deviation over the risk aversion."""

from itertools import pairwise

import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.simulation.frontier import FAMILIES, frontier, gammas_around

PAPER = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5)


@pytest.mark.parametrize("family", FAMILIES)
def test_who_fears_more_earns_less_and_risks_less(family):
    points = frontier(PAPER, family, gammas_around(0.1))
    assert [point.gamma for point in points] == [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
    for bold, timid in pairwise(points):
        assert timid.mean < bold.mean
        assert timid.std < bold.std
        assert timid.inventory_std < bold.inventory_std


def test_the_optimum_has_the_highest_certainty_equivalent_at_every_gamma():
    gammas = (0.02, 0.1, 0.5)
    best = frontier(PAPER, "optimal", gammas)
    for family in ("avellaneda_stoikov", "glft", "glft_exact"):
        for point, top in zip(frontier(PAPER, family, gammas), best, strict=True):
            assert point.certainty_equivalent < top.certainty_equivalent


def test_a_point_is_the_exact_evaluator_s():
    (point,) = frontier(PAPER, "avellaneda_stoikov", [0.01])
    assert round(point.mean, 4) == 68.3996
    assert round(point.std, 4) == 8.9606
    assert round(point.inventory_std, 4) == 5.2125


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match="gamma must be a finite number > 0"):
        frontier(PAPER, "glft", [0.1, -1.0])
    with pytest.raises(UnknownNameError, match="did you mean"):
        frontier(PAPER, "optimall", [0.1])
    with pytest.raises(ConfigError, match="gamma must be"):
        gammas_around(float("inf"))
