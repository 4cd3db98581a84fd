import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medtrans import InputError
from medtrans.scans import Conversion, convert_export, read_series

ENCODINGS = [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
             JPEG2000Lossless, JPEGLSLossless, "no preamble"]  # fmt: skip


def only(series, *options):
    [volume] = read_series(series.folder, *options)
    return volume


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_gives_the_same_voxels(make_series, reference_image, encoding):
    series = make_series(shape=(3, 40, 32), BitsStored=12, HighBit=11).write_all(encoding)
    np.testing.assert_array_equal(only(series).array, reference_image(series).get_fdata())


@pytest.mark.parametrize("encoding", [None, ExplicitVRBigEndian, RLELossless])
def test_signed_values_keep_their_sign(make_series, reference_image, encoding):
    pixels = np.random.default_rng(3).integers(-2000, 2000, (4, 5, 6)).astype(np.int16)
    series = make_series(pixels).write_all(encoding)
    np.testing.assert_array_equal(only(series).array, reference_image(series).get_fdata())


def test_signed_12_bit_values_without_extended_sign_are_negative(make_series, reference_image):
    values = np.random.default_rng(3).integers(-2000, 2000, (4, 5, 6)).astype(np.int16)
    stored = values & 0x0FFF
    series = make_series(stored, BitsStored=12, HighBit=11, PixelRepresentation=1).write_all()
    np.testing.assert_array_equal(only(series).array, reference_image(series, values).get_fdata())


def test_slope_and_intercept_are_each_slices_own(make_series, reference_image):
    slopes = np.array([0.125, 0.5, 3.25, 17, 0.0625])
    series = make_series(Modality="PT", Units="BQML")
    for k, slope in enumerate(slopes):
        series.write(k, RescaleSlope=str(slope), RescaleIntercept=str(-k))
    truth = series.pixels * slopes[:, None, None] - np.arange(5)[:, None, None]
    volume = only(series, Conversion(pet_unit="bqml"))
    np.testing.assert_allclose(volume.array, reference_image(series, truth).get_fdata(), rtol=1e-7)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series.folder)))
    reference = SimpleITK.GetArrayFromImage(reader.Execute())
    np.testing.assert_allclose(np.sort(volume.array, None), np.sort(reference, None), rtol=1e-6)


def test_philips_values_are_display_values_and_the_sidecar_says_so(make_series, reference_image):
    series = make_series(Manufacturer="Philips", RescaleSlope="2.361660", RescaleIntercept="0").write_all()
    volume = only(series)
    np.testing.assert_allclose(volume.array, reference_image(series, series.pixels * 2.36166).get_fdata(), rtol=1e-6)
    assert volume.metadata["rescale"].startswith("DICOM RescaleSlope")


@pytest.mark.parametrize(("dtype", "padding"), [(np.int16, -2000), (np.uint16, 63536)])
def test_ct_padding_becomes_air_whatever_sign_the_header_gives_it(make_series, reference_image, dtype, padding):
    pixels = np.random.default_rng(0).integers(0, 3000, (4, 6, 6)).astype(dtype)
    pixels[:, 0] = padding
    series = make_series(pixels, Modality="CT", RescaleIntercept="-1024", RescaleSlope="1")
    for k in range(4):
        dataset = series.dataset(k)
        dataset.add_new(0x00280120, "US" if dtype == np.uint16 else "SS", padding)
        dataset.save_as(_made(series.folder) / f"s{k}", enforce_file_format=True)
    truth = pixels.astype(float) - 1024
    truth[:, 0] = -1024
    volume = only(series)
    np.testing.assert_array_equal(volume.array, reference_image(series, truth).get_fdata())
    assert volume.metadata["padding"] == {"voxels": 24, "replaced_by": -1024.0}


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_undeclared_padding_is_warned_of(make_series):
    pixels = np.zeros((3, 4, 4), np.int16)
    pixels[:, 0] = -2000
    volume = only(make_series(pixels, Modality="CT", RescaleIntercept="-1024", RescaleSlope="1").write_all())
    assert volume.array.min() == -3024
    assert "-3024 HU" in volume.metadata["warnings"][0]


def test_undeclared_padding_is_air_where_planes_are_interpolated(make_series, reference_image):
    pixels = np.random.default_rng(1).integers(0, 3000, (6, 5, 7)).astype(np.int16)
    pixels[:, 0] = -2000
    pixels[2, 0] = 24  # air beside padding: halfway between the two, there would be nothing but a wrong value
    series = make_series(pixels, Modality="CT", RescaleIntercept="-1024", RescaleSlope="1", RescaleType="HU")
    for k in (0, 1, 2, 4, 5):
        series.write(k)
    volume = only(series, Conversion(gaps="resample"))
    truth = np.maximum(pixels.astype(float) - 1024, -1024)
    truth[3] = (truth[2] + truth[4]) / 2
    np.testing.assert_array_equal(volume.array, reference_image(series, truth).get_fdata())
    assert "values down to -3024 HU (padding the header does not declare?) raised to -1024" in str(volume.metadata)


def test_ct_without_intercept_does_not_claim_hounsfield_units(make_series):
    volume = only(make_series(Modality="CT").write_all())
    assert volume.metadata["unit"] == ""
    assert "without RescaleIntercept" in volume.metadata["warnings"][0]


def test_slope_of_zero_is_refused(make_series):
    series = make_series(RescaleSlope="0", RescaleIntercept="0").write_all()
    with pytest.raises(InputError, match="RescaleSlope 0"):
        read_series(series.folder)


