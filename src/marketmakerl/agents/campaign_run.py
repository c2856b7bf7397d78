"""One run of a campaign, from task to files. It runs in a worker process and knows nothing of the others."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from marketmakerl.backtesting.session import Session
from marketmakerl.backtesting.tick_session import TickRules, tick_summary
from marketmakerl.backtesting.trading import trade
from marketmakerl.core.arrow import table_of
from marketmakerl.core.artifacts import write_atomic, write_json
from marketmakerl.core.errors import ArtifactError, MarketMakerLError
from marketmakerl.data.market import synthetic_market
from marketmakerl.data.synthetic import SyntheticMarket
from marketmakerl.data.tape import EventTape
from marketmakerl.data.tick_windows import cut

if TYPE_CHECKING:
    from marketmakerl.backtesting.results.metrics import Metrics
    from marketmakerl.backtesting.results.result import BacktestResult

RESULT_FILE = "result.json"


@dataclass(frozen=True, kw_only=True)
class RunSetup(Session):
    """What every run of a campaign shares: how it trades, and on what.

    Attributes:
        n_bars: bars of a synthetic run, warm-up included.
        interval_s: their length, seconds.
        tape_path: the recorded market, "" for the synthetic one.
        ticks: how ticks are traded; None on bars.
    """

    n_bars: int
    interval_s: int = 60
    tape_path: str = ""
    ticks: TickRules | None = None


@dataclass(frozen=True)
class RunTask:
    """One run: its name, its seed, and which part of the market it gets.

    Attributes:
        run_id: name of the run and of its folder.
        seed: of the synthetic market; on recorded data it only names the run.
        first_row, last_row: rows of the recorded tape, [first, last).
        folder: where its files go.
        tables: whether its tables of equity and fills are kept: "all" (yes), "failed" (if it failed on risk), "none".
    """

    run_id: str
    seed: int
    folder: str
    first_row: int = 0
    last_row: int = 0
    tables: str = "all"


def execute(setup: RunSetup, task: RunTask) -> dict[str, Any]:
    """Run one task, write its files, and return its line of runs.jsonl.

    An error that belongs to this run (bad data, a model that cannot be calibrated) is a result, with status "error".
    An artifacts folder that takes no files is everybody's error and is raised.

    Raises:
        ArtifactError: the files cannot be written.
    """
    for leftover in Path(task.folder).glob(".*"):  # of a worker that was killed while it wrote
        leftover.unlink()
    line: dict[str, Any] = {"run_id": task.run_id, "seed": task.seed, "model": setup.model}
    try:
        tape = _tape(setup, task)
        result, parameters = trade(setup, tape, ticks=setup.ticks)
    except ArtifactError:
        raise
    except (MarketMakerLError, ArithmeticError, ValueError, LookupError, MemoryError) as error:
        line |= {"status": "error", "tier": None, "metrics": None, "error": f"{type(error).__name__}: {error}"}
        line["exit_code"] = error.exit_code if isinstance(error, MarketMakerLError) else 1
    else:
        line |= {
            "status": verdict(result.metrics),
            "tier": result.tier,
            "first_ns": int(tape.ts_ns[0]),
            "last_ns": int(tape.ts_ns[-1]),
            "parameters": parameters,
            "metrics": result.metrics.model_dump(),
            "risk_events": result.risk_events,
        }
        if setup.ticks:
            line["ticks"] = tick_summary(result, tape)
        if task.tables == "all" or (task.tables == "failed" and line["status"] == "failed_risk"):
            _write_tables(Path(task.folder), result)
    # Written last: a folder with this file is a finished run.
    write_json(Path(task.folder) / RESULT_FILE, line)
    return line


def verdict(metrics: Metrics) -> str:
    """Return "completed", or "failed_risk" for a run that lost more than 40 % of its budget at any time."""
    return "failed_risk" if metrics.failed else "completed"


def _tape(setup: RunSetup, task: RunTask) -> EventTape:
    if not setup.tape_path:
        return synthetic_market(setup.n_bars, task.seed, SyntheticMarket(interval_s=setup.interval_s)).tape
    tape = EventTape.load(setup.tape_path, verify=False)
    if tape.is_bars:
        return tape.slice_rows(task.first_row, task.last_row)
    return cut(tape, task.first_row, task.last_row)


def _write_tables(folder: Path, result: BacktestResult) -> None:
    """Write equity and fills, for the report and for whoever asks further."""
    for name, columns in (("equity", result.equity_columns()), ("fills", result.fill_columns())):
        sink = io.BytesIO()
        pq.write_table(table_of(columns), sink, compression="zstd")
        write_atomic(folder / f"{name}.parquet", sink.getvalue())


def as_config(setup: RunSetup) -> dict[str, Any]:
    """Return the setup as the manifest records it: everything but where a file lay on this machine."""
    return asdict(replace(setup, tape_path=""))
