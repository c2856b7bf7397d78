"""research-budgets, walk-forward and gate as a user meets them: exit codes, one error line, JSON alone on stdout."""

import runpy
import sys
from pathlib import Path

import orjson
import pytest

from marketmakerl.cli.main import run
from recorded import bars_of, put_klines, standing_still

ROOT = Path(__file__).resolve().parents[2]
HARD = bars_of(1500, seed=7)
EASY = bars_of(1500, seed=5, informed_share=0.0)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A catalog with a hard market (BTC) and an easy one (BNB), and an artifacts folder."""
    put_klines(tmp_path, HARD)
    put_klines(tmp_path, EASY, "binanceusdm_BNBUSDT_1m_a_b.parquet")
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("MML_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def argv_of(command: str, *more: str, **changes: str) -> list[str]:
    options = {"exchange": "binanceusdm", "symbol": "BTC/USDT", "days": "1", "warmup-bars": "60", "processes": "1"}
    if command == "walk-forward":
        options["folds"] = "2"
    options |= {name.replace("_", "-"): value for name, value in changes.items()}
    return [command, *(word for name, value in options.items() for word in (f"--{name}", value)), *more]


def fails(capsys, code: int, argv: list[str]) -> str:
    assert run(argv) == code
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert out == ""
    return lines[0]


# Nobody listens on the discard port: what is not held cannot be fetched either.
NOWHERE = {"base_url": "http://127.0.0.1:9"}

BAD = [
    ({"exchange": "binanceusd"}, 2, "did you mean binanceusdm"),
    ({"exchange": ""}, 2, "which market?"),
    ({"exchange": "bybitlinear"} | NOWHERE, 5, "cannot be reached"),
    ({"exchange": "bybitlinear", "data": "."}, 5, "make fetch-data EXCHANGE=bybitlinear SYMBOL=BTC/USDT TIMEFRAME=1m"),
    ({"symbol": "BTC/UDST"}, 2, "did you mean"),
    ({"symbol": ""}, 2, "needs a SYMBOL"),
    ({"symbol": "XRP/USDT"} | NOWHERE, 5, "cannot be reached"),
    ({"data": "nowhere"}, 5, "no such file or folder: nowhere"),
    ({"timeframe": "5m"} | NOWHERE, 5, "TIMEFRAME=1m"),
    ({"timeframe": "soon"}, 2, "TIMEFRAME"),
    ({"days": "0"}, 2, "DAYS must be > 0"),
    ({"days": "-1"}, 2, "DAYS must be > 0"),
    ({"days": "0.05"}, 2, "too short"),
    ({"processes": "0"}, 2, "processes"),
    ({"seed": "-1"}, 2, "seed"),
    ({"maker_bps": "nan"}, 2, "maker_bps"),
]


@pytest.mark.parametrize("command", ["research-budgets", "walk-forward"])
@pytest.mark.parametrize(("changes", "code", "text"), BAD)
def test_bad_input(capsys, home, command, changes, code, text):
    assert text in fails(capsys, code, argv_of(command, **changes))
    assert not (home / "artifacts").exists()


@pytest.mark.parametrize(("exchange", "code"), [("nosuch", 2), ("binance", 5)])
def test_a_name_nobody_knows_is_no_missing_data(capsys, monkeypatch, exchange, code):
    monkeypatch.setenv("MML_DATA_DIR", "not-there")
    line = fails(capsys, code, argv_of("walk-forward", exchange=exchange, **NOWHERE))
    assert ("cannot be reached" in line) == (code == 5)


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"folds": "0"}, 2, "FOLDS must be at least 1, got 0"),
        ({"folds": "1000"}, 2, "too short for 1000 folds"),
        ({"folds": "12", "days": "3"}, 5, "too short for 12 folds"),  # 3 days would do; one is held
        ({"pass_rate": "0"}, 2, "pass_rate"),
        ({"train_share": "1"}, 2, "train_share"),
        ({"budget": "0"}, 2, "budget"),
    ],
)
def test_bad_folds(capsys, changes, code, text):
    assert text in fails(capsys, code, argv_of("walk-forward", **changes))


def test_research_budgets_exits_0_whatever_the_verdict(capsys):
    assert run(argv_of("research-budgets")) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Tier T1, recorded exchange data: fit for research and for gates. Bars:")
    assert "cells pass the gate." in out
    assert "symmetric_wide" in out
    assert "error:" not in err


def test_cells_in_error_are_said_once_on_stderr(capsys, home):
    put_klines(home, standing_still(HARD, 0, 60))
    assert run(argv_of("research-budgets", "--json", days="1")) == 0  # the still hour lies before the last day
    put_klines(home, standing_still(HARD, 60, 120))
    capsys.readouterr()
    assert run(argv_of("research-budgets", "--json", days="1")) == 5
    out, err = capsys.readouterr()
    assert {cell["status"] for cell in orjson.loads(out)["cells"]} == {"error"}
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert "did not move" in line


def test_research_budgets_json_stands_alone(capsys):
    assert run(argv_of("research-budgets", "--json")) == 0
    document = orjson.loads(capsys.readouterr().out)
    assert document["kind"] == "research-budgets"
    assert Path(document["folder"]).name == document["run_id"]


def test_walk_forward_says_no_and_still_prints(capsys):
    assert run(argv_of("walk-forward", maker_bps="30")) == 3
    out, err = capsys.readouterr()
    assert out.startswith("Tier T1, recorded exchange data")
    assert "Chosen on train" in out
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert "pass_rate (0 of 2 tests passed; at least 60% must)" in line
    assert run(argv_of("walk-forward", "--json", maker_bps="30")) == 3
    document = orjson.loads(capsys.readouterr().out)
    assert document["passed"] is False


def test_walk_forward_says_yes(capsys):
    assert run(argv_of("walk-forward", symbol="BNB/USDT", maker_bps="-1", taker_bps="0")) == 0
    out, err = capsys.readouterr()
    assert "FAIL" not in out
    assert "error:" not in err
    assert run(["gate", "latest"]) == 0
    assert "The gate says yes." in capsys.readouterr().out


def test_gate_says_no_to_a_synthetic_campaign(capsys, home):
    assert run(["campaign", "-n", "2", "--warmup-bars", "60", "--maker-bps", "-1", "--processes", "1"]) == 0
    capsys.readouterr()
    assert run(["gate", "latest", "--json"]) == 3
    out, err = capsys.readouterr()
    document = orjson.loads(out)
    checks = {check["name"]: check for check in document["checks"]}
    assert checks["data_tier"] == {
        "name": "data_tier", "value": "T2", "threshold": "T1", "passed": False,
        "why": "T2, synthetic data; a research gate needs recorded data",
    }  # fmt: skip
    assert document["kind"] == "campaign"
    assert "data_tier" in err
    written = orjson.loads((home / "artifacts/campaign" / document["run_id"] / "gate.json").read_bytes())
    assert written == {name: value for name, value in document.items() if name != "folder"}


def test_gate_takes_a_folder_an_id_and_prints_every_check(capsys):
    assert run(argv_of("research-budgets", "--json", maker_bps="30")) == 0
    document = orjson.loads(capsys.readouterr().out)
    for name in (document["folder"], document["run_id"], "latest"):
        assert run(["gate", name]) == 3
        out, err = capsys.readouterr()
        assert out.startswith(f"research-budgets {document['run_id']}, tier T1.")
        for check in ("complete", "positive_pnl", "positive_share", "max_drawdown_pct", "data_tier"):
            assert check in out
        assert "The gate says no." in out
        assert err.startswith("error: the gate says no: ")


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["gate", "nothing"], 5, "no run 'nothing'"),
        (["gate", "latest"], 5, "no run 'latest'"),
        (["gate", ""], 2, "name a run"),
        (["gate"], 2, "Missing argument 'run'"),
    ],
)
def test_gate_of_nothing(capsys, argv, code, text):
    assert text in fails(capsys, code, argv)


def test_the_script_is_the_command(capsys, monkeypatch):
    script = ROOT / "scripts" / "analyze_last_month_strategy.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--days", "0", "--exchange", "binanceusdm", "--symbol", "BTC/USDT"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 2
    assert "DAYS must be > 0" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["gate", "research-budgets", "walk-forward"])
def test_help_has_an_example(capsys, command):
    assert run([command, "--help"]) == 0
    assert f"mml {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["research-budgets", "walk-forward"])
def test_what_is_not_held_is_fetched_and_kept(capsys, home, monkeypatch, command):
    from marketmakerl.realtime.exchange_sim import ExchangeSim

    monkeypatch.setenv("MML_DATA_DIR", str(home / "empty"))
    (home / "empty").mkdir()
    with ExchangeSim.embedded(1, history_bars=1500) as sim:
        code = run(argv_of(command, "--json", base_url=sim.base_url))
    document = orjson.loads(capsys.readouterr().out)
    # What the simulator made stays synthetic, whatever the exchange is called: the gate says no, the study is done.
    assert code == (3 if command == "walk-forward" else 0)
    assert document["market"]["tier"] == "T2"
    assert list((home / "empty" / "real" / "klines").glob("binanceusdm_BTCUSDT_1m_*.parquet"))
