"""Why an order ended, or why a side was not quoted: one list, counted in every run."""

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
)
