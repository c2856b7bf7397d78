"""Bars in the one step against the bar engine that it replaced: equal fills, orders and equity on random tapes.

What differs, and why:

- An order that the venue rejects never rested: `live_ns` is 0 (it was the time of the rejection).
- Both sides are cancelled before either is sent anew, so lines of one close stand in another order in the log.
- A cancelled order says REQUOTE; why nothing took its place is counted with the decisions (it said that reason).
- An exit is an IOC order at the collar, as on ticks (it was a line at the price of its fill).
- Margin: an order that it does not carry is rejected by the venue, as on ticks (it was cut to what margin allows). Runs
  are compared up to the first such order.
- An exit while the venue takes no orders is sent and rejected, as on ticks (it was not sent).
- A hole is a decision not to quote, and an exit takes several: `decisions` and `suppressed` count them.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import marketmakerl as mml
from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.layout import Status
from marketmakerl.risk.reasons import Purpose, Reason
from oracles.bars_before.engine import Engine as EngineBefore

TICK, LOT, MINUTE_NS = 0.5, 0.25, 60 * 10**9
KINDS = ("linear", "spot", "inverse")


def frame_of(rng, n, scale, holes):
    bars, open_ms, close = [], 1_699_999_980_000, 2_000
    for _ in range(n):
        if holes and rng.random() < 0.04:
            open_ms += 60_000 * int(rng.integers(1, 5))
        opened = max(30, close + int(rng.integers(-1, 2)))
        close = max(30, opened + int(rng.integers(-scale, scale + 1)))
        low = max(1, min(opened, close) - int(rng.integers(0, scale + 1)))
        high = max(opened, close) + int(rng.integers(0, scale + 1))
        volume = int(rng.integers(0, 400)) if rng.random() < 0.9 else 0
        bars.append((open_ms, opened * TICK, high * TICK, low * TICK, close * TICK, volume * LOT))
        open_ms += 60_000
    return pd.DataFrame(bars, columns=["ts_ms", "open", "high", "low", "close", "volume"])


def case(seed):
    """Return a random tape, and the arguments of a random run on it."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % 3]
    scale = int(rng.integers(1, 25))
    frame = frame_of(rng, 120, scale, holes=rng.random() < 0.4)
    contract = 100.0 if kind == "inverse" else 1.0
    instrument = mml.Instrument("X/USDT:USDT", TICK, LOT, kind, contract, float(rng.choice([0.0, 0.0, 600.0])))
    tape = mml.EventTape.from_klines(frame, instrument, interval_ms=60_000, tier="T2")
    if kind == "inverse":  # volume in contracts
        tape = replace(tape, qty_lots=rng.integers(0, 60, len(tape)))
    half = float(rng.uniform(0.3, 1.2)) * scale * TICK
    model = mml.AvellanedaStoikov(0.02 / half, 1 / half, 0.2 * half, 900.0)
    if rng.random() < 0.5:
        model = mml.Symmetric(half)
    options = {
        "fees": mml.Fees(float(rng.choice([-1.0, 0.0, 2.0])), 5),
        "order_qty": LOT * int(rng.integers(1, 20)),
        "cash": {"linear": 20_000.0, "spot": 20_000.0, "inverse": 4.0}[kind] * float(rng.choice([1.0, 5.0])),
        "bar_volume_share": float(rng.choice([0.05, 0.3, 1.0])),
    }
    if kind != "spot" and rng.random() < 0.3:
        times = frame["ts_ms"].iloc[[10, 40, 41, 90]] * 1_000_000 + rng.choice([0, 7, MINUTE_NS - 1], 4)
        options["funding"] = [(int(ts), float(rate)) for ts, rate in zip(times, rng.normal(0, 1e-3, 4), strict=True)]
    if kind != "spot" and rng.random() < 0.3:
        options["initial_inventory"] = LOT * int(rng.integers(-40, 40))
    rules = {}
    if rng.random() < 0.3:
        start = int(frame["ts_ms"].iloc[30]) * 1_000_000
        rules["reject_windows"] = ((start, start + 3 * MINUTE_NS),)
    if kind != "spot" and rng.random() < 0.4:
        leverage = float(rng.choice([2.0, 10.0, 50.0]))
        rules |= {"leverage": leverage, "maintenance_margin_rate": 0.6 / leverage, "liquidation_fee_bps": 20.0}
        # A position that a move of the market liquidates at times.
        price, budget = float(frame["open"].iloc[0]), options["cash"]
        unit = contract / price if kind == "inverse" else price
        options["initial_inventory"] = LOT * int(rng.choice([-1, 1]) * 0.9 * leverage * budget / unit / LOT)
    if rules:
        options["venue"] = mml.VenueRules(**rules)
    return tape, model, options, rng


