"""`import marketmakerl as mml`: complete, sorted, lazy."""

import subprocess
import sys

import marketmakerl as mml


def test_all_is_complete_and_sorted():
    assert list(mml.__all__) == sorted(mml.__all__)
    assert set(mml.__all__) == {*mml._HOME, "__version__"}
    for name in mml.__all__:
        assert getattr(mml, name) is not None


def test_the_version_is_the_package_s():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert project["project"]["version"] == mml.__version__


def test_importing_costs_nothing():
    code = "import sys, marketmakerl; print(sorted({'numpy', 'numba', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error():
    import pytest

    with pytest.raises(AttributeError, match="no attribute 'Avellaneda'"):
        _ = mml.Avellaneda
