import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl import AvellanedaStoikov, RLEnhanced
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.models.rl_enhanced_model import BOUND

A_S = {"gamma": 0.1, "k": 1.5, "sigma": 2.0, "horizon_s": 1.0}


@given(q=st.floats(-100, 100), left=st.floats(0, 1))
def test_no_quote_moves_by_more_than_its_bound(q, left):
    plain, moved = AvellanedaStoikov(**A_S).offsets(q, left), RLEnhanced(**A_S).offsets(q, left)
    half_spread = sum(plain) / 2
    for before, after in zip(plain, moved, strict=True):
        assert abs(after - before) <= BOUND * half_spread * (1 + 1e-9) + 1e-9 * abs(before)


def test_the_zero_policy_is_avellaneda_stoikov():
    for q in (-3.0, 0.0, 2.5):
        assert RLEnhanced("zero", **A_S).offsets(q, 0.4) == AvellanedaStoikov(**A_S).offsets(q, 0.4)


def test_the_default_policy_leans_and_widens():
    plain, moved = AvellanedaStoikov(**A_S).offsets(5, 0.1), RLEnhanced(**A_S).offsets(5, 0.1)
    assert moved[0] - plain[0] > moved[1] - plain[1]  # long: the bid goes further away than the ask
    assert sum(moved) > sum(plain)


def test_bad_parameters():
    with pytest.raises(UnknownNameError, match="policy"):
        RLEnhanced("best")
    with pytest.raises(ConfigError, match="q_range"):
        RLEnhanced(q_range=0.0)
