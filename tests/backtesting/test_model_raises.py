"""What a model of one's own raises ends a backtest with an error that says who, what and when; on every clock."""

import re

import numba
import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.backtesting import engine as module
from marketmakerl.core.clock import iso_utc
from marketmakerl.core.errors import ModelError
from marketmakerl.data.bars import compile_bars
from marketmakerl.data.tape import EventTape
from recorded import bars_of
from tick_tapes import make_tape

GAP, SNAP, BID, ASK, SELL, BUY = 5, 6, 8, 9, 12, 13
T0, S = 1_700_000_000_000_000_000, 10**9
PERP = mml.Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.001, kind="linear")
TERMS = {"fees": mml.Fees(-0.5, 3.0), "order_qty": 0.01, "cash": 10_000.0}
OFF = mml.RiskLimits.off()


@numba.njit
def raises_when_long(context, params):
    if context.q >= params[1]:
        raise ValueError("not my inventory")
    return params[0], params[0]


@numba.njit
def raises_at(context, params):
    if context.ts_ns >= params[1]:
        raise RuntimeError("too late", context.instrument)
    return params[0], params[0]


@numba.njit
def divides(context, params):
    return params[0] / (1.0 if context.ts_ns < params[1] else context.take_qty), params[0]


@numba.njit
def helper(context):
    if context.ts_ns % 7 == 0:
        raise KeyError("in a helper")
    return 0.5


@numba.njit
def asks_a_helper(context, params):
    return helper(context), params[0]


@numba.njit
def asserts(context, params):
    if context.ts_ns >= params[1]:
        raise AssertionError
    return params[0], params[0]


