"""Recordings and klines for the tests of commands: made once, and copied into the folder of each test."""

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stamina
import typer.main

import recorded
import tick_tapes
from marketmakerl import EventTape
from reporting.pages_once import _pages_are_prepared_once  # noqa: F401

STEM = "binanceusdm_BTCUSDT_2024-08-08T2354"
KLINES = "binanceusdm_BTCUSDT_1m_a_b.parquet"

_bars_of = functools.cache(recorded.bars_of)
_made_tape = functools.cache(tick_tapes.make_tape)
_command_of = functools.cache(typer.main.get_command)


@pytest.fixture(scope="module", autouse=True)
def _commands_are_built_once() -> Iterator[None]:
    """Build the tree of commands once; typer does it at every call, which takes longer than most of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", _command_of)
        yield


@pytest.fixture(scope="module", autouse=True)
def _nobody_sleeps_before_asking_a_venue_again() -> Iterator[None]:
    """Let a client ask a venue that does not answer as often as ever, but at once."""
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture(scope="session")
def put_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what does as `tick_tapes.put_recording`; the files are the test's own, to change as it likes."""
    kept = tmp_path_factory.mktemp("recordings")

    def put(root: Path, seconds: int = 300, stem: str = STEM) -> Path:
        made = kept / str(seconds)
        if not made.exists():
            tick_tapes.put_recording(made, seconds)
        for folder, kind in (("book", "l2"), ("trades", "trades")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / folder / f"{STEM}_{kind}.parquet", root / folder / f"{stem}_{kind}.parquet")
        return root / "book" / f"{stem}_l2.parquet"

    return put


@pytest.fixture(scope="session")
def tape_of() -> Callable[..., EventTape]:
    """Return `tick_tapes.make_tape`, which makes each tape once."""
    return _made_tape


@pytest.fixture(scope="session")
def put_bars() -> Callable[..., Path]:
    """Return what writes the synthetic market's bars as a recorder would, into the catalog below a folder."""

    def put(root: Path, n_bars: int, name: str = KLINES) -> Path:
        return recorded.put_klines(root, _bars_of(n_bars), name)

    return put
