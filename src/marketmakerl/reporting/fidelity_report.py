"""report.html of a fidelity study: how far bars were from ticks of the same minutes, and how to do it again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from jinja2 import UndefinedError

from marketmakerl.core.artifacts import read_json, write_atomic
from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting.fidelity_figures import MIN_CELLS, fidelity_figures
from marketmakerl.reporting.fidelity_tables import asked, bps, spread_of, times, verdicts
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

# Options of the command, in the order people type them; lists are typed with commas.
_FLAGS: Final = (
    *("data", "exchange", "symbol", "bars_s", "queues", "latencies_ms", "order_qty", "bar_volume_share", "seed"),
    *("maker_bps", "taker_bps"),
)
_SPELLED: Final = {"bars_s": "bars", "latencies_ms": "latencies"}


def write_fidelity_report(folder: Path) -> Path:
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
        environment.filters |= {"bps": bps, "times": times}
        environment.globals |= {"asked": asked, "spread_of": spread_of, "verdicts": verdicts}
        latency_ms, queue = analysis["rules"]["latencies_ms"][0], analysis["rules"]["queues"][0]
        page = environment.get_template("fidelity.html.j2").render(
            evidence=TIERS[manifest["tier"]],
            manifest=manifest,
            analysis=analysis,
            by_recording=[
                line
                for line in analysis["by_recording"]
                if (line["clock"], line["queue"], line["latency_ms"]) == ("bar", queue, latency_ms)
            ],
            fast={line["bar_s"]: line["ratio_median"] for line in analysis["summary"] if line["clock"] != "bar"},
            queue=queue,
            latency_ms=latency_ms,
            measured=[entry for entry in analysis["recordings"] if entry["facts"]],
            least_cells=MIN_CELLS,
            command=_command(manifest["config"]["options"]),
            options=flat_options(manifest["config"]),
            data_columns=data_columns(manifest["data"]),
            figures=json_for_html(fidelity_figures(analysis)),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        raise DataFormatError(f"{folder} is not a fidelity study: {type(error).__name__}: {error}") from error
    path = folder / REPORT_FILE
    write_atomic(path, page.encode())
    return path


def _command(options: dict[str, Any]) -> str:
    words = ["mml", "fidelity"]
    for name in _FLAGS:
        value = options.get(name)
        if value is None or value == "":
            continue
        text = ",".join(map(_text, value)) if isinstance(value, list) else _text(value)
        words += [f"--{_SPELLED.get(name, name).replace('_', '-')}", text]
    return shlex.join(words)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
