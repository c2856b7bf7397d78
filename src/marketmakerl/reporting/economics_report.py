"""report.html of a study of economics: where a model stops earning, what its profit is made of, and how to redo it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from jinja2 import UndefinedError

from marketmakerl.core.artifacts import read_json, write_atomic
from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting.economics_figures import economics_figures
from marketmakerl.reporting.economics_tables import (
    alike_queues,
    bps,
    break_even_text,
    caveats,
    fee_range,
    horizons_of,
    level_name,
    sharpe,
)
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

_MARKET: Final = ("data", "exchange", "symbol", "timeframe", "days", "clock", "trades")
_LISTS: Final = {
    "fees": "fees",
    "latencies_ms": "latency-ms",
    "queues": "queue",
    "bar_volume_shares": "bar-volume-share",
}
_PLAIN: Final = ("budget", "warmup_bars", "calibration", "seed")
_TICKS: Final = ("quote_interval_ms", "warmup_share")


def write_economics_report(folder: Path) -> Path:
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
        environment.globals |= {
            "break_even_text": break_even_text, "fee_range": fee_range, "level_name": level_name, "sharpe_of": sharpe,
        }  # fmt: skip
        page = environment.get_template("economics.html.j2").render(
            evidence=TIERS[manifest["tier"]],
            manifest=manifest,
            analysis=analysis,
            market=analysis["market"],
            shown=analysis["shown"],
            shown_title=shown_title(analysis),
            caveats=caveats(analysis),
            alike=alike_queues(analysis),
            horizons=horizons_of(analysis["shown"]["attribution"]["quote"]) if analysis["shown"] else [],
            command=_command(manifest["config"]["options"]),
            options=flat_options(manifest["config"]),
            data_columns=data_columns(manifest["data"]),
            figures=json_for_html(economics_figures(analysis)),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        raise DataFormatError(f"{folder} is not a study of economics: {type(error).__name__}: {error}") from error
    path = folder / REPORT_FILE
    write_atomic(path, page.encode())
    return path


def shown_title(analysis: dict[str, Any]) -> str:
    """Return which cell is taken apart."""
    cell = analysis["shown"]
    if not cell:
        return ""
    where = (
        f"{cell['queue']}, {cell['latency_ms']:g} ms"
        if cell["queue"]
        else f"{100 * cell['bar_volume_share']:g} % of a bar's volume"
    )
    free = "" if cell["edge_filter"] else ", edge filter off (with it the model does not trade there)"
    return f"{level_name(analysis['levels'][cell['fee']])}, {where}{free}"


def _command(options: dict[str, Any]) -> str:
    words = ["mml", "economics"]
    ticks = options["ticks"] or {}
    plain = {name: options["market"].get(name) for name in _MARKET} | {"model": options["model"]}
    plain |= {name: options[name] for name in _PLAIN} | {name: ticks.get(name) for name in _TICKS}
    for name, value in plain.items():
        if value is not None and value != "":
            words += [f"--{name.replace('_', '-')}", _text(value)]
    for name, value in options["model_params"].items():
        words += ["--param", f"{name}={_text(value)}"]
    for name, value in options["limits"].items():
        text = ",".join(value) if isinstance(value, list) else _text(value)
        words += ["--limit", f"{name}={text.lower() if value in (None, True, False) else text or 'none'}"]
    for name, flag in (_LISTS | {"quote_on": "quote-on"}).items():
        values = ticks.get(name) if name == "quote_on" else options[name]
        if values:
            words += [f"--{flag}", ",".join(_text(value) for value in values)]
    return shlex.join([*words, *([] if options["risk"] else ["--risk", "off"])])


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
