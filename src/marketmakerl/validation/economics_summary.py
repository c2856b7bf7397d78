"""What a study of economics comes to: a line a fee level, where latency ends the earning, and sentences to quote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.validation.break_even import Outcome, break_even
from marketmakerl.validation.economics_cells import EARNS, IDLE, LOSES, UNCLEAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Line = dict[str, Any]

EARNS_IN_SOME: Final = "earns in some cells"
FAILED: Final = "error"


def summarise(lines: Sequence[Line], levels: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Return one line a fee level.

    Args:
        lines: of all cells; those without the edge filter do not count.
        levels: the fees, by number.

    Returns:
        fee and the level's own fields; cells, trading, earns, loses, unclear, errors: how many; verdict; break_even_:
        low, median and high over its trading cells of the maker fee at which their very fills would have earned
        nothing; earned_low and earned_high: the worst and the best of its cells; why_idle: the commonest reason of
        those that do not trade; sentence.
    """
    return [_of_level(number, dict(level), lines) for number, level in enumerate(levels)]


def _of_level(number: int, level: Line, lines: Sequence[Line]) -> Line:
    mine = [line for line in lines if line["fee"] == number and line["edge_filter"]]
    done = [line for line in mine if line["metrics"]]
    counts = {name: sum(line["verdict"] == verdict for line in done)
              for name, verdict in (("earns", EARNS), ("loses", LOSES), ("unclear", UNCLEAR))}  # fmt: skip
    trading = sum(counts.values())
    reasons = [line["metrics"]["no_fills_because"] for line in done if line["verdict"] == IDLE]
    summary = level | counts | {
        "fee": number,
        "cells": len(mine),
        "trading": trading,
        "errors": len(mine) - len(done),
        "verdict": _verdict(counts, trading, len(done)),
        "why_idle": max(sorted(set(reasons)), key=reasons.count) if reasons else "",
        "earned_low": min((line["earned"] for line in done), default=None),
        "earned_high": max((line["earned"] for line in done), default=None),
    }  # fmt: skip
    summary |= _range(done)
    return summary | {"sentence": sentence(summary)}


def unfiltered(lines: Sequence[Line], levels: Sequence[Mapping[str, Any]]) -> Line | None:
    """Return what the runs without the edge filter come to, as in `summarise`; None if there are none.

    They quote whatever the fee, so that the fee at which they break even is known even where no level trades.
    """
    free = [line for line in lines if not line["edge_filter"]]
    done = [line for line in free if line["metrics"]]
    if not free:
        return None
    level = levels[free[0]["fee"]]
    found: Line = {
        "fee": free[0]["fee"],
        "cells": len(free),
        "trading": sum(line["metrics"]["fills"] > 0 for line in done),
        "earns": sum(line["verdict"] == EARNS for line in done),
        "loses": sum(line["verdict"] == LOSES for line in done),
        "unclear": sum(line["verdict"] == UNCLEAR for line in done),
        **_range(done),
    }
    words = (
        f"Made to quote without the edge filter at {level['name']}, the model earns in {found['earns']} of "
        f"{found['cells']} cells and loses in {found['loses']}{_unsure(found)}; "
    )
    if found["trading"] == 0:
        words = "Without the edge filter the model does not trade either, "
    return found | {"sentence": f"{words}{_break_even(found)}."}


def _verdict(counts: Mapping[str, int], trading: int, done: int) -> str:
    if done == 0:
        return FAILED
    if trading == 0:
        return IDLE
    if counts["earns"]:
        return EARNS if counts["earns"] == done else EARNS_IN_SOME
    return LOSES if counts["loses"] else UNCLEAR


def _range(lines: Iterable[Line]) -> Line:
    fees = [line["attribution"]["break_even_maker_bps"] for line in lines]
    known = [fee for fee in fees if fee is not None]
    ends = np.percentile(known, (0, 50, 100)).tolist() if known else [None] * 3
    return {f"break_even_{end}_bps": value for end, value in zip(("low", "median", "high"), ends, strict=True)}


def sentence(level: Mapping[str, Any]) -> str:
    """Return in words what a fee level earns."""
    venue = f"{level['exchange']} " if level["is_published"] and not level["name"].startswith(level["exchange"]) else ""
    kind = "" if level["is_published"] else " (asked for)" if level["name"] == "given" else " (hypothetical)"
    at = f"At {venue}{level['name']}{kind}, {level['maker_bps']:g} bps maker and {level['taker_bps']:g} bps taker,"
    cells = level["cells"]
    if level["verdict"] == FAILED:
        return f"{at} no run completed."
    if level["trading"] == 0:
        return f"{at} the model does not trade in any of {cells} cells, and earns nothing ({level['why_idle']})."
    trades = "" if level["trading"] == cells else f", trades in {level['trading']}"
    return (
        f"{at} the model earns in {level['earns']} of {cells} cells{trades} and loses in {level['loses']}"
        f"{_unsure(level)}; {_break_even(level)}."
    )


def _unsure(found: Mapping[str, Any]) -> str:
    """Return how many cells are neither; a profit that chance explains is no profit."""
    return f", {found['unclear']} cannot be told from zero" if found["unclear"] else ""


def _break_even(found: Mapping[str, Any]) -> str:
    low, median, high = (found[f"break_even_{end}_bps"] for end in ("low", "median", "high"))
    if median is None:
        return "no resting order of its own was filled"
    spread = "" if f"{low:z.2f}" == f"{high:z.2f}" else f" ({low:z.2f} to {high:z.2f} over the cells)"
    return f"its fills would break even at a maker fee of {median:z.2f} bps{spread}"


def latency_break_evens(lines: Sequence[Line], levels: int, queues: Sequence[str]) -> list[Line]:
    """Return for every fee level and queue the latency at which the model stops earning: see `break_even`."""
    found = []
    for fee in range(levels):
        for queue in queues:
            ladder = [
                Outcome(line["latency_ms"], line["earned"], line["metrics"]["fills"])
                for line in lines
                if line["metrics"] and line["edge_filter"] and (line["fee"], line["queue"]) == (fee, queue)
            ]
            found.append({"fee": fee, "queue": queue, **break_even(ladder).as_dict()})
    return found


def shown_cell(lines: Sequence[Line], base: Mapping[str, Any]) -> Line | None:
    """Return the cell whose profit is taken apart in the report: the base one, or the next best that trades."""
    trading = [line for line in lines if line["metrics"] and line["metrics"]["fills"] > 0]
    place = ("queue", "latency_ms", "bar_volume_share")
    here = [line for line in trading if all(line[name] == base[name] for name in place)]
    filtered = [line for line in here if line["edge_filter"]]
    first = [line for line in filtered if line["fee"] == base["fee"]]
    # Where the base level does not trade: without its edge filter, then the dearest level that trades.
    for choice in (first, [line for line in here if not line["edge_filter"]], filtered, trading):
        if choice:
            return choice[0]
    return None
