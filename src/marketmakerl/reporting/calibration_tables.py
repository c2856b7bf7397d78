"""A calibration as tables: what was estimated, how well the models fit, and what the data do not say."""

from __future__ import annotations

from typing import Any, Final

from rich import box
from rich.table import Table

from marketmakerl.reporting import formats

Document = dict[str, Any]  # `Calibration.as_dict`
Row = dict[str, Any]

# Name, what a person calls it; in the order of reading. What is not listed follows at the end under its own name.
LABELS: Final = {
    "sigma": "volatility (sigma)",
    "sigma_two_scales": "sigma, two scales",
    "sigma_realised": "sigma, realised",
    "sigma_bipower": "sigma, bipower",
    "jump_share": "share of jumps",
    "arrival_rate": "arrival rate (A)",
    "k": "decay (k)",
    "arrival_rate_bid": "A, bids hit",
    "k_bid": "k, bids hit",
    "arrival_rate_ask": "A, asks lifted",
    "k_ask": "k, asks lifted",
    "adverse_move": "adverse move, next message",
    "adverse_move_0.1s": "adverse move, 0.1 s",
    "adverse_move_1s": "adverse move, 1 s",
    "adverse_move_5s": "adverse move, 5 s",
    "adverse_move_10s": "adverse move, 10 s",
    "adverse_move_60s": "adverse move, 60 s",
    "spread": "spread",
    "order_size": "size of a market order",
}
_PARTS: Final = {
    "baseline": "baseline",
    "excitation": "excitation",
    "cross_excitation": "cross-excitation",
    "decay": "decay",
    "branching": "branching ratio",
}
_FITS: Final = {
    "hawkes": "Hawkes",
    "hawkes_bid": "Hawkes, bids hit",
    "hawkes_ask": "Hawkes, asks lifted",
    "hawkes_cross": "Hawkes, crossed",
}
_CURVES: Final = {"k": "both sides", "k_bid": "bids hit", "k_ask": "asks lifted"}


def label_of(name: str) -> str:
    """Return what a person calls an estimate."""
    if not _is_hawkes(name):
        return LABELS.get(name, name)
    fit, _, part = name.partition(".")
    return f"{_FITS.get(fit, fit)}: {_PARTS.get(part, part)}"


def _is_hawkes(name: str) -> bool:
    return name.startswith("hawkes")


def estimate_rows(document: Document) -> list[Row]:
    """Return the estimates there are: name, label, value, std_error, low, high, unit, n, method."""
    estimates = document["estimates"]
    order = [*LABELS, *(f"{fit}.{part}" for fit in _FITS for part in _PARTS)]
    names = [name for name in order if name in estimates] + [name for name in estimates if name not in order]
    rows = []
    for name in names:
        made = estimates[name]
        if made is None:
            continue
        error = made["std_error"]
        ends = (None, None) if error is None else (made["value"] - 1.96 * error, made["value"] + 1.96 * error)
        rows.append({"name": name, "label": label_of(name), **made, "low": ends[0], "high": ends[1]})
    return rows


