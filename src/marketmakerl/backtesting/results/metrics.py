"""What a run is judged by. The same names everywhere: JSON, CSV, gates and reports (DESIGN section 3).

Every `_pct` is a fraction (a historic name); money is in quote currency.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from marketmakerl.core.clock import NS_PER_DAY, NS_PER_S
from marketmakerl.risk.limits import FAILURE_DRAWDOWN_PCT
from marketmakerl.risk.reasons import SUPPRESSING

if TYPE_CHECKING:
    from marketmakerl.core.instrument import Instrument

MARKOUT_HORIZONS_S = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_DAYS_PER_YEAR = 365

Array = npt.NDArray[np.float64]


class Metrics(BaseModel):
    """Metrics of one run. None means undefined (no fills, no variance), and None fails a gate."""

    model_config = ConfigDict(frozen=True)

    pnl: float
    gross_spread_pnl: float
    inventory_pnl: float
    funding_pnl: float
    fees_paid: float
    initial_budget: float
    final_equity: float
    return_pct: float
    max_drawdown_pct: float
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    excess_pnl: float
    excess_sharpe: float | None  # of the equity changes over holding the opening inventory; on derivatives the Sharpe
    fills: int
    orders: int
    maker_share: float | None
    fill_ratio: float | None
    turnover: float
    quoted_uptime_pct: float
    suppressed_pct: dict[str, float]
    max_abs_inventory: float | None  # None for a portfolio: its instruments have units of their own
    final_inventory: float | None
    markout_bps: dict[str, float | None]
    breaker_events: int
    liquidations: int
    exits: int = 0  # inventory taken off by a stop, a target, the end of a holding time, or a window to be flat in
    liquidation_cost: float = 0.0  # fees and spread given up by liquidations and exits
    interval_s: float
    intervals: int
    settlement_currency: str
    pnl_settled: float
    no_fills_because: str | None

    @property
    def failed(self) -> bool:
        """Whether more than 40 % of the budget was lost at any time: a failure, whatever the profit."""
        return self.max_drawdown_pct > FAILURE_DRAWDOWN_PCT or self.return_pct < -FAILURE_DRAWDOWN_PCT


def compute_metrics(
    state: Any,
    instrument: Instrument,
    fills: Any,
    samples: Any,
    interval_ns: int,
    *,
    uptime_pct: float,
    markout_bps: dict[str, float | None] | None = None,
    budget: float | None = None,
    max_drawdown: float | None = None,
) -> Metrics:
    """Compute the metrics of one finished run.

    Args:
        state: the engine's final STATE record.
        instrument: what was traded.
        fills: FILL[m], every fill in order.
        samples: SAMPLE[n], equity at the start and at every decision (ticks: on a fixed interval), n >= 1.
        interval_ns: spacing of the equity changes that Sharpe, Sortino and Calmar are made of (printed with them,
            since they depend on it).
        uptime_pct: share of the time through which both sides rested.
        markout_bps: by horizon; None works them out from the samples.
        budget: of the account that the run is part of, settlement currency; None: its own opening equity.
        max_drawdown: the deepest there was, settlement currency, from an engine that looks at every event (ticks);
            None: that of the samples, which on bars are taken at every close.
    """
    counts = state.counts
    equity, ts = samples["equity"], samples["ts_ns"]
    if budget is None:
        budget = float(state.ledger.start_equity)
    else:
        equity = equity - float(state.ledger.start_equity) + budget
    # An inverse contract settles in coin: one rate, the last mark, turns every coin amount into quote currency.
    to_quote = float(state.ledger.mark) if instrument.kind == "inverse" else 1.0
    pnl = float(equity[-1] - budget)
    if max_drawdown is None:
        max_drawdown = float(np.max(np.maximum.accumulate(equity) - equity))
    drawdown = max_drawdown / budget
    changes = interval_changes(ts, equity, interval_ns) / budget
    lot = instrument.lot_size
    held = float(state.ledger.start_lots) * lot * _values(instrument, samples["mid"])
    moved = instrument.value(float(state.ledger.mark)) - instrument.value(float(state.ledger.start_mark))
    elapsed_days = float(ts[-1] - ts[0]) / NS_PER_DAY
    value = np.abs(_values(instrument, fills["price_ticks"] * instrument.tick_size))
    turnover = float(np.sum(fills["qty_lots"] * lot * value))
    return Metrics(
        pnl=pnl * to_quote,
        gross_spread_pnl=float(state.ledger.gross_spread_pnl) * to_quote,
        inventory_pnl=float(state.ledger.inventory_pnl) * to_quote,
        funding_pnl=float(state.ledger.funding_pnl) * to_quote,
        fees_paid=float(state.ledger.fees_paid) * to_quote,
        initial_budget=budget * to_quote,
        final_equity=float(equity[-1]) * to_quote,
        return_pct=pnl / budget,
        max_drawdown_pct=drawdown,
        sharpe=sharpe_ratio(changes, interval_ns),
        sortino=sortino_ratio(changes, interval_ns),
        calmar=pnl / budget * _DAYS_PER_YEAR / elapsed_days / drawdown if drawdown > 0 and elapsed_days > 0 else None,
        excess_pnl=(pnl - float(state.ledger.start_lots) * lot * moved) * to_quote,
        # Without a fill there is nothing but rounding in the difference.
        excess_sharpe=sharpe_ratio(interval_changes(ts, equity - held, interval_ns) / budget, interval_ns)
        if state.ledger.fills
        else None,
        fills=int(state.ledger.fills),
        orders=int(counts.orders),
        maker_share=float(state.ledger.maker_turnover / state.ledger.turnover) if state.ledger.turnover > 0 else None,
        fill_ratio=float(counts.filled_lots / counts.submitted_lots) if counts.submitted_lots > 0 else None,
        turnover=float(np.sum(fills["qty_lots"])) * lot * instrument.contract_size
        if instrument.kind == "inverse"
        else turnover,
        quoted_uptime_pct=uptime_pct,
        suppressed_pct={
            reason.name.lower(): float(counts.suppressed[reason]) / max(1, 2 * int(counts.decisions))
            for reason in SUPPRESSING
        },
        max_abs_inventory=float(state.ledger.max_abs_lots) * lot,
        final_inventory=float(state.ledger.position_lots) * lot,
        markout_bps=_markouts(instrument, fills, samples, interval_ns) if markout_bps is None else markout_bps,
        breaker_events=int(state.risk.breaker_events),
        liquidations=int(state.risk.liquidations),
        exits=int(state.risk.exits),
        liquidation_cost=_forced_cost(instrument, fills) * to_quote,
        interval_s=interval_ns / NS_PER_S,
        intervals=len(changes),
        settlement_currency=instrument.base if instrument.kind == "inverse" else instrument.quote,
        pnl_settled=pnl,
        no_fills_because=_why_no_fills(state) if state.ledger.fills == 0 else None,
    )


def _forced_cost(instrument: Instrument, fills: Any) -> float:
    """Return what the fills that a control or the venue forced have cost: fees, and the spread they gave up."""
    forced = fills[fills["purpose"] != 0]
    qty = forced["side"] * forced["qty_lots"] * instrument.lot_size
    given_up = qty * (
        _values(instrument, forced["price_ticks"] * instrument.tick_size) - _values(instrument, forced["mid"])
    )
    return float(given_up.sum() + forced["fee"].sum())


def interval_changes(ts_ns: npt.NDArray[np.int64], equity: Array, interval_ns: int) -> Array:
    """Return the changes of equity over a fixed grid of `interval_ns`, the last known value carried across holes."""
    steps = int((ts_ns[-1] - ts_ns[0]) // interval_ns)
    grid = ts_ns[0] + interval_ns * np.arange(steps + 1)
    return np.diff(equity[np.searchsorted(ts_ns, grid, side="right") - 1])


def sharpe_ratio(changes: Array, interval_ns: int) -> float | None:
    """Return mean / std (ddof 1) x sqrt(intervals in 365 days); None with fewer than two changes or no variance."""
    if len(changes) < 2:
        return None
    std = float(np.std(changes, ddof=1))
    return float(np.mean(changes)) / std * _annualise(interval_ns) if std > 0 else None


def sortino_ratio(changes: Array, interval_ns: int) -> float | None:
    """As Sharpe, over the downside deviation sqrt(mean(min(x, 0)^2))."""
    if len(changes) < 2:
        return None
    downside = float(np.sqrt(np.mean(np.minimum(changes, 0.0) ** 2)))
    return float(np.mean(changes)) / downside * _annualise(interval_ns) if downside > 0 else None


def _annualise(interval_ns: int) -> float:
    return math.sqrt(_DAYS_PER_YEAR * NS_PER_DAY / interval_ns)


def _values(instrument: Instrument, prices: Array) -> Array:
    """Vectorised `Instrument.value`."""
    if instrument.kind == "inverse":
        return -instrument.contract_size / prices
    return instrument.contract_size * prices


def _markouts(instrument: Instrument, fills: Any, samples: Any, interval_ns: int) -> dict[str, float | None]:
    """Return 1e4 sum s q (m(t+tau) - p) / sum q p by horizon, gross of fees; None where no fill has one."""
    sums = sampled_markout_sums(instrument, fills, samples, interval_ns)
    return {horizon: 1e4 * gain / total if total > 0 else None for horizon, (gain, total) in sums.items()}


def sampled_markout_sums(
    instrument: Instrument, fills: Any, samples: Any, interval_ns: int
) -> dict[str, tuple[float, float]]:
    """Return by horizon what the fills that have a sampled mid by then have gained, and their value.

    Zeros where the samples are too coarse to know the mid at that horizon (bars).
    """
    result: dict[str, tuple[float, float]] = {}
    ts, mids = samples["ts_ns"], samples["mid"]
    price_value = _values(instrument, fills["price_ticks"] * instrument.tick_size)
    for horizon_s in MARKOUT_HORIZONS_S:
        result[f"{horizon_s:g}s"] = 0.0, 0.0
        then = fills["ts_ns"] + round(horizon_s * NS_PER_S)
        at = np.searchsorted(ts, then, side="right") - 1
        # The last sample must be of that moment: not older than one interval, not before the horizon's end of data.
        known = (then <= ts[-1]) & (then - ts[at] < interval_ns)
        if horizon_s * NS_PER_S < interval_ns or not known.any():
            continue
        qty = fills["qty_lots"][known].astype(np.float64)
        gain = fills["side"][known] * qty * (_values(instrument, mids[at[known]]) - price_value[known])
        result[f"{horizon_s:g}s"] = float(gain.sum()), float((qty * np.abs(price_value[known])).sum())
    return result


def _why_no_fills(state: Any) -> str:
    """Say in one line why nothing was filled."""
    counts, on_ticks = state.counts, not state.one_price
    if counts.decisions == 0 and counts.orders == 0:
        return "nothing was ever decided" if on_ticks else "no bar closed, so nothing was ever quoted"
    if counts.orders == 0:
        silent = {reason.name.lower(): int(counts.suppressed[reason]) for reason in SUPPRESSING}
        return f"never quoted: {max(silent, key=lambda name: silent[name])} on every decision"
    if on_ticks:
        if counts.rejected == counts.orders:
            return f"all {int(counts.orders)} orders were rejected; the order log says why"
        return "quoted, but no trade got through the queue to an order: too wide, too late in the queue, too short"
    if counts.starved:
        return f"traded through {int(counts.starved)} times, but the share of the bar's volume was less than one lot"
    return "quoted, but the market never traded through a quote: the spread is too wide for this market"
