"""Klines in: read Parquet files, check them, merge overlapping files of one series, cut the span asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from marketmakerl.core.clock import NS_PER_MS, iso_utc
from marketmakerl.core.errors import DataFormatError, DataNotFoundError, DataQualityError
from marketmakerl.data.catalog import DataSet, timeframe_ms, weakest_tier
from marketmakerl.data.quality import QualityReport, check_klines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = ("ts_ms", "open", "high", "low", "close", "volume")
_PRICES = ["open", "high", "low", "close"]
_MS_PER_DAY = 86_400_000
# Two recordings of one bar agree if they differ by float noise only.
_SAME_RTOL = 1e-9
_SAME_VOLUME_RTOL = 1e-6


@dataclass(frozen=True)
class Klines:
    """One merged series of bars.

    Attributes:
        frame: columns ts_ms, open, high, low, close, volume; one row a bar, time increasing.
        interval_ms: bar length.
        tier: the lowest tier among the files.
        provenance: one JSON-ready entry a file, for the manifest.
        quality: what the checks found, warnings included.
    """

    frame: pd.DataFrame
    interval_ms: int
    tier: str
    provenance: list[dict[str, Any]]
    quality: QualityReport


def read_klines_file(path: Path) -> pd.DataFrame:
    """Read the kline columns of one Parquet file.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: empty, not Parquet, or a column is missing.
    """
    if not path.is_file():
        raise DataNotFoundError(f"no such file: {path}")
    try:
        names = pq.read_schema(path).names
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise DataFormatError(f"{path}: missing column {', '.join(missing)} (klines need {', '.join(COLUMNS)})")
        frame: pd.DataFrame = pq.read_table(path, columns=list(COLUMNS)).to_pandas()
    except (pa.ArrowException, OSError) as error:
        text = str(error).partition("\n")[0]
        raise DataFormatError(f"{path} is not a readable Parquet file: {text}") from error
    if frame.empty:
        raise DataFormatError(f"{path} has no rows")
    return frame


def load_klines(data_sets: Sequence[DataSet], *, days: float | None = None) -> Klines:
    """Read the files of one series, refuse what is wrong, and merge the rest into one run of bars.

    Args:
        data_sets: files of one exchange, symbol and timeframe (see `Catalog.find`).
        days: keep only the last `days` days.

    Raises:
        DataQualityError: a file is wrong, or two files disagree about the same bar.
        DataFormatError: a file cannot be read, or a file is not the one its manifest lists.
    """
    interval_ms = timeframe_ms(data_sets[0].timeframe)
    frames, provenance = [], []
    for data_set in data_sets:
        frame = read_klines_file(data_set.path)
        check_klines(frame, interval_ms).raise_on_error(str(data_set.path))
        frames.append(frame)
        provenance.append(_provenance(data_set, frame))
    merged = _merge(frames, [str(d.path) for d in data_sets])
    if interval_ms is None:
        interval_ms = check_klines(merged, None).interval_ms or 60_000
    if days is not None:
        end_ms = int(merged["ts_ms"].iloc[-1]) + interval_ms
        merged = merged[merged["ts_ms"] >= end_ms - round(days * _MS_PER_DAY)].reset_index(drop=True)
    tier = weakest_tier(d.tier for d in data_sets)
    return Klines(merged, interval_ms, tier, provenance, check_klines(merged, interval_ms))


def _provenance(data_set: DataSet, frame: pd.DataFrame) -> dict[str, Any]:
    return {
        "exchange": data_set.exchange,
        "symbol": data_set.symbol,
        "kind": data_set.kind,
        "timeframe": data_set.timeframe,
        "file": data_set.path.name,
        "sha256": data_set.sha256,
        "tier": data_set.tier,
        "rows": len(frame),
        "first": iso_utc(int(frame["ts_ms"].iloc[0]) * NS_PER_MS),
        "last": iso_utc(int(frame["ts_ms"].iloc[-1]) * NS_PER_MS),
    }


def _merge(frames: list[pd.DataFrame], names: list[str]) -> pd.DataFrame:
    """Merge by time; bars held twice must agree."""
    merged = pd.concat(frames, ignore_index=True).sort_values("ts_ms", kind="stable", ignore_index=True)
    ts = merged["ts_ms"].to_numpy()
    again = np.flatnonzero(ts[1:] == ts[:-1]) + 1
    if len(again) == 0:
        return merged
    prices, volume = merged[_PRICES].to_numpy(), merged["volume"].to_numpy()
    agree = np.isclose(prices[again], prices[again - 1], rtol=_SAME_RTOL, atol=0.0).all(axis=1)
    agree &= np.isclose(volume[again], volume[again - 1], rtol=_SAME_VOLUME_RTOL, atol=1e-8)
    if not agree.all():
        when = iso_utc(int(ts[again[~agree][0]]) * NS_PER_MS)
        raise DataQualityError(
            f"{int((~agree).sum())} bars differ between files of one series, first at {when}; "
            f"keep one of: {', '.join(names)}"
        )
    keep = np.ones(len(merged), dtype=bool)
    keep[again] = False
    return merged[keep].reset_index(drop=True)
