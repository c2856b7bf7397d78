"""The model world in the terminal: one model's figures, a ranking, the ceiling, and the quotes of the optimum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.measure import Measurement
from rich.table import Table

from marketmakerl.reporting import formats

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

Document = dict[str, Any]

EVIDENCE: Final = (
    "Tier T2, a model world: exact or sampled under the assumptions named here, and evidence of nothing beyond them; "
    "it can never pass a research gate."
)
_TABLE_REACH: Final = 5  # order sizes, of the table of quotes
_FEW_PATHS: Final = 100.0
_UNLIMITED: Final = 10_000
_FIGURES: Final = (  # name, what a reader calls it, whether it has an interval, its exact name
    ("mean", "mean profit", True, "mean"),
    ("std", "std of profit", True, "std"),
    ("certainty_equivalent", "certainty equivalent", True, "certainty_equivalent"),
    ("inventory_std", "std of inventory at the end", True, "inventory_std"),
    ("mean_spread", "mean spread quoted", False, "mean_spread"),
    ("fills_mean", "fills a path", False, None),
)


def figure(value: float | None) -> str:
    """Format a figure of a world to six digits, four of them decimals at most."""
    if value is None:
        return formats.NOTHING
    if 1e-12 < abs(value) < 1e-3:
        return f"{value:.2g}"
    digits = max(0, min(4, 6 - len(f"{abs(value):.0f}")))
    return f"{value:z,.{digits}f}"


def interval(low: float | None, high: float | None) -> str:
    """Format two ends."""
    return formats.NOTHING if low is None or high is None else f"{figure(low)} to {figure(high)}"


def what_ran(analysis: Document) -> list[str]:
    """Return what a reader must know before any number."""
    return [EVIDENCE, world_sentence(analysis), _sample_sentence(analysis)]


def world_sentence(analysis: Document) -> str:
    """Return the world in a sentence; what is off is not mentioned."""
    world = analysis["world"]
    parts = [
        f"{world['mid']['id'].replace('_', ' ')} mid from {world['s0']:g} with sigma {world['sigma']:.6g}",
        f"{analysis['steps']:,} steps of {world['dt_s']:g} s",
        f"{world['fill']} fills at {world['arrival_rate']:.6g} a second",
    ]
    curve = world["curve"]["id"]
    parts[-1] += f", falling by k = {world['k']:.6g}" if curve == "exponential" else f" on the {curve} curve"
    if world["arrivals"] is not None:
        parts.append("in bursts (Hawkes)")
    for name, text in (
        ("fee_per_unit", "fee {:g} a unit"), ("drift", "drift {:g}"), ("adverse_move", "adverse move {:g} a fill"),
        ("latency_steps", "quotes {} steps late"), ("q_max", "inventories looked at up to {}"),
        ("inventory_limit", "inventory bound by {}"),
    ):  # fmt: skip
        if world[name]:
            parts.append(text.format(world[name]))
    if world["order_size"] != 1.0:
        parts.append(f"orders of {world['order_size']:g}")
    return f"World: {'; '.join(parts)}."


def _sample_sentence(analysis: Document) -> str:
    aversion = f"gamma {analysis['gamma']:.6g}"
    if analysis["kind"] == "optimum":
        if analysis["objective"]["id"] == "running_penalty":
            aversion = f"{aversion} (of the models), phi {analysis['phi']:g}, alpha {analysis['alpha']:g}"
        return f"Exact, nothing is sampled; {aversion}."
    return f"{analysis['n_paths']:,} paths of each model, seed {analysis['seed']}; {aversion}."


def simulation_table(analysis: Document) -> Table:
    """Return one line a figure: sampled, its interval, and exact."""
    (line,) = analysis["models"]
    metrics, exact = line["metrics"], line["metrics"]["exact"]
    right = ["Sampled", f"{100 * analysis['level']:g} % interval", "Exact"]
    table = _table([line["name"], *right])
    for name, text, has_interval, exactly in _FIGURES:
        ends = interval(metrics[f"{name}_low"], metrics[f"{name}_high"]) if has_interval else ""
        known = figure(exact[exactly]) if exact and exactly else ""
        table.add_row(text, figure(_number(metrics[name])), ends, known)
    loss = interval(100 * metrics["loss_share_low"], 100 * metrics["loss_share_high"])
    table.add_row("paths that lose, %", formats.percent(metrics["loss_share"]), loss, "")
    clipped = formats.percent(exact["clipped_share"], 4) if exact else ""
    table.add_row("quotes clipped, %", formats.percent(metrics["clipped_share"], 4), "", clipped)
    table.add_row("profit, 5 % of paths below", figure(metrics["profit_p05"]), "", "")
    table.add_row("profit, 5 % of paths above", figure(metrics["profit_p95"]), "", "")
    for text, value in limit_rows(metrics):
        table.add_row(text, value, "", "")
    return table


def limit_rows(metrics: Document) -> list[tuple[str, str]]:
    """Return what the limits of a simulation did, none where there were none."""
    if "halted_share" not in metrics:
        return []
    return [
        ("paths halted, %", formats.percent(metrics["halted_share"])),
        ("paths that ended reducing, %", formats.percent(metrics["reduced_share"])),
        ("exits a path", figure(metrics["exits_mean"])),
        ("cost of what was taken off", figure(metrics["forced_cost_mean"])),
        ("maximum drawdown, mean, %", formats.percent(metrics["max_drawdown_mean"], 3)),
        ("maximum drawdown, 5 % above, %", formats.percent(metrics["max_drawdown_p95"], 3)),
    ]


def sure_of(analysis: Document) -> list[str]:
    """Return what a reader should know of the figures' worth."""
    found = {line["name"]: line["metrics"] for line in analysis["models"]}
    notes = []
    for why in dict.fromkeys(metrics["why_sampled"] for metrics in found.values()):
        names = [name for name, metrics in found.items() if metrics["why_sampled"] == why]
        if why and why != "not asked for":
            whose = "" if len(names) == len(found) else f" of {', '.join(names)}"
            notes.append(f"No exact figures{whose}: {why}.")
    few = [
        f"{name} ({metrics['effective_paths']:.0f})"
        for name, metrics in found.items()
        if not metrics["exact"] and metrics["effective_paths"] < _FEW_PATHS
    ]
    if few:
        notes.append(
            f"Do not trust the certainty equivalent of {', '.join(few)}: it hangs on so many paths' worth of the "
            "sample, the worst ones."
        )
    return notes