def test_truncated_image_fails_its_series_and_no_other(make_series, tmp_path):
    series = make_series().write_all()
    path = series.folder / "slice3"
    path.write_bytes(path.read_bytes()[:-20])
    other = make_series(SeriesInstanceUID="1.2.3", SeriesNumber=8)
    for k in range(5):
        other.write(k, f"other{k}")
    table = convert_export(series.folder, tmp_path / "out")
    assert sorted(table.status) == ["converted", "failed"]
    [reason] = table[table.status == "failed"].reason
    assert reason.startswith("image 4 of series 7: pixel data are cut short (76 of 96 bytes)")


def test_image_without_pixel_data_fails(make_series, tmp_path):
    series = make_series()
    for k in range(5):
        dataset = series.dataset(k)
        del dataset.PixelData
        dataset.save_as(_made(series.folder) / f"s{k}", enforce_file_format=True)
    assert list(convert_export(series.folder, tmp_path / "out").status) == ["failed"]


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "PALETTE COLOR"])
def test_colour_is_skipped_with_the_reason(make_series, tmp_path, photometric):
    samples = 1 if photometric == "PALETTE COLOR" else 3
    series = make_series(np.zeros((2, 4, 4 * samples), np.uint8), PhotometricInterpretation=photometric)
    for k in range(2):
        series.write(k, SamplesPerPixel=samples, Columns=4, PlanarConfiguration=0 if samples == 3 else None)
    table = convert_export(series.folder, tmp_path / "out")
    assert list(table.status) == ["skipped"]
    assert table.reason[0] == f"colour picture ({photometric}): holds no physical values"


@pytest.mark.parametrize("kind", ["HU", None])
def test_modality_lut_gives_the_values(make_series, reference_image, kind):
    series = make_series(np.random.default_rng(2).integers(0, 300, (4, 6, 5)).astype(np.uint16), Modality="CT",
                         BitsStored=12, HighBit=11)  # fmt: skip
    table = np.random.default_rng(3).integers(0, 60000, 200).astype(np.uint16)
    series.folder.mkdir(parents=True)
    for k in range(4):
        dataset = series.dataset(k)
        lut = Dataset()
        lut.LUTDescriptor, lut.ModalityLUTType, lut.LUTData = [200, 50, 16], kind or "US", table.tolist()
        dataset.ModalityLUTSequence = [lut]
        for element in (lut["LUTDescriptor"], lut["LUTData"]):
            element.VR = "US"
        dataset.save_as(series.folder / f"s{k}", enforce_file_format=True)
    truth = table[np.clip(series.pixels.astype(int) - 50, 0, 199)]  # PS3.3 C.11.1.1.1
    volume = only(series)
    np.testing.assert_array_equal(volume.array, reference_image(series, truth).get_fdata())
    assert volume.metadata["unit"] == (kind or "US")


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
def test_floating_point_pixels(make_series, reference_image, keyword, dtype):
    values = np.random.default_rng(4).normal(0, 1000, (4, 6, 5)).astype(dtype)
    values[:, 0] = -9999
    series = make_series(values, RescaleSlope="0.5", RescaleIntercept="10")
    series.folder.mkdir(parents=True)
    for k in range(4):
        dataset = series.dataset(k, BitsStored=None, HighBit=None, PixelRepresentation=None)
        setattr(dataset, keyword, dataset.PixelData)
        setattr(dataset, keyword.replace("Data", "PaddingValue"), -9999.0)
        del dataset.PixelData
        dataset.save_as(series.folder / f"s{k}", enforce_file_format=True)
    truth = values.astype(np.float64) * 0.5 + 10
    truth[:, 0] = 0
    np.testing.assert_allclose(only(series).array, reference_image(series, truth).get_fdata(), rtol=1e-6, atol=1e-6)


def test_32_bit_values(make_series, reference_image):
    values = np.random.default_rng(4).integers(-(2**31), 2**31 - 1, (4, 6, 5)).astype(np.int32)
    series = make_series(values, RescaleSlope="0.001", RescaleIntercept="0").write_all()
    truth = reference_image(series, values * 0.001).get_fdata()
    np.testing.assert_allclose(only(series).array, truth, rtol=1e-6)


def test_monochrome1_keeps_its_values_with_a_warning(make_series, reference_image):
    series = make_series(PhotometricInterpretation="MONOCHROME1").write_all()
    volume = only(series)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())
    assert any("MONOCHROME1" in warning for warning in volume.metadata["warnings"])


def test_padding_beyond_the_bits_stored_becomes_air_and_no_tissue(make_series, reference_image):
    pixels = np.random.default_rng(0).integers(0, 3000, (4, 6, 6)).astype(np.uint16)
    pixels[:, 0] = 63536  # 2096 in the lowest 12 bits
    series = make_series(pixels, Modality="CT", RescaleIntercept="-1024", RescaleSlope="1", BitsStored=12, HighBit=11)
    series.write_all(elements=[(0x00280120, "US", 63536)])
    truth = pixels - 1024.0
    truth[:, 0] = -1024
    np.testing.assert_array_equal(only(series).array, reference_image(series, truth).get_fdata())


@pytest.mark.parametrize("encoding", [None, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_overlay_in_the_high_bits_is_not_part_of_the_values(make_series, reference_image, encoding):
    values = np.random.default_rng(0).integers(0, 4096, (4, 6, 6)).astype(np.uint16)
    marked = values | np.uint16(0x8000) * (values % 3 == 0)
    series = make_series(marked, BitsStored=12, HighBit=11)
    overlay = [(0x60000010, "US", 6), (0x60000011, "US", 6), (0x60000100, "US", 16), (0x60000102, "US", 15)]
    series.write_all(encoding, elements=overlay)
    np.testing.assert_array_equal(only(series).array, reference_image(series, values).get_fdata())
