"""Four days that markets remember, as stretches of recorded bars: what happened, where the data lie, what they show."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from marketmakerl.core.clock import NS_PER_MS, iso_utc
from marketmakerl.core.errors import DataNotFoundError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.bars import compile_bars
from marketmakerl.data.catalog import Catalog, DataSet, timeframe_ms
from marketmakerl.data.klines import load_klines

if TYPE_CHECKING:
    from pathlib import Path

    from marketmakerl.data.tape import EventTape

_HOUR_MS: Final = 3_600_000
_DATES: Final = re.compile(r"(\d{4}-\d{2}-\d{2})_(\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True, kw_only=True)
class Crisis:
    """A stretch of a recorded market.

    Attributes:
        id: its name.
        what: what happened, in a line.
        exchange, symbol, timeframe: of the bars.
        first, last: UTC times; the stretch is [first, last).
        peak_to_trough: the deepest fall of a low below an earlier high in the stretch, a fraction; as the data have it.
        funding: whether the payments of a perpetual, if they are held too, are part of it.
    """

    id: str
    what: str
    exchange: str
    symbol: str
    timeframe: str
    first: str
    last: str
    peak_to_trough: float
    funding: bool = False

    @property
    def span_ms(self) -> tuple[int, int]:
        """Return [first, last) in milliseconds UTC."""
        return _ms(self.first), _ms(self.last)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


CRISES: Final[dict[str, Crisis]] = {
    crisis.id: crisis
    for crisis in (
        Crisis(
            id="march_2020",
            what="Black Thursday, 12 and 13 March 2020: markets fell together as a pandemic was declared",
            exchange="binance", symbol="BTC/USDT", timeframe="1h",
            first="2020-03-12T00:00Z", last="2020-03-14T00:00Z", peak_to_trough=-0.525,
        ),
        Crisis(
            id="ftx_2022",
            what="6 to 10 November 2022: FTX failed, and SOL, which it held much of, with it",
            exchange="binance", symbol="SOL/USDT", timeframe="1h",
            first="2022-11-06T00:00Z", last="2022-11-11T00:00Z", peak_to_trough=-0.666,
        ),
        Crisis(
            id="august_2024",
            what="4 and 5 August 2024: carry trades in yen were unwound, and everything held on credit sold",
            exchange="binance", symbol="ETH/USDT", timeframe="1m",
            first="2024-08-04T12:00Z", last="2024-08-06T00:00Z", peak_to_trough=-0.278,
        ),
        Crisis(
            id="october_2025",
            what="10 and 11 October 2025: a tariff threat, and a cascade of liquidations on perpetuals",
            exchange="binanceusdm", symbol="ETH/USDT", timeframe="5m",
            first="2025-10-10T12:00Z", last="2025-10-12T00:00Z", peak_to_trough=-0.225, funding=True,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Held:
    """A crisis as recorded data hold it.

    Attributes:
        warm_up, tape: the bars before the stretch that set parameters, and the stretch.
        calm_warm_up, calm: the same for the stretch of equal length just before; None where it is not held.
        funding: columns ts_ms, funding_rate; None where there is none.
        facts: peak_to_trough, worst_hour, hourly_volatility, bars, first, last.
        provenance: one entry a file, for the manifest.
    """

    warm_up: EventTape
    tape: EventTape
    calm_warm_up: EventTape | None
    calm: EventTape | None
    funding: pd.DataFrame | None
    facts: dict[str, Any]
    provenance: list[dict[str, Any]]


def load_crisis(crisis: Crisis, root: Path, warmup_bars: int) -> Held:
    """Load a crisis out of a catalog.

    Args:
        crisis: which.
        root: folder of recorded data.
        warmup_bars: bars before the stretch that set the parameters.

    Raises:
        DataNotFoundError: they are not held; the message says what is missing.
        DataError: what is held is damaged.
    """
    catalog = Catalog(root)
    first_ms, last_ms = crisis.span_ms
    sets = catalog.find(crisis.exchange, crisis.symbol, "klines", crisis.timeframe)
    interval_ms = timeframe_ms(crisis.timeframe) or 0
    # Half as many again as the warm-up of the calm needs: recorded bars have holes.
    begin_ms = 2 * first_ms - last_ms - warmup_bars * interval_ms * 3 // 2
    sets = [data_set for data_set in sets if _may_hold(data_set, begin_ms, last_ms)]
    missing = DataNotFoundError(
        f"{root} does not hold {crisis.exchange} {crisis.symbol} {crisis.timeframe} of {crisis.first} to {crisis.last} "
        f"and the {warmup_bars} bars before"
    )
    if not sets:
        raise missing
    klines = load_klines(sets, days=None)
    frame = klines.frame[(klines.frame["ts_ms"] >= begin_ms) & (klines.frame["ts_ms"] < last_ms)]
    frame = frame.reset_index(drop=True)
    times = frame["ts_ms"].to_numpy(np.int64)
    row = int(np.searchsorted(times, first_ms))
    calm_row = int(np.searchsorted(times, 2 * first_ms - last_ms))
    if row < warmup_bars or len(frame) - row < 0.9 * (last_ms - first_ms) / interval_ms:
        raise missing
    instrument = lookup(
        crisis.exchange, crisis.symbol, at=iso_utc(first_ms * NS_PER_MS), until=iso_utc(last_ms * NS_PER_MS)
    )
    source = f"{crisis.exchange} {crisis.symbol} {crisis.timeframe}, {crisis.id}"

    def bars(begin: int, end: int) -> EventTape:
        return compile_bars(
            frame.iloc[begin:end], instrument, interval_ms=interval_ms, tier=klines.tier, source=source
        )  # fmt: skip

    calm = calm_row >= warmup_bars
    return Held(
        warm_up=bars(row - warmup_bars, row),
        tape=bars(row, len(frame)),
        calm_warm_up=bars(calm_row - warmup_bars, calm_row) if calm else None,
        calm=bars(calm_row, row) if calm else None,
        funding=_funding(catalog, crisis),
        facts=facts_of(frame.iloc[row:]),
        provenance=klines.provenance,
    )


def facts_of(bars: pd.DataFrame) -> dict[str, Any]:
    """Return what a stretch of bars shows.

    Returns:
        peak_to_trough: the deepest fall of a low below a high of an earlier bar, or of its own, a fraction;
        worst_hour: the worst logarithmic return of a clock hour; hourly_volatility: their standard deviation; first,
        last (ISO), bars.
    """
    peaks = bars["high"].cummax()
    closes = bars.groupby(bars["ts_ms"] // _HOUR_MS)["close"].last()
    hours = np.diff(np.log(closes.to_numpy(np.float64)))
    return {
        "peak_to_trough": float((bars["low"] / peaks - 1.0).min()),
        "worst_hour": float(hours.min()) if len(hours) else None,
        "hourly_volatility": float(hours.std(ddof=1)) if len(hours) > 1 else None,
        "bars": len(bars),
        "first": iso_utc(int(bars["ts_ms"].iloc[0]) * NS_PER_MS),
        "last": iso_utc(int(bars["ts_ms"].iloc[-1]) * NS_PER_MS),
    }


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _may_hold(data_set: DataSet, begin_ms: int, end_ms: int) -> bool:
    """Return whether a file may hold bars of a stretch, by the dates in its name; without dates it may."""
    dates = _DATES.search(data_set.path.stem)
    if not dates:
        return True
    day_ms = 24 * _HOUR_MS
    return _ms(f"{dates[1]}T00:00Z") < end_ms and _ms(f"{dates[2]}T00:00Z") + day_ms > begin_ms


def _funding(catalog: Catalog, crisis: Crisis) -> pd.DataFrame | None:
    if not crisis.funding:
        return None
    try:
        sets = catalog.find(crisis.exchange, crisis.symbol, "funding")
    except DataNotFoundError:
        return None
    first_ms, last_ms = crisis.span_ms
    frame: pd.DataFrame = pd.concat([pq.read_table(data_set.path).to_pandas() for data_set in sets])
    frame = frame[(frame["ts_ms"] >= first_ms) & (frame["ts_ms"] < last_ms)]
    return frame.drop_duplicates("ts_ms").sort_values("ts_ms")[["ts_ms", "funding_rate"]].reset_index(drop=True)
