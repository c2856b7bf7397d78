"""Time, randomness, settings, compiler options."""

import numpy as np
import pytest

from marketmakerl.core.clock import ManualClock, SystemClock, iso_utc
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.core.rng import check_seed, generator
from marketmakerl.core.settings import load_settings


def test_streams_are_named_repeatable_and_apart():
    one = generator(7, "a", 1).random(1000)
    np.testing.assert_array_equal(one, generator(7, "a", 1).random(1000))
    for other in (generator(7, "a", 2), generator(7, "b", 1), generator(8, "a", 1), generator(7, "a")):
        assert abs(np.corrcoef(one, other.random(1000))[0, 1]) < 0.15


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, "1", True, None])
def test_what_is_no_seed(seed):
    with pytest.raises(ConfigError, match="seed"):
        check_seed(seed)


def test_clocks():
    clock = ManualClock(5)
    clock.advance(7)
    assert clock.now_ns() == 12
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    assert SystemClock().now_ns() > 1_700_000_000 * 10**9
    assert iso_utc(1_723_161_240_123_000_000) == "2024-08-08T23:54:00.123Z"


def test_settings_come_from_the_environment_and_dotenv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_settings().paper_only == "1"
    (tmp_path / ".env").write_text("MML_ARTIFACTS_DIR=elsewhere\nBINANCE_SECRET=x\n")
    assert str(load_settings().artifacts_dir) == "elsewhere"
    monkeypatch.setenv("MML_ARTIFACTS_DIR", "third")
    assert str(load_settings().artifacts_dir) == "third"
    monkeypatch.setenv("MML_LOG_LEVEL", "loud")
    with pytest.raises(ConfigError, match="LOG_LEVEL"):
        load_settings()


def test_did_you_mean():
    assert "did you mean binance" in str(UnknownNameError("exchange", "binanec", ["binance", "kraken"]))
    assert "known: a, b" in str(UnknownNameError("x", "zzz", ["b", "a"]))
