"""A stress study in the terminal: one line a scenario, each figure beside its limit, a mark where it is breached."""

from __future__ import annotations

from typing import Any, Final

from rich import box
from rich.table import Table

from marketmakerl.reporting import formats

Document = dict[str, Any]
Row = dict[str, Any]

MARK: Final = "!"
BASELINES: Final = ("baseline", "before")
LEAST_UPTIME: Final = 0.10
_NO_TEST: Final = "Limits that are kept by hardly trading are not put to a test."


def check_of(row: Row, name: str) -> Row | None:
    """Return a run's check of that name; None if the limit is off or there was no run."""
    return next((check for check in row["checks"] if check["name"] == name), None)


def judged(row: Row, name: str, figure: str) -> str:
    """Format a share as a percentage, with a mark where it breaches its limit."""
    check = check_of(row, name)
    mark = MARK if check and not check["passed"] else ""
    return formats.percent(row["figures"][figure], 1) + mark


def limit_of(rows: list[Row], name: str) -> str:
    """Return the limit of a check as the head of its column has it; nothing where it is off."""
    found = [check for row in rows if (check := check_of(row, name))]
    return f" ≤{100 * found[0]['limit']:g}" if found else ""


def of_target(analysis: Document, *targets: str) -> list[Row]:
    """Return the lines of some targets."""
    return [row for row in analysis["rows"] if row["target"] in targets]


def label(row: Row) -> str:
    """Return what a line is called: its scenario, or the crisis whose calm before it is."""
    return f"{row['crisis']}, before" if row["scenario"] == "before" else str(row["scenario"])


def run_table(analysis: Document, *targets: str) -> Table:
    """Return one line a scenario on tapes: result, change against the baseline, and limits."""
    rows = [row for row in of_target(analysis, *targets) if row["figures"]]
    heads = (
        *("PnL", "Change", f"DD{limit_of(rows, 'drawdown')}", f"Inv{limit_of(rows, 'inventory')}"),
        *("Brk", "Liq", "Cost", "Up"),
    )
    table = _table("Scenario", *heads)
    for row in rows:
        figures = row["figures"]
        table.add_row(
            label(row),
            formats.money(figures["pnl"]),
            _change(row),
            judged(row, "drawdown", "max_drawdown_pct"),
            judged(row, "inventory", "inventory_pct"),
            formats.count(figures["breaker_events"]),
            formats.count(figures["liquidations"]),
            formats.money(figures["liquidation_cost"]),
            formats.percent(figures["quoted_uptime_pct"], 0),
        )
    return table


def world_table(analysis: Document) -> Table:
    """Return one line a scenario in the world: mean profit, its change, and the bad paths against the limits."""
    rows = [row for row in of_target(analysis, "world") if row["figures"]]
    heads = (
        *("Mean", "Change", f"Worst{limit_of(rows, 'failure')}", f"99 %{limit_of(rows, 'drawdown')}"),
        *(f"Inv{limit_of(rows, 'inventory')}", "Lose", "Up"),
    )
    table = _table("Scenario", *heads)
    for row in rows:
        figures = row["figures"]
        table.add_row(
            label(row),
            formats.money(figures["pnl"]),
            _change(row),
            judged(row, "failure", "worst_loss_pct"),
            judged(row, "drawdown", "loss_99_pct"),
            judged(row, "inventory", "inventory_99_pct"),
            formats.percent(figures["loss_share"], 1),
            formats.percent(figures["quoted_uptime_pct"], 0),
        )
    return table


def not_run(analysis: Document) -> list[str]:
    """Return one line a scenario that was not run, or ended in an error, and why."""
    missing = [row for row in analysis["rows"] if row["figures"] is None]
    without = {row["crisis"] for row in missing if row["scenario"] != "before"}
    return [
        f"{'not applicable' if row['why'] else 'error'}: {row['run_id']}: {row['why'] or row['error']}"
        for row in missing
        if row["scenario"] != "before" or row["crisis"] not in without
    ]


def idle(analysis: Document) -> list[str]:
    """Return one line a market on which hardly anything was quoted even without a scenario: it is no test there."""
    lines = []
    for row in analysis["rows"]:
        if row["figures"] is None or row["scenario"] not in BASELINES:
            continue
        uptime = row["figures"]["quoted_uptime_pct"]
        if row["figures"]["fills"] == 0:
            lines.append(f"{row['run_id']}: nothing was filled ({row['metrics'].get('no_fills_because')}). {_NO_TEST}")
        elif uptime < LEAST_UPTIME:
            lines.append(f"{row['run_id']}: both sides were quoted {uptime:.0%} of the time. {_NO_TEST}")
    return lines


def verdict(analysis: Document) -> str:
    """Return how many scenarios kept within every limit, in a line."""
    ran = [row for row in analysis["rows"] if row["figures"] and row["scenario"] not in BASELINES]
    breached = [row["run_id"] for row in ran if not all(check["passed"] for check in row["checks"])]
    failed = [row["run_id"] for row in ran if row["status"] == "failed_risk"]
    text = f"{len(ran) - len(breached)} of {len(ran)} scenarios kept within every limit"
    if breached:
        text += f"; breached: {', '.join(breached)}"
    if failed:
        text += f"; FAILED, more than 40 % of the budget lost: {', '.join(failed)}"
    return f"{text}."


def _change(row: Row) -> str:
    return formats.NOTHING if row["scenario"] in BASELINES else formats.money(row["pnl_change"])


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left", no_wrap=True)
    return table
