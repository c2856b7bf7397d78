"""`mml walk-forward`: choose on train, run test once, fold after fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from marketmakerl.cli import options, study

if TYPE_CHECKING:
    from marketmakerl.validation.walk_forward import WalkForward

_EXAMPLE = """Examples:

mml walk-forward --exchange binance --symbol BTC/USDT --days 30 --folds 5 --data ../shared/data

mml walk-forward --exchange binance --symbol BTC/USDT --days 30 --model quotes.py:leaning --param 0=20
"""


def walk_forward(
    exchange: study.Exchange = "",
    symbol: options.Symbol = "",
    data: options.Data = None,
    timeframe: options.Timeframe = "1m",
    days: study.Days = 30.0,
    models: study.Formats = None,
    param: study.OwnParams = None,
    folds: Annotated[int, typer.Option(help="How many times to choose and test.")] = 5,
    pass_rate: Annotated[float, typer.Option(help="Share of the tests that must pass.")] = 0.60,
    train_share: Annotated[float, typer.Option(help="How much of each fold is its train window.")] = 0.7,
    budget: options.Budget = 10_000.0,
    seed: study.Seed = 0,
    maker_bps: options.MakerBps = None,
    taker_bps: options.TakerBps = None,
    warmup_bars: study.WarmupBars = 240,
    base_url: study.BaseUrl = "",
    processes: study.Processes = None,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Choose a strategy format on one window, run it once on the next, fold after fold; exit 3 if it does not hold."""
    from marketmakerl.validation.walk_forward import WalkForwardConfig
    from marketmakerl.validation.walk_forward import walk_forward as run

    loaded = options.settings()
    asked = study.study_options(
        loaded, exchange, symbol, data, timeframe, days,
        seed=seed, maker_bps=maker_bps, taker_bps=taker_bps, warmup_bars=warmup_bars, base_url=base_url,
        models=models, param=param,
    )  # fmt: skip
    config = WalkForwardConfig(folds=folds, pass_rate=pass_rate, train_share=train_share, budget=budget, **asked)
    with study.progress_bar(hidden=as_json) as progress:
        result = run(config, artifacts or loaded.artifacts_dir, processes=processes, progress=progress)
    if as_json:
        options.print_json({"run_id": result.folder.name, "folder": str(result.folder), **result.analysis})
    else:
        _show(result)
    study.judge_or_raise(result.analysis["checks"])
    return 0


walk_forward.__doc__ = f"{walk_forward.__doc__}\n\n{_EXAMPLE}"


def _show(result: WalkForward) -> None:
    from rich.console import Console

    from marketmakerl.reporting.study_tables import checks_table, folds_table

    out, analysis = Console(), result.analysis
    out.print(study.evidence_lines(result.folder, analysis), soft_wrap=True, highlight=False)
    out.print(folds_table(analysis))
    out.print(checks_table(analysis["checks"]))
    out.print(f"Report: {result.folder / 'report.html'}", soft_wrap=True, highlight=False)
