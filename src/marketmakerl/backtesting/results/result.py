"""What a backtest hands back: metrics, and the fills, orders and equity behind them as data frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.backtesting.layout import OrderType, Status
from marketmakerl.backtesting.results.markouts import known_lots as _known
from marketmakerl.backtesting.results.markouts import markout_frame, order_statistics
from marketmakerl.backtesting.results.risk_log import risk_frame
from marketmakerl.risk.reasons import Purpose, Reason

if TYPE_CHECKING:
    import pandas as pd

    from marketmakerl.backtesting.results.metrics import Metrics
    from marketmakerl.core.instrument import Instrument

_STATUS_NAMES = np.array([status.name.lower() for status in Status], dtype=object)
_TYPE_NAMES = np.array([kind.name.lower() for kind in OrderType], dtype=object)
_PURPOSE_NAMES = np.array([purpose.name.lower() for purpose in Purpose], dtype=object)
_REASON_NAMES = np.array([reason.name.lower() if reason else "" for reason in Reason], dtype=object)


@dataclass(frozen=True)
class BacktestResult:
    """The outcome of one run.

    Attributes:
        metrics: see `marketmakerl.backtesting.results.metrics.Metrics`; `.model_dump()` gives a dict.
        instrument: what was traded.
        tier: tier of the data.
        first_line: what a reader must know before any number (on bars: how fills were decided).
        raw_fills, raw_orders, raw_samples: the engine's own records (see `marketmakerl.backtesting.bar_records`).
    """

    metrics: Metrics
    instrument: Instrument
    tier: str
    first_line: str
    raw_fills: Any
    raw_orders: Any
    raw_samples: Any
    raw_markouts: Any = None  # ticks: float64[fills, horizons], the mid at each horizon after each fill
    run_log: dict[str, int] = field(default_factory=dict)  # what the run met: rows, gaps, snapshots, late cancels ...
    risk_events: list[dict[str, Any]] = field(default_factory=list)  # what the controls did

    @cached_property
    def fills(self) -> pd.DataFrame:
        """One row a fill: when, order_id, side (+1 buy), price, qty, fee, mid before it, liquidity, inventory, purpose.

        On ticks also how long the order had rested, and the quantity it had joined behind (NaN: not known).
        """
        return _frame(self.fill_columns())

    def fill_columns(self) -> dict[str, Any]:
        """Return the columns of `fills` as arrays."""
        raw = self.raw_fills
        return {
            "ts_ns": raw["ts_ns"],
            "order_id": raw["order_id"],
            "side": raw["side"],
            "price": self._prices(raw["price_ticks"]),
            "qty": self._quantities(raw["qty_lots"]),
            "fee": raw["fee"],
            "mid": raw["mid"],
            "liquidity": np.where(raw["maker"] == 1, "maker", "taker"),
            "inventory": self._quantities(raw["position_lots"]),
            "purpose": _PURPOSE_NAMES[raw["purpose"]],
            "rested_s": raw["rested_ns"] / 1e9,
            "joined_behind": self._quantities(_known(raw["joined_behind_lots"])),
        }  # fmt: skip

    @cached_property
    def orders(self) -> pd.DataFrame:
        """One row an order, in the order they ended: what it asked for, what it got, when, status, reason, type.

        On ticks also the quantity it joined behind (NaN: not known); the venue's own order of a liquidation has id -1.
        """
        raw = self.raw_orders
        return _frame({
            "order_id": raw["order_id"],
            "side": raw["side"],
            "price": self._prices(raw["price_ticks"]),
            "qty": self._quantities(raw["qty_lots"]),
            "filled_qty": self._quantities(raw["filled_lots"]),
            "submitted_ns": raw["submitted_ns"],
            "live_ns": raw["live_ns"],
            "closed_ns": raw["closed_ns"],
            "status": _STATUS_NAMES[raw["status"]],
            "reason": _REASON_NAMES[raw["reason"]],
            "type": _TYPE_NAMES[raw["order_type"]],
            "purpose": _PURPOSE_NAMES[raw["purpose"]],
            "joined_behind": self._quantities(_known(raw["joined_behind_lots"])),
        })  # fmt: skip

    @cached_property
    def markouts(self) -> pd.DataFrame:
        """One row a side and horizon: side (+1 bought), horizon_s, fills, markout_bps gross and net of fees, its error.

        Ticks only; `standard_error_bps` treats fills as independent, which they are not quite.
        """
        return markout_frame(self.instrument, self.raw_fills, self.raw_markouts)

    @cached_property
    def risk_log(self) -> pd.DataFrame:
        """One row an action of the controls: ts_ns, event, breaker before and after, value found, limit, note."""
        return risk_frame(self.risk_events)

    @cached_property
    def statistics(self) -> dict[str, dict[str, float | None]]:
        """Quantiles of queue and latency: quantity joined behind, time to fill, time to the exchange (ticks only)."""
        return order_statistics(self.instrument, self.raw_orders, self.raw_fills)

    @cached_property
    def equity(self) -> pd.DataFrame:
        """One row at the start and at every decision: ts_ns, equity, cash (settlement currency), inventory, mid."""
        return _frame(self.equity_columns())

    def equity_columns(self) -> dict[str, Any]:
        """Return the columns of `equity` as arrays."""
        raw = self.raw_samples
        return {
            "ts_ns": raw["ts_ns"],
            "equity": raw["equity"],
            "cash": raw["cash"],
            "inventory": self._quantities(raw["position_lots"]),
            "mid": raw["mid"],
        }  # fmt: skip

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
