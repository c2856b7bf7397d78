"""What one model does in a world: many paths of it, and the exact figures beside them where the world has any."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from marketmakerl.core.errors import ConfigError
from marketmakerl.simulation.exact import ExactMoments, evaluate_exact
from marketmakerl.simulation.quotes import quotes_are_a_table, why_no_table
from marketmakerl.simulation.simulate import Progress, SimulationResult, quantile_of, simulate
from marketmakerl.simulation.world_models import require_gamma

if TYPE_CHECKING:
    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.risk.limits import RiskLimits
    from marketmakerl.simulation.world import World

# A run so long takes minutes to evaluate exactly, and seconds to sample: unasked, it is not done.
MOST_STEPS_UNASKED: Final = 20_000
_UNDER_LIMITS: Final = "limits look at the whole path, and the evaluator at time and inventory"
FEW_PATHS: Final = 100.0  # a sampled certainty equivalent that so few paths decide is not to be trusted

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Assessment:
    """One model in a world.

    Attributes:
        name: what the model is called among others.
        gamma: risk aversion of the certainty equivalent, 1 / quote currency.
        result: the sampled paths.
        exact: the exact figures; None where there are none.
        why_sampled: why there are none, else "".
        certainty_equivalent: exact if `exact` is, else of the sample; quote currency.
        weights: float64 [n_paths], exp(-gamma profit) over its mean: how much each path has to say in the sampled one.
    """

    name: str
    gamma: float
    result: SimulationResult = field(repr=False)
    exact: ExactMoments | None = field(repr=False)
    why_sampled: str
    certainty_equivalent: float
    weights: Floats = field(repr=False)

    @property
    def mean(self) -> float:
        """Return the mean profit, exact where it can be."""
        return self.result.mean if self.exact is None else self.exact.mean

    @property
    def std(self) -> float:
        """Return the standard deviation of the profit, exact where it can be."""
        return self.result.std if self.exact is None else self.exact.std

    @property
    def effective_paths(self) -> float:
        """Return how many equally heavy paths the sampled certainty equivalent is worth (Kish 1965)."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())

    def intervals(self, level: float) -> dict[str, tuple[float, float]]:
        """Return the intervals of the sampled figures at `level`, each on its own.

        Normal by the delta method; for the share of losses Wilson's.
        """
        profit, held = self.result.profit, self.result.inventory
        quantile = quantile_of(level)

        def around(value: float, influence: Floats) -> tuple[float, float]:
            half = quantile * float(influence.std()) / math.sqrt(len(influence))
            return value - half, value + half

        return {
            "mean": self.result.mean_interval(level),
            "std": around(self.result.std, _influence_on_std(profit)),
            "inventory_std": around(self.result.inventory_std, _influence_on_std(held)),
            "certainty_equivalent": around(
                sampled_certainty_equivalent(profit, self.gamma), (1.0 - self.weights) / self.gamma
            ),
            "loss_share": _wilson(int((profit < 0.0).sum()), len(profit), quantile),
        }

    def metrics(self, level: float) -> dict[str, Any]:
        """Return the figures, JSON-ready; each `_low` and `_high` at `level`."""
        return {
            **self.result.summary(),
            **{
                f"{name}_{side}": bound
                for name, bounds in self.intervals(level).items()
                for side, bound in zip(("low", "high"), bounds, strict=True)
            },
            "level": level, "gamma": self.gamma,
            "certainty_equivalent": sampled_certainty_equivalent(self.result.profit, self.gamma),
            "effective_paths": self.effective_paths,
            "exact": self._exact_figures(),
            "why_sampled": self.why_sampled or None,
        }  # fmt: skip

    def _exact_figures(self) -> dict[str, Any] | None:
        if self.exact is None:
            return None
        return {**self.exact.summary(), "certainty_equivalent": self.certainty_equivalent}


