"""Several instruments on one account: alone they do the same, and what they share binds all of them."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import njit

import marketmakerl as mml
from marketmakerl.backtesting import engine as tick_engine
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.instruments import lookup
from marketmakerl.models.custom import CustomModel
from tick_tapes import INSTRUMENT, START_NS, make_tape

OTHER = replace(INSTRUMENT, symbol="ETH/USDT:USDT")
THIRD = replace(INSTRUMENT, symbol="SOL/USDT:USDT")
INSTRUMENTS = (INSTRUMENT, OTHER, THIRD)
CASH = 50_000.0
COMMON = {"fees": mml.Fees(1, 4), "order_qty": 0.1, "cash": CASH, "risk": mml.RiskLimits.off()}


def tapes(n=2, seconds=20, shift_ns=7_000_001):
    """Tapes of different markets whose times never fall together, unless there is no shift."""
    made = []
    for j in range(n):
        tape = make_tape(seconds, seed=j)
        moved = {name: getattr(tape, name) + j * shift_ns for name in ("ts_ns", "local_ts_ns")}
        made.append(replace(tape, instrument=INSTRUMENTS[j], **moved))
    return made


def same(one, other):
    return one.fills.equals(other.fills) and one.orders.equals(other.orders)


class TestAlone:
    """Where nothing that is shared binds, two together are two apart."""

    @pytest.mark.parametrize("shift_ns", [0, 7_000_001])
    @pytest.mark.parametrize("risk", [mml.RiskLimits.off(), mml.RiskLimits(min_edge_bps=None)], ids=["off", "on"])
    @pytest.mark.parametrize("clock", [{"quote_interval_ns": 100_000_000}, {"quote_on": "all"}], ids=["clock", "event"])
    def test_two_together_are_two_apart(self, clock, risk, shift_ns):
        market = tapes(shift_ns=shift_ns)
        models = [mml.Symmetric(half_spread=0.5), mml.Symmetric(half_spread=0.8)]
        options = COMMON | clock | {"risk": risk, "latency": mml.Latency(0, 3_000_000, 2_000_000), "queue": "log"}
        both = mml.backtest(market, models, **options)
        assert list(both.parts) == ["BTC/USDT:USDT", "ETH/USDT:USDT"]
        for tape, model, part in zip(market, models, both.parts.values(), strict=True):
            alone = mml.backtest(tape, model, **options)
            assert len(alone.fills) > 5
            assert same(alone, part)
            assert alone.run_log == part.run_log
            assert part.metrics.pnl == pytest.approx(alone.metrics.pnl, abs=1e-9 * alone.metrics.turnover)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def test_whatever_the_clocks_and_latencies(self, data):
        n = data.draw(st.integers(2, 3))
        market = tapes(n, seconds=5, shift_ns=data.draw(st.sampled_from([0, 1, 20_000_000, 1_700_000_000])))
        latencies = [
            mml.Latency(*(data.draw(st.sampled_from([0, 1, 1_000_000, 60_000_000])) for _ in range(3)))
            for _ in range(n)
        ]
        queues = [data.draw(st.sampled_from(["risk_averse", "log", "front"])) for _ in range(n)]
        quantities = [data.draw(st.sampled_from([0.001, 0.1, 1.0])) for _ in range(n)]
        when = data.draw(st.sampled_from([
            {"quote_interval_ns": 50_000_000}, {"quote_interval_ns": 333_333_333}, {"quote_on": "trade"},
            {"quote_on": ("all", "response"), "quote_interval_ns": 70_000_000}]))  # fmt: skip
        # A function might look at the others, so that everybody meets at every decision.
        models = [CustomModel(quote_near, values=[0.2 + 0.1 * j]) for j in range(n)]
        options = COMMON | when
        both = mml.backtest(
            market, models, **options | {"latency": latencies, "queue": queues, "order_qty": quantities}
        )
        for j, part in enumerate(both.parts.values()):
            own = {"latency": latencies[j], "queue": queues[j], "order_qty": quantities[j]}
            assert same(mml.backtest(market[j], models[j], **options | own), part)

    def test_however_small_the_chunks(self, monkeypatch):
        market, model = tapes(seconds=30), mml.Symmetric(half_spread=0.4)
        options = COMMON | {"risk": mml.RiskLimits(min_edge_bps=None)}
        whole = mml.backtest(market, model, **options)
        monkeypatch.setattr(tick_engine, "_CHUNK", 64)
        small = mml.backtest(market, model, **options)
        assert len(whole.orders) > 200
        assert same(whole, small)
        assert whole.metrics == small.metrics

    def test_a_python_function_is_the_compiled_one(self):
        market = tapes()
        compiled = mml.backtest(market, CustomModel(quote_near, values=[0.4]), **COMMON)
        python = mml.backtest(market, CustomModel(quote_near.py_func, values=[0.4]), **COMMON)
        assert len(compiled.fills) > 5
        assert same(compiled, python)


@njit
def quote_near(context, params):
    return params[0], params[0]


@njit
def quote_bids_only(context, params):
    return params[0], np.nan


@njit
def quote_at_the_others_bid(context, params):
    """Buy where the other instrument's best bid stands, far below; one more offset says whose turn it is."""
    other = context.bids[1 - context.instrument]
    return context.mid - (other - params[0]), np.nan


