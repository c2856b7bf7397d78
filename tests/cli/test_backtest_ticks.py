"""`mml backtest` and `mml campaign` on ticks, as a user meets them."""

import html
from pathlib import Path

import orjson
import pandas as pd
import pytest

from marketmakerl.cli.main import run

SYMBOL = ("--exchange", "binanceusdm", "--symbol", "BTC/USDT")
QUOTE = ("--maker-bps", "-1", "--taker-bps", "3", "--latency-ms", "5", "--queue", "log", "--budget", "100000")


@pytest.fixture
def recording(tmp_path, monkeypatch, put_recording):
    """A folder with one recording, and an artifacts folder of its own."""
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.chdir(tmp_path)
    return put_recording(tmp_path)


def document(capsys, *argv: str, code: int = 0) -> dict:
    assert run([*argv, "--json"]) == code, capsys.readouterr().err
    return orjson.loads(capsys.readouterr().out)


def test_one_run_of_a_folder_leaves_what_other_runs_leave(capsys, recording):
    made = document(capsys, "backtest", "--clock", "ticks", "--data", ".", *SYMBOL, *QUOTE)
    (line,) = made["runs"]
    assert (line["status"], line["tier"], line["model"]) == ("completed", "T1", "avellaneda_stoikov")
    assert line["metrics"]["fills"] > 0
    assert line["parameters"]["warm_up"]["seconds"] == pytest.approx(60.0, abs=0.1)
    assert "queue log" in line["ticks"]["first_line"]
    assert "order latency 5 + 5 ms" in line["ticks"]["first_line"]
    assert line["ticks"]["run_log"]["snapshots"] == 1
    folder = Path(made["folder"])
    assert {p.name for p in folder.iterdir()} == {"manifest.json", "runs.jsonl", "summary.csv", "report.html", "runs"}
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    assert [entry["kind"] for entry in manifest["data"]] == ["book", "trades"]
    assert all(len(entry["sha256"]) == 64 for entry in manifest["data"])
    ticks = manifest["config"]["setup"]["ticks"]
    assert (ticks["queue"], ticks["entry_latency_ms"], ticks["warmup_share"]) == ("log", 5.0, 0.2)
    assert len(pd.read_csv(folder / "summary.csv")) == 1
    report = html.unescape((folder / "report.html").read_text())
    assert line["ticks"]["first_line"] in report
    assert "Run log" in report
    assert "late cancels" in report
    assert "one decision a bar" not in report


def test_the_file_the_folder_and_the_tape_agree(capsys, recording, tmp_path, tape_of):
    by_folder = document(capsys, "backtest", "--clock", "ticks", "--data", ".", *SYMBOL, *QUOTE)
    by_file = document(capsys, "backtest", "--data", str(recording), *QUOTE)
    assert by_file["runs"][0]["metrics"] == by_folder["runs"][0]["metrics"]
    elsewhere = tmp_path / "else.parquet"
    trades = tmp_path / "trades" / recording.name.replace("_l2", "_trades")
    trades.rename(elsewhere)
    assert (
        document(capsys, "backtest", "--data", str(recording), "--trades", str(elsewhere), *QUOTE)["runs"][0]["metrics"]
        == by_file["runs"][0]["metrics"]
    )
    tape = tape_of(seconds=300).save(tmp_path / "made.tape")
    by_tape = document(capsys, "backtest", "--data", str(tape), *SYMBOL, *QUOTE)
    assert by_tape["tier"] == "T2"
    assert by_tape["runs"][0]["metrics"]["fills"] > 0


def test_a_manifest_repeats_it_byte_for_byte_and_a_gate_judges_it(capsys, recording):
    argv = ["backtest", "--data", str(recording), *QUOTE, "--quote-on", "depth,response", "--quote-interval-ms", "500"]
    first = document(capsys, *argv)
    again = document(capsys, "backtest", "--manifest", first["run_id"])
    for name in ("runs.jsonl", "summary.csv"):
        assert (Path(again["folder"]) / name).read_bytes() == (Path(first["folder"]) / name).read_bytes()
    assert run(["gate", first["run_id"], "--json"]) in {0, 3}
    checks = {check["name"] for check in orjson.loads(capsys.readouterr().out)["checks"]}
    assert "data_tier" in checks
    book = pd.read_parquet(recording)
    book.iloc[:-1].to_parquet(recording, index=False)
    assert run(["backtest", "--manifest", first["run_id"]]) == 5
    assert "sha256 differs" in capsys.readouterr().err


