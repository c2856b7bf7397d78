"""What a backtest hands back: metrics, and the fills, orders and equity behind them as data frames."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.backtesting.records import Status
from marketmakerl.risk.reasons import Reason

if TYPE_CHECKING:
    import pandas as pd

    from marketmakerl.backtesting.metrics import Metrics
    from marketmakerl.core.instrument import Instrument

_STATUS_NAMES = np.array([status.name.lower() for status in Status], dtype=object)
_REASON_NAMES = np.array([reason.name.lower() if reason else "" for reason in Reason], dtype=object)


@dataclass(frozen=True)
class BacktestResult:
    """The outcome of one run.

    Attributes:
        metrics: see `marketmakerl.backtesting.metrics.Metrics`; `.model_dump()` gives a dict.
        instrument: what was traded.
        tier: tier of the data.
        first_line: what a reader must know before any number (on bars: how fills were decided).
        raw_fills, raw_orders, raw_samples: the engine's own records (see `marketmakerl.backtesting.records`).
    """

    metrics: Metrics
    instrument: Instrument
    tier: str
    first_line: str
    raw_fills: Any
    raw_orders: Any
    raw_samples: Any

    @cached_property
    def fills(self) -> pd.DataFrame:
        """One row a fill: ts_ns, order_id, side (+1 buy), price, qty, fee, mid (before it), liquidity, inventory."""
        raw = self.raw_fills
        return _frame({
            "ts_ns": raw["ts_ns"],
            "order_id": raw["order_id"],
            "side": raw["side"],
            "price": self._prices(raw["price_ticks"]),
            "qty": self._quantities(raw["qty_lots"]),
            "fee": raw["fee"],
            "mid": raw["mid"],
            "liquidity": np.where(raw["maker"] == 1, "maker", "taker"),
            "inventory": self._quantities(raw["position_lots"]),
        })  # fmt: skip

    @cached_property
    def orders(self) -> pd.DataFrame:
        """One row an order, in the order they ended: order_id, side, price, qty, filled_qty, times, status, reason."""
        raw = self.raw_orders
        return _frame({
            "order_id": raw["order_id"],
            "side": raw["side"],
            "price": self._prices(raw["price_ticks"]),
            "qty": self._quantities(raw["qty_lots"]),
            "filled_qty": self._quantities(raw["filled_lots"]),
            "submitted_ns": raw["submitted_ns"],
            "closed_ns": raw["closed_ns"],
            "status": _STATUS_NAMES[raw["status"]],
            "reason": _REASON_NAMES[raw["reason"]],
        })  # fmt: skip

    @cached_property
    def equity(self) -> pd.DataFrame:
        """One row at the start and at every decision: ts_ns, equity, cash (settlement currency), inventory, mid."""
        raw = self.raw_samples
        return _frame({
            "ts_ns": raw["ts_ns"],
            "equity": raw["equity"],
            "cash": raw["cash"],
            "inventory": self._quantities(raw["position_lots"]),
            "mid": raw["mid"],
        })  # fmt: skip

    def _prices(self, ticks: Any) -> Any:
        return _clean(ticks, self.instrument.tick_size)

    def _quantities(self, lots: Any) -> Any:
        return _clean(lots, self.instrument.lot_size)


def _clean(steps: Any, size: float) -> Any:
    """Return steps * size without binary noise: rounded to the decimals that the size itself has."""
    exponent = Decimal(repr(size)).as_tuple().exponent
    return np.round(steps * size, max(0, -exponent) if isinstance(exponent, int) else 12)


def _frame(columns: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415  (half a second that only a reader of frames should pay)

    return pd.DataFrame(columns)
