"""What all CT degradations keep to: HU, what is stored, masks, slices, seeds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medtrans.simulate import (
    HeadPhantom,
    LowDoseCT,
    LowDoseCTd,
    MetalArtefactCT,
    MetalArtefactCTd,
    RingArtefactCT,
    RingArtefactCTd,
    SparseViewCT,
    SparseViewCTd,
)
from medtrans.simulate.tomography.ct import CTDegradation, attenuation_of, stored

ALL = [LowDoseCT, MetalArtefactCT, RingArtefactCT, SparseViewCT]
FORMS = [LowDoseCTd, MetalArtefactCTd, RingArtefactCTd, SparseViewCTd]
HEAD = HeadPhantom(3, spacing=(5.0, 4.0, 12.0), noise=False)
CT = HEAD.images(["CT"])["CT"][None]


@pytest.mark.parametrize("degradation", ALL)
def test_an_odd_anisotropic_volume_is_degraded_as_its_seed_and_its_record_say(degradation: type[CTDegradation]) -> None:
    assert CT.shape[1] != CT.shape[2]
    first, again, other = (degradation().set_random_state(seed)(CT, HEAD.spacing) for seed in (1, 1, 2))
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not np.array_equal(first.numpy(), CT)
    record = json.loads(json.dumps(first.meta["degradations"][0]))
    assert record["degradation"] == degradation.__name__
    assert torch.equal(degradation().reapply(CT, record["parameters"], HEAD.spacing), first)


@pytest.mark.parametrize("degradation", ALL)
def test_a_slice_alone_and_two_channels_are_degraded(degradation: type[CTDegradation]) -> None:
    middle = np.concatenate([CT, CT + 10])[..., CT.shape[-1] // 2]
    seen = degradation().set_random_state(1)(middle, HEAD.spacing[:2]).numpy()
    assert seen.shape == middle.shape
    assert np.abs(seen - middle).max() > 1


@pytest.mark.parametrize("form", FORMS)
def test_the_dictionary_form_is_the_array_form(form: type) -> None:
    item = {"source": MetaTensor(CT, affine=HEAD.affine), "target": CT, "mask": np.zeros_like(CT)}
    found = form("source", views=30).set_random_state(4)(item)
    expected = form.array_form(views=30).set_random_state(4)(item["source"])
    assert torch.equal(found["source"], expected)
    assert found["target"] is CT
    masked = form("source", companions={"mask": "mask"}, views=30).set_random_state(4)(item)
    assert torch.equal(masked["source"].as_tensor(), item["source"].as_tensor())


def test_outside_the_mask_nothing_changes() -> None:
    mask = np.zeros_like(CT)
    mask[:, 10:20, 10:25] = 1
    seen = LowDoseCT(mas=0.1)(CT, HEAD.spacing, mask=mask).numpy()
    assert np.array_equal(seen[mask == 0], CT[mask == 0])
    assert np.abs(seen - CT)[mask > 0].mean() > 1


@pytest.mark.parametrize("form", [LowDoseCTd, MetalArtefactCTd])
def test_a_slice_of_a_volume_counts_the_photons_that_it_counts_in_the_volume(form: type) -> None:
    item = {"source": CT[..., 4], "spacing": list(HEAD.spacing), "axis": 2}

    def photons(image: MetaTensor) -> float:
        return image.meta["degradations"][0]["parameters"]["photons_per_ray"]

    volume = photons(form.array_form()(CT, HEAD.spacing))
    assert photons(form("source")(item)["source"]) == pytest.approx(volume)
    assert photons(form("source", slice_mm=3)(item)["source"]) == pytest.approx(volume * 3 / HEAD.spacing[2])
    assert photons(form.array_form()(item["source"], HEAD.spacing[:2])) == pytest.approx(volume / HEAD.spacing[2])


@pytest.mark.parametrize("form", FORMS)
def test_slices_across_the_rays_are_refused(form: type) -> None:
    with pytest.raises(ValueError, match="train with axis axial, or simulate volumes first"):
        form("source")({"source": CT[:, 10], "spacing": list(HEAD.spacing), "axis": 0})


@pytest.mark.parametrize("degradation", ALL)
def test_the_record_says_the_companions_and_is_not_reapplied_without_them(degradation: type[CTDegradation]) -> None:
    image, mask = CT[..., 4], np.zeros_like(CT[..., 4])
    mask[:, 10:20, 10:25] = 1
    masked = degradation(views=30).set_random_state(1)(image, HEAD.spacing[:2], mask=mask)
    parameters = json.loads(json.dumps(masked.meta["degradations"][0]["parameters"]))
    assert parameters["companions"] == ["mask"]
    assert torch.equal(degradation().reapply(image, parameters, HEAD.spacing[:2], mask=mask), masked)
    with pytest.raises(ValueError, match="recorded with mask, now no companion is given"):
        degradation().reapply(image, parameters, HEAD.spacing[:2], mask=None)
    alone = degradation(views=30)(image, HEAD.spacing[:2]).meta["degradations"][0]["parameters"]
    with pytest.raises(ValueError, match="recorded with no companion, now mask is given"):
        degradation().reapply(image, alone, HEAD.spacing[:2], mask=mask)


@pytest.mark.parametrize(
    "nothing",
    [
        LowDoseCT(mas=300, electronic=10),
        SparseViewCT(kept=90, views=90),
        RingArtefactCT(gain=0),
        RingArtefactCT(channels=0),
        MetalArtefactCT(implants=0),
        MetalArtefactCT(bone=4000),
    ],
)
def test_without_a_cause_there_is_no_change_of_a_single_bit(nothing: CTDegradation) -> None:
    assert np.array_equal(nothing(CT, HEAD.spacing).numpy(), CT)


def test_what_a_scanner_cannot_store_is_cut_off_and_padding_stays() -> None:
    scan = torch.tensor([-2000.0, -1000, -1000, 3000, 3500, 3500, 40])
    change = torch.tensor([50.0, -100, 100, 200, 100, -100, 7])
    assert stored(scan, change).tolist() == [-2000, -1024, -900, 3071, 3500, 3400, 47]


def test_hu_are_attenuation_relative_to_water_and_air() -> None:
    np.testing.assert_allclose(attenuation_of(torch.tensor([-2000.0, -1000, 0, 1000])), [0, 0, 0.01929, 0.03858])


@pytest.mark.parametrize(
    ("degradation", "wrong", "message"),
    [
        (LowDoseCT, {"mas": 400}, "not above the 300"),
        (LowDoseCT, {"mas": (0, 20)}, "above 0"),
        (LowDoseCT, {"photons_per_ray": 0}, "photons"),
        (LowDoseCT, {"electronic": -1}, "electronic"),
        (LowDoseCT, {"window": "sharp"}, "hann"),
        (LowDoseCT, {"views": 0}, "1 view"),
        (SparseViewCT, {"kept": 1}, "2 views"),
        (SparseViewCT, {"arc": 190}, "180"),
        (RingArtefactCT, {"gain": 100}, "per cent"),
        (RingArtefactCT, {"channels": -1}, "channels"),
        (RingArtefactCT, {"rows": 0}, "row"),
        (RingArtefactCT, {"radius": (-3, 3)}, "radius"),
        (MetalArtefactCT, {"metals": "wood"}, "titanium, steel"),
        (MetalArtefactCT, {"radius": 0}, "above 0"),
        (MetalArtefactCT, {"implants": -1}, "implants"),
    ],
)
def test_settings_that_make_no_sense_are_refused(degradation: type, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        degradation(**wrong)
