"""An exchange's book as linked lists of orders, first in, first out, with one order in it that is not there.

The ghost stands in its list like any other, but nobody trades with it: it is filled by what is executed behind it or at
a worse price, and by an order of the other side that comes to rest at its price or through it. Slow, and shares nothing
with the package. Prices in ticks, quantities in lots, side +1 bid, -1 ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Row(NamedTuple):
    """One event of one order, as an L3 log has it."""

    order_id: int
    action: int  # 0 create, 1 change, 2 delete
    side: int
    price: int
    qty: int
    filled: int | None


class Trade(NamedTuple):
    price: int
    qty: int
    side: int  # of the taker


@dataclass
class Node:
    order_id: int  # 0: the ghost
    side: int
    price: int
    qty: int
    before: Node | None = None
    after: Node | None = None


class Level:
    def __init__(self) -> None:
        self.head: Node | None = None
        self.tail: Node | None = None

    def append(self, node: Node) -> None:
        node.before, node.after = self.tail, None
        if self.tail is None:
            self.head = node
        else:
            self.tail.after = node
        self.tail = node

    def remove(self, node: Node) -> None:
        if node.before is None:
            self.head = node.after
        else:
            node.before.after = node.after
        if node.after is None:
            self.tail = node.before
        else:
            node.after.before = node.before

    def nodes(self) -> list[Node]:
        found, node = [], self.head
        while node is not None:
            found.append(node)
            node = node.after
        return found


class FifoBook:
    def __init__(self, *, log_takers: bool = False, takers_first: bool = False) -> None:
        self.levels: dict[tuple[int, int], Level] = {}
        self.nodes: dict[int, Node] = {}
        self.log: list[Row | Trade] = []
        self.ghost: Node | None = None
        self.ghost_fills: list[tuple[int, int]] = []  # (index in the log of what filled it, lots)
        self.next_id = 1
        self.log_takers, self.takers_first = log_takers, takers_first

    def totals(self, side: int) -> dict[int, int]:
        sums: dict[int, int] = {}
        for node in self.nodes.values():
            if node.side == side:
                sums[node.price] = sums.get(node.price, 0) + node.qty
        return sums

    def best(self, side: int) -> int | None:
        return max(self.totals(side), key=lambda price: side * price, default=None)

    def ahead(self) -> int | None:
        """Lots in front of the ghost."""
        if self.ghost is None:
            return None
        total, node = 0, self.ghost.before
        while node is not None:
            total += node.qty
            node = node.before
        return total

    def haunt(self, side: int, price: int, qty: int) -> None:
        self.ghost = Node(0, side, price, qty)
        self._level(side, price).append(self.ghost)

    def limit(self, side: int, price: int, qty: int) -> None:
        """A limit order: it takes what it crosses, and rests with what is left."""
        order_id, self.next_id = self.next_id, self.next_id + 1
        if self.log_takers:
            self.log.append(Row(order_id, 0, side, price, qty, None))
        left = self._take(side, price, qty, order_id)
        if left:
            if not self.log_takers:
                self.log.append(Row(order_id, 0, side, price, left, None))
            self._rest(Node(order_id, side, price, left))

    def cancel(self, order_id: int, lots: int) -> None:
        node = self.nodes[order_id]
        if lots >= node.qty:
            self._remove(node)
            self.log.append(Row(order_id, 2, node.side, node.price, node.qty, 0))
        else:
            node.qty -= lots
            self.log.append(Row(order_id, 1, node.side, node.price, node.qty, 0))

    def replace(self, order_id: int, price: int, qty: int) -> None:
        """Move an order to a price at which it crosses nothing, or give it more: it goes to the back."""
        node = self.nodes[order_id]
        self._remove(node)
        self.log.append(Row(order_id, 1, node.side, price, qty, 0))
        self._rest(Node(order_id, node.side, price, qty))

    # -- inside

    def _level(self, side: int, price: int) -> Level:
        return self.levels.setdefault((side, price), Level())

    def _remove(self, node: Node) -> None:
        self._level(node.side, node.price).remove(node)
        del self.nodes[node.order_id]

    def _rest(self, node: Node) -> None:
        self._level(node.side, node.price).append(node)
        self.nodes[node.order_id] = node
        ghost = self.ghost
        if ghost is not None and node.side != ghost.side and ghost.side * ghost.price >= ghost.side * node.price:
            # What is left of a taker has no row of its own: it rests with the last row of what it took.
            self._fill_ghost(node.qty, max(i for i, row in enumerate(self.log) if isinstance(row, Row)))

    def _fill_ghost(self, lots: int, where: int) -> None:
        lots = min(lots, self.ghost.qty)
        self.ghost_fills.append((where, lots))
        self.ghost.qty -= lots
        if self.ghost.qty == 0:
            self._level(self.ghost.side, self.ghost.price).remove(self.ghost)
            self.ghost = None

    def _take(self, side: int, price: int, left: int, taker: int) -> int:
        while left:
            best = self.best(-side)
            if best is None or side * best > side * price:
                return left
            node = next(node for node in self._level(-side, best).nodes() if node.order_id)
            lots = min(left, node.qty)
            left -= lots
            self._execute(node, lots, Row(taker, 1 if left else 2, side, price, left, lots))
        return 0

    def _execute(self, node: Node, lots: int, of_taker: Row) -> None:
        meets_ghost = self._behind_ghost(node)
        node.qty -= lots
        if node.qty == 0:
            self._remove(node)
        rows = [Row(node.order_id, 1 if node.qty else 2, node.side, node.price, node.qty, lots)]
        if self.log_takers:
            rows.insert(0 if self.takers_first else 1, of_taker)
        self.log.extend(rows)
        if meets_ghost:
            where = len(self.log) - 1 if not self.log_takers or self.takers_first else len(self.log) - 2
            self._fill_ghost(lots, where)
        self.log.append(Trade(node.price, lots, of_taker.side))

    def _behind_ghost(self, node: Node) -> bool:
        ghost = self.ghost
        if ghost is None or node.side != ghost.side:
            return False
        if node.price != ghost.price:
            return ghost.side * node.price < ghost.side * ghost.price
        other = ghost.after
        while other is not None:
            if other is node:
                return True
            other = other.after
        return False
