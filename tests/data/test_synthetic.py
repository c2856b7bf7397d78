import hashlib
import math
import os
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmakerl.core.errors import ConfigError
from marketmakerl.data.data_processor import DataProcessor
from marketmakerl.data.quality import check_klines
from marketmakerl.data.synthetic import COLUMNS, START_MS, SyntheticMarket, martingale_bars, simulate

DAYS_30 = 43_200
DEFAULT = SyntheticMarket()
CALM = replace(DEFAULT, vol_of_vol=0.0, jumps_per_day=0.0)


def digest(bars):
    return hashlib.sha256(b"".join(bars[name].to_numpy().tobytes() for name in bars.columns)).hexdigest()


def log_returns(bars):
    return np.diff(np.log(bars["close"].to_numpy()))


def kurtosis(values):
    centred = values - values.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


def autocorrelation(values, lag=1):
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


def bar_maker(bars, half_spread_bps, skew_bps=0.5, max_inventory=10, tick_size=0.1, fee_bps=2.0):
    """Quote one unit a side at each close; fill in the next bar where it trades through by a tick, at the limit.

    Returns gross PnL marked at the last close, fees, and fills.
    """
    close, low, high = (np.rint(bars[name].to_numpy() / tick_size) for name in ("close", "low", "high"))
    inventory, cash, turnover, fills = 0, 0.0, 0.0, 0
    for bar in range(len(close) - 1):
        mid = close[bar] * (1 - skew_bps * inventory * 1e-4)
        bid = math.floor(mid * (1 - half_spread_bps * 1e-4))
        ask = math.ceil(mid * (1 + half_spread_bps * 1e-4))
        bought = low[bar + 1] <= bid - 1 and inventory < max_inventory
        sold = high[bar + 1] >= ask + 1 and inventory > -max_inventory
        if bought:
            inventory, cash, turnover, fills = inventory + 1, cash - bid, turnover + bid, fills + 1
        if sold:
            inventory, cash, turnover, fills = inventory - 1, cash + ask, turnover + ask, fills + 1
    gross = (cash + inventory * close[-1]) * tick_size
    return gross, turnover * tick_size * fee_bps * 1e-4, fills


def maker_over_seeds(config, half_spread_bps, seeds, n_bars=2_880):
    results = [bar_maker(simulate(config, n_bars, seed), half_spread_bps) for seed in seeds]
    gross, fees, fills = (np.array(column) for column in zip(*results, strict=True))
    return gross, gross - fees, fills


@pytest.fixture(scope="module")
def month():
    return simulate(DEFAULT, DAYS_30, 1)


# Determinism


def test_same_seed_same_bytes_other_seed_other_bytes():
    assert digest(simulate(DEFAULT, 200, 7)) == digest(simulate(DEFAULT, 200, 7))
    assert digest(simulate(DEFAULT, 200, 7)) != digest(simulate(DEFAULT, 200, 8))
    assert digest(martingale_bars(200, 7)) == digest(martingale_bars(200, 7))
    assert digest(martingale_bars(200, 7)) != digest(martingale_bars(200, 8))


def test_same_bytes_in_every_process_compiled_or_not():
    script = (
        "import hashlib\n"
        "from marketmakerl.data.synthetic import SyntheticMarket, martingale_bars, simulate\n"
        "for bars in (simulate(SyntheticMarket(), 40, 3), martingale_bars(40, 3)):\n"
        "    columns = (bars[name].to_numpy().tobytes() for name in bars.columns)\n"
        "    print(hashlib.sha256(b''.join(columns)).hexdigest())\n"
    )
    here = "\n".join([digest(simulate(DEFAULT, 40, 3)), digest(martingale_bars(40, 3)), ""])
    for extra in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"}, {"NUMBA_DISABLE_JIT": "1"}):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **extra}
        there = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert there.stdout == here, extra


def test_a_longer_run_begins_with_the_shorter_one():
    long = simulate(DEFAULT, 300, 5)
    for n_bars in (1, 120, 299):
        pd.testing.assert_frame_equal(long.iloc[:n_bars], simulate(DEFAULT, n_bars, 5), check_exact=True)


