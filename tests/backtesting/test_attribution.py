"""The parts of a profit: to the cent what the metrics say, and part by part what a plain loop over the fills says.

The loops know nothing of the package: they read prices, sizes, times and fees of the fills, and the mids of the frames
that the market was made from.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import groupby

import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import marketmakerl as mml
from backtesting.test_tick_oracle_by_hand import OPEN, ask, bid, buy, open_engine, sold, tape_of
from backtesting.test_ticks_against_oracle import QUEUES, draw_with_rules, latencies, seeds, shapes, venue_kinds
from marketmakerl.backtesting.results.attribution import HORIZONS, attribute, break_even_maker_bps
from marketmakerl.backtesting.results.of_engine import result_of
from oracles.tick_venue import VenueParams
from searches import many
from tick_tapes import INSTRUMENT, START_NS, make_frames

S = 10**9
SECONDS = {"0.1s": 0.1, "0.5s": 0.5, "1s": 1.0, "5s": 5.0, "10s": 10.0, "30s": 30.0, "60s": 60.0, "300s": 300.0}
OFF = mml.RiskLimits.off()
KINDS = {
    "linear": INSTRUMENT,
    "spot": mml.Instrument("BTC/USDT", 0.1, 0.001),
    "inverse": mml.Instrument("BTC/USD:BTC", 0.1, 1.0, "inverse", contract_size=100.0),
}
FUNDING = [(START_NS + second * S, rate) for second, rate in ((7, 0.001), (21, -0.0004), (40, 0.0007))]


def run_of(kind, *, seed=3, seconds=50, fees=None, half_spread=0.3, **options):
    """A backtest of a wandering book, and the mids of that book as (times, values)."""
    tape, mids = market_of(kind, seconds, seed)
    given_options = {"order_qty": 40.0 if kind == "inverse" else 0.04, "cash": 20_000.0, "queue": "log", "risk": OFF}
    if kind != "spot":
        given_options["funding"] = FUNDING
    result = mml.backtest(
        tape, mml.Symmetric(half_spread), fees=fees or mml.Fees(1.5, 4), **given_options | options
    )  # fmt: skip
    return result, mids


@cache
def market_of(kind, seconds, seed):
    book, trades = make_frames(seconds, seed)
    if kind == "inverse":
        book["qty"], trades["qty"] = (frame["qty"] * 1000 for frame in (book, trades))
    return mml.EventTape.from_book(book, trades, KINDS[kind], tier="T2", source="made up"), mids_of(book)


def mids_of(book):
    """Replay the frames in a dictionary; one mid a message, in ticks to the half."""
    held, times, mids = {}, [], []
    rows = zip(*(book[name].tolist() for name in ("seq", "ts_ns", "side", "price", "qty")), strict=True)
    for _, message in groupby(rows, key=lambda row: row[0]):
        for _, ts_ns, side, price, qty in message:  # noqa: B007  (one time a message)
            held[side, price] = qty
            if qty == 0:
                del held[side, price]
        times.append(ts_ns)
        mids.append((max(p for s, p in held if s == 1) + min(p for s, p in held if s == -1)) / 2)
    return times, mids


def worth(kind, price):
    return -100.0 / price if kind == "inverse" else price


def by_loop(kind, fills, times, mids, opening_qty, first_mid):
    """The parts of own fills, one fill after the other; funding is not theirs."""
    parts = {"spread": 0.0, "fees": 0.0, "inventory": opening_qty * (worth(kind, mids[-1]) - worth(kind, first_mid))}
    adverse = dict.fromkeys(SECONDS, 0.0)
    for fill in fills:
        then = worth(kind, fill["mid"])
        signed = fill["side"] * fill["qty"]
        parts["spread"] += signed * (then - worth(kind, fill["price"]))
        parts["fees"] += fill["fee"]
        parts["inventory"] += signed * (worth(kind, mids[-1]) - then)
        for name, horizon_s in SECONDS.items():
            later = mids[bisect_right(times, fill["ts_ns"] + round(horizon_s * S)) - 1]
            adverse[name] += signed * (worth(kind, later) - then)
    return parts, adverse


def adds_up(result):
    """Every total is the metrics' own, at every horizon, in both currencies, side by side and together."""
    found, metrics = attribute(result), result.metrics
    # `metrics.pnl` is a difference of equities, which rounds them; the draws have up to ten million of equity.
    off = 1e-9 * max(1.0, metrics.turnover) + 4e-16 * (metrics.final_equity + metrics.initial_budget)
    off_settled = 1e-9 * max(1.0, found.turnover) + 8e-16 * float(np.max(np.abs(result.raw_samples["equity"])))
    assert found.quote.total == pytest.approx(metrics.pnl, abs=off)
    assert found.settled.total == pytest.approx(metrics.pnl_settled, abs=off_settled)
    assert found.quote.earned == pytest.approx(metrics.excess_pnl, abs=off)
    assert found.quote.inventory == pytest.approx(metrics.inventory_pnl, abs=off)
    assert found.quote.funding == pytest.approx(metrics.funding_pnl, abs=off)
    sides = found.bought.total + found.sold.total + found.quote.opening + found.quote.funding
    assert sides == pytest.approx(metrics.pnl, abs=off)
    for parts in (found.quote, found.settled, found.bought, found.sold):
        for horizon in HORIZONS:
            adverse, rest = parts.adverse[horizon], parts.rest[horizon]
            assert (adverse is None) == (rest is None)
            if adverse is not None:
                split = parts.spread + adverse + rest - parts.fees + parts.funding - parts.liquidation
                assert split == pytest.approx(parts.total, abs=off)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("post_only", [True, False])
