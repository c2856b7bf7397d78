"""Binance's public dumps: with and without a header, in milliseconds and microseconds, spot and futures."""

import hashlib
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmakerl import Instrument
from marketmakerl.core.errors import ConfigError, DataError, DataFormatError, DataNotFoundError, DataQualityError
from marketmakerl.data.binance_dumps import (
    AGG_TRADES,
    KLINES,
    agg_trades_frame,
    read_agg_trades,
    read_klines,
)
from marketmakerl.data.importers import detect
from marketmakerl.data.tape import Kind
from searches import many

SPOT = Instrument("BTC/USDT", 0.01, 0.00001)
MS0 = 1_735_689_600_000  # 2025-01-01
MINUTE = 60_000
KLINE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
SPOT_TRADE_HEADER = ""  # spot dumps have none
FUTURES_HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"


def bar(minute, prices=(100.0, 101.0, 99.5, 100.5), volume=2.5, *, unit=1, quote=250.0):
    opened = (MS0 + minute * MINUTE) * unit
    return ",".join(map(str, [opened, *prices, volume, opened + MINUTE * unit - 1, quote, 7, 1.0, 100.0, 0]))


def put(folder, name, lines, header="", *, end="\n"):
    """Write a zip as Binance does, the CSV of its own name in it."""
    path = folder / f"{name}.zip"
    text = "\n".join([header, *lines] if header else lines) + end
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", text)
    return path


def accounted(report):
    return report.rows + report.refused + sum(report.ignored.values()) == report.lines


BARS = [bar(0), bar(1, (100.5, 100.5, 100.5, 100.5), 0), bar(4, (100.5, 103.0, 100.0, 102.0), 1)]


@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("header", ["", KLINE_HEADER])
def test_klines_become_bars_by_hand(tmp_path, unit, header):
    lines = [bar(0, unit=unit), bar(1, (100.5,) * 4, 0, unit=unit), bar(4, (100.5, 103.0, 100.0, 102.0), 1, unit=unit)]
    path = put(tmp_path, "BTCUSDT-1m-2025-01-01", lines, header)
    tape, report = read_klines(path, SPOT)
    rows = zip(
        ((tape.ts_ns // 1_000_000 - MS0) / MINUTE).tolist(),
        [Kind(kind).name for kind in tape.kind.tolist()],
        tape.price_ticks.tolist(),
        tape.qty_lots.tolist(),
        strict=True,
    )
    assert list(rows) == [
        (0, "BAR_OPEN", 10000, 0),
        (1, "BAR_LOW", 9950, 125000),
        (1, "BAR_HIGH", 10100, 125000),
        (1, "BAR_CLOSE", 10050, 250000),
        (1, "BAR_OPEN", 10050, 0),
        (2, "BAR_LOW", 10050, 0),
        (2, "BAR_HIGH", 10050, 0),
        (2, "BAR_CLOSE", 10050, 0),
        (2, "GAP", 10050, 0),
        (4, "BAR_OPEN", 10050, 0),
        (5, "BAR_LOW", 10000, 50000),
        (5, "BAR_HIGH", 10300, 50000),
        (5, "BAR_CLOSE", 10200, 100000),
    ]
    assert (tape.tier, tape.interval_ns, tape.meta["gaps"]) == ("T1", MINUTE * 1_000_000, 1)
    assert (report.rows, report.lines, report.format) == (3, 3 + bool(header), KLINES)
    assert accounted(report)
    assert detect(path) == "binance-klines"


def test_months_are_put_in_order_and_repeated_bars_once(tmp_path):
    paths = [put(tmp_path, "b", [bar(2), bar(3)]), put(tmp_path, "a", [bar(0), bar(1), bar(2)], KLINE_HEADER)]
    tape, report = read_klines(paths, SPOT)
    assert (len(tape), tape.meta["gaps"]) == (16, 0)
    assert report.as_dict()["refused"] == {"duplicate": 1}
    assert [(e.line, e.source) for e in report.examples] == [(1, str(paths[0]))]
    assert accounted(report)


def test_a_coin_margined_contract_counts_its_base_units_elsewhere(tmp_path):
    inverse = Instrument("BTC/USD:BTC", 0.1, 1.0, "inverse", contract_size=100.0)
    tape, _ = read_klines(put(tmp_path, "x", [bar(0, (50000.0,) * 4, 1500, quote=3.0)]), inverse)
    assert tape.qty_lots.tolist()[-1] == 1500


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (bar(5).replace("100.5", "x"), "bad-field"),
        (bar(5).replace("100.5", "nan"), "bad-field"),
        (bar(5).replace("100.5", "-1"), "bad-price"),
        (bar(5, volume=-2), "bad-quantity"),
        (bar(5)[:40], "torn-line"),
        (bar(5, unit=1000), "bad-time"),
        (bar(5).replace("1735689900000", "1735689900000000"), "bad-time"),
    ],
)
def test_a_line_that_is_no_bar_leaves_a_hole(tmp_path, line, code):
    lines = [*map(bar, range(5)), line, *map(bar, range(6, 9))]
    tape, report = read_klines(put(tmp_path, "x", lines), SPOT)
    assert [(e.line, e.code) for e in report.examples] == [(6, code)]
    assert tape.meta["gaps"] == 1
    assert accounted(report)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([bar(0), bar(1, (100, 99, 101, 100))], "line 2: low_above"),
        ([bar(1), bar(0)], "line 2: time_backwards"),
        ([bar(0), bar(0, volume=9)], "line 2: conflict"),
    ],
)
def test_bars_that_cannot_be_are_refused_with_file_and_line(tmp_path, lines, words):
    with pytest.raises(DataQualityError, match=f"x.zip, {words}"):
        read_klines(put(tmp_path, "x", lines), SPOT)


