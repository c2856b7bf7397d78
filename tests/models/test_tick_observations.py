"""What a tape shows, against a replay in plain Python."""

import numpy as np
import pytest

from market_tapes import INSTRUMENT, START_NS, exponential_market, tape_of
from marketmakerl.core.errors import DataFormatError
from marketmakerl.data.market import MarketRequest, load_market
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.models.tick_observations import DEPTH_BINS, observe
from tick_tapes import make_tape

S = 10**9
GAP, SNAP, DB, DA, BB, BA, SELL, BUY, TRADE = (
    int(getattr(Kind, name))
    for name in (
        *("GAP", "SNAPSHOT", "DEPTH_BID", "DEPTH_ASK", "BBO_BID", "BBO_ASK", "TRADE_SELL", "TRADE_BUY", "TRADE"),
    )
)  # fmt: skip


def replayed(tape):  # noqa: C901, PLR0912, PLR0915  (all kinds of rows, in one plain loop)
    """Return (quotes, orders, stretches) by dictionaries: quotes (ts, bid, ask), orders (ts, side, reach, lots, before,
    after), stretches (start, end)."""
    books, quotes, orders, stretches = ({}, {}), [], [], []
    kinds = [int(k) & ~MORE for k in tape.kind]
    depth = DB in kinds or DA in kinds
    mid, lost, waiting, touched, opened, start = None, False, [], False, 0, 0
    for i, kind in enumerate(kinds):
        ts, price, lots = int(tape.ts_ns[i]), int(tape.price_ticks[i]), int(tape.qty_lots[i])
        earlier = [q[1] + q[2] for q in quotes[opened:] if q[0] < ts] if mid is not None else []
        if kind in (SELL, BUY) and earlier:
            side = 1 if kind == BUY else -1
            same = [o for o in orders if o["ts"] == ts and o["side"] == side and o["stretch"] == len(stretches)]
            if same:
                order = same[0]
            else:
                order = {
                    "ts": ts,
                    "side": side,
                    "price": price,
                    "lots": 0,
                    "before": earlier[-1],
                    "stretch": len(stretches),
                }
                orders.append(order)
                order["after"] = -1
            order["price"] = max(order["price"], price) if side > 0 else min(order["price"], price)
            order["lots"] += lots
            if order not in waiting:
                waiting.append(order)
        elif kind in (GAP, SNAP):
            books = ({}, {})
            touched = kind == SNAP
            lost = kind == GAP
            if lost:
                if mid is not None:
                    stretches.append((start, ts))
                mid, waiting = None, []
        elif DB <= kind <= BA and not (lost and depth):
            lost, touched = False, True
            book = books[0 if kind in (DB, BB) else 1]
            if kind >= BB:
                better = [p for p in book if (p > price if kind == BB else p < price)]
                for p in better:
                    del book[p]
            book.pop(price, None)
            if lots:
                book[price] = lots
        if not int(tape.kind[i]) & MORE and touched:
            touched = False
            if books[0] and books[1] and max(books[0]) < min(books[1]):
                bid, ask = max(books[0]), min(books[1])
                if mid is None:
                    start, opened = ts, len(quotes)
                if mid is None or quotes[-1][1:] != (bid, ask):
                    quotes.append((ts, bid, ask))
                mid = bid + ask
                for order in [o for o in waiting if o["ts"] < ts]:
                    order["after"] = mid
                    waiting.remove(order)
    if mid is not None:
        stretches.append((start, int(tape.ts_ns[-1])))
    rows = [
        (o["ts"], o["side"], o["side"] * (2 * o["price"] - o["before"]), o["lots"], o["before"], o["after"])
        for o in orders
    ]
    return quotes, sorted(rows), stretches


def assert_same(tape):
    seen = observe(tape)
    quotes, orders, stretches = replayed(tape)
    assert list(zip(*(getattr(seen.quotes, n).tolist() for n in ("ts_ns", "bid_ticks", "ask_ticks")), strict=True)) == (
        quotes
    )
    names = ("ts_ns", "side", "reach_half_ticks", "lots", "mid_before", "mid_after")
    assert sorted(zip(*(getattr(seen.orders, n).tolist() for n in names), strict=True)) == orders
    assert list(zip(seen.quotes.start_ns.tolist(), seen.quotes.end_ns.tolist(), strict=True)) == stretches
    assert (seen.quotes.until_ns - seen.quotes.ts_ns).sum() == sum(end - start for start, end in stretches)
    return seen


def random_tape(seed, bbo):
    """Rows of everything that can happen, in an order that makes little sense."""
    rng = np.random.default_rng(seed)
    rows, ts = [], START_NS
    kinds = [BB, BA] if bbo else [DB, DA]
    for _ in range(400):
        ts += int(rng.integers(0, 3)) * 10**8
        what = rng.uniform()
        if what < 0.04:
            rows.append((ts, GAP, 0, 0))
        elif what < 0.1 and not bbo:
            book = [(kind, 1000 + sign * int(rng.integers(1, 12)), 5) for kind, sign in ((DB, -1), (DA, 1)) * 3]
            rows.append((ts, SNAP | MORE, 0, 0))
            rows += [(ts, kind | (MORE if i < 5 else 0), p, q) for i, (kind, p, q) in enumerate(book)]
        elif what < 0.5:
            n = int(rng.integers(1, 4))
            rows += [(ts, int(rng.choice([SELL, BUY, TRADE])), 1000 + int(rng.integers(-15, 16)), 3) for _ in range(n)]
        else:
            n = int(rng.integers(1, 4))
            for i in range(n):
                side = int(rng.integers(2))
                price = 1000 + (1 if side else -1) * int(rng.integers(-1, 12))
                lots = int(rng.integers(1 if bbo else 0, 4))
                rows.append((ts, kinds[side] | (MORE if i < n - 1 else 0), price, lots))
    return tape_of(rows)


