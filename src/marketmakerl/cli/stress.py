"""`mml stress`: what the limits do when a market, a venue or a feed breaks."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from marketmakerl.cli import options, study, world_options

if TYPE_CHECKING:
    from marketmakerl.validation.stress import Stress
    from marketmakerl.validation.world_study import WorldStudy

_EXAMPLE = """Scenarios: thin_book (spread x10, depth /10), gap_down_5, gap_down_10, gap_down_20, gap_up_5, gap_up_10,
gap_up_20, trend_down, trend_up, flash_crash, feed_outage, feed_loss, message_flood, latency_x50, fees_x2,
venue_rejects; recorded crises: march_2020, ftx_2022, august_2024, october_2025.

Exit code 0 when every scenario completed, whatever its verdict; with --gate 3 when one breaches a limit,
or could not be run though it was named.

Examples:

mml stress

mml stress --data ../shared/data --exchange binanceusdm --symbol BTC/USDT --clock ticks --scenario flash_crash

mml stress --crises ../shared/data --scenario august_2024 --scenario october_2025 --gate
"""


def stress(
    exchange: options.Exchange = "",
    symbol: options.Symbol = "",
    data: options.Data = None,
    timeframe: options.Timeframe = "1m",
    days: options.Days = None,
    clock: options.Clock = "",
    trades: options.Trades = "",
    world: Annotated[
        bool, typer.Option("--world", help="Stress the world of Avellaneda & Stoikov (2008) alone, and no tape.")
    ] = False,
    calibration: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --world: a world as mml calibrate measured it.")
    ] = None,
    gamma: Annotated[float | None, typer.Option(help="Of the world's models: risk aversion, > 0; default 0.1.")] = None,
    paths: Annotated[int, typer.Option(help="Paths of the world, each scenario; >= 2.")] = 10_000,
    crises: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Recorded data with the crises; default: that of --data, or data/."),
    ] = None,
    scenarios: Annotated[
        list[str] | None,
        typer.Option("--scenario", metavar="ID", help="Only this one (see below); several times for more."),
    ] = None,
    model: options.Model = "avellaneda_stoikov",
    param: options.Params = None,
    budget: options.Budget = 10_000.0,
    maker_bps: options.MakerBps = None,
    taker_bps: options.TakerBps = None,
    warmup_bars: study.WarmupBars = 240,
    latency_ms: options.LatencyMs = None,
    queue: options.QueueName = "",
    quote_interval_ms: options.QuoteIntervalMs = None,
    quote_on: options.QuoteOn = "",
    warmup_share: options.WarmupShare = None,
    seed: Annotated[int, typer.Option(help="Of the synthetic market and of the world's paths.")] = 0,
    gate: Annotated[bool, typer.Option("--gate", help="Exit with 3 when a scenario breaches a limit.")] = False,
    processes: study.Processes = None,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Run one model under every scenario (gaps, crashes, lost feeds, slow orders, recorded crises) against its limits.

    Without data: the embedded synthetic market and the model world of Avellaneda & Stoikov (2008).
    """
    from marketmakerl.validation.stress import StressConfig
    from marketmakerl.validation.stress import stress as run

    loaded = options.settings()
    market = options.market_request(loaded, exchange, symbol, data, timeframe, days, clock=clock, trades=trades)
    folder, crises_alone = _crises(crises, data if data and data.is_dir() else loaded.data_dir, scenarios)
    asked = _world(gamma, calibration) if world or (market.is_synthetic and not crises_alone) else None
    config = StressConfig(
        market=None if world or crises_alone else market,
        world=asked.world if asked else None,
        gamma=asked.gamma if asked else 0.1,
        n_paths=paths,
        crises=None if world else folder,
        scenarios=tuple(scenarios or ()),
        model=model,
        model_params=options.model_params(param),
        budget=budget,
        maker_bps=maker_bps,
        taker_bps=taker_bps,
        warmup_bars=warmup_bars,
        ticks=options.tick_rules(
            latency_ms=latency_ms, entry_latency_ms=None, response_latency_ms=None, queue=queue,
            quote_interval_ms=quote_interval_ms, quote_on=quote_on, warmup_share=warmup_share,
        ),
        seed=seed,
    )  # fmt: skip
    with study.progress_bar(hidden=as_json) as progress:
        result = run(config, artifacts or loaded.artifacts_dir, processes=processes, progress=progress)
    if as_json:
        shown = {name: value for name, value in result.analysis.items() if name != "curves"}
        options.print_json({"run_id": result.folder.name, "folder": str(result.folder), **shown})
    else:
        _show(result)
    if gate:
        study.judge_or_raise(result.breaches)
    return result.exit_code


stress.__doc__ = f"{stress.__doc__}\n\n{_EXAMPLE}"


def _crises(given: Path | None, data_dir: Path, scenarios: list[str] | None) -> tuple[Path | None, bool]:
    """Return the folder to look for crises in, and whether nothing but crises was asked for."""
    from marketmakerl.core.errors import DataNotFoundError
    from marketmakerl.validation.crises import CRISES

    named = [name for name in scenarios or [] if name in CRISES]
    alone = bool(named) and len(named) == len(scenarios or [])
    folder = given or data_dir
    if folder.is_dir():
        return folder, alone
    if given is not None or alone:
        raise DataNotFoundError(f"no data folder {folder}; name the one that holds the crises: --crises FOLDER")
    return None, False


def _world(gamma: float | None, calibration: Path | None) -> WorldStudy:
    return world_options.world_study(world_options.WorldOptions(gamma=gamma, calibration=calibration))


def _show(result: Stress) -> None:
    from rich.console import Console

    from marketmakerl.reporting.stress_report import EVIDENCE
    from marketmakerl.reporting.stress_tables import (
        MARK,
        idle,
        not_run,
        of_target,
        run_table,
        verdict,
        world_table,
    )

    out, analysis = Console(), result.analysis

    def say(text: str) -> None:
        out.print(text, soft_wrap=True, highlight=False, markup=False)

    say(EVIDENCE)
    if of_target(analysis, "tape", "crisis"):
        say(f"DD: drawdown; Inv: inventory a fill built; % of the budget, {MARK} where the limit is breached.")
        out.print(run_table(analysis, "tape", "crisis"))
    if of_target(analysis, "world"):
        say(
            "Model world: mean profit; loss of the worst path and of 99 in 100; inventory at the end; rates do not act."
        )
        out.print(world_table(analysis))
    for line in not_run(analysis):
        say(line)
    for line in idle(analysis):
        say(line)
    say(verdict(analysis))
    say(f"Report: {result.folder / 'report.html'}")
