"""Tardis' CSV files become tapes that say the same; every line is read, ignored or refused, and never guessed."""

import gzip
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmakerl import EventTape, Instrument
from marketmakerl.core.errors import ConfigError, DataError, DataFormatError, DataNotFoundError, DataQualityError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.book_import import import_book
from marketmakerl.data.importers import detect
from marketmakerl.data.tape import COLUMNS, MORE, Kind
from marketmakerl.data.tardis_csv import read_tardis
from searches import many

INSTRUMENT = Instrument("BTC/USDT:USDT", 0.1, 0.001, "linear")
US0 = 1_700_000_000_000_000
BOOK_HEADER = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
TRADE_HEADER = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
QUOTE_HEADER = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount"


def level(us, snapshot, side, price, amount, *, delay=500, symbol="BTCUSDT"):
    flag = "true" if snapshot else "false"
    return f"binance-futures,{symbol},{US0 + us},{US0 + us + delay},{flag},{side},{price},{amount}"


def trade(us, side, price, amount, name, *, delay=400):
    return f"binance-futures,BTCUSDT,{US0 + us},{US0 + us + delay},{name},{side},{price},{amount}"


BOOK = [
    level(-5, False, "bid", 99.8, 1),  # before the snapshot
    level(0, True, "bid", 100.0, 1.5),
    level(0, True, "bid", 99.9, 0),  # of nothing
    level(0, True, "ask", 100.2, 2),
    level(10, False, "bid", 99.9, 0.5),
    level(10, False, "ask", 100.2, 0),
    level(20, False, "ask", 100.3, 0.007),
    level(900, True, "bid", 101.0, 1),  # a reconnect
    level(900, True, "ask", 101.1, 1),
    level(910, False, "ask", 101.2, "1e-3"),
]
TRADES = [trade(5, "buy", 100.2, 0.25, "a"), trade(15, "sell", 100.0, 1, "b"), trade(16, "unknown", 100.1, 1, "")]


def put(path, header, lines, *, end="\n"):
    text = ("\n".join([header, *lines]) + end).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.fixture
def book(tmp_path):
    return put(tmp_path / "book.csv.gz", BOOK_HEADER, BOOK)


