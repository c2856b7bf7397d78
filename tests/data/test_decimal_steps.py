"""Decimal texts become whole steps exactly, in the compiled parser and in the slow one."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl.data.decimal_steps import NOT_PLAIN, OFF_STEP, POWERS, DecimalStep, parse_steps

STEPS = st.sampled_from(["0.1", "0.01", "1", "0.5", "0.25", "10", "2.5", "0.00001", "1e-8", "100", "0.0625"])


def parsed(text, step):
    buffer = np.frombuffer(f'"{text}"\n'.encode(), np.uint8)
    return parse_steps(buffer, 0, step.numerator, step.digits, POWERS)


@given(STEPS, st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 9), st.integers(0, 4))
def test_both_parsers_agree_with_fractions(step_text, whole, part, digits, zeros):
    text = f"{whole}" + (f".{str(part)[:digits]}{'0' * zeros}" if digits else "")
    exact = Fraction(text) / Fraction(step_text)
    step = DecimalStep.of(float(step_text))
    steps, on_grid = step.steps(text)
    assert (steps, on_grid) == (-(-exact.numerator // exact.denominator), exact.denominator == 1)
    fast, end = parsed(text, step)
    assert fast in {NOT_PLAIN, int(exact) if exact.denominator == 1 else OFF_STEP}
    if len(text.replace(".", "")) + step.digits <= 18:
        assert fast != NOT_PLAIN
        assert end == len(text) + 2


@given(st.integers(1, 10**17))
def test_what_floats_cannot_hold_is_exact(ticks):
    """17 digits: two neighbours that are one float stay two prices."""
    step = DecimalStep.of(0.1)
    text = f"{ticks // 10}.{ticks % 10}"
    assert step.steps(text) == (ticks, True)
    assert parsed(text, step)[0] == ticks


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".5", "-1", "+1", "1e5", "1,5", "NaN", " 1", "1 ", "0x1", "1.2.3", "٣"]
)
def test_what_is_no_plain_decimal_is_refused(text):
    step = DecimalStep.of(0.1)
    with pytest.raises(ValueError, match="is no decimal text"):
        step.steps(text)
    assert parsed(text, step)[0] == NOT_PLAIN


@pytest.mark.parametrize("value", [None, 1, 1.5, [], "9" * 41, "0." + "0" * 41])
def test_other_types_and_hostile_sizes_are_refused(value):
    with pytest.raises(ValueError, match="is no decimal text"):
        DecimalStep.of(0.1).steps(value)


def test_long_numbers_are_left_to_the_slow_parser():
    assert parsed("1" * 19, DecimalStep.of(1.0))[0] == NOT_PLAIN
    assert parsed("0." + "0" * 18, DecimalStep.of(1.0))[0] == NOT_PLAIN
