"""Time, randomness, settings, compiler options."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from marketmakerl.core import jit
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


def test_compiled_code_is_cached_under_the_hash_of_all_its_sources(tmp_path):
    assert jit.CACHE_DIR.endswith(jit._source_hash())
    code = "from marketmakerl.core import jit, ledger; import numba; print(jit.CACHE_DIR, numba.config.CACHE_DIR)"
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "c"), "NUMBA_DISABLE_JIT": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60)
    ours, numba_s = done.stdout.split()
    assert ours.startswith(str(tmp_path / "c"))
    assert numba_s == str(tmp_path / "c")  # a caller's own cache stays where it was


def test_a_constant_that_compiled_code_froze_changes_the_cache(tmp_path, monkeypatch):
    before = jit._source_hash()
    for room, name in (("risk", "reasons.py"), ("data", "tape.py"), ("cli", "main.py")):
        copy = tmp_path / room
        shutil.copytree(jit._PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        with (copy / room / name).open("a", encoding="utf-8") as file:
            file.write("# changed")
        monkeypatch.setattr(jit, "_PACKAGE", copy)
        assert (jit._source_hash() != before) == (room != "cli")
        monkeypatch.undo()


def test_a_cache_that_cannot_be_written_is_replaced(tmp_path):
    (tmp_path / "file").write_text("")
    blocked = str(tmp_path / "file" / "x")
    env = os.environ | {"NUMBA_CACHE_DIR": blocked, "XDG_CACHE_HOME": blocked}
    code = "from marketmakerl.core import jit; import os; print(os.access(jit.CACHE_DIR, os.W_OK))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "True"
