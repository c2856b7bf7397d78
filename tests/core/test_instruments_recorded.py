"""The table of instruments beside the recorded data it must fit."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from marketmakerl.core.instruments import lookup, native_symbol

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FOLDERS = ("klines", "klines_ext", "trades", "bbo", "book", "l3", "funding")
SERIES = sorted(path for folder in FOLDERS for path in SHARED.glob(f"{folder}/*.parquet"))
PRICED = [path for path in SERIES if path.parent.name not in {"funding", "l3"}]
SIZED = [path for path in SERIES if path.parent.name in {"trades", "bbo"}]

# Older resting orders on a finer tick, of which one trades a month, and 13 bars in which gaps were interpolated.
OFF_GRID_SHARE = 3e-4

pytestmark = pytest.mark.skipif(not SERIES, reason="no recorded data in ../shared/data")


def columns(path, *names):
    """Return the first row group's columns of these names, end to end: sample enough of a large file."""
    file = pq.ParquetFile(path)
    table = file.read_row_group(0, columns=[name for name in names if name in file.schema_arrow.names])
    return np.concatenate([column.to_numpy() for column in table.itercolumns()])


def instrument_of(path):
    bars = path.parent.name.startswith("klines")
    stamps_s = columns(path, "ts_ms") / 1e3 if bars else columns(path, "ts_ns", "ts_local_ns") / 1e9
    first, last = (
        datetime.fromtimestamp(float(stamp), tz=UTC).isoformat()
        for stamp in (stamps_s[stamps_s > 0].min(), stamps_s.max())
    )
    exchange, native = path.name.split("_")[:2]
    return lookup(exchange, native, at=first, until=last)


def off_grid(values, step):
    steps = values / step
    return float(np.mean(np.abs(steps - np.round(steps)) > 1e-4))


def test_every_recorded_series_has_an_instrument():
    for path in SERIES:
        exchange, native = path.name.split("_")[:2]
        assert native_symbol(exchange, native) == native


@pytest.mark.parametrize("path", PRICED, ids=lambda path: path.name)
def test_recorded_prices_sit_on_the_tick_and_no_coarser_one_would_do(path):
    tick_size = instrument_of(path).tick_size
    prices = columns(path, "open", "high", "low", "close", "price", "bid_px", "ask_px")
    # A full book holds jokes, too: coins for 9 999 999 999 dollars, where a float is no finer than a tick.
    prices = prices[prices < 1e7]
    assert off_grid(prices, tick_size) <= OFF_GRID_SHARE
    for coarser in (2, 5):
        assert off_grid(prices, tick_size * coarser) > 0.01


@pytest.mark.parametrize("path", SIZED, ids=lambda path: path.name)
def test_recorded_quantities_sit_on_the_lot_and_no_coarser_one_would_do(path):
    lot_size = instrument_of(path).lot_size
    quantities = columns(path, "qty", "bid_qty", "ask_qty")
    assert off_grid(quantities, lot_size) <= OFF_GRID_SHARE
    assert off_grid(quantities, lot_size * 10) > 0.01
