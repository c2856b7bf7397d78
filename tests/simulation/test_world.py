"""A world refuses what is out of range, by name, and says what would be in it."""

import math

import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.fill_curves import Empirical, Power
from marketmakerl.simulation.mids import Heston, JumpDiffusion, OrnsteinUhlenbeck, RegimeSwitching

GOOD = {"s0": 100.0, "sigma": 2.0, "horizon_s": 1.0, "dt_s": 0.005, "arrival_rate": 140.0, "k": 1.5}


@pytest.mark.parametrize("name", [*GOOD, "order_size", "tick_size"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, "1", True, 1j, 1e21])
def test_what_must_be_positive(name, value):
    with pytest.raises(ConfigError, match=rf"{name} must be a finite number > 0 and <= 1e\+20, got"):
        mml.World(**{**GOOD, name: value})


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("fee_per_unit", math.nan, "a finite number"), ("drift", math.inf, "a finite number"),
        ("adverse_move", -0.1, "a finite number >= 0"), ("q_max", 0, "a whole number >= 1"),
        ("q_max", 2.5, "a whole number >= 1"), ("inventory_limit", 0, "a whole number >= 1"),
        ("latency_steps", -1, "a whole number >= 0"), ("latency_steps", True, "a whole number >= 0"),
    ],
)  # fmt: skip
def test_other_ranges(name, value, legal):
    with pytest.raises(ConfigError, match=f"{name} must be {legal}"):
        mml.World(**{**GOOD, name: value})


def test_a_probability_above_one_is_no_probability():
    with pytest.raises(ConfigError, match=r"arrival_rate must be <= 1 / dt_s = 200 with fill='linear'.*got 200.5"):
        mml.World(**{**GOOD, "arrival_rate": 200.5})
    mml.World(**{**GOOD, "arrival_rate": 200.0})
    mml.World(**{**GOOD, "arrival_rate": 2000.0}, fill="poisson")


@pytest.mark.parametrize(("dt_s", "horizon_s"), [(0.3, 1.0), (2.0, 1.0), (1e-9, 1.0)])
def test_steps_are_whole_and_can_be_counted(dt_s, horizon_s):
    with pytest.raises(ConfigError, match="dt_s must be"):
        mml.World(**{**GOOD, "dt_s": dt_s, "horizon_s": horizon_s, "arrival_rate": 0.1})


@pytest.mark.parametrize(("name", "value"), [("fill", "quadratic"), ("mid", "gausian"), ("curve", "exponentail")])
def test_a_name_nobody_knows(name, value):
    with pytest.raises(UnknownNameError, match=f"unknown {name} '{value}'"):
        mml.World(**GOOD, **{name: value})
    with pytest.raises(UnknownNameError, match="unknown parameter of the world 'sigm'; did you mean sigma"):
        mml.World(**GOOD).replace(sigm=1.0)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"mid": OrnsteinUhlenbeck(0.0)}, "mid.speed_per_s must be a finite number > 0"),
        ({"mid": JumpDiffusion(300.0)}, "mid.rate_per_s must be a finite number >= 0 and <= 200"),
        ({"mid": JumpDiffusion(1.0, jump_std=-1.0)}, "mid.jump_std must be a finite number >= 0"),
        ({"mid": RegimeSwitching((1.0,), (1.0,))}, "must name the same regimes, two or more"),
        ({"mid": RegimeSwitching((1.0, -1.0), (1.0, 1.0))}, "mid.factors must be a finite number > 0"),
        ({"mid": RegimeSwitching((1.0, 2.0), (1.0, 500.0))}, "mid.leave_per_s must be .* <= 200"),
        ({"mid": Heston(500.0, 1.0)}, "mid.speed_per_s must be .* <= 200"),
        ({"mid": Heston(1.0, 1.0, correlation=1.5)}, "mid.correlation must be .* >= -1 and <= 1"),
        ({"arrivals": Hawkes(5.0, 5.0)}, "branching ratio below 1"),
        ({"arrivals": Hawkes(-1.0, 5.0)}, "arrivals.excitation must be a finite number >= 0"),
        ({"arrivals": "hawkes"}, r"arrivals must be None or Hawkes"),
        ({"curve": Power(0.0, 2.0)}, "curve.scale must be a finite number > 0"),
        ({"curve": Power(1.0, 1.0)}, "curve.exponent must be a finite number > 1"),
        ({"curve": Empirical((0.0,), (1.0,))}, "two or more"),
        ({"curve": Empirical((0.0, 1.0), (0.5, 0.5))}, "must rise and curve.share fall"),
        ({"curve": Empirical((0.0, 1.0), (1.5, 0.5))}, "curve.share must be a finite number > 0 and <= 1"),
    ],
)
def test_parts_of_a_world(part, message):
    with pytest.raises(ConfigError, match=message):
        mml.World(**GOOD, **part)


