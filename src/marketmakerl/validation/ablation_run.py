"""One window of an ablation: the same model on the same market under every set of limits. It runs in a worker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.backtesting.results.metrics import interval_changes
from marketmakerl.backtesting.session import Session, split_warm_up
from marketmakerl.backtesting.trading import trade
from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import MarketMakerLError
from marketmakerl.risk.limits import OFF, RiskLimits
from marketmakerl.risk.reasons import SUPPRESSING, Reason

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from marketmakerl.backtesting.results.result import BacktestResult
    from marketmakerl.backtesting.tick_session import TickRules
    from marketmakerl.validation.ablation_markets import Window

ALL_ON: Final = "all on"
ALL_OFF: Final = "all off"
# What is the model's choice or the venue's, and no control's.
_NOT_OURS: Final = {
    Reason.WITHDRAWN, Reason.NO_CASH, Reason.NO_INVENTORY, Reason.MIN_NOTIONAL, Reason.PRICE, Reason.GAP,
    Reason.NO_BOOK, Reason.MARGIN,
}  # fmt: skip
_OURS: Final = tuple(reason.name.lower() for reason in SUPPRESSING if reason not in _NOT_OURS)
_METRICS: Final = (
    "pnl", "return_pct", "sharpe", "max_drawdown_pct", "quoted_uptime_pct", "fills", "orders", "turnover", "fees_paid",
    "max_abs_inventory", "breaker_events", "liquidations", "initial_budget",
)  # fmt: skip
_FILL_COLUMNS: Final = ("ts_ns", "side", "price_ticks", "qty_lots", "maker")


@dataclass(frozen=True)
class Outcome:
    """What one run came to.

    Attributes:
        metrics: some of its metrics, JSON-ready.
        status: completed or failed_risk.
        changes: float64[n], changes of equity over the interval, shares of the budget.
        suppressed: share of the looks at a side in which a control kept it from being quoted.
        fills: digest of its fills; equal digests, equal fills.
        quotes: digest of all that it did, quotes that never filled included.
    """

    metrics: dict[str, Any]
    status: str
    changes: npt.NDArray[np.float64]
    suppressed: float
    fills: str
    quotes: str


def variants(limits: RiskLimits, controls: tuple[str, ...], *, alone: bool) -> dict[str, RiskLimits]:
    """Return the limits to try by name: all on, all off, without each control, and with each alone."""
    tried = {ALL_ON: limits, ALL_OFF: RiskLimits.off()}
    for control in controls:
        tried[f"without {control}"] = limits.without(control)
        if alone:
            tried[f"only {control}"] = only(limits, control)
    return tried


def only(limits: RiskLimits, control: str) -> RiskLimits:
    """Return `limits` with nothing on but one control, and what it cannot be without."""
    others = [name for name in OFF if name != control]
    if control == "soft_inventory_pct":
        others.remove("hard_inventory_pct")
    if control == "soft_inventory_skew":
        others = [name for name in others if name not in {"hard_inventory_pct", "soft_inventory_pct"}]
    if control == "learn_adverse_selection":
        others.remove("min_edge_bps")
    for name in others:
        limits = limits.without(name)
    return limits


@dataclass(frozen=True)
class WindowWork:
    """Every set of limits on one window.

    Attributes:
        session: how it is traded, fees included.
        ticks: the same, on ticks.
        limits: the sets of limits by name.
        interval_s: spacing of the equity changes, seconds.
    """

    session: Session
    ticks: TickRules
    limits: dict[str, RiskLimits]
    interval_s: int

    def __call__(self, window: Window) -> dict[str, Outcome] | MarketMakerLError:
        """Return what became of each, or why this window cannot be traded at all."""
        tape = window.load()
        try:
            if tape.is_bars:
                warm_up, rest = split_warm_up(tape, self.session.warmup_bars)
                runs = {
                    name: trade(self.session, rest, warm_up=warm_up, risk=risk)[0] for name, risk in self.limits.items()
                }
            else:
                runs = {
                    name: trade(self.session, tape, ticks=self.ticks, risk=risk)[0]
                    for name, risk in self.limits.items()
                }
        except MarketMakerLError as error:
            return error
        return {name: outcome(result, self.interval_s) for name, result in runs.items()}


def outcome(result: BacktestResult, interval_s: int) -> Outcome:
    """Return what an ablation needs of a run."""
    metrics, samples = result.metrics, result.raw_samples
    changes = interval_changes(samples["ts_ns"], samples["equity"], interval_s * NS_PER_S) / samples["equity"][0]
    named = {name: getattr(metrics, name) for name in _METRICS}
    # Without the orders' numbers, which count what never filled.
    fills = hashlib.blake2b(result.raw_fills[list(_FILL_COLUMNS)].tobytes(), digest_size=8)
    quotes = fills.copy()
    quotes.update(repr((sorted(metrics.suppressed_pct.items()), sorted(named.items()))).encode())
    return Outcome(
        metrics=named,
        status="failed_risk" if metrics.failed else "completed",
        changes=changes,
        suppressed=sum(metrics.suppressed_pct[name] for name in _OURS),
        fills=fills.hexdigest(),
        quotes=quotes.hexdigest(),
    )
