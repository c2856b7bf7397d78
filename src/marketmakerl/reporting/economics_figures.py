"""The pictures of a study of economics as plain plotly dictionaries; colours as in `marketmakerl.reporting.figures`."""

from __future__ import annotations

from html import escape
from typing import Any, Final

from marketmakerl.reporting import formats
from marketmakerl.reporting.economics_tables import (
    SURE,
    alike_queues,
    axis_of,
    bps,
    cells_of,
    horizons_of,
    level_name,
    sharpe,
)
from marketmakerl.reporting.figures import _PATTERN, Figure, _layout

Analysis = dict[str, Any]

_STEPS: Final = (  # of the waterfall: part, sign, name
    ("spread", 1, "spread"),
    ("inventory", 1, "inventory"),
    ("fees", -1, "fees"),
    ("funding", 1, "funding"),
    ("liquidation", -1, "liquidation"),
    ("opening", -1, "opening inventory"),
)


def economics_figures(analysis: Analysis) -> dict[str, Figure]:
    """Return the charts: heat_0 and so on (queues that read alike; one on bars), parts (a waterfall), horizons."""
    queues = [queues[0] for queues in alike_queues(analysis)] or [""]
    values = [abs(cell["earned_bps"]) for cell in analysis["cells"] if cell["edge_filter"] and cell["earned_bps"]]
    extreme = max(values, default=0.0) or 1.0
    figures = {f"heat_{number}": _heat_figure(analysis, queue, extreme) for number, queue in enumerate(queues)}
    if analysis["shown"]:
        figures |= {"parts": _parts_figure(analysis), "horizons": _horizons_figure(analysis)}
    return figures


def _heat_figure(analysis: Analysis, queue: str, extreme: float) -> Figure:
    """Return fees by latencies (or shares), coloured by what a cell earned per turnover, even around zero."""
    axis = "latency_ms" if queue else "bar_volume_share"
    costs = axis_of(analysis, axis)
    rows = []
    for fee in range(len(analysis["levels"])):
        by_cost = {cell[axis]: cell for cell in cells_of(analysis, queue, fee)}
        rows.append([by_cost[cost] for cost in costs])
    heat = {
        "type": "heatmap",
        "x": [f"{cost:g} ms" if queue else f"{100 * cost:g} %" for cost in costs],
        "y": [level_name(level) for level in analysis["levels"]],
        "z": [[_value(cell) for cell in row] for row in rows],
        "zmin": -extreme,
        "zmax": extreme,
        "colorscale": [[0, "var(--failed)"], [0.5, "var(--card)"], [1, "var(--accent)"]],
        "colorbar": {"title": {"text": "bps", "side": "top"}, "thickness": 12, "outlinewidth": 0},
        "customdata": [[_hover(cell, analysis["market"]["quote"]) for cell in row] for row in rows],
        "hovertemplate": "%{y} at %{x}<br>%{customdata}<extra></extra>",
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
    }
    layout = _layout("", legend=False)
    title = "Latency, one way" if queue else "Share of a bar's volume"
    layout["xaxis"] |= {"type": "category", "showgrid": False, "title": {"text": title, "standoff": 8}}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    # Written beside the map and not by it, because a cell that does not trade has a text and no colour.
    layout["annotations"] = [
        {"x": x, "y": y, "text": _text(cell), "showarrow": False, "font": {"size": 12, "color": "var(--ink)"}}
        for y, row in enumerate(rows)
        for x, cell in enumerate(row)
    ]
    return {"data": [heat], "layout": layout}


def _value(cell: Analysis) -> float | None:
    return None if cell["earned_bps"] is None else round(cell["earned_bps"], 6)


def _text(cell: Analysis) -> str:
    if cell["status"] == "error":
        return "error"
    if not cell["fills"]:
        return "no fills"
    value = bps(cell["earned_bps"])
    return f"<b>{value}*</b>" if cell["verdict"] in SURE else value


