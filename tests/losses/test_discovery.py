"""A new loss is one new file: terms are found by themselves and can be named in configs."""

import json
import sys

import pytest
import torch
from monai.bundle import ConfigParser

import medtrans.losses
from medtrans.losses import LossTerm, LossTerms, Observed, available


def test_every_term_is_an_attribute_of_the_package_and_explains_itself():
    assert {"L1", "Adversarial", "Style"} <= set(available())
    for name, term in available().items():
        assert getattr(medtrans.losses, name) is term
        assert issubclass(term, LossTerm)
        assert "weight: factor in the generator's total" in term.__doc__, name


def test_a_new_file_is_enough(tmp_path, monkeypatch):
    (tmp_path / "median.py").write_text(
        "from medtrans.losses.terms import LossTerm\n"
        "class MedianDifference(LossTerm):\n"
        "    def forward(self, candidate, target):\n"
        "        return (candidate.image - target.image).abs().median()\n"
    )
    monkeypatch.setattr(medtrans.losses, "__path__", [*medtrans.losses.__path__, str(tmp_path)])
    try:
        assert available()["MedianDifference"].__module__ == "medtrans.losses.median"
    finally:
        sys.modules.pop("medtrans.losses.median", None)


def test_two_terms_of_one_name_are_refused(tmp_path, monkeypatch):
    (tmp_path / "another.py").write_text(
        "from medtrans.losses.terms import LossTerm\nclass L1(LossTerm):\n    '''Another.'''\n"
    )
    monkeypatch.setattr(medtrans.losses, "__path__", [*medtrans.losses.__path__, str(tmp_path)])
    try:
        with pytest.raises(TypeError, match="share the name 'L1'"):
            available()
    finally:
        sys.modules.pop("medtrans.losses.another", None)


def test_terms_are_built_from_a_bundles_config():
    text = """{"losses": {
        "l2": {"_target_": "medtrans.losses.L2", "weight": 2.0, "masked": true,
               "intensity_weights": {"edges": [-200, 250], "weights": [0.5, 1, 3], "window": [-1024, 2000]}},
        "smooth": {"_target_": "medtrans.losses.TotalVariation", "weight": 1.0}
    }}"""
    terms = LossTerms(ConfigParser(json.loads(text)).get_parsed_content("losses"))
    image = torch.rand(1, 1, 8, 8)
    total, values = terms.generator_loss(Observed(image), Observed(image.flip(-1), mask=torch.ones(1, 1, 8, 8)))
    assert total.item() == pytest.approx(2 * values["l2"].item() + values["smooth"].item(), rel=1e-6)
