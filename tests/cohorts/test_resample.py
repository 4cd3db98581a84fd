import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medtrans.cohorts.grid import Grid
from medtrans.cohorts.resample import resample
from medtrans.cohorts.volumes import Volume, moved
from medtrans.transforms.regrid import antialias_sigma


def rigid(turn=(0, 0, 0), shift=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def centred(linear, shape, at=(0, 0, 0)):
    """The affine with this linear part whose grid is centred at ``at``."""
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = np.asarray(at) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def positions(shape, affine):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    return moved(index.reshape(-1, 3).astype(float), affine).reshape(*shape, 3)


def grid_of(n=24, spacing=1.0):
    return Grid((n, n, n), centred(np.eye(3) * spacing, (n, n, n)))


TILTED = np.array([[1, 0, 0], [0, 1, np.tan(np.radians(14)) * 1.2], [0, 0, 1.2]])  # gantry tilt
OBLIQUE = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() * [1.0, 1.2, 1.5]
FLIPPED = np.array([[0, 0, -1.3], [-1.0, 0, 0], [0, 1.1, 0]])  # sagittal, left-handed order of axes
GEOMETRIES = {"tilted": TILTED, "oblique": OBLIQUE, "flipped": FLIPPED}


def smooth(points):
    """A smooth function of position with a wavelength of about 40 mm."""
    return 100 + 50 * np.sin(points[..., 0] / 7) * np.cos(points[..., 1] / 6) + 30 * np.sin(points[..., 2] / 8)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize(("interpolation", "tolerance"), [("linear", 2.0), ("cubic", 0.1)])
def test_a_smooth_function_on_any_affine_meets_its_formula_on_the_new_grid(name, interpolation, tolerance):
    shape = (50, 48, 52)
    affine = centred(GEOMETRIES[name], shape)
    volume = Volume(smooth(positions(shape, affine)).astype(np.float32), affine)
    grid = grid_of()
    error = resample(volume, grid, interpolation=interpolation) - smooth(positions(grid.shape, grid.affine))
    assert np.abs(error).max() < tolerance


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_rigid_motion_is_part_of_the_one_interpolation(name):
    shape = (56, 50, 52)
    motion = rigid((10, -6, 8), (3, -2, 4))
    affine = motion @ centred(GEOMETRIES[name], shape)
    values = smooth(moved(positions(shape, affine).reshape(-1, 3), np.linalg.inv(motion)).reshape(*shape, 3))
    grid = grid_of(20)
    got = resample(Volume(values.astype(np.float32), affine), grid, motion, "cubic")
    assert np.abs(got - smooth(positions(grid.shape, grid.affine))).max() < 0.1


@settings(max_examples=12, deadline=None)
@given(turn=st.tuples(*[st.floats(-180, 180)] * 3), at=st.tuples(*[st.floats(-6, 6)] * 3))
def test_a_landmark_stays_at_its_world_position(turn, at):
    shape = (40, 40, 30)
    affine = centred(Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * [1, 1, 1.4], shape, (100, -50, 20))
    landmark = np.add(at, (100, -50, 20))
    values = np.exp(-(((positions(shape, affine) - landmark) ** 2).sum(axis=-1)) / (2 * 3.0**2)).astype(np.float32)
    grid = Grid((40, 40, 40), centred(np.eye(3), (40, 40, 40), (100, -50, 20)))
    got = resample(Volume(values, affine), grid, interpolation="cubic")
    found = (got[..., None] * positions(grid.shape, grid.affine)).sum(axis=(0, 1, 2)) / got.sum()
    assert found == pytest.approx(landmark, abs=0.02)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize(("interpolation", "order"), [("nearest", 0), ("linear", 1), ("cubic", 3)])
def test_scipy_gives_the_same_values(name, interpolation, order):
    shape = (30, 28, 26)
    affine = centred(GEOMETRIES[name], shape)
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    grid = Grid((18, 17, 16), centred(np.eye(3) * 0.9, (18, 17, 16)))
    index = moved(positions(grid.shape, grid.affine).reshape(-1, 3), np.linalg.inv(affine)).T
    expected = ndimage.map_coordinates(values, index, order=order, mode="mirror").reshape(grid.shape)
    assert resample(Volume(values, affine), grid, interpolation=interpolation) == pytest.approx(expected, abs=2e-4)


def test_monai_gives_the_same_values_for_an_oblique_volume():
    shape = (30, 28, 26)
    affine = centred(OBLIQUE, shape)
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    grid = grid_of(16, 0.9)
    expected = SpatialResample(mode="bilinear", padding_mode="border")(
        MetaTensor(values[None], affine=affine), dst_affine=grid.affine, spatial_size=grid.shape
    )
    assert resample(Volume(values, affine), grid) == pytest.approx(np.asarray(expected)[0], abs=1e-3)


def test_voxels_on_the_lattice_are_copied():
    values = np.random.default_rng(2).normal(size=(20, 20, 20)).astype(np.float32)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:3, 3] = (19, 19, 0)
    got = resample(Volume(values, affine), Grid((20, 20, 20), np.eye(4)))
    assert np.array_equal(got, values[::-1, ::-1])


