"""`mml simulate --risk on`: limits in a model world as a user meets them."""

import orjson
import pytest

from marketmakerl.cli.main import run

WORLD = ("--paths", "300", "--dt-s", "0.05", "--arrival-rate", "14", "--adverse-move", "0.4")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_limits_are_off_unless_asked_for_and_say_what_they_did(capsys):
    assert run(["simulate", *WORLD]) == 0
    theory = capsys.readouterr().out
    assert "paths halted" not in theory
    assert run(["simulate", *WORLD, "--risk", "on", "--budget", "100", "--taker-bps", "5"]) == 0
    limited = capsys.readouterr().out
    for text in ("paths halted, %", "cost of what was taken off", "No exact figures: limits look at the whole path"):
        assert text in limited


def test_the_document_and_the_report_name_limits_and_budget(capsys, home):
    assert run(["simulate", *WORLD, "--risk", "on", "--budget", "5000", "--json"]) == 0
    document = orjson.loads(capsys.readouterr().out)
    assert document["risk"]["budget"] == 5000
    assert document["risk"]["risk"]["hard_inventory_pct"] == 0.2
    assert 0 <= document["models"][0]["metrics"]["halted_share"] <= 1
    (page,) = home.glob("artifacts/simulate/*/report.html")
    text = page.read_text(encoding="utf-8")
    assert "--risk on" in text
    assert "--budget 5000" in text
    assert "paths halted" in text


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--risk", "on"], "give budget (--budget)"),
        (["--budget", "1000"], "give risk too"),
        (["--risk", "perhaps", "--budget", "1000"], "perhaps"),
        (["--risk", "on", "--budget", "1000", "--exact"], "no exact figures"),
        (["--risk", "on", "--budget", "-3"], "budget must be"),
    ],
)
def test_what_makes_no_sense_is_one_line(capsys, argv, text):
    assert run(["simulate", *WORLD, *argv]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert text in line
