"""What every degradation keeps to: seed, record, replay, companions, spacing."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from medtrans.simulate.degradation import Degradation, Degradationd, Parameters, limits, noise_source, spacing_of


class Louder(Degradation):
    """A gain and some noise by the voxel: as little as a degradation can be."""

    companions = ("mask",)

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        return {"gain": self.between((1.5, 3.0)), "step_mm": spacing[0], "seed": self.new_seed()}

    def apply(self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor):
        noise = torch.randn(img.shape, generator=noise_source(parameters)).to(img)
        return img * parameters["gain"] + noise * companions.get("mask", torch.zeros_like(img))


class Doubled(Degradation):
    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        return {}

    def apply(self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor):
        return 2 * img

    def undo(self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float]) -> torch.Tensor:
        return img / 2


class LouderOfItems(Degradationd):
    array_form = Louder


class DoubledOfItems(Degradationd):
    array_form = Doubled


IMAGE = torch.arange(24.0).reshape(1, 4, 6)


def test_the_same_seed_gives_the_same_image_and_another_seed_another() -> None:
    first, again, other = (Louder().set_random_state(seed)(IMAGE, (1, 1)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_was_applied_is_recorded_as_json_and_makes_the_same_image_again() -> None:
    degraded = Louder().set_random_state(0)(IMAGE, (0.5, 2.0), mask=torch.ones(1, 4, 6))
    record = json.loads(json.dumps(degraded.meta["degradations"]))[-1]
    assert record["degradation"] == "Louder"
    assert record["parameters"]["step_mm"] == 0.5
    replayed = Louder().reapply(IMAGE, record["parameters"], (0.5, 2.0), mask=torch.ones(1, 4, 6))
    assert torch.equal(degraded, replayed)


def test_companions_are_recorded_by_name_and_the_record_is_not_reapplied_with_others() -> None:
    mask = torch.ones(1, 4, 6)
    without, masked = Louder()(IMAGE, (1, 1), mask=None), Louder()(IMAGE, (1, 1), mask=mask)
    bare, beside = (image.meta["degradations"][0]["parameters"] for image in (without, masked))
    assert (bare["companions"], beside["companions"]) == ([], ["mask"])
    assert torch.equal(Louder().reapply(IMAGE, beside, (1, 1), mask=mask), masked)
    with pytest.raises(ValueError, match="recorded with mask, now no companion is given"):
        Louder().reapply(IMAGE, beside, (1, 1))
    with pytest.raises(ValueError, match="recorded with no companion, now mask is given"):
        Louder().reapply(IMAGE, bare, (1, 1), mask=mask)
    assert Doubled()(IMAGE, (1, 1)).meta["degradations"][0]["parameters"] == {}  # it looks at none


def test_records_of_one_degradation_after_another_stand_in_their_order() -> None:
    twice = Doubled()(Louder()(IMAGE, (1, 1)))
    assert [record["degradation"] for record in twice.meta["degradations"]] == ["Louder", "Doubled"]


def test_the_given_image_is_left_as_it_is() -> None:
    given = MetaTensor(IMAGE.clone())
    Louder()(given)
    assert torch.equal(given.as_tensor(), IMAGE)
    assert "degradations" not in given.meta


def test_without_randomize_the_latest_parameters_are_taken_again() -> None:
    louder = Louder()
    with pytest.raises(ValueError, match="no parameters yet"):
        louder(IMAGE, (1, 1), randomize=False)
    assert torch.equal(louder(IMAGE, (1, 1)), louder(IMAGE, (1, 1), randomize=False))


def test_inverse_takes_the_latest_degradation_back_and_its_record_too() -> None:
    image = MetaTensor(IMAGE)
    back = Doubled().inverse(Doubled()(image))
    assert torch.equal(back.as_tensor(), IMAGE)
    assert back.meta["degradations"] == []
    with pytest.raises(ValueError, match="nothing"):
        Doubled().inverse(back)
    with pytest.raises(ValueError, match="Louder"):
        Doubled().inverse(Louder()(image))
    with pytest.raises(NotImplementedError, match="Louder"):
        Louder().inverse(Louder()(image))


def test_spacing_comes_from_the_affine_unless_it_is_said() -> None:
    image = MetaTensor(torch.zeros(1, 3, 3, 3), affine=np.diag([0.5, 2.0, 3.0, 1.0]))
    assert spacing_of(image) == (0.5, 2.0, 3.0)
    assert spacing_of(image, (1, 1, 4)) == (1.0, 1.0, 4.0)
    for wrong in (None, (1.0,), (1.0, 0.0)):
        with pytest.raises(ValueError, match="voxel sizes"):
            spacing_of(IMAGE, wrong)


def test_companions_are_checked_by_name_and_grid() -> None:
    with pytest.raises(ValueError, match="knows no ct"):
        Louder()(IMAGE, (1, 1), ct=IMAGE)
    with pytest.raises(ValueError, match="mask is"):
        Louder()(IMAGE, (1, 1), mask=torch.ones(1, 3, 3))


def test_a_dictionary_shares_one_draw_between_its_keys_and_follows_composes_seed() -> None:
    item = {"source": IMAGE, "other": 2 * IMAGE, "mask": torch.zeros(1, 4, 6), "spacing": [2.0, 3.0, 4.0], "axis": 0}
    chain = Compose([LouderOfItems(["source", "other"], companions={"mask": "mask"})])
    first = chain.set_random_state(5)(item)
    assert torch.equal(2 * first["source"].as_tensor(), first["other"].as_tensor())
    assert first["source"].meta["degradations"][0]["parameters"]["step_mm"] == 3.0  # a sagittal slice has no x
    assert torch.equal(first["source"], chain.set_random_state(5)(item)["source"])
    assert not torch.equal(first["source"], chain.set_random_state(6)(item)["source"])


class Tomography(Louder):
    axial_only = True

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        return {"gain": 2.0, "seed": 0, "across_mm": self.across_mm}


class TomographyOfItems(Degradationd):
    array_form = Tomography


def test_a_slice_tells_the_step_across_it_and_a_volume_none() -> None:
    degrade = TomographyOfItems("source")

    def across(item: dict) -> float | None:
        return degrade(item)["source"].meta["degradations"][0]["parameters"]["across_mm"]

    assert across({"source": IMAGE, "spacing": [2.0, 3.0, 4.0], "axis": 2}) == 4.0
    assert across({"source": IMAGE[..., None], "spacing": [2.0, 3.0, 4.0]}) is None
    assert across({"source": MetaTensor(IMAGE)}) is None


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_that_rays_do_not_lie_in_are_refused(axis) -> None:
    item = {"source": IMAGE, "spacing": [2.0, 3.0, 4.0], "axis": axis}
    with pytest.raises(ValueError, match=r"axial slices.*train with axis axial, or simulate volumes first"):
        TomographyOfItems("source")(item)
    with pytest.raises(ValueError, match="axial slices"):
        TomographyOfItems("source", spacing_key="none")({**item, "source": MetaTensor(IMAGE)})
    assert LouderOfItems("source")(item)["source"].shape == IMAGE.shape
    assert TomographyOfItems("source")({**item, "source": IMAGE[..., None]})["source"].ndim == 4


def test_a_dictionary_inverts_where_that_is_possible() -> None:
    double = DoubledOfItems("source")
    item = double({"source": MetaTensor(IMAGE)})
    assert torch.equal(double.inverse(item)["source"].as_tensor(), IMAGE)


def test_a_range_the_wrong_way_round_is_refused() -> None:
    assert limits(2) == (2.0, 2.0)
    with pytest.raises(ValueError, match="lowest"):
        limits((2, 1))
