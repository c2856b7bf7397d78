"""Our fees beside ccxt's, offline, under the guards of the cross-check."""

from __future__ import annotations

import math

import pytest

from marketmakerl.core.errors import UnknownNameError
from marketmakerl.core.fees import Fees, fee_exchanges, fee_tiers
from marketmakerl.data.fee_check import ABSENT, AGREE, DIFFERS, FeeFinding, compare, cross_check

USDM = {
    "maker": 0.0002,
    "taker": 0.0005,
    "tiers": {
        "maker": [[0, 0.0002], [250, 0.00016], [2500, 0.00014]],
        "taker": [[0, 0.0005], [250, 0.0004], [2500, 0.00035]],
    },
}


def verdicts(findings):
    return [finding.verdict for finding in findings]


def with_tiers(**tiers):
    return USDM | {"tiers": USDM["tiers"] | tiers}


def test_a_sound_description_that_says_what_we_say_agrees():
    findings = compare("binanceusdm", USDM)
    assert verdicts(findings) == [AGREE] * 3
    assert [finding.tier for finding in findings] == [0, 1, 2]
    assert findings[1].ours == Fees(1.6, 4.0)
    assert findings[1].ccxt == pytest.approx((1.6, 4.0))


def test_a_sound_description_that_says_something_else_differs():
    assert verdicts(compare("kraken", {"maker": 0.0016, "taker": 0.0026})) == [DIFFERS]
    assert verdicts(compare("kraken", {"maker": 0.0025, "taker": 0.0041})) == [DIFFERS]


def test_what_ccxt_does_not_say_is_absent():
    assert verdicts(compare("binanceusdm", {"maker": 0.0002, "taker": 0.0005})) == [AGREE, ABSENT, ABSENT]
    assert verdicts(compare("binanceusdm", None)) == [ABSENT] * 3
    assert verdicts(compare("binanceusdm", {})) == [ABSENT] * 3


@pytest.mark.parametrize(
    ("description", "guard"),
    [
        (USDM | {"maker": 0.02}, "maker 200 bps is beyond 150 bps"),
        (USDM | {"taker": 5}, "taker 50000 bps is beyond 150 bps"),
        (with_tiers(maker=[[0, 0.0002], [250, -0.02]]), "maker -200 bps is beyond 150 bps"),
        (with_tiers(taker=[[0, 0.0005], [250, 0.0004], [2500, 0.0006]]), "taker tiers rise from 4 to 6 bps"),
        (with_tiers(taker=[[0, 0.0004], [250, 0.0004]]), "base taker 5 bps is not its tier 0, 4 bps"),
        (USDM | {"maker": None}, "a maker fee is missing"),
        (USDM | {"taker": math.nan}, "a taker fee is missing"),
        (with_tiers(taker=[[0, 0.0005], [250, None]]), "a taker fee is missing"),
    ],
)
def test_a_description_that_fails_a_guard_is_refused_as_a_whole(description, guard):
    assert verdicts(compare("binanceusdm", description)) == [f"ccxt value refused: {guard}"] * 3


def test_a_finding_is_one_line():
    finding = FeeFinding("kraken", 0, Fees(25.0, 40.0), (16.0, 26.0), DIFFERS)
    assert str(finding) == "kraken tier 0: ours 25/40 bps, ccxt 16/26 bps: differs"
    assert str(FeeFinding("sim", 0, Fees(2.0, 5.0), None, ABSENT)).endswith("ccxt nothing: not described by ccxt")


def test_an_unknown_venue_is_refused():
    with pytest.raises(UnknownNameError):
        cross_check("mtgox")


@pytest.mark.parametrize("exchange", fee_exchanges())
def test_the_installed_ccxt_can_be_asked_about_every_venue_of_the_table(exchange):
    findings = cross_check(exchange)
    assert [finding.tier for finding in findings] == sorted(fee_tiers(exchange))
    for finding in findings:
        assert finding.verdict in {AGREE, DIFFERS, ABSENT} or finding.verdict.startswith("ccxt value refused: ")


def test_venues_ccxt_describes_are_found_there():
    # The figures change with ccxt; that there are some does not.
    for exchange in (
        "binance",
        "BinanceUSDM",
        "bybitlinear",
        "kraken",
        "krakenfutures",
        "okx",
        "okxswap",
        "hyperliquid",
    ):
        assert cross_check(exchange)[0].ccxt is not None
    for exchange in ("sim", "ftx"):
        assert verdicts(cross_check(exchange)) == [ABSENT]
