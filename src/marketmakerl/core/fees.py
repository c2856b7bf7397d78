"""Maker and taker fees in basis points, and the dated table they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.core.tables import Record, overriding, shipped

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = ("exchange", "tier", "tier_name", "maker_bps", "taker_bps", "volume_quote", "as_of", "source")

_HOW_TO_ADD = (
    "(to add one, put it into the JSON file that MML_FEES_FILE names: "
    '[{"exchange": "binance", "tier": 0, "maker_bps": 10, "taker_bps": 10}])'
)
# No venue in the table, and no schedule ccxt describes sensibly, is outside this; a unit error is.
MAX_ABS_FEE_BPS = 150.0


@dataclass(frozen=True, slots=True)
class Fees:
    """Fee rates of one account on one venue.

    Args:
        maker_bps: fee on resting orders that fill, in basis points of notional; negative is a rebate.
        taker_bps: fee on orders that cross, in basis points of notional.

    Raises:
        ConfigError: not finite, or beyond ±150 bps (a unit error: 0.001 is 10 bps, not 0.001 bps).
    """

    maker_bps: float
    taker_bps: float

    def __post_init__(self) -> None:
        for name in ("maker_bps", "taker_bps"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and abs(value) <= MAX_ABS_FEE_BPS):
                raise ConfigError(f"{name} must be within ±{MAX_ABS_FEE_BPS:g} basis points, got {value!r}")

    @classmethod
    def for_exchange(cls, exchange: str, tier: int = 0, overrides: Path | None = None) -> Fees:
        """Return the published fees of a venue.

        Args:
            exchange: e.g. "binance", "binanceusdm", "hyperliquid"; any case.
            tier: the venue's volume tier; 0 is what everybody pays.
            overrides: JSON file whose rows win over the shipped table, and may be new venues or tiers.

        Raises:
            UnknownNameError: no such venue in the table.
            ConfigError: no such tier, or a malformed overrides file.
        """
        tiers = fee_tiers(exchange, overrides)
        if tier not in tiers:
            known = ", ".join(f"{number} ({row.tier_name})" for number, row in sorted(tiers.items()))
            raise ConfigError(f"{exchange} has no fee tier {tier!r}; known: {known}")
        fees = tiers[tier].fees
        return cls(fees.maker_bps, fees.taker_bps)

    @classmethod
    def volume_tiers(cls, exchange: str, overrides: Path | None = None) -> tuple[tuple[float, float, float], ...]:
        """Return a venue's tiers for `VenueRules.fee_tiers`: (30-day volume in quote currency, maker_bps, taker_bps).

        Args:
            exchange: as in `for_exchange`.
            overrides: likewise; the field is `volume_quote`.

        Raises:
            UnknownNameError: no such venue in the table.
            ConfigError: the table does not say from which volume one of the tiers applies.
        """
        tiers = sorted(fee_tiers(exchange, overrides).items())
        for number, row in tiers:
            if row.volume_quote is None:
                raise ConfigError(
                    f"{exchange}: the fee table has no volume_quote for tier {number} ({row.tier_name}); add it to the "
                    "JSON file that MML_FEES_FILE names, or give fee_tiers yourself"
                )
        return tuple((row.volume_quote or 0.0, row.fees.maker_bps, row.fees.taker_bps) for _, row in tiers)

    @classmethod
    def choose(
        cls,
        exchange: str,
        *,
        maker_bps: float | None = None,
        taker_bps: float | None = None,
        tier: int = 0,
        overrides: Path | None = None,
    ) -> Fees:
        """Return the rates given, and the venue's table for those that are not; raises what `for_exchange` raises."""
        if maker_bps is not None and taker_bps is not None:
            return cls(maker_bps, taker_bps)
        table = cls.for_exchange(exchange, tier, overrides)
        return cls(
            table.maker_bps if maker_bps is None else maker_bps, table.taker_bps if taker_bps is None else taker_bps
        )

    @property
    def maker_rate(self) -> float:
        """Return the maker fee as a fraction of notional."""
        return self.maker_bps * 1e-4

    @property
    def taker_rate(self) -> float:
        """Return the taker fee as a fraction of notional."""
        return self.taker_bps * 1e-4


@dataclass(frozen=True, slots=True)
class FeeRow:
    """The fees of one tier of one venue: what, since when (ISO date), and how it is known."""

    exchange: str
    tier: int
    tier_name: str
    fees: Fees
    as_of: str
    source: str
    volume_quote: float | None = None  # 30-day volume from which it applies; None: not known


def fee_exchanges(overrides: Path | None = None) -> tuple[str, ...]:
    """Return the venues whose fees are known, sorted."""
    return tuple(sorted({exchange for exchange, _ in _table(overrides)}))


def fee_tiers(exchange: str, overrides: Path | None = None) -> dict[int, FeeRow]:
    """Return the tiers of a venue by number; raise `UnknownNameError` for an unknown venue."""
    name = exchange.strip().lower()
    tiers = {row.tier: row for row in _table(overrides).values() if row.exchange == name}
    if not tiers:
        raise UnknownNameError("exchange", name, fee_exchanges(overrides), _HOW_TO_ADD)
    return tiers


def _row(record: Record) -> FeeRow:
    maker_bps, taker_bps, tier = record.number("maker_bps"), record.number("taker_bps"), record.count("tier")
    volume = record.number("volume_quote", 0.0 if tier == 0 else math.nan)
    if volume < 0:
        raise ConfigError(f"{record.where}: field 'volume_quote' must be >= 0, got {volume:g}")
    try:
        fees = Fees(maker_bps, taker_bps)
    except ConfigError as error:
        raise ConfigError(f"{record.where}: {error}") from None
    return FeeRow(
        exchange=record.text("exchange").lower(),
        tier=tier,
        tier_name=record.text("tier_name", "base" if tier == 0 else f"tier {tier}"),
        fees=fees,
        as_of=record.day("as_of", "0001-01-01"),
        source=record.text("source", "override"),
        volume_quote=None if math.isnan(volume) else volume,
    )


@cache
def _shipped_table() -> dict[tuple[str, int], FeeRow]:
    rows = [_row(record) for record in shipped("fees")]
    return {(row.exchange, row.tier): row for row in rows}


def _table(overrides: Path | None) -> dict[tuple[str, int], FeeRow]:
    """Return the table with the overrides laid over it; callers do not change it."""
    if overrides is None:
        return _shipped_table()
    rows: dict[tuple[str, int], FeeRow] = {}
    for record in overriding(overrides, FIELDS):
        row = _row(record)
        if (row.exchange, row.tier) in rows:
            raise ConfigError(f"{record.where}: {row.exchange} tier {row.tier} is given twice")
        rows[row.exchange, row.tier] = row
    return _shipped_table() | rows
