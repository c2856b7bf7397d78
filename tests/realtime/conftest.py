"""The protocol of the offline venue over the synthetic market."""

from __future__ import annotations

import pytest

from marketmakerl.realtime.sim_protocol import BinanceRest
from marketmakerl.realtime.sim_synthetic import synthetic_markets

SEED = 11


@pytest.fixture(scope="module")
def rest():
    return BinanceRest(synthetic_markets(SEED))
