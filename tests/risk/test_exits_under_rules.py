"""Exits and halts at a venue with rules of its own: they send nothing it refuses for good, and come to an end."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from numba import njit

import marketmakerl as mml
from marketmakerl.backtesting.engine import Engine
from marketmakerl.backtesting.layout import OrderType
from marketmakerl.backtesting.maker.order_gate import taker_limit
from marketmakerl.models.custom import CustomModel
from marketmakerl.risk.reasons import Control, Reason
from risky_markets import (
    ASK,
    BID,
    BOUGHT,
    FREE,
    INSTRUMENTS,
    KINDS,
    LOT_WORTH,
    MIDNIGHT,
    MORE,
    MS,
    OFF,
    SOLD,
    Kind,
    Played,
    S,
    examples,
    leaning,
    tape_of,
)

EXITS = (Control.STOP_LOSS, Control.TAKE_PROFIT, Control.TIME_EXIT, Control.FLAT_WINDOW)
MINIMUM = 850.0  # in quote currency: a lot is worth 250 at 2000 ticks
QUIET_S = 12  # the market stands still at last, and the venue takes everything


class Days:
    """A book of a few lots at its best and more behind, which stands, jumps, wanders, and stands still at the end."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.ts, self.centre = rng, MIDNIGHT + S, 2000
        self.rows: list[tuple] = []
        self.mids: list[tuple[int, float]] = []

    def book(self, delay: int) -> None:
        rng, c = self.rng, self.centre
        levels = [(0, 0, Kind.SNAPSHOT)]
        levels += [(c - 1 - k, rng.randint(1, 6) if k < 2 else 40, BID) for k in range(4)]
        levels += [(c + 1 + k, rng.randint(1, 6) if k < 2 else 40, ASK) for k in range(4)]
        self.rows += [
            (self.ts, self.ts + delay, price, lots, int(kind) | (int(MORE) if i + 1 < len(levels) else 0))
            for i, (price, lots, kind) in enumerate(levels)
        ]
        self.mids.append((self.ts, float(c)))

    def draw(self, jump: float, wander: int, delay: int) -> Days:
        rng = self.rng
        for i in range(90):
            if i == 30:
                self.centre = int(self.centre * (1 + jump))
            elif i > 30:
                self.centre += rng.choice((-wander, 0, wander))
            self.book(delay)
            self.ts += rng.choice((100 * MS, rng.randrange(1, 300 * MS)))
            if rng.random() < 0.4:
                up = rng.random() < 0.5
                price = self.centre + (2 if up else -2)
                self.rows.append((self.ts, self.ts + delay, price, rng.randint(1, 9), int(BOUGHT if up else SOLD)))
        self.quiet_ns = self.ts
        for _ in range(10 * QUIET_S):
            self.book(delay)
            self.ts += 100 * MS
        return self

    def mid(self, ts_ns: int) -> float:
        return [mid for at, mid in self.mids if at <= ts_ns][-1]


@dataclass
class Run:
    it: Played
    engine: Engine
    days: Days

    @property
    def taken(self) -> list[dict]:
        return [order for order in self.it.orders.values() if order["purpose"] in (1, 2)]

    def worth(self, lots: int, kind: str) -> float:
        bid = (self.days.centre - 1) * 0.5
        return abs(lots) * (250.0 if kind == "inverse" else 0.25 * bid)


def go(days: Days, kind: str, model, **options) -> Run:
    usual = {"fees": FREE, "cash": 60 * LOT_WORTH[kind], "queue": "front", "first_price": 1000.0}
    instrument = replace(INSTRUMENTS[kind], min_notional=MINIMUM)
    engine = Engine(instrument, model, **usual | options)
    engine.feed(tape_of(days.rows, kind))
    engine.finish()
    return Run(Played(engine, days.rows, engine.latency.entry_ns), engine, days)


