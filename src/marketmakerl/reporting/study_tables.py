"""A study in the terminal: the checks of a gate, the cells of research budgets, the folds of a walk-forward."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from marketmakerl.reporting import formats

Document = dict[str, Any]


def checks_table(checks: list[Document]) -> Table:
    """Return one line a check: name, value, threshold, verdict, why."""
    table = _table("Check", "Value", "Threshold", "Verdict", "Why", right=("Value", "Threshold"))
    for check in checks:
        table.add_row(
            check["name"], number(check["value"]), number(check["threshold"]), _verdict(check["passed"]),
            Text(check["why"]),
        )  # fmt: skip
    return table


def budgets_table(analysis: Document) -> Table:
    """Return one line a strategy format and one column a budget: earned over holding in percent, and the verdict."""
    budgets = [f"{budget:,.0f}" for budget in analysis["budgets"]]
    table = _table("Strategy", *budgets, right=tuple(budgets))
    cells = {(cell["strategy"], cell["budget"]): cell for cell in analysis["cells"]}
    for strategy in analysis["strategies"]:
        row = [_cell(cells[strategy["name"], budget]) for budget in analysis["budgets"]]
        table.add_row(strategy["name"], *row)
    return table


def folds_table(analysis: Document) -> Table:
    """Return one line a fold: its test window, what train chose, and how the one test went (pnl over holding)."""
    right = ("Fold", "PnL", "Sharpe", "DD %", "Fills")
    table = _table("Fold", "Test from", "Chosen on train", "PnL", "Sharpe", "DD %", "Fills", "Verdict", right=right)
    for fold in analysis["folds"]:
        test, metrics = fold["test"], fold["test"]["metrics"]
        result = [formats.NOTHING] * 4
        if metrics:
            result = [
                formats.money(round(metrics["excess_pnl"], 6)),  # float noise reads as zero
                formats.ratio(metrics["sharpe"]),
                formats.percent(metrics["max_drawdown_pct"]),
                formats.count(metrics["fills"]),
            ]
        first = f"{test['first'][5:10]} {test['first'][11:16]}"
        verdict = _verdict(test["passed"]) if metrics else Text("error", style="red")
        table.add_row(str(fold["fold"]), first, fold["chosen"] or formats.NOTHING, *result, verdict)
    return table


def number(value: float | str | None) -> str:
    """Format a value or a threshold of a check: text as it is, a count whole, anything else to four digits."""
    if value is None:
        return formats.NOTHING
    if isinstance(value, str):
        return value
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _table(*headings: str, right: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        wraps = heading == "Why"
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=not wraps)
    return table


def _verdict(passed: bool) -> Text:
    return Text("pass", style="green") if passed else Text("FAIL", style="red")


def _cell(cell: Document) -> Text:
    metrics = cell["metrics"]
    if not metrics:
        return Text("error", style="red")
    if metrics["fills"] == 0:
        return Text("no fills", style="dim")
    share = formats.percent(metrics["excess_pnl"] / metrics["initial_budget"])
    return Text(f"{share} pass", style="green") if cell["passed"] else Text(share)
