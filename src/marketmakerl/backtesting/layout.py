"""The layout of the tick engine: its state, its arrays and its parameters, all numpy records.

Signed prices: +ticks for bids, -ticks for asks, so that "better" is always larger and one code path serves both sides.
Sides are indexed 0 bid, 1 ask.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from marketmakerl.core.ledger import LEDGER
from marketmakerl.core.memory import viewer
from marketmakerl.models.contract import CONTEXT
from marketmakerl.risk.reasons import Reason
from marketmakerl.risk.state import RISK_STATE_FIELDS

NEVER: Final = 1 << 62  # a time that does not come; a price that nothing reaches
UNKNOWN_AHEAD: Final = float(1 << 60)  # nothing is known about the queue in front
# A level of the book is one word: 16 bits for the own order that is first there (its slot + 1; 0: none), a flag that a
# row has stated its total (0 too) since the last snapshot began, then 46 bits of recorded quantity.
SLOT_BITS: Final = 17  # how far the quantity is shifted
SLOT_MASK: Final = (1 << 16) - 1
NAMED: Final = 1 << 16
LOTS_MASK: Final = (1 << 46) - 1
# In the store of far levels every level is named; there the flags are that a snapshot under way has not named it yet,
# and that nothing is left of it, which is worth knowing beyond the last snapshot.
STALE: Final = 1 << 62
EMPTY: Final = 1 << 61
# What `dirty` of the exchange's book says of the message or request under way, besides what BOOK says of it: own orders
# have filled, and equity is still to be noted.
FILLED: Final = 1 << 6
MAX_OWN: Final = SLOT_MASK - 1
HORIZONS_NS: Final = tuple(round(s * 1e9) for s in (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0))


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


def new_record(dtype: npt.DTypeLike) -> Any:
    """Return one zeroed record whose fields are attributes, in numba and in plain Python alike."""
    return np.zeros(1, dtype).view(np.recarray)[0]


def record_type(dtype: Any) -> Any:
    """Return the numba type of a record."""
    return numba.from_dtype(dtype)


def array_type(dtype: Any) -> Any:
    """Return the numba type of a one-dimensional array of records."""
    return numba.from_dtype(dtype)[::1]


MAX_STEPS: Final = 24  # rows of a tier or bracket table; no venue publishes more


VOLUME_DAYS: Final = 30  # whole UTC days before today that a volume tier looks back on


VENUE_PARAM_FIELDS: list[tuple[str, str] | tuple[str, str, tuple[int, ...]]] = [
    ("stp", "i8"),  # 0, or 1 + the place in SELF_TRADES
    ("check_notional", "i8"),  # the exchange refuses orders below the instrument's minimum
    ("band_up", "f8"),  # inf: none
    ("band_down", "f8"),  # 0: none
    ("n_tiers", "i8"),  # 0: the fees stand still
    ("tier_volume", "f8", (MAX_STEPS,)),
    ("tier_maker", "f8", (MAX_STEPS,)),
    ("tier_taker", "f8", (MAX_STEPS,)),
    ("base_maker", "f8"),  # rates below the first tier
    ("base_taker", "f8"),
    ("volume_start", "f8"),
    ("tier_by_day", "i8"),  # the tier moves at 00:00 UTC, not with every fill
    ("leverage", "f8"),  # 0: no margin, no liquidation
    ("n_brackets", "i8"),
    ("bracket_cap", "f8", (MAX_STEPS,)),
    ("bracket_rate", "f8", (MAX_STEPS,)),
    ("bracket_less", "f8", (MAX_STEPS,)),
    ("liquidation_rate", "f8"),
    ("n_reject_windows", "i8"),
    ("reject_from_ns", "i8", (MAX_STEPS,)),
    ("reject_until_ns", "i8", (MAX_STEPS,)),
    ("funding_at", "i8"),  # address of FUNDING[funding_rows]
    ("funding_rows", "i8"),
]


VENUE_STATE_FIELDS: list[tuple[str, str] | tuple[str, str, tuple[int, ...]]] = [
    ("maker_rate", "f8"),  # the rates in force
    ("taker_rate", "f8"),
    ("fee_day", "i8"),  # UTC day since the epoch that the volumes are of; 0: no day yet
    ("day_volume", "f8", (VOLUME_DAYS + 1,)),  # quote currency, by day modulo their number; today's included
    ("funding_next", "i8"),
    ("liquidated", "i8"),  # the venue has closed the account: nothing is accepted any more
    # What the rest of the account holds, written by whoever runs several instruments on one; settlement currency.
    ("other_equity", "f8"),
    ("other_margin", "f8"),
    ("other_maintenance", "f8"),
    ("other_reserved", "f8"),
]


class Mode(enum.IntEnum):
    """What may be believed of the exchange's book."""

    NORMAL = 0  # depth rows apply at once: the fast path
    OPENING = 1  # no depth row, no snapshot so far
    SNAPSHOT = 2  # inside a snapshot message
    GAP = 3  # the feed lost its place


