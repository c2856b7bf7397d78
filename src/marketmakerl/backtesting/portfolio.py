"""Backtest of several instruments on one account: who brings which cash, and what the whole has earned."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.backtesting.arguments import as_model, check_tape
from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.first_mid import first_mid
from marketmakerl.backtesting.portfolio_engine import PortfolioEngine
from marketmakerl.backtesting.results.markouts import markout_sums, values
from marketmakerl.backtesting.results.metrics import (
    Metrics,
    interval_changes,
    sampled_markout_sums,
    sharpe_ratio,
    sortino_ratio,
)
from marketmakerl.backtesting.results.of_engine import interval_of, result_of
from marketmakerl.backtesting.results.result import BacktestResult
from marketmakerl.core.clock import NS_PER_DAY
from marketmakerl.core.errors import ConfigError
from marketmakerl.data.catalog import weakest_tier
from marketmakerl.data.tick_checks import check_bars, check_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape

# What may differ from instrument to instrument; the rest is the account's.
EACH = ("fees", "order_qty", "latency", "queue", "initial_inventory", "target_inventory", "venue", "funding")
_SUMMED = ("pnl", "gross_spread_pnl", "inventory_pnl", "funding_pnl", "fees_paid", "excess_pnl", "turnover")


@dataclass(frozen=True)
class PortfolioResult(BacktestResult):
    """The outcome of one run over several instruments.

    Attributes:
        metrics: of the account. `fill_ratio` is the mean over orders of the instruments' own, uptime the mean over
            instruments, suppression over decisions; inventories are None.
        parts: by instrument, the result of each; shares of its metrics are shares of the account's budget.
    """

    parts: dict[str, BacktestResult] = field(default_factory=dict)

    @cached_property
    def fills(self) -> pd.DataFrame:
        """Fills of all instruments in order of time, with a column `instrument`."""
        return self._joined("fills", "ts_ns")

    @cached_property
    def orders(self) -> pd.DataFrame:
        """Orders of all instruments in the order they ended, with a column `instrument`."""
        return self._joined("orders", "closed_ns")

    @cached_property
    def markouts(self) -> pd.DataFrame:
        """Markouts of each instrument, with a column `instrument`."""
        return self._joined("markouts")

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """Quantiles of queue and latency by instrument."""
        return {name: part.statistics for name, part in self.parts.items()}

    @cached_property
    def equity(self) -> pd.DataFrame:
        """One row a time at which any instrument has one: ts_ns, equity, cash, and pnl of each instrument."""
        import pandas as pd  # noqa: PLC0415

        raw = self.raw_samples
        return pd.DataFrame(
            {"ts_ns": raw["ts_ns"], "equity": raw["equity"], "cash": raw["cash"]}
            | {f"pnl {name}": raw["pnl"][:, j] for j, name in enumerate(self.parts)}
        )

    @cached_property
    def attribution(self) -> pd.DataFrame:
        """One row an instrument: what it adds to each part of the account's profit, its fills and turnover."""
        import pandas as pd  # noqa: PLC0415

        names = [*_SUMMED, "fills", "max_abs_inventory", "final_inventory"]
        rows = [{"instrument": name} | part.metrics.model_dump(include=set(names)) for name, part in self.parts.items()]
        return pd.DataFrame(rows, columns=["instrument", *names])

    def _joined(self, frame: str, time: str | None = None) -> pd.DataFrame:
        import pandas as pd  # noqa: PLC0415

        frames = []
        for name, part in self.parts.items():
            one = getattr(part, frame).copy()
            one.insert(0, "instrument", name)
            frames.append(one)
        whole: pd.DataFrame = pd.concat(frames, ignore_index=True)
        if time:
            whole = whole.sort_values(time, kind="stable", ignore_index=True)
        return whole


