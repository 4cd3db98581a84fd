"""k-space of a moving object, against the Fourier sum written out, phase ramps, and NumPy's rotations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medtrans.simulate.mr.regridding import moving_kspace, transform_at


def direct_transform(image: np.ndarray, spacing, points: np.ndarray) -> np.ndarray:
    """Sum over voxels about the centre of the field of view; points (n, D) in cycles a mm."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(image.shape, spacing, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, image.ndim)
    return np.exp(-2j * np.pi * points @ places.T) @ image.reshape(-1)


def about_first_voxel(kspace: np.ndarray, spacing) -> np.ndarray:
    """What NumPy's FFT would give, from a transform about the centre."""
    for axis, (n, step) in enumerate(zip(kspace.shape, spacing, strict=True)):
        ramp = np.exp(-2j * np.pi * np.fft.fftfreq(n, step) * step * (n - 1) / 2)
        kspace = kspace * ramp.reshape([-1 if at == axis else 1 for at in range(kspace.ndim)])
    return kspace


def still(shape, readout):
    """No turn and no shift, for a grid."""
    encoded = [1 if axis == readout else n for axis, n in enumerate(shape)]
    return np.tile(np.eye(len(shape)), (*encoded, 1, 1)), np.zeros((*encoded, len(shape)))


def smooth_object(shape, seed=0):
    """Some blobs, well within the field of view and well below the highest frequency."""
    random = np.random.default_rng(seed)
    grids = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    image = np.zeros(shape)
    for _ in range(4):
        centre, width = random.uniform(-0.3, 0.3, len(shape)), random.uniform(0.12, 0.16)
        image += random.uniform(0.5, 1) * np.exp(
            -sum((g - c) ** 2 for g, c in zip(grids, centre, strict=True)) / (2 * width**2)
        )
    return image


