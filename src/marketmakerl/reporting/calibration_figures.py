"""The pictures of a calibration as plain plotly dictionaries; colours as in `marketmakerl.reporting.figures`."""

from __future__ import annotations

import math
from typing import Any, Final

from marketmakerl.reporting.figures import Figure, _layout

Document = dict[str, Any]  # `Calibration.as_dict`

_Z: Final = 1.959963984540054
_SIDES: Final = (("k", "both sides", "var(--ink)", "circle"), ("k_bid", "bids hit", "var(--spread)", "triangle-down"),
                 ("k_ask", "asks lifted", "var(--fees)", "triangle-up"))  # fmt: skip
_HAWKES: Final = (("hawkes", "both sides", "var(--ink)", "circle"),
                  ("hawkes_bid", "bids hit", "var(--spread)", "triangle-down"),
                  ("hawkes_ask", "asks lifted", "var(--fees)", "triangle-up"),
                  ("hawkes_cross", "with cross-excitation", "var(--funding)", "square"))  # fmt: skip


def calibration_figures(document: Document) -> dict[str, Figure]:
    """Return the charts there are data for: signature, curve, hawkes, depth, adverse."""
    details = document["details"]
    made: dict[str, Figure | None] = {
        "signature": _signature(document),
        "curve": _curve(details.get("curve") or {}),
        "hawkes": _qq(details.get("hawkes") or {}),
        "depth": _depth(details.get("depth") or []),
        "adverse": _adverse(document["estimates"]),
    }
    return {name: figure for name, figure in made.items() if figure is not None}


def _marks(name: str, x: list[float], y: list[float], errors: list[float], colour: str, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x,
        "y": y,
        "error_y": {"type": "data", "array": [_Z * error for error in errors], "thickness": 1, "width": 3},
        "marker": {"size": 7, "color": colour, "symbol": symbol},
    }


def _line(name: str, x: list[float], y: list[float], colour: str, dash: str = "solid") -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"width": 1.5, "color": colour, "dash": dash},
        "hoverinfo": "skip",
    }


def _titled(y_title: str, x_title: str, *, legend: bool, log_x: bool = False, log_y: bool = False) -> dict[str, Any]:
    layout = _layout(y_title, legend=legend)
    layout["xaxis"]["title"] = {"text": x_title, "standoff": 8}
    for axis, log in (("xaxis", log_x), ("yaxis", log_y)):
        if log:
            layout[axis] |= {"type": "log", "dtick": 1, "exponentformat": "power"}
    return layout


def _signature(document: Document) -> Figure | None:
    lines = document["details"].get("signature") or []
    if not lines:
        return None
    x = [line["interval_s"] for line in lines]
    marks = _marks(
        "realised", x, [line["sigma"] for line in lines], [line["std_error"] for line in lines], "var(--ink)", "circle"
    )
    marks["hovertemplate"] = "every %{x:~g} s: %{y:.4~g} ± %{error_y.array:.2~g}<extra></extra>"
    data = [marks]
    for name, label, colour, dash in (
        ("sigma_two_scales", "two scales", "var(--inventory)", "solid"),
        ("sigma_bipower", "bipower (no jumps)", "var(--fees)", "dash"),
    ):
        estimate = document["estimates"].get(name)
        if estimate:
            data.append(_line(label, [min(x), max(x)], [estimate["value"]] * 2, colour, dash))
    layout = _titled("Volatility, price / √s", "Sampling interval, seconds", legend=True, log_x=True)
    layout["yaxis"]["rangemode"] = "tozero"
    return {"data": data, "layout": layout}


def _curve(curves: dict[str, Any]) -> Figure | None:
    data = []
    for name, label, colour, symbol in _SIDES:
        points = [point for point in curves.get(name, {}).get("points", []) if point["rate"] > 0]
        if not points:
            continue
        x = [point["distance"] for point in points]
        marks = _marks(
            label, x, [p["rate"] for p in points], [p["std_error"] for p in points], colour, symbol
        )  # fmt: skip
        # On a log axis an interval that reaches below zero has no lower end: it stops at a fiftieth of its mark.
        down = [min(_Z * p["std_error"], 0.98 * p["rate"]) for p in points]
        marks["error_y"] |= {"symmetric": False, "arrayminus": down}
        marks["hovertemplate"] = f"{label}<br>%{{x:.6~g}}: %{{y:.4~g}} a second<extra></extra>"
        data += [marks, _line(f"{label}, fitted", x, [p["fitted"] for p in points], colour)]
    if not data:
        return None
    layout = _titled("Orders reaching it, 1/s", "Distance from the mid, price", legend=True, log_y=True)
    return {"data": data, "layout": layout}


def _qq(fits: dict[str, Any]) -> Figure | None:
    data: list[dict[str, Any]] = []
    longest = 0.0
    for name, label, colour, symbol in _HAWKES:
        quantiles = fits.get(name, {}).get("quantiles", [])
        if not quantiles:
            continue
        longest = max(longest, *(q["expected"] for q in quantiles))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label,
                "x": [q["expected"] for q in quantiles],
                "y": [q["measured"] for q in quantiles],
                "marker": {"size": 6, "color": colour, "symbol": symbol},
                "hovertemplate": f"{label}<br>expected %{{x:.3~g}}, measured %{{y:.3~g}}<extra></extra>",
            }
        )
    if not data:
        return None
    data.insert(0, _line("if the model is right", [0.0, longest], [0.0, longest], "var(--muted)", "dash"))
    return {"data": data, "layout": _titled("Measured quantile", "Quantile of the exponential", legend=True)}


def _depth(lines: list[dict[str, float]]) -> Figure | None:
    if not lines:
        return None
    data = [
        {
            "type": "bar",
            "name": label,
            "x": [line["distance"] for line in lines],
            "y": [line[side] for line in lines],
            "marker": {"color": colour},
            "hovertemplate": f"{label}, from %{{x:.6~g}}: %{{y:.4~g}}<extra></extra>",
        }
        for side, label, colour in (("bid", "bids", "var(--spread)"), ("ask", "asks", "var(--fees)"))
    ]
    layout = _titled(
        "Mean size in a bin, quantity", "Distance from the touch, price (near edge of the bin)", legend=True
    )
    return {"data": data, "layout": layout | {"barmode": "group", "bargap": 0.25}}


def _adverse(estimates: dict[str, Any]) -> Figure | None:
    known = [
        (float(name.removeprefix("adverse_move_").removesuffix("s")), made)
        for name, made in estimates.items()
        if name.startswith("adverse_move_") and made
    ]
    if not known:
        return None
    known.sort(key=lambda pair: pair[0])
    x, values = [horizon for horizon, _ in known], [made for _, made in known]
    marks = _marks(
        "moved", x, [m["value"] for m in values], [m["std_error"] or math.nan for m in values], "var(--ink)", "circle"
    )
    marks |= {"mode": "lines+markers", "line": {"width": 1, "color": "var(--line)"}}
    marks["hovertemplate"] = "%{x:~g} s: %{y:.4~g} ± %{error_y.array:.2~g}<extra></extra>"
    data = [marks]
    immediate = estimates.get("adverse_move")
    if immediate:
        data.append(
            _line("at the next message", [min(x), max(x)], [immediate["value"]] * 2, "var(--inventory)", "dash")
        )
    layout = _titled("Mid against the maker, price", "Seconds after the order", legend=True, log_x=True)
    layout["yaxis"]["rangemode"] = "tozero"
    return {"data": data, "layout": layout}
