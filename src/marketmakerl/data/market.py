"""Where a run's market comes from: a catalog, a file, or the embedded synthetic market."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketmakerl.core.artifacts import sha256_of
from marketmakerl.core.clock import NS_PER_DAY, NS_PER_MS, iso_utc
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError
from marketmakerl.core.instruments import lookup
from marketmakerl.core.log import get_logger
from marketmakerl.data.bars import compile_bars, tape_of_bars
from marketmakerl.data.catalog import SIMULATED_EXCHANGE, Catalog, DataSet, parse_name, timeframe_ms
from marketmakerl.data.synthetic import SyntheticMarket, simulated_columns
from marketmakerl.data.tape import MAGIC, EventTape
from marketmakerl.data.tick_files import Recording, find_recording, kind_of_file, load_recording, trades_of
from marketmakerl.data.tick_windows import cut, row_at

if TYPE_CHECKING:
    from marketmakerl.data.quality import QualityReport

log = get_logger(__name__)

SYNTHETIC_SYMBOL = "BTC/USDT:USDT"
CLOCKS = ("bars", "ticks")


@dataclass(frozen=True)
class Market:
    """A market ready to be run.

    Attributes:
        exchange: where the data were recorded ("sim": nowhere), which also decides the fees.
        tape: the events.
        provenance: one JSON-ready entry a data set, for the manifest.
        quality: what the checks found; None for a tape that was checked when it was made.
    """

    exchange: str
    tape: EventTape
    provenance: list[dict[str, Any]]
    quality: QualityReport | None = None


@dataclass(frozen=True)
class MarketRequest:
    """What the user asked for.

    Args:
        exchange: e.g. "binanceusdm"; "" with no data means the synthetic market.
        symbol: unified ("BTC/USDT") or native ("BTCUSDT").
        data: a catalog folder, a Parquet file (klines, or a book or best quotes with trades beside them) or a tape;
            None looks in `catalog_dir`.
        timeframe: bars to use, e.g. "1m".
        days: only the last so many days; None for all.
        catalog_dir: the local catalog.
        instruments_file, fees_file: overrides of the shipped tables.
        base_url: where to fetch what is not held (see `fetch_missing`); "" for the exchange itself.
        clock: "bars" or "ticks"; "" for what a file holds, and bars from a folder.
        trades: ticks: the trades of a book file, see `trades_of`.
    """

    exchange: str = ""
    symbol: str = ""
    data: Path | None = None
    timeframe: str = "1m"
    days: float | None = None
    catalog_dir: Path = Path("data")
    instruments_file: Path | None = None
    fees_file: Path | None = None
    base_url: str = ""
    clock: str = ""
    trades: str = ""

    @property
    def is_synthetic(self) -> bool:
        """Return whether no recorded data were asked for."""
        return self.data is None and self.exchange in {"", SIMULATED_EXCHANGE}

    def check(self) -> None:
        """Raise `ConfigError` for what can be refused before any file is opened."""
        if self.clock not in {"", *CLOCKS}:
            raise ConfigError(f"CLOCK {self.clock!r} is not one; say {' or '.join(CLOCKS)}")
        if timeframe_ms(self.timeframe) is None:
            raise ConfigError(f"TIMEFRAME {self.timeframe!r} is not one; say 1m, 5m, 15m, 1h or 1d")
        if self.days is not None and not 0 < self.days < float("inf"):
            raise ConfigError(f"DAYS must be > 0, got {self.days!r}")
        if self.exchange and not self.is_synthetic and not self.symbol:
            raise ConfigError(f"EXCHANGE={self.exchange} needs a SYMBOL, e.g. SYMBOL=BTC/USDT")


def check_synthetic(request: MarketRequest) -> None:
    """Refuse a symbol or a timeframe that the embedded synthetic market does not have."""
    request.check()
    if request.clock == "ticks" or request.trades:
        raise ConfigError("the synthetic market has no ticks; give recorded ones: --data <folder, book file or tape>")
    if request.symbol:
        lookup(SIMULATED_EXCHANGE, request.symbol)
    interval_ms = timeframe_ms(request.timeframe) or 0
    if interval_ms < 1000 or interval_ms > 1000 * 86_400:
        raise ConfigError(f"the synthetic market has bars of 1s to 1d, not {request.timeframe}")


def synthetic_market(n_bars: int, seed: int, config: SyntheticMarket | None = None) -> Market:
    """Make the embedded synthetic market: same seed, same bytes."""
    config = config or SyntheticMarket()
    instrument = lookup(SIMULATED_EXCHANGE, SYNTHETIC_SYMBOL)
    bars = simulated_columns(config, n_bars, seed)
    tape = tape_of_bars(bars, instrument, interval_ms=config.interval_s * 1000, tier="T2", source="synthetic")
    return Market(SIMULATED_EXCHANGE, tape, [])


def load_market(request: MarketRequest) -> Market:
    """Load the recorded market that was asked for.

    Raises:
        ConfigError: the request makes no sense; DataError and its kin: the data are missing or wrong.
    """
    request.check()
    if request.data is not None and not request.data.is_dir():
        return _from_file(request, request.data)
    root = request.data or request.catalog_dir
    if not request.exchange:
        raise ConfigError(f"DATA={root} is a folder: say which series, e.g. EXCHANGE=binanceusdm SYMBOL=BTC/USDT")
    if request.clock == "ticks":
        return _from_recording(request, find_recording(Catalog(root), request.exchange, request.symbol, request.trades))
    _refuse_clock(request, "bars", f"DATA={root} without --clock ticks")
    try:
        data_sets = Catalog(root).find(request.exchange, request.symbol, "klines", request.timeframe)
    except DataNotFoundError as error:
        if request.data is not None:
            raise
        raise DataNotFoundError(f"{error}; point DATA= at a folder that has it") from error
    return _from_klines(request, data_sets)


def _from_klines(request: MarketRequest, data_sets: list[DataSet]) -> Market:
    from marketmakerl.data.klines import load_klines  # noqa: PLC0415  (pandas: half a second that only files need)

    klines = load_klines(data_sets, days=request.days)
    first = data_sets[0]
    begin, end = (iso_utc(int(klines.frame["ts_ms"].iloc[row]) * NS_PER_MS) for row in (0, -1))
    instrument = lookup(
        first.exchange, request.symbol or first.symbol, at=begin, until=end, overrides=request.instruments_file
    )
    source = f"{first.exchange} {first.symbol} {first.timeframe}".strip()
    tape = compile_bars(klines.frame, instrument, interval_ms=klines.interval_ms, tier=klines.tier, source=source)
    if klines.quality.warnings:
        log.warning("data_warnings", source=source, findings=klines.quality.summary())
    return Market(first.exchange, tape, klines.provenance, klines.quality)


def _from_file(request: MarketRequest, path: Path) -> Market:
    if not path.exists():
        raise DataNotFoundError(f"no such file or folder: {path}")
    with path.open("rb") as file:
        is_tape = file.read(len(MAGIC)) == MAGIC
    if is_tape:
        return _from_tape(request, path)
    kind = kind_of_file(path)
    if kind in {"book", "bbo"}:
        return _from_book_file(request, path, kind)
    if kind == "trades":
        raise DataFormatError(f"{path} holds trades alone, no market to quote in; give the book as --data")
    _refuse_clock(request, "bars", str(path))
    named = parse_name(path, "klines")
    exchange, symbol = request.exchange or (named.exchange if named else ""), request.symbol
    if not exchange or not (symbol or named):
        raise ConfigError(f"{path.name} does not say what it holds; add EXCHANGE= and SYMBOL=")
    native = named.symbol if named else symbol
    # A file speaks for itself: its own step decides the interval unless its name states one.
    data_set = DataSet(exchange, native, "klines", named.timeframe if named else "", path)
    return _from_klines(replace(request, symbol=symbol or native), [data_set])


def _from_book_file(request: MarketRequest, path: Path, kind: str) -> Market:
    _refuse_clock(request, "ticks", str(path))
    named = parse_name(path, kind)
    exchange, native = request.exchange or (named.exchange if named else ""), named.symbol if named else request.symbol
    if not exchange or not native:
        raise ConfigError(f"{path.name} does not say what it holds; add EXCHANGE= and SYMBOL=")
    quotes = DataSet(exchange, native, kind, "", path)
    return _from_recording(request, Recording(quotes, trades_of(quotes, request.trades)))


def _from_recording(request: MarketRequest, recording: Recording) -> Market:
    tape, provenance = load_recording(recording, request.symbol, request.instruments_file)
    return Market(recording.quotes.exchange, _last_days(tape, request.days), provenance)


def _refuse_clock(request: MarketRequest, held: str, what: str) -> None:
    """Refuse data that are not of the clock asked for, and trades where there is no book to join them to."""
    if request.clock not in {"", held}:
        raise ConfigError(f"--clock {request.clock} was asked for, and {what} holds {held}")
    if held == "bars" and request.trades:
        raise ConfigError(f"--trades belongs to a book, and {what} holds bars")


def _last_days(tape: EventTape, days: float | None) -> EventTape:
    """Return the last so many days of a tape that is not empty."""
    if days is None or len(tape) == 0:
        return tape
    end_ns = int(tape.ts_ns[-1])
    start_ns = end_ns - round(days * NS_PER_DAY)
    return tape.window(start_ns, end_ns) if tape.is_bars else cut(tape, row_at(tape, start_ns), len(tape))


def _from_tape(request: MarketRequest, path: Path) -> Market:
    tape = EventTape.load(path)
    _refuse_clock(request, "bars" if tape.is_bars else "ticks", str(path))
    symbol = tape.instrument.symbol
    exchange = request.exchange or str(tape.meta.get("exchange", SIMULATED_EXCHANGE if tape.tier == "T2" else ""))
    if not exchange:
        raise ConfigError(f"{path} does not say which exchange it is of, and fees depend on it; add EXCHANGE=")
    if request.symbol and _plain(request.symbol) != _plain(symbol):
        raise ConfigError(f"{path} is a tape of {symbol}, not of {request.symbol}")
    tape = _last_days(tape, request.days)
    if len(tape) == 0:
        raise DataFormatError(f"{path}: the tape holds no events")
    return Market(exchange, tape, [{"file": path.name, "sha256": sha256_of(path), "tier": tape.tier}])


def _plain(symbol: str) -> str:
    return symbol.partition(":")[0].replace("/", "").upper()


def fetch_missing(request: MarketRequest, days: float) -> Market:
    """Fetch the last `days` days of bars into the local catalog, and load them from there.

    Raises:
        ExchangeUnreachableError: no answer; the line says how to use recorded data. Else what `fetch` raises.
    """
    from marketmakerl.data.fetch import fetch  # noqa: PLC0415  (ccxt: a second that only this needs)
    from marketmakerl.data.real_market_data import PublicClient  # noqa: PLC0415

    log.warning("not_held_fetching", exchange=request.exchange, symbol=request.symbol, days=days)
    with PublicClient(request.exchange, base_url=request.base_url or None) as client:
        fetch(
            request.exchange, request.symbol, request.timeframe, days, request.catalog_dir, ("klines",), client=client
        )  # fmt: skip
    return load_market(request)
