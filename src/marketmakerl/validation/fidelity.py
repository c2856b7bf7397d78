"""Fidelity: the same model on bars and on ticks of the same minutes, and how far apart the two are.

Both runs decide at the same instants. A bar of [open, close) is decided upon when it has closed; on ticks that is the
nanosecond before `close`, so that a trade stamped with the boundary itself belongs to the next bar on either side.
Profits are marked at one and the same mids, those of the recorded book at the closes: what differs is the fills.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.backtesting.backtest_engine import backtest
from marketmakerl.backtesting.exchange.queue import Queue
from marketmakerl.backtesting.tick_session import estimate_from_ticks
from marketmakerl.backtesting.wire.latency import Latency
from marketmakerl.core.clock import NS_PER_MS, NS_PER_S
from marketmakerl.core.errors import ConfigError, DataQualityError
from marketmakerl.core.fees import Fees
from marketmakerl.core.rng import check_seed
from marketmakerl.data.tape import COLUMNS, MORE, EventTape, Kind
from marketmakerl.data.tick_windows import opening_rows, row_at
from marketmakerl.data.trade_bars import bars_from_trades, trade_rows
from marketmakerl.models.registry import calibrated_model
from marketmakerl.models.symmetric import Symmetric
from marketmakerl.risk.limits import RiskLimits
from marketmakerl.validation.fidelity_fills import Marks, Run, compare, run_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt
    import pandas as pd

    from marketmakerl.models.contract import QuotingModel

FAST_CLOCK_NS: Final = 100_000_000  # what the tick engine does if nothing is said
RANGE_BAR_S: Final = 15  # the distances of the models come in ranges of such a bar, whatever bars are compared
# So many order sizes are held, and can be paid, at the start: no balance ever decides a fill.
_DEEP_POCKETS: Final = 10_000
_QUOTES: Final = (Kind.DEPTH_BID, Kind.DEPTH_ASK, Kind.BBO_BID, Kind.BBO_ASK)


@dataclass(frozen=True, kw_only=True)
class FidelityRules:
    """What is compared.

    Attributes:
        bars_s: bar lengths, whole seconds; each divides the longest, so that all cover the same minutes.
        queues: queue models of the tick runs, by name (see `Queue.of`).
        latencies_ms: order latencies of the tick runs, milliseconds each way; two of them shorter than a bar.
        order_qty: size of a quote, units of quantity; None: the market's median trade, or its least notional.
        bar_volume_share: how much of a bar's volume our orders can get.
        seed: of the bootstrap.
    """

    bars_s: tuple[int, ...] = (1, 5, 15, 60)
    queues: tuple[str, ...] = ("risk_averse", "log", "front")
    latencies_ms: tuple[float, ...] = (0.0, 10.0)
    order_qty: float | None = None
    bar_volume_share: float = 0.10
    seed: int = 0

    def check(self) -> None:
        """Raise `ConfigError` for what can be refused before work starts."""
        check_seed(self.seed)
        for name in ("bars_s", "queues", "latencies_ms"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ConfigError(f"{name} needs at least one entry and none twice, got {values!r}")
        for bar_s in self.bars_s:
            if isinstance(bar_s, bool) or not isinstance(bar_s, int) or bar_s < 1:
                raise ConfigError(f"a bar lasts a whole number of seconds >= 1, got {bar_s!r}")
            if max(self.bars_s) % bar_s:
                raise ConfigError(f"bars of {bar_s} s do not divide the longest, {max(self.bars_s)} s; leave one out")
        for queue in self.queues:
            Queue.of(queue)
        self._check_numbers()

    def _check_numbers(self) -> None:
        for latency_ms in self.latencies_ms:
            if not 0 <= latency_ms * 2 < 1000 * min(self.bars_s):
                raise ConfigError(f"latency {latency_ms!r} ms both ways must be >= 0 and shorter than the shortest bar")
        if self.order_qty is not None and not 0 < self.order_qty < math.inf:
            raise ConfigError(f"order_qty must be a finite number > 0, got {self.order_qty!r}")
        if not 0 < self.bar_volume_share <= 1:
            raise ConfigError(f"bar_volume_share must be in (0, 1], got {self.bar_volume_share!r}")


@dataclass(frozen=True)
class Window:
    """The minutes that are compared, and what the book showed in them.

    Attributes:
        tape: ticks of [start_ns, end_ns), led by the book as it stood, at start_ns - 1.
        recording: the whole tape: its last trade before the window is the price that bars begin with.
        start_ns, end_ns: whole seconds, whole longest bars apart.
        bids, asks: float64[seconds + 1], best prices at start_ns and after each second, price units.
    """

    tape: EventTape
    recording: EventTape
    start_ns: int
    end_ns: int
    bids: npt.NDArray[np.float64]
    asks: npt.NDArray[np.float64]

    @property
    def mids(self) -> npt.NDArray[np.float64]:
        """Return the mids, price units."""
        return (self.bids + self.asks) / 2

    @property
    def seconds(self) -> int:
        """Return the length."""
        return (self.end_ns - self.start_ns) // NS_PER_S


@dataclass(frozen=True)
class Measurement:
    """What one recording says.

    Attributes:
        facts: the window, the size of a quote, the models; JSON-ready.
        rows: one a bar length, model, queue, latency and clock: see `fidelity_fills.compare`; JSON-ready.
    """

    facts: dict[str, Any]
    rows: list[dict[str, Any]]


def measure(
    tape: EventTape,
    rules: FidelityRules,
    fees: Fees,
    *,
    models: Mapping[str, QuotingModel] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Measurement:
    """Run models on a recording's ticks and on bars of its trades, over the same minutes, and compare the fills.

    Args:
        tape: ticks, book and trades.
        rules: what to compare.
        fees: paid by both.
        models: by name; None: those of `market_models`.
        progress: called as (done, total, what was done) after each run.

    Raises:
        ConfigError: rules or models that do not fit the instrument.
        DataQualityError: no trades, no book, or too few minutes that have both.
        DataFormatError: the tape is one of bars.
    """
    rules.check()
    window = common_window(tape, max(rules.bars_s))
    order_qty = rules.order_qty or typical_order(window)
    models = market_models(window) if models is None else models
    bar_tapes = {bar_s: bar_tape(window, bar_s) for bar_s in rules.bars_s}
    rows: list[dict[str, Any]] = []
    total = len(models) * (1 + len(rules.bars_s) * (1 + len(rules.queues) * len(rules.latencies_ms)))
    told = iter(range(1, total + 1))

    def tell(what: str) -> None:
        done = next(told)
        if progress:
            progress(done, total, what)

    for name, model in models.items():
        trader = _Trader(window, model, fees, order_qty, rules.bar_volume_share)
        fast = trader.on_ticks(FAST_CLOCK_NS, rules.queues[0], rules.latencies_ms[0])
        tell(f"{name} every 100 ms")
        for bar_s, bars in bar_tapes.items():
            marks = Marks(window.start_ns, bar_s * NS_PER_S, window.mids[::bar_s], tape.instrument)
            on_bars = trader.on_bars(bars, marks)
            tell(f"{name} on {bar_s} s bars")
            for clock, queue, latency_ms, run in _tick_runs(trader, rules, bar_s, fast, tell):
                key = {"bar_s": bar_s, "model": name, "queue": queue, "latency_ms": latency_ms, "clock": clock}
                rows.append(key | compare(on_bars, run_of(run, marks, on_bars=False), marks, rules.seed))
    return Measurement(_facts(window, order_qty, models), rows)


def _tick_runs(
    trader: _Trader, rules: FidelityRules, bar_s: int, fast: Any, tell: Callable[[str], None]
) -> Iterator[tuple[str, str, float, Any]]:
    """Yield (clock, queue, latency in ms, fills) of the runs on ticks that bars of one length are held against."""
    for queue in rules.queues:
        for latency_ms in rules.latencies_ms:
            yield "bar", queue, latency_ms, trader.on_ticks(bar_s * NS_PER_S, queue, latency_ms)
            tell(f"{trader.model.id} each {bar_s} s, {queue}, {latency_ms:g} ms")
    yield "100 ms", rules.queues[0], rules.latencies_ms[0], fast


@dataclass(frozen=True)
class _Trader:
    """One model with one balance, on bars or on ticks of a window."""

    window: Window
    model: QuotingModel
    fees: Fees
    order_qty: float
    bar_volume_share: float

    def on_bars(self, bars: EventTape, marks: Marks) -> Run:
        result = backtest(bars, self.model, bar_volume_share=self.bar_volume_share, **self._account())
        return run_of(result.raw_fills, marks, on_bars=True)

    def on_ticks(self, interval_ns: int, queue: str, latency_ms: float) -> Any:
        """Return the fills."""
        latency_ns = round(latency_ms * NS_PER_MS)
        return backtest(
            self.window.tape,
            self.model,
            queue=queue,
            latency=Latency(entry_ns=latency_ns, response_ns=latency_ns),
            quote_interval_ns=interval_ns,
            log_orders=False,
            **self._account(),
        ).raw_fills

    def _account(self) -> dict[str, Any]:
        """Return what both runs open with: nothing held on a perpetual, the same on either side on spot."""
        instrument = self.window.tape.instrument
        held = self.order_qty * _DEEP_POCKETS
        unit = abs(instrument.value(float(self.window.mids[0])))
        return {
            "fees": self.fees,
            "order_qty": self.order_qty,
            "cash": 2 * held * unit,
            "initial_inventory": held if instrument.kind == "spot" else 0.0,
            "risk": RiskLimits.off(),
        }


def common_window(tape: EventTape, longest_bar_s: int) -> Window:
    """Return the minutes in which a recording has both a two-sided book and trades: whole longest bars from a second.

    Raises:
        DataQualityError: no trades, never a two-sided book, or fewer than two of the longest bars have both.
        DataFormatError: the tape is one of bars.
    """
    from marketmakerl.backtesting.first_mid import probes  # noqa: PLC0415  (the engine's kernel takes time to load)

    source = tape.meta.get("source") or "the tape"
    trades = trade_rows(tape)
    states = (engine.state for engine in probes(tape))
    booked_ns = next((int(state.first_ns) for state in states if state.ledger.start_mark > 0.0), None)
    if booked_ns is None:
        raise DataQualityError(f"{source} never shows a bid and an ask at once; there is no book to hold bars against")
    quotes = np.flatnonzero(np.isin(np.asarray(tape.kind) & ~MORE, _QUOTES))
    begins_ns = max(booked_ns, int(tape.ts_ns[trades[0]])) + 1
    ends_ns = min(int(tape.ts_ns[quotes[-1]]), int(tape.ts_ns[trades[-1]])) + 1
    start_ns = -(-begins_ns // NS_PER_S) * NS_PER_S
    bars = max(0, ends_ns - start_ns) // (longest_bar_s * NS_PER_S)
    if bars < 2:
        raise DataQualityError(
            f"{source}: book and trades overlap for {max(0, ends_ns - begins_ns) / NS_PER_S:.0f} s; two bars of "
            f"{longest_bar_s} s are needed, so take shorter bars or a longer recording"
        )
    end_ns = start_ns + bars * longest_bar_s * NS_PER_S
    cut = _cut(tape, start_ns, end_ns)
    bids, asks = best_prices(cut, start_ns + NS_PER_S * np.arange((end_ns - start_ns) // NS_PER_S + 1))
    return Window(cut, tape, start_ns, end_ns, bids, asks)


def _cut(tape: EventTape, start_ns: int, end_ns: int) -> EventTape:
    """Return the rows of [start_ns, end_ns), led by the book before them at start_ns - 1, from which clocks count."""
    first, last = row_at(tape, start_ns), row_at(tape, end_ns)
    head, part = opening_rows(tape, first), tape.slice_rows(first, last)
    head = replace(
        head,
        ts_ns=np.full(len(head), start_ns - 1, np.int64),
        local_ts_ns=np.maximum(head.local_ts_ns, start_ns - 1),
    )
    joined: dict[str, Any] = {name: np.concatenate([getattr(head, name), getattr(part, name)]) for name in COLUMNS}
    return replace(part, **joined)


def best_prices(
    tape: EventTape, times_ns: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the exchange's best bids and asks just before each time, in price units.

    While a side is missing both stay what they last were; before there were two, they are NaN.

    Args:
        tape: ticks.
        times_ns: int64[n], increasing.
    """
    from marketmakerl.backtesting.engine import Engine  # noqa: PLC0415  (its kernel takes time to load)
    from marketmakerl.backtesting.order_script import OrderScript  # noqa: PLC0415

    engine = Engine(
        tape.instrument, OrderScript(), fees=Fees(0.0, 0.0), order_qty=tape.instrument.lot_size, cash=1.0,
        first_price=1.0, initial_inventory=0.0,
    )  # fmt: skip
    best = np.full((2, len(times_ns)), np.nan)
    row = 0
    for i, time_ns in enumerate(times_ns):
        until = row_at(tape, int(time_ns))
        engine.feed(tape.slice_rows(row, until))
        row = until
        bid, ask = (int(ticks) for ticks in engine.state.book.best)
        if bid > 0 > ask:
            best[:, i] = bid, -ask
        elif i:
            best[:, i] = best[:, i - 1]
    bids, asks = best * tape.instrument.tick_size
    return bids, asks


