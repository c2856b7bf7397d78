"""Models on the same paths: the differences, their intervals and the ranking."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.assess import assess
from marketmakerl.simulation.compare import compare
from marketmakerl.simulation.world_models import world_model

PAPER = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5)
BURSTS = PAPER.replace(arrivals=Hawkes(10.0, 40.0))
GAMMA = 0.02


def models(world, *names):
    return {name: world_model(name, world, gamma=GAMMA) for name in names}


def test_differences_are_of_the_same_paths():
    names = ("avellaneda_stoikov", "glft_exact", "symmetric", "optimal")
    made = models(PAPER, *names)
    found = compare(PAPER, made, 3000, 7, gamma=GAMMA, level=0.9)
    profit = {name: mml.simulate(PAPER, model, 3000, 7).profit for name, model in made.items()}
    # Against the baseline and the optimum; those two against each other are one look.
    assert found.pairs == 2 + 2 + 1
    quantile = NormalDist().inv_cdf(1 - 0.1 / 5 / 2)
    for name, against in itertools.product(names, ("avellaneda_stoikov", "optimal")):
        if name == against:
            continue
        difference = found.difference(name, against)
        each = profit[name] - profit[against]
        half = quantile * each.std(ddof=1) / math.sqrt(3000)
        assert difference.mean == pytest.approx(each.mean(), rel=1e-12)
        assert difference.mean_high - difference.mean == pytest.approx(half, rel=1e-9)
        assert difference.mean - difference.mean_low == pytest.approx(half, rel=1e-9)


def test_pairing_is_what_makes_the_intervals_narrow():
    found = compare(PAPER, models(PAPER, "glft", "glft_exact"), 3000, 1, gamma=GAMMA, baseline="glft")
    difference = found.difference("glft_exact", "glft")
    apart = math.hypot(*(entry.result.std for entry in found.entries)) / math.sqrt(3000) * 1.96
    assert 0 < difference.mean_high - difference.mean < 0.25 * apart


def test_exact_differences_lie_in_the_intervals_that_hold_together():
    names = ("avellaneda_stoikov", "glft", "glft_exact", "glft_closed_form", "symmetric", "optimal")
    found = compare(PAPER, models(PAPER, *names), 20_000, 3, gamma=GAMMA)
    for difference in found.differences:
        assert difference.mean_low < difference.mean_exact < difference.mean_high
        assert difference.ce_is_exact
        assert difference.ce_low == difference.ce == difference.ce_high


def test_without_exact_figures_the_certainty_equivalent_has_the_delta_method_s_interval():
    made = models(BURSTS, "avellaneda_stoikov", "glft")
    found = compare(BURSTS, made, 4000, 5, gamma=GAMMA)
    profit = {name: mml.simulate(BURSTS, model, 4000, 5).profit for name, model in made.items()}
    ce, influence = {}, {}
    for name, values in profit.items():
        factors = np.exp(-GAMMA * values)
        ce[name] = -math.log(factors.mean()) / GAMMA
        influence[name] = -(factors / factors.mean() - 1.0) / GAMMA
    difference = found.difference("glft", "avellaneda_stoikov")
    assert not difference.ce_is_exact
    assert difference.mean_exact is None
    assert difference.ce == pytest.approx(ce["glft"] - ce["avellaneda_stoikov"], rel=1e-9)
    spread = (influence["glft"] - influence["avellaneda_stoikov"]).std(ddof=1)
    half = NormalDist().inv_cdf(0.975) * spread / math.sqrt(4000)
    assert difference.ce_high - difference.ce == pytest.approx(half, rel=1e-6)
    assert found.entries[0].why_sampled == "arrivals come in bursts"


def test_the_ranking_is_by_certainty_equivalent():
    found = compare(PAPER, models(PAPER, "symmetric", "optimal", "glft_exact"), 2000, gamma=0.1)
    assert [entry.name for entry in found.entries] == ["optimal", "glft_exact", "symmetric"]
    assert [found.rank(name) for name in ("symmetric", "optimal")] == [3, 1]
    assert found.references == ("symmetric", "optimal")  # no avellaneda_stoikov: the first is the baseline
    with pytest.raises(UnknownNameError, match="unknown model of the comparison 'glft'"):
        found.rank("glft")
    with pytest.raises(ConfigError, match="optimal was not compared with glft_exact"):
        found.difference("optimal", "glft_exact")


def test_sampled_intervals_hold_the_exact_figures():
    done = assess(PAPER, world_model("avellaneda_stoikov", PAPER, gamma=0.1), 50_000, 11, gamma=0.1)
    bounds = done.intervals(0.999)
    for name, exact in (
        ("mean", 64.8925), ("std", 6.5432), ("inventory_std", 2.9268),
        ("certainty_equivalent", done.certainty_equivalent),
    ):  # fmt: skip
        low, high = bounds[name]
        assert low < exact < high, name
        assert high - low < 0.25
    low, high = bounds["loss_share"]
    assert low == 0.0
    assert 0.0 < high < 3e-4  # no path of 50,000 loses, which is not never


def test_how_many_paths_decide_a_certainty_equivalent():
    done = assess(PAPER, world_model("symmetric", PAPER, gamma=0.1), 20_000, gamma=0.1, exact=False)
    weights = np.exp(-0.1 * (done.result.profit - done.result.profit.min()))
    assert done.effective_paths == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=1e-9)
    assert done.effective_paths < 500
    assert done.exact is None
    assert done.why_sampled == "not asked for"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"latency_steps": 1}, "quotes that arrive late depend on the past"),
        ({"mid": "geometric"}, "the steps of a geometric mid are not independent of the price"),
        ({"dt_s": 1e-5}, "100,000 steps take a while, and were not asked for"),
    ],
)
def test_why_there_are_no_exact_figures(change, why):
    done = assess(PAPER.replace(**change), mml.Symmetric(0.7), 2, gamma=0.1)
    assert done.why_sampled == why


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_paths": 1}, "n_paths must be a whole number >= 2"),
        ({"gamma": 0.0}, "gamma must be a finite number > 0"),
        ({"gamma": math.nan}, "gamma must be a finite number > 0"),
        ({"level": 1.0}, "level must be between 0 and 1"),
        ({"baseline": "glft"}, "unknown baseline 'glft'"),
        ({"models": {}}, "nothing to compare"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"models": {"symmetric": mml.Symmetric(0.7)}, "n_paths": 10, "gamma": 0.1} | change
    with pytest.raises(ConfigError, match=message):
        compare(PAPER, **given)


def test_exact_figures_that_are_insisted_on_must_exist():
    with pytest.raises(ConfigError, match="evaluate_exact needs independent steps"):
        assess(BURSTS, mml.Symmetric(0.7), 2, gamma=0.1, exact=True)