def backtest_together(tapes: Sequence[EventTape], model: Any, options: dict[str, Any]) -> PortfolioResult:
    """Run models over tapes on one account; arguments and errors are those of `backtest`."""
    n = len(tapes)
    if n == 0:
        raise ConfigError("backtest got an empty list of tapes")
    for tape in tapes:
        check_tape(tape)
        (check_bars if tape.is_bars else check_ticks)(tape)
    _one_clock(tapes)
    instruments = [tape.instrument for tape in tapes]
    names = _names(instruments)
    _one_currency(instruments)
    models = [as_model(one) for one in _each("model", model, n)]
    own = {name: _each(name, options[name], n) for name in EACH}
    cash = _cash(options["cash"])
    first = [first_mid(tape) if tape.instrument.kind == "spot" else 0.0 for tape in tapes]
    cash = _fund_spot(instruments, first, own, cash)
    common = {name: value for name, value in options.items() if name not in {*EACH, "cash"}}
    engines = [
        Engine(
            instruments[j], models[j], cash=cash / n, first_price=first[j], bars=tapes[j].is_bars,
            **{name: values[j] for name, values in own.items()}, **common,
        )
        for j in range(n)
    ]  # fmt: skip
    portfolio = PortfolioEngine(engines, [
        cash / n + (instrument.qty(int(engine.state.ledger.position_lots)) * instrument.value(mid) if mid else 0.0)
        for engine, instrument, mid in zip(engines, instruments, first, strict=True)
    ])  # fmt: skip
    portfolio.run(list(tapes))
    budget = sum(float(engine.state.ledger.start_equity) for engine in engines)
    parts = [result_of(engine, tape, budget) for engine, tape in zip(engines, tapes, strict=True)]
    samples = _account(parts, budget, cash / n)
    return PortfolioResult(
        metrics=_metrics(parts, samples, budget, interval_of(tapes[0])),
        instrument=instruments[0],
        tier=weakest_tier([part.tier for part in parts]),
        first_line=f"{n} instruments on one account. " + " ".join(
            f"{name}: {part.first_line}" for name, part in zip(names, parts, strict=True)
        ),
        raw_fills=None,
        raw_orders=None,
        raw_samples=samples,
        run_log=dict(sum((Counter(part.run_log) for part in parts), Counter())),
        parts=dict(zip(names, parts, strict=True)),
    )  # fmt: skip


def _each(name: str, value: Any, n: int) -> list[Any]:
    """Return one value an instrument."""
    if not isinstance(value, (list, tuple)):
        return [value] * n
    if len(value) != n:
        raise ConfigError(f"{name}: {len(value)} values for {n} tapes")
    return list(value)


def _names(instruments: list[Instrument]) -> list[str]:
    seen: Counter[str] = Counter()
    names = []
    for instrument in instruments:
        seen[instrument.symbol] += 1
        count = seen[instrument.symbol]
        names.append(instrument.symbol if count == 1 else f"{instrument.symbol} #{count}")
    return names


def _one_clock(tapes: Sequence[EventTape]) -> None:
    if len({tape.interval_ns if tape.is_bars else 0 for tape in tapes}) > 1:
        raise ConfigError("tapes on one account must all be of ticks, or all of bars of one length")


def _one_currency(instruments: list[Instrument]) -> None:
    settled = {one.base if one.kind == "inverse" else one.quote for one in instruments}
    quoted = {one.quote for one in instruments}
    if len(settled) > 1 or len(quoted) > 1:
        raise ConfigError(
            f"one account holds one currency; these instruments settle in {', '.join(sorted(settled))} "
            f"and are quoted in {', '.join(sorted(quoted))}"
        )


def _cash(cash: Any) -> float:
    if isinstance(cash, bool) or not isinstance(cash, (int, float)) or not 0 < cash < float("inf"):
        raise ConfigError(f"cash must be a finite number > 0, got {cash!r}")
    return float(cash)


def _fund_spot(instruments: list[Instrument], first: list[float], own: dict[str, list[Any]], cash: float) -> float:
    """Turn half of the cash into inventory of the spot instruments that have none given; return what is left."""
    bare = [j for j, one in enumerate(instruments) if one.kind == "spot" and own["initial_inventory"][j] is None]
    left = cash
    for j in bare:
        instrument, value = instruments[j], instruments[j].value(first[j])
        qty = instrument.qty(instrument.lots(cash / 2 / len(bare) / value))
        own["initial_inventory"][j] = qty
        left -= qty * value
    return left


def _account(parts: list[BacktestResult], budget: float, cash_share: float) -> Any:
    """Return the account at every time at which one of its instruments was sampled.

    Returns:
        ts_ns, equity, cash and pnl (one column an instrument), settlement currency.
    """
    ts = np.unique(np.concatenate([part.raw_samples["ts_ns"] for part in parts]))
    rows = np.zeros(len(ts), [("ts_ns", "i8"), ("equity", "f8"), ("cash", "f8"), ("pnl", "f8", (len(parts),))])
    rows["ts_ns"] = ts
    rows["equity"] = budget
    for j, part in enumerate(parts):
        samples = part.raw_samples
        at = np.searchsorted(samples["ts_ns"], ts, side="right") - 1
        begun = at >= 0
        at = np.maximum(at, 0)
        rows["pnl"][:, j] = np.where(begun, samples["equity"][at] - samples["equity"][0], 0.0)
        rows["equity"] += rows["pnl"][:, j]
        rows["cash"] += np.where(begun, samples["cash"][at], cash_share)
    return rows


