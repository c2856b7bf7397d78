"""Feeds in hftbacktest's format. The flags are written out from its types.py; the package itself is not needed."""

import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmakerl import EventTape, Instrument
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError, DataQualityError
from marketmakerl.data import hftbacktest_import
from marketmakerl.data.tape import COLUMNS, MORE, Kind

INSTRUMENT = Instrument("BTC/USDT", 0.1, 0.001, "linear")
_TYPES = {"ev": "u8", "exch_ts": "i8", "local_ts": "i8", "px": "f8", "qty": "f8"}
DTYPE = np.dtype([*_TYPES.items(), ("order_id", "u8"), ("ival", "i8"), ("fval", "f8")], align=True)
DEPTH, TRADE, CLEAR, SNAPSHOT, BBO = 1, 2, 3, 4, 5
BUY, SELL, LOCAL, EXCH = 1 << 29, 1 << 28, 1 << 30, 1 << 31
BOTH = LOCAL | EXCH


def feed(*rows):
    """Array of events (what, time, price, quantity), received 10 later, for both sides of the wire."""
    out = np.zeros(len(rows), DTYPE)
    for event, (what, time, price, qty) in zip(out, rows, strict=True):
        event["ev"], event["exch_ts"], event["local_ts"] = what | (0 if what & BOTH else BOTH), time, time + 10
        event["px"], event["qty"] = price, qty
    return out


def rows_of(tape):
    return [
        (ts, Kind(kind & ~MORE).name, bool(kind & MORE), price, qty)
        for ts, kind, price, qty in zip(
            tape.ts_ns.tolist(), tape.kind.tolist(), tape.price_ticks.tolist(), tape.qty_lots.tolist(), strict=True
        )
    ]


MIXED = feed(
    (DEPTH | BUY, 1, 100.0, 1.0),
    (DEPTH | SELL, 2, 100.2, 0.0),
    (TRADE | BUY, 3, 100.3, 0.125),
    (TRADE | SELL, 3, 0.3, 7.0),
    (TRADE, 4, 100.1, 0.001),
    (BBO | BUY, 5, 99.9, 2.0),
    (BBO | SELL, 5, 100.1, 3.0),
)


def test_every_row_is_its_own_message():
    tape = EventTape.from_hftbacktest(MIXED, INSTRUMENT, tier="T0", source="x")
    assert rows_of(tape) == [
        (1, "DEPTH_BID", False, 1000, 1000),
        (2, "DEPTH_ASK", False, 1002, 0),
        (3, "TRADE_BUY", False, 1003, 125),
        (3, "TRADE_SELL", False, 3, 7000),
        (4, "TRADE", False, 1001, 1),
        (5, "BBO_BID", False, 999, 2000),
        (5, "BBO_ASK", False, 1001, 3000),
    ]
    np.testing.assert_array_equal(tape.local_ts_ns, tape.ts_ns + 10)
    assert {name: tape.meta[name] for name in ("clock", "tier", "source")} == {
        "clock": "ticks",
        "tier": "T0",
        "source": "x",
    }
    assert (tape.meta["messages"], tape.meta["trades"], tape.meta["clock_offset_ns"]) == (7, 3, 0)


def test_rows_for_the_local_side_only_are_left_out():
    array = feed(
        (DEPTH | BUY | EXCH, 1, 100.0, 1.0), (DEPTH | BUY | LOCAL, 1, 100.0, 1.0), (DEPTH | BUY | EXCH, 2, 100.0, 2.0)
    )
    array["local_ts"] = [30, 30, 20]  # the second overtook the first
    tape = EventTape.from_hftbacktest(array, INSTRUMENT)
    assert tape.qty_lots.tolist() == [1000, 2000]
    assert tape.local_ts_ns.tolist() == [30, 30]
    assert (tape.meta["local_only"], tape.meta["receipt_raised"]) == (1, 1)


B, A = BUY, SELL
CLEARED = [
    (CLEAR | B, 4, 99.0, 0),
    (SNAPSHOT | B, 4, 100.0, 1.0),
    (CLEAR | A, 4, 101.0, 0),
    (SNAPSHOT | A, 4, 100.1, 2.0),
]


