"""Research budgets: every cell is the run it says it is, judged by the gate; the same input gives the same bytes."""

import re
from dataclasses import replace
from functools import cache
from shutil import copytree

import orjson
import pandas as pd
import pytest

from marketmakerl.backtesting.session import split_warm_up
from marketmakerl.backtesting.trading import trade
from marketmakerl.core.clock import ManualClock
from marketmakerl.core.errors import ArtifactError, ConfigError, DataFormatError, DataQualityError
from marketmakerl.core.fees import Fees
from marketmakerl.data.market import MarketRequest
from marketmakerl.reporting.study_report import shortage, write_study_report
from marketmakerl.validation.gates import gate_run, research_checks
from marketmakerl.validation.research_budgets import BUDGETS, ResearchBudgetsConfig, research_budgets
from marketmakerl.validation.strategies import strategy_formats
from marketmakerl.validation.study import load
from recorded import bars_of, put_klines, standing_still

BARS = bars_of(1000)


def config_of(root, **changes) -> ResearchBudgetsConfig:
    market = MarketRequest("binanceusdm", "BTC/USDT", root, days=0.5)
    return ResearchBudgetsConfig(**{"market": market, "warmup_bars": 60} | changes)


@pytest.fixture
def config(tmp_path):
    put_klines(tmp_path, BARS)
    return config_of(tmp_path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("home")
    put_klines(root, BARS)
    return root


@cache
def study_in(root):
    told = []
    done = research_budgets(config_of(root), root / "art", processes=1, clock=ManualClock(5),
                            progress=lambda *step: told.append(step))  # fmt: skip
    return done, tuple(told)


@pytest.fixture
def study(home):
    """The study of `config` and the progress that was told: made once, to be read only."""
    return study_in(home)


@pytest.fixture
def done(study):
    return study[0]


@pytest.fixture
def folder(done, tmp_path):
    """A copy of its folder, to be written to."""
    return copytree(done.folder, tmp_path / "art")


def test_every_cell_is_the_run_it_says_it_is(config, done):
    cells = done.analysis["cells"]
    formats = {strategy.name: strategy for strategy in strategy_formats()}
    assert [(cell["budget"], cell["strategy"]) for cell in cells] == [(b, name) for b in BUDGETS for name in formats]
    warm_up, rest = split_warm_up(load(config).tape, 60)
    fees = Fees.for_exchange("binanceusdm")
    for cell in cells:
        result, _ = trade(config.session(formats[cell["strategy"]], cell["budget"], fees), rest, warm_up=warm_up)
        assert cell["metrics"] == result.metrics.model_dump()
        assert cell["metrics"]["initial_budget"] == pytest.approx(cell["budget"])
        checks = research_checks(cell["metrics"], "T1")
        assert cell["checks"] == [check.as_dict() for check in checks]
        assert cell["passed"] == all(check.passed for check in checks)
    assert done.exit_code == 0


def test_the_same_input_gives_the_same_bytes(home, done, tmp_path):
    made = [
        research_budgets(config_of(home), tmp_path / name, processes=processes, clock=ManualClock(5))
        for name, processes in (("again", 1), ("two", 2))
    ]
    for file in ("analysis.json", "analysis.csv", "report.html", "manifest.json"):
        assert len({(study.folder / file).read_bytes() for study in (done, *made)}) == 1, file


def test_the_artifacts_agree_with_the_result(done):
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "analysis.csv", "analysis.json", "manifest.json", "report.html",
    ]  # fmt: skip
    analysis = orjson.loads((done.folder / "analysis.json").read_bytes())
    assert analysis == orjson.loads(orjson.dumps(done.analysis))
    table = pd.read_csv(done.folder / "analysis.csv")
    assert len(table) == len(BUDGETS) * len(strategy_formats())
    assert list(table["pnl"]) == pytest.approx([cell["metrics"]["pnl"] for cell in analysis["cells"]])
    assert list(table["passed"]) == [cell["passed"] for cell in analysis["cells"]]
    checks = {check.name: check for check in gate_run(done.folder)}
    assert checks["complete"].value == len(table)
    assert checks["positive_share"].value == pytest.approx((table["excess_pnl"] > 0).mean())


def test_the_heat_map_shows_what_each_cell_earned(done):
    page = (done.folder / "report.html").read_text()
    figures = orjson.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])
    (heat,) = figures["study"]["data"]
    assert heat["type"] == "heatmap"
    assert heat["x"] == [f"{budget:,.0f}" for budget in BUDGETS]
    names = [strategy.name for strategy in strategy_formats()]
    assert heat["y"] == names
    for cell in done.analysis["cells"]:
        shown = heat["z"][names.index(cell["strategy"])][BUDGETS.index(cell["budget"])]
        assert shown == pytest.approx(100 * cell["metrics"]["excess_pnl"] / cell["budget"], abs=1e-5)
    body = page[page.index("<body>") :]
    assert body.index("Tier T1, recorded exchange data") < body.index("<h1>")  # the evidence comes first
    ours = page[: page.index('id="figures"')]  # what follows is plotly's own file
    assert not re.search(r'(src|href)\s*=\s*"?\s*https?:', ours)


def test_a_report_is_made_from_the_files_alone(folder):
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert write_study_report(folder).read_bytes() == before
    (folder / "analysis.json").write_text('{"market": {}}')
    with pytest.raises(DataFormatError, match="not a study"):
        write_study_report(folder)