def test_orders_arrive_as_a_poisson_number_does():
    """Mean, variance and the share of empty seconds, where one draw makes the number and where several do."""
    for rate in (0.3, 5.0, 30.0):
        config = replace(CALM, trades_per_s=rate, interval_s=1, activity_vol_exponent=0.0)
        counts = simulate(config, 20_000, 3)["n_trades"].to_numpy()
        assert counts.mean() == pytest.approx(rate, abs=4 * math.sqrt(rate / 20_000))
        assert counts.var() == pytest.approx(rate, rel=0.05)
        quantiles = np.array([0.1, 0.5, 0.9])
        assert np.quantile(counts, quantiles) == pytest.approx(scipy.stats.poisson.ppf(quantiles, rate), abs=1)


def test_sizes_are_log_normal_and_of_the_mean_asked_for():
    config = replace(CALM, trades_per_s=0.5, interval_s=1, trade_qty_log_sd=1.0)
    bars = simulate(config, 60_000, 4)
    sizes = bars["volume"][bars["n_trades"] == 1].to_numpy()
    assert sizes.mean() == pytest.approx(config.trade_qty, rel=0.04)
    assert np.log(sizes).std() == pytest.approx(1.0, rel=0.04)


def test_the_front_door_defaults():
    bars = DataProcessor.simulate_market_data(n_bars=50)
    assert digest(bars) == digest(simulate(DEFAULT, 50, 0))
    assert digest(DataProcessor().simulate_market_data(50, 0, DEFAULT)) == digest(bars)
    assert len(DataProcessor().simulate_market_data()) == 4_320
    assert digest(DataProcessor.simulate_market_data(50, 0, CALM)) == digest(simulate(CALM, 50, 0))


# Shape


def assert_sound(bars, config):
    assert tuple(bars.columns) == COLUMNS
    assert [str(bars[name].dtype) for name in COLUMNS] == [
        "int64" if name in {"ts_ms", "n_trades"} else "float64" for name in COLUMNS
    ]
    report = check_klines(bars, config.interval_s * 1_000, config.instrument)
    assert {finding.code for finding in report.findings} <= {"extreme_move", "stale"}, report.summary()
    assert bars["ts_ms"].tolist() == [START_MS + i * config.interval_s * 1_000 for i in range(len(bars))]
    instrument = config.instrument
    for name in ("open", "high", "low", "close"):
        assert bars[name].tolist() == [instrument.price(round(p / config.tick_size)) for p in bars[name]]
    for name in ("volume", "taker_buy_base", "bid_depth", "ask_depth"):
        assert bars[name].tolist() == [instrument.qty(round(q / config.lot_size)) for q in bars[name]]
    assert ((bars["volume"] == 0) == (bars["n_trades"] == 0)).all()
    traded = bars[bars["n_trades"] > 0]
    for quote, base in (("quote_volume", "volume"), ("taker_buy_quote", "taker_buy_base")):
        paid = traded[traded[base] > 0]
        vwap = paid[quote] / paid[base]
        assert (vwap >= paid["low"] * (1 - 1e-9)).all()
        assert (vwap <= paid["high"] * (1 + 1e-9)).all()
    assert (bars["spread"] >= config.tick_size * (1 - 1e-9)).all()


@given(
    st.builds(
        SyntheticMarket,
        start_price=st.sampled_from([1.0, 50_000.0, 1e6]),
        interval_s=st.sampled_from([1, 60, 300]),
        daily_vol=st.floats(0.0, 1.0),
        vol_of_vol=st.floats(0.0, 1.5),
        jumps_per_day=st.floats(0.0, 86_400.0),
        jump_size_bps=st.floats(0.0, 1_000.0),
        half_spread_bps=st.floats(0.0, 500.0),
        depth_per_bps=st.sampled_from([1e-6, 0.05, 1e3]),
        trades_per_s=st.floats(0.0, 5.0),
        trade_qty=st.sampled_from([1e-6, 0.05, 100.0]),
        trade_qty_log_sd=st.floats(0.0, 3.0),
        impact_share=st.floats(0.0, 1.0),
        informed_share=st.floats(0.0, 1.0),
        tick_size=st.sampled_from([0.1, 0.05, 0.01]),
        lot_size=st.sampled_from([0.001, 1e-5, 1.0]),
    ),
    st.integers(0, 2**63 - 1),
)
@settings(deadline=None, max_examples=60)
def test_any_market_gives_sound_bars(config, seed):
    assert_sound(simulate(config, 12, seed), config)