def _metrics(parts: list[BacktestResult], samples: Any, budget: float, interval_ns: int) -> Metrics:
    """Compute the metrics of the account from those of its parts and its equity."""
    each = [part.metrics for part in parts]
    instrument = parts[0].instrument
    to_quote = each[0].initial_budget / budget  # 1, or the coin's last price
    equity, ts = samples["equity"], samples["ts_ns"]
    pnl = float(equity[-1] - budget)
    drawdown = _drawdown(parts, equity, budget)
    changes = interval_changes(ts, equity, interval_ns) / budget
    days = float(ts[-1] - ts[0]) / NS_PER_DAY
    turnover = sum(one.turnover for one in each)
    orders = sum(one.orders for one in each)
    decisions = np.array([part.run_log["decisions"] for part in parts], np.float64)
    weights = decisions / max(1.0, decisions.sum())
    fills = sum(one.fills for one in each)
    return Metrics(
        **{name: sum(getattr(one, name) for one in each) for name in _SUMMED},
        initial_budget=budget * to_quote,
        final_equity=float(equity[-1]) * to_quote,
        return_pct=pnl / budget,
        max_drawdown_pct=drawdown,
        sharpe=sharpe_ratio(changes, interval_ns),
        sortino=sortino_ratio(changes, interval_ns),
        calmar=pnl / budget * 365 / days / drawdown if drawdown > 0 and days > 0 else None,
        excess_sharpe=sharpe_ratio(_excess(parts, samples, interval_ns) / budget, interval_ns) if fills else None,
        fills=fills,
        orders=orders,
        maker_share=sum((one.maker_share or 0.0) * one.turnover for one in each) / turnover if turnover > 0 else None,
        fill_ratio=sum((one.fill_ratio or 0.0) * one.orders for one in each) / orders if orders else None,
        quoted_uptime_pct=sum(one.quoted_uptime_pct for one in each) / len(each),
        suppressed_pct={
            reason: float(sum(w * one.suppressed_pct[reason] for w, one in zip(weights, each, strict=True)))
            for reason in each[0].suppressed_pct
        },
        max_abs_inventory=None,
        final_inventory=None,
        markout_bps=_markouts(parts, interval_ns),
        breaker_events=sum(one.breaker_events for one in each),
        liquidations=sum(one.liquidations for one in each),
        exits=sum(one.exits for one in each),
        liquidation_cost=sum(one.liquidation_cost for one in each),
        interval_s=each[0].interval_s,
        intervals=len(changes),
        settlement_currency=instrument.base if instrument.kind == "inverse" else instrument.quote,
        pnl_settled=pnl,
        no_fills_because=None if fills else "; ".join(sorted({one.no_fills_because or "" for one in each})),
    )


def _drawdown(parts: list[BacktestResult], equity: npt.NDArray[np.float64], budget: float) -> float:
    """Return the account's deepest drawdown, a share of the budget.

    Of one instrument it is exact. Of several it is that of the samples: each looks at its own equity after every event,
    but nobody looks at the sum of them, so what lies between two samples of all is not seen.
    """
    if len(parts) == 1:
        return parts[0].metrics.max_drawdown_pct
    return float(np.max(np.maximum.accumulate(equity) - equity)) / budget


def _excess(parts: list[BacktestResult], samples: Any, interval_ns: int) -> npt.NDArray[np.float64]:
    """Return the changes of equity over holding every opening inventory, settlement currency."""
    ts, excess = samples["ts_ns"], samples["equity"].copy()
    for part in parts:
        own = part.raw_samples
        value = values(part.instrument, own["mid"])
        at = np.maximum(np.searchsorted(own["ts_ns"], ts, side="right") - 1, 0)
        excess -= float(own["position_lots"][0]) * part.instrument.lot_size * value[at]
    return interval_changes(ts, excess, interval_ns)


def _markouts(parts: list[BacktestResult], interval_ns: int) -> dict[str, float | None]:
    sums = [
        sampled_markout_sums(part.instrument, part.raw_fills, part.raw_samples, interval_ns)
        if part.raw_markouts is None
        else markout_sums(part.instrument, part.raw_fills, part.raw_markouts)
        for part in parts
    ]
    result: dict[str, float | None] = {}
    for horizon in sums[0]:
        gain, total = (sum(one[horizon][i] for one in sums) for i in range(2))
        result[horizon] = 1e4 * gain / total if total > 0 else None
    return result
