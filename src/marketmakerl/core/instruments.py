"""Which instruments exist, under which names, and what tick, lot and minimum notional they had on a given day."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.core.instrument import Instrument, Kind
from marketmakerl.core.tables import Record, iso_day, overriding, shipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FIELDS = (
    "exchange",
    "symbol",
    "native",
    "kind",
    "tick_size",
    "lot_size",
    "contract_size",
    "min_notional",
    "as_of",
    "source",
)
# The date of a row that says none: it holds for all of history.
ALWAYS = "0001-01-01"

_HOW_TO_ADD = (
    "(to add one, put it into the JSON file that MML_INSTRUMENTS_FILE names: "
    '[{"exchange": "binance", "symbol": "BTC/USDT", "kind": "spot", "tick_size": 0.01, "lot_size": 0.00001}])'
)


@dataclass(frozen=True, slots=True)
class InstrumentRow:
    """What one venue asked for from one day on.

    Args:
        exchange: the venue's name here, e.g. "binanceusdm"; lower case.
        native: the venue's own spelling of the symbol, e.g. "BTCUSDT", "XBTUSD".
        instrument: the numbers.
        as_of: ISO date from which they hold.
        source: how they are known.
    """

    exchange: str
    native: str
    instrument: Instrument
    as_of: str = ALWAYS
    source: str = ""

    @property
    def symbol(self) -> str:
        """Return the unified name, e.g. "BTC/USDT:USDT"."""
        return self.instrument.symbol

    def as_dict(self) -> dict[str, Any]:
        """Return the row as one flat object of an overrides file."""
        row = {"exchange": self.exchange, "native": self.native, "as_of": self.as_of, "source": self.source}
        merged = row | asdict(self.instrument)
        return {name: merged[name] for name in FIELDS}


def lookup(
    exchange: str, symbol: str, *, at: str | None = None, until: str | None = None, overrides: Path | None = None
) -> Instrument:
    """Return an instrument as it was on a day.

    Args:
        exchange: e.g. "binance", "binanceusdm"; any case.
        symbol: unified ("BTC/USDT:USDT"; "BTC/USDT" does where only the perpetual exists) or native ("BTCUSDT");
            any case.
        at: first day of the data (ISO date or timestamp); None: the latest known numbers. Days before the first row
            get the first row.
        until: last day of the data. A tick or lot that changed on the way is the finest of the span, so that every
            price of the data is on it, and the minimum notional is the highest.
        overrides: JSON file whose rows win from their `as_of` on (without one: always), and may be new instruments.

    Raises:
        UnknownNameError: no such exchange, or no such symbol on it.
        ConfigError: a date that is none, `until` before `at`, a name that fits several symbols, or a malformed
            overrides file.
    """
    rows = _find(exchange, symbol, overrides)
    first = _day(at, "at") if at else rows[-1].as_of
    last = _day(until, "until") if at and until else first
    if last < first:
        raise ConfigError(f"{exchange} {symbol}: until {last} is before at {first}")
    before = [row.instrument for row in rows if row.as_of <= first]
    span = [(before or [rows[0].instrument])[-1]]
    span += [row.instrument for row in rows if first < row.as_of <= last]
    return replace(
        span[0],
        symbol=rows[0].symbol,
        tick_size=min(item.tick_size for item in span),
        lot_size=min(item.lot_size for item in span),
        min_notional=max(item.min_notional for item in span),
    )


def native_symbol(exchange: str, symbol: str, *, overrides: Path | None = None) -> str:
    """Return the venue's own spelling of a symbol, e.g. "BTCUSDT"; raises what `lookup` raises."""
    return _find(exchange, symbol, overrides)[0].native


def known_exchanges(*, overrides: Path | None = None) -> tuple[str, ...]:
    """Return the exchanges with at least one instrument, sorted."""
    return tuple(sorted(_book(overrides)))


def known_symbols(exchange: str, *, overrides: Path | None = None) -> tuple[str, ...]:
    """Return the unified symbols of an exchange, sorted; raise `UnknownNameError` for an unknown exchange."""
    return tuple(sorted(rows[0].symbol for rows in _of_exchange(exchange, _book(overrides)).values()))


def read_overrides(path: Path) -> list[InstrumentRow]:
    """Return the rows of an overrides file, in its order.

    Raises:
        ConfigError: malformed; the line names file, row and field.
    """
    return [_row(record) for record in overriding(path, FIELDS)]


