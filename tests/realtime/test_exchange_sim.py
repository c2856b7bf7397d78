"""The offline venue: through unmodified ccxt, and as a pure function of the request and the venue's time."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import ccxt
import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl.core.clock import NS_PER_MS, NS_PER_S, ManualClock, SystemClock
from marketmakerl.core.errors import ConfigError, ExchangeUnreachableError
from marketmakerl.core.instrument import Instrument
from marketmakerl.data.bars import compile_bars
from marketmakerl.data.klines import read_klines_file
from marketmakerl.data.real_market_data import PublicClient
from marketmakerl.data.synthetic import START_MS, SyntheticMarket, simulate
from marketmakerl.realtime.exchange_sim import ExchangeSim, Faults, MarketClock
from marketmakerl.realtime.sim_market import SimMarket
from marketmakerl.realtime.sim_protocol import BinanceRest
from marketmakerl.realtime.sim_synthetic import synthetic_markets
from marketmakerl.realtime.sim_trades import BLOCK, MAX_TRADES, Bars, make_trades, trade_counts, volumes

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
SEED = 11
SPOT, LINEAR = "/api/v3", "/fapi/v1"
API = {
    SPOT: ("binance", "BTC/USDT", "public", "spot"),
    LINEAR: ("binanceusdm", "BTC/USDT:USDT", "fapiPublic", "linear"),
}


@pytest.fixture(scope="module")
def rest():
    return BinanceRest(synthetic_markets(SEED))


def ask(rest, target, now_ms):
    reply = rest.reply("GET", target, now_ms * NS_PER_MS)
    assert reply.status == 200, reply.body
    return orjson.loads(reply.body)


def raw_ccxt(url, prefix):
    """Return ccxt's own client with nothing changed but where it looks: no request of it may leave this machine."""
    name, _, _, kind = API[prefix]
    client = getattr(ccxt, name)({"options": {"fetchMarkets": {"types": [kind]}}, "enableRateLimit": False})
    client.urls["api"] = {api: re.sub(r"^https://[^/]+", url, there) for api, there in client.urls["api"].items()}
    assert all(there.startswith("http://127.0.0.1:") for there in client.urls["api"].values())
    return client


# --- unmodified ccxt ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [SPOT, LINEAR])
def test_unmodified_ccxt_reads_it(prefix):
    with ExchangeSim.embedded(SEED, history_bars=600) as sim:
        client, symbol = raw_ccxt(sim.base_url, prefix), API[prefix][1]
        market = client.load_markets()[symbol]
        assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 0.001)
        assert market["limits"]["cost"]["min"] == 5
        assert market["active"]
        assert client.fetch_time() == START_MS + 600 * MINUTE_MS
        bars = client.fetch_ohlcv(symbol, "1m", since=START_MS, limit=1000)
        expected = simulate(SyntheticMarket(), 600, SEED)[["ts_ms", "open", "high", "low", "close", "volume"]]
        np.testing.assert_allclose(np.array(bars[:600], float), expected.to_numpy(), rtol=1e-12)
        assert len(client.fetch_ohlcv(symbol, "5m")) == 121
        book = client.fetch_order_book(symbol, 20)
        assert book["bids"][0][0] < book["asks"][0][0]
        trades = client.fetch_trades(symbol, since=START_MS + 100 * MINUTE_MS, limit=10)
        assert len(trades) == 10
        assert {trade["side"] for trade in trades} <= {"buy", "sell"}
        client.session.close()


@pytest.mark.parametrize("prefix", [SPOT, LINEAR])
def test_it_never_takes_an_order_from_anybody(prefix):
    with ExchangeSim.embedded(SEED, history_bars=5) as sim:
        symbol = API[prefix][1]
        client = raw_ccxt(sim.base_url, prefix)
        client.load_markets()
        client.apiKey = client.secret = "made up"
        for kind in ("limit", "market"):  # the venue lists no type of order, so ccxt does not even ask
            with pytest.raises(ccxt.InvalidOrder):
                client.create_order(symbol, kind, "buy", 0.01, 40_000)
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
        attempts = [
            lambda: (client.private_post_order if prefix == SPOT else client.fapiprivate_post_order)(order),
            lambda: client.cancel_order("1", symbol),
            lambda: client.cancel_all_orders(symbol),
            lambda: client.fetch_open_orders(symbol),
            lambda: client.fetch_my_trades(symbol),
        ]
        for attempt in attempts:
            with pytest.raises(ccxt.AuthenticationError):
                attempt()
        assert sim.requests == 1 + len(attempts)
        client.session.close()


