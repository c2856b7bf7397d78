"""The stress study: whole folders or none, the same bytes however it is run, figures that add up."""

from __future__ import annotations

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import orjson
import pytest

import marketmakerl as mml
from marketmakerl.backtesting.session import Session
from marketmakerl.backtesting.tick_session import TickRules
from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError, UnknownNameError
from marketmakerl.data.market import MarketRequest, synthetic_market
from marketmakerl.data.tape import Kind
from marketmakerl.risk.limits import RiskLimits
from marketmakerl.risk.reasons import Purpose
from marketmakerl.simulation.world import PAPER_WORLD
from marketmakerl.validation import stress as module
from marketmakerl.validation.stress import StressConfig, stress
from marketmakerl.validation.stress_measure import (
    inventory_share,
    liquidation_cost,
    peak_orders,
    run_checks,
    world_checks,
)
from marketmakerl.validation.stress_scenarios import SCENARIOS, Setting, begins_at, stressed
from tick_tapes import make_tape

S = 10**9
SESSION = Session(fees=mml.Fees(2.0, 5.0), model="symmetric", warmup_bars=100)


def config(**changes) -> StressConfig:
    given = {"model": "symmetric", "synthetic_bars": 600, "warmup_bars": 100, "n_paths": 50}
    return StressConfig(**given | changes)


def lines_of(folder):
    return [orjson.loads(line) for line in (folder / "runs.jsonl").read_bytes().splitlines()]


def test_a_study_of_bars_and_a_world_is_whole_and_the_same_in_any_number_of_processes(tmp_path):
    asked = config(world=PAPER_WORLD, scenarios=("gap_down_10", "feed_outage", "fees_x2", "venue_rejects"))
    seen = []
    alone = stress(asked, tmp_path, processes=1, progress=lambda *step: seen.append(step[:2]))
    both = stress(asked, tmp_path, processes=2)
    for name in ("runs.jsonl", "summary.csv", "analysis.json"):
        assert (alone.folder / name).read_bytes() == (both.folder / name).read_bytes(), name
    lines = lines_of(alone.folder)
    assert [line["run_id"] for line in lines] == [
        "tape-baseline", "tape-gap_down_10", "tape-feed_outage", "tape-fees_x2", "tape-venue_rejects",
        "world-baseline", "world-gap_down_10", "world-feed_outage", "world-fees_x2", "world-venue_rejects",
    ]  # fmt: skip
    statuses = {line["run_id"]: line["status"] for line in lines}
    assert {name for name, status in statuses.items() if status == "not_applicable"} == {
        "tape-feed_outage", "world-feed_outage", "world-fees_x2", "world-venue_rejects"
    }  # fmt: skip
    assert seen == [(i, 10) for i in range(11)]
    assert {line["tier"] for line in lines if line["metrics"]} == {"T2"}
    with (alone.folder / "summary.csv").open(newline="") as file:
        rows = {row["run_id"]: row for row in csv.DictReader(file)}
    for line in lines:
        if line["figures"]:
            assert float(rows[line["run_id"]]["pnl"]) == line["figures"]["pnl"]
            base = next(other for other in lines if other["run_id"] == f"{line['target']}-baseline")
            assert line["pnl_change"] == line["figures"]["pnl"] - base["figures"]["pnl"]
    document = orjson.loads((alone.folder / "manifest.json").read_bytes())
    assert (document["kind"], document["tier"]) == ("stress", "T2")
    assert document["config"]["options"]["scenarios"] == list(asked.scenarios)
    assert alone.exit_code == 0
    page = (alone.folder / "report.html").read_text()
    for text in ("tape-gap_down_10", "not applicable", "no feed", "within limits", "The model world"):
        assert text in page, text


def test_ticks_take_every_scenario(tmp_path):
    tape = make_tape(200)
    path = tape.save(tmp_path / "market.tape")
    asked = config(
        market=MarketRequest(data=path), model_params={"half_spread": 2.0}, maker_bps=0.01, taker_bps=5.0,
        ticks=TickRules(quote_interval_ms=1000.0),
    )  # fmt: skip
    done = stress(asked, tmp_path, processes=1)
    rows = {row["scenario"]: row for row in done.analysis["rows"]}
    assert set(rows) == {"baseline", *SCENARIOS}
    assert {row["status"] for row in rows.values()} <= {"completed", "failed_risk"}
    assert rows["baseline"]["figures"]["fills"] > 10
    assert rows["latency_x50"]["figures"]["fills"] != rows["baseline"]["figures"]["fills"]
    assert rows["fees_x2"]["metrics"]["fees_paid"] != rows["baseline"]["metrics"]["fees_paid"]


