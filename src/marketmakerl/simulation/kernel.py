"""The fused kernel of the model world: whole paths, one after another, with all they need in registers.

What a world does not have is None, and None compiles to nothing: each combination of parts is a kernel of its own,
compiled when it is first asked for and kept on disk. A path's random numbers depend on the key, the path and the step
alone, so any thread may run any path; draw 0 of a step's four decides the fills, 1 to 3 are the mid's (`mids.move`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import overload

from marketmakerl.core.counter_rng import draw, high_32, low_32, uint64
from marketmakerl.core.jit import by_kind, njit
from marketmakerl.simulation.arrivals import arrival_chance, next_rate
from marketmakerl.simulation.guarded import close_path, look, open_path, silent, take_note, within_limits
from marketmakerl.simulation.mids import move
from marketmakerl.simulation.quotes import Asked, Tabulated, ask_model, at_cell, forget, write_levels

DRAWS_A_STEP = uint64(4)
_UNIT_32 = 2.0**-32


class Outcome(NamedTuple):
    """What comes of each path, [path]."""

    profit: npt.NDArray[np.float64]
    inventory: npt.NDArray[np.int64]  # order sizes
    fills: npt.NDArray[np.int64]
    spread: npt.NDArray[np.float64]  # sum over the steps that quote both sides
    tally: npt.NDArray[np.int64]  # see quotes.CELL


class Trace(NamedTuple):
    """Every step of each path: mid and inventory [path, steps + 1], the rest [path, steps].

    The inventory is that of which the quotes are made: what is taken off at a step is off already.
    """

    mid: npt.NDArray[np.float64]
    inventory: npt.NDArray[np.int64]
    bid: npt.NDArray[np.float64]  # distances; NaN: not quoted
    ask: npt.NDArray[np.float64]
    bought: npt.NDArray[np.int64]  # order sizes
    sold: npt.NDArray[np.int64]


class Delay(NamedTuple):
    """The prices of quotes on their way, one slot a step that they take."""

    bid: npt.NDArray[np.float64]
    ask: npt.NDArray[np.float64]


def look_up(quotes: Any, scratch: int, step: int, phase: int, q: int, s: float) -> bool:
    """Find what the model quotes at this step; return whether it is in the table, else it is in `scratch`.

    Whether it is asked or looked up is decided when this compiles.
    """
    return _LOOK[type(quotes)](quotes, scratch, step, phase, q, s)


def _look_in_table(quotes: Any, scratch: int, step: int, phase: int, q: int, s: float) -> bool:
    if -quotes.reach <= q <= quotes.reach:
        return True
    bid, ask = ask_model(quotes.asked, step, phase, q, s)
    write_levels(scratch, 0, quotes.asked, q, bid, ask)
    return False


def _look_and_ask(quotes: Any, scratch: int, step: int, phase: int, q: int, s: float) -> bool:
    bid, ask = ask_model(quotes, step, phase, q, s)
    write_levels(scratch, 0, quotes, q, bid, ask)
    return False


def cell(quotes: Any, scratch: int, found: bool, phase: int, q: int, level: int) -> Any:
    """Return the cell of a level that `look_up` found."""
    return _CELL[type(quotes)](quotes, scratch, found, phase, q, level)


def _cell_of_table(quotes: Any, scratch: int, found: bool, phase: int, q: int, level: int) -> Any:
    if found:
        # Unsigned, or numba would check for an index counted from the end.
        row = phase * (2 * quotes.reach + 1) + q + quotes.reach
        return at_cell(quotes.cells)[np.uint64(row * quotes.levels + level)]
    return at_cell(scratch)[np.uint64(level)]


def _cell_of_answer(quotes: Any, scratch: int, found: bool, phase: int, q: int, level: int) -> Any:
    return at_cell(scratch)[np.uint64(level)]


def begin_path(quotes: Any) -> None:
    """Begin a path: the model remembers nothing of the one before."""
    _BEGIN[type(quotes)](quotes)


def _begin_with_table(quotes: Any) -> None:
    """Do nothing: quotes that are a table come from a model without a memory."""


def _begin_asking(quotes: Any) -> None:
    forget(quotes)


_BEGIN: Final = {Tabulated: _begin_with_table, Asked: _begin_asking}
_LOOK: Final = {Tabulated: _look_in_table, Asked: _look_and_ask}
_CELL: Final = {Tabulated: _cell_of_table, Asked: _cell_of_answer}


@overload(begin_path, inline="always")
def _begin_path(quotes: Any) -> Any:
    return by_kind(_BEGIN, quotes)


@overload(look_up, inline="always")
def _look_up(quotes: Any, scratch: int, step: int, phase: int, q: int, s: float) -> Any:
    return by_kind(_LOOK, quotes)


@overload(cell, inline="always")
def _cell(quotes: Any, scratch: int, found: bool, phase: int, q: int, level: int) -> Any:
    return by_kind(_CELL, quotes)


@njit()
def _wait(asked: Any, scratch: int, delay: Any, step: int, q: int, s: float, bid: float, ask: float) -> None:
    """Send the quotes of now on their way, and take those that arrive, at their distance from the mid of now."""
    slot = step % len(delay.bid)
    bid_price, ask_price = delay.bid[slot], delay.ask[slot]
    delay.bid[slot] = s - bid
    delay.ask[slot] = s + ask
    write_levels(scratch, 0, asked, q, s - bid_price, ask_price - s)


@njit()
def _quote_within_limits(
    asked: Any, scratch: int, delay: Any, guard: Any, step: int, phase: int, q: int, s: float, open_for_quotes: bool
) -> None:
    """Ask the model, if anything may be quoted, and quote what the limits leave of its answer."""
    bid, ask = np.nan, np.nan
    waiting_bids, waiting_asks = 0, 0
    if delay is not None:
        # What arrives now is replaced by what is sent now, but it may fill before.
        waiting_bids, waiting_asks = np.isfinite(delay.bid).sum(), np.isfinite(delay.ask).sum()
    if open_for_quotes:
        bid, ask = ask_model(asked, step, phase, q, s)
        bid, ask = within_limits(guard, step, q, s, bid, ask, waiting_bids, waiting_asks)
    else:
        silent(guard, step)
    if delay is None:
        write_levels(scratch, 0, asked, q, bid, ask)
    else:
        _wait(asked, scratch, delay, step, q, s, bid, ask)


@njit(nogil=True)
def run_paths(
    first: int, count: int, steps: int, key: Any, s0: float, start: float, size: float, fee: float,
    quotes: Any, scratch: int, mid: Any, adverse: Any, bursts: Any, delay: Any, ladder: Any, guard: Any,
    outcome: Any, trace: Any,
) -> None:  # fmt: skip
    """Run paths `first` to `first + count` and write what comes of each, at `first` and on.

    Args:
        first: number of the first path.
        count: how many paths.
        steps: length of a path.
        key: of the random stream, uint64.
        s0: the mid at the start.
        start: hidden state of its process at the start.
        size: units of an order.
        fee: per unit, price units.
        quotes: `Tabulated` or `Asked`.
        scratch: address of CELL [levels], the thread's own.
        mid: the step of a process of `mids`.
        adverse: how far the mid moves with a fill, or None.
        bursts: `HawkesStep`, or None.
        delay: `Delay`, the thread's own, or None.
        ladder: how many levels, or None for one.
        guard: `Guard`, the thread's own, or None for theory without limits; with one, `quotes` are `Asked`.
        outcome: `Outcome`.
        trace: `Trace`, or None.
    """
    for path in range(first, first + count):
        s, hidden, q, profit, spread, tally, fills = s0, start, 0, 0.0, 0.0, 0, 0
        place = uint64(path) * uint64(steps) * DRAWS_A_STEP
        phase = 0
        bid_rate, ask_rate = 0.0, 0.0
        if bursts is not None:
            bid_rate = bursts.start
            ask_rate = bursts.start
        if delay is not None:
            delay.bid[:] = np.nan
            delay.ask[:] = np.nan
        begin_path(quotes)
        if guard is not None:
            open_path(guard)
        for step in range(steps):
            found = False
            if guard is not None:
                q, cost, open_for_quotes = look(guard, step, profit, q, s)
                profit -= cost
                _quote_within_limits(quotes, scratch, delay, guard, step, phase, q, s, open_for_quotes)
            elif delay is None:
                found = look_up(quotes, scratch, step, phase, q, s)
            else:
                bid_distance, ask_distance = ask_model(quotes, step, phase, q, s)
                _wait(quotes, scratch, delay, step, q, s, bid_distance, ask_distance)
            best = cell(quotes, scratch, found, phase, q, 0)
            bits = draw(key, place)
            ub, ua = high_32(bits) * _UNIT_32, low_32(bits) * _UNIT_32
            bid_arrives, ask_arrives = 1.0, 1.0
            if bursts is not None:
                bid_arrives, ask_arrives = arrival_chance(bursts, bid_rate), arrival_chance(bursts, ask_rate)
            bid_fills = int(ub < bid_arrives * best.bid_chance)
            ask_fills = int(ua < ask_arrives * best.ask_chance)
            profit += size * (bid_fills * best.bid_edge + ask_fills * best.ask_edge)
            if ladder is not None:
                # One order takes all levels that are nearer than the deepest it reaches.
                for level in range(1, ladder):
                    deeper = cell(quotes, scratch, found, phase, q, level)
                    bid = int(ub < bid_arrives * deeper.bid_chance)
                    ask = int(ua < ask_arrives * deeper.ask_chance)
                    profit += size * (bid * deeper.bid_edge + ask * deeper.ask_edge)
                    bid_fills += bid
                    ask_fills += ask
            if bursts is not None:
                bid_came, ask_came = int(ub < bid_arrives), int(ua < ask_arrives)
                bid_rate = next_rate(bursts, bid_rate, bid_came, ask_came)
                ask_rate = next_rate(bursts, ask_rate, ask_came, bid_came)
            spread += best.spread
            tally += best.tally
            fills += bid_fills + ask_fills
            if trace is not None:
                trace.mid[path, step] = s
                trace.inventory[path, step] = q
                # A quote that nobody can reach counts as none.
                quoted = best.bid_chance > 0.0
                trace.bid[path, step] = best.bid_edge + fee if quoted else np.nan
                quoted = best.ask_chance > 0.0
                trace.ask[path, step] = best.ask_edge + fee if quoted else np.nan
                trace.bought[path, step] = bid_fills
                trace.sold[path, step] = ask_fills
            if guard is not None:
                if bid_fills > 0:
                    take_note(guard, step, 1, s, best.bid_edge + fee)
                if ask_fills > 0:
                    take_note(guard, step, -1, s, best.ask_edge + fee)
            q += bid_fills - ask_fills
            ds, hidden = move(mid, s, hidden, key, place)
            if adverse is not None:
                ds += adverse * (ask_fills - bid_fills)
            s += ds
            profit += size * q * ds
            place += DRAWS_A_STEP
            phase += 1
            if phase >= quotes.period:
                phase = 0
        if guard is not None:
            close_path(guard, path, profit)
        outcome.profit[path] = profit
        outcome.inventory[path] = q
        outcome.fills[path] = fills
        outcome.spread[path] = spread
        outcome.tally[path] = tally
        if trace is not None:
            trace.mid[path, steps] = s
            trace.inventory[path, steps] = q
