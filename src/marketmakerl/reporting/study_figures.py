"""The pictures of a study as plain plotly dictionaries: the heat map of budgets, the folds of a walk-forward.

Colours are names of CSS variables, as in `marketmakerl.reporting.figures`.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any

from marketmakerl.reporting import formats
from marketmakerl.reporting.figures import Figure, _layout

Analysis = dict[str, Any]


def budgets_figure(analysis: Analysis) -> Figure:
    """Return the heat map: a row a strategy format, a column a budget, coloured by what it earned over holding.

    The scale is even around zero, orange for a loss and blue for a gain; a tick marks the cells that pass the gate.
    """
    strategies = [strategy["name"] for strategy in analysis["strategies"]]
    cells = {(cell["strategy"], cell["budget"]): cell for cell in analysis["cells"]}
    rows = [[cells[name, budget] for budget in analysis["budgets"]] for name in strategies]
    values = [[_excess_percent(cell) for cell in row] for row in rows]
    extreme = max((abs(value) for row in values for value in row if value is not None), default=0.0) or 1.0
    heat = {
        "type": "heatmap",
        "x": [f"{budget:,.0f}" for budget in analysis["budgets"]],
        "y": strategies,
        "z": values,
        "zmin": -extreme,
        "zmax": extreme,
        "colorscale": [[0, "var(--failed)"], [0.5, "var(--card)"], [1, "var(--accent)"]],
        "colorbar": {"title": {"text": "%", "side": "top"}, "thickness": 12, "outlinewidth": 0},
        "text": [[_cell_text(cell) for cell in row] for row in rows],
        "texttemplate": "%{text}",
        "customdata": [[_cell_hover(cell) for cell in row] for row in rows],
        "hovertemplate": "%{y} at %{x}<br>%{customdata}<extra></extra>",
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
    }
    layout = _layout("", legend=False)
    layout["xaxis"] |= {"type": "category", "showgrid": False, "title": {"text": "Budget", "standoff": 8}}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    return {"data": [heat], "layout": layout}


def folds_figure(analysis: Analysis) -> Figure:
    """Return the folds over time: where each was trained and tested, what it chose, and whether that held."""
    folds = analysis["folds"]
    passed = [fold for fold in folds if fold["test"]["passed"]]
    failed = [fold for fold in folds if not fold["test"]["passed"]]
    bars = [
        _windows("train: the choice", folds, "train", {"color": "var(--line)"}),
        _windows("test passed", passed, "test", {"color": "var(--accent)"}),
        _windows("test failed", failed, "test", {"color": "var(--failed)", "pattern": {"shape": "/"}}),
    ]
    layout = _layout("", legend=True) | {"barmode": "overlay", "bargap": 0.35}
    layout["xaxis"] |= {"type": "date"}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    layout["yaxis"] |= {"categoryorder": "array", "categoryarray": [_fold_name(fold) for fold in folds]}
    return {"data": [bar for bar in bars if bar["y"]], "layout": layout}


def _windows(name: str, folds: list[dict[str, Any]], part: str, marker: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": [_fold_name(fold) for fold in folds],
        "base": [fold[part]["first"] for fold in folds],
        "x": [_milliseconds(fold[part]) for fold in folds],
        "marker": marker,
        "customdata": [_fold_hover(fold, part) for fold in folds],
        "hovertemplate": "%{y}, " + part + "<br>%{customdata}<extra></extra>",
    }


def _fold_name(fold: dict[str, Any]) -> str:
    return f"fold {fold['fold']}"


def _milliseconds(window: dict[str, Any]) -> float:
    first, end = (datetime.fromisoformat(window[name]) for name in ("first", "end"))
    return (end - first).total_seconds() * 1000


def _fold_hover(fold: dict[str, Any], part: str) -> str:
    window = fold[part]
    lines = [f"{formats.minute(window['first'])} to {formats.minute(window['end'])}", f"{window['bars']:,} bars"]
    chosen = escape(str(fold["chosen"]))
    if part == "train":
        return "<br>".join([*lines, f"chosen: {chosen}"])
    return "<br>".join([*lines, chosen, _result_line(fold["test"])])


def _excess_percent(cell: dict[str, Any]) -> float | None:
    metrics = cell["metrics"]
    return round(100 * metrics["excess_pnl"] / metrics["initial_budget"], 6) if metrics else None


def _cell_text(cell: dict[str, Any]) -> str:
    value = _excess_percent(cell)
    if value is None:
        return "error"
    if cell["metrics"]["fills"] == 0:
        return "no fills"
    return f"{value:+.2f}{' ✓' if cell['passed'] else ''}"


def _cell_hover(cell: dict[str, Any]) -> str:
    failed = [check["name"] for check in cell["checks"] if not check["passed"]]
    verdict = "passes the gate" if cell["passed"] else f"fails: {', '.join(failed) or 'error'}"
    return f"{_result_line(cell)}<br>{verdict}"


def _result_line(result: dict[str, Any]) -> str:
    metrics = result["metrics"]
    if not metrics:
        return escape(str(result["error"]))
    drawdown = formats.with_percent_sign(metrics["max_drawdown_pct"])
    return (
        f"pnl {formats.money(metrics['pnl'])}, over holding {formats.money(round(metrics['excess_pnl'], 6))}<br>"
        f"Sharpe {formats.ratio(metrics['sharpe'])}, drawdown {drawdown}, "
        f"{formats.count(metrics['fills'])} fills"
    )
