"""Tapes go out as files of others and come back row for row; what a format cannot hold is refused or counted."""

import csv
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmakerl import EventTape, Instrument
from marketmakerl.core.errors import ConfigError, DataError, DataFormatError, UnknownNameError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.hftbacktest_import import read_hftbacktest
from marketmakerl.data.tape import COLUMNS, MORE, Kind
from marketmakerl.data.tape_export import decimals, export
from marketmakerl.data.tidy_parquet import read_tidy
from oracles.book import replay_tape
from tick_tapes import make_tape

INSTRUMENT = Instrument("BTC/USDT", 0.1, 0.001, "linear")
T0 = 1_700_000_000_000_000_000
PEER_PYTHON = os.environ.get("MML_PEER_PYTHON", "")  # read at import: tests run without MML_ variables
M = int(MORE)
GAP, SNAPSHOT, BID, ASK, BBO_BID, BBO_ASK, SELL, BUY, TRADE = 5, 6, 8, 9, 10, 11, 12, 13, 14


def tape_of(*rows, local=5, meta=None, instrument=INSTRUMENT):
    """Tape of rows (ns, kind with MORE, ticks, lots), received `local` later."""
    ts, kind, ticks, lots = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    meta = {"clock": "ticks", "tier": "T2", "source": "made"} | (meta or {})
    return EventTape(instrument, T0 + ts, T0 + ts + local, ticks, lots, kind.astype(np.int8), meta)


def assert_same(tape, back):
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(tape, name), getattr(back, name), err_msg=name)
        assert getattr(back, name).dtype == COLUMNS[name]


EVERYTHING = tape_of(
    (0, BUY, 1001, 7),  # before any book
    (1, SNAPSHOT | M, 0, 0),
    (1, BID | M, 1000, 10),
    (1, BID | M, 999, 0),  # a level of a snapshot that is known to be empty
    (1, ASK, 1002, 20),
    (2, BID | M, 999, 5),
    (2, ASK, 1002, 0),
    (2, SELL | M, 1000, 1),
    (2, TRADE, 1000, 2),
    (2, BBO_BID | M, 1000, 9),
    (2, BBO_ASK, 1003, 4),
    (3, BBO_ASK, 1004, 4),
    (3, GAP, 0, 0),
    (3, BID, 998, 1),  # in the gap
    (4, GAP, 0, 0),
    (4, SNAPSHOT, 0, 0),  # an empty book
    (4, SELL, 990, 3),
    (5, SNAPSHOT | M, 0, 0),
    (5, ASK, 1005, 1),
    (5, ASK, 1005, 2),
)


@pytest.fixture
def exported(tmp_path):
    return export(EVERYTHING, "parquet", tmp_path, stem="x_BTC_d")


def test_the_parquet_files_have_the_rows_of_the_schemas(exported, tmp_path):
    assert [path.relative_to(tmp_path).as_posix() for path in exported.files] == [
        "book/x_BTC_d_l2.parquet",
        "bbo/x_BTC_d_bbo.parquet",
        "trades/x_BTC_d_trades.parquet",
    ]
    book, bbo, trades = (pd.read_parquet(path) for path in exported.files)
    names = ["side", "price", "qty", "is_snapshot", "first_seq", "seq", "prev_seq"]
    assert [(t - T0, local - T0) for t, local in zip(book.ts_ns, book.ts_local_ns, strict=True)][:2] == [(1, 6), (1, 6)]
    assert book[names].to_numpy().tolist() == [
        [1, 100.0, 0.01, True, -1, 1, -1],
        [1, 99.9, 0.0, True, -1, 1, -1],
        [-1, 100.2, 0.02, True, -1, 1, -1],
        [1, 99.9, 0.005, False, 5, 5, 1],
        [-1, 100.2, 0.0, False, 5, 5, 1],
        [1, 100.5, 0.0, False, 12, 12, 12],
        [1, 99.8, 0.001, False, 13, 13, 12],
        [1, 100.5, 0.0, False, 14, 14, 14],
        [1, 100.5, 0.0, True, -1, 15, -1],
        [-1, 100.5, 0.001, True, -1, 17, -1],
        [-1, 100.5, 0.002, False, 19, 19, 17],
    ]
    assert [str(kind) for kind in book.dtypes] == [
        *("int64", "int64", "int8", "float64", "float64", "bool", "int64", "int64", "int64"),
    ]
    assert bbo.drop(columns=["ts_ns", "ts_local_ns"]).fillna(-9).to_numpy().tolist() == [
        [100.0, 0.009, 100.3, 0.004, 9],
        [-9, 0, 100.4, 0.004, 11],
    ]
    assert trades[["price", "qty", "side", "trade_id"]].to_numpy().tolist() == [
        [100.1, 0.007, 1, 0],
        [100.0, 0.001, -1, 7],
        [100.0, 0.002, 0, 7],
        [99.0, 0.003, -1, 16],
    ]
    assert exported.notes == {"best quotes of one side, NaN for the other": 1}
    assert pq.read_metadata(exported.files[0]).metadata[b"mml.tier"] == b"T2"


