"""The study of queue models as report.html, as lines of a terminal table, and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jinja2 import UndefinedError
from rich import box
from rich.table import Table

from marketmakerl.core.artifacts import read_json, write_atomic
from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting import formats
from marketmakerl.reporting.figures import Figure, _layout
from marketmakerl.reporting.page import (
    REPORT_FILE,
    data_columns,
    evidence,
    flat_options,
    json_for_html,
    templates,
)

if TYPE_CHECKING:
    from pathlib import Path

HORIZONS: Final = ("1s", "10s", "60s", "ever")
_SHOWN: Final = "60s"
_GROUP: Final = "queued"


def write_queue_truth_report(folder: Path) -> Path:
    """Write report.html from the study's own files, manifest.json and analysis.json. The same files, the same bytes.

    Raises:
        DataNotFoundError, DataFormatError: the files are missing or are not what the study writes.
        ArtifactError: the report cannot be written.
    """
    manifest, analysis = read_json(folder / "manifest.json"), read_json(folder / "analysis.json")
    try:
        page = templates().get_template("queue_truth.html.j2").render(
            evidence=evidence(manifest),
            manifest=manifest,
            analysis=analysis,
            tables=_tables(analysis),
            horizons=HORIZONS,
            options=flat_options(manifest["config"]),
            data_columns=data_columns(manifest["data"]),
            figures=json_for_html({"study": bias_figure(analysis)}),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        raise DataFormatError(f"{folder} is not a study of queue models: {type(error).__name__}: {error}") from error
    path = folder / REPORT_FILE
    write_atomic(path, page.encode())
    return path


def _tables(analysis: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one table a log and group: title, counts and rows."""
    return [
        {
            "title": f"{name}: {text}",
            "counts": log["orders"][group],
            "rows": [row for row in log["rows"] if row["group"] == group],
        }
        for name, log in analysis["logs"].items()
        for group, text in analysis["groups"].items()
        if log["orders"][group]["orders"]
    ]


def bias_figure(analysis: dict[str, Any]) -> Figure:
    """Return the bias of each model within a minute, with its interval, one mark a log: zero is right."""
    marks = []
    symbols = ("circle", "square", "diamond", "triangle-up")
    for number, (name, log) in enumerate(analysis["logs"].items()):
        rows = [row for row in log["rows"] if row["group"] == _GROUP]
        cells = [row["horizons"][_SHOWN] for row in rows]
        marks.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [row["model"] for row in rows],
                "y": [round(100 * cell["bias"], 6) for cell in cells],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [round(100 * (cell["bias_high"] - cell["bias"]), 6) for cell in cells],
                    "arrayminus": [round(100 * (cell["bias"] - cell["bias_low"]), 6) for cell in cells],
                },
                "marker": {"symbol": symbols[number % len(symbols)], "size": 9},
                "hovertemplate": "%{x}<br>%{y:+.2f} points<extra></extra>",
            }
        )
    layout = _layout("percentage points", legend=len(marks) > 1)
    layout["xaxis"] |= {"type": "category", "showgrid": False}
    return {"data": marks, "layout": layout}


def models_table(log: dict[str, Any], group: str = _GROUP) -> Table:
    """Return one line a model: percent filled within a minute, in truth and as said, the bias, and how often wrong."""
    headings = ("Model", "Rank", "Real", "Said", "Bias", "95 % interval", "Wrong", "Missed", "Invented")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "Model" else "right", no_wrap=True)
    for row in log["rows"]:
        if row["group"] != group:
            continue
        cell = row["horizons"][_SHOWN]
        table.add_row(
            row["model"], formats.count(row["rank"]), formats.percent(cell["real"]), formats.percent(cell["predicted"]),
            f"{100 * cell['bias']:+z.2f}", f"{100 * cell['bias_low']:+z.2f} to {100 * cell['bias_high']:+z.2f}",
            formats.percent(cell["brier"]), formats.count(cell["missed"]), formats.count(cell["invented"]),
        )  # fmt: skip
    return table
