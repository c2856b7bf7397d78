"""The market of the offline venue: bars, the trades they are made of, and a book, all as of a moment.

Everything follows from bars (recorded, or simulated from a seed) and the moment asked about: the same question at the
same venue time gets the same answer, in any process and whatever was asked before. Nothing of the future shows: the
running bar is what its trades so far add up to.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import ConfigError
from marketmakerl.data.tape import Kind
from marketmakerl.realtime.sim_trades import BLOCK, Bars, Trades, make_trades, trade_counts, volumes

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

MAX_BARS: Final = 5_000_000
_BLOCKS_KEPT: Final = 64
_TAPE_SPREAD_BPS: Final = 1.0  # a tape of bars says nothing of the book: about what the synthetic market has
_TAPE_DEPTH: Final = 0.3  # within 10 bps, in median volumes of a bar
_LEVEL_LOTS: Final = 20.0  # mean size of a level, at least; a thin book has its levels further apart
_WEEK_MS: Final = 604_800_000
_MONDAY_MS: Final = 345_600_000  # 1970-01-05; weeks begin on Monday


class Candles(NamedTuple):
    """Klines as columns; prices in ticks, volumes in lots, notionals in ticks x lots."""

    ts_ms: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    lots: Ints
    notional: Floats
    trades: Ints
    buy_lots: Ints
    buy_notional: Floats


class Book(NamedTuple):
    """Both sides of the book, best first: price in ticks, quantity in lots; and a number that grows as it changes."""

    bid_ticks: Ints
    bid_lots: Ints
    ask_ticks: Ints
    ask_lots: Ints
    update_id: int


class SimMarket:
    """One instrument's market.

    Args:
        instrument: spot or linear.
        interval_ms: length of a bar.
        bars: at least one.
        seed: decides the trades inside the bars and the sizes in the book.
        grow: returns at least so many bars, the ones given first; None: the market ends with its bars.

    Raises:
        ConfigError: an inverse instrument, which neither of the two protocols served trades.
    """

    def __init__(
        self,
        instrument: Instrument,
        interval_ms: int,
        bars: Bars,
        seed: int,
        grow: Callable[[int], Bars] | None = None,
    ) -> None:
        if instrument.kind == "inverse":
            raise ConfigError(f"{instrument.symbol} is inverse; the offline venue serves spot and linear instruments")
        self.instrument = instrument
        self.interval_ms = interval_ms
        self._seed = seed
        self._grow = grow
        self._blocks: OrderedDict[int, Trades] = OrderedDict()
        self._sums: dict[int, Floats] = {}
        self._set(bars)

    @classmethod
    def from_tape(cls, tape: EventTape, *, seed: int = 0, start_ms: int | None = None) -> SimMarket:
        """Make a market of recorded bars.

        Args:
            tape: compiled from bars.
            seed: see the class.
            start_ms: moves the first bar to this time; None leaves the recorded time.

        Raises:
            ConfigError: the tape is not one of bars, or has none.
        """
        if not tape.is_bars or not (tape.kind == Kind.BAR_CLOSE).any():
            raise ConfigError("the offline venue needs a tape made of bars, with at least one")
        rows = {kind: np.asarray(tape.kind) == kind for kind in Kind}
        ts_ms = np.asarray(tape.ts_ns)[rows[Kind.BAR_OPEN]] // NS_PER_MS
        price = {kind: np.asarray(tape.price_ticks)[rows[kind]] for kind in Kind}
        opened, close = price[Kind.BAR_OPEN], price[Kind.BAR_CLOSE]
        lots = np.asarray(tape.qty_lots)[rows[Kind.BAR_CLOSE]]
        bars = Bars(
            ts_ms=ts_ms if start_ms is None else ts_ms - ts_ms[0] + start_ms,
            open=opened,
            high=np.maximum(price[Kind.BAR_HIGH], np.maximum(opened, close)),
            low=np.minimum(price[Kind.BAR_LOW], np.minimum(opened, close)),
            close=close,
            lots=lots,
            spread_ticks=np.maximum(1, np.rint(opened * _TAPE_SPREAD_BPS * 1e-4)).astype(np.int64),
            depth=max(1.0, float(np.median(lots))) * _TAPE_DEPTH / (opened * 1e-3),
        )
        return cls(tape.instrument, tape.interval_ns // NS_PER_MS, bars, seed)

    @property
    def start_ms(self) -> int:
        """Return when the first bar opens."""
        return int(self._bars.ts_ms[0])

    @property
    def end_ms(self) -> int | None:
        """Return when the last bar closes; None for a market that goes on."""
        return None if self._grow else self._end_ms

    def clamp(self, now_ms: int) -> int:
        """Return `now_ms`, or the end of a market that has ended; makes sure that the bars up to it are there."""
        if now_ms >= self._end_ms and self._grow and len(self._bars) < MAX_BARS:
            needed = (now_ms - self.start_ms) // self.interval_ms + 1
            self._set(self._grow(min(MAX_BARS, max(needed, 2 * len(self._bars)))))
        return min(now_ms, self._end_ms)

    def traded(self, now_ms: int) -> int:
        """Return how many trades there were up to and at `now_ms`: the id of the last one, since ids begin with 1."""
        return self._count_before(now_ms + 1)

    def first_trade_from(self, ts_ms: int) -> int:
        """Return the id of the first trade at or after a time."""
        return self._count_before(ts_ms) + 1

    def trades(self, first_id: int, last_id: int) -> Trades:
        """Return the trades from `first_id` to `last_id`, both included; both must have happened."""
        parts = []
        while first_id <= last_id:
            bar = int(np.searchsorted(self._ids, first_id, side="right")) - 1
            block = self._block(bar // BLOCK)
            skip = first_id - block.first_id
            parts.append(block.part(skip, min(len(block), skip + last_id - first_id + 1)))
            first_id += len(parts[-1])
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return self._block(0).part(0, 0)
        columns = {c: np.concatenate([getattr(p, c) for p in parts]) for c in ("ts_ms", "price", "lots", "buy", "bar")}
        return Trades(parts[0].first_id, **columns)

    def candles(self, interval_ms: int, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int) -> Candles:
        """Return klines by opening time, the running one included.

        Args:
            interval_ms: a multiple of the market's own.
            start_ms: the first `limit` that open at or after this; None: the last `limit`.
            end_ms: none that opens after this; None: up to now.
            limit: how many at most.
            now_ms: venue time, as `clamp` returned it.
        """
        offset = _MONDAY_MS if interval_ms % _WEEK_MS == 0 else 0
        ts_ms = self._bars.ts_ms
        until = now_ms if end_ms is None else min(end_ms, now_ms)
        first = 0
        if start_ms is not None:
            first = int(np.searchsorted(ts_ms, -((offset - start_ms) // interval_ms) * interval_ms + offset))
        after = ((until - offset) // interval_ms + 1) * interval_ms + offset
        last = int(np.searchsorted(ts_ms, min(after, now_ms + 1)))
        opens, starts = np.unique((ts_ms[first:last] - offset) // interval_ms * interval_ms + offset, return_index=True)
        chosen = slice(0, limit) if start_ms is not None else slice(max(0, len(opens) - limit), None)
        ends = np.append(starts[1:], last - first)[chosen]
        opens, starts = opens[chosen], starts[chosen]
        if not len(opens):
            return self._own_candles(0, 0, now_ms)
        own = self._own_candles(first + int(starts[0]), first + int(ends[-1]), now_ms)
        at = starts - starts[0]
        return Candles(
            opens,
            open=own.open[at],
            high=np.maximum.reduceat(own.high, at),
            low=np.minimum.reduceat(own.low, at),
            close=own.close[ends - 1 - starts[0]],
            lots=np.add.reduceat(own.lots, at),
            notional=np.add.reduceat(own.notional, at),
            trades=np.add.reduceat(own.trades, at),
            buy_lots=np.add.reduceat(own.buy_lots, at),
            buy_notional=np.add.reduceat(own.buy_notional, at),
        )

    def book(self, limit: int, now_ms: int) -> Book:
        """Return the best `limit` levels of both sides around the last trade.

        The last trade was at the best ask if its aggressor bought, else at the best bid. Behind the best, levels lie on
        a grid that is as wide as the book is thin; the size of a level depends on its price and the bar.
        """
        traded = self.traded(now_ms)
        bar = max(0, self._bar_at(now_ms))
        spread = int(self._bars.spread_ticks[bar])
        if traded:
            last = self.trades(traded, traded)
            ask = int(last.price[0]) if last.buy[0] else int(last.price[0]) + spread
        else:
            ask = int(self._bars.open[0]) + spread
        bid = max(1, ask - spread)
        ask = max(ask, bid + 1)
        depth = float(self._bars.depth[bar])
        grid = max(1, math.ceil(_LEVEL_LOTS / depth))
        steps = np.arange(limit - 1)
        bid_ticks = np.append(bid, ((bid - 1) // grid - steps) * grid)
        ask_ticks = np.append(ask, (ask // grid + 1 + steps) * grid)
        bid_ticks = bid_ticks[bid_ticks > 0]
        bid_lots, ask_lots = (
            self._sizes(ticks, salt, depth * grid) for ticks, salt in ((bid_ticks, 2 * bar), (ask_ticks, 2 * bar + 1))
        )
        return Book(bid_ticks, bid_lots, ask_ticks, ask_lots, traded + bar + 1)

    def _set(self, bars: Bars) -> None:
        self._bars = bars
        self._end_ms = int(bars.ts_ms[-1]) + self.interval_ms
        counts = trade_counts(bars)
        # Id of the first trade of each bar, and of the one after the last.
        self._ids = 1 + np.concatenate([[0], np.cumsum(counts)])
        self._lots = volumes(bars)

    def _bar_at(self, ts_ms: int) -> int:
        """Return the last bar that has opened at a time; -1 before the first."""
        return int(np.searchsorted(self._bars.ts_ms, ts_ms, side="right")) - 1

    def _count_before(self, ts_ms: int) -> int:
        bar = self._bar_at(ts_ms - 1)
        if bar < 0:
            return 0
        if int(self._bars.ts_ms[bar]) + self.interval_ms <= ts_ms:
            return int(self._ids[bar + 1]) - 1
        inside = self._trades_of(bar).ts_ms
        return int(self._ids[bar]) - 1 + int(np.searchsorted(inside, ts_ms))

    def _trades_of(self, bar: int) -> Trades:
        block = self._block(bar // BLOCK)
        return block.part(int(self._ids[bar]) - block.first_id, int(self._ids[bar + 1]) - block.first_id)

    def _block(self, number: int) -> Trades:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        first = number * BLOCK
        bars = self._bars.part(first, first + BLOCK)
        previous_close = int(self._bars.close[first - 1] if first else self._bars.open[0])
        made = make_trades(bars, self._seed, number, int(self._ids[first]), previous_close, self.interval_ms)
        self._blocks[number] = made
        if len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return made

    def _block_sums(self, number: int) -> Floats:
        """Return notional, bought lots and bought notional of each bar of a block, float64[3, bars]."""
        if number not in self._sums:
            trades = self._block(number)
            notional = trades.price.astype(np.float64) * trades.lots
            parts = (notional, np.where(trades.buy, trades.lots, 0), np.where(trades.buy, notional, 0.0))
            bars = min(BLOCK, len(self._bars) - number * BLOCK)
            bar = trades.bar - number * BLOCK
            self._sums[number] = np.array([np.bincount(bar, part, bars) for part in parts])
        return self._sums[number]

    def _own_candles(self, first: int, last: int, now_ms: int) -> Candles:
        """Return bars [first, last) as klines, the running one cut at `now_ms`."""
        numbers = range(first // BLOCK, -(-last // BLOCK))
        sums = np.concatenate([self._block_sums(n) for n in numbers], axis=1) if numbers else np.empty((3, 0))
        skip = first - first // BLOCK * BLOCK
        notional, buy_lots, buy_notional = sums[:, skip : skip + last - first]
        part = self._bars.part(first, last)
        counts = np.diff(self._ids[first : last + 1]) if last > first else np.empty(0, np.int64)
        columns = [part.ts_ms, part.open, part.high, part.low, part.close, self._lots[first:last], notional]
        found = Candles(*(np.array(c) for c in (*columns, counts, buy_lots.astype(np.int64), buy_notional)))
        if last > first and int(part.ts_ms[-1]) + self.interval_ms > now_ms:
            self._cut(found, last - 1, now_ms)
        return found

    def _cut(self, candles: Candles, bar: int, now_ms: int) -> None:
        """Replace the last row by what the trades of the running bar add up to so far."""
        trades = self._trades_of(bar)
        trades = trades.part(0, int(np.searchsorted(trades.ts_ms, now_ms, side="right")))
        before = int(self._bars.close[bar - 1] if bar else self._bars.open[0])
        price = trades.price if len(trades) else np.array([before])
        notional = trades.price.astype(np.float64) * trades.lots
        row = (price[0], price.max(), price.min(), price[-1], trades.lots.sum(), notional.sum(), len(trades))
        bought = (trades.lots[trades.buy].sum(), notional[trades.buy].sum())
        for column, value in zip(candles[1:], (*row, *bought), strict=True):
            column[-1] = value

    def _sizes(self, ticks: Ints, salt: int, mean_lots: float) -> Ints:
        """Return sizes spread evenly over 1 .. twice the mean; the market's seed, `salt` and its price fix each one."""
        mixed = ticks.astype(np.uint64)
        for part in (self._seed, salt):
            mixed = _mix(mixed ^ _mix(np.array([part], np.uint64)))
        share = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return 1 + np.floor(share * max(0.0, 2 * mean_lots - 1)).astype(np.int64)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return splitmix64's finaliser (Steele, Lea & Flood 2014) of each number."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
