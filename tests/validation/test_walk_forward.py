"""Walk-forward: folds never overlap, nothing of a test is known at its choice, the same input gives the same bytes."""

from dataclasses import replace

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl.backtesting.trading import trade
from marketmakerl.core.clock import ManualClock
from marketmakerl.core.errors import ArtifactError, ConfigError, DataNotFoundError, DataQualityError
from marketmakerl.core.fees import Fees
from marketmakerl.data.market import MarketRequest
from marketmakerl.data.tape import EventTape, Kind
from marketmakerl.models.bar_calibration import estimate_from_bars
from marketmakerl.validation.gates import gate_run
from marketmakerl.validation.strategies import strategy_formats
from marketmakerl.validation.study import load
from marketmakerl.validation.walk_forward import (
    Fold,
    WalkForwardConfig,
    choose,
    make_folds,
    run_fold,
    walk_forward,
)
from recorded import bars_of, put_klines, standing_still

FEES = Fees(0, 5)
BARS = bars_of(1800)


def config_of(root, **changes) -> WalkForwardConfig:
    market = MarketRequest("binanceusdm", "BTC/USDT", root, days=1.25)
    return WalkForwardConfig(**{"market": market, "folds": 3, "warmup_bars": 60} | changes)


@pytest.fixture
def config(tmp_path):
    put_klines(tmp_path, BARS)
    return config_of(tmp_path)


@given(st.integers(1, 40), st.integers(0, 100_000), st.floats(0.001, 0.999))
def test_folds_cover_the_span_and_never_overlap_or_leak(folds, extra, train_share):
    n_bars = 2 * folds + extra
    made = make_folds(n_bars, folds, train_share)
    assert len(made) == folds
    owner = np.full(n_bars, -1)
    for number, fold in enumerate(made):
        # A fold is a train window and the test window right after it; both hold something.
        assert fold.train_first < fold.test_first < fold.test_end
        assert (owner[fold.train_first : fold.test_end] == -1).all()
        owner[fold.train_first : fold.test_end] = number
    assert (owner >= 0).all()
    assert (np.diff(owner) >= 0).all()  # in the order of time
    lengths = [fold.test_end - fold.train_first for fold in made]
    assert max(lengths) - min(lengths) <= 1


def test_the_train_share_is_kept_to_a_bar():
    assert make_folds(100, 2, 0.7) == [Fold(0, 35, 50), Fold(50, 85, 100)]


@pytest.mark.parametrize(
    ("n_bars", "folds", "share"), [(100, 0, 0.7), (100, -3, 0.7), (100, 2, 0.0), (100, 2, 1.0), (9, 5, 0.5)]
)
def test_folds_that_cannot_be(n_bars, folds, share):
    with pytest.raises(ConfigError):
        make_folds(n_bars, folds, share)


def candidate(name, sharpe, pnl=1.0, fills=5, status="completed"):
    return {"strategy": name, "excess_sharpe": sharpe, "excess_pnl": pnl, "fills": fills, "status": status}


@pytest.mark.parametrize(
    ("candidates", "best"),
    [
        ([candidate("a", 1.0), candidate("b", 2.0)], "b"),
        ([candidate("a", 1.0, pnl=1.0), candidate("b", 1.0, pnl=2.0)], "b"),
        ([candidate("b", 1.0), candidate("a", 1.0)], "a"),
        ([candidate("a", None, pnl=9.0), candidate("b", -5.0)], "b"),
        ([candidate("a", 9.0, fills=0), candidate("b", -5.0)], "b"),
        ([candidate("a", None, fills=0)], "a"),
        ([candidate("a", None, pnl=None, status="error"), candidate("b", -5.0)], "b"),
        ([candidate("a", -1.0, status="failed_risk")], "a"),
        ([candidate("a", None, pnl=None, status="error")], None),
        ([], None),
    ],
)
def test_the_choice_is_by_sharpe_then_pnl_then_name(candidates, best):
    assert choose(candidates) == best


def disturbed(tape: EventTape, first_bar: int, end_bar: int) -> EventTape:
    """Return the tape with every move from the first price of the bars [first_bar, end_bar) ten times as large."""
    rows = slice(4 * first_bar, 4 * end_bar)
    price, qty = np.array(tape.price_ticks), np.array(tape.qty_lots)
    start = price[rows][0]
    price[rows] = start + 10 * (price[rows] - start)
    qty[rows] *= 3
    return replace(tape, price_ticks=price, qty_lots=qty)


def all_folds(config, tape):
    bars = int((tape.kind == Kind.BAR_OPEN).sum())
    folds = make_folds(bars, config.folds, config.train_share)
    return folds, [run_fold(config, FEES, tape, fold) for fold in folds]


