"""Resolution loss against closed forms, plain NumPy sums and SimpleITK."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy import ndimage

from medtrans.simulate import LowResolution, LowResolutiond
from medtrans.simulate.resolution import PROFILES, blurred, interpolated, slice_positions, sliced, truncated

REAL = Path(__file__).parents[3] / "shared" / "data" / "nifti_dev" / "mni2mm"
SIGMA = 1 / np.sqrt(8 * np.log(2))
INTERPOLATIONS = ("linear", "cubic", "nearest")
rng = np.random.default_rng(0)


def moments(values: np.ndarray, step: float = 1.0) -> tuple[float, float]:
    """Centre of mass and variance of a line."""
    x = np.arange(len(values)) * step
    centre = (values * x).sum() / values.sum()
    return centre, (values * (x - centre) ** 2).sum() / values.sum()


@pytest.mark.parametrize(
    ("settings_", "shape", "loses"),
    [
        ({"k_space": (2, 3.5)}, (9, 8), False),
        ({"k_space": (2, 6)}, (9, 8), True),
        ({"psf": (0, 1)}, (9, 8), True),
        ({"thickness": (3, 6)}, (9, 8), False),  # slices know no thickness
        ({"thickness": (1, 3.5), "k_space": 3}, (9, 8, 6), False),
        ({"thickness": (3, 6)}, (9, 8, 6), True),
        ({"thickness": 0, "gap": 2}, (9, 8, 6), True),
        ({"thickness": 0, "psf": [[0, 0], [0, 0], [0, 2]]}, (9, 8, 6), True),
    ],
)
def test_settings_that_cannot_change_an_image_are_warned_of_once_and_no_others(settings_, shape, loses):
    image, low = torch.rand(1, *shape), LowResolution(**{"psf": 0.0, **settings_}).set_random_state(1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        found = [low(image, (3.5,) * len(shape)).as_tensor() for _ in range(8)]
    assert any(not torch.allclose(one, image, atol=1e-5) for one in found) == loses
    assert [str(one.message).split(":")[0] for one in told] == [
        f"LowResolution takes nothing from voxels of {' x '.join(['3.5'] * len(shape))} mm"
    ] * (not loses)


def blob(shape: tuple[int, ...], centre: tuple[float, ...], sigma: float, spacing: tuple[float, ...]) -> np.ndarray:
    """A Gaussian of ``sigma`` mm, sampled; ``centre`` in voxels."""
    axes = [
        np.exp(-0.5 * ((np.arange(n) - c) * d / sigma) ** 2) for n, c, d in zip(shape, centre, spacing, strict=True)
    ]
    found = axes[0]
    for axis in axes[1:]:
        found = found[..., None] * axis
    return found[None].astype(np.float32)


def test_slices_of_whole_voxels_are_plain_means_of_them() -> None:
    volume = rng.normal(size=(1, 5, 6, 24)).astype(np.float32)
    seen = LowResolution(thickness=4, psf=0, interpolation="nearest")(volume, (2, 2, 1))
    means = volume.reshape(1, 5, 6, 6, 4).mean(-1)
    np.testing.assert_allclose(seen.numpy(), np.repeat(means, 4, axis=-1), atol=1e-6)


@pytest.mark.parametrize(("thickness", "distance"), [(2.5, 2.5), (3.0, 4.2), (5.0, 1.7)])
def test_slices_that_cut_voxels_see_the_shares_of_a_finely_divided_volume(thickness: float, distance: float) -> None:
    step, parts = 0.8, 2000
    line = rng.normal(size=30)
    fine = np.repeat(line, parts)
    x = (np.arange(fine.size) + 0.5) * step / parts - line.size * step / 2
    positions = slice_positions(line.size, step, distance)
    expected = [fine[np.abs(x - position) <= thickness / 2].mean() for position in positions]
    np.testing.assert_allclose(sliced(line.size, step, thickness, distance, "box") @ line, expected, atol=2e-3)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_half_as_high_at_half_its_thickness_and_even(profile: str) -> None:
    step, thickness = 0.02, 4.0
    row = sliced(1001, step, thickness, 1001 * step, profile)[0]  # one slice in the middle
    np.testing.assert_allclose(row, row[::-1], atol=1e-12)
    above = np.flatnonzero(row >= row.max() / 2) * step
    assert above[-1] - above[0] + step == pytest.approx(thickness, abs=2 * step)


def test_a_trapezoid_is_flat_on_top_and_has_linear_flanks() -> None:
    step = 0.01
    row = sliced(801, step, 4.0, 801 * step, "trapezoid")[0]
    x = (np.arange(801) - 400) * step
    expected = np.interp(np.abs(x), [4 * 0.3, 4 * 0.7], [1.0, 0.0])  # flanks of 0.4 FWHM about half the thickness
    np.testing.assert_allclose(row / row[400], expected, atol=5e-3)


@pytest.mark.parametrize("width", [0.3, 1.0, 2.7])
def test_in_plane_widths_add_as_squares_and_a_blob_sinks_as_the_closed_form_says(width: float) -> None:
    spacing, sigma = (0.7, 1.3), 3.0
    image = blob((75, 41), (37, 20), sigma, spacing)
    seen = LowResolution(psf=width)(image, spacing).numpy()[0]
    wider = sigma**2 + (width * SIGMA) ** 2
    for axis in (0, 1):
        assert moments(seen.sum(1 - axis), spacing[axis])[1] == pytest.approx(wider, rel=1e-4)
    assert seen.max() == pytest.approx(sigma**2 / wider, rel=5e-3)  # two axes, each sigma / wider^½


def test_every_axis_may_have_a_width_of_its_own() -> None:
    image = blob((40, 40, 40), (20, 20, 20), 3.0, (1, 1, 1))
    seen = LowResolution(thickness=0, psf=[[0, 0], [2, 2], [4, 4]])(image, (1, 1, 1)).numpy()[0]
    found = [moments(seen.sum(tuple({0, 1, 2} - {axis})))[1] for axis in range(3)]
    np.testing.assert_allclose(found, [9, 9 + (2 * SIGMA) ** 2, 9 + (4 * SIGMA) ** 2], rtol=1e-4)


def test_a_gaussian_slice_widens_a_blob_by_its_own_width_and_a_voxels() -> None:
    image = blob((4, 4, 81), (1.5, 1.5, 40), 5.0, (1, 1, 1))
    dense = LowResolution(thickness=6, gap=-5, psf=0, profile="gaussian")(image, (1, 1, 1))  # a slice every voxel
    assert moments(dense[0, 1, 1].numpy())[1] == pytest.approx(25 + (6 * SIGMA) ** 2 + 1 / 12, rel=1e-4)


def test_a_wide_psf_is_scipys_gaussian_filter() -> None:
    line = rng.normal(size=300)
    expected = ndimage.gaussian_filter1d(line, 16 * SIGMA / 0.8, truncate=8)
    np.testing.assert_allclose((blurred(300, 0.8, 16.0) @ line)[80:-80], expected[80:-80], atol=2e-3)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.floats(0.4, 4.0),
    st.floats(1.0, 8.0),
    st.floats(-2.0, 3.0),
    st.sampled_from(list(PROFILES)),
    st.sampled_from(["linear", "cubic"]),
)
def test_a_constant_stays_and_left_is_treated_as_right(
    length: int, step: float, thickness: float, gap: float, profile: str, interpolation: str
) -> None:
    volume = rng.normal(size=(2, 3, 2, length)).astype(np.float32)
    low = LowResolution(thickness, gap, 2, profile, psf=2.0, interpolation=interpolation)
    np.testing.assert_allclose(low(np.full_like(volume, -1000), (1, 2, step)).numpy(), -1000, rtol=1e-5)
    seen, mirrored = low(volume, (1, 2, step)), low(volume[..., ::-1].copy(), (1, 2, step), randomize=False)
    np.testing.assert_allclose(mirrored.numpy()[..., ::-1], seen.numpy(), atol=1e-5)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("shape", [(15, 8, 12), (16, 9, 13)])
def test_slices_as_thick_as_voxels_and_no_psf_change_nothing(interpolation: str, shape: tuple[int, ...]) -> None:
    volume = rng.normal(size=(1, *shape)).astype(np.float32)
    low = LowResolution(thickness=1.5, psf=0, interpolation=interpolation, k_space=(0.5, 0.9))
    np.testing.assert_allclose(low(volume, (1, 1, 1.5)).numpy(), volume, atol=1e-5)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS[:2])
@pytest.mark.parametrize("number", [72, 73])
@pytest.mark.parametrize("thickness", [2.0, 3.0, 3.7, 5.0])
def test_a_smooth_object_stays_where_it_is(interpolation: str, number: int, thickness: float) -> None:
    sigma = 2 * thickness
    image = blob((3, 3, number), (1, 1, 34.3), sigma, (1, 1, 1))
    for profile in PROFILES:
        low = LowResolution(thickness, 0, 2, profile, psf=0, interpolation=interpolation)
        seen = low(image, (1, 1, 1)).numpy()
        assert moments(seen[0, 1, 1])[0] == pytest.approx(moments(image[0, 1, 1])[0], abs=1e-3)


@pytest.mark.parametrize("k_space", [None, 2.2])
@pytest.mark.parametrize("size", [40, 41])
def test_a_point_stays_where_it_is(k_space: float | None, size: int) -> None:
    image = np.zeros((1, size, size, 20), np.float32)
    image[:, 17, 22, 9] = -1000  # a negative point: no magnitude is taken
    seen = LowResolution(thickness=4, gap=-3, psf=2.0, k_space=k_space)(image, (1, 1, 1)).numpy()[0]
    assert np.argmax(-seen.sum(2)) == 17 * size + 22
    for line, centre in ((seen.sum((1, 2)), 17), (seen.sum((0, 2)), 22), (seen.sum((0, 1)), 9)):
        near = slice(centre - 9, centre + 10)  # ringing goes on to both ends
        assert moments(line[near])[0] == pytest.approx(9, abs=1e-3)


def test_a_point_between_slices_is_seen_by_both_alike() -> None:
    line = np.zeros(24)
    line[11:13] = 1  # the middle of the field of view lies between the slices 3 and 4 of 6
    for interpolation in INTERPOLATIONS[:2]:
        seen = interpolated(24, 1.0, 4.0, interpolation) @ sliced(24, 1.0, 4.0, 4.0, "box") @ line
        assert moments(seen)[0] == pytest.approx(11.5, abs=1e-6)


@pytest.mark.parametrize(
    ("interpolation", "name"), [("linear", SimpleITK.sitkLinear), ("cubic", SimpleITK.sitkBSpline)]
)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_slices_lie_where_simpleitk_bins_and_resamples_them(interpolation: str, name: int, factor: int) -> None:
    volume = ndimage.gaussian_filter(rng.normal(size=(6, 7, 48)), 1).astype(np.float32)
    seen = LowResolution(factor * 1.5, psf=0, interpolation=interpolation)(volume[None], (1, 1, 1.5)).numpy()[0]
    name = {"linear": SimpleITK.sitkLinear, "cubic": SimpleITK.sitkBSpline}[interpolation]
    expected = binned(volume, (1, 1, 1.5), factor, name)
    inner = slice(None) if interpolation == "linear" else slice(4, -4)  # beyond the outermost slices splines differ
    np.testing.assert_allclose(seen[..., inner], expected[..., inner], atol=2e-5)


def binned(volume: np.ndarray, spacing: tuple[float, ...], factor: int, interpolator: int) -> np.ndarray:
    """SimpleITK's means of ``factor`` voxels along the last axis, back on the grid."""
    image = SimpleITK.GetImageFromArray(volume.transpose(2, 1, 0))
    image.SetSpacing([float(step) for step in spacing])
    back = SimpleITK.ResampleImageFilter()
    back.SetReferenceImage(image)
    back.SetInterpolator(interpolator)
    back.UseNearestNeighborExtrapolatorOn()
    return SimpleITK.GetArrayFromImage(back.Execute(SimpleITK.BinShrink(image, [1, 1, factor]))).transpose(2, 1, 0)


