"""`mml warm`: what it runs, what it says of failure, and that it does nothing twice."""

import subprocess
import sys

import pytest

from marketmakerl.agents import kernels
from marketmakerl.agents.kernels import Job, compile_all
from marketmakerl.core.errors import ConfigError


@pytest.fixture
def own_jobs(monkeypatch):
    """Let other jobs be the whole list."""

    def set_them(*jobs):
        monkeypatch.setattr(kernels, "jobs", lambda: list(jobs))

    return set_them


def test_a_folder_that_is_whole_is_left_alone_until_a_source_changes(own_jobs, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    code = f"from pathlib import Path; p = Path({str(ran)!r}); p.write_text(p.read_text() + '.' if p.exists() else '.')"
    (tmp_path / "writes_a_dot.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    own_jobs(Job("one", ("writes_a_dot",)), Job("two", ("writes_a_dot",), after=("one",)))
    folder = tmp_path / "kernels"
    assert compile_all(into=folder) > 0
    assert ran.read_text() == ".."
    assert compile_all(into=folder) == 0.0
    assert ran.read_text() == ".."
    monkeypatch.setattr(kernels, "source_hash", lambda: "edited")
    assert compile_all(into=folder) > 0
    assert ran.read_text() == "...."
    for i in range(5):
        monkeypatch.setattr(kernels, "source_hash", lambda i=i: f"edit {i}")
        compile_all(into=folder)
    assert len(list(folder.glob("whole-*"))) == 3


@pytest.mark.parametrize(
    "job",
    [Job("bad module", ("marketmakerl.there_is_none",)), Job("bad command", commands=(("optimum", "--nonsense"),))],
    ids=lambda job: job.name,
)
def test_what_fails_is_named_and_the_folder_is_not_whole(job, own_jobs, tmp_path):
    own_jobs(job)
    with pytest.raises(ConfigError, match=f"could not compile {job.name}: .*(there_is_none|nonsense)"):
        compile_all(into=tmp_path)
    assert not list(tmp_path.glob("whole-*"))


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_compiled(own_jobs, tmp_path):
    (tmp_path / "file").touch()
    own_jobs(Job("never run", ("marketmakerl.there_is_none",)))
    with pytest.raises(ConfigError, match=r"cannot keep kernels in .*file"):
        compile_all(into=tmp_path / "file" / "kernels")


def test_commands_run_for_their_kernels_leave_nothing_behind(own_jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # what the command writes is looked for, not what it compiles
    own_jobs(Job("a market", commands=(("backtest", "--days", "0.05", "--warmup-bars", "60", "--json"),)))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(kernels.tempfile, "tempdir", str(tmp_path / "scratch"))
    compile_all(into=tmp_path / "kernels")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kernels", "scratch"]
    assert not list((tmp_path / "scratch").iterdir())


def test_a_module_in_the_current_folder_does_not_stand_in_for_another(own_jobs, tmp_path, monkeypatch):
    (tmp_path / "marketmakerl.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    own_jobs(Job("one", ("marketmakerl.core.errors",)))
    assert compile_all(into=tmp_path / "kernels") > 0


def test_a_kernel_that_was_loaded_can_be_linked_into_another_function():
    """Its intermediate code is read when it is asked for, and not before."""
    code = """
import numpy as np
from numba import njit
from marketmakerl.core import kernel_format
from marketmakerl.data.tick_checks import _first_wrong as kernel
(loaded,) = kernel.overloads.values()
print(type(loaded.library).__name__, loaded.library._shared_module is None)
@njit(kernel.signatures[0])
def calls(ts, local, price, qty, kind):
    return kernel(ts, local, price, qty, kind)
print(loaded.library._shared_module is None)
ts = np.arange(5)
price = np.full(5, 100)
print(calls(ts, ts, price, price, np.zeros(5, np.int8)) == kernel(ts, ts, price, price, np.zeros(5, np.int8)))
"""
    for _ in range(2):  # the first may have to compile it
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split("\n")[:3] == ["Library True", "False", "True"]
