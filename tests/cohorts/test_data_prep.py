"""Every recipe in data_prep/, by the command that its README gives, on a small folder with the data set's layout."""

import json
import re
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from typer.testing import CliRunner

from medtrans.cli import app
from medtrans.cohorts import Cases, Recipe
from medtrans.transforms import AttenuationMap

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "data_prep/README.md").read_text(encoding="utf-8")
COARSE = ["--set", "spacing=[5,5,5]", "--set", "size=[48,48,null]", "--set", "registration#spacing=6", "--workers", "1"]


def documented(recipe):
    """The words of the first command on the page that uses this recipe."""
    text = PAGE.replace("\\\n", " ")
    (command, *_) = re.findall(rf"^medtrans (prepare data_prep/{recipe}\.json .*)$", text, re.MULTILINE)
    return shlex.split(command)


@pytest.fixture(scope="module")
def prepared(layouts, tmp_path_factory):
    """``prepared(recipe)``: its layout made, its documented command run; gives the data set, rows and folder."""
    done = {}

    def run(recipe):
        if recipe not in done:
            place = tmp_path_factory.mktemp(recipe)
            words = documented(recipe)
            source, output = (words[words.index(option) + 1] for option in ("--input", "--output"))
            layouts.LAYOUTS[source](place / source)
            words[1] = str(ROOT / words[1])
            words = [str(place / word) if word in (source, output) else word for word in words]
            result = CliRunner().invoke(app, [*words, *COARSE], catch_exceptions=False)
            assert result.exit_code == 0, result.output
            done[recipe] = Cases.read(place / output), place / source
        return done[recipe]

    return run


def error_at_world_points(layouts, case, modality, subject, moved=0.0):
    """Mean of |found - formula| within 18 mm of the landmark, as a share of the contrast there."""
    image = nibabel.load(case.volumes[modality])
    points = layouts.world(image.shape, image.affine) + np.array([moved, 0, 0])
    inside = np.linalg.norm(points - layouts.LANDMARK, axis=-1) < 18
    truth = formula(layouts, modality)(layouts.head(points, subject))[inside]
    return np.abs(image.get_fdata()[inside] - truth).mean() / np.ptp(truth)


def formula(layouts, modality):
    named = {"MR": "T1", "STILL": "T1", "MOTION": "T1", "PET_25": "PET", "PET_100": "PET"}
    if modality == "MU":
        return lambda t: AttenuationMap(140)(layouts.CONTRAST["CT"](t))
    return layouts.CONTRAST[named.get(modality, modality)]


EXPECTED = {
    "ixi": ({"T1", "T2", "PD"}, ["IXI002-Guys-0828", "IXI012-HH-1211", "IXI035-IOP-0873"]),
    "brats_2021": ({"T1", "T1C", "T2", "FLAIR"}, ["BraTS2021_00000", "BraTS2021_00001", "BraTS2021_00002"]),
    "brats_2023": ({"T1", "T1C", "T2", "FLAIR"}, ["00000", "00000", "00002", "00003"]),
    "hcp": ({"T1", "T2"}, ["100307", "100408", "101107"]),
    "synthrad_2023": ({"MR", "CT"}, ["1BA001", "1BB002", "1PA003"]),
    "synthrad_2025": ({"MR", "CT"}, ["1ABC003", "1HNA001", "1THB002"]),
    "kirby21": ({"T1", "FLAIR"}, ["KKI2009-01", "KKI2009-02", "KKI2009-03"]),
    "mr_motion": ({"MOTION", "STILL"}, ["000103", "000148", "000175"]),
    "pet_ct": ({"PET", "NAC", "CT", "MU"}, ["p01", "p02", "p03"]),
    "pet_denoising": ({"PET_25", "PET_100"}, ["p01", "p02", "p03"]),
    "mr_ct": ({"MR", "CT"}, ["p01", "p02", "p03"]),
    "t1": ({"T1"}, ["p01", "p02", "p03"]),
    "ct": ({"CT"}, ["p01", "p02", "p03"]),
}
# Which formula each subject was made by, where not the place in the list.
NUMBER = {"00000": 0, "00002": 2, "00003": 3, "1ABC003": 2, "1HNA001": 0, "1THB002": 1}


def numbered(cases):
    return [(NUMBER.get(case.subject, place), case) for place, case in enumerate(cases)]


