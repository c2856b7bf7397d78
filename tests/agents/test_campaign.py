"""Campaigns: same metrics however they are run, nothing finished is lost, nothing broken is hidden."""

import fcntl
import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest

from marketmakerl.agents.campaign import CampaignConfig, config_from_manifest, run_campaign, window_rows
from marketmakerl.core.clock import ManualClock
from marketmakerl.core.errors import ArtifactError, ConfigError, DataFormatError, DataNotFoundError, UnknownNameError
from marketmakerl.data.market import MarketRequest, load_market
from marketmakerl.data.tape import Kind
from marketmakerl.risk.limits import OFF, RiskLimits

SMALL = CampaignConfig(n=3, synthetic_bars=400, warmup_bars=60)


def lines(folder: Path) -> list[dict]:
    return [orjson.loads(line) for line in (folder / "runs.jsonl").read_bytes().splitlines()]


def put_klines(root: Path, n: int = 1200, name: str = "binanceusdm_BTCUSDT_1m_a_b.parquet") -> Path:
    from marketmakerl import DataProcessor

    bars = DataProcessor.simulate_market_data(n_bars=n, seed=4)
    bars.attrs.clear()  # these tests take them for recorded bars
    path = root / "klines" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    bars[["ts_ms", "open", "high", "low", "close", "volume"]].to_parquet(path, index=False)
    return path


