"""The runners of the model world: one model, all models, or the ceiling above them, as artifacts with a report.

    artifacts/simulate|compare|optimum/<run_id>/manifest.json  runs.jsonl  summary.csv  analysis.json  report.html

runs.jsonl holds one line a model. The same study gives the same bytes in runs.jsonl and analysis.json, whatever the
number of threads.
"""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.artifacts import (
    config_hash,
    environment,
    manifest,
    new_run_folder,
    write_atomic,
    write_json,
    write_jsonl,
)
from marketmakerl.core.checks import require_number, require_whole
from marketmakerl.core.clock import Clock, SystemClock
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.core.rng import check_seed
from marketmakerl.models.own_file import label_of, pinned, record_of
from marketmakerl.reporting.world_report import write_world_report
from marketmakerl.simulation.assess import assess, why_not_exact
from marketmakerl.simulation.ceiling import Standing, ceiling
from marketmakerl.simulation.compare import compare
from marketmakerl.simulation.optimum import CARA, RunningPenalty
from marketmakerl.simulation.simulate import quantile_of
from marketmakerl.simulation.world_models import (
    MODELS_OF_FORMULAS,
    OPTIMUM,
    check_models,
    default_phi,
    require_gamma,
    world_model,
)
from marketmakerl.validation.world_pictures import distributions, frontiers, quotes, sample_path

if TYPE_CHECKING:
    from pathlib import Path

    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.risk.limits import RiskLimits
    from marketmakerl.simulation.compare import Comparison
    from marketmakerl.simulation.world import World

TIER: Final = "T2"
MOST_STEPS_OF_FRONTIERS: Final = 2_000  # a frontier is some thirty exact evaluations
MOST_STEPS_OF_SLOW_OPTIMA: Final = 250  # in a frontier, where no closed form finds the best distance
MOST_STEPS_OF_OPTIMA: Final = 5_000  # unasked: the optimum of more takes minutes
SHOWN: Final = ("avellaneda_stoikov", "glft_exact", OPTIMUM)  # whose quotes are drawn, if they are there
PENALTY_OPTIMUM: Final = "optimal_penalty"

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class WorldStudy:
    """What the three studies share.

    Args:
        world: the market.
        gamma: risk aversion, 1 / quote currency; > 0.
        phi: running penalty, quote currency per unit^2 and second; None: gamma sigma^2 / 2.
        alpha: penalty at the end, quote currency per unit^2; None: 0.
        n_paths: of each model.
        seed: 0 <= seed < 2**63.
        level: of the intervals.
        exact: see `marketmakerl.simulation.assess.exact_figures`.
        threads: None for one a core.
        risk: limits of `simulate_study`; None: theory.
        budget: opening equity that they are shares of, quote currency.
        taker_fee_bps: paid for inventory that they take off.
        options: what was asked for, for the manifest.
        data: what else the world was made of, one entry a file, for the manifest.

    Raises:
        ConfigError: a number out of range.
    """

    world: World
    gamma: float
    phi: float | None = None
    alpha: float | None = None
    n_paths: int = 100_000
    seed: int = 0
    level: float = 0.95
    exact: bool | None = None
    threads: int | None = None
    risk: RiskLimits | None = None
    budget: float | None = None
    taker_fee_bps: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    data: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        require_gamma(self.gamma)
        for name in ("phi", "alpha"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name), at_least=0.0)
        require_whole("paths", self.n_paths, at_least=2)
        if self.threads is not None:
            require_whole("threads", self.threads, at_least=1)
        quantile_of(self.level)
        check_seed(self.seed)

    def model(self, model_id: str, params: Mapping[str, float | str] | None = None) -> QuotingModel:
        """Return a model with the world's own parameters."""
        return world_model(
            model_id, self.world, gamma=self.gamma, phi=self.phi, alpha=self.alpha, params=params
        )  # fmt: skip

    @property
    def has_optimum(self) -> bool:
        """Return whether the world's optimum can be computed, and in a minute."""
        return self.world.has_independent_steps and self.world.steps <= MOST_STEPS_OF_OPTIMA

    @property
    def limits(self) -> dict[str, Any]:
        """Return the arguments of `simulate` that say which limits hold."""
        return {"risk": self.risk, "budget": self.budget, "taker_fee_bps": self.taker_fee_bps}

    @property
    def penalties(self) -> tuple[float, float]:
        """Return (phi, alpha) as they are used."""
        phi = default_phi(self.world, self.gamma) if self.phi is None else self.phi
        return phi, 0.0 if self.alpha is None else self.alpha


