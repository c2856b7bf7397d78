"""What a run on ticks met, how its fills turned out and where it stood in the queue, for terminal and report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table

from marketmakerl.core.clock import NS_PER_MS
from marketmakerl.reporting import formats

if TYPE_CHECKING:
    from marketmakerl.reporting.summary import Run

_SIDES: Final = {1: "bought", -1: "sold"}
_LOG: Final = {  # in the order they are told
    "rows": "rows",
    "trades": "trades",
    "snapshots": "snapshots",
    "gaps": "gaps",
    "crossed_messages": "crossed messages",
    "decisions": "decisions",
    "orders": "orders",
    "cancels": "cancels",
    "replaces": "replaces",
    "rejected": "rejected",
    "late_cancels": "late cancels",
    "replace_rejected": "refused replaces",
    "requests_in_flight_at_end": "requests in flight at the end",
}
_ALWAYS: Final = ("rows", "trades", "snapshots", "gaps", "late_cancels")
_FEED: Final = {
    "dropped_before_snapshot": "diffs before the snapshot dropped",
    "dropped_in_gaps": "diffs in gaps dropped",
    "bbo_undated": "best prices before the first trade dropped, for nothing dates them",
    "exchange_time_clamped": "exchange times raised",
    "receipt_raised": "times of receipt raised",
    "off_lot_rounded_up": "odd lots rounded up",
}
_STATISTICS: Final = (
    ("joined_behind_qty", "Quantity joined behind"),
    ("time_to_fill_s", "Time a maker fill had rested, s"),
    ("entry_latency_s", "Time to the exchange, s"),
)
_QUANTILES: Final = ("mean", "p50", "p90", "p99", "max")


def of_ticks(runs: list[Run]) -> list[Run]:
    """Return the runs that traded ticks and came to an end."""
    return [run for run in runs if run.get("ticks")]


def tick_lines(runs: list[Run], rules: dict[str, Any] | None) -> list[str]:
    """Return sentences about a campaign on ticks: evidence, warm-up, what the feed held; none for one on bars.

    Args:
        runs: the lines of runs.jsonl.
        rules: `setup.ticks` of the manifest's configuration.
    """
    runs = of_ticks(runs)
    if not runs:
        return []
    first = runs[0]
    lines = [str(first["ticks"]["first_line"]), warm_up_line(first)]
    if len(runs) > 1:
        lines[0] = f"{first['run_id']}: {lines[0]}"
        lines[1] = f"{first['run_id']}: {lines[1]}"
    lines.append(f"Met{' in all' if len(runs) > 1 else ''}: {', '.join(_log_parts(runs))}.")
    lines.append(feed_line(first))
    if rules and not rules["entry_latency_ms"] and not rules["response_latency_ms"]:
        lines.append("No order latency was assumed, which flatters: --latency-ms says how long an order takes.")
    return [line for line in lines if line]


def calibration_line(run: Run) -> str:
    """Return which calibration set the parameters of a run, "" for none."""
    given = (run.get("parameters") or {}).get("calibration")
    if not given:
        return ""
    return f"Parameters of {given['file']}, made of data up to {given['last']}; only what came after it was traded."


def warm_up_line(run: Run) -> str:
    """Return what set the parameters of a run."""
    warm_up, estimate = run["parameters"]["warm_up"], run["parameters"]["estimate"]
    if given := calibration_line(run):
        return given
    if estimate is None:
        return "No warm-up: every parameter was given, and the whole tape was traded."
    return (
        f"Warm-up: the first {warm_up['seconds']:,.0f} s set the parameters (volatility {estimate['sigma']:.4g} per "
        f"root second, mean reach of trades beyond the mid {1 / estimate['k']:.4g} a second) and were not traded."
    )


def feed_line(run: Run) -> str:
    """Return what the importer did to the feed; "" if it had nothing to say."""
    feed = run["ticks"]["feed"]
    parts = []
    if feed.get("clock_offset_ns"):
        last, first = feed["clock_offset_ns"], feed.get("clock_offset_first_ns", feed["clock_offset_ns"])
        by = f"{last / NS_PER_MS:+,.1f} ms"
        if first != last:
            by = f"{first / NS_PER_MS:+,.1f} ms at first and {by} at the end, by the messages up to each"
        parts.append(f"times of receipt shifted by {by} (a choice)")
    if feed.get("receipt") not in {None, "recorded"}:
        parts.append(f"time of receipt {feed['receipt']}")
    parts += [f"{feed[name]:,} {words}" for name, words in _FEED.items() if feed.get(name)]
    return f"Feed: {', '.join(parts)}." if parts else ""


def log_rows(runs: list[Run]) -> list[tuple[str, list[str]]]:
    """Return the run log as a table: what was counted, and how often in each run."""
    return [
        (words, [formats.count(run["ticks"]["run_log"].get(name)) for run in runs])
        for name, words in _LOG.items()
        if name in _ALWAYS or any(run["ticks"]["run_log"].get(name) for run in runs)
    ]


def markout_rows(run: Run) -> list[list[str]]:
    """Return one row a horizon: horizon, then fills, markout, standard error and net markout of bids, then of asks."""
    entries = run["ticks"]["markouts"]
    horizons = sorted({entry["horizon_s"] for entry in entries if entry["fills"]})
    by_key = {(entry["side"], entry["horizon_s"]): entry for entry in entries}
    return [
        [f"{horizon:g} s", *(cell for side in _SIDES for cell in _markout_cells(by_key.get((side, horizon))))]
        for horizon in horizons
    ]


def statistics_rows(run: Run) -> list[list[str]]:
    """Return one row a statistic of queue and latency: name, count, mean and quantiles; none without a sample."""
    statistics = run["ticks"]["statistics"]
    return [
        [name, formats.count(int(values["n"])), *(formats.quantity(values[quantile]) for quantile in _QUANTILES)]
        for key, name in _STATISTICS
        if (values := statistics.get(key)) and values["n"]
    ]


def markout_table(run: Run) -> Table | None:
    """Return the markouts of a run for the terminal; None on bars, or if nothing filled."""
    rows = markout_rows(run) if run.get("ticks") else []
    if not rows:
        return None
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.title = "Markout, bps of what was traded (net: less fees)"
    table.title_justify = "left"
    for heading in ("After", "Bought", "gross", "± s.e.", "net", "Sold", "gross", "± s.e.", "net"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _markout_cells(entry: dict[str, Any] | None) -> list[str]:
    if entry is None or not entry["fills"]:
        return ["0", *[formats.NOTHING] * 3]
    numbers = (entry[name] for name in ("markout_bps", "standard_error_bps", "net_bps"))
    return [formats.count(int(entry["fills"])), *(formats.ratio(number) for number in numbers)]


def _log_parts(runs: list[Run]) -> list[str]:
    totals = {name: sum(int(run["ticks"]["run_log"].get(name, 0)) for run in runs) for name in _LOG}
    return [f"{_LOG[name]} {total:,}" for name, total in totals.items() if total or name in _ALWAYS]