@pytest.mark.parametrize("recipe", EXPECTED)
def test_every_subject_is_found_and_has_one_split(prepared, recipe):
    cases, _ = prepared(recipe)
    modalities, subjects = EXPECTED[recipe]
    assert [case.subject for case in cases] == subjects
    assert set(cases.modalities) == modalities
    splits = {case.subject: case.split for case in cases}
    assert all(case.split == splits[case.subject] for case in cases)
    everyone_trains = recipe == "kirby21"  # nothing in the files tells who was scanned twice
    assert set(splits.values()) == ({"train"} if everyone_trains else {"train", "validation", "test"})


@pytest.mark.parametrize("recipe", EXPECTED)
def test_values_lie_where_the_formula_puts_them_in_the_world(prepared, layouts, recipe):
    cases, _ = prepared(recipe)
    for number, case in numbered(cases):
        for modality in case.volumes:
            most = {"MOTION": 0.03, "PET_25": 0.05}.get(modality, 0.02)  # these two are noisy
            error = error_at_world_points(layouts, case, modality, number)
            assert error < most, (case.name, modality, error)


@pytest.mark.parametrize("recipe", ["hcp", "synthrad_2025", "ixi"])
def test_the_measure_tells_three_millimetres(prepared, layouts, recipe):
    """What the test above accepts is less than what a shift by less than a voxel costs."""
    case = next(iter(prepared(recipe)[0]))
    for modality in case.volumes:
        assert error_at_world_points(layouts, case, modality, NUMBER.get(case.subject, 0), moved=3.0) > 0.03


@pytest.mark.parametrize("recipe", EXPECTED)
def test_windows_and_units_are_those_of_the_kind(prepared, recipe):
    fixed = {"CT": (-1024.0, 2000.0, "HU"), "MU": (0.0, 0.2, "1/cm")} | dict.fromkeys(
        ("PET", "PET_25", "PET_100"), (0.0, 20.0, "SUV")
    )
    for case in prepared(recipe)[0]:
        for modality, window in case.windows.items():
            if modality in fixed:
                assert (window.lower, window.upper, window.unit) == fixed[modality]
            else:
                values = nibabel.load(case.volumes[modality]).get_fdata()
                assert (window.lower, window.unit) == (0.0, "")
                assert 0.6 * values.max() < window.upper <= values.max()


@pytest.mark.parametrize("recipe", ["ixi", "mr_ct", "mr_motion"])
def test_what_headers_do_not_align_is_registered_by_the_motion_that_was_made(prepared, layouts, recipe):
    cases, _ = prepared(recipe)
    truth = {"mr_motion": layouts.turned(6, (4.0, 0, -3.0))}.get(recipe, layouts.MOVED)
    for case in cases:
        sources = json.loads((cases.root / case.name / "case.json").read_text())["sources"]
        for modality in {"T2", "PD", "MR", "MOTION"} & set(sources):
            rigid = np.array(sources[modality]["rigid"])
            points = np.array([[0, 0, 0, 1], [60, 0, 0, 1], [0, -70, 0, 1], [0, 0, 60, 1.0]])
            apart = np.linalg.norm((points @ (rigid - truth).T)[:, :3], axis=1)
            assert apart.max() < 2.0, (case.name, modality)  # mm, at 5 mm voxels


def test_brats_voxels_are_copied_and_labels_kept(prepared):
    cases, source = prepared("brats_2021")
    case = next(iter(cases))
    given = nibabel.as_closest_canonical(nibabel.load(source / case.name / f"{case.name}_t1ce.nii.gz"))
    found = nibabel.load(case.volumes["T1C"])
    start = np.rint(np.linalg.inv(found.affine) @ given.affine[:, 3])[:3].astype(int)
    inner = tuple(slice(n, n + length) for n, length in zip(start, given.shape, strict=True))
    np.testing.assert_array_equal(found.get_fdata()[inner], given.get_fdata())
    label = nibabel.as_closest_canonical(nibabel.load(source / case.name / f"{case.name}_seg.nii.gz"))
    np.testing.assert_array_equal(nibabel.load(case.label).get_fdata()[inner], label.get_fdata())
    assert set(np.unique(label.get_fdata())) == {0, 1, 2, 4}


def test_two_visits_of_a_patient_are_two_cases_of_one_subject(prepared):
    cases, _ = prepared("brats_2023")
    assert [case.name for case in cases][:2] == ["00000_000", "00000_001"]


