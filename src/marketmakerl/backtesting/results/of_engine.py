"""The result of an engine that has finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marketmakerl.backtesting.results.markouts import markout_bps
from marketmakerl.backtesting.results.metrics import compute_metrics
from marketmakerl.backtesting.results.result import BacktestResult
from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import DataFormatError

if TYPE_CHECKING:
    from marketmakerl.backtesting.engine import Engine
    from marketmakerl.backtesting.exchange.queue import Queue
    from marketmakerl.backtesting.exchange.venue import VenueRules
    from marketmakerl.backtesting.wire.latency import Latency
    from marketmakerl.data.tape import EventTape

TICK_INTERVAL_NS = 60 * NS_PER_S


def tick_result(engine: Engine, tape: EventTape, budget: float | None = None) -> BacktestResult:
    """Return the outcome of an engine that has finished its tape.

    Args:
        engine: the engine.
        tape: what it was fed.
        budget: what profits and losses are shares of; None: its own opening equity.

    Raises:
        DataFormatError: the tape never showed a two-sided book.
    """
    from marketmakerl.backtesting.first_mid import NO_BOOK  # noqa: PLC0415

    if engine.state.start_mark == 0.0:
        raise DataFormatError(NO_BOOK)
    fills, samples, mids = engine.fills(), engine.samples(), engine.markouts()
    session_ns = max(1, int(engine.state.last_ns - engine.state.first_ns))
    return BacktestResult(
        metrics=compute_metrics(
            engine.state,
            tape.instrument,
            fills,
            samples,
            TICK_INTERVAL_NS,
            uptime_pct=float(engine.state.two_sided_ns) / session_ns,
            markout_bps=markout_bps(tape.instrument, fills, mids),
            budget=budget,
            max_drawdown=float(engine.state.max_drawdown),
        ),
        instrument=tape.instrument,
        tier=tape.tier,
        first_line=_first_line(tape, engine.queue, engine.latency) + rules_line(engine.rules, funded=engine.is_funded),
        raw_fills=fills,
        raw_orders=engine.orders(),
        raw_samples=samples,
        raw_markouts=mids,
        run_log=engine.run_log(),
        risk_events=engine.risk_events(),
    )


def _first_line(tape: EventTape, queue: Queue, latency: Latency) -> str:
    way = "recorded" if latency.series is not None else f"{latency.entry_ns / 1e6:g} + {latency.response_ns / 1e6:g} ms"
    return (
        f"Ticks: {len(tape)} rows of tier {tape.tier}; queue {queue} (an assumption: nobody publishes it), "
        f"order latency {way}; own orders move nobody else's."
    )


def rules_line(rules: VenueRules | None, *, funded: bool) -> str:
    """Return what of the venue's rules is on, as a sentence; empty if nothing is."""
    on = [rules.describe() if rules else "", "funding" if funded else ""]
    named = [name for name in on if name]
    return f" Venue rules: {', '.join(named)}." if named else ""
