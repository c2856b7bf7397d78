from rich.console import Console

from marketmakerl.reporting.paper_view import View, line, panel

FULL = View(
    iteration=7, iterations=20, best_bid=100.0, best_ask=100.5, bid=(99.5, 0.25), ask=None, bid_reason="",
    ask_reason="inventory_limit", inventory=-1.5, equity=9_990.0, pnl=-10.0, drawdown_pct=0.001, fills=3, bars=7,
    breaker="reducing", last="buy 0.25 at 99.5",
)  # fmt: skip


def drawn(view: View, width: int) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(panel(view, "sim X/Y", "T2"))
    return console.export_text()


def test_the_panel_shows_quotes_reasons_and_that_nothing_is_sent():
    text = drawn(FULL, 80)
    for part in ("0.25 @ 99.5", "none (inventory_limit)", "-10.00", "reducing", "poll 7/20", "no order is sent", "T2"):
        assert part in text, part
    assert max(len(row) for row in text.splitlines()) <= 80


def test_the_line_says_the_same_and_an_empty_book_is_no_error():
    assert "bid 0.25 @ 99.5" in line(FULL)
    empty = View(**{**vars(FULL), "best_bid": None, "best_ask": None})
    assert "book empty" in line(empty)
    assert "market bid" in drawn(empty, 80)
