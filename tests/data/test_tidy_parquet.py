"""Tidy Parquet files become tapes with a report in which every row of every file has its place."""

import pandas as pd
import pytest

from marketmakerl.core.errors import ConfigError, DataError, DataFormatError, DataNotFoundError
from marketmakerl.data.importers import detect
from marketmakerl.data.tidy_parquet import FORMAT, read_tidy
from tick_tapes import INSTRUMENT, make_frames, put_recording

T0 = 1_700_000_000_000_000_000


def put(folder, name, frame):
    frame.to_parquet(folder / f"{name}.parquet", index=False)
    return folder / f"{name}.parquet"


def book(*rows):
    """Frame of rows (seq, is_snapshot, side, price, qty, prev_seq)."""
    frame = pd.DataFrame(rows, columns=["seq", "is_snapshot", "side", "price", "qty", "prev_seq"])
    return frame.assign(ts_ns=T0 + frame["seq"], ts_local_ns=T0 + frame["seq"] + 7, first_seq=-1)


FRAME = book(
    (8, False, 1, 99.9, 1.0, 7),
    (9, False, 1, 99.8, 1.0, 8),  # the snapshot below contains it, and has its id
    (9, False, 1, 99.7, 1.0, 8),
    (10, False, 1, 99.9, 2.0, 9),
    (9, True, 1, 100.0, 1.0, -1),
    (9, True, -1, 100.2, 1.0, -1),
    (9, True, -1, 100.3, 0.0, -1),
    (12, False, 1, 99.9, 3.0, 11),  # 11 is lost
    (13, False, 1, 99.9, 4.0, 12),
)


def test_every_row_has_its_place(tmp_path):
    quotes = pd.DataFrame({"ts_ns": [T0], "ts_local_ns": [T0], "bid_px": 1.0, "bid_qty": 1.0, "ask_px": 2.0,
                           "ask_qty": 1.0, "seq": 1})  # fmt: skip
    trades = make_frames(1)[1].assign(ts_ns=T0 + 11, ts_local_ns=T0 + 12)
    named = {"b": FRAME, "q": quotes, "t": trades}
    tape, report = read_tidy([put(tmp_path, name, frame) for name, frame in named.items()], INSTRUMENT)
    assert (report.lines, report.rows) == (9 + 1 + len(trades), 3 + len(trades))
    assert report.ignored == {"bbo beside a book": 1, "empty level of a snapshot": 1}
    assert report.as_dict()["refused"] == {"before-snapshot": 3, "in-gap": 2}
    lines = [(e.code, e.line) for e in report.examples if e.what == "refused"]
    assert lines == [*(("before-snapshot", line) for line in (1, 2, 3)), ("in-gap", 8), ("in-gap", 9)]
    assert tape.meta["gaps"] == 1
    assert {path.stem: detect(path) for path in tmp_path.iterdir()} == dict.fromkeys("bqt", FORMAT)


def test_quotes_or_trades_without_a_book(tmp_path):
    trades = put(tmp_path, "t", make_frames(5)[1])
    tape, report = read_tidy(trades, INSTRUMENT)
    assert len(tape) == report.rows == report.lines == 100
    assert tape.meta["quotes"].startswith("none")


def test_what_is_no_recording_is_refused(tmp_path):
    path = put_recording(tmp_path, seconds=5)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    other = put(tmp_path, "other", pd.DataFrame({"a": [1]}))
    for paths, error in (
        ([], ConfigError),
        (tmp_path / "none.parquet", DataNotFoundError),
        (tmp_path / "x.parquet", DataFormatError),
        (other, DataFormatError),
        ([path, put(tmp_path, "again", FRAME)], DataFormatError),
        (put(tmp_path, "nan", FRAME.assign(price=float("nan"))), DataError),
        (put(tmp_path, "off", FRAME.assign(price=100.05)), DataError),
        (put(tmp_path, "text", FRAME.assign(price="1")), DataError),
        (put(tmp_path, "lacks", FRAME.drop(columns="seq")), DataFormatError),
    ):
        with pytest.raises(error):
            read_tidy(paths, INSTRUMENT)
    content = path.read_bytes()
    for size in range(0, len(content), len(content) // 12):
        (tmp_path / "x.parquet").write_bytes(content[:size])
        with pytest.raises(DataError):
            read_tidy(tmp_path / "x.parquet", INSTRUMENT)