def kinds_of(*rows):
    tape = EventTape.from_hftbacktest(feed(*rows), INSTRUMENT)
    return [(ts, kind.replace("DEPTH_", "") + ("+" if more else "")) for ts, kind, more, *_ in rows_of(tape)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (CLEARED, [(4, "SNAPSHOT+"), (4, "BID+"), (4, "ASK")]),
        (CLEARED * 2, [(4, "SNAPSHOT+"), (4, "BID+"), (4, "ASK")] * 2),
        (
            [(DEPTH | B, 3, 99.0, 1.0), *CLEARED, (DEPTH | A, 4, 101.0, 1.0)],
            [(3, "BID"), (4, "SNAPSHOT+"), (4, "BID+"), (4, "ASK"), (4, "ASK")],
        ),
        ([(CLEAR, 4, 0, 0), (DEPTH | B, 5, 99.0, 1.0)], [(4, "SNAPSHOT"), (5, "BID")]),
        ([(CLEAR, 4, float("nan"), 0), (SNAPSHOT | B, 4, 99.0, 1.0)], [(4, "SNAPSHOT+"), (4, "BID")]),
        # Without clears (hftbacktest's own opening snapshots) the time tells runs apart.
        (
            [(SNAPSHOT | B, 4, 99.0, 1.0), (SNAPSHOT | A, 4, 100.0, 1.0), (SNAPSHOT | B, 5, 99.0, 1.0)],
            [(4, "SNAPSHOT+"), (4, "BID+"), (4, "ASK"), (5, "SNAPSHOT+"), (5, "BID")],
        ),
        # A level that holds nothing is not in the snapshot.
        (
            [*CLEARED, (SNAPSHOT | A, 4, 109.0, 0.0), (TRADE | B, 4, 100.1, 1.0)],
            [(4, "SNAPSHOT+"), (4, "BID+"), (4, "ASK"), (4, "TRADE_BUY")],
        ),
    ],
)
def test_a_run_of_clears_and_snapshot_rows_is_one_message(rows, expected):
    assert kinds_of(*rows) == expected


def test_the_rows_of_a_snapshot_share_the_times_of_its_last():
    array = feed(*CLEARED)
    array["exch_ts"], array["local_ts"] = [4, 4, 5, 6], [14, 15, 15, 19]
    tape = EventTape.from_hftbacktest(array, INSTRUMENT)
    assert tape.ts_ns.tolist() == [6, 6, 6]
    assert tape.local_ts_ns.tolist() == [19, 19, 19]


