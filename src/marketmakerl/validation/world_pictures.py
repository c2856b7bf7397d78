"""What the reports of the model world draw, as numbers: quotes, distributions, frontiers and a path."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.simulation.frontier import FAMILIES, frontier, gammas_around
from marketmakerl.simulation.quote_grid import quote_grid
from marketmakerl.simulation.simulate import simulate_paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.simulation.assess import Assessment
    from marketmakerl.simulation.world import World

TABLE_REACH: Final = 5  # inventories of the table of quotes, order sizes
_REACH: Final = 10  # of the pictures
_MOMENTS: Final = 41  # at which quotes over time are drawn
_BINS: Final = 80
_TAIL: Final = 0.0005  # of the profits that lie outside the histogram on either side
_LONGEST_PATH: Final = 1000  # steps that are drawn


def quotes(world: World, models: Mapping[str, QuotingModel]) -> dict[str, Any]:
    """Return distances from the mid by inventory, at the start, half way and in the last step, and over time."""
    reach = _REACH if world.bound is None else min(_REACH, world.bound)
    held = list(range(-reach, reach + 1))
    times = [0.0, world.dt_s * (world.steps // 2), world.dt_s * (world.steps - 1)]
    steps = np.unique(np.linspace(0, world.steps - 1, _MOMENTS).round())
    moments = [float(step) * world.dt_s for step in steps]
    levels = [0, min(3, reach)]
    return {
        "times_s": times,
        "inventories": held,
        "by_inventory": {name: _plain(quote_grid(model, times, held, world)) for name, model in models.items()},
        "moments_s": moments,
        "levels": levels,
        "over_time": {name: _plain(quote_grid(model, moments, levels, world)) for name, model in models.items()},
    }


def distributions(gamma: float, entries: Sequence[Assessment]) -> dict[str, Any]:
    """Return histograms of the profits over common bins, and the normal curve that has the exact moments."""
    profits = [entry.result.profit for entry in entries]
    low = min(float(np.quantile(profit, _TAIL)) for profit in profits)
    high = max(float(np.quantile(profit, 1.0 - _TAIL)) for profit in profits)
    if not high > low:  # no path earned anything, or all the same
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    width = edges[1] - edges[0]
    return {
        "edges": edges.tolist(),
        "gamma": gamma,
        "models": {
            entry.name: {
                "density": (np.histogram(profit, edges)[0] / (len(profit) * width)).tolist(),
                "outside": float(((profit < low) | (profit > high)).mean()),
                "mean": entry.mean,
                "std": entry.std,
                "normal": _normal(edges, entry.mean, entry.std),
            }
            for entry, profit in zip(entries, profits, strict=True)
        },
    }


def _normal(edges: Any, mean: float, std: float) -> list[float] | None:
    if not std > 0.0:
        return None
    middle = 0.5 * (edges[1:] + edges[:-1])
    return list((np.exp(-0.5 * ((middle - mean) / std) ** 2) / (std * math.sqrt(2.0 * math.pi))).tolist())


def frontiers(world: World, gamma: float, models: Sequence[str]) -> list[dict[str, Any]]:
    """Return mean against standard deviation over the risk aversion for those families that were asked for."""
    return [
        point.as_dict()
        for family in FAMILIES
        if family in models
        for point in frontier(world, family, gammas_around(gamma))
    ]


def sample_path(world: World, model: QuotingModel, seed: int, **limits: Any) -> dict[str, Any]:
    """Return the first path of the sample: mid, quotes and inventory; of a long one, the beginning.

    Args:
        world: the market.
        model: what quotes in it.
        seed: of the sample.
        limits: see `simulate_paths`.
    """
    paths = simulate_paths(world, model, 1, seed, **limits)
    steps = min(world.steps, _LONGEST_PATH)
    return {
        "model": model.id,
        "steps": world.steps,
        "time_s": paths.time_s[: steps + 1].tolist(),
        "mid": paths.mid[0, : steps + 1].tolist(),
        "inventory": paths.inventory[0, : steps + 1].tolist(),
        "bid": _plain(paths.bid[0, :steps]),
        "ask": _plain(paths.ask[0, :steps]),
        "profit": float(paths.profit[0]),
    }


def _plain(values: Any) -> list[Any]:
    """Return an array as lists, None for NaN."""
    cells = np.asarray(values, dtype=object)
    cells[np.isnan(values)] = None
    return list(cells.tolist())
