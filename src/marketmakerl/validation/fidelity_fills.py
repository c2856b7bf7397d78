"""Two runs of one model over the same bars of time, held against each other fill by fill.

A *cell* is one side of one bar. The first bar has no cells: on bars nothing is quoted before it has closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from marketmakerl.core.rng import generator

if TYPE_CHECKING:
    from marketmakerl.core.instrument import Instrument

Floats = npt.NDArray[np.float64]

RESAMPLES: Final = 1000
MIN_BLOCKS: Final = 15  # of bars: fewer say nothing about how far a mean may be off
MIN_CELLS: Final = 20  # with a fill, on bars and on ticks each


@dataclass(frozen=True)
class Marks:
    """The bars of a comparison and the mids that both runs are marked at.

    Attributes:
        start_ns: opening of the first bar.
        interval_ns: bar length.
        mids: float64[bars + 1], at the opening of the first bar and at each close, price units.
        instrument: what was traded.
    """

    start_ns: int
    interval_ns: int
    mids: Floats
    instrument: Instrument

    @property
    def bars(self) -> int:
        """Return how many bars there are."""
        return len(self.mids) - 1

    def value(self, prices: Floats) -> Floats:
        """Return what a unit of quantity is worth at prices, settlement currency (see `Instrument.value`)."""
        unit = self.instrument.contract_size
        return np.asarray(-unit / prices if self.instrument.kind == "inverse" else unit * prices)


@dataclass(frozen=True)
class Run:
    """The fills of one run, summed bar by bar; sides are indexed 0 bought, 1 sold.

    Attributes:
        fills: how many, those of the first bar left out.
        qty: float64[bars, 2], units of quantity.
        paid: float64[bars, 2], quantity times price.
        turnover: float64[bars], settlement currency.
        pnl: float64[bars], what trading earned in each bar after fees, positions marked at its close.
        gross: sum of s q (m - p), m the engine's own mark before the fill: what the engine calls spread.
        to_close, to_next: (gain, turnover) of the fills at the close of their bar, and one bar on.
    """

    fills: int
    qty: Floats
    paid: Floats
    turnover: Floats
    pnl: Floats
    gross: float
    to_close: tuple[float, float]
    to_next: tuple[float, float]


def run_of(fills: Any, marks: Marks, *, on_bars: bool) -> Run:
    """Sum fills bar by bar.

    Args:
        fills: FILL[n] of a backtest.
        marks: the bars.
        on_bars: the fills carry the time of their bar's close, and not their own.
    """
    bar = (fills["ts_ns"] - marks.start_ns) // marks.interval_ns - int(on_bars)
    inside = (bar >= 1) & (bar < marks.bars)
    fills, bar = fills[inside], bar[inside]
    side = fills["side"].astype(np.int64)
    qty = fills["qty_lots"] * marks.instrument.lot_size
    price = fills["price_ticks"] * marks.instrument.tick_size
    signed, value = side * qty, marks.value(price)
    turnover, sides = qty * np.abs(value), (side < 0).astype(np.int64)
    at_close = marks.value(marks.mids[1:])
    gain = signed * (at_close[bar] - value)
    held = np.cumsum(np.bincount(bar, signed, marks.bars))
    pnl = np.bincount(bar, gain - fills["fee"], marks.bars)
    pnl[1:] += held[:-1] * np.diff(at_close)
    later = bar + 1 < marks.bars
    gain_later = signed[later] * (at_close[bar[later] + 1] - value[later])
    return Run(
        fills=len(fills),
        qty=_by_cell(bar, sides, qty, marks.bars),
        paid=_by_cell(bar, sides, qty * price, marks.bars),
        turnover=np.bincount(bar, turnover, marks.bars),
        pnl=pnl,
        gross=float(np.sum(signed * (marks.value(fills["mid"]) - value))),
        to_close=(float(gain.sum()), float(turnover.sum())),
        to_next=(float(gain_later.sum()), float(turnover[later].sum())),
    )


def _by_cell(bar: Any, side: Any, weights: Any, bars: int) -> Floats:
    return np.bincount(2 * bar + side, weights, 2 * bars).reshape(bars, 2)


def compare(on_bars: Run, on_ticks: Run, marks: Marks, seed: int) -> dict[str, Any]:
    """Return how far a run on bars is from one on ticks, JSON-ready; None where there is nothing to divide by.

    Returns:
        bars; fills_, qty_, cells_ (sides of bars with a fill) _bars and _ticks, cells_both;
        qty_ratio: bars over ticks, with its 95 % interval qty_ratio_low, _high;
        precision: share of the bars' cells in which ticks fill too; recall: the other way round;
        price_gain_bps: how much better for us bars fill where both do (mean over cells), price_off_bps: how far off;
        gross_bps_, pnl_bps_, markout_close_bps_, markout_next_bps_ _bars and _ticks, per turnover; gross before fees
        against the mark before the fill, pnl after fees, markouts before fees at the close of the bar and one on;
        pnl_gap_bps: bars less ticks, pnl_gap_low, _high: its 95 % interval; no_interval: why there is none, or "".
    """
    cells_bars, cells_ticks = on_bars.qty > 0, on_ticks.qty > 0
    both = cells_bars & cells_ticks
    n_bars, n_ticks, n_both = (int(cells.sum()) for cells in (cells_bars, cells_ticks, both))
    qty_bars, qty_ticks = float(on_bars.qty.sum()), float(on_ticks.qty.sum())
    row = {
        "bars": marks.bars,
        "fills_bars": on_bars.fills,
        "fills_ticks": on_ticks.fills,
        "qty_bars": qty_bars,
        "qty_ticks": qty_ticks,
        "qty_ratio": _ratio(qty_bars, qty_ticks),
        "cells_bars": n_bars,
        "cells_ticks": n_ticks,
        "cells_both": n_both,
        "precision": _ratio(n_both, n_bars),
        "recall": _ratio(n_both, n_ticks),
    }
    row |= _prices(on_bars, on_ticks, both, marks)
    for name, run in (("bars", on_bars), ("ticks", on_ticks)):
        turnover = float(run.turnover.sum())
        row[f"gross_bps_{name}"] = _bps(run.gross, turnover)
        row[f"pnl_bps_{name}"] = _bps(float(run.pnl.sum()), turnover)
        row[f"markout_close_bps_{name}"] = _bps(*run.to_close)
        row[f"markout_next_bps_{name}"] = _bps(*run.to_next)
    pnl_bars, pnl_ticks = row["pnl_bps_bars"], row["pnl_bps_ticks"]
    row["pnl_gap_bps"] = None if pnl_bars is None or pnl_ticks is None else pnl_bars - pnl_ticks
    return row | _intervals(on_bars, on_ticks, min(n_bars, n_ticks), seed)


def _prices(on_bars: Run, on_ticks: Run, both: npt.NDArray[np.bool_], marks: Marks) -> dict[str, float | None]:
    if not both.any():
        return {"price_gain_bps": None, "price_off_bps": None}
    price_bars, price_ticks = (run.paid[both] / run.qty[both] for run in (on_bars, on_ticks))
    # Cheaper is better where we buy, dearer where we sell.
    sign = np.broadcast_to(np.array([1.0, -1.0]), both.shape)[both]
    gain = 1e4 * sign * (price_ticks - price_bars) / price_ticks
    return {"price_gain_bps": float(gain.mean()), "price_off_bps": float(np.abs(gain).mean())}


def _intervals(on_bars: Run, on_ticks: Run, cells: int, seed: int) -> dict[str, Any]:
    names = ("qty_ratio_low", "qty_ratio_high", "pnl_gap_low", "pnl_gap_high")
    sums = np.column_stack(
        [on_bars.qty.sum(1), on_ticks.qty.sum(1), on_bars.pnl, on_bars.turnover, on_ticks.pnl, on_ticks.turnover]
    )[1:]
    length = block_length(len(sums))
    if len(sums) // length < MIN_BLOCKS:
        return dict.fromkeys(names) | {"no_interval": f"too few bars: {len(sums)}"}
    if cells < MIN_CELLS:
        return dict.fromkeys(names) | {"no_interval": f"too few fills: {cells} cells"}
    # The same blocks for every pair of runs over as many bars: two rows differ by their fills, not by their draws.
    drawn = block_sums(sums, length, RESAMPLES, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = drawn[:, 0] / drawn[:, 1]
        gap = 1e4 * (drawn[:, 2] / drawn[:, 3] - drawn[:, 4] / drawn[:, 5])
    values = [float(np.nanpercentile(sample, percent)) for sample in (ratio, gap) for percent in (2.5, 97.5)]
    return dict(zip(names, values, strict=True)) | {"no_interval": ""}


def block_length(bars: int) -> int:
    """Return the length of a bootstrap block: the cube root of the number of bars, rounded up."""
    return max(1, int(np.ceil(round(bars ** (1 / 3), 9))))


def block_sums(columns: Floats, length: int, resamples: int, seed: int) -> Floats:
    """Return the sums of columns over resampled bars, by the circular block bootstrap (Politis and Romano, 1992).

    Args:
        columns: float64[bars, k].
        length: bars of a block.
        resamples: how many.
        seed: of the draws; the same seed and shape draw the same blocks.

    Returns:
        float64[resamples, k]; sums over the blocks drawn, which together are as many bars as there are, rounded up.
    """
    bars = len(columns)
    wrapped = np.vstack([columns, columns[: length - 1]])
    cumulative = np.vstack([np.zeros((1, columns.shape[1])), np.cumsum(wrapped, axis=0)])
    blocks = cumulative[length:] - cumulative[:-length]
    starts = generator(seed, "fidelity", bars).integers(0, bars, (resamples, -(-bars // length)))
    return np.asarray(blocks[starts].sum(axis=1))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _bps(amount: float, turnover: float) -> float | None:
    return 1e4 * amount / turnover if turnover > 0 else None