def test_everything_comes_back_from_parquet_and_from_npz(exported, tmp_path):
    back, report = read_tidy(exported.files[::-1], INSTRUMENT)
    assert_same(EVERYTHING, back)
    assert back.meta == EVERYTHING.meta
    assert (report.rows, report.lines, report.refused) == (17, 17, 0)
    written = export(EVERYTHING, "npz", tmp_path / "x.npz")
    back, report = read_hftbacktest(written.files[0], INSTRUMENT)
    assert_same(EVERYTHING, back)
    assert back.meta == EVERYTHING.meta
    assert (report.rows, report.lines) == (20, 20)
    assert_same(EVERYTHING, EventTape.from_hftbacktest(tmp_path / "x.npz", INSTRUMENT, clock_offset_ns=0))
    assert list(written.notes.values()) == [2, 3, 1]


def test_a_tape_never_gets_better_by_going_out_and_in(tmp_path, exported):
    assert read_tidy(exported.files, INSTRUMENT, tier="T1")[0].tier == "T2"
    assert read_tidy(exported.files[0], INSTRUMENT, tier="T1")[0].tier == "T2"  # without its trades: put together anew
    path = export(replace(EVERYTHING, meta={"tier": "T3"}), "npz", tmp_path / "x.npz").files[0]
    assert EventTape.from_hftbacktest(path, INSTRUMENT).tier == "T3"


def test_an_offset_that_is_forced_is_added_and_auto_is_not(tmp_path):
    late = tape_of((1, BID, 1000, 1), (2, ASK, 1001, 1), local=-700)
    files = export(late, "parquet", tmp_path).files
    assert_same(late, read_tidy(files, INSTRUMENT)[0])
    back, _ = read_tidy(files, INSTRUMENT, clock_offset_ns=17)
    np.testing.assert_array_equal(back.local_ts_ns, late.local_ts_ns + 17)
    with pytest.raises(ConfigError):
        read_tidy(files, INSTRUMENT, clock_offset_ns=1.5)


