"""Our own driver of hftbacktest, for what the shared script leaves out: any queue model, part of the feed, the fills.

Runs in the peer's environment and imports nothing of ours but `work` and `memory`.

    python peer_hftbacktest.py run as --feed feed.npy --queue risk_averse --rows 600000 --fills fills.npy
    python peer_hftbacktest.py pack --feed feed.npy --npz feed.npz     # the events as hftbacktest distributes them
    python peer_hftbacktest.py load --npz feed.npz                     # how long the peer takes to read them
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hftbacktest as hft
import numpy as np
import numpy.typing as npt
from hftbacktest import BUY, FILLED, GTX, LIMIT
from memory import memory_mb
from numba import njit
from work import LATENCY_NS, LOT_SIZE, MAKER_BPS, TAKER_BPS, TICK_SIZE, WARM_UP_ROWS, WORKS, Work

QUEUES = {
    "risk_averse": lambda asset: asset.risk_adverse_queue_model(),
    "log": lambda asset: asset.log_prob_queue_model(),
    "log2": lambda asset: asset.log_prob_queue_model2(),
    "power": lambda asset: asset.power_prob_queue_model(3.0),
    "power2": lambda asset: asset.power_prob_queue_model2(3.0),
}
EVERY_EVENT = -1
ASK_IDS = 1 << 41  # one order a price and side: its id is its tick, asks from here on
RAN_OUT = 1  # return codes of the peer: the end of its data, a feed event, an order response
WOKEN = (0, 2, 3)

# Counters of a run, in the order of the compiled loop's array.
COUNTERS = ("wakeups", "submits", "cancels", "listed_fills", "end_code")


@njit
def list_fills(hbt: Any, fills: Any, counters: Any) -> None:
    """Note the orders that ended in a fill since the last call, before they are cleared away."""
    values = hbt.orders(0).values()
    while values.has_next():
        order = values.get()
        if order.status == FILLED and counters[3] < len(fills):
            row = fills[counters[3]]
            row[0] = order.exch_timestamp
            row[1] = 1 if order.side == BUY else -1
            row[2] = order.exec_price_tick
            row[3] = round(order.exec_qty / LOT_SIZE)
            counters[3] += 1


@njit
def requote(hbt: Any, counters: Any, levels: int, gap: int, half: float, skew: float, max_lots: int) -> None:
    """Cancel what is not wanted any more and send what is missing."""
    book = hbt.depth(0)
    best_bid, best_ask = book.best_bid_tick, book.best_ask_tick
    if best_bid < 0 or best_ask > 1 << 40:
        return
    position = hbt.position(0)
    centre = (best_bid + best_ask) * 0.5 - skew * position / LOT_SIZE
    bid = min(math.floor((centre - half) / gap) * gap, best_bid)
    ask = max(math.ceil((centre + half) / gap) * gap, best_ask)
    bids = levels if position < max_lots * LOT_SIZE else 0
    asks = levels if position > -max_lots * LOT_SIZE else 0
    orders = hbt.orders(0)
    values = orders.values()
    while values.has_next():
        order = values.get()
        behind = bid - order.price_tick if order.side == BUY else order.price_tick - ask
        wanted = bids if order.side == BUY else asks
        if not (0 <= behind < wanted * gap and behind % gap == 0) and order.cancellable:
            hbt.cancel(0, order.order_id, False)
            counters[2] += 1
    for level in range(bids):
        tick = bid - level * gap
        if tick not in orders:
            hbt.submit_buy_order(0, tick, tick * TICK_SIZE, LOT_SIZE, GTX, LIMIT, False)
            counters[1] += 1
    for level in range(asks):
        tick = ask + level * gap
        if (tick + ASK_IDS) not in orders:
            hbt.submit_sell_order(0, tick + ASK_IDS, tick * TICK_SIZE, LOT_SIZE, GTX, LIMIT, False)
            counters[1] += 1


@njit
def drive(
    hbt: Any,
    counters: Any,
    fills: Any,
    interval: int,
    levels: int,
    gap: int,
    half: float,
    skew: float,
    max_lots: int,
) -> None:
    """Wake, quote, and so on until the data ends."""
    while True:
        code = hbt.wait_next_feed(True, 10**12) if interval == EVERY_EVENT else hbt.elapse(interval)
        counters[4] = code
        if len(fills):
            list_fills(hbt, fills, counters)
        if code not in WOKEN:
            return
        counters[0] += 1
        hbt.clear_inactive_orders(0)
        if max_lots > 0:
            requote(hbt, counters, levels, gap, half, skew, max_lots)


def to_events(feed: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the neutral feed (see `feed.py`) as the peer's 64-byte events."""
    depth, trade = hft.DEPTH_EVENT, hft.TRADE_EVENT
    kinds = np.array(
        [depth | hft.BUY_EVENT, depth | hft.SELL_EVENT, trade | hft.BUY_EVENT, trade | hft.SELL_EVENT], "u8"
    )
    events = np.zeros(len(feed), hft.types.event_dtype)
    events["ev"] = kinds[feed["kind"]] | hft.EXCH_EVENT | hft.LOCAL_EVENT
    events["exch_ts"], events["local_ts"] = feed["ts"], feed["lts"]
    events["px"], events["qty"] = np.round(feed["tick"] * TICK_SIZE, 1), feed["qty"]
    return events


