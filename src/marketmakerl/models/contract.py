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
from functools import cache, cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from marketmakerl.core.checks import require_number, shown
from marketmakerl.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST: Final = 1e20  # of a parameter of the models that solve equations, and its inverse the smallest
MAX_INSTRUMENTS: Final = 8  # in one portfolio
MAX_MEMORY: Final = 65_536  # numbers a model may keep
MAX_DEPTH: Final = 1_000  # levels a side
MAX_TRADES: Final = 10_000
_Fields = list[tuple[str, str] | tuple[str, str, tuple[int, ...]]]
_SEEN_BY_ALL: Final[_Fields] = [
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
]
CONTEXT = np.dtype(_SEEN_BY_ALL, align=True)
CONTEXT_TYPE = numba.from_dtype(CONTEXT)
QUOTE_SIGNATURE = types.UniTuple(types.float64, 2)(CONTEXT_TYPE, types.float64[::1])
QUOTE_TYPE = types.FunctionType(QUOTE_SIGNATURE)


@cache
def context_dtype(memory: int = 0, depth: int = 0, trades: int = 0) -> np.dtype[Any]:
    """Return the layout of the context of a model that asks for more: CONTEXT, and behind it what it asks for.

    Args:
        memory: numbers that the model keeps from one decision to the next.
        depth: levels a side.
        trades: how many of the last trades.
    """
    more: _Fields = []
    if memory:
        more += [("memory", "f8", (memory,))]  # the model's own; zeros at the start
    if depth:
        # The best levels as they have reached us, the best first; NaN and 0 where there is none.
        more += [(name, "f8", (depth,)) for name in ("bid_prices", "bid_qtys", "ask_prices", "ask_qtys")]
    if trades:
        # The last trades that have reached us, the newest first; NaN and 0 where there were no more.
        more += [
            ("n_trades", "i8"),  # came since the model was last asked
            ("missed_trades", "i8"),  # of these, those too many to be shown
            ("trade_ts_ns", "i8", (trades,)),  # at the exchange
            ("trade_sides", "i8", (trades,)),  # +1 a buyer took, -1 a seller did, 0 the feed does not say
            ("trade_prices", "f8", (trades,)),
            ("trade_qtys", "f8", (trades,)),
        ]
    return np.dtype([*_SEEN_BY_ALL, *more], align=True) if more else CONTEXT


def room_in(dtype: Any) -> dict[str, int]:
    """Return how much memory, depth and trades the layout of a context has room for."""
    first = {"memory": "memory", "depth": "bid_prices", "trades": "trade_ts_ns"}
    return {what: dtype[name].shape[0] if name in dtype.names else 0 for what, name in first.items()}


def new_contexts(dtype: Any = CONTEXT) -> npt.NDArray[Any]:
    """Return an array of one context: zeros, and nothing is known of any price."""
    contexts = np.zeros(1, dtype)
    for name in ("bids", "asks", "bid_prices", "ask_prices", "trade_prices"):
        if name in contexts.dtype.names:
            contexts[name] = np.nan
    return contexts


def new_context(dtype: Any = CONTEXT) -> Any:
    """Return one context record: zeros, and nothing is known of any price."""
    return new_contexts(dtype).view(np.recarray)[0]


def head_of(contexts: npt.NDArray[Any]) -> Any:
    """Return the CONTEXT record that the first context begins with, as kernels take it."""
    return contexts.view(np.uint8)[: CONTEXT.itemsize].view(CONTEXT).view(np.recarray)[0]


