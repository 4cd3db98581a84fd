from __future__ import annotations

import nibabel
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from medtrans import InputError, metrics
from medtrans.reports.measuring import Volumes, comparable_source, measure, read_volumes, slices_to_measure
from medtrans.reports.pairing import Pair, pairs_from_cases


@pytest.fixture
def pair(study) -> Pair:
    return pairs_from_cases(study.predictions, study.cases(), target="CT", source="MR")[0]


def rows(found, **wanted) -> list[dict]:
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def test_volume_rows_hold_the_metrics_of_the_whole_volume_and_of_the_mask(pair):
    volumes = read_volumes(pair)
    measured = measure(pair, volumes, metrics.create(["mae", "psnr"]))
    difference = np.abs(volumes.prediction - volumes.reference)
    (inside,) = rows(measured.volume, image="synthetic", region="mask")
    (whole,) = rows(measured.volume, image="synthetic", region="whole")
    assert inside["mae"] == pytest.approx(difference[volumes.mask].mean(), rel=1e-5)
    assert whole["mae"] == pytest.approx(difference.mean(), rel=1e-5)
    clipped = [np.clip(image, -1000, 1500)[volumes.mask] for image in (volumes.reference, volumes.prediction)]
    assert inside["psnr"] == pytest.approx(peak_signal_noise_ratio(*clipped, data_range=2500), rel=1e-5)


def test_slice_rows_are_the_axial_slices_with_more_than_two_percent_of_mask(study, pair):
    volumes = read_volumes(pair)
    measured = measure(pair, volumes, metrics.create(["mae"]))
    found = rows(measured.slices, image="synthetic", region="mask")
    expected = [k for k in range(study.shape[2]) if volumes.mask[..., k].mean() > 0.02]
    assert [row["slice"] for row in found] == expected
    assert 0 < len(expected) < study.shape[2]
    for row in found[::7]:
        k = row["slice"]
        difference = np.abs(volumes.prediction - volumes.reference)[..., k][volumes.mask[..., k]]
        assert row["mae"] == pytest.approx(difference.mean(), rel=1e-5)


def test_two_percent_of_the_pixels_are_the_limit():
    mask = np.zeros((10, 30, 4), bool)
    for k, pixels in enumerate((0, 6, 7, 300)):  # of 300
        mask.reshape(300, 4)[:pixels, k] = True
    volumes = Volumes(mask * 1.0, mask * 1.0, None, mask, (1.0, 1.0, 1.0))
    assert slices_to_measure(volumes, (0, 1), 2) == [2, 3]
    assert slices_to_measure(Volumes(mask * 1.0, mask * 1.0, None, None, (1.0, 1.0, 1.0)), (0, 1), 2) == [2, 3]


def test_slices_can_be_cut_across_another_axis(pair):
    volumes = read_volumes(pair)
    measured = measure(pair, volumes, metrics.create(["mae"]), axis=0)
    row = rows(measured.slices, image="synthetic", region="whole", slice=20)[0]
    assert row["mae"] == pytest.approx(np.abs(volumes.prediction - volumes.reference)[20].mean(), rel=1e-5)


def test_without_a_mask_slices_of_air_are_left_out(study, pair):
    volumes = read_volumes(Pair(**{**pair.__dict__, "mask": None}))
    chosen = slices_to_measure(volumes, pair.data_range, 2)
    assert 0 < len(chosen) < study.shape[2]
    measured = measure(pair, volumes, metrics.create(["mae"]))
    assert {row["region"] for row in measured.slices + measured.volume} == {"whole"}


def test_the_source_is_mapped_window_onto_window(pair, study):
    source = np.array([0.0, 200.0, 400.0, 900.0], np.float32)
    assert comparable_source(pair, source) == pytest.approx([-1000, 250, 1500, 1500])
    volumes = read_volumes(pair)
    (row,) = rows(measure(pair, volumes, metrics.create(["psnr"])).volume, image="source", region="mask")
    normalised = [
        study.mr_window.normalise(volumes.source[volumes.mask]),
        study.window.normalise(volumes.reference[volumes.mask]),
    ]
    assert row["psnr"] == pytest.approx(peak_signal_noise_ratio(*normalised, data_range=2.0), rel=1e-4)


def test_a_volume_too_thin_for_a_metric_gets_nan_and_a_note(study, pair):
    thin = {
        name: study.save(study.root / f"{name}.nii", np.random.default_rng(0).uniform(0, 100, (44, 46, 9)))
        for name in ("prediction", "reference")
    }
    pair = Pair("a", thin["prediction"], thin["reference"], (0.0, 100.0))
    measured = measure(pair, read_volumes(pair), metrics.create(["ssim", "mae"]))
    assert np.isnan(measured.volume[0]["ssim"])
    assert np.isfinite(measured.volume[0]["mae"])
    assert np.isfinite(measured.slices[0]["ssim"])
    assert "SSIM in 3D needs at least 11 voxels" in measured.notes["ssim (3D)"]


def test_volumes_come_in_ras_axes_with_their_spacing(study, pair):
    flipped = study.affine.copy()
    flipped[0, 0], flipped[0, 3] = -2.0, 2.0 * (study.shape[0] - 1)
    for path in (pair.prediction, pair.reference, pair.source, pair.mask):
        study.change(path, lambda values: values[::-1], flipped)
    before = np.asarray(nibabel.load(pair.reference).dataobj)
    volumes = read_volumes(pair)
    assert np.allclose(volumes.reference, before[::-1])
    assert volumes.spacing == pytest.approx((2, 2, 3))


def test_another_shape_is_refused_naming_both_files(study, pair):
    study.change(pair.prediction, lambda values: values[:-1])
    with pytest.raises(InputError, match=r"head-1_CT_synthetic.nii.gz: has 43×46×42 voxels, .*head-1.nii.gz has 44"):
        read_volumes(pair)


def test_another_place_in_space_is_refused_naming_both_files(study, pair):
    moved = study.affine.copy()
    moved[2, 3] += 1.5
    study.change(pair.source, lambda values: values, moved)
    with pytest.raises(InputError, match=r"head-1_MR.nii: lies elsewhere in space than .*head-1.nii.gz"):
        read_volumes(pair)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad, study, pair):
    def spoil(values):
        values[3, 4, 5:7] = bad
        return values

    study.change(pair.prediction, spoil)
    with pytest.raises(InputError, match="2 non-finite voxels"):
        read_volumes(pair)


def test_an_empty_mask_and_a_damaged_file_are_refused(study, pair):
    study.change(pair.mask, np.zeros_like)
    with pytest.raises(InputError, match="empty mask"):
        read_volumes(pair)
    pair.prediction.write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        read_volumes(pair)


def test_a_time_series_is_refused(study, pair):
    study.change(pair.prediction, lambda values: np.stack([values, values], axis=-1))
    with pytest.raises(InputError, match="4 axes"):
        read_volumes(pair)
