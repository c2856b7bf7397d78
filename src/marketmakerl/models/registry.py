"""Models by the names people type, with parameters scaled to the market at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from marketmakerl.core.errors import UnknownNameError
from marketmakerl.models.avellaneda_stoikov import AvellanedaStoikov
from marketmakerl.models.rl_enhanced_model import RLEnhanced
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


def _avellaneda_stoikov(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> QuotingModel:
    gamma = risk_aversion(estimate, horizon_s, inventory_range)
    return AvellanedaStoikov(gamma, estimate.k, estimate.sigma, horizon_s)


def _symmetric(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> QuotingModel:
    gamma = risk_aversion(estimate, horizon_s, inventory_range)
    return Symmetric.of_avellaneda_stoikov(gamma, estimate.k, estimate.sigma, horizon_s)


def _rl_enhanced(estimate: BarEstimate, horizon_s: float, inventory_range: float) -> QuotingModel:
    gamma = risk_aversion(estimate, horizon_s, inventory_range)
    return RLEnhanced("default", gamma, estimate.k, estimate.sigma, horizon_s, inventory_range)


_Maker = Callable[["BarEstimate", float, float], "QuotingModel"]
_MODELS: dict[str, tuple[type[QuotingModel], _Maker]] = {
    "avellaneda_stoikov": (AvellanedaStoikov, _avellaneda_stoikov),
    "rl_enhanced": (RLEnhanced, _rl_enhanced),
    "symmetric": (Symmetric, _symmetric),
}
MODEL_IDS = tuple(sorted(_MODELS))


def check_model_params(model_id: str, fixed: Mapping[str, float]) -> None:
    """Raise `UnknownNameError` unless `model_id` names a model and every key of `fixed` one of its parameters."""
    if model_id not in _MODELS:
        raise UnknownNameError("model", model_id, MODEL_IDS)
    names = _MODELS[model_id][0].parameter_names()
    for name in fixed:
        if name not in names:
            raise UnknownNameError(f"parameter of {model_id}", name, names)


def calibrated_model(
    model_id: str,
    estimate: BarEstimate,
    *,
    horizon_s: float = DEFAULT_HORIZON_S,
    inventory_range: float = DEFAULT_INVENTORY_RANGE,
    fixed: Mapping[str, float] | None = None,
) -> QuotingModel:
    """Return a model whose parameters come from an estimate of the market.

    Args:
        model_id: one of `MODEL_IDS`.
        estimate: volatility and fill decay, from data that lie before the run.
        horizon_s: session length, seconds; > 0.
        inventory_range: order sizes at which the model leans by a whole 1/k; > 0.
        fixed: parameters to set instead, by name.

    Raises:
        UnknownNameError: no such model or parameter.
        ConfigError: a fixed parameter out of range.
    """
    check_model_params(model_id, fixed or {})
    made = _MODELS[model_id][1](estimate, horizon_s, inventory_range)
    return replace(made, **(fixed or {}))
