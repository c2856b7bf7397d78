"""The files of a study of economics: what its cells came to, as analysis.json, runs.jsonl and summary.csv."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.backtesting.results.attribution import HORIZONS
from marketmakerl.core.artifacts import manifest, write_atomic, write_json, write_jsonl
from marketmakerl.core.clock import NS_PER_S, iso_utc
from marketmakerl.data.tape import Kind
from marketmakerl.validation.economics_summary import latency_break_evens, shown_cell, summarise, unfiltered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from marketmakerl.backtesting.session import Prepared
    from marketmakerl.core.clock import Clock
    from marketmakerl.data.market import Market
    from marketmakerl.data.tape import EventTape
    from marketmakerl.validation.economics import EconomicsConfig
    from marketmakerl.validation.economics_cells import Place
    from marketmakerl.validation.fee_levels import FeeLevel

KIND: Final = "economics"
_FIGURES: Final = (
    *("pnl", "excess_pnl", "gross_spread_pnl", "inventory_pnl", "funding_pnl", "fees_paid", "turnover", "fills"),
    *("maker_share", "sharpe", "excess_sharpe", "max_drawdown_pct", "quoted_uptime_pct", "max_abs_inventory"),
    *("breaker_events", "liquidations"),
)


def analysis_of(
    config: EconomicsConfig, market: Market, traded: EventTape, levels: Sequence[FeeLevel], places: Sequence[Place],
    base: dict[str, Any], lines: list[dict[str, Any]], fee_break_evens: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """Return what analysis.json holds: all that the tables and the report say."""
    queues = list(dict.fromkeys(place.queue for place in places if place.queue))
    fees = [level.as_dict() for level in levels]
    return {
        "kind": KIND,
        "market": _facts(market, traded),
        "model": config.model,
        "risk": config.risk,
        "levels": fees,
        "queues": queues,
        "latencies_ms": sorted({place.latency_ms for place in places if place.latency_ms is not None}),
        "bar_volume_shares": [place.bar_volume_share for place in places if place.bar_volume_share is not None],
        "base": base,
        "first_line": next((line["first_line"] for line in lines if line["metrics"]), ""),
        "summary": summarise(lines, fees),
        "unfiltered": unfiltered(lines, fees),
        "latency_break_evens": latency_break_evens(lines, len(levels), queues),
        "fee_break_evens": fee_break_evens,
        "shown": shown_cell(lines, base),
        "cells": [_brief(line) for line in lines],
    }


def _facts(market: Market, traded: EventTape) -> dict[str, Any]:
    """Return what the market is, JSON-ready."""
    tape, source = market.tape, market.provenance[0] if market.provenance else {}
    return {
        "exchange": market.exchange,
        "symbol": tape.instrument.symbol,
        "instrument_kind": tape.instrument.kind,
        "quote": tape.instrument.quote,
        "clock": "bars" if tape.is_bars else "ticks",
        "timeframe": source.get("timeframe") or (f"{tape.interval_ns // NS_PER_S}s" if tape.is_bars else ""),
        "tier": tape.tier,
        "first": iso_utc(int(traded.ts_ns[0])),
        "last": iso_utc(int(traded.ts_ns[-1])),
        "traded_s": (int(traded.ts_ns[-1]) - int(traded.ts_ns[0])) / NS_PER_S,
        "rows": len(traded),
        "bars": int(np.sum(np.asarray(traded.kind) == Kind.BAR_OPEN)) if tape.is_bars else None,
    }


_CELL: Final = (
    *("run_id", "fee", "edge_filter", "queue", "latency_ms", "bar_volume_share", "status", "verdict", "error"),
    *("earned", "earned_low", "earned_high", "earned_bps"),
)
_INTERVAL: Final = ("no_interval", "interval_s", "changes")


def _brief(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell as analysis.json holds it, without the whole of its metrics."""
    metrics, found = line["metrics"] or {}, line["attribution"] or {}
    kept = ("fills", "turnover", "excess_sharpe", "intervals", "quoted_uptime_pct", "no_fills_because")
    return (
        {name: line[name] for name in _CELL}
        | {name: line.get(name) for name in _INTERVAL}
        | {name: metrics.get(name) for name in kept}
        | {"break_even_maker_bps": found.get("break_even_maker_bps"), "parts": found.get("quote")}
    )


def _row(line: Mapping[str, Any], levels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a cell as a line of summary.csv."""
    level, metrics, found = levels[line["fee"]], line["metrics"] or {}, line["attribution"] or {}
    parts = found.get("quote") or {}
    fee = {"fee_tier": level["name"], **{name: level[name] for name in ("maker_bps", "taker_bps", "is_published")}}
    cell = {name: line[name] for name in _CELL if name != "error"} | {"model": line["model"]}
    row = {"run_id": cell.pop("run_id"), **fee, **{name: cell[name] for name in cell if name != "fee"}}
    row |= {name: metrics.get(name) for name in _FIGURES}
    row |= {f"part_{name}": parts.get(name)
            for name in ("spread", "inventory", "fees", "funding", "liquidation", "opening")}  # fmt: skip
    adverse = parts.get("adverse") or {}
    row |= {f"adverse_{horizon}": adverse.get(horizon) for horizon in HORIZONS}
    row |= {"break_even_maker_bps": found.get("break_even_maker_bps"), "forced_fills": found.get("forced_fills")}
    return row | {name: line.get(name) for name in (*_INTERVAL, "error")}


def settled(
    config: EconomicsConfig, levels: Sequence[FeeLevel], setup: Prepared, market: Market
) -> dict[str, Any]:  # fmt: skip
    """Return the configuration as a manifest records it."""
    options = asdict(config)
    options["market"] = {
        name: str(value) if isinstance(value, Path) else value for name, value in options["market"].items()
    }
    return {
        "options": options,
        "setup": {"levels": [level.as_dict() for level in levels], "parameters": setup.parameters},
        "seeds": [config.seed],
        "instrument": market.tape.instrument.as_dict(),
        "risk": config.risk_limits(setup).as_dict(),
    }


def write_files(
    folder: Path, spec: Mapping[str, Any], analysis: Mapping[str, Any], lines: list[dict[str, Any]], clock: Clock
) -> None:
    """Write runs.jsonl, summary.csv, analysis.json and, last, manifest.json."""
    write_jsonl(folder / "runs.jsonl", lines)
    rows = [_row(line, analysis["levels"]) for line in lines]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(folder / "summary.csv", text.getvalue().encode())
    write_json(folder / "analysis.json", analysis)
    tier = analysis["market"]["tier"]
    write_json(folder / "manifest.json", manifest(KIND, folder.name, spec["config"], spec["data"], tier, clock))