def test_a_clear_of_one_side_only_is_refused():
    for after in ([], [(DEPTH | B, 5, 99.0, 1.0)], CLEARED):
        with pytest.raises(DataFormatError, match="one side only"):
            EventTape.from_hftbacktest(feed((CLEAR | B, 4, 99.0, 0), (SNAPSHOT | B, 4, 99.5, 1.0), *after), INSTRUMENT)


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ((DEPTH | B, 9, 100.05, 1.0), DataFormatError, r"row 1: px is not on the tick 0\.1 .*100\.05"),
        ((DEPTH | B, 9, 100.0000002, 1.0), DataFormatError, "not on the tick"),
        ((DEPTH | B, 9, float("nan"), 1.0), DataQualityError, "row 1: px is no price"),
        ((DEPTH | B, 9, float("inf"), 1.0), DataQualityError, "px is no price"),
        ((DEPTH | B, 9, 0.0, 1.0), DataQualityError, "px is no price"),
        ((DEPTH | B, 9, -1.0, 1.0), DataQualityError, "px is no price"),
        ((DEPTH | B, 9, 2.0**40 / 10, 1.0), DataFormatError, "ticks of BTC"),
        ((DEPTH | B, 9, 100.0, -1.0), DataQualityError, "qty is no quantity"),
        ((DEPTH | B, 9, 100.0, float("nan")), DataQualityError, "qty is no quantity"),
        ((DEPTH | B, 9, 100.0, float("inf")), DataQualityError, "qty is no quantity"),
        ((DEPTH | B, 9, 100.0, 2.0**46 / 1000), DataFormatError, "lots of BTC"),
        ((DEPTH | B, 9, 100.0, 0.0005), DataFormatError, "row 1: qty is not a multiple of the lot"),
        ((TRADE | B, 9, 100.0, 0.0005), DataFormatError, r"row 1: qty is not a multiple .*0\.0005"),
        ((TRADE | B, 9, 100.0, 0.0), DataQualityError, "qty is no quantity"),
        ((BBO | B, 9, 100.0, 0.0), DataQualityError, "qty is no quantity"),
        ((DEPTH, 9, 100.0, 1.0), DataFormatError, "one side"),
        ((DEPTH | B | A, 9, 100.0, 1.0), DataFormatError, "one side"),
        ((DEPTH | B, -20, 100.0, 1.0), DataFormatError, "zero or less"),
        ((DEPTH | B, 1, 100.0, 1.0), DataQualityError, "correct_event_order"),
        ((10 | B, 9, 100.0, 1.0), DataFormatError, r"2 rows are of a kind .* row 1 \(kind 10"),
        ((0, 9, 100.0, 1.0), DataFormatError, "kind 0"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(row, error, words):
    rows = [(DEPTH | A, 2, 100.5, 1.0), row, (DEPTH | A, 20, 100.5, 1.0)]
    if "kind" in words and "row 1: qty" not in words and row[0] & 0xFF in {0, 10}:
        rows.append((row[0], 20, *row[2:]))
    with pytest.raises(error, match=words):
        EventTape.from_hftbacktest(feed(*rows), INSTRUMENT, source="x")


def test_a_few_levels_may_hold_odd_lots():
    many = [(DEPTH | B, 5, 100.0, 1.0)] * 3000
    tape = EventTape.from_hftbacktest(
        feed(*many, (DEPTH | B, 6, 90.0, 0.0001), (SNAPSHOT | B, 7, 90.0, 1.0001)), INSTRUMENT
    )
    assert tape.qty_lots.tolist()[-3:] == [1, 0, 1001]
    assert tape.meta["off_lot_rounded_up"] == 2


def made(n, seed=0):
    """Return a feed of every kind, and the tape's columns as plain numpy makes them."""
    rng = np.random.default_rng(seed)
    ticks, lots = rng.integers(1, 10**7, n), rng.integers(1, 10**9, n)
    what = rng.choice([DEPTH | B, DEPTH | A, TRADE | B, TRADE | A, TRADE, BBO | B, BBO | A], n)
    kinds = dict(
        zip(
            [DEPTH | B, DEPTH | A, TRADE | B, TRADE | A, TRADE, BBO | B, BBO | A],
            [8, 9, 13, 12, 14, 10, 11],
            strict=True,
        )
    )
    out = np.zeros(n, DTYPE)
    out["ev"] = what | BOTH
    out["exch_ts"] = 10**18 + np.cumsum(rng.integers(0, 10**6, n))
    out["local_ts"] = out["exch_ts"] + 10**6 + np.cumsum(rng.integers(0, 10, n))
    out["px"], out["qty"] = np.round(ticks * 0.1, 1), np.round(lots * 0.001, 3)
    expected = {
        "ts_ns": out["exch_ts"],
        "local_ts_ns": out["local_ts"],
        "price_ticks": ticks,
        "qty_lots": lots,
        "kind": np.array([kinds[k] for k in what.tolist()], np.int8),
    }
    return out, expected


@pytest.mark.parametrize("n", [1, 100, 70_000, 200_000])
@pytest.mark.parametrize("form", ["array", "strided", "npy", "npz", "stored"])
def test_arrays_and_files_give_the_same_tape(tmp_path, form, n):
    array, expected = made(n)
    data = array
    if form == "strided":
        data = np.repeat(array, 2)[::2]
    elif form == "npy":
        data = tmp_path / "x.npy"
        np.save(data, array)
    elif form in {"npz", "stored"}:
        data = tmp_path / "x.npz"
        (np.savez_compressed if form == "npz" else np.savez)(data, first=np.arange(3), data=array)
    tape = EventTape.from_hftbacktest(data, INSTRUMENT)
    for name, column in expected.items():
        np.testing.assert_array_equal(getattr(tape, name), column)
        assert getattr(tape, name).dtype == COLUMNS[name]
    assert tape.meta["source"] == (str(data) if "np" in form or form == "stored" else "events")


@settings(max_examples=25)
@given(piece=st.integers(1, 5000), n=st.integers(1, 400))
def test_it_does_not_matter_how_the_file_is_cut(tmp_path_factory, piece, n):
    array, expected = made(n, seed=n)
    path = tmp_path_factory.mktemp("t") / "x.npz"
    np.savez(path, data=array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hftbacktest_import, "_PIECE", max(piece, 400))
        tape = EventTape.from_hftbacktest(path, INSTRUMENT)
    for name, column in expected.items():
        np.testing.assert_array_equal(getattr(tape, name), column)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, data=made(5000)[0])
    good = path.read_bytes()
    rng = np.random.default_rng(5)
    start, end = good.index(b"data.npy") + 30, good.rindex(b"PK\x01\x02")
    for at in rng.integers(start, end, 60).tolist():
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 + at % 255)]) + good[at + 1 :])
        with pytest.raises((DataFormatError, DataQualityError)):
            EventTape.from_hftbacktest(path, INSTRUMENT)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataFormatError):
        EventTape.from_hftbacktest(path, INSTRUMENT)


