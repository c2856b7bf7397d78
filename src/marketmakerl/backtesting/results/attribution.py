"""Where a run's profit came from, to the cent: parts that add up, and what adverse selection took of them.

    pnl = spread + inventory - fees + funding - liquidation

Own fills are those that the model's quotes brought, resting or taking by choice. Forced ones, by which an overlay, a
breaker or the venue closed a position, are no quotes: what they gave up against the mid, and their fees, is the
liquidation cost. For every horizon tau the inventory part is split once more, with m the mid and s = +1 for a buy:

    adverse(tau) = sum over own fills of s q (m(t + tau) - m(t))        spread + adverse(tau) is the gross markout
    rest(tau)    = inventory - adverse(tau)                             what was held beyond tau

A fill whose horizon passes the end of the data counts up to the last mid, so that the split stays exact; on inverse
contracts a price p counts as -1/p, as in the ledger.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.backtesting.results.markouts import values
from marketmakerl.backtesting.results.metrics import MARKOUT_HORIZONS_S
from marketmakerl.core.clock import NS_PER_S
from marketmakerl.risk.reasons import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from marketmakerl.backtesting.results.result import BacktestResult

HORIZONS = tuple(f"{horizon_s:g}s" for horizon_s in MARKOUT_HORIZONS_S)

Split = dict[str, float | None]


@dataclass(frozen=True)
class Parts:
    """Parts of a profit, all in one currency. Costs are positive where something was paid.

    Attributes:
        spread: sum of s q (m - p) over own fills.
        inventory: what every position earned by the mid's moves, the opening inventory's included.
        fees: of own fills; negative where rebates prevail.
        funding: received less paid.
        liquidation: of forced fills: what they gave up against the mid, and their fees.
        opening: of `inventory`, what holding the opening inventory to the end would have earned.
        adverse: of `inventory`, by horizon ("0.1s" to "300s"); None where the mid at that horizon is not known (bars
            longer than it).
        rest: by horizon, the other part of `inventory`.
    """

    spread: float = 0.0
    inventory: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    liquidation: float = 0.0
    opening: float = 0.0
    adverse: Split = field(default_factory=dict)
    rest: Split = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Return the profit: what the parts come to."""
        return self.spread + self.inventory - self.fees + self.funding - self.liquidation

    @property
    def earned(self) -> float:
        """Return the profit over holding the opening inventory."""
        return self.total - self.opening

    def times(self, rate: float) -> Parts:
        """Return the parts in another currency."""
        return Parts(
            **{name: rate * getattr(self, name) for name in _NUMBERS},
            adverse={horizon: _scaled(part, rate) for horizon, part in self.adverse.items()},
            rest={horizon: _scaled(part, rate) for horizon, part in self.rest.items()},
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the parts and what they come to, JSON-ready."""
        return asdict(self) | {"total": self.total, "earned": self.earned}


_NUMBERS = ("spread", "inventory", "fees", "funding", "liquidation", "opening")


@dataclass(frozen=True)
class Attribution:
    """Where a run's profit came from.

    Attributes:
        quote: parts in quote currency, inverse contracts at the last mark; they add up to `metrics.pnl`.
        settled: parts in the settlement currency (base for inverse, else quote): to `metrics.pnl_settled`.
        bought, sold: of `quote`, by side of the fills. What no fill brought, `opening` and funding, is in neither.
        settlement_currency: of `settled`, the turnovers and `maker_fees`.
        fills, forced_fills: how many, and how many of them were forced.
        turnover, maker_turnover: value of the fills, and of those of resting orders.
        maker_fees: paid on the latter.
        instruments: by name, where there are several.
    """

    quote: Parts
    settled: Parts
    bought: Parts
    sold: Parts
    settlement_currency: str
    fills: int
    forced_fills: int
    turnover: float
    maker_turnover: float
    maker_fees: float
    instruments: dict[str, Attribution] = field(default_factory=dict)

    @property
    def break_even_maker_bps(self) -> float | None:
        """Return what `break_even_maker_bps` says of the run."""
        if self.maker_turnover <= 0.0:
            return None
        return 1e4 * (self.settled.earned + self.maker_fees) / self.maker_turnover

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready."""
        whole = asdict(self) | {name: getattr(self, name).as_dict() for name in _SIDES}
        whole["instruments"] = {name: one.as_dict() for name, one in self.instruments.items()}
        return whole | {"break_even_maker_bps": self.break_even_maker_bps}


_SIDES = ("quote", "settled", "bought", "sold")


def attribute(result: BacktestResult) -> Attribution:
    """Split a run's profit into parts that add up to it.

    Args:
        result: of `backtest`, on bars or ticks; of several instruments too.

    Returns:
        The parts; |sum - pnl| <= 1e-9 max(1, turnover).
    """
    together = getattr(result, "parts", None)  # of a portfolio, whose class would load the ticks' kernel
    if together:
        return _sum({name: attribute(part) for name, part in together.items()})
    fills, metrics = result.raw_fills, result.metrics
    to_quote = float(result.raw_samples["mid"][-1]) if result.instrument.kind == "inverse" else 1.0
    funding, opening = metrics.funding_pnl / to_quote, (metrics.pnl - metrics.excess_pnl) / to_quote
    forced = fills["purpose"] != Purpose.QUOTE
    tape = _Fills(result, forced)
    settled = tape.parts(np.ones(len(fills), np.bool_), funding, opening)
    bought, sold = (tape.parts(fills["side"] == side).times(to_quote) for side in (1, -1))
    maker = fills["maker"] == 1
    return Attribution(
        quote=settled.times(to_quote),
        settled=settled,
        bought=bought,
        sold=sold,
        settlement_currency=metrics.settlement_currency,
        fills=len(fills),
        forced_fills=int(forced.sum()),
        turnover=float(tape.turnover.sum()),
        maker_turnover=float(tape.turnover[maker].sum()),
        maker_fees=float(fills["fee"][maker].sum()),
    )


def break_even_maker_bps(result: BacktestResult) -> float | None:
    """Return the maker fee at which this very list of fills would have earned nothing over holding, basis points.

    Fees are linear in what makers trade, so it is exact for the fills there were. Another fee would have brought other
    fills wherever quotes heed it, as the edge filter does; re-running says more.

    Returns:
        None if no resting order was filled; negative where only a rebate would have paid.
    """
    return attribute(result).break_even_maker_bps


class _Fills:
    """The fills of one instrument, valued in its settlement currency."""

    def __init__(self, result: BacktestResult, forced: Any) -> None:
        fills, instrument = result.raw_fills, result.instrument
        self._own, self._forced = ~forced, forced
        self._fee = fills["fee"]
        qty = fills["qty_lots"] * instrument.lot_size
        price = values(instrument, fills["price_ticks"] * instrument.tick_size)
        mid = values(instrument, fills["mid"])
        self.turnover = qty * np.abs(price)
        signed = fills["side"] * qty
        self._gain = signed * (mid - price)
        last = float(result.raw_samples["mid"][-1])
        self._moved = signed * (values(instrument, last) - mid)
        self._to_horizon = {
            horizon: None if mids is None else signed * (values(instrument, np.where(np.isnan(mids), last, mids)) - mid)
            for horizon, mids in _mids_after(result).items()
        }

    def parts(self, chosen: Any, funding: float = 0.0, opening: float = 0.0) -> Parts:
        """Return the parts of some of the fills, and of what no fill brought."""
        own, forced = chosen & self._own, chosen & self._forced
        later = float(self._moved[forced].sum())
        adverse: Split = {}
        rest: Split = {}
        for horizon, moved in self._to_horizon.items():
            adverse[horizon] = rest[horizon] = None
            if moved is not None:
                adverse[horizon] = float(moved[own].sum())
                rest[horizon] = opening + later + float((self._moved - moved)[own].sum())
        return Parts(
            spread=float(self._gain[own].sum()),
            inventory=opening + float(self._moved[chosen].sum()),
            fees=float(self._fee[own].sum()),
            funding=funding,
            liquidation=float(self._fee[forced].sum() - self._gain[forced].sum()),
            opening=opening,
            adverse=adverse,
            rest=rest,
        )


def _mids_after(result: BacktestResult) -> dict[str, Any]:
    """Return by horizon the mid that long after each fill: NaN behind the end of the data, None if nobody knows it."""
    if result.raw_markouts is not None:
        return {horizon: result.raw_markouts[:, j] for j, horizon in enumerate(HORIZONS)}
    ts, mids = result.raw_samples["ts_ns"], result.raw_samples["mid"]
    after: dict[str, Any] = {}
    for horizon, horizon_s in zip(HORIZONS, MARKOUT_HORIZONS_S, strict=True):
        after[horizon] = None
        if horizon_s >= result.metrics.interval_s:
            then = result.raw_fills["ts_ns"] + round(horizon_s * NS_PER_S)
            at = np.maximum(np.searchsorted(ts, then, side="right") - 1, 0)
            after[horizon] = np.where(then > ts[-1], np.nan, mids[at])
    return after


def _sum(each: dict[str, Attribution]) -> Attribution:
    """Return what the instruments of one account come to; they share the currencies."""
    ones = list(each.values())
    return Attribution(
        **{name: _sum_parts([getattr(one, name) for one in ones]) for name in _SIDES},
        settlement_currency=ones[0].settlement_currency,
        fills=sum(one.fills for one in ones),
        forced_fills=sum(one.forced_fills for one in ones),
        turnover=sum(one.turnover for one in ones),
        maker_turnover=sum(one.maker_turnover for one in ones),
        maker_fees=sum(one.maker_fees for one in ones),
        instruments=each,
    )


def _sum_parts(each: Sequence[Parts]) -> Parts:
    numbers = {name: sum(getattr(one, name) for one in each) for name in _NUMBERS}
    return Parts(
        **numbers, adverse=_sum_splits([one.adverse for one in each]), rest=_sum_splits([one.rest for one in each])
    )


def _sum_splits(each: Sequence[Split]) -> Split:
    total: Split = {}
    for horizon in HORIZONS:
        known = [part for split in each if (part := split[horizon]) is not None]
        total[horizon] = sum(known) if len(known) == len(each) else None
    return total


def _scaled(part: float | None, rate: float) -> float | None:
    return None if part is None else rate * part
