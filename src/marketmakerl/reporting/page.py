"""What every page is made of: its template's surroundings, the library of its charts, what it says about evidence."""

from __future__ import annotations

import base64
import zlib
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from marketmakerl.core.artifacts import to_json
from marketmakerl.reporting import formats
from marketmakerl.reporting.tick_tables import of_ticks
from marketmakerl.risk.limits import FAILURE_DRAWDOWN_PCT

if TYPE_CHECKING:
    from marketmakerl.reporting.summary import Run

REPORT_FILE: Final = "report.html"

TIERS: Final = {
    "T0": "Tier T0, indicative prices: they choose a universe; a backtest on them is evidence of nothing.",
    "T1": "Tier T1, recorded exchange data: fit for research and for gates.",
    "T2": "Tier T2, synthetic data: a smoke test; it can never pass a research gate.",
    "T3": "Tier T3, a live public stream: a forward test on paper.",
}

STATUS: Final = {
    "completed": ("ok", "completed"),
    "failed_risk": ("risk", f"failed risk: lost more than {FAILURE_DRAWDOWN_PCT:.0%} of its budget"),
    "error": ("error", "error"),
}


def templates() -> Environment:
    """Return jinja's environment of all pages: our templates, number formats and assets; undefined names are errors."""
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
        "charts_library": _charts_library,
        "asset": lambda name: Markup(_asset(name)),  # noqa: S704  (ours)
        "statuses": STATUS,
        "nothing": formats.NOTHING,
    }
    return environment


def evidence(manifest: dict[str, Any], runs: list[Run] | None = None) -> str:
    """Return what a reader must know before any number: what the data are worth, and how fills were decided."""
    tier = str(manifest["tier"])
    sentence = TIERS.get(tier, f"Tier {tier}.")
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


def flat_options(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the configuration as (dotted name, value) pairs; the list of seeds is a range and stays out."""

    def walk(prefix: str, value: Any) -> list[tuple[str, str]]:
        if isinstance(value, dict):
            return [pair for name in sorted(value) for pair in walk(f"{prefix}{name}.", value[name])]
        text = formats.NOTHING if value is None or value == "" else f"{value:,}" if _is_number(value) else str(value)
        return [(prefix.rstrip("."), text)]

    return [pair for part in ("options", "setup") for pair in walk(f"{part}.", config.get(part, {}))]


def data_columns(data: list[dict[str, Any]]) -> list[str]:
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


def json_for_html(value: Any) -> Markup:
    """Return `value` as JSON that cannot end the script element it stands in."""
    text = to_json(value).decode().strip()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  (escaped just above, for where it stands)


def _charts_library() -> Markup:
    """Return plotly.js for the end of a page, packed to less than half: `campaign.js` unpacks it."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415  (only a report needs it)

    packed = base64.b64encode(zlib.compress(get_plotlyjs().encode(), 3)).decode()  # more care saves little, and costs
    return Markup(f'<script type="text/plain" id="charts-library">{packed}</script>')  # noqa: S704  (base64)


def _asset(name: str) -> str:
    return (resources.files("marketmakerl.reporting") / "templates" / name).read_text(encoding="utf-8")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
