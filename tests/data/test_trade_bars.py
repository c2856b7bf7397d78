"""Bars made of trades: against a slow account of the same trades, and against the venue's own klines."""

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from marketmakerl import EventTape, Instrument
from marketmakerl.core.errors import ConfigError, DataFormatError, DataQualityError
from marketmakerl.data.catalog import DataSet
from marketmakerl.data.tape import MORE, Kind
from marketmakerl.data.tick_files import Recording, load_recording, trades_of
from marketmakerl.data.trade_bars import bars_from_trades
from tick_tapes import INSTRUMENT, START_NS, make_frames, make_tape

S = 1_000_000_000


def tape_of(trades: list[tuple[float, int, int]], instrument: Instrument = INSTRUMENT) -> EventTape:
    """Return a tape of trades (seconds after the start, ticks, lots) between rows of depth that bars must not see."""
    rows = [(START_NS + round(at * S), Kind.TRADE_BUY if i % 2 else Kind.TRADE_SELL | MORE, ticks, lots)
            for i, (at, ticks, lots) in enumerate(trades)]  # fmt: skip
    rows = [row for trade in rows for row in (trade, (trade[0], Kind.DEPTH_BID, 1, 9))]
    ts, kind, ticks, lots = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return EventTape(instrument, ts, ts, ticks, lots, kind.astype(np.int8), {"clock": "ticks", "tier": "T1"})


