"""A calibration as one HTML page that opens offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import UndefinedError

from marketmakerl.core.artifacts import read_json, write_atomic
from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting.calibration_figures import calibration_figures
from marketmakerl.reporting.calibration_tables import (
    estimate_rows,
    evidence_line,
    goodness_rows,
    number,
    orders_line,
    refusal_rows,
)
from marketmakerl.reporting.page import data_columns, json_for_html, templates

if TYPE_CHECKING:
    from pathlib import Path


def write_calibration_report(path: Path, out: Path | None = None) -> Path:
    """Write the page of a calibration file; the same file, the same bytes.

    Args:
        path: what `Calibration.save` wrote.
        out: where the page goes; beside the file with the ending .html by default.

    Raises:
        DataNotFoundError, DataFormatError: no such file, or not a calibration.
        ArtifactError: the page cannot be written.
    """
    document = read_json(path)
    try:
        figures = calibration_figures(document)
        environment = templates()
        environment.filters["number"] = number
        page = environment.get_template("calibration.html.j2").render(
            name=path.stem,
            evidence=evidence_line(document),
            document=document,
            orders=orders_line(document),
            rows=estimate_rows(document),
            goodness=goodness_rows(document),
            refusals=refusal_rows(document),
            profile=document["details"].get("profile") or [],
            spread=document["details"].get("spread") or [],
            drawn=sorted(figures),
            data_columns=data_columns(document["data"]),
            figures=json_for_html(figures),
        )
    except (KeyError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        raise DataFormatError(f"{path} is not a calibration: {type(error).__name__}: {error}") from error
    out = out or path.with_suffix(".html")
    write_atomic(out, page.encode())
    return out
