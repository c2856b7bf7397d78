"""What is traded: tick, lot, contract and minimum notional, and the two places floats become integers and back."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from marketmakerl.core.errors import ConfigError

Kind = Literal["spot", "linear", "inverse"]
# The order is the code the kernels see.
KINDS: tuple[Kind, ...] = get_args(Kind)

# Decimal prices are not exact in binary: 0.3/0.1 = 2.9999999999999996. A value this close to a tick is on it.
_TICK_EPS = 1e-6


def _clean(value: float) -> float:
    """Drop the rounding error of one multiplication: 15 digits hold any decimal price, the 16th is the noise."""
    return float(f"{value:.15g}")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable instrument on one venue.

    Args:
        symbol: the unified name, e.g. "BTC/USDT" (spot), "BTC/USDT:USDT" (linear), "BTC/USD:BTC" (inverse).
        tick_size: smallest price step, in quote currency; > 0.
        lot_size: smallest quantity step, in base units (spot, linear) or contracts (inverse); > 0.
        kind: "spot", "linear" (margined and settled in quote) or "inverse" (margined and settled in base).
        contract_size: base units per unit of quantity (spot, linear), or quote units per contract (inverse); > 0.
        min_notional: smallest order value in quote currency; >= 0.

    Raises:
        ConfigError: a number out of range, or an unknown kind.
    """

    symbol: str
    tick_size: float
    lot_size: float
    kind: Kind = "spot"
    contract_size: float = 1.0
    min_notional: float = 0.0

    def __post_init__(self) -> None:
        if not self.symbol or not isinstance(self.symbol, str):
            raise ConfigError(f"instrument symbol must be a non-empty text, got {self.symbol!r}")
        if self.kind not in KINDS:
            raise ConfigError(f"instrument kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        for name in ("tick_size", "lot_size", "contract_size"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
                raise ConfigError(f"{self.symbol}: {name} must be a positive number, got {value!r}")
            object.__setattr__(self, name, float(value))  # a numpy number prints and serialises otherwise
        if not (math.isfinite(self.min_notional) and self.min_notional >= 0):
            raise ConfigError(f"{self.symbol}: min_notional must be >= 0, got {self.min_notional!r}")
        object.__setattr__(self, "min_notional", float(self.min_notional))

    @property
    def kind_code(self) -> int:
        """Return 0 for spot, 1 for linear, 2 for inverse."""
        return KINDS.index(self.kind)

    @property
    def base(self) -> str:
        """Return the base currency, e.g. "BTC"."""
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        """Return the quote currency, e.g. "USDT"."""
        return self.symbol.partition("/")[2].partition(":")[0]

    def ticks_down(self, price: float) -> int:
        """Return the highest tick at or below `price`."""
        return math.floor(price / self.tick_size + _TICK_EPS)

    def ticks_up(self, price: float) -> int:
        """Return the lowest tick at or above `price`."""
        return math.ceil(price / self.tick_size - _TICK_EPS)

    def price(self, ticks: float) -> float:
        """Return the price of a tick number, clean of binary noise (0.1 * 3 gives 0.3)."""
        return _clean(ticks * self.tick_size)

    def lots(self, qty: float) -> int:
        """Return `qty` in whole lots, rounded down; never rounds an order up."""
        return math.floor(qty / self.lot_size + _TICK_EPS)

    def qty(self, lots: float) -> float:
        """Return the quantity of a number of lots."""
        return _clean(lots * self.lot_size)

    def value(self, price: float) -> float:
        """Return what one unit of quantity is worth at `price`, in the settlement currency.

        Spot and linear: contract_size * price, in quote. Inverse: -contract_size / price, in base, so that a
        long position gains when the price rises; only differences of it have meaning.
        """
        if self.kind == "inverse":
            return -self.contract_size / price
        return self.contract_size * price

    def notional(self, price: float, qty: float) -> float:
        """Return the value of `qty` at `price` in quote currency."""
        return qty * self.contract_size * (1.0 if self.kind == "inverse" else price)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready dict; `Instrument(**it)` restores it."""
        return asdict(self)
