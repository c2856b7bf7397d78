"""A session on ticks: parameters set by its first part, which is not traded, then the backtest of the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.backtesting.exchange.queue import Queue
from marketmakerl.backtesting.session import model_of_session
from marketmakerl.backtesting.wire.latency import Latency
from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import ConfigError, DataQualityError
from marketmakerl.data.tape import MORE, EventTape, Kind
from marketmakerl.models.bar_calibration import MIN_BARS, BarEstimate

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.backtesting.results.result import BacktestResult
    from marketmakerl.backtesting.session import Session

# What a model can be woken on; the tick engine's own list (a test compares them) would take its kernel to load.
WAKES: Final = ("all", "depth", "bbo", "trade", "response")
_TRADES: Final = (Kind.TRADE_SELL, Kind.TRADE_BUY, Kind.TRADE)


@dataclass(frozen=True, kw_only=True)
class TickRules:
    """What a session on ticks assumes besides what one on bars does.

    Attributes:
        entry_latency_ms: from a decision to the exchange, milliseconds.
        response_latency_ms: from the exchange back, milliseconds.
        queue: how orders move up the queue (see `Queue.of`).
        quote_interval_ms: the model is asked every so often, milliseconds; None: 100 ms, or only on events.
        quote_on: the model is asked on these events, some of `WAKES`.
        warmup_share: share of the time that sets the model's parameters and is not traded, in (0, 1). Where every
            parameter is fixed there is nothing to set, and all of it is traded.
    """

    entry_latency_ms: float = 0.0
    response_latency_ms: float = 0.0
    queue: str = "risk_averse"
    quote_interval_ms: float | None = None
    quote_on: tuple[str, ...] = ()
    warmup_share: float = 0.2

    def check(self) -> None:
        """Raise `ConfigError` for a setting out of range."""
        for name in ("entry_latency_ms", "response_latency_ms"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a finite number >= 0, got {getattr(self, name)!r}")
        interval_ms = self.quote_interval_ms
        if interval_ms is not None and not 1e-6 <= interval_ms < math.inf:
            raise ConfigError(f"quote_interval_ms must be a finite number > 0, got {interval_ms!r}")
        if not 0 < self.warmup_share < 1:
            raise ConfigError(f"warmup_share must be in (0, 1), got {self.warmup_share!r}")
        Queue.of(self.queue)
        for name in self.quote_on:
            if name not in WAKES:
                raise ConfigError(f"quote_on knows {', '.join(WAKES)}; not {name!r}")

    @property
    def latency(self) -> Latency:
        """Return the latencies as the engine takes them."""
        return Latency(
            entry_ns=round(self.entry_latency_ms * NS_PER_MS), response_ns=round(self.response_latency_ms * NS_PER_MS)
        )

    @property
    def quote_interval_ns(self) -> int | None:
        """Return the quoting interval in nanoseconds."""
        return None if self.quote_interval_ms is None else round(self.quote_interval_ms * NS_PER_MS)


def tick_summary(result: BacktestResult, tape: EventTape) -> dict[str, Any]:
    """Return what a run on ticks says besides its metrics, JSON-ready.

    Returns:
        first_line; run_log; feed: what the importer wrote into the tape's meta; markouts: one entry a side and
        horizon; statistics: quantiles of queue and latency.
    """
    markouts = [
        {name: None if value != value else value for name, value in row.items()}  # noqa: PLR0124  (NaN)
        for row in result.markouts.to_dict("records")
    ]
    return {
        "first_line": result.first_line,
        "run_log": result.run_log,
        "feed": {name: value for name, value in tape.meta.items() if name not in {"clock", "tier"}},
        "markouts": markouts,
        "statistics": result.statistics,
    }


def needs_estimate(session: Session) -> bool:
    """Return whether any parameter of the session's model is left to be estimated."""
    one, other = (
        model_of_session(session, BarEstimate(sigma=scale, k=3.0 * scale, arrival_rate=5.0 * scale, bars=0))
        for scale in (1.0, 2.0)
    )
    return one != other


def estimate_from_ticks(tape: EventTape) -> BarEstimate:
    """Estimate volatility, fill decay and arrivals as `estimate_from_bars` does, from steps of one second.

    The mid stands for the close, so that bid-ask bounce is no volatility; trades reach beyond it. `bars` are seconds,
    and each is one chance of a fill a side: the furthest trade of a second counts, however many there were.

    Raises:
        DataQualityError: fewer than 30 seconds with a book, or a market in which nothing moved or traded.
    """
    from marketmakerl.backtesting.first_mid import probes  # noqa: PLC0415  (the engine's kernel takes time to load)

    samples: Any = ()
    for engine in probes(tape):
        samples = engine.samples()
    source = tape.meta.get("source", "tape")
    advice = "; take a longer tape, a larger --warmup-share, or set every parameter of the model with --param"
    seconds = max(0, len(samples) - 1)
    if seconds < MIN_BARS:
        raise DataQualityError(
            f"{source}: a warm-up of {seconds} seconds with a book; {MIN_BARS} are needed to estimate{advice}"
        )
    mids = samples["mid"]
    sigma = float(np.std(np.diff(mids), ddof=1))
    excursion = float(np.mean(_excursions(tape, samples["ts_ns"], mids)))
    if sigma <= 0 or excursion <= 0:
        raise DataQualityError(f"{source}: no move or no trade away from the mid in {seconds} seconds{advice}")
    return BarEstimate(sigma=sigma, k=1.0 / excursion, arrival_rate=1.0, bars=seconds)


def _excursions(tape: EventTape, ends_ns: Any, mids: Any) -> npt.NDArray[np.float64]:
    """Return how far trades went above, and below, the last mid in every second; 0 where none did."""
    trades = np.flatnonzero(np.isin(np.asarray(tape.kind) & ~MORE, _TRADES))
    step = np.searchsorted(ends_ns, tape.ts_ns[trades], side="left")
    inside = (step > 0) & (step < len(ends_ns))
    trades, step = trades[inside], step[inside] - 1
    away = tape.price_ticks[trades] * tape.instrument.tick_size - mids[step]
    reach = np.zeros((2, len(ends_ns) - 1))
    np.maximum.at(reach[0], step, away)
    np.maximum.at(reach[1], step, -away)
    return reach.ravel()
