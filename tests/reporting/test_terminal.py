import re

import pytest
from rich.console import Console

from marketmakerl.reporting.summary import summarise
from marketmakerl.reporting.terminal import campaign_table


def shown(runs, width, *, colour=False):
    console = Console(width=width, force_terminal=colour, color_system="truecolor" if colour else None, no_color=False)
    with console.capture() as capture:
        console.print(campaign_table(runs, summarise(runs)))
    return capture.get()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("tier", ["T1", "T2"])
def test_it_fits_and_cuts_no_number(width, tier, run_of):
    big = {"pnl": -123_456.78, "fees_paid": 234_567.89, "fills": 1_234_567, "tier": tier}
    text = shown([run_of(0, **big), run_of(1, tier=tier)], width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "-123,45" in text
    assert "1,234,567" in text
    assert "98.7" in text


def test_wide_shows_words_and_windows_narrow_shortens_them(run_of):
    runs = [run_of(0, tier="T1"), run_of(1, tier="T1", status="failed_risk")]
    wide, narrow = shown(runs, 140), shown(runs, 80)
    assert "2024-01-01 → 2024-01-06" in wide
    assert "Max DD %" in wide
    assert wide.count("failed_risk") == 2  # its row and the sentence below
    assert "2024-01-01" in narrow
    assert "→" not in narrow
    assert " risk " in narrow


def test_synthetic_runs_are_named_by_their_seed(run_of):
    text = shown([run_of(5)], 120)
    assert "Seed" in text
    assert " 12 " in text
    assert "2024" not in text


def test_totals_and_sentence(run_of):
    text = shown([run_of(0, pnl=1000.5, fills=10), run_of(1, pnl=-2000.0, fills=20)], 120)
    total = next(line for line in text.splitlines() if line.startswith("total"))
    assert "-999.50" in total
    assert " 30 " in total
    assert "2 runs: 2 completed; pnl mean -499.75" in text
    assert "1 earned" in text


def test_errors_are_listed_as_they_are(run_of, error_of):
    text = shown([run_of(0), error_of(1, "ValueError: [red]not markup[/red]\nsecond line")], 120)
    assert "run-001: ValueError: [red]not markup[/red] second line" in text
    assert "1 completed, 1 error" in text


def test_a_campaign_of_errors_and_an_empty_one(error_of):
    assert "3 runs: 3 error." in shown([error_of(i) for i in range(3)], 80)
    assert "0 runs" in shown([], 80)


def test_undefined_values_are_dashes(run_of):
    assert " - " in shown([run_of(0, sharpe=None)], 120)


def test_many_runs_are_shown_by_their_ends(run_of, error_of):
    runs = [run_of(i, return_pct=(i * 37 % 100) / 1000) for i in range(100)] + [error_of(i) for i in range(100, 115)]
    text = shown(runs, 120)
    rows = [line for line in text.splitlines() if line.startswith("run-") and "completed" in line]
    assert len(rows) == 20
    assert [row.split()[4] for row in (rows[0], rows[-1])] == ["0.00", "9.90"]
    assert "the other 95 are in summary.csv" in text
    assert "run-109: " in text
    assert "run-110: " not in text
    assert "5 more errors" in text


def test_status_and_losses_are_coloured(run_of, error_of):
    runs = [run_of(0, pnl=-5.0), run_of(1, status="failed_risk"), error_of(2)]
    text = shown(runs, 120, colour=True)
    for code in ("\x1b[32mcompleted", "\x1b[33mfailed_risk", "\x1b[31merror"):
        assert code in text
    assert re.search(r"\x1b\[31m *-5\.00", text)
