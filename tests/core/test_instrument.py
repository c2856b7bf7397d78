"""Ticks and lots: where decimal prices meet integers."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl.core.errors import ConfigError
from marketmakerl.core.instrument import KINDS, Instrument

STEPS = st.builds(
    lambda digit, places: Decimal(digit).scaleb(-places), st.sampled_from([1, 2, 5, 25]), st.integers(0, 8)
)
COUNTS = st.integers(1, 10**9)


def instrument(step: Decimal) -> Instrument:
    return Instrument("BTC/USDT", float(step), float(step))


@given(step=STEPS, ticks=COUNTS)
def test_a_tick_goes_to_its_decimal_price_and_back(step, ticks):
    it = instrument(step)
    price = it.price(ticks)
    assert price == float(ticks * step)
    assert it.ticks_down(price) == ticks == it.ticks_up(price)


@given(step=STEPS, lots=COUNTS)
def test_a_lot_goes_to_its_decimal_quantity_and_back(step, lots):
    it = instrument(step)
    assert it.qty(lots) == float(lots * step)
    assert it.lots(it.qty(lots)) == lots


@given(step=STEPS, ticks=st.integers(1, 10**8))
def test_half_a_tick_is_a_price_too(step, ticks):
    assert instrument(step).price(ticks + 0.5) == float((ticks + Decimal("0.5")) * step)


@given(step=STEPS, ticks=COUNTS, share=st.floats(0.001, 0.999))
def test_between_two_ticks_bids_round_down_and_asks_up(step, ticks, share):
    it = instrument(step)
    # A billion ticks away a price has some 1e-7 of a tick of noise: far from the 1e-3 that is tested here.
    price = float((ticks + Decimal(share)) * step)
    assert it.ticks_down(price) == ticks
    assert it.ticks_up(price) == ticks + 1
    assert it.price(it.ticks_down(price)) < price < it.price(it.ticks_up(price))


@given(step=STEPS, lots=COUNTS, share=st.floats(0.001, 0.999))
def test_a_quantity_is_never_rounded_up(step, lots, share):
    assert instrument(step).lots(float((lots + Decimal(share)) * step)) == lots


def test_a_price_printed_is_the_price_of_the_venue():
    # 41034 * 0.1 is 4103.400000000001 in binary: noise at the 16th digit, not the 12th decimal.
    assert Instrument("BTC/USDT", 0.1, 1.0).price(41034) == 4103.4
    assert Instrument("BTC/USDT", 0.1, 1.0).price(3) == 0.3


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbol": ""},
        {"symbol": None},
        {"tick_size": 0.0},
        {"tick_size": -0.1},
        {"tick_size": math.nan},
        {"tick_size": math.inf},
        {"tick_size": "0.1"},
        {"lot_size": 0.0},
        {"lot_size": math.nan},
        {"contract_size": 0.0},
        {"kind": "quanto"},
        {"min_notional": -1.0},
        {"min_notional": math.nan},
    ],
)
def test_an_instrument_nobody_could_trade_is_refused(wrong):
    good = {"symbol": "BTC/USDT", "tick_size": 0.1, "lot_size": 0.001}
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Instrument(**(good | wrong))


def test_value_and_notional_by_kind():
    spot = Instrument("BTC/USDT", 0.01, 0.00001)
    linear = Instrument("BTC/USDT:USDT", 0.1, 1.0, "linear", contract_size=0.01)
    inverse = Instrument("BTC/USD:BTC", 0.5, 1.0, "inverse", contract_size=1.0)
    assert (spot.value(50_000.0), spot.notional(50_000.0, 0.1)) == (50_000.0, 5_000.0)
    assert (linear.value(50_000.0), linear.notional(50_000.0, 10.0)) == (500.0, 5_000.0)
    assert inverse.notional(50_000.0, 100.0) == 100.0
    # Long 100 contracts from 50 000 to 100 000: 100 * (1/50 000 - 1/100 000) BTC.
    assert 100 * (inverse.value(100_000.0) - inverse.value(50_000.0)) == pytest.approx(0.001)


def test_names_codes_and_a_round_trip_through_a_dict():
    it = Instrument("ETH/USD:ETH", 0.05, 1.0, "inverse", 10.0, 5.0)
    assert (it.base, it.quote) == ("ETH", "USD")
    assert Instrument(**it.as_dict()) == it
    assert [Instrument("A/B", 1.0, 1.0, kind).kind_code for kind in KINDS] == [0, 1, 2]
