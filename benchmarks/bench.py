"""What every section of the benchmark needs: the interpreters, the feeds, and how each engine is called."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from places import HERE, SHARED
from work import WARM_UP_ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from processes import Answer, Processes


@dataclass
class Bench:
    """One run of the benchmark.

    Args:
        processes: starts and logs everything.
        folder: feeds and tapes stay here from one run to the next.
        rows: length of the feed.
        rounds: how often peer and ours take turns.
        sizes: lengths of the feed for the scaling section.
        peer: an interpreter with hftbacktest, or None: only our own numbers.
    """

    processes: Processes
    folder: Path
    rows: int
    rounds: int
    sizes: tuple[int, ...]
    peer: Path | None
    _compiled: bool = False

    def feed(self, rows: int) -> Path:
        """Return the feed of that length, generated once."""
        # Another generator, another market: its files never pass for the shared one's.
        name = "feed" if (SHARED / "gen_feed.py").exists() else "own"
        path = self.folder / f"{name}-{rows}.npy"
        if not path.exists():
            self.processes.run(f"feed of {rows:,} rows", [sys.executable, HERE / "feed.py", "make", rows, path])
        return path

    def tape(self, rows: int) -> Path:
        """Return the same as a tape, written anew in each run of the benchmark: its format is ours to change."""
        feed = self.feed(rows)
        path = self.processes.logs / f"{feed.stem}.tape"
        if not path.exists():
            self.processes.run(f"tape of {rows:,} rows", [sys.executable, HERE / "feed.py", "tape", feed, path])
        return path

    def drop_tape(self, rows: int) -> None:
        """Delete a tape that is not needed any more."""
        (self.processes.logs / f"{self.feed(rows).stem}.tape").unlink(missing_ok=True)

    def ours(self, label: str, mode: str, rows: int, *options: Any) -> Answer | None:
        """Run our engine; options are those of `tick_engine.py`."""
        if not self._compiled:
            # Once for all that follow: what compiles the kernel is no measure of time, nor of memory.
            self._compiled = True
            script, tape = HERE / "tick_engine.py", self.tape(WARM_UP_ROWS)
            self.processes.attempt("compiling ours", [sys.executable, script, "as", "--tape", tape, "--repeat", 1])
        command = [sys.executable, HERE / "tick_engine.py", mode, "--tape", self.tape(rows), *options]
        return self.processes.attempt(f"{label} ours", command)

    def shared_peer(self, label: str, mode: str, rows: int) -> Answer | None:
        """Run the peer's fastest engine by the shared script; None without a peer."""
        if self.peer is None:
            return None
        command = [self.peer, SHARED / "bench_hftbacktest.py", mode, "roi", "full"]
        return self.processes.attempt(f"{label} peer", command, FEED=str(self.feed(rows)))

    def our_peer(self, label: str, *arguments: Any) -> Answer | None:
        """Run the peer by our own driver; None without a peer."""
        if self.peer is None:
            return None
        return self.processes.attempt(f"{label} peer", [self.peer, HERE / "peer_hftbacktest.py", *arguments])


def counts(data: dict[str, Any]) -> dict[str, Any]:
    """Return what happened in a run, under the same names for both engines."""
    found = {name: data[name] for name in ("wakeups", "submits", "cancels", "fills", "position_lots") if name in data}
    if "position" in data:  # the shared script's, in units
        found["position_lots"] = round(data["position"] * 1000)
    return found | {"fee": data["fee"]}