def trade(i, price=100.01, qty=0.5, ms=0, maker="True", *, unit=1, best=",True"):
    return f"{i},{price},{qty},{10 * i},{10 * i + 2},{(MS0 + ms) * unit},{maker}{best}"


@pytest.mark.parametrize(("unit", "header", "best"), [(1, "", ",True"), (1000, "", ",True"), (1, FUTURES_HEADER, "")])
def test_agg_trades_by_hand(tmp_path, unit, header, best):
    made = {"unit": unit, "best": best}
    lines = [
        trade(1, **made),
        trade(2, 100.02, 1, 5, "false" if header else "False", **made),
        trade(4, 99, 2, 5, **made),
        trade(1, **made),
    ]
    path = put(tmp_path, "BTCUSDT-aggTrades-2025-01-01", lines, header)
    tape, report = read_agg_trades(path, SPOT)
    assert (tape.ts_ns // 1_000_000 - MS0).tolist() == [0, 5, 5]
    np.testing.assert_array_equal(tape.local_ts_ns, tape.ts_ns)
    assert tape.price_ticks.tolist() == [10001, 10002, 9900]
    assert tape.qty_lots.tolist() == [50000, 100000, 200000]
    assert [Kind(kind).name for kind in tape.kind.tolist()] == ["TRADE_SELL", "TRADE_BUY", "TRADE_SELL"]
    assert (tape.meta["id_gaps"], tape.meta["receipt"]) == (1, "not recorded")
    assert report.as_dict()["refused"] == {"duplicate": 1}
    assert accounted(report)
    assert detect(path) == AGG_TRADES
    assert list(agg_trades_frame(path, SPOT)[0]) == ["ts_ns", "ts_local_ns", "price", "qty", "side", "trade_id"]


def test_a_trade_told_twice_in_two_ways_is_refused(tmp_path):
    with pytest.raises(DataQualityError, match="line 2: trade 1"):
        read_agg_trades(put(tmp_path, "x", [trade(1), trade(1, qty=2)]), SPOT)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (trade(9, 100.015), "off-tick"),
        (trade(9, 0), "bad-price"),
        (trade(9, qty=0), "bad-quantity"),
        (trade(9, qty=0.000001), "off-lot"),
        (trade(9, maker="maybe"), "bad-field"),
        (trade(-9), "bad-id"),
        (trade(9, unit=1000), "bad-time"),
    ],
)
def test_a_line_that_is_no_trade_is_refused_and_located(tmp_path, line, code):
    tape, report = read_agg_trades(put(tmp_path, "x", [trade(1), trade(2), line, trade(10)]), SPOT)
    assert len(tape) == 3
    assert [(e.line, e.code) for e in report.examples] == [(3, code)]
    assert accounted(report)


