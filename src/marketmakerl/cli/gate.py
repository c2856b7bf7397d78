"""`mml gate`: every check a finished run passes or does not."""

from __future__ import annotations

from typing import Annotated

import typer

from marketmakerl.cli import options

_EXAMPLE = """Examples:

mml gate latest

mml gate artifacts/campaign/20260101T120000000Z-0a1b2c3d --json
"""


def gate(
    run: Annotated[
        str,
        typer.Argument(
            help="A run's folder, its id, or latest: of a campaign, backtest, research-budgets or walk-forward."
        ),
    ],
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Judge a run: print every check, write gate.json beside it, exit 3 if one fails."""
    from marketmakerl.cli.study import judge_or_raise
    from marketmakerl.validation.gates import find_run, judge_run

    folder = find_run(artifacts or options.settings().artifacts_dir, run)
    verdict = judge_run(folder)
    if as_json:
        options.print_json(verdict | {"folder": str(folder)})
    else:
        _show(verdict)
    judge_or_raise(verdict["checks"])
    return 0


gate.__doc__ = f"{gate.__doc__}\n\n{_EXAMPLE}"


def _show(verdict: dict[str, object]) -> None:
    from rich.console import Console

    from marketmakerl.reporting.study_tables import checks_table

    out = Console()
    out.print(f"{verdict['kind']} {verdict['run_id']}, tier {verdict['tier']}.", soft_wrap=True, highlight=False)
    out.print(checks_table(verdict["checks"]))  # type: ignore[arg-type]
    out.print("The gate says yes." if verdict["passed"] else "The gate says no.")