def test_part_by_part_as_a_plain_loop_says(kind, post_only):
    latency = mml.Latency(0, 60_000_000, 60_000_000)
    result, (times, mids) = run_of(
        kind, post_only=post_only, latency=latency, half_spread=0.3 if post_only else 0.1, quote_interval_ns=30_000_000
    )  # fmt: skip
    fills = result.fills.to_dict("records")
    assert len(fills) > 100
    assert {fill["liquidity"] for fill in fills} == ({"maker"} if post_only else {"maker", "taker"})
    first = result.equity.iloc[0]
    opening = first["inventory"] if kind == "spot" else 0.0
    wanted, adverse = by_loop(kind, fills, times, mids, opening, first["mid"])
    found = adds_up(result)
    turnover = sum(fill["qty"] * abs(worth(kind, fill["price"])) for fill in fills)
    off = 1e-11 * turnover
    for name, value in wanted.items():
        assert getattr(found.settled, name) == pytest.approx(value, abs=off), name
        assert getattr(found.quote, name) == pytest.approx(value * (mids[-1] if kind == "inverse" else 1), rel=1e-9)
    for name, value in adverse.items():
        assert found.settled.adverse[name] == pytest.approx(value, abs=off), name
        assert found.settled.rest[name] == pytest.approx(wanted["inventory"] - value, abs=off), name
    assert adverse["0.1s"] != adverse["5s"] != adverse["30s"]
    assert found.settled.adverse["300s"] == pytest.approx(wanted["inventory"] - found.settled.opening, abs=off)
    assert (found.settled.funding != 0.0) == (kind != "spot")
    bought, _ = by_loop(kind, [fill for fill in fills if fill["side"] == 1], times, mids, 0.0, 1.0)
    assert found.bought.spread == pytest.approx(bought["spread"] * (mids[-1] if kind == "inverse" else 1), rel=1e-9)
    assert (found.forced_fills, found.settled.liquidation) == (0, 0.0)
    assert found.turnover == pytest.approx(turnover)


@settings(max_examples=many(40, 150), deadline=None)
@given(seed=seeds, shape=shapes, kind=venue_kinds, queue=st.sampled_from(QUEUES), latency=latencies)
def test_it_adds_up_whatever_happens(seed, shape, kind, queue, latency):
    rows, script, params = draw_with_rules(seed, shape, kind, queue, latency)
    engine = open_engine(script, params)
    tape = tape_of(rows, params)
    engine.feed(tape)
    engine.finish()
    if engine.state.ledger.start_mark == 0.0:
        return
    result = result_of(engine, tape)
    found = adds_up(result)
    event(f"{kind}, forced: {found.forced_fills > 0}, funding: {found.quote.funding != 0}")
    assert (found.forced_fills > 0) == (result.metrics.liquidations > 0)


