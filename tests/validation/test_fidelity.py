"""Fidelity: the same model on bars and on ticks; every number here is known beforehand or worked out another way."""

from dataclasses import replace
from functools import cache

import numpy as np
import orjson
import pandas as pd
import pytest

from marketmakerl import AvellanedaStoikov, EventTape, Fees, Instrument, Latency, Symmetric, backtest
from marketmakerl.core.clock import ManualClock
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError, DataQualityError
from marketmakerl.core.rng import generator
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.reporting.fidelity_report import write_fidelity_report
from marketmakerl.risk.limits import RiskLimits
from marketmakerl.validation import fidelity
from marketmakerl.validation.fidelity import FidelityRules, best_prices, common_window, measure
from marketmakerl.validation.fidelity_fills import Marks, block_length, block_sums, compare, run_of
from marketmakerl.validation.fidelity_study import FidelityConfig
from marketmakerl.validation.fidelity_study import fidelity as run_study
from marketmakerl.validation.fidelity_summary import summarise
from tick_tapes import INSTRUMENT, make_frames, make_tape, put_recording

S = 1_000_000_000
T0 = 1_700_000_000 * S
FREE = Fees(0.0, 0.0)
COARSE = Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.1, kind="linear")
# Bid 99.9 and ask 100.1 with ten lots each, and never another; every bar of two seconds that trades closes at 100.
TRADES = [
    (-0.4, Kind.TRADE_BUY, 1001, 1),
    (1.9, Kind.TRADE, 1000, 1),
    (3.0, Kind.TRADE_SELL, 998, 40),  # through the bid: bars 5 % of 41 lots, ticks all five
    (3.9, Kind.TRADE, 1000, 1),
    (5.0, Kind.TRADE_SELL, 999, 30),  # at the bid, beyond the ten in front: ticks alone
    (5.9, Kind.TRADE, 1000, 1),
    (7.0, Kind.TRADE_BUY, 1001, 8),  # at the ask, not through the queue: only who is in front of it
    (7.9, Kind.TRADE, 1000, 1),
    (9.0, Kind.TRADE_BUY, 1003, 100),  # through the ask, and volume enough: both
    (9.9, Kind.TRADE, 1000, 1),  # nothing trades in the bar that follows
    (12.5, Kind.TRADE, 1000, 1),
]
BOOK = [(-0.5, Kind.SNAPSHOT | MORE, 0, 0), (-0.5, Kind.DEPTH_BID | MORE, 999, 10), (-0.5, Kind.DEPTH_ASK, 1001, 10),
        (12.6, Kind.DEPTH_BID, 990, 1)]  # fmt: skip
BY_HAND = FidelityRules(bars_s=(2,), queues=("risk_averse", "front"), order_qty=0.5)
ONE_TICK = {"one tick": Symmetric(0.1)}


def hand_made() -> EventTape:
    rows = sorted(BOOK + TRADES, key=lambda row: row[0])
    at, kind, ticks, lots = zip(*rows, strict=True)
    ts = np.array([T0 + round(seconds * S) for seconds in at])
    columns = (np.array(column, np.int64) for column in (ticks, lots))
    return EventTape(COARSE, ts, ts, *columns, np.array(kind, np.int8), {"clock": "ticks", "tier": "T1"})


def rows_by_hand(**changes) -> dict:
    measured = measure(hand_made(), replace(BY_HAND, **changes), FREE, models=ONE_TICK)
    return {(row["clock"], row["queue"], row["latency_ms"]): row for row in measured.rows}


def test_fills_that_are_known_beforehand():
    rows = rows_by_hand()
    assert list(rows) == [
        ("bar", "risk_averse", 0.0), ("bar", "risk_averse", 10.0), ("bar", "front", 0.0), ("bar", "front", 10.0),
        ("100 ms", "risk_averse", 0.0),
    ]  # fmt: skip
    for latency_ms in (0.0, 10.0):
        behind, front = rows["bar", "risk_averse", latency_ms], rows["bar", "front", latency_ms]
        for row in (behind, front):
            assert (row["bars"], row["fills_bars"], row["cells_bars"], row["cells_both"]) == (6, 2, 2, 2)
            assert row["qty_bars"] == pytest.approx(0.7)  # 2 lots of the sweep below, 5 of the one above
            assert (row["price_gain_bps"], row["price_off_bps"]) == pytest.approx((0.0, 0.0), abs=1e-9)
        assert (behind["cells_ticks"], behind["qty_ticks"]) == (3, pytest.approx(1.5))
        assert (front["cells_ticks"], front["qty_ticks"]) == (4, pytest.approx(2.0))
        assert (behind["precision"], behind["recall"]) == (1.0, pytest.approx(2 / 3))
        assert (front["precision"], front["recall"]) == (1.0, pytest.approx(2 / 4))
        assert behind["qty_ratio"] == pytest.approx(0.7 / 1.5)


