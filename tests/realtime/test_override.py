"""A paper session is halted and reset from outside its process, and its journal says who asked and why."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from marketmakerl import Fees
from marketmakerl.backtesting.session import Session
from marketmakerl.core.errors import ConfigError, DataFormatError, DataNotFoundError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.real_market_data import PublicClient
from marketmakerl.realtime.exchange_sim import ExchangeSim
from marketmakerl.realtime.journal import Journal, read_journal
from marketmakerl.realtime.override import HALT, RESET, Override, ask, find_session, take
from marketmakerl.realtime.paper import PaperConfig, PaperSession

INSTRUMENT = lookup("sim", "BTC/USDT")
SESSION = Session(fees=Fees(-1, 5), warmup_bars=60)


def played(tmp_path, overrides, iterations=60, poll_s=0.0):
    """Run a session; `overrides` says what is asked for before which poll."""
    config = PaperConfig("sim", "BTC/USDT", "1m", iterations, poll_s, SESSION, tier="T2")
    path = tmp_path / "realtime" / "s.jsonl"
    with (
        ExchangeSim.embedded(3, history_bars=64) as sim,
        PublicClient("sim", base_url=sim.base_url, clock=sim.clock) as client,
    ):
        count = iter(range(2, iterations + 2))

        def step():
            sim.step(60)
            asked = overrides.get(next(count))
            if asked is not None:
                ask(find_session(tmp_path, "latest"), asked)

        PaperSession(config, client, INSTRUMENT, path, clock=sim.clock, step_venue=step).run()
    return read_journal(path)


def test_a_halt_from_outside_cancels_takes_off_and_lasts(tmp_path):
    journal = played(tmp_path, {30: Override(HALT, "A. Trader", "maintenance")})
    at = next(i for i, line in enumerate(journal) if line["type"] == "override")
    assert (journal[at]["who"], journal[at]["why"]) == ("A. Trader", "maintenance")
    before = [line for line in journal[:at] if line["type"] == "quote"][-1]
    assert before["bid"] or before["ask"]
    assert before["inventory"] != 0
    # At once, not at the next close: the position goes before any other bar.
    following = journal[at + 1 :]
    events = [line["type"] for line in following]
    first_bar = events.index("event")
    forced = [line for line in following[:first_bar] if line["type"] == "fill"]
    assert [line["liquidity"] for line in forced] == ["taker"]
    risk = next(line for line in following[:first_bar] if line["type"] == "risk")
    assert (risk["event"], risk["before"], risk["after"]) == ("kill", "active", "halted")
    assert risk["note"] == "A. Trader: maintenance"
    quotes = [line for line in following if line["type"] == "quote"]
    assert len(quotes) > 20
    for quote in quotes:
        assert quote["bid"] is None
        assert quote["ask"] is None
        assert quote["bid_reason"] == "halted"
        assert quote["inventory"] == 0
        assert quote["breaker"] == "halted"


def test_a_reset_is_logged_and_lets_it_quote_again(tmp_path):
    journal = played(tmp_path, {20: Override(HALT, "A", "b"), 40: Override(RESET, "C", "all clear")})
    risk = [line for line in journal if line["type"] == "risk"]
    assert [(line["event"], line["after"], line["note"]) for line in risk][:2] == [
        ("kill", "halted", "A: b"),
        ("reset", "active", "C: all clear"),
    ]
    last = [line for line in journal if line["type"] == "quote"][-1]
    assert last["breaker"] == "active"
    assert "halted" not in (last["bid_reason"], last["ask_reason"])


def test_a_waiting_session_looks_too(tmp_path):
    # Between two polls that are a minute apart: the halt does not wait for the next.
    journal = played(tmp_path, {2: Override(HALT, "A", "b")}, iterations=2, poll_s=1.1)
    types = [line["type"] for line in journal]
    assert types.index("override") < len(types) - 1 - types[::-1].index("book")


def test_what_is_no_override_is_refused_and_the_session_goes_on(tmp_path):
    path = tmp_path / "realtime" / "s.override.json"

    journal_path = tmp_path / "realtime" / "s.jsonl"
    config = PaperConfig("sim", "BTC/USDT", "1m", 6, 0.0, SESSION, tier="T2")
    with (
        ExchangeSim.embedded(3, history_bars=64) as sim,
        PublicClient("sim", base_url=sim.base_url, clock=sim.clock) as client,
    ):

        def step():
            sim.step(60)
            path.write_bytes(b'{"action": "sell everything", "who": "x", "why": "y"}')

        PaperSession(config, client, INSTRUMENT, journal_path, clock=sim.clock, step_venue=step).run()
    errors = [line for line in read_journal(journal_path) if line["type"] == "error"]
    assert errors
    assert "sell everything" in errors[0]["error"]
    assert not path.exists()


@pytest.mark.parametrize("who", [5, None, " "])
def test_one_that_nobody_signs_is_none(tmp_path, who):
    journal, path = tmp_path / "s.jsonl", tmp_path / "s.override.json"
    path.write_bytes(orjson.dumps({"action": HALT, "who": who, "why": "y"}))
    with pytest.raises(DataFormatError, match="who asks and why"):
        take(journal)
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_asked_for_while_another_is_read_is_not_lost(tmp_path, monkeypatch):
    journal = tmp_path / "s.jsonl"
    ask(journal, Override(RESET, "A", "b"))
    read = Path.read_bytes

    def read_slowly(path):
        content = read(path)
        ask(journal, Override(HALT, "C", "d"))
        return content

    monkeypatch.setattr(Path, "read_bytes", read_slowly)
    assert take(journal) == Override(RESET, "A", "b")
    monkeypatch.undo()
    assert take(journal) == Override(HALT, "C", "d")
    assert take(journal) is None


def test_a_line_under_way_or_a_broken_chain_is_no_reason_not_to_halt(tmp_path):
    (tmp_path / "realtime").mkdir()
    path = tmp_path / "realtime" / "s.jsonl"
    with Journal(path) as journal:
        journal.write("open", 1)
        journal.write("book", 2)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"ts_ns":2', b'"ts_ns":3') + b'{"seq":2,"ts')
    assert find_session(tmp_path, "latest") == path
    path.write_bytes(b"# Notes")
    with pytest.raises(DataFormatError, match="not the journal"):
        find_session(tmp_path, str(path))


def test_an_override_names_who_and_why(tmp_path):
    with pytest.raises(ConfigError, match="--who"):
        ask(tmp_path / "s.jsonl", Override(HALT, " ", "b"))
    assert list(tmp_path.iterdir()) == []


def test_only_a_running_session_can_be_halted(tmp_path):
    with pytest.raises(DataNotFoundError, match="no paper session"):
        find_session(tmp_path, "latest")
    (tmp_path / "realtime").mkdir()
    with Journal(tmp_path / "realtime" / "s.jsonl") as journal:
        journal.write("open", 1)
        assert find_session(tmp_path, "s") == tmp_path / "realtime" / "s.jsonl"
        journal.write("close", 2)
    with pytest.raises(ConfigError, match="has ended"):
        find_session(tmp_path, "latest")


def test_the_command(tmp_path):
    (tmp_path / "realtime").mkdir()
    with Journal(tmp_path / "realtime" / "s.jsonl") as journal:
        journal.write("open", 1)
        command = [sys.executable, "-m", "marketmakerl.cli.main", "halt", "latest", "--who", "A", "--why", "b"]
        done = subprocess.run([*command, "--artifacts", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Asked the session" in done.stdout
    assert (tmp_path / "realtime" / "s.override.json").exists()
