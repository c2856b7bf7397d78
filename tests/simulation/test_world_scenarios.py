"""Scenarios in a model world: what they change, and why not where a world has nothing that they could change."""

from __future__ import annotations

import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.data.tape_scenarios import TAPE_SCENARIOS
from marketmakerl.simulation.fill_curves import Empirical, Power
from marketmakerl.simulation.mids import Heston, Scripted
from marketmakerl.simulation.simulate import simulate_paths
from marketmakerl.simulation.world import PAPER_WORLD
from marketmakerl.simulation.world_scenarios import NOT_IN_A_WORLD, WORLD_SCENARIOS, stressed_world
from marketmakerl.validation.stress_scenarios import SCENARIOS

STILL = mml.World(100.0, 1e-9, 600.0, 1.0, 0.05, 1.5)
MODEL = mml.Symmetric(1e3)  # it quotes where nobody comes: what is seen is the mid alone


def path_of(world: mml.World) -> np.ndarray:
    return simulate_paths(world, MODEL, 1, 0).mid[0]


def test_every_scenario_is_known_to_worlds_one_way_or_the_other():
    assert set(WORLD_SCENARIOS) | set(NOT_IN_A_WORLD) == set(SCENARIOS)
    assert set(SCENARIOS) >= set(TAPE_SCENARIOS)
    with pytest.raises(UnknownNameError, match="gap_down_10"):
        stressed_world(STILL, "gap_down_1")


@pytest.mark.parametrize(("name", "move"), [("gap_down_5", -5), ("gap_down_20", -20), ("gap_up_10", 10)])
def test_a_gap_is_one_step_a_quarter_into_the_run(name, move):
    path = path_of(stressed_world(STILL, name))
    assert path[:151] == pytest.approx(100.0, abs=1e-6)
    assert path[151:] == pytest.approx(100.0 + move, abs=1e-6)


def test_a_crash_comes_back_and_a_trend_does_not():
    crash = path_of(stressed_world(STILL, "flash_crash"))
    assert int(crash.argmin()) == 150 + 60
    assert crash.min() == pytest.approx(90.0, abs=1e-6)
    assert crash[150 + 60 + 150] == pytest.approx(95.0, abs=1e-6)
    assert crash[-1] == pytest.approx(100.0, abs=1e-6)
    trend = path_of(stressed_world(STILL.replace(drift=0.01), "trend_down"))
    assert trend[300] == pytest.approx(100.0 - 10.0 + 3.0, abs=1e-5)
    assert trend[-1] == pytest.approx(80.0 + 6.0, abs=1e-5)


def test_a_script_lies_on_top_of_the_same_noise():
    world = PAPER_WORLD.replace(mid=Scripted((0.0, 1.0), (0.0, 5.0)))
    plain, scripted = path_of(PAPER_WORLD), path_of(world)
    assert scripted - plain == pytest.approx(np.linspace(0.0, 5.0, 201), abs=1e-9)


def test_a_thin_book_stretches_every_curve():
    thin = stressed_world(PAPER_WORLD, "thin_book")
    assert (thin.arrival_rate, thin.k) == (pytest.approx(14.0), pytest.approx(0.15))
    for curve in (Power(0.5, 3.0), Empirical((0.1, 0.5, 1.0), (1.0, 0.5, 0.1))):
        world = PAPER_WORLD.replace(curve=curve)
        wide = stressed_world(world, "thin_book").fill_curve.as_dict()
        name = "scale" if isinstance(curve, Power) else "distance"
        assert np.array(wide[name]) == pytest.approx(10 * np.array(curve.as_dict()[name]))


def test_fees_double_a_rebate_goes_and_quotes_come_fifty_times_as_late():
    assert stressed_world(PAPER_WORLD.replace(fee_per_unit=0.2), "fees_x2").fee_per_unit == 0.4
    assert stressed_world(PAPER_WORLD.replace(fee_per_unit=-0.2), "fees_x2").fee_per_unit == 0.0
    assert stressed_world(PAPER_WORLD, "latency_x50").latency_steps == 50
    assert stressed_world(PAPER_WORLD.replace(latency_steps=2), "latency_x50").latency_steps == 100


@pytest.mark.parametrize(
    ("world", "name", "message"),
    [
        (PAPER_WORLD, "fees_x2", "no fee to double"),
        (PAPER_WORLD, "feed_outage", "no feed"),
        (PAPER_WORLD, "message_flood", "no messages"),
        (PAPER_WORLD, "venue_rejects", "no orders that could be rejected"),
        (PAPER_WORLD.replace(latency_steps=4), "latency_x50", "none ever would"),
        (PAPER_WORLD.replace(mid=Heston(1.0, 0.5)), "gap_up_5", "gaussian mid alone, and this one is heston"),
        (PAPER_WORLD.replace(dt_s=1.0, arrival_rate=0.5), "gap_up_5", None),
    ],
)
def test_what_a_world_cannot_show_it_says(world, name, message):
    if message is None:
        assert path_of(stressed_world(world, name))[1] == pytest.approx(path_of(world)[1] + 5.0)
        return
    with pytest.raises(ConfigError, match=message):
        stressed_world(world, name)


@pytest.mark.parametrize(
    ("times", "offsets", "message"),
    [
        ((0.0,), (0.0,), "two or more"),
        ((0.0, 1.0), (0.0,), "two or more"),
        ((1.0, 0.5), (0.0, 1.0), "must rise"),
        ((-1.0, 0.5), (0.0, 1.0), "must rise"),
        ((0.0, 0.5), (1.0, 1.0), "must begin with 0"),
        ((0.0, 0.5), (0.0, float("nan")), "finite"),
    ],
)
def test_a_script_that_is_none_is_refused(times, offsets, message):
    with pytest.raises(ConfigError, match=message):
        PAPER_WORLD.replace(mid=Scripted(times, offsets))
