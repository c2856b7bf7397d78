"""The offline venue's protocol as a pure function of the request and the venue's time."""

from __future__ import annotations

import re

import numpy as np
import orjson
import pandas as pd
import pytest

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.data.synthetic import START_MS
from marketmakerl.realtime.sim_protocol import BinanceRest
from marketmakerl.realtime.sim_synthetic import synthetic_markets
from venue import ask

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
SEED = 11
SPOT, LINEAR = "/api/v3", "/fapi/v1"


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
