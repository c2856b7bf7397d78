"""The embedded synthetic market as the offline venue serves it: one series of bars, as spot and as a perpetual."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from marketmakerl.core.instruments import lookup
from marketmakerl.core.rng import check_seed
from marketmakerl.data.catalog import SIMULATED_EXCHANGE
from marketmakerl.data.market import SYNTHETIC_SYMBOL
from marketmakerl.data.synthetic import SyntheticMarket, simulate
from marketmakerl.data.synthetic_kernel import DEPTH_BAND_BPS
from marketmakerl.realtime.sim_market import SimMarket
from marketmakerl.realtime.sim_trades import BLOCK, Bars

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd


class SyntheticBars:
    """Bars of one seed, made as they are needed; a longer series begins with the shorter one."""

    def __init__(self, seed: int, config: SyntheticMarket, start_ms: int | None) -> None:
        self.config = config
        self._seed = check_seed(seed)
        self._start_ms = start_ms
        self._lock = threading.Lock()
        self._bars: Bars | None = None

    def __call__(self, n_bars: int) -> Bars:
        """Return at least `n_bars` bars, in whole blocks."""
        with self._lock:
            if self._bars is None or len(self._bars) < n_bars:
                frame = simulate(self.config, -(-n_bars // BLOCK) * BLOCK, self._seed)
                self._bars = _to_bars(frame, self.config, self._start_ms)
            return self._bars


def synthetic_markets(
    seed: int, *, n_bars: int = 2 * 1440, config: SyntheticMarket | None = None, start_ms: int | None = None
) -> tuple[SimMarket, SimMarket]:
    """Return the synthetic market as spot (BTC/USDT) and as a perpetual (BTC/USDT:USDT): the same prices.

    Args:
        seed: 0 <= seed < 2**63; the bars are those of `mml backtest` on the embedded market with this seed.
        n_bars: made at once; more are made when the venue's time needs them.
        config: what the market is like.
        start_ms: opening time of the first bar; None: 2024-01-01.
    """
    config = config or SyntheticMarket()
    source = SyntheticBars(seed, config, start_ms)
    linear = replace(lookup(SIMULATED_EXCHANGE, SYNTHETIC_SYMBOL), tick_size=config.tick_size, lot_size=config.lot_size)
    spot = replace(linear, symbol=linear.symbol.partition(":")[0], kind="spot")
    spot_market, linear_market = (
        SimMarket(instrument, int(config.interval_s) * 1000, source(n_bars), seed, grow=source)
        for instrument in (spot, linear)
    )
    return spot_market, linear_market


def _to_bars(frame: pd.DataFrame, config: SyntheticMarket, start_ms: int | None) -> Bars:
    def steps(name: str, size: float) -> npt.NDArray[np.int64]:
        return np.rint(frame[name].to_numpy(np.float64) / size).astype(np.int64)

    ts_ms = frame["ts_ms"].to_numpy(np.int64)
    opened = steps("open", config.tick_size)
    depth = (frame["bid_depth"] + frame["ask_depth"]).to_numpy(np.float64) / 2 / config.lot_size
    band_ticks = opened * (DEPTH_BAND_BPS * 1e-4)
    return Bars(
        ts_ms=ts_ms if start_ms is None else ts_ms - ts_ms[0] + start_ms,
        open=opened,
        high=steps("high", config.tick_size),
        low=steps("low", config.tick_size),
        close=steps("close", config.tick_size),
        lots=steps("volume", config.lot_size),
        spread_ticks=np.maximum(1, steps("spread", config.tick_size)),
        depth=np.maximum(depth, 1.0) / band_ticks,
    )
