"""`mml calibrate`: the parameters of models and worlds, from recorded data."""

from __future__ import annotations

import contextlib
from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from marketmakerl.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from marketmakerl.data.market import Market, MarketRequest
    from marketmakerl.models.calibration import Calibration

_SYNTHETIC_BARS = 4320
_EXAMPLE = """Examples:

mml calibrate --clock ticks --data ../shared/data --exchange binanceusdm --symbol BTC/USDT --report

mml calibrate --data market.tape --exchange binanceusdm --share 0.5 --out first-half.json
"""


def calibrate(
    data: options.Data = None,
    exchange: options.Exchange = "",
    symbol: options.Symbol = "",
    timeframe: options.Timeframe = "1m",
    days: options.Days = None,
    clock: options.Clock = "",
    trades: options.Trades = "",
    share: Annotated[
        float, typer.Option(help="Only the first so much of the time, above 0 to 1: what follows can be traded.")
    ] = 1.0,
    delta_min: Annotated[
        float | None,
        typer.Option(help="Ticks: fit the arrival curve from this distance on, price; default: behind the touch."),
    ] = None,
    seed: options.Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="The JSON file; default: artifacts/calibrations/<market and time>.json.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Write an HTML page beside it.")] = False,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Estimate volatility, arrival curve, Hawkes, spread, depth and adverse selection, each with its standard error."""
    from marketmakerl.models.calibration import calibrate as estimate

    loaded = options.settings()
    request = options.market_request(loaded, exchange, symbol, data, timeframe, days, clock=clock, trades=trades)
    market = _market(request, seed, share)
    with _steps(shown=not as_json) as step:
        made = estimate(market.tape, delta_min=delta_min, data=market.provenance, progress=step)
    path = made.save(out or (artifacts or loaded.artifacts_dir) / "calibrations" / f"{_name(market)}.json")
    page = None
    if report:
        from marketmakerl.reporting.calibration_report import write_calibration_report

        page = write_calibration_report(path)
    if as_json:
        options.print_json({"file": str(path), "report": str(page) if page else None, **made.as_dict()})
    else:
        _show(made, path, page)
    return 0


calibrate.__doc__ = f"{calibrate.__doc__}\n\n{_EXAMPLE}"


def _market(request: MarketRequest, seed: int, share: float) -> Market:
    from dataclasses import replace

    from marketmakerl.core.errors import ConfigError
    from marketmakerl.data.market import check_synthetic, load_market, synthetic_market

    if not 0 < share <= 1:
        raise ConfigError(f"--share must be above 0 and at most 1, got {share!r}")
    if request.is_synthetic:
        check_synthetic(request)
        market = synthetic_market(_SYNTHETIC_BARS, seed)
    else:
        market = load_market(request)
    if share == 1.0 or len(market.tape) == 0:
        return market
    tape = market.tape
    first, last = int(tape.ts_ns[0]), int(tape.ts_ns[-1])
    return replace(market, tape=tape.window(first - 1, first + round((last - first) * share)))


def _name(market: Market) -> str:
    """Return a file name that says what was calibrated on: exchange, symbol, clock, when it began."""
    import re

    from marketmakerl.core.clock import iso_utc

    symbol = market.tape.instrument.symbol.partition(":")[0].replace("/", "")
    clock = "bars" if market.tape.is_bars else "ticks"
    began = iso_utc(int(market.tape.ts_ns[0]))[:16].replace(":", "")
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{market.exchange}_{symbol}_{clock}_{began}")


@contextlib.contextmanager
def _steps(*, shown: bool) -> Iterator[Callable[[str], None]]:
    """Show on stderr which step is at work."""
    if not shown:
        yield lambda _step: None
        return
    from rich.console import Console

    with Console(stderr=True).status("calibrating") as status:
        yield lambda step: status.update(f"calibrating: {step}")


def _show(made: Calibration, path: Path, page: Path | None) -> None:
    from rich.console import Console

    from marketmakerl.reporting.calibration_tables import (
        estimates_table,
        evidence_line,
        goodness_table,
        orders_line,
        refusal_rows,
    )

    out, document = Console(), made.as_dict()
    out.print(evidence_line(document), soft_wrap=True, highlight=False)
    if line := orders_line(document):
        out.print(line, soft_wrap=True, highlight=False)
    out.print(estimates_table(document))
    if document["details"].get("curve") or document["details"].get("hawkes"):
        out.print(goodness_table(document))
    for row in refusal_rows(document):
        out.print(f"Not known: {row['labels']}: {row['reason']}.", soft_wrap=True, highlight=False, markup=False)
    out.print(f"Calibration: {path}", soft_wrap=True, highlight=False, markup=False)
    if page:
        out.print(f"Report: {page}", soft_wrap=True, highlight=False, markup=False)
