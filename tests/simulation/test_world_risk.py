"""Limits in a model world: what they let through and what they take off, replayed from the paths in plain Python."""

import math

import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.core.errors import ConfigError
from marketmakerl.risk.limits import RiskLimits
from marketmakerl.simulation import simulate as module
from marketmakerl.simulation.arrivals import Hawkes
from marketmakerl.simulation.assess import assess
from marketmakerl.simulation.mids import JumpDiffusion
from marketmakerl.simulation.simulate import simulate_paths

WORLD = mml.World(s0=100, sigma=2, horizon_s=1, dt_s=0.005, arrival_rate=140, k=1.5, fee_per_unit=0.02, order_size=2)
LOSING = WORLD.replace(adverse_move=0.4)
QUOTES = mml.Symmetric(0.3)
BUDGET = 20_000.0
TAKER_BPS, SLIPPAGE_BPS = 3.0, 5.0
N = 60


def limits(**on):
    """Return limits with nothing on but these."""
    from dataclasses import asdict, replace

    assert set(on) <= set(asdict(RiskLimits()))
    return replace(RiskLimits.off(), **on)


def paths(risk, world=WORLD, model=QUOTES, n=N, seed=4):
    return simulate_paths(world, model, n, seed, risk=risk, budget=BUDGET, taker_fee_bps=TAKER_BPS)


class Replay:
    """One path, step by step, in plain numbers: equity before each step's look, and what was taken off at it."""

    def __init__(self, found, path, world=WORLD):
        self.mid, self.bid, self.ask = (row[path].tolist() for row in (found.mid, found.bid, found.ask))
        self.inventory = found.inventory[path].tolist()
        self.bought, self.sold = found.bought[path].tolist(), found.sold[path].tolist()
        profit, held, forced = 0.0, 0.0, 0.0
        self.equity, self.held, self.taken_off = [], [], []
        for step in range(len(self.bid)):
            self.equity.append(BUDGET + profit)
            self.held.append(held)
            taken = held != 0 and self.inventory[step] == 0
            self.taken_off.append(taken)
            if taken:
                cost = abs(held) * self.mid[step] * (TAKER_BPS + SLIPPAGE_BPS) * 1e-4
                profit, forced, held = profit - cost, forced + cost, 0.0
            assert self.inventory[step] == held
            for filled, distance in (
                (self.bought[step], self.mid[step] - self.bid[step]),
                (self.sold[step], self.ask[step] - self.mid[step]),
            ):
                if filled:
                    profit += filled * (distance - world.fee_per_unit)
            held += self.bought[step] - self.sold[step]
            profit += held * (self.mid[step + 1] - self.mid[step])
        self.profit, self.forced = profit, forced

    def quoted(self, step):
        return math.isfinite(self.bid[step]) or math.isfinite(self.ask[step])


@pytest.mark.parametrize(
    ("risk", "world"),
    [
        (limits(hard_drawdown_pct=0.004), LOSING),
        (limits(stop_loss_pct=0.001, cooldown_s=0.05), WORLD),
        (limits(take_profit_pct=0.0005, cooldown_s=0.02), WORLD.replace(drift=3.0)),
        (RiskLimits(max_holding_s=0.1, cooldown_s=0.05, max_orders=None, max_messages=None), WORLD),
    ],
    ids=["drawdown", "stop", "target", "nearly all"],
)
def test_profit_is_the_sum_of_its_parts_through_what_is_taken_off(risk, world):
    found = paths(risk, world)
    replays = [Replay(found, path, world) for path in range(N)]
    assert sum(any(replay.taken_off) for replay in replays) >= 5
    for path, replay in enumerate(replays):
        assert found.profit[path] == pytest.approx(replay.profit, abs=1e-8)
    run = mml.simulate(world, QUOTES, N, seed=4, risk=risk, budget=BUDGET, taker_fee_bps=TAKER_BPS)
    assert np.array_equal(run.profit, found.profit)
    assert run.forced_cost_mean == pytest.approx(sum(replay.forced for replay in replays) / N, rel=1e-9)
    worst = [max(max(replay.equity[: i + 1]) - replay.equity[i] for i in range(len(replay.equity)))
             for replay in replays]  # fmt: skip
    last = [max(replay.equity) - BUDGET - replay.profit for replay in replays]
    assert run.max_drawdown == pytest.approx(np.maximum(worst, last) / BUDGET, abs=1e-12)


@pytest.mark.parametrize("limit", [0.002, 0.004])
@pytest.mark.parametrize("name", ["hard_drawdown_pct", "daily_loss_pct"])
def test_a_breaker_halts_at_the_first_step_at_which_its_condition_holds(name, limit):
    found = paths(limits(**{name: limit}), LOSING)
    halted = 0
    for path in range(N):
        replay = Replay(found, path, LOSING)
        peak, halt = -math.inf, None
        for step, equity in enumerate(replay.equity):
            peak = max(peak, equity) if name == "hard_drawdown_pct" else BUDGET
            if halt is None and peak - equity >= limit * BUDGET:
                halt = step
        for step in range(len(replay.bid)):
            running = halt is None or step < halt
            assert replay.quoted(step) == running
            assert running or replay.inventory[step] == 0
            assert running or replay.bought[step] == replay.sold[step] == 0
            assert not (running and replay.taken_off[step])
        halted += halt is not None
    assert 0 < halted < N
    run = mml.simulate(LOSING, QUOTES, N, seed=4, risk=limits(**{name: limit}), budget=BUDGET)
    assert run.halted_share == halted / N
    assert run.reduced_share == 0.0