def events_of(feed: Path) -> npt.NDArray[Any]:
    """Return the events, converted once in a process of its own: the memory of a run is then the run's."""
    path = feed.with_suffix(".hft.npy")
    if not path.exists():
        code = "import sys, numpy as np, peer_hftbacktest as p; np.save(sys.argv[2], p.to_events(np.load(sys.argv[1])))"
        subprocess.run([sys.executable, "-c", code, str(feed), str(path)], check=True, cwd=Path(__file__).parent)
    return np.asarray(np.load(path))


def engine(events: npt.NDArray[Any], queue: str) -> Any:
    """Return the peer's fastest engine (a vector of levels over the range of prices) over `events`."""
    asset = (
        hft.BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(LATENCY_NS, LATENCY_NS)
        .tick_size(TICK_SIZE)
        .lot_size(LOT_SIZE)
        .trading_value_fee_model(MAKER_BPS * 1e-4, TAKER_BPS * 1e-4)
        .last_trades_capacity(0)
        .no_partial_fill_exchange()
    )
    asset = QUEUES[queue](asset).roi_lb(events["px"].min() - 50).roi_ub(events["px"].max() + 50)
    return hft.ROIVectorMarketDepthBacktest([asset])


def once(events: npt.NDArray[Any], work: Work, queue: str, max_fills: int = 0) -> tuple[float, dict[str, Any], Any]:
    """Return seconds, what happened, and the fills: (exchange time, side, tick, lots)."""
    hbt = engine(events, queue)
    counters, fills = np.zeros(len(COUNTERS), "i8"), np.zeros((max_fills, 4), "i8")
    interval = EVERY_EVENT if work.interval_ns is None else work.interval_ns
    started = time.perf_counter()
    drive(hbt, counters, fills, interval, work.levels, work.gap_ticks, work.half_ticks, work.skew_ticks, work.max_lots)
    seconds = time.perf_counter() - started
    state = hbt.state_values(0)
    happened = dict(zip(COUNTERS, counters.tolist(), strict=True)) | {
        "fills": int(state.num_trades),
        "position_lots": round(float(state.position) / LOT_SIZE),
        "fee": round(float(state.fee), 6),
        "cash": round(float(state.balance), 4),
    }
    hbt.close()
    return seconds, happened, fills[: counters[3]]


def run(options: argparse.Namespace) -> dict[str, Any]:
    work = WORKS[options.mode]
    events = events_of(options.feed)[: options.rows]
    once(events[:WARM_UP_ROWS].copy(), work, options.queue)
    # The list of fills costs time: it is made in a run that is not timed.
    runs = [once(events, work, options.queue) for _ in range(options.repeat)]
    _, happened, fills = once(events, work, options.queue, 10_000_000) if options.fills else runs[0]
    if options.fills:
        np.save(options.fills, fills)
    seconds = statistics.median(sec for sec, _, _ in runs) if runs else math.nan
    return {
        "mode": options.mode,
        "queue": options.queue,
        "events": len(events),
        "sec": [round(sec, 4) for sec, _, _ in runs],
        "mev_per_s": round(len(events) / seconds / 1e6, 3) if runs else None,
        **happened,
        **memory_mb(),
    }


def pack(options: argparse.Namespace) -> dict[str, Any]:
    events = events_of(options.feed)
    np.savez_compressed(options.npz, data=events)
    return {"rows": len(events), "bytes": options.npz.stat().st_size}


def load(options: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    with np.load(options.npz) as archive:
        rows = len(archive["data"])
    return {"rows": rows, "sec": round(time.perf_counter() - started, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    runs = commands.add_parser("run")
    runs.set_defaults(do=run)
    runs.add_argument("mode", choices=WORKS)
    runs.add_argument("--feed", type=Path, required=True)
    runs.add_argument("--queue", choices=QUEUES, default="log2")
    runs.add_argument("--rows", type=int)
    runs.add_argument("--repeat", type=int, default=3)
    runs.add_argument("--fills", type=Path)
    packs = commands.add_parser("pack")
    packs.set_defaults(do=pack)
    packs.add_argument("--feed", type=Path, required=True)
    packs.add_argument("--npz", type=Path, required=True)
    loads = commands.add_parser("load")
    loads.set_defaults(do=load)
    loads.add_argument("--npz", type=Path, required=True)
    options = parser.parse_args()
    print(json.dumps(options.do(options)))


if __name__ == "__main__":
    main()
