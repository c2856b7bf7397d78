"""The market of single orders: the same for a seed, with what was asked for in it, and first in, first out."""

import numpy as np
import pandas as pd
import pytest

from marketmakerl.core.errors import ConfigError
from marketmakerl.data.synthetic_l3 import CANCELS, L3Market, simulate_l3


def test_a_seed_names_a_market():
    one, again, other = (simulate_l3(L3Market(events=2000), seed) for seed in (1, 1, 2))
    for frame, same, different in zip(one, again, other, strict=True):
        pd.testing.assert_frame_equal(frame, same)
        assert not frame.equals(different)


def test_without_a_compiler_it_is_the_same():
    import marketmakerl.data.synthetic_l3 as module

    compiled = simulate_l3(L3Market(events=300, cancels="back"), 4)
    names = ("_write", "_join", "_unlink", "_exposed", "_forget", "_play")
    kept = {name: getattr(module, name) for name in names}
    try:
        for name in names:
            setattr(module, name, getattr(kept[name], "py_func", kept[name]))
        plain = simulate_l3(L3Market(events=300, cancels="back"), 4)
    finally:
        for name in names:
            setattr(module, name, kept[name])
    for one, other in zip(compiled, plain, strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("cancels", CANCELS)
def test_rates_and_queues(cancels):
    market = L3Market(events=30_000, cancels=cancels)
    orders, trades = simulate_l3(market, 1)
    lasted_s = (orders["ts_local_ns"].iloc[-1] - orders["ts_local_ns"].iloc[0]) / 1e9
    opening = 2 * 8 * 10
    came = (orders["action"] == 0).sum() - opening
    assert came / lasted_s == pytest.approx(2 * 8 * 0.5, rel=0.05)
    assert (trades["side"] == 1).mean() == pytest.approx(0.5, abs=0.05)
    # First in, first out: at its price, whoever is executed came before all who are left.
    live: dict[tuple, list[int]] = {}
    places = []
    for action, order, side, price, filled in orders[["action", "order_id", "side", "price", "filled"]].to_numpy():
        queue = live.setdefault((side, price), [])
        if action == 0:
            queue.append(order)
            continue
        if filled > 0:
            assert queue[0] == order
        elif len(queue) > 1:
            places.append(queue.index(order) / (len(queue) - 1))
        if action == 2:
            queue.remove(order)
    # The mean of a uniform place, and of one whose chance grows or falls along the queue.
    middle = {"anywhere": 1 / 2, "back": 2 / 3, "front": 1 / 3}[cancels]
    assert np.mean(places) == pytest.approx(middle, abs=0.02)


@pytest.mark.parametrize(
    "wrong", [{"events": 0}, {"events": 1.5}, {"cancels": "some"}, {"limit_per_s": 0.0}, {"depth_ticks": True}]
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        L3Market(**wrong)
