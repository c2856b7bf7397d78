"""report.html of a study (research budgets, walk-forward): the picture, the gate, the table, and how to do it again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from jinja2 import UndefinedError

from marketmakerl.core.artifacts import read_json, write_atomic
from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting.page import (
    REPORT_FILE,
    data_columns,
    evidence,
    flat_options,
    json_for_html,
    templates,
)
from marketmakerl.reporting.study_figures import budgets_figure, folds_figure

if TYPE_CHECKING:
    from pathlib import Path

_PICTURES: Final = {"research-budgets": budgets_figure, "walk-forward": folds_figure}
# Options of the commands, in the order people type them; what else the manifest holds comes from the environment.
_FLAGS: Final = (
    *("exchange", "symbol", "data", "timeframe", "days", "seed", "maker_bps", "taker_bps", "warmup_bars"),
    *("folds", "train_share", "pass_rate", "budget"),
)


def write_study_report(folder: Path) -> Path:
    """Write report.html from a study's own files, manifest.json and analysis.json. The same files, the same bytes.

    Args:
        folder: of the study.

    Returns:
        The path of the report.

    Raises:
        DataNotFoundError, DataFormatError: the files are missing or are not what a study writes.
        ArtifactError: the report cannot be written.
    """
    manifest, analysis = read_json(folder / "manifest.json"), read_json(folder / "analysis.json")
    try:
        figure = _PICTURES[manifest["kind"]](analysis)
        page = templates().get_template("study.html.j2").render(
            evidence=evidence(manifest),
            shortage=shortage(analysis),
            manifest=manifest,
            analysis=analysis,
            market=analysis["market"],
            command=_command(manifest),
            options=flat_options(manifest["config"]),
            data_columns=data_columns(manifest["data"]),
            figures=json_for_html({"study": figure}),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        raise DataFormatError(f"{folder} is not a study: {type(error).__name__}: {error}") from error
    path = folder / REPORT_FILE
    write_atomic(path, page.encode())
    return path


def shortage(analysis: dict[str, Any]) -> str:
    """Return a sentence if fewer days are held than were asked for, else ""."""
    market = analysis["market"]
    asked, held = market["days_asked"], market["days_held"]
    if asked is None or held >= 0.99 * asked:
        return ""
    return (
        f"Only {held:.1f} of the {asked:g} days asked for are held "
        f"({market['first'][:10]} to {market['last'][:10]}, {market['gaps']} gaps)."
    )


def _command(manifest: dict[str, Any]) -> str:
    options = manifest["config"]["options"]
    values = options | options["market"]
    words = ["mml", manifest["kind"]]
    for name in _FLAGS:
        if values.get(name) not in {None, ""}:
            words += [
                f"--{name.replace('_', '-')}",
                f"{values[name]:g}" if _is_float(values[name]) else str(values[name]),
            ]
    return shlex.join(words)


def _is_float(value: Any) -> bool:
    return isinstance(value, float) and float(f"{value:g}") == value
