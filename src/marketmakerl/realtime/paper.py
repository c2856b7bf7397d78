"""Paper trading: public data in, quotes and simulated fills out, through the same step, model, fees and ledger.

On bars (rule 8) a decision is taken whenever a bar closes, and its orders work through the next one. An iteration is
one poll of the exchange; most polls of a live market find no new bar and only show the book. Nothing is ever sent.
"""

from __future__ import annotations

import re
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.results.metrics import Metrics, compute_metrics
from marketmakerl.backtesting.session import Prepared, Session, last_bars, set_up
from marketmakerl.core.artifacts import environment
from marketmakerl.core.clock import NS_PER_MS, Clock, iso_utc
from marketmakerl.core.errors import ArtifactError, ConfigError, DataError, DataNotFoundError
from marketmakerl.core.log import get_logger
from marketmakerl.data.bars import compile_bars
from marketmakerl.data.catalog import timeframe_ms
from marketmakerl.data.tape import EventTape, Kind
from marketmakerl.models.bar_calibration import estimate_from_bars
from marketmakerl.realtime.journal import Journal
from marketmakerl.realtime.override import HALT, LOOK_S, take
from marketmakerl.reporting.paper_view import View
from marketmakerl.risk.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.real_market_data import OrderBook, PublicClient

log = get_logger(__name__)

# A venue that gives no usable answer is asked again at the next poll, so many times in a row.
MAX_FAILED_POLLS = 5
_BREAKERS = ("active", "reducing", "halted")
_ROWS_PER_BAR = 4


@dataclass(frozen=True)
class PaperConfig:
    """What to trade on paper.

    Args:
        exchange: our name of it; "sim" is the embedded simulator.
        symbol: unified or native.
        timeframe: bars that decisions are taken on.
        iterations: polls; >= 1.
        poll_s: seconds between polls; 0 does not wait.
        session: model, budget, fees, sizes and limits (see `Session`).
        tier: of the data: T3 for a live stream, T2 for the simulator.
    """

    exchange: str
    symbol: str
    timeframe: str
    iterations: int
    poll_s: float
    session: Session
    tier: str = "T3"

    def check(self) -> None:
        """Raise `ConfigError` for what can be refused before the exchange is asked."""
        if self.iterations < 1:
            raise ConfigError(f"ITERATIONS must be at least 1, got {self.iterations}")
        if not 0 <= self.poll_s < float("inf"):
            raise ConfigError(f"POLL_S must be >= 0 seconds, got {self.poll_s!r}")
        if timeframe_ms(self.timeframe) is None:
            raise ConfigError(f"TIMEFRAME {self.timeframe!r} is not one; say 1m, 5m, 15m or 1h")


def journal_name(exchange: str, symbol: str, clock: Clock) -> str:
    """Return the file name of a session that starts now, e.g. 20260101T120000000Z-binance-BTCUSDT.jsonl."""
    stamp = re.sub(r"[-:.]", "", iso_utc(clock.now_ns()))
    return f"{stamp}-{exchange}-{re.sub('[^A-Za-z0-9]', '', symbol.partition(':')[0])}.jsonl"


def _behind_a_gap(events: EventTape) -> EventTape:
    """Return one bar's events with a gap before them, at which quotes are pulled."""
    if events.kind[0] == Kind.GAP:
        return events
    ahead: dict[str, Any] = {
        "ts_ns": events.ts_ns[0],
        "local_ts_ns": events.ts_ns[0],
        "price_ticks": events.price_ticks[0],
        "qty_lots": 0,
        "kind": np.int8(Kind.GAP),
    }
    columns: dict[str, Any] = {name: np.insert(getattr(events, name), 0, value) for name, value in ahead.items()}
    return replace(events, **columns)


