"""Columns of a recorded frame as numpy arrays, or an error that names the column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.core.errors import DataFormatError, DataQualityError
from marketmakerl.data.quality import MAX_TS_MS, MIN_TS_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

NOT_RECORDED = -1
_DTYPES = {"int": np.int64, "float": np.float64, "bool": np.bool_}


def read_columns(frame: pd.DataFrame, columns: Mapping[str, str], what: str) -> dict[str, npt.NDArray[Any]]:
    """Return the columns as int64, float64 and bool arrays.

    Args:
        frame: at least one row.
        columns: name -> "int", "float" or "bool". Others in the frame are left alone.
        what: names the frame in errors.

    Raises:
        DataFormatError: no frame, no rows, a column missing, twice there, or of another type.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DataFormatError(f"{what} must be a pandas DataFrame, got {type(frame).__name__}")
    names = list(frame.columns)
    missing = [name for name in columns if names.count(name) != 1]
    if missing:
        raise DataFormatError(
            f"{what} needs each of {', '.join(columns)} once; wrong: {', '.join(missing)}; "
            f"there are: {', '.join(map(str, names)) or 'none'}"
        )
    if frame.empty:
        raise DataFormatError(f"{what} has no rows")
    return {name: _column(frame[name], dtype, f"{what}, {name}") for name, dtype in columns.items()}


def _column(series: pd.Series[Any], dtype: str, what: str) -> npt.NDArray[Any]:
    kinds = {"int": "iu", "float": "fiu", "bool": "b"}[dtype]
    if getattr(series.dtype, "kind", "O") not in kinds:
        raise DataFormatError(f"{what} must be of type {dtype}, got {series.dtype}")
    try:
        return series.to_numpy(_DTYPES[dtype])
    except (TypeError, ValueError) as error:  # a missing value in a nullable column
        raise DataFormatError(f"{what}: {error}") from error


def time_sent(ts_ns: Ints, what: str, may_lack: npt.NDArray[np.bool_] | None = None) -> Ints:
    """Return exchange times after checking that they are nanoseconds UTC; -1 only in the rows of `may_lack`.

    Raises:
        DataFormatError: a time outside 2009 to 2100.
    """
    bad = (ts_ns < MIN_TS_MS * NS_PER_MS) | (ts_ns > MAX_TS_MS * NS_PER_MS)
    if may_lack is not None:
        bad &= ~(may_lack & (ts_ns == NOT_RECORDED))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataFormatError(f"{what}, row {row}: ts_ns {ts_ns[row]} is no time in nanoseconds UTC")
    return ts_ns


def time_of_receipt(local_ns: Ints, what: str) -> Ints | None:
    """Return the times of receipt, nanoseconds UTC by the recorder's clock; None where none was recorded (-1).

    Raises:
        DataFormatError: a time outside 2009 to 2100.
        DataQualityError: recorded for some rows only.
    """
    absent = local_ns == NOT_RECORDED
    if absent.all():
        return None
    if absent.any():
        raise DataQualityError(f"{what}, row {int(np.argmax(absent))}: ts_local_ns is recorded for other rows only")
    bad = (local_ns < MIN_TS_MS * NS_PER_MS) | (local_ns > MAX_TS_MS * NS_PER_MS)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataFormatError(f"{what}, row {row}: ts_local_ns {local_ns[row]} is no time in nanoseconds UTC")
    return local_ns
