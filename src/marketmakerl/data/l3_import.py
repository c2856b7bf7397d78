"""A log of single orders (L3) as a tape of levels that still knows, of every lot that leaves, how long it had queued.

The log: one row an event of one order (created, changed, deleted), numbered by `msg_seq` across all streams. What
becomes of it:

1. Rows are put in the order of `msg_seq`; a row that is there twice counts once.
2. Orders are followed through their places: a place is one order at one price, and ends when the order is filled,
   leaves, changes its price or grows (which costs it its place).
3. Executions are split into makers' and takers'. Venues that log both send two events, one of each side and of one
   quantity, while both orders stand and their prices cross: the younger place is the taker's. What a taker takes never
   stood in the book; what is left of it takes its place when the last of it has been taken. An execution without such
   a counterpart is a maker's.
4. A maker's execution is a TRADE row of the taker's side and the DEPTH row it explains, in one message. All else is one
   DEPTH row. `since_ns` of a row by which a level shrinks is the time at which the order it is about took its place.
5. An order that was there before the log began is not in the book (`opening="empty"`): that it was there shows only in
   later rows. Trades that hit it are TRADE rows alone; when it changes its price or grows, it comes to rest like a new
   one. With `opening="hindsight"` it stands in the book from the first row on, with `since_ns` -1, if the log ever says
   how large it was: the truest book of the past, and a look ahead for whoever trades on it. One that the log never
   mentions cannot be seen: levels far from the market lack it.

An execution waits up to a second for its other half: rows of the log's last second may read otherwise in a longer one.

Logs of this kind tell when a message was received, not when the exchange acted: both times of the tape are that one.
Messages of one time are set 1 ns apart, so that no two orders have the same `since_ns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError
from marketmakerl.data.clock_offset import ASSUMED, assume
from marketmakerl.data.frames import read_columns, time_sent
from marketmakerl.data.grid import to_lots, to_ticks
from marketmakerl.data.import_report import ImportReport
from marketmakerl.data.l3_places import CANCEL, FILL, REST, Event, Place, follow, pair
from marketmakerl.data.tape import MORE, EventTape, Kind

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from marketmakerl.core.instrument import Instrument

    Ints = npt.NDArray[np.int64]

Opening = Literal["empty", "hindsight"]

ORDER_COLUMNS: Final = {
    **dict.fromkeys(("msg_seq", "ts_local_ns", "order_ts_ns", "order_id", "action", "side"), "int"),
    **dict.fromkeys(("price", "qty", "filled"), "float"),
}
TRADE_COLUMNS: Final = {"ts_ns": "int", "side": "int", "msg_seq": "int", "price": "float", "qty": "float"}
MAX_BACKWARDS_NS: Final = 10**9  # receipt that runs back further is two logs in one
MATCH_NS: Final = 10**9  # a trade and its executions are reported within so long of each other

# One resting order, or what was left of a taker: where and when it stood, and what came of it.
RESTING = np.dtype(
    [
        ("order_id", "i8"),
        ("side", "i8"),  # +1 bid, -1 ask
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),  # when it took its place
        ("ahead_lots", "i8"),  # in front of it then
        ("behind_best_ticks", "i8"),  # from the best price of its side before it came; negative: it improved on it
        ("rested_ns", "i8"),
        ("ended_ns", "i8"),  # -1: it still stood at the end
        ("first_fill_ns", "i8"),  # -1: none
        ("filled_lots", "i8"),
        ("cancelled", "i8"),  # it left with something unfilled
        ("took_first", "i8"),  # the rest of an order that had taken on arrival
    ]
)


@dataclass(frozen=True)
class ImportedL3:
    """A tape, where its rows come from, and what the single orders did.

    Attributes:
        tape: the events, with `since_ns`.
        seq: int64[rows], the msg_seq of each row; that of the first event for orders from before the log.
        resting: RESTING[n], the places taken after the log began, in the order of `rested_ns`.
        report: rows refused and repaired.
    """

    tape: EventTape
    seq: Ints
    resting: npt.NDArray[Any]
    report: ImportReport


def import_l3(
    orders_df: pd.DataFrame,
    trades_df: pd.DataFrame | None,
    instrument: Instrument,
    *,
    opening: Opening = "empty",
    tier: str = "T1",
    source: str = "",
) -> ImportedL3:
    """Compile a log of single orders; the arguments and errors are those of `EventTape.from_l3`."""
    if opening not in {"empty", "hindsight"}:
        raise ConfigError(f'opening must be "empty" or "hindsight", got {opening!r}')
    source = source or "recording"
    report = ImportReport(source, "l3")
    log = _read_orders(orders_df, instrument, f"{source}: orders", report)
    places, events = follow(log, f"{source}: orders", report)
    pair(events, log["ts"], report)
    trades = _read_trades(trades_df, instrument, f"{source}: trades")
    writer = _Writer(log, report)
    before = sum(place.began < 0 for place in places)
    meta: dict[str, Any] = {"clock": "ticks", "tier": tier, "source": source, "opening": opening}
    if opening == "hindsight":
        writer.open_book(places)
        assume(meta, f"opening: {before} orders from before the log stand in the book from the first row on, as far as "
               "the whole log tells of them: a look ahead")  # fmt: skip
    elif before:
        assume(meta, f"opening: {before} orders from before the log are not in the book, for only later rows tell of "
               "them")  # fmt: skip
    report.assumed += meta.get(ASSUMED, [])
    writer.play(events, trades)
    report.rows = len(writer.rows)
    tape, seq = writer.finish(instrument, meta | {"l3": report.as_dict()})
    return ImportedL3(tape, seq, _resting(places), report)


def _read_orders(frame: pd.DataFrame, instrument: Instrument, what: str, report: ImportReport) -> dict[str, Ints]:
    """Return the columns in the order of msg_seq, prices in ticks and quantities in lots; `filled` -1: not known."""
    column = read_columns(frame, ORDER_COLUMNS, what)
    report.lines = len(column["msg_seq"])
    for name, allowed in (("action", (0, 1, 2)), ("side", (-1, 1))):
        wrong = ~np.isin(column[name], allowed)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataFormatError(f"{what}, row {row}: {name} {column[name][row]}; known: {allowed}")
    unknown = np.isnan(column["filled"])
    log = {
        "seq": column["msg_seq"],
        "ts": time_sent(column["ts_local_ns"], f"{what} (ts_local_ns)"),
        "born": column["order_ts_ns"],
        "id": column["order_id"],
        "action": column["action"],
        "side": column["side"],
        "price": to_ticks(column["price"], instrument, f"{what}, price"),
        "qty": to_lots(column["qty"], instrument, f"{what}, qty")[0],
        "filled": to_lots(np.where(unknown, 0.0, column["filled"]), instrument, f"{what}, filled")[0],
    }
    log["filled"] = np.where(unknown, -1, log["filled"])
    order = np.argsort(log["seq"], kind="stable")
    moved = int((np.diff(log["seq"]) < 0).sum())
    if moved:
        report.add("repaired", "reordered", int(np.argmax(np.diff(log["seq"]) < 0)) + 2, "out of order", count=moved)
    log = {name: values[order] for name, values in log.items()} | {"line": order + 1}
    return _once(log, what, report)


def _once(log: dict[str, Ints], what: str, report: ImportReport) -> dict[str, Ints]:
    """Drop rows that repeat the row before; refuse two different rows of one number, and times that run back."""
    again = np.r_[False, np.diff(log["seq"]) == 0]
    names = [name for name in log if name != "line"]
    same = np.r_[False, np.all([log[name][1:] == log[name][:-1] for name in names], axis=0)]
    if (again & ~same).any():
        row = int(np.argmax(again & ~same))
        raise DataQualityError(f"{what}, row {log['line'][row] - 1}: another row has its msg_seq {log['seq'][row]} too")
    if again.any():
        report.add("refused", "duplicate", int(log["line"][np.argmax(again)]), "twice", count=int(again.sum()))
    log = {name: values[~again] for name, values in log.items()}
    forward: Ints = np.maximum.accumulate(log["ts"])
    back = forward - log["ts"]
    worst = int(np.argmax(back))
    if back[worst] > MAX_BACKWARDS_NS:
        raise DataQualityError(f"{what}, row {log['line'][worst] - 1}: received {back[worst] / 1e9:.3f} s before a row "
                               "of a lower msg_seq; is this one log?")  # fmt: skip
    if back[worst] > 0:
        report.add("repaired", "time", int(log["line"][worst]), "ran back", count=int((back > 0).sum()))
    log["ts"] = forward
    return log


def _read_trades(frame: pd.DataFrame | None, instrument: Instrument, what: str) -> list[tuple[int, int, int, int, int]]:
    """Return (msg_seq, ts_ns, price in ticks, lots, side) by msg_seq."""
    if frame is None or len(frame) == 0:
        return []
    column = read_columns(frame, TRADE_COLUMNS, what)
    wrong = ~np.isin(column["side"], (-1, 0, 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataFormatError(f"{what}, row {row}: side {column['side'][row]}; known: -1, 0, 1")
    ts = time_sent(column["ts_ns"], what)
    price = to_ticks(column["price"], instrument, f"{what}, price")
    lots, _ = to_lots(column["qty"], instrument, f"{what}, qty")
    if not lots.all():
        raise DataQualityError(f"{what}, row {int(np.argmin(lots))}: a trade of nothing")
    rows = zip(*(values.tolist() for values in (column["msg_seq"], ts, price, lots, column["side"])), strict=True)
    return sorted(set(rows))


class _Writer:
    """Plays events into levels and writes the tape's rows."""

    def __init__(self, log: dict[str, Ints], report: ImportReport) -> None:
        self._seq, self._ts = log["seq"].tolist(), log["ts"].tolist()
        self._report = report
        self._now = self._ts[0] - 1
        self._levels: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self._best: dict[int, int | None] = {1: None, -1: None}
        self._fills: list[tuple[int, int, int, int, int]] = []  # ts, price, lots, side of the taker, seq: to be matched
        self.rows: list[tuple[int, int, int, int, int, int]] = []  # ts, price, lots, kind, since, seq

    def open_book(self, places: list[Place]) -> None:
        """Write what stood in the book when the log began, as one message."""
        for place in places:
            if place.began < 0 and place.lots > 0:
                levels = self._levels[place.side]
                levels[place.price] = levels.get(place.price, 0) + place.lots
                place.shown = place.lots
        opening = [(side, price) for side in (1, -1) for price in sorted(self._levels[side], reverse=side > 0)]
        self._now += bool(opening)
        for at, (side, price) in enumerate(opening):
            self._add(side, price, more=at < len(opening) - 1, since=-1, seq=self._seq[0])
        for side in (1, -1):
            self._best[side] = self._find_best(side)

    def play(self, events: list[Event], trades: list[tuple[int, int, int, int, int]]) -> None:
        """Write a message an event, and those trades that no execution of a maker explains."""
        following = iter([*self._unexplained(events, trades), None])
        trade = next(following)
        for event in events:
            while trade is not None and trade[0] < self._seq[event.row]:
                self._trade_alone(trade)
                trade = next(following)
            self._play_one(event, self._seq[event.row])
        while trade is not None:
            self._trade_alone(trade)
            trade = next(following)

    def _play_one(self, event: Event, seq: int) -> None:
        place = event.place
        if event.what == REST:
            if place.taken == 0:
                self._show(place, place.lots, event.row, seq)
        elif event.what == CANCEL:
            self._shrink(place, event.lots, event.row, seq)
        else:
            event.played = True
            if not event.taker:
                self._execute(place, event, seq)
            halves = (event, event.other)
            taker = next((half for half in halves if half is not None and half.taker), None)
            # What is left of a taker must not stand in the book before all it took has left it.
            if taker is not None and all(half is not None and half.played for half in halves):
                taker.place.taken -= taker.lots
                taker.place.lots -= taker.lots
                if taker.place.taken == 0 and taker.place.lots > 0:
                    taker.place.took_first = True
                    self._show(taker.place, taker.place.lots, event.row, seq)

    def _execute(self, place: Place, event: Event, seq: int) -> None:
        """Write a maker's execution: the trade, and the level it leaves behind."""
        self._step(event.row)
        kind = Kind.TRADE_SELL if place.side > 0 else Kind.TRADE_BUY
        more = MORE if place.shown else 0
        self.rows.append((self._now, place.price, event.lots, kind | more, -1, seq))
        if place.shown == 0:  # the log has it filled before it can have come to rest
            place.lots -= event.lots
            return
        if place.first_fill_ns < 0:
            place.first_fill_ns = self._now
        place.filled += event.lots
        self._set(place, event.lots, seq)

    def _step(self, row: int) -> None:
        self._now = max(self._now + 1, self._ts[row])

    def _show(self, place: Place, lots: int, row: int, seq: int) -> None:
        self._step(row)
        levels, best = self._levels[place.side], self._best[place.side]
        place.ahead = levels.get(place.price, 0)
        place.behind_best = 0 if best is None else place.side * (best - place.price)
        place.since_ns, place.shown, place.lots = self._now, lots, lots
        levels[place.price] = place.ahead + lots
        if best is None or place.side * place.price > place.side * best:
            self._best[place.side] = place.price
        self._add(place.side, place.price, more=False, since=-1, seq=seq)

    def _shrink(self, place: Place, lots: int, row: int, seq: int) -> None:
        if place.shown == 0:
            place.lots -= lots
            return
        self._step(row)
        place.cancelled = True
        self._set(place, lots, seq)

    def _set(self, place: Place, lots: int, seq: int) -> None:
        """Take lots of a shown place out of its level."""
        levels = self._levels[place.side]
        place.shown -= lots
        left = levels[place.price] - lots
        levels[place.price] = left
        self._add(place.side, place.price, more=False, since=place.since_ns, seq=seq)
        if place.shown == 0:
            place.ended_ns = self._now
        if left == 0:
            del levels[place.price]
            if place.price == self._best[place.side]:
                self._best[place.side] = self._find_best(place.side)

    def _find_best(self, side: int) -> int | None:
        return max(self._levels[side], key=lambda price: side * price, default=None)

    def _add(self, side: int, price: int, *, more: bool, since: int, seq: int) -> None:
        kind = Kind.DEPTH_BID if side > 0 else Kind.DEPTH_ASK
        lots = self._levels[side][price]
        self.rows.append((self._now, price, lots, kind | (MORE if more else 0), since, seq))

    def _unexplained(
        self, events: list[Event], trades: list[tuple[int, int, int, int, int]]
    ) -> list[tuple[int, int, int, int, int]]:
        """Return the trades that have no maker's execution of their price and quantity near them."""
        waiting: dict[tuple[int, int], list[int]] = {}
        for event in events:
            if event.what == FILL and not event.taker:
                waiting.setdefault((event.place.price, event.lots), []).append(self._ts[event.row])
        alone = []
        for trade in trades:
            times = waiting.get(trade[2:4], [])
            near = next((at for at, ts in enumerate(times) if abs(ts - trade[1]) <= MATCH_NS), None)
            if near is None:
                alone.append(trade)
                self._report.add("repaired", "trade-alone", 0, f"msg_seq {trade[0]}: no resting order was filled by it")
            else:
                del times[near]
        missing = sum(map(len, waiting.values()))
        if trades and missing:
            self._report.add("repaired", "fill-alone", 0, "executions that no trade reports", count=missing)
        return alone

    def _trade_alone(self, trade: tuple[int, int, int, int, int]) -> None:
        seq, ts, price, lots, side = trade
        kind = (Kind.TRADE_SELL, Kind.TRADE, Kind.TRADE_BUY)[side + 1]
        # A time of the other stream may lead by a little; the log's order counts.
        self._now = max(self._now + 1, ts)
        self.rows.append((self._now, price, lots, int(kind), -1, seq))

    def finish(self, instrument: Instrument, meta: dict[str, Any]) -> tuple[EventTape, Ints]:
        """Return the tape and the msg_seq of its rows."""
        if not self.rows:
            raise DataFormatError(f"{meta['source']}: orders: no event of a resting order is left")
        ts, price, lots, kind, since, seq = np.array(self.rows, np.int64).T.copy()
        tape = EventTape(instrument, ts, ts.copy(), price, lots, kind.astype(np.int8), meta, since_ns=since)
        return tape, seq


def _resting(places: list[Place]) -> npt.NDArray[Any]:
    rows = [
        (
            p.order_id, p.side, p.price, p.lots, p.ahead, p.behind_best, p.since_ns, p.ended_ns if p.shown == 0 else -1,
            p.first_fill_ns, p.filled, int(p.cancelled), int(p.took_first),
        )
        for p in places
        if p.since_ns >= 0
    ]  # fmt: skip
    table = np.array(rows, RESTING)
    return table[np.argsort(table["rested_ns"], kind="stable")]
