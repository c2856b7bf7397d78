"""`mml fidelity` as a user meets it: a table, one JSON document, one error line."""

from pathlib import Path

import orjson
import pytest

from marketmakerl.cli.main import run

QUICK = ("--bars", "1s,5s", "--queues", "log,front", "--latencies", "0", "--processes", "1")
FEES = ("--maker-bps", "0", "--taker-bps", "5")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, put_recording):
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    put_recording(tmp_path, 45)
    put_recording(tmp_path, 8, "binanceusdm_ETHUSDT_2024-08-08T2354")
    return tmp_path


def test_a_person_reads_how_far_bars_are_from_ticks(capsys):
    assert run(["fidelity", "--data", ".", *QUICK, *FEES]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Tier T1: the same models on bars and on ticks")
    for text in (
        "binanceusdm_BTCUSDT_2024-08-08T2354",
        "not measured: binanceusdm_ETHUSDT_2024-08-08T2354: binanceusdm ETHUSDT: book and trades overlap for 8 s",
        " 1 s  log",
        " 5 s  log 100 ms",
        "Report: artifacts/fidelity/",
    ):
        assert text in out.replace(str(Path.cwd()) + "/", ""), text
    assert "…" not in out  # nothing is cut off in a terminal of 80 columns
    assert "error:" not in err


def test_json_is_alone_on_stdout(capsys):
    argv = ["fidelity", "--data", ".", *QUICK, *FEES, "--exchange", "binanceusdm", "--symbol", "BTC/USDT"]
    assert run([*argv, "--json", "--out", "elsewhere", "--seed", "3"]) == 0
    document = orjson.loads(capsys.readouterr().out)
    assert document["rules"]["bars_s"] == [1, 5]
    assert document["rules"]["seed"] == 3
    assert len(document["rows"]) == 5 * 2 * 3
    assert Path(document["folder"]).parent == Path("elsewhere/fidelity")
    assert not Path("artifacts").exists()


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["--data", "nowhere"], 5, "no such file or folder: nowhere"),
        (["--data", ".", "--exchange", "bitmex"], 5, "nothing of bitmex"),
        (["--data", ".", "--bars", "1,soon"], 2, "--bars takes numbers"),
        (["--data", ".", "--latencies", "0;10"], 2, "--latencies takes numbers"),
        (["--data", ".", "--bars", "2,5"], 2, "do not divide"),
        (["--data", ".", "--queues", "lifo"], 2, "no queue model"),
        (["--data", ".", "--symbol", "BTC/USDT"], 2, "which exchange"),
        (["--data", ".", "--bars", "60", "--processes", "1"], 5, "none of 2 recordings"),
        (["--data", "trades/binanceusdm_BTCUSDT_2024-08-08T2354_trades.parquet"], 5, "trades alone"),
    ],
)
def test_bad_input_is_one_line_and_the_right_code(capsys, argv, code, text):
    assert run(["fidelity", *argv, *FEES]) == code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert text in line
    assert not Path("artifacts").exists()


def test_a_recording_without_trades_is_refused(capsys):
    Path("trades/binanceusdm_BTCUSDT_2024-08-08T2354_trades.parquet").unlink()
    assert run(["fidelity", "--data", ".", "--exchange", "binanceusdm", "--symbol", "BTC/USDT", *QUICK, *FEES]) == 5
    assert "a book without trades" in capsys.readouterr().err
