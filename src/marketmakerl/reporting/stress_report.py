"""report.html of a stress study: the verdicts against the limits, a picture a scenario, and how to do it again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from jinja2 import UndefinedError

from marketmakerl.core.artifacts import read_json, write_atomic
from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting.page import (
    REPORT_FILE,
    data_columns,
    flat_options,
    json_for_html,
    templates,
)
from marketmakerl.reporting.stress_figures import stress_figures
from marketmakerl.reporting.stress_tables import BASELINES, check_of, idle, label, of_target, verdict

if TYPE_CHECKING:
    from pathlib import Path

EVIDENCE: Final = (
    "A scenario is made, not recorded (tier T2): it shows what the limits do when a market breaks, never what a model "
    "earns, and can pass no research gate. Crises are recorded (tier T1), and one of each is one of each."
)
_OPTIONS: Final = ("model", "budget", "warmup_bars", "seed", "maker_bps", "taker_bps", "crises")


def write_stress_report(folder: Path) -> Path:
    """Write report.html from a study's own files, manifest.json and analysis.json. The same files, the same bytes.

    Args:
        folder: of the study.

    Returns:
        The path of the report.

    Raises:
        DataNotFoundError, DataFormatError: the files are missing or are not what the study writes.
        ArtifactError: the report cannot be written.
    """
    manifest, analysis = read_json(folder / "manifest.json"), read_json(folder / "analysis.json")
    try:
        environment = templates()
        environment.globals |= {"check_of": check_of, "label": label, "baselines": BASELINES}
        figures = stress_figures(analysis)
        page = environment.get_template("stress.html.j2").render(
            evidence=EVIDENCE,
            manifest=manifest,
            analysis=analysis,
            verdict=verdict(analysis),
            idle=idle(analysis),
            on_tapes=[(title, rows) for title, rows in _groups(analysis) if rows],
            in_world=of_target(analysis, "world"),
            drawn=[row for row in analysis["rows"] if row["run_id"] in figures],
            command=_command(manifest["config"]["options"]),
            options=flat_options(manifest["config"]),
            data_columns=data_columns(manifest["data"]),
            figures=json_for_html(figures),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        raise DataFormatError(f"{folder} is not a stress study: {type(error).__name__}: {error}") from error
    path = folder / REPORT_FILE
    write_atomic(path, page.encode())
    return path


def _groups(analysis: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    market = analysis["market"]
    name = f"{market['exchange']} {market['symbol']}, {market['clock']}"
    return [(name, of_target(analysis, "tape")), ("Crises, recorded", of_target(analysis, "crisis"))]


def _command(options: dict[str, Any]) -> str:
    words = ["mml", "stress"]
    market = options["market"]
    if market is None:
        words.append("--world")
    else:
        for name in ("exchange", "symbol", "data", "timeframe", "days", "clock", "trades"):
            if market[name] not in (None, "") and (name != "timeframe" or market["exchange"]):
                words += [f"--{name}", str(market[name])]
    for name in _OPTIONS:
        if options[name] is not None:
            words += [f"--{name.replace('_', '-')}", _text(options[name])]
    for name, value in options["model_params"].items():
        words += ["--param", f"{name}={_text(value)}"]
    for name in options["scenarios"]:
        words += ["--scenario", name]
    return shlex.join(words)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
