"""A constant half-spread around the mid: the baseline that does not know its inventory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit
from marketmakerl.models.avellaneda_stoikov import AvellanedaStoikov
from marketmakerl.models.contract import QUOTE_SIGNATURE, QuotingModel


@njit(QUOTE_SIGNATURE)
def quote_symmetric(context: Any, params: Any) -> tuple[float, float]:  # noqa: ARG001  (the contract's signature)
    """params: half_spread."""
    return params[0], params[0]


@dataclass(frozen=True)
class Symmetric(QuotingModel):
    """Quotes `half_spread` either side of the mid, whatever the inventory.

    Args:
        half_spread: distance from the mid, price units; > 0.

    Raises:
        ConfigError: not a finite number > 0.
    """

    half_spread: float
    id: ClassVar[str] = "symmetric"
    reads_market: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    reads_sizes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._require(positive=("half_spread",))

    @property
    def kernel(self) -> Any:
        """Return the compiled formula."""
        return quote_symmetric

    @classmethod
    def of_avellaneda_stoikov(cls, gamma: float, k: float, sigma: float, horizon_s: float | None) -> Self:
        """Return the benchmark of Avellaneda & Stoikov (2008), section 3.3: their time-averaged spread, no skew.

        The spread is gamma sigma^2 T / 2 + (2/gamma) ln(1 + gamma/k). Units as in `AvellanedaStoikov`.
        """
        AvellanedaStoikov(gamma, k, sigma, horizon_s)  # the same bounds, the same errors
        if horizon_s is None:
            raise ConfigError("the time-averaged spread needs a horizon_s; there is no average over an endless session")
        return cls(0.5 * (gamma * sigma**2 * horizon_s / 2 + 2.0 / gamma * math.log1p(gamma / k)))

    def params(self) -> npt.NDArray[np.float64]:
        """Return the kernel's parameters."""
        return np.array([self.half_spread])
