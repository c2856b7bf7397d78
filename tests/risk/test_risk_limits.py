import dataclasses
import math

import numpy as np
import pytest

from marketmakerl import RiskLimits
from marketmakerl.core.errors import ConfigError
from marketmakerl.risk.limits import OFF, RISK


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"hard_drawdown_pct": 0.40}, "must be below 0.4"),
        ({"soft_drawdown_pct": 0.2}, "must be below hard_drawdown_pct"),
        ({"soft_inventory_pct": 0.5}, "must be below hard_inventory_pct"),
        ({"hard_drawdown_pct": -0.1}, "hard_drawdown_pct"),
        ({"cooldown_s": 0.0}, "cooldown_s"),
        ({"hard_inventory_pct": None}, "set both"),
        ({"vol_fast_s": 1e9}, "vol_fast_s"),
        ({"risk_off_scale": 0.0}, "risk_off_scale"),
        ({"risk_off_widen": 0.5}, "risk_off_widen"),
        ({"min_edge_bps": float("nan")}, "min_edge_bps"),
        ({"vol_slow_s": None}, "vol_slow_s"),
        ({"daily_loss_pct": 0.5}, "must be below 0.4"),
        ({"soft_inventory_skew": 1.0}, "soft_inventory_skew"),
        ({"max_orders": 0}, "max_orders must be a whole number > 0"),
        ({"max_orders": 1.5}, "max_orders"),
        ({"max_rejects": True}, "max_rejects"),
        ({"check_duplicates": 1}, "check_duplicates must be True or False"),
        ({"learn_adverse_selection": None}, "learn_adverse_selection"),
        ({"price_collar_pct": 0.0}, "price_collar_pct must be > 0"),
        ({"price_collar_pct": 1.0}, "price_collar_pct must be below 1"),
        ({"rate_window_s": 0.0}, "rate_window_s"),
        ({"rate_window_s": 1e12}, "at most 1e\\+09 seconds"),
        ({"reject_pause_s": 1e12}, "reject_pause_s must be at most"),
        (
            {"cooldown_s": 1e12},
            "cooldown_s must be at most",
        ),  # in nanoseconds it would wrap around, and end before it began
        ({"flat_timezone": "Mars/Base"}, "IANA zone"),
        ({"flat_timezone": None}, "IANA zone"),
        ({"flat_windows": "Fri 15:55-Sun 18:00"}, "must be a tuple"),
        ({"flat_windows": ("Fri 15:55",)}, "is no window"),
        ({"flat_windows": ("Fri 25:00-Sun 18:00",)}, "no such time of day"),
        ({"flat_windows": ("Fri 15:55-Fri 15:55",)}, "has no length"),
        ({"flat_windows": ("Fri 15:55-Sun 18:00",), "flat_timezone": "Mars/Base"}, "IANA zone"),
        ({"flat_windows": ("Fri 15:55-Sun 18:00",) * 17}, "at most 16"),
    ],
)
def test_limits_that_make_no_sense(bad, text):
    with pytest.raises(ConfigError, match=text):
        RiskLimits(**bad)


def test_the_record_holds_every_limit_and_off_is_nan():
    on, off = RiskLimits(adverse_selection_bps=1.0).record(), RiskLimits.off().record()
    for name in RISK.names:
        assert np.all(np.isfinite(getattr(on, name))), name
    for name in ("min_edge_bps", "vol_widen_max", "hard_inventory_pct", "adverse_move_sigma", "hard_drawdown_pct"):
        assert math.isnan(getattr(off, name)), name
    assert off.rate_bucket_ns == 0
    assert off.max_orders > 1 << 39
    assert off.check_self_match == off.check_duplicates == off.learn_adverse_selection == 0


def test_every_control_can_be_switched_off_alone():
    for name, value in OFF.items():
        limits = RiskLimits().without(name)
        assert getattr(limits, name) == value
        changed = {field.name for field in dataclasses.fields(limits)
                   if getattr(limits, field.name) != getattr(RiskLimits(), field.name)}  # fmt: skip
        assert changed <= {name, "soft_inventory_pct"}
        assert getattr(RiskLimits.off(), name) == value
    with pytest.raises(ConfigError, match="no risk control 'nonsense'"):
        RiskLimits().without("nonsense")


def test_what_is_learned_is_not_what_is_given():
    assert RiskLimits().record().learn_adverse_selection == 1
    assert RiskLimits().record(learns=False).learn_adverse_selection == 0
    assert RiskLimits(adverse_selection_bps=0.5).record().learn_adverse_selection == 0


def test_limits_survive_json():
    limits = RiskLimits(flat_windows=("Fri 15:55-Sun 18:00",), flat_timezone="America/New_York", max_orders=None)
    assert RiskLimits(**limits.as_dict()) == limits
