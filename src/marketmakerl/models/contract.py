"""The contract of a quoting model: a frozen config plus one compiled function from context to quote.

The function is compiled with `QUOTE_SIGNATURE` and handed to the engine's kernel as a first-class function, so that
the kernel is compiled once for every model there is or will be:

    @njit(QUOTE_SIGNATURE)
    def quote_wide(context, params):          # params: float64[n], whatever the model needs
        return params[0], params[0]           # (bid, ask) distance from the mid, in price units; NaN: do not quote

The same function answers `.offsets(q)` in plain Python, so there is one formula in one place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Final

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from marketmakerl.core.errors import ConfigError

MAX_INSTRUMENTS: Final = 8  # in one portfolio
CONTEXT = np.dtype(
    [
        ("ts_ns", "i8"),  # decision time
        ("mid", "f8"),  # local mid, price units (bars: the last close)
        ("best_bid", "f8"),  # local best bid and ask (bars: the last close)
        ("best_ask", "f8"),
        ("q", "f8"),  # (inventory - target) in order sizes, signed
        ("inventory", "f8"),  # units of quantity, signed
        ("time_left_s", "f8"),  # seconds to the end of the model's horizon; inf without one
        ("tick_size", "f8"),
        ("maker_fee", "f8"),  # maker fee per unit at the mid, price units; negative is a rebate
        ("best_bid_qty", "f8"),  # displayed at the local best prices, units of quantity (bars: 0)
        ("best_ask_qty", "f8"),
        ("instrument", "i8"),  # which of a portfolio's instruments is quoted, 0 if there is one only
        ("bids", "f8", (MAX_INSTRUMENTS,)),  # local best prices of all of them (ticks); NaN: none is known
        ("asks", "f8", (MAX_INSTRUMENTS,)),
        # On ticks a model may change these three before it returns:
        ("bid_qty", "f8"),  # size of a quote, units of quantity; comes in as the order size
        ("ask_qty", "f8"),
        ("take_qty", "f8"),  # > 0: buy so much at the market now, < 0: sell; comes in as 0
    ],
    align=True,
)
CONTEXT_TYPE = numba.from_dtype(CONTEXT)
QUOTE_SIGNATURE = types.UniTuple(types.float64, 2)(CONTEXT_TYPE, types.float64[::1])
QUOTE_TYPE = types.FunctionType(QUOTE_SIGNATURE)


def new_context() -> Any:
    """Return one zeroed context record; nothing is known of any instrument's best prices."""
    context = np.zeros(1, CONTEXT).view(np.recarray)[0]
    context.bids[:] = context.asks[:] = np.nan
    return context


@dataclass(frozen=True)
class QuoteContext:
    """What a model sees when it quotes, for use from Python.

    Args:
        mid: price units, > 0.
        q: inventory above target, in order sizes, signed.
        time_left_s: seconds left of the model's horizon; None takes the whole horizon.
        tick_size: price step that quotes are rounded to; None leaves them unrounded.
        maker_fee: maker fee per unit, price units.
    """

    mid: float
    q: float = 0.0
    time_left_s: float | None = None
    tick_size: float | None = None
    maker_fee: float = 0.0


@dataclass(frozen=True)
class Quote:
    """Two limit prices; None where the model stays out."""

    bid: float | None
    ask: float | None


@dataclass(frozen=True)
class QuotingModel(ABC):
    """Base of the built-in models. Subclasses are frozen dataclasses whose fields are their parameters.

    Attributes:
        id: the name on the command line.
        horizon_s: (where a model has it) length of the trading session in seconds, None for no end. In a backtest
            sessions follow one another: time left runs from horizon_s down to 0 and starts again.
        reads_others: whether the quote function reads `bids` and `asks` of a portfolio's other instruments. They are
            NaN for one that does not, which spares the engine to keep them.
        reads_market: whether the quote function reads anything but `q` and `time_left_s`. The quotes of one that does
            not are a table over time and inventory, which the model world simulates fast and evaluates exactly.
    """

    id: ClassVar[str]
    reads_others: ClassVar[bool] = False
    reads_market: ClassVar[bool] = False

    @property
    @abstractmethod
    def kernel(self) -> Any:
        """Return the compiled quote function (see the module's docstring)."""

    @abstractmethod
    def params(self) -> npt.NDArray[np.float64]:
        """Return the kernel's parameters, float64[n]."""

    @property
    def session_s(self) -> float:
        """Return the length of a session in seconds, infinity for no end."""
        horizon_s = getattr(self, "horizon_s", None)
        return math.inf if horizon_s is None else float(horizon_s)

    def offsets(self, q: float, time_left_s: float | None = None) -> tuple[float, float]:
        """Return (bid, ask) distances from the mid in price units; NaN for a side that is not quoted.

        Args:
            q: inventory above target in order sizes, signed.
            time_left_s: seconds left; None takes the whole horizon.

        Raises:
            ConfigError: q is not finite, or time_left_s is negative.
        """
        if not math.isfinite(q) or (time_left_s is not None and not time_left_s >= 0):
            raise ConfigError(f"offsets need a finite q and time_left_s >= 0, got q={q!r}, time_left_s={time_left_s!r}")
        context = new_context()
        context.q = q
        context.time_left_s = self.session_s if time_left_s is None else time_left_s
        bid, ask = self.kernel(context, self.params())
        return float(bid), float(ask)

    def quote(self, context: QuoteContext) -> Quote:
        """Return limit prices: the bid rounded down to the tick, the ask up."""
        bid, ask = self.offsets(context.q, context.time_left_s)
        return Quote(
            _rounded(context.mid - bid, context.tick_size, math.floor),
            _rounded(context.mid + ask, context.tick_size, math.ceil),
        )

    def explain(self, context: QuoteContext) -> dict[str, float | None]:
        """Return the parts that the quote is made of, in price units."""
        bid, ask = self.offsets(context.q, context.time_left_s)
        quote = self.quote(context)
        return {
            "mid": context.mid,
            "reservation_price": context.mid + (ask - bid) / 2,
            "half_spread": (ask + bid) / 2,
            "bid_offset": bid,
            "ask_offset": ask,
            "bid": quote.bid,
            "ask": quote.ask,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return id and parameters, JSON-ready."""
        return {"id": self.id, **asdict(self)}

    def _require(self, *, positive: tuple[str, ...] = (), non_negative: tuple[str, ...] = ()) -> None:
        for names, low_ok in ((positive, False), (non_negative, True)):
            for name in names:
                value = getattr(self, name)
                number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
                if not number or value < 0 or (value == 0 and not low_ok):
                    bound = ">= 0" if low_ok else "> 0"
                    raise ConfigError(f"{self.id}: {name} must be a finite number {bound}, got {value!r}")

    @classmethod
    def parameter_names(cls) -> list[str]:
        """Return the names of the parameters."""
        return [item.name for item in fields(cls)]


def _rounded(price: float, tick_size: float | None, towards: Any) -> float | None:
    if not math.isfinite(price):
        return None
    if tick_size is None:
        return price
    # 1e-6 of a tick is float noise, not a price.
    ticks = price / tick_size
    nearest = round(ticks)
    return round((nearest if abs(ticks - nearest) < 1e-6 else towards(ticks)) * tick_size, 12)
