"""A market out of a seed: bars made trade by trade, so that making a market on them can win and can lose.

Second by second, with all rates set by one clustered volatility:

1. News arrives: the efficient price takes a Gaussian relative step, and now and then a log-normal jump. It is a
   martingale.
2. Quotes stand around what the crowd knows. Of each piece of news, `informed_share` is private at first; the gap
   between the quoted mid and the efficient price closes with `information_half_life_s` (the slow adjustment of
   Kyle 1985 and Glosten & Milgrom 1985, without their equilibrium: the spread is set here, not derived).
3. Traders arrive, a Poisson number of them. An uninformed one buys or sells by a coin, walks the book behind the
   best quote and pushes the mid; the push decays with `impact_half_life_s`. That reversion, and the spread, is what a
   maker lives on. An informed one (a share `informed_share` of all) trades at the best quote towards the next move of
   the mid and leaves no mark: he takes it back.

A bar holds the traded prices, so its close is the last print, on the bid or on the ask, not the mid. With
`informed_share` 0 quotes far enough out earn more than a fee of 2 bps; with 0.8 they are run over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.counter_rng import stream_key
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.instrument import Instrument
from marketmakerl.core.rng import generator
from marketmakerl.data.synthetic_kernel import COLUMN_COUNT, DEPTH_BAND_BPS, Column, Rates, Stream, make_bars
from marketmakerl.data.tiers import TIER_ATTR

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

START_MS: Final = 1_704_067_200_000  # 2024-01-01T00:00:00Z; never "now"
COLUMNS: Final = (
    *("ts_ms", "open", "high", "low", "close", "volume"),
    *("quote_volume", "n_trades", "taker_buy_base", "taker_buy_quote"),
    *("spread", "bid_depth", "ask_depth"),
)

_DAY_S: Final = 86_400
_BPS: Final = 1e-4
_MAX_TICKS: Final = 1e12  # well below 2**53, so that floats count ticks exactly

# Lowest and highest value that make sense; a number outside is a slip of the pen, or a bar without end.
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "start_price": (1e-6, 1e9),
    "interval_s": (1, _DAY_S),
    "daily_vol": (0.0, 1.0),
    "vol_of_vol": (0.0, 1.5),
    "vol_half_life_s": (1.0, 1e8),
    "jumps_per_day": (0.0, _DAY_S),
    "jump_size_bps": (0.0, 1_000.0),
    "half_spread_bps": (0.0, 500.0),
    "spread_vol_exponent": (0.0, 2.0),
    "depth_per_bps": (1e-6, 1e9),
    "depth_vol_exponent": (0.0, 2.0),
    "trades_per_s": (0.0, 50.0),
    "activity_vol_exponent": (0.0, 1.0),
    "trade_qty": (1e-6, 1e9),
    "trade_qty_log_sd": (0.0, 3.0),
    "impact_share": (0.0, 1.0),
    "impact_half_life_s": (0.1, 3_600.0),
    "informed_share": (0.0, 1.0),
    "information_half_life_s": (0.1, 3_600.0),
    "tick_size": (1e-8, 1e6),
    "lot_size": (1e-8, 1e6),
}


@dataclass(frozen=True)
class SyntheticMarket:
    """What the market is like; frozen, checked when made.

    Args:
        start_price: first mid, quote currency; at least 10 ticks.
        interval_s: bar length, whole seconds.
        daily_vol: standard deviation of the efficient log price over a day, without its jumps (0.028 = 2.8 %).
        vol_of_vol: standard deviation of the log of volatility, an AR(1) over bars; 0 keeps volatility constant.
        vol_half_life_s: time in which half of a burst of volatility is over.
        jumps_per_day: mean number of jumps a day.
        jump_size_bps: standard deviation of one jump.
        half_spread_bps: distance of the best quotes from the mid at median volatility, before rounding out to ticks.
        spread_vol_exponent: the spread grows as volatility to this power.
        depth_per_bps: quantity resting per basis point behind the best quote, base units each side.
        depth_vol_exponent: depth shrinks as volatility to this power.
        trades_per_s: mean number of taker orders a second at median volatility.
        activity_vol_exponent: their number grows as volatility to this power.
        trade_qty: mean size of a taker order, base units (log-normal, at least one lot).
        trade_qty_log_sd: standard deviation of the log of that size.
        impact_share: part of the way an uninformed order walks through the book that the mid is pushed along.
        impact_half_life_s: time in which half of such a push is gone.
        informed_share: part of the takers who know the next move of the mid, and of the news that is private first.
        information_half_life_s: time in which half of the private news is in the mid.
        tick_size: price step, quote currency.
        lot_size: quantity step, base units.

    Raises:
        ConfigError: a field that is not a number, not finite, or out of range.
    """

    start_price: float = 50_000.0
    interval_s: int = 60
    daily_vol: float = 0.028
    vol_of_vol: float = 0.5
    vol_half_life_s: float = 21_600.0
    jumps_per_day: float = 8.0
    jump_size_bps: float = 30.0
    half_spread_bps: float = 1.0
    spread_vol_exponent: float = 0.7
    depth_per_bps: float = 0.08
    depth_vol_exponent: float = 0.5
    trades_per_s: float = 1.0
    activity_vol_exponent: float = 0.5
    trade_qty: float = 0.05
    trade_qty_log_sd: float = 1.0
    impact_share: float = 0.7
    impact_half_life_s: float = 15.0
    informed_share: float = 0.25
    information_half_life_s: float = 45.0
    tick_size: float = 0.1
    lot_size: float = 0.001

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), _RANGES[field.name]
            if not _is_number(value) or not low <= value <= high:
                raise ConfigError(f"synthetic market: {field.name} must be from {low:g} to {high:g}, got {value!r}")
        if self.interval_s != int(self.interval_s):
            raise ConfigError(f"synthetic market: interval_s must be whole seconds, got {self.interval_s!r}")
        if not 10 <= self.start_price / self.tick_size <= _MAX_TICKS:
            raise ConfigError(
                f"synthetic market: start_price must be from 10 to {_MAX_TICKS:g} ticks, "
                f"got {self.start_price:g} with tick_size {self.tick_size:g}"
            )

    @property
    def instrument(self) -> Instrument:
        """Return the instrument that the bars are prices of: a linear contract with this tick and lot."""
        return Instrument("BTC/USDT:USDT", self.tick_size, self.lot_size, kind="linear")


def simulate(config: SyntheticMarket, n_bars: int, seed: int) -> pd.DataFrame:
    """Simulate a market.

    Args:
        config: what the market is like.
        n_bars: number of bars, >= 1. A longer run of one seed begins with the shorter one.
        seed: 0 <= seed < 2**63. The same seed gives the same bytes, in every process.

    Returns:
        One row a bar, `COLUMNS`: ts_ms (int64, open time, milliseconds UTC, from 2024-01-01); open, high, low, close
        of the trades, on the tick (a bar without trades repeats the last price); volume and taker_buy_base (base
        units, on the lot), quote_volume and taker_buy_quote (quote currency), n_trades (int64, taker orders); spread
        (mean quoted ask - bid, price units), bid_depth and ask_depth (mean quantity within `DEPTH_BAND_BPS` behind the
        best quote, base units, on the lot), each the mean over the bar's seconds.

    Raises:
        ConfigError: `n_bars` or `seed` out of range.
    """
    return _marked(simulated_columns(config, n_bars, seed))


def simulated_columns(config: SyntheticMarket, n_bars: int, seed: int) -> dict[str, Any]:
    """Simulate a market as `simulate` does; return its columns as arrays, which need no pandas."""
    n_bars = _check_count("n_bars", n_bars)
    # E[exp(2x)] = exp(2 s^2) for x of standard deviation s: this factor makes daily_vol the root mean square.
    step_sd = config.daily_vol / math.sqrt(_DAY_S) * math.exp(-(config.vol_of_vol**2))
    seconds = int(config.interval_s)
    rates = Rates(
        start_ticks=config.start_price / config.tick_size,
        volatility_kept=0.5 ** (seconds / config.vol_half_life_s),
        volatility_sd=config.vol_of_vol,
        step_sd=step_sd,
        jump_share=config.jumps_per_day / _DAY_S,
        jump_sd=config.jump_size_bps * _BPS,
        half_spread_bps=config.half_spread_bps,
        spread_exponent=config.spread_vol_exponent,
        lots_per_bps=config.depth_per_bps / config.lot_size,
        depth_exponent=config.depth_vol_exponent,
        trades_per_s=config.trades_per_s,
        activity_exponent=config.activity_vol_exponent,
        lots=config.trade_qty / config.lot_size,
        lots_log_sd=config.trade_qty_log_sd,
        impact_share=config.impact_share,
        push_kept=0.5 ** (1.0 / config.impact_half_life_s),
        informed_share=config.informed_share,
        gap_kept=0.5 ** (1.0 / config.information_half_life_s),
    )
    rates = Rates(*(float(value) for value in rates))  # one compiled function for whole numbers and others
    keys = np.array([stream_key(seed, "synthetic", stream.name.lower()) for stream in Stream], np.uint64)
    bars = np.empty((n_bars, COLUMN_COUNT))
    with np.errstate(over="ignore"):  # random bits wrap around, which numpy would warn of where nothing is compiled
        make_bars(keys, rates, seconds, bars)
    return _columns(config, bars)


def martingale_bars(
    n_bars: int,
    seed: int,
    *,
    steps_per_bar: int = 60,
    step_ticks: int = 20,
    start_price: float = 50_000.0,
    tick_size: float = 0.1,
    qty_per_step: float = 1.0,
    interval_s: int = 60,
) -> pd.DataFrame:
    """Simulate trade prices that are a driftless martingale: no bounce, no spread, nothing to earn.

    Each trade moves the price by an integer number of ticks, even over -step_ticks..step_ticks. By optional stopping
    an order filled at its limit when the price trades through it loses, on average, what the price overshoots: with
    step_ticks=1 exactly one tick a fill. A bar backtest that shows an edge on these bars before fees is wrong.

    Args:
        n_bars: number of bars, >= 1.
        seed: 0 <= seed < 2**63.
        steps_per_bar: trades in a bar, >= 1.
        step_ticks: longest step of one trade, >= 1.
        start_price: price before the first trade, quote currency.
        tick_size: price step, quote currency.
        qty_per_step: size of each trade, base units.
        interval_s: bar length.

    Returns:
        Columns ts_ms, open, high, low, close, volume, n_trades, as of `simulate`.

    Raises:
        ConfigError: an argument out of range, or the path ran into zero.
    """
    counts = {"n_bars": n_bars, "steps_per_bar": steps_per_bar, "step_ticks": step_ticks, "interval_s": interval_s}
    for name, count in counts.items():
        _check_count(name, count)
    sizes = {"start_price": start_price, "tick_size": tick_size, "qty_per_step": qty_per_step}
    for name, size in sizes.items():
        if not _is_number(size) or size <= 0:
            raise ConfigError(f"martingale bars: {name} must be a positive number, got {size!r}")
    draws = generator(seed, "synthetic", "martingale")
    steps = draws.integers(-step_ticks, step_ticks, (n_bars, steps_per_bar), endpoint=True)
    ticks = round(start_price / tick_size) + np.cumsum(steps).reshape(n_bars, steps_per_bar)
    if ticks.min() < 1:
        raise ConfigError("martingale bars: the path ran into zero; raise start_price, or lower n_bars or step_ticks")
    prices = {"open": ticks[:, 0], "high": ticks.max(axis=1), "low": ticks.min(axis=1), "close": ticks[:, -1]}
    return _marked(
        {
            "ts_ms": _times_ms(n_bars, interval_s),
            **{name: _on_grid(price, tick_size) for name, price in prices.items()},
            "volume": np.full(n_bars, steps_per_bar * qty_per_step),
            "n_trades": np.full(n_bars, steps_per_bar, np.int64),
        }
    )


def _columns(config: SyntheticMarket, bars: Floats) -> dict[str, Any]:
    tick, lot = config.tick_size, config.lot_size
    made = {
        "ts_ms": _times_ms(len(bars), int(config.interval_s)),
        "open": _on_grid(bars[:, Column.OPEN], tick),
        "high": _on_grid(bars[:, Column.HIGH], tick),
        "low": _on_grid(bars[:, Column.LOW], tick),
        "close": _on_grid(bars[:, Column.CLOSE], tick),
        "volume": _on_grid(bars[:, Column.LOTS], lot),
        "quote_volume": _on_grid(bars[:, Column.QUOTE], tick * lot),
        "n_trades": bars[:, Column.TRADES].astype(np.int64),
        "taker_buy_base": _on_grid(bars[:, Column.BUY_LOTS], lot),
        "taker_buy_quote": _on_grid(bars[:, Column.BUY_QUOTE], tick * lot),
        "spread": _on_grid(bars[:, Column.SPREAD], tick),
        "bid_depth": _on_grid(np.floor(bars[:, Column.BID_DEPTH] * DEPTH_BAND_BPS), lot),
        "ask_depth": _on_grid(np.floor(bars[:, Column.ASK_DEPTH] * DEPTH_BAND_BPS), lot),
    }
    return {name: made[name] for name in COLUMNS}


def _marked(columns: dict[str, Any]) -> pd.DataFrame:
    """Return a frame that says what it is, so that it can never pass for recorded data, not even by way of a file."""
    import pandas as pd  # noqa: PLC0415  (half a second that only who wants a frame should pay)

    frame = pd.DataFrame(columns)
    frame.attrs[TIER_ATTR] = "T2"
    return frame


def _times_ms(n_bars: int, interval_s: int) -> Ints:
    return START_MS + np.arange(n_bars, dtype=np.int64) * interval_s * 1_000


def _on_grid(steps: Floats | Ints, size: float) -> Floats:
    """Return steps * size, clean of binary noise: 3 ticks of 0.1 give 0.3, as `Instrument.price` does."""
    per_unit = round(1.0 / size)
    decimal = per_unit > 0 and abs(per_unit * size - 1.0) < 1e-9
    return np.asarray(steps / per_unit if decimal else np.round(steps * size, 12), dtype=np.float64)


def _is_number(value: Any) -> bool:
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _check_count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)
