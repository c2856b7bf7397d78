"""The front door to bars: make a synthetic market, check a frame of bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marketmakerl.data.quality import QualityReport, check_klines
from marketmakerl.data.synthetic import SyntheticMarket, simulate

if TYPE_CHECKING:
    import pandas as pd

    from marketmakerl.core.instrument import Instrument


class DataProcessor:
    """Stateless; every method can be called on the class or on an instance."""

    @staticmethod
    def simulate_market_data(n_bars: int = 4320, seed: int = 0, config: SyntheticMarket | None = None) -> pd.DataFrame:
        """Simulate bars of a market (see `marketmakerl.data.synthetic.simulate` for the columns).

        Args:
            n_bars: number of bars, >= 1; 4320 are three days of minutes.
            seed: 0 <= seed < 2**63; the same seed gives the same bytes.
            config: what the market is like; None is `SyntheticMarket()`.

        Raises:
            ConfigError: a number out of range.
        """
        return simulate(config or SyntheticMarket(), n_bars, seed)

    @staticmethod
    def check(df: pd.DataFrame, interval_ms: int | None = None, instrument: Instrument | None = None) -> QualityReport:
        """Check bars and report every doubt (see `marketmakerl.data.quality.check_klines`).

        Args:
            df: bars with ts_ms (int64, open time, milliseconds UTC), open, high, low, close, volume.
            interval_ms: bar interval; None takes the commonest distance between two bars.
            instrument: gives the tick that prices should lie on; None leaves that check out.

        Raises:
            DataFormatError: not a frame of bars.
            ConfigError: `interval_ms` is not a positive integer.
        """
        return check_klines(df, interval_ms, instrument)
