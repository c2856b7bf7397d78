"""The local catalog: which recorded data there is, keyed by exchange, symbol and kind, with tier and hash.

A catalog is a folder whose file names say what is in them, `<kind>/<exchange>_<symbol>_<rest>.parquet`; nothing else
has to be kept in step with it. A `MANIFEST.csv` beside the folders (columns file, sha256) is checked when a file is
used; a Parquet file may carry its tier in the metadata key `mml.tier` (absent: T1, recorded exchange data). What this
program fetched itself lies in the same folders below `real/`.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import orjson
import pyarrow.parquet as pq

from marketmakerl.core.artifacts import sha256_of
from marketmakerl.core.errors import DataFormatError, DataNotFoundError, UnknownNameError
from marketmakerl.core.instruments import known_exchanges, native_symbol
from marketmakerl.data.tiers import TIER_ATTR

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KIND_OF_FOLDER = {
    "klines": "klines",
    "klines_ext": "klines",
    "trades": "trades",
    "book": "book",
    "bbo": "bbo",
    "l3": "l3",
    "funding": "funding",
}
TIER_KEY = b"mml.tier"
TIERS = ("T0", "T1", "T2", "T3")
SIMULATED_EXCHANGE = "sim"
FETCHED = "real"  # the folder below a catalog's root that holds what was fetched

_NAME = re.compile(r"(?P<exchange>[a-z0-9]+)_(?P<symbol>[A-Za-z0-9.-]+)_(?P<rest>.+)")
_TIMEFRAME = re.compile(r"(?P<count>[1-9][0-9]*)(?P<unit>[smhdw])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


def timeframe_ms(timeframe: str) -> int | None:
    """Return the length of a timeframe such as "1m" or "4h" in milliseconds, None if it is not one."""
    match = _TIMEFRAME.fullmatch(timeframe)
    return int(match["count"]) * _UNIT_MS[match["unit"]] if match else None


def weakest_tier(tiers: Iterable[str]) -> str:
    """Return the tier of a result made from several: indicative data spoil it most, then synthetic, then a stream."""
    return max(tiers, key=("T1", "T3", "T2", "T0").index)


@dataclass(frozen=True)
class DataSet:
    """One file of recorded data.

    Attributes:
        exchange: e.g. "binanceusdm".
        symbol: the venue's own spelling, e.g. "BTCUSDT".
        kind: klines, trades, book, bbo, l3 or funding.
        timeframe: of klines and funding, e.g. "1m"; "" for the others.
        path: where it lies.
        expected_sha256: what the catalog's MANIFEST.csv says, or "".
    """

    exchange: str
    symbol: str
    kind: str
    timeframe: str
    path: Path
    expected_sha256: str = ""

    @cached_property
    def sha256(self) -> str:
        """Hash of the file.

        Raises:
            DataFormatError: it is not the file that the catalog's manifest lists.
        """
        actual = sha256_of(self.path)
        if self.expected_sha256 and actual != self.expected_sha256:
            raise DataFormatError(
                f"{self.path} is not the file its MANIFEST.csv lists (sha256 differs); fetch it again"
            )
        return actual

    @cached_property
    def tier(self) -> str:
        """Data tier: what the file says of itself, T2 for anything the simulator made, else T1."""
        if self.exchange == SIMULATED_EXCHANGE:
            return "T2"
        try:
            metadata = pq.read_metadata(self.path).metadata or {}
            attrs = orjson.loads(metadata.get(b"PANDAS_ATTRS", b"{}"))
            stored = str(attrs.get(TIER_ATTR) or metadata.get(TIER_KEY, b"T1").decode())
        except (OSError, ValueError) as error:
            raise DataFormatError(f"{self.path} is not a readable Parquet file: {error}") from error
        if stored not in TIERS:
            raise DataFormatError(f"{self.path} claims tier {stored!r}; tiers are {', '.join(TIERS)}")
        return stored


def parse_name(path: Path, kind: str) -> DataSet | None:
    """Read exchange, symbol and timeframe off a file name; None if it does not have the form."""
    match = _NAME.fullmatch(path.stem)
    if not match:
        return None
    first = match["rest"].partition("_")[0]
    timeframe = first if timeframe_ms(first) else ""
    if kind in {"klines", "funding"} and not timeframe:
        return None
    return DataSet(match["exchange"], match["symbol"], kind, timeframe, path)


class Catalog:
    """Every data set below one folder. Reads names when made, files only when asked."""

    def __init__(self, root: Path) -> None:
        """List the data sets.

        Args:
            root: the folder that holds klines/, trades/, book/, ..., or real/klines/, ...

        Raises:
            DataNotFoundError: the folder does not exist.
            DataFormatError: its MANIFEST.csv cannot be read.
        """
        if not root.is_dir():
            raise DataNotFoundError(f"no data folder {root}; give DATA=<folder or file>")
        self.root = root
        expected = _manifest_hashes(root / "MANIFEST.csv")
        self.data_sets: list[DataSet] = []
        for folder, kind in KIND_OF_FOLDER.items():
            for path in (
                *sorted((root / folder).glob("*.parquet")),
                *sorted((root / FETCHED / folder).glob("*.parquet")),
            ):
                found = parse_name(path, kind)
                if found:
                    sha256 = expected.get(path.relative_to(root).as_posix(), "")
                    self.data_sets.append(
                        DataSet(found.exchange, found.symbol, kind, found.timeframe, path, expected_sha256=sha256)
                    )

    def find(self, exchange: str, symbol: str, kind: str, timeframe: str = "") -> list[DataSet]:
        """Return the data sets of one series, in the order of their names.

        Raises:
            UnknownNameError: neither this catalog nor the instrument table knows the exchange or the symbol.
            DataNotFoundError: known, but nothing here; the line says what is here.
        """
        here = [d for d in self.data_sets if d.exchange == exchange]
        if not here and exchange not in known_exchanges():
            raise UnknownNameError("exchange", exchange, {*known_exchanges(), *(d.exchange for d in self.data_sets)})
        native = self._native(exchange, symbol, {d.symbol for d in here})
        series = [d for d in here if d.symbol == native and d.kind == kind]
        found = [d for d in series if not timeframe or d.timeframe == timeframe]
        if found:
            return found
        if series:
            offered = sorted({d.timeframe for d in series}, key=lambda t: timeframe_ms(t) or 0)
            raise DataNotFoundError(
                f"{self.root} has no {timeframe} {kind} of {exchange} {symbol}; it has TIMEFRAME={' or '.join(offered)}"
            )
        if here:
            offered = sorted({d.symbol for d in here if d.kind == kind})
            raise DataNotFoundError(f"{self.root} has no {kind} of {exchange} {symbol}; it has {', '.join(offered)}")
        offered = sorted({d.exchange for d in self.data_sets})
        raise DataNotFoundError(
            f"{self.root} has nothing of {exchange}; it has {', '.join(offered) or 'no data at all'}"
        )

    @staticmethod
    def _native(exchange: str, symbol: str, here: set[str]) -> str:
        plain = symbol.partition(":")[0].replace("/", "").upper()
        for spelling in here:
            if spelling.upper() in {symbol.upper(), plain}:
                return spelling
        return native_symbol(exchange, symbol)


def _manifest_hashes(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        try:
            return {row["file"]: row["sha256"] for row in csv.DictReader(file)}
        except (KeyError, csv.Error, UnicodeDecodeError) as error:
            raise DataFormatError(f"{path} cannot be read as a manifest: {error!r} is missing or broken") from error
