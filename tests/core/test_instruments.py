"""The table of instruments, the names that find them, and the recorded data they must fit."""

from __future__ import annotations

import json
from datetime import datetime
from fractions import Fraction
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import pytest

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.core.instrument import Instrument
from marketmakerl.core.instruments import (
    FIELDS,
    InstrumentRow,
    known_exchanges,
    known_symbols,
    lookup,
    native_symbol,
    read_overrides,
)
from marketmakerl.core.tables import shipped

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [record.fields for record in shipped("instruments")]
OVERRIDE = {"exchange": "binance", "symbol": "BTC/USDT", "kind": "spot", "tick_size": 0.5, "lot_size": 0.001}


def overrides_of(folder: Path, *rows: dict) -> Path:
    path = folder / "instruments.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


# --- the table itself ---------------------------------------------------------------------------------------------


def test_the_table_is_complete_dated_sorted_and_without_doubles():
    keys = [(row["exchange"], row["symbol"], row["as_of"]) for row in ROWS]
    assert keys == sorted(set(keys))
    for row in ROWS:
        assert tuple(row) == FIELDS
        assert all(row.values()), row
        assert datetime.fromisoformat(row["as_of"])


def test_every_row_is_an_instrument_whose_name_says_its_kind():
    for row in ROWS:
        it = lookup(row["exchange"], row["symbol"], at=row["as_of"])
        assert (it.symbol, it.kind) == (row["symbol"], row["kind"])
        assert (it.tick_size, it.lot_size) == (float(row["tick_size"]), float(row["lot_size"]))
        settle = it.symbol.partition(":")[2]
        assert it.kind == {"": "spot", it.quote: "linear", it.base: "inverse"}[settle]


def test_steps_of_one_symbol_divide_each_other():
    # What lookup(at, until) relies on: the finest tick of a span carries the prices of all of it.
    for _, rows in groupby(ROWS, key=lambda row: (row["exchange"], row["symbol"])):
        for earlier, later in pairwise(rows):
            for step in ("tick_size", "lot_size"):
                small, large = sorted([Fraction(earlier[step]), Fraction(later[step])])
                assert (large / small).denominator == 1


def test_every_spelling_of_every_row_finds_it():
    for row in ROWS:
        base_quote = row["symbol"].partition(":")[0]
        for name in (
            row["symbol"],
            base_quote,
            row["native"],
            base_quote.replace("/", ""),
            base_quote.replace("/", "-"),
        ):
            for spelling in (name, name.lower(), f" {name} "):
                assert lookup(row["exchange"], spelling).symbol == row["symbol"]
                assert native_symbol(row["exchange"], spelling) == row["native"]


def test_the_synthetic_market():
    expected = Instrument("BTC/USDT:USDT", 0.1, 0.001, "linear", 1.0, 5.0)
    assert lookup("sim", "BTC/USDT") == expected


def test_what_is_known():
    assert {
        "binance",
        "binanceusdm",
        "bybitlinear",
        "hyperliquid",
        "bitmex",
        "bitstamp",
        "coinbase",
        "kraken",
        "ftx",
        "sim",
    } == {*known_exchanges()}
    assert known_symbols("BITMEX") == ("BTC/USD:BTC",)
    assert list(known_exchanges()) == sorted(known_exchanges())
    assert list(known_symbols("binance")) == sorted(known_symbols("binance"))


# --- dates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "tick_size"),
    [
        ("2019-05-05", 0.01),  # before the first row: the first row
        ("2022-07-12", 0.01),
        ("2022-07-13", 0.001),
        ("2022-07-13T08:00:00.000Z", 0.001),
        ("2024-07-22", 0.001),
        ("2025-01-01", 0.01),
        (None, 0.01),
    ],
)
def test_the_tick_is_the_one_of_the_day(at, tick_size):
    assert lookup("binance", "LINK/USDT", at=at).tick_size == tick_size


def test_before_the_first_row_the_first_row_holds():
    assert lookup("binance", "ADA/USDT", at="2019-05-05").tick_size == 0.001


def test_over_a_span_the_finest_steps_and_the_highest_minimum_hold():
    link = lookup("binance", "LINK/USDT", at="2022-01-01", until="2025-12-31")
    assert (link.tick_size, link.lot_size, link.min_notional) == (0.001, 0.01, 10.0)
    assert lookup("binance", "LINK/USDT", at="2022-01-01", until="2022-07-12").tick_size == 0.01
    assert lookup("binance", "LINK/USDT", at="2022-01-01", until="2022-07-13").tick_size == 0.001
    assert lookup("binance", "SOL/USDT", at="2024-01-01", until="2024-12-31").lot_size == 0.001
    assert lookup("binance", "SOL/USDT", at="2024-01-01").lot_size == 0.01