def test_reducing_quotes_wider_and_goes_on():
    risk = limits(soft_drawdown_pct=0.002, risk_off_widen=2.0, risk_off_scale=0.6)
    found = paths(risk, LOSING)
    reduced = 0
    for path in range(N):
        replay = Replay(found, path, LOSING)
        peak, factor = -math.inf, 1.0
        for step, equity in enumerate(replay.equity):
            peak = max(peak, equity)
            factor = 2.0 if peak - equity >= 0.002 * BUDGET else factor
            assert replay.mid[step] - replay.bid[step] == pytest.approx(0.3 * factor, abs=1e-9)
            assert replay.ask[step] - replay.mid[step] == pytest.approx(0.3 * factor, abs=1e-9)
        reduced += factor > 1
    assert 0 < reduced < N
    run = mml.simulate(LOSING, QUOTES, N, seed=4, risk=risk, budget=BUDGET)
    assert (run.halted_share, run.reduced_share) == (0.0, reduced / N)


@pytest.mark.parametrize("latency_steps", [0, 3])
def test_no_quote_that_could_lead_past_the_hard_inventory_limit(latency_steps):
    world = WORLD.replace(latency_steps=latency_steps)
    found = paths(limits(hard_inventory_pct=0.05), world)  # five orders of 200
    most, held_back = 0.05 * BUDGET, 0
    for path in range(N):
        replay = Replay(found, path, world)
        for step, q in enumerate(replay.inventory[:-1]):
            mid = replay.mid[step]
            if latency_steps == 0:
                assert math.isfinite(replay.bid[step]) == (q < 0 or (q + 2) * mid <= most * (1 + 1e-9))
                assert math.isfinite(replay.ask[step]) == (q > 0 or (2 - q) * mid <= most * (1 + 1e-9))
            held_back += not (math.isfinite(replay.bid[step]) and math.isfinite(replay.ask[step]))
            if replay.bought[step] or replay.sold[step]:
                # Where it was sent it fitted; the mid has moved since by little.
                assert abs(replay.inventory[step + 1]) * mid <= most * 1.05
    assert held_back > 100


def test_an_exit_comes_when_it_is_due_and_both_sides_stay_out():
    found = paths(limits(stop_loss_pct=0.001, take_profit_pct=0.002, max_holding_s=0.25, cooldown_s=0.05))
    seen = set()
    for path in range(N):
        replay = Replay(found, path)
        held, entered, since, out_until = 0.0, 0.0, 0, -1
        for step, mid in enumerate(replay.mid[:-1]):
            loss = (entered - held * mid) / BUDGET
            rules = (("stop", loss >= 0.001), ("target", -loss >= 0.002), ("time", (step - since) * 0.005 >= 0.25))
            due = [name for name, holds in rules if held and holds]
            assert replay.taken_off[step] == bool(due), (path, step)
            if due:
                seen.add(due[0])
                held, entered, out_until = 0.0, 0.0, step * 0.005 + 0.05
            assert replay.quoted(step) == (step * 0.005 >= out_until - 1e-9), (path, step)
            # In the order in which the step books them: the bid's fill before the ask's.
            for sign, filled, price in ((1, replay.bought[step], replay.bid[step]),
                                        (-1, replay.sold[step], replay.ask[step])):  # fmt: skip
                if not filled:
                    continue
                if held == 0.0:
                    since = step
                if held * sign >= 0:
                    entered += sign * filled * price
                else:
                    entered -= entered * min(filled, abs(held)) / abs(held)
                    if filled > abs(held):
                        entered, since = sign * (filled - abs(held)) * price, step
                held += sign * filled
    assert seen == {"stop", "target", "time"}


@pytest.mark.parametrize(("max_orders", "max_messages"), [(40, 90), (None, 60)])
def test_orders_and_messages_stay_below_their_limits_in_every_window(max_orders, max_messages):
    world = WORLD.replace(horizon_s=4.0)
    risk = limits(max_orders=max_orders, max_messages=max_messages, rate_window_s=1.0)
    found = paths(risk, world, n=10)
    busiest = 0
    for path in range(10):
        replay = Replay(found, path, world)
        sent, cancelled, standing = [], [], [math.nan, math.nan]
        for step in range(len(replay.bid)):
            prices = (replay.bid[step], replay.ask[step])
            for side, price in enumerate(prices):
                if price == standing[side]:
                    continue
                if math.isfinite(standing[side]):
                    cancelled.append(step)
                if math.isfinite(price):
                    sent.append(step)
                standing[side] = price
            if replay.bought[step]:
                standing[0] = math.nan
            if replay.sold[step]:
                standing[1] = math.nan
        for step in range(len(replay.bid)):
            orders = sum(step <= other < step + 200 for other in sent)
            cancels = sum(step <= other < step + 200 for other in cancelled)
            assert max_orders is None or orders <= max_orders
            assert orders + cancels <= max_messages
            busiest = max(busiest, orders)
    assert busiest >= (35 if max_orders else 25)