def test_the_events_are_those_of_hftbacktest(tmp_path):
    export(EVERYTHING, "npz", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as arrays:
        events = arrays["data"]
    buy, sell, both = 1 << 29, 1 << 28, 3 << 30
    what = [
        *(2 | buy, 3, 4 | buy, 4 | buy, 4 | sell, 1 | buy, 1 | sell, 2 | sell, 2, 5 | buy, 5 | sell, 5 | sell),
        *(3, 1 | buy, 3, 3, 2 | sell, 3, 4 | sell, 1 | sell),
    ]
    assert events["ev"].tolist() == [w | both for w in what]
    assert events["px"].tolist()[:5] == [100.1, 0.0, 100.0, 99.9, 100.2]
    assert events["qty"].tolist()[:5] == [0.007, 0.0, 0.01, 0.0, 0.02]
    assert (events["local_ts"] - events["exch_ts"]).tolist() == [5] * 20
    assert events.dtype.itemsize == 64


def test_csv_has_a_line_a_row(tmp_path):
    export(EVERYTHING, "csv", tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["ts_ns", "local_ts_ns", "kind", "more", "price", "qty"]
    for i, line in enumerate(lines):
        kind = int(EVERYTHING.kind[i])
        assert (int(line["ts_ns"]), int(line["local_ts_ns"])) == (EVERYTHING.ts_ns[i], EVERYTHING.local_ts_ns[i])
        assert (line["kind"], line["more"]) == (Kind(kind & ~M).name, "1" if kind & M else "0")
        if kind & ~M >= BID:
            ticks, lots = int(EVERYTHING.price_ticks[i]), int(EVERYTHING.qty_lots[i])
            assert (float(line["price"]), float(line["qty"])) == (
                float(f"{ticks / 10:.1f}"),
                float(f"{lots / 1000:.3f}"),
            )
        else:
            assert (line["price"], line["qty"]) == ("", "")
    assert len(lines) == 20


def test_steps_become_the_nearest_floats_of_their_decimals():
    assert decimals(np.array([3, 7, 600_001]), 0.1).tolist() == [0.3, 0.7, 60000.1]
    assert decimals(np.array([2**45 + 1, 1]), 1e-8).tolist() == [351843.72088833, 1e-8]
    assert decimals(np.array([3, 1]), 2.5).tolist() == [7.5, 2.5]
    assert decimals(np.array([3]), 10.0).tolist() == [30.0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(1, BID | M, 1000, 1), (1, SELL, 1000, 1)], "row 1 .*together"),
        ([(1, BID | M, 1000, 1), (1, SNAPSHOT | M, 0, 0), (1, BID, 1000, 1)], "row 1 .*within a message"),
        ([(1, GAP | M, 0, 0), (1, GAP, 0, 0)], "row 1 .*within a message"),
        ([(1, BBO_ASK | M, 1001, 1), (1, BBO_BID, 1000, 1)], "a bid and then an ask"),
        ([(1, BBO_BID | M, 1001, 1), (1, BBO_BID, 1000, 1)], "a bid and then an ask"),
        ([(1, GAP, 5, 0)], "row 0 .*price or quantity"),
    ],
)
def test_a_message_that_the_schemas_cannot_hold_is_refused_and_npz_holds_it(tmp_path, rows, words):
    tape = tape_of(*rows)
    with pytest.raises(DataFormatError, match=words):
        export(tape, "parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if not (tape.price_ticks[tape.kind & ~M < BID] != 0).any():
        export(tape, "npz", tmp_path / "x.npz")
        assert_same(tape, EventTape.from_hftbacktest(tmp_path / "x.npz", INSTRUMENT))


@pytest.mark.parametrize("to", ["parquet", "npz", "csv"])
def test_what_is_no_tape_of_ticks_is_refused_and_nothing_is_written(tmp_path, to):
    bars = replace(EVERYTHING, meta={"clock": "bars", "interval_ns": 1})
    backwards = replace(EVERYTHING, ts_ns=EVERYTHING.ts_ns[::-1].copy())
    for tape in (EVERYTHING.slice_rows(0, 0), backwards, *([bars] if to != "csv" else [])):
        with pytest.raises(DataFormatError):
            export(tape, to, tmp_path / "out")
    with pytest.raises(UnknownNameError):
        export(EVERYTHING, "json", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_files_that_were_changed_or_do_not_belong_together_are_refused(tmp_path, exported):
    book, bbo, trades = exported.files
    table = pq.read_table(book)
    for change in (
        table.set_column(4, "qty", [table["qty"].to_numpy() + 0.001]),
        table.slice(1),
        table.drop_columns(["seq"]),
        table.set_column(7, "seq", [table["seq"].to_numpy() + 1]),
        table.set_column(7, "seq", [table["seq"].to_numpy() * 0 + 2**60]),
    ):
        pq.write_table(change.replace_schema_metadata(table.schema.metadata), tmp_path / "book.parquet")
        with pytest.raises(DataError):
            read_tidy([tmp_path / "book.parquet", bbo, trades], INSTRUMENT)
    other = export(tape_of((1, BID, 1000, 1)), "parquet", tmp_path / "other").files[0]
    with pytest.raises(DataFormatError, match="one tape"):
        read_tidy([other, bbo, trades], INSTRUMENT)
    with pytest.raises(DataFormatError, match="tick"):
        read_tidy(exported.files, replace(INSTRUMENT, tick_size=0.25))


def test_a_finer_grid_holds_the_same_prices(exported):
    back, _ = read_tidy(exported.files, Instrument("BTC/USDT", 0.05, 0.0005))
    np.testing.assert_array_equal(back.price_ticks, 2 * EVERYTHING.price_ticks)
    np.testing.assert_array_equal(back.qty_lots, 2 * EVERYTHING.qty_lots)
    np.testing.assert_array_equal(back.kind, EVERYTHING.kind)


def test_a_damaged_npz_is_refused(tmp_path):
    path = export(EVERYTHING, "npz", tmp_path / "x.npz").files[0]
    good = path.read_bytes()
    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x5A]) + good[at + 1 :])
        try:
            back = EventTape.from_hftbacktest(path, INSTRUMENT)
        except DataError:
            continue
        if len(back) == len(EVERYTHING):  # a byte that nobody reads; or the name of the array: then it is anybody's
            np.testing.assert_array_equal(back.price_ticks[back.kind & ~M >= BID], EVERYTHING.price_ticks[
                EVERYTHING.kind & ~M >= BID])  # fmt: skip
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError):
        EventTape.from_hftbacktest(path, INSTRUMENT)


