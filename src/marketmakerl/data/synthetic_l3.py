"""A market of single orders out of a seed: limit orders, market orders and cancels that know nothing of each other.

The zero-intelligence book of Smith, Farmer, Gillemot & Krishnamurthy (2003, Quantitative Finance 3), with first in,
first out at every price: limit orders come at each tick from 1 to `depth_ticks` beyond the other side's best, market
orders come to each side, every resting order is cancelled at one rate, all Poisson. It gives the frames of an L3
recording, in which every queue is known: what `marketmakerl.validation.queue_truth` measures queue models against.

Where in a queue orders are cancelled is what queue models differ in, so it can be chosen: "anywhere", or with a chance
that grows towards the "back" (the young give up first) or the "front".
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from marketmakerl.core.errors import ConfigError
from marketmakerl.core.instrument import Instrument
from marketmakerl.core.jit import njit
from marketmakerl.core.rng import generator

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

START_NS: Final = 1_704_067_200_000_000_000  # 2024-01-01T00:00:00Z
CANCELS: Final = ("anywhere", "back", "front")
# The least quantity is many lots, so that an own order of one lot changes nothing for the others.
UNIT_LOTS: Final = 1000
_LEVELS: Final = 1 << 16
_NONE: Final = -1
_CREATE, _CHANGE, _DELETE = 0, 1, 2
_UNKNOWN: Final = -1
_RANGES: Final = {
    "events": (1, 10_000_000),
    "limit_per_s": (1e-6, 1e6),
    "market_per_s": (0.0, 1e6),
    "cancel_per_s": (1e-6, 1e6),
    "depth_ticks": (1, 1000),
    "mean_units": (1.0, 1e4),
    "market_mean_units": (1.0, 1e4),
}


@dataclass(frozen=True)
class L3Market:
    """What the market is like; checked when made.

    Attributes:
        events: how many limit orders, market orders and cancels to draw.
        limit_per_s: limit orders a second, at each tick and side.
        market_per_s: market orders a second, each side.
        cancel_per_s: cancels a second of each resting order; with "back" or "front" of the most exposed one.
        cancels: "anywhere", "back" or "front": which orders of a queue are cancelled.
        depth_ticks: how far from the other side's best limit orders come.
        mean_units, market_mean_units: mean size of limit and market orders, in units of 1000 lots (geometric).
        log_takers: whether market orders are in the log of orders too, as at Bitstamp.
    """

    events: int = 200_000
    limit_per_s: float = 0.5
    market_per_s: float = 1.0
    cancel_per_s: float = 0.05
    cancels: str = "anywhere"
    depth_ticks: int = 8
    mean_units: float = 2.0
    market_mean_units: float = 4.0
    log_takers: bool = False

    def __post_init__(self) -> None:
        if self.cancels not in CANCELS:
            raise ConfigError(f"cancels must be one of {', '.join(CANCELS)}, got {self.cancels!r}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            whole = {field.name: field.type for field in fields(self)}[name] == "int"
            right = isinstance(value, int) if whole else isinstance(value, (int, float))
            if isinstance(value, bool) or not right or not low <= value <= high:
                kind = "an integer" if whole else "a number"
                raise ConfigError(f"{name} must be {kind} from {low:g} to {high:g}, got {value!r}")

    @property
    def instrument(self) -> Instrument:
        """Return what the prices and quantities are multiples of."""
        return Instrument("ZI/USDT:USDT", 0.01, 0.001, "linear")


def simulate_l3(market: L3Market | None = None, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (orders, trades) in the columns of an L3 recording (see `EventTape.from_l3`).

    Args:
        market: what it is like.
        seed: 0 <= seed < 2**63; the same seed gives the same frames.

    Raises:
        ConfigError: the price has run out of its 65,536 ticks.
    """
    market = market or L3Market()
    random = generator(seed, "synthetic", "l3")
    n = market.events
    waits = random.standard_exponential(n)
    draws = random.random((n, 2))
    limits = random.geometric(1.0 / market.mean_units, n + _opening(market)) * UNIT_LOTS
    takes = random.geometric(1.0 / market.market_mean_units, n) * UNIT_LOTS
    # An execution ends a limit order or a market order, and is a trade and two rows at most.
    room = 5 * len(limits)
    orders, trades = np.empty((room, 8), np.int64), np.empty((room, 5), np.int64)
    n_orders, n_trades = _play(
        market.limit_per_s, market.market_per_s, market.cancel_per_s, CANCELS.index(market.cancels), market.depth_ticks,
        int(market.log_takers), waits, draws, limits, takes, orders, trades,
    )  # fmt: skip
    if n_orders < 0:
        raise ConfigError("the market has left the prices it was given; draw fewer events or a smaller depth_ticks")
    return _frames(orders[:n_orders], trades[:n_trades], market.instrument)


