"""How long an order takes to the exchange, and its answer back."""

from __future__ import annotations

from dataclasses import dataclass

from marketmakerl.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Latency:
    """Constant latencies in nanoseconds.

    Args:
        feed_offset_ns: added to the recorded time of receipt; may be negative to correct a clock.
        entry_ns: from our decision to the exchange; >= 0.
        response_ns: from the exchange back to us; >= 0.

    On bars a decision is taken at a close and its orders work through the next bar, so any latency shorter than a bar
    changes nothing there; a longer one is refused.

    Raises:
        ConfigError: not an integer, or negative where it may not be.
    """

    feed_offset_ns: int = 0
    entry_ns: int = 0
    response_ns: int = 0

    def __post_init__(self) -> None:
        for name, low in (("feed_offset_ns", None), ("entry_ns", 0), ("response_ns", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or (low is not None and value < low):
                raise ConfigError(f"latency {name} must be an integer{'' if low is None else ' >= 0'}, got {value!r}")