def rows_of(tape):
    return [
        (ts, local, Kind(kind & ~MORE).name, bool(kind & MORE), price, qty)
        for ts, local, kind, price, qty in zip(
            ((tape.ts_ns - US0 * 1000) // 1000).tolist(),
            ((tape.local_ts_ns - US0 * 1000) // 1000).tolist(),
            *(getattr(tape, name).tolist() for name in ("kind", "price_ticks", "qty_lots")),
            strict=True,
        )
    ]


def accounted(report):
    return report.rows + report.refused + sum(report.ignored.values()) == report.lines


def test_every_line_by_hand(tmp_path, book):
    trades = put(tmp_path / "trades.csv", TRADE_HEADER, TRADES)
    tape, report = read_tardis([trades, book], INSTRUMENT, tie_order="trades")
    assert rows_of(tape) == [
        (0, 500, "SNAPSHOT", True, 0, 0),
        (0, 500, "DEPTH_BID", True, 1000, 1500),
        (0, 500, "DEPTH_ASK", False, 1002, 2000),
        (5, 500, "TRADE_BUY", False, 1002, 250),
        (10, 510, "DEPTH_BID", True, 999, 500),
        (10, 510, "DEPTH_ASK", False, 1002, 0),
        (15, 510, "TRADE_SELL", False, 1000, 1000),
        (16, 510, "TRADE", False, 1001, 1000),
        (20, 520, "DEPTH_ASK", False, 1003, 7),
        (900, 1400, "GAP", False, 0, 0),
        (900, 1400, "SNAPSHOT", True, 0, 0),
        (900, 1400, "DEPTH_BID", True, 1010, 1000),
        (900, 1400, "DEPTH_ASK", False, 1011, 1000),
        (910, 1410, "DEPTH_ASK", False, 1012, 1),
    ]
    assert (tape.tier, tape.meta["gaps"], tape.meta["dropped_in_gaps"]) == ("T1", 1, 0)
    assert report.format == "tardis-incremental_book_L2+trades"
    assert (report.lines, report.rows) == (15, 11)
    assert report.ignored == Counter({"header": 2, "empty level of a snapshot": 1})
    assert report.as_dict()["refused"] == {"before-snapshot": 1}
    assert next(e for e in report.examples if e.what == "refused").line == 2
    assert {detect(path) for path in (book, trades)} == {"tardis"}


def test_quotes_make_a_tape_and_are_set_aside_beside_a_book(tmp_path, book):
    line = f"x,BTCUSDT,{US0 + 3},{US0 + 9},2,100.2,100.1,0.5"
    quotes = put(tmp_path / "quotes.csv", QUOTE_HEADER, [line, line.replace(",100.1,", ",,")])
    tape, report = read_tardis(quotes, INSTRUMENT)
    assert rows_of(tape) == [(3, 9, "BBO_BID", True, 1001, 500), (3, 9, "BBO_ASK", False, 1002, 2000)]
    assert report.as_dict()["refused"] == {"bad-field": 1}
    assert accounted(report)
    tape, report = read_tardis([quotes, book], INSTRUMENT)
    assert not (tape.kind & ~MORE == Kind.BBO_BID).any()
    assert report.ignored["quotes beside a book"] == 1
    assert accounted(report)


def test_trades_alone_make_a_tape_that_repeats_nothing(tmp_path):
    lines = [*TRADES, TRADES[0], TRADES[2], trade(2, "buy", 100.4, 1, "d")]
    tape, report = read_tardis(put(tmp_path / "t.csv", TRADE_HEADER, lines), INSTRUMENT)
    assert [(row[0], row[4]) for row in rows_of(tape)] == [(2, 1004), (5, 1002), (15, 1000), (16, 1001), (16, 1001)]
    assert report.as_dict()["refused"] == {"duplicate": 1}
    assert [(e.line, e.code) for e in report.examples if e.what == "refused"] == [(5, "duplicate")]
    assert accounted(report)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (level(30, False, "bid", "abc", 1), "bad-field"),
        (level(30, False, "bid", "nan", 1), "bad-field"),
        (level(30, False, "bid", "", 1), "bad-field"),
        (level(30, False, "bid", 100.05, 1), "off-tick"),
        (level(30, False, "bid", -100, 1), "bad-price"),
        (level(30, False, "bid", "9" * 400, 1), "bad-price"),
        (level(30, False, "bid", 1e12, 1), "bad-price"),
        (level(30, False, "bid", 100, -1), "bad-quantity"),
        (level(30, False, "bid", 100, 1e12), "bad-quantity"),
        (level(30, False, "left", 100, 1), "bad-side"),
        (level(30, False, "bid", 100, 1).replace("false", "maybe"), "bad-field"),
        (level(30, False, "bid", 100, 1)[:30], "torn-line"),
        (level(30, False, "bid", 100, 1) + ",1", "torn-line"),
        (level(30, False, "bid", 100, 1).replace(str(US0 + 30), "1700000000000"), "bad-time"),
        (level(30, False, "bid", 100, 1).replace(str(US0 + 30), "9" * 18), "bad-time"),
        (level(30, False, "bid", 100, 1).replace(str(US0 + 30), "1.7e15"), "bad-field"),
        ("", "torn-line"),
        ("\0\xff", "torn-line"),
        (level(30, False, "bid", 100, 1) + "\r" + level(31, False, "bid", 100, 2), "torn-line"),
        (level(30, False, "bid", 100, 1).replace(",bid,", ",bid,\r"), "torn-line"),
    ],
)
def test_a_row_that_cannot_be_breaks_the_book_until_the_next_snapshot(tmp_path, line, code):
    lines = [*BOOK[:6], line, *BOOK[6:]]
    tape, report = read_tardis(put(tmp_path / "b.csv", BOOK_HEADER, lines), INSTRUMENT)
    refused = [e for e in report.examples if e.what == "refused" and e.code not in {"in-gap", "before-snapshot"}]
    assert [(e.line, e.code) for e in refused] == [(8, code)]
    names = [row[2] for row in rows_of(tape)]
    assert names.count("GAP") == 1  # this one, and the reconnect ends it
    assert "DEPTH_ASK" not in names[names.index("GAP") : names.index("SNAPSHOT", 3)]
    assert [row[4] for row in rows_of(tape)][-3:] == [1010, 1011, 1012]
    assert accounted(report)


