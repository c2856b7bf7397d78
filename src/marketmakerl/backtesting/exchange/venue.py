"""What a venue does besides matching: its order checks, its fee tiers, its margin. All of it off unless asked for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from marketmakerl.backtesting.layout import MAX_STEPS
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.fees import MAX_ABS_FEE_BPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from marketmakerl.core.fees import Fees
    from marketmakerl.core.instrument import Instrument

SelfTrade = Literal["none", "expire_taker", "expire_maker", "expire_both", "decrement"]
# The code the compiled code sees is the place in this list, from 1 on; 0: own orders do not see one another.
SELF_TRADES: Final[tuple[SelfTrade, ...]] = get_args(SelfTrade)
FeeUpdate = Literal["fill", "day"]


@dataclass(frozen=True, kw_only=True)
class VenueRules:
    """Rules of a venue that a backtest is to obey. Every default is neutral: it changes no result.

    Args:
        min_notional: the exchange itself rejects limit, post-only, IOC and market orders, and refuses replaces, below
            the instrument's minimum order value (a quoting model never sends such). A market order counts at the best
            price it meets. Exempt on perpetuals, as at Binance USDM: a market order that only reduces the position,
            and reduce-only orders, as exits and halts send them (the exchange cuts those to the position).
        stp: what happens when an own order would trade with another own order, in the venues' terms: "none" (they
            trade: one pays the maker fee, the other the taker fee), "expire_taker", "expire_maker", "expire_both",
            "decrement" (both lose what would have traded). At one price our order stands behind what the book shows.
            None: own orders do not see one another at all. Ticks only.
        price_band_up: an order priced above the last mid times this is rejected; >= 1. Ticks only, like the next.
        price_band_down: below the last mid times this, likewise; in (0, 1]. Both apply to either side, and to replaces.
        fee_tiers: (volume in quote currency, maker_bps, taker_bps), volumes rising; from that 30-day volume on those
            rates apply, and `fees` below the first. See `Fees.volume_tiers`.
        volume_start: 30-day volume brought along, taken as traded evenly over the days before; quote currency, >= 0.
        fee_update: "fill": the tier moves with every fill, on the volume of today and the 30 UTC days before; "day": at
            00:00 UTC, on those 30 days.
        leverage: position and open orders on the worse side, over this, may not exceed equity; >= 1. An order that
            would is rejected, unless it asks for no more margin than was needed before. None: no margin, and nothing
            is liquidated. Perpetuals only.
        maintenance_margin_rate: share of the position's value below which equity may not fall, in [0, 1 / leverage).
        maintenance_brackets: instead of one rate, (value up to, rate) or (value up to, rate, deduction), values rising,
            the last may be infinite: maintenance is value x rate - deduction. A deduction left out is what makes
            the steps join. Values are in the settlement currency.
        liquidation_fee_bps: on the value closed by a liquidation, beyond the taker fee; >= 0.
        reject_windows: (from, until), exchange time in nanoseconds UTC, in order and apart: a request that arrives
            from `from` on and before `until` is refused if it is a new order or a replace. Cancels pass, what rests
            goes on resting and filling, and the venue's own liquidations happen. (Some venues refuse cancels too in
            such minutes; that is not modelled.) Bars: a quote that would be placed or changed at a close within a
            window is rejected, and the old one is gone, for its cancel passed; a liquidation by a breaker goes through.

    On ticks a quoting model is not held back by margin: its orders travel, and the exchange rejects them (bars: the
    quote is cut to what margin allows).

    A liquidation comes once equity at the mid is at or below maintenance when everything of that time has happened:
    all orders are cancelled, the position is closed as taker against what the book shows (what it cannot take goes at
    the last price reached, or at the mid where nothing shows), and the session is over. A loss beyond the account's
    money stays a loss: no insurance fund covers it.

    Raises:
        ConfigError: a number out of range; tiers or brackets that do not rise; a setting that needs another.
    """

    min_notional: bool = False
    stp: SelfTrade | None = None
    price_band_up: float | None = None
    price_band_down: float | None = None
    fee_tiers: tuple[tuple[float, float, float], ...] = ()
    volume_start: float = 0.0
    fee_update: FeeUpdate = "fill"
    leverage: float | None = None
    maintenance_margin_rate: float = 0.0
    maintenance_brackets: tuple[tuple[float, ...], ...] = ()
    liquidation_fee_bps: float = 0.0
    reject_windows: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.min_notional, bool):
            raise ConfigError(f"venue min_notional must be True or False, got {self.min_notional!r}")
        if self.stp is not None and self.stp not in SELF_TRADES:
            raise ConfigError(f"venue stp must be None or one of {', '.join(SELF_TRADES)}, got {self.stp!r}")
        if self.price_band_up is not None:
            _within("price_band_up", self.price_band_up, 1.0, math.inf, "a finite number >= 1")
        if self.price_band_down is not None:
            _within("price_band_down", self.price_band_down, 1e-12, 1.0, "in (0, 1]")
        object.__setattr__(self, "fee_tiers", _tiers(self.fee_tiers))
        _within("volume_start", self.volume_start, 0.0, math.inf, "a finite number >= 0")
        if self.fee_update not in get_args(FeeUpdate):
            raise ConfigError(
                f"venue fee_update must be one of {', '.join(get_args(FeeUpdate))}, got {self.fee_update!r}"
            )
        if self.volume_start and not self.fee_tiers:
            raise ConfigError("venue volume_start does nothing without fee_tiers")
        object.__setattr__(self, "reject_windows", _windows(self.reject_windows))
        self._check_margin()

    def _check_margin(self) -> None:
        if self.leverage is not None:
            _within("leverage", self.leverage, 1.0, math.inf, "a finite number >= 1")
        _within("maintenance_margin_rate", self.maintenance_margin_rate, 0.0, 1.0, "in [0, 1 / leverage)")
        _within("liquidation_fee_bps", self.liquidation_fee_bps, 0.0, 1e4, "in [0, 10000]")
        object.__setattr__(self, "maintenance_brackets", _brackets(self.maintenance_brackets))
        if self.leverage is None:
            for name in ("maintenance_margin_rate", "maintenance_brackets", "liquidation_fee_bps"):
                if getattr(self, name):
                    raise ConfigError(f"venue {name} does nothing without leverage")
            return
        if self.maintenance_brackets and self.maintenance_margin_rate:
            raise ConfigError("venue: give maintenance_margin_rate or maintenance_brackets, not both")
        rate = self.maintenance_brackets[0][1] if self.maintenance_brackets else self.maintenance_margin_rate
        if rate * self.leverage >= 1.0:
            raise ConfigError(
                f"venue maintenance_margin_rate must be in [0, 1 / leverage), got {rate:g} at leverage "
                f"{self.leverage:g}: a full position would be liquidated as it opens"
            )

    def check(self, instrument: Instrument, *, bars: bool = False, funding: bool = False) -> None:
        """Raise `ConfigError` for a rule that does not apply to the instrument, or not on bars."""
        if instrument.kind == "spot":
            if self.leverage is not None:
                raise ConfigError(f"{instrument.symbol} is spot: venue leverage is for perpetuals")
            if funding:
                raise ConfigError(f"{instrument.symbol} is spot: funding is for perpetuals")
        for name in ("stp", "price_band_up", "price_band_down"):
            if bars and getattr(self, name) is not None:
                raise ConfigError(f"venue {name} needs ticks: bars show no book to judge an order by")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)

    def describe(self) -> str:
        """Return what is on, in a few words; empty if nothing is."""
        return ", ".join(field.name for field in fields(self) if getattr(self, field.name) != field.default)

    def write(self, params: Any, state: Any, fees: Fees) -> None:
        """Write the rules into an engine's PARAMS, and the rates to begin with into its STATE."""
        params.stp = 0 if self.stp is None else 1 + SELF_TRADES.index(self.stp)
        params.check_notional = int(self.min_notional)
        params.band_up = math.inf if self.price_band_up is None else self.price_band_up
        params.band_down = 0.0 if self.price_band_down is None else self.price_band_down
        params.base_maker, params.base_taker = fees.maker_rate, fees.taker_rate
        params.volume_start = self.volume_start
        params.tier_by_day = int(self.fee_update == "day")
        params.n_tiers = len(self.fee_tiers)
        state.venue.maker_rate, state.venue.taker_rate = fees.maker_rate, fees.taker_rate
        for i, (volume, maker_bps, taker_bps) in enumerate(self.fee_tiers):
            params.tier_volume[i] = volume
            params.tier_maker[i], params.tier_taker[i] = maker_bps * 1e-4, taker_bps * 1e-4
            if volume <= self.volume_start:
                state.venue.maker_rate, state.venue.taker_rate = params.tier_maker[i], params.tier_taker[i]
        params.leverage = self.leverage or 0.0
        params.liquidation_rate = self.liquidation_fee_bps * 1e-4
        params.n_reject_windows = len(self.reject_windows)
        for i, (from_ns, until_ns) in enumerate(self.reject_windows):
            params.reject_from_ns[i], params.reject_until_ns[i] = from_ns, until_ns
        brackets = self.maintenance_brackets or ((math.inf, self.maintenance_margin_rate, 0.0),)
        params.n_brackets = len(brackets)
        for i, (cap, rate, less) in enumerate(brackets):
            params.bracket_cap[i], params.bracket_rate[i], params.bracket_less[i] = cap, rate, less