PRIVATE = [
    *("/api/v3/order", "/api/v3/order/test", "/api/v3/account", "/api/v3/openOrders", "/api/v3/myTrades"),
    *("/api/v3/userDataStream", "/api/v3/historicalTrades?symbol=BTCUSDT", "/api/v3/sor/order"),
    *("/fapi/v1/order", "/fapi/v1/batchOrders", "/fapi/v1/leverage", "/fapi/v1/listenKey", "/fapi/v2/balance"),
    *("/fapi/v3/account", "/sapi/v1/capital/withdraw/apply", "/papi/v1/um/order", "/dapi/v1/order"),
]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"])
@pytest.mark.parametrize("target", PRIVATE)
def test_account_paths_are_refused(rest, method, target):
    reply = rest.reply(method, target, START_MS * NS_PER_MS)
    assert reply.status == 401
    assert orjson.loads(reply.body)["code"] == -2015


@pytest.mark.parametrize("target", ["/api/v3/time", "/api/v3/depth?symbol=BTCUSDT", "/fapi/v1/exchangeInfo", "/"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_but_get_is_answered(rest, method, target):
    assert rest.reply(method, target, START_MS * NS_PER_MS).status == 401


def test_a_signed_request_is_refused_whatever_it_asks(rest):
    assert rest.reply("GET", "/api/v3/time?timestamp=1&signature=abc", START_MS * NS_PER_MS).status == 401


# --- the protocol ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/api/v3/klines?symbol=DOGEUSDT&interval=1m", 400, -1121),
        ("/api/v3/klines?symbol=BTCUSDT&interval=7m", 400, -1120),
        ("/api/v3/klines?symbol=BTCUSDT&interval=1s", 400, -1120),
        ("/api/v3/klines?symbol=BTCUSDT", 400, -1102),
        ("/api/v3/klines?interval=1m", 400, -1102),
        ("/api/v3/klines?symbol=&interval=1m", 400, -1102),
        ("/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=many", 400, -1100),
        ("/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=-1", 400, -1100),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=2&endTime=1", 400, -1023),
        ("/api/v3/depth?symbol=BTCUSDT&limit=0", 400, -1130),
        ("/api/v3/depth", 400, -1102),
        ("/fapi/v1/depth?symbol=BTCUSDT&limit=7", 400, -4021),
        ("/api/v3/trades?symbol=BTCUSDT&limit=0", 400, -1130),
        ("/api/v3/aggTrades?symbol=BTCUSDT&fromId=x", 400, -1100),
        ("/api/v3/exchangeInfo?symbol=DOGEUSDT", 400, -1121),
        ("/api/v3/nosuch", 404, -1000),
        ("/api/v9/time", 404, -1000),
        ("/", 404, -1000),
        ("", 404, -1000),
        ("/api/v3/depth/../time", 404, -1000),
    ],
)
def test_errors_are_the_venues(rest, target, status, code):
    reply = rest.reply("GET", target, (START_MS + HOUR_MS) * NS_PER_MS)
    document = orjson.loads(reply.body)
    assert (reply.status, document["code"]) == (status, code)
    assert document["msg"]


def test_the_two_apis_differ_where_the_venues_do(rest):
    now = START_MS + HOUR_MS + 30_000
    assert ask(rest, "/api/v3/ping", now) == {}
    assert ask(rest, "/fapi/v1/time", now) == {"serverTime": now}
    spot, linear = (ask(rest, f"{p}/depth?symbol=BTCUSDT&limit=5", now) for p in (SPOT, LINEAR))
    assert set(spot) == {"lastUpdateId", "bids", "asks"}
    assert linear == spot | {"E": now, "T": now, "bids": linear["bids"], "asks": linear["asks"]}
    assert re.fullmatch(r"\d+\.\d{8}", spot["bids"][0][0])
    assert re.fullmatch(r"\d+\.\d", linear["bids"][0][0])
    spot, linear = (ask(rest, f"{p}/trades?symbol=BTCUSDT&limit=1", now)[0] for p in (SPOT, LINEAR))
    assert set(spot) - set(linear) == {"isBestMatch"}
    spot, linear = (ask(rest, f"{p}/exchangeInfo", now)["symbols"][0] for p in (SPOT, LINEAR))
    assert linear["contractType"] == "PERPETUAL"
    assert "contractType" not in spot


