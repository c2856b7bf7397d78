"""The front door: what is estimated, what is refused and why, what the file holds, and real recordings by hand."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from market_tapes import INSTRUMENT, START_NS, coverage_band, exponential_market, quote_rows, tape_of
from marketmakerl import EventTape, Instrument
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError, DataQualityError
from marketmakerl.data.market import MarketRequest, load_market
from marketmakerl.data.tape import Kind
from marketmakerl.models.bar_calibration import estimate_from_bars
from marketmakerl.models.calibration import calibrate, load_calibration
from tick_tapes import make_tape

S = 10**9
BB, SELL, BUY, TRADE = (int(kind) for kind in (Kind.BBO_BID, Kind.TRADE_SELL, Kind.TRADE_BUY, Kind.TRADE))


def bars_of(close, high=None, low=None, ts_ms=None):
    close = np.asarray(close, float)
    opened = np.concatenate([close[:1], close[:-1]])
    frame = pd.DataFrame({
        "ts_ms": 1_700_000_040_000 + 60_000 * np.arange(len(close)) if ts_ms is None else ts_ms,
        "open": opened,
        "high": np.maximum(opened, close) if high is None else high,
        "low": np.minimum(opened, close) if low is None else low,
        "close": close,
        "volume": 1.0,
    })  # fmt: skip
    return EventTape.from_klines(frame, Instrument("X/USDT", 0.01, 0.01), interval_ms=60_000, source="made-up bars")


@pytest.fixture(scope="module")
def known():
    return calibrate(exponential_market(11, seconds=2000, rate=2.0, k=3.0, tick=0.1), delta_min=0.1)


def test_the_names_that_models_and_worlds_read(known):
    for name, truth in (("k", 3.0), ("arrival_rate", 2.0)):
        made = known.estimates[name]
        assert getattr(known, name) == made.value
        assert abs(made.value - truth) < 4 * made.std_error
    assert known.sigma == known.estimates["sigma"].value > 0
    assert known.tick_size == 0.1
    assert known.mid == pytest.approx(1000.05, abs=0.051)
    assert known.hawkes is None  # these orders do not excite each other
    assert "do not excite each other" in known.reasons["hawkes.decay"]
    assert abs(known.adverse_move) < 4 * known.estimates["adverse_move"].std_error + 0.05
    given = known.estimate()
    assert (given.sigma, given.k) == (known.sigma, known.k)
    if "arrival_rate" in {field.name for field in dataclasses.fields(given)}:
        assert given.arrival_rate == known.arrival_rate
    with pytest.raises(ConfigError, match=r"no hawkes\.decay: the .* do not excite"):
        known.value("hawkes.decay")
    with pytest.raises(ConfigError, match="no gamma: there is no such estimate; it has"):
        known.value("gamma")
    for name, made in known.estimates.items():
        assert (made is None) == (name in known.reasons)


def test_a_calibration_comes_back_from_its_file_as_it_was(known, tmp_path):
    path = known.save(tmp_path / "sub" / "made.json")
    assert load_calibration(path) == dataclasses.replace(known, details=load_calibration(path).details)
    again = load_calibration(path).save(tmp_path / "again.json")
    assert again.read_bytes() == path.read_bytes()
    document = json.loads(path.read_text())
    assert document["schema"] == 1
    assert document["first"].startswith("2023-11-14T22:13:20")
    assert len(document["data_hash"]) == 32


def _set(document, dotted, value):
    *path, last = dotted.split(".")
    for part in path:
        document = document[part]
    document[last] = value


@pytest.mark.parametrize(
    ("dotted", "value", "text"),
    [
        ("schema", 2, "version 2"),
        ("mid", None, "mid must be a finite number > 0, got None"),
        ("tick_size", 0, "tick_size must be"),
        ("first_ns", 1.5, "first_ns must be a whole number"),
        ("last_ns", 0, "last_ns lies before first_ns"),
        ("clock", "tocks", "clock must be bars or ticks"),
        ("source", 7, "source must be a text"),
        ("reasons", {"k": 1}, "reasons must be texts"),
        ("estimates", [], "estimates is no dict"),
        ("estimates.k.value", None, "estimates.k.value must be a finite number > 0, got None"),  # NaN, as JSON has it
        ("estimates.k.value", -1.0, "estimates.k.value must be a finite number > 0"),
        ("estimates.sigma.value", True, "estimates.sigma.value"),
        ("estimates.sigma.value", "1", "estimates.sigma.value"),
        ("estimates.arrival_rate_bid.value", 0.0, "arrival_rate_bid.value must be a finite number > 0"),
        ("estimates.k.std_error", -0.1, "estimates.k.std_error must be"),
        ("estimates.k.std_error", "x", "estimates.k.std_error must be"),
        ("estimates.k.n", -1, "estimates.k.n"),
        ("estimates.k.unit", None, "estimates.k.unit"),
        ("estimates.k", 3.0, "estimates.k must be an estimate or null"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(known, tmp_path, dotted, value, text):
    path = known.save(tmp_path / "made.json")
    document = json.loads(path.read_text())
    _set(document, dotted, value)
    path.write_text(json.dumps(document))
    with pytest.raises(DataFormatError, match=text):
        load_calibration(path)


@pytest.mark.parametrize(
    "name", ["mid", "estimates", "reasons", "first_ns", "data", "details", "clock", "tier", "estimates.k"]
)
def test_a_file_that_lacks_a_field_is_refused(known, tmp_path, name):
    path = known.save(tmp_path / "made.json")
    document = json.loads(path.read_text())
    inside = document["estimates"] if "." in name else document
    del inside[name.rpartition(".")[2]]
    path.write_text(json.dumps(document))
    with pytest.raises(DataFormatError, match=r"is missing|not a calibration|has no k"):
        load_calibration(path)
    path.write_text("{")
    with pytest.raises(DataFormatError, match="not JSON"):
        load_calibration(path)
    with pytest.raises(DataNotFoundError):
        load_calibration(tmp_path / "none.json")


def still(trades=(), seconds=600):
    rows = quote_rows([START_NS], [20_001])
    rows += [(START_NS + ts, kind, price, 1) for ts, kind, price in trades]
    return tape_of([*rows, (START_NS + seconds * S, BB, 10_000, 5)])


def test_a_market_that_stands_still_has_no_sigma_and_no_trades_no_curve():
    made = calibrate(still())
    assert set(made.reasons) == set(made.estimates) - {"spread"} | {"depth"}
    assert made.estimates["spread"].value == pytest.approx(0.1)
    assert made.reasons["sigma"] == "the price did not move in 600 s"
    assert made.reasons["k"] == made.reasons["hawkes.decay"] == "the data hold no trades"
    assert made.reasons["depth"] == "the recording has best quotes and no book"
    for name in ("sigma", "k", "arrival_rate", "adverse_move"):
        with pytest.raises(ConfigError, match=f"has no {name}"):
            getattr(made, name)
    with pytest.raises(ConfigError, match="has no sigma"):
        made.estimate()
    assert made.hawkes is None


def test_trades_of_unknown_side_tell_nothing_of_orders():
    made = calibrate(still([(i * S, TRADE, 10_001) for i in range(1, 300)]))
    assert "the side of all 299 trades is unknown" in made.reasons["k"]
    assert made.details["orders"]["unknown_side"] == 299


def test_trades_at_one_distance_do_not_say_k():
    made = calibrate(still([(i * S, BUY, 10_001) for i in range(1, 300)]))
    assert "all 299 market orders stop at one distance" in made.reasons["k"]
    assert "39 market orders" in calibrate(still([(i * S, BUY, 10_001 + i % 3) for i in range(1, 40)])).reasons["k"]


def test_a_tape_too_short_says_so():
    made = calibrate(still([(i * S // 40, BUY, 10_001 + i % 3) for i in range(1, 300)], seconds=8))
    assert "299 market orders in 8 s; 200 in 60 s are needed" in made.reasons["hawkes.decay"]
    assert "needs 8 blocks of 120 s" in made.reasons["adverse_move_60s"]


@pytest.mark.parametrize(
    ("tape", "text"),
    [
        (tape_of([(START_NS, BUY, 5, 1), (START_NS + S, SELL, 6, 1)]), "never shows a bid and an ask"),
        (tape_of([(START_NS, BUY, 5, 1)]).slice_rows(0, 0), "holds no events"),
        (bars_of([5.0]), "no two neighbouring bars"),
    ],
)
def test_a_tape_with_nothing_at_all_is_an_error(tape, text):
    with pytest.raises(DataQualityError, match=text):
        calibrate(tape)


def test_options_out_of_range_are_refused():
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="delta_min must be a finite number > 0"):
            calibrate(still(), delta_min=bad)
    with pytest.raises(ConfigError, match="delta_min is for ticks"):
        calibrate(bars_of(np.arange(1.0, 100.0)), delta_min=0.1)


def test_bars_are_an_approximation_that_says_so():
    rng = np.random.default_rng(1)
    n = 4000
    close = 10_000 + np.round(np.cumsum(rng.normal(0, 4, n)), 2)
    before = np.concatenate([close[:1], close[:-1]])
    high, low = (np.maximum(before, close) + rng.exponential(3, n), np.minimum(before, close) - rng.exponential(3, n))
    tape = bars_of(close, high, low)
    made = calibrate(tape)
    first = estimate_from_bars(tape)
    assert made.k == pytest.approx(first.k, rel=1e-12)
    assert made.sigma == pytest.approx(first.sigma, rel=1e-3)
    assert abs(made.sigma - 4 / np.sqrt(60)) < 4 * made.estimates["sigma"].std_error
    assert made.arrival_rate == 1 / 60
    assert made.estimates["arrival_rate"].std_error is None
    assert "bars" in made.approximate
    assert made.clock == "bars"
    assert made.mid == pytest.approx(close[-1])
    assert "calibrate on ticks" in made.reasons["adverse_move"]
    assert made.hawkes is None
    assert calibrate(still()).approximate == ""


def test_bars_across_a_gap_are_no_neighbours():
    rng = np.random.default_rng(2)
    close = 10_000 + np.round(np.cumsum(rng.normal(0, 1, 400)), 2)
    jumped = close + np.where(np.arange(400) >= 200, 5000, 0)
    ts = 1_700_000_040_000 + 60_000 * np.arange(400) + np.where(np.arange(400) >= 200, 3_600_000, 0)
    apart = [calibrate(bars_of(c, ts_ms=ts)) for c in (close, jumped)]
    assert apart[0].sigma == pytest.approx(apart[1].sigma, rel=1e-9)
    assert apart[0].k == pytest.approx(apart[1].k, rel=1e-9)
    assert apart[0].estimates["sigma"].n == 398


def test_a_bar_s_k_has_an_honest_error():
    rng = np.random.default_rng(3)
    z = []
    for _ in range(100):
        reach = rng.exponential(5.0, (2, 600))
        made = calibrate(bars_of(np.full(600, 1000.0), 1000 + reach[0], 1000 - reach[1]))
        z.append((made.k - 0.2) / made.estimates["k"].std_error)
    assert (np.abs(z) < 1.96).sum() >= coverage_band(100, 0.93)


def test_adverse_moves_are_those_that_were_put_in():
    """Every order moves the mid by one tick in its direction, half a second later by another half tick on average."""
    rng = np.random.default_rng(4)
    mid, rows = 200_001, quote_rows([START_NS], [200_001])
    for i in range(1, 3000):
        side = int(rng.choice([-1, 1]))
        ts = START_NS + i * 2 * S
        rows.append((ts, BUY if side > 0 else SELL, (mid + side) // 2, 1))
        mid += 2 * side
        rows += quote_rows([ts + S // 100], [mid])
        mid += 2 * side * int(rng.integers(0, 2))
        rows += quote_rows([ts + S // 2], [mid])
    made = calibrate(tape_of(rows))
    tick = INSTRUMENT.tick_size
    assert made.adverse_move == pytest.approx(tick, rel=1e-9)
    assert made.estimates["adverse_move_0.1s"].value == pytest.approx(tick, rel=1e-9)
    later = made.estimates["adverse_move_1s"]
    assert abs(later.value - 1.5 * tick) < 4 * later.std_error
    assert 0 < later.std_error < 0.02 * tick
    far = made.estimates["adverse_move_10s"]  # the orders after it push either way
    assert abs(far.value - 1.5 * tick) < 4 * far.std_error


@pytest.mark.parametrize("scale", [0.01, 1000.0])
def test_price_units_cancel_in_all_of_it(scale):
    plain = make_tape(120)
    other = dataclasses.replace(plain, instrument=Instrument("X/USDT", 0.1 * scale, 0.001))
    a, b = calibrate(plain), calibrate(other)
    for name, power in (("sigma", 1), ("sigma_realised", 1), ("k", -1), ("arrival_rate", 0), ("adverse_move", 1),
                        ("spread", 1), ("order_size", 0)):  # fmt: skip
        assert b.estimates[name].value == pytest.approx(a.estimates[name].value * scale**power, rel=1e-9), name
        assert b.estimates[name].std_error == pytest.approx(a.estimates[name].std_error * scale**power, rel=1e-6)


def by_hand(folder, stem, book_kind):
    """What pandas and numpy alone make of a recording: mid by replaying frames, orders by grouping trades."""
    book = pd.read_parquet(folder / "book" / f"{stem}_{book_kind}.parquet")
    trades = pd.read_parquet(folder / "trades" / f"{stem}_trades.parquet")
    bids, asks, mids = {}, {}, []
    for seq, message in book.groupby("seq", sort=True):
        if message["is_snapshot"].all():
            bids, asks = {}, {}
        for side, price, qty in zip(message["side"], message["price"], message["qty"], strict=True):
            level = bids if side > 0 else asks
            level.pop(price, None)
            if qty > 0:
                level[price] = qty
        mids.append((int(message["ts_ns"].iloc[0]), max(bids), min(asks)))
        del seq
    return pd.DataFrame(mids, columns=["ts", "bid", "ask"]), trades


def test_a_recording_agrees_with_a_computation_by_hand(shared_data):
    """Hyperliquid, where every message is a whole book."""
    stem = "hyperliquid_BTC_2025-09-04T1946"
    tape = load_market(MarketRequest(data=shared_data / "book" / f"{stem}_l2snap20.parquet")).tape
    made = calibrate(tape)
    quotes, trades = by_hand(shared_data, stem, "l2snap20")
    quotes["mid"] = (quotes["bid"] + quotes["ask"]) / 2
    held = np.diff(quotes["ts"]) / 1e9
    spread = ((quotes["ask"] - quotes["bid"]).to_numpy()[:-1] * held).sum() / held.sum()
    assert made.estimates["spread"].value == pytest.approx(spread, rel=2e-3)
    assert made.mid == quotes["mid"].iloc[-1]

    step = int(made.estimates["sigma_realised"].method.split("grid ")[1].split(" s")[0])
    grid = np.arange(quotes["ts"].iloc[0], int(tape.ts_ns[-1]) + 1, step * S)
    at = np.searchsorted(quotes["ts"], grid, side="right") - 1
    moves = np.diff(quotes["mid"].to_numpy()[at])
    assert made.estimates["sigma_realised"].value == pytest.approx(np.sqrt((moves**2).sum() / (len(moves) * step)))

    orders = trades.groupby(["ts_ns", "side"], as_index=False).agg(
        high=("price", "max"), low=("price", "min"), qty=("qty", "sum")
    )
    orders = orders[(orders["side"] != 0) & (orders["ts_ns"] > quotes["ts"].iloc[0])]
    orders = orders[orders["ts_ns"] <= quotes["ts"].iloc[-1]]
    assert made.details["orders"]["orders"] == pytest.approx(len(orders), abs=3)
    assert made.estimates["order_size"].value == pytest.approx(orders["qty"].mean(), rel=2e-3)

    before = quotes["mid"].to_numpy()[np.searchsorted(quotes["ts"], orders["ts_ns"], side="left") - 1]
    deepest = np.where(orders["side"] > 0, orders["high"], orders["low"])
    reach = orders["side"].to_numpy() * (deepest - before)
    floor = made.details["curve"]["k"]["delta_min"]
    inside = reach[reach >= floor - 1e-9]
    assert made.details["curve"]["k"]["n"] == pytest.approx(len(inside), rel=0.01)
    # k of the geometric distribution: from the mean of what lies beyond the first price in reach.
    odd = (np.rint(2 * before[reach >= floor - 1e-9]) % 2).astype(int)
    first = np.where(odd == round(2 * floor) % 2, floor, floor + 0.5)
    assert made.k == pytest.approx(np.log1p(1 / (inside - first).mean()), rel=0.03)
    seconds = made.observed_s
    assert made.arrival_rate * np.exp(-made.k * floor) == pytest.approx(len(inside) / (2 * seconds), rel=0.1)

    for horizon in (1.0, 10.0):
        later = orders["ts_ns"] + int(horizon * S)
        known = (later <= quotes["ts"].iloc[-1]).to_numpy()
        after = quotes["mid"].to_numpy()[np.searchsorted(quotes["ts"], later[known], side="right") - 1]
        move = (orders["side"].to_numpy()[known] * (after - before[known])).mean()
        estimate = made.estimates[f"adverse_move_{horizon:g}s"]
        assert estimate.value == pytest.approx(move, abs=0.1 * estimate.std_error)


@pytest.mark.parametrize("stem", ["binance_BTCUSDT_2024-08-08T2354_l2", "binanceusdm_BTCUSDT_2024-08-08T2354_l2"])
def test_binance_has_everything_but_the_minute(shared_data, stem):
    made = calibrate(load_market(MarketRequest(data=shared_data / "book" / f"{stem}.parquet")).tape)
    assert made.tier == "T1"
    assert set(made.reasons) == {"adverse_move_60s"}
    assert made.hawkes.excitation / made.hawkes.decay == pytest.approx(0.43, abs=0.05)
    assert made.details["curve"]["k"]["aic_power_less_exponential"] > 100
    moves = [made.estimates[f"adverse_move_{h:g}s"].value for h in (0.1, 1.0, 5.0)]
    assert 0 < moves[0] < moves[1] < moves[2]
    trades = pd.read_parquet(shared_data / "trades" / f"{stem.rpartition('_')[0]}_trades.parquet")
    orders = trades.groupby(["ts_ns", "side"]).ngroups
    assert made.details["orders"]["orders"] == pytest.approx(orders, rel=0.01)


def test_klines_agree_with_a_computation_by_hand(shared_data):
    path = shared_data / "klines_ext" / "binance_BTCUSDT_1m_2024-01-01_2024-12-31.parquet"
    tape = load_market(MarketRequest(data=path, symbol="BTC/USDT", days=30)).tape
    made = calibrate(tape)
    frame = pd.read_parquet(path).iloc[-30 * 1440 :]
    close = frame["close"].to_numpy()
    neighbours = np.diff(frame["ts_ms"].to_numpy()) == 60_000
    assert neighbours.all()
    moves = np.diff(close)
    assert made.sigma == pytest.approx(np.sqrt((moves**2).sum() / (len(moves) * 60)), rel=1e-6)
    two = np.pi / 2 * np.abs(moves[1:] * moves[:-1]).sum() * len(moves) / (len(moves) - 1)
    assert made.estimates["sigma_bipower"].value == pytest.approx(np.sqrt(two / (len(moves) * 60)), rel=1e-6)
    up = np.maximum(frame["high"].to_numpy()[1:] - close[:-1], 0)
    down = np.maximum(close[:-1] - frame["low"].to_numpy()[1:], 0)
    assert made.k == pytest.approx(1 / np.concatenate([up, down]).mean(), rel=1e-6)
    assert made.estimates["k_bid"].value == pytest.approx(1 / down.mean(), rel=1e-6)
