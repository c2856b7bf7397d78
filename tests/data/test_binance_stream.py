"""Raw Binance captures become tapes that say what the exchange said, and reports that account for every line."""

import gzip
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import captures
from captures import capture, diff, line_of, local_at, put, snapshot, ticker, trade
from marketmakerl import Instrument
from marketmakerl.core.errors import ConfigError, DataError, DataFormatError, DataNotFoundError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.binance_payload import Payloads
from marketmakerl.data.binance_stream import _Reader, import_binance_stream
from marketmakerl.data.book_import import import_book
from marketmakerl.data.capture_lines import Grid, read_lines
from marketmakerl.data.captured_messages import Messages
from marketmakerl.data.import_report import ImportReport
from marketmakerl.data.tape import COLUMNS, MORE, Kind
from oracles import capture as oracle
from oracles.book import Book
from searches import many

SHARED = Path(__file__).parents[3] / "shared" / "data"
RAW = SHARED / "fixtures" / "raw_streams"
needs_recordings = pytest.mark.skipif(not RAW.exists(), reason="no ../shared/data/fixtures/raw_streams here")
INSTRUMENT = Instrument("BTC/USDT:USDT", 0.1, 0.001, "linear")
TICK, LOT = "0.1", "0.001"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Let the importer's warnings not fill the output of thousands of examples."""
    monkeypatch.setattr("marketmakerl.data.book_import.log.warning", lambda *_, **__: None)
    monkeypatch.setattr("marketmakerl.data.clock_offset.log.warning", lambda *_, **__: None)


def tape_books(tape):
    """Yield the book after every message of a tape that touches it; None for a gap."""
    book, touched = {}, False
    for price, qty, flagged in zip(tape.price_ticks.tolist(), tape.qty_lots.tolist(), tape.kind.tolist(), strict=True):
        kind = flagged & ~MORE
        if kind == Kind.GAP:
            book = {}
            yield None
        elif kind == Kind.SNAPSHOT:
            book, touched = {}, True
        elif kind in {Kind.DEPTH_BID, Kind.DEPTH_ASK}:
            touched = True
            side = 1 if kind == Kind.DEPTH_BID else -1
            book.pop((side, price), None)
            if qty:
                book[side, price] = qty
        if touched and not flagged & MORE:
            touched = False
            yield dict(book)


def trades_of(tape):
    of = np.isin(tape.kind, [Kind.TRADE_BUY, Kind.TRADE_SELL])
    side = np.where(tape.kind[of] == Kind.TRADE_BUY, 1, -1)
    return list(zip(tape.ts_ns[of].tolist(), side.tolist(), tape.price_ticks[of].tolist(), tape.qty_lots[of].tolist(),
                    strict=True))  # fmt: skip


def check_against_oracle(lines, tape, report):
    """Compare everything that a tape and a report say with the slow reading of the same lines."""
    messages, refused, ignored = oracle.read(lines, "BTCUSDT", TICK, LOT)
    expected = oracle.books(messages)
    book = any(m[0] in {"depthUpdate", "snapshot"} for m in messages)
    single = any(m[0] == "trade" for m in messages)
    traded = [m for m in messages if m[0] == ("trade" if single else "aggTrade")]
    traded.sort(key=lambda m: m[3])
    traded.sort(key=lambda m: m[1])
    assert trades_of(tape) == [(m[1], *m[6][0]) for m in traded]
    if book:
        # A diff without levels changes nothing and leaves no row.
        assert without_repeats(tape_books(tape)) == without_repeats(expected)
    assert report.lines == len(lines)
    assert report.lines == tape.meta["lines_used"] + sum(report.ignored.values()) + report.refused
    assert report.refused - sum(report.counts["refused", code] for code in ("in-gap", "sequence-gap")) == refused
    kind = tape.kind & ~MORE
    assert report.rows == int(((kind != Kind.GAP) & (kind != Kind.SNAPSHOT)).sum())
    assert (np.diff(tape.ts_ns) >= 0).all()
    assert (np.diff(tape.local_ts_ns) >= 0).all()
    assert ignored <= sum(report.ignored.values())


def without_repeats(books):
    kept = []
    for book in books:
        if not kept or kept[-1] != book:
            kept.append(book)
    return kept


# --- recorded truth ---------------------------------------------------------------------------------------------------


