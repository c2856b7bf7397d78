"""Raw captures of Hyperliquid and Bybit become tapes; reports account for every line."""

import json
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures import T0_MS, line_of, local_at, put
from marketmakerl import Instrument
from marketmakerl.core.errors import DataError, DataFormatError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.bybit_stream import import_bybit_stream
from marketmakerl.data.capture_file import pieces
from marketmakerl.data.hyperliquid_stream import import_hyperliquid_stream
from marketmakerl.data.import_report import ImportReport
from marketmakerl.data.tape import COLUMNS, MORE, Kind
from searches import many

RAW = Path(__file__).parents[3] / "shared" / "data" / "fixtures" / "raw_streams"
needs_recordings = pytest.mark.skipif(not RAW.exists(), reason="no ../shared/data/fixtures/raw_streams here")
COIN = Instrument("BTC/USDC:USDC", 1.0, 0.00001, "linear")
XRP = Instrument("XRP/USDT:USDT", 0.0001, 1.0, "linear")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr("marketmakerl.data.book_import.log.warning", lambda *_, **__: None)
    monkeypatch.setattr("marketmakerl.data.clock_offset.log.warning", lambda *_, **__: None)


def tape_books(tape):
    """Return the book (side, ticks) -> lots after every message of the book."""
    book, books = {}, []
    for price, qty, flagged in zip(tape.price_ticks.tolist(), tape.qty_lots.tolist(), tape.kind.tolist(), strict=True):
        kind = flagged & ~MORE
        if kind in {Kind.SNAPSHOT, Kind.GAP}:
            book = {}
        elif kind in {Kind.DEPTH_BID, Kind.DEPTH_ASK}:
            book[1 if kind == Kind.DEPTH_BID else -1, price] = qty
        if not flagged & MORE and kind in {Kind.SNAPSHOT, Kind.DEPTH_BID, Kind.DEPTH_ASK}:
            books.append({level: lots for level, lots in book.items() if lots})
    return books


def steps(text, step):
    count = Decimal(text) / Decimal(step)
    assert count == int(count)
    return int(count)


def accounted(tape, report):
    return report.lines == tape.meta["lines_used"] + sum(report.ignored.values()) + report.refused


def text_of(path):
    return b"".join(pieces(path, ImportReport("", ""))).splitlines()


def same(tape, expected):
    return all(np.array_equal(getattr(tape, name), getattr(expected, name)) for name in COLUMNS)


# --- Hyperliquid ------------------------------------------------------------------------------------------------------


def hyper(ms, channel, data):
    return line_of({"channel": channel, "data": data}, local_ns=local_at(ms))


def l2(ms, bids, asks, coin="BTC"):
    sides = [[{"px": px, "sz": sz, "n": 1} for px, sz in side] for side in (bids, asks)]
    return hyper(ms, "l2Book", {"coin": coin, "time": T0_MS + ms, "levels": sides})


def fill(ms, side, px, sz, number, coin="BTC"):
    return {"coin": coin, "side": side, "px": px, "sz": sz, "time": T0_MS + ms, "tid": number, "hash": "0x0"}


HYPER = [
    hyper(0, "subscriptionResponse", {"method": "subscribe"}),
    l2(0, [("100.0", "1.5"), ("99.0", "2")], [("101.0", "0.00001")]),
    hyper(5, "trades", [fill(1, "B", "101.0", "0.5", 77), fill(2, "A", "100.0", "0.25", 12)]),
    hyper(6, "bbo", {"coin": "BTC", "time": T0_MS + 6, "bbo": [{"px": "100.0", "sz": "1", "n": 1}, None]}),
    l2(10, [("100.0", "1.25")], [("101.0", "3"), ("102.0", "1")]),
    l2(11, [("5.0", "1")], [("6.0", "3")], coin="SOL"),
    hyper(12, "trades", [fill(12, "B", "5.0", "1", 5, coin="SOL")]),
]