def test_odd_lots_of_a_book_are_rounded_up_and_too_many_are_another_instrument(tmp_path):
    """Whether a row is rounded up must not hang on how many odd ones come after it."""
    lines = [*BOOK[1:7], level(30, False, "bid", 100, 0.0005)]
    tape, report = read_tardis(put(tmp_path / "b.csv", BOOK_HEADER, lines), INSTRUMENT)
    assert rows_of(tape)[-1] == (30, 530, "DEPTH_BID", False, 1000, 1)
    assert [(e.what, e.line, e.code) for e in report.examples] == [("repaired", 8, "off-lot")]
    assert tape.meta["off_lot_rounded_up"] == 1
    assert accounted(report)
    with pytest.raises(DataFormatError, match=r"line 8: amount 0\.0005 .*\(2 such rows of 8"):
        read_tardis(put(tmp_path / "c.csv", BOOK_HEADER, [*lines, level(40, False, "bid", 100, 1.0005)]), INSTRUMENT)


def test_a_last_line_without_an_end_is_not_believed(tmp_path):
    lines = [*BOOK[1:], level(920, False, "bid", 100.0, 1)]
    tape, report = read_tardis(put(tmp_path / "b.csv", BOOK_HEADER, lines, end=""), INSTRUMENT)
    assert [(e.line, e.code) for e in report.examples if e.what == "refused"] == [(11, "torn")]
    assert rows_of(tape)[-1][2] == "GAP"


def test_a_snapshot_with_a_bad_row_is_none(tmp_path):
    bad = [BOOK[1].replace("100.0", "x"), *BOOK[2:]]
    tape, report = read_tardis(put(tmp_path / "b.csv", BOOK_HEADER, bad), INSTRUMENT)
    assert [row[4] for row in rows_of(tape) if row[4]] == [1010, 1011, 1012]
    assert accounted(report)
    with pytest.raises(DataQualityError, match="every snapshot"):
        read_tardis(put(tmp_path / "c.csv", BOOK_HEADER, bad[:6]), INSTRUMENT)


def test_a_snapshot_may_come_in_several_messages_and_start_again(tmp_path):
    lines = [
        level(0, True, "bid", 100.0, 1),
        level(1, True, "ask", 100.2, 1),
        level(5, True, "bid", 100.0, 2),
        level(5, True, "ask", 100.3, 2),
    ]
    tape, _ = read_tardis(put(tmp_path / "b.csv", BOOK_HEADER, lines), INSTRUMENT)
    assert [row[:4] + row[4:5] for row in rows_of(tape)] == [
        (1, 501, "SNAPSHOT", True, 0),
        (1, 501, "DEPTH_BID", True, 1000),
        (1, 501, "DEPTH_ASK", False, 1002),
        (5, 505, "GAP", False, 0),
        (5, 505, "SNAPSHOT", True, 0),
        (5, 505, "DEPTH_BID", True, 1000),
        (5, 505, "DEPTH_ASK", False, 1003),
    ]


def test_one_symbol_of_several(tmp_path):
    lines = [BOOK[1], level(0, True, "ask", 5.55555, 3, symbol="ETHUSDT"), BOOK[3]]
    path = put(tmp_path / "b.csv", BOOK_HEADER, lines)
    with pytest.raises(ConfigError, match="BTCUSDT, ETHUSDT"):
        read_tardis(path, INSTRUMENT)
    with pytest.raises(ConfigError, match="no symbol SOLUSDT"):
        read_tardis(path, INSTRUMENT, symbol="SOLUSDT")
    tape, report = read_tardis(path, INSTRUMENT, symbol="BTCUSDT")
    assert len(tape) == 3
    assert report.ignored["symbol ETHUSDT"] == 1
    assert accounted(report)


