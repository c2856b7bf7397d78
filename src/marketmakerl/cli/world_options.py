"""The options of the commands of the model world, and the world and the study they ask for."""

from __future__ import annotations

import contextlib
import functools
import inspect
from dataclasses import asdict, dataclass, fields
from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from marketmakerl.models.calibration import Calibration
    from marketmakerl.simulation.world import World
    from marketmakerl.simulation.world_spec import Number
    from marketmakerl.validation.world_study import WorldStudy

Model = Annotated[
    str,
    typer.Option(
        help="avellaneda_stoikov, avellaneda_stoikov_infinite, avellaneda_stoikov_rolling, cartea_jaimungal, glft, "
        "glft_closed_form, glft_exact, optimal, optimal_penalty, risk_neutral, rl_enhanced, symmetric; or one of your "
        "own, path.py:name, e.g. quotes.py:leaning (docs/custom-model.md)."
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="ID",
        help="One of the models (see mml simulate --help), or one of your own, path.py:name, e.g. quotes.py:leaning; "
        "several times for more.",
    ),
]
Paths = Annotated[int, typer.Option(help="Paths of each model, >= 2.")]
Seed = Annotated[int, typer.Option(help="Seed of the paths: the same gives the same bytes.")]
Level = Annotated[float, typer.Option(help="Of the intervals, between 0 and 1.")]
Threads = Annotated[int | None, typer.Option(help="Default: one a core. They do not change a digit.")]
Exact = Annotated[
    bool | None,
    typer.Option(
        "--exact/--no-exact",
        help="Exact figures too: insist on them, or leave them out; default: where the world has them.",
    ),
]

_PAPER: Final = {"s0": 100.0, "sigma": 2.0, "horizon_s": 1.0, "dt_s": 0.005, "arrival_rate": 140.0, "k": 1.5}
_PAPER_GAMMA: Final = 0.1
_MEASURED: Final = "measured"
_CALIBRATED: Final = {"horizon_s": 600.0, "dt_s": 1.0}
_LEAN: Final = 10.0  # order sizes at which the gamma of a calibrated world leans by 1/k


@dataclass(frozen=True, kw_only=True)
class WorldOptions:
    """The flags that describe a world, as they were typed; None where nothing was."""

    gamma: Annotated[
        float | None,
        typer.Option(help="Risk aversion, 1 / quote currency, > 0; default 0.1, or what suits the calibration."),
    ] = None
    phi: Annotated[
        float | None,
        typer.Option(help="Running penalty, quote / unit^2 / s, >= 0; default gamma sigma^2 / 2."),
    ] = None
    alpha: Annotated[float | None, typer.Option(help="Penalty at the end, quote / unit^2, >= 0; default 0.")] = None
    s0: Annotated[float | None, typer.Option("--s0", help="Mid at the start, > 0; default 100.")] = None
    sigma: Annotated[float | None, typer.Option(help="Volatility, price / sqrt(s), > 0; default 2.")] = None
    horizon_s: Annotated[float | None, typer.Option(help="Seconds of a run, > 0; default 1.")] = None
    dt_s: Annotated[float | None, typer.Option(help="Seconds of a step, > 0, a share of them; default 0.005.")] = None
    arrival_rate: Annotated[
        float | None, typer.Option(help="Orders a second and side at the mid, > 0; default 140.")
    ] = None
    k: Annotated[float | None, typer.Option("--k", help="Decay of the fill rate, 1 / price, > 0; default 1.5.")] = None
    fill: Annotated[
        str | None, typer.Option(help="linear: min(1, rate dt), the default; poisson: 1 - exp(-rate dt).")
    ] = None
    mid: Annotated[
        str | None,
        typer.Option(
            help="How the mid moves: gaussian (the default), binomial, geometric, ornstein_uhlenbeck, jump_diffusion, "
            "regime_switching, heston, scripted."
        ),
    ] = None
    mid_param: Annotated[
        list[str] | None,
        typer.Option(metavar="name=value", help="A parameter of the mid, e.g. rate_per_s=2; lists: factors=0.5,2."),
    ] = None
    curve: Annotated[
        str | None, typer.Option(help="How fills fall with the distance: exponential (the default), power, empirical.")
    ] = None
    curve_param: Annotated[
        list[str] | None,
        typer.Option(metavar="name=value", help="A parameter of the curve, e.g. exponent=3; lists: share=1,0.4,0.1."),
    ] = None
    hawkes: Annotated[
        str | None,
        typer.Option(
            metavar="name=value,...",
            help="Bursts: excitation=5,decay_per_s=20[,cross_excitation=1]; measured: the calibration's.",
        ),
    ] = None
    fee: Annotated[float | None, typer.Option(help="Paid for each unit filled, price units; negative: rebate.")] = None
    drift: Annotated[float | None, typer.Option(help="Of the mid, price units a second; default 0.")] = None
    adverse_move: Annotated[
        float | None, typer.Option(help="The mid moves so far against us with each fill, >= 0; default 0.")
    ] = None
    order_size: Annotated[float | None, typer.Option(help="Units of an order, > 0; default 1.")] = None
    latency_steps: Annotated[int | None, typer.Option(help="A quote stands so many steps late; default 0.")] = None
    q_max: Annotated[
        int | None, typer.Option(help="Inventories looked at, order sizes; must be too wide to matter. Default: found.")
    ] = None
    inventory_limit: Annotated[
        int | None, typer.Option(help="A bound that every model has to live with, order sizes; default: none.")
    ] = None
    tick_size: Annotated[float | None, typer.Option(help="What levels of a ladder are counted in, > 0.")] = None
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON of mml calibrate: s0, sigma, arrival rate, k, adverse move; poisson fills, 600 s by 1 s.",
        ),
    ] = None


