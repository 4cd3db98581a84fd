"""The registration that the benchmark measures alignment by, and what it says of heads that move."""

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from medtrans.simulate import HeadPhantom
from medtrans.simulate.mr import MRMotion, Partitions
from medtrans.simulate.mr.poses import displacement, seen_from
from medtrans.simulate.mr.trajectories import poses_at


@pytest.fixture(scope="module")
def mr_motion(script):
    return script("mr_motion")


@pytest.fixture(scope="module")
def head():
    """A T1 of 4 mm voxels, (1, X, Y, Z)."""
    return torch.from_numpy(HeadPhantom(0, spacing=4.0, noise=False).images(["T1"])["T1"])[None]


@pytest.mark.parametrize("cut", [np.s_[:, :, 24], np.s_[:, :, :]], ids=["slice", "volume"])
def test_the_registration_finds_a_motion_that_is_known(mr_motion, head, cut):
    """Turned about the centre and shifted by SciPy: x moves to turn x + shift."""
    fixed = head[0][cut]
    axes, centre = fixed.ndim, (np.array(fixed.shape) - 1) / 2
    turn = Rotation.from_euler("z", 4, degrees=True).as_matrix()[:axes, :axes]
    shift = np.array([3.0, -2.0, 1.0][:axes])  # mm
    offset = centre - turn.T @ (centre + shift / 4.0)
    moving = torch.from_numpy(affine_transform(fixed.numpy(), turn.T, offset, order=1))
    found_turn, found_shift = mr_motion.registered(moving, fixed, 4.0)
    np.testing.assert_allclose(found_turn[:axes, :axes], turn, atol=0.01)
    np.testing.assert_allclose(found_shift[:axes], shift, atol=0.5)  # an eighth of a voxel


@pytest.mark.parametrize("sequence", ["mp_rage", "turbo_spin_echo", Partitions(order="centric")])
def test_a_drifting_head_stays_where_the_input_lies(mr_motion, head, sequence):
    motion = MRMotion(severity=2, kinds="drift", sequence=sequence).set_random_state(5)
    moved = motion(head, (4, 4, 4))
    record = motion.parameters
    ends = poses_at(record["trajectory"], np.array([0.0, record["scan_seconds"]]))
    assert displacement(*seen_from(ends[:1], ends[1:])) > 5  # mm, from the beginning of the scan to its end
    assert displacement(*mr_motion.registered(moved[0].as_tensor(), head[0], 4.0)) < 0.3
