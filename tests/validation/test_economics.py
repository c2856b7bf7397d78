"""The economics study: break-evens by hand, fee levels, verdicts, and a grid whose every cell is a plain backtest."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from shutil import copytree

import numpy as np
import orjson
import pandas as pd
import pytest

import marketmakerl as mml
from marketmakerl.core.clock import ManualClock
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError, UnknownNameError
from marketmakerl.data.market import MarketRequest, load_market
from marketmakerl.reporting.economics_report import write_economics_report
from marketmakerl.reporting.economics_tables import alike_queues, break_even_text, cell_text, horizons_of
from marketmakerl.validation.break_even import BreakEven, Outcome, break_even, search
from marketmakerl.validation.economics import EconomicsConfig, economics
from marketmakerl.validation.economics_cells import earned_changes, interval, verdict
from marketmakerl.validation.economics_summary import summarise, unfiltered
from marketmakerl.validation.fee_levels import FeeLevel, fee_levels
from recorded import bars_of, put_klines
from tick_tapes import make_tape, put_recording

FIXED = {"half_spread": 0.4}
QUICK = {"latencies_ms": (0.0, 20.0), "queues": ("risk_averse", "front"), "fees": ("2:5", "0:5", "-2:5")}


# -- where it stops


def ladder(*runs):
    return [Outcome(cost, earned, fills) for cost, earned, fills in runs]


@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        ([(0, 6, 9), (10, 3, 9), (20, -1, 9)], BreakEven("crosses", 17.5, 10, 20)),
        ([(20, -1, 9), (10, 3, 9), (0, 6, 9)], BreakEven("crosses", 17.5, 10, 20)),
        ([(0, 6, 9), (10, 0, 9)], BreakEven("crosses", 10.0, 0, 10)),
        ([(0, 2, 9), (10, -2, 9), (20, 2, 9), (30, -9, 9)], BreakEven("crosses", 5.0, 0, 10)),
        # A run that does not trade earns its nothing at no cost: it is nothing to interpolate to.
        ([(0, 2, 9), (10, 0, 0), (20, -2, 9)], BreakEven("crosses", 10.0, 0, 20)),
        ([(0, 2, 9), (10, 1, 9), (20, 0, 0), (30, 0, 0)], BreakEven("stops trading", None, 10, 20)),
        ([(0, 2, 9), (10, 1, 9)], BreakEven("still earns", None, 10)),
        ([(0, -2, 9), (10, 1, 9)], BreakEven("earns nothing")),
        ([(0, 0, 9)], BreakEven("earns nothing")),
        ([(0, 0, 0), (10, 0, 0)], BreakEven("does not trade")),
        ([(0, 0, 0), (10, 3, 4)], BreakEven("still earns", None, 10)),
    ],
)
def test_a_ladder_by_hand(runs, wanted):
    assert break_even(ladder(*runs)) == wanted


def test_a_search_closes_in_and_never_goes_beyond():
    asked = []

    def run(cost):
        asked.append(cost)
        return Outcome(cost, 1.3 - cost, 5)

    found = search(run, -0.5, 2.0, 0.01)
    assert found.kind == "crosses"
    assert found.cost == pytest.approx(1.3)
    assert found.low <= 1.3 <= found.high
    assert found.high - found.low <= 0.01
    assert len(asked) == 10
    assert min(asked) == -0.5
    assert max(asked) == 2.0
    assert search(run, -0.5, 1.0, 0.01) == BreakEven("still earns", None, 1.0)
    assert search(run, 1.5, 2.0, 0.01) == BreakEven("earns nothing")
    assert search(run, 1.0, 1.0, 0.01) == BreakEven("still earns", None, 1.0)
    idle = search(lambda cost: Outcome(cost, 2.0 - cost if cost < 1 else 0.0, int(cost < 1)), 0.0, 2.0, 0.01)
    assert (idle.kind, idle.cost) == ("stops trading", None)
    assert idle.low == pytest.approx(1.0, abs=0.01)
    assert idle.high == 1.0


def test_what_is_said_of_a_break_even():
    assert break_even_text(BreakEven("crosses", 17.5, 10.0, 20.0).as_dict(), "ms") == "17.5 ms (between 10 and 20)"
    idle = BreakEven("stops trading", None, 1.4, 2.0).as_dict()
    assert break_even_text(idle, "bps") == "earns up to 1.4 bps, no trade at 2"
    assert break_even_text(BreakEven("still earns", None, 250.0).as_dict(), "ms") == "still earns at 250 ms"


# -- fees


def test_the_venue_s_tiers_and_two_that_nobody_offers():
    levels = fee_levels((), "binanceusdm")
    assert [(level.name, level.maker_bps, level.taker_bps, level.is_published) for level in levels] == [
        ("base", 2.0, 5.0, True),
        ("VIP1", 1.6, 4.0, True),
        ("VIP2", 1.4, 3.5, True),
        ("no maker fee", 0.0, 3.5, False),
        ("rebate", -0.5, 3.5, False),
    ]
    assert all(level.as_of for level in levels if level.is_published)


def test_many_tiers_are_thinned_out(tmp_path):
    rows = [{"exchange": "x", "tier": n, "maker_bps": 10 - n, "taker_bps": 20 - n} for n in range(11)]
    path = tmp_path / "fees.json"
    path.write_bytes(orjson.dumps(rows))
    levels = fee_levels((), "x", path)
    # Every other one; the last asks makers for nothing, as the hypothetical level does, and is the venue's.
    assert [(level.maker_bps, level.is_published) for level in levels] == [
        (10, True), (8, True), (6, True), (4, True), (2, True), (0, True), (-0.5, False),
    ]  # fmt: skip


def test_levels_that_are_asked_for():
    levels = fee_levels(("okxswap", "vip2", "-0.5:3", "hyperliquid:0"), "binanceusdm")
    assert [(level.name, level.maker_bps) for level in levels] == [
        ("okxswap base", 2.0), ("hyperliquid base", 1.5), ("okxswap VIP1", 1.5), ("VIP2", 1.4), ("given", -0.5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        (("VIP9",), UnknownNameError, "unknown fee tier of binanceusdm 'VIP9'"),
        (("okxswap:VIP7",), UnknownNameError, "fee tier of okxswap"),
        (("nowhere:base",), UnknownNameError, "exchange 'nowhere'"),
        (("2:5", "2.0:5.0"), ConfigError, "2:5 twice"),
        (("2:500",), ConfigError, "taker_bps must be within"),
        (("nan:5",), ConfigError, "maker_bps must be within"),
        (("",), UnknownNameError, "maker:taker in basis points"),
    ],
)
def test_levels_that_are_none(asked, error, text):
    with pytest.raises(error, match=text):
        fee_levels(asked, "binanceusdm")


# -- verdicts


@pytest.mark.parametrize(
    ("fills", "low", "high", "wanted"),
    [
        (0, None, None, "does not trade"),
        (5, None, None, "not distinguishable from zero"),
        (50, 0.1, 2.0, "earns"),
        (50, -0.1, 2.0, "not distinguishable from zero"),
        (50, -2.0, -0.1, "loses"),
        (50, 0.0, 2.0, "not distinguishable from zero"),
    ],
)
def test_a_cell_earns_only_if_its_interval_says_so(fills, low, high, wanted):
    assert verdict(fills, low, high) == wanted


def line_of(fee, verdict, *, earned=1.0, break_even_bps=None, edge_filter=True, why=None):
    return {
        "fee": fee, "edge_filter": edge_filter, "verdict": verdict, "earned": earned,
        "metrics": {"fills": 0 if verdict == "does not trade" else 30, "no_fills_because": why},
        "attribution": {"break_even_maker_bps": break_even_bps},
    }  # fmt: skip


def test_levels_by_hand():
    levels = [
        FeeLevel("base", 2, 5, "x").as_dict(), FeeLevel("no maker fee", 0, 5).as_dict(),
        FeeLevel("given", -1, 5).as_dict(), FeeLevel("rebate", -2, 5).as_dict(),
    ]  # fmt: skip
    lines = [
        *[line_of(0, "does not trade", earned=0.0, why="never quoted: edge on every decision")] * 3,
        line_of(1, "loses", earned=-3.0, break_even_bps=-0.3), line_of(1, "does not trade", earned=0.0, why="wide"),
        line_of(1, "not distinguishable from zero", earned=0.5, break_even_bps=0.1),
        line_of(2, "earns", break_even_bps=0.5), line_of(2, "loses", break_even_bps=-2.0),
        line_of(3, "earns", break_even_bps=0.5),
        {"fee": 3, "edge_filter": True, "verdict": None, "earned": None, "metrics": None, "attribution": None},
        line_of(0, "loses", break_even_bps=-0.25, edge_filter=False),
    ]  # fmt: skip
    base, free, given, rebate = summarise(lines, levels)
    assert [line["verdict"] for line in (base, free, given, rebate)] == [
        "does not trade", "loses", "earns in some cells", "earns",
    ]  # fmt: skip
    assert (base["trading"], base["break_even_median_bps"]) == (0, None)
    assert "does not trade in any of 3 cells, and earns nothing (never quoted: edge" in base["sentence"]
    assert (free["trading"], free["loses"], free["unclear"], free["cells"]) == (2, 1, 1, 3)
    assert free["break_even_median_bps"] == pytest.approx(-0.1)
    assert "(hypothetical)" in free["sentence"]
    assert "earns in 0 of 3 cells, trades in 2 and loses in 1, 1 cannot be told from zero" in free["sentence"]
    assert "-0.10 bps (-0.30 to 0.10 over the cells)" in free["sentence"]
    assert "(asked for)" in given["sentence"]
    assert rebate["errors"] == 1
    bare = unfiltered(lines, levels)
    assert (bare["loses"], bare["break_even_median_bps"]) == (1, -0.25)
    assert "at base" in bare["sentence"]
    assert unfiltered(lines[:-1], levels) is None
    chance = [line_of(0, "loses"), *[line_of(0, "not distinguishable from zero")] * 2]
    assert summarise(chance, levels)[0]["verdict"] == "not distinguishable from zero"


# -- intervals


def test_changes_of_equity_add_up_to_what_was_earned():
    # The longest step that leaves fifteen blocks: 70 of 5 s would be blocks of five, and only fourteen of them.
    for seconds, step_s in ((45, 1.0), (130, 1.0), (350, 1.0), (400, 5.0)):
        tape = make_tape(seconds)
        spot = replace(tape, instrument=mml.Instrument("BTC/USDT", 0.1, 0.001))
        result = mml.backtest(
            spot, mml.Symmetric(0.4), fees=mml.Fees(1, 4), order_qty=0.01, cash=20_000.0, risk=mml.RiskLimits.off()
        )  # fmt: skip
        changes, found_s = earned_changes(result)
        assert found_s == step_s
        assert changes.sum() == pytest.approx(result.metrics.excess_pnl)
        assert len(changes) == -(-(tape.ts_ns[-1] - tape.ts_ns[0]) // round(step_s * 1e9))
        found = interval(result, 1)
        assert found == interval(result, 1)
        if found["earned_low"] is not None:
            assert found["earned_low"] != interval(result, 2)["earned_low"]
        if seconds > 45:
            assert found["earned_low"] < result.metrics.excess_pnl < found["earned_high"]
            # What independent changes would have: the blocks add to that, and not by a factor.
            error = np.sqrt(len(changes)) * changes.std()
            assert 0.5 < (found["earned_high"] - found["earned_low"]) / (2 * 1.96 * error) < 2
        else:
            assert found["no_interval"] == "too short: 45 changes of 1 s"


def test_few_fills_have_no_interval():
    result = mml.backtest(
        make_tape(130), mml.Symmetric(0.4), quote_interval_ns=15 * 10**9, fees=mml.Fees(1, 4),
        order_qty=0.01, cash=20_000.0,
        risk=mml.RiskLimits.off(),
    )  # fmt: skip
    assert 0 < result.metrics.fills < 20
    assert interval(result, 1)["no_interval"] == f"too few fills: {result.metrics.fills}"


# -- the study


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A catalog that all tests read."""
    root = tmp_path_factory.mktemp("home")
    put_recording(root, 100)
    return root


