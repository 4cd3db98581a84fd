import subprocess

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medtrans import InputError
from medtrans.scans import Conversion, read_series

SAGITTAL, CORONAL = (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)
FEET_FIRST = (-1, 0, 0, 0, 1, 0)  # normal points down: slices sort from top to bottom
OBLIQUE = tuple(Rotation.from_euler("xyz", [11, -23, 8], degrees=True).as_matrix().T[:2].ravel())
TILTED = (1, 0, 0, 0, np.cos(0.3), -np.sin(0.3))


def volume_of(series, conversion=None):
    [volume] = read_series(series.folder, conversion)
    return volume


def check(volume, image, atol=1e-3):
    np.testing.assert_allclose(volume.affine, image.affine, atol=atol)
    np.testing.assert_array_equal(volume.array, image.get_fdata())


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), SAGITTAL, CORONAL, FEET_FIRST, OBLIQUE])
def test_every_orientation_is_placed_as_its_planes_say(make_series, reference_image, orientation):
    series = make_series(orientation=orientation, spacing=(0.7, 1.3), origin=(-40.5, 12.25, 801), step=2.5).write_all()
    volume = volume_of(series)
    check(volume, reference_image(series))
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")


def test_slices_are_ordered_by_position_not_by_number(make_series, reference_image):
    series = make_series()
    for k, number in enumerate([3, 1, 5, 2, 4]):
        series.write(k, name=f"{9 - k}", InstanceNumber=number)
    check(volume_of(series), reference_image(series))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)),
    step=st.floats(0.3, 8),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    voxel=st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 4)),
)
def test_a_voxel_lies_where_closed_form_says(make_series, tmp_path_factory, angles, spacing, step, origin, voxel):
    rows = Rotation.from_euler("xyz", angles, degrees=True).as_matrix().T
    series = make_series(orientation=rows[:2].ravel(), spacing=spacing, origin=origin, step=step)
    series.folder = tmp_path_factory.mktemp("random")
    column, row, k = voxel
    series.pixels = np.zeros_like(series.pixels)
    series.pixels[k, row, column] = 1000
    series.write_all()
    volume = volume_of(series)
    [found] = np.argwhere(volume.array == 1000)
    lps = origin + column * spacing[1] * rows[0] + row * spacing[0] * rows[1] + k * step * rows[2]
    np.testing.assert_allclose(nib.affines.apply_affine(volume.affine, found), lps * [-1, -1, 1], atol=1e-3)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), SAGITTAL, CORONAL, OBLIQUE])
def test_simpleitk_agrees(make_series, orientation):
    series = make_series(orientation=orientation, spacing=(0.7, 1.3), origin=(-40.5, 12.25, 801), step=2.5).write_all()
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series.folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    array = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0).astype(float)
    ras = nib.as_closest_canonical(nib.Nifti1Image(array, np.diag([-1, -1, 1, 1]) @ affine))
    check(volume_of(series), ras)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), SAGITTAL, CORONAL, OBLIQUE])
def test_dcm2niix_agrees(make_series, tmp_path, orientation):
    series = make_series(orientation=orientation, spacing=(0.7, 1.3), origin=(-40.5, 12.25, 801), step=2.5).write_all()
    done = subprocess.run([dcm2niix.bin, "-z", "n", "-b", "n", "-f", "v", "-o", tmp_path, series.folder],
                          capture_output=True, text=True)  # fmt: skip
    image = nib.load(tmp_path / "v.nii") if (tmp_path / "v.nii").exists() else pytest.fail(done.stdout)
    check(volume_of(series), nib.as_closest_canonical(image))


@pytest.mark.parametrize("sign", [1, -1])
def test_gantry_tilt_of_either_sign_keeps_the_sheared_affine(make_series, sign):
    tilted = (1, 0, 0, 0, np.cos(0.3), -sign * np.sin(0.3))
    series = make_series(orientation=tilted, step=(0, 0, 5), origin=(-10, 20, 30), Modality="CT").write_all()
    volume = volume_of(series)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(series.pixels.transpose(2, 1, 0).astype(float), series.affine))
    check(volume, canonical)
    assert volume.metadata["geometry"]["tilt_degrees"] == pytest.approx(np.degrees(0.3), abs=1e-3)
    assert any("sheared" in warning for warning in volume.metadata["warnings"])


def test_a_missing_slice_is_refused_with_numbers(make_series):
    series = make_series(shape=(6, 4, 4))
    for k in (0, 1, 2, 4, 5):
        series.write(k)
    with pytest.raises(
        InputError, match=r"5 slices are not evenly spaced: mostly 2.000 mm apart, but 4.000 after slice 3"
    ):
        read_series(series.folder)


@given(missing=st.integers(1, 8), count=st.integers(10, 12))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_missing_inner_slice_is_noticed(make_series, tmp_path_factory, missing, count):
    series = make_series(shape=(count, 2, 2))
    series.folder = tmp_path_factory.mktemp("gap")
    for k in range(count):
        if k != missing:
            series.write(k)
    with pytest.raises(InputError, match="not evenly spaced"):
        read_series(series.folder)


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even(make_series):
    series = make_series(shape=(20, 4, 4), step=0.625)
    for k in range(20):
        series.write(k, ImagePositionPatient=["0", "0", f"{k * 0.625:.1f}"])
    assert volume_of(series).spacing[2] == pytest.approx(0.625, abs=0.005)


def test_slices_sliding_sideways_are_refused(make_series):
    series = make_series()
    for k in range(5):
        series.write(k, ImagePositionPatient=[3 * (k % 2), 0, 2 * k])
    with pytest.raises(InputError, match="sideways"):
        read_series(series.folder)