@given(
    st.lists(st.integers(5, 9), min_size=2, max_size=3),
    st.lists(st.floats(0.5, 3.5), min_size=3, max_size=3),
    st.integers(0, 2),
    st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_every_sample_is_the_fourier_integral_of_the_object_in_the_pose_of_its_moment(sizes, steps, readout, seed):
    rank, random = len(sizes), np.random.default_rng(seed)
    spacing, readout = steps[:rank], readout % rank
    image = random.random(sizes)
    turns, shifts = still(sizes, readout)
    for at in np.ndindex(*turns.shape[:-2]):
        if random.random() < 0.7:
            turn = Rotation.from_euler("xyz", random.normal(0, 5, 3), degrees=True).as_matrix()
            plane = Rotation.from_euler("z", random.normal(0, 5), degrees=True).as_matrix()
            turns[at] = turn if rank == 3 else plane[:2, :2]
        shifts[at] = random.normal(0, 3, rank)

    frequencies = np.stack(np.meshgrid(*map(np.fft.fftfreq, sizes, spacing), indexing="ij"), -1)
    whole_turns = np.broadcast_to(turns, (*sizes, rank, rank))
    points = np.einsum("...ji,...j->...i", whole_turns, frequencies)
    expected = direct_transform(image, spacing, points.reshape(-1, rank)).reshape(sizes)
    expected = expected * np.exp(-2j * np.pi * (frequencies * shifts).sum(-1))
    known = (np.abs(points * spacing) <= 0.5 * (1 + 1e-6)).all(-1)
    expected = about_first_voxel(np.where(known, expected, 0), spacing)

    found = moving_kspace(torch.from_numpy(image)[None].float(), spacing, turns, shifts, readout)[0].numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(("shape", "readout"), [((16, 21), 0), ((15, 16), 1), ((8, 9, 10), 1)])
def test_an_object_at_rest_has_its_plain_transform_and_one_that_is_shifted_a_phase_ramp(shape, readout):
    random = np.random.default_rng(0)
    image, spacing = random.random(shape), (1.2, 0.7, 3.0)[: len(shape)]
    turns, shifts = still(shape, readout)
    images = torch.from_numpy(image)[None].float()
    at_rest = moving_kspace(images, spacing, turns, shifts, readout)[0].numpy()
    assert np.allclose(at_rest, np.fft.fftn(image), atol=1e-5 * np.abs(at_rest).max())

    shift = np.array([2.3, -4.1, 0.6])[: len(shape)]
    moved = moving_kspace(images, spacing, turns, shifts + shift, readout)[0].numpy()
    frequencies = np.stack(np.meshgrid(*map(np.fft.fftfreq, shape, spacing), indexing="ij"), -1)
    expected = np.fft.fftn(image) * np.exp(-2j * np.pi * frequencies @ shift)
    assert np.allclose(moved, expected, atol=1e-5 * np.abs(expected).max())


def test_whole_voxels_of_shift_are_numpys_roll():
    image = np.random.default_rng(1).random((12, 14))
    turns, shifts = still(image.shape, 1)
    moved = moving_kspace(torch.from_numpy(image)[None].float(), (2, 3), turns, shifts + np.array([4, -9]), 1)[0]
    assert np.allclose(torch.fft.ifftn(moved).real, np.roll(image, (2, -3), (0, 1)), atol=1e-5)


@pytest.mark.parametrize("size", [15, 16])
def test_a_quarter_turn_halfway_is_lines_of_numpys_rot90(size):
    image = smooth_object((size, size))
    turns, shifts = still(image.shape, 1)
    turns[size // 2 :] = [[0, -1], [1, 0]]  # x to y: counter-clockwise
    found = moving_kspace(torch.from_numpy(image)[None].float(), (1, 1), turns, shifts, 1)[0].numpy()
    # x is the first axis, so that x to y is clockwise for rot90, which takes axis 0 to axis 1 for k = 1
    turned = np.rot90(image, 1, axes=(0, 1))
    expected = np.fft.fftn(image)
    expected[size // 2 :] = np.fft.fftn(turned)[size // 2 :]
    inside = np.ones((size, size), bool)
    if size % 2 == 0:  # the highest frequency of an even size has no counterpart of the other sign
        inside[size // 2], inside[:, size // 2] = False, False
    assert np.abs(found - expected)[inside].max() < 1e-4 * np.abs(expected).max()


def test_a_turned_and_shifted_object_keeps_its_energy():
    image = smooth_object((40, 36, 32))
    spacing, readout = (1.0, 1.1, 1.2), 2
    turns, shifts = still(image.shape, readout)
    turns[:] = Rotation.from_euler("xyz", [6, -4, 9], degrees=True).as_matrix()
    kspace = moving_kspace(
        torch.from_numpy(image)[None].float(), spacing, turns, shifts + np.array([1.5, -2, 0.7]), readout
    )
    energy = float(torch.fft.ifftn(kspace[0]).abs().square().sum())
    assert energy == pytest.approx(np.square(image).sum(), rel=1e-4)


def test_a_turned_object_is_the_one_that_is_drawn_turned():
    sizes, spacing = (48, 40), (1.0, 1.3)

    def blob(turn, shift):
        places = np.stack(
            np.meshgrid(
                *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(sizes, spacing, strict=True)], indexing="ij"
            ),
            -1,
        )
        own = (places - shift) @ turn  # the transpose, for row vectors
        return np.exp(-(((own - [3, -2]) / [3, 2.5]) ** 2).sum(-1) / 2)

    turn = Rotation.from_euler("z", 25, degrees=True).as_matrix()[:2, :2]
    turns, shifts = still(sizes, 0)
    turns[:] = turn
    kspace = moving_kspace(
        torch.from_numpy(blob(np.eye(2), 0))[None].float(), spacing, turns, shifts + np.array([2.5, 3.2]), 0
    )
    assert np.abs(torch.fft.ifftn(kspace[0]).numpy() - blob(turn, [2.5, 3.2])).max() < 1e-3


def test_channels_move_alike():
    images = torch.rand(3, 10, 12)
    turns, shifts = still((10, 12), 1)
    turns[5:] = Rotation.from_euler("z", 7, degrees=True).as_matrix()[:2, :2]
    together = moving_kspace(images, (1, 1), turns, shifts, 1)
    apart = torch.cat([moving_kspace(image[None], (1, 1), turns, shifts, 1) for image in images])
    assert torch.allclose(together, apart, atol=1e-3)


def test_what_lies_beyond_the_measured_frequencies_is_zero():
    values = transform_at(torch.ones(1, 6, 6), np.array([[0.0, 0.0], [0.51, 0.0], [0.0, -0.7]]))
    assert np.abs(values[0]).round(3).tolist() == [36, 0, 0]
