"""Trades that a bar could be made of: from the open to the close through the low and the high, with the volume it had.

How many trades a bar gets depends on the bar alone, so that trade ids can be counted without making the trades. The
trades of a block of bars depend on the seed, the block's number and its bars, on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from marketmakerl.core.rng import generator

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

BLOCK: Final = 256  # bars whose trades are made together
MAX_TRADES: Final = 64  # a bar has this many at most
_NOISE: Final = 0.15  # standard deviation of a trade off the straight way, in ranges of the bar


@dataclass(frozen=True)
class Bars:
    """Bars in whole ticks and lots.

    Attributes:
        ts_ms: int64[n], opening times, increasing.
        open, high, low, close: int64[n], ticks; the low and the high hold the others.
        lots: int64[n], volume.
        spread_ticks: int64[n], >= 1, distance of the best quotes from each other.
        depth: float64[n], > 0, mean quantity resting in the book, lots a tick on each side.
    """

    ts_ms: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    lots: Ints
    spread_ticks: Ints
    depth: Floats

    def __len__(self) -> int:
        return len(self.ts_ms)

    def part(self, first: int, last: int) -> Bars:
        """Return bars [first, last)."""
        return Bars(**{name: getattr(self, name)[first:last] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Trades:
    """Trades by id.

    Attributes:
        first_id: id of the first; the others follow without a hole.
        ts_ms, price, lots: int64[n]; price in ticks, lots >= 1.
        buy: bool[n], whether the aggressor bought.
        bar: int64[n], which bar of its series each belongs to.
    """

    first_id: int
    ts_ms: Ints
    price: Ints
    lots: Ints
    buy: npt.NDArray[np.bool_]
    bar: Ints

    def __len__(self) -> int:
        return len(self.ts_ms)

    def part(self, first: int, last: int) -> Trades:
        """Return trades [first, last), counted from the first of these."""
        columns = {name: getattr(self, name)[first:last] for name in ("ts_ms", "price", "lots", "buy", "bar")}
        return Trades(self.first_id + first, **columns)


def trade_counts(bars: Bars) -> Ints:
    """Return how many trades each bar has: none without volume, else as many as show its prices, up to `MAX_TRADES`."""
    inside = (bars.low < np.minimum(bars.open, bars.close)).astype(np.int64)
    inside += bars.high > np.maximum(bars.open, bars.close)
    ends = np.where((bars.open == bars.close) & (inside == 0), 1, 2)
    count = np.clip(bars.lots, ends + inside, MAX_TRADES)
    return np.where((bars.lots == 0) & (ends + inside == 1), 0, count)


def volumes(bars: Bars) -> Ints:
    """Return the lots each bar trades: its volume, or one lot a trade where that is too little to show its prices."""
    return np.maximum(bars.lots, trade_counts(bars))


def make_trades(bars: Bars, seed: int, block: int, first_id: int, previous_close: int, interval_ms: int) -> Trades:
    """Make the trades of one block.

    Args:
        bars: the bars of the block, `BLOCK` of them or, at the end of a series, fewer.
        seed: of the market.
        block: number of the block.
        first_id: id of the block's first trade.
        previous_close: ticks, where the bar before the block closed.
        interval_ms: length of a bar.
    """
    draws = generator(seed, "exchange sim", block)
    shape = (BLOCK, MAX_TRADES)
    corners, first_low = draws.random((BLOCK, 2)), draws.random(BLOCK) < 0.5
    noise, moments = draws.standard_normal(shape), draws.random(shape)
    weights, coins = np.exp(draws.standard_normal(shape)), draws.random(shape) < 0.5
    n = len(bars)

    count = trade_counts(bars)[:, np.newaxis]
    slot = np.arange(MAX_TRADES)[np.newaxis, :]
    real = slot < count
    price = _prices(bars, count, corners[:n], first_low[:n], noise[:n])
    # Trades that do not exist come last in time and weigh nothing.
    offset = np.sort(np.where(real, np.floor(moments[:n] * interval_ms), np.inf), axis=1)
    lots = _split(volumes(bars)[:, np.newaxis], count, np.where(real, weights[:n], 0.0))

    flat_price = price[real]
    step = np.diff(flat_price, prepend=previous_close)
    bar = np.broadcast_to(np.arange(n)[:, np.newaxis], real.shape)[real]
    return Trades(
        first_id,
        ts_ms=bars.ts_ms[bar] + offset[real].astype(np.int64),
        price=flat_price,
        lots=lots[real],
        buy=np.where(step == 0, coins[:n][real], step > 0),
        bar=bar + block * BLOCK,
    )


def _prices(bars: Bars, count: Ints, corners: Floats, first_low: npt.NDArray[np.bool_], noise: Floats) -> Ints:
    """Return a way open -> one extreme -> the other -> close in ticks, int64[n, MAX_TRADES]."""
    opened, high, low, close = (getattr(bars, name)[:, np.newaxis] for name in ("open", "high", "low", "close"))
    slot = np.arange(MAX_TRADES)[np.newaxis, :]
    last = np.maximum(count - 1, 0)
    # Two different slots strictly inside, where there are two.
    early = 1 + np.floor(corners[:, :1] * np.maximum(count - 3, 0)).astype(np.int64)
    late = early + 1 + np.floor(corners[:, 1:] * np.maximum(count - 2 - early, 0)).astype(np.int64)
    low_first = first_low[:, np.newaxis]
    early_price, late_price = np.where(low_first, low, high), np.where(low_first, high, low)
    # Three trades leave one slot inside: it takes the extreme that neither end is. Fewer leave none.
    lone = np.where(low < np.minimum(opened, close), low, high)
    early_price, late_price = (np.where(count == 3, lone, p) for p in (early_price, late_price))
    early, late = (np.where(count >= 4, s, np.where(count == 3, 1, 0)) for s in (early, late))
    early_price, late_price = (np.where(count >= 3, p, opened) for p in (early_price, late_price))

    way = np.where(
        slot <= early,
        _line(slot, 0, opened, early, early_price),
        np.where(
            slot <= late, _line(slot, early, early_price, late, late_price), _line(slot, late, late_price, last, close)
        ),
    )
    corner = (slot == 0) | (slot == early) | (slot == late) | (slot == last)
    way += np.where(corner, 0.0, noise * _NOISE * (high - low))
    return np.clip(np.rint(way), low, high).astype(np.int64)


def _line(slot: Ints, start: Ints | int, start_price: Ints, end: Ints, end_price: Ints) -> Floats:
    share = (slot - start) / np.maximum(end - start, 1)
    return np.asarray(start_price + share * (end_price - start_price), np.float64)


def _split(total: Ints, count: Ints, weights: Floats) -> Ints:
    """Split each row's `total` lots into `count` parts of at least one, in proportion to the weights beyond that."""
    summed = np.cumsum(weights, axis=1)
    spare = np.maximum(total - count, 0)
    share = summed / np.maximum(summed[:, -1:], np.finfo(np.float64).tiny)
    upto = np.floor(spare * share).astype(np.int64)
    return np.asarray(np.diff(upto, axis=1, prepend=0) + 1, np.int64)
