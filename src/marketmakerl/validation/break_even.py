"""Where a run stops earning: along a ladder of runs, or by bisection. Between two runs, never beyond the last."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CROSSES: Final = "crosses"
EARNS_NOTHING: Final = "earns nothing"  # not even at the lowest cost there was
STILL_EARNS: Final = "still earns"  # at the highest
STOPS_TRADING: Final = "stops trading"  # it earns as long as it trades
DOES_NOT_TRADE: Final = "does not trade"


@dataclass(frozen=True)
class Outcome:
    """What one run of a ladder came to.

    Attributes:
        cost: the fee or the latency it ran at.
        earned: profit over holding the opening inventory.
        fills: how many.
    """

    cost: float
    earned: float
    fills: int


@dataclass(frozen=True)
class BreakEven:
    """Where a model stops earning as something gets dearer.

    Attributes:
        kind: "crosses"; or why there is no such point: "earns nothing", "still earns", "stops trading",
            "does not trade".
        cost: the smallest at which it earns nothing any more, interpolated between two runs; None unless it crosses.
        low, high: the runs on either side; of "still earns" and "stops trading" the last that earns, and the first that
            does not trade (None: there is none). None where nothing earns.
    """

    kind: str
    cost: float | None = None
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def break_even(ladder: Sequence[Outcome]) -> BreakEven:
    """Return the first point of a ladder, in order of cost, at which a model earns nothing any more.

    A run without fills earns nothing at no cost; it is no point to interpolate to.
    """
    runs = sorted(ladder, key=lambda run: run.cost)
    trading = [run for run in runs if run.fills > 0]
    if not trading:
        return BreakEven(DOES_NOT_TRADE)
    if trading[0].earned <= 0.0:
        return BreakEven(EARNS_NOTHING)
    for before, after in itertools.pairwise(trading):
        if after.earned <= 0.0:
            share = before.earned / (before.earned - after.earned)
            return BreakEven(
                CROSSES, before.cost + share * (after.cost - before.cost), before.cost, after.cost
            )  # fmt: skip
    last = trading[-1].cost
    beyond = [run.cost for run in runs if run.cost > last]
    return BreakEven(STOPS_TRADING, None, last, beyond[0]) if beyond else BreakEven(STILL_EARNS, None, last)


def search(run: Callable[[float], Outcome], low: float, high: float, step: float) -> BreakEven:
    """Return the same by bisection: runs at ever closer costs in [low, high], until two lie within `step`.

    Where profit is not monotone it finds one of the points at which it crosses zero.
    """
    first, last = run(low), run(high)
    if first.fills == 0 or first.earned <= 0.0 or (last.fills > 0 and last.earned > 0.0):
        return break_even([first, last])
    for _ in range(max(0, math.ceil(math.log2((high - low) / step)))):
        middle = run((first.cost + last.cost) / 2)
        if middle.fills > 0 and middle.earned > 0.0:
            first = middle
        else:
            last = middle
    return break_even([first, last])
