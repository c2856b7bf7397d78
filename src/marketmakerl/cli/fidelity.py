"""`mml fidelity`: what a bar backtest is worth, measured on recordings that have ticks."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from marketmakerl.cli import options, study

if TYPE_CHECKING:
    from marketmakerl.validation.fidelity_study import Fidelity

_EXAMPLE = """Example:

mml fidelity --data ../shared/data --exchange binanceusdm --symbol BTC/USDT --bars 1,5,15,60
"""


def fidelity(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of recordings (book/, trades/), a book file, or a tape; default: the data folder."),
    ] = None,
    exchange: Annotated[str, typer.Option(help="Only this exchange's recordings, e.g. binanceusdm.")] = "",
    symbol: Annotated[str, typer.Option(help="Only this symbol's, e.g. BTC/USDT.")] = "",
    bars: Annotated[str, typer.Option(metavar="SECONDS", help="Bar lengths; each divides the longest.")] = "1,5,15,60",
    queues: Annotated[
        str, typer.Option(metavar="NAMES", help="Queue models of the tick runs.")
    ] = "risk_averse,log,front",
    latencies: Annotated[str, typer.Option(metavar="MS", help="Order latencies of the tick runs, each way.")] = "0,10",
    order_qty: Annotated[float | None, typer.Option(help="Size of a quote; default: the median trade.")] = None,
    bar_volume_share: Annotated[float, typer.Option(help="How much of a bar's volume our orders can get.")] = 0.10,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    maker_bps: options.MakerBps = None,
    taker_bps: options.TakerBps = None,
    processes: study.Processes = None,
    artifacts: Annotated[
        Path | None, typer.Option("--out", "--artifacts", help="Where results go; default: artifacts/.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Run the same models on bars and on ticks of the same minutes, and say how far bar fills are from tick fills."""
    from marketmakerl.validation.fidelity import FidelityRules
    from marketmakerl.validation.fidelity_study import FidelityConfig
    from marketmakerl.validation.fidelity_study import fidelity as run

    loaded = options.settings()
    config = FidelityConfig(
        data=data or loaded.data_dir,
        exchange=exchange.strip().lower(),
        symbol=symbol.strip(),
        rules=FidelityRules(
            bars_s=tuple(_seconds(text.removesuffix("s")) for text in _listed(bars)),
            queues=tuple(_listed(queues)),
            latencies_ms=tuple(_number("--latencies", text) for text in _listed(latencies)),
            order_qty=order_qty,
            bar_volume_share=bar_volume_share,
            seed=seed,
        ),
        maker_bps=maker_bps,
        taker_bps=taker_bps,
        instruments_file=loaded.instruments_overrides,
        fees_file=loaded.fees_file,
    )
    with study.progress_bar(hidden=as_json) as progress:
        result = run(config, artifacts or loaded.artifacts_dir, processes=processes, progress=progress)
    if as_json:
        options.print_json({"run_id": result.folder.name, "folder": str(result.folder), **result.analysis})
    else:
        _show(result)
    return 0


fidelity.__doc__ = f"{fidelity.__doc__}\n\n{_EXAMPLE}"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _seconds(text: str) -> int:
    return int(text) if text.isdecimal() else _refuse("--bars", text)


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return _refuse(option, text)


def _refuse(option: str, text: str) -> int:
    from marketmakerl.core.errors import ConfigError

    raise ConfigError(f"{option} takes numbers with commas between them, e.g. 1,5,15,60; not {text!r}")


def _show(result: Fidelity) -> None:
    from rich.console import Console

    from marketmakerl.reporting.fidelity_tables import fidelity_table, recordings_table, refusals

    out, analysis = Console(), result.analysis
    latency_ms = analysis["rules"]["latencies_ms"][0]

    def say(text: str) -> None:
        out.print(text, soft_wrap=True, highlight=False, markup=False)

    say(f"Tier {analysis['market']['tier']}: the same models on bars and on ticks of the same minutes.")
    out.print(recordings_table(analysis))
    for line in refusals(analysis):
        say(line)
    say("")
    say(
        f"Ratio: quantity filled on bars over ticks, median of n; orders under way for {latency_ms:g} ms. Prec, Rec, %:"
    )
    say("sides of bars filled on bars that fill on ticks too, and the other way round.")
    say("Mark (markout a bar on), PnL: bars less ticks, bps per turnover, medians.")
    say("100 ms: the model is asked that often on ticks, and not once a bar.")
    say("Order: rank correlation of the models' PnL on bars with that on ticks, median over the recordings.")
    out.print(fidelity_table(analysis))
    say(f"Report: {result.folder / 'report.html'}")
