"""The economics of a model in the terminal: fee levels against latencies, what each level earns, and in words."""

from __future__ import annotations

from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from marketmakerl.reporting import formats

Document = dict[str, Any]

SURE: Final = ("earns", "loses")  # verdicts of an interval that holds no zero
FEWEST_INTERVALS: Final = 30  # a Sharpe ratio of fewer changes is noise with a unit
_STYLES: Final = {"earns": "green", "earns in some cells": "green", "loses": "red", "does not trade": "dim"}


def grid_tables(analysis: Document) -> list[Table]:
    """Return what cells earned in basis points of their turnover: a line a fee level; on ticks a table a queue.

    Queues in which every cell reads the same share a table.
    """
    if not analysis["queues"]:
        names = [f"{100 * share:g} %" for share in analysis["bar_volume_shares"]]
        return [_grid(analysis, "", "Share of a bar", "bar_volume_share", names)]
    names = [f"{latency_ms:g} ms" for latency_ms in analysis["latencies_ms"]]
    return [_grid(analysis, queues[0], ", ".join(queues), "latency_ms", names) for queues in alike_queues(analysis)]


def alike_queues(analysis: Document) -> list[list[str]]:
    """Return the queues, those in which every cell reads the same together; none on bars."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for queue in analysis["queues"]:
        cells = [cell for fee in range(len(analysis["levels"])) for cell in cells_of(analysis, queue, fee)]
        alike.setdefault(tuple(map(cell_text, cells)), []).append(queue)
    return list(alike.values())


def _grid(analysis: Document, queue: str, title: str, axis: str, names: list[str]) -> Table:
    table = _table("Fees", *names, right=tuple(names))
    table.title, table.title_justify, table.title_style = title, "left", ""
    for fee, level in enumerate(analysis["levels"]):
        by_cost = {cell[axis]: cell for cell in cells_of(analysis, queue, fee)}
        table.add_row(level_name(level), *(_cell_text(by_cost[cost]) for cost in axis_of(analysis, axis)))
    return table


def axis_of(analysis: Document, axis: str) -> list[float]:
    """Return the values of an axis, "latency_ms" or "bar_volume_share"."""
    values: list[float] = analysis["latencies_ms" if axis == "latency_ms" else "bar_volume_shares"]
    return values


def cells_of(analysis: Document, queue: str, fee: int) -> list[Document]:
    """Return the cells of a fee level and a queue ("" on bars), those without the edge filter left out."""
    return [
        cell
        for cell in analysis["cells"]
        if cell["edge_filter"] and cell["fee"] == fee and (cell["queue"] or "") == queue
    ]


def level_name(level: Document) -> str:
    """Return a fee level as people read it; what nobody publishes or asked for is hypothetical, and says so."""
    kind = "" if level["is_published"] or level["name"] == "given" else "hyp. "
    return f"{kind}{level['name']} {level['maker_bps']:g}/{level['taker_bps']:g}"


def cell_text(cell: Document) -> str:
    """Return what a cell earned, in basis points of its turnover, and a star where that is not chance."""
    if cell["status"] == "error":
        return "error"
    if cell["fills"] == 0:
        return "none"
    return f"{bps(cell['earned_bps'])}{'*' if cell['verdict'] in SURE else ''}"


def _cell_text(cell: Document) -> Text:
    return Text(cell_text(cell), style="red" if cell["status"] == "error" else _STYLES.get(cell["verdict"], ""))


def levels_table(analysis: Document) -> Table:
    """Return one line a fee level: how many of its cells trade, earn and lose, where its fills break even."""
    right = ("Trade", "Earn", "Lose", "Even at")
    table = _table("Fees", *right, "Verdict", right=right)
    for line in analysis["summary"]:
        table.add_row(
            level_name(line),
            f"{line['trading']}/{line['cells']}",
            str(line["earns"]),
            str(line["loses"]),
            bps(line["break_even_median_bps"]),
            Text(line["verdict"], style=_STYLES.get(line["verdict"], "")),
        )
    return table


def fee_range(line: Document, name: str) -> str:
    """Return the median of break-even fees and their range."""
    low, median, high = (line[f"{name}_{end}_bps"] for end in ("low", "median", "high"))
    return formats.NOTHING if median is None else f"{bps(median)} [{bps(low)}, {bps(high)}]"


def bps(value: float | None) -> str:
    """Format basis points to two decimals."""
    return formats.NOTHING if value is None else f"{value:z,.2f}"


def break_even_text(found: Document, unit: str) -> str:
    """Return in words where a model stops earning; `unit` of the cost, "ms" or "bps"."""
    low, high = (formats.NOTHING if found[end] is None else f"{found[end]:.4g}" for end in ("low", "high"))
    return {
        "crosses": f"{found['cost'] or 0.0:.3g} {unit} (between {low} and {high})",
        "still earns": f"still earns at {low} {unit}",
        "stops trading": f"earns up to {low} {unit}, no trade at {high}",
        "earns nothing": "earns nothing",
        "does not trade": "does not trade",
        "error": "error",
    }[found["kind"]]


def horizons_of(parts: Document) -> list[str]:
    """Return the horizons at which adverse selection is known, the shortest first (files sort them as texts)."""
    known = [horizon for horizon, value in parts["adverse"].items() if value is not None]
    return sorted(known, key=lambda horizon: float(horizon.rstrip("s")))


def sharpe(cell: Document) -> float | None:
    """Return a cell's Sharpe ratio where there are changes enough to speak of one."""
    ratio: float | None = cell["excess_sharpe"]
    return ratio if (cell["intervals"] or 0) >= FEWEST_INTERVALS else None


