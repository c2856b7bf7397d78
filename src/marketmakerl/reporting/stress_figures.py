"""The pictures of a stress study as plain plotly dictionaries: price, equity and inventory, with and without it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from marketmakerl.reporting.curves import packed
from marketmakerl.reporting.figures import _UNITS, Figure, _layout

Document = dict[str, Any]
Row = dict[str, Any]

_PANELS: Final = (("price", "Price", 1.0), ("equity", "Equity, %", 100.0), ("inventory", "Inventory", 1.0))
_GAP: Final = 0.06  # between panels, a share of the height
_BASELINES: Final = ("baseline", "before")


def stress_figures(analysis: Document) -> dict[str, Figure]:
    """Return one chart a run that was made under a scenario, by its run id."""
    rows = {row["run_id"]: row for row in analysis["rows"]}
    base = {
        (row["target"], row["crisis"]): row["run_id"] for row in rows.values() if row["scenario"] in _BASELINES
    }  # fmt: skip
    figures = {}
    for run_id, row in rows.items():
        curves = analysis["curves"].get(run_id)
        if curves and row["scenario"] not in _BASELINES:
            # A crisis and the days before it are two markets: only a tape and a world have the same run without it.
            other = analysis["curves"].get(base[row["target"], row["crisis"]]) if row["target"] != "crisis" else None
            figures[run_id] = _figure(curves, other)
    return figures


def _figure(curves: Document, other: Document | None) -> Figure:
    panels = [panel for panel in _PANELS if panel[0] in curves]
    longest_s = max(curves[name]["x"][-1] for name, _, _ in panels)
    scale, unit = next(((scale, name) for least, scale, name in _UNITS if longest_s >= least), (1.0, "seconds"))
    height = (1.0 - _GAP * (len(panels) - 1)) / len(panels)
    layout = _layout("", legend=other is not None)
    traces = []
    for i, (name, title, factor) in enumerate(panels):
        axis = "" if i == 0 else str(i + 1)
        top = 1.0 - i * (height + _GAP)
        drawn = [(curves[name], "under the scenario", {"width": 1.5, "color": "var(--failed)"})]
        if other is not None:
            drawn.insert(0, (other[name], "without it", {"width": 1.25, "color": "var(--muted)", "dash": "dot"}))
        for line, legend, style in drawn:
            traces.append({
                "type": "scatter",
                "mode": "lines",
                "name": legend,
                "legendgroup": legend,
                "showlegend": other is not None and i == 0,
                "x": packed(np.asarray(line["x"]) / scale),
                "y": packed(np.asarray(line["y"]) * factor),
                "yaxis": f"y{axis}",
                "line": style | {"shape": "hv" if name == "inventory" else "linear"},
                "hovertemplate": f"%{{x:.2f}} {unit}: %{{y:,.6~g}}<extra>{title}</extra>",
            })  # fmt: skip
        layout[f"yaxis{axis}"] = layout["yaxis"] | {
            "domain": [max(0.0, top - height), top],
            "title": {"text": title, "standoff": 8},
        }
    layout["xaxis"] |= {
        "title": {"text": f"Time, {unit}", "standoff": 8}, "anchor": f"y{len(panels)}" if len(panels) > 1 else "y"
    }  # fmt: skip
    return {"data": traces, "layout": layout}
