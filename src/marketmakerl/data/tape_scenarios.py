"""What could go wrong in a market, as functions from a tape to a tape: one frozen config a scenario.

A scenario changes what a recorded or synthetic market would have shown, from a share `at` of the tape's time on, and
nothing before. Ticks: prices are moved by whole ticks, a side at a time, so that every level that came is the level
that goes; where the move changes, the book is written anew as a snapshot (`marketmakerl.data.scenario_kernel`). Bars:
the four prices and the volume of each bar (`marketmakerl.data.bar_scenarios`).

What a scenario made is of tier T2, says so in its meta, and can pass no research gate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np

from marketmakerl.core.checks import require_number, require_whole
from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import ConfigError, DataFormatError, UnknownNameError
from marketmakerl.data.bar_scenarios import Bars, bars_of, lost_bars, moved_bars, tape_of_bars, wide_bars
from marketmakerl.data.message_flood import flooded
from marketmakerl.data.scenario_kernel import Regime, rewrite, touches
from marketmakerl.data.tape import MORE, EventTape
from marketmakerl.data.tick_checks import check_ticks

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

NOTE: Final = "scenario"  # key of a tape's meta
BAR_SPREAD_BPS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class TapeScenario(ABC):
    """Base of the scenarios.

    Attributes:
        id: its name.
        what: one line that says what happens.
        at: share of the tape's time at which it begins, in [0, 1).
    """

    id: ClassVar[str] = ""
    what: ClassVar[str] = ""
    at: float = 0.25

    def __post_init__(self) -> None:
        require_number("at", self.at, at_least=0.0, at_most=1.0 - 1e-9)

    def why_not(self, tape: EventTape) -> str:
        """Return why a tape cannot show this scenario; empty if it can."""
        del tape
        return ""

    def apply(self, tape: EventTape) -> EventTape:
        """Return the tape as it would have been, of tier T2 (T0 stays T0).

        Raises:
            ConfigError: the tape cannot show it, or a price would fall below one tick.
            DataFormatError: no rows, or rows that are none of a tape.
        """
        if len(tape) == 0:
            raise DataFormatError("a scenario needs a tape that holds events")
        if why := self.why_not(tape):
            raise ConfigError(f"scenario {self.id}: {why}")
        if tape.is_bars:
            made = tape_of_bars(tape, self._on_bars(bars_of(tape), tape))
        else:
            check_ticks(tape)
            made = replace(tape, **self._on_ticks(tape))
        source = tape.meta.get("source", "")
        meta = made.meta | {
            NOTE: self.as_dict(),
            "tier": "T0" if tape.tier == "T0" else "T2",
            "source": f"{source}, scenario {self.id}".lstrip(", "),
        }
        return replace(made, meta=meta)

    def starting(self, at: float) -> Self:
        """Return the scenario beginning at another share of the tape's time."""
        return replace(self, at=at)

    def as_dict(self) -> dict[str, Any]:
        """Return id and parameters, JSON-ready."""
        return {"id": self.id, **asdict(self)}

    def start_ns(self, tape: EventTape) -> int:
        """Return when it begins, exchange time."""
        first_ns, last_ns = int(tape.ts_ns[0]), int(tape.ts_ns[-1])
        return first_ns + round((last_ns - first_ns) * self.at)

    @abstractmethod
    def _on_ticks(self, tape: EventTape) -> dict[str, Any]:
        """Return the columns of the tape that change."""

    def _on_bars(self, bars: Bars, tape: EventTape) -> Bars:
        """Return the bars as they would have been; `why_not` refuses those that a scenario says nothing about."""
        del bars, tape
        raise NotImplementedError(f"{type(self).__name__} has no bars and does not say why")


def _reference_ticks(tape: EventTape, start_ns: int) -> float:
    """Return the mid (bars: the last close) before a time, in ticks; what moves are shares of."""
    row = max(0, int(np.searchsorted(tape.ts_ns, start_ns, side="left")) - 1)
    if tape.is_bars:
        return float(tape.price_ticks[row])
    bid, ask = touches(tape)
    known = np.flatnonzero((bid > 0) & (ask > 0))
    if len(known) == 0:
        raise DataFormatError("the tape never shows a bid and an ask at once: there is no price to move")
    at = known[max(0, int(np.searchsorted(known, row, side="right")) - 1)]
    return float(bid[at] + ask[at]) / 2.0


# -- prices that move


