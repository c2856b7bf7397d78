import base64

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting.curves import MAX_POINTS, Line, across_returns, packed, quantile_bands, read_curves, thin


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@given(n=st.integers(1, 5000), most=st.sampled_from([4, 5, 100, 600]), seed=st.integers(0, 99))
def test_thinning_keeps_ends_extremes_and_order(n, most, seed):
    y = np.random.default_rng(seed).standard_normal(n).cumsum()
    x = np.arange(n) * 60.0
    line = thin(x, y, most)
    assert len(line.x) == len(line.y) <= max(most, min(n, most))
    assert (np.diff(line.x) > 0).all()
    assert (line.x[0], line.x[-1]) == (x[0], x[-1])
    assert (line.y.min(), line.y.max()) == (y.min(), y.max())
    rows = (line.x / 60).astype(int)
    assert (y[rows] == line.y).all()  # points of the curve, none made up


def test_every_bucket_keeps_its_own_spike():
    y = np.zeros(10_000)
    spikes = np.arange(50, 10_000, 100)
    y[spikes] = np.arange(1, 101)
    assert set(np.arange(1, 101)) <= set(thin(np.arange(10_000.0), y).y)


def test_curves_are_measured_from_the_start(tmp_path):
    path = write(
        tmp_path / "e.parquet",
        ts_ns=[10**18, 10**18 + 60 * 10**9, 10**18 + 120 * 10**9, 10**18 + 180 * 10**9],
        equity=[200.0, 220.0, 190.0, 210.0],
        inventory=[0.0, 1.0, -2.0, 0.5],
    )
    curves = read_curves(path)
    assert curves is not None
    assert curves.equity.x.tolist() == [0.0, 60.0, 120.0, 180.0]
    assert curves.equity.y == pytest.approx([0.0, 0.1, -0.05, 0.05])
    assert curves.drawdown.y == pytest.approx([0.0, 0.0, -0.15, -0.05])
    assert curves.inventory.y.tolist() == [0.0, 1.0, -2.0, 0.5]


def test_no_file_and_no_rows_are_no_curve(tmp_path):
    empty = write(
        tmp_path / "e.parquet",
        ts_ns=pa.array([], pa.int64()),
        equity=pa.array([], pa.float64()),
        inventory=pa.array([], pa.float64()),
    )
    assert read_curves(tmp_path / "none.parquet") is None
    assert read_curves(empty) is None


def test_a_file_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "text.parquet").write_text("hello")
    words = write(tmp_path / "words.parquet", ts_ns=[1], equity=["a"], inventory=[0.0])
    missing = write(tmp_path / "missing.parquet", ts_ns=[1], equity=[1.0])
    nulls = write(tmp_path / "nulls.parquet", ts_ns=[1, 2], equity=[1.0, None], inventory=[0.0, 0.0])
    for path in (tmp_path / "text.parquet", words, missing, nulls):
        with pytest.raises(DataFormatError, match="not an equity table"):
            read_curves(path)


def test_bands_are_the_quantiles_of_the_runs_still_going():
    lines = [Line(np.array([0.0, 50.0, 100.0]), np.array([0.0, 1.0 * i, 2.0 * i])) for i in range(5)]
    lines.append(Line(np.array([0.0, 30.0]), np.array([0.0, 1000.0])))  # ends early, and must not last
    grid, (low, middle, high) = quantile_bands(lines, (0.0, 0.5, 1.0))
    late, half_way = grid > 30, (grid > 50) & (grid < 100)
    assert (high[late] <= 8.0).all()
    assert (middle[half_way] == 2.0).all()  # the last known value, not one between
    assert (low[-1], middle[-1], high[-1]) == (0.0, 4.0, 8.0)


def test_the_chosen_runs_reach_from_worst_to_best(run_of):
    runs = [run_of(i, return_pct=((i * 37) % 101) / 100) for i in range(101)]
    chosen = across_returns(runs, 50)
    assert len(chosen) == 50
    assert chosen == [run for run in runs if run in chosen]
    returns = sorted(run["metrics"]["return_pct"] for run in chosen)
    assert (returns[0], returns[-1]) == (0.0, 1.0)
    assert max(np.diff(returns)) <= 0.031
    assert across_returns(runs[:50], 50) == runs[:50]


def test_packed_arrays_unpack():
    values = np.array([0.0, -1.5, np.nan, 1e6])
    pack = packed(values)
    assert pack["dtype"] == "f4"
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(pack["bdata"]), "<f4"), values.astype("<f4"))


def test_points_are_bounded(tmp_path):
    n = 50_000
    rng = np.random.default_rng(0)
    path = write(
        tmp_path / "e.parquet",
        ts_ns=np.arange(n) * 10**9,
        equity=1e4 + rng.standard_normal(n).cumsum(),
        inventory=rng.standard_normal(n),
    )
    curves = read_curves(path)
    assert curves is not None
    for line in (curves.equity, curves.drawdown, curves.inventory, curves.even):
        assert len(line.x) <= MAX_POINTS
