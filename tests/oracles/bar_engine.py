"""Rule 8 in plain Python: one decision a bar, at its close; fills only through the limit, at the limit.

Everything is in ticks, lots and exact fractions of money; quotes come from a function (mid, q, time_left_s) -> offsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass
class Bar:
    open_s: int
    low: int
    high: int
    close: int
    volume: int


@dataclass
class Order:
    price: int
    left: int
    size: int  # as submitted, less what was cut since


def run(
    bars: list[Bar], quote, *, interval_s: int, tick: float, lot: float, spot: bool, cash: Fraction, lots: int,
    order_lots: int, target: int, maker: Fraction, min_notional: float, share: Fraction, session_s: float
) -> dict:  # fmt: skip
    """Return the fills as (bar index, side, price, lots), and the equity at every close, in exact money."""
    bid = ask = None
    fills, equity = [], []
    previous_close_s = None
    for index, bar in enumerate(bars):
        if previous_close_s is not None and bar.open_s > previous_close_s:
            bid = ask = None  # a hole: quotes were pulled
        most = math.floor(bar.volume // 2 * share)
        if bid is not None and bar.low <= bid.price - 1 and min(bid.left, most) > 0:
            got = min(bid.left, most)
            fills.append((index, 1, bid.price, got))
            lots += got
            cash -= Fraction(got) * Fraction(lot) * Fraction(bid.price) * Fraction(tick) * (1 + maker)
            bid.left -= got
        if ask is not None and bar.high >= ask.price + 1 and min(ask.left, most) > 0:
            got = min(ask.left, most)
            fills.append((index, -1, ask.price, got))
            lots -= got
            cash += Fraction(got) * Fraction(lot) * Fraction(ask.price) * Fraction(tick) * (1 - maker)
            ask.left -= got
        bid = bid if bid and bid.left else None
        ask = ask if ask and ask.left else None
        close_s = bar.open_s + interval_s
        previous_close_s = close_s
        equity.append(cash + Fraction(lots) * Fraction(lot) * Fraction(bar.close) * Fraction(tick))
        elapsed = close_s - bars[0].open_s
        left_s = math.inf if math.isinf(session_s) else session_s - elapsed % session_s
        bid_offset, ask_offset = quote((lots - target) / order_lots, left_s)
        mid = bar.close * tick
        wanted_bid = min(math.floor((mid - bid_offset) / tick + 1e-6), bar.close - 1)
        wanted_ask = max(math.ceil((mid + ask_offset) / tick - 1e-6), bar.close + 1)
        bid_lots = ask_lots = order_lots
        if spot:
            unit = Fraction(wanted_bid) * Fraction(tick) * Fraction(lot) * (1 + max(maker, Fraction(0)))
            bid_lots = min(order_lots, max(0, math.floor(cash / unit + Fraction(1, 10**6)))) if wanted_bid > 0 else 0
            ask_lots = min(order_lots, max(0, lots))
        bid = _place(bid, wanted_bid, bid_lots, tick, lot, min_notional)
        ask = _place(ask, wanted_ask, ask_lots, tick, lot, min_notional)
    return {"fills": fills, "equity": equity, "lots": lots}


def _place(resting, price, lots, tick, lot, min_notional):
    if price < 1 or lots < 1 or lots * lot * price * tick < min_notional * (1 - 1e-9):
        return None
    if resting is not None and resting.price == price and resting.size >= lots:
        cut = max(0, resting.left - lots)
        return Order(price, resting.left - cut, resting.size - cut)
    return Order(price, lots, lots)
