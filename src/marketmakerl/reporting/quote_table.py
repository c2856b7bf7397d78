"""The parts of a quote in the terminal: what the distances to the mid are made of, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

# Part, its name for a reader, and the sign it has on the ask's side.
_ROWS: Final = (
    ("market_making", "market making", 1),
    ("risk", "risk", 1),
    ("fee", "fee", 1),
    ("adverse_selection", "adverse selection", 1),
    ("inventory_skew", "skew: inventory", -1),
    ("book_skew", "skew: book", -1),
)


def quote_table(title: str, parts: Mapping[str, float | None]) -> Table:
    """Return a table of the distances from the mid, part by part down to the price.

    Args:
        title: the model's name.
        parts: `QuotingModel.explain(context)`.
    """
    table = Table(title=f"{title}, distances from the mid", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("Part", no_wrap=True)
    for heading in ("Bid", "Ask"):
        table.add_column(heading, justify="right", no_wrap=True)
    sides = ("bid", "ask")
    for part, name, sign in _ROWS:
        values = (parts[part], _signed(parts[part], sign))
        shown = [_text(value) if parts[side] is not None else "" for side, value in zip(sides, values, strict=True)]
        table.add_row(name, *shown)
    table.add_section()
    table.add_row("distance", *(_text(parts[f"{side}_offset"]) for side in sides), style="bold")
    table.add_row("rounding to the tick", *(_text(parts[f"{side}_rounding"]) for side in sides))
    table.add_section()
    table.add_row("price", *(_text(parts[side], "not quoted") for side in sides), style="bold")
    reservation = parts["reservation_price"]
    mid = f"Mid {_text(parts['mid'])}"
    table.caption = mid if reservation is None else f"{mid}, reservation price {_text(reservation)}"
    table.caption_justify = "left"
    return table


def _signed(value: float | None, sign: int) -> float | None:
    return None if value is None else sign * value


def _text(value: float | None, absent: str = "") -> str:
    return absent if value is None else f"{value + 0.0:,.8g}"
