"""One measurement, one fresh process: started, waited for, its whole output kept, its last JSON line read."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console


class BenchError(Exception):
    """A measurement that did not come about; the text is one line for the reader."""


@dataclass(frozen=True)
class Answer:
    """What a process said: `data` is its last line of JSON (empty without one), `wall_s` its whole life."""

    data: dict[str, Any]
    text: str
    wall_s: float


@dataclass
class Processes:
    """Starts processes one after another.

    Args:
        logs: folder that gets one file a process.
        screen: progress lines go here.
    """

    logs: Path
    screen: Console
    failures: list[str] = field(default_factory=list)
    _count: int = 0

    def run(self, label: str, command: list[Any], **env: str) -> Answer:
        """Run one command to its end; raise `BenchError` when it fails."""
        self._count += 1
        words = [str(word) for word in command]
        log = self.logs / f"{self._count:03d}-{re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')}.log"
        started = time.perf_counter()
        done = subprocess.run(
            words,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        wall_s = time.perf_counter() - started
        settings = "".join(f"{name}={shlex.quote(value)} " for name, value in env.items())
        log.write_text(
            f"$ {settings}{shlex.join(words)}\n{done.stdout}{done.stderr}\nexit {done.returncode}, {wall_s:.2f} s\n",
            encoding="utf-8",
        )
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise BenchError(f"{label}: {last} (log: {log.name})")
        data = _last_json(done.stdout)
        speed = f"{data['mev_per_s']:.1f} M events/s, " if data.get("mev_per_s") else ""
        self.screen.print(f"  {label}: {speed}{wall_s:.1f} s", highlight=False)
        return Answer(data, done.stdout, wall_s)

    def attempt(self, label: str, command: list[Any], **env: str) -> Answer | None:
        """Run a command; when it fails say so, remember it, and let the rest go on."""
        try:
            return self.run(label, command, **env)
        except BenchError as error:
            self.fail(str(error))
            return None

    def fail(self, line: str) -> None:
        """Remember and print what did not work."""
        self.failures.append(line)
        self.screen.print(f"  [red]failed[/red] {line}", highlight=False)


def _last_json(text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else {}
