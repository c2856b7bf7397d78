"""Why an order ended, or why a side was not quoted, and which control acted: one list each, counted in every run."""

from __future__ import annotations

import enum


class Reason(enum.IntEnum):
    """Codes that the compiled code writes; the names appear in `suppressed_pct` and in the order log."""

    NONE = 0
    REQUOTE = 1  # the model moved its price or cut its size
    WITHDRAWN = 2  # the model chose not to quote the side
    NO_CASH = 3  # spot: the bid could not be paid for
    NO_INVENTORY = 4  # spot: there is nothing to sell
    MIN_NOTIONAL = 5  # below the venue's smallest order value
    PRICE = 6  # the quote is not a positive price
    GAP = 7  # nothing is known about the time ahead
    END = 8  # the data ended
    EDGE = 9  # the fee and the minimum edge take more than the quote could earn
    INVENTORY_LIMIT = 10  # the side would add to an inventory at its limit
    ADVERSE_MOVE = 11  # the market is running over this side
    COOLDOWN = 12  # this side was just run over
    HALTED = 13  # a breaker ended the session
    POST_ONLY = 14  # it would have taken liquidity
    NO_LIQUIDITY = 15  # nothing (more) was displayed within its limit
    IN_FLIGHT = 16  # the data ended before it reached the exchange
    NO_BOOK = 17  # no bid, no ask, or a bid at or above the ask
    STP = 18  # it would have traded with another own order
    PRICE_BAND = 19  # too far from the market for the venue
    MARGIN = 20  # equity does not carry it
    LIQUIDATED = 21  # the venue closed the account
    VENUE_DOWN = 22  # the venue took no new orders and no changes
    STALE = 23  # nothing has been heard from the market
    WIDE_SPREAD = 24  # the market's spread is too wide to know where the mid is
    FLAT_WINDOW = 25  # the schedule says flat
    EXIT = 26  # the inventory is being taken off: stop, target or time
    REJECTS = 27  # the venue rejects what is sent: a while of silence
    RATE = 28  # too many orders or messages in the window
    DUPLICATE = 29  # the same order is out there already
    COLLAR = 30  # too far from the mid for us
    ORDER_SIZE = 31  # too large an order
    REDUCE_ONLY = 32  # it would not have made the position smaller


SUPPRESSING = (
    Reason.WITHDRAWN,
    Reason.NO_CASH,
    Reason.NO_INVENTORY,
    Reason.MIN_NOTIONAL,
    Reason.PRICE,
    Reason.EDGE,
    Reason.INVENTORY_LIMIT,
    Reason.ADVERSE_MOVE,
    Reason.COOLDOWN,
    Reason.HALTED,
    Reason.GAP,
    Reason.NO_BOOK,
    Reason.MARGIN,
    Reason.STP,
    Reason.STALE,
    Reason.WIDE_SPREAD,
    Reason.FLAT_WINDOW,
    Reason.EXIT,
    Reason.REJECTS,
    Reason.RATE,
    Reason.DUPLICATE,
    Reason.COLLAR,
    Reason.ORDER_SIZE,
)


class Control(enum.IntEnum):
    """What changed the state of the breakers, or took the inventory off; the names appear in the risk log."""

    NONE = 0
    SOFT_DRAWDOWN = 1
    HARD_DRAWDOWN = 2
    DAILY_LOSS = 3
    CONCENTRATION = 4
    ZOMBIE_ORDER = 5
    REPEATED_REJECTS = 6
    REPEATED_EXECUTIONS = 7
    KILL = 8  # by hand
    RESET = 9  # by hand
    STOP_LOSS = 10
    TAKE_PROFIT = 11
    TIME_EXIT = 12
    FLAT_WINDOW = 13
    LIQUIDATED = 14  # by the venue


class Purpose(enum.IntEnum):
    """What an order was for; the names appear in the fills and in the order log."""

    QUOTE = 0
    EXIT = 1  # an overlay takes the inventory off
    LIQUIDATION = 2  # a breaker does
    VENUE = 3  # the venue does
