import math

import pytest

from marketmakerl import RiskLimits
from marketmakerl.core.errors import ConfigError
from marketmakerl.risk.limits import RISK


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
    ],
)
def test_limits_that_make_no_sense(bad, text):
    with pytest.raises(ConfigError, match=text):
        RiskLimits(**bad)


def test_the_record_holds_every_limit_and_off_is_nan():
    on, off = RiskLimits().record(), RiskLimits.off().record()
    for name in RISK.names:
        assert math.isfinite(getattr(on, name)), name
    for name in ("edge_bps", "vol_widen_max", "hard_inventory_pct", "adverse_move_sigma", "hard_drawdown_pct"):
        assert math.isnan(getattr(off, name)), name
