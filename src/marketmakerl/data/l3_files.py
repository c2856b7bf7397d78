"""Recorded logs of single orders (L3) as files: find one, its trades and its instrument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from marketmakerl.core.clock import iso_utc
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.catalog import Catalog, DataSet, parse_name, weakest_tier
from marketmakerl.data.tick_files import trades_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from marketmakerl.core.instrument import Instrument


@dataclass(frozen=True)
class RecordedOrders:
    """What `EventTape.from_l3` takes, and where it comes from.

    Attributes:
        orders, trades: the frames; no trades: None.
        instrument: tick and lot on the first day of the log.
        tier: the weaker of the files'.
        source: e.g. "bitstamp BTCUSD".
        provenance: one JSON-ready entry a file.
    """

    orders: pd.DataFrame
    trades: pd.DataFrame | None
    instrument: Instrument
    tier: str
    source: str
    provenance: list[dict[str, Any]]


def load_orders(
    data: Path, *, exchange: str = "", symbol: str = "", trades: str = "", instruments_file: Path | None = None
) -> RecordedOrders:
    """Read a log of single orders.

    Args:
        data: a file `<exchange>_<symbol>_..._orders.parquet`, or a catalog that holds one of `exchange` and `symbol`.
        exchange: which, in a catalog.
        symbol: likewise; it also names the instrument, else the file's name does.
        trades: a path, "none", or "" for those that lie beside a catalog's log.
        instruments_file: rows that win over the table of instruments.

    Raises:
        DataNotFoundError, DataFormatError: a file is not there or cannot be read.
        ConfigError: several logs fit, or a catalog without exchange and symbol.
        UnknownNameError: an instrument nobody knows.
    """
    found = _find(data, exchange, symbol)
    sets = [found] + [made for made in [trades_of(found, trades)] if made is not None]
    frames = [_read(one.path) for one in sets]
    if "ts_local_ns" not in frames[0] or frames[0]["ts_local_ns"].dtype.kind != "i" or frames[0].empty:
        raise DataFormatError(f"{found.path} is no log of single orders: it has no rows with ts_local_ns (int64)")
    times = frames[0]["ts_local_ns"]
    first, last = iso_utc(int(times.min())), iso_utc(int(times.max()))
    instrument = lookup(found.exchange, symbol or found.symbol, at=first, until=last, overrides=instruments_file)
    span = {"first": first, "last": last}
    entries = [
        {"exchange": one.exchange, "symbol": one.symbol, "kind": one.kind, "file": one.path.name}
        | {"sha256": one.sha256, "tier": one.tier, "rows": len(frame)}
        | span
        for one, frame in zip(sets, frames, strict=True)
    ]
    return RecordedOrders(
        frames[0], frames[1] if len(frames) > 1 else None, instrument, weakest_tier(one.tier for one in sets),
        f"{found.exchange} {found.symbol}", entries,
    )  # fmt: skip


def _find(data: Path, exchange: str, symbol: str) -> DataSet:
    if data.is_file():
        found = parse_name(data, "l3")
        if found is None:
            raise ConfigError(
                f"{data.name} does not say whose it is; name it <exchange>_<symbol>_<first>_orders.parquet"
            )
        return found
    if not data.is_dir():
        raise DataNotFoundError(f"{data} is not there")
    if not exchange or not symbol:
        raise ConfigError(f"{data} is a folder: name --exchange and --symbol, or one file")
    several = Catalog(data).find(exchange, symbol, "l3")
    if len(several) > 1:
        names = ", ".join(str(one.path) for one in several)
        raise ConfigError(f"{data} has {len(several)} logs of {exchange} {symbol}; name one: --data {names}")
    return several[0]


def _read(path: Path) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
    except (pa.ArrowException, OSError) as error:
        text = str(error).partition("\n")[0]
        raise DataFormatError(f"{path} is not a readable Parquet file: {text}") from error
    return frame
