"""The command line as a user meets it: exit codes, one line on stderr, JSON alone on stdout."""

import subprocess
import sys

import orjson
import pandas as pd
import pytest

from marketmakerl import DataProcessor
from marketmakerl.cli.main import run

PRICES = ["open", "high", "low", "close"]


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    """A folder with one good series, and an artifacts folder of its own."""
    bars = DataProcessor.simulate_market_data(n_bars=700, seed=2)[["ts_ms", *PRICES, "volume"]]
    bars.attrs.clear()  # these tests take them for recorded bars
    (tmp_path / "klines").mkdir()
    bars.to_parquet(tmp_path / "klines" / "binanceusdm_BTCUSDT_1m_x.parquet", index=False)
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(capsys, code: int, *argv: str) -> str:
    """Run a command that must end with `code` and one line on stderr; return the line."""
    assert run(list(argv)) == code
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    assert err.startswith("error:")
    assert "Traceback" not in err
    assert out == ""
    return lines[0]


BASE = (
    "campaign",
    "-n",
    "2",
    "--exchange",
    "binanceusdm",
    "--symbol",
    "BTC/USDT",
    "--data",
    ".",
    "--warmup-bars",
    "60",
)


def with_option(name: str, value: str) -> list[str]:
    argv = list(BASE)
    argv[argv.index(name) + 1] = value
    return argv


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (with_option("--exchange", "binanceusd"), 2, "did you mean binanceusdm"),
        (with_option("--exchange", "bybitlinear"), 5, "nothing of bybitlinear; it has binanceusdm"),
        (with_option("--symbol", "BTC/UDST"), 2, "did you mean"),
        (with_option("--symbol", "ETH/USDT"), 5, "it has BTCUSDT"),
        (with_option("--data", "nowhere"), 5, "no such file or folder: nowhere"),
        (with_option("-n", "0"), 2, "N must be at least 1, got 0"),
        (with_option("-n", "-1"), 2, "N must be at least 1"),
        (with_option("-n", "ten"), 2, "integer"),
        ([*BASE, "--model", "glt"], 2, "unknown model 'glt'"),
        ([*BASE, "--timeframe", "5m"], 5, "TIMEFRAME=1m"),
        ([*BASE, "--timeframe", "soon"], 2, "TIMEFRAME"),
        ([*BASE, "--days", "-1"], 2, "DAYS"),
        ([*BASE, "--seed", "-1"], 2, "seed"),
        ([*BASE, "--engine", "spark"], 2, "unknown engine"),
        ([*BASE, "--param", "gamma"], 2, "name=number"),
        ([*BASE, "--param", "gamma=-1"], 2, "gamma"),
        ([*BASE, "--budget", "nan"], 2, "budget"),
        ([*BASE, "--processes", "0"], 2, "processes"),
        ([*BASE, "--manifest", "nothing"], 5, "no campaign run 'nothing'"),
        (["campaign", "--data", "."], 2, "say which series"),
        (["campaign", "--exchange", "binanceusdm"], 2, "needs a SYMBOL"),
        (["nonsense"], 2, "No such command"),
        (["data", "check", "none.parquet"], 5, "no such file"),
    ],
)
def test_bad_input_is_one_line_and_the_right_code(capsys, catalog, argv, code, text):
    assert text in fails(capsys, code, *argv)
    assert not (catalog / "artifacts").exists()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda f: f.drop(columns="volume"), "missing column volume"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.assign(close=f["close"].where(f.index != 7)), "row 7"),
        (lambda f: f.assign(low=f["low"].where(f.index != 7, 0.0)), "row 7"),
        (lambda f: f.assign(volume=f["volume"].where(f.index != 9, -1.0)), "row 9"),
        (lambda f: f.iloc[[1, 0, *range(2, len(f))]], "row 1"),
    ],
    ids=["missing column", "empty", "NaN", "zero price", "negative quantity", "time backwards"],
)
def test_bad_files(capsys, catalog, spoil, text):
    path = catalog / "klines" / "binanceusdm_BTCUSDT_1m_x.parquet"
    spoil(pd.read_parquet(path)).to_parquet(path, index=False)
    line = fails(capsys, 5, *BASE)
    assert text in line
    assert path.name in line
    assert not (catalog / "artifacts").exists()


def test_an_empty_and_a_foreign_file(capsys, catalog):
    path = catalog / "klines" / "binanceusdm_BTCUSDT_1m_x.parquet"
    for content in (b"", b"ts_ms,open\n1,2\n"):
        path.write_bytes(content)
        assert "not a readable Parquet file" in fails(capsys, 5, *BASE)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"ts_ms,open,high,low,close,volume\n", b"ts_ms,close\n1,nan\n"])
@pytest.mark.parametrize("command", [("backtest",), ("campaign", "-n", "2")])
def test_a_csv_of_klines_is_told_what_to_do(capsys, catalog, command, content):
    path = catalog / "binanceusdm_BTCUSDT_1m_x.csv"
    path.write_bytes(content)
    line = fails(capsys, 5, *command, "--data", str(path))
    assert line.endswith("; convert it, or make a tape of it if it is in an exchange's own format (mml data import)")
    assert not (catalog / "artifacts").exists()


def test_a_bar_that_is_wrong_is_listed_by_the_command_that_is_named(capsys, catalog):
    path = catalog / "klines" / "binanceusdm_BTCUSDT_1m_x.parquet"
    bars = pd.read_parquet(path)
    bars.assign(close=bars["close"].where(bars.index != 7)).to_parquet(path, index=False)
    assert "rows that mml data check lists" in fails(capsys, 5, "backtest", "--data", str(path))
    assert run(["data", "check", str(path)]) == 5
    assert "close nan" in capsys.readouterr().out


