"""Mean against standard deviation of the profit as the maker fears risk more and more, exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.simulation.exact import evaluate_exact
from marketmakerl.simulation.world_models import require_gamma, world_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from marketmakerl.simulation.world import World

# What the reports draw: the classic, the models that solve for their quotes, and what none can beat.
FAMILIES: Final = ("symmetric", "avellaneda_stoikov", "glft", "glft_exact", "optimal")
_STEPS: Final = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # times the gamma that was asked for


@dataclass(frozen=True)
class FrontierPoint:
    """A family at one risk aversion; money in quote currency.

    Attributes:
        family: id of the model.
        gamma: risk aversion that its quotes were made for, 1 / quote currency.
        mean, std: of the profit.
        inventory_std: at the end, units.
        certainty_equivalent: at that gamma.
    """

    family: str
    gamma: float
    mean: float
    std: float
    inventory_std: float
    certainty_equivalent: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def gammas_around(gamma: float) -> tuple[float, ...]:
    """Return risk aversions from a thirtieth to ten times `gamma`, rising, `gamma` among them."""
    return tuple(float(f"{require_gamma(gamma) * step:.12g}") for step in _STEPS)


def frontier(world: World, family: str, gammas: Iterable[float]) -> list[FrontierPoint]:
    """Return what a family of models earns and risks at each risk aversion.

    Args:
        world: with independent steps (gaussian, binomial or jump-diffusion mid, no bursts, no latency).
        family: one of `WORLD_MODEL_IDS`; cartea_jaimungal pays phi = gamma sigma^2 / 2.
        gammas: risk aversions, 1 / quote currency; > 0.

    Raises:
        ConfigError: another kind of world, or a gamma out of range. UnknownNameError: no such family.
    """
    points = []
    for gamma in gammas:
        moments = evaluate_exact(world, world_model(family, world, gamma=gamma))
        ce = moments.certainty_equivalent(gamma)
        points.append(FrontierPoint(family, gamma, moments.mean, moments.std, moments.inventory_std, ce))
    return points
