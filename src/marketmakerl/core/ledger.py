"""The ledger: cash, position and where every unit of profit came from, as njit functions over one record.

The P&L identity holds by construction of the two entry points, and a test holds them to it:

    equity_now - equity_start = gross_spread_pnl + inventory_pnl + funding_pnl - fees_paid

`book_fill` adds s*q*(value(mark) - value(price)) to the spread part and the fee to the fees; `mark_to` adds
position*(value(new mark) - value(old mark)) to the inventory part. Spread is measured against the mark that stood
*before* the event that filled, so a caller books the fill first and moves the mark after it.

Everything is in the settlement currency: quote for spot and linear, base for inverse, where value(p) = -contract/p.
Any record that begins with `LEDGER_FIELDS` works (the engine's state does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.core.jit import njit

if TYPE_CHECKING:
    from marketmakerl.core.instrument import Instrument

LEDGER_FIELDS: list[tuple[str, str]] = [
    ("kind", "i8"),  # 0 spot, 1 linear, 2 inverse
    ("lot_size", "f8"),
    ("contract_size", "f8"),
    ("cash", "f8"),  # spot: quote held; perpetual: wallet balance, realised profit included
    ("position_lots", "i8"),
    ("open_value", "f8"),  # perpetual: value at which the open position was entered, average cost
    ("mark", "f8"),  # last mid, a price; 0 until the first one
    ("start_equity", "f8"),
    ("start_mark", "f8"),
    ("start_lots", "i8"),
    ("gross_spread_pnl", "f8"),
    ("inventory_pnl", "f8"),
    ("inventory_rest", "f8"),  # what summing it has rounded away so far (Kahan 1965)
    ("funding_pnl", "f8"),
    ("fees_paid", "f8"),
    ("turnover", "f8"),  # settlement currency
    ("maker_turnover", "f8"),
    ("fills", "i8"),
    ("max_abs_lots", "i8"),
]
LEDGER = np.dtype(LEDGER_FIELDS, align=True)


@njit()
def unit_value(ledger: Any, price: float) -> float:
    """Return the value of one unit of quantity at `price`; only differences of it have meaning (inverse: -c/p)."""
    if ledger.kind == 2:
        return -ledger.contract_size / price
    return ledger.contract_size * price


@njit()
def position_qty(ledger: Any) -> float:
    """Return the signed position in units of quantity."""
    return ledger.position_lots * ledger.lot_size


@njit()
def equity(ledger: Any) -> float:
    """Return cash plus what the position is worth at the mark (spot) or its unrealised profit (perpetual)."""
    value = position_qty(ledger) * unit_value(ledger, ledger.mark)
    if ledger.kind == 0:
        return ledger.cash + value
    return ledger.cash + value - ledger.open_value


@njit()
def equity_at(ledger: Any, price: float) -> float:
    """Return what equity would be at another mark (> 0), without moving it."""
    value = position_qty(ledger) * unit_value(ledger, price)
    if ledger.kind == 0:
        return ledger.cash + value
    return ledger.cash + value - ledger.open_value


@njit()
def mark_to(ledger: Any, price: float) -> None:
    """Move the mark to `price` (> 0) and book what that does to the position."""
    change = (
        position_qty(ledger) * (unit_value(ledger, price) - unit_value(ledger, ledger.mark)) - ledger.inventory_rest
    )
    total = ledger.inventory_pnl + change
    ledger.inventory_rest = (total - ledger.inventory_pnl) - change
    ledger.inventory_pnl = total
    ledger.mark = price


@njit()
def book_fill(ledger: Any, side: int, lots: int, price: float, fee_rate: float, maker: bool) -> float:
    """Book a fill against the mark that stood before it, and return the fee paid (negative: a rebate).

    Args:
        ledger: the record.
        side: +1 buy, -1 sell.
        lots: quantity in lots, > 0.
        price: fill price, > 0.
        fee_rate: fraction of notional.
        maker: whether the order was resting.
    """
    qty = lots * ledger.lot_size
    value = qty * unit_value(ledger, price)
    notional = abs(value)
    fee = notional * fee_rate
    ledger.gross_spread_pnl += side * (qty * unit_value(ledger, ledger.mark) - value)
    ledger.fees_paid += fee
    ledger.turnover += notional
    if maker:
        ledger.maker_turnover += notional
    ledger.fills += 1
    if ledger.kind == 0:
        ledger.cash -= side * value + fee
    else:
        ledger.cash += _realise(ledger, side, lots, value) - fee
    ledger.position_lots += side * lots
    ledger.max_abs_lots = max(ledger.max_abs_lots, abs(ledger.position_lots))
    return fee


@njit()
def pay_funding(ledger: Any, rate: float) -> float:
    """Book one funding payment at the mark, and return what was paid (negative: received).

    A long position pays value x rate: in quote (linear), or contracts x contract size / mark x rate in base (inverse).

    Args:
        ledger: the record of a perpetual.
        rate: fraction of the position's value; a negative one turns the payment round.
    """
    paid = position_qty(ledger) * abs(unit_value(ledger, ledger.mark)) * rate
    ledger.cash -= paid
    ledger.funding_pnl -= paid
    return float(paid)


@njit()
def _realise(ledger: Any, side: int, lots: int, value: float) -> float:
    """Move `open_value` for a perpetual fill at average cost, and return the profit it realises."""
    held = ledger.position_lots
    if held * side >= 0:
        ledger.open_value += side * value
        return 0.0
    closing = min(lots, abs(held))
    closed_cost = ledger.open_value * (closing / abs(held))
    closed_value = -side * value * (closing / lots)
    # What is left of the fill after closing opens a position the other way.
    ledger.open_value += side * value * ((lots - closing) / lots) - closed_cost
    return closed_value - closed_cost


@njit()
def start(ledger: Any, mark: float) -> None:
    """Fix the starting point of the run: the first mark, and equity and position as they stand."""
    ledger.mark = mark
    if ledger.kind != 0:
        ledger.open_value = position_qty(ledger) * unit_value(ledger, mark)
    ledger.start_mark = mark
    ledger.start_lots = ledger.position_lots
    ledger.start_equity = equity(ledger)
    ledger.max_abs_lots = abs(ledger.position_lots)


def open_ledger(record: Any, instrument: Instrument, cash: float, position_lots: int) -> None:
    """Write the opening balances of `instrument` into `record`; `start` must follow with the first mark."""
    record.kind = instrument.kind_code
    record.lot_size = instrument.lot_size
    record.contract_size = instrument.contract_size
    record.cash = cash
    record.position_lots = position_lots
