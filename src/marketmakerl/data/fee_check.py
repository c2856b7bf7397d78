"""Our fee table beside ccxt's own descriptions: a guarded cross-check, never a source.

ccxt's fee descriptions are written by hand; some are stale, and some carry unit errors in their tiers. One that fails
a guard is refused as a whole, because nobody can say which half of it is right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from marketmakerl.core.fees import MAX_ABS_FEE_BPS, Fees, fee_tiers

if TYPE_CHECKING:
    from collections.abc import Mapping

AGREE = "agree"
DIFFERS = "differs"
ABSENT = "not described by ccxt"

# Two figures this close are one, written differently.
_SAME_BPS = 1e-6

# Our venue -> ccxt's class and the way to the description inside its `fees`.
_DESCRIBED_AT: dict[str, tuple[str, ...]] = {
    "binance": ("binance", "trading"),
    "binanceusdm": ("binanceusdm", "linear", "trading"),
    "bitmex": ("bitmex", "trading"),
    "bitstamp": ("bitstamp", "trading"),
    "bybit": ("bybit", "trading"),
    "bybitlinear": ("bybit", "trading"),
    "coinbase": ("coinbase", "trading"),
    "hyperliquid": ("hyperliquid", "swap"),
    "hyperliquidspot": ("hyperliquid", "spot"),
    "kraken": ("kraken", "trading"),
    "krakenfutures": ("krakenfutures", "trading"),
    "okx": ("okx", "spot"),
    "okxswap": ("okx", "swap"),
}


@dataclass(frozen=True, slots=True)
class FeeFinding:
    """One tier of one venue, ours beside ccxt's.

    Args:
        exchange: our name of the venue.
        tier: the tier's number; 0 is the base.
        ours: our fees.
        ccxt: ccxt's fees as (maker_bps, taker_bps), unchecked; None where it says nothing.
        verdict: "agree", "differs", "not described by ccxt" or "ccxt value refused: <guard>".
    """

    exchange: str
    tier: int
    ours: Fees
    ccxt: tuple[float, float] | None
    verdict: str

    def __str__(self) -> str:
        theirs = "nothing" if self.ccxt is None else f"{self.ccxt[0]:g}/{self.ccxt[1]:g} bps"
        ours = f"{self.ours.maker_bps:g}/{self.ours.taker_bps:g} bps"
        return f"{self.exchange} tier {self.tier}: ours {ours}, ccxt {theirs}: {self.verdict}"


def cross_check(exchange: str) -> list[FeeFinding]:
    """Compare every tier of a venue with what this version of ccxt says; offline.

    Raises:
        UnknownNameError: the venue is not in our table.
    """
    import ccxt  # noqa: PLC0415  (half a second that only this needs)

    name = exchange.strip().lower()
    class_name, *path = _DESCRIBED_AT.get(name, ("",))
    venue = getattr(ccxt, class_name, None) if class_name else None
    description: Any = venue().fees if venue else None
    for part in path:
        description = description.get(part) if isinstance(description, dict) else None
    return compare(name, description)


def compare(exchange: str, description: Mapping[str, Any] | None) -> list[FeeFinding]:
    """Compare every tier of a venue in our table with one ccxt description; one finding a tier, base first.

    Args:
        exchange: our name of the venue.
        description: ccxt's dict with "maker", "taker" (fractions of notional) and perhaps "tiers" (side -> list of
            [volume, fraction]); None: ccxt has none.

    Raises:
        UnknownNameError: the venue is not in our table.
    """
    rows = sorted(fee_tiers(exchange).items())
    if not description:
        return [FeeFinding(exchange, tier, row.fees, None, ABSENT) for tier, row in rows]
    theirs = _ladder(description)
    fault = _guard(description, theirs)
    findings = []
    for tier, row in rows:
        said = theirs[tier] if tier < len(theirs) else None
        if fault:
            verdict = f"ccxt value refused: {fault}"
        elif said is None:
            verdict = ABSENT
        else:
            ours = (row.fees.maker_bps, row.fees.taker_bps)
            same = all(math.isclose(a, b, rel_tol=0, abs_tol=_SAME_BPS) for a, b in zip(ours, said, strict=True))
            verdict = AGREE if same else DIFFERS
        findings.append(FeeFinding(exchange, tier, row.fees, said, verdict))
    return findings


def _bps(fraction: Any) -> float:
    """Return a fraction of notional in basis points, NaN for what is no number."""
    return float(fraction) * 1e4 if isinstance(fraction, (int, float)) else math.nan


def _ladder(description: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return ccxt's (maker, taker) in basis points by tier; the base stands for tier 0."""
    base = (_bps(description.get("maker")), _bps(description.get("taker")))
    tiers = description.get("tiers") or {}
    higher = zip(tiers.get("maker", [])[1:], tiers.get("taker", [])[1:], strict=False)
    return [base, *((_bps(maker[1]), _bps(taker[1])) for maker, taker in higher)]


def _guard(description: Mapping[str, Any], ladder: list[tuple[float, float]]) -> str:
    """Return what is wrong with a description, or nothing."""
    tiers = description.get("tiers") or {}
    for position, side in enumerate(("maker", "taker")):
        base = ladder[0][position]
        fees = [_bps(fraction) for _, fraction in tiers.get(side, [])] or [base]
        if any(math.isnan(fee) for fee in (base, *fees)):
            return f"a {side} fee is missing"
        for fee in (base, *fees):
            if abs(fee) > MAX_ABS_FEE_BPS:
                return f"{side} {fee:g} bps is beyond {MAX_ABS_FEE_BPS:g} bps"
        if abs(base - fees[0]) > _SAME_BPS:
            return f"base {side} {base:g} bps is not its tier 0, {fees[0]:g} bps"
        for lower, higher in pairwise(fees):
            if higher > lower + _SAME_BPS:
                return f"{side} tiers rise from {lower:g} to {higher:g} bps"
    return ""
