"""`mml stress` as a user meets it: tables with their limits, one JSON document, one error line, a gate if asked for."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from marketmakerl.cli.main import run
from marketmakerl.data.tape_scenarios import TAPE_SCENARIOS
from marketmakerl.validation.crises import CRISES
from marketmakerl.validation.stress_scenarios import SCENARIOS

QUICK = ("--days", "0.4", "--warmup-bars", "100", "--paths", "20", "--processes", "1", "--model", "symmetric")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def test_a_person_reads_every_scenario_against_its_limits(capsys):
    assert run(["stress", *QUICK, "--scenario", "gap_down_20", "--scenario", "message_flood"]) == 0
    out = capsys.readouterr().out
    for text in (
        "can pass no research gate", "baseline", "gap_down_20", "DD ≤15", "Model world",
        "not applicable: tape-message_flood: bars carry no messages", " of 2 scenarios kept within every limit",
        "Report: ",
    ):  # fmt: skip
        assert text in out, text
    assert "…" not in out
    assert "march_2020" not in out


def test_help_names_every_scenario(capsys):
    assert run(["stress", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in (*SCENARIOS, *CRISES):
        assert name in text, name
    assert set(TAPE_SCENARIOS) <= set(SCENARIOS)
    assert "with --gate 3 when one breaches a limit" in text


def test_json_is_alone_on_stdout_and_the_world_can_stand_alone(capsys):
    assert run(["stress", "--world", *QUICK[2:], "--scenario", "trend_down", "--json", "--gamma", "0.2"]) == 0
    document = orjson.loads(capsys.readouterr().out)
    assert [row["run_id"] for row in document["rows"]] == ["world-baseline", "world-trend_down"]
    assert document["gamma"] == 0.2
    assert "curves" not in document
    assert (Path(document["folder"]) / "report.html").is_file()


def test_a_gate_does_not_pass_what_was_not_run(capsys, tmp_path):
    common = ("--world", *QUICK[2:], "--gate")
    assert run(["stress", *common, "--scenario", "message_flood", "--scenario", "trend_down"]) == 3
    assert "message_flood (it could not be run)" in capsys.readouterr().err
    run(["stress", *common, "--scenario", "trend_down"])
    assert "could not be run" not in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(["stress", "--crises", "empty", "--scenario", "march_2020", *QUICK[2:], "--gate"]) == 3
    assert "march_2020 (it could not be run)" in capsys.readouterr().err


def test_a_gate_says_no_with_three(capsys, monkeypatch):
    from marketmakerl.validation import stress as module

    limits = module.RiskLimits(soft_drawdown_pct=None, hard_drawdown_pct=1e-9)
    monkeypatch.setattr(module, "RiskLimits", lambda: limits)
    argv = ["stress", *QUICK, "--scenario", "gap_down_20"]
    assert run([*argv]) == 0
    capsys.readouterr()
    assert run([*argv, "--gate"]) == 3
    out, err = capsys.readouterr()
    assert "breached: tape-gap_down_20" in out
    assert "the gate says no: tape-gap_down_20 drawdown (" in err


def test_ticks_and_their_options(capsys, tape_of):
    tape = str(tape_of(200).save(Path("market.tape")))
    argv = ["stress", "--data", tape, "--model", "symmetric", "--param", "half_spread=0.5", "--latency-ms", "2"]
    assert run([*argv, "--scenario", "latency_x50", "--scenario", "message_flood", "--json", "--processes", "1"]) == 0
    document = orjson.loads(capsys.readouterr().out)
    assert [row["status"] for row in document["rows"]] == ["completed"] * 3
    assert document["market"]["clock"] == "ticks"
    assert document["world"] is None


def test_a_model_that_trades_nothing_is_said_to_pass_no_test(capsys, tape_of):
    tape = str(tape_of(200).save(Path("market.tape")))
    argv = ["stress", "--data", tape, "--model", "symmetric", "--param", "half_spread=0.5", "--processes", "1"]
    assert run([*argv, "--scenario", "gap_up_5"]) == 0
    out = capsys.readouterr().out
    assert "tape-baseline: nothing was filled (never quoted: edge on every decision)" in out
    (page,) = Path("artifacts/stress").glob("*/report.html")
    assert "not put to a test" in page.read_text().partition("<main>")[0]


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["--scenario", "gap"], 2, "gap_down_10"),
        (["--crises", "nowhere"], 5, "no data folder nowhere"),
        (["--scenario", "march_2020"], 5, "--crises FOLDER"),
        (["--data", "nowhere.parquet"], 5, "no such file or folder: nowhere.parquet"),
        (["--exchange", "binance"], 2, "needs a SYMBOL"),
        (["--world", "--paths", "1"], 2, "paths must be"),
        (["--latency-ms", "5"], 2, "options of ticks"),
        (["--processes", "0"], 2, "processes must be at least 1"),
    ],
)
def test_bad_input_is_one_line_and_the_right_code(capsys, monkeypatch, argv, code, text):
    monkeypatch.setenv("MML_DATA_DIR", "no-data")
    assert run(["stress", *argv]) == code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert text in line
    assert not list(Path("artifacts").glob("stress/*"))