def recorded(exchange, raw):
    instrument = lookup(exchange, "BTC/USDT", at="2024-08-08")
    tape, report = import_binance_stream(RAW / raw, instrument)
    frames = [
        pd.read_parquet(SHARED / kind / f"{exchange}_BTCUSDT_2024-08-08T2354_{name}.parquet")
        for kind, name in (("book", "l2"), ("trades", "trades"), ("bbo", "bbo"))
    ]
    return instrument, tape, report, *frames


@needs_recordings
def test_the_usdm_capture_and_the_tidy_files_make_the_same_tape():
    instrument, tape, report, book, trades, bbo = recorded("binanceusdm", "hftbacktest_usdm_btcusdt_20240808.gz")
    tidy = import_book(book, trades, instrument).tape
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(tape, name), getattr(tidy, name))
    assert (report.lines, report.rows, report.refused, report.repaired) == (93954, 466575, 0, 0)
    assert report.ignored["best prices: the book says more"] == len(bbo)
    assert report.lines == tape.meta["lines_used"] + sum(report.ignored.values())


@needs_recordings
@pytest.mark.parametrize(
    ("exchange", "raw", "scale"),
    [
        ("binanceusdm", "hftbacktest_usdm_btcusdt_20240808.gz", (10, 1000)),
        ("binance", "hftbacktest_spot_btcusdt_20240808.gz", (100, 100_000)),
    ],
)
def test_the_whole_book_and_the_trades_are_those_of_the_tidy_files(exchange, raw, scale):
    _, tape, report, book, trades, bbo = recorded(exchange, raw)
    assert report.refused == 0
    frame = book.sort_values(["seq", "is_snapshot"], kind="stable")
    taken = int(frame.seq[frame.is_snapshot].iloc[0])
    frame = frame[frame.is_snapshot | (frame.seq > taken)]
    ticks = np.rint(frame.price * scale[0]).astype(np.int64).tolist()
    lots = np.ceil(np.round(frame.qty * scale[1], 6)).astype(np.int64).tolist()
    updates = {}
    for seq, side, tick, lot in zip(frame.seq.tolist(), frame.side.tolist(), ticks, lots, strict=True):
        updates.setdefault(seq, []).append((side, tick, lot))
    ours = tape_books_in_place(tape)
    theirs = Book()
    quotes = bbo.drop_duplicates("seq", keep="last").set_index("seq")
    compared = agreed = 0
    for number, (seq, rows) in enumerate(updates.items()):
        for row in rows:
            theirs.set(*row)
        mine = next(ours, None)
        if mine is None:
            break  # the spot capture holds the first half of the tidy file
        if number % 100 == 0:
            assert mine == {(side, tick): lot for side in (1, -1) for tick, lot in theirs.levels[side].items()}
        if seq in quotes.index:
            best = quotes.loc[seq]
            compared += 1
            agreed += theirs.top()[::2] == (round(best.bid_px * scale[0]), round(best.ask_px * scale[0]))
    assert number >= 3449
    assert agreed >= 0.999 * compared > 500
    traded = [np.rint(column).astype(int).tolist() for column in (trades.price * scale[0], trades.qty * scale[1])]
    expected = list(zip(trades.ts_ns.tolist(), trades.side.tolist(), *traded, strict=True))
    assert trades_of(tape) == expected[: tape.meta["trades"]]


def tape_books_in_place(tape):
    """Yield one dictionary, changed after every message of the book."""
    book, touched = {}, False
    for price, qty, flagged in zip(tape.price_ticks.tolist(), tape.qty_lots.tolist(), tape.kind.tolist(), strict=True):
        kind = flagged & ~MORE
        if kind in {Kind.SNAPSHOT, Kind.DEPTH_BID, Kind.DEPTH_ASK}:
            touched = True
            if kind != Kind.SNAPSHOT:
                side = 1 if kind == Kind.DEPTH_BID else -1
                book.pop((side, price), None)
                if qty:
                    book[side, price] = qty
        if touched and not flagged & MORE:
            touched = False
            yield book


@needs_recordings
def test_both_readers_read_the_recorded_lines_alike():
    with gzip.open(RAW / "hftbacktest_spot_btcusdt_20240808.gz") as file:
        lines = file.read().splitlines()[:12_000]
    assert_both_alike(lines, lookup("binance", "BTC/USDT", at="2024-08-08"), least_fast=11_990)


