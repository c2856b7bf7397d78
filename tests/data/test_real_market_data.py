"""The public client: against the offline venue through real ccxt, against recorded payloads, and against mischief."""

from __future__ import annotations

import copy
import gzip
import json
import os
import re
import socket
import threading
import time
import zipfile
from contextlib import contextmanager

import ccxt
import numpy as np
import orjson
import pytest
import stamina

from marketmakerl.core.clock import NS_PER_MS, ManualClock
from marketmakerl.core.errors import (
    ConfigError,
    DataFormatError,
    DataQualityError,
    ExchangeUnreachableError,
    LiveTradingBlocked,
    UnknownNameError,
)
from marketmakerl.core.fees import fee_exchanges
from marketmakerl.core.instruments import known_exchanges, lookup, read_overrides
from marketmakerl.data.instrument_refresh import refresh
from marketmakerl.data.public_door import CREDENTIALS, PUBLIC_METHODS, VENUES
from marketmakerl.data.quality import check_klines
from marketmakerl.data.real_market_data import PublicClient
from marketmakerl.data.synthetic import START_MS, SyntheticMarket, simulate
from marketmakerl.realtime.exchange_sim import ExchangeSim, Faults
from marketmakerl.realtime.sim_protocol import Reply
from marketmakerl.realtime.sim_server import Server

MINUTE_MS = 60_000
SEED = 7
HISTORY = 1440


@pytest.fixture(scope="module")
def sim():
    with ExchangeSim.embedded(SEED, history_bars=HISTORY) as running:
        running.step(30)  # in the middle of a bar
        yield running


@pytest.fixture
def client(sim):
    with PublicClient("sim", base_url=sim.base_url, clock=ManualClock(123)) as made:
        yield made


