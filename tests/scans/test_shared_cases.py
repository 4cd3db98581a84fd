"""Real scanner files against values derived independently (dcm2niix, and pydicom from the planes' positions)."""

import hashlib
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from medtrans.scans import Conversion, convert_export

SHARED = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the developers' scanner files are not here")
CASES = json.loads((SHARED / "expected.json").read_text())["cases"] if SHARED.exists() else {}
EXACT = [
    "01_mr_philips_t1_mprage_sag_head",
    "02_ct_philips_head_5mm",
    "03_mr_siemens_t1_sag_4slices",
    "04_mr_philips_t1_cor_implicitVR",
    "05_mr_siemens_mosaic_epi",
    "06_mr_philips_enhanced_mf",
    "07_mr_siemens_enhanced_mf",
    "08_mr_siemens_xa10_enhanced_4d",
    "10_mr_philips_epi_4d",
    "11_ct_siemens_gantry_tilt",
    "13_pet_real_single_slices",
    "16_mr_interleaved_instances",
]


def converted(folder, out, *options):
    """Rows of the table and volumes in canonical RAS, as anyone would read them."""
    table = convert_export(folder, out, *options)
    rows = table[table.status == "converted"]
    return table, [(row, nib.as_closest_canonical(nib.load(out / row.path))) for row in rows.itertuples()]


def expected_volumes(case):
    return [volume for series in CASES[case]["series"] for volume in series["volumes"]]


def check(image, expected):
    assert list(image.shape) == expected["shape_ras"]
    np.testing.assert_allclose(image.affine, expected["affine_ras"], atol=1e-3)
    array = image.get_fdata(dtype=np.float32)
    if expected["integer_valued"]:
        digest = hashlib.sha256(np.ascontiguousarray(array, "<i4").tobytes()).hexdigest()
        assert digest == expected["sha256_i32_ras"]
    for name in ("min", "max", "mean", "std"):
        assert getattr(array.astype(float), name)() == pytest.approx(expected[name], rel=1e-5, abs=1e-6)
    for probe in expected["probes"]:
        assert array[tuple(probe["index_ras"])] == pytest.approx(probe["value"], rel=2e-6)
        world = image.affine @ [*probe["index_ras"][:3], 1]
        np.testing.assert_allclose(world[:3], probe["world_ras_mm"], atol=2e-3)


@pytest.mark.parametrize("case", EXACT)
def test_volumes_equal_the_independent_reference(case, tmp_path):
    table, volumes = converted(SHARED / CASES[case]["path"], tmp_path, Conversion(pet_unit="bqml"))
    assert table.files.sum() == CASES[case]["n_files"]
    left = expected_volumes(case)
    assert len(volumes) == len(left) == CASES[case]["n_output_volumes"]
    for _, image in volumes:
        match = min(left, key=lambda e: abs(image.get_fdata().mean() - e["mean"]))
        check(image, match)
        left.remove(match)


def test_transfer_syntaxes_all_decode_to_the_same_voxels(tmp_path):
    case = CASES["09_transfer_syntaxes"]
    for series in case["series"]:
        folder = Path(series["first_file"]).parent
        _, volumes = converted(SHARED / case["path"] / folder, tmp_path / folder)
        assert len(volumes) == 1
        check(volumes[0][1], series["volumes"][0])


def test_compressed_copies_of_one_series_in_one_export_are_one_volume(tmp_path):
    case = CASES["09_transfer_syntaxes"]
    table, volumes = converted(SHARED / case["path"], tmp_path)
    assert len(volumes) == 2
    assert sorted(table.files) == [4, 16]


def test_tilted_gantry_keeps_its_shear_and_says_so(tmp_path):
    _, [(row, image)] = converted(SHARED / CASES["11_ct_siemens_gantry_tilt"]["path"], tmp_path)
    sidecar = json.loads((tmp_path / row.path.replace(".nii.gz", ".json")).read_text())
    assert sidecar["geometry"]["sheared"]
    assert sidecar["geometry"]["tilt_degrees"] == pytest.approx(14, abs=0.01)
    assert image.header["qform_code"] == 0
    assert "sheared" in row.reason


