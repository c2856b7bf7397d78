"""`mml compare`: all models on the same paths of one world."""

from __future__ import annotations

from typing import Annotated

import typer

from marketmakerl.cli import options, world_options
from marketmakerl.cli.world_options import WorldOptions  # noqa: TC001  (typer reads the annotations)

_EXAMPLE = """Examples; the defaults are the world of Avellaneda & Stoikov (2008):

mml compare --gamma 0.1

mml compare --model glft --model symmetric --baseline symmetric --fee 0.2 --paths 50000

mml compare --mid heston --mid-param speed_per_s=5 --mid-param vol_of_vol=4
"""


@world_options.takes_world
def compare(
    asked: WorldOptions,
    *,
    models: world_options.Models = None,
    baseline: Annotated[
        str, typer.Option(help="Model that the others are held against; default: avellaneda_stoikov, or the first.")
    ] = "",
    paths: world_options.Paths = 100_000,
    seed: world_options.Seed = 0,
    level: world_options.Level = 0.95,
    exact: world_options.Exact = None,
    threads: world_options.Threads = None,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Run quoting models through the same paths of a model world and rank them, with intervals that hold together."""
    from marketmakerl.validation.world_study import compare_study, compared_models

    loaded = options.settings()
    study = world_options.world_study(
        asked, n_paths=paths, seed=seed, level=level, exact=exact, threads=threads,
        options={"model": models, "baseline": baseline, "paths": paths, "seed": seed, "level": level, "exact": exact},
    )  # fmt: skip
    named = compared_models(study, models or ())
    with world_options.paths_bar(paths * len(named), hidden=as_json) as progress:
        result = compare_study(
            study, artifacts or loaded.artifacts_dir, model_ids=named, baseline=baseline, progress=progress
        )
    if as_json:
        options.print_json({"run_id": result.folder.name, "folder": str(result.folder), **result.analysis})
        return 0
    from rich.console import Console

    from marketmakerl.reporting.world_tables import CompareTable, how_compared, what_ran

    out = Console()
    for text in what_ran(result.analysis):
        out.print(text, soft_wrap=True, highlight=False, markup=False)
    out.print(CompareTable(result.analysis))
    for text in (*how_compared(result.analysis), f"Report: {result.folder}/report.html"):
        out.print(text, soft_wrap=True, highlight=False, markup=False)
    return 0


compare.__doc__ = f"{compare.__doc__}\n\n{_EXAMPLE}"