class TestOthers:
    def test_a_model_reads_the_others_local_best_price(self):
        """Prices of own orders say what was seen: they must be the other's best bid that had arrived by then."""
        market = tapes(seconds=10, shift_ns=11_000_003)
        interval_ns = 130_000_000
        result = mml.backtest(
            market, CustomModel(quote_at_the_others_bid, values=[1000.0]), quote_interval_ns=interval_ns, **COMMON
        )
        for j, part in enumerate(result.parts.values()):
            orders = part.orders
            assert len(orders) > 30
            known = _bids_by_arrival(market[1 - j])
            for sent_ns, price in zip(orders["submitted_ns"], orders["price"], strict=True):
                assert (sent_ns - int(market[j].ts_ns[0])) % interval_ns == 0
                expected = known[np.searchsorted([when for when, _ in known], sent_ns, side="right") - 1][1]
                assert price == pytest.approx(expected / 10 - 1000.0)

    def test_nothing_later_is_seen(self):
        """What the other market does from a time on changes nothing before it."""
        market = tapes(seconds=10, shift_ns=11_000_003)
        cut_ns = START_NS + 5_000_000_000
        later = market[1].ts_ns >= cut_ns
        changed = replace(market[1], price_ticks=np.where(later, market[1].price_ticks + 50, market[1].price_ticks))
        model = CustomModel(quote_at_the_others_bid, values=[1000.0])
        runs = [mml.backtest([market[0], second], model, quote_on="all", **COMMON) for second in (market[1], changed)]
        first, second = (run.parts["BTC/USDT:USDT"].orders.sort_values("order_id") for run in runs)
        before = first["submitted_ns"] < cut_ns
        assert before.sum() > 20
        assert first[before]["price"].tolist() == second[second["submitted_ns"] < cut_ns]["price"].tolist()
        assert first["price"].tolist() != second["price"].tolist()


def _bids_by_arrival(tape):
    """Replay a tape the slow way: (time of receipt, best bid in ticks) after every message."""
    bids, seen = {}, []
    for local, tick, lots, kind in zip(tape.local_ts_ns, tape.price_ticks, tape.qty_lots, tape.kind, strict=True):
        if kind & ~64 == 6:
            bids = {}
        elif kind & ~64 == 8:
            bids[int(tick)] = int(lots)
        best = max((tick for tick, held in bids.items() if held), default=None)
        if kind < 64 and best is not None:
            seen.append((int(local), best))
    return seen