def refusal_rows(document: Document) -> list[Row]:
    """Return what was refused, one line a reason: labels, reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in document["reasons"].items():
        by_reason.setdefault(reason, []).append(label_of(name))
    return [{"labels": ", ".join(labels), "reason": reason} for reason, labels in by_reason.items()]


def goodness_rows(document: Document) -> list[Row]:
    """Return how well each model fits: model, verdict, figures as text, and whether it is of both sides (main)."""
    details = document["details"]
    rows = [
        {
            "model": f"A e^(-kδ), {_CURVES[name]}",
            "figures": _curve_text(curve),
            "verdict": _curve_verdict(curve),
            "main": name == "k",
        }
        for name, curve in (details.get("curve") or {}).items()
    ]
    for name, fit in (details.get("hawkes") or {}).items():
        better = 2 * (fit["log_likelihood"] - fit["poisson_log_likelihood"])
        figures = (
            f"KS {fit['ks']:.3f}, {_p(fit['p_value_ks'])}; against Poisson LR {better:,.0f}, "
            f"{_p(fit['p_value_poisson'])}"
        )
        verdict = "fits" if fit["p_value_ks"] > 0.05 else "explains part of it"
        rows.append({"model": _FITS.get(name, name), "figures": figures, "verdict": verdict, "main": name == "hawkes"})
    if jumps := details.get("jumps"):
        verdict = "jumps" if jumps["p_value"] < 0.01 else "no clear jumps"
        text = f"{_p(jumps['p_value'])} of no jumps; {jumps['zero_returns']:.0%} of returns zero"
        rows.append(
            {"model": f"jumps, grid {jumps['interval_s']:g} s", "figures": text, "verdict": verdict, "main": True}
        )
    return rows


def _curve_text(curve: Row) -> str:
    parts = [f"from δ = {curve['delta_min']:.6g}: KS {curve['ks']:.3f}"]
    if curve["r2"] is not None:
        parts.append(f"R² of the log {curve['r2']:.3f}")
    if curve.get("p_value") is not None:
        parts.append(f"χ² {curve['chi2']:,.0f} on {curve['dof']}, {_p(curve['p_value'])}")
    if "aic_power_less_exponential" in curve:
        parts.append(f"AIC of a power law {curve['aic_power_less_exponential']:+,.0f}")
    if "overdispersion" in curve:
        parts.append(f"clustering x{curve['overdispersion']:.1f}")
    if "zero_share" in curve:
        parts.append(f"{curve['zero_share']:.0%} of bars do not go beyond the close before")
    return ", ".join(parts)


def _curve_verdict(curve: Row) -> str:
    if curve.get("aic_power_less_exponential", 0.0) < -10:
        return "a power law fits better"
    p = curve.get("p_value")
    if p is not None and p > 0.05:
        return "fits"
    return "close" if curve["ks"] < 0.1 else "poor: k depends on delta_min"


def _p(value: float | None) -> str:
    if value is None:
        return f"p {formats.NOTHING}"
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def number(value: float | None) -> str:
    """Format an estimate to six significant digits, with separators only where they help to read it."""
    if value is None:
        return formats.NOTHING
    return f"{value:,.0f}" if abs(value) >= 1e6 else f"{value:.5g}"


def estimates_table(document: Document) -> Table:
    """Return the estimates for a terminal of 80 columns; of the Hawkes fits only the one of both sides."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Estimate", no_wrap=True)
    for heading in ("Value", "Std error"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Unit", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for row in estimate_rows(document):
        if _is_hawkes(row["name"]) and not row["name"].startswith("hawkes."):
            continue
        error = formats.NOTHING if row["std_error"] is None else f"{row['std_error']:.2g}"
        cells = (row["label"], number(row["value"]), error, row["unit"], formats.count(row["n"]))
        table.add_row(*cells, style="bold" if row["name"] in {"sigma", "k", "arrival_rate"} else "")
    return table


def goodness_table(document: Document) -> Table:
    """Return how well the models of both sides fit, for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("Model", "Verdict", "Goodness of fit"):
        table.add_column(heading)
    for row in goodness_rows(document):
        if row["main"]:
            table.add_row(row["model"], row["verdict"], row["figures"])
    return table


def evidence_line(document: Document) -> str:
    """Return what a reader must know before any number."""
    from marketmakerl.reporting.page import evidence  # noqa: PLC0415  (jinja2: only where it is shown)

    told = evidence({"tier": document["tier"], "config": {}})
    first, last = formats.window(document["first_ns"], document["last_ns"])
    span = f"{document['source']}, {first} to {last}, {document['observed_s']:,.0f} s observed."
    approximate = f" Approximate: {document['approximate']}." if document["approximate"] else ""
    return f"{told} {span}{approximate} A run on these very data looks ahead."


def orders_line(document: Document) -> str:
    """Return what became of the trades, "" for bars."""
    orders = document["details"].get("orders")
    if not orders:
        return ""
    clock = {1_000_000: "milliseconds", 1_000: "microseconds"}.get(orders["clock_ns"], "nanoseconds")
    parts = [
        f"{orders['trades']:,} trades are {orders['orders']:,} market orders (one time and side; stamps in {clock})"
    ]
    if orders["unknown_side"]:
        parts.append(f"{orders['unknown_side']:,} of unknown side left out")
    if orders["without_book"]:
        parts.append(f"{orders['without_book']:,} with no known book before them left out")
    if orders["stretches"] > 1:
        parts.append(f"{orders['stretches']:,} stretches between gaps")
    return "; ".join(parts) + "."
