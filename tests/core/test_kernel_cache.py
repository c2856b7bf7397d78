"""Kernels are compiled once, travel, are found again after an edit elsewhere, and their cache never breaks a run."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from numba import njit as numba_njit

from marketmakerl.core import compile_less, cpu_level, first_use, kernel_cache

PACKAGE = Path(kernel_cache.__file__).resolve().parent.parent

# A kernel of a moment: it imports what two rooms say of tapes.
LOOK = """
import sys
from marketmakerl.core import first_use
first_use.say = lambda message: print("SAID", message)
from marketmakerl.data import tick_checks
from marketmakerl.data.tick_checks import _first_wrong
import numpy as np
one = np.ones(3, np.int64)
stats = _first_wrong.stats
print(_first_wrong(one, one, one, one, np.full(3, 8, np.int8))[0],
      sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), tick_checks.__file__)
"""


def look(root, cache, **environment):
    """Import the kernel in a fresh process; return its hits and misses, and what was said."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "MML_", "XDG_"))}
    env |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"NUMBA_CACHE_DIR": str(cache)} if cache is not None else {}
    env |= environment
    options = {}
    if "HOME" in environment and not environment["HOME"]:
        env.pop("HOME")
        options = {"user": 54_321, "group": 54_321}  # nobody knows this user
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=root,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    wrong, hits, misses, path = last.split()
    assert wrong == "-1"
    assert path.startswith(str(root))
    assert done.stderr == ""
    return (int(hits), int(misses)), said


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Two copies of the package, and a cache that the first has filled."""
    base = tmp_path_factory.mktemp("checkouts")
    for name in ("one", "two"):
        shutil.copytree(PACKAGE, base / name / "marketmakerl", ignore=shutil.ignore_patterns("__pycache__", "kernels"))
    assert look(base / "one", base / "cache")[0] == (0, 1)
    return base


def edit(root, module):
    with (root / "marketmakerl" / module).open("a", encoding="utf-8") as file:
        file.write("\n# edited\n")


def test_a_second_process_and_a_second_checkout_compile_nothing(copies):
    assert look(copies / "one", copies / "cache")[0] == (1, 0)
    assert look(copies / "two", copies / "cache")[0] == (1, 0)


@pytest.mark.parametrize(
    ("module", "kept"),
    [("cli/main.py", True), ("backtesting/step.py", True), ("data/klines.py", True),
     ("data/tape.py", False), ("core/jit.py", False), ("data/tick_checks.py", False)],
)  # fmt: skip
def test_only_what_a_kernel_was_made_of_throws_it_away(copies, tmp_path, module, kept):
    shutil.copytree(copies / "one" / "marketmakerl", tmp_path / "marketmakerl")
    before = kernel_cache.stamp_of(PACKAGE / "data" / "tick_checks.py")
    edit(tmp_path, module)
    if kept:
        assert look(tmp_path, copies / "cache")[0] == (1, 0)
    else:
        code = "import sys; from pathlib import Path; from marketmakerl.core.kernel_cache import stamp_of\n"
        code += "print(stamp_of(Path(sys.argv[1])))"
        path = tmp_path / "marketmakerl" / "data" / "tick_checks.py"
        env = os.environ | {"PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() != before


def test_what_came_with_the_package_is_read_first(copies, tmp_path):
    shutil.copytree(copies / "one" / "marketmakerl", tmp_path / "marketmakerl")
    shutil.copytree(copies / "cache", tmp_path / "marketmakerl" / "kernels")
    assert look(tmp_path, tmp_path / "empty") == ((1, 0), [])
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("trouble", ["a file in its place", "no home", "full"])
def test_a_cache_that_cannot_be_used_is_said_once_and_breaks_nothing(copies, tmp_path, trouble):
    if trouble == "no home":
        places = {Path(sys.executable), Path(sys.prefix), Path(sys.base_prefix)}
        folders = {parent for place in places for parent in place.resolve().parents}
        if os.getuid() != 0 or not all(folder.stat().st_mode & 0o001 for folder in folders):
            pytest.skip("only root may run a program as an unknown user, who must be able to read it")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            shutil.copytree(copies / "two", Path(folder) / "two")
            counts, said = look(Path(folder) / "two", None, HOME="")
    elif trouble == "full":
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full here")
        folder = kernel_cache._name_of(PACKAGE / "data" / "tick_checks.py")
        place = tmp_path / folder / kernel_cache.stamp_of(PACKAGE / "data" / "tick_checks.py")
        place.parent.mkdir(parents=True)
        place.symlink_to("/dev/full")
        counts, said = look(copies / "two", tmp_path)
    else:
        (tmp_path / "file").write_text("")
        counts, said = look(copies / "two", tmp_path / "file" / "x")
    assert counts == (0, 1)
    assert len(said) == 1
    assert said[0].startswith("SAID compiled code cannot be kept")
    assert "NUMBA_CACHE_DIR" in said[0]


def test_an_unknown_user_without_a_home_has_no_cache(monkeypatch):
    def nowhere():
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(Path, "home", nowhere)
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    said = []
    monkeypatch.setattr(first_use, "say", said.append)
    assert kernel_cache.user_folder() is None
    cache = kernel_cache._Chain(test_old_versions_do_not_pile_up)
    assert cache.load_overload(None, None) is None
    cache.save_overload(None, None)
    assert len(said) == 1
    assert "no home folder" in said[0]


@pytest.mark.parametrize("rubbish", [b"", b"rubbish", b"\x80\x05."])
def test_rubbish_in_the_cache_is_as_good_as_nothing(copies, tmp_path, rubbish):
    shutil.copytree(copies / "cache", tmp_path / "cache")
    files = list((tmp_path / "cache").rglob("tick_checks._first_wrong*.nb*"))
    assert len(files) == 2
    for file in files:
        file.write_bytes(rubbish)
    assert look(copies / "one", tmp_path / "cache")[0] == (0, 1)


def test_old_versions_do_not_pile_up(tmp_path):
    for i in range(6):
        (tmp_path / str(i)).mkdir()
        os.utime(tmp_path / str(i), (i, i))
    kernel_cache._forget_old(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4", "5"]


LEVEL = "import numba; from marketmakerl.core import jit; print(numba.config.CPU_NAME)"


@pytest.mark.parametrize(("name", "expected"), [(None, cpu_level.LEVEL), ("generic", "generic")])
def test_machine_code_is_for_the_common_level_unless_another_is_named(name, expected):
    features = llvm.get_host_cpu_features()
    if name is None and not all(features.get(one) for one in cpu_level._NEEDS):
        expected = "None"
    env = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    env |= {} if name is None else {"NUMBA_CPU_NAME": name}
    done = subprocess.run([sys.executable, "-c", LEVEL], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


# -- less to compile

INNER = """
import sys, types
sys.path.insert(0, {folder!r})
import numpy as np
from numba import njit as plain
from marketmakerl.core.jit import njit
package = types.ModuleType("marketmakerl.made_up")
code = '''
from marketmakerl.core.jit import njit
@njit()
def inner(x, n):
    return x * n + len(str(n)) * 0
@njit()
def outer(x):
    return inner(x, 2) + inner(x, 3) + inner(x, 4)
'''.replace(" + len(str(n)) * 0", "")
exec(compile(code, {file!r}, "exec"), package.__dict__)
print(package.outer(5), len(package.inner.overloads), package.inner(5, 7), len(package.inner.overloads))
@plain
def host_inner(x, n):
    return x * n
