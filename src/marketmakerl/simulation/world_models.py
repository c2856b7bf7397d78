"""Models by the names people type, with the parameters of the world they are to quote in."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from marketmakerl.core.checks import require_number, require_whole
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.models.avellaneda_stoikov import AvellanedaStoikov
from marketmakerl.models.bar_calibration import BarEstimate
from marketmakerl.models.cartea_jaimungal import CarteaJaimungal
from marketmakerl.models.glft import GLFT
from marketmakerl.models.inventory_values import Q_MAX
from marketmakerl.models.own_file import is_own, own_model
from marketmakerl.models.registry import DEFAULT_INVENTORY_RANGE, OWN_HINT
from marketmakerl.models.rl_enhanced_model import RLEnhanced
from marketmakerl.models.symmetric import Symmetric
from marketmakerl.simulation.optimum import CARA, RunningPenalty, optimal_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from marketmakerl.models.contract import QuotingModel
    from marketmakerl.simulation.world import World

OPTIMUM: Final = "optimal"
_LEAST_REACH: Final = 30  # order sizes, as the default of GLFT
_DEVIATIONS: Final = 8.0


def require_gamma(gamma: float) -> float:
    """Return the risk aversion, 1 / quote currency, if it is a finite number > 0.

    Raises:
        ConfigError: it is not.
    """
    return require_number("gamma", gamma, above=0.0)


def default_phi(world: World, gamma: float) -> float:
    """Return gamma sigma^2 / 2: the running penalty that fears inventory as the CARA maker does, to first order."""
    return 0.5 * gamma * world.sigma**2


def inventory_reach(world: World) -> int:
    """Return the q_max of models that need one: the world's bound, or where hardly any run ever comes.

    That is eight standard deviations of a maker who quotes 1/k whatever he holds, at least 30 and at most 250.
    """
    if world.bound is not None:
        return min(world.bound, Q_MAX)
    fills = 2.0 * world.arrival_rate / math.e * world.horizon_s
    return min(max(_LEAST_REACH, math.ceil(_DEVIATIONS * math.sqrt(fills))), Q_MAX)


def _risk(world: World, gamma: float) -> float:
    """Return gamma an order: models that count inventory in orders take it so."""
    return gamma * world.order_size


def _symmetric(world: World, gamma: float, phi: float, alpha: float) -> QuotingModel:
    del phi, alpha
    return Symmetric.of_avellaneda_stoikov(_risk(world, gamma), world.k, world.sigma, world.horizon_s)


def _risk_neutral(world: World, gamma: float, phi: float, alpha: float) -> QuotingModel:
    del gamma, phi, alpha
    return Symmetric(1.0 / world.k + world.fee_per_unit + 0.5 * world.adverse_move)


def _avellaneda_stoikov(world: World, gamma: float, phi: float, alpha: float) -> QuotingModel:
    del phi, alpha
    return AvellanedaStoikov(_risk(world, gamma), world.k, world.sigma, world.horizon_s)


def _rolling(world: World, gamma: float, phi: float, alpha: float) -> QuotingModel:
    del phi, alpha
    return AvellanedaStoikov(_risk(world, gamma), world.k, world.sigma, world.horizon_s, rolling=True)


def _infinite(world: World, gamma: float, phi: float, alpha: float) -> QuotingModel:
    del phi, alpha
    return AvellanedaStoikov(_risk(world, gamma), world.k, world.sigma, None)


def _rl_enhanced(world: World, gamma: float, phi: float, alpha: float) -> QuotingModel:
    del phi, alpha
    return RLEnhanced("default", _risk(world, gamma), world.k, world.sigma, world.horizon_s)


def _glft(variant: str) -> Callable[[World, float, float, float], QuotingModel]:
    def make(world: World, gamma: float, phi: float, alpha: float) -> QuotingModel:
        del phi, alpha
        return GLFT(
            gamma=gamma, k=world.k, sigma=world.sigma, arrival_rate=world.arrival_rate, q_max=inventory_reach(world),
            fee_per_unit=world.fee_per_unit, variant=variant, horizon_s=world.horizon_s, drift=world.drift,
            adverse_move=world.adverse_move, order_size=world.order_size,
        )  # fmt: skip

    return make


def _cartea_jaimungal(world: World, gamma: float, phi: float, alpha: float) -> QuotingModel:
    """Return their model with what it knows no name for put into what it does.

    Their jump comes with every market order; in the world the mid moves by xi with our fills alone, so it stands
    xi q away from where it would be: that costs a fee of xi/2 a unit and xi q^2 / 2 at the end. A penalty on units
    squared is, a unit of an order, the order's size times one on orders squared.
    """
    del gamma
    half = 0.5 * world.adverse_move
    return CarteaJaimungal(
        k=world.k, arrival_rate=world.arrival_rate, phi=phi * world.order_size,
        alpha=alpha * world.order_size + half, horizon_s=world.horizon_s, q_max=inventory_reach(world),
        fee_per_unit=world.fee_per_unit + half,
    )  # fmt: skip


_MODELS: Final[dict[str, Callable[[World, float, float, float], QuotingModel]]] = {
    "avellaneda_stoikov": _avellaneda_stoikov,
    "avellaneda_stoikov_infinite": _infinite,
    "avellaneda_stoikov_rolling": _rolling,
    "cartea_jaimungal": _cartea_jaimungal,
    "glft": _glft("stationary"),
    "glft_closed_form": _glft("closed_form"),
    "glft_exact": _glft("exact"),
    "risk_neutral": _risk_neutral,
    "rl_enhanced": _rl_enhanced,
    "symmetric": _symmetric,
}
_OPTIMA: Final = (OPTIMUM, "optimal_penalty")
WORLD_MODEL_IDS: Final = tuple(sorted((*_MODELS, *_OPTIMA)))
MODELS_OF_FORMULAS: Final = tuple(sorted(_MODELS))


def world_model(
    model_id: str,
    world: World,
    *,
    gamma: float,
    phi: float | None = None,
    alpha: float | None = None,
    params: Mapping[str, float | str] | None = None,
) -> QuotingModel:
    """Return a model that believes in the world's own k, sigma, arrival rate, fee, drift, adverse moves and horizon.

    Each is given what its formula has a place for: Avellaneda-Stoikov knows no fee, for example. Fill curves other
    than the exponential are believed to be exponential with the world's k.

    Args:
        model_id: one of `WORLD_MODEL_IDS`. "symmetric" is Avellaneda & Stoikov's benchmark with their time-averaged
            spread, "risk_neutral" the constant 1/k (fee and half an adverse move on top), "glft" the stationary
            variant, "optimal" the exact optimum under CARA(gamma), "optimal_penalty" that under
            RunningPenalty(phi, alpha). Or a model of one's own, path.py:name: what makes one of an estimate is given
            the world's own sigma, k and arrival rate.
        world: where it is to quote.
        gamma: risk aversion, 1 / quote currency; > 0.
        phi: running penalty of cartea_jaimungal and optimal_penalty, quote currency per unit^2 and second; >= 0;
            None for gamma sigma^2 / 2.
        alpha: their penalty at the end, quote currency per unit^2; >= 0; None for 0.
        params: parameters of the model to set instead, by name; of an optimum only q_max.

    Raises:
        UnknownNameError: no such model or parameter.
        ConfigError: a parameter out of range, or an optimum in a world that has no exact one.
    """
    if is_own(model_id):
        believed = BarEstimate(sigma=world.sigma, k=world.k, arrival_rate=world.arrival_rate, bars=0)
        session = {"horizon_s": world.horizon_s, "inventory_range": DEFAULT_INVENTORY_RANGE}
        return own_model(model_id, believed, fixed=params, session=session)
    if model_id not in WORLD_MODEL_IDS:
        raise UnknownNameError("model", model_id, WORLD_MODEL_IDS, OWN_HINT)
    gamma = require_gamma(gamma)
    phi = default_phi(world, gamma) if phi is None else require_number("phi", phi, at_least=0.0)
    alpha = 0.0 if alpha is None else require_number("alpha", alpha, at_least=0.0)
    fixed: dict[str, Any] = dict(params or {})
    if model_id in _OPTIMA:
        return _optimum(model_id, world, gamma, phi, alpha, fixed)
    made = _MODELS[model_id](world, gamma, phi, alpha)
    names = made.parameter_names()
    for name in fixed:
        if name not in names:
            raise UnknownNameError(f"parameter of {model_id}", name, names)
    return replace(made, **fixed)


def _optimum(
    model_id: str, world: World, gamma: float, phi: float, alpha: float, fixed: dict[str, Any]
) -> QuotingModel:  # fmt: skip
    q_max = fixed.pop("q_max", None)
    for name in fixed:
        raise UnknownNameError(f"parameter of {model_id}", name, ["q_max"])
    if isinstance(q_max, float) and q_max.is_integer():  # a number that came as text
        q_max = int(q_max)
    if q_max is not None:
        require_whole("q_max", q_max, at_least=1)
    objective = CARA(gamma) if model_id == OPTIMUM else RunningPenalty(phi, alpha)
    return optimal_policy(world, objective, q_max=q_max)


def check_models(model_ids: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless there are models, all of them known and none named twice."""
    if not model_ids:
        raise ConfigError(f"no model named; known: {', '.join(WORLD_MODEL_IDS)}")
    for model_id in model_ids:
        if not is_own(model_id) and model_id not in WORLD_MODEL_IDS:
            raise UnknownNameError("model", model_id, WORLD_MODEL_IDS, OWN_HINT)
        if model_ids.count(model_id) > 1:
            raise ConfigError(f"model {model_id} is named twice")
