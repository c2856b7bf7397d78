"""The study of queue models: fifo finds what happened, the others err as their assumptions say, intervals are right."""

from __future__ import annotations

import json

import numpy as np
import pytest

from l3_logs import INSTRUMENT, T0, orders_frame
from marketmakerl.cli.main import run
from marketmakerl.core.errors import ConfigError, DataQualityError
from marketmakerl.data.l3_import import import_l3
from marketmakerl.data.synthetic_l3 import L3Market, simulate_l3
from marketmakerl.validation.queue_truth import MODELS, QueueTruthConfig, _interval, compare, twin_fills

BY = ("10s", "60s", "ever")


@pytest.fixture(scope="module")
def imported():
    market = L3Market(events=8_000)
    return import_l3(*simulate_l3(market, 1), market.instrument)


@pytest.fixture(scope="module")
def result(imported):
    return compare(imported)


def rows_of(result, group="queued"):
    return {row["model"]: row for row in result["rows"] if row["group"] == group}


def test_fifo_is_exact(imported, result):
    resting = imported.resting[imported.resting["rested_ns"] > imported.tape.ts_ns[0]]
    np.testing.assert_array_equal(twin_fills(imported.tape, resting, MODELS["fifo"]), resting["first_fill_ns"])
    for group in ("all", "queued", "touch"):
        row = rows_of(result, group)["fifo"]
        assert row["same_moment"] == 1.0
        assert all(row["horizons"][name]["brier"] == 0.0 for name in row["horizons"])


def test_the_bounds_bound(imported, result):
    resting = imported.resting[imported.resting["rested_ns"] > imported.tape.ts_ns[0]]
    front, late = (twin_fills(imported.tape, resting, MODELS[name]) for name in ("front", "risk_averse"))
    truth = resting["first_fill_ns"]
    filled = truth >= 0
    assert (front[filled] >= 0).all()
    assert (front[filled] <= truth[filled]).all()
    both = filled & (late >= 0)
    assert (late[both] >= truth[both]).all()
    assert not (late[~filled] >= 0).any()
    rows = rows_of(result)
    for name in BY:
        assert rows["front"]["horizons"][name]["missed"] == 0
        assert rows["risk_averse"]["horizons"][name]["invented"] == 0
        assert rows["risk_averse"]["horizons"][name]["bias_high"] < 0 < rows["front"]["horizons"][name]["bias_low"]
    wrong = {name: row["horizons"]["60s"]["brier"] for name, row in rows.items() if name != "fifo"}
    assert {name: rows[name]["rank"] for name in wrong} == {
        name: 1 + sum(other < share for other in wrong.values()) for name, share in wrong.items()
    }
    assert rows["fifo"]["rank"] is None


def test_a_cancelled_order_counts_up_to_its_cancel():
    ts = [T0 + 10**9 * i for i in range(7)]
    log = orders_frame([
        (0, ts[0], 1, 0, 1, 100, 5, None), (1, ts[1], 2, 0, 1, 100, 5, None), (2, ts[2], 3, 0, 1, 100, 9, None),
        (3, ts[3], 2, 2, 1, 100, 5, 0),  # before a trade that would have reached it
        (4, ts[4], 1, 2, 1, 100, 0, 5), (5, ts[4], 3, 1, 1, 100, 2, 7), (6, ts[6], 9, 0, -1, 200, 1, None),
    ])  # fmt: skip
    rows = rows_of(compare(import_l3(log, None, INSTRUMENT)))
    assert rows["fifo"]["pairs"] == 2  # orders 2 and 3 joined behind somebody
    cell = rows["fifo"]["horizons"]["10s"]
    assert (cell["real"], cell["predicted"], cell["brier"]) == (0.5, 0.5, 0.0)
    assert rows["fifo"]["horizons"]["1s"]["real"] == 0.0  # order 3 waited for 2 s
    # A model that gives order 3 ten lots in front, of which 5 left, is late; one that thinks it first is not early.
    assert rows["risk_averse"]["horizons"]["10s"]["missed"] == 0
    assert rows["front"]["horizons"]["10s"]["invented"] == 0


def test_intervals_are_as_wide_as_the_blocks_say():
    random = np.random.default_rng(1)
    error = random.integers(-1, 2, 500)
    low, high = _interval(error, np.arange(500), 0)
    half = 1.96 * error.std() / np.sqrt(500)
    assert low == pytest.approx(error.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(error.mean() + half, abs=0.1 * half)
    # The same orders twice over in each block are no more evidence.
    twice = _interval(np.repeat(error, 2), np.repeat(np.arange(500), 2), 0)
    assert twice == pytest.approx((low, high))
    assert _interval(error, np.zeros(500, np.int64), 0) == pytest.approx((error.mean(),) * 2)


def test_nothing_filled_is_no_measure():
    log = orders_frame([(i, T0 + 10 * i, i, 0, 1, 100, 5, None) for i in range(3)])
    with pytest.raises(DataQualityError, match="nothing"):
        compare(import_l3(log, None, INSTRUMENT))
    with pytest.raises(ConfigError, match="block_s"):
        QueueTruthConfig(block_s=0)


def test_the_command_writes_its_study(tmp_path, capsys):
    assert run(["queue-truth", "--events", "3000", "--artifacts", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["logs"]) == {"cancels anywhere", "cancels at the back", "cancels at the front"}
    (folder,) = (tmp_path / "queue-truth").iterdir()
    assert {path.name for path in folder.iterdir()} == {"analysis.csv", "analysis.json", "manifest.json", "report.html"}
    page = (folder / "report.html").read_text()
    assert "risk_averse" in page
    assert "cancels at the front: those that joined behind somebody" in page
    assert run(["queue-truth", "--events", "3000", "--artifacts", str(tmp_path)]) == 0
    assert "fifo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["--events", "0"], 2, "events"),
        (["--block-s", "-1"], 2, "block_s"),
        (["--data", "nowhere.parquet"], 5, "not there"),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path, capsys, argv, code, text):
    assert run(["queue-truth", *argv, "--artifacts", str(tmp_path)]) == code
    err = capsys.readouterr().err
    assert text in err
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


def test_the_recorded_log(shared_data, tmp_path, capsys):
    argv = ["queue-truth", "--data", str(shared_data), "--exchange", "bitstamp", "--symbol", "BTC/USD", "--json"]
    assert run([*argv, "--artifacts", str(tmp_path)]) == 0
    log = json.loads(capsys.readouterr().out)["logs"]["bitstamp BTCUSD"]
    assert log["orders"]["queued"] == {"orders": 3142, "filled": 33, "cancelled": 3104}
    fifo = rows_of(log)["fifo"]
    assert fifo["same_moment"] == 1.0
    assert fifo["horizons"]["ever"]["missed"] == 0
    assert rows_of(log, "all")["fifo"]["same_moment"] > 0.99
