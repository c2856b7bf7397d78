"""The parameters of models and worlds from recorded data, with standard errors, or the reason why there is none.

    calibration = calibrate(tape)
    calibration.sigma, calibration.k, calibration.arrival_rate      numbers; ConfigError with the reason if refused
    calibration.estimates["k"]                                      Estimate(value, std_error, unit, method, n) or None
    calibration.reasons                                             why an estimate is None
    calibration.save(path); load_calibration(path)

What is estimated, and how: docs/calibration.md. From ticks: volatility, arrival curve, Hawkes, spread, depth, order
size, adverse selection. From bars: volatility, and the curve as an approximation that says so (`approximate`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xxhash

from marketmakerl.core.artifacts import write_json
from marketmakerl.core.clock import iso_utc
from marketmakerl.core.errors import ConfigError, DataQualityError
from marketmakerl.models.bar_calibration import BarEstimate
from marketmakerl.models.calibration_file import SCHEMA, read_calibration
from marketmakerl.models.calibration_steps import Work, from_bars, from_ticks
from marketmakerl.models.hawkes import HawkesRates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path as FilePath

    from marketmakerl.data.tape import EventTape
    from marketmakerl.models.estimate import Estimate

    Progress = Callable[[str], None]

_HASH_COLUMNS: Final = ("ts_ns", "price_ticks", "qty_lots", "kind")


@dataclass(frozen=True)
class Calibration:
    """What recorded data say about a market.

    Attributes:
        source: what was recorded, e.g. "binanceusdm BTCUSDT".
        symbol: of the instrument.
        tier: of the data, T0 to T3.
        clock: "ticks" or "bars".
        first_ns, last_ns: the span of the data; a run that trades inside it looks ahead.
        observed_s: seconds of it that were observed, gaps left out.
        tick_size, lot_size: of the instrument.
        mid: the last mid (bars: the last close), price units.
        data_hash: XXH3-128 of the tape's columns.
        estimates: by name; None where the data do not say, and then `reasons` has why.
        reasons: by name.
        details: curves and goodness of fit, JSON-ready: signature, curve, profile, hawkes, spread, depth, sizes.
        approximate: what is an approximation by declaration, "" for nothing.
        data: one JSON-ready entry a file.
    """

    source: str
    symbol: str
    tier: str
    clock: str
    first_ns: int
    last_ns: int
    observed_s: float
    tick_size: float
    lot_size: float
    mid: float
    data_hash: str
    estimates: dict[str, Estimate | None]
    reasons: dict[str, str]
    details: dict[str, Any] = field(default_factory=dict)
    approximate: str = ""
    data: list[dict[str, Any]] = field(default_factory=list)

    def value(self, name: str) -> float:
        """Return the value of an estimate.

        Raises:
            ConfigError: it was refused, or there is none of that name.
        """
        estimate = self.estimates.get(name)
        if estimate is None:
            known = ", ".join(sorted(key for key, made in self.estimates.items() if made is not None))
            why = self.reasons.get(name, f"there is no such estimate; it has {known or 'none'}")
            raise ConfigError(f"the calibration of {self.source} has no {name}: {why}")
        return estimate.value

    @property
    def sigma(self) -> float:
        """Return the volatility, price units per sqrt(s): below the noise of ticks where it could be, else realised."""
        return self.value("sigma")

    @property
    def arrival_rate(self) -> float:
        """Return A of A e^(-k delta), per second and side."""
        return self.value("arrival_rate")

    @property
    def k(self) -> float:
        """Return the decay of the arrival curve, per price unit."""
        return self.value("k")

    @property
    def adverse_move(self) -> float:
        """Return the immediate move of the mid against a maker, price units an order."""
        return self.value("adverse_move")

    @property
    def hawkes(self) -> HawkesRates | None:
        """Return baseline, excitation and decay of orders on one side (1/s), None where they were refused."""
        names = ("hawkes.baseline", "hawkes.excitation", "hawkes.decay")
        made = [self.estimates.get(name) for name in names]
        if any(estimate is None for estimate in made):
            return None
        return HawkesRates(*(self.value(name) for name in names))

    def estimate(self) -> BarEstimate:
        """Return what models are set by: sigma, k, how many observations k rests on, and A where they take it.

        Raises:
            ConfigError: one of them was refused.
        """
        k = self.estimates.get("k")
        given: dict[str, Any] = {"sigma": self.sigma, "k": self.k, "bars": k.n if k else 0}
        if "arrival_rate" in {made.name for made in fields(BarEstimate)}:
            given["arrival_rate"] = self.arrival_rate
        return BarEstimate(**given)

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready."""
        made = asdict(self)
        span = {"first": iso_utc(self.first_ns), "last": iso_utc(self.last_ns)}
        return {"schema": SCHEMA} | made | span

    def save(self, path: FilePath) -> FilePath:
        """Write it as JSON, atomically.

        Raises:
            ArtifactError: the file cannot be written.
        """
        write_json(path, self.as_dict())
        return path


def load_calibration(path: FilePath) -> Calibration:
    """Read what `Calibration.save` wrote.

    Raises:
        DataNotFoundError: no such file.
        DataFormatError: not a calibration, another version, a field that is missing, of the wrong type or not finite.
    """
    return Calibration(**read_calibration(path))


def calibrate(
    tape: EventTape,
    *,
    delta_min: float | None = None,
    data: Sequence[dict[str, Any]] = (),
    progress: Progress | None = None,
) -> Calibration:
    """Estimate what a tape of ticks or bars says about its market.

    Args:
        tape: of ticks or bars.
        delta_min: distance from the mid, price units, from which on the arrival curve is fitted; None: the half-spread
            that 90 % of the time stays at or below. Ticks only.
        data: one JSON-ready entry a file the tape was made of, kept in the calibration.
        progress: called with the name of each step before it begins.

    Raises:
        DataQualityError: the tape has nothing to estimate from: no rows, or never a bid and an ask at once.
        DataFormatError: rows that are none.
        ConfigError: `delta_min` not > 0, or given for bars.
    """
    if delta_min is not None and not 0 < delta_min < math.inf:
        raise ConfigError(f"delta_min must be a finite number > 0, got {delta_min!r}")
    if delta_min is not None and tape.is_bars:
        raise ConfigError("delta_min is for ticks: bars know no distance from the mid")
    source = str(tape.meta.get("source", "")) or tape.instrument.symbol
    if len(tape) == 0:
        raise DataQualityError(f"{source}: the tape holds no events; there is nothing to calibrate on")
    work = Work(progress or (lambda _step: None))
    if tape.is_bars:
        observed_s, mid = from_bars(work, tape, source)
    else:
        observed_s, mid = from_ticks(work, tape, source, delta_min)
    return Calibration(
        source=source,
        symbol=tape.instrument.symbol,
        tier=tape.tier,
        clock="bars" if tape.is_bars else "ticks",
        first_ns=int(tape.ts_ns[0]),
        last_ns=int(tape.ts_ns[-1]),
        observed_s=observed_s,
        tick_size=tape.instrument.tick_size,
        lot_size=tape.instrument.lot_size,
        mid=mid,
        data_hash=_hash(tape),
        estimates=work.estimates,
        reasons=work.reasons,
        details=work.details,
        approximate="bars: k is from excursions beyond the last close, arrival_rate one chance a bar"
        if tape.is_bars
        else "",
        data=list(data),
    )


def _hash(tape: EventTape) -> str:
    digest = xxhash.xxh3_128()
    for name in _HASH_COLUMNS:
        digest.update(np.ascontiguousarray(getattr(tape, name)).data.cast("B"))
    return digest.hexdigest()
