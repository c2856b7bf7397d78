"""Quotes that lean with the book: any of the models that price inventory, moved by what the best level shows.

Stoikov, "The micro-price: a high-frequency estimator of future prices", Quantitative Finance 18(12), 2018, weights the
best prices by the quantity on the other side; Cartea, Donnelly & Jaimungal, "Enhancing trading strategies with order
book signals", Applied Mathematical Finance 25(1), 2018, lean on the imbalance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from marketmakerl.core.checks import shown
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.core.jit import njit
from marketmakerl.models.avellaneda_stoikov import (
    quote_avellaneda_stoikov,
    quote_infinite_horizon,
    quote_rolling_horizon,
)
from marketmakerl.models.contract import QUOTE_SIGNATURE, QuoteParts, QuotingModel
from marketmakerl.models.glft import quote_closed_form
from marketmakerl.models.inventory_quotes import quote_in_time, quote_stationary
from marketmakerl.models.symmetric import quote_symmetric

if TYPE_CHECKING:
    import numpy.typing as npt

SIGNALS: Final = ("microprice", "imbalance")
_HEAD: Final = 2


@njit()
def book_shift(context: Any, params: Any) -> float:
    """Return how far the book moves both quotes up, price units; params: which signal, its weight."""
    shown = context.best_bid_qty + context.best_ask_qty
    if not shown > 0.0:
        return 0.0
    if params[0] == 0.0:
        weighted = context.best_bid * context.best_ask_qty + context.best_ask * context.best_bid_qty
        return float(params[1] * (weighted / shown - context.mid))
    return float(params[1] * (context.best_bid_qty - context.best_ask_qty) / shown)


# One compiled function a base: a function made at run time would have no place in the compiler's cache on disk.
@njit(QUOTE_SIGNATURE)
def skewed_symmetric(context: Any, params: Any) -> tuple[float, float]:
    """params: which signal, its weight, then the base's."""
    bid, ask = quote_symmetric(context, params[_HEAD:])
    shift = book_shift(context, params)
    return bid - shift, ask + shift


@njit(QUOTE_SIGNATURE)
def skewed_avellaneda_stoikov(context: Any, params: Any) -> tuple[float, float]:
    """params: which signal, its weight, then the base's."""
    bid, ask = quote_avellaneda_stoikov(context, params[_HEAD:])
    shift = book_shift(context, params)
    return bid - shift, ask + shift


@njit(QUOTE_SIGNATURE)
def skewed_rolling_horizon(context: Any, params: Any) -> tuple[float, float]:
    """params: which signal, its weight, then the base's."""
    bid, ask = quote_rolling_horizon(context, params[_HEAD:])
    shift = book_shift(context, params)
    return bid - shift, ask + shift


@njit(QUOTE_SIGNATURE)
def skewed_infinite_horizon(context: Any, params: Any) -> tuple[float, float]:
    """params: which signal, its weight, then the base's."""
    bid, ask = quote_infinite_horizon(context, params[_HEAD:])
    shift = book_shift(context, params)
    return bid - shift, ask + shift


@njit(QUOTE_SIGNATURE)
def skewed_closed_form(context: Any, params: Any) -> tuple[float, float]:
    """params: which signal, its weight, then the base's."""
    bid, ask = quote_closed_form(context, params[_HEAD:])
    shift = book_shift(context, params)
    return bid - shift, ask + shift


@njit(QUOTE_SIGNATURE)
def skewed_stationary(context: Any, params: Any) -> tuple[float, float]:
    """params: which signal, its weight, then the base's."""
    bid, ask = quote_stationary(context, params[_HEAD:])
    shift = book_shift(context, params)
    return bid - shift, ask + shift


@njit(QUOTE_SIGNATURE)
def skewed_in_time(context: Any, params: Any) -> tuple[float, float]:
    """params: which signal, its weight, then the base's."""
    bid, ask = quote_in_time(context, params[_HEAD:])
    shift = book_shift(context, params)
    return bid - shift, ask + shift


_SKEWED: Final[dict[Any, Any]] = {
    quote_symmetric: skewed_symmetric,
    quote_avellaneda_stoikov: skewed_avellaneda_stoikov,
    quote_rolling_horizon: skewed_rolling_horizon,
    quote_infinite_horizon: skewed_infinite_horizon,
    quote_closed_form: skewed_closed_form,
    quote_stationary: skewed_stationary,
    quote_in_time: skewed_in_time,
}


@dataclass(frozen=True)
class Skewed(QuotingModel):
    """The quotes of `base`, both moved by what the best level of the book shows.

    With b, a the quantities displayed at the best bid B and ask A, and I = (b - a)/(b + a) the imbalance:

        "microprice":  both quotes move by weight (P - mid),  P = (B a + A b)/(b + a),  which is I (A - B)/2 off the mid
        "imbalance":   both quotes move by weight I

    upwards where the bid shows more. The first is bounded by the market's spread, the second by `weight` alone. Where
    no depth is known, as on bars, nothing moves.

    Args:
        base: Symmetric, AvellanedaStoikov, GLFT or CarteaJaimungal.
        signal: "microprice" or "imbalance".
        weight: of the microprice a pure number, of the imbalance price units; negative leans the other way.

    Raises:
        ConfigError: another base, or a weight that is not finite. UnknownNameError: no such signal.
    """

    base: QuotingModel
    signal: str = "microprice"
    weight: float = 1.0
    id: ClassVar[str] = "skewed"
    reads_clock: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.signal not in SIGNALS:
            raise UnknownNameError("signal", str(self.signal), SIGNALS)
        self._require(finite=("weight",))
        if not isinstance(self.base, QuotingModel) or self.base.kernel not in _SKEWED or hasattr(self.base, "levels"):
            raise ConfigError(
                f"a book skew goes on Symmetric, AvellanedaStoikov, GLFT or CarteaJaimungal, not on {shown(self.base)}"
            )
        object.__setattr__(self, "id", f"{self.base.id}_{self.signal}")

    @property
    def session_s(self) -> float:
        """Return the base's."""
        return self.base.session_s

    @property
    def kernel(self) -> Any:
        """Return the compiled formula."""
        return _SKEWED[self.base.kernel]

    def params(self) -> npt.NDArray[np.float64]:
        """Return the kernel's parameters."""
        return np.concatenate([[float(SIGNALS.index(self.signal)), self.weight], self.base.params()])

    def parts(self, record: Any) -> QuoteParts:
        """Return the base's parts and the book's."""
        shift = float(book_shift(record, self._params_once[:_HEAD]))
        return replace(self.base.parts(record), book_skew=-shift)

    def as_dict(self) -> dict[str, Any]:
        """Return id and parameters, JSON-ready."""
        return {"id": self.id, "base": self.base.as_dict(), "signal": self.signal, "weight": self.weight}