def test_the_default_month_is_sound(month):
    assert_sound(month, DEFAULT)


def test_a_dead_market_stands_still():
    config = replace(DEFAULT, trades_per_s=0.0)
    bars = simulate(config, 10, 0)
    assert (bars[["open", "high", "low", "close"]] == 50_000.0).all(axis=None)
    assert (bars[["volume", "quote_volume", "n_trades"]] == 0).all(axis=None)
    still = simulate(replace(CALM, daily_vol=0.0, impact_share=0.0, informed_share=1.0), 500, 0)
    assert still["taker_buy_base"].sum() / still["volume"].sum() == pytest.approx(0.5, abs=0.02)
    assert len(set(still["close"])) > 1
    assert abs(still["close"].mean() - 50_000.0) < 10.0


@pytest.mark.parametrize("name", [field.name for field in fields(SyntheticMarket)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, True, "1", None, 1e300])
def test_a_bad_number_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=name):
        SyntheticMarket(**{name: value})


def test_further_refusals():
    with pytest.raises(ConfigError, match="whole seconds"):
        SyntheticMarket(interval_s=1.5)
    with pytest.raises(ConfigError, match="from 10 to 1e\\+12 ticks"):
        SyntheticMarket(start_price=0.5)
    with pytest.raises(ConfigError, match="from 10 to 1e\\+12 ticks"):
        SyntheticMarket(start_price=1e9, tick_size=1e-8)
    for n_bars in (0, -1, 1.0, True, None):
        with pytest.raises(ConfigError, match="n_bars"):
            simulate(DEFAULT, n_bars, 0)
        with pytest.raises(ConfigError, match="n_bars"):
            martingale_bars(n_bars, 0)
    for seed in (-1, 2**63, 0.5):
        with pytest.raises(ConfigError, match="seed"):
            simulate(DEFAULT, 1, seed)


# What the market is like


def test_daily_volatility_is_what_was_asked_for():
    for daily_vol in (0.01, 0.03):
        # A quiet book, so that the prints stand near the efficient price.
        config = replace(
            CALM, daily_vol=daily_vol, half_spread_bps=0.1, depth_per_bps=1e3, impact_share=0.0, informed_share=0.0
        )
        returns = log_returns(simulate(config, DAYS_30, 2))
        assert returns.std() * math.sqrt(1_440) == pytest.approx(daily_vol, rel=0.03)
    clustered = [log_returns(simulate(replace(config, vol_of_vol=0.5), DAYS_30, seed)).var() for seed in range(12)]
    assert math.sqrt(np.mean(clustered) * 1_440) == pytest.approx(0.03, rel=0.1)


def test_volatility_clusters_and_tails_are_fat(month):
    returns = log_returns(month)
    sizes = np.abs(returns)
    assert autocorrelation(sizes, 1) > 0.15
    assert autocorrelation(sizes, 60) > 0.1
    assert kurtosis(returns) > 5
    calm = log_returns(simulate(CALM, DAYS_30, 1))
    assert abs(autocorrelation(np.abs(calm), 60)) < 0.02
    assert kurtosis(calm) == pytest.approx(3.0, abs=0.2)
    jumps_only = log_returns(simulate(replace(CALM, jumps_per_day=8.0, jump_size_bps=60.0), DAYS_30, 1))
    assert kurtosis(jumps_only) > 5


