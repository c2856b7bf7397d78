"""The page about the models: its code runs, its numbers are what comes out, and it names what there is."""

import re
from pathlib import Path

import pytest

import marketmakerl as mml
from marketmakerl.models.registry import MODEL_IDS, parameter_names

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "quoting-models.md").read_text(encoding="utf-8")


def test_the_blocks_run_and_the_numbers_are_theirs(capsys):
    names: dict = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/quoting-models.md, block {number + 1}", "exec"), names)
    assert "(3.653" in capsys.readouterr().out
    parts = names["leaning"].explain(names["context"])
    told = re.findall(r"^\| `(\w+)` \| (-?[\d.]+) \|", PAGE, re.MULTILINE)
    assert len(told) == 11
    for name, value in told:
        assert f"{parts[name]:.4f}" == value


def test_every_model_and_parameter_is_named():
    for model_id in MODEL_IDS:
        assert f"`{model_id}`" in PAGE
    for name in {*parameter_names("glft_imbalance"), *parameter_names("cartea_jaimungal")} - {"variant"}:
        assert re.search(rf"^\| .*`{name}`", PAGE, re.MULTILINE), name
    for name in ("GLFT", "CarteaJaimungal", "Skewed", "Ladder", "RLEnhanced", "Symmetric", "AvellanedaStoikov"):
        assert f"`{name}(" in PAGE
        assert name in mml.__all__


@pytest.mark.parametrize("fee", [0.0, 0.2])
def test_the_formula_of_the_closed_form(fee):
    from math import exp, log, sqrt

    gamma, k, sigma, rate, drift, q = 0.03, 0.8, 0.4, 0.6, 0.001, 2.0
    r = sqrt(sigma**2 * gamma / (2 * k * rate * exp(-k * fee)) * (1 + gamma / k) ** (1 + k / gamma))
    wanted = [log(1 + gamma / k) / gamma + fee + r / 2 + s * (q - drift / (gamma * sigma**2)) * r for s in (1, -1)]
    model = mml.GLFT(gamma, k, sigma, rate, 30, fee, "closed_form", drift=drift)
    assert model.offsets(q) == pytest.approx(wanted, rel=1e-12)
