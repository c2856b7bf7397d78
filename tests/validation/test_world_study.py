"""The runners of the model world: whole folders or none."""

import csv
import math

import orjson
import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.validation import world_study
from marketmakerl.validation.world_study import (
    WorldStudy,
    compare_study,
    compared_models,
    optimum_study,
    simulate_study,
)

PAPER = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5)


def study(**changes):
    return WorldStudy(**{"world": PAPER, "gamma": 0.1, "n_paths": 200, **changes})


def test_the_table_holds_what_the_lines_hold(tmp_path):
    result = compare_study(study(), tmp_path, model_ids=("glft", "symmetric"))
    lines = [orjson.loads(line) for line in (result.folder / "runs.jsonl").read_bytes().splitlines()]
    with (result.folder / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [line["run_id"] for line in lines] == ["run-001", "run-002"]
    for line, row in zip(lines, rows, strict=True):
        assert row["model"] == line["model"]
        assert float(row["mean"]) == line["metrics"]["mean"]
        assert float(row["exact_mean"]) == line["metrics"]["exact"]["mean"]
        assert line["status"] == "completed"
        assert line["parameters"]["id"] == line["model"]


def test_a_study_that_is_cut_short_leaves_nothing(tmp_path, monkeypatch):
    def fails(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(world_study, "write_world_report", fails)
    with pytest.raises(KeyboardInterrupt):
        optimum_study(study(), tmp_path, model_ids=("glft",))
    assert list((tmp_path / "optimum").iterdir()) == []


def test_progress_counts_every_path_of_every_model(tmp_path):
    seen = []
    compare_study(study(n_paths=5000), tmp_path, model_ids=("glft", "symmetric"), progress=seen.append)
    assert sum(seen) == 10_000
    assert len(seen) > 2


def test_models_that_never_quote_both_sides_have_no_spread(tmp_path):
    policy = mml.TablePolicy(bid=[[math.nan] * 3], ask=[[math.nan] * 3])
    result = simulate_study(study(), "symmetric", tmp_path, wrap=lambda _: policy)
    (line,) = result.analysis["models"]
    assert math.isnan(line["metrics"]["mean_spread"])
    assert line["metrics"]["mean"] == 0.0
    assert (result.folder / "report.html").stat().st_size > 100_000


def test_all_models_are_compared_and_the_optimum_where_there_is_one():
    assert "optimal" in compared_models(study(), ())
    bursts = study(world=PAPER.replace(arrivals=Hawkes(10.0, 40.0)))
    assert "optimal" not in compared_models(bursts, ())
    assert compared_models(study(), ("glft",)) == ("glft",)


def test_a_world_of_many_steps_is_compared_without_a_frontier(tmp_path):
    result = compare_study(study(world=PAPER.replace(dt_s=1 / 2500), n_paths=2), tmp_path, model_ids=("glft",))
    assert result.analysis["pictures"]["frontier"] == []
    assert result.analysis["pairs"] == 1
    assert result.analysis["differences"] == []
    path = result.analysis["pictures"]["path"]
    assert (path["steps"], len(path["time_s"])) == (2500, 1001)
    assert "frontier" not in (result.folder / "report.html").read_text().partition('<script type="application')[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": -1.0}, "gamma must be a finite number > 0"),
        ({"n_paths": 1}, "paths must be a whole number >= 2"),
        ({"seed": -1}, "seed"),
        ({"level": 0.0}, "level must be between 0 and 1"),
        ({"threads": 0}, "threads must be a whole number >= 1"),
        ({"alpha": -0.1}, "alpha must be a finite number >= 0"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ConfigError, match=message):
        study(**change)


def test_unknown_models_leave_no_folder(tmp_path):
    for call in (
        lambda: simulate_study(study(), "glfd", tmp_path),
        lambda: compare_study(study(), tmp_path, model_ids=("glfd",)),
        lambda: optimum_study(study(), tmp_path, model_ids=("glfd",)),
    ):
        with pytest.raises(UnknownNameError):
            call()
    assert list(tmp_path.iterdir()) == []