def both(lines, instrument):
    """Return what the compiled reader reads, and what the slow one makes of the same lines."""
    report = ImportReport("x", "binance-stream")
    fast = _Reader("BTCUSDT", Grid.of(instrument), report)
    fast._payloads.read = lambda *_: None
    fast.read(b"\n".join(lines) + b"\n")
    slow = Payloads("BTCUSDT", Grid.of(instrument))
    found = read_lines(enumerate(lines, 1), slow.read, slow.grid, ImportReport("x", "binance-stream")).messages()
    return Messages.joined(fast.parts), found


def rows_by_line(messages):
    rows = {}
    for line, *fields, start, size in messages.table.tolist():
        levels = [
            tuple(column[start : start + size].tolist()) for column in (messages.bid, messages.price, messages.qty)
        ]
        rows[line] = (fields, levels)
    return rows


def assert_both_alike(lines, instrument, *, least_fast):
    fast, slow = (rows_by_line(messages) for messages in both(lines, instrument))
    assert len(fast) >= least_fast
    assert {line: slow.get(line) for line in fast} == fast


def odd_lines():
    """Return lines that are nearly those that the exchange writes, and mean something else, or nothing."""
    plain = [START[0], START[1], trade(41, 7, "100.1", "0.25"), ticker(9, 6, ("99.8", "1"), ("100.0", "3"))]
    changes = [
        (b'"lastUpdateId"', b'" astUpdateId"'),
        (b'"lastUpdateId":503', b'"lastUpdateId":503,"lastUpdateId":504'),
        (b'"lastUpdateId":503', b'"xUpdateId":503'),
        (b'"asks"', b'"bids"'),
        (b'"bids"', b'"symbol":"ETHUSDT","bids"'),
        (b'"u":503', b'"u":503,"u":504'),
        (b'"t":7', b'"t":7,"p":"100.2"'),
        (b'"m":false', b'"m":false,"m":true'),
        (b'"m":false', b'"m":null'),
        (b'"m":false', b'"m":"false"'),
        (b'"e":', b'"E":'),
        (b'"e":"', b'"e":"x'),
        (b'"e":"bookTicker"', b'"e":5'),
        (b'"e":"bookTicker"', b'"e":null'),
        (b'"T":', b'"T":null,"x":'),
        (b'"T":', b'"T":"1","x":'),
        (b'"T":', b'"T":0'),
        (b'"s":"BTCUSDT"', b'"s":null'),
        (b'"s":"BTCUSDT"', b'"s":"ETHUSDT"'),
        (b'"s":"BTCUSDT"', b'"s":"BTCUSD"'),
        (b'"s":"BTCUSDT"', b'"s":"BTCUSDT","data":{}'),
        (b'"stream":', b'"streams":'),
        (b'"data":{', b'"data":{"stream":"a@depth5",'),
        (b'"pu":500', b'"pu":null'),
        (b'"U":501', b'"U":true'),
        (b'"U":501', b'"U":01'),
        (b'"p":"100.1"', b'"p":100.1'),
        (b'"p":"100.1"', b'"p":"0100.10"'),
        (b'"q":"0.25"', b'"q":"0.25","b":88,"a":99,"M":true'),
        (b":", b": "),
        (b"}", b"}}"),
        (b"}", b"} "),
        (b"@depth@", b"@depth20@"),
    ]
    return plain + [text.replace(*change, 1) for change in changes for text in plain if change[0] in text]


def test_both_readers_read_odd_lines_alike(tmp_path):
    lines = [part for text in odd_lines() for part in text.split(b"\n")]
    assert_both_alike(lines, INSTRUMENT, least_fast=10)
    used = [text for text in lines if b"ETHUSDT" not in text]
    tape, report = imported(tmp_path, used)
    check_against_oracle(used, tape, report)


# --- shapes -----------------------------------------------------------------------------------------------------------


def imported(tmp_path, lines, **options):
    return import_binance_stream(put(tmp_path / "capture.gz", lines), INSTRUMENT, **options)


START = [
    diff(0, 501, 503, 500, [["99.9", "1.000"]], []),
    snapshot(5, 503, [["99.90", "1.000"], ["99.8", "3"]], [["100.10", "2.000"]]),
]


