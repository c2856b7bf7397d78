"""What is said of runs on ticks, made from lines of runs.jsonl alone."""

import io

from rich.console import Console

from marketmakerl.reporting.campaign_report import write_report
from marketmakerl.reporting.tick_tables import log_rows, markout_rows, markout_table, statistics_rows, tick_lines

FIRST_LINE = "Ticks: 12 rows of tier T1; queue log, order latency 0 + 0 ms."


def with_ticks(run, **log):
    quantiles = {"n": 3.0, "mean": 1.5, "p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 3.0}
    markout = {"horizon_s": 1.0, "fills": 3, "markout_bps": -1.25, "net_bps": -1.5, "standard_error_bps": None}
    empty = {"horizon_s": 5.0, "fills": 0, "markout_bps": None, "net_bps": None, "standard_error_bps": None}
    return run | {
        "tier": "T1",
        "parameters": {
            "warm_up": {"rows": 10, "seconds": 61.0},
            "estimate": {"sigma": 2.0, "k": 0.5, "bars": 60},
        },
        "ticks": {
            "first_line": FIRST_LINE,
            "run_log": {"rows": 12, "trades": 3, "gaps": 0, "snapshots": 1, "late_cancels": 2} | log,
            "feed": {"clock_offset_ns": 1_272_763_257, "receipt": "recorded", "dropped_before_snapshot": 4},
            "markouts": [{"side": 1} | markout, {"side": -1} | empty],
            "statistics": {"joined_behind_qty": quantiles, "time_to_fill_s": {**quantiles, "n": 0.0}},
        },
    }


def test_bars_have_nothing_to_say(run_of):
    assert tick_lines([run_of()], None) == []
    assert markout_table(run_of()) is None


def test_sentences_of_one_run_and_of_several(run_of):
    run = with_ticks(run_of(), rejected=7)
    rules = {"entry_latency_ms": 0.0, "response_latency_ms": 0.0}
    first, warm_up, met, feed, latency = tick_lines([run], rules)
    assert first == FIRST_LINE
    assert "first 61 s" in warm_up
    assert "beyond the mid 2 a second" in warm_up
    assert met == "Met: rows 12, trades 3, snapshots 1, gaps 0, rejected 7, late cancels 2."
    assert feed == "Feed: times of receipt shifted by +1,272.8 ms (a choice), 4 diffs before the snapshot dropped."
    run["ticks"]["feed"]["clock_offset_first_ns"] = 1_265_000_000
    assert tick_lines([run], rules)[3].startswith(
        "Feed: times of receipt shifted by +1,265.0 ms at first and +1,272.8 ms at the end, by the messages up to each "
    )
    assert "--latency-ms" in latency
    several = tick_lines([run, with_ticks(run_of(1))], {"entry_latency_ms": 1.0, "response_latency_ms": 0.0})
    assert several[0].startswith("run-000: ")
    assert "Met in all: rows 24" in several[2]
    assert len(several) == 4
    given = run | {"parameters": {"warm_up": {"rows": 0, "seconds": 0.0}, "estimate": None}}
    assert "the whole tape was traded" in tick_lines([given], rules)[1]


def test_tables(run_of):
    run = with_ticks(run_of())
    assert markout_rows(run) == [["1 s", "3", "-1.25", "-", "-1.50", "0", "-", "-", "-"]]
    assert statistics_rows(run) == [["Quantity joined behind", "3", "1.5", "1", "2", "3", "3"]]
    assert dict(log_rows([run]))["late cancels"] == ["2"]
    console = Console(file=io.StringIO(), width=80)
    console.print(markout_table(run))
    assert "-1.25" in console.file.getvalue()


def test_the_report_says_it_first_and_in_full(campaign_of, manifest_of, run_of):
    manifest = manifest_of("T1")
    manifest["config"]["setup"]["ticks"] = {"queue": "log"}
    hostile = with_ticks(run_of(0))
    hostile["ticks"]["first_line"] = FIRST_LINE + "<img>"
    text = write_report(campaign_of([hostile, with_ticks(run_of(1))], manifest=manifest)).read_text()
    assert text.index(FIRST_LINE) < text.index("<h1>")
    assert "<img>" not in text
    assert "one decision a bar" not in text
    for words in ("Markout of run-001", "Quantity joined behind", "Run log", "late cancels", "+1,272.8 ms"):
        assert words in text