@pytest.mark.parametrize(
    ("prefix", "path", "asked", "given"),
    [
        *((SPOT, "klines", 5000, 1000), (LINEAR, "klines", 5000, 1500), (SPOT, "klines", None, 500)),
        *((SPOT, "trades", 5000, 1000), (SPOT, "aggTrades", None, 500), (LINEAR, "aggTrades", 5000, 1000)),
    ],
)
def test_limits_are_the_venues(rest, prefix, path, asked, given):
    limit = "" if asked is None else f"&limit={asked}"
    target = f"{prefix}/{path}?symbol=BTCUSDT&interval=1m{limit}"
    assert len(ask(rest, target, START_MS + 2000 * MINUTE_MS)) == given


def test_depth_limits(rest):
    now = START_MS + HOUR_MS
    assert len(ask(rest, f"{SPOT}/depth?symbol=BTCUSDT&limit=9999", now)["asks"]) == 5000
    assert len(ask(rest, f"{SPOT}/depth?symbol=BTCUSDT", now)["bids"]) == 100
    assert len(ask(rest, f"{LINEAR}/depth?symbol=BTCUSDT", now)["bids"]) == 500


def test_used_weight_is_told_and_starts_anew_each_minute():
    rest = BinanceRest(synthetic_markets(SEED))
    used = []
    for now_ms in (START_MS, START_MS + 1, START_MS + MINUTE_MS):
        headers = rest.reply("GET", f"{SPOT}/klines?symbol=BTCUSDT&interval=1m", now_ms * NS_PER_MS).headers
        used.append(int(headers["x-mbx-used-weight-1m"]))
    assert used == [2, 4, 2]


def test_klines_by_start_end_and_limit(rest):
    now = START_MS + 100 * MINUTE_MS + 5

    def opens(query, interval="1m"):
        rows = ask(rest, f"{SPOT}/klines?symbol=BTCUSDT&interval={interval}{query}", now)
        return [(row[0] - START_MS) // MINUTE_MS for row in rows]

    assert opens("&limit=3") == [98, 99, 100]
    assert opens(f"&startTime={START_MS + 1}&limit=3") == [1, 2, 3]
    assert opens(f"&startTime={START_MS}&endTime={START_MS + 2 * MINUTE_MS - 1}") == [0, 1]
    assert opens(f"&endTime={START_MS + 2 * MINUTE_MS}&limit=2") == [1, 2]
    assert opens(f"&startTime={now + 1}") == []
    assert opens(f"&startTime={START_MS - 10**9}&endTime={START_MS - 1}") == []
    assert opens("&limit=2", "1h") == [0, 60]
    assert opens("", "1d") == [0]


def test_weeks_begin_on_monday():
    rest = BinanceRest(synthetic_markets(SEED, n_bars=10 * 1440))
    monday = 1_704_067_200_000  # 2024-01-01 is one
    rows = ask(rest, f"{SPOT}/klines?symbol=BTCUSDT&interval=1w", monday + 8 * 86_400_000)
    assert [row[0] for row in rows] == [monday, monday + 7 * 86_400_000]
    assert rows[0][6] == monday + 7 * 86_400_000 - 1


def test_longer_klines_are_made_of_the_shorter_ones(rest):
    now = START_MS + 25 * HOUR_MS + 123_456
    names = ["ts", "o", "h", "l", "c", "v", "end", "qv", "n", "tb", "tq", "x"]
    query = f"symbol=BTCUSDT&startTime={START_MS}"
    rows = []
    for page in range(2):
        start = START_MS + page * 1000 * MINUTE_MS
        rows += ask(rest, f"{SPOT}/klines?symbol=BTCUSDT&interval=1m&limit=1000&startTime={start}", now)
    minutes = pd.DataFrame(rows, columns=names).astype(float)
    for interval, ms in (("15m", 15 * MINUTE_MS), ("4h", 4 * HOUR_MS), ("1d", 24 * HOUR_MS)):
        longer = pd.DataFrame(ask(rest, f"{SPOT}/klines?interval={interval}&{query}", now), columns=names).astype(float)
        groups = minutes.groupby(minutes["ts"] // ms * ms)
        how = {"o": "first", "h": "max", "l": "min", "c": "last"} | dict.fromkeys(["v", "qv", "n", "tb", "tq"], "sum")
        expected = groups.agg(how)
        np.testing.assert_array_equal(longer["ts"], expected.index)
        np.testing.assert_allclose(longer[list(how)], expected[list(how)], rtol=1e-9)


def test_trades_by_id_and_time(rest):
    now = START_MS + HOUR_MS
    by_id = ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&fromId=100&limit=5", now)
    assert [t["a"] for t in by_id] == [100, 101, 102, 103, 104]
    since, until = by_id[1]["T"], by_id[3]["T"]
    by_time = ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&startTime={since}&endTime={until}", now)
    assert [t["a"] for t in by_time] == [101, 102, 103]
    latest = ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&limit=2", now)
    plain = ask(rest, f"{SPOT}/trades?symbol=BTCUSDT&limit=2", now)
    assert [(t["a"], t["p"], t["q"], t["T"], t["m"]) for t in latest] == [
        (t["id"], t["price"], t["qty"], t["time"], t["isBuyerMaker"]) for t in plain
    ]
    assert ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&fromId=99999999", now) == []
    assert ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&startTime={now + 1}", now) == []


# --- one market, consistent with itself -----------------------------------------------------------------------------


@st.composite
def bars_of_any_kind(draw):
    n = draw(st.integers(1, 12))
    low = np.array(draw(st.lists(st.integers(1, 10**9), min_size=n, max_size=n)))
    width = np.array(draw(st.lists(st.sampled_from([0, 1, 2, 5, 1000]), min_size=n, max_size=n)))
    shares = np.array(draw(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=n, max_size=n)))
    lots = np.array(
        draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 63, 64, 65, 10**6, 10**12]), min_size=n, max_size=n))
    )
    opened, close = (low + np.rint(shares[:, side] * width).astype(np.int64) for side in (0, 1))
    ones = np.ones(n, np.int64)
    return Bars(np.arange(n) * MINUTE_MS, opened, low + width, low, close, lots, ones, ones.astype(float))


