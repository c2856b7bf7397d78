"""Models by name: parameters from the market or from the caller, and the same rule for how far each one leans."""

import numpy as np
import pytest

from marketmakerl import GLFT, AvellanedaStoikov, CarteaJaimungal, Skewed
from marketmakerl.core.errors import ConfigError, UnknownNameError
from marketmakerl.models.bar_calibration import BarEstimate
from marketmakerl.models.registry import MODEL_IDS, calibrated_model, model_of, parameter_names

BTC = BarEstimate(sigma=5.0, k=1 / 25, arrival_rate=1 / 60, bars=500)
COIN = BarEstimate(sigma=3e-6, k=2e5, arrival_rate=1.0, bars=500)


@pytest.mark.parametrize("estimate", [BTC, COIN])
@pytest.mark.parametrize("model_id", ["avellaneda_stoikov", "glft", "glft_microprice", "cartea_jaimungal"])
@pytest.mark.parametrize("inventory_range", [4.0, 10.0])
def test_every_model_leans_by_1_over_k_at_the_range(estimate, model_id, inventory_range):
    model = calibrated_model(model_id, estimate, horizon_s=36_000.0, inventory_range=inventory_range)
    bid, ask = model.offsets(inventory_range)
    assert (bid - ask) / 2 * estimate.k == pytest.approx(1.0, rel=0.12)  # the closed form is not the stationary quote
    if model_id == "glft":
        closed = calibrated_model(
            model_id, estimate, inventory_range=inventory_range, fixed={"variant": "closed_form"}
        )  # fmt: skip
        assert np.subtract(*closed.offsets(inventory_range)) / 2 * estimate.k == pytest.approx(1.0, rel=1e-9)
    if model_id == "cartea_jaimungal":  # at the end of the session by its own penalty
        assert np.subtract(*model.offsets(inventory_range, 0.0)) / 2 * estimate.k == pytest.approx(1.0, rel=1e-9)


def test_parameters_of_a_skewed_model_are_its_base_s_and_the_weight():
    model = calibrated_model("glft_imbalance", BTC, fixed={"weight": 3.0, "q_max": 7, "variant": "closed_form"})
    assert isinstance(model, Skewed)
    assert (model.weight, model.base.q_max, model.base.variant) == (3.0, 7, "closed_form")
    assert parameter_names("glft_imbalance") == [*GLFT.parameter_names(), "weight"]
    with pytest.raises(UnknownNameError, match="did you mean weight"):
        calibrated_model("glft_imbalance", BTC, fixed={"weigth": 1.0})


def test_a_model_of_its_parameters():
    given = {"gamma": 0.01, "k": 0.3, "sigma": 0.3, "arrival_rate": 0.9}
    assert model_of("glft", given) == GLFT(**given)
    assert model_of("glft_microprice", given | {"weight": 0.5}) == Skewed(GLFT(**given), "microprice", 0.5)
    assert model_of("avellaneda_stoikov", {"gamma": 0.1, "k": 1.5, "sigma": 2.0}) == AvellanedaStoikov(
        0.1, 1.5, 2.0, None
    )
    penalties = {"k": 1.5, "arrival_rate": 140.0, "phi": 0.01, "alpha": 0.0, "horizon_s": 1.0, "q_max": 10.0}
    assert model_of("cartea_jaimungal", penalties) == CarteaJaimungal(**penalties)


@pytest.mark.parametrize(
    ("model_id", "given", "error", "text"),
    [
        ("glft", {"gamma": 0.1}, ConfigError, "glft needs k, sigma, arrival_rate: add --param k=number"),
        ("glft_microprice", {}, ConfigError, "needs gamma, k, sigma, arrival_rate, weight"),
        ("glft", {"gama": 0.1}, UnknownNameError, "did you mean gamma"),
        ("gltf", {}, UnknownNameError, "did you mean glft"),
        ("symmetric", {"half_spread": "wide"}, ConfigError, "half_spread must be a finite number > 0, got 'wide'"),
    ],
)
def test_what_is_no_model(model_id, given, error, text):
    with pytest.raises(error, match=text):
        model_of(model_id, given)


def test_ids_are_sorted_and_every_one_can_be_made():
    assert list(MODEL_IDS) == sorted(MODEL_IDS)
    for model_id in MODEL_IDS:
        assert calibrated_model(model_id, BTC).id == model_id
