"""Public data of an exchange into the local catalog: `<root>/real/<kind>/<exchange>_<symbol>_....parquet`.

Everything asked for is fetched and checked before the first file is written, and files appear whole. A series stays in
one file as long as its pieces touch: bars and trades fetched again are merged into the files that are there, the newer
answer wins, and the files it makes superfluous go.
"""

from __future__ import annotations

import math
import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from marketmakerl.core.artifacts import write_atomic
from marketmakerl.core.clock import NS_PER_MS, iso_utc
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError, UnknownNameError
from marketmakerl.core.instruments import native_symbol
from marketmakerl.data.catalog import FETCHED, TIER_KEY, DataSet, parse_name, timeframe_ms
from marketmakerl.data.public_answers import KLINE_COLUMNS, TRADE_COLUMNS
from marketmakerl.data.quality import check_klines
from marketmakerl.data.real_market_data import OrderBook, PublicClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

WHAT: Final = ("klines", "order_book", "trades")
FOLDERS: Final = {"klines": "klines", "order_book": "book", "trades": "trades"}
BOOK_COLUMNS: Final = (
    *("ts_ns", "ts_local_ns", "side", "price", "qty"),
    *("is_snapshot", "first_seq", "seq", "prev_seq"),
)
BOOK_LEVELS: Final = 100
LATEST_TRADES: Final = 1_000

