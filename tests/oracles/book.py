"""An order book of plain dictionaries, and two replays over it: of the rows of a tape and of a recorded frame.

Nothing here imports the package: kinds, flag and rules are written out again from the specification.
"""

from __future__ import annotations

import heapq
from itertools import groupby
from typing import Any

GAP, SNAPSHOT, DEPTH_BID, DEPTH_ASK, BBO_BID, BBO_ASK = 5, 6, 8, 9, 10, 11
MORE = 64


class Book:
    """Two sides of price -> quantity, and a heap of each side's prices from which gone ones are dropped late."""

    def __init__(self):
        self.levels = {1: {}, -1: {}}
        self.heaps = {1: [], -1: []}

    def set(self, side, price, qty):
        levels = self.levels[side]
        if qty == 0:
            levels.pop(price, None)
            return
        if price not in levels:
            heapq.heappush(self.heaps[side], -side * price)
        levels[price] = qty

    def clear(self):
        self.__init__()

    def better_than(self, side, price):
        return [level for level in self.levels[side] if side * level > side * price]

    def best(self, side) -> tuple[Any, Any]:
        heap, levels = self.heaps[side], self.levels[side]
        while heap and -side * heap[0] not in levels:
            heapq.heappop(heap)
        return (-side * heap[0], levels[-side * heap[0]]) if heap else (None, None)

    def top(self):
        return (*self.best(1), *self.best(-1))


def replay_tape(price_ticks, qty_lots, kinds):
    """Yield (last row, best bid, its lots, best ask, its lots) after every message that changed the book.

    Between a gap and the snapshot that ends it nothing is yielded.
    """
    book, in_gap, touched = Book(), False, False
    for row, (price, qty, flagged) in enumerate(zip(price_ticks, qty_lots, kinds, strict=True)):
        kind = flagged & 63
        if kind == GAP:
            book.clear()
            in_gap = True
        elif kind == SNAPSHOT:
            book.clear()
            in_gap, touched = False, True
        elif not in_gap and kind in {DEPTH_BID, DEPTH_ASK}:
            book.set(1 if kind == DEPTH_BID else -1, price, qty)
            touched = True
        elif not in_gap and kind in {BBO_BID, BBO_ASK}:
            side = 1 if kind == BBO_BID else -1
            for level in book.better_than(side, price):
                book.set(side, level, 0)
            book.set(side, price, qty)
            touched = True
        if touched and not flagged & MORE:
            touched = False
            yield (row, *book.top())


def replay_diffs(rows):
    """Yield (seq, best bid, its quantity, best ask, its quantity) after every message of one snapshot and its diffs.

    `rows` are (seq, is_snapshot, side, price, qty) in file order. Floats stay floats.
    """
    rows = list(rows)
    taken = next(row[0] for row in rows if row[1])
    book = Book()
    for _, _, side, price, qty in (row for row in rows if row[1]):
        book.set(side, price, qty)
    yield (taken, *book.top())
    for seq, message in groupby((row for row in rows if not row[1] and row[0] > taken), key=lambda row: row[0]):
        for _, _, side, price, qty in message:
            book.set(side, price, qty)
        yield (seq, *book.top())


def replay_snapshots(rows):
    """Yield the same after every full book of a file that has nothing else."""
    book = Book()
    for seq, message in groupby(rows, key=lambda row: row[0]):
        book.clear()
        for _, _, side, price, qty in message:
            book.set(side, price, qty)
        yield (seq, *book.top())