def test_a_single_slice_is_as_thick_as_its_header_says(make_series):
    series = make_series(
        shape=(1, 4, 6), orientation=SAGITTAL, SliceThickness="4.5", SpacingBetweenSlices="9"
    ).write_all()
    volume = volume_of(series)
    assert volume.array.shape == (1, 6, 4)
    assert volume.spacing == pytest.approx((4.5, 1, 1))


def test_a_single_slice_without_thickness_is_no_volume(make_series):
    series = make_series(shape=(1, 4, 6), SliceThickness=None).write_all()
    with pytest.raises(InputError, match="holds no volume"):
        read_series(series.folder)


def test_two_slices_need_a_thickness_to_confirm_their_distance(make_series):
    series = make_series(shape=(2, 4, 6), SliceThickness=None).write_all()
    with pytest.raises(InputError, match="holds no volume"):
        read_series(series.folder)
    series.write_all(SliceThickness="2")
    assert volume_of(series).array.shape == (6, 4, 2)


def test_wide_distances_are_kept_and_questioned(make_series):
    volume = volume_of(make_series(step=6.0, SliceThickness="2").write_all())
    assert volume.spacing[2] == pytest.approx(6)
    assert "are some missing?" in volume.metadata["warnings"][0]


def test_a_plane_with_broken_direction_cosines_is_refused(make_series):
    series = make_series(ImageOrientationPatient=["1", "0", "0", "1", "0", "0"]).write_all()
    with pytest.raises(InputError, match="no ImagePositionPatient, ImageOrientationPatient or PixelSpacing"):
        read_series(series.folder)


@pytest.mark.parametrize(
    ("geometry", "problem"),
    [
        ({"spacing": (5e-4, 1)}, "its voxels would measure 1 x 0.0005 x 2 mm"),
        ({"spacing": (1, 1e5)}, "its voxels would measure 100000 x 1 x 2 mm"),
        ({"step": 1e5}, "its voxels would measure 1 x 1 x 100000 mm"),
        ({"origin": (0, 0, 2e6)}, "its planes would lie 2000 m from the origin"),
    ],
)
def test_grids_of_no_scanner_are_refused(make_series, geometry, problem):
    series = make_series(SliceThickness="2", **geometry).write_all()
    with pytest.raises(InputError, match=problem):
        read_series(series.folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    count=st.integers(1, 9),
    step=st.floats(0.3, 8),
    lean=st.sampled_from([(0, 0), (0, 0), (0.3, 0), (-0.2, 0.1), (0, 3)]),
    jitter=st.sampled_from([0, 0.01, 0.05, 0.1, 0.2, 0.5, 2.0]),
    lost=st.sets(st.integers(0, 8), max_size=3),
    twice=st.sets(st.integers(0, 8), max_size=2),
    gaps=st.sampled_from(["refuse", "largest-run"]),
    seed=st.integers(0, 2**20),
)
@example(
    angles=(0, 0, 0), count=3, step=1.0, lean=(0, 0), jitter=2.0, lost=set(), twice=set(), gaps="refuse", seed=3
)  # leans by 69 degrees, so that 0.09 mm along the normal are 0.25 mm along the stack
def test_whatever_is_accepted_lies_where_its_planes_are(
    make_series, tmp_path_factory, angles, count, step, lean, jitter, lost, twice, gaps, seed
):
    """Planes off their places, lost, sent twice: refused, or every voxel within the rounding of headers."""
    rng = np.random.default_rng(seed)
    rows = Rotation.from_euler("xyz", angles, degrees=True).as_matrix().T
    direction = rows[2] + lean[0] * rows[0] + lean[1] * rows[1]
    series = make_series(np.zeros((count, 3, 4)), orientation=rows[:2].ravel(), step=step * direction)
    series.pixels = (np.arange(series.pixels.size) + 1).reshape(series.pixels.shape).astype(np.uint16)  # all different
    series.folder = tmp_path_factory.mktemp("any")
    where = {}
    for k in set(range(count)) - lost:
        position = k * series.step + rng.uniform(-jitter, jitter, 3)
        for copy in range(1 + (k in twice)):
            series.write(k, f"{rng.integers(1000)}-{k}-{copy}", ImagePositionPatient=[f"{v:.6f}" for v in position])
        for row, column in np.ndindex(3, 4):
            where[series.pixels[k, row, column]] = (position + column * rows[0] + row * rows[1]) * [-1, -1, 1]
    if not where:
        return
    try:
        volume = volume_of(series, Conversion(gaps=gaps))
    except InputError:
        assert jitter or lost
        return
    points = nib.affines.apply_affine(volume.affine, np.moveaxis(np.indices(volume.array.shape), 0, -1))
    off = [np.linalg.norm(points[index] - where[volume.array[index]]) for index in np.ndindex(volume.array.shape)]
    apart = abs(np.linalg.det(volume.affine[:3, :3]))  # of the planes: their pixels measure 1 mm x 1 mm
    assert max(off) < 2.3 * min(max(0.01 * apart, 0.1), 0.25 * apart) + 1e-3
    assert len(set(volume.array.ravel())) == volume.array.size
    if gaps == "refuse":
        assert volume.array.size == len(where)


def test_pixels_of_no_size_are_refused(make_series):
    series = make_series().write_all(PixelSpacing=["1e-30", "2"])
    with pytest.raises(InputError, match="PixelSpacing"):
        read_series(series.folder)
