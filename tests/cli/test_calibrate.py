"""`mml calibrate` and `mml backtest --calibration`, as a user meets them."""

import html
from pathlib import Path

import orjson
import pytest

from marketmakerl.cli.main import run
from marketmakerl.models.calibration import load_calibration

QUOTE = ("--maker-bps", "-1", "--taker-bps", "3", "--budget", "100000")


@pytest.fixture
def recording(tmp_path, monkeypatch, put_recording):
    """A recording, and an artifacts folder of its own."""
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.chdir(tmp_path)
    return put_recording(tmp_path)


def document(capsys, *argv: str, code: int = 0) -> dict:
    assert run([*argv, "--json"]) == code, capsys.readouterr().err
    return orjson.loads(capsys.readouterr().out)


def test_json_is_one_document_and_the_file_holds_the_same(capsys, recording):
    told = document(capsys, "calibrate", "--data", str(recording))
    path = Path(told["file"])
    assert path == Path.cwd() / "artifacts" / "calibrations" / "binanceusdm_BTCUSDT_ticks_2024-08-08T2354.json"
    assert {name: value for name, value in told.items() if name not in {"file", "report"}} == orjson.loads(
        path.read_bytes()
    )
    assert told["report"] is None
    made = load_calibration(path)
    assert made.sigma > 0
    assert made.k > 0
    assert made.tier == "T1"
    assert [entry["kind"] for entry in made.data] == ["book", "trades"]
    assert len(made.data[0]["sha256"]) == 64
    again = document(capsys, "calibrate", "--data", str(recording), "--out", "again.json")
    assert Path("again.json").read_bytes() == path.read_bytes()
    assert again["file"] == "again.json"


def test_a_person_reads_values_errors_and_refusals(capsys, recording):
    assert run(["calibrate", "--data", str(recording), "--report"]) == 0
    out, err = capsys.readouterr()
    for text in (
        "Tier T1",
        "volatility (sigma)",
        "decay (k)",
        "Std error",
        "Not known: ",
        "do not excite",
        "Calibration: ",
    ):
        assert text in out
    assert all(len(line) <= 80 for line in out.splitlines() if "price" in line and "Not known" not in line)
    assert "Traceback" not in err
    page = html.unescape(Path(out.split("Report: ")[1].strip()).read_text())
    for text in ("How often a quote is reached", "Volatility against", "What the data do not say", "delta_min"):
        assert text in page
    for name in ("signature", "curve", "adverse"):
        assert f'data-figure="{name}"' in page
    assert 'data-figure="hawkes"' not in page  # refused: nothing to draw
    assert "http-equiv" in page


