"""Avellaneda-Stoikov with a bounded residual on top: the room where a learned policy will live.

What it is now: the residual comes from a small fixed policy written down below, *not* from training. It says how far a
learned one may go (never more than `BOUND` of a quote's half-spread) and lets `rl_enhanced` run wherever a model can.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from marketmakerl.core.errors import UnknownNameError
from marketmakerl.core.jit import njit
from marketmakerl.models.contract import QUOTE_SIGNATURE, QuoteParts, QuotingModel

# Largest share of the half-spread by which the policy may move a quote.
BOUND = 0.30

# Rows: what the policy does (widen both sides, lean against the inventory). Columns: what it sees (a constant,
# inventory / range, |inventory| / range, share of the session left). A widening with |q| and a stronger lean towards
# the end of a session, when the A-S lean fades out: what a maker's common sense would say.
_POLICIES: dict[str, tuple[tuple[float, ...], ...]] = {
    "default": ((0.0, 0.0, 0.8, -0.1), (0.0, 1.2, 0.0, 0.0)),
    "zero": ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
}


@njit(QUOTE_SIGNATURE)
def quote_rl_enhanced(context: Any, params: Any) -> tuple[float, float]:
    """params: gamma, sigma^2, (2/gamma) ln(1 + gamma/k), horizon_s, q_range, bound, then the policy's 2 x 4 weights."""
    skew = params[0] * params[1] * context.time_left_s
    half_spread = 0.5 * (skew + params[2])
    q = context.q / params[4]
    left = context.time_left_s / params[3]
    widen = np.tanh(params[6] + params[7] * q + params[8] * abs(q) + params[9] * left)
    lean = np.tanh(params[10] + params[11] * q + params[12] * abs(q) + params[13] * left)
    reach = params[5] * half_spread
    bid = half_spread + context.q * skew
    ask = half_spread - context.q * skew
    # The two actions share the bound, so that no quote moves by more than `bound` half-spreads.
    return bid + 0.5 * reach * (widen + lean), ask + 0.5 * reach * (widen - lean)


@dataclass(frozen=True)
class RLEnhanced(QuotingModel):
    """Avellaneda-Stoikov quotes (eq. 29 and 30) moved by a policy's bounded residual.

    With h the A-S half-spread and w, l in (-1, 1) the policy's two actions (widen, lean against the inventory):

        bid distance = A-S bid + 0.3 h (w + l) / 2
        ask distance = A-S ask + 0.3 h (w - l) / 2

    Until a trained policy ships, "default" is a small fixed one (see the module's docstring) and "zero" is plain A-S.

    Args:
        policy: "default" or "zero".
        gamma, k, sigma, horizon_s: as in `AvellanedaStoikov`; the defaults are that paper's example.
        q_range: inventory in order sizes that the policy sees as 1; > 0.

    Raises:
        ConfigError: a parameter out of range. UnknownNameError: no such policy.
    """

    policy: str = "default"
    gamma: float = 0.1
    k: float = 1.5
    sigma: float = 2.0
    horizon_s: float = 1.0
    q_range: float = 10.0
    id: ClassVar[str] = "rl_enhanced"
    reads_market: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    reads_sizes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._require(positive=("gamma", "k", "sigma", "horizon_s", "q_range"))
        if self.policy not in _POLICIES:
            raise UnknownNameError("policy", str(self.policy), _POLICIES)

    @property
    def kernel(self) -> Any:
        """Return the compiled formula."""
        return quote_rl_enhanced

    def params(self) -> npt.NDArray[np.float64]:
        """Return the kernel's parameters."""
        making = 2.0 / self.gamma * math.log1p(self.gamma / self.k)
        weights = [weight for row in _POLICIES[self.policy] for weight in row]
        return np.array([self.gamma, self.sigma**2, making, self.horizon_s, self.q_range, BOUND, *weights])

    def parts(self, record: Any) -> QuoteParts:  # noqa: ARG002  (the contract's signature)
        """Return (1/gamma) ln(1 + gamma/k) as the market-making part; what the policy moves is risk and skew."""
        return QuoteParts(math.log1p(self.gamma / self.k) / self.gamma)
