"""Tapes of markets whose parameters are known, made row by row: best quotes and market orders."""

import numpy as np

from marketmakerl import EventTape, Instrument
from marketmakerl.data.tape import MORE, Kind

START_NS = 1_700_000_000_000_000_000
INSTRUMENT = Instrument("X/USDT", tick_size=0.1, lot_size=0.001)


def tape_of(rows, *, instrument=INSTRUMENT, tier="T2", source="made up"):
    """Return a tape of (ts_ns, kind, price_ticks, qty_lots) rows that are in order of time."""
    return _tape(*(np.array(column, np.int64) for column in zip(*rows, strict=True)), instrument, tier, source)


def _tape(ts, kind, price, qty, instrument, tier="T2", source="made up"):
    return EventTape(
        instrument, ts, ts, price, qty, kind.astype(np.int8), {"clock": "ticks", "tier": tier, "source": source}
    )


def quote_rows(ts_ns, mid_half_ticks, spread_ticks=1):
    """Return a two-row message of best quotes for each time; a mid between two prices needs an odd spread."""
    rows = []
    for ts, mid in zip(np.asarray(ts_ns).tolist(), np.asarray(mid_half_ticks).tolist(), strict=True):
        width = spread_ticks + (mid + spread_ticks) % 2
        bid, ask = (mid - width) // 2, (mid + width) // 2
        rows += [(ts, int(Kind.BBO_BID) | MORE, bid, 5), (ts, int(Kind.BBO_ASK), ask, 5)]
    return rows


def exponential_market(seed, *, seconds, rate, k, tick, mid_half_ticks=20_001, clustered=False):
    """Return a tape on which orders come at `rate` a second and side and reach exponential depths with rate `k`.

    The touch is half a tick from the mid when it lies between two prices and a tick when it lies on one: every order
    that reaches it trades at the deepest price it reaches. The mid moves a half tick up and down, to and fro, so that
    both parities are seen. `clustered`: the orders come in bursts, and the bursts share their depth.
    """
    rng = np.random.default_rng(seed)
    moves = np.sort(rng.integers(0, seconds * 10**9, seconds))
    moves[0] = 0
    mid = mid_half_ticks + np.arange(seconds) % 2
    parts = [np.array(quote_rows(moves, mid), np.int64)]
    for side, kind in ((1, Kind.TRADE_BUY), (-1, Kind.TRADE_SELL)):
        burst = 8 if clustered else 1
        n = rng.poisson(rate * seconds / burst)
        ts = np.repeat(rng.integers(0, seconds * 10**9, n), burst) + np.tile(np.arange(burst) * 1000, n)
        depth = np.repeat(rng.exponential(1 / k, n), burst)
        ts, depth = ts[ts < seconds * 10**9], depth[ts < seconds * 10**9]
        at = mid[np.searchsorted(moves, ts, side="right") - 1]
        half = tick / 2
        # The deepest price within reach: as many half ticks from the mid as the mid's parity allows.
        reach = np.floor(depth / half).astype(np.int64)
        reach -= (reach + at) % 2
        met = reach >= 1
        price = (at + side * reach) // 2
        ones = np.ones(met.sum(), np.int64)
        parts.append(np.column_stack([ts[met], int(kind) * ones, price[met], ones]))
    parts.append(np.array([(seconds * 10**9, int(Kind.BBO_BID), (mid_half_ticks - 1) // 2, 5)]))
    rows = np.concatenate(parts)
    ts, kind, price, qty = (np.ascontiguousarray(column) for column in rows[rows[:, 0].argsort(kind="stable")].T)
    return _tape(START_NS + ts, kind, price, qty, Instrument("X/USDT", tick_size=tick, lot_size=0.001))


def coverage_band(trials, share=0.95, sd=3.5):
    """Return the least number of trials of which `share` may be covered, in all but one case in thousands."""
    return trials * share - sd * np.sqrt(trials * share * (1 - share))
