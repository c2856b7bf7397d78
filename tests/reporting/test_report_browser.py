"""The report in a real browser: it draws, it asks nobody for anything, and what can be clicked works.

A page takes the browser seconds to draw, so a test asks of one page all that it can show.
"""

import html
import re
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from marketmakerl.reporting.campaign_report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DARK, LIGHT = 0, 1  # blink's names for prefers-color-scheme
MOUSE = "primaryHoverType=2,availableHoverTypes=2"  # headless, it would be a touch screen

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed (apt-get install chromium)"),
]

# Runs after the page's own script and leaves what it saw in the page, for --dump-dom.
PROBE = """
<script>
document.addEventListener("ready", () => {
const seen = { steps: [] };
const charts = [...document.querySelectorAll("[data-figure]")];
seen.charts = Object.fromEntries(charts.map((chart) => [chart.dataset.figure, chart.outerHTML]));
const look = () => ({
  focus: document.getElementById("run").value,
  label: document.querySelector(".in-focus").textContent,
  focused: [...document.querySelectorAll("tr.focused")].map((row) => row.dataset.run),
  order: [...document.querySelectorAll("#runs-table tbody tr")].map((row) => row.dataset.run),
  sorted: [...document.querySelectorAll("[aria-sort]")].map((th) => `${th.textContent} ${th.ariaSort}`),
  inventory: document.querySelector("[data-figure=inventory]").data.map((trace) => trace.name),
  drawn: document.querySelector("[data-figure=equity]").data.length,
  fills: document.querySelectorAll("[data-figure=equity] .scatterlayer .js-fill").length,
  last: document.querySelector("[data-figure=equity]").data.at(-1).name,
  stroke: document.querySelector("[data-figure=equity]").data.at(-1).line.color,
  axis: document.querySelector("[data-figure=equity] .xtick text").style.fill,
});
const click = (selector) => { document.querySelector(selector).click(); seen.steps.push(look()); };
seen.steps.push(look());
for (const selector of CLICKS) click(selector);
const entries = performance.getEntriesByType("resource").map((entry) => entry.name);
seen.fetched = entries.filter((name) => !name.startsWith("data:"));
seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const style = getComputedStyle(document.documentElement);
seen.colours = `${style.color} on ${style.backgroundColor}`;
const out = document.createElement("pre");
out.id = "probe";
out.textContent = JSON.stringify(seen);
document.body.append(out);
});
</script>
"""


def browse(page: Path, tmp_path: Path, *, scheme: int = LIGHT, size: str = "1280,900") -> tuple[str, list[str]]:
    """Return the page after its scripts ran, and what they said on the console."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--disable-dev-shm-usage", "--no-first-run", "--enable-logging=stderr", "--virtual-time-budget=10000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={size}"),
            *(f"--blink-settings=preferredColorScheme={scheme},{MOUSE}", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "<html" in done.stdout, done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def probed(folder: Path, tmp_path: Path, *clicks: str, **how):
    """Return the page after those clicks, and what the probe saw before them and after each."""
    page = write_report(folder)
    text = page.read_text(encoding="utf-8")
    probe = PROBE.replace("CLICKS", orjson.dumps(clicks).decode())
    (folder / "probed.html").write_text(text.replace("</body>", probe + "</body>"), encoding="utf-8")
    dom, console = browse(folder / "probed.html", tmp_path, **how)
    assert console == []
    assert 'data-ready="yes"' in dom
    before, found, after = re.split(r'<pre id="probe">(.*?)</pre>', dom, maxsplit=1, flags=re.DOTALL)
    return before + after, orjson.loads(html.unescape(found))


def shapes(seen):
    """Return how many line or bar shapes each chart held before anything was clicked."""
    return {name: len(re.findall(r'class="(?:js-line|point)[ "]', chart)) for name, chart in seen["charts"].items()}


def in_the_scheme(seen, page, stroke, axis):
    assert seen["colours"] == page
    assert seen["steps"][0]["stroke"] == stroke
    assert seen["steps"][0]["axis"] == axis


def test_it_draws_focuses_and_sorts_without_a_word_on_the_console(campaign_of, run_of, error_of, tmp_path):
    returns, sharpes = [0.01, -0.05, 0.02, 0.0], [2.0, -10.0, None, 11.0]
    runs = [run_of(i, return_pct=returns[i], sharpe=sharpes[i]) for i in range(4)]
    sharpe = "#runs-table thead th:nth-child(7) button"
    run = "#runs-table thead th:nth-child(1) button"
    clicks = ("[data-focus=run-002]", sharpe, sharpe, run)
    dom, seen = probed(campaign_of([*runs, error_of(4)]), tmp_path, *clicks)
    before, after, up, down, by_name = seen["steps"]

    assert dom.count('class="main-svg"') >= 4
    found = shapes(seen)
    assert found["equity"] == found["drawdown"] == 4
    assert found["inventory"] == 1
    assert found["attribution"] == 4 * 4  # spread, inventory, fees, and the mark of pnl
    # And nothing else: plotly's own list has a button that uploads the chart.
    assert set(re.findall(r'data-title="(.*?)"', dom)) == {"Download plot as a PNG", "Reset axes"}
    in_the_scheme(seen, "rgb(27, 31, 36) on rgb(255, 255, 255)", "#0072b2", "rgb(27, 31, 36)")

    # A click brings a run into focus.
    assert before["focus"] == before["label"] == before["last"] == "run-001"  # the worst
    assert before["inventory"] == before["focused"] == ["run-001"]
    assert after["focus"] == after["label"] == after["last"] == "run-002"
    assert after["inventory"] == after["focused"] == ["run-002"]

    # Headings sort both ways and keep what is undefined last.
    assert up["order"] == ["run-001", "run-000", "run-003", "run-002", "run-004"]
    assert up["sorted"] == ["Sharpe ascending"]
    assert down["order"] == ["run-003", "run-000", "run-001", "run-002", "run-004"]
    assert down["sorted"] == ["Sharpe descending"]
    assert by_name["order"] == [f"run-00{i}" for i in range(5)]
    assert by_name["sorted"] == ["Run ascending"]


def test_it_fetches_nothing_fits_a_telephone_and_takes_the_dark_scheme(campaign_of, tmp_path):
    _, seen = probed(campaign_of(3), tmp_path, size="420,900", scheme=DARK)
    assert seen["fetched"] == []
    assert seen["wide"] <= 0
    in_the_scheme(seen, "rgb(232, 235, 238) on rgb(18, 22, 27)", "#56b4e9", "rgb(232, 235, 238)")


def test_many_runs_show_bands_and_the_run_in_focus_and_hostile_text_does_nothing(
    campaign_of, run_of, error_of, tmp_path
):
    text = "</script><script>console.error('owned')</script><img src=x onerror=console.error('owned')>"
    runs = [run_of(i, settlement_currency=text) for i in range(60)]
    worst, *_, best = sorted(runs, key=lambda run: run["metrics"]["return_pct"])
    folder = campaign_of([*runs, error_of(60, text)], rows=300)
    dom, seen = probed(folder, tmp_path, f"[data-focus={best['run_id']}]")
    first, other = seen["steps"]
    for step in (first, other):
        assert step["drawn"] == 6  # four edges of bands, the median, and the run
        assert step["fills"] == 2
        assert step["inventory"] == [step["last"]] == [step["focus"]]
    assert (first["focus"], other["focus"]) == (worst["run_id"], best["run_id"])

    # The console, of which `probed` asks, would say that somebody owns it.
    assert "owned" in dom
    assert "<img" not in re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)
