import numpy as np
import pandas as pd
import pytest

from marketmakerl import EventTape, Instrument
from marketmakerl.core.errors import DataError, DataFormatError, DataQualityError
from marketmakerl.data.tape import Kind

INSTRUMENT = Instrument("BTC/USDT", 0.5, 0.01)
MINUTE_NS = 60_000_000_000


def klines(*rows) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["ts_ms", "open", "high", "low", "close", "volume"])
    return frame.astype({"ts_ms": "int64"}).astype(dict.fromkeys(frame.columns[1:], "float64"))


GOOD = ((0, 100, 101.5, 99, 101, 2.0), (60_000, 101, 102, 100.5, 100.5, 3.005), (240_000, 100, 100, 99, 99.5, 0))


def shifted(rows, ms: int):
    return tuple((row[0] + ms, *row[1:]) for row in rows)


def test_a_bar_becomes_open_low_high_close_and_a_hole_becomes_a_gap():
    start_ms = 1_700_000_040_000
    tape = EventTape.from_klines(klines(*shifted(GOOD, start_ms)), INSTRUMENT)
    bar = [Kind.BAR_OPEN, Kind.BAR_LOW, Kind.BAR_HIGH, Kind.BAR_CLOSE]
    assert list(tape.kind) == [*bar, *bar, Kind.GAP, *bar]
    assert list(tape.price_ticks[:4]) == [200, 198, 203, 202]
    assert list(tape.qty_lots[:8]) == [0, 100, 100, 200, 0, 150, 150, 300]
    start_ns = start_ms * 10**6
    assert list(tape.ts_ns[:5] - start_ns) == [0, MINUTE_NS, MINUTE_NS, MINUTE_NS, MINUTE_NS]
    assert tape.ts_ns[8] - start_ns == 2 * MINUTE_NS  # known from the second close on
    assert np.all(np.diff(tape.ts_ns) >= 0)
    assert tape.meta["gaps"] == 1
    assert tape.interval_ns == MINUTE_NS
    assert tape.tier == "T1"


def test_prices_off_the_tick_are_rounded_against_the_maker():
    start = 1_700_000_040_000
    tape = EventTape.from_klines(
        klines((start, 100.1, 101.4, 99.2, 100.3, 1), (start + 60_000, 100.2, 100.3, 100.2, 100.3, 1)), INSTRUMENT
    )
    low, high = tape.price_ticks[1] * 0.5, tape.price_ticks[2] * 0.5
    assert (low, high) == (99.5, 101.0)  # fewer orders fill than on the raw prices
    assert list(tape.price_ticks[5:8] * 0.5) == [100.5, 100.0, 100.5]  # narrower than a tick: traded through nothing


@pytest.mark.parametrize(
    ("column", "row", "value", "code"),
    [
        ("close", 1, np.nan, "not_finite"),
        ("high", 0, np.inf, "not_finite"),
        ("low", 1, 0.0, "non_positive_price"),
        ("open", 1, -5.0, "non_positive_price"),
        ("volume", 0, -1.0, "negative_volume"),
        ("high", 0, 50.0, "low_above_high"),
        ("ts_ms", 1, 1_600_000_020_000, "time_backwards"),
    ],
)
def test_what_is_wrong_is_named_with_row_and_time(column, row, value, code):
    frame = klines(*shifted(GOOD, 1_700_000_040_000))
    frame.loc[row, column] = value
    with pytest.raises(DataQualityError, match=r"bars\.parquet.*row") as caught:
        EventTape.from_klines(frame, INSTRUMENT, interval_ms=60_000, source="bars.parquet")
    assert any(f.code == code and f.row == row for f in caught.value.findings)
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "frame",
    [
        klines(),
        klines(*GOOD).drop(columns="close"),
        klines(*GOOD).astype({"close": "object"}).assign(close="x"),
        klines((1_700_000_040_000, 1, 1, 1, 1, 1)),
        klines((1_700_000_040_000, 1, 1, 1, 1, 1), (1_700_000_050_000, 1, 1, 1, 1, 1)),
    ],
    ids=["empty", "missing column", "text", "one bar without interval", "shorter than the interval"],
)
def test_what_is_no_bar_series_is_refused(frame):
    interval_ms = 60_000 if len(frame) == 2 else None
    with pytest.raises(DataError):
        EventTape.from_klines(frame, INSTRUMENT, interval_ms=interval_ms)


def test_an_instrument_that_cannot_hold_the_prices():
    start = 1_700_000_040_000
    rows = klines((start, 0.1, 0.1, 0.1, 0.1, 1), (start + 60_000, 0.1, 0.1, 0.1, 0.1, 1))
    with pytest.raises(DataFormatError, match="below one tick"):
        EventTape.from_klines(rows, INSTRUMENT)
    huge = rows.assign(volume=1e300)
    with pytest.raises(DataFormatError, match="too large"):
        EventTape.from_klines(huge, Instrument("X/Y", 0.1, 1e-8))


def test_a_bar_must_trade_a_whole_tick_through_even_when_its_prices_are_off_the_tick():
    # Tick 1, low 100.2, close 100.4: a bid at 101 was traded through by 0.8 of a tick, which is not a fill.
    start = 1_700_000_040_000
    frame = klines((start, 105, 105, 105, 105, 10), (start + 60_000, 104, 104, 100.2, 100.4, 10))
    tape = EventTape.from_klines(frame, Instrument("X/USDT", 1.0, 0.01))
    assert tape.price_ticks[5] == 101


def test_one_bar_that_is_early_is_refused_not_taken_for_the_interval():
    start = 1_700_000_040_000
    rows = [(start + 60_000 * i, 100, 101, 99, 100, 1) for i in range(20)]
    rows[7] = (rows[7][0] - 1, *rows[7][1:])
    with pytest.raises(DataFormatError, match="row 7 opens before"):
        EventTape.from_klines(klines(*rows), INSTRUMENT)
    rows[7] = rows[6]
    with pytest.raises(DataFormatError, match="row 7 opens before"):
        EventTape.from_klines(klines(*rows), INSTRUMENT)


@pytest.mark.parametrize(
    ("kind", "contract", "lots"), [("spot", 1.0, 320), ("linear", 0.001, 320_000), ("inverse", 100.0, 160_000)]
)
def test_volume_in_base_units_becomes_units_of_quantity(kind, contract, lots):
    # 3.2 BTC at 50,000: 3.2 units, 3,200 contracts of 0.001 BTC, or 1,600 contracts of 100 USD; a lot is 0.01.
    start = 1_700_000_040_000
    frame = klines((start, 50_000, 50_000, 50_000, 50_000, 3.2), (start + 60_000, 50_000, 50_000, 50_000, 50_000, 3.2))
    tape = EventTape.from_klines(frame, Instrument("BTC/USD", 0.5, 0.01, kind, contract))
    assert tape.qty_lots[3] == lots


def test_synthetic_bars_say_so_whatever_way_they_come_in(tmp_path):
    from marketmakerl import DataProcessor
    from marketmakerl.data.catalog import Catalog

    bars = DataProcessor.simulate_market_data(n_bars=50, seed=1)
    assert EventTape.from_klines(bars, INSTRUMENT).tier == "T2"
    (tmp_path / "klines").mkdir()
    bars.iloc[10:].to_parquet(tmp_path / "klines" / "binance_BTCUSDT_1m_x.parquet", index=False)
    (found,) = Catalog(tmp_path).find("binance", "BTC/USDT", "klines", "1m")
    assert found.tier == "T2"
    tape = EventTape.from_klines(bars, INSTRUMENT)
    assert EventTape(**{**vars(tape), "meta": {}}).tier == "T2"