def test_processes_do_not_change_a_byte(tmp_path):
    one = run_campaign(SMALL, tmp_path / "one", processes=1)
    two = run_campaign(SMALL, tmp_path / "two", processes=2)
    for name in ("runs.jsonl", "summary.csv"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
    for run in lines(one.folder):
        for table in ("equity.parquet", "fills.parquet"):
            path = Path("runs") / run["run_id"] / table
            assert (one.folder / path).read_bytes() == (two.folder / path).read_bytes()


def test_a_rerun_has_the_limits_of_then_whatever_the_defaults_are_now(tmp_path):
    asked = {"take_profit_pct": None, "adverse_selection_bps": None}
    folder = run_campaign(replace(SMALL, limits=asked), tmp_path / "art", processes=1).folder
    path = folder / "manifest.json"
    document = orjson.loads(path.read_bytes())
    same, _ = config_from_manifest("latest", tmp_path / "art")
    assert same.limits == asked
    # Another version wrote it: other defaults, a control that has gone, none of a kind that has come.
    recorded = document["config"]["risk"] | {"stop_loss_pct": 0.07, "flat_windows": ["Fri 10:00-Fri 11:00"], "gone": 1}
    del recorded["max_spread_bps"], document["config"]["options"]["limits"]
    path.write_bytes(orjson.dumps(document | {"config": document["config"] | {"risk": recorded}}))
    repeated, _ = config_from_manifest("latest", tmp_path / "art")
    limits = RiskLimits(**repeated.limits)
    assert limits == RiskLimits(
        take_profit_pct=None, stop_loss_pct=0.07, flat_windows=("Fri 10:00-Fri 11:00",), max_spread_bps=None
    )


def test_a_rerun_from_the_manifest_gives_the_same_bytes(tmp_path):
    config = replace(SMALL, market=MarketRequest("binanceusdm", "BTC/USDT", tmp_path), maker_bps=1.0)
    put_klines(tmp_path)
    first = run_campaign(config, tmp_path / "art", processes=1, clock=ManualClock(1))
    repeated, manifest = config_from_manifest(first.folder.name, tmp_path / "art")
    again = run_campaign(repeated, tmp_path / "art", processes=1, resume=False, repeat_of=manifest)
    assert again.folder != first.folder
    assert (again.folder / "runs.jsonl").read_bytes() == (first.folder / "runs.jsonl").read_bytes()


def test_artifacts_hold_what_is_needed(tmp_path):
    put_klines(tmp_path)
    config = replace(SMALL, market=MarketRequest("binanceusdm", "BTC/USDT", tmp_path))
    result = run_campaign(config, tmp_path / "art", processes=1)
    document = orjson.loads((result.folder / "manifest.json").read_bytes())
    assert document["tier"] == "T1"
    assert document["config"]["seeds"] == [0, 1, 2]
    assert len(document["data"][0]["sha256"]) == 64
    assert document["environment"]["packages"]["numba"]
    for line in lines(result.folder):
        assert {"run_id", "seed", "status", "tier", "model", "metrics"} <= set(line)
        assert line["status"] == "completed"
    table = pd.read_csv(result.folder / "summary.csv")
    assert list(table["run_id"]) == ["run-000", "run-001", "run-002"]
    assert "<html" in (result.folder / "report.html").read_text()[:200]
    assert not list(result.folder.rglob(".*"))  # no temporary file is left


def test_windows_are_equal_disjoint_and_whole(tmp_path):
    put_klines(tmp_path)
    tape = load_market(MarketRequest("binanceusdm", "BTC/USDT", tmp_path)).tape
    for n in (1, 2, 7, 13):
        edges = window_rows(tape, n)
        assert (edges[0], edges[-1]) == (0, len(tape))
        bars = [int((tape.kind[a:b] == Kind.BAR_CLOSE).sum()) for a, b in itertools.pairwise(edges)]
        assert sum(bars) == 1200
        assert max(bars) - min(bars) <= 1
        assert all(tape.kind[a] == Kind.BAR_OPEN for a in edges[:-1])


def test_a_run_that_fails_does_not_take_the_others_with_it(tmp_path):
    # One file whose price stands still for the whole of the second window: that run cannot be calibrated.
    path = put_klines(tmp_path)
    bars = pd.read_parquet(path)
    bars.loc[400:799, ["open", "high", "low", "close"]] = float(bars.loc[399, "close"])
    bars.to_parquet(path, index=False)
    config = replace(SMALL, market=MarketRequest("binanceusdm", "BTC/USDT", tmp_path))
    result = run_campaign(config, tmp_path / "art", processes=2)
    assert [run["status"] for run in result.runs] == ["completed", "error", "completed"]
    assert "did not move" in result.runs[1]["error"]
    assert result.exit_code == 5
    assert (result.folder / "report.html").exists()


def test_a_worker_that_is_killed_costs_one_run(tmp_path, monkeypatch):
    victim = tmp_path / "die"
    victim.write_text("run-001")
    monkeypatch.setenv("MML_TEST_KILL", str(victim))
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from marketmakerl.agents import campaign, campaign_run\n"
        "from test_campaign_victim import Work\n"
        "campaign._Work = Work\n"
        "from marketmakerl.agents.campaign import CampaignConfig, run_campaign\n"
        f"r = run_campaign(CampaignConfig(n=4, synthetic_bars=400, warmup_bars=60), Path({str(tmp_path / 'art')!r}),\n"
        "                 processes=2)\n"
        "print([x['status'] for x in r.runs], r.exit_code)\n"
    )
    (tmp_path / "test_campaign_victim.py").write_text(
        "import os, signal\n"
        "from dataclasses import dataclass\n"
        "from marketmakerl.agents.campaign_run import execute\n"
        "@dataclass(frozen=True)\n"
        "class Work:\n"
        "    setup: object\n"
        "    def __call__(self, task):\n"
        "        if task.run_id == 'run-001':\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return execute(self.setup, task)\n"
    )
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "['completed', 'error', 'completed', 'completed'] 1"


