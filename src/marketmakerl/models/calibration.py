"""The parameters of models and worlds from recorded data, with standard errors, or the reason why there is none.

    calibration = calibrate(tape)
    calibration.sigma, calibration.k, calibration.arrival_rate      numbers; ConfigError with the reason if refused
    calibration.estimates["k"]                                      Estimate(value, std_error, unit, method, n) or None
    calibration.reasons                                             why an estimate is None
    calibration.save(path); load_calibration(path)

What is estimated, and how: docs/calibration.md. From ticks: volatility, arrival curve, Hawkes, spread, depth, order
size, adverse selection. From bars: volatility, and the curve as an approximation that says so (`approximate`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xxhash

from marketmakerl.core.artifacts import write_json
from marketmakerl.core.clock import NS_PER_S, iso_utc
from marketmakerl.core.errors import ConfigError, DataQualityError
from marketmakerl.models import adverse_selection, arrival_curve, bar_excursions, book_profile, hawkes, volatility
from marketmakerl.models.bar_calibration import BarEstimate
from marketmakerl.models.calibration_file import SCHEMA, read_calibration
from marketmakerl.models.estimate import Estimate, NotIdentifiedError
from marketmakerl.models.tick_observations import observe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path as FilePath

    from marketmakerl.data.tape import EventTape
    from marketmakerl.models.hawkes import HawkesRates
    from marketmakerl.models.tick_observations import TickObservations

    Progress = Callable[[str], None]

_BAR_STEPS: Final = (1, 2, 5, 10, 30, 60, 120, 240)
_HASH_COLUMNS: Final = ("ts_ns", "price_ticks", "qty_lots", "kind")


@dataclass(frozen=True)
class Calibration:
    """What recorded data say about a market.

    Attributes:
        source: what was recorded, e.g. "binanceusdm BTCUSDT".
        symbol: of the instrument.
        tier: of the data, T0 to T3.
        clock: "ticks" or "bars".
        first_ns, last_ns: the span of the data; a run that trades inside it looks ahead.
        observed_s: seconds of it that were observed, gaps left out.
        tick_size, lot_size: of the instrument.
        mid: the last mid (bars: the last close), price units.
        data_hash: XXH3-128 of the tape's columns.
        estimates: by name; None where the data do not say, and then `reasons` has why.
        reasons: by name.
        details: curves and goodness of fit, JSON-ready: signature, curve, profile, hawkes, spread, depth, sizes.
        approximate: what is an approximation by declaration, "" for nothing.
        data: one JSON-ready entry a file.
    """

    source: str
    symbol: str
    tier: str
    clock: str
    first_ns: int
    last_ns: int
    observed_s: float
    tick_size: float
    lot_size: float
    mid: float
    data_hash: str
    estimates: dict[str, Estimate | None]
    reasons: dict[str, str]
    details: dict[str, Any] = field(default_factory=dict)
    approximate: str = ""
    data: list[dict[str, Any]] = field(default_factory=list)

    def value(self, name: str) -> float:
        """Return the value of an estimate.

        Raises:
            ConfigError: it was refused, or there is none of that name.
        """
        estimate = self.estimates.get(name)
        if estimate is None:
            known = ", ".join(sorted(key for key, made in self.estimates.items() if made is not None))
            why = self.reasons.get(name, f"there is no such estimate; it has {known or 'none'}")
            raise ConfigError(f"the calibration of {self.source} has no {name}: {why}")
        return estimate.value

    @property
    def sigma(self) -> float:
        """Return the volatility, price units per sqrt(s): below the noise of ticks where it could be, else realised."""
        return self.value("sigma")

    @property
    def arrival_rate(self) -> float:
        """Return A of A e^(-k delta), per second and side."""
        return self.value("arrival_rate")

    @property
    def k(self) -> float:
        """Return the decay of the arrival curve, per price unit."""
        return self.value("k")

    @property
    def adverse_move(self) -> float:
        """Return the immediate move of the mid against a maker, price units an order."""
        return self.value("adverse_move")

    @property
    def hawkes(self) -> HawkesRates | None:
        """Return baseline, excitation and decay of orders on one side (1/s), None where they were refused."""
        names = ("hawkes.baseline", "hawkes.excitation", "hawkes.decay")
        made = [self.estimates.get(name) for name in names]
        if any(estimate is None for estimate in made):
            return None
        return hawkes.HawkesRates(*(self.value(name) for name in names))

    def estimate(self) -> BarEstimate:
        """Return what models are set by: sigma, k, how many observations k rests on, and A where they take it.

        Raises:
            ConfigError: one of them was refused.
        """
        k = self.estimates.get("k")
        given: dict[str, Any] = {"sigma": self.sigma, "k": self.k, "bars": k.n if k else 0}
        if "arrival_rate" in {made.name for made in fields(BarEstimate)}:
            given["arrival_rate"] = self.arrival_rate
        return BarEstimate(**given)

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready."""
        made = asdict(self)
        span = {"first": iso_utc(self.first_ns), "last": iso_utc(self.last_ns)}
        return {"schema": SCHEMA} | made | span

    def save(self, path: FilePath) -> FilePath:
        """Write it as JSON, atomically.

        Raises:
            ArtifactError: the file cannot be written.
        """
        write_json(path, self.as_dict())
        return path