def config_in(root):
    market = MarketRequest(exchange="binanceusdm", symbol="BTC/USDT", data=root, clock="ticks")
    return EconomicsConfig(market=market, model="symmetric", model_params=FIXED, **QUICK)


@pytest.fixture
def config(home):
    return config_in(home)


@cache
def study_in(root):
    told = []
    done = economics(config_in(root), root / "art", processes=1, clock=ManualClock(5),
                     progress=lambda *step: told.append(step[:2]))  # fmt: skip
    return done, tuple(told)


@pytest.fixture
def study(home):
    """The study of `config` and the progress that was told: made once, to be read only."""
    return study_in(home)


def test_a_cell_is_a_plain_backtest(config, study):
    done, _ = study
    tape = load_market(config.market).tape
    assert len(done.lines) == 3 * 2 * 2 + 2 * 2  # fees, queues, latencies; and all places without the edge filter
    for line in done.lines:
        maker_bps = [2, 0, -2][line["fee"]]
        limits = mml.RiskLimits() if line["edge_filter"] else mml.RiskLimits(min_edge_bps=None)
        delay_ns = round(line["latency_ms"] * 1e6)
        alone = mml.backtest(
            tape, mml.Symmetric(0.4), fees=mml.Fees(maker_bps, 5), order_qty=0.003, cash=10_000.0, risk=limits,
            queue=line["queue"], latency=mml.Latency(0, delay_ns, delay_ns),
        )  # fmt: skip
        assert line["metrics"]["pnl"] == alone.metrics.pnl
        assert line["metrics"]["fills"] == alone.metrics.fills
        assert line["attribution"]["quote"]["total"] == pytest.approx(alone.metrics.pnl)
    idle = [line for line in done.lines if line["fee"] == 0 and line["edge_filter"]]
    assert {line["verdict"] for line in idle} == {"does not trade"}
    assert {line["earned"] for line in idle} == {0.0}
    bare = [line for line in done.lines if not line["edge_filter"]]
    assert all(line["fee"] == 0 and line["metrics"]["fills"] > 50 for line in bare)


