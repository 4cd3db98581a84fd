"""Motion in MR: how exact and how fast all poses at once are, and how well the result lies on the input.

    python benchmarks/mr_motion.py

One head, a pose a phase-encoding line. Compared are one trilinear resampling and FFT a pose, as most simulators do it,
and the non-uniform FFT of all poses, on lines that a spline of order 5 gives. Then slices that moved by 2 mm are
registered to the ones they were made from, with the pose of the very centre of k-space as reference and with the mean
pose about it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated
from unittest import mock

import numpy as np
import SimpleITK
import torch
import typer
from scipy.ndimage import affine_transform
from scipy.signal.windows import tukey

from medtrans.simulate import HeadPhantom
from medtrans.simulate.mr import MRMotion, Slices, reference
from medtrans.simulate.mr.poses import displacement, turns_and_shifts
from medtrans.simulate.mr.regridding import moving_kspace
from medtrans.simulate.mr.trajectories import KINDS

SEQUENCES: dict[str, Slices] = {
    "turbo spin echo, linear": Slices(),
    "turbo spin echo, centric": Slices(order="centric"),
    "spin echo, linear": Slices(tr=0.6, echo_train=1, echo_spacing=0.02),
    "spin echo, centric": Slices(tr=0.6, echo_train=1, echo_spacing=0.02, order="centric"),
}


def trilinear(volume: torch.Tensor, turn: np.ndarray, shift: np.ndarray) -> torch.Tensor:
    """The volume (X, Y, Z) of 1 mm voxels, turned about its centre and shifted: one resampling."""
    half = (np.array(volume.shape) - 1) / 2
    matrix = turn.T * half[None, :] / half[:, None]
    offset = -(turn.T @ shift) / half
    theta = np.concatenate([matrix[::-1, ::-1], offset[::-1, None]], 1).astype(np.float32)
    grid = torch.nn.functional.affine_grid(torch.from_numpy(theta)[None], [1, 1, *volume.shape], align_corners=True)
    return torch.nn.functional.grid_sample(volume[None, None], grid, align_corners=True)[0, 0]


def spline(volume: torch.Tensor, turn: np.ndarray, shift: np.ndarray) -> torch.Tensor:
    """As :func:`trilinear`, by a spline of order 5."""
    centre = (np.array(volume.shape) - 1) / 2
    moved = affine_transform(volume.double().numpy(), turn.T, centre - turn.T @ (centre + shift), order=5)
    return torch.from_numpy(moved)


def line_by_line(
    volume: torch.Tensor,
    turns: np.ndarray,
    shifts: np.ndarray,
    lines: np.ndarray,
    move: Callable[[torch.Tensor, np.ndarray, np.ndarray], torch.Tensor],
) -> torch.Tensor:
    """The k-space planes of ``lines`` along the second axis, one resampled volume for each: (lines, X, Z)."""
    return torch.stack([torch.fft.fftn(move(volume, turns[line], shifts[line]))[:, line] for line in lines])


def compare(lines: int, size: int, checked: int) -> None:
    """Errors and times on a T1 of ``size`` x ``lines`` x ``size`` voxels."""
    spacing = 192 / size
    head = HeadPhantom(0, spacing=spacing, shape=(size, lines, size), noise=False).images(["T1"])["T1"]
    for axis, count in enumerate(head.shape):  # the neck fades before the border: transforms wrap, splines do not
        head = head * tukey(count, 0.3).astype(np.float32).reshape([-1 if at == axis else 1 for at in range(3)])
    volume = torch.from_numpy(head)
    random = np.random.default_rng(0)
    poses = np.cumsum(random.normal(size=(lines, 6)), 0) * 2 / np.sqrt(lines)
    turns, shifts = turns_and_shifts(poses)
    shifts = shifts / spacing  # in voxels, as all here
    of_partitions = np.broadcast_to(turns[None, :, None], (1, lines, size, 3, 3))
    shifts_of_partitions = np.broadcast_to(shifts[None, :, None], (1, lines, size, 3))

    start = time.perf_counter()
    at_once = moving_kspace(volume[None], (1, 1, 1), of_partitions, shifts_of_partitions, readout=0)[0]
    seconds_at_once = time.perf_counter() - start
    start = time.perf_counter()
    one_by_one = line_by_line(volume, turns, shifts, np.arange(lines), trilinear)
    seconds_one_by_one = time.perf_counter() - start

    inner = [np.flatnonzero(np.abs(np.fft.fftfreq(count)) < 0.25) for count in volume.shape]  # where splines are exact
    some = inner[1][:: max(1, len(inner[1]) // checked)]
    exact = line_by_line(volume, turns, shifts, some, spline)[:, inner[0]][..., inner[2]]
    for name, found in (("at once", at_once[:, some].transpose(0, 1)), ("one by one", one_by_one[some])):
        error = (
            found[:, inner[0]][..., inner[2]] - exact
        ).abs().square().sum().sqrt() / exact.abs().square().sum().sqrt()
        typer.echo(f"{name}: {100 * error:.2f} % off a spline of order 5, {len(some)} lines, inner half of frequencies")
    typer.echo(
        f"{lines} poses, {tuple(volume.shape)}: at once {seconds_at_once:.1f} s, "
        f"one by one {seconds_one_by_one:.1f} s, {seconds_one_by_one / seconds_at_once:.0f} times as long"
    )


def registered(moving: torch.Tensor, fixed: torch.Tensor, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """The rigid transform between two slices or volumes (X, Y[, Z]) that SimpleITK finds.

    Returns:
        Turn (3, 3) and shift (3,) in mm about the centre.
    """
    axes = fixed.ndim
    images = []
    for values in (moving, fixed):
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.numpy().T))
        image.SetSpacing([spacing] * axes)
        image.SetOrigin([-(n - 1) / 2 * spacing for n in values.shape])
        images.append(image)
    rigid = SimpleITK.Euler2DTransform if axes == 2 else SimpleITK.Euler3DTransform
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(rigid())
    composite = SimpleITK.CompositeTransform(method.Execute(images[1], images[0]))
    found = rigid(composite.GetBackTransform())
    turn, shift, centre = np.eye(3), np.zeros(3), np.zeros(3)
    turn[:axes, :axes] = np.array(found.GetMatrix()).reshape(axes, axes)
    shift[:axes], centre[:axes] = found.GetTranslation(), found.GetCenter()
    return turn, shift + centre - turn @ centre


def align(draws: int, spacing: float) -> None:
    """Mean distances of moved slices from their inputs, for both references."""
    head = HeadPhantom(0, spacing=spacing, noise=False).images(["T1"])["T1"]
    slice_ = torch.from_numpy(head[None, ..., int(head.shape[2] * 0.57)].copy())
    for title, centre in (("k = 0", 1e-9), ("mean about it", reference.CENTRE)):
        with mock.patch.object(reference, "CENTRE", centre):
            for name, sequence in SEQUENCES.items():
                found = []
                for kind in KINDS:
                    for seed in range(draws):
                        motion = MRMotion(severity=2, kinds=kind, sequence=sequence)
                        motion.set_random_state(seed)
                        moved = motion(slice_, (spacing, spacing)).as_tensor()
                        found.append(float(displacement(*registered(moved[0], slice_[0], spacing))))
                typer.echo(
                    f"reference {title}, {name}: mean {np.mean(found):.2f} mm, median {np.median(found):.2f} mm, "
                    f"{100 * np.mean(np.array(found) < 0.3):.0f} % below 0.3 mm"
                )


def main(
    lines: Annotated[int, typer.Option(help="Poses, one a line.")] = 190,
    size: Annotated[int, typer.Option(help="Voxels along the two other axes.")] = 128,
    checked: Annotated[int, typer.Option(help="Lines that are compared with a spline.")] = 10,
    draws: Annotated[int, typer.Option(help="Trajectories a kind and sequence.")] = 3,
    spacing: Annotated[float, typer.Option(help="Voxel size of the slices that are registered, mm.")] = 2.0,
) -> None:
    """Measure."""
    torch.set_num_threads(1)
    compare(lines, size, checked)
    align(draws, spacing)


if __name__ == "__main__":
    typer.run(main)
