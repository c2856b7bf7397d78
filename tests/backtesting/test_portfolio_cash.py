"""Spot and perpetuals on one account: what cash there is for a bid, worked out from the logs alone."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from numba import njit

import marketmakerl as mml
from marketmakerl.models.custom import CustomModel
from risky_markets import CENTRE, OFF, S, examples, leaning, market

SPOT = [mml.Instrument(f"{coin}/USDT", 0.5, 0.25, "spot") for coin in "AB"]
PERPETUAL = [mml.Instrument(f"{coin}/USDT:USDT", 0.5, 0.25, "linear") for coin in "CD"]
START_NS = 1_700_010_000 * S


def tape_of(rows, instrument, shift_ns):
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    meta = {"clock": "ticks", "tier": "T2", "source": "test"}
    times = [column + shift_ns for column in columns[:2]]
    return mml.EventTape(instrument, *times, *columns[2:4], columns[4].astype(np.int8), meta=meta)


class Wallet:
    """Cash of one instrument as its fills have left it, in order of time: a perpetual pays for nothing it holds."""

    def __init__(self, part, cash, lots, opening_mid, *, spot):
        self.cash, self.held, self.cost, self.spot = cash, lots, lots * 0.25 * opening_mid, spot
        self.fills = sorted(
            part.fills[["ts_ns", "side", "price", "qty", "fee", "order_id"]].itertuples(index=False), key=lambda f: f[0]
        )
        self.at = 0

    def until(self, ts_ns):
        """Cash after every fill before a time."""
        while self.at < len(self.fills) and self.fills[self.at][0] < ts_ns:
            _, side, price, qty, fee, _ = self.fills[self.at]
            sign, lots = int(side), round(qty / 0.25)
            self.at += 1
            self.cash -= fee
            if self.spot:
                self.cash -= sign * lots * 0.25 * price
                continue
            if self.held * sign >= 0:
                self.cost += sign * lots * 0.25 * price
            else:
                closing = min(lots, abs(self.held))
                entry = self.cost / self.held  # of a lot, > 0
                self.cash += -sign * closing * (0.25 * price - entry)
                self.cost += sign * closing * entry + sign * (lots - closing) * 0.25 * price
            self.held += sign * lots
        return self.cash

    def filled(self, order_id, ts_ns):
        return sum(round(f[3] / 0.25) for f in self.fills if f[5] == order_id and f[0] < ts_ns)


def out_there(part, wallet, ts_ns, fee):
    """Cash that an instrument's bids hold at a time."""
    orders = part.orders
    bids = orders[(orders["side"] == 1) & (orders["live_ns"] > 0)]
    held = 0.0
    for bid in bids[(bids["live_ns"] < ts_ns) & (bids["closed_ns"] >= ts_ns)].itertuples():
        left = round(bid.qty / 0.25) - wallet.filled(bid.order_id, ts_ns)
        held += left * 0.25 * bid.price * (1 + fee)
    return held