def test_a_plain_capture_row_for_row(tmp_path):
    lines = [*START, diff(40, 504, 506, 503, [["99.9", "0.000"]], [["100.2", "0.5"]]), trade(41, 7, "100.1", "0.250")]
    tape, report = imported(tmp_path, lines)
    t0 = captures.T0_MS * 1_000_000
    ms = 1_000_000
    assert [
        (ts - t0, Kind(kind & ~MORE).name, bool(kind & MORE), price, qty)
        for ts, kind, price, qty in zip(
            tape.ts_ns.tolist(), tape.kind.tolist(), tape.price_ticks.tolist(), tape.qty_lots.tolist(), strict=True
        )
    ] == [
        (5 * ms, "SNAPSHOT", True, 0, 0),
        (5 * ms, "DEPTH_BID", True, 999, 1000),
        (5 * ms, "DEPTH_BID", True, 998, 3000),
        (5 * ms, "DEPTH_ASK", False, 1001, 2000),
        (40 * ms, "DEPTH_BID", True, 999, 0),
        (40 * ms, "DEPTH_ASK", False, 1002, 500),
        (41 * ms, "TRADE_BUY", False, 1001, 250),
    ]
    assert (tape.local_ts_ns - tape.ts_ns).tolist() == [7 * ms + 123] * 7
    assert (report.lines, report.rows, report.refused) == (4, 6, 0)
    assert report.ignored == {"before the first snapshot": 1}
    check_against_oracle(lines, tape, report)


@pytest.mark.parametrize("how", ["plain", "zip", "crlf", "no line end"])
def test_how_it_is_packed_makes_no_difference(tmp_path, how):
    lines = capture()
    expected, _ = imported(tmp_path, lines)
    text = (b"\r\n" if how == "crlf" else b"\n").join(lines) + (b"" if how == "no line end" else b"\n")
    path = tmp_path / "capture"
    if how == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("capture.txt", text)
    else:
        path.write_bytes(text)
    tape, report = import_binance_stream(path, INSTRUMENT)
    assert report.refused == 0
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(tape, name), getattr(expected, name))


def test_bare_messages_and_other_units_of_time_are_the_same_market(tmp_path):
    expected, _ = imported(tmp_path, capture())
    bare = []
    for text in capture():
        head, _, body = text.partition(b" ")
        inner = body[body.index(b'"data":') + 7 : -1] if b'"data"' in body else body
        bare.append(head + b" " + inner)
    tape, _ = imported(tmp_path, bare)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(tape, name), getattr(expected, name))
    tape, _ = imported(tmp_path, [re.sub(rb'("[ET]":)([0-9]{13})(?=[,}])', rb"\g<1>\g<2>000", text) for text in bare])
    np.testing.assert_array_equal(tape.ts_ns, expected.ts_ns)


def test_a_gap_is_located_and_ends_at_the_next_snapshot(tmp_path):
    lines = [
        *START,
        diff(40, 504, 506, 503, [], [["100.2", "1"]]),
        diff(80, 520, 522, 519, [["99.7", "1"]], []),
        diff(120, 523, 525, 522, [["99.7", "2"]], []),
        snapshot(130, 525, [["99.6", "1"]], [["100.3", "1"]]),
        diff(160, 526, 527, 525, [["99.5", "1"]], []),
    ]
    tape, report = imported(tmp_path, lines)
    check_against_oracle(lines, tape, report)
    assert tape.meta["gaps"] == 1
    assert {(e.code, e.line) for e in report.examples} == {("sequence-gap", 4), ("in-gap", 5)}


def test_several_symbols_in_one_capture(tmp_path):
    """USDM counts the updates of all symbols together, and the answer to a snapshot request names none of them."""
    other = [
        diff(1, 400, 600, 399, [["2500.0", "1"]], [["2501.0", "1"]], symbol="ETHUSDT"),
        snapshot(6, 504, [["2500.0", "1"]], [["2501.0", "1"]]),
        trade(7, 8, "2500.5", "1", symbol="ETHUSDT"),
        diff(9, 601, 700, 600, [["2500.11", "1"]], [], symbol="ETHUSDT"),
    ]
    ours = [*START, diff(40, 504, 506, 503, [], [["100.2", "1"]]), trade(41, 7, "100.1", "0.25")]
    expected, _ = imported(tmp_path, ours)
    tape, report = imported(tmp_path, [ours[0], other[0], ours[1], *other[1:], *ours[2:]])
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(tape, name), getattr(expected, name))
    assert report.ignored["another symbol"] == 3
    assert report.ignored["snapshot of another symbol"] == 1
    assert report.lines == tape.meta["lines_used"] + sum(report.ignored.values()) + report.refused


