"""One run of a campaign, from task to files. It runs in a worker process and knows nothing of the others."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from marketmakerl.backtesting.backtest_engine import backtest
from marketmakerl.core.artifacts import write_atomic, write_json
from marketmakerl.core.errors import ArtifactError, DataQualityError, MarketMakerLError
from marketmakerl.data.market import synthetic_market
from marketmakerl.data.tape import EventTape, Kind
from marketmakerl.models.bar_calibration import estimate_from_bars
from marketmakerl.models.registry import calibrated_model

if TYPE_CHECKING:
    from marketmakerl.backtesting.metrics import Metrics
    from marketmakerl.backtesting.result import BacktestResult
    from marketmakerl.core.fees import Fees

RESULT_FILE = "result.json"


@dataclass(frozen=True)
class RunSetup:
    """What every run of a campaign shares.

    Attributes:
        model: model id.
        model_params: parameters of the model that are fixed instead of calibrated.
        budget: opening equity, quote currency.
        order_share: size of a quote as a share of the budget.
        fees: maker and taker rates.
        horizon_s: session length of the model, seconds.
        inventory_range: order sizes at which the model leans by a whole 1/k.
        warmup_bars: bars at the start that set the model's parameters and are not traded.
        bar_volume_share: how much of a bar's volume our orders can get.
        n_bars: bars of a synthetic run, warm-up included.
        tape_path: the recorded market, "" for the synthetic one.
    """

    model: str
    model_params: dict[str, float]
    budget: float
    order_share: float
    fees: Fees
    horizon_s: float
    inventory_range: float
    warmup_bars: int
    bar_volume_share: float
    n_bars: int
    tape_path: str = ""


@dataclass(frozen=True)
class RunTask:
    """One run: its name, its seed, and which part of the market it gets.

    Attributes:
        run_id: name of the run and of its folder.
        seed: of the synthetic market; on recorded data it only names the run.
        first_row, last_row: rows of the recorded tape, [first, last).
        folder: where its files go.
    """

    run_id: str
    seed: int
    folder: str
    first_row: int = 0
    last_row: int = 0


def execute(setup: RunSetup, task: RunTask) -> dict[str, Any]:
    """Run one task, write its files, and return its line of runs.jsonl.

    An error that belongs to this run (bad data, a model that cannot be calibrated) is a result, with status "error".
    An artifacts folder that takes no files is everybody's error and is raised.

    Raises:
        ArtifactError: the files cannot be written.
    """
    line: dict[str, Any] = {"run_id": task.run_id, "seed": task.seed, "model": setup.model}
    try:
        tape = _tape(setup, task)
        result, parameters = _trade(setup, tape)
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
        }
        _write_tables(Path(task.folder), result)
    # Written last: a folder with this file is a finished run.
    write_json(Path(task.folder) / RESULT_FILE, line)
    return line


def verdict(metrics: Metrics) -> str:
    """Return "completed", or "failed_risk" for a run that lost more than 40 % of its budget at any time."""
    return "failed_risk" if metrics.failed else "completed"


def _tape(setup: RunSetup, task: RunTask) -> EventTape:
    if not setup.tape_path:
        return synthetic_market(setup.n_bars, task.seed).tape
    return EventTape.load(setup.tape_path, verify=False).slice_rows(task.first_row, task.last_row)


def _trade(setup: RunSetup, tape: EventTape) -> tuple[BacktestResult, dict[str, Any]]:
    """Calibrate on the warm-up bars, trade the rest."""
    warm_up, rest = split_warm_up(tape, setup.warmup_bars)
    estimate = estimate_from_bars(warm_up)
    model = calibrated_model(
        setup.model,
        estimate,
        horizon_s=setup.horizon_s,
        inventory_range=setup.inventory_range,
        fixed=setup.model_params,
    )
    instrument = tape.instrument
    price = float(rest.price_ticks[0]) * instrument.tick_size
    # A quote is worth a share of the budget, in whole lots; an inverse contract counts in quote currency already.
    unit = instrument.contract_size * (1.0 if instrument.kind == "inverse" else price)
    order_qty = instrument.qty(max(1, instrument.lots(setup.budget * setup.order_share / unit)))
    cash = setup.budget / price if instrument.kind == "inverse" else setup.budget
    result = backtest(
        rest, model, fees=setup.fees, order_qty=order_qty, cash=cash, bar_volume_share=setup.bar_volume_share
    )
    parameters = {"model": model.as_dict(), "order_qty": order_qty, "estimate": estimate.as_dict()}
    return result, parameters


def split_warm_up(tape: EventTape, warmup_bars: int) -> tuple[EventTape, EventTape]:
    """Cut a tape after its first `warmup_bars` bars.

    Raises:
        DataQualityError: there are not more bars than that.
    """
    opens = (tape.kind == Kind.BAR_OPEN).nonzero()[0]
    if len(opens) <= warmup_bars:
        raise DataQualityError(
            f"{len(opens)} bars are not enough: the first {warmup_bars} set the model's parameters and are not traded; "
            "use fewer runs, more days, or a smaller --warmup-bars"
        )
    cut = int(opens[warmup_bars])
    return tape.slice_rows(0, cut), tape.slice_rows(cut, len(tape))


def _write_tables(folder: Path, result: BacktestResult) -> None:
    """Write equity and fills, for the report and for whoever asks further."""
    for name, frame in (("equity", result.equity), ("fills", result.fills)):
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink, compression="zstd")
        write_atomic(folder / f"{name}.parquet", sink.getvalue())


def as_config(setup: RunSetup) -> dict[str, Any]:
    """Return the setup as the manifest records it: everything but where a file lay on this machine."""
    return asdict(replace(setup, tape_path=""))
