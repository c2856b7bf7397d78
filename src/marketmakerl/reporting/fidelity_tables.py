"""A fidelity study in the terminal: what was measured, and how far bars were from ticks."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from marketmakerl.reporting import formats

Document = dict[str, Any]


def recordings_table(analysis: Document) -> Table:
    """Return one line a recording that was measured: minutes, trades, size of a quote and median spread."""
    right = ("Minutes", "Trades", "Quote", "Spread bps")
    table = _table("Recording", *right, right=right)
    for entry in analysis["recordings"]:
        facts = entry["facts"]
        if facts:
            table.add_row(
                entry["name"],
                f"{facts['seconds'] / 60:.1f}",
                formats.count(facts["trades"]),
                formats.quantity(facts["order_qty"]),
                bps(facts["median_spread_bps"]),
            )
    return table


def refusals(analysis: Document) -> list[str]:
    """Return one line a recording that was not measured, and why."""
    refused = [entry for entry in analysis["recordings"] if entry["refused"]]
    return [f"not measured: {entry['name']}: {entry['refused']}" for entry in refused]


def fidelity_table(analysis: Document) -> Table:
    """Return one line a bar length and queue at the first latency, over all recordings and models."""
    right = ("Bars", "n", "Ratio", "10-90 %", "Prec", "Rec", "Mark", "PnL", "Order")
    table = _table("Bars", "Queue", *right[1:], right=right)
    for line in analysis["summary"]:
        if line["latency_ms"] == analysis["rules"]["latencies_ms"][0]:
            table.add_row(
                f"{line['bar_s']} s",
                line["queue"] if line["clock"] == "bar" else f"{line['queue']} {line['clock']}",
                str(line["comparisons"]),
                times(line["ratio_median"]),
                spread_of(line),
                formats.percent(line["precision"], 0),
                formats.percent(line["recall"], 0),
                bps(line["markout_gap_bps"]),
                bps(line["pnl_gap_bps"]),
                bps(line["rank_correlation"]),
            )
    return table


def asked(line: Document) -> str:
    """Return how often the model was asked on ticks."""
    return "each bar" if line["clock"] == "bar" else str(line["clock"])


def times(ratio: float | None) -> str:
    """Format a ratio of quantities to two decimals."""
    return formats.NOTHING if ratio is None else f"{ratio:,.2f}"


def bps(value: float | None) -> str:
    """Format basis points to two decimals."""
    return formats.NOTHING if value is None else f"{value:z,.2f}"


def spread_of(line: Document) -> str:
    """Return the 10 and 90 % points of the ratios."""
    if line["ratio_p10"] is None:
        return formats.NOTHING
    return f"{line['ratio_p10']:.2f}-{line['ratio_p90']:.2f}"


def verdicts(line: Document, gap: str) -> str:
    """Return how many 95 % intervals of a gap lie above zero, below it, and how many there are."""
    return f"{line[f'{gap}_above']}/{line[f'{gap}_below']} of {line['intervals']}"


def _table(*headings: str, right: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    return table
