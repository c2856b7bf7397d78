"""The dense book when the market leaves its window: nothing is lost, and it asks for the room it needs."""

from __future__ import annotations

import numpy as np
import pytest

import marketmakerl as mml
from marketmakerl.backtesting.book.levels import level_lots
from marketmakerl.backtesting.engine import Engine
from marketmakerl.core.errors import DataFormatError
from marketmakerl.data.tape import Kind

INSTRUMENT = mml.Instrument("BTC/USDT:USDT", tick_size=0.1, lot_size=0.001, kind="linear")


def tape_of(rows: list[tuple[int, int, int, int]]) -> mml.EventTape:
    table = np.array(rows, dtype=np.int64)
    ts, price, qty, kind = (np.ascontiguousarray(table[:, column]) for column in range(4))
    return mml.EventTape(INSTRUMENT, ts, ts, price, qty, kind.astype(np.int8), meta={"clock": "ticks", "tier": "T2"})


def engine(window: int) -> Engine:
    return Engine(
        INSTRUMENT, mml.OrderScript(), fees=mml.Fees(0, 0), order_qty=0.001, cash=1000.0, first_price=1.0,
        book_window_ticks=window,
    )  # fmt: skip


@pytest.mark.parametrize("levels", [10, 900, 1500, 4000])
def test_levels_that_leave_the_window_come_back_with_it(levels):
    rows = [(1 + n, 50_000 - n, 1 + n, Kind.DEPTH_BID) for n in range(levels)]
    rows += [(10_000 + n, 50_001 + n, 2 + n, Kind.DEPTH_ASK) for n in range(levels)]
    # The market jumps up by far more than the window, and comes back.
    up = [(20_000 + n, 50_001 + n, 0, Kind.DEPTH_ASK) for n in range(levels)]
    up += [(30_000, 90_000, 7, Kind.DEPTH_BID), (30_001, 90_001, 8, Kind.DEPTH_ASK)]
    back = [(40_000, 90_000, 0, Kind.DEPTH_BID), (40_001, 50_001, 9, Kind.DEPTH_ASK)]
    made = engine(8192)
    made.feed(tape_of(rows + up))
    assert (int(made.state.book.best[0]), int(-made.state.book.best[1])) == (90_000, 90_001)
    made.feed(tape_of(back))
    made.finish()
    assert (int(made.state.book.best[0]), int(-made.state.book.best[1])) == (50_000, 50_001)
    held = [level_lots(made.state.book, made._memory, 0, 50_000 - n) for n in range(levels)]
    assert held == [1 + n for n in range(levels)]
    assert level_lots(made.state.book, made._memory, 1, 90_001) == 8
    assert made.run_log()["recentres"] >= 3


def test_a_hole_of_more_than_a_month_is_no_tape():
    rows = [(1, 100, 1, Kind.DEPTH_BID), (1 + 32 * 86_400 * 10**9, 101, 1, Kind.DEPTH_ASK)]
    with pytest.raises(DataFormatError, match=r"row 1 .* 31 days"):
        engine(64).feed(tape_of(rows))


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ((5, 100, -1, Kind.DEPTH_BID), "quantity"),
        ((5, 0, 1, Kind.DEPTH_BID), "price"),
        ((0, 100, 1, Kind.DEPTH_BID), "time goes back"),
        ((5, 100, 1, 3), "kind"),
        ((5, 100, 1 << 46, Kind.TRADE_BUY), "quantity"),
    ],
)
def test_a_row_that_no_tape_may_have_is_refused_by_its_number(row, what):
    with pytest.raises(DataFormatError, match=f"row 1 of the tape: .*{what}"):
        engine(64).feed(tape_of([(4, 100, 1, int(Kind.DEPTH_BID)), row]))
