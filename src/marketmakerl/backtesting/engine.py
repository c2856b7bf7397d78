"""The tick engine in Python's hands: its state, its arrays, and how they grow. The step itself is compiled."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from marketmakerl.backtesting.arguments import (
    BAR_VOLUME_SHARE,
    check_fees,
    finite_number,
    opening_balance,
    order_size,
    target_lots,
)
from marketmakerl.backtesting.exchange.funding import FUNDING, funding_rows
from marketmakerl.backtesting.exchange.queue import FIFO, Queue
from marketmakerl.backtesting.exchange.venue import VenueRules
from marketmakerl.backtesting.layout import (
    ANSWER,
    BOOK,
    BOOK_MEMORY,
    FEED_ROW,
    FILL,
    HORIZONS_NS,
    MARKOUT,
    MAX_OWN,
    MEMORY,
    NEVER,
    ORDER,
    OWN,
    PARAMS,
    PENDING,
    REQUEST,
    SAMPLE,
    SCRIPT,
    SEEN_TRADE,
    STATE,
    TOP,
    Mode,
    Stop,
    new_record,
)
from marketmakerl.backtesting.maker.local_view import local_equity, seen_mid
from marketmakerl.backtesting.order_script import OrderScript
from marketmakerl.backtesting.results.risk_log import halt_by_hand, notes_until, reset_by_hand, risk_events
from marketmakerl.backtesting.step import advance, finish
from marketmakerl.backtesting.wire.latency import LATENCY, Latency
from marketmakerl.core.errors import ConfigError, DataFormatError
from marketmakerl.core.ledger import open_ledger
from marketmakerl.core.memory import address_of
from marketmakerl.data.tape import COLUMNS, Kind
from marketmakerl.data.tick_checks import check_bars, check_ticks
from marketmakerl.models.contract import CONTEXT, new_contexts, room_in
from marketmakerl.models.raised import asking, moment
from marketmakerl.models.symmetric import Symmetric
from marketmakerl.risk.limits import RiskLimits
from marketmakerl.risk.state import open_risk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    import numpy.typing as npt

    from marketmakerl.core.fees import Fees
    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape
    from marketmakerl.models.contract import QuotingModel

DEFAULT_INTERVAL_NS = 100_000_000
_EQUITY_INTERVAL_NS = 1_000_000_000
_WINDOW_TICKS = 1 << 17
# Rows of a chunk: emptying them costs the kernel a way out, and from 4 MB on numpy asks for large pages.
_CHUNK = 1 << 16
_OUTPUTS = (("fills", FILL), ("orders", ORDER), ("samples", SAMPLE), ("markouts", MARKOUT))
_RINGS = (("requests", REQUEST, "request", 256), ("answers", ANSWER, "answer", 256), ("tops", TOP, "top", 4096),
          ("pending", PENDING, "pending", 4096))  # fmt: skip
_FEED_RING = ("feed", FEED_ROW, "feed", 4096)
_FAR_LEVELS = 1024
_TIMES = ("limit_ns", "meets_ns", "wake_ns", "rest_ns", "script_ns", "clock_ns", "markout_ns",
          "sample_ns", "funding_ns", "margin_ns", "watch_ns", "look_ns", "retry_ns")  # fmt: skip
_WAKES = {
    "depth": (Kind.DEPTH_BID, Kind.DEPTH_ASK, Kind.SNAPSHOT),
    "bbo": (Kind.BBO_BID, Kind.BBO_ASK),
    "trade": (Kind.TRADE_SELL, Kind.TRADE_BUY, Kind.TRADE),
    "response": (),
}


class WorkingOrder(NamedTuple):
    """An open order of ours, as we know it."""

    order_id: int
    price_ticks: int
    left_lots: int


class Engine:
    """One model, or one script of orders, trading one instrument on ticks.

    Attributes:
        state: the engine's STATE record.
        latency, queue, rules: what it assumes of them and of the venue.
        is_funded: whether positions pay funding.
    """

    def __init__(
        self,
        instrument: Instrument,
        model: QuotingModel | OrderScript,
        *,
        fees: Fees,
        order_qty: float,
        cash: float,
        first_price: float,
        latency: Latency | None = None,
        queue: Queue | str | None = None,
        quote_interval_ns: int | None = None,
        quote_on: str | Iterable[str] | None = None,
        risk: RiskLimits | None = None,
        initial_inventory: float | None = None,
        target_inventory: float | None = None,
        post_only: bool = True,
        requote_threshold_ticks: int = 0,
        equity_interval_ns: int = _EQUITY_INTERVAL_NS,
        book_window_ticks: int = _WINDOW_TICKS,
        log_orders: bool = True,
        bars: bool = False,
        bar_volume_share: float = BAR_VOLUME_SHARE,
        venue: VenueRules | None = None,
        funding: Any = None,
    ) -> None:
        """Open the books; arguments as in `backtest`.

        Args not there:
            first_price: at which a spot budget is split.
            book_window_ticks: levels within so many ticks of each other are held densely, a power of two >= 64; what
                lies outside is held too, only slower.
            bars: whether the events will be bars (rule 8) instead of ticks.

        Raises:
            ConfigError: an argument out of range, or one that does not fit the instrument.
            DataError: a funding series that cannot be used.
        """
        check_fees(fees)
        self.rules = venue or VenueRules()
        self.rules.check(instrument, bars=bars, funding=funding is not None)
        self.is_funded = funding is not None
        self._funding = funding_rows(funding)
        self.latency = latency or Latency()
        limits = risk or RiskLimits()
        cash, position_lots = opening_balance(instrument, cash, initial_inventory, first_price)
        self._script = _script_rows(model, instrument)
        quotes = None if isinstance(model, OrderScript) else model
        params = new_record(PARAMS)
        _set_instrument(params, instrument)
        params.order_lots = order_size(instrument, order_qty)
        params.order_qty = params.order_lots * instrument.lot_size
        params.target_lots = target_lots(instrument, target_inventory, position_lots)
        _set_model(params, quotes)
        params.post_only = int(post_only)
        params.requote_threshold_ticks = _whole("requote_threshold_ticks", requote_threshold_ticks, 0)
        params.risk_on = int(quotes is not None and limits != RiskLimits.off())
        params.simple = int(not params.spot and params.min_notional == 0.0)
        params.plain = int(params.simple and not params.risk_on)
        params.equity_interval_ns = _whole("equity_interval_ns", equity_interval_ns, 1)
        params.feed_offset_ns = self.latency.feed_offset_ns
        params.entry_ns = self.latency.entry_ns
        params.response_ns = self.latency.response_ns
        params.script_rows = len(self._script)
        params.log_orders = int(log_orders)
        if bars:
            _set_bars(params, bar_volume_share, limits, quotes is not None)
        else:
            _set_clock(params, quote_interval_ns, quote_on, quotes is not None)
        chosen = Queue.of(queue)
        params.queue, params.queue_power, params.queue_variant = chosen.kind, chosen.exponent, chosen.variant
        self.queue = chosen
        self._model = quotes or Symmetric(half_spread=1.0)  # a script never asks it
        self._params = params
        self._risk = limits.record(learns=not bars)
        self._overrides: dict[int, str] = {}
        _set_room(params, self._model)
        self._model_params = self._model.params()
        self._instrument = instrument
        self._open_arrays(book_window_ticks)
        self.rules.write(params, self.state, fees)
        open_ledger(self.state.ledger, instrument, cash, position_lots)
        self.state.local.lots = position_lots
        self.state.local.cash = cash

    def _open_arrays(self, book_window_ticks: int) -> None:
        bits = _whole("book_window_ticks", book_window_ticks, 64).bit_length() - 1
        if 1 << bits != book_window_ticks:
            raise ConfigError(f"book_window_ticks must be a power of two, got {book_window_ticks}")
        self._memory = new_record(MEMORY)
        self._rings = (*_RINGS, _FEED_RING) if self._params.reads_feed else _RINGS
        self._contexts: Any = new_contexts().view(np.recarray)
        self._context = self._contexts[0]
        self._context.tick_size = self._instrument.tick_size
        self._state = np.zeros(1, STATE).view(np.recarray)
        self.state = state = self._state[0]
        levels = int(self._params.levels)
        own_cap = max(64, 8 * levels)
        state.book.window_bits = bits
        state.book.mode = int(Mode.OPENING)
        state.book.far_cap = _FAR_LEVELS
        state.own.cap = state.own.n_free = own_cap
        state.one_price = self._params.bars
        self._context.time_left_s = np.inf
        _open_state(state)
        open_risk(state.risk, self._risk)
        self._arrays: dict[str, Any] = {
            "own": np.zeros(own_cap, OWN),
            "free": np.arange(own_cap)[::-1].copy(),
            "live": np.zeros(own_cap, np.int64),
            "work": np.zeros(2 * own_cap, np.int64),
            "want": np.zeros(4 * levels, np.int64),
            "book": np.zeros(2 << bits, np.int64),
            "far_ticks": np.zeros(2 * _FAR_LEVELS, np.int64),
            "far_lots": np.zeros(2 * _FAR_LEVELS, np.int64),
            "shown": new_contexts(self._model.context_dtype),
        }
        if self._params.reads_feed:
            self._arrays |= _seen_arrays(bits if self._params.depth else 0, int(self._params.trades))
            self._params.trades_mask = len(self._arrays["seen_trades"]) - 1
            self._book_memory = np.zeros(1, BOOK_MEMORY)
        for name, dtype, field, rows in self._rings:
            self._arrays[name] = np.zeros(rows, dtype)
            setattr(_ring_of(state, field), f"{field}_mask", rows - 1)
        series = self.latency.series
        self._fixed = {
            "script": self._script if len(self._script) else np.zeros(1, SCRIPT),
            "latency": series if series is not None else np.zeros(1, LATENCY),
        }
        self._since: Any = None  # the column of the rows under way
        self._shown_from: dict[str, Any] = {}
        self._params.latencies = 0 if series is None else len(series)
        if len(self._funding):
            state.due.funding_ns = int(self._funding["ts_ns"][0])
        self._params.funding_rows = len(self._funding)
        self._funding = self._funding if len(self._funding) else np.zeros(1, FUNDING)
        self._params.funding_at = address_of(self._funding)
        self._outputs = {name: np.empty(_CHUNK, dtype) for name, dtype in _OUTPUTS}
        self._kept: dict[str, list[Any]] = {name: [] for name, _ in _OUTPUTS}
        self._hand_in(None)

    def _place(self) -> None:
        """Write down where the arrays lie."""
        memory = self._memory
        for name, array in (self._arrays | self._fixed | self._outputs | self._columns).items():
            setattr(memory, name, address_of(array))
        memory.rows = self._rows_in
        for name, array in self._outputs.items():
            setattr(memory, f"{name}_cap", len(array))
        memory.since = self._since_address()
        if self._params.reads_feed:
            self._place_seen()

    def _place_seen(self) -> None:
        """Write down where depth and trades are kept and shown, for a model that asks for them."""
        memory, arrays = self._memory, self._arrays
        places = self._book_memory
        places["book"] = address_of(arrays["seen_levels"])
        places["far_ticks"], places["far_lots"] = (
            address_of(arrays["seen_far_ticks"]),
            address_of(arrays["seen_far_lots"]),
        )
        memory.seen_book_at = address_of(places)
        fields = arrays["shown"].dtype.fields
        for name, first, dtype in (("shown_depth", "bid_prices", np.float64), ("shown_counts", "n_trades", np.int64),
                                   ("shown_trades", "trade_prices", np.float64)):  # fmt: skip
            if first in fields:
                self._shown_from[name] = arrays["shown"].view(dtype)[fields[first][1] // 8 :]
                setattr(memory, name, address_of(self._shown_from[name]))

    def _since_address(self) -> int:
        return 0 if self._since is None else address_of(self._since)

    def feed(self, events: EventTape) -> None:
        """Go on through `events`, which follow those fed before.

        What is due at the time of the last row waits for the next call, or for `finish`: more rows of that time may
        come, and rows precede everything else.

        Raises:
            DataFormatError: a row no tick tape may have (see `check_ticks`), or a time before the last fed.
            ConfigError: queue "fifo" on a tape without `since_ns`.
        """
        if len(events) == 0:
            return
        self.begin(events)
        # A close is the last row of its time: whatever opens then comes after what is due (see `advance`).
        whole = self.is_bars and int(events.kind[-1]) == Kind.BAR_CLOSE
        self._run(int(self.state.last_ns) - (0 if whole else 1))
        self.end()

    def begin(self, events: EventTape) -> None:
        """Hand in events for somebody else to drive the kernel through; `end` must follow. Errors as in `feed`."""
        if self.is_bars:
            check_bars(events)
        else:
            check_ticks(events)
        if self.queue.kind == FIFO and not self.is_bars and events.since_ns is None:
            raise ConfigError(
                'queue "fifo" needs a tape of single orders (EventTape.from_l3); this one holds only levels: '
                'take "risk_averse", "log" or "power"'
            )
        if int(events.ts_ns[0]) < int(self.state.last_ns):
            raise DataFormatError(f"events at {int(events.ts_ns[0])} come after those of {int(self.state.last_ns)}")
        self._hand_in(events)
        if self.state.rows == 0 and self._params.interval_ns > 0:
            self.state.due.clock_ns = int(events.ts_ns[0]) + int(self._params.interval_ns)
        if self.state.rows == 0 and len(self._script):
            self.state.due.script_ns = int(self._script["ts_ns"][0])

    def end(self) -> None:
        """Take back the events handed in: all of them have been gone through."""
        self.state.rows += self._rows_in
        self._hand_in(None)

    def move_to(self, homes: list[Any], number: int) -> None:
        """Move the records that the kernel works on into somebody else's arrays.

        Args:
            homes: record arrays of one row each, for STATE, MEMORY, PARAMS, RISK and CONTEXT.
            number: which of several instruments this one is.
        """
        own = (self._state[0], self._memory, self._params, self._risk, self._context)
        for home, record in zip(homes, own, strict=True):
            home[0] = record
        self._state, self._contexts = homes[0], homes[4]
        self.state, self._memory, self._params, self._risk, self._context = (home[0] for home in homes)
        self._context.instrument = number

    @property
    def bar_volume_share(self) -> float:
        """Return how much of a bar's volume our orders can get."""
        return float(self._params.bar_volume_share)

    @property
    def uptime_pct(self) -> float:
        """Return the share of the session through which both sides rested."""
        return float(self.state.counts.two_sided_ns) / max(1, int(self.state.last_ns - self.state.first_ns))

    @property
    def is_bars(self) -> bool:
        """Return whether it reads bars."""
        return bool(self._params.bars)

    @property
    def kernel(self) -> Any:
        """Return the model's quote function."""
        return self._model.kernel

    @property
    def model_params(self) -> Any:
        """Return the quote function's parameters, float64[n]."""
        return self._model_params

    @property
    def model_memory(self) -> npt.NDArray[np.float64]:
        """Return a copy of what the model keeps from one decision to the next, float64[its memory]."""
        shown = self._arrays["shown"]
        return np.array(shown["memory"][0]) if "memory" in shown.dtype.names else np.zeros(0)

    @property
    def decisions_read_account(self) -> bool:
        """Return whether a decision depends on more of an account than its equity: a balance, a model that looks."""
        return bool(self._params.spot or self._model.reads_others)

    @property
    def sends_need_cash(self) -> bool:
        """Return whether what is sent may be refused for want of cash or margin."""
        return bool(self._params.spot or self._params.leverage > 0.0)

    def _hand_in(self, events: EventTape | None) -> None:
        """Set the columns that the kernel reads from, from their first row on."""
        if events is not None:
            self._columns = {name: np.ascontiguousarray(getattr(events, name)) for name in COLUMNS}
            self._since = None if events.since_ns is None else np.ascontiguousarray(events.since_ns)
            self.state.last_ns = int(events.ts_ns[-1])
        else:
            self._columns = {name: np.zeros(1, dtype) for name, dtype in COLUMNS.items()}
            self._since = None
        self._rows_in = 0 if events is None else len(events)
        self.state.row = self.state.wire.sent_row = 0
        self._place()

    def _run(self, until_ns: int) -> None:
        go_on: Any = advance
        while True:
            with self.asking():
                stop = go_on(
                    self.state, self._memory, self._params, self._risk, self._context, self._model.kernel,
                    self._model_params, until_ns,
                )  # fmt: skip
            if stop == Stop.DONE:
                return
            self.carry_on(stop)

    def asking(self) -> AbstractContextManager[None]:
        """Return a context for calls of the kernel: what the model raises there comes out as a `ModelError`."""
        return asking(self._model, lambda: moment(self._context))

    def carry_on(self, stop: int) -> None:
        """Do what the kernel came out for, so that it can be called again."""
        if stop == Stop.ASK:
            self.state.local.quote_offset[0], self.state.local.quote_offset[1] = self._ask()
            self.state.local.answered = 1
        else:
            self._make_room()

    def _ask(self) -> tuple[float, float]:
        """Ask a plain Python model as the kernel asks a compiled one (see `maker/asking.py`)."""
        quote: Callable[[Any], tuple[float, float]] = self._model.ask  # type: ignore[attr-defined]
        shown = self._arrays["shown"]
        shown.view(np.uint8)[: CONTEXT.itemsize] = self._contexts.view(np.uint8, np.ndarray)
        answer = quote(shown.view(np.recarray)[0])
        for name in ("bid_qty", "ask_qty", "take_qty"):
            self._contexts[name] = shown[name]
        return answer

    def finish(self) -> None:
        """End the session: handle what is due at the last row, then let everything open expire."""
        self._run(int(self.state.last_ns))
        while finish(self.state, self._memory, self._params) != Stop.DONE:
            self._make_room()
        self._empty()

    def _empty(self) -> None:
        """Put what has been written aside; a buffer that is nearly full goes whole, and a new one takes its place."""
        written = self.state.out
        replaced = False
        for name, buffer in self._outputs.items():
            used = int(written[f"n_{name}"])
            if used > len(buffer) // 2:
                self._kept[name].append(buffer[:used])
                self._outputs[name] = np.empty(len(buffer), buffer.dtype)
                replaced = True
            elif used:
                self._kept[name].append(np.array(buffer[:used]))
            written[f"n_{name}"] = 0
        if replaced:
            self._place()

    def _make_room(self) -> None:
        """Empty the outputs, and enlarge what is too small for what comes next.

        Raises:
            AssertionError: there is room already, so that calling again would go on for ever: a bug.
        """
        state = self.state
        full = any(int(getattr(state.out, f"n_{name}")) for name in self._outputs)
        before = self._sizes()
        self._empty()
        need = int(state.out.need) + int(state.own.n_live) + 8
        for name, buffer in self._outputs.items():
            if len(buffer) < 2 * need:
                self._outputs[name] = np.empty(4 * need, buffer.dtype)
        self._enlarge_rings(need)
        if int(state.own.n_free) < 2 * int(self._params.levels) + 2:
            self._enlarge_own()
        self._enlarge_far(need)
        if not full and self._sizes() == before:
            raise AssertionError("the tick engine asks for room that it has")
        state.out.need = 0
        self._place()

    def _enlarge_rings(self, need: int) -> None:
        state = self.state
        firsts = {
            "request": int(state.wire.request_first),
            "answer": int(state.wire.answer_first),
            "top": max(int(state.wire.top_seen), 0),
            "pending": int(state.pending_first[len(HORIZONS_NS) - 1]),
            "feed": int(state.wire.feed_first),
        }
        for name, _, field, _ in self._rings:
            first, end = firsts[field], int(getattr(_ring_of(state, field), f"{field}_end"))
            old = self._arrays[name]
            if end - first + need + 2 <= len(old):
                continue
            new = np.zeros(len(old) * 2, old.dtype)
            while len(new) < end - first + need + 2:
                new = np.zeros(len(new) * 2, old.dtype)
            at = np.arange(first, end)
            new[at & (len(new) - 1)] = old[at & (len(old) - 1)]
            self._arrays[name] = new
            setattr(_ring_of(state, field), f"{field}_mask", len(new) - 1)

    def _enlarge_far(self, need: int) -> None:
        """Enlarge the store of a book's far levels: the exchange's, and ours where we keep one."""
        books = [(self.state.book, "")]
        if self._params.depth:
            books.append((self._arrays["seen_book"].view(np.recarray)[0], "seen_"))
        for book, prefix in books:
            if max(book.n_far) + need >= book.far_cap:
                book.far_cap = 2 * int(book.far_cap) + need
                for name in (f"{prefix}far_ticks", f"{prefix}far_lots"):
                    self._arrays[name] = _two_sided(self._arrays[name], int(book.far_cap))

    def _sizes(self) -> list[int]:
        return [len(array) for array in (self._arrays | self._outputs).values()]

    def _enlarge_own(self) -> None:
        state = self.state
        old, new = int(state.own.cap), 2 * int(state.own.cap)
        if new > MAX_OWN:
            raise ConfigError(f"more than {old} own orders at once; what does the model do?")
        arrays = self._arrays
        own = np.zeros(new, OWN)
        own[:old] = arrays["own"]
        free = np.zeros(new, np.int64)
        free[: state.own.n_free] = arrays["free"][: state.own.n_free]
        free[state.own.n_free : state.own.n_free + old] = np.arange(new - 1, old - 1, -1)
        live = np.zeros(new, np.int64)
        live[:old] = arrays["live"]
        arrays |= {"own": own, "free": free, "live": live, "work": _two_sided(arrays["work"], new)}
        state.own.n_free += old
        state.own.cap = new

    def snapshot(self) -> bytes:
        """Return the whole state; fills, orders, samples and markouts written so far are not part of it."""
        self._empty()
        parts = [self._state.tobytes(), self._context.tobytes()]
        for name, array in self._arrays.items():
            raw = array.tobytes()
            parts += [struct.pack("<16sQ", name.encode(), len(raw)), raw]
        return b"".join(parts)

    def restore(self, snapshot: bytes) -> None:
        """Go on from a snapshot of an engine that was opened alike."""
        cut = self._state.nbytes
        self._state[:] = np.frombuffer(snapshot[:cut], STATE)
        seen = np.frombuffer(snapshot[cut : cut + CONTEXT.itemsize], CONTEXT)[0]
        for name in CONTEXT.names or ():
            setattr(self._context, name, seen[name])
        cut += CONTEXT.itemsize
        while cut < len(snapshot):
            name, size = struct.unpack_from("<16sQ", snapshot, cut)
            cut += 24
            key = name.rstrip(b"\0").decode()
            self._arrays[key] = np.frombuffer(snapshot[cut : cut + size], self._arrays[key].dtype).copy()
            cut += size
        self._place()
        self._overrides = notes_until(self.state.risk, self._overrides)

    def halt(self, who: str, why: str) -> None:
        """Halt from outside: everything is cancelled and liquidated at once.

        Raises:
            ConfigError: nobody, or no reason, is named.
        """
        number = int(self.state.risk.n_logged)
        note = halt_by_hand(self.state.risk, int(self.state.last_ns), who, why)
        if int(self.state.risk.n_logged) > number:
            self._overrides[number] = note
        state = self.state
        state.local.settled = 0
        state.due.wake_ns = min(int(state.due.wake_ns), int(state.last_ns))
        if self.is_bars and float(state.ledger.start_mark) > 0.0:
            # Now, at the last close, and not at the next; what it costs is sampled, for no close may follow.
            state.due.sample_ns = int(state.last_ns)
            self._run(int(state.last_ns))
            self._empty()

    def reset(self, who: str, why: str) -> None:
        """Set the breakers back to ACTIVE; drawdown and daily loss count from now.

        Raises:
            ConfigError: nobody, or no reason, is named; the venue itself has closed the account.
        """
        number = int(self.state.risk.n_logged)
        mid = seen_mid(self.state, self._params)
        now = local_equity(self.state, mid) if mid > 0.0 else float(self.state.ledger.start_equity)
        closed = bool(self.state.venue.liquidated)
        self._overrides[number] = reset_by_hand(self.state.risk, int(self.state.last_ns), now, who, why, closed=closed)

    def risk_events(self) -> list[dict[str, Any]]:
        """Return what the controls did, in order (see `risk_log.risk_events`)."""
        return risk_events(self.state.risk, self._overrides)

    def fills(self, first: int = 0) -> Any:
        """Return FILL[n]: the fills from the `first`-th on."""
        return self._rows("fills")[first:]

    def orders(self) -> Any:
        """Return ORDER[n]: the orders that have ended, in the order they did."""
        return self._rows("orders")

    def samples(self) -> Any:
        """Return SAMPLE[n]: equity on the fixed interval."""
        return self._rows("samples")

    def working(self, side: int) -> list[WorkingOrder]:
        """Return our open orders of a side (0 bid, 1 ask), as we know them, the best price first."""
        first = side * int(self.state.own.cap)
        slots = self._arrays["work"][first : first + int(self.state.own.n_work[side])]
        return [
            WorkingOrder(
                int(order["order_id"]),
                int(order["local_price_ticks"]),
                int(order["local_qty_lots"] - order["local_filled_lots"]),
            )
            for order in self._arrays["own"][slots]
        ]

    def markouts(self) -> Any:
        """Return float64[n, 8]: the mid at each horizon after each fill, NaN where the data ended before it."""
        raw = self._rows("markouts")
        table = np.full((int(self.state.ledger.fills), len(HORIZONS_NS)), np.nan)
        table[raw["number"], raw["horizon"]] = raw["mid"]
        return table

    def run_log(self) -> dict[str, int]:
        """Return what the run met, by name."""
        state, counts = self.state, self.state.counts
        return {
            "rows": int(state.rows),
            "trades": int(counts.trades),
            "gaps": int(counts.gaps),
            "snapshots": int(counts.snapshots),
            "crossed_messages": int(counts.crossed),
            "recentres": int(state.book.recentres),
            "far_levels": int(state.book.n_far[0] + state.book.n_far[1]),
            "receipt_clamped": int(counts.receipt_clamped),
            "decisions": int(counts.decisions),
            "orders": int(counts.orders),
            "cancels": int(counts.cancels),
            "replaces": int(counts.replaces),
            "rejected": int(counts.rejected),
            "late_cancels": int(counts.too_late),
            "replace_rejected": int(counts.replace_rejected),
            "script_ignored": int(counts.script_ignored),
            "self_trades": int(counts.self_trades),
            "self_trades_prevented": int(counts.prevented),
            "requests_in_flight_at_end": int(state.wire.request_end - state.wire.request_first),
            "answers_in_flight_at_end": int(state.wire.answer_end - state.wire.answer_first),
        }

    def _rows(self, name: str) -> Any:
        self._empty()
        chunks = self._kept[name]
        if len(chunks) > 1:
            chunks[:] = [np.concatenate(chunks)]
        return chunks[0] if chunks else np.zeros(0, self._outputs[name].dtype)


