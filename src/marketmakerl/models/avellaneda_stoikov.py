"""Avellaneda & Stoikov, "High-frequency trading in a limit order book", Quantitative Finance 8(3), 2008."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from marketmakerl.core.checks import shown
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit
from marketmakerl.models.contract import QUOTE_SIGNATURE, QuoteParts, QuotingModel

# Inventory range of the infinite-horizon formula, whose authors leave its bound to the user (their section 2.3).
INFINITE_Q_MAX = 10


@njit(QUOTE_SIGNATURE)
def quote_avellaneda_stoikov(context: Any, params: Any) -> tuple[float, float]:
    """Finite horizon; params: gamma, sigma^2, (2/gamma) ln(1 + gamma/k)."""
    skew = params[0] * params[1] * context.time_left_s
    half_spread = 0.5 * (skew + params[2])
    return half_spread + context.q * skew, half_spread - context.q * skew


@njit(QUOTE_SIGNATURE)
def quote_rolling_horizon(context: Any, params: Any) -> tuple[float, float]:
    """A whole horizon ahead, always; params: gamma sigma^2 T, (2/gamma) ln(1 + gamma/k)."""
    half_spread = 0.5 * (params[0] + params[1])
    return half_spread + context.q * params[0], half_spread - context.q * params[0]


@njit(QUOTE_SIGNATURE)
def quote_infinite_horizon(context: Any, params: Any) -> tuple[float, float]:
    """Infinite horizon; params: gamma, q_max, (2/gamma) ln(1 + gamma/k)."""
    q_max = params[1]
    q = min(max(context.q, -q_max), q_max)
    room = (q_max + 1.0) ** 2 - q * q
    # Beyond the range the formula has no value: only the side that brings the inventory back is quoted.
    bid, ask = np.nan, np.nan
    if q < q_max:
        bid = 0.5 * params[2] - np.log(1.0 - (1.0 + 2.0 * q) / room) / params[0]
    if q > -q_max:
        ask = 0.5 * params[2] + np.log(1.0 + (1.0 - 2.0 * q) / room) / params[0]
    return bid, ask


@dataclass(frozen=True)
class AvellanedaStoikov(QuotingModel):
    """Quotes around a reservation price that leans against the inventory.

    With q the inventory above target in order sizes and T - t the time left:

        reservation price  r = S - q gamma sigma^2 (T - t)                            (eq. 29)
        total spread       gamma sigma^2 (T - t) + (2/gamma) ln(1 + gamma/k)          (eq. 30), centred on r

    With `rolling` the end never comes nearer: T - t is always `horizon_s`. Without a horizon (`horizon_s=None`) the
    stationary reservation prices of their section 2.3, with
    omega = gamma^2 sigma^2 (q_max + 1)^2 / 2 and q_max = 10 order sizes; sigma then cancels out of the formula.

    Args:
        gamma: risk aversion, per price unit and order size; > 0.
        k: decay of the fill rate A e^(-k delta), per price unit; > 0.
        sigma: volatility of the mid, price units per square root of a second; > 0.
        horizon_s: length of a session in seconds; > 0, or None.
        rolling: whether the horizon moves along instead of coming to an end.

    Raises:
        ConfigError: a parameter out of range.
    """

    gamma: float
    k: float
    sigma: float
    horizon_s: float | None
    rolling: bool = False
    id: ClassVar[str] = "avellaneda_stoikov"
    reads_market: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    reads_sizes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._require(positive=("gamma", "k", "sigma"))
        if self.horizon_s is not None:
            self._require(positive=("horizon_s",))
        if self.rolling not in (False, True):
            raise ConfigError(f"{self.id}: rolling must be true or false (1 or 0), got {shown(self.rolling)}")
        if self.rolling and self.horizon_s is None:
            raise ConfigError(f"{self.id}: a rolling horizon needs a horizon_s > 0, in seconds")
        object.__setattr__(self, "rolling", bool(self.rolling))
        horizon = () if self.horizon_s is None else ("horizon_s",)
        self._require_usual_size(factors=("gamma", "k", *horizon), others=("sigma",))

    @property
    def session_s(self) -> float:
        """Return the length of a session in seconds; a rolling horizon has no end."""
        return math.inf if self.rolling else super().session_s

    @property
    def kernel(self) -> Any:
        """Return the compiled formula."""
        if self.rolling:
            return quote_rolling_horizon
        return quote_infinite_horizon if self.horizon_s is None else quote_avellaneda_stoikov

    def params(self) -> npt.NDArray[np.float64]:
        """Return the kernel's parameters."""
        making = 2.0 / self.gamma * math.log1p(self.gamma / self.k)
        if self.horizon_s is None:
            return np.array([self.gamma, INFINITE_Q_MAX, making])
        if self.rolling:
            return np.array([self.gamma * self.sigma**2 * self.horizon_s, making])
        return np.array([self.gamma, self.sigma**2, making])

    def parts(self, record: Any) -> QuoteParts:  # noqa: ARG002  (the contract's signature)
        """Return (1/gamma) ln(1 + gamma/k) as the market-making part."""
        return QuoteParts(math.log1p(self.gamma / self.k) / self.gamma)
