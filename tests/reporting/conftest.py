"""A campaign's files, made up: no engine, no market, only what a report reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketmakerl.backtesting.results.metrics import MARKOUT_HORIZONS_S, Metrics
from marketmakerl.core.artifacts import write_json, write_jsonl
from reporting.pages_once import _pages_are_prepared_once  # noqa: F401

START_NS = 1_704_067_200_000_000_000
MINUTE_NS = 60_000_000_000
BUDGET = 10_000.0

MakeRun = Callable[..., dict[str, Any]]
MakeCampaign = Callable[..., Path]


def make_run(i: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a line of runs.jsonl whose parts add up; `changes` go to its metrics, or to the line itself."""
    rng = np.random.default_rng(i)
    spread, inventory, fees = 100 + 50 * rng.random(), 60 * rng.standard_normal(), 40 + 10 * rng.random()
    pnl = spread + inventory - fees
    metrics = Metrics(
        pnl=pnl,
        gross_spread_pnl=spread,
        inventory_pnl=inventory,
        funding_pnl=0.0,
        fees_paid=fees,
        initial_budget=BUDGET,
        final_equity=BUDGET + pnl,
        return_pct=pnl / BUDGET,
        max_drawdown_pct=0.01 + 0.001 * i,
        sharpe=10 * float(rng.standard_normal()),
        sortino=None,
        calmar=None,
        excess_pnl=pnl,
        excess_sharpe=None,
        fills=1000 + i,
        orders=2000,
        maker_share=1.0,
        fill_ratio=0.5,
        turnover=123_456.789,
        quoted_uptime_pct=0.987,
        suppressed_pct={"edge": 0.125, "price": 0.0},
        max_abs_inventory=0.042,
        final_inventory=0.0,
        markout_bps={f"{h:g}s": -1.25 if h >= 60 else None for h in MARKOUT_HORIZONS_S},
        breaker_events=0,
        liquidations=0,
        interval_s=60.0,
        intervals=4080,
        settlement_currency="USDT",
        pnl_settled=pnl,
        no_fills_because=None,
    ).model_dump()
    line = {
        "run_id": f"run-{i:03d}",
        "seed": 7 + i,
        "model": "avellaneda_stoikov",
        "status": "completed",
        "tier": "T2",
        "first_ns": START_NS + i * 5 * 86_400_000_000_000,
        "last_ns": START_NS + (i + 1) * 5 * 86_400_000_000_000,
        "metrics": metrics,
    }
    if "pnl" in changes:  # nothing is held at the start, so what is earned is earned over holding
        changes.setdefault("excess_pnl", changes["pnl"])
    for name, value in changes.items():
        (metrics if name in metrics else line)[name] = value
    return line


def make_error(i: int = 0, error: str = "DataQualityError: 12 bars are not enough") -> dict[str, Any]:
    """Return the line of a run that ended in an error."""
    line = {"run_id": f"run-{i:03d}", "seed": 7 + i, "model": "avellaneda_stoikov", "status": "error"}
    return line | {"tier": None, "metrics": None, "error": error, "exit_code": 5}


def make_manifest(tier: str = "T2", symbol: str = "BTC/USDT", **changes: Any) -> dict[str, Any]:
    recorded = {
        "exchange": "binanceusdm",
        "symbol": "BTCUSDT",
        "kind": "klines",
        "timeframe": "1m",
        "file": "binanceusdm_BTCUSDT_1m.parquet",
        "sha256": "0123456789abcdef" * 4,
        "tier": "T1",
        "rows": 73_284,
        "first": "2025-05-04T15:33:00.000Z",
        "last": "2025-06-24T12:57:00.000Z",
    }
    synthetic = {"exchange": "sim", "kind": "klines", "tier": "T2", "generator": {"daily_vol": 0.028}}
    return {
        "schema": 1,
        "kind": "campaign",
        "run_id": "20250101T000000000Z-0badcafe",
        "created_at": "2025-01-01T00:00:00.000Z",
        "tier": tier,
        "config": {
            "options": {
                "model": "avellaneda_stoikov",
                "budget": BUDGET,
                "market": {"exchange": "" if tier == "T2" else "binanceusdm", "symbol": "" if tier == "T2" else symbol},
            },
            "setup": {"bar_volume_share": 0.1, "fees": {"maker_bps": 2.0, "taker_bps": 5.0}},
        },
        "data": [synthetic if tier == "T2" else recorded],
        "environment": {"git_commit": "abc123", "python": "3.11.7", "cpu": "some", "packages": {"numpy": "2.0"}},
    } | changes


def write_equity(folder: Path, run: dict[str, Any], rows: int) -> None:
    """Write an equity curve that ends where the run's metrics say."""
    rng = np.random.default_rng(run["seed"])
    walk = np.concatenate([[0.0], np.cumsum(rng.normal(0, 2, rows - 1))])
    bridge = walk - np.linspace(0, walk[-1] - run["metrics"]["pnl"], rows)
    table = pa.table({
        "ts_ns": run["first_ns"] + MINUTE_NS * np.arange(rows),
        "equity": BUDGET + bridge,
        "cash": np.full(rows, BUDGET),
        "inventory": rng.integers(-10, 11, rows) * 0.004,
        "mid": np.full(rows, 50_000.0),
    })  # fmt: skip
    path = folder / "runs" / run["run_id"] / "equity.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)


@pytest.fixture
def run_of() -> MakeRun:
    return make_run


@pytest.fixture
def error_of() -> MakeRun:
    return make_error


@pytest.fixture
def manifest_of() -> MakeRun:
    return make_manifest


@pytest.fixture
def campaign_of(tmp_path: Path) -> MakeCampaign:
    """Make a campaign's folder: from a number of runs, or from their lines."""

    def make(runs: int | list[dict[str, Any]], rows: int = 900, manifest: dict[str, Any] | None = None) -> Path:
        lines = [make_run(i) for i in range(runs)] if isinstance(runs, int) else runs
        write_json(tmp_path / "manifest.json", manifest or make_manifest())
        write_jsonl(tmp_path / "runs.jsonl", lines)
        for line in lines:
            if line["metrics"]:
                write_equity(tmp_path, line, rows)
        return tmp_path

    return make
