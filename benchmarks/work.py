"""The work that every engine is given: one market, one strategy, and what wakes it. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

TICK_SIZE = 0.1
LOT_SIZE = 0.001
ORDER_LOTS = 1
MAKER_BPS = 2.0
TAKER_BPS = 5.0
LATENCY_NS = 1_000_000  # each way
WARM_UP_ROWS = 2000


@dataclass(frozen=True)
class Work:
    """One post-only market maker whose quotes lean against its position; prices in ticks, quantities in lots.

    Args:
        levels: orders a side.
        gap_ticks: distance between them; the best of a side is a multiple of it (or the touch).
        half_ticks: half-spread around the skewed mid.
        skew_ticks: how far a lot of position moves the centre.
        max_lots: no bids from this position on, no asks from its negative; 0: no quotes at all.
        interval_ns: the quoting clock; None: every row of the feed and every answer of the exchange.
    """

    levels: int = 1
    gap_ticks: int = 1
    half_ticks: float = 5.0
    skew_ticks: float = 0.5
    max_lots: int = 20
    interval_ns: int | None = 100_000_000


WORKS = {
    "as": Work(),
    "feed": Work(interval_ns=None),
    "grid": Work(levels=10, gap_ticks=5, max_lots=200),
    "replay": Work(max_lots=0, interval_ns=1_000_000_000),
}
MEANING = {
    "as": "1+1 quotes, 100 ms clock",
    "feed": "1+1 quotes, every feed event",
    "grid": "10+10 quotes, 100 ms clock",
    "replay": "no orders, 1 s clock",
}
