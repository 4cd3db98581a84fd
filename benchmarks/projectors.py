"""Ways to project slices, side by side: time, error against an ellipse in closed form, content kept, transpose.

    python benchmarks/projectors.py

The sparse matrices of ``medtrans.simulate.tomography``, rotation by ``grid_sample`` with its gradient as transpose,
``skimage.transform.radon``, and ``deepinv`` where it is installed. Seconds are processor time of one thread, the
least of some rounds, in each of which every projector has its turn; matrices are made before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
import typer
from skimage.transform import radon
from torch.nn import functional as F

from medtrans.simulate.tomography import ParallelBeam

Projector = Callable[[torch.Tensor], torch.Tensor]  # (X, X, slices) -> (views, bins, slices)
AXES, MIDDLE = (0.30, 0.38), (0.05, -0.06)  # of the ellipse, in field of views


def rotation(size: int, angles: np.ndarray) -> Projector:
    """Turn the slice and sum its columns."""
    cos, sin = (torch.from_numpy(part(angles)).float() for part in (np.cos, np.sin))
    matrices = torch.stack([torch.stack([sin, cos, 0 * cos], 1), torch.stack([cos, -sin, 0 * cos], 1)], 1)
    grids = [F.affine_grid(matrix[None], [1, 1, size, size], align_corners=False) for matrix in matrices]

    def project(image: torch.Tensor) -> torch.Tensor:
        batch = image.permute(2, 0, 1)[None]
        return torch.stack([F.grid_sample(batch, grid, align_corners=False)[0].sum(1).T for grid in grids])

    return project


def of_deepinv(size: int, angles: np.ndarray) -> Projector | None:
    """deepinv's Radon transform, which turns the slice as well."""
    try:
        from deepinv.physics.functional.radon import Radon
    except ImportError:
        return None
    transform = Radon(size, torch.from_numpy(np.degrees(angles)).float(), circle=True)

    def project(image: torch.Tensor) -> torch.Tensor:
        rows = image.permute(2, 1, 0).flip(1)[:, None]  # rows go down, columns right
        return transform(rows)[:, 0].permute(2, 1, 0)

    return project


def of_scikit_image(angles: np.ndarray) -> Projector:
    """Slice by slice."""

    def project(image: torch.Tensor) -> torch.Tensor:
        slices = [radon(part.T[::-1], theta=np.degrees(angles)).T for part in image.permute(2, 0, 1).numpy()]
        return torch.from_numpy(np.stack(slices, -1))

    return project


def ellipse(size: int, fine: int = 8) -> torch.Tensor:
    """An ellipse of value 1, each pixel the mean of ``fine``² points."""
    at = ((np.arange(size * fine) + 0.5) / fine - size / 2) / size
    inside = np.hypot(*np.meshgrid((at - MIDDLE[0]) / AXES[0], (at - MIDDLE[1]) / AXES[1], indexing="ij")) <= 1
    return torch.from_numpy(inside.reshape(size, fine, size, fine).mean((1, 3))).float()


def chords(size: int, angles: np.ndarray, fine: int = 16) -> np.ndarray:
    """Its line integrals, the mean over each bin of one pixel (Kak and Slaney, equation 3.5)."""
    at = (np.arange(size * fine) + 0.5) / fine - size / 2
    a, b = (size * axis for axis in AXES)
    width2 = ((a * np.cos(angles)) ** 2 + (b * np.sin(angles)) ** 2)[:, None]
    shift = size * (MIDDLE[0] * np.cos(angles) + MIDDLE[1] * np.sin(angles))[:, None]
    lengths = 2 * a * b * np.sqrt(np.clip(width2 - (at - shift) ** 2, 0, None)) / width2
    return lengths.reshape(len(angles), size, fine).mean(2)


def measured(size: int, views: int, slices: int, rounds: int) -> None:
    """One table."""
    angles = np.arange(views) * np.pi / views
    beam = ParallelBeam((size, size), (1.0, 1.0), views, bins=size)
    begun = time.process_time()
    beam.matrices()
    typer.echo(f"\n{slices} slices of {size} x {size}, {views} views; matrices in {time.process_time() - begun:.2f} s")
    found: dict[str, Projector | None] = {
        "sparse matrices": lambda image: beam.project(image[None])[0],
        "rotation": rotation(size, angles),
        "deepinv": of_deepinv(size, angles),
        "scikit-image": of_scikit_image(angles),
    }
    projectors = {name: project for name, project in found.items() if project is not None}
    image = ellipse(size)[..., None].expand(-1, -1, slices).contiguous()
    times: dict[str, list[float]] = {name: [] for name in projectors}
    seen: dict[str, torch.Tensor] = {}
    for _ in range(rounds):
        for name, project in projectors.items():
            begun = time.process_time()
            seen[name] = project(image)
            times[name].append(time.process_time() - begun)
    exact = chords(size, angles)
    typer.echo(f"{'':18}{'ms':>9}{'error':>9}{'content':>9}")
    for name, sinogram in seen.items():
        view = sinogram[..., 0].double().numpy()
        error = np.sqrt(((view - exact) ** 2).mean()) / exact.max()
        content = np.abs(view.sum(1) / float(image[..., 0].double().sum()) - 1).max()
        typer.echo(f"{name:18}{1000 * min(times[name]):9.1f}{error:9.2%}{content:9.3%}")


def main(rounds: Annotated[int, typer.Option(help="Of which the fastest counts.")] = 3) -> None:
    """Two sizes: a head in PET, a slice of CT."""
    torch.set_num_threads(1)
    measured(64, 96, 56, rounds)
    measured(256, 360, 1, rounds)


if __name__ == "__main__":
    typer.run(main)
