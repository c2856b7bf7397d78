"""Arrow tables straight from numpy: pyarrow's own way there loads pandas, half a second that a run need not pay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt


def table_of(columns: Mapping[str, npt.NDArray[Any]]) -> pa.Table:
    """Return columns of whole numbers, floats and texts as a table; NaN becomes null, as pandas would have it.

    Raises:
        TypeError: a column of another type.
    """
    return pa.table({name: _array(np.asarray(values)) for name, values in columns.items()})


def _array(values: npt.NDArray[Any]) -> pa.Array:
    kind = values.dtype.kind
    if kind in "OU":
        encoded = [str(value).encode() for value in values.tolist()]
        ends = np.zeros(len(encoded) + 1, np.int32)
        np.cumsum([len(one) for one in encoded], out=ends[1:])
        return pa.Array.from_buffers(
            pa.string(), len(encoded), [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(encoded))]
        )
    if kind not in "iuf":
        raise TypeError(f"a column of {values.dtype} is neither numbers nor texts")
    missing = np.isnan(values) if kind == "f" else np.zeros(0, bool)
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes()) if missing.any() else None
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(values.dtype), len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))]
    )