def test_hyperliquid_row_for_row(tmp_path):
    tape, report = import_hyperliquid_stream(put(tmp_path / "c.gz", HYPER), COIN)
    rows = [
        (Kind(kind & ~MORE).name, bool(kind & MORE), price, qty)
        for kind, price, qty in zip(tape.kind.tolist(), tape.price_ticks.tolist(), tape.qty_lots.tolist(), strict=True)
    ]
    assert rows == [
        ("SNAPSHOT", True, 0, 0),
        ("DEPTH_BID", True, 100, 150_000),
        ("DEPTH_BID", True, 99, 200_000),
        ("DEPTH_ASK", False, 101, 1),
        ("TRADE_BUY", False, 101, 50_000),
        ("TRADE_SELL", False, 100, 25_000),
        ("SNAPSHOT", True, 0, 0),
        ("DEPTH_BID", True, 100, 125_000),
        ("DEPTH_ASK", True, 101, 300_000),
        ("DEPTH_ASK", False, 102, 100_000),
    ]
    assert ((tape.ts_ns - T0_MS * 10**6) // 10**6).tolist() == [0, 0, 0, 0, 1, 2, 10, 10, 10, 10]
    assert report.ignored == {"subscriptionResponse": 1, "best prices of one side": 1, "another symbol": 2}
    assert accounted(tape, report)


@needs_recordings
def test_the_recorded_hyperliquid_books_and_trades():
    path = RAW / "hftbacktest_hyperliquid_btcusd_20250126.gz"
    tape, report = import_hyperliquid_stream(path, lookup("hyperliquid", "BTC", at="2025-01-26"))
    books, trades = [], []
    for text in text_of(path):
        message = json.loads(text.partition(b" ")[2])
        data = message["data"]
        if message["channel"] == "l2Book":
            sides = zip((1, -1), data["levels"], strict=True)
            books.append({(s, steps(x["px"], "1")): steps(x["sz"], "0.00001") for s, side in sides for x in side})
        else:
            trades += [
                (x["time"] * 10**6, x["side"] == "B", steps(x["px"], "1"), steps(x["sz"], "0.00001")) for x in data
            ]
    assert tape_books(tape) == books
    of = np.isin(tape.kind, [Kind.TRADE_BUY, Kind.TRADE_SELL])
    columns = (tape.ts_ns, tape.kind == Kind.TRADE_BUY, tape.price_ticks, tape.qty_lots)
    assert list(zip(*(column[of].tolist() for column in columns), strict=True)) == sorted(trades, key=lambda t: t[0])
    assert (report.lines, report.refused, len(books), len(trades)) == (55, 0, 46, 64)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (HYPER[1][:-5], "bad-json"),
        (hyper(3, "l2Book", {"coin": "BTC", "time": T0_MS, "levels": [5, 6]}), "bad-shape"),
        (hyper(3, "l2Book", {"coin": "BTC", "time": T0_MS, "levels": [[], []]}), "bad-shape"),
        (hyper(3, "l2Book", {"coin": "BTC", "levels": [[{"px": "1", "sz": "1"}], []]}), "bad-time"),
        (hyper(3, "l2Book", {"coin": "BTC", "time": T0_MS, "levels": [[{"px": "1.5", "sz": "1"}], []]}), "off-tick"),
        (hyper(3, "l2Book", 7), "bad-shape"),
        (hyper(3, "trades", [fill(1, "B", "101.0", "0.5", 1), fill(1, "X", "101.0", "0.5", 2)]), "bad-side"),
        (hyper(3, "trades", [5]), "bad-shape"),
        (hyper(3, "trades", [fill(2, "A", "100.0", "0.25", 12)]), "duplicate"),
        (line_of({"x": 1}, local_ns=local_at(1)), "missing-field"),
    ],
)
def test_a_bad_hyperliquid_line_does_not_touch_the_rest(tmp_path, bad, code):
    expected, _ = import_hyperliquid_stream(put(tmp_path / "a.gz", HYPER), COIN)
    tape, report = import_hyperliquid_stream(put(tmp_path / "b.gz", [*HYPER[:3], bad, *HYPER[3:]]), COIN)
    assert [(e.what, e.code, e.line) for e in report.examples] == [("refused", code, 4)]
    assert same(tape, expected)
    assert accounted(tape, report)


# --- Bybit ------------------------------------------------------------------------------------------------------------


