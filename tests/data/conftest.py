"""The offline venue, and a public client of it."""

from __future__ import annotations

import pytest

from marketmakerl.core.clock import ManualClock
from marketmakerl.data.real_market_data import PublicClient
from marketmakerl.realtime.exchange_sim import ExchangeSim

SEED = 7
HISTORY_BARS = 1440


@pytest.fixture(scope="module")
def sim():
    with ExchangeSim.embedded(SEED, history_bars=HISTORY_BARS) as running:
        running.step(30)  # in the middle of a bar
        yield running


@pytest.fixture
def client(sim):
    with PublicClient("sim", base_url=sim.base_url, clock=ManualClock(123)) as made:
        yield made