def test_a_liquidation_by_the_venue_is_no_spread_of_ours():
    # 5 bought at 100, the mid at 101: 5 earned. Funding of 1 % of 505. At a mid of 85 the venue sells 3 at 84 and 2 at
    # 82, which is 3 x 1 + 2 x 3 = 9 below it, for a fee of 60 bps of 416.
    rows = [*OPEN, sold(1002, 100, 10), ask(1004, 102, 0), bid(1004, 100, 0), bid(1004, 85, 3), ask(1004, 87, 3)]
    rows += [bid(1004, 82, 1), bid(1006, 85, 0), bid(1006, 84, 3), ask(1006, 86, 3), ask(1006, 87, 0), bid(1008, 84, 4)]
    params = VenueParams(
        cash=Fraction(100), taker=Fraction(10, 10_000), leverage=Fraction(10),
        brackets=[(None, Fraction(1, 20), Fraction(0))], liquidation_fee=Fraction(50, 10_000),
        funding=[(1003, Fraction(1, 100))],
    )  # fmt: skip
    engine = open_engine([buy(1001, 100, 5)], params)
    timed = [(ts, ts, price, lots, kind) for ts, price, lots, kind in rows]
    tape = tape_of(timed, params)
    engine.feed(tape)
    engine.finish()
    result = result_of(engine, tape)
    found = adds_up(result)
    assert [tuple(fill) for fill in result.fills[["side", "price", "qty"]].to_numpy()] == [
        (1, 100, 5), (-1, 84, 3), (-1, 82, 1), (-1, 82, 1),
    ]  # fmt: skip
    assert (found.fills, found.forced_fills) == (4, 3)
    assert found.quote.spread == pytest.approx(5.0)
    assert found.quote.liquidation == pytest.approx(9 + 416 * 0.006)
    assert found.quote.fees == 0.0
    assert found.quote.funding == pytest.approx(-5.05)
    assert found.quote.inventory == pytest.approx(5 * (85 - 101))
    assert found.sold.liquidation == pytest.approx(9 + 416 * 0.006)
    assert found.bought.liquidation == 0.0
    # The quote's fill alone was selected against; 0.1 s on, the data have ended at a mid of 85.
    assert found.quote.adverse["0.1s"] == pytest.approx(5 * (85 - 101))
    assert found.quote.rest["0.1s"] == pytest.approx(0.0)
    # No resting order of ours paid a fee: what a rebate on 500 would have to bring.
    assert found.break_even_maker_bps == pytest.approx(1e4 * (5 - 80 - 5.05 - 9 - 2.496) / 500)


@pytest.mark.parametrize("kind", KINDS)
def test_what_takes_an_inventory_off_is_no_quote(kind):
    # Two seconds is the longest that an inventory may last.
    limits = replace(OFF, max_holding_s=2.0, cooldown_s=0.5)
    result, (times, mids) = run_of(kind, risk=limits, half_spread=0.5)
    found = adds_up(result)
    fills = result.fills.to_dict("records")
    purposes = result.raw_fills["purpose"].tolist()
    forced = [fill for fill, purpose in zip(fills, purposes, strict=True) if purpose == 1]
    own = [fill for fill, purpose in zip(fills, purposes, strict=True) if purpose == 0]
    assert len(own) + len(forced) == len(fills)
    assert found.forced_fills == len(forced) > 3
    given_up, _ = by_loop(kind, forced, times, mids, 0.0, 1.0)
    quoted, adverse = by_loop(kind, own, times, mids, 0.0, 1.0)
    off = 1e-11 * found.turnover
    assert found.settled.liquidation == pytest.approx(given_up["fees"] - given_up["spread"], abs=off)
    assert found.settled.liquidation > 0
    assert found.settled.spread == pytest.approx(quoted["spread"], abs=off)
    assert found.settled.fees == pytest.approx(quoted["fees"], abs=off)
    assert found.settled.adverse["1s"] == pytest.approx(adverse["1s"], abs=off)


def bars_of(closes):
    frame = pd.DataFrame({"ts_ms": np.arange(len(closes)) * 60_000, "open": [closes[0], *closes[:-1]], "close": closes})
    reach = np.random.default_rng(8).integers(0, 4, (2, len(closes)))
    frame["high"] = frame[["open", "close"]].max(axis=1) + reach[0]
    frame["low"] = frame[["open", "close"]].min(axis=1) - reach[1]
    return frame.assign(volume=1_000.0)