def fee_search_lines(analysis: Document) -> list[str]:
    """Return the maker fee at which the re-run model stops earning, by queue or share."""
    taker_bps = analysis["levels"][analysis["base"]["fee"]]["taker_bps"]
    at = f", {analysis['base']['latency_ms']:g} ms" if analysis["queues"] else ""
    texts = [
        (found["queue"] or f"{100 * found['bar_volume_share']:g} % of a bar", break_even_text(found, "bps"))
        for found in analysis["fee_break_evens"]
    ]
    return [f"Maker fee at which re-runs stop earning (taker {taker_bps:g} bps{at}): {_by_text(texts)}."]


def latency_lines(analysis: Document) -> list[str]:
    """Return, a line a fee level that earns anywhere, the latency from which on it earns nothing any more."""
    lines = []
    for fee, level in enumerate(analysis["levels"]):
        found = [one for one in analysis["latency_break_evens"] if one["fee"] == fee]
        if any(one["kind"] not in {"does not trade", "earns nothing"} for one in found):
            texts = _by_text([(one["queue"], break_even_text(one, "ms")) for one in found])
            lines.append(f"Latency at which {level_name(level)} stops earning: {texts}.")
    if analysis["queues"] and not lines:
        return ["Latency: no fee level earns anything at the lowest latency, so there is nothing to lose by more."]
    return lines


def _by_text(pairs: list[tuple[str, str]]) -> str:
    """Return what is said of each name, names of which the same is said together."""
    said: dict[str, list[str]] = {}
    for name, text in pairs:
        said.setdefault(text, []).append(name)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in said.items())


def caveats(analysis: Document) -> list[str]:
    """Return how the figures are to be read."""
    axes = (
        "Bars have no queue and no latency: their axis is the share of a bar's volume that orders can get."
        if not analysis["queues"]
        else "Latency is one way, and there are two; queues are assumptions, and front is no more than a bound."
    )
    cells = [cell for cell in analysis["cells"] if cell["edge_filter"] and cell["fills"]]
    judged = [cell for cell in cells if not cell["no_interval"]]
    steps = sorted({cell["interval_s"] for cell in judged})
    of = f"changes of equity over {', '.join(f'{step:g}' for step in steps)} s" if steps else "no cell"
    marks = (
        f"*: the 95 % interval of that cell alone (block bootstrap, {of}) holds no zero; {len(judged)} of "
        f"{len(cells)} cells that trade have an interval. hyp.: hypothetical, in no venue's table. Even at: the maker "
        "fee, bps, at which these very fills would have earned nothing, median of the cells that trade."
    )
    earned = "Earned: over holding the opening inventory. none: no fill at all, which is not the same as breaking even."
    return [earned, marks, axes]


def _table(*headings: str, right: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    return table
