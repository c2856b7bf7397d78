"""What a model leaves on the table: the exact optimum of the same world under the same objective, less the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from marketmakerl.simulation.exact import ExactMoments, evaluate_exact
from marketmakerl.simulation.optimum import CARA, OptimalPolicy, RunningPenalty, optimal_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.simulation.world import World


@dataclass(frozen=True)
class Standing:
    """A model below the ceiling, exactly; money in quote currency.

    Attributes:
        model: its name.
        mean, std: of the profit.
        inventory_std: at the end, units.
        mean_spread: expected, price units.
        value: what the objective comes to: a certainty equivalent, or the mean less the penalties.
        left: the optimum's value less this one's; >= 0.
        left_share: `left` over the optimum's value; None unless that is > 0.
        clipped_share: of quotes so far inside the mid that their fill probability was cut to 1.
    """

    model: str
    mean: float
    std: float
    inventory_std: float
    mean_spread: float
    value: float
    left: float
    left_share: float | None
    clipped_share: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Ceiling:
    """The optimum and how far below it models stay.

    Attributes:
        optimum: the policy.
        standings: the optimum first, then the models, by value.
    """

    optimum: OptimalPolicy
    standings: tuple[Standing, ...]


def ceiling(
    world: World, models: Mapping[str, QuotingModel], objective: CARA | RunningPenalty, *, name: str = "optimal"
) -> Ceiling:
    """Return the exact optimum of a world and what each model leaves of it.

    Args:
        world: with independent steps (gaussian, binomial or jump-diffusion mid, no bursts, no latency).
        models: by name; quotes of time and inventory only.
        objective: what is maximised.
        name: of the optimum among the standings.

    Raises:
        ConfigError: another kind of world or model, or world.q_max holds back a probability above 1e-9.
    """
    optimum = optimal_policy(world, objective)
    best = objective_value(evaluate_exact(world, optimum), objective)
    everyone = {name: optimum, **{key: model for key, model in models.items() if key != name}}
    standings = []
    for key, model in everyone.items():
        moments = evaluate_exact(world, model)
        value = objective_value(moments, objective)
        left = best - value
        standings.append(
            Standing(
                model=key, mean=moments.mean, std=moments.std, inventory_std=moments.inventory_std,
                mean_spread=moments.mean_spread, value=value, left=left,
                left_share=left / best if best > 0.0 else None, clipped_share=moments.clipped_share,
            )
        )  # fmt: skip
    standings.sort(key=lambda standing: (standing.model != name, -standing.value, standing.model))
    return Ceiling(optimum, tuple(standings))


def objective_value(moments: ExactMoments, objective: CARA | RunningPenalty) -> float:
    """Return what a policy makes of an objective, exactly; quote currency.

    Under a running penalty that is mean - alpha E[q_T^2] - phi sum E[q^2] dt. The sum is read off the variance: it is
    what the variance of the profit gains when sigma^2 does by one while the quotes stay as they are.
    """
    if isinstance(objective, CARA):
        return moments.certainty_equivalent(objective.gamma)
    world = moments.world
    rougher = evaluate_exact(world.replace(sigma=2.0 * world.sigma), moments.model)
    squares_s = (rougher.std**2 - moments.std**2) / (3.0 * world.sigma**2)
    at_end = moments.inventory_std**2 + moments.inventory_mean**2
    return moments.mean - objective.phi * squares_s - objective.alpha * at_end
