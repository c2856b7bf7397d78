"""The engine in Python's hands: chunks, snapshots, plain Python, and arguments that make no sense."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from marketmakerl import (
    AvellanedaStoikov,
    DataProcessor,
    EventTape,
    Fees,
    Instrument,
    RiskLimits,
    Symmetric,
    backtest,
)
from marketmakerl.backtesting import engine as engine_module
from marketmakerl.backtesting.engine import Engine
from marketmakerl.core.errors import ConfigError, DataFormatError

LINEAR = Instrument("BTC/USDT:USDT", 0.1, 0.001, "linear", 1.0, 5.0)
MODEL = AvellanedaStoikov(2e-5, 0.05, 5.0, 3600.0)
ARGS = {"fees": Fees(2, 5), "order_qty": 0.004, "cash": 10_000.0}


@pytest.fixture(scope="module")
def tape():
    return EventTape.from_klines(DataProcessor.simulate_market_data(n_bars=1500, seed=8), LINEAR, tier="T2")


def opened(tape) -> Engine:
    return Engine(tape.instrument, MODEL, bars=True, first_price=float(tape.price_ticks[0]) * 0.1, **ARGS)


def outputs(engine: Engine):
    return engine.fills(), engine.orders(), engine.samples()


def test_however_it_is_fed_it_does_the_same(tape, monkeypatch):
    whole = opened(tape)
    whole.feed(tape)
    monkeypatch.setattr(engine_module, "_CHUNK", 64)  # full again and again
    pieces = opened(tape)
    cuts = [0, 1, 2, 5, 900, 901, len(tape)]
    for first, last in itertools.pairwise(cuts):
        pieces.feed(tape.slice_rows(first, last))
    for one, other in zip(outputs(whole), outputs(pieces), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(whole.fills()) > 100


def test_a_snapshot_is_a_copy_of_bytes(tape):
    """Snapshot after any event, restore, go on: bit-identical to the run that was not interrupted."""
    through = opened(tape)
    through.feed(tape)
    for cut in (1, 777, 2003, 5000):
        first = opened(tape)
        first.feed(tape.slice_rows(0, cut))
        second = opened(tape)
        second.restore(first.snapshot())
        second.feed(tape.slice_rows(cut, len(tape)))
        assert second.snapshot() == through.snapshot()
        np.testing.assert_array_equal(second.fills(), through.fills()[len(first.fills()) :])


def test_changing_the_future_changes_nothing_before_it(tape):
    full = backtest(tape, MODEL, **ARGS)
    cut = 4 * 700
    price = np.array(tape.price_ticks)
    price[cut:] += 5_000
    changed = EventTape(LINEAR, tape.ts_ns, tape.local_ts_ns, price, tape.qty_lots, tape.kind, tape.meta)
    other = backtest(changed, MODEL, **ARGS)
    before_ns = tape.ts_ns[cut]
    for name in ("fills", "equity"):
        one, two = getattr(full, name), getattr(other, name)
        pd.testing.assert_frame_equal(one[one["ts_ns"] <= before_ns], two[two["ts_ns"] <= before_ns])
    assert full.metrics.pnl != other.metrics.pnl


def test_plain_python_does_the_same_as_compiled_code(capsys):
    code = (
        "import marketmakerl as mml, hashlib\n"
        "bars = mml.DataProcessor.simulate_market_data(n_bars=90, seed=8)\n"
        "i = mml.Instrument('BTC/USDT:USDT', 0.1, 0.001, 'linear', 1.0, 5.0)\n"
        "t = mml.EventTape.from_klines(bars, i, tier='T2')\n"
        "r = mml.backtest(t, mml.AvellanedaStoikov(2e-5, 0.05, 5.0, 3600.0), fees=mml.Fees(2, 5), order_qty=0.004,"
        " cash=1e4)\n"
        "print(r.metrics.fills, hashlib.sha256(r.raw_fills.tobytes() + r.raw_samples.tobytes()).hexdigest())\n"
    )
    exec(code, {})  # the same lines, compiled, in this process
    compiled = capsys.readouterr().out
    plain = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert plain == compiled
    assert int(plain.split()[0]) > 10


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cash": 0.0}, "cash"),
        ({"cash": float("nan")}, "cash"),
        ({"order_qty": 0.0}, "below one lot"),
        ({"order_qty": -1.0}, "below one lot"),
        ({"order_qty": "1"}, "order_qty"),
        ({"fees": (2, 5)}, "fees"),
        ({"bar_volume_share": 0.0}, "bar_volume_share"),
        ({"initial_inventory": float("inf")}, "initial_inventory"),
        ({"seed": -1}, "seed"),
    ],
)
def test_arguments_out_of_range(tape, change, text):
    with pytest.raises(ConfigError, match=text):
        backtest(tape, MODEL, **ARGS | change)


def test_tapes_that_cannot_be_traded(tape):
    with pytest.raises(ConfigError, match="EventTape"):
        backtest([1, 2], MODEL, **ARGS)
    with pytest.raises(DataFormatError, match="no events"):
        backtest(tape.slice_rows(0, 0), MODEL, **ARGS)
    with pytest.raises(DataFormatError, match="T0"):
        backtest(EventTape(**{**vars(tape), "meta": tape.meta | {"tier": "T0"}}), MODEL, **ARGS)
    with pytest.raises(DataFormatError, match="bars"):
        backtest(EventTape(**{**vars(tape), "meta": tape.meta | {"clock": "ticks"}}), MODEL, **ARGS)


def test_spot_starts_half_and_half_and_cannot_start_short(tape):
    spot = EventTape(**{**vars(tape), "instrument": Instrument("BTC/USDT", 0.1, 0.001, "spot")})
    result = backtest(spot, MODEL, **ARGS)
    first = result.equity.iloc[0]
    assert first["inventory"] * first["mid"] == pytest.approx(5_000, abs=60)
    assert first["equity"] == pytest.approx(10_000)
    with pytest.raises(ConfigError, match="short"):
        backtest(spot, MODEL, **ARGS, initial_inventory=-1.0)
    held = backtest(spot, MODEL, **ARGS, initial_inventory=0.0).metrics
    assert held.suppressed_pct["no_inventory"] > 0


def test_an_order_below_the_minimum_notional_is_never_placed(tape):
    dear = EventTape(**{**vars(tape), "instrument": Instrument("B/U:U", 0.1, 0.001, "linear", 1.0, 500.0)})
    m = backtest(dear, MODEL, **ARGS, risk=RiskLimits.off()).metrics
    assert (m.fills, m.orders) == (0, 0)
    assert m.suppressed_pct["min_notional"] == 1.0
    assert "min_notional" in m.no_fills_because


def bars_of(*rows) -> EventTape:
    """(low, high, close) a minute, volume enough for everything."""
    frame = pd.DataFrame(rows, columns=["low", "high", "close"], dtype=float)
    frame["open"] = frame["close"]
    frame["volume"] = 1e6
    frame["ts_ms"] = 1_700_000_040_000 + 60_000 * np.arange(len(frame))
    return EventTape.from_klines(frame, Instrument("X/USDT", 1.0, 1.0, "linear"), interval_ms=60_000)


def test_a_quote_cut_in_size_grows_back_and_a_cut_keeps_its_order():
    # Long to the hard limit, then back to flat: the bid is cut on the way up, and whole again on the way down.
    limits = RiskLimits.off()
    limits = RiskLimits(**limits.as_dict() | {"soft_inventory_pct": 0.1, "hard_inventory_pct": 0.3})
    falls, rises, flat = [(98, 100, 100)] * 12, [(100, 102, 100)] * 12, [(100, 100, 100)] * 2
    tape = bars_of(*flat, *falls, *rises, *flat)
    result = backtest(tape, Symmetric(1.0), fees=Fees(0, 0), order_qty=5.0, cash=10_000.0, risk=limits)
    bids = result.orders[result.orders["side"] == 1]
    assert bids["qty"].min() < 5
    assert bids["qty"].iloc[-1] == 5  # at the end nothing long is held, and the whole size is quoted again
    assert 0 < result.metrics.fill_ratio <= 1


def test_a_volume_share_below_one_lot_is_named_as_the_reason():
    tape = bars_of(*[(95, 105, 100)] * 20)
    thin = EventTape(**{**vars(tape), "qty_lots": np.full_like(tape.qty_lots, 5)})
    m = backtest(thin, Symmetric(1.0), fees=Fees(0, 0), order_qty=5.0, cash=1e4, risk=RiskLimits.off()).metrics
    assert m.fills == 0
    assert "less than one lot" in m.no_fills_because


def test_numpy_numbers_are_numbers():
    tape = bars_of(*[(95, 105, 100)] * 5)
    fine = Instrument("X/USDT", np.float64(1.0), np.float64(1.0), "linear")
    result = backtest(
        EventTape(**{**vars(tape), "instrument": fine}), Symmetric(1.0), fees=Fees(0, 0), order_qty=np.int64(5),
        cash=np.float64(1e4), queue="risk_averse", quote_interval_ns=10**8,
    )  # fmt: skip
    assert len(result.fills) > 0


def test_what_is_no_model_is_refused(tape):
    with pytest.raises(ConfigError, match="quoting model"):
        backtest(tape, (1.0, 1.0), **ARGS)


def test_the_identity_holds_over_a_long_run_of_a_large_budget():
    rng = np.random.default_rng(1)
    close = np.round(30_000 + np.cumsum(rng.normal(0, 5, 200_000)), 2)
    frame = pd.DataFrame({
        "ts_ms": 1_700_000_040_000 + 60_000 * np.arange(len(close)), "open": close, "high": close, "low": close,
        "close": close, "volume": 1.0,
    })  # fmt: skip
    spot = EventTape.from_klines(frame, Instrument("BTC/USDT", 0.01, 1e-5, "spot"), interval_ms=60_000)
    m = backtest(
        spot, Symmetric(20_000.0), fees=Fees(2, 5), order_qty=0.01, cash=1e6, risk=RiskLimits.off()
    ).metrics  # fmt: skip
    assert m.fills == 0
    assert abs(m.pnl - (m.gross_spread_pnl + m.inventory_pnl - m.fees_paid)) <= 1e-9 * max(1.0, m.turnover)
