"""From a venue's market list to an overrides file."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path

import ccxt
import pytest

from marketmakerl.core.clock import NS_PER_DAY, ManualClock
from marketmakerl.core.errors import ConfigError, DataError, DataFormatError
from marketmakerl.core.instrument import Instrument
from marketmakerl.core.instruments import known_symbols, lookup, native_symbol, read_overrides
from marketmakerl.core.tables import shipped
from marketmakerl.data.instrument_refresh import InstrumentRow, RefusedMarket, instruments_from_ccxt, refresh

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "fixtures" / "cryptofeed"
DAY = "2026-01-02"
SPOT = {
    "id": "PEPEUSDT",
    "spot": True,
    "linear": None,
    "inverse": None,
    "contractSize": None,
    "precision": {"price": 1e-08, "amount": 1.0},
    "limits": {"price": {"max": 1.0}, "amount": {"max": 9e9}, "cost": {"min": 1.0}},
}
LINEAR = {
    "id": "BTC-USDT-SWAP",
    "spot": False,
    "linear": True,
    "inverse": False,
    "contractSize": 0.01,
    "precision": {"price": 0.1, "amount": 0.01},
    "limits": {"price": {"max": None}, "amount": {"max": 1e8}, "cost": {"min": None}},
}
INVERSE = LINEAR | {"id": "BTC-USD-SWAP", "linear": False, "inverse": True, "contractSize": 100.0}
MARKETS = {"PEPE/USDT": SPOT, "BTC/USDT:USDT": LINEAR, "BTC/USD:BTC": INVERSE}


class FakeClient:
    """A ccxt client as far as this goes: an id, a precision mode, and a market list or an error."""

    def __init__(self, markets, name="okx", mode=ccxt.TICK_SIZE):
        self.id = name
        self.precisionMode = mode
        self.markets = markets

    def load_markets(self):
        if isinstance(self.markets, Exception):
            raise self.markets
        return self.markets


def clock_at(day):
    return ManualClock(day * NS_PER_DAY)


def changed(path, value, market=SPOT):
    market = copy.deepcopy(market)
    *way, last = path.split(".")
    inner = market
    for name in way:
        inner = inner[name]
    inner[last] = value
    return market


# --- the conversion -------------------------------------------------------------------------------------------------


def test_markets_become_rows():
    rows, refused = instruments_from_ccxt(MARKETS, exchange="OKX", as_of=DAY)
    assert refused == []
    assert rows == [
        InstrumentRow(
            "okx", "BTC-USD-SWAP", Instrument("BTC/USD:BTC", 0.1, 0.01, "inverse", 100.0), DAY, "ccxt markets"
        ),
        InstrumentRow(
            "okx", "BTC-USDT-SWAP", Instrument("BTC/USDT:USDT", 0.1, 0.01, "linear", 0.01), DAY, "ccxt markets"
        ),
        InstrumentRow("okx", "PEPEUSDT", Instrument("PEPE/USDT", 1e-8, 1.0, "spot", 1.0, 1.0), DAY, "ccxt markets"),
    ]


def test_only_the_kinds_asked_for():
    rows, refused = instruments_from_ccxt(MARKETS, exchange="okx", as_of=DAY, kinds=["linear"])
    assert [row.symbol for row in rows] == ["BTC/USDT:USDT"]
    assert refused == []


@pytest.mark.parametrize(
    ("market", "reason"),
    [
        (changed("precision.price", None), "precision.price is missing"),
        (changed("precision.price", 0), "precision.price must be positive, is 0"),
        (changed("precision.price", float("nan")), "precision.price is not finite: nan"),
        (changed("precision.price", "fine"), "precision.price is no number: 'fine'"),
        (changed("precision.price", True), "precision.price is no number: True"),
        (changed("precision.price", 8), "tick 8 is above the largest price, 1"),
        (changed("precision.amount", -1.0), "precision.amount must be positive, is -1"),
        (changed("precision.amount", 1e10), "lot 1e+10 is above the largest amount, 9e+09"),
        (changed("precision", None), "precision.price is missing"),
        (changed("limits.cost.min", -5), "PEPE/USDT: min_notional must be >= 0, got -5.0"),
        (changed("limits.cost.min", "much"), "limits.cost.min is no number: 'much'"),
        (changed("id", None), "id is no name: None"),
        (changed("id", " "), "id is no name: ' '"),
        (changed("spot", False), "must be one of spot, linear, inverse, is none of them"),
        (changed("linear", True), "must be one of spot, linear, inverse, is spot and linear"),
        (changed("option", True), "an option"),
        (changed("contractSize", None, LINEAR), "contractSize is missing"),
        (changed("contractSize", 0, LINEAR), "contractSize must be positive, is 0"),
    ],
)
def test_nonsense_is_refused_and_reported_and_stops_nothing_else(market, reason):
    converted = instruments_from_ccxt({"PEPE/USDT": market, "OK/USDT": SPOT}, exchange="okx", as_of=DAY)
    assert converted.refused == [RefusedMarket("PEPE/USDT", reason)]
    assert [row.symbol for row in converted.rows] == ["OK/USDT"]


@pytest.mark.parametrize("limits", [None, {}, {"cost": None}, {"cost": {"min": None}}])
def test_a_venue_that_states_no_minimum_has_none(limits):
    rows, _ = instruments_from_ccxt({"PEPE/USDT": changed("limits", limits)}, exchange="okx", as_of=DAY)
    assert rows[0].instrument.min_notional == 0.0


def test_a_date_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="as_of must be an ISO date"):
        instruments_from_ccxt(MARKETS, exchange="okx", as_of="today")


# --- the file -------------------------------------------------------------------------------------------------------


def test_what_refresh_writes_is_what_lookup_reads(tmp_path):
    path = tmp_path / "new" / "instruments.json"
    converted = refresh(FakeClient(MARKETS), path, clock=clock_at(20_455))
    assert read_overrides(path) == converted.rows
    assert converted.rows[0].as_of == DAY
    assert lookup("okx", "PEPE/USDT", overrides=path) == Instrument("PEPE/USDT", 1e-8, 1.0, "spot", 1.0, 1.0)
    assert native_symbol("okx", "BTC/USDT", overrides=path) == "BTC-USDT-SWAP"
    assert [item.name for item in path.parent.iterdir()] == ["instruments.json"]


def test_a_refreshed_symbol_leaves_the_past_to_the_table(tmp_path):
    path = tmp_path / "instruments.json"
    markets = {"BTC/USDT:USDT": LINEAR | {"id": "BTCUSDT", "precision": {"price": 1.0, "amount": 0.01}}}
    refresh(FakeClient(markets, "binanceusdm"), path, clock=clock_at(20_455))
    assert lookup("binanceusdm", "BTC/USDT", overrides=path).tick_size == 1.0
    assert lookup("binanceusdm", "BTC/USDT", at="2024-08-08", overrides=path) == lookup(
        "binanceusdm", "BTC/USDT", at="2024-08-08"
    )


def test_a_second_refresh_adds_what_changed_and_keeps_everything_else(tmp_path):
    path = tmp_path / "instruments.json"
    refresh(FakeClient({"A/USDT": SPOT}, "binance"), path, clock=clock_at(20_000))
    refresh(FakeClient({"B/USDT": SPOT, "C/USDT": SPOT}), path, clock=clock_at(20_001))
    refresh(FakeClient({"B/USDT": changed("precision.price", 1e-7)}), path, clock=clock_at(20_002))
    refresh(FakeClient({"B/USDT": changed("precision.price", 1e-7)}), path, clock=clock_at(20_003))
    assert [(row.exchange, row.symbol, row.as_of) for row in read_overrides(path)] == [
        ("binance", "A/USDT", "2024-10-04"),
        ("okx", "B/USDT", "2024-10-05"),
        ("okx", "B/USDT", "2024-10-06"),
        ("okx", "C/USDT", "2024-10-05"),
    ]
    assert lookup("okx", "B/USDT", at="2024-10-05", overrides=path).tick_size == 1e-8
    assert lookup("okx", "B/USDT", overrides=path).tick_size == 1e-7
    # Twice on one day: the later answer stands.
    refresh(FakeClient({"B/USDT": changed("precision.price", 1e-6)}), path, clock=clock_at(20_002))
    assert len(read_overrides(path)) == 4
    assert lookup("okx", "B/USDT", overrides=path).tick_size == 1e-6


def test_a_venue_can_be_stored_under_our_name_and_by_kind(tmp_path):
    path = tmp_path / "instruments.json"
    refresh(FakeClient(MARKETS, "bybit"), path, exchange="bybitlinear", kinds=["linear"], clock=clock_at(20_455))
    assert {row.exchange for row in read_overrides(path)} == {"bybitlinear"}
    assert set(known_symbols("bybitlinear", overrides=path)) == set(known_symbols("bybitlinear"))


@pytest.mark.parametrize(
    ("client", "error", "message"),
    [
        (FakeClient(ccxt.NetworkError("no route")), DataError, r"okx: the market list cannot be loaded \(NetworkError"),
        (FakeClient({}), DataFormatError, "okx: none of 0 markets is usable"),
        (FakeClient({"A/USDT": changed("id", None)}), DataFormatError, "first refusal: A/USDT: id is no name"),
        (FakeClient(MARKETS, mode=ccxt.DECIMAL_PLACES), DataFormatError, "ccxt states digits, not steps"),
    ],
)
def test_a_failure_leaves_the_file_as_it_was(tmp_path, client, error, message):
    path = tmp_path / "instruments.json"
    refresh(FakeClient({"A/USDT": SPOT}, "binance"), path, clock=clock_at(20_000))
    before = path.read_bytes()
    with pytest.raises(error, match=message):
        refresh(client, path)
    assert path.read_bytes() == before


def test_a_malformed_file_is_not_written_over(tmp_path):
    path = tmp_path / "instruments.json"
    path.write_text("[{", encoding="utf-8")
    with pytest.raises(ConfigError, match="not JSON"):
        refresh(FakeClient(MARKETS), path)
    assert path.read_text(encoding="utf-8") == "[{"


# --- recorded replies of the venue, read by the real ccxt -----------------------------------------------------------


def recorded_markets(name, client):
    file = RECORDED / f"{name}.0.gz"
    if not file.is_file():
        pytest.skip("no recorded replies in ../shared/data/fixtures")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        reply = json.loads(next(lines).split(": ", 1)[1])
    # Set by fetch_markets from two other endpoints; they decide about margin, which is none of our business.
    client.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}
    return {market["symbol"]: market for market in client.parse_markets(reply["symbols"])}


@pytest.mark.parametrize(
    ("file", "client", "day", "sample"),
    [
        ("BINANCE", ccxt.binance, "2021-10-12", Instrument("NKN/USDT", 1e-4, 1.0, "spot", 1.0, 10.0)),
        (
            "BINANCE_FUTURES",
            ccxt.binanceusdm,
            "2021-07-22",
            Instrument("SUSHI/USDT:USDT", 0.001, 1.0, "linear", 1.0, 5.0),
        ),
        ("BINANCE_DELIVERY", ccxt.binancecoinm, "2021-07-22", Instrument("BTC/USD:BTC", 0.1, 1.0, "inverse", 100.0)),
    ],
)
def test_every_recorded_market_becomes_a_row_and_the_table_agrees(file, client, day, sample):
    client = client()
    markets = recorded_markets(file, client)
    rows, refused = instruments_from_ccxt(markets, exchange=client.id, as_of=day)
    assert refused == []
    assert len(rows) == len(markets) > 30
    by_symbol = {row.symbol: row for row in rows}
    assert by_symbol[sample.symbol].instrument == sample
    for row in (record.fields for record in shipped("instruments")):
        if row["exchange"] == client.id and row["as_of"] <= day:
            symbol = row["symbol"]
            assert lookup(client.id, symbol, at=day) == by_symbol[symbol].instrument
