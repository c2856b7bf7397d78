"""`mml simulate`: one model, many paths of a world, the exact figures beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from marketmakerl.cli import options, world_options
from marketmakerl.cli.world_options import WorldOptions  # noqa: TC001  (typer reads the annotations)

if TYPE_CHECKING:
    from marketmakerl.models.contract import QuotingModel

_EXAMPLE = """Examples; the defaults are the world of Avellaneda & Stoikov (2008):

mml simulate --model glft_exact --gamma 0.1

mml simulate --model glft --mid jump_diffusion --mid-param rate_per_s=2 --mid-param jump_std=1 --fee 0.1

mml simulate --model avellaneda_stoikov --hawkes excitation=10,decay_per_s=40 --latency-steps 2 --paths 20000

mml simulate --model glft --dt-s 0.05 --arrival-rate 14 --risk on --budget 10000

mml simulate --model glft --calibration calibration.json --horizon-s 600 --dt-s 0.5
"""


@world_options.takes_world
def simulate(
    asked: WorldOptions,
    *,
    model: world_options.Model = "avellaneda_stoikov",
    param: options.Params = None,
    levels: Annotated[int, typer.Option(help="Quotes a side, one tick of --tick-size and more apart.")] = 1,
    level_step_ticks: Annotated[int, typer.Option(help="Ticks between two levels.")] = 1,
    paths: world_options.Paths = 100_000,
    seed: world_options.Seed = 0,
    level: world_options.Level = 0.95,
    exact: world_options.Exact = None,
    risk: Annotated[str, typer.Option(help="on: the default limits, every step; off: theory.")] = "off",
    budget: Annotated[
        float | None, typer.Option(help="With --risk on: opening equity, quote currency, that limits are shares of.")
    ] = None,
    taker_bps: Annotated[
        float | None, typer.Option(help="With --risk on: taker fee on what the limits take off.")
    ] = None,
    threads: world_options.Threads = None,
    artifacts: options.Artifacts = None,
    as_json: options.Json = False,
) -> int:
    """Run one quoting model through many paths of a model world: profit, risk and intervals, and what is exact."""
    from marketmakerl.core.errors import UnknownNameError
    from marketmakerl.risk.limits import RiskLimits
    from marketmakerl.validation.world_study import simulate_study

    if risk not in {"on", "off"}:
        raise UnknownNameError("--risk", risk, ("on", "off"))
    loaded = options.settings()
    study = world_options.world_study(
        asked, n_paths=paths, seed=seed, level=level, exact=exact, threads=threads,
        risk=RiskLimits() if risk == "on" else None, budget=budget, taker_fee_bps=taker_bps or 0.0,
        options={"model": model, "param": param, "levels": levels, "level_step_ticks": level_step_ticks,
                 "paths": paths, "seed": seed, "level": level, "exact": exact,
                 "risk": "on" if risk == "on" else None, "budget": budget, "taker_bps": taker_bps},
    )  # fmt: skip

    def ladder(base: QuotingModel) -> QuotingModel:
        from marketmakerl.models.ladder import Ladder

        return base if levels == 1 else Ladder(base, levels, level_step_ticks)

    with world_options.paths_bar(paths, hidden=as_json) as progress:
        result = simulate_study(
            study, model, artifacts or loaded.artifacts_dir,
            params=options.model_params(param), wrap=ladder, progress=progress,
        )  # fmt: skip
    if as_json:
        options.print_json({"run_id": result.folder.name, "folder": str(result.folder), **result.analysis})
        return 0
    from rich.console import Console

    from marketmakerl.reporting.world_tables import ceiling_sentence, simulation_table, sure_of, what_ran

    out = Console()
    for text in what_ran(result.analysis):
        out.print(text, soft_wrap=True, highlight=False, markup=False)
    out.print(simulation_table(result.analysis))
    for text in (*sure_of(result.analysis), ceiling_sentence(result.analysis), f"Report: {result.folder}/report.html"):
        if text:
            out.print(text, soft_wrap=True, highlight=False, markup=False)
    return 0


simulate.__doc__ = f"{simulate.__doc__}\n\n{_EXAMPLE}"