def test_the_files_say_what_the_cells_came_to(study):
    done, told = study
    assert told == tuple((n, 18) for n in range(19))  # 16 cells, a fee searched for at the base latency of two queues
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "analysis.json", "manifest.json", "report.html", "runs.jsonl", "summary.csv",
    ]  # fmt: skip
    runs = [orjson.loads(text) for text in (done.folder / "runs.jsonl").read_bytes().splitlines()]
    table = pd.read_csv(done.folder / "summary.csv")
    assert len(runs) == len(table) == 16
    for run, (_, row) in zip(runs, table.iterrows(), strict=True):
        assert run["run_id"] == row["run_id"]
        assert row["earned"] == pytest.approx(run["metrics"]["excess_pnl"])
        parts = row["part_spread"] + row["part_inventory"] - row["part_fees"] + row["part_funding"]
        assert parts - row["part_liquidation"] == pytest.approx(row["pnl"], abs=1e-9 * max(1.0, row["turnover"]))
    analysis = done.analysis
    assert analysis["base"] == {"fee": 0, "queue": "risk_averse", "latency_ms": 20.0, "bar_volume_share": None}
    assert [(one["fee"], one["queue"]) for one in analysis["latency_break_evens"]][:2] == [
        (0, "risk_averse"), (0, "front"),
    ]  # fmt: skip
    assert {one["latency_ms"] for one in analysis["fee_break_evens"]} == {20.0}
    assert not analysis["shown"]["edge_filter"]  # the base level does not trade with it
    manifest = orjson.loads((done.folder / "manifest.json").read_bytes())
    assert manifest["config"]["setup"]["parameters"]["order_qty"] == 0.003
    assert [entry["kind"] for entry in manifest["data"]] == ["book", "trades"]
    assert done.exit_code == 0


