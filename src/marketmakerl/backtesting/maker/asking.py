"""How the model is asked: with a copy of what we see, of which only what it may answer with is read back.

What the model writes anywhere else nobody reads, and it is gone when the model is asked again. Copying the whole record
each time would cost a tenth of a run in which every event wakes the model. So the copy is compared, which is cheap as
long as nothing of it has just been written, and mended if need be; then only what can have changed is written anew.
"""

from __future__ import annotations

from typing import Any

from marketmakerl.backtesting.maker.feed import show_depth, show_trades
from marketmakerl.core.jit import njit
from marketmakerl.core.memory import copy_record, same_but_first


@njit()
def mend(shown: Any, context: Any) -> None:
    """Undo what the model has written where it should only read; to be called before we look, not after."""
    if not same_but_first(shown, context):
        copy_record(shown, context)


@njit()
def show_feed(state: Any, memory: Any, params: Any) -> None:
    """Write depth and trades into the record that the model is called with, where it asks for them."""
    if params.depth > 0:
        show_depth(memory, params)
    if params.trades > 0:
        show_trades(state, memory, params)


@njit()
def ask(shown: Any, context: Any, model: Any, model_params: Any) -> tuple[float, float]:
    """Return the distances that the model answers with to what we see now, and take over what it may change.

    Args:
        shown: the model's record; `mend` has been called.
        context: CONTEXT record, what we see.
        model: the quote function.
        model_params: its parameters.
    """
    # All that `look` writes, word by word: a wide copy of words just written would wait for them.
    shown.ts_ns = context.ts_ns
    shown.mid = context.mid
    shown.best_bid = context.best_bid
    shown.best_ask = context.best_ask
    shown.q = context.q
    shown.inventory = context.inventory
    shown.time_left_s = context.time_left_s
    shown.maker_fee = context.maker_fee
    shown.best_bid_qty = context.best_bid_qty
    shown.best_ask_qty = context.best_ask_qty
    shown.bids[context.instrument] = context.bids[context.instrument]
    shown.asks[context.instrument] = context.asks[context.instrument]
    shown.bid_qty = context.bid_qty
    shown.ask_qty = context.ask_qty
    shown.take_qty = context.take_qty
    bid_offset, ask_offset = model(shown, model_params)
    context.bid_qty = shown.bid_qty
    context.ask_qty = shown.ask_qty
    context.take_qty = shown.take_qty
    return bid_offset, ask_offset