def test_a_test_window_touches_its_own_result_and_nothing_else(config):
    tape = load(config).tape
    folds, before = all_folds(config, tape)
    for i, fold in enumerate(folds):
        _, after = all_folds(config, disturbed(tape, fold.test_first, fold.test_end))
        assert after[i]["test"]["metrics"] != before[i]["test"]["metrics"]
        assert after[i]["train"] == before[i]["train"]
        assert after[i]["chosen"] == before[i]["chosen"]
        assert after[i]["test"]["parameters"]["model"] == before[i]["test"]["parameters"]["model"]
        assert after[:i] == before[:i]
        assert after[i + 1 :] == before[i + 1 :]


@pytest.mark.parametrize("where", ["first", "last"])
def test_one_bar_at_the_edge_of_a_test_is_not_known_before(config, where):
    tape = load(config).tape
    folds, before = all_folds(config, tape)
    bar = folds[1].test_first if where == "first" else folds[1].test_end - 1
    _, after = all_folds(config, disturbed(tape, bar, bar + 1))
    assert after[1]["train"] == before[1]["train"]
    assert after[1]["test"] != before[1]["test"]
    assert (after[0], after[2]) == (before[0], before[2])


def test_the_last_train_bar_is_known(config):
    tape = load(config).tape
    folds, before = all_folds(config, tape)
    bar = folds[1].test_first - 1
    _, after = all_folds(config, disturbed(tape, bar, bar + 1))
    assert after[1]["train"]["candidates"] != before[1]["train"]["candidates"]
    assert after[1]["test"]["parameters"]["estimate"] != before[1]["test"]["parameters"]["estimate"]


def test_a_test_is_one_run_of_the_choice_calibrated_on_the_end_of_train(config):
    tape = load(config).tape
    folds, lines = all_folds(config, tape)
    formats = {strategy.name: strategy for strategy in strategy_formats()}
    for fold, line in zip(folds, lines, strict=True):
        # By bar number, four rows a bar: another way to the same windows.
        warm_up = tape.slice_rows(4 * (fold.test_first - config.warmup_bars), 4 * fold.test_first)
        test = tape.slice_rows(4 * fold.test_first, 4 * fold.test_end)
        result, parameters = trade(config.session(formats[line["chosen"]], config.budget, FEES), test, warm_up=warm_up)
        assert line["test"]["metrics"] == result.metrics.model_dump()
        assert parameters["estimate"] == estimate_from_bars(warm_up).as_dict()
        assert line["test"]["bars"] == fold.test_end - fold.test_first
        train = {c["strategy"]: c for c in line["train"]["candidates"]}
        assert set(train) == set(formats)
        traded = [c for c in train.values() if c["fills"]]
        assert train[line["chosen"]]["excess_sharpe"] == max(c["excess_sharpe"] for c in traded)


def test_the_same_input_gives_the_same_bytes(config, tmp_path):
    done = [
        walk_forward(config, tmp_path / name, processes=processes, clock=ManualClock(5))
        for name, processes in (("one", 1), ("again", 1), ("two", 2))
    ]
    for file in ("analysis.json", "analysis.csv", "report.html", "manifest.json"):
        assert len({(study.folder / file).read_bytes() for study in done}) == 1, file
    assert len({study.folder.name for study in done}) == 1


def test_the_artifacts_agree_with_the_result(config, tmp_path):
    done = walk_forward(config, tmp_path / "art", processes=1)
    analysis = orjson.loads((done.folder / "analysis.json").read_bytes())
    assert analysis == orjson.loads(orjson.dumps(done.analysis))
    assert analysis["passed"] == done.passed
    assert [check["name"] for check in analysis["checks"]] == [
        "no_errors", "pass_rate", "max_drawdown_pct", "hard_breaker", "data_tier",
    ]  # fmt: skip
    assert [c.as_dict() for c in gate_run(done.folder)] == analysis["checks"]
    table = pd.read_csv(done.folder / "analysis.csv")
    assert list(table["fold"]) == [1, 2, 3]
    assert list(table["chosen"]) == [fold["chosen"] for fold in analysis["folds"]]
    ends = [(f["train"]["first"], f["train"]["end"], f["test"]["first"], f["test"]["end"]) for f in analysis["folds"]]
    for (_, train_end, test_first, test_end), following in zip(ends, [*ends[1:], None], strict=True):
        assert train_end == test_first
        assert following is None or following[0] == test_end
    manifest = orjson.loads((done.folder / "manifest.json").read_bytes())
    assert (manifest["tier"], manifest["kind"]) == ("T1", "walk-forward")
    assert len(manifest["data"][0]["sha256"]) == 64
    report = (done.folder / "report.html").read_text()
    assert 'data-figure="study"' in report
    assert "--train-share 0.7" in report
    assert not list((tmp_path / "art").rglob(".*"))


