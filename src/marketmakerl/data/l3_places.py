"""Single orders through their places in the queue: what each row of an L3 log did, and who took from whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import DataQualityError

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.data.import_report import ImportReport

    Ints = npt.NDArray[np.int64]

REST, CANCEL, FILL = 0, 1, 2
_CREATE, _CHANGE, _DELETE = 0, 1, 2
UNKNOWN: Final = -1
PAIR_NS: Final = NS_PER_S  # both sides of one execution are reported within so long
# So many orders may be left out because the log lost or swapped a row of theirs (Bitstamp 2015: 4 of 16,240).
MAX_BROKEN_SHARE: Final = 1e-3


@dataclass(slots=True)
class Place:
    """One order at one price, from when it came there until it leaves.

    Attributes:
        order_id, side, price: whose, +1 bid or -1 ask, in ticks.
        lots: its quantity when it came; of one that was there before, as far as the log tells it.
        began: the row of the log with which it begins; -1: it was there before.
        taken: lots it takes on arrival: they never stand in the book.
        shown, since_ns, ahead, behind_best, ended_ns, first_fill_ns, filled, cancelled, took_first: written when the
            book is played, see `RESTING`.
    """

    order_id: int
    side: int
    price: int
    lots: int
    began: int
    taken: int = 0
    shown: int = 0
    since_ns: int = -1
    ahead: int = 0
    behind_best: int = 0
    ended_ns: int = -1
    first_fill_ns: int = -1
    filled: int = 0
    cancelled: bool = False
    took_first: bool = False


@dataclass(slots=True)
class Event:
    """What a row did to a place.

    Attributes:
        row: of the log.
        place: whose.
        what: REST (lots: all of it), CANCEL or FILL.
        lots: how many.
        taker: an execution of the order that came last.
        other: the other half of an execution, if the log has it.
        played: set when the book is played.
    """

    row: int
    place: Place
    what: int
    lots: int
    taker: bool = False
    other: Event | None = None
    played: bool = False


def follow(log: dict[str, Ints], what: str, report: ImportReport) -> tuple[list[Place], list[Event]]:
    """Return the places and what happened to them, in the order of the log.

    Args:
        log: columns id, action, side, price (ticks), qty, filled (lots; -1 not known), ts, born (ns), line.
        what: names the log in errors.
        report: is told what is left out.

    Raises:
        DataQualityError: an order created twice, of quantity zero or of two sides; quantities that do not add up; more
            than 0.1 % of the orders lack their creation, have it after their end or change after it.
    """
    broken = _broken(log, what, report)
    walk = _Walk(what)
    columns = (log[name].tolist() for name in ("id", "action", "side", "price", "qty", "filled", "line"))
    for row, (order_id, action, side, price, qty, filled, line) in enumerate(zip(*columns, strict=True)):
        if order_id in broken:
            continue
        if order_id in walk.gone:
            report.add("refused", "deleted-again" if action == _DELETE else "changed-late", line, f"order {order_id}")
            continue
        if action == _CREATE and walk.drop(row, order_id):
            report.add("refused", "created-late", line, f"order {order_id}")
            continue
        walk.take(row, line, order_id, action, side, price, qty, filled)
    swapped = report.counts["refused", "changed-late"]
    if swapped > max(1, MAX_BROKEN_SHARE * len(np.unique(log["id"]))):
        raise DataQualityError(f"{what}: {swapped} rows change an order after its end: rows are misnumbered")
    return walk.places, walk.events


def _broken(log: dict[str, Ints], what: str, report: ImportReport) -> set[int]:
    """Return the orders that cannot be followed: created after their end, or in the log's time but never created."""
    ids, first = np.unique(log["id"], return_index=True)
    created, _, times = np.unique(log["id"][log["action"] == _CREATE], return_index=True, return_counts=True)
    if (times > 1).any():
        raise DataQualityError(f"{what}: order {created[np.argmax(times > 1)]} is created twice")
    begins = log["action"][first] == _CREATE
    # Its first row tells by its birth that the log should have had its creation; whether that comes later is no matter.
    # The time of an order may be kept in whole seconds.
    never = ~begins & (log["born"][first] > log["ts"][0])
    late, lost = never & np.isin(ids, created), never & ~np.isin(ids, created)
    for code, mask in (("created-late", late), ("never-created", lost)):
        if mask.any():
            row = int(first[np.argmax(mask)])
            report.add("refused", code, int(log["line"][row]), f"order {log['id'][row]}", count=int(mask.sum()))
    bad = int(late.sum() + lost.sum())
    if bad > max(1, MAX_BROKEN_SHARE * len(ids)):
        row = int(first[np.argmax(late | lost)])
        raise DataQualityError(
            f"{what}: {bad} of {len(ids)} orders are changed or deleted before they are created, or never created, "
            f"first order {log['id'][row]} in row {log['line'][row] - 1}: rows are missing or misnumbered"
        )
    report.counts["repaired", "there-before"] += int((~begins & ~never).sum())
    return set(ids[late | lost].tolist())


