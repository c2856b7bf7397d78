"""A bar tape cut into windows of equal time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from marketmakerl.data.tape import Kind

if TYPE_CHECKING:
    from marketmakerl.data.tape import EventTape


def window_rows(tape: EventTape, n: int) -> list[int]:
    """Return the n + 1 rows that cut a bar tape into n windows of equal time; no bar is cut or lies in two windows."""
    opens = np.flatnonzero(tape.kind == Kind.BAR_OPEN)
    start_ns, end_ns = int(tape.ts_ns[opens[0]]), int(tape.ts_ns[-1])
    bounds = [start_ns + (end_ns - start_ns) * i // n for i in range(1, n)]
    # The first bar that opens at or after a bound starts the next window.
    inner = np.searchsorted(tape.ts_ns[opens], bounds, side="left")
    starts = [int(opens[i]) if i < len(opens) else len(tape) for i in inner]
    return [0, *starts, len(tape)]
