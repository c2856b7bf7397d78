"""What a stressed run is held against: its limits, one check each, and the figures beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.reporting.curves import thin
from marketmakerl.risk.limits import FAILURE_DRAWDOWN_PCT
from marketmakerl.risk.reasons import Purpose

if TYPE_CHECKING:
    from marketmakerl.backtesting.results.result import BacktestResult
    from marketmakerl.risk.limits import RiskLimits
    from marketmakerl.simulation.simulate import SimulationResult
    from marketmakerl.simulation.world import World

Row = dict[str, Any]

POINTS: Final = 300  # of a curve in the report
WORLD_ORDER_SHARE: Final = 0.02  # of the budget of a world's maker: what one order is worth, as a session's default
# An order decided upon at one mid fills at another: so much above the limit is the mid's doing.
_SLACK: Final = 0.01


def run_figures(result: BacktestResult, limits: RiskLimits) -> Row:
    """Return the figures of a run on a tape that stress is about, JSON-ready.

    Returns:
        pnl, return_pct, max_drawdown_pct, inventory_pct (the largest position less its target that a fill built,
        valued at the mid before it, over the opening budget), max_abs_inventory, breaker_events, liquidations,
        liquidation_cost (settlement currency: fees and what was paid beyond the mid), fills, quoted_uptime_pct,
        peak_orders (new orders within the busiest stretch of the limits' window).
    """
    metrics = result.metrics
    names = (
        *("pnl", "return_pct", "max_drawdown_pct", "max_abs_inventory", "breaker_events", "liquidations", "fills"),
        "quoted_uptime_pct",
    )
    return {name: getattr(metrics, name) for name in names} | {
        "inventory_pct": inventory_share(result),
        "liquidation_cost": liquidation_cost(result),
        "peak_orders": peak_orders(result, round(limits.rate_window_s * NS_PER_S)),
    }


def inventory_share(result: BacktestResult) -> float:
    """Return the largest value of (position - target) after a quote's fill added to it, over the opening budget.

    Closing a position by force takes a spot account away from its target too; that is no inventory it built.
    """
    fills, instrument = result.raw_fills, result.instrument
    if len(fills) == 0:
        return 0.0
    target = int(result.raw_samples["position_lots"][0]) if instrument.kind == "spot" else 0
    held = np.abs(fills["position_lots"] - target)
    before = np.abs(fills["position_lots"] - fills["side"] * fills["qty_lots"] - target)
    value = held * instrument.lot_size * _lot_values(result, fills["mid"])
    return float(np.max(np.where((held > before) & (fills["purpose"] == Purpose.QUOTE), value, 0.0))) / float(
        result.raw_samples["equity"][0]
    )


def peak_orders(result: BacktestResult, window_ns: int) -> int:
    """Return the most new orders sent within any stretch of so many nanoseconds."""
    sent = np.sort(result.raw_orders["submitted_ns"][result.raw_orders["order_id"] > 0])
    if len(sent) == 0:
        return 0
    return int((np.arange(1, len(sent) + 1) - np.searchsorted(sent, sent - window_ns, side="right")).max())


def liquidation_cost(result: BacktestResult) -> float:
    """Return what closing positions by force cost: fees, and what was paid beyond the mid; settlement currency."""
    fills = result.raw_fills
    fills = fills[np.isin(fills["purpose"], (Purpose.LIQUIDATION, Purpose.VENUE))]
    if len(fills) == 0:
        return 0.0
    tick = result.instrument.tick_size
    paid = _signed_values(result, fills["price_ticks"] * tick) - _signed_values(result, fills["mid"])
    return float(np.sum(fills["side"] * fills["qty_lots"] * result.instrument.lot_size * paid + fills["fee"]))


def _signed_values(result: BacktestResult, prices: Any) -> Any:
    instrument = result.instrument
    if instrument.kind == "inverse":
        return -instrument.contract_size / prices
    return instrument.contract_size * prices


def _lot_values(result: BacktestResult, prices: Any) -> Any:
    return np.abs(_signed_values(result, prices))


def events_of(result: BacktestResult) -> list[Row]:
    """Return what the controls did, in order: the run's risk log with the seconds since its start (`after_s`)."""
    first_ns = int(result.raw_samples["ts_ns"][0])
    return [event | {"after_s": (event["ts_ns"] - first_ns) / NS_PER_S} for event in result.risk_events]


def run_checks(figures: Row, limits: RiskLimits) -> list[Row]:
    """Return the checks of a run on a tape: name, value, limit, passed. A limit that is switched off is not checked."""
    worst = max(figures["max_drawdown_pct"], -figures["return_pct"])
    return _checks(
        ("failure", worst, FAILURE_DRAWDOWN_PCT, 0.0),
        ("drawdown", figures["max_drawdown_pct"], limits.hard_drawdown_pct, 0.0),
        ("inventory", figures["inventory_pct"], limits.hard_inventory_pct, _SLACK),
        ("orders", figures["peak_orders"], limits.max_orders, 0.0),
    )


def world_budget(world: World) -> float:
    """Return what a world's maker has: fifty orders at the opening mid."""
    return float(world.order_size * world.s0 / WORLD_ORDER_SHARE)


def world_figures(result: SimulationResult, budget: float) -> Row:
    """Return the figures of many paths of a world, JSON-ready; shares are of the budget.

    Returns:
        budget, pnl (mean profit), worst_loss_pct (of all paths), loss_99_pct and inventory_99_pct (that 99 of 100
        paths stay below; inventory at the end, valued at s0), max_drawdown_pct (of all paths), halted_share,
        exits_mean, loss_share, fills (mean), two_sided_share.
    """
    held = np.abs(result.inventory) * result.world.s0 / budget
    return {
        "budget": budget,
        "pnl": result.mean,
        "return_pct": result.mean / budget,
        "worst_loss_pct": max(0.0, -float(result.profit.min()) / budget),
        "loss_99_pct": max(0.0, -float(np.quantile(result.profit, 0.01)) / budget),
        "inventory_99_pct": float(np.quantile(held, 0.99)),
        "max_drawdown_pct": 0.0 if result.max_drawdown is None else float(result.max_drawdown.max()),
        "halted_share": result.halted_share,
        "exits_mean": result.exits_mean,
        "loss_share": float((result.profit < 0.0).mean()),
        "fills": float(result.fills.mean()),
        "quoted_uptime_pct": result.two_sided_share,
    }


def world_checks(figures: Row, limits: RiskLimits) -> list[Row]:
    """Return the checks of a world: the worst path against failure, the bad ones against the limits."""
    return _checks(
        ("failure", figures["worst_loss_pct"], FAILURE_DRAWDOWN_PCT, 0.0),
        ("drawdown", figures["loss_99_pct"], limits.hard_drawdown_pct, 0.0),
        ("inventory", figures["inventory_99_pct"], limits.hard_inventory_pct, 0.0),
    )


def _checks(*rows: tuple[str, float, float | None, float]) -> list[Row]:
    return [
        {"name": name, "value": value, "limit": limit, "passed": bool(value <= limit * (1.0 + slack))}
        for name, value, limit, slack in rows
        if limit is not None
    ]


def curves_of(result: BacktestResult) -> Row:
    """Return what the report draws of a run: seconds since its start, and price, equity change (a share), inventory."""
    samples = result.raw_samples
    seconds = (samples["ts_ns"] - samples["ts_ns"][0]) / 1e9
    equity = samples["equity"] / float(samples["equity"][0]) - 1.0
    inventory = samples["position_lots"] * result.instrument.lot_size
    curves = {}
    for name, values in (("price", samples["mid"]), ("equity", equity), ("inventory", inventory)):
        line = thin(seconds, np.asarray(values, np.float64), POINTS)
        curves[name] = {"x": line.x.tolist(), "y": line.y.tolist()}
    return curves