def test_days_are_put_in_order_without_a_gap_between_them(tmp_path):
    first, second = BOOK[1:7], BOOK[7:]
    paths = [put(tmp_path / "2.csv", BOOK_HEADER, second), put(tmp_path / "1.csv.gz", BOOK_HEADER, first)]
    tape, report = read_tardis(paths, INSTRUMENT)
    assert tape.meta["gaps"] == 0
    assert tape.meta["snapshots"] == 2
    assert accounted(report)


def test_files_that_are_none_are_refused_whole(tmp_path):
    good = gzip.compress(("\n".join([BOOK_HEADER, *BOOK * 50]) + "\n").encode())
    for content, error, words in [
        (b"", DataFormatError, "empty"),
        (b"time,price\n1,2\n", DataFormatError, "header"),
        (BOOK_HEADER.encode() + b"\n", DataFormatError, "no rows"),
        (BOOK_HEADER.encode() + b",price\n", DataFormatError, "header"),
        (good[:-9], DataFormatError, "cut short"),
        (good[:60], DataFormatError, "x"),
        (good[:80] + b"\0" * 9 + good[89:], DataFormatError, "x"),
        (b"PK\x03\x04rubbish", DataFormatError, "damaged"),
        ((BOOK_HEADER + "\n" + "1" * 3_000_000).encode(), DataFormatError, "x"),
        (
            ("\n".join([BOOK_HEADER, *[BOOK[1].replace("100.0", "100.05")] * 40, *BOOK, ""])).encode(),
            DataQualityError,
            "40",
        ),
    ]:
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(error, match=words):
            read_tardis(tmp_path / "x", INSTRUMENT)
    with pytest.raises(DataNotFoundError):
        read_tardis(tmp_path / "none", INSTRUMENT)
    with pytest.raises(ConfigError):
        read_tardis([], INSTRUMENT)
    (tmp_path / "x").write_bytes(gzip.compress(BOOK_HEADER.encode() + b"\n" * 100_000_000))
    with pytest.raises(DataFormatError):
        read_tardis(tmp_path / "x", INSTRUMENT)


TEXT = ("\n".join([BOOK_HEADER, *BOOK]) + "\n").encode()


def expected_tape(path):
    """Return what the lines say, by a slow and obvious reading; None where a line cannot be read."""
    out, in_gap, before, seen = [], False, "", False
    for line in path.read_text().splitlines()[1:]:
        _, _, ts, local, flag, side, price, amount = line.split(",")
        key = (ts, local) if flag == "false" else "snapshot"
        if flag == "true" and before != "snapshot":
            out += [("GAP",)] if seen and not in_gap else []
            out.append(("SNAPSHOT",))
            in_gap, seen = False, True
        if seen and not in_gap and (float(amount) or flag == "false"):
            out.append((side, round(float(price) * 10), round(float(amount) * 1000)))
        before = key
    return out