def test_the_fee_searched_for_is_that_of_the_fills_where_quotes_do_not_heed_it(config, tmp_path, monkeypatch):
    from marketmakerl.validation import economics_cells

    paid, whole = [], economics_cells.backtest

    def backtest(*args, **options):
        paid.append((options["fees"].maker_bps, options["fees"].taker_bps))
        return whole(*args, **options)

    monkeypatch.setattr(economics_cells, "backtest", backtest)
    bold = replace(config, risk=False, fees=("9:8", "-9:7"), queues=("log",), latencies_ms=(0.0,))
    done = economics(bold, tmp_path / "art", processes=1)
    # The two cells, then makers' fees between them, at what takers pay at the base level.
    assert paid[:2] == [(9, 8), (-9, 7)]
    assert {taker for _, taker in paid[2:]} == {8}
    assert all(-9 <= maker <= 9 for maker, _ in paid)
    (found,) = done.analysis["fee_break_evens"]
    assert found["kind"] == "crosses"
    exact = {line["attribution"]["break_even_maker_bps"] for line in done.lines}
    assert max(exact) == pytest.approx(min(exact))
    assert found["cost"] == pytest.approx(max(exact), abs=1e-6)
    assert len(done.lines) == 2  # without risk limits there is no edge filter to switch off
    assert done.analysis["unfiltered"] is None


