"""`mml queue-truth`: the queue models against orders whose place is known."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from marketmakerl.cli import options

if TYPE_CHECKING:
    from marketmakerl.validation.queue_truth import QueueTruth

_EXAMPLE = """Examples:

mml queue-truth --data ../shared/data --exchange bitstamp --symbol BTC/USD

mml queue-truth
"""


def queue_truth(
    data: Annotated[
        Path | None, typer.Option(help="A log of single orders (L3), or a folder; none: a simulated market.")
    ] = None,
    exchange: options.Exchange = "",
    symbol: options.Symbol = "",
    trades: options.Trades = "",
    events: Annotated[int, typer.Option(help="Simulated market: events of each log.")] = 400_000,
    seed: Annotated[int, typer.Option(help="Seed of the simulated market and of the intervals.")] = 0,
    block_s: Annotated[float, typer.Option(help="Orders of so many seconds are drawn together (intervals).")] = 300.0,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Measure how wrong each queue model is, on single orders whose fate is known."""
    from marketmakerl.validation import queue_truth as study

    loaded = options.settings()
    config = study.QueueTruthConfig(block_s=block_s, seed=seed)
    home = artifacts or loaded.artifacts_dir
    if data is None:
        from marketmakerl.data.synthetic_l3 import L3Market

        result = study.simulated_queue_truth(home, market=L3Market(events=events), config=config)
    else:
        from marketmakerl.data.l3_files import load_orders

        log = load_orders(
            data, exchange=exchange, symbol=symbol, trades=trades, instruments_file=loaded.instruments_overrides
        )
        result = study.queue_truth(
            log.orders, log.trades, log.instrument, home,
            config=config, tier=log.tier, source=log.source, data=log.provenance,
        )  # fmt: skip
    if as_json:
        options.print_json({"run_id": result.folder.name, "folder": str(result.folder), **result.analysis})
    else:
        _show(result)
    return 0


queue_truth.__doc__ = f"{queue_truth.__doc__}\n\n{_EXAMPLE}"


def _show(result: QueueTruth) -> None:
    from rich.console import Console

    from marketmakerl.core.artifacts import read_json
    from marketmakerl.reporting.page import evidence
    from marketmakerl.reporting.queue_truth_report import models_table

    out = Console()
    out.print(evidence(read_json(result.folder / "manifest.json")), soft_wrap=True, highlight=False)
    for name, log in result.analysis["logs"].items():
        counts = log["orders"]["queued"]
        out.print(
            f"{name}: {counts['orders']:,} orders joined behind somebody, {counts['filled']:,} were filled. "
            "Percent filled within a minute:",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
        out.print(models_table(log))
    out.print(f"Report: {result.folder / 'report.html'}", soft_wrap=True, highlight=False)