class TestShared:
    def test_a_loss_of_one_halts_all(self):
        """The breakers watch the account: what one instrument loses stops the other, at its next decision."""
        market = tapes(seconds=30)
        limits = replace(mml.RiskLimits.off(), hard_drawdown_pct=0.002)
        options = COMMON | {"risk": limits, "cash": 20_000.0}
        # The first holds a position into a market that goes against it, the second quotes far away and loses nothing.
        holding = -10.0 if market[0].price_ticks[-1] > market[0].price_ticks[0] else 10.0
        result = mml.backtest(
            market, [mml.Symmetric(half_spread=500.0)] * 2, initial_inventory=[holding, 0.0], **options
        )
        assert result.metrics.max_drawdown_pct >= 0.002
        assert result.metrics.liquidations == 1
        halted = {
            name: part.orders["closed_ns"][part.orders["reason"] == "halted"] for name, part in result.parts.items()
        }
        assert all(len(times) for times in halted.values())
        stopped = halted["BTC/USDT:USDT"].min()
        for part in result.parts.values():
            later = part.orders[part.orders["submitted_ns"] > stopped + 100_000_000]
            assert set(later["type"]) <= {"market"}  # slices of the way home
        alone = mml.backtest(market[1], mml.Symmetric(half_spread=500.0), **options)
        assert "halted" not in set(alone.orders["reason"])

    def test_a_loss_that_one_would_not_bear_two_do(self):
        """The limits' budget is the account's: what halts one with half of it is borne by both together."""
        market = tapes(seconds=30)
        holding = -10.0 if market[0].price_ticks[-1] > market[0].price_ticks[0] else 10.0
        free = mml.backtest(
            market[0],
            mml.Symmetric(half_spread=500.0),
            **COMMON | {"initial_inventory": holding, "cash": 10_000.0, "equity_interval_ns": 100_000_000},
        )
        worst = free.metrics.max_drawdown_pct * 10_000.0
        limits = replace(mml.RiskLimits.off(), hard_drawdown_pct=worst / 15_000.0)
        options = COMMON | {"risk": limits}
        model = mml.Symmetric(half_spread=500.0)
        alone = mml.backtest(market[0], model, **options | {"initial_inventory": holding, "cash": 10_000.0})
        assert alone.metrics.liquidations == 1
        both = mml.backtest(market, model, **options | {"initial_inventory": [holding, 0.0], "cash": 20_000.0})
        assert both.metrics.liquidations == 0
        parts = list(both.parts.values())
        assert parts[0].metrics.return_pct == pytest.approx(both.metrics.return_pct)
        assert parts[1].metrics.return_pct == 0.0

    def test_the_account_is_the_sum_of_its_parts(self):
        run = mml.backtest(tapes(3), mml.Symmetric(half_spread=0.5), **COMMON)
        metrics, parts = run.metrics, [part.metrics for part in run.parts.values()]
        for name in ("pnl", "fees_paid", "gross_spread_pnl", "inventory_pnl", "turnover", "excess_pnl"):
            assert getattr(metrics, name) == pytest.approx(sum(getattr(part, name) for part in parts))
        identity = metrics.gross_spread_pnl + metrics.inventory_pnl + metrics.funding_pnl - metrics.fees_paid
        assert abs(metrics.pnl - identity) <= 1e-9 * max(1.0, metrics.turnover)
        equity = run.equity
        assert equity["equity"].iloc[-1] == pytest.approx(CASH + metrics.pnl)
        assert equity["ts_ns"].is_monotonic_increasing
        spread = equity["equity"] - CASH - equity[[f"pnl {name}" for name in run.parts]].sum(axis=1)
        assert np.abs(spread).max() < 1e-6
        assert len(run.fills) == metrics.fills == sum(part.fills for part in parts)
        assert set(run.fills["instrument"]) == set(run.parts)
        assert run.fills["ts_ns"].is_monotonic_increasing
        table = run.attribution.set_index("instrument")
        assert table.loc["SOL/USDT:USDT", "pnl"] == parts[2].pnl
        for horizon, mean in metrics.markout_bps.items():
            known = [
                (part.markout_bps[horizon], len(r.fills)) for part, r in zip(parts, run.parts.values(), strict=True)
            ]
            values = [value for value, _ in known if value is not None]
            assert mean is None if not values else min(values) <= mean <= max(values)

    def test_spot_spends_the_cash_of_all_and_no_more(self):
        """Buying with what the other has left is allowed, buying with more than all have is not."""
        spot = [
            replace(tape, instrument=mml.Instrument(f"{coin}/USDT", 0.1, 0.001))
            for tape, coin in zip(tapes(seconds=60), "AB", strict=True)
        ]
        buyer, seller = CustomModel(quote_bids_only, values=[0.2]), mml.Symmetric(half_spread=500.0)
        options = COMMON | {"cash": 300_000.0, "initial_inventory": 0.0, "order_qty": 0.5, "queue": "front"}
        run = mml.backtest(spot, [buyer, seller], **options)
        own = run.parts["A/USDT"].equity["cash"]
        assert own.min() < -50_000.0  # its own half is long gone
        assert run.equity["cash"].min() >= -1e-6
        assert run.equity["cash"].min() < 60_000.0  # as good as everything is spent: less than an order is left
        refused = set(run.parts["A/USDT"].orders["reason"])
        assert "no_cash" in refused or run.parts["A/USDT"].metrics.suppressed_pct["no_cash"] > 0

    @pytest.mark.parametrize("by", ["model", "script"])
    def test_what_one_has_bid_another_cannot_spend(self, by):
        """A resting bid holds its cash: here (a model's is cut), and at the exchange (a script's is refused)."""
        spot = [
            replace(tape, instrument=mml.Instrument(f"{coin}/USDT", 0.1, 0.001))
            for tape, coin in zip(tapes(seconds=20), "AB", strict=True)
        ]
        options = {**COMMON, "cash": 100_000.0, "initial_inventory": 0.0, "order_qty": 1.0}
        script = mml.OrderScript()
        script.submit(START_NS + 5_000_000_000, side=1, price_ticks=590_000, qty_lots=1000)
        quiet = CustomModel(quote_bids_only, values=[1000.0])
        second = script if by == "script" else quiet
        both = mml.backtest(spot, [quiet, second], **options)
        alone = mml.backtest(spot[1], second, **options)
        assert len(both.parts["A/USDT"].orders) > 0
        assert "no_cash" not in set(alone.orders["reason"])
        assert len(alone.orders) > 0
        refused = both.parts["B/USDT"]
        if by == "script":
            assert list(refused.orders["reason"]) == ["no_cash"]
        else:
            assert alone.orders["qty"].iloc[0] == 1.0
            left = 100_000.0 - both.parts["A/USDT"].orders["price"].iloc[0]
            price = refused.orders["price"].iloc[0]
            assert left / price * 0.99 < refused.orders["qty"].iloc[0] < left / price  # cut to what is left

    def test_margin_that_one_uses_the_other_lacks(self):
        market = tapes(seconds=20)
        rules = mml.VenueRules(leverage=2.0, maintenance_margin_rate=0.005)
        options = COMMON | {"cash": 45_000.0, "order_qty": 0.5, "venue": rules}
        quiet = mml.Symmetric(half_spread=500.0)
        alone = mml.backtest(market[1], quiet, **options)
        assert "margin" not in set(alone.orders["reason"])
        # The first holds one coin, 60,000 on 45,000 of equity: 15,000 of margin are left, half an order.
        both = mml.backtest(market, [mml.Symmetric(half_spread=5000.0), quiet], initial_inventory=[1.0, 0.0], **options)
        assert "margin" in set(both.parts["ETH/USDT:USDT"].orders["reason"])

    def test_what_all_have_keeps_one_from_liquidation(self):
        """Alone the position falls; with the other half of the cash in the same account it stands."""
        market = tapes(seconds=30)
        falls = market[0].price_ticks[-1] < market[0].price_ticks[0]
        holding = 1.0 if falls else -1.0
        rules = mml.VenueRules(leverage=50.0, maintenance_margin_rate=0.005)
        quiet = [mml.Symmetric(half_spread=5000.0)] * 2
        options = {**COMMON, "venue": rules, "order_qty": 0.001}
        alone = mml.backtest(market[0], quiet[0], **options | {"cash": 301.0, "initial_inventory": holding})
        assert alone.metrics.liquidations == 1
        both = mml.backtest(market, quiet, **options | {"cash": 602.0, "initial_inventory": [holding, 0.0]})
        assert both.metrics.liquidations == 0

    def test_what_one_has_lost_the_other_answers_for(self):
        """Cross margin: with the account's money gone the venue closes the position that did not lose it, too."""
        market = tapes(seconds=30)
        quiet = mml.Symmetric(half_spread=5000.0)
        mids = mml.backtest(market[1], quiet, **COMMON).equity["mid"]
        move = mids.iloc[-1] - mids.iloc[0]
        losing = -300.0 if move > 0 else 300.0
        rules = mml.VenueRules(leverage=5.0)
        options = {**COMMON, "venue": rules, "cash": 0.3 * abs(losing * move), "order_qty": 0.001}
        alone = mml.backtest(market[0], quiet, **options | {"initial_inventory": 0.001})
        assert alone.metrics.liquidations == 0
        both = mml.backtest(market, quiet, **options | {"initial_inventory": [0.001, losing]})
        assert [part.metrics.liquidations for part in both.parts.values()] == [1, 1]

    def test_spot_shares_the_budget_in_equal_parts(self):
        spot = [
            replace(t, instrument=mml.Instrument(f"{c}/USDT", 0.1, 0.001)) for t, c in zip(tapes(), "AB", strict=True)
        ]
        run = mml.backtest(spot, mml.Symmetric(half_spread=0.5), **COMMON | {"cash": 400_000.0})
        for part in run.parts.values():
            assert part.equity["inventory"][0] * part.equity["mid"][0] == pytest.approx(100_000.0, rel=1e-3)
        assert run.metrics.initial_budget == pytest.approx(400_000.0, rel=1e-3)


