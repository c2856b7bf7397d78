"""What the one step gives to bars: ladders, Python models, scripts, taking, several instruments, latency, snapshots."""

import itertools

import numpy as np
import pandas as pd
import pytest
from numba import njit

import marketmakerl as mml
from marketmakerl.backtesting.engine import Engine
from marketmakerl.core.errors import ConfigError, DataFormatError

OFF = mml.RiskLimits.off()
LINEAR = mml.Instrument("X/USDT:USDT", 1.0, 1.0, "linear")
START_MS, S, MINUTE_NS = 1_700_000_040_000, 10**9, 60 * 10**9
CLOSE_NS = START_MS * 10**6 + MINUTE_NS  # of the first bar


def bars(*rows, instrument=LINEAR, volume=1e6):
    """(low, high, close) a minute."""
    frame = pd.DataFrame(rows, columns=["low", "high", "close"], dtype=float)
    frame["open"] = frame["close"].shift(1, fill_value=frame["close"].iloc[0])
    frame["low"] = frame[["low", "open"]].min(axis=1)
    frame["high"] = frame[["high", "open"]].max(axis=1)
    frame["volume"] = volume
    frame["ts_ms"] = START_MS + 60_000 * np.arange(len(frame))
    return mml.EventTape.from_klines(frame, instrument, interval_ms=60_000, tier="T2")


def walk(seed, n=300, instrument=LINEAR, sigma=2.0):
    rng = np.random.default_rng(seed)
    close = np.maximum(1_000 + np.cumsum(rng.normal(0, sigma, n)).round(), 100)
    reach = rng.integers(0, 5, (2, n))
    return bars(*zip(close - reach[0], close + reach[1], close, strict=True), instrument=instrument)


def run(tape, model, **options):
    usual = {"fees": mml.Fees(0, 0), "order_qty": 5.0, "cash": 100_000.0, "risk": OFF, "bar_volume_share": 1.0}
    return mml.backtest(tape, model, **usual | options)


def rows_of(result):
    return result.fills[["side", "price", "qty", "liquidity"]].to_numpy().tolist()


def test_a_ladder_fills_from_the_best_level_down_and_shares_the_volume():
    ladder = mml.Ladder(mml.Symmetric(2.0), levels=3, level_step_ticks=2)
    tape = bars((100, 100, 100), (95, 100, 100), (95, 100, 100), volume=24.0)  # 12 lots a side and bar
    # Bids of 5 at 98, 96, 94; the low of 95 is through the first two. Their 10 lots are within the 12 of the bar.
    first = run(tape.slice_rows(0, 8), ladder)
    assert rows_of(first) == [[1, 98.0, 5.0, "maker"], [1, 96.0, 5.0, "maker"]]
    half = run(tape, ladder, bar_volume_share=0.5)  # 6 lots: the best level whole, one lot of the next
    assert rows_of(half)[:2] == [[1, 98.0, 5.0, "maker"], [1, 96.0, 1.0, "maker"]]


def test_python_does_what_the_compiled_model_does():
    @njit
    def compiled(context, params):
        return params[0] + 0.5 * context.q, params[0] - 0.5 * context.q

    def python(context, params):
        return params[0] + 0.5 * context.q, params[0] - 0.5 * context.q

    tape = walk(1)
    one, other = (run(tape, mml.CustomModel(function, values=(2.0,))) for function in (compiled, python))
    assert len(one.fills) > 50
    assert one.raw_fills.tobytes() == other.raw_fills.tobytes()
    assert one.raw_orders.tobytes() == other.raw_orders.tobytes()


def test_a_model_sees_the_close_for_both_best_prices_and_may_remember():
    seen = []

    def model(context):
        seen.append((context.mid, context.best_bid, context.best_ask, context.best_bid_qty, context.bids[0]))
        return None, None

    run(bars((100, 100, 100), (95, 100, 97)), model)
    assert seen == [(100.0, 100.0, 100.0, 0.0, 100.0), (97.0, 97.0, 97.0, 0.0, 97.0)]


def test_scripts_rest_take_and_are_cancelled():
    script = mml.OrderScript()
    after = CLOSE_NS + S  # a second into the second bar
    script.submit(after, side=1, price_ticks=98, qty_lots=3)  # rests, and fills through
    gone = script.submit(after, side=-1, price_ticks=103, qty_lots=3)
    script.submit(after, side=1, price_ticks=100, qty_lots=3)  # post-only at the close: it would take
    script.submit(after, side=-1, price_ticks=1, qty_lots=2, order_type="market")
    script.submit(after, side=1, price_ticks=101, qty_lots=4, order_type="ioc")
    script.submit(after, side=1, price_ticks=99, qty_lots=4, order_type="ioc")  # below the close: nothing to take
    script.cancel(after + S, gone)
    slipping = mml.RiskLimits(**OFF.as_dict() | {"liquidation_slippage_bps": 200.0})
    result = run(bars((100, 100, 100), (97, 104, 101)), script, risk=slipping)
    orders = result.orders.sort_values("order_id")[["status", "reason", "filled_qty"]].to_numpy().tolist()
    assert orders == [
        ["filled", "", 3.0], ["cancelled", "requote", 0.0], ["rejected", "post_only", 0.0], ["filled", "", 2.0],
        ["filled", "", 4.0], ["expired", "no_liquidity", 0.0],
    ]  # fmt: skip
    # 2 % beyond the close of 100, but no further than a limit: 98 for the sale, 101 for the purchase.
    assert rows_of(result) == [[-1, 98.0, 2.0, "taker"], [1, 101.0, 4.0, "taker"], [1, 98.0, 3.0, "maker"]]


