"""`mml ablate` as a user meets it: a table a setting, one JSON document, one error line."""

from pathlib import Path

import orjson
import pytest

from marketmakerl.cli.main import run

QUICK = ("--synthetic", "crash bars", "--windows", "2", "--processes", "1", "--controls",
         "hard_inventory_pct,daily_loss_pct,max_spread_bps")  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_person_reads_which_controls_help_and_which_do_not(capsys):
    assert run(["ablate", *QUICK, "--fees", "venue"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Tier T2, synthetic data")
    for text in (
        "crash bars, fees 2:5 bps: 2 windows, 8,640 equity changes of 60 s.",
        "hard_inventory_pct",
        "hold together at 95 %",
        "Never acted: max_spread_bps.",
        "Changed no fill on these data, which is not to say that they are useless: max_spread_bps",
        "Report: artifacts/ablate/",
    ):
        assert text in out.replace(str(Path.cwd()) + "/", ""), text
    assert "…" not in out  # nothing is cut off in a terminal of 80 columns
    assert "error:" not in err


def test_json_is_alone_on_stdout_and_the_report_says_how_to_do_it_again(capsys):
    argv = ["ablate", *QUICK, "--fees", "-0.5:3", "--alone", "--json", "--artifacts", "elsewhere", "--seed", "3"]
    assert run(argv) == 0
    document = orjson.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in document["settings"]] == ["crash bars, fees -0.5:3"]
    assert len(document["settings"][0]["effects"]) == 1 + 3 + 3
    folder = Path(document["folder"])
    assert folder.parent == Path("elsewhere/ablate")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "mml ablate --synthetic &#39;crash bars&#39; --fees -0.5:3" in page
    assert "--seed 3" in page
    assert (folder / "summary.csv").read_text().count("\n") == 1 + 7
    assert not Path("artifacts").exists()


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["--fees", "cheap"], 2, "--fees takes venue or maker:taker"),
        (["--fees", "1:x"], 2, "--fees takes venue or maker:taker"),
        (["--controls", "stop_lose_pct"], 2, "stop_loss_pct"),
        (["--synthetic", "calm"], 2, "synthetic market"),
        (["--synthetic", "none"], 2, "name a market"),
        (["--windows", "0"], 2, "windows"),
        (["--model", "magic"], 2, "magic"),
        (["--data", "nowhere", "--exchange", "binance", "--symbol", "BTC/USDT", "--synthetic", "none"], 5, "nowhere"),
        (["--exchange", "binance"], 2, "SYMBOL"),
        (["--synthetic", "crash bars", "--processes", "0"], 2, "processes"),
    ],
)
def test_bad_input_is_one_line_and_the_right_code(capsys, argv, code, text):
    assert run(["ablate", *argv]) == code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert text in line
    assert not Path("artifacts").exists()