@given(bars=bars_of_any_kind(), seed=st.integers(0, 2**63 - 1), block=st.integers(0, 1000))
def test_the_trades_of_a_bar_are_that_bar(bars, seed, block):
    trades = make_trades(bars, seed, block, 1, int(bars.open[0]), MINUTE_MS)
    counts = trade_counts(bars)
    assert len(trades) == counts.sum()
    assert counts.max() <= MAX_TRADES
    for i in range(len(bars)):
        mine = trades.bar == block * BLOCK + i
        assert mine.sum() == counts[i]
        if not counts[i]:
            assert bars.lots[i] == 0
            assert bars.high[i] == bars.low[i]
            continue
        price, ts_ms = trades.price[mine], trades.ts_ms[mine]
        shown = (price[0], price.max(), price.min(), price[-1])
        assert shown == (bars.open[i], bars.high[i], bars.low[i], bars.close[i])
        assert trades.lots[mine].sum() == volumes(bars)[i]
        assert volumes(bars)[i] == max(bars.lots[i], counts[i])
        assert trades.lots[mine].min() >= 1
        assert (np.diff(ts_ms) >= 0).all()
        assert bars.ts_ms[i] <= ts_ms[0]
        assert ts_ms[-1] < bars.ts_ms[i] + MINUTE_MS


@given(offsets=st.lists(st.integers(0, 400 * MINUTE_MS), min_size=1, max_size=6))
def test_the_running_bar_is_its_trades_so_far(rest, offsets):
    for offset in offsets:
        now = START_MS + offset
        (bar,) = ask(rest, f"{SPOT}/klines?symbol=BTCUSDT&interval=1m&limit=1", now)
        trades = ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&startTime={bar[0]}&limit=1000", now)
        assert bar[0] == now // MINUTE_MS * MINUTE_MS
        assert bar[8] == len(trades)
        assert float(bar[5]) == pytest.approx(sum(float(t["q"]) for t in trades), abs=1e-9)
        assert float(bar[7]) == pytest.approx(sum(float(t["q"]) * float(t["p"]) for t in trades), rel=1e-9)
        assert float(bar[9]) == pytest.approx(sum(float(t["q"]) for t in trades if not t["m"]), abs=1e-9)
        assert all(t["T"] <= now for t in trades)
        if trades:
            prices = [float(t["p"]) for t in trades]
            assert [float(p) for p in bar[1:5]] == [prices[0], max(prices), min(prices), prices[-1]]
        else:
            assert len(set(bar[1:5])) == 1


