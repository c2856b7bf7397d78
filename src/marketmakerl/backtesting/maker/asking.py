"""How the model is asked: with a copy of what we see, of which only what it may answer with is read back."""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.layout import at_context
from marketmakerl.backtesting.maker.feed import show_depth, show_trades
from marketmakerl.core.jit import njit
from marketmakerl.core.memory import copy_record


@njit()
def show_feed(state: Any, memory: Any, params: Any) -> None:
    """Write depth and trades into the record that the model is called with, where it asks for them."""
    if params.depth > 0:
        show_depth(memory, params)
    if params.trades > 0:
        show_trades(state, memory, params)


@njit()
def ask(memory: Any, context: Any, model: Any, model_params: Any) -> tuple[float, float]:
    """Return the distances that the model answers with, and take over the three fields that it may change.

    What it writes elsewhere nobody reads: it works on a record of its own, whose head is written anew each time.
    """
    shown = at_context(memory.shown)[np.uint64(0)]
    copy_record(shown, context)
    bid_offset, ask_offset = model(shown, model_params)
    context.bid_qty = shown.bid_qty
    context.ask_qty = shown.ask_qty
    context.take_qty = shown.take_qty
    return bid_offset, ask_offset
