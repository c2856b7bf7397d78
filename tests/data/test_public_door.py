"""What the public client lets through, and what it does not: nothing private, ever."""

from __future__ import annotations

import copy
import os
import re
import socket
import threading

import ccxt
import pytest

from marketmakerl.core.errors import (
    ConfigError,
    LiveTradingBlocked,
    UnknownNameError,
)
from marketmakerl.core.fees import fee_exchanges
from marketmakerl.core.instruments import known_exchanges
from marketmakerl.data.public_door import CREDENTIALS, PUBLIC_METHODS, VENUES
from marketmakerl.data.real_market_data import PublicClient
from marketmakerl.realtime.sim_protocol import Reply
from venue import replaying

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