def test_a_good_campaign_prints_a_table_and_json_stands_alone(capsys, catalog):
    assert run(list(BASE)) == 0
    out, _ = capsys.readouterr()
    assert "run-001" in out
    assert "synthetic" not in out.lower()
    assert run([*BASE, "--processes", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    document = orjson.loads(out)
    assert err == ""
    assert [r["status"] for r in document["runs"]] == ["completed", "completed"]
    assert document["tier"] == "T1"


def test_synthetic_says_so(capsys, catalog):
    assert run(["campaign", "-n", "1", "--warmup-bars", "60"]) == 0
    out, _ = capsys.readouterr()
    assert "Synthetic data" in out
    assert "DATA=" in out


def test_one_backtest_of_a_file(capsys, catalog):
    argv = ["backtest", "--data", "klines/binanceusdm_BTCUSDT_1m_x.parquet", "--model", "symmetric", "--json"]
    assert run([*argv, "--param", "half_spread=40"]) == 0
    document = orjson.loads(capsys.readouterr().out)
    assert document["runs"][0]["parameters"]["model"] == {"id": "symmetric", "half_spread": 40.0}
    assert document["runs"][0]["metrics"]["fills"] > 0


def test_no_fills_are_explained(capsys, catalog):
    argv = ["backtest", "--data", "klines/binanceusdm_BTCUSDT_1m_x.parquet", "--model", "symmetric", "--json"]
    assert run([*argv, "--param", "half_spread=4000"]) == 0
    metrics = orjson.loads(capsys.readouterr().out)["runs"][0]["metrics"]
    assert metrics["fills"] == 0
    assert "too wide" in metrics["no_fills_because"]
    assert metrics["sharpe"] is None
    assert run([*argv, "--param", "half_spread=1"]) == 0
    metrics = orjson.loads(capsys.readouterr().out)["runs"][0]["metrics"]
    assert "edge" in metrics["no_fills_because"]


def test_data_list_and_check(capsys, catalog):
    assert run(["data", "list", "--data", ".", "--json"]) == 0
    (entry,) = orjson.loads(capsys.readouterr().out)
    assert (entry["exchange"], entry["symbol"], entry["tier"]) == ("binanceusdm", "BTCUSDT", "T1")
    path = catalog / "klines" / "binanceusdm_BTCUSDT_1m_x.parquet"
    assert run(["data", "check", str(path)]) == 0
    frame = pd.read_parquet(path)
    frame.loc[[3, 5], "high"] = float("nan")
    frame.drop(index=20).to_parquet(path, index=False)
    capsys.readouterr()
    assert run(["data", "check", str(path), "--json"]) == 5
    report = orjson.loads(capsys.readouterr().out)
    assert {(f["code"], f["row"]) for f in report["findings"]} == {("not_finite", 3), ("not_finite", 5), ("gap", 20)}


def test_instruments_are_listed_and_a_refreshed_file_wins(capsys, catalog, monkeypatch):
    monkeypatch.setenv("MML_DATA_DIR", str(catalog))
    assert run(["data", "instruments", "binanceusdm", "--json"]) == 0
    shipped = {i["symbol"]: i for i in orjson.loads(capsys.readouterr().out)}
    assert shipped["BTC/USDT:USDT"]["tick_size"] == 0.1
    row = {"exchange": "binanceusdm", "symbol": "BTC/USDT:USDT", "kind": "linear", "tick_size": 0.2, "lot_size": 0.001}
    (catalog / "instruments.json").write_bytes(orjson.dumps([row]))
    assert run(["data", "instruments", "binanceusdm", "--json"]) == 0
    refreshed = {i["symbol"]: i for i in orjson.loads(capsys.readouterr().out)}
    assert refreshed["BTC/USDT:USDT"]["tick_size"] == 0.2
    assert set(shipped) == set(refreshed)


def test_doctor(capsys, catalog):
    assert run(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in orjson.loads(capsys.readouterr().out)["checks"]}
    assert checks["artifacts"]["ok"]
    (catalog / "file").write_text("")
    assert run(["doctor", "--artifacts", str(catalog / "file" / "x"), "--json"]) == 2


def test_bad_settings_are_named(capsys, catalog, monkeypatch):
    monkeypatch.setenv("MML_LOG_LEVEL", "loud")
    assert "LOG_LEVEL" in fails(capsys, 2, "doctor")


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from marketmakerl.cli.main import run\n"
        "assert run(['--help']) == 0 and run(['campaign', '--help']) == 0\n"
        "heavy = {'numpy', 'pandas', 'numba', 'ccxt', 'scipy', 'pyarrow', 'plotly', 'structlog'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.strip() == "[]"


def test_every_command_has_help_with_an_example(capsys):
    import typer

    from marketmakerl.cli.main import app

    def walk(group, path):
        for command in group.registered_commands:
            yield [*path, command.name]
        for inner in group.registered_groups:
            yield from walk(inner.typer_instance, [*path, inner.name])

    assert isinstance(app, typer.Typer)
    paths = list(walk(app, []))
    assert len(paths) > 20
    for path in paths:
        assert run([*path, "--help"]) == 0, path
        out, err = capsys.readouterr()
        assert "Example" in out, path
        assert err == ""


def test_help_of_the_module_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "marketmakerl.cli.main", "data", "check", "--help"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "Example" in done.stdout
    assert done.stderr == ""
