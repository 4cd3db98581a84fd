"""Pictures of accelerated MR: what is sampled, what a point becomes, what a head becomes.

python benchmarks/simulation_pictures/accelerated_mr.py FOLDER
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_of_pictures
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from medtrans.simulate import HeadPhantom, UndersampledMR
from medtrans.simulate.mr.masks import CARTESIAN, cartesian_mask
from medtrans.simulate.mr.readouts import radial, spiral
from medtrans.simulate.mr.undersampling import SAMPLINGS

ACCELERATION = 4
SIZE = 128
POINT_SIZE = 64
PARTIAL: dict[str, dict[str, Any]] = {
    "whole": {},
    "5/8, zero-filled": {"partial_fourier": 5 / 8, "partial_fourier_method": "zero-filled"},
    "5/8, homodyne": {"partial_fourier": 5 / 8, "partial_fourier_method": "homodyne"},
    "5/8, POCS": {"partial_fourier": 5 / 8, "partial_fourier_method": "pocs"},
}
COILS: dict[str, dict[str, Any]] = {
    "R = 3, 8 coils": {"combination": "root sum of squares"},
    "matched": {"combination": "matched"},
    "CG-SENSE": {"combination": "cg-sense", "iterations": 20},
    "CG-SENSE, 3 % noise": {"combination": "cg-sense", "iterations": 20, "noise_percent": 3},
}


def head() -> torch.Tensor:
    """A T1 slice of 128², 1.5 mm."""
    phantom = HeadPhantom(seed=7, spacing=1.5, shape=(SIZE, SIZE, 9), noise=False)
    return torch.as_tensor(phantom.images(["T1"])["T1"])[None, ..., 4]


def degraded(image: torch.Tensor, **settings: Any) -> torch.Tensor:
    """``image`` under one seed."""
    fast = UndersampledMR(**settings)
    fast.set_random_state(1)
    return fast(image, (1.5, 1.5)).as_tensor()


def draw_samples(axes: Axes, sampling: str, size: int) -> None:
    """Measured encodings in white, or where readouts run."""
    if sampling in CARTESIAN:
        mask = cartesian_mask(sampling, [size, size], ACCELERATION, 0.08, np.random.default_rng(1))
        axes.imshow(mask, cmap="gray", origin="lower", interpolation="nearest", extent=(-0.5, 0.5, -0.5, 0.5))
    else:
        golden = sampling.startswith("golden")
        points, _ = (
            spiral(size, ACCELERATION, centre=0.08)
            if sampling == "spiral"
            else radial(size, ACCELERATION, golden=golden)
        )
        axes.set_facecolor("black")
        axes.scatter(points[0], points[1], s=0.05, color="white", linewidths=0)
        axes.set(xlim=(-0.5, 0.5), ylim=(-0.5, 0.5), aspect="equal")
    axes.set(xticks=[], yticks=[])


def draw_samplings(folder: Path) -> None:
    """A column a sampling: samples, point-spread function, head, what is wrong with it."""
    image = head()
    point = torch.zeros(1, POINT_SIZE, POINT_SIZE)
    point[0, POINT_SIZE // 2, POINT_SIZE // 2] = 1
    figure = Figure(figsize=(12.6, 7.4), dpi=54, layout="constrained")
    rows = figure.subplots(4, len(SAMPLINGS))
    bright = float(np.percentile(image, 99.5))
    for column, sampling in zip(rows.T, SAMPLINGS, strict=True):
        settings: dict[str, Any] = {"sampling": sampling, "acceleration": ACCELERATION, "encoding": "3d"}
        draw_samples(column[0], sampling, POINT_SIZE)
        spread = degraded(point, phase=0.0, **settings)[0]
        decibels = 20 * torch.log10(spread / spread.max() + 1e-6)
        column[1].imshow(decibels.T, cmap="gray", origin="lower", vmin=-60, vmax=0)
        seen = degraded(image, **settings)[0]
        column[2].imshow(seen.T, cmap="gray", origin="lower", vmin=0, vmax=bright)
        column[3].imshow((seen - image[0]).abs().T, cmap="gray", origin="lower", vmin=0, vmax=0.4 * bright)
        column[0].set_title(sampling, fontsize=10)
        for axes in column[1:]:
            axes.axis("off")
    figure.savefig(folder / "accelerated-mr-samplings.png")


def draw_row(path: Path, columns: dict[str, dict[str, Any]], shared: dict[str, Any]) -> None:
    """A head under each setting, and below what is wrong with it."""
    image = head()
    bright = float(np.percentile(image, 99.5))
    figure = Figure(figsize=(2.4 * len(columns), 5.1), dpi=72, layout="constrained")
    for (title, settings), column in zip(columns.items(), figure.subplots(2, len(columns)).T, strict=True):
        seen = degraded(image, **(shared | settings))[0]
        error = (seen - image[0]).abs()
        column[0].imshow(seen.T, cmap="gray", origin="lower", vmin=0, vmax=bright)
        column[1].imshow(error.T, cmap="gray", origin="lower", vmin=0, vmax=0.2 * bright)
        share = float((seen - image[0]).square().mean().sqrt() / image.square().mean().sqrt())
        column[0].set_title(title, fontsize=10)
        column[1].set_title(f"error {100 * share:.1f} %", fontsize=9)
        for axes in column:
            axes.axis("off")
    figure.savefig(path)


def draw_rows(folder: Path) -> None:
    """Partial Fourier, and what several coils make of undersampling."""
    draw_row(folder / "accelerated-mr-partial-fourier.png", PARTIAL, {"acceleration": 1, "phase": 3.0})
    draw_row(folder / "accelerated-mr-coils.png", COILS, {"sampling": "equispaced", "acceleration": 3, "coils": 8})


def make_smaller(folder: Path) -> None:
    """64 grey values do."""
    for path in folder.glob("accelerated-mr-*.png"):
        Image.open(path).convert("L").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    folder_of_pictures.run(draw_samplings, draw_rows, make_smaller)
