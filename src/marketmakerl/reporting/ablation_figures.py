"""The pictures of an ablation as plain plotly dictionaries: of each setting a forest of differences with intervals."""

from __future__ import annotations

from typing import Any, Final

from marketmakerl.reporting.ablation_tables import AMONG_ALL, acting
from marketmakerl.reporting.figures import Figure, _layout

_COLOUR: Final = {"helps": "var(--ok-chip)", "hurts": "var(--risk-chip)"}
_OTHER: Final = "var(--muted)"
_MEASURES: Final = (
    ("pnl_bps_day", "pnl", "Profit a day, bps of the budget, with less without"),
    ("drawdown_bps", "drawdown", "Maximum drawdown avoided, bps of the budget"),
)


def ablation_figures(analysis: dict[str, Any]) -> dict[str, Figure]:
    """Return for the i-th setting `pnl-i` and `drawdown-i`; a setting in which nothing acted has none."""
    figures = {}
    for i, entry in enumerate(analysis["settings"]):
        effects = [effect for mode in (AMONG_ALL, "alone") for effect in acting(entry, mode)]
        if effects:
            for measure, name, title in _MEASURES:
                figures[f"{name}-{i}"] = _forest(effects, measure, title)
    return figures


def _forest(effects: list[dict[str, Any]], measure: str, title: str) -> Figure:
    traces = []
    for verdict in ("helps", "hurts", ""):
        mine = [effect for effect in effects if (effect["verdict"] if effect["verdict"] in _COLOUR else "") == verdict]
        if mine:
            traces.append(_points(mine, measure, verdict))
    names = [_label(effect) for effect in effects]
    layout = _layout("", legend=False)
    # Plotly counts a category axis from below.
    layout["yaxis"] |= {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names[::-1],
        "title": {"text": ""},
    }
    layout["yaxis"] |= {"automargin": True, "showgrid": True, "range": [-0.6, len(names) - 0.4], "zeroline": False}
    layout["xaxis"] |= {"title": {"text": title, "standoff": 8}, "zeroline": True, "zerolinecolor": "var(--muted)"}
    return {"data": traces, "layout": layout}


def _points(effects: list[dict[str, Any]], measure: str, verdict: str) -> dict[str, Any]:
    colour = _COLOUR.get(verdict, _OTHER)
    values = [effect[measure] for effect in effects]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": verdict or "neither",
        "x": [round(value["mean"], 6) for value in values],
        "y": [_label(effect) for effect in effects],
        "error_x": {
            "type": "data",
            "symmetric": True,
            "array": [0.0 if value["low"] is None else round(value["high"] - value["mean"], 6) for value in values],
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        },
        "marker": {"size": 8, "color": colour, "symbol": "circle" if verdict else "circle-open"},
        "customdata": [[effect["verdict"], effect["acted"], effect["windows"]] for effect in effects],
        "hovertemplate": "%{y}<br>%{x:.3f} bps, %{customdata[0]}<br>acted in %{customdata[1]} of %{customdata[2]} "
        "windows<extra></extra>",
    }


def _label(effect: dict[str, Any]) -> str:
    return effect["control"] if effect["mode"] == AMONG_ALL else f"{effect['control']} alone"
