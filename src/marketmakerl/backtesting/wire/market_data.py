"""Market data on their way to us, row by row, for a model that asks for more than the top of the book.

They are sent off when they are next needed, not as they happen: what is on its way nobody can see.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.layout import at_feed, at_int, at_kind
from marketmakerl.core.jit import njit
from marketmakerl.data.tape import MORE, Kind

_MORE = int(MORE)
_FIRST_TRADE = int(Kind.TRADE_SELL)


@njit()
def send_rows(state: Any, memory: Any, params: Any, end_row: int) -> bool:
    """Send the rows of the columns before `end_row` on their way; return False if there is no room for all of them.

    The rows of a message reach us together, with its last. Only trades are sent where nobody keeps a book of them.
    """
    ts_ns, local_ts_ns, kind = at_int(memory.ts_ns), at_int(memory.local_ts_ns), at_kind(memory.kind)
    price_ticks, qty_lots = at_int(memory.price_ticks), at_int(memory.qty_lots)
    wire = state.wire
    feed, mask, offset_ns, all_kinds = at_feed(memory.feed), wire.feed_mask, params.feed_offset_ns, params.depth > 0
    i, end, whole, full = wire.sent_row, wire.feed_end, wire.feed_whole, wire.feed_first + mask + 1
    while i < end_row and end < full:
        row = np.uint64(i)
        code = np.int64(kind[row])
        local_ns = max(local_ts_ns[row] + offset_ns, ts_ns[row])
        if all_kinds or code & (_MORE - 1) >= _FIRST_TRADE:
            entry = feed[np.uint64(end & mask)]
            entry.local_ns = local_ns
            entry.ts_ns = ts_ns[row]
            entry.kind = code
            entry.price_ticks = price_ticks[row]
            entry.qty_lots = qty_lots[row]
            end += 1
        if code < _MORE:
            for at in range(whole, end - 1):
                feed[np.uint64(at & mask)].local_ns = local_ns
            whole = end
        i += 1
    state.wire.sent_row = i
    state.wire.feed_end = end
    state.wire.feed_whole = whole
    return bool(i == end_row)
