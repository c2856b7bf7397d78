"""report.html of an ablation: what each control costs and brings, and how to do it again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from jinja2 import UndefinedError

from marketmakerl.core.artifacts import read_json, write_atomic
from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting.ablation_figures import ablation_figures
from marketmakerl.reporting.ablation_tables import acting, bps, ends, idle, overall_lines, setting_sentence
from marketmakerl.reporting.page import (
    REPORT_FILE,
    TIERS,
    data_columns,
    flat_options,
    json_for_html,
    templates,
)

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS: Final = ("model", "budget", "windows", "seed", "warmup_bars")


def write_ablation_report(folder: Path) -> Path:
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
        environment.filters |= {"bps": bps}
        environment.globals |= {"acting": acting, "ends": ends, "idle": idle, "setting_sentence": setting_sentence}
        page = environment.get_template("ablation.html.j2").render(
            evidence=TIERS[manifest["tier"]],
            manifest=manifest,
            analysis=analysis,
            overall=overall_lines(analysis),
            command=_command(manifest["config"]["options"]),
            options=flat_options(manifest["config"]),
            data_columns=data_columns(manifest["data"]),
            figures=json_for_html(ablation_figures(analysis)),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        raise DataFormatError(f"{folder} is not an ablation: {type(error).__name__}: {error}") from error
    path = folder / REPORT_FILE
    write_atomic(path, page.encode())
    return path


def _command(options: dict[str, Any]) -> str:
    """Return the command that makes the study again."""
    words = ["mml", "ablate"]
    markets = options["markets"]
    if markets:
        first = markets[0]
        symbols = ",".join(market["symbol"] for market in markets)
        given = {"data": first["data"], "exchange": first["exchange"], "symbol": symbols, "clock": first["clock"]}
        given |= {"timeframe": first["timeframe"] if first["timeframe"] != "1m" else "", "days": first["days"]}
        for name, value in given.items():
            if value not in (None, ""):
                words += [f"--{name}", _text(value)]
    words += ["--synthetic", ",".join(options["synthetic"]) or "none"]
    words += ["--fees", ",".join("venue" if pair is None else ":".join(map(_text, pair)) for pair in options["fees"])]
    for name in _FLAGS:
        words += [f"--{name.replace('_', '-')}", _text(options[name])]
    if options["controls"]:
        words += ["--controls", ",".join(options["controls"])]
    for name, value in options["model_params"].items():
        words += ["--param", f"{name}={_text(value)}"]
    return shlex.join([*words, *(["--alone"] if options["alone"] else [])])


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
