"""The quotes of `work.Work` as a model of ours: the peer's arithmetic, on the contract every custom model uses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from work import TICK_SIZE

from marketmakerl.core.jit import njit
from marketmakerl.models.contract import QUOTE_SIGNATURE, QuotingModel

if TYPE_CHECKING:
    from work import Work


@njit(QUOTE_SIGNATURE)
def quote_as_peer(context: Any, params: Any) -> tuple[float, float]:
    """params: half_ticks, skew_ticks, max_lots, gap_ticks, ticks_per_price."""
    half, skew, max_lots, gap = params[0], params[1], params[2], params[3]
    tick = context.tick_size
    best_bid = np.rint(context.best_bid * params[4])
    best_ask = np.rint(context.best_ask * params[4])
    centre = (best_bid + best_ask) * 0.5 - skew * context.q
    # The touch wins over the grid, as in the peer's script: hence no `grid_ticks`, which would move it off the touch.
    bid = min(np.floor((centre - half) / gap) * gap, best_bid)
    ask = max(np.ceil((centre + half) / gap) * gap, best_ask)
    # Half a lot of room: the position counts whole lots.
    bid_offset = context.mid - bid * tick if context.q < max_lots - 0.5 else math.nan
    ask_offset = ask * tick - context.mid if context.q > 0.5 - max_lots else math.nan
    return bid_offset, ask_offset


@dataclass(frozen=True)
class PeerQuotes(QuotingModel):
    """The strategy of `work.Work`; `levels` and `level_step_ticks` make the engine lay a grid behind the best."""

    half_ticks: float
    skew_ticks: float
    max_lots: int
    levels: int
    level_step_ticks: int
    grid_ticks: int = 1
    reads_clock: ClassVar[bool] = False
    reads_sizes: ClassVar[bool] = False
    id: ClassVar[str] = "peer_quotes"

    @classmethod
    def of(cls, work: Work) -> PeerQuotes:
        """Return the model that does `work`."""
        return cls(work.half_ticks, work.skew_ticks, work.max_lots, work.levels, work.gap_ticks)

    @property
    def kernel(self) -> Any:
        """Return the compiled formula."""
        return quote_as_peer

    def params(self) -> npt.NDArray[np.float64]:
        """Return the kernel's parameters."""
        ticks_per_price = round(1 / TICK_SIZE)
        return np.array(
            [self.half_ticks, self.skew_ticks, self.max_lots, self.level_step_ticks, ticks_per_price], np.float64
        )