def test_an_interrupt_keeps_what_is_finished_and_a_rerun_goes_on(tmp_path):
    command = [
        sys.executable, "-m", "marketmakerl.cli.main", "campaign", "-n", "30", "--artifacts", str(tmp_path),
        "--processes", "2",
    ]  # fmt: skip
    env = os.environ | {"MML_GIT_COMMIT": "the same"}  # a commit in between would make it another campaign
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    deadline = time.monotonic() + 240  # a machine that has to compile first
    while len(list(tmp_path.glob("campaign/*/runs/*/result.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "error: interrupted" in err
    assert "Traceback" not in err
    (folder,) = tmp_path.glob("campaign/*")
    kept = lines(folder)
    assert 3 <= len(kept) < 30
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=240, check=True, env=env)
    document = orjson.loads(done.stdout)
    assert document["folder"] == str(folder)
    assert document["resumed"] >= len(kept)
    assert len(document["runs"]) == 30
    assert [run for run in document["runs"] if run in kept] == kept


def test_a_finished_campaign_is_run_anew_not_shown_again(tmp_path):
    first = run_campaign(SMALL, tmp_path, processes=1, clock=ManualClock(10**18))
    second = run_campaign(SMALL, tmp_path, processes=1, clock=ManualClock(2 * 10**18))
    assert second.resumed == 0
    assert first.folder != second.folder


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"n": 0}, "N must be at least 1"),
        ({"n": -3}, "N must be at least 1"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63 - 1}, "leaves no room"),
        ({"budget": 0.0}, "budget"),
        ({"budget": float("nan")}, "budget"),
        ({"order_share": 1.5}, "order_share"),
        ({"warmup_bars": 3}, "warmup_bars"),
        ({"model": "avellaneda"}, "did you mean avellaneda_stoikov"),
        ({"model_params": {"gama": 1.0}}, "did you mean gamma"),
        ({"maker_bps": 0.5, "taker_bps": 1e9}, "basis points"),
        ({"market": MarketRequest("binance")}, "needs a SYMBOL"),
        ({"market": MarketRequest("", "", Path(), "1m")}, "say which series"),
        ({"market": MarketRequest("binance", "BTC/USDT", Path(), "7y")}, "TIMEFRAME"),
        ({"market": MarketRequest("binance", "BTC/USDT", Path(), "1m", 0.0)}, "DAYS"),
    ],
)
def test_bad_configuration_is_refused_before_anything_is_written(tmp_path, change, text):
    with pytest.raises(ConfigError, match=text):
        run_campaign(replace(SMALL, **change), tmp_path / "art")
    assert not (tmp_path / "art").exists()


def test_unknown_names_and_missing_data(tmp_path):
    put_klines(tmp_path)
    with pytest.raises(UnknownNameError):
        run_campaign(replace(SMALL, market=MarketRequest("binanec", "BTC/USDT", tmp_path)), tmp_path / "art")
    with pytest.raises(DataNotFoundError, match="no such file"):
        run_campaign(replace(SMALL, market=MarketRequest("binance", "BTC/USDT", tmp_path / "no")), tmp_path / "art")
    assert not (tmp_path / "art").exists()


def test_an_artifacts_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot write"):
        run_campaign(SMALL, tmp_path / "file" / "art", processes=1)


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 300 kB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this user cannot mount a small file system")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk_is_one_clear_error_and_keeps_what_is_there(tiny_disk):
    config = replace(SMALL, n=40)
    with pytest.raises(ArtifactError, match="No space left"):
        run_campaign(config, tiny_disk, processes=2)
    (folder,) = tiny_disk.glob("campaign/*")
    for result in folder.glob("runs/*/result.json"):
        assert orjson.loads(result.read_bytes())["status"] == "completed"
    assert not [path for path in folder.rglob(".*") if path.stat().st_size]


def test_recorded_data_make_the_same_campaign(shared_data, tmp_path):
    config = CampaignConfig(n=4, market=MarketRequest("binanceusdm", "BTC/USDT", shared_data))
    result = run_campaign(config, tmp_path, processes=2)
    assert [run["status"] for run in result.runs] == ["completed"] * 4
    assert result.manifest["tier"] == "T1"
    assert sum(entry["rows"] for entry in result.manifest["data"]) == 86398
    starts = [run["first_ns"] for run in result.runs]
    assert np.ptp(np.diff(starts)) <= 60_000_000_000  # equal windows, to a bar


