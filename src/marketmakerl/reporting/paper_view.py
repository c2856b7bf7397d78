"""A paper session in the terminal: a panel that is drawn anew at each poll, or one line a poll where there is none."""

from __future__ import annotations

from dataclasses import dataclass

from rich.panel import Panel
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class View:
    """What a session looks like at one moment, for whoever shows it.

    Attributes:
        iteration, iterations: polls done and asked for.
        best_bid, best_ask: the book at the last poll; None where it was empty.
        bid, ask: own resting quotes (price, quantity), None where there is none.
        bid_reason, ask_reason: why a side is not quoted.
        inventory, equity, pnl, drawdown_pct, fills, bars: where the session stands.
        breaker: active, reducing or halted.
        last: one line about the last thing that happened.
    """

    iteration: int
    iterations: int
    best_bid: float | None
    best_ask: float | None
    bid: tuple[float, float] | None
    ask: tuple[float, float] | None
    bid_reason: str
    ask_reason: str
    inventory: float
    equity: float
    pnl: float
    drawdown_pct: float
    fills: int
    bars: int
    breaker: str
    last: str


def line(view: View) -> str:
    """Return one line about a poll."""
    market = "book empty" if view.best_bid is None or view.best_ask is None else f"{view.best_bid:g}/{view.best_ask:g}"
    return (
        f"{view.iteration}/{view.iterations}  market {market}  bid {_side(view.bid, view.bid_reason)}  "
        f"ask {_side(view.ask, view.ask_reason)}  inventory {view.inventory:g}  pnl {view.pnl:,.2f}  "
        f"fills {view.fills}  {view.breaker}"
    )


def panel(view: View, title: str, tier: str) -> Panel:
    """Return the panel: market, own quotes, and where the session stands."""
    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("market ask", _number(view.best_ask), "own ask", _side(view.ask, view.ask_reason))
    table.add_row("market bid", _number(view.best_bid), "own bid", _side(view.bid, view.bid_reason))
    table.add_row("inventory", f"{view.inventory:g}", "equity", f"{view.equity:,.2f}")
    pnl = Text(f"{view.pnl:+,.2f}", style="green" if view.pnl >= 0 else "red")
    table.add_row("fills", str(view.fills), "pnl", pnl)
    table.add_row("bars", str(view.bars), "drawdown", f"{view.drawdown_pct:.2%}")
    breaker = Text(view.breaker, style="green" if view.breaker == "active" else "bold red")
    table.add_row("breaker", breaker, "last", view.last or "-")
    foot = f"poll {view.iteration}/{view.iterations} · {tier} · paper, no order is sent · Ctrl-C ends it"
    return Panel(table, title=title, subtitle=foot, width=max(len(foot) + 6, 64))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,g}" if abs(value) < 1e5 else f"{value:,.2f}"


def _side(quote: tuple[float, float] | None, reason: str) -> str:
    return f"{quote[1]:g} @ {quote[0]:.10g}" if quote else f"none ({reason})"
