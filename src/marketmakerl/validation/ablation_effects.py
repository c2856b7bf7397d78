"""What each control changed, with intervals that hold together over all of them.

Two runs on the same window differ by one control, so they are compared change by change: the mean of the paired
differences of equity changes is the effect on profit. Changes near in time are not independent: blocks of them are
drawn with replacement (a circular block bootstrap), the same blocks for every control, and the intervals are as wide
as the largest of the studentised differences asks for (max-t), so that all of them hold at once. Drawdowns are one
number a window: their intervals are Student's over the windows, divided among the controls (Bonferroni). Profit and
drawdown each get half of what is left to chance. A control that changed no fill has no effect to look at and is not
counted among those tested.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.rng import generator
from marketmakerl.validation.ablation_run import ALL_OFF, ALL_ON

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from marketmakerl.validation.ablation_run import Outcome

    Floats = npt.NDArray[np.float64]

LEVEL: Final = 0.95
RESAMPLES: Final = 2_000
MIN_CHANGES: Final = 30  # fewer have no distribution to speak of
EVERYTHING: Final = "everything"
HELPS, HURTS, BOTH = "helps", "hurts", "both ways"
UNTOLD, NO_FILL, NEVER = "not told", "changed no fill", "never acted"
_DAY_S: Final = 86_400
_NOISE: Final = 1e-6  # bps: below this a difference is what sums of floats leave
_CHUNK: Final = 64


@dataclass(frozen=True)
class Interval:
    """A difference and its simultaneous interval; the ends are None where there is too little to say."""

    mean: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """Return +1 or -1 for an interval that lies above or below zero, else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > _NOISE) - int(self.high < -_NOISE)


