"""Every limit in one frozen config, and the record the compiled code reads it from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.risk.schedule import SCHEDULE_FIELDS, check_windows, write_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

# A run that loses this share of its budget has failed (DESIGN); the hard breaker must act before.
FAILURE_DRAWDOWN_PCT: Final = 0.40
MOST_IN_WINDOW: Final = 1 << 40
# What is counted in nanoseconds must stay within 64 bits, added to a time of today.
LONGEST_S: Final = 1e9

_NUMBERS = (
    "min_edge_bps", "adverse_selection_bps", "vol_widen_max", "vol_fast_s", "vol_slow_s", "soft_inventory_pct",
    "soft_inventory_skew", "hard_inventory_pct", "risk_off_vol_ratio", "risk_off_scale", "risk_off_widen",
    "adverse_move_sigma", "adverse_move_s", "cooldown_sigma", "cooldown_s", "one_sided_fills", "stale_data_s",
    "max_spread_bps", "stop_loss_pct", "take_profit_pct", "max_holding_s", "soft_drawdown_pct", "hard_drawdown_pct",
    "daily_loss_pct", "concentration_pct", "zombie_order_s", "price_collar_pct", "max_order_notional_pct",
    "max_order_multiple", "liquidation_slippage_bps",
)  # fmt: skip
# Counters, whole numbers; a limit that is off is more than there can be.
_COUNTS = ("max_orders", "max_messages", "max_executions", "max_rejects", "reject_pause_after")

RISK = np.dtype(
    [
        *((name, "f8") for name in _NUMBERS),  # NaN: off
        *((name, "i8") for name in _COUNTS),
        ("learn_adverse_selection", "i8"),
        ("rate_bucket_ns", "i8"),
        ("reject_pause_ns", "i8"),
        ("check_duplicates", "i8"),
        ("check_self_match", "i8"),
        *SCHEDULE_FIELDS,
    ],
    align=True,
)
# A window of rates is so many buckets: one more than these always covers it, whenever it begins.
RATE_BUCKETS: Final = 16
_POSITIVE = ("vol_fast_s", "vol_slow_s", "adverse_move_s", "cooldown_s", "rate_window_s", "reject_pause_s")
_RISING = (
    ("soft_inventory_pct", "hard_inventory_pct"),
    ("soft_drawdown_pct", "hard_drawdown_pct"),
    ("vol_fast_s", "vol_slow_s"),
)


@dataclass(frozen=True)
class RiskLimits:
    """What may not happen. Everything is on by default; None switches one control off, `RiskLimits.off()` all.

    Inventory means the position less its target. Shares (`_pct`, fractions) are of the opening budget. docs/risk.md
    says of each control what it does, when it acts, what it costs, and which test fails without it.

    Args:
        min_edge_bps: edge filter: a side is quoted only if its distance from the mid, without what volatility and
            REDUCING have widened it by, exceeds the maker fee and the expected adverse selection by this. The side
            that reduces an inventory is exempt: getting rid of risk may cost.
        adverse_selection_bps: how far the mid is expected to move against a fill (see `mml calibrate`); None: learned
            from the fills of the run on ticks, none on bars.
        learn_adverse_selection: False: not learned either.
        vol_widen_max: spread widening: quotes are widened by fast over slow volatility, up to this factor.
        vol_fast_s, vol_slow_s: half-lives of the two volatilities, seconds.
        soft_inventory_pct: from here on to the hard limit the side that adds shrinks to nothing.
        soft_inventory_skew: at the hard limit the side that adds stands this share further from the mid, and the other
            nearer, in [0, 1).
        hard_inventory_pct: the side that adds is not quoted, and no order is sent that could, with all that are out
            there, carry the inventory past it.
        risk_off_vol_ratio: fast over slow volatility from which on inventory limits and sizes shrink by
            `risk_off_scale`.
        risk_off_scale: that factor, also while REDUCING, in (0, 1].
        risk_off_widen: factor on distances while REDUCING, >= 1.
        adverse_move_sigma: entry filter: a move of so many sigmas over `adverse_move_s` stops the side it runs over.
        adverse_move_s: memory of that move, seconds.
        cooldown_sigma: a fill that the mid has left so many sigmas behind within a second (bars: a bar) was adverse.
        one_sided_fills: so many fills of one side without one of the other count as adverse too.
        cooldown_s: how long that side then stays out, seconds; also both sides after an exit.
        stale_data_s: quotes are pulled when nothing has been heard from the market for so long.
        max_spread_bps: and while the market's spread is wider than this. (A crossed or one-sided book always pulls.)
        flat_windows: when to be flat, such as ("Fri 15:55-Sun 18:00",): quotes are pulled, the inventory is taken off.
        flat_timezone: IANA zone of these times.
        stop_loss_pct: loss on the inventory since it was entered at which it is taken off, as taker.
        take_profit_pct: the same for a profit.
        max_holding_s: the same for an inventory that has not changed its sign for so long.
        soft_drawdown_pct: breaker to REDUCING: sizes and inventory limits shrink by `risk_off_scale`, quotes widen.
        hard_drawdown_pct: breaker to HALTED: everything is cancelled and the position is liquidated as taker.
        daily_loss_pct: breaker to HALTED: loss since 00:00 UTC.
        concentration_pct: breaker to REDUCING: worth of the inventory in one instrument.
        zombie_order_s: breaker to HALTED: a request without an answer for so long.
        max_rejects: breaker to HALTED: so many rejected orders without an accepted one between them.
        reject_pause_after: after so many nothing is sent for `reject_pause_s`.
        reject_pause_s: seconds.
        max_executions: breaker to HALTED: fills within `rate_window_s`.
        max_orders: new orders within any `rate_window_s`; what is beyond is not sent.
        max_messages: orders, cancels and replaces within any `rate_window_s`. Cancels always pass: an order is only
            sent while there is room for its own cancel and those of all that are out there.
        rate_window_s: seconds.
        check_duplicates: an order like one that is out there (side, price, quantity) is not sent.
        check_self_match: an order that could trade with an own one is not sent.
        price_collar_pct: nor one further than this share from the mid.
        max_order_notional_pct: nor one worth more than this.
        max_order_multiple: nor one of more than so many times the run's `order_qty`.
        liquidation_slippage_bps: what a liquidation or exit pays beyond the taker fee where no book tells (bars, the
            model world): a declared assumption.

    Raises:
        ConfigError: a number out of range; soft above hard; a hard drawdown at 40 % or more, where the run has failed;
            a window that is none.
    """

    min_edge_bps: float | None = 0.25
    adverse_selection_bps: float | None = None
    learn_adverse_selection: bool = True
    vol_widen_max: float | None = 3.0
    vol_fast_s: float = 600.0
    vol_slow_s: float = 14_400.0
    soft_inventory_pct: float | None = 0.10
    soft_inventory_skew: float | None = 0.5
    hard_inventory_pct: float | None = 0.20
    risk_off_vol_ratio: float | None = 2.5
    risk_off_scale: float = 0.5
    risk_off_widen: float = 1.5
    adverse_move_sigma: float | None = 4.0
    adverse_move_s: float = 300.0
    cooldown_sigma: float | None = 5.0
    one_sided_fills: int | None = 20
    cooldown_s: float = 5.0
    stale_data_s: float | None = 30.0
    max_spread_bps: float | None = 100.0
    flat_windows: tuple[str, ...] = ()
    flat_timezone: str = "UTC"
    stop_loss_pct: float | None = 0.01
    take_profit_pct: float | None = 0.02
    max_holding_s: float | None = 86_400.0
    soft_drawdown_pct: float | None = 0.10
    hard_drawdown_pct: float | None = 0.15
    daily_loss_pct: float | None = 0.05
    concentration_pct: float | None = 0.25
    zombie_order_s: float | None = 300.0
    max_rejects: int | None = 50
    reject_pause_after: int | None = 10
    reject_pause_s: float = 10.0
    max_executions: int | None = 1_000
    max_orders: int | None = 300
    max_messages: int | None = 1_000
    rate_window_s: float = 10.0
    check_duplicates: bool = True
    check_self_match: bool = True
    price_collar_pct: float | None = 0.10
    max_order_notional_pct: float | None = 0.20
    max_order_multiple: float | None = 10.0
    liquidation_slippage_bps: float = 5.0

    def __post_init__(self) -> None:
        self._check_types()
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ConfigError(f"risk limit {name} must be > 0, got {getattr(self, name)!r}")
            if getattr(self, name) > LONGEST_S:
                raise ConfigError(
                    f"risk limit {name} must be at most {LONGEST_S:g} seconds, got {getattr(self, name)!r}"
                )
        for soft, hard in _RISING:
            low, high = getattr(self, soft), getattr(self, hard)
            if low is not None and high is not None and low >= high:
                raise ConfigError(f"risk limit {soft} ({low:g}) must be below {hard} ({high:g})")
        if self.soft_inventory_pct is not None and self.hard_inventory_pct is None:
            raise ConfigError("risk limit soft_inventory_pct cuts sizes on the way to hard_inventory_pct: set both")
        for name in ("hard_drawdown_pct", "daily_loss_pct"):
            value = getattr(self, name)
            if value is not None and value >= FAILURE_DRAWDOWN_PCT:
                raise ConfigError(
                    f"risk limit {name} ({value:g}) must be below {FAILURE_DRAWDOWN_PCT:g}: there the run has failed"
                )
        self._check_factors()
        object.__setattr__(self, "flat_windows", check_windows(self.flat_windows, self.flat_timezone))

    def _check_factors(self) -> None:
        if not 0 < self.risk_off_scale <= 1 or self.risk_off_widen < 1 or (self.vol_widen_max or 1) < 1:
            raise ConfigError("risk limits: risk_off_scale must be in (0, 1], risk_off_widen and vol_widen_max >= 1")
        if (self.soft_inventory_skew or 0.0) >= 1:
            raise ConfigError(f"risk limit soft_inventory_skew must be below 1, got {self.soft_inventory_skew!r}")
        for name in ("price_collar_pct", "max_order_multiple", "max_order_notional_pct"):
            if getattr(self, name) == 0:
                raise ConfigError(f"risk limit {name} must be > 0: 0 would let no order pass; None switches it off")
        if self.price_collar_pct is not None and self.price_collar_pct >= 1:
            raise ConfigError(f"risk limit price_collar_pct must be below 1, got {self.price_collar_pct!r}")

    def _check_types(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), str(field.type)
            if kind in ("tuple[str, ...]", "str") or (value is None and "None" in kind):
                continue
            if kind == "bool":
                if not isinstance(value, bool):
                    raise ConfigError(f"risk limit {field.name} must be True or False, got {value!r}")
            elif kind.startswith("int"):
                if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < MOST_IN_WINDOW:
                    raise ConfigError(f"risk limit {field.name} must be a whole number > 0, got {value!r}")
            elif (
                isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0
            ):
                raise ConfigError(f"risk limit {field.name} must be a finite number >= 0, got {value!r}")

    @classmethod
    def off(cls) -> RiskLimits:
        """Return limits that limit nothing: for theory, and to see what the controls cost."""
        return cls(**OFF)

    def without(self, control: str) -> RiskLimits:
        """Return these limits with one control switched off.

        Raises:
            ConfigError: there is no such control that can be switched off.
        """
        if control not in OFF:
            raise ConfigError(f"no risk control {control!r} can be switched off; there are {', '.join(OFF)}")
        changed: dict[str, Any] = asdict(self) | {control: OFF[control]}
        if control == "hard_inventory_pct":  # the soft limit cuts sizes on the way to it
            changed |= {"soft_inventory_pct": None}
        return RiskLimits(**changed)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self) | {"flat_windows": list(self.flat_windows)}

    def record(self, *, learns: bool = True) -> Any:
        """Return the limits as the record that the compiled code reads.

        Args:
            learns: whether fills are seen at a time that says something of adverse selection (ticks).
        """
        record = np.zeros(1, RISK).view(np.recarray)[0]
        for name in _NUMBERS:
            value = getattr(self, name)
            setattr(record, name, math.nan if value is None else value)
        for name in _COUNTS:
            value = getattr(self, name)
            setattr(record, name, MOST_IN_WINDOW if value is None else value)
        record.learn_adverse_selection = int(
            learns and self.learn_adverse_selection and self.adverse_selection_bps is None
        )
        rates = (self.max_orders, self.max_messages, self.max_executions)
        counts = any(limit is not None for limit in rates)
        record.rate_bucket_ns = max(1, round(self.rate_window_s * 1e9 / RATE_BUCKETS)) if counts else 0
        record.reject_pause_ns = round(self.reject_pause_s * 1e9)
        record.check_duplicates = int(self.check_duplicates)
        record.check_self_match = int(self.check_self_match)
        write_schedule(record, self.flat_windows, self.flat_timezone)
        return record


# How each control is switched off, in the order in which they stand in the text.
OFF: Final[dict[str, Any]] = {
    "min_edge_bps": None, "learn_adverse_selection": False, "vol_widen_max": None, "soft_inventory_pct": None,
    "soft_inventory_skew": None, "hard_inventory_pct": None, "risk_off_vol_ratio": None, "adverse_move_sigma": None,
    "cooldown_sigma": None, "one_sided_fills": None, "stale_data_s": None, "max_spread_bps": None, "flat_windows": (),
    "stop_loss_pct": None, "take_profit_pct": None, "max_holding_s": None, "soft_drawdown_pct": None,
    "hard_drawdown_pct": None, "daily_loss_pct": None, "concentration_pct": None, "zombie_order_s": None,
    "max_rejects": None, "reject_pause_after": None, "max_executions": None, "max_orders": None, "max_messages": None,
    "check_duplicates": False, "check_self_match": False, "price_collar_pct": None, "max_order_notional_pct": None,
    "max_order_multiple": None,
}  # fmt: skip


def limits_of_then(asked: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that give the limits of an earlier run, whatever the defaults have become.

    Args:
        asked: arguments that were given then.
        recorded: all limits of then, as `as_dict` wrote them. A control that there was none of is off; one that there
            is none of any more is left out.
    """
    now = RiskLimits().as_dict()
    then = {name: recorded[name] if name in recorded else OFF.get(name, now[name]) for name in now}
    changed = {name: value for name, value in then.items() if value != now[name]}
    return {**asked, **changed}


def limits_from(changes: Mapping[str, Any]) -> RiskLimits:
    """Return the default limits with some changed by name.

    Raises:
        UnknownNameError: there is no such limit.
        ConfigError: one out of range.
    """
    names = [item.name for item in fields(RiskLimits)]
    for name in changes:
        if name not in names:
            raise UnknownNameError("risk limit", name, names)
    return RiskLimits(**changes)
