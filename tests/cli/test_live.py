"""Live trading is refused, whatever anybody sets."""

import subprocess
import sys

import pytest

from marketmakerl import LiveTradingBlocked
from marketmakerl.cli.main import run
from marketmakerl.core.safety import refuse_live


@pytest.mark.parametrize("value", [None, "", "1", "true", "false", "no", "00", "-1", "0 0", "yes please"])
def test_by_policy(value):
    with pytest.raises(LiveTradingBlocked, match="blocked by policy"):
        refuse_live(value)


@pytest.mark.parametrize("value", ["0", " 0 "])
def test_with_zero_because_nothing_could(value):
    with pytest.raises(LiveTradingBlocked, match="no order gateway exists"):
        refuse_live(value)


@pytest.mark.parametrize("value", [None, "", "1", "false", "0"])
def test_the_command_ends_with_4_and_one_line(capfd, value, monkeypatch):
    if value is not None:
        monkeypatch.setenv("PAPER_ONLY", value)
    assert run(["live"]) == 4
    is_refused(*capfd.readouterr())


def test_the_program_exits_with_4(monkeypatch):
    monkeypatch.setenv("PAPER_ONLY", "0")
    done = subprocess.run(
        [sys.executable, "-m", "marketmakerl.cli.main", "live"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 4
    is_refused(done.stdout, done.stderr)


def is_refused(out, err):
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "live trading is blocked" in err