@plain
def host_outer(x):
    return host_inner(x, 2) + host_inner(x, 3)
print(host_outer(5), len(host_inner.overloads), host_inner(5, 7))
"""


@pytest.mark.parametrize(("plain", "ours"), [(False, 1), (True, 3)])
def test_literals_make_no_new_functions_of_ours_and_others_are_left_alone(tmp_path, plain, ours):
    code = INNER.format(folder=str(tmp_path), file=str(tmp_path / "made_up.py"))
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_DISABLE_JIT": "0"}
    env |= {"MML_PLAIN_NUMBA": "1"} if plain else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    first, second = done.stdout.splitlines()
    # Called from Python, what was inner is compiled again with all that this takes.
    assert first == f"45 {ours} 35 {ours + plain}"
    assert second.split()[0] == "25"
    assert int(second.split()[1]) == 2
    assert second.split()[2] == "35"


def test_numba_here_is_of_a_version_whose_insides_are_known():
    assert compile_less.is_known()
    assert compile_less.install() or compile_less._NUMBA.config.DISABLE_JIT


def test_a_new_numba_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(compile_less._NUMBA, "__version__", "9.9.9")
    assert not compile_less.install()


def test_a_function_of_a_host_program_compiles_as_ever():
    @numba_njit
    def twice(x):
        return 2 * x

    assert twice(4) == 8
    assert len(twice.overloads) == 1