def test_a_truncated_k_space_keeps_its_inner_part_and_nothing_else() -> None:
    image = rng.normal(size=(1, 33, 48)).astype(np.float32)  # has negative values
    spacing, voxel = (1.0, 0.75), 2.0
    seen = LowResolution(psf=0, k_space=voxel)(image, spacing).numpy()[0]
    spectrum = np.fft.fft2(image[0])
    inside = [np.abs(np.fft.fftfreq(n, d)) <= 0.5 / voxel for n, d in zip(image.shape[1:], spacing, strict=True)]
    spectrum[~np.outer(*inside)] = 0
    np.testing.assert_allclose(seen, np.fft.ifft2(spectrum).real, atol=1e-5)


def test_a_truncated_k_spaces_point_is_a_sinc_of_12_voxels_width() -> None:
    step, voxel = 0.1, 4.0
    line = truncated(1201, step, voxel)[600]
    above = np.flatnonzero(line >= line.max() / 2) * step
    assert above[-1] - above[0] + step == pytest.approx(1.207 * voxel, abs=2 * step)
    assert line.min() / line.max() == pytest.approx(-0.217, abs=0.004)  # the first lobe of sin(x) / x


def test_ringing_of_an_mr_image_is_a_magnitude() -> None:
    image = np.zeros((1, 40, 40), np.float32)
    image[:, 10:30, 10:30] = 100
    seen = LowResolution(psf=0, k_space=3.0)(image, (1, 1)).numpy()
    assert seen.min() >= 0
    assert seen.max() > 105  # Gibbs
    signed = LowResolution(psf=0, k_space=3.0)(image - 1, (1, 1)).numpy()  # as CT would be
    np.testing.assert_allclose(np.abs(signed + 1), seen, atol=1e-3)


