"""Recordings of ticks are doubted as bars are: each spoiled row is found, and sound files are left in peace."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmakerl import EventTape
from marketmakerl.data.crossed_kernel import crossed_rows
from marketmakerl.data.tape import MORE
from marketmakerl.data.tick_quality import check_frame, check_tape, decimal_step
from oracles.book import replay_tape
from searches import many
from tick_tapes import INSTRUMENT, make_frames, make_tape

MS = 1_000_000


def spoiled(frame, name, row, value):
    out = frame.copy()
    out.loc[row, name] = value
    return out


def codes(report):
    return {(severity, code): count for (severity, code), count in report.counts.items() if count}


def at(report, code):
    return [finding.row for finding in report.findings if finding.code == code]


def test_a_sound_recording_has_no_findings():
    book, trades = make_frames(30)
    assert codes(check_frame(book, "book", INSTRUMENT)) == {}
    assert codes(check_frame(trades, "trades", INSTRUMENT)) == {}
    report = check_tape(make_tape(30))
    assert codes(report) == {}
    assert report.as_dict()["first"] == "2024-08-08T23:54:16.000Z"
    assert report.as_dict()["rows"] == len(make_tape(30))


@pytest.mark.parametrize(
    ("kind", "name", "value", "finding"),
    [
        ("book", "price", float("nan"), ("error", "not_finite")),
        ("book", "price", -1.0, ("error", "bad_price")),
        ("book", "price", 0.0, ("error", "bad_price")),
        ("book", "price", 60000.05, ("error", "off_tick")),
        ("book", "qty", -1.0, ("error", "bad_quantity")),
        ("book", "qty", float("inf"), ("error", "not_finite")),
        ("book", "qty", 0.00011, ("warning", "off_lot")),
        ("book", "side", 3, ("error", "bad_side")),
        ("trades", "price", 60000.05, ("error", "off_tick")),
        ("trades", "qty", 0.0, ("error", "bad_quantity")),
        ("trades", "qty", 0.00011, ("error", "off_lot")),
        ("trades", "side", 2, ("error", "bad_side")),
        ("trades", "trade_id", 398, ("error", "conflict")),
        ("trades", "ts_ns", 5, ("error", "unusable")),
    ],
)
def test_each_spoiled_row_is_found(kind, name, value, finding):
    book, trades = make_frames(120)
    frame = spoiled({"book": book, "trades": trades}[kind], name, 400, value)
    report = check_frame(frame, kind, INSTRUMENT)
    assert codes(report)[finding] == 1
    if finding[1] != "unusable":
        assert at(report, finding[1]) == [400]
    assert report.number("error") == (finding[0] == "error")


def test_what_is_missing_late_or_told_twice():
    book, _ = make_frames(120)
    last = int(book["seq"].max())
    gap = book[book["seq"] != 100].reset_index(drop=True)
    report = check_frame(gap, "book", INSTRUMENT)
    assert codes(report) == {("warning", "gap"): 1, ("warning", "dropped"): 1}
    assert gap["seq"][at(report, "gap")[0]] == 101
    late = book.copy()
    late.loc[book["seq"] == 50, "ts_ns"] -= 60 * MS
    assert codes(check_frame(late, "book", INSTRUMENT))["warning", "time_backwards"] == (book["seq"] == 50).sum()
    late.loc[book["seq"] == 50, "ts_ns"] -= 3000 * MS
    assert ("error", "time_backwards") in codes(check_frame(late, "book", INSTRUMENT))
    hole = book.copy()
    hole.loc[book["seq"] >= last - 5, ["ts_ns", "ts_local_ns"]] += 61_000 * MS
    report = check_frame(hole, "book", INSTRUMENT)
    assert [hole["seq"][row] for row in at(report, "hole")] == [last - 5]
    behind = book.assign(ts_local_ns=book["ts_ns"] - 700 * MS)
    report = check_frame(behind, "book", INSTRUMENT)
    assert codes(report) == {("warning", "clock_offset"): 1}
    assert report.clock_offset_ns == 701 * MS
    twice = book.loc[[*range(60), 59, *range(60, len(book))]].reset_index(drop=True)
    assert at(check_frame(twice, "book", INSTRUMENT), "duplicate") == [60]
    crossed = book.copy()
    row = int(np.flatnonzero((book["seq"] == 30) & (book["side"] == 1) & (book["qty"] > 0))[0])
    crossed.loc[row, "price"] = crossed["price"].max() + 10
    found = check_frame(crossed, "book", INSTRUMENT)
    assert {crossed["seq"][row] for row in at(found, "crossed")} >= {30}


def test_tapes_with_gaps_crossings_and_wrong_rows():
    tape = make_tape(30)
    kind = tape.kind.copy()
    starts = np.flatnonzero(np.r_[True, (kind[:-1] & MORE) == 0])
    single = int(next(row for row in starts[1:] if not kind[row] & MORE))
    kind[single] = 5
    report = check_tape(replace(tape, kind=kind))
    assert at(report, "gap") == [single]
    wrong = replace(tape, price_ticks=np.where(np.arange(len(tape)) == 40, -1, tape.price_ticks))
    assert codes(check_tape(wrong)) == {("error", "unusable"): 1}
    assert codes(check_tape(tape.slice_rows(0, 0))) == {("error", "unusable"): 1}
    early = replace(tape, local_ts_ns=tape.local_ts_ns - 5 * MS)
    assert codes(check_tape(early)) == {("warning", "clock_offset"): 1}


ROW = st.tuples(st.sampled_from([5, 6, 8, 8, 9, 9, 10, 11, 12]), st.integers(1, 6), st.integers(0, 2), st.booleans())


@settings(max_examples=many(60, 200))
@given(st.lists(ROW, min_size=1, max_size=40))
def test_crossed_messages_are_those_that_a_slow_book_finds(rows):
    kind = np.array([k | (MORE if more else 0) for k, _, _, more in rows], np.int8)
    kind[-1] &= ~MORE
    price, qty = (np.array([row[i] for row in rows], np.int64) for i in (1, 2))
    # Best quotes hold something; what is no level has none.
    qty = np.where(np.isin(kind & ~MORE, [10, 11]), np.maximum(qty, 1), qty)
    ts = np.full(len(rows), 10**18)
    tape = EventTape(INSTRUMENT, ts, ts, price, qty, kind)
    seen = {
        row: (bid, ask)
        for row, bid, _, ask, _ in replay_tape(price.tolist(), qty.tolist(), kind.tolist())
        if bid is not None and ask is not None and bid >= ask
    }
    found = {row: (bid, ask) for row, bid, ask in crossed_rows(tape).tolist()}
    assert found == seen


def test_what_a_best_price_took_away_does_not_come_back():
    """Bid 5, best bid 3, then 6 comes and goes: 3 is the best again, and an ask at 4 crosses nothing."""
    kind, price, qty = (np.array(column) for column in ([8, 10, 8, 8, 9], [5, 3, 6, 6, 4], [1, 1, 1, 0, 1]))
    ts = np.full(5, 10**18)
    assert crossed_rows(EventTape(INSTRUMENT, ts, ts, price, qty, kind.astype(np.int8))).tolist() == []
    price[-1] = 3
    assert crossed_rows(EventTape(INSTRUMENT, ts, ts, price, qty, kind.astype(np.int8))).tolist() == [[4, 3, 3]]


def test_the_grid_of_numbers_is_read_off_them():
    assert decimal_step(np.array([1.0, 20.0, 0.0])) == 1.0
    assert decimal_step(np.array([1.25, 0.1])) == 0.01
    assert decimal_step(np.array([1e-8, float("nan")])) == pytest.approx(1e-8)
    assert decimal_step(np.array([1 / 3])) == 1e-12


@pytest.mark.parametrize("name", ["binanceusdm_BTCUSDT_2024-08-08T2354_l2", "hyperliquid_SOL_2025-09-04T1946_l2snap20"])
def test_recorded_books_are_sound(shared_data, name):
    import pandas as pd

    from marketmakerl.core.instruments import lookup

    exchange, symbol, day, _ = name.split("_")
    frame = pd.read_parquet(shared_data / "book" / f"{name}.parquet")
    report = check_frame(frame, "book", lookup(exchange, symbol, at=day[:10]))
    assert report.number("error") == 0
    assert not at(report, "crossed")
    assert not at(report, "gap")