@contextmanager
def replaying(answers):
    """Serve recorded bodies: `answers` maps "path" or "path?symbol" to a body, or is a function of (method, target)."""
    requests = []

    def answer(method, target):
        requests.append(target)
        if callable(answers):
            return answers(method, target)
        path, _, query = target.partition("?")
        symbol = re.search(r"symbol=(\w+)", query)
        body = answers.get(f"{path}?{symbol[1]}" if symbol else path, answers.get(path))
        return Reply(404, b"{}", {}) if body is None else Reply(200, body, {})

    server = Server(("127.0.0.1", 0), answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def with_door(client, call):
    """Put `call(name, *args)` in the place of ccxt."""
    object.__setattr__(client, "_door", client._door._replace(call=call))
    return client


# --- against the offline venue --------------------------------------------------------------------------------------


def test_klines_are_the_bars_of_the_market(client):
    bars = client.klines("BTC/USDT", "1m", START_MS)
    expected = simulate(SyntheticMarket(), HISTORY, SEED)[list(bars.columns)]
    assert list(bars.columns) == ["ts_ms", "open", "high", "low", "close", "volume"]
    assert bars["ts_ms"].dtype == np.int64
    np.testing.assert_array_equal(bars["ts_ms"], expected["ts_ms"])
    np.testing.assert_allclose(bars.to_numpy(), expected.to_numpy(), rtol=1e-12)
    assert check_klines(bars, MINUTE_MS, lookup("sim", "BTC/USDT")).findings == ()


def test_the_unfinished_bar_is_left_out(client):
    now_ms = client.server_time_ms()
    assert now_ms == START_MS + HISTORY * MINUTE_MS + 30_000
    assert client.klines("BTC/USDT", "1m", now_ms - 5 * MINUTE_MS)["ts_ms"].iloc[-1] == now_ms - 30_000 - MINUTE_MS
    hours = client.klines("BTC/USDT", "1h", START_MS)
    assert len(hours) == HISTORY // 60
    assert client.klines("BTC/USDT", "1d", START_MS)["ts_ms"].tolist() == [START_MS]


def test_klines_from_and_until(client):
    bars = client.klines("BTC/USDT", "1m", START_MS + MINUTE_MS, START_MS + 4 * MINUTE_MS)
    assert bars["ts_ms"].tolist() == [START_MS + n * MINUTE_MS for n in (1, 2, 3)]
    assert client.klines("BTC/USDT", "1m", client.server_time_ms() + 10 * MINUTE_MS).empty
    assert client.klines("BTC/USDT", "1m", START_MS - 5 * MINUTE_MS, START_MS).empty


def test_klines_tell_how_far_they_are(client):
    told = []
    client.klines("BTC/USDT", "1m", START_MS, progress=lambda done, total: told.append((done, total)))
    assert told == [(1000, HISTORY), (HISTORY, HISTORY)]


def test_a_hole_longer_than_a_page_is_stepped_over(client):
    before, after = 0, 2_500 * MINUTE_MS

    def call(name, *args):
        if name == "fetch_time":
            return 2_501 * MINUTE_MS
        if name == "load_markets":
            return {"BTC/USDT": {"symbol": "BTC/USDT", "id": "BTCUSDT", "spot": True}}
        since, limit = args[2], args[3]
        return [[ts, 1, 1, 1, 1, 1] for ts in (before, after) if since <= ts < since + limit * MINUTE_MS]

    assert with_door(client, call).klines("BTC/USDT", "1m", 0)["ts_ms"].tolist() == [before, after]


def test_the_book(client):
    book = client.order_book("BTC/USDT", 7)
    assert book.bids.shape == book.asks.shape == (7, 2)
    assert book.bids[0, 0] < book.asks[0, 0]
    assert (np.diff(book.bids[:, 0]) < 0).all()
    assert (np.diff(book.asks[:, 0]) > 0).all()
    assert book.ts_ns == client.server_time_ms() * NS_PER_MS
    assert book.ts_local_ns == 123
    assert book.seq > 0
    assert len(client.order_book("BTC/USDT", 5000).bids) == 1000  # the venue's most


def test_a_book_without_a_time_says_so(sim):
    with PublicClient("binance", base_url=sim.base_url) as spot:
        assert spot.order_book("BTC/USDT", 7).ts_ns == -1


def test_trades_add_up_to_the_bars(client):
    bars = client.klines("BTC/USDT", "1m", START_MS + 100 * MINUTE_MS, START_MS + 160 * MINUTE_MS)
    trades = client.trades("BTC/USDT", START_MS + 100 * MINUTE_MS, 60 * 64)
    trades = trades[trades["ts_ns"] < (START_MS + 160 * MINUTE_MS) * NS_PER_MS]
    assert dict(trades.dtypes) == {
        "ts_ns": np.int64,
        "ts_local_ns": np.int64,
        "price": np.float64,
        "qty": np.float64,
        "side": np.int8,
        "trade_id": np.int64,
    }
    assert (trades["trade_id"].diff().dropna() == 1).all()
    assert set(trades["side"]) == {1, -1}
    assert set(trades["ts_local_ns"]) == {-1}
    by_bar = trades.groupby(trades["ts_ns"] // NS_PER_MS // MINUTE_MS * MINUTE_MS)
    np.testing.assert_allclose(by_bar["qty"].sum(), bars["volume"], rtol=1e-9)
    for name in ("first", "max", "min", "last"):
        column = {"first": "open", "max": "high", "min": "low", "last": "close"}[name]
        np.testing.assert_array_equal(getattr(by_bar["price"], name)(), bars[column])


def test_the_latest_trades(client):
    latest = client.trades("BTC/USDT", limit=5)
    assert len(latest) == 5
    since = client.trades("BTC/USDT", int(latest["ts_ns"].iloc[0]) // NS_PER_MS, 1000)
    assert since["trade_id"].tolist()[-5:] == latest["trade_id"].tolist()
    assert client.trades("BTC/USDT", client.server_time_ms() + 1).empty


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("cap", [100, 250, 1000])
def test_trades_of_one_millisecond_cut_by_a_page_are_neither_lost_nor_doubled(client, ids, cap):
    rng = np.random.default_rng(cap)
    stamps = np.sort(rng.integers(0, 90, 2_000)) * 100  # about 22 a stamp
    made = [
        {"timestamp": int(ts), "price": 1.0, "amount": 1.0 + n, "side": "buy", "id": str(n) if ids else None}
        for n, ts in enumerate(stamps)
    ]

    def call(name, *args):
        if name == "fetch_time":
            return 10_000
        if name == "load_markets":
            return {"BTC/USDT": {"symbol": "BTC/USDT", "id": "BTCUSDT", "spot": True}}
        return [trade for trade in made if trade["timestamp"] >= args[1]][: min(cap, args[2])]

    got = with_door(client, call).trades("BTC/USDT", 0, 10_000)
    assert sorted(got["qty"]) == [1.0 + n for n in range(2_000)]


def test_more_trades_in_one_millisecond_than_any_page_would_cut(client):
    made = [{"timestamp": 5, "price": 1.0, "amount": 1.0, "side": "sell", "id": str(n)} for n in range(150)]

    def call(name, *args):
        if name == "fetch_time":
            return 10_000
        if name == "load_markets":
            return {"BTC/USDT": {"symbol": "BTC/USDT", "id": "BTCUSDT", "spot": True}}
        return [trade for trade in made if trade["timestamp"] >= args[1]]

    assert len(with_door(client, call).trades("BTC/USDT", 0, 10_000)) == 150


def test_markets_and_symbols(client, sim):
    assert list(client.markets()) == ["BTC/USDT:USDT"]
    for spelling in ("BTC/USDT:USDT", "BTC/USDT", "btc/usdt", "BTCUSDT", "btc-usdt"):
        assert client.market(spelling)["symbol"] == "BTC/USDT:USDT"
    with PublicClient("binance", base_url=sim.base_url) as spot:
        assert spot.market("BTCUSDT")["symbol"] == "BTC/USDT"
    for unknown in ("DOGE/USDT", "", "/", "BTC"):
        with pytest.raises(UnknownNameError, match="BTC/USDT:USDT"):
            client.market(unknown)
    with pytest.raises(UnknownNameError, match="1m"):
        client.klines("BTC/USDT", "7m", 0)
    with pytest.raises(UnknownNameError, match="BTC/USDT:USDT"):
        client.fetch_ticker("DOGE/USDT")


def test_a_venue_with_thousands_of_markets_is_not_listed_in_full(client):
    markets = {f"A{n}/USDT": {"symbol": f"A{n}/USDT", "id": f"A{n}USDT", "spot": True} for n in range(3000)}
    with pytest.raises(UnknownNameError) as caught:
        with_door(client, lambda *_: markets).market("QQQ/EUR")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("call", [lambda c: c.order_book("BTC/USDT", 0), lambda c: c.trades("BTC/USDT", limit=0)])
def test_nothing_at_all_cannot_be_asked_for(client, call):
    with pytest.raises(ConfigError):
        call(client)


def test_the_instrument_table_can_be_refreshed_through_it(client, tmp_path):
    refresh(client, tmp_path / "over.json", clock=ManualClock(START_MS * NS_PER_MS))
    (row,) = read_overrides(tmp_path / "over.json")
    shipped = lookup("sim", "BTC/USDT")
    assert (row.exchange, row.native) == ("sim", "BTCUSDT")
    assert row.instrument == shipped


def test_public_methods_that_have_no_typed_twin_pass(client):
    assert client.fetch_time() == client.server_time_ms()
    assert client.fetch_markets()[0]["id"] == "BTCUSDT"


# --- nothing private, ever ------------------------------------------------------------------------------------------

OWN = {"base_url", "close", "id", "klines", "load_markets", "market", "markets", "order_book", "precisionMode"}
OWN |= {"server_time_ms", "tier", "trades"}


@pytest.mark.parametrize("exchange", ["sim", "binance", "bybitlinear", "okxswap", "hyperliquid"])
def test_whatever_ccxt_has_and_is_not_allowed_is_blocked(exchange):
    venue = VENUES[exchange]
    with PublicClient(exchange, base_url="http://127.0.0.1:9") as client:
        raw = getattr(ccxt, venue.ccxt_id)()
        names = {*dir(raw), *dir(ccxt.Exchange)} - OWN - PUBLIC_METHODS
        names = {name for name in names if not (name.startswith("__") and name.endswith("__"))}
        assert {
            "create_order",
            "createOrder",
            "cancel_all_orders",
            "edit_order",
            "withdraw",
            "transfer",
            "sign",
        } < names
        assert {"apiKey", "secret", "fetch_balance", "fetch_my_trades", "set_leverage", "fetch2", "request"} < names
        assert sum("private" in name.lower() for name in names) > 2
        for name in sorted(names):
            with pytest.raises(LiveTradingBlocked, match=f"{name} is blocked"):
                getattr(client, name)
        raw.session.close()


@pytest.mark.parametrize("name", ["apiKey", "secret", "id", "base_url", "urls", "anything", "_door"])
def test_nothing_can_be_set_or_deleted(client, name):
    with pytest.raises(LiveTradingBlocked):
        setattr(client, name, "x")
    with pytest.raises(LiveTradingBlocked):
        delattr(client, name)


def test_the_raw_client_is_out_of_reach(client):
    assert not hasattr(client, "__dict__")
    for name in dir(client):
        assert not isinstance(getattr(client, name), ccxt.Exchange)
        assert not isinstance(getattr(getattr(client, name), "__self__", None), ccxt.Exchange)
    for part in client._door:
        assert not isinstance(part, ccxt.Exchange)
        assert not isinstance(getattr(part, "__self__", None), ccxt.Exchange)
    for name in ("create_order", "private_get_account", "sign", "fetch_balance", "__class__"):
        with pytest.raises(LiveTradingBlocked):
            client._door.call(name)


def test_the_allow_list_names_nothing_private():
    for name in PUBLIC_METHODS:
        assert name.startswith(("fetch_", "load_markets"))
        assert not re.search(r"order(?!_book)|balance|position|my_|deposit|withdraw|account|ledger|transfer", name)
        assert callable(getattr(ccxt.Exchange, name))


def test_pythons_own_protocols_are_not_blocked(client):
    assert not hasattr(client, "__array__")
    assert repr(client) == "PublicClient('sim')"
    with pytest.raises(LiveTradingBlocked):
        copy.copy(client)  # two clients on one connection make no sense


class Watched(dict):
    """An environment that remembers what was read."""

    def __init__(self, values):
        super().__init__(values)
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.read.add(name)
        return super().get(name, default)

    def __contains__(self, name):
        self.read.add(name)
        return super().__contains__(name)


def test_keys_in_the_environment_and_in_netrc_are_never_read(monkeypatch, tmp_path):
    secrets = {
        **{f"{venue}_{what}": "topsecret" for venue in ("BINANCE", "CCXT") for what in ("API_KEY", "APIKEY", "SECRET")},
        **dict.fromkeys((*CREDENTIALS, "API_KEY", "SECRET", "EXCHANGE_API_KEY"), "topsecret"),
        "http_proxy": "http://topsecret@127.0.0.1:9",
    }
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login topsecret password topsecret\n")
    netrc.chmod(0o600)
    watched = Watched({**os.environ, **secrets, "HOME": str(tmp_path)})
    seen = []

    def answer(method, target):
        seen.append(target)
        return Reply(200, b'{"serverTime": 1700000000000}', {})

    with replaying(answer) as (url, _):
        monkeypatch.setattr(os, "environ", watched)
        with PublicClient("binance", base_url=url) as client:
            assert client.server_time_ms() == 1_700_000_000_000
    assert watched.read & set(secrets) == set()
    assert "topsecret" not in str(seen)


def test_no_header_of_a_request_carries_a_credential(monkeypatch):
    monkeypatch.setenv("BINANCE_API_KEY", "topsecret")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heard = []

        def listen():
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(
                    b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\nConnection: close\r\n\r\n{"serverTime":123}\n'
                )

        thread = threading.Thread(target=listen)
        thread.start()
        with PublicClient("binance", base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            assert client.server_time_ms() == 123
        thread.join()
    assert b"topsecret" not in heard[0]
    assert not re.search(rb"api-?key|authorization|signature", heard[0], re.IGNORECASE)


# --- construction ---------------------------------------------------------------------------------------------------


def test_every_exchange_we_know_has_a_client():
    gone = {"ftx", "bitmex"}  # one closed; ccxt no longer knows the other
    assert {*known_exchanges(), *fee_exchanges()} - gone == set(VENUES)
    for exchange in VENUES:
        with PublicClient(exchange, base_url="http://127.0.0.1:9") as client:
            assert client.id == exchange
            assert client.tier == "T2"


def test_the_exchange_itself_gives_t1():
    with PublicClient("binance") as client:
        assert client.tier == "T1"
        assert client.base_url is None


@pytest.mark.parametrize(
    ("exchange", "options", "error"),
    [
        ("bynance", {}, UnknownNameError),
        ("", {}, UnknownNameError),
        ("sim", {}, ConfigError),
        ("binance", {"base_url": "127.0.0.1:8765"}, ConfigError),
        ("binance", {"base_url": "ftp://127.0.0.1"}, ConfigError),
        ("binance", {"base_url": "http://"}, ConfigError),
        ("binance", {"base_url": "http://127.0.0.1:port"}, ConfigError),
        ("binance", {"base_url": "http://127.0.0.1:99999"}, ConfigError),
        ("binance", {"base_url": "http://key:secret@127.0.0.1"}, ConfigError),
        ("binance", {"base_url": "http://127.0.0.1/?apiKey=x"}, ConfigError),
        ("binance", {"timeout_s": 0}, ConfigError),
        ("binance", {"timeout_s": float("nan")}, ConfigError),
    ],
)
def test_a_wrong_argument_is_refused(exchange, options, error):
    with pytest.raises(error):
        PublicClient(exchange, **options)


def test_ccxt_is_told_to_spare_a_public_venue_and_not_the_local_one():
    for url, limited in ((None, True), ("https://mirror.example", True), ("http://127.0.0.1:9", False)):
        with PublicClient("binance", base_url=url) as client:
            raw = client._door.call.__closure__
            exchange = next(cell.cell_contents for cell in raw if isinstance(cell.cell_contents, ccxt.Exchange))
            assert exchange.enableRateLimit is limited
            assert {getattr(exchange, name) for name in CREDENTIALS} == {""}


def test_a_base_url_moves_every_request(sim):
    with PublicClient("bybitlinear", base_url=f"{sim.base_url}/x/") as client:
        raw = client._door.call.__closure__
        exchange = next(cell.cell_contents for cell in raw if isinstance(cell.cell_contents, ccxt.Exchange))
        urls = exchange.urls["api"]
        assert set(urls.values()) == {f"{sim.base_url}/x"}


# --- when it goes wrong ---------------------------------------------------------------------------------------------


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


# --- recorded payloads of the real venue ----------------------------------------------------------------------------


@pytest.fixture
def documented(shared_data):
    """Return the examples of Binance's own documentation, by path."""
    archive = shared_data / "fixtures" / "nautilus_adapter_fixtures.zip"
    if not archive.is_file():
        pytest.skip(f"{archive} is not here")
    folder = "crates/adapters/binance/test_data/spot/http_json"
    names = {"klines": "klines", "depth": "depth", "trades": "trades", "exchangeInfo": "exchange_info"}
    names["time"] = "server_time"
    with zipfile.ZipFile(archive) as opened:
        return {f"/api/v3/{path}": opened.read(f"{folder}/{name}_response.json") for path, name in names.items()}


def test_the_documented_payloads(documented):
    with replaying(documented) as (url, _), PublicClient("binance", base_url=url) as client:
        assert client.server_time_ms() == 1_499_827_319_559
        assert list(client.markets()) == ["ETH/BTC"]
        bars = client.klines("ETH/BTC", "1w", 1_499_040_000_000, 1_499_040_000_001)
        assert bars.to_numpy().tolist() == [[1499040000000.0, 0.0163479, 0.8, 0.015758, 0.015771, 148976.11427815]]
        book = client.order_book("ETHBTC")
        assert (book.bids.tolist(), book.asks.tolist(), book.seq) == ([[4.0, 431.0]], [[4.000002, 12.0]], 1027024)
        (trade,) = client.fetch_trades("ETH/BTC", params={"fetchTradesMethod": "publicGetTrades"})
        assert (trade["id"], trade["side"], trade["price"], trade["amount"]) == ("28457", "sell", 4.000001, 12.0)


def recorded_http(shared_data, name):
    """Return recorded answers: ("path?symbol" -> body), from the lines `URL -> time: body`."""
    answers = {}
    for part in (f"{name}.0.gz", f"{name}.http.0.0.gz"):
        path = shared_data / "fixtures" / "cryptofeed" / part
        if not path.is_file():
            pytest.skip(f"{path} is not here")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                found = re.match(r"https://[^/]+(/[^ ?]+)(?:\?symbol=(\w+)\S*)? -> [0-9.]+: (.*)", line)
                if found:
                    key = f"{found[1]}?{found[2]}" if found[2] else found[1]
                    answers[key] = found[3].encode()
    return answers


@pytest.mark.parametrize(
    ("name", "exchange", "prefix", "symbols"),
    [
        ("BINANCE", "binance", "/api/v3", ["NKN/USDT", "BLZ/ETH", "LRC/BTC", "RUNE/EUR"]),
        ("BINANCE_FUTURES", "binanceusdm", "/fapi/v1", ["SUSHI/USDT", "AKRO/USDT", "KEEP/USDT", "CTK/USDT"]),
    ],
)
def test_recorded_books_and_markets(shared_data, name, exchange, prefix, symbols):
    answers = recorded_http(shared_data, name)
    with replaying(answers) as (url, _), PublicClient(exchange, base_url=url) as client:
        markets = client.markets()
        assert len(markets) > 100
        assert set(markets) <= set(client.load_markets())
        for symbol in symbols:
            market = client.market(symbol)
            assert symbol == market["symbol"].partition(":")[0]
            book = client.order_book(symbol, 1000)
            raw = json.loads(answers[f"{prefix}/depth?{market['id']}"])
            np.testing.assert_array_equal(book.bids, np.array(raw["bids"], np.float64))
            np.testing.assert_array_equal(book.asks, np.array(raw["asks"], np.float64))
            assert book.seq == raw["lastUpdateId"]
            assert book.ts_ns == (raw["T"] * NS_PER_MS if "T" in raw else -1)
            # Near the best, prices lie on the recorded tick; orders deep in the book can be older than the tick.
            ticks = book.bids[:100, 0] / market["precision"]["price"]
            np.testing.assert_allclose(ticks, np.rint(ticks), atol=1e-6)
        with pytest.raises(UnknownNameError):
            client.market("NOSUCH/COIN")