def by_hand(trades: list[tuple[int, int, int]], start_ns: int, interval_ns: int, bars: int, last: int | None) -> list:
    """Return [open, high, low, close, lots, trades] of each bar, one trade at a time."""
    inside = defaultdict(list)
    for ts_ns, ticks, lots in trades:
        if ts_ns < start_ns:
            last = ticks
        else:
            inside[(ts_ns - start_ns) // interval_ns].append((ticks, lots))
    made = []
    for bar in range(bars):
        prices = [ticks for ticks, _ in inside[bar]]
        lots = sum(lots for _, lots in inside[bar])
        if prices:
            made.append([prices[0], max(prices), min(prices), prices[-1], lots, len(prices)])
            last = prices[-1]
        else:
            made.append([last, last, last, last, 0, 0])
    return made


def as_rows(frame: pd.DataFrame, instrument: Instrument = INSTRUMENT) -> list:
    ticks = np.rint(frame[["open", "high", "low", "close"]].to_numpy() / instrument.tick_size).astype(int)
    lots = np.rint(frame["volume"].to_numpy() / instrument.lot_size / instrument.contract_size).astype(int)
    return np.column_stack([ticks, lots, frame["n_trades"]]).tolist()


@pytest.mark.parametrize("interval_ms", [200, 1000, 7000])
@pytest.mark.parametrize("begin_s", [0, 11])
def test_bars_agree_with_a_slow_account(interval_ms, begin_s):
    _, trades = make_frames(60, seed=3)
    rng = np.random.default_rng(1)
    kept = trades[rng.random(len(trades)) < 0.03]  # so few that many bars are empty
    kept = kept[(kept["ts_ns"] < START_NS + 20 * S) | (kept["ts_ns"] > START_NS + 38 * S)]
    tape = EventTape.from_book(make_frames(60, seed=3)[0], kept, INSTRUMENT, tier="T2", source="made up")
    ticks = np.rint(kept["price"] / 0.1).astype(int)
    lots = np.rint(kept["qty"] / 0.001).astype(int)
    listed = list(zip(kept["ts_ns"].tolist(), ticks.tolist(), lots.tolist(), strict=True))
    start_ns = (START_NS // S + begin_s + 3) * S
    bars = 40_000 // interval_ms
    frame = bars_from_trades(tape, interval_ms, start_ns=start_ns, bars=bars)
    assert as_rows(frame) == by_hand(listed, start_ns, interval_ms * 1_000_000, bars, None)
    assert (np.diff(frame["ts_ms"]) == interval_ms).all()
    assert frame["ts_ms"].iloc[0] * 1_000_000 == start_ns
    assert frame.attrs["mml.tier"] == "T2"
    assert (frame["n_trades"] == 0).any()


def test_a_trade_on_the_boundary_opens_the_next_bar():
    frame = bars_from_trades(tape_of([(0.0, 100, 1), (0.999999999, 90, 2), (1.0, 110, 4), (2.0, 120, 8)]), 1000)
    assert as_rows(frame) == [[100, 100, 90, 90, 3, 2], [110, 110, 110, 110, 4, 1], [120, 120, 120, 120, 8, 1]]


def test_a_bar_without_trades_stands_at_the_last_price_and_fills_nothing():
    frame = bars_from_trades(tape_of([(0.5, 100, 7), (3.5, 104, 1)]), 1000)
    assert as_rows(frame)[1:3] == [[100, 100, 100, 100, 0, 0]] * 2
    tape = EventTape.from_klines(frame, INSTRUMENT)
    still = tape.slice_rows(4, 8)
    assert set(still.price_ticks.tolist()) == {100}
    assert set(still.qty_lots.tolist()) == {0}
    assert tape.meta["gaps"] == 0


def test_a_price_from_before_the_first_bar_opens_it():
    trades = [(0.5, 100, 7), (5.5, 104, 1)]
    start_ns = START_NS + 3 * S
    assert as_rows(bars_from_trades(tape_of(trades), 1000, start_ns=start_ns, bars=2)) == [[100] * 4 + [0, 0]] * 2


@pytest.mark.parametrize(
    "instrument",
    [
        Instrument("BTC/USD:BTC", 0.5, 1.0, "inverse", contract_size=100.0),
        Instrument("BTC/USDT:USDT", 0.1, 0.001, "linear", contract_size=0.01),
        Instrument("BTC/USDT", 0.01, 1e-5),
    ],
    ids=["inverse", "linear", "spot"],
)
def test_the_volume_comes_back_as_the_lots_that_traded(instrument):
    rng = np.random.default_rng(2)
    ticks = 20_000 + np.cumsum(rng.integers(-9, 10, 300))
    lots = rng.integers(1, 10_000, 300)
    tape = tape_of([(0.1 * i, int(ticks[i]), int(lots[i])) for i in range(300)], instrument)
    bars = EventTape.from_klines(bars_from_trades(tape, 1000), instrument)
    traded = bars.qty_lots[bars.kind == Kind.BAR_CLOSE]
    assert traded.tolist() == lots.reshape(30, 10).sum(1).tolist()
    assert bars.price_ticks[bars.kind == Kind.BAR_CLOSE].tolist() == ticks[9::10].tolist()


@pytest.mark.parametrize("interval_ms", [0, -1, 1.5, True])
def test_an_interval_that_is_none(interval_ms):
    with pytest.raises(ConfigError, match="interval_ms"):
        bars_from_trades(make_tape(5), interval_ms)


def test_what_cannot_be_made_into_bars_is_refused():
    book, trades = make_frames(5)
    without = EventTape.from_book(book, None, INSTRUMENT, source="quiet")
    with pytest.raises(DataQualityError, match="quiet holds no trades"):
        bars_from_trades(without, 1000)
    with pytest.raises(DataQualityError, match="no trade in or before the first bar"):
        bars_from_trades(make_tape(5), 1000, start_ns=START_NS - 2 * S, bars=2)
    with pytest.raises(ConfigError, match="start_ns"):
        bars_from_trades(make_tape(5), 1000, start_ns=START_NS + 1)
    with pytest.raises(ConfigError, match="bars must be"):
        bars_from_trades(make_tape(5), 1000, bars=0)
    bars = EventTape.from_klines(bars_from_trades(make_tape(5), 1000), INSTRUMENT)
    with pytest.raises(DataFormatError, match="holds bars"):
        bars_from_trades(bars, 1000)
    assert len(trades)


@pytest.mark.parametrize(
    ("symbol", "klines"),
    [
        ("BTCUSDT", "klines_ext/binance_BTCUSDT_1m_2024-01-01_2024-12-31.parquet"),
        ("ETHUSDT", "klines/binance_ETHUSDT_1m_2024-07-26_2024-08-25.parquet"),
    ],
)
def test_they_are_the_klines_that_the_venue_made_of_the_same_trades(shared_data, symbol, klines):
    quotes = DataSet("binance", symbol, "book", "", shared_data / f"book/binance_{symbol}_2024-08-08T2354_l2.parquet")
    if not (shared_data / klines).is_file():
        pytest.skip(f"{klines} is not here")
    tape, _ = load_recording(Recording(quotes, trades_of(quotes, "")), "", None)
    ours = bars_from_trades(tape, 60_000).iloc[1:-1]  # the recording begins and ends within a minute
    theirs = pd.read_parquet(shared_data / klines).set_index("ts_ms").loc[ours["ts_ms"]]
    assert len(ours) >= 9
    for name in ("open", "high", "low", "close"):
        assert ours[name].tolist() == theirs[name].tolist(), name
    assert ours["volume"].to_numpy() == pytest.approx(theirs["volume"].to_numpy(), rel=1e-9)
