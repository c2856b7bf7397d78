"""The public client when an exchange is away, slow, broken or lying."""

from __future__ import annotations

import socket
import time

import ccxt
import orjson
import pytest
import stamina

from marketmakerl.core.errors import (
    ConfigError,
    DataFormatError,
    DataQualityError,
    ExchangeUnreachableError,
    UnknownNameError,
)
from marketmakerl.data.real_market_data import PublicClient
from marketmakerl.data.synthetic import START_MS
from marketmakerl.realtime.exchange_sim import ExchangeSim, Faults
from marketmakerl.realtime.sim_protocol import Reply
from venue import replaying, with_door

MINUTE_MS = 60_000
SEED = 7  # of the fixtures `sim` and `client`
HISTORY = 1440


def test_a_port_nobody_listens_on_is_reported_quickly_and_helpfully():
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    start = time.monotonic()
    with (
        PublicClient("binance", base_url=f"http://127.0.0.1:{port}") as client,
        pytest.raises(ExchangeUnreachableError, match=r"binance at http://127.*DATA=.*EXCHANGE=sim") as caught,
    ):
        client.server_time_ms()
    assert time.monotonic() - start < 5
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)


def test_a_venue_that_never_answers_is_given_up():
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        PublicClient("binance", base_url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.1) as client,
        pytest.raises(ExchangeUnreachableError, match="RequestTimeout"),
    ):
        client.server_time_ms()


def test_a_short_failure_is_ridden_out():
    failures = iter([None, Reply(503, b"{}", {})])

    def answer(method, target):
        return next(failures, Reply(200, b'{"serverTime": 5}', {}))

    with replaying(answer) as (url, requests), PublicClient("binance", base_url=url) as client:
        assert client.server_time_ms() == 5
    assert len(requests) == 3


def test_retries_leave_no_trace_on_stdout(capsys):
    failures = iter([None])

    def answer(method, target):
        return next(failures, Reply(200, b'{"serverTime": 5}', {}))

    with replaying(answer) as (url, _), PublicClient("binance", base_url=url) as client:
        client.server_time_ms()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("status", [418, 429])
def test_a_venue_that_asks_for_patience_is_not_asked_again(status):
    with (
        replaying(lambda *_: Reply(status, b'{"code":-1003,"msg":"Too many requests."}', {})) as (url, requests),
        PublicClient("binance", base_url=url) as client,
        pytest.raises(ExchangeUnreachableError),
    ):
        client.server_time_ms()
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ccxt.NetworkError, ExchangeUnreachableError),
        (ccxt.RequestTimeout, ExchangeUnreachableError),
        (ccxt.OnMaintenance, ExchangeUnreachableError),
        (ccxt.AuthenticationError, ExchangeUnreachableError),
        (ccxt.RestrictedLocation, ExchangeUnreachableError),
        (ccxt.OperationFailed, ExchangeUnreachableError),
        (ccxt.BadResponse, DataFormatError),
        (ccxt.ExchangeError, DataFormatError),
        (ccxt.BadRequest, ConfigError),
        (ccxt.NotSupported, ConfigError),
        (KeyError, DataFormatError),
        (TypeError, DataFormatError),
    ],
)
def test_every_error_of_ccxt_becomes_one_of_ours(client, raised, expected):
    def call(name, *args):
        raise raised("a\nlong story " * 50)

    with stamina.set_testing(True), pytest.raises(expected) as caught:
        with_door(client, call).fetch_status()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.fixture(scope="module")
def answers_of_the_venue(sim):
    """Return what the venue answers by path, to be spoilt."""
    targets = {
        "/api/v3/time": "/api/v3/time",
        "/api/v3/exchangeInfo": "/api/v3/exchangeInfo",
        "/api/v3/klines": f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={START_MS}&limit=3",
        "/api/v3/depth": "/api/v3/depth?symbol=BTCUSDT&limit=5",
        "/api/v3/aggTrades": "/api/v3/aggTrades?symbol=BTCUSDT&limit=3",
    }
    return {path: sim._rest.reply("GET", target, sim.clock.now_ns()).body for path, target in targets.items()}


