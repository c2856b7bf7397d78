import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl.core.errors import ConfigError
from marketmakerl.data.clock_offset import ASSUMED, FLOOR_NS, checked_offset, on_exchange_clock, running_offset

MS = 1_000_000
T0 = 1_700_000_000_000_000_000


def delays(lowest_ms, n=5000, seed=1):
    """Delays of a recorder: at least `lowest_ms`, most of them a little more, some much more."""
    return (lowest_ms * MS + np.random.default_rng(seed).exponential(3 * MS, n)).astype(np.int64)


def set_right(delay, *, step_ms=10, offset_ns=None, timed=None, received=None):
    """Return (exchange times, receipts on the exchange's clock, meta) of messages `step_ms` apart."""
    delay = np.asarray(delay, np.int64)
    ts = T0 + step_ms * MS * np.arange(len(delay))
    every = np.ones(len(delay), np.bool_)
    meta = {}
    local = on_exchange_clock(
        *(ts, ts + delay, every if received is None else received, every if timed is None else timed),
        offset_ns=offset_ns,
        source="x.parquet",
        meta=meta,
    )
    return ts, local, meta


def test_delays_that_can_be_are_left_alone():
    for values in ([], delays(0), delays(230), [0, 0, 5]):
        ts, local, meta = set_right(values)
        np.testing.assert_array_equal(local, np.maximum.accumulate(ts + np.asarray(values, np.int64)))
        assert (meta["clock_offset_ns"], meta["clock_offset_first_ns"], ASSUMED in meta) == (0, 0, False)


def test_by_hand():
    """The second-fastest so far takes 1 ms, and what came before it was sent takes at least that."""
    ts, local, meta = set_right([-8 * MS, -5 * MS, -7 * MS, -1 * MS, -9 * MS, -6 * MS])
    #       second-fastest so far: none,  -5,      -7,      -7,     -8,      -8
    #       added:                    0,   6,       8,       8,      9,       9
    assert (local - ts).tolist() == [MS, 1 * MS, 1 * MS, 7 * MS, 1 * MS, 3 * MS]
    assert (meta["clock_offset_first_ns"], meta["clock_offset_ns"]) == (6 * MS, 9 * MS)
    assert meta["receipt_raised"] == 2  # the first, and the fifth, which is the fastest of all
    assert "6.000 ms at first, 9.000 ms at the end" in meta[ASSUMED][0]


def test_rows_of_one_message_count_once_and_only_those_with_both_times():
    ts = T0 + MS * np.array([0, 0, 0, 10, 20])
    local = ts - np.array([9, 9, 9, 5, 7]) * MS
    every = np.ones(5, np.bool_)
    assert (running_offset(ts, local, every) // MS).tolist() == [0, 0, 0, 6, 8]
    assert (running_offset(ts, local, np.array([False, False, False, True, True])) // MS).tolist() == [0, 0, 0, 0, 6]
    assert not running_offset(ts, local, ~every).any()


def test_what_was_not_received_is_left_alone():
    received = np.array([True, False, True, True])
    ts, local, meta = set_right([-8 * MS, 0, -8 * MS, -8 * MS], received=received, timed=received)
    assert (local - ts).tolist() == [MS, 0, MS, MS]
    assert meta["receipt_raised"] == 1


def test_one_odd_stamp_does_not_decide():
    values = delays(5)
    values[77] = -3_600_000 * MS
    ts, local, meta = set_right(values)
    assert meta["clock_offset_ns"] == 0
    others = np.arange(len(values)) != 77
    np.testing.assert_array_equal(local[others], np.maximum.accumulate(ts + np.where(others, values, 0))[others])
    assert local[77] >= ts[77] + FLOOR_NS


@given(
    st.lists(st.integers(-2000, 500), min_size=1, max_size=60), st.integers(1, 100), st.integers(0, 60), st.booleans()
)
def test_it_is_causal_never_runs_back_and_never_before_the_sending(values, step_ms, cut, untimed):
    timed = np.arange(len(values)) % 3 != 1 if untimed else None
    ts, local, meta = set_right(np.array(values) * MS, step_ms=step_ms, timed=timed)
    _, short, _ = set_right(np.array(values[:cut]) * MS, step_ms=step_ms, timed=None if timed is None else timed[:cut])
    np.testing.assert_array_equal(short, local[:cut])
    assert (np.diff(local) >= 0).all()
    assert (local >= ts).all()
    assert (local >= ts + np.array(values) * MS).all()  # a shift is never to an earlier time
    assert 0 <= meta["clock_offset_first_ns"] <= meta["clock_offset_ns"]
    again = {}
    every = np.ones(len(ts), np.bool_)
    np.testing.assert_array_equal(
        on_exchange_clock(ts, local, every, every, offset_ns=None, source="", meta=again), local
    )
    assert again["clock_offset_ns"] == 0


def test_a_given_offset_is_added_whatever_comes_of_it():
    ts, local, meta = set_right([-8 * MS, -5 * MS], offset_ns=3 * MS)
    assert (local - ts).tolist() == [-5 * MS, -2 * MS]
    assert (meta["clock_offset_ns"], meta["receipt_raised"], ASSUMED in meta) == (3 * MS, 0, False)
    assert (checked_offset("auto"), checked_offset(np.int64(7))) == (None, 7)
    for wrong in (1.5, True, "later", None):
        with pytest.raises(ConfigError, match="clock_offset_ns"):
            checked_offset(wrong)


def test_a_shift_is_said_aloud(capsys):
    set_right(delays(-1270))
    said = capsys.readouterr().err
    assert "clock_offset" in said
    assert "x.parquet" in said
    set_right(delays(3))
    assert not capsys.readouterr().err
