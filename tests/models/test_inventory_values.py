"""The value over inventory and time, against the same series in numbers of 80 digits."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marketmakerl import CarteaJaimungal
from marketmakerl.models.inventory_values import ground_state, time_table


def log_values(diagonal, coupling, terminal, tau):
    """Return ln [exp(-M tau) e^terminal], M = diag - coupling * offdiag(1), by its positive series around max(diag)."""
    with localcontext() as context:
        context.prec = 80
        top = max(diagonal)
        stay = [Decimal((top - d) * tau) for d in diagonal]
        move = Decimal(coupling) * Decimal(tau)
        term = [Decimal(x).exp() for x in terminal]
        total = list(term)
        n, order, most = len(term), 0, float(max(stay) + 2 * move)
        while order < 3 * most + 400:
            order += 1
            term = [
                (
                    stay[i] * term[i]
                    + move * ((term[i - 1] if i else 0) + (term[i + 1] if i + 1 < n else 0))
                )
                / order
                for i in range(n)
            ]  # fmt: skip
            total = [a + b for a, b in zip(total, term, strict=True)]
        return [float(x.ln() - Decimal(top * tau)) for x in total]


@settings(max_examples=15)
@example(alpha=0.0, coupling=2.3, tilt=0.0, end=0.0093, q_max=4, left=4.4e-4)  # a turning point in the first step
@given(
    alpha=st.floats(0.0, 5.0), coupling=st.floats(1e-4, 5.0), tilt=st.floats(-2.0, 2.0), end=st.floats(0.0, 3.0),
    q_max=st.integers(1, 8), left=st.floats(1e-6, 1.0),
)  # fmt: skip
def test_every_inventory_keeps_its_digits(alpha, coupling, tilt, end, q_max, left):
    q = np.arange(-q_max, q_max + 1.0)
    diagonal, terminal, horizon = alpha * q**2 - tilt * q, -end * q**2, 1.5
    table = time_table(diagonal, coupling, terminal, horizon)
    np.testing.assert_allclose(
        table.log_values, log_values(diagonal, coupling, terminal, horizon), rtol=1e-11, atol=1e-11
    )  # fmt: skip
    # The quotes of a Cartea-Jaimungal maker with k = 1 are the leans, between the rows of the table as well.
    model = CarteaJaimungal(1.0, coupling * math.e, alpha, end, horizon, q_max)
    logs = log_values(alpha * q**2, coupling, terminal, left * horizon)
    for i in range(len(q) - 1):
        assert model.offsets(q[i], left * horizon)[0] - 1.0 == pytest.approx(logs[i] - logs[i + 1], abs=2e-9)


def test_values_smaller_than_any_float():
    """At the edge the value is e^-800 of that in the middle, and its neighbour's ratio still has its digits."""
    q = np.arange(-12, 13.0)
    diagonal, coupling = 3.0 * q**2, 1e-30
    table = time_table(diagonal, coupling, 0.0 * q, 20.0)
    wanted = log_values(diagonal, coupling, 0.0 * q, 20.0)
    assert min(wanted) < -800
    np.testing.assert_allclose(table.log_values, wanted, rtol=1e-11, atol=1e-11)


@settings(max_examples=40)
@given(alpha=st.floats(0.0, 1e3), coupling=st.floats(1e-9, 1e3), tilt=st.floats(-10.0, 10.0), q_max=st.integers(1, 250))
def test_the_ground_state_is_an_eigenvector(alpha, coupling, tilt, q_max):
    q = np.arange(-q_max, q_max + 1.0)
    diagonal = alpha * q**2 - tilt * q
    lowest, ratios = ground_state(diagonal, coupling)
    scale = np.abs(diagonal - lowest) + 2 * coupling
    up = np.concatenate([np.exp(-ratios), [0.0]])  # v_{q+1} / v_q
    down = np.concatenate([[0.0], np.exp(ratios)])
    assert np.all(np.isfinite(ratios))
    rounding = 1e-15 * np.max(np.abs(diagonal)) / scale.min()  # of the difference that is taken here
    np.testing.assert_allclose(
        (diagonal - lowest - coupling * (up + down)) / scale, 0.0, atol=1e-11 + 2 * rounding
    )  # fmt: skip
    # A positive eigenvector of such a matrix belongs to its smallest eigenvalue, and to no other.
    if q_max <= 20:
        matrix = np.diag(diagonal) - coupling * (np.eye(len(q), k=1) + np.eye(len(q), k=-1))
        assert lowest == pytest.approx(np.linalg.eigvalsh(matrix)[0], abs=1e-12 * scale.max())


def test_far_from_the_end_time_is_forgotten():
    q = np.arange(-40, 41.0)
    table = time_table(0.02 * q**2, 0.7, -0.5 * q**2, 5_000.0)
    _, ratios = ground_state(0.02 * q**2, 0.7)
    np.testing.assert_allclose(table.lean[-1, :, 0], ratios, atol=1e-10)
    np.testing.assert_allclose(table.lean[-1, :, 1], 0.0, atol=1e-12)
