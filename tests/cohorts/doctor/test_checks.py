"""Every check finds the fault planted for it, names the case, and is silent on the heads as they were made."""

import gzip
import json
import re
import shutil

import nibabel
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medtrans.cohorts import write_phantom_cohort
from medtrans.cohorts.doctor import examine


def moved(values, degrees=0.0, shift_mm=(0, 0, 0), spacing=6.0, outside=0.0):
    """The volume turned about the vertical axis through its middle and shifted."""
    turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    middle = (np.array(values.shape) - 1) / 2
    offset = middle - turn @ middle - turn @ (np.array(shift_mm) / spacing)
    return ndimage.affine_transform(values, turn, offset, order=1, cval=outside).astype(values.dtype)


def test_heads_as_they_were_made_raise_no_error(planted, said):
    findings = planted.found(
        "files", "splits", "geometry", "contents", "clipping", "units", "alignment", "duplicates", "orientation",
        "outliers", "coverage",
    )  # fmt: skip
    assert said(findings) == set()


def test_pet_and_ct_heads_raise_no_error(planted_pet_ct, said):
    findings = planted_pet_ct.found("files", "geometry", "contents", "clipping", "units", "alignment", "duplicates")
    assert said(findings) == set()


# files


def test_every_missing_and_unreadable_file_is_told_not_only_the_first(planted, said):
    planted.path(1, "T2").unlink()
    planted.path(4, "mask").unlink()
    content = planted.path(5, "T1").read_bytes()
    planted.path(5, "T1").write_bytes(content[: len(content) // 2])
    planted.path(6, "T2").write_bytes(b"no NIfTI at all")
    assert said(planted.found("files")) == {
        (1, "T2", "missing file"), (4, "mask", "missing file"), (5, "T1", "unreadable file"),
        (6, "T2", "unreadable file"),
    }  # fmt: skip


def test_the_other_checks_go_on_past_a_missing_file(planted, said):
    planted.path(1, "T2").unlink()
    values = planted.read(3, "T1")
    planted.write(3, "T1", np.zeros_like(values))
    assert (3, "T1", "constant") in said(planted.found("files", "contents"))


def test_a_truncated_compressed_volume_is_told(planted, said):
    path = planted.path(2, "T1")
    packed = gzip.compress(path.read_bytes())
    path.with_suffix(".nii.gz").write_bytes(packed[: len(packed) // 3])
    planted.table(T1={2: "head-0002/T1.nii.gz"})
    assert (2, "T1", "unreadable file") in said(planted.found("files"))


def test_malformed_rows_are_told_all_at_once(planted, said):
    planted.table(split={1: "training"}, intensity={2: "{broken"}, shape={3: "a b c"})
    found = planted.found("files")
    assert {(case, what) for case, _, what in said(found)} == {(n, "malformed row") for n in (1, 2, 3)}
    assert any("'training'" in f.problem for f in found)


def test_volumes_that_no_row_names_and_a_missing_recipe_are_told(planted, said):
    (planted.folder / "old").mkdir()
    shutil.copy(planted.path(0, "T1"), planted.folder / "old" / "T1.nii")
    (planted.folder / "recipe.json").unlink()
    told = said(planted.found("files"))
    assert told == {("", "", "forgotten volumes"), ("", "recipe.json", "no recipe")}


# splits


def test_a_subject_in_two_splits_is_an_error(planted, said):
    planted.table(subject={1: "head-0000"}, split={0: "train", 1: "test"})
    errors = said(planted.found("splits"), ("error",))
    assert errors == {(1, "", "subject in two splits")}


def test_subjects_spelt_alike_in_different_splits_are_told(planted):
    planted.table(subject={0: "sub-01", 1: "SUB_1"}, split={0: "train", 1: "test"})
    assert [f.what for f in planted.found("splits")].count("subjects spelt alike") == 1


def test_an_empty_split_is_told_and_without_training_it_is_an_error(planted, said):
    planted.table(split=dict.fromkeys(range(9), "test"))
    found = planted.found("splits")
    assert {(f.other, f.severity) for f in found if f.what == "empty split"} == {
        ("train", "error"), ("validation", "warning")
    }  # fmt: skip


def test_shares_far_from_the_recipe_are_told(planted):
    recipe = json.loads((planted.folder / "recipe.json").read_text())
    (planted.folder / "recipe.json").write_text(json.dumps(recipe | {"split": {"validation": 0.1, "test": 0.2}}))
    assert not planted.found("splits")
    planted.table(split=dict.fromkeys(range(1, 7), "test"))
    assert ("unexpected share", "test") in {(f.what, f.other) for f in planted.found("splits")}


# geometry


def rewrite_header(path, change):
    image = nibabel.load(path)
    values, header = np.asarray(image.dataobj).copy(), image.header.copy()
    changed = nibabel.Nifti1Image(values, None, header)
    change(changed)
    nibabel.save(changed, path)


def test_a_shifted_header_is_an_error_with_its_distance(planted):
    affine = planted.affine(2).copy()
    affine[:3, 3] += [0, 3, 4]
    planted.write(2, "T2", planted.read(2, "T2"), affine)
    (finding,) = planted.found("geometry")
    assert (finding.case, finding.modality, finding.what) == ("head-0002", "T2", "positions differ")
    assert finding.value == pytest.approx(5.0, abs=1e-3)


def test_a_label_of_another_shape_is_an_error(planted, said):
    planted.write(2, "label", planted.read(2, "label")[:, :, 1:])
    assert said(planted.found("geometry")) == {(2, "label", "shapes differ")}


def test_sform_and_qform_that_differ_are_told_with_the_distance(planted):
    def turn(image):
        q = image.get_qform().copy()
        q[0, 3] += 126
        image.set_qform(q, code=1)

    rewrite_header(planted.path(3, "T1"), turn)
    (finding,) = planted.found("geometry")
    assert finding.what == "sform and qform differ"
    assert finding.value == pytest.approx(126, abs=1e-3)


def test_a_header_without_position_or_in_metres_is_told(planted, said):
    rewrite_header(planted.path(1, "T1"), lambda image: image.header.set_xyzt_units("meter"))

    def forget(image):
        image.set_sform(None, code=0)
        image.set_qform(None, code=0)

    rewrite_header(planted.path(3, "T2"), forget)
    told = said(planted.found("geometry"))
    assert {(1, "T1", "not in millimetres"), (3, "T2", "no position")} <= told


def test_axes_other_than_right_front_up_are_an_error(planted, said):
    for part in ("T1", "T2", "mask", "label"):
        flipped = planted.affine(4, part) @ np.diag([-1, 1, 1, 1])
        flipped[0, 3] = -flipped[0, 3]
        planted.write(4, part, planted.read(4, part), flipped)
    assert said(planted.found("geometry")) == {(4, p, "wrong axes") for p in ("T1", "T2", "mask", "label")}


@pytest.mark.parametrize(("degrees", "found"), [(0.2, False), (3.0, True)])
def test_oblique_axes_are_told_beyond_half_a_degree(planted, degrees, found):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    for part in ("T1", "T2", "mask", "label"):
        planted.write(4, part, planted.read(4, part), turn @ planted.affine(4, part))
    oblique = [f for f in planted.found("geometry") if f.what == "oblique axes"]
    assert bool(oblique) == found
    assert all(f.value == pytest.approx(degrees, abs=0.01) for f in oblique)


def test_spacing_and_shape_are_held_against_table_and_recipe(planted, said):
    for part in ("T1", "T2", "mask", "label"):
        planted.write(0, part, planted.read(0, part), np.diag([5.0, 6.0, 6.0, 1.0]))
    planted.table(shape={1: "32 37 33"})
    told = {what for _, _, what in said(planted.found("geometry"))}
    assert told == {
        "spacing differs from cases.csv", "spacing differs from recipe.json", "shape differs from the table"
    }  # fmt: skip


# contents


def test_constant_nearly_empty_and_not_finite_volumes_are_errors(planted, said):
    constant = planted.read(1, "T1")
    planted.write(1, "T1", np.full_like(constant, 7))
    faint = planted.read(2, "T2")
    planted.write(2, "T2", faint * 0.01)
    broken = planted.read(3, "T1")
    broken[5, 5, 5:8] = np.nan
    planted.write(3, "T1", broken)
    planted.write(4, "mask", np.zeros_like(planted.read(4, "mask")))
    found = planted.found("contents")
    assert said(found, ("error",)) == {
        (1, "T1", "constant"), (2, "T2", "nearly empty"), (3, "T1", "not finite"), (4, "mask", "empty mask")
    }  # fmt: skip
    share = next(f.value for f in found if f.what == "not finite")
    assert share == pytest.approx(3 / broken.size)


def test_masks_that_cover_nothing_or_everything_or_hold_labels_are_told(planted, said):
    for case, mask in ((1, np.ones), (2, np.zeros)):
        values = mask(planted.read(case, "mask").shape, np.uint8)
        values[10:12, 10:12, 10:12] = 1
        planted.write(case, "mask", values)
    planted.write(3, "mask", planted.read(3, "mask") * 3)
    assert said(planted.found("contents")) >= {
        (1, "mask", "large mask"), (2, "mask", "small mask"), (3, "mask", "mask not binary")
    }  # fmt: skip


# clipping


def test_a_saturated_volume_is_told_with_the_share(planted):
    values, body = planted.read(2, "T1"), planted.read(2, "mask") > 0
    cut = np.percentile(values[body], 90)
    planted.write(2, "T1", np.minimum(values, cut))
    (finding,) = (f for f in planted.found("clipping") if f.what == "saturated")
    assert (finding.case, finding.modality) == ("head-0002", "T1")
    assert finding.value == pytest.approx(0.1, abs=0.01)


def test_windows_that_cut_the_body_are_told(planted, said):
    body = planted.read(2, "mask") > 0
    lower, upper = np.percentile(planted.read(2, "T1")[body], (20, 80))
    windows = {"T1": {"lower": float(lower), "upper": float(upper)}, "T2": {"lower": 0, "upper": 1e6}}
    planted.table(intensity={2: json.dumps(windows)})
    found = planted.found("clipping")
    assert said(found) == {(2, "T1", "window cuts bright values"), (2, "T1", "window cuts dark values")}
    assert all(f.value == pytest.approx(0.2, abs=0.01) for f in found)


# units


def test_ct_without_its_intercept_and_pet_in_bq_are_errors(planted_pet_ct, said):
    planted_pet_ct.write(0, "CT", planted_pet_ct.read(0, "CT") + 1024)
    planted_pet_ct.write(1, "PET", planted_pet_ct.read(1, "PET") * 5000)
    planted_pet_ct.write(2, "PET", planted_pet_ct.read(2, "PET") * 0.001)
    found = planted_pet_ct.found("units")
    assert said(found) == {(0, "CT", "not in HU"), (1, "PET", "not in SUV"), (2, "PET", "not in SUV")}
    assert any("intercept was not applied" in f.problem for f in found)


def test_padding_outside_the_body_and_negative_uptake_are_told(planted_pet_ct, said):
    values, body = planted_pet_ct.read(0, "CT"), planted_pet_ct.read(0, "mask") > 0
    planted_pet_ct.write(0, "CT", np.where(body, values, 0).astype(np.float32))
    planted_pet_ct.write(1, "PET", planted_pet_ct.read(1, "PET") - np.float32(1.0))
    told = said(planted_pet_ct.found("units"))
    assert {(0, "CT", "air not near -1000 HU"), (1, "PET", "negative uptake")} <= told


def test_values_that_nobody_calls_hu_are_not_judged(planted_pet_ct, said):
    planted_pet_ct.write(0, "CT", planted_pet_ct.read(0, "CT") + 1024)
    windows = {"PET": {"lower": 0, "upper": 20, "unit": "SUV"}, "CT": {"lower": 0, "upper": 3794, "unit": ""}}
    planted_pet_ct.table(intensity={0: json.dumps(windows)})
    assert said(planted_pet_ct.found("units")) == set()


# alignment


def test_a_flipped_modality_is_an_error_whatever_the_axis(planted, said):
    planted.write(1, "T2", np.flip(planted.read(1, "T2"), 0))
    planted.write(3, "T2", np.flip(planted.read(3, "T2"), 1))
    planted.write(5, "T2", np.flip(planted.read(5, "T2"), (0, 1)))
    assert said(planted.found("alignment")) == {
        (1, "T2", "flipped left-right"), (3, "T2", "flipped front-back"),
        (5, "T2", "turned by 180 degrees about the long axis"),
    }  # fmt: skip


def test_a_displaced_modality_is_told_with_its_displacement(planted):
    planted.write(2, "T2", moved(planted.read(2, "T2"), shift_mm=(0, 9, 0)))
    planted.write(6, "T2", moved(planted.read(6, "T2"), degrees=9))
    shifted, turned = sorted(planted.found("alignment"), key=lambda f: f.case)
    assert (shifted.case, shifted.what, shifted.severity) == ("head-0002", "misaligned", "error")
    assert shifted.value == pytest.approx(9, abs=1.5)
    assert (turned.case, turned.what) == ("head-0006", "misaligned")
    assert float(re.search(r"and ([\d.]+) degrees", turned.problem)[1]) == pytest.approx(9, abs=1.5)


def test_a_modality_of_another_subject_is_told(planted, said):
    planted.write(2, "T2", planted.read(7, "T2"))
    told = said(planted.found("alignment"))
    assert (2, "T2", "poor fit") in told
    assert {case for case, _, _ in told} == {2}


def test_where_nothing_can_be_told_it_is_said_and_not_guessed(planted):
    noise = np.random.default_rng(0).normal(100, 10, planted.read(0, "T2").shape).astype(np.float32)
    planted.write(1, "T2", noise)
    for part in ("T1", "T2"):
        values = planted.read(4, part)
        noisy = np.random.default_rng(1).normal(0, 0.01 * values.max(), values.shape)
        planted.write(4, part, ((values + np.flip(values, 0)) / 2 + noisy).astype(np.float32))
    planted.write(4, "mask", np.maximum(planted.read(4, "mask"), np.flip(planted.read(4, "mask"), 0)))
    found = {(f.case, f.what, f.severity) for f in planted.found("alignment", alignment__poor_z=100)}
    assert found == {("head-0001", "fit not decidable", "note"), ("head-0004", "flip not decidable", "note")}


# orientation


def test_a_case_turned_as_a_whole_is_told_from_the_cohort(planted, said):
    for part in ("T1", "T2", "mask", "label"):
        planted.write(2, part, np.flip(planted.read(2, part), 1))
        planted.write(5, part, np.flip(planted.read(5, part), 2))
    found = planted.found("alignment", "orientation")
    assert {(case, what) for case, _, what in said(found)} == {(2, "flipped front-back"), (5, "flipped upside down")}


def test_left_right_of_a_whole_case_is_told_only_where_the_cohort_is_asymmetric(planted, said):
    assert {f.what for f in planted.found("orientation")} == {"left-right not decidable"}
    for case in range(9):  # every head gets a bright right ear, as bodies have a liver on the right
        values = planted.read(case, "T1")
        values[24:28, 16:22, 12:18] = values.max()
        planted.write(case, "T1", values if case != 4 else np.flip(values, 0))
    planted.write(4, "mask", np.flip(planted.read(4, "mask"), 0))
    assert (4, "T1", "flipped left-right") in said(planted.found("orientation"))


# duplicates


def test_identical_volumes_under_two_subjects_are_an_error(planted, said):
    for part in ("T1", "T2", "mask"):
        planted.write(6, part, planted.read(2, part))
    assert said(planted.found("duplicates")) == {(6, "T1", "identical volumes")}


def test_one_volume_as_two_modalities_is_an_error(planted, said):
    planted.write(3, "T2", planted.read(3, "T1"))
    assert (3, "T2", "one volume as two modalities") in said(planted.found("duplicates"))


@pytest.mark.parametrize("change", ["noisy", "rescaled", "moved", "turned"])
def test_one_head_under_two_subjects_is_recognised(planted, change):
    generator = np.random.default_rng(0)
    for part in ("T1", "T2", "mask"):
        values = planted.read(2, part)
        if part == "mask" and change in ("moved", "turned"):
            values = (moved(values.astype(np.float32), 7 * (change == "turned"), (5, 3, 0)) > 0.5).astype(np.uint8)
        elif part != "mask":
            values = {
                "noisy": values + generator.normal(0, 0.05 * values.max(), values.shape),
                "rescaled": 3 * values**0.9 + 20,
                "moved": moved(values, 0, (5, 3, 0)) + generator.normal(0, 0.02 * values.max(), values.shape),
                "turned": moved(values, 7, (5, 3, 0)) + generator.normal(0, 0.02 * values.max(), values.shape),
            }[change].astype(np.float32)
        planted.write(6, part, values)
    planted.table(split={2: "train", 6: "test"})
    found = planted.found("duplicates")
    assert {(f.case, f.other, f.what, f.severity) for f in found} == {
        ("head-0006", "head-0002", "one anatomy under two subjects", "error")
    }
    planted.table(subject={2: "anna", 6: "anna"})
    assert not planted.found("duplicates")


# outliers


def test_intensity_size_place_and_shape_unlike_the_cohorts_are_told(planted, said):
    planted.write(1, "T1", planted.read(1, "T1") * 8)
    mask = planted.read(3, "mask")
    mask[:, :, :20] = 0
    planted.write(3, "mask", mask)
    for part in ("T1", "T2", "mask", "label"):
        planted.write(5, part, planted.read(5, part)[:, :-2])
    found = planted.found("outliers")
    told = {(f.case, f.modality, f.other) for f in found}
    assert ("head-0001", "T1", "median inside the body") in told
    assert ("head-0003", "", "volume of the body mask") in told
    assert any(f.what == "uncommon shape" and f.case == "head-0005" for f in found)
    assert {f.case for f in found} <= {"head-0001", "head-0003", "head-0005"}
    assert all(f.severity == "warning" for f in found)


# cut off


def test_what_is_missing_beyond_the_border_is_estimated(planted):
    """Against the mask before it was cut: the number of slices that were taken away is known."""
    body = np.flatnonzero((planted.read(2, "mask") > 0).any(axis=(1, 2)))
    for part in ("T1", "T2", "mask", "label"):
        planted.write(2, part, planted.read(2, part)[body[0] + 4 :])
    found = [f for f in planted.found("cut_off") if f.case == "head-0002" and f.other == "left"]
    assert [f.what for f in found] == ["cut off"]
    assert found[0].value == pytest.approx(4 * 6, abs=10)


def test_a_face_that_cuts_most_bodies_is_the_field_of_view_and_told_once(planted):
    found = [f for f in planted.found("cut_off") if f.other == "bottom"]
    assert [(f.what, f.severity, f.case) for f in found] == [("field of view", "note", "")]


# coverage


def test_a_modality_that_shows_part_of_the_body_is_told(planted):
    values = planted.read(2, "T2")
    values[:, :, :12] = 0
    planted.write(2, "T2", values)
    (finding,) = planted.found("coverage")
    assert (finding.case, finding.modality, finding.what) == ("head-0002", "T2", "part of the body missing")
    slices = np.flatnonzero((planted.read(2, "mask") > 0).any(axis=(0, 1)))
    assert finding.value == pytest.approx((slices >= 12).mean(), abs=0.05)


def unpaired(planted, cut):
    """T1 of the first four heads, T2 of the others, their lower part cut away."""
    planted.table(T1=dict.fromkeys(range(4, 9), ""), T2=dict.fromkeys(range(4), ""))
    for case in range(4, 9):
        for part in ("T1", "T2", "mask", "label"):
            affine = planted.affine(case, part) @ np.array(
                [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, cut], [0, 0, 0, 1.0]]
            )  # fmt: skip
            planted.write(case, part, planted.read(case, part)[:, :, cut:], affine)


@pytest.mark.parametrize(("cut", "told"), [(0, False), (10, True)])
def test_unpaired_cohorts_of_different_fields_of_view_are_told(planted, cut, told):
    unpaired(planted, cut)
    heights = [f for f in planted.found("coverage") if f.what == "heights not shared"]
    assert bool(heights) == told
    assert all((f.modality, f.other) == ("T1", "T2") for f in heights)
    assert all(f.value == pytest.approx(10 / 31, abs=0.08) for f in heights)


def test_unpaired_cohorts_that_begin_at_different_heights_are_told_with_the_distance(planted):
    planted.table(T1=dict.fromkeys(range(4, 9), ""), T2=dict.fromkeys(range(4), ""))
    for case in range(4, 9):  # 60 mm of the top of the head are not there
        top = np.flatnonzero((planted.read(case, "mask") > 0).any(axis=(0, 1)))[-1] - 10
        for part in ("T1", "T2", "mask", "label"):
            planted.write(case, part, planted.read(case, part)[:, :, : top + 1])
    (finding,) = (f for f in planted.found("coverage") if f.what == "fields of view apart")
    assert (finding.modality, finding.other) == ("T2", "T1")
    assert "below" in finding.problem
    assert finding.value == pytest.approx(60, abs=12)


# false alarms over several cohorts


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12])
def test_other_cohorts_raise_no_error_either(tmp_path, seed):
    write_phantom_cohort(tmp_path / "set", 10, ["T1", "T2", "CT", "PET"], 6.0, seed)
    findings = examine(tmp_path / "set", workers=1, pictures=0).findings
    assert [f for f in findings if f.severity == "error"] == []
    warnings = [f for f in findings if f.severity == "warning" and f.check != "cut_off"]  # some heads do reach the edge
    assert len(warnings) <= 1
