"""`mml research-budgets`: every strategy format at every budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from marketmakerl.cli import options, study

if TYPE_CHECKING:
    from marketmakerl.validation.research_budgets import ResearchBudgets

_EXAMPLE = """Examples:

mml research-budgets --exchange binance --symbol BTC/USDT --days 30 --data ../shared/data

mml research-budgets --exchange binance --symbol BTC/USDT --days 30 --model quotes.py:leaning --model glft
"""


def research_budgets(
    exchange: study.Exchange = "",
    symbol: options.Symbol = "",
    data: options.Data = None,
    timeframe: options.Timeframe = "1m",
    days: study.Days = 30.0,
    models: study.Formats = None,
    param: study.OwnParams = None,
    seed: study.Seed = 0,
    maker_bps: options.MakerBps = None,
    taker_bps: options.TakerBps = None,
    warmup_bars: study.WarmupBars = 240,
    base_url: study.BaseUrl = "",
    processes: study.Processes = None,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Trade the last days held with every strategy format at every budget, and ask the gate of each cell."""
    from marketmakerl.validation.research_budgets import ResearchBudgetsConfig
    from marketmakerl.validation.research_budgets import research_budgets as run

    loaded = options.settings()
    asked = study.study_options(
        loaded, exchange, symbol, data, timeframe, days,
        seed=seed, maker_bps=maker_bps, taker_bps=taker_bps, warmup_bars=warmup_bars, base_url=base_url,
        models=models, param=param,
    )  # fmt: skip
    with study.progress_bar(hidden=as_json) as progress:
        result = run(
            ResearchBudgetsConfig(**asked), artifacts or loaded.artifacts_dir, processes=processes, progress=progress
        )
    if as_json:
        options.print_json({"run_id": result.folder.name, "folder": str(result.folder), **result.analysis})
    else:
        _show(result)
    for error in sorted({cell["error"] for cell in result.analysis["cells"] if cell["status"] == "error"}):
        typer.echo(f"error: {error}", err=True)
    return result.exit_code


research_budgets.__doc__ = f"{research_budgets.__doc__}\n\n{_EXAMPLE}"


def _show(result: ResearchBudgets) -> None:
    from rich.console import Console

    from marketmakerl.reporting.study_tables import budgets_table

    out, analysis = Console(), result.analysis
    out.print(study.evidence_lines(result.folder, analysis), soft_wrap=True, highlight=False)
    out.print("Earned over holding the opening inventory, percent of the budget:", highlight=False)
    out.print(budgets_table(analysis))
    out.print(f"{analysis['passed']} of {len(analysis['cells'])} cells pass the gate.", highlight=False)
    out.print(f"Report: {result.folder / 'report.html'}", soft_wrap=True, highlight=False)
