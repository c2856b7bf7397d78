"""Orders that limits cut, and exits while the venue rejects."""

from dataclasses import replace

import numpy as np

import marketmakerl as mml
from marketmakerl.data.tape import MORE, Kind

MS, S = 10**6, 10**9
START_NS = 19_676 * 86_400 * S
OFF = mml.RiskLimits.off()


def tape(instrument, mids):
    """A book two ticks wide, named anew every second around so many ticks."""
    rows = []
    for i, mid in enumerate(mids):
        levels = [(0, 0, Kind.SNAPSHOT), (mid - 1, 1000, Kind.DEPTH_BID), (mid + 1, 1000, Kind.DEPTH_ASK)]
        for j, (price, lots, kind) in enumerate(levels):
            more = int(MORE) if j < len(levels) - 1 else 0
            rows.append((START_NS + i * S, START_NS + i * S, price, lots, int(kind) | more))
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    meta = {"clock": "ticks", "tier": "T2", "source": "test"}
    return mml.EventTape(instrument, *columns[:4], columns[4].astype(np.int8), meta=meta)


def test_an_inverse_order_that_is_cut_is_measured_in_the_currency_of_the_venues_minimum():
    # A contract is worth 250 in quote currency and 0.25 coins; the venue takes orders from 100 in quote currency on.
    instrument = mml.Instrument("X/USD:X", 0.5, 1.0, "inverse", 250.0, min_notional=100.0)
    result = mml.backtest(
        tape(instrument, [2000, 2010, 2010]),
        mml.Symmetric(half_spread=5.0),
        fees=mml.Fees(0, 0),
        order_qty=2.0,
        cash=10.0,
        latency=mml.Latency(0, 200 * MS, 200 * MS),
        risk=replace(OFF, hard_inventory_pct=0.08),  # three contracts
    )
    # While the first two are being cancelled there is room for one.
    assert 1.0 in set(result.orders["qty"])
    assert "inventory_limit" not in set(result.orders["reason"])


def test_an_exit_waits_while_the_venue_rejects_what_is_sent():
    instrument = mml.Instrument("X/USDT:USDT", 0.1, 0.01, "linear")
    result = mml.backtest(
        tape(instrument, [1000] * 90),
        mml.Symmetric(half_spread=40.0),
        fees=mml.Fees(0, 0),
        order_qty=0.01,
        cash=1000.0,
        initial_inventory=1.0,
        latency=mml.Latency(0, 5 * MS, 5 * MS),
        venue=mml.VenueRules(reject_windows=((START_NS + 10 * S, START_NS + 70 * S),)),
        risk=replace(OFF, max_holding_s=20.0, reject_pause_after=10, reject_pause_s=10.0, max_rejects=50),
    )
    assert [event["event"] for event in result.risk_events] == ["time_exit"]
    rejected = result.orders[(result.orders["status"] == "rejected") & (result.orders["purpose"] == "exit")]
    assert 10 <= len(rejected) <= 16  # ten, and one every ten seconds
    assert result.metrics.final_inventory == 0.0
