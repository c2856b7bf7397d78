"""Section: the same fills. With the risk-averse queue, integers only, both engines must agree on every one of them.

With the log-probability queue they may part: the peer rounds what is left of a trade to whole lots, ours rounds down,
so that it never fills what was not there.

No taker order, no partial fill and no latency series: rules that this work does not touch are not compared here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from bench import counts
from rich.table import Table
from speed import show_counts

if TYPE_CHECKING:
    from pathlib import Path

    from bench import Bench
    from rich.console import Console

MODES = ("as", "feed", "grid")
QUEUES = ("risk_averse", "log2")
MUST_AGREE = "risk_averse"


def measure(bench: Bench) -> dict[str, Any]:
    """Return per work and queue model the counts of both sides and how their lists of fills compare."""
    if bench.peer is None:
        return {}
    results, tail = {}, seen_after_the_end(bench.feed(bench.rows))
    for queue in QUEUES:
        for mode in MODES:
            name = f"{mode}, {queue}"
            files = {side: bench.processes.logs / f"fills-{mode}-{queue}-{side}.npy" for side in ("peer", "ours")}
            options = ("--queue", queue, "--repeat", 1, "--fills")
            peer = bench.our_peer(name, "run", mode, "--feed", bench.feed(bench.rows), *options, files["peer"])
            ours = bench.ours(name, mode, bench.rows, *options, files["ours"])
            if peer is None or ours is None:
                continue
            results[name] = {
                "peer_counts": counts(peer.data),
                "ours_counts": counts(ours.data),
                **compare(np.load(files["peer"]), np.load(files["ours"])),
            }
            if queue == MUST_AGREE and not agrees(results[name], tail):
                bench.processes.fail(f"{name}: the two engines differ")
    return results


def seen_after_the_end(feed: Path) -> int:
    """Return how many times of receipt lie after the last row's exchange time: the peer still wakes, ours has ended."""
    rows = np.load(feed, mmap_mode="r")[-10_000:]
    return len(np.unique(rows["lts"][rows["lts"] > rows["ts"][-1]]))


def agrees(result: dict[str, Any], tail: int) -> bool:
    """Return whether both engines did the same, to the lot and the nanosecond, `tail` wakes at the end apart."""
    peer, ours = dict(result["peer_counts"]), dict(result["ours_counts"])
    if not 0 <= peer.pop("wakeups") - ours.pop("wakeups") <= tail:
        return False
    same_fee = abs(peer.pop("fee") - ours.pop("fee")) < 2e-6
    return peer == ours and same_fee and result["only_peer"] == result["only_ours"] == 0


def compare(peer: Any, ours: Any) -> dict[str, Any]:
    """Return how many fills (time, side, tick, lots) are common to both, and the first that is not."""
    a, b = sorted(map(tuple, peer.tolist())), sorted(map(tuple, ours.tolist()))
    common = set(a) & set(b)
    apart = sorted((*row, side) for side, rows in (("peer", a), ("ours", b)) for row in rows if row not in common)
    return {
        "common": len(common),
        "only_peer": sum(row[-1] == "peer" for row in apart),
        "only_ours": sum(row[-1] == "ours" for row in apart),
        "first_apart": list(apart[0]) if apart else None,
    }


def show(results: dict[str, Any], screen: Console) -> None:
    """Print counts and fills of both sides."""
    if not results:
        return
    show_counts({name: (r["peer_counts"], r["ours_counts"]) for name, r in results.items()}, screen)
    table = Table(title="Fills: same time, side, price and quantity")
    for heading in ("work, queue", "common", "only peer", "only ours", "first apart: ns, side, tick, lots"):
        table.add_column(heading, justify="left" if heading[0] in "wf" else "right")
    for name, result in results.items():
        first = result["first_apart"]
        table.add_row(
            name,
            f"{result['common']:,}",
            f"{result['only_peer']:,}",
            f"{result['only_ours']:,}",
            "[green]none[/green]" if first is None else ", ".join(map(str, first)),
        )
    screen.print(table)
