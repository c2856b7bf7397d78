"""Binance's public dumps (data.binance.vision) as tapes: zips of klines and of aggTrades, daily or monthly.

    klines      open_time, open, high, low, close, volume, close_time, quote_volume, count, taker_buy_volume,
                taker_buy_quote_volume, ignore
    aggTrades   agg_trade_id, price, quantity, first_trade_id, last_trade_id, transact_time, is_buyer_maker, and on
                spot is_best_match

Some files have a header and some have none; times are milliseconds, and microseconds on spot from 2025 on, which their
size tells. Klines of coin-margined contracts count contracts in `volume` and base units in `quote_volume`. A file
`NAME.zip.CHECKSUM` beside the zip must match. Times of receipt are not in the dumps.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

from marketmakerl.core.artifacts import sha256_of
from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError
from marketmakerl.data.bars import compile_bars
from marketmakerl.data.clock_offset import checked_offset
from marketmakerl.data.import_report import ImportReport
from marketmakerl.data.quality import check_klines
from marketmakerl.data.row_checks import (
    RowNotes,
    carry_over,
    is_time,
    merged,
    nanoseconds,
    note,
    refuse_empty,
    refuse_prices,
    refuse_quantities,
)
from marketmakerl.data.text_table import first_fields, read_table
from marketmakerl.data.trade_tape import compile_trades

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape

KLINES, AGG_TRADES = "binance-klines", "binance-aggtrades"
_PRICES: Final = ("open", "high", "low", "close")
_KLINE_LAYOUT: Final = (
    *("open_time", *_PRICES, "volume", "close_time", "quote_volume", "count"),
    *("taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
_KLINE_KINDS: Final = (
    {"open_time": "int"} | dict.fromkeys((*_PRICES, "volume"), "float") | {"close_time": "int", "quote_volume": "float"}
)
_TRADE_LAYOUT: Final = ("id", "price", "qty", "first_id", "last_id", "time", "buyer_is_maker", "best_match")
_TRADE_KINDS: Final = {
    "id": "int", "price": "float", "qty": "float", "first_id": "int", "last_id": "int", "time": "int",
    "buyer_is_maker": "bool",
}  # fmt: skip
_MICROSECONDS_FROM: Final = 10**14  # as milliseconds, the year 5138
# So many say what the unit of time and the length of the bars are: no later row changes what is read out of them.
_FIRST_ROWS: Final = 101
_CHECKSUM_LINE: Final = re.compile(r"(?P<sha256>[0-9a-fA-F]{64})\s+\*?(?P<name>\S+)\s*")
_MAX_CHECKSUM_FILE: Final = 4096  # bytes


def read_klines(
    paths: str | Path | Sequence[str | Path],
    instrument: Instrument,
    *,
    clock_offset_ns: Literal["auto"] | int = "auto",
    tier: str = "T1",
    interval_ms: int | None = None,
    source: str = "",
) -> tuple[EventTape, ImportReport]:
    """Compile klines dumps to a tape of bars; holes between them become GAP rows.

    Args:
        paths: zips, or the CSV files in them, of one symbol and interval, in any order.
        instrument: tick and lot on the day; an inverse one takes the coin-margined layout.
        clock_offset_ns: a bar is known when it closes, so that there is nothing to shift; only "auto" and 0 will do.
        tier: of the data, T0 to T3.
        interval_ms: bar length; None reads it off the closing times.
        source: named in errors and in the tape's meta; the paths by default.

    Returns:
        The tape, and a report in which rows + refused + ignored = lines.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: not klines, damaged, a checksum that does not match, or no row that can be used.
        DataQualityError: bars that cannot be (a low above the high, time running back, one bar told twice in two
            ways), with file and line; or more than 1 % of a file's lines refused.
        ConfigError: an option that is none.
    """
    if checked_offset(clock_offset_ns) not in {None, 0}:
        raise ConfigError(f"clock_offset_ns {clock_offset_ns!r}: klines have no time of receipt to shift")
    listed = _listed(paths)
    parts = [_kline_file(path, instrument) for path in listed]
    parts.sort(key=lambda part: int(part[0]["ts_ms"].iloc[0]))
    frame = pd.concat([part[0] for part in parts], ignore_index=True)
    report = merged([part[1] for part in parts], KLINES)
    bars = _without_repeats(frame, report)
    interval_ms = interval_ms or _interval(bars)
    _refuse_wrong_bars(bars, interval_ms)
    report.rows = len(bars)
    name = source or ", ".join(map(str, listed))
    columns = ["ts_ms", *_PRICES, "volume"]
    tape = compile_bars(bars[columns], instrument, interval_ms=interval_ms, tier=tier, source=name)
    return tape, report


def read_agg_trades(
    paths: str | Path | Sequence[str | Path],
    instrument: Instrument,
    *,
    clock_offset_ns: Literal["auto"] | int = "auto",
    tier: str = "T1",
    source: str = "",
) -> tuple[EventTape, ImportReport]:
    """Compile aggTrades dumps to a tape of trades alone (see `marketmakerl.data.trade_tape`).

    Args:
        paths: zips, or the CSV files in them, of one symbol, in any order.
        instrument: tick and lot on the day.
        clock_offset_ns: there is no time of receipt, so that there is nothing to shift.
        tier: of the data, T0 to T3.
        source: named in errors and in the tape's meta; the paths by default.

    Returns:
        The tape, whose meta counts the breaks in the ids ("id_gaps"), and a report in which rows + refused + ignored =
        lines.

    Raises:
        DataNotFoundError, DataFormatError, DataQualityError, ConfigError: as `read_klines`; one id with two trades.
    """
    frame, report = agg_trades_frame(paths, instrument)
    source = source or report.source
    tape = compile_trades(frame, instrument, clock_offset_ns=clock_offset_ns, tier=tier, source=source)
    ids = np.sort(frame["trade_id"].to_numpy())
    tape.meta["id_gaps"] = int((np.diff(ids) > 1).sum())
    carry_over(report, tape)
    return tape, report


def agg_trades_frame(
    paths: str | Path | Sequence[str | Path], instrument: Instrument
) -> tuple[pd.DataFrame, ImportReport]:
    """Read aggTrades dumps as the `trades_df` of `EventTape.from_book`, to join them to a book.

    Returns:
        ts_ns, ts_local_ns (-1: not recorded), price, qty, side, trade_id (the aggregate's); and the report.

    Raises:
        DataNotFoundError, DataFormatError, DataQualityError: as `read_agg_trades`.
    """
    parts = [_trade_file(path, instrument) for path in _listed(paths)]
    report = merged([part[1] for part in parts], AGG_TRADES)
    frame = pd.concat([part[0] for part in parts], ignore_index=True)
    again = frame["trade_id"].duplicated().to_numpy()
    if again.any():
        names = ["trade_id", "ts_ns", "price", "qty", "side"]
        same = frame[names].duplicated().to_numpy()
        if (again & ~same).any():
            row = frame.iloc[int(np.argmax(again & ~same))]
            raise DataQualityError(f"{row['file']}, line {row['line']}: trade {row['trade_id']} was another one before")
        _note_repeats(frame[again], report)
        frame = frame[~again].reset_index(drop=True)
    report.rows = len(frame)
    return frame.drop(columns=["file", "line"]), report


def _listed(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    listed = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    if not listed:
        raise ConfigError("no file was named")
    for path in listed:
        _check_checksum(path)
    return listed


def _check_checksum(path: Path) -> None:
    """Compare a file with the checksum that lies beside it, if one does."""
    beside = path.with_name(path.name + ".CHECKSUM")
    if not beside.is_file() or not path.is_file():
        return
    try:
        with beside.open("rb") as file:
            match = _CHECKSUM_LINE.fullmatch(file.read(_MAX_CHECKSUM_FILE).decode("utf-8", "replace"))
        actual = sha256_of(path)
    except OSError as error:
        raise DataFormatError(f"cannot read {path} or {beside.name}: {error.strerror or error}") from error
    if not match:
        raise DataFormatError(f"{beside} is no checksum file (<sha256>  <name>); fetch it again or remove it")
    if match["name"] != path.name or match["sha256"].lower() != actual:
        raise DataFormatError(f"{path} is not the file that {beside.name} describes; fetch both again")


def _kline_file(path: Path, instrument: Instrument) -> tuple[pd.DataFrame, ImportReport]:
    report = ImportReport(str(path), KLINES)
    column, notes = _columns(path, _KLINE_LAYOUT, _KLINE_KINDS, report, "open_time")
    unit_ns = _unit_ns(column["open_time"], notes)
    opened = nanoseconds(column["open_time"], unit_ns)
    closed = nanoseconds(column["close_time"], unit_ns)
    whole = is_time(opened) & (opened % NS_PER_MS == 0) & (closed > opened)
    notes.refuse(~whole, "bad-time", lambda row: f"open_time {column['open_time'][row]} opens no bar")
    # A coin-margined contract's volume stands in contracts, and its base units where others have quote currency.
    volume = column["quote_volume"] if instrument.kind == "inverse" else column["volume"]
    for name in _PRICES:
        _refuse_no_price(notes, name, column[name])
    notes.refuse(~(np.isfinite(volume) & (volume >= 0)), "bad-quantity", lambda row: f"{volume[row]!s} is no volume")
    notes.check_share(str(path))
    good = ~notes.bad
    refuse_empty(int(good.sum()), str(path), report)
    frame = pd.DataFrame(
        {"ts_ms": opened // NS_PER_MS}
        | {name: column[name] for name in _PRICES}
        | {"volume": volume, "length_ms": (closed + unit_ns - opened) // NS_PER_MS, "line": notes.line}
    )
    return frame[good].assign(file=str(path)), report


def _refuse_no_price(notes: RowNotes, name: str, price: npt.NDArray[np.float64]) -> None:
    """Refuse rows without a price; bars off the tick are rounded against the maker when they are compiled."""
    good = np.isfinite(price) & (price > 0)
    notes.refuse(~good, "bad-price", lambda row: f"{name} {price[row]!s} is no price")


def _columns(
    path: Path, layout: tuple[str, ...], kinds: dict[str, str], report: ImportReport, what: str
) -> tuple[dict[str, npt.NDArray[Any]], RowNotes]:
    fields = first_fields(path)
    optional = 1 if layout is _TRADE_LAYOUT else 0
    if not len(layout) - optional <= len(fields) <= len(layout):
        raise DataFormatError(f"{path}: {len(fields)} columns in the first line; a dump has {len(layout)}, from {what}")
    header = not fields[0].lstrip("-").isdigit() and any(field.isidentifier() for field in fields[1:6])
    table = read_table(path, layout[: len(fields)], kinds, report, int(header))
    refuse_empty(len(table.notes.line), str(path), report)
    return table.columns, table.notes


def _unit_ns(times: npt.NDArray[np.int64], notes: RowNotes) -> int:
    """Return whether the first rows count milliseconds or microseconds; rows in the other unit are refused."""
    good = times[~notes.bad][:_FIRST_ROWS]
    return NS_PER_MS // 1000 if len(good) and np.median(good) >= _MICROSECONDS_FROM else NS_PER_MS


def _without_repeats(frame: pd.DataFrame, report: ImportReport) -> pd.DataFrame:
    again = frame.duplicated(["ts_ms", *_PRICES, "volume"]).to_numpy()
    _note_repeats(frame[again], report)
    return frame[~again].reset_index(drop=True)


def _note_repeats(rows: pd.DataFrame, report: ImportReport) -> None:
    for name, group in rows.groupby("file", sort=False):
        whole = report.source
        report.source = str(name)
        note(report, "refused", "duplicate", group["line"].to_numpy(), lambda _i: "the same as an earlier row")
        report.source = whole


def _interval(bars: pd.DataFrame) -> int:
    lengths, counts = np.unique(bars["length_ms"].to_numpy()[:_FIRST_ROWS], return_counts=True)
    return int(lengths[np.argmax(counts)])


def _refuse_wrong_bars(bars: pd.DataFrame, interval_ms: int) -> None:
    errors = check_klines(bars, interval_ms).errors
    if errors:
        first = errors[0]
        row = bars.iloc[first.row]
        raise DataQualityError(
            f"{row['file']}, line {row['line']}: {first.code}: {first.message} ({len(errors)} such bars of "
            f"{len(bars)}); fetch the file again",
            errors,
        )


def _trade_file(path: Path, instrument: Instrument) -> tuple[pd.DataFrame, ImportReport]:
    report = ImportReport(str(path), AGG_TRADES)
    column, notes = _columns(path, _TRADE_LAYOUT, _TRADE_KINDS, report, "agg_trade_id")
    ts = nanoseconds(column["time"], _unit_ns(column["time"], notes))
    notes.refuse(~is_time(ts), "bad-time", lambda row: f"transact_time {column['time'][row]} is no time")
    refuse_prices(notes, "price", column["price"], instrument)
    refuse_quantities(notes, "quantity", column["qty"], instrument, zero=False)
    backwards = (column["id"] < 0) | (column["last_id"] < column["first_id"])
    notes.refuse(backwards, "bad-id", lambda row: f"ids {column['id'][row]}, {column['first_id'][row]} are none")
    notes.check_share(str(path))
    good = ~notes.bad
    refuse_empty(int(good.sum()), str(path), report)
    frame = pd.DataFrame({
        "ts_ns": ts, "ts_local_ns": -1, "price": column["price"], "qty": column["qty"],
        "side": np.where(column["buyer_is_maker"].astype(bool), -1, 1), "trade_id": column["id"], "line": notes.line,
    })  # fmt: skip
    return frame[good].assign(file=str(path)), report
