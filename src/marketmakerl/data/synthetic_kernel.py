"""The compiled inside of the synthetic market (see `marketmakerl.data.synthetic` for what it means)."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from marketmakerl.core.counter_rng import draw, high_32, low_32, normal, uint64
from marketmakerl.core.jit import njit

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

DEPTH_BAND_BPS: Final = 10.0  # how far behind the best quote bid_depth and ask_depth count
_BPS: Final = 1e-4
_PER_UNIT: Final = 1e4  # basis points
_PER_BAND: Final = 1.0 / DEPTH_BAND_BPS
_MAX_SHIFT_BPS: Final = 2_000.0  # a sweep, a push or a gap is never longer: no price can reach zero by it
_VOLATILITY_BAND: Final = math.log(20.0)  # volatility stays within this factor of its median
_LEAST_STEP: Final = -0.9  # nor by a second's news, should its draw lie fifteen deviations out
_TWO_32: Final = 2.0**32
_UNIT_32: Final = 2.0**-32
_MEAN_OF_A_PIECE: Final = 8.0  # Poisson numbers of a larger mean are sums of smaller ones
_MOST_IN_A_PIECE: Final = 48  # with a mean of 8, a number above it is less likely than 1e-20


class Column(IntEnum):
    """Columns of the bars that `make_bars` writes: prices in ticks, quantities in lots, quote sums in ticks * lots."""

    OPEN = 0
    HIGH = 1
    LOW = 2
    CLOSE = 3
    LOTS = 4
    QUOTE = 5
    TRADES = 6
    BUY_LOTS = 7
    BUY_QUOTE = 8
    SPREAD = 9
    BID_DEPTH = 10
    ASK_DEPTH = 11


COLUMN_COUNT: Final = len(Column)


class Stream(IntEnum):
    """Rows of the keys of random numbers: each purpose draws from a stream of its own, by second or by order."""

    VOLATILITY = 0
    NEWS = 1
    ARRIVALS = 2
    JUMPS = 3
    ORDERS = 4
    SIZES = 5


class Rates(NamedTuple):
    """`SyntheticMarket` in the units of the kernel: seconds, ticks, lots, basis points.

    Attributes:
        start_ticks: first efficient price.
        volatility_kept, volatility_sd: the AR(1) of log volatility over bars: what is left of it, its deviation.
        step_sd: standard deviation of the efficient price's relative step in a second at median volatility.
        jump_share: share of seconds with a jump.
        jump_sd: standard deviation of its logarithm.
        half_spread_bps, spread_exponent: half the quoted spread at median volatility; it grows as volatility to this.
        lots_per_bps, depth_exponent: resting quantity behind the best quote; it shrinks as volatility to this.
        trades_per_s, activity_exponent: mean taker orders a second; they grow as volatility to this.
        lots, lots_log_sd: mean size of an order, and the deviation of its logarithm.
        impact_share, informed_share: see `SyntheticMarket`.
        push_kept, gap_kept: parts of a push, and of the gap, that are left after a second.
    """

    start_ticks: float
    volatility_kept: float
    volatility_sd: float
    step_sd: float
    jump_share: float
    jump_sd: float
    half_spread_bps: float
    spread_exponent: float
    lots_per_bps: float
    depth_exponent: float
    trades_per_s: float
    activity_exponent: float
    lots: float
    lots_log_sd: float
    impact_share: float
    push_kept: float
    informed_share: float
    gap_kept: float


@njit()
def _cumulate(mean: float, cumulative: Floats) -> None:
    """Write the distribution function of a Poisson number; behind what 32 bits can tell from 1 it is 1."""
    share = math.exp(-mean)
    total = share
    for n in range(len(cumulative) - 1):
        cumulative[n] = total
        share *= mean / (n + 1)
        total += share
    cumulative[-1] = 1.0


@njit()
def _count(bits: Any, pieces: int, cumulative: Floats) -> int:
    """Return a Poisson number, the sum of `pieces` equal ones, from 64 random bits, whose lower half is left alone."""
    count = 0
    for piece in range(pieces):
        share = high_32(bits if piece == 0 else draw(bits, uint64(piece))) * _UNIT_32
        n = 0
        while share >= cumulative[n]:
            n += 1
        count += n
    return count


# One loop over bars, seconds and orders: what an order pays depends on all orders before it. Every draw is named by its
# place (core/counter_rng.py), so that a longer run begins with the shorter one.
@njit()
def make_bars(keys: Any, rates: Rates, seconds: int, bars: Floats) -> None:
    """Make a market.

    Args:
        keys: uint64 by `Stream`, of its random numbers.
        rates: what the market is like.
        seconds: length of a bar.
        bars: shape (bars, 12), written: prices in ticks, quantities in lots, quote sums in ticks * lots.
    """
    efficient, last = rates.start_ticks, np.floor(rates.start_ticks + 0.5)
    push, gap, log_volatility = 0.0, 0.0, 0.0
    shock_sd = rates.volatility_sd * math.sqrt(1.0 - rates.volatility_kept * rates.volatility_kept)
    jumps_below, informed_below = rates.jump_share * _TWO_32, rates.informed_share * _TWO_32
    cumulative = np.empty(_MOST_IN_A_PIECE)
    second, order = uint64(0), uint64(0)
    for bar in range(len(bars)):
        shock = normal(draw(keys[Stream.VOLATILITY], uint64(bar)))
        if bar == 0:
            log_volatility = rates.volatility_sd * shock
        else:
            log_volatility = rates.volatility_kept * log_volatility + shock_sd * shock
        volatility = math.exp(min(max(log_volatility, -_VOLATILITY_BAND), _VOLATILITY_BAND))  # 1 at its median
        step_sd = rates.step_sd * volatility
        half = rates.half_spread_bps * volatility**rates.spread_exponent
        below, above = 1.0 - half * _BPS, 1.0 + half * _BPS
        density = rates.lots_per_bps * volatility**-rates.depth_exponent
        mean = rates.trades_per_s * volatility**rates.activity_exponent
        pieces = int(mean / _MEAN_OF_A_PIECE) + 1
        _cumulate(mean / pieces, cumulative)
        opened, high, low = 0.0, 0.0, 0.0
        lots, quote, buy_lots, buy_quote, spread, bid_depth, ask_depth = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        n_orders = 0
        for _ in range(seconds):
            bits = draw(keys[Stream.ARRIVALS], second)
            news = max(step_sd * normal(draw(keys[Stream.NEWS], second)), _LEAST_STEP)
            efficient *= 1.0 + news
            if low_32(bits) < jumps_below:
                jump = rates.jump_sd * normal(draw(keys[Stream.JUMPS], second)) - 0.5 * rates.jump_sd * rates.jump_sd
                news += jump
                efficient *= math.exp(jump)
            second += uint64(1)
            push *= rates.push_kept
            gap = (gap + rates.informed_share * (news * _PER_UNIT)) * rates.gap_kept
            gap = min(max(gap, -_MAX_SHIFT_BPS), _MAX_SHIFT_BPS)
            # The side that was hit last is thinner, by half at most, until the push has decayed.
            worn = 0.5 * min(abs(push) * _PER_BAND, 1.0)
            bid_density = density * (1.0 - worn) if push < 0.0 else density
            ask_density = density * (1.0 - worn) if push > 0.0 else density
            mid = efficient * (1.0 + (push - gap) * _BPS)
            bid = max(np.floor(mid * below), 1.0)
            spread += max(np.ceil(mid * above), bid + 1.0) - bid
            bid_depth += bid_density
            ask_depth += ask_density
            for _ in range(_count(bits, pieces, cumulative)):
                bits = draw(keys[Stream.ORDERS], order)
                informed = high_32(bits) < informed_below and gap != 0.0
                buys = gap > 0.0 if informed else low_32(bits) < 0.5 * _TWO_32
                log_lots = rates.lots_log_sd * (normal(draw(keys[Stream.SIZES], order)) - 0.5 * rates.lots_log_sd)
                size = max(np.floor(rates.lots * math.exp(log_lots) + 0.5), 1.0)
                order += uint64(1)
                walk = 0.0 if informed else min(size / (ask_density if buys else bid_density), _MAX_SHIFT_BPS)
                mid = efficient * (1.0 + (push - gap) * _BPS)
                bid = max(np.floor(mid * below), 1.0)
                if buys:
                    best = max(np.ceil(mid * above), bid + 1.0)
                    worst = max(np.ceil(mid * (above + walk * _BPS)), best)
                    push = min(push + rates.impact_share * walk, _MAX_SHIFT_BPS)
                    buy_lots += size
                    buy_quote += size * 0.5 * (best + worst)
                else:
                    best = bid
                    worst = min(max(np.floor(mid * (below - walk * _BPS)), 1.0), best)
                    push = max(push - rates.impact_share * walk, -_MAX_SHIFT_BPS)
                lots += size
                quote += size * 0.5 * (best + worst)  # the book behind the best quote is even
                if n_orders == 0:
                    opened, high, low = best, best, best
                high, low, last = max(high, best, worst), min(low, best, worst), worst
                n_orders += 1
        if n_orders == 0:
            opened, high, low = last, last, last
        bars[bar, Column.OPEN], bars[bar, Column.HIGH], bars[bar, Column.LOW], bars[bar, Column.CLOSE] = (
            opened,
            high,
            low,
            last,
        )
        bars[bar, Column.LOTS], bars[bar, Column.QUOTE], bars[bar, Column.TRADES] = lots, quote, n_orders
        bars[bar, Column.BUY_LOTS], bars[bar, Column.BUY_QUOTE] = buy_lots, buy_quote
        bars[bar, Column.SPREAD], bars[bar, Column.BID_DEPTH], bars[bar, Column.ASK_DEPTH] = (
            spread / seconds,
            bid_depth / seconds,
            ask_depth / seconds,
        )
