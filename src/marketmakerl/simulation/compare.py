"""Several models in one world on the same paths: who is better, by how much, and how sure that is.

All models meet the same moves of the mid and the same draws for their fills, so differences are taken path by path:
what the paths have in common cancels. Intervals hold together: with m pairs looked at, each is taken at the level
1 - (1 - level) / m (Bonferroni), so that the chance that any of them misses is at most 1 - level.

Certainty equivalents are exact where the world allows. Else they are those of the sample, and the interval of a
difference is the delta method's on the paired paths: with w = exp(-gamma W) over its mean, a path moves the estimate by
-(w - 1) / gamma.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.checks import require_whole
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.simulation.assess import Assessment, Floats, assess
from marketmakerl.simulation.simulate import Progress, quantile_of
from marketmakerl.simulation.world_models import OPTIMUM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.simulation.world import World

BASELINE: Final = "avellaneda_stoikov"


@dataclass(frozen=True)
class Difference:
    """A model less another, on the same paths; money in quote currency.

    Attributes:
        model, against: their names.
        mean: of the paired differences of profit.
        mean_low, mean_high: its simultaneous interval.
        mean_exact: the exact difference of means; None where there is none.
        ce: difference of the certainty equivalents.
        ce_low, ce_high: its simultaneous interval; both equal to `ce` where that is exact.
        ce_is_exact: whether it is.
    """

    model: str
    against: str
    mean: float
    mean_low: float
    mean_high: float
    mean_exact: float | None
    ce: float
    ce_low: float
    ce_high: float
    ce_is_exact: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What became of all models.

    Attributes:
        entries: by certainty equivalent, the best first.
        differences: of every model to each reference, in the order of the entries.
        references: the baseline and, where the world has one, the optimum.
        level: at which all intervals of the differences hold together.
        pairs: how many differences were looked at.
        pair_level: at which each single one is taken.
    """

    entries: tuple[Assessment, ...]
    differences: tuple[Difference, ...]
    references: tuple[str, ...]
    level: float
    pairs: int
    pair_level: float

    def difference(self, model: str, against: str) -> Difference:
        """Return a difference by its names.

        Raises:
            ConfigError: it was not looked at.
        """
        for found in self.differences:
            if (found.model, found.against) == (model, against):
                return found
        raise ConfigError(f"{model} was not compared with {against}; references: {', '.join(self.references)}")

    def rank(self, model: str) -> int:
        """Return 1 for the highest certainty equivalent.

        Raises:
            UnknownNameError: the model was not compared.
        """
        names = [entry.name for entry in self.entries]
        if model not in names:
            raise UnknownNameError("model of the comparison", model, names)
        return names.index(model) + 1


def compare(
    world: World,
    models: Mapping[str, QuotingModel],
    n_paths: int = 100_000,
    seed: int = 0,
    *,
    gamma: float,
    level: float = 0.95,
    baseline: str = "",
    exact: bool | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Run every model through the same paths of a world and hold them against each other.

    Args:
        world: the market.
        models: by name, one or more; one of the name "optimal" is a reference of its own.
        n_paths: >= 2.
        seed: 0 <= seed < 2**63.
        gamma: of the certainty equivalent that ranks them, 1 / quote currency; > 0.
        level: at which all intervals hold together, between 0 and 1.
        baseline: the name that others are held against; by default avellaneda_stoikov, or else the first.
        exact: see `exact_figures`.
        threads: see `simulate`.
        progress: see `simulate`; it is told of the paths of every model.

    Raises:
        ConfigError: an argument out of range, no model, or a model that cannot be run in this world.
        UnknownNameError: no model has the baseline's name.
    """
    if not models:
        raise ConfigError("nothing to compare: name a model")
    require_whole("n_paths", n_paths, at_least=2)
    quantile_of(level)
    baseline = baseline or (BASELINE if BASELINE in models else next(iter(models)))
    if baseline not in models:
        raise UnknownNameError("baseline", baseline, models)
    entries = [
        assess(
            world, model, n_paths, seed,
            gamma=gamma, name=name, exact=exact, threads=threads, progress=progress,
        )
        for name, model in models.items()
    ]  # fmt: skip
    entries.sort(key=lambda entry: (-entry.certainty_equivalent, entry.name))
    by_name = {entry.name: entry for entry in entries}
    references = tuple(dict.fromkeys((baseline, OPTIMUM))) if OPTIMUM in models else (baseline,)
    chosen = [(entry, by_name[name]) for name in references for entry in entries if entry.name != name]
    # The baseline less the optimum and the optimum less the baseline are one look, not two.
    pairs = max(1, len({frozenset((one.name, other.name)) for one, other in chosen}))
    pair_level = 1.0 - (1.0 - level) / pairs
    return Comparison(
        entries=tuple(entries),
        differences=tuple(_difference(one, other, quantile_of(pair_level)) for one, other in chosen),
        references=references,
        level=level,
        pairs=pairs,
        pair_level=pair_level,
    )


def _difference(one: Assessment, other: Assessment, quantile: float) -> Difference:
    mean, half = _mean_and_half(one.result.profit - other.result.profit, quantile)
    exact = one.exact is not None and other.exact is not None
    ce, ce_half = one.certainty_equivalent - other.certainty_equivalent, 0.0
    if not exact:
        _, ce_half = _mean_and_half((other.weights - one.weights) / one.gamma, quantile)
    return Difference(
        model=one.name,
        against=other.name,
        mean=mean,
        mean_low=mean - half,
        mean_high=mean + half,
        mean_exact=one.mean - other.mean if exact else None,
        ce=ce,
        ce_low=ce - ce_half,
        ce_high=ce + ce_half,
        ce_is_exact=exact,
    )


def _mean_and_half(values: Floats, quantile: float) -> tuple[float, float]:
    """Return the mean and half the width of its interval."""
    return float(values.mean()), quantile * float(values.std(ddof=1)) / math.sqrt(len(values))