def bybit(ms, kind, bids, asks, number, seq, *, depth=500, symbol="XRPUSDT"):
    data = {"s": symbol, "b": bids, "a": asks, "u": number, "seq": seq}
    message = {
        "topic": f"orderbook.{depth}.{symbol}",
        "type": kind,
        "ts": T0_MS + ms + 2,
        "data": data,
        "cts": T0_MS + ms,
    }
    return json.dumps(message).encode()


def public(ms, side, price, qty, number):
    trade = {"T": T0_MS + ms, "s": "XRPUSDT", "S": side, "v": qty, "p": price, "i": number}
    return json.dumps({"topic": "publicTrade.XRPUSDT", "type": "snapshot", "ts": T0_MS + ms, "data": [trade]}).encode()


BYBIT = [
    bybit(0, "snapshot", [["1.9531", "6203"], ["1.9530", "10"]], [["1.9532", "7"]], 50, 1000),
    bybit(20, "delta", [["1.9530", "0"]], [["1.9533", "9"]], 51, 1004),
    public(25, "Sell", "1.9531", "3", "a-b-c"),
    bybit(40, "delta", [], [["1.9532", "0"]], 52, 1007),
    bybit(60, "snapshot", [["1.9000", "1"]], [["1.9100", "2"]], 1, 1010),  # the service began anew
    bybit(80, "delta", [["1.9001", "5"]], [], 2, 1011),
]


def test_bybit_books_go_on_through_a_restart_of_the_service(tmp_path):
    tape, report = import_bybit_stream(put(tmp_path / "c", BYBIT, pack=False), XRP)
    assert tape_books(tape) == [
        {(1, 19531): 6203, (1, 19530): 10, (-1, 19532): 7},
        {(1, 19531): 6203, (-1, 19532): 7, (-1, 19533): 9},
        {(1, 19531): 6203, (-1, 19533): 9},
        {(1, 19000): 1, (-1, 19100): 2},
        {(1, 19000): 1, (1, 19001): 5, (-1, 19100): 2},
    ]
    assert (tape.kind == Kind.TRADE_SELL).sum() == 1
    assert tape.meta["receipt"] == "not recorded"
    assert tape.meta["gaps"] == 0
    assert accounted(tape, report)


def test_a_missing_delta_of_bybit_is_a_gap(tmp_path):
    tape, report = import_bybit_stream(put(tmp_path / "c", [BYBIT[0], *BYBIT[2:]], pack=False), XRP)
    assert tape.meta["gaps"] == 1
    assert report.counts["refused", "sequence-gap"] == 1
    assert accounted(tape, report)


def test_the_deepest_of_several_bybit_books_is_used(tmp_path):
    expected, _ = import_bybit_stream(put(tmp_path / "a", BYBIT, pack=False), XRP)
    shallow = bybit(10, "snapshot", [["1.95", "1"]], [["1.96", "1"]], 7, 1002, depth=50)
    other = bybit(11, "snapshot", [["1.95", "1"]], [["1.96", "1"]], 7, 1003, symbol="ETHUSDT")
    tape, report = import_bybit_stream(put(tmp_path / "b", [*BYBIT, shallow, other], pack=False), XRP)
    assert same(tape, expected)
    assert report.ignored["orderbook.50: a deeper book is there"] == 1
    assert accounted(tape, report)


def test_a_shallow_bybit_book_is_used_until_a_deeper_one_begins(tmp_path):
    shallow = [bybit(0, "snapshot", [["1.95", "1"]], [["1.96", "1"]], 70, 990, depth=50),
               bybit(1, "delta", [["1.95", "3"]], [], 71, 995, depth=50),
               bybit(30, "delta", [["1.95", "4"]], [], 72, 1005, depth=50)]  # fmt: skip
    tape, report = import_bybit_stream(put(tmp_path / "b", [*shallow[:2], *BYBIT, shallow[2]], pack=False), XRP)
    assert tape_books(tape)[:3] == [
        {(1, 19500): 1, (-1, 19600): 1},
        {(1, 19500): 3, (-1, 19600): 1},
        {(1, 19531): 6203, (1, 19530): 10, (-1, 19532): 7},
    ]
    assert tape_books(tape)[2:] == tape_books(import_bybit_stream(put(tmp_path / "a", BYBIT, pack=False), XRP)[0])
    assert report.ignored["orderbook.50: a deeper book is there"] == 1
    assert tape.meta["gaps"] == 0
    assert accounted(tape, report)