def test_it_describes_itself_in_plain_json():
    from marketmakerl.core.artifacts import to_json

    world = mml.World(**GOOD, mid=Heston(1.0, 0.5), arrivals=Hawkes(1.0, 5.0), curve=Power(1.0, 2.0), q_max=7)
    described = world.as_dict()
    assert described["mid"] == {"id": "heston", "speed_per_s": 1.0, "vol_of_vol": 0.5, "correlation": 0.0}
    assert described["arrivals"]["id"] == "hawkes"
    assert described["q_max"] == 7
    assert to_json(described)


def measured(**estimates):
    from marketmakerl.models.calibration import Calibration
    from marketmakerl.models.estimate import Estimate

    made = {
        name: None if value is None else Estimate(value=value, std_error=0.1, unit="", method="by hand", n=100)
        for name, value in estimates.items()
    }
    return Calibration(
        source="a test", symbol="BTC/USDT", tier="T2", clock="ticks", first_ns=0, last_ns=10**9, observed_s=1.0,
        tick_size=0.1, lot_size=0.001, mid=50_000.0, data_hash="0", estimates=made,
        reasons={name: "too few trades" for name, value in estimates.items() if value is None},
    )  # fmt: skip


FOUND = {"sigma": 3.0, "arrival_rate": 0.8, "k": 0.02}


def test_a_world_of_what_was_measured():
    world = mml.World.from_calibration(measured(**FOUND), horizon_s=600.0, dt_s=1.0, fee_per_unit=10.0)
    assert (world.s0, world.sigma, world.arrival_rate, world.k, world.tick_size) == (50_000.0, 3.0, 0.8, 0.02, 0.1)
    assert (world.fill, world.fee_per_unit, world.steps, world.adverse_move) == ("poisson", 10.0, 600, 0.0)
    moved = measured(**FOUND, adverse_move=0.4)
    assert mml.World.from_calibration(moved, horizon_s=600.0, dt_s=1.0).adverse_move == 0.4
    favoured = measured(**FOUND, adverse_move=-0.4)
    assert mml.World.from_calibration(favoured, horizon_s=600.0, dt_s=1.0).adverse_move == 0.0
    assert mml.World.from_calibration(moved, horizon_s=600.0, dt_s=1.0, adverse_move=0.1).adverse_move == 0.1


def test_a_world_of_measured_bursts():
    bursts = {"hawkes.baseline": 0.4, "hawkes.excitation": 2.0, "hawkes.decay": 5.0}
    world = mml.World.from_calibration(measured(**FOUND, **bursts), horizon_s=600.0, dt_s=0.1, bursts=True)
    assert world.arrivals == Hawkes(excitation=2.0, decay_per_s=5.0)
    with pytest.raises(ConfigError, match="has no Hawkes process"):
        mml.World.from_calibration(measured(**FOUND), horizon_s=600.0, dt_s=0.1, bursts=True)
    with pytest.raises(ConfigError, match="has no sigma: too few trades"):
        mml.World.from_calibration(measured(**{**FOUND, "sigma": None}), horizon_s=600.0, dt_s=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon_s": 1e20, "dt_s": 1e-300}, "dt_s must be >= 9.5"), ({"mid": ["gaussian"]}, "unknown mid"),
        ({"curve": {}}, "unknown curve"),
    ],
)  # fmt: skip
def test_what_is_far_off_is_named_too(changes, message):
    with pytest.raises(ConfigError, match=message):
        mml.World(**{**GOOD, **changes})


def test_parts_take_any_sequence_of_numbers():
    for listed, plain in (
        (Empirical([0, 1], np.array([1.0, 0.5])), Empirical((0.0, 1.0), (1.0, 0.5))),
        (RegimeSwitching([1, 2], np.array([1.0, 3.0])), RegimeSwitching((1.0, 2.0), (1.0, 3.0))),
    ):
        assert listed == plain
        assert hash(listed) == hash(plain)
    for made, name in ((lambda: Empirical(1.0, (1.0,)), "curve.distance"), (lambda: RegimeSwitching("12"), "factors")):
        with pytest.raises(ConfigError, match=f"{name} must be a sequence of finite numbers"):
            made()


def test_numbers_of_any_kind_make_the_same_world():
    kinds = {"s0": np.int64(100), "sigma": np.float32(2.0), "horizon_s": 1, "q_max": np.int32(7), "tick_size": 1}
    world = mml.World(**{**GOOD, **kinds})
    assert world == mml.World(**GOOD, q_max=7, tick_size=1.0)
    assert {type(getattr(world, name)) for name in ("s0", "sigma", "horizon_s", "tick_size", "drift")} == {float}
    assert type(world.q_max) is int
