"""More messages in a stretch of a tick tape, none of which says anything new."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.data.tape import COLUMNS, MORE, EventTape, Kind
from marketmakerl.data.tick_checks import MAX_PRICE_TICKS

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

_SECOND: Final = int(NS_PER_S)


def peak_messages(tape: EventTape) -> int:
    """Return the messages of the busiest second, seconds counted from the tape's first row."""
    ends = (np.asarray(tape.kind) & MORE) == 0
    seconds = (np.asarray(tape.ts_ns)[ends] - int(tape.ts_ns[0])) // _SECOND
    return int(np.unique(seconds, return_counts=True)[1].max()) if len(seconds) else 0


def flooded(tape: EventTape, start_ns: int, stretch_s: int, factor: float) -> dict[str, Any]:
    """Return the columns of a tick tape with enough messages added in each second of a stretch.

    Args:
        tape: of ticks, as `check_ticks` wants it.
        start_ns: when the stretch begins.
        stretch_s: how many seconds it has; those behind the last row are left out.
        factor: at least so many times the messages of the tape's busiest second.
    """
    ts_ns, kind = np.asarray(tape.ts_ns), np.asarray(tape.kind)
    target = math.ceil(factor * peak_messages(tape))
    ends = ts_ns[(kind & MORE) == 0]
    edges = start_ns + _SECOND * np.arange(stretch_s + 1, dtype=np.int64)
    there = np.diff(np.searchsorted(ends, edges, side="left"))
    pairs = np.maximum(0, -(-(target - there) // 2))
    # Two messages of a pair stand a quarter before and a quarter behind the middle of the pair's share of the second.
    second = np.repeat(np.arange(stretch_s), pairs)
    place = np.arange(len(second)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    share = (place[:, np.newaxis] + np.array([0.25, 0.75])) / pairs[second][:, np.newaxis]
    when = (edges[second][:, np.newaxis] + np.floor(share * _SECOND).astype(np.int64)).ravel()
    first = np.arange(len(when)) % 2 == 0
    keep = when <= int(ts_ns[-1])
    return _inserted(tape, when[keep], first[keep])


def _inserted(tape: EventTape, when: Ints, first: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the columns with a message at each time: a lot more (`first`), or that lot gone again."""
    bare = np.asarray(tape.kind) & ~MORE
    depth = np.isin(bare, (Kind.DEPTH_BID, Kind.DEPTH_ASK))
    prices = np.asarray(tape.price_ticks)
    added: dict[str, Any] = {"ts_ns": when}
    if depth.any():
        lowest, highest = int(prices[depth].min()), int(prices[depth].max())
        below = lowest > 1
        edge = lowest - 1 if below else min(highest + 1, MAX_PRICE_TICKS - 1)
        added |= {
            "price_ticks": np.full(len(when), edge, np.int64),
            "qty_lots": first.astype(np.int64),
            "kind": np.full(len(when), Kind.DEPTH_BID if below else Kind.DEPTH_ASK, np.int8),
        }
        usable = when >= int(np.asarray(tape.ts_ns)[depth][0])  # what is known of the book is not for these to say
    else:
        said = np.flatnonzero(np.isin(bare, (Kind.BBO_BID, Kind.GAP)))
        row = said[np.maximum(0, np.searchsorted(np.asarray(tape.ts_ns)[said], when, side="right") - 1)]
        # Before the first bid there is none to repeat, and in a gap nobody knows it.
        usable = (np.asarray(tape.ts_ns)[row] <= when) & (bare[row] == Kind.BBO_BID)
        added |= {
            "price_ticks": prices[row],
            "qty_lots": np.asarray(tape.qty_lots)[row] + first,
            "kind": np.full(len(when), Kind.BBO_BID, np.int8),
        }
    added = {name: column[usable] for name, column in added.items()}
    place = np.searchsorted(tape.ts_ns, added["ts_ns"], side="right")
    local = np.asarray(tape.local_ts_ns)
    before = local[place - 1]
    delay = before - np.asarray(tape.ts_ns)[place - 1]
    after = local[np.minimum(place, len(tape) - 1)]
    arrives = np.minimum(np.maximum(added["ts_ns"] + delay, before), np.maximum(after, before))
    added["local_ts_ns"] = np.where(place == len(tape), np.maximum(added["ts_ns"] + delay, before), arrives)
    columns = {name: np.insert(np.asarray(getattr(tape, name)), place, added[name]) for name in COLUMNS}
    if tape.since_ns is not None:
        columns["since_ns"] = np.insert(np.asarray(tape.since_ns), place, -1)
    return columns
