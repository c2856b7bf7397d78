"""Which fees a study of economics tries: what the venue publishes, what was asked for, and what nobody offers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.core.fees import FeeRow, Fees, fee_exchanges, fee_tiers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MOST_TIERS: Final = 6
REBATE_BPS: Final = 0.5


@dataclass(frozen=True)
class FeeLevel:
    """Maker and taker fees, and where they come from.

    Attributes:
        name: "base", "VIP1", "no maker fee"; of another venue with its name before it.
        maker_bps, taker_bps: basis points; negative is a rebate.
        exchange: whose table has them; "" for a level nobody need offer.
        as_of, source: of that table.
    """

    name: str
    maker_bps: float
    taker_bps: float
    exchange: str = ""
    as_of: str = ""
    source: str = ""

    @property
    def is_published(self) -> bool:
        """Return whether a venue's table has it."""
        return bool(self.exchange)

    @property
    def fees(self) -> Fees:
        """Return the fees as the engine takes them."""
        return Fees(self.maker_bps, self.taker_bps)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self) | {"is_published": self.is_published}


def fee_levels(asked: Sequence[str], exchange: str, overrides: Path | None = None) -> tuple[FeeLevel, ...]:
    """Return the fees to try, the dearest maker fee first.

    Args:
        asked: each "maker:taker" in basis points, the name of a tier of the venue ("VIP1"), another venue ("okxswap":
            all its tiers) or one of its tiers ("okxswap:VIP1"). None: the venue's tiers, thinned out to
            `MOST_TIERS`, and for comparison no maker fee and a rebate.
        exchange: where the data were recorded.
        overrides: of the shipped table of fees.

    Raises:
        UnknownNameError: no such venue or tier.
        ConfigError: a level twice, or a number that is no fee.
    """
    if not asked:
        return _by_default(exchange, overrides)
    levels = [level for text in asked for level in _levels(text.strip(), exchange, overrides)]
    rates = [(level.maker_bps, level.taker_bps) for level in levels]
    for rate in rates:
        if rates.count(rate) > 1:
            raise ConfigError(f"--fees has {rate[0]:g}:{rate[1]:g} twice; leave one out")
    return _sorted(levels)


def _by_default(exchange: str, overrides: Path | None) -> tuple[FeeLevel, ...]:
    rows = [row for _, row in sorted(fee_tiers(exchange, overrides).items())]
    kept = sorted({round(place) for place in np.linspace(0, len(rows) - 1, min(len(rows), MOST_TIERS))})
    levels = [_published(rows[place]) for place in kept]
    taker_bps = min(level.taker_bps for level in levels)
    levels += [FeeLevel("no maker fee", 0.0, taker_bps), FeeLevel("rebate", -REBATE_BPS, taker_bps)]
    # A table may hold two tiers of equal fees, or a venue that asks makers for nothing already.
    first = {(level.maker_bps, level.taker_bps): level for level in reversed(levels)}
    return _sorted(first.values())


def _levels(text: str, exchange: str, overrides: Path | None) -> list[FeeLevel]:
    before, colon, after = (part.strip() for part in text.partition(":"))
    if colon and (rates := _numbers(before, after)):
        fees = Fees(*rates)
        return [FeeLevel("given", fees.maker_bps, fees.taker_bps)]
    if colon:
        return [_named(after, before.lower(), overrides, other=before.lower() != exchange)]
    if text.lower() in fee_exchanges(overrides):
        rows = fee_tiers(text, overrides)
        return [_published(row, other=text.lower() != exchange) for _, row in sorted(rows.items())]
    return [_named(text, exchange, overrides)]


def _numbers(*texts: str) -> tuple[float, ...] | None:
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        return None


def _named(name: str, exchange: str, overrides: Path | None, *, other: bool = False) -> FeeLevel:
    tiers = fee_tiers(exchange, overrides)
    for number, row in tiers.items():
        if name.lower() in {row.tier_name.lower(), str(number)}:
            return _published(row, other=other)
    hint = "(a level is a tier, a venue, venue:tier, or maker:taker in basis points, e.g. 1.5:4)"
    raise UnknownNameError(f"fee tier of {exchange}", name, [row.tier_name for row in tiers.values()], hint)


def _published(row: FeeRow, *, other: bool = False) -> FeeLevel:
    name = f"{row.exchange} {row.tier_name}" if other else row.tier_name
    return FeeLevel(name, row.fees.maker_bps, row.fees.taker_bps, row.exchange, row.as_of, row.source)


def _sorted(levels: Iterable[FeeLevel]) -> tuple[FeeLevel, ...]:
    return tuple(sorted(levels, key=lambda level: (-level.maker_bps, -level.taker_bps)))
