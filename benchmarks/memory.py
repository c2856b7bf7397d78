"""What a process has in memory, as Linux counts it. Standard library only: every engine's driver reads it."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")
# RssAnon is what the process itself has allocated; a memory-mapped tape counts as RssFile, and the kernel may drop it.
_NAMES = {"peak_rss_mb": "VmHWM", "rss_anon_mb": "RssAnon", "rss_file_mb": "RssFile"}


def memory_mb() -> dict[str, float]:
    """Return the peak and the present memory in MB; nothing where there is no /proc."""
    if not _STATUS.exists():
        return {}
    status = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return {name: round(int(status[key].split()[0]) / 1024, 1) for name, key in _NAMES.items() if key in status}
