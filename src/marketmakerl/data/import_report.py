"""What an importer did with what it was given: every row is read, refused or repaired, and the last two are located."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

MAX_EXAMPLES = 20  # of each code; the counts go on


@dataclass(frozen=True)
class Located:
    """One refused or repaired row.

    Attributes:
        what: "refused" (the row is not in the result) or "repaired" (it is, changed).
        code: short and stable, e.g. "bad-json", "off-tick", "duplicate".
        source: the file.
        line: 1-based line or row of the source, 0 if the whole file is meant.
        message: what was wrong, with the value.
    """

    what: Literal["refused", "repaired"]
    code: str
    source: str
    line: int
    message: str


@dataclass
class ImportReport:
    """Counts of one import and the first findings of each code.

    Attributes:
        source: what was read.
        format: e.g. "binance-stream", "tardis-incremental_book_L2".
        lines: lines, messages or records met, of any kind.
        rows: rows of market data read out of them.
        ignored: lines that are no market data of this instrument, by kind: subscriptions, other symbols, other streams.
        counts: refused and repaired rows by (what, code).
        examples: the first MAX_EXAMPLES of each code.
        assumed: what was taken for granted, one sentence each; the tape's meta says it too.
    """

    source: str
    format: str
    lines: int = 0
    rows: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[Located] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    def add(self, what: Literal["refused", "repaired"], code: str, line: int, message: str, *, count: int = 1) -> None:
        """Note `count` rows of one kind, of which `line` is the first."""
        before = self.counts[what, code]
        self.counts[what, code] += count
        if before < MAX_EXAMPLES:
            self.examples.append(Located(what, code, self.source, line, message))

    @property
    def refused(self) -> int:
        """Return how many rows are not in the result."""
        return sum(n for (what, _), n in self.counts.items() if what == "refused")

    @property
    def repaired(self) -> int:
        """Return how many rows are in the result, changed."""
        return sum(n for (what, _), n in self.counts.items() if what == "repaired")

    def as_dict(self) -> dict[str, Any]:
        """Return the report, JSON-ready."""
        return {
            "source": self.source,
            "format": self.format,
            "lines": self.lines,
            "rows": self.rows,
            "ignored": dict(self.ignored),
            "refused": {code: n for (what, code), n in self.counts.items() if what == "refused"},
            "repaired": {code: n for (what, code), n in self.counts.items() if what == "repaired"},
            "assumed": self.assumed,
            "examples": [vars(example) for example in self.examples],
        }
