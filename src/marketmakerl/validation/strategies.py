"""Strategy formats: the small named grid of ways to quote that the studies compare.

A format is a model and how its calibrated parameters are scaled; it is the same text on every market, since distances
come in units of what the warm-up bars suggest. That unit, the mean excursion of one bar, is often less than a fee, so
a format stands several of them out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.models.own_file import OwnModel, is_own, pinned
from marketmakerl.models.registry import BOOK_MODEL_IDS, DEFAULT_HORIZON_S, DEFAULT_INVENTORY_RANGE, MODEL_IDS, OWN_HINT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BASE_SPREAD_SCALE: Final = 4.0


@dataclass(frozen=True)
class Strategy:
    """One way to quote.

    Attributes:
        name: the format's name, unique in the grid.
        model: model id, or a model of one's own, path.py:name (see `models.own_file`).
        spread_scale: factor on the distance 1/k that the bars suggest.
        horizon_s: session length of the model, seconds.
        inventory_range: order sizes at which the model leans by a whole 1/k.
        order_share: size of a quote as a share of the budget.
        params: parameters that are fixed instead of calibrated, by name.
    """

    name: str
    model: str
    spread_scale: float = BASE_SPREAD_SCALE
    horizon_s: float = DEFAULT_HORIZON_S
    inventory_range: float = DEFAULT_INVENTORY_RANGE
    order_share: float = 0.02
    params: tuple[tuple[str, float | str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        fields = asdict(self)
        params = dict(fields.pop("params"))
        return fields | {"params": params} if params else fields


_VARIANTS: Final = (
    Strategy("symmetric_tight", "symmetric", spread_scale=2.0),
    Strategy("symmetric_wide", "symmetric", spread_scale=8.0),
    Strategy("as_short_horizon", "avellaneda_stoikov", horizon_s=900.0),
    Strategy("as_long_horizon", "avellaneda_stoikov", horizon_s=14_400.0),
    Strategy("as_low_inventory", "avellaneda_stoikov", inventory_range=4.0),
    Strategy("as_high_inventory", "avellaneda_stoikov", inventory_range=25.0),
    Strategy("as_wide", "avellaneda_stoikov", spread_scale=8.0),
)


def strategy_formats(
    names: Iterable[str] = (), own_params: Mapping[str, float | str] | None = None
) -> tuple[Strategy, ...]:
    """Return the formats of a study, by name.

    Args:
        names: of the grid, or models of one's own, path.py:name: those are asked as they are, with the unit of distance
            that the bars suggest. None: the whole grid, which is every model that bars can tell from others under its
            own id, and the variants.
        own_params: parameters of models of one's own.

    Raises:
        UnknownNameError: no such format.
        ConfigError: one is named twice, parameters without a model of one's own, or a file that cannot be loaded.
    """
    plain = [Strategy(model, model) for model in MODEL_IDS if model not in BOOK_MODEL_IDS]
    grid = {strategy.name: strategy for strategy in (*plain, *_VARIANTS)}
    params = tuple((own_params or {}).items())
    chosen: dict[str, Strategy] = {}
    for name in names:
        if is_own(name):
            own = OwnModel.of(pinned(name))
            strategy = Strategy(own.label, str(own), spread_scale=1.0, params=params)
        elif name in grid:
            strategy = grid[name]
        else:
            raise UnknownNameError("strategy format", name, grid, OWN_HINT)
        if strategy.name in chosen:
            raise ConfigError(f"strategy format {strategy.name} is named twice")
        chosen[strategy.name] = strategy
    if params and not any(is_own(strategy.model) for strategy in chosen.values()):
        raise ConfigError("parameters are for a model of your own: name it (--model path.py:name)")
    return tuple(sorted((chosen or grid).values(), key=lambda strategy: strategy.name))
