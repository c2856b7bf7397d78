"""`mml data import`, as a user meets it."""

import zipfile
from pathlib import Path

import orjson
import pytest

from captures import capture, put
from marketmakerl.cli.main import run
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.core.instrument import Instrument
from marketmakerl.data import importers
from marketmakerl.data.tape import COLUMNS, EventTape

MARKET = ("--exchange", "binanceusdm", "--symbol", "BTC/USDT")


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return put(tmp_path / "capture.gz", [*capture(), b"torn"])


def test_a_capture_becomes_a_tape_and_a_report(capsys, raw):
    assert run(["data", "import", str(raw), *MARKET, "--out", "day.tape", "--json"]) == 0
    said = orjson.loads(capsys.readouterr().out)
    tape = EventTape.load("day.tape")
    assert said["rows"] == len(tape) == tape.meta["rows"]
    assert (said["report"]["format"], said["report"]["refused"]) == ("binance-stream", {"no-time": 1})
    assert said["report"]["lines"] == len(capture()) + 1
    assert tape.meta["exchange"] == "binanceusdm"
    assert tape.instrument.tick_size == 0.1


def test_the_table_names_what_was_left_out(capsys, raw):
    assert run(["data", "import", str(raw), *MARKET, "--out", "day.tape", "--format", "binance-stream"]) == 0
    shown = capsys.readouterr().out
    for text in ("lines read", "no-time", "reply to a request", "before the first snapshot"):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("none.gz", *MARKET), 5, "no such file"),
        (("capture.gz", "--exchange", "binanceusdm", "--symbol", "ETH/USDT"), 5, "another symbol"),
        (("capture.gz", *MARKET, "--format", "binance-steam"), 2, "did you mean binance-stream"),
        (("capture.gz", *MARKET, "--trades", "x"), 2, "hold their own trades"),
        (("capture.gz", "--exchange", "nowhere", "--symbol", "BTC/USDT"), 2, "unknown exchange"),
        (("junk", *MARKET), 5, "begins like none of"),
        (("junk", *MARKET, "--format", "bybit-stream"), 5, "is this the symbol, and the format?"),
    ],
)
def test_what_cannot_be_read_ends_with_one_line_and_no_file(capsys, raw, tmp_path, arguments, code, text):
    (tmp_path / "junk").write_bytes(b"hello\n" * 3)
    assert run(["data", "import", *arguments, "--out", "day.tape"]) == code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert text in error
    assert not (tmp_path / "day.tape").exists()


def test_formats_are_told_by_their_first_bytes(tmp_path):
    heads = {
        "binance-stream": b'1723161255030314667 {"stream":"btcusdt@depth","data":{}}',
        "hyperliquid-stream": b'1737918843893903000 {"channel":"l2Book","data":{}}',
        "bybit-stream": b'{"topic":"orderbook.500.XRPUSDT","type":"snapshot"}',
    }
    for name, text in heads.items():
        (tmp_path / "f").write_bytes(text)
        assert importers.detect(tmp_path / "f") == name
        with zipfile.ZipFile(tmp_path / "z", "w") as archive:
            archive.writestr("f", text)
        assert importers.detect(tmp_path / "z") == name
    (tmp_path / "f").write_bytes(b"1723161255030314667 {}")
    assert importers.first_day(tmp_path / "f") == "2024-08-08"


def test_a_format_nobody_knows_is_a_usage_error(tmp_path):
    instrument = Instrument("BTC/USDT", 0.1, 0.001)
    with pytest.raises(UnknownNameError):
        importers.import_file(tmp_path, instrument, format_name="x", symbol="")
    with pytest.raises(ConfigError):
        importers.import_file(tmp_path, instrument, format_name="bybit-stream", symbol="", trades=tmp_path)


def test_a_large_file_shows_its_progress_on_stderr(capsys, raw, monkeypatch):
    monkeypatch.setattr("marketmakerl.cli.options.LARGE_FILE", 1)
    assert run(["data", "import", str(raw), *MARKET, "--out", "day.tape", "--json"]) == 0
    orjson.loads(capsys.readouterr().out)


def test_a_tape_goes_out_and_comes_back_in_every_format_that_holds_it(capsys, raw):
    """What `export` writes, `import` knows without being told, and the tape is the same, row for row."""
    assert run(["data", "import", str(raw), *MARKET, "--out", "day.tape"]) == 0
    whole = EventTape.load("day.tape")
    assert run(["data", "export", "day.tape", "--to", "npz", "--out", "day.npz"]) == 0
    assert run(["data", "export", "day.tape", "--to", "parquet", "--out", "files"]) == 0
    book, trades = sorted(str(path) for path in Path("files").rglob("*.parquet"))
    capsys.readouterr()
    for name, arguments in {"hftbacktest": ["day.npz"], "parquet": [book, "--trades", trades]}.items():
        assert run(["data", "import", *arguments, *MARKET, "--out", "back.tape", "--json"]) == 0
        said = orjson.loads(capsys.readouterr().out)
        assert said["report"]["format"] == name
        back = EventTape.load("back.tape")
        for column in COLUMNS:
            assert (getattr(back, column) == getattr(whole, column)).all(), (name, column)