@pytest.mark.parametrize("bbo", [False, True])
def test_any_tape_is_read_as_a_plain_replay_reads_it(bbo):
    for seed in range(40):
        seen = assert_same(random_tape(seed, bbo))
        assert (seen.depth is None) == bbo
    assert_same(make_tape(20))
    assert_same(exponential_market(1, seconds=60, rate=2.0, k=3.0, tick=0.1))


@pytest.mark.parametrize(
    "name",
    [
        "binanceusdm_BTCUSDT_2024-08-08T2354_l2",
        "binance_ETHUSDT_2024-08-08T2354_l2",
        "hyperliquid_ETH_2025-09-04T1946_l2snap20",
    ],
)
def test_recorded_tapes_too(shared_data, name):
    tape = load_market(MarketRequest(data=shared_data / "book" / f"{name}.parquet")).tape
    seen = assert_same(tape.slice_rows(0, 8_000))
    assert len(seen.orders) > 20


def test_an_order_that_walks_the_book_is_one_order():
    rows = [
        (START_NS, BB | MORE, 999, 1), (START_NS, BA, 1001, 1),
        *[(START_NS + S, BUY, price, 2) for price in (1001, 1003, 1002)],
        (START_NS + S, SELL, 999, 7),
        (START_NS + S + 1, BUY, 1001, 1),
        (START_NS + 2 * S, BB, 1000, 1), (START_NS + 5 * S, BB, 1000, 2),
    ]  # fmt: skip
    seen = observe(tape_of(rows))
    assert seen.orders.side.tolist() == [-1, 1, 1]
    assert seen.orders.reach_half_ticks.tolist() == [2, 6, 2]
    assert seen.orders.lots.tolist() == [7, 6, 1]
    assert seen.orders.mid_before.tolist() == [2000, 2000, 2000]
    assert seen.orders.mid_after.tolist() == [2001, 2001, 2001]
    assert (seen.trades, seen.unknown_side, seen.unseen) == (5, 0, 0)
    assert seen.quotes.seconds == 5.0
    assert seen.clock_ns == 1


def test_what_has_the_order_s_own_stamp_is_neither_before_nor_after():
    rows = [
        (START_NS, BB | MORE, 999, 1), (START_NS, BA, 1001, 1), (START_NS, SELL, 999, 1),
        (START_NS + S, BA, 1003, 1), (START_NS + S, BUY, 1001, 2), (START_NS + S, BA, 1005, 2),
        (START_NS + 2 * S, BA, 1007, 2),
    ]  # fmt: skip
    seen = observe(tape_of(rows))
    assert seen.orders.mid_before.tolist() == [2000]
    assert seen.orders.mid_after.tolist() == [2006]
    assert seen.unseen == 1


def test_sizes_are_averaged_where_the_recording_reaches():
    """A book of 10 lots on every tick, of which the recording shows 15 levels a side."""
    rows = [(START_NS, SNAP | MORE, 0, 0)]
    levels = [(DB, 10_000 - i, 10) for i in range(1, 16)] + [(DA, 10_000 + i, 10 * i) for i in range(1, 16)]
    rows += [(START_NS, kind | (MORE if i < 29 else 0), price, lots) for i, (kind, price, lots) in enumerate(levels)]
    rows += [(START_NS + i * S // 2, DB, 9_999, 10) for i in range(1, 21)]
    seen = observe(tape_of(rows))
    assert seen.depth is not None
    width = seen.depth.bin_ticks
    assert width == 1  # 10 bps of 10,000 ticks in 20 bins, rounded up
    assert seen.depth.total_samples == 10  # at 0, 1, ... 9 s
    assert seen.depth.samples.shape == (2, DEPTH_BINS)
    assert seen.depth.samples[:, 14].tolist() == [10, 10]
    assert seen.depth.samples[:, 15].tolist() == [0, 0]
    np.testing.assert_allclose(seen.depth.mean_lots[0, :15], 10.0)
    np.testing.assert_allclose(seen.depth.mean_lots[1, :15], 10.0 * np.arange(1, 16))


def test_every_message_a_whole_book_is_sampled_too():
    rows = []
    for i in range(30):
        ts = START_NS + i * S // 2
        rows += [(ts, SNAP | MORE, 0, 0), (ts, DB | MORE, 999, 5 + i), (ts, DA, 1001, 7)]
    depth = observe(tape_of(rows)).depth
    assert depth is not None
    assert depth.total_samples == 15
    assert depth.mean_lots[0, 0] == pytest.approx(np.mean([5 + i for i in range(0, 30, 2)]))


def test_bars_and_broken_rows_are_refused():
    with pytest.raises(DataFormatError, match="time goes back"):
        observe(tape_of([(START_NS, BB, 5, 1), (START_NS - 1, BA, 6, 1)], instrument=INSTRUMENT))