def test_what_they_earn_is_known_beforehand_too():
    row = rows_by_hand()["bar", "risk_averse", 0.0]
    # Every fill is a tick from a mid that never moves.
    bars = 1e4 * 0.1 * 0.7 / (0.2 * 99.9 + 0.5 * 100.1)
    ticks = 1e4 * 0.1 * 1.5 / (1.0 * 99.9 + 0.5 * 100.1)
    for name in ("gross_bps", "pnl_bps", "markout_close_bps", "markout_next_bps"):
        assert row[f"{name}_bars"] == pytest.approx(bars), name
        assert row[f"{name}_ticks"] == pytest.approx(ticks), name
    assert row["pnl_gap_bps"] == pytest.approx(bars - ticks)
    assert row["pnl_gap_low"] is None
    assert row["no_interval"] == "too few bars: 5"


def test_an_order_under_way_is_not_there_yet(monkeypatch):
    early = [row for row in TRADES if row[0] != 3.0] + [(2.005, Kind.TRADE_SELL, 998, 40)]
    monkeypatch.setitem(globals(), "TRADES", early)
    rows = rows_by_hand()
    here, under_way = rows["bar", "risk_averse", 0.0], rows["bar", "risk_averse", 10.0]
    assert (here["cells_ticks"], here["cells_both"], here["recall"]) == (3, 2, pytest.approx(2 / 3))
    assert (under_way["cells_ticks"], under_way["cells_both"], under_way["precision"]) == (2, 1, 0.5)


def test_the_share_of_the_volume_is_the_bars_alone():
    row = rows_by_hand(bar_volume_share=1.0)["bar", "risk_averse", 0.0]
    assert (row["qty_bars"], row["qty_ticks"]) == (pytest.approx(1.0), pytest.approx(1.5))


