"""`mml campaign`: N market-making runs."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketmakerl.cli import options

if TYPE_CHECKING:
    from marketmakerl.agents.campaign import CampaignConfig, CampaignResult

_EXAMPLE = """Examples:

mml campaign -n 10

mml campaign -n 10 --exchange binanceusdm --symbol BTC/USDT --data ../shared/data --days 30
"""


def campaign(
    n: Annotated[int, typer.Option("-n", help="Number of runs.")] = 10,
    seed: options.Seed = 0,
    exchange: options.Exchange = "",
    symbol: options.Symbol = "",
    data: options.Data = None,
    timeframe: options.Timeframe = "1m",
    days: options.Days = None,
    model: options.Model = "avellaneda_stoikov",
    param: options.Params = None,
    budget: options.Budget = 10_000.0,
    maker_bps: options.MakerBps = None,
    taker_bps: options.TakerBps = None,
    limit: options.Limits = None,
    warmup_bars: Annotated[int, typer.Option(help="Bars that set the model's parameters and are not traded.")] = 240,
    clock: options.Clock = "",
    trades: options.Trades = "",
    latency_ms: options.LatencyMs = None,
    entry_latency_ms: options.EntryLatencyMs = None,
    response_latency_ms: options.ResponseLatencyMs = None,
    queue: options.QueueName = "",
    quote_interval_ms: options.QuoteIntervalMs = None,
    quote_on: options.QuoteOn = "",
    warmup_share: options.WarmupShare = None,
    tables: Annotated[
        str,
        typer.Option(
            help="Whose tables of equity and fills are kept: all, some (the first 100 runs, and those that failed), "
            "failed or none; default: all for at most 100 runs, else some. Metrics are kept of every run."
        ),
    ] = "",
    processes: Annotated[int | None, typer.Option(help="Worker processes; default: one a processor.")] = None,
    engine: Annotated[str, typer.Option(help="Where runs are executed: local.")] = "local",
    manifest: options.Manifest = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew instead of resuming an unfinished one.")] = False,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Run N market-making runs, on the embedded synthetic market or on recorded data."""
    from marketmakerl.agents.campaign import CampaignConfig

    loaded = options.settings()
    home = artifacts or loaded.artifacts_dir
    _check_engine(engine)
    repeat_of = None
    if manifest:
        config, repeat_of = repeated(manifest, home, data, trades=trades, model=model)
        fresh = True
    else:
        config = CampaignConfig(
            n=n,
            seed=seed,
            market=options.market_request(loaded, exchange, symbol, data, timeframe, days, clock=clock, trades=trades),
            model=model,
            model_params=options.model_params(param),
            budget=budget,
            maker_bps=maker_bps,
            taker_bps=taker_bps,
            warmup_bars=warmup_bars,
            limits=options.risk_limits(limit),
            ticks=options.tick_rules(
                latency_ms=latency_ms,
                entry_latency_ms=entry_latency_ms,
                response_latency_ms=response_latency_ms,
                queue=queue,
                quote_interval_ms=quote_interval_ms,
                quote_on=quote_on,
                warmup_share=warmup_share,
            ),
            tables=tables,
        )
    result = run_and_show(config, home, processes=processes, resume=not fresh, as_json=as_json, repeat_of=repeat_of)
    return result.exit_code


campaign.__doc__ = f"{campaign.__doc__}\n\n{_EXAMPLE}"


def repeated(
    manifest: str, home: Path, data: Path | None, kind: str = "campaign", trades: str = "", model: str = ""
) -> tuple[CampaignConfig, dict[str, Any]]:
    """Return an earlier run's configuration and manifest.

    `data`, `trades` and the file of a `model` of one's own are looked for where they lie now, if they have moved.
    """
    from dataclasses import replace

    from marketmakerl.agents.campaign import config_from_manifest
    from marketmakerl.models.own_file import is_own, moved

    config, document = config_from_manifest(manifest, home, kind)
    if is_own(model):
        config = replace(config, model=moved(config.model, model))
    market = config.market if data is None else replace(config.market, data=data)
    return replace(config, market=replace(market, trades=trades) if trades else market), document


def _check_engine(engine: str) -> None:
    from marketmakerl.core.errors import UnknownNameError

    if engine != "local":
        raise UnknownNameError("engine", engine, ["local"])


def run_and_show(
    config: CampaignConfig,
    home: Path,
    *,
    processes: int | None,
    resume: bool,
    as_json: bool,
    kind: str = "campaign",
    repeat_of: dict[str, Any] | None = None,
) -> CampaignResult:
    """Run with a progress bar on stderr, then print the table or the JSON on stdout."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from marketmakerl.agents.campaign import run_campaign

    err = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=err, disable=as_json)
    task = bar.add_task("running", total=config.n)

    def show(done: int, total: int, line: dict[str, Any] | None) -> None:
        bar.start()  # not before the first run: a command that is refused shows its error alone
        bar.update(task, completed=done, total=total, description=line["run_id"] if line else "running")

    try:
        result = run_campaign(
            config, home, kind=kind, processes=processes, progress=show, resume=resume, repeat_of=repeat_of
        )
        bar.update(task, description="done")
    finally:
        if bar.live.is_started:  # stopping one that never began prints an empty line ahead of the error
            bar.stop()
    if as_json:
        options.print_json(_document(result))
    else:
        _show(result)
    if result.errors:
        first = result.errors[0]
        typer.echo(
            f"error: {len(result.errors)} of {len(result.runs)} runs ended in an error, first {first['run_id']}: "
            f"{first['error']}",
            err=True,
        )
    return result


def _document(result: CampaignResult) -> dict[str, Any]:
    from marketmakerl.reporting.summary import summarise

    return {
        "run_id": result.folder.name,
        "folder": str(result.folder),
        "tier": result.manifest["tier"],
        "resumed": result.resumed,
        "summary": summarise(result.runs),
        "runs": result.runs,
    }


def _show(result: CampaignResult) -> None:
    from rich.console import Console

    from marketmakerl.agents.campaign import SYNTHETIC_NOTE
    from marketmakerl.reporting.summary import summarise
    from marketmakerl.reporting.terminal import campaign_table
    from marketmakerl.reporting.tick_tables import calibration_line, markout_table, tick_lines

    out = Console()
    out.print(campaign_table(result.runs, summarise(result.runs)))
    if result.runs and not result.runs[0].get("ticks") and (given := calibration_line(result.runs[0])):
        out.print(given, soft_wrap=True, highlight=False, markup=False)
    for text in tick_lines(result.runs, result.manifest["config"]["setup"].get("ticks")):
        out.print(text, soft_wrap=True, highlight=False)
    if len(result.runs) == 1 and (table := markout_table(result.runs[0])):
        out.print(table)
    idle = sorted({m["no_fills_because"] for run in result.runs if (m := run["metrics"]) and m["no_fills_because"]})
    for reason in idle:
        out.print(f"No fills: {reason}.", soft_wrap=True, highlight=False)
    halted = sum(bool(run["metrics"] and run["metrics"]["liquidations"]) for run in result.runs)
    if halted:
        out.print(f"{halted} of {len(result.runs)} runs were halted by the drawdown breaker and liquidated.")
    if result.resumed:
        out.print(
            f"{result.resumed} of {len(result.runs)} runs were there already and were kept (--fresh starts anew)."
        )
    if result.manifest["tier"] == "T2":
        out.print(SYNTHETIC_NOTE, style="yellow", soft_wrap=True, highlight=False)
    out.print(f"Report: {result.folder / 'report.html'}", soft_wrap=True, highlight=False)
