"""Section: the same work in both engines, in turn, and how much faster ours is."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from bench import counts
from rich.table import Table
from work import MEANING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench import Bench
    from processes import Answer
    from rich.console import Console

GOALS = {"as": 8.0, "feed": 6.0, "grid": 8.0}
# Our variants of the 1+1 work: each is measured right after the plain one, against the same peer run.
RISK_VARIANTS = {"as, risk on": ("--risk", "on"), "as, risk on, no edge filter": ("--risk", "no-edge")}


def measure(bench: Bench, modes: Sequence[str], *, risk: bool) -> dict[str, Any]:
    """Return per work: every round's answer of both sides, medians and ratios. One failure ends that side's rounds."""
    works: dict[str, tuple[str, tuple[str, ...]]] = {mode: (mode, ()) for mode in modes}
    if risk:
        works = {"as": ("as", ())} | works | {name: ("as", options) for name, options in RISK_VARIANTS.items()}
    found: dict[str, dict[str, list[dict[str, Any]]]] = {name: {"peer": [], "ours": []} for name in works}
    for number in range(1, bench.rounds + 1):
        for name, (mode, options) in works.items():
            label = f"{name}, round {number}/{bench.rounds},"
            # A variant needs no peer run of its own: the plain work's is a minute old at most.
            peer = None if options else bench.shared_peer(label, mode, bench.rows)
            ours = bench.ours(label, mode, bench.rows, *options)
            _keep(found[name]["peer"], peer)
            _keep(found[name]["ours"], ours)
    for name, (mode, options) in works.items():
        if options:
            found[name]["peer"] = found[mode]["peer"]
    return {name: summary(sides["peer"], sides["ours"]) for name, sides in found.items()}


def _keep(rounds: list[dict[str, Any]], answer: Answer | None) -> None:
    if answer is not None:
        rounds.append(answer.data)


def summary(peer: list[dict[str, Any]], ours: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians, the ratio of medians, each round's ratio, and whether both did the same."""
    result: dict[str, Any] = {"rounds": {"peer": peer, "ours": ours}}
    for side, rounds in (("peer", peer), ("ours", ours)):
        if rounds:
            result[side] = statistics.median(one["mev_per_s"] for one in rounds)
            result[f"{side}_counts"] = counts(rounds[0])
    if peer and ours:
        result["ratio"] = result["ours"] / result["peer"]
        result["round_ratios"] = [b["mev_per_s"] / a["mev_per_s"] for a, b in zip(peer, ours, strict=False)]
    return result


def show(results: dict[str, Any], screen: Console) -> None:
    """Print the speeds, then what was done in them."""
    table = Table(title="Speed, M events/s (median of the rounds)")
    for heading in ("work", "", "peer", "ours", "ns/event", "ratio", "rounds", "goal"):
        table.add_column(heading, justify="left" if heading in {"work", ""} else "right")
    for name, result in results.items():
        ratio, goal = result.get("ratio"), GOALS.get(name)
        each = result.get("round_ratios", ())
        table.add_row(
            name,
            MEANING.get(name, ""),
            _number(result.get("peer"), 2),
            _number(result.get("ours"), 1),
            _number(1e3 / result["ours"] if "ours" in result else None, 2),
            _number(ratio, 2, "x"),
            f"{min(each):.1f}-{max(each):.1f}x" if each else "",
            "" if goal is None else f"{goal:g}x {_verdict(ratio, goal)}",
        )
    screen.print(table)
    show_counts({name: (r.get("peer_counts"), r.get("ours_counts")) for name, r in results.items()}, screen)


def show_counts(pairs: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]], screen: Console) -> None:
    """Print what each side did, peer above ours, the differing numbers marked."""
    names = ("wakeups", "submits", "cancels", "fills", "position_lots", "fee")
    table = Table(title="What was done")
    table.add_column("work")
    table.add_column("")
    for name in names:
        table.add_column(name.replace("_", ", "), justify="right")
    for work, pair in pairs.items():
        for side, mine, other in (("peer", pair[0], pair[1]), ("ours", pair[1], pair[0])):
            if mine is None:
                continue
            cells = [_cell(mine.get(name), (other or mine).get(name)) for name in names]
            table.add_row(work if side == "peer" or pair[0] is None else "", side, *cells)
        table.add_section()
    screen.print(table)


def _verdict(ratio: float | None, goal: float) -> str:
    if ratio is None:
        return ""
    return "[green]met[/green]" if ratio >= goal else "[red]missed[/red]"


def _number(value: float | None, decimals: int, unit: str = "") -> str:
    return "" if value is None else f"{value:.{decimals}f}{unit}"


def _cell(mine: float | None, other: float | None) -> str:
    if mine is None:
        return ""
    text = f"{mine:,}" if isinstance(mine, int) else f"{mine:,.6f}"
    same = other is None or abs(mine - other) < 2e-6  # fees are printed with six decimals
    return text if same else f"[yellow]{text}[/yellow]"
