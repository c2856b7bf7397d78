import base64
import html
import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import numpy as np
import orjson
import pytest

from marketmakerl.core.artifacts import write_jsonl
from marketmakerl.core.errors import DataFormatError, DataNotFoundError
from marketmakerl.reporting.campaign_report import MOST_BANDED, MOST_DRAWN, write_report
from marketmakerl.reporting.curves import read_curves
from marketmakerl.reporting.page import json_for_html

HOSTILE = "</script><script>alert(1)</script><img src=http://evil.example/x.png onerror=alert(2)>\u2028&'\""


class Page(HTMLParser):
    """What a test asks of a page: its tags, its text without scripts, its tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.rows, self._inside = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if {"script", "style"} & set(self._inside):
            return
        self.text.append(data)
        if {"td", "th"} & set(self._inside):
            self.rows[-1][-1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def report(folder):
    return write_report(folder).read_text(encoding="utf-8")


def without_plotly(text):
    from plotly.offline import get_plotlyjs

    whole = re.search(r'<script type="text/plain" id="charts-library">(.*?)</script>', text, re.DOTALL)
    assert zlib.decompress(base64.b64decode(whole[1])).decode() == get_plotlyjs()
    return text.replace(whole[0], "")


def figures(text):
    match = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    return orjson.loads(match[1])


def unpacked(array):
    return np.frombuffer(base64.b64decode(array["bdata"]), "<f4")


def row_of(page, run_id):
    return next(row for row in page.rows if row and row[0] == run_id)


def test_the_first_line_says_what_it_is_worth(campaign_of, manifest_of, run_of):
    synthetic = report(campaign_of(1))
    recorded = campaign_of([run_of(9, tier="T1")], manifest=manifest_of("T1"))
    for text, sentence in (
        (synthetic, "Tier T2, synthetic data: a smoke test; it can never pass a research gate."),
        (report(recorded), "Tier T1, recorded exchange data"),
    ):
        first = re.search(r"<body>\s*(<p.*?</p>)", text, re.DOTALL)[1]
        assert sentence in first
        assert "fills only where the next bar trades through it, at most 10% of the bar" in first
        assert "The poorest evidence there is." in first


def test_nothing_comes_from_elsewhere(campaign_of):
    text = without_plotly(report(campaign_of(2)))
    page = Page(text)
    for _, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert re.match(r"^(data:|#|$)", attrs.get(name) or ""), (name, attrs)
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_hostile_text_stays_text(campaign_of, manifest_of, run_of, error_of):
    runs = [run_of(0, tier="T1", settlement_currency=HOSTILE), error_of(1, HOSTILE)]
    runs[0]["metrics"] |= {"fills": 0, "no_fills_because": HOSTILE}
    manifest = manifest_of("T1", symbol=f"{HOSTILE}/USDT", run_id=HOSTILE)
    manifest["data"][0]["file"] = HOSTILE
    manifest["config"]["options"]["model"] = HOSTILE
    text = without_plotly(report(campaign_of(runs, manifest=manifest)))
    assert "<script>alert" not in text
    assert "<img" not in text
    page = Page(text)
    assert not page.all("img")
    assert len(page.all("script")) == 2  # and that of the charts
    assert page.words.count("onerror=alert(2)>") >= 6  # and it is shown, not swallowed
    # plotly reads some HTML in its texts, links among them.
    assert "<img" not in html.unescape(figures(text)["equity"]["layout"]["yaxis"]["title"]["text"])
    for title in (figures(text)[name]["layout"]["yaxis"]["title"]["text"] for name in ("inventory", "attribution")):
        assert "<" not in title


def test_json_cannot_end_its_script_element():
    text = json_for_html({"a": f"<!--{HOSTILE}"})
    assert not set("<>&\u2028") & set(text)
    assert orjson.loads(str(text)) == {"a": f"<!--{HOSTILE}"}


def test_the_same_files_give_the_same_bytes(campaign_of, tmp_path):
    folder = campaign_of(3)
    first = write_report(folder).read_bytes()
    elsewhere = tmp_path / "moved"
    elsewhere.mkdir()
    for name in ("manifest.json", "runs.jsonl"):
        shutil.copy(folder / name, elsewhere / name)
    shutil.copytree(folder / "runs", elsewhere / "runs")
    assert write_report(folder).read_bytes() == first
    assert write_report(elsewhere).read_bytes() == first


def test_it_is_written_beside_its_files_and_nothing_is_left(campaign_of):
    folder = campaign_of(1)
    assert write_report(folder) == folder / "report.html"
    assert not list(folder.rglob(".*"))


def test_numbers_are_those_of_the_runs(campaign_of, run_of):
    runs = [run_of(0, pnl=-1234.5, return_pct=-0.12345, sharpe=None), run_of(1, pnl=500.0)]
    page = Page(without_plotly(report(campaign_of(runs))))
    row = row_of(page, "run-000")
    for cell in ("7", "completed", "-1,234.50", "-12.35", "-", "1,000", "123,456.79", "98.7", "0.042", "-1.25"):
        assert cell in row
    assert "Total pnl -734.50 USDT, after fees" in page.words
    assert "50 % 1 of 2, pnl > 0" in page.words
    assert "Quotes withheld, share of decisions and sides, mean of the runs: edge 12.50 %." in page.words


def test_curves_carry_what_the_files_hold(campaign_of, run_of):
    folder = campaign_of([run_of(0, pnl=250.0), run_of(1, pnl=-100.0, status="failed_risk")])
    drawn = figures(report(folder))
    for name in ("equity", "drawdown", "inventory"):
        assert [trace["meta"]["run"] for trace in drawn[name]["data"]] == ["run-000", "run-001"]
        for trace in drawn[name]["data"]:
            x, y = unpacked(trace["x"]), unpacked(trace["y"])
            assert len(x) == len(y) <= 600
            assert x[0] == 0
            assert x[-1] == pytest.approx(899 / 60)  # hours
    assert unpacked(drawn["equity"]["data"][0]["y"])[-1] == pytest.approx(2.5, rel=1e-5)
    assert (unpacked(drawn["drawdown"]["data"][1]["y"]) <= 0).all()
    assert "hours" in drawn["equity"]["layout"]["xaxis"]["title"]["text"]
    assert [t["line"]["dash"] for t in drawn["equity"]["data"]] == ["solid", "dot"]
    assert all(trace["meta"]["solo"] for trace in drawn["inventory"]["data"])


def test_bars_add_up_to_pnl(campaign_of):
    data = figures(report(campaign_of(4)))["attribution"]["data"]
    *parts, pnl = data
    assert [trace["name"] for trace in data] == ["spread", "inventory", "fees", "pnl"]
    assert np.sum([part["y"] for part in parts], axis=0) == pytest.approx(pnl["y"], abs=1e-5)


def test_funding_has_a_bar_where_there_was_any(campaign_of, run_of):
    data = figures(report(campaign_of([run_of(0, funding_pnl=-3.0)])))["attribution"]["data"]
    assert "funding" in [trace["name"] for trace in data]


def test_one_run(campaign_of):
    page = Page(without_plotly(report(campaign_of(1))))
    assert "1 run of avellaneda_stoikov on the embedded synthetic market" in page.words
    assert len([row for row in page.rows if row[0].startswith("run-")]) == 1


def test_many_runs_are_banded_and_all_in_the_table(campaign_of):
    text = report(campaign_of(60, rows=700))
    page = Page(without_plotly(text))
    drawn = figures(text)
    lines = [trace for trace in drawn["equity"]["data"] if "meta" in trace]
    bands = [trace for trace in drawn["equity"]["data"] if "meta" not in trace]
    assert len(lines) == len(page.all("option")) == MOST_DRAWN
    assert all(trace["meta"]["solo"] for trace in lines)
    assert [trace.get("name") for trace in bands if trace["showlegend"]] == [
        *("5 to 95 % of runs", "25 to 75 % of runs", "median")
    ]
    low, high, quarter, three_quarters, median = (unpacked(trace["y"]) for trace in bands)
    assert len({tuple(edge) for edge in (low, quarter, median, three_quarters, high)}) == 5
    assert (low <= quarter).all()
    assert (quarter <= median).all()
    assert (median <= three_quarters).all()
    assert (three_quarters <= high).all()
    assert len([row for row in page.rows if row[0].startswith("run-")]) == 60
    assert "The bands hold all runs. 50 runs, evenly ranked from the worst return to the best" in page.words


def test_ten_thousand_runs_are_listed_by_their_ends_and_stay_small(campaign_of, run_of, manifest_of):
    one = run_of(0)
    runs = [
        one | {"run_id": f"run-{i:05d}", "metrics": one["metrics"] | {"return_pct": i / 1e6}} for i in range(10_000)
    ]
    runs[7777]["metrics"] |= {"return_pct": -0.5, "fills": 0, "no_fills_because": "none was near"}
    manifest = manifest_of()
    manifest["config"]["tables"] = {"rule": "some", "first": 100}
    folder = campaign_of(runs[:100], rows=700, manifest=manifest)
    write_jsonl(folder / "runs.jsonl", runs)
    path = write_report(folder)
    assert path.stat().st_size < 3e6
    text = path.read_text(encoding="utf-8")
    page = Page(without_plotly(text))
    listed = {row[0] for row in page.rows if row[0].startswith("run-")}
    worst_and_best = {"run-07777", *(f"run-{i:05d}" for i in (*range(99), *range(9_950, 10_000)))}
    assert worst_and_best <= listed
    assert len(listed) < 250
    assert "10,000 runs: the 100 worst returns, the 50 best, and those drawn above; summary.csv holds all" in page.words
    assert "100 of 10,000 runs kept their curves (--tables all keeps all). The bands hold 100 runs." in page.words
    assert "Runs without a fill none was near: run-07777" in page.words
    drawn = figures(text)
    assert sum(drawn["returns"]["data"][0]["y"]) == sum(drawn["drawdowns"]["data"][0]["y"]) == 10_000
    assert len([trace for trace in drawn["equity"]["data"] if "meta" in trace]) == MOST_DRAWN


def test_bands_hold_only_what_was_kept_whatever_came_out(campaign_of, run_of, manifest_of):
    """Of the runs after the first, only those kept their curves that failed: they say nothing of all."""
    manifest = manifest_of()
    manifest["config"]["tables"] = {"rule": "some", "first": 60}
    runs = [run_of(i) for i in range(120)]
    runs[60:70] = [run_of(i, pnl=-5_000.0, return_pct=-0.5, status="failed_risk") for i in range(60, 70)]
    folder = campaign_of(runs[:70], manifest=manifest)
    write_jsonl(folder / "runs.jsonl", runs)
    text = report(folder)
    median = next(t for t in figures(text)["equity"]["data"] if t.get("name") == "median")
    low = figures(text)["equity"]["data"][0]
    assert unpacked(median["y"])[-1] > -10
    assert unpacked(low["y"])[-1] > -10
    words = Page(without_plotly(text)).words
    assert "70 of 120 runs kept their curves" in words
    assert "The bands hold 60 runs that were kept whatever came out." in words
    manifest["config"]["tables"] = {"rule": "failed", "first": 0}
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    assert not [t for t in figures(report(folder))["equity"]["data"] if "meta" not in t]


def test_more_curves_than_can_be_read_are_ranked_and_sampled(campaign_of, run_of):
    folder = campaign_of([run_of(i) for i in range(MOST_BANDED + 30)], rows=4)
    words = Page(without_plotly(report(folder))).words
    assert f"The bands hold {MOST_BANDED} of them, evenly ranked by return," in words


def test_alike_errors_are_told_once(campaign_of, error_of):
    runs = [error_of(i, "DataQualityError: 12 bars" if i % 2 else "ModelError: no") for i in range(60)]
    page = Page(report(campaign_of(runs)))
    told = {row[1]: row[0] for row in page.rows if row and row[0].startswith("run-") and len(row) == 2}
    assert set(told) == {"DataQualityError: 12 bars", "ModelError: no"}
    assert told["ModelError: no"].startswith("run-000 (seed 7), run-002 (seed 9), ")
    assert told["ModelError: no"].endswith(" and 10 more")


def test_a_run_in_error_is_in_the_table_and_has_its_reason(campaign_of, run_of, error_of):
    page = Page(without_plotly(report(campaign_of([run_of(0), error_of(1, "DataQualityError: 12 bars")]))))
    table, reasons = (row for row in page.rows if row and row[0].startswith("run-001"))
    assert len(table) == len(row_of(page, "run-000"))
    assert set(table[3:]) == {"-"}
    assert reasons == ["run-001 (seed 8)", "DataQualityError: 12 bars"]
    assert "1 completed, 0 failed on risk, 1 ended in an error" in page.words


def test_a_campaign_of_errors_draws_nothing_and_loads_no_plotly(campaign_of, error_of):
    path = write_report(campaign_of([error_of(0), error_of(1)]))
    assert path.stat().st_size < 100_000
    page = Page(path.read_text())
    assert "there is nothing to draw" in page.words
    assert not [attrs for attrs in page.all("div") if "data-figure" in attrs]


def test_zero_fills_say_why(campaign_of, run_of):
    reason = "quoted, but the market never traded through a quote"
    quiet = {"fills": 0, "no_fills_because": reason, "turnover": 0.0, "sharpe": None, "maker_share": None}
    runs = [run_of(0), run_of(1, **quiet), run_of(2, **quiet)]
    assert f"Runs without a fill {reason}: run-001, run-002" in Page(without_plotly(report(campaign_of(runs)))).words


def test_a_lost_equity_file_costs_the_curve_only(campaign_of):
    folder = campaign_of(3)
    (folder / "runs" / "run-001" / "equity.parquet").unlink()
    text = report(folder)
    assert [t["meta"]["run"] for t in figures(text)["equity"]["data"]] == ["run-000", "run-002"]
    assert row_of(Page(without_plotly(text)), "run-001")


def test_recorded_data_are_named_with_hash_rows_and_dates(campaign_of, manifest_of, run_of):
    runs = [run_of(0, tier="T1"), run_of(1, tier="T1")]
    text = report(campaign_of(runs, manifest=manifest_of("T1")))
    page = Page(without_plotly(text))
    assert "2 runs of avellaneda_stoikov on binanceusdm BTC/USDT 1m" in page.words
    row = next(row for row in page.rows if row[0] == "binanceusdm")
    for cell in ("0123456789ab…", "73,284", "2025-05-04 15:33 UTC", "2025-06-24 12:57 UTC"):
        assert cell in row
    assert "mml campaign --manifest 20250101T000000000Z-0badcafe" in page.words
    assert row_of(page, "run-001")[1] == "2024-01-06 to 2024-01-11"
    assert figures(text)["inventory"]["layout"]["yaxis"]["title"]["text"] == "Inventory, BTC"


def test_an_inverse_contract_is_counted_in_contracts(campaign_of, manifest_of, run_of):
    runs = [run_of(0, tier="T1", settlement_currency="BTC")]
    page = Page(without_plotly(report(campaign_of(runs, manifest=manifest_of("T1", symbol="BTC/USD:BTC")))))
    assert "Money in USD, quantities in contracts." in page.words


def test_a_deep_drawdown_shows_the_line_of_failure(campaign_of, run_of):
    calm = figures(report(campaign_of([run_of(0)])))
    assert "shapes" not in calm["drawdown"]["layout"]
    deep = figures(report(campaign_of([run_of(1, pnl=-3000.0)])))
    assert deep["drawdown"]["layout"]["shapes"][0]["y0"] == -40


def test_what_was_lost_between_two_samples_is_said_beside_the_chart(campaign_of, run_of):
    runs = [run_of(0, max_drawdown_pct=0.25), run_of(1, max_drawdown_pct=0.3125), run_of(2, max_drawdown_pct=0.0)]
    folder = campaign_of(runs)
    drawn = read_curves(folder / "runs" / "run-001" / "equity.parquet").drawdown.y.min()
    said = f"Deepest between samples of equity: 31.25 % (run-001, whose line goes down to {-100 * drawn:.2f} %)."
    assert said in Page(without_plotly(report(folder))).words


@pytest.mark.parametrize("more", [0.0, 1e-12, 4e-5])
def test_a_chart_that_shows_the_whole_drawdown_has_no_note(campaign_of, run_of, more):
    folder = campaign_of([run_of(0)])
    drawn = read_curves(folder / "runs" / "run-000" / "equity.parquet").drawdown.y.min()
    run = run_of(0, max_drawdown_pct=float(-drawn) + more)
    (folder / "runs.jsonl").write_bytes(orjson.dumps(run) + b"\n")
    assert "between samples" not in without_plotly(report(folder))


def test_tables_and_charts_can_be_read_aloud(campaign_of, run_of, error_of):
    page = Page(without_plotly(report(campaign_of([run_of(0), error_of(1)]))))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == 1
    for heading in page.all("th"):
        assert heading["scope"] in {"col", "row"}
    for attrs in page.all("div"):
        if "data-figure" in attrs:
            assert attrs["aria-label"]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        assert attrs.get("aria-labelledby", ids[0]) in ids
        assert attrs.get("for", ids[0]) in ids


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_stand_out_in_both_schemes(campaign_of, error_of):
    text = report(campaign_of([error_of(0)]))
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    for scheme in (light, dark):
        colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", scheme))
        for paper in (colour["paper"], colour["card"]):
            for words in ("ink", "muted", "accent", "loss", "ok-chip", "risk-chip", "error-chip"):
                assert contrast(colour[words], paper) >= 4.5, (words, paper)
            for shape in ("spread", "inventory", "funding", "fees", "failed"):
                assert contrast(colour[shape], paper) >= 3, (shape, paper)


def test_every_colour_of_a_chart_has_a_name_in_the_style(campaign_of):
    text = report(campaign_of(60, rows=20))
    named = set(re.findall(r'"var\(--([\w-]+)\)"', text))
    assert {"ink", "paper", "line", "band", "spread"} <= named
    assert named <= set(re.findall(r"--([\w-]+):", text))


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("manifest.json", None, DataNotFoundError),
        ("runs.jsonl", None, DataNotFoundError),
        ("runs.jsonl", b'{"run_id": ', DataFormatError),
        ("runs.jsonl", b'{"run_id": "run-000"}', DataFormatError),
        ("manifest.json", b"[]", DataFormatError),
        ("manifest.json", b'{"tier": "T2", "config": {}, "data": []}', DataFormatError),
    ],
)
def test_what_is_no_campaign_is_refused(name, content, error, campaign_of):
    folder = campaign_of(1)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(error):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_a_report_needs_no_engine_and_no_pandas(campaign_of):
    folder = campaign_of(1)
    code = (
        "import sys; from pathlib import Path; from marketmakerl.reporting.campaign_report import write_report; "
        f"write_report(Path({str(folder)!r})); print(sorted({{'numba', 'pandas'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
