"""report.html of the model world: one model, a ranking or the ceiling, with the pictures and how to do it again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from jinja2 import UndefinedError

from marketmakerl.core.artifacts import read_json, write_atomic
from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting.page import REPORT_FILE, flat_options, json_for_html, templates
from marketmakerl.reporting.world_figures import world_figures
from marketmakerl.reporting.world_tables import (
    EVIDENCE,
    ceiling_sentence,
    compared_cells,
    figure,
    how_compared,
    interval,
    limit_rows,
    signed,
    sure_of,
    world_sentence,
)

if TYPE_CHECKING:
    from pathlib import Path

TITLES: Final = {
    "simulate": "One model in a model world",
    "compare": "The models on the same paths",
    "optimum": "What the models leave on the table",
}
_TABLE_REACH: Final = 5
# What stands for an option of several numbers, and how a yes or no is typed.
_SWITCHES: Final = {"exact": {True: "--exact", False: "--no-exact"}}


def write_world_report(folder: Path) -> Path:
    """Write report.html from a study's own files, manifest.json and analysis.json. The same files, the same bytes.

    Args:
        folder: of `mml simulate`, `mml compare` or `mml optimum`.

    Returns:
        The path of the report.

    Raises:
        DataNotFoundError, DataFormatError: the files are missing or are not what the study writes.
        ArtifactError: the report cannot be written.
    """
    manifest, analysis = read_json(folder / "manifest.json"), read_json(folder / "analysis.json")
    try:
        environment = templates()
        environment.filters |= {"figure": figure}
        environment.globals |= {"compared_cells": compared_cells, "interval": interval, "signed": signed}
        environment.globals |= {"limit_rows": limit_rows}
        page = environment.get_template("world.html.j2").render(
            evidence=EVIDENCE,
            title=TITLES[analysis["kind"]],
            manifest=manifest,
            analysis=analysis,
            sentence=world_sentence(analysis),
            notes=_notes(analysis),
            quotes=_quote_rows(analysis),
            command=command_of(manifest),
            options=flat_options(manifest["config"]),
            figures=json_for_html(world_figures(analysis)),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        raise DataFormatError(f"{folder} is not of the model world: {type(error).__name__}: {error}") from error
    path = folder / REPORT_FILE
    write_atomic(path, page.encode())
    return path


def _notes(analysis: dict[str, Any]) -> list[str]:
    if analysis["kind"] == "compare":
        return how_compared(analysis)
    if analysis["kind"] == "simulate":
        return [note for note in (*sure_of(analysis), ceiling_sentence(analysis)) if note]
    return []


def _quote_rows(analysis: dict[str, Any]) -> dict[str, Any]:
    """Return the table of quotes of the model (or the optimum): times, and a line an inventory."""
    grid = analysis["pictures"]["quotes"]
    name = analysis["models"][0]["name"]
    if name not in grid["by_inventory"]:
        name = next(iter(grid["by_inventory"]))
    rows = [
        {"q": q, "cells": [value for row in grid["by_inventory"][name] for value in row[column]]}
        for column, q in enumerate(grid["inventories"])
        if abs(q) <= _TABLE_REACH
    ]
    return {"name": name, "times_s": grid["times_s"], "rows": rows}


def command_of(manifest: dict[str, Any]) -> str:
    """Return the command that makes the study again."""
    words = ["mml", manifest["kind"]]
    for name, value in manifest["config"]["options"].items():
        if value is None or value in ("", []):
            continue
        if name in _SWITCHES:
            words.append(_SWITCHES[name][value])
            continue
        for item in value if isinstance(value, list) else [value]:
            words += [f"--{name.replace('_', '-')}", _text(item)]
    return shlex.join(words)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
