"""Where an order stands in the queue at its price: what nobody sends, and every backtest has to assume."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from marketmakerl.core.errors import ConfigError
from marketmakerl.core.jit import njit

RISK_AVERSE, PROBABILISTIC, FRONT, FIFO = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Queue:
    """How an order moves up when quantity in its level is cancelled. Trades always consume the queue in front first.

    Build one with `risk_averse`, `log`, `power`, `front` or `fifo`, or by name: "risk_averse", "log", "log2", "power",
    "power2", "front", "fifo".

    Attributes:
        kind: 0 risk-averse, 1 probabilistic, 2 front, 3 first in, first out.
        exponent: of the power model; 0 for the logarithm.
        variant: 1 or 2, see `log`.
    """

    kind: int
    exponent: float = 0.0
    variant: int = 1

    @classmethod
    def risk_averse(cls) -> Queue:
        """Cancels never happen in front of us: the pessimistic bound. The default."""
        return cls(RISK_AVERSE)

    @classmethod
    def log(cls, variant: int = 1) -> Queue:
        """Return the model in which a cancel of d lots is behind us with probability P, f(x) = ln(1 + x).

        Variant 1: P = f(back) / (f(back) + f(front)); variant 2: P = f(back) / f(back + front); x in units of quantity.
        Source: hftbacktest's LogProbQueueFunc and LogProbQueueFunc2, after Rigtorp's notes on queue position.
        """
        return cls(PROBABILISTIC, 0.0, _variant(variant))

    @classmethod
    def power(cls, exponent: float = 3.0, variant: int = 1) -> Queue:
        """Return the same with f(x) = x ** exponent; a larger exponent moves up less behind a short queue."""
        if isinstance(exponent, bool) or not isinstance(exponent, (int, float)) or not 0 < exponent < math.inf:
            raise ConfigError(f"queue exponent must be a finite number > 0, got {exponent!r}")
        return cls(PROBABILISTIC, float(exponent), _variant(variant))

    @classmethod
    def front(cls) -> Queue:
        """Nobody is ever in front of us: the optimistic bound, which no backtest should be believed on."""
        return cls(FRONT)

    @classmethod
    def fifo(cls) -> Queue:
        """Return the exact place: whoever leaves was in front of us, or was not. Only for tapes of single orders (L3).

        See `EventTape.from_l3`; feeding any other tape is a `ConfigError`.
        """
        return cls(FIFO)

    @classmethod
    def of(cls, queue: Queue | str | None) -> Queue:
        """Return the model of that name; None is the default.

        Raises:
            ConfigError: there is no such model.
        """
        if queue is None:
            return cls.risk_averse()
        if isinstance(queue, Queue):
            return queue
        if queue not in QUEUES:
            raise ConfigError(f"no queue model {queue!r}; there are {', '.join(QUEUES)}")
        return QUEUES[queue]

    def __str__(self) -> str:
        if self.kind != PROBABILISTIC:
            return {RISK_AVERSE: "risk_averse", FRONT: "front", FIFO: "fifo"}[self.kind]
        suffix = "2" if self.variant == 2 else ""
        return f"power{suffix}({self.exponent:g})" if self.exponent else f"log{suffix}"


def _variant(variant: int) -> int:
    if variant not in (1, 2):
        raise ConfigError(f"queue variant must be 1 or 2, got {variant!r}")
    return variant


QUEUES = {
    "risk_averse": Queue.risk_averse(),
    "log": Queue.log(),
    "log2": Queue.log(2),
    "power": Queue.power(),
    "power2": Queue.power(variant=2),
    "front": Queue.front(),
    "fifo": Queue.fifo(),
}


@njit()
def _weight(params: Any, lots: float) -> float:
    x = lots * params.lot_size
    if params.queue_power == 0.0:
        return math.log(1.0 + x)
    return float(x**params.queue_power)


@njit()
def ahead_after(params: Any, ahead: float, old: float, new: float, traded: float) -> float:
    """Return the quantity in front of an own order after its level went from `old` to `new` lots.

    Args:
        params: record with `queue`, `queue_power`, `queue_variant`, `lot_size`.
        ahead: lots in front before, already less what trades took; above `old` where the queue is not known.
        old: displayed lots before.
        new: displayed lots now.
        traded: lots traded at this price since the level's last update: they are no cancels.
    """
    if params.queue == 2:
        return 0.0
    cancelled = old - new - traded
    if ahead > old or cancelled <= 0.0 or params.queue == 0:
        return min(ahead, new)
    if ahead <= 0.0:
        return 0.0  # what the formula below comes to, without its logarithms
    back = max(0.0, old - traded - ahead)
    if back == 0.0:
        return max(0.0, min(ahead - cancelled, new))  # likewise
    weight_back = _weight(params, back)
    total = _weight(params, back + ahead) if params.queue_variant == 2 else weight_back + _weight(params, ahead)
    behind = weight_back / total if total > 0.0 else 1.0
    moved = ahead - (1.0 - behind) * cancelled + min(back - behind * cancelled, 0.0)
    return max(0.0, min(moved, new))


@njit()
def ahead_after_leaving(ahead: float, old: float, new: float, traded: float, since_ns: int, rested_ns: int) -> float:
    """Return the same where it is known who left: the first in, first out model.

    Args:
        ahead: see `ahead_after`, as for the next three.
        old: displayed lots before.
        new: displayed lots now.
        traded: lots traded since.
        since_ns: when the order that shrank or left took its place; -1: before the tape began.
        rested_ns: when the own order took its place. Rows precede own orders at one time: an equal `since_ns` is older.
    """
    cancelled = old - new - traded
    if ahead <= old and cancelled > 0.0 and since_ns <= rested_ns:
        return max(0.0, min(ahead - cancelled, new))
    return min(ahead, new)
