"""A campaign in one table and in one dozen numbers: summary.csv, and what the terminal and the report print first."""

from __future__ import annotations

import csv
import io
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.artifacts import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Run = dict[str, Any]  # a line of runs.jsonl

_RUN_COLUMNS: Final = ("run_id", "seed", "model", "status", "tier", "first_ns", "last_ns", "exit_code", "error")


def write_summary_csv(path: Path, runs: list[Run]) -> None:
    """Write one row a run; nested metrics become columns such as suppressed_pct.price and markout_bps.60s.

    The columns are the same for every campaign, whatever happened in it: those of `Metrics`, in its order. A metric
    that this version does not know (an older run) is kept, at the end. An undefined value is an empty cell.

    Raises:
        ArtifactError: the file cannot be written.
    """
    rows = [{name: run.get(name) for name in _RUN_COLUMNS} | _flat(run.get("metrics") or {}) for run in runs]
    known = [*_RUN_COLUMNS, *_metric_columns()]
    unknown = sorted({name for row in rows for name in row} - set(known))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*known, *unknown], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def summarise(runs: list[Run]) -> dict[str, Any]:
    """Return what a campaign comes to.

    Returns:
        count, completed, failed_risk, errors: runs, by status.
        profitable: runs with pnl > 0; profitable_share: of the runs that have metrics.
        total_pnl, mean_pnl, median_pnl, profitable_share, worst_drawdown_pct, median_sharpe: over the runs that have
            metrics; None where no run does (median_sharpe: where it is defined in none).
        gross_spread_pnl, inventory_pnl, funding_pnl, fees_paid: sums; total_pnl is the first three less the fees.
        fills, turnover: sums.
    """
    metrics = [run["metrics"] for run in runs if run.get("metrics")]
    statuses = [run["status"] for run in runs]
    pnl = [float(m["pnl"]) for m in metrics]
    excess = [float(m["excess_pnl"]) for m in metrics]
    sharpe = [m["sharpe"] for m in metrics if m["sharpe"] is not None]
    return {
        "count": len(runs),
        "completed": statuses.count("completed"),
        "failed_risk": statuses.count("failed_risk"),
        "errors": statuses.count("error"),
        "total_pnl": sum(pnl) if pnl else None,
        "mean_pnl": sum(pnl) / len(pnl) if pnl else None,
        "median_pnl": median(pnl) if pnl else None,
        # Over holding the opening inventory, as gates judge it: a coin that rose earned nothing for a maker.
        "profitable": sum(p > 0 for p in excess),
        "profitable_share": sum(p > 0 for p in excess) / len(excess) if excess else None,
        "worst_drawdown_pct": max((m["max_drawdown_pct"] for m in metrics), default=None),
        "median_sharpe": median(sharpe) if sharpe else None,
        "gross_spread_pnl": _total(metrics, "gross_spread_pnl"),
        "inventory_pnl": _total(metrics, "inventory_pnl"),
        "funding_pnl": _total(metrics, "funding_pnl"),
        "fees_paid": _total(metrics, "fees_paid"),
        "fills": sum(int(m["fills"]) for m in metrics),
        "turnover": _total(metrics, "turnover"),
    }


def has_window(run: Run) -> bool:
    """Return whether a run is told from the others by its window of time; on synthetic data it is by its seed."""
    return run.get("first_ns") is not None and run.get("tier") != "T2"


def _total(metrics: Iterable[dict[str, Any]], name: str) -> float:
    return float(sum(m[name] for m in metrics))


def _flat(metrics: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _metric_columns() -> list[str]:
    # The engine (and numba, a second) is loaded only here, by whoever has just run it anyway; a report needs neither.
    from marketmakerl.backtesting.results.metrics import MARKOUT_HORIZONS_S, Metrics  # noqa: PLC0415
    from marketmakerl.risk.reasons import SUPPRESSING  # noqa: PLC0415

    nested = {
        "suppressed_pct": [reason.name.lower() for reason in SUPPRESSING],
        "markout_bps": [f"{horizon_s:g}s" for horizon_s in MARKOUT_HORIZONS_S],
    }
    columns: list[str] = []
    for name in Metrics.model_fields:
        columns += [f"{name}.{key}" for key in nested[name]] if name in nested else [name]
    return columns
