"""The feed that every engine reads, and the same as a tape of ours.

    python feed.py make 6000000 feed.npy       # ../shared/bench/gen_feed.py where it is, else the generator below
    python feed.py tape feed.npy feed.tape

A row is 40 bytes: ts, lts (ns), tick, qty (base units; a level's new total, or what was traded), kind (0 bid depth,
1 ask depth, 2 buy trade, 3 sell trade), pad. Time of receipt is 1 ms and more behind; a trade is followed by its depth
row; the book never crosses.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import njit
from places import SHARED
from work import LOT_SIZE, TICK_SIZE

if TYPE_CHECKING:
    from marketmakerl.data.tape import EventTape

ROW = np.dtype([("ts", "i8"), ("lts", "i8"), ("tick", "i8"), ("qty", "f8"), ("kind", "i4"), ("pad", "i4")])
SEED = 7

_MIDDLE = 20_000  # of the window of ticks
_FIRST_TICK = 600_000 - _MIDDLE
_MEAN_GAP_NS = 750_000.0
_TRADES = 0.05
_GONE = 0.25  # share of updates that empty a level


@njit
def _lots(mean_log: float, sigma: float) -> int:
    return max(1, round(np.random.lognormal(mean_log, sigma) / LOT_SIZE))  # noqa: NPY002  (numba's generator)


@njit
def _depth(book: Any, best: Any, side: int, place: int, lots: int) -> None:
    """Set one level; side 0 is the bid, and `best` moves with it."""
    step = -1 if side == 0 else 1
    book[side, place] = lots
    if lots > 0 and (place - best[side]) * step < 0:
        best[side] = place
    while book[side, best[side]] == 0:
        best[side] += step


@njit
def _generate(rows: Any, seed: int) -> None:
    np.random.seed(seed)  # noqa: NPY002
    book = np.zeros((2, 2 * _MIDDLE), np.int64)
    best = np.array([_MIDDLE, _MIDDLE + 1])
    ts, seen, at = 1_700_000_000_000_000_000, 0, 0
    traded = -1  # the level that a trade of the row before has taken from
    while at < len(rows):
        row = rows[at]
        if at < 400:  # the opening book: 200 levels a side
            side, lots = at % 2, _lots(-0.5, 1.2)
            place = _MIDDLE - at // 2 if side == 0 else _MIDDLE + 1 + at // 2
        elif traded >= 0:
            place, lots, traded = traded, book[side, traded] - lots, -1
        else:
            ts += int(np.random.exponential(_MEAN_GAP_NS)) + 1  # noqa: NPY002
            side = int(np.random.random() < 0.5)  # noqa: NPY002
            place, lots = best[side], _lots(-3.0, 1.5)
            if np.random.random() < _TRADES:  # noqa: NPY002
                lots, traded = min(lots, book[side, place]), place
            else:
                away = int(np.random.exponential(12.0))  # noqa: NPY002
                inside = away == 0 and best[1] - best[0] > 1
                away = -1 if inside else away
                place = min(max(place + (away if side else -away), 500), 2 * _MIDDLE - 500)
                gone = book[side, place] > 0 and np.random.random() < _GONE  # noqa: NPY002
                lots = 0 if gone else _lots(-0.5, 1.2)
        if traded >= 0:
            row.kind = 2 if side else 3
        else:
            row.kind = side
            _depth(book, best, side, place, lots)
        seen = max(seen, ts + 1_000_000 + int(np.random.exponential(500_000.0)))  # noqa: NPY002
        row.ts, row.lts, row.tick, row.qty = ts, seen, _FIRST_TICK + place, lots * LOT_SIZE
        at += 1


def make(rows: int, path: Path) -> None:
    """Write a feed, unless it is there."""
    if path.exists():
        return
    part = path.with_suffix(".part.npy")
    generator = SHARED / "gen_feed.py"
    if generator.exists():
        subprocess.run([sys.executable, str(generator), str(rows), str(part)], check=True)
    else:
        feed = np.zeros(rows, ROW)
        _generate(feed, SEED)
        np.save(part, feed)
    part.rename(path)


def tape_of(feed: npt.NDArray[Any]) -> EventTape:
    """Return the feed as a tape; every row is a message of its own."""
    from marketmakerl.core.instrument import Instrument  # noqa: PLC0415  (the peer's environment has no marketmakerl)
    from marketmakerl.data.tape import EventTape, Kind  # noqa: PLC0415

    kinds = np.array([Kind.DEPTH_BID, Kind.DEPTH_ASK, Kind.TRADE_BUY, Kind.TRADE_SELL], np.int8)
    return EventTape(
        Instrument("BTC/USDT:USDT", tick_size=TICK_SIZE, lot_size=LOT_SIZE, kind="linear"),
        ts_ns=np.ascontiguousarray(feed["ts"]),
        local_ts_ns=np.ascontiguousarray(feed["lts"]),
        price_ticks=np.ascontiguousarray(feed["tick"]),
        qty_lots=np.rint(feed["qty"] / LOT_SIZE).astype(np.int64),
        kind=kinds[feed["kind"]],
        meta={"clock": "ticks", "tier": "T2", "source": "benchmarks/feed.py"},
    )


def write_tape(feed: Path, path: Path) -> None:
    """Write the feed's tape, unless a newer one is there."""
    if path.exists() and path.stat().st_mtime > feed.stat().st_mtime:
        return
    tape_of(np.load(feed, mmap_mode="r")).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    makes = commands.add_parser("make")
    makes.add_argument("rows", type=int)
    makes.add_argument("feed", type=Path)
    tapes = commands.add_parser("tape")
    tapes.add_argument("feed", type=Path)
    tapes.add_argument("tape", type=Path)
    options = parser.parse_args()
    if options.command == "make":
        make(options.rows, options.feed)
    else:
        write_tape(options.feed, options.tape)


if __name__ == "__main__":
    main()
