import csv

import pytest

from marketmakerl.reporting.summary import has_window, summarise, write_summary_csv


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def header(path):
    return path.read_text().splitlines()[0].split(",")


def test_one_row_a_run_with_nested_metrics_as_columns(tmp_path, run_of, error_of):
    runs = [run_of(0), run_of(1, fills=0, no_fills_because="the spread, being wide"), error_of(2, 'a "quoted", text')]
    write_summary_csv(tmp_path / "summary.csv", runs)
    rows = read(tmp_path / "summary.csv")
    assert [row["run_id"] for row in rows] == ["run-000", "run-001", "run-002"]
    assert float(rows[0]["pnl"]) == runs[0]["metrics"]["pnl"]  # every digit
    assert rows[0]["suppressed_pct.edge"] == "0.125"
    assert rows[0]["markout_bps.60s"] == "-1.25"
    assert rows[0]["markout_bps.0.1s"] == ""
    assert rows[1]["no_fills_because"] == "the spread, being wide"
    assert rows[2]["error"] == 'a "quoted", text'
    assert rows[2]["pnl"] == ""
    assert rows[2]["exit_code"] == "5"


def test_columns_do_not_depend_on_what_happened(tmp_path, run_of, error_of):
    shuffled = run_of(1)
    shuffled["metrics"] = dict(sorted(shuffled["metrics"].items(), reverse=True))
    cases = [[run_of(0)], [shuffled], [error_of(0)], [error_of(0), run_of(1)], []]
    for i, runs in enumerate(cases):
        write_summary_csv(tmp_path / f"{i}.csv", runs)
    assert len({tuple(header(tmp_path / f"{i}.csv")) for i in range(len(cases))}) == 1
    columns = header(tmp_path / "0.csv")
    assert columns[:4] == ["run_id", "seed", "model", "status"]
    assert columns.index("pnl") < columns.index("sharpe") < columns.index("markout_bps.300s")
    assert "suppressed_pct.edge" in columns


def test_a_metric_nobody_knows_is_kept_at_the_end(tmp_path, run_of):
    run = run_of(0)
    run["metrics"]["vpin"] = 0.5
    write_summary_csv(tmp_path / "s.csv", [run])
    assert header(tmp_path / "s.csv")[-1] == "vpin"
    assert read(tmp_path / "s.csv")[0]["vpin"] == "0.5"


def test_summary_adds_up(run_of, error_of):
    runs = [
        run_of(0, pnl=10.0, max_drawdown_pct=0.1, sharpe=1.0, fills=5, fees_paid=2.0),
        run_of(1, pnl=-40.0, max_drawdown_pct=0.5, sharpe=None, fills=7, fees_paid=3.0, status="failed_risk"),
        run_of(2, pnl=0.0, max_drawdown_pct=0.2, sharpe=-3.0, fills=0, fees_paid=0.0),
        error_of(3),
    ]
    s = summarise(runs)
    assert (s["count"], s["completed"], s["failed_risk"], s["errors"]) == (4, 2, 1, 1)
    assert (s["total_pnl"], s["mean_pnl"], s["median_pnl"]) == (-30.0, -10.0, 0.0)
    assert (s["profitable"], s["profitable_share"]) == (1, pytest.approx(1 / 3))  # breaking even is not earning
    assert (s["worst_drawdown_pct"], s["median_sharpe"]) == (0.5, -1.0)
    assert (s["fills"], s["fees_paid"]) == (12, 5.0)


def test_pnl_is_the_sum_of_its_parts(run_of):
    s = summarise([run_of(i) for i in range(20)])
    parts = s["gross_spread_pnl"] + s["inventory_pnl"] + s["funding_pnl"] - s["fees_paid"]
    assert parts == pytest.approx(s["total_pnl"], rel=1e-12)


@pytest.mark.parametrize("n", [0, 2])
def test_nothing_finished_is_undefined_not_zero(n, error_of):
    s = summarise([error_of(i) for i in range(n)])
    assert s["errors"] == s["count"] == n
    for name in ("total_pnl", "mean_pnl", "profitable_share", "worst_drawdown_pct", "median_sharpe"):
        assert s[name] is None


def test_only_recorded_runs_are_told_by_their_window(run_of, error_of):
    assert has_window(run_of(0, tier="T1"))
    assert not has_window(run_of(0))
    assert not has_window(error_of(0))
