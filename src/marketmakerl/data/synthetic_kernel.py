"""The compiled inside of the synthetic market (see `marketmakerl.data.synthetic` for what it means)."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from marketmakerl.core.jit import njit

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

DEPTH_BAND_BPS: Final = 10.0  # how far behind the best quote bid_depth and ask_depth count
_BPS: Final = 1e-4
_MAX_SHIFT_BPS: Final = 2_000.0  # a sweep, a push or a gap is never longer: no price can reach zero by it


class Column(IntEnum):
    """Columns of the bars that `trade` writes: prices in ticks, quantities in lots, quote sums in ticks * lots."""

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


@njit()
def log_volatility(shocks: Floats, last: float, persistence: float, sd: float) -> None:
    """Turn standard normal shocks into a stationary AR(1) of standard deviation `sd`, in place."""
    scale = sd * math.sqrt(1.0 - persistence * persistence)
    for bar in range(len(shocks)):
        last = sd * shocks[bar] if math.isnan(last) else persistence * last + scale * shocks[bar]
        shocks[bar] = last


# One loop over bars, seconds and trades: what a trade pays depends on all trades before it. Only + - * / and floor
# inside, which are exact, so that compiled and plain Python give the same bytes.
@njit()
def trade(
    efficient: Floats,
    news_bps: Floats,
    half_spread_bps: Floats,
    lots_per_bps: Floats,
    arrivals: Ints,
    kind_draws: Floats,
    side_draws: Floats,
    trade_lots: Floats,
    impact_share: float,
    push_kept: float,
    informed_share: float,
    gap_kept: float,
    state: Floats,
    bars: Floats,
) -> None:
    """Trade through a block of bars.

    Args:
        efficient: efficient price at each second, in ticks.
        news_bps: its log step into that second, basis points.
        half_spread_bps: by bar.
        lots_per_bps: resting quantity behind the best quote, by bar.
        arrivals: taker orders in each second.
        kind_draws: uniform, by order; below `informed_share` it is informed.
        side_draws: uniform, by order; below 0.5 an uninformed one buys.
        trade_lots: size, by order, whole lots.
        impact_share: see `SyntheticMarket`.
        push_kept: part of the push left after a second.
        informed_share: see `SyntheticMarket`.
        gap_kept: part of the gap left after a second.
        state: push (bps), gap (bps) and last price (ticks); read and written.
        bars: shape (bars, 12), written: prices in ticks, quantities in lots, quote sums in ticks * lots.
    """
    push, gap, last = state[0], state[1], state[2]
    n_bars = len(bars)
    seconds = len(efficient) // n_bars
    order = 0
    for bar in range(n_bars):
        half, density = half_spread_bps[bar], lots_per_bps[bar]
        opened, high, low = 0.0, 0.0, 0.0
        lots, quote, buy_lots, buy_quote, spread, bid_depth, ask_depth = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        first_order = order
        for second in range(bar * seconds, (bar + 1) * seconds):
            push *= push_kept
            gap = (gap + informed_share * news_bps[second]) * gap_kept
            gap = min(max(gap, -_MAX_SHIFT_BPS), _MAX_SHIFT_BPS)
            # The side that was hit last is thinner, by half at most, until the push has decayed.
            worn = 0.5 * min(abs(push) / DEPTH_BAND_BPS, 1.0)
            bid_density = density * (1.0 - worn) if push < 0.0 else density
            ask_density = density * (1.0 - worn) if push > 0.0 else density
            mid = efficient[second] * (1.0 + (push - gap) * _BPS)
            bid = max(math.floor(mid * (1.0 - half * _BPS)), 1.0)
            spread += max(math.ceil(mid * (1.0 + half * _BPS)), bid + 1.0) - bid
            bid_depth += bid_density
            ask_depth += ask_density
            for _ in range(arrivals[second]):
                informed = kind_draws[order] < informed_share and gap != 0.0
                buys = gap > 0.0 if informed else side_draws[order] < 0.5
                size = trade_lots[order]
                walk = 0.0 if informed else min(size / (ask_density if buys else bid_density), _MAX_SHIFT_BPS)
                mid = efficient[second] * (1.0 + (push - gap) * _BPS)
                bid = max(math.floor(mid * (1.0 - half * _BPS)), 1.0)
                if buys:
                    best = max(math.ceil(mid * (1.0 + half * _BPS)), bid + 1.0)
                    worst = max(math.ceil(mid * (1.0 + (half + walk) * _BPS)), best)
                    push = min(push + impact_share * walk, _MAX_SHIFT_BPS)
                    buy_lots += size
                    buy_quote += size * 0.5 * (best + worst)
                else:
                    best = bid
                    worst = min(max(math.floor(mid * (1.0 - (half + walk) * _BPS)), 1.0), best)
                    push = max(push - impact_share * walk, -_MAX_SHIFT_BPS)
                lots += size
                quote += size * 0.5 * (best + worst)  # the book behind the best quote is even
                if order == first_order:
                    opened, high, low = best, best, best
                high, low, last = max(high, best, worst), min(low, best, worst), worst
                order += 1
        if order == first_order:
            opened, high, low = last, last, last
        bars[bar, Column.OPEN], bars[bar, Column.HIGH], bars[bar, Column.LOW], bars[bar, Column.CLOSE] = (
            opened,
            high,
            low,
            last,
        )
        bars[bar, Column.LOTS], bars[bar, Column.QUOTE], bars[bar, Column.TRADES] = lots, quote, order - first_order
        bars[bar, Column.BUY_LOTS], bars[bar, Column.BUY_QUOTE] = buy_lots, buy_quote
        bars[bar, Column.SPREAD], bars[bar, Column.BID_DEPTH], bars[bar, Column.ASK_DEPTH] = (
            spread / seconds,
            bid_depth / seconds,
            ask_depth / seconds,
        )
    state[0], state[1], state[2] = push, gap, last
