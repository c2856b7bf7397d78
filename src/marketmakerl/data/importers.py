"""Every format that `mml data import` reads: how its files begin, and which reader takes them.

One entry a format. A reader takes a path and an instrument and gives back a tape and the report on what it read.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.clock import NS_PER_MS, iso_utc
from marketmakerl.core.errors import ConfigError, DataFormatError, UnknownNameError
from marketmakerl.data.capture_file import first_bytes
from marketmakerl.data.quality import MAX_TS_MS, MIN_TS_MS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.import_report import ImportReport
    from marketmakerl.data.tape import EventTape

AUTO: Final = "auto"
_TIME: Final = re.compile(rb"(?<![0-9.])[0-9]{13}(?:[0-9]{3})?(?:[0-9]{3})?(?![0-9.])")
_RECEIPT: Final = rb"^(?:[0-9]{13,19} )"


@dataclass(frozen=True)
class Importer:
    """One format.

    Attributes:
        module, function: the reader, imported when it is needed.
        about: a few words for the help text.
        begins: pattern (multi-line) found in the first bytes, unpacked, of such files and of no others; None: not told
            by its content.
        member: a zip that holds a file of this name is one, whatever else it holds.
        own_trades: the file holds trades too, or none are to be had; otherwise the reader takes a list of files.
        native: the reader asks for the exchange's spelling of the symbol.
        counts_bytes: the reader says how far it is (`progress`).
    """

    module: str
    function: str
    about: str
    begins: re.Pattern[bytes] | None
    member: str = ""
    own_trades: bool = True
    native: bool = True
    counts_bytes: bool = True

    def reader(self) -> Callable[..., tuple[EventTape, ImportReport]]:
        """Return the function that reads a file."""
        read: Callable[..., tuple[EventTape, ImportReport]] = getattr(import_module(self.module), self.function)
        return read


IMPORTERS: Final[dict[str, Importer]] = {
    "binance-stream": Importer(
        "marketmakerl.data.binance_stream",
        "import_binance_stream",
        "raw capture of Binance spot or futures streams",
        re.compile(_RECEIPT + rb'\{.*"(?:stream|lastUpdateId|e)":', re.MULTILINE),
    ),
    "bybit-stream": Importer(
        "marketmakerl.data.bybit_stream",
        "import_bybit_stream",
        "raw capture of Bybit streams, or its ob500 archive",
        re.compile(_RECEIPT + rb'?\{.*"topic":\s?"(?:orderbook|publicTrade)\.', re.MULTILINE),
    ),
    "hyperliquid-stream": Importer(
        "marketmakerl.data.hyperliquid_stream",
        "import_hyperliquid_stream",
        "raw capture of Hyperliquid streams",
        re.compile(_RECEIPT + rb'\{"channel":\s?"(?:l2Book|trades|bbo|subscriptionResponse)"', re.MULTILINE),
    ),
    "tardis": Importer(
        "marketmakerl.data.tardis_csv",
        "read_tardis",
        "Tardis CSV: incremental_book_L2, quotes, trades",
        re.compile(rb"\Aexchange,symbol,timestamp,local_timestamp,"),
        own_trades=False,
        counts_bytes=False,
    ),
    "binance-klines": Importer(
        "marketmakerl.data.binance_dumps",
        "read_klines",
        "Binance public dump of klines",
        re.compile(rb"\A(?:open_time,|(?:[0-9.]+,){11}[0-9.]+\r?\n)"),
        native=False,
        counts_bytes=False,
    ),
    "binance-aggtrades": Importer(
        "marketmakerl.data.binance_dumps",
        "read_agg_trades",
        "Binance public dump of aggregated trades",
        re.compile(rb"\A(?:agg_trade_id,|(?:[0-9.]+,){6}(?:[Tt]rue|[Ff]alse)(?:,(?:[Tt]rue|[Ff]alse))?\r?\n)"),
        native=False,
        counts_bytes=False,
    ),
    "parquet": Importer(
        "marketmakerl.data.tidy_parquet",
        "read_tidy",
        "Parquet of our own schemas: book, best quotes, trades",
        re.compile(rb"\APAR1"),
        own_trades=False,
        native=False,
        counts_bytes=False,
    ),
    "hftbacktest": Importer(
        "marketmakerl.data.hftbacktest_import",
        "read_hftbacktest",
        "events of hftbacktest 2.x, .npz or .npy",
        re.compile(rb"\A\x93NUMPY"),
        member="data.npy",
        native=False,
        counts_bytes=False,
    ),
}


def detect(path: Path) -> str:
    """Return which format a file has, told by its first bytes.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: none that is known here.
    """
    head, members = first_bytes(path), _members(path)
    for name, importer in IMPORTERS.items():
        if importer.member in members or (importer.begins is not None and importer.begins.search(head)):
            return name
    raise DataFormatError(f"{path} begins like none of: {', '.join(sorted(IMPORTERS))}; name its format (--format)")


def _members(path: Path) -> list[str]:
    """Return the names of the files in a zip; none if it is no zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return []


def first_day(path: Path) -> str | None:
    """Return the day of the first time (ms, µs or ns UTC) in a file as ISO date; None where there is none."""
    for found in _TIME.finditer(first_bytes(path)):
        digits = found.group()
        ts_ms = int(digits[:13])
        if MIN_TS_MS <= ts_ms <= MAX_TS_MS:
            return iso_utc(ts_ms * NS_PER_MS)[:10]
    return None


def import_file(
    path: Path, instrument: Instrument, *, format_name: str, symbol: str, trades: Path | None = None, **options: Any
) -> tuple[EventTape, ImportReport]:
    """Read a file of a known format.

    Args:
        path: the file.
        instrument: tick and lot on its day.
        format_name: a key of `IMPORTERS`.
        symbol: the exchange's spelling.
        trades: a second file, for formats that keep trades apart.
        options: passed on: clock_offset_ns, tier, progress.

    Raises:
        UnknownNameError: no such format.
        ConfigError: trades given for a format that has them in the same file.
        DataError: what the reader raises.
    """
    if format_name not in IMPORTERS:
        raise UnknownNameError("format", format_name, [*IMPORTERS, AUTO])
    importer = IMPORTERS[format_name]
    if trades is not None and importer.own_trades:
        raise ConfigError(f"{format_name} files hold their own trades, or none; leave --trades away")
    if importer.native:
        options["symbol"] = symbol
    if not importer.counts_bytes:
        options.pop("progress", None)
    return importer.reader()(path if trades is None else [path, trades], instrument, **options)
