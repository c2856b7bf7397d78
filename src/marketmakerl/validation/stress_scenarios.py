"""The scenarios of `mml stress` on a tape: those of the market, and those of the venue and the way to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from marketmakerl.backtesting.exchange.venue import VenueRules
from marketmakerl.backtesting.tick_session import TickRules, needs_estimate
from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import ConfigError
from marketmakerl.core.fees import Fees
from marketmakerl.data.tape import EventTape, Kind
from marketmakerl.data.tape_scenarios import TAPE_SCENARIOS

if TYPE_CHECKING:
    from marketmakerl.backtesting.session import Session

BASELINE: Final = "baseline"
BEGINS: Final = 0.25  # share of the traded time at which a scenario begins
BASE_LATENCY_MS: Final = 5.0  # what is scaled where no latency was given
SLOWER: Final = 50
REJECTED_S: Final = 60
VENUE_SCENARIOS: Final[dict[str, str]] = {
    "latency_x50": f"orders and answers take {SLOWER} times as long (of {BASE_LATENCY_MS:g} ms if none was given)",
    "fees_x2": "maker and taker fees doubled; a rebate falls away",
    "venue_rejects": f"the exchange rejects new orders and replaces for {REJECTED_S} s; cancels pass",
}
SCENARIOS: Final[dict[str, str]] = {
    **{name: _what.what for name, _what in TAPE_SCENARIOS.items()},
    **VENUE_SCENARIOS,
}


@dataclass(frozen=True)
class Setting:
    """What a session runs on.

    Attributes:
        tape: the market, warm-up included.
        session: how it is traded.
        ticks: how ticks are traded; None on bars.
        venue: rules of the venue; None for none.
    """

    tape: EventTape
    session: Session
    ticks: TickRules | None = None
    venue: VenueRules | None = None


def stressed(setting: Setting, name: str) -> Setting:
    """Return a setting under a scenario, which begins a quarter into what is traded; nothing before it changes.

    Args:
        setting: of the baseline.
        name: one of `SCENARIOS`.

    Raises:
        ConfigError: it cannot show this scenario; the message says why.
    """
    at = begins_at(setting)
    if name in TAPE_SCENARIOS:
        scenario = TAPE_SCENARIOS[name].starting(at)
        if why := scenario.why_not(setting.tape):
            raise ConfigError(why)
        return replace(setting, tape=scenario.apply(setting.tape))
    if name == "latency_x50":
        return _slow(setting)
    if name == "fees_x2":
        fees = setting.session.fees
        dear = Fees(max(0.0, 2.0 * fees.maker_bps), max(0.0, 2.0 * fees.taker_bps))
        if dear == fees:
            raise ConfigError("there are no fees to double")
        return replace(setting, session=replace(setting.session, fees=dear))
    first_ns = _instant(setting.tape, at)
    return replace(setting, venue=VenueRules(reject_windows=((first_ns, first_ns + REJECTED_S * int(NS_PER_S)),)))


def begins_at(setting: Setting) -> float:
    """Return the share of the tape's time at which a scenario begins."""
    tape = setting.tape
    first_ns, last_ns = int(tape.ts_ns[0]), int(tape.ts_ns[-1])
    traded = 0.0
    if tape.is_bars:
        opens = tape.ts_ns[tape.kind == Kind.BAR_OPEN]
        warm_up = min(setting.session.warmup_bars, len(opens) - 1)
        traded = (int(opens[warm_up]) - first_ns) / max(1, last_ns - first_ns)
    elif setting.ticks is not None and needs_estimate(setting.session):
        traded = setting.ticks.warmup_share
    return traded + BEGINS * (1.0 - traded)


def _instant(tape: EventTape, at: float) -> int:
    """Return the time at a share of a tape's; on bars the first close from there on, when quotes are placed."""
    first_ns, last_ns = int(tape.ts_ns[0]), int(tape.ts_ns[-1])
    instant = first_ns + round((last_ns - first_ns) * at)
    if not tape.is_bars:
        return instant
    closes = tape.ts_ns[tape.kind == Kind.BAR_CLOSE]
    return int(closes[min(int(np.searchsorted(closes, instant)), len(closes) - 1)])


def _slow(setting: Setting) -> Setting:
    if setting.ticks is None:
        raise ConfigError("on bars a latency shorter than a bar changes nothing")
    entry_ms, response_ms = (
        (latency_ms or BASE_LATENCY_MS) * SLOWER
        for latency_ms in (setting.ticks.entry_latency_ms, setting.ticks.response_latency_ms)
    )
    slow = replace(setting.ticks, entry_latency_ms=entry_ms, response_latency_ms=response_ms)
    return replace(setting, ticks=slow)
