"""Strategy formats: the small named grid of ways to quote that the studies compare.

A format is a model and how its calibrated parameters are scaled; it is the same text on every market, since distances
come in units of what the warm-up bars suggest. That unit, the mean excursion of one bar, is often less than a fee, so
a format stands several of them out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from marketmakerl.models.registry import BOOK_MODEL_IDS, DEFAULT_HORIZON_S, DEFAULT_INVENTORY_RANGE, MODEL_IDS

BASE_SPREAD_SCALE: Final = 4.0


@dataclass(frozen=True)
class Strategy:
    """One way to quote.

    Attributes:
        name: the format's name, unique in the grid.
        model: model id.
        spread_scale: factor on the distance 1/k that the bars suggest.
        horizon_s: session length of the model, seconds.
        inventory_range: order sizes at which the model leans by a whole 1/k.
        order_share: size of a quote as a share of the budget.
    """

    name: str
    model: str
    spread_scale: float = BASE_SPREAD_SCALE
    horizon_s: float = DEFAULT_HORIZON_S
    inventory_range: float = DEFAULT_INVENTORY_RANGE
    order_share: float = 0.02

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


_VARIANTS: Final = (
    Strategy("symmetric_tight", "symmetric", spread_scale=2.0),
    Strategy("symmetric_wide", "symmetric", spread_scale=8.0),
    Strategy("as_short_horizon", "avellaneda_stoikov", horizon_s=900.0),
    Strategy("as_long_horizon", "avellaneda_stoikov", horizon_s=14_400.0),
    Strategy("as_low_inventory", "avellaneda_stoikov", inventory_range=4.0),
    Strategy("as_high_inventory", "avellaneda_stoikov", inventory_range=25.0),
    Strategy("as_wide", "avellaneda_stoikov", spread_scale=8.0),
)


def strategy_formats() -> tuple[Strategy, ...]:
    """Return the grid, by name: every model that bars can tell from others under its own id, and the variants."""
    plain = [Strategy(model, model) for model in MODEL_IDS if model not in BOOK_MODEL_IDS]
    return tuple(sorted([*plain, *_VARIANTS], key=lambda strategy: strategy.name))