@dataclass(frozen=True)
class QuoteContext:
    """What a model sees when it quotes, for use from Python.

    Args:
        mid: price units, > 0.
        q: inventory above target, in order sizes, signed.
        time_left_s: seconds left of the model's horizon, >= 0; None takes the whole horizon.
        tick_size: price step that quotes are rounded to, > 0; None leaves them unrounded.
        maker_fee: maker fee per unit, price units.
        best_bid: best bid, price units; None: unknown, the mid stands for it.
        best_ask: best ask, likewise.
        best_bid_qty: displayed at the best bid, units of quantity, >= 0; 0: unknown.
        best_ask_qty: displayed at the best ask, likewise.
        order_qty: size of a quote, units of quantity, > 0; turns `q` into an inventory.
        memory: what the model finds in its memory, for one that keeps any; zeros behind it. It is a copy.
        bid_levels: (price, quantity) of the bids, the best first, for a model that asks for depth.
        ask_levels: of the asks, likewise.
        trades: (ts_ns, price, quantity, side of the aggressor) of the last trades, the newest first, for a model that
            asks for trades. All of them are new to it.

    Raises:
        ConfigError: a value out of range.
    """

    mid: float
    q: float = 0.0
    time_left_s: float | None = None
    tick_size: float | None = None
    maker_fee: float = 0.0
    best_bid: float | None = None
    best_ask: float | None = None
    best_bid_qty: float = 0.0
    best_ask_qty: float = 0.0
    order_qty: float = 1.0
    memory: Sequence[float] = ()
    bid_levels: Sequence[tuple[float, float]] = ()
    ask_levels: Sequence[tuple[float, float]] = ()
    trades: Sequence[tuple[int, float, float, int]] = ()

    def __post_init__(self) -> None:
        for name in ("mid", "order_qty"):
            require_number(f"context: {name}", getattr(self, name), above=0.0)
        for name in ("best_bid_qty", "best_ask_qty"):
            require_number(f"context: {name}", getattr(self, name), at_least=0.0)
        for name in ("q", "maker_fee"):
            require_number(f"context: {name}", getattr(self, name))
        for name in ("tick_size", "best_bid", "best_ask"):
            if getattr(self, name) is not None:
                require_number(f"context: {name}", getattr(self, name), above=0.0)
        if self.time_left_s is not None and not self.time_left_s >= 0:
            raise ConfigError(f"context: time_left_s must be >= 0, got {self.time_left_s!r}")
        if self.best_bid is not None and self.best_ask is not None and not self.best_bid < self.best_ask:
            raise ConfigError(f"context: best_bid {self.best_bid!r} must be below best_ask {self.best_ask!r}")

    def record(self, session_s: float, dtype: Any = CONTEXT) -> Any:
        """Return it as the record that quote functions read.

        Args:
            session_s: stands for a time left of None.
            dtype: the layout of the model's context (see `context_dtype`).

        Raises:
            ConfigError: more memory than the model has.
        """
        record = new_context(dtype)
        record.mid = self.mid
        record.best_bid = self.mid if self.best_bid is None else self.best_bid
        record.best_ask = self.mid if self.best_ask is None else self.best_ask
        record.bids[0], record.asks[0] = record.best_bid, record.best_ask
        record.best_bid_qty, record.best_ask_qty = self.best_bid_qty, self.best_ask_qty
        record.q = self.q
        record.inventory = self.q * self.order_qty
        record.bid_qty = record.ask_qty = self.order_qty
        record.time_left_s = session_s if self.time_left_s is None else self.time_left_s
        record.tick_size = self.tick_size or 0.0
        record.maker_fee = self.maker_fee
        names = record.dtype.names
        room = len(record.memory) if "memory" in names else 0
        if len(self.memory) > room:
            raise ConfigError(f"context: memory has {len(self.memory)} numbers, the model has room for {room}")
        if room:
            record.memory[: len(self.memory)] = self.memory
        if "bid_prices" in names:
            _write_levels(record.bid_prices, record.bid_qtys, self.bid_levels)
            _write_levels(record.ask_prices, record.ask_qtys, self.ask_levels)
        if "trade_ts_ns" in names:
            record.n_trades = len(self.trades)
            record.missed_trades = max(0, len(self.trades) - len(record.trade_ts_ns))
            for i, trade in enumerate(self.trades[: len(record.trade_ts_ns)]):
                record.trade_ts_ns[i], record.trade_prices[i], record.trade_qtys[i], record.trade_sides[i] = trade
        return record


def _write_levels(prices: Any, qtys: Any, levels: Sequence[tuple[float, float]]) -> None:
    for i, level in enumerate(levels[: len(prices)]):
        prices[i], qtys[i] = level


@dataclass(frozen=True)
class Quote:
    """Two limit prices; None where the model stays out."""

    bid: float | None
    ask: float | None


