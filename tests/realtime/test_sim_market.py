"""The offline venue's market agrees with itself and with its source, and knows nothing of the future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl.core.clock import NS_PER_MS, ManualClock, SystemClock
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.instrument import Instrument
from marketmakerl.data.bars import compile_bars
from marketmakerl.data.klines import read_klines_file
from marketmakerl.data.real_market_data import PublicClient
from marketmakerl.data.synthetic import START_MS, SyntheticMarket, simulate
from marketmakerl.realtime.exchange_sim import ExchangeSim, Faults, MarketClock
from marketmakerl.realtime.sim_market import SimMarket
from marketmakerl.realtime.sim_protocol import BinanceRest
from marketmakerl.realtime.sim_synthetic import synthetic_markets
from marketmakerl.realtime.sim_trades import BLOCK, MAX_TRADES, Bars, make_trades, trade_counts, volumes
from venue import TARGETS, ask

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
SEED = 11
SPOT, LINEAR = "/api/v3", "/fapi/v1"


@st.composite
def bars_of_any_kind(draw):
    n = draw(st.integers(1, 12))
    low = np.array(draw(st.lists(st.integers(1, 10**9), min_size=n, max_size=n)))
    width = np.array(draw(st.lists(st.sampled_from([0, 1, 2, 5, 1000]), min_size=n, max_size=n)))
    shares = np.array(draw(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=n, max_size=n)))
    lots = np.array(
        draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 63, 64, 65, 10**6, 10**12]), min_size=n, max_size=n))
    )
    opened, close = (low + np.rint(shares[:, side] * width).astype(np.int64) for side in (0, 1))
    ones = np.ones(n, np.int64)
    return Bars(np.arange(n) * MINUTE_MS, opened, low + width, low, close, lots, ones, ones.astype(float))


@given(bars=bars_of_any_kind(), seed=st.integers(0, 2**63 - 1), block=st.integers(0, 1000))
def test_the_trades_of_a_bar_are_that_bar(bars, seed, block):
    trades = make_trades(bars, seed, block, 1, int(bars.open[0]), MINUTE_MS)
    counts = trade_counts(bars)
    assert len(trades) == counts.sum()
    assert counts.max() <= MAX_TRADES
    for i in range(len(bars)):
        mine = trades.bar == block * BLOCK + i
        assert mine.sum() == counts[i]
        if not counts[i]:
            assert bars.lots[i] == 0
            assert bars.high[i] == bars.low[i]
            continue
        price, ts_ms = trades.price[mine], trades.ts_ms[mine]
        shown = (price[0], price.max(), price.min(), price[-1])
        assert shown == (bars.open[i], bars.high[i], bars.low[i], bars.close[i])
        assert trades.lots[mine].sum() == volumes(bars)[i]
        assert volumes(bars)[i] == max(bars.lots[i], counts[i])
        assert trades.lots[mine].min() >= 1
        assert (np.diff(ts_ms) >= 0).all()
        assert bars.ts_ms[i] <= ts_ms[0]
        assert ts_ms[-1] < bars.ts_ms[i] + MINUTE_MS


@given(offsets=st.lists(st.integers(0, 400 * MINUTE_MS), min_size=1, max_size=6))
def test_the_running_bar_is_its_trades_so_far(rest, offsets):
    for offset in offsets:
        now = START_MS + offset
        (bar,) = ask(rest, f"{SPOT}/klines?symbol=BTCUSDT&interval=1m&limit=1", now)
        trades = ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&startTime={bar[0]}&limit=1000", now)
        assert bar[0] == now // MINUTE_MS * MINUTE_MS
        assert bar[8] == len(trades)
        assert float(bar[5]) == pytest.approx(sum(float(t["q"]) for t in trades), abs=1e-9)
        assert float(bar[7]) == pytest.approx(sum(float(t["q"]) * float(t["p"]) for t in trades), rel=1e-9)
        assert float(bar[9]) == pytest.approx(sum(float(t["q"]) for t in trades if not t["m"]), abs=1e-9)
        assert all(t["T"] <= now for t in trades)
        if trades:
            prices = [float(t["p"]) for t in trades]
            assert [float(p) for p in bar[1:5]] == [prices[0], max(prices), min(prices), prices[-1]]
        else:
            assert len(set(bar[1:5])) == 1


@given(offset=st.integers(0, 400 * MINUTE_MS), prefix=st.sampled_from([SPOT, LINEAR]))
def test_the_book_is_on_the_tick_in_order_and_around_the_last_trade(rest, offset, prefix):
    now = START_MS + offset
    book = ask(rest, f"{prefix}/depth?symbol=BTCUSDT&limit=1000", now)
    bids, asks = (np.array(book[side], float) for side in ("bids", "asks"))
    assert len(bids) == len(asks) == 1000
    assert (np.diff(bids[:, 0]) < 0).all()
    assert (np.diff(asks[:, 0]) > 0).all()
    assert bids[0, 0] < asks[0, 0]
    for levels in (bids, asks):
        steps = np.rint(levels / [0.1, 0.001])
        np.testing.assert_allclose(levels, steps * [0.1, 0.001], rtol=1e-12)
        assert steps.min() >= 1
    trades = ask(rest, f"{prefix}/trades?symbol=BTCUSDT&limit=1", now)
    if trades:
        touch = bids if trades[0]["isBuyerMaker"] else asks
        assert touch[0, 0] == float(trades[0]["price"])


def test_the_update_id_grows_with_the_market(rest):
    ids = [ask(rest, f"{SPOT}/depth?symbol=BTCUSDT&limit=5", START_MS + s * 1000)["lastUpdateId"] for s in range(300)]
    assert ids == sorted(ids)
    assert len(set(ids)) > 150


def test_polls_see_every_trade_once(rest):
    seen, now = [], START_MS
    while now < START_MS + (BLOCK + 3) * MINUTE_MS:  # across the border of a block
        now += 5_000
        query = f"fromId={seen[-1]['a'] + 1}" if seen else f"startTime={START_MS}"
        seen += ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&{query}&limit=1000", now)
    assert [t["a"] for t in seen] == list(range(1, len(seen) + 1))
    bars = simulate(SyntheticMarket(), BLOCK + 3, SEED)
    assert sum(float(t["q"]) for t in seen) == pytest.approx(bars["volume"].sum(), rel=1e-9)
    assert [t["T"] for t in seen] == sorted(t["T"] for t in seen)


def test_the_same_question_at_the_same_time_gets_the_same_bytes_whatever_was_asked_before():
    moments = [START_MS + k * 7_777_777 for k in (1, 5, 60, 20, 3)]
    first, second = BinanceRest(synthetic_markets(SEED, n_bars=300)), BinanceRest(synthetic_markets(SEED, n_bars=9000))
    answers = {}
    for now in moments:
        for target in TARGETS:
            answers[now, target] = first.reply("GET", f"{SPOT}/{target}", now * NS_PER_MS).body
    for now, target in reversed(answers):
        assert second.reply("GET", f"{SPOT}/{target}", now * NS_PER_MS).body == answers[now, target]
    other = BinanceRest(synthetic_markets(SEED + 1))
    assert other.reply("GET", f"{SPOT}/{TARGETS[0]}", moments[0] * NS_PER_MS).body != answers[moments[0], TARGETS[0]]


def test_the_venue_knows_nothing_of_the_future():
    """Two markets that agree up to now and differ after it give the same answers now."""
    frame = simulate(SyntheticMarket(), 600, SEED)[["ts_ms", "open", "high", "low", "close", "volume"]]
    cut = 400
    changed = frame.copy()
    changed.loc[cut:, ["open", "high", "low", "close"]] *= 2
    changed.loc[cut:, "volume"] = 1.0
    now = (START_MS + cut * MINUTE_MS - 1) * NS_PER_MS
    replies = []
    for bars in (frame, changed):
        tape = compile_bars(bars, Instrument("BTC/USDT", 0.1, 0.001), interval_ms=MINUTE_MS)
        rest = BinanceRest([SimMarket.from_tape(tape, seed=SEED)])
        replies.append([rest.reply("GET", f"{SPOT}/{t}", now).body for t in TARGETS if not t.startswith("depth")])
    assert replies[0] == replies[1]


# --- recorded bars ----------------------------------------------------------------------------------------------------


def test_a_recorded_market_is_what_was_recorded(shared_data):
    frame = read_klines_file(shared_data / "klines" / "binance_BTCUSDT_1m_2025-12-18_2025-12-31.parquet").head(3000)
    tape = compile_bars(frame, Instrument("BTC/USDT", 0.01, 0.00001, min_notional=5.0))
    with (
        ExchangeSim.of_tape(tape, history_bars=2999) as sim,
        PublicClient("binance", base_url=sim.base_url) as client,
    ):
        sim.step(60)
        bars = client.klines("BTC/USDT", "1m", int(frame["ts_ms"].iloc[0]))
    np.testing.assert_allclose(
        bars[["ts_ms", "open", "high", "low", "close"]], frame.drop(columns="volume"), rtol=1e-12
    )
    np.testing.assert_allclose(bars["volume"], frame["volume"], atol=64e-5)


def test_a_recorded_market_ends_with_its_bars():
    bars = simulate(SyntheticMarket(), 100, SEED)
    tape = compile_bars(bars, Instrument("BTC/USDT:USDT", 0.1, 0.001, "linear"), interval_ms=MINUTE_MS, tier="T2")
    with ExchangeSim.of_tape(tape, history_bars=10) as sim, PublicClient("sim", base_url=sim.base_url) as client:
        assert client.server_time_ms() == START_MS + 10 * MINUTE_MS
        sim.step(10 * 3600)
        assert client.server_time_ms() == START_MS + 100 * MINUTE_MS
        assert len(client.klines("BTC/USDT", "1m", START_MS)) == 100
        client.order_book("BTC/USDT")


def test_a_hole_in_the_record_stays_one():
    bars = simulate(SyntheticMarket(), 100, SEED).drop(index=range(40, 60))
    tape = compile_bars(bars, Instrument("BTC/USDT", 0.1, 0.001), interval_ms=MINUTE_MS)
    rest = BinanceRest([SimMarket.from_tape(tape)])
    now = START_MS + 50 * MINUTE_MS
    assert len(ask(rest, f"{SPOT}/klines?symbol=BTCUSDT&interval=1m", now)) == 40
    assert ask(rest, f"{SPOT}/aggTrades?symbol=BTCUSDT&startTime={START_MS + 41 * MINUTE_MS}", now) == []
    assert ask(rest, f"{SPOT}/depth?symbol=BTCUSDT", now)["bids"]
    after = ask(rest, f"{SPOT}/klines?symbol=BTCUSDT&interval=1m", START_MS + 100 * MINUTE_MS)
    assert len(after) == 80


def test_recorded_bars_can_be_moved_to_the_present():
    bars = simulate(SyntheticMarket(), 100, SEED)
    tape = compile_bars(bars, Instrument("BTC/USDT", 0.1, 0.001), interval_ms=MINUTE_MS)
    present = 1_800_000_000_000 * NS_PER_MS
    with (
        ExchangeSim.of_tape(tape, history_bars=30, clock=ManualClock(present)) as sim,
        PublicClient("binance", base_url=sim.base_url) as client,
    ):
        moved = client.klines("BTC/USDT", "1m", 0 + 1_800_000_000_000 - 31 * MINUTE_MS)
    assert len(moved) == 30
    np.testing.assert_allclose(moved["close"], bars["close"].head(30))


@pytest.mark.parametrize(
    "make",
    [
        lambda bars: SimMarket.from_tape(compile_bars(bars, Instrument("BTC/USD:BTC", 0.1, 1, "inverse", 100))),
        lambda bars: SimMarket.from_tape(compile_bars(bars, Instrument("BTC/USDT", 0.1, 0.001)).slice_rows(0, 0)),
        lambda _bars: ExchangeSim([]),
        lambda _bars: ExchangeSim([*synthetic_markets(1), *synthetic_markets(1)]),
        lambda _bars: ExchangeSim.embedded(history_bars=0),
        lambda _bars: ExchangeSim.embedded(-1),
        lambda _bars: ExchangeSim.embedded().base_url,
        lambda _bars: ExchangeSim.embedded(clock=SystemClock()).step(1),
        lambda _bars: ExchangeSim.embedded(port=99_999).start(),
        lambda _bars: MarketClock(0, 0),
        lambda _bars: MarketClock(0, float("nan")),
        lambda _bars: Faults(error_rate=1.5),
        lambda _bars: Faults(error_rate=0.6, disconnect_rate=0.6),
        lambda _bars: Faults(latency_ms=-1),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ConfigError):
        make(simulate(SyntheticMarket(), 10, SEED))