def test_spread_widens_depth_thins_and_trading_rises_with_volatility(month):
    days = month.groupby(np.arange(len(month)) // 120)
    moves = days["close"].agg(lambda close: np.log(close).diff().abs().mean())
    assert np.corrcoef(moves, days["spread"].mean())[0, 1] > 0.7
    assert np.corrcoef(moves, days["bid_depth"].mean())[0, 1] < -0.5
    assert np.corrcoef(moves, days["ask_depth"].mean())[0, 1] < -0.5
    assert np.corrcoef(moves, days["n_trades"].mean())[0, 1] > 0.5


def test_depth_follows_volatility_as_stated():
    bars = simulate(replace(DEFAULT, impact_share=0.0), 5_000, 1)
    slope = np.polyfit(np.log(bars["spread"]), np.log(bars["bid_depth"]), 1)[0]
    assert slope == pytest.approx(-DEFAULT.depth_vol_exponent / DEFAULT.spread_vol_exponent, rel=0.05)


def test_the_side_just_hit_is_thinner(month):
    imbalance = 2 * month["taker_buy_base"] - month["volume"]
    skew = month["bid_depth"] - month["ask_depth"]
    assert np.corrcoef(imbalance, skew)[0, 1] > 0.2


@pytest.mark.parametrize(
    "wild",
    [
        {},
        {"daily_vol": 1.0, "vol_of_vol": 0.0, "jumps_per_day": 0.0},
        {"daily_vol": 0.0, "jumps_per_day": 400.0, "jump_size_bps": 1_000.0},
    ],
    ids=["default", "volatile", "jumpy"],
)
def test_no_drift(wild):
    # Ends of independent paths: a martingale ends where it began, on average. Without the correction of half the
    # variance the wild ones would end 13 % and 64 % higher.
    config = replace(DEFAULT, trades_per_s=0.05, interval_s=3_600, **wild)
    ends = np.array([simulate(config, 6, seed)["close"].iloc[-1] for seed in range(400)]) / 50_000.0 - 1.0
    assert abs(ends.mean()) < 3 * ends.std(ddof=1) / math.sqrt(len(ends))


def test_private_news_holds_the_price_within_a_fifth_of_its_value():
    storm = SyntheticMarket(
        start_price=1e6,
        tick_size=0.01,
        jumps_per_day=86_400.0,
        jump_size_bps=1_000.0,
        half_spread_bps=0.0,
        impact_share=0.0,
        depth_per_bps=1e9,
        information_half_life_s=3_600.0,
    )
    value, price = (simulate(replace(storm, informed_share=share), 5, 3)["close"].to_numpy() for share in (0.0, 1.0))
    assert np.abs(price / value - 1.0).max() > 0.1
    assert np.abs(price / value - 1.0).max() < 0.2001


def test_noise_reverts_and_information_does_not():
    noisy = log_returns(simulate(replace(DEFAULT, informed_share=0.0), DAYS_30, 4))
    informed = log_returns(simulate(replace(DEFAULT, informed_share=0.8), DAYS_30, 4))
    assert autocorrelation(noisy) < -0.08
    assert autocorrelation(informed) > 0.08


def test_informed_takers_are_on_the_side_of_the_next_move():
    def foresight(informed_share):
        bars = simulate(replace(DEFAULT, informed_share=informed_share), DAYS_30, 6)
        bought = (2 * bars["taker_buy_base"] / bars["volume"] - 1).to_numpy()
        return np.corrcoef(bought[:-1], log_returns(bars))[0, 1]

    none, default, most = foresight(0.0), foresight(DEFAULT.informed_share), foresight(0.8)
    assert none < 0.0 < most
    assert none + 0.05 < default < most - 0.05


def test_making_a_market_is_neither_impossible_nor_free():
    seeds = range(6)
    by_share = {share: maker_over_seeds(replace(DEFAULT, informed_share=share), 10.0, seeds) for share in (0.0, 0.8)}
    by_share[DEFAULT.informed_share] = maker_over_seeds(DEFAULT, 10.0, seeds)
    gross = {share: result[0].mean() for share, result in by_share.items()}
    # One unit of 50 000 a quote, two days: thousands of quote currency apart.
    assert gross[0.0] > 1.4 * gross[DEFAULT.informed_share]
    assert gross[DEFAULT.informed_share] > 5_000.0
    assert gross[0.8] < -3_000.0
    net_uninformed, net_informed = by_share[0.0][1], by_share[0.8][1]
    assert (net_uninformed > 0).mean() > 0.8
    assert (net_informed < 0).all()
    # The default market lies between: by the width of the quotes, and by luck, it pays its fees or it does not.
    narrow = maker_over_seeds(DEFAULT, 4.0, seeds)[1]
    assert (narrow < 0).all()
    wide = maker_over_seeds(DEFAULT, 10.0, range(20))[1]
    assert 0.2 < (wide > 0).mean() < 0.95


# The martingale


def test_martingale_has_no_drift_and_no_memory():
    bars = martingale_bars(50_000, 11)
    moves = np.diff(bars["close"].to_numpy())
    error = 1 / math.sqrt(len(moves))
    assert abs(moves.mean()) < 4 * moves.std() * error
    for lag in (1, 2, 5):
        assert abs(autocorrelation(moves, lag)) < 4 * error
    # 60 steps, even over -20..20 ticks: variance (41^2 - 1)/12 ticks^2 each.
    assert moves.std() / 0.1 == pytest.approx(math.sqrt(60 * (41**2 - 1) / 12), rel=0.02)
    assert kurtosis(moves) == pytest.approx(3.0, abs=0.15)


def test_martingale_bars_are_sound():
    bars = martingale_bars(500, 3, steps_per_bar=7, step_ticks=3, tick_size=0.5, qty_per_step=0.25, interval_s=300)
    assert check_klines(bars, 300_000, replace(DEFAULT, tick_size=0.5).instrument).findings == ()
    assert (bars["volume"] == 1.75).all()
    assert (bars["n_trades"] == 7).all()
    # Each step is at most 3 ticks, across the bars' borders too.
    assert (np.abs(bars["open"].to_numpy()[1:] - bars["close"].to_numpy()[:-1]) <= 1.5).all()
    assert ((bars["high"] - bars["low"]) <= 6 * 1.5).all()


def test_on_a_martingale_a_fill_loses_exactly_the_tick_it_was_traded_through():
    # Optional stopping: with steps of a tick, a fill at the limit is worth minus one tick, whatever the quotes.
    gross, fills = [], []
    for seed in range(60):
        bars = martingale_bars(600, seed, step_ticks=1, steps_per_bar=40)
        result = bar_maker(bars, half_spread_bps=0.006, skew_bps=0.001)
        gross.append(result[0] / 0.1)
        fills.append(result[2])
    excess = np.array(gross) + np.array(fills)
    assert np.mean(fills) > 200
    assert abs(excess.mean()) < 4 * excess.std(ddof=1) / math.sqrt(len(excess))
    assert np.mean(gross) < 0


def test_martingale_bars_hold_their_steps():
    one = martingale_bars(50, 3, steps_per_bar=1)
    for name in ("high", "low", "close"):
        assert (one[name] == one["open"]).all()
    two = martingale_bars(25, 3, steps_per_bar=2)
    path = one["close"].to_numpy().reshape(25, 2)
    for name, prices in {"open": path[:, 0], "high": path.max(1), "low": path.min(1), "close": path[:, 1]}.items():
        assert two[name].tolist() == prices.tolist()


@pytest.mark.parametrize(
    "bad",
    [
        {"steps_per_bar": 0},
        {"step_ticks": 0},
        {"step_ticks": 1.5},
        {"interval_s": -1},
        {"start_price": float("nan")},
        {"tick_size": 0.0},
        {"qty_per_step": -1.0},
        {"start_price": 1.0, "step_ticks": 50},
    ],
)
def test_martingale_refuses_bad_arguments(bad):
    with pytest.raises(ConfigError, match="|".join(bad)):
        martingale_bars(500, 0, **bad)
