"""A venue's own rules in plain Python, on top of the slow tick engine: order checks, self-trades, tiers, margin.

As there: nothing is fast, nothing is shared with the package, money is in exact fractions.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction

from oracles.tick_engine import Order, Params, TickOracle

DAY_NS = 86_400 * 10**9


@dataclass
class VenueParams(Params):
    min_notional: Fraction = Fraction(0)
    stp: str | None = None
    band: tuple[Fraction, Fraction] | None = None  # (down, up), of the mid
    tiers: list[tuple[Fraction, Fraction, Fraction]] = field(default_factory=list)  # (volume, maker, taker), rates
    volume_start: Fraction = Fraction(0)
    by_day: bool = False
    funding: list[tuple[int, Fraction]] = field(default_factory=list)
    leverage: Fraction = Fraction(0)
    brackets: list[tuple[Fraction | None, Fraction, Fraction]] = field(default_factory=list)  # (up to, rate, less)
    liquidation_fee: Fraction = Fraction(0)
    rejects: list[tuple[int, int]] = field(default_factory=list)  # (from, until)


class VenueOracle(TickOracle):
    p: VenueParams

    def __init__(self, params: VenueParams, script: list[tuple]) -> None:
        super().__init__(params, script)
        self.funding = deque(params.funding)
        self.funded = Fraction(0)
        self.look = self.liquidated = False
        self.volumes: dict[int, Fraction] = {}
        self.first_day: int | None = None

    # -- what the venue does of its own accord

    def heads(self) -> list[tuple[int, int]]:
        funding = [(self.funding[0][0], -2)] if self.funding else []
        look = [(self.now, -1)] if self.look and self.now else []
        return funding + look + super().heads()

    def handle(self, which: int) -> None:
        if which == -2:
            self.pay(self.funding.popleft()[1])
        elif which == -1:
            self.look = False
            self.margin_call()
            return
        else:
            super().handle(which)
        self.look = True

    def row(self, *columns: int) -> None:
        super().row(*columns)
        self.look = True

    def pay(self, rate: Fraction) -> None:
        if self.position and self.mid is not None:
            paid = self.position * abs(self.unit(self.mid)) * rate
            self.cash -= paid
            self.funded -= paid

    def equity(self) -> Fraction:
        return self.cash + (self.position * self.unit(self.mid) - self.cost if self.mid else 0)

    def maintenance(self) -> Fraction:
        value = abs(self.position * self.unit(self.mid))
        for cap, rate, less in self.p.brackets:
            if cap is None or value <= cap:
                return max(Fraction(0), value * rate - less)
        raise AssertionError("the last bracket has no end")

    def margin_call(self) -> None:
        if not self.p.leverage or not self.position or self.mid is None or self.equity() > self.maintenance():
            return
        for order in list(self.resting):
            self.end(order, "CANCELLED", "LIQUIDATED")
        self.liquidated = True
        side = -1 if self.position > 0 else 1
        order = Order(-1, side, 0, abs(self.position), "market", self.now, reason="LIQUIDATED")
        price = max(1, math.floor(self.mid) if side < 0 else math.ceil(self.mid))
        for level in sorted(self.book[-side], key=lambda level: side * level):
            if order.left == 0 or not self.is_known(-side, level):
                break
            price = level
            self.fill(order, min(order.left, self.book[-side][level]), price, maker=False)
        if order.left:
            self.fill(order, order.left, price, maker=False)

    # -- fees

    def rate(self, maker: bool) -> Fraction:
        rates = self.p.maker, self.p.taker
        if self.p.tiers:
            volume = self.volume()
            for least, *tier in self.p.tiers:
                if volume >= least:
                    rates = tuple(tier)
        return rates[0 if maker else 1] + (self.p.liquidation_fee if self.liquidated else 0)

    def volume(self) -> Fraction:
        day = self.now // DAY_NS
        if self.first_day is None:
            self.first_day = day
            self.volumes |= {day - i: self.p.volume_start / 30 for i in range(1, 31)}
        days = range(day - 30, day if self.p.by_day else day + 1)
        return sum((self.volumes.get(i, Fraction(0)) for i in days), Fraction(0))

    def fill(self, order: Order, lots: int, price: int, *, maker: bool) -> int:
        lots = super().fill(order, lots, price, maker=maker)
        day = self.now // DAY_NS
        self.volumes[day] = self.volumes.get(day, Fraction(0)) + self.notional(lots, price)
        return lots

    def notional(self, lots: int, price: Fraction | int) -> Fraction:
        """In quote currency."""
        each = 1 if self.p.kind == "inverse" else price * self.p.tick
        return lots * self.p.lot * self.p.contract * each

    # -- order checks

    def submit(self, order: Order) -> None:
        if self.liquidated:
            self.end(order, "REJECTED", "LIQUIDATED")
        elif self.rejecting():
            self.end(order, "REJECTED", "VENUE_DOWN")
        else:
            super().submit(order)

    def replace(self, order: Order, price: int, qty: int) -> None:
        if self.rejecting():
            self.count["replace_rejected"] += 1
            self.answer(order)
        else:
            super().replace(order, price, qty)

    def rejecting(self) -> bool:
        return any(first <= self.now < last for first, last in self.p.rejects)

    def judged(self, order: Order) -> Fraction:
        if order.type != "market":
            return Fraction(order.price)
        best = self.best(-order.side)
        return Fraction(best) if best is not None else self.mid or Fraction(0)

    def too_small(self, order: Order, qty: int) -> bool:
        price = self.judged(order)
        if not self.p.min_notional or order.reduce_only or (self.p.kind != "inverse" and price == 0):
            return False
        closes = 0 < qty <= -order.side * self.position
        if order.type == "market" and self.p.kind != "spot" and closes:
            return False
        return self.notional(qty, price) < self.p.min_notional

    def refusal(self, order: Order, held: Fraction) -> str | None:
        if self.too_small(order, order.qty):
            return "MIN_NOTIONAL"
        if self.p.band and order.type != "market" and self.mid is not None:
            down, up = self.p.band
            if not down * self.mid <= order.price <= up * self.mid:
                return "PRICE_BAND"
        if poor := super().refusal(order, held):
            return poor
        if self.p.leverage and not order.reduce_only:
            needed = self.margin(order)
            if needed > held and needed > self.equity():
                return "MARGIN"
        return None

    def margin(self, extra: Order | None = None) -> Fraction:
        if not self.p.leverage:
            return Fraction(0)
        held = self.position * abs(self.unit(self.mid)) if self.mid is not None else Fraction(0)
        sums = {1: held, -1: -held}
        for order in [*self.resting, *([extra] if extra else [])]:
            price = self.judged(order)
            value = abs(self.unit(price)) if price else Fraction(0)
            if self.mid is not None and order.side * (price - self.mid) > 0:
                value = max(value, abs(self.unit(self.mid)))
            sums[order.side] += order.left * value
        return max(sums.values()) / self.p.leverage

    # -- self-trades

    def opposite(self, order: Order) -> Order | None:
        own = self.by_priority(-order.side)
        return own[0] if own and self.p.stp else None

    def crosses(self, order: Order) -> bool:
        own = self.opposite(order)
        met = own is not None and order.side * order.price >= order.side * own.price
        return met or super().crosses(order)

    def take(self, order: Order) -> None:
        if not self.crosses(order):
            return
        other = -order.side
        levels = sorted(self.book[other], key=lambda price: -other * price)
        while order.left and order.status not in ("EXPIRED", "REJECTED"):
            if levels and not self.is_known(other, levels[0]):
                levels = []
            own = self.opposite(order)
            if not levels and own is None:
                return
            # At one price what is recorded goes first.
            at_level = own is None or (levels and other * levels[0] >= other * own.price)
            price = levels[0] if at_level else own.price
            if order.type != "market" and order.side * order.price < order.side * price:
                return
            if at_level:
                levels.pop(0)
                wanted = min(order.left, self.book[other][price])
                lots = min(wanted, self.affordable(order.side, price))
                if lots > 0:
                    self.fill(order, lots, price, maker=False)
            else:
                wanted, lots = self.meet(order, own)
            if lots < wanted:
                return

    def meet(self, taker: Order, maker: Order) -> tuple[int, float]:
        """Let two own orders meet; return what would trade, and what of it the taker could pay for."""
        lots = min(taker.left, maker.left)
        if self.p.stp == "none":
            can = min(lots, self.affordable(taker.side, maker.price))
            if can > 0:
                self.count["self_trades"] += 1
                self.fill(maker, can, maker.price, maker=True)
                self.fill(taker, can, maker.price, maker=False)
            return lots, can
        self.count["prevented"] += 1
        if self.p.stp == "decrement":
            for order in (maker, taker):
                if order.left == lots:
                    self.end(order, "EXPIRED", "STP")
                else:
                    order.qty -= lots
                    self.answer(order)
            return 0, 0
        if self.p.stp in ("expire_maker", "expire_both"):
            self.end(maker, "EXPIRED", "STP")
        if self.p.stp in ("expire_taker", "expire_both"):
            self.end(taker, "EXPIRED", "STP")
        return 0, 0
