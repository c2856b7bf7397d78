"""The model world: a stochastic mid, orders that arrive at random, and one maker who quotes."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from marketmakerl.core.checks import require_number, require_whole
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.models.contract import LARGEST
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.fill_curves import CURVES, FillCurve
from marketmakerl.simulation.mids import MIDS, Mid

if TYPE_CHECKING:
    from marketmakerl.models.calibration import Calibration

FILLS: Final = ("linear", "poisson")
MAX_STEPS: Final = (1 << 20) - 1  # what the kernel's counters hold
_MULTIPLE = 1e-6  # of a step: float noise in horizon / dt


@dataclass(frozen=True)
class World:
    """A market of one maker.

    Step by step: the maker quotes at the mid S; each side may fill one order, at S - delta_bid or S + delta_ask, and
    pays the fee; then S moves. With lambda = arrival_rate * f(delta) a side fills with the probability

        linear    min(1, lambda dt)
        poisson   1 - exp(-lambda dt)

    both sides independently. `mml.World(100, 2, 1, 0.005, 140, 1.5)` is the example of Avellaneda & Stoikov (2008).

    Args:
        s0: the mid at the start, price units; > 0.
        sigma: volatility of the mid, price units per square root of a second; > 0.
        horizon_s: length of a run, seconds; > 0.
        dt_s: length of a step, seconds; > 0, a whole share of horizon_s.
        arrival_rate: orders a second and side that reach the mid (A of A exp(-k delta)); > 0, and in linear mode
            arrival_rate * dt_s <= 1.
        k: decay of the fill rate, per price unit; > 0.
        fill: "linear" or "poisson".
        mid: "gaussian", "binomial" or "geometric", or a process of `simulation.mids` with its parameters.
        fee_per_unit: paid for each unit filled, price units; negative is a rebate.
        q_max: bound of |inventory| in order sizes: nothing is quoted that could lead beyond it. A bound that is run
            into is another world, so the exact evaluator refuses one that holds back a probability above 1e-9.
            None: no bound, and the evaluator finds by itself how far to look.
        inventory_limit: the same bound as a rule of this world, which every policy has to live with; in order sizes.
        drift: of the mid, price units per second.
        adverse_move: the mid moves by so much against the maker with each fill, price units; >= 0.
        order_size: units of quantity of an order; > 0.
        latency_steps: a quote made now stands so many steps later, at the price it was given.
        arrivals: None for independent ones, or `Hawkes`.
        curve: "exponential" (with k), or a curve of `simulation.fill_curves`.
        tick_size: the step that the levels of a ladder are apart, price units; only ladders need it.

    Raises:
        ConfigError: a parameter out of its range.
    """

    s0: float
    sigma: float
    horizon_s: float
    dt_s: float
    arrival_rate: float
    k: float
    _: KW_ONLY
    fill: str = "linear"
    mid: str | Mid = "gaussian"
    fee_per_unit: float = 0.0
    q_max: int | None = None
    inventory_limit: int | None = None
    drift: float = 0.0
    adverse_move: float = 0.0
    order_size: float = 1.0
    latency_steps: int = 0
    arrivals: Hawkes | None = None
    curve: str | FillCurve = "exponential"
    tick_size: float | None = None

    def __post_init__(self) -> None:
        for name in ("s0", "sigma", "horizon_s", "dt_s", "arrival_rate", "k", "order_size"):
            self._store(name, require_number(name, getattr(self, name), above=0.0, at_most=LARGEST))
        for name in ("fee_per_unit", "drift"):
            self._store(name, require_number(name, getattr(self, name), at_least=-LARGEST, at_most=LARGEST))
        self._store("adverse_move", require_number("adverse_move", self.adverse_move, at_least=0.0, at_most=LARGEST))
        latency = require_whole("latency_steps", self.latency_steps, at_least=0, at_most=MAX_STEPS)
        self._store("latency_steps", latency)
        for name in ("q_max", "inventory_limit"):
            if getattr(self, name) is not None:
                self._store(name, require_whole(name, getattr(self, name), at_least=1))
        if self.tick_size is not None:
            self._store("tick_size", require_number("tick_size", self.tick_size, above=0.0, at_most=LARGEST))
        if self.fill not in FILLS:
            raise UnknownNameError("fill", str(self.fill), FILLS)
        self._check_steps()
        self.process.check(self.dt_s)
        self.fill_curve.check()
        if self.arrivals is not None:
            if not isinstance(self.arrivals, Hawkes):
                raise ConfigError(f"arrivals must be None or Hawkes(...), got {self.arrivals!r}")
            self.arrivals.check()

    def _store(self, name: str, number: float) -> None:
        """Keep a number as a plain one: a float32 would make the kernel compute, and compile, otherwise."""
        object.__setattr__(self, name, number)

    def _check_steps(self) -> None:
        steps = self.horizon_s / self.dt_s
        if steps > MAX_STEPS + 0.5:
            raise ConfigError(f"dt_s must be >= {self.horizon_s / MAX_STEPS:.6g} for this horizon_s, got {self.dt_s!r}")
        if self.dt_s > self.horizon_s or abs(steps - round(steps)) > _MULTIPLE * max(1.0, steps):
            raise ConfigError(
                f"dt_s must be <= horizon_s and divide it, got dt_s={self.dt_s!r} and horizon_s={self.horizon_s!r}"
            )
        if self.fill == "linear" and self.arrival_rate * self.dt_s > 1.0 + 1e-12:
            raise ConfigError(
                f"arrival_rate must be <= 1 / dt_s = {1.0 / self.dt_s:.12g} with fill='linear' (a probability), got "
                f"{self.arrival_rate!r}; take a smaller dt_s, or fill='poisson'"
            )

    @property
    def steps(self) -> int:
        """Return how many steps a run has."""
        return round(self.horizon_s / self.dt_s)

    @cached_property
    def process(self) -> Mid:
        """Return how the mid moves."""
        if isinstance(self.mid, Mid):
            return self.mid
        if not isinstance(self.mid, str) or self.mid not in MIDS:
            raise UnknownNameError("mid", str(self.mid), MIDS, "or give a process of marketmakerl.simulation.mids")
        return MIDS[self.mid]

    @cached_property
    def fill_curve(self) -> FillCurve:
        """Return how fills fall with the distance."""
        if isinstance(self.curve, FillCurve):
            return self.curve
        if not isinstance(self.curve, str) or self.curve not in CURVES:
            known = "or give a curve of marketmakerl.simulation.fill_curves"
            raise UnknownNameError("curve", str(self.curve), CURVES, known)
        return CURVES[self.curve]

    @property
    def bound(self) -> int | None:
        """Return the tighter of q_max and inventory_limit, in order sizes."""
        bounds = [bound for bound in (self.q_max, self.inventory_limit) if bound is not None]
        return min(bounds) if bounds else None

    def mid_step(self) -> Any:
        """Return the parameters of the compiled step of the mid."""
        return self.process.step(self, self.drift, self.sigma, self.dt_s)

    def replace(self, **changes: Any) -> Self:
        """Return the world with some parameters changed."""
        names = [item.name for item in fields(self)]
        for name in changes:
            if name not in names:
                raise UnknownNameError("parameter of the world", name, names)
        return replace(self, **changes)

    @classmethod
    def from_calibration(
        cls, calibration: Calibration, *, horizon_s: float, dt_s: float, bursts: bool = False, **changes: Any
    ) -> Self:
        """Return a world with the parameters that were measured in a market.

        Fills move the mid as they were seen to (not against their favour), and follow a Poisson process.

        Args:
            calibration: what `marketmakerl.models.calibration` measured.
            horizon_s: length of a run, seconds.
            dt_s: length of a step, seconds.
            bursts: orders come as the measured Hawkes process.
            changes: anything else, e.g. fill="poisson" or fee_per_unit=0.2; what is given wins.

        Raises:
            ConfigError: a parameter that could not be identified, or one out of its range.
        """
        measured: dict[str, Any] = {
            "s0": calibration.mid,
            "sigma": calibration.sigma,
            "arrival_rate": calibration.arrival_rate,
            "k": calibration.k,
            "tick_size": calibration.tick_size,
            "fill": "poisson",
        }
        if calibration.estimates.get("adverse_move") is not None:
            measured["adverse_move"] = max(calibration.adverse_move, 0.0)
        if bursts:
            rates = calibration.hawkes
            if rates is None:
                why = calibration.reasons.get("hawkes.decay", calibration.reasons.get("hawkes", "it was refused"))
                raise ConfigError(f"the calibration of {calibration.source} has no Hawkes process: {why}")
            measured["arrivals"] = Hawkes(excitation=rates.excitation, decay_per_s=rates.decay)
        return cls(horizon_s=horizon_s, dt_s=dt_s, **{**measured, **changes})

    def as_dict(self) -> dict[str, Any]:
        """Return every parameter, JSON-ready."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        named["mid"] = self.process.as_dict()
        named["curve"] = self.fill_curve.as_dict()
        named["arrivals"] = None if self.arrivals is None else self.arrivals.as_dict()
        return named

    @property
    def has_independent_steps(self) -> bool:
        """Return whether quotes by time and inventory make (time, inventory) a Markov chain of independent edges."""
        return self.latency_steps == 0 and self.arrivals is None and self.process.moments(self.mid_step()) is not None


# The example of Avellaneda & Stoikov (2008), section 3.3.
PAPER_WORLD: Final = World(s0=100.0, sigma=2.0, horizon_s=1.0, dt_s=0.005, arrival_rate=140.0, k=1.5)
