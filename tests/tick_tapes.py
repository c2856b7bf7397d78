"""A small made-up recording: a book that wanders, trades that reach into it, as frames, files or a tape."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from marketmakerl import EventTape, Instrument

INSTRUMENT = Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.001, kind="linear", min_notional=5.0)
START_NS = 1_723_161_256_000_000_000
STEP_NS = 50_000_000
LEVELS = 5


def make_frames(seconds: int = 60, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (book, trades) in the columns of recordings: one snapshot, then diffs, every 50 ms."""
    book, trades = _frames(seconds, seed)
    return book.copy(), trades.copy()


@cache
def _frames(seconds: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    n = seconds * 1_000_000_000 // STEP_NS
    mid = 600_000 + np.cumsum(rng.integers(-2, 3, n))  # ticks
    rows, held = [], {}
    for i in range(n):
        at = int(mid[i])
        levels = [(side, at - side * (1 + level)) for side in (1, -1) for level in range(LEVELS)]
        shown = dict(zip(levels, (100 + rng.integers(400, size=len(levels))).tolist(), strict=True))
        gone = [(side, tick, 0) for side, tick in held if (side, tick) not in shown]
        changes = gone + [(side, tick, lots) for (side, tick), lots in shown.items()]
        rows += [(START_NS + i * STEP_NS, side, tick / 10, lots / 1000, i) for side, tick, lots in changes]
        held = shown
    ts, side, price, qty, seq = (np.array(column) for column in zip(*rows, strict=True))
    book = pd.DataFrame({
        "ts_ns": ts, "ts_local_ns": ts + 1_000_000, "side": side, "price": price, "qty": qty,
        "is_snapshot": seq == 0, "first_seq": seq, "seq": seq, "prev_seq": seq - 1,
    })  # fmt: skip
    hit = rng.choice([-1, 1], n)
    times = START_NS + np.arange(n) * STEP_NS + STEP_NS // 2
    trades = pd.DataFrame({
        "ts_ns": times, "ts_local_ns": times + 1_000_000, "price": (mid + hit * rng.integers(1, 30, n)) / 10,
        "qty": rng.integers(1, 600, n) / 1000, "side": hit, "trade_id": np.arange(n),
    })  # fmt: skip
    return book, trades


def make_tape(seconds: int = 60, seed: int = 0) -> EventTape:
    return EventTape.from_book(*make_frames(seconds, seed), INSTRUMENT, tier="T2", source="made up")


def put_recording(root: Path, seconds: int = 300, stem: str = "binanceusdm_BTCUSDT_2024-08-08T2354") -> Path:
    """Write book and trades into the catalog below `root`, and return the book's path."""
    book, trades = make_frames(seconds)
    for folder, frame, kind in (("book", book, "l2"), ("trades", trades, "trades")):
        (root / folder).mkdir(parents=True, exist_ok=True)
        frame.to_parquet(root / folder / f"{stem}_{kind}.parquet", index=False)
    return root / "book" / f"{stem}_l2.parquet"