def _within(name: str, value: Any, low: float, high: float, legal: str) -> float:
    refusal = ConfigError(f"venue {name} must be {legal}, got {value!r}")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise refusal
    number = float(value)
    if not math.isfinite(number) or not low <= number <= high:
        raise refusal
    return number


def _rows(name: str, rows: Any, widths: tuple[int, ...], form: str) -> list[tuple[Any, ...]]:
    """Return a table as tuples, each of one of the `widths`."""
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, (list, tuple)) for row in rows):
        raise ConfigError(f"venue {name} must be a list of {form}, got {rows!r}")
    if len(rows) > MAX_STEPS:
        raise ConfigError(f"venue {name} must have at most {MAX_STEPS} rows, got {len(rows)}")
    for row in rows:
        if len(row) not in widths:
            raise ConfigError(f"venue {name} must be a list of {form}, got {row!r}")
    return [tuple(row) for row in rows]


def _rising(name: str, what: str, values: Sequence[float]) -> None:
    for before, after in pairwise(values):
        if not after > before:
            raise ConfigError(f"venue {name}: {what} must rise from row to row, got {after:g} after {before:g}")


def _tiers(rows: Any) -> tuple[tuple[float, float, float], ...]:
    table = _rows("fee_tiers", rows, (3,), "(volume, maker_bps, taker_bps)")
    for volume, *rates in table:
        _within("fee_tiers volume", volume, 0.0, math.inf, "a finite number >= 0")
        for name, bps in zip(("maker_bps", "taker_bps"), rates, strict=True):
            _within(f"fee_tiers {name}", bps, -MAX_ABS_FEE_BPS, MAX_ABS_FEE_BPS, f"within ±{MAX_ABS_FEE_BPS:g}")
    _rising("fee_tiers", "volumes", [row[0] for row in table])
    return tuple((float(volume), float(maker), float(taker)) for volume, maker, taker in table)