def test_take_qty_fills_at_the_close_less_the_declared_slippage():
    @njit
    def model(context, params):
        context.take_qty = 7.0 if context.inventory == 0.0 else 0.0
        return np.nan, np.nan

    slipping = mml.RiskLimits(**OFF.as_dict() | {"liquidation_slippage_bps": 100.0})
    result = run(
        bars((1000, 1000, 1000), (1000, 1000, 1000)), mml.CustomModel(model), risk=slipping, fees=mml.Fees(0, 5)
    )
    assert rows_of(result) == [[1, 1010.0, 7.0, "taker"]]
    assert result.metrics.fees_paid == pytest.approx(7 * 1010 * 5e-4)


def test_two_instruments_on_one_account_are_two_runs_when_nothing_binds_them():
    other = mml.Instrument("Y/USDT:USDT", 1.0, 1.0, "linear")
    tapes = [walk(1), walk(2, instrument=other)]
    together = run(tapes, mml.Symmetric(2.0))
    alone = [run(tape, mml.Symmetric(2.0), cash=50_000.0) for tape in tapes]
    assert min(len(one.fills) for one in alone) > 50
    for part, one in zip(together.parts.values(), alone, strict=True):
        assert part.raw_fills.tobytes() == one.raw_fills.tobytes()
    assert together.metrics.pnl == pytest.approx(sum(one.metrics.pnl for one in alone))
    assert together.metrics.interval_s == 60.0
    assert together.metrics.markout_bps["60s"] is not None


def test_the_halt_of_one_is_the_halt_of_all_on_bars_too():
    other = mml.Instrument("Y/USDT:USDT", 1.0, 1.0, "linear")
    still = bars(*[(98, 102, 100)] * 40, instrument=other)
    falling = bars(*[(100 - i, 101 - i, 100 - i) for i in range(40)])
    limits = mml.RiskLimits(**OFF.as_dict() | {"hard_drawdown_pct": 0.1})
    result = run([falling, still], mml.Symmetric(1.0), risk=limits, initial_inventory=[10.0, 0.0], target_inventory=0.0,
                 cash=1_000.0, order_qty=[5.0, 1.0])  # fmt: skip
    parts = list(result.parts.values())
    halted = next(event["ts_ns"] for event in parts[0].risk_events if event["after"] == "halted")
    assert [part.metrics.final_inventory for part in parts] == [0.0, 0.0]
    late = parts[1].raw_fills[parts[1].raw_fills["ts_ns"] > halted + MINUTE_NS]
    assert len(late) == 0
    assert len(parts[1].raw_fills) > 0


def test_bars_and_ticks_or_bars_of_two_lengths_do_not_share_an_account():
    minutes = walk(1, n=10)
    hours = mml.EventTape(**{**vars(minutes), "meta": minutes.meta | {"interval_ns": 3_600 * S}})
    with pytest.raises(ConfigError, match="all of bars of one length"):
        run([minutes, hours], mml.Symmetric(2.0))


def test_an_order_that_is_long_on_its_way_misses_the_bar():
    tape = bars((100, 100, 100), (95, 100, 100), (95, 100, 100), (95, 100, 100))

    @njit
    def once(context, params):
        return (2.0 if context.inventory == 0.0 else np.nan), np.nan

    fills = {}
    for seconds in (0, 1, 61, 121):
        result = run(tape, mml.CustomModel(once), latency=mml.Latency(entry_ns=seconds * S))
        fills[seconds] = ((result.raw_fills["ts_ns"] - CLOSE_NS) // MINUTE_NS).tolist()
    assert fills == {0: [1], 1: [1], 61: [2], 121: [3]}


def test_what_filled_is_known_when_its_report_has_come():
    seen = []

    def model(context):
        seen.append(context.inventory)
        return (2.0 if not seen[:-1] else None), None

    tape = bars((100, 100, 100), (95, 100, 100), (100, 100, 100), (100, 100, 100))
    run(tape, model)
    assert seen == [0.0, 5.0, 5.0, 5.0]
    seen.clear()
    run(tape, model, latency=mml.Latency(response_ns=S))
    assert seen == [0.0, 0.0, 5.0, 5.0]


def opened(tape, **options):
    ladder = mml.Ladder(mml.Symmetric(1.0), levels=3, level_step_ticks=1)
    return Engine(
        tape.instrument, ladder, fees=mml.Fees(-1, 5), order_qty=5.0, cash=100_000.0, first_price=1_000.0, bars=True,
        latency=mml.Latency(entry_ns=7 * S, response_ns=70 * S), **options,
    )  # fmt: skip


@pytest.mark.parametrize("risk", [OFF, mml.RiskLimits(max_holding_s=600.0)], ids=["limits off", "limits on"])
def test_fed_in_pieces_or_restored_it_does_the_same(risk):
    tape = walk(3)
    whole = opened(tape, risk=risk)
    whole.feed(tape)
    pieces = opened(tape, risk=risk)
    for first, last in itertools.pairwise([0, 1, 2, 3, 4, 9, 602, 603, 604, 605, len(tape)]):
        kept = pieces.snapshot()
        pieces = opened(tape, risk=risk)
        pieces.restore(kept)
        pieces.feed(tape.slice_rows(first, last))
    assert pieces.snapshot() == whole.snapshot()
    assert len(whole.fills()) > 100
    assert int(whole.state.ledger.fills) == len(whole.fills())


def test_a_tape_that_mixes_bars_and_ticks_is_refused():
    tape = walk(1, n=10)
    kind = tape.kind.copy()
    kind[5] = 12  # a trade
    with pytest.raises(DataFormatError, match=r"row 5 .*bars and ticks do not mix"):
        run(mml.EventTape(**{**vars(tape), "kind": kind}), mml.Symmetric(2.0))
