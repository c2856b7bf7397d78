"""Recorded books become tapes that say the same, row for row."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl import EventTape, Instrument
from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.book_import import import_book
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.data.tie_order import trades_go_first
from oracles.book import replay_diffs, replay_snapshots, replay_tape

INSTRUMENT = Instrument("BTC/USDT", 0.1, 0.001, "linear")
T0 = 1_700_000_000_000_000_000
MS = 1_000_000
BID, ASK = 1, -1


def book(*rows):
    """Frame of rows (ms, side, price, qty, seq, further fields); times of receipt are 5 ms later."""
    frame = pd.DataFrame(
        [{"ms": r[0], "side": r[1], "price": r[2], "qty": r[3], "seq": r[4], **(r[5] if r[5:] else {})} for r in rows]
    )
    for name, value in (("is_snapshot", False), ("first_seq", -1), ("prev_seq", -1)):
        frame[name] = frame[name].astype(object).where(frame[name].notna(), value) if name in frame else value
    frame["ts_ns"] = np.where(frame["ms"] < 0, -1, T0 + frame["ms"] * MS).astype(np.int64)
    frame["ts_local_ns"] = T0 + frame["ms"] * MS + 5 * MS
    return frame.astype({"side": "int8", "is_snapshot": bool, "first_seq": "int64", "prev_seq": "int64"})


SNAP = {"is_snapshot": True}


def trades(*rows):
    frame = pd.DataFrame(rows, columns=["ms", "price", "qty", "side"])
    frame["ts_ns"] = T0 + frame["ms"] * MS
    frame["ts_local_ns"] = frame["ts_ns"] + 7 * MS
    return frame.astype({"price": float, "qty": float, "side": "int8"})


def bbo(*rows):
    frame = pd.DataFrame(rows, columns=["ms", "bid_px", "bid_qty", "ask_px", "ask_qty", "seq"])
    frame["ts_ns"] = T0 + frame["ms"] * MS
    frame["ts_local_ns"] = frame["ts_ns"] + 9 * MS
    return frame


def rows_of(tape):
    """Return (ms, kind, more, ticks, lots) of every row."""
    kinds = tape.kind.tolist()
    return [
        ((ts - T0) // MS, Kind(kind & ~MORE).name, bool(kind & MORE), price, qty)
        for ts, kind, price, qty in zip(
            tape.ts_ns.tolist(), kinds, tape.price_ticks.tolist(), tape.qty_lots.tolist(), strict=True
        )
    ]


START = [(0, BID, 100.0, 1.0, 10, SNAP), (0, ASK, 100.2, 2.0, 10, SNAP)]


def test_a_snapshot_that_stands_after_the_first_diffs_goes_where_its_id_says():
    frame = book(
        (1, BID, 99.9, 1.0, 8, {"first_seq": 7}),
        (2, BID, 99.8, 3.0, 11, {"first_seq": 9}),
        (2, ASK, 100.2, 0.0, 11, {"first_seq": 9}),
        (-1, BID, 100.0, 1.0, 9, SNAP),
        (-1, ASK, 100.2, 2.0, 9, SNAP),
        (-1, ASK, 100.4, 0.5, 9, SNAP),
        (3, ASK, 100.3, 0.7, 12, {"first_seq": 12}),
    )
    imported = import_book(frame, None, INSTRUMENT)
    assert rows_of(imported.tape) == [
        (2, "SNAPSHOT", True, 0, 0),
        (2, "DEPTH_BID", True, 1000, 1000),
        (2, "DEPTH_ASK", True, 1002, 2000),
        (2, "DEPTH_ASK", False, 1004, 500),
        (2, "DEPTH_BID", True, 998, 3000),
        (2, "DEPTH_ASK", False, 1002, 0),
        (3, "DEPTH_ASK", False, 1003, 700),
    ]
    assert imported.seq.tolist() == [9, 9, 9, 9, 11, 11, 12]
    meta = imported.tape.meta
    assert (meta["clock"], meta["tier"], meta["messages"], meta["gaps"]) == ("ticks", "T1", 3, 0)
    assert (meta["dropped_before_snapshot"], meta["sequence_checked"]) == (1, 2)


def test_a_snapshot_is_never_later_than_the_first_diff_applied_to_it():
    frame = book((5, BID, 100.0, 1.0, 10, SNAP), (5, ASK, 100.2, 2.0, 10, SNAP), (3, BID, 99.9, 1.0, 11))
    tape = EventTape.from_book(frame, None, INSTRUMENT)
    assert [row[0] for row in rows_of(tape)] == [3, 3, 3, 3]
    assert tape.meta["exchange_time_clamped"] == 0
    assert tape.meta["receipt_raised"] == 1  # the diff came before the snapshot, and is of no use before it


def test_a_message_is_received_when_its_last_row_is():
    frame = book(*START, (1, BID, 99.9, 1.0, 11), (1, ASK, 100.3, 1.0, 11))
    frame.loc[3, "ts_local_ns"] += MS
    tape = EventTape.from_book(frame, None, INSTRUMENT)
    assert [(local - T0) // MS for local in tape.local_ts_ns.tolist()] == [5, 5, 5, 7, 7]


def test_a_snapshot_that_was_dated_by_a_diff_says_nothing_about_the_clock():
    frame = book((-1, BID, 100.0, 1.0, 10, SNAP), (-1, ASK, 100.2, 2.0, 10, SNAP), (30, BID, 99.9, 1.0, 11))
    assert EventTape.from_book(frame, None, INSTRUMENT).meta["clock_offset_ns"] == 0


def test_a_tied_trade_at_a_price_that_the_book_never_names():
    frame = book(*START, (1, BID, 99.9, 1.0, 11))
    tape = EventTape.from_book(frame, trades((1, 107.0, 1.0, BID)), INSTRUMENT)
    assert (tape.meta["tied_trades"], tape.meta["tied_trades_shown"]) == (1, 0)


def test_levels_of_a_snapshot_that_hold_nothing_are_not_in_it():
    frame = book(*START, (0, BID, 90.0, 0.0, 10, SNAP))
    tape = EventTape.from_book(frame, None, INSTRUMENT)
    assert [row[1:4] for row in rows_of(tape)] == [
        ("SNAPSHOT", True, 0),
        ("DEPTH_BID", True, 1000),
        ("DEPTH_ASK", False, 1002),
    ]


@pytest.mark.parametrize(
    ("fields", "gaps"),
    [
        (({"prev_seq": 9}, {"prev_seq": 13}), 0),
        (({"prev_seq": 10}, {"prev_seq": 13}), 0),
        (({"prev_seq": 11}, {"prev_seq": 13}), 1),  # between the snapshot and the first diff something is missing
        (({"prev_seq": 9}, {"prev_seq": 12}), 1),
        (({"prev_seq": 9, "first_seq": 99}, {"prev_seq": 13, "first_seq": 99}), 0),  # futures: first_seq says nothing
        (({"first_seq": 8}, {"first_seq": 14}), 0),
        (({"first_seq": 11}, {"first_seq": 14}), 0),
        (({"first_seq": 12}, {"first_seq": 14}), 1),
        (({"first_seq": 11}, {"first_seq": 15}), 1),
        (({"first_seq": 11}, {"first_seq": 13}), 1),
        (({}, {}), 0),
    ],
)
def test_every_diff_must_follow_the_one_before(fields, gaps):
    first, second = fields
    frame = book(*START, (1, BID, 99.9, 1.0, 13, first), (2, BID, 99.8, 1.0, 17, second))
    meta = EventTape.from_book(frame, None, INSTRUMENT).meta
    assert meta["gaps"] == gaps
    assert meta["sequence_checked" if first else "sequence_unchecked"] == 2


def test_after_a_break_diffs_are_dropped_until_the_next_snapshot():
    frame = book(
        *START,
        (1, BID, 99.9, 1.0, 11, {"prev_seq": 10}),
        (2, BID, 99.8, 1.0, 15, {"prev_seq": 14}),  # 12 to 14 are lost
        (2, ASK, 100.3, 1.0, 15, {"prev_seq": 14}),
        (3, BID, 99.7, 1.0, 16, {"prev_seq": 15}),
        (4, BID, 99.6, 1.0, 18, {"prev_seq": 17}),  # again: still the same gap
        (5, BID, 100.1, 1.0, 20, SNAP),
        (5, ASK, 100.4, 1.0, 20, SNAP),
        (6, BID, 99.9, 2.0, 22, {"prev_seq": 20}),
    )
    imported = import_book(frame, trades((3, 100.0, 1.0, -1)), INSTRUMENT)
    assert rows_of(imported.tape)[3:] == [
        (1, "DEPTH_BID", False, 999, 1000),
        (2, "GAP", False, 0, 0),
        (3, "TRADE_SELL", False, 1000, 1000),
        (5, "SNAPSHOT", True, 0, 0),
        (5, "DEPTH_BID", True, 1001, 1000),
        (5, "DEPTH_ASK", False, 1004, 1000),
        (6, "DEPTH_BID", False, 999, 2000),
    ]
    assert imported.seq.tolist()[3:] == [11, 15, -1, 20, 20, 20, 22]
    assert (imported.tape.meta["gaps"], imported.tape.meta["dropped_in_gaps"]) == (1, 3)


def test_a_book_without_any_snapshot_is_taken_from_the_start_and_says_so():
    tape = EventTape.from_book(book((1, BID, 99.9, 1.0, 11), (2, ASK, 100.0, 1.0, 12)), None, INSTRUMENT)
    assert [row[1] for row in rows_of(tape)] == ["DEPTH_BID", "DEPTH_ASK"]
    assert tape.meta["snapshots"] == 0


def test_diffs_out_of_order_are_put_in_order_and_counted():
    frame = book(*START, (2, BID, 99.9, 2.0, 12), (1, BID, 99.9, 1.0, 11), (3, BID, 99.9, 3.0, 13))
    tape = EventTape.from_book(frame, None, INSTRUMENT)
    assert [row[4] for row in rows_of(tape)][3:] == [1000, 2000, 3000]
    assert tape.meta["reordered"] == 1


def test_exchange_time_may_run_back_a_little_and_no_more():
    frame = book(*START, (20, BID, 99.9, 2.0, 12), (15, BID, 99.9, 1.0, 13))
    tape = EventTape.from_book(frame, None, INSTRUMENT)
    assert [row[0] for row in rows_of(tape)] == [0, 0, 0, 20, 20]
    assert tape.meta["exchange_time_clamped"] == 1
    frame = book(*START, (2000, BID, 99.9, 2.0, 12), (900, BID, 99.9, 1.0, 13))
    with pytest.raises(DataQualityError, match=r"1\.100 s before"):
        EventTape.from_book(frame, None, INSTRUMENT)


# At 5 ms there are both: a trade of 0.4 at the best ask, and a book message.
TRADE_AT_5 = trades((5, 100.2, 0.1, 1), (5, 100.2, 0.3, 1))
SHOWS_IT = (5, ASK, 100.2, 1.6, 11)
DOES_NOT = (5, ASK, 100.3, 1.6, 11)


LATER = (9, ASK, 100.4, 1.0, 12)  # tied with a trade of 9 ms, which it does not show


@pytest.mark.parametrize(
    ("message", "option", "first"),
    [
        (SHOWS_IT, "auto", ("TRADE_BUY", "TRADE_BUY")),
        (DOES_NOT, "auto", ("TRADE_BUY", "DEPTH_ASK")),
        (SHOWS_IT, "book", ("DEPTH_ASK", "DEPTH_ASK")),
        (DOES_NOT, "trades", ("TRADE_BUY", "TRADE_BUY")),
    ],
)
def test_ties_go_by_what_the_ties_before_them_show(message, option, first):
    """The first has nothing to go by and its trades first; none is ordered by itself or by what comes later."""
    sold = pd.concat([TRADE_AT_5, trades((9, 100.2, 0.1, 1))], ignore_index=True)
    tape = EventTape.from_book(book(*START, message, LATER), sold, INSTRUMENT, tie_order=option)
    rows = rows_of(tape)
    assert (rows[3][1], next(row[1] for row in rows if row[0] == 9)) == first
    assert len(tape) == 8
    assert tape.meta["tie_order"] == option
    if option == "auto":
        shown = int(message is SHOWS_IT)
        assert (tape.meta["tied_trades"], tape.meta["tied_trades_shown"]) == (2, shown)
        assert tape.meta["tied_trades_first"] == 1 + shown
        assert "ties: of 2 trades" in tape.meta["assumed"][0]


def test_trades_go_first_from_two_thirds_on():
    assert [trades_go_first(*counts) for counts in ((0, 0), (2, 3), (199, 300), (3, 3))] == [True, True, False, True]


@pytest.mark.parametrize(("left", "first"), [(None, "TRADE_BUY"), (1.6, "TRADE_BUY"), (1.7, "DEPTH_ASK")])
def test_ties_are_read_off_whole_books_too(left, first):
    """A level that a new snapshot does not name has been traded away."""
    second = [(5, BID, 100.0, 1.0, 11, SNAP), (5, ASK, 100.3, 1.0, 11, SNAP)]
    if left is not None:
        second.append((5, ASK, 100.2, left, 11, SNAP))
    sold = pd.concat([TRADE_AT_5, trades((9, 100.2, 0.1, 1))], ignore_index=True)
    tape = EventTape.from_book(book(*START, *second, LATER), sold, INSTRUMENT)
    assert next(row[1] for row in rows_of(tape) if row[0] == 9) == first


def test_trades_keep_their_side_and_their_order_and_receipt_never_runs_back():
    sold = trades((4, 100.0, 0.5, -1), (2, 100.2, 0.25, 1), (3, 100.1, 1.0, 0))
    tape = EventTape.from_book(book(*START, (3, BID, 99.9, 1.0, 11)), sold, INSTRUMENT, tie_order="trades")
    assert rows_of(tape)[3:] == [
        (2, "TRADE_BUY", False, 1002, 250),
        (3, "TRADE", False, 1001, 1000),
        (3, "DEPTH_BID", False, 999, 1000),
        (4, "TRADE_SELL", False, 1000, 500),
    ]
    # 5 ms after sending for the book, 7 ms for trades: the diff of 3 ms waits for the trades ahead of it.
    assert [(local - T0) // MS for local in tape.local_ts_ns.tolist()] == [5, 5, 5, 9, 10, 10, 11]
    assert tape.meta["receipt_raised"] == 1
    assert tape.meta["trades_reordered"] == 1


def test_quotes_make_a_tape_where_there_is_no_book():
    quotes = bbo((1, 100.0, 1.0, 100.1, 2.0, 5), (3, 100.1, 0.5, 100.2, 0.25, 6))
    imported = import_book(None, trades((3, 100.1, 1.0, 1)), INSTRUMENT, bbo_df=quotes)
    assert rows_of(imported.tape) == [
        (1, "BBO_BID", True, 1000, 1000),
        (1, "BBO_ASK", False, 1001, 2000),
        (3, "TRADE_BUY", False, 1001, 1000),
        (3, "BBO_BID", True, 1001, 500),
        (3, "BBO_ASK", False, 1002, 250),
    ]
    assert imported.seq.tolist() == [5, 5, -1, 6, 6]
    assert (imported.tape.meta["bbo"], imported.tape.meta["bbo_time"]) == ("used", "recorded")


def test_quotes_are_not_merged_into_a_book():
    quotes = bbo((1, 100.0, 1.0, 100.1, 2.0, 5))
    tape = EventTape.from_book(book(*START), None, INSTRUMENT, bbo_df=quotes)
    assert {row[1] for row in rows_of(tape)} == {"SNAPSHOT", "DEPTH_BID", "DEPTH_ASK"}
    assert tape.meta["bbo"].startswith("not merged")


def test_quotes_without_exchange_time_are_dated_by_the_delay_of_the_trades():
    quotes = bbo((1, 100.0, 1.0, 100.1, 2.0, 5), (3, 100.1, 0.5, 100.2, 0.25, 6)).assign(ts_ns=-1)
    tape = EventTape.from_book(None, trades((2, 100.1, 1.0, 1)), INSTRUMENT, bbo_df=quotes)
    assert [row[0] for row in rows_of(tape)] == [2, 3, 3, 5, 5]  # received 9 ms after 1 and 3 ms; trades take 7 ms
    assert tape.meta["bbo_time"].startswith("estimated")
    for sold in (None, trades((2, 100.1, 1.0, 1)).assign(ts_local_ns=-1)):
        with pytest.raises(DataFormatError, match="no exchange time"):
            EventTape.from_book(None, sold, INSTRUMENT, bbo_df=quotes)


def test_quotes_without_exchange_time_before_the_first_trade_are_left_out():
    quotes = bbo(*((ms, 100.0, 1.0, 100.1, 2.0, ms) for ms in (1, 5, 20, 40))).assign(ts_ns=-1)
    sold = trades((8, 100.1, 1.0, 1), (10, 100.1, 1.0, 1), (30, 100.1, 1.0, 1))
    sold["ts_local_ns"] += np.array([0, 4, 200]) * MS  # delays of 7, 11 and 207 ms
    imported = import_book(None, sold, INSTRUMENT, bbo_df=quotes)
    # Received at 10, 14, 29 and 49 ms; the trades at 15, 21 and 237 ms: the third one comes too late for all of them.
    assert [row[0] for row in rows_of(imported.tape) if row[1] == "BBO_BID"] == [20, 40]
    assert imported.fate.tolist() == [4, 4, 0, 0]
    assert imported.tape.meta["bbo_undated"] == 2
    assert "2 before the first trade left out" in imported.tape.meta["assumed"][0]
    with pytest.raises(DataFormatError, match="no exchange time"):
        import_book(None, sold.iloc[2:], INSTRUMENT, bbo_df=quotes)


def test_times_of_receipt_that_were_not_recorded_are_the_exchanges():
    frame = book(*START, (3, BID, 99.9, 1.0, 11)).assign(ts_local_ns=-1)
    tape = EventTape.from_book(frame, None, INSTRUMENT, clock_offset_ns=17)
    np.testing.assert_array_equal(tape.local_ts_ns, tape.ts_ns)
    assert (tape.meta["receipt"], tape.meta["clock_offset_ns"]) == ("not recorded", 0)
    tape = EventTape.from_book(frame, trades((2, 100.2, 1.0, 1)), INSTRUMENT)
    assert tape.meta["receipt"] == "recorded for trades only"


def test_a_clock_that_runs_behind_is_set_right_and_any_offset_can_be_forced():
    frame = book(*START, (3, BID, 99.9, 1.0, 11), (4, BID, 99.9, 1.5, 12))
    frame["ts_local_ns"] -= 1270 * MS
    sold = trades((5, 100.2, 1.0, 1))
    sold["ts_local_ns"] -= 1270 * MS
    tape = EventTape.from_book(frame, sold, INSTRUMENT)
    assert tape.meta["clock_offset_ns"] == 1266 * MS  # the book's 5 ms become 1 ms
    assert (tape.local_ts_ns - tape.ts_ns).tolist()[3:] == [MS, MS, 3 * MS]
    tape = EventTape.from_book(frame, sold, INSTRUMENT, clock_offset_ns=1270 * MS)
    assert (tape.local_ts_ns - tape.ts_ns).tolist()[3:] == [5 * MS, 5 * MS, 7 * MS]
    assert EventTape.from_book(frame, sold, INSTRUMENT, clock_offset_ns=0).local_ts_ns[0] < tape.ts_ns[0]


def changed(column, value, row=1):
    frame = book(*START, (3, BID, 99.9, 1.0, 11))
    frame[column] = frame[column].astype(object) if isinstance(value, str) else frame[column]
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        (changed("price", 100.25), DataFormatError, r"price, row 1: 100\.25 is not on the tick 0\.1"),
        (changed("price", 100.2000002), DataFormatError, "row 1: 100.2000002"),
        (changed("price", float("nan")), DataQualityError, "price, row 1: nan"),
        (changed("price", float("inf")), DataQualityError, "price, row 1: inf"),
        (changed("price", 0.0), DataQualityError, "price, row 1"),
        (changed("price", -100.2), DataQualityError, "price, row 1"),
        (changed("price", 2.0**40 / 10), DataFormatError, r"2\*\*40 ticks"),
        (changed("qty", 0.0005), DataFormatError, r"qty, row 1: 0\.0005 is not a multiple of the lot 0\.001"),
        (changed("qty", -1.0), DataQualityError, "qty, row 1: -1.0 is no quantity"),
        (changed("qty", float("nan")), DataQualityError, "qty, row 1: nan"),
        (changed("qty", 2.0**46 / 1000), DataFormatError, r"2\*\*46 lots"),
        (changed("side", 0), DataFormatError, "row 1: side 0"),
        (changed("seq", -1), DataFormatError, "seq -1"),
        (changed("ts_ns", -1, 2), DataFormatError, "row 2: ts_ns -1 is no time"),
        (changed("ts_ns", 1_700_000_000_000), DataFormatError, "no time in nanoseconds"),
        (changed("ts_local_ns", -1), DataQualityError, "recorded for other rows only"),
        (changed("ts_local_ns", 5), DataFormatError, "ts_local_ns 5"),
        (changed("price", "100.2"), DataFormatError, "price must be of type float"),
        (changed("is_snapshot", "yes"), DataFormatError, "is_snapshot must be of type bool"),
        (book(*START).astype({"ts_ns": float}), DataFormatError, "ts_ns must be of type int"),
        (book(*START).drop(columns="seq"), DataFormatError, "wrong: seq"),
        (book(*START)[:0], DataFormatError, "no rows"),
        (book(*START).assign(ts_ns=-1), DataFormatError, "no diff to date it by"),
        ([1, 2], DataFormatError, "DataFrame"),
        (None, DataFormatError, "trades alone"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(frame, error, words):
    with pytest.raises(error, match=words):
        EventTape.from_book(frame, trades((3, 100.0, 1.0, 1)), INSTRUMENT, source="x")


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ((3, 100.05, 1.0, 1), DataFormatError, "trades, price, row 0"),
        ((3, 100.0, 0.0001, 1), DataFormatError, "trades, qty, row 0"),
        ((3, 100.0, 0.0, 1), DataQualityError, "a trade of nothing"),
        ((3, 100.0, 1.0, 2), DataFormatError, "side 2"),
    ],
)
def test_a_trade_that_cannot_be_is_refused(row, error, words):
    with pytest.raises(error, match=words):
        EventTape.from_book(book(*START), trades(row), INSTRUMENT)


@pytest.mark.parametrize("options", [{"clock_offset_ns": 1.5}, {"clock_offset_ns": True}, {"tie_order": "any"}])
def test_an_option_that_is_none_is_refused(options):
    with pytest.raises(ConfigError):
        EventTape.from_book(book(*START), None, INSTRUMENT, **options)


def test_a_few_levels_may_hold_odd_lots_and_never_less_than_there_is():
    """Orders from before the venue made its lot coarser (Binance spot, 2021)."""
    many = [(i, BID, 99.9, 1.0, 11 + i) for i in range(2000)]
    frame = book(*START, *many, (2000, BID, 90.0, 0.00001, 3000), (2001, ASK, 120.0, 5.12345, 3001))
    tape = EventTape.from_book(frame, None, INSTRUMENT)
    assert tape.qty_lots.tolist()[-2:] == [1, 5124]
    assert tape.meta["off_lot_rounded_up"] == 2


def test_decimals_of_every_size_are_exact():
    coinbase = Instrument("BTC/USD", 0.01, 1e-8)
    rng = np.random.default_rng(1)
    ticks = np.unique(np.r_[1, 999_999_999_900, rng.integers(1, 2**40, 300), rng.integers(1, 10**7, 300)])
    lots = np.r_[0, 2**46 - 1, rng.integers(0, 2**46, len(ticks) - 2)]
    price, qty = (
        [float(f"{t / 100:.2f}") for t in ticks],
        [float(f"{q // 10**8}.{q % 10**8:08d}") for q in lots.tolist()],
    )
    frame = book(*[(1, ASK, p, q, 11) for p, q in zip(price, qty, strict=True)])
    tape = EventTape.from_book(frame, None, coinbase)
    np.testing.assert_array_equal(tape.price_ticks, ticks)
    np.testing.assert_array_equal(tape.qty_lots, lots)


LEVEL = st.tuples(st.sampled_from([BID, ASK]), st.integers(0, 9), st.integers(0, 3))


@given(
    diffs=st.lists(st.lists(LEVEL, min_size=1, max_size=4), min_size=1, max_size=12),
    snapshot=st.lists(LEVEL, min_size=1, max_size=8),
    taken=st.integers(0, 12),
    stands=st.integers(0, 12),
)
def test_the_tape_says_what_the_frame_says(diffs, snapshot, taken, stands):
    """Wherever the snapshot stands and whatever it contains: the same book after every message."""

    def rows(levels, seq, ms, fields):
        return [(ms, s, 100.0 - s * (level + 1) / 10, qty / 1000, seq, fields) for s, level, qty in levels]

    messages = [rows(levels, 10 + i, i, {"prev_seq": 9 + i}) for i, levels in enumerate(diffs)]
    messages.insert(min(stands, len(messages)), rows(snapshot, 9 + min(taken, len(diffs)), 0, SNAP))
    frame = book(*[row for message in messages for row in message])
    imported = import_book(frame, None, INSTRUMENT)
    tape = imported.tape
    seen = [
        (int(imported.seq[row]), *top)
        for row, *top in replay_tape(tape.price_ticks.tolist(), tape.qty_lots.tolist(), tape.kind.tolist())
    ]
    columns = ("seq", "is_snapshot", "side", "price", "qty")
    raw = list(replay_diffs(zip(*(frame[name].tolist() for name in columns), strict=True)))
    expected = [
        (seq, *(None if x is None else round(x / unit) for x, unit in zip(top, (0.1, 0.001, 0.1, 0.001), strict=True)))
        for seq, *top in raw
    ]
    assert seen == expected
    assert all(a <= b for a, b in pairwise(tape.ts_ns.tolist()))
    assert tape.meta["gaps"] == 0


BINANCE = [f"{venue}_{s}_2024-08-08T2354" for venue in ("binance", "binanceusdm") for s in ("BTCUSDT", "ETHUSDT")]
COINBASE = ["coinbase_BTCUSD_2018-04-17T0055", "coinbase_BTCUSD_2018-04-24T0352"]
HYPERLIQUID = [f"hyperliquid_{s}_2025-09-04T1946" for s in ("BTC", "ETH", "SOL", "WLFI")]
BITMEX, BITSTAMP = "bitmex_XBTUSD_2020-03-10T1825", "bitstamp_BTCUSD_2015-05-01T0000"
# Recordings whose ties say: book first (`marketmakerl.data.tie_order`). Of the rest some have none.
TIES = {*BINANCE, COINBASE[0], *HYPERLIQUID}


def recorded(shared_data, name):
    """Return (book, trades or None, bbo or None, instrument) of a recording."""
    exchange, symbol, day = name.split("_")

    def read(folder):
        found = sorted((shared_data / folder).glob(f"{name}_*.parquet"))
        return pd.read_parquet(found[0]) if found else None

    return read("book"), read("trades"), read("bbo"), lookup(exchange, symbol, at=day[:10])


@pytest.mark.parametrize("name", [*BINANCE, *COINBASE, *HYPERLIQUID, BITMEX, BITSTAMP])
def test_a_recorded_book_replays_as_recorded(shared_data, name):
    frame, sold, quotes, instrument = recorded(shared_data, name)
    imported = import_book(frame, sold, instrument, bbo_df=quotes, source=name)
    tape = imported.tape
    assert (np.diff(tape.ts_ns) >= 0).all()
    assert (np.diff(tape.local_ts_ns) >= 0).all()
    assert tape.meta["gaps"] == 0
    tied, shown = (tape.meta.get(name, 0) for name in ("tied_trades", "tied_trades_shown"))
    assert trades_go_first(shown, tied) == (name not in TIES)
    if name in TIES and tied > 100:  # nearly all of them are ordered as all of them together would say
        assert tape.meta["tied_trades_first"] < 0.2 * tied
    tops = {
        int(imported.seq[row]): top
        for row, *top in replay_tape(tape.price_ticks.tolist(), tape.qty_lots.tolist(), tape.kind.tolist())
    }
    assert all(bid < ask for bid, _, ask, _ in tops.values())
    raw = zip(*(frame[c].tolist() for c in ("seq", "is_snapshot", "side", "price", "qty")), strict=True)
    replayed = replay_snapshots(raw) if frame["is_snapshot"].all() else replay_diffs(raw)
    units = np.array([instrument.tick_size, instrument.lot_size] * 2)
    numbers, *expected = zip(*replayed, strict=True)
    assert tops == dict(zip(numbers, np.rint(np.column_stack(expected) / units).tolist(), strict=True))
    trade_rows = np.isin(tape.kind & ~MORE, [Kind.TRADE, Kind.TRADE_BUY, Kind.TRADE_SELL])
    assert trade_rows.sum() == (0 if sold is None else len(sold))


@pytest.mark.parametrize("name", [*BINANCE, *COINBASE])
def test_the_best_prices_and_sizes_are_those_of_the_independent_quotes(shared_data, name):
    """Binance sends its best quotes in a stream of their own, numbered as the book's updates are."""
    frame, sold, quotes, instrument = recorded(shared_data, name)
    imported = import_book(frame, sold, instrument, source=name)
    tape = imported.tape
    said = np.column_stack(
        [
            np.rint(quotes[column] / unit).astype(np.int64)
            for side in ("bid", "ask")
            for column, unit in ((f"{side}_px", instrument.tick_size), (f"{side}_qty", instrument.lot_size))
        ]
    ).tolist()
    said = dict(zip(quotes["seq"].tolist(), said, strict=True))
    same = [
        said[seq] == top
        for row, *top in replay_tape(tape.price_ticks.tolist(), tape.qty_lots.tolist(), tape.kind.tolist())
        if (seq := int(imported.seq[row])) in said
    ]
    assert len(same) > 500
    assert np.mean(same) >= 0.9997


@pytest.mark.parametrize("name", BINANCE)
def test_the_recorders_clock_is_set_right(shared_data, name):
    frame, sold, quotes, instrument = recorded(shared_data, name)
    for options in ({"book_df": frame}, {"book_df": None, "bbo_df": quotes}):
        tape = EventTape.from_book(trades_df=sold, instrument=instrument, source=name, **options)
        assert 1_272_000_000 < tape.meta["clock_offset_ns"] < 1_278_000_000
        delay = tape.local_ts_ns - tape.ts_ns
        diffs = np.isin(tape.kind & ~MORE, [Kind.DEPTH_BID, Kind.DEPTH_ASK, Kind.BBO_BID, Kind.TRADE_BUY])
        assert (delay[diffs] > 0).mean() > 0.98
        assert 1_000_000 < np.median(delay) < 10_000_000
