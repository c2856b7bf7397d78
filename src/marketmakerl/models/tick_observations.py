"""What a tape of ticks shows, as columns: best quotes over time, market orders, and the sizes in the book.

One compiled pass replays the book. Trades of one exchange time and side are one market order: an order that walks the
book prints a trade a level, and venues stamp them alike. (Two orders of one millisecond then count as one; a clock
finer than that tells them apart.) What lies between a GAP row and the next whole book is not observed.

Messages of the book that carry an order's own stamp may show it or not, venue by venue. So the mid before an order is
that of an earlier stamp, and the mid after it that of the first message of a later one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.jit import njit
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.data.tick_checks import check_ticks

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.data.tape import EventTape

    Ints = npt.NDArray[np.int64]

DEPTH_BINS: Final = 20
DEPTH_SPAN: Final = 10e-4  # of the mid: how far from the touch sizes are averaged
SAMPLE_NS: Final = NS_PER_S  # the book's sizes are looked at this often

_MORE = int(MORE)
_GAP, _SNAPSHOT, _DEPTH_BID, _DEPTH_ASK, _BBO_BID, _BBO_ASK, _SELL, _BUY, _UNKNOWN = (
    *(int(Kind.GAP), int(Kind.SNAPSHOT), int(Kind.DEPTH_BID), int(Kind.DEPTH_ASK)),
    *(int(Kind.BBO_BID), int(Kind.BBO_ASK), int(Kind.TRADE_SELL), int(Kind.TRADE_BUY), int(Kind.TRADE)),
)


@dataclass(frozen=True)
class Quotes:
    """Best bid and ask, one row a change, while both were known and not crossed.

    Attributes:
        ts_ns, until_ns: int64[n], from when to when it held; within one stretch.
        bid_ticks, ask_ticks: int64[n].
        start_ns, end_ns: int64[m], the observed stretches, between which something is missing.
    """

    ts_ns: Ints
    until_ns: Ints
    bid_ticks: Ints
    ask_ticks: Ints
    start_ns: Ints
    end_ns: Ints

    @property
    def mid_half_ticks(self) -> Ints:
        """Return the mid in half ticks."""
        return self.bid_ticks + self.ask_ticks

    @property
    def spread_ticks(self) -> Ints:
        """Return the spread in ticks, which is the half-spread in half ticks."""
        return self.ask_ticks - self.bid_ticks

    @property
    def seconds(self) -> float:
        """Return the observed time, seconds."""
        return float((self.end_ns - self.start_ns).sum()) / NS_PER_S

    def stretch_of(self, ts_ns: Ints) -> Ints:
        """Return the stretch that each time lies in, -1 for none; a stretch includes both its ends."""
        at = np.searchsorted(self.start_ns, ts_ns, side="right") - 1
        inside = (at >= 0) & (ts_ns <= self.end_ns[np.maximum(at, 0)])
        return np.where(inside, at, -1)

    def mid_at(self, ts_ns: Ints) -> Ints:
        """Return the mid (half ticks) that held at each time; the times lie in stretches."""
        return self.mid_half_ticks[np.searchsorted(self.ts_ns, ts_ns, side="right") - 1]


@dataclass(frozen=True)
class Orders:
    """Market orders, by time; each is the trades of one exchange time and side.

    Attributes:
        ts_ns: int64[n].
        side: int64[n], 1 for a buyer who lifted asks, -1 for a seller who hit bids.
        reach_half_ticks: int64[n], from the mid before it to its deepest price, in its own direction.
        lots: int64[n], its size.
        mid_before, mid_after: int64[n], half ticks: at the last earlier time, and after the first message of the book
            at a later time (-1: none came).
    """

    ts_ns: Ints
    side: Ints
    reach_half_ticks: Ints
    lots: Ints
    mid_before: Ints
    mid_after: Ints

    def of(self, side: int) -> Orders:
        """Return the orders of one side."""
        return self.where(self.side == side)

    def where(self, keep: npt.NDArray[np.bool_]) -> Orders:
        """Return the orders that a mask keeps."""
        return Orders(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.ts_ns)


@dataclass(frozen=True)
class DepthProfile:
    """Sizes in the book by distance from the touch, sampled once a second.

    Attributes:
        bin_ticks: width of a bin of distance, ticks; bin i holds distances [i, i + 1) x width.
        mean_lots: float64[2, bins], bids and asks: mean size in a bin, where the recording reaches that far.
        samples: int64[2, bins], samples in which it did.
        total_samples: samples taken.
    """

    bin_ticks: int
    mean_lots: npt.NDArray[np.float64]
    samples: Ints
    total_samples: int


@dataclass(frozen=True)
class TickObservations:
    """What a tape of ticks shows.

    Attributes:
        quotes: best bid and ask over time.
        orders: market orders that met a known book.
        depth: sizes by distance; None where only best quotes were recorded.
        trades: trades on the tape.
        unknown_side: trades of which the aggressor is not known; they are in no order.
        unseen: trades with no known book before them.
        clock_ns: the step of the exchange's clock: 1 ms, 1 us or 1 ns, as its stamps show.
    """

    quotes: Quotes
    orders: Orders
    depth: DepthProfile | None
    trades: int
    unknown_side: int
    unseen: int
    clock_ns: int


@njit()
def _set_level(kind: Any, rank: Any, qty: Any, clears: Any, stamp: Any, lots: Any, best: Any, worst: Any) -> None:
    """Apply one row to the levels: a level counts if its stamp is the number of the last clear."""
    side = 0 if kind in (_DEPTH_BID, _BBO_BID) else 1
    step = -1 if side == 0 else 1
    levels = stamp.shape[1]
    if kind >= _BBO_BID:  # nothing better than a best price is left
        while 0 <= best[side] < levels and (rank - best[side]) * step > 0:
            stamp[side, best[side]] = -1
            best[side] += step
    stamp[side, rank] = clears if qty > 0 else -1
    lots[side, rank] = qty
    if worst[side] < 0 or (rank - worst[side]) * step > 0:
        worst[side] = rank
    if qty > 0 and (best[side] < 0 or best[side] >= levels or (rank - best[side]) * step < 0):
        best[side] = rank
    while 0 <= best[side] < levels and stamp[side, best[side]] != clears:
        best[side] += step


@njit()
def _add_depth(
    prices: Any, clears: Any, stamp: Any, lots: Any, best: Any, worst: Any, width: Any, sums: Any, seen: Any
) -> None:
    """Add the sizes of the book as it stands to `sums`, and to `seen` the bins that the recording reaches."""
    bins = sums.shape[1]
    for side in range(2):
        step = -1 if side == 0 else 1
        touch = prices[best[side]]
        reach = (prices[worst[side]] - touch) * step
        rank = best[side]
        while 0 <= rank < len(prices):
            away = (prices[rank] - touch) * step // width
            if away >= bins:
                break
            if stamp[side, rank] == clears:
                sums[side, away] += lots[side, rank]
            rank += step
        for i in range(bins):
            if reach >= (i + 1) * width - 1:
                seen[side, i] += 1


@njit()
def _two_sided(best: Any, levels: Any) -> bool:
    return bool(best[0] >= 0 and best[1] < levels and best[0] < best[1])


@njit()
def _observe(  # noqa: C901, PLR0912, PLR0915  (one row, one kernel: its branches are the kinds of rows)
    ts: Any,
    rank: Any,
    qty: Any,
    kind: Any,
    prices: Any,
    depth: Any,
    width: Any,
    quotes: Any,
    orders: Any,
    spans: Any,
    sums: Any,
    seen: Any,
) -> tuple[int, int, int, int, int, int]:
    """Replay the tape; return (quotes, orders, stretches, unknown side, unseen, samples).

    Args:
        ts: column of the tape, as `qty` and `kind` are.
        rank: place of each row's price in `prices`.
        qty: lots.
        kind: of the rows.
        prices: every price on the tape, increasing.
        depth: whether there are depth rows; then a gap lasts to the next snapshot, else to the next best price.
        width: of a bin of the depth profile, ticks; 0 for none.
        quotes: out, int64[messages + 1, 3]: time, bid, ask.
        orders: out, int64[trades, 6]: time, side, deepest rank, lots, mid before, mid after (half ticks, -1: none).
        spans: out, int64[gaps + 1, 2]: start and end of stretches.
        sums: out, float64[2, bins], see `_add_depth`.
        seen: out, int64[2, bins].
    """
    levels = len(prices)
    stamp = np.full((2, levels), -1, np.int64)
    lots = np.zeros((2, levels), np.int64)
    best, worst = np.empty(2, np.int64), np.full(2, -1, np.int64)
    best[0], best[1] = -1, levels
    open_order = np.full(2, -1, np.int64)
    clears, n_quotes, n_orders, n_spans, unknown_side, unseen, samples = 0, 0, 0, 0, 0, 0, 0
    lost, touched, known = False, False, False
    first_pending, next_sample = 0, np.int64(0)
    for i in range(len(kind)):
        k = np.int64(kind[i]) & (_MORE - 1)
        if known and width > 0 and not touched and _GAP < k < _SELL and ts[i] > next_sample:
            # The book as it stood at the sampling time, before this message changes it.
            if _two_sided(best, levels):
                _add_depth(prices, clears, stamp, lots, best, worst, width, sums, seen)
                samples += 1
            next_sample += (1 + (ts[i] - next_sample - 1) // SAMPLE_NS) * SAMPLE_NS
        if k >= _SELL:
            if k == _UNKNOWN:
                unknown_side += 1
            elif not known or ts[i] <= spans[n_spans, 0]:
                unseen += 1
            else:
                s = 1 if k == _BUY else 0
                at = open_order[s]
                if at < 0 or orders[at, 0] != ts[i]:
                    at = n_orders
                    n_orders += 1
                    open_order[s] = at
                    before = n_quotes - 1
                    while quotes[before, 0] == ts[i]:
                        before -= 1
                    orders[at, 0], orders[at, 1], orders[at, 2], orders[at, 3] = ts[i], 2 * s - 1, rank[i], 0
                    orders[at, 4], orders[at, 5] = quotes[before, 1] + quotes[before, 2], -1
                orders[at, 2] = max(orders[at, 2], rank[i]) if s == 1 else min(orders[at, 2], rank[i])
                orders[at, 3] += qty[i]
        elif k in (_GAP, _SNAPSHOT):
            clears += 1
            best[0], best[1], worst[0], worst[1] = -1, levels, -1, -1
            lost, touched = k == _GAP, k == _SNAPSHOT
            if lost:
                if known:
                    spans[n_spans, 1] = ts[i]
                    n_spans += 1
                known, first_pending = False, n_orders
                open_order[0], open_order[1] = -1, -1
        elif not (lost and depth):
            lost = False
            _set_level(k, rank[i], qty[i], clears, stamp, lots, best, worst)
            touched = True
        if kind[i] < _MORE and touched:
            touched = False
            if _two_sided(best, levels):
                bid, ask = prices[best[0]], prices[best[1]]
                if not known:
                    spans[n_spans, 0] = ts[i]
                    next_sample = ts[i]
                if not known or bid != quotes[n_quotes - 1, 1] or ask != quotes[n_quotes - 1, 2]:
                    quotes[n_quotes, 0], quotes[n_quotes, 1], quotes[n_quotes, 2] = ts[i], bid, ask
                    n_quotes += 1
                known = True
                while first_pending < n_orders and orders[first_pending, 0] < ts[i]:
                    orders[first_pending, 5] = bid + ask
                    first_pending += 1
    if known:
        spans[n_spans, 1] = ts[-1]
        n_spans += 1
    return n_quotes, n_orders, n_spans, unknown_side, unseen, samples


def observe(tape: EventTape) -> TickObservations:
    """Replay a tape of ticks and return what it shows.

    Raises:
        DataFormatError: a tape of bars, or rows that are none (see `check_ticks`).
    """
    check_ticks(tape)
    kind, ts = np.asarray(tape.kind), np.asarray(tape.ts_ns)
    plain = kind & ~MORE
    has_depth = bool(((plain == Kind.DEPTH_BID) | (plain == Kind.DEPTH_ASK)).any())
    prices, rank = np.unique(np.asarray(tape.price_ticks), return_inverse=True)
    trades = int((plain >= Kind.TRADE_SELL).sum())
    width = max(1, int(np.ceil(float(np.median(prices)) * DEPTH_SPAN / DEPTH_BINS))) if has_depth and len(prices) else 0
    quotes = np.empty((int((kind < MORE).sum()) + 1, 3), np.int64)
    orders = np.empty((trades, 6), np.int64)
    spans = np.empty((int((plain == Kind.GAP).sum()) + 1, 2), np.int64)
    sums, seen = np.zeros((2, DEPTH_BINS)), np.zeros((2, DEPTH_BINS), np.int64)
    n_quotes, n_orders, n_spans, unknown_side, unseen, samples = _observe(
        ts, rank.astype(np.int64), np.asarray(tape.qty_lots), kind, prices, has_depth, width, quotes, orders, spans,
        sums, seen,
    )  # fmt: skip
    depth = DepthProfile(width, sums / np.maximum(seen, 1), seen, samples) if width else None
    return TickObservations(
        quotes=_quotes(quotes[:n_quotes], spans[:n_spans]),
        orders=_orders(orders[:n_orders], prices),
        depth=depth,
        trades=trades,
        unknown_side=unknown_side,
        unseen=unseen,
        clock_ns=_clock_step(ts[plain >= Kind.TRADE_SELL]),
    )


def _quotes(rows: Ints, spans: Ints) -> Quotes:
    ts = rows[:, 0].copy()
    stretch = np.searchsorted(spans[:, 0], ts, side="right") - 1
    until = np.minimum(np.append(ts[1:], np.iinfo(np.int64).max), spans[stretch, 1])
    return Quotes(ts, until, rows[:, 1].copy(), rows[:, 2].copy(), spans[:, 0].copy(), spans[:, 1].copy())


def _orders(rows: Ints, prices: Ints) -> Orders:
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    ts, side, deepest, lots, before, after = (rows[:, i].copy() for i in range(6))
    deep = prices[deepest] if len(prices) else deepest
    return Orders(ts, side, side * (2 * deep - before), lots, before, after)


def _clock_step(ts_ns: Ints) -> int:
    return next((step for step in (1_000_000, 1_000) if not (ts_ns % step).any()), 1)