@dataclass(frozen=True)
class QuoteParts:
    """What a model knows about its distances beyond their sum, price units a side.

    Attributes:
        market_making: what a maker who fears no inventory would ask for; None: everything that is no other part.
        fee: the maker fee that the quote earns back.
        adverse_selection: the move of the mid against the maker that it earns back.
        book_skew: how far both quotes stand lower for what the book shows.
    """

    market_making: float | None = None
    fee: float = 0.0
    adverse_selection: float = 0.0
    book_skew: float = 0.0


@dataclass(frozen=True)
class QuotingModel(ABC):
    """Base of the built-in models. Subclasses are frozen dataclasses whose fields are their parameters.

    Attributes:
        id: the name on the command line, and in tables and errors.
        horizon_s: (where a model has it) length of the trading session in seconds, None for no end. In a backtest
            sessions follow one another: time left runs from horizon_s down to 0 and starts again.
        reads_others: whether the quote function reads `bids` and `asks` of a portfolio's other instruments. They are
            NaN for one that does not, which spares the engine to keep them.
        reads_market: whether the quote function reads anything but `q` and `time_left_s`; it may, unless a model says
            that it does not. The quotes of one that does not are a table over time and inventory, which the model
            world simulates fast and evaluates exactly.
        reads_clock: whether the quote function's answer depends on `ts_ns`, or on how often it is asked. One that does
            not (and has no horizon) says what it said while it sees nothing new, so the engine counts such decisions
            without asking it.
        reads_sizes: whether it depends on `best_bid_qty` and `best_ask_qty`. To one that does not, a top of the book
            that changes in nothing else is nothing new.
    """

    id: ClassVar[str] = "own"
    reads_others: ClassVar[bool] = False
    reads_market: ClassVar[bool] = True
    reads_clock: ClassVar[bool] = True
    reads_sizes: ClassVar[bool] = True

    @property
    @abstractmethod
    def kernel(self) -> Any:
        """Return the compiled quote function (see the module's docstring)."""

    @abstractmethod
    def params(self) -> npt.NDArray[np.float64]:
        """Return the kernel's parameters, float64[n]."""

    @property
    def context_dtype(self) -> Any:
        """Return the layout of the record that the quote function reads: CONTEXT, or one that begins with it."""
        return CONTEXT

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
        context = new_context(self.context_dtype)
        context.q = q
        context.time_left_s = self.session_s if time_left_s is None else time_left_s
        return self.distances(context)

    def distances(self, record: Any) -> tuple[float, float]:
        """Return (bid, ask) distances from the mid for a record of the model's context, as an engine's kernel would."""
        bid, ask = self.kernel(record, self._params_once)
        return float(bid), float(ask)

    @cached_property
    def _params_once(self) -> npt.NDArray[np.float64]:
        return self.params()

    def quote(self, context: QuoteContext) -> Quote:
        """Return limit prices: the bid rounded down to the tick, the ask up."""
        bid, ask = self.distances(context.record(self.session_s, self.context_dtype))
        return Quote(
            _rounded(context.mid - bid, context.tick_size, math.floor),
            _rounded(context.mid + ask, context.tick_size, math.ceil),
        )

    def quotes(self, context: QuoteContext) -> list[Quote]:
        """Return the quotes of all levels, the best first; a plain model has one."""
        return [self.quote(context)]

    def parts(self, record: Any) -> QuoteParts:  # noqa: ARG002  (models that read the market do)
        """Return what the model knows about the parts of its distances at a CONTEXT record."""
        return QuoteParts()

    def explain(self, context: QuoteContext) -> dict[str, float | None]:
        """Return the parts that the quote is made of, in price units; None for what is not quoted.

        They add up:

            bid_offset = market_making + risk + fee + adverse_selection + skew
            ask_offset = market_making + risk + fee + adverse_selection - skew
            bid = mid - bid_offset - bid_rounding,   ask = mid + ask_offset + ask_rounding
            skew = inventory_skew + book_skew,   reservation_price = mid - skew
            half_spread = (bid_offset + ask_offset) / 2

        `risk` is what both sides ask for bearing inventory, `inventory_skew` what they lean against the one held. At
        the edge of a model's range, where it quotes one side only, the two cannot be told apart: all of it is skew.
        """
        record = context.record(self.session_s, self.context_dtype)
        bid, ask = (None if math.isnan(offset) else offset for offset in self.distances(record))
        quote = self.quote(context)
        split = _split(bid, ask, self.parts(record))
        skew, both = split["skew"], bid is not None and ask is not None
        return {
            "mid": context.mid,
            "reservation_price": context.mid - skew if both and skew is not None else None,
            "half_spread": (ask + bid) / 2 if bid is not None and ask is not None else None,
            **split,
            "bid_offset": bid,
            "ask_offset": ask,
            "bid_rounding": _gap(context, bid, quote.bid, 1),
            "ask_rounding": _gap(context, ask, quote.ask, -1),
            "bid": quote.bid,
            "ask": quote.ask,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return id and parameters, JSON-ready."""
        return {"id": self.id, **asdict(self)}

    def _require(
        self, *, positive: tuple[str, ...] = (), non_negative: tuple[str, ...] = (), finite: tuple[str, ...] = ()
    ) -> None:
        for name in positive:
            require_number(f"{self.id}: {name}", getattr(self, name), above=0.0)
        for name in non_negative:
            require_number(f"{self.id}: {name}", getattr(self, name), at_least=0.0)
        for name in finite:
            require_number(f"{self.id}: {name}", getattr(self, name))

    def _require_usual_size(self, *, factors: tuple[str, ...], others: tuple[str, ...]) -> None:
        """Refuse numbers so large, and factors so small, that products of them leave the range of a float."""
        for name in (*factors, *others):
            size = abs(getattr(self, name))
            if size > LARGEST or (size < 1.0 / LARGEST and name in factors):
                low = f"from {1.0 / LARGEST:g} " if name in factors else ""
                raise ConfigError(f"{self.id}: {name} must be {low}up to {LARGEST:g} in size, got {size!r}")

    def _require_whole(self, name: str, low: int, high: int) -> None:
        """Check a whole number and store it as an int; 30.0 is one too, for names and values come as text."""
        value = getattr(self, name)
        number = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
        if not number or value != int(value) or not low <= value <= high:
            raise ConfigError(f"{self.id}: {name} must be a whole number from {low} to {high}, got {shown(value)}")
        object.__setattr__(self, name, int(value))

    @classmethod
    def parameter_names(cls) -> list[str]:
        """Return the names of the parameters."""
        return [item.name for item in fields(cls)]


def _split(bid: float | None, ask: float | None, parts: QuoteParts) -> dict[str, float | None]:
    """Return the parts of two distances (see `QuotingModel.explain`)."""
    known = parts.fee + parts.adverse_selection
    making, risk, lean = parts.market_making, 0.0, 0.0
    above = None if bid is None else bid - known - parts.book_skew
    below = None if ask is None else ask - known + parts.book_skew
    if above is None and below is None:
        return dict.fromkeys(
            ("market_making", "risk", "fee", "adverse_selection", "inventory_skew", "book_skew", "skew")
        )
    if above is None or below is None:
        side = above if below is None else below
        making = side if making is None else making
        lean = (side or 0.0) - (making or 0.0)
        lean = lean if below is None else -lean
    else:
        half = (above + below) / 2
        making = half if making is None else making
        risk, lean = half - making, (above - below) / 2
    return {
        "market_making": making,
        "risk": risk,
        "fee": parts.fee,
        "adverse_selection": parts.adverse_selection,
        "inventory_skew": lean,
        "book_skew": parts.book_skew,
        "skew": lean + parts.book_skew,
    }


def _gap(context: QuoteContext, offset: float | None, price: float | None, sign: int) -> float | None:
    """Return how much further out than its distance says a price stands; nothing but rounding moves it."""
    if offset is None or price is None:
        return None
    return 0.0 if context.tick_size is None else sign * (context.mid - price) - offset


def _rounded(price: float, tick_size: float | None, towards: Any) -> float | None:
    if not math.isfinite(price):
        return None
    if tick_size is None:
        return price
    # 1e-6 of a tick is float noise, not a price.
    ticks = price / tick_size
    nearest = round(ticks)
    return round((nearest if abs(ticks - nearest) < 1e-6 else towards(ticks)) * tick_size, 12)
