import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medtrans.cohorts.grid import grid_over
from medtrans.cohorts.registration import Alignment, Coarse, header_agrees, register
from medtrans.cohorts.volumes import Volume, moved

POINTS = np.array([[0.0, 0, 0], [40, 30, 20], [-40, 20, -30], [10, -50, 40]])


def motion(turn=(0, 0, 0), shift=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def head(points, contrast):
    """Tissues of a lopsided head by world position, with the contrast of one modality."""
    x, y, z = np.moveaxis(points, -1, 0)
    skull = (x / 62) ** 2 + (y / 75) ** 2 + (z / 58) ** 2
    values = np.select([skull > 1, skull > 0.85, skull > 0.75], [0, contrast[0], contrast[1]], contrast[2]).astype(
        float
    )
    for (a, b, c), r, k in (
        ((20, 25, 10), 14, 3),
        ((-25, -20, 15), 18, 4),
        ((5, -35, -20), 12, 5),
        ((-20, 30, -15), 10, 1),
    ):
        values[(x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 < r * r] = contrast[k]
    return values


FIRST, SECOND = (80, 20, 100, 60, 140, 30), (30, 100, 60, 130, 20, 90)


def pair(rigid, spacing=3.0):
    """Two modalities of the head, the second one moved by ``rigid``, as the registration sees them."""
    box = np.array([[-75.0, -88, -70], [75, 88, 70]])
    images = []
    for contrast, matrix in ((FIRST, np.eye(4)), (SECOND, rigid)):
        grid = grid_over(box + matrix[:3, 3], (spacing,) * 3)
        index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1).reshape(-1, 3)
        points = moved(moved(index.astype(float), grid.affine), np.linalg.inv(matrix))
        values = ndimage.gaussian_filter(head(points, contrast).reshape(grid.shape), 0.5)
        values += np.random.default_rng(0).normal(0, 1, values.shape)
        images.append(Coarse(values.astype(np.float32), grid, 0.0))
    return images


@pytest.mark.parametrize(("turn", "shift"), [((8, -5, 10), (9, -12, 7)), ((-3, 12, -6), (60, 80, -40))])
def test_a_known_motion_is_recovered_below_half_a_voxel_and_information_rises(turn, shift):
    truth = motion(turn, shift)
    fixed, moving = pair(truth)
    found = register(fixed, moving, fixed.values > 12, moving.values > 12)
    error = np.linalg.norm(moved(POINTS, found.rigid) - moved(POINTS, truth), axis=1)
    assert error.max() < 1.0
    assert found.registered
    assert found.after > found.before + 0.2
    assert found.rigid[:3, :3] @ found.rigid[:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)


def test_the_same_seed_gives_the_same_motion():
    fixed, moving = pair(motion((5, 0, 3), (4, 4, -6)))
    first, again = (register(fixed, moving, fixed.values > 12, moving.values > 12, seed=3) for _ in range(2))
    assert np.array_equal(first.rigid, again.rigid)


def test_aligned_headers_are_kept():
    fixed, moving = pair(np.eye(4))
    body = fixed.values > 12
    assert header_agrees(fixed, moving, body)
    found = register(fixed, moving, body, moving.values > 12)
    assert not found.registered
    assert np.array_equal(found.rigid, np.eye(4))
    assert found.after == found.before


def test_a_shifted_header_is_noticed():
    fixed, moving = pair(motion(shift=(0, 6, 0)))
    assert not header_agrees(fixed, moving, fixed.values > 12)


def test_noise_cannot_be_registered():
    fixed, moving = pair(np.eye(4))
    noise = np.random.default_rng(1).normal(size=moving.values.shape).astype(np.float32)
    found = register(fixed, Coarse(noise, moving.grid, 0.0), fixed.values > 12, np.ones(noise.shape, bool))
    assert found.after < 0.05


def test_the_coarse_image_keeps_positions_and_clips_outliers():
    values = np.random.default_rng(2).uniform(0, 1, (40, 40, 40)).astype(np.float32)
    values[5, 5, 5] = 1e6
    affine = motion((10, 20, 30), (100, 50, -20))
    coarse = Coarse.of(Volume(values, affine), 2.0, 0.0)
    corners = moved(np.array([[19.5, 19.5, 19.5]]), affine)[0]
    middle = (np.array(coarse.grid.shape) - 1) / 2 * coarse.grid.spacing + coarse.grid.affine[:3, 3]
    assert middle == pytest.approx(corners, abs=1e-6)
    assert coarse.values.max() < 1e5


def test_parameters_describe_the_motion_at_a_point():
    centre = np.array([10.0, 20, 30])
    turn = motion((5, -6, 7))
    about = motion(shift=np.add(centre, (1, 2, 3))) @ turn @ motion(shift=-centre)
    angles, shift = Alignment(rigid=about).parameters(centre)
    assert angles == pytest.approx([5, -6, 7])
    assert shift == pytest.approx([1, 2, 3])
