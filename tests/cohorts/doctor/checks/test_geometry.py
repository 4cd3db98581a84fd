"""Headers that put a volume elsewhere, in other units, axes, spacing or shape are told with the distance."""

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation


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
