"""Bars at the exchange (rule 8): no book, so what rests fills where a bar trades through it, and a taker at the close.

The close stands for both best prices: a mid without a spread. Nothing is displayed, so nothing is known of queues.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marketmakerl.backtesting.due import due_at
from marketmakerl.backtesting.exchange.account import must_liquidate
from marketmakerl.backtesting.exchange.fills import open_session
from marketmakerl.backtesting.exchange.liquidation import liquidate
from marketmakerl.backtesting.exchange.matching import fill_through
from marketmakerl.backtesting.layout import Mode
from marketmakerl.core.jit import njit
from marketmakerl.data.tape import Kind

_OPEN, _LOW, _CLOSE = int(Kind.BAR_OPEN), int(Kind.BAR_LOW), int(Kind.BAR_CLOSE)
_NORMAL = int(Mode.NORMAL)
_EPS = 1e-6  # of a tick or a lot: float noise


@njit()
def bar_row(state: Any, memory: Any, params: Any, kind: int, tick: int, lots: int, ts_ns: int) -> None:
    """Take one price of a bar; fills are measured against the close before it."""
    price = tick * params.tick_size
    state.book.mode = _NORMAL
    if state.ledger.start_mark == 0.0:
        _set_close(state, tick, price)
        open_session(state, params, price, ts_ns)
    if kind == _CLOSE:
        # The margin is looked at there too, like all that is due at this time (`look_at_margin`).
        _set_close(state, tick, price)
        state.closed_ns = ts_ns
        state.due.sample_ns = ts_ns
        due_at(state, ts_ns)
        return
    if kind == _OPEN:
        state.counts.bars += 1
    else:
        side = kind - _LOW
        signed = tick if side == 0 else -tick
        if state.own.best[side] > signed:
            can = int(np.floor(lots * params.bar_volume_share + _EPS))
            if can < 1:
                state.counts.starved += 1
            fill_through(state, memory, params, side, signed + 1, can, ts_ns)
    if params.leverage > 0.0 and state.ledger.position_lots != 0 and must_liquidate(state, params, price):
        state.last_mid = price
        liquidate(state, memory, params, ts_ns)


@njit()
def _set_close(state: Any, tick: int, price: float) -> None:
    state.book.best[0] = tick
    state.book.best[1] = -tick
    state.last_mid = price
