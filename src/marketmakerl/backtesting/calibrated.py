"""Parameters from a calibration file, for a run on data that lie behind those it was made of: nothing looks ahead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.core.artifacts import sha256_of
from marketmakerl.core.clock import iso_utc
from marketmakerl.core.errors import ConfigError
from marketmakerl.data.tape import Kind
from marketmakerl.data.tick_windows import row_at

if TYPE_CHECKING:
    from marketmakerl.data.tape import EventTape
    from marketmakerl.models.bar_calibration import BarEstimate
    from marketmakerl.models.calibration import Calibration


def given_estimate(path: str, tape: EventTape) -> tuple[BarEstimate, int, dict[str, Any]]:
    """Return what a calibration says, and the first row of a tape that it does not know.

    Args:
        path: what `Calibration.save` wrote.
        tape: what is to be traded, of ticks or bars.

    Returns:
        The estimate; the row from which on the tape may be traded (a whole bar, or a whole message); and a JSON-ready
        record: file, data_hash, last, and adverse_move_bps where it was measured.

    Raises:
        ConfigError: of another symbol, sigma or k refused, or data that reach up to the end of the tape or beyond.
        DataNotFoundError, DataFormatError: see `load_calibration`.
    """
    made = _load(path)
    symbol = tape.instrument.symbol
    if made.symbol != symbol:
        raise ConfigError(f"{path} is a calibration of {made.symbol}, and the run trades {symbol}")
    row = row_at(tape, made.last_ns + 1)
    if tape.is_bars:
        opens = np.flatnonzero(tape.kind == Kind.BAR_OPEN)
        later = opens[np.asarray(tape.ts_ns)[opens] >= made.last_ns]
        row = int(later[0]) if len(later) else len(tape)
    if row >= len(tape):
        raise ConfigError(
            f"{path} was made of data up to {iso_utc(made.last_ns)}, and the run ends {iso_utc(int(tape.ts_ns[-1]))}: "
            "that would look ahead; calibrate on earlier data (mml calibrate --share 0.5 takes the first half)"
        )
    record: dict[str, Any] = {"file": Path(path).name, "data_hash": made.data_hash, "last": iso_utc(made.last_ns)}
    if made.estimates.get("adverse_move") is not None:
        # What the mid moves against fills; where it moved in their favour, nothing is expected of it.
        record["adverse_move_bps"] = 1e4 * max(made.adverse_move, 0.0) / made.mid
    return made.estimate(), row, record


def calibration_entry(path: str) -> dict[str, Any]:
    """Return a calibration as a data set of a manifest: a run is repeated with the same file or not at all."""
    made = _load(path)
    first, last = iso_utc(made.first_ns), iso_utc(made.last_ns)
    return {
        "symbol": made.symbol,
        "kind": "calibration",
        "file": Path(path).name,
        "sha256": sha256_of(Path(path)),
        "tier": made.tier,
        "first": first,
        "last": last,
    }


def _load(path: str) -> Calibration:
    from marketmakerl.models.calibration import load_calibration  # noqa: PLC0415  (scipy: only where there is a file)

    return load_calibration(Path(path))
