"""`mml simulate`, `mml compare` and `mml optimum` as a user meets them: tables, one JSON document, one error line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from marketmakerl.cli.main import run
from marketmakerl.models.calibration import Calibration
from marketmakerl.models.estimate import Estimate

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "model-world.md").read_text(encoding="utf-8")
FEW = ("--paths", "2000")
FAST = ("--paths", "50", "--no-exact")
COARSE = ("--dt-s", "0.05", "--arrival-rate", "14")  # 20 steps and not 200


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys, *argv: str) -> str:
    assert run(list(argv)) == 0, capsys.readouterr().err
    out, err = capsys.readouterr()
    assert err == ""
    return out


def document(capsys, *argv: str) -> dict:
    return orjson.loads(said(capsys, *argv, "--json"))


def calibration(path: Path, **refused: str) -> Path:
    """Write what a calibration of a market would say, without some of its estimates."""
    found = {
        name: None if name in refused else Estimate(value, 0.1, "", "made up", 100)
        for name, value in (("sigma", 0.5), ("k", 1.2), ("arrival_rate", 0.8), ("adverse_move", 0.05))
    }
    made = Calibration(
        source="test", symbol="BTC/USDT", tier="T1", clock="ticks", first_ns=0, last_ns=10**12, observed_s=1000.0,
        tick_size=0.1, lot_size=0.001, mid=60_000.0, data_hash="00", estimates=found, reasons=dict(refused),
    )  # fmt: skip
    return made.save(path)


def is_what_the_page_shows(command: str, out: str) -> None:
    block = PAGE.partition(f"    {command}\n\n")[2].partition("\n\n")[0]
    shown = [line.removeprefix("    ").rstrip() for line in block.splitlines()]
    printed = [line.rstrip() for line in out.splitlines()]
    assert len(shown) > 10
    assert shown == printed[1:-1]  # all but the tier's line and where the report lies


def test_optimum_prints_the_published_table_and_that_of_the_page(capsys):
    out = said(capsys, "optimum", "--gamma", "0.1")
    assert out.startswith("Tier T2, a model world")
    rows = dict(re.findall(r"^(\w+) +(.+?) *$", out, re.MULTILINE))
    assert rows["avellaneda_stoikov"].split() == ["64.8925", "6.5432", "2.9268", "62.7871", "2.4613", "3.77"]
    assert rows["glft_exact"].split() == ["67.8310", "7.2506", "3.0966", "65.2365", "0.0119", "0.02"]
    assert rows["glft_closed_form"].split()[:4] == ["67.7289", "7.1753", "2.1957", "65.1872"]
    assert rows["optimal"].split()[3:] == ["65.2485", "0.0000", "0.00"]
    assert re.search(r"^\+5 +0\.9087 +0\.4056 ", out, re.MULTILINE)
    assert re.search(r"^-5 +0\.4056 +0\.9087 ", out, re.MULTILINE)
    assert "…" not in out  # nothing is cut off in a terminal of 80 columns
    assert max(map(len, re.findall(r"^[a-z_]+  .*$|^[-+]\d .*$", out, re.MULTILINE))) <= 80
    is_what_the_page_shows("mml optimum --gamma 0.1", out)


def test_optimum_of_a_running_penalty(capsys):
    told = document(capsys, "optimum", "--phi", "0.5", "--alpha", "0", "--arrival-rate", "10", "--k", "1")
    by_name = {line["name"]: line["metrics"] for line in told["models"]}
    assert told["objective"]["id"] == "running_penalty"
    assert by_name["optimal_penalty"]["value"] == pytest.approx(told["objective"]["value"], abs=1e-7)
    assert by_name["cartea_jaimungal"]["left"] < 0.001 < by_name["risk_neutral"]["left"]


def test_simulate_prints_sampled_and_exact_side_by_side(capsys):
    out = said(capsys, "simulate", *FEW, "--seed", "4", "--threads", "1")
    lines = out.splitlines()
    assert lines[0].startswith("Tier T2, a model world")
    mean = next(line for line in lines if line.startswith("mean profit"))
    sampled, low, _, high, exact = mean.split()[2:]
    assert float(low) < float(sampled) < float(high)
    assert exact == "64.8925"
    assert "2.4613 or 3.77 % is left on the table" in out
    assert "…" not in out
    (folder,) = Path("artifacts/simulate").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json", "runs.jsonl", "summary.csv", "analysis.json", "report.html",
    }  # fmt: skip
    (line,) = (folder / "runs.jsonl").read_bytes().splitlines()
    run_line = orjson.loads(line)
    assert run_line["model"] == "avellaneda_stoikov"
    assert run_line["tier"] == "T2"
    assert run_line["seed"] == 4
    assert f"{run_line['metrics']['mean']:.4f}" == sampled


def test_the_same_command_gives_the_same_bytes_however_many_threads(capsys):
    for command in (["simulate", "--model", "glft_exact"], ["compare", "--model", "glft", "--model", "symmetric"]):
        for threads in ("1", "2"):
            said(capsys, *command, *COARSE, "--paths", "9000", "--threads", threads)
        first, second = sorted(Path("artifacts", command[0]).iterdir())
        for name in ("runs.jsonl", "summary.csv", "analysis.json"):
            assert (first / name).read_bytes() == (second / name).read_bytes()


def test_compare_ranks_and_says_how(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    models = ("symmetric", "avellaneda_stoikov", "glft_exact", "optimal")
    out = said(capsys, "compare", *FEW, *(word for name in models for word in ("--model", name)))
    ranked = re.findall(r"^(\d) +(\w+) +(-?[\d.]+) +(-?[\d.]+)", out, re.MULTILINE)
    assert ranked == [
        ("1", "optimal", "65.25", "0.00"), ("2", "glft_exact", "65.24", "0.01"),
        ("3", "avellaneda_stoikov", "62.79", "2.46"), ("4", "symmetric", "-14.26", "79.51"),
    ]  # fmt: skip
    assert "5 differences of 4 models were looked at: each interval is taken at 99 %" in out
    assert "Bonferroni" in out
    assert re.search(r"avellaneda_stoikov .* baseline$", out, re.MULTILINE)
    assert "…" not in out


def test_compare_takes_every_model_where_none_is_named(capsys):
    told = document(capsys, "compare", *FEW, *COARSE)
    assert [line["rank"] for line in told["models"]] == list(range(1, 12))
    assert told["models"][0]["name"] == "optimal"
    assert told["references"] == ["avellaneda_stoikov", "optimal"]
    assert len(told["pictures"]["frontier"]) == 5 * 6
    assert "seconds" not in str(told).lower()
    assert len(Path(told["folder"], "runs.jsonl").read_bytes().splitlines()) == 11


def test_a_world_without_an_optimum_is_compared_without_it(capsys):
    out = said(capsys, "compare", *FEW, "--hawkes", "excitation=10,decay_per_s=40", "--latency-steps", "1")
    assert "this world has no exact optimum: quotes that arrive late depend on the past" in out
    assert "Do not trust the certainty equivalent of" in out
    assert "optimal " not in out


WORLDS = (
    ("--mid", "jump_diffusion", "--mid-param", "rate_per_s=2", "--mid-param", "jump_std=1"),
    ("--mid", "regime_switching", "--mid-param", "factors=0.5,2", "--mid-param", "leave_per_s=1,3"),
    ("--curve", "power", "--curve-param", "scale=1", "--curve-param", "exponent=3", "--fill", "poisson"),
    ("--curve", "empirical", "--curve-param", "distance=0,0.5,1", "--curve-param", "share=1,0.4,0.1", "--no-exact"),
    ("--levels", "3", "--tick-size", "0.1", "--arrival-rate", "20"),
    ("--inventory-limit", "2", "--fee", "-0.1", "--drift", "1", "--order-size", "2"),
)


def test_worlds_are_described_in_words(home):
    """Without a compiler: each is another kind of world, whose kernels the tests of the world compile and try."""
    few = ("--paths", "6", *COARSE)  # what a world says of itself comes after, and wins
    argvs = [["simulate", "--model", "glft", *few, *argv, "--json"] for argv in WORLDS]
    code = "import json, sys; from marketmakerl.cli.main import run; "
    code += "sys.exit(max(run(argv) for argv in json.loads(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, orjson.dumps(argvs).decode()],
        capture_output=True, text=True, check=False, timeout=240, env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    told, rest = [], done.stdout
    while rest.strip():
        document, end = json.JSONDecoder().raw_decode(rest.lstrip())
        told.append(document)
        rest = rest.lstrip()[end:]
    assert len(told) == len(WORLDS)
    for argv, document in zip(WORLDS, told, strict=True):
        assert document["models"][0]["metrics"]["n_paths"] == 6
        report = Path(document["folder"], "report.html").read_text(encoding="utf-8")
        assert "mml simulate" in report
        assert all(word in report for word in argv), argv


def test_a_calibration_makes_a_world(capsys, home):
    path = calibration(home / "found.json")
    told = document(capsys, "simulate", "--model", "glft", "--calibration", str(path), *FAST, "--fee", "0.1")
    world = told["world"]
    assert (world["s0"], world["sigma"], world["k"], world["arrival_rate"]) == (60_000.0, 0.5, 1.2, 0.8)
    assert (world["fill"], world["adverse_move"], world["fee_per_unit"]) == ("poisson", 0.05, 0.1)
    assert (world["horizon_s"], world["dt_s"]) == (600.0, 1.0)
    manifest = orjson.loads(Path(told["folder"], "manifest.json").read_bytes())
    assert manifest["tier"] == "T2"
    assert [entry["kind"] for entry in manifest["data"]] == ["model world", "calibration"]
    assert manifest["data"][1]["file"] == "found.json"


def test_the_gamma_of_a_calibrated_world_leans_by_one_over_k_at_ten_orders(capsys, home):
    path = calibration(home / "found.json")
    told = document(capsys, "simulate", "--model", "glft_closed_form", "--calibration", str(path), *FAST)
    at = told["pictures"]["quotes"]["inventories"].index(10)
    flat = told["pictures"]["quotes"]["inventories"].index(0)
    quotes = told["pictures"]["quotes"]["by_inventory"]["glft_closed_form"][0]
    lean = ((quotes[at][0] - quotes[at][1]) - (quotes[flat][0] - quotes[flat][1])) / 2
    # A little more than 1/k: the rule does not know that fills move the mid, and the model does.
    assert 1 / 1.2 <= lean < 1.05 / 1.2


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--gamma", "0"], "gamma must be a finite number > 0, got 0.0"),
        (["--gamma", "nan"], "gamma must be a finite number > 0, got nan"),
        (["--k", "-1.5"], "k must be a finite number > 0 and <= 1e+20, got -1.5"),
        (["--sigma", "0"], "sigma must be a finite number > 0 and <= 1e+20, got 0.0"),
        (["--sigma", "inf"], "sigma must be a finite number > 0 and <= 1e+20, got inf"),
        (["--arrival-rate", "0"], "arrival_rate must be a finite number > 0 and <= 1e+20, got 0.0"),
        (["--arrival-rate", "300"], "arrival_rate must be <= 1 / dt_s = 200 with fill='linear'"),
        (["--dt-s", "0"], "dt_s must be a finite number > 0 and <= 1e+20, got 0.0"),
        (["--dt-s", "0.3"], "dt_s must be <= horizon_s and divide it"),
        (["--horizon-s", "0"], "horizon_s must be a finite number > 0 and <= 1e+20, got 0.0"),
        (["--s0", "-1"], "s0 must be a finite number > 0"),
        (["--q-max", "0"], "q_max must be a whole number >= 1"),
        (["--q-max", "5"], "q_max must be >= "),
        (["--inventory-limit", "0"], "inventory_limit must be a whole number >= 1"),
        (["--order-size", "0"], "order_size must be a finite number > 0"),
        (["--adverse-move", "-1"], "adverse_move must be a finite number >= 0"),
        (["--latency-steps", "-1"], "latency_steps must be a whole number >= 0"),
        (["--fee", "nan"], "fee_per_unit must be a finite number"),
        (["--fill", "quadratic"], "unknown fill 'quadratic'; known: linear, poisson"),
        (["--mid", "hestom"], "unknown mid 'hestom'; did you mean heston"),
        (["--mid", "heston"], "mid heston needs speed_per_s, vol_of_vol: add --mid-param speed_per_s=number"),
        (["--mid-param", "rate_per_s=2"], "--mid-param without --mid"),
        (["--mid", "jump_diffusion", "--mid-param", "rate_per_s"], "--mid-param 'rate_per_s' is not name=number"),
        (["--mid", "jump_diffusion", "--mid-param", "rate_per_s=900"], "mid.rate_per_s must be a finite number >= 0"),
        (["--curve", "power", "--curve-param", "scale=1"], "curve power needs exponent"),
        (["--hawkes", "excitation=9,decay_per_s=5"], "arrivals.excitation + arrivals.cross_excitation must be <"),
        (["--hawkes", "measured"], "--hawkes measured needs a --calibration FILE"),
        (["--phi", "-1"], "phi must be a finite number >= 0"),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "compare", "optimum"])
def test_bad_input_is_one_line_that_names_the_range(capsys, command, argv, text):
    assert run([command, *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert text in err
    assert not list(Path().glob("artifacts/*/*"))


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["simulate", "--paths", "0"], 2, "paths must be a whole number >= 2"),
        (["simulate", "--seed", "-1"], 2, "seed"),
        (["simulate", "--level", "1"], 2, "level must be between 0 and 1"),
        (["simulate", "--threads", "0"], 2, "threads must be a whole number >= 1"),
        (["simulate", "--model", "glfd"], 2, "unknown model 'glfd'; did you mean glft"),
        (["simulate", "--param", "gama=1"], 2, "unknown parameter of avellaneda_stoikov 'gama'; did you mean gamma"),
        (["simulate", "--levels", "3"], 2, "a ladder needs the world's tick_size"),
        (["simulate", "--levels", "0", "--tick-size", "1"], 2, "levels must be a whole number from 1 to 100"),
        (["simulate", "--exact", "--latency-steps", "1"], 2, "evaluate_exact needs independent steps"),
        (["simulate", "--model", "optimal", "--mid", "geometric"], 2, "optimal_policy needs independent steps"),
        (["simulate", "--calibration", "nowhere.json"], 5, "no such file: nowhere.json"),
        (["simulate", "--sigma", "two"], 2, "'--sigma'"),
        (["compare", "--baseline", "glft", "--model", "symmetric"], 2, "unknown baseline 'glft'"),
        (["compare", "--model", "glft", "--model", "glft"], 2, "model glft is named twice"),
        (["compare", "--paths", "1"], 2, "paths must be a whole number >= 2"),
        (["optimum", "--hawkes", "excitation=1,decay_per_s=5"], 2, "optimal_policy needs independent steps"),
    ],
)
def test_what_cannot_be_done_says_why(capsys, argv, code, text):
    assert run(argv) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert text in err
    assert not list(Path().glob("artifacts/*/*"))


def test_a_refused_calibration_says_why(capsys, home):
    path = calibration(home / "found.json", k="too few orders")
    assert run(["simulate", "--calibration", str(path)]) == 2
    assert "the calibration of test has no k: too few orders" in capsys.readouterr().err


def test_the_page_shows_what_simulate_prints(capsys):
    command = "mml simulate --model glft_exact --gamma 0.1 --fee 0.2"
    is_what_the_page_shows(command, said(capsys, *command.split()[1:]))


def test_what_the_page_does_from_python_runs(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "docs/model-world.md", "exec"), {})
    assert capsys.readouterr().out.startswith("['optimal', 'glft_exact', 'avellaneda_stoikov'] 0.00446")


def test_help_shows_an_example_and_needs_no_compiler():
    commands = ["simulate", "compare", "optimum"]
    code = (
        "from marketmakerl.cli.main import run\n"
        f"for command in {commands}:\n"
        "    assert run([command, '--help']) == 0\n"
        "    print('\\f', end='')\n"
    )
    text = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    *pages, rest = text.stdout.split("\f")
    assert rest == ""
    for command, page in zip(commands, pages, strict=True):
        assert f"mml {command} " in page
        assert "--mid-param" in page
        assert "> 0" in page
    assert " marketmakerl.cli.main\n" in text.stderr
    for slow in ("numba", "numpy", "scipy", "plotly", "rich.console"):
        assert f" {slow}\n" not in text.stderr