LEVEL = st.tuples(st.integers(1, 2**40 - 1) | st.integers(900, 1100), st.integers(0, 2**46 - 1) | st.integers(0, 5))
MESSAGE = st.one_of(
    st.just([(GAP, 0, 0)]),
    st.lists(LEVEL, max_size=4).map(lambda ls: [(SNAPSHOT, 0, 0), *[(BID + i % 2, *v) for i, v in enumerate(ls)]]),
    st.lists(st.tuples(st.sampled_from([BID, ASK]), LEVEL), min_size=1, max_size=4).map(
        lambda rows: [(kind, *level) for kind, level in rows]
    ),
    st.tuples(LEVEL, LEVEL).map(lambda two: [(BBO_BID, *two[0]), (BBO_ASK, *two[1])]),
    st.tuples(st.sampled_from([BBO_BID, BBO_ASK]), LEVEL).map(lambda one: [(one[0], *one[1])]),
    st.lists(st.tuples(st.sampled_from([SELL, BUY, TRADE]), LEVEL), min_size=1, max_size=3).map(
        lambda rows: [(kind, *level) for kind, level in rows]
    ),
)


@settings(max_examples=60)
@given(
    messages=st.lists(st.tuples(st.integers(0, 3), MESSAGE), min_size=1, max_size=12),
    unit=st.sampled_from([(0.1, 0.001), (0.01, 1e-8), (0.5, 1.0), (1e-5, 0.1), (0.00025, 2.5)]),
    delays=st.lists(st.integers(-5, 5), min_size=12, max_size=12),
    cut=st.booleans(),
)
def test_any_tape_comes_back(tmp_path_factory, messages, unit, delays, cut):
    tick, lot = unit
    rows, now, local = [], 0, []
    for (step, message), delay in zip(messages, delays, strict=False):
        now += step
        last = len(message) - 1
        rows += [(now, kind | (M if i < last else 0), *level) for i, (kind, *level) in enumerate(message)]
        local += [max([*local[-1:], T0 + now + delay])] * len(message)
    tape = tape_of(*rows, instrument=Instrument("A/B", tick, lot))
    tape = replace(tape, local_ts_ns=np.array(local, np.int64))
    if cut and len(tape) > 1:
        tape = tape.slice_rows(0, len(tape) - 1)  # a last message without its end
    folder = tmp_path_factory.mktemp("t")
    if tape.kind[-1] != SNAPSHOT | M:  # a head without its levels
        assert_same(tape, read_tidy(export(tape, "parquet", folder).files, tape.instrument)[0])
    assert_same(tape, EventTape.from_hftbacktest(export(tape, "npz", folder / "x.npz").files[0], tape.instrument))