class Local(enum.IntEnum):
    """What we know of an own order."""

    FREE = 0  # the slot is free
    SENT = 1
    WORKING = 2  # the exchange accepted it
    CANCELLING = 3  # a cancel is on its way
    CLOSED = 4  # we know it has ended; something of it is still in flight


class Action(enum.IntEnum):
    """What a request asks the exchange for."""

    SUBMIT = 1
    CANCEL = 2
    REPLACE = 3


class Answer(enum.IntEnum):
    """What the exchange says."""

    ACCEPTED = 1
    FILL = 2
    LAST_FILL = 3
    ENDED = 4  # cancelled, rejected or expired
    REFUSED = 5  # a cancel or a replace that came too late or may not be
    REDUCED = 6  # some of it was taken off, so that it would not trade with another own order
    CHANGED = 7  # a replace has been carried out


class Stop(enum.IntEnum):
    """Why `advance` returned."""

    DONE = 0
    ROOM = 1  # some array is too small for what comes next: empty the outputs, enlarge, call again
    ASK = 2  # the model is plain Python: write `quote_offset`, set `answered`, call again
    LIMIT = 3  # `limit_ns` is reached: others of the same account go first


OWN = np.dtype(
    [
        ("order_id", "i8"),
        ("side", "i8"),  # +1 bid, -1 ask
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),
        ("filled_lots", "i8"),
        ("submitted_ns", "i8"),
        ("live_ns", "i8"),
        ("closed_ns", "i8"),
        ("status", "i8"),
        ("reason", "i8"),
        ("order_type", "i8"),
        ("joined_behind_lots", "f8"),
        ("ahead_lots", "f8"),  # market quantity in front of it now
        ("traded_lots", "i8"),  # traded at its price since the level's last update
        ("rest_seq", "i8"),  # time priority among own orders
        ("rested_ns", "i8"),  # when it took its place in the queue
        ("next", "i8"),  # slot + 1 of the next own order at its level; 0: none
        ("live_at", "i8"),  # its place in the list of live orders
        ("local", "i8"),  # Local
        ("local_price_ticks", "i8"),
        ("local_qty_lots", "i8"),
        ("local_filled_lots", "i8"),
        # What it may still be filled for as far as we know, while replaces are under way: the larger size counts.
        ("known_lots", "i8"),  # its quantity as the exchange last confirmed it
        ("changes", "i8"),  # replaces without an answer
        ("change_lots", "i8"),  # the largest quantity among them
        ("most_lots", "i8"),  # the larger of the two
        ("in_flight", "i8"),  # requests and answers under way
        ("taker", "i8"),  # sent to take: not part of the quotes
        ("reduce_only", "i8"),  # it may only make the position smaller
        ("purpose", "i8"),  # risk.reasons.Purpose
        ("asked_ns", "i8"),  # when the last request of it was sent
    ],
    align=True,
)
REQUEST = np.dtype(
    [
        ("arrive_ns", "i8"),
        ("slot", "i8"),
        ("action", "i8"),
        ("reason", "i8"),
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),
    ],
    align=True,
)
ANSWER = np.dtype(
    [
        ("arrive_ns", "i8"),
        ("slot", "i8"),
        ("what", "i8"),
        ("lots", "i8"),
        ("price_ticks", "i8"),
        ("fee", "f8"),
        ("status", "i8"),  # of the order, when this was sent
        ("reason", "i8"),
    ],
    align=True,
)
TOP = np.dtype(
    [
        ("local_ns", "i8"),
        ("bid_ticks", "i8"),  # signed; -NEVER: no bid
        ("ask_ticks", "i8"),  # signed
        ("bid_lots", "i8"),
        ("ask_lots", "i8"),
        ("marks", "i8"),  # see view.LOST and its neighbours
    ],
    align=True,
)
SCRIPT = np.dtype(
    [
        ("ts_ns", "i8"),
        ("action", "i8"),
        ("order_id", "i8"),
        ("side", "i8"),
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),
        ("order_type", "i8"),
        ("reduce_only", "i8"),
    ],
    align=True,
)
PENDING = np.dtype([("ts_ns", "i8"), ("number", "i8")], align=True)  # a fill whose markouts are still to come
MARKOUT = np.dtype([("number", "i8"), ("horizon", "i8"), ("mid", "f8")], align=True)
# A row of market data on its way to us, for a model that asks for more than the top of the book.
FEED_ROW = np.dtype(
    [
        ("local_ns", "i8"),  # when its message reaches us
        ("ts_ns", "i8"),
        ("kind", "i8"),  # as in the tape, with MORE
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),
    ],
    align=True,
)
# A book of levels: the exchange's, and what has reached us of it where a model asks for depth.
BOOK = np.dtype(
    [
        ("low_ticks", "i8"),  # the window is [low, low + size)
        ("window_bits", "i8"),
        ("best", "i8", (2,)),  # signed; -NEVER: none
        ("worst", "i8", (2,)),  # signed, of the levels inside the window; NEVER: none
        ("known", "i8", (2,)),  # signed: levels at or better than this are known, and further down those NAMED are
        ("named_low", "i8", (2,)),  # signed: no word of the window below this is NAMED
        ("named_worst", "i8", (2,)),  # the same of the snapshot under way
        ("n_far", "i8", (2,)),
        ("far_cap", "i8"),
        ("mode", "i8"),
        ("depth_seen", "i8"),
        ("dirty", "i8"),  # 1 the top changed within an unfinished message, 2 it shall wake the model; FILLED
        ("recentres", "i8"),
        ("need", "i8"),  # room that the store lacks; the engine is told of it in OUT
    ],
    align=True,
)
BOOK_MEMORY = np.dtype([(name, "i8") for name in ("book", "far_ticks", "far_lots")], align=True)
SEEN_TRADE = np.dtype(
    [
        ("ts_ns", "i8"),
        ("side", "i8"),  # +1 a buyer took, -1 a seller did, 0 the feed does not say
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),
    ],
    align=True,
)

