"""The venue's own rules, one by one: published worked examples, and ledgers done by hand in exact fractions.

Every example is played by the slow engine and by the fast one, and both have to agree with the paper.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

import marketmakerl as mml
from backtesting.test_tick_oracle_by_hand import (
    MORE,
    OPEN,
    ask,
    bid,
    bought,
    buy,
    by_engine,
    by_oracle,
    open_engine,
    sell,
    snapshot,
    sold,
    tape_of,
)
from backtesting.test_ticks_against_oracle import Shape, draw_with_rules
from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.exchange.account import account, find_triggers, must_liquidate
from marketmakerl.backtesting.order_script import OrderScript
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.ledger import equity
from oracles.tick_venue import VenueParams
from tick_tapes import make_tape

F = Fraction
DAY_NS = 86_400 * 10**9
FREE = mml.Fees(0.0, 0.0)


@pytest.fixture(params=["oracle", "engine"])
def play(request):
    def play(rows, script, **params):
        timed = [(ts, ts, price, lots, kind) for ts, price, lots, kind in rows]
        if request.param == "oracle":
            return by_oracle(timed, script, VenueParams(**params))
        return by_engine(timed, script, VenueParams(**params), equity_interval_ns=DAY_NS)

    return play


def after(rows, script, **params) -> Engine:
    """Return the fast engine at the end of a session."""
    timed = [(ts, ts, price, lots, kind) for ts, price, lots, kind in rows]
    engine = open_engine(script, VenueParams(**params))
    engine.feed(tape_of(timed, VenueParams(**params)))
    engine.finish()
    return engine


def cut(ts, price, lots, *levels):
    """Rows of one time that show a market of one level a side, and nothing better than it from before."""
    gone = [kind(ts, level, 0) for kind, level in levels]
    return [*gone, bid(ts, price - 1, lots), ask(ts, price + 1, lots)]


def books_close(state, *, spread, inventory, funding, fees, cash):
    """Every part of the profit, the cash, and that the parts make up the whole."""
    near = 1e-12 * max(1.0, float(state.ledger.turnover), abs(float(cash)))
    assert state.ledger.gross_spread_pnl == pytest.approx(float(spread), abs=near)
    assert state.ledger.inventory_pnl == pytest.approx(float(inventory), abs=near)
    assert state.ledger.funding_pnl == pytest.approx(float(funding), abs=near)
    assert state.ledger.fees_paid == pytest.approx(float(fees), abs=near)
    assert state.ledger.cash == pytest.approx(float(cash), abs=near)
    identity_holds(state)


def identity_holds(state):
    books = state.ledger
    parts = books.gross_spread_pnl + books.inventory_pnl + books.funding_pnl - books.fees_paid
    assert equity(books) - books.start_equity == pytest.approx(parts, abs=1e-9 * max(1.0, float(books.turnover)))


# -- minutes in which the venue takes nothing new


DOWN = [(1005, 1010)]
AROUND = [*OPEN, bid(1020, 80, 1)]


def test_new_orders_are_rejected_from_the_first_instant_of_a_window_to_before_its_last(play):
    script = [buy(ts, 90, 1, "limit") for ts in (1004, 1005, 1009, 1010)]
    it = play(AROUND, [*script[:3], buy(1009, 1, 1, "market"), script[3]], rejects=DOWN)
    assert it.ends() == {
        1: ("EXPIRED", "END", 0),
        2: ("REJECTED", "VENUE_DOWN", 0),
        3: ("REJECTED", "VENUE_DOWN", 0),
        4: ("REJECTED", "VENUE_DOWN", 0),
        5: ("EXPIRED", "END", 0),
    }


def test_in_a_window_cancels_pass_replaces_do_not_and_what_rests_fills(play):
    script = [
        buy(1001, 99, 5, "limit"),
        buy(1001, 95, 5, "limit"),
        ("replace", 1006, 1, 97, 5),
        ("replace", 1006, 1, 99, 2),  # less of it is a replace too
        ("cancel", 1007, 2),
    ]
    it = play([*OPEN, sold(1008, 98, 9), bid(1020, 80, 1)], script, rejects=DOWN)
    assert it.brief() == [(1008, 1, 99, 5)]
    assert it.ends() == {1: ("FILLED", "NONE", 5), 2: ("CANCELLED", "REQUOTE", 0)}
    assert it.counts["replace_rejected"] == 2


def test_it_is_when_a_request_arrives_that_counts(play):
    script = [buy(1001, 90, 1, "limit"), buy(1002, 90, 1, "limit")]
    late = {"latency": [(0, 4, 0)]}
    it = play(AROUND, script, rejects=[(1006, 1008)], **late)
    assert it.ends() == {1: ("EXPIRED", "END", 0), 2: ("REJECTED", "VENUE_DOWN", 0)}


def test_on_bars_a_quote_is_rejected_at_a_close_within_a_window():
    tape = mml.EventTape.from_klines(pd.DataFrame({
        "ts_ms": np.arange(6) * 60_000, "open": 100.0, "high": 103.0, "low": 97.0,
        "close": [100.0, 100.0, 101.0, 101.0, 101.0, 101.0], "volume": 1e6,
    }), mml.Instrument("X/USDT:USDT", 1.0, 1.0, "linear"), tier="T2")  # fmt: skip
    minute = 60 * 10**9
    options = {"fees": FREE, "order_qty": 1.0, "cash": 1e6, "risk": mml.RiskLimits.off()}
    free, down = (
        mml.backtest(tape, mml.Symmetric(4.0), **options, venue=mml.VenueRules(reject_windows=windows))
        for windows in ((), ((2 * minute, 4 * minute),))
    )
    assert list(free.orders["status"]).count("rejected") == 0
    orders = down.orders
    # What was placed at 60 s rests on at 120 s (nothing changes); at 180 s the price moves: cancelled, and no new one.
    rejected = orders[orders["status"] == "rejected"]
    assert list(rejected["reason"]) == ["venue_down"] * 2
    assert list(rejected["submitted_ns"]) == [3 * minute] * 2
    gone = orders[orders["status"] == "cancelled"]
    assert list(gone["submitted_ns"]) == [minute] * 2
    assert list(gone["closed_ns"]) == [3 * minute] * 2
    assert list(orders[orders["status"] == "expired"]["submitted_ns"]) == [4 * minute] * 2
    assert down.metrics.quoted_uptime_pct < free.metrics.quoted_uptime_pct


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ([(5, 5)], "in order and apart"),
        ([(1, 5), (5, 9)], "in order and apart"),
        ([(1.0, 5)], "nanoseconds UTC"),
        ([(True, 5)], "nanoseconds UTC"),
        ([(-1, 5)], "nanoseconds UTC"),
        ([(1, 2, 3)], "must be a list of"),
        (7, "must be a list of"),
    ],
)
def test_windows_that_are_none_are_refused(windows, message):
    with pytest.raises(ConfigError, match=message):
        mml.VenueRules(reject_windows=windows)


# -- orders that only make a position smaller


def only(order):
    return (*order, "reduce_only")


def test_what_only_reduces_is_cut_to_the_position_and_rejected_without_one(play):
    rows = [bid(1000, 100, 9), ask(1000, 102, 9), bid(1020, 80, 1)]
    script = [
        buy(1001, 102, 3, "ioc"),
        only(buy(1002, 102, 1, "ioc")),  # it would add
        only(sell(1003, 100, 5, "ioc")),  # 3 of it
        only(sell(1004, 100, 1, "market")),  # nothing is left
        sell(1005, 100, 2, "ioc"),
        only(buy(1006, 200, 1, "ioc")),
    ]
    it = play(rows, script)
    assert it.ends() == {
        1: ("FILLED", "NONE", 3),
        2: ("REJECTED", "REDUCE_ONLY", 0),
        3: ("FILLED", "NONE", 3),
        4: ("REJECTED", "REDUCE_ONLY", 0),
        5: ("FILLED", "NONE", 2),
        6: ("FILLED", "NONE", 1),
    }
    assert it.fills[-1][-1] == -1


def test_what_only_reduces_may_be_small_and_needs_no_margin(play):
    # 5 at 101 are 505 of 510: 100 more asks beside them need twice what there is, and hold back everything but this.
    rows = [bid(1000, 100, 9), ask(1000, 102, 9), bid(1020, 80, 1)]
    script = [
        buy(1001, 102, 5, "ioc"),
        sell(1002, 100, 1, "ioc"),
        only(sell(1003, 100, 1, "ioc")),
        only(sell(1004, 100, 4, "ioc")),
    ]
    it = play(rows, script, min_notional=F(150), leverage=F(1), brackets=[(None, F(0), F(0))], cash=F(520))
    assert [end[:2] for end in it.ends().values()] == [
        ("FILLED", "NONE"), ("REJECTED", "MIN_NOTIONAL"), ("FILLED", "NONE"), ("FILLED", "NONE")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "order_type", "message"),
    [("linear", "limit", "reduce_only is for orders that take"), ("spot", "ioc", "reduce_only is for perpetuals")],
)
def test_reduce_only_where_it_means_nothing_is_refused(kind, order_type, message):
    with pytest.raises(ConfigError, match=message):
        open_engine([only(sell(1001, 100, 1, order_type))], VenueParams(kind=kind))


# -- self-trades: the scenarios of Binance's "Self Trade Prevention (STP) FAQ", in tenths of its units

QUIET = [ask(1000, 50, 5), bid(1000, 2, 5), ask(1009, 51, 1)]
LATER = bid(1020, 2, 4)  # a session ends with its data
THREE = [buy(1001, 12, 12, "limit"), buy(1001, 11, 13, "limit"), buy(1001, 10, 81, "limit")]


def test_stp_scenario_a_none_lets_them_trade(play):
    params = {"stp": "none", "maker": F(1, 10_000), "taker": F(5, 10_000), "cash": F(1_000)}
    it = play(QUIET, [buy(1001, 10, 10, "limit"), sell(1002, 10, 10, "limit")], **params)
    assert it.fills == [(1002, 1, 1, 10, 10, 26.0, True, 10), (1002, 2, -1, 10, 10, 26.0, False, 0)]
    assert it.ends() == {1: ("FILLED", "NONE", 10), 2: ("FILLED", "NONE", 10)}
    assert it.counts["self_trades"] == 1
    assert it.fees == pytest.approx([0.01, 0.05])  # one pays as maker, the other as taker; nothing else changes
    assert it.cash == pytest.approx(1_000 - 0.06)


def test_stp_scenario_b_expire_maker(play):
    it = play(QUIET, [*THREE, sell(1002, 10, 30, "limit")], stp="expire_maker")
    assert it.fills == []
    assert [order[:4] for order in it.orders] == [
        (1, "EXPIRED", "STP", 0),
        (2, "EXPIRED", "STP", 0),
        (3, "EXPIRED", "STP", 0),
        (4, "EXPIRED", "END", 0),  # it went on the book
    ]
    assert it.orders[3][5] == 1002
    assert it.counts["self_trades_prevented"] == 3


def test_stp_scenario_c_expire_taker(play):
    it = play(QUIET, [*THREE, sell(1002, 10, 30, "limit")], stp="expire_taker")
    assert it.ends() == {4: ("EXPIRED", "STP", 0)} | dict.fromkeys((1, 2, 3), ("EXPIRED", "END", 0))
    assert it.orders[0][-1] == 1002


def test_stp_scenario_d_expire_both(play):
    it = play(QUIET, [buy(1001, 10, 10, "limit"), sell(1002, 10, 30, "limit")], stp="expire_both")
    assert [order[:4] for order in it.orders] == [(1, "EXPIRED", "STP", 0), (2, "EXPIRED", "STP", 0)]


def test_stp_scenario_f_a_market_order_finds_nothing_once_the_maker_is_gone(play):
    rows = [ask(1000, 50, 5), ask(1003, 50, 4)]
    it = play(rows, [buy(1001, 10, 10, "limit"), sell(1002, 1, 10, "market")], stp="expire_maker")
    assert it.ends() == {1: ("EXPIRED", "STP", 0), 2: ("EXPIRED", "NO_LIQUIDITY", 0)}


def test_stp_scenario_g_decrement(play):
    # 6 at 2 bought, 2 at 2 sold: the seller has nothing left, the buyer 4, and those trade later.
    script = [buy(1001, 20, 60, "limit"), sell(1002, 20, 20, "limit")]
    it = play([*QUIET[:2], sold(1003, 19, 99)], script, stp="decrement")
    assert it.brief() == [(1003, 1, 20, 40)]
    assert it.ends() == {1: ("FILLED", "NONE", 40), 2: ("EXPIRED", "STP", 0)}
    # The other way round the taker goes on with what it has left.
    script = [buy(1001, 20, 20, "limit"), sell(1002, 20, 60, "limit")]
    it = play([*QUIET[:2], bought(1003, 21, 99)], script, stp="decrement")
    assert it.brief() == [(1003, 2, 20, 40)]
    assert it.ends() == {1: ("EXPIRED", "STP", 0), 2: ("FILLED", "NONE", 40)}


def test_what_is_taken_off_an_order_is_known_here_once_the_answer_is_back():
    rows = [*QUIET[:2], *(bid(ts, 2, 5) for ts in (1003, 1009))]
    params = {"stp": "decrement", "latency": [(0, 0, 5)]}
    engine = open_engine([buy(1001, 20, 60, "limit"), sell(1002, 20, 20, "limit")], VenueParams(**params))
    engine.feed(tape_of([(ts, ts, *rest) for ts, *rest in rows], VenueParams(**params)).slice_rows(0, 3))
    of_maker = next(order for order in engine._arrays["own"] if order["order_id"] == 1)
    assert (of_maker["qty_lots"], of_maker["local_qty_lots"]) == (40, 60)
    engine.feed(tape_of([(ts, ts, *rest) for ts, *rest in rows], VenueParams(**params)).slice_rows(3, 4))
    assert of_maker["local_qty_lots"] == 40


def test_without_the_rule_own_orders_do_not_see_one_another(play):
    it = play([*QUIET[:2], sold(1003, 9, 10)], [buy(1001, 10, 10), sell(1002, 10, 10)])
    assert it.brief() == [(1003, 1, 10, 10)]
    assert it.ends()[2] == ("EXPIRED", "END", 0)


def test_what_the_book_shows_goes_before_our_own_at_one_price(play):
    # 102 shows 5, and own 3 stand there; 104 shows 2. Bought 9: 5 of theirs, our 3, 1 at 104.
    rows = [*OPEN, ask(1000, 104, 2), LATER]
    script = [sell(1001, 102, 3), buy(1002, 104, 9, "ioc")]
    it = play(rows, script, stp="none")
    assert it.brief() == [(1002, 2, 102, 5), (1002, 1, 102, 3), (1002, 2, 102, 3), (1002, 2, 104, 1)]
    it = play(rows, script, stp="expire_taker")
    assert it.brief() == [(1002, 2, 102, 5)]
    assert it.ends()[2] == ("EXPIRED", "STP", 5)
    it = play(rows, script, stp="expire_maker")
    assert it.brief() == [(1002, 2, 102, 5), (1002, 2, 104, 2)]


def test_post_only_does_not_take_from_us_either(play):
    it = play([*OPEN, LATER], [buy(1001, 101, 1), sell(1001, 101, 1)], stp="expire_maker")
    assert it.ends()[2] == ("REJECTED", "POST_ONLY", 0)


def test_a_replaced_order_meets_its_own_side_too(play):
    script = [buy(1001, 101, 2), sell(1001, 102, 3, "limit"), ("replace", 1002, 2, 101, 3)]
    it = play([*OPEN, LATER], script, stp="none")
    assert it.brief() == [(1002, 1, 101, 2), (1002, 2, 101, 2)]
    it = play([*OPEN, LATER], script, stp="expire_both")
    assert it.ends() == {1: ("EXPIRED", "STP", 0), 2: ("EXPIRED", "STP", 0)}


def test_spot_trades_with_itself_only_what_it_can_pay(play):
    # 150 of cash, less the 50 that the bid at 50 holds, buys one lot of our own at 101 and not two.
    script = [sell(1001, 101, 2), buy(1001, 50, 1), buy(1002, 101, 2, "ioc")]
    it = play([*OPEN, LATER], script, stp="none", kind="spot", cash=F(152), lots=2)
    assert it.brief() == [(1002, 1, 101, 1), (1002, 3, 101, 1)]
    assert it.ends()[3] == ("EXPIRED", "NO_LIQUIDITY", 1)


# -- order checks


def test_the_exchange_has_a_smallest_order(play):
    # Notional 300 at the least: 3 at 100 is, 2 at 100 is not; a market order counts at what it meets, 102.
    script = [
        buy(1001, 100, 2),
        buy(1001, 100, 3),
        buy(1001, 103, 2, "ioc"),
        buy(1001, 1, 2, "market"),
        buy(1001, 1, 3, "market"),
        ("replace", 1002, 2, 100, 2),
        ("replace", 1002, 2, 99, 3),
    ]
    it = play([*OPEN, bid(1005, 99, 1)], script, min_notional=F(300))
    refused = ("REJECTED", "MIN_NOTIONAL", 0)
    assert it.ends() == {1: refused, 3: refused, 4: refused, 5: ("FILLED", "NONE", 3), 2: ("EXPIRED", "END", 0)}
    assert it.counts["replace_rejected"] == 2


@pytest.mark.parametrize(
    ("kind", "end"), [("linear", ("FILLED", "NONE", 2)), ("spot", ("REJECTED", "MIN_NOTIONAL", 0))]
)
def test_what_closes_a_perpetual_may_be_small(play, kind, end):
    script = [
        buy(1001, 1, 5, "market"),
        sell(1002, 1, 3, "market"),
        sell(1003, 1, 2, "market"),
        sell(1004, 1, 1, "market"),
    ]
    it = play([*OPEN, bid(1005, 99, 1)], script, kind=kind, min_notional=F(300), cash=F(10_000))
    assert it.ends()[3] == end
    assert it.ends()[4] == ("REJECTED", "MIN_NOTIONAL", 0)  # it would open


def test_inverse_contracts_count_in_quote(play):
    # 100 USD a contract: three are 300, whatever the price.
    it = play(
        [*OPEN, LATER], [buy(1001, 90, 2), buy(1001, 90, 3)], kind="inverse", contract=F(100), min_notional=F(300)
    )
    assert it.ends() == {1: ("REJECTED", "MIN_NOTIONAL", 0), 2: ("EXPIRED", "END", 0)}


def test_a_model_that_goes_home_on_spot_leaves_the_dust():
    # Halted with less than the venue takes: nothing is sent again and again.
    tape = make_tape(20)
    spot = mml.Instrument("BTC/USDT", 0.1, 0.001, "spot", 1.0, 5_000.0)
    tape = mml.EventTape(spot, tape.ts_ns, tape.local_ts_ns, tape.price_ticks, tape.qty_lots, tape.kind, meta=tape.meta)
    options = {"fees": FREE, "order_qty": 0.1, "cash": 1_000.0, "initial_inventory": 0.01}
    limits = mml.RiskLimits(soft_drawdown_pct=1e-9, hard_drawdown_pct=2e-9)
    result = mml.backtest(tape, mml.Symmetric(5.0), risk=limits, venue=mml.VenueRules(min_notional=True), **options)
    assert result.metrics.suppressed_pct["halted"] > 0.5
    assert result.metrics.orders == 0


def test_price_bands_as_in_the_filter_percent_price(play):
    # Binance, "Filters": multiplierUp 1.3, multiplierDown 0.7. Of a mid of 100: 70 to 130, both included.
    rows = [bid(1000, 99, 5), ask(1000, 101, 5), bid(1005, 99, 4)]
    script = [
        buy(1001, 70, 1),
        buy(1001, 69, 1),
        sell(1001, 130, 1),
        sell(1001, 131, 1, "limit"),
        buy(1001, 131, 1, "ioc"),
    ]
    script += [("replace", 1002, 1, 69, 1), ("replace", 1002, 1, 71, 1), buy(1002, 1, 1, "market")]
    it = play(rows, script, band=(F(7, 10), F(13, 10)))
    refused = ("REJECTED", "PRICE_BAND", 0)
    assert {n: it.ends()[n] for n in (2, 4, 5)} == dict.fromkeys((2, 4, 5), refused)
    assert {n: it.ends()[n] for n in (1, 3)} == dict.fromkeys((1, 3), ("EXPIRED", "END", 0))
    assert it.ends()[6] == ("FILLED", "NONE", 1)
    assert it.counts["replace_rejected"] == 1


def test_a_market_order_has_no_price_to_be_outside_of_a_band(play):
    rows = [bid(1000, 60, 5), ask(1000, 140, 5), bid(1005, 59, 4)]
    it = play(rows, [buy(1001, 140, 1, "ioc"), buy(1002, 1, 1, "market")], band=(F(7, 10), F(13, 10)))
    assert it.ends() == {1: ("REJECTED", "PRICE_BAND", 0), 2: ("FILLED", "NONE", 1)}


def test_the_band_is_around_the_mid_when_the_order_arrives(play):
    rows = [bid(1000, 99, 5), ask(1000, 101, 5), *cut(1003, 200, 5, (ask, 101), (bid, 99))]
    script = [buy(1001, 150, 1, "ioc"), buy(1002, 150, 1, "ioc"), buy(1004, 150, 1)]
    it = play([*rows, bid(1020, 99, 1)], script, band=(F(7, 10), F(13, 10)), latency=[(1001, 0, 0), (1002, 5, 0)])
    assert it.ends() == {
        1: ("REJECTED", "PRICE_BAND", 0),
        2: ("EXPIRED", "NO_LIQUIDITY", 0),
        3: ("EXPIRED", "END", 0),
    }


# -- fee tiers

TIERS = [(F(1_000), F(1, 10_000), F(4, 10_000)), (F(3_000), F(0), F(3, 10_000))]
BASE = {"maker": F(2, 10_000), "taker": F(5, 10_000), "tiers": TIERS}


def takes(days):
    """One lot of 500 bought a day, at the given days after the epoch."""
    rows = [bid(DAY_NS, 499, 9), ask(DAY_NS, 500, 9)]
    rows += [bid(DAY_NS * day, 499, 9) for day in range(2, days[-1])]
    script = [buy(DAY_NS * day + n, 500, 1, "ioc") for n, day in enumerate(days, 1)]
    return [*rows, bid(DAY_NS * days[-1] + 10**9, 499, 8)], script


def bps(it):
    return [round(fee / 500 * 10_000, 9) for fee in it.fees]


def test_the_tier_of_a_fill_is_the_one_in_force_at_that_fill(play):
    # Traded before each fill: 0, 500, 1000, 1500, 2000, 2500, 3000.
    it = play(*takes([1] * 7), **BASE)
    assert bps(it) == [5, 5, 4, 4, 4, 4, 3]


def test_a_tier_that_moves_at_midnight(play):
    it = play(*takes([1, 1, 1, 2, 2]), by_day=True, **BASE)
    assert bps(it) == [5, 5, 5, 4, 4]


@pytest.mark.parametrize(("day", "rate"), [(31, 4), (32, 5)])
def test_volume_counts_for_thirty_days(play, day, rate):
    it = play(*takes([1, 1, day]), **BASE)
    assert bps(it)[-1] == rate


@pytest.mark.parametrize(("day", "rates"), [(1, [4, 4]), (2, [4, 4]), (16, [4, 4]), (17, [4, 5])])
def test_volume_brought_along_was_traded_evenly_over_the_days_before(play, day, rates):
    # 1000 are 33.3 a day. At noon of day d, d - 1 of those days have left, and 500 of day 1 have come.
    it = play(*takes([1, day]), volume_start=F(1_000), **BASE)
    assert bps(it) == rates


def test_volume_of_inverse_contracts_is_in_quote(play):
    rows, script = takes([1, 1, 1])
    it = play(rows, script, kind="inverse", contract=F(500), cash=F(10), **BASE)
    assert it.fees == pytest.approx([5e-4, 5e-4, 4e-4])  # each a coin's worth


def test_the_tables_tiers_are_a_venues_tiers():
    assert mml.Fees.volume_tiers("binanceusdm") == ((0.0, 2.0, 5.0), (15e6, 1.6, 4.0), (50e6, 1.4, 3.5))
    rules = mml.VenueRules(fee_tiers=mml.Fees.volume_tiers("binanceusdm"), volume_start=20e6)
    engine = after(OPEN, [])
    rules.write(engine._params, engine.state, mml.Fees(9.0, 9.0))
    assert (engine.state.venue.maker_rate, engine.state.venue.taker_rate) == pytest.approx((1.6e-4, 4e-4))
    with pytest.raises(ConfigError, match="volume_quote for tier 1"):
        mml.Fees.volume_tiers("okxswap")


# -- funding, and contracts paid in coin


def test_bitmex_xbtusd_long_over_a_funding_time(play):
    # BitMEX, "Perpetual Contracts Guide Examples": 15,000 contracts long at 750; funding 0.25 % at 750: 0.05 XBT paid;
    # sold at 800: 1.25 XBT made, 1.2 in all.
    rows = [bid(1000, 1_498, 1), ask(1000, 1_502, 1), sold(1002, 1_499, 15_000)]
    rows += [
        ask(1004, 1_502, 0),
        bid(1004, 1_598, 1),
        ask(1005, 1_602, 1),
        bought(1007, 1_601, 15_000),
        bid(1009, 1_598, 2),
    ]
    script = [buy(1001, 1_500, 15_000), sell(1006, 1_600, 15_000)]
    params = {"kind": "inverse", "tick": F(1, 2), "cash": F(1), "funding": [(1003, F(25, 10_000)), (1008, F(1, 100))]}
    it = play(rows, script, **params)
    assert it.brief() == [(1002, 1, 1_500, 15_000), (1007, 2, 1_600, 15_000)]
    assert it.funding == pytest.approx(-0.05, abs=1e-15)
    assert it.cash == pytest.approx(1 + 1.25 - 0.05, abs=1e-14)
    state = after(rows, script, **params).state
    made = 15_000 * (F(1, 750) - F(1, 800))
    books_close(state, spread=0, inventory=made, funding=F(-1, 20), fees=0, cash=1 + made - F(1, 20))


@pytest.mark.parametrize(
    ("contracts", "entry", "leaving", "published"),
    [
        (100_000, 10_000, 10_500, 0.47619),  # BitMEX, "Inverse Futures Guide"
        (10_000, 5_000, 6_000, 0.33333),  # Crypto Facilities, "Calculation of profit and loss"
        (10_000, 90, 95, 5.848),  # the same page, in LTC
        (750_000, 30_000, 33_000, 2.27273),  # 25 XBT at 30,000
    ],
)
def test_profit_of_inverse_contracts(play, contracts, entry, leaving, published):
    rows = [bid(1000, entry - 1, 1), ask(1000, entry + 1, 1), sold(1002, entry, contracts)]
    rows += [
        ask(1003, entry + 1, 0),
        ask(1003, leaving + 1, 1),
        bid(1003, leaving - 1, 1),
        bought(1005, leaving, contracts),
    ]
    it = play(rows, [buy(1001, entry, contracts), sell(1004, leaving, contracts)], kind="inverse", cash=F(1))
    assert it.cash - 1 == pytest.approx(float(contracts * (F(1, entry) - F(1, leaving))), abs=1e-12)
    assert it.cash - 1 == pytest.approx(published, abs=6e-4)


def test_commission_on_coin_margined_contracts(play):
    # Binance, "Binance Futures Fee Structure & Fee Calculations": contracts x contract size / price x rate.
    rows = [bid(1000, 10_103, 10), ask(1000, 10_104, 10)]
    it = play(rows, [buy(1000, 10_104, 10, "ioc")], kind="inverse", contract=F(100), taker=F(4, 10_000), cash=F(1))
    assert it.fees == pytest.approx([10 * 100 / 10_104 * 0.0004])


def test_a_short_receives_what_a_long_pays_and_nobody_pays_without_a_position(play):
    rows = [*OPEN, sold(1002, 100, 9), bid(1009, 100, 5)]
    script = [buy(1001, 101, 2), sell(1005, 100, 4, "ioc"), buy(1008, 101, 2, "limit")]
    times = [(999, F(1, 4)), (1000, F(1, 4)), (1003, F(1, 100)), (1006, F(1, 100)), (1007, F(-2, 100))]
    # Long 2 at the mid of 101 pays 2.02; short 2 receives 2.02, then pays 4.04 for a negative rate.
    it = play(rows, script, funding=times, cash=F(1_000))
    assert it.funding == pytest.approx(-2.02 + 2.02 - 4.04)


def test_funding_of_a_time_comes_after_its_rows_and_before_its_requests(play):
    rows = [*OPEN, sold(1002, 101, 1), *cut(1004, 50, 9, (ask, 102), (bid, 100)), bid(1005, 40, 1)]
    script = [buy(1000, 101, 1), sell(1003, 1, 1, "market")]
    it = play(rows, script, funding=[(1004, F(1, 10))], cash=F(1_000), latency=[(0, 1, 0)])
    assert it.brief() == [(1002, 1, 101, 1), (1004, 2, 49, 1)]
    assert it.funding == pytest.approx(-5.0)  # a tenth of the new mid, of the old position


def test_funding_is_part_of_local_equity_at_once():
    rows = [*OPEN, sold(1002, 101, 2), bid(1003, 100, 4)]
    engine = after(rows, [buy(1001, 101, 2)], funding=[(1003, F(1, 100))], cash=F(1_000))
    assert engine.state.local.cash == pytest.approx(1_000 - 202 - 2.02)


# -- margin and liquidation


@pytest.mark.parametrize(("cash", "end"), [(462.66, "REJECTED"), (462.67, "EXPIRED")])
def test_what_it_costs_to_open_a_position(play, cash, end):
    # Binance, "How to Calculate Cost Required to Open a Position in Perpetual Futures Contracts": 9,253.30 / 20 =
    # 462.66 (462.665), the mark at 9,259.84.
    rows = [bid(1000, 925_983, 1), ask(1000, 925_985, 1)]
    one = {"tick": F(1, 100), "leverage": F(20), "brackets": [(None, F(1, 100), F(0))]}
    it = play(rows, [buy(1000, 925_330, 1)], cash=F(str(cash)), **one)
    assert it.ends()[1][0] == end
    assert it.ends()[1][1] == ("MARGIN" if end == "REJECTED" else "END")


def test_margin_is_of_the_worse_side(play):
    # Mid 101, leverage 10: 1000 carry 10,000. Long 40 (4040 at 101): 59 more bids at 100 (5900) fit, 60 do not; of asks
    # 138 at 102 would turn it round: 14,076 - 4040 = 10,036.
    rows = [*OPEN, ask(1000, 101, 40), ask(1001, 101, 0), bid(1009, 99, 1)]
    script = [
        buy(1000, 101, 40, "ioc"),
        buy(1002, 100, 60),
        buy(1002, 100, 59),
        buy(1002, 99, 1),
        sell(1003, 102, 138),
        sell(1003, 102, 137),
        ("replace", 1004, 6, 102, 138),
        ("replace", 1004, 6, 103, 134),
        sell(1005, 1, 10, "market"),  # 10 at 100: it makes the worse side no worse
    ]
    it = play(rows, script, cash=F(1_000), leverage=F(10), brackets=[(None, F(0), F(0))])
    refused = ("REJECTED", "MARGIN", 0)
    ends = it.ends()
    assert {n: ends[n] for n in (2, 4, 5)} == dict.fromkeys((2, 4, 5), refused)
    assert {n: ends[n][:2] for n in (3, 6)} == dict.fromkeys((3, 6), ("EXPIRED", "END"))
    assert it.counts["replace_rejected"] == 1


def test_what_sells_below_the_mid_counts_at_the_mid(play):
    # 100 at 90 are 9000, but at the mid of 101 they are 10,100, and it is there or better that they would be filled.
    script = [sell(1001, 90, 100, "ioc"), sell(1001, 90, 99, "ioc")]
    it = play([*OPEN, LATER], script, cash=F(1_000), leverage=F(10), brackets=[(None, F(0), F(0))])
    assert it.ends() == {1: ("REJECTED", "MARGIN", 0), 2: ("EXPIRED", "NO_LIQUIDITY", 5)}


def test_who_is_under_water_may_still_get_out(play):
    # Long 10 at 102, leverage 2, 600 of cash: 510 are needed. At a mid of 60 equity is 180 and 300 would be needed.
    rows = [*OPEN, ask(1000, 102, 10), *cut(1002, 60, 9, (ask, 102), (bid, 100)), bid(1009, 40, 1)]
    script = [
        buy(1001, 102, 10, "ioc"),
        buy(1003, 59, 1),
        sell(1004, 61, 10),
        sell(1005, 59, 4, "ioc"),
        buy(1006, 59, 1),
    ]
    it = play(rows, script, cash=F(600), leverage=F(2), brackets=[(None, F(1, 10), F(0))])
    assert {n: it.ends()[n] for n in (2, 5)} == dict.fromkeys((2, 5), ("REJECTED", "MARGIN", 0))
    assert it.ends()[3] == ("EXPIRED", "END", 0)
    assert it.ends()[4] == ("FILLED", "NONE", 4)


@pytest.mark.parametrize(
    ("others", "upnl", "less", "qty", "entry", "rate", "published"),
    [  # cross margin, wallet balance 1,535,443.01: the ETHUSDT and the BTCUSDT of Binance's example
        ("71200.81144", "-56354.57", "135365", "3683.979", "1456.84", "0.1", 1153.26),
        ("356512.508", "-448192.89", "16300", "109.488", "32481.98", "0.025", 26316.89),
    ],
)
def test_binances_liquidation_price_beside_other_contracts(others, upnl, less, qty, entry, rate, published):
    # "How to Calculate Liquidation Price of USDS-M Futures Contracts": (WB - TMM1 + UPNL1 + cumB - side x qty x entry)
    # / (qty x MMR - side x qty); its figures as they are quoted.
    tmm, upnl, less, qty, entry, rate = (F(number) for number in (others, upnl, less, qty, entry, rate))
    wallet = F("1535443.01")
    exact = (wallet - tmm + upnl + less - qty * entry) / (qty * rate - qty)
    assert float(exact) == pytest.approx(published, abs=0.006)
    brackets = [(None, rate, less)]
    params = {"tick": F(1, 100), "lot": F(1, 1000), "cash": wallet, "leverage": F(5), "brackets": brackets}
    engine = after([bid(1000, 4_000_000, 1), ask(1000, 4_000_002, 1)], [], **params)
    state = engine.state
    state.ledger.position_lots, state.ledger.open_value = int(qty * 1_000), float(qty * entry)
    state.venue.other_equity, state.venue.other_maintenance = float(upnl), float(tmm)
    find_triggers(state, engine._params)
    assert state.bounds.liquidate_low == math.floor(exact * 200)  # half ticks of a cent
    assert state.bounds.liquidate_high > 1 << 60
    assert must_liquidate(state, engine._params, float(exact) - 0.01)
    assert not must_liquidate(state, engine._params, float(exact) + 0.01)


def test_maintenance_amount_of_a_coin_margined_bracket():
    # Binance, "How to Calculate Liquidation Price of COIN-M Futures Contracts": 50 BTC x (5% - 2.5%) + 0.56 = 1.81 BTC.
    rules = mml.VenueRules(leverage=20, maintenance_brackets=((50.0, 0.025, 0.56), (100.0, 0.05), (math.inf, 0.1)))
    assert rules.maintenance_brackets[1] == (100.0, 0.05, pytest.approx(1.81))
    assert rules.maintenance_brackets[2][2] == pytest.approx(100 * 0.05 + 1.81)


LINEAR = {
    "cash": F(100),
    "taker": F(10, 10_000),
    "leverage": F(10),
    "brackets": [(None, F(1, 20), F(0))],
    "liquidation_fee": F(50, 10_000),
    "funding": [(1003, F(1, 100))],
}


def test_a_linear_ledger_through_funding_and_a_liquidation(play):
    # 5 bought at 100, mid 101. Funding 1 % of 505: 5.05. Left 94.95: at a mid of m equity is 94.95 + 5 (m - 100), the
    # maintenance margin 0.25 m: at or below 85.27 it is over. 86 is not, 85 is.
    # Sold: 3 at 84, 1 at 82, and 1 that nobody wants at 82 too: 416. Fee 60 bps of it: 2.496.
    rows = [*OPEN, sold(1002, 100, 10), *cut(1004, 86, 3, (ask, 102), (bid, 100)), bid(1004, 82, 1)]
    rows += [*cut(1006, 85, 3, (bid, 85)), ask(1006, 87, 0), bid(1008, 84, 4), sold(1008, 70, 9)]
    script = [buy(1001, 100, 5), buy(1003, 70, 1), sell(1003, 120, 2), buy(1007, 70, 1)]
    it = play(rows, script, **LINEAR)
    cash = 100 - F("5.05") + (416 - 500) - F("2.496")
    assert it.brief() == [(1002, 1, 100, 5), (1006, -1, 84, 3), (1006, -1, 82, 1), (1006, -1, 82, 1)]
    assert it.orders[1:] == [
        (2, "CANCELLED", "LIQUIDATED", 0, 1003, 1003, 1006),
        (3, "CANCELLED", "LIQUIDATED", 0, 1003, 1003, 1006),
        (-1, "FILLED", "LIQUIDATED", 5, 1006, 0, 1006),
        (4, "REJECTED", "LIQUIDATED", 0, 1007, 0, 1007),
    ]
    assert it.fees == pytest.approx([0.0, 3 * 84 * 0.006, 82 * 0.006, 82 * 0.006])
    assert it.funding == pytest.approx(-5.05)
    assert it.cash == pytest.approx(float(cash))
    state = after(rows, script, **LINEAR).state
    assert (state.risk.liquidations, state.ledger.position_lots, state.risk.breaker) == (1, 0, 2)
    # Against the mid: 5 at 1 better than 101; sold at 85 for 3 x 1 + 2 x 3 less.
    books_close(state, spread=5 - 9, inventory=5 * (85 - 101), funding=F("-5.05"), fees=F("2.496"), cash=cash)


def test_an_inverse_ledger_through_funding_and_a_liquidation_of_a_short(play):
    # 1000 contracts of 100 USD sold at 10,000: 10 BTC, a rebate of 0.001. Funding -1 % at a mid of 10,000: a short pays
    # 0.1. 1.901 - 10 + 100,000 / m against 5 % of 100,000 / m: from m = 95,000 / 8.099 = 11,729.8 on it is over.
    rows = [bid(1000, 9_990, 5_000), ask(1000, 10_010, 5_000), bought(1002, 10_001, 1_000)]
    rows += [ask(1004, 10_010, 0), ask(1004, 11_740, 5_000), bid(1004, 11_718, 9)]  # mid 11,729
    rows += [bid(1006, 11_720, 8)]  # mid 11,730
    params = {
        "kind": "inverse", "contract": F(100), "cash": F(2), "taker": F(5, 10_000), "maker": F(-1, 10_000),
        "leverage": F(10), "brackets": [(None, F(1, 20), F(0))], "liquidation_fee": F(25, 10_000),
        "funding": [(1003, F(-1, 100))],
    }  # fmt: skip
    it = play(rows, [sell(1001, 10_000, 1_000)], **params)
    assert it.brief() == [(1002, 1, 10_000, 1_000), (1006, -1, 11_740, 1_000)]
    rebate, fee = F(10, 10_000), 100_000 / F(11_740) * F(30, 10_000)
    cash = 2 + rebate - F(1, 10) - (10 - 100_000 / F(11_740)) - fee
    assert it.funding == pytest.approx(-0.1)
    assert it.cash == pytest.approx(float(cash), abs=1e-12)
    state = after(rows, [sell(1001, 10_000, 1_000)], **params).state
    worth = 100_000 / F(11_730)
    books_close(state, spread=100_000 / F(11_740) - worth, inventory=worth - 10, funding=F(-1, 10), fees=fee - rebate,
                cash=cash)  # fmt: skip


def test_a_liquidation_with_nothing_displayed_is_at_the_mid_against_us(play):
    # A gap hides the book; a trade through the bid fills it, and the account cannot carry what it now holds.
    rows = [bid(1000, 100, 5), ask(1000, 103, 5), sold(1002, 99, 20), (1003, 0, 0, 5), sold(1004, 60, 9)]
    script = [buy(1001, 100, 15), buy(1001, 62, 9)]
    params = {"cash": F(206), "leverage": F(10), "brackets": [(None, F(1, 20), F(0))], "funding": [(1005, F(22, 100))]}
    rows += [(1006, 0, 0, 5)]
    it = play(rows, script, **params)
    assert it.brief()[:2] == [(1002, 1, 100, 15), (1004, 2, 62, 9)]
    assert it.orders[-1][:4] == (-1, "FILLED", "LIQUIDATED", 24)
    assert it.brief()[2] == (1005, -1, 101, 24)  # the mid is 101.5


def test_a_fill_moves_the_mid_at_which_it_is_over(play):
    # 100 + 5 (m - 100) against 0.25 m: m = 84.2. The book always has two sides: 91, then 81.
    rows = [*OPEN, bid(1000, 80, 9), sold(1002, 100, 10), bid(1004, 100, 0), ask(1005, 82, 9), bid(1006, 79, 1)]
    it = play(rows, [buy(1001, 100, 5)], **(LINEAR | {"funding": []}))
    assert it.brief() == [(1002, 1, 100, 5), (1005, -1, 80, 5)]


@pytest.mark.parametrize("gone", [(ask,), (bid,), (ask, bid)])
@pytest.mark.parametrize("side", [1, -1])
def test_a_mid_that_stood_only_within_a_message_is_no_mark(play, side, gone):
    low, high = (49, 51) if side > 0 else (200, 202)
    way = [ask(1004, 102, 0), bid(1004, 100, 0), bid(1004, low, 9), ask(1004, high, 9)]
    way += [kind(1004, high if kind is ask else low, 0) for kind in gone]
    message = [(ts, level, lots, kind | MORE) for ts, level, lots, kind in way[:-1]] + way[-1:]
    rows = [*OPEN, sold(1002, 100, 10), bought(1002, 102, 10), *message]
    # Nobody ever saw a market of two sides down there; the next message shows one.
    rows += [(1007, low, 9, 8 | MORE), (1007, high, 9, 9), bid(1008, 48, 2)]
    it = play(rows, [buy(1001, 100, 5) if side > 0 else sell(1001, 102, 5)], **LINEAR)
    assert it.brief() == [(1002, 1, 101 - side, 5), (1007, -1, low if side > 0 else high, 5)]


def test_the_first_mid_there_is_is_looked_at(play):
    rows = [sold(1000, 90, 1), sold(1002, 99, 9), *snapshot(1004, [(49, 9)], [(51, 9)]), bid(1006, 48, 1)]
    it = play(rows, [buy(1001, 100, 5)], **LINEAR)
    assert it.brief() == [(1002, 1, 100, 5), (1004, -1, 49, 5)]


@pytest.mark.parametrize(("mid", "held"), [(157, True), (156, False)])
def test_a_position_in_a_higher_bracket_needs_more(play, mid, held):
    # 10 at 200, 600 of cash. Up to 1000: 5 %; above: 20 % less 150. 600 - 2000 + 10 m against 2 m - 150: m = 156.25.
    # At 5 % it would have been 147.4.
    rows = [bid(1000, 199, 9), ask(1000, 201, 9), sold(1002, 199, 99), bid(1004, mid - 1, 9), ask(1004, mid + 1, 9)]
    rows += [bid(1004, 199, 0), bid(1006, 100, 1)]
    brackets = [(F(1_000), F(5, 100), F(0)), (None, F(20, 100), F(150))]
    it = play(rows, [buy(1001, 200, 10)], cash=F(600), leverage=F(5), brackets=brackets)
    assert (-1 not in it.ends()) == held


def test_the_venue_looks_when_everything_of_a_time_has_happened(play):
    # At 1004 the market is gone to 50 and back: nobody is liquidated for the way.
    there = [ask(1004, 102, 0), bid(1004, 100, 0), bid(1004, 49, 1), ask(1004, 51, 1)]
    back = [ask(1004, 51, 0), bid(1004, 100, 5), ask(1004, 102, 5)]
    rows = [*OPEN, sold(1002, 100, 10), *there, *back, bid(1005, 99, 1)]
    it = play(rows, [buy(1001, 100, 5)], **LINEAR)
    assert it.ends() == {1: ("FILLED", "NONE", 5)}
    it = play([*rows[:7], bid(1005, 49, 2)], [buy(1001, 100, 5)], **LINEAR)
    assert it.ends()[-1] == ("FILLED", "LIQUIDATED", 5)


def falling(steps=400):
    """A market that falls a tick every 10 ms and trades through whatever is bid."""
    rows, ts = [bid(10**9, 1_000, 50), ask(10**9, 1_002, 50)], 10**9
    for step in range(steps):
        ts += 10_000_000
        rows += [bid(ts, 1_000 - step, 0), bid(ts, 999 - step, 50), ask(ts, 1_001 - step, 50), ask(ts, 1_002 - step, 0)]
        rows += [sold(ts + 5_000_000, 998 - step, 3)]
    return [(ts, ts, price, lots, kind) for ts, price, lots, kind in rows]


@pytest.mark.parametrize("risk", [mml.RiskLimits.off(), None])
def test_a_liquidated_model_quotes_no_more_once_it_knows(risk):
    rules = mml.VenueRules(leverage=10, maintenance_margin_rate=0.05, liquidation_fee_bps=50)
    tape = tape_of(falling(), VenueParams())
    limits = risk or replace(mml.RiskLimits.off(), max_spread_bps=1_000.0, stale_data_s=60.0)
    result = mml.backtest(tape, mml.Symmetric(2.0), fees=mml.Fees(0, 5), order_qty=2.0, cash=20_000.0, risk=limits,
                          quote_interval_ns=20_000_000, latency=mml.Latency(0, 10**6, 50 * 10**6),
                          venue=rules)  # fmt: skip
    metrics, orders = result.metrics, result.orders
    assert metrics.liquidations == 1
    assert metrics.breaker_events == 1
    assert metrics.final_inventory == 0.0
    assert metrics.suppressed_pct["halted"] > 0.1
    end = int(orders.loc[orders.order_id == -1, "closed_ns"].iloc[0])
    assert (result.fills.ts_ns <= end).all()
    late = orders[orders.submitted_ns > end]
    assert set(late.reason) == {"liquidated"}  # sent before the news was here
    assert (late.submitted_ns <= end + 52 * 10**6).all()
    parts = metrics.gross_spread_pnl + metrics.inventory_pnl + metrics.funding_pnl - metrics.fees_paid
    assert metrics.pnl == pytest.approx(parts, abs=1e-9 * metrics.turnover)
    assert "leverage" in result.first_line


# -- the rest of an account


def opened(cash=1_000.0, lots=0, kind="linear", **rules):
    instrument = mml.Instrument("X/USDT" if kind == "spot" else "X/USDT:USDT", 1.0, 1.0, kind)
    script = OrderScript()
    script.submit(1002, side=1, price_ticks=100, qty_lots=8)
    script.submit(1002, side=-1, price_ticks=104, qty_lots=3)
    engine = Engine(instrument, script, fees=FREE, order_qty=1.0, cash=cash, first_price=1.0,
                        initial_inventory=lots, risk=mml.RiskLimits.off(),
                        venue=mml.VenueRules(**rules))  # fmt: skip
    rows = [*OPEN, bid(1001, 99, 1), bid(1009, 98, 1)]
    return engine, tape_of([(ts, ts, *rest) for ts, *rest in rows], VenueParams(kind=kind))


def test_what_an_instrument_brings_to_its_account():
    engine, tape = opened(lots=5, leverage=10, maintenance_margin_rate=0.05)
    engine.feed(tape)
    # Mid 101: long 505 and bids 800, against asks 312 less 505; it has not moved since it was opened.
    assert account(engine.state, engine._memory, engine._params) == pytest.approx((1_000.0, 130.5, 25.25, 0.0))
    engine, tape = opened(lots=5, kind="spot")
    engine.feed(tape)
    assert account(engine.state, engine._memory, engine._params) == pytest.approx((1_505.0, 0.0, 0.0, 800.0))


@pytest.mark.parametrize(
    ("field", "value", "rejected"),
    [("other_margin", 920.0, 0), ("other_margin", 920.1, 1), ("other_equity", -920.1, 1), ("other_equity", 5.0, 0)],
)
def test_the_rest_of_the_account_bears_on_margin(field, value, rejected):
    engine, tape = opened(leverage=10, maintenance_margin_rate=0.05)  # 80 are needed
    engine.feed(tape.slice_rows(0, 3))
    setattr(engine.state.venue, field, value)
    engine.feed(tape.slice_rows(3, 4))
    assert engine.run_log()["rejected"] == rejected


def test_the_rest_of_the_account_bears_on_cash():
    engine, tape = opened(lots=5, kind="spot")
    engine.feed(tape.slice_rows(0, 3))
    engine.state.venue.other_reserved = 200.5
    engine.feed(tape.slice_rows(3, 4))
    assert engine.run_log()["rejected"] == 1


@pytest.mark.parametrize(("field", "value"), [("other_maintenance", 975.0), ("other_equity", -975.0)])
def test_the_rest_of_the_account_bears_on_liquidation(field, value):
    engine, tape = opened(lots=5, leverage=10, maintenance_margin_rate=0.05)
    engine.feed(tape.slice_rows(0, 3))
    state, params = engine.state, engine._params
    find_triggers(state, params)
    assert state.bounds.liquidate_low < 0  # 1000 outlast a price of nothing
    setattr(state.venue, field, value)  # 25 are left, and 25.25 are needed at 101
    assert must_liquidate(state, params, 101.0)
    find_triggers(state, params)
    assert state.bounds.liquidate_low >= 2 * 101


# -- spot


def test_a_spot_ledger_by_hand(play):
    # 1000 and 2 units, 10 bps each way. 5 bought at 100 (500.5); of 499.5 left, 4 more at 102 cost 408.408; sold 8 at
    # 103 (823.176). Nothing can be sold that is not there, nothing bought that cannot be paid.
    rows = [*OPEN, ask(1001, 103, 0), sold(1002, 99, 9), *cut(1005, 104, 20, (ask, 102)), bid(1009, 99, 1)]
    script = [
        buy(1001, 100, 5),
        buy(1003, 102, 4, "market"),
        buy(1004, 92, 1),
        sell(1006, 103, 12),
        sell(1006, 103, 8, "ioc"),
    ]
    params = {"kind": "spot", "cash": F(1_000), "lots": 2, "maker": F(1, 1_000), "taker": F(1, 1_000)}
    it = play(rows, script, **params)
    assert it.brief() == [(1002, 1, 100, 5), (1003, 2, 102, 4), (1006, 5, 103, 8)]
    assert it.ends()[3] == ("REJECTED", "NO_CASH", 0)  # 91.092 are left, 92.092 needed
    assert it.ends()[4] == ("REJECTED", "NO_INVENTORY", 0)
    cash = 1_000 - 500 * F(1001, 1000) - 408 * F(1001, 1000) + 824 * F(999, 1000)
    assert it.cash == pytest.approx(float(cash))
    state = after(rows, script, **params).state
    assert state.ledger.position_lots == 3
    # Mids 101, 101, 104. At the end 3 are held at 101.5 (99 and 105 have gone and come: bid 103, ask 105).
    books_close(
        state, spread=5 - 4 - 8, inventory=11 * 3, funding=0, fees=F("0.5") + F("0.408") + F("0.824"), cash=cash
    )


# -- all of it at once


@pytest.mark.parametrize("kind", ["linear", "inverse", "spot"])
def test_the_parts_of_the_profit_make_up_the_whole(kind):
    shape = Shape(messages=80, feed="both", spread=3, pace=3, jumps=False, gaps=False, actions=0.6)
    seen = set()
    for seed in range(120):
        rows, script, params = draw_with_rules(seed, shape, kind, "risk_averse", "constant")
        engine = open_engine(script, params, book_window_ticks=64)
        engine.feed(tape_of(rows, params))
        engine.finish()
        if engine.state.ledger.start_mark > 0:
            identity_holds(engine.state)
        seen |= {"funding"} if engine.state.ledger.funding_pnl else set()
        seen |= {"liquidation"} if engine.state.risk.liquidations else set()
        seen |= {"self-trade"} if engine.state.counts.self_trades else set()
    assert seen == ({"self-trade"} if kind == "spot" else {"funding", "liquidation", "self-trade"})


@pytest.mark.parametrize("kind", ["linear", "spot"])
def test_rules_that_say_nothing_change_nothing(kind):
    tape = make_tape(120)
    instrument = mml.Instrument("X/USDT:USDT" if kind == "linear" else "X/USDT", 0.1, 0.001, kind, 1.0, 5.0)
    tape = mml.EventTape(
        instrument, tape.ts_ns, tape.local_ts_ns, tape.price_ticks, tape.qty_lots, tape.kind, meta=tape.meta
    )
    options = {"fees": mml.Fees(-1, 5), "order_qty": 0.01, "cash": 100_000.0, "risk": mml.RiskLimits(min_edge_bps=None)}
    bare, ruled = (mml.backtest(tape, mml.Symmetric(1.0), **options, venue=venue) for venue in (None, mml.VenueRules()))
    assert len(bare.fills) > 20
    for name in ("raw_fills", "raw_orders", "raw_samples"):
        assert getattr(bare, name).tobytes() == getattr(ruled, name).tobytes()
    assert bare.first_line == ruled.first_line


# -- what is refused

BAD = [
    ({"min_notional": 5.0}, "min_notional must be True or False"),
    ({"stp": "cancel"}, "stp must be None or one of none, expire_taker"),
    ({"price_band_up": 0.9}, "price_band_up must be a finite number >= 1"),
    ({"price_band_up": math.nan}, "price_band_up"),
    ({"price_band_down": 0.0}, r"price_band_down must be in \(0, 1\]"),
    ({"price_band_down": 1.1}, "price_band_down"),
    ({"fee_tiers": 3}, "fee_tiers must be a list of"),
    ({"fee_tiers": ((0.0, 1.0),)}, "fee_tiers must be a list of"),
    ({"fee_tiers": ((0.0, 1.0, 2.0), (0.0, 1.0, 2.0))}, "volumes must rise"),
    ({"fee_tiers": ((-1.0, 1.0, 2.0),)}, "fee_tiers volume must be a finite number >= 0"),
    ({"fee_tiers": ((0.0, math.nan, 2.0),)}, "fee_tiers maker_bps must be within"),
    ({"fee_tiers": ((0.0, 1.0, 200.0),)}, "fee_tiers taker_bps must be within"),
    ({"fee_tiers": tuple((float(i), 1.0, 1.0) for i in range(25))}, "at most 24 rows"),
    ({"volume_start": -1.0, "fee_tiers": ((0.0, 1.0, 2.0),)}, "volume_start must be a finite number >= 0"),
    ({"volume_start": 1.0}, "volume_start does nothing without fee_tiers"),
    ({"fee_update": "hour"}, "fee_update must be one of fill, day"),
    ({"leverage": 0.5}, "leverage must be a finite number >= 1"),
    ({"leverage": math.inf}, "leverage must be a finite number >= 1"),
    ({"leverage": True}, "leverage must be a finite number >= 1"),
    ({"leverage": "10"}, "leverage must be a finite number >= 1"),
    ({"leverage": 10, "maintenance_margin_rate": -0.1}, "maintenance_margin_rate must be in"),
    ({"leverage": 10, "maintenance_margin_rate": math.nan}, "maintenance_margin_rate must be in"),
    ({"leverage": 10, "maintenance_margin_rate": 0.1}, "liquidated as it opens"),
    ({"maintenance_margin_rate": 0.1}, "maintenance_margin_rate does nothing without leverage"),
    ({"liquidation_fee_bps": 5}, "liquidation_fee_bps does nothing without leverage"),
    ({"leverage": 10, "liquidation_fee_bps": -5}, "liquidation_fee_bps must be in"),
    ({"leverage": 10, "maintenance_margin_rate": 0.01, "maintenance_brackets": ((1.0, 0.01),)}, "not both"),
    ({"leverage": 10, "maintenance_brackets": ((5.0, 0.02), (5.0, 0.03))}, "values must rise"),
    ({"leverage": 10, "maintenance_brackets": ((5.0, 0.03), (9.0, 0.02))}, "rates must not fall"),
    ({"leverage": 10, "maintenance_brackets": ((math.inf, 0.02), (9.0, 0.03))}, "infinite in the last row only"),
    ({"leverage": 10, "maintenance_brackets": ((5.0, 0.02, -1.0),)}, "deduction must be a finite number >= 0"),
    ({"leverage": 10, "maintenance_brackets": ((5.0,),)}, "maintenance_brackets must be a list of"),
]


@pytest.mark.parametrize(("rules", "message"), BAD)
def test_rules_no_venue_has(rules, message):
    with pytest.raises(ConfigError, match=message):
        mml.VenueRules(**rules)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"venue": mml.VenueRules(leverage=2)}, "is spot: venue leverage is for perpetuals"),
        ({"funding": [(1, 0.1)]}, "is spot: funding is for perpetuals"),
        ({"venue": {"leverage": 2}}, "venue must be VenueRules"),
    ],
)
def test_rules_that_do_not_fit_the_instrument(options, message):
    tape = tape_of([(ts, ts, *rest) for ts, *rest in OPEN], VenueParams(kind="spot"))
    with pytest.raises(ConfigError, match=message):
        mml.backtest(tape, mml.Symmetric(1.0), fees=FREE, order_qty=1.0, cash=1_000.0, **options)


def test_rules_are_a_frozen_value_that_prints_itself():
    rules = mml.VenueRules(stp="none", fee_tiers=[[0, 1, 2]])
    assert rules == mml.VenueRules(stp="none", fee_tiers=((0.0, 1.0, 2.0),))
    assert rules.describe() == "stp, fee_tiers"
    assert mml.VenueRules(**rules.as_dict()) == rules
    assert np.isfinite(hash(rules))