def _open_state(state: Any) -> None:
    """Set what is not zero before the first event: nothing known, nothing due, nothing near a limit."""
    book, bounds = state.book, state.bounds
    state.own.next_order_id = 1
    state.closed_ns = -1
    state.wire.top_seen = state.wire.sent_lost = -1
    state.counts.two_sided_since = -1
    state.seen.changed = state.local.fill_reported = 1
    for side in range(2):
        book.best[side] = state.own.best[side] = -NEVER
        book.worst[side] = book.known[side] = state.own.meets[side] = NEVER
        book.named_low[side] = -NEVER
    for name in _TIMES:
        setattr(state.due, name, NEVER)
    state.wire.next_request_ns = state.wire.next_answer_ns = state.seen.unheard_ns = NEVER
    bounds.liquidate_low, bounds.liquidate_high = -NEVER, NEVER
    bounds.look_low, bounds.look_high = -NEVER, NEVER
    bounds.equity_low, bounds.equity_high = NEVER, -NEVER
    state.local.equity_below = state.local.equity_above = np.nan
    state.seen.low, state.seen.high = NEVER, -NEVER


def _ring_of(state: Any, field: str) -> Any:
    """Return the record that holds a queue's counters."""
    return state if field == "pending" else state.wire


def _seen_arrays(window_bits: int, trades: int) -> dict[str, Any]:
    """Return what is kept of what has reached us, for a model that asks for it: an empty book, and no trades."""
    seen = np.zeros(1, BOOK)
    seen["window_bits"], seen["far_cap"], seen["mode"] = window_bits, _FAR_LEVELS, int(Mode.OPENING)
    seen["best"], seen["worst"] = -NEVER, NEVER
    seen["known"], seen["named_low"] = -NEVER, -NEVER  # a level that is not shown is not kept
    return {
        "seen_book": seen,
        "seen_levels": np.zeros(2 << window_bits, np.int64),
        "seen_far_ticks": np.zeros(2 * _FAR_LEVELS, np.int64),
        "seen_far_lots": np.zeros(2 * _FAR_LEVELS, np.int64),
        "seen_trades": np.zeros(1 << max(trades - 1, 0).bit_length(), SEEN_TRADE),
    }


