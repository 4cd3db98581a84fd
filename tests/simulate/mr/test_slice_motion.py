"""Slices of a moving head, against planes through an object known everywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from medtrans.simulate.mr.poses import HEAD_RADIUS
from medtrans.simulate.mr.regridding import moving_kspace
from medtrans.simulate.mr.slice_motion import _rounded, moving_slices_kspace

SHAPE, SPACING = (28, 24, 12), (1.5, 2.0, 4.0)


def density(places: np.ndarray) -> np.ndarray:
    """Three blobs, (..., 3) in mm from the centre."""
    blobs = ((0, 0, 0, 4.5, 1.0), (5, -4, 6, 4.0, 0.7), (-6, 3, -5, 4.0, 0.5))
    return sum(a * np.exp(-np.square(places - np.array([x, y, z])).sum(-1) / (2 * s**2)) for x, y, z, s, a in blobs)


def places_of(shape, spacing) -> np.ndarray:
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def still(slices, lines):
    return np.tile(np.eye(3), (slices, lines, 1, 1)), np.zeros((slices, lines, 3))


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_each_line_is_that_of_the_plane_through_the_head_where_it_lies(axes):
    readout, phase, across = axes
    shape, spacing = [0, 0, 0], [0.0, 0.0, 0.0]
    for axis, n, step in zip((readout, phase, across), SHAPE, SPACING, strict=True):
        shape[axis], spacing[axis] = n, step
    places = places_of(shape, spacing)
    volume = density(places)
    turns, shifts = still(shape[across], shape[phase])
    random = np.random.default_rng(0)
    expected = np.fft.fft2(volume, axes=(readout, phase))
    for number, line in itertools.product(range(3, 9), range(0, shape[phase], 3)):
        turn = Rotation.from_euler("xyz", random.normal(0, 4, 3), degrees=True).as_matrix()
        shift = random.normal(0, 1.5, 3)
        turns[number, line], shifts[number, line] = turn, shift
        plane = density((places.take(number, across) - shift) @ turn)
        index: list = [slice(None)] * 3
        index[across], index[phase] = number, line
        expected[tuple(index)] = np.fft.fft2(plane).take(line, 0 if phase < readout else 1)
    found = moving_slices_kspace(torch.from_numpy(volume)[None].float(), spacing, turns, shifts, axes)[0].numpy()
    images = [np.fft.ifft2(kspace, axes=(readout, phase)) for kspace in (found, expected)]
    unmoved = np.abs(images[1] - volume).max()
    assert np.abs(images[0] - images[1]).max() < 0.01 * volume.max()
    assert unmoved > 0.05 * volume.max()


def test_a_head_at_rest_and_one_shifted_by_a_whole_slice_are_exact():
    volume = torch.rand(2, 10, 9, 6)
    turns, shifts = still(6, 9)
    at_rest = torch.fft.ifft2(moving_slices_kspace(volume, (1, 1, 3), turns, shifts, (0, 1, 2)), dim=(1, 2))
    assert torch.allclose(at_rest.real, volume, atol=1e-5)
    upwards = moving_slices_kspace(volume, (1, 1, 3), turns, shifts + np.array([0, 0, 3]), (0, 1, 2))
    found = torch.fft.ifft2(upwards, dim=(1, 2)).real
    assert torch.allclose(found[..., 1:], volume[..., :-1], atol=1e-5)
    assert torch.allclose(found[..., 0], volume[..., 0], atol=1e-5)  # the head goes on as it ends


def test_what_happens_within_the_plane_is_that_of_an_image():
    volume = torch.rand(1, 14, 12, 3)
    turns, shifts = still(3, 12)
    turns[:, 5:] = Rotation.from_euler("z", 6, degrees=True).as_matrix()
    shifts[:, 3:, 0] = 1.7
    found = moving_slices_kspace(volume, (1.2, 1, 5), turns, shifts, (0, 1, 2))
    for number in range(3):
        flat = moving_kspace(
            volume[..., number], (1.2, 1), turns[None, number, :, :2, :2], shifts[None, number, :, :2], 0
        )
        assert torch.allclose(found[..., number], flat, atol=1e-4 * float(flat.abs().max()))


def test_sheets_are_rounded_by_less_than_a_thirteenth_of_a_slice_within_the_head():
    random = np.random.default_rng(0)
    tilts = random.uniform(-1, 1, (20_000, 3)) * [0.1, 0.1, 8]
    rim = random.normal(size=(20_000, 2))
    rim *= HEAD_RADIUS / np.linalg.norm(rim, axis=1, keepdims=True)
    off = _rounded(tilts, 4.0) - tilts
    above = np.abs((off[:, :2] * rim).sum(1) + off[:, 2]) / 4.0
    assert 0.04 < above.max() < 0.075