def test_a_side_that_adds_must_earn_its_fee():
    found = paths(limits(min_edge_bps=30.0))  # 0.3 is asked for, and 0.02 + 0.30 needed
    assert np.isnan(found.bid).all()
    assert np.isnan(found.ask).all()
    assert np.isfinite(paths(limits(min_edge_bps=27.0)).bid).mean() > 0.9


def test_too_many_executions_halt():
    risk = limits(max_executions=5)
    found = paths(risk)
    orders = ((found.bought + found.sold) / WORLD.order_size).cumsum(axis=1)
    for path in range(N):
        at = int(np.argmax(orders[path] > 5))  # the step whose fills are too many ends, and that is it
        assert orders[path, -1] == orders[path, at] <= 7
        assert np.isnan(found.bid[path, at + 1 :]).all()
    assert mml.simulate(WORLD, QUOTES, 100, risk=risk, budget=BUDGET).halted_share == 1.0


WORLDS = {
    "paper": {},
    "late, in bursts": {"latency_steps": 3, "arrivals": Hawkes(excitation=10, decay_per_s=40)},
    "jumps": {"mid": JumpDiffusion(4.0, 0.1, 0.5)},
    "adverse": {"adverse_move": 0.1},
    "bounded": {"inventory_limit": 2, "fill": "poisson"},
    "below zero": {"s0": 1.0},  # the mid runs through zero
}


@pytest.mark.parametrize("name", WORLDS)
def test_limits_that_are_off_change_no_bit(name):
    world, model = WORLD.replace(**WORLDS[name]), mml.AvellanedaStoikov(0.1, 1.5, 2, 1)
    theory = mml.simulate(world, model, 1_500, seed=2)
    off = mml.simulate(world, model, 1_500, seed=2, risk=RiskLimits.off(), budget=1.0)
    for column in ("profit", "inventory", "fills"):
        assert getattr(theory, column).tobytes() == getattr(off, column).tobytes()
    assert (theory.mean_spread, theory.clipped_share, theory.two_sided_share) == (
        off.mean_spread, off.clipped_share, off.two_sided_share
    )  # fmt: skip
    assert theory.max_drawdown is None
    assert "halted_share" not in theory.summary()
    assert (off.halted_share, off.exits_mean, off.forced_cost_mean) == (0.0, 0.0, 0.0)


def test_the_number_of_threads_and_the_size_of_a_piece_do_not_matter(monkeypatch):
    risk = RiskLimits(hard_drawdown_pct=0.003, soft_drawdown_pct=None, max_orders=None, max_messages=None)

    def run(threads):
        return mml.simulate(LOSING, QUOTES, 3_000, seed=3, risk=risk, budget=BUDGET, threads=threads)

    one = run(1)
    assert 0 < one.halted_share < 1
    others = [run(threads) for threads in (2, 5)]
    monkeypatch.setattr(module, "CHUNKS", (37, 37))
    for other in (*others, run(3)):
        assert one.profit.tobytes() == other.profit.tobytes()
        assert one.max_drawdown.tobytes() == other.max_drawdown.tobytes()
        assert one.summary() == other.summary()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"budget": None}, "give budget"),
        ({"budget": -1.0}, "budget must be"),
        ({"budget": math.nan}, "budget must be"),
        ({"taker_fee_bps": math.inf}, "taker_fee_bps"),
        ({"risk": None}, "give risk too"),
        ({"risk": RiskLimits(flat_windows=("Fri 15:55-Sun 18:00",))}, "no days of the week"),
        ({"model": mml.Ladder(QUOTES, 3, 1), "world": WORLD.replace(tick_size=0.1)}, "leave out the ladder"),
        ({"model": mml.CustomModel(lambda _context: (0.3, 0.3))}, "must be compiled"),
    ],
)
def test_what_cannot_be_kept_is_refused(changes, text):
    given = {"world": WORLD, "model": QUOTES, "risk": RiskLimits(), "budget": BUDGET, "taker_fee_bps": 0.0} | changes
    world, model = given.pop("world"), given.pop("model")
    with pytest.raises(ConfigError, match=text):
        mml.simulate(world, model, 10, **given)


def test_under_limits_there_is_nothing_exact():
    with pytest.raises(ConfigError, match="no exact figures"):
        assess(WORLD, QUOTES, 100, gamma=0.1, exact=True, risk=RiskLimits(), budget=BUDGET)
    done = assess(WORLD, QUOTES, 100, gamma=0.1, risk=RiskLimits(), budget=BUDGET)
    assert done.exact is None
    assert "whole path" in done.why_sampled
