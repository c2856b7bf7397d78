"""Fee rates, and the table they come from."""

from __future__ import annotations

import json
import math
from datetime import date
from itertools import pairwise

import pytest

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.core.fees import FIELDS, MAX_ABS_FEE_BPS, Fees, fee_exchanges, fee_tiers
from marketmakerl.core.instruments import known_exchanges
from marketmakerl.core.tables import shipped


def overrides_of(folder, *rows):
    path = folder / "fees.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_rates_are_fractions_of_notional():
    fees = Fees(maker_bps=-0.5, taker_bps=5.0)
    assert (fees.maker_rate, fees.taker_rate) == pytest.approx((-0.00005, 0.0005))


@pytest.mark.parametrize("bps", [math.nan, math.inf, -151.0, 150.1, "2", None])
def test_a_fee_nobody_charges_is_refused(bps):
    with pytest.raises(ConfigError, match="maker_bps"):
        Fees(bps, 5.0)
    with pytest.raises(ConfigError, match="taker_bps"):
        Fees(2.0, bps)


@pytest.mark.parametrize(
    ("exchange", "tier", "maker_bps", "taker_bps"),
    [
        ("binance", 0, 10.0, 10.0),
        ("binanceusdm", 0, 2.0, 5.0),
        ("binanceusdm", 1, 1.6, 4.0),
        ("binanceusdm", 2, 1.4, 3.5),
        ("bybitlinear", 0, 2.0, 5.5),
        ("bybitlinear", 1, 1.8, 4.0),
        ("bybit", 0, 10.0, 10.0),
        ("okx", 0, 8.0, 10.0),
        ("okxswap", 0, 2.0, 5.0),
        ("okxswap", 1, 1.5, 4.0),
        ("kraken", 0, 25.0, 40.0),
        ("krakenfutures", 0, 2.0, 5.0),
        ("hyperliquid", 0, 1.5, 4.5),
        ("hyperliquidspot", 0, 4.0, 7.0),
        ("sim", 0, 2.0, 5.0),
    ],
)
def test_published_fees(exchange, tier, maker_bps, taker_bps):
    assert Fees.for_exchange(exchange, tier) == Fees(maker_bps, taker_bps)
    assert Fees.for_exchange(f" {exchange.upper()} ", tier=tier) == Fees(maker_bps, taker_bps)


def test_the_base_tier_is_the_default():
    assert Fees.for_exchange("binanceusdm") == Fees.for_exchange("binanceusdm", 0)


def test_the_table_is_complete_dated_sorted_and_without_doubles():
    rows = [record.fields for record in shipped("fees")]
    keys = [(row["exchange"], int(row["tier"])) for row in rows]
    assert keys == sorted(set(keys))
    for row in rows:
        assert tuple(row) == FIELDS
        assert all(value for name, value in row.items() if name != "volume_quote")  # not every venue's is known
        assert date.fromisoformat(row["as_of"])


@pytest.mark.parametrize("exchange", fee_exchanges())
def test_tiers_count_from_zero_and_never_get_dearer(exchange):
    tiers = sorted(fee_tiers(exchange).items())
    assert [number for number, _ in tiers] == list(range(len(tiers)))
    for _, row in tiers:
        assert row.fees.maker_bps <= row.fees.taker_bps
    for (_, lower), (_, higher) in pairwise(tiers):
        assert higher.fees.maker_bps <= lower.fees.maker_bps
        assert higher.fees.taker_bps <= lower.fees.taker_bps


def test_volumes_rise_with_the_tier():
    assert Fees.volume_tiers("bybitlinear") == ((0.0, 2.0, 5.5), (10e6, 1.8, 4.0))
    for exchange in fee_exchanges():
        volumes = [row.volume_quote for _, row in sorted(fee_tiers(exchange).items()) if row.volume_quote is not None]
        assert volumes == sorted(set(volumes))
        assert volumes[0] == 0.0


