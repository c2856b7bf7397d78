"""Where things are."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SHARED = ROOT.parent / "shared" / "bench"  # the peers' scripts; there only in some checkouts
CAPTURE = SHARED.parent / "data" / "fixtures" / "raw_streams" / "hftbacktest_usdm_btcusdt_20240808.gz"
RESULTS = ROOT / "artifacts" / "bench"
