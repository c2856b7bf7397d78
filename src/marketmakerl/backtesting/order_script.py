"""A fixed list of orders with their times: what one would have sent, whatever the market did."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.layout import SCRIPT, Action, OrderType
from marketmakerl.core.errors import ConfigError

_TYPES = {"limit": OrderType.LIMIT, "post_only": OrderType.POST_ONLY, "ioc": OrderType.IOC, "market": OrderType.MARKET}


class OrderScript:
    """Orders, cancels and changes at given local times, in the place of a model.

    Example:
        script = OrderScript()
        order_id = script.submit(ts_ns, side=1, price_ticks=600_000, qty_lots=5)
        script.cancel(ts_ns + 10**9, order_id)
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, ...]] = []
        self._orders = 0

    def submit(
        self,
        ts_ns: int,
        *,
        side: int,
        price_ticks: int,
        qty_lots: int,
        order_type: str = "post_only",
        reduce_only: bool = False,
    ) -> int:
        """Send an order at `ts_ns` (local time, never before the entry above it) and return its id: 1, 2, 3 ...

        Args:
            ts_ns: nanoseconds UTC.
            side: +1 buy, -1 sell.
            price_ticks: limit price (market: ignored).
            qty_lots: quantity.
            order_type: "limit", "post_only", "ioc" or "market".
            reduce_only: the exchange cuts it to what takes the position towards zero, and rejects it where there is
                nothing to take off; no minimum applies to it. Orders that take, on perpetuals.

        Raises:
            ConfigError: an unknown type or side, a time before the entry above, an order that rests and reduces only.
        """
        if order_type not in _TYPES:
            raise ConfigError(f"no order type {order_type!r}; there are {', '.join(_TYPES)}")
        if side not in (1, -1):
            raise ConfigError(f"side must be 1 (buy) or -1 (sell), got {side!r}")
        if reduce_only and order_type not in ("ioc", "market"):
            raise ConfigError(f'reduce_only is for orders that take ("ioc", "market"), not for {order_type!r}')
        self._orders += 1
        kind = int(_TYPES[order_type])
        self._add(ts_ns, Action.SUBMIT, self._orders, side, price_ticks, qty_lots, kind, int(reduce_only))
        return self._orders

    def cancel(self, ts_ns: int, order_id: int) -> None:
        """Cancel an order of this script at `ts_ns`; ignored once we know that the order has ended."""
        self._add(ts_ns, Action.CANCEL, self._known(order_id), 0, 0, 0, 0, 0)

    def replace(self, ts_ns: int, order_id: int, *, price_ticks: int, qty_lots: int) -> None:
        """Change price and total quantity of an order; only less quantity at the same price keeps its place."""
        self._add(ts_ns, Action.REPLACE, self._known(order_id), 0, price_ticks, qty_lots, 0, 0)

    def rows(self) -> Any:
        """Return SCRIPT[n]."""
        return np.array(self._rows, SCRIPT) if self._rows else np.zeros(0, SCRIPT)

    def _known(self, order_id: int) -> int:
        if not 1 <= order_id <= self._orders:
            raise ConfigError(f"the script has no order {order_id!r} yet")
        return order_id

    def _add(self, ts_ns: int, action: Action, *rest: int) -> None:
        if self._rows and ts_ns < self._rows[-1][0]:
            raise ConfigError(f"a script goes forward in time: {ts_ns} follows {self._rows[-1][0]}")
        self._rows.append((ts_ns, int(action), *rest))