@dataclass(frozen=True, kw_only=True)
class _Move(TapeScenario):
    """Prices moved by a share of the price at the start, along a path in time.

    Attributes:
        move: how far it goes, a share of the price; negative is down.
    """

    move: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("move", self.move, above=-1.0, at_most=10.0)

    @abstractmethod
    def share_moved(self, ts_ns: Ints, start_ns: int, end_ns: int) -> Floats:
        """Return how much of the move has happened by each time."""

    @abstractmethod
    def step_times(self, start_ns: int, end_ns: int) -> Ints:
        """Return when a tick tape takes a step along the path."""

    def turn_ns(self, start_ns: int) -> int:
        """Return when the path turns back; -1: never."""
        del start_ns
        return -1

    def _on_ticks(self, tape: EventTape) -> dict[str, Any]:
        start_ns, end_ns = self.start_ns(tape), int(tape.ts_ns[-1])
        times = self.step_times(start_ns, end_ns)
        ticks = np.rint(self.share_moved(times, start_ns, end_ns) * self.move * _reference_ticks(tape, start_ns))
        moves = zip(times.tolist(), ticks.astype(np.int64).tolist(), strict=True)
        return rewrite(tape, [Regime(ts_ns, shift, shift) for ts_ns, shift in moves])

    def _on_bars(self, bars: Bars, tape: EventTape) -> Bars:
        start_ns, end_ns = bars.opening_from(self.start_ns(tape)), int(tape.ts_ns[-1])
        whole = self.move * _reference_ticks(tape, start_ns + 1)

        def ticks(ts_ns: Ints) -> Ints:
            return np.rint(self.share_moved(ts_ns, start_ns, end_ns) * whole).astype(np.int64)

        turn_ns = self.turn_ns(start_ns)
        turn = int(ticks(np.array([turn_ns]))[0]) if turn_ns >= 0 else 0
        # At its close a bar has seen what came before that instant; the next one opens with what comes at it.
        return moved_bars(bars, ticks(bars.open_ns), ticks(bars.close_ns - 1), turn_ns, turn)


@dataclass(frozen=True, kw_only=True)
class Gap(_Move):
    """The price jumps and stays there; nothing trades in between, and orders in the way fill at their limits."""

    what: ClassVar[str] = "the price jumps and stays there, with no trade in between"
    move: float = -0.10

    @property
    def id(self) -> str:  # type: ignore[override]
        """Return e.g. gap_down_10."""
        return f"gap_{'down' if self.move < 0 else 'up'}_{100 * abs(self.move):g}"

    def share_moved(self, ts_ns: Ints, start_ns: int, end_ns: int) -> Floats:  # noqa: D102
        del end_ns
        return (ts_ns >= start_ns).astype(np.float64)

    def step_times(self, start_ns: int, end_ns: int) -> Ints:  # noqa: D102
        del end_ns
        return np.array([start_ns], np.int64)


@dataclass(frozen=True, kw_only=True)
class Trend(_Move):
    """A drift on top of the market, evenly over the rest of the tape.

    Attributes:
        steps: of a tick tape; each is a snapshot of the book.
    """

    what: ClassVar[str] = "a drift on top of the market, evenly over the rest of the tape"
    move: float = -0.20
    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("steps", self.steps, at_least=1, at_most=10_000)

    @property
    def id(self) -> str:  # type: ignore[override]
        """Return trend_down or trend_up."""
        return f"trend_{'down' if self.move < 0 else 'up'}"

    def share_moved(self, ts_ns: Ints, start_ns: int, end_ns: int) -> Floats:  # noqa: D102
        return np.asarray(np.clip((ts_ns - start_ns) / max(1, end_ns - start_ns), 0.0, 1.0))

    def step_times(self, start_ns: int, end_ns: int) -> Ints:  # noqa: D102
        steps = np.arange(1, self.steps + 1, dtype=np.int64)
        times: Ints = start_ns + (end_ns - start_ns) * steps // self.steps
        return times