class TestRefused:
    def test_different_currencies(self):
        one, two = tapes()
        inverse = replace(two, instrument=mml.Instrument("BTC/USD:BTC", 0.1, 1.0, kind="inverse", contract_size=100.0))
        with pytest.raises(ConfigError, match="one currency"):
            mml.backtest([one, inverse], mml.Symmetric(half_spread=1.0), **COMMON)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"tape": []}, "empty list"),
            ({"model": [mml.Symmetric(half_spread=1.0)]}, "model: 1 values for 2 tapes"),
            ({"fees": [mml.Fees(1, 2)] * 3}, "fees: 3 values for 2 tapes"),
            ({"cash": math.nan}, "cash must be"),
            ({"cash": -1.0}, "cash must be"),
            ({"tape": "text"}, "EventTape"),
            ({"order_qty": [0.1, 0.0]}, "below one lot"),
            ({"latency": [mml.Latency(), 5]}, "latency must be Latency"),
            ({"venue": 5}, "venue must be VenueRules"),
        ],
    )
    def test_bad_arguments(self, changes, words):
        arguments = {"tape": tapes(seconds=5), "model": mml.Symmetric(half_spread=1.0), **COMMON} | changes
        with pytest.raises(ConfigError, match=words):
            mml.backtest(**arguments)

    def test_more_than_there_is_room_for(self):
        with pytest.raises(ConfigError, match="1 to 8 instruments"):
            mml.backtest(tapes(seconds=5)[:1] * 9, mml.Symmetric(half_spread=1.0), **COMMON)