def draw_case(rng: random.Random, kind: str) -> tuple[Days, dict, float]:
    lot = INSTRUMENTS[kind].lot_size
    delay = rng.choice((0, 3, 60)) * MS
    days = Days(rng).draw(rng.choice((-0.2, -0.05, 0.0, 0.05, 0.2)), rng.choice((0, 1, 4)), delay)
    band = rng.choice((None, 0.02, 0.05, 0.3))
    windows = []
    if rng.random() < 0.4:
        first = rng.randrange(days.rows[0][0], days.quiet_ns - 2 * S)
        windows = [(first, rng.randrange(first + 1, days.quiet_ns))]
    options = {
        "venue": mml.VenueRules(
            min_notional=rng.random() < 0.8,
            price_band_up=band and 1 + band,
            price_band_down=band and 1 - band,
            stp=rng.choice((None, "expire_maker")),
            reject_windows=windows,
        ),
        "latency": mml.Latency(0, rng.choice((0, 1, 40)) * MS, rng.choice((0, 1, 70)) * MS),
        "order_qty": rng.choice((6, 9)) * lot,
        **rng.choice(({"quote_on": "all"}, {"quote_interval_ns": 100 * MS}, {"quote_on": "trade"})),
    }
    held = rng.choice((-21, -2, 1, 3, 10, 33))
    if kind == "spot":
        options |= {"initial_inventory": abs(held) * lot, "target_inventory": rng.choice((0, 8)) * lot}
    else:
        options |= {"initial_inventory": held * lot, "target_inventory": rng.choice((0.0, 0.0, 10.0)) * lot}
    return days, options, band or 0.0


def nothing_is_refused_for_good(run: Run, band: float, windows, entry: int, delay: int) -> None:
    """No order too small; none outside the band, unless the mid ran away while it was on its way."""
    for order in run.taken:
        reason = order["reason"]
        assert reason not in (int(Reason.MIN_NOTIONAL), int(Reason.REDUCE_ONLY), int(Reason.MARGIN))
        if reason == int(Reason.PRICE_BAND):
            sent = order["submitted_ns"]
            seen, there = run.days.mid(sent - delay), run.days.mid(sent + entry)
            assert abs(there / seen - 1) > 0.09 * band
        if reason == int(Reason.VENUE_DOWN):
            assert any(first <= order["submitted_ns"] + entry < last for first, last in windows)


def told(days: Days, options: dict) -> tuple:
    delay = days.rows[0][1] - days.rows[0][0]
    return options["venue"].reject_windows, options["latency"].entry_ns, delay


@examples(150)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_a_halt_ends_flat_or_with_what_the_venue_does_not_take(seed, kind):
    rng = random.Random(seed)
    days, options, band = draw_case(rng, kind)
    limits = replace(OFF, hard_drawdown_pct=rng.choice((0.001, 0.02)), price_collar_pct=rng.choice((None, 0.02, 0.1)),
                     check_self_match=rng.random() < 0.7,
                     max_order_notional_pct=rng.choice((None, 0.02, 0.2)))  # fmt: skip
    run = go(days, kind, leaning(0.6), risk=limits, **options)
    nothing_is_refused_for_good(run, band, *told(days, options))
    event(f"halted: {run.it.halted_ns is not None}")
    if run.it.halted_ns is None or run.it.halted_ns > days.quiet_ns:
        return
    state = run.engine.state
    left = int(state.ledger.position_lots)
    event(f"left: {abs(left) > 0}")
    assert int(state.own.n_live) == 0
    if kind == "spot" and options["venue"].min_notional:
        assert run.worth(left, kind) < MINIMUM
    else:
        assert left == 0


