"""A catalog of klines as a recorder would leave it: the synthetic market under an exchange's name, so tier T1."""

from pathlib import Path

import numpy as np
import pandas as pd

from marketmakerl import DataProcessor
from marketmakerl.data.synthetic import SyntheticMarket

COLUMNS = ["ts_ms", "open", "high", "low", "close", "volume"]


def bars_of(n_bars: int, seed: int = 4, *, informed_share: float = 0.1) -> pd.DataFrame:
    """Return one-minute bars; the fewer traders are informed, the easier a maker earns."""
    config = SyntheticMarket(informed_share=informed_share)
    bars = DataProcessor.simulate_market_data(n_bars=n_bars, seed=seed, config=config)[COLUMNS]
    bars.attrs.clear()  # what says that they are synthetic, and would keep them from every gate
    return bars


def put_klines(root: Path, bars: pd.DataFrame, name: str = "binanceusdm_BTCUSDT_1m_a_b.parquet") -> Path:
    """Write bars into the catalog below `root`."""
    path = root / "klines" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    bars.to_parquet(path, index=False)
    return path


def standing_still(bars: pd.DataFrame, first: int, end: int) -> pd.DataFrame:
    """Return the bars with one price from row `first` to `end`: nothing can be estimated there."""
    still = bars.copy()
    still.loc[np.arange(first, end), ["open", "high", "low", "close"]] = float(bars.loc[first, "close"])
    return still