@given(offset=st.integers(0, 400 * MINUTE_MS), prefix=st.sampled_from([SPOT, LINEAR]))
def test_the_book_is_on_the_tick_in_order_and_around_the_last_trade(rest, offset, prefix):
    now = START_MS + offset
    book = ask(rest, f"{prefix}/depth?symbol=BTCUSDT&limit=1000", now)
    bids, asks = (np.array(book[side], float) for side in ("bids", "asks"))
    assert len(bids) == len(asks) == 1000
    assert (np.diff(bids[:, 0]) < 0).all()
    assert (np.diff(asks[:, 0]) > 0).all()
    assert bids[0, 0] < asks[0, 0]
    for levels in (bids, asks):
        steps = np.rint(levels / [0.1, 0.001])
        np.testing.assert_allclose(levels, steps * [0.1, 0.001], rtol=1e-12)
        assert steps.min() >= 1
    trades = ask(rest, f"{prefix}/trades?symbol=BTCUSDT&limit=1", now)
    if trades:
        touch = bids if trades[0]["isBuyerMaker"] else asks
        assert touch[0, 0] == float(trades[0]["price"])


def test_the_update_id_grows_with_the_market(rest):
    ids = [ask(rest, f"{SPOT}/depth?symbol=BTCUSDT&limit=5", START_MS + s * 1000)["lastUpdateId"] for s in range(300)]
    assert ids == sorted(ids)
    assert len(set(ids)) > 150


def test_polls_see_every_trade_once(rest):
    seen, now = [], START_MS
    while now < START_MS + (BLOCK + 3) * MINUTE_MS:  # across the border of a block
        now += 5_000
        query = f"fromId={seen[-1]['a'] + 1}" if seen else f"startTime={START_MS}"
        seen += ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&{query}&limit=1000", now)
    assert [t["a"] for t in seen] == list(range(1, len(seen) + 1))
    bars = simulate(SyntheticMarket(), BLOCK + 3, SEED)
    assert sum(float(t["q"]) for t in seen) == pytest.approx(bars["volume"].sum(), rel=1e-9)
    assert [t["T"] for t in seen] == sorted(t["T"] for t in seen)


TARGETS = [
    "klines?symbol=BTCUSDT&interval=1m&limit=100",
    "klines?symbol=BTCUSDT&interval=1h",
    "depth?symbol=BTCUSDT&limit=20",
    "trades?symbol=BTCUSDT&limit=200",
    "aggTrades?symbol=BTCUSDT&limit=200",
    "exchangeInfo",
    "time",
]


def test_the_same_question_at_the_same_time_gets_the_same_bytes_whatever_was_asked_before():
    moments = [START_MS + k * 7_777_777 for k in (1, 5, 60, 20, 3)]
    first, second = BinanceRest(synthetic_markets(SEED, n_bars=300)), BinanceRest(synthetic_markets(SEED, n_bars=9000))
    answers = {}
    for now in moments:
        for target in TARGETS:
            answers[now, target] = first.reply("GET", f"{SPOT}/{target}", now * NS_PER_MS).body
    for now, target in reversed(answers):
        assert second.reply("GET", f"{SPOT}/{target}", now * NS_PER_MS).body == answers[now, target]
    other = BinanceRest(synthetic_markets(SEED + 1))
    assert other.reply("GET", f"{SPOT}/{TARGETS[0]}", moments[0] * NS_PER_MS).body != answers[moments[0], TARGETS[0]]


def test_the_venue_knows_nothing_of_the_future():
    """Two markets that agree up to now and differ after it give the same answers now."""
    frame = simulate(SyntheticMarket(), 600, SEED)[["ts_ms", "open", "high", "low", "close", "volume"]]
    cut = 400
    changed = frame.copy()
    changed.loc[cut:, ["open", "high", "low", "close"]] *= 2
    changed.loc[cut:, "volume"] = 1.0
    now = (START_MS + cut * MINUTE_MS - 1) * NS_PER_MS
    replies = []
    for bars in (frame, changed):
        tape = compile_bars(bars, Instrument("BTC/USDT", 0.1, 0.001), interval_ms=MINUTE_MS)
        rest = BinanceRest([SimMarket.from_tape(tape, seed=SEED)])
        replies.append([rest.reply("GET", f"{SPOT}/{t}", now).body for t in TARGETS if not t.startswith("depth")])
    assert replies[0] == replies[1]


