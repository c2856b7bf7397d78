"""The steps of a calibration: each estimate is made, or refused with its reason, and none hinders another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import DataQualityError
from marketmakerl.models import adverse_selection, arrival_curve, bar_excursions, book_profile, hawkes, volatility
from marketmakerl.models.estimate import Estimate, NotIdentifiedError
from marketmakerl.models.tick_observations import observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from marketmakerl.data.tape import EventTape
    from marketmakerl.models.tick_observations import TickObservations

_BAR_STEPS: Final = (1, 2, 5, 10, 30, 60, 120, 240)


class Work:
    """Collects estimates, and the reasons for those that there are not."""

    def __init__(self, progress: Callable[[str], None]) -> None:
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
        """Refuse estimates for a reason."""
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


def from_ticks(work: Work, tape: EventTape, source: str, delta_min: float | None) -> tuple[float, float]:
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


def _volatility(work: Work, path: volatility.Path, step_ns: int, steps_ms: tuple[int, ...]) -> None:
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


def _two_scales(work: Work, path: volatility.Path) -> dict[str, Estimate]:
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


def _curves(work: Work, seen: TickObservations, tick: float, delta_min: float | None) -> None:
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


def _profiles(work: Work, seen: TickObservations, tape: EventTape) -> None:
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


def _adverse(work: Work, seen: TickObservations, tick: float) -> None:
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


def _hawkes(work: Work, seen: TickObservations) -> None:
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


def from_bars(work: Work, tape: EventTape, source: str) -> tuple[float, float]:
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
