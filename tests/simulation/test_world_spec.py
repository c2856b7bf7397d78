"""Parts of a world from names and numbers."""

import pytest

from marketmakerl.core.errors import ConfigError
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.fill_curves import Empirical, Exponential, Power
from marketmakerl.simulation.mids import Heston, JumpDiffusion, RegimeSwitching
from marketmakerl.simulation.world_spec import CURVE_IDS, MID_IDS, curve_of, hawkes_of, mid_of


def test_parts_are_made_by_name():
    assert mid_of("jump_diffusion", {"rate_per_s": 2.0, "jump_std": 1.0}) == JumpDiffusion(2.0, 0.0, 1.0)
    assert mid_of("regime_switching", {"factors": (0.5, 3.0)}) == RegimeSwitching((0.5, 3.0))
    assert mid_of("regime_switching", {"factors": 0.5}).factors == (0.5,)  # one number is a list too
    assert mid_of("heston", {"speed_per_s": 5.0, "vol_of_vol": 4.0}) == Heston(5.0, 4.0)
    assert curve_of("exponential", {}) == Exponential()
    assert curve_of("power", {"scale": 1.0, "exponent": 3.0}) == Power(1.0, 3.0)
    assert curve_of("empirical", {"distance": (0.0, 1.0), "share": (1.0, 0.2)}) == Empirical((0.0, 1.0), (1.0, 0.2))
    assert hawkes_of({"excitation": 5.0, "decay_per_s": 20.0}) == Hawkes(5.0, 20.0)
    assert len(MID_IDS) == 8
    assert len(CURVE_IDS) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mid_of("brownian", {}), "unknown mid 'brownian'; known: binomial, gaussian"),
        (lambda: mid_of("jump_diffusion", {}), "mid jump_diffusion needs rate_per_s: add --mid-param rate_per_s="),
        (lambda: mid_of("gaussian", {"rate": 1.0}), "unknown parameter of mid gaussian 'rate'"),
        (lambda: mid_of("heston", {"speed": 1.0}), "unknown parameter of mid heston 'speed'; did you mean speed_per_s"),
        (lambda: mid_of("jump_diffusion", {"rate_per_s": (1.0, 2.0)}), "rate_per_s must be one number, got 1,2"),
        (lambda: curve_of("power", {"scale": 1.0}), "curve power needs exponent: add --curve-param exponent="),
        (lambda: curve_of("powder", {}), "unknown curve 'powder'; did you mean power"),
        (lambda: hawkes_of({"excitation": 5.0}), "hawkes needs decay_per_s: add --hawkes decay_per_s="),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