def test_a_model_that_raises_when_it_holds_too_much():
    """The tape of the fault: a sell at 99.0 every 200 ms walks through our bid."""
    rows = [(T0, BID, 1000, 5), (T0, ASK, 1002, 5)] + [(T0 + i * S // 5, SELL, 990, 500) for i in range(1, 99)]
    columns = np.array(rows, np.int64)
    meta = {"tier": "T2", "clock": "ticks", "source": "case"}
    made = (columns[:, 0], columns[:, 0], columns[:, 2], columns[:, 3], columns[:, 1].astype(np.int8))
    tape = EventTape(PERP, *(column.copy() for column in made), meta)
    model = mml.CustomModel(raises_when_long, values=(0.67, 2.0))
    with pytest.raises(ModelError) as told:
        mml.backtest(tape, model, fees=mml.Fees(0, 0), order_qty=0.001, cash=1000, risk=OFF)
    line = raises_when_long.py_func.__code__.co_firstlineno
    # Bids stand from 100 ms on and fill at 200 ms and at 400 ms; the decision at 400 ms is the first that holds two.
    assert str(told.value) == (
        f"the model raises_when_long (test_model_raises.py, line {line}) raised ValueError: not my inventory at "
        f"2023-11-14T22:13:20.400Z (ts_ns {T0 + 400_000_000}), q 2, mid 100.1"
    )
    assert isinstance(told.value.__cause__, ValueError)
    assert told.value.exit_code == 2


CLOCKS = {
    "interval": {"quote_interval_ns": 100_000_000},
    "all": {"quote_on": "all"},
    "depth and response": {"quote_on": ("depth", "response"), "latency": mml.Latency(entry_ns=3_000_000)},
}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("risk", [OFF, None], ids=["off", "limits"])
@pytest.mark.parametrize(
    ("function", "what"),
    [(raises_at, r"RuntimeError: \('too late', 0\)"), (divides, "ZeroDivisionError: division by zero"),
     (asserts, "AssertionError")],
)  # fmt: skip
def test_at_the_first_decision_from_then_on(function, what, clock, risk):
    tape = make_tape(seconds=9)
    late_ns = int(tape.local_ts_ns[0]) + 6 * S
    decided = []

    def notes(context, params):
        decided.append(int(context.ts_ns))
        return params[0], params[0]

    mml.backtest(tape, mml.CustomModel(notes, values=(1.0,)), risk=risk, **CLOCKS[clock], **TERMS)
    first = next(ts_ns for ts_ns in decided if ts_ns >= late_ns)
    for levels in (1, 2):
        model = mml.CustomModel(function, values=(1.0, float(late_ns)), levels=levels)
        with pytest.raises(ModelError, match=f"raised {what} at {re.escape(iso_utc(first))}") as told:
            mml.backtest(tape, model, risk=risk, **CLOCKS[clock], **TERMS)
        assert levels == 2 or f"(ts_ns {first})" in str(told.value)


def test_a_helper_a_ladder_and_a_plain_function():
    tape = make_tape(seconds=10)
    options = {"risk": OFF, "quote_on": "all", **TERMS}
    with pytest.raises(ModelError, match=r"asks_a_helper \(test_model_raises\.py, line \d+\) raised KeyError"):
        mml.backtest(tape, mml.CustomModel(asks_a_helper, values=(1.0,)), **options)
    seen = []

    def stops(context):
        seen.append(int(context.ts_ns))
        if len(seen) == 5:
            raise LookupError("five is enough")
        return 1.0, 1.0

    with pytest.raises(
        ModelError, match=r"stops \(test_model_raises\.py, line \d+\) raised LookupError: five is"
    ) as told:
        mml.backtest(tape, stops, **options)
    assert f"(ts_ns {seen[-1]})" in str(told.value)

    class Object:
        def __call__(self, context, _params):
            raise LookupError(context.q)

    with pytest.raises(ModelError, match=r"Object \(test_model_raises\.py, line \d+\) raised LookupError: 0.0 at "):
        mml.backtest(tape, Object(), **options)


def test_of_several_instruments_the_one_that_raised():
    tapes = [make_tape(seconds=30, seed=seed) for seed in range(3)]
    late_ns = int(tapes[0].local_ts_ns[0]) + 20 * S
    for guilty in range(3):
        models = [mml.Symmetric(1.0)] * 3
        models[guilty] = mml.CustomModel(raises_at, values=(1.0, float(late_ns)))
        with pytest.raises(ModelError, match=rf"raises_at .*RuntimeError: \('too late', {guilty}\) at ") as told:
            mml.backtest(tapes, models, risk=OFF, quote_interval_ns=S // 2, **TERMS)
        assert late_ns <= int(re.search(r"ts_ns (\d+)", str(told.value))[1]) < late_ns + S


def test_on_bars():
    tape = compile_bars(bars_of(300), PERP, interval_ms=60_000, tier="T2", source="made up")
    late_ns = int(tape.ts_ns[len(tape) // 2])
    model = mml.CustomModel(raises_at, values=(50.0, float(late_ns)))
    for risk in (OFF, None):
        with pytest.raises(ModelError, match=r"raised RuntimeError: \('too late', 0\) at ") as told:
            mml.backtest(tape, model, risk=risk, **TERMS)
        assert 0 <= int(re.search(r"ts_ns (\d+)", str(told.value))[1]) - late_ns < 120 * S


@numba.njit
def even(context, params):
    return 1.0, 1.0


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (mml.CustomModel(even), MemoryError("full")),
        (mml.CustomModel(even), AssertionError("a bug")),
        (mml.Symmetric(1.0), AssertionError("a bug")),
        (mml.Symmetric(1.0), ValueError("a bug")),
    ],
)
def test_the_engines_own_faults_stay_what_they_are(monkeypatch, model, error):
    source = f"def broken(*_):\n    raise {type(error).__name__}({str(error)!r})"
    names = {}
    exec(compile(source, module.__file__, "exec"), names)  # raised in the package, as an assertion of the kernel is
    monkeypatch.setattr(module, "advance", names["broken"])
    with pytest.raises(type(error), match=str(error)):
        mml.backtest(make_tape(seconds=5), model, **TERMS)