def test_a_snapshot_that_nothing_tells_apart_is_refused(tmp_path):
    other = diff(1, 400, 600, 399, [], [], symbol="ETHUSDT")
    lines = [other, *START, diff(40, 504, 506, 503, [["99.8", "1"]], [])]
    _, report = imported(tmp_path, lines)
    assert report.counts["refused", "unclear-snapshot"] == 1
    # What another symbol says once our own diffs have gone past the snapshot changes nothing.
    tape, report = imported(tmp_path, [*lines[1:], other])
    expected, _ = imported(tmp_path, lines[1:])
    assert report.refused == 0
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(tape, name), getattr(expected, name))


def test_lines_out_of_order_are_put_in_order_and_located(tmp_path):
    """Trades of one millisecond follow their ids, diffs theirs."""
    lines = [*START, trade(41, 7, "100.1", "0.25"), trade(41, 8, "100.2", "0.5"),
             diff(50, 504, 506, 503, [["99.9", "4"]], []), diff(50, 507, 508, 506, [["99.9", "2"]], [])]  # fmt: skip
    expected, report = imported(tmp_path, lines)
    assert report.repaired == 0
    tape, report = imported(tmp_path, [*lines[:2], lines[3], lines[2], lines[5], lines[4]])
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(tape, name), getattr(expected, name))
    assert [(e.what, e.code, e.line) for e in report.examples] == [("repaired", "reordered", line) for line in (6, 4)]


def test_what_is_normal_of_two_times_is_said_by_the_first_messages(tmp_path):
    """However many stamps are hours off later on, they do not make those before them the odd ones."""
    good = [*START, *(trade(10 + i, i, "100.1", "1") for i in range(120))]
    late = [trade(200 + i, 200 + i, "100.1", "1") for i in range(200)]
    moved = [str(local_at(7_200_000 + i)).encode() + line[19:] for i, line in enumerate(late)]
    expected, _ = imported(tmp_path, good)
    tape, report = imported(tmp_path, [*good, *moved])
    assert report.as_dict()["refused"] == {"time-apart": 200}
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(tape, name), getattr(expected, name))


def test_partial_books_are_no_diffs(tmp_path):
    lines = [*START, diff(40, 504, 506, 503, [["99.5", "1"]], [["100.5", "1"]], name="depth5@100ms")]
    tape, report = imported(tmp_path, lines)
    assert report.ignored["partial books"] == 1
    assert tape.meta["messages"] == 1


def test_single_trades_are_used_where_there_are_both(tmp_path):
    lines = [*START, trade(41, 7, "100.1", "0.25"), trade(41, 3, "100.1", "0.25", kind="aggTrade"),
             trade(42, 8, "100.1", "0.25", X="INSURANCE_FUND")]  # fmt: skip
    tape, report = imported(tmp_path, lines)
    assert tape.meta["trades"] == 1
    assert report.ignored["aggTrade: single trades are there"] == 1
    assert report.ignored["trade of kind 'INSURANCE_FUND'"] == 1
    tape, _ = imported(tmp_path, [*START, trade(41, 3, "100.1", "0.25", kind="aggTrade", maker=True)])
    assert trades_of(tape)[0][1:] == (-1, 1001, 250)


def test_aggregated_trades_are_used_until_the_first_single_one_comes(tmp_path):
    """What an aggregate has said is not said again; an aggregate behind the first single trade says nothing new."""
    lines = [*START, trade(30, 1, "100.1", "0.5", kind="aggTrade"), trade(41, 3, "100.1", "0.75", kind="aggTrade"),
             trade(41, 7, "100.1", "0.25"), trade(41, 8, "100.1", "0.5"), trade(41, 9, "100.1", "1", maker=True),
             trade(42, 10, "100.1", "1"), trade(42, 4, "100.1", "1", kind="aggTrade")]  # fmt: skip
    tape, report = imported(tmp_path, lines)
    assert [row[1:] for row in trades_of(tape)] == [(1, 1001, 500), (1, 1001, 750), (-1, 1001, 1000), (1, 1001, 1000)]
    assert report.counts["refused", "said-before"] == 2
    assert report.ignored["aggTrade: single trades are there"] == 1
    assert report.lines == tape.meta["lines_used"] + sum(report.ignored.values()) + report.refused