def load_calibration(path: FilePath) -> Calibration:
    """Read what `Calibration.save` wrote.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: not a calibration, another version, a field that is missing, of the wrong type or not finite.
    """
    return Calibration(**read_calibration(path))


def calibrate(
    tape: EventTape,
    *,
    delta_min: float | None = None,
    data: Sequence[dict[str, Any]] = (),
    progress: Progress | None = None,
) -> Calibration:
    """Estimate what a tape of ticks or bars says about its market.

    Args:
        tape: of ticks or bars.
        delta_min: distance from the mid, price units, from which on the arrival curve is fitted; None: the half-spread
            that 90 % of the time stays at or below. Ticks only.
        data: one JSON-ready entry a file the tape was made of, kept in the calibration.
        progress: called with the name of each step before it begins.

    Raises:
        DataQualityError: the tape has nothing to estimate from: no rows, or never a bid and an ask at once.
        DataFormatError: rows that are none.
        ConfigError: `delta_min` not > 0, or given for bars.
    """
    if delta_min is not None and not 0 < delta_min < math.inf:
        raise ConfigError(f"delta_min must be a finite number > 0, got {delta_min!r}")
    if delta_min is not None and tape.is_bars:
        raise ConfigError("delta_min is for ticks: bars know no distance from the mid")
    source = str(tape.meta.get("source", "")) or tape.instrument.symbol
    if len(tape) == 0:
        raise DataQualityError(f"{source}: the tape holds no events; there is nothing to calibrate on")
    work = _Work(progress or (lambda _step: None))
    if tape.is_bars:
        observed_s, mid = _from_bars(work, tape, source)
    else:
        observed_s, mid = _from_ticks(work, tape, source, delta_min)
    return Calibration(
        source=source,
        symbol=tape.instrument.symbol,
        tier=tape.tier,
        clock="bars" if tape.is_bars else "ticks",
        first_ns=int(tape.ts_ns[0]),
        last_ns=int(tape.ts_ns[-1]),
        observed_s=observed_s,
        tick_size=tape.instrument.tick_size,
        lot_size=tape.instrument.lot_size,
        mid=mid,
        data_hash=_hash(tape),
        estimates=work.estimates,
        reasons=work.reasons,
        details=work.details,
        approximate="bars: k is from excursions beyond the last close, arrival_rate one chance a bar"
        if tape.is_bars
        else "",
        data=list(data),
    )


class _Work:
    """Collects estimates, and the reasons for those that there are not."""

    def __init__(self, progress: Progress) -> None:
        self.estimates: dict[str, Estimate | None] = {}
        self.reasons: dict[str, str] = {}
        self.details: dict[str, Any] = {}
        self.step = progress

    def add(self, names: str | tuple[str, ...], make: Callable[[], dict[str, Estimate]]) -> None:
        """Add what `make` returns; if it cannot tell, refuse `names` with its reason."""
        try:
            made = make()
        except NotIdentifiedError as reason:
            self.refuse(names, str(reason))
            return
        for name, estimate in made.items():
            if math.isfinite(estimate.value) and (estimate.std_error is None or math.isfinite(estimate.std_error)):
                self.estimates[name] = estimate
            else:
                self.refuse(name, "the numbers overflow: check tick size and prices")

    def refuse(self, names: str | tuple[str, ...], reason: str) -> None:
        for name in (names,) if isinstance(names, str) else names:
            self.estimates[name] = None
            self.reasons[name] = reason

    def detail(self, name: str, make: Callable[[], Any]) -> None:
        """Add a detail; if the data do not have it, its reason."""
        try:
            self.details[name] = make()
        except NotIdentifiedError as reason:
            self.reasons[name] = str(reason)

    def choose(self, name: str, *candidates: str) -> None:
        """Set an estimate to the first of the candidates that there is."""
        for candidate in candidates:
            if self.estimates.get(candidate) is not None:
                self.estimates[name] = self.estimates[candidate]
                return
        self.refuse(name, self.reasons.get(candidates[-1], "not estimated"))


