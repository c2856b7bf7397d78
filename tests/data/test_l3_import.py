"""Logs of single orders: what becomes of each kind of row, what is refused, and the recorded log of 2015."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3_logs import INSTRUMENT, T0, levels_of, orders_frame, trades_frame
from marketmakerl import EventTape
from marketmakerl.core.errors import ConfigError, DataError, DataFormatError, DataQualityError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.l3_import import import_l3
from marketmakerl.data.synthetic_l3 import L3Market, simulate_l3
from searches import many

BID, ASK = 1, -1
MORE = 64


def rows_of(*events: tuple) -> list[tuple]:
    """Give each (order, action, side, price, qty, filled[, born]) its number and its time."""
    return [(i, T0 + 10 * i, *e[:6], *e[6:]) for i, e in enumerate(events)]


def tape_rows(imported) -> list[tuple]:
    tape = imported.tape
    since = np.where(tape.since_ns < 0, -1, tape.since_ns - T0)
    columns = (tape.ts_ns - T0, tape.kind, tape.price_ticks, tape.qty_lots, since)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_each_kind_of_row():
    log = rows_of(
        (1, 0, BID, 100, 10, None),
        (2, 0, BID, 100, 5, None),
        (1, 1, BID, 100, 7, 3),  # 3 executed; nobody says by whom
        (1, 1, BID, 100, 6, 0),  # 1 taken back
        (2, 1, BID, 101, 5, 0),  # another price
        (2, 1, BID, 101, 8, 0),  # more: to the back of the queue
        (1, 2, BID, 100, 6, 0),
        (2, 2, BID, 101, 0, 8),
    )
    imported = import_l3(orders_frame(log), None, INSTRUMENT)
    assert tape_rows(imported) == [
        (0, 8, 100, 10, -1),
        (10, 8, 100, 15, -1),
        (20, 12 | MORE, 100, 3, -1),
        (20, 8, 100, 12, 0),
        (30, 8, 100, 11, 0),
        (40, 8, 100, 6, 10),
        (41, 8, 101, 5, -1),
        (50, 8, 101, 0, 41),
        (51, 8, 101, 8, -1),
        (60, 8, 100, 0, 0),
        (70, 12 | MORE, 101, 8, -1),
        (70, 8, 101, 0, 51),
    ]
    assert imported.seq.tolist() == [0, 1, 2, 2, 3, 4, 4, 5, 5, 6, 7, 7]
    resting = imported.resting[["order_id", "qty_lots", "ahead_lots", "filled_lots", "cancelled"]].tolist()
    assert resting == [(1, 10, 0, 3, 1), (2, 5, 10, 0, 1), (2, 5, 0, 0, 1), (2, 8, 0, 8, 0)]


@pytest.mark.parametrize("taker_first", [True, False])
def test_what_a_taker_takes_never_stands_in_the_book(taker_first):
    halves = [(2, 1, ASK, 99, 6, 4), (1, 2, BID, 100, 0, 4)]
    log = rows_of((1, 0, BID, 100, 4, None), (2, 0, ASK, 99, 10, None), *(halves if taker_first else halves[::-1]))
    imported = import_l3(orders_frame(log), None, INSTRUMENT)
    maker = 30 if taker_first else 20
    assert tape_rows(imported) == [
        (0, 8, 100, 4, -1),
        (maker, 12 | MORE, 100, 4, -1),
        (maker, 8, 100, 0, 0),
        (31 if taker_first else 30, 9, 99, 6, -1),
    ]
    assert imported.resting["took_first"].tolist() == [0, 1]


def test_orders_from_before_the_log():
    old = T0 - 10**9
    log = rows_of(
        (9, 0, ASK, 102, 5, None),
        (1, 1, BID, 100, 4, 3, old),  # had 7; and what follows says so
        (5, 0, ASK, 100, 2, None),
        (2, 2, BID, 100, 0, None, old),  # how large it was only its counterpart tells
        (5, 2, ASK, 100, 0, 2),
        (3, 2, BID, 98, 6, 0, old),
        (4, 2, ASK, 105, 0, None, old),  # nobody tells
    )
    imported = import_l3(orders_frame(log), None, INSTRUMENT, opening="hindsight")
    assert tape_rows(imported)[:2] == [(0, 8 | MORE, 100, 9, -1), (0, 8, 98, 6, -1)]
    assert levels_of(imported.tape, len(imported.tape)) == {1: {100: 4}, -1: {102: 5}}
    falls = [row for row in tape_rows(imported) if row[1] == 8 and row[0] > 0]
    assert [row[4] for row in falls] == [-1, -1, -1]
    assert imported.report.counts["refused", "size-unknown"] == 1
    assert imported.report.counts["repaired", "there-before"] == 4


def test_trades_are_matched_and_the_others_kept():
    log = rows_of((1, 0, BID, 100, 10, None), (1, 1, BID, 100, 7, 3), (2, 0, BID, 99, 1, None), (1, 2, BID, 100, 7, 0))
    trades = [(1, T0 + 11, 100, 3, -1), (2, T0 + 15, 100, 2, 0)]
    imported = import_l3(orders_frame([(2 * row[0], *row[1:]) for row in log]), trades_frame(
        [(3, *trades[0][1:]), (5, *trades[1][1:])]), INSTRUMENT)  # fmt: skip
    kinds = [(kind & 63, lots) for _, kind, _, lots, _ in tape_rows(imported) if kind & 63 >= 12]
    assert kinds == [(12, 3), (14, 2)]
    assert imported.report.counts["repaired", "trade-alone"] == 1


GOOD = rows_of((1, 0, BID, 100, 10, None), (2, 0, BID, 100, 5, None), (1, 1, BID, 100, 7, 3), (2, 2, BID, 100, 5, 0))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"action": 3}, DataFormatError, "action"),
        ({"side": 0}, DataFormatError, "side"),
        ({"price": 50.2}, DataFormatError, "tick"),
        ({"price": -1.0}, DataQualityError, "price"),
        ({"qty": 0.00725}, DataFormatError, "lot"),
        ({"qty": np.nan}, DataQualityError, "qty"),
        ({"filled": -0.003}, DataQualityError, "filled"),
        ({"filled": 0.012}, DataQualityError, "cannot fill"),
        ({"side": -1}, DataQualityError, "side"),
        ({"action": 0}, DataQualityError, "twice"),
        ({"action": 2}, DataQualityError, "missing"),
        ({"msg_seq": 1}, DataQualityError, "msg_seq"),
        ({"ts_local_ns": T0 - 2 * 10**9}, DataQualityError, "received"),
        ({"ts_local_ns": 5}, DataFormatError, "time"),
    ],
)
def test_what_is_refused(change, error, text):
    frame = orders_frame(GOOD)
    if "action" in change and change["action"] == 2:
        change = change | {"qty": 0.005}
    for name, value in change.items():
        frame[name] = frame[name].astype(type(value)) if isinstance(value, float) else frame[name].astype(np.int64)
        frame.loc[2, name] = value
    with pytest.raises(error, match=text):
        EventTape.from_l3(frame, None, INSTRUMENT)


def test_an_order_of_nothing_is_refused():
    with pytest.raises(DataQualityError, match="nothing"):
        EventTape.from_l3(orders_frame(rows_of((1, 0, BID, 100, 0, None))), None, INSTRUMENT)


def test_types_and_columns_are_checked():
    frame = orders_frame(GOOD)
    with pytest.raises(DataFormatError, match="order_id"):
        EventTape.from_l3(frame.drop(columns="order_id"), None, INSTRUMENT)
    with pytest.raises(DataFormatError, match="price"):
        EventTape.from_l3(frame.assign(price="dear"), None, INSTRUMENT)
    with pytest.raises(DataFormatError, match="no rows"):
        EventTape.from_l3(frame.iloc[:0], None, INSTRUMENT)
    with pytest.raises(DataFormatError, match="side"):
        EventTape.from_l3(frame, trades_frame([(9, T0, 100, 1, 5)]), INSTRUMENT)
    with pytest.raises(ConfigError, match="opening"):
        EventTape.from_l3(frame, None, INSTRUMENT, opening="all")


ORDERS, TRADES = simulate_l3(L3Market(events=150, depth_ticks=3, log_takers=True), 3)
ZI = L3Market().instrument


def test_order_and_repetition_of_rows_do_not_matter():
    whole = import_l3(ORDERS, TRADES, ZI)
    mixed = pd.concat([ORDERS, ORDERS.iloc[::3]]).sample(frac=1, random_state=1).reset_index(drop=True)
    again = import_l3(mixed, TRADES.sample(frac=1, random_state=2), ZI)
    for name in ("ts_ns", "price_ticks", "qty_lots", "kind", "since_ns"):
        np.testing.assert_array_equal(getattr(again.tape, name), getattr(whole.tape, name))
    assert again.report.counts["refused", "duplicate"] == len(ORDERS.iloc[::3])


@settings(max_examples=many(40, 150), deadline=None)
@given(st.data())
def test_a_broken_log_is_an_error_or_a_book_of_what_is_left(data):
    """Cut rows out, change numbers, swap message numbers: never anything but a typed error or levels that add up."""
    frame = ORDERS.copy()
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(frame) - 1))
        match data.draw(st.sampled_from(["cut", "head", "tail", "number", "swap", "id"])):
            case "cut":
                frame = frame.drop(frame.index[row])
            case "head":
                frame = frame.iloc[row // 2 :]
            case "tail":
                frame = frame.iloc[: max(1, row)]
            case "number":
                name = data.draw(st.sampled_from(["price", "qty", "filled"]))
                frame.iloc[row, frame.columns.get_loc(name)] = data.draw(
                    st.sampled_from([0.0, -1.0, 0.001, 1.0, 3.0, 1e18, np.nan, np.inf])
                )
            case "swap":
                other = data.draw(st.integers(0, len(frame) - 1))
                at = frame.columns.get_loc("msg_seq")
                frame.iloc[row, at], frame.iloc[other, at] = frame.iloc[other, at], frame.iloc[row, at]
            case "id":
                frame.iloc[row, frame.columns.get_loc("order_id")] = data.draw(st.integers(0, 50))
        if frame.empty:
            return
    try:
        imported = import_l3(frame, TRADES, ZI)
    except DataError:
        return
    tape = imported.tape
    assert (np.diff(tape.ts_ns) >= 0).all()
    assert (tape.qty_lots >= 0).all()
    assert (tape.since_ns <= tape.ts_ns).all()
    # What the book shows at the end is what its orders still hold, and nothing was executed that did not stand there.
    levels = levels_of(tape, len(tape))
    held = imported.resting[(imported.resting["ended_ns"] < 0)]
    assert sum(map(len, levels.values())) >= len({(r["side"], r["price_ticks"]) for r in held})
    assert (imported.resting["filled_lots"] <= imported.resting["qty_lots"]).all()


def test_takers_in_the_log_or_not_make_the_same_book():
    quiet = import_l3(*simulate_l3(L3Market(events=3000, log_takers=False), 5), ZI)
    loud = import_l3(*simulate_l3(L3Market(events=3000, log_takers=True), 5), ZI)
    keep = np.ones(len(loud.tape), np.bool_)
    # The rest of a market order too large for the book rests for a nanosecond, at one price, and is cancelled.
    gone = loud.resting[loud.resting["took_first"] == 1]
    for row in gone:
        keep &= ~np.isin(loud.tape.ts_ns, [row["rested_ns"], row["ended_ns"]])
    for name in ("price_ticks", "qty_lots", "kind"):
        np.testing.assert_array_equal(getattr(loud.tape, name)[keep], getattr(quiet.tape, name))
    assert not quiet.report.counts["repaired", "trade-alone"]


def test_the_tape_keeps_its_column(tmp_path):
    tape = import_l3(ORDERS, TRADES, ZI).tape
    back = EventTape.load(tape.save(tmp_path / "orders.tape"))
    np.testing.assert_array_equal(back.since_ns, tape.since_ns)
    np.testing.assert_array_equal(back.slice_rows(3, 9).since_ns, tape.since_ns[3:9])
    assert back.meta["l3"]["lines"] == len(ORDERS)
    plain = EventTape(**{**vars(tape), "since_ns": None})
    assert EventTape.load(plain.save(tmp_path / "levels.tape")).since_ns is None
    with pytest.raises(DataFormatError, match="length"):
        EventTape(**{**vars(tape), "since_ns": tape.since_ns[:-1]})


def test_the_recorded_log_gives_the_recorded_books(shared_data):
    stem = "bitstamp_BTCUSD_2015-05-01T0000"
    orders, trades, books = (
        pd.read_parquet(shared_data / f"{folder}/{stem}_{kind}.parquet")
        for folder, kind in (("l3", "orders"), ("trades", "trades"), ("book", "l2snap20"))
    )
    instrument = lookup("bitstamp", "BTC/USD", at="2015-05-01")
    imported = import_l3(orders, trades, instrument, opening="hindsight")
    assert imported.report.refused == 19
    assert not imported.report.counts["repaired", "trade-alone"]
    tops = {
        (seq, side): (round(rows["price"].iloc[0] * 100), round(rows["qty"].iloc[0] * 1e8))
        for (seq, side), rows in books.groupby(["seq", "side"], sort=False)
    }
    levels: dict[int, dict[int, int]] = {1: {}, -1: {}}
    tape, row, right, sized, seen = imported.tape, 0, 0, 0, 0
    for seq in sorted({seq for seq, _ in tops}):
        end = int(np.searchsorted(imported.seq, seq, side="right"))
        for i in range(row, end):
            kind = tape.kind[i] & 63
            if kind in (8, 9):
                levels[1 if kind == 8 else -1][int(tape.price_ticks[i])] = int(tape.qty_lots[i])
        row = end
        best = {side: max((p for p, q in levels[side].items() if q), key=lambda p, s=side: s * p) for side in (1, -1)}
        right += all(best[side] == tops[seq, side][0] for side in (1, -1))
        sized += all((best[side], levels[side][best[side]]) == tops[seq, side] for side in (1, -1))
        seen += 1
    assert (right, sized, seen) == (3242, 3241, 3249)  # 99.78 % of the books, 99.75 % with their quantities