def test_best_prices_are_used_where_there_is_no_book(tmp_path):
    lines = [ticker(0, 5, ("99.9", "1"), ("100.0", "2")), ticker(9, 6, ("99.8", "1"), ("100.0", "3"))]
    tape, report = imported(tmp_path, lines)
    assert tape.price_ticks.tolist() == [999, 1000, 998, 1000]
    assert tape.qty_lots.tolist() == [1000, 2000, 1000, 3000]
    assert report.rows == 4
    untimed = ticker(3, 7, ("99.9", "1"), ("100.0", "2"), T=None, E=None)
    _, report = imported(tmp_path, [*lines, untimed])
    assert report.counts["refused", "no-time"] == 1
    # Before one that has a time it can only be dated by a trade, and none has come yet.
    tape, report = imported(tmp_path, [untimed, *lines])
    assert len(tape) == 4
    assert report.counts["refused", "undated"] == 1
    assert report.lines == tape.meta["lines_used"] + sum(report.ignored.values()) + report.refused


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (START[0][:-20], "bad-json"),
        (START[0].partition(b" ")[2], "no-time"),
        (b"yesterday " + START[0].partition(b" ")[2], "no-time"),
        (b"123 " + START[0].partition(b" ")[2], "bad-time"),
        (diff(40, 504, 506, 503, [["100.15", "1"]], []), "off-tick"),
        (diff(40, 504, 506, 503, [["-1", "1"]], []), "bad-price"),
        (diff(40, 504, 506, 503, [["NaN", "1"]], []), "bad-price"),
        (diff(40, 504, 506, 503, [["0", "1"]], []), "bad-price"),
        (diff(40, 504, 506, 503, [[99.9, "1"]], []), "bad-price"),
        (diff(40, 504, 506, 503, [["9" * 400, "1"]], []), "bad-price"),
        (diff(40, 504, 506, 503, [["99.9", "1e3"]], []), "bad-quantity"),
        (diff(40, 504, 506, 503, [["99.9", "9" * 30]], []), "bad-quantity"),
        (diff(40, 504, 506, 503, [["99.9"]], []), "bad-shape"),
        (diff(40, 504, 506, 503, None, []), "bad-shape"),
        (diff(40, 506, 504, 503, [], []), "bad-id"),
        (diff(40, "504", 506, 503, [], []), "bad-shape"),
        (diff(40, 504, 10**30, 503, [], []), "bad-shape"),
        (line_of([1, 2], local_ns=local_at(40)), "bad-shape"),
        (line_of({"x": 1}, local_ns=local_at(40)), "bad-shape"),
        (str(local_at(40)).encode() + b" " + b"[" * 5000, "bad-json"),
        (str(local_at(40)).encode() + b' {"e":"depthUpdate","b":' + b"[" * 900 + b"]" * 900 + b"}", "missing-field"),
        (str(local_at(40)).encode() + b" \x00\xff\xfe", "bad-json"),
        (trade(41, 7, "100.1", "0"), "bad-quantity"),
        (trade(41, 7, "100.1", "0.0005"), "off-lot"),
        (trade(41, 7, "100.1", "1", maker="no"), "bad-shape"),
        (str(local_at(0)).encode() + trade(36_000_000, 7, "100.1", "1")[19:], "time-apart"),
        (START[0], "duplicate"),
    ],
)  # fmt: skip
def test_a_bad_line_is_refused_located_and_does_not_touch_the_rest(tmp_path, bad, code):
    good = [*START, trade(50, 1, "100.1", "1")]
    expected, _ = imported(tmp_path, good)
    lines = [*good[:2], bad, good[2]]
    tape, report = imported(tmp_path, lines)
    assert [(e.what, e.code, e.line) for e in report.examples] == [("refused", code, 3)]
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(tape, name), getattr(expected, name))
    assert report.lines == tape.meta["lines_used"] + sum(report.ignored.values()) + report.refused