def test_thickness_distance_and_widths_are_drawn_within_their_ranges_and_recorded() -> None:
    low = LowResolution((2, 5), (0, 1), axis=0, psf=[[0, 0], [1, 2], [3, 3]], k_space=(1, 2)).set_random_state(0)
    volume = rng.random((1, 20, 12, 9), np.float32)
    drawn = []
    for _ in range(30):
        seen = low(volume, (1, 1, 3))
        drawn.append(json.loads(json.dumps(seen.meta["degradations"][0]["parameters"])))
    thickness = np.array([found["thickness_mm"] for found in drawn])
    gaps = np.array([found["distance_mm"] for found in drawn]) - thickness
    assert 2 <= thickness.min() < 2.7 < 4.3 < thickness.max() <= 5
    assert 0 <= gaps.min() < 0.3 < 0.7 < gaps.max() <= 1
    assert {found["psf_mm"][0] for found in drawn} == {0.0}
    assert {found["psf_mm"][2] for found in drawn} == {3.0}
    replayed = LowResolution().reapply(volume, drawn[-1], (1, 1, 3))
    assert torch.equal(replayed, seen)


def test_slices_thinner_than_voxels_are_voxels() -> None:
    low = LowResolution(thickness=1, gap=-3)
    low(np.zeros((1, 4, 4, 4), np.float32), (1, 1, 3.5))
    assert low.parameters is not None
    assert low.parameters["thickness_mm"] == low.parameters["distance_mm"] == 3.5