# --- recorded bars --------------------------------------------------------------------------------------------------


def test_a_recorded_market_is_what_was_recorded(shared_data):
    frame = read_klines_file(shared_data / "klines" / "binance_BTCUSDT_1m_2025-12-18_2025-12-31.parquet").head(3000)
    tape = compile_bars(frame, Instrument("BTC/USDT", 0.01, 0.00001, min_notional=5.0))
    with (
        ExchangeSim.of_tape(tape, history_bars=2999) as sim,
        PublicClient("binance", base_url=sim.base_url) as client,
    ):
        sim.step(60)
        bars = client.klines("BTC/USDT", "1m", int(frame["ts_ms"].iloc[0]))
    np.testing.assert_allclose(
        bars[["ts_ms", "open", "high", "low", "close"]], frame.drop(columns="volume"), rtol=1e-12
    )
    np.testing.assert_allclose(bars["volume"], frame["volume"], atol=64e-5)


def test_a_recorded_market_ends_with_its_bars():
    bars = simulate(SyntheticMarket(), 100, SEED)
    tape = compile_bars(bars, Instrument("BTC/USDT:USDT", 0.1, 0.001, "linear"), interval_ms=MINUTE_MS, tier="T2")
    with ExchangeSim.of_tape(tape, history_bars=10) as sim, PublicClient("sim", base_url=sim.base_url) as client:
        assert client.server_time_ms() == START_MS + 10 * MINUTE_MS
        sim.step(10 * 3600)
        assert client.server_time_ms() == START_MS + 100 * MINUTE_MS
        assert len(client.klines("BTC/USDT", "1m", START_MS)) == 100
        client.order_book("BTC/USDT")


def test_a_hole_in_the_record_stays_one():
    bars = simulate(SyntheticMarket(), 100, SEED).drop(index=range(40, 60))
    tape = compile_bars(bars, Instrument("BTC/USDT", 0.1, 0.001), interval_ms=MINUTE_MS)
    rest = BinanceRest([SimMarket.from_tape(tape)])
    now = START_MS + 50 * MINUTE_MS
    assert len(ask(rest, f"{SPOT}/klines?symbol=BTCUSDT&interval=1m", now)) == 40
    assert ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&startTime={START_MS + 41 * MINUTE_MS}", now) == []
    assert ask(rest, f"{SPOT}/depth?symbol=BTCUSDT", now)["bids"]
    after = ask(rest, f"{SPOT}/klines?symbol=BTCUSDT&interval=1m", START_MS + 100 * MINUTE_MS)
    assert len(after) == 80


def test_recorded_bars_can_be_moved_to_the_present():
    bars = simulate(SyntheticMarket(), 100, SEED)
    tape = compile_bars(bars, Instrument("BTC/USDT", 0.1, 0.001), interval_ms=MINUTE_MS)
    present = 1_800_000_000_000 * NS_PER_MS
    with (
        ExchangeSim.of_tape(tape, history_bars=30, clock=ManualClock(present)) as sim,
        PublicClient("binance", base_url=sim.base_url) as client,
    ):
        moved = client.klines("BTC/USDT", "1m", 0 + 1_800_000_000_000 - 31 * MINUTE_MS)
    assert len(moved) == 30
    np.testing.assert_allclose(moved["close"], bars["close"].head(30))


