"""What `mml data check` does with a file: find out what it is, and check it as that."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from marketmakerl.core.clock import iso_utc
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError
from marketmakerl.core.instrument import Instrument
from marketmakerl.core.instruments import known_exchanges, lookup
from marketmakerl.data.catalog import parse_name
from marketmakerl.data.hftbacktest_import import import_hftbacktest, load_events
from marketmakerl.data.row_checks import is_time
from marketmakerl.data.tape import MAGIC, EventTape
from marketmakerl.data.tick_files import kind_of_file
from marketmakerl.data.tick_quality import TickReport, check_frame, check_tape, decimal_step

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

KLINES = "klines"
_NPY_MAGIC = np.lib.format.MAGIC_PREFIX
_TICKS = ("book", "bbo", "trades")


def kind_of(path: Path) -> str:
    """Return what a file holds: tape, hftbacktest, book, bbo, trades, or klines for any other Parquet file.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: none of them.
    """
    if not path.is_file():
        raise DataNotFoundError(f"no such file: {path}")
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except OSError as error:
        raise DataFormatError(f"cannot read {path}: {error.strerror or error}") from error
    if head == MAGIC:
        return "tape"
    if head.startswith(_NPY_MAGIC) or zipfile.is_zipfile(path):
        return "hftbacktest"
    kind = kind_of_file(path)
    return kind if kind in _TICKS else KLINES


def check_ticks_file(
    path: Path, kind: str, *, exchange: str = "", symbol: str = "", instruments_file: Path | None = None
) -> TickReport:
    """Check a file of ticks.

    Args:
        path: the file.
        kind: what `kind_of` says.
        exchange: with `symbol`, names the instrument whose tick and lot the numbers must lie on; by default what the
            file's name says. Where neither does, the coarsest decimals that hold all numbers are its grid.
        symbol: on that exchange.
        instruments_file: overrides of the instrument table.

    Raises:
        DataFormatError, DataNotFoundError: a file that cannot be read at all.
        UnknownNameError: an exchange or symbol that was named and nobody knows.
    """
    if kind == "tape":
        return check_tape(EventTape.load(path))
    if kind == "hftbacktest":
        return _check_hftbacktest(path, exchange, symbol, instruments_file)
    try:
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
    except (pa.ArrowException, OSError) as error:
        text = str(error).partition("\n")[0]
        raise DataFormatError(f"{path} is not a readable Parquet file: {text}") from error
    instrument = _instrument(frame, *_named(path, kind, exchange, symbol), instruments_file)
    report = check_frame(frame, kind, instrument)
    report.facts["grid"] = (
        f"{instrument.symbol}: tick {instrument.tick_size:.10g}, lot {instrument.lot_size:.10g}"
        if instrument
        else "not checked: --exchange and --symbol name the instrument"
    )
    return report


def _named(path: Path, kind: str, exchange: str, symbol: str) -> tuple[str, str]:
    """Return exchange and symbol: as given, else as the file's name says, if the table knows them."""
    named = parse_name(path, kind)
    if exchange or symbol or named is None or named.exchange not in known_exchanges():
        return exchange, symbol
    try:
        lookup(named.exchange, named.symbol)
    except ConfigError:
        return "", ""
    return named.exchange, named.symbol


def _instrument(frame: pd.DataFrame, exchange: str, symbol: str, instruments_file: Path | None) -> Instrument | None:
    if not exchange and not symbol:
        return None
    for name in ("ts_ns", "ts_local_ns"):
        if name in frame.columns and frame[name].dtype.kind == "i":
            times = frame[name].to_numpy()
            good = times[is_time(times)]
            if len(good):
                begin, end = iso_utc(int(good.min())), iso_utc(int(good.max()))
                return lookup(exchange, symbol, at=begin, until=end, overrides=instruments_file)
    return lookup(exchange, symbol, overrides=instruments_file)


def _check_hftbacktest(path: Path, exchange: str, symbol: str, instruments_file: Path | None) -> TickReport:
    if exchange or symbol:
        instrument = lookup(exchange, symbol, overrides=instruments_file)
    else:
        events = load_events(path)
        instrument = Instrument("unknown/unknown", decimal_step(events["px"]), decimal_step(events["qty"]))
    return check_tape(import_hftbacktest(path, instrument), "hftbacktest")
