"""The offline venue as a server: unmodified ccxt, time, connections, faults, and the command."""

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
import pytest

from marketmakerl.core.clock import NS_PER_MS, NS_PER_S, ManualClock, SystemClock
from marketmakerl.core.errors import ConfigError, ExchangeUnreachableError
from marketmakerl.data.real_market_data import PublicClient
from marketmakerl.data.synthetic import START_MS, SyntheticMarket, simulate
from marketmakerl.realtime.exchange_sim import ExchangeSim, Faults, MarketClock
from marketmakerl.realtime.sim_protocol import BinanceRest
from marketmakerl.realtime.sim_synthetic import synthetic_markets
from venue import TARGETS, ask

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
SEED = 11
SPOT, LINEAR = "/api/v3", "/fapi/v1"
API = {
    SPOT: ("binance", "BTC/USDT", "public", "spot"),
    LINEAR: ("binanceusdm", "BTC/USDT:USDT", "fapiPublic", "linear"),
}


def raw_ccxt(url, prefix):
    """Return ccxt's own client with nothing changed but where it looks: no request of it may leave this machine."""
    name, _, _, kind = API[prefix]
    client = getattr(ccxt, name)({"options": {"fetchMarkets": {"types": [kind]}}, "enableRateLimit": False})
    client.urls["api"] = {api: re.sub(r"^https://[^/]+", url, there) for api, there in client.urls["api"].items()}
    assert all(there.startswith("http://127.0.0.1:") for there in client.urls["api"].values())
    return client


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


# --- time -------------------------------------------------------------------------------------------------------------


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


# --- the server -------------------------------------------------------------------------------------------------------


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


# --- faults -----------------------------------------------------------------------------------------------------------


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


# --- the command ------------------------------------------------------------------------------------------------------


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
