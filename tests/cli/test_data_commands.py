"""`mml data list`, `check` and `export` as a user meets them."""

import orjson
import pandas as pd
import pytest

from marketmakerl import EventTape
from marketmakerl.cli.main import run
from marketmakerl.data.tape import COLUMNS
from tick_tapes import INSTRUMENT

STEM = "binanceusdm_BTCUSDT_2024-08-08T2354"


@pytest.fixture
def catalog(tmp_path, monkeypatch, put_recording, tape_of):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    put_recording(tmp_path, seconds=30)
    tape_of(20).save(tmp_path / "tapes" / f"{STEM}.tape")
    return tmp_path


def said(capsys, *argv, code=0):
    assert run(list(argv)) == code
    return capsys.readouterr().out


def test_a_list_has_tapes_rows_and_spans(capsys, catalog, tape_of):
    listed = orjson.loads(said(capsys, "data", "list", "--data", ".", "--json"))
    assert [(e["kind"], e["file"], e["symbol"], e["tier"]) for e in listed] == [
        ("trades", f"{STEM}_trades.parquet", "BTCUSDT", "T1"),
        ("book", f"{STEM}_l2.parquet", "BTCUSDT", "T1"),
        ("tape", f"{STEM}.tape", "BTC/USDT:USDT", "T2"),
    ]
    assert listed[1]["rows"] == len(pd.read_parquet(f"book/{STEM}_l2.parquet"))
    assert (listed[1]["first"], listed[1]["last"]) == ("2024-08-08T23:54:16.000Z", "2024-08-08T23:54:45.950Z")
    assert listed[2]["rows"] == len(tape_of(20))
    assert len(orjson.loads(said(capsys, "data", "list", "--data", ".", "--kind", "tape", "--json"))) == 1


def test_rows_without_a_time_do_not_hide_the_exchanges_span(capsys, catalog):
    path = catalog / "book" / f"{STEM}_l2.parquet"
    frame = pd.read_parquet(path)
    frame.loc[frame["is_snapshot"], "ts_ns"] = -1
    frame["ts_local_ns"] += 10**9
    frame.to_parquet(path)
    listed = orjson.loads(said(capsys, "data", "list", "--data", ".", "--kind", "book", "--json"))
    assert listed[0]["first"] == "2024-08-08T23:54:16.050Z"


def test_names_are_never_cut(capsys, catalog, monkeypatch):
    assert f"{STEM}_trades.parquet" in said(capsys, "data", "list", "--data", ".")  # a pipe has all the room
    monkeypatch.setenv("COLUMNS", "80")
    lines = said(capsys, "data", "list", "--data", ".", "--kind", "trades").splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(line.split()[-1] for line in lines[3:] if line.strip()).endswith(f"{STEM}_trades.parquet")
    assert "…" not in "".join(lines)


def test_files_of_every_kind_are_checked(capsys, catalog):
    said(capsys, "data", "export", f"tapes/{STEM}.tape", "--to", "npz", "--out", "x.npz")
    for path, kind in ((f"book/{STEM}_l2.parquet", "book"), (f"trades/{STEM}_trades.parquet", "trades"),
                       (f"tapes/{STEM}.tape", "tape"), ("x.npz", "hftbacktest")):  # fmt: skip
        told = orjson.loads(said(capsys, "data", "check", path, "--json"))
        assert (told["kind"], told["errors"], told["warnings"]) == (kind, 0, 0)
        assert told["rows"] > 100
        assert told["first"] < told["last"]
        assert "0 errors, 0 warnings" in said(capsys, "data", "check", path)


def test_an_unusable_file_exits_5_with_the_row(capsys, catalog):
    path = catalog / "book" / f"{STEM}_l2.parquet"
    frame = pd.read_parquet(path)
    frame.loc[7, "price"] = float("nan")
    frame.loc[9, "price"] += 0.05
    frame.to_parquet(path)
    told = orjson.loads(said(capsys, "data", "check", str(path), "--json", code=5))
    assert [(f["code"], f["row"]) for f in told["findings"]] == [("not_finite", 7), ("off_tick", 9)]
    assert "not_finite" in said(capsys, "data", "check", str(path), code=5)
    for content in (b"MMLTAPE\n" + b"\0" * 90, b"PK\x03\x04", b"\x93NUMPY", b"nothing"):
        (catalog / "bad").write_bytes(content)
        assert run(["data", "check", "bad"]) == 5
        assert capsys.readouterr().err.startswith("error: ")
    assert run(["data", "check", str(path), "--exchange", "nowhere", "--symbol", "BTC/USDT"]) == 2


@pytest.mark.parametrize("to", ["parquet", "npz", "csv"])
def test_a_tape_is_exported(capsys, catalog, tape_of, to):
    told = orjson.loads(said(capsys, "data", "export", f"tapes/{STEM}.tape", "--to", to, "--out", "out", "--json"))
    tape = tape_of(20)
    assert (told["to"], told["rows"], told["notes"]) == (to, len(tape), {})
    assert told["files"] == (
        [f"out/book/{STEM}_l2.parquet", f"out/trades/{STEM}_trades.parquet"] if to == "parquet" else ["out"]
    )
    if to == "npz":
        back = EventTape.from_hftbacktest("out", INSTRUMENT)
        assert all((getattr(back, name) == getattr(tape, name)).all() for name in COLUMNS)
    elif to == "parquet":
        listed = orjson.loads(said(capsys, "data", "list", "--data", "out", "--json"))
        assert [(e["kind"], e["tier"]) for e in listed] == [("trades", "T2"), ("book", "T2")]


def test_what_cannot_be_exported_is_one_line(capsys, catalog):
    for argv, code in (
        (["none.tape", "--to", "csv", "--out", "x"], 5),
        ([f"book/{STEM}_l2.parquet", "--to", "csv", "--out", "x"], 5),
        ([f"tapes/{STEM}.tape", "--to", "xml", "--out", "x"], 2),
        ([f"tapes/{STEM}.tape", "--to", "csv", "--out", "tapes"], 2),
        ([f"tapes/{STEM}.tape", "--to", "csv"], 2),
    ):
        assert run(["data", "export", *argv]) == code
        assert capsys.readouterr().err.startswith("error: ")
    assert not (catalog / "x").exists()