def test_volumes_of_ones_own(tmp_path):
    path = overrides_of(
        tmp_path,
        {"exchange": "okxswap", "tier": 1, "maker_bps": 1.5, "taker_bps": 4.0, "volume_quote": 7e6},
        {"exchange": "okx", "tier": 1, "maker_bps": 1.5, "taker_bps": 4.0},
    )
    assert Fees.volume_tiers("okxswap", path)[1] == (7e6, 1.5, 4.0)
    with pytest.raises(ConfigError, match="okx: the fee table has no volume_quote for tier 1"):
        Fees.volume_tiers("okx", path)
    path = overrides_of(
        tmp_path, {"exchange": "okx", "tier": 1, "maker_bps": 1.5, "taker_bps": 4.0, "volume_quote": -1}
    )
    with pytest.raises(ConfigError, match="'volume_quote' must be >= 0"):
        Fees.volume_tiers("okx", path)


def test_every_venue_with_an_instrument_has_fees():
    assert set(known_exchanges()) <= set(fee_exchanges())


def test_an_unknown_venue_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown exchange 'binanceusd'; did you mean binanceusdm") as caught:
        Fees.for_exchange("BinanceUSD")
    assert "MML_FEES_FILE" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tier", [3, -1, "VIP1", None])
def test_an_unknown_tier_says_which_exist(tier):
    with pytest.raises(ConfigError, match=r"binanceusdm has no fee tier .*; known: 0 \(base\), 1 \(VIP1\), 2 \(VIP2\)"):
        Fees.for_exchange("binanceusdm", tier)


def test_overrides_win_and_add(tmp_path):
    path = overrides_of(
        tmp_path,
        {"exchange": "binanceusdm", "tier": 1, "maker_bps": 1.0, "taker_bps": 3.0},
        {"exchange": "GATE", "tier": 0, "maker_bps": -0.5, "taker_bps": "5"},
    )
    assert Fees.for_exchange("binanceusdm", 1, path) == Fees(1.0, 3.0)
    assert Fees.for_exchange("binanceusdm", 0, path) == Fees(2.0, 5.0)
    assert Fees.for_exchange("gate", 0, overrides=path) == Fees(-0.5, 5.0)
    assert Fees.for_exchange("binanceusdm", 1) == Fees(1.6, 4.0)
    assert "gate" in fee_exchanges(path)
    assert "gate" not in fee_exchanges()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maker_bps": "free"}, "row 1: field 'maker_bps' must be a finite number, got 'free'"),
        ({"taker_bps": None}, "field 'taker_bps' must be a finite number, got None"),
        ({"taker_bps": MAX_ABS_FEE_BPS + 1}, "row 1: taker_bps must be within"),
        ({"tier": 0.5}, "field 'tier' must be an integer >= 0, got 0.5"),
        ({"tier": -1}, "field 'tier' must be an integer >= 0"),
        ({"tier": True}, "field 'tier' must be a finite number, got True"),
        ({"maker": 2}, "unknown field 'maker'; did you mean 'maker_bps'"),
        ({"exchange": 5}, "field 'exchange' must be a non-empty text, got 5"),
    ],
)
def test_a_malformed_override_is_one_line_that_names_file_and_field(tmp_path, change, message):
    row = {"exchange": "binance", "tier": 0, "maker_bps": 1.0, "taker_bps": 2.0} | change
    path = overrides_of(tmp_path, row)
    with pytest.raises(ConfigError, match=message) as caught:
        Fees.for_exchange("binance", overrides=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_tier_given_twice_is_refused(tmp_path):
    row = {"exchange": "binance", "tier": 0, "maker_bps": 1.0, "taker_bps": 2.0}
    with pytest.raises(ConfigError, match="row 2: binance tier 0 is given twice"):
        Fees.for_exchange("binance", overrides=overrides_of(tmp_path, row, row))
