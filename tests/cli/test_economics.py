"""`mml economics` as a user meets it: tables, one JSON document, one error line."""

from pathlib import Path

import orjson
import pytest

from marketmakerl.cli.main import run

TICKS = ("economics", "--data", ".", "--exchange", "binanceusdm", "--symbol", "BTC/USDT", "--clock", "ticks",
         "--model", "symmetric", "--param", "half_spread=0.4", "--processes", "1")  # fmt: skip
BARS = ("economics", "--data", ".", "--exchange", "binanceusdm", "--symbol", "BTC/USDT", "--processes", "1")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, put_recording, put_bars):
    monkeypatch.setenv("MML_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    put_recording(tmp_path, 50)
    put_bars(tmp_path, 700)
    return tmp_path


def test_a_person_reads_where_it_stops(capsys):
    assert run([*TICKS, "--latency-ms", "0,20", "--queue", "risk_averse,front"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Tier T1")
    for text in (
        "risk_averse",
        "hyp. no maker fee 0/3.5",
        " none ",
        "does not trade in any of 4 cells",
        "Made to quote without the edge filter at base",
        "Maker fee at which re-runs stop earning (taker 5 bps, 20 ms):",
        "Report: artifacts/economics/",
    ):
        assert text in out.replace(str(Path.cwd()) + "/", ""), text
    assert "…" not in out  # nothing is cut off in a terminal of 80 columns
    assert "error:" not in err


def test_a_few_fills_are_no_verdict_and_fit_a_terminal_too(capsys):
    assert run([*TICKS, "--risk", "off", "--quote-interval-ms", "15000", "--fees", "base"]) == 0
    out, _ = capsys.readouterr()
    assert "zero not excluded" in out
    assert "cannot be told from zero" in out
    assert "…" not in out


def test_the_whole_default_grid_fits_a_terminal(capsys):
    assert run([*TICKS, "--risk", "off"]) == 0
    out, _ = capsys.readouterr()
    assert "250 ms" in out
    assert "…" not in out
    assert "Latency at which" in out


def test_bars_and_their_shares(capsys):
    assert run([*BARS, "--warmup-bars", "100", "--fees", "VIP2,0:3", "--bar-volume-share", "0.05,0.5"]) == 0
    out, _ = capsys.readouterr()
    for text in ("Bars have no queue and no latency", "5 %", "50 %", "VIP2 1.4/3.5", "given 0/3"):
        assert text in out, text


def test_json_is_alone_on_stdout(capsys):
    argv = [*TICKS, "--latency-ms", "5", "--queue", "log", "--fees", "base", "--seed", "3", "--quote-interval-ms", "50"]
    assert run([*argv, "--json", "--artifacts", "elsewhere"]) == 0
    document = orjson.loads(capsys.readouterr().out)
    assert document["latencies_ms"] == [5.0]
    assert [level["name"] for level in document["levels"]] == ["base"]
    assert len(document["cells"]) == 2  # with the edge filter and without
    assert Path(document["folder"]).parent == Path("elsewhere/economics")
    assert not Path("artifacts").exists()


def test_a_limit_by_name(capsys):
    argv = [*TICKS, "--latency-ms", "5", "--queue", "log", "--fees", "base", "--json"]
    assert run([*argv, "--limit", "min_edge_bps=none", "--limit", "stop_loss_pct=0.01"]) == 0
    document = orjson.loads(capsys.readouterr().out)
    (cell,) = document["cells"]  # no filter, so no cell without it
    assert cell["fills"] > 50
    page = (Path(document["folder"]) / "report.html").read_text()
    assert "--limit min_edge_bps=none --limit stop_loss_pct=0.01" in page


def test_without_data_the_synthetic_market_is_a_smoke_test(capsys):
    assert run(["economics", "--processes", "1", "--json", "--timeframe", "5m", "--days", "3"]) == 0
    market = orjson.loads(capsys.readouterr().out)["market"]
    assert (market["exchange"], market["tier"], market["timeframe"]) == ("sim", "T2", "5m")
    assert market["bars"] == 3 * 288 - 240


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        ((*TICKS, "--data", "nowhere"), 5, "nowhere"),
        ((*TICKS, "--symbol", "ETH/USDT"), 5, "no book of binanceusdm ETH/USDT"),
        ((*TICKS, "--exchange", "bitmex"), 2, "unknown bitmex symbol"),
        ((*TICKS, "--latency-ms", "0,soon"), 2, "--latency-ms takes numbers"),
        ((*TICKS, "--latency-ms", "5,5"), 2, "none twice"),
        ((*TICKS, "--queue", "lifo"), 2, "no queue model"),
        ((*TICKS, "--fees", "VIP9"), 2, "VIP9"),
        ((*TICKS, "--risk", "maybe"), 2, "--risk is on or off"),
        ((*TICKS, "--limit", "speed=9"), 2, "speed"),
        ((*TICKS, "--risk", "off", "--limit", "stop_loss_pct=0.01"), 2, "leave out one of the two"),
        ((*TICKS, "--bar-volume-share", "0.1"), 2, "these are ticks"),
        ((*BARS, "--queue", "log"), 2, "no queue and no latency"),
        ((*BARS, "--bar-volume-share", "2"), 2, "bar_volume_shares"),
        ((*BARS, "--warmup-bars", "900"), 5, "700 bars are not enough"),
    ],
)
def test_bad_input_is_one_line_and_the_right_code(capsys, argv, code, text):
    assert run(list(argv)) == code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert text in line
    assert not Path("artifacts").exists()