def _opening(market: L3Market) -> int:
    """Return how many orders stand in the book when it opens: what comes and goes in balance, at each tick and side."""
    return 2 * market.depth_ticks * max(1, round(market.limit_per_s / market.cancel_per_s))


def _frames(orders: Ints, trades: Ints, instrument: Instrument) -> tuple[pd.DataFrame, pd.DataFrame]:
    seq, ts, born, order_id, action, side, price, packed = orders.T
    qty, filled = packed >> 32, (packed & 0xFFFFFFFF) - 1  # 0: not known
    lot, tick = instrument.lot_size, instrument.tick_size
    log = pd.DataFrame({
        "msg_seq": seq, "ts_local_ns": ts + START_NS, "order_ts_ns": born + START_NS, "order_id": order_id,
        "action": action.astype(np.int8), "side": side.astype(np.int8), "price": price * tick, "qty": qty * lot,
        "filled": np.where(filled < 0, np.nan, filled * lot),
    })  # fmt: skip
    seq, ts, price, lots, side = trades.T
    made = pd.DataFrame({
        "ts_ns": ts + START_NS, "ts_local_ns": ts + START_NS, "price": price * tick, "qty": lots * lot,
        "side": side.astype(np.int8), "trade_id": np.arange(len(ts)), "msg_seq": seq,
    })  # fmt: skip
    return log, made


@njit()
def _write(
    out: Ints,
    at: Ints,
    ts: int,
    born: int,
    order: int,
    action: int,
    side: int,
    price: int,
    qty: int,
    filled: int,
) -> None:
    """Write a row of the log of orders; `at` counts the rows, the trades and the two together."""
    row = out[at[0]]
    row[0], row[1], row[2], row[3], row[4] = at[2], ts, born, order, action
    row[5], row[6], row[7] = side, price, (qty << 32) | (filled + 1)
    at[0] += 1
    at[2] += 1


@njit()
def _join(order: int, level: int, ends: Ints, links: Ints) -> None:
    """Put an order at the end of its queue."""
    links[order, 0], links[order, 1] = ends[level, 1], _NONE
    if ends[level, 1] == _NONE:
        ends[level, 0] = order
    else:
        links[ends[level, 1], 1] = order
    ends[level, 1] = order


@njit()
def _unlink(order: int, level: int, ends: Ints, links: Ints) -> None:
    """Take an order out of its queue."""
    before, after = links[order, 0], links[order, 1]
    if before == _NONE:
        ends[level, 0] = after
    else:
        links[before, 1] = after
    if after == _NONE:
        ends[level, 1] = before
    else:
        links[after, 0] = before


@njit()
def _exposed(order: int, level: int, ends: Ints, links: Ints, cancels: int) -> float:
    """Return the chance that a cancel of this order happens, from its place in the queue."""
    if cancels == 0:
        return 1.0
    place, n, other = 0, 0, ends[level, 0]
    while other != _NONE:
        if other == order:
            place = n
        n += 1
        other = links[other, 1]
    return (place + 1) / n if cancels == 1 else (n - place) / n


@njit()
def _forget(order: int, side: int, best: Ints, ends: Ints, live: Ints, live_at: Ints, count: Ints) -> None:
    """Take an order, gone from its queue, out of the list of live ones, and find the new best price of its side."""
    count[2] -= 1
    count[side] -= 1
    other = live[count[2]]
    live[live_at[order]] = other
    live_at[other] = live_at[order]
    while count[side] > 0 and ends[best[side] + side * _LEVELS, 0] == _NONE:
        best[side] -= 1 - 2 * side


