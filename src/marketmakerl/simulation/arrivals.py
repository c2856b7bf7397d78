"""Orders that come in bursts: two Hawkes processes, of those that hit our bid and those that lift our ask."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

from marketmakerl.core.checks import require_number
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit


class HawkesStep(NamedTuple):
    """A rate falls to the baseline by `keep` a step; an order adds `own` to its side and `cross` to the other."""

    start: float
    baseline: float
    keep: float
    share: float  # of what a rate is above the baseline, on average over a step
    own: float
    cross: float
    dt: float
    linear: bool


@njit(inline="always")
def arrival_chance(bursts: Any, rate: float) -> float:
    """Return the probability that an order arrives within a step."""
    expected = (bursts.baseline + (rate - bursts.baseline) * bursts.share) * bursts.dt
    return min(expected, 1.0) if bursts.linear else -math.expm1(-expected)


@njit(inline="always")
def next_rate(bursts: Any, rate: float, own: int, cross: int) -> float:
    """Return a side's rate a step later, after `own` orders of its side and `cross` of the other (0 or 1)."""
    return bursts.baseline + (rate - bursts.baseline) * bursts.keep + bursts.own * own + bursts.cross * cross


@dataclass(frozen=True)
class Hawkes:
    """Exponential kernels: an order raises the rate of its own side by `excitation`, the other's by `cross_excitation`.

    The world's `arrival_rate` A stays the mean rate of a side: the baseline is A (1 - (excitation + cross) / decay).
    An order arrives with the probability of the step's mean rate, at most one a side and step (so a step should be
    short beside a burst), excites from the next step on, and fills a quote at distance delta with min(1, f(delta)): a
    quote inside the mid makes nobody come faster.

    Args:
        excitation, cross_excitation: per second; >= 0, and their sum below `decay_per_s`.
        decay_per_s: rate at which a burst dies down; > 0.
    """

    excitation: float
    decay_per_s: float
    cross_excitation: float = 0.0
    id: ClassVar[str] = "hawkes"

    def check(self) -> None:
        """Raise `ConfigError` unless the process is stationary."""
        require_number("arrivals.decay_per_s", self.decay_per_s, above=0.0)
        require_number("arrivals.excitation", self.excitation, at_least=0.0)
        require_number("arrivals.cross_excitation", self.cross_excitation, at_least=0.0)
        if not self.branching_ratio < 1.0:
            raise ConfigError(
                "arrivals.excitation + arrivals.cross_excitation must be < arrivals.decay_per_s (a branching ratio "
                f"below 1), got {self.excitation!r} + {self.cross_excitation!r} against {self.decay_per_s!r}"
            )

    @property
    def branching_ratio(self) -> float:
        """Return how many orders an order brings about."""
        return (self.excitation + self.cross_excitation) / self.decay_per_s

    def step(self, arrival_rate: float, dt_s: float, *, linear: bool) -> HawkesStep:
        """Return what the kernel needs for steps of `dt_s` seconds; it starts as it goes on, at the mean rate."""
        decay = self.decay_per_s * dt_s
        baseline, share = arrival_rate * (1.0 - self.branching_ratio), -math.expm1(-decay) / decay
        return HawkesStep(
            start=baseline + (arrival_rate - baseline) / share,
            baseline=baseline,
            keep=math.exp(-decay),
            share=share,
            own=float(self.excitation),
            cross=float(self.cross_excitation),
            dt=float(dt_s),
            linear=linear,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return id and parameters, JSON-ready."""
        return {"id": self.id, **asdict(self)}