@examples(150)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_an_exit_ends_and_quoting_resumes(seed, kind):
    rng = random.Random(seed)
    days, options, band = draw_case(rng, kind)
    limits = replace(OFF, stop_loss_pct=rng.choice((None, 0.002)), take_profit_pct=0.002, cooldown_s=0.5,
                     max_holding_s=rng.choice((2.5, None)), price_collar_pct=rng.choice((None, 0.02, 0.1)),
                     max_order_notional_pct=rng.choice((None, 0.3)))  # fmt: skip
    run = go(days, kind, leaning(0.6), risk=limits, **options)
    nothing_is_refused_for_good(run, band, *told(days, options))
    begun = run.it.named(*EXITS)
    event(f"exits: {min(len(begun), 3)}")
    times = [one.ts_ns for one in begun]
    sent = sorted(order["submitted_ns"] for order in run.taken)
    target, back_ns = int(run.engine._params.target_lots), options["latency"].response_ns
    dust = MINIMUM if kind == "spot" else 1e-9
    flat = [fill["ts_ns"] + back_ns for fill in run.engine.fills()
            if run.worth(int(fill["position_lots"]) - target, kind) < dust]  # fmt: skip
    for first, last in pairwise(times):
        # None begins where nothing can be sent, but a quote may be filled before anything has been.
        assert any(first <= ts <= last for ts in [*sent, *flat])
    before = [ts for ts in times if ts < days.quiet_ns + 4 * S]
    if not before or (times[-1] > before[-1] and limits.max_holding_s is None):
        return
    if times[-1] == before[-1]:
        assert run.engine.state.risk.exiting == 0
    if "trade" not in str(options.get("quote_on")):  # nothing trades in the quiet time
        quotes = [order for order in run.it.orders.values() if order["purpose"] == 0]
        assert any(order["submitted_ns"] > before[-1] for order in quotes)


def test_dust_does_not_leave_for_ever():
    """Spot: 5 lots of which the book takes 3; 2 are too few for the venue. The exit is over, and does not come back."""
    days = Days(random.Random(1)).draw(0.0, 0, 0)
    days.rows = [
        (ts, local, price, 3 if price == 1999 and kind & 63 == BID else 0 if kind & 63 == BID and price else lots, kind)
        for ts, local, price, lots, kind in days.rows
        if kind & 63 not in (SOLD, BOUGHT)
    ]
    limits = replace(OFF, max_holding_s=2.0, cooldown_s=0.5, price_collar_pct=0.1)
    lot = INSTRUMENTS["spot"].lot_size
    run = go(days, "spot", leaning(60.0), risk=limits, venue=mml.VenueRules(min_notional=True), order_qty=8 * lot,
             initial_inventory=5 * lot, target_inventory=0.0, quote_interval_ns=100 * MS)  # fmt: skip
    assert [(one["qty_lots"], one["filled_lots"]) for one in run.taken] == [(5, 3)]
    assert len(run.it.named(*EXITS)) == 1
    assert int(run.engine.state.ledger.position_lots) == 2
    assert max(order["submitted_ns"] for order in run.it.orders.values()) > run.taken[0]["submitted_ns"] + S // 2


def test_a_slice_leaves_no_dust_behind():
    """Spot: 10 lots, slices of 5 at most; 4 are the least. 5 and 5, not 6 and 4, nor 8 and 2."""
    days = Days(random.Random(2)).draw(0.0, 0, 0)
    lot = INSTRUMENTS["spot"].lot_size
    for held, slices in ((10, [5, 5]), (7, [7]), (8, [4, 4]), (13, [5, 4, 4])):
        rows = [(*row[:3], 40 if row[3] else 0, row[4]) for row in days.rows if row[4] & 63 not in (SOLD, BOUGHT)]
        days.rows = rows
        limits = replace(OFF, max_holding_s=2.0, price_collar_pct=0.1, max_order_notional_pct=1250.0 / 50_000.0)
        run = go(days, "spot", leaning(400.0), risk=limits, venue=mml.VenueRules(min_notional=True),
                 order_qty=8 * lot, initial_inventory=held * lot, target_inventory=0.0,
                 cash=50_000.0 - held * 250.0)  # fmt: skip
        assert [one["qty_lots"] for one in run.taken] == slices
        assert int(run.engine.state.ledger.position_lots) == 0


