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
MIN_DEFINED: Final = 0.95  # of the resamples: in the others one of the runs has no fill at all


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
        gain_close: what the fills have gained at the close of their bar, before fees.
        gain_next, turnover_next: float64[bars], likewise one bar on, and the turnover of those that have a next bar.
    """

    fills: int
    qty: Floats
    paid: Floats
    turnover: Floats
    pnl: Floats
    gross: float
    gain_close: float
    gain_next: Floats
    turnover_next: Floats


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
    held = np.cumsum(_sums(bar, signed, marks.bars))
    pnl = _sums(bar, gain - fills["fee"], marks.bars)
    pnl[1:] += held[:-1] * np.diff(at_close)
    later = bar + 1 < marks.bars
    gain_later = signed[later] * (at_close[bar[later] + 1] - value[later])
    return Run(
        fills=len(fills),
        qty=_by_cell(bar, sides, qty, marks.bars),
        paid=_by_cell(bar, sides, qty * price, marks.bars),
        turnover=_sums(bar, turnover, marks.bars),
        pnl=pnl,
        gross=float(np.sum(signed * (marks.value(fills["mid"]) - value))),
        gain_close=float(gain.sum()),
        gain_next=_sums(bar[later], gain_later, marks.bars),
        turnover_next=_sums(bar[later], turnover[later], marks.bars),
    )


def _by_cell(bar: Any, side: Any, weights: Any, bars: int) -> Floats:
    return _sums(2 * bar + side, weights, 2 * bars).reshape(bars, 2)


def _sums(places: Any, weights: Any, n: int) -> Floats:
    # Of nothing numpy counts in integers, whatever the weights.
    return np.bincount(places, weights, n).astype(np.float64)


def compare(on_bars: Run, on_ticks: Run, marks: Marks, seed: int) -> dict[str, Any]:
    """Return how far a run on bars is from one on ticks, JSON-ready; None where there is nothing to divide by.

    Returns:
        bars; fills_, qty_, cells_ (sides of bars with a fill) _bars and _ticks, cells_both;
        qty_ratio: bars over ticks, with its 95 % interval qty_ratio_low, _high;
        precision: share of the bars' cells in which ticks fill too; recall: the other way round;
        price_gain_bps: how much better for us bars fill where both do (mean over cells), price_off_bps: how far off;
        gross_bps_, pnl_bps_, markout_close_bps_, markout_next_bps_ _bars and _ticks, per turnover; gross before fees
        against the mark before the fill, pnl after fees, markouts before fees at the close of the bar and one on;
        pnl_gap_bps, markout_gap_bps: bars less ticks, the latter one bar on, with their 95 % intervals _low, _high;
        no_interval: why there are no intervals, or "".
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
    row |= _prices(on_bars, on_ticks, both)
    for name, run in (("bars", on_bars), ("ticks", on_ticks)):
        turnover = float(run.turnover.sum())
        row[f"gross_bps_{name}"] = _bps(run.gross, turnover)
        row[f"pnl_bps_{name}"] = _bps(float(run.pnl.sum()), turnover)
        row[f"markout_close_bps_{name}"] = _bps(run.gain_close, turnover)
        row[f"markout_next_bps_{name}"] = _bps(float(run.gain_next.sum()), float(run.turnover_next.sum()))
    for gap, what in (("pnl_gap_bps", "pnl_bps"), ("markout_gap_bps", "markout_next_bps")):
        ours, theirs = row[f"{what}_bars"], row[f"{what}_ticks"]
        row[gap] = None if ours is None or theirs is None else ours - theirs
    return row | _intervals(on_bars, on_ticks, min(n_bars, n_ticks), seed)


def _prices(on_bars: Run, on_ticks: Run, both: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    if not both.any():
        return {"price_gain_bps": None, "price_off_bps": None}
    price_bars, price_ticks = (run.paid[both] / run.qty[both] for run in (on_bars, on_ticks))
    # Cheaper is better where we buy, dearer where we sell.
    sign = np.broadcast_to(np.array([1.0, -1.0]), both.shape)[both]
    gain = 1e4 * sign * (price_ticks - price_bars) / price_ticks
    return {"price_gain_bps": float(gain.mean()), "price_off_bps": float(np.abs(gain).mean())}


def _intervals(on_bars: Run, on_ticks: Run, cells: int, seed: int) -> dict[str, Any]:
    names = [f"{name}_{end}" for name in ("qty_ratio", "pnl_gap", "markout_gap") for end in ("low", "high")]
    parts = [
        part
        for run in (on_bars, on_ticks)
        for part in (run.qty.sum(1), run.pnl, run.turnover, run.gain_next, run.turnover_next)
    ]
    sums = np.column_stack(parts)[1:]
    length = block_length(len(sums))
    if len(sums) // length < MIN_BLOCKS:
        return dict.fromkeys(names) | {"no_interval": f"too few bars: {len(sums)}"}
    if cells < MIN_CELLS:
        return dict.fromkeys(names) | {"no_interval": f"too few fills: {cells} cells"}
    # The same blocks for every pair of runs over as many bars: two rows differ by their fills, not by their draws.
    drawn = block_sums(sums, length, RESAMPLES, seed).T
    ours, theirs = drawn[:5], drawn[5:]
    with np.errstate(divide="ignore", invalid="ignore"):
        samples = np.stack([
            ours[0] / theirs[0],
            1e4 * (ours[1] / ours[2] - theirs[1] / theirs[2]),
            1e4 * (ours[3] / ours[4] - theirs[3] / theirs[4]),
        ])  # fmt: skip
    drawn_well = np.isfinite(samples).all(axis=0)
    if drawn_well.mean() < MIN_DEFINED:
        return dict.fromkeys(names) | {"no_interval": "too few fills: all in a few blocks"}
    ends = np.percentile(samples[:, drawn_well], (2.5, 97.5), axis=1).T.ravel()
    return dict(zip(names, ends.tolist(), strict=True)) | {"no_interval": ""}


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
