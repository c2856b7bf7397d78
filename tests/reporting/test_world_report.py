"""The reports of the model world: their numbers, their pictures, and the same bytes for the same files."""

import re
import shutil
import subprocess

import orjson
import pytest

import marketmakerl as mml
from marketmakerl.core.errors import DataFormatError
from marketmakerl.reporting.world_figures import world_figures
from marketmakerl.reporting.world_report import command_of, write_world_report
from marketmakerl.reporting.world_tables import figure, interval, signed
from marketmakerl.validation.world_study import WorldStudy, compare_study, optimum_study, simulate_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAPER = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5)
MODELS = ("symmetric", "avellaneda_stoikov", "glft_exact", "optimal")
STUDY = WorldStudy(world=PAPER, gamma=0.1, n_paths=500, seed=2, options={"paths": 500, "exact": False, "fee": None})


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    home = tmp_path_factory.mktemp("worlds")
    return {
        "simulate": simulate_study(STUDY, "avellaneda_stoikov", home),
        "compare": compare_study(STUDY, home, model_ids=MODELS),
        "optimum": optimum_study(STUDY, home, model_ids=MODELS[:3]),
    }


def page_of(result) -> str:
    return (result.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("simulate", ["64.8925", "6.5432", "62.7871", "2.4613"]),
        ("compare", ["64.8925", "67.8310", "65.2485", "-14.2629", "2.9339"]),
        ("optimum", ["67.8265", "65.2365", "0.0119", "0.9087", "0.4056", "121.86"]),
    ],
)
def test_a_report_holds_its_numbers(studies, kind, numbers):
    tables = page_of(studies[kind]).partition('<script type="application/json"')[0]
    for number in numbers:
        assert number in tables, number
    assert tables.index("Tier T2, a model world") < tables.index("<h1>")


def test_the_same_files_give_the_same_bytes(studies):
    for result in studies.values():
        before = page_of(result)
        assert write_world_report(result.folder).read_text(encoding="utf-8") == before


def test_the_command_repeats_the_study():
    options = {
        "model": ["glft", "symmetric"], "mid_param": ["rate_per_s=2"], "exact": False, "fee": 0.1, "q_max": None,
        "baseline": "", "horizon_s": 1.0, "drift": 0.0,
    }  # fmt: skip
    assert command_of({"kind": "compare", "config": {"options": options}}) == (
        "mml compare --model glft --model symmetric --mid-param rate_per_s=2 --no-exact --fee 0.1 "
        "--horizon-s 1 --drift 0"
    )


def test_pictures_of_the_quotes_are_the_models_own(studies):
    figures = world_figures(studies["compare"].analysis)
    bid, ask = (trace for trace in figures["quotes_start"]["data"] if trace["name"] == "avellaneda_stoikov")
    model = mml.AvellanedaStoikov(0.1, 1.5, 2.0, 1.0)
    at = bid["x"].index(3)
    assert (-bid["y"][at], ask["y"][at]) == pytest.approx(model.offsets(3, 1.0))
    flat = [trace for trace in figures["quotes_flat"]["data"] if trace["name"] == "avellaneda_stoikov"]
    assert -flat[0]["y"][-1] == pytest.approx(model.offsets(0, 0.005)[0])


def test_pictures_of_profits_and_frontier_add_up(studies):
    analysis = studies["compare"].analysis
    found = analysis["pictures"]["distributions"]
    width = found["edges"][1] - found["edges"][0]
    for model in found["models"].values():
        assert sum(model["density"]) * width + model["outside"] == pytest.approx(1.0, abs=1e-9)
    figures = world_figures(analysis)
    assert {trace["name"] for trace in figures["frontier"]["data"]} == set(MODELS)
    optimum = next(trace for trace in figures["frontier"]["data"] if trace["name"] == "optimal")
    low, high = figures["frontier"]["layout"]["yaxis"]["range"]
    assert low < min(optimum["y"])
    assert max(optimum["y"]) < high
    differences = figures["differences"]["data"][0]
    assert differences["y"] == ["symmetric", "glft_exact", "optimal"]


def test_a_path_s_fills_are_where_its_inventory_moves(studies):
    path = studies["simulate"].analysis["pictures"]["path"]
    assert len(path["mid"]) == len(path["inventory"]) == len(path["bid"]) + 1 == 201
    assert all(bid < ask for bid, ask in zip(path["bid"], path["ask"], strict=True))
    figures = world_figures(studies["simulate"].analysis)
    bought = next(trace for trace in figures["path"]["data"] if trace["name"] == "bought")
    assert len(bought["x"]["bdata"]) > 100


def test_what_is_no_study_is_said_to_be_none(studies, tmp_path):
    shutil.copytree(studies["simulate"].folder, tmp_path / "study")
    analysis = orjson.loads((tmp_path / "study" / "analysis.json").read_bytes())
    del analysis["pictures"]["quotes"]
    (tmp_path / "study" / "analysis.json").write_bytes(orjson.dumps(analysis))
    with pytest.raises(DataFormatError, match="is not of the model world"):
        write_world_report(tmp_path / "study")


def test_numbers_for_readers():
    assert [figure(v) for v in (64.89254, -14.26289, 1234.5678, 123456.78, 0.0119392, 6.7e-5, 1e-25, None)] == [
        "64.8925", "-14.2629", "1,234.57", "123,457", "0.0119", "6.7e-05", "0.0000", "-",
    ]  # fmt: skip
    assert interval(1.0, 2.0) == "1.0000 to 2.0000"
    assert interval(None, None) == "-"
    assert signed({"mean": 2.9339, "mean_low": 2.89, "mean_high": 2.97}) == "+2.934 ± 0.040 *"
    assert signed({"mean": -0.5, "mean_low": -30.5, "mean_high": 29.5}) == "+0 ± 30  "
    assert signed({"mean": 0.0, "mean_low": 0.0, "mean_high": 0.0}) == "+0.00 ± 0.00  "


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed (apt-get install chromium)")
@pytest.mark.parametrize("kind", ["simulate", "compare", "optimum"])
def test_it_draws_without_a_word_on_the_console(studies, tmp_path, kind):
    probe = (
        "<script>document.addEventListener('ready', () => { const page = document.documentElement; "
        "document.body.insertAdjacentHTML('beforeend', '<pre id=probe>' + (page.scrollWidth - page.clientWidth) + "
        "'</pre>'); })</script></body>"
    )
    page = tmp_path / "page.html"
    page.write_text(page_of(studies[kind]).replace("</body>", probe), encoding="utf-8")
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--disable-dev-shm-usage", "--no-first-run", "--enable-logging=stderr", "--virtual-time-budget=10000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=520,900", "--dump-dom", page.as_uri()),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    charts = set(re.findall(r'data-figure="(\w+)"', page_of(studies[kind])))
    drawn = set(re.findall(r'data-figure="(\w+)"[^>]*class="[^"]*js-plotly-plot', done.stdout)) | set(
        re.findall(r'class="[^"]*js-plotly-plot[^"]*"[^>]*data-figure="(\w+)"', done.stdout)
    )
    assert charts == drawn
    assert len(charts) >= 5
    assert int(re.search(r"<pre id=\"probe\">(-?\d+)</pre>", done.stdout)[1]) <= 0