class PaperSession:
    """One paper session, from the first poll to the closing record.

    Args:
        config: what to trade.
        client: where the data come from.
        instrument: what the ticks and lots mean.
        journal_path: where the journal goes.
        clock: time of the journal's lines.
        step_venue: called before each poll but the first; moves a simulated venue's clock. None on a real one.
        show: called with a `View` after each poll.
    """

    def __init__(
        self,
        config: PaperConfig,
        client: PublicClient,
        instrument: Instrument,
        journal_path: Path,
        *,
        clock: Clock,
        step_venue: Callable[[], None] | None = None,
        show: Callable[[View], None] | None = None,
    ) -> None:
        config.check()
        self.config = config
        self.instrument = instrument
        self.journal_path = journal_path
        self.metrics: Metrics | None = None
        self._client = client
        self._clock = clock
        self._step_venue = step_venue
        self._show = show
        self._stop = threading.Event()
        self._interval_ms = timeframe_ms(config.timeframe) or 60_000
        self._engine: Engine
        self._last_bar: pd.DataFrame
        self._fills_told = 0
        self._events_told = 0
        self._bars = 0
        self._last = ""

    @property
    def stopped(self) -> bool:
        """Return whether the session was asked to end early."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the session to end after what it is doing now; safe from a signal handler."""
        self._stop.set()

    def run(self) -> Metrics:
        """Run to the end, to `stop`, or until the exchange stays away.

        Raises:
            DataError: no usable answer at the start, or to several polls in a row; the journal is closed.
            DataNotFoundError: the exchange has too few bars to set the model's parameters.
            ArtifactError: the journal cannot be written.
        """
        bars = self._warm_up()
        tape = self._compile(bars)
        price = float(bars["close"].iloc[-1])
        setup = set_up(self.config.session, self.instrument, price, estimate_from_bars(tape))
        with ExitStack() as stack:  # the journal begins when there is something to write
            journal = stack.enter_context(Journal(self.journal_path))
            self._open(journal, bars, tape, setup)
            reason = "failed"
            try:
                self._poll_all(journal)
                reason = "stopped" if self._stop.is_set() else "finished"
            except ArtifactError:  # a journal that takes no line takes no closing one
                raise
            except BaseException:
                self._close(journal, reason)
                raise
            self._close(journal, reason)
        assert self.metrics is not None  # noqa: S101  (written by _close)
        return self.metrics

    def _warm_up(self) -> pd.DataFrame:
        wanted = self.config.session.warmup_bars + 1
        now_ms = self._client.server_time_ms()
        bars = self._client.klines(
            self.config.symbol, self.config.timeframe, now_ms - (wanted + 1) * self._interval_ms
        )  # fmt: skip
        if len(bars) <= 1:
            raise DataNotFoundError(
                f"{self.config.exchange} has no {self.config.timeframe} bars of {self.config.symbol} for the last "
                f"{wanted} intervals"
            )
        return bars

    def _compile(self, bars: pd.DataFrame) -> EventTape:
        return compile_bars(
            bars, self.instrument, interval_ms=self._interval_ms, tier=self.config.tier, source=self.config.exchange
        )

    def _open(self, journal: Journal, bars: pd.DataFrame, tape: EventTape, setup: Prepared) -> None:
        """Write the opening record, and take the first decision at the close of the last bar."""
        session = self.config.session
        self._engine = Engine(
            self.instrument,
            setup.model,
            fees=session.fees,
            order_qty=setup.order_qty,
            cash=setup.cash,
            first_price=float(bars["close"].iloc[-1]),
            bars=True,
            risk=self.config.session.risk(),
            bar_volume_share=session.bar_volume_share,
        )
        journal.write(
            "open",
            self._clock.now_ns(),
            exchange=self.config.exchange,
            symbol=self.config.symbol,
            timeframe=self.config.timeframe,
            tier=self.config.tier,
            instrument=self.instrument.as_dict(),
            fees={"maker_bps": session.fees.maker_bps, "taker_bps": session.fees.taker_bps},
            risk=self.config.session.risk().as_dict(),
            parameters=setup.parameters,
            warm_up_bars=len(bars),
            bar_volume_share=session.bar_volume_share,
            environment=environment(),
        )
        # Only the closing row: nothing of ours rested through a bar that is over.
        self._last_bar = bars.iloc[[-1]]
        self._bar(journal, self._last_bar, last_bars(tape, 1).slice_rows(_ROWS_PER_BAR - 1, _ROWS_PER_BAR))

    def _poll_all(self, journal: Journal) -> None:
        failed = 0
        for iteration in range(1, self.config.iterations + 1):
            if iteration > 1:
                if self._step_venue:
                    self._step_venue()
                if self._wait(journal):
                    return
            self._obey(journal)
            try:
                book = self._poll(journal)
                failed = 0
            except DataError as error:  # no answer, or one that makes no sense: a crossed book, a cut body
                failed += 1
                journal.write("error", self._clock.now_ns(), error=f"{type(error).__name__}: {error}")
                self._last = f"no usable answer ({failed} in a row)"
                log.warning("poll_failed", error=str(error), in_a_row=failed)
                if failed >= MAX_FAILED_POLLS:
                    raise
                continue
            if self._show:
                self._show(self._view(iteration, book))
            if self._stop.is_set():
                return

    def _wait(self, journal: Journal) -> bool:
        """Wait for the next poll, with an ear to the outside; return whether the session is to end."""
        left_s = self.config.poll_s
        while left_s > LOOK_S:
            if self._stop.wait(LOOK_S):
                return True
            self._obey(journal)
            left_s -= LOOK_S
        return self._stop.wait(left_s)

    def _obey(self, journal: Journal) -> None:
        """Do what somebody outside asks for (see `realtime.override`)."""
        try:
            asked = take(self.journal_path)
        except DataError as error:
            journal.write("error", self._clock.now_ns(), error=f"{type(error).__name__}: {error}")
            log.warning("override_refused", error=str(error))
            return
        if asked is None:
            return
        journal.write("override", self._clock.now_ns(), action=asked.action, who=asked.who, why=asked.why)
        if asked.action == HALT:
            self._engine.halt(asked.who, asked.why)
        else:
            self._engine.reset(asked.who, asked.why)
        self._tell(journal)
        self._last = f"{asked.action} by {asked.who}"

    def _poll(self, journal: Journal) -> OrderBook:
        """Ask for the book and for bars that have closed since, and take what there is."""
        book = self._client.order_book(self.config.symbol, 5)
        journal.write(
            "book",
            self._clock.now_ns(),
            bids=book.bids.tolist(),
            asks=book.asks.tolist(),
            book_ts_ns=book.ts_ns,
            book_seq=book.seq,
        )
        since_ms = int(self._last_bar["ts_ms"].iloc[0]) + self._interval_ms
        fresh = self._client.klines(self.config.symbol, self.config.timeframe, since_ms)
        for row in range(len(fresh)):
            bar = fresh.iloc[[row]]
            # Compiled behind the bar before it, so that a hole between the two becomes a gap.
            pair = self._compile(pd.concat([self._last_bar, bar], ignore_index=True))
            events = pair.slice_rows(_ROWS_PER_BAR, len(pair))
            # Bars that closed together between two polls: only the first met quotes that were there when it traded.
            # The others were over before a quote for them could have been computed, so nothing of ours rested.
            self._bar(journal, bar, _behind_a_gap(events) if row else events)
            self._last_bar = bar
        return book

    def _bar(self, journal: Journal, bar: pd.DataFrame, events: EventTape) -> None:
        """Feed one closed bar, and write down what came of it."""
        values = bar.iloc[0]
        names = ("open", "high", "low", "close", "volume")
        gap = bool((events.kind == Kind.GAP).any())
        journal.write(
            "event",
            self._clock.now_ns(),
            bar={"ts_ms": int(values["ts_ms"]), **{name: float(values[name]) for name in names}},
            gap=gap,
        )
        self._engine.feed(events)
        self._bars += 1
        now_ns = self._tell(journal)
        sample = self._engine.samples()[-1]
        state = self._engine.state
        journal.write(
            "quote",
            now_ns,
            decided_ns=int(sample["ts_ns"]),
            mid=float(sample["mid"]),
            bid=self._resting(0),
            ask=self._resting(1),
            bid_reason=self._reason(0),
            ask_reason=self._reason(1),
            inventory=self.instrument.qty(int(sample["position_lots"])),
            equity=float(sample["equity"]),
            breaker=_BREAKERS[int(state.risk.breaker)],
        )

    def _tell(self, journal: Journal) -> int:
        """Write down fills and what the controls did since the last time; return the time of writing."""
        now_ns = self._clock.now_ns()
        for fill in self._engine.fills(self._fills_told):
            self._fills_told += 1
            side = "buy" if fill["side"] > 0 else "sell"
            price = self.instrument.price(int(fill["price_ticks"]))
            qty = self.instrument.qty(int(fill["qty_lots"]))
            self._last = f"{side} {qty:g} at {price:g}"
            journal.write(
                "fill",
                now_ns,
                order_id=int(fill["order_id"]),
                side=side,
                price=price,
                qty=qty,
                fee=float(fill["fee"]),
                mid=float(fill["mid"]),
                liquidity="maker" if fill["maker"] else "taker",
                inventory=self.instrument.qty(int(fill["position_lots"])),
            )
        for event in self._engine.risk_events()[self._events_told :]:
            self._events_told += 1
            self._last = f"{event['event']}: {event['after']}"
            journal.write("risk", now_ns, decided_ns=event.pop("ts_ns"), **event)
            log.warning("control_acted", control=event.pop("event"), **event)
        return now_ns

    def _resting(self, side: int) -> dict[str, Any] | None:
        """Return our best quote of a side."""
        for order in self._engine.working(side):
            price, qty = self.instrument.price(order.price_ticks), self.instrument.qty(order.left_lots)
            return {"order_id": order.order_id, "price": price, "qty": qty}
        return None

    def _reason(self, side: int) -> str:
        """Return why a side is not quoted, "" if it is."""
        if self._engine.working(side):
            return ""
        return Reason(int(self._engine.state.local.quote_reason[side])).name.lower()

    def _view(self, iteration: int, book: OrderBook) -> View:
        sample, state = self._engine.samples()[-1], self._engine.state
        bid, ask = self._resting(0), self._resting(1)
        return View(
            iteration=iteration,
            iterations=self.config.iterations,
            best_bid=float(book.bids[0, 0]) if len(book.bids) else None,
            best_ask=float(book.asks[0, 0]) if len(book.asks) else None,
            bid=(bid["price"], bid["qty"]) if bid else None,
            ask=(ask["price"], ask["qty"]) if ask else None,
            bid_reason=self._reason(0),
            ask_reason=self._reason(1),
            inventory=self.instrument.qty(int(sample["position_lots"])),
            equity=float(sample["equity"]),
            pnl=float(sample["equity"] - state.ledger.start_equity),
            drawdown_pct=float((state.risk.peak_equity - sample["equity"]) / state.ledger.start_equity),
            fills=int(state.ledger.fills),
            bars=self._bars,
            breaker=_BREAKERS[int(state.risk.breaker)],
            last=self._last,
        )

    def _close(self, journal: Journal, reason: str) -> None:
        self._engine.finish()
        interval_ns = self._interval_ms * NS_PER_MS
        self.metrics = compute_metrics(
            self._engine.state,
            self.instrument,
            self._engine.fills(),
            self._engine.samples(),
            interval_ns,
            uptime_pct=self._engine.uptime_pct,
        )
        journal.write(
            "close", self._clock.now_ns(), reason=reason, bars=self._bars, metrics=self.metrics.model_dump()
        )  # fmt: skip