@njit
def restless_bids(context, params):  # type: ignore[no-untyped-def]
    draw = (context.ts_ns // 1_000_000) * 2_654_435_761 % 4_294_967_296
    context.bid_qty *= float(1 + draw % 3)
    return params[0] + 0.5 * ((draw // 16) % 2), params[0]


@examples(60)
@given(seed=st.integers(0, 2**32))
def test_a_spot_bid_may_have_what_all_wallets_leave_and_no_more(seed):
    rng = random.Random(seed)
    instruments = [*SPOT[: rng.choice((1, 2))], *PERPETUAL[: rng.choice((1, 1, 2))]]
    rng.shuffle(instruments)
    n, tapes, firsts = len(instruments), [], []
    for j, instrument in enumerate(instruments):
        rows = market(rng.randrange(1 << 30), messages=rng.choice((40, 120)), jump=rng.choice((2, 15)),
                      drift=rng.choice((-1.0, 0.0, 1.0)), start=START_NS, delay="constant")  # fmt: skip
        tapes.append(tape_of(rows, instrument, 1_003 * j))
        firsts.append((CENTRE + 0.5) * 0.5)
    spot = [instrument.kind == "spot" for instrument in instruments]
    held = [0 if one else rng.choice((-9, 0, 9)) for one in spot]
    cash, fee = rng.choice((600.0, 2_500.0, 9_000.0)), rng.choice((0.0, 1e-4))
    usual = [rng.choice((1, 4)) for _ in spot]
    run = mml.backtest(
        tapes,
        [CustomModel(restless_bids, (0.6,)) if one else leaning(0.6) for one in spot],
        fees=mml.Fees(fee * 1e4, 5.0), order_qty=[lots * 0.25 for lots in usual], cash=cash, queue="front",
        initial_inventory=[lots * 0.25 for lots in held], target_inventory=0.0, quote_interval_ns=100_000_000,
        risk=rng.choice((OFF, replace(OFF, hard_inventory_pct=1e6))),
    )  # fmt: skip
    parts = list(run.parts.values())
    wallets = [
        Wallet(part, cash / n, held[j], firsts[j], spot=spot[j]) for j, part in enumerate(parts)
    ]  # fmt: skip
    bids = [
        (order.submitted_ns, j, order) for j, part in enumerate(parts) if spot[j]
        for order in part.orders.itertuples() if order.side == 1
    ]  # fmt: skip
    cut = 0
    for sent, j, bid in sorted(bids, key=lambda it: it[:2]):
        assert (bid.status, bid.reason) != (
            "rejected",
            "no_cash",
        )
        free = sum(wallet.until(sent) for wallet in wallets)
        free -= sum(out_there(parts[k], wallets[k], sent, fee) for k in range(n) if spot[k] and k != j)
        unit = 0.25 * bid.price * (1 + fee)
        draw = (sent // 1_000_000) * 2_654_435_761 % 4_294_967_296
        lots, most = round(bid.qty / 0.25), int(free / unit + 1e-6)
        assert lots <= most
        # Its log says how large it was in the end: only until the next decision is that what was sent.
        if lots < usual[j] * (1 + draw % 3) and bid.closed_ns <= sent + 100_000_000 and sum(spot) == 1:
            assert lots == most
            cut += 1
    event(f"bids: {min(len(bids), 50) // 10 * 10}+")
    event(f"cut: {cut > 0}")


@pytest.mark.parametrize("held", [0.0, 2.0, -2.0])
@pytest.mark.parametrize("risk", [OFF, replace(OFF, hard_inventory_pct=5.0)], ids=["off", "on"])
def test_what_a_perpetual_holds_is_no_cash_and_no_debt(held, risk):
    """1000 of cash at a mid that stands still at 1000: bids for 1.5 coins get what is there, whatever else is held."""
    rows = [(START_NS, START_NS, 1999, 500, 8), (START_NS, START_NS, 2001, 500, 9)]
    rows += [(START_NS + i * S // 10, START_NS + i * S // 10, 1990, 100, 12) for i in range(1, 100, 2)]
    rows += [(START_NS + i * S // 10, START_NS + i * S // 10, 2010, 100, 13) for i in range(2, 100, 2)]
    rows = sorted(rows)
    tapes = [tape_of(rows, PERPETUAL[0], 0), tape_of(rows, SPOT[0], 0)]
    silent = CustomModel(njit(lambda _c, _p: (np.nan, np.nan)))
    run = mml.backtest(
        tapes, [silent, mml.Symmetric(half_spread=1.0)], fees=mml.Fees(0, 0), order_qty=[0.25, 1.5], cash=1000.0,
        initial_inventory=[held, 0.0], target_inventory=[held, 0.0], risk=risk,
    )  # fmt: skip
    spot = run.parts["A/USDT"]
    assert len(spot.fills) > 40
    assert spot.fills["qty"].max() == 1.0
    assert "no_cash" not in set(spot.orders["reason"])
    assert spot.run_log["rejected"] == 0


def test_profit_on_paper_is_no_cash_until_it_is_taken():
    """The perpetual's coin doubles: its gain of 1000 pays for no bid; once the position is sold, it does."""
    book = [(0, 1999, 500, 8), (0, 2001, 500, 9)]
    up = [(S, 2001, 0, 9 | 64), (S, 1999, 0, 8 | 64), (S, 3999, 500, 8 | 64), (S, 4001, 500, 9)]
    still = [(i * S // 10, 1000, i, 8) for i in range(1, 100)]
    made = []
    for rows, instrument in (([*book, *up, *still], PERPETUAL[0]), ([*book, *still], SPOT[0])):
        timed = [(START_NS + ts, START_NS + ts, price, lots, kind) for ts, price, lots, kind in rows]
        made.append(tape_of(sorted(timed, key=lambda row: row[0]), instrument, 0))
    sells = CustomModel(sell_at, (float(START_NS + 5 * S),))
    run = mml.backtest(
        made, [sells, mml.Symmetric(half_spread=20.0)], fees=mml.Fees(0, 0), order_qty=[0.25, 5.0], cash=1000.0,
        initial_inventory=[1.0, 0.0], target_inventory=0.0, risk=OFF,
    )  # fmt: skip
    bids = run.parts["A/USDT"].orders
    bids = bids[bids["side"] == 1].sort_values("submitted_ns")
    assert list(bids["qty"]) == [1.0, 2.0]
    assert START_NS + 5 * S <= bids["submitted_ns"].iloc[1] <= START_NS + 5 * S + S // 5


@njit
def sell_at(context, params):  # type: ignore[no-untyped-def]
    if context.ts_ns >= params[0] and context.inventory > 0.0:
        context.take_qty = -context.inventory
    return np.nan, np.nan
