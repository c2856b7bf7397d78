"""A campaign in the terminal: one line a run, the sums, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from marketmakerl.reporting import formats
from marketmakerl.reporting.summary import has_window

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from marketmakerl.reporting.summary import Run

_MOST_ROWS: Final = 60  # more runs than this are shown by their two ends
_END_ROWS: Final = 10
_MOST_ERRORS: Final = 10
_STATUS_STYLE: Final = {"completed": "green", "failed_risk": "yellow", "error": "red"}
_SHORT_STATUS: Final = {"completed": "ok", "failed_risk": "risk", "error": "error"}
_UNLIMITED: Final = 10_000


@dataclass(frozen=True)
class _Style:
    """How much room the table takes."""

    headings: tuple[str, ...]
    window: str
    roomy: bool
    cents: bool


_LONG: Final = ("PnL", "Return %", "Max DD %", "Sharpe", "Fills", "Fees", "Uptime %")
_SHORT: Final = ("PnL", "Ret %", "DD %", "Sharpe", "Fills", "Fees", "Up %")
_STYLES: Final = (  # fullest first
    _Style(_LONG, "Window", roomy=True, cents=True),
    _Style(_SHORT, "From", roomy=True, cents=True),
    _Style(_SHORT, "From", roomy=False, cents=True),
    _Style(_SHORT, "From", roomy=False, cents=False),
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
        yield self._widest_that_fits(console, options)
        yield self._sentence()
        yield from self._errors()

    def _widest_that_fits(self, console: Console, options: ConsoleOptions) -> Table:
        """Return the fullest table of which no cell is cut: a number without its end is a wrong number."""
        for style in _STYLES:
            table = self._table(style)
            if Measurement.get(console, options.update(max_width=_UNLIMITED), table).maximum <= options.max_width:
                break
        return table

    def _table(self, style: _Style) -> Table:
        windows = any(has_window(run) for run in self.runs)
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, int(style.roomy), 0, 0))
        table.add_column("Run", no_wrap=True)
        table.add_column(style.window if windows else "Seed", no_wrap=True, justify="right")
        table.add_column("Status", no_wrap=True)
        for heading in style.headings:
            table.add_column(heading, justify="right", no_wrap=True)
        shown, left_out = self._shown()
        for run in shown:
            table.add_row(*_cells(run, style, windows))
        table.add_section()
        table.add_row(*_total_cells(self.summary, style), style="bold")
        if left_out:
            table.caption = (
                f"The {_END_ROWS} worst and the {_END_ROWS} best by return; the other {left_out:,} are in summary.csv."
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
        statuses = (("completed", s["completed"]), ("failed_risk", s["failed_risk"]), ("error", s["errors"]))
        parts = [f"{s['count']:,} runs: {', '.join(f'{number:,} {status}' for status, number in statuses if number)}"]
        if s["mean_pnl"] is not None:
            parts += [
                f"pnl mean {formats.money(s['mean_pnl'])}, median {formats.money(s['median_pnl'])}",
                f"{s['profitable']:,} earned",
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


def _cells(run: Run, style: _Style, windows: bool) -> list[Text | str]:
    status = str(run["status"])
    label = status if style.headings is _LONG else _SHORT_STATUS.get(status, status)
    cells: list[Text | str] = [
        Text(str(run["run_id"])),
        _which(run, style, windows),
        Text(label, style=_STATUS_STYLE.get(status, "")),
    ]
    metrics = run.get("metrics")
    if not metrics:
        return cells + [formats.NOTHING] * len(style.headings)
    pnl = float(metrics["pnl"])
    return [
        *cells,
        Text(_money(pnl, style), style="red" if pnl < 0 else ""),
        formats.percent(metrics["return_pct"]),
        formats.percent(metrics["max_drawdown_pct"]),
        formats.ratio(metrics["sharpe"]),
        formats.count(metrics["fills"]),
        _money(metrics["fees_paid"], style),
        formats.percent(metrics["quoted_uptime_pct"], 1),
    ]


def _which(run: Run, style: _Style, windows: bool) -> str:
    """Return what tells the run from the others: its seed, or its window of time."""
    if not windows:
        return str(run.get("seed", formats.NOTHING))
    if not has_window(run):
        return formats.NOTHING
    first, last = formats.window(run["first_ns"], run["last_ns"])
    return f"{first} → {last}" if style.headings is _LONG else first


def _total_cells(summary: dict[str, Any], style: _Style) -> list[str]:
    pnl, fees = (_money(summary[name], style) for name in ("total_pnl", "fees_paid"))
    return ["total", "", "", pnl, "", "", "", formats.count(summary["fills"]), fees, ""]


def _money(value: float | None, style: _Style) -> str:
    return formats.money(value) if style.cents or value is None else f"{value:z,.0f}"
