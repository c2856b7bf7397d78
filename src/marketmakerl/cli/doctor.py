"""`mml doctor`: what this machine has, and what to do about what it lacks."""

from __future__ import annotations

import typer

from marketmakerl.cli import options


def doctor(artifacts: options.Artifacts = None, as_json: options.Json = False) -> int:
    """Check that this machine can run everything; exits 2 if something that is needed is missing.

    Example: mml doctor --json
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from marketmakerl.agents.doctor import examine

    loaded = options.settings()
    checks = examine(artifacts or loaded.artifacts_dir, loaded.data_dir, loaded.paper_only)
    broken = any(check.needed and not check.ok for check in checks)
    if as_json:
        options.print_json({"ok": not broken, "checks": [check.as_dict() for check in checks]})
        return 2 if broken else 0
    table = Table("check", "", "found", "what to do")
    for check in checks:
        mark = "[green]ok[/]" if check.ok else ("[red]missing[/]" if check.needed else "[yellow]absent[/]")
        table.add_row(escape(check.name), mark, escape(check.found), "" if check.ok else escape(check.remedy))
    Console().print(table)
    typer.echo("Something that is needed is missing." if broken else "Everything that is needed is here.")
    return 2 if broken else 0
