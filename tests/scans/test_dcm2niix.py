"""Random scans read by us and by dcm2niix, with closed-form geometry as the judge between the two."""

import subprocess

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medtrans.scans import Conversion, read_series

# as the patient lies: row and column direction of the axial scan (LPS), PatientPosition
LYING = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDL": (0, 1, 0, -1, 0, 0),
    "HFDR": (0, -1, 0, 1, 0, 0),
    "FFDL": (0, -1, 0, -1, 0, 0),
    "FFDR": (0, 1, 0, 1, 0, 0),
}


def by_dcm2niix(folder, out):
    """Series number -> image, of everything dcm2niix makes of ``folder``."""
    out.mkdir()
    subprocess.run([dcm2niix.bin, "-z", "n", "-b", "n", "-f", "%s", "-o", out, folder], capture_output=True)
    return {path.name.removesuffix(".nii"): nib.load(path) for path in out.glob("*.nii")}


@pytest.fixture
def as_measured():
    """Whether this is the release whose faults are recorded below; a newer one may have mended them."""
    told = subprocess.run([dcm2niix.bin, "--version"], capture_output=True, text=True).stdout
    return "v1.0.20260724" in told


def check_same(array, affine, other, other_affine):
    """The same voxels at the same places, whatever the order and direction of the axes."""
    to_other = np.linalg.solve(other_affine, affine)
    whole = np.rint(to_other)
    assert abs(np.linalg.det(whole)) == 1, "another grid"
    np.testing.assert_allclose(other_affine @ whole, affine, atol=1e-3)
    index = nib.affines.apply_affine(whole, np.moveaxis(np.indices(array.shape), 0, -1)).astype(int)
    assert (index >= 0).all()
    np.testing.assert_array_equal(other[tuple(np.moveaxis(index, -1, 0))], array)


def truth(series):
    return series.pixels.transpose(2, 1, 0), series.affine


def rotations():
    """Any orientation; one near the axes; one along them (sagittal, coronal, reversed, lying in any way)."""
    along = st.permutations(range(3)).flatmap(
        lambda order: st.tuples(*[st.sampled_from([-1, 1])] * 3).map(lambda signs: np.diag(signs)[order])
    )
    small = st.tuples(*[st.floats(-0.3, 0.3)] * 3).map(lambda v: Rotation.from_rotvec(v).as_matrix())
    any_ = st.tuples(*[st.floats(-180, 180)] * 3).map(
        lambda angles: Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    )
    return along | any_ | st.tuples(along, small).map(lambda both: both[0] @ both[1])


scans = st.fixed_dictionaries(
    {
        "axes": rotations(),  # row, column, and the direction the slices are counted in (along the normal or against)
        "shape": st.tuples(st.integers(2, 7), st.integers(3, 9), st.integers(3, 9)),
        "spacing": st.tuples(st.floats(0.2, 4), st.floats(0.2, 4)),
        "step": st.floats(0.3, 8),
        "origin": st.tuples(*[st.floats(-800, 800)] * 3),
        "modality": st.sampled_from(["CT", "MR"]),
        "maker": st.sampled_from(["GE MEDICAL SYSTEMS", "Philips", "TOSHIBA", "SIEMENS"]),
        "lying": st.sampled_from(list(LYING)),
        "seed": st.integers(0, 2**20),
    }
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=st.lists(scans, min_size=12, max_size=12))
def test_random_scans_equal_dcm2niix_and_closed_form(make_series, tmp_path_factory, drawn):
    root = tmp_path_factory.mktemp("random")
    written = []
    for number, scan in enumerate(drawn, 1):
        row, column, _ = scan["axes"]
        direction = np.cross(row, column) * np.linalg.det(scan["axes"])
        series = make_series(
            shape=scan["shape"], seed=scan["seed"], orientation=(*row, *column), spacing=scan["spacing"],
            origin=scan["origin"], step=scan["step"] * direction, Modality=scan["modality"], SeriesNumber=number,
            PatientID=f"{number}", SeriesInstanceUID=f"1.2.3.{number}", Manufacturer=scan["maker"],
            PatientPosition=scan["lying"], RescaleSlope="1", RescaleIntercept="0",
        )  # fmt: skip
        series.folder = root / "export" / f"{number}"
        order = np.random.default_rng(scan["seed"]).permutation(len(series.pixels))
        if scan["maker"] == "SIEMENS":  # see below
            order = np.sort(order)
        for k, instance in enumerate(order):
            series.write(k, f"{instance}", InstanceNumber=int(instance) + 1)
        written.append(series)
    theirs = by_dcm2niix(root / "export", root / "out")
    for number, series in enumerate(written, 1):
        [volume] = read_series(series.folder)
        check_same(*truth(series), volume.array, volume.affine)
        image = theirs[f"{number}"]
        check_same(volume.array, volume.affine, image.get_fdata(), image.affine)
        assert nib.orientations.aff2axcodes(volume.affine) == ("R", "A", "S")


