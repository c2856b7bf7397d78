"""Random markets that hurt, and runs on them of which every request is written down: what tests of the limits share."""

from __future__ import annotations

import math
import os
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from hypothesis import Phase, settings
from numba import njit

import marketmakerl as mml
from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.layout import REQUEST, Status
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.models.custom import CustomModel
from marketmakerl.risk.reasons import Reason
from searches import many

MS, S = 10**6, 10**9
MIDNIGHT = 19_676 * 86_400 * S  # 2023-11-15 00:00 UTC, a Wednesday
OFF = mml.RiskLimits.off()
FREE = mml.Fees(0.0, 0.0)
KINDS = ("linear", "spot", "inverse")
INSTRUMENTS = {
    "linear": mml.Instrument("X/USDT:USDT", 0.5, 0.25, "linear"),
    "spot": mml.Instrument("X/USDT", 0.5, 0.25, "spot"),
    "inverse": mml.Instrument("X/USD:X", 0.5, 1.0, "inverse", 250.0),
}
# A lot is worth 250 at the centre of 2000 ticks: 0.25 coins at 1000, or 0.25 of a coin as one contract of 250.
CENTRE = 2000
LOT_WORTH = {"linear": 250.0, "spot": 250.0, "inverse": 0.25}
BID, ASK, SOLD, BOUGHT = Kind.DEPTH_BID, Kind.DEPTH_ASK, Kind.TRADE_SELL, Kind.TRADE_BUY
SUBMIT, CANCEL, REPLACE = 1, 2, 3
# Without the compiler an example takes a thousand times as long: a mutation then has to be plain.
FEW = os.environ.get("NUMBA_DISABLE_JIT") == "1"


