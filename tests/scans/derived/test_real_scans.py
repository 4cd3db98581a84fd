"""Derived series laid over real scans of several vendors, classic and enhanced."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from medtrans.scans import Conversion, read_series

SHARED = Path(__file__).parents[4] / "shared" / "data" / "dicom_dev"
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the developers' scanner files are not here")
TARGETS = [("CT", "HU"), ("MR", ""), ("PT", "SUV")]
SOURCES = {
    "02_ct_philips_head_5mm": "Philips CT",
    "03_mr_siemens_t1_sag_4slices": "Siemens MR, sagittal, without frame of reference",
    "04_mr_philips_t1_cor_implicitVR": "Philips MR, oblique coronal, implicit VR",
    "06_mr_philips_enhanced_mf": "Philips enhanced MR",
    "07_mr_siemens_enhanced_mf": "Siemens enhanced MR",
    "11_ct_siemens_gantry_tilt": "Siemens CT, tilted",
    "13_pet_real_single_slices/siemens_flt.dcm": "Siemens PET",
    "13_pet_real_single_slices/ge_fdg_jpegll.dcm": "GE PET, JPEG lossless",
    "14_synthetic_petct/pt": "PET with a slope a slice",
    "16_mr_interleaved_instances": "MR, numbered out of order",
}


def within(files):
    return 0.5 * max(float(pydicom.dcmread(path).get("RescaleSlope", 1)) for path in files) * (1 + 1e-4)


@pytest.mark.parametrize("case", SOURCES)
def test_it_conforms_and_reads_back(case, derive, check_conforms, check_voxels):
    (volume,) = read_series(SHARED / case, Conversion(pet_unit="bqml"))
    for modality, unit in TARGETS:
        low, high = {"CT": (-1024, 2500), "MR": (0, 900), "PT": (0, 25)}[modality]
        array = np.random.default_rng(1).uniform(low, high, volume.array.shape).astype(np.float32)
        if modality == "PT":  # dcm2niix takes slopes that are almost equal for the same
            array *= np.prod(np.meshgrid(*[np.linspace(0.3, 1, n) for n in array.shape], indexing="ij"), axis=0)
        files = derive(SHARED / case, array, volume.affine, modality, unit, name=f"{Path(case).name} as {modality}")
        check_conforms(files)
        (back,) = read_series(files[0].parent, Conversion(pet_unit="bqml"))
        np.testing.assert_allclose(back.affine, volume.affine, atol=1e-6)
        assert np.abs(back.array - array).max() <= within(files) + 1e-6 * high
        if "tilt" not in case:  # dcm2niix writes another grid, on purpose
            # it brings all slices of PET to one slope, which rounds a second time
            again = 2 if modality == "PT" else 1
            check_voxels(files[0].parent, array, volume.affine, again * within(files))


@pytest.mark.parametrize("plane", ["cordesc36", "sagint36"])
def test_slices_of_a_siemens_mosaic_become_images_of_their_own(plane, derive, check_conforms, check_voxels):
    mosaic = min((SHARED / "05_mr_siemens_mosaic_epi" / plane).iterdir())
    (volume,) = read_series(mosaic)
    files = derive(mosaic, volume.array, volume.affine, "MR", "")
    assert len(files) == 36
    check_conforms(files)
    check_voxels(files[0].parent, volume.array, volume.affine, 0)


@pytest.mark.parametrize("case", [name for name in SOURCES if "PET" in SOURCES[name]])
def test_suv_of_real_pet_is_the_same_after_a_round_through_becquerel(case, derive):
    from medtrans.scans.derived.series import Writing

    (volume,) = read_series(SHARED / case)
    assert volume.metadata["unit"] == "SUV"
    files = derive(SHARED / case, volume.array, volume.affine, "PT", "SUV", Writing(pet_unit="bqml"))
    (back,) = read_series(files[0].parent)
    assert back.metadata["suv"]["decay_seconds"] == pytest.approx(volume.metadata["suv"]["decay_seconds"])
    np.testing.assert_allclose(back.array, volume.array, atol=float(volume.array.max()) / 65534 * 1.01)