def ceiling_sentence(analysis: Document) -> str:
    """Return how far the model of a simulation stays below the optimum; "" where that is not known."""
    best = analysis["ceiling"]
    if best is None:
        return ""
    standing, optimum = best["model"], best["optimum"]
    share = formats.NOTHING if standing["left_share"] is None else formats.with_percent_sign(standing["left_share"])
    return (
        f"The exact optimum's certainty equivalent is {figure(optimum['value'])} (mean {figure(optimum['mean'])}, "
        f"std {figure(optimum['std'])}): {figure(standing['left'])} or {share} is left on the table."
    )


@dataclass(frozen=True)
class CompareTable:
    """A ranking that fits itself to the width it is given, 80 columns or more.

    Attributes:
        analysis: of `mml compare`.
    """

    analysis: Document

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for columns in _COMPARED:
            table = self._table(columns)
            if Measurement.get(console, options.update(max_width=_UNLIMITED), table).maximum <= options.max_width:
                break
        yield table

    def _table(self, columns: tuple[str, ...]) -> Table:
        analysis = self.analysis
        table = _table(["", "Model", *columns], right=columns)
        for line in analysis["models"]:
            cells = compared_cells(analysis, line)
            table.add_row(str(line["rank"]), line["name"], *(cells[column] for column in columns))
        return table


_COMPARED: Final = (  # fullest first
    ("CE", "Left", "Mean", "Std", "Std q", "Spread", "Loss %", "Clip %", "Fills", "Less baseline"),
    ("CE", "Left", "Mean", "Std", "Std q", "Less baseline"),
    ("CE", "Left", "Mean", "Std", "Less baseline"),
    ("CE", "Left", "Mean", "Std"),
)