def test_hostile_names_are_text(folder):
    analysis = orjson.loads((folder / "analysis.json").read_bytes())
    analysis["cells"][0] |= {"metrics": None, "status": "error", "error": "</script><b onload=x>"}
    (folder / "analysis.json").write_bytes(orjson.dumps(analysis))
    page = write_study_report(folder).read_text()
    assert "<b onload" not in page


def test_only_the_last_days_are_traded(config, tmp_path):
    put_klines(tmp_path, BARS.iloc[:500], "binanceusdm_ETHUSDT_1m_a_b.parquet")
    assert load(config).tape.ts_ns[0] == BARS["ts_ms"].iloc[-720] * 1_000_000
    short = load(replace(config, market=replace(config.market, symbol="ETH/USDT")))
    assert len(short.tape) == 4 * 500


def test_a_tape_is_cut_to_its_last_days_too(config, tmp_path):
    tape = load(replace(config, market=replace(config.market, days=None))).tape
    path = tape.save(tmp_path / "a.tape")
    request = MarketRequest("binanceusdm", "BTC/USDT", path, days=0.5)
    cut = load(config_of(tmp_path, market=request)).tape
    assert len(tape) == 4 * 1000
    assert len(cut) == 4 * 720
    assert cut.ts_ns[-1] == tape.ts_ns[-1]


def test_a_tape_of_anything_but_bars_is_refused(config, tmp_path):
    tape = load(config).tape
    path = replace(tape, meta={"tier": "T1", "clock": "ticks"}).save(tmp_path / "ticks.tape")
    with pytest.raises(DataFormatError, match="'ticks'"):
        load(config_of(tmp_path, market=MarketRequest("binanceusdm", "BTC/USDT", path, days=1)))


def test_fewer_days_than_asked_are_said(tmp_path):
    put_klines(tmp_path, BARS)
    config = config_of(tmp_path, market=MarketRequest("binanceusdm", "BTC/USDT", tmp_path, days=30))
    done = research_budgets(config, tmp_path / "art", processes=1)
    assert shortage(done.analysis).startswith("Only 0.7 of the 30 days asked for are held")
    assert "Only 0.7 of the 30 days" in (done.folder / "report.html").read_text()
    enough = {"market": done.analysis["market"] | {"days_asked": 0.69}}
    assert shortage(enough) == ""


def test_spot_is_judged_over_holding(tmp_path):
    put_klines(tmp_path, BARS, "binance_BTCUSDT_1m_a_b.parquet")
    config = config_of(tmp_path, market=MarketRequest("binance", "BTC/USDT", tmp_path, days=0.5))
    done = research_budgets(config, tmp_path / "art", processes=1)
    cell = done.analysis["cells"][0]
    assert done.analysis["market"]["instrument_kind"] == "spot"
    assert cell["metrics"]["excess_pnl"] != cell["metrics"]["pnl"]
    (check,) = [check for check in cell["checks"] if check["name"] == "positive_pnl"]
    assert check["value"] == pytest.approx(cell["metrics"]["excess_pnl"], abs=1e-4)


def test_a_synthetic_market_passes_no_cell(tmp_path):
    config = config_of(tmp_path, market=MarketRequest("sim", days=0.5), maker_bps=-1.0)
    done = research_budgets(config, tmp_path / "art", processes=1)
    assert any(cell["metrics"]["pnl"] > 0 for cell in done.analysis["cells"])
    assert done.analysis["passed"] == 0
    assert done.exit_code == 0


def test_cells_that_cannot_be_run_are_errors_and_the_study_stands(tmp_path):
    put_klines(tmp_path, standing_still(BARS, 280, 340))
    done = research_budgets(config_of(tmp_path), tmp_path / "art", processes=1)
    assert {cell["status"] for cell in done.analysis["cells"]} == {"error"}
    assert "did not move" in done.analysis["cells"][0]["error"]
    assert done.exit_code == 5
    assert (done.folder / "report.html").exists()
    assert not any(check.passed for check in gate_run(done.folder) if check.name == "no_errors")


@pytest.mark.parametrize(
    "changes",
    [
        {"budgets": ()},
        {"budgets": (1000.0, 0.0)},
        {"budgets": (float("nan"),)},
        {"warmup_bars": 700},
        {"bar_volume_share": 0.0},
        {"market": MarketRequest("binanceusdm", "BTC/USDT", days=0)},
        {"market": MarketRequest("binanceusdm", days=1)},
        {"market": MarketRequest(days=1)},
        {"market": MarketRequest("sim", "ETH/USDT", days=1)},
    ],
)
def test_what_is_refused_before_any_work(config, tmp_path, changes):
    with pytest.raises(ConfigError):
        research_budgets(replace(config, **changes), tmp_path / "art")
    assert not (tmp_path / "art").exists()


def test_too_few_bars_held(tmp_path):
    put_klines(tmp_path, BARS.head(80))
    with pytest.raises(DataQualityError, match="too short"):
        research_budgets(config_of(tmp_path), tmp_path / "art")


def test_an_artifacts_folder_that_takes_nothing(config, tmp_path):
    (tmp_path / "art").write_text("a file")
    with pytest.raises(ArtifactError, match="cannot write"):
        research_budgets(config, tmp_path / "art", processes=1)


def test_progress_is_told(study):
    _, told = study
    cells = len(BUDGETS) * len(strategy_formats())
    assert [done for done, _, _ in told] == list(range(cells + 1))
    assert {total for _, total, _ in told} == {cells}