def test_a_bybit_capture_with_times_of_receipt(tmp_path):
    lines = [str(local_at(20 * i)).encode() + b" " + text for i, text in enumerate(BYBIT)]
    tape, report = import_bybit_stream(put(tmp_path / "c", lines), XRP)
    assert tape.meta["receipt"] == "recorded"
    _, report = import_bybit_stream(put(tmp_path / "d", [*lines, BYBIT[-1]]), XRP)
    assert report.counts["refused", "no-time"] == 1


@needs_recordings
def test_the_recorded_bybit_archive():
    path = RAW / "nautilus_bybit_xrpusdt_ob500_20241201.data.zip"
    tape, report = import_bybit_stream(path, lookup("bybitlinear", "XRP/USDT", at="2024-12-01"))
    book, books = {}, []
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(archive.namelist()[0]).splitlines()
    for text in lines:
        data = json.loads(text)["data"]
        for side, name in ((1, "b"), (-1, "a")):
            for px, qty in data[name]:
                book[side, steps(px, "0.0001")] = steps(qty, "1")
        book = {level: lots for level, lots in book.items() if lots}
        books.append(dict(book))
    assert tape_books(tape) == books
    assert (report.lines, report.refused, tape.meta["gaps"], tape.meta["sequence_checked"]) == (50, 0, 0, 49)
    best = [(max(t for s, t in b if s > 0), min(t for s, t in b if s < 0)) for b in books]
    assert all(bid < ask for bid, ask in best)


# --- anything at all --------------------------------------------------------------------------------------------------


@settings(max_examples=many(40, 150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(["hyperliquid", "bybit"]))
def test_any_lines_are_a_tape_with_every_line_accounted_or_a_typed_error(tmp_path, data, venue):
    lines = list(HYPER if venue == "hyperliquid" else BYBIT)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        place = data.draw(st.integers(0, max(len(lines[at]) - 1, 0)))
        junk = data.draw(st.sampled_from([b"", b"\x00", b"9" * 400, b"[", b"null", b"\xff", b"{", b'"', b"-1", b"e9"]))
        change = data.draw(st.sampled_from(["cut", "insert", "over", "swap", "twice"]))
        if change == "cut":
            lines[at] = lines[at][:place]
        elif change == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif change == "twice":
            lines.insert(place % len(lines), lines[at])
        else:
            lines[at] = lines[at][:place] + junk + lines[at][place + (len(junk) if change == "over" else 0) :]
    lines.append(b" ")
    path = put(tmp_path / "any", lines, pack=False)
    read, instrument = (import_hyperliquid_stream, COIN) if venue == "hyperliquid" else (import_bybit_stream, XRP)
    try:
        tape, report = read(path, instrument)
    except DataError:
        return
    assert report.lines == len(lines)
    assert accounted(tape, report)


def test_nothing_of_the_instrument_is_an_error(tmp_path):
    with pytest.raises(DataFormatError, match="2 another symbol"):
        import_hyperliquid_stream(put(tmp_path / "a", HYPER[-2:]), COIN)
    with pytest.raises(DataFormatError, match="no book or best prices"):
        import_bybit_stream(put(tmp_path / "b", [BYBIT[2]], pack=False), XRP)


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("pack", [True, False])
def test_pieces_are_whole_lines_wherever_a_block_ends(tmp_path, monkeypatch, block, pack):
    monkeypatch.setattr("marketmakerl.data.capture_file._BLOCK", block)
    monkeypatch.setattr("marketmakerl.data.capture_file._PACKED_BLOCK", block)
    found = list(pieces(put(tmp_path / "c", HYPER, pack=pack), ImportReport("", "")))
    assert b"".join(found) == b"\n".join(HYPER) + b"\n"
    assert all(piece.endswith(b"\n") for piece in found)


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("marketmakerl.data.capture_file.MAX_LINE", 1000)
    monkeypatch.setattr("marketmakerl.data.capture_file._BLOCK", 100)
    (tmp_path / "c").write_bytes(b"x" * 5000)
    with pytest.raises(DataFormatError, match="longer than"):
        list(pieces(tmp_path / "c", ImportReport("", "")))