def test_bars_and_no_data_at_all_say_what_they_are(capsys, recording, tmp_path, put_bars):
    bars = put_bars(tmp_path, 2000)
    told = document(capsys, "calibrate", "--data", str(bars))
    assert told["clock"] == "bars"
    assert "one chance a bar" in told["approximate"]
    told = document(capsys, "calibrate")
    assert told["tier"] == "T2"
    assert run(["calibrate", "--data", str(bars)]) == 0
    out = capsys.readouterr().out
    assert "Approximate: bars" in out
    assert "calibrate on ticks" in out


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["--data", "nowhere"], 5, "no such file"),
        (["--data", "{book}", "--share", "0"], 2, "--share must be above 0"),
        (["--data", "{book}", "--share", "1.5"], 2, "--share must be above 0"),
        (["--data", "{book}", "--delta-min", "-1"], 2, "delta_min must be a finite number > 0"),
        (["--data", "{book}", "--delta-min", "nan"], 2, "delta_min must be"),
        (["--delta-min", "1"], 2, "delta_min is for ticks"),
        (["--data", "{book}", "--out", "book/x.json/y.json"], 2, "cannot write"),
        (
            ["--data", "one.tape", "--exchange", "binanceusdm", "--symbol", "BTC/USDT"],
            5,
            "never shows a bid and an ask",
        ),
    ],
)
def test_bad_input_is_one_line_and_the_right_code(capsys, recording, tape_of, argv, code, text):
    tape = tape_of(20)
    only_trades = tape.slice_rows(0, len(tape))
    kinds = only_trades.kind & 63
    keep = kinds >= 12
    type(tape)(
        tape.instrument, *(getattr(tape, name)[keep] for name in ("ts_ns", "local_ts_ns", "price_ticks", "qty_lots")),
        kinds[keep], tape.meta,
    ).save("one.tape")  # fmt: skip
    (recording.parent / "x.json").write_text("")
    assert run(["calibrate", *(word.format(book=recording) for word in argv)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert text in line
    assert not Path("artifacts").exists()


def test_a_backtest_takes_its_parameters_and_trades_what_came_after(capsys, recording):
    told = document(capsys, "calibrate", "--data", str(recording), "--share", "0.5", "--out", "half.json")
    made = document(capsys, "backtest", "--data", str(recording), "--calibration", "half.json", *QUOTE)
    (line,) = made["runs"]
    assert line["status"] == "completed"
    parameters = line["parameters"]
    assert parameters["estimate"]["sigma"] == told["estimates"]["sigma"]["value"]
    assert parameters["model"]["k"] == told["estimates"]["k"]["value"]
    # What the mid moves against fills enters the edge filter; where it moved for them, nothing does.
    adverse = max(told["estimates"]["adverse_move"]["value"], 0.0)
    assert parameters["calibration"] == {
        "file": "half.json", "data_hash": told["data_hash"], "last": told["last"],
        "adverse_move_bps": pytest.approx(1e4 * adverse / told["mid"]),
    }  # fmt: skip
    assert parameters["warm_up"]["seconds"] == pytest.approx(150, abs=1)
    manifest = orjson.loads((Path(made["folder"]) / "manifest.json").read_bytes())
    assert [entry["kind"] for entry in manifest["data"]] == ["book", "trades", "calibration"]
    assert "made of data up to" in html.unescape((Path(made["folder"]) / "report.html").read_text())
    again = document(capsys, "backtest", "--manifest", made["run_id"])
    assert again["runs"] == made["runs"]
    Path("half.json").write_bytes(Path("half.json").read_bytes() + b"\n")
    assert run(["backtest", "--manifest", made["run_id"]]) == 5
    assert "sha256 differs" in capsys.readouterr().err


def test_a_backtest_on_bars_too(capsys, recording, tmp_path, put_bars):
    bars = put_bars(tmp_path, 2000)
    told = document(capsys, "calibrate", "--data", str(bars), "--share", "0.4", "--out", "first.json")
    made = document(capsys, "backtest", "--data", str(bars), "--calibration", "first.json", *QUOTE)
    (line,) = made["runs"]
    assert line["parameters"]["model"]["sigma"] == told["estimates"]["sigma"]["value"]
    assert run(["backtest", "--data", str(bars), "--calibration", "first.json", *QUOTE]) == 0
    assert "only what came after it was traded" in capsys.readouterr().out


def test_a_calibration_that_looks_ahead_or_is_of_something_else_is_refused(capsys, recording, tmp_path, put_recording):
    for out, argv in (("all.json", []), ("none.json", ["--trades", "none"])):
        document(capsys, "calibrate", "--data", str(recording), "--out", out, *argv)
    other = put_recording(tmp_path, stem="binanceusdm_ETHUSDT_2024-08-08T2354")
    document(capsys, "calibrate", "--data", str(other), "--share", "0.5", "--out", "eth.json")
    document(capsys, "calibrate", "--data", str(recording), "--share", "0.5", "--trades", "none", "--out", "half.json")
    Path("broken.json").write_text('{"schema": 1, "estimates": {}}')
    data = ("--data", str(recording), *QUOTE)
    for argv, code, text in (
        ((*data, "--calibration", "all.json"), 2, "that would look ahead"),
        ((*data, "--calibration", "eth.json"), 2, "is a calibration of ETH/USDT:USDT, and the run trades BTC/USDT"),
        ((*data, "--calibration", "half.json"), 2, "has no k: the data hold no trades"),
        ((*data, "--calibration", "broken.json"), 5, "is missing"),
        ((*data, "--calibration", "nowhere.json"), 5, "no such file"),
        (("--calibration", "all.json"), 2, "for one run on recorded data"),
    ):
        assert run(["backtest", *argv]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert text in err
    assert not list(Path("artifacts").glob("backtest/*"))
