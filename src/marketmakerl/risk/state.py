"""What the controls remember: fields that any record of theirs begins with, after those of the ledger."""

from __future__ import annotations

from typing import Any, Final

from marketmakerl.core.jit import njit
from marketmakerl.risk.limits import RATE_BUCKETS

ACTIVE, REDUCING, HALTED = 0, 1, 2
MAX_EVENTS: Final = 64  # of the risk log that the record holds; later ones are only counted
_FOR_BREAKERS: Final = 16  # of these: however many exits there were, what a breaker did is there

RISK_STATE_FIELDS: list[tuple[str, str] | tuple[str, str, tuple[int, ...]]] = [
    ("want_offset", "f8", (2,)),  # what is to be quoted, price units from the mid
    ("want_lots", "i8", (2,)),
    ("want_reason", "i8", (2,)),  # 0, or why the side is not quoted
    # where the breakers stand
    ("breaker", "i8"),  # ACTIVE, REDUCING, HALTED
    ("breaker_events", "i8"),
    ("halted", "i8"),  # the halt has been acted on
    ("liquidations", "i8"),
    ("exits", "i8"),
    ("exiting", "i8"),  # 0, or the Control that takes the inventory off
    ("peak_equity", "f8"),
    ("day", "i8"),  # UTC day since the epoch; 0: none yet
    ("day_equity", "f8"),  # at its first moment
    # the market, as it was when it was last watched
    ("risk_mid", "f8"),  # 0 before the first time
    ("risk_ns", "i8"),
    ("var_fast", "f8"),  # variance of the mid per second, exponentially weighted
    ("var_slow", "f8"),
    ("var_weight_fast", "f8"),  # weight gathered so far: corrects the start
    ("var_weight_slow", "f8"),
    ("move", "f8"),  # leaky sum of the mid's changes
    ("usual_move", "f8"),  # its standard deviation; 0 while unknown
    ("widen", "f8"),  # factor on distances
    ("shrink", "f8"),  # factor on sizes and inventory limits
    ("pause", "i8"),  # 0, or the Reason why nothing is quoted
    ("adverse_cost", "f8"),  # expected move of the mid against a fill, price units
    ("adverse_sum", "f8"),
    ("adverse_fills", "f8"),
    # own fills, by side
    ("filled_lots_seen", "f8", (2,)),  # since the market was last watched
    ("filled_value", "f8", (2,)),  # lots x price
    ("filled_from", "f8", (2,)),  # lots x mid at the decision before
    ("filled_number", "f8", (2,)),
    ("older_lots", "f8", (2,)),  # between the last two times
    ("older_from", "f8", (2,)),
    ("older_number", "f8", (2,)),
    ("decision_mid", "f8"),
    ("run_side", "i8"),  # +1, -1: side of the fills in a row
    ("run_fills", "i8"),
    ("cooldown_until_ns", "i8", (2,)),
    # the inventory beyond the target, as far as we know
    ("held_lots", "i8"),
    ("held_value", "f8"),  # at which it was entered, average cost, settlement currency
    ("held_since_ns", "i8"),
    # rates: the last buckets by number, modulo their number, and their sums
    ("rate_bucket_ns", "i8"),  # 0: nothing is counted
    ("rate_bucket", "i8"),
    ("rate_place", "i8"),  # where the present bucket lies
    ("rate_until_ns", "i8"),  # and when it ends
    ("message_counts", "i8", (RATE_BUCKETS + 1,)),
    ("order_counts", "i8", (RATE_BUCKETS + 1,)),
    ("execution_counts", "i8", (RATE_BUCKETS + 1,)),
    ("messages_in_window", "i8"),
    ("orders_in_window", "i8"),
    ("executions_in_window", "i8"),
    ("rejects_in_row", "i8"),
    ("rejected_until_ns", "i8"),
    # the risk log
    ("n_events", "i8"),  # that happened
    ("n_logged", "i8"),  # that are written down here
    ("event_ns", "i8", (MAX_EVENTS,)),
    ("event_control", "i8", (MAX_EVENTS,)),
    ("event_before", "i8", (MAX_EVENTS,)),
    ("event_after", "i8", (MAX_EVENTS,)),
    ("event_value", "f8", (MAX_EVENTS,)),
    ("event_limit", "f8", (MAX_EVENTS,)),
]


def open_risk(state: Any, risk: Any) -> None:
    """Prepare a zeroed record with `RISK_STATE_FIELDS`."""
    state.widen = state.shrink = 1.0
    state.rate_bucket_ns = risk.rate_bucket_ns


@njit()
def log_event(state: Any, ts_ns: int, control: int, before: int, after: int, value: float, limit: float) -> None:
    """Write a line of the risk log: what acted, what it found, and what it may not exceed."""
    if state.n_logged < (MAX_EVENTS if before != after else MAX_EVENTS - _FOR_BREAKERS):
        i = state.n_logged
        state.n_logged += 1
        state.event_ns[i] = ts_ns
        state.event_control[i] = control
        state.event_before[i] = before
        state.event_after[i] = after
        state.event_value[i] = value
        state.event_limit[i] = limit
    state.n_events += 1