@pytest.mark.parametrize("recipe", ["synthrad_2023", "synthrad_2025"])
def test_a_delivered_mask_is_the_mask_and_outside_is_background(prepared, layouts, recipe):
    cases, source = prepared(recipe)
    for number, case in numbered(cases):
        mask = nibabel.load(case.mask)
        inside = mask.get_fdata() > 0
        points = layouts.world(mask.shape, mask.affine)
        rim = layouts.body(points, number, 11.0) & ~layouts.body(points, number, 1.0)  # 6 mm wider, a voxel is 5 mm
        np.testing.assert_array_equal(inside[~rim], layouts.body(points, number, 6.0)[~rim])
        (delivered,) = source.glob(f"Task1/*/{case.subject}/mask.*")
        count = int(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(delivered))).sum())
        assert inside.sum() == pytest.approx(count, rel=0.05)
        assert (nibabel.load(case.volumes["CT"]).get_fdata()[~inside] == -1024).all()
        assert (nibabel.load(case.volumes["MR"]).get_fdata()[~inside] == 0).all()


def test_the_attenuation_map_is_the_cts_and_a_missing_uncorrected_pet_is_no_failure(prepared):
    cases, _ = prepared("pet_ct")
    for case in cases:
        hounsfield = nibabel.load(case.volumes["CT"]).get_fdata()
        attenuation = nibabel.load(case.volumes["MU"]).get_fdata()
        np.testing.assert_allclose(attenuation, AttenuationMap(140)(hounsfield), atol=1e-7)
        assert attenuation.min() == 0.0
        assert 0.09 < np.median(attenuation[nibabel.load(case.mask).get_fdata() > 0]) < 0.11
    assert [set(case.volumes) for case in cases][2] == {"PET", "CT", "MU"}
    record = json.loads((cases.root / "recipe.json").read_text())
    assert record["modalities"]["MU"]["derived"] == {
        "from": "CT", "_target_": "medtrans.transforms.AttenuationMap", "kvp": 140,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "descriptions"),
    [
        ("pet_ct", {"PET": ["WB PET AC 3D", "PET Nackenbereich", "PET AC_TOF"],
                    "NAC": ["PET_NAC_3D", "WB uncorrected", "PET NoAC", "PET non-AC", "PET WB (NAC)"]}),
        ("pet_denoising", {"PET_25": ["PET 25%", "AC 25 % of time", "1-4 dose", "quarter time"],
                           "PET_100": ["PET 100%", "Full_dose", "full time"]}),
        ("mr_motion", {"MOTION": ["T1 mprage MOTION", "t1_moving_head"], "STILL": ["T1 mprage", "t1_still"]}),
        ("t1_t2", {"T1": ["t1_mprage_sag", "Ax BRAVO"], "T2": ["t2_tse_tra", "T2W DRIVE"], "": ["t2_flair", "dwi"]}),
    ],
)  # fmt: skip
def test_descriptions_of_converted_series_are_told_apart(recipe, descriptions):
    modalities = Recipe.read(ROOT / f"data_prep/{recipe}.json").scanned
    for expected, texts in descriptions.items():
        for text in texts:
            named = [
                modality.name
                for modality in modalities
                if "description" in modality.series and re.search(modality.series["description"], text)
            ]
            assert named == ([expected] if expected else []), text


def test_a_case_without_its_mask_fails_and_says_so(layouts, tmp_path):
    layouts.LAYOUTS["SYNTHRAD_2023"](tmp_path / "in")
    next((tmp_path / "in").glob("Task1/*/1BB002/mask.nii.gz")).unlink()
    words = ["prepare", str(ROOT / "data_prep/synthrad_2023.json"), "--input", str(tmp_path / "in")]
    result = CliRunner().invoke(app, [*words, "--output", str(tmp_path / "out"), *COARSE])
    assert result.exit_code == 1
    assert "1BB002: no mask" in result.output
    assert [case.name for case in Cases.read(tmp_path / "out")] == ["1BA001", "1PA003"]


def test_every_recipe_is_documented_by_a_command_or_tried_elsewhere():
    shipped = {path.stem for path in (ROOT / "data_prep").glob("*.json")}
    assert shipped == {*EXPECTED, "t1_t2", "mni_templates_t1_t2", "mni_templates_pet_ct"}
    assert documented("t1_t2")[2:4] == ["--input", "CONVERTED"]
