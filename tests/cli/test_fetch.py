"""`mml fetch-data` and its script."""

from __future__ import annotations

import json
import sys

import pytest
import typer
from typer.testing import CliRunner

from marketmakerl.cli.fetch import fetch_data
from marketmakerl.core.errors import (
    ConfigError,
    ExchangeUnreachableError,
    UnknownNameError,
)
from marketmakerl.data.catalog import Catalog
from marketmakerl.realtime.exchange_sim import ExchangeSim


@pytest.fixture
def sim():
    with ExchangeSim.embedded(3, history_bars=1440) as running:
        yield running


def files_of(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(fetch_data)

    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


def test_the_command_with_the_embedded_venue(run, tmp_path):
    done = run("--exchange", "sim", "--days", "0.1", "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["tier"] == "T2"
    assert [one["rows"] for one in document["files"]] == [144, 200, 1000]
    assert len(Catalog(tmp_path).data_sets) == 3


def test_the_command_against_another_host(run, sim, tmp_path):
    done = run(
        "--exchange", "binance", "--base-url", sim.base_url, "--days", "1", "--what", "klines", "--out", tmp_path
    )
    assert done.exit_code == 0, done.output
    assert "1,440 rows, 2024-01-01T00:00:00.000Z .. 2024-01-01T23:59:00.000Z (T2)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], ConfigError),
        (["--exchange", "bynance"], UnknownNameError),
        (["--exchange", "sim", "--days", "0"], ConfigError),
        (["--exchange", "sim", "--days", "0.1", "--what", "candles"], UnknownNameError),
        (["--exchange", "binance", "--base-url", "http://127.0.0.1:9"], ExchangeUnreachableError),
    ],
)
def test_the_command_refuses(run, tmp_path, arguments, error):
    done = run("--out", tmp_path, *arguments)
    assert isinstance(done.exception, error), done.exception
    assert files_of(tmp_path) == []


def test_the_script_is_the_command(monkeypatch, pytestconfig):
    script = pytestconfig.rootpath / "scripts" / "fetch_real_market_data.py"
    called = []
    monkeypatch.setattr("marketmakerl.cli.main.main", called.append)
    monkeypatch.setattr(sys, "argv", [str(script), "--exchange", "sim"])
    exec(compile(script.read_text(), str(script), "exec"), {"__name__": "__main__"})
    assert called == [["fetch-data", "--exchange", "sim"]]