def _script_rows(model: QuotingModel | OrderScript, instrument: Instrument) -> Any:
    """Return SCRIPT[n]: empty for a quoting model."""
    if not isinstance(model, OrderScript):
        return np.zeros(0, SCRIPT)
    rows = model.rows()
    if instrument.kind == "spot" and rows["reduce_only"].any():
        raise ConfigError(f"{instrument.symbol} is spot: reduce_only is for perpetuals")
    return rows


def _two_sided(old: Any, cap: int) -> Any:
    """Copy an array of two halves into one whose halves are longer."""
    half = len(old) // 2
    new = np.zeros(2 * cap, old.dtype)
    new[:half] = old[:half]
    new[cap : cap + half] = old[half:]
    return new


def _ticks_per_price(tick_size: float) -> float:
    """Return 1 / tick size, exactly the whole number where it is one."""
    inverse = 1.0 / tick_size
    return float(round(inverse)) if abs(inverse - round(inverse)) < 1e-9 * inverse else inverse


def _whole(name: str, value: Any, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise ConfigError(f"{name} must be an integer >= {low}, got {value!r}")
    return int(value)


def _ignores(model: QuotingModel | None) -> tuple[int, int]:
    """Return whether a model ignores the clock, and quantities; one that says nothing of it looks at both."""
    return int(not getattr(model, "reads_clock", True)), int(not getattr(model, "reads_sizes", True))


def _set_instrument(params: Any, instrument: Instrument) -> None:
    params.tick_size = instrument.tick_size
    params.ticks_per_price = _ticks_per_price(instrument.tick_size)
    params.lot_size = instrument.lot_size
    params.contract_size = instrument.contract_size
    params.inverse = int(instrument.kind == "inverse")
    params.spot = int(instrument.kind == "spot")
    params.min_notional = instrument.min_notional


def _set_model(params: Any, quotes: QuotingModel | None) -> None:
    params.session_s = quotes.session_s if quotes else np.inf
    params.quoting = int(quotes is not None)
    params.python_model = int(getattr(quotes, "is_python", False))
    params.ignores_clock, params.ignores_sizes = _ignores(quotes)
    params.levels = _whole("model.levels", getattr(quotes, "levels", 1), 1)
    params.level_step_ticks = _whole("model.level_step_ticks", getattr(quotes, "level_step_ticks", 1), 0)
    params.grid_ticks = _whole("model.grid_ticks", getattr(quotes, "grid_ticks", 1), 1)


def _set_room(params: Any, model: QuotingModel) -> None:
    """Set what the model keeps, and what it is shown besides the top of the book."""
    room = room_in(model.context_dtype)
    params.keeps_memory = int(room["memory"] > 0)
    params.depth, params.trades = room["depth"], room["trades"]
    params.reads_feed = int(room["depth"] + room["trades"] > 0)


def _set_bars(params: Any, volume_share: float, limits: RiskLimits, quoting: bool) -> None:
    """Set rule 8: a decision at every close, and equity sampled there."""
    if not 0 < finite_number("bar_volume_share", volume_share) <= 1:
        raise ConfigError(f"bar_volume_share must be in (0, 1], got {volume_share!r}")
    params.bars = 1
    params.bar_volume_share = volume_share
    params.taker_slippage = limits.liquidation_slippage_bps * 1e-4
    params.equity_interval_ns = 0
    params.wake_kinds = int(quoting) << int(Kind.BAR_CLOSE)


def _set_clock(params: Any, interval_ns: int | None, quote_on: str | Iterable[str] | None, quoting: bool) -> None:
    """Set when the model is asked: on a clock, on events, or on both; every 100 ms if nothing is said."""
    names = () if quote_on is None else (quote_on,) if isinstance(quote_on, str) else tuple(quote_on)
    if "all" in names:
        names = tuple(_WAKES)
    if not quoting:
        return
    for name in names:
        if name not in _WAKES:
            raise ConfigError(f"quote_on knows all, {', '.join(_WAKES)}; not {name!r}")
        for kind in _WAKES[name]:
            params.wake_kinds |= 1 << int(kind)
    params.wake_on_answers = int("response" in names)
    if interval_ns is None:
        interval_ns = 0 if names else DEFAULT_INTERVAL_NS
    else:
        _whole("quote_interval_ns", interval_ns, 1)
    params.interval_ns = interval_ns
