"""Gates: each check answers one question, and evidence that is not there is a no."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl.agents.campaign import CampaignConfig, run_campaign
from marketmakerl.core.artifacts import write_json, write_jsonl
from marketmakerl.core.clock import ManualClock
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError
from marketmakerl.validation.gates import (
    KINDS,
    Check,
    all_passed,
    data_tier,
    failures,
    find_run,
    gate_run,
    judge_run,
    research_checks,
    result_checks,
    runs_checks,
    walk_forward_checks,
)


def metrics(**changes) -> dict:
    good = {
        "pnl": 12.0,
        "excess_pnl": 12.0,
        "initial_budget": 10_000.0,
        "turnover": 5_000.0,
        "sharpe": 1.5,
        "max_drawdown_pct": 0.1,
        "fills": 7,
        "liquidations": 0,
        "suppressed_pct": {"edge": 0.1, "halted": 0.0},
        "no_fills_because": None,
    }
    return good | changes


def run(tier: str = "T1", **changes) -> dict:
    return {"status": "completed", "tier": tier, "metrics": metrics(**changes)}


ERROR = {"status": "error", "tier": None, "metrics": None}


def failed(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if not check.passed}


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({}, set()),
        ({"pnl": 0.0, "excess_pnl": 0.0}, {"positive_pnl"}),
        ({"pnl": -1.0, "excess_pnl": -1.0}, {"positive_pnl"}),
        ({"pnl": 50.0, "excess_pnl": -1.0}, {"positive_pnl"}),  # spot: holding would have earned more
        ({"pnl": -50.0, "excess_pnl": 1.0}, set()),  # spot: holding would have lost more
        ({"pnl": 1e-12, "excess_pnl": 1e-12}, {"positive_pnl"}),  # float noise is no profit
        ({"sharpe": None}, {"positive_sharpe"}),
        ({"sharpe": 0.0}, {"positive_sharpe"}),
        ({"sharpe": -0.1}, {"positive_sharpe"}),
        ({"max_drawdown_pct": 0.40}, set()),
        ({"max_drawdown_pct": 0.4001}, {"max_drawdown_pct"}),
        ({"fills": 0, "no_fills_because": "too wide"}, {"has_fills"}),
    ],
)
def test_each_question_has_its_own_answer(changes, fails):
    assert failed(research_checks(metrics(**changes), "T1")) == fails
    assert failed(result_checks(metrics(**changes))) == fails


def test_a_gate_asks_five_questions():
    assert [check.name for check in research_checks(metrics(), "T1")] == [
        "positive_pnl", "positive_sharpe", "max_drawdown_pct", "has_fills", "data_tier",
    ]  # fmt: skip


@pytest.mark.parametrize("tier", ["T0", "T2", "T3", "T9", ""])
def test_only_recorded_data_are_evidence(tier):
    assert failed(research_checks(metrics(), tier)) == {"data_tier"}
    assert not data_tier(tier).passed
    assert failed(runs_checks([run()], 1, "T1")) == set()


@given(
    excess=st.floats(-1e6, 1e6),
    sharpe=st.none() | st.floats(-100, 100),
    drawdown=st.floats(0, 2),
    fills=st.integers(0, 10_000),
)
def test_a_synthetic_run_never_passes(excess, sharpe, drawdown, fills):
    numbers = {"excess_pnl": excess, "pnl": excess, "sharpe": sharpe, "max_drawdown_pct": drawdown, "fills": fills}
    assert not all_passed(research_checks(metrics(**numbers), "T2"))
    assert not all_passed(runs_checks([run("T2", **numbers)], 1, "T1"))
    assert not all_passed(runs_checks([run("T1", **numbers)], 1, "T2"))
    assert not all_passed(walk_forward_checks([{"test": run(**numbers)}], 0.01, "T2"))


def test_a_check_carries_its_numbers_and_its_reason():
    check = result_checks(metrics(max_drawdown_pct=0.5))[2]
    assert check.as_dict() == {
        "name": "max_drawdown_pct",
        "value": 0.5,
        "threshold": 0.40,
        "passed": False,
        "why": "drawdown 50.00% of the budget; at most 40%",
    }
    assert "too wide" in result_checks(metrics(fills=0, no_fills_because="too wide"))[3].why
    assert failures([check]) == "max_drawdown_pct: drawdown 50.00% of the budget; at most 40%"


def test_no_checks_at_all_is_no_pass():
    assert not all_passed([])


def test_runs_are_judged_together():
    three_of_five = [run()] * 3 + [run(pnl=-1.0, excess_pnl=-1.0)] * 2
    assert failed(runs_checks(three_of_five, 5, "T1")) == set()
    two_of_four = [run()] * 2 + [run(pnl=-1.0, excess_pnl=-1.0)] * 2
    assert failed(runs_checks(two_of_four, 4, "T1")) == {"positive_share"}  # the median is still above 0
    assert failed(runs_checks([run(), run(max_drawdown_pct=0.5)], 2, "T1")) == {"max_drawdown_pct"}
    assert failed(runs_checks([run(), run(fills=0)], 2, "T1")) == set()


def test_the_median_decides_and_an_undefined_sharpe_counts_as_the_worst():
    checks = {c.name: c for c in runs_checks([run(sharpe=s) for s in (None, 1.0, 3.0)], 3, "T1")}
    assert checks["positive_sharpe"].value == 1.0
    assert failed(runs_checks([run(sharpe=s) for s in (None, None, 3.0)], 3, "T1")) == {"positive_sharpe"}
    checks = {c.name: c for c in runs_checks([run(excess_pnl=p) for p in (-5.0, 2.0, 9.0)], 3, "T1")}
    assert checks["positive_pnl"].value == 2.0
    assert checks["positive_share"].value == pytest.approx(2 / 3)


def test_what_is_missing_or_broken_fails():
    assert failed(runs_checks([run()] * 3, 4, "T1")) == {"complete"}
    assert failed(runs_checks([run()] * 3 + [ERROR], 4, "T1")) == {"no_errors"}
    nothing = failed(runs_checks([ERROR], 1, "T1"))
    assert nothing == {
        "no_errors", "positive_pnl", "positive_sharpe", "positive_share", "max_drawdown_pct", "has_fills",
    }  # fmt: skip


def test_one_synthetic_run_spoils_the_rest():
    assert failed(runs_checks([run(), run("T2")], 2, "T1")) == {"data_tier"}


def fold(**changes) -> dict:
    return {"test": run(**changes)}


def test_walk_forward_counts_the_tests_that_pass():
    bad = fold(pnl=-1.0, excess_pnl=-1.0)
    assert failed(walk_forward_checks([fold()] * 3 + [bad] * 2, 0.60, "T1")) == set()
    assert failed(walk_forward_checks([fold()] * 2 + [bad] * 3, 0.60, "T1")) == {"pass_rate"}
    assert failed(walk_forward_checks([fold()] * 2 + [bad] * 3, 0.40, "T1")) == set()


@pytest.mark.parametrize("changes", [{"liquidations": 1}, {"suppressed_pct": {"halted": 0.2}}])
def test_walk_forward_takes_no_hard_breach(changes):
    assert failed(walk_forward_checks([fold()] * 4 + [fold(**changes)], 0.60, "T1")) == {"hard_breaker"}


def test_walk_forward_takes_no_failing_drawdown_and_no_error():
    assert failed(walk_forward_checks([fold()] * 4 + [fold(max_drawdown_pct=0.41)], 0.60, "T1")) == {"max_drawdown_pct"}
    assert failed(walk_forward_checks([fold()] * 4 + [{"test": ERROR}], 0.60, "T1")) == {"no_errors"}
    assert failed(walk_forward_checks([fold()] * 5, 0.60, "T2")) == {"data_tier"}
    assert not all_passed(walk_forward_checks([], 0.60, "T1"))


def put_run(artifacts: Path, kind: str, run_id: str, runs: list[dict], tier: str = "T1") -> Path:
    folder = artifacts / kind / run_id
    document = {"kind": kind, "run_id": run_id, "tier": tier, "config": {"options": {"n": len(runs)}}}
    write_json(folder / "manifest.json", document)
    write_jsonl(folder / "runs.jsonl", runs)
    return folder


def test_a_run_is_found_by_folder_by_id_and_as_the_latest_of_any_kind(tmp_path):
    folders = [put_run(tmp_path, kind, f"2026010{i}T000000000Z-x", [run()]) for i, kind in enumerate(KINDS)]
    assert find_run(tmp_path, "latest") == folders[-1]
    newer = put_run(tmp_path, KINDS[0], "20260109T000000000Z-x", [run()])
    assert find_run(tmp_path, "latest") == newer
    for folder in folders:
        assert find_run(tmp_path, folder.name) == folder
        assert find_run(tmp_path / "elsewhere", str(folder)) == folder


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(DataNotFoundError, match="no run 'latest'"):
        find_run(tmp_path, "latest")
    with pytest.raises(ConfigError):
        find_run(tmp_path, "")


def test_a_verdict_lies_beside_the_run(tmp_path):
    folder = put_run(tmp_path, "campaign", "20260101T000000000Z-x", [run()] * 2)
    verdict = judge_run(folder)
    assert verdict["passed"] is True
    assert (verdict["run_id"], verdict["kind"], verdict["tier"]) == (folder.name, "campaign", "T1")
    assert orjson.loads((folder / "gate.json").read_bytes()) == verdict
    assert set(verdict["checks"][0]) == {"name", "value", "threshold", "passed", "why"}
    assert not list(folder.glob(".*"))


def test_the_tier_of_the_verdict_is_that_of_the_weakest_run(tmp_path):
    verdict = judge_run(put_run(tmp_path, "backtest", "r", [run(), run("T2")]))
    assert (verdict["tier"], verdict["passed"]) == ("T2", False)


def test_a_real_synthetic_campaign_fails_on_its_tier(tmp_path):
    config = CampaignConfig(n=2, synthetic_bars=300, warmup_bars=60)
    done = run_campaign(config, tmp_path, processes=1, clock=ManualClock(1))
    checks = {check.name: check for check in gate_run(done.folder)}
    assert not checks["data_tier"].passed
    assert checks["complete"].passed
    assert checks["no_errors"].passed


def test_a_campaign_that_was_cut_short_fails(tmp_path):
    folder = put_run(tmp_path, "campaign", "r", [run()] * 3)
    write_jsonl(folder / "runs.jsonl", [run()] * 2)
    assert failed(gate_run(folder)) == {"complete"}


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda f: (f / "runs.jsonl").unlink(), DataNotFoundError),
        (lambda f: (f / "runs.jsonl").write_text("{"), DataFormatError),
        (lambda f: write_jsonl(f / "runs.jsonl", [{"status": "completed"}]), DataFormatError),
        (lambda f: write_jsonl(f / "runs.jsonl", [run(sharpe="high")]), DataFormatError),
        (lambda f: write_json(f / "manifest.json", {"kind": "campaign"}), DataFormatError),
        (lambda f: write_json(f / "manifest.json", {"kind": "simulate"}), DataFormatError),
        (lambda f: write_json(f / "manifest.json", []), DataFormatError),
        (lambda f: write_json(f / "manifest.json", {"kind": "walk-forward", "tier": "T1"}), DataNotFoundError),
    ],
)
def test_files_that_are_not_a_run(tmp_path, spoil, error):
    folder = put_run(tmp_path, "campaign", "r", [run()])
    spoil(folder)
    with pytest.raises(error):
        gate_run(folder)
    assert not (folder / "gate.json").exists()