ASK = {
    "/api/v3/time": lambda c: c.server_time_ms(),
    "/api/v3/exchangeInfo": lambda c: c.market("BTC/USDT"),
    "/api/v3/klines": lambda c: c.klines("BTC/USDT", "1m", START_MS, START_MS + 3 * MINUTE_MS),
    "/api/v3/depth": lambda c: c.order_book("BTC/USDT", 5),
    "/api/v3/aggTrades": lambda c: c.trades("BTC/USDT", limit=3),
}
BROKEN_ROWS = {
    "/api/v3/klines": [
        [[START_MS, "1", "1", "1", None, "1", 0, "0", 0, "0", "0", "0"]],
        [[START_MS, "1", "nan", "1", "1", "1", 0, "0", 0, "0", "0", "0"]],
        [[START_MS, "1", "1", "1", "1", "x", 0, "0", 0, "0", "0", "0"]],
        [[START_MS]],
    ],
    "/api/v3/depth": [
        {"lastUpdateId": 1, "bids": [["2", None]], "asks": [["3", "1"]]},
        {"lastUpdateId": 1, "bids": [["2", "1"]], "asks": [["x", "1"]]},
        {"lastUpdateId": 1, "bids": [["2", "-1"]], "asks": [["3", "1"]]},
    ],
    "/api/v3/aggTrades": [
        [{"a": 1, "p": None, "q": "1", "T": 5, "m": True}],
        [{"a": 1, "p": "1", "q": "0", "T": 5, "m": True}],
        [{"a": 1, "p": "1", "q": "1", "T": None, "m": True}],
    ],
    "/api/v3/time": [{"serverTime": None}, {"serverTime": "soon"}, {}],
    "/api/v3/exchangeInfo": [{"symbols": [{"status": "TRADING"}]}],
}


@pytest.mark.parametrize("path", ASK)
def test_a_cut_body_is_a_format_error(answers_of_the_venue, path):
    body = answers_of_the_venue[path]
    for spoilt in (body[: len(body) // 2], b"<html>Service unavailable</html>", b'"text"', b"17"):
        with (
            replaying({**answers_of_the_venue, path: spoilt}) as (url, _),
            PublicClient("binance", base_url=url) as client,
            pytest.raises((DataFormatError, UnknownNameError)) as caught,
        ):
            ASK[path](client)
        assert path.endswith("exchangeInfo") or isinstance(caught.value, DataFormatError)


@pytest.mark.parametrize(("path", "document"), [(path, doc) for path, docs in BROKEN_ROWS.items() for doc in docs])
def test_a_row_that_makes_no_sense_is_a_format_error(answers_of_the_venue, path, document):
    with (
        replaying({**answers_of_the_venue, path: orjson.dumps(document)}) as (url, _),
        PublicClient("binance", base_url=url) as client,
        pytest.raises(DataFormatError),
    ):
        ASK[path](client)


@pytest.mark.parametrize("side", ["bids", "asks"])
def test_a_crossed_book_is_refused(answers_of_the_venue, side):
    book = orjson.loads(answers_of_the_venue["/api/v3/depth"])
    price = book["asks" if side == "bids" else "bids"][0][0]
    book[side].insert(0, [price, "1"])
    with (
        replaying({**answers_of_the_venue, "/api/v3/depth": orjson.dumps(book)}) as (url, _),
        PublicClient("binance", base_url=url) as client,
        pytest.raises(DataQualityError),
    ):
        client.order_book("BTC/USDT", 5)


@pytest.mark.parametrize("fault", ["error_rate", "disconnect_rate", "throttle_rate", "malformed_rate"])
def test_faults_of_the_venue(fault):
    expected = DataFormatError if fault == "malformed_rate" else ExchangeUnreachableError
    with (
        ExchangeSim.embedded(SEED, history_bars=5, faults=Faults(**{fault: 1.0})) as broken,
        PublicClient("sim", base_url=broken.base_url) as client,
        pytest.raises(expected),
    ):
        client.klines("BTC/USDT", "1m", START_MS)


def test_enough_patience_for_a_venue_that_fails_now_and_then():
    with (
        ExchangeSim.embedded(SEED, history_bars=3000, faults=Faults(disconnect_rate=0.2, seed=1)) as shaky,
        PublicClient("sim", base_url=shaky.base_url) as client,
    ):
        assert len(client.klines("BTC/USDT", "1m", START_MS)) == 3000
        assert shaky.requests > 5
