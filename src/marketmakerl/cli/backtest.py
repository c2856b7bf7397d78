"""`mml backtest`: one run."""

from __future__ import annotations

from typing import Annotated

import typer

from marketmakerl.cli import options
from marketmakerl.cli.campaign import repeated, run_and_show

_EXAMPLE = """Example:

mml backtest --data ../shared/data --exchange binance --symbol ETH/USDT --model symmetric --param half_spread=2
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
    warmup_bars: Annotated[int, typer.Option(help="Bars that set the model's parameters and are not traded.")] = 240,
    manifest: options.Manifest = "",
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Run one model once over all the data asked for."""
    from marketmakerl.agents.campaign import CampaignConfig

    loaded = options.settings()
    home = artifacts or loaded.artifacts_dir
    repeat_of = None
    if manifest:
        config, repeat_of = repeated(manifest, home, data, "backtest")
    else:
        config = CampaignConfig(
            n=1,
            seed=seed,
            market=options.market_request(loaded, exchange, symbol, data, timeframe, days),
            model=model,
            model_params=options.model_params(param),
            budget=budget,
            maker_bps=maker_bps,
            taker_bps=taker_bps,
            warmup_bars=warmup_bars,
        )
    result = run_and_show(
        config, home, processes=1, resume=False, as_json=as_json, kind="backtest", repeat_of=repeat_of
    )  # fmt: skip
    return result.exit_code


backtest.__doc__ = f"{backtest.__doc__}\n\n{_EXAMPLE}"
