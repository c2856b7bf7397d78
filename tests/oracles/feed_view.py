"""What a model may know of book and trades, in plain Python: the feed, as late as it comes, in dicts and lists.

Rows are (ts, local_ts, price, qty, kind); prices in ticks, quantities in lots. The rows of a message come together,
with the last of them. Nothing is shared with the package.
"""

from __future__ import annotations

GAP, SNAPSHOT, MORE = 5, 6, 64
DEPTH = {8: "bid", 9: "ask"}
BBO = {10: "bid", 11: "ask"}
TRADES = {12: -1, 13: 1, 14: 0}  # side of the aggressor


class FeedView:
    """Goes through the rows in order; ask for times that never go back."""

    def __init__(self, rows: list[tuple], feed_offset: int = 0) -> None:
        self.messages: list[tuple[int, list[tuple]]] = []
        message: list[tuple] = []
        for ts, local, price, qty, kind, *_ in rows:
            message.append((ts, price, qty, kind % MORE))
            if kind < MORE:
                self.messages.append((max(local + feed_offset, ts), message))
                message = []
        self.book: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
        self.trades: list[tuple[int, int, int, int]] = []  # ts, price, qty, side; oldest first
        self.knows = "nothing"  # until a row of depth comes; then "depth", or "bests" of a feed without any; "gap"
        self.depth_seen = False
        self.at = 0

    def until(self, now: int) -> None:
        """Take in what has come by `now`."""
        while self.at < len(self.messages) and self.messages[self.at][0] <= now:
            self.take(self.messages[self.at][1])
            self.at += 1

    def take(self, rows: list[tuple]) -> None:
        unnamed: set[tuple[str, int]] | None = None
        for ts, price, qty, kind in rows:
            if kind in TRADES:
                self.trades.append((ts, price, qty, TRADES[kind]))
            elif kind == GAP:
                self.knows, unnamed = "gap", None
            elif kind == SNAPSHOT:
                self.knows, self.depth_seen = "depth", True
                unnamed = {(side, tick) for side in self.book for tick in self.book[side]}
            elif kind in DEPTH:
                self.depth_seen = True
                if self.knows != "gap":
                    self.knows = "depth"
                    self.put(DEPTH[kind], price, qty, unnamed)
            else:
                self.take_best(BBO[kind], price, qty, unnamed)
        if unnamed:
            for side, tick in unnamed:
                self.book[side].pop(tick, None)

    def take_best(self, side: str, price: int, qty: int, unnamed: set | None) -> None:
        """Take a best price: what was better is gone. It ends a gap where nothing else is to be had."""
        if self.knows == "gap" and not self.depth_seen:
            self.knows = "bests"
        if self.knows != "gap":
            for tick in [t for t in self.book[side] if better(side, t, price)]:
                self.put(side, tick, 0, unnamed)
            self.put(side, price, qty, unnamed)

    def put(self, side: str, tick: int, qty: int, unnamed: set | None) -> None:
        if unnamed is not None:
            unnamed.discard((side, tick))
        if qty:
            self.book[side][tick] = qty
        else:
            self.book[side].pop(tick, None)

    def levels(self, side: str, most: int) -> list[tuple[int, int]]:
        """Return the best (tick, lots) of a side. Where only best prices ever came, what lies behind is past."""
        if self.knows == "gap":
            return []
        ticks = sorted(self.book[side], reverse=side == "bid")[: most if self.depth_seen else 1]
        return [(tick, self.book[side][tick]) for tick in ticks]


def better(side: str, tick: int, than: int) -> bool:
    return tick > than if side == "bid" else tick < than
