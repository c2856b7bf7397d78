"""How wrong is each queue model? Real orders of an L3 log against twins of theirs that only a model knows the place of.

A twin is an order of one lot that arrives 1 ns before a real one, at its price: the same quantity is in front of both,
and a trade that reaches the real order reaches its twin. The real order's first execution is therefore the truth that
the model of the twin's place in the queue can be held against, and `fifo`, which knows who leaves, must find it.

What is compared: whether there was an execution within 1 s, 10 s and 60 s, and at all. A cancelled order says nothing
about what would have come later, and cancels are no accident (people flee from what is coming), so neither a survival
curve nor any other completion is tried: of a cancelled order both it and its twin count up to the cancel. A filled
order is known to be filled at every later time, so its twin goes on: one that is a moment late within the horizon is
no error, and "at all" gives it a minute more than the real order had.

Twins take nothing from one another beyond a lot, which in a log of a fine lot is nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.exchange.queue import Queue
from marketmakerl.backtesting.order_script import OrderScript
from marketmakerl.core.clock import Clock, SystemClock, iso_utc
from marketmakerl.core.errors import ConfigError, DataQualityError
from marketmakerl.core.fees import Fees
from marketmakerl.core.rng import generator
from marketmakerl.data.l3_import import ImportedL3, import_l3
from marketmakerl.data.synthetic_l3 import CANCELS, L3Market, simulate_l3
from marketmakerl.reporting.queue_truth_report import write_queue_truth_report
from marketmakerl.risk.limits import RiskLimits
from marketmakerl.validation.study import new_folder, write_study

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from marketmakerl.core.instrument import Instrument
    from marketmakerl.data.tape import EventTape

    Ints = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

KIND: Final = "queue-truth"
MODELS: Final = {
    "risk_averse": Queue.risk_averse(),
    "log": Queue.log(),
    "log2": Queue.log(2),
    "power(2)": Queue.power(2.0),
    "power(3)": Queue.power(3.0),
    "front": Queue.front(),
    "fifo": Queue.fifo(),
}
HORIZONS_S: Final = (1.0, 10.0, 60.0)
EVER: Final = "ever"  # until it was cancelled; the twin of a filled order waits a minute longer
GROUPS: Final = {
    "all": "all orders that came to rest",
    "queued": "those that joined behind somebody",
    "touch": "those that joined behind somebody at the best price",
}
_LATE_NS: Final = 60_000_000_000
_DRAWS: Final = 2000
_NEVER: Final = 1 << 62


@dataclass(frozen=True)
class QueueTruthConfig:
    """How to measure.

    Attributes:
        block_s: orders within so many seconds of each other are drawn together in the bootstrap.
        seed: of the bootstrap, and of simulated markets.
    """

    block_s: float = 300.0
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.block_s, bool) or not 0.001 <= self.block_s <= 1e6:
            raise ConfigError(f"block_s must be a number from 0.001 to 1,000,000, got {self.block_s!r}")


@dataclass(frozen=True)
class QueueTruth:
    """A finished study.

    Attributes:
        folder: where its artifacts lie.
        analysis: what analysis.json holds.
    """

    folder: Path
    analysis: dict[str, Any]


def twin_fills(tape: EventTape, resting: npt.NDArray[Any], queue: Queue) -> Ints:
    """Return int64[n]: when the twin of each real order is first filled under a queue model, -1 never.

    Args:
        tape: with `since_ns`.
        resting: RESTING[n], by `rested_ns` (see `ImportedL3`).
        queue: the model.
    """
    last = int(tape.ts_ns[-1])
    ended = np.where(resting["ended_ns"] < 0, last, resting["ended_ns"])
    ends = np.where(resting["cancelled"] > 0, ended, ended + _LATE_NS)
    n = len(resting)
    times = np.concatenate([resting["rested_ns"] - 1, ends])
    script, sides, prices = OrderScript(), resting["side"].tolist(), resting["price_ticks"].tolist()
    place, numbers = np.zeros(n, np.int64), list(range(n))
    for at in np.argsort(times, kind="stable").tolist():
        if at < n:
            numbers[at] = script.submit(int(times[at]), side=sides[at], price_ticks=prices[at], qty_lots=1)
            place[numbers[at] - 1] = at
        else:
            script.cancel(int(times[at]), numbers[at - n])
    engine = Engine(
        replace(tape.instrument, kind="linear", min_notional=0.0), script, fees=Fees(0, 0), log_orders=False,
        order_qty=tape.instrument.lot_size, cash=1e12, first_price=1.0, queue=queue, risk=RiskLimits.off(),
    )  # fmt: skip
    engine.feed(tape)
    engine.finish()
    fills = engine.fills()
    found = np.full(n, -1, np.int64)
    found[place[fills["order_id"] - 1]] = fills["ts_ns"]
    return found


def compare(imported: ImportedL3, config: QueueTruthConfig | None = None) -> dict[str, Any]:
    """Return what every model predicted for every real order, against what happened, JSON-ready.

    Raises:
        DataQualityError: no order came to rest, or none was filled: there is nothing to measure by.
    """
    config = config or QueueTruthConfig()
    resting = imported.resting[imported.resting["took_first"] == 0]
    resting = resting[resting["rested_ns"] > imported.tape.ts_ns[0]]  # before the first row there is no book to join
    if not (resting["first_fill_ns"] >= 0).any():
        raise DataQualityError(
            f"{imported.tape.meta['source']}: none of {len(resting)} resting orders was filled; "
            "there is nothing to hold a queue model against"
        )
    queued = resting["ahead_lots"] > 0
    groups = {"all": np.ones(len(resting), np.bool_), "queued": queued}
    groups["touch"] = queued & (resting["behind_best_ticks"] == 0)
    rows: list[dict[str, Any]] = []
    for name, queue in MODELS.items():
        twins = twin_fills(imported.tape, resting, queue)
        for group, mask in groups.items():
            if mask.any():
                rows.append(
                    {"group": group, "model": name}
                    | _measure(resting[mask], twins[mask], int(imported.tape.ts_ns[-1]), config)
                )
    _rank(rows)
    return {"orders": _counts(resting, groups), "rows": rows}


def _counts(resting: npt.NDArray[Any], groups: dict[str, Mask]) -> dict[str, dict[str, int]]:
    return {
        group: {
            "orders": int(mask.sum()),
            "filled": int((mask & (resting["first_fill_ns"] >= 0)).sum()),
            "cancelled": int((mask & (resting["cancelled"] > 0)).sum()),
        }
        for group, mask in groups.items()
    }


def _measure(resting: npt.NDArray[Any], twins: Ints, last_ns: int, config: QueueTruthConfig) -> dict[str, Any]:
    """Return a model's line for a group of orders."""
    begin, real = resting["rested_ns"], np.where(resting["first_fill_ns"] < 0, _NEVER, resting["first_fill_ns"])
    twin = np.where(twins < 0, _NEVER, twins)
    ended = np.where(resting["ended_ns"] < 0, last_ns, resting["ended_ns"])
    # Of a filled order it is known that it was filled, however late a model is; of any other, nothing after its end.
    known = np.where((resting["cancelled"] > 0) | (resting["ended_ns"] < 0), ended, _NEVER - 1)
    blocks = ((begin - begin.min()) // round(config.block_s * 1e9)).astype(np.int64)
    line: dict[str, Any] = {"pairs": len(resting), "horizons": {}}
    for horizon in (*HORIZONS_S, EVER):
        until = known if horizon == EVER else np.minimum(begin + round(float(horizon) * 1e9), known)
        was, said = real <= until, twin <= until
        low, high = _interval(said.astype(np.int64) - was, blocks, config.seed)
        line["horizons"][horizon if horizon == EVER else f"{horizon:g}s"] = {
            "real": float(was.mean()),
            "predicted": float(said.mean()),
            "bias": float(said.mean() - was.mean()),
            "bias_low": low,
            "bias_high": high,
            "brier": float((said != was).mean()),
            "missed": int((was & ~said).sum()),
            "invented": int((said & ~was).sum()),
        }
    both = (real < _NEVER) & (twin < _NEVER)
    late = (twin[both] - real[both]) / 1e9
    line["both_filled"] = int(both.sum())
    line["time_error_s"] = float(np.abs(late).mean()) if len(late) else None
    line["mean_late_s"] = float(late.mean()) if len(late) else None
    line["same_moment"] = float((late == 0).mean()) if len(late) else None
    return line


def _interval(error: Ints, blocks: Ints, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean error: whole blocks of time are drawn, as their orders met one market."""
    names, which = np.unique(blocks, return_inverse=True)
    sums = np.bincount(which, error, len(names))
    sizes = np.bincount(which, minlength=len(names))
    drawn = generator(seed, KIND, "bootstrap").multinomial(len(names), np.full(len(names), 1 / len(names)), _DRAWS)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _rank(rows: list[dict[str, Any]]) -> None:
    """Rank the models of each group by their Brier score within a minute, equal ones alike; `fifo` stands apart."""
    for row in rows:
        better = sum(
            other["group"] == row["group"]
            and other["model"] != "fifo"
            and other["horizons"]["60s"]["brier"] < row["horizons"]["60s"]["brier"]
            for other in rows
        )
        row["rank"] = None if row["model"] == "fifo" else 1 + better


def queue_truth(
    orders_df: pd.DataFrame,
    trades_df: pd.DataFrame | None,
    instrument: Instrument,
    artifacts: Path,
    *,
    config: QueueTruthConfig | None = None,
    tier: str = "T1",
    source: str = "recording",
    data: list[dict[str, Any]] | None = None,
    clock: Clock | None = None,
) -> QueueTruth:
    """Measure the queue models on a recorded L3 log and write the study's artifacts.

    Args:
        orders_df: see `EventTape.from_l3`, as for the next two.
        trades_df: or None.
        instrument: tick and lot.
        artifacts: the artifacts folder.
        config: how to measure.
        tier: of the data.
        source: names the log.
        data: one entry a file, for the manifest.
        clock: where the run id's time comes from.

    Raises:
        DataError, ConfigError, ArtifactError: there is no study; nothing is left behind.
    """
    # Nobody trades on this tape but the twins of its own orders: the truest book of the past is wanted.
    imported = import_l3(orders_df, trades_df, instrument, opening="hindsight", tier=tier, source=source)
    return _write({source: imported}, config or QueueTruthConfig(), artifacts, data or [], {}, clock)


def simulated_queue_truth(
    artifacts: Path,
    *,
    market: L3Market | None = None,
    config: QueueTruthConfig | None = None,
    clock: Clock | None = None,
) -> QueueTruth:
    """Measure the queue models on simulated logs, one for each way of cancelling, and write the study's artifacts.

    Args:
        artifacts: the artifacts folder.
        market: what the market is like; its `cancels` is varied.
        config: how to measure, and the seed.
        clock: where the run id's time comes from.

    Raises:
        ConfigError, ArtifactError: there is no study; nothing is left behind.
    """
    config, market = config or QueueTruthConfig(), market or L3Market()
    logs = {}
    for cancels in CANCELS:
        orders, trades = simulate_l3(replace(market, cancels=cancels), config.seed)
        name = f"cancels {'at the ' if cancels != 'anywhere' else ''}{cancels}"
        logs[name] = import_l3(orders, trades, market.instrument, tier="T2", source=name)
    setup = {name: value for name, value in asdict(market).items() if name != "cancels"}
    made = [{"exchange": "sim", "kind": "l3", "tier": "T2", "generator": setup, "seed": config.seed}]
    return _write(logs, config, artifacts, made, setup, clock)


def _write(
    logs: dict[str, ImportedL3],
    config: QueueTruthConfig,
    artifacts: Path,
    data: list[dict[str, Any]],
    setup: dict[str, Any],
    clock: Clock | None,
) -> QueueTruth:
    clock = clock or SystemClock()
    spec = {"config": {"options": asdict(config), "setup": setup, "seeds": [config.seed]}, "data": data}
    with new_folder(artifacts / KIND, spec, clock) as folder:
        results = {name: compare(log, config) | {"import": _import_facts(log)} for name, log in logs.items()}
        tapes = [log.tape for log in logs.values()]
        analysis = {
            "kind": KIND,
            "market": {
                "tier": tapes[0].tier,
                "first": iso_utc(int(min(tape.ts_ns[0] for tape in tapes))),
                "last": iso_utc(int(max(tape.ts_ns[-1] for tape in tapes))),
            },
            "groups": GROUPS,
            "logs": results,
        }
        rows = [_csv_row(name, row) for name, result in results.items() for row in result["rows"]]
        write_study(folder, KIND, spec, analysis, rows, clock)
        write_queue_truth_report(folder)
    return QueueTruth(folder, analysis)


def _import_facts(log: ImportedL3) -> dict[str, Any]:
    facts = log.report.as_dict()
    return {name: facts[name] for name in ("lines", "rows", "refused", "repaired")}


def _csv_row(log: str, row: dict[str, Any]) -> dict[str, Any]:
    flat = {"log": log} | {name: value for name, value in row.items() if name != "horizons"}
    for horizon, values in row["horizons"].items():
        flat |= {f"{name}_{horizon}": value for name, value in values.items()}
    return flat
