"""`mml halt`: stop a paper session from outside its process, or reset its breakers."""

from __future__ import annotations

from typing import Annotated

import typer

from marketmakerl.cli import options

_EXAMPLE = """Examples:

mml halt latest --who "A. Trader" --why "the venue announces maintenance"

mml halt latest --reset --who "A. Trader" --why "drawdown explained, limits checked"
"""


def halt(
    session: Annotated[str, typer.Argument(help="A journal, its name, or latest.")] = "latest",
    *,
    who: Annotated[str, typer.Option(help="Who asks; it is written into the journal.")],
    why: Annotated[str, typer.Option(help="For what reason; likewise.")],
    reset: Annotated[bool, typer.Option("--reset", help="Set the breakers back to ACTIVE instead.")] = False,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Cancel all quotes of a paper session and take its position off, now; it goes on, halted, until it is reset."""
    from marketmakerl.realtime.override import HALT, RESET, Override, ask, find_session

    journal = find_session(artifacts or options.settings().artifacts_dir, session)
    override = Override(RESET if reset else HALT, who, why)
    ask(journal, override)
    if as_json:
        options.print_json({"journal": str(journal), "action": override.action, "who": who, "why": why})
    else:
        typer.echo(f"Asked the session of {journal} to {override.action}; its journal says when it has.")
    return 0


halt.__doc__ = f"{halt.__doc__}\n\n{_EXAMPLE}"