def test_what_everybody_pays_stands_for_the_study(config, tmp_path):
    # Not a dearer level that was asked for; and 10 ms, the first at 5 ms or above.
    changed = replace(config, fees=("9:9", "VIP2"), latencies_ms=(10.0, 0.0, 50.0))
    done = economics(changed, tmp_path / "art", processes=1)
    assert done.analysis["levels"][done.analysis["base"]["fee"]]["name"] == "VIP2"
    assert done.analysis["base"]["latency_ms"] == 10.0
    assert {line["fee"] for line in done.lines if not line["edge_filter"]} == {1}


def test_queues_that_read_alike_are_shown_together(config, tmp_path):
    # Quotes at the best prices, which have to wait.
    at_the_touch = replace(config, queues=("front", "log", "risk_averse"), model_params={"half_spread": 0.1})
    done = economics(at_the_touch, tmp_path / "art", processes=1)
    analysis = done.analysis
    texts = {
        queue: [
            (cell["fee"], cell["latency_ms"], cell_text(cell))
            for cell in analysis["cells"]
            if cell["edge_filter"] and cell["queue"] == queue
        ]
        for queue in analysis["queues"]
    }
    groups = alike_queues(analysis)
    assert sorted(queue for queues in groups for queue in queues) == sorted(analysis["queues"])
    for queues in groups:
        for queue, other in itertools.product(analysis["queues"], queues):
            assert (texts[queue] == texts[other]) == (queue in queues)
    idle = [cell for cell in analysis["cells"] if cell["edge_filter"] and cell["fee"] == 0]
    assert {cell_text(cell) for cell in idle} == {"none"}
    assert len(groups) > 1
    page = (done.folder / "report.html").read_text()
    assert page.count('data-figure="heat_') == len(groups)


def test_horizons_stand_in_order(study):
    folder = study[0].folder
    shown = orjson.loads((folder / "analysis.json").read_bytes())["shown"]
    assert horizons_of(shown["attribution"]["quote"]) == ["0.1s", "0.5s", "1s", "5s", "10s", "30s", "60s", "300s"]


def test_the_same_seed_gives_the_same_bytes(config, study, tmp_path):
    made = [study[0].folder, economics(config, tmp_path / "two", processes=2, clock=ManualClock(5)).folder]
    for file in ("runs.jsonl", "summary.csv", "analysis.json", "report.html", "manifest.json"):
        assert len({(folder / file).read_bytes() for folder in made}) == 1, file


def test_a_report_is_made_from_the_files_alone(study, tmp_path):
    folder = copytree(study[0].folder, tmp_path / "art")
    before = (folder / "report.html").read_bytes()
    page = before.decode()
    assert page.index("Tier T1, recorded exchange data") < page.index("<h1>")
    assert "does not trade in any of 4 cells" in page
    assert "mml economics --data" in page
    for words in ("--param half_spread=0.4", "--fees 2:5,0:5,-2:5", "--latency-ms 0,20", "--queue risk_averse,front"):
        assert words in page, words
    (folder / "report.html").unlink()
    assert write_economics_report(folder).read_bytes() == before
    analysis = orjson.loads((folder / "analysis.json").read_bytes())
    analysis["levels"][0]["name"] = analysis["summary"][0]["sentence"] = "</td><b onload=x>"
    (folder / "analysis.json").write_bytes(orjson.dumps(analysis))
    assert "<b onload" not in write_economics_report(folder).read_text()
    (folder / "analysis.json").write_text('{"levels": []}')
    with pytest.raises(DataFormatError, match="not a study of economics"):
        write_economics_report(folder)