class _Walk:
    def __init__(self, what: str) -> None:
        self._what = what
        self._live: dict[int, tuple[Place, int]] = {}  # order -> its place, what is left
        self.gone: set[int] = set()
        self.places: list[Place] = []
        self.events: list[Event] = []

    def take(
        self, row: int, line: int, order_id: int, action: int, side: int, price: int, qty: int, filled: int
    ) -> None:
        """Follow one row."""
        if action == _CREATE:
            if qty == 0:
                raise DataQualityError(f"{self._what}, row {line - 1}: an order of nothing")
            self._settle(row, order_id, side, price, qty)
            return
        known = self._live.get(order_id)
        if known is None:  # it was there before the log began
            place = Place(order_id, side, price, qty + max(filled, 0), -1)
            self.places.append(place)
            left = UNKNOWN if filled < 0 else place.lots
        else:
            place, left = known
        if side != place.side:
            raise DataQualityError(f"{self._what}, row {line - 1}: order {order_id} changes its side")
        left = self._execute(row, line, place, left, qty, filled)
        if action == _DELETE:
            self._leave(row, line, place, left, qty)
        elif qty > left or price != place.price:
            self._move(row, place, left, price, qty)
        else:
            if qty < left:
                self.events.append(Event(row, place, CANCEL, left - qty))
            self._live[order_id] = place, qty

    def drop(self, row: int, order_id: int) -> bool:
        """Let an order go that was taken for one from before the log, and is created now; return whether it was."""
        known = self._live.pop(order_id, None)
        if known is None:
            return False
        place, left = known
        if left > 0:
            self.events.append(Event(row, place, CANCEL, left))
        self.gone.add(order_id)
        return True

    def _execute(self, row: int, line: int, place: Place, left: int, qty: int, filled: int) -> int:
        """Note an execution and return what it left."""
        if left == UNKNOWN:
            self.events.append(Event(row, place, FILL, UNKNOWN))
            return qty
        if filled < 0:
            filled = left - qty
        if filled < 0 or filled > left:
            raise DataQualityError(
                f"{self._what}, row {line - 1}: order {place.order_id} had {left} lots and cannot fill {filled} of them"
            )
        if filled:
            self.events.append(Event(row, place, FILL, filled))
        return left - filled

    def _leave(self, row: int, line: int, place: Place, left: int, qty: int) -> None:
        if left != qty:
            raise DataQualityError(
                f"{self._what}, row {line - 1}: order {place.order_id} leaves with {qty} lots and should have {left}: "
                "a row of it is missing"
            )
        if left:
            self.events.append(Event(row, place, CANCEL, left))
        self._live.pop(place.order_id, None)
        self.gone.add(place.order_id)

    def _move(self, row: int, place: Place, left: int, price: int, qty: int) -> None:
        """Let an order lose its place, by another price or by more quantity."""
        if left:
            self.events.append(Event(row, place, CANCEL, left))
        if qty:
            self._settle(row, place.order_id, place.side, price, qty)
        else:
            self._live[place.order_id] = place, 0

    def _settle(self, row: int, order_id: int, side: int, price: int, qty: int) -> None:
        place = Place(order_id, side, price, qty, row)
        self.places.append(place)
        self.events.append(Event(row, place, REST, qty))
        self._live[order_id] = place, qty


def pair(events: list[Event], ts_ns: Ints, report: ImportReport) -> None:
    """Mark takers among the executions, and find quantities that the log does not tell from their counterparts.

    Args:
        events: from `follow`; written to, and shortened by executions of a quantity that stays unknown.
        ts_ns: int64[rows of the log].
        report: is told what stays unknown.
    """
    open_fills: dict[int, list[Event]] = {1: [], -1: []}
    for event in events:
        if event.what != FILL:
            continue
        side, now = event.place.side, int(ts_ns[event.row])
        others = open_fills[-side]
        while others and now - int(ts_ns[others[0].row]) > PAIR_NS:
            del others[0]
        other = _counterpart(event, others)
        if other is None:
            open_fills[side].append(event)
            continue
        others.remove(other)
        event.other, other.other = other, event
        for late in (event, other):
            if late.lots == UNKNOWN:
                late.lots = max(event.lots, other.lots)
                late.place.lots += late.lots
        taker = max(event, other, key=lambda e: (e.place.began, e.place.order_id))
        taker.taker = True
        taker.place.taken += taker.lots
    unknown = [event for event in events if event.lots == UNKNOWN]
    if unknown:
        report.counts["refused", "size-unknown"] += len(unknown)
        events[:] = [event for event in events if event.lots != UNKNOWN]


def _counterpart(event: Event, others: list[Event]) -> Event | None:
    """Return the earliest execution of the other side that can be the other half of this one; exact ones first."""
    for known in (True, False):
        for other in others:
            fits = other.lots == event.lots if known else UNKNOWN in {other.lots, event.lots}
            bid, ask = (event, other) if event.place.side > 0 else (other, event)
            crosses = bid.place.price >= ask.place.price
            stood = 0 <= max(event.place.began, other.place.began) < other.row
            if fits and crosses and stood and max(event.lots, other.lots) > 0:
                return other
    return None
