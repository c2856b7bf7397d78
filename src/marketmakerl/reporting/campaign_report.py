"""report.html: what a campaign showed, on what evidence, and how to do it again, in one file that opens offline."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import orjson
from jinja2 import Environment, FunctionLoader, StrictUndefined, UndefinedError
from markupsafe import Markup

from marketmakerl.core.artifacts import read_json, to_json, write_atomic
from marketmakerl.core.errors import DataFormatError, DataNotFoundError
from marketmakerl.reporting import formats
from marketmakerl.reporting.curves import Curves, across_returns, read_curves
from marketmakerl.reporting.figures import attribution_figure, time_figures
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

REPORT_FILE: Final = "report.html"
MOST_DRAWN: Final = 50  # runs with lines of their own; a thousand would be neither legible nor small

_SHOWN: Final = 1e-4  # a difference that two digits of a percentage always show

_TIERS: Final = {
    "T0": "Tier T0, indicative prices: they choose a universe; a backtest on them is evidence of nothing.",
    "T1": "Tier T1, recorded exchange data: fit for research and for gates.",
    "T2": "Tier T2, synthetic data: a smoke test; it can never pass a research gate.",
    "T3": "Tier T3, a live public stream: a forward test on paper.",
}
_STATUS: Final = {
    "completed": ("ok", "completed"),
    "failed_risk": ("risk", f"failed risk: lost more than {FAILURE_DRAWDOWN_PCT:.0%} of its budget"),
    "error": ("error", "error"),
}


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
    manifest, runs = read_json(folder / "manifest.json"), _read_runs(folder / "runs.jsonl")
    try:
        page = _render(folder, manifest, runs)
    except (KeyError, TypeError, AttributeError, UndefinedError) as error:
        raise DataFormatError(f"{folder} is not a campaign: {type(error).__name__}: {error}") from error
    path = folder / REPORT_FILE
    write_atomic(path, page.encode())
    return path


def _read_runs(path: Path) -> list[Run]:
    try:
        return [orjson.loads(line) for line in path.read_bytes().splitlines() if line]
    except FileNotFoundError as error:
        raise DataNotFoundError(f"no such file: {path}") from error
    except (orjson.JSONDecodeError, OSError) as error:
        raise DataFormatError(f"{path} is not a table of runs: {error}") from error


def _render(folder: Path, manifest: dict[str, Any], runs: list[Run]) -> str:
    finished = [run for run in runs if run.get("metrics")]
    curves: dict[str, Curves] = {}
    for run in finished:
        if (read := read_curves(folder / "runs" / run["run_id"] / "equity.parquet")) is not None:
            curves[run["run_id"]] = read
    drawn = across_returns([run for run in finished if run["run_id"] in curves], MOST_DRAWN)
    bars = across_returns(finished, MOST_DRAWN)
    money_unit, quantity_unit = _units(manifest, finished)
    figures = time_figures(curves, drawn, quantity_unit, FAILURE_DRAWDOWN_PCT) if drawn else {}
    if bars:
        figures["attribution"] = attribution_figure(bars, money_unit)
    return _environment().get_template("campaign.html.j2").render(
        evidence=evidence(manifest, runs),
        manifest=manifest,
        market=_market(manifest),
        model=_option(manifest, "model"),
        money_unit=money_unit,
        quantity_unit=quantity_unit,
        runs=runs,
        finished=finished,
        summary=summarise(runs),
        failure_drawdown=FAILURE_DRAWDOWN_PCT,
        identity_error=max((_identity_error(run) for run in finished), default=0.0),
        windows=any(has_window(run) for run in runs),
        between_samples=_between_samples(finished, curves),
        withheld=_withheld(finished),
        markout_horizon=_markout_horizon(finished),
        without_fills=[run for run in finished if run["metrics"]["fills"] == 0],
        failed=[run for run in runs if not run.get("metrics")],
        drawn=drawn,
        drawn_ids={run["run_id"] for run in drawn},
        chosen=min(drawn, key=lambda run: float(run["metrics"]["return_pct"]))["run_id"] if drawn else "",
        banded=len(curves) > len(drawn),
        options=_flat_options(manifest["config"]),
        data_columns=_data_columns(manifest["data"]),
        figures=_json_for_html(figures),
        ticks=_ticks(runs),
    )  # fmt: skip


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


def evidence(manifest: dict[str, Any], runs: list[Run] | None = None) -> str:
    """Return what a reader must know before any number: what the data are worth, and how fills were decided."""
    tier = str(manifest["tier"])
    sentence = _TIERS.get(tier, f"Tier {tier}.")
    if on_ticks := of_ticks(runs or []):
        several = f"{on_ticks[0]['run_id']}: " if len(on_ticks) > 1 else ""
        return f"{sentence} {several}{on_ticks[0]['ticks']['first_line']}"
    setup = manifest["config"].get("setup", {})
    share = setup.get("bar_volume_share")
    if share is None or setup.get("ticks"):
        return sentence
    return (
        f"{sentence} Bars: one decision a bar; a quote fills only where the next bar trades through it, at most "
        f"{share:.0%} of the bar's volume. The poorest evidence there is."
    )


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


def _flat_options(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the configuration as (dotted name, value) pairs; the list of seeds is a range and stays out."""

    def walk(prefix: str, value: Any) -> list[tuple[str, str]]:
        if isinstance(value, dict):
            return [pair for name in sorted(value) for pair in walk(f"{prefix}{name}.", value[name])]
        text = formats.NOTHING if value is None or value == "" else f"{value:,}" if _is_number(value) else str(value)
        return [(prefix.rstrip("."), text)]

    return [pair for part in ("options", "setup") for pair in walk(f"{part}.", config.get(part, {}))]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _data_columns(data: list[dict[str, Any]]) -> list[str]:
    """Return which facts about the data sets are known, in an order that reads well."""
    order = ("exchange", "symbol", "kind", "timeframe", "file", "tier", "rows", "first", "last", "sha256", "generator")
    return [name for name in order if any(name in entry for entry in data)]


def _data_cell(name: str, value: Any) -> str:
    if value is None or value == "":
        return formats.NOTHING
    if name == "sha256":
        return f"{str(value)[:12]}…"
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner:g}" if _is_number(inner) else f"{key} {inner}" for key, inner in value.items())
    return formats.count(value) if name == "rows" else formats.minute(str(value))


def _json_for_html(value: Any) -> Markup:
    """Return `value` as JSON that cannot end the script element it stands in."""
    text = to_json(value).decode().strip()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  (escaped just above, for where it stands)


def _plotly_js() -> Markup:
    from plotly.offline import get_plotlyjs  # noqa: PLC0415  (only a report needs it)

    return Markup(get_plotlyjs())  # noqa: S704  (the library's own file)


def _asset(name: str) -> str:
    return (resources.files("marketmakerl.reporting") / "templates" / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for number_format in (
        *(formats.money, formats.round_money, formats.percent, formats.with_percent_sign, formats.ratio),
        *(formats.count, formats.quantity, formats.window, formats.minute),
    ):
        environment.filters[number_format.__name__] = number_format
    environment.filters["data_cell"] = lambda value, name: _data_cell(name, value)
    environment.globals |= {
        "plotly_js": _plotly_js,
        "asset": lambda name: Markup(_asset(name)),  # noqa: S704  (ours)
        "statuses": _STATUS,
        "nothing": formats.NOTHING,
    }
    return environment
