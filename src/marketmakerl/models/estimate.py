"""One estimated number with its standard error, and standard errors that survive clustered data.

Trades come in bursts and the moves after them overlap, so that a formula for independent observations is far too sure
of itself. Here the observed time is cut into blocks, what is estimated is summed over each, and the blocks are taken
as independent: right as long as what depends on each other lies mostly in one block (Liang & Zeger 1986, clusters of
time). The length of a block is in every result.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_S

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

MIN_BLOCKS: Final = 8
_WANTED_BLOCKS: Final = 40
_LONGEST_BLOCK_S: Final = 60.0


@dataclass(frozen=True)
class Estimate:
    """One number that data gave.

    Attributes:
        value: the estimate, finite.
        std_error: its standard error, >= 0; None where there is none (a number that is declared, not estimated).
        unit: e.g. "price/sqrt(s)".
        method: how it was come by, one line.
        n: how many observations it rests on.
    """

    value: float
    std_error: float | None
    unit: str
    method: str
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)

    def interval(self, z: float = 1.959963984540054) -> tuple[float, float]:
        """Return value - z and + z standard errors; NaN where there is no standard error."""
        error = math.nan if self.std_error is None else self.std_error
        return self.value - z * error, self.value + z * error


class NotIdentifiedError(ValueError):
    """These data do not say what a parameter is; the text says why. Never leaves the calibration."""


@dataclass(frozen=True)
class Blocks:
    """The observed time in blocks of equal length; the stretches between gaps are laid end to end.

    Attributes:
        start_ns, end_ns: int64[m], the stretches that were observed, in order.
        block_ns: length of a block.
    """

    start_ns: Ints
    end_ns: Ints
    block_ns: int

    @classmethod
    def over(cls, start_ns: Ints, end_ns: Ints, *, least_s: float = 1.0) -> Blocks:
        """Return about forty blocks of at most a minute, none shorter than `least_s`."""
        observed_s = float((end_ns - start_ns).sum()) / NS_PER_S
        block_s = max(min(observed_s / _WANTED_BLOCKS, _LONGEST_BLOCK_S), least_s)
        return cls(start_ns, end_ns, round(block_s * NS_PER_S))

    @property
    def seconds(self) -> float:
        """Return the length of a block, seconds."""
        return self.block_ns / NS_PER_S

    @property
    def count(self) -> int:
        """Return how many blocks there are; what is left over at the end belongs to the last."""
        return max(1, int((self.end_ns - self.start_ns).sum()) // self.block_ns)

    def of(self, ts_ns: Ints) -> Ints:
        """Return the block of each time (int64); every time lies in a stretch."""
        before = np.concatenate([[0], np.cumsum(self.end_ns - self.start_ns)])
        stretch = np.maximum(np.searchsorted(self.start_ns, ts_ns, side="right") - 1, 0)
        passed = before[stretch] + ts_ns - self.start_ns[stretch]
        return np.asarray(np.minimum(passed // self.block_ns, self.count - 1))

    def sums(self, ts_ns: Ints, values: Floats) -> Floats:
        """Return the sum of the values in each block."""
        return np.asarray(np.bincount(self.of(ts_ns), weights=values, minlength=self.count), np.float64)

    def held(self, begin_ns: Ints, end_ns: Ints, values: Floats) -> Floats:
        """Return the integral over each block, in value x seconds, of values that each hold from begin to end.

        Args:
            begin_ns: int64[n], where the intervals begin, in order.
            end_ns: int64[n], where they end; they do not overlap, and each lies within one stretch.
            values: float64[n].
        """
        before = np.concatenate([[0], np.cumsum(self.end_ns - self.start_ns)])
        stretch = np.maximum(np.searchsorted(self.start_ns, begin_ns, side="right") - 1, 0)
        shift = before[stretch] - self.start_ns[stretch]
        done = np.cumsum((end_ns - begin_ns) * values) / NS_PER_S
        at = np.column_stack([begin_ns + shift, end_ns + shift]).ravel()
        so_far = np.column_stack([np.concatenate([[0.0], done[:-1]]), done]).ravel()
        edges = np.arange(1, self.count) * self.block_ns
        return np.diff(np.concatenate([[0.0], np.interp(edges, at, so_far), done[-1:]]))

    def check(self, what: str) -> None:
        """Raise `NotIdentifiedError` if there are too few blocks to know how much `what` varies."""
        if self.count < MIN_BLOCKS:
            seconds = float((self.end_ns - self.start_ns).sum()) / NS_PER_S
            raise NotIdentifiedError(
                f"{seconds:.4g} s were observed; {what} needs {MIN_BLOCKS} blocks of {self.seconds:.4g} s"
            )


def ratio_of_sums(top: Floats, bottom: Floats) -> tuple[float, float]:
    """Return sum(top) / sum(bottom) over blocks and its standard error (linearised, blocks independent)."""
    value = float(top.sum() / bottom.sum())
    rest = top - value * bottom
    blocks = len(top)
    spread = math.sqrt(blocks / max(1, blocks - 1) * float(rest @ rest))
    return value, spread / float(bottom.sum())


def sandwich(information: Floats, scores: Floats) -> Floats:
    """Return the covariance of maximum-likelihood estimates that holds when observations cluster in blocks.

    Args:
        information: float64[p, p], minus the Hessian of the log-likelihood.
        scores: float64[blocks, p], its gradient summed over each block.
    """
    blocks = len(scores)
    bread = np.linalg.inv(information)
    meat = scores.T @ scores * (blocks / max(1, blocks - 1))
    return np.asarray(bread @ meat @ bread)
