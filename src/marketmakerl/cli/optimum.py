"""`mml optimum`: the best that any quotes can do in a world, and what each model leaves of it."""

from __future__ import annotations

from marketmakerl.cli import options, world_options
from marketmakerl.cli.world_options import WorldOptions  # noqa: TC001  (typer reads the annotations)

_EXAMPLE = """Examples; the defaults are the world of Avellaneda & Stoikov (2008):

mml optimum --gamma 0.1

mml optimum --gamma 0.1 --fee 0.2

mml optimum --phi 0.5 --alpha 0 --arrival-rate 10 --k 1
"""


@world_options.takes_world
def optimum(
    asked: WorldOptions,
    *,
    models: world_options.Models = None,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Compute the exact optimum of a model world and what each model leaves on the table; nothing is sampled.

    With --phi or --alpha the objective is mean - phi sum q^2 dt - alpha q_T^2, else the certainty equivalent at gamma.
    """
    from marketmakerl.validation.world_study import optimum_study

    loaded = options.settings()
    study = world_options.world_study(asked, options={"model": models})
    result = optimum_study(study, artifacts or loaded.artifacts_dir, model_ids=models or ())
    if as_json:
        options.print_json({"run_id": result.folder.name, "folder": str(result.folder), **result.analysis})
        return 0
    from rich.console import Console

    from marketmakerl.reporting.world_tables import optimum_table, quotes_table, what_ran

    out = Console()
    for text in what_ran(result.analysis):
        out.print(text, soft_wrap=True, highlight=False, markup=False)
    out.print(optimum_table(result.analysis))
    out.print(quotes_table(result.analysis))
    out.print(f"Report: {result.folder}/report.html", soft_wrap=True, highlight=False, markup=False)
    return 0


optimum.__doc__ = f"{optimum.__doc__}\n\n{_EXAMPLE}"
