"""Fresh ticks, lots and minimum notionals from a venue's public market list, written as an overrides file.

ccxt tells what holds today; the shipped table tells what held when the recorded data was made. A refreshed row is
therefore dated, and wins only from its day on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from marketmakerl.core.artifacts import to_json, write_atomic
from marketmakerl.core.clock import Clock, SystemClock, iso_utc
from marketmakerl.core.errors import ConfigError, DataError, DataFormatError
from marketmakerl.core.instrument import KINDS, Instrument, Kind
from marketmakerl.core.instruments import InstrumentRow, read_overrides
from marketmakerl.core.tables import iso_day

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

# ccxt.TICK_SIZE: precision.price and precision.amount are steps, not numbers of digits.
_TICK_SIZE_MODE = 4


class MarketSource(Protocol):
    """The part of a ccxt client this needs."""

    id: str
    precisionMode: int  # noqa: N815  (ccxt's name)

    def load_markets(self) -> Mapping[str, Any]:
        """Return ccxt's unified market descriptions by symbol."""
        ...


class RefusedMarket(NamedTuple):
    """A market that did not become a row, and why."""

    symbol: str
    reason: str


class Converted(NamedTuple):
    """What became of a market list: every market is in one of the two lists, or of a kind nobody asked for."""

    rows: list[InstrumentRow]
    refused: list[RefusedMarket]


def instruments_from_ccxt(
    markets: Mapping[str, Mapping[str, Any]], *, exchange: str, as_of: str, kinds: Collection[Kind] = KINDS
) -> Converted:
    """Turn ccxt's unified markets into rows of an overrides file.

    Precisions are read as steps (ccxt.TICK_SIZE). A venue that states no minimum notional has 0. A derivative keeps
    ccxt's unit: quantities in contracts, `contract_size` base units (linear) or quote units (inverse) each.

    Args:
        markets: symbol -> market, as `load_markets()` returns them.
        exchange: the name the rows get; may differ from ccxt's ("bybitlinear" is ccxt's bybit).
        as_of: ISO date of the list.
        kinds: which kinds are wanted; others are left out without a word.

    Raises:
        ConfigError: `as_of` is no date.
    """
    try:
        day = iso_day(as_of)
    except ValueError:
        raise ConfigError(f"as_of must be an ISO date such as 2024-08-08, got {as_of!r}") from None
    rows, refused = [], []
    for symbol in sorted(markets):
        market = markets[symbol]
        try:
            kind = _kind(market)
            if kind in kinds:
                instrument = _instrument(symbol, kind, market)
                rows.append(InstrumentRow(exchange.lower(), _native(market), instrument, day, "ccxt markets"))
        except ConfigError as error:
            refused.append(RefusedMarket(symbol, str(error)))
    return Converted(rows, refused)


def refresh(
    exchange_client: MarketSource,
    path: Path,
    *,
    exchange: str | None = None,
    kinds: Collection[Kind] = KINDS,
    clock: Clock | None = None,
) -> Converted:
    """Load a venue's markets and lay them into the overrides file at `path`, which stays whole if anything fails.

    Rows of other venues and of symbols no longer listed are kept. A row is added only where a number changed, so the
    file grows into a dated history.

    Args:
        exchange_client: a ccxt client (or the public client around one).
        path: the overrides file; made when absent.
        exchange: the name the rows get; None: the client's id.
        kinds: which kinds are wanted.
        clock: where today comes from.

    Raises:
        DataError: the venue cannot be reached, or its list has no usable market.
        ConfigError: `path` holds a malformed overrides file.
        ArtifactError: `path` cannot be written.
    """
    import ccxt  # noqa: PLC0415  (half a second that only this needs)

    name = (exchange or exchange_client.id).lower()
    mode = getattr(exchange_client, "precisionMode", _TICK_SIZE_MODE)
    if mode != _TICK_SIZE_MODE:
        raise DataFormatError(f"{name}: ccxt states digits, not steps (precisionMode {mode}); add its rows by hand")
    known = read_overrides(path) if path.exists() else []
    try:
        markets = exchange_client.load_markets()
    except ccxt.BaseError as error:
        raise DataError(f"{name}: the market list cannot be loaded ({type(error).__name__}: {error})") from error
    today = iso_utc((clock or SystemClock()).now_ns())
    converted = instruments_from_ccxt(markets, exchange=name, as_of=today, kinds=kinds)
    if not converted.rows:
        first = f"; first refusal: {': '.join(converted.refused[0])}" if converted.refused else ""
        raise DataFormatError(f"{name}: none of {len(markets)} markets is usable{first}")
    write_atomic(path, to_json([row.as_dict() for row in merged(known, converted.rows)], indent=True))
    return converted


def merged(known: Iterable[InstrumentRow], fresh: Iterable[InstrumentRow]) -> list[InstrumentRow]:
    """Return `known` plus each fresh row that differs from the newest known row of its symbol; sorted.

    A fresh row replaces a known one of the same day.
    """
    by_day = {(row.exchange, row.symbol, row.as_of): row for row in known}
    newest = {(row.exchange, row.symbol): row for _, row in sorted(by_day.items(), key=lambda item: item[0])}
    for row in fresh:
        last = newest.get((row.exchange, row.symbol))
        if last is None or (last.instrument, last.native) != (row.instrument, row.native):
            by_day[row.exchange, row.symbol, row.as_of] = row
    return [row for _, row in sorted(by_day.items(), key=lambda item: item[0])]


def _kind(market: Mapping[str, Any]) -> Kind:
    if market.get("option"):
        raise ConfigError("an option")
    flags = [kind for kind in KINDS if market.get(kind)]
    if len(flags) != 1:
        raise ConfigError(f"must be one of {', '.join(KINDS)}, is {' and '.join(flags) or 'none of them'}")
    return flags[0]


def _native(market: Mapping[str, Any]) -> str:
    native = market.get("id")
    if not isinstance(native, str) or not native.strip():
        raise ConfigError(f"id is no name: {native!r}")
    return native.strip()


def _instrument(symbol: str, kind: Kind, market: Mapping[str, Any]) -> Instrument:
    tick_size = _positive(market, "precision", "price")
    lot_size = _positive(market, "precision", "amount")
    for name, step, limit in (("tick", tick_size, "price"), ("lot", lot_size, "amount")):
        top = _at(market, "limits", limit, "max")
        # The mark of a number of digits read as a step: "8" for 1e-8.
        if isinstance(top, (int, float)) and 0 < top < step:
            raise ConfigError(f"{name} {step:g} is above the largest {limit}, {top:g}")
    least = _at(market, "limits", "cost", "min")
    return Instrument(
        symbol=symbol,
        tick_size=tick_size,
        lot_size=lot_size,
        kind=kind,
        contract_size=1.0 if kind == "spot" else _positive(market, "contractSize"),
        min_notional=0.0 if least is None else _number(least, "limits.cost.min"),
    )


def _at(market: Mapping[str, Any], *path: str) -> Any:
    value: Any = market
    for name in path:
        value = value.get(name) if hasattr(value, "get") else None
    return value


def _positive(market: Mapping[str, Any], *path: str) -> float:
    value = _number(_at(market, *path), ".".join(path))
    if value <= 0:
        raise ConfigError(f"{'.'.join(path)} must be positive, is {value:g}")
    return value


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ConfigError(f"{name} is missing" if value is None else f"{name} is no number: {value!r}")
    try:
        number = float(value)
    except ValueError:
        raise ConfigError(f"{name} is no number: {value!r}") from None
    if not math.isfinite(number):
        raise ConfigError(f"{name} is not finite: {value!r}")
    return number
