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
    from marketmakerl.backtesting.exchange.venue import VenueRules
    from marketmakerl.data.tape import EventTape

TICK_INTERVAL_NS = 60 * NS_PER_S


def interval_of(tape: EventTape) -> int:
    """Return what Sharpe and its kin are made of: a bar, 60 s on ticks; nanoseconds."""
    return tape.interval_ns if tape.is_bars else TICK_INTERVAL_NS


def result_of(engine: Engine, tape: EventTape, budget: float | None = None) -> BacktestResult:
    """Return the outcome of an engine that has finished its tape.

    Args:
        engine: the engine.
        tape: what it was fed.
        budget: what profits and losses are shares of; None: its own opening equity.

    Raises:
        DataFormatError: the tape never showed a two-sided book.
    """
    from marketmakerl.backtesting.first_mid import NO_BOOK  # noqa: PLC0415

    if engine.state.ledger.start_mark == 0.0:
        raise DataFormatError(NO_BOOK)
    fills, samples = engine.fills(), engine.samples()
    mids = None if tape.is_bars else engine.markouts()
    return BacktestResult(
        metrics=compute_metrics(
            engine.state,
            tape.instrument,
            fills,
            samples,
            interval_of(tape),
            uptime_pct=engine.uptime_pct,
            markout_bps=None if mids is None else markout_bps(tape.instrument, fills, mids),
            budget=budget,
            max_drawdown=None if tape.is_bars else float(engine.state.max_drawdown),
        ),
        instrument=tape.instrument,
        tier=tape.tier,
        first_line=_first_line(engine, tape) + _rules_line(engine.rules, funded=engine.is_funded),
        raw_fills=fills,
        raw_orders=engine.orders(),
        raw_samples=samples,
        raw_markouts=mids,
        run_log=engine.run_log(),
        risk_events=engine.risk_events(),
    )


def _first_line(engine: Engine, tape: EventTape) -> str:
    latency = engine.latency
    way = "recorded" if latency.series is not None else f"{latency.entry_ns / 1e6:g} + {latency.response_ns / 1e6:g} ms"
    if tape.is_bars:
        late = f" Order latency {way}." if latency.entry_ns or latency.response_ns else ""
        return (
            "Bars: one decision a bar; a quote fills only where the next bar trades through it, "
            f"at most {engine.bar_volume_share:.0%} of the bar's volume. The poorest evidence there is.{late}"
        )
    return (
        f"Ticks: {len(tape)} rows of tier {tape.tier}; queue {engine.queue} (an assumption: nobody publishes it), "
        f"order latency {way}; own orders move nobody else's."
    )


def _rules_line(rules: VenueRules | None, *, funded: bool) -> str:
    """Return what of the venue's rules is on, as a sentence; empty if nothing is."""
    on = [rules.describe() if rules else "", "funding" if funded else ""]
    named = [name for name in on if name]
    return f" Venue rules: {', '.join(named)}." if named else ""