def _windows(rows: Any) -> tuple[tuple[int, int], ...]:
    """Return (from, until) windows of time, in order and apart."""
    table = _rows("reject_windows", rows, (2,), "(from_ns, until_ns)")
    times = [ts_ns for row in table for ts_ns in row]
    for ts_ns in times:
        if isinstance(ts_ns, bool) or not isinstance(ts_ns, Integral) or not 0 <= int(ts_ns) < 1 << 63:
            raise ConfigError(f"venue reject_windows times must be nanoseconds UTC, whole numbers, got {ts_ns!r}")
    for before, after in pairwise(times):
        if not int(after) > int(before):
            raise ConfigError(f"venue reject_windows must be in order and apart, got {after} after {before}")
    return tuple((int(from_ns), int(until_ns)) for from_ns, until_ns in table)


def _brackets(rows: Any) -> tuple[tuple[float, float, float], ...]:
    """Return (cap, rate, deduction) rows; a deduction left out is floor x (rate - rate before) + deduction before."""
    table = _rows("maintenance_brackets", rows, (2, 3), "(value up to, rate[, deduction])")
    done: list[tuple[float, float, float]] = []
    for i, row in enumerate(table):
        last = i == len(table) - 1
        if not (last and isinstance(row[0], float) and row[0] == math.inf):
            _within(
                "maintenance_brackets value", row[0], 1e-300, math.inf, "a number > 0, infinite in the last row only"
            )
        rate = _within("maintenance_brackets rate", row[1], 0.0, 1.0, "in [0, 1]")
        cap, before_rate, before_less = done[-1] if done else (0.0, rate, 0.0)
        if rate < before_rate:
            raise ConfigError(f"venue maintenance_brackets: rates must not fall, got {rate:g} after {before_rate:g}")
        less = row[2] if len(row) == 3 else cap * (rate - before_rate) + before_less
        _within("maintenance_brackets deduction", less, 0.0, math.inf, "a finite number >= 0")
        done.append((float(row[0]), rate, float(less)))
    _rising("maintenance_brackets", "values", [row[0] for row in done])
    return tuple(done)
