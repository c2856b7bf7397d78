"""`mml backtest`: one run."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads annotations at run time)
from typing import Annotated

import typer

from marketmakerl.cli import options
from marketmakerl.cli.campaign import repeated, run_and_show

_EXAMPLE = """Examples:

mml backtest --data ../shared/data --exchange binance --symbol ETH/USDT --model symmetric --param half_spread=2

mml backtest --clock ticks --data ../shared/data --exchange binanceusdm --symbol BTC/USDT --latency-ms 10 --queue log

mml backtest --clock ticks --data ../shared/data --exchange binanceusdm --symbol BTC/USDT --model quotes.py:leaning
"""


def backtest(
    data: options.Data = None,
    model: options.Model = "avellaneda_stoikov",
    exchange: options.Exchange = "",
    symbol: options.Symbol = "",
    timeframe: options.Timeframe = "1m",
    days: options.Days = None,
    param: options.Params = None,
    seed: options.Seed = 0,
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
    calibration: Annotated[
        Path | None, typer.Option(help="Set the model by this file of mml calibrate, and trade what came after it.")
    ] = None,
    manifest: options.Manifest = "",
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Run one model once over all the data asked for: bars, or ticks with queue and latency."""
    from marketmakerl.agents.campaign import CampaignConfig

    loaded = options.settings()
    home = artifacts or loaded.artifacts_dir
    repeat_of = None
    if manifest:
        config, repeat_of = repeated(manifest, home, data, "backtest", trades, model)
    else:
        config = CampaignConfig(
            n=1,
            seed=seed,
            market=options.market_request(loaded, exchange, symbol, data, timeframe, days, clock=clock, trades=trades),
            model=model,
            model_params=options.model_params(param),
            budget=budget,
            maker_bps=maker_bps,
            taker_bps=taker_bps,
            warmup_bars=warmup_bars,
            limits=options.risk_limits(limit),
            calibration=str(calibration) if calibration else "",
            ticks=options.tick_rules(
                latency_ms=latency_ms,
                entry_latency_ms=entry_latency_ms,
                response_latency_ms=response_latency_ms,
                queue=queue,
                quote_interval_ms=quote_interval_ms,
                quote_on=quote_on,
                warmup_share=warmup_share,
            ),
        )
    result = run_and_show(
        config, home, processes=1, resume=False, as_json=as_json, kind="backtest", repeat_of=repeat_of
    )  # fmt: skip
    return result.exit_code


backtest.__doc__ = f"{backtest.__doc__}\n\n{_EXAMPLE}"
