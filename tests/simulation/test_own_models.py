"""Models of one's own in a world: none is judged by a few answers, and what they raise is told."""

import math
import re
from dataclasses import dataclass

import numba
import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError, ModelError
from marketmakerl.models.contract import QuotingModel
from marketmakerl.simulation import simulate as module
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.assess import assess
from marketmakerl.simulation.ceiling import ceiling
from marketmakerl.simulation.compare import compare
from marketmakerl.simulation.quote_grid import quote_grid
from marketmakerl.simulation.simulate import simulate_paths

PAPER = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5)


def same(a, b):
    assert np.array_equal(a.profit, b.profit)
    assert np.array_equal(a.inventory, b.inventory)


@numba.njit
def closes_at_noon(context, params):
    distance = 0.7 if context.ts_ns < 500_000_000 else np.nan
    return distance, distance


@numba.njit
def stops_low(context, params):
    if context.mid < params[1]:
        return np.nan, np.nan
    return params[0], params[0]


def stops_low_by_hand(world: mml.World, half: float, lowest: float, paths: int) -> np.ndarray:
    """Return the profits of paths, step by step as docs/model-world.md says."""
    rng = np.random.default_rng(0)
    s, q, profit = np.full(paths, world.s0), np.zeros(paths), np.zeros(paths)
    chance = world.arrival_rate * world.dt_s * math.exp(-world.k * half)
    for _ in range(world.steps):
        quotes = s >= lowest
        bought, sold = (rng.random(paths) < chance) & quotes, (rng.random(paths) < chance) & quotes
        q += bought.astype(float) - sold
        ds = world.sigma * math.sqrt(world.dt_s) * rng.standard_normal(paths)
        profit += half * (bought.astype(float) + sold) + q * ds
        s += ds
    return profit


# The first mids are where a few questions would show nothing: that is how it was judged blind to the mid.
@pytest.mark.parametrize("lowest", [99.0, 98.0, 100.5])
def test_a_model_that_stops_at_a_price_is_not_judged_by_a_few_mids(lowest):
    model = mml.CustomModel(stops_low, values=(0.67, lowest))
    found, right = mml.simulate(PAPER, model, 20_000, 1), stops_low_by_hand(PAPER, 0.67, lowest, 20_000)
    error = math.hypot(found.std, right.std()) / math.sqrt(20_000)
    assert found.mean == pytest.approx(right.mean(), abs=4.0 * error)
    if lowest == 99.0:
        assert found.mean == pytest.approx(54.35, abs=0.5)
    with pytest.raises(ConfigError, match=r"time and inventory only; custom may read more; where stops_low \(test_own"):
        mml.evaluate_exact(PAPER, model)
    assessed = assess(PAPER, model, 100, gamma=0.1)
    assert assessed.exact is None
    assert "may read more" in assessed.why_sampled


@pytest.mark.parametrize("ladder", [False, True])
def test_a_model_is_held_to_what_it_says_of_itself(ladder):
    world = PAPER.replace(tick_size=0.01)
    for function, what in ((stops_low, "mid"), (closes_at_noon, "time of the day")):
        quotes = mml.CustomModel(function, (0.67, 99.5), levels=2 if ladder else 1, reads_market=False)
        for run in (lambda it: mml.simulate(world, it, 10), lambda it: mml.evaluate_exact(world, it)):
            with pytest.raises(ConfigError, match=rf"reads no market \(reads_market=False\).*at another {what}"):
                run(quotes)


@dataclass(frozen=True)
class StopsLow(QuotingModel):
    """A model class of one's own that says nothing of what it reads."""

    half: float = 0.67

    @property
    def kernel(self):
        return stops_low

    def params(self):
        return np.array([self.half, 99.0])


def test_a_class_of_ones_own_may_read_the_market_unless_it_says_otherwise():
    class Blind(StopsLow):
        reads_market = False

    assert StopsLow().reads_market
    own = mml.simulate(PAPER, StopsLow(), 200, 1)
    same(own, mml.simulate(PAPER, mml.CustomModel(stops_low, (0.67, 99.0)), 200, 1))
    with pytest.raises(ConfigError, match="may read more"):
        mml.evaluate_exact(PAPER, StopsLow())
    with pytest.raises(ConfigError, match="at another mid"):
        mml.evaluate_exact(PAPER, Blind())


@numba.njit
def raises_at_two(context, params):
    if context.q >= 2.0:
        raise ValueError("not my inventory")
    return params[0], params[0]


@numba.njit
def divides_at_two(context, params):
    return params[0] + 0.0 / (context.q - 2.0), params[0]


@numba.njit
def asserts_below_two(context, params):
    if not context.q < 2.0:
        raise AssertionError  # as `assert` compiles to, which pytest rewrites
    return params[0], params[0]


RAISING = [
    (raises_at_two, "raises_at_two", "ValueError: not my inventory"),
    (divides_at_two, "divides_at_two", "ZeroDivisionError: division by zero"),
    (asserts_below_two, "asserts_below_two", "AssertionError"),
]


