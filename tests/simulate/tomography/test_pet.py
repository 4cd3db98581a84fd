"""Low-count PET against the laws of counting: variance, bias, resolution, and one stream of coincidences."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from medtrans.simulate import LowCountPET, LowCountPETd
from medtrans.simulate.tomography.pet import gaussian
from medtrans.transforms import AttenuationMap

DATA = Path(__file__).parents[4] / "shared" / "data"
SIZE, STEP = 32, 6.0


def disc(radius: float = 70.0, size: int = SIZE, step: float = STEP, fine: int = 6) -> torch.Tensor:
    at = (np.arange(size * fine) - (size * fine - 1) / 2) * step / fine
    inside = np.hypot(*np.meshgrid(at, at)) <= radius
    return torch.from_numpy(inside.reshape(size, fine, size, fine).mean((1, 3), dtype=np.float32))[None]


CENTRE = disc(40.0)[0] == 1
DRAWS = 48  # slices of one volume are independent draws, as long as nothing smooths along z


def draws(fraction: float = 1.0, prompts: float = 2e5, algorithm: str = "fbp", seed: int = 0, **given) -> torch.Tensor:
    """Independent images of the same slice, ``(X, Y, draws)``."""
    scan = LowCountPET(
        fraction, prompts=prompts, algorithm=algorithm, scatter_fraction=0.3, randoms_fraction=0.2, post_filter_mm=0
    )
    volume = disc()[..., None].expand(1, SIZE, SIZE, DRAWS)
    companions = {name: image[..., None].expand(1, SIZE, SIZE, DRAWS) for name, image in given.items()}
    return scan.set_random_state(seed)(volume, (STEP,) * 3, **companions)[0].as_tensor()


def spread(images: torch.Tensor) -> float:
    """Standard deviation over draws, root mean square over the centre."""
    return float(images[CENTRE].var(1).mean().sqrt())


@pytest.mark.parametrize(("algorithm", "tolerance"), [("fbp", 0.06), ("osem", 0.12)])
def test_noise_falls_with_the_root_of_the_counts(algorithm, tolerance) -> None:
    levels = [1e5, 4e5, 1.6e6]
    noise = [spread(draws(prompts=prompts, algorithm=algorithm)) for prompts in levels]
    slope = np.polyfit(np.log(levels), np.log(noise), 1)[0]
    assert slope == pytest.approx(-0.5, abs=tolerance / 2)


def test_a_quarter_of_the_time_has_four_times_the_variance_and_is_part_of_the_whole() -> None:
    full, low = draws(1.0), draws(0.25)
    assert (spread(low) / spread(full)) ** 2 == pytest.approx(4, rel=0.1)
    # filtered backprojection is linear: kept/f - all has the variance (1/f - 1) of all only if kept is part of all
    assert (spread(low - full) / spread(full)) ** 2 == pytest.approx(3, rel=0.1)
    other = draws(0.25, seed=1)
    assert (spread(other - full) / spread(full)) ** 2 == pytest.approx(5, rel=0.1)


def test_a_quarter_of_the_time_is_a_quarter_of_the_counts() -> None:
    low, fewer = spread(draws(0.25, 4e5)), spread(draws(1.0, 1e5, seed=3))
    assert low == pytest.approx(fewer, rel=0.05)


@pytest.mark.parametrize(("algorithm", "fraction", "bias"), [("fbp", 0.25, 0.01), ("osem", 1.0, 0.01)])
def test_the_mean_of_the_draws_is_the_activity_behind_attenuation_too(algorithm, fraction, bias) -> None:
    images = draws(fraction, 2e6, algorithm, attenuation=0.096 * disc())
    assert float(images[CENTRE].mean()) == pytest.approx(1, abs=bias)


def test_attenuation_costs_counts_in_the_middle() -> None:
    """With as many prompts, lines through the middle of the disc lose most: noise there rises, at the rim it falls."""
    rim = (disc(66)[0] == 1) & (disc(58)[0] == 0)
    clear, dense = draws(prompts=1e6), draws(prompts=1e6, attenuation=0.15 * disc())
    ratio = [float((dense[where].var(1).mean() / clear[where].var(1).mean()).sqrt()) for where in (CENTRE, rim)]
    assert ratio[0] > 1.15
    assert ratio[0] > 1.2 * ratio[1]


@pytest.mark.parametrize("algorithm", ["fbp", "osem"])
def test_a_point_is_as_wide_as_scanner_and_filter_together(algorithm) -> None:
    """Full widths add in quadrature, in a slice and across slices."""

    def widths(resolution: float, post: float) -> np.ndarray:
        point = torch.zeros(1, 51, 51, 41)
        point[0, 25, 25, 20] = 1.0
        scan = LowCountPET(
            1.0,
            prompts=1e12,
            scatter_fraction=0,
            randoms_fraction=0,
            algorithm=algorithm,
            iterations=8,
            resolution_mm=resolution,
            post_filter_mm=post,
            bin_mm=1.0,
        )
        image = scan(point, (1.0, 1.0, 1.0))[0].as_tensor().double().numpy()
        profiles = [image[:, 25, 20], image[25, :, 20], image[25, 25, :]]
        return np.array([_full_width(profile) for profile in profiles])

    both, bare = widths(7.0, 5.0), widths(7.0, 0.0)
    np.testing.assert_allclose(both, np.hypot(7, 5), rtol=0.03)
    np.testing.assert_allclose(bare, 7, rtol=0.03)


def _full_width(profile: np.ndarray) -> float:
    """Full width at half maximum in samples, by straight lines between the samples."""
    half = profile.max() / 2
    above = np.flatnonzero(profile >= half)
    first, last = above[0], above[-1]
    left = first - (profile[first] - half) / (profile[first] - profile[first - 1])
    right = last + (profile[last] - half) / (profile[last] - profile[last + 1])
    return right - left


def test_the_filter_keeps_the_mean_and_has_its_width() -> None:
    volume = torch.zeros(1, 33, 33, 33)
    volume[0, 16, 16, 16] = 1.0
    for fwhm in (1.0, 4.0, 9.0):
        blurred = gaussian(volume, fwhm, (3.5, 2.0, 2.0)).double()[0]
        assert float(blurred.sum()) == pytest.approx(1, abs=1e-3)
        for axis, step in enumerate((3.5, 2.0, 2.0)):
            profile = blurred.sum(tuple({0, 1, 2} - {axis}))
            sigma = float((profile * ((torch.arange(33) - 16) * step) ** 2).sum().sqrt())
            assert sigma * np.sqrt(8 * np.log(2)) == pytest.approx(fwhm, rel=0.02)
    assert torch.equal(gaussian(volume, 0.0, (1, 1, 1)), volume)


def scan_of(**others) -> LowCountPET:
    return LowCountPET(prompts=2e5, **others).set_random_state(1)


def test_the_record_makes_the_same_image_and_its_full_count_image() -> None:
    scan, image = scan_of(fraction=(0.1, 0.5), dose_mbq=(100, 300)), disc()
    low = scan(image, (STEP, STEP))
    parameters = json.loads(json.dumps(low.meta["degradations"]))[-1]["parameters"]
    assert parameters["attenuation"] == "none"
    assert 0.1 <= parameters["fraction"] <= 0.5
    assert torch.equal(LowCountPET().reapply(image, parameters, (STEP, STEP)), low)
    full = LowCountPET().full_count(image, parameters, (STEP, STEP))
    assert full.meta["degradations"][-1]["parameters"]["fraction"] == 1.0
    assert float((full[0] - image[0])[CENTRE].std()) < 0.8 * float((low[0] - image[0])[CENTRE].std())
    assert not torch.equal(scan(image, (STEP, STEP)), low)


def test_ct_is_turned_into_attenuation_and_recorded() -> None:
    scan, image, ct = scan_of(), disc(), 1200 * disc() - 1000
    by_ct = scan(image, (STEP, STEP), ct=ct)
    assert by_ct.meta["degradations"][-1]["parameters"]["attenuation"] == "ct"
    by_map = scan(image, (STEP, STEP), randomize=False, attenuation=AttenuationMap()(ct))
    assert by_map.meta["degradations"][-1]["parameters"]["attenuation"] == "attenuation"
    assert torch.equal(by_ct.as_tensor(), by_map.as_tensor())
    assert not torch.equal(scan(image, (STEP, STEP), randomize=False).as_tensor(), by_ct.as_tensor())
    with pytest.raises(ValueError, match="one companion"):
        scan(image, (STEP, STEP), ct=ct, attenuation=ct)
    with pytest.raises(ValueError, match="recorded with attenuation from ct, now it is none"):
        scan.reapply(image, by_ct.meta["degradations"][-1]["parameters"], (STEP, STEP))


def test_a_slice_has_the_prompts_that_were_asked_for(monkeypatch) -> None:
    seen = []
    poisson = torch.poisson
    monkeypatch.setattr(torch, "poisson", lambda mean, generator: seen.append(poisson(mean, generator)) or seen[-1])
    volume = torch.cat([disc()[..., None] * level for level in (0.5, 1.5)], -1)
    LowCountPET(prompts=3e5)(volume, (STEP,) * 3, attenuation=0.1 * torch.ones_like(volume))
    assert float(seen[-1].sum()) == pytest.approx(2 * 3e5, rel=0.01)
    assert float(seen[-1][..., 1].sum() / seen[-1][..., 0].sum()) == pytest.approx(3, rel=0.02)


def test_dose_and_time_make_the_counts_of_a_worked_example(monkeypatch) -> None:
    """A disc of 1 kBq/ml and 70 mm radius, 10 mm thick, is 153.9 kBq; 20 cps/kBq for 100 s: 307 900 trues."""
    seen = []
    poisson = torch.poisson
    monkeypatch.setattr(torch, "poisson", lambda mean, generator: seen.append(poisson(mean, generator)) or seen[-1])
    scan = LowCountPET(
        unit="Bq/ml", acquisition_s=100, scatter_fraction=0.5, randoms_fraction=0.0, half_life_min=1e6, slice_mm=10
    )
    scan(1000 * disc(), (STEP, STEP))
    assert float(seen[0].sum()) == pytest.approx(np.pi * 7**2 * 1.0 * 20 * 100 / 0.5, rel=0.01)


def test_items_get_the_full_count_image_of_the_same_coincidences() -> None:
    ct = 1000 * disc() - 1000
    item = {"source": MetaTensor(disc()), "ct": ct, "spacing": [STEP, STEP, 3.0], "axis": 2}
    pair = LowCountPETd("source", reference_key="target", prompts=2e5, fraction=0.1)
    made = pair.set_random_state(4)(item)
    records = [made[key].meta["degradations"][-1]["parameters"] for key in ("source", "target")]
    assert [record["fraction"] for record in records] == [0.1, 1.0]
    assert records[0]["seed"] == records[1]["seed"]
    assert records[0]["attenuation"] == records[1]["attenuation"] == "ct"
    assert torch.equal(made["target"], LowCountPET().full_count(disc(), records[0], (STEP, STEP), ct=ct))
    truth = LowCountPETd("source", prompts=2e5).set_random_state(4)({**item, "target": disc()})
    assert torch.equal(truth["target"], disc())


def test_a_slice_is_as_thick_as_its_volumes_step_unless_that_is_said() -> None:
    """So 2D training counts the coincidences that the slice has in the volume."""
    item = {"source": disc(), "spacing": [STEP, STEP, 4.5], "axis": 2}

    def thickness(image: MetaTensor) -> float:
        return image.meta["degradations"][-1]["parameters"]["slice_mm"]

    quick = {"views": 16, "iterations": 1}
    made = LowCountPETd("source", reference_key="target", **quick)(item)
    assert [thickness(made[key]) for key in ("source", "target")] == [4.5, 4.5]
    assert thickness(LowCountPETd("source", slice_mm=2, **quick)(item)["source"]) == 2.0
    assert thickness(LowCountPET(**quick)(disc(), (STEP, STEP))) == 3.0
    assert thickness(LowCountPET(slice_mm=2, **quick)(disc()[..., None], (STEP, STEP, 4.5))) == 4.5


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_across_the_rings_are_refused(axis) -> None:
    with pytest.raises(ValueError, match="train with axis axial, or simulate volumes first"):
        LowCountPETd("source")({"source": disc(), "spacing": [STEP] * 3, "axis": axis})


def in_unit(unit: str) -> dict:
    return {"source": disc(size=8, step=24.0), "spacing": [24.0, 24.0, 3.0], "axis": 2} | (
        {"windows": {"source": [[0.0, 20.0, unit]], "CT": [[-1024.0, 2000.0, "HU"]]}} if unit else {}
    )


@pytest.mark.parametrize("unit", ["Bq/ml", "kBq/ml", "BQ/mL"])
def test_a_unit_other_than_the_settings_is_refused_with_what_to_set(unit) -> None:
    """Becquerels that are taken for SUV would be thousands of times the coincidences, and no noise at all."""
    named = "kBq/ml" if unit.startswith("k") else "Bq/ml"
    with pytest.raises(ValueError, match=rf"the image is in {unit}, but .* counted as of SUV: set unit to {named}"):
        LowCountPETd("source")(in_unit(unit))
    with pytest.raises(ValueError, match=f"the image is in {unit}"):
        LowCountPETd("source")({**in_unit(""), "unit": unit})
    made = LowCountPETd("source", unit=named)(in_unit(unit))["source"]
    assert made.meta["degradations"][-1]["parameters"]["unit"] == named
    with pytest.raises(ValueError, match=r"the image is in SUV, but .*: set unit to SUV"):
        LowCountPETd("source", unit=named)(in_unit("SUV"))


@pytest.mark.parametrize("unit", ["SUVlbm", "SUVbsa", "fraction of maximum"])
def test_a_unit_that_dose_and_weight_do_not_make_needs_prompts(unit) -> None:
    with pytest.raises(ValueError, match="bring it to SUV, Bq/ml, kBq/ml, or set prompts"):
        LowCountPETd("source")(in_unit(unit))
    assert LowCountPETd("source", prompts=1e5)(in_unit(unit))["source"].any()


@pytest.mark.parametrize("unit", ["", "SUV"])
def test_an_image_that_says_no_unit_has_that_of_the_setting(unit) -> None:
    assert LowCountPETd("source")(in_unit(unit))["source"].any()


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(2, 15), st.integers(2, 15), st.integers(1, 4)),
    spacing=st.tuples(st.floats(0.8, 6), st.floats(0.8, 6), st.floats(0.8, 6)),
    channels=st.integers(1, 2),
    flat=st.booleans(),
    algorithm=st.sampled_from(["osem", "fbp"]),
)
def test_any_size_and_spacing_works(size, spacing, channels, flat, algorithm) -> None:
    axes = 2 if flat else 3
    image = torch.rand(channels, *size[:axes], generator=torch.Generator().manual_seed(0)) * 5
    before = image.clone()
    made = LowCountPET(algorithm=algorithm)(image, spacing[:axes])
    assert made.shape == image.shape
    assert made.dtype == torch.float32
    assert torch.isfinite(made).all()
    assert algorithm == "fbp" or (made >= 0).all()
    assert torch.equal(image, before)


def test_nothing_in_nothing_out() -> None:
    for given_ in ({}, {"prompts": 1e5}):
        assert not LowCountPET(**given_)(torch.zeros(1, 12, 9, 3), (3, 3, 3)).any()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"fraction": 0.0}, "fraction is above 0 up to 1"),
        ({"fraction": (0.5, 1.5)}, "fraction is above 0 up to 1"),
        ({"scatter_fraction": 1.0}, "scatter_fraction is from 0 up to 0.95"),
        ({"unit": "HU"}, "any other needs prompts"),
        ({"algorithm": "map"}, "one of osem, fbp"),
        ({"iterations": 0}, "iterations is from 1"),
        ({"subsets": 8, "views": 5}, "as many views"),
        ({"bin_mm": 0.0}, "bin_mm is above 0"),
        ({"kvp": 90}, "tube voltage"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, says) -> None:
    with pytest.raises(ValueError, match=says):
        LowCountPET(**wrong)


@pytest.mark.skipif(not (DATA / "nifti_dev/mni2mm/PET.nii.gz").exists(), reason="needs the public test data")
def test_a_real_brain_keeps_its_activity_and_the_shortcut_its_noise() -> None:
    image = nib.load(DATA / "nifti_dev/mni2mm/PET.nii.gz")
    pet = torch.from_numpy(np.asarray(image.dataobj, np.float32))[None, ..., 40:48]
    scan = LowCountPET(prompts=1e6).set_random_state(0)  # arbitrary units
    low, full = scan(pet, (2, 2, 2)), scan.full_count(pet, scan.parameters, (2, 2, 2))
    quick = LowCountPET(prompts=1e6, domain="image").set_random_state(1)(pet, (2, 2, 2))
    brain = pet[..., 2:-2] > 0.4
    assert float(low[..., 2:-2][brain].mean()) == pytest.approx(float(pet[..., 2:-2][brain].mean()), rel=0.03)
    noise, predicted = (low - full)[..., 2:-2][brain].std(), (quick - pet)[..., 2:-2][brain].std()
    assert float(predicted / noise) == pytest.approx(1, abs=0.12)
