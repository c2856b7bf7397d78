"""A tape of the messages of a capture, and what was left out of it and why.

1. A message whose exchange time and time of receipt lie an hour further apart than in the first messages is refused.
2. The second of two diffs, snapshots or trades with one id is refused.
3. Diffs and snapshots make the book, see `marketmakerl.data.book_import`; best prices are used where there is none:
   what a capture was subscribed to was known before its first line.
4. Aggregated trades are used until the first single trade comes, single ones from there on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from marketmakerl.core.clock import NS_PER_S
from marketmakerl.core.errors import DataFormatError
from marketmakerl.data.book_import import Fate, TieOrder, import_columns
from marketmakerl.data.captured_messages import Field, Heard, Ints, Messages
from marketmakerl.data.clock_offset import ASSUMED
from marketmakerl.data.frame_columns import OFF_LOT_SHARE
from marketmakerl.data.import_report import MAX_EXAMPLES, ImportReport
from marketmakerl.data.recorded_columns import BboColumns, BookColumns, TradeColumns
from marketmakerl.data.tape import MORE, EventTape, Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    from marketmakerl.core.instrument import Instrument

    Mask = npt.NDArray[np.bool_]

MAX_APART_NS: Final = 3600 * NS_PER_S
# What is normal is said by so many messages with both times, the first ones: no later line changes what is refused.
FIRST_MESSAGES: Final = 101
# A snapshot that names no symbol, in a capture of several, is this one's if its mid is so close to where it trades.
SAME_PRICE: Final = 0.02

_DIFFS = (Heard.DIFF,)
_SNAPSHOTS = (Heard.SNAPSHOT,)
_TRADES = (Heard.TRADE_BUY, Heard.TRADE_SELL)
_AGG_TRADES = (Heard.AGG_BUY, Heard.AGG_SELL)
_BBO = (Heard.BBO,)


@dataclass(frozen=True)
class TapeOptions:
    """What is the same for every format.

    Attributes:
        clock_offset_ns, tie_order, tier: see `EventTape.from_book`.
        ids_ascend: trade ids grow with time, so that they say in which order trades happened.
    """

    clock_offset_ns: Literal["auto"] | int = "auto"
    tie_order: TieOrder = "auto"
    tier: str = "T1"
    ids_ascend: bool = True


def tape_of(messages: Messages, instrument: Instrument, report: ImportReport, options: TapeOptions) -> EventTape:
    """Return the tape of a capture; `report` gets every message that is not in it.

    Raises:
        DataFormatError: nothing usable, trades alone, too many odd lots, or what `import_columns` raises.
        DataQualityError: exchange time runs back.
        ConfigError: an option that is none.
    """
    sorting = _Sorting(messages, report)
    sorting.refuse_apart()
    sorting.settle_snapshots()
    sorting.ignore(sorting.of(Heard.OTHER, Heard.OTHER_DIFF), "another symbol")
    for group in (_DIFFS, _SNAPSHOTS, _TRADES, _AGG_TRADES):
        sorting.refuse_twice(sorting.of(*group))
    sorting.settle_trades()
    trades = sorting.of(*_TRADES, *_AGG_TRADES)
    book = sorting.of(*_DIFFS, *_SNAPSHOTS)
    if book.any():
        sorting.ignore(sorting.of(*_BBO), "best prices: the book says more")
    sorting.refuse_untimed()
    bbo = sorting.of(*_BBO)
    if not (book | bbo).any():
        raise DataFormatError(
            f"{report.source}: no {'book or best prices' if trades.any() else 'market data'} of {instrument.symbol} in "
            f"{report.lines} lines ({_left_out(report)}); is this the symbol, and the format?"
        )
    _check_lots(report, len(messages.price))
    imported = import_columns(
        _book_of(messages.where(book), report) if book.any() else None,
        _trades_of(messages.where(trades), report, ids_ascend=options.ids_ascend) if trades.any() else None,
        instrument,
        bbo=_bbo_of(messages.where(bbo), report) if bbo.any() else None,
        clock_offset_ns=options.clock_offset_ns,
        tie_order=options.tie_order,
        tier=options.tier,
        source=report.source,
    )
    tape = imported.tape
    sorting.report_fates(book if book.any() else bbo, imported.fate)
    if tape.meta["exchange_time_clamped"]:
        count = tape.meta["exchange_time_clamped"]
        report.add("repaired", "time-raised", 0, "exchange time before that of an earlier update", count=count)
    if book.any() and not tape.meta["snapshots"]:
        report.add("repaired", "no-snapshot", 0, "a book without a snapshot: levels that no diff named count as empty")
    kind = tape.kind & ~MORE
    report.rows = int(((kind != Kind.SNAPSHOT) & (kind != Kind.GAP)).sum())
    tape.meta["lines_used"] = sorting.lines_left()
    tape.meta["format"] = report.format
    report.assumed += tape.meta.get(ASSUMED, [])
    return tape


class _Sorting:
    """Which messages are left, and the report on the others."""

    def __init__(self, messages: Messages, report: ImportReport) -> None:
        self.messages = messages
        self.report = report
        self.left = np.ones(len(messages.table), np.bool_)
        self.line, self.heard = messages[Field.LINE], messages[Field.HEARD]

    def of(self, *heard: Heard) -> Mask:
        """Return which messages of some kinds are left."""
        return self.left & np.isin(self.heard, heard)

    def lines_left(self) -> int:
        """Return how many lines are used."""
        return len(_different(self.line[self.left]))

    def ignore(self, dropped: Mask, kind: str) -> None:
        """Leave messages out that say nothing new."""
        self.left &= ~dropped
        count = len(_different(self.line[dropped]))
        if count:
            self.report.ignored[kind] += count

    def refuse(self, dropped: Mask, code: str, message: str) -> None:
        """Leave messages out that cannot be right; a line of which something is left counts as repaired."""
        if not dropped.any():
            return
        self.left &= ~dropped
        lines = _different(self.line[dropped])
        partly = np.isin(lines, self.line[self.left])
        note(self.report, "refused", code, lines[~partly], message)
        note(self.report, "repaired", code, lines[partly], message)

    def refuse_apart(self) -> None:
        """Refuse messages whose two times do not fit together, judged by the first ones."""
        ts, local = self.messages[Field.TS], self.messages[Field.LOCAL]
        timed = np.flatnonzero(self.left & (ts > 0) & (local > 0))
        if not len(timed):
            return
        delay = local - ts
        usual = int(np.median(delay[timed[:FIRST_MESSAGES]]))
        apart = np.zeros(len(self.left), np.bool_)
        apart[timed] = np.abs(delay[timed] - usual) > MAX_APART_NS
        # What has no exchange time must have come between the messages before and behind it that have one.
        seen = timed[~apart[timed]]
        untimed = np.flatnonzero(self.left & (ts <= 0) & (local > 0))
        if len(seen) and len(untimed):
            behind = np.searchsorted(seen, untimed)
            early = (behind > 0) & (local[untimed] < local[seen[behind - 1]] - MAX_APART_NS)
            late = (behind < len(seen)) & (
                local[untimed] > local[seen[np.minimum(behind, len(seen) - 1)]] + MAX_APART_NS
            )
            apart[untimed] = early | late
        self.refuse(apart, "time-apart", "exchange time and time of receipt are an hour further apart than at first")

    def settle_trades(self) -> None:
        """Leave out aggregated trades from the first single trade on, and single ones that an aggregate has said."""
        single, aggregated = self.of(*_TRADES), self.of(*_AGG_TRADES)
        if not single.any() or not aggregated.any():
            return
        first = int(self.line[np.argmax(single)])
        self.ignore(aggregated & (self.line >= first), "aggTrade: single trades are there")
        # Those of one taker, at one price: an aggregate has their time, price and side.
        used = self.of(*_AGG_TRADES)
        said = {(*key, heard - (Heard.AGG_BUY - Heard.TRADE_BUY)) for *key, heard in self._trade_keys(used)}
        again = np.zeros_like(single)
        rows = np.flatnonzero(single & (self.messages[Field.TS] <= self.messages[Field.TS][used].max(initial=-1)))
        again[rows] = [tuple(key) in said for key in self._trade_keys(rows)]
        self.refuse(again, "said-before", "an aggregated trade of an earlier line holds it")

    def _trade_keys(self, chosen: npt.NDArray[Any]) -> list[list[int]]:
        """Return time, price and kind of trades."""
        rows = self.messages.table[chosen]
        price = self.messages.price[rows[:, Field.START]]
        keys: list[list[int]] = np.stack([rows[:, Field.TS], price, rows[:, Field.HEARD]], axis=1).tolist()
        return keys

    def refuse_twice(self, group: Mask) -> None:
        """Refuse messages whose id an earlier line had."""
        rows = np.flatnonzero(group)
        seq = self.messages[Field.SEQ][rows]
        order = np.argsort(seq, kind="stable")
        again = np.zeros(len(self.left), np.bool_)
        again[rows[order[1:]][np.diff(seq[order]) == 0]] = True
        again &= self.messages[Field.SEQ] >= 0
        self.refuse(again, "duplicate", "an earlier line has the same id")

    def refuse_untimed(self) -> None:
        """Refuse best prices without exchange time after one that has it."""
        bbo, timed = self.of(*_BBO), self.messages[Field.TS] > 0
        if (bbo & timed).any():
            later = np.arange(len(bbo)) > np.argmax(bbo & timed)
            self.refuse(bbo & ~timed & later, "no-time", "no exchange time, which earlier ones of its kind have")

    def settle_snapshots(self) -> None:
        """Leave out snapshots of other symbols: the exchange's answers name none.

        Update ids tell symbols apart on some venues only (Binance USDM counts all symbols together), so the price
        decides first. Without prices to compare with, a snapshot that fits the ids of another symbol as well is
        refused. It is judged by what has come when our own diffs reach its id and we have seen a price of our own: a
        book is of no use before that, and what comes later changes nothing.
        """
        others, table = self.of(Heard.OTHER_DIFF), self.messages.table
        if not others.any():
            return
        ours = np.flatnonzero(self.of(*_DIFFS))
        reached = np.maximum.accumulate(table[ours, Field.SEQ])
        priced = np.flatnonzero(self.of(*_TRADES, *_AGG_TRADES, *_BBO))
        unclear, foreign = np.zeros_like(others), np.zeros_like(others)
        for row in np.flatnonzero(self.of(*_SNAPSHOTS)).tolist():
            seq = int(table[row, Field.SEQ])
            at, behind = int(np.searchsorted(reached, seq)), int(np.searchsorted(priced, row))
            prices = priced[max(0, behind - 1) : behind + 1]  # the last before it and the first after it
            end = max(row, int(ours[at]) if at < len(ours) else len(table), int(prices[0]) if len(prices) else 0) + 1
            rivals, mine = table[:end][others[:end]], table[ours[ours < end]]
            names = rivals[:, Field.PREV_SEQ]
            elsewhere = any(_spans(rivals[names == name], seq) for name in np.unique(names))
            here = len(mine) > 0 and _spans(mine, seq)
            differs = len(rivals) > 0 and len(prices) > 0 and all(self._price_differs(row, other) for other in prices)
            if differs or (elsewhere and not here):
                foreign[row] = True
            elif elsewhere and not len(prices):
                unclear[row] = True
        self.ignore(foreign, "snapshot of another symbol")
        self.refuse(unclear, "unclear-snapshot", "may be another symbol's: its id fits both, and no price tells")

    def _price_differs(self, row: int, priced: int) -> bool:
        """Return whether the mid of a snapshot is far from the price of another message."""
        there = self.messages.price[self.messages.table[priced, Field.START]]
        start, size = self.messages.table[row, [Field.START, Field.SIZE]]
        price, bid = self.messages.price[start : start + size], self.messages.bid[start : start + size]
        best = [side[0] for side in (price[bid], price[~bid]) if len(side)]
        return bool(abs(np.mean(best) / there - 1) > SAME_PRICE)

    def report_fates(self, book: Mask, fate: npt.NDArray[np.int8]) -> None:
        """Report what the book left out."""
        rows = np.flatnonzero(book)
        by_fate = {of: np.zeros(len(self.left), np.bool_) for of in Fate}
        for of, mask in by_fate.items():
            mask[rows[fate == of]] = True
        self.ignore(by_fate[Fate.EARLY], "before the first snapshot")
        self.refuse(by_fate[Fate.GAP], "sequence-gap", "does not follow the update before it; a GAP row stands here")
        self.refuse(by_fate[Fate.LOST], "in-gap", "after a sequence gap, before the next snapshot")
        self.refuse(by_fate[Fate.UNDATED], "undated", "no exchange time, and no trade before it to estimate it by")


def _different(lines: Ints) -> Ints:
    """Return each of some lines once; they come in order."""
    return lines[np.flatnonzero(np.diff(lines, prepend=-1))]


def _spans(diffs: Ints, seq: int) -> bool:
    """Return whether an id lies among those of some diffs."""
    return bool(diffs[:, Field.FIRST_SEQ].min() - 1 <= seq <= diffs[:, Field.SEQ].max())


def note(report: ImportReport, what: Literal["refused", "repaired"], code: str, lines: Ints, message: str) -> None:
    """Note many lines at once: the first ones each, the rest as a number."""
    for line in lines[:MAX_EXAMPLES].tolist():
        report.add(what, code, line, message)
    if len(lines) > MAX_EXAMPLES:
        report.add(what, code, int(lines[MAX_EXAMPLES]), message, count=len(lines) - MAX_EXAMPLES)


def _check_lots(report: ImportReport, levels: int) -> None:
    odd = report.counts["repaired", "off-lot"]
    if odd > OFF_LOT_SHARE * levels + 1:
        first = next(example for example in report.examples if example.code == "off-lot")
        raise DataFormatError(
            f"{report.source}, line {first.line}: {first.message} ({odd} such quantities of {levels}); "
            "is this its instrument, and its day?"
        )


def _left_out(report: ImportReport) -> str:
    kinds = [f"{n} refused as {code}" for (what, code), n in report.counts.most_common(3) if what == "refused"]
    kinds += [f"{n} {kind}" for kind, n in report.ignored.most_common(3)]
    return ", ".join(kinds) or "there are none"


def _local(messages: Messages) -> Ints | None:
    local = messages[Field.LOCAL]
    return None if (local < 0).all() else local


def _book_of(messages: Messages, report: ImportReport) -> BookColumns:
    snapshot = messages[Field.HEARD] == Heard.SNAPSHOT
    diffs = messages.where(~snapshot)
    late = diffs[Field.SEQ] < np.maximum.accumulate(diffs[Field.SEQ]) if len(diffs.table) else np.empty(0, np.bool_)
    note(report, "repaired", "reordered", diffs[Field.LINE][late], "stands after a later update")
    return BookColumns(
        ts=messages[Field.TS],
        local=_local(messages),
        seq=messages[Field.SEQ],
        first_seq=messages[Field.FIRST_SEQ],
        prev_seq=messages[Field.PREV_SEQ],
        snapshot=snapshot,
        start=messages[Field.START],
        size=messages[Field.SIZE],
        bid=messages.bid,
        price=messages.price,
        qty=messages.qty,
        off_lot=report.counts["repaired", "off-lot"],
        reordered=int(late.sum()),
    )


def _trades_of(messages: Messages, report: ImportReport, *, ids_ascend: bool) -> TradeColumns:
    if ids_ascend:
        parts = []
        for group in (_AGG_TRADES, _TRADES):  # the aggregates stand before the single ones, and count on their own
            part = messages.where(np.isin(messages[Field.HEARD], group))
            seq = part[Field.SEQ]
            late = seq < np.maximum.accumulate(seq) if len(seq) else np.empty(0, np.bool_)
            note(report, "repaired", "reordered", part[Field.LINE][late], "stands after a later trade")
            parts.append(part.table[np.argsort(seq, kind="stable")])
        messages = Messages(np.concatenate(parts), messages.bid, messages.price, messages.qty)
    buy = np.isin(messages[Field.HEARD], (Heard.TRADE_BUY, Heard.AGG_BUY))
    row = messages[Field.START]
    return TradeColumns(
        ts=messages[Field.TS],
        local=_local(messages),
        side=np.where(buy, 1, -1).astype(np.int64),
        price=messages.price[row],
        qty=messages.qty[row],
    )


def _bbo_of(messages: Messages, report: ImportReport) -> BboColumns:
    seq, row = messages[Field.SEQ], messages[Field.START]
    note(report, "repaired", "reordered", messages[Field.LINE][seq < np.maximum.accumulate(seq)], "after a later one")
    pair = np.stack([row, row + 1], axis=1)
    ts = messages[Field.TS]
    return BboColumns(
        ts=np.maximum(ts, -1),
        local=_local(messages),
        seq=seq,
        price=messages.price[pair],
        qty=messages.qty[pair],
    )