@dataclass(frozen=True, kw_only=True)
class FlashCrash(_Move):
    """A fall and a recovery to where the market would have been.

    Attributes:
        fall_s, recover_s: how long each takes, seconds.
        step_s: between the steps of a tick tape, seconds; each is a snapshot of the book.
    """

    id: ClassVar[str] = "flash_crash"
    what: ClassVar[str] = "a fall within a minute, and back in five"
    move: float = -0.10
    fall_s: float = 60.0
    recover_s: float = 300.0
    step_s: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("fall_s", "recover_s"):
            require_number(name, getattr(self, name), above=0.0, at_most=1e7)
        least = (self.fall_s + self.recover_s) / 10_000
        require_number("step_s", self.step_s, at_least=least, at_most=min(self.fall_s, self.recover_s))

    def share_moved(self, ts_ns: Ints, start_ns: int, end_ns: int) -> Floats:  # noqa: D102
        del end_ns
        passed_s = (ts_ns - start_ns) / NS_PER_S
        times = [0.0, self.fall_s, self.fall_s + self.recover_s]
        return np.asarray(np.interp(passed_s, times, [0.0, 1.0, 0.0], 0.0, 0.0))

    def turn_ns(self, start_ns: int) -> int:  # noqa: D102
        return start_ns + round(self.fall_s * NS_PER_S)

    def step_times(self, start_ns: int, end_ns: int) -> Ints:  # noqa: D102
        del end_ns
        down, up = math.ceil(self.fall_s / self.step_s), math.ceil(self.recover_s / self.step_s)
        passed_s = [self.fall_s * i / down for i in range(1, down + 1)]
        passed_s += [self.fall_s + self.recover_s * i / up for i in range(1, up + 1)]
        times: Ints = start_ns + np.rint(np.array(passed_s) * NS_PER_S).astype(np.int64)
        return times


# -- the book