def limits_of(rng):
    """Return default limits tightened until they act often."""
    changes = {}
    for name, values in {
        "min_edge_bps": (None, 0.25),
        "stop_loss_pct": (None, 0.002, 0.01),
        "take_profit_pct": (None, 0.003, 0.02),
        "max_holding_s": (None, 600.0),
        "hard_inventory_pct": (0.2, 0.8),
        "soft_drawdown_pct": (None, 0.01),
        "hard_drawdown_pct": (0.03, 0.15),
        "daily_loss_pct": (None, 0.02),
        "cooldown_s": (5.0, 90.0),
        "one_sided_fills": (None, 4),
    }.items():
        changes[name] = values[int(rng.integers(len(values)))]
    return mml.RiskLimits(**changes)


def run(engine, tape):
    engine.feed(tape)
    engine.finish()
    return engine.fills(), engine.orders(), engine.samples(), engine


def both(seed, limited):
    tape, model, options, rng = case(seed)
    options["risk"] = limits_of(rng) if limited else mml.RiskLimits.off()
    options["first_price"] = float(tape.price_ticks[0]) * TICK
    return run(EngineBefore(tape.instrument, model, **options), tape), run(
        Engine(tape.instrument, model, bars=True, **options), tape
    )


FILLS = ("ts_ns", "side", "price_ticks", "qty_lots", "mid", "maker", "position_lots", "purpose", "rested_ns")
ORDERS = ("closed_ns", "side", "price_ticks", "qty_lots", "filled_lots", "submitted_ns", "live_ns", "status", "reason")


def fills_of(fills, until_ns):
    return [tuple(fill[name] for name in FILLS) for fill in fills if fill["ts_ns"] < until_ns]


def orders_of(orders, until_ns):
    """Return the quotes' lines of the order log that stand for the same in both engines."""
    lines = []
    for order in orders[(orders["purpose"] == Purpose.QUOTE) & (orders["closed_ns"] < until_ns)]:
        line = {name: int(order[name]) for name in ORDERS}
        if line["status"] == Status.REJECTED:
            line["live_ns"] = 0
        if line["status"] == Status.CANCELLED and line["reason"] != Reason.GAP:
            line["reason"] = Reason.REQUOTE
        lines.append(tuple(line.values()))
    return sorted(lines)


def events_of(engine, until_ns):
    log = ((event["ts_ns"], event["event"], event["before"], event["after"]) for event in engine.risk_events())
    return [event for event in log if event[0] < until_ns]


def compare(seed, limited):
    """Compare one run; return how many fills were the same, and what of the rules of the venue acted."""
    before, now = both(seed, limited)
    refused = now[1]["submitted_ns"][now[1]["reason"] == Reason.MARGIN]
    until_ns = int(refused.min()) if len(refused) else 1 << 62
    fills = fills_of(before[0], until_ns)
    assert fills == fills_of(now[0], until_ns)
    np.testing.assert_allclose(
        [fill["fee"] for fill in before[0] if fill["ts_ns"] < until_ns],
        [fill["fee"] for fill in now[0] if fill["ts_ns"] < until_ns], rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    assert orders_of(before[1], until_ns) == orders_of(now[1], until_ns)
    samples = [one[2][one[2]["ts_ns"] < until_ns] for one in (before, now)]
    assert list(samples[0]["ts_ns"]) == list(samples[1]["ts_ns"])
    assert list(samples[0]["position_lots"]) == list(samples[1]["position_lots"])
    np.testing.assert_allclose(samples[0]["equity"], samples[1]["equity"], rtol=1e-9, atol=1e-7)
    assert events_of(before[3], until_ns) == events_of(now[3], until_ns)
    if until_ns == 1 << 62:
        for part, name in (("venue", "liquidated"), ("risk", "exits"), ("risk", "breaker")):
            assert int(before[3].state[part][name]) == int(now[3].state[part][name]), name
        for name in ("starved", "gaps", "bars"):
            assert int(before[3].state[name]) == int(now[3].state.counts[name]), name
    state = now[3].state
    return (
        len(fills),
        int(state.venue.liquidated),
        int(state.risk.exits),
        int(state.risk.breaker_events),
        int(state.venue.funding_next),
    )


@pytest.mark.parametrize("limited", [False, True], ids=["limits off", "limits on"])
def test_equal_on_random_bars(limited):
    seen = np.sum([compare(seed, limited) for seed in range(40)], axis=0)
    assert seen[0] > 1_500


@pytest.mark.long
@pytest.mark.parametrize("limited", [False, True], ids=["limits off", "limits on"])
def test_equal_on_a_thousand_random_bars(limited):
    seen = np.sum([compare(seed, limited) for seed in range(1_000)], axis=0)
    fills, liquidated, exits, breakers, funding = seen  # what was to be compared did happen
    assert min(fills / 400, liquidated, funding / 10) > (5 if limited else 60)
    assert min(exits, breakers) > (500 if limited else -1)
