"""A campaign in the terminal: one line a run, the sums, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from marketmakerl.reporting import formats
from marketmakerl.reporting.summary import has_window

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from marketmakerl.reporting.summary import Run

_WIDE: Final = 100  # columns from which there is room for whole words and dates
_MOST_ROWS: Final = 60  # more runs than this are shown by their two ends
_END_ROWS: Final = 10
_MOST_ERRORS: Final = 10
_STATUS_STYLE: Final = {"completed": "green", "failed_risk": "yellow", "error": "red"}
_SHORT_STATUS: Final = {"completed": "ok", "failed_risk": "risk", "error": "error"}
_COLUMNS: Final = (  # at 100 columns and more, below that
    ("PnL", "PnL"),
    ("Return %", "Ret %"),
    ("Max DD %", "DD %"),
    ("Sharpe", "Sharpe"),
    ("Fills", "Fills"),
    ("Fees", "Fees"),
    ("Uptime %", "Up %"),
)


def campaign_table(runs: list[Run], summary: dict[str, Any]) -> CampaignTable:
    """Return what to print of a campaign.

    Args:
        runs: the lines of runs.jsonl.
        summary: `summarise(runs)`.
    """
    return CampaignTable(runs, summary)


@dataclass(frozen=True)
class CampaignTable:
    """A rich renderable that fits itself to the width it is given, 80 columns or more.

    Attributes:
        runs: the lines of runs.jsonl.
        summary: `summarise(runs)`.
    """

    runs: list[Run]
    summary: dict[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= _WIDE
        yield self._table(wide)
        yield self._sentence()
        yield from self._errors()

    def _table(self, wide: bool) -> Table:
        windows = any(has_window(run) for run in self.runs)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_footer=False)
        table.add_column("Run", no_wrap=True)
        table.add_column(("Window" if wide else "From") if windows else "Seed", no_wrap=True, justify="right")
        table.add_column("Status", no_wrap=True)
        for long, short in _COLUMNS:
            table.add_column(long if wide else short, justify="right", no_wrap=True)
        shown, left_out = self._shown()
        for run in shown:
            table.add_row(*_cells(run, wide, windows))
        table.add_section()
        table.add_row(*_total_cells(self.summary), style="bold")
        if left_out:
            table.caption = (
                f"The {_END_ROWS} worst and the {_END_ROWS} best by return; "
                f"{left_out:,} runs lie between, all of them in summary.csv."
            )
            table.caption_justify = "left"
        return table

    def _shown(self) -> tuple[list[Run], int]:
        if len(self.runs) <= _MOST_ROWS:
            return self.runs, 0
        with_metrics = [run for run in self.runs if run.get("metrics")]
        ranked = sorted(with_metrics, key=lambda run: float(run["metrics"]["return_pct"]))
        shown = ranked if len(ranked) <= 2 * _END_ROWS else ranked[:_END_ROWS] + ranked[-_END_ROWS:]
        return shown, len(self.runs) - len(shown)

    def _sentence(self) -> Text:
        s = self.summary
        parts = [
            f"{s['count']:,} runs: {s['completed']:,} completed, {s['failed_risk']:,} failed_risk, {s['errors']:,} errors"
        ]
        if s["mean_pnl"] is not None:
            parts += [
                f"pnl mean {formats.money(s['mean_pnl'])}, median {formats.money(s['median_pnl'])}",
                f"{formats.with_percent_sign(s['profitable_share'], 0)} of runs earned",
                f"worst drawdown {formats.with_percent_sign(s['worst_drawdown_pct'])}",
                f"median Sharpe {formats.ratio(s['median_sharpe'])}",
            ]
        return Text("; ".join(parts) + ".")

    def _errors(self) -> RenderResult:
        failed = [run for run in self.runs if run["status"] == "error"]
        for run in failed[:_MOST_ERRORS]:
            # Text, not markup: an error may hold anything.
            yield Text.assemble((f"{run['run_id']}: ", "red"), " ".join(str(run.get("error")).split()))
        if len(failed) > _MOST_ERRORS:
            yield Text(f"{len(failed) - _MOST_ERRORS:,} more errors, all of them in summary.csv.")


def _cells(run: Run, wide: bool, windows: bool) -> list[Text | str]:
    status = str(run["status"])
    label = status if wide else _SHORT_STATUS.get(status, status)
    if not windows:
        which = str(run.get("seed", formats.NOTHING))
    elif not has_window(run):
        which = formats.NOTHING
    elif wide:
        which = f"{formats.day(run['first_ns'])} → {formats.day(run['last_ns'])}"
    else:
        which = formats.day(run["first_ns"])
    cells: list[Text | str] = [Text(str(run["run_id"])), which, Text(label, style=_STATUS_STYLE.get(status, ""))]
    metrics = run.get("metrics")
    if not metrics:
        return cells + [formats.NOTHING] * len(_COLUMNS)
    pnl = float(metrics["pnl"])
    return [
        *cells,
        Text(formats.money(pnl), style="red" if pnl < 0 else ""),
        formats.percent(metrics["return_pct"]),
        formats.percent(metrics["max_drawdown_pct"]),
        formats.ratio(metrics["sharpe"]),
        formats.count(metrics["fills"]),
        formats.money(metrics["fees_paid"]),
        formats.percent(metrics["quoted_uptime_pct"], 1),
    ]


def _total_cells(summary: dict[str, Any]) -> list[str]:
    sums = [formats.money(summary["total_pnl"]), "", "", "", formats.count(summary["fills"])]
    return ["total", "", "", *sums, formats.money(summary["fees_paid"]), ""]
