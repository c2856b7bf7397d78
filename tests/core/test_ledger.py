from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmakerl.core import ledger as book
from marketmakerl.core.instrument import Instrument
from oracles.ledger import OracleLedger
from searches import many

KINDS = ("spot", "linear", "inverse")


def opened(kind: str, lot: float, contract: float, cash: float, lots: int, mark: float):
    record = np.zeros(1, book.LEDGER).view(np.recarray)[0]
    book.open_ledger(record, Instrument("BTC/USDT", 0.01, lot, kind, contract), cash, lots)
    book.start(record, mark)
    return record


fills = st.tuples(
    st.just("fill"),
    st.sampled_from([1, -1]),
    st.integers(1, 10_000),
    st.integers(100, 10_000_000),
    st.integers(-100, 1000),
)
marks = st.tuples(st.just("mark"), st.integers(100, 10_000_000))
fundings = st.tuples(st.just("fund"), st.integers(-300, 300))


@settings(max_examples=many(80, 300), deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    contract=st.sampled_from([1, 100]),
    lots0=st.integers(-500, 500),
    events=st.lists(st.one_of(fills, marks, fundings), max_size=40),
)
def test_agrees_with_exact_fractions(kind, contract, lots0, events):
    lot, tick = 2**-10, 2**-6  # exact in binary, so that the oracle gets the very same inputs
    cash, mark = 2.0**20, 100.0
    record = opened(kind, lot, float(contract), cash, lots0, mark)
    oracle = OracleLedger(kind, Fraction(contract), Fraction(cash), Fraction(lots0) * Fraction(lot), Fraction(mark))
    for event in events:
        if event[0] == "fill":
            _, side, lots, ticks, rate = event
            book.book_fill(record, side, lots, ticks * tick, rate * 2.0**-16, True)
            oracle.events.append(
                ("fill", side, Fraction(lots) * Fraction(lot), Fraction(ticks) * Fraction(tick), Fraction(rate, 2**16))
            )
        elif event[0] == "fund":
            if kind == "spot":
                continue
            book.pay_funding(record, event[1] * 2.0**-16)
            oracle.events.append(("fund", Fraction(event[1], 2**16)))
        else:
            book.mark_to(record, event[1] * tick)
            oracle.events.append(("mark", Fraction(event[1]) * Fraction(tick)))
    wanted = oracle.totals()
    scale = 1e-9 * max(1.0, float(wanted["turnover"]), cash, abs(float(wanted["inventory_pnl"])))
    for name in ("gross_spread_pnl", "inventory_pnl", "funding_pnl", "fees_paid", "turnover"):
        assert getattr(record, name) == pytest.approx(float(wanted[name]), rel=1e-12, abs=scale), name
    assert book.equity(record) == pytest.approx(float(wanted["equity"]), rel=1e-12, abs=scale)
    assert book.equity_at(record, record.mark) == book.equity(record)
    assert book.position_qty(record) == float(wanted["qty"])
    identity = record.gross_spread_pnl + record.inventory_pnl + record.funding_pnl - record.fees_paid
    assert book.equity(record) - record.start_equity == pytest.approx(identity, abs=scale)
    if kind != "spot":
        assert record.cash == pytest.approx(float(oracle.wallet()), rel=1e-12, abs=scale)


def test_a_worked_inverse_round_trip():
    # 10,000 contracts of 1 USD bought at 50,000 and sold at 55,000: 10,000 x (1/50,000 - 1/55,000) BTC.
    record = opened("inverse", 1.0, 1.0, 1.0, 0, 50_000.0)
    book.book_fill(record, 1, 10_000, 50_000.0, 0.0, True)
    book.mark_to(record, 55_000.0)
    assert book.equity(record) == pytest.approx(1 + 10_000 * (1 / 50_000 - 1 / 55_000), abs=1e-15)
    book.book_fill(record, -1, 10_000, 55_000.0, 0.0005, False)
    fee = 10_000 / 55_000 * 0.0005
    assert record.cash == pytest.approx(1 + 10_000 * (1 / 50_000 - 1 / 55_000) - fee, abs=1e-15)
    assert record.open_value == 0.0
    assert record.position_lots == 0


def test_spot_cash_pays_for_what_is_bought():
    record = opened("spot", 0.001, 1.0, 1000.0, 0, 100.0)
    fee = book.book_fill(record, 1, 2000, 99.5, 0.001, True)
    assert fee == pytest.approx(0.199)
    assert record.cash == pytest.approx(1000 - 199 - 0.199)
    assert record.gross_spread_pnl == pytest.approx(1.0)
    assert book.equity(record) == pytest.approx(1000 + 1.0 - 0.199)


def test_a_rebate_is_income():
    record = opened("linear", 0.001, 1.0, 1000.0, 0, 100.0)
    assert book.book_fill(record, -1, 1000, 100.0, -0.0001, True) == pytest.approx(-0.01)
    assert book.equity(record) == pytest.approx(1000.01)
    assert record.max_abs_lots == 1000