_MS_PER_DAY: Final = 86_400_000
_MAX_DAYS: Final = 10_000.0
_NATIVE: Final = re.compile(r"[A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class _Series:
    """What the files of one series have in common."""

    folder: Path
    kind: str
    exchange: str
    native: str
    tier: str
    timeframe: str = ""

    def path(self, rest: str) -> Path:
        return self.folder / f"{self.exchange}_{self.native}_{rest}.parquet"

    def files(self) -> Iterator[DataSet]:
        for path in sorted(self.folder.glob("*.parquet")):
            found = parse_name(path, self.kind)
            if found and (found.exchange, found.symbol, found.timeframe) == (
                self.exchange,
                self.native,
                self.timeframe,
            ):
                yield found

    def refuse_other_tier(self) -> None:
        """Raise `ConfigError` where a file of this series is of another tier: the two must never mix."""
        for found in self.files():
            if found.tier != self.tier:
                raise ConfigError(
                    f"{found.path} holds {found.tier} data and this source gives {self.tier}: "
                    "fetch into another folder (--out), or remove that file"
                )


def fetch(
    exchange: str,
    symbol: str,
    timeframe: str,
    days: float,
    root: Path,
    what: Sequence[str] = WHAT,
    client: PublicClient | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Fetch public data of one symbol and write it below `<root>/real/`.

    Args:
        exchange: our name of it, e.g. "binance"; names the files.
        symbol: unified ("BTC/USDT") or the venue's own ("BTCUSDT").
        timeframe: of the bars, e.g. "1m".
        days: how far back the bars go, > 0. The book is one snapshot and the trades are the latest.
        root: the catalog's folder.
        what: any of "klines", "order_book", "trades".
        client: None makes one for `exchange`. Its tier (T1, or T2 for the simulator) is written into the files.
        progress: called with (what, done, total) as pages arrive.

    Returns:
        The files, in the order of `what`.

    Raises:
        ConfigError: a wrong argument, or files of another tier are in the way.
        UnknownNameError: no such exchange, symbol or timeframe.
        ExchangeUnreachableError: no answer. DataNotFoundError: no bars. DataError: the answer is wrong.
        ArtifactError: the folder cannot be written.
    """
    _check(timeframe, days, what)
    exchange = exchange.strip().lower()
    with ExitStack() as stack:
        source = client or stack.enter_context(PublicClient(exchange))
        if exchange != source.id:
            raise ConfigError(f"the client is one of {source.id}; what it fetches cannot be stored as {exchange}")
        native = _native(exchange, source, symbol)
        series = {
            name: _Series(
                root / FETCHED / FOLDERS[name],
                FOLDERS[name],
                exchange,
                native,
                source.tier,
                timeframe if name == "klines" else "",
            )
            for name in what
        }
        for one in series.values():
            one.refuse_other_tier()
        frames = {name: _ask(source, name, symbol, timeframe, days, progress) for name in what}
    save = {"klines": _save_klines, "order_book": _save_book, "trades": _save_trades}
    return [save[name](series[name], frames[name]) for name in what]


def _check(timeframe: str, days: float, what: Sequence[str]) -> None:
    for name in what:
        if name not in WHAT:
            raise UnknownNameError("kind of data", name, WHAT)
    if not what or len(set(what)) != len(what):
        raise ConfigError(f"say once each what to fetch, of {', '.join(WHAT)}; got {', '.join(what) or 'nothing'}")
    if not (math.isfinite(days) and 0 < days <= _MAX_DAYS):
        raise ConfigError(f"DAYS must be > 0 and at most {_MAX_DAYS:g}, got {days!r}")
    if timeframe_ms(timeframe) is None:
        raise ConfigError(f"TIMEFRAME {timeframe!r} is not one; say 1m, 5m, 15m, 1h or 1d")


def _native(exchange: str, source: PublicClient, symbol: str) -> str:
    """Return the spelling the catalog finds the files by: the instrument table's, else the venue's own."""
    market = source.market(symbol)
    try:
        return native_symbol(exchange, str(market["symbol"]))
    except UnknownNameError:
        own = str(market["id"])
        return own if _NATIVE.fullmatch(own) else "".join(c for c in str(market["symbol"]) if c.isalnum())


def _ask(
    source: PublicClient,
    name: str,
    symbol: str,
    timeframe: str,
    days: float,
    progress: Callable[[str, int, int], None] | None,
) -> pd.DataFrame:
    def tell(done: int, total: int) -> None:
        if progress:
            progress(name, done, total)

    where = f"{source.id} {symbol}"
    if name == "klines":
        interval_ms = timeframe_ms(timeframe) or 0
        end_ms = source.server_time_ms() // interval_ms * interval_ms
        since_ms = end_ms - max(1, round(days * _MS_PER_DAY / interval_ms)) * interval_ms
        frame = source.klines(symbol, timeframe, since_ms, end_ms, tell)
        if frame.empty:
            raise DataNotFoundError(f"{where} has no {timeframe} bars in the last {days:g} days")
        check_klines(frame, interval_ms).raise_on_error(where)
        return frame
    if name == "order_book":
        frame = book_rows(source.order_book(symbol, BOOK_LEVELS))
    else:
        frame = source.trades(symbol, limit=LATEST_TRADES)
    if frame.empty:
        raise DataNotFoundError(f"{where} has no {name.replace('_', ' ')} now; leave it out (--what klines)")
    tell(len(frame), len(frame))
    return frame


def book_rows(book: OrderBook) -> pd.DataFrame:
    """Return a book as snapshot rows, bids first, columns `BOOK_COLUMNS`."""
    # One value of seq is one whole book: where the venue numbers none, its time does.
    seq = book.seq if book.seq >= 0 else max(book.ts_ns, book.ts_local_ns)
    rows = np.concatenate([book.bids, book.asks])
    n = len(rows)
    return pd.DataFrame({
        "ts_ns": np.full(n, book.ts_ns, np.int64),
        "ts_local_ns": np.full(n, book.ts_local_ns, np.int64),
        "side": np.repeat(np.array([1, -1], np.int8), [len(book.bids), len(book.asks)]),
        "price": rows[:, 0],
        "qty": rows[:, 1],
        "is_snapshot": np.ones(n, np.bool_),
        "first_seq": np.full(n, seq, np.int64),
        "seq": np.full(n, seq, np.int64),
        "prev_seq": np.full(n, -1, np.int64),
    })  # fmt: skip


def _save_klines(series: _Series, frame: pd.DataFrame) -> Path:
    interval_ms = timeframe_ms(series.timeframe) or 0
    frame, merged = _merge(series, frame, KLINE_COLUMNS, "ts_ms", reach=interval_ms, unit=_MS_PER_DAY)
    path = series.path(f"{series.timeframe}_{_day(frame['ts_ms'].iloc[0])}_{_day(frame['ts_ms'].iloc[-1])}")
    check_klines(frame, interval_ms).raise_on_error(str(path))
    return _replace(path, frame, series.tier, merged)


def _save_trades(series: _Series, frame: pd.DataFrame) -> Path:
    by = "trade_id" if (frame["trade_id"] >= 0).all() else "ts_ns"
    frame, merged = _merge(series, frame, TRADE_COLUMNS, by, reach=1 if by == "trade_id" else 0, unit=1)
    path = series.path(f"{_minute(frame['ts_ns'].iloc[0])}_trades")
    if path.exists() and path not in merged:
        # The same minute, and a hole in between: one file all the same, or one would overwrite the other.
        frame = _union(_read(path, TRADE_COLUMNS), frame, by)
        merged = [*merged, path]
    return _replace(path, frame, series.tier, merged)


def _save_book(series: _Series, frame: pd.DataFrame) -> Path:
    first = frame.iloc[0]
    path = series.path(f"{_minute(max(first['ts_ns'], first['ts_local_ns']))}_l2snap{BOOK_LEVELS}")
    if path.exists():
        before = _read(path, BOOK_COLUMNS)
        frame = pd.concat([before[before["seq"] != first["seq"]], frame], ignore_index=True)
        frame = frame.sort_values("seq", kind="stable", ignore_index=True)
    return _replace(path, frame, series.tier, [])


def _merge(
    series: _Series, frame: pd.DataFrame, columns: tuple[str, ...], by: str, *, reach: int, unit: int
) -> tuple[pd.DataFrame, list[Path]]:
    """Return `frame` joined with every file of its series that it touches, and those files.

    Args:
        series: whose files.
        frame: rows, at least one.
        columns: of the files.
        by: column that names a row.
        reach: spans this far apart touch.
        unit: spans are widened to whole units first, so that two files never share a name (which tells days).
    """
    found = [(d.path, _read(d.path, columns)) for d in series.files()]
    merged: list[Path] = []
    while True:
        low, high = (int(edge) // unit for edge in (frame[by].min() - reach, frame[by].max() + reach))
        touching = [
            (path, old)
            for path, old in found
            if path not in merged and int(old[by].max()) // unit >= low and int(old[by].min()) // unit <= high
        ]
        if not touching:
            return frame, merged
        for path, old in touching:
            frame = _union(old, frame, by)
            merged.append(path)


def _union(old: pd.DataFrame, new: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return both; where both have a row, the new one. Rows without a number of their own give way to a newer span."""
    again = old[by].between(new[by].min(), new[by].max()) if by == "ts_ns" else old[by].isin(new[by])
    return pd.concat([old[~again], new], ignore_index=True).sort_values(by, kind="stable", ignore_index=True)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pq.read_table(path, columns=list(columns)).to_pandas()
    except (pa.ArrowException, OSError) as error:
        text = str(error).partition("\n")[0]
        raise DataFormatError(f"{path} cannot be merged with new data ({text}); remove it") from error
    if frame.empty or list(frame.columns) != list(columns):
        raise DataFormatError(f"{path} cannot be merged with new data (not the columns of its kind); remove it")
    return frame


def _replace(path: Path, frame: pd.DataFrame, tier: str, merged: list[Path]) -> Path:
    """Write the file, then remove those that went into it: whoever reads in between finds every row at least once."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({TIER_KEY: tier.encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())
    for old in merged:
        if old != path:
            old.unlink(missing_ok=True)
    return path


def _day(ts_ms: int) -> str:
    return iso_utc(int(ts_ms) * NS_PER_MS)[:10]


def _minute(ts_ns: int) -> str:
    return iso_utc(int(ts_ns))[:16].replace(":", "")
