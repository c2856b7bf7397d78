"""The report's charts as plain plotly dictionaries.

Colours are names of CSS variables: the page's script puts in what they stand for, on load and when the reader's
colour scheme changes. Every line of a run carries `meta` = {"run": its id, "solo": whether it shows only when chosen}.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.reporting.curves import Curves, Floats, Line, packed, quantile_bands

if TYPE_CHECKING:
    from marketmakerl.reporting.summary import Run

Figure = dict[str, Any]

_BINS: Final = 60  # of a histogram of runs
_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_UNITS: Final = ((172_800.0, 86_400.0, "days"), (7_200.0, 3_600.0, "hours"), (120.0, 60.0, "minutes"))
_PARTS: Final = (  # what pnl is made of: metric, sign, name, colour, pattern (for who cannot tell the colours)
    ("gross_spread_pnl", 1, "spread", "var(--spread)", ""),
    ("inventory_pnl", 1, "inventory", "var(--inventory)", "/"),
    ("funding_pnl", 1, "funding", "var(--funding)", "x"),
    ("fees_paid", -1, "fees", "var(--fees)", "."),
)
_PATTERN: Final = {"fillmode": "overlay", "fgcolor": "var(--paper)", "fgopacity": 0.55, "size": 7, "solidity": 0.25}


def time_figures(
    curves: dict[str, Curves], drawn: list[Run], bands: list[Line], quantity_unit: str, failure: float
) -> dict[str, Figure]:
    """Return the charts over time: equity, drawdown and inventory.

    Args:
        curves: by run id; of every run that is drawn, at least.
        drawn: the runs to draw as lines.
        bands: lines of equity whose quantiles are drawn as bands; a run's own line then shows only when it is chosen.
            None: every run has its line.
        quantity_unit: what inventory is counted in.
        failure: the drawdown, a fraction, at which a run has failed.
    """
    longest_s = max((float(c.even.x[-1]) for c in curves.values()), default=0.0)
    scale, unit = _unit(longest_s)
    quantity_unit = escape(quantity_unit)  # plotly reads some HTML in its texts
    banded = bool(bands)
    equity, drawdown, inventory = [], [], []
    if banded:
        equity += _bands(bands, scale)
    for run in drawn:
        c = curves[run["run_id"]]
        equity.append(_line(run, c.equity, scale, unit, "%", solo=banded))
        drawdown.append(_line(run, c.drawdown, scale, unit, "%", solo=banded))
        inventory.append(_line(run, c.inventory, scale, unit, quantity_unit, solo=True))
    worst = min((float(c.drawdown.y.min()) for c in curves.values()), default=0.0)
    return {
        "equity": {"data": equity, "layout": _time_layout(unit, "Equity change, % of budget", legend=banded)},
        "drawdown": {
            "data": drawdown,
            "layout": _time_layout(unit, "Drawdown, % of budget") | _failure_line(worst, failure),
        },
        "inventory": {"data": inventory, "layout": _time_layout(unit, f"Inventory, {quantity_unit}")},
    }


def attribution_figure(drawn: list[Run], money_unit: str) -> Figure:
    """Return the stacked bars of pnl = spread + inventory + funding - fees, one bar a run, with pnl as a mark on it."""
    ids = [run["run_id"] for run in drawn]
    bars: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": name,
            "x": ids,
            "y": [round(sign * float(run["metrics"][metric]), 6) for run in drawn],
            "marker": {"color": colour, "pattern": {"shape": pattern, **_PATTERN}},
            "hovertemplate": f"%{{x}}<br>{name} %{{y:,.2f}}<extra></extra>",
        }
        for metric, sign, name, colour, pattern in _PARTS
        if any(run["metrics"][metric] for run in drawn) or metric != "funding_pnl"
    ]
    bars.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "pnl",
            "x": ids,
            "y": [round(float(run["metrics"]["pnl"]), 6) for run in drawn],
            "marker": {
                "symbol": "diamond",
                "size": 9,
                "color": "var(--ink)",
                "line": {"color": "var(--paper)", "width": 1.5},
            },
            "hovertemplate": "%{x}<br>pnl %{y:,.2f}<extra></extra>",
        }
    )
    layout = _layout(f"{escape(money_unit)} a run", legend=True)
    layout |= {"barmode": "relative", "bargap": 0.35}
    layout["xaxis"] |= {"type": "category", "showgrid": False, "range": [-0.6, len(ids) - 0.4]}
    layout["yaxis"]["tickformat"] = "~s"
    return {"data": bars, "layout": layout}


def spread_figures(finished: list[Run]) -> dict[str, Figure]:
    """Return how all runs ended: how often which return, and which deepest drawdown, came out."""
    figures = {}
    for name, metric, title, colour in (
        ("returns", "return_pct", "Return, % of budget", "var(--spread)"),
        ("drawdowns", "max_drawdown_pct", "Maximal drawdown, % of budget", "var(--inventory)"),
    ):
        values = 100 * np.array([float(run["metrics"][metric]) for run in finished])
        counts, edges = np.histogram(values, bins=_BINS)
        middle = float(np.median(values))
        bar = {
            "type": "bar",
            "x": packed((edges[:-1] + edges[1:]) / 2),
            "y": [int(count) for count in counts],
            "width": float(edges[1] - edges[0]),
            "marker": {"color": colour},
            "hovertemplate": "%{y:,} runs at %{x:.3f} %<extra></extra>",
        }
        layout = _layout("Runs", legend=False)
        layout["bargap"] = 0.05
        layout["xaxis"]["title"] = {"text": title, "standoff": 8}
        style = {"width": 1.5, "dash": "dash", "color": "var(--ink)"}
        layout["shapes"] = [
            {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": middle, "x1": middle, "line": style}
        ]
        layout["annotations"] = [
            {"x": middle, "y": 1, "yref": "paper", "text": f"median {middle:.3f} %", "showarrow": False}
            | {"xanchor": "left", "yanchor": "top", "xshift": 4, "font": {"color": "var(--ink)", "size": 12}}
        ]
        figures[name] = {"data": [bar], "layout": layout}
    return figures


def _unit(longest_s: float) -> tuple[float, str]:
    """Return the seconds in the unit of time that suits a run of that length, and its name."""
    return next(((scale, name) for least, scale, name in _UNITS if longest_s >= least), (1.0, "seconds"))


def _line(run: Run, line: Line, scale: float, unit: str, y_unit: str, *, solo: bool) -> dict[str, Any]:
    percent = y_unit == "%"
    value = "%{y:.3f} %" if percent else f"%{{y:.6~g}} {y_unit}"
    failed = run["status"] != "completed"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": run["run_id"],
        "showlegend": False,
        "x": packed(line.x / scale),
        "y": packed(100 * line.y if percent else line.y),
        # Between two samples the position does not change; equity does, with the market.
        "line": {
            "width": 1,
            "color": "var(--failed)" if failed else "var(--line)",
            "dash": "dot" if failed else "solid",
            "shape": "linear" if percent else "hv",
        },
        "hovertemplate": f"{run['run_id']}<br>%{{x:.2f}} {unit}: {value}<extra></extra>",
        "meta": {"run": run["run_id"], "solo": solo},
    }


def _bands(lines: list[Line], scale: float) -> list[dict[str, Any]]:
    grid, (low, quarter, middle, three_quarters, high) = quantile_bands(lines, _QUANTILES)
    x = packed(grid / scale)

    def edge(values: Floats, **more: Any) -> dict[str, Any]:
        common = {"type": "scatter", "mode": "lines", "x": x, "y": packed(100 * values), "hoverinfo": "skip"}
        return common | {"line": {"width": 0}, "showlegend": False} | more

    return [
        edge(low),
        edge(high, fill="tonexty", fillcolor="var(--band)", name="5 to 95 % of runs", showlegend=True),
        edge(quarter),
        edge(three_quarters, fill="tonexty", fillcolor="var(--band)", name="25 to 75 % of runs", showlegend=True),
        edge(middle, name="median", showlegend=True, line={"width": 1.5, "color": "var(--ink)", "dash": "dash"}),
    ]


def _failure_line(worst: float, failure: float) -> dict[str, Any]:
    """Return a line at the failing drawdown once a run has come half way to it; before, it would flatten the chart."""
    if -worst < failure / 2:
        return {}
    style = {"width": 1.5, "dash": "dash", "color": "var(--failed)"}
    shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": -100 * failure, "y1": -100 * failure}
    label = {
        "text": f"failure at {failure:.0%}",
        "textposition": "start",
        "font": {"color": "var(--failed)", "size": 12},
    }
    return {"shapes": [shape | {"line": style, "label": label}]}


def _time_layout(unit: str, y_title: str, *, legend: bool = False) -> dict[str, Any]:
    layout = _layout(y_title, legend=legend)
    layout["xaxis"]["title"] = {"text": f"Time since the run began, {unit}", "standoff": 8}
    layout["xaxis"]["rangemode"] = "tozero"
    return layout


def _layout(y_title: str, *, legend: bool) -> dict[str, Any]:
    axis = {
        "gridcolor": "var(--rule)",
        "zerolinecolor": "var(--muted)",
        "linecolor": "var(--rule)",
        "automargin": True,
        "fixedrange": False,
    }
    return {
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "var(--ink)"},
        "margin": {"l": 8, "r": 8, "t": 28 if legend else 8, "b": 8},
        "xaxis": dict(axis),
        "yaxis": axis | {"title": {"text": y_title, "standoff": 8}, "zerolinewidth": 1},
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "var(--paper)", "bordercolor": "var(--muted)", "font": {"color": "var(--ink)"}},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "var(--muted)", "activecolor": "var(--accent)"},
        "separators": ".,",
    }