def test_a_market_that_is_easy_passes_and_a_synthetic_one_never_does(tmp_path):
    put_klines(tmp_path, bars_of(1800, seed=9, informed_share=0.0))
    easy = walk_forward(config_of(tmp_path, maker_bps=-1.0, taker_bps=0.0), tmp_path / "art", processes=1)
    assert easy.passed, easy.failures
    sim = MarketRequest("sim", days=1.25)
    synthetic = walk_forward(config_of(tmp_path, market=sim, maker_bps=-1.0), tmp_path / "art", processes=1)
    assert not synthetic.passed
    assert "data_tier" in synthetic.failures
    assert synthetic.analysis["market"]["tier"] == "T2"


def test_a_seed_makes_another_synthetic_market(tmp_path):
    sim = MarketRequest("sim", days=1.0)
    markets = [load(config_of(tmp_path, market=sim, seed=seed)) for seed in (1, 1, 2)]
    same = [np.array_equal(markets[0].tape.price_ticks, market.tape.price_ticks) for market in markets]
    assert same == [True, True, False]
    assert len(markets[0].tape) == 4 * 1440


def test_a_fold_whose_train_stands_still_is_an_error_that_fails_the_gate(tmp_path):
    put_klines(tmp_path, standing_still(BARS, 600, 1020))
    done = walk_forward(config_of(tmp_path), tmp_path / "art", processes=1)
    statuses = [fold["test"]["status"] for fold in done.analysis["folds"]]
    assert statuses == ["completed", "error", "completed"]
    assert done.analysis["folds"][1]["chosen"] is None
    assert "did not move" in done.analysis["folds"][1]["test"]["error"]
    assert "no_errors" in done.failures


def test_a_fold_whose_test_was_not_recorded_is_an_error(tmp_path):
    tests = [range(fold.test_first, fold.test_end) for fold in make_folds(1800, 3, 0.7)]
    put_klines(tmp_path, BARS.drop(index=list(tests[1])))
    done = walk_forward(config_of(tmp_path), tmp_path / "art", processes=1)
    fold = done.analysis["folds"][1]
    assert (fold["test"]["bars"], fold["test"]["status"]) == (0, "error")
    assert "holds no bar" in fold["test"]["error"]
    assert done.analysis["market"]["gaps"] == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"folds": 0}, ConfigError),
        ({"folds": 10**9}, ConfigError),
        ({"pass_rate": 0.0}, ConfigError),
        ({"pass_rate": 1.1}, ConfigError),
        ({"budget": float("inf")}, ConfigError),
        ({"train_share": 0.99}, ConfigError),
        ({"warmup_bars": 30}, ConfigError),
        ({"seed": -1}, ConfigError),
        ({"maker_bps": 1e9}, ConfigError),
    ],
)
def test_what_is_refused_before_any_work(config, tmp_path, changes, error):
    with pytest.raises(error):
        walk_forward(replace(config, **changes), tmp_path / "art")
    assert not (tmp_path / "art").exists()


def test_too_few_bars_held_is_not_a_wrong_question(tmp_path):
    put_klines(tmp_path, BARS.head(300))
    with pytest.raises(DataQualityError, match="too short for 3 folds"):
        walk_forward(config_of(tmp_path), tmp_path / "art")
    assert not (tmp_path / "art").exists()


def test_missing_data_say_how_to_get_them(tmp_path):
    put_klines(tmp_path, BARS)
    for symbol in ("ETH/USDT", "ETHUSDT"):
        market = MarketRequest("binanceusdm", symbol, tmp_path, days=3)
        with pytest.raises(DataNotFoundError, match=r"make fetch-data EXCHANGE=binanceusdm SYMBOL=ETH.* DAYS=3"):
            load(config_of(tmp_path, market=market))


def test_a_study_that_breaks_leaves_nothing(config, tmp_path, monkeypatch):
    def full_disk(*_):
        raise ArtifactError("the disk is full")

    monkeypatch.setattr("marketmakerl.validation.walk_forward.write_study_report", full_disk)
    with pytest.raises(ArtifactError):
        walk_forward(config, tmp_path / "art", processes=1)
    assert list((tmp_path / "art" / "walk-forward").iterdir()) == []


def test_recorded_days(shared_data, tmp_path):
    market = MarketRequest("binanceusdm", "BTC/USDT", shared_data, days=3)
    done = walk_forward(WalkForwardConfig(market=market, folds=2), tmp_path, processes=1)
    facts = done.analysis["market"]
    assert (facts["tier"], facts["bars"], facts["instrument_kind"]) == ("T1", 4320, "linear")
    assert all(fold["test"]["status"] == "completed" for fold in done.analysis["folds"])