VENUE = np.dtype(VENUE_STATE_FIELDS, align=True)
RISK_STATE = np.dtype(RISK_STATE_FIELDS, align=True)
# Queues: counters never wrap, places are counter & mask.
WIRE = np.dtype(
    [
        ("next_request_ns", "i8"),  # when the first of each queue is due; NEVER: the queue is empty
        ("next_answer_ns", "i8"),
        ("request_first", "i8"),
        ("request_end", "i8"),
        ("request_mask", "i8"),
        ("answer_first", "i8"),
        ("answer_end", "i8"),
        ("answer_mask", "i8"),
        ("top_seen", "i8"),  # what we see of the book
        ("top_end", "i8"),
        ("last_top_ns", "i8"),
        ("top_mask", "i8"),
        ("sent_bid", "i8"),  # the prices of the last entry sent, and whether the feed had lost its place
        ("sent_ask", "i8"),
        ("sent_lost", "i8"),
        ("entry_cursor", "i8"),
        ("response_cursor", "i8"),
        ("last_request_ns", "i8"),
        ("last_answer_ns", "i8"),
        ("sent_row", "i8"),  # rows of the columns handed in before this one are sent
        ("feed_first", "i8"),
        ("feed_whole", "i8"),  # rows before this one belong to messages that are complete
        ("feed_end", "i8"),
        ("feed_mask", "i8"),
    ],
    align=True,
)
SEEN = np.dtype(
    [
        ("bid", "i8"),  # signed; -NEVER: none
        ("ask", "i8"),
        ("bid_lots", "i8"),
        ("ask_lots", "i8"),
        ("unknown", "i8"),
        ("mids", "i8"),  # the last mid in half ticks; 0: there was none
        ("low", "i8"),  # the lowest and highest since we last looked at our limits
        ("high", "i8"),
        ("heard_ns", "i8"),  # when a row last reached us, as far as that has been noted
        ("unheard_ns", "i8"),  # when one under way will; NEVER: none is noted
        ("newest_local_ns", "i8"),  # receipt of the last row of the columns before these
        ("changed", "i8"),  # since the model's context was last written
        ("sized", "i8"),  # likewise, but only in quantities
        ("reason", "i8"),  # 0, or why there is nothing to quote against
        # only where a model asks for depth or trades
        ("trades", "i8"),  # how many have reached us
        ("trades_shown", "i8"),  # of these, when the model was last asked
    ],
    align=True,
)
# What is due when (see `due.py`), and how far it may go on.
DUE = np.dtype(
    [
        ("stop_ns", "i8"),
        ("limit_ns", "i8"),  # rows up to it, and what is due before it; NEVER: nobody shares the account
        ("may_act", "i8"),  # 1: also what is due at it, and what concerns the whole account
        ("meets_ns", "i8"),  # it stands here before something that does; NEVER: it goes on
        ("passing", "i8"),  # decisions that can change nothing are only counted: `wake_ns` is when the model is asked
        ("quiet", "i8"),  # likewise, and nothing under way to us has anything new for it
        ("wake_ns", "i8"),  # the feed or an answer wakes the model
        ("rest_ns", "i8"),  # the earliest of the nine below
        ("script_ns", "i8"),
        ("clock_ns", "i8"),
        ("markout_ns", "i8"),
        ("sample_ns", "i8"),
        ("funding_ns", "i8"),
        ("margin_ns", "i8"),  # the venue looks at the margin
        ("watch_ns", "i8"),  # we watch the market
        ("look_ns", "i8"),  # what we see then may be beyond a limit of ours
        ("retry_ns", "i8"),  # time alone changes what may be quoted
    ],
    align=True,
)
# Mids in half ticks: a row only compares its own with them.
BOUNDS = np.dtype(
    [
        ("liquidate_low", "i8"),  # there and beyond the margin is looked at
        ("liquidate_high", "i8"),
        ("equity_low", "i8"),  # there and beyond equity is at a new high, or in a deeper drawdown
        ("equity_high", "i8"),
        ("look_low", "i8"),  # there and beyond we look at our own limits
        ("look_high", "i8"),
        ("armed", "i8"),  # they have moved
    ],
    align=True,
)
# Own orders: their slots, and where they stand in the book.
OWN_ORDERS = np.dtype(
    [
        ("cap", "i8"),
        ("n_free", "i8"),
        ("n_live", "i8"),
        ("live_side", "i8", (2,)),
        ("best", "i8", (2,)),  # signed; -NEVER: none
        ("meets", "i8", (2,)),  # signed: a quote at or above this meets an own order of the other side
        ("next_order_id", "i8"),
        ("next_seq", "i8"),
        ("n_work", "i8", (2,)),  # those that we take to be open
        ("takers", "i8"),  # taker orders whose end we do not know yet
    ],
    align=True,
)
# What the maker knows of its account, and what it wants.
LOCAL = np.dtype(
    [
        ("lots", "i8"),
        ("cash", "f8"),  # so that local equity is this + position at the local mid
        ("open_value", "f8"),  # at which the position we know of was entered: shared perpetuals
        # the rest of the account, as far as we know: what the other instruments of a portfolio hold, else 0
        ("other_equity", "f8"),
        ("other_cash", "f8"),
        ("other_budget", "f8"),
        ("looked", "i8"),  # it has looked at the account's limits: those of all are to be armed anew
        ("equity_above", "f8"),  # its own equity at which that is to be done again; NaN: there is none
        ("equity_below", "f8"),
        ("decided_ns", "i8"),  # when the model was last asked
        ("decided_lots", "i8"),  # what we held then, and how many orders were open (bars)
        ("decided_work", "i8"),
        ("fill_reported", "i8"),  # since the model's context was last written
        ("settled", "i8"),  # to decide again at this view would leave everything as it is
        ("served", "i8"),  # what is out there is what was wanted last, whatever the venue still has to confirm
        ("wish", "i8", (2,)),  # what was: the price of the first level, or less than 1 why there is none
        ("wish_lots", "i8", (2,)),
        ("quote_offset", "f8", (2,)),
        ("answered", "i8"),
        ("quote_reason", "i8", (2,)),
    ],
    align=True,
)
# What the run met, counted.
COUNTS = np.dtype(
    [
        ("decisions", "i8"),
        ("orders", "i8"),
        ("cancels", "i8"),
        ("replaces", "i8"),
        ("submitted_lots", "i8"),
        ("filled_lots", "i8"),
        ("rejected", "i8"),
        ("too_late", "i8"),
        ("replace_rejected", "i8"),
        ("self_trades", "i8"),
        ("prevented", "i8"),  # self-trades that the venue prevented
        ("script_ignored", "i8"),
        ("trades", "i8"),
        ("gaps", "i8"),
        ("snapshots", "i8"),
        ("crossed", "i8"),
        ("receipt_clamped", "i8"),
        ("bars", "i8"),
        ("starved", "i8"),  # bars that traded through a quote while their volume share came to less than a lot
        ("two_sided_ns", "i8"),  # time through which both sides rested
        ("two_sided_since", "i8"),  # -1: they do not
        ("suppressed", "i8", (len(Reason),)),  # quotes that were not sent, by reason
    ],
    align=True,
)
# Used rows of the output buffers, and what is needed when some array is too small.
OUT = np.dtype([(name, "i8") for name in ("n_fills", "n_orders", "n_samples", "n_markouts", "need")], align=True)
STATE = np.dtype(
    [
        ("ledger", LEDGER),  # the account at the exchange
        ("venue", VENUE),  # what the venue goes by
        ("book", BOOK),  # its book
        ("own", OWN_ORDERS),  # our orders in it
        ("wire", WIRE),  # what is on its way, and what has been
        ("seen", SEEN),  # what the maker sees of the market
        ("local", LOCAL),  # what it knows of its account, and what it wants
        ("risk", RISK_STATE),  # what its limits remember
        ("due", DUE),  # what happens next
        ("bounds", BOUNDS),  # mids at which more than the book changes
        ("counts", COUNTS),
        ("out", OUT),
        # where we are
        ("row", "i8"),  # next row of the columns handed in
        ("now_ns", "i8"),
        ("begun", "i8"),  # the maker has noted what it starts from
        ("first_ns", "i8"),  # start of the session: the first two-sided book
        ("last_ns", "i8"),  # time of the last row
        ("rows", "i8"),
        ("script_next", "i8"),
        # prices and equity at the exchange
        ("one_price", "i8"),  # 1 on bars: a close stands for both best prices
        ("closed_ns", "i8"),  # when the last bar closed
        ("last_mid", "f8"),  # the last mid that a whole message left behind; 0: none did
        ("highest_equity", "f8"),  # after every event; settlement currency
        ("max_drawdown", "f8"),
        # fills whose markouts are still to come, a queue as those of WIRE
        ("pending_end", "i8"),
        ("pending_first", "i8", (len(HORIZONS_NS),)),
        ("pending_mask", "i8"),
    ],
    align=True,
)
PARAMS = np.dtype(
    [
        ("tick_size", "f8"),
        ("ticks_per_price", "f8"),
        ("lot_size", "f8"),
        ("contract_size", "f8"),
        ("inverse", "i8"),
        ("spot", "i8"),
        ("min_notional", "f8"),
        ("order_lots", "i8"),
        ("order_qty", "f8"),
        ("target_lots", "i8"),
        ("session_s", "f8"),
        ("simple", "i8"),  # neither a balance nor a minimum decides what is quoted
        ("plain", "i8"),  # nor do the limits: nothing but the model does
        ("levels", "i8"),
        ("level_step_ticks", "i8"),
        ("grid_ticks", "i8"),
        ("post_only", "i8"),
        ("requote_threshold_ticks", "i8"),
        ("quoting", "i8"),  # 0: a script, no model
        ("python_model", "i8"),
        ("ignores_clock", "i8"),  # 1: while nothing but time passes, the model says what it said
        ("ignores_sizes", "i8"),  # 1: nor does it look at the quantities of the best prices
        ("risk_on", "i8"),  # 0: nothing of it can change a quote
        ("shared", "i8"),  # others trade on the same account
        ("decisions_meet", "i8"),  # and a decision reads more of them than the equity of all: prices, cash
        ("requests_meet", "i8"),  # and what it sends may need cash or margin that all share
        ("interval_ns", "i8"),  # 0: no clock
        ("wake_kinds", "i8"),  # bit per Kind
        ("wake_on_answers", "i8"),
        ("equity_interval_ns", "i8"),  # 0: at every close
        ("bars", "i8"),  # 1: events are bars (rule 8)
        ("bar_volume_share", "f8"),  # of what a bar traded on our side, what our orders can get
        ("taker_slippage", "f8"),  # bars: a taker gives up this share of the close
        ("feed_offset_ns", "i8"),
        ("entry_ns", "i8"),
        ("response_ns", "i8"),
        ("latencies", "i8"),  # rows of the recorded series; 0: constant
        ("script_rows", "i8"),
        ("queue", "i8"),
        ("queue_power", "f8"),  # 0: logarithm
        ("queue_variant", "i8"),
        ("log_orders", "i8"),
        ("depth", "i8"),  # levels a side that the model is shown
        ("trades", "i8"),  # how many of the last trades it is shown
        ("trades_mask", "i8"),
        ("reads_feed", "i8"),  # either of them
        ("keeps_memory", "i8"),  # the model must not be asked twice at one decision
        *VENUE_PARAM_FIELDS,
    ],
    align=True,
)
# Addresses of the arrays (0: the rows handed in have no column `since`), and how many rows those have whose length
# matters.
MEMORY = np.dtype(
    [
        (name, "i8")
        for name in (
            "own", "free", "live", "work", "want", "book", "far_ticks", "far_lots", "requests", "answers", "tops",
            "pending", "script", "latency", "since", "fills", "orders", "samples", "markouts",
            # the record that the model is called with, and where in it depth and trades begin
            "shown", "shown_depth", "shown_counts", "shown_trades",
            # rows on their way to us, and what we keep of them
            "feed", "seen_book", "seen_levels", "seen_far_ticks", "seen_far_lots", "seen_book_at", "seen_trades",
            "fills_cap", "orders_cap", "samples_cap", "markouts_cap",
            # the columns handed in, and how many rows they have
            "ts_ns", "local_ts_ns", "price_ticks", "qty_lots", "kind", "rows",
        )
    ],
    align=True,
)  # fmt: skip

at_int = viewer(np.int64)
at_float = viewer(np.float64)
at_kind = viewer(np.int8)
at_own = viewer(OWN)
at_requests = viewer(REQUEST)
at_answers = viewer(ANSWER)
at_tops = viewer(TOP)
at_script = viewer(SCRIPT)
at_pending = viewer(PENDING)
at_markouts = viewer(MARKOUT)
at_feed = viewer(FEED_ROW)
at_book = viewer(BOOK)
at_book_memory = viewer(BOOK_MEMORY)
at_seen_trades = viewer(SEEN_TRADE)
at_context = viewer(CONTEXT)
