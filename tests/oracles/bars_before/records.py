"""The layout of the engine's state and of what it writes: numpy records, so that a snapshot is a copy of bytes."""

from __future__ import annotations

import numpy as np

from marketmakerl.backtesting.layout import RISK_STATE, VENUE, VENUE_PARAM_FIELDS
from marketmakerl.core.ledger import LEDGER
from marketmakerl.risk.reasons import Reason

STATE = np.dtype(
    [
        ("ledger", LEDGER),
        ("risk", RISK_STATE),
        ("venue", VENUE),
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
