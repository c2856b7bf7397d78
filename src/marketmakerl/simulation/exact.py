"""`mml.evaluate_exact`: what a policy earns in a world, with nothing left to chance.

Where quotes depend on (t, q) only and the mid's steps are independent of all else, profit is a sum of edges along a
Markov chain of the inventory, plus inventory times independent moves of the mid. Mean, variance and inventory come of
a forward recursion over (P, E[edge; q], E[edge^2; q]); the certainty equivalent of a backward one in logarithms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from marketmakerl.core.checks import require_number
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit
from marketmakerl.core.memory import address_of
from marketmakerl.models.contract import room_in
from marketmakerl.simulation.mids import MIDS
from marketmakerl.simulation.quotes import CELL, COUNT_MASK, Asking, at_cell, quotes_are_a_table, why_no_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.simulation.world import World

MAX_LOST: Final = 1e-9  # probability that a given q_max may hold back
_NEGLIGIBLE: Final = 1e-13  # what may lie beyond the inventories that are looked at
_FIRST_REACH: Final = 32
_BLOCK_BYTES: Final = 32 << 20  # of cells at a time
_AFFORDABLE: Final = 1 << 22  # steps x inventories either side: a second or two
_CE_PRECISION: Final = 1e-11
_SMALL: Final = 0.5
_CLIPPED_SHIFT, _SIDE_SHIFT = 21, 42


@njit(nogil=True)
def outcomes(cells: int, first: int, side: int, chance: Any, edge: Any) -> None:
    """Write the probability that exactly n = 0, 1, .. levels of a side fill, and what they earn a unit.

    The cells, one a level, lie at an address from `first` on.
    """
    levels = len(chance) - 1
    before, total = 1.0, 0.0
    for n in range(levels):
        level = at_cell(cells)[np.uint64(first + n)]
        reached = level.bid_chance if side == 0 else level.ask_chance
        chance[n] = before - reached
        edge[n] = total
        total += level.bid_edge if side == 0 else level.ask_edge
        before = reached
    chance[levels] = before
    edge[levels] = total


@njit(nogil=True)
def _forward(
    cells: int, levels: int, first: int, count: int, period: int, mean: float, variance: float, size: float,
    adverse: float, now: Any, after: Any, totals: Any,
) -> None:  # fmt: skip
    """Carry (P, E[x; q], E[x^2; q]) = now [3, inventory] `count` steps on; x is profit less its mean so far.

    `totals` gathers: mean profit, probability lost beyond the table, spread, two-sided, clipped and quoted sides.
    """
    width = now.shape[1]
    reach = (width - 1) // 2
    bid_chance, ask_chance = np.empty(levels + 1), np.empty(levels + 1)
    bid_edge, ask_edge = np.empty(levels + 1), np.empty(levels + 1)
    for step in range(first, first + count):
        row = step % period
        gain = 0.0
        after[:] = 0.0
        # Twice: for the mean of the step, then for what is over it, lest the variance be a difference of squares.
        for again in range(2):
            for i in range(width):
                p, x, xx = now[0, i], now[1, i], now[2, i]
                if p == 0.0:
                    continue
                place = (row * width + i) * levels
                best = at_cell(cells)[np.uint64(place)]
                outcomes(cells, place, 0, bid_chance, bid_edge)
                outcomes(cells, place, 1, ask_chance, ask_edge)
                if again == 0:
                    totals[2] += p * best.spread
                    totals[3] += p * (best.tally & COUNT_MASK)
                    totals[4] += p * ((best.tally >> _CLIPPED_SHIFT) & COUNT_MASK)
                    totals[5] += p * (best.tally >> _SIDE_SHIFT)
                for b in range(levels + 1):
                    for a in range(levels + 1):
                        weight = bid_chance[b] * ask_chance[a]
                        if weight == 0.0:
                            continue
                        to = i + b - a
                        if to < 0 or to >= width:
                            totals[1] += p * weight * again
                            continue
                        held = size * (to - reach)
                        e = size * (bid_edge[b] + ask_edge[a]) + held * (mean + adverse * (a - b))
                        if again == 0:
                            gain += p * weight * e
                        else:
                            e -= gain
                            after[0, to] += weight * p
                            after[1, to] += weight * (x + p * e)
                            after[2, to] += weight * (xx + 2.0 * e * x + p * (e * e + variance * held * held))
        totals[0] += gain
        now[:] = after


@njit(nogil=True)
def _backward(
    cells: int, levels: int, first: int, count: int, period: int, gamma: float, size: float, adverse: float,
    log_mgf: Any, value: Any, before: Any,
) -> None:  # fmt: skip
    """Carry value [inventory] = ln E[exp(-gamma profit from here)] back over steps first + count - 1 .. first."""
    width = len(value)
    reach = (width - 1) // 2
    bid_chance, ask_chance = np.empty(levels + 1), np.empty(levels + 1)
    bid_edge, ask_edge = np.empty(levels + 1), np.empty(levels + 1)
    terms, weights = np.empty((levels + 1) * (levels + 1)), np.empty((levels + 1) * (levels + 1))
    for back in range(count):
        row = (first + count - 1 - back) % period
        for i in range(width):
            outcomes(cells, (row * width + i) * levels, 0, bid_chance, bid_edge)
            outcomes(cells, (row * width + i) * levels, 1, ask_chance, ask_edge)
            n, top, largest = 0, -np.inf, 0.0
            for b in range(levels + 1):
                for a in range(levels + 1):
                    weight = bid_chance[b] * ask_chance[a]
                    to = i + b - a
                    if weight == 0.0 or to < 0 or to >= width:
                        continue
                    e = size * (bid_edge[b] + ask_edge[a] + (to - reach) * adverse * (a - b))
                    terms[n] = log_mgf[to] + value[to] - gamma * e
                    weights[n] = weight
                    largest = max(largest, abs(terms[n]))
                    top = max(top, terms[n])
                    n += 1
            total = 0.0
            if n == 0 or not top < np.inf:
                before[i] = np.inf
            elif largest < _SMALL:
                # What differs from 1 alone: with a small gamma the logarithm of a sum near 1 would drown it.
                for term in range(n):
                    total += weights[term] * math.expm1(terms[term])
                before[i] = math.log1p(total)
            else:
                for term in range(n):
                    total += weights[term] * math.exp(terms[term] - top)
                before[i] = top + math.log(total)
        value[:] = before


@dataclass(frozen=True, eq=False)
class ExactMoments:
    """What a policy earns over a run, exactly; money in quote currency, inventory in units.

    Attributes:
        world, model: what was evaluated.
        mean, std: of the profit: terminal wealth marked at the last mid, less the initial.
        inventory_mean, inventory_std: at the end.
        mean_spread: expected over the steps that quote both sides, price units; NaN if none does.
        clipped_share: expected share of quotes whose fill probability was cut to 1.
        lost_mass: probability of inventories beyond those that were looked at.
        q_reach: how far was looked, order sizes.
        inventory_probability: float64 [2 q_reach + 1], of each inventory at the end.
    """

    world: World
    model: QuotingModel
    mean: float
    std: float
    inventory_mean: float
    inventory_std: float
    mean_spread: float
    clipped_share: float
    lost_mass: float
    q_reach: int
    inventory_probability: npt.NDArray[np.float64] = field(repr=False)

    def certainty_equivalent(self, gamma: float) -> float:
        """Return the exact -(1/gamma) ln E[exp(-gamma W)] of the profit W on the stated mid.

        The rarest inventories can decide it: it looks as far as any path can go, where that is within reach (some
        2,000 steps); in longer runs twice as far until that changes nothing.

        Args:
            gamma: risk aversion, 1 / quote currency; > 0.

        Raises:
            ConfigError: gamma is not a finite number > 0.
        """
        require_number("gamma", gamma, above=0.0)
        chain = _Chain(self.world, self.model, bounded=True)
        all_of_it = self.world.bound is not None or chain.full_reach * self.world.steps <= _AFFORDABLE
        reach = chain.full_reach if all_of_it else min(self.q_reach, chain.full_reach)
        value = _certainty_equivalent(chain, reach, gamma)
        while reach < chain.full_reach:
            reach = min(2 * reach, chain.full_reach)
            further = _certainty_equivalent(chain, reach, gamma)
            settled = abs(further - value) <= _CE_PRECISION * max(1.0, abs(further))
            value = further
            if settled:
                break
        return value

    def summary(self) -> dict[str, Any]:
        """Return the figures, JSON-ready."""
        names = (
            "mean", "std", "inventory_mean", "inventory_std", "mean_spread", "clipped_share", "lost_mass", "q_reach",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


class _Chain:
    """The inventory of a policy as a Markov chain, step by step."""

    def __init__(self, world: World, model: QuotingModel, *, bounded: bool) -> None:
        self.world = world
        self._asking = Asking(world if bounded else world.replace(q_max=None), model)
        self.levels = self._asking.record.levels
        self.period = self._asking.record.period
        most = world.steps * self.levels
        bound = world.bound if bounded else world.inventory_limit
        self.full_reach = most if bound is None else min(most, bound)

    def blocks(self, reach: int, *, backwards: bool = False) -> Iterator[tuple[Any, int, int, int]]:
        """Yield (cells, first step, steps, rows of cells) until every step has had its turn."""
        steps = self.world.steps
        most = max(1, _BLOCK_BYTES // ((2 * reach + 1) * self.levels * CELL.itemsize))
        if min(self.period, steps) <= most:
            rows = min(self.period, steps)
            yield self._asking.cells(self._asking.distances(reach, 0, rows)), 0, steps, rows
            return
        firsts = [
            (start + first, min(most, min(self.period, steps - start) - first))
            for start in range(0, steps, self.period)
            for first in range(0, min(self.period, steps - start), most)
        ]
        for first, count in reversed(firsts) if backwards else firsts:
            cells = self._asking.cells(self._asking.distances(reach, first % self.period, count))
            # Row r of these cells is step first + r: a period so long that step % period is r.
            yield cells, 0, count, count


def check_exact(world: World, what: str) -> None:
    """Raise `ConfigError` unless time and inventory say all about a world."""
    if world.has_independent_steps:
        return
    exact = [name for name, mid in MIDS.items() if name != "geometric" and mid] + ["jump_diffusion"]
    raise ConfigError(
        f"{what} needs independent steps of the mid ({', '.join(exact)}), independent arrivals and latency_steps=0; "
        f"this world has mid={world.process.id}, arrivals={getattr(world.arrivals, 'id', 'independent')}, "
        f"latency_steps={world.latency_steps}: use simulate"
    )


def evaluate_exact(world: World, model: QuotingModel) -> ExactMoments:
    """Return mean, standard deviation and certainty equivalent of a policy's profit, without sampling.

    It takes steps x inventories x a few operations.

    Args:
        world: with independent steps (gaussian, binomial or jump-diffusion mid, no bursts, no latency).
        model: one whose quotes depend on time and inventory only, and that says so (`reads_market`).

    Raises:
        ConfigError: another kind of world or model, or world.q_max holds back a probability above 1e-9.
    """
    check_exact(world, "evaluate_exact")
    if not quotes_are_a_table(world, model):
        why = f"{model.id} has a memory" if room_in(model.context_dtype)["memory"] else why_no_table(model)
        raise ConfigError(f"evaluate_exact needs quotes that depend on time and inventory only; {why}")
    chain = _Chain(world, model, bounded=False)
    reach = min(world.q_max or _FIRST_REACH, chain.full_reach)
    while True:
        now, totals = _moments(chain, reach)
        lost = float(totals[1])
        if reach >= chain.full_reach or lost <= _NEGLIGIBLE:
            break
        if world.q_max is not None:
            if lost > MAX_LOST:
                raise ConfigError(_too_small(world, model, lost))
            break
        reach = min(2 * reach, chain.full_reach)
    inventory = np.arange(-reach, reach + 1) * world.order_size
    first, second = float(now[0] @ inventory), float(now[0] @ inventory**2)
    return ExactMoments(
        world=world,
        model=model,
        mean=float(totals[0]),
        std=math.sqrt(max(float(now[2].sum()) - float(now[1].sum()) ** 2, 0.0)),
        inventory_mean=first,
        inventory_std=math.sqrt(max(second - first**2, 0.0)),
        mean_spread=float(totals[2] / totals[3]) if totals[3] > 0.0 else math.nan,
        clipped_share=float(totals[4] / totals[5]) if totals[5] > 0.0 else 0.0,
        lost_mass=lost,
        q_reach=reach,
        inventory_probability=now[0],
    )


def _moments(chain: _Chain, reach: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    world = chain.world
    mean, variance = world.process.moments(world.mid_step()) or (math.nan, math.nan)
    now = np.zeros((3, 2 * reach + 1))
    now[0, reach] = 1.0
    totals = np.zeros(6)
    for cells, first, count, rows in chain.blocks(reach):
        _forward(
            address_of(cells), chain.levels, first, count, rows, mean, variance, float(world.order_size),
            float(world.adverse_move), now, np.empty_like(now), totals,
        )  # fmt: skip
    return now, totals


def _certainty_equivalent(chain: _Chain, reach: int, gamma: float) -> float:
    world = chain.world
    theta = -gamma * world.order_size * np.arange(-reach, reach + 1.0)
    with np.errstate(over="ignore"):  # a loss beyond all numbers is one
        log_mgf = world.process.log_mgf(world.mid_step(), theta)
    value = np.zeros(2 * reach + 1)
    for cells, first, count, rows in chain.blocks(reach, backwards=True):
        _backward(
            address_of(cells), chain.levels, first, count, rows, float(gamma), float(world.order_size),
            float(world.adverse_move), np.ascontiguousarray(log_mgf), value, np.empty_like(value),
        )  # fmt: skip
    return float(-value[reach] / gamma)


def _too_small(world: World, model: QuotingModel, lost: float) -> str:
    """Say from which q_max on the mass lost is small enough."""
    free = evaluate_exact(world.replace(q_max=None), model)
    chain = _Chain(world, model, bounded=False)
    low, high = world.q_max or 1, free.q_reach
    while high - low > 1:
        middle = (low + high) // 2
        if float(_moments(chain, middle)[1][1]) > MAX_LOST:
            low = middle
        else:
            high = middle
    return (
        f"q_max must be >= {high} for {model.id} in this world, got {world.q_max}: a probability of {lost:.3g} would "
        f"be lost beyond it (at most {MAX_LOST:g}); q_max=None finds it by itself, and inventory_limit is a bound that "
        "the policy has to live with"
    )