class TestRecorded:
    """BTC and ETH, spot and perpetual, of the same ten minutes."""

    @pytest.fixture
    def market(self, shared_data):
        names = [("binanceusdm", "BTC"), ("binanceusdm", "ETH"), ("binance", "BTC"), ("binance", "ETH")]
        made = []
        for exchange, coin in names:
            stem = f"{exchange}_{coin}USDT_2024-08-08T2354"
            book, trades = shared_data / f"book/{stem}_l2.parquet", shared_data / f"trades/{stem}_trades.parquet"
            instrument = lookup(exchange, f"{coin}/USDT:USDT" if exchange == "binanceusdm" else f"{coin}/USDT")
            made.append(mml.EventTape.from_book(pd.read_parquet(book), pd.read_parquet(trades), instrument))
        return made

    def test_four_instruments_are_one_account(self, market):
        terms = {
            "fees": mml.Fees(0, 5),
            "cash": 400_000.0,
            "queue": "log",
            "latency": mml.Latency(0, 5_000_000, 5_000_000),
        }
        models = [mml.Symmetric(half_spread=5.0), mml.Symmetric(half_spread=0.5)] * 2
        sizes = [0.01, 0.1, 0.01, 0.1]
        both = mml.backtest(market, models, order_qty=sizes, risk=mml.RiskLimits(min_edge_bps=None), **terms)
        for tape, model, size, part in zip(market, models, sizes, both.parts.values(), strict=True):
            held = float(part.equity["inventory"][0])
            alone = mml.backtest(
                tape, model, order_qty=size, risk=mml.RiskLimits(min_edge_bps=None),
                initial_inventory=held, target_inventory=held, **terms,
            )  # fmt: skip
            assert len(alone.fills) > 20
            assert same(alone, part), tape.instrument.symbol
        metrics = both.metrics
        identity = metrics.gross_spread_pnl + metrics.inventory_pnl + metrics.funding_pnl - metrics.fees_paid
        assert abs(metrics.pnl - identity) <= 1e-9 * metrics.turnover
        assert both.equity["equity"].iloc[-1] == pytest.approx(metrics.initial_budget + metrics.pnl)
