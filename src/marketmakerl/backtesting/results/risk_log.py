"""The risk log of a run, and what only a person may do: halt it, or reset a breaker. Both are logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marketmakerl.core.errors import ConfigError
from marketmakerl.risk.breakers import reset, trip
from marketmakerl.risk.reasons import Control
from marketmakerl.risk.state import HALTED

if TYPE_CHECKING:
    import pandas as pd

STATES = ("active", "reducing", "halted")


def risk_events(state: Any, overrides: dict[int, str] | None = None) -> list[dict[str, Any]]:
    """Return what the controls did, in order: at most `MAX_EVENTS`, of which the last are kept for the breakers.

    Args:
        state: record with `RISK_STATE_FIELDS`.
        overrides: what a person said, by number of the event.

    Returns:
        ts_ns; event, the name of the control; before and after, states of the breaker; value, what it found, and
        limit, None where there is none; note.
    """
    said = overrides or {}
    return [
        {
            "ts_ns": int(state.event_ns[i]),
            "event": Control(int(state.event_control[i])).name.lower(),
            "before": STATES[int(state.event_before[i])],
            "after": STATES[int(state.event_after[i])],
            "value": _number(state.event_value[i]),
            "limit": _number(state.event_limit[i]),
            "note": said.get(i, ""),
        }
        for i in range(int(state.n_logged))
    ]


def risk_frame(events: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the risk log as a data frame."""
    import pandas as pd  # noqa: PLC0415

    columns = ["ts_ns", "event", "before", "after", "value", "limit", "note"]
    return pd.DataFrame(events, columns=columns)


def halt_by_hand(state: Any, ts_ns: int, who: str, why: str) -> str:
    """Halt a run from outside: everything is cancelled and liquidated at its next decision.

    Returns:
        The note for the log.

    Raises:
        ConfigError: nobody, or no reason, is named.
    """
    note = _signed(who, why)
    trip(state, ts_ns, int(Control.KILL), HALTED, 0.0, float("nan"))
    return note


def reset_by_hand(state: Any, ts_ns: int, equity: float, who: str, why: str, *, closed: bool) -> str:
    """Set the breakers back to ACTIVE: drawdown and daily loss count from the present equity.

    Returns:
        The note for the log.

    Raises:
        ConfigError: nobody, or no reason, is named; the venue itself has closed the account.
    """
    if closed:
        raise ConfigError("the venue has closed this account: there is nothing to reset")
    note = _signed(who, why)
    reset(state, ts_ns, equity)
    return note


def notes_until(state: Any, overrides: dict[int, str]) -> dict[int, str]:
    """Return the notes of what had happened when a state was kept: what comes after it now is something else."""
    return {number: note for number, note in overrides.items() if number < int(state.n_logged)}


def _signed(who: str, why: str) -> str:
    if not who.strip() or not why.strip():
        raise ConfigError("an override names who asked for it and why")
    return f"{who.strip()}: {why.strip()}"


def _number(value: Any) -> float | None:
    return None if value != value else float(value)  # noqa: PLR0124  (NaN)