def test_the_checksum_beside_a_file_must_match(tmp_path):
    path = put(tmp_path, "x", BARS)
    beside = tmp_path / "x.zip.CHECKSUM"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    beside.write_text(f"{digest}  x.zip\n")
    read_klines(path, SPOT)
    for wrong in (f"{'0' * 64}  x.zip\n", f"{digest}  y.zip\n", "rubbish", ""):
        beside.write_text(wrong)
        with pytest.raises(DataFormatError, match="CHECKSUM"):
            read_klines(path, SPOT)


def test_files_that_are_none_are_refused_whole(tmp_path):
    good = put(tmp_path, "good", [bar(i) for i in range(200)]).read_bytes()
    for content in (
        b"",
        b"\n",
        b"PK\x03\x04",
        good[: len(good) // 2],
        good[:-30],
        b"a,b\n1,2\n",
        KLINE_HEADER.encode(),
    ):
        (tmp_path / "x.zip").write_bytes(content)
        for reader in (read_klines, read_agg_trades):
            with pytest.raises(DataFormatError):
                reader(tmp_path / "x.zip", SPOT)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", bar(0))
        archive.writestr("b.csv", bar(1))
    with pytest.raises(DataFormatError, match="holds 2"):
        read_klines(tmp_path / "two.zip", SPOT)
    with pytest.raises(DataNotFoundError):
        read_klines(tmp_path / "none.zip", SPOT)
    with pytest.raises(ConfigError):
        read_klines(put(tmp_path, "y", BARS), SPOT, clock_offset_ns=5)


TEXT = ("\n".join([KLINE_HEADER, *map(bar, range(20))]) + "\n").encode()
TRADE_TEXT = ("\n".join(trade(i, ms=i) for i in range(1, 20)) + "\n").encode()


@settings(max_examples=many(40, 120))
@given(data=st.data(), klines=st.booleans(), zipped=st.booleans())
def test_a_mutilated_file_gives_an_error_or_a_tape_with_every_line_accounted(tmp_path_factory, data, klines, zipped):
    folder = tmp_path_factory.mktemp("t")
    text = TEXT if klines else TRADE_TEXT
    at, size = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 60))
    what = data.draw(st.sampled_from([b"", b"\xff\0", b"nan", b",", b"\n", b"-", b"9" * 400, b'"', b"\r", b"true"]))
    cut = data.draw(st.booleans())
    text = text[:at] + (b"" if cut else what + text[at + size :])
    path = folder / "x.zip"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.csv", text)
        raw = bytearray(path.read_bytes())
        if data.draw(st.booleans()):
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 + data.draw(st.integers(0, 254))
            path.write_bytes(raw)
    else:
        path.write_bytes(text)
    try:
        tape, report = (read_klines if klines else read_agg_trades)(path, SPOT)
    except (DataError, ConfigError):
        return
    assert accounted(report), report.as_dict()
    assert len(tape)
    assert (np.diff(tape.ts_ns) >= 0).all()
    good = {10000, 10001, 10050, 10100, 9950}
    assert report.refused or set(tape.price_ticks.tolist()) <= good or not cut
