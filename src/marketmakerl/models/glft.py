"""Guéant, Lehalle & Fernandez-Tapia, "Dealing with the inventory risk", Math. Financ. Econ. 7, 2013.

Order sizes other than one are those of Guéant, "Optimal market making", arXiv 1605.01862, 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.core.jit import njit
from marketmakerl.models.contract import QUOTE_SIGNATURE, QuoteParts, QuotingModel
from marketmakerl.models.inventory_quotes import quote_in_time, quote_stationary
from marketmakerl.models.inventory_values import Q_MAX, TimeTable, ground_state, time_table

VARIANTS: Final = ("stationary", "exact", "closed_form")
MOST_COST: Final = 200.0  # in units of 1/k


@njit(QUOTE_SIGNATURE)
def quote_closed_form(context: Any, params: Any) -> tuple[float, float]:
    """params: c and what each side adds to it, skew r of one order size, inventory that is leant towards, q_max."""
    q_max = params[3]
    lean = (min(max(context.q, -q_max), q_max) - params[2]) * params[1]
    bid = params[0] + 0.5 * params[1] + lean if context.q < q_max else np.nan
    ask = params[0] + 0.5 * params[1] - lean if context.q > -q_max else np.nan
    return bid, ask


@dataclass(frozen=True)
class GLFT(QuotingModel):
    """Optimal quotes of a maker with exponential utility whose inventory is bounded.

    With q the inventory above target in order sizes, D the order size, g = gamma D and fills at rate A e^(-k delta):

        alpha = k g sigma^2 / 2,   eta = A (1 + g/k)^-(1 + k/g),   c = (1/g) ln(1 + g/k)
        v'_q(t) = (alpha q^2 - k mu q) v_q - eta (v_{q-1} + v_{q+1}),   v_q(T) = 1,   |q| <= q_max
        bid distance = c + (1/k) ln(v_q / v_{q+1}),   ask distance = c + (1/k) ln(v_q / v_{q-1})     (their theorem 1)

    Variants: "exact" follows v over the horizon; "stationary" is its limit far from the end, where v is the eigenvector
    of the smallest eigenvalue (their theorem 2); "closed_form" is the Gaussian approximation of that (section 4),

        c + ((2q + 1)/2 - mu/(g sigma^2)) r  and  c - ((2q - 1)/2 - mu/(g sigma^2)) r,
        r = sqrt(sigma^2 g / (2kA) (1 + g/k)^(1 + k/g)).

    Fees and adverse selection are changes of variable, exact too: with a fee f per unit and a mid that moves by xi with
    each fill, A becomes A e^(-k (f + xi/2)), each side adds f + xi/2, and ln v_q(T) = -k xi q^2 / 2.

    Args:
        gamma: risk aversion, per price unit and unit of quantity; > 0.
        k: decay of the fill rate, per price unit; > 0.
        sigma: volatility of the mid, price units per square root of a second; > 0.
        arrival_rate: A, orders a second and side; > 0.
        q_max: Q, largest inventory in order sizes, 1 to 250: at it only the reducing side is quoted, and beyond it at
            the edge's distance.
        fee_per_unit: maker fee f, price units a unit; negative is a rebate.
        variant: "stationary", "exact" or "closed_form".
        horizon_s: T in seconds; "exact" needs it, the others do not know time.
        drift: mu of the mid, price units a second.
        adverse_move: xi, price units that the mid moves against the maker with each fill; >= 0.
        order_size: D, units of quantity; > 0.

    Raises:
        ConfigError: a parameter out of range. UnknownNameError: no such variant.
    """

    gamma: float
    k: float
    sigma: float
    arrival_rate: float
    q_max: int = 30
    fee_per_unit: float = 0.0
    variant: str = "stationary"
    horizon_s: float | None = None
    drift: float = 0.0
    adverse_move: float = 0.0
    order_size: float = 1.0
    id: ClassVar[str] = "glft"
    reads_market: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    reads_sizes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._require(
            positive=("gamma", "k", "sigma", "arrival_rate", "order_size"),
            non_negative=("adverse_move",),
            finite=("fee_per_unit", "drift"),
        )
        self._require_whole("q_max", 1, Q_MAX)
        if self.variant not in VARIANTS:
            raise UnknownNameError("variant of glft", str(self.variant), VARIANTS)
        if self.horizon_s is not None:
            self._require(positive=("horizon_s",))
        elif self.variant == "exact":
            raise ConfigError('glft: variant "exact" needs a horizon_s > 0, in seconds; "stationary" does without')
        if self.horizon_s is not None:
            self._require_usual_size(factors=("horizon_s",), others=())
        self._require_usual_size(
            factors=("gamma", "k", "sigma", "arrival_rate", "order_size"),
            others=("adverse_move", "fee_per_unit", "drift"),
        )
        if not abs(self.k * self._cost) <= MOST_COST:
            raise ConfigError(
                f"glft: k * (fee_per_unit + adverse_move / 2) must be within +-{MOST_COST:g}, got "
                f"{self.k * self._cost:.6g}: no order comes that far"
            )

    @property
    def _risk(self) -> float:
        """Return gamma D."""
        return self.gamma * self.order_size

    @property
    def _making(self) -> float:
        """Return c, price units."""
        return math.log1p(self._risk / self.k) / self._risk

    @property
    def _alpha(self) -> float:
        return 0.5 * self.k * self._risk * self.sigma * self.sigma

    @property
    def _cost(self) -> float:
        """Return what each side adds for fee and adverse selection, price units."""
        return self.fee_per_unit + 0.5 * self.adverse_move

    @cached_property
    def _equation(self) -> tuple[npt.NDArray[np.float64], float]:
        """Return the diagonal and the coupling of v's equation, per second."""
        q = np.arange(-self.q_max, self.q_max + 1.0)
        caution = (1.0 + self.k / self._risk) * math.log1p(self._risk / self.k)
        eta = self.arrival_rate * math.exp(-caution - self.k * self._cost)
        return self._alpha * q**2 - self.k * self.drift * q, eta

    @cached_property
    def _table(self) -> TimeTable:
        if self.horizon_s is None:
            raise ConfigError("glft: there is no value without a horizon_s > 0, in seconds")
        q = np.arange(-self.q_max, self.q_max + 1.0)
        return time_table(*self._equation, -0.5 * self.k * self.adverse_move * q**2, self.horizon_s)

    @property
    def session_s(self) -> float:
        """Return the length of a session in seconds; infinity but for the variant that knows time."""
        return super().session_s if self.variant == "exact" else math.inf

    @property
    def certainty_equivalent(self) -> float:
        """Return what the game is worth to the maker: quote currency, whole horizon ahead, no inventory.

        It is (D/k) ln v_0(0) of the exact solution, whatever the variant.

        Raises:
            ConfigError: no horizon_s.
        """
        return self.order_size / self.k * float(self._table.log_values[self.q_max])

    @property
    def kernel(self) -> Any:
        """Return the compiled formula."""
        return {"stationary": quote_stationary, "exact": quote_in_time, "closed_form": quote_closed_form}[self.variant]

    def params(self) -> npt.NDArray[np.float64]:
        """Return the kernel's parameters.

        Raises:
            ConfigError: a horizon too long to be solved over (see `time_table`).
        """
        making = self._making + self._cost
        if self.variant == "exact":
            table = self._table
            head = [making, self.q_max, table.first_step_s, self.session_s]
            return np.concatenate([head, (table.lean / self.k).ravel()])
        diagonal, coupling = self._equation
        if self.variant == "stationary":
            _, ratios = ground_state(diagonal, coupling)
            return np.concatenate([[making, self.q_max], ratios / self.k])
        skew = math.sqrt(self._alpha / coupling) / self.k
        towards = self.drift / (self._risk * self.sigma**2) if self.drift else 0.0
        return np.array([making, skew, towards, self.q_max])

    def parts(self, record: Any) -> QuoteParts:  # noqa: ARG002  (the contract's signature)
        """Return the parts of the distances."""
        return QuoteParts(self._making, self.fee_per_unit, 0.5 * self.adverse_move)