# One loop over events: each depends on the book that those before it left, and its parts share all of it. Only + - * /
# and % inside, which are exact, so that compiled and plain Python give the same bytes.
@njit()
def _play(
    limit_per_s: float,
    market_per_s: float,
    cancel_per_s: float,
    cancels: int,
    depth: int,
    log_takers: int,
    waits: Floats,
    draws: Floats,
    limits: Ints,
    takes: Ints,
    orders: Ints,
    trades: Ints,
) -> tuple[int, int]:
    """Play the market and write its log; return how many rows and trades there are, (-1, 0) out of prices.

    Args:
        limit_per_s: see `L3Market`, as for the next two.
        market_per_s: each side.
        cancel_per_s: each order.
        cancels: index into `CANCELS`.
        depth: `depth_ticks`.
        log_takers: 1: the log of orders holds market orders too.
        waits: float64[n], standard exponential.
        draws: float64[n, 2], uniform.
        limits: int64[n + orders of the opening book], lots of limit orders.
        takes: int64[n], lots of market orders.
        orders: int64[rows, 8], written: seq, ts, born, id, action, side, price, quantity << 32 | filled + 1.
        trades: int64[rows, 5], written: seq, ts, price, lots, side.
    """
    n, most = len(waits), len(limits)
    opening = most - n
    # A level is a tick for bids, a tick + _LEVELS for asks; it has a first and a last order, an order its neighbours.
    ends, links = np.full((2 * _LEVELS, 2), _NONE, np.int64), np.full((most, 2), _NONE, np.int64)
    level_of, lots_of, born = np.zeros(most, np.int64), np.zeros(most, np.int64), np.zeros(most, np.int64)
    live, live_at = np.zeros(most, np.int64), np.zeros(most, np.int64)
    best = np.array([_LEVELS // 2 - 1, _LEVELS // 2])
    count, at = np.zeros(3, np.int64), np.zeros(3, np.int64)  # live bids, asks, both; rows, trades, both
    made, takers = 0, most
    ts: Any = 0
    clock = 0.0
    limit_rate, market_rate = 2.0 * depth * limit_per_s, 2.0 * market_per_s
    for step in range(-opening, n):
        if step < 0:
            spot = (step + opening) % (2 * depth)
            draw = (spot + 0.5) * limit_per_s
            ts += 1_000_000
        else:
            rate = limit_rate + market_rate + cancel_per_s * count[2]
            clock += waits[step] / rate * 1e9
            ts = max(ts + 100, opening * 1_000_000 + int(clock))
            draw = draws[step, 0] * rate
        if draw < limit_rate:  # a limit order
            spot = min(int(draw / limit_per_s), 2 * depth - 1)
            side, away = spot & 1, 1 + (spot >> 1)
            sign = 1 - 2 * side
            price = best[1 - side] - sign * away
            if price < 4 * depth or price >= _LEVELS - 4 * depth:
                return -1, 0
            order, level = made, price + side * _LEVELS
            made += 1
            level_of[order], lots_of[order], born[order] = level, limits[order], ts
            _join(order, level, ends, links)
            live[count[2]], live_at[order] = order, count[2]
            if count[side] == 0 or sign * price > sign * best[side]:
                best[side] = price
            count[side] += 1
            count[2] += 1
            _write(orders, at, ts, ts, order, _CREATE, sign, price, limits[order], _UNKNOWN)
        elif draw < limit_rate + market_rate:  # a market order, against bids or asks, through `depth` ticks at most
            side = int(draw - limit_rate >= market_per_s)
            if count[side] == 0:
                continue
            sign, left, lowest = 1 - 2 * side, takes[step], best[side] - (1 - 2 * side) * depth
            if log_takers != 0:
                _write(orders, at, ts, ts, takers, _CREATE, -sign, lowest, left, _UNKNOWN)
            while left > 0 and count[side] > 0 and sign * best[side] >= sign * lowest:
                price = best[side]
                level = price + side * _LEVELS
                order = ends[level, 0]
                lots = min(left, lots_of[order])
                left -= lots
                lots_of[order] -= lots
                if log_takers != 0:
                    action = _DELETE if left == 0 else _CHANGE
                    _write(orders, at, ts, ts, takers, action, -sign, lowest, left, lots)
                action = _DELETE if lots_of[order] == 0 else _CHANGE
                _write(orders, at, ts, born[order], order, action, sign, price, lots_of[order], lots)
                trade = trades[at[1]]
                trade[0], trade[1], trade[2], trade[3], trade[4] = at[2], ts, price, lots, -sign
                at[1] += 1
                at[2] += 1
                if lots_of[order] == 0:
                    _unlink(order, level, ends, links)
                    _forget(order, side, best, ends, live, live_at, count)
            if log_takers != 0 and left > 0:
                _write(orders, at, ts, ts, takers, _DELETE, -sign, lowest, left, 0)
            takers += 1
        elif count[2] > 0:  # a cancel
            pick = draws[step, 1] * count[2]
            order = live[min(int(pick), count[2] - 1)]
            level = level_of[order]
            if pick % 1.0 >= _exposed(order, level, ends, links, cancels):
                continue
            side = level // _LEVELS
            price = level - side * _LEVELS
            _write(orders, at, ts, born[order], order, _DELETE, 1 - 2 * side, price, lots_of[order], 0)
            _unlink(order, level, ends, links)
            _forget(order, side, best, ends, live, live_at, count)
    return at[0], at[1]
