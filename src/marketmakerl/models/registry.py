"""Models by the names people type, with parameters scaled to the market at hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from typing import TYPE_CHECKING, Any

from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.models.avellaneda_stoikov import AvellanedaStoikov
from marketmakerl.models.cartea_jaimungal import CarteaJaimungal
from marketmakerl.models.glft import GLFT
from marketmakerl.models.inventory_values import Q_MAX
from marketmakerl.models.own_file import is_own, own_model
from marketmakerl.models.rl_enhanced_model import RLEnhanced
from marketmakerl.models.skewed import Skewed
from marketmakerl.models.symmetric import Symmetric

if TYPE_CHECKING:
    from marketmakerl.models.bar_calibration import BarEstimate
    from marketmakerl.models.contract import QuotingModel

DEFAULT_HORIZON_S = 3600.0
DEFAULT_INVENTORY_RANGE = 10.0


def risk_aversion(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> float:
    """Return the gamma that moves the reservation price by 1/k when `inventory_range` order sizes are held.

    From r = S - q gamma sigma^2 (T - t) with q = inventory_range and a whole session left; 1/k is the half-spread
    of a risk-neutral maker, so at that inventory the quote on the reducing side stands at the mid.
    """
    return 1.0 / (estimate.k * estimate.sigma**2 * horizon_s * inventory_range)


def stationary_risk_aversion(estimate: BarEstimate, inventory_range: float) -> float:
    """Return the gamma at which the stationary GLFT quotes lean by 1/k when `inventory_range` order sizes are held.

    The same rule as `risk_aversion`, for the skew per order size of the closed form,
    r = sqrt(sigma^2 gamma / (2kA) (1 + gamma/k)^(1 + k/gamma)), which has no session to fade out over.
    """
    level = math.log(estimate.sigma**2 / (2.0 * estimate.arrival_rate)) + 2.0 * math.log(estimate.k * inventory_range)
    low, high = -600.0, 600.0
    for _ in range(100):  # bisect ln(gamma/k), with which ln(r k range)^2 grows
        middle = 0.5 * (low + high)
        ratio = math.exp(middle)
        if level + middle + (1.0 + 1.0 / ratio) * math.log1p(ratio) > 0.0:
            high = middle
        else:
            low = middle
    return estimate.k * math.exp(high)


def inventory_bound(inventory_range: float) -> int:
    """Return q_max: three times the inventory at which a model leans by 1/k, where it hardly ever comes."""
    return min(max(math.ceil(3.0 * inventory_range), 1), Q_MAX)


def _avellaneda_stoikov(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> QuotingModel:
    gamma = risk_aversion(estimate, horizon_s, inventory_range)
    return AvellanedaStoikov(gamma, estimate.k, estimate.sigma, horizon_s)


def _symmetric(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> QuotingModel:
    gamma = risk_aversion(estimate, horizon_s, inventory_range)
    return Symmetric.of_avellaneda_stoikov(gamma, estimate.k, estimate.sigma, horizon_s)


def _rl_enhanced(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> QuotingModel:
    gamma = risk_aversion(estimate, horizon_s, inventory_range)
    return RLEnhanced("default", gamma, estimate.k, estimate.sigma, horizon_s, inventory_range)


def _glft(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> GLFT:
    gamma = stationary_risk_aversion(estimate, inventory_range)
    q_max = inventory_bound(inventory_range)
    return GLFT(gamma, estimate.k, estimate.sigma, estimate.arrival_rate, q_max, horizon_s=horizon_s)


def _glft_microprice(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> QuotingModel:
    return Skewed(_glft(estimate, horizon_s, inventory_range), "microprice", 1.0)


def _glft_imbalance(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> QuotingModel:
    # A book that shows one side only moves the quotes by half of 1/k, the half-spread of a risk-neutral maker.
    return Skewed(_glft(estimate, horizon_s, inventory_range), "imbalance", 0.5 / estimate.k)


def _cartea_jaimungal(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> QuotingModel:
    """Lean by 1/k at `inventory_range` order sizes, through the session (phi) and at its end (alpha).

    Far from the end the skew per order size is sqrt(phi e / (kappa lambda)), at it 2 alpha; phi is gamma sigma^2 / 2
    for the gamma that does the same in GLFT, where that is small against k.
    """
    k, arrivals = estimate.k, estimate.arrival_rate
    phi = arrivals / (math.e * k * inventory_range**2)
    alpha = 0.5 / (k * inventory_range)
    return CarteaJaimungal(k, arrivals, phi, alpha, horizon_s, inventory_bound(inventory_range))


OWN_HINT = "(a model of your own: path.py:name, docs/custom-model.md)"

_Maker = Callable[["BarEstimate", float, float], "QuotingModel"]
_MODELS: dict[str, tuple[type[QuotingModel], _Maker]] = {
    "avellaneda_stoikov": (AvellanedaStoikov, _avellaneda_stoikov),
    "cartea_jaimungal": (CarteaJaimungal, _cartea_jaimungal),
    "glft": (GLFT, _glft),
    "glft_imbalance": (GLFT, _glft_imbalance),
    "glft_microprice": (GLFT, _glft_microprice),
    "rl_enhanced": (RLEnhanced, _rl_enhanced),
    "symmetric": (Symmetric, _symmetric),
}
MODEL_IDS = tuple(sorted(_MODELS))
# A base and the signal of the book that moves it; without depth, as on bars, they quote as the base does.
_SIGNALS = {"glft_imbalance": "imbalance", "glft_microprice": "microprice"}
BOOK_MODEL_IDS = tuple(_SIGNALS)


def parameter_names(model_id: str) -> list[str]:
    """Return the names of a model's parameters.

    Raises:
        UnknownNameError: no such model.
    """
    if model_id not in _MODELS:
        raise UnknownNameError("model", model_id, MODEL_IDS, OWN_HINT)
    return _MODELS[model_id][0].parameter_names() + ["weight"] * (model_id in _SIGNALS)


def model_of(model_id: str, params: Mapping[str, float | str]) -> QuotingModel:
    """Return a model made of its parameters alone; what has a default may be left out, and a horizon for none.

    A model of one's own is named path.py:name (see `own_model`).

    Raises:
        UnknownNameError: no such model or parameter.
        ConfigError: a parameter missing or out of range.
    """
    if is_own(model_id):
        return own_model(model_id, None, fixed=params)
    check_model_params(model_id, params)
    made = _MODELS[model_id][0]
    given: dict[str, Any] = dict(params)
    skew = {name: given.pop(name) for name in ("weight",) if name in given}
    needed = [item.name for item in fields(made) if item.default is MISSING]
    if model_id == "avellaneda_stoikov":
        given.setdefault("horizon_s", None)
    if model_id in _SIGNALS:
        needed += ["weight"]
    missing = [name for name in needed if name not in given and name not in skew]
    if missing:
        raise ConfigError(f"{model_id} needs {', '.join(missing)}: add --param {missing[0]}=number, and so on")
    base = made(**given)
    return Skewed(base, _SIGNALS[model_id], **skew) if model_id in _SIGNALS else base


def check_model_params(model_id: str, fixed: Mapping[str, float | str]) -> None:
    """Raise `UnknownNameError` unless `model_id` names a model and every key of `fixed` one of its parameters."""
    names = parameter_names(model_id)
    for name in fixed:
        if name not in names:
            raise UnknownNameError(f"parameter of {model_id}", name, names)


def with_params(model: QuotingModel, fixed: Mapping[str, float | str]) -> QuotingModel:
    """Return `model` with parameters set by name; those of a skewed model's base are set there.

    Raises:
        ConfigError: a parameter out of range.
    """
    changes: dict[str, Any] = dict(fixed)
    if isinstance(model, Skewed):
        own = {name: changes.pop(name) for name in ("weight",) if name in changes}
        return replace(model, base=replace(model.base, **changes), **own)
    return replace(model, **changes)


def calibrated_model(
    model_id: str,
    estimate: BarEstimate,
    *,
    horizon_s: float = DEFAULT_HORIZON_S,
    inventory_range: float = DEFAULT_INVENTORY_RANGE,
    fixed: Mapping[str, float | str] | None = None,
) -> QuotingModel:
    """Return a model whose parameters come from an estimate of the market.

    Args:
        model_id: one of `MODEL_IDS`, or a model of one's own, path.py:name (see `own_model`).
        estimate: volatility, fill decay and arrivals, from data that lie before the run.
        horizon_s: session length, seconds; > 0.
        inventory_range: order sizes at which the model leans by a whole 1/k; > 0.
        fixed: parameters to set instead, by name.

    Raises:
        UnknownNameError: no such model or parameter.
        ConfigError: a fixed parameter out of range.
    """
    if is_own(model_id):
        session = {"horizon_s": horizon_s, "inventory_range": inventory_range}
        return own_model(model_id, estimate, fixed=fixed, session=session)
    check_model_params(model_id, fixed or {})
    made = _MODELS[model_id][1](estimate, horizon_s, inventory_range)
    return with_params(made, fixed or {})
