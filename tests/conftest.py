"""Fixtures that many tests share. Recorded data are optional: a test that needs them skips with a reason."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# A shell that starts the tests in the background lets them ignore Ctrl-C, and every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# Same examples on every machine and in every run: a failure seen once can be seen again.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("MML_HYPOTHESIS", "repeatable"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"recorded data are not here ({SHARED_DATA})")
    return SHARED_DATA


@pytest.fixture(scope="session")
def no_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog that holds nothing, made once: naming a folder looks through all that are there."""
    return tmp_path_factory.mktemp("no-data")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, no_data: Path) -> None:
    """No MML_ variable and no .env of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith("MML_") or name == "PAPER_ONLY":
            monkeypatch.delenv(name)
    monkeypatch.setenv("MML_DATA_DIR", str(no_data))