def test_a_person_reads_what_it_is_worth(capsys, recording):
    assert run(["backtest", "--data", str(recording), *QUOTE[:4], "--budget", "100000"]) == 0
    out, _ = capsys.readouterr()
    for text in ("Ticks: ", "Warm-up: the first 60 s", "late cancels", "Markout, bps", "--latency-ms", "Report: "):
        assert text in out


def test_everything_given_trades_the_whole_tape(capsys, recording):
    argv = ["backtest", "--data", str(recording), *QUOTE, "--model", "symmetric", "--param", "half_spread=1"]
    assert run(argv) == 0
    assert "the whole tape was traded" in capsys.readouterr().out


def test_a_campaign_takes_windows(capsys, recording):
    made = document(capsys, "campaign", "-n", "2", "--warmup-share", "0.4", "--data", str(recording), *QUOTE)
    assert [line["status"] for line in made["runs"]] == ["completed", "completed"]
    first, second = made["runs"]
    assert first["last_ns"] <= second["first_ns"]
    assert second["ticks"]["run_log"]["snapshots"] == 1  # the head that its window begins with
    assert "run-001" in (Path(made["folder"]) / "report.html").read_text()


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["--clock", "ticks", "--data", ".", *SYMBOL, "--queue", "lifo"], 2, "no queue model 'lifo'"),
        (["--clock", "ticks", "--data", ".", *SYMBOL, "--latency-ms", "-1"], 2, "entry_latency_ms"),
        (["--clock", "ticks", "--data", ".", *SYMBOL, "--quote-on", "books"], 2, "quote_on knows"),
        (["--clock", "ticks", "--data", ".", *SYMBOL, "--warmup-share", "1"], 2, "warmup_share"),
        (["--clock", "tocks", "--data", ".", *SYMBOL], 2, "CLOCK 'tocks'"),
        (["--clock", "ticks"], 2, "the synthetic market has no ticks"),
        (["--latency-ms", "5"], 2, "these are bars"),
        (["--clock", "bars", "--data", "book/{name}_l2.parquet"], 2, "holds ticks"),
        (["--clock", "ticks", "--data", ".", "--exchange", "binanceusdm", "--symbol", "ETH/USDT"], 5, "it has BTCUSDT"),
        (["--data", "book/{name}_l2.parquet", "--trades", "nowhere.parquet"], 5, "--trades PATH, or --trades none"),
        (["--data", "trades/{name}_trades.parquet"], 5, "trades alone"),
        (["--data", "broken.parquet"], 5, "not a readable Parquet file"),
        (["--data", "empty.parquet", *SYMBOL, "--trades", "none"], 5, "no rows"),
    ],
)
def test_bad_input_is_one_line_and_the_right_code(capsys, recording, argv, code, text):
    Path("broken.parquet").write_bytes(b"PAR1")
    pd.read_parquet(recording).iloc[:0].to_parquet("empty.parquet")
    name = recording.stem.removesuffix("_l2")
    assert run(["backtest", *(word.format(name=name) for word in argv)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert text in line
    assert not Path("artifacts").exists()


def test_two_recordings_must_be_told_apart(capsys, recording, tmp_path, put_recording):
    put_recording(tmp_path, 40, "binanceusdm_BTCUSDT_2024-08-09T0000")
    assert run(["backtest", "--clock", "ticks", "--data", ".", *SYMBOL]) == 2
    assert "2 recordings" in capsys.readouterr().err


def test_too_short_a_tape_ends_in_data_error(capsys, tmp_path, monkeypatch, put_recording):
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    path = put_recording(tmp_path, 40)
    assert run(["backtest", "--data", str(path), *QUOTE]) == 5
    assert "30 are needed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ("--exchange", "binanceusdm", "--symbol", "BTC/USDT", "--maker-bps", "-0.5"),
        ("--exchange", "binance", "--symbol", "ETH/USDT", "--maker-bps", "0", "--taker-bps", "1"),
    ],
    ids=["linear", "spot"],
)
def test_recorded_data(capsys, shared_data, tmp_path, argv):
    made = document(
        capsys, "backtest", "--clock", "ticks", "--data", str(shared_data), *argv, "--latency-ms", "5",
        "--artifacts", str(tmp_path),
    )  # fmt: skip
    (line,) = made["runs"]
    assert line["status"] == "completed"
    assert line["ticks"]["feed"]["clock_offset_ns"] > 10**9
    assert line["ticks"]["run_log"]["crossed_messages"] == 0
