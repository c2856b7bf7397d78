"""Paper trading against the simulated venue, with the real ccxt client, and against the backtest of the same bars."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import orjson
import pytest

from marketmakerl import Fees, backtest
from marketmakerl.backtesting.session import Session, set_up
from marketmakerl.cli.main import run
from marketmakerl.core.clock import ManualClock
from marketmakerl.core.errors import ConfigError, DataNotFoundError, ExchangeUnreachableError
from marketmakerl.core.instruments import lookup
from marketmakerl.data.bars import compile_bars
from marketmakerl.data.real_market_data import PublicClient
from marketmakerl.models.bar_calibration import estimate_from_bars
from marketmakerl.realtime.exchange_sim import ExchangeSim
from marketmakerl.realtime.journal import read_journal
from marketmakerl.realtime.paper import PaperConfig, PaperSession

INSTRUMENT = lookup("sim", "BTC/USDT")
SESSION = Session(fees=Fees(2, 5), warmup_bars=60)


def played(tmp_path, iterations=30, name="s.jsonl", session=SESSION, seed=3, **client_options):
    """Run a session on the simulated venue, one bar a poll; return its journal, its metrics and the venue's bars."""
    config = PaperConfig("sim", "BTC/USDT", "1m", iterations, 0.0, session, tier="T2")
    with ExchangeSim.embedded(seed, history_bars=64) as sim:
        client = PublicClient("sim", base_url=sim.base_url, clock=sim.clock, **client_options)
        with client:
            start_ms = client.server_time_ms()
            paper = PaperSession(
                config, client, INSTRUMENT, tmp_path / name, clock=sim.clock, step_venue=lambda: sim.step(60)
            )  # fmt: skip
            metrics = paper.run()
            bars = client.klines("BTC/USDT", "1m", start_ms - 62 * 60_000)
    return read_journal(tmp_path / name), metrics, bars


def test_paper_does_what_the_backtest_of_the_same_bars_does(tmp_path):
    journal, metrics, bars = played(tmp_path, iterations=60)
    events = [line["bar"] for line in journal if line["type"] == "event"]
    assert len(events) == 60
    first = int(np.flatnonzero(bars["ts_ms"] == events[0]["ts_ms"])[0])
    warm_up = compile_bars(bars.iloc[: first + 1].reset_index(drop=True), INSTRUMENT, interval_ms=60_000, tier="T2")
    setup = set_up(SESSION, INSTRUMENT, events[0]["close"], estimate_from_bars(warm_up))
    whole = compile_bars(bars.iloc[first:].reset_index(drop=True), INSTRUMENT, interval_ms=60_000, tier="T2")
    result = backtest(
        whole.slice_rows(3, len(whole)), setup.model, fees=SESSION.fees, order_qty=setup.order_qty, cash=setup.cash
    )
    fills = [line for line in journal if line["type"] == "fill"]
    assert len(fills) > 10
    assert [(f["price"], f["qty"], f["side"] == "buy") for f in fills] == [
        (f.price, pytest.approx(f.qty), f.side > 0) for f in result.fills.itertuples()
    ]
    assert metrics.pnl == pytest.approx(result.metrics.pnl, abs=1e-9)
    quotes = [line["equity"] for line in journal if line["type"] == "quote"]
    np.testing.assert_allclose(quotes, result.equity["equity"].to_numpy(), rtol=1e-12)


@pytest.mark.parametrize("model", ["glft", "cartea_jaimungal"])
def test_models_that_solve_equations_trade_on_paper(tmp_path, model):
    journal, metrics, _ = played(tmp_path, session=replace(SESSION, model=model))
    assert journal[0]["parameters"]["model"]["id"] == model
    assert metrics.fills > 0


def test_the_journal_tells_the_whole_story(tmp_path):
    journal, metrics, _ = played(tmp_path)
    kinds = [line["type"] for line in journal]
    assert kinds[0] == "open"
    assert kinds[1:3] == ["event", "quote"]  # the first quote comes before the first wait
    assert kinds[-1] == "close"
    assert kinds.count("book") == 30
    assert kinds.count("event") == kinds.count("quote") == 30
    assert journal[0]["tier"] == "T2"
    assert journal[-1]["reason"] == "finished"
    assert journal[-1]["metrics"] == metrics.model_dump()
    for line in journal:
        if line["type"] == "quote" and line["bid"] and line["ask"]:
            assert line["bid"]["price"] < line["mid"] < line["ask"]["price"]


