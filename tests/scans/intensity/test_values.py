import subprocess
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medtrans import InputError
from medtrans.scans import Conversion, convert_export, read_series
from medtrans.scans.export.frames import Frame
from medtrans.scans.export.headers import ScanFile
from medtrans.scans.intensity.values import Rescaler

SHARED = Path(__file__).parents[4] / "shared" / "data" / "dicom_dev"
PRECISE = Conversion(philips_scale="precise")


def frame(**tags):
    return Frame.of_tags(ScanFile(Path()), 0, tags)


@given(
    stored=hnp.arrays(st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32]), 20),
    slope=st.one_of(st.integers(-300, 300).filter(bool).map(float), st.floats(1e-6, 1e6)),
    intercept=st.one_of(st.integers(-40000, 40000).map(float), st.floats(-1e5, 1e5)),
)
def test_values_equal_float64_within_a_rounding(stored, slope, intercept):
    values = Rescaler(0.0)(frame(RescaleSlope=slope, RescaleIntercept=intercept), stored)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, stored.astype(np.float64) * slope + intercept, rtol=1.2e-7, atol=1e-38)


def test_ct_of_16_bits_is_exact():
    stored = np.arange(65536, dtype=np.uint16)
    values = Rescaler(0.0)(frame(RescaleSlope=1.0, RescaleIntercept=-1024.0), stored)
    np.testing.assert_array_equal(values, np.arange(65536) - 1024.0)


def test_one_scale_for_all_images_is_remembered_and_several_are_not():
    rescaler = Rescaler(0.0)
    for _ in range(2):
        rescaler(frame(RescaleSlope=0.25, RescaleIntercept=0.0), np.zeros(3, np.uint16))
    assert rescaler.stored_scale == (0.25, 0.0)
    rescaler(frame(RescaleSlope=0.5, RescaleIntercept=0.0), np.zeros(3, np.uint16))
    assert rescaler.stored_scale is None


def test_padding_that_no_integer_stands_for_breaks_the_scale():
    for slope, expected in ((1.0, (1.0, -1000.0)), (0.7, None)):
        rescaler = Rescaler(-1024.0)
        tags = {"RescaleSlope": slope, "RescaleIntercept": -1000.0, "PixelPaddingValue": 5, "BitsAllocated": 16}
        assert rescaler(frame(**tags), np.array([5, 6], np.uint16))[0] == -1024
        assert rescaler.stored_scale == expected


def test_padding_value_that_is_water_is_a_mistake_of_the_header(make_series, reference_image):
    pixels = np.random.default_rng(0).integers(-1000, 1000, (4, 6, 6)).astype(np.int16)
    pixels[:, 2] = 0
    series = make_series(pixels, Modality="CT", RescaleIntercept="0", RescaleSlope="1")
    series.write_all(elements=[(0x00280120, "SS", 0)])
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())
    assert "PixelPaddingValue stands for 0 HU" in volume.metadata["warnings"][0]
    assert "padding" not in volume.metadata


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floating_point_pixels_that_are_not_finite_are_refused(value):
    with pytest.raises(InputError, match="not finite"):
        Rescaler(0.0)(frame(), np.array([1.0, value], np.float32))


def philips(make_series, scale_slope=0.0075, block="Philips MR Imaging DD 001", change=1, **tags):
    """A classic Philips series; both slopes change by ``change`` from slice to slice."""
    series = make_series(Manufacturer="Philips Medical Systems", **tags)
    series.folder.mkdir(parents=True, exist_ok=True)
    for k in range(len(series.pixels)):
        dataset = series.dataset(k, RescaleSlope=f"{2.25 + change * k:g}", RescaleIntercept=f"{-3 - change * k}")
        if scale_slope:
            private = dataset.private_block(0x2005, block, create=True)
            private.add_new(0x0D, "FL", 0.0)
            private.add_new(0x0E, "FL", scale_slope * (1 + change * k))
        dataset.save_as(series.folder / f"slice{k}", enforce_file_format=True)
    return series


def test_philips_precise_values_follow_the_published_formula(make_series, reference_image):
    # Chenevert et al., Transl Oncol 2014;7:65: FP = (SV * RS + RI) / (RS * SS)
    series = philips(make_series)
    [display], [precise] = read_series(series.folder), read_series(series.folder, PRECISE)
    k = np.arange(5)[:, None, None]
    rs, ri, ss = 2.25 + k, -3.0 - k, np.float32(0.0075 * (1 + k)).astype(float)
    np.testing.assert_allclose(display.array, reference_image(series, series.pixels * rs + ri).get_fdata(), rtol=1e-6)
    truth = (series.pixels * rs + ri) / (rs * ss)
    np.testing.assert_allclose(precise.array, reference_image(series, truth).get_fdata(), rtol=1e-6)
    assert precise.metadata["rescale"].startswith("Philips' private scale")
    assert precise.metadata["UsePhilipsFloatNotDisplayScaling"] == 1
    assert display.metadata["UsePhilipsFloatNotDisplayScaling"] == 0
    assert display.metadata["rescale"].startswith("DICOM RescaleSlope")