def test_bars_have_shares_for_an_axis(tmp_path):
    put_klines(tmp_path, bars_of(700))
    market = MarketRequest(exchange="binanceusdm", symbol="BTC/USDT", data=tmp_path)
    config = EconomicsConfig(market=market, fees=("2:5", "0:5"), bar_volume_shares=(0.3, 0.1), warmup_bars=100)
    done = economics(config, tmp_path / "art", processes=1)
    assert [(line["fee"], line["bar_volume_share"]) for line in done.lines if line["edge_filter"]] == [
        (0, 0.1), (1, 0.1), (0, 0.3), (1, 0.3),
    ]  # fmt: skip
    assert done.analysis["base"]["bar_volume_share"] == 0.1
    assert (done.analysis["queues"], done.analysis["latency_break_evens"]) == ([], [])
    assert done.analysis["market"]["bars"] == 600
    assert {cell["interval_s"] for cell in done.analysis["cells"]} == {60.0}
    page = (done.folder / "report.html").read_text()
    assert "Bars are the poorest evidence there is" in page


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"queues": ("lifo",)}, ConfigError, "no queue model"),
        ({"queues": ("fifo",)}, ConfigError, "single orders"),
        ({"queues": ("log", "log")}, ConfigError, "queues needs at least one entry and none twice"),
        ({"latencies_ms": (-1.0,)}, ConfigError, "latencies_ms must be a finite number >= 0"),
        ({"latencies_ms": (float("nan"),)}, ConfigError, "latencies_ms must be a finite number"),
        ({"bar_volume_shares": (0.0,)}, ConfigError, "bar_volume_shares must be a finite number > 0"),
        ({"bar_volume_shares": (0.1,)}, ConfigError, "these are ticks"),
        ({"fees": ("VIP9",)}, UnknownNameError, "VIP9"),
        ({"model": "crystal_ball"}, UnknownNameError, "crystal_ball"),
        ({"model_params": {"half_spread": -1.0}}, ConfigError, "half_spread"),
        ({"budget": 0.0}, ConfigError, "budget"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"calibration": "nowhere.json"}, DataNotFoundError, "nowhere.json"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(config, tmp_path, changes, error, text):
    with pytest.raises(error, match=text):
        economics(replace(config, **changes), tmp_path / "art", processes=1)
    assert not (tmp_path / "art").exists()


def test_bars_are_asked_for_no_queue(tmp_path):
    put_klines(tmp_path, bars_of(400))
    market = MarketRequest(exchange="binanceusdm", symbol="BTC/USDT", data=tmp_path)
    for changes in ({"queues": ("log",)}, {"latencies_ms": (5.0,)}):
        with pytest.raises(ConfigError, match="no queue and no latency"):
            economics(EconomicsConfig(market=market, **changes), tmp_path / "art")
    with pytest.raises(ConfigError, match="processes"):
        economics(EconomicsConfig(market=market), tmp_path / "art", processes=0)


def test_a_cell_that_fails_is_an_error_and_the_others_go_on(config, tmp_path, monkeypatch):
    from marketmakerl.validation import economics_cells

    whole = economics_cells.backtest

    def fails_at_once(*args, **options):
        if options["latency"].entry_ns == 0:
            raise DataFormatError("no book today")
        return whole(*args, **options)

    monkeypatch.setattr(economics_cells, "backtest", fails_at_once)
    done = economics(config, tmp_path / "art", processes=1)
    assert done.exit_code == 5
    failed = [line for line in done.lines if line["status"] == "error"]
    assert {line["latency_ms"] for line in failed} == {0.0}
    assert {line["error"] for line in failed} == {"DataFormatError: no book today"}
    assert "no book today" in (done.folder / "report.html").read_text()
    assert done.analysis["summary"][1]["errors"] == 2


def test_recorded_data(shared_data, tmp_path):
    market = MarketRequest(exchange="hyperliquid", symbol="WLFI", data=shared_data, clock="ticks")
    config = EconomicsConfig(market=market, queues=("log",), latencies_ms=(0.0, 50.0))
    done = economics(config, tmp_path, processes=1)
    levels = {line["name"]: line for line in done.analysis["summary"]}
    assert set(levels) == {"base", "no maker fee", "rebate"}
    for line in done.lines:
        parts = line["attribution"]["quote"]
        assert parts["total"] == pytest.approx(line["metrics"]["pnl"], abs=1e-9 * max(1, line["metrics"]["turnover"]))
