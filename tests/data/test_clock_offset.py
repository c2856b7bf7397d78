import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl.data.clock_offset import FLOOR_NS, estimate, fastest_ns

MS = 1_000_000


def delays(lowest_ms, n=5000, seed=1):
    """Delays of a recorder: at least `lowest_ms`, most of them a little more, some much more."""
    return (lowest_ms * MS + np.random.default_rng(seed).exponential(3 * MS, n)).astype(np.int64)


def test_delays_that_can_be_are_left_alone():
    for values in (
        {},
        {"book": np.empty(0, np.int64)},
        {"book": delays(0)},
        {"book": delays(230), "trades": delays(40)},
    ):
        assert estimate(values) == 0


def test_the_fastest_stream_decides_and_ends_at_the_floor():
    streams = {"book": delays(-1270), "trades": delays(-1272, seed=2)}
    offset = estimate(streams)
    assert fastest_ns(streams["trades"] + offset) == FLOOR_NS
    assert abs(offset - 1273 * MS) < MS // 10


def test_one_odd_stamp_does_not_decide():
    values = delays(5)
    values[77] = -3_600_000 * MS
    assert estimate({"book": values}) == 0


@given(lowest=st.integers(-(10**6), 10**6))
def test_after_the_shift_nothing_more_is_to_do(lowest):
    values = delays(lowest, n=300)
    offset = estimate({"book": values})
    assert offset >= 0
    assert estimate({"book": values + offset}) == 0


def test_a_shift_is_said_aloud(capsys):
    estimate({"book": delays(-1270)}, "x.parquet")
    said = capsys.readouterr().err
    assert "clock_offset" in said
    assert "x.parquet" in said
    estimate({"book": delays(3)}, "x.parquet")
    assert not capsys.readouterr().err
