"""Scenarios on bars: the bars of a tape as columns, what happens to them, and the tape again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from marketmakerl.core.errors import ConfigError
from marketmakerl.data.tape import EventTape, Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bars:
    """The bars of a tape: int64[n] each, prices in ticks, quantities in lots.

    Attributes:
        open_ns, close_ns: when each begins and ends.
        open, low, high, close: prices.
        share: what of the volume can meet a resting order on a side.
        volume: all of it.
        gap_before: whether a GAP row stands before the bar.
    """

    open_ns: Ints
    close_ns: Ints
    open: Ints
    low: Ints
    high: Ints
    close: Ints
    share: Ints
    volume: Ints
    gap_before: npt.NDArray[np.bool_]

    def where(self, keep: npt.NDArray[np.bool_]) -> Bars:
        """Return some of the bars."""
        return Bars(**{name: column[keep] for name, column in vars(self).items()})

    def opening_from(self, ts_ns: int) -> int:
        """Return when the first bar opens that does not before a time; the last bar's opening if none does."""
        return int(self.open_ns[min(int(np.searchsorted(self.open_ns, ts_ns)), len(self.open_ns) - 1)])


def bars_of(tape: EventTape) -> Bars:
    """Return the bars of a tape that was compiled from bars."""
    kind, price, qty = np.asarray(tape.kind), np.asarray(tape.price_ticks), np.asarray(tape.qty_lots)
    opens, lows, highs, closes = (
        np.flatnonzero(kind == k) for k in (Kind.BAR_OPEN, Kind.BAR_LOW, Kind.BAR_HIGH, Kind.BAR_CLOSE)
    )
    if not len(opens) == len(lows) == len(highs) == len(closes) > 0:
        raise ConfigError("a scenario needs whole bars: the tape begins or ends within one, or holds none")
    ts_ns = np.asarray(tape.ts_ns)
    return Bars(
        ts_ns[opens], ts_ns[closes], price[opens], price[lows], price[highs], price[closes],
        qty[lows], qty[closes], (opens > 0) & (kind[np.maximum(opens - 1, 0)] == Kind.GAP),
    )  # fmt: skip


def tape_of_bars(tape: EventTape, bars: Bars) -> EventTape:
    """Return the tape of changed bars; instrument and meta are those of `tape`, a last GAP row of it is left out.

    Raises:
        ConfigError: a price below one tick.
    """
    lowest = min(int(column.min()) for column in (bars.open, bars.high, bars.close))
    if lowest < 1 or int(bars.low.min()) < 1:
        raise ConfigError(
            f"the scenario would drive a price below one tick ({tape.instrument.tick_size:g}); take a smaller move"
        )
    nothing = np.zeros(len(bars.open), np.int64)
    parts = (
        (Kind.BAR_OPEN, bars.open_ns, bars.open, nothing),
        (Kind.BAR_LOW, bars.close_ns, bars.low, bars.share),
        (Kind.BAR_HIGH, bars.close_ns, bars.high, bars.share),
        (Kind.BAR_CLOSE, bars.close_ns, bars.close, bars.volume),
    )
    ts_ns, price, qty = (np.stack([part[i] for part in parts], axis=1).ravel() for i in (1, 2, 3))
    kind = np.tile(np.array([part[0] for part in parts], np.int8), len(bars.open))
    holes = np.flatnonzero(bars.gap_before)
    holes = holes[holes > 0]
    at = holes * len(parts)
    ts_ns = np.insert(ts_ns, at, bars.close_ns[holes - 1])
    columns: dict[str, Any] = {
        "ts_ns": ts_ns,
        "local_ts_ns": ts_ns,
        "price_ticks": np.insert(price, at, price[at - 1]),
        "qty_lots": np.insert(qty, at, 0),
        "kind": np.insert(kind, at, np.int8(Kind.GAP)),
    }
    return replace(tape, **columns, meta=tape.meta | {"bars": len(bars.open), "gaps": len(holes)})


def moved_bars(bars: Bars, at_open: Ints, at_close: Ints, turn_ns: int, turn: int) -> Bars:
    """Return bars whose prices are moved by so many ticks at their opens and closes.

    Args:
        bars: the bars.
        at_open: int64[n], ticks, as each bar opens.
        at_close: int64[n], ticks, as each bar closes.
        turn_ns: a time at which the move is at an end of its path, -1 for none.
        turn: ticks, what it is then.
    """
    inside = (bars.open_ns <= turn_ns) & (turn_ns < bars.close_ns)
    least, most = np.minimum(at_open, at_close), np.maximum(at_open, at_close)
    least, most = np.where(inside, np.minimum(least, turn), least), np.where(inside, np.maximum(most, turn), most)
    return replace(
        bars, open=bars.open + at_open, low=bars.low + least, high=bars.high + most, close=bars.close + at_close
    )  # fmt: skip


def wide_bars(bars: Bars, inside: npt.NDArray[np.bool_], out_ticks: int, divisor: int) -> Bars:
    """Return bars of a wide and thin market: prints `out_ticks` further out on either side, and less volume.

    The last print of a rising bar is taken for a buy and of a falling one for a sell; unchanged ones alternate.
    """
    rises = np.sign(bars.close - bars.open)
    rises = np.where(rises == 0, 1 - 2 * (np.arange(len(rises)) % 2), rises)
    close = bars.close + np.where(inside, rises * out_ticks, 0)
    follows = inside & np.r_[False, inside[:-1]]
    opened = bars.open + np.where(follows, np.r_[0, rises[:-1]] * out_ticks, 0)
    volume = np.where(inside & (bars.volume > 0), np.maximum(1, bars.volume // divisor), bars.volume)
    return replace(
        bars,
        open=opened,
        close=close,
        low=bars.low - np.where(inside, out_ticks, 0),
        high=bars.high + np.where(inside, out_ticks, 0),
        volume=volume,
        share=np.where(inside, volume // 2, bars.share),
    )


def lost_bars(bars: Bars, start_ns: int, end_ns: int) -> Bars:
    """Return the bars but those that open from one time until another, with a gap in their place."""
    lost = (bars.open_ns >= start_ns) & (bars.open_ns < end_ns)
    back = np.r_[False, lost[:-1]] & ~lost
    return replace(bars, gap_before=bars.gap_before | back).where(~lost)