def _from_ticks(work: _Work, tape: EventTape, source: str, delta_min: float | None) -> tuple[float, float]:
    """Estimate everything ticks say; return the observed seconds and the last mid."""
    work.step("reading the book")
    seen = observe(tape)
    quotes, tick = seen.quotes, tape.instrument.tick_size
    if quotes.seconds <= 0:
        raise DataQualityError(
            f"{source}: the tape never shows a bid and an ask at once for any length of time; there is nothing to "
            "calibrate on"
        )
    work.details["orders"] = {
        "trades": seen.trades,
        "orders": len(seen.orders),
        "unknown_side": seen.unknown_side,
        "without_book": seen.unseen,
        "stretches": len(quotes.start_ns),
        "clock_ns": seen.clock_ns,
    }
    work.step("volatility")
    path = volatility.Path.of_mids(quotes, tick)
    step_ms = volatility.grid_ms(quotes.seconds)
    _volatility(work, path, step_ms * 1_000_000, volatility.SIGNATURE_MS)
    work.add("sigma_two_scales", lambda: _two_scales(work, path))
    work.choose("sigma", "sigma_two_scales", "sigma_realised")
    work.step("arrival curve")
    _curves(work, seen, tick, delta_min)
    work.step("spread, depth and sizes")
    _profiles(work, seen, tape)
    work.step("adverse selection")
    _adverse(work, seen, tick)
    work.step("Hawkes")
    _hawkes(work, seen)
    return quotes.seconds, float(quotes.mid_half_ticks[-1]) * tick / 2


def _volatility(work: _Work, path: volatility.Path, step_ns: int, steps_ms: tuple[int, ...]) -> None:
    """Add realised and bipower volatility on one grid, the share of jumps, and the signature."""
    sums = volatility.Realised.of(path.on_grid(step_ns), step_ns / NS_PER_S)
    work.add("sigma_realised", lambda: {"sigma_realised": volatility.realised(sums)})
    coarse = volatility.first_that_moves(path, step_ns)
    work.add("sigma_bipower", lambda: {"sigma_bipower": volatility.bipower(coarse)})

    def jumps() -> dict[str, Estimate]:
        estimate, p_value = volatility.jump_share(coarse)
        work.details["jumps"] = {"p_value": p_value, "zero_returns": coarse.zeros, "interval_s": coarse.step_s}
        return {"jump_share": estimate}

    work.add("jump_share", jumps)
    work.details["signature"] = volatility.signature(path, steps_ms)


def _two_scales(work: _Work, path: volatility.Path) -> dict[str, Estimate]:
    estimate, noise = volatility.two_scales(path)
    work.details["noise"] = noise
    return {"sigma_two_scales": estimate}


def _no_orders(seen: TickObservations) -> str:
    """Return why there are no market orders to look at, "" if there are."""
    if len(seen.orders):
        return ""
    if not seen.trades:
        return "the data hold no trades"
    if seen.unknown_side == seen.trades:
        return f"the side of all {seen.trades} trades is unknown: they cannot be told into orders that bought and sold"
    return f"none of the {seen.trades} trades has a known side and a book before it"


def _curves(work: _Work, seen: TickObservations, tick: float, delta_min: float | None) -> None:
    """Fit the arrival curve to both sides together and to each."""
    both = ("arrival_rate", "k")
    if reason := _no_orders(seen):
        work.refuse((*both, "arrival_rate_bid", "k_bid", "arrival_rate_ask", "k_ask"), reason)
        return
    floor = arrival_curve.default_floor(seen.quotes, seen.orders)
    if delta_min is not None:
        floor = max(1, math.ceil(2 * delta_min / tick - 1e-6))
    curves: dict[str, Any] = {}
    for suffix, orders, what in (
        ("", seen.orders, "market orders of both sides"),
        ("_bid", seen.orders.of(-1), "sellers' orders"),
        ("_ask", seen.orders.of(1), "buyers' orders"),
    ):
        names = (f"arrival_rate{suffix}", f"k{suffix}")
        exposure = arrival_curve.Exposure.of(seen.quotes, 1 if suffix else 2)

        def fit(
            names: tuple[str, str] = names,
            orders: Any = orders,
            what: str = what,
            exposure: arrival_curve.Exposure = exposure,
        ) -> dict[str, Estimate]:
            made = arrival_curve.fit_curve(orders, exposure, floor, tick)
            curves[names[1]] = made.as_dict()
            return dict(zip(names, made.estimates(what, exposure.blocks.seconds), strict=True))

        work.add(names, fit)
        if not suffix:
            work.details["profile"] = arrival_curve.profile(orders, exposure, floor, tick)
    work.details["curve"] = curves