@pytest.mark.parametrize("position", LYING)
def test_however_the_patient_lies(make_series, tmp_path, position):
    series = make_series(
        orientation=LYING[position], spacing=(0.7, 1.3), origin=(-40.5, 12.25, 801), step=2.5, PatientPosition=position
    ).write_all()
    [volume] = read_series(series.folder)
    check_same(*truth(series), volume.array, volume.affine)
    image = by_dcm2niix(series.folder, tmp_path / "out")["7"]
    check_same(volume.array, volume.affine, image.get_fdata(), image.affine)


def farthest(affine, other, shape):
    """Millimetres between two affines at the corners of a volume, whatever the order and direction of the axes."""
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), -1).reshape(-1, 3)
    back = np.rint(np.linalg.solve(other, affine))
    moved = nib.affines.apply_affine(other @ back, corners) - nib.affines.apply_affine(affine, corners)
    return np.linalg.norm(moved, axis=1).max()


@pytest.mark.parametrize(("digits", "decimals", "most"), [(12, 3, 0.001), (6, 2, 0.01), (4, 2, 0.02), (6, 1, 0.09)])
def test_rounded_headers_cost_no_more_than_their_rounding(make_series, tmp_path, as_measured, digits, decimals, most):
    """dcm2niix takes the first distance for all, so that rounding adds up to the last slice; by closed form."""
    axes = Rotation.from_euler("z", 31, degrees=True).as_matrix()
    series = make_series(shape=(150, 8, 9), orientation=axes[:2].ravel(), origin=(40, -50, 60), step=4 / 3)
    series.tags["ImageOrientationPatient"] = [f"{v:.{digits}f}" for v in series.orientation]
    for k in range(150):
        position = series.origin + k * series.step
        series.write(k, ImagePositionPatient=[f"{v:.{decimals}f}" for v in position])
    [volume] = read_series(series.folder)
    assert farthest(series.affine, volume.affine, (9, 8, 150)) < most
    image = by_dcm2niix(series.folder, tmp_path / "out")["7"]
    assert farthest(series.affine, image.affine, (9, 8, 150)) > 3 * most or not as_measured
    assert volume.metadata["geometry"]["tilt_degrees"] < 0.1


def test_slices_siemens_numbered_out_of_order_are_lost_by_dcm2niix(make_series, tmp_path, as_measured):
    """It takes the numbers of Siemens for the order of slices, and ends the volume where positions turn back."""
    series = make_series(Manufacturer="SIEMENS")
    for k, number in enumerate([3, 1, 5, 2, 4]):
        series.write(k, InstanceNumber=number)
    [volume] = read_series(series.folder)
    check_same(*truth(series), volume.array, volume.affine)
    theirs = by_dcm2niix(series.folder, tmp_path / "out").values()
    assert all(image.shape[2] != 5 for image in theirs) or not as_measured


def test_resent_copies_lengthen_the_volume_of_dcm2niix(make_series, tmp_path, as_measured):
    series = make_series().write_all()
    series.write(3, "resent", InstanceNumber=99)
    [volume] = read_series(series.folder)
    check_same(*truth(series), volume.array, volume.affine)
    assert by_dcm2niix(series.folder, tmp_path / "out")["7"].shape[2] == 6 or not as_measured


def test_a_gap_is_squeezed_by_dcm2niix_and_filled_by_us(make_series, tmp_path, as_measured):
    """Values grow by 100 a millimetre upwards, so that each voxel says where it belongs."""
    series = make_series(np.full((9, 4, 4), 100, np.int16) * np.arange(9, dtype=np.int16)[:, None, None], step=1.0)
    for k in (0, 1, 2, 3, 6, 7, 8):
        series.write(k)
    images = by_dcm2niix(series.folder, tmp_path / "out")
    [volume] = read_series(series.folder, Conversion(gaps="resample"))
    np.testing.assert_allclose(heights(volume.array, volume.affine), 0, atol=1e-4)
    if not as_measured:
        return
    assert np.abs(heights(images["7"].get_fdata(), images["7"].affine)).max() > 1.9  # mm
    even = images["7_Eq_1"]
    assert np.abs(heights(even.get_fdata(), even.affine)).max() < 0.5  # it rounds to stored integers and clips its ends


def heights(array, affine):
    """Millimetres between where each voxel lies and where its value says it belongs."""
    z = nib.affines.apply_affine(affine, np.moveaxis(np.indices(array.shape), 0, -1))[..., 2]
    return array / 100 - z


@pytest.mark.parametrize("orientation", [LYING["HFS"], LYING["FFS"], (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)])
def test_a_single_slice(make_series, tmp_path, orientation):
    series = make_series(shape=(1, 8, 6), orientation=orientation, spacing=(0.7, 1.3), step=4.5).write_all()
    [volume] = read_series(series.folder)
    check_same(*truth(series), volume.array, volume.affine)
    image = by_dcm2niix(series.folder, tmp_path / "out")["7"]
    check_same(
        volume.array, volume.affine, image.get_fdata().reshape(image.shape + (1,) * (3 - image.ndim)), image.affine
    )