def test_factors_that_hold_for_all_images_are_recorded(make_series):
    series = make_series(Manufacturer="Philips", RescaleSlope="2.5", RescaleIntercept="0")
    series.folder.mkdir(parents=True)
    for k in range(5):
        dataset = series.dataset(k)
        dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.5)
        dataset.save_as(series.folder / f"slice{k}", enforce_file_format=True)
    [volume] = read_series(series.folder, PRECISE)
    names = ("PhilipsRescaleSlope", "PhilipsRescaleIntercept", "PhilipsScaleSlope")
    assert [volume.metadata[name] for name in names] == [2.5, 0.0, 0.5]
    assert volume.stored_scale == (2.0, 0.0)


@pytest.mark.parametrize("options", [{"scale_slope": 0.0}, {"block": "SOMEBODY ELSE"}])
def test_precise_values_without_the_private_slope_are_refused(make_series, options):
    series = philips(make_series, **options)
    with pytest.raises(InputError, match=r"no private scale slope \(2005,100E\).*--philips-scale display"):
        read_series(series.folder, PRECISE)
    assert len(read_series(series.folder)) == 1


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_dry_run_foresees_that_there_is_no_precise_scale(make_series, tmp_path, dry_run):
    series = philips(make_series, scale_slope=0.0)
    table = convert_export(series.folder, tmp_path / "out", PRECISE, dry_run=dry_run)
    assert list(table.status) == ["would fail" if dry_run else "failed"]
    assert "(2005,100E)" in table.reason[0]


def test_precise_leaves_other_vendors_and_modalities_alone(make_series, reference_image):
    series = make_series(Manufacturer="SIEMENS", RescaleSlope="3", RescaleIntercept="1").write_all()
    [volume] = read_series(series.folder, PRECISE)
    np.testing.assert_array_equal(volume.array, reference_image(series, series.pixels * 3 + 1).get_fdata())
    assert "UsePhilipsFloatNotDisplayScaling" not in volume.metadata


def by_dcm2niix(folder, out):
    """Its volumes, which hold Philips' precise values unless told otherwise."""
    subprocess.run([dcm2niix.bin, "-z", "n", "-b", "n", "-o", out, folder], check=True, capture_output=True)
    return [nib.as_closest_canonical(nib.load(path)) for path in sorted(out.glob("*.nii"))]


def test_precise_values_equal_dcm2niix(make_series, tmp_path):
    series = philips(make_series, change=0, shape=(5, 32, 24))  # dcm2niix takes one slope for all slices
    reference = by_dcm2niix(series.folder, tmp_path)
    assert len(reference) == 1
    [volume] = read_series(series.folder, PRECISE)
    np.testing.assert_allclose(volume.array, reference[0].get_fdata(), rtol=1e-5)


@pytest.mark.skipif(not SHARED.exists(), reason="the developers' scanner files are not here")
@pytest.mark.parametrize("case", ["01_mr_philips_t1_mprage_sag_head", "06_mr_philips_enhanced_mf",
                                  "10_mr_philips_epi_4d"])  # fmt: skip
def test_precise_values_of_real_scanners_equal_dcm2niix(case, tmp_path):
    (tmp_path / "reference").mkdir()
    [reference] = by_dcm2niix(SHARED / case, tmp_path / "reference")
    table = convert_export(SHARED / case, tmp_path / "out", PRECISE)
    [path] = table[table.status == "converted"].path
    image = nib.as_closest_canonical(nib.load(tmp_path / "out" / path))
    truth = reference.get_fdata()
    np.testing.assert_allclose(image.get_fdata(), truth, rtol=1e-5, atol=1e-6 * truth.max())


@pytest.mark.parametrize("name", ["RescaleIntercept", "RescaleSlope"])
def test_images_of_which_some_are_not_scaled_are_refused(make_series, name):
    series = make_series(Modality="CT", RescaleSlope="1", RescaleIntercept="-1024")
    for k in range(5):
        series.write(k, **({name: None} if k in (1, 2) else {}))
    with pytest.raises(InputError, match=f"2 of its 5 images have no {name}"):
        read_series(series.folder)
