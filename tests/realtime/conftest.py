"""The protocol of the offline venue over the synthetic market."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stamina

from marketmakerl.realtime.sim_protocol import BinanceRest
from marketmakerl.realtime.sim_synthetic import synthetic_markets

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 11


@pytest.fixture(scope="module", autouse=True)
def _nobody_sleeps_before_asking_a_venue_again() -> Iterator[None]:
    """Let a client ask a venue that does not answer as often as ever, but at once."""
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture(scope="module")
def rest():
    return BinanceRest(synthetic_markets(SEED))
