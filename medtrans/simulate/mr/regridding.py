"""k-space of an object that moves while it is measured: every sample in the pose of its moment, all poses at once.

An object that is turned by R about the centre and shifted by t has the transform exp(-2 pi i k.t) F(R^T k): the
samples of all poses lie in one k-space, that of the object at rest, at turned places. One non-uniform FFT reads them
all, so its cost does not depend on how many poses there are; shifts are phases, and cost next to nothing.

Source of the transform: Barnett, Magland and af Klinteberg, A parallel nonuniform fast Fourier transform library based
on an "exponential of semicircle" kernel, SIAM Journal on Scientific Computing 41:C479, 2019 (FINUFFT).
"""

from __future__ import annotations

from collections.abc import Sequence

import finufft
import numpy as np
import torch

ACCURACY = 2e-5  # of the non-uniform FFT, relative; finer is lost in float32
STILL = 1e-9  # a matrix this near to 1 turns nothing


def moving_kspace(
    images: torch.Tensor, spacing: Sequence[float], turns: np.ndarray, shifts: np.ndarray, readout: int
) -> torch.Tensor:
    """What a scanner measures of images that move.

    Args:
        images: ``(C, *spatial)`` float32 on the CPU.
        spacing: mm, one number a spatial axis.
        turns: ``(*spatial, D, D)`` with 1 in place of the readout axis, ordered as ``numpy.fft.fftfreq``: a sample at
            the frequency k is the transform of the images at ``turns^T k``. Rotations; any other matrix will do.
        shifts: ``(*spatial, D)`` alike, in mm, of the object after it is turned.
        readout: spatial axis along which a line is measured at once.

    Returns:
        ``(C, *spatial)`` complex64, ordered as ``torch.fft.fftn`` orders it. Frequencies that a turn takes out of the
        measured range are 0: nobody knows them.
    """
    axes = len(spacing)
    frequencies = [np.fft.fftfreq(size, step) for size, step in zip(images.shape[1:], spacing, strict=True)]
    kspace = torch.fft.fftn(images, dim=tuple(range(1, axes + 1)))
    lines = kspace.movedim(1 + readout, -1)  # a view: (C, *encoded, readout)
    turns = np.squeeze(turns, readout)
    moved = np.abs(turns - np.eye(axes)).max(axis=(-2, -1)) > STILL
    if moved.any():
        points = _turned(frequencies, turns[moved], np.nonzero(moved), readout)
        values = transform_at(images, points * np.array(spacing)) * _from_first_voxel(
            frequencies, spacing, moved, readout
        )
        lines[:, torch.from_numpy(moved)] = torch.from_numpy(values.astype(np.complex64))
    return _shifted(kspace, frequencies, shifts, readout)


def transform_at(images: torch.Tensor, points: np.ndarray) -> np.ndarray:
    """The Fourier transform of ``(C, *spatial)`` about the centre of the field of view.

    Args:
        images: float32 on the CPU.
        points: ``(..., D)``, cycles a voxel.

    Returns:
        ``(C, ...)`` complex64; 0 beyond half a cycle a voxel.
    """
    sizes = images.shape[1:]
    within = (np.abs(points) <= 0.5 * (1 + 1e-6)).all(-1)
    places = points[within]
    angles = [np.ascontiguousarray(2 * np.pi * places[:, axis], dtype=np.float32) for axis in range(len(sizes))]
    transform = {1: finufft.nufft1d2, 2: finufft.nufft2d2, 3: finufft.nufft3d2}[len(sizes)]
    # upsampfac 1.25: three times as fast as 2 in 3D, with a third of the memory
    options = {"eps": ACCURACY, "isign": -1, "upsampfac": 1.25, "nthreads": torch.get_num_threads()}
    values = transform(*angles, images.to(torch.complex64).numpy(), **options)
    # FINUFFT counts voxels from size // 2, the centre lies at (size - 1) / 2
    beyond = np.array([size // 2 - (size - 1) / 2 for size in sizes])
    found = np.zeros((len(images), *within.shape), np.complex64)
    found[:, within] = values * np.exp(-2j * np.pi * (places @ beyond))
    return found


def _turned(
    frequencies: list[np.ndarray], turns: np.ndarray, where: tuple[np.ndarray, ...], readout: int
) -> np.ndarray:
    """``turns^T k`` of the lines ``where``: ``(lines, readout, D)``, cycles a mm."""
    encoded = [axis for axis in range(len(frequencies)) if axis != readout]
    along = frequencies[readout][:, None] * turns[:, None, readout, :]
    for axis, index in zip(encoded, where, strict=True):
        along = along + (frequencies[axis][index][:, None] * turns[:, axis, :])[:, None, :]
    return along


def _from_first_voxel(
    frequencies: list[np.ndarray], spacing: Sequence[float], moved: np.ndarray, readout: int
) -> np.ndarray:
    """Phases that take a transform about the centre to one about the first voxel, ``(lines, readout)``."""
    phases = []
    for frequency, step in zip(frequencies, spacing, strict=True):
        phases.append(np.exp(-2j * np.pi * frequency * step * (len(frequency) - 1) / 2))
    encoded = [axis for axis in range(len(frequencies)) if axis != readout]
    of_line = np.ones(int(moved.sum()), np.complex128)
    for axis, index in zip(encoded, np.nonzero(moved), strict=True):
        of_line = of_line * phases[axis][index]
    return of_line[:, None] * phases[readout]


def _shifted(kspace: torch.Tensor, frequencies: list[np.ndarray], shifts: np.ndarray, readout: int) -> torch.Tensor:
    """Each line with the phase ramp of its shift."""
    if not shifts.any():
        return kspace
    cycles = np.zeros(shifts.shape[:-1])
    for axis, frequency in enumerate(frequencies):
        if axis != readout:
            cycles += shifts[..., axis] * frequency.reshape([-1 if at == axis else 1 for at in range(len(frequencies))])
    shape = [-1 if axis == readout else 1 for axis in range(len(frequencies))]
    cycles = cycles + shifts[..., readout] * frequencies[readout].reshape(shape)
    angle = torch.from_numpy((-2 * np.pi * (cycles - np.round(cycles))).astype(np.float32))
    return kspace * torch.polar(torch.ones_like(angle), angle)
