import os

import numpy as np
import pytest

from marketmakerl.core.artifacts import (
    config_hash,
    environment,
    git_commit,
    new_run_folder,
    read_json,
    run_folder,
    to_json,
    write_atomic,
    write_json,
    write_jsonl,
)
from marketmakerl.core.clock import ManualClock
from marketmakerl.core.errors import ArtifactError, ConfigError, DataFormatError, DataNotFoundError


def test_json_is_sorted_and_knows_no_nan():
    assert to_json({"b": float("nan"), "a": np.float64(1.5)}) == b'{"a":1.5,"b":null}\n'


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_atomic(path, b"old")

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=r"x\.json: No space left"):
        write_atomic(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_artifacts_can_be_read_by_everybody(tmp_path):
    write_json(tmp_path / "a" / "x.json", {"x": 1})
    assert (tmp_path / "a" / "x.json").stat().st_mode & 0o444 == 0o444
    assert read_json(tmp_path / "a" / "x.json") == {"x": 1}


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(DataNotFoundError):
        read_json(tmp_path / "none")
    (tmp_path / "bad").write_text("{")
    for path in (tmp_path / "bad", tmp_path):
        with pytest.raises(DataFormatError):
            read_json(path)


def test_run_folder_finds_by_id_latest_and_path(tmp_path):
    for name in ("20260101T000000000Z-aaaa", "20260102T000000000Z-bbbb"):
        write_json(tmp_path / "campaign" / name / "manifest.json", {})
    assert run_folder(tmp_path, "campaign", "latest").name.endswith("bbbb")
    first = run_folder(tmp_path, "campaign", "20260101T000000000Z-aaaa")
    assert run_folder(tmp_path, "campaign", str(first)) == first
    for run in ("nothing", "../campaign"):
        with pytest.raises(DataNotFoundError):
            run_folder(tmp_path, "campaign", run)
    with pytest.raises(ConfigError):
        run_folder(tmp_path, "campaign", "")


def test_jsonl_is_one_line_a_row(tmp_path):
    write_jsonl(tmp_path / "r.jsonl", [{"a": "x\ny"}, {"a": 2}])
    assert (tmp_path / "r.jsonl").read_bytes() == b'{"a":"x\\ny"}\n{"a":2}\n'


def test_a_configuration_has_one_name():
    assert config_hash({"a": 1, "b": 2.0}) == config_hash({"b": 2.0, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})


def test_the_environment_names_what_a_result_depends_on(monkeypatch):
    found = environment()
    assert found["cpu"]
    assert {"numpy", "numba", "llvmlite"} <= set(found["packages"])
    monkeypatch.setenv("MML_GIT_COMMIT", "abc")
    assert git_commit() == "abc"


def test_two_runs_of_one_millisecond_get_a_folder_each(tmp_path):
    clock = ManualClock(1_700_000_000_000_000_000)
    first, second = (new_run_folder(tmp_path / "campaign", "aaaa", clock) for _ in range(2))
    assert first != second
    assert sorted([first, second]) == [first, second]
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "campaign"):
        with pytest.raises(ArtifactError, match="cannot write to the artifacts folder"):
            new_run_folder(home, "aaaa", clock)
