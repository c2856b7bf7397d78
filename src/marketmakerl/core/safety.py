"""The safety policy: this program never places a real order, whatever anybody sets."""

from __future__ import annotations

from typing import NoReturn

from marketmakerl.core.errors import LiveTradingBlocked

# The one value that asks for more than paper. It gets a different refusal, not a different outcome.
_ASKS_FOR_LIVE = "0"


def refuse_live(paper_only: str | None) -> NoReturn:
    """Refuse live trading and say why.

    Args:
        paper_only: the value of PAPER_ONLY; None if it is not set.

    Raises:
        LiveTradingBlocked: always.
    """
    if paper_only is not None and paper_only.strip() == _ASKS_FOR_LIVE:
        raise LiveTradingBlocked(
            "live trading is blocked: PAPER_ONLY=0 asks for it, and no order gateway exists in this program; "
            "paper trading: make realtime-paper"
        )
    shown = "not set" if paper_only is None else repr(paper_only)
    raise LiveTradingBlocked(
        f"live trading is blocked by policy (PAPER_ONLY is {shown}, and paper is the only mode there is); "
        "paper trading: make realtime-paper"
    )
