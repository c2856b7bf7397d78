"""The pictures of the model world as plain plotly dictionaries; colours as in `marketmakerl.reporting.figures`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np

from marketmakerl.reporting.curves import packed
from marketmakerl.reporting.figures import Figure, _layout

Document = dict[str, Any]

# One colour and dash a model, whatever the picture; who cannot tell the colours can tell the dashes.
_STYLES: Final = {
    "avellaneda_stoikov": ("var(--fees)", "dot"),
    "glft_exact": ("var(--inventory)", "solid"),
    "optimal": ("var(--ink)", "dash"),
    "optimal_penalty": ("var(--ink)", "dash"),
    "symmetric": ("var(--funding)", "dashdot"),
    "glft": ("var(--spread)", "longdash"),
}
_OTHERS: Final = (
    ("var(--muted)", "solid"), ("var(--ok-chip)", "dashdot"), ("var(--risk-chip)", "longdash"),
    ("var(--error-chip)", "dot"), ("var(--spread)", "dot"), ("var(--accent)", "longdashdot"),
)  # fmt: skip
_DRAWN_FIRST: Final = ("symmetric", "avellaneda_stoikov", "glft_exact", "optimal")
_MANY: Final = 5  # distributions; from then on the rest waits in the legend


def world_figures(analysis: Document) -> dict[str, Figure]:
    """Return the charts that the analysis has numbers for."""
    pictures = analysis["pictures"]
    figures = _quote_figures(pictures["quotes"])
    if "distributions" in pictures:
        figures["profit"] = _profit_figure(pictures["distributions"])
    if pictures.get("frontier"):
        figures["frontier"] = _frontier_figure(pictures["frontier"])
    if "path" in pictures:
        figures |= _path_figures(pictures["path"])
    if analysis["kind"] == "compare" and analysis["differences"]:
        figures["differences"] = _difference_figure(analysis)
    return figures


def _style(name: str, names: list[str]) -> dict[str, Any]:
    others = sorted(other for other in names if other not in _STYLES)
    colour, dash = _STYLES.get(name) or _OTHERS[others.index(name) % len(_OTHERS)]
    return {"color": colour, "dash": dash, "width": 1.75}


def _quote_figures(grid: Document) -> dict[str, Figure]:
    """Return bid and ask relative to the mid: by inventory at three times, and over time at three inventories."""
    names = list(grid["by_inventory"])
    figures: dict[str, Figure] = {}
    places = ("start", "middle", "end")
    shown = [_sides(grid["by_inventory"][name][row]) for name in names for row in range(len(places))]
    spread = _range([values for sides in shown for values in sides])
    for row, place in enumerate(places):
        traces = []
        for name in names:
            sides = _sides(grid["by_inventory"][name][row])
            traces += _pair(name, names, grid["inventories"], sides, "q = %{x}: %{y:.4f}")
        figures[f"quotes_{place}"] = {"data": traces, "layout": _quote_layout("Inventory, orders", spread)}
    for column, q in enumerate(grid["levels"]):
        traces = []
        for name in names:
            sides = _sides([row[column] for row in grid["over_time"][name]])
            traces += _pair(name, names, grid["moments_s"], sides, "%{x:.4g} s: %{y:.4f}")
        figures["quotes_flat" if q == 0 else "quotes_long"] = {
            "data": traces,
            "layout": _quote_layout("Seconds since the start", None),
        }
    return figures


def _sides(cells: list[list[float | None]]) -> tuple[list[float | None], list[float | None]]:
    """Return where bid and ask stand relative to the mid."""
    return [None if bid is None else -bid for bid, _ in cells], [ask for _, ask in cells]


def _pair(
    name: str, names: list[str], x: list[float], sides: tuple[list[float | None], list[float | None]], text: str
) -> list[dict[str, Any]]:  # fmt: skip
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "legendgroup": name,
            "showlegend": side == "ask",
            "x": x,
            "y": [None if value is None else round(value, 9) for value in values],
            "line": _style(name, names),
            "connectgaps": False,
            "hovertemplate": f"{name} {side}<br>{text}<extra></extra>",
        }
        for side, values in zip(("bid", "ask"), sides, strict=True)
    ]


def _range(lines: list[list[float | None]]) -> list[float] | None:
    """Return a common range of the axis, so that charts beside each other can be compared."""
    values = [value for line in lines for value in line if value is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    room = 0.05 * ((high - low) or 1.0)
    return [low - room, high + room]


def _quote_layout(x_title: str, limits: list[float] | None) -> dict[str, Any]:
    layout = _layout("Price less mid", legend=True)
    layout["xaxis"] |= {"title": {"text": x_title, "standoff": 8}, "zeroline": False}
    layout["yaxis"] |= {"zeroline": True}
    if limits:
        layout["yaxis"]["range"] = limits
    return layout


def _profit_figure(found: Document) -> Figure:
    """Return the densities of the profits as outlines, and for a single model the normal curve with its moments."""
    names = list(found["models"])
    edges = found["edges"]
    many = len(names) >= _MANY
    traces = []
    for name in [
        *(name for name in names if name in _DRAWN_FIRST),
        *(name for name in names if name not in _DRAWN_FIRST),
    ]:
        model = found["models"][name]
        density = [round(value, 9) for value in model["density"]]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": packed(np.asarray(edges)),
                "y": [*density, density[-1]],
                "line": {**_style(name, names), "shape": "hv"},
                "fill": "tozeroy" if len(names) == 1 else "none",
                "fillcolor": "var(--band)",
                "visible": "legendonly" if many and name not in _DRAWN_FIRST else True,
                "hovertemplate": f"{name}<br>%{{x:,.4~g}}: %{{y:.4f}}<extra></extra>",
            }
        )
        if len(names) == 1 and model["normal"]:
            middle = [0.5 * (low + high) for low, high in pairwise(edges)]
            traces.append(
                {
                    "type": "scatter", "mode": "lines", "name": "normal with the same mean and std",
                    "x": packed(np.asarray(middle)), "y": [round(value, 9) for value in model["normal"]],
                    "line": {"color": "var(--ink)", "dash": "dash", "width": 1.5}, "hoverinfo": "skip",
                }
            )  # fmt: skip
    layout = _layout("Density", legend=True)
    layout["xaxis"] |= {"title": {"text": "Profit of a path, quote currency", "standoff": 8}, "zeroline": False}
    layout["yaxis"]["rangemode"] = "tozero"
    return {"data": traces, "layout": layout}


def _frontier_figure(points: list[Document]) -> Figure:
    names = list(dict.fromkeys(point["family"] for point in points))
    traces = []
    for name in names:
        mine = [point for point in points if point["family"] == name]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [round(point["std"], 6) for point in mine],
                "y": [round(point["mean"], 6) for point in mine],
                "customdata": [f"{point['gamma']:g}" for point in mine],
                "line": _style(name, names),
                "marker": {"size": 6},
                "hovertemplate": f"{name}, gamma %{{customdata}}<br>mean %{{y:.4f}}, std %{{x:.4f}}<extra></extra>",
            }
        )
    layout = _layout("Mean profit", legend=True)
    layout["xaxis"] |= {"title": {"text": "Standard deviation of the profit", "standoff": 8}, "zeroline": False}
    layout["yaxis"] |= {"zeroline": False, "range": _frontier_range(points, names)}
    return {"data": traces, "layout": layout}


def _frontier_range(points: list[Document], names: list[str]) -> list[float]:
    """Return the means to show: a family that throws its mean away must not flatten all the others."""
    means = {name: [point["mean"] for point in points if point["family"] == name] for name in names}
    keeps = max(means.values(), key=min)
    top = max(max(values) for values in means.values())
    low = max(min(min(values) for values in means.values()), min(keeps) - 1.5 * (top - min(keeps)))
    room = 0.06 * ((top - low) or 1.0)
    return [low - room, top + room]


def _path_figures(path: Document) -> dict[str, Figure]:
    """Return the mid with its quotes and fills, and the inventory below."""
    time, held = np.asarray(path["time_s"]), np.asarray(path["inventory"])
    moved = np.diff(held)
    end_s = time[1:]
    bid, ask = (np.asarray(path[side], dtype=np.float64) for side in ("bid", "ask"))

    def line(name: str, y: Any, colour: str, width: float, at: Any) -> dict[str, Any]:
        return {
            "type": "scatter", "mode": "lines", "name": name, "x": packed(at), "y": packed(y),
            "line": {"color": colour, "width": width, "shape": "hv"},
            "hovertemplate": f"{name} %{{y:,.6~g}} at %{{x:.4g}} s<extra></extra>",
        }  # fmt: skip

    def fills(name: str, of_side: Any, price: Any, symbol: str, colour: str) -> dict[str, Any]:
        return {
            "type": "scatter", "mode": "markers", "name": name, "x": packed(end_s[of_side]),
            "y": packed(price[of_side]),
            "marker": {"symbol": symbol, "size": 7, "color": colour, "line": {"color": "var(--paper)", "width": 0.75}},
            "hovertemplate": f"{name} %{{y:,.6~g}} at %{{x:.4g}} s<extra></extra>",
        }  # fmt: skip

    prices = [
        line("ask", ask, "var(--fees)", 1.0, time[:-1]),
        line("bid", bid, "var(--spread)", 1.0, time[:-1]),
        line("mid", np.asarray(path["mid"]), "var(--ink)", 1.25, time),
        fills("bought", moved > 0, bid, "triangle-up", "var(--spread)"),
        fills("sold", moved < 0, ask, "triangle-down", "var(--fees)"),
    ]
    layout = _layout("Price", legend=True)
    layout["xaxis"] |= {"title": {"text": "Seconds since the start", "standoff": 8}, "zeroline": False}
    layout["yaxis"]["zeroline"] = False
    below = _layout("Inventory, units", legend=False)
    below["xaxis"] |= {"title": {"text": "Seconds since the start", "standoff": 8}, "zeroline": False}
    return {
        "path": {"data": prices, "layout": layout},
        "path_inventory": {"data": [line("inventory", held, "var(--inventory)", 1.5, time)], "layout": below},
    }


def _difference_figure(analysis: Document) -> Figure:
    """Return the paired differences of the mean with their intervals, one line a model, zero in the middle."""
    baseline = analysis["references"][0]
    rows = [row for row in analysis["differences"] if row["against"] == baseline][::-1]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "mean",
        "x": [round(row["mean"], 9) for row in rows],
        "y": [row["model"] for row in rows],
        "error_x": {
            "type": "data",
            "array": [round(row["mean_high"] - row["mean"], 9) for row in rows],
            "color": "var(--inventory)",
            "thickness": 1.75,
        },
        "marker": {"size": 8, "color": "var(--inventory)"},
        "hovertemplate": "%{y}<br>%{x:+.4f}<extra></extra>",
    }
    layout = _layout("", legend=False)
    title = f"Mean profit less {baseline}, quote currency"
    layout["xaxis"] |= {"title": {"text": title, "standoff": 8}, "zeroline": True, "zerolinewidth": 2}
    layout["yaxis"] |= {"type": "category", "showgrid": True}
    return {"data": [trace], "layout": layout}