def _profiles(work: _Work, seen: TickObservations, tape: EventTape) -> None:
    instrument = tape.instrument
    work.add("spread", lambda: {"spread": book_profile.mean_spread(seen.quotes, instrument.tick_size)})
    work.details["spread"] = book_profile.spread_shares(seen.quotes)
    work.detail("depth", lambda: book_profile.depth_lines(seen.depth, instrument))

    def sizes() -> dict[str, Estimate]:
        estimate, work.details["order_size"] = book_profile.order_size(seen.orders, seen.quotes, instrument.lot_size)
        return {"order_size": estimate}

    if reason := _no_orders(seen):
        work.refuse("order_size", reason)
    else:
        work.add("order_size", sizes)


def _adverse(work: _Work, seen: TickObservations, tick: float) -> None:
    """Add the move of the mid against a maker: the immediate one, and at each horizon."""
    names = {f"adverse_move_{horizon:g}s": horizon for horizon in adverse_selection.HORIZONS_S}
    if reason := _no_orders(seen):
        work.refuse(("adverse_move", *names), reason)
        return
    orders, quotes = seen.orders, seen.quotes
    work.add(
        "adverse_move", lambda: {"adverse_move": adverse_selection.immediate_move(orders, quotes, tick)}
    )  # fmt: skip
    for name, horizon in names.items():

        def move(name: str = name, horizon: float = horizon) -> dict[str, Estimate]:
            return {name: adverse_selection.move_after(orders, quotes, tick, horizon)}

        work.add(name, move)


def _hawkes(work: _Work, seen: TickObservations) -> None:
    """Fit the four Hawkes processes."""
    details: dict[str, Any] = {}
    for prefix, orders, sides, cross in (
        ("hawkes", seen.orders, 2, False),
        ("hawkes_bid", seen.orders.of(-1), 1, False),
        ("hawkes_ask", seen.orders.of(1), 1, False),
        ("hawkes_cross", seen.orders, 2, True),
    ):
        parts = ("baseline", "excitation", "decay", "branching", *(("cross_excitation",) if cross else ()))
        names = tuple(f"{prefix}.{part}" for part in parts)
        if reason := _no_orders(seen):
            work.refuse(names, reason)
            continue

        def fit(
            prefix: str = prefix, orders: Any = orders, sides: int = sides, cross: bool = cross
        ) -> dict[str, Estimate]:
            events = hawkes.Events.of(orders, seen.quotes, sides, seen.clock_ns)
            made = hawkes.fit_hawkes(events, cross=cross)
            details[prefix] = made.as_dict()
            return made.named(prefix)

        work.add(names, fit)
    work.details["hawkes"] = details


def _from_bars(work: _Work, tape: EventTape, source: str) -> tuple[float, float]:
    """Estimate what bars say; return the observed seconds and the last close."""
    work.step("bars")
    bars = bar_excursions.observe_bars(tape)
    if len(bars.ts_ns) == 0:
        raise DataQualityError(f"{source}: no two neighbouring bars; there is nothing to calibrate on")
    interval_ms = bars.interval_ns // 1_000_000
    _volatility(work, bars.closes, bars.interval_ns, tuple(step * interval_ms for step in _BAR_STEPS))
    work.choose("sigma", "sigma_realised")
    curves: dict[str, Any] = {}
    for name, sides in (("k", (bars.up, bars.down)), ("k_bid", (bars.down,)), ("k_ask", (bars.up,))):

        def decay(name: str = name, sides: tuple[Any, ...] = sides) -> dict[str, Estimate]:
            estimate, curves[name] = bar_excursions.excursion_decay(bars, sides)
            return {name: estimate}

        work.add(name, decay)
    work.details["curve"] = curves
    work.add("arrival_rate", lambda: {"arrival_rate": bar_excursions.one_chance_a_bar(bars)})
    no_ticks = "bars hold neither orders nor a book; calibrate on ticks (a book with its trades)"
    names = ("sigma_two_scales", "spread", "order_size", "adverse_move", "hawkes.baseline", "hawkes.excitation")
    work.refuse((*names, "hawkes.decay", "hawkes.branching"), no_ticks)
    return len(bars.ts_ns) * bars.interval_ns / NS_PER_S, float(bars.closes.price[-1])


def _hash(tape: EventTape) -> str:
    digest = xxhash.xxh3_128()
    for name in _HASH_COLUMNS:
        digest.update(np.ascontiguousarray(getattr(tape, name)).data.cast("B"))
    return digest.hexdigest()
