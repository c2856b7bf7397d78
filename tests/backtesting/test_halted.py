"""A session that its limits have halted."""

from dataclasses import replace

import marketmakerl as mml
from tick_tapes import INSTRUMENT, make_frames


def test_a_halted_model_goes_home_once():
    """With the market order under way it does not send another, however often it is asked meanwhile."""
    book, trades = make_frames(seconds=30)
    whole = book[book["qty"] > 0].assign(is_snapshot=True)  # every message names all of the book
    tape = mml.EventTape.from_book(whole, trades, INSTRUMENT, tier="T2")
    holding = -0.05 if tape.price_ticks[-1] > tape.price_ticks[0] else 0.05
    result = mml.backtest(
        tape,
        mml.Symmetric(half_spread=500.0),
        fees=mml.Fees(1, 4),
        order_qty=0.001,
        cash=100.0,
        initial_inventory=holding,
        target_inventory=0.0,
        latency=mml.Latency(0, 400_000_000, 400_000_000),
        quote_interval_ns=20_000_000,
        risk=replace(mml.RiskLimits.off(), hard_drawdown_pct=0.001),
    )
    assert result.metrics.liquidations == 1
    sweeps = result.orders[result.orders["type"] == "market"].sort_values("submitted_ns")
    # The quotes on their way out may still be filled: what they are for is left until their ends are known.
    assert sweeps["qty"].iloc[0] >= 0.8 * abs(holding)
    assert sweeps["qty"].sum() <= abs(holding) + 1e-9
    answered = sweeps["closed_ns"].to_numpy() + 400_000_000
    assert (sweeps["submitted_ns"].to_numpy()[1:] >= answered[:-1]).all()
    assert result.metrics.final_inventory == 0.0
