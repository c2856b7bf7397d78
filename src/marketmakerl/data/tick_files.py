"""Recorded books, best quotes and trades as files: which belong together, and the tape they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from marketmakerl.core.clock import iso_utc
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.catalog import DataSet, weakest_tier
from marketmakerl.data.tape import EventTape

if TYPE_CHECKING:
    import pandas as pd

    from marketmakerl.data.catalog import Catalog

NO_TRADES: Final = "none"
# A column that no other schema has.
_TELLING: Final = {"is_snapshot": "book", "bid_px": "bbo", "open": "klines", "trade_id": "trades"}


@dataclass(frozen=True)
class Recording:
    """Files of one recording.

    Attributes:
        quotes: the book, or best quotes.
        trades: of the same time; None where there were none.
    """

    quotes: DataSet
    trades: DataSet | None


def kind_of_file(path: Path) -> str:
    """Return what a Parquet file holds by its columns: book, bbo, klines, trades, or "" for none of them.

    Raises:
        DataFormatError: it is not a readable Parquet file.
    """
    try:
        names = set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        text = str(error).partition("\n")[0]
        told = "convert it, or make a tape of it if it is in an exchange's own format (mml data import)"
        hint = "" if path.suffix == ".parquet" else f"; {told}"
        raise DataFormatError(f"{path} is not a readable Parquet file: {text.rstrip('.')}{hint}") from error
    return next((kind for column, kind in _TELLING.items() if column in names), "")


def trades_of(quotes: DataSet, trades: str) -> DataSet | None:
    """Return the trades that belong to a book.

    Args:
        quotes: a file `<folder>/book/<stem>_<kind>.parquet`.
        trades: a path, "none" for a recording without any, or "" for `<folder>/trades/<stem>_trades.parquet`.

    Raises:
        DataNotFoundError: it is not there: a book without trades fills hardly anything, and should be asked for.
    """
    if trades == NO_TRADES:
        return None
    stem = quotes.path.stem.rpartition("_")[0]
    path = Path(trades) if trades else quotes.path.parent.parent / "trades" / f"{stem}_trades.parquet"
    if not path.is_file():
        raise DataNotFoundError(
            f"no trades of {quotes.path.name}: {path} is not there; say --trades PATH, or --trades {NO_TRADES} "
            "for a recording without any"
        )
    return DataSet(quotes.exchange, quotes.symbol, "trades", "", path)


def find_recording(catalog: Catalog, exchange: str, symbol: str, trades: str) -> Recording:
    """Return the one recording of a series that a catalog holds: its book, else its best quotes.

    Raises:
        DataNotFoundError: none, or its trades are not there.
        ConfigError: several; one has to be named.
    """
    try:
        found = catalog.find(exchange, symbol, "book")
    except DataNotFoundError as error:
        try:
            found = catalog.find(exchange, symbol, "bbo")
        except DataNotFoundError:
            raise error from None
    if len(found) > 1:
        names = ", ".join(str(d.path) for d in found)
        raise ConfigError(
            f"{catalog.root} has {len(found)} recordings of {exchange} {symbol}; name one: --data {names}"
        )
    quotes = found[0]
    made = trades_of(quotes, trades)
    listed = {d.path: d for d in catalog.data_sets}  # with the hash that the catalog's manifest expects
    return Recording(quotes, listed.get(made.path, made) if made else None)


def load_recording(
    recording: Recording, symbol: str, instruments_file: Path | None
) -> tuple[EventTape, list[dict[str, Any]]]:
    """Compile a recording to a tape, and return it with one JSON-ready entry a file.

    Raises:
        DataError: a file that cannot be read, or that cannot be trusted (see `EventTape.from_book`).
        UnknownNameError: an instrument nobody knows.
    """
    quotes = recording.quotes
    frames = {d.kind: _read(d.path) for d in (quotes, recording.trades) if d is not None}
    begin, end = _span(frames[quotes.kind], quotes.path)
    instrument = lookup(quotes.exchange, symbol or quotes.symbol, at=begin, until=end, overrides=instruments_file)
    sets = [d for d in (quotes, recording.trades) if d is not None]
    tape = EventTape.from_book(
        frames.get("book"),
        frames.get("trades"),
        instrument,
        bbo_df=frames.get("bbo"),
        tier=weakest_tier(d.tier for d in sets),
        source=f"{quotes.exchange} {quotes.symbol}",
    )
    return tape, [_provenance(d, frames[d.kind]) for d in sets]


def _read(path: Path) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
    except (pa.ArrowException, OSError) as error:
        text = str(error).partition("\n")[0]
        raise DataFormatError(f"{path} is not a readable Parquet file: {text}") from error
    return frame


def _span(frame: pd.DataFrame, path: Path) -> tuple[str, str]:
    """Return first and last time, by the exchange's clock or, where it gives none, the recorder's."""
    for name in ("ts_ns", "ts_local_ns"):
        if name not in frame.columns or frame[name].dtype.kind != "i":
            raise DataFormatError(f"{path}: missing column {name} (int64)")
        known = frame[name][frame[name] > 0]
        if len(known):
            return iso_utc(int(known.min())), iso_utc(int(known.max()))
    raise DataFormatError(f"{path} has no rows with a time")


def _provenance(data_set: DataSet, frame: pd.DataFrame) -> dict[str, Any]:
    first, last = _span(frame, data_set.path)
    return {
        "exchange": data_set.exchange,
        "symbol": data_set.symbol,
        "kind": data_set.kind,
        "timeframe": "",
        "file": data_set.path.name,
        "sha256": data_set.sha256,
        "tier": data_set.tier,
        "rows": len(frame),
        "first": first,
        "last": last,
    }