def compared_cells(analysis: Document, line: Document) -> dict[str, str]:
    """Return a line of a ranking as texts by heading; exact where it can be."""
    metrics = line["metrics"]
    best = metrics["exact"] or metrics
    baseline = analysis["references"][0]
    less = [d for d in analysis["differences"] if (d["model"], d["against"]) == (line["name"], baseline)]
    return {
        "CE": two(best["certainty_equivalent"]),
        "Left": two(metrics["left"]),
        "Mean": two(best["mean"]),
        "Std": two(best["std"]),
        "Std q": two(best["inventory_std"]),
        "Spread": two(_number(best["mean_spread"])),
        "Loss %": formats.percent(metrics["loss_share"]),
        "Clip %": formats.percent(best["clipped_share"]),
        "Fills": f"{metrics['fills_mean']:,.1f}",
        "Less baseline": signed(less[0]) if less else "baseline",
    }


def signed(difference: Document) -> str:
    """Format a difference of means and half of its interval; a star where the interval holds no zero."""
    low, high = difference["mean_low"], difference["mean_high"]
    half, star = 0.5 * (high - low), " *" if low > 0.0 or high < 0.0 else "  "
    digits = min(max(1 - math.floor(math.log10(half)), 0), 6) if half > 0.0 else 2
    return f"{difference['mean']:+z,.{digits}f} ± {half:,.{digits}f}{star}"


def two(value: float | None) -> str:
    """Format an amount to the cent, from a thousand on without, a smaller one to two digits."""
    return formats.money(value) if value is None or abs(value) < 1000.0 else f"{value:,.0f}"


def how_compared(analysis: Document) -> list[str]:
    """Return how the ranking is to be read."""
    exact = all(line["metrics"]["exact"] for line in analysis["models"])
    first, baseline = analysis["models"][0]["name"], analysis["references"][0]
    kind = "exact like mean and std" if exact else "sampled where not exact"
    ranked = (
        f"Ranked by certainty equivalent (CE), {kind}; Left: below {first}. "
        f"Less baseline: sampled mean less that of {baseline}, path by path."
    )
    together = (
        f"{analysis['pairs']} differences of {len(analysis['models'])} models were looked at: each interval is taken "
        f"at {100 * analysis['pair_level']:.4g} %, so that all hold together at {100 * analysis['level']:g} % "
        "(Bonferroni). * holds no zero."
    )
    notes = [ranked, together]
    if analysis["missing_optimum"]:
        notes.append(f"Not below an optimum: {analysis['missing_optimum']}.")
    return [*notes, *sure_of(analysis)]


def optimum_table(analysis: Document) -> Table:
    """Return one line a model: what it earns and risks, and what it leaves."""
    penalised = analysis["objective"]["id"] == "running_penalty"
    headings = ["Mean", "Std", "Std q", "Value" if penalised else "CE", "Left", "Left %"]
    table = _table(["Model", *headings])
    for line in analysis["models"]:
        m = line["metrics"]
        table.add_row(
            line["name"], figure(m["mean"]), figure(m["std"]), figure(m["inventory_std"]), figure(m["value"]),
            figure(m["left"]), formats.percent(m["left_share"]),
        )  # fmt: skip
    return table


def quotes_table(analysis: Document) -> Table:
    """Return the distances of the optimum's quotes at small inventories: at the start, half way, in the last step."""
    grid = analysis["pictures"]["quotes"]
    name = analysis["models"][0]["name"]
    times = [f"{time_s:.4g} s" for time_s in grid["times_s"]]
    table = _table(["q", *(f"{side} {time}" for time in times for side in ("bid", "ask"))])
    table.title, table.title_justify = f"{name}: distances from the mid, by inventory q and time", "left"
    table.title_style = ""
    for column, q in enumerate(grid["inventories"]):
        if abs(q) <= _TABLE_REACH:
            cells = [grid["by_inventory"][name][row][column] for row in range(len(times))]
            table.add_row(f"{q:+d}" if q else "0", *(figure(value) for cell in cells for value in cell))
    return table


def _number(value: float | None) -> float | None:
    """Return a figure, None where it is undefined."""
    return None if value is None or value != value else value  # noqa: PLR0124  (NaN is not itself)


def _table(headings: list[str], right: tuple[str, ...] | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        if number > 0 if right is None else heading in right:
            table.add_column(heading, justify="right", no_wrap=True)
        else:  # a name may go on in the next line, a number may not
            table.add_column(heading, overflow="fold")
    return table
