"""What the commands of the studies share: options, the progress bar, the end of a failed gate."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from marketmakerl.core.settings import Settings
    from marketmakerl.validation.study import Progress

Exchange = Annotated[
    str, typer.Option(help="Exchange of the data, e.g. binance; sim: the synthetic market, a smoke test.")
]
Days = Annotated[float, typer.Option(help="The last so many days that are held.")]
Seed = Annotated[int, typer.Option(help="Seed of the synthetic market.")]
WarmupBars = Annotated[int, typer.Option(help="Bars that set the parameters and are not traded.")]
BaseUrl = Annotated[str, typer.Option(help="Fetch what is not held from here, e.g. from a running mml exchange-sim.")]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Only this strategy format (glft, as_wide, ...), or a model of your own, path.py:name, e.g. "
        "quotes.py:leaning (docs/custom-model.md); several times for more. Default: the whole grid.",
    ),
]
OwnParams = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="name=value", help="Set a parameter of your own model, e.g. --param 0=20."),
]
Processes = Annotated[int | None, typer.Option(help="Worker processes; default: one a processor.")]


def study_options(
    loaded: Settings,
    exchange: str,
    symbol: str,
    data: Path | None,
    timeframe: str,
    days: float,
    *,
    seed: int,
    maker_bps: float | None,
    taker_bps: float | None,
    warmup_bars: int,
    base_url: str,
    models: list[str] | None,
    param: list[str] | None,
) -> dict[str, Any]:
    """Return the arguments that every study takes."""
    from dataclasses import replace

    from marketmakerl.cli import options

    return {
        "market": replace(options.market_request(loaded, exchange, symbol, data, timeframe, days), base_url=base_url),
        "seed": seed,
        "maker_bps": maker_bps,
        "taker_bps": taker_bps,
        "fees_file": loaded.fees_file,
        "warmup_bars": warmup_bars,
        "models": tuple(models or ()),
        "model_params": options.model_params(param),
    }


@contextmanager
def progress_bar(*, hidden: bool) -> Iterator[Progress]:
    """Show a bar on stderr; yields what a study calls as (done, total, what was done)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as bar:
        task = bar.add_task("loading", total=None)

        def show(done: int, total: int, description: str) -> None:
            bar.update(task, completed=done, total=total, description="done" if done == total else description)

        yield show


def evidence_lines(folder: Path, analysis: dict[str, Any]) -> str:
    """Return what a reader must know before any number."""
    from marketmakerl.core.artifacts import read_json
    from marketmakerl.reporting.page import evidence
    from marketmakerl.reporting.study_report import shortage

    market = analysis["market"]
    span = f"{market['first'][:10]} to {market['last'][:10]}"
    what = f"{market['exchange']} {market['symbol']} {market['timeframe']}, {span}."
    lines = [evidence(read_json(folder / "manifest.json")), what, shortage(analysis)]
    return "\n".join(line for line in lines if line)


def judge_or_raise(checks: Sequence[Mapping[str, Any]]) -> None:
    """Raise `GateFailedError` with one line that names every failed check."""
    from marketmakerl.core.errors import GateFailedError

    failed = [f"{check['name']} ({check['why']})" for check in checks if not check["passed"]]
    if failed:
        raise GateFailedError(f"the gate says no: {'; '.join(failed)}")
