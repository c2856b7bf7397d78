"""report.html: what a campaign showed, on what evidence, and how to do it again, in one file that opens offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jinja2 import UndefinedError

from marketmakerl.core.artifacts import read_json, read_jsonl, write_atomic
from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting.curves import MAX_POINTS, Curves, across_returns, read_curves
from marketmakerl.reporting.figures import attribution_figure, spread_figures, time_figures
from marketmakerl.reporting.page import REPORT_FILE, data_columns, evidence, flat_options, json_for_html, templates
from marketmakerl.reporting.summary import has_window, summarise
from marketmakerl.reporting.tick_tables import (
    feed_line,
    log_rows,
    markout_rows,
    of_ticks,
    statistics_rows,
    warm_up_line,
)
from marketmakerl.risk.limits import FAILURE_DRAWDOWN_PCT

if TYPE_CHECKING:
    from pathlib import Path

    from marketmakerl.reporting.summary import Run

MOST_DRAWN: Final = 50  # runs with lines of their own; a thousand would be neither legible nor small
MOST_BANDED: Final = 400  # runs whose curves are read for the bands: evenly ranked ones spread as all do
MOST_LISTED: Final = 300  # rows of the table of runs; beyond it, the ends of the ranking and what is drawn
_WORST_LISTED, _BEST_LISTED = 100, 50
MOST_NAMED: Final = 20  # runs named in one sentence

_SHOWN: Final = 1e-4  # a difference that two digits of a percentage always show


def write_report(folder: Path) -> Path:
    """Write report.html from a campaign's own files: manifest.json, runs.jsonl, runs/<run_id>/equity.parquet.

    The same files give the same bytes. A run without an equity file has no curve and is in the tables all the same.

    Args:
        folder: of the campaign.

    Returns:
        The path of the report.

    Raises:
        DataNotFoundError, DataFormatError: the files are missing or are not what a campaign writes.
        ArtifactError: the report cannot be written.
    """
    manifest, runs = read_json(folder / "manifest.json"), read_jsonl(folder / "runs.jsonl")
    try:
        page = _render(folder, manifest, runs)
    except (KeyError, TypeError, AttributeError, UndefinedError) as error:
        raise DataFormatError(f"{folder} is not a campaign: {type(error).__name__}: {error}") from error
    path = folder / REPORT_FILE
    write_atomic(path, page.encode())
    return path


def _render(folder: Path, manifest: dict[str, Any], runs: list[Run]) -> str:
    finished = [run for run in runs if run.get("metrics")]
    equity = {run["run_id"]: folder / "runs" / run["run_id"] / "equity.parquet" for run in finished}
    kept = [run for run in finished if equity[run["run_id"]].is_file()]
    drawn = across_returns(kept, MOST_DRAWN)
    fair = _kept_whatever_came_out(manifest, runs, kept)
    banded = across_returns(fair, MOST_BANDED) if len(kept) > len(drawn) else []
    curves: dict[str, Curves] = {}
    for name in dict.fromkeys(run["run_id"] for run in (*drawn, *banded)):
        if (read := read_curves(equity[name], MAX_POINTS if len(kept) <= MOST_DRAWN else MAX_POINTS // 2)) is not None:
            curves[name] = read
    drawn, banded = ([run for run in some if run["run_id"] in curves] for some in (drawn, banded))
    bars = across_returns(finished, MOST_DRAWN)
    money_unit, quantity_unit = _units(manifest, finished)
    bands = [curves[run["run_id"]].even for run in banded]
    figures = time_figures(curves, drawn, bands, quantity_unit, FAILURE_DRAWDOWN_PCT) if drawn else {}
    if bars:
        figures["attribution"] = attribution_figure(bars, money_unit)
    if len(finished) > MOST_DRAWN:
        figures |= spread_figures(finished)
    return templates().get_template("campaign.html.j2").render(
        evidence=evidence(manifest, runs),
        manifest=manifest,
        market=_market(manifest),
        model=_option(manifest, "model"),
        money_unit=money_unit,
        quantity_unit=quantity_unit,
        runs=_listed(runs, finished, drawn),
        ends_listed=(_WORST_LISTED, _BEST_LISTED),
        finished=finished,
        summary=summarise(runs),
        failure_drawdown=FAILURE_DRAWDOWN_PCT,
        identity_error=max((_identity_error(run) for run in finished), default=0.0),
        windows=any(has_window(run) for run in runs),
        between_samples=_between_samples(finished, curves),
        withheld=_withheld(finished),
        markout_horizon=_markout_horizon(finished),
        without_fills=_without_fills(finished),
        failed=_alike_errors(runs),
        drawn=drawn,
        drawn_ids={run["run_id"] for run in drawn},
        chosen=min(drawn, key=lambda run: float(run["metrics"]["return_pct"]))["run_id"] if drawn else "",
        banded=len(banded),
        curves_said=_curves_said(finished, kept, fair, banded),
        spread="returns" in figures,
        options=flat_options(manifest["config"]),
        data_columns=data_columns(manifest["data"]),
        figures=json_for_html(figures),
        ticks=_ticks(runs),
    )  # fmt: skip


def _kept_whatever_came_out(manifest: dict[str, Any], runs: list[Run], kept: list[Run]) -> list[Run]:
    """Return the runs whose curves are there for no reason of their own: only they may stand for all."""
    first = {run["run_id"] for run in runs[: manifest["config"].get("tables", {}).get("first", len(runs))]}
    return [run for run in kept if run["run_id"] in first]


def _curves_said(finished: list[Run], kept: list[Run], fair: list[Run], banded: list[Run]) -> str:
    """Return which runs the lines and bands hold, where that is not all of them; "" where it is."""
    said = []
    if len(kept) < len(finished):
        said.append(f"{len(kept):,} of {len(finished):,} runs kept their curves (--tables all keeps all).")
    if banded and len(banded) < len(finished):
        ranked = " of them, evenly ranked by return," if len(banded) < len(fair) else " runs"
        chance = " that were kept whatever came out" if len(fair) < len(kept) else ""
        said.append(f"The bands hold {len(banded):,}{ranked}{chance}.")
    return " ".join(said)


def _listed(runs: list[Run], finished: list[Run], drawn: list[Run]) -> list[Run]:
    """Return the runs of the table, in their order: all, or the ends of the ranking and what is drawn."""
    if len(runs) <= MOST_LISTED:
        return runs
    ranked = sorted(finished, key=lambda run: float(run["metrics"]["return_pct"]))
    listed = {run["run_id"] for run in (*ranked[:_WORST_LISTED], *ranked[-_BEST_LISTED:], *drawn)}
    return [run for run in runs if run["run_id"] in listed]


def _alike_errors(runs: list[Run]) -> list[tuple[str, str]]:
    """Return the errors, each once with the runs that it ended."""
    names: dict[str, list[str]] = {}
    for run in runs:
        if not run.get("metrics"):
            names.setdefault(str(run["error"]), []).append(f"{run['run_id']} (seed {run['seed']})")
    return [(_named(group), error) for error, group in list(names.items())[:MOST_LISTED]]


def _without_fills(finished: list[Run]) -> list[tuple[str, str]]:
    """Return why runs had no fill, and which they were."""
    names: dict[str, list[str]] = {}
    for run in finished:
        if run["metrics"]["fills"] == 0:
            names.setdefault(run["metrics"].get("no_fills_because") or "", []).append(run["run_id"])
    return [(reason, _named(group)) for reason, group in sorted(names.items())]


def _named(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _ticks(runs: list[Run]) -> dict[str, Any]:
    """Return what is to be said of runs on ticks; nothing on bars."""
    runs = across_returns(of_ticks(runs), MOST_DRAWN)
    if not runs:
        return {}
    return {
        "runs": [
            {
                "run_id": run["run_id"],
                "warm_up": warm_up_line(run),
                "feed": feed_line(run),
                "markouts": markout_rows(run),
                "statistics": statistics_rows(run),
            }
            for run in runs
        ],
        "log": log_rows(runs),
    }


def _units(manifest: dict[str, Any], finished: list[Run]) -> tuple[str, str]:
    """Return what money and quantities are counted in, as far as the files say."""
    symbol = str(_option(manifest, "symbol", "market") or _first(manifest, "symbol"))
    base, slash, rest = symbol.partition("/")
    quote = rest.partition(":")[0]
    settled = str(finished[0]["metrics"]["settlement_currency"]) if finished else quote
    if settled and settled == base:
        return quote, "contracts"  # inverse: settled in the coin itself
    return settled or "quote currency", base if slash else "units"


def _market(manifest: dict[str, Any]) -> str:
    exchange = _first(manifest, "exchange") or str(_option(manifest, "exchange", "market") or "")
    symbol = str(_option(manifest, "symbol", "market") or _first(manifest, "symbol"))
    if exchange in {"", "sim"} and not symbol:
        return "the embedded synthetic market"
    return " ".join(part for part in (exchange, symbol, _first(manifest, "timeframe")) if part)


def _option(manifest: dict[str, Any], name: str, *inside: str) -> Any:
    options = manifest["config"].get("options", {})
    for key in inside:
        options = options.get(key, {})
    return options.get(name)


def _first(manifest: dict[str, Any], name: str) -> str:
    return str(manifest["data"][0].get(name, "")) if manifest["data"] else ""


def _identity_error(run: Run) -> float:
    m = run["metrics"]
    return abs(float(m["gross_spread_pnl"] + m["inventory_pnl"] + m["funding_pnl"] - m["fees_paid"] - m["pnl"]))


def _between_samples(finished: list[Run], curves: dict[str, Curves]) -> dict[str, Any]:
    """Return the deepest drawdown that lay between two samples, which its line does not show; nothing without one.

    A difference that the two digits of the table do not show is none.
    """
    deepest: dict[str, Any] = {}
    for run in finished:
        if run["run_id"] not in curves:
            continue
        drawdown, drawn = float(run["metrics"]["max_drawdown_pct"]), -float(curves[run["run_id"]].drawdown.y.min())
        if drawdown - drawn >= _SHOWN and drawdown > deepest.get("drawdown", 0.0):
            deepest = {"run_id": run["run_id"], "drawdown": drawdown, "drawn": drawn}
    return deepest


def _withheld(finished: list[Run]) -> list[tuple[str, float]]:
    """Return why quotes were withheld and how often (mean of the runs), most often first; what never was is out."""
    names = {name for run in finished for name in run["metrics"]["suppressed_pct"]}
    shares = {n: sum(float(r["metrics"]["suppressed_pct"].get(n, 0)) for r in finished) / len(finished) for n in names}
    return sorted(((name, share) for name, share in shares.items() if share > 0), key=lambda pair: (-pair[1], pair[0]))


def _markout_horizon(finished: list[Run]) -> str:
    """Return the shortest horizon at which any run knows its markout; "" if there is none."""
    known = {name for run in finished for name, value in run["metrics"]["markout_bps"].items() if value is not None}
    return min(known, key=lambda name: float(name.rstrip("s")), default="")
