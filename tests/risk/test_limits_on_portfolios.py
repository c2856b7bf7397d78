"""Limits of an account that several instruments share."""

from dataclasses import replace

import numpy as np

import marketmakerl as mml
from marketmakerl.data.tape import MORE, Kind

S = 10**9
START_NS = 19_676 * 86_400 * S + 3600 * S  # 2023-11-15 01:00 UTC
OFF = mml.RiskLimits.off()


def tape(symbol, mids, shift_ns=0):
    """A book two ticks wide, named anew every second around so many ticks."""
    rows = []
    for i, mid in enumerate(mids):
        levels = [(0, 0, Kind.SNAPSHOT), (mid - 1, 1000, Kind.DEPTH_BID), (mid + 1, 1000, Kind.DEPTH_ASK)]
        for j, (price, lots, kind) in enumerate(levels):
            more = int(MORE) if j < len(levels) - 1 else 0
            rows.append((START_NS + i * S + shift_ns, START_NS + i * S + shift_ns, price, lots, int(kind) | more))
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    meta = {"clock": "ticks", "tier": "T2", "source": "test"}
    instrument = mml.Instrument(symbol, 0.1, 0.01, "linear")
    return mml.EventTape(instrument, *columns[:4], columns[4].astype(np.int8), meta=meta)


def test_the_daily_loss_is_that_of_the_account_from_its_first_day_on():
    # 10 held of the first, which falls from 100 to 90 and stays: 100 of 1000, twice what a day may lose.
    market = [tape("A/USDT:USDT", [1000] * 3 + [900] * 5), tape("B/USDT:USDT", [500] * 8, shift_ns=7)]
    result = mml.backtest(
        market,
        [mml.Symmetric(half_spread=40.0), mml.Symmetric(half_spread=40.0)],
        fees=mml.Fees(0, 0),
        order_qty=0.01,
        cash=1000.0,
        initial_inventory=[10.0, 0.0],
        target_inventory=[0.0, 0.0],
        risk=replace(OFF, daily_loss_pct=0.05),
    )
    events = [event for part in result.parts.values() for event in part.risk_events]
    assert [(event["event"], event["after"]) for event in events] == [("daily_loss", "halted")]
    first = events[0]
    assert first["ts_ns"] == START_NS + 3 * S
    assert abs(first["value"] - 0.1) < 1e-9
    fills = next(iter(result.parts.values())).fills
    assert set(fills["purpose"]) == {"liquidation"}