def test_decisions_are_taken_at_the_same_instants():
    seen: list[int] = []

    def watching(context):
        seen.append(int(context.ts_ns))
        return 1.0, 1.0

    window = common_window(make_tape(30), 5)
    on_ticks = fidelity._Trader(window, watching, FREE, 0.1, 0.1)
    on_ticks.on_ticks(5 * S, "risk_averse", 0.0)
    bars = fidelity.bar_tape(window, 5)
    result = backtest(bars, Symmetric(1.0), fees=FREE, order_qty=0.1, cash=1e6, risk=RiskLimits.off())
    closes = result.equity["ts_ns"].tolist()[1:]
    assert closes == [window.start_ns + 5 * S * i for i in range(1, window.seconds // 5 + 1)]
    # The nanosecond before the close, so that the trade stamped with it is the next bar's; nothing follows the last.
    assert [ts_ns + 1 for ts_ns in seen] in (closes, closes[:-1])


def test_both_hold_the_same_and_pay_the_same():
    window = common_window(make_tape(30), 5)
    linear = fidelity._Trader(window, Symmetric(1.0), Fees(1.0, 2.0), 0.1, 0.1)._account()
    assert (linear["initial_inventory"], linear["fees"]) == (0.0, Fees(1.0, 2.0))
    assert linear["risk"] == RiskLimits.off()
    spot = replace(window, tape=replace(window.tape, instrument=replace(INSTRUMENT, kind="spot")))
    account = fidelity._Trader(spot, Symmetric(1.0), FREE, 0.1, 0.1)._account()
    assert account["initial_inventory"] == pytest.approx(1000.0)
    assert account["cash"] > account["initial_inventory"] * window.mids[0]


@pytest.mark.parametrize("kind", ["linear", "spot", "inverse"])
def test_profits_add_up_to_what_the_engine_says(kind):
    instrument = replace(INSTRUMENT, kind=kind, lot_size=1.0 if kind == "inverse" else 0.001, min_notional=0.0)
    book, trades = make_frames(60)
    if kind == "inverse":
        book["qty"], trades["qty"] = (np.ceil(frame["qty"] * 1000) for frame in (book, trades))
    window = common_window(EventTape.from_book(book, trades, instrument, tier="T2"), 5)
    model = AvellanedaStoikov(gamma=0.01, k=1.0, sigma=0.5, horizon_s=60.0)
    trader = fidelity._Trader(window, model, Fees(1.0, 2.0), 100.0 if kind == "inverse" else 0.1, 0.1)
    marks = Marks(window.start_ns, 5 * S, window.mids[::5], instrument)
    account = trader._account()
    result = backtest(window.tape, model, quote_interval_ns=5 * S, queue="log", log_orders=False, **account)
    run = run_of(result.raw_fills, marks, on_bars=False)
    assert run.fills == result.metrics.fills > 20
    # In the settled coin the engine's sums; it reports them in quote, at one rate.
    rate = float(result.raw_samples["mid"][-1]) if kind == "inverse" else 1.0
    assert run.gross * rate == pytest.approx(result.metrics.gross_spread_pnl)
    assert run.pnl.sum() * rate == pytest.approx(result.metrics.excess_pnl, abs=1e-6)
    # On bars the mark is the last trade and ours the mid, so that only what was filled has to agree.
    ours = trader.on_bars(fidelity.bar_tape(window, 5), marks)
    theirs = backtest(fidelity.bar_tape(window, 5), model, **account)
    assert ours.fills == theirs.metrics.fills
    assert ours.qty.sum() == pytest.approx(theirs.fills["qty"].sum())


def test_a_row_says_what_the_backtest_on_ticks_earned():
    rules = FidelityRules(bars_s=(1, 5), queues=("log",), latencies_ms=(10.0,), order_qty=0.7)
    model = Symmetric(2.8)
    fees = Fees(1.0, 2.0)
    window = common_window(make_tape(60), 5)
    account = fidelity._Trader(window, model, fees, 0.7, 0.1)._account()
    rows = measure(make_tape(60), rules, fees, models={"far": model}).rows
    assert [(row["bar_s"], row["clock"]) for row in rows] == [(1, "bar"), (1, "100 ms"), (5, "bar"), (5, "100 ms")]
    for row in rows:
        if row["clock"] == "bar":
            latency = Latency(entry_ns=10_000_000, response_ns=10_000_000)
            metrics = backtest(
                window.tape, model, quote_interval_ns=row["bar_s"] * S, queue="log", latency=latency, **account
            ).metrics
            assert row["fills_ticks"] == metrics.fills
            assert metrics.final_inventory != 0.0  # or the marks would not matter
            assert row["pnl_bps_ticks"] == pytest.approx(1e4 * metrics.pnl / metrics.turnover)
            assert row["gross_bps_ticks"] == pytest.approx(1e4 * metrics.gross_spread_pnl / metrics.turnover)


def fills_of(*rows: tuple[float, int, int, int]) -> np.ndarray:
    """Return fills (seconds, side, ticks, lots) of an engine."""
    fills = np.zeros(len(rows), [("ts_ns", "i8"), ("side", "i8"), ("price_ticks", "i8"), ("qty_lots", "i8"),
                                 ("fee", "f8"), ("mid", "f8")])  # fmt: skip
    for fill, (at, side, ticks, lots) in zip(fills, rows, strict=True):
        fill["ts_ns"], fill["side"], fill["price_ticks"], fill["qty_lots"] = T0 + round(at * S), side, ticks, lots
        fill["fee"], fill["mid"] = 0.01, 100.0
    return fills


def test_precision_recall_and_prices_counted_by_hand():
    marks = Marks(T0, S, np.array([100.0, 100.0, 101.0, 101.0, 99.0]), COARSE)
    # Of bars: the time is the close. A fill in the first bar, before anything could be quoted on bars, is none.
    bars = run_of(fills_of((2, 1, 999, 4), (3, -1, 1010, 2), (4, 1, 1000, 1)), marks, on_bars=True)
    ticks = run_of(
        fills_of((0.5, 1, 900, 9), (1.2, 1, 998, 1), (1.4, 1, 1000, 3), (1.9, -1, 1011, 2), (2.0, -1, 1012, 5)),
        marks,
        on_bars=False,
    )
    assert (bars.fills, ticks.fills) == (3, 4)
    row = compare(bars, ticks, marks, seed=0)
    assert (row["cells_bars"], row["cells_ticks"], row["cells_both"]) == (3, 3, 2)
    assert (row["precision"], row["recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert row["qty_ratio"] == pytest.approx(7 / 11)
    # Bought at 99.90 against (99.8 + 3 * 100.0) / 4 = 99.95: better; sold at 101.0 against 101.2: worse.
    gains = [1e4 * (99.95 - 99.9) / 99.95, 1e4 * (101.0 - 101.2) / 101.2]
    assert row["price_gain_bps"] == pytest.approx(sum(gains) / 2)
    assert row["price_off_bps"] == pytest.approx(sum(map(abs, gains)) / 2)
    # In bar 1 bought 0.4 at 99.9, marked at 101; in bar 2 sold 0.2 at 101, marked at 101; then 0.2 fall by 2 and
    # 0.1 bought at 100 are marked at 99.
    assert bars.pnl.tolist() == pytest.approx([0, 0.4 * 1.1 - 0.01, -0.01, -0.4 - 0.1 - 0.01])
    assert row["markout_close_bps_bars"] == pytest.approx(1e4 * (0.44 - 0.1) / (39.96 + 20.2 + 10.0))
    assert row["markout_next_bps_bars"] == pytest.approx(1e4 * (0.44 + 0.2 * 2) / (39.96 + 20.2))  # the last has none


def test_a_run_held_against_itself_is_itself():
    rng = np.random.default_rng(5)
    marks = Marks(T0, S, 100 + np.cumsum(rng.normal(0, 0.1, 201)), COARSE)
    fills = fills_of(*[(1 + 199 * i / 80, 1 - 2 * (i % 2), 1000 + i % 3, 1 + i % 4) for i in range(80)])
    run = run_of(fills, marks, on_bars=False)
    row = compare(run, run, marks, seed=1)
    assert row["no_interval"] == ""
    assert (row["precision"], row["recall"], row["qty_ratio"]) == (1.0, 1.0, 1.0)
    for name in ("pnl_gap_low", "pnl_gap_high", "markout_gap_low", "markout_gap_high"):
        assert row[name] == pytest.approx(0.0, abs=1e-9)
    assert (row["qty_ratio_low"], row["qty_ratio_high"]) == (1.0, 1.0)


def test_the_interval_holds_what_was_put_in():
    """Ticks that buy a quarter of a unit dearer in every bar: the gap is known, and so is its spread."""
    rng = np.random.default_rng(6)
    marks = Marks(T0, S, np.full(401, 100.0), COARSE)
    at = np.arange(1, 400)
    cheap = rng.integers(980, 1000, len(at))
    dear = cheap + rng.integers(0, 6, len(at))
    # Three lots on bars and one on ticks: per turnover that makes no difference.
    on_bars = fills_of(*[(t + 1, 1, int(p), 3) for t, p in zip(at, cheap, strict=True)])
    on_ticks = fills_of(*[(t + 0.5, 1, int(p), 1) for t, p in zip(at, dear, strict=True)])
    on_bars["fee"] = on_ticks["fee"] = 0.0
    bars, ticks = run_of(on_bars, marks, on_bars=True), run_of(on_ticks, marks, on_bars=False)
    row = compare(bars, ticks, marks, seed=0)
    expected = 2 * 1.96 * 1e4 * np.std((dear - cheap) / 10) / 98.95 / np.sqrt(len(at))
    for gap in ("pnl_gap", "markout_gap"):
        low, high = row[f"{gap}_low"], row[f"{gap}_high"]
        assert low < 25.3 < high  # 0.25 of about 98.95, in bps
        assert high - low == pytest.approx(expected, rel=0.25)
        assert low < row[f"{gap}_bps"] < high
    assert (row["qty_ratio_low"], row["qty_ratio_high"]) == (pytest.approx(3.0), pytest.approx(3.0))
    assert compare(bars, ticks, marks, seed=0) == row
    assert compare(bars, ticks, marks, seed=2) != row


def test_too_little_is_said_and_not_guessed():
    marks = Marks(T0, S, np.full(401, 100.0), COARSE)
    few = run_of(fills_of(*[(i + 0.5, 1, 1000, 1) for i in range(1, 15)]), marks, on_bars=False)
    assert compare(few, few, marks, 0)["no_interval"] == "too few fills: 14 cells"
    wide = Marks(T0, S, np.full(2001, 100.0), COARSE)
    block = run_of(fills_of(*[(i + 0.5, 1, 1000, 1) for i in range(1, 26)]), wide, on_bars=False)
    row = compare(block, block, wide, 0)
    assert row["no_interval"] == "too few fills: all in a few blocks"
    assert row["pnl_gap_high"] is None
    nothing = run_of(fills_of(), marks, on_bars=False)
    empty = compare(nothing, few, marks, 0)
    assert (empty["qty_ratio"], empty["precision"], empty["recall"], empty["pnl_gap_bps"]) == (0.0, None, 0.0, None)
    assert compare(few, nothing, marks, 0)["qty_ratio"] is None


def test_blocks_are_summed_as_by_a_slow_loop():
    columns = np.random.default_rng(7).normal(size=(23, 3))
    length = 4
    starts = generator(9, "fidelity", 23).integers(0, 23, (5, 6))
    slow = [sum(columns[(start + i) % 23] for start in draw for i in range(length)) for draw in starts]
    assert block_sums(columns, length, 5, 9) == pytest.approx(np.array(slow))
    assert [block_length(n) for n in (1, 8, 9, 27, 28, 1000)] == [1, 2, 3, 3, 4, 10]


def test_best_prices_are_those_of_a_slow_book():
    book, trades = make_frames(20)
    tape = EventTape.from_book(book, trades, INSTRUMENT, tier="T2")
    times = tape.ts_ns[0] + np.arange(1, 20) * S + np.arange(1, 20)
    times[3] = tape.ts_ns[5 * len(tape) // 19]  # a row of that very time is not yet seen
    times = np.sort(times)
    slow = []
    for time_ns in times:
        held: dict[tuple[int, float], float] = {}
        for row in book[book["ts_ns"] < time_ns].itertuples():
            held[row.side, row.price] = row.qty
        slow.append([
            max(price for (side, price), qty in held.items() if side == 1 and qty > 0),
            min(price for (side, price), qty in held.items() if side == -1 and qty > 0),
        ])  # fmt: skip
    bids, asks = best_prices(tape, times)
    assert np.column_stack([bids, asks]) == pytest.approx(np.array(slow))


def test_the_window_begins_and_ends_on_whole_seconds_with_both():
    tape = hand_made()
    window = common_window(tape, 4)
    assert (window.start_ns, window.end_ns, window.seconds) == (T0, T0 + 12 * S, 12)
    assert window.tape.ts_ns[0] == T0 - 1
    assert (window.tape.ts_ns[window.tape.ts_ns >= T0] < T0 + 12 * S).all()
    assert window.mids.tolist() == pytest.approx([100.0] * 13)
    with pytest.raises(DataQualityError, match="overlap for 13 s; two bars of 7 s are needed"):
        common_window(tape, 7)


def test_a_recording_without_the_one_or_the_other_is_refused():
    book, trades = make_frames(30)
    with pytest.raises(DataQualityError, match="holds no trades"):
        measure(EventTape.from_book(book, None, INSTRUMENT, source="quiet"), FidelityRules(), FREE)
    bids = EventTape.from_book(book[book["side"] == 1], trades, INSTRUMENT, source="half")
    with pytest.raises(DataQualityError, match="half never shows a bid and an ask at once"):
        measure(bids, FidelityRules(), FREE)
    with pytest.raises(DataFormatError, match="holds bars"):
        measure(fidelity.bar_tape(common_window(make_tape(30), 5), 5), FidelityRules(), FREE)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"bars_s": ()}, "bars_s needs"),
        ({"bars_s": (1, 1)}, "bars_s needs"),
        ({"bars_s": (0, 1)}, "whole number of seconds"),
        ({"bars_s": (2, 5)}, "bars of 2 s do not divide"),
        ({"queues": ("lifo",)}, "no queue model 'lifo'"),
        ({"latencies_ms": (1000.0,)}, "shorter than the shortest bar"),
        ({"latencies_ms": (-1.0,)}, ">= 0"),
        ({"latencies_ms": (float("nan"),)}, "latency nan"),
        ({"order_qty": 0.0}, "order_qty"),
        ({"bar_volume_share": 1.5}, "bar_volume_share"),
        ({"seed": -1}, "seed"),
    ],
)
def test_rules_that_make_no_sense(changes, text):
    with pytest.raises(ConfigError, match=text):
        measure(hand_made(), replace(BY_HAND, **changes), FREE)


def test_models_and_size_come_in_units_of_the_market():
    window = common_window(make_tape(60), 5)
    models = fidelity.market_models(window)
    assert list(models) == [
        "symmetric touch", "symmetric +1/4 range", "symmetric +1/2 range", "symmetric +1 range", "avellaneda_stoikov",
    ]  # fmt: skip
    spread = float(np.median(window.asks - window.bids))
    touch, quarter, half, whole = (models[name].half_spread for name in list(models)[:4])
    assert touch == pytest.approx(spread / 2)
    assert (half - touch, whole - touch) == (pytest.approx(2 * (quarter - touch)), pytest.approx(4 * (quarter - touch)))
    _, trades = make_frames(60)
    inside = trades[(trades["ts_ns"] >= window.start_ns) & (trades["ts_ns"] < window.end_ns)]
    assert fidelity.typical_order(window) == pytest.approx(round(inside["qty"].median() * 1000) / 1000)
    assert 0 < whole - touch < 10 * (inside["price"].max() - inside["price"].min())
    dear = replace(window, tape=replace(window.tape, instrument=replace(INSTRUMENT, min_notional=1e6)))
    assert fidelity.typical_order(dear) * window.bids.min() >= 2e6


def test_a_summary_by_hand():
    def row(bar_s, ratio, cells, gap, low, high):
        return {
            "bar_s": bar_s, "qty_ratio": ratio, "cells_bars": 8, "cells_ticks": cells, "cells_both": 6,
            "price_gain_bps": 1.0, "price_off_bps": 1.0, "gross_bps_bars": 2.0, "gross_bps_ticks": 1.0,
            "pnl_gap_bps": gap, "markout_gap_bps": -gap, "pnl_gap_low": low, "pnl_gap_high": high,
            "markout_gap_low": None if low is None else -high, "markout_gap_high": None if low is None else -low,
            "no_interval": "" if low is not None else "too few bars: 3",
            "recording": "a", "clock": "bar", "queue": "log", "latency_ms": 0.0,
            "pnl_bps_bars": gap, "pnl_bps_ticks": 0.0,
        }  # fmt: skip

    rows = [
        row(1, 0.5, 10, 1.0, 0.5, 2.0), row(1, 2.0, 30, 3.0, -1.0, 7.0), row(1, 1.0, 20, 4.0, None, None),
        row(1, 99.0, 9, 50.0, None, None), row(5, 7.0, 9, 1.0, None, None),
    ]  # fmt: skip
    one, five = summarise(rows, ("bar_s",))
    assert (one["bar_s"], one["comparisons"], one["left_out"], one["intervals"]) == (1, 3, 1, 2)
    assert (one["ratio_median"], one["ratio_p90"]) == (1.0, pytest.approx(1.8))
    assert (one["precision"], one["recall"]) == (18 / 24, 18 / 60)
    assert (one["pnl_gap_bps"], one["pnl_above"], one["pnl_below"]) == (3.0, 1, 0)
    assert (one["markout_gap_bps"], one["markout_above"], one["markout_below"]) == (-3.0, 0, 1)
    assert (five["comparisons"], five["left_out"], five["ratio_median"], five["precision"]) == (0, 1, None, None)


def test_the_order_of_models_by_hand():
    def rows(recording, bars, ticks, **changes):
        common = dict.fromkeys(("price_gain_bps", "price_off_bps", "gross_bps_bars", "gross_bps_ticks", "pnl_gap_bps",
                                "markout_gap_bps"))  # fmt: skip
        return [
            common | {"recording": recording, "bar_s": 1, "clock": "bar", "queue": "log", "latency_ms": 0.0,
                      "qty_ratio": 1.0, "cells_bars": 10, "cells_ticks": 10, "cells_both": 10, "no_interval": "few",
                      "pnl_bps_bars": ours, "pnl_bps_ticks": theirs} | changes
            for ours, theirs in zip(bars, ticks, strict=True)
        ]  # fmt: skip

    same = rows("a", [1.0, 2.0, 3.0, 9.0], [-4.0, -3.0, 0.0, 0.1])
    turned = rows("b", [1.0, 2.0, 3.0, 4.0], [8.0, 7.0, 6.0, 5.0])
    mixed = rows("c", [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0])  # rho = 1 - 6 * 2 / (4 * 15)
    few = rows("d", [1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    unknown = rows("e", [1.0, 2.0, 3.0, None], [3.0, 2.0, 1.0, 0.0])
    thin = rows("f", [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], cells_ticks=9)
    (line,) = summarise(same + turned + mixed + few + unknown + thin, ("bar_s",))
    assert (line["rankings"], line["same_best"]) == (3, 2)
    assert line["rank_correlation"] == pytest.approx(0.8)
    (one,) = summarise(turned, ("recording",))
    assert (one["rank_correlation"], one["same_best"]) == (pytest.approx(-1.0), 0)
    (flat,) = summarise(rows("g", [1.0] * 4, [4.0, 3.0, 2.0, 1.0]), ("bar_s",))
    assert (flat["rankings"], flat["rank_correlation"]) == (1, None)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A catalog that all tests read."""
    root = tmp_path_factory.mktemp("home")
    put_recording(root, 62)
    put_recording(root, 45, "binanceusdm_ETHUSDT_2024-08-08T2354")
    put_recording(root, 15, "binanceusdm_BTCUSDT_2024-08-09T0000")
    put_recording(root, 15, "binanceusdm_BTCUSDT_2024-08-10T0000")
    (root / "trades" / "binanceusdm_BTCUSDT_2024-08-10T0000_trades.parquet").unlink()
    (root / "book" / "binanceusdm_BTCUSDT_2024-08-09T0000_l2.parquet").unlink()
    return root


def config_in(root):
    rules = FidelityRules(bars_s=(1, 10), queues=("log",), latencies_ms=(0.0,))
    return FidelityConfig(data=root, rules=rules, maker_bps=0.0, taker_bps=5.0)


@pytest.fixture
def config(home):
    return config_in(home)


@cache
def study_in(root):
    told = []
    done = run_study(config_in(root), root / "art", processes=1, clock=ManualClock(5),
                     progress=lambda *step: told.append(step))  # fmt: skip
    return done, tuple(told)


@pytest.fixture
def study(home):
    """The study of `config` and the progress that was told: made once, to be read only."""
    return study_in(home)


def test_a_study_measures_what_it_can_and_names_the_rest(config, study):
    done, told = study
    entries = {entry["name"]: entry for entry in done.analysis["recordings"]}
    assert [(name[12:], entry["refused"][:20]) for name, entry in entries.items()] == [
        ("BTCUSDT_2024-08-08T2354", ""),
        ("BTCUSDT_2024-08-09T0000", "trades without a boo"),
        ("BTCUSDT_2024-08-10T0000", "a book without trade"),
        ("ETHUSDT_2024-08-08T2354", ""),
    ]
    assert {row["recording"] for row in done.analysis["rows"]} == {n for n, e in entries.items() if not e["refused"]}
    assert len(done.analysis["rows"]) == 2 * 5 * 2 * 2  # recordings, models, bar lengths, queue and 100 ms
    assert [step[:2] for step in told] == [(0, 2), (1, 2), (2, 2)]
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "analysis.csv", "analysis.json", "manifest.json", "report.html",
    ]  # fmt: skip
    table = pd.read_csv(done.folder / "analysis.csv")
    assert len(table) == len(done.analysis["rows"])
    manifest = orjson.loads((done.folder / "manifest.json").read_bytes())
    assert [entry["kind"] for entry in manifest["data"]] == ["book", "trades"] * 2
    assert manifest["tier"] == done.analysis["market"]["tier"] == "T1"
    tape = make_tape(62)
    again = measure(replace(tape, meta=tape.meta | {"tier": "T1"}), config.rules, Fees(0.0, 5.0))
    ours = [row for row in done.analysis["rows"] if "BTC" in row["recording"]]
    assert [{k: v for k, v in row.items() if k != "recording"} for row in ours] == again.rows


def test_the_same_seed_gives_the_same_bytes(config, study, tmp_path):
    made = [study[0].folder, run_study(config, tmp_path / "two", processes=2, clock=ManualClock(5)).folder]
    for file in ("analysis.json", "analysis.csv", "report.html", "manifest.json"):
        assert len({(folder / file).read_bytes() for folder in made}) == 1, file


def test_a_report_is_made_from_the_files_alone(config, tmp_path):
    folder = run_study(replace(config, symbol="ETH/USDT", exchange="binanceusdm"), tmp_path / "art").folder
    before = (folder / "report.html").read_bytes()
    page = before.decode()
    assert page.index("Tier T1, recorded exchange data") < page.index("<h1>")
    assert "mml fidelity --data" in page
    assert "--bars 1,10 --queues log --latencies 0" in page
    (folder / "report.html").unlink()
    assert write_fidelity_report(folder).read_bytes() == before
    analysis = orjson.loads((folder / "analysis.json").read_bytes())
    analysis["recordings"][0] |= {"facts": None, "refused": "</td><b onload=x>"}
    (folder / "analysis.json").write_bytes(orjson.dumps(analysis))
    assert "<b onload" not in write_fidelity_report(folder).read_text()
    (folder / "analysis.json").write_text('{"rules": {}}')
    with pytest.raises(DataFormatError, match="not a fidelity study"):
        write_fidelity_report(folder)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"exchange": "binance"}, DataNotFoundError, "nothing of binance"),
        ({"symbol": "BTC/USDT"}, ConfigError, "which exchange"),
        ({"exchange": "binanceusdm", "symbol": "XRP/USDT"}, DataNotFoundError, "it has BTCUSDT, ETHUSDT"),
        ({"rules": FidelityRules(bars_s=(60,))}, DataQualityError, "none of 4 recordings can be measured"),
        ({"rules": FidelityRules(bars_s=(2, 5))}, ConfigError, "do not divide"),
        ({"maker_bps": 1e4}, ConfigError, "maker_bps"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(config, tmp_path, changes, error, text):
    with pytest.raises(error, match=text):
        run_study(replace(config, **changes), tmp_path / "art", processes=1)
    assert not (tmp_path / "art").exists()


def test_a_file_that_is_not_there_and_processes_that_are_none(config, tmp_path):
    with pytest.raises(DataNotFoundError, match="no such file"):
        run_study(replace(config, data=tmp_path / "nowhere"), tmp_path / "art")
    with pytest.raises(ConfigError, match="processes"):
        run_study(config, tmp_path / "art", processes=0)


def test_a_tape_and_a_book_file_do_as_well_as_a_folder(home, config, tmp_path):
    folder = run_study(replace(config, exchange="binanceusdm", symbol="ETHUSDT"), tmp_path / "a", processes=1)
    book = home / "book" / "binanceusdm_ETHUSDT_2024-08-08T2354_l2.parquet"
    file = run_study(replace(config, data=book), tmp_path / "a", processes=1)
    tape = replace(make_tape(45), meta=make_tape(45).meta | {"tier": "T1"}).save(tmp_path / "eth.tape")
    kept = run_study(replace(config, data=tape, exchange="binanceusdm", symbol="BTC/USDT"), tmp_path / "a", processes=1)
    rows = [
        [{name: value for name, value in row.items() if name != "recording"} for row in study.analysis["rows"]]
        for study in (folder, file)
    ]
    assert rows[0] == rows[1]
    assert len(kept.analysis["rows"]) == len(rows[0])


def test_recorded_data(shared_data, tmp_path):
    rules = FidelityRules(bars_s=(15, 60), queues=("log",), latencies_ms=(0.0,))
    config = FidelityConfig(data=shared_data, exchange="hyperliquid", symbol="WLFI", rules=rules)
    done = run_study(config, tmp_path, processes=1)
    (entry,) = done.analysis["recordings"]
    assert (entry["refused"], entry["facts"]["seconds"], entry["tier"]) == ("", 2040, "T1")
    for row in done.analysis["rows"]:
        assert row["cells_both"] <= min(row["cells_bars"], row["cells_ticks"])
        assert row["fills_bars"] > 0
        assert row["fills_ticks"] > 0
