"""An ablation: what is paired with what, what the intervals are worth, and the verdicts, against plain NumPy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from marketmakerl.core.errors import ConfigError, DataQualityError, UnknownNameError
from marketmakerl.data.market import MarketRequest
from marketmakerl.reporting.ablation_report import write_ablation_report
from marketmakerl.risk.limits import OFF, RiskLimits
from marketmakerl.validation.ablation import AblationConfig, ablate
from marketmakerl.validation.ablation_effects import EVERYTHING, RESAMPLES, block_length, effects
from marketmakerl.validation.ablation_run import ALL_OFF, ALL_ON, Outcome, only, variants

DAY_S = 86_400


def outcome(changes, *, drawdown=0.01, uptime=0.9, fills="a", quotes=None, number=10):
    metrics = {"max_drawdown_pct": drawdown, "quoted_uptime_pct": uptime, "fills": number, "pnl": 1.0,
               "return_pct": float(np.sum(changes))}  # fmt: skip
    return Outcome(metrics, "completed", np.asarray(changes, float), 0.1, fills, quotes or fills)


def windows_of(with_it, without, n_windows, **of_without):
    """Return windows in which one control, "stop_loss_pct", makes the difference."""
    parts = zip(np.array_split(with_it, n_windows), np.array_split(without, n_windows), strict=True)
    return [
        {
            ALL_ON: outcome(a),
            ALL_OFF: outcome(b, fills="off", **of_without),
            "without stop_loss_pct": outcome(b, fills="without", **of_without),
            "without max_spread_bps": outcome(a),
        }
        for a, b in parts
    ]


def found(windows, seed=0, interval_s=60.0, controls=("stop_loss_pct", "max_spread_bps")):
    return {e.control: e for e in effects(windows, controls, interval_s, seed, alone=False)}


def test_differences_are_with_less_without_and_paired():
    rng = np.random.default_rng(1)
    market = rng.normal(0, 1e-3, 2_000)  # what both have in common is large and cancels
    effect = found(windows_of(market + 2e-6, market, 4, drawdown=0.02, uptime=0.8))["stop_loss_pct"]
    assert effect.verdict == "helps"
    assert effect.pnl_bps_day.mean == pytest.approx(2e-6 * 1e4 * DAY_S / 60, rel=1e-9)
    assert effect.pnl_bps_day.low == pytest.approx(effect.pnl_bps_day.high, rel=1e-6)
    assert effect.drawdown_bps.mean == pytest.approx(100.0)
    assert effect.uptime.mean == pytest.approx(0.1)
    assert (effect.windows, effect.acted) == (4, 4)
    assert effect.worst_window_bps == pytest.approx(2e-6 * 500 * 1e4)
    sharpe = [x.mean() / x.std() * np.sqrt(365 * DAY_S / 60) for x in (market + 2e-6, market)]
    assert effect.sharpe.mean == pytest.approx(sharpe[0] - sharpe[1], rel=1e-9)


def test_the_interval_is_that_of_blocks():
    """The same bootstrap by hand: another generator and a loop, so equal but for the luck of the draw."""
    rng = np.random.default_rng(2)
    moves = rng.normal(0, 1e-4, 3_000)
    difference = 1e-5 + np.convolve(moves, np.ones(5), "same")  # what is near in time goes together
    without = rng.normal(0, 1e-3, 3_000)
    effect = found(windows_of(without + difference, without, 3), interval_s=1.0)["stop_loss_pct"]
    length, unit = block_length(3_000), 1e4 * DAY_S
    starts = np.random.default_rng(5).integers(0, 3_000, (RESAMPLES, -(-3_000 // length)))
    means = [np.take(difference, (s[:, None] + np.arange(length)).ravel(), mode="wrap").mean() for s in starts]
    error = np.std(means, ddof=1) * unit
    # Two looks (everything and this control, which are one here): the largest of both is either's.
    half = np.quantile(np.abs(np.array(means) - difference.mean()) * unit / error, 0.975) * error
    assert effect.pnl_bps_day.mean == pytest.approx(difference.mean() * unit)
    assert effect.pnl_bps_day.high - effect.pnl_bps_day.mean == pytest.approx(half, rel=0.08)
    naive = 2.24 * difference.std() / np.sqrt(3_000) * unit
    assert half > 1.5 * naive


def test_the_drawdown_interval_is_students_divided_among_the_controls():
    drops = [0.01, 0.03, 0.02, 0.05, 0.02]
    windows = windows_of(np.zeros(500), np.zeros(500), 5)
    for window, drop in zip(windows, drops, strict=True):
        for name in (ALL_OFF, "without stop_loss_pct"):
            window[name].metrics["max_drawdown_pct"] = 0.01 + drop
    effect = found(windows)["stop_loss_pct"]
    change = 1e4 * np.array(drops)
    # t(4) quantile at 1 - 0.025/4 (two controls looked at, half of five per cent): 4.3147, from tables of t
    half = 4.3147 * change.std(ddof=1) / np.sqrt(5)
    assert effect.drawdown_bps.mean == pytest.approx(change.mean())
    assert effect.drawdown_bps.low == pytest.approx(change.mean() - half, rel=1e-3)
    assert effect.drawdown_bps.high == pytest.approx(change.mean() + half, rel=1e-3)


def test_words():
    zero = np.zeros(400)
    better = np.random.default_rng(3).normal(5e-5, 1e-5, 400)
    assert found(windows_of(better, zero, 4))["stop_loss_pct"].verdict == "helps"
    assert found(windows_of(zero, better, 4))["stop_loss_pct"].verdict == "hurts"
    assert found(windows_of(better, zero, 4, drawdown=0.001))["stop_loss_pct"].verdict == "both ways"
    assert found(windows_of(better - better.mean(), zero, 4))["stop_loss_pct"].verdict == "not told"
    idle = found(windows_of(better, zero, 4))["max_spread_bps"]
    assert (idle.verdict, idle.acted) == ("never acted", 0)
    quiet = windows_of(better, zero, 4)
    for window in quiet:
        window["without max_spread_bps"] = replace(window[ALL_ON], quotes="others", metrics={
            **window[ALL_ON].metrics, "quoted_uptime_pct": 1.0})  # fmt: skip
    assert found(quiet)["max_spread_bps"].verdict == "changed no fill"
    assert found(quiet)["max_spread_bps"].uptime.mean == pytest.approx(-0.1)


def test_what_floats_leave_is_no_effect():
    market = np.random.default_rng(4).normal(0, 1e-3, 600)
    windows = windows_of(market + 1e-19, market, 4, drawdown=0.01 + 1e-17)
    assert found(windows)["stop_loss_pct"].verdict == "not told"


def test_few_changes_or_one_window_have_no_interval():
    effect = found(windows_of(np.full(20, 1e-4), np.zeros(20), 1))["stop_loss_pct"]
    assert effect.pnl_bps_day.low is effect.drawdown_bps.low is None
    assert effect.verdict == "not told"


def test_of_controls_that_do_nothing_few_are_said_to_do_something():
    """30 controls at once, none with an effect: some verdict other than "not told" in at most about one study of 20."""
    rng = np.random.default_rng(6)
    controls = tuple(OFF)[:30]
    wrong = 0
    for study in range(60):
        windows = []
        for _ in range(6):
            runs = {ALL_ON: outcome(rng.normal(0, 1e-4, 100)), ALL_OFF: outcome(np.zeros(100), fills="off")}
            for i, control in enumerate(controls):
                runs[f"without {control}"] = outcome(
                    runs[ALL_ON].changes + rng.normal(0, 1e-5, 100), drawdown=0.01 + rng.normal(0, 1e-3), fills=str(i)
                )
            runs[ALL_OFF].changes[:] = runs[ALL_ON].changes + rng.normal(0, 1e-5, 100)
            runs[ALL_OFF].metrics["max_drawdown_pct"] += rng.normal(0, 1e-3)
            windows.append(runs)
        said = effects(windows, controls, 60.0, study, alone=False)
        wrong += any(effect.verdict != "not told" for effect in said)
    assert wrong <= 8  # of 60, at 5 %: nine and more come by chance once in 500


def test_every_control_has_its_variants():
    tried = variants(RiskLimits(), tuple(OFF), alone=True)
    assert len(tried) == 2 + 2 * len(OFF)
    assert tried[ALL_OFF] == RiskLimits.off()
    for name in OFF:
        assert getattr(tried[f"without {name}"], name) == OFF[name]
        alone = tried[f"only {name}"]
        assert getattr(alone, name) == getattr(RiskLimits(), name)
        on = [other for other in OFF if getattr(alone, other) != OFF[other]]
        assert set(on) - {name} <= {"hard_inventory_pct", "soft_inventory_pct", "min_edge_bps"}, (name, on)
    assert only(RiskLimits(), "soft_inventory_pct").hard_inventory_pct == 0.2


SMALL = AblationConfig(
    synthetic=("crash bars",), windows=3, synthetic_bars=700, fees=(None, (-0.5, 3.0)), warmup_bars=60,
    controls=("stop_loss_pct", "daily_loss_pct", "max_spread_bps", "hard_inventory_pct"), alone=True,
)  # fmt: skip


def test_the_same_bytes_on_any_number_of_processes(tmp_path):
    texts = []
    for processes in (1, 2):
        done = ablate(SMALL, tmp_path / str(processes), processes=processes)
        names = ("runs.jsonl", "summary.csv", "analysis.json")
        texts.append([(done.folder / name).read_bytes() for name in names])
    assert texts[0] == texts[1]
    analysis = done.analysis
    assert [entry["name"] for entry in analysis["settings"]] == ["crash bars, fees 2:5", "crash bars, fees -0.5:3"]
    first = analysis["settings"][0]
    by_control = {e["control"]: e for e in first["effects"] if e["mode"] == "among all"}
    assert list(by_control) == [EVERYTHING, "hard_inventory_pct", "max_spread_bps", "stop_loss_pct", "daily_loss_pct"]
    assert by_control["max_spread_bps"]["verdict"] == "never acted"  # bars show no spread
    assert by_control["hard_inventory_pct"]["acted"] > 0
    runs = [orjson.loads(line) for line in (done.folder / "runs.jsonl").read_bytes().splitlines()]
    assert len(runs) == 2 * 3 * (2 + 2 * 4)
    with_all = [run for run in runs if run["limits"] == ALL_ON and run["setting"] == first["name"]]
    assert len({run["fills_digest"] for run in with_all}) == 3  # each window is a market of its own
    assert max(run["suppressed"] for run in with_all) > 0.001
    # The effect on the worst window, from the runs themselves.
    worst = {
        name: min(
            run["metrics"]["return_pct"] for run in runs if (run["limits"], run["setting"]) == (name, first["name"])
        )
        for name in (ALL_ON, "without daily_loss_pct")
    }
    gap = 1e4 * (worst[ALL_ON] - worst["without daily_loss_pct"])
    assert by_control["daily_loss_pct"]["worst_window_bps"] == pytest.approx(gap, abs=1e-9)
    overall = {line["control"]: line["say"] for line in analysis["overall"]}
    assert overall["max_spread_bps"] == "had nothing to do"
    page = (done.folder / "report.html").read_bytes()
    (done.folder / "report.html").unlink()
    assert write_ablation_report(done.folder).read_bytes() == page
    assert b"max_spread_bps" in page
    assert str(tmp_path).encode() not in page


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"controls": ("stop_los_pct",)}, UnknownNameError, "stop_loss_pct"),
        ({"synthetic": ("calm bars",)}, UnknownNameError, "synthetic market"),
        ({"synthetic": ()}, ConfigError, "name a market"),
        ({"windows": 0}, ConfigError, "windows"),
        ({"fees": ()}, ConfigError, "fees"),
        ({"synthetic_bars": 60}, ConfigError, "synthetic_bars"),
        ({"budget": -1.0}, ConfigError, "budget"),
        ({"markets": (MarketRequest(exchange="binance"),)}, ConfigError, "SYMBOL"),
    ],
)
def test_what_makes_no_sense_is_refused_before_work_starts(tmp_path, changes, error, text):
    with pytest.raises(error, match=text):
        ablate(replace(SMALL, **changes), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_data_set_of_which_no_window_can_be_traded_is_an_error(tmp_path):
    with pytest.raises(DataQualityError, match="no window of 3 can be traded"):
        ablate(replace(SMALL, synthetic=("synthetic ticks",), synthetic_events=300), tmp_path / "out", processes=1)
    assert not (tmp_path / "out").exists()


def test_recorded_ticks(shared_data: Path, tmp_path):
    market = MarketRequest("hyperliquid", "SOL/USDC", shared_data, clock="ticks")
    config = AblationConfig(markets=(market,), synthetic=(), windows=2, controls=("min_edge_bps",))
    done = ablate(config, tmp_path, processes=1)
    venue, rebate = done.analysis["settings"]
    assert venue["runs"][ALL_ON]["fills"] < venue["runs"][ALL_OFF]["fills"]
    assert venue["effects"][1]["control"] == "min_edge_bps"
    assert venue["effects"][1]["suppressed"] > 0.3
    assert rebate["fees"] == {"maker_bps": -0.5, "taker_bps": 3.0}