def examples(n: int) -> Any:
    # A seed does not shrink into anything simpler.
    return settings(
        max_examples=max(n // 8, 10) if FEW else many(max(n // 4, 15), n),
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
    )


@dataclass(frozen=True)
class Shape:
    messages: int = 200
    jump: int = 6  # ticks the centre may move in one message
    drift: float = 0.0  # -1 falls, 1 rises
    gaps: bool = False  # the feed loses its place now and then
    holes: bool = False  # a side of the book is empty now and then, or it is crossed
    delay: str = "constant"  # of receipt: constant, random, bursts, early
    ties: bool = False  # many things happen at whole tenths of seconds
    start: int = MIDNIGHT - 20 * S


class Market:
    """Draws a book that is named anew whenever it moves, and trades that reach into it."""

    def __init__(self, seed: int, shape: Shape) -> None:
        self.rng, self.shape = random.Random(seed), shape
        self.ts, self.local, self.centre = shape.start, shape.start, CENTRE
        self.rows: list[tuple[int, int, int, int, int]] = []

    def put(self, levels: list[tuple[int, int, int]]) -> None:
        rng, delay = self.rng, self.shape.delay
        later = {
            "constant": 2 * MS,
            "random": rng.randrange(1, 700 * MS),
            "bursts": -(-self.ts // (250 * MS)) * 250 * MS - self.ts,
            "early": -3 * MS,
        }[delay]
        self.local = max(self.local, self.ts + later)
        for i, (price, lots, kind) in enumerate(levels):
            more = int(MORE) if i + 1 < len(levels) else 0
            self.rows.append((self.ts, self.local, price, lots, int(kind) | more))

    def tick(self) -> None:
        rng = self.rng
        if self.shape.ties:
            self.ts += rng.choice((0, 0, 100, 100, 300, 1000)) * MS
        else:
            self.ts += rng.choice((0, rng.randrange(1, 40 * MS), rng.randrange(1, 400 * MS), rng.randrange(1, 2 * S)))

    def book(self) -> None:
        rng, c = self.rng, self.centre
        bids = [(c - k, rng.randint(1, 9), BID) for k in range(6)]
        asks = [(c + 1 + k, rng.randint(1, 9), ASK) for k in range(6)]
        if self.shape.holes and rng.random() < 0.08:
            draw = rng.random()
            if draw < 0.4:
                bids = []
            elif draw < 0.8:
                asks = []
            else:
                asks = [(c - 1 + k, rng.randint(1, 9), ASK) for k in range(6)]
        self.put([(0, 0, Kind.SNAPSHOT), *bids, *asks])

    def message(self) -> None:
        rng, shape = self.rng, self.shape
        draw = rng.random()
        if shape.gaps and draw < 0.04:
            self.put([(0, 0, Kind.GAP)])
        elif draw < 0.45:
            up = rng.random() < 0.5
            deep = rng.choice((0, 0, 1, 2, 4))
            self.put(
                [(self.centre + 1 + deep if up else self.centre - deep, rng.randint(1, 9), BOUGHT if up else SOLD)]
            )
        else:
            if draw < 0.8:
                step = rng.randint(1, max(shape.jump, 1))
                self.centre = max(60, self.centre + step * (1 if rng.random() < 0.5 + 0.4 * shape.drift else -1))
            self.book()

    def draw(self) -> list[tuple[int, int, int, int, int]]:
        self.book()
        for _ in range(self.shape.messages):
            self.tick()
            self.message()
        return self.rows


def market(seed: int, **shape: Any) -> list[tuple[int, int, int, int, int]]:
    return Market(seed, Shape(**shape)).draw()


def tape_of(rows: list[tuple[int, int, int, int, int]], kind: str = "linear") -> mml.EventTape:
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    meta = {"clock": "ticks", "tier": "T2", "source": "test"}
    return mml.EventTape(INSTRUMENTS[kind], *columns[:4], columns[4].astype(np.int8), meta=meta)


@njit
def quote_leaning(context, params):  # type: ignore[no-untyped-def]
    """So far from the mid on both sides, leaning against the inventory, and now and then an order that takes."""
    half, lean, take = params[0], params[1], params[2]
    context.bid_qty *= params[3]
    context.ask_qty *= params[3]
    if take != 0.0 and (context.ts_ns // 700_000_000) % 3 == 0:
        context.take_qty = take * (1.0 if (context.ts_ns // 2_100_000_000) % 2 == 0 else -1.0)
    return half + lean * context.q, half - lean * context.q


def leaning(half: float = 0.6, lean: float = 0.0, take: float = 0.0, size: float = 1.0, **options: Any) -> CustomModel:
    return CustomModel(quote_leaning, (half, lean, take, size), **options)


class Sent(NamedTuple):
    ts_ns: int
    action: int
    order_id: int
    price_ticks: int
    qty_lots: int
    side: int
    order_type: int
    purpose: int


class Own(NamedTuple):
    """An own order that is out there as far as we know, at a moment."""

    side: int
    price_ticks: int
    qty_lots: int
    open_lots: int
    is_leaving: bool  # a cancel is on its way
    takes: bool


class Heard(NamedTuple):
    """An event of the risk log."""

    ts_ns: int
    control: int
    before: int
    after: int
    value: float
    limit: float


class Played:
    """A run that was fed one message after another, so that nothing it sent went by unseen."""

    def __init__(self, engine: Engine, rows: list[tuple], entry_ns: int) -> None:
        self.engine, self.state, self.rows, self.entry_ns = engine, engine.state, rows, entry_ns
        self._requests: list[tuple[int, int, int, int, int]] = []  # ts, action, order id, price, lots
        self._holds: dict[int, int] = {}  # slot -> order id
        self._submits = 0

    def note(self, first: int) -> int:
        """Write down the requests from the `first`-th on."""
        ring, end = self.engine._arrays["requests"], int(self.state.wire.request_end)
        assert end - first <= len(ring), "feed it in smaller pieces"
        for i in range(first, end):
            arrive, slot, action, _, price, lots = (int(x) for x in ring[i & (len(ring) - 1)].tolist())
            if action == SUBMIT:  # ids are given in the order of sending
                self._submits += 1
                self._holds[slot] = self._submits
            self._requests.append((arrive - self.entry_ns, action, self._holds[slot], price, lots))
        return end

    @cached_property
    def sent(self) -> list[Sent]:
        orders = self.orders
        return [
            Sent(*it, *(orders[it[2]][name] for name in ("side", "order_type", "purpose"))) for it in self._requests
        ]

    @property
    def log(self) -> list[Heard]:
        s = self.state.risk
        assert s.n_events == s.n_logged
        return [
            Heard(int(s.event_ns[i]), int(s.event_control[i]), int(s.event_before[i]), int(s.event_after[i]),
                  float(s.event_value[i]), float(s.event_limit[i]))
            for i in range(int(s.n_events))
        ]  # fmt: skip

    def named(self, *controls: int) -> list[Heard]:
        return [event for event in self.log if event.control in controls]

    @property
    def halted_ns(self) -> int | None:
        return next((event.ts_ns for event in self.log if event.after == 2), None)

    @cached_property
    def fills(self) -> list[tuple]:
        """(ts, side, price, lots, fee, order id, position after, purpose, maker)"""
        return [
            (int(f["ts_ns"]), int(f["side"]), int(f["price_ticks"]), int(f["qty_lots"]), float(f["fee"]),
             int(f["order_id"]), int(f["position_lots"]), int(f["purpose"]), int(f["maker"]))
            for f in self.engine.fills()
        ]  # fmt: skip

    @cached_property
    def orders(self) -> dict[int, dict[str, Any]]:
        rows = self.engine.orders()
        return {int(o["order_id"]): {name: o[name].item() for name in rows.dtype.names} for o in rows}

    def known(self) -> Known:
        return Known(self)

    @property
    def rejected(self) -> list[dict[str, Any]]:
        return [o for o in self.orders.values() if o["status"] == int(Status.REJECTED)]


class Known:
    """What we knew at any moment of a run: from its logs, the tape and constant latencies alone."""

    def __init__(self, it: Played) -> None:
        self.orders, self.response = it.orders, it.engine.latency.response_ns
        self.there_and_back = it.entry_ns + self.response
        self.fills = [
            (ts + self.response, side, price, lots, number) for ts, side, price, lots, _, number, *_ in it.fills
        ]
        self._at = np.array([fill[0] for fill in self.fills], np.int64)
        self._moved = np.cumsum([0, *(side * lots for _, side, _, lots, _ in self.fills)])
        self._fills_of: dict[int, list[tuple[int, int]]] = {}
        for at, _, _, lots, number in self.fills:
            self._fills_of.setdefault(number, []).append((at, lots))
        self._cancels = {sent.order_id: sent.ts_ns for sent in reversed(it.sent) if sent.action == CANCEL}
        self._sizes: dict[int, list[tuple[int, int]]] = {}  # from when on an order is of so many lots
        for sent in it.sent:
            if sent.action != CANCEL:
                self._sizes.setdefault(sent.order_id, []).append((sent.ts_ns, sent.qty_lots))
        numbers = [number for number in self.orders if number > 0]
        self._number = np.array(numbers, np.int64)
        self._sent = np.array([self.orders[number]["submitted_ns"] for number in numbers], np.int64)
        self._gone = np.array([self._gone_ns(self.orders[number]) for number in numbers], np.int64)

    def _gone_ns(self, order: dict[str, Any]) -> int:
        open_at_the_end = order["reason"] in (int(Reason.END), int(Reason.IN_FLIGHT))
        return 1 << 62 if open_at_the_end else order["closed_ns"] + self.response

    def moved(self, ts_ns: int) -> int:
        """Lots bought less lots sold."""
        return int(self._moved[np.searchsorted(self._at, ts_ns, side="right")])

    def _size(self, number: int, ts_ns: int) -> int:
        """The most lots an order may stand at: the size last answered for, or a larger one that is on its way."""
        sent = [(at, size) for at, size in self._sizes[number] if at <= ts_ns]
        known = [size for at, size in sent if at + self.there_and_back <= ts_ns] or [sent[0][1]]
        return max([known[-1], *(size for at, size in sent if at + self.there_and_back > ts_ns)])

    def out_there(self, ts_ns: int, before: int) -> list[Own]:
        """Orders with a number below `before` whose end we do not know of yet."""
        found = []
        for number in self._number[(self._number < before) & (self._sent <= ts_ns) & (self._gone > ts_ns)].tolist():
            order = self.orders[number]
            lots = self._size(number, ts_ns)
            filled = sum(part for at, part in self._fills_of.get(number, []) if at <= ts_ns)
            leaving = self._cancels.get(number, 1 << 62) <= ts_ns
            found.append(
                Own(order["side"], order["price_ticks"], lots, lots - filled, leaving, order["order_type"] >= 2)
            )
        return found


def open_engine(kind: str, model: Any, **options: Any) -> Engine:
    usual = {
        "fees": FREE, "order_qty": INSTRUMENTS[kind].lot_size, "cash": 40 * LOT_WORTH[kind], "queue": "front",
        "first_price": CENTRE * 0.5, "risk": OFF, "book_window_ticks": 1024,
    }  # fmt: skip
    return Engine(INSTRUMENTS[kind], model, **usual | options)


def play(rows: list[tuple], model: Any, kind: str = "linear", *, spied: bool = True, **options: Any) -> Played:
    """Run a model on rows of (ts, local ts, price, lots, kind)."""
    engine = open_engine(kind, model, **options)
    tape = tape_of(rows, kind)
    it = Played(engine, rows, engine.latency.entry_ns)
    if spied:
        engine._arrays["requests"] = np.zeros(1 << 15, REQUEST)
        engine.state.wire.request_mask = (1 << 15) - 1
        engine._place()
        seen, first = 0, 0
        for i, row in enumerate(rows):
            if not row[4] & MORE:
                engine.feed(tape.slice_rows(first, i + 1))
                seen, first = it.note(seen), i + 1
        engine.finish()
        it.note(seen)
    else:
        engine.feed(tape)
        engine.finish()
    return it


def worst_window(times: list[int], window_ns: int) -> int:
    """Return the most times within any window of so many ns, both ends of a half-open one tried."""
    most, first = 0, 0
    for last, ts in enumerate(times):
        while ts - times[first] >= window_ns:
            first += 1
        most = max(most, last - first + 1)
    return most


def unit_value(kind: str, price: float) -> float:
    instrument = INSTRUMENTS[kind]
    return -instrument.contract_size / price if kind == "inverse" else instrument.contract_size * price


def worth_of_lots(kind: str, lots: int, price: float) -> float:
    return abs(lots) * INSTRUMENTS[kind].lot_size * abs(unit_value(kind, price))


def is_close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
