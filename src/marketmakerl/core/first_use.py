"""Whom to tell that something long begins which happens once only: nobody, unless a command line asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

say: Callable[[str], None] | None = None
_said: set[str] = set()


def tell(message: str) -> None:
    """Say something, once."""
    if say is not None and message not in _said:
        _said.add(message)
        say(message)