def takes_world(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the flags of `WorldOptions`, which it gets as its first argument."""
    hints = get_type_hints(WorldOptions, include_extras=True)
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    flags = [
        inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hints[item.name])
        for item in fields(WorldOptions)
    ]

    @functools.wraps(command)
    def with_flags(**given: Any) -> int:
        asked = WorldOptions(**{item.name: given.pop(item.name) for item in fields(WorldOptions)})
        return command(asked, **given)

    parameters = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in own]
    first = [item for item in parameters if item.name in {"model", "models"}]
    rest = [item for item in parameters if item not in first]
    with_flags.__signature__ = inspect.Signature([*first, *flags, *rest])  # type: ignore[attr-defined]
    with_flags.__annotations__ = {item.name: item.annotation for item in (*first, *flags, *rest)}
    return with_flags


def world_study(asked: WorldOptions, **more: Any) -> WorldStudy:
    """Return the study that the flags ask for.

    Args:
        asked: the flags of the world.
        more: fields of `WorldStudy`; those with a flag of their own are noted in the manifest.

    Raises:
        ConfigError, DataError: they make no sense.
    """
    from marketmakerl.models.own_file import pinned
    from marketmakerl.validation.world_study import WorldStudy

    calibration, data = _calibration(asked.calibration)
    world = _world(asked, calibration)
    gamma = asked.gamma
    if gamma is None:
        gamma = _PAPER_GAMMA if calibration is None else _suited_gamma(calibration, world)
    typed = {name: str(value) if name == "calibration" and value else value for name, value in asdict(asked).items()}
    options = {**more.pop("options", {}), **typed}
    if named := options.get("model"):
        options["model"] = pinned(named) if isinstance(named, str) else [pinned(model) for model in named]
    return WorldStudy(
        world=world, gamma=gamma, phi=asked.phi, alpha=asked.alpha, options=options, data=data, **more
    )  # fmt: skip


def _calibration(path: Path | None) -> tuple[Calibration | None, list[dict[str, Any]]]:
    if path is None:
        return None, []
    from marketmakerl.core.artifacts import sha256_of
    from marketmakerl.models.calibration import load_calibration

    loaded = load_calibration(path)
    entry = {
        "kind": "calibration", "symbol": loaded.symbol, "tier": loaded.tier, "file": path.name,
        "sha256": sha256_of(path),
    }  # fmt: skip
    return loaded, [entry]


def _suited_gamma(calibration: Calibration, world: World) -> float:
    """Return the gamma at which GLFT leans by 1/k when ten orders are held."""
    from marketmakerl.models.registry import stationary_risk_aversion

    return stationary_risk_aversion(calibration.estimate(), _LEAN) / world.order_size


def _world(asked: WorldOptions, calibration: Calibration | None) -> World:
    from marketmakerl.core.errors import ConfigError
    from marketmakerl.simulation.world import World
    from marketmakerl.simulation.world_spec import curve_of, hawkes_of, mid_of

    given: dict[str, Any] = {
        name: getattr(asked, name)
        for name in (*_PAPER, "fill", "drift", "adverse_move", "order_size", "latency_steps", "q_max",
                     "inventory_limit", "tick_size")
    }  # fmt: skip
    given["fee_per_unit"] = asked.fee
    given = {name: value for name, value in given.items() if value is not None}
    for name, params in (("mid", asked.mid_param), ("curve", asked.curve_param)):
        if params and getattr(asked, name) is None:
            raise ConfigError(f"--{name}-param without --{name}: say which {name} it belongs to")
    if asked.mid is not None:
        given["mid"] = mid_of(asked.mid, numbers("--mid-param", asked.mid_param or []))
    if asked.curve is not None:
        given["curve"] = curve_of(asked.curve, numbers("--curve-param", asked.curve_param or []))
    if asked.hawkes == _MEASURED and calibration is None:
        raise ConfigError("--hawkes measured needs a --calibration FILE that measured bursts (mml calibrate)")
    if asked.hawkes is not None and asked.hawkes != _MEASURED:
        given["arrivals"] = hawkes_of(numbers("--hawkes", asked.hawkes.split(",")))
    if calibration is None:
        return World(**{**_PAPER, **given})
    return World.from_calibration(calibration, bursts=asked.hawkes == _MEASURED, **{**_CALIBRATED, **given})


def numbers(option: str, texts: list[str]) -> dict[str, Number]:
    """Parse name=number texts; several numbers have commas between them.

    Raises:
        ConfigError: not of that form.
    """
    from marketmakerl.core.errors import ConfigError

    parsed: dict[str, Number] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        try:
            found = tuple(float(part) for part in value.split(","))
        except ValueError:
            found = ()
        if not (name and equals and found):
            raise ConfigError(f"{option} {text!r} is not name=number")
        if name in parsed:
            raise ConfigError(f"{option}: {name} is given twice")
        parsed[name] = found if len(found) > 1 else found[0]
    return parsed


@contextlib.contextmanager
def paths_bar(total: int, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    """Show on stderr how many paths have been run."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("paths"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
