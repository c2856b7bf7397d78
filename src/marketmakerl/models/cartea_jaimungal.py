"""Cartea, Jaimungal & Penalva, "Algorithmic and High-Frequency Trading", Cambridge 2015, chapter 10."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from marketmakerl.core.errors import ConfigError
from marketmakerl.models.contract import QuoteParts, QuotingModel
from marketmakerl.models.inventory_quotes import quote_in_time
from marketmakerl.models.inventory_values import Q_MAX, TimeTable, time_table

MOST_COST: Final = 200.0  # in units of 1/k


@dataclass(frozen=True)
class CarteaJaimungal(QuotingModel):
    """Optimal quotes of a maker who pays for inventory while holding it, and for what is left at the end.

    Maximises E[X_T + q_T S_T - alpha q_T^2 - phi integral q^2 dt] over the two distances, fills at rate
    lambda e^(-kappa delta), |q| <= q_max (section 10.2, with the closed solution of section 10.3):

        h(t, q) = (1/kappa) ln [e^(M (T - t)) z]_q,   z_q = e^(-alpha kappa q^2)
        M = diag(-phi kappa q^2) + lambda e^-1 offdiag(1)
        bid distance = 1/kappa - h(q + 1) + h(q),   ask distance = 1/kappa - h(q - 1) + h(q)

    If the mid jumps by eps against the maker with every market order (section 10.4), each side adds eps and lambda
    becomes lambda e^(-kappa eps); a fee f per unit acts alike. With phi = alpha = 0 the distance is 1/kappa, far from
    q_max.

    Args:
        k: kappa, decay of the fill rate, per price unit; > 0.
        arrival_rate: lambda, market orders a second and side; > 0.
        phi: running penalty, quote currency per second and order size squared; >= 0.
        alpha: terminal penalty, quote currency per order size squared; >= 0.
        horizon_s: T in seconds; > 0. In a backtest sessions follow one another.
        q_max: largest inventory in order sizes, 1 to 250: at it only the reducing side is quoted, and beyond it at the
            edge's distance.
        adverse_move: eps, price units by which the mid jumps with every market order; >= 0.
        fee_per_unit: maker fee f, price units a unit; negative is a rebate.

    Raises:
        ConfigError: a parameter out of range.
    """

    k: float
    arrival_rate: float
    phi: float
    alpha: float
    horizon_s: float
    q_max: int
    adverse_move: float = 0.0
    fee_per_unit: float = 0.0
    id: ClassVar[str] = "cartea_jaimungal"
    reads_market: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    reads_sizes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._require(
            positive=("k", "arrival_rate", "horizon_s"),
            non_negative=("phi", "alpha", "adverse_move"),
            finite=("fee_per_unit",),
        )
        self._require_whole("q_max", 1, Q_MAX)
        self._require_usual_size(
            factors=("k", "arrival_rate", "horizon_s"), others=("phi", "alpha", "adverse_move", "fee_per_unit")
        )
        if not abs(self.k * self._cost) <= MOST_COST:
            raise ConfigError(
                f"cartea_jaimungal: k * (fee_per_unit + adverse_move) must be within +-{MOST_COST:g}, got "
                f"{self.k * self._cost:.6g}: no order comes that far"
            )

    @property
    def _cost(self) -> float:
        """Return what each side adds for fee and adverse jumps, price units."""
        return self.fee_per_unit + self.adverse_move

    @cached_property
    def _table(self) -> TimeTable:
        squares = np.arange(-self.q_max, self.q_max + 1.0) ** 2
        diagonal, terminal = self.k * self.phi * squares, -self.k * self.alpha * squares
        coupling = self.arrival_rate * math.exp(-1.0 - self.k * self._cost)
        return time_table(diagonal, coupling, terminal, self.horizon_s)

    def value(self, q: int = 0) -> float:
        """Return h(0, q): what the whole horizon is worth beyond cash and inventory at the mid, quote currency.

        Args:
            q: inventory in order sizes, a whole number within +-q_max.

        Raises:
            ConfigError: any other q.
        """
        if not abs(q) <= self.q_max or q != int(q):
            raise ConfigError(f"cartea_jaimungal: value needs a whole q within +-{self.q_max}, got {q!r}")
        return float(self._table.log_values[int(q) + self.q_max]) / self.k

    @property
    def kernel(self) -> Any:
        """Return the compiled formula."""
        return quote_in_time

    def params(self) -> npt.NDArray[np.float64]:
        """Return the kernel's parameters.

        Raises:
            ConfigError: a horizon too long to be solved over (see `time_table`).
        """
        table = self._table
        making = 1.0 / self.k + self._cost
        head = [making, self.q_max, table.first_step_s, self.horizon_s]
        return np.concatenate([head, (table.lean / self.k).ravel()])

    def parts(self, record: Any) -> QuoteParts:  # noqa: ARG002  (the contract's signature)
        """Return the parts of the distances."""
        return QuoteParts(1.0 / self.k, self.fee_per_unit, self.adverse_move)
