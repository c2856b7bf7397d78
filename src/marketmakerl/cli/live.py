"""`mml live`: always refused."""

from __future__ import annotations

import os


def live() -> int:
    """Refuse to trade live: exits 4, whatever PAPER_ONLY says.

    Example: mml live
    """
    from marketmakerl.core.safety import refuse_live

    refuse_live(os.environ.get("PAPER_ONLY"))