def planes_of(folder):
    """The scanner's planes as numpy would stack them: values (column, row, plane), affine of an even stack, RAS."""
    files = sorted((pydicom.dcmread(path) for path in folder.iterdir()), key=lambda f: f.ImagePositionPatient[2])
    first, last = (np.array(f.ImagePositionPatient, float) for f in (files[0], files[-1]))
    turn = np.array(files[0].ImageOrientationPatient, float).reshape(2, 3).T * np.array(files[0].PixelSpacing)[::-1]
    affine = np.eye(4)
    affine[:3] = np.column_stack([turn, (last - first) / (len(files) - 1), first])
    slope, intercept = float(files[0].RescaleSlope), float(files[0].RescaleIntercept)
    return np.stack([f.pixel_array.T * slope + intercept for f in files], -1), np.diag([-1, -1, 1, 1]) @ affine


def test_tilted_gantry_is_resampled_from_the_true_planes(tmp_path):
    folder = SHARED / CASES["11_ct_siemens_gantry_tilt"]["path"]
    _, [(row, image)] = converted(folder, tmp_path, Conversion(tilt="resample"))
    planes, affine = planes_of(folder)
    positions = nib.affines.apply_affine(image.affine, np.moveaxis(np.indices(image.shape), 0, -1))
    index = nib.affines.apply_affine(np.linalg.inv(affine), positions)
    inside = ((index > -1e-3) & (index < np.array(planes.shape) - 1 + 1e-3)).all(-1)
    truth = ndimage.map_coordinates(planes, np.moveaxis(index, -1, 0), order=1, mode="nearest")[inside]
    values = image.get_fdata()
    assert inside.mean() > 0.9
    assert np.corrcoef(values[inside], truth)[0, 1] > 0.99999  # noise: every voxel must be where it belongs
    assert np.abs(values[inside] - truth).max() < 0.5
    rotation = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-5)
    assert image.header["qform_code"] == image.header["sform_code"] == 1
    assert "14.00 degrees" in row.reason


@pytest.mark.parametrize(("gaps", "slices"), [("resample", 5), ("largest-run", 3)])
def test_a_real_gap_is_filled_or_cut_off_on_request(tmp_path, gaps, slices):
    folder = SHARED / CASES["12_ct_ge_gap"]["path"]
    _, [(row, image)] = converted(folder, tmp_path, Conversion(gaps=gaps))
    planes, _ = planes_of(folder)
    assert image.shape == (512, 512, slices)
    assert image.header.get_zooms()[2] == pytest.approx(5, abs=1e-4)
    values = image.get_fdata()
    np.testing.assert_array_equal(values[..., :3], planes[::-1, ::-1, :3])
    if gaps == "resample":
        np.testing.assert_array_equal(values[..., 4], planes[::-1, ::-1, 3])
        np.testing.assert_allclose(values[..., 3], planes[::-1, ::-1, 2:].mean(-1))
    assert "1 slice is missing" in row.reason


def test_missing_slice_is_refused_with_the_distances(tmp_path):
    table, volumes = converted(SHARED / CASES["12_ct_ge_gap"]["path"], tmp_path)
    assert not volumes
    assert list(table.status) == ["failed"]
    assert "10.000 after slice 3" in table.reason[0]
    assert not list(tmp_path.rglob("*.nii.gz"))


@pytest.mark.parametrize("name", ["siemens_flt.dcm", "ge_fdg_jpegll.dcm"])
def test_suv_factor_of_real_scanners(name, tmp_path):
    case = CASES["13_pet_real_single_slices"]
    expected = next(suv for suv in case["suv"] if suv["file"] == name)
    _, [(row, image)] = converted(SHARED / case["path"] / name, tmp_path)
    sidecar = json.loads((tmp_path / row.path.replace(".nii.gz", ".json")).read_text())
    assert row.unit == "SUV"
    assert sidecar["suv"]["factor"] == pytest.approx(expected["suvbw_factor_per_bqml"], rel=1e-6)
    assert sidecar["suv"]["decay_seconds"] == pytest.approx(expected["decay_s"])
    assert image.get_fdata().max() == pytest.approx(expected["suv_max"], rel=1e-5)