def test_spot_that_cannot_pay_for_what_it_lacks_goes_on_quoting():
    """Eight lots short of its target, and no cash: nothing can be bought, so no exit begins."""
    days = Days(random.Random(3)).draw(0.0, 0, 0)
    lot = INSTRUMENTS["spot"].lot_size
    limits = replace(OFF, max_holding_s=2.0)
    run = go(days, "spot", leaning(0.6), risk=limits, cash=100.0, initial_inventory=8 * lot,
             target_inventory=16 * lot, order_qty=4 * lot, quote_interval_ns=100 * MS)  # fmt: skip
    assert run.taken == [] or run.engine.state.risk.exiting == 0
    assert max(order["submitted_ns"] for order in run.it.orders.values()) > MIDNIGHT + 6 * S


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("collar", "band", "spread", "expected"),
    [
        (0.10, None, 1.0, 0.10),
        (0.02, 0.05, 1.0, 0.02),  # the collar is nearer than the band
        (0.10, 0.05, 1.0, 0.045),  # a tenth of the band is left for the mid to move
        (0.10, 0.05, 96.0, 0.048),  # the touch is further: as far as that
        (0.10, 0.05, 200.0, 0.05),  # beyond the band nothing can trade: to its edge
    ],
)
def test_how_far_an_order_that_takes_may_go(sign, collar, band, spread, expected):
    rules = mml.VenueRules(price_band_up=band and 1 + band, price_band_down=band and 1 - band)
    engine = Engine(INSTRUMENTS["linear"], leaning(), fees=FREE, order_qty=0.25, cash=1e5, first_price=1000.0,
                    risk=replace(OFF, price_collar_pct=collar), venue=rules)  # fmt: skip
    kind, tick = taker_limit(engine._params, engine._risk, 1000.0, 1000.0 - spread / 2, 1000.0 + spread / 2, sign)
    assert kind == OrderType.IOC
    assert tick * 0.5 == pytest.approx(1000.0 * (1 + sign * expected), abs=0.5)


@njit
def buy_at_the_market(context, params):  # type: ignore[no-untyped-def]
    context.take_qty = params[0] if context.inventory == 0.0 else 0.0
    return np.nan, np.nan


@pytest.mark.parametrize("sign", [1, -1])
def test_what_a_model_takes_stops_at_the_collar(sign):
    """Two lots near the mid, the next half as far again: the collar of 10 % lets it have the two."""
    near, far = (2002, 3000) if sign > 0 else (1998, 1000)
    kinds = (ASK, BID) if sign > 0 else (BID, ASK)
    rows = [(MIDNIGHT, MIDNIGHT, 2000 - sign * 2, 500, int(kinds[1])), (MIDNIGHT, MIDNIGHT, near, 2, int(kinds[0]))]
    rows += [(MIDNIGHT, MIDNIGHT, far, 500, int(kinds[0]))]
    rows += [(MIDNIGHT + k * S // 10, MIDNIGHT + k * S // 10, 2000 - sign * 50, k, int(kinds[1])) for k in range(1, 40)]
    days = Days(random.Random(0))
    days.rows = rows
    for limits, filled in ((replace(OFF, price_collar_pct=0.1), [2]), (OFF, [2, 8])):
        run = go(days, "linear", CustomModel(buy_at_the_market, (sign * 2.5,)), risk=limits, order_qty=0.5)
        assert [fill[3] for fill in run.it.fills] == filled
    assert {order["order_type"] for order in run.it.orders.values()} == {int(OrderType.MARKET)}


def test_a_small_order_of_a_model_that_only_takes_off_passes_the_minimum():
    """A lot is worth 250 of the least 850: bought it is too small, sold from a position it is not."""
    days = Days(random.Random(5)).draw(0.0, 0, 0)
    for held, fills in ((2.5, True), (0.0, False)):
        run = go(days, "linear", CustomModel(sell_a_lot, (float(MIDNIGHT + 3 * S),)), order_qty=1.0,
                 risk=replace(OFF, price_collar_pct=0.1), venue=mml.VenueRules(min_notional=True),
                 initial_inventory=held, target_inventory=0.0, quote_interval_ns=S)  # fmt: skip
        ends = {(o["filled_lots"], o["reason"]) for o in run.it.orders.values()}
        assert ends == {(1, 0) if fills else (0, int(Reason.MIN_NOTIONAL))}


@njit
def sell_a_lot(context, params):  # type: ignore[no-untyped-def]
    if context.ts_ns < params[0]:
        context.take_qty = -0.25
    return np.nan, np.nan
