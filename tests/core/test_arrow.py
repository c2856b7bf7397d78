import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from marketmakerl.core.arrow import table_of


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1000])
def test_it_holds_what_a_frame_of_the_same_columns_would(n):
    rng = np.random.default_rng(n)
    holes = rng.standard_normal(n)
    holes[::3] = np.nan
    columns = {
        "ts_ns": np.arange(n) + 2**60,
        "side": rng.integers(-1, 2, n).astype(np.int8),
        "price": rng.standard_normal(n),
        "behind": holes,
        "purpose": np.array(["quote", "", "Ω exit"], dtype=object)[rng.integers(0, 3, n)],
        "liquidity": np.where(rng.random(n) < 0.5, "maker", "taker"),
        "every_second": np.arange(2 * n)[::2].astype(float),
    }
    expected = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False).replace_schema_metadata(None)
    made = table_of(columns)
    made.validate(full=True)
    for name in columns:
        if n or name not in {"purpose", "liquidity"}:  # pandas does not know what an empty column of texts is of
            assert made.column(name).equals(expected.column(name).cast(made.schema.field(name).type)), name


def test_what_is_neither_number_nor_text_is_refused():
    with pytest.raises(TypeError, match="datetime64"):
        table_of({"when": np.array(["2024-01-01"], "datetime64[s]")})


def test_it_needs_no_pandas():
    code = (
        "import sys, numpy as np; from marketmakerl.core.arrow import table_of; "
        "table_of({'a': np.array([1.0, np.nan]), 'b': np.array(['x', 'y'])}); print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
