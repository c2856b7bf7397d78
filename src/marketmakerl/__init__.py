"""MarketMakerL: would this quoting model have made money after fees, queue, latency and bad luck?

    import marketmakerl as mml

    bars = mml.DataProcessor.simulate_market_data(n_bars=1440, seed=7)
    instrument = mml.Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.001, kind="linear", min_notional=5.0)
    tape = mml.EventTape.from_klines(bars, instrument, tier="T2")
    result = mml.backtest(tape, mml.Symmetric(half_spread=20.0), fees=mml.Fees(2, 5), order_qty=0.004, cash=10_000)
    print(result.metrics.pnl, result.fills)

Names are loaded when first used, so importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketmakerl.backtesting.backtest_engine import backtest
    from marketmakerl.backtesting.exchange.queue import Queue
    from marketmakerl.backtesting.exchange.venue import VenueRules
    from marketmakerl.backtesting.order_script import OrderScript
    from marketmakerl.backtesting.results.attribution import Attribution, attribute, break_even_maker_bps
    from marketmakerl.backtesting.results.metrics import Metrics
    from marketmakerl.backtesting.results.result import BacktestResult
    from marketmakerl.backtesting.wire.latency import Latency
    from marketmakerl.core.errors import LiveTradingBlocked, MarketMakerLError
    from marketmakerl.core.fees import Fees
    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.data_processor import DataProcessor
    from marketmakerl.data.tape import EventTape
    from marketmakerl.models.avellaneda_stoikov import AvellanedaStoikov
    from marketmakerl.models.cartea_jaimungal import CarteaJaimungal
    from marketmakerl.models.contract import Quote, QuoteContext
    from marketmakerl.models.custom import CustomModel
    from marketmakerl.models.glft import GLFT
    from marketmakerl.models.ladder import Ladder
    from marketmakerl.models.rl_enhanced_model import RLEnhanced
    from marketmakerl.models.skewed import Skewed
    from marketmakerl.models.symmetric import Symmetric
    from marketmakerl.models.table_policy import TablePolicy
    from marketmakerl.risk.limits import RiskLimits
    from marketmakerl.simulation.exact import ExactMoments, evaluate_exact
    from marketmakerl.simulation.optimum import CARA, RunningPenalty, optimal_policy
    from marketmakerl.simulation.simulate import SimulationResult, simulate
    from marketmakerl.simulation.world import World

__version__ = "0.1.0"

_HOME = {
    "Attribution": "backtesting.results.attribution",
    "AvellanedaStoikov": "models.avellaneda_stoikov",
    "BacktestResult": "backtesting.results.result",
    "CARA": "simulation.optimum",
    "CarteaJaimungal": "models.cartea_jaimungal",
    "CustomModel": "models.custom",
    "DataProcessor": "data.data_processor",
    "EventTape": "data.tape",
    "ExactMoments": "simulation.exact",
    "Fees": "core.fees",
    "GLFT": "models.glft",
    "Instrument": "core.instrument",
    "Ladder": "models.ladder",
    "Latency": "backtesting.wire.latency",
    "LiveTradingBlocked": "core.errors",
    "MarketMakerLError": "core.errors",
    "Metrics": "backtesting.results.metrics",
    "OrderScript": "backtesting.order_script",
    "Queue": "backtesting.exchange.queue",
    "Quote": "models.contract",
    "QuoteContext": "models.contract",
    "RLEnhanced": "models.rl_enhanced_model",
    "RiskLimits": "risk.limits",
    "RunningPenalty": "simulation.optimum",
    "SimulationResult": "simulation.simulate",
    "Skewed": "models.skewed",
    "Symmetric": "models.symmetric",
    "TablePolicy": "models.table_policy",
    "VenueRules": "backtesting.exchange.venue",
    "World": "simulation.world",
    "attribute": "backtesting.results.attribution",
    "backtest": "backtesting.backtest_engine",
    "break_even_maker_bps": "backtesting.results.attribution",
    "evaluate_exact": "simulation.exact",
    "optimal_policy": "simulation.optimum",
    "simulate": "simulation.simulate",
}

__all__ = [  # noqa: RUF022  (as sorted() sorts, which knows no acronyms)
    "Attribution",
    "AvellanedaStoikov",
    "BacktestResult",
    "CARA",
    "CarteaJaimungal",
    "CustomModel",
    "DataProcessor",
    "EventTape",
    "ExactMoments",
    "Fees",
    "GLFT",
    "Instrument",
    "Ladder",
    "Latency",
    "LiveTradingBlocked",
    "MarketMakerLError",
    "Metrics",
    "OrderScript",
    "Queue",
    "Quote",
    "QuoteContext",
    "RLEnhanced",
    "RiskLimits",
    "RunningPenalty",
    "SimulationResult",
    "Skewed",
    "Symmetric",
    "TablePolicy",
    "VenueRules",
    "World",
    "__version__",
    "attribute",
    "backtest",
    "break_even_maker_bps",
    "evaluate_exact",
    "optimal_policy",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