# Exchange -> symbol in upper case -> rows, oldest first.
_Book = dict[str, dict[str, list[InstrumentRow]]]


def _day(text: str, name: str) -> str:
    try:
        return iso_day(text)
    except ValueError:
        raise ConfigError(f"{name} must be an ISO date such as 2024-08-08, got {text!r}") from None


def _row(record: Record) -> InstrumentRow:
    symbol = record.text("symbol")
    if "/" not in symbol:
        raise ConfigError(f"{record.where}: field 'symbol' must be unified, e.g. BTC/USDT:USDT, got {symbol!r}")
    numbers = {
        "tick_size": record.number("tick_size"),
        "lot_size": record.number("lot_size"),
        "contract_size": record.number("contract_size", 1.0),
        "min_notional": record.number("min_notional", 0.0),
    }
    kind = cast("Kind", record.text("kind"))
    try:
        instrument = Instrument(symbol, kind=kind, **numbers)
    except ConfigError as error:
        raise ConfigError(f"{record.where}: {error}") from None
    return InstrumentRow(
        exchange=record.text("exchange").lower(),
        native=record.text("native", _plain(symbol.partition(":")[0])),
        instrument=instrument,
        as_of=record.day("as_of", ALWAYS),
        source=record.text("source", "override"),
    )


def _grouped(rows: Iterable[InstrumentRow]) -> _Book:
    book: _Book = {}
    for row in sorted(rows, key=lambda row: row.as_of):
        book.setdefault(row.exchange, {}).setdefault(row.symbol.upper(), []).append(row)
    return book


@cache
def _shipped_book() -> _Book:
    return _grouped(_row(record) for record in shipped("instruments"))


def _book(overrides: Path | None) -> _Book:
    """Return the table with the overrides laid over it; callers do not change it."""
    if overrides is None:
        return _shipped_book()
    book = {exchange: dict(symbols) for exchange, symbols in _shipped_book().items()}
    for exchange, symbols in _grouped(read_overrides(overrides)).items():
        for symbol, rows in symbols.items():
            for earlier, later in pairwise(rows):
                if earlier.as_of == later.as_of:
                    raise ConfigError(f"{overrides}: {exchange} {symbol} has two rows as of {later.as_of}")
            older = [row for row in book.get(exchange, {}).get(symbol, []) if row.as_of < rows[0].as_of]
            book.setdefault(exchange, {})[symbol] = older + rows
    return book


def _of_exchange(exchange: str, book: _Book) -> dict[str, list[InstrumentRow]]:
    name = exchange.strip().lower()
    if name not in book:
        raise UnknownNameError("exchange", name, book)
    return book[name]


def _plain(symbol: str) -> str:
    """Return a symbol without case and punctuation: "btc-perp" and "BTC/PERP" are one name."""
    return "".join(letter for letter in symbol.upper() if letter.isalnum())


def _find(exchange: str, symbol: str, overrides: Path | None) -> list[InstrumentRow]:
    """Return the rows of the instrument a name means, oldest first."""
    symbols = _of_exchange(exchange, _book(overrides))
    unified = symbol.strip().upper()
    if unified in symbols:
        return symbols[unified]
    plain = _plain(symbol)
    fits = [name for name, rows in symbols.items() if plain in _spellings(name, rows)]
    if not fits:
        raise UnknownNameError(f"{exchange} symbol", unified, symbols, _HOW_TO_ADD)
    nearest = min(_distance(name, symbols) for name in fits)
    fits = [name for name in fits if _distance(name, symbols) == nearest]
    if len(fits) > 1:
        raise ConfigError(f"{exchange} symbol {symbol!r} fits several: {', '.join(sorted(fits))}; name one in full")
    return symbols[fits[0]]


def _spellings(name: str, rows: Iterable[InstrumentRow]) -> set[str]:
    return {_plain(name), _plain(name.partition(":")[0]), *(_plain(row.native) for row in rows)}


def _distance(name: str, symbols: Mapping[str, list[InstrumentRow]]) -> int:
    """Rank what a short name means where a venue has several: spot, then the perpetual, then a dated future."""
    if symbols[name][-1].instrument.kind == "spot":
        return 0
    return 2 if "-" in name.partition(":")[2] else 1
