"""How data say what they are worth: T0 (indicative) to T3 (a live stream)."""

from __future__ import annotations

from typing import Final

# Where a frame says which tier it is of; pandas keeps it through slicing and Parquet.
TIER_ATTR: Final = "mml.tier"
