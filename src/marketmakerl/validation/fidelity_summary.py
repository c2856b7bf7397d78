"""What a whole fidelity study comes to: one line a bar length, queue, latency and clock, over recordings and models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.stats import rankdata

from marketmakerl.reporting.fidelity_figures import MIN_CELLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Row = dict[str, Any]

MIN_MODELS: Final = 4  # on one recording, for an order of them to mean anything
_MEDIANS: Final = (
    *("price_gain_bps", "price_off_bps", "gross_bps_bars", "gross_bps_ticks", "pnl_gap_bps", "markout_gap_bps"),
)


def summarise(rows: Sequence[Row], by: Sequence[str]) -> list[Row]:
    """Return one line for each combination of the columns `by`, in the order of their first row.

    Args:
        rows: of `measure`, with the recording's name.
        by: columns.

    Returns:
        The columns `by`; comparisons: how many have at least `MIN_CELLS` cells with a fill on ticks, which alone count
        below; left_out: the others; ratio_p10, ratio_median, ratio_p90 of qty_ratio; precision and recall over all
        their cells together; medians of prices, spreads and gaps; intervals: how many have one, and of those
        pnl_above, pnl_below, markout_above, markout_below: how many lie above or below zero with all of it. None where
        there is nothing to take a median of. rankings: recordings with at least `MIN_MODELS` models; rank_correlation:
        median over them of Spearman's, between what the models earn per turnover on bars and on ticks; same_best: on
        how many of them the same model earns most.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    return [dict(zip(by, key, strict=True)) | _line(group) for key, group in groups.items()]


def _line(rows: list[Row]) -> Row:
    counted = [row for row in rows if row["cells_ticks"] >= MIN_CELLS]
    ratios = [row["qty_ratio"] for row in counted]
    both = sum(row["cells_both"] for row in counted)
    judged = [row for row in counted if not row["no_interval"]]
    line: Row = {"comparisons": len(counted), "left_out": len(rows) - len(counted)}
    for name, percent in (("ratio_p10", 10), ("ratio_median", 50), ("ratio_p90", 90)):
        line[name] = float(np.percentile(ratios, percent)) if ratios else None
    for name, cells in (("precision", "cells_bars"), ("recall", "cells_ticks")):
        whole = sum(row[cells] for row in counted)
        line[name] = both / whole if whole else None
    line |= {name: _median(row[name] for row in counted) for name in _MEDIANS}
    line["intervals"] = len(judged)
    for gap in ("pnl", "markout"):
        line[f"{gap}_above"] = sum(row[f"{gap}_gap_low"] > 0 for row in judged)
        line[f"{gap}_below"] = sum(row[f"{gap}_gap_high"] < 0 for row in judged)
    return line | _order_of_models(counted)


def _order_of_models(rows: list[Row]) -> Row:
    """Return whether bars put the models into the order that ticks do."""
    by_recording: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for row in rows:
        pair = (row["pnl_bps_bars"], row["pnl_bps_ticks"])
        if None not in pair:
            # Within a recording the models of one setting are compared, whatever else a line puts together.
            place = tuple(row[name] for name in ("recording", "bar_s", "clock", "queue", "latency_ms"))
            by_recording.setdefault(place, []).append(pair)
    ranked = [np.array(pairs).T for pairs in by_recording.values() if len(pairs) >= MIN_MODELS]
    ranks = [(rankdata(ours), rankdata(theirs)) for ours, theirs in ranked]
    return {
        "rankings": len(ranked),
        "rank_correlation": _median(float(np.corrcoef(*pair)[0, 1]) for pair in ranks if np.ptp(pair, axis=1).all()),
        "same_best": sum(int(ours.argmax() == theirs.argmax()) for ours, theirs in ranked),
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