def test_a_repetition_on_other_data_is_refused(tmp_path):
    path = put_klines(tmp_path)
    config = replace(SMALL, market=MarketRequest("binanceusdm", "BTC/USDT", tmp_path))
    first = run_campaign(config, tmp_path / "art", processes=1)
    repeated, manifest = config_from_manifest("latest", tmp_path / "art")
    pd.read_parquet(path).iloc[:-100].to_parquet(path, index=False)
    with pytest.raises(DataFormatError, match="not the data that"):
        run_campaign(repeated, tmp_path / "art", processes=1, resume=False, repeat_of=manifest)
    assert [folder.name for folder in (tmp_path / "art" / "campaign").iterdir()] == [first.folder.name]


def test_a_campaign_at_work_is_not_joined(tmp_path):
    first = run_campaign(SMALL, tmp_path, processes=1, clock=ManualClock(10**18))
    (first.folder / "report.html").unlink()  # looks unfinished
    with (first.folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        second = run_campaign(SMALL, tmp_path, processes=1, clock=ManualClock(2 * 10**18))
    assert second.folder != first.folder
    assert second.resumed == 0
    (first.folder / ".lock").unlink()
    third = run_campaign(SMALL, tmp_path, processes=1, clock=ManualClock(3 * 10**18))
    assert third.folder == first.folder
    assert third.resumed == 3
    assert not list(tmp_path.rglob(".lock"))


def test_changed_code_or_instrument_starts_anew(tmp_path, monkeypatch):
    first = run_campaign(SMALL, tmp_path, processes=1, clock=ManualClock(10**18))
    (first.folder / "report.html").unlink()
    monkeypatch.setattr("marketmakerl.core.artifacts.source_hash", lambda: "other code")
    assert run_campaign(SMALL, tmp_path, processes=1).folder != first.folder


def test_what_is_asked_of_the_synthetic_market_is_done_or_refused(tmp_path):
    with pytest.raises(UnknownNameError):
        run_campaign(replace(SMALL, market=MarketRequest("sim", "FOO/BAR")), tmp_path)
    market = MarketRequest(timeframe="5m", days=2)
    result = run_campaign(replace(SMALL, n=1, market=market), tmp_path, processes=1)
    assert result.runs[0]["metrics"]["interval_s"] == 300.0
    assert result.runs[0]["metrics"]["intervals"] == 2 * 288 - 60


RUINOUS = replace(SMALL, n=4, limits=dict(OFF), maker_bps=150.0, order_share=0.5)


@pytest.mark.parametrize(
    ("tables", "quiet", "ruined"),
    [("", 2, 4), ("some", 2, 4), ("all", 4, 4), ("failed", 0, 4), ("none", 0, 0)],
)
def test_tables_are_kept_by_choice_and_change_no_number(tables, quiet, ruined, tmp_path, monkeypatch):
    monkeypatch.setattr("marketmakerl.agents.campaign.FIRST_KEPT", 2)
    for config, kept, status in ((replace(SMALL, n=4), quiet, "completed"), (RUINOUS, ruined, "failed_risk")):
        home = tmp_path / status
        whole = run_campaign(replace(config, tables="all"), home / "whole", processes=1)
        done = run_campaign(replace(config, tables=tables), home / "some", processes=1)
        assert {run["status"] for run in done.runs} == {status}
        assert (done.folder / "runs.jsonl").read_bytes() == (whole.folder / "runs.jsonl").read_bytes()
        with_tables = sorted({path.parent.name for path in done.folder.rglob("*.parquet")})
        assert with_tables == [f"run-00{i}" for i in range(kept)]
        assert (done.folder / "report.html").exists()
        again, _ = config_from_manifest(str(done.folder), home)
        assert again.tables == tables


def test_a_rule_of_tables_that_is_none_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="most"):
        run_campaign(replace(SMALL, tables="most"), tmp_path)
    assert not list(tmp_path.iterdir())
