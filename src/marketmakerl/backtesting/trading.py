"""Calibrate, then trade: parameters set by data that lie before the run, then the backtest. Every study trades so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marketmakerl.backtesting.backtest_engine import backtest
from marketmakerl.backtesting.calibrated import given_estimate
from marketmakerl.backtesting.session import set_up, split_warm_up
from marketmakerl.backtesting.tick_session import TickRules, estimate_from_ticks, needs_estimate
from marketmakerl.core.clock import NS_PER_S
from marketmakerl.data.tick_windows import cut, row_at
from marketmakerl.models.bar_calibration import estimate_from_bars

if TYPE_CHECKING:
    from marketmakerl.backtesting.exchange.venue import VenueRules
    from marketmakerl.backtesting.results.result import BacktestResult
    from marketmakerl.backtesting.session import Prepared, Session
    from marketmakerl.data.tape import EventTape
    from marketmakerl.risk.limits import RiskLimits


def trade(
    session: Session,
    tape: EventTape,
    *,
    warm_up: EventTape | None = None,
    ticks: TickRules | None = None,
    risk: RiskLimits | None = None,
    venue: VenueRules | None = None,
    funding: Any = None,
) -> tuple[BacktestResult, dict[str, Any]]:
    """Set the parameters of a session's model, and trade what of a tape they do not come from.

    Args:
        session: how to trade.
        tape: of bars or ticks.
        warm_up: bars that lie before the first of `tape` and alone set the parameters; all of `tape` is then traded.
            None: the session's calibration, else the first part of `tape` does (see `prepare`).
        ticks: what ticks need besides; None: the defaults.
        risk: limits; None means the session's own.
        venue: as in `backtest`.
        funding: likewise.

    Returns:
        The result, and the parameters it came from: model, order_qty, estimate (as measured, before `spread_scale`;
        None: nothing was estimated), on ticks warm_up, and calibration where a file set them: then only what lies
        behind its data is traded.

    Raises:
        DataQualityError: the warm-up does not allow an estimate.
        DataFormatError: the tape never shows a two-sided book.
        ConfigError: a setting that does not fit the instrument.
    """
    rules = ticks or TickRules()
    traded, setup = prepare(session, tape, warm_up=warm_up, ticks=rules)
    on_ticks: dict[str, Any] = {}
    if not tape.is_bars:
        on_ticks = {
            "latency": rules.latency,
            "queue": rules.queue,
            "quote_interval_ns": rules.quote_interval_ns,
            "quote_on": rules.quote_on or None,
        }
    result = backtest(
        traded,
        setup.model,
        fees=session.fees,
        order_qty=setup.order_qty,
        cash=setup.cash,
        bar_volume_share=session.bar_volume_share,
        risk=risk or session.risk(setup.parameters.get("calibration")),
        venue=venue,
        funding=funding,
        **on_ticks,
    )
    return result, setup.parameters


def prepare(
    session: Session, tape: EventTape, *, warm_up: EventTape | None = None, ticks: TickRules | None = None
) -> tuple[EventTape, Prepared]:
    """Return the part of a tape that is traded, and what the session starts with; arguments and errors of `trade`.

    Without a `warm_up` and a calibration the first `session.warmup_bars` bars are not traded, on ticks the first
    `ticks.warmup_share` of the time; there nothing is cut off where every parameter of the model is fixed.
    """
    from marketmakerl.backtesting.first_mid import first_mid  # noqa: PLC0415  (the engine's kernel takes time to load)

    extra: dict[str, Any] = {}
    traded, estimate, row = tape, None, 0
    rules = ticks or TickRules()
    rules.check()
    if warm_up is not None:
        estimate = estimate_from_bars(warm_up)
    elif session.calibration:
        estimate, row, extra["calibration"] = given_estimate(session.calibration, tape)
        traded = tape.slice_rows(row, len(tape))
    elif tape.is_bars:
        first, traded = split_warm_up(tape, session.warmup_bars)
        estimate = estimate_from_bars(first)
    elif needs_estimate(session):
        first_ns, last_ns = int(tape.ts_ns[0]), int(tape.ts_ns[-1])
        row = row_at(tape, first_ns + round((last_ns - first_ns) * rules.warmup_share))
        estimate = estimate_from_ticks(tape.slice_rows(0, row))
    if not tape.is_bars:
        traded = cut(tape, row, len(tape))
        extra = {"warm_up": {"rows": row, "seconds": int(traded.ts_ns[0] - tape.ts_ns[0]) / NS_PER_S}, **extra}
    setup = set_up(session, tape.instrument, first_mid(traded), estimate)
    setup.parameters.update(extra)
    return traded, setup