def test_a_span_that_runs_backwards_or_a_date_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="until 2022-01-01 is before at 2023-01-01"):
        lookup("binance", "BTC/USDT", at="2023-01-01", until="2022-01-01")
    with pytest.raises(ConfigError, match=r"at must be an ISO date.*'yesterday'"):
        lookup("binance", "BTC/USDT", at="yesterday")
    with pytest.raises(ConfigError, match="until must be an ISO date"):
        lookup("binance", "BTC/USDT", at="2023-01-01", until="2023-13-01")


# --- unknown names ------------------------------------------------------------------------------------------------


def test_an_unknown_exchange_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown exchange 'binanse'; did you mean binance") as caught:
        lookup("Binanse", "BTC/USDT")
    assert caught.value.exit_code == 2


def test_an_unknown_symbol_is_named_with_the_nearest_and_the_way_to_add_it():
    with pytest.raises(UnknownNameError, match=r"unknown binance symbol 'BTC/USDX'; did you mean BTC/USDT") as caught:
        lookup("binance", "btc/usdx")
    assert "MML_INSTRUMENTS_FILE" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_row_the_hint_shows_is_a_row_that_works(tmp_path):
    with pytest.raises(UnknownNameError) as caught:
        lookup("binance", "ZZZ/USDT")
    rows = json.loads(str(caught.value).partition("names: ")[2].removesuffix(")"))
    assert lookup("binance", "BTCUSDT", overrides=overrides_of(tmp_path, *rows)).tick_size == 0.01


@pytest.mark.parametrize("symbol", ["", "/", ":", "BTC", "BTC/USDT:USDT"])
def test_scraps_of_a_symbol_find_nothing_on_a_spot_venue(symbol):
    with pytest.raises(UnknownNameError):
        lookup("binance", symbol)


# --- overrides ----------------------------------------------------------------------------------------------------


def test_an_override_without_a_date_wins_always(tmp_path):
    path = overrides_of(tmp_path, OVERRIDE)
    for at in (None, "2017-08-17", "2025-01-01"):
        expected = Instrument("BTC/USDT", 0.5, 0.001)
        assert lookup("binance", "BTCUSDT", at=at, overrides=path) == expected
    assert lookup("binance", "BTCUSDT").tick_size == 0.01
    assert lookup("binance", "ETHUSDT", overrides=path) == lookup("binance", "ETHUSDT")


def test_a_dated_override_wins_from_its_day_on_and_leaves_the_past_alone(tmp_path):
    path = overrides_of(tmp_path, OVERRIDE | {"as_of": "2023-01-01"})
    assert lookup("binance", "BTCUSDT", at="2022-12-31", overrides=path) == lookup(
        "binance", "BTCUSDT", at="2022-12-31"
    )
    for at in ("2023-01-01", "2024-06-01", None):
        assert lookup("binance", "BTCUSDT", at=at, overrides=path).tick_size == 0.5
    assert lookup("binance", "BTCUSDT", at="2023-01-01", until="2025-01-01", overrides=path).tick_size == 0.5


def test_overrides_add_symbols_and_exchanges(tmp_path):
    path = overrides_of(
        tmp_path,
        OVERRIDE | {"symbol": "PEPE/USDT", "tick_size": "0.00000001"},
        OVERRIDE
        | {
            "exchange": "OKX",
            "symbol": "BTC/USDT:USDT",
            "kind": "linear",
            "native": "BTC-USDT-SWAP",
            "contract_size": 0.01,
        },
    )
    assert lookup("binance", "pepeusdt", overrides=path).tick_size == 1e-8
    assert lookup("okx", "BTC-USDT-SWAP", overrides=path).contract_size == 0.01
    assert native_symbol("okx", "BTC/USDT", overrides=path) == "BTC-USDT-SWAP"
    assert native_symbol("binance", "PEPE/USDT", overrides=path) == "PEPEUSDT"
    assert "okx" in known_exchanges(overrides=path)
    assert "PEPE/USDT" in known_symbols("binance", overrides=path)
    assert "PEPE/USDT" not in known_symbols("binance")


def test_case_in_an_override_makes_no_second_symbol(tmp_path):
    path = overrides_of(tmp_path, OVERRIDE | {"symbol": "btc/usdt", "as_of": "2023-01-01"})
    assert lookup("binance", "BTC/USDT", overrides=path) == Instrument("BTC/USDT", 0.5, 0.001)
    assert known_symbols("binance", overrides=path) == known_symbols("binance")