def test_a_scenario_begins_a_quarter_into_what_is_traded():
    tape = synthetic_market(500, 1).tape
    setting = Setting(tape, SESSION)
    opens = tape.ts_ns[tape.kind == Kind.BAR_OPEN]
    at = int(tape.ts_ns[0]) + begins_at(setting) * int(tape.ts_ns[-1] - tape.ts_ns[0])
    assert at == pytest.approx(float(opens[200]), abs=60 * S)
    ticks = make_tape(60)
    assert begins_at(Setting(ticks, SESSION, TickRules(warmup_share=0.2))) == pytest.approx(0.4)
    fixed = replace(SESSION, model_params={"half_spread": 0.5})
    assert begins_at(Setting(ticks, fixed, TickRules(warmup_share=0.2))) == pytest.approx(0.25)
    moved = stressed(setting, "gap_down_20").tape
    first = int(np.flatnonzero(moved.price_ticks != tape.price_ticks)[0])
    assert int(moved.ts_ns[first]) in opens[199:202].tolist()


def test_what_venue_scenarios_change():
    bars, ticks = synthetic_market(300, 1).tape, make_tape(60)
    on_bars, on_ticks = Setting(bars, SESSION), Setting(ticks, SESSION, TickRules(response_latency_ms=1.0))
    assert stressed(on_bars, "fees_x2").session.fees == mml.Fees(4.0, 10.0)
    rebate = replace(on_bars, session=replace(SESSION, fees=mml.Fees(-1.0, 5.0)))
    assert stressed(rebate, "fees_x2").session.fees == mml.Fees(0.0, 10.0)
    slow = stressed(on_ticks, "latency_x50").ticks
    assert (slow.entry_latency_ms, slow.response_latency_ms) == (250.0, 50.0)
    ((first, last),) = stressed(on_bars, "venue_rejects").venue.reject_windows
    assert last - first == 60 * S
    assert first in bars.ts_ns[bars.kind == Kind.BAR_CLOSE]
    with pytest.raises(ConfigError, match="shorter than a bar"):
        stressed(on_bars, "latency_x50")
    with pytest.raises(ConfigError, match="no fees to double"):
        stressed(replace(on_bars, session=replace(SESSION, fees=mml.Fees(0.0, 0.0))), "fees_x2")


def run_of(fills, samples=((0, 1_000.0, 0),), kind="linear", orders=()):
    columns = [("ts_ns", "i8"), ("side", "i8"), ("price_ticks", "i8"), ("qty_lots", "i8"), ("fee", "f8"),
               ("mid", "f8"), ("position_lots", "i8"), ("purpose", "i8")]  # fmt: skip
    symbol = "X/USDT" if kind == "spot" else "X/USDT:USDT"
    return SimpleNamespace(
        raw_fills=np.array(list(fills), columns),
        raw_samples=np.array(list(samples), [("ts_ns", "i8"), ("equity", "f8"), ("position_lots", "i8")]),
        raw_orders=np.array(list(orders), [("order_id", "i8"), ("submitted_ns", "i8")]),
        instrument=mml.Instrument(symbol, 1.0, 0.1, kind),
    )


def test_inventory_counts_what_fills_added_to_what_was_wanted():
    fills = [
        (1, 1, 99, 20, 0.0, 100.0, 20, 0),  # 2 at 100
        (2, -1, 101, 5, 0.0, 500.0, 15, 0),  # it takes off: not what a limit is about, whatever it is worth
        (3, -1, 101, 40, 0.0, 110.0, -25, 0),  # 2.5 short at 110
    ]
    assert inventory_share(run_of(fills)) == pytest.approx(2.5 * 110 / 1_000)
    assert inventory_share(run_of(fills[:2])) == pytest.approx(2.0 * 100 / 1_000)
    bought = (1, 1, 99, 20, 0.0, 100.0, 70, 0)
    sold_out = (2, -1, 99, 70, 0.0, 100.0, 0, int(Purpose.LIQUIDATION))
    assert inventory_share(run_of([bought, sold_out], [(0, 1_000.0, 50)], "spot")) == pytest.approx(0.2)
    assert inventory_share(run_of([])) == 0.0


def test_liquidations_cost_their_fees_and_what_they_gave_away():
    fills = [
        (1, -1, 95, 20, 0.5, 100.0, 0, int(Purpose.LIQUIDATION)),
        (2, 1, 103, 10, 0.1, 100.0, 0, int(Purpose.VENUE)),
        (3, -1, 90, 10, 9.0, 100.0, 0, int(Purpose.EXIT)),
        (4, 1, 90, 10, 9.0, 100.0, 0, int(Purpose.QUOTE)),
    ]
    assert liquidation_cost(run_of(fills)) == pytest.approx(2 * 5 + 0.5 + 1 * 3 + 0.1)
    assert liquidation_cost(run_of(fills[2:])) == 0.0


