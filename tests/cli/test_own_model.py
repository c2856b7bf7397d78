"""`--model path.py:name` on every command that trades, as a user meets it."""

import re
from pathlib import Path

import orjson
import pytest

from marketmakerl.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "custom-model.md").read_text(encoding="utf-8")
FILE = """
from numba import njit

import marketmakerl as mml

DEFAULTS = {"half_spread": 0.4}


@njit
def even(context, params):
    return params[0], params[0]


@njit
def raises(context, params):
    if context.ts_ns > 0:
        raise ValueError("not now")
    return params[0], params[0]


table = mml.CustomModel(even, values=(0.7,), reads_market=False)
unit = lambda estimate, scale=1.0: mml.CustomModel(even, values=(scale / estimate.k,))
number = 3
"""
HALF = ("--param", "half_spread=0.4")
COARSE = ("--dt-s", "0.05", "--arrival-rate", "14")  # a model world of 20 steps
WORLD = ("--paths", "200", *COARSE)
BARS = ("--exchange", "binanceusdm", "--symbol", "BTC/USDT", "--warmup-bars", "60")
TICKS = ("--exchange", "binanceusdm", "--symbol", "BTC/USDT", "--data", ".", "--clock", "ticks")
STUDY = (*BARS, "--days", "1")
COMMANDS = {
    "backtest": TICKS,
    "campaign": ("-n", "2", "--warmup-bars", "60"),
    "walk-forward": (*STUDY, "--folds", "2"),
    "research-budgets": STUDY,
    "stress": ("--world", "--paths", "20"),
    "economics": (*BARS, "--data", "."),
    "ablate": ("--synthetic", "crash bars", "--windows", "2"),
    "realtime-paper": ("--iterations", "2", "--warmup-bars", "60"),
    "simulate": ("--paths", "20"),
    "compare": ("--paths", "20"),
    "optimum": (),
    "explain": (),
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, put_recording, put_bars):
    put_bars(tmp_path, 1500)
    put_recording(tmp_path, 100)
    (tmp_path / "quotes.py").write_text(FILE)
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("MML_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def document(capsys, *argv: str, code: int = 0) -> dict:
    assert run([*argv, "--json"]) == code, capsys.readouterr().err
    return orjson.loads(capsys.readouterr().out)


def fails(capsys, code: int, *argv: str) -> str:
    assert run(list(argv)) == code
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert out == ""
    return lines[0]


def pin(name: str) -> str:
    from marketmakerl.models.own_file import pinned

    return pinned(f"quotes.py:{name}")


def test_a_backtest_on_ticks_is_that_of_the_built_in_model_of_the_same_quotes(capsys):
    rebate = (*TICKS, "--maker-bps", "-1", "--taker-bps", "3")
    own = document(capsys, "backtest", *rebate, "--model", "quotes.py:even")
    built_in = document(capsys, "backtest", *rebate, "--model", "symmetric", *HALF)
    (mine,), (theirs,) = own["runs"], built_in["runs"]
    assert mine["metrics"] == theirs["metrics"]
    assert mine["metrics"]["fills"] > 0
    assert mine["model"] == pin("even")
    assert mine["parameters"]["warm_up"]["rows"] == 0  # it says what it wants, so nothing is estimated
    recorded = mine["parameters"]["model"]
    assert (recorded["file"], recorded["name"], recorded["values"]) == ("quotes.py", "even", [0.4])
    assert recorded["digest"] == pin("even")[-16:]
    wider = document(capsys, "backtest", *TICKS, "--model", "quotes.py:even", "--param", "0=2.5")
    assert wider["runs"][0]["parameters"]["model"]["values"] == [2.5]


def test_a_campaign_in_two_processes_its_manifest_and_a_file_that_changed(capsys, home):
    argv = ("campaign", "-n", "2", "--warmup-bars", "60", "--days", "0.5", "--processes")
    first = document(capsys, *argv, "2", "--model", "quotes.py:even", "--param", "half_spread=30")
    same = document(capsys, *argv, "1", "--model", "symmetric", "--param", "half_spread=30")
    assert [run["metrics"] for run in first["runs"]] == [run["metrics"] for run in same["runs"]]
    assert {run["model"] for run in first["runs"]} == {pin("even")}
    folder = Path(first["folder"])
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    assert manifest["config"]["options"]["model"] == manifest["config"]["setup"]["model"] == pin("even")
    assert pin("even") in (folder / "report.html").read_text(encoding="utf-8")

    again = document(capsys, "campaign", "--manifest", first["run_id"], "--processes", "1")
    for name in ("runs.jsonl", "summary.csv"):
        assert (Path(again["folder"]) / name).read_bytes() == (folder / name).read_bytes()
    Path("quotes.py").write_text(FILE + "# changed\n")
    line = fails(capsys, 2, "campaign", "--manifest", first["run_id"])
    assert re.search(r"quotes\.py, or a module beside it, has changed.*start anew with --model quotes\.py:even", line)
    Path("quotes.py").unlink()
    assert "cannot read quotes.py" in fails(capsys, 2, "campaign", "--manifest", first["run_id"])
    Path("else").mkdir()
    Path("else/quotes.py").write_text(FILE)
    moved = document(
        capsys, "campaign", "--manifest", first["run_id"], "--model", "else/quotes.py:even", "--processes", "1"
    )
    assert [run["metrics"] for run in moved["runs"]] == [run["metrics"] for run in first["runs"]]


@pytest.mark.parametrize(
    ("command", "processes", "codes"), [("walk-forward", "1", {0, 3}), ("research-budgets", "2", {0})]
)
def test_studies_of_formats_trade_it_alone_or_beside_some(capsys, command, processes, codes):
    argv = [command, *COMMANDS[command], "--processes", processes, "--json", "--maker-bps", "-1", "--taker-bps", "0"]
    assert run([*argv, "--model", "quotes.py:unit", "--model", "as_wide", "--param", "scale=4"]) in codes
    found = orjson.loads(capsys.readouterr().out)
    assert [(one["name"], one["model"], one.get("params")) for one in found["strategies"]] == [
        ("as_wide", "avellaneda_stoikov", None),
        ("quotes.py:unit", pin("unit"), {"scale": 4.0}),
    ]
    config = orjson.loads((Path(found["folder"]) / "manifest.json").read_bytes())["config"]["options"]
    assert (config["models"], config["model_params"]) == ([pin("unit"), "as_wide"], {"scale": 4.0})
    if command == "research-budgets":
        mine = [cell for cell in found["cells"] if cell["strategy"] == "quotes.py:unit"]
        assert len(mine) == len(found["cells"]) // 2 == 4
        assert {cell["status"] for cell in mine} == {"completed"}
        assert any(cell["metrics"]["fills"] > 0 for cell in mine)
    else:
        for fold in found["folds"]:
            assert {line["strategy"]: line["status"] for line in fold["train"]["candidates"]} == {
                "as_wide": "completed", "quotes.py:unit": "completed"
            }  # fmt: skip
    assert "quotes.py:unit" in (Path(found["folder"]) / "report.html").read_text(encoding="utf-8")


def test_stress_on_a_tape_and_in_a_world(capsys):
    quick = ("--days", "0.4", "--warmup-bars", "100", "--paths", "20", "--processes", "2", "--scenario", "gap_down_20")
    found = document(capsys, "stress", *quick, "--model", "quotes.py:even", "--param", "half_spread=30")
    rows = {row["run_id"]: row for row in found["rows"]}
    assert {row["status"] for row in rows.values()} <= {"completed", "failed_risk"}
    for name in ("tape-baseline", "tape-gap_down_20", "world-baseline", "world-gap_down_20"):
        assert rows[name]["model"] == pin("even")
        assert rows[name]["parameters"]["model"]["values"] == [30.0]


def test_economics_in_two_processes(capsys):
    argv = ("economics", *COMMANDS["economics"], "--fees", "0:3", "--bar-volume-share", "0.1,0.3", "--processes")
    own = document(capsys, *argv, "2", "--model", "quotes.py:unit", "--param", "scale=2")
    one = document(capsys, *argv, "1", "--model", "quotes.py:unit", "--param", "scale=2")
    assert own["model"] == pin("unit")
    assert own["cells"] == one["cells"]
    assert {cell["status"] for cell in own["cells"]} == {"completed"}
    lines = (Path(own["folder"]) / "runs.jsonl").read_bytes().splitlines()
    assert all(orjson.loads(line)["model"] == pin("unit") for line in lines)


def test_ablate(capsys):
    argv = ("ablate", *COMMANDS["ablate"], "--controls", "hard_inventory_pct", "--fees", "-0.5:3", "--processes")
    own = document(capsys, *argv, "2", "--model", "quotes.py:even", "--param", "half_spread=30")
    built_in = document(capsys, *argv, "1", "--model", "symmetric", "--param", "half_spread=30")
    assert own["settings"] == built_in["settings"]
    config = orjson.loads((Path(own["folder"]) / "manifest.json").read_bytes())["config"]
    assert pin("even") in str(config)
    assert "--model quotes.py:even" in (Path(own["folder"]) / "report.html").read_text(encoding="utf-8")


def test_paper_trading(capsys):
    found = document(capsys, "realtime-paper", *COMMANDS["realtime-paper"], "--model", "quotes.py:unit")
    opening = orjson.loads(Path(found["journal"]).read_bytes().splitlines()[0])
    recorded = opening["parameters"]["model"]
    assert (recorded["file"], recorded["name"], recorded["digest"]) == ("quotes.py", "unit", pin("unit")[-16:])


def test_the_model_world(capsys):
    found = document(capsys, "simulate", *WORLD, "--model", "quotes.py:table")
    (line,) = found["models"]
    assert line["name"] == "quotes.py:table"
    assert line["model"]["digest"] == pin("table")[-16:]
    built_in = document(capsys, "simulate", *WORLD, "--model", "symmetric", "--param", "half_spread=0.7")
    assert line["metrics"] == built_in["models"][0]["metrics"]
    assert found["ceiling"]["model"]["model"] == "quotes.py:table"
    manifest = orjson.loads((Path(found["folder"]) / "manifest.json").read_bytes())
    assert pin("table") in str(manifest["config"])
    sampled = document(capsys, "simulate", *WORLD, "--model", "quotes.py:even", "--param", "half_spread=0.7")
    (asked,) = sampled["models"]
    assert asked["metrics"]["exact"] is None
    assert "may read more" in asked["metrics"]["why_sampled"]
    assert asked["metrics"]["mean"] == pytest.approx(line["metrics"]["mean"])
    assert "quotes that" not in fails(capsys, 2, "simulate", "--paths", "20", "--exact", "--model", "quotes.py:number")
    assert "may read more" in fails(capsys, 2, "simulate", "--paths", "20", "--exact", "--model", "quotes.py:even")

    ranked = document(capsys, "compare", *WORLD, "--model", "quotes.py:table", "--model", "glft")
    assert {line["name"] for line in ranked["models"]} == {"quotes.py:table", "glft"}
    assert {line["model"].get("digest") for line in ranked["models"]} == {pin("table")[-16:], None}
    against = document(
        capsys, "compare", *WORLD, "--model", "quotes.py:unit", "--model", "glft", "--baseline",
        "quotes.py:unit",
    )  # fmt: skip
    assert against["references"] == ["quotes.py:unit"]
    best = document(capsys, "optimum", *COARSE, "--model", "quotes.py:table")
    assert [line["name"] for line in best["models"]] == ["optimal", "quotes.py:table"]
    Path("else").mkdir()
    Path("else/quotes.py").write_text(FILE)
    both = ("--model", "quotes.py:table", "--model", "else/quotes.py:table")
    assert "two models are called quotes.py:table" in fails(capsys, 2, "compare", "--paths", "20", *both)
    Path("a_file_with_quite_a_long_name.py").write_text(FILE)
    assert run(["optimum", *COARSE, "--model", "a_file_with_quite_a_long_name.py:table"]) == 0
    assert "…" not in capsys.readouterr().out


def test_explain_and_the_page(capsys):
    found = document(capsys, "explain", "--model", "quotes.py:even", "--q", "3")
    assert (found["parts"]["bid_offset"], found["model"]["digest"]) == (0.4, pin("even")[-16:])
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    Path("quotes.py").write_text(blocks[-1])
    for argv in (
        ("quotes.py:leaning", "--param", "half_spread=2"),
        ("quotes.py:table",),
        ("quotes.py:measured", "--param", "sigma=1", "--param", "k=2", "--param", "arrival_rate=1"),
        ("quotes.py:Patient", "--param", "sigma=1", "--param", "k=2", "--param", "arrival_rate=1"),
    ):
        assert run(["explain", "--model", *argv, "--q", "3"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_how_and_refuses_what_is_no_model(capsys, command):
    assert run([command, "--help"]) == 0
    assert "path.py:name" in " ".join(capsys.readouterr().out.split())
    for model, text in (
        ("nowhere.py:even", "cannot read nowhere.py"),
        ("quotes.py:number", "number is no model but int"),
        ("quotes.py:evn", "did you mean even?"),
        ("quotes.py", "path.py:name"),
    ):
        assert text in fails(capsys, 2, command, *COMMANDS[command], "--model", model)
    Path("quotes.py").write_text("1 / 0")
    line = fails(capsys, 2, command, *COMMANDS[command], "--model", "quotes.py:even")
    assert "quotes.py cannot be loaded: ZeroDivisionError: division by zero (line 1)" in line
    assert not Path("artifacts").exists()


def test_what_a_model_raises_is_one_line_and_code_2(capsys):
    text = r"the model raises \(quotes\.py, line \d+\) raised ValueError: not now at \d{4}-.*mid "
    for argv in (
        ("backtest", *TICKS),
        ("campaign", "-n", "1", "--warmup-bars", "60", "--days", "0.5"),
        ("economics", *COMMANDS["economics"], "--fees", "0:3", "--processes", "2"),
        ("ablate", *COMMANDS["ablate"], "--controls", "hard_inventory_pct", "--processes", "1"),
        ("realtime-paper", *COMMANDS["realtime-paper"]),
        ("research-budgets", *STUDY, "--processes", "1"),
    ):
        assert run([*argv, "--model", "quotes.py:raises", "--param", "half_spread=30"]) == 2, argv
        err = capsys.readouterr().err
        assert re.search(text, err), (argv, err)
        assert "Traceback" not in err
    line = fails(capsys, 2, "simulate", "--paths", "20", "--model", "quotes.py:raises")
    assert re.search(r"raised ValueError: not now at 0\.005 s, .*step 1 of path 0", line)


def test_a_format_that_nobody_knows(capsys):
    line = fails(capsys, 2, "walk-forward", *STUDY, "--model", "as_widest")
    assert "unknown strategy format 'as_widest'; did you mean as_wide?" in line
    line = fails(capsys, 2, "research-budgets", *STUDY, "--model", "glft", "--param", "0=1")
    assert "parameters are for a model of your own" in line
    line = fails(capsys, 2, "research-budgets", *STUDY, "--model", "glft", "--model", "glft")
    assert "named twice" in line
