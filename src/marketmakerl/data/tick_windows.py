"""Parts of a tick tape that stand alone: a stretch of rows, led by the book as it stood before them.

Depth rows are changes, so a stretch cut out of a tape would begin with an empty book. Its head are rows that bring an
engine to the very book that the rows before the stretch would have: the same levels, and the same knowledge of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.data.tape import COLUMNS, MORE, OPTIONAL_COLUMNS, EventTape, Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

_BBO: Final = (Kind.BBO_BID, Kind.BBO_ASK)
_DEPTH: Final = (Kind.DEPTH_BID, Kind.DEPTH_ASK)


@dataclass(frozen=True)
class _Levels:
    """Levels, `signed`: ticks of bids, minus ticks of asks, so that better is larger."""

    side: Ints
    signed: Ints
    lots: Ints

    def where(self, keep: npt.NDArray[np.bool_]) -> _Levels:
        return _Levels(self.side[keep], self.signed[keep], self.lots[keep])

    def rows(self, kinds: tuple[Kind, Kind]) -> list[tuple[int, int, int]]:
        """Return (kind, ticks, lots), the worst level of each side first."""
        order = np.lexsort((self.signed, self.side))
        return [
            (int(kinds[side]), abs(int(signed)), int(lots))
            for side, signed, lots in zip(self.side[order], self.signed[order], self.lots[order], strict=True)
        ]


def cut(tape: EventTape, first: int, last: int) -> EventTape:
    """Return rows [first, last) of a tick tape, led by the book as it stood before them.

    Args:
        tape: of ticks.
        first: row that begins a message (see `row_at`).
        last: the row behind the last.
    """
    part = tape.slice_rows(first, last)
    if first == 0:
        return part
    head = opening_rows(tape, first)
    names = COLUMNS if tape.since_ns is None else COLUMNS | OPTIONAL_COLUMNS
    joined: dict[str, Any] = {name: np.concatenate([getattr(head, name), getattr(part, name)]) for name in names}
    return replace(part, **joined)


def row_at(tape: EventTape, ts_ns: int) -> int:
    """Return the first row at or after a time; it begins a message, for the rows of one share their time."""
    return int(np.searchsorted(tape.ts_ns, ts_ns, side="left"))


def equal_windows(tape: EventTape, n: int) -> list[int]:
    """Return the n + 1 rows that cut a tick tape into n windows of equal time."""
    start_ns, end_ns = int(tape.ts_ns[0]), int(tape.ts_ns[-1])
    inner = [row_at(tape, start_ns + (end_ns - start_ns) * i // n) for i in range(1, n)]
    return [0, *inner, len(tape)]


def opening_rows(tape: EventTape, row: int) -> EventTape:
    """Return rows, at the time of the row before `row`, that build the book of the rows before it."""
    kinds = np.asarray(tape.kind[:row]) & ~MORE
    snapshots = np.flatnonzero(kinds == Kind.SNAPSHOT)
    gaps = np.flatnonzero(kinds == Kind.GAP)
    depth = bool(len(snapshots)) or bool(np.isin(kinds, _DEPTH).any())
    begin = int(snapshots[-1]) if len(snapshots) else 0
    gap = gaps[gaps >= begin]
    # What follows a gap is not applied until a snapshot; where there are best prices alone, the next one ends it.
    end = int(gap[0]) if depth and len(gap) else row
    lost = bool(len(gap)) and (depth or not np.isin(kinds[int(gap[-1]) :], _BBO).any())
    levels = _levels(tape, kinds, begin, end)
    held = levels.where(levels.lots > 0)
    # Without a snapshot, diffs mean that everything is known.
    plain = [held.rows(_DEPTH if depth else _BBO)]
    messages = _snapshot(tape, kinds, begin, levels) if len(snapshots) else plain
    if lost:
        messages.append([(int(Kind.GAP), 0, 0)])
    return _tape_of(tape, row, [message for message in messages if message])


def _levels(tape: EventTape, kinds: npt.NDArray[np.int8], begin: int, end: int) -> _Levels:
    """Return the levels after rows [begin, end), which start from an empty book; those that are gone with 0 lots."""
    named = begin + np.flatnonzero(np.isin(kinds[begin:end], _DEPTH + _BBO))
    side = np.isin(kinds[named], (Kind.DEPTH_ASK, Kind.BBO_ASK)).astype(np.int64)
    price = np.asarray(tape.price_ticks)[named]
    lots = np.asarray(tape.qty_lots)[named]
    signed = np.where(side == 0, price, -price)
    # The last row that names a level says what it holds ...
    _, from_end = np.unique((2 * price + side)[::-1], return_index=True)
    last = len(named) - 1 - from_end
    alive = lots[last] > 0
    # ... unless a best price behind that row, and worse than the level, took it away.
    for s in range(2):
        best = (side == s) & np.isin(kinds[named], _BBO)
        if best.any():
            limit = np.where(best, signed, np.iinfo(np.int64).max)
            lowest_from = np.minimum.accumulate(limit[::-1])[::-1]
            alive &= (side[last] != s) | (signed[last] <= lowest_from[last])
    return _Levels(side[last], signed[last], np.where(alive, lots[last], 0))


def _snapshot(
    tape: EventTape, kinds: npt.NDArray[np.int8], begin: int, levels: _Levels
) -> list[list[tuple[int, int, int]]]:
    """Return a snapshot that makes known what the last one did, and the levels beyond it that diffs have named.

    Those that diffs have emptied too: that nothing is there is known.
    """
    ends = np.flatnonzero((np.asarray(tape.kind[begin : len(kinds)]) & MORE) == 0)
    rows = slice(begin + 1, begin + int(ends[0]) + 1)
    kind, price = kinds[rows], np.asarray(tape.price_ticks[rows])
    full = np.asarray(tape.qty_lots[rows]) > 0
    message: list[tuple[int, int, int]] = [(int(Kind.SNAPSHOT), 0, 0)]
    beyond = np.zeros(len(levels.side), np.bool_)
    for side, depth_kind in enumerate(_DEPTH):
        prices = price[(kind == depth_kind) & full]
        of_side = levels.side == side
        if not len(prices):
            beyond |= of_side  # none was named: the side was empty and all of it known
            continue
        worst = int(prices.min()) if side == 0 else -int(prices.max())
        # Named once with something, so that it is known that far, and then as gone unless a level follows.
        message += [(int(depth_kind), abs(worst), 1), (int(depth_kind), abs(worst), 0)]
        beyond |= of_side & (levels.signed < worst)
    message += levels.where(~beyond & (levels.lots > 0)).rows(_DEPTH)
    return [message, levels.where(beyond).rows(_DEPTH)]


def _tape_of(tape: EventTape, row: int, messages: list[list[tuple[int, int, int]]]) -> EventTape:
    rows = [
        (kind | (MORE if i + 1 < len(message) else 0), ticks, lots)
        for message in messages
        for i, (kind, ticks, lots) in enumerate(message)
    ]
    kind, ticks, lots = (np.array(column, np.int64) for column in zip(*rows, strict=True)) if rows else _NOTHING
    times: dict[str, Any] = {
        name: np.full(len(rows), getattr(tape, name)[row - 1], np.int64) for name in ("ts_ns", "local_ts_ns")
    }
    # Single orders: what the head's levels are made of was there before the stretch began.
    since = None if tape.since_ns is None else np.full(len(rows), -1, np.int64)
    return replace(tape, **times, price_ticks=ticks, qty_lots=lots, kind=kind.astype(np.int8), since_ns=since)


_NOTHING: Final = (np.zeros(0, np.int64),) * 3
