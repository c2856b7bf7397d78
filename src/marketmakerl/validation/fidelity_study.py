"""The fidelity study: every recording of a folder on bars and on ticks, what can be said, and what cannot and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.artifacts import environment
from marketmakerl.core.clock import Clock, SystemClock, iso_utc
from marketmakerl.core.errors import ConfigError, DataNotFoundError, DataQualityError, MarketMakerLError
from marketmakerl.core.fees import Fees
from marketmakerl.core.pool import default_processes, run_tasks
from marketmakerl.data.catalog import Catalog, DataSet, weakest_tier
from marketmakerl.data.market import Market, MarketRequest, load_market
from marketmakerl.data.tick_files import Recording, load_recording, trades_of
from marketmakerl.reporting.fidelity_report import write_fidelity_report
from marketmakerl.validation.fidelity import FidelityRules, measure
from marketmakerl.validation.fidelity_summary import summarise
from marketmakerl.validation.study import Progress, new_folder, write_study

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KIND: Final = "fidelity"
_KINDS: Final = ("book", "bbo", "trades")
_WITHOUT_BOOK: Final = {
    "bbo": "best quotes without a book: no queue to stand in",
    "trades": "trades without a book: nothing to quote against",
}


@dataclass(frozen=True, kw_only=True)
class FidelityConfig:
    """Which recordings, and what is compared on them.

    Args:
        data: a folder of recordings, a book file with its trades beside it, or a tape of ticks.
        exchange, symbol: only this one's recordings; "" for all.
        rules: what is compared.
        maker_bps, taker_bps: fees; None takes the exchange's table.
        instruments_file, fees_file: overrides of the shipped tables.
    """

    data: Path
    exchange: str = ""
    symbol: str = ""
    rules: FidelityRules = field(default_factory=FidelityRules)
    maker_bps: float | None = None
    taker_bps: float | None = None
    instruments_file: Path | None = None
    fees_file: Path | None = None

    def check(self) -> None:
        """Raise `ConfigError` for what can be refused before any file is opened."""
        self.rules.check()
        Fees(self.maker_bps or 0.0, self.taker_bps or 0.0)
        if self.symbol and not self.exchange and self.data.is_dir():
            raise ConfigError(f"SYMBOL={self.symbol} of which exchange? add EXCHANGE=")


@dataclass(frozen=True)
class Fidelity:
    """A finished study.

    Attributes:
        folder: where its artifacts lie.
        analysis: what analysis.json holds.
    """

    folder: Path
    analysis: dict[str, Any]


@dataclass(frozen=True)
class _Candidate:
    """What may be a recording: files of a catalog, or one file named; `refused` says why it is not even opened."""

    name: str
    exchange: str
    symbol: str
    files: Recording | Path | None
    refused: str = ""


@dataclass(frozen=True)
class _Work:
    """One recording, in a form that can be sent to a worker."""

    config: FidelityConfig
    candidates: tuple[_Candidate, ...]

    def __call__(self, index: int) -> dict[str, Any]:
        config, candidate = self.config, self.candidates[index]
        market = _load(config, candidate)
        fees = Fees.choose(
            market.exchange, maker_bps=config.maker_bps, taker_bps=config.taker_bps, overrides=config.fees_file
        )
        measured = measure(market.tape, config.rules, fees)
        facts = measured.facts
        return {
            "exchange": market.exchange,
            "symbol": market.tape.instrument.symbol,
            "tier": market.tape.tier,
            "provenance": market.provenance,
            "facts": facts
            | {"first": iso_utc(facts["start_ns"]), "end": iso_utc(facts["end_ns"]), "fees": asdict(fees)},
            "rows": [{"recording": candidate.name, **row} for row in measured.rows],
        }


def _load(config: FidelityConfig, candidate: _Candidate) -> Market:
    if isinstance(candidate.files, Recording):
        tape, provenance = load_recording(candidate.files, "", config.instruments_file)
        return Market(candidate.exchange, tape, provenance)
    return load_market(
        MarketRequest(
            exchange=candidate.exchange,
            symbol=candidate.symbol,
            data=candidate.files,
            clock="ticks",
            instruments_file=config.instruments_file,
            fees_file=config.fees_file,
        )
    )


def fidelity(
    config: FidelityConfig,
    artifacts: Path,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> Fidelity:
    """Measure every recording and write the study's artifacts.

    Args:
        config: which recordings, and what is compared.
        artifacts: the artifacts folder.
        processes: worker processes; None: one a processor. The results do not depend on it.
        progress: called as (done, total, what was done) after each recording, and once at the start.
        clock: where the run id's time comes from.

    Raises:
        ConfigError, DataError, ArtifactError: there is no study, or not one recording can be measured; nothing is left
            behind.
    """
    config.check()
    if processes is not None and processes < 1:
        raise ConfigError(f"processes must be at least 1, got {processes}")
    candidates = find_recordings(config)
    outcomes = _measure_all(config, candidates, processes or default_processes(), progress)
    measured = [outcome for outcome in outcomes if isinstance(outcome, dict)]
    if not measured:
        raise _nothing_measured(candidates, outcomes)
    analysis = _analysis(config, candidates, outcomes)
    clock = clock or SystemClock()
    data = [entry for outcome in measured for entry in outcome["provenance"]]
    setup = {"config": _settled(config), "data": data, "environment": environment()}
    with new_folder(artifacts / KIND, setup, clock) as folder:
        write_study(folder, KIND, setup, analysis, analysis["rows"], clock)
        write_fidelity_report(folder)
    return Fidelity(folder, analysis)


def find_recordings(config: FidelityConfig) -> tuple[_Candidate, ...]:
    """Return the recordings there are, by name, also those of which it is plain that they cannot be measured.

    Raises:
        DataNotFoundError, UnknownNameError: nothing there, or nothing of that name.
    """
    path = config.data
    if not path.is_dir():
        if not path.exists():
            raise DataNotFoundError(f"no such file or folder: {path}")
        return (_Candidate(path.stem, config.exchange, config.symbol, path),)
    catalog = Catalog(path)
    sets = [d for d in catalog.data_sets if d.kind in _KINDS and (not config.exchange or d.exchange == config.exchange)]
    if config.symbol:
        sets = catalog.find(config.exchange, config.symbol, "book")
    if not sets:
        offered = sorted({d.exchange for d in catalog.data_sets if d.kind == "book"})
        what = f"nothing of {config.exchange}" if config.exchange else "no recordings"
        raise DataNotFoundError(f"{path} has {what} in book/; it has books of {', '.join(offered) or 'no exchange'}")
    by_name: dict[str, DataSet] = {}
    for data_set in sorted(sets, key=lambda d: _KINDS.index(d.kind)):
        by_name.setdefault(data_set.path.stem.rpartition("_")[0], data_set)
    listed = {d.path: d for d in catalog.data_sets}  # with the hash that the catalog's manifest expects
    return tuple(_candidate(name, data_set, listed) for name, data_set in sorted(by_name.items()))


def _candidate(name: str, data_set: DataSet, listed: Mapping[Path, DataSet]) -> _Candidate:
    files, refused = None, _WITHOUT_BOOK.get(data_set.kind, "")
    if not refused:
        try:
            trades = trades_of(data_set, "")
        except DataNotFoundError:
            refused = "a book without trades: bars are made of trades, and nothing would fill"
        else:
            files = Recording(data_set, listed.get(trades.path, trades) if trades else None)
    return _Candidate(name, data_set.exchange, data_set.symbol, files, refused)


def _measure_all(
    config: FidelityConfig, candidates: tuple[_Candidate, ...], processes: int, progress: Progress | None
) -> list[dict[str, Any] | MarketMakerLError | str]:
    """Return for each recording what was measured, or why nothing was."""
    outcomes: list[dict[str, Any] | MarketMakerLError | str] = [candidate.refused for candidate in candidates]
    open_ones = [i for i, candidate in enumerate(candidates) if not candidate.refused]
    if progress:
        progress(0, len(open_ones), "running")
    running = run_tasks(_Work(config, candidates), open_ones, processes, preload=[__name__])
    for done, (index, outcome) in enumerate(running, start=1):
        if isinstance(outcome, Exception) and not isinstance(outcome, MarketMakerLError):
            raise outcome
        outcomes[index] = outcome
        if progress:
            progress(done, len(open_ones), candidates[index].name)
    return outcomes


def _nothing_measured(candidates: Sequence[_Candidate], outcomes: Sequence[Any]) -> MarketMakerLError:
    if len(outcomes) == 1 and isinstance(outcomes[0], MarketMakerLError):
        return outcomes[0]
    reasons = "; ".join(f"{c.name}: {outcome}" for c, outcome in zip(candidates, outcomes, strict=True))
    return DataQualityError(f"none of {len(candidates)} recordings can be measured: {reasons}")


def _analysis(config: FidelityConfig, candidates: Sequence[_Candidate], outcomes: Sequence[Any]) -> dict[str, Any]:
    recordings: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for candidate, outcome in zip(candidates, outcomes, strict=True):
        entry: dict[str, Any] = {
            "name": candidate.name,
            "exchange": candidate.exchange,
            "symbol": candidate.symbol,
            "tier": None,
            "facts": None,
            "refused": "",
        }
        if isinstance(outcome, dict):
            entry |= {name: outcome[name] for name in ("exchange", "symbol", "tier", "facts")}
            rows += outcome["rows"]
        else:
            entry["refused"] = str(outcome)
        recordings.append(entry)
    return {
        "kind": KIND,
        "market": {"tier": weakest_tier(entry["tier"] for entry in recordings if entry["facts"])},
        "rules": asdict(config.rules),
        "recordings": recordings,
        "summary": summarise(rows, ("bar_s", "clock", "queue", "latency_ms")),
        "by_recording": summarise(rows, ("recording", "bar_s", "clock", "queue", "latency_ms")),
        "rows": rows,
    }


def _settled(config: FidelityConfig) -> dict[str, Any]:
    """Return the configuration as a manifest records it."""
    options: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value for name, value in asdict(config).items()
    }
    rules = options.pop("rules")
    return {"options": options | rules, "setup": {}, "seeds": [config.rules.seed]}