def _hover(cell: Analysis, quote: str) -> str:
    if cell["status"] == "error":
        return escape(str(cell["error"]))
    if not cell["fills"]:
        return escape(str(cell["no_fills_because"]))
    low, high = cell["earned_low"], cell["earned_high"]
    ends = cell["no_interval"] if low is None else f"{formats.money(low)} to {formats.money(high)}"
    return (
        f"earned {formats.money(round(cell['earned'], 6))} {escape(quote)} ({escape(ends)})<br>{cell['verdict']}<br>"
        f"{formats.count(cell['fills'])} fills, Sharpe {formats.ratio(sharpe(cell))}, "
        f"uptime {formats.with_percent_sign(cell['quoted_uptime_pct'], 0)}<br>"
        f"these fills break even at {bps(cell['break_even_maker_bps'])} bps maker"
    )


def _parts_figure(analysis: Analysis) -> Figure:
    """Return the waterfall of one cell: from spread captured to what was earned."""
    parts = analysis["shown"]["attribution"]["quote"]
    steps = [
        (name, sign * parts[part])
        for part, sign, name in _STEPS
        if parts[part] or part in {"spread", "inventory", "fees"}
    ]
    names = [name for name, _ in steps] + ["earned"]
    bars = {
        "type": "waterfall",
        "x": names,
        "y": [round(value, 6) for _, value in steps] + [round(parts["earned"], 6)],
        "measure": ["relative"] * len(steps) + ["total"],
        "text": [formats.money(round(value, 6)) for _, value in steps] + [formats.money(round(parts["earned"], 6))],
        "textposition": "outside",
        "cliponaxis": False,
        "increasing": {"marker": {"color": "var(--spread)"}},
        "decreasing": {"marker": {"color": "var(--fees)"}},
        "totals": {"marker": {"color": "var(--inventory)"}},
        "connector": {"line": {"color": "var(--muted)", "width": 1}},
        "hovertemplate": "%{x} %{text}<extra></extra>",
    }
    layout = _layout(escape(analysis["market"]["quote"]), legend=False)
    layout["xaxis"] |= {"type": "category", "showgrid": False}
    layout["margin"] = layout["margin"] | {"t": 24}
    return {"data": [bars], "layout": layout}


def _horizons_figure(analysis: Analysis) -> Figure:
    """Return what fills are worth so long after them: spread, what the mid took back, what is left, and fees."""
    found = analysis["shown"]["attribution"]
    parts, turnover = found["quote"], analysis["shown"]["metrics"]["turnover"]
    known = horizons_of(parts)
    per = 1e4 / turnover

    def line(name: str, values: list[float], **more: Any) -> dict[str, Any]:
        rounded = [round(per * value, 6) for value in values]
        hover = f"{name} %{{y:.3f}} bps after %{{x}}<extra></extra>"
        return {"name": name, "x": known, "y": rounded, "hovertemplate": hover} | more

    spread = [parts["spread"]] * len(known)
    adverse = [parts["adverse"][horizon] for horizon in known]
    markout = [one + other for one, other in zip(spread, adverse, strict=True)]
    traces = [
        line("spread captured", spread, type="bar", marker={"color": "var(--spread)"}),
        line(
            "adverse selection", adverse, type="bar",
            marker={"color": "var(--inventory)", "pattern": {"shape": "/", **_PATTERN}},
        ),
        line(
            "spread + adverse selection", markout, type="scatter", mode="lines+markers",
            line={"color": "var(--ink)", "width": 2}, marker={"color": "var(--ink)", "size": 7},
        ),
        line(
            "fees", [parts["fees"]] * len(known), type="scatter", mode="lines",
            line={"color": "var(--fees)", "width": 2, "dash": "dash"},
        ),
    ]  # fmt: skip
    layout = _layout("bps of the turnover", legend=True) | {"barmode": "relative", "bargap": 0.35}
    layout["xaxis"] |= {"type": "category", "showgrid": False, "title": {"text": "After the fill", "standoff": 8}}
    return {"data": traces, "layout": layout}
