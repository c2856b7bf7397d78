"""An ablation in the terminal, and the words and numbers that its report shares with it."""

from __future__ import annotations

from typing import Any, Final

from rich import box
from rich.table import Table

from marketmakerl.reporting import formats

Document = dict[str, Any]

AMONG_ALL: Final = "among all"
IDLE: Final = ("never acted", "changed no fill")


def acting(entry: Document, mode: str = AMONG_ALL) -> list[Document]:
    """Return the effects of a setting that changed a fill, in the order of the controls."""
    return [effect for effect in entry["effects"] if effect["mode"] == mode and effect["verdict"] not in IDLE]


def idle(entry: Document, verdict: str) -> list[str]:
    """Return the controls of a setting that never acted, or that changed no fill."""
    return [
        effect["control"] for effect in entry["effects"] if effect["mode"] == AMONG_ALL and effect["verdict"] == verdict
    ]


def setting_sentence(entry: Document) -> str:
    """Return what a setting is, and what the model did in it."""
    on, off = entry["runs"]["all on"], entry["runs"]["all off"]
    text = (
        f"{entry['name']} bps: {entry['windows']} windows, {formats.count(entry['changes'])} equity changes of "
        f"{entry['interval_s']:g} s. All on {formats.money(on['pnl'])} in {formats.count(on['fills'])} fills, "
        f"all off {formats.money(off['pnl'])} in {formats.count(off['fills'])}."
    )
    if entry["refused"]:
        text += f" {len(entry['refused'])} windows could not be traded: {entry['refused'][0]}"
    return text


def effects_table(entry: Document, mode: str = AMONG_ALL) -> Table:
    """Return one line a control that changed a fill; a difference is with it less without it."""
    right = ("PnL", "interval", "DD", "Up, %")
    table = _table("Control" if mode == AMONG_ALL else f"Control {mode}", *right, "Verdict", right=right)
    for effect in acting(entry, mode):
        pnl = effect["pnl_bps_day"]
        table.add_row(
            effect["control"],
            bps(pnl["mean"]),
            ends(pnl),
            bps(effect["drawdown_bps"]["mean"]),
            formats.percent(effect["uptime"]["mean"], 1),
            effect["verdict"],
        )
    return table


def overall_lines(analysis: Document) -> list[str]:
    """Return what is to be said of the controls over all settings, those that help nowhere by name."""
    lines = []
    for say, text in (
        ("helps somewhere", "Help somewhere"),
        ("helps nowhere", "Acted, and help nowhere that can be told"),
        ("had nothing to do", "Changed no fill on these data, which is not to say that they are useless"),
    ):
        names = [_with_hurts(line) for line in analysis["overall"] if line["say"] == say]
        if names:
            lines.append(f"{text}: {', '.join(names)}.")
    return lines


def _with_hurts(line: Document) -> str:
    return f"{line['control']} (hurts in {len(line['hurts'])})" if line["hurts"] else str(line["control"])


def bps(value: float | None) -> str:
    """Format basis points to three digits or so."""
    if value is None:
        return formats.NOTHING
    return f"{value:z,.{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"


def ends(interval: Document) -> str:
    """Format the ends of an interval."""
    if interval["low"] is None:
        return formats.NOTHING
    return f"{bps(interval['low'])} to {bps(interval['high'])}"


def _table(*headings: str, right: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    return table
