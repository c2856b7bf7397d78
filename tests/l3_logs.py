"""Logs of single orders as frames, from rows of the linked-list book or written by hand."""

import numpy as np
import pandas as pd

from marketmakerl import Instrument

INSTRUMENT = Instrument("X/USDT:USDT", 0.5, 0.001, "linear")
T0 = 1_700_000_000_000_000_000
STEP_NS = 1000


def orders_frame(rows: list[tuple]) -> pd.DataFrame:
    """Rows are (msg_seq, ts, order_id, action, side, price in ticks, lots, filled lots or None[, born])."""
    born = {}
    for row in rows:
        born.setdefault(row[2], row[8] if len(row) > 8 else row[1])
    seq, order_id, action, side, price, qty, filled = (
        np.array([row[i] if row[i] is not None else np.nan for row in rows]) for i in (0, 2, 3, 4, 5, 6, 7)
    )
    return pd.DataFrame({
        "msg_seq": seq.astype(np.int64), "ts_local_ns": np.array([row[1] for row in rows], np.int64),
        "order_ts_ns": np.array([born[row[2]] for row in rows], np.int64), "order_id": order_id.astype(np.int64),
        "action": action.astype(np.int8), "side": side.astype(np.int8), "price": price * 0.5,
        "qty": qty / 1000, "filled": filled.astype(float) / 1000,
    })  # fmt: skip


def trades_frame(rows: list[tuple]) -> pd.DataFrame:
    """Rows are (msg_seq, ts, price in ticks, lots, side)."""
    seq, ts, price, qty, side = (np.array([row[i] for row in rows]) for i in range(5))
    return pd.DataFrame({
        "ts_ns": ts.astype(np.int64), "ts_local_ns": ts.astype(np.int64), "price": price * 0.5, "qty": qty / 1000,
        "side": side.astype(np.int8), "trade_id": np.arange(len(rows)), "msg_seq": seq.astype(np.int64),
    })  # fmt: skip


def levels_of(tape, rows: int) -> dict[int, dict[int, int]]:
    """Replay the first rows of a tape into levels."""
    levels: dict[int, dict[int, int]] = {1: {}, -1: {}}
    for kind, price, lots in zip(tape.kind[:rows] & 63, tape.price_ticks[:rows], tape.qty_lots[:rows], strict=True):
        if kind in (8, 9):
            side = levels[1 if kind == 8 else -1]
            if lots:
                side[int(price)] = int(lots)
            else:
                side.pop(int(price))
    return levels
