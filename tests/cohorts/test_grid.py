import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medtrans import InputError
from medtrans.cohorts.grid import box, extent_in_reference, grid_over, share_inside, target_grid
from medtrans.cohorts.volumes import Volume, moved, world_corners


def volume(shape, affine):
    return Volume(np.zeros(shape, np.float32), np.asarray(affine, float))


def affine_of(spacing, origin, turn=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine


def target(reference, size=(256, 256, None), centre=None, others=(), spacing=(1.0, 1.0, 1.0)):
    bounds = {"T1": box(reference.corners())} | {f"other {i}": box(o.corners()) for i, o in enumerate(others)}
    centre = reference.corners().mean(axis=0) if centre is None else np.asarray(centre, float)
    return target_grid(reference, bounds, centre, spacing, size)


@settings(max_examples=60, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    turn=st.tuples(*[st.floats(-180, 180)] * 3),
    centre=st.tuples(*[st.floats(-50, 50)] * 3),
)
def test_axes_are_ras_spacing_is_exact_and_the_centre_is_met(spacing, origin, turn, centre):
    reference = volume((40, 50, 60), affine_of(spacing, origin, turn))
    centre = reference.corners().mean(axis=0) + centre
    grid = target(reference, (64, 80, None), centre)
    assert np.array_equal(grid.affine[:3, :3], np.eye(3))
    assert grid.shape[:2] == (64, 80)
    middle = box(world_corners(grid.shape, grid.affine)).mean(axis=0)
    assert np.abs(middle - centre)[:2].max() <= 0.5  # moved onto the reference's lattice at most
    extent = box(reference.corners())
    bounds = box(world_corners(grid.shape, grid.affine))
    assert bounds[0, 2] >= extent[0, 2] - 0.51
    assert bounds[1, 2] <= extent[1, 2] + 0.51
    assert grid.shape[2] >= extent[1, 2] - extent[0, 2] - 1


def test_height_is_the_overlap_of_all_modalities():
    reference = volume((100, 100, 100), affine_of([1, 1, 1], [0, 0, 0]))
    low = volume((100, 100, 30), affine_of([1, 1, 2], [0, 0, -10.5]))  # from -11.5 to 48.5 mm
    grid = target(reference, others=[low])
    assert box(world_corners(grid.shape, grid.affine))[:, 2] == pytest.approx([-0.5, 48.5])


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_a_reference_on_ras_axes_at_the_spacing_keeps_its_voxel_positions(signs):
    reference = volume((160, 200, 150), affine_of(np.array(signs), [-80.3, 99.7, 12.4]))
    grid = target(reference, centre=(3.21, 2.77, 0))
    index = np.linalg.inv(reference.affine) @ grid.affine
    assert index == pytest.approx(np.round(index), abs=1e-9)


def test_volumes_that_do_not_overlap_are_refused_with_their_extents():
    reference = volume((100, 100, 100), np.eye(4))
    elsewhere = volume((100, 100, 100), affine_of([1, 1, 1], [0, 0, 400]))
    with pytest.raises(InputError, match=r"foot-head .*other 0 400 to 500 mm"):
        target(reference, others=[elsewhere])


def test_extent_follows_the_rigid_motion():
    turn = affine_of([1, 1, 1], [5, -6, 7], (0, 0, 90))
    fixed = volume((10, 20, 30), np.eye(4))
    moving = volume((10, 20, 30), turn)  # the same voxels, moved: turn leads from the fixed space to its own
    assert extent_in_reference(moving, turn) == pytest.approx(box(fixed.corners()))


def test_grid_over_covers_the_bounds_tightly():
    bounds = np.array([[-3.0, 0.0, 1.0], [9.0, 0.1, 8.5]])
    grid = grid_over(bounds, (2.0, 2.0, 2.0))
    covered = box(world_corners(grid.shape, grid.affine))
    assert (covered[0] <= bounds[0]).all()
    assert (covered[1] >= bounds[1]).all()
    assert grid.shape == (6, 1, 4)


def test_share_inside_counts_the_body_that_the_grid_keeps():
    mask = np.zeros((100, 10, 10), bool)
    mask[10:90] = True
    grid = grid_over(np.array([[9.5, -50, -50], [49.5, 50, 50]]), (1, 1, 1))
    assert share_inside(mask, np.eye(4), grid, [0]) == pytest.approx(0.5)
    assert share_inside(mask, np.eye(4), grid, []) == 1.0
    assert moved(np.zeros((1, 3)), grid.affine) == pytest.approx(grid.affine[:3, 3][None])
