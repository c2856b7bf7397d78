"""The pictures of a fidelity study as plain plotly dictionaries; colours as in `marketmakerl.reporting.figures`."""

from __future__ import annotations

from typing import Any, Final

from marketmakerl.reporting.figures import Figure, _layout

Analysis = dict[str, Any]
Row = dict[str, Any]

# Sides of bars with a fill on ticks: with fewer a ratio is noise, in the CSV but in no chart and no median.
MIN_CELLS: Final = 10
FARTHEST: Final = 100.0  # a ratio beyond this, or its inverse, is drawn at it: zero has no place on a log axis
_COLOURS: Final = ("var(--spread)", "var(--inventory)", "var(--funding)", "var(--ok-chip)", "var(--risk-chip)")
_FAST: Final = "var(--fees)"
_SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "triangle-down")


def fidelity_figures(analysis: Analysis) -> dict[str, Figure]:
    """Return the charts: ratio (quantity filled), agreement (precision and recall), gap (profit, bars less ticks)."""
    latency_ms = analysis["rules"]["latencies_ms"][0]
    rows = [row for row in analysis["rows"] if row["latency_ms"] == latency_ms and row["cells_ticks"] >= MIN_CELLS]
    lines = [line for line in analysis["summary"] if line["latency_ms"] == latency_ms]
    groups = [("bar", queue, queue) for queue in analysis["rules"]["queues"]]
    groups.append(("100 ms", analysis["rules"]["queues"][0], f"{analysis['rules']['queues'][0]}, asked every 100 ms"))
    return {
        "ratio": _ratio_figure(rows, groups),
        "agreement": _agreement_figure(lines, groups),
        "gap": _gap_figure(rows, groups),
    }


def _ratio_figure(rows: list[Row], groups: list[tuple[str, str, str]]) -> Figure:
    shown = [row | {"_y": min(max(row["qty_ratio"], 1 / FARTHEST), FARTHEST)} for row in rows]
    layout = _box_layout("Quantity filled, bars / ticks")
    marks = {0.01: "≤ 0.01", 0.02: "0.02", 0.05: "0.05", 0.1: "0.1", 0.2: "0.2", 0.5: "0.5", 1: "1", 2: "2", 5: "5",
             10: "10", 100: "≥ 100"}  # fmt: skip
    layout["yaxis"] |= {"type": "log", "tickvals": list(marks), "ticktext": list(marks.values())}
    layout["shapes"] = [_line_at(1)]
    return {"data": _boxes(shown, groups, "%{customdata[2]:.3~g} times"), "layout": layout}


def _gap_figure(rows: list[Row], groups: list[tuple[str, str, str]]) -> Figure:
    shown = [row | {"_y": round(row["markout_gap_bps"], 6)} for row in rows if row["markout_gap_bps"] is not None]
    layout = _box_layout("Markout a bar on, bars less ticks, bps")
    layout["shapes"] = [_line_at(0)]
    return {"data": _boxes(shown, groups, "%{y:.3f} bps"), "layout": layout}


def _boxes(rows: list[Row], groups: list[tuple[str, str, str]], value: str) -> list[dict[str, Any]]:
    boxes = []
    for i, (clock, queue, label) in enumerate(groups):
        mine = [row for row in rows if row["clock"] == clock and row["queue"] == queue]
        colour = _FAST if clock != "bar" else _COLOURS[i % len(_COLOURS)]
        boxes.append({
            "type": "box",
            "name": label,
            "x": [f"{row['bar_s']} s" for row in mine],
            "y": [row["_y"] for row in mine],
            "customdata": [[row["recording"], row["model"], row["qty_ratio"]] for row in mine],
            "boxpoints": "all",
            "jitter": 0.5,
            "pointpos": 0,
            "line": {"width": 1.25, "color": colour},
            "fillcolor": "rgba(0,0,0,0)",
            "marker": {"size": 5, "opacity": 0.55, "color": colour, "symbol": _SYMBOLS[i % len(_SYMBOLS)]},
            "hoveron": "points",
            "hovertemplate": f"%{{customdata[0]}}<br>%{{customdata[1]}}, %{{x}} bars, {label}<br>{value}"
            "<extra></extra>",
        })  # fmt: skip
    return boxes


def _agreement_figure(lines: list[Row], groups: list[tuple[str, str, str]]) -> Figure:
    traces = []
    for i, (clock, queue, label) in enumerate(groups):
        mine = [line for line in lines if line["clock"] == clock and line["queue"] == queue]
        colour = _FAST if clock != "bar" else _COLOURS[i % len(_COLOURS)]
        for name, dash in (("precision", "solid"), ("recall", "dot")):
            traces.append({
                "type": "scatter",
                "mode": "lines+markers",
                "name": label,
                "legendgroup": label,
                "showlegend": name == "precision",
                "x": [f"{line['bar_s']} s" for line in mine],
                "y": [None if line[name] is None else round(100 * line[name], 3) for line in mine],
                "line": {"width": 1.75, "color": colour, "dash": dash},
                "marker": {"size": 7, "color": colour, "symbol": _SYMBOLS[i % len(_SYMBOLS)]},
                "hovertemplate": f"{name}, {label}<br>%{{x}} bars: %{{y:.1f}} %<extra></extra>",
            })  # fmt: skip
    layout = _layout("Share of the sides of bars, %", legend=True)
    layout["xaxis"] |= {"type": "category", "title": {"text": "Bar length", "standoff": 8}}
    layout["yaxis"] |= {"range": [0, 103]}
    return {"data": traces, "layout": layout}


def _box_layout(y_title: str) -> dict[str, Any]:
    layout = _layout(y_title, legend=True) | {"boxmode": "group", "boxgap": 0.25, "boxgroupgap": 0.15}
    layout["xaxis"] |= {"type": "category", "showgrid": False, "title": {"text": "Bar length", "standoff": 8}}
    return layout


def _line_at(y: float) -> dict[str, Any]:
    style = {"width": 1.25, "dash": "dash", "color": "var(--muted)"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": style, "layer": "below"}
