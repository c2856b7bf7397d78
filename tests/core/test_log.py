"""Our loggers: warnings on stderr unless asked for more, and a host that uses structlog keeps its own."""

import subprocess
import sys

import pytest

from marketmakerl.core import log


@pytest.fixture(autouse=True)
def _level_as_it_was(monkeypatch):
    monkeypatch.setattr(log, "_level", log._level)


def test_what_is_below_the_level_is_not_told(capsys):
    logger = log.get_logger("some.module")
    log.configure("warning")
    logger.info("quiet", rows=1)
    logger.debug("quieter")
    assert capsys.readouterr() == ("", "")
    logger.warning("off_lot", rows=3)
    log.configure("debug")
    logger.debug("now", rows=4)
    logger.error("bad")
    out, err = capsys.readouterr()
    assert out == ""
    told = err.splitlines()
    assert len(told) == 3
    for line, parts in zip(
        told, (("warning", "off_lot", "rows=3"), ("debug", "now", "rows=4"), ("error", "bad")), strict=True
    ):
        for part in (*parts, "module=some.module"):
            assert part in line


def test_a_host_s_structlog_is_left_alone():
    code = (
        "import structlog, marketmakerl.data.market, marketmakerl.core.log as log\n"
        "log.get_logger('x').warning('ours')\n"
        "print(structlog.is_configured())\n"
        "structlog.get_logger().info('theirs')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    configured, theirs = done.stdout.splitlines()
    assert configured == "False"
    assert "theirs" in theirs
    assert "ours" in done.stderr
