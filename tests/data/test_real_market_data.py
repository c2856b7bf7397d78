"""The public client against the offline venue, through real ccxt, and against recorded payloads."""

from __future__ import annotations

import gzip
import json
import re
import zipfile

import numpy as np
import pytest

from marketmakerl.core.clock import NS_PER_MS, ManualClock
from marketmakerl.core.errors import (
    ConfigError,
    UnknownNameError,
)
from marketmakerl.core.instruments import lookup, read_overrides
from marketmakerl.data.instrument_refresh import refresh
from marketmakerl.data.quality import check_klines
from marketmakerl.data.real_market_data import PublicClient
from marketmakerl.data.synthetic import START_MS, SyntheticMarket, simulate
from venue import replaying, with_door

MINUTE_MS = 60_000
SEED = 7  # of the fixtures `sim` and `client`
HISTORY = 1440


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