@pytest.mark.parametrize("kind", ["linear", "spot", "inverse"])
def test_on_bars_a_horizon_is_known_from_one_bar_on(kind):
    closes = (1_000.0 + np.cumsum(np.random.default_rng(5).integers(-4, 5, 60))).tolist()
    instrument = {
        "linear": mml.Instrument("X/USDT:USDT", 1.0, 0.01, "linear"),
        "spot": mml.Instrument("X/USDT", 1.0, 0.01),
        "inverse": mml.Instrument("X/USD:X", 1.0, 1.0, "inverse", contract_size=100.0),
    }[kind]
    tape = mml.EventTape.from_klines(bars_of(closes), instrument, tier="T2")
    options = {} if kind == "spot" else {"funding": [(30 * 60_000, 0.01)]}
    result = mml.backtest(
        tape, mml.Symmetric(1.5), fees=mml.Fees(2, 5), order_qty=3.0, cash=9_000.0, risk=OFF, **options
    )  # fmt: skip
    found = adds_up(result)
    fills = result.fills.to_dict("records")
    assert len(fills) > 30
    assert {name for name, part in found.quote.adverse.items() if part is None} == {
        "0.1s", "0.5s", "1s", "5s", "10s", "30s",
    }  # fmt: skip
    times = [(bar + 1) * 60 * S for bar in range(60)]
    opening = result.equity["inventory"].iloc[0] if kind == "spot" else 0.0
    wanted, adverse = by_loop(kind, fills, times, closes, opening, closes[0])
    for name in ("spread", "fees", "inventory"):
        assert getattr(found.settled, name) == pytest.approx(wanted[name], rel=1e-9), name
    for name in ("60s", "300s"):
        assert found.settled.adverse[name] == pytest.approx(adverse[name], rel=1e-9), name
    assert adverse["60s"] != adverse["300s"]


def test_a_liquidation_on_bars_is_a_cost_too():
    bars = [(100, 100, 100, 100), (100, 100, 97, 100), (100, 100, 60, 70), (70, 90, 50, 80)]
    open_, high, low, close = zip(*bars, strict=True)
    frame = {"ts_ms": np.arange(4) * 60_000, "open": open_, "high": high, "low": low, "close": close}
    tape = mml.EventTape.from_klines(
        pd.DataFrame(frame | {"volume": 1_000.0}), mml.Instrument("X/USDT:USDT", 1.0, 1.0, "linear"), tier="T2"
    )
    rules = mml.VenueRules(leverage=10, maintenance_margin_rate=0.05, liquidation_fee_bps=50)
    result = mml.backtest(tape, mml.Symmetric(2.0), fees=mml.Fees(0, 10), order_qty=5.0, cash=100.0, risk=OFF,
                          bar_volume_share=1.0, venue=rules, funding=[(120_000, 0.01)])  # fmt: skip
    found = adds_up(result)
    # Twice 5 at 98, two below the last close each; 10 sold at 59 when the bar stood at 60, for 60 bps of 590.
    assert found.forced_fills == 1
    assert found.quote.spread == pytest.approx(20.0)
    assert found.quote.liquidation == pytest.approx(10 * 1 + 590 * 0.006)


def test_instruments_of_one_account_add_up():
    tapes, options = [], {"fees": mml.Fees(1, 4), "order_qty": 0.05, "cash": 50_000.0, "risk": OFF}
    for number, symbol in enumerate(("BTC/USDT:USDT", "ETH/USDT:USDT")):
        tape = mml.EventTape.from_book(*make_frames(20, number), replace(INSTRUMENT, symbol=symbol), tier="T2")
        tapes.append(tape)
    result = mml.backtest(tapes, mml.Symmetric(0.4), **options)
    found = adds_up(result)
    each = [attribute(part) for part in result.parts.values()]
    assert list(found.instruments) == ["BTC/USDT:USDT", "ETH/USDT:USDT"]
    assert found.fills == sum(one.fills for one in each) == result.metrics.fills > 50
    for name in ("spread", "fees", "inventory"):
        assert getattr(found.quote, name) == pytest.approx(sum(getattr(one.quote, name) for one in each))
    assert found.quote.adverse["1s"] == pytest.approx(sum(one.quote.adverse["1s"] for one in each))
    assert found.as_dict()["instruments"]["ETH/USDT:USDT"]["quote"] == each[1].quote.as_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_at_its_break_even_fee_the_same_fills_earn_nothing(kind):
    # Quotes that do not heed the fee: a run at the fee found has the very same fills.
    order_qty = 40.0 if kind == "inverse" else 0.002  # so small that cash never decides
    result, _ = run_of(kind, fees=mml.Fees(3, 4), order_qty=order_qty)
    fee_bps = break_even_maker_bps(result)
    again, _ = run_of(kind, fees=mml.Fees(fee_bps, 4), order_qty=order_qty)
    assert again.fills[["ts_ns", "price", "qty"]].equals(result.fills[["ts_ns", "price", "qty"]])
    assert abs(result.metrics.excess_pnl) > 1e-3
    assert again.metrics.excess_pnl == pytest.approx(0.0, abs=1e-9 * result.metrics.turnover)


def test_without_fills_there_is_nothing_to_attribute():
    result, _ = run_of("linear", half_spread=5_000.0)
    found = adds_up(result)
    assert (found.fills, found.quote.total, found.break_even_maker_bps) == (0, 0.0, None)
    assert set(found.quote.adverse.values()) == {0.0}