def _wilson(hits: int, n: int, quantile: float) -> tuple[float, float]:
    """Return the interval of a share (Wilson 1927), which knows that none in n is not never."""
    share, room = hits / n, quantile**2 / n
    middle = (share + 0.5 * room) / (1.0 + room)
    half = math.sqrt(share * (1.0 - share) * room + 0.25 * room**2) / (1.0 + room)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _influence_on_std(values: Floats) -> Floats:
    """Return by how much each value moves the estimate of the standard deviation, times their number."""
    spread = float(values.std())
    return (values - values.mean()) ** 2 / (2.0 * spread) if spread > 0.0 else np.zeros(len(values))


def sampled_certainty_equivalent(profit: Floats, gamma: float) -> float:
    """Return -(1/gamma) ln of the mean of exp(-gamma profit)."""
    return float(-(logsumexp(-gamma * profit) - math.log(len(profit))) / gamma)


def why_not_exact(world: World, model: QuotingModel) -> str:
    """Return why a model has no exact figures in a world; "" if it has."""
    if world.latency_steps:
        return "quotes that arrive late depend on the past"
    if world.arrivals is not None:
        return "arrivals come in bursts"
    if not world.has_independent_steps:
        return f"the steps of a {world.process.id} mid are not independent of the price"
    if not quotes_are_a_table(world, model):
        return f"the quotes must depend on time and inventory only; {why_no_table(model)}"
    return ""


def exact_figures(world: World, model: QuotingModel, wanted: bool | None = None) -> tuple[ExactMoments | None, str]:
    """Return the exact figures, or None and why there are none.

    Args:
        world: the market.
        model: what quotes in it.
        wanted: True insists on them, False leaves them out, None takes them where they exist and cost seconds.

    Raises:
        ConfigError: wanted, and there are none; or world.q_max holds back a probability above 1e-9.
    """
    if wanted is False:
        return None, "not asked for"
    if wanted is None:
        if why := why_not_exact(world, model):
            return None, why
        if world.steps > MOST_STEPS_UNASKED:
            return None, f"{world.steps:,} steps take a while, and were not asked for"
    return evaluate_exact(world, model), ""


def assess(
    world: World,
    model: QuotingModel,
    n_paths: int = 100_000,
    seed: int = 0,
    *,
    gamma: float,
    name: str = "",
    exact: bool | None = None,
    risk: RiskLimits | None = None,
    budget: float | None = None,
    taker_fee_bps: float = 0.0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Assessment:
    """Simulate a model and evaluate it exactly where that is possible.

    Args:
        world: the market.
        model: what quotes in it.
        n_paths: see `simulate`, as for the seed.
        seed: 0 <= seed < 2**63.
        gamma: of the certainty equivalent, 1 / quote currency; > 0.
        name: of the model among others; its id by default.
        exact: see `exact_figures`; under limits there are no exact figures.
        risk: see `simulate`, as for the next two.
        budget: that the limits are shares of.
        taker_fee_bps: paid for inventory that the limits take off.
        threads: see `simulate`.
        progress: see `simulate`.

    Raises:
        ConfigError: an argument out of range, or a model that cannot be run in this world.
    """
    require_gamma(gamma)
    if risk is not None and exact:
        raise ConfigError(f"there are no exact figures: {_UNDER_LIMITS}")
    moments, why = (None, _UNDER_LIMITS) if risk is not None else exact_figures(world, model, exact)
    result = simulate(
        world, model, n_paths, seed,
        risk=risk, budget=budget, taker_fee_bps=taker_fee_bps, threads=threads, progress=progress,
    )  # fmt: skip
    logs = -gamma * result.profit
    sampled = sampled_certainty_equivalent(result.profit, gamma)
    return Assessment(
        name=name or model.id,
        gamma=gamma,
        result=result,
        exact=moments,
        why_sampled=why,
        certainty_equivalent=sampled if moments is None else moments.certainty_equivalent(gamma),
        weights=np.exp(logs - (logsumexp(logs) - math.log(n_paths))),
    )