def test_odd_lots_of_the_book_are_rounded_up_and_located(tmp_path):
    many = [diff(40 + i, 504 + i, 504 + i, 503 + i, [["99.8", "1"]] * 50, []) for i in range(40)]
    odd = diff(100, 544, 544, 543, [["99.7", "0.0001"]], [])
    tape, report = imported(tmp_path, [*START, *many, odd])
    assert tape.qty_lots[-1] == 1
    assert [(e.code, e.line) for e in report.examples] == [("off-lot", 43)]
    with pytest.raises(DataFormatError, match=r"line 3: quantity 0\.0001"):
        imported(tmp_path, [*START, odd.replace(b"544", b"504"), odd.replace(b"99.7", b"99.6")])


def test_a_cut_gzip_gives_what_was_written(tmp_path):
    lines = capture(40)
    path = put(tmp_path / "cut.gz", lines)
    path.write_bytes(path.read_bytes()[:-30])
    tape, report = import_binance_stream(path, INSTRUMENT)
    assert report.lines >= len(lines) - 3
    assert report.counts["repaired", "torn-file"] == 1
    assert tape.meta["messages"] > 30


def test_nothing_usable_is_one_clear_error(tmp_path):
    with pytest.raises(DataNotFoundError):
        import_binance_stream(tmp_path / "none.gz", INSTRUMENT)
    with pytest.raises(DataFormatError, match="Is a directory"):
        import_binance_stream(tmp_path, INSTRUMENT)
    for text in (b"", b"\n\n", b"hello\nworld", b"\x1f\x8b", b"PK\x03\x04xx", b"\x00" * 5000):
        path = tmp_path / "bad"
        path.write_bytes(text)
        with pytest.raises(DataFormatError):
            import_binance_stream(path, INSTRUMENT)
    with pytest.raises(DataFormatError, match="no book or best prices"):
        imported(tmp_path, [trade(41, 7, "100.1", "0.25")])
    with pytest.raises(DataFormatError, match="another symbol"):
        imported(tmp_path, capture(), symbol="XRPUSDT")
    with pytest.raises(ConfigError):
        imported(tmp_path, capture(), clock_offset_ns="none")


# --- anything at all --------------------------------------------------------------------------------------------------

HOSTILE = (b"", b"\x00", b"9" * 400, b"-", b".", b"1e5", b"null", b"true", b'"', b"[[", b"}", b"\xff", b"\xc3\xa9", b"\\u0041", b"0", b"00", b" ", b"NaN")  # fmt: skip  # noqa: E501


@st.composite
def mutated(draw):
    lines = capture(draw(st.integers(4, 14)), draw(st.integers(0, 5)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        what = draw(st.sampled_from(["cut", "swap", "twice", "drop", "insert", "replace", "token"]))
        text = lines[at]
        place = draw(st.integers(0, max(len(text) - 1, 0)))
        if what == "cut":
            lines[at] = text[:place]
        elif what == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif what == "twice":
            lines.insert(draw(st.integers(0, len(lines))), text)
        elif what == "drop" and len(lines) > 1:
            lines.pop(at)
        elif what == "insert":
            lines[at] = text[:place] + draw(st.sampled_from(HOSTILE)) + text[place:]
        elif what == "replace":
            lines[at] = text[:place] + bytes([draw(st.integers(0, 255))]) + text[place + 1 :]
        elif what == "token" and b":" in text:
            parts = text.split(b":")
            which = draw(st.integers(1, len(parts) - 1))
            tail = b"," + parts[which].partition(b",")[2] if b"," in parts[which] else b"}"
            parts[which] = draw(st.sampled_from([b"null", b"true", b"[]", b"{}", b'"7"', b"7", b"1.5", b"[[]]"])) + tail
            lines[at] = b":".join(parts)
    return [part for line in lines for part in line.split(b"\n")]


@settings(max_examples=many(60, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutated(), st.booleans())
def test_any_capture_is_a_right_tape_or_a_typed_error(tmp_path, lines, pack):
    lines = lines if lines and lines[-1] else [*lines, b" "]  # an empty last line is no line
    path = put(tmp_path / "any", lines, pack=pack)
    try:
        tape, report = import_binance_stream(path, INSTRUMENT)
    except DataError:
        return
    check_against_oracle(lines, tape, report)


@settings(max_examples=many(40, 150), deadline=None)
@given(mutated())
def test_whatever_the_compiled_reader_takes_the_slow_one_takes_alike(lines):
    assert_both_alike(lines, INSTRUMENT, least_fast=0)
