"""Equity curves for drawing: read one run at a time, measured from its start, thinned without losing an extreme."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from marketmakerl.reporting.summary import Run

MAX_POINTS: Final = 600  # a curve; a screen has few more columns than that

_GRID_POINTS: Final = 200
_COLUMNS: Final = ("ts_ns", "equity", "inventory")
_DTYPES: Final = {pa.int64(): np.int64, pa.float64(): np.float64}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """Points to draw: `x` seconds since the run's start, `y` whatever is drawn."""

    x: Floats
    y: Floats


@dataclass(frozen=True)
class Curves:
    """The curves of one run, thinned (see `read_curves`).

    Attributes:
        equity: change since the start, as a fraction of the opening equity.
        drawdown: equity below its highest so far, as a fraction of the opening equity; <= 0.
        inventory: position, units of quantity.
        even: `equity` at evenly spaced rows: extremes are lost but none is favoured, which quantiles need.
    """

    equity: Line
    drawdown: Line
    inventory: Line
    even: Line


def read_curves(path: Path, max_points: int = MAX_POINTS) -> Curves | None:
    """Read runs/<run_id>/equity.parquet; None if there is no such file or it has no rows.

    Args:
        path: of the file.
        max_points: of each curve, >= 4.

    Raises:
        DataFormatError: it is not what a run writes.
    """
    if not path.is_file():
        return None
    try:
        table = pq.ParquetFile(path).read(columns=list(_COLUMNS))
        if table.num_rows == 0:
            return None
        ts_ns, equity, inventory = (_array(table, name) for name in _COLUMNS)
    except (pa.ArrowException, KeyError, OSError) as error:
        text = str(error).partition("\n")[0]
        raise DataFormatError(f"{path} is not an equity table: {text}; repeat the campaign to make it again") from error
    elapsed_s = (ts_ns - ts_ns[0]) / NS_PER_S
    change = (equity - equity[0]) / equity[0]
    drawdown = change - np.maximum.accumulate(change)
    even = np.unique(np.linspace(0, len(change) - 1, max_points).astype(np.int64))
    return Curves(
        equity=thin(elapsed_s, change, max_points),
        drawdown=thin(elapsed_s, drawdown, max_points),
        inventory=thin(elapsed_s, inventory.astype(np.float64), max_points),
        even=Line(elapsed_s[even], change[even]),
    )


def _array(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """Return a column; to_numpy() would load pandas first, which takes longer than all the rest of a report."""
    column = table.column(name)
    if column.type not in _DTYPES or column.null_count:
        raise pa.ArrowInvalid(f"column {name} has type {column.type} and {column.null_count} missing values")
    array = pa.concat_arrays(column.chunks)
    buffer: Any = array.buffers()[1]
    values: npt.NDArray[Any] = np.frombuffer(buffer, _DTYPES[column.type])
    return values[array.offset : array.offset + len(array)]


def thin(x: Floats, y: Floats, max_points: int = MAX_POINTS) -> Line:
    """Return at most `max_points` of the points, in order: the first, the last, and each bucket's lowest and highest.

    Args:
        x: positions, at least one.
        y: heights, as many.
        max_points: >= 4.
    """
    n = len(y)
    if n <= max_points:
        return Line(x, y)
    buckets = max_points // 2 - 1
    width = -(-n // buckets)
    # The last bucket is filled up with the last point, so a row number beyond the end means that point.
    rows = np.pad(y, (0, buckets * width - n), mode="edge").reshape(buckets, width)
    starts = np.arange(buckets) * width
    ends = np.array([0, n - 1])
    keep = np.unique(np.minimum(np.concatenate([starts + rows.argmin(1), starts + rows.argmax(1), ends]), n - 1))
    return Line(x[keep], y[keep])


def quantile_bands(lines: list[Line], quantiles: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Return how the runs spread over time.

    Args:
        lines: one line a run, each starting at x = 0; at least one.
        quantiles: in [0, 1].

    Returns:
        A grid of seconds since the start, and an array (quantiles, grid): at each time, the quantiles of the runs that
        still go on then, each at its last known value.
    """
    grid = np.linspace(0.0, max(float(line.x[-1]) for line in lines), _GRID_POINTS)
    values = np.full((len(lines), len(grid)), np.nan)
    for row, line in zip(values, lines, strict=True):
        going_on = grid <= line.x[-1]
        row[going_on] = line.y[np.searchsorted(line.x, grid[going_on], side="right") - 1]
    return grid, np.nanquantile(values, quantiles, axis=0)


def across_returns(runs: list[Run], most: int) -> list[Run]:
    """Return at most `most` of the runs, in their order: the worst, the best, and evenly ranked ones between."""
    if len(runs) <= most:
        return runs
    ranked = sorted(runs, key=lambda run: float(run["metrics"]["return_pct"]))
    kept = {ranked[i]["run_id"] for i in np.linspace(0, len(ranked) - 1, most).astype(int)}
    return [run for run in runs if run["run_id"] in kept]


def packed(values: Floats) -> dict[str, Any]:
    """Return an array as plotly.js reads it packed: 4 bytes a number instead of the 8 to 20 of its digits."""
    return {"dtype": "f4", "bdata": base64.b64encode(values.astype("<f4").tobytes()).decode()}
