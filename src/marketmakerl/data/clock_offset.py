"""How far the recorder's clock stood from the exchange's, as far as that can be told.

Nothing arrives before it was sent. Where the times of receipt lie before the exchange's, one of the clocks is wrong,
and the whole latency is hidden in the difference. All that can be done is to shift the times of receipt until the
fastest messages took a small delay that was *chosen*, not measured: how long the fastest message took cannot be known
from a recording on one side of the wire. Differences between latencies are as recorded; their level is a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Delays = Mapping[str, npt.NDArray[np.int64]]

log = get_logger(__name__)

# What the fastest messages are said to have taken after a shift, nanoseconds.
FLOOR_NS: Final = NS_PER_MS
# The fastest messages: this percentile of local - exchange time, so that no single odd stamp decides.
FASTEST_PERCENTILE: Final = 0.1


def fastest_ns(delays: npt.NDArray[np.int64]) -> int:
    """Return the robust minimum of local - exchange times, nanoseconds; there is at least one."""
    return int(np.percentile(delays, FASTEST_PERCENTILE, method="lower"))


def estimate(delays: Delays, source: str = "") -> int:
    """Return what to add to every time of receipt, nanoseconds; 0 where nothing says that the clocks disagree.

    Args:
        delays: local - exchange time of every message that has both, nanoseconds, by stream (they share one clock).
        source: named in the log line, which a shift never goes without.
    """
    fastest = {name: fastest_ns(values) for name, values in delays.items() if len(values)}
    lowest = min(fastest.values(), default=0)
    if lowest >= 0:
        return 0
    offset_ns = FLOOR_NS - lowest
    log.warning(
        "clock_offset",
        source=source,
        fastest_ns=fastest,
        added_to_receipt_ns=offset_ns,
        note=f"receipt before sending: shifted so that the fastest messages take {FLOOR_NS} ns, which is a choice",
    )
    return offset_ns
