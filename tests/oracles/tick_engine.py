"""The tick engine's rules in plain Python: a book of dicts, orders in a list, three queues of things to come.

Nothing here is fast and nothing is shared with the package. Prices are in ticks, quantities in lots, money in exact
fractions; only the place in the queue is a float, because its models are. `side` is +1 for bids and buys, -1 for asks
and sells; a price times its side is larger the better it is.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

GAP, SNAPSHOT, TRADE_UNKNOWN, MORE = 5, 6, 14, 64
DEPTH = {8: 1, 9: -1}  # kind -> side of the level
BBO = {10: 1, 11: -1}
TRADES = {12: 1, 13: -1, TRADE_UNKNOWN: 0}  # kind -> side of the resting orders it meets

UNKNOWN = 2.0**60  # lots in front where nothing is known about the level
EVERYTHING, NOTHING = -math.inf, math.inf  # as thresholds on side * price
LIVE = ("LIVE", "PARTIALLY_FILLED")


class Fill(NamedTuple):
    ts_ns: int
    order_id: int
    side: int
    price_ticks: int
    qty_lots: int
    mid: Fraction  # in ticks
    maker: bool
    position_lots: int
    fee: Fraction


@dataclass
class Order:
    order_id: int
    side: int
    price: int
    qty: int
    type: str  # limit | post_only | ioc | market
    submitted_ns: int
    filled: int = 0
    status: str = "NEW"
    reason: str = "NONE"
    live_ns: int = 0  # when it first came to rest; 0: never
    closed_ns: int = 0
    rested_ns: int = 0  # when it took the place it has now
    ahead: float = 0.0
    credit: int = 0
    reduce_only: bool = False

    @property
    def left(self) -> int:
        return self.qty - self.filled


@dataclass
class Params:
    kind: str = "linear"  # or "spot", "inverse"
    tick: Fraction = Fraction(1)
    lot: Fraction = Fraction(1)
    contract: Fraction = Fraction(1)
    maker: Fraction = Fraction(0)  # rates, not basis points
    taker: Fraction = Fraction(0)
    cash: Fraction = Fraction(10**9)
    lots: int = 0
    first_price: Fraction = Fraction(0)  # what opening lots of a perpetual were entered at
    queue: str = "risk_averse"  # front | risk_averse | log | log2 | power | power2 | fifo
    exponent: float = 3.0
    latency: list[tuple[int, int, int]] = field(default_factory=lambda: [(0, 0, 0)])  # (ts, entry, response)
    feed_offset: int = 0


def run(
    rows: list[tuple[int, int, int, int, int]],
    script: list[tuple],
    params: Params,
    engine: type[TickOracle] | None = None,
) -> TickOracle:
    """Rows are (ts, local_ts, price, qty, kind) and, for fifo, since; actions, in order of time, are
    ("submit", ts, side, price, qty, type), with "reduce_only" after the type or not, ("cancel", ts, order_id) and
    ("replace", ts, order_id, price, qty).
    """  # fmt: skip
    it = (engine or TickOracle)(params, script)
    for row in rows:
        it.until(row[0] - 1)
        it.row(*row)
    it.until(rows[-1][0])
    it.finish(rows[-1][0])
    return it


class TickOracle:
    def __init__(self, params: Params, script: list[tuple]) -> None:
        self.p = params
        self.book: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.known = {1: NOTHING, -1: NOTHING}
        self.stated = {1: set(), -1: set()}  # levels whose total a row has stated since the last snapshot
        self.gap = self.depth_seen = self.snapshot_seen = False
        self.since = -1  # when the order of the row under way took its place
        self.named: dict[int, set[int]] | None = None  # levels that the snapshot under way has named
        self.mid: Fraction | None = None  # in ticks, as the last whole message left it
        self.mark: Fraction | None = None  # what equity is valued at: the mid, before there is one the last fill
        self.start = self.peak = self.drawdown = Fraction(0)  # of equity after every message, request and payment
        self.crossed = False  # at the end of the last message
        self.now = 0
        self.local = -(2**63)
        self.cash, self.position, self.fees = params.cash, params.lots, Fraction(0)
        self.cost = params.lots * self.unit(1) * params.first_price / params.tick  # of an open perpetual position
        self.script, self.next_id = deque(script), 1
        self.requests: deque[tuple] = deque()  # (arrives at, action, order)
        self.answers: deque[tuple] = deque()  # (arrives at, order_id, whether it is the last about this order)
        self.request_at = self.answer_at = -(2**63)
        self.orders: dict[int, Order] = {}
        self.ended_for_us: set[int] = set()
        self.resting: list[Order] = []  # in the order in which they came to rest
        self.fills: list[Fill] = []
        self.ended: list[Order] = []
        self.count: Counter[str] = Counter()

    # -- time

    def until(self, last_ns: int) -> None:
        """Do what is due up to and including `last_ns`: the earliest first; requests, answers, script on a tie."""
        while heads := self.heads():
            if min(heads)[0] > last_ns:
                return
            self.now, which = min(heads)
            self.handle(which)
            self.take_equity()

    def heads(self) -> list[tuple[int, int]]:
        """What comes next of each kind: when, and its rank among those of one time."""
        return [
            (queue[0][0 if order < 2 else 1], order)
            for order, queue in enumerate((self.requests, self.answers, self.script))
            if queue
        ]

    def handle(self, which: int) -> None:
        if which == 0:
            _, action, order = self.requests.popleft()
            self.arrive(action, order)
        elif which == 1:
            _, order_id, last = self.answers.popleft()
            if last:
                self.ended_for_us.add(order_id)
        else:
            self.send(self.script.popleft())

    def delay(self, at_ns: int, column: int) -> int:
        """Column 1: entry, 2: response. A straight line between points, rounded down, flat outside them."""
        points = self.p.latency
        if at_ns <= points[0][0]:
            return points[0][column]
        for a, b in itertools.pairwise(points):
            if at_ns < b[0]:
                return a[column] + (b[column] - a[column]) * (at_ns - a[0]) // (b[0] - a[0])
        return points[-1][column]

    def send(self, action: tuple) -> None:
        if action[0] == "submit":
            _, ts, side, price, qty, kind, *only = action
            order = Order(self.next_id, side, price, qty, kind, ts, reduce_only=only == ["reduce_only"])
            self.orders[order.order_id] = order
            self.next_id += 1
        else:
            order = self.orders[action[2]]
            if order.order_id in self.ended_for_us:
                self.count["script_ignored"] += 1
                return
        self.request_at = max(self.request_at, self.now + self.delay(self.now, 1))
        self.requests.append((self.request_at, action, order))

    def answer(self, order: Order) -> None:
        self.answer_at = max(self.answer_at, self.now + self.delay(self.now, 2))
        self.answers.append((self.answer_at, order.order_id, order.status not in ("NEW", *LIVE)))

    def finish(self, last_ns: int) -> None:
        self.now = last_ns
        for _, action, order in self.requests:
            if action[0] == "submit":
                self.end(order, "EXPIRED", "IN_FLIGHT")
        for order in sorted(self.resting, key=lambda o: o.order_id):
            self.end(order, "EXPIRED", "END")

    # -- the exchange's book

    def best(self, side: int) -> int | None:
        return max(self.book[side], key=lambda price: side * price, default=None)

    def row(self, ts: int, local_ts: int, price: int, qty: int, kind: int, since: int = -1) -> None:
        self.now, self.since = ts, since
        more, kind = kind & MORE, kind & 63
        seen = local_ts + self.p.feed_offset
        self.count["receipt_clamped"] += seen < max(ts, self.local)
        self.local = max(seen, ts, self.local)
        self.count["rows"] += 1
        if kind == GAP:
            self.count["gaps"] += 1
            self.gap, self.known = True, {1: NOTHING, -1: NOTHING}
        elif kind == SNAPSHOT:
            self.count["snapshots"] += 1
            self.snapshot_seen = self.depth_seen = True
            self.named = {1: set(), -1: set()}
        elif kind in DEPTH:
            self.depth(DEPTH[kind], price, qty)
        elif kind in BBO:
            self.since = -1  # what a better price left behind was there before
            self.bbo(BBO[kind], price, qty)
        elif kind in TRADES:
            self.count["trades"] += 1
            side = TRADES[kind] or self.side_met(price)
            if side:
                self.trade(side, price, qty)
        if more:
            return
        if self.named is not None:
            self.since = -1
            self.end_snapshot()
        self.take_mid()
        self.take_equity()
        bid, ask = self.best(1), self.best(-1)
        crossed = bid is not None and ask is not None and bid >= ask
        self.count["crossed_messages"] += crossed
        self.count["became_crossed"] += crossed and not self.crossed
        self.crossed = crossed

    def take_mid(self) -> None:
        bid, ask = self.best(1), self.best(-1)
        if bid is not None and ask is not None:
            self.mid = Fraction(bid + ask, 2)

    def value_at(self, price: Fraction) -> None:
        """Value what is held at another price; the first there is, of the mid or of a fill before it, is the start."""
        first, self.mark = self.mark is None, price
        if first:
            if self.p.kind != "spot" and not self.p.first_price:
                self.cost = self.position * self.unit(price)
            self.start = self.peak = self.worth()

    def worth(self) -> Fraction:
        value = self.position * self.unit(self.mark)
        return self.cash + value - (0 if self.p.kind == "spot" else self.cost)

    def take_equity(self) -> None:
        if self.mid is not None:
            self.value_at(self.mid)
        if self.mark is not None:
            self.peak = max(self.peak, self.worth())
            self.drawdown = max(self.drawdown, self.peak - self.worth())

    def is_known(self, side: int, price: int) -> bool:
        if side * price >= self.known[side]:
            return True
        return self.depth_seen and not self.gap and price in self.stated[side]

    def depth(self, side: int, price: int, qty: int) -> None:
        self.depth_seen = True
        if self.named is not None:
            if qty:  # a snapshot's row of nothing says nothing of how deep it goes
                self.named[side].add(price)
        elif self.gap:
            return
        elif not self.snapshot_seen:
            self.known = {1: EVERYTHING, -1: EVERYTHING}
        self.stated[side].add(price)
        self.set_level(side, price, qty)

    def bbo(self, side: int, price: int, qty: int) -> None:
        if self.gap and self.depth_seen:
            return
        self.gap = False
        for level in [level for level in self.book[side] if side * level > side * price]:
            self.set_level(side, level, 0)
        self.set_level(side, price, qty)
        self.stated[side].add(price)
        # Nothing is better than the best price. Of what is worse only depth says anything.
        self.known[side] = min(self.known[side], side * price) if self.depth_seen else side * price
        self.nobody_hidden(side, side * price + 1)

    def end_snapshot(self) -> None:
        for side, named in self.named.items():
            self.known[side] = min((side * price for price in named), default=EVERYTHING)
            self.stated[side] = set()
            for price in [price for price in self.book[side] if price not in named]:
                # Beyond the snapshot's last level nothing is known: that level left the view, not the book.
                self.set_level(side, price, 0, queue=side * price >= self.known[side])
        for side in self.named:
            self.nobody_hidden(side, self.known[side])
        self.gap, self.named = False, None

    def nobody_hidden(self, side: int, least: float) -> None:
        """The book is known down to `least` (side * price): no more can be ahead of an order than it shows."""
        for order in self.resting:
            if order.side == side and side * order.price >= least:
                order.ahead = min(order.ahead, self.book[side].get(order.price, 0))

    def set_level(self, side: int, price: int, new: int, *, queue: bool = True) -> None:
        old = self.book[side].get(price, 0)
        room = new - old
        for order in self.by_priority(-side):  # somebody came to rest where our order should have met him
            if room > 0 and -side * order.price >= -side * price:
                room -= self.fill(order, min(order.left, room), order.price, maker=True)
        self.book[side].pop(price, None)
        if new:
            self.book[side][price] = new
        if queue:
            for order in self.resting:
                if order.side == side and order.price == price:
                    self.move_up(order, old, new)

    def move_up(self, order: Order, old: int, new: int) -> None:
        c, ahead = order.credit, order.ahead
        order.credit = 0
        d = old - new - c  # what went away and was not traded
        back = max(0, old - c - ahead)
        if self.p.queue == "front":
            return
        if ahead > old or d <= 0 or self.p.queue == "risk_averse":
            order.ahead = min(ahead, new)
            return
        if self.p.queue == "fifo":
            order.ahead = max(0, min(ahead - d if self.since <= order.rested_ns else ahead, new))
            return
        f_back, f_ahead, f_both = self.weight(back), self.weight(ahead), self.weight(back + ahead)
        below = f_both if self.p.queue.endswith("2") else f_back + f_ahead
        share = f_back / below if below else 1.0  # of what went away, from behind us
        left = ahead - (1 - share) * d + min(back - share * d, 0)
        order.ahead = max(0, min(left, new))

    def weight(self, lots: float) -> float:
        x = lots * float(self.p.lot)
        return math.log(1 + x) if self.p.queue.startswith("log") else x**self.p.exponent

    # -- what fills resting orders

    def by_priority(self, side: int) -> list[Order]:
        return sorted(
            (o for o in self.resting if o.side == side), key=lambda o: -side * o.price
        )  # stable: oldest first

    def side_met(self, price: int) -> int:
        ask, bid = self.best(-1), self.best(1)
        if ask is not None and price >= ask:
            return -1
        return 1 if bid is not None and price <= bid else 0

    def trade(self, side: int, price: int, left: int) -> None:
        for order in self.by_priority(side):
            if side * order.price > side * price and left > 0:
                left -= self.fill(order, min(order.left, left), order.price, maker=True)
        used = 0
        for order in [o for o in self.resting if o.side == side and o.price == price]:
            order.credit += left
            if order.ahead < UNKNOWN:
                lots = min(order.left, math.floor(left - order.ahead - used + 1e-9))
                order.ahead = max(0, order.ahead - left)
                if lots > 0:
                    used += self.fill(order, lots, price, maker=True)

    def fill(self, order: Order, lots: int, price: int, *, maker: bool) -> int:
        self.value_at(Fraction(price) if self.mid is None else self.mid)
        value = lots * self.unit(price)
        fee = abs(value) * self.rate(maker)
        side, held = order.side, self.position
        if self.p.kind == "spot":
            self.cash -= side * value
        else:
            closing = min(lots, abs(held)) if held * side < 0 else 0
            if closing:  # profit against the average entry
                entry = self.cost / held  # of one lot; positive, short or long
                self.cash += -side * closing * (self.unit(price) - entry)
                self.cost += side * closing * entry
            self.cost += side * (lots - closing) * self.unit(price)
        self.cash -= fee
        self.fees += fee
        self.position += side * lots
        order.filled += lots
        mid = Fraction(price) if self.mid is None else self.mid
        self.fills.append(Fill(self.now, order.order_id, side, price, lots, mid, maker, self.position, fee))
        if order.left == 0:
            self.end(order, "FILLED", order.reason)
        else:
            order.status = "PARTIALLY_FILLED"
            self.answer(order)
        return lots

    def end(self, order: Order, status: str, reason: str) -> None:
        order.status, order.reason, order.closed_ns = status, reason, self.now
        self.resting = [o for o in self.resting if o is not order]
        self.ended.append(order)
        self.answer(order)

    # -- requests

    def arrive(self, action: tuple, order: Order) -> None:
        if action[0] == "submit":
            self.submit(order)
        elif order.status not in LIVE:
            self.count["too_late"] += 1
            self.answer(order)
        elif action[0] == "cancel":
            self.end(order, "CANCELLED", "REQUOTE")
        else:
            self.replace(order, *action[3:])

    def submit(self, order: Order) -> None:
        refused = None
        if self.gap:
            refused = "GAP"
        elif order.qty < 1 or (order.type != "market" and order.price < 1):
            refused = "PRICE"
        elif order.reduce_only and order.side * self.position >= 0:
            refused = "REDUCE_ONLY"
        else:
            if order.reduce_only:
                order.qty = min(order.qty, abs(self.position))
            refused = self.refusal(order, self.margin())
        if not refused and order.type == "post_only" and self.crosses(order):
            refused = "POST_ONLY"
        if refused:
            self.end(order, "REJECTED", refused)
            return
        self.take(order)
        if order.left == 0 or order.status == "EXPIRED":
            return
        if order.type in ("ioc", "market"):
            self.end(order, "EXPIRED", "NO_LIQUIDITY")
        else:
            self.rest(order)

    def replace(self, order: Order, price: int, qty: int) -> None:
        if qty <= order.filled:
            self.end(order, "CANCELLED", "REQUOTE")
            return
        if price == order.price and qty <= order.qty:
            if self.too_small(order, qty):
                self.count["replace_rejected"] += 1
            else:
                order.qty = qty
            self.answer(order)
            return
        held = self.margin()
        place = self.resting.index(order)
        before = order.price, order.qty
        self.resting.remove(order)  # so that what it reserves is free
        order.price, order.qty = price, qty
        blocked = order.type == "post_only" and self.crosses(order)
        if self.gap or blocked or self.refusal(order, held):
            order.price, order.qty = before
            self.resting.insert(place, order)
            self.count["replace_rejected"] += 1
            self.answer(order)
            return
        self.take(order)
        if order.left and order.status != "EXPIRED":
            self.rest(order)

    def refusal(self, order: Order, held: Fraction) -> str | None:  # noqa: ARG002  (margin, in `tick_venue`)
        """Why the account does not carry an order, `held` being the margin that was needed before it came."""
        if order.type not in ("limit", "post_only"):
            return None
        return self.cannot_afford(order.side, order.price, order.left)

    def too_small(self, order: Order, qty: int) -> bool:  # noqa: ARG002  (likewise)
        return False

    def margin(self) -> Fraction:
        return Fraction(0)

    def crosses(self, order: Order) -> bool:
        best = self.best(-order.side)
        return order.type == "market" or (best is not None and order.side * order.price >= order.side * best)

    def take(self, order: Order) -> None:
        """Take what the book shows, the best level first, unless there is nothing to cross."""
        if not self.crosses(order):
            return
        other = -order.side
        for price in sorted(self.book[other], key=lambda price: -other * price):
            in_limit = order.type == "market" or order.side * order.price >= order.side * price
            if not self.is_known(other, price) or not in_limit or order.left == 0:
                return
            wanted = min(order.left, self.book[other][price])
            lots = min(wanted, self.affordable(order.side, price))
            if lots > 0:
                self.fill(order, lots, price, maker=False)
            if lots < wanted:
                return

    def rest(self, order: Order) -> None:
        order.status = "PARTIALLY_FILLED" if order.filled else "LIVE"
        order.live_ns = order.live_ns or self.now
        order.rested_ns = self.now
        order.credit = 0
        known = self.is_known(order.side, order.price)
        order.ahead = float(self.book[order.side].get(order.price, 0)) if known else UNKNOWN
        if self.p.queue == "front":
            order.ahead = 0.0
        self.resting.append(order)
        self.answer(order)

    # -- money

    def unit(self, price: int | Fraction) -> Fraction:
        """The value of a lot; of an inverse contract it is negative, and only differences mean anything."""
        if self.p.kind == "inverse":
            return -self.p.contract * self.p.lot / (price * self.p.tick)
        return price * self.p.tick * self.p.contract * self.p.lot

    def rate(self, maker: bool) -> Fraction:
        return self.p.maker if maker else self.p.taker

    def bid_cost(self, price: int, lots: int) -> Fraction:
        return lots * self.unit(price) * (1 + max(self.rate(True), Fraction(0)))

    def free_cash(self) -> Fraction:
        return self.cash - sum(self.bid_cost(o.price, o.left) for o in self.resting if o.side == 1)

    def free_lots(self) -> int:
        return self.position - sum(o.left for o in self.resting if o.side == -1)

    def cannot_afford(self, side: int, price: int, lots: int) -> str | None:
        if self.p.kind != "spot":
            return None
        if side == -1:
            return "NO_INVENTORY" if lots > self.free_lots() else None
        grace = Fraction(1, 10**9) * max(Fraction(1), self.cash)
        return "NO_CASH" if self.bid_cost(price, lots) > self.free_cash() + grace else None

    def affordable(self, side: int, price: int) -> float:
        if self.p.kind != "spot":
            return math.inf
        if side == -1:
            return max(0, self.free_lots())
        return max(0, math.floor(self.free_cash() / (self.unit(price) * (1 + self.rate(False))) + Fraction(1, 10**9)))