def test_outside_is_the_background_and_padding_is_clamped_before_interpolation():
    values = np.full((10, 10, 10), -3024.0, np.float32)  # scanner padding around a body
    values[3:7, 3:7, 3:7] = 1000.0
    grid = Grid((40, 40, 40), centred(np.eye(3) * 0.5, (40, 40, 40), (4.5, 4.5, 4.5)))
    got = resample(Volume(values, np.eye(4)), grid, None, "cubic", (-1024.0, 3071.0), -1024.0)
    assert got.min() == -1024.0
    assert got[0, 0, 0] == got[-1, -1, -1] == -1024.0
    unclamped = resample(Volume(values, np.eye(4)), grid, None, "cubic", (None, None), -1024.0)
    assert unclamped.min() < -3024.0


def test_a_background_beyond_the_clamp_is_kept():
    values = np.random.default_rng(3).uniform(1, 2, (6, 6, 6)).astype(np.float32)
    grid = Grid((12, 6, 6), np.eye(4))
    assert resample(Volume(values, np.eye(4)), grid, clamp=(1.0, 2.0), background=-5.0)[-1, 0, 0] == -5.0


def test_downsampling_averages_noise_that_plain_interpolation_keeps():
    rng = np.random.default_rng(4)
    spacing = 0.41
    values = rng.normal(0, 10, (96, 96, 20)).astype(np.float32)
    affine = centred(np.diag([spacing, spacing, 1.0]), values.shape)
    grid = Grid((30, 30, 12), centred(np.eye(3), (30, 30, 12)))
    index = moved(positions(grid.shape, grid.affine).reshape(-1, 3), np.linalg.inv(affine)).T
    plain = ndimage.map_coordinates(values, index, order=1).std()
    sigma = 0.5 * np.sqrt(spacing**-2 - 1)
    gaussian = 10 / (2 * np.sqrt(np.pi) * sigma)  # standard deviation of white noise after a 2D Gaussian
    filtered = resample(Volume(values, affine), grid).std()
    assert filtered < 0.5 * plain
    assert 0.85 * gaussian < filtered < 1.02 * gaussian  # linear interpolation takes a little more


def test_sigma_is_half_the_missing_width_and_zero_where_the_step_shrinks():
    def sigma_of(affine, steps):
        return antialias_sigma(np.linalg.solve(affine, np.diag([*steps, 1.0])), np.asarray(steps))

    sigma = sigma_of(np.diag([0.5, 1.0, 2.0, 1.0]), (1.0, 1.0, 1.0))
    assert sigma == pytest.approx([0.5 * np.sqrt(3), 0.0, 0.0])
    turned = rigid((0, 0, 90)) @ np.diag([0.5, 1.0, 2.0, 1.0])  # its first axis runs along the grid's second
    assert sigma_of(turned, (9.0, 1.0, 1.0))[0] == pytest.approx(0.5 * np.sqrt(3))


def test_labels_are_neither_blurred_nor_mixed():
    labels = np.random.default_rng(5).choice([0.0, 3.0, 7.0], (20, 20, 20)).astype(np.float32)
    grid = Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    assert set(np.unique(resample(Volume(labels, np.eye(4)), grid, interpolation="nearest"))) <= {0.0, 3.0, 7.0}


def test_a_slab_too_thin_for_cubic_is_interpolated_linearly():
    values = np.random.default_rng(6).normal(size=(20, 20, 2)).astype(np.float32)
    grid = Grid((18, 18, 2), np.eye(4))
    assert np.array_equal(
        resample(Volume(values, np.eye(4)), grid, interpolation="cubic"), resample(Volume(values, np.eye(4)), grid)
    )


def test_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="linear, cubic, nearest"):
        resample(Volume(np.zeros((4, 4, 4), np.float32), np.eye(4)), grid_of(4), interpolation="sinc")
