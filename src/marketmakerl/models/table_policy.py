"""Quotes that are a table over time and inventory: what an optimiser or a learner hands over."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit
from marketmakerl.models.contract import QUOTE_SIGNATURE, QuotingModel


@njit(QUOTE_SIGNATURE)
def quote_table(context: Any, params: Any) -> tuple[float, float]:
    """params: horizon_s (inf: none), dt_s, rows, q_max, then the bid and the ask distances [row, inventory]."""
    row = 0
    if params[0] < np.inf:
        # A decision belongs to the step it falls into; 1e-6 of a step is float noise.
        row = int((params[0] - context.time_left_s) / params[1] + 1e-6)
        row = min(max(row, 0), int(params[2]) - 1)
    q_max = int(params[3])
    width = 2 * q_max + 1
    size = int(params[2]) * width
    q = min(max(context.q, float(-q_max)), float(q_max))
    low = min(int(np.floor(q)), q_max - 1)
    share = q - low
    place = 4 + row * width + low + q_max
    if share == 0.0:
        return params[place], params[size + place]
    if share == 1.0:
        return params[place + 1], params[size + place + 1]
    bid = params[place] + share * (params[place + 1] - params[place])
    ask = params[size + place] + share * (params[size + place + 1] - params[size + place])
    return bid, ask


@dataclass(frozen=True, eq=False)
class TablePolicy(QuotingModel):
    """A quoting model that looks its distances up.

    Between whole inventories distances are interpolated; beyond the table they are those of its edge.

    Args:
        bid, ask: float64 [rows, 2 q_max + 1], distances from the mid in price units for inventories -q_max .. q_max
            (order sizes); NaN: not quoted. One row a step of dt_s, or one row for all times without a horizon.
        dt_s: length of a step, seconds; > 0.
        horizon_s: rows * dt_s, or None: the one row holds at any time.
        name: what the table is.

    Raises:
        ConfigError: tables of different or wrong shapes, or with infinite distances.
    """

    bid: npt.NDArray[np.float64] = field(repr=False)
    ask: npt.NDArray[np.float64] = field(repr=False)
    dt_s: float = 1.0
    horizon_s: float | None = None
    name: str = "table"
    id: ClassVar[str] = "table"
    reads_market: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    reads_sizes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._require(positive=("dt_s",))
        try:  # copies: what becomes read-only here is not the caller's
            bid, ask = (np.array(table, dtype=np.float64, order="C") for table in (self.bid, self.ask))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"table: bid and ask must be tables of numbers [rows, 2 q_max + 1]: {error}") from None
        if bid.ndim != 2 or bid.shape != ask.shape or bid.shape[1] < 3 or bid.shape[1] % 2 == 0 or not len(bid):
            raise ConfigError(
                "table: bid and ask must both be [rows, 2 q_max + 1] with q_max >= 1, "
                f"got {np.shape(self.bid)} and {np.shape(self.ask)}"
            )
        if np.isinf(bid).any() or np.isinf(ask).any():
            raise ConfigError("table: a distance must be finite, or NaN for a side that is not quoted")
        if self.horizon_s is None:
            if len(bid) != 1:
                raise ConfigError(f"table: {len(bid)} rows need a horizon_s of rows * dt_s, got None")
        else:
            self._require(positive=("horizon_s",))
            if not math.isclose(self.horizon_s, len(bid) * self.dt_s, rel_tol=1e-6):
                raise ConfigError(
                    f"table: horizon_s must be rows * dt_s = {len(bid) * self.dt_s!r}, got {self.horizon_s!r}"
                )
        bid.flags.writeable = ask.flags.writeable = False
        object.__setattr__(self, "bid", bid)
        object.__setattr__(self, "ask", ask)

    @property
    def q_max(self) -> int:
        """Return the largest inventory of the table, order sizes."""
        return (self.bid.shape[1] - 1) // 2

    @property
    def kernel(self) -> Any:
        """Return the compiled look-up."""
        return quote_table

    def params(self) -> npt.NDArray[np.float64]:
        """Return head and tables."""
        head = [self.session_s, self.dt_s, float(len(self.bid)), float(self.q_max)]
        return np.concatenate([head, self.bid.ravel(), self.ask.ravel()])

    def as_dict(self) -> dict[str, Any]:
        """Return what the table is, JSON-ready, with a hash of its numbers."""
        digest = hashlib.blake2b(self.bid.tobytes() + self.ask.tobytes(), digest_size=8).hexdigest()
        return {
            "id": self.id, "name": self.name, "rows": len(self.bid), "q_max": self.q_max, "dt_s": self.dt_s,
            "horizon_s": self.horizon_s, "hash": digest,
        }  # fmt: skip