@settings(max_examples=many(40, 150))
@given(data=st.data())
def test_a_mutilated_file_gives_an_error_or_a_tape_with_every_line_accounted(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("t") / "b.csv"
    lines = TEXT.splitlines(keepends=True)
    how = data.draw(st.sampled_from(["cut", "swap", "again", "drop", "bytes", "field"]))
    i, j = data.draw(st.integers(1, len(lines) - 1)), data.draw(st.integers(1, len(lines) - 1))
    if how == "cut":
        lines = [TEXT[: data.draw(st.integers(0, len(TEXT)))]]
    elif how == "swap":
        lines[i], lines[j] = lines[j], lines[i]
    elif how == "again":
        lines.insert(i, lines[j])
    elif how == "drop":
        del lines[i]
    elif how == "bytes":
        at = data.draw(st.integers(0, len(TEXT) - 1))
        lines = [TEXT[:at] + data.draw(st.binary(max_size=5)) + TEXT[at + data.draw(st.integers(0, 3)) :]]
    else:
        fields = lines[i].rstrip(b"\n").split(b",")
        fields[data.draw(st.integers(0, 7))] = data.draw(
            st.sampled_from(
                [b"", b"nan", b"-1", b"inf", b"1e999", b"true", b"7" * 300, b"\xff\0", b"0x10", b'"', b"1.5"]
            )
        )
        lines[i] = b",".join(fields) + b"\n"
    path.write_bytes(b"".join(lines))
    try:
        tape, report = read_tardis(path, INSTRUMENT)
    except (DataError, ConfigError):
        return
    assert accounted(report), report.as_dict()
    assert report.lines == b"".join(lines).count(b"\n") + (not path.read_bytes().endswith(b"\n"))
    assert (np.diff(tape.ts_ns) >= 0).all()
    assert (np.diff(tape.local_ts_ns) >= 0).all()
    if how in {"again", "drop"}:
        names = {"bid": "DEPTH_BID", "ask": "DEPTH_ASK"}
        said = [
            (name,) if name in {"GAP", "SNAPSHOT"} else (name, price, qty)
            for _, _, name, _, price, qty in rows_of(tape)
        ]
        assert said == [(names.get(row[0], row[0]), *row[1:]) for row in expected_tape(path)]


def as_tardis(shared_data, folder, name):
    """Write a recording as Tardis would have; return the paths, its frames and its instrument."""
    exchange, symbol, day = name.split("_")
    instrument = lookup(exchange, symbol, at=day[:10])
    book = pd.read_parquet(next((shared_data / "book").glob(f"{name}_*.parquet")))
    trades = pd.read_parquet(shared_data / "trades" / f"{name}_trades.parquet")
    for frame in (book, trades):
        frame["ts_ns"] = frame["ts_ns"] // 1000 * 1000
        frame["ts_local_ns"] = frame["ts_local_ns"] // 1000 * 1000
    book = book.sort_values(["seq", "is_snapshot"], kind="stable", ignore_index=True)  # Tardis puts a snapshot first
    begun = book["is_snapshot"].cumsum() > 0
    book = book[begun].head(100_000).reset_index(drop=True)
    book["ts_ns"] = book["ts_ns"].where(book["ts_ns"] > 0).bfill().astype("int64")
    paths = []
    for frame, header, kind in ((book, BOOK_HEADER, "book"), (trades, TRADE_HEADER, "trades")):
        out = pd.DataFrame({"exchange": exchange, "symbol": symbol, "timestamp": frame["ts_ns"] // 1000,
                            "local_timestamp": frame["ts_local_ns"] // 1000})  # fmt: skip
        if kind == "book":
            out["is_snapshot"] = frame["is_snapshot"].map({True: "true", False: "false"})
            out["side"] = frame["side"].map({1: "bid", -1: "ask"})
        else:
            out["id"] = frame["trade_id"]
            out["side"] = frame["side"].map({1: "buy", -1: "sell", 0: "unknown"})
        out["price"], out["amount"] = frame["price"], frame["qty"]
        assert list(out) == header.split(",")
        paths.append(folder / f"{kind}.csv.gz")
        out.to_csv(paths[-1], index=False, compression={"method": "gzip", "compresslevel": 1})
    return paths, book, trades, instrument


def test_a_recording_written_as_tardis_does_gives_the_same_tape(shared_data, tmp_path):
    paths, book, trades, instrument = as_tardis(shared_data, tmp_path, "binanceusdm_BTCUSDT_2024-08-08T2354")
    tape, report = read_tardis(paths, instrument)
    expected = import_book(book, trades, instrument).tape
    assert accounted(report)
    assert (report.refused, report.lines) == (0, len(book) + len(trades) + 2)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(tape, name), getattr(expected, name), err_msg=name)
    assert isinstance(tape, EventTape)


def test_a_coarser_instrument_is_refused_with_the_line(book):
    with pytest.raises(DataError, match="line 2"):
        read_tardis(book, replace(INSTRUMENT, tick_size=30.0))
