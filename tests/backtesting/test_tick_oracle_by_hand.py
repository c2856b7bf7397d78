"""Fills worked out by hand, one rule at a time: the slow engine and the fast one both have to agree with the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from oracles.tick_engine import Params, TickOracle, run
from oracles.tick_venue import VenueOracle, VenueParams

GAP, SNAPSHOT, DEPTH_BID, DEPTH_ASK, BBO_BID, BBO_ASK, TRADE_SELL, TRADE_BUY, TRADE = 5, 6, 8, 9, 10, 11, 12, 13, 14
MORE = 64
STATUS = ("NEW", "LIVE", "PARTIALLY_FILLED", "FILLED", "CANCELLED", "REJECTED", "EXPIRED")
# The oracle's name of a counter, and the engine's.
COUNTERS = {
    "rows": "rows",
    "trades": "trades",
    "gaps": "gaps",
    "snapshots": "snapshots",
    "too_late": "late_cancels",
    "replace_rejected": "replace_rejected",
    "script_ignored": "script_ignored",
    "self_trades": "self_trades",
    "prevented": "self_trades_prevented",
}


@dataclass
class Played:
    """What came of a run, in the same shape from either engine; orders at the end of the data sorted by their id."""

    fills: list[tuple]  # ts_ns, order_id, side, price_ticks, qty_lots, mid (price), maker, position_lots
    orders: list[tuple]  # order_id, status, reason, filled_lots, submitted_ns, live_ns, closed_ns
    counts: dict[str, int]
    fees: list[float]  # of each fill
    cash: float
    funding: float
    drawdown: float  # the deepest, settlement currency

    def brief(self) -> list[tuple]:
        return [(ts, number, price, lots) for ts, number, _, price, lots, *_ in self.fills]

    def ends(self) -> dict[int, tuple]:
        return {number: (status, reason, filled) for number, status, reason, filled, *_ in self.orders}


def by_oracle(rows, script, params: Params) -> Played:
    it = run(rows, script, params, VenueOracle if isinstance(params, VenueParams) else TickOracle)
    return Played(
        [(*f[:5], float(f.mid * params.tick), f.maker, f.position_lots) for f in it.fills],
        _end_sorted(
            (o.order_id, o.status, o.reason, o.filled, o.submitted_ns, o.live_ns, o.closed_ns) for o in it.ended
        ),
        {theirs: it.count[ours] for ours, theirs in COUNTERS.items()},
        [float(f.fee) for f in it.fills],
        float(it.cash),
        float(getattr(it, "funded", 0)),
        float(it.drawdown),
    )  # fmt: skip


def by_engine(rows, script, params: Params, **options) -> Played:
    engine = open_engine(script, params, **options)
    engine.feed(tape_of(rows, params))
    engine.finish()
    return played(engine)


def open_engine(script, params: Params, **options):
    from marketmakerl import Fees, Latency, RiskLimits
    from marketmakerl.backtesting.engine import Engine
    from marketmakerl.backtesting.exchange.queue import Queue
    from marketmakerl.backtesting.order_script import OrderScript

    orders = OrderScript()
    for what, ts, *rest in script:
        if what == "submit":
            side, price, lots, kind, *only = rest
            orders.submit(ts, side=side, price_ticks=price, qty_lots=lots, order_type=kind, reduce_only=bool(only))
        elif what == "cancel":
            orders.cancel(ts, rest[0])
        else:
            orders.replace(ts, rest[0], price_ticks=rest[1], qty_lots=rest[2])
    points = params.latency
    if len(points) == 1:
        latency = Latency(params.feed_offset, points[0][1], points[0][2])
    else:
        ts, entry, response = (np.array(column, np.int64) for column in zip(*points, strict=True))
        latency = Latency.from_series(ts, entry, response, feed_offset_ns=params.feed_offset)
    variant = 2 if params.queue.endswith("2") else 1
    queue = {
        "power": lambda: Queue.power(exponent=params.exponent, variant=variant),
        "log": lambda: Queue.log(variant=variant),
        "front": Queue.front,
        "risk_averse": Queue.risk_averse,
        "fifo": Queue.fifo,
    }[params.queue.rstrip("2")]()
    if isinstance(params, VenueParams):
        options |= venue_of(params)
    return Engine(
        instrument_of(params),
        orders,
        fees=Fees(float(params.maker * 10_000), float(params.taker * 10_000)),
        order_qty=float(params.lot),
        cash=float(params.cash),
        first_price=float(100 * params.tick),
        latency=latency,
        queue=queue,
        risk=RiskLimits.off(),
        initial_inventory=float(params.lots * params.lot),
        **options,
    )


def instrument_of(params: Params):
    from marketmakerl import Instrument

    symbol = {"spot": "X/USDT", "linear": "X/USDT:USDT", "inverse": "X/USD:X"}[params.kind]
    least = float(getattr(params, "min_notional", 0))
    return Instrument(symbol, float(params.tick), float(params.lot), params.kind, float(params.contract), least)


def venue_of(params: VenueParams) -> dict:
    """Return the engine's own arguments for a venue's rules."""
    from marketmakerl import VenueRules

    down, up = params.band or (None, None)
    rules = VenueRules(
        min_notional=params.min_notional > 0,
        stp=params.stp,
        price_band_up=None if up is None else float(up),
        price_band_down=None if down is None else float(down),
        fee_tiers=tuple((float(volume), float(maker * 10**4), float(taker * 10**4))
                        for volume, maker, taker in params.tiers),
        volume_start=float(params.volume_start),
        fee_update="day" if params.by_day else "fill",
        leverage=float(params.leverage) or None,
        maintenance_brackets=tuple((math.inf if cap is None else float(cap), float(rate), float(less))
                                   for cap, rate, less in params.brackets),
        liquidation_fee_bps=float(params.liquidation_fee * 10**4),
        reject_windows=tuple(params.rejects),
    )  # fmt: skip
    funding = np.array([(ts, float(rate)) for ts, rate in params.funding], [("ts_ns", "i8"), ("rate", "f8")])
    return {"venue": rules, "funding": funding if len(funding) else None}


def tape_of(rows, params: Params):
    from marketmakerl import EventTape

    columns = np.array(rows, np.int64).T if rows else np.zeros((5, 0), np.int64)
    since = np.ascontiguousarray(columns[5]) if len(columns) > 5 else None
    ts, local, price, lots = (np.ascontiguousarray(column) for column in columns[:4])
    meta = {"clock": "ticks", "tier": "T2", "source": "test"}
    return EventTape(instrument_of(params), ts, local, price, lots, columns[4].astype(np.int8), meta, since)


def played(engine, fills=None, orders=None) -> Played:
    from marketmakerl.risk.reasons import Reason

    fills = engine.fills() if fills is None else fills
    orders = engine.orders() if orders is None else orders
    log = engine.run_log()
    numbers = "order_id", "filled_lots", "submitted_ns", "live_ns", "closed_ns"
    return Played(
        [
            (*(int(f[name]) for name in ("ts_ns", "order_id", "side", "price_ticks", "qty_lots")), float(f["mid"]),
             bool(f["maker"]), int(f["position_lots"]))
            for f in fills
        ],
        _end_sorted(
            (number, STATUS[o["status"]], Reason(int(o["reason"])).name, *rest)
            for o in orders
            for number, *rest in [[int(o[name]) for name in numbers]]
        ),
        {name: int(log[name]) for name in COUNTERS.values()},
        [float(f["fee"]) for f in fills],
        float(engine.state.ledger.cash),
        float(engine.state.ledger.funding_pnl),
        float(engine.state.max_drawdown),
    )  # fmt: skip


def _end_sorted(orders) -> list[tuple]:
    orders = list(orders)
    stay = [o for o in orders if o[2] not in ("END", "IN_FLIGHT")]
    return stay + sorted(o for o in orders if o[2] in ("END", "IN_FLIGHT"))


@pytest.fixture(params=["oracle", "engine"])
def play(request):
    engine = by_oracle if request.param == "oracle" else by_engine

    def play(rows, script, **params) -> Played:
        timed = [(ts, ts, price, lots, kind) for ts, price, lots, kind in rows]
        return engine(timed, script, Params(**params))

    return play


def bid(ts, price, lots):
    return ts, price, lots, DEPTH_BID


def ask(ts, price, lots):
    return ts, price, lots, DEPTH_ASK


def sold(ts, price, lots):
    return ts, price, lots, TRADE_SELL


def bought(ts, price, lots):
    return ts, price, lots, TRADE_BUY


def snapshot(ts, bids, asks):
    levels = [bid(ts, *level) for level in bids] + [ask(ts, *level) for level in asks]
    rows = [(ts, 0, 0, SNAPSHOT), *levels]
    return [(ts, price, lots, kind | MORE) for ts, price, lots, kind in rows[:-1]] + [rows[-1]]


def buy(ts, price, lots, kind="post_only"):
    return "submit", ts, 1, price, lots, kind


def sell(ts, price, lots, kind="post_only"):
    return "submit", ts, -1, price, lots, kind


OPEN = [bid(1000, 100, 5), ask(1000, 102, 5)]  # mid 101; everything is known


def test_what_trades_first_is_what_was_there_first(play):
    # 5 ahead; 4 trade, 1 is left ahead; of 3 more that one goes first and 2 are ours; the last one is ours too.
    rows = [*OPEN, sold(1002, 100, 4), sold(1003, 100, 3), sold(1004, 100, 1), sold(1005, 100, 9)]
    it = play(rows, [buy(1001, 100, 3)])
    assert it.fills == [(1003, 1, 1, 100, 2, 101.0, True, 2), (1004, 1, 1, 100, 1, 101.0, True, 3)]
    assert it.orders == [(1, "FILLED", "NONE", 3, 1001, 1001, 1004)]
    assert it.counts["rows"] == 6
    assert it.counts["trades"] == 4


def test_two_own_orders_share_one_trade(play):
    # 101 is an empty level: nothing ahead of either, but one lot fills one order, and the older one.
    it = play([*OPEN, sold(1002, 101, 1), sold(1003, 101, 1)], [buy(1001, 101, 1), buy(1001, 101, 1)])
    assert it.brief() == [(1002, 1, 101, 1), (1003, 2, 101, 1)]


def test_a_younger_order_is_served_after_the_older_one_and_the_market(play):
    # First: 5 ahead. The level grows to 8, then ours: 8 ahead. 10 trade: 10-5=5, the first wants 1. The second gets
    # 10-8-1 = 1 of its 4, and then nothing is ahead of it.
    rows = [*OPEN, bid(1002, 100, 8), sold(1004, 100, 10), sold(1005, 100, 1)]
    it = play(rows, [buy(1001, 100, 1), buy(1003, 100, 4)])
    assert it.brief() == [(1004, 1, 100, 1), (1004, 2, 100, 1), (1005, 2, 100, 1)]
    assert it.orders[1] == (2, "EXPIRED", "END", 2, 1003, 1003, 1005)


@pytest.mark.parametrize(("response_ns", "late"), [(0, 0), (100, 1)])
def test_a_fill_of_exactly_the_rest_ends_the_order(play, response_ns, late):
    script = [buy(1001, 101, 2), ("cancel", 1004, 1)]
    rows = [*OPEN, sold(1002, 101, 1), sold(1003, 101, 1), bid(1009, 100, 5)]
    it = play(rows, script, latency=[(0, 0, response_ns)])
    assert it.brief() == [(1002, 1, 101, 1), (1003, 1, 101, 1)]
    assert it.orders == [(1, "FILLED", "NONE", 2, 1001, 1001, 1003)]
    assert it.counts["late_cancels"] == late  # not sent by one who knows already


def test_a_cancel_loses_the_race_even_by_nothing(play):
    # It arrives at 1008; the trade of 1008 is the exchange's before any request of 1008 is.
    rows = [*OPEN, sold(1008, 101, 1), bid(1020, 100, 5)]
    it = play(rows, [buy(990, 101, 1), ("cancel", 1003, 1)], latency=[(0, 5, 0)])
    assert it.brief() == []  # sent before there was a book: nothing is known of the queue at 101
    it = play(rows, [buy(1000, 101, 1), ("cancel", 1003, 1)], latency=[(0, 5, 0)])
    assert it.orders == [(1, "FILLED", "NONE", 1, 1000, 1005, 1008)]
    assert it.counts["late_cancels"] == 1
    rows[2] = sold(1009, 101, 1)
    it = play(rows, [buy(1000, 101, 1), ("cancel", 1003, 1)], latency=[(0, 5, 0)])
    assert it.orders == [(1, "CANCELLED", "REQUOTE", 0, 1000, 1005, 1008)]


def test_post_only_never_takes(play):
    script = [buy(1001, 102, 1), sell(1001, 100, 1), buy(1001, 101, 1)]
    it = play([*OPEN, bid(1002, 99, 1)], script)
    assert it.orders[:2] == [
        (1, "REJECTED", "POST_ONLY", 0, 1001, 0, 1001),
        (2, "REJECTED", "POST_ONLY", 0, 1001, 0, 1001),
    ]
    assert it.ends()[3] == ("EXPIRED", "END", 0)


def test_what_has_not_arrived_when_the_data_end(play):
    script = [buy(1001, 100, 1), buy(1006, 100, 1), ("cancel", 1007, 1)]
    it = play([*OPEN, bid(1010, 100, 6)], script, latency=[(0, 9, 0)])
    assert it.orders == [(1, "EXPIRED", "END", 0, 1001, 1010, 1010), (2, "EXPIRED", "IN_FLIGHT", 0, 1006, 0, 1010)]


def test_a_request_due_with_the_last_row_is_handled_and_one_due_later_never_sent(play):
    it = play([*OPEN, ask(1010, 102, 1)], [buy(1010, 105, 9, "ioc"), buy(1011, 100, 1)])
    assert it.fills == [(1010, 1, 1, 102, 1, 101.0, False, 1)]
    assert it.orders == [(1, "EXPIRED", "NO_LIQUIDITY", 1, 1010, 0, 1010)]


@pytest.mark.parametrize(
    ("queue", "got"),
    [("risk_averse", 0), ("log", 1), ("log2", 0), ("power", 1), ("power2", 3), ("front", 4)],
)
def test_where_a_cancellation_came_from(play, queue, got):
    # 5 ahead of us, 5 behind, 5 vanish untraded. Left ahead: worst case 5; half of them each way 2.5 (log, power);
    # P = ln 6/ln 11 = .747 -> 3.74 (log2); P = 5^3/10^3 = .125 -> .625 (power2). Then 4 trade.
    rows = [*OPEN, bid(1002, 100, 10), bid(1003, 100, 5), sold(1004, 100, 4)]
    it = play(rows, [buy(1001, 100, 9)], queue=queue)
    assert it.brief() == ([(1004, 1, 100, got)] if got else [])


@pytest.mark.parametrize("queue", ["risk_averse", "log", "log2", "power", "power2"])
def test_a_decrease_that_trades_explain_is_no_cancellation(play, queue):
    # 5 ahead, 5 join behind us, 4 trade: 1 ahead. The level going from 10 to 6 says the same thing again.
    rows = [*OPEN, bid(1002, 100, 10), sold(1003, 100, 4), bid(1004, 100, 6), sold(1005, 100, 2)]
    it = play(rows, [buy(1001, 100, 9)], queue=queue)
    assert it.brief() == [(1005, 1, 100, 1)]


def test_the_lot_size_is_in_the_logarithm(play):
    # 30 ahead and 10 behind, 8 vanish. Lots of 1: P = ln 11/(ln 11 + ln 31) = .411, 25.29 ahead;
    # lots of 1/100: P = ln 1.1/(ln 1.1 + ln 1.3) = .266, 24.13 ahead. 26 trade: nothing for us, or one.
    rows = [bid(1000, 100, 30), ask(1000, 102, 5), bid(1002, 100, 40), bid(1003, 100, 32), sold(1004, 100, 26)]
    for lot, got in ((Fraction(1), 0), (Fraction(1, 100), 1)):
        it = play(rows, [buy(1001, 100, 9)], queue="log", lot=lot)
        assert sum(fill[-1] for fill in it.brief()) == got


def test_a_trade_through_takes_the_best_first(play):
    script = [buy(1001, 100, 2), buy(1001, 101, 2), buy(1001, 99, 2)]
    it = play([*OPEN, sold(1002, 99, 5)], script)  # at 99 exactly one is left for Q: nothing displayed there, so ours
    assert it.brief() == [(1002, 2, 101, 2), (1002, 1, 100, 2), (1002, 3, 99, 1)]
    it = play([*OPEN, sold(1002, 98, 3)], script)
    assert it.brief() == [(1002, 2, 101, 2), (1002, 1, 100, 1)]
    assert it.ends()[1] == ("EXPIRED", "END", 1)


def test_a_bid_that_comes_to_rest_on_our_ask_would_have_met_it(play):
    rows = [*OPEN, bid(1002, 103, 3), bid(1003, 103, 2), bid(1004, 103, 3)]
    it = play(rows, [sell(1001, 103, 5)])  # 3 new, then one less, then one new again
    assert it.brief() == [(1002, 1, 103, 3), (1004, 1, 103, 1)]
    assert it.fills[1][5] == 102.5  # (103 + 102)/2, as the rows before had left it
    it = play([*OPEN, bid(1002, 104, 3)], [sell(1001, 104, 1), sell(1001, 103, 1), sell(1001, 103, 2)])
    assert it.brief() == [(1002, 2, 103, 1), (1002, 3, 103, 2)]


def test_ioc_walks_to_its_limit_and_the_recorded_book_stays(play):
    rows = [*OPEN, ask(1000, 103, 2), ask(1000, 104, 9), bid(1003, 99, 1)]
    it = play(rows, [buy(1001, 103, 8, "ioc"), buy(1002, 103, 6, "ioc")])
    assert it.brief() == [(1001, 1, 102, 5), (1001, 1, 103, 2), (1002, 2, 102, 5), (1002, 2, 103, 1)]
    assert [f[6] for f in it.fills] == [False] * 4
    assert it.ends() == {1: ("EXPIRED", "NO_LIQUIDITY", 7), 2: ("FILLED", "NONE", 6)}


def test_limit_takes_and_rests_with_what_is_left(play):
    rows = [*OPEN, ask(1000, 103, 2), ask(1000, 104, 9), sold(1003, 103, 1)]
    it = play(rows, [buy(1001, 103, 9, "limit")])
    assert it.brief() == [(1001, 1, 102, 5), (1001, 1, 103, 2), (1003, 1, 103, 1)]
    assert it.orders == [(1, "EXPIRED", "END", 8, 1001, 1001, 1003)]


def test_market_and_what_it_finds(play):
    rows = [bid(1000, 100, 2), bid(1000, 97, 2), bid(1002, 99, 1)]
    it = play(rows, [sell(999, 1, 1, "market"), sell(1001, 1, 3, "market")])
    assert it.brief() == [(1001, 2, 100, 2), (1001, 2, 97, 1)]
    assert [f[5] for f in it.fills] == [100.0, 97.0]  # there never was a mid
    assert it.ends() == {1: ("EXPIRED", "NO_LIQUIDITY", 0), 2: ("FILLED", "NONE", 3)}


def test_refused_in_a_gap_but_what_rests_can_trade(play):
    rows = [*OPEN, (1002, 0, 0, GAP), bid(1003, 100, 1), sold(1004, 99, 1), *snapshot(1006, [(100, 2)], [(101, 1)])]
    rows += [sold(1007, 100, 3)]
    script = [buy(1001, 100, 3), buy(1005, 100, 1), buy(1006, 101, 1, "ioc")]
    it = play(rows, script)
    # Ours: 5 ahead; the bid of 1003 is not heard; the trade through gives 1; the snapshot's 2 leave at most 2 ahead.
    assert it.brief() == [(1004, 1, 100, 1), (1006, 3, 101, 1), (1007, 1, 100, 1)]
    assert it.ends()[2] == ("REJECTED", "GAP", 0)
    assert it.counts["gaps"] == it.counts["snapshots"] == 1


def test_a_snapshot_empties_what_it_does_not_name_and_says_nothing_beyond(play):
    rows = [*OPEN, bid(1000, 98, 4), bid(1000, 96, 4), *snapshot(1002, [(97, 1), (101, 1)], [(102, 5)])]
    rows += [sold(1003, 100, 1), sold(1004, 98, 2), sold(1005, 96, 5)]
    script = [buy(1001, 100, 1), buy(1001, 98, 1), buy(1001, 96, 1), buy(1002, 95, 1), buy(1002, 99, 1)]
    it = play(rows, script)
    # 100 and 98 lie inside 101..97: gone, ours are first. 96 lies beyond: 4 still ahead, 5 trade. 99 is known empty;
    # the trade of 1004 through it takes that one first. Nothing is known at 95.
    assert it.brief() == [(1003, 1, 100, 1), (1004, 5, 99, 1), (1004, 2, 98, 1), (1005, 3, 96, 1)]


# 99 and 98 are the last levels of the snapshot; then the market falls through them, and rows state 97, 95 (gone again)
# and 94. Nobody ever states 96, 93 or anything lower.
FALLEN = [
    *snapshot(1000, [(99, 4), (98, 4)], [(101, 5)]),
    *(bid(1001, *level) for level in ((97, 6), (95, 2), (94, 3), (95, 0), (99, 0), (98, 0))),
]


def test_beyond_the_snapshot_a_level_is_known_once_a_row_has_stated_it(play):
    rows = [*FALLEN, sold(1003, 97, 7), bid(1004, 97, 0), sold(1005, 96, 9), sold(1006, 95, 2), sold(1007, 94, 4)]
    it = play(rows, [buy(1002, price, 1) for price in (97, 96, 95, 94)])
    # 6 ahead at 97; nothing is known at 96, so nothing fills there; nobody is ahead at 95, where a row said 0; 3 at 94.
    assert it.brief() == [(1003, 1, 97, 1), (1006, 2, 96, 1), (1006, 3, 95, 1), (1007, 4, 94, 1)]


@pytest.mark.parametrize("kind", ["market", "ioc"])
def test_beyond_the_snapshot_taking_passes_over_what_nobody_has_stated(play, kind):
    it = play([*FALLEN, ask(1003, 101, 4)], [sell(1002, 90, 20, kind)])
    assert it.brief() == [(1002, 1, 97, 6), (1002, 1, 94, 3)]
    assert it.ends() == {1: ("EXPIRED", "NO_LIQUIDITY", 9)}


def test_the_next_snapshot_forgets_what_was_stated_beyond_it(play):
    rows = [*FALLEN, *snapshot(1002, [(97, 6)], [(101, 5)]), sold(1005, 95, 1), bid(1006, 94, 1), sold(1008, 94, 3)]
    it = play(rows, [buy(1003, 95, 1), buy(1004, 94, 1), buy(1007, 94, 1), sell(1007, 90, 20, "market")])
    # Of 95 nothing is known any more. 94 is, from the row at 1006 on: one is ahead of us, and then our own first order.
    assert it.brief() == [(1007, 4, 97, 6), (1007, 4, 94, 1), (1008, 1, 95, 1), (1008, 2, 94, 1)]


def test_a_best_price_says_that_nothing_is_better(play):
    rows = [*FALLEN, (1002, 94, 3, BBO_BID), sold(1004, 96, 1), sold(1005, 95, 1)]
    assert play(rows, [buy(1003, 96, 1), buy(1003, 95, 1)]).brief() == [(1004, 1, 96, 1), (1005, 2, 95, 1)]
    rows[-3] = (1002, 97, 6, BBO_BID)  # no word about what is worse
    assert play(rows, [buy(1003, 96, 1)]).brief() == [(1005, 1, 96, 1)]


@pytest.mark.parametrize("price", [2, 3, 1_000, 60_000, 70_000])
def test_who_sells_more_than_there_are_bids_sells_what_there_is(play, price):
    rows = [bid(1000, price, 100), bid(1000, 1, 40), ask(1000, price + 2, 100), ask(1002, price + 2, 90)]
    it = play(rows, [sell(1001, 1, 1_000, "market"), buy(1001, 1, 1_000, "market")])
    assert it.brief() == [(1001, 1, price, 100), (1001, 1, 1, 40), (1001, 2, price + 2, 100)]
    it = play([*rows, bid(1004, 1, 0), bid(1004, price, 0), bid(1006, price, 2)], [sell(1005, 1, 5, "market")])
    assert it.brief() == []


def message(ts, *rows):
    return [
        (ts, price, lots, kind | (MORE if i + 1 < len(rows) else 0)) for i, (_, price, lots, kind) in enumerate(rows)
    ]


@pytest.mark.parametrize("asks_first", [False, True])
def test_a_fill_is_measured_against_the_mid_before_its_message(play, asks_first):
    falls = [bid(0, 100, 0), bid(0, 95, 0), bid(0, 90, 5)]
    comes = [ask(0, 102, 0), ask(0, 91, 5)]
    rows = [*OPEN, bid(1000, 95, 1), *message(1002, *(comes + falls if asks_first else falls + comes))]
    rows += message(1003, (0, 80, 1, BBO_BID), (0, 89, 1, BBO_ASK))
    it = play(rows, [buy(1001, 95, 3), buy(1001, 90, 1)])
    # The ask of 91 runs over our bid at 95: the mid was 101. That of 89 over 90: then it was 90.5.
    assert [fill[1:7] for fill in it.fills] == [(1, 1, 95, 3, 101.0, True), (2, 1, 90, 1, 90.5, True)]
    # Bought 3 at 95, worth 90.5 when the message is over: 13.5 lost, no more. Then 3 * (90.5 - 84.5) and 90 - 84.5.
    assert it.drawdown == pytest.approx(13.5 + 18 + 5.5)


def test_a_trade_in_the_middle_of_a_message_knows_the_mid_before_it(play):
    rows = [*OPEN, *message(1002, bid(0, 100, 0), bid(0, 98, 5), sold(0, 97, 9), ask(0, 102, 0), ask(0, 99, 5))]
    it = play([*rows, sold(1003, 96, 1)], [buy(1001, 97, 1), buy(1001, 96, 1)])
    assert [(fill[1], fill[5]) for fill in it.fills] == [(1, 101.0), (2, 98.5)]
    rows = [*OPEN, *message(1002, sold(0, 99, 9), bid(0, 100, 0), bid(0, 98, 5)), sold(1003, 96, 1)]
    it = play(rows, [buy(1001, 99, 1), buy(1001, 97, 1)])
    assert [(fill[1], fill[5]) for fill in it.fills] == [(1, 101.0), (2, 100.0)]


def test_drawdown_is_from_the_highest_equity_after_any_message(play):
    def to(ts, price):  # moves the whole market to bid `price`, ask `price` + 2; the mid is one above
        return message(ts, bid(0, price, 5), ask(0, price + 2, 5), *gone.pop(), *gone_next(price))

    gone = [[bid(0, 100, 0), ask(0, 102, 0)]]

    def gone_next(price):
        gone.append([bid(0, price, 0), ask(0, price + 2, 0)])
        return []

    rows = [*OPEN]
    for ts, price in ((1002, 90), (1003, 110), (1004, 104), (1005, 108), (1006, 103), (1008, 60), (1009, 200)):
        rows += to(ts, price)
    it = play(rows, [buy(1001, 102, 2, "market"), sell(1007, 1, 2, "market")])
    # Long 2 from 102: -2 at once, the mid being 101; -22 at 91; +18 at 111; +6 at 105; +4 at 104: 14 below the top.
    # The deepest is the first, 22 below the start: the top came after it. Sold at 103, nothing moves any more.
    assert it.drawdown == pytest.approx(22)
    it = play(rows, [buy(1001, 102, 2, "market"), sell(1007, 1, 7, "market")])
    # 2 short and 3 more than the book shows of 5: short 3 from 103; the mid goes from 104 to 61, then to 201.
    assert it.drawdown == pytest.approx(3 * (201 - 61))


def test_nothing_known_is_nothing_filled_until_the_level_speaks(play):
    rows = [sold(1000, 100, 50), sold(1002, 100, 50), ask(1003, 102, 5), sold(1004, 100, 50)]
    script = [buy(1001, 100, 3)]
    assert play(rows, script).brief() == []
    rows += [bid(1005, 100, 4), sold(1006, 100, 5)]
    assert play(rows, script).brief() == [(1006, 1, 100, 1)]
    rows[-1] = sold(1006, 99, 2)  # through it: what is known of the queue has no say
    assert play(rows, script).brief() == [(1006, 1, 100, 2)]
    assert play(rows[:3], script, queue="front").brief() == [(1002, 1, 100, 3)]


def test_replace_keeps_the_place_only_when_it_gets_smaller(play):
    rows = [*OPEN, bid(1002, 100, 8), sold(1005, 100, 7)]
    script = [buy(1001, 100, 4), buy(1003, 100, 9), ("replace", 1004, 1, 100, 3)]
    assert play(rows, script).brief() == [(1005, 1, 100, 2)]  # 5 ahead
    script[-1] = ("replace", 1004, 1, 100, 5)  # 8 ahead, and behind the other one
    assert play(rows, script).brief() == []
    rows[-1] = sold(1005, 100, 10)
    assert play(rows, script).brief() == [(1005, 2, 100, 2)]
    script[-1] = ("replace", 1004, 1, 101, 4)
    assert play(rows, script).brief() == [(1005, 1, 101, 4)]


def test_replace_that_cannot_be(play):
    rows = [*OPEN, sold(1002, 101, 2), bid(1005, 99, 1)]
    it = play(rows, [buy(1001, 101, 4), ("replace", 1003, 1, 102, 4), ("replace", 1004, 1, 101, 2)])
    assert it.counts["replace_rejected"] == 1  # post-only into the ask
    assert it.orders == [(1, "CANCELLED", "REQUOTE", 2, 1001, 1001, 1004)]  # no more than it has: it is done
    it = play(rows, [buy(1001, 101, 4, "limit"), ("replace", 1003, 1, 102, 8), ("replace", 1004, 1, 99, 9)])
    assert it.brief() == [(1002, 1, 101, 2), (1003, 1, 102, 5)]  # a limit order takes: 8 less 2 wanted, 5 there
    assert it.orders == [(1, "EXPIRED", "END", 7, 1001, 1001, 1005)]


def test_spot_reserves_what_rests(play):
    script = [
        buy(1001, 100, 2),  # reserves 200 of 250
        buy(1001, 51, 1),
        buy(1001, 50, 1),  # the last penny
        buy(1001, 102, 1, "market"),
        sell(1001, 105, 3),
        sell(1001, 105, 2),
        sell(1001, 106, 1),
        sell(1001, 100, 1, "ioc"),
        ("replace", 1001, 1, 101, 2),  # 202 with 200 to free
        ("replace", 1001, 1, 99, 2),
    ]
    it = play([*OPEN, ask(1002, 103, 1)], script, kind="spot", cash=Fraction(250), lots=2)
    assert it.fills == []
    assert it.ends() == {
        1: ("EXPIRED", "END", 0),
        2: ("REJECTED", "NO_CASH", 0),
        3: ("EXPIRED", "END", 0),
        4: ("EXPIRED", "NO_LIQUIDITY", 0),
        5: ("REJECTED", "NO_INVENTORY", 0),
        6: ("EXPIRED", "END", 0),
        7: ("REJECTED", "NO_INVENTORY", 0),
        8: ("EXPIRED", "NO_LIQUIDITY", 0),
    }
    assert it.counts["replace_rejected"] == 1


def test_spot_buys_what_the_money_buys(play):
    # 125 bps: 300/103.275 = 2.9 -> 2 lots at 102; 93.45 left; one lot at 80 costs 81, and 12.45 buy none at 81.
    rows = [*OPEN, ask(1002, 80, 1), ask(1002, 81, 1), bid(1005, 70, 1)]
    script = [buy(1001, 102, 4, "market"), buy(1003, 90, 2, "ioc")]
    it = play(rows, script, kind="spot", cash=Fraction(300), taker=Fraction(1, 80))
    assert it.brief() == [(1001, 1, 102, 2), (1003, 2, 80, 1)]
    assert it.cash == pytest.approx(300 - 2 * 102 * 1.0125 - 81)
    assert it.fees == pytest.approx([2 * 102 * 0.0125, 1.0])


def test_a_perpetual_books_profit_at_average_cost(play):
    # Long 2 at 101 (maker, 10 bps: .202), then 5 sold at 100: 2 close at a loss of 1 each, 3 open short. Fee 20 bps: 1.
    rows = [*OPEN, sold(1002, 101, 2), ask(1004, 102, 1)]
    script = [buy(1001, 101, 2), sell(1003, 100, 5, "ioc")]
    it = play(rows, script, maker=Fraction(1, 1000), taker=Fraction(2, 1000), cash=Fraction(1000))
    assert [f[-1] for f in it.fills] == [2, -3]
    assert it.cash == pytest.approx(1000 - 0.202 - 2 - 1)


@pytest.mark.parametrize(("price", "got"), [(102, 1), (103, 1), (101, 0), (100, 0)])
def test_a_trade_of_unknown_side_at_the_ask_was_a_buy(play, price, got):
    it = play([*OPEN, (1002, price, 1, TRADE)], [sell(1001, 101, 1)])
    assert len(it.brief()) == got
    it = play([*OPEN, (1002, 202 - price, 1, TRADE)], [buy(1001, 101, 1)])
    assert len(it.brief()) == got


def test_the_best_price_feed_knows_the_best_price(play):
    best = [(1000, 100, 5, BBO_BID), (1000, 102, 5, BBO_ASK)]
    rows = [*best, sold(1003, 99, 50), bought(1003, 102, 6), (1004, 101, 7, BBO_ASK), (1007, 105, 1, BBO_ASK)]
    script = [buy(1002, 99, 1), buy(1002, 98, 1), sell(1002, 102, 3), buy(1005, 103, 9, "ioc"), buy(1006, 101, 1)]
    it = play(rows, script)
    # 99 is behind the best: nothing known. 102 is the best: 5 ahead of 6. At 1005 only 101 is known: 7, no further.
    # 101 crosses: rejected. The ask moving to 105 takes the levels better than that away.
    assert it.brief() == [(1003, 3, 102, 1), (1005, 4, 101, 7)]
    assert it.ends()[5] == ("REJECTED", "POST_ONLY", 0)


def test_a_gap_of_a_best_price_feed_ends_with_the_next_row(play):
    rows = [(1000, 100, 5, BBO_BID), (1001, 0, 0, GAP), (1003, 100, 4, BBO_BID), sold(1005, 100, 5)]
    it = play(rows, [buy(1002, 100, 1), buy(1004, 100, 1)])
    assert it.ends() == {1: ("REJECTED", "GAP", 0), 2: ("FILLED", "NONE", 1)}


def test_requests_do_not_overtake(play):
    # 32 ns at 1000 falling to 0 at 1016: sent at 1004 takes 24, sent at 1012 takes 8 and would be there first.
    it = play([*OPEN, bid(1040, 100, 5)], [buy(1004, 100, 1), buy(1012, 100, 1)], latency=[(1000, 32, 0), (1016, 0, 0)])
    assert [o[5] for o in it.orders] == [1028, 1028]
    it = play([*OPEN, bid(1040, 100, 5)], [buy(1005, 100, 1), buy(1020, 100, 1)], latency=[(1000, 1, 0), (1016, 3, 0)])
    assert [o[5] for o in it.orders] == [1006, 1023]  # 1 + 2*5/16 = 1.6 -> 1; flat after the last point


def test_no_price_no_order(play):
    it = play([*OPEN, bid(1003, 100, 5)], [buy(1001, 0, 1), sell(1001, 0, 1, "market")])
    assert it.ends() == {1: ("REJECTED", "PRICE", 0), 2: ("FILLED", "NONE", 1)}
