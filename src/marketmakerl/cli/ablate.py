"""`mml ablate`: what each control of risk costs and brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from marketmakerl.cli import options, study

if TYPE_CHECKING:
    from marketmakerl.data.market import MarketRequest
    from marketmakerl.validation.ablation import Ablation

_EXAMPLE = """Examples:

mml ablate --synthetic "crash bars" --controls stop_loss_pct,daily_loss_pct,hard_drawdown_pct

mml ablate --data ../shared/data --exchange hyperliquid --symbol BTC,SOL --clock ticks --windows 4 --synthetic none

mml ablate --data ../shared/data --exchange binanceusdm --symbol BTC/USDT --days 30 --alone
"""


def ablate(
    exchange: options.Exchange = "",
    symbol: Annotated[str, typer.Option(help="E.g. BTC/USDT; several with commas, each a data set.")] = "",
    data: options.Data = None,
    timeframe: options.Timeframe = "1m",
    days: options.Days = None,
    clock: options.Clock = "",
    trades: options.Trades = "",
    synthetic: Annotated[
        str, typer.Option(metavar="NAMES", help="Synthetic data sets with commas between them, all, or none.")
    ] = "all",
    windows: Annotated[int, typer.Option(help="How many each data set is cut into.")] = 8,
    fees: Annotated[
        str, typer.Option(metavar="M:T,...", help="Maker:taker in bps; venue: its own table. Each is tried.")
    ] = "venue,-0.5:3",
    controls: Annotated[str, typer.Option(metavar="NAMES", help="Which controls, with commas; default: all.")] = "",
    alone: Annotated[bool, typer.Option("--alone", help="Also each control with nothing else on.")] = False,
    model: options.Model = "avellaneda_stoikov",
    param: options.Params = None,
    budget: options.Budget = 10_000.0,
    warmup_bars: study.WarmupBars = 240,
    latency_ms: options.LatencyMs = None,
    queue: options.QueueName = "",
    quote_interval_ms: options.QuoteIntervalMs = None,
    quote_on: options.QuoteOn = "",
    warmup_share: options.WarmupShare = None,
    seed: Annotated[int, typer.Option(help="Of the synthetic markets and the bootstrap.")] = 0,
    processes: study.Processes = None,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Switch off every control of risk in turn, and say where it helps, where it hurts, and where it never acted."""
    from marketmakerl.backtesting.tick_session import TickRules
    from marketmakerl.validation.ablation import AblationConfig
    from marketmakerl.validation.ablation import ablate as run

    loaded = options.settings()
    rules = options.tick_rules(
        latency_ms=latency_ms, entry_latency_ms=None, response_latency_ms=None, queue=queue,
        quote_interval_ms=quote_interval_ms, quote_on=quote_on, warmup_share=warmup_share,
    )  # fmt: skip
    requests: tuple[MarketRequest, ...] = ()
    if data or exchange or symbol:
        requests = tuple(
            options.market_request(loaded, exchange, name, data, timeframe, days, clock=clock, trades=trades)
            for name in _listed(symbol) or [""]
        )
    config = AblationConfig(
        markets=requests,
        synthetic=_synthetic(synthetic),
        windows=windows,
        fees=tuple(_fees(text) for text in _listed(fees)),
        controls=tuple(_listed(controls)),
        alone=alone,
        seed=seed,
        model=model,
        model_params=options.model_params(param),
        budget=budget,
        warmup_bars=warmup_bars,
        ticks=rules or TickRules(),
        fees_file=loaded.fees_file,
    )
    with study.progress_bar(hidden=as_json) as progress:
        result = run(config, artifacts or loaded.artifacts_dir, processes=processes, progress=progress)
    if as_json:
        options.print_json({"run_id": result.folder.name, "folder": str(result.folder), **result.analysis})
    else:
        _show(result)
    return 0


ablate.__doc__ = f"{ablate.__doc__}\n\n{_EXAMPLE}"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _synthetic(text: str) -> tuple[str, ...]:
    from marketmakerl.validation.ablation_markets import SYNTHETIC

    return {"all": SYNTHETIC, "none": ()}.get(text.strip(), tuple(_listed(text)))


def _fees(text: str) -> tuple[float, float] | None:
    from marketmakerl.core.errors import ConfigError

    if text == "venue":
        return None
    maker, colon, taker = text.partition(":")
    try:
        pair = (float(maker), float(taker))
    except ValueError:
        pair = None
    if pair is None or not colon:
        raise ConfigError(f"--fees takes venue or maker:taker in bps with commas between them, not {text!r}")
    return pair


def _show(result: Ablation) -> None:
    from rich.console import Console

    from marketmakerl.reporting.ablation_tables import effects_table, idle, overall_lines, setting_sentence
    from marketmakerl.reporting.page import TIERS

    out, analysis = Console(), result.analysis

    def say(text: str) -> None:
        out.print(text, soft_wrap=True, highlight=False, markup=False)

    say(TIERS[analysis["tier"]])
    say("With a control less without it, the others on: PnL in bps of the budget a day, DD: drawdown avoided in")
    level = f"{100 * analysis['level']:g} %"
    say(f"bps, uptime in points. The intervals of all controls that acted hold together at {level}.")
    for entry in analysis["settings"]:
        say("")
        say(setting_sentence(entry))
        for mode in dict.fromkeys(effect["mode"] for effect in entry["effects"]):
            out.print(effects_table(entry, mode))
        if names := idle(entry, "never acted"):
            say(f"Never acted: {len(names)} controls." if len(names) > 5 else f"Never acted: {', '.join(names)}.")
    say("")
    for line in overall_lines(analysis):
        say(line)
    say(f"Report: {result.folder / 'report.html'}")
