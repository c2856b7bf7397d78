"""`mml economics`: at which fees, latencies and queues a model earns, and where it stops."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from marketmakerl.cli import options, study

if TYPE_CHECKING:
    from marketmakerl.validation.economics import Economics

_EXAMPLE = """Examples:

mml economics --clock ticks --data ../shared/data --exchange binanceusdm --symbol BTC/USDT --model glft

mml economics --data ../shared/data --exchange binanceusdm --symbol ETH/USDT --fees base,VIP2,0:3 --risk off
"""


def economics(
    data: options.Data = None,
    exchange: options.Exchange = "",
    symbol: options.Symbol = "",
    model: options.Model = "avellaneda_stoikov",
    fees: Annotated[
        str,
        typer.Option(
            metavar="LEVELS",
            help="Tiers by name (VIP1), other venues (okxswap, okxswap:VIP1) and maker:taker in basis points, with "
            "commas between them; default: the venue's tiers, and no maker fee and a rebate for comparison.",
        ),
    ] = "",
    latency_ms: Annotated[
        str,
        typer.Option(metavar="MS", help="Ticks: one way, and as much back; default 0,1,5,20,50,100,250."),
    ] = "",
    queue: Annotated[
        str, typer.Option(metavar="NAMES", help="Ticks: queue models; default: all that the data allow.")
    ] = "",
    bar_volume_share: Annotated[
        str, typer.Option(metavar="SHARES", help="Bars: how much of a bar orders can get; default 0.02,0.1,0.3.")
    ] = "",
    timeframe: options.Timeframe = "1m",
    days: options.Days = None,
    param: options.Params = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Set the model by this file of mml calibrate, and trade what came after it.")
    ] = None,
    budget: options.Budget = 10_000.0,
    risk: Annotated[str, typer.Option(help="on, or off: no limits, and quotes that do not heed the fee.")] = "on",
    limit: options.Limits = None,
    warmup_bars: Annotated[int, typer.Option(help="Bars that set the model's parameters and are not traded.")] = 240,
    clock: options.Clock = "",
    trades: options.Trades = "",
    quote_interval_ms: options.QuoteIntervalMs = None,
    quote_on: options.QuoteOn = "",
    warmup_share: options.WarmupShare = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    processes: study.Processes = None,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Run a model at every fee tier, latency and queue model of a data set, and say where it stops earning."""
    from marketmakerl.core.errors import ConfigError
    from marketmakerl.validation.economics import EconomicsConfig
    from marketmakerl.validation.economics import economics as run

    loaded = options.settings()
    if risk not in {"on", "off"}:
        raise ConfigError(f"--risk is on or off, not {risk!r}")
    config = EconomicsConfig(
        market=options.market_request(loaded, exchange, symbol, data, timeframe, days, clock=clock, trades=trades),
        model=model,
        model_params=options.model_params(param),
        budget=budget,
        fees=_listed(fees) or (),
        latencies_ms=_numbers("--latency-ms", latency_ms),
        queues=_listed(queue),
        bar_volume_shares=_numbers("--bar-volume-share", bar_volume_share),
        risk=risk == "on",
        limits=options.risk_limits(limit),
        calibration=str(calibration) if calibration else "",
        warmup_bars=warmup_bars,
        ticks=options.tick_rules(
            latency_ms=None, entry_latency_ms=None, response_latency_ms=None, queue="",
            quote_interval_ms=quote_interval_ms, quote_on=quote_on, warmup_share=warmup_share,
        ),
        seed=seed,
    )  # fmt: skip
    with study.progress_bar(hidden=as_json) as progress:
        result = run(config, artifacts or loaded.artifacts_dir, processes=processes, progress=progress)
    if as_json:
        options.print_json({"run_id": result.folder.name, "folder": str(result.folder), **result.analysis})
    else:
        _show(result)
    for error in sorted({line["error"] for line in result.lines if line["status"] == "error"}):
        typer.echo(f"error: {error}", err=True)
    return result.exit_code


economics.__doc__ = f"{economics.__doc__}\n\n{_EXAMPLE}"


def _listed(text: str) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",")) if text.strip() else None


def _numbers(option: str, text: str) -> tuple[float, ...] | None:
    from marketmakerl.core.errors import ConfigError

    try:
        return tuple(float(part) for part in _listed(text) or ()) or None
    except ValueError:
        raise ConfigError(f"{option} takes numbers with commas between them, e.g. 0,5,20; not {text!r}") from None


def _show(result: Economics) -> None:
    from rich.console import Console

    from marketmakerl.core.artifacts import read_json
    from marketmakerl.reporting import economics_tables as tables
    from marketmakerl.reporting.page import evidence

    out, analysis = Console(), result.analysis

    def say(text: str) -> None:
        out.print(text, soft_wrap=True, highlight=False, markup=False)

    say(evidence(read_json(result.folder / "manifest.json")))
    say(f"First cell: {analysis['first_line']}")
    say("Earned over holding the opening inventory, basis points of the turnover:")
    for table in tables.grid_tables(analysis):
        out.print(table)
    say("")
    out.print(tables.levels_table(analysis))
    for text in [*tables.caveats(analysis), "", *(line["sentence"] for line in analysis["summary"])]:
        say(text)
    if analysis["unfiltered"]:
        say(analysis["unfiltered"]["sentence"])
    for text in (*tables.latency_lines(analysis), *tables.fee_search_lines(analysis)):
        say(text)
    say(f"Report: {result.folder / 'report.html'}")