@pytest.mark.parametrize(("function", "name", "what"), RAISING)
def test_what_a_model_raises_ends_the_run_and_is_told(function, name, what):
    model = mml.CustomModel(function, (0.67,))
    with pytest.raises(ModelError) as told:
        mml.simulate(PAPER, model, 5_000, 0, threads=1)
    assert told.value.exit_code == 2
    found = re.fullmatch(
        rf"the model {name} \(test_own_models\.py, line \d+\) raised {what} at ([\d.]+) s, q 2, mid ([\d.]+), "
        r"step (\d+) of path (\d+)",
        str(told.value),
    )
    assert found, str(told.value)
    step, path = int(found[3]), int(found[4])
    assert float(found[1]) == pytest.approx(step * PAPER.dt_s)
    # A model that quotes the same and raises nothing comes to hold 2 at that very step of that very path, and no path
    # before it ever does.
    paths = simulate_paths(PAPER, mml.CustomModel(one_half, (0.67,)), path + 1, 0)
    holds = paths.inventory[:, :-1] >= 2.0
    assert not holds[:path].any()
    assert int(np.argmax(holds[path])) == step
    assert float(found[2]) == pytest.approx(paths.mid[path, step], rel=1e-5)
    for threads in (2, 7):
        with pytest.raises(ModelError) as again:
            mml.simulate(PAPER, model, 30_000, 0, threads=threads)
        assert str(again.value) == str(told.value)


@numba.njit
def one_half(context, params):
    return params[0], params[0]


@numba.njit
def raises_late(context, params):
    if context.q >= params[1]:
        raise ValueError("not my inventory")
    return params[0], params[0]


def test_of_many_threads_the_first_path_that_fails_is_named():
    model = mml.CustomModel(raises_late, (0.67, 17.0))  # few paths come so far
    messages = set()
    for threads in (1, 2, 5):
        with pytest.raises(ModelError) as told:
            mml.simulate(PAPER, model, 60_000, 3, threads=threads)
        messages.add(str(told.value))
    (message,) = messages
    first = int(message.rpartition(" ")[2])
    held = simulate_paths(PAPER, mml.CustomModel(one_half, (0.67,)), first + 1, 3).inventory[:, :-1].max(axis=1)
    assert (held[:first] < 17.0).all()
    assert held[first] >= 17.0


BURSTS = Hawkes(6.0, 20.0)


# Kinds of worlds that other tests compile too (test_simulate.WAYS and the commands). One kind more costs seconds.
@pytest.mark.parametrize(
    "changes",
    [
        {"latency_steps": 2}, {"latency_steps": 2, "arrivals": BURSTS},
        {"latency_steps": 2, "arrivals": BURSTS, "adverse_move": 0.1, "mid": "binomial"},
    ],
    ids=["late", "late, bursts", "late, bursts, adverse, binomial"],
)  # fmt: skip
def test_what_a_model_raises_is_told_in_every_kernel(changes):
    world = PAPER.replace(**changes)
    model = mml.CustomModel(raises_at_two, (0.67,))
    with pytest.raises(ModelError, match="raised ValueError: not my inventory"):
        mml.simulate(world, model, 200, 0)
    with pytest.raises(ModelError, match="raised ValueError: not my inventory"):
        simulate_paths(world, model, 20, 0)


@pytest.mark.parametrize("function", [raises_at_two, raises_at_two.py_func])
def test_what_a_model_raises_is_told_wherever_a_world_asks_it(function):
    model = mml.CustomModel(function, (0.67,), reads_market=False)
    for ask in (
        lambda: mml.simulate(PAPER, model, 10),
        lambda: mml.evaluate_exact(PAPER, model),
        lambda: assess(PAPER, model, 10, gamma=0.1),
        lambda: compare(PAPER, {"own": model}, 10, gamma=0.1),
        lambda: ceiling(PAPER, {"own": model}, mml.CARA(0.1)),
        lambda: model.offsets(2.0),
        lambda: model.explain(mml.QuoteContext(100.0, q=2.0)),
        lambda: quote_grid(model, [0.0], [2], PAPER),
    ):
        with pytest.raises(
            ModelError, match=r"raises_at_two \(test_own_models.py, line .*ValueError: not my inventory at 0 s"
        ):
            ask()
    if function is raises_at_two:
        limits = {"risk": mml.RiskLimits(), "budget": 1e5}
        with pytest.raises(ModelError, match="raised ValueError: not my inventory at "):
            mml.simulate(PAPER, model, 200, **limits)
        beyond = mml.CustomModel(raises_late, (0.3, 61.0), reads_market=False)  # where the table ends
        with pytest.raises(ModelError, match=r"q 61.* of path "):
            mml.simulate(PAPER.replace(arrivals=Hawkes(19.0, 20.0)), beyond, 2_000)


def test_the_engines_own_faults_are_not_put_down_to_a_model(monkeypatch):
    def broken(*arguments):
        raise AssertionError("a bug")

    monkeypatch.setattr(module, "run_paths", broken)
    with pytest.raises(AssertionError, match="a bug"):
        mml.simulate(PAPER, mml.Symmetric(0.7), 10)
