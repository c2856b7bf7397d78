"""The layout of the engine's state and of what it writes: numpy records, so that a snapshot is a copy of bytes."""

from __future__ import annotations

import enum
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from marketmakerl.backtesting.venue import VENUE_PARAM_FIELDS, VENUE_STATE_FIELDS
from marketmakerl.core.ledger import LEDGER_FIELDS
from marketmakerl.risk.reasons import Reason
from marketmakerl.risk.state import RISK_STATE_FIELDS


class Side(enum.IntEnum):
    """Index of a side in arrays; its sign is +1 for a bid, -1 for an ask."""

    BID = 0
    ASK = 1


class Status(enum.IntEnum):
    """Life of an order at the exchange. Terminal states are those from FILLED on; see `orders.ALLOWED`."""

    NEW = 0  # sent, not there yet
    LIVE = 1
    PARTIALLY_FILLED = 2
    FILLED = 3
    CANCELLED = 4
    REJECTED = 5
    EXPIRED = 6


class OrderType(enum.IntEnum):
    """What an order asks for."""

    LIMIT = 0
    POST_ONLY = 1  # rejected where it would take
    IOC = 2  # takes up to its limit, the rest expires
    MARKET = 3  # takes whatever is displayed, the rest expires


ORDER = np.dtype(
    [
        ("order_id", "i8"),  # 0: no order
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),  # as submitted
        ("filled_lots", "i8"),
        ("submitted_ns", "i8"),
        ("live_ns", "i8"),  # when it came to rest at the exchange; 0: never
        ("closed_ns", "i8"),
        ("joined_behind_lots", "f8"),  # market quantity in front of it when it came to rest
        # Narrow, because a run may log millions of orders.
        ("side", "i1"),  # +1 bid, -1 ask
        ("status", "i1"),
        ("reason", "i2"),
        ("order_type", "i2"),
        ("purpose", "i2"),  # risk.reasons.Purpose
    ],
    align=True,
)
FILL = np.dtype(
    [
        ("ts_ns", "i8"),
        ("order_id", "i8"),
        ("side", "i8"),
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),
        ("fee", "f8"),  # settlement currency; negative is a rebate
        ("mid", "f8"),  # the mid just before the event that filled
        ("maker", "i8"),
        ("position_lots", "i8"),  # after the fill
        ("rested_ns", "i8"),  # how long the order had rested
        ("joined_behind_lots", "f8"),  # market quantity in front of it when it came to rest
        ("purpose", "i8"),  # risk.reasons.Purpose
    ],
    align=True,
)
SAMPLE = np.dtype(
    [("ts_ns", "i8"), ("equity", "f8"), ("cash", "f8"), ("position_lots", "i8"), ("mid", "f8")], align=True
)
STATE = np.dtype(
    [
        *LEDGER_FIELDS,
        *RISK_STATE_FIELDS,
        *VENUE_STATE_FIELDS,
        ("row", "i8"),  # next tape row
        ("first_ns", "i8"),  # time of the first event
        ("next_order_id", "i8"),
        ("decisions", "i8"),
        ("bars", "i8"),
        ("two_sided", "i8"),  # bars through which both sides rested
        ("gaps", "i8"),
        ("starved", "i8"),  # times a bar traded through a quote but its volume share came to less than a lot
        ("last_ns", "i8"),  # time of the last event
        ("orders", "i8"),
        ("submitted_lots", "i8"),
        ("filled_lots", "i8"),
        ("quote_reason", "i8", (2,)),  # why a side was not quoted at the last decision; 0 if it was
        ("suppressed", "i8", (len(Reason),)),  # side-decisions without a quote, by reason
        ("n_fills", "i8"),  # used rows of the output buffers
        ("n_orders", "i8"),
        ("n_samples", "i8"),
    ],
    align=True,
)
PARAMS = np.dtype(
    [
        ("tick_size", "f8"),
        ("lot_size", "f8"),
        ("contract_size", "f8"),
        ("inverse", "i8"),
        ("spot", "i8"),
        ("min_notional", "f8"),
        ("order_lots", "i8"),
        ("target_lots", "i8"),
        ("session_s", "f8"),  # length of the model's session; inf for none
        ("bar_volume_share", "f8"),  # of what a bar traded on our side, what our order can get
        *VENUE_PARAM_FIELDS,
    ],
    align=True,
)


def new_record(dtype: npt.DTypeLike) -> Any:
    """Return one zeroed record whose fields are attributes, in numba and in plain Python alike."""
    return np.zeros(1, dtype).view(np.recarray)[0]


def record_type(dtype: Any) -> Any:
    """Return the numba type of a record."""
    return numba.from_dtype(dtype)


def array_type(dtype: Any) -> Any:
    """Return the numba type of a one-dimensional array of records."""
    return numba.from_dtype(dtype)[::1]