_NOTHING: Final = Interval(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Effect:
    """What one control did in one setting; every difference is with the control less without it, + is better.

    Attributes:
        control: its name, or "everything".
        mode: "among all": all on, less all but this one; "alone": this one, less nothing at all.
        verdict: helps, hurts, both ways (profit and drawdown disagree), not told (no interval lies on one side of
            zero), changed no fill, never acted.
        windows, acted: how many there are, and in how many a fill changed.
        pnl_bps_day: profit a day, bps of the budget.
        sharpe: of the equity changes of all windows.
        drawdown_bps: maximum drawdown avoided, bps of the budget, mean over windows.
        uptime: of quotes on both sides, mean over windows.
        worst_window_bps: profit in the worst window, bps of the budget.
        suppressed: looks at a side that it kept from being quoted, mean over windows.
        fills, fills_without: how many.
    """

    control: str
    mode: str
    verdict: str
    windows: int
    acted: int
    pnl_bps_day: Interval
    sharpe: Interval
    drawdown_bps: Interval
    uptime: Interval
    worst_window_bps: float
    suppressed: float
    fills: int
    fills_without: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def effects(
    windows: Sequence[dict[str, Outcome]], controls: Sequence[str], interval_s: float, seed: int, *, alone: bool
) -> list[Effect]:
    """Return what everything together and every control changed.

    Args:
        windows: the outcomes of each window by name of the limits (see `variants`).
        controls: their names.
        interval_s: spacing of the equity changes, seconds.
        seed: of the bootstrap.
        alone: whether each control was also tried alone.
    """
    modes = [("among all", [(EVERYTHING, ALL_ON, ALL_OFF), *((c, ALL_ON, f"without {c}") for c in controls)])]
    if alone:
        modes.append(("alone", [(c, f"only {c}", ALL_OFF) for c in controls]))
    return [effect for mode, pairs in modes for effect in _family(windows, mode, pairs, interval_s, seed)]


def _family(
    windows: Sequence[dict[str, Outcome]], mode: str, pairs: list[tuple[str, str, str]], interval_s: float, seed: int
) -> list[Effect]:
    """Return the effects of pairs (name, with, without) that are looked at together."""
    tested = [pair for pair in pairs if _acted(windows, pair)]
    level = 1.0 - (1.0 - LEVEL) / 2.0
    pnl, sharpe = _paired_changes(windows, [(a, b) for _, a, b in tested], interval_s, level, seed)
    drawdown = _by_windows(-1e4 * _metric(windows, tested, "max_drawdown_pct"), level)
    uptime = _by_windows(_metric(windows, tested, "quoted_uptime_pct"), level)
    measured = dict(zip(tested, zip(pnl, sharpe, drawdown, uptime, strict=True), strict=True))
    return [_effect(windows, mode, pair, measured.get(pair)) for pair in pairs]


def _acted(windows: Sequence[dict[str, Outcome]], pair: tuple[str, str, str]) -> int:
    """Return in how many windows a fill changed."""
    _, a, b = pair
    return sum(one[a].fills != one[b].fills for one in windows)


def _effect(
    windows: Sequence[dict[str, Outcome]],
    mode: str,
    pair: tuple[str, str, str],
    measured: tuple[Interval, Interval, Interval, Interval] | None,
) -> Effect:
    name, a, b = pair
    if measured is None:
        uptime = float(np.mean(_metric(windows, [pair], "quoted_uptime_pct")))
        measured = (_NOTHING, _NOTHING, _NOTHING, Interval(uptime, None, None))
        verdict = NEVER if all(one[a].quotes == one[b].quotes for one in windows) else NO_FILL
    else:
        verdict = _verdict(measured[0], measured[2])
    worst = [min(one[run].metrics["return_pct"] for one in windows) for run in (a, b)]
    return Effect(
        control=name,
        mode=mode,
        verdict=verdict,
        windows=len(windows),
        acted=_acted(windows, pair),
        pnl_bps_day=measured[0],
        sharpe=measured[1],
        drawdown_bps=measured[2],
        uptime=measured[3],
        worst_window_bps=1e4 * (worst[0] - worst[1]),
        suppressed=float(np.mean([one[a].suppressed - one[b].suppressed for one in windows])),
        fills=sum(one[a].metrics["fills"] for one in windows),
        fills_without=sum(one[b].metrics["fills"] for one in windows),
    )


def _verdict(pnl: Interval, drawdown: Interval) -> str:
    signs = {pnl.sign, drawdown.sign} - {0}
    if not signs:
        return UNTOLD
    if len(signs) == 2:
        return BOTH
    return HELPS if signs == {1} else HURTS


def _metric(windows: Sequence[dict[str, Outcome]], pairs: Sequence[tuple[str, str, str]], name: str) -> Floats:
    """Return float64[pairs, windows]: differences of a metric."""
    rows = [[one[a].metrics[name] - one[b].metrics[name] for one in windows] for _, a, b in pairs]
    return np.array(rows, np.float64).reshape(len(pairs), len(windows))


def _by_windows(differences: Floats, level: float) -> list[Interval]:
    """Return Student's intervals of means over windows, which hold together."""
    from scipy.special import stdtrit  # noqa: PLC0415  (scipy: only where there is something to say)

    tests, n = differences.shape
    if n < 2 or tests == 0:
        return [Interval(float(row.mean()), None, None) for row in differences]
    quantile = float(stdtrit(n - 1, 1.0 - (1.0 - level) / (2.0 * tests)))
    half = quantile * differences.std(axis=1, ddof=1) / math.sqrt(n)
    means = differences.mean(axis=1)
    return [Interval(float(m), float(m - h), float(m + h)) for m, h in zip(means, half, strict=True)]


def block_length(n: int) -> int:
    """Return how many changes make a block: it grows as the cube root of their number."""
    return max(1, min(math.ceil(3.0 * math.cbrt(n)), n // 5))


def _paired_changes(
    windows: Sequence[dict[str, Outcome]],
    pairs: Sequence[tuple[str, str]],
    interval_s: float,
    level: float,
    seed: int,
) -> tuple[list[Interval], list[Interval]]:
    """Return the differences of profit (bps of the budget a day) and of Sharpe ratios, each with a max-t interval."""
    names = sorted({name for pair in pairs for name in pair})
    if not names:
        return [], []
    changes = np.array([np.concatenate([one[name].changes for one in windows]) for name in names])
    at = np.array([[names.index(a), names.index(b)] for a, b in pairs])
    n = changes.shape[1]
    if n == 0:
        return ([Interval(0.0, None, None)] * len(pairs),) * 2
    profit_unit, sharpe_unit = 1e4 * _DAY_S / interval_s, math.sqrt(365 * _DAY_S / interval_s)
    first, second = changes.mean(axis=1), (changes**2).mean(axis=1)
    draws = _resampled(changes, seed) if n >= MIN_CHANGES else None
    found = []
    for unit, measure in ((profit_unit, _mean), (sharpe_unit, _sharpe)):
        value = measure(first, second) * unit
        difference = value[at[:, 0]] - value[at[:, 1]]
        if draws is None:
            found.append([Interval(float(d), None, None) for d in difference])
            continue
        drawn = measure(*draws) * unit
        found.append(_max_t(difference, drawn[:, at[:, 0]] - drawn[:, at[:, 1]], level))
    return found[0], found[1]


def _mean(first: Floats, _second: Floats) -> Floats:
    return first


def _sharpe(first: Floats, second: Floats) -> Floats:
    deviation = np.sqrt(np.maximum(second - first**2, 0.0))
    return np.divide(first, deviation, out=np.zeros_like(first), where=deviation > 0)


def _resampled(changes: Floats, seed: int) -> tuple[Floats, Floats]:
    """Return float64[resamples, runs] twice: means of the changes and of their squares, the same blocks for all."""
    n = changes.shape[1]
    length = block_length(n)
    blocks = math.ceil(n / length)
    sums = []
    for values in (changes, changes**2):
        total = np.cumsum(np.concatenate([np.zeros((len(values), 1)), values, values[:, : length - 1]], axis=1), axis=1)
        sums.append(total[:, length:] - total[:, :-length])
    random = generator(seed, "ablation", "blocks")
    means: list[list[Floats]] = [[], []]
    for start in range(0, RESAMPLES, _CHUNK):
        starts = random.integers(0, n, (min(_CHUNK, RESAMPLES - start), blocks))
        for kept, values in zip(means, sums, strict=True):
            kept.append(values[:, starts].sum(axis=2).T / (blocks * length))
    first, second = (np.concatenate(kept) for kept in means)
    return first, second


def _max_t(difference: Floats, drawn: Floats, level: float) -> list[Interval]:
    """Return intervals that hold together: the largest studentised deviation of the resamples says how wide."""
    error = drawn.std(axis=0, ddof=1)
    away = np.abs(drawn - difference)
    studentised = np.divide(away, error, out=np.zeros_like(away), where=error > 0)
    half = float(np.quantile(studentised.max(axis=1), level)) * error
    return [Interval(float(d), float(d - h), float(d + h)) for d, h in zip(difference, half, strict=True)]