def test_the_same_session_gives_the_same_bytes(tmp_path):
    played(tmp_path, name="a.jsonl")
    played(tmp_path, name="b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_venue_that_goes_away_ends_the_session_with_a_closing_record(tmp_path):
    config = PaperConfig("sim", "BTC/USDT", "1m", 50, 0.0, SESSION, tier="T2")
    sim = ExchangeSim.embedded(1, history_bars=64).start()
    polls = 0

    def step():
        nonlocal polls
        polls += 1
        if polls == 4:
            sim.stop()
        else:
            sim.step(60)

    with PublicClient("sim", base_url=sim.base_url, clock=sim.clock, timeout_s=0.5) as client:
        paper = PaperSession(config, client, INSTRUMENT, tmp_path / "s.jsonl", clock=sim.clock, step_venue=step)
        paper._client = Impatient(client)
        with pytest.raises(ExchangeUnreachableError):
            paper.run()
    kinds = [line["type"] for line in read_journal(tmp_path / "s.jsonl")]
    assert kinds[-1] == "close"
    assert kinds.count("error") == 5


class Impatient:
    """The client, but a venue that is gone is not asked three times over ten seconds."""

    def __init__(self, client):
        self._client = client
        self.gone = False

    def __getattr__(self, name):
        def call(*args, **kwargs):
            if self.gone:
                raise ExchangeUnreachableError("sim does not answer")
            try:
                return getattr(self._client, name)(*args, **kwargs)
            except ExchangeUnreachableError:
                self.gone = True
                raise

        return call


def test_too_little_history_is_refused_before_a_journal_is_opened(tmp_path):
    config = PaperConfig("sim", "BTC/USDT", "1m", 5, 0.0, SESSION, tier="T2")
    with (
        ExchangeSim.embedded(1, history_bars=1) as sim,
        PublicClient("sim", base_url=sim.base_url, clock=ManualClock(sim.clock.now_ns())) as client,
    ):
        paper = PaperSession(config, client, INSTRUMENT, tmp_path / "s.jsonl", clock=sim.clock)
        with pytest.raises(DataNotFoundError, match="bars of BTC/USDT"):
            paper.run()
    assert not (tmp_path / "s.jsonl").exists()


@pytest.mark.parametrize("change", [{"iterations": 0}, {"poll_s": -1.0}, {"timeframe": "soon"}])
def test_bad_configuration(change):
    fields = {"exchange": "sim", "symbol": "BTC/USDT", "timeframe": "1m", "iterations": 5, "poll_s": 0.0}
    with pytest.raises(ConfigError):
        PaperConfig(**fields | change, session=SESSION).check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tmp_path, number):
    command = [
        sys.executable, "-m", "marketmakerl.cli.main", "realtime-paper", "--iterations", "100000",
        "--artifacts", str(tmp_path), "--warmup-bars", "60",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not [p for p in tmp_path.glob("realtime/*.jsonl") if p.read_bytes().count(b"\n") > 10]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    (path,) = tmp_path.glob("realtime/*.jsonl")
    last = read_journal(path)[-1]
    assert (last["type"], last["reason"]) == ("close", "stopped")
    assert "No order was sent" in out


def test_command_prints_one_json_document(capfd, tmp_path):
    argv = ["realtime-paper", "--iterations", "3", "--artifacts", str(tmp_path), "--json", "--model", "rl_enhanced"]
    assert run(argv) == 0
    document = orjson.loads(capfd.readouterr().out)
    assert document["tier"] == "T2"
    assert document["metrics"]["orders"] > 0


def test_bars_that_closed_unseen_fill_nothing(tmp_path):
    """Ten bars a poll: only the first can meet quotes that were there; the rest were over before anybody quoted."""
    config = PaperConfig("sim", "BTC/USDT", "1m", 12, 0.0, SESSION, tier="T2")
    with (
        ExchangeSim.embedded(3, history_bars=64) as sim,
        PublicClient("sim", base_url=sim.base_url, clock=sim.clock) as client,
    ):
        paper = PaperSession(
            config, client, INSTRUMENT, tmp_path / "s.jsonl", clock=sim.clock, step_venue=lambda: sim.step(600)
        )  # fmt: skip
        paper.run()
    journal = read_journal(tmp_path / "s.jsonl")
    gap, filled = False, 0
    for line in journal:
        if line["type"] == "event":
            gap = line["gap"]
        if line["type"] == "fill":
            filled += 1
            assert not gap
    assert filled > 0
    assert sum(line["type"] == "event" and line["gap"] for line in journal) == 11 * 9


def test_an_answer_that_makes_no_sense_is_survived(tmp_path):
    from marketmakerl.core.errors import DataQualityError

    config = PaperConfig("sim", "BTC/USDT", "1m", 6, 0.0, SESSION, tier="T2")
    with (
        ExchangeSim.embedded(3, history_bars=64) as sim,
        PublicClient("sim", base_url=sim.base_url, clock=sim.clock) as client,
    ):
        paper = PaperSession(
            config, client, INSTRUMENT, tmp_path / "s.jsonl", clock=sim.clock, step_venue=lambda: sim.step(60)
        )  # fmt: skip
        paper._client = CrossedOnce(client, DataQualityError("the book is crossed"))
        paper.run()
    kinds = [line["type"] for line in read_journal(tmp_path / "s.jsonl")]
    assert kinds.count("error") == 1
    assert kinds.count("book") == 5
    assert kinds[-1] == "close"


class CrossedOnce:
    """The client, but its third book is crossed."""

    def __init__(self, client, error):
        self._client, self._error, self._books = client, error, 0

    def __getattr__(self, name):
        if name == "order_book":
            self._books += 1
            if self._books == 3:
                raise self._error
        return getattr(self._client, name)