def test_orders_are_counted_in_every_window():
    sent = [(1, 0), (2, 5), (3, 9), (4, 10), (5, 30), (-1, 30)]
    assert peak_orders(run_of([], orders=sent), 10) == 3
    assert peak_orders(run_of([], orders=sent), 11) == 4
    assert peak_orders(run_of([]), 10) == 0


def test_checks_are_held_against_the_limits():
    figures = {"max_drawdown_pct": 0.16, "return_pct": -0.41, "inventory_pct": 0.201, "peak_orders": 301}
    found = {check["name"]: check for check in run_checks(figures, RiskLimits())}
    assert {name: check["passed"] for name, check in found.items()} == {
        "failure": False, "drawdown": False, "inventory": True, "orders": False,
    }  # fmt: skip
    assert [found[name]["limit"] for name in ("failure", "drawdown")] == [0.40, RiskLimits().hard_drawdown_pct]
    assert found["failure"]["value"] == 0.41
    assert [check["name"] for check in run_checks(figures, RiskLimits.off())] == ["failure"]
    bad = {"worst_loss_pct": 0.39, "loss_99_pct": 0.2, "inventory_99_pct": 0.19}
    assert [check["passed"] for check in world_checks(bad, RiskLimits())] == [True, False, True]


def test_a_breach_is_named_and_a_baseline_is_none(tmp_path, monkeypatch):
    limits = RiskLimits(soft_drawdown_pct=None, hard_drawdown_pct=1e-9)
    monkeypatch.setattr(module, "RiskLimits", lambda: limits)
    done = stress(config(scenarios=("gap_down_20",)), tmp_path, processes=1)
    assert [check["name"] for check in done.breaches] == ["tape-gap_down_20 drawdown"]
    assert done.breaches[0]["why"].endswith("> 1e-09")
    assert done.exit_code == 0
    page = (done.folder / "report.html").read_text()
    assert "breach" in page.partition("<main>")[0]


def test_crises_that_are_not_held_are_skipped_and_say_why(tmp_path):
    (tmp_path / "data").mkdir()
    asked = config(market=None, crises=tmp_path / "data", scenarios=("august_2024",))
    (before, row) = stress(asked, tmp_path, processes=1).analysis["rows"]
    assert [row["status"], before["status"]] == ["not_applicable"] * 2
    assert "has nothing of binance" in row["why"]


def test_a_recorded_crisis_is_traded_and_so_are_the_days_before(tmp_path, shared_data):
    asked = config(market=None, crises=shared_data, scenarios=("october_2025",), warmup_bars=240)
    done = stress(asked, tmp_path, processes=1)
    before, row = done.analysis["rows"]
    assert [before["run_id"], row["run_id"]] == ["crisis-october_2025-before", "crisis-october_2025"]
    assert row["tier"] == before["tier"] == done.analysis["market"]["tier"] == "T1"
    assert row["metrics"]["funding_pnl"] != 0.0
    assert row["facts"]["peak_to_trough"] == pytest.approx(-0.225, abs=0.001)
    assert row["figures"]["fills"] > 0
    assert (
        len([event for event in row["events"] if event["before"] != event["after"]]) == row["figures"]["breaker_events"]
    )
    assert all(0 <= event["after_s"] <= 36 * 3600 for event in row["events"])
    document = orjson.loads((done.folder / "manifest.json").read_bytes())
    assert document["data"][0]["sha256"]
    assert "provenance" not in row


def test_a_study_that_is_cut_short_leaves_nothing(tmp_path, monkeypatch):
    def fails(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_stress_report", fails)
    with pytest.raises(KeyboardInterrupt):
        stress(config(scenarios=("gap_up_5",)), tmp_path, processes=1)
    assert list((tmp_path / "stress").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"scenarios": ("gap_down_11",)}, UnknownNameError, "gap_down_10"),
        ({"market": None}, ConfigError, "nothing to stress"),
        ({"n_paths": 1}, ConfigError, "paths must be"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"model": "nobody"}, UnknownNameError, "nobody"),
        ({"budget": -1.0}, ConfigError, "budget"),
        ({"synthetic_bars": 10}, ConfigError, "synthetic_bars must be"),
        ({"ticks": TickRules()}, ConfigError, "options of ticks"),
        ({"scenarios": ("august_2024",)}, ConfigError, "nothing to run"),
        ({"world": PAPER_WORLD, "model": "glft_microprice"}, UnknownNameError, "glft_microprice"),
        ({"market": MarketRequest(days=0.08), "warmup_bars": 200}, DataQualityError, "not enough"),
    ],
)
def test_bad_input_is_refused_before_anything_is_left(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        stress(config(**changes), tmp_path, processes=1)
    assert not list(tmp_path.glob("stress/*"))


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"config": {}}')
    (tmp_path / "analysis.json").write_text("{}")
    with pytest.raises(DataFormatError, match="is not a stress study"):
        module.write_stress_report(tmp_path)
