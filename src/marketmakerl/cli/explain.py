"""`mml explain`: why a model quotes what it quotes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from marketmakerl.cli import options

_EXAMPLE = """Examples:

mml explain --model avellaneda_stoikov --param gamma=0.1 --param k=1.5 --param sigma=2 --param horizon_s=1 --q 3

mml explain --model glft --param gamma=0.01 --param k=0.3 --param sigma=0.3 --param arrival_rate=0.9 --q 3

mml explain --model quotes.py:leaning --param 0=1.5 --q 3
"""


def explain(
    model: options.Model = "avellaneda_stoikov",
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="name=value",
            help="A parameter of the model; all without a default. Of a function of your own by number: --param 0=1.5.",
        ),
    ] = None,
    mid: Annotated[float, typer.Option(help="Mid, price units.")] = 100.0,
    q: Annotated[float, typer.Option("--q", help="Inventory above target, in order sizes.")] = 0.0,
    time_left_s: Annotated[float | None, typer.Option(help="Seconds left; default: the whole horizon.")] = None,
    tick_size: Annotated[float | None, typer.Option(help="Round to ticks of this size; default: not.")] = None,
    best_bid: Annotated[float | None, typer.Option(help="Best bid; default: unknown.")] = None,
    best_ask: Annotated[float | None, typer.Option(help="Best ask; default: unknown.")] = None,
    best_bid_qty: Annotated[float, typer.Option(help="Quantity at the best bid; 0: unknown.")] = 0.0,
    best_ask_qty: Annotated[float, typer.Option(help="Quantity at the best ask; 0: unknown.")] = 0.0,
    as_json: options.Json = False,
) -> int:
    """Show the parts of a quote: market making, risk, fee, adverse selection, skew and rounding; they add up."""
    from marketmakerl.models.contract import QuoteContext
    from marketmakerl.models.own_file import pinned, record_of
    from marketmakerl.models.registry import model_of
    from marketmakerl.reporting.quote_table import quote_table

    model = pinned(model)
    made = model_of(model, options.model_params(param))
    context = QuoteContext(
        mid=mid,
        q=q,
        time_left_s=time_left_s,
        tick_size=tick_size,
        best_bid=best_bid,
        best_ask=best_ask,
        best_bid_qty=best_bid_qty,
        best_ask_qty=best_ask_qty,
    )
    parts = made.explain(context)
    if as_json:
        options.print_json({"model": record_of(model, made), "context": asdict(context), "parts": parts})
        return 0
    from rich.console import Console

    Console().print(quote_table(made.id, parts))
    return 0


explain.__doc__ = f"{explain.__doc__}\n\n{_EXAMPLE}"
