"""Several quotes a side: the model's own, and others behind it at equal steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from marketmakerl.core.checks import shown
from marketmakerl.core.errors import ConfigError
from marketmakerl.models.contract import Quote, QuoteContext, QuoteParts, QuotingModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST_LEVELS: Final = 100
MOST_TICKS: Final = 10**6


@dataclass(frozen=True)
class Ladder(QuotingModel):
    """Lays `levels` quotes a side, the first where `base` quotes and each next one `level_step_ticks` further away.

    Each level has the order size. On bars the best level fills first, and all levels share what a bar's volume gives.

    Args:
        base: a model of one level.
        levels: quotes a side, 1 to 100.
        level_step_ticks: distance between them in ticks, 1 to 1,000,000.
        grid_ticks: the first quote's price is a whole multiple of so many ticks, bids below, asks above it.

    Raises:
        ConfigError: a number out of range, or a base that has levels of its own.
    """

    base: QuotingModel
    levels: int
    level_step_ticks: int = 1
    grid_ticks: int = 1
    id: ClassVar[str] = "ladder"

    def __post_init__(self) -> None:
        if not isinstance(self.base, QuotingModel) or hasattr(self.base, "levels"):
            raise ConfigError(
                f"a ladder goes on a quoting model that has no levels of its own, not on {shown(self.base)}"
            )
        self._require_whole("levels", 1, MOST_LEVELS)
        self._require_whole("level_step_ticks", 1, MOST_TICKS)
        self._require_whole("grid_ticks", 1, MOST_TICKS)
        object.__setattr__(self, "id", f"{self.base.id}_ladder")
        object.__setattr__(self, "reads_market", self.base.reads_market)
        object.__setattr__(self, "reads_others", self.base.reads_others)
        object.__setattr__(self, "reads_clock", self.base.reads_clock)
        object.__setattr__(self, "reads_sizes", self.base.reads_sizes)

    @property
    def session_s(self) -> float:
        """Return the base's."""
        return self.base.session_s

    @property
    def kernel(self) -> Any:
        """Return the base's; the engine lays the levels behind it."""
        return self.base.kernel

    def params(self) -> npt.NDArray[np.float64]:
        """Return the base's."""
        return self.base.params()

    def parts(self, record: Any) -> QuoteParts:
        """Return the base's."""
        return self.base.parts(record)

    def quote(self, context: QuoteContext) -> Quote:
        """Return the first level, on the grid.

        Raises:
            ConfigError: a context without a tick_size.
        """
        return self.quotes(context)[0]

    def quotes(self, context: QuoteContext) -> list[Quote]:
        """Return the quotes of all levels, the best first; None where a bid would fall below one tick.

        Raises:
            ConfigError: a context without a tick_size.
        """
        if context.tick_size is None:
            raise ConfigError("a ladder counts in ticks: give the context a tick_size")
        tick_size, grid = context.tick_size, self.grid_ticks
        best = super().quote(context)
        bid = None if best.bid is None else round(best.bid / tick_size) // grid * grid
        ask = None if best.ask is None else -(-round(best.ask / tick_size) // grid) * grid
        behind = range(0, self.levels * self.level_step_ticks, self.level_step_ticks)
        return [Quote(_price(bid, -ticks, tick_size), _price(ask, ticks, tick_size)) for ticks in behind]

    def as_dict(self) -> dict[str, Any]:
        """Return id and parameters, JSON-ready."""
        return {
            "id": self.id, "base": self.base.as_dict(),
            "levels": self.levels, "level_step_ticks": self.level_step_ticks, "grid_ticks": self.grid_ticks,
        }  # fmt: skip


def _price(first: int | None, ticks: int, tick_size: float) -> float | None:
    if first is None or first + ticks < 1:
        return None
    return round((first + ticks) * tick_size, 12)