@dataclass(frozen=True)
class WorldResult:
    """A finished study.

    Attributes:
        folder: where its artifacts lie.
        analysis: what analysis.json holds.
    """

    folder: Path
    analysis: dict[str, Any]


def simulate_study(
    study: WorldStudy,
    model_id: str,
    artifacts: Path,
    *,
    params: Mapping[str, float | str] | None = None,
    wrap: Callable[[QuotingModel], QuotingModel] = lambda model: model,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> WorldResult:
    """Run one model through many paths and write the artifacts.

    Args:
        study: the world and how much of it.
        model_id: see `world_model`.
        artifacts: the artifacts folder.
        params: parameters of the model to set instead, by name.
        wrap: makes another model of it, e.g. a ladder.
        clock: where the run id's time comes from.
        progress: called with numbers of finished paths.

    Raises:
        ConfigError, UnknownNameError, ArtifactError: there is no study; nothing is left behind.
    """
    check_models((model_id,))
    model_id = pinned(model_id)
    name = label_of(model_id)
    model = wrap(study.model(model_id, params))
    done = assess(
        study.world, model, study.n_paths, study.seed,
        gamma=study.gamma, name=name, exact=study.exact, threads=study.threads, progress=progress, **study.limits,
    )  # fmt: skip
    line = {"name": name, "model": record_of(model_id, model), "metrics": done.metrics(study.level)}
    shown: dict[str, QuotingModel] = {name: model}
    best = None
    if done.exact is not None and model_id != OPTIMUM and study.has_optimum:
        found = ceiling(study.world, shown, CARA(study.gamma))
        optimum, standing = found.standings
        best = {"optimum": optimum.as_dict(), "model": standing.as_dict()}
        shown[OPTIMUM] = found.optimum
    analysis = _head("simulate", study) | {
        "models": [line],
        "ceiling": best,
        "pictures": {
            "quotes": quotes(study.world, shown),
            "distributions": distributions(study.gamma, [done]),
            "path": sample_path(study.world, model, study.seed, **study.limits),
        },
    }
    if study.risk is not None:
        analysis["risk"] = study.limits | {"risk": study.risk.as_dict()}
    return _write("simulate", study, [line], analysis, artifacts, clock)


def compare_study(
    study: WorldStudy,
    artifacts: Path,
    *,
    model_ids: Sequence[str] = (),
    baseline: str = "",
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> WorldResult:
    """Run models through the same paths, rank them, and write the artifacts.

    Args:
        study: the world and how much of it.
        artifacts: the artifacts folder.
        model_ids: which; by default all of them, the optimum where the world has one.
        baseline: see `compare`.
        clock: where the run id's time comes from.
        progress: called with numbers of finished paths.

    Raises:
        ConfigError, UnknownNameError, ArtifactError: there is no study; nothing is left behind.
    """
    model_ids = compared_models(study, model_ids)
    ids = _by_name(model_ids)
    baseline = label_of(baseline)
    if baseline and baseline not in ids:
        raise UnknownNameError("baseline", baseline, ids)
    models = {name: study.model(model_id) for name, model_id in ids.items()}
    done = compare(
        study.world, models, study.n_paths, study.seed, gamma=study.gamma, level=study.level, baseline=baseline,
        exact=study.exact, threads=study.threads, progress=progress,
    )  # fmt: skip
    lines = _compared_lines(study, done, ids)
    by_name = {entry.name: entry for entry in done.entries}
    drawn = [name for name in SHOWN if name in models] or list(models)[:3]
    shown = {name: models[name] for name in drawn}
    exact = all(entry.exact is not None for entry in done.entries) and _frontier_is_quick(study)
    analysis = _head("compare", study) | {
        "models": lines,
        "references": list(done.references),
        "pairs": done.pairs,
        "pair_level": done.pair_level,
        "differences": [difference.as_dict() for difference in done.differences],
        "missing_optimum": "" if OPTIMUM in models else _why_no_optimum(study),
        "pictures": {
            "quotes": quotes(study.world, shown),
            "distributions": distributions(study.gamma, list(by_name.values())),
            "path": sample_path(study.world, next(iter(shown.values())), study.seed),
            "frontier": frontiers(study.world, study.gamma, _families(study, models)) if exact else [],
        },
    }
    return _write("compare", study, lines, analysis, artifacts, clock)


def compared_models(study: WorldStudy, model_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the models to be compared: those asked for, or all, with the optimum where there is one.

    Raises:
        ConfigError, UnknownNameError: as `check_models`.
    """
    if model_ids:
        check_models(tuple(model_ids))
        return tuple(pinned(model_id) for model_id in model_ids)
    return MODELS_OF_FORMULAS + ((OPTIMUM,) if study.has_optimum else ())


def _by_name(model_ids: Iterable[str]) -> dict[str, str]:
    """Return the ids of models by what they are called.

    Raises:
        ConfigError: two models of one's own are called alike.
    """
    ids: dict[str, str] = {}
    for model_id in model_ids:
        name = label_of(model_id)
        if name in ids:
            raise ConfigError(f"two models are called {name}: give one of them another name")
        ids[name] = model_id
    return ids


def _frontier_is_quick(study: WorldStudy) -> bool:
    return study.world.steps <= MOST_STEPS_OF_FRONTIERS


def _families(study: WorldStudy, names: Iterable[str]) -> list[str]:
    """Return which of the models a frontier can follow, an optimum only where seven of it take seconds."""
    world = study.world
    closed = world.fill == "linear" and world.fill_curve.id == "exponential"
    slow = not closed and world.steps > MOST_STEPS_OF_SLOW_OPTIMA
    return [name for name in names if name != PENALTY_OPTIMUM and not (slow and name == OPTIMUM)]


def _why_no_optimum(study: WorldStudy) -> str:
    if study.has_optimum:
        return "the exact optimum was not among them"
    if study.world.has_independent_steps:
        return f"the optimum of {study.world.steps:,} steps takes a while, and was not asked for (--model optimal)"
    return f"this world has no exact optimum: {why_not_exact(study.world, study.model('symmetric'))}"


def _compared_lines(study: WorldStudy, done: Comparison, ids: Mapping[str, str]) -> list[dict[str, Any]]:
    best = done.entries[0].certainty_equivalent
    return [
        {
            "name": entry.name,
            "rank": rank,
            "model": record_of(ids[entry.name], entry.result.model),
            "metrics": entry.metrics(study.level) | {"left": best - entry.certainty_equivalent},
        }
        for rank, entry in enumerate(done.entries, start=1)
    ]


def optimum_study(
    study: WorldStudy, artifacts: Path, *, model_ids: Sequence[str] = (), clock: Clock | None = None
) -> WorldResult:
    """Hold models against the exact optimum, without sampling, and write the artifacts.

    With a phi or an alpha the objective is the running penalty's; else the certainty equivalent at gamma.

    Args:
        study: the world; paths and seed do not matter.
        artifacts: the artifacts folder.
        model_ids: which models; by default all of them.
        clock: where the run id's time comes from.

    Raises:
        ConfigError, UnknownNameError, ArtifactError: there is no study; nothing is left behind.
    """
    model_ids = tuple(model_ids) or MODELS_OF_FORMULAS
    check_models(model_ids)
    ids = _by_name(pinned(model_id) for model_id in model_ids)
    penalised = study.phi is not None or study.alpha is not None
    objective = RunningPenalty(*study.penalties) if penalised else CARA(study.gamma)
    name = PENALTY_OPTIMUM if penalised else OPTIMUM
    models = {key: study.model(model_id) for key, model_id in ids.items() if key != name}
    done = ceiling(study.world, models, objective, name=name)
    lines = [_standing_line(standing, {**models, name: done.optimum}, ids) for standing in done.standings]
    shown = {key: models[key] for key in SHOWN if key in models} | {name: done.optimum}
    analysis = _head("optimum", study) | {
        "objective": {"id": objective.id, "value": done.optimum.value},
        "models": lines,
        "pictures": {
            "quotes": quotes(study.world, shown),
            "frontier": []
            if penalised or not _frontier_is_quick(study)
            else frontiers(study.world, study.gamma, _families(study, [*models, name])),
        },
    }
    return _write("optimum", study, lines, analysis, artifacts, clock)


def _standing_line(standing: Standing, models: Mapping[str, QuotingModel], ids: Mapping[str, str]) -> dict[str, Any]:
    figures = standing.as_dict()
    name = figures.pop("model")
    return {"name": name, "model": record_of(ids.get(name, name), models[name]), "metrics": figures}


def _head(kind: str, study: WorldStudy) -> dict[str, Any]:
    phi, alpha = study.penalties
    sampled = {"n_paths": study.n_paths, "seed": study.seed, "level": study.level} if kind != "optimum" else {}
    return {
        "kind": kind,
        "market": {"tier": TIER},
        "world": study.world.as_dict(),
        "steps": study.world.steps,
        "gamma": study.gamma,
        "phi": phi,
        "alpha": alpha,
        **sampled,
    }


@contextlib.contextmanager
def _new_folder(home: Path, spec: Mapping[str, Any], clock: Clock) -> Iterator[Path]:
    """Make the folder of a study; one that is cut short takes it along."""
    folder = new_run_folder(home, config_hash(spec), clock)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write(
    kind: str, study: WorldStudy, lines: list[dict[str, Any]], analysis: dict[str, Any], artifacts: Path,
    clock: Clock | None,
) -> WorldResult:  # fmt: skip
    clock = clock or SystemClock()
    config = {
        "options": dict(study.options),
        "setup": {"world": study.world.as_dict(), "gamma": study.gamma},
        "seeds": [study.seed],
    }
    data = [{"exchange": "sim", "kind": "model world", "tier": TIER}, *map(dict, study.data)]
    with _new_folder(artifacts / kind, {"config": config, "data": data, "environment": environment()}, clock) as folder:
        runs = [
            {
                "run_id": f"run-{number:03d}", "seed": study.seed if kind != "optimum" else None,
                "status": "completed", "tier": TIER, "model": line["name"], "parameters": line["model"],
                "metrics": line["metrics"],
            }
            for number, line in enumerate(lines, start=1)
        ]  # fmt: skip
        write_jsonl(folder / "runs.jsonl", runs)
        write_atomic(folder / "summary.csv", _csv(runs).encode())
        write_json(folder / "analysis.json", analysis)
        write_json(folder / "manifest.json", manifest(kind, folder.name, config, data, TIER, clock))
        write_world_report(folder)
    return WorldResult(folder, analysis)


def _csv(runs: list[dict[str, Any]]) -> str:
    rows = []
    for run in runs:
        figures = dict(run["metrics"])
        exact = figures.pop("exact", None) or {}
        rows.append(
            {name: run[name] for name in ("run_id", "seed", "status", "tier", "model")}
            | figures
            | {f"exact_{name}": value for name, value in exact.items()}
        )
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
