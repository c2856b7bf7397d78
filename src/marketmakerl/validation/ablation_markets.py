"""The data sets of an ablation: synthetic markets, calm and stressed, on bars and on ticks, and what was recorded.

A data set is a row of windows, each traded on its own: of a recording equal stretches of time, of a synthetic market
one seed each.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.errors import DataQualityError
from marketmakerl.data.bar_windows import window_rows
from marketmakerl.data.catalog import SIMULATED_EXCHANGE, timeframe_ms
from marketmakerl.data.market import load_market, synthetic_market
from marketmakerl.data.synthetic import SyntheticMarket
from marketmakerl.data.synthetic_l3 import L3Market, simulate_l3
from marketmakerl.data.tape import EventTape
from marketmakerl.data.tick_windows import cut, equal_windows

if TYPE_CHECKING:
    from pathlib import Path

    from marketmakerl.data.market import MarketRequest

# Stressed: volatility that comes in bursts, jumps, news that a few know half an hour ahead of the others (a trend
# against whoever quotes); on ticks takers who are many and large. A crash: jumps of whole percents, so that stops and
# breakers have something to do below an inventory limit of a fifth of the budget.
_BARS: Final = {
    "synthetic bars": SyntheticMarket(),
    "stressed bars": SyntheticMarket(
        daily_vol=0.08,
        vol_of_vol=1.0,
        jumps_per_day=40.0,
        jump_size_bps=150.0,
        informed_share=0.5,
        information_half_life_s=1_800.0,
    ),
    "crash bars": SyntheticMarket(
        daily_vol=0.3, vol_of_vol=1.0, jumps_per_day=24.0, jump_size_bps=800.0, information_half_life_s=600.0
    ),
}
_TICKS: Final = {
    "synthetic ticks": L3Market(),
    "stressed ticks": L3Market(limit_per_s=1.0, cancel_per_s=0.1, market_per_s=4.0, market_mean_units=8.0),
}
SYNTHETIC: Final = (*_BARS, *_TICKS)


@dataclass(frozen=True)
class Window:
    """A stretch of a market: a tape and rows [first, last) of it; last 0 means all."""

    path: str
    first: int = 0
    last: int = 0

    def load(self) -> EventTape:
        """Return it as a tape of its own."""
        tape = EventTape.load(self.path, verify=False)
        if self.last == 0:
            return tape
        return tape.slice_rows(self.first, self.last) if tape.is_bars else cut(tape, self.first, self.last)


@dataclass(frozen=True)
class DataCase:
    """A data set, cut into windows.

    Attributes:
        name: unique in the study.
        exchange: whose fees apply.
        on_bars: whether it is made of bars.
        tier: of the data.
        windows: each traded on its own.
        provenance: for the manifest.
    """

    name: str
    exchange: str
    on_bars: bool
    tier: str
    windows: tuple[Window, ...]
    provenance: tuple[dict[str, Any], ...]


def synthetic_case(name: str, windows: int, seed: int, bars: int, events: int, folder: Path) -> DataCase:
    """Make a synthetic data set, window i under seed + i.

    Args:
        name: one of `SYNTHETIC`.
        windows: how many.
        seed: of the first.
        bars: length of a window on bars, one minute each.
        events: and on ticks, orders and cancels.
        folder: where its tapes are put.
    """
    paths = []
    for i in range(windows):
        if name in _BARS:
            tape = synthetic_market(bars, seed + i, _BARS[name]).tape
            made: dict[str, Any] = {"kind": "klines", "generator": asdict(_BARS[name])}
        else:
            market = replace(_TICKS[name], events=events)
            tape = EventTape.from_l3(*simulate_l3(market, seed + i), market.instrument, tier="T2", source=name)
            tape = replace(tape, since_ns=None)  # the age of levels is for measuring queues
            made = {"kind": "l3", "generator": asdict(market)}
        paths.append(Window(str(tape.save(folder / f"{name.replace(' ', '-')}-{i}.tape"))))
    entry = {"exchange": SIMULATED_EXCHANGE, "symbol": tape.instrument.symbol, "tier": "T2", "name": name}
    return DataCase(name, SIMULATED_EXCHANGE, name in _BARS, "T2", tuple(paths), (entry | made,))


def recorded_case(request: MarketRequest, windows: int, folder: Path) -> DataCase:
    """Load a recording and cut it into windows of equal time; raises what `load_market` raises.

    Raises:
        DataQualityError: there is nothing in one of the windows.
    """
    market = load_market(request)
    tape = market.tape
    what = f"{timeframe_ms(request.timeframe) and request.timeframe} bars" if tape.is_bars else "ticks"
    name = f"{market.exchange} {tape.instrument.symbol} {what}"
    edges = window_rows(tape, windows) if tape.is_bars else equal_windows(tape, windows)
    pairs = list(pairwise(edges))
    if any(first >= last for first, last in pairs):
        raise DataQualityError(f"{name}: there is a hole where one of {windows} windows would be; ask for fewer")
    path = str(tape.save(folder / f"{name.replace(' ', '-').replace('/', '')}.tape"))
    return DataCase(
        name,
        market.exchange,
        tape.is_bars,
        tape.tier,
        tuple(Window(path, int(first), int(last)) for first, last in pairs),
        tuple(market.provenance),
    )