def test_a_short_name_means_spot_then_the_perpetual_then_a_dated_future(tmp_path):
    perpetual = OVERRIDE | {"exchange": "okx", "symbol": "BTC/USDT:USDT", "kind": "linear"}
    future = perpetual | {"symbol": "BTC/USDT:USDT-270326", "native": "BTC-USDT-270326"}
    path = overrides_of(tmp_path, future, perpetual)
    assert lookup("okx", "BTCUSDT", overrides=path).symbol == "BTC/USDT:USDT"
    assert lookup("okx", "BTC-USDT-270326", overrides=path).symbol == "BTC/USDT:USDT-270326"
    path = overrides_of(tmp_path, future, perpetual, OVERRIDE | {"exchange": "okx"})
    assert lookup("okx", "BTCUSDT", overrides=path).symbol == "BTC/USDT"


def test_a_short_name_that_fits_two_perpetuals_is_refused(tmp_path):
    linear = OVERRIDE | {"exchange": "okx", "symbol": "BTC/USD:USD", "kind": "linear"}
    inverse = OVERRIDE | {"exchange": "okx", "symbol": "BTC/USD:BTC", "kind": "inverse"}
    with pytest.raises(ConfigError, match="fits several: BTC/USD:BTC, BTC/USD:USD"):
        lookup("okx", "BTC/USD", overrides=overrides_of(tmp_path, linear, inverse))


def test_rows_survive_a_round_trip_through_an_overrides_file(tmp_path):
    row = InstrumentRow("okx", "BTC-USDT", Instrument("BTC/USDT", 0.1, 1e-8, min_notional=5.0), "2026-01-02", "by hand")
    assert tuple(row.as_dict()) == FIELDS
    assert read_overrides(overrides_of(tmp_path, row.as_dict())) == [row]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tick_size": None}, r"row 1: field 'tick_size' must be a finite number, got None"),
        ({"tick_size": "fine"}, r"field 'tick_size' must be a finite number, got 'fine'"),
        ({"tick_size": True}, r"field 'tick_size' must be a finite number, got True"),
        ({"tick_size": float("nan")}, r"field 'tick_size' must be a finite number, got nan"),
        ({"tick_size": 10**400}, r"field 'tick_size' must be a finite number"),
        ({"tick_size": -0.1}, r"row 1: BTC/USDT: tick_size must be a positive number"),
        ({"lot_size": 0}, r"lot_size must be a positive number"),
        ({"lot_size": [1]}, r"field 'lot_size' must be a finite number"),
        ({"min_notional": -1}, r"min_notional must be >= 0"),
        ({"kind": "quanto"}, r"kind must be one of spot, linear, inverse, got 'quanto'"),
        ({"kind": 1}, r"field 'kind' must be a non-empty text, got 1"),
        ({"exchange": " "}, r"field 'exchange' must be a non-empty text"),
        ({"symbol": "BTCUSDT"}, r"field 'symbol' must be unified, e.g. BTC/USDT:USDT, got 'BTCUSDT'"),
        ({"as_of": "last year"}, r"field 'as_of' must be an ISO date"),
        ({"as_of": 2024}, r"field 'as_of' must be an ISO date"),
        ({"ticksize": 0.1}, r"row 1: unknown field 'ticksize'; did you mean 'tick_size'"),
        ({"colour": "red"}, r"unknown field 'colour'; known: exchange"),
    ],
)
def test_a_malformed_override_is_one_line_that_names_file_and_field(tmp_path, change, message):
    path = overrides_of(tmp_path, OVERRIDE | change)
    with pytest.raises(ConfigError, match=message) as caught:
        lookup("binance", "BTC/USDT", overrides=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["exchange", "symbol", "kind", "tick_size", "lot_size"])
def test_an_override_without_what_it_needs_is_refused(tmp_path, missing):
    row = {name: value for name, value in OVERRIDE.items() if name != missing}
    with pytest.raises(ConfigError, match=f"field '{missing}' must be .*, got nothing"):
        lookup("binance", "BTC/USDT", overrides=overrides_of(tmp_path, row))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "not JSON"),
        ('{"a": 1}', "must hold a JSON list"),
        ("[1]", "row 1: must be an object"),
        ("\udcff", "not JSON"),
    ],
)
def test_a_file_that_is_no_list_of_objects_is_refused(tmp_path, text, message):
    path = tmp_path / "instruments.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=message):
        lookup("binance", "BTC/USDT", overrides=path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        lookup("binance", "BTC/USDT", overrides=tmp_path / "nowhere.json")


def test_two_rows_of_one_day_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="binance BTC/USDT has two rows as of 2024-01-01"):
        lookup("binance", "BTC/USDT", overrides=overrides_of(tmp_path, *[OVERRIDE | {"as_of": "2024-01-01"}] * 2))
