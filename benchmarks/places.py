"""Where things are."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SHARED = ROOT.parent / "shared" / "bench"  # the peers' scripts; there only in some checkouts
RESULTS = ROOT / "artifacts" / "bench"
