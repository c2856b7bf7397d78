"""Every limit in one frozen config, and the record the compiled code reads it from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from marketmakerl.core.errors import ConfigError

# A run that loses this share of its budget has failed (DESIGN); the hard breaker must act before.
FAILURE_DRAWDOWN_PCT = 0.40

RISK = np.dtype(
    [
        ("edge_bps", "f8"),  # NaN: off, as everywhere below
        ("vol_fast_s", "f8"),
        ("vol_slow_s", "f8"),
        ("vol_widen_max", "f8"),
        ("soft_inventory_pct", "f8"),
        ("hard_inventory_pct", "f8"),
        ("adverse_move_sigma", "f8"),
        ("adverse_move_s", "f8"),
        ("cooldown_sigma", "f8"),
        ("cooldown_s", "f8"),
        ("soft_drawdown_pct", "f8"),
        ("hard_drawdown_pct", "f8"),
        ("risk_off_scale", "f8"),
        ("risk_off_widen", "f8"),
        ("liquidation_slippage_bps", "f8"),
    ],
    align=True,
)


@dataclass(frozen=True)
class RiskLimits:
    """What may not happen. Everything is on by default; None switches one control off, `RiskLimits.off()` all.

    Inventory means the position less its target. Shares (`_pct`, fractions) are of the opening budget.

    Args:
        min_edge_bps: edge filter: a side is quoted only if its distance from the mid exceeds the maker fee by this.
            The side that reduces an inventory is exempt: getting rid of risk may cost.
        vol_widen_max: spread widening: quotes are widened by fast over slow volatility, up to this factor.
        vol_fast_s, vol_slow_s: half-lives of the two volatilities, seconds.
        soft_inventory_pct: from here on the side that adds is cut in size, to nothing at the hard limit.
        hard_inventory_pct: the side that adds is not quoted, and no order could carry the inventory past it.
        adverse_move_sigma: entry filter: a move of so many sigmas over `adverse_move_s` stops the side it runs over.
        adverse_move_s: memory of that move, seconds.
        cooldown_sigma: a fill that the mid has left so many sigmas behind by the next decision was adverse.
        cooldown_s: how long that side then stays out, seconds.
        soft_drawdown_pct: breaker to REDUCING: sizes and inventory limits shrink by `risk_off_scale`, quotes widen.
        hard_drawdown_pct: breaker to HALTED: everything is cancelled and the position is liquidated as taker.
        risk_off_scale: factor on sizes and inventory limits while REDUCING, in (0, 1].
        risk_off_widen: factor on distances while REDUCING, >= 1.
        liquidation_slippage_bps: what a liquidation pays beyond the taker fee (a declared assumption).

    Raises:
        ConfigError: a number out of range; soft above hard; a hard drawdown at 40 % or more, where the run has failed.
    """

    min_edge_bps: float | None = 0.25
    vol_widen_max: float | None = 3.0
    vol_fast_s: float = 600.0
    vol_slow_s: float = 14_400.0
    soft_inventory_pct: float | None = 0.20
    hard_inventory_pct: float | None = 0.40
    adverse_move_sigma: float | None = 4.0
    adverse_move_s: float = 300.0
    cooldown_sigma: float | None = 3.0
    cooldown_s: float = 300.0
    soft_drawdown_pct: float | None = 0.10
    hard_drawdown_pct: float | None = 0.15
    risk_off_scale: float = 0.5
    risk_off_widen: float = 1.5
    liquidation_slippage_bps: float = 5.0

    def __post_init__(self) -> None:
        self._check_numbers()
        for name in ("vol_fast_s", "vol_slow_s", "adverse_move_s", "cooldown_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"risk limit {name} must be > 0, got {getattr(self, name)!r}")
        for soft, hard in (
            ("soft_inventory_pct", "hard_inventory_pct"),
            ("soft_drawdown_pct", "hard_drawdown_pct"),
            ("vol_fast_s", "vol_slow_s"),
        ):
            low, high = getattr(self, soft), getattr(self, hard)
            if low is not None and high is not None and low >= high:
                raise ConfigError(f"risk limit {soft} ({low:g}) must be below {hard} ({high:g})")
        if self.soft_inventory_pct is not None and self.hard_inventory_pct is None:
            raise ConfigError("risk limit soft_inventory_pct cuts sizes on the way to hard_inventory_pct: set both")
        if self.hard_drawdown_pct is not None and self.hard_drawdown_pct >= FAILURE_DRAWDOWN_PCT:
            raise ConfigError(
                f"risk limit hard_drawdown_pct ({self.hard_drawdown_pct:g}) must be below {FAILURE_DRAWDOWN_PCT:g}: "
                "there the run has failed"
            )
        if not 0 < self.risk_off_scale <= 1 or self.risk_off_widen < 1 or (self.vol_widen_max or 1) < 1:
            raise ConfigError("risk limits: risk_off_scale must be in (0, 1], risk_off_widen and vol_widen_max >= 1")

    def _check_numbers(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and "None" in str(field.type):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise ConfigError(f"risk limit {field.name} must be a finite number >= 0, got {value!r}")

    @classmethod
    def off(cls) -> RiskLimits:
        """Return limits that limit nothing: for theory, and to see what the controls cost."""
        return cls(
            min_edge_bps=None,
            vol_widen_max=None,
            soft_inventory_pct=None,
            hard_inventory_pct=None,
            adverse_move_sigma=None,
            cooldown_sigma=None,
            soft_drawdown_pct=None,
            hard_drawdown_pct=None,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)

    def record(self) -> Any:
        """Return the limits as the record that the compiled code reads."""
        record = np.zeros(1, RISK).view(np.recarray)[0]
        values = {"edge_bps": self.min_edge_bps} | asdict(self)
        for name in RISK.names or ():
            value = values[name]
            setattr(record, name, math.nan if value is None else value)
        return record