@dataclass(frozen=True, kw_only=True)
class ThinBook(TapeScenario):
    """A wide and thin book for a stretch, with the flow of before: takers come as they came and pay the spread.

    Each side moves away from the other by a constant number of ticks, so that the median spread of the stretch becomes
    `spread_factor` times what it was, and keeps a share of its quantities, at least one lot a level. Bars show neither:
    `bar_spread_bps` is assumed to have been the spread, prints reach out by half of what it grows, a rising bar closes
    on the ask and a falling one on the bid, and volumes shrink as the depth does.

    Attributes:
        spread_factor: of the spread, >= 1.
        depth_divisor: of every level's quantity (bars: of volumes), >= 1.
        until: share of the tape's time at which it ends, in (at, 1].
        bar_spread_bps: bars: the spread before, basis points.
    """

    id: ClassVar[str] = "thin_book"
    what: ClassVar[str] = "spread times ten and depth over ten for a stretch, the flow as it was"
    spread_factor: float = 10.0
    depth_divisor: int = 10
    until: float = 0.75
    bar_spread_bps: float = BAR_SPREAD_BPS

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("spread_factor", self.spread_factor, at_least=1.0, at_most=1e4)
        require_whole("depth_divisor", self.depth_divisor, at_least=1)
        require_number("until", self.until, above=self.at, at_most=1.0)
        require_number("bar_spread_bps", self.bar_spread_bps, above=0.0, at_most=1e3)

    def starting(self, at: float) -> Self:
        """Return the scenario beginning at another share of the tape's time, over as much of what is left."""
        share = (self.until - self.at) / (1.0 - self.at)
        return replace(self, at=at, until=at + share * (1.0 - at))

    def _end_ns(self, tape: EventTape) -> int:
        first_ns, last_ns = int(tape.ts_ns[0]), int(tape.ts_ns[-1])
        return first_ns + round((last_ns - first_ns) * self.until) if self.until < 1.0 else last_ns + 1

    def _on_ticks(self, tape: EventTape) -> dict[str, Any]:
        start_ns, end_ns = self.start_ns(tape), self._end_ns(tape)
        wider = round((self.spread_factor - 1.0) * median_spread_ticks(tape, start_ns, end_ns))
        thin = Regime(start_ns, -(wider // 2), wider - wider // 2, int(self.depth_divisor))
        return rewrite(tape, [thin, Regime(end_ns)])

    def _on_bars(self, bars: Bars, tape: EventTape) -> Bars:
        start_ns = self.start_ns(tape)
        spread = max(1.0, self.bar_spread_bps * 1e-4 * _reference_ticks(tape, start_ns))
        out_ticks = round((self.spread_factor - 1.0) * spread / 2.0)
        inside = (bars.open_ns >= start_ns) & (bars.close_ns <= self._end_ns(tape))
        return wide_bars(bars, inside, out_ticks, int(self.depth_divisor))


def median_spread_ticks(tape: EventTape, start_ns: int, end_ns: int) -> float:
    """Return the spread that a tick tape shows half of the time from one time to another, in ticks.

    Raises:
        DataFormatError: there is no bid and ask at once in that stretch.
    """
    bid, ask = touches(tape)
    ts_ns = np.asarray(tape.ts_ns)
    shown = (bid > 0) & (ask > 0) & ((np.asarray(tape.kind) & MORE) == 0)
    begins = np.clip(ts_ns, start_ns, end_ns)
    lasts = np.append(np.diff(begins), max(0, end_ns - int(begins[-1])))
    shown &= lasts > 0
    if not shown.any():
        raise DataFormatError("the tape shows no bid and ask at once in the stretch of the scenario")
    spread, weight = (ask - bid)[shown], lasts[shown].astype(np.float64)
    order = np.argsort(spread, kind="stable")
    passed = np.cumsum(weight[order])
    return float(spread[order][int(np.searchsorted(passed, passed[-1] / 2.0))])


# -- the feed


@dataclass(frozen=True, kw_only=True)
class FeedOutage(TapeScenario):
    """The feed stands still, and all of it arrives at once when it is back; the exchange trades on meanwhile.

    Orders, cancels and their answers still travel: it is the market data that stop.

    Attributes:
        outage_s: how long, seconds.
    """

    id: ClassVar[str] = "feed_outage"
    what: ClassVar[str] = "market data stop for a minute and arrive at its end; the exchange trades on"
    outage_s: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("outage_s", self.outage_s, above=0.0, at_most=1e7)

    def why_not(self, tape: EventTape) -> str:  # noqa: D102
        return "a bar is known at its close and no sooner, its feed has no delay to grow" if tape.is_bars else ""

    def _on_ticks(self, tape: EventTape) -> dict[str, Any]:
        start_ns = self.start_ns(tape)
        back_ns = start_ns + round(self.outage_s * NS_PER_S)
        local = np.asarray(tape.local_ts_ns)
        return {"local_ts_ns": np.where((local >= start_ns) & (local < back_ns), back_ns, local)}


@dataclass(frozen=True, kw_only=True)
class FeedLoss(TapeScenario):
    """What happens in the outage is lost: a GAP, at which quotes are pulled, and a snapshot when the feed is back.

    Attributes:
        outage_s: how long, seconds; bars: at least one bar.
    """

    id: ClassVar[str] = "feed_loss"
    what: ClassVar[str] = "market data are lost for a minute: a gap, then a snapshot"
    outage_s: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("outage_s", self.outage_s, above=0.0, at_most=1e7)

    def _on_ticks(self, tape: EventTape) -> dict[str, Any]:
        start_ns = self.start_ns(tape)
        return rewrite(tape, [Regime(start_ns, silent=True), Regime(start_ns + round(self.outage_s * NS_PER_S))])

    def _on_bars(self, bars: Bars, tape: EventTape) -> Bars:
        start_ns = bars.opening_from(self.start_ns(tape))
        lasts_ns = max(round(self.outage_s * NS_PER_S), tape.interval_ns)
        return lost_bars(bars, start_ns, start_ns + lasts_ns)


@dataclass(frozen=True, kw_only=True)
class MessageFlood(TapeScenario):
    """More messages than ever: in every second of a stretch at least `factor` times the tape's busiest second.

    The messages that are added say nothing new: a lot that comes and goes at a level beyond all others, or, where there
    are best quotes alone, on the best bid.

    Attributes:
        factor: of the tape's busiest second, >= 1.
        stretch_s: how long, seconds.
    """

    id: ClassVar[str] = "message_flood"
    what: ClassVar[str] = "a minute at twice the messages of the tape's busiest second"
    factor: float = 2.0
    stretch_s: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("factor", self.factor, at_least=1.0, at_most=1e3)
        require_number("stretch_s", self.stretch_s, at_least=1.0, at_most=86_400.0)

    def why_not(self, tape: EventTape) -> str:  # noqa: D102
        return "bars carry no messages" if tape.is_bars else ""

    def _on_ticks(self, tape: EventTape) -> dict[str, Any]:
        return flooded(tape, self.start_ns(tape), int(self.stretch_s), self.factor)


TAPE_SCENARIOS: Final[dict[str, TapeScenario]] = {
    scenario.id: scenario
    for scenario in (
        ThinBook(),
        *(Gap(move=sign * size) for sign in (-1.0, 1.0) for size in (0.05, 0.10, 0.20)),
        Trend(move=-0.20),
        Trend(move=0.20),
        FlashCrash(),
        FeedOutage(),
        FeedLoss(),
        MessageFlood(),
    )
}


def tape_scenario(name: str) -> TapeScenario:
    """Return a scenario by its id, with the parameters it has by default.

    Raises:
        UnknownNameError: no such scenario.
    """
    if name not in TAPE_SCENARIOS:
        raise UnknownNameError("scenario", name, TAPE_SCENARIOS)
    return TAPE_SCENARIOS[name]