@pytest.mark.parametrize(
    "make",
    [
        lambda bars: SimMarket.from_tape(compile_bars(bars, Instrument("BTC/USD:BTC", 0.1, 1, "inverse", 100))),
        lambda bars: SimMarket.from_tape(compile_bars(bars, Instrument("BTC/USDT", 0.1, 0.001)).slice_rows(0, 0)),
        lambda _bars: ExchangeSim([]),
        lambda _bars: ExchangeSim([*synthetic_markets(1), *synthetic_markets(1)]),
        lambda _bars: ExchangeSim.embedded(history_bars=0),
        lambda _bars: ExchangeSim.embedded(-1),
        lambda _bars: ExchangeSim.embedded().base_url,
        lambda _bars: ExchangeSim.embedded(clock=SystemClock()).step(1),
        lambda _bars: ExchangeSim.embedded(port=99_999).start(),
        lambda _bars: MarketClock(0, 0),
        lambda _bars: MarketClock(0, float("nan")),
        lambda _bars: Faults(error_rate=1.5),
        lambda _bars: Faults(error_rate=0.6, disconnect_rate=0.6),
        lambda _bars: Faults(latency_ms=-1),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ConfigError):
        make(simulate(SyntheticMarket(), 10, SEED))


# --- time -----------------------------------------------------------------------------------------------------------


def test_the_market_clock_runs_as_fast_as_told():
    base = ManualClock(1_000)
    slow, fast = MarketClock(50, base=base), MarketClock(50, 60.0, base)
    base.advance(NS_PER_S)
    assert slow.now_ns() == 50 + NS_PER_S
    assert fast.now_ns() == 50 + 60 * NS_PER_S


def test_a_live_venue_stands_in_the_present_with_its_history_behind_it():
    wall = ManualClock(1_800_000_012_345 * NS_PER_MS)
    clock = MarketClock(wall.now_ns(), 10.0, wall)
    with (
        ExchangeSim.embedded(SEED, history_bars=50, clock=clock) as sim,
        PublicClient("sim", base_url=sim.base_url) as client,
    ):
        assert client.server_time_ms() == 1_800_000_012_345
        assert len(client.klines("BTC/USDT", "1m", 0 + 1_800_000_000_000 - HOUR_MS)) == 50
        wall.advance(6 * NS_PER_S)
        assert len(client.klines("BTC/USDT", "1m", 1_800_000_000_000 - HOUR_MS)) == 51


def test_a_stepped_venue_stands_still_between_steps():
    with ExchangeSim.embedded(SEED, history_bars=5) as sim, PublicClient("sim", base_url=sim.base_url) as client:
        before = [client.server_time_ms(), client.order_book("BTC/USDT", 5).seq]
        assert [client.server_time_ms(), client.order_book("BTC/USDT", 5).seq] == before
        sim.step(2.5)
        assert client.server_time_ms() == before[0] + 2500


def test_the_synthetic_market_goes_on_beyond_the_bars_it_began_with():
    market, _ = synthetic_markets(SEED, n_bars=1)
    rest = BinanceRest([market])
    assert market.end_ms is None
    day = START_MS + 24 * HOUR_MS
    rows = ask(rest, f"{SPOT}/klines?symbol=BTCUSDT&interval=1m&limit=1000", day - 1)
    expected = simulate(SyntheticMarket(), 1440, SEED)["close"].iloc[440:1439]
    np.testing.assert_allclose([float(row[4]) for row in rows[:-1]], expected)


# --- the server -----------------------------------------------------------------------------------------------------


def test_nothing_is_left_after_it_stops():
    threads = threading.active_count()
    sim = ExchangeSim.embedded(SEED, history_bars=5).start()
    address = sim.base_url.removeprefix("http://")
    idle = http.client.HTTPConnection(address)
    idle.request("GET", "/api/v3/ping")
    assert idle.getresponse().read() == b"{}"
    sim.start()  # a second time does nothing
    start = time.monotonic()
    sim.stop()
    sim.stop()
    assert time.monotonic() - start < 2
    assert threading.active_count() == threads
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(address).request("GET", "/api/v3/ping")
    with sim, PublicClient("sim", base_url=sim.base_url) as client:  # and it starts again
        assert client.server_time_ms()


def test_a_port_can_be_chosen_used_again_and_not_shared():
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    for _ in range(2):
        with ExchangeSim.embedded(SEED, history_bars=5, port=port) as sim:
            assert sim.base_url == f"http://127.0.0.1:{port}"
            idle = http.client.HTTPConnection("127.0.0.1", port)
            idle.request("GET", "/api/v3/ping")
            idle.getresponse().read()
            with pytest.raises(ConfigError, match="another port"):
                ExchangeSim.embedded(SEED, history_bars=5, port=port).start()
        idle.close()  # after the venue: its end of the connection lingers on the port


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /api/v3/time HTTP/9.9\r\n\r\n",
        b"BREW /api/v3/time HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /api/v3/order HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n",
        b"POST /api/v3/order HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST /api/v3/order HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_requests_that_are_none_get_json_and_a_closed_connection(request_bytes):
    with ExchangeSim.embedded(SEED, history_bars=5) as sim:
        host, port = sim.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(request_bytes)
            received = b""
            while part := connection.recv(65536):
                received += part
        head, _, body = received.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/"):
            assert 400 <= int(head.split()[1]) < 600
            assert b"application/json" in head
        else:
            body = head  # HTTP/0.9 has no head
        assert orjson.loads(body or b"{}") is not None
        with PublicClient("sim", base_url=sim.base_url) as client:
            assert client.server_time_ms()


def test_many_clients_at_once():
    with ExchangeSim.embedded(SEED, history_bars=600) as sim:
        answers, errors = [], []

        def poll():
            try:
                connection = http.client.HTTPConnection(sim.base_url.removeprefix("http://"))
                for target in TARGETS * 3:
                    connection.request("GET", f"{SPOT}/{target}")
                    answers.append((target, connection.getresponse().read()))
                connection.close()
            except OSError as error:
                errors.append(error)

        threads = [threading.Thread(target=poll) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(set(answers)) == len(TARGETS)


def test_the_answer_carries_its_length_and_no_time_of_this_machine():
    with ExchangeSim.embedded(SEED, history_bars=5) as sim:
        connection = http.client.HTTPConnection(sim.base_url.removeprefix("http://"))
        connection.request("GET", "/api/v3/depth?symbol=BTCUSDT&limit=5")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
    assert int(answer.headers["Content-Length"]) == len(body)
    assert answer.headers["Date"] is None
    assert answer.headers["x-mbx-used-weight"] == "5"


# --- faults ---------------------------------------------------------------------------------------------------------


def count_faults(seed, **rates):
    sim = ExchangeSim.embedded(SEED, history_bars=5, faults=Faults(seed=seed, **rates))
    return [
        "hung up" if reply is None else reply.status
        for reply in (sim._answer("GET", "/api/v3/time") for _ in range(400))
    ]


def test_faults_come_as_often_as_told_and_in_the_same_order():
    rates = {"error_rate": 0.2, "disconnect_rate": 0.1, "throttle_rate": 0.1}
    drawn = count_faults(1, **rates)
    for outcome, share in ((503, 0.2), ("hung up", 0.1), (429, 0.1), (200, 0.6)):
        assert abs(drawn.count(outcome) / 400 - share) < 0.07
    assert count_faults(1, **rates) == drawn
    assert count_faults(2, **rates) != drawn
    assert set(count_faults(1)) == {200}


def test_latency_is_added_and_does_not_hold_up_the_end():
    slow = ExchangeSim.embedded(SEED, history_bars=5, faults=Faults(latency_ms=150))
    with slow, PublicClient("sim", base_url=slow.base_url) as client:
        start = time.monotonic()
        client.server_time_ms()
        assert 0.15 <= time.monotonic() - start < 2
    endless = ExchangeSim.embedded(SEED, history_bars=5, faults=Faults(latency_ms=600_000)).start()
    with PublicClient("sim", base_url=endless.base_url, timeout_s=0.1) as client:
        with pytest.raises(ExchangeUnreachableError):
            client.server_time_ms()
        start = time.monotonic()
        endless.stop()
        assert time.monotonic() - start < 2


# --- the command ----------------------------------------------------------------------------------------------------

COMMAND = "import typer; from marketmakerl.cli.exchange_sim import exchange_sim; typer.run(exchange_sim)"


@pytest.mark.parametrize("arguments", [["--seed", "5", "--speed", "60"], ["recorded"]])
def test_the_command_serves_until_it_is_interrupted(tmp_path, arguments):
    symbol = "BTC/USDT"
    if arguments == ["recorded"]:
        path = tmp_path / "binanceusdm_BTCUSDT_1m_2024-01-01_2024-01-01.parquet"
        simulate(SyntheticMarket(), 200, SEED).to_parquet(path)
        arguments, symbol = ["--data", str(path)], "BTC/USDT:USDT"
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            line = process.stdout.readline()
            url = re.search(r"http://\S+", line)[0]
            with PublicClient("sim" if symbol != "BTC/USDT" else "binance", base_url=url) as client:
                assert abs(client.server_time_ms() - SystemClock().now_ns() // NS_PER_MS) < HOUR_MS
                assert client.market(symbol)["symbol"] == symbol
            process.send_signal(signal.SIGINT)
            out, err = process.stdout.read(), process.stderr.read()
            assert process.wait(20) == 0, err
        finally:
            process.kill()
    assert err == ""
    assert "client.fetch_ohlcv" in out
    assert url in out