def test_pet_ct_pair_has_its_grids_values_and_shared_frame(tmp_path):
    case = CASES["14_synthetic_petct"]
    _, volumes = converted(SHARED / case["path"], tmp_path)
    (ct_row, ct), (pet_row, pet) = sorted(volumes, key=lambda pair: pair[0].modality)
    ct_expected, pet_expected = sorted(expected_volumes("14_synthetic_petct"), key=lambda v: v["shape_ras"][0])[::-1]
    assert ct_row.frame == pet_row.frame != ""
    assert (ct_row.unit, pet_row.unit) == ("HU", "SUV")
    for image, expected in ((ct, ct_expected), (pet, pet_expected)):
        assert list(image.shape) == expected["shape_ras"]
        np.testing.assert_allclose(image.affine, expected["affine_ras"], atol=1e-3)
    values = ct.get_fdata()
    assert values.min() == case["pair"]["ct_outside_fov_expected_hu"]
    padded = np.count_nonzero(values == -1024)
    # the reference holds padding at -3024: putting it back must give the reference's mean
    raised = (values.sum() - padded * 2000) / values.size
    assert raised == pytest.approx(ct_expected["mean"], rel=1e-6)
    factor = case["suv"][0]["suvbw_factor_per_bqml"]
    assert pet.get_fdata().max() == pytest.approx(case["suv"][0]["suv_max"], rel=1e-5)
    assert pet.get_fdata().mean() == pytest.approx(pet_expected["mean"] * factor, rel=1e-5)
    for probe in pet_expected["probes"]:
        assert pet.get_fdata()[tuple(probe["index_ras"])] == pytest.approx(probe["value"] * factor, rel=1e-5)


def test_messy_export_gives_its_four_volumes_and_accounts_for_every_file(tmp_path):
    case = CASES["15_messy_export"]
    table, volumes = converted(SHARED / case["path"], tmp_path)
    assert table.files.sum() == case["n_files"]
    shapes = sorted(image.shape for _, image in volumes)
    assert shapes == [(4, 64, 64), (4, 256, 256), (64, 64, 36, 2), (512, 512, 4)]
    reasons = dict(zip(table.reason, table.files, strict=True))
    for text, files in [
        ("localizer: 3 directions with 3, 3, 3 slices", 9),
        ("localizer (by its ImageType)", 1),
        ("secondary capture (screenshot or report)", 1),
        ("radiotherapy dose grid: not an image of the scanner", 1),
        ("DICOM directory", 2),
        ("DICOM directory: 1 of the 1 images that it lists are missing. Copy the whole disc", 1),
        ("empty file", 1),
    ]:
        assert reasons[text] == files
    assert any(reason.startswith("too few slices: two") and files == 2 for reason, files in reasons.items())
    failed = table[table.status == "failed"]
    assert len(failed) == 4  # the truncated image, one whose data set starts in the wrong place, two directories
    assert failed.reason.str.contains("pixel data are cut short").sum() == 1
    sagittal = next(row for row, image in volumes if image.shape == (4, 256, 256))
    assert sagittal.files == 5  # with the copy
    assert json.loads((tmp_path / sagittal.path.replace(".nii.gz", ".json")).read_text())["copies_dropped"] == 1


def test_templates_keep_their_sform_affine(tmp_path):
    table, volumes = converted(SHARED / "nifti_dev" / "mni2mm", tmp_path)
    assert set(table.status) == {"converted"}
    for _, image in volumes:
        np.testing.assert_allclose(np.abs(np.diag(image.affine)[:3]), 2, atol=1e-4)
    assert table.reason.str.contains("qform and sform are up to").sum() == 1


def test_zipped_messy_export_gives_the_same_table_and_volumes(tmp_path):
    folder = SHARED / CASES["15_messy_export"]["path"]
    archive = shutil.make_archive(str(tmp_path / "export"), "zip", folder)
    plain, volumes = converted(folder, tmp_path / "plain")
    zipped, same = converted(archive, tmp_path / "zipped")
    assert zipped.equals(plain)
    for (_, one), (_, other) in zip(volumes, same, strict=True):
        np.testing.assert_array_equal(one.get_fdata(), other.get_fdata())
        np.testing.assert_array_equal(one.affine, other.affine)
