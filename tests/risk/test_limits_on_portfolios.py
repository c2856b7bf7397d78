"""Limits of an account that several instruments share."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import marketmakerl as mml
from marketmakerl.data.tape import MORE, Kind
from oracles.risk import Case, Referee
from risky_markets import MS, S, examples, market

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


@pytest.mark.parametrize("when", [{"quote_on": "bbo"}, {"quote_on": "all"}, {}], ids=["never", "event", "clock"])
@pytest.mark.parametrize(
    ("steps", "halted"),
    [
        # 10 held of each: a price step of 1 is worth 10 of 1000, of which a drawdown of 75 is too much.
        ([(200, 0, -4), (500, 1, -4)], 500),
        ([(200, 0, 4), (300, 1, 4), (400, 0, -4), (600, 1, -4)], 600),
        ([(200, 0, 4), (300, 1, -4), (400, 0, -4)], 400),
        ([(200, 0, -7), (300, 1, 7), (400, 0, -7), (500, 1, 7), (600, 1, -7)], None),
    ],
    ids=["both lose", "both gain first", "a peak of one", "one bears the other"],
)
def test_what_two_lose_together_is_found_at_once(steps, halted, when):
    """Between two whole seconds, and whether or not a model is woken; neither loses that much alone."""
    prices, rows = [100.0, 50.0], [[], []]
    for at_ms, who, change in [(0, 0, 0), (1, 1, 0), (1100, 0, 0), (1101, 1, 0)] + [(1100 + a, *b) for a, *b in steps]:
        prices[who] += change
        mid, ts = round(prices[who] * 10), START_NS + at_ms * MS
        named = [(0, 0, Kind.SNAPSHOT), (mid - 1, 10_000, Kind.DEPTH_BID), (mid + 1, 10_000, Kind.DEPTH_ASK)]
        rows[who] += [
            (ts, ts, price, lots, int(kind) | (0 if kind == Kind.DEPTH_ASK else int(MORE)))
            for price, lots, kind in named
        ]
    legs = [mml.Instrument(f"{name}/USDT:USDT", 0.1, 0.01, "linear") for name in "AB"]
    result = mml.backtest(
        [as_tape(one, leg) for one, leg in zip(rows, legs, strict=True)], mml.Symmetric(half_spread=40.0),
        fees=mml.Fees(0, 0), order_qty=0.01, cash=1000.0, initial_inventory=[10.0, 10.0], target_inventory=0.0,
        risk=replace(OFF, hard_drawdown_pct=0.075), **when,
    )  # fmt: skip
    events = [event for part in result.parts.values() for event in part.risk_events]
    assert [event["ts_ns"] for event in events] == ([] if halted is None else [START_NS + (1100 + halted) * MS])


# -- one halts all, whoever wakes whom

A = mml.Instrument("A/USDT:USDT", 0.5, 0.25, "linear")
B = mml.Instrument("B/USDT:USDT", 0.5, 0.25, "linear")
C = mml.Instrument("C/USDT:USDT", 0.5, 0.25, "linear")


def moved(rows, shift_ns):
    return [(ts + shift_ns, local + shift_ns, *rest) for ts, local, *rest in rows]


def as_tape(rows, instrument):
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    meta = {"clock": "ticks", "tier": "T2", "source": "test"}
    return mml.EventTape(instrument, *columns[:4], columns[4].astype(np.int8), meta=meta)


def falls_and_waits():
    """A trades all the time, and falls by a fifth between two seconds; in B hardly anything but its book moves."""
    bid, ask, sold, bought, more = Kind.DEPTH_BID, Kind.DEPTH_ASK, Kind.TRADE_SELL, Kind.TRADE_BUY, int(MORE)
    t0, tenth = START_NS, S // 10
    falling = [(t0, 2000, 5000, bid), (t0, 2002, 5000, ask)]
    for i in range(1, 500):
        ts, level = t0 + i * tenth + 37 * MS, 2000 if i < 200 else 1600
        if i == 200:
            falling += [(ts, 2000, 0, bid | more), (ts, 2002, 0, ask | more), (ts, 1600, 5000, bid | more)]
            falling += [(ts, 1602, 5000, ask)]
        falling.append((ts + 1, level - 3 if i % 2 else level + 5, 10, sold if i % 2 else bought))
    waiting = [(t0, 2000, 5000, bid), (t0, 2002, 5000, ask), (t0 + S, 2000, 1, sold)]
    waiting += [(t0 + i * S + 5, 1900, 10 + i, bid) for i in range(2, 50)]
    # Late on, asks come to rest below where B's bid stood.
    waiting += [(t0 + 40 * S, 2000, 0, bid | more), (t0 + 40 * S, 1990, 5000, ask)]
    made = []
    for drawn, instrument in ((falling, A), (waiting, B)):
        rows = [(ts, ts, price, lots, int(kind)) for ts, price, lots, kind in drawn]
        made.append(as_tape(sorted(rows, key=lambda row: row[0]), instrument))
    return made


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["the loser first", "the loser last"])
@pytest.mark.parametrize("when", [{"quote_on": "trade"}, {"quote_on": "bbo"}, {}], ids=["trade", "never", "clock"])
def test_a_halt_reaches_a_model_that_nothing_wakes(when, order):
    tapes = [falls_and_waits()[j] for j in order]
    result = mml.backtest(
        tapes, mml.Symmetric(half_spread=1.0), fees=mml.Fees(0, 5), order_qty=0.25, cash=1000.0,
        initial_inventory=[(1.0, 0.5)[j] for j in order], target_inventory=0.0,
        risk=replace(OFF, hard_drawdown_pct=0.15), latency=mml.Latency(0, 3_000_000, 2_000_000), **when,
    )  # fmt: skip
    events = [event for part in result.parts.values() for event in part.risk_events]
    assert [(event["event"], event["after"]) for event in events] == [("hard_drawdown", "halted")]
    halted = events[0]["ts_ns"]
    # On the clock or with a trade a decision finds it; where nothing wakes anybody, the next whole second.
    latest = S if when == {"quote_on": "bbo"} else S // 5
    assert START_NS + 20 * S + 37 * MS <= halted <= START_NS + 20 * S + latest
    for part in result.parts.values():
        orders = part.orders
        assert (orders["closed_ns"] <= halted + 3_000_000)[orders["purpose"] == "quote"].all()
        assert part.metrics.final_inventory == 0.0
        taken = orders[orders["purpose"] == "liquidation"]
        assert len(taken)
        assert taken["submitted_ns"].min() <= halted + 5_000_000


def test_what_one_has_lost_makes_all_smaller_at_once():
    result = mml.backtest(
        falls_and_waits(), mml.Symmetric(half_spread=1.0), fees=mml.Fees(0, 5), order_qty=2.5, cash=1000.0,
        initial_inventory=[1.0, 0.0], target_inventory=0.0, risk=replace(OFF, soft_drawdown_pct=0.15),
        quote_on="trade",
    )  # fmt: skip
    at = next(event["ts_ns"] for part in result.parts.values() for event in part.risk_events)
    quotes = result.parts["B/USDT:USDT"].orders.sort_values("submitted_ns")
    assert (quotes["closed_ns"] == at)[quotes["submitted_ns"] < at].sum() == 2  # both sides
    assert set(quotes["qty"][quotes["submitted_ns"] == at]) == {1.25}


def test_an_exit_does_not_wait_for_the_model_to_be_woken():
    """The stop of an inventory is found where the mid is seen, as with one instrument alone."""
    options = {"fees": mml.Fees(0, 5), "order_qty": 0.25, "cash": 1000.0, "target_inventory": 0.0, "quote_on": "bbo",
               "risk": replace(OFF, stop_loss_pct=0.1)}  # fmt: skip
    market, model = falls_and_waits(), mml.Symmetric(half_spread=1.0)
    alone = mml.backtest(market[0], model, initial_inventory=1.0, **options)
    both = mml.backtest(market, model, initial_inventory=[1.0, 0.0], **options).parts["A/USDT:USDT"]
    for run in (alone, both):
        taken = run.orders[run.orders["purpose"] == "exit"]
        assert list(taken["submitted_ns"]) == [START_NS + 20 * S + 37 * MS]
        assert run.metrics.final_inventory == 0.0


# -- random accounts

LEGS = (A, B, C)


def quiet(rows, seconds=6):
    """A deep book that is named again and again: what is to be taken off can be."""
    ts = rows[-1][0]
    centre = next(row[2] for row in reversed(rows) if row[4] & 63 == Kind.DEPTH_BID)
    for _ in range(seconds * 4):
        ts += S // 4
        named = [(0, 0, Kind.SNAPSHOT), (centre, 500, Kind.DEPTH_BID), (centre + 1, 500, Kind.DEPTH_ASK)]
        rows = [*rows, *((ts, ts + 2 * MS, price, lots, int(kind) | (0 if kind == Kind.DEPTH_ASK else int(MORE)))
                         for price, lots, kind in named)]  # fmt: skip
    return rows


def draw_account(rng):
    n = rng.choice((2, 2, 3))
    tapes, rows = [], []
    for j in range(n):
        drawn = market(rng.randrange(1 << 30), messages=rng.choice((30, 150)), jump=rng.choice((3, 20)),
                       drift=rng.choice((-1.0, 0.0, 1.0)), start=START_NS, delay="constant",
                       gaps=rng.random() < 0.3, holes=rng.random() < 0.3)  # fmt: skip
        rows.append(quiet(moved(drawn, 1_003 * j)))
        tapes.append(as_tape(rows[-1], LEGS[j]))
    options = {
        "fees": mml.Fees(-0.5, 5.0), "order_qty": rng.choice((1, 4)) * 0.25, "cash": 40 * 250.0, "queue": "front",
        "initial_inventory": [rng.choice((-10, 0, 10)) * 0.25 for _ in range(n)], "target_inventory": 0.0,
        "latency": [mml.Latency(rng.choice((0, 30)) * MS, rng.choice((1, 90)) * MS + 1,
                                rng.choice((1, 200)) * MS + 3) for _ in range(n)],
        **rng.choice(({"quote_on": "all"}, {"quote_interval_ns": 300 * MS}, {"quote_on": "trade"},
                      {"quote_on": "bbo"})),
    }  # fmt: skip
    return tapes, rows, options


def seen_equity(rows, part, latency, cash, held, ts_ns):
    """Equity of an instrument as far as we know at a time, and whether a mid is known: from tape and fills alone."""
    bare = Case(rows=rows, fills=[], kind="linear", tick=0.5, lot=0.25, contract=1.0, cash=1.0,
                feed_offset=latency.feed_offset_ns)  # fmt: skip
    if "tops" not in part:
        referee = Referee(bare)
        part["tops"], part["start"] = sorted(referee.tops.items()), referee.start_mid
    mids = [top.mid for at, top in part["tops"] if at <= ts_ns and top.mid is not None]
    if not mids:
        return cash
    worth = cash - held * part["start"] * 0.5 * 0.25 + held * mids[-1] * 0.5 * 0.25
    for ts, side, price, lots, fee in part["fills"]:
        if ts + latency.response_ns <= ts_ns:
            worth += side * lots * 0.25 * 0.5 * (mids[-1] - price) - fee
    return worth


@examples(60)
@given(seed=st.integers(0, 2**32))
def test_an_account_halts_when_it_has_lost_too_much_and_all_of_it(seed):
    rng = random.Random(seed)
    tapes, rows, options = draw_account(rng)
    limit = rng.choice((0.005, 0.02, 0.06))
    n, cash, latencies = len(tapes), options["cash"], options["latency"]
    run = mml.backtest(tapes, mml.Symmetric(half_spread=0.6), risk=replace(OFF, hard_drawdown_pct=limit), **options)
    events = [event for part in run.parts.values() for event in part.risk_events]
    assert len(events) <= 1
    parts = []
    for part in run.parts.values():
        raw = part.raw_fills
        fields = ("ts_ns", "side", "price_ticks", "qty_lots", "fee")
        parts.append({"fills": list(zip(*(raw[name].tolist() for name in fields), strict=True))})
    end = min(tape.ts_ns[-1] for tape in tapes)
    halted = events[0]["ts_ns"] if events else end

    def equity(ts_ns):
        held = [round(lots / 0.25) for lots in options["initial_inventory"]]
        return sum(
            seen_equity(rows[j], parts[j], latencies[j], cash / n, held[j], ts_ns) for j in range(n)
        )  # fmt: skip

    # Whatever changes equity as we know it: a top of a book that reaches us, a fill that we hear of.
    equity(0)
    changes = Counter(at for part in parts for at, _ in part["tops"])
    for part, latency in zip(parts, latencies, strict=True):
        changes.update(ts + latency.response_ns for ts, *_ in part["fills"])
    peak = cash
    for ts_ns in sorted(at for at in changes if at < halted):
        now = equity(ts_ns)
        peak = max(peak, now)
        assert (peak - now) / cash < limit * (1 + 1e-9)
    event(f"halted: {bool(events)}")
    if not events:
        return
    assert halted in changes
    if changes[halted] == 1:  # of several things at one time the first may have been enough
        assert events[0]["value"] == pytest.approx((max(peak, equity(halted)) - equity(halted)) / cash, rel=1e-9)
        event("halted by one thing")
    assert events[0]["value"] >= limit
    for part, latency, tape in zip(run.parts.values(), latencies, tapes, strict=True):
        orders = part.orders[part.orders["purpose"] == "quote"]
        assert (orders["submitted_ns"] <= halted).all()
        heard = np.maximum(orders["live_ns"] + latency.response_ns, halted)
        left = orders["closed_ns"] <= heard + latency.entry_ns
        assert (left | (orders["live_ns"] == 0) | (heard + latency.entry_ns >= tape.ts_ns[-1])).all()
        if halted < tape.ts_ns[-1] - 5 * S:
            assert part.metrics.final_inventory == 0.0


@examples(30)
@given(seed=st.integers(0, 2**32))
def test_nothing_of_an_account_depends_on_what_comes_later(seed):
    """One market goes another way from a time on: before that, everything everywhere is the same."""
    rng = random.Random(seed)
    tapes, rows, options = draw_account(rng)
    limits = replace(OFF, hard_drawdown_pct=rng.choice((0.005, 0.03)), soft_drawdown_pct=0.002, stop_loss_pct=0.003,
                     cooldown_s=0.5, hard_inventory_pct=0.3, max_executions=rng.choice((None, 5)))  # fmt: skip
    which, cut_ns = rng.randrange(len(tapes)), rows[0][len(rows[0]) // 2][0]
    other = [
        (ts, local, price + (40 if price and ts >= cut_ns else 0), lots, kind) for ts, local, price, lots, kind in
        rows[which]
    ]  # fmt: skip
    changed = [*tapes[:which], as_tape(other, LEGS[which]), *tapes[which + 1 :]]
    first, second = (
        mml.backtest(those, mml.Symmetric(half_spread=0.6), risk=limits, **options) for those in (tapes, changed)
    )
    for one, two in zip(first.parts.values(), second.parts.values(), strict=True):
        orders = [
            run.orders[run.orders["submitted_ns"] < cut_ns].sort_values("order_id")[["submitted_ns", "side", "price"]]
            for run in (one, two)
        ]
        assert orders[0].to_numpy().tolist() == orders[1].to_numpy().tolist()
        assert [e for e in one.risk_events if e["ts_ns"] < cut_ns] == [
            e for e in two.risk_events if e["ts_ns"] < cut_ns
        ]
