"""A funding series, in the forms it comes in, and what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marketmakerl.backtesting.exchange.funding import funding_rows
from marketmakerl.core.errors import DataFormatError, DataQualityError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "funding"
T0_MS = 1_758_240_000_000
WANTED = [(T0_MS * 10**6, 1e-4), ((T0_MS + 5) * 10**6, -2e-4)]


@pytest.mark.parametrize(
    "series",
    [
        pd.DataFrame({"ts_ms": [T0_MS, T0_MS + 5], "funding_rate": [1e-4, -2e-4]}),
        pd.DataFrame({"ts_ns": [T0_MS * 10**6, (T0_MS + 5) * 10**6], "rate": [1e-4, -2e-4], "mark": [1.0, 2.0]}),
        [(T0_MS, 1e-4), (T0_MS + 5, -2e-4)],
        [(T0_MS * 10**6, 1e-4), ((T0_MS + 5) * 10**6, -2e-4)],
        np.array([(T0_MS, 1e-4), (T0_MS + 5, -2e-4)]),
        np.array(WANTED, [("ts_ns", "i8"), ("rate", "f8")]),
    ],
)
def test_its_forms(series):
    assert funding_rows(series).tolist() == WANTED


def test_none_and_nothing_are_no_rows():
    assert len(funding_rows(None)) == len(funding_rows([])) == 0


@pytest.mark.parametrize(
    ("series", "error", "message"),
    [
        (
            pd.DataFrame({"time": [1], "rate": [0.1]}),
            DataFormatError,
            "needs columns ts_ns or ts_ms, .* got time, rate",
        ),
        (pd.DataFrame({"ts_ms": [1], "price": [0.1]}), DataFormatError, "funding_rate or rate"),
        (5, DataFormatError, "must be a DataFrame or pairs"),
        ([1, 2], DataFormatError, "must be a DataFrame or pairs"),
        ([("a", 0.1)], DataFormatError, "must be numbers|whole milliseconds"),
        ([(1, "x")], DataFormatError, "must be numbers"),
        ([(1.5, 0.1)], DataFormatError, "whole milliseconds"),
        ([(float("nan"), 0.1)], DataFormatError, "whole milliseconds"),
        ([(1, float("nan"))], DataQualityError, "row 0 has rate nan"),
        ([(1, 0.1), (2, -0.6)], DataQualityError, "row 1 has rate -0.6"),
        ([(2, 0.1), (2, 0.1)], DataQualityError, "row 1 does not"),
        ([(2, 0.1), (3, 0.1), (1, 0.1)], DataQualityError, "row 2 does not"),
    ],
)
def test_what_is_no_funding(series, error, message):
    with pytest.raises(error, match=message):
        funding_rows(series)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no recorded data beside the checkout (shared/data/funding)")
def test_the_recorded_series_can_be_used():
    for path in sorted(SHARED.glob("*.parquet")):
        rows = funding_rows(pd.read_parquet(path))
        assert len(rows) > 50
        assert (np.diff(rows["ts_ns"]) > 7.9 * 3_600e9).all()
        assert (np.abs(rows["rate"]) < 0.01).all()
