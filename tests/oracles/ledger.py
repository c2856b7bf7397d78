"""A ledger in exact fractions: cash flows summed, positions valued, nothing incremental."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass
class OracleLedger:
    """kind: "spot", "linear" or "inverse". Fills and marks are kept and every figure is summed from scratch."""

    kind: str
    contract: Fraction
    cash0: Fraction
    qty0: Fraction
    mark0: Fraction
    events: list[tuple] = field(
        default_factory=list
    )  # ("fill", side, qty, price, rate) | ("mark", price) | ("fund", rate)

    def value(self, price: Fraction) -> Fraction:
        return -self.contract / price if self.kind == "inverse" else self.contract * price

    def totals(self) -> dict[str, Fraction]:
        qty, mark = self.qty0, self.mark0
        spread = inventory = fees = turnover = flows = funding = Fraction(0)
        for event in self.events:
            if event[0] == "fill":
                _, side, amount, price, rate = event
                spread += side * amount * (self.value(mark) - self.value(price))
                fee = amount * abs(self.value(price)) * rate
                fees += fee
                turnover += amount * abs(self.value(price))
                flows -= side * amount * self.value(price) + fee
                qty += side * amount
            elif event[0] == "fund":
                funding -= qty * abs(self.value(mark)) * event[1]
            else:
                inventory += qty * (self.value(event[1]) - self.value(mark))
                mark = event[1]
        worth = qty * self.value(mark)
        if self.kind != "spot":  # a perpetual opens flat in value: only what its price did since counts
            worth -= self.qty0 * self.value(self.mark0)
        return {
            "equity": self.cash0 + flows + funding + worth,
            "gross_spread_pnl": spread,
            "inventory_pnl": inventory,
            "funding_pnl": funding,
            "fees_paid": fees,
            "turnover": turnover,
            "qty": qty,
        }

    def wallet(self) -> Fraction:
        """Cash of a perpetual: the opening balance, realised profit at average cost, less fees."""
        qty, cost = self.qty0, self.qty0 * self.value(self.mark0)
        cash, mark = self.cash0, self.mark0
        for event in self.events:
            if event[0] == "mark":
                mark = event[1]
            if event[0] == "fund":
                cash -= qty * abs(self.value(mark)) * event[1]
            if event[0] != "fill":
                continue
            _, side, amount, price, rate = event
            cash -= amount * abs(self.value(price)) * rate
            closing = min(amount, abs(qty)) if qty * side < 0 else Fraction(0)
            if closing:
                entry = cost / qty  # average value per unit
                cash += -side * closing * (self.value(price) - entry)
                cost += side * closing * entry
                qty += side * closing
            opening = amount - closing
            cost += side * opening * self.value(price)
            qty += side * opening
        return cash