@pytest.mark.parametrize(("stated", "words"), [(9, "more rows than the 9"), (11, "cut short: 10 of 11")])
def test_a_header_that_lies_about_the_rows_is_refused(tmp_path, stated, words):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(DTYPE), "fortran_order": False, "shape": (stated,)}
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", file.getvalue() + made(10)[0].tobytes())
    with pytest.raises(DataFormatError, match=words):
        EventTape.from_hftbacktest(tmp_path / "x.npz", INSTRUMENT)


def test_other_things_are_named_for_what_they_are(tmp_path):
    np.savez(tmp_path / "other.npz", x=made(3)[0])
    np.save(tmp_path / "plain.npy", np.arange(5))
    (tmp_path / "text").write_text("ev,exch_ts\n")
    with zipfile.ZipFile(tmp_path / "lzma.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("data.npy", struct.pack("<6s", b"\x93NUMPY"))
    for data, error, words in [
        (tmp_path / "none.npz", DataNotFoundError, "no such file"),
        (tmp_path / "other.npz", DataFormatError, "no array 'data'; it has x.npy"),
        (str(tmp_path / "plain.npy"), DataFormatError, "not hftbacktest events"),
        (tmp_path / "text", DataFormatError, "neither .npy nor .npz"),
        (tmp_path / "lzma.npz", DataFormatError, "method 14"),
        (tmp_path, DataFormatError, "not a readable"),
        ([1, 2], DataFormatError, "numpy array"),
        (made(4)[0].reshape(2, 2), DataFormatError, "one dimension"),
        (made(4)[0][:0], DataFormatError, "no rows"),
        (feed((DEPTH | B | LOCAL, 1, 100.0, 1.0)), DataFormatError, "EXCH_EVENT"),
        (made(4)[0].astype([(name, "<f8") for name in DTYPE.names]), DataFormatError, "dtype"),
    ]:
        with pytest.raises(error, match=words):
            EventTape.from_hftbacktest(data, INSTRUMENT)
    with pytest.raises(ConfigError):
        EventTape.from_hftbacktest(MIXED, INSTRUMENT, clock_offset_ns="later")


def test_a_clock_that_runs_behind_is_set_right():
    array, _ = made(1000)
    array["local_ts"] -= 10**9
    tape = EventTape.from_hftbacktest(array, INSTRUMENT)
    assert 0.99e9 < tape.meta["clock_offset_ns"] < 1.01e9
    assert (tape.local_ts_ns >= tape.ts_ns).all()
    tape = EventTape.from_hftbacktest(array, INSTRUMENT, clock_offset_ns=3)
    np.testing.assert_array_equal(tape.local_ts_ns, array["local_ts"] + 3)
