"""Custom models: the page about them runs as it stands, and what cannot be a model says so before a run."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from numba import njit

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError
from marketmakerl.models.contract import CONTEXT, context_dtype, new_context
from tick_tapes import make_tape

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "custom-model.md").read_text(encoding="utf-8")
TERMS = {
    "fees": mml.Fees(maker_bps=-0.5, taker_bps=3.0),
    "order_qty": 0.01,
    "cash": 10_000.0,
    "risk": mml.RiskLimits.off(),
}


@pytest.fixture(scope="module")
def tape():
    return make_tape(seconds=60)


def test_the_page_runs_as_it_stands(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)  # where its ../shared/data may be
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 11
    names: dict = {"__name__": "page"}  # as in a file: functions know where they are from
    results = []
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/custom-model.md, block {number + 1}", "exec"), names)
        if "result" in names:
            results.append(names.pop("result"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Ticks: ")
    # The three with a memory, depth or trades, and a part of the two.
    fills = [int(line) for line in lines if line.isdecimal()]
    assert len(fills) == 4
    assert min(fills) > 20
    by_njit, by_ladder, by_python, by_script = results
    assert by_njit.metrics.fills > 20
    assert by_njit.metrics.maker_share == 1.0
    assert by_ladder.metrics.maker_share < 1.0  # it took
    assert by_ladder.run_log["orders"] > by_njit.run_log["orders"]
    assert by_python.metrics.fills > 0
    assert names["both"].metrics.fills == sum(part.metrics.fills for part in names["both"].parts.values()) > 20
    assert list(by_script.orders["type"]) == ["post_only", "ioc"]
    assert set(by_script.orders["status"]) <= {"filled", "cancelled", "expired"}


def test_the_page_names_every_field_of_the_context():
    tables = re.findall(r"^\| field \|.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    rows = "".join(line.split("|")[1] for table in tables for line in table.splitlines()[2:] if line)
    assert set(re.findall(r"`(\w+)`", rows)) == set(context_dtype(memory=1, depth=1, trades=1).names)


@njit
def wide(context, params):
    return params[0], params[0]


def wide_python(context, params):
    return params[0], params[0]


def test_python_and_compiled_agree(tape):
    compiled = mml.backtest(tape, mml.CustomModel(wide, values=(1.0,)), **TERMS)
    python = mml.backtest(tape, mml.CustomModel(wide_python, values=(1.0,)), **TERMS)
    alone = mml.backtest(tape, lambda _: (1.0, 1.0), **TERMS)
    built_in = mml.backtest(tape, mml.Symmetric(half_spread=1.0), **TERMS)
    assert compiled.metrics.fills > 0
    for other in (python, alone, built_in):
        assert other.fills.equals(compiled.fills)
        assert other.metrics == compiled.metrics


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_a_side_that_is_not_quoted(tape, nothing):
    result = mml.backtest(tape, lambda _: (nothing, 1.0), **TERMS)
    assert result.metrics.fills > 0
    assert set(result.orders["side"]) == {-1}
    assert result.metrics.suppressed_pct["withdrawn"] == pytest.approx(0.5, abs=0.02)


@njit
def whole(context, params):
    return 1, 1


@njit
def lonely(context, params):
    return 1.0


@njit
def unknown_field(context, params):
    return context.weather, 1.0


@njit
def uncompilable(context, params):
    return eval("1.0"), 1.0


@njit
def three(context, params):
    return 1.0, 1.0, 1.0


@pytest.mark.parametrize(
    ("function", "values", "text"),
    [
        (3, (), "needs a function"),
        (None, (), "needs a function"),
        (whole, (), "must return two floats"),
        (lonely, (), "must return two floats"),
        (three, (), "must return two floats"),
        (unknown_field, (), "the context has no 'weather'; it has ts_ns, mid"),
        (uncompilable, (), r"does not compile: .*'eval'.*test_custom_model\.py"),
        (object(), (), "got an object of type object$"),
        (wide, ("a",), "must be numbers"),
        (wide, (1.0, object), r"must be numbers, got \(1\.0, the class object\)$"),
        (wide, (math.nan,), "must be finite"),
    ],
)
def test_what_cannot_be_a_model(function, values, text):
    with pytest.raises(ConfigError, match=text):
        mml.CustomModel(function, values=values)


def test_an_answer_that_is_an_object_is_named_by_its_type():
    with pytest.raises(ConfigError, match=r"it returned an object of type Decimals$"):
        mml.CustomModel(lambda _: Decimals()).ask(None)


class Decimals:
    pass


@pytest.mark.parametrize("answer", [1.0, (1.0,), (1.0, 1.0, 1.0), ("a", 1.0), None])
def test_a_python_function_that_answers_nonsense(tape, answer):
    with pytest.raises(ConfigError, match="must return"):
        mml.backtest(tape, lambda _: answer, **TERMS)


def test_python_takes_ints_and_numpy_numbers(tape):
    result = mml.backtest(tape, lambda _: (1, np.float32(1.0)), **TERMS)
    assert result.metrics.fills > 0


@pytest.mark.parametrize(
    ("name", "value"), [("levels", 0), ("level_step_ticks", -1), ("grid_ticks", 0), ("levels", 1.5)]
)
def test_ladders_that_are_none(tape, name, value):
    with pytest.raises(ConfigError, match=name):
        mml.backtest(tape, mml.CustomModel(wide, values=(1.0,), **{name: value}), **TERMS)


@pytest.mark.parametrize(("name", "value"), [("levels", 0), ("levels", 101), ("grid_ticks", math.nan)])
def test_a_ladder_that_is_none_is_refused_when_the_model_is_made(name, value):
    with pytest.raises(ConfigError, match=f"custom: {name} must be a whole number from 1 to"):
        mml.CustomModel(wide, values=(1.0,), **{name: value})


def test_offsets_answer_for_both():
    for function in (wide, wide_python):
        assert mml.CustomModel(function, values=(2.0,)).offsets(1.0) == (2.0, 2.0)
    assert mml.CustomModel(lambda context: (context.q, context.time_left_s), horizon_s=60.0).offsets(3.0) == (3.0, 60.0)


def test_the_context_of_python_is_the_same_record():
    assert set(new_context().dtype.names) == set(CONTEXT.names)


def test_bars_take_python_njit_and_scripts():
    bars = mml.DataProcessor.simulate_market_data(n_bars=200, seed=1)
    instrument = mml.Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.001, kind="linear")
    tape = mml.EventTape.from_klines(bars, instrument, tier="T2")
    python, compiled = (
        mml.backtest(tape, mml.CustomModel(function, values=(20.0,)), **TERMS) for function in (wide_python, wide)
    )
    assert compiled.metrics.fills > 0
    assert python.metrics == compiled.metrics
    assert mml.backtest(tape, mml.OrderScript(), **TERMS).metrics.orders == 0


def test_a_function_compiled_ahead_with_our_signature_is_taken_as_it_is():
    from marketmakerl.models.contract import QUOTE_SIGNATURE

    ahead = njit(QUOTE_SIGNATURE)(lambda context, params: (params[0] + context.q, params[0] - context.q))
    assert mml.CustomModel(ahead, (2.0,)).offsets(0.5) == (2.5, 1.5)
    other = njit("UniTuple(float64, 2)(float64)")(lambda x: (x, x))
    with pytest.raises(ConfigError, match="compiled for other arguments"):
        mml.CustomModel(other)
