"""Is this recording of ticks fit to be traded on? Every doubt becomes a `Finding`, as for bars in `quality.py`.

    code                severity  what it says of the row
    unusable            error     the file cannot become a tape: the row and the reason of the importer
    not_finite          error     NaN or infinity in a price or quantity
    bad_price           error     zero or less
    bad_quantity        error     negative; zero in a trade or a best quote
    bad_side            error     a side that is none
    off_tick            error     a price that is not on the instrument's tick
    off_lot             both      a quantity that is no multiple of the lot; a warning in a book's few odd levels
    conflict            error     the id of an earlier trade with another trade
    time_backwards      both      exchange time before the row ahead of it; an error from 1 s on
    receipt_backwards   warning   received before the row ahead of it
    duplicate           warning   the same trade, or the same level of one message, as an earlier row
    gap                 warning   updates are missing here: nothing is known until the next snapshot
    dropped             warning   updates that cannot be applied: before the first snapshot, or in a gap
    crossed             warning   after this message the best bid is not below the best ask
    hole                warning   more than a minute without any row (trades: an hour)
    clock_offset        warning   received before it was sent: the recorder's clock stands behind

The first twenty findings of a code are listed; `counts` has all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from marketmakerl.core.clock import NS_PER_MS, NS_PER_S, iso_utc
from marketmakerl.core.errors import DataError
from marketmakerl.core.instrument import Instrument
from marketmakerl.data.book_import import import_book
from marketmakerl.data.clock_offset import fastest_ns
from marketmakerl.data.crossed_kernel import crossed_rows
from marketmakerl.data.frame_columns import BBO_COLUMNS, BOOK_COLUMNS, OFF_LOT_SHARE, TRADE_COLUMNS
from marketmakerl.data.frames import read_columns
from marketmakerl.data.grid import REL_EPS
from marketmakerl.data.import_report import MAX_EXAMPLES
from marketmakerl.data.quality import Finding
from marketmakerl.data.row_checks import is_time, off_grid
from marketmakerl.data.tape import MORE, EventTape, Kind
from marketmakerl.data.tick_checks import check_ticks
from marketmakerl.data.trade_tape import compile_trades

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import pandas as pd

    from marketmakerl.data.quality import Severity

    Ints = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

HOLE_NS: Final = 60 * NS_PER_S
TRADE_HOLE_NS: Final = 3600 * NS_PER_S  # nobody has to trade
_OWN: Final = frozenset({"rows", "source", "clock", "tier"})  # said elsewhere in a report
MAX_BACKWARDS_NS: Final = NS_PER_S
_MAX_TICKS: Final = 2.0**53


@dataclass
class TickReport:
    """What was found in one file.

    Attributes:
        kind: book, bbo, trades, tape or hftbacktest.
        rows: of the file.
        counts: rows by (severity, code).
        findings: the first of each code, by row.
        first_ns, last_ns: span by the exchange's clock, or the recorder's where that is all there is; 0 for none.
        clock_offset_ns: what would be, or was, added to the times of receipt, at the end of the file.
        facts: whatever else the importer counted, JSON-ready.
    """

    kind: str
    rows: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    first_ns: int = 0
    last_ns: int = 0
    clock_offset_ns: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def add(
        self, code: str, severity: Severity, bad: Mask | Ints, ts_ns: Ints | None, message: Callable[[int], str]
    ) -> None:
        """Note the rows of `bad`: a mask over all rows, or their numbers; `message` takes a row."""
        rows = np.flatnonzero(bad) if bad.dtype == np.bool_ else bad
        room = MAX_EXAMPLES - self.counts[severity, code]
        self.counts[severity, code] += len(rows)
        for row in rows[: max(0, room)].tolist():
            known = ts_ns is not None and bool(is_time(ts_ns[row : row + 1]).all())
            ts_ms = int(ts_ns[row]) // NS_PER_MS if ts_ns is not None and known else None
            self.findings.append(Finding(code, severity, row, ts_ms, message(row)))

    def number(self, severity: str) -> int:
        """Return how many rows have a finding of a severity."""
        return sum(count for (of, _), count in self.counts.items() if of == severity)

    def as_dict(self) -> dict[str, Any]:
        """Return the report, JSON-ready; the keys of a klines report and more."""
        return {
            "kind": self.kind,
            "rows": self.rows,
            "first": iso_utc(self.first_ns) if self.first_ns else None,
            "last": iso_utc(self.last_ns) if self.last_ns else None,
            "clock_offset_ns": self.clock_offset_ns,
            "errors": self.number("error"),
            "warnings": self.number("warning"),
            "counts": {f"{severity} {code}": count for (severity, code), count in self.counts.items() if count},
            "facts": self.facts,
            "findings": [vars(finding) for finding in sorted(self.findings, key=lambda finding: finding.row)],
        }


def check_frame(frame: pd.DataFrame, kind: str, instrument: Instrument | None) -> TickReport:
    """Check a frame of book, bbo or trades (the columns of `EventTape.from_book`).

    Args:
        frame: it is not changed.
        kind: "book", "bbo" or "trades".
        instrument: tick and lot; None leaves that check out.

    Raises:
        DataFormatError: no rows, a column missing or of the wrong type.
    """
    columns = {"book": BOOK_COLUMNS, "bbo": BBO_COLUMNS, "trades": TRADE_COLUMNS}[kind]
    column = read_columns(frame, columns, kind)
    report = TickReport(kind, len(frame))
    ts, local = column["ts_ns"], column["ts_local_ns"]
    _check_numbers(report, kind, column, instrument)
    if kind == "trades":
        _check_trade_ids(report, frame, ts)
    _check_span(report, ts, local)
    _check_times(report, kind, column)
    if not report.number("error"):
        _check_as_tape(report, frame, kind, instrument or _grid_of(kind, column))
    return report


def check_tape(tape: EventTape, kind: str = "tape") -> TickReport:
    """Check a tape of ticks or bars.

    Args:
        tape: what was loaded or imported.
        kind: what the file is: "tape" or "hftbacktest".
    """
    report = TickReport(kind, len(tape))
    counted = {
        name: value for name, value in tape.meta.items() if isinstance(value, int) and value and name not in _OWN
    }
    report.facts = {"instrument": tape.instrument.as_dict(), "tier": tape.tier} | counted
    report.clock_offset_ns = int(tape.meta.get("clock_offset_ns", 0))
    none = np.zeros(1, np.int64)
    if len(tape) == 0:
        report.add("unusable", "error", none, None, lambda _row: "the tape holds no events")
        return report
    ts = np.asarray(tape.ts_ns)
    _check_span(report, ts, np.asarray(tape.local_ts_ns))
    gaps = (tape.kind & ~MORE) == Kind.GAP
    report.add("gap", "warning", gaps, ts, lambda _row: "nothing is known until the next snapshot or bar")
    if tape.is_bars:
        return report
    try:
        check_ticks(tape)
    except DataError as error:
        text = str(error)
        report.add("unusable", "error", none, None, lambda _row: text)
        return report
    before = np.asarray(tape.local_ts_ns) < ts
    if before.any():
        worst = int((tape.local_ts_ns - ts).min())
        report.add(
            *("clock_offset", "warning", np.flatnonzero(before)[:1], ts),
            lambda _row: f"{int(before.sum())} rows received before they were sent, by up to {-worst} ns",
        )
    _check_holes(report, ts, ts, HOLE_NS)
    _check_crossed(report, tape, np.arange(len(tape)))
    return report


def _check_numbers(
    report: TickReport, kind: str, column: dict[str, npt.NDArray[Any]], instrument: Instrument | None
) -> None:
    ts = column["ts_ns"]
    priced = ("bid_px", "ask_px") if kind == "bbo" else ("price",)
    sized = ("bid_qty", "ask_qty") if kind == "bbo" else ("qty",)
    for name in (*priced, *sized):
        values = column[name]
        report.add("not_finite", "error", ~np.isfinite(values), ts, _told(name, values))
    for name in priced:
        values = column[name]
        report.add("bad_price", "error", values <= 0, ts, _told(name, values))
        if instrument is not None:
            off = off_grid(np.where(np.isfinite(values), values, 0.0), instrument.tick_size)
            tick = f"is not on the tick {instrument.tick_size:.10g}"
            report.add("off_tick", "error", off, ts, _told(name, values, tick))
    for name in sized:
        values = column[name]
        wrong = values < 0 if kind == "book" else values <= 0
        report.add("bad_quantity", "error", wrong, ts, _told(name, values))
        if instrument is not None:
            off = off_grid(np.where(np.isfinite(values), values, 0.0), instrument.lot_size)
            few = kind == "book" and off.sum() <= OFF_LOT_SHARE * len(off)
            lot = f"is not a multiple of the lot {instrument.lot_size:.10g}"
            severity: Severity = "warning" if few else "error"
            report.add("off_lot", severity, off, ts, _told(name, values, lot))
    if kind != "bbo":
        side = column["side"]
        known = (-1, 1) if kind == "book" else (-1, 0, 1)
        report.add("bad_side", "error", ~np.isin(side, known), ts, lambda row: f"side {side[row]}")


def _told(name: str, values: npt.NDArray[np.float64], why: str = "") -> Callable[[int], str]:
    return lambda row: f"{name} {values[row]:.12g} {why}".rstrip()


def _check_trade_ids(report: TickReport, frame: pd.DataFrame, ts: Ints) -> None:
    if "trade_id" not in frame.columns:
        return
    told = (frame["trade_id"] != -1).to_numpy()
    names = [name for name in ("trade_id", "ts_ns", "price", "qty", "side") if name in frame.columns]
    again = frame["trade_id"].duplicated().to_numpy() & told
    same = frame[names].duplicated().to_numpy() & again
    ids = frame["trade_id"].to_numpy()
    report.add("duplicate", "warning", same, ts, lambda row: f"trade {ids[row]} was there before")
    report.add("conflict", "error", again & ~same, ts, lambda row: f"trade {ids[row]} was another one before")


def _check_span(report: TickReport, ts: Ints, local: Ints) -> None:
    for times in (ts, local):
        good = times[is_time(times)]
        if len(good):
            report.first_ns, report.last_ns = int(good.min()), int(good.max())
            return


def _check_times(report: TickReport, kind: str, column: dict[str, npt.NDArray[Any]]) -> None:
    ts, local = column["ts_ns"], column["ts_local_ns"]
    told = ts != -1
    in_order = column["seq"] if "seq" in column else np.zeros(len(ts), np.int64)
    order = np.argsort(in_order, kind="stable")
    rows = order[told[order]]
    if kind == "book":
        rows = rows[~column["is_snapshot"][rows]] if not column["is_snapshot"].all() else rows
    times = ts[rows]
    back = np.maximum.accumulate(times) - times if len(times) else times
    for severity, bad in (("error", back > MAX_BACKWARDS_NS), ("warning", (back > 0) & (back <= MAX_BACKWARDS_NS))):
        behind = {
            row: f"{ns / NS_PER_MS:.3f} ms before an earlier update"
            for row, ns in zip(rows[bad].tolist(), back[bad].tolist(), strict=True)
        }
        of: Severity = "error" if severity == "error" and kind != "trades" else "warning"
        report.add("time_backwards", of, np.sort(rows[bad]), ts, behind.__getitem__)
    received = np.flatnonzero(local != -1)
    fell = received[1:][np.diff(local[received]) < 0]
    report.add("receipt_backwards", "warning", fell, ts, lambda _row: "received before the row above it")
    both = told & (local != -1)
    if kind == "book" and not column["is_snapshot"].all():
        both &= ~column["is_snapshot"]
    if both.any():
        fastest = fastest_ns((local - ts)[both])
        if fastest < 0:
            report.add(
                *("clock_offset", "warning", np.flatnonzero(both)[:1], ts),
                lambda _row: f"the fastest rows arrive {-fastest} ns before they were sent",
            )
    known = np.sort(times[is_time(times)]) if len(times) else times
    _check_holes(report, known, ts, TRADE_HOLE_NS if kind == "trades" else HOLE_NS)


def _check_holes(report: TickReport, times: Ints, ts: Ints, hole_ns: int) -> None:
    """Find holes between times in their order; `ts` has the times by row."""
    wide = np.flatnonzero(np.diff(times) > hole_ns) + 1
    told = {
        int(np.argmax(ts == times[at])): f"no row in the {(times[at] - times[at - 1]) / NS_PER_S:.1f} s before it"
        for at in wide.tolist()
    }
    report.add("hole", "warning", np.array(sorted(told), np.int64), ts, told.__getitem__)


def _check_as_tape(report: TickReport, frame: pd.DataFrame, kind: str, instrument: Instrument) -> None:
    """Compile the frame as a backtest would, and look at what came of it."""
    try:
        if kind == "trades":
            compile_trades(frame, instrument)
            return
        if kind == "bbo" and (frame["ts_ns"] == -1).all():
            frame = frame.assign(ts_ns=frame["ts_local_ns"])  # dated by the trades in a backtest; here, in order
        book = frame if kind == "book" else None
        imported = import_book(book, None, instrument, bbo_df=frame if kind == "bbo" else None, source=kind)
    except DataError as error:
        text = str(error)
        report.add("unusable", "error", np.zeros(1, np.int64), None, lambda _row: text)
        return
    tape, meta = imported.tape, imported.tape.meta
    report.clock_offset_ns = int(meta["clock_offset_ns"])
    report.facts = {
        name: value for name, value in meta.items() if isinstance(value, (int, str)) and value and name not in _OWN
    }
    seq = frame["seq"].to_numpy()
    order = np.argsort(seq, kind="stable")
    row_of = order[np.minimum(np.searchsorted(seq[order], imported.seq), len(order) - 1)]
    ts = frame["ts_ns"].to_numpy(np.int64)
    gaps = row_of[(tape.kind & ~MORE) == Kind.GAP]
    report.add("gap", "warning", gaps, ts, lambda row: f"update {seq[row]} does not follow the one before")
    for name in ("dropped_before_snapshot", "dropped_in_gaps"):
        if count := int(meta.get(name, 0)):
            text = f"{count} updates {name.removeprefix('dropped_').replace('_', ' ')} cannot be applied"
            report.add("dropped", "warning", np.zeros(1, np.int64), None, {0: text}.__getitem__)
    if kind == "book":
        again = frame.duplicated(["seq", "is_snapshot", "side", "price"]).to_numpy()
        report.add("duplicate", "warning", again, ts, lambda row: f"update {seq[row]} names this level again")
    _check_crossed(report, tape, row_of)


def _check_crossed(report: TickReport, tape: EventTape, row_of: Ints) -> None:
    bad = crossed_rows(tape)
    price = tape.instrument.price
    by_row = {int(row_of[row]): (bid, ask) for row, bid, ask in bad.tolist()}
    rows = np.array(sorted(by_row), np.int64)
    ts = np.zeros(int(row_of.max(initial=0)) + 1, np.int64)
    ts[row_of] = tape.ts_ns
    report.add(
        *("crossed", "warning", rows, ts),
        lambda row: f"best bid {price(by_row[row][0]):.10g}, best ask {price(by_row[row][1]):.10g}",
    )


def _grid_of(kind: str, column: dict[str, npt.NDArray[Any]]) -> Instrument:
    """Return an instrument that the numbers themselves lie on: the coarsest decimals that hold all of them."""
    bbo = kind == "bbo"
    px = np.concatenate([column["bid_px"], column["ask_px"]]) if bbo else column["price"]
    qty = np.concatenate([column["bid_qty"], column["ask_qty"]]) if bbo else column["qty"]
    return Instrument("unknown/unknown", decimal_step(px), decimal_step(qty))


def decimal_step(values: npt.NDArray[np.float64]) -> float:
    """Return the largest of 1, 0.1, ... 1e-12 that all values are multiples of; 1e-12 where none is."""
    values = values[np.isfinite(values)]
    for digits in range(12):
        step = float(f"1e-{digits}")
        exact = values / step
        if values.max(initial=0.0) / step < _MAX_TICKS and (np.abs(exact - np.rint(exact)) <= REL_EPS * exact).all():
            return step
    return 1e-12
