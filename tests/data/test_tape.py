import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmakerl import EventTape, Instrument
from marketmakerl.core.errors import ArtifactError, DataFormatError, DataNotFoundError
from marketmakerl.data.tape import COLUMNS, MORE, VERSION, Kind
from searches import many

INSTRUMENT = Instrument("BTC/USDT", 0.1, 0.001, "linear", 1.0, 5.0)


def made(n: int, seed: int = 0) -> EventTape:
    rng = np.random.default_rng(seed)
    ts = np.cumsum(rng.integers(0, 10**9, n))
    return EventTape(
        INSTRUMENT,
        ts,
        ts + 5,
        rng.integers(1, 10**6, n),
        rng.integers(0, 10**6, n),
        rng.integers(1, 6, n).astype(np.int8),
        meta={"tier": "T1", "clock": "bars", "interval_ns": 60_000_000_000, "source": 'a "quoted" näme'},
    )


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_round_trip_is_lossless_and_mapped_read_only(tmp_path, n):
    tape = made(n)
    loaded = EventTape.load(tape.save(tmp_path / "x.tape"))
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(tape, name))
        assert getattr(loaded, name).dtype == COLUMNS[name]
    assert loaded.instrument == tape.instrument
    assert loaded.meta == tape.meta
    if n:
        with pytest.raises(ValueError, match="read-only"):
            loaded.ts_ns[0] = 1


def test_the_same_tape_gives_the_same_bytes(tmp_path):
    first, second = (made(100).save(tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("t") / "x.tape"
    content = made(50).save(path).read_bytes()
    used = content.rstrip(b"\0")  # the file ends in padding, which may be lost without harm
    path.write_bytes(content[: int(len(used) * cut)])
    with pytest.raises(DataFormatError):
        EventTape.load(path)


@settings(max_examples=many(60, 200), deadline=None)
@given(position=st.floats(0, 1), flip=st.integers(1, 255))
def test_one_flipped_byte_is_noticed_or_harmless(tmp_path_factory, position, flip):
    path = tmp_path_factory.mktemp("t") / "x.tape"
    tape = made(20)
    content = bytearray(tape.save(path).read_bytes())
    at = min(int(position * len(content)), len(content) - 1)
    content[at] ^= flip
    path.write_bytes(content)
    try:
        loaded = EventTape.load(path)
    except DataFormatError:
        return
    for name in COLUMNS:  # what still loads holds the very same events
        np.testing.assert_array_equal(getattr(loaded, name), getattr(tape, name))


def test_other_files_are_named_for_what_they_are(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such tape"):
        EventTape.load(tmp_path / "none")
    for name, content in (("empty", b""), ("text", b"ts,price\n1,2\n"), ("short", b"MMLTAPE\n\1\0")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataFormatError, match="not an event tape"):
            EventTape.load(tmp_path / name)
    (tmp_path / "new").write_bytes(b"MMLTAPE\n" + struct.pack("<II16s", 9, 0, b""))
    with pytest.raises(DataFormatError, match="version 9"):
        EventTape.load(tmp_path / "new")
    (tmp_path / "huge").write_bytes(b"MMLTAPE\n" + struct.pack("<II16s", VERSION, 2**32 - 1, b""))
    with pytest.raises(DataFormatError, match="damaged"):
        EventTape.load(tmp_path / "huge")
    with pytest.raises(DataFormatError):
        EventTape.load(tmp_path)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_flipped_bit_is_noticed_at_opening_wherever_it_is(tmp_path, column):
    """In the midst of a column of more than one page, too: nothing is sampled."""
    path = made(5000).save(tmp_path / "x.tape")
    good = path.read_bytes()
    raw = getattr(EventTape.load(path), column).tobytes()
    start = good.index(raw)
    for at in (start, start + len(raw) // 2, start + len(raw) - 1):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(DataFormatError, match=f"column {column} does not match"):
            EventTape.load(path)
        assert len(EventTape.load(path, verify=False)) == 5000


def test_no_kind_has_the_bit_of_more():
    assert all(0 < kind < MORE for kind in Kind)
    assert MORE + max(Kind) < 128


def test_saving_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match="cannot write"):
        made(3).save(tmp_path / "file" / "x.tape")


def test_columns_of_different_length_are_refused():
    good = made(3)
    with pytest.raises(DataFormatError, match="length"):
        EventTape(INSTRUMENT, good.ts_ns, good.local_ts_ns[:2], good.price_ticks, good.qty_lots, good.kind)


def test_window_never_cuts_a_bar():
    kinds = np.tile(np.array([Kind.BAR_OPEN, Kind.BAR_LOW, Kind.BAR_HIGH, Kind.BAR_CLOSE], np.int8), 5)
    minute = 60_000_000_000
    opens = np.repeat(np.arange(5) * minute, 4)
    ts = np.where(kinds == Kind.BAR_OPEN, opens, opens + minute)
    ones = np.ones(20, np.int64)
    tape = EventTape(INSTRUMENT, ts, ts, ones, ones, kinds, meta={"clock": "bars", "interval_ns": minute})
    part = tape.window(minute, 3 * minute)
    assert list(part.kind) == list(kinds[:8])
    assert part.ts_ns[0] == minute
    assert part.ts_ns[-1] == 3 * minute
