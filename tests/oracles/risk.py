"""The limits, judged from outside: what was known when, what it was worth, and which limit was reached first.

Nothing of the package is used. The tape, the fills and the ends of orders are given, latencies are constant, and from
these it is worked out event by event what reached us: tops of the book at their times of receipt, fills and answers one
response later, funding when it was paid. Prices are ticks, quantities lots, `side` +1 to buy and -1 to sell.

At one time things come in this order: what is seen, funding, answers one by one, a look at what was seen, and last the
answers to what was sent because of that, where no request takes any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from oracles.tick_engine import Params, TickOracle

S = 10**9
DAY = 86_400 * S
ACTIVE, REDUCING, HALTED = 0, 1, 2
SOFT, HARD, DAILY, CONCENTRATION, ZOMBIE, REJECTS, EXECUTIONS = 1, 2, 3, 4, 5, 6, 7
STOP, TARGET, TIME = 10, 11, 12
NO = float("inf")


class Event(NamedTuple):
    ts_ns: int
    control: int
    before: int
    after: int
    value: float


class Top(NamedTuple):
    bid: int | None
    ask: int | None
    lost: bool

    @property
    def mid(self) -> float | None:
        """In ticks; None where there is none: a side is empty, they cross, the feed has lost its place."""
        if self.lost or self.bid is None or self.ask is None or self.bid >= self.ask:
            return None
        return (self.bid + self.ask) / 2


@dataclass
class Case:
    """What a referee is told of a run. Limits are shares of the budget, or seconds, or counts; NO: none."""

    rows: list[tuple[int, int, int, int, int]]  # ts, local ts, price, lots, kind
    fills: list[tuple[int, int, int, int, float, int]]  # ts, side, price, lots, fee, when the order was sent
    kind: str  # linear | spot | inverse
    tick: float
    lot: float
    contract: float
    cash: float
    lots: int = 0
    target: int = 0
    feed_offset: int = 0
    response: int = 0
    funding: list[tuple[int, float]] = field(default_factory=list)
    verdicts: list[tuple[int, int, bool, int]] = field(default_factory=list)  # ts, order, accepted, when it was sent
    unanswered: list[tuple[int, int]] = field(default_factory=list)  # a request: sent, answered
    soft: float = NO
    hard: float = NO
    daily: float = NO
    concentration: float = NO
    stop: float = NO
    target_profit: float = NO
    holding_s: float = NO
    zombie_s: float = NO
    max_rejects: float = NO
    max_executions: float = NO
    window_s: float = 10.0


class Referee:
    """Goes through a case once; `breakers` and `exits` are what ought to have been found, `held_at` what was held."""

    def __init__(self, case: Case) -> None:
        self.c = case
        self.breakers: list[Event] = []
        self.exits: list[Event] = []  # every look at which one of its limits was reached while something was held
        self.due: list[Event] = []  # those of them that have to be noticed: of holding times, not before a whole second
        self.held_at: list[tuple[int, int]] = []  # when what we know we hold changed, and to what
        self.state, self.rejects = ACTIVE, 0
        self.unclear = False  # no mid was known at midnight: where the day opened depends on who looked
        self.top = Top(None, None, False)
        self.day_looked = -1
        self.known_fills: list[int] = []
        self._read_tape()
        if self.start is not None:
            self._go()

    # -- the tape

    def _read_tape(self) -> None:
        c = self.c
        book = TickOracle(Params(feed_offset=c.feed_offset), [])
        self.tops: dict[int, Top] = {}  # by time of receipt: of one time the last counts
        self.mids: list[tuple[int, float]] = []  # at the exchange, in ticks
        self.start: int | None = None
        last = Top(None, None, False)
        for ts, local, price, lots, kind in c.rows:
            book.row(ts, local, price, lots, kind)
            if book.mid is not None and (not self.mids or self.mids[-1][1] != float(book.mid)):
                self.mids.append((ts, float(book.mid)))
            if kind & 64:
                continue
            top = Top(book.best(1), book.best(-1), book.gap)
            if self.start is None and top.bid is not None and top.ask is not None:
                self.start, self.start_mid = ts, (top.bid + top.ask) / 2
            if top != last:
                self.tops[max(local + c.feed_offset, ts)] = last = top
        self.end = c.rows[-1][0]

    def unit(self, ticks: float) -> float:
        price = ticks * self.c.tick
        return -self.c.contract / price if self.c.kind == "inverse" else self.c.contract * price

    # -- what we know

    def _open(self) -> None:
        c = self.c
        self.lots, self.held = c.lots, c.lots - c.target
        own = c.lots * c.lot * self.unit(self.start_mid)
        self.budget = c.cash + (own if c.kind == "spot" else 0.0)
        self.cash = self.budget - own  # so that equity is cash + lots at the mid, whatever the kind
        self.peak = self.opening = self.budget
        self.day = self.start // DAY
        self.entry = self.held * c.lot * self.unit(self.start_mid)  # what the inventory was worth when it was entered
        self.since = self.start
        self.held_at.append((self.start, self.held))

    def _go(self) -> None:
        c = self.c
        self._open()
        answers: dict[int, list[tuple]] = {}
        for order, (ts, *fill) in enumerate(c.fills):
            answers.setdefault(ts + c.response, []).append((ts, 0, order, fill))
        for ts, order, *verdict in c.verdicts:
            answers.setdefault(ts + c.response, []).append((ts, 1, order, verdict))
        paid = dict(c.funding)
        seconds = range((self.start // S + 1) * S, self.end + 1, S)
        times = sorted({*self.tops, *answers, *paid, *seconds})
        for now in times:
            if now in self.tops and now <= self.end:
                self.top = self.tops[now]
                self._note_peak()
            if self.start <= now <= self.end:
                if now in paid:
                    self._pay(now, paid[now])
                self._go_through(now, sorted(answers.get(now, []), key=lambda it: it[:3]))

    def _go_through(self, now: int, here: list[tuple]) -> None:
        for what in here:
            if not self._was_sent(what, now):
                self._answer(now, what)
        second = now % S == 0 and now > self.start
        if second:
            self._zombies(now)
        if second or now in self.tops:
            self._look(now, second=second)
        for what in here:
            if self._was_sent(what, now):
                self._answer(now, what)

    @staticmethod
    def _was_sent(what: tuple, now: int) -> bool:
        return bool(what[3][-1] == now)

    def equity(self) -> float | None:
        mid = self.top.mid
        return None if mid is None else self.cash + self.lots * self.c.lot * self.unit(mid)

    def _note_peak(self) -> None:
        equity = self.equity()
        if self.start is not None and equity is not None:
            self.peak = max(self.peak, equity)

    def _pay(self, now: int, rate: float) -> None:
        held = self.c.lots + sum(side * lots for ts, side, _, lots, *_ in self.c.fills if ts < now)
        mid = next((mid for ts, mid in reversed(self.mids) if ts <= now), None)
        if mid is not None:
            self.cash -= held * self.c.lot * abs(self.unit(mid)) * rate
        self._look(now, second=True)

    def _answer(self, now: int, what: tuple) -> None:
        _, is_verdict, _, told = what
        if is_verdict:
            self.rejects = 0 if told[0] else self.rejects + 1
            if self.rejects >= self.c.max_rejects:
                self._trip(now, REJECTS, HALTED, float(self.rejects))
            return
        side, price, lots, fee, _ = told
        value = lots * self.c.lot * self.unit(price)
        self.lots += side * lots
        self.cash -= side * value + fee
        self._enter(now, side, lots, value)
        bucket = round(self.c.window_s * 1e9 / 16)
        self.known_fills.append(now // bucket)
        recent = sum(1 for b in self.known_fills if b > now // bucket - 17)
        if recent > self.c.max_executions:
            self._trip(now, EXECUTIONS, HALTED, float(recent))
        self._look(now, second=True)

    def _enter(self, now: int, side: int, lots: int, value: float) -> None:
        """Average cost; an inventory that is turned over begins anew."""
        before = self.held
        if before == 0:
            self.since = now
        if before * side >= 0:
            self.entry += side * value
        elif lots <= abs(before):
            self.entry *= 1 - lots / abs(before)
        else:
            self.entry = side * value * (lots - abs(before)) / lots
            self.since = now
        self.held += side * lots
        self.held_at.append((now, self.held))

    # -- the limits

    def _trip(self, now: int, control: int, to: int, value: float) -> None:
        if self.state < to:
            self.breakers.append(Event(now, control, self.state, to, value))
            self.state = to

    def _zombies(self, now: int) -> None:
        waiting = [now - sent for sent, answered in self.c.unanswered if sent <= now < answered]
        if waiting and max(waiting) / 1e9 >= self.c.zombie_s:
            self._trip(now, ZOMBIE, HALTED, max(waiting) / 1e9)

    def _look(self, now: int, *, second: bool) -> None:
        """`second`: times are looked at too, not only money."""
        c, equity, mid = self.c, self.equity(), self.top.mid
        if equity is None or mid is None:
            self.unclear |= now % DAY == 0
            return
        if second and now // DAY != self.day:
            self.day, self.opening = now // DAY, equity
        self.peak = max(self.peak, equity)
        drawdown, loss = (self.peak - equity) / self.budget, (self.opening - equity) / self.budget
        worth = abs(self.held) * c.lot * abs(self.unit(mid)) / self.budget
        if drawdown >= c.hard:
            self._trip(now, HARD, HALTED, drawdown)
        elif loss >= c.daily:
            self._trip(now, DAILY, HALTED, loss)
        elif drawdown >= c.soft:
            self._trip(now, SOFT, REDUCING, drawdown)
        elif worth >= c.concentration:
            self._trip(now, CONCENTRATION, REDUCING, worth)
        if self.held != 0 and self.state != HALTED:
            self._look_at_inventory(now, mid, second=second)

    def _look_at_inventory(self, now: int, mid: float, *, second: bool) -> None:
        c = self.c
        profit = (self.held * c.lot * self.unit(mid) - self.entry) / self.budget
        age = (now - self.since) / 1e9
        if -profit >= c.stop:
            found = Event(now, STOP, self.state, self.state, -profit)
        elif profit >= c.target_profit:
            found = Event(now, TARGET, self.state, self.state, profit)
        elif age >= c.holding_s:
            found = Event(now, TIME, self.state, self.state, age)
        else:
            return
        self.exits.append(found)
        if found.control != TIME or second:
            self.due.append(found)