def bar_tape(window: Window, bar_s: int) -> EventTape:
    """Return the window's trades as a tape of bars."""
    source = f"{window.recording.meta.get('source') or 'tape'}, its trades as {bar_s} s bars"
    instrument = window.tape.instrument
    return EventTape.from_klines(_bars(window, bar_s), instrument, interval_ms=bar_s * 1000, source=source)


def _bars(window: Window, bar_s: int) -> pd.DataFrame:
    bars = max(1, window.seconds // bar_s)
    return bars_from_trades(window.recording, bar_s * 1000, start_ns=window.start_ns, bars=bars)


def typical_order(window: Window) -> float:
    """Return the median trade of the window in whole lots, at least what the venue takes at its highest price."""
    tape, instrument = window.tape, window.tape.instrument
    lots = np.asarray(tape.qty_lots)[trade_rows(tape)]
    unit = instrument.notional(float(np.nanmin(window.bids)), instrument.lot_size)
    # Twice the least notional: a quote far below the market must reach it as well.
    least = math.ceil(2 * instrument.min_notional / unit)
    return instrument.qty(max(1, round(float(np.median(lots))), least))


def market_models(window: Window) -> dict[str, QuotingModel]:
    """Return the models that are compared, in units of the market, their parameters fixed for every run on it.

    Symmetric at half the median spread (the touch), and a quarter, a half and a whole mean range of a 15-second bar
    further out; Avellaneda-Stoikov with the volatility and fill decay of the whole window. That they are fitted to the
    minutes they trade does no harm here: both sides of the comparison are.

    Raises:
        DataQualityError: too few seconds, or a market in which nothing moved or traded.
    """
    touch = float(np.nanmedian(window.asks - window.bids)) / 2
    bars = _bars(window, RANGE_BAR_S)
    reach = float((bars["high"] - bars["low"]).mean())
    estimate = estimate_from_ticks(window.tape)
    return {
        "symmetric touch": Symmetric(touch),
        "symmetric +1/4 range": Symmetric(touch + reach / 4),
        "symmetric +1/2 range": Symmetric(touch + reach / 2),
        "symmetric +1 range": Symmetric(touch + reach),
        "avellaneda_stoikov": calibrated_model("avellaneda_stoikov", estimate),
    }


def _facts(window: Window, order_qty: float, models: Mapping[str, QuotingModel]) -> dict[str, Any]:
    tape = window.tape
    return {
        "start_ns": window.start_ns,
        "end_ns": window.end_ns,
        "seconds": window.seconds,
        "trades": len(trade_rows(tape)),
        "order_qty": order_qty,
        "order_notional": tape.instrument.notional(float(window.mids[0]), order_qty),
        "median_spread_bps": 1e4 * float(np.nanmedian((window.asks - window.bids) / window.mids)),
        "feed_delay_ms": float(np.median(tape.local_ts_ns - tape.ts_ns)) / NS_PER_MS,
        "models": {name: model.as_dict() for name, model in models.items()},
    }
