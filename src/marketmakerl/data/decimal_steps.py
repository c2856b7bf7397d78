"""Decimal texts as whole ticks and lots, exactly: no float stands in between.

A step is a decimal too: `numerator / 10**digits`. A text with another number of digits is brought to that many, and
is on the grid if nothing is left over and the numerator divides it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numba import types

from marketmakerl.core.jit import njit

# What an exchange writes. Exponents, signs and NaN are not among it.
_DECIMAL: Final = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?")
_MAX_DIGITS: Final = 18  # so many always fit into an int64
POWERS: Final = 10 ** np.arange(_MAX_DIGITS + 1, dtype=np.int64)

# What the compiled parser says instead of a number of steps. The first two mean: let the slow parser decide.
NOT_PLAIN: Final = -1  # no decimal text, or a long one
OFF_STEP: Final = -2

BYTES = types.Array(types.uint8, 1, "C", readonly=True)
POWER_TABLE = types.Array(types.int64, 1, "C", readonly=True)


@dataclass(frozen=True)
class DecimalStep:
    """A tick or a lot: `numerator / 10**digits`, in lowest terms as to powers of ten."""

    numerator: int
    digits: int

    @classmethod
    def of(cls, step: float) -> DecimalStep:
        """Return the decimal that a step stands for: 0.1 is 1/10, whatever its binary neighbour is."""
        value = Decimal(f"{step:.15g}").normalize()
        digits = max(-int(value.as_tuple().exponent), 0)
        return cls(int(value.scaleb(digits)), digits)

    def steps(self, text: object) -> tuple[int, bool]:
        """Return how many steps a decimal text is, rounded up, and whether it is exactly so many.

        Raises:
            ValueError: not a text, or not a plain decimal of at most 40 digits on either side of the point.
        """
        if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
            shown = repr(text)
            raise ValueError(f"{shown if len(shown) <= 60 else shown[:60] + '...'} is no decimal text")
        whole, _, part = text.partition(".")
        value = int(whole + part) * 10**self.digits
        step = self.numerator * 10 ** len(part)
        steps = -(-value // step)
        return steps, steps * step == value


@njit(types.uint8(BYTES, types.int64))
def byte_at(text: Any, at: Any) -> Any:
    """Return a byte; `at` is not below zero, which numba would otherwise check for at every byte."""
    return text[np.uint64(at)]


@njit(types.boolean(types.uint8))
def is_digit(byte: Any) -> Any:
    """Return whether a byte is an ASCII digit."""
    return 48 <= byte <= 57


@njit(types.UniTuple(types.int64, 2)(BYTES, types.int64, types.int64, types.int64, POWER_TABLE))
def parse_steps(text: Any, at: Any, numerator: Any, digits: Any, powers: Any) -> Any:
    """Read a quoted decimal that begins at the quote `text[at]`.

    Returns:
        How many steps it is (or NOT_PLAIN, OFF_STEP), and the place after the closing quote. After NOT_PLAIN the
        place is where reading stopped. A line must end in a line feed, which no number contains.
    """
    if byte_at(text, at) != 34:
        return NOT_PLAIN, at
    at += 1
    begin = at
    value = np.int64(0)
    while is_digit(byte_at(text, at)):
        if at - begin >= _MAX_DIGITS:
            return NOT_PLAIN, at
        value = value * 10 + (np.int64(byte_at(text, at)) - 48)
        at += 1
    count = at - begin
    if count == 0:
        return NOT_PLAIN, at
    after = np.int64(0)
    if byte_at(text, at) == 46:
        at += 1
        begin = at
        while is_digit(byte_at(text, at)):
            if count + at - begin >= _MAX_DIGITS:
                return NOT_PLAIN, at
            value = value * 10 + (np.int64(byte_at(text, at)) - 48)
            at += 1
        after = at - begin
        if after == 0:
            return NOT_PLAIN, at
    if byte_at(text, at) != 34:
        return NOT_PLAIN, at
    at += 1
    if after > digits:
        scale = powers[after - digits]
        scaled = value // scale
        if scaled * scale != value:
            return OFF_STEP, at
        value = scaled
    elif after < digits:
        if count + digits > _MAX_DIGITS:
            return NOT_PLAIN, at
        value *= powers[digits - after]
    if numerator != 1:
        steps = value // numerator
        if steps * numerator != value:
            return OFF_STEP, at
        value = steps
    return value, at
