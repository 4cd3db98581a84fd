"""``medtrans prepare`` on real templates and a real pair of scans; skipped where they are absent."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from medtrans.cohorts import Cases, prepare

DATA = Path(__file__).parents[3] / "shared" / "data" / "nifti_dev"
RECIPES = Path(__file__).parents[2] / "data_prep"
COARSE = {"spacing": [2.0, 2.0, 2.0], "size": [96, 112, None]}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data are not here")


@pytest.mark.parametrize(
    ("recipe", "files"),
    [("mni_templates_t1_t2", {"T1": "T1", "T2": "T2"}), ("mni_templates_pet_ct", {"PET": "PET", "CT": "scct"})],
)
def test_templates_come_out_on_one_grid_with_their_values(tmp_path, recipe, files):
    (row,) = prepare(RECIPES / f"{recipe}.json", DATA, tmp_path / "out", COARSE, workers=1).to_dict("records")
    assert (row["status"], row["reason"], row["warnings"]) == ("ok", "", "")
    (case,) = Cases.read(tmp_path / "out")
    assert (case.subject, case.shape) == ("mni2mm", (96, 112, 91))
    for modality, file in files.items():
        source = nibabel.as_closest_canonical(nibabel.load(DATA / "mni2mm" / f"{file}.nii.gz"))
        values = nibabel.load(case.volumes[modality])
        offset = np.round(np.linalg.inv(values.affine) @ source.affine).astype(int)[:3, 3]
        inner = tuple(slice(o, o + n) for o, n in zip(offset, source.shape, strict=True))
        assert np.abs(values.get_fdata()[inner] - source.get_fdata()).max() < 1e-3 * source.get_fdata().max()
    mask = nibabel.load(case.mask).get_fdata()
    assert 0.45 < mask.sum() / (91 * 109 * 91) < 0.65
    assert ndimage.label(mask)[1] == 1


def test_one_millimetre_templates_have_the_shape_that_was_asked_for(tmp_path):
    prepare(RECIPES / "mni_templates_t1_t2.json", DATA, tmp_path / "out", workers=1)
    (case,) = Cases.read(tmp_path / "out")
    assert (case.shape, case.spacing) == ((256, 256, 182), (1.0, 1.0, 1.0))


@pytest.fixture
def chris():
    """Overrides that turn the T1 to T2 recipe towards the files of one person's T1 and PD."""
    return {
        "modalities#T1#file": "{subject}/{subject}_t1.nii.gz",
        "modalities#T2#file": "{subject}/{subject}_PD.nii.gz",
        "spacing": [2.0, 2.0, 2.0],
        "size": [128, 128, None],
    }


def test_scans_that_do_not_agree_by_header_are_registered_and_information_rises(tmp_path, chris):
    (row,) = prepare(RECIPES / "t1_t2.json", DATA, tmp_path / "out", chris, workers=1).to_dict("records")
    assert (row["status"], row["frame_T2"], row["warnings"]) == ("ok", "unknown", "")
    assert row["mutual_information_after_T2"] > 2 * row["mutual_information_before_T2"]
    turn = np.array(row["rotation_T2"].split(), float)
    assert np.linalg.norm(turn) == pytest.approx(8.9, abs=0.5)
    off = chris | {"registration#rigid": False}
    (row,) = prepare(RECIPES / "t1_t2.json", DATA, tmp_path / "off", off, workers=1).to_dict("records")
    assert "not aligned with T1 by its header" in row["warnings"]
    assert row["rotation_T2"] == ""


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


def petct_phantom(ras):
    """HU and SUV of the synthetic PET/CT at RAS positions, by the formulas in the data's README."""
    p = ras * [-1, -1, 1] - [3.0, -20.0, -400.0]
    axes = np.array([72.0, 90.0, 80.0])

    def depth(d):
        return (1 - np.linalg.norm(p / (axes - d), axis=-1)) * (axes - d).min()

    lesions = (((25, -20, 15), 9.0, 3.0), ((-30, 10, -5), 6.0, 2.0))
    brain = sigmoid(depth(10) / 2)
    hounsfield = -1000 + 1040 * sigmoid(depth(0) / 2) + 900 * (sigmoid(depth(4) / 2) - brain) - 5 * brain
    grey = sigmoid(depth(12) / 4)
    activity = 3000 * sigmoid(depth(0) / 4) + 9000 * grey + 11000 * (grey - sigmoid(depth(26) / 4))
    for at, radius, k in lesions:
        distance = np.linalg.norm(p - at, axis=-1)
        hounsfield = hounsfield + 25 * sigmoid(radius - distance)
        activity = activity + 12000 * k * np.exp(-(distance**2) / (2 * radius**2))
    return hounsfield, activity * 70_000 / (370e6 * 2 ** (-3600 / 6586.2))


def test_a_dicom_petct_ends_on_the_formulas_of_its_phantom(tmp_path):
    from medtrans.scans import convert_export

    convert_export(DATA.parent / "dicom_dev" / "14_synthetic_petct", tmp_path / "in", workers=1)
    plan = RECIPES / "pet_ct.json"
    (row,) = prepare(plan, tmp_path / "in", tmp_path / "out", {"size": [160, 196, None]}, workers=1).to_dict("records")
    assert (row["status"], row["frame_PET"], row["warnings"]) == ("ok", "same", "")
    (case,) = Cases.read(tmp_path / "out")
    ct, pet = nibabel.load(case.volumes["CT"]), nibabel.load(case.volumes["PET"])
    index = np.stack(np.meshgrid(*[np.arange(0, n, 3) for n in ct.shape], indexing="ij"), axis=-1)
    points = index @ ct.affine[:3, :3].T + ct.affine[:3, 3]
    hounsfield, uptake = petct_phantom(points)
    mask = nibabel.load(case.mask).get_fdata()[::3, ::3, ::3] > 0
    middle = np.zeros_like(mask)
    middle[:, :, 3:-3] = mask[:, :, 3:-3]
    ct_error = np.abs(ct.get_fdata()[::3, ::3, ::3] - hounsfield)[middle]
    pet_error = np.abs(pet.get_fdata()[::3, ::3, ::3] - uptake)[middle]
    assert np.percentile(ct_error, 99) < 3  # HU, the edges of bone included
    assert ct_error.max() < 10
    assert np.percentile(pet_error, 99) < 0.01  # SUV
    assert pet_error.max() < 0.15
    assert pet.get_fdata().max() == pytest.approx(13.3, abs=0.2)