@pytest.mark.parametrize("name", ["binance_BTCUSDT_2024-08-08T2354_l2", "hyperliquid_SOL_2025-09-04T1946_l2snap20"])
def test_a_recording_comes_back_and_the_plain_importer_reads_the_same(shared_data, tmp_path, name):
    stem = name.rpartition("_")[0]
    exchange, symbol, day = stem.split("_")
    instrument = lookup(exchange, symbol, at=day[:10])
    paths = [shared_data / "book" / f"{name}.parquet", shared_data / "trades" / f"{stem}_trades.parquet"]
    tape, report = read_tidy(paths, instrument)
    assert report.rows + report.refused + sum(report.ignored.values()) == report.lines
    assert report.lines == sum(pq.read_metadata(path).num_rows for path in paths)
    files = export(tape, "parquet", tmp_path, stem=stem).files
    assert_same(tape, read_tidy(files, instrument)[0])
    frames = [pd.read_parquet(path) for path in files]
    options = {"tie_order": tape.meta["tie_order"], "clock_offset_ns": 0}
    assert_same(tape, EventTape.from_book(*frames, instrument, **options))
    npz = export(tape, "npz", tmp_path / "x.npz").files[0]
    assert_same(tape, EventTape.from_hftbacktest(npz, instrument))


PEER = """
import json, sys, numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
path, tick, lot, times = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), json.load(sys.stdin)
asset = (BacktestAsset().data([path]).linear_asset(1.0).constant_order_latency(0, 0).risk_adverse_queue_model()
         .no_partial_fill_exchange().trading_value_fee_model(0, 0).tick_size(tick).lot_size(lot))
backtest = HashMapMarketDepthBacktest([asset])
backtest.elapse(1)
seen = []
for time in times:
    if time > backtest.current_timestamp:
        backtest.elapse(time - backtest.current_timestamp)
    depth = backtest.depth(0)
    px = [depth.best_bid, depth.best_ask]
    seen.append([None, None] if np.isnan(px).any() else [depth.best_bid_tick, depth.best_ask_tick])
    seen[-1] += [round(depth.best_bid_qty / lot), round(depth.best_ask_qty / lot)]
json.dump(seen, sys.stdout)
"""


def tops_at(tape, times):
    """Return what the book shows at local times, by the oracle: after every message received by then."""
    tops = list(replay_tape(tape.price_ticks.tolist(), tape.qty_lots.tolist(), tape.kind.tolist()))
    received = tape.local_ts_ns[[row for row, *_ in tops]]
    shown = [tops[at - 1] for at in np.searchsorted(received, times, side="right").tolist()]
    return [[bid, ask, bid_lots, ask_lots] for _, bid, bid_lots, ask, ask_lots in shown]


@pytest.mark.skipif(not PEER_PYTHON, reason="MML_PEER_PYTHON names no interpreter that has hftbacktest")
@pytest.mark.parametrize("name", ["made", "binanceusdm_BTCUSDT_2024-08-08T2354"])
def test_hftbacktest_reads_the_file_and_sees_the_same_book(request, tmp_path, name):
    import orjson

    if name == "made":
        tape = make_tape(120)
    else:
        folder = request.getfixturevalue("shared_data")
        paths = [folder / "book" / f"{name}_l2.parquet", folder / "trades" / f"{name}_trades.parquet"]
        tape, _ = read_tidy(paths, lookup("binanceusdm", "BTCUSDT", at="2024-08-08"))
    path = export(tape, "npz", tmp_path / "x.npz").files[0]
    ends = tape.local_ts_ns[np.flatnonzero(tape.kind & ~M == SNAPSHOT)[0] :]
    times = np.unique(ends)[1::37].tolist()
    grid = [repr(tape.instrument.tick_size), repr(tape.instrument.lot_size)]
    done = subprocess.run(
        [PEER_PYTHON, "-c", PEER, str(path), *grid], input=orjson.dumps(times), capture_output=True, check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(Path.home())}, timeout=300,
    )  # fmt: skip
    seen = orjson.loads(done.stdout)
    assert len(seen) > 50
    assert seen == tops_at(tape, times)
