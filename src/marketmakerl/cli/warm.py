"""`mml warm`: compile everything once, so that nothing waits for a compiler later."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  (typer reads it)
from typing import Annotated

import typer

from marketmakerl.cli import options

_ABOUT = "about a minute on two processors; once for these sources"


def warm(
    into: Annotated[Path | None, typer.Option(help="Folder to fill, instead of the user's cache.")] = None,
    ship: Annotated[bool, typer.Option("--ship", help="Fill the package's own folder, for an image or wheel.")] = False,
    processes: Annotated[int | None, typer.Option(min=1, help="At once; default: one a processor.")] = None,
    as_json: options.Json = False,
) -> None:
    """Compile the engine, the models and the importers, in parallel; what is there already is only looked at.

    Example: mml warm
    """
    from rich.console import Console

    from marketmakerl.agents import kernels
    from marketmakerl.core.errors import ConfigError

    if ship and into is not None:
        raise ConfigError("--ship and --into name two places: give one")
    screen = Console(stderr=True)
    said: list[str] = []
    with screen.status("") as status:

        def say(what: str, names: list[str], seconds: float) -> None:
            line = f"compiling {' and '.join(names)} ({_ABOUT})"
            status.update(f"{line}: {seconds:.0f} s")
            # In a log one line is enough, and none where everything is there already.
            if what == "going on" and seconds > 10 and not said and not sys.stderr.isatty():
                said.append(line)
                screen.print(line, soft_wrap=True, highlight=False)

        seconds = kernels.compile_all(into=kernels.SHIPPED if ship else into, processes=processes, say=say)
    if as_json:
        options.print_json({"seconds": round(seconds, 3)})
    elif said or sys.stderr.isatty():
        screen.print(f"compiled in {seconds:.0f} s", highlight=False)