def test_a_dictionary_degrades_volumes_and_slices() -> None:
    volume = MetaTensor(rng.random((1, 12, 14, 16), np.float32), affine=np.diag([1, 1, 2, 1.0]))
    found = LowResolutiond(["source"], thickness=4, psf=0)({"source": volume, "target": volume})
    assert found["source"].meta["degradations"][0]["degradation"] == "LowResolution"
    assert torch.equal(found["source"], LowResolution(thickness=4, psf=0)(volume))
    assert found["target"] is volume
    item = {"source": volume[..., 0].as_tensor(), "spacing": [1.0, 2.0, 4.0], "axis": 0}
    seen = LowResolutiond("source", psf=4.0)(item)["source"]
    expected = LowResolution(psf=4.0)(item["source"], (2.0, 4.0))
    assert torch.equal(seen, expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"profile": "sinc"}, "box, gaussian, trapezoid"),
        ({"interpolation": "sinc"}, "linear, cubic, nearest"),
        ({"axis": 3}, "axis 0, 1 or 2"),
        ({"thickness": -1}, "thickness"),
        ({"psf": (-1, 2)}, "psf"),
        ({"k_space": 0}, "k_space"),
        ({"gap": (2, 1)}, "lowest"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LowResolution(**wrong)  # type: ignore[arg-type]


def test_as_many_widths_as_axes_are_asked_for() -> None:
    with pytest.raises(ValueError, match="2 ranges, the image 3 axes"):
        LowResolution(psf=[[0, 0], [1, 1]])(np.zeros((1, 4, 4, 4), np.float32), (1, 1, 1))


@pytest.mark.skipif(not REAL.is_dir(), reason="no real images here")
def test_a_real_t1_is_seen_as_simpleitk_sees_it() -> None:
    path = next(REAL.glob("T1.nii*"))
    volume = np.asarray(nibabel.load(path).get_fdata(), np.float32)[:40, :40, :88]
    seen = LowResolution(thickness=8, psf=0)(volume[None], (2, 2, 2)).numpy()[0]
    np.testing.assert_allclose(seen, binned(volume, (2, 2, 2), 4, SimpleITK.sitkLinear), atol=1e-4 * volume.max())


def test_a_range_of_widths_may_be_a_list_as_in_json() -> None:
    as_list, as_pair = (
        LowResolution(psf=psf).set_random_state(0).draw((1, 8, 8, 8), (1, 1, 1)) for psf in ([2.0, 4.0], (2.0, 4.0))
    )
    assert as_list == as_pair
    assert 2 <= as_list["psf_mm"][0] == as_list["psf_mm"][1] <= 4
